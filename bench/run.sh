#!/bin/bash
# make bench: runs every bench (ONLY=word picks some); each prints its own table with ratios taken in one run.
cd "$(dirname "$0")/.."
for t in bench/*.c; do
    n=$(basename "$t" .c)
    case $n in *"${ONLY:-}"*) echo "== $n"; "$B/bench/$n" ;; esac
done
