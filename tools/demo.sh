#!/bin/sh
# make demo (SEED=1): a small language model learns by SFT, then by GRPO with the math verifier. Everything is made here, nothing is downloaded.
set -eu
cd "$(dirname "$0")/.."
seed=${SEED:-1}
out=demo
began=$(date +%s)
case $seed in '' | *[!0-9]*) echo "demo: SEED must be a number, got '$seed'" >&2; exit 2 ;; esac

say() { printf '\n\033[1m%s\033[0m\n' "$*" >&2; }
rows() { ./hone generate configs/demo_problems.lua --seed "$seed" "$@"; }
figure() { sqlite3 "$out/hone.db" "SELECT printf('%.3f', value) FROM evals WHERE run = (SELECT max(id) FROM runs WHERE kind = '$1') AND name = 'pass@1' AND step = (SELECT $2(step) FROM evals WHERE run = (SELECT max(id) FROM runs WHERE kind = '$1'))"; }

rm -rf "$out"
mkdir -p "$out"
say "1. Problems: worked solutions for SFT (many of them only state the answer), answers alone for GRPO, held-out ones with other arithmetic"
rows kind=sft split=train --n 10000 >"$out/sft.jsonl"
rows kind=rl split=train --n 8000 >"$out/rl.jsonl"
rows kind=rl split=heldout --n 150 >"$out/heldout.jsonl"
./hone tokenize train --out "$out/tokenizer" --pattern gpt2 --vocab 512 "$out/sft.jsonl"
./hone model init configs/demo_model.json "$out/init" --seed "$seed" --tokenizer "$out/tokenizer"
for s in sft rl heldout; do ./hone data import "$out/$s.jsonl" --store "$out/hone.db" --source "demo_$s" --quiet; done
./hone data show --store "$out/hone.db" --model "$out/init" --source demo_sft --row 1

say "2. SFT: the form of problems and solutions"
./hone sft configs/demo_sft.lua "seed=$seed"

say "3. GRPO: better at being right, from verdicts on its own answers"
./hone grpo configs/demo_grpo.lua "seed=$seed"

say "Held-out accuracy (pass@1) over the GRPO run"
sqlite3 -separator ' ' "$out/hone.db" "SELECT step, value FROM evals WHERE run = (SELECT max(id) FROM runs WHERE kind = 'grpo') AND name = 'pass@1' ORDER BY step" |
    awk '{ bar = ""; for (i = 0; i < $2 * 50; i++) bar = bar "#"; printf "  step %4d  %.3f  %s\n", $1, $2, bar }'
say "The same problem before and after"
for at in min max; do
    sqlite3 -separator '  ' "$out/hone.db" "WITH r AS (SELECT max(id) AS id FROM runs WHERE kind = 'grpo'), e AS (SELECT $at(step) AS step FROM evals, r WHERE run = r.id)
        SELECT printf('step %d: %s -> %s', o.step, replace(o.text, char(10), ' | '), v.outcome) FROM rollouts o JOIN verdicts v USING(run, step, purpose, prompt, sample), r, e
        WHERE o.run = r.id AND o.step = e.step AND o.purpose = 'eval' AND o.prompt IN (1, 2) ORDER BY o.prompt, o.sample LIMIT 4" | sed 's/^/  /'
done
say "Where to look next"
cat >&2 <<END
  ./hone chat --model $out/grpo                         talk to it
  sqlite3 $out/hone.db 'SELECT step, name, value FROM metrics ORDER BY run, step'
  ./hone ckpt show $out/grpo                            what the checkpoint holds
  configs/demo_problems.lua configs/demo_grpo.lua       change the problems, the reward, the algorithm
  docs/grpo.md docs/store.md docs/rewards.md
END
differing=$(sqlite3 "$out/hone.db" "SELECT printf('%d', sum(value)) FROM metrics WHERE run = (SELECT max(id) FROM runs WHERE kind = 'grpo') AND name = 'differing_tokens'")
digest=$(./hone ckpt digest "$out/grpo" | cut -d' ' -f1)
printf 'demo: seed %s sft %s grpo %s differing_tokens %s digest %s seconds %s\n' "$seed" "$(figure grpo min)" "$(figure grpo max)" "$differing" "$digest" $(($(date +%s) - began))
