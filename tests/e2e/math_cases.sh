#!/bin/bash
# Catches: the math verifier losing accuracy on labelled pairs and responses, and hostile input that is not refused. Needs the large shared cases and python3.
set -eu
[ -n "${HONE_CASES:-}" ] && [ -e "$HONE_CASES/math_shared.jsonl" ] || { echo "skip: no shared cases (HONE_CASES)"; exit 77; }
command -v python3 > /dev/null && command -v zstd > /dev/null || { echo "skip: no python3 or zstd"; exit 77; }
[ -z "${SAN:-}" ] || { echo "skip: 70,000 checks are for the plain build"; exit 77; }
exec python3 "$(dirname "$0")/math_cases.py" "$HONE" "$HONE_CASES"
