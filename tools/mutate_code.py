#!/usr/bin/env python3
"""tools/mutate_code.py [--hone ./hone] [--each N] [--seed S] [--limit N] CASES.jsonl...: are wrong programs told from right ones?

Makes small changes to the Python references of assert and stdio tasks and asks `hone verify code` for verdicts. A mutant that passes is only an error when
the tests of its task, run the plain way (program and tests in one process, or output compared word by word here), say that it is wrong; a mutant that fails
is only an error when they say that it is right. So every mutant fails or is shown to be equal as far as its tests can tell. Prints counts and each
disagreement; exit code 1 when there is one."""
import argparse, ast, collections, copy, json, random, subprocess, sys

TASK = ("kind", "prompt", "entry_point", "tests", "compare", "time_limit_s")
SWAPS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Lt: ast.LtE, ast.LtE: ast.Lt,
         ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.And: ast.Or, ast.Or: ast.And, ast.In: ast.NotIn, ast.NotIn: ast.In}


def places(tree):
    """Functions that change one thing of the tree."""
    for n in ast.walk(tree):
        if isinstance(n, (ast.BinOp, ast.AugAssign, ast.BoolOp)) and type(n.op) in SWAPS:
            yield lambda n=n: setattr(n, "op", SWAPS[type(n.op)]())
        elif isinstance(n, ast.Compare) and type(n.ops[0]) in SWAPS:
            yield lambda n=n: n.ops.__setitem__(0, SWAPS[type(n.ops[0])]())
        elif isinstance(n, ast.Constant) and type(n.value) is int and abs(n.value) < 1000:
            yield lambda n=n: setattr(n, "value", n.value + 1)
        elif isinstance(n, ast.Constant) and type(n.value) is bool:
            yield lambda n=n: setattr(n, "value", not n.value)
        elif isinstance(n, ast.Return) and n.value is not None:
            yield lambda n=n: setattr(n, "value", ast.Constant(None))
        elif isinstance(n, (ast.If, ast.While)):
            yield lambda n=n: setattr(n, "test", ast.UnaryOp(ast.Not(), n.test))


def mutants(text, count, rng):
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return []
    n, out = len(list(places(tree))), []
    for k in rng.sample(range(n), min(n, count)):
        t = copy.deepcopy(tree)
        list(places(t))[k]()
        out.append(ast.unparse(ast.fix_missing_locations(t)))
    return out


def ask(hone, verb, questions):
    p = subprocess.run([hone, *verb], input="".join(json.dumps(q) + "\n" for q in questions), capture_output=True, text=True)
    return [json.loads(x) for x in p.stdout.splitlines()]


def plain_questions(row, code, limits):
    if row["kind"] == "assert":
        tests = row["tests"].get("code") or "\n".join(row["tests"]["asserts"])
        yield {"language": "python", "code": code + "\n" + tests, "limits": limits}
    else:
        for t in row["tests"]:
            yield {"language": "python", "code": code, "stdin": t["in"], "limits": limits}


def plain_right(row, answers):
    if any(a.get("verdict") != "AC" for a in answers):
        return False
    return row["kind"] == "assert" or all(a["stdout"].lower().split() == t["out"].lower().split() for a, t in zip(answers, row["tests"]))


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--hone", default="./hone")
    ap.add_argument("--each", type=int, default=1)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--limit", type=int)
    ap.add_argument("cases", nargs="+")
    a = ap.parse_args()
    rng, work = random.Random(a.seed), []
    for path in a.cases:
        for line in list(open(path, encoding="utf-8"))[: a.limit]:
            row = json.loads(line)
            mode = row.get("compare", {}).get("mode", "tokens")
            sure = row["kind"] == "assert" or (row["kind"] == "stdio" and mode == "tokens" and len(row["tests"]) <= 8 and "case_sensitive" not in str(row.get("compare")))
            if row.get("lang", "python") != "python" or not sure or not row.get("reference") or row.get("ref_wall_s", 0) > 0.5:
                continue
            if row["kind"] == "stdio" and not all("out" in t for t in row["tests"]):
                continue
            row["time_limit_s"] = 2
            work += [(row, m) for m in mutants(row["reference"], a.each, rng)]
    limits = {"cpu_s": 2, "wall_s": 8, "mem_mib": 1024, "stack_bytes": 256 << 20}
    got = ask(a.hone, ["verify", "code"], [{"language": "python", "code": m, "task": {k: r[k] for k in TASK if k in r}} for r, m in work])
    flat = [list(plain_questions(r, m, limits)) for r, m in work]
    answers = iter(ask(a.hone, ["sandbox", "run"], [q for qs in flat for q in qs]))
    n, bad = collections.Counter(), 0
    for (row, m), v, qs in zip(work, got, flat):
        right = plain_right(row, [next(answers) for _ in qs])
        n["AC" if v.get("verdict") == "AC" else "not AC", "right" if right else "wrong"] += 1
        if (v.get("verdict") == "AC") != right:
            bad += 1
            print(f"{row['id']}: verdict {v.get('verdict', v)} ({v.get('why')}), plainly {'right' if right else 'wrong'}\n{m}\n", file=sys.stderr)
    print(f"{len(work)} mutants: {n['not AC', 'wrong']} fail, {n['AC', 'right']} cannot be told from the reference by their tests, {bad} disagree")
    return 1 if bad or len(got) != len(work) else 0


sys.exit(main())
