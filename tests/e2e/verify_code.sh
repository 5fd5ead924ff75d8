#!/bin/bash
# Catches: verdicts of `hone verify code` that depend on the number of workers, on the run or on what ran before, and a broken line protocol.
set -eu
t=$(mktemp -d)
trap 'rm -rf "$t"' EXIT
cat > "$t/rows.py" <<'X'
import json
add = {"kind": "assert", "entry_point": "add", "tests": {"asserts": ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"]}}
sums = {"kind": "stdio", "tests": [{"in": "1 2", "out": "3"}, {"in": "5 5", "out": "10"}]}
quick, small = {**sums, "time_limit_s": 0.5}, {**sums, "limits": {"mem_mib": 64}}
suite = {"kind": "unittest", "solution_file": "add.py", "tests": {"files": {"add_test.py": "import unittest\nfrom add import add\n\nclass T(unittest.TestCase):\n    def test_add(self):\n        self.assertEqual(add(1, 2), 3)\n"}}}
py = lambda code, task, want: ("python", code, task, want)
cases = [py("def add(a, b): return a + b", add, "AC"), py("def add(a, b): return a * b", add, "WA"), py("def add(a, b): return a + c", add, "RE"),
         py("def add(a, b:", add, "CE"), py("def add(a, b): return a + b", suite, "AC"), py("def add(a, b): return 4", suite, "WA"),
         py("print(sum(map(int, input().split())))", sums, "AC"), py("print(3)", sums, "WA"), py("while True: pass", quick, "TLE"),
         py("print('3' * 10**8)", sums, "OLE"), py("x = b'x' * (1 << 30)", small, "MLE"), py("import random; print(random.random())", sums, "WA"),
         ("c", '#include <stdio.h>\nint main(void) { int a, b; scanf("%d %d", &a, &b); printf("%d\\n", a + b); }', sums, "AC"),
         ("c", "int main(void) { return *(volatile int *)0; }", sums, "RE"), ("c", "int main(void) { return x; }", sums, "CE")]
for i, (lang, code, task, want) in enumerate(cases):
    print(json.dumps({"id": want + str(i), "language": lang, "code": code, "task": task}))
X
python3 "$t/rows.py" > "$t/in"
for jobs in 2 1 2 1 2; do
    "$HONE" verify code --jobs $jobs < "$t/in" > "$t/raw" 2> "$t/err" || {
        grep -q "cannot make\|user namespaces" "$t/err" && { echo "skip: $(tail -1 "$t/err")"; exit 77; }
        cat "$t/raw" "$t/err"
        exit 1
    }
    sed -E 's/,"why":.*//' "$t/raw" > "$t/out.$jobs"
    [ -e "$t/first" ] || cp "$t/out.$jobs" "$t/first"
    cmp "$t/first" "$t/out.$jobs" || { echo "another answer with --jobs $jobs"; diff "$t/first" "$t/out.$jobs"; exit 1; }
done
if grep -vE '"id":"([A-Z]+)[0-9]+","verdict":"\1"' "$t/first"; then
    echo "the lines above have another verdict than their id says"
    exit 1
fi
[ "$(wc -l < "$t/first")" -eq "$(wc -l < "$t/in")" ] || { echo "not one answer a line"; exit 1; }
