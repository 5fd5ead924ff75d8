#!/bin/sh
# Every external symbol of folder F starts with one of F's prefixes (prefixes.txt); C++ (CUDA) names behind their mangling.
rc=0
while read -r dir prefixes; do
    case $dir in \#* | '') continue ;; esac
    [ -d "$1/$dir" ] || continue
    re=$(echo "$prefixes" | tr ' ' '|')
    find "$1/$dir" -name '*.o' | while read -r o; do [ -e "$(echo "${o#"$1/"}" | sed 's/\.o$/.c/;s/\.cu\.c$/.cu/')" ] && echo "$o"; done |
        xargs -r nm -g --defined-only 2>/dev/null |
        awk -v re="^($re)" -v d="$dir" '{ sub(/^_Z[0-9]+/, "", $3) } NF == 3 && $3 !~ /^__/ && $2 ~ /^[TDBRC]$/ && $3 !~ re { printf "%s: symbol %s lacks its folder prefix\n", d, $3; b = 1 } END { exit b }' || rc=1
done < prefixes.txt
exit $rc
