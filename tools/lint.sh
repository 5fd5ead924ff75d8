#!/bin/sh
# make lint: layers, prefixes, sizes, banned calls. $1 = build folder (for nm).
set -u
cd "$(dirname "$0")/.."
B=$1
rc=0
files=$(git ls-files --cached --others --exclude-standard | grep -E '\.(c|h|cu|cuh)$' | grep -vE '^tests/(data|escape)/')
src=$(echo "$files" | grep -E '\.(c|cu)$')
inner=$(echo "$files" | grep -vE '^(tests|bench|cmd)/')
# shellcheck disable=SC2086
{
    awk -f tools/check-layers.awk layers.txt $files || rc=1
    awk -v F=100 -v L=1000 -f tools/check-size.awk $src || rc=1
    sh tools/check-symbols.sh "$B" || rc=1
    awk -f tools/check-banned.awk tools/banned.txt $inner || rc=1
    grep -nE '\b(TODO|FIXME|XXX)\b' $files && { echo "lint: open work belongs in the tracker, not in the tree"; rc=1; }
}
big=$(git ls-files | grep -E '\.(py|sh|lua|md|def)$' | xargs wc -l 2>/dev/null | awk '$2 != "total" && $1 > 1000 {print $2 ": " $1 " lines"}')
[ -z "$big" ] || { echo "$big"; rc=1; }
[ $rc -eq 0 ] && echo "lint: ok ($(echo "$files" | wc -l) files)"
exit $rc
