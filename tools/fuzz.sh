#!/bin/sh
# tools/fuzz.sh TARGET SECONDS: builds tests/fuzz/TARGET.c with clang's libFuzzer, ASan and UBSan and runs it.
set -eu
cd "$(dirname "$0")/.."
t=$1 s=$2
[ -e "tests/fuzz/$t.c" ] || { echo "usage: make fuzz T=NAME SECONDS=N; targets:" tests/fuzz/*.c >&2; exit 2; }
pk="sqlite3 lua5.4 libgit2 libcurl jansson oniguruma libseccomp gmp libxxhash libzstd"
make --no-print-directory CC=clang SAN=address B=build-fuzz CFLAGS="-std=gnu11 -D_GNU_SOURCE -g -O2 -ffp-contract=off -fno-strict-aliasing -pthread -I. $(pkg-config --cflags $pk) -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=undefined" build-fuzz/libhone.a
mkdir -p "tests/fuzz/corpus/$t" build-fuzz/new
# shellcheck disable=SC2046
clang -std=gnu11 -D_GNU_SOURCE -g -O2 -I. -pthread -fsanitize=address,undefined,fuzzer -fno-sanitize-recover=undefined "tests/fuzz/$t.c" build-fuzz/libhone.a -o "build-fuzz/$t" $(pkg-config --libs $pk) -lm
mkdir -p "build-fuzz/new/$t"
exec "build-fuzz/$t" -max_total_time="$s" -timeout=10 -rss_limit_mb=4096 -artifact_prefix="build-fuzz/$t-" "build-fuzz/new/$t" "tests/fuzz/corpus/$t"
