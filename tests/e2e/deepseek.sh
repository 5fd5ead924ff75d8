# The failures to catch, on a DeepSeek-V3-shaped model: a rollout whose log-probs are not the trainer's in either form of latent attention;
# a run that mixes the forms; a form that is not recorded; MTP layers that do not learn in SFT, or do not follow the policy in RL, or move it.
# Drafts that change a sample; a killed run that ends elsewhere.
. tests/e2e_lib.sh
small_world
cat >v3.json <<'END'
{"architectures":["DeepseekV3ForCausalLM"],"model_type":"deepseek_v3","vocab_size":400,"hidden_size":32,"intermediate_size":64,"moe_intermediate_size":16,
 "num_hidden_layers":2,"first_k_dense_replace":1,"num_attention_heads":4,"num_key_value_heads":4,"q_lora_rank":16,"kv_lora_rank":16,"qk_nope_head_dim":8,
 "qk_rope_head_dim":8,"v_head_dim":8,"n_routed_experts":8,"n_shared_experts":1,"num_experts_per_tok":2,"n_group":4,"topk_group":2,"norm_topk_prob":true,"num_nextn_predict_layers":1,
 "scoring_func":"sigmoid","topk_method":"noaux_tc","routed_scaling_factor":2.5,"hidden_act":"silu","max_position_embeddings":256,"initializer_range":0.06,
 "rms_norm_eps":1e-6,"rope_theta":10000.0,"tie_word_embeddings":false,"torch_dtype":"float32"}
END
"$hone" model init v3.json v3 --seed 7 --tokenizer tok >/dev/null
import_all hone.db

refused() { # words, command...
    words=$1
    shift
    rc=0
    "$@" >out 2>err </dev/null || rc=$?
    [ $rc -eq 2 ] || { cat err; fail "'$*' ended with $rc, not 2"; }
    tail -1 err | grep -q -- "$words" || { cat err; fail "'$*' does not say '$words'"; }
}
value() { sqlite3 hone.db "SELECT sum(value) FROM metrics WHERE name = '$1' AND run = (SELECT max(id) FROM runs)"; }

# rollout and score: the same log-probs in each form, other bits in the other
head -4 rl.jsonl >prompts.jsonl
for form in absorbed expanded; do
    "$hone" rollout --model v3 --mla $form --samples 2 --max-tokens 20 <prompts.jsonl 2>/dev/null >s.$form || fail "rollout"
    python3 - $form <<'END'
import json, sys
out = open("q." + sys.argv[1], "w")
for line in open("s." + sys.argv[1]):
    s = json.loads(line)
    out.write(json.dumps({"id": 0, "ids": [5] + s["ids"], "n_prompt": 1}) + "\n")
END
    "$hone" score --model v3 --mla $form <q.$form >a.$form 2>/dev/null || fail "score"
done
"$hone" score --model v3 <q.absorbed >a.auto 2>/dev/null
cmp -s a.auto a.absorbed || fail "score's form is not the absorbed one"
"$hone" score --model v3 --mla expanded <q.absorbed >a.other 2>/dev/null
cmp -s a.other a.absorbed && fail "the forms have the same bits: one of them is not computed"

# a run has one form
set -- "$hone" sft sft.lua model.path=v3 data.store=hone.db train.dir=sft train.steps=4
"$@" 2>/dev/null || fail "sft"
grep -q 'model.mla=expanded' sft/step_*4/hone/state.json || fail "the form of an SFT run is not recorded as expanded"
refused "model.mla=expanded, now it is model.mla=absorbed" "$@" train.steps=4 model.mla=absorbed --resume
refused "belongs to a run with model.mla=expanded" "$hone" score --model sft --mla absorbed

# MTP: learnt in SFT, left alone where its weight is 0
"$hone" sft sft.lua model.path=v3 data.store=hone.db train.dir=mtp train.steps=20 train.mtp_weight=0.3 train.mtp_late_at=0.5 2>/dev/null || fail "sft with MTP"
sqlite3 hone.db "SELECT value FROM metrics WHERE name = 'mtp_loss' AND run = (SELECT max(id) FROM runs) ORDER BY step" >mtp.txt
awk 'NR == 1 { first = $1 } { last = $1 } END { exit !(NR == 20 && last < 0.9 * first) }' mtp.txt || { cat mtp.txt; fail "the MTP loss does not fall"; }
[ "$(sqlite3 hone.db "SELECT group_concat(DISTINCT value) FROM metrics WHERE name = 'mtp_weight' AND run = (SELECT max(id) FROM runs)")" = 0.3,0.1 ] || fail "schedule of the MTP weight"
"$hone" sft sft.lua model.path=v3 data.store=hone.db train.dir=plain train.steps=4 train.mtp_weight=0 train.mtp_weight_late=0 train.weight_decay=0.1 2>/dev/null || fail "sft without MTP"
"$hone" model diff v3 plain/step_*4 >d.txt 2>/dev/null || true
grep -q 'model.layers.1\.' d.txt || { cat d.txt; fail "nothing was trained"; }
grep 'model.layers.2\.' d.txt && fail "MTP layers moved with weight 0"

# drafts: the same samples, in both forms and all precisions, and in RL the same weights
for form in absorbed expanded; do
    rm -rf weights && cp -r mtp/step_*20 weights && rm -r weights/hone # weights without their run: both forms may be used
    "$hone" rollout --model weights --mla $form --samples 3 --max-tokens 40 --ignore-eos <prompts.jsonl >plain.txt 2>/dev/null || fail "rollout"
    "$hone" rollout --model weights --mla $form --samples 3 --max-tokens 40 --ignore-eos --speculate 2 --batch 5 --threads 1 <prompts.jsonl >drafts.txt 2>log || fail "rollout with drafts"
    cmp plain.txt drafts.txt || fail "drafts change samples"
    grep -q 'drafts accepted' log || fail "the acceptance is not printed"
done
refused "needs a model with MTP layers" "$hone" rollout --model init --speculate 1
for form in auto expanded; do
    for precision in fp32 bf16 fp8; do
        for drafts in 0 2; do
            d=grpo.$form.$precision.$drafts
            "$hone" grpo grpo.lua model.path=sft data.store=hone.db train.dir=$d model.mla=$form model.precision=$precision train.steps=2 rollout.speculate=$drafts 2>log || { cat log; fail "grpo"; }
            [ "$(value differing_tokens)" = 0.0 ] || fail "$d: $(value differing_tokens) tokens differ"
            [ "$(value compared_tokens)" != 0.0 ] || fail "nothing was compared"
        done
        [ "$(digest grpo.$form.$precision.0)" = "$(digest $d)" ] || fail "$form $precision: drafts change the weights"
    done
done
[ "$(sqlite3 hone.db "SELECT count(*) FROM timings WHERE name = 'drafts_accepted'")" != 0 ] || fail "the acceptance is not recorded"
grep -q 'model.mla=absorbed' grpo.auto.fp32.0/step_*/hone/state.json || fail "the form of a GRPO run is not recorded as absorbed"

# RL: the MTP module follows the policy, drafts stay right, and the policy is the same as without
accepted() { sqlite3 hone.db "SELECT printf('%d', 1000 * avg(value)) FROM timings WHERE name = 'drafts_accepted' AND step > 20 AND run = (SELECT max(id) FROM runs)"; }
"$hone" sft sft.lua model.path=v3 data.store=hone.db train.dir=base train.steps=150 train.mtp_weight=0.3 train.save_every=0 2>/dev/null || fail "sft with MTP"
for weight in 0 0.1; do
    "$hone" grpo grpo.lua model.path=base data.store=hone.db train.dir=mtp.$weight grpo.mtp_weight=$weight train.steps=30 train.lr=2e-3 train.save_every=0 rollout.speculate=1 \
        rollout.max_tokens=32 grpo.prompts=8 grpo.kl_coef=0 grpo.ref_sync_every=0 eval.every=0 train.weight_decay=0.1 2>log || { cat log; fail "grpo with MTP"; }
    [ "$(value differing_tokens)" = 0.0 ] || fail "grpo.mtp_weight=$weight: tokens differ"
    accepted >accepted.$weight
done
[ $((10 * $(cat accepted.0.1))) -gt $((12 * $(cat accepted.0))) ] || fail "drafts accepted: $(cat accepted.0.1) of 1000 with grpo.mtp_weight, $(cat accepted.0) without"
sqlite3 hone.db "SELECT count(*) FROM metrics WHERE name = 'mtp_loss' AND run = (SELECT max(id) FROM runs)" | grep -q '^[12]' || fail "no MTP loss of a GRPO run"
"$hone" model diff mtp.0/step_* mtp.0.1/step_* >d.txt 2>/dev/null || true
grep -q 'model.layers.2\.' d.txt || { cat d.txt; fail "MTP layers did not learn"; }
! grep -v 'model.layers.2\.' d.txt | grep 'model\.[a-z]' || fail "the MTP loss moves the policy"
"$hone" model diff base/step_* mtp.0/step_* >d.txt 2>/dev/null || true
grep 'model.layers.2\.' d.txt && fail "MTP layers moved with grpo.mtp_weight=0"

# kill -9 at random moments and resume: the digest of the run that was left alone. KILLS=20 for the full claim.
disturbed() { # folder, command...
    dir=$1 killed=0
    shift
    while :; do
        wait_s=$(awk -v s="$(od -An -N4 -tu4 /dev/urandom)" 'BEGIN { srand(s); printf "%.3f", 0.02 + rand() * 0.6 }')
        "$@" train.dir="$dir" --resume >last.log 2>&1 &
        pid=$!
        sleep "$wait_s"
        [ $killed -ge "${KILLS:-4}" ] || kill -9 $pid 2>/dev/null || true
        rc=0
        wait $pid 2>/dev/null || rc=$?
        case $rc in
        0) [ $killed -ge "${KILLS:-4}" ] && return 0
            rm -rf "$dir" ;; # it was faster: from the start
        137) killed=$((killed + 1)) ;;
        *) cat last.log; fail "$* ended with $rc" ;;
        esac
    done
}
set -- "$hone" sft sft.lua model.path=v3 train.mtp_weight=0.3 train.steps=12 train.save_every=1
"$@" data.store=hone.db train.dir=left 2>/dev/null || fail "sft"
cp hone.db other.db
disturbed killed "$@" data.store=other.db
[ "$(digest left)" = "$(digest killed)" ] || fail "a killed SFT run with MTP has another digest"
set -- "$hone" grpo grpo.lua model.path=left model.precision=bf16 rollout.speculate=2 train.steps=4 train.save_every=1
"$@" data.store=hone.db train.dir=left.rl 2>/dev/null || fail "grpo"
disturbed killed.rl "$@" data.store=other.db
[ "$(digest left.rl)" = "$(digest killed.rl)" ] || fail "a killed GRPO run with drafts has another digest"
