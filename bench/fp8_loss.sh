#!/bin/sh
# FP8 against BF16: losses of SFT runs of a DeepSeek-V3-shaped model of 20.8 M parameters on the texts that Debian installs, three seeds of
# 300 steps, and their curve (docs/fp8_loss.svg; tools/loss_curve.py fails at 0.25 %).
#   bench/fp8_loss.sh FOLDER           from a base that has learnt something: about half an hour of two cores
#   bench/fp8_loss.sh FOLDER random    from random weights, 4,096 tokens a step; run again after an interruption it goes on: about 20 minutes of two idle cores
set -eu
cd "$(dirname "$0")/.."
root=$PWD hone=${HONE:-$PWD/hone}
mkdir -p "$1"
cd "$1"
if ! [ -f text.db ]; then
    python3 "$root/tools/debian_text.py" 6 >text.jsonl
    "$hone" tokenize train --out tok --pattern gpt2 --vocab 4096 text.jsonl
    cat >model.json <<'END'
{"architectures":["DeepseekV3ForCausalLM"],"model_type":"deepseek_v3","vocab_size":4096,"hidden_size":256,"intermediate_size":768,"moe_intermediate_size":256,
 "num_hidden_layers":4,"num_attention_heads":4,"q_lora_rank":128,"kv_lora_rank":128,"qk_nope_head_dim":64,"qk_rope_head_dim":32,"v_head_dim":64,
 "n_routed_experts":28,"n_shared_experts":1,"num_experts_per_tok":2,"n_group":4,"topk_group":2,"first_k_dense_replace":1,"norm_topk_prob":true,
 "routed_scaling_factor":2.5,"hidden_act":"silu","max_position_embeddings":512,"initializer_range":0.02,"rms_norm_eps":1e-6,"rope_theta":10000.0}
END
    cat >run.lua <<'END'
data = { sources = "text", turns = "text", raw = true, cap = 512, max_len = 512, over_long = "truncate" }
train = { leaves = 1, schedule = "cosine", beta2 = 0.95, weight_decay = 0.1, clip = 1, moments = "bf16", log_every = 20 }
END
    "$hone" model init model.json init --seed 1 --tokenizer tok
    "$hone" data import text.jsonl --store new.db --source text --quiet
    mv new.db text.db
fi

random() { # seed, precision: goes on where it stands
    [ -f "$2.$1.db" ] || cp text.db "$2.$1.db"
    "$hone" sft run.lua model.path=init data.store="$2.$1.db" model.precision="$2" seed="$1" threads=1 data.cap=2048 train.leaves=2 train.steps=300 train.lr=3e-4 train.lr_min=1e-4 \
        train.warmup=40 train.balance_rate=0.01 train.dir="run.$2.$1" train.save_every=10 train.keep=1 --resume
}
if [ "${2:-}" = random ]; then
    jobs=
    for seed in 1 2 3; do
        for precision in bf16 fp8; do
            random $seed $precision >"log.$precision.$seed" 2>&1 &
            jobs="$jobs $!"
        done
    done
    for job in $jobs; do wait "$job"; done
    python3 "$root/tools/loss_curve.py" fp8_random.svg bf16.1.db:fp8.1.db bf16.2.db:fp8.2.db bf16.3.db:fp8.3.db
    exit
fi

# a base that has learnt something: the first 214 of 400 steps of bf16
cp text.db base.db
"$hone" sft run.lua model.path=init data.store=base.db model.precision=bf16 seed=7 train.leaves=2 train.steps=400 train.lr=4e-4 train.lr_min=1e-4 train.warmup=50 \
    train.dir=base train.save_every=214 train.keep=0 &
job=$!
until [ -d base/step_00000214 ]; do sleep 1; done
kill -INT $job
wait $job || true

for seed in 1 2 3; do
    for precision in bf16 fp8; do
        cp text.db $precision.$seed.db
        "$hone" sft run.lua model.path=base/step_00000214 data.store=$precision.$seed.db model.precision=$precision seed=$seed train.steps=300 train.lr=2e-4 \
            train.lr_min=2e-5 train.warmup=20
    done
done
python3 "$root/tools/loss_curve.py" fp8_loss.svg bf16.1.db:fp8.1.db bf16.2.db:fp8.2.db bf16.3.db:fp8.3.db
