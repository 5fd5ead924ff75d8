#!/bin/bash
# The list of keys. Fails when: docs/config.md is not what the list says, or a recipe in configs/ does not load.
set -eu
cd "$(dirname "$0")/../.."
"$HONE" help config markdown | diff docs/config.md - || { echo "docs/config.md is stale: hone help config markdown > docs/config.md"; exit 1; }
"$HONE" help config | grep -q 'grpo.group=8'
# every recipe loads and passes the rules of its job
for f in configs/*_sft.lua configs/*_grpo.lua; do
    job=${f##*_}
    "$HONE" config --job "${job%.lua}" "$f" >/dev/null
done
"$HONE" config --job niah configs/yarn_niah.lua >/dev/null
"$HONE" config configs/demo_grpo.lua grpo.group=4 | grep -q '^grpo.group=4$'
"$HONE" config --changed configs/demo_grpo.lua grpo.group=4 | grep -q '^grpo.group=4  # command line$'
"$HONE" config configs/demo_grpo.lua grpo.grup=4 2>/dev/null && exit 1
exit 0
