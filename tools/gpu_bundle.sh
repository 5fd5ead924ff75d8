#!/bin/bash
# make gpu-bundle: copies into gpu-bundle/ what tools/gpu_check.sh needs on a machine that has a GPU and its driver and nothing else: the
# program, the device's tests and bench, the shared libraries beyond glibc, configs and small models. $1: the build folder.
set -eu
cd "$(dirname "$0")/.."
B=$1
out=gpu-bundle
rm -rf $out
mkdir -p $out/bin $out/lib $out/tests $out/tools
for f in hone "$B/tests/unit/cuda" "$B/tests/unit/cuda_model" "$B/bench/cuda"; do
    to=$out/bin/$(echo "$f" | sed 's#.*/tests/unit/#test_#; s#.*/bench/#bench_#')
    cp "$f" "$to"
    strip "$to"
done
# glibc stays the other machine's: its parts must match each other
for f in $out/bin/*; do ldd "$f"; done | awk '$3 ~ /^\// {print $3}' | grep -vE '/(libc|libm|libpthread|libdl|librt|libresolv|ld-linux[^/]*)\.so' | sort -u | while read -r lib; do cp -L "$lib" $out/lib/; done
cp -r configs $out/
cp -r tests/golden $out/tests/
cp tools/gpu_check.sh tools/gpu_yardstick.py $out/tools/
mb=$(du -sm $out | cut -f1)
echo "gpu-bundle: $mb MB in $out (libraries: $(ls $out/lib | wc -l))"
[ "$mb" -lt 60 ] || { echo "gpu-bundle: more than 60 MB"; exit 1; }
