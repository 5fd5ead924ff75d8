#!/bin/bash
# Generated rows. Fails when: the same seed gives other rows, a shorter run is no prefix of a longer one, held-out arithmetic
# occurs in training problems, a worked solution is wrong, a bad word or an endless generator is not refused.
set -eu
cd "$(dirname "$0")/../.."
t=$(mktemp -d)
trap 'rm -rf "$t"' EXIT
gen() { "$HONE" generate configs/demo_problems.lua "$@"; }
all=family=chain,compare,sequence,countdown
gen $all --n 3000 --seed 3 >"$t/a" || true
gen $all --n 500 --seed 3 >"$t/b"
head -500 "$t/a" | cmp - "$t/b"
gen $all --n 500 --seed 4 | cmp -s - "$t/b" && { echo "another seed gave the same rows"; exit 1; }
gen $all kind=rl split=heldout --n 400 --seed 3 >"$t/h"
gen shortcut=0 --n 2000 >"$t/c"
python3 - "$t" <<'PY'
import json, re, sys
t = sys.argv[1]
rows = lambda f: [json.loads(l) for l in open(f"{t}/{f}")]
core = lambda text: (re.sub(r"[A-Z][a-z]+|apples|books|cards|coins|pens|shells", "_", text.replace("loses", "sells").replace("gives away", "sells")
                     .replace("finds", "gets").replace("buys", "gets").replace("as a gift", "more")))
train = {core(r["messages"][0]["content"]) for r in rows("a")}
held = {core(r["prompt"]) for r in rows("h")}
assert not train & held, list(train & held)[:3]
assert len({r["id"] for r in rows("a")}) == len(rows("a"))
for r in rows("c"):
    q, a = r["messages"][0]["content"], r["messages"][1]["content"]
    steps = a.split("\n")
    assert steps[-1] == "#### " + r["answer"] and len(steps) == r["level"] + 1, r
    value = int(re.search(r"has (\d+)", q).group(1))
    for s in steps[:-1]:
        x, op, y, z = re.fullmatch(r"(\d+) ([+*-]) (\d+) = (\d+)", s).groups()
        assert int(x) == value and eval(x + op + y) == int(z) <= 30, r
        value = int(z)
    assert value == int(r["answer"])
slips = [r for r in rows("c")]
print(len(train), "training texts,", len(held), "held out")
PY
gen foo=1 2>"$t/e" && exit 1
grep -q "no option 'foo'" "$t/e"
echo 'function generate() while true do end end' >"$t/x.lua"
"$HONE" generate "$t/x.lua" 2>"$t/e" && exit 1
grep -q "generate(0): .*x.lua:1: stopped by the instruction limit" "$t/e"
echo 'function generate(rng, i) emit({ i, print }) end' >"$t/x.lua"
"$HONE" generate "$t/x.lua" 2>"$t/e" && exit 1
grep -q "a function cannot be written as JSON" "$t/e"
echo 'function generate(rng, i) if i == 3 then return false end emit({ i = i, r = rng:int(1, 6), f = rng:float() < 1 }) end' >"$t/x.lua"
[ "$("$HONE" generate "$t/x.lua" | wc -l)" = 3 ]
