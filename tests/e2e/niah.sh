#!/bin/bash
# hone eval niah. Fails when: a needle is not at its depth or a prompt not of its length, a model that cannot know the key scores, one that always
# says it or that finds it does not score 1, one that sees only what is near scores elsewhere, a resume gives another grid, JSON, picture and store disagree, or bad input is not one line.
. tests/e2e_lib.sh
small_world
niah() { "$hone" eval niah "${grid[@]}" "$@"; }
grid=(data.store=n.db niah.depths=3 niah.lengths=96,160 niah.samples=2 niah.max_tokens=8 niah.needle=' The pass key is {key}. ')
sql() { sqlite3 n.db "$1"; }

# random weights know nothing
niah model.path=init niah.out=random >table 2>log || { cat log; fail "niah"; }
grep -q '^mean  *0\.0000$' table || { cat table; fail "a random model scores"; }
[ "$(sql "SELECT count(*), sum(value), sum(n) FROM evals WHERE dataset = 'niah'")" = "6|0.0|12" ] || fail "figures in the store"
[ "$(sql "SELECT count(DISTINCT why) FROM rollouts WHERE purpose = 'niah'")" = 12 ] || fail "keys are drawn once per sample"
python3 - "$hone" <<'END'
import json, sqlite3, struct, subprocess, sys, xml.dom.minidom
rows = sqlite3.connect("n.db").execute("SELECT e.name, o.n_prompt, o.prompt_ids, o.why FROM rollouts o JOIN evals e ON e.run = o.run AND e.step = o.step").fetchall()
asked = "\n".join(json.dumps({"id": i, "ids": list(struct.unpack(f"<{n}i", b))}) for i, (_, n, b, _) in enumerate(rows))
out = subprocess.run([sys.argv[1], "tokenize", "--model", "tok", "--decode"], input=asked, capture_output=True, text=True, check=True).stdout
question = "\nWhat is the pass key? The pass key is"
for (name, n, _, why), line in zip(rows, out.splitlines()):
    text, needle = json.loads(line)["text"], f" The pass key is {why.split()[1]}. "
    length, depth = name[:-1].split("@")
    assert n == int(length), (name, n)
    assert text.endswith(question) and text.count(needle) == 1, text
    hay = text[:-len(question)]
    at = hay.index(needle) / (len(hay) - len(needle))
    assert abs(at - float(depth) / 100) < 0.15 and (depth != "0.0" or at == 0) and (depth != "100.0" or at == 1), (name, at)
r = json.load(open("random.json"))
assert r["lengths"] == [96, 160] and r["depths"] == [0, 0.5, 1] and r["grid"] == [[0, 0]] * 3 and r["samples"] == 2
svg = xml.dom.minidom.parse("random.svg")
assert len(svg.getElementsByTagName("rect")) == 7
END

# a model that has learnt the answer by heart
python3 - >heart.jsonl <<'END'
import json
for i in range(60):
    print(json.dumps({"text": f"{i} " + "The road goes on behind the hill. " * (i % 7) + "\nWhat is the pass key? The pass key is 4711."}))
END
"$hone" data import heart.jsonl --store n.db --source heart --quiet >/dev/null 2>&1 || fail "import"
"$hone" sft model.path=init data.store=n.db data.sources=heart data.turns=text data.cap=256 train.dir=heart train.steps=200 train.leaves=1 train.lr=5e-3 train.log_every=1000 2>log || { cat log; fail "sft"; }
niah model.path=heart niah.out=heart1 niah.key=4711 >table 2>log || { cat log; fail "niah"; }
grep -q '^mean  *1\.0000$' table || { cat table; fail "the answer known by heart is not right"; }
niah model.path=heart niah.out=heart2 niah.key=471 >table 2>log || { cat log; fail "niah"; }
grep -q '^mean  *0\.0000$' table || { cat table; fail "the beginning of a longer number is taken"; }

# a model that finds: an induction head, its weights set by hand; without the head; with one that sees only what is near
python3 - >words.jsonl <<'END'
import json
for i in range(50):
    print(json.dumps({"text": "What is the pass key? The pass key is. Remember it. The pass key is the pass key. The bird was in the tower and she is at the road."}))
END
"$hone" tokenize train --out words --pattern gpt2 --vocab 320 words.jsonl 2>log || { cat log; fail "tokenizer"; }
ids=$(sed -n 's/.*: \([0-9]*\) ids,.*/\1/p' log)
finds() { # kind, settings: the grid's lines of the table, cells in one line
    local kind=$1
    shift
    [ -d found.$kind ] || python3 "$root/tests/e2e/niah_head.py" words "$ids" found.$kind $kind
    "$hone" eval niah data.store=n.db model.path=found.$kind niah.lengths=192,1024 niah.depths=5 niah.samples=4 niah.out=found.$kind "$@" 2>log | sed -n 's/.*% *//p' | tr -s ' \n' ' '
}
one=1.000 all="$one $one $one $one $one $one $one $one $one $one "
for form in absorbed expanded; do
    for precision in fp32 bf16; do
        [ "$(finds head model.mla=$form model.precision=$precision)" = "$all" ] || { cat log; fail "$form, $precision: an induction head does not find all keys"; }
    done
done
[ "$(finds none)" = "${all//$one/0.000}" ] || { cat log; fail "a model without the head finds keys"; }
# rows of 192 and 1,024: keys 48 and 256 tokens away, then right before the question
[ "$(finds near)" = "0.000 0.000 0.000 0.000 0.000 0.000 $one 0.000 $one $one " ] || { cat log; fail "keys far away are found by a head that sees only what is near"; }

# Ctrl-C, then on: the same grid, nothing twice
niah model.path=heart niah.out=whole niah.depths=51 >/dev/null 2>&1
for try in 1 2 3 4 5; do # on a busy machine the program may be done before this one sees its first cells
    cut=cut$try rc=0
    "$hone" eval niah "${grid[@]}" model.path=heart niah.out=$cut niah.depths=51 >/dev/null 2>log & # no function: $! is the program
    pid=$!
    for _ in $(seq 400); do
        [ "$(sql "SELECT count(*) >= 3 FROM evals e JOIN runs r ON r.id = e.run WHERE r.name = '$cut'" 2>/dev/null)" = 1 ] && break
        sleep 0.02
    done
    kill -INT $pid 2>/dev/null || true
    wait $pid || rc=$?
    [ "$rc" = 0 ] || break
done
[ "$rc" = 130 ] || { cat log; fail "interrupted run: $rc"; }
niah model.path=heart niah.out=$cut niah.depths=51 --resume >/dev/null 2>log || { cat log; fail "resume"; }
grep -q 'cells are done' log || fail "the resume says nothing"
cmp whole.json $cut.json && cmp whole.svg $cut.svg || fail "the grid of the resumed run"
[ "$(sql "SELECT count(*) FROM evals e JOIN runs r ON r.id = e.run WHERE r.name = '$cut'")" = 102 ] || fail "cells of the resumed run"
niah model.path=heart niah.out=$cut niah.depths=5 --resume 2>line >/dev/null && fail "another grid goes on"
grep -q 'niah.depths' line || { cat line; fail "no line for another grid"; }

refused() { # exit code, words, settings
    local code=$1 words=$2 rc=0
    shift 2
    niah model.path=init niah.out=bad "$@" >/dev/null 2>log || rc=$?
    [ "$rc" = "$code" ] && tail -1 log | grep -qF -- "$words" || { cat log; fail "$*: $rc"; }
}
refused 2 'the model has 256 positions; hint: model.rope=yarn' niah.lengths=256
refused 2 'do not hold needle and question' niah.lengths=8
refused 2 "'x' is no number of tokens" niah.lengths=x
refused 2 'niah.needle has no {key}' niah.needle=none
refused 4 'missing.txt' niah.text=missing.txt
: >empty.txt
refused 3 'has no text' niah.text=empty.txt
printf 'abc \377' >bad.txt
refused 3 'bad.txt' niah.text=bad.txt
echo "niah: ok"
