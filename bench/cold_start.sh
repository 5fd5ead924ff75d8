#!/bin/sh
# Cold start of the demo: seconds from starting the program to the end of its first step, on a project that nothing was done with yet (10,000
# rows are rendered, tokenized and packed first), and again on the same project. The whole process counts, with its checkpoint; GRPO's without
# the evaluation that its config asks for before the first step (600 answers), but with the step's 256 rollouts and their verdicts.
#   sh bench/cold_start.sh
set -eu
cd "$(dirname "$0")/.."
hone=${HONE:-$PWD/hone} root=$PWD
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/demo"
for kind in sft rl; do
    "$hone" generate configs/demo_problems.lua --seed 1 kind=$kind split=train --n 10000 2>/dev/null >"$dir/demo/$kind.jsonl"
done
cd "$dir"
"$hone" tokenize train --out demo/tokenizer --pattern gpt2 --vocab 512 demo/sft.jsonl
"$hone" model init "$root/configs/demo_model.json" demo/init --seed 1 --tokenizer demo/tokenizer
for kind in sft rl; do "$hone" data import demo/$kind.jsonl --store demo/hone.db --source demo_$kind --quiet; done
first_step() {
    what=$1
    shift
    began=$(date +%s%N)
    "$hone" "$@" train.steps=1 train.warmup=0 2>step.log || { cat step.log >&2; exit 1; }
    ended=$(date +%s%N)
    grep -q 'step 1 of 1' step.log || { echo "no first step:" >&2; cat step.log >&2; exit 1; }
    echo "$what $(((ended - began) / 1000000)) ms"
}
first_step 'sft, new project:  ' sft "$root/configs/demo_sft.lua"
first_step 'sft, again:        ' sft "$root/configs/demo_sft.lua" train.dir=demo/again
first_step 'grpo, new project: ' grpo "$root/configs/demo_grpo.lua" eval.sources=
