#!/bin/bash
# Runs every test: build/tests/unit/* (cmocka), tests/fuzz corpora, tests/e2e/*.sh. ONLY=word runs those whose
# name contains it. A test ends with 0 (passed), 77 (skipped, it says why) or anything else (failed).
# Each has a time limit; its output is shown only when it failed or skipped, and kept in $B/log/.
set -u
cd "$(dirname "$0")/.."
B=${B:-build} HONE=${HONE:-$PWD/hone} ONLY=${ONLY:-} SAN=${SAN:-}
export B HONE SAN HONE_CASES="${HONE_CASES:-$PWD/../shared/cases}"
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=1:detect_stack_use_after_return=1}" UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1}" TSAN_OPTIONS="${TSAN_OPTIONS:-halt_on_error=1:second_deadlock_stack=1:die_after_fork=0}"
# die_after_fork=0: the kill tests fork behind the pool and start threads in the child
# AddressSanitizer's frames are several times as large; recursion is bounded by depth, not by the stack
[ "$SAN" != address ] || ulimit -s 65536
limit=${TEST_LIMIT_S:-300}
[ -z "$SAN" ] || limit=$((limit * 5))
mkdir -p "$B/log"
passed=0 failed=0 skipped=0
run() { # name, command...
    local name=$1 start rc log
    shift
    case $name in *"$ONLY"*) ;; *) return ;; esac
    log=$B/log/$(echo "$name" | tr / _).log
    start=$(date +%s.%N)
    timeout -k 5 "$limit" "$@" >"$log" 2>&1 </dev/null
    rc=$?
    case $rc in
    0) passed=$((passed + 1)); word=ok ;;
    77) skipped=$((skipped + 1)); word=skip ;;
    *) failed=$((failed + 1)); word="FAILED ($rc)" ;;
    esac
    printf '%-9s %-44s %6.1f s%s\n' "$word" "$name" "$(echo "$(date +%s.%N) - $start" | bc 2>/dev/null || awk "BEGIN{print $(date +%s.%N)-$start}")" \
        "$(grep -hoE '^skip: .*' "$log" | sort -u | head -3 | sed 's/^/  /' | tr '\n' ' ')"
    [ "$rc" -eq 0 ] || [ "$rc" -eq 77 ] || tail -40 "$log" | sed 's/^/    /'
}
for t in tests/unit/*.c; do
    [ -e "$t" ] && n=$(basename "$t" .c) && run "unit/$n" "$B/tests/unit/$n"
done
for t in tests/fuzz/*.c; do
    [ -e "$t" ] && n=$(basename "$t" .c) && run "fuzz/$n" "$B/tests/fuzz/$n" "tests/fuzz/corpus/$n"
done
for t in tests/e2e/*.sh; do
    [ -e "$t" ] && n=$(basename "$t" .sh) && run "e2e/$n" bash "$t"
done
inner=$(cat "$B"/log/*.log 2>/dev/null | grep -c '^skip: ')
[ "$inner" -eq 0 ] || echo "skipped inside tests: $inner (see the lines 'skip:' in $B/log)"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
