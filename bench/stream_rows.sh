#!/bin/bash
# bench/stream_rows.sh [ROWS] [MODEL]: two-message rows from JSON Lines to a packed plan, and through `hone template --mask all` and
# `hone tokenize`; prints time and peak memory of each, and ends with 1 when one takes 1 GiB or more. Default: 1,500,000 rows and a
# vocabulary trained here. The rows are made by awk from their number alone.
set -eu
cd "$(dirname "$0")/.."
rows=${1:-1500000} model=${2:-} hone=${HONE:-./hone}
d=$(mktemp -d /tmp/hone-stream-XXXXXX)
trap 'rm -rf "$d"' EXIT

awk -v n="$rows" 'BEGIN {
    k = split("the answer is a number that we find by adding seven and twelve because every box holds three apples so there are many of them in total", w, " ")
    x = 7
    for (i = 0; i < n; i++) {
        printf "{\"id\":%d,\"messages\":[{\"role\":\"user\",\"content\":\"%d:", i, i
        for (part = 0; part < 2; part++) {
            x = (x * 16807) % 2147483647
            for (m = 8 + x % (part ? 90 : 40); m > 0; m--) {
                x = (x * 16807) % 2147483647
                printf " %s", w[1 + x % k]
            }
            printf part ? ".\\n\\n#### %d\"}]}\n" : "?\"},{\"role\":\"assistant\",\"content\":\"So", i % 97
        }
    }
}' > "$d/rows.jsonl"
if [ -z "$model" ]; then
    head -20000 "$d/rows.jsonl" | "$hone" tokenize train --out "$d/model" --vocab 4000 > "$d/log" 2>&1
    model=$d/model
fi
printf '%d rows, %d MB, %s\n%-34s %10s %8s %10s %10s\n' "$rows" $(($(stat -c %s "$d/rows.jsonl") / 1000000)) "$(basename "$model")" what 'rows/s' 'CPU s' 'wall s' 'peak MiB'
bad=0
step() { # name, then a command; standard input is the rows. Peak memory is the kernel's own high-water mark, read until the end.
    local name=$1 peak=0 p kb t0 t1 cpu
    shift
    t0=$(date +%s.%N)
    "$@" < "$d/rows.jsonl" > /dev/null 2> "$d/log" &
    p=$!
    while kb=$(awk '/^VmHWM/ { print $2 }' "/proc/$p/status" 2> /dev/null) && [ -n "$kb" ]; do
        peak=$kb
        cpu=$(awk '{ print ($14 + $15) / 100 }' "/proc/$p/stat" 2> /dev/null) || break
        last=$cpu
        sleep 0.1
    done
    wait "$p" || { echo "$name failed:"; tail -3 "$d/log"; exit 1; }
    t1=$(date +%s.%N)
    printf '%-34s %10.0f %8.1f %10.1f %10.0f\n' "$name" "$(echo "$rows $t0 $t1" | awk '{ print $1 / ($3 - $2) }')" "$last" "$(echo "$t0 $t1" | awk '{ print $2 - $1 }')" $((peak / 1024))
    [ "$peak" -lt 1048576 ] || bad=1
}
step 'data import' "$hone" data import "$d/rows.jsonl" --store "$d/s.db" --source rows --quiet
step 'data plan: render, mask, pack' "$hone" data plan --store "$d/s.db" --model "$model" --pack --shuffle
step 'template --mask all' "$hone" template --mask all --model "$model"
sed 's/"messages":\[{"role":"user","content":"/"text":"/; s/"},{"role":"assistant","content":"/\\n/; s/"}]}$/"}/' "$d/rows.jsonl" > "$d/text"
mv "$d/text" "$d/rows.jsonl"
step 'tokenize' "$hone" tokenize --model "$model"
exit $bad
