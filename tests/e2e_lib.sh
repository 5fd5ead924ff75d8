# Sourced by the tests that train: a small world made in a scratch folder, the same for the same seed.
set -eu
hone=${HONE:-$PWD/hone}
root=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

fail() { echo "FAILED: $*"; exit 1; }
rows() { "$hone" generate "$root/configs/demo_problems.lua" --seed 7 "$@"; }

small_world() { # files: rows, tokenizer, model; no store yet
    rows kind=sft split=train --n 300 >sft.jsonl
    rows kind=rl split=train --n 200 >rl.jsonl
    rows kind=rl split=heldout --n 12 >heldout.jsonl
    "$hone" tokenize train --out tok --pattern gpt2 --vocab 400 sft.jsonl 2>/dev/null
    cat >model.json <<'END'
{"architectures":["LlamaForCausalLM"],"model_type":"llama","vocab_size":400,"hidden_size":32,"intermediate_size":64,"num_hidden_layers":2,
 "num_attention_heads":2,"num_key_value_heads":1,"head_dim":16,"hidden_act":"silu","max_position_embeddings":256,"initializer_range":0.06,
 "rms_norm_eps":1e-6,"rope_theta":10000.0,"tie_word_embeddings":true,"torch_dtype":"float32"}
END
    "$hone" model init model.json init --seed 7 --tokenizer tok >/dev/null
    cat >base.lua <<'END'
data = { cap = 256 }
rollout = { temperature = 1, max_tokens = 16, batch = 16, context = 96 }
reward = { list = { math = 1 } }
eval = { sources = "heldout", split = "all", samples = 2, k = { "1", "2" }, temperature = 1 }
END
    cat >sft.lua <<'END'
include("base.lua")
model = { path = "init" }
data.sources = "sft"
train = { steps = 24, leaves = 2, lr = 2e-3, warmup = 2, save_every = 4, log_every = 1000 }
END
    cat >grpo.lua <<'END'
include("base.lua")
model = { path = "a/sft" }
data.sources = "rl"
train = { steps = 8, leaves = 2, lr = 1e-3, save_every = 2, log_every = 1000, moments = "bf16" }
grpo = { prompts = 4, group = 4, kl_coef = 0.01, ref_sync_every = 3, minibatches = 2 }
eval.every = 4
END
}

import_all() { # store
    for s in sft rl heldout; do "$hone" data import $s.jsonl --store "$1" --source $s --quiet >/dev/null 2>&1 || return 1; done
}

digest() { "$hone" ckpt digest "$1" | cut -d' ' -f1; }

# All rows that a run leaves, but times and row ids.
dump() { # store kind
    sqlite3 "$1" "WITH r AS (SELECT max(id) AS id FROM runs WHERE kind = '$2')
        SELECT 's', step, epoch FROM steps, r WHERE run = r.id UNION ALL
        SELECT 'm', step, name || '=' || coalesce(value, 'null') FROM metrics, r WHERE run = r.id UNION ALL
        SELECT 'e', step, dataset || name || '=' || value || '/' || n FROM evals, r WHERE run = r.id UNION ALL
        SELECT 'o', step, purpose || prompt || ',' || sample || ' ' || stop || ' ' || coalesce(reward, 'null') || ' ' || coalesce(advantage, 'null') || ' ' || used || ' ' || hex(ids) || ' ' || hex(logp) FROM rollouts, r WHERE run = r.id UNION ALL
        SELECT 'v', step, purpose || prompt || ',' || sample || ' ' || reward || ' ' || outcome || ' ' || coalesce(why, '') FROM verdicts, r WHERE run = r.id
        ORDER BY 1, 2, 3"
}
