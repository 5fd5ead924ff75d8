#!/bin/bash
# Catches: a gold answer that is not equal to itself, to its boxed form or to a mechanical rewriting of itself, and a mutated gold
# that still counts as right. Runs over its own golds, and over the large shared file where that is.
set -eu
here=$(dirname "$0")
command -v python3 > /dev/null || { echo "skip: no python3"; exit 77; }
[ -z "${SAN:-}" ] || { echo "skip: thousands of checks are for the plain build"; exit 77; }
python3 "$here/math_golds.py" "$HONE" "$here/math_golds.jsonl"
big=${HONE_CASES:-/nonexistent}/real_gold.jsonl
[ -e "$big" ] || big=$big.zst
if [ ! -e "$big" ] || ! command -v zstd > /dev/null; then
    echo "skip: no real_gold.jsonl in HONE_CASES, or no zstd"
    exit 0
fi
python3 "$here/math_golds.py" "$HONE" "$big"
