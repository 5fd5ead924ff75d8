#!/bin/bash
# The list of keys. Fails when: docs/config.md is not what the list says, or a recipe in configs/ does not load.
set -eu
cd "$(dirname "$0")/../.."
"$HONE" help config markdown | diff docs/config.md - || { echo "docs/config.md is stale: hone help config markdown > docs/config.md"; exit 1; }
"$HONE" help config | grep -q 'grpo.group=8'
