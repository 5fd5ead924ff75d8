#!/bin/bash
# hone plan, hone model info. Fails when: the report's figures, the bubble table or the published expert placement come out otherwise, text and
# JSON disagree, or a layout that cannot work is not refused with one line.
. tests/e2e_lib.sh
models=$root/configs/models
report="$models/deepseek_v3.json --cluster h800 --gpus 2048 --pp 16 --ep 64 --uneven --schedule dualpipe --recompute selective
        --precision fp8 --moments bf16 --batch 15360 --hours-per-trillion 180000 --tokens 14.8e12 --more context:119000,post:5000"
# shellcheck disable=SC2086
"$hone" plan $report >text
# shellcheck disable=SC2086
"$hone" plan $report --json >json
for line in 'GPU-hours  *2664\.0 K' 'days per trillion tokens  *3\.66' 'GPU-hours in all  *2788\.0 K' 'cost in all  *5\.576 M' 'cache of a token, bf16  *70\.3 KB' 'per query, key and head  *2176'; do
    grep -q "$line" text || { cat text; fail "no line '$line'"; }
done
python3 - <<'END'
import json
r = json.load(open("json"))
t = r["time"]
assert abs(t["gpu_hours"] - 2664e3) < 1 and abs(t["all_gpu_hours"] - 2788e3) < 1 and abs(t["all_cost"] - 5.576e6) < 2, t
m = r["memory"]
parts = ["weights", "gradients", "master", "moments", "activations", "logits", "cache", "reserve"]
assert abs(sum(m[k] for k in parts) - m["total"]) < 1, m
for name, b in r["bubbles"].items():
    assert abs(b["formula_s"] - b["simulated_s"]) < (0.06 if name == "dualpipe" else 1e-9) * b["formula_s"], (name, b)
assert r["mla"]["absorbed"]["cache_bytes"] == 70272 and r["mla"]["expanded"]["pair_flops"] == 640
text = open("text").read()
for k in parts: # the same list makes both
    assert f"{m[k] / 2**30:.2f} GiB" in text, k
END
"$hone" plan bubbles >table
[ "$(grep -c equal table)" = 15 ] || { cat table; fail "simulated bubbles are not the formulas'"; }
grep -q '^ *16  *64  DualPipe  *14.0000  *14.0000' table || fail "16/64"
# the published example
cat >loads.json <<'END'
{"loads": [[90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86], [20, 107, 104, 64, 19, 197, 187, 157, 172, 86, 16, 27]]}
END
"$hone" plan eplb loads.json --replicas 16 --groups 4 --nodes 2 --gpus 8 --json >placed
grep -q '"layer":0,"slot_expert":\[5,6,5,7,8,4,3,4,10,9,10,2,0,1,11,1\]' placed || fail "placement of layer 0"
grep -q '"layer":1,"slot_expert":\[7,10,6,8,6,11,8,9,2,4,5,1,5,0,3,1\]' placed || fail "placement of layer 1"
"$hone" plan eplb loads.json --replicas 16 --groups 4 --nodes 2 --gpus 8 | grep -q '  node 1 GPU 3: 11,1' || fail "placement as text"
"$hone" plan clusters | grep -q '^h800 .* 160 GB/s    50 GB/s' || fail "presets"

info() { "$hone" model info "$models/$1.json"; }
info deepseek_v3 | grep -q '^parameters  671026419200 ' && info deepseek_v3 | grep -q '^activated   36625618432 ' || fail "V3"
info deepseek_v3 | grep -q '^mtp  *11610068224 ' && info deepseek_v3 | grep -q '70272 bytes (70.3 KB) per token in bf16' || fail "V3: MTP, cache"
info deepseek_v2 | grep -q '(235.74 B)' && info deepseek_v2 | grep -q '(20.85 B) per token' || fail "V2"
info deepseek_v2_lite | grep -q '(15.71 B)' && info deepseek_v2_lite | grep -q '(2.45 B) per token' || fail "V2-Lite"
info llama31_8b | grep -q '^parameters  8030261248 ' || fail "Llama"
info qwen25_05b | grep -q '^parameters  494032768 ' || fail "Qwen2.5"
info qwen3_30b_a3b | grep -q '(30.53 B)' && info qwen3_30b_a3b | grep -q '(3.04 B) per token' || fail "Qwen3-MoE"

refused() { # exit code, words of the line, command
    local code=$1 words=$2 rc=0
    shift 2
    "$hone" plan "$@" >out 2>line || rc=$?
    [ "$rc" = "$code" ] && [ "$(wc -l <line)" = 1 ] && [ ! -s out ] && grep -qF -- "$words" line || { cat out line; fail "plan $*: $rc"; }
}
v3="$models/deepseek_v3.json"
refused 2 '256 experts do not divide over EP 48' "$v3" --gpus 768 --pp 16 --ep 48 --uneven
refused 2 '61 layers do not divide into 16 pipeline stages; hint: --uneven gives stages of 4 and 3' "$v3" --gpus 2048 --pp 16 --ep 64
refused 2 'EP 64 does not divide DP 32' "$v3" --gpus 512 --pp 16 --ep 64 --uneven
refused 2 "no cluster preset 'h9000'" "$v3" --cluster h9000
refused 2 'are not 2048 GPUs' "$v3" --gpus 2048 --pp 16 --dp 100 --uneven
refused 2 'has no fp8; hint: --precision bf16' "$v3" --cluster a100 --precision fp8
refused 2 "both give the speed" "$models/llama31_8b.json" --recompute full --mfu 0.3 --hours-per-trillion 100
refused 2 'the model has no experts' "$models/llama31_8b.json" --ep 2
refused 2 'NAME:GPU-HOURS' "$models/llama31_8b.json" --recompute full --more x
refused 9 'GiB too many; most of it activations' "$models/llama31_8b.json" --micro 4
grep -q 'would fit: --micro 1 (' line || fail "no hint"
refused 4 'missing.json' missing.json
refused 2 "is no shape; hint: STAGES/MICRO-BATCHES" bubbles --shapes 8x20
refused 2 'cannot be longer' bubbles --w 3
refused 2 'do not divide' eplb loads.json --replicas 15 --gpus 8
echo '[[1, 2], [3]]' >bad.json
refused 3 'layer 1 has 1 loads, the first has 2' eplb bad.json --gpus 2
echo '[[1, -2]]' >bad.json
refused 3 'is not a number from 0' eplb bad.json --gpus 2
echo '{"loads": 3}' >bad.json
refused 3 'a list of loads per layer is expected' eplb bad.json
echo "plan: ok"
