#!/bin/bash
# tools/gpu_check.sh OUTDIR: one call of less than nine minutes on a machine with a GPU: parity of every op, exactness, training and
# rollouts on the device, benches. Runs from the folder that `make gpu-bundle` made. The whole log goes to OUTDIR/log, a table comes last.
# Ends with 0 when nothing failed, 77 when there is no device.
set -u
out=$(realpath -m "${1:?gpu_check.sh OUTDIR}")
here=$(realpath "$(dirname "$0")/..")
[ -x "$here/bin/hone" ] || here=$here/gpu-bundle
[ -x "$here/bin/hone" ] || { echo "gpu_check: no bundle in '$here'; hint: make gpu-bundle" >&2; exit 2; }
mkdir -p "$out/work"
export LD_LIBRARY_PATH=$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} HONE_TEST_DEVICE=cuda
began=$(date +%s)
budget=${GPU_CHECK_S:-520}
table=()
failed=0
cd "$here" || exit 2
: >"$out/log"

left() { echo $((budget - ($(date +%s) - began))); }
# name, most seconds, command...: its output goes to the log; what it printed on lines `figure: ...` to the table
step() {
    local name=$1 most=$2 start rc word l
    shift 2
    l=$(left)
    [ "$l" -gt 5 ] || { table+=("$(printf '%-28s not run: out of time' "$name")"); return 1; }
    [ "$most" -lt "$l" ] || most=$l
    start=$(date +%s)
    echo "== $name: $*" >>"$out/log"
    timeout -k 5 "$most" "$@" >"$out/step" 2>&1
    rc=$?
    cat "$out/step" >>"$out/log"
    case $rc in 0) word=ok ;; 77) word=skip ;; 124 | 137) word="FAILED (longer than $most s)"; failed=$((failed + 1)) ;; *) word="FAILED ($rc)"; failed=$((failed + 1)) ;; esac
    table+=("$(printf '%-28s %-8s %4d s' "$name" "$word" $(($(date +%s) - start)))")
    while IFS= read -r line; do table+=("    ${line#figure: }"); done < <(grep '^figure: ' "$out/step")
    [ "$rc" -eq 0 ] || while IFS= read -r line; do table+=("    | $line"); done < <(tail -4 "$out/step")
    return "$rc"
}

hone() { "$here/bin/hone" "$@"; }
digest() { hone ckpt digest "$1" | cut -d' ' -f1; }

device() {
    nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm --format=csv,noheader 2>/dev/null
    ./bin/test_cuda devices
}

world() { # the demo's data and first model
    cd "$out/work" || return 1
    rm -rf demo configs && mkdir demo && cp -r "$here/configs" .
    for s in "sft kind=sft split=train --n 4000" "rl kind=rl split=train --n 2000" "heldout kind=rl split=heldout --n 100"; do
        # shellcheck disable=SC2086
        set -- $s
        hone generate configs/demo_problems.lua --seed 1 "${@:2}" >"demo/$1.jsonl" || return 1
    done
    hone tokenize train --out demo/tokenizer --pattern gpt2 --vocab 512 demo/sft.jsonl || return 1
    hone model init configs/demo_model.json demo/init --seed 1 --tokenizer demo/tokenizer || return 1
    for s in sft rl heldout; do hone data import demo/$s.jsonl --store demo/hone.db --source demo_$s --quiet || return 1; done
}

# CPU and GPU train the same; f32: the forward has the same bits, so losses part only as the gradients' rounding grows
losses() { # precision
    cd "$out/work" || return 1
    for d in cpu cuda; do
        rm -rf demo/loss_$d
        hone sft configs/demo_sft.lua seed=1 device=$d model.precision="$1" train.steps=40 train.warmup=5 train.dir=demo/loss_$d train.log_every=1 2>demo/loss_$d.log || { tail -5 demo/loss_$d.log; return 1; }
        grep -o 'step [0-9]* of [0-9]*  loss [0-9.]*' demo/loss_$d.log | awk '{print $2, $6}' >demo/loss_$d.txt
    done
    paste -d' ' demo/loss_cpu.txt demo/loss_cuda.txt | awk -v p="$1" '{d = $2 - $4; d = d < 0 ? -d : d; if (d > m) m = d; n++} END {printf "figure: %s: losses of %d steps on cpu and cuda differ by at most %.4f\n", p, n, m; exit !(n >= 30 && m <= (p == "fp32" ? 0.002 : 0.05))}'
}

# Two runs, and one that is killed and resumed, end with the same bytes
replay() {
    cd "$out/work" || return 1
    local args=(configs/demo_sft.lua seed=1 device=cuda model.precision=bf16 train.steps=120 train.save_every=20)
    rm -rf demo/a demo/b demo/c
    hone sft "${args[@]}" train.dir=demo/a 2>/dev/null && hone sft "${args[@]}" train.dir=demo/b 2>/dev/null || return 1
    local kills=0
    for wait in 0.7 1 1.5 2 600; do
        timeout -s KILL "$wait" "$here/bin/hone" sft "${args[@]}" train.dir=demo/c --resume 2>demo/c.log
        rc=$?
        [ $rc -eq 0 ] && break
        kills=$((kills + 1))
        [ $rc -eq 137 ] || { tail -3 demo/c.log; return 1; }
    done
    echo "figure: digests $(digest demo/a) $(digest demo/b), killed $kills times $(digest demo/c)"
    [ "$(digest demo/a)" = "$(digest demo/b)" ] && [ "$(digest demo/a)" = "$(digest demo/c)" ]
}

# SFT, then GRPO: the trainer's log-probs must be the rollouts', bit for bit (N3)
demo() {
    cd "$out/work" || return 1
    rm -rf demo/sft demo/grpo
    hone sft configs/demo_sft.lua seed=1 device=cuda model.precision=bf16 train.steps=600 2>demo/sft.log || { tail -5 demo/sft.log; return 1; }
    tail -1 demo/sft.log
    hone grpo configs/demo_grpo.lua seed=1 device=cuda model.precision=bf16 train.steps=15 eval.every=0 2>demo/grpo.log || { tail -5 demo/grpo.log; return 1; }
    tail -1 demo/grpo.log
    python3 - <<'PY'
import sqlite3, sys
db = sqlite3.connect("demo/hone.db")
run = db.execute("SELECT max(id) FROM runs WHERE kind = 'grpo'").fetchone()[0]
n, bad = db.execute("SELECT count(*), sum(value) FROM metrics WHERE run = ? AND name = 'differing_tokens'", (run,)).fetchone()
print(f"figure: differing tokens over {n} GRPO steps on the GPU: {bad:.0f}")
sys.exit(not (n and bad == 0))
PY
}

bench() { ./bin/bench_cuda | tee "$out/bench.txt" | sed 's/^/figure: /'; }
yardstick() { python3 tools/gpu_yardstick.py | sed 's/^/figure: /'; }
memcheck() { command -v compute-sanitizer >/dev/null || { echo "no compute-sanitizer here"; return 77; }; compute-sanitizer --tool "$1" --error-exitcode 9 ./bin/test_cuda quick; }

export -f hone digest device world losses replay demo bench yardstick memcheck
export here out
if ! step "device" 30 bash -c device; then
    printf '%s\n' "${table[@]}"
    exit 77
fi
step "parity and exactness: ops" 100 ./bin/test_cuda
step "parity: models" 60 ./bin/test_cuda_model
step "bench" 120 bash -c bench
step "yardstick (PyTorch)" 60 bash -c yardstick
step "demo data" 40 bash -c world && {
    step "losses, fp32" 60 bash -c "losses fp32"
    step "losses, bf16" 60 bash -c "losses bf16"
    step "replay, kill -9" 60 bash -c replay
    step "demo: SFT, GRPO" 90 bash -c demo
}
step "memcheck" 60 bash -c "memcheck memcheck"
step "racecheck" 60 bash -c "memcheck racecheck"
rm -rf "$out/work" "$out/step"
printf '%s\n' "${table[@]}" | tee "$out/table"
echo "gpu_check: $failed failed, $(($(date +%s) - began)) s"
[ "$failed" -eq 0 ]
