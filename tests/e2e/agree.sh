# The failure to catch: `hone score` gives other bits than `hone rollout` recorded; samples that depend on the lines around a prompt, on --batch or
# on threads; a bad line that stops the good ones.
. tests/e2e_lib.sh
small_world
cat >prompts.jsonl <<'END'
{"id":1,"prompt":"Ann has 3 pens, finds 4. How many now?"}
{"id":"two","messages":[{"role":"user","content":"Tom has 9 coins, loses 2. How many now?"}]}
{"id":3,"ids":[1,2,3,4,5,6,7,8,9,10]}
not json
{"id":5,"ids":[999999]}
{"id":6,"nothing":1}
END
rc=0
"$hone" rollout --model init --samples 3 --max-tokens 20 --seed 4 <prompts.jsonl >out.jsonl 2>/dev/null || rc=$?
[ $rc -eq 1 ] || fail "bad lines must give exit code 1, got $rc"
[ "$(wc -l <out.jsonl)" -eq 12 ] || fail "9 samples and 3 errors, got $(wc -l <out.jsonl) lines"
grep -q '"id":5,"error"' out.jsonl || fail "line 5 has no error of its own"
rc=0
tac prompts.jsonl | "$hone" rollout --model init --samples 3 --max-tokens 20 --seed 4 --batch 2 --threads 1 2>/dev/null >back.jsonl || rc=$?
sort out.jsonl | grep -v '"error"' >x; sort back.jsonl | grep -v '"error"' >y
cmp x y || fail "samples depend on order, batch or threads"
cat >v3.json <<'END'
{"architectures":["DeepseekV3ForCausalLM"],"model_type":"deepseek_v3","vocab_size":400,"hidden_size":40,"intermediate_size":72,"moe_intermediate_size":24,
 "num_hidden_layers":3,"num_attention_heads":2,"q_lora_rank":24,"kv_lora_rank":16,"qk_nope_head_dim":12,"qk_rope_head_dim":8,"v_head_dim":12,
 "n_routed_experts":8,"n_shared_experts":1,"num_experts_per_tok":2,"n_group":2,"topk_group":1,"first_k_dense_replace":1,"norm_topk_prob":true,
 "routed_scaling_factor":2.5,"hidden_act":"silu","max_position_embeddings":256,"initializer_range":0.2,"rms_norm_eps":1e-6,"rope_theta":10000.0}
END
"$hone" model init v3.json v3 --seed 9 --tokenizer tok >/dev/null
for run in "init fp32" "init bf16" "init fp8" "v3 fp32" "v3 bf16" "v3 fp8"; do
    model=${run% *} precision=${run#* }
    grep -v 'not json\|999999\|nothing' prompts.jsonl | "$hone" rollout --model "$model" --samples 2 --max-tokens 24 --precision "$precision" >out.jsonl 2>/dev/null
    python3 - "$precision" "$model" <<'END'
import json, subprocess, os, sys
hone = os.environ.get("HONE", "./hone")
prompts = [json.loads(l) for l in open("prompts.jsonl") if l.startswith("{")]
ids = {}
for p in prompts[:3]:
    if "ids" in p:
        ids[json.dumps(p["id"])] = p["ids"]
    else:
        text = p.get("prompt") or subprocess.run([hone, "template", "--model", sys.argv[2]], input=json.dumps({"id": 0, "messages": p["messages"], "add_generation_prompt": True}).encode(),
                                                stdout=subprocess.PIPE, check=True).stdout.decode()
        if "messages" in p:
            text = json.loads(text)["text"]
        out = subprocess.run([hone, "tokenize", "--model", sys.argv[2]], input=json.dumps({"id": 0, "text": text}).encode(), stdout=subprocess.PIPE, check=True).stdout
        ids[json.dumps(p["id"])] = json.loads(out)["ids"]
samples = [json.loads(l) for l in open("out.jsonl")]
q = "".join(json.dumps({"id": i, "ids": ids[json.dumps(s["id"])] + s["ids"], "n_prompt": len(ids[json.dumps(s["id"])])}) + "\n" for i, s in enumerate(samples))
out = subprocess.run([hone, "score", "--model", sys.argv[2], "--precision", sys.argv[1]], input=q.encode(), stdout=subprocess.PIPE, check=True).stdout.decode().splitlines()
tokens = 0
for s, line in zip(samples, out):
    a = json.loads(line)
    assert a["logp"] == s["logp"], (s["id"], a["logp"][:3], s["logp"][:3])
    tokens += len(a["logp"])
assert len(out) == len(samples) == 6 and tokens > 20, (len(out), tokens)
END
done
# training in every precision: the trainer computes the log-probs that the rollout recorded (counted in every step), before and after updates
import_all hone.db
for precision in bf16 fp8; do
    "$hone" sft sft.lua model.path=v3 model.precision=$precision data.store=hone.db train.dir=sft.$precision train.steps=3 train.save_every=0 2>/dev/null || fail "sft in $precision"
    "$hone" grpo grpo.lua model.path=sft.$precision model.precision=$precision data.store=hone.db train.dir=grpo.$precision train.steps=3 train.save_every=0 eval.every=0 2>/dev/null || fail "grpo in $precision"
    bad=$(sqlite3 hone.db "SELECT count(*) || ' steps, ' || sum(value) FROM metrics WHERE name = 'differing_tokens' AND run = (SELECT max(id) FROM runs)")
    [ "$bad" = "3 steps, 0.0" ] || fail "grpo in $precision: differing tokens: $bad"
    bad=$(sqlite3 hone.db "SELECT count(*) || ' steps, ' || sum(value) FROM metrics WHERE name = 'differing_routes' AND run = (SELECT max(id) FROM runs)")
    [ "$bad" = "3 steps, 0.0" ] || fail "grpo in $precision: tokens of other experts: $bad"
done
# a folder without a tokenizer: ids in, ids out
"$hone" model init model.json bare --seed 3 >/dev/null
echo '{"id":0,"ids":[1,2,3]}' | "$hone" rollout --model bare --max-tokens 5 2>/dev/null >bare.jsonl || fail "rollout without a tokenizer"
python3 -c 'import json; r = json.load(open("bare.jsonl")); print(json.dumps({"id": 0, "ids": [1, 2, 3] + r["ids"], "n_prompt": 3}))' | "$hone" score --model bare >score.jsonl
python3 -c 'import json; assert json.load(open("bare.jsonl"))["logp"] == json.load(open("score.jsonl"))["logp"]' || fail "score without a tokenizer"
echo "rollout and score agree"
