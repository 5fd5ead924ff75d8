#!/bin/bash
# Catches: `hone verify math` breaking its line protocol, depending on the locale, or stopping at a bad line.
set -eu
t=$(mktemp -d)
trap 'rm -rf "$t"' EXIT
cat > "$t/in" <<'X'
{"id":"a","gold":"6\\sqrt{2}","pred":"So it is $\\boxed{\\sqrt{72}}$.","form":"response"}
{"id":2,"gold":"1,234.5","pred":"1234.50"}
{"id":3,"gold":"x=5","pred":"4"}
not json
{"id":4,"pred":"4"}
{"id":5,"gold":"","pred":"4"}
{"id":6,"gold":"4","pred":"","form":"response"}
{"id":7,"gold":"4","pred":"4","form":"poem"}
{"id":8,"gold":"The answer is \\boxed{8}","gold_form":"response","pred":"8"}
X
rc=0
"$HONE" verify math < "$t/in" > "$t/out" || rc=$?
[ $rc -eq 1 ] || { echo "exit code $rc, wanted 1"; exit 1; }
[ "$(wc -l < "$t/out")" -eq 9 ] || { echo "not one answer a line:"; cat "$t/out"; exit 1; }
want='right right wrong error error gold_unparsable unparsable error right'
got=$(sed -E 's/.*"error":.*/error/; s/.*"outcome":"([a-z_]+)".*/\1/' "$t/out" | tr '\n' ' ' | sed 's/ $//')
[ "$got" = "$want" ] || { echo "got:  $got"; echo "want: $want"; cat "$t/out"; exit 1; }
grep -q '"id":"a","outcome":"right","gold_parsed":"(\* 6 (sqrt 2))".*"rule":"box"' "$t/out" || { echo "no rule or tree:"; cat "$t/out"; exit 1; }
for l in de_DE.UTF-8 tr_TR.UTF-8 C; do
    LC_ALL=$l LC_NUMERIC=$l "$HONE" verify math < "$t/in" > "$t/again" || true
    cmp "$t/out" "$t/again" || { echo "the locale $l changes the answer"; exit 1; }
done
echo '{"gold":"25\\%","pred":"25"}' | "$HONE" verify math --no-percent_loose --explain | grep -q '"outcome":"wrong".*"work":' || { echo "a policy switch does nothing"; exit 1; }

# the list of policies: in the help, and in the docs as the table made of it
"$HONE" verify math --help | sed -nE 's/^  --([a-z_0-9]+) +policy \(([01])\): (.*)$/| `\1` | \2 | \3 |/p' | sed 's/| 1 |/| on |/; s/| 0 |/| off |/' > "$t/table"
[ "$(wc -l < "$t/table")" -ge 30 ] || { echo "the help lists no policies"; exit 1; }
docs=docs/math-verifier.md
sed -n '/^| switch | default | meaning |/,/^$/p' "$docs" | tail -n +3 | grep . > "$t/docs"
diff "$t/docs" "$t/table" || { echo "the table of policies in $docs is not the one of hone verify math --help"; exit 1; }
printf '{"gold":"7","pred":"\\\\boxed{5}. The answer is 7."}\n' | sed 's/}$/,"form":"response"}/' > "$t/order"
"$HONE" verify math --rules 'phrase>box' < "$t/order" | grep -q '"outcome":"right".*"rule":"phrase"' || { echo "--rules changes nothing"; exit 1; }
rc=0
"$HONE" verify math --rules 'phrase>poem' < "$t/order" > /dev/null 2> "$t/err" || rc=$?
[ $rc -eq 2 ] && grep -q "'poem' is none of" "$t/err" || { echo "an unknown rule is taken"; cat "$t/err"; exit 1; }
