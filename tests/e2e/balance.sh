# The failures to catch: experts that stay unbalanced although the bias moves, a balance that comes from something else than the bias, loads and routes
# that are not in the store, a frozen router that moves; FP8 folders and DeepSeek configs that are wrong and not refused in one clear line.
. tests/e2e_lib.sh
small_world
import_all hone.db
config() { # patch
    python3 - "$@" <<'END'
import json, sys
c = {"architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "vocab_size": 400, "hidden_size": 48, "intermediate_size": 96, "moe_intermediate_size": 24,
     "num_hidden_layers": 3, "num_attention_heads": 2, "q_lora_rank": 24, "kv_lora_rank": 16, "qk_nope_head_dim": 12, "qk_rope_head_dim": 8, "v_head_dim": 12,
     "n_routed_experts": 8, "n_shared_experts": 1, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1, "norm_topk_prob": True,
     "routed_scaling_factor": 2.5, "hidden_act": "silu", "max_position_embeddings": 256, "initializer_range": 0.1, "rms_norm_eps": 1e-6, "rope_theta": 10000.0}
c.update(json.loads(sys.argv[1]))
print(json.dumps(c))
END
}
config '{}' >v3.json
"$hone" model init v3.json v3 --seed 3 --tokenizer tok >/dev/null
last() { sqlite3 hone.db "SELECT $1 AND run = (SELECT max(id) FROM runs)"; }
train() { "$hone" sft sft.lua model.path=v3 data.store=hone.db data.cap=512 train.steps=90 train.leaves=4 train.lr=3e-4 train.warmup=5 train.save_every=0 train.dir="$@" 2>/dev/null; }

# a few words make up these texts, so few experts get most tokens; 90 steps of 2,000 tokens
train even train.balance_rate=0.003 || fail "sft with train.balance_rate"
even=$(last "avg(value) FROM metrics WHERE name = 'max_violation' AND step > 60")
train odd || fail "sft without"
odd=$(last "avg(value) FROM metrics WHERE name = 'max_violation' AND step > 60")
echo "max violation behind step 60: $even with a rate of 0.003, $odd without"
[ "$(sqlite3 :memory: "SELECT $even < 0.2 AND $odd > 0.5")" = 1 ] || fail "balance"
# every layer's load, whole: two experts for each token
[ "$(last "count(*) FROM loads WHERE 1")" = 180 ] || fail "two mixtures and 90 steps of load"
[ "$(last "count(*) FROM loads l WHERE (SELECT sum(value) FROM json_each(l.tokens)) <> 2 * (SELECT value FROM metrics m WHERE m.run = l.run AND m.step = l.step AND name = 'tokens')")" = 0 ] ||
    fail "a load that is not two experts per token"

# a frozen router: neither gate nor bias moves, the rest does
train frozen model.freeze_router=true train.weight_decay=0.1 train.steps=2 train.warmup=1 || fail "sft with model.freeze_router"
rc=0
"$hone" model diff v3 frozen/step_00000002 >diff || rc=$?
[ $rc -eq 10 ] && grep -q experts.3.down_proj diff || fail "nothing was trained"
! grep -q 'mlp.gate\.' diff || fail "the router moved: $(grep 'mlp.gate\.' diff)"

# routes of sampled tokens: recorded, and the trainer's
"$hone" grpo grpo.lua model.path=even data.store=hone.db train.dir=rl train.steps=2 train.save_every=0 eval.every=0 2>/dev/null || fail grpo
[ "$(last "count(*) || ' ' || sum(value) FROM metrics WHERE name = 'differing_routes'")" = "2 0.0" ] || fail "differing routes"
[ "$(last "count(*) FROM rollouts WHERE purpose = 'train' AND length(routes) <> n * 2 * 2 * 2")" = 0 ] || fail "routes of sampled tokens"

# FP8 folders: there and back, and what is wrong with one
"$hone" model convert v3 v3.fp8 --dtype fp8 || fail "model convert"
"$hone" model convert v3.fp8 v3.again --dtype fp8 || fail "model convert of an fp8 folder"
grep -q weight_block_size v3.fp8/config.json || fail "config.json of an fp8 folder"
"$hone" model convert v3.fp8 v3.back --dtype f32 && ! grep -q quantization_config v3.back/config.json || fail "back to f32"
for precision in fp32 bf16 fp8; do
    echo '{"id":0,"ids":[1,2,3,4,5],"n_prompt":1}' | "$hone" score --model v3.fp8 --precision $precision >score.$precision 2>/dev/null || fail "score of an fp8 folder in $precision"
done
echo '{"id":0,"ids":[1,2,3,4,5],"n_prompt":1}' | "$hone" score --model v3.back >back 2>/dev/null
cmp back score.fp32 || fail "an fp8 folder and its values in f32 score differently"

refused() { # words, command...
    words=$1 rc=0
    shift
    timeout 60 "$@" >out 2>err </dev/null || rc=$?
    [ $rc -ne 0 ] && grep '^hone: ' err | tail -1 | grep -q -- "$words" || { cat err; fail "'$*' does not say '$words' in its last line"; }
}
config '{"n_group": 3}' >bad.json
refused "8 experts do not divide into 3 groups" "$hone" model init bad.json bad
config '{"rope_scaling": {"type": "longrope", "factor": 4}}' >bad.json
refused "rope type 'longrope' is not supported" "$hone" model init bad.json bad
patch() { # folder, from, to: in the header of its weights, same length
    rm -rf bad && cp -r "$1" bad
    python3 -c 'import sys; p = "bad/model.safetensors"; b = open(p, "rb").read(); assert sys.argv[1].encode() in b; open(p, "wb").write(b.replace(sys.argv[1].encode(), sys.argv[2].encode(), 1))' "$2" "$3"
}
patch v3.fp8 '0.self_attn.o_proj.weight_scale_inv' '0.self_attn.o_proj.weight_scale_inw'
refused "weight_scale_inw' is not part of" "$hone" model diff bad v3
python3 - <<'END'
import json, struct
b = open("v3.fp8/model.safetensors", "rb").read()
n = struct.unpack("<Q", b[:8])[0]
h = json.loads(b[8:8 + n])
gone = "model.layers.0.self_attn.o_proj.weight_scale_inv"
data, out, at = b[8 + n:], b"", 0
del h[gone]
for k, v in sorted(((k, v) for k, v in h.items() if k != "__metadata__"), key=lambda x: x[1]["data_offsets"]):
    f, t = v["data_offsets"]
    out += data[f:t]
    v["data_offsets"] = [at, at + t - f]
    at += t - f
h = json.dumps(h).encode()
open("bad/model.safetensors", "wb").write(struct.pack("<Q", len(h)) + h + out)
END
refused "its scales 'model.layers.0.self_attn.o_proj.weight_scale_inv' are missing" "$hone" model diff bad v3
python3 - <<'END'
import json, struct
b = open("v3/model.safetensors", "rb").read()
n = struct.unpack("<Q", b[:8])[0]
h = json.loads(b[8:8 + n])
h["model.layers.1.mlp.gate.e_score_correction_bias"]["shape"] = [2, 4]
h = json.dumps(h).encode()
open("bad/model.safetensors", "wb").write(struct.pack("<Q", len(h)) + h + b[8 + n:])
END
cp v3/config.json bad/
refused "e_score_correction_bias' has shape \[2, 4\], config.json gives \[8\]" "$hone" model diff bad v3
refused "balance experts; a llama" "$hone" sft sft.lua data.store=hone.db train.balance_rate=0.001 train.dir=no
refused "freeze_router keeps" "$hone" sft sft.lua model.path=v3 data.store=hone.db train.balance_loss=0.001 model.freeze_router=true train.dir=no
echo "experts are balanced, routes agree, fp8 folders come back"
