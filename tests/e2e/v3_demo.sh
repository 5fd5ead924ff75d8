#!/bin/bash
# The recipes of a DeepSeek-V3-shaped model. Fails when: sft, rollout or grpo does not take it from configs/, a log-prob of the trainer is not the
# rollout's, the loss does not fall, or an extended model does not say so in its config.json, or does not compute as it says.
. tests/e2e_lib.sh
small_world
mkdir demo
sed 's/"vocab_size": 512/"vocab_size": 400/' "$root/configs/v3_demo_model.json" >v3.json
"$hone" model init v3.json demo/v3_init --seed 7 --tokenizer tok >/dev/null
for s in sft rl heldout; do "$hone" data import $s.jsonl --store demo/hone.db --source demo_$s --quiet >/dev/null 2>&1 || fail "import"; done
"$hone" sft "$root/configs/v3_demo_sft.lua" train.steps=40 train.lr=3e-3 train.warmup=3 2>log || { cat log; fail "sft"; }
sql() { sqlite3 demo/hone.db "$1"; }
loss() { sql "SELECT avg(value) FROM metrics m JOIN runs r ON r.id = m.run WHERE r.kind = 'sft' AND m.name = 'loss' AND m.step BETWEEN $1 AND $2"; }
awk -v a="$(loss 1 5)" -v b="$(loss 36 40)" 'BEGIN { exit !(b < 0.8 * a) }' || fail "the loss does not fall: $(loss 1 5) to $(loss 36 40)"
head -4 rl.jsonl | "$hone" rollout --model demo/v3_sft --samples 2 --max-tokens 8 --seed 1 >samples 2>log || { cat log; fail "rollout"; }
[ "$(wc -l <samples)" = 8 ] || fail "samples"
"$hone" grpo "$root/configs/v3_demo_grpo.lua" train.steps=2 train.warmup=0 grpo.prompts=4 grpo.group=4 eval.prompts=4 rollout.max_tokens=12 2>log || { cat log; fail "grpo"; }
[ "$(sql "SELECT sum(value) FROM metrics WHERE name = 'differing_tokens'")" = 0.0 ] || fail "log-probs of rollout and trainer differ"
[ "$(sql "SELECT sum(value) > 0 FROM metrics WHERE name = 'compared_tokens'")" = 1 ] || fail "nothing was compared"

# the measured loads give a placement, by the query of docs/plan.md
sed -n '/^sqlite3 hone.db/,/loads.json$/p' "$root/docs/plan.md" | sed 's#hone.db#demo/hone.db#' >query.sh
sh query.sh || fail "the query of docs/plan.md"
"$hone" plan eplb loads.json --replicas 24 --groups 4 --nodes 2 --gpus 8 --json >placed || fail "placement"
python3 - <<'END'
import json
loads, placed = json.load(open("loads.json"))["loads"], [json.loads(l) for l in open("placed")]
assert len(loads) == len(placed) and len(loads) >= 3 and all(len(x) == 16 for x in loads), loads
assert all(sum(x) > 0 for x in loads[:3]), loads # behind them the MTP layer, which GRPO does not run
for p in placed:
    assert sorted(set(p["slot_expert"])) == list(range(16)) and sum(p["replicas"]) == 24 and 1 <= p["imbalance"] < 4, p
END

# extension in two stages: the saved config has it, the second stage adds nothing of its own
extend="model.rope=yarn model.rope_factor=40 model.rope_original=512 train.steps=1 train.lr=0 train.warmup=0 train.schedule=constant train.lr_min=0"
# shellcheck disable=SC2086
"$hone" sft "$root/configs/v3_demo_sft.lua" model.path=demo/v3_sft train.dir=demo/long $extend 2>log || { cat log; fail "extension"; }
# shellcheck disable=SC2086
"$hone" sft "$root/configs/v3_demo_sft.lua" model.path=demo/long train.dir=demo/longer $extend 2>log || { cat log; fail "second stage"; }
python3 - <<'END'
import glob, json
def config(run):
    return json.load(open(sorted(glob.glob(f"demo/{run}/**/config.json", recursive=True))[-1]))
a, b, before = config("long"), config("longer"), config("v3_sft")
want = {"factor": 40, "beta_fast": 32, "beta_slow": 1, "mscale": 1, "mscale_all_dim": 1, "original_max_position_embeddings": 512}
for c in a, b:
    r = c["rope_scaling"]
    assert (r.get("rope_type") or r.get("type")) == "yarn" and all(r[k] == v for k, v in want.items()), r
    assert c["max_position_embeddings"] == 20480, c
assert not before.get("rope_scaling") and before["max_position_embeddings"] == 512
END
ids='{"id":1,"ids":[1,2,3,4,5,6,7,8],"n_prompt":1}'
logp() { echo "$ids" | "$hone" score --model "$1" 2>/dev/null; }
[ "$(logp demo/long)" = "$(logp demo/longer)" ] || fail "the second stage computes otherwise"
[ "$(logp demo/long)" != "$(logp demo/v3_sft)" ] || fail "the extension changes nothing"
"$hone" sft "$root/configs/v3_demo_sft.lua" model.path=demo/v3_sft train.dir=demo/bad model.rope=yarn model.positions=100 2>log && fail "fewer positions are taken"
grep -q 'model.positions 100 are fewer than the 512' log || { cat log; fail "no line for fewer positions"; }
echo "v3 demo: ok"
