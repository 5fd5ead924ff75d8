#!/bin/bash
# Catches: `hone verify repo` and the `repo` reward that break their line protocol, do not find a bare clone, resolve what is not resolved, see a
# later commit, or leave files behind.
set -eu
t=$(mktemp -d)
trap 'rm -rf "$t"' EXIT
git=(git -c user.name=t -c user.email=t@example.org -c init.defaultBranch=main)
mkdir -p "$t/src/shop" "$t/clones/acme"
cd "$t/src"
"${git[@]}" init -q
: > shop/__init__.py
cat > shop/cart.py <<'X'
def total(items):
    s = 0
    for name, price, count in items:
        s += price
    return s
X
cat > test_cart.py <<'X'
import unittest
from shop.cart import total


class CartTest(unittest.TestCase):
    def test_none(self):
        self.assertEqual(total([]), 0)

    def test_one(self):
        self.assertEqual(total([("pen", 3, 1)]), 3)
X
"${git[@]}" add -A && "${git[@]}" commit -qm base
base=$("${git[@]}" rev-parse HEAD)
sed -i 's/s += price/s += price * count/' shop/cart.py
cat >> test_cart.py <<'X'

    def test_count(self):
        self.assertEqual(total([("pen", 3, 2), ("cap", 1, 4)]), 10)
X
"${git[@]}" diff -- shop > "$t/gold.patch"
"${git[@]}" diff -- test_cart.py > "$t/test.patch"
"${git[@]}" commit -qam "count the pieces"
"${git[@]}" clone -q --bare "$t/src" "$t/clones/acme/shop.git"
cd - >/dev/null
cat > "$t/rows.py" <<'X'
import json, sys
t, base = sys.argv[1:]
gold, tests = open(t + "/gold.patch").read(), open(t + "/test.patch").read()
row = {"repo": "acme/shop", "instance_id": "acme__shop-1", "base_commit": base, "patch": gold, "test_patch": tests, "time_limit_s": 30,
       "FAIL_TO_PASS": json.dumps(["test_cart.py::CartTest::test_count"]), "PASS_TO_PASS": ["test_cart.CartTest.test_none", "test_one (test_cart.CartTest)"]}
patches = {"gold": gold, "same result": gold.replace("price * count", "count * price"), "wrong": gold.replace("price * count", "price + count"),
           "no patch": "I would multiply.\n", "broken": gold.replace("@@", "@!"), "elsewhere": gold.replace("shop/cart.py", "../cart.py"),
           "test only": tests.replace("10", "11"), "liar": gold.replace("s += price * count", "__import__('os')._exit(0)"),
           "slow": gold.replace("s += price * count", "while count > 1: pass")}
with open(t + "/in", "w") as f:
    for k, p in patches.items():
        print(json.dumps({**row, "id": k, "model_patch": p, **({"time_limit_s": 1} if k == "slow" else {})}), file=f)
    print("no json", file=f)
    print(json.dumps({**row, "id": "no commit", "base_commit": "0" * 40, "model_patch": gold}), file=f)
    print(json.dumps({**row, "id": "no clone", "repo": "acme/none", "model_patch": gold}), file=f)
    print(json.dumps({**row, "id": "nothing"}), file=f)
with open(t + "/rewards", "w") as f:
    for k in ("gold", "wrong", "broken"):
        print(json.dumps({"id": k, "response": "It counts lines.\n```diff\n" + patches[k] + "```\nDone.", "item": {"meta": row}}), file=f)
    print(json.dumps({"id": "none", "response": "I cannot.", "item": {"meta": row}}), file=f)
    print(json.dumps({"id": "no row", "response": "```\n" + gold + "```", "item": {}}), file=f)
X
python3 "$t/rows.py" "$t" "$base"
rc=0
"$HONE" verify repo --clones "$t/clones" --jobs 2 < "$t/in" > "$t/out" 2> "$t/err" || rc=$?
if grep -q "cannot make\|user namespaces" "$t/err"; then
    echo "skip: $(tail -1 "$t/err")"
    exit 77
fi
[ $rc -eq 1 ] || { echo "exit code $rc, wanted 1"; cat "$t/out" "$t/err"; exit 1; }
want='right right wrong wrong unparsable unparsable wrong wrong timeout error crashed error error'
got=$(sed -E 's/.*"error":"[^"]+.*/error/; s/.*"outcome":"([a-z_]+)".*/\1/' "$t/out" | tr '\n' ' ' | sed 's/ $//')
[ "$got" = "$want" ] || { echo "got:  $got"; echo "want: $want"; cat "$t/out"; exit 1; }
grep -q '"id":"gold","instance_id":"acme__shop-1","outcome":"right","resolved":true,"fail_to_pass":\[1,1\],"pass_to_pass":\[2,2\]' "$t/out" || { cat "$t/out"; exit 1; }
"$HONE" verify repo --clones "$t/clones" --gold < <(head -3 "$t/in") | grep -c '"resolved":true' | grep -qx 3 || { echo "--gold does not judge the reference"; exit 1; }
"$HONE" reward reward.list=repo reward.repo_clones="$t/clones" < "$t/rewards" > "$t/scores" || { cat "$t/scores"; exit 1; }
got=$(sed -E 's/.*"outcome":"([a-z_]+)".*/\1/' "$t/scores" | tr '\n' ' ')
[ "$got" = "right wrong unparsable unparsable gold_unparsable " ] || { echo "rewards: $got"; cat "$t/scores"; exit 1; }
[ -z "$(ls -A "$t/clones/acme/shop.git/worktrees" 2>/dev/null)" ] || { echo "the clone was changed"; exit 1; }
