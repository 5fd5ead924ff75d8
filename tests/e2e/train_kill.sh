# The failure to catch: a run that was killed at any moment and resumed ends with other weights, moments or rows than one that was left alone.
# Two undisturbed runs must agree first. KILLS=30 for the full claim.
. tests/e2e_lib.sh
kills=${KILLS:-8}
small_world

# random whole number below $1
random() { awk -v n="$1" -v s="$(od -An -N4 -tu4 /dev/urandom)" 'BEGIN { srand(s); print int(rand() * n) }'; }

run_all() { # folder: an undisturbed world
    mkdir -p "$1"
    import_all "$1/hone.db"
    "$hone" sft sft.lua data.store="$1/hone.db" train.dir="$1/sft" 2>"$1/sft.log" || { cat "$1/sft.log"; fail "sft"; }
    "$hone" grpo grpo.lua data.store="$1/hone.db" train.dir="$1/grpo" 2>"$1/grpo.log" || { cat "$1/grpo.log"; fail "grpo"; }
}
run_all a
run_all b
[ "$(digest a/sft)" = "$(digest b/sft)" ] || fail "two SFT runs differ"
[ "$(digest a/grpo)" = "$(digest b/grpo)" ] || fail "two GRPO runs differ"

# Starts the command again and again, killing it after a random time, until it was left to finish. $1: longest wait in ms.
killed=0
disturbed() {
    wait_ms=$1
    shift
    while :; do
        "$@" >last.log 2>&1 &
        pid=$!
        sleep "$(awk -v ms="$(random "$wait_ms")" 'BEGIN { printf "%.3f", ms / 1000 }')"
        pkill -9 -P $pid 2>/dev/null || true # the program, when $pid is a subshell
        kill -9 $pid 2>/dev/null || true
        rc=0
        wait $pid 2>/dev/null || rc=$?
        case $rc in
        0) return 0 ;;
        137) killed=$((killed + 1)) ;;
        *) [ "$rc" -eq 1 ] && [ "$1" = import_all ] && killed=$((killed + 1)) && continue # its child was killed
            cat last.log; fail "$* ended with $rc" ;;
        esac
    done
}
took() { awk -v a="$1" -v b="$2" 'BEGIN { print int((b - a) / 1000000 * 1.2) + 20 }'; }

t0=$(date +%s%N)
"$hone" sft sft.lua data.store=b/hone.db train.dir=probe 2>/dev/null
t1=$(date +%s%N)
round=0
while [ "$killed" -lt "$kills" ]; do
    c=c$round
    round=$((round + 1))
    mkdir $c
    disturbed 80 import_all $c/hone.db
    disturbed "$(took "$t0" "$t1")" "$hone" sft sft.lua data.store=$c/hone.db train.dir=$c/sft --resume
    disturbed "$(took "$t0" "$t1")" "$hone" grpo grpo.lua data.store=$c/hone.db train.dir=$c/grpo --resume
    [ "$(digest a/sft)" = "$(digest $c/sft)" ] || fail "killed SFT run has another digest"
    [ "$(digest a/grpo)" = "$(digest $c/grpo)" ] || fail "killed GRPO run has another digest"
    for kind in sft grpo; do
        dump a/hone.db $kind >a.txt
        dump $c/hone.db $kind | sed "s#$c/#a/#g" >c.txt
        [ -s a.txt ] || fail "the dump is empty"
        diff a.txt c.txt >diff.txt || { head -20 diff.txt; fail "rows of $kind differ"; }
    done
    rm -rf $c
done
[ "$(sqlite3 a/hone.db "SELECT sum(value) FROM metrics WHERE name = 'differing_tokens'")" = 0.0 ] || fail "log-probs of rollout and trainer differ"
[ "$(sqlite3 a/hone.db "SELECT sum(value) > 0 FROM metrics WHERE name = 'compared_tokens'")" = 1 ] || fail "nothing was compared"
echo "same digest and rows after $killed kills over $round worlds"
