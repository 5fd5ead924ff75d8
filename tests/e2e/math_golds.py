"""hone verify math over a file of gold answers ({"gold": ...} lines, .jsonl or .jsonl.zst): how many read as mathematics, how many
are text; each must be right against itself, boxed, between formula marks and under five rewritings, and not right under five
mutations.      python3 math_golds.py HONE FILE [--show N]"""
import json, os, re, subprocess, sys
from decimal import Decimal, getcontext

hone, path = sys.argv[1:3]
show = int(sys.argv[4]) if sys.argv[3:4] == ["--show"] else 10
getcontext().prec = 60
failed = 0


def rows(name):
    data = open(name, "rb").read() if not name.endswith(".zst") else subprocess.run(["zstd", "-dqc", name], check=True, stdout=subprocess.PIPE).stdout
    return [json.loads(x) for x in data.decode().split("\n") if x.strip()]


def ask(questions):
    text = "".join(json.dumps({"id": i, "gold": g, "pred": p, "form": f}) + "\n" for i, (g, p, f) in enumerate(questions))
    out = subprocess.run([hone, "verify", "math"], input=text.encode(), stdout=subprocess.PIPE).stdout
    return [json.loads(x) for x in out.decode().splitlines()]


def check(name, questions, want, excused=lambda g: False):
    """want: every verdict is right (True) or none is (False)."""
    global failed
    bad = [(q[0], q[1], a) for q, a in zip(questions, ask(questions)) if (a.get("outcome") == "right") != want and not excused(q[0])]
    print(f"{name:34} {len(questions) - len(bad):6} of {len(questions):6} {'right' if want else 'not right'}")
    for g, p, a in bad[:show]:
        print("   ", f"gold {g!r} pred {p!r}: {a.get('outcome')}, {a.get('why')}"[:240])
    failed |= bool(bad)


def spaces(g):
    if "\\text" in g or "mathrm" in g or re.search(r"[A-Za-z]{3}", re.sub(r"\\[a-zA-Z]+", "", g)):
        return None
    return re.sub(r"(?<=[^\\e])([+=])", r" \1\\, ", g)


def decimal(g):
    m = re.fullmatch(r"\$?\s*(-?)\s*\\d?frac\{(\d+)\}\{(\d+)\}\s*\$?", g)
    if not m:
        return None
    b = int(m[3])
    while b and b % 2 == 0:
        b //= 2
    while b and b % 5 == 0:
        b //= 5
    return m[1] + str(Decimal(m[2]) / Decimal(m[3])) if b == 1 else None


def reorder(g):
    m = re.fullmatch(r"(\\\{)([^{}()\[\]]+)(\\\})", g)
    if m:
        p = [x.strip() for x in m[2].split(",")]
        return m[1] + ", ".join(p[1:] + p[:1]) + m[3] if len(set(p)) == len(p) > 1 and not re.search("dots|mid|:", g) else None
    if not re.fullmatch(r"\$?[-\w]+(\s*,\s*[-\w]+)+\$?", g) or re.fullmatch(r"\$?\d{1,3}(,\d{3})+\$?", g):
        return None
    p = [x.strip() for x in g.strip("$").split(",")]
    return ", ".join(p[1:] + p[:1]) if len(set(p)) == len(p) and "diverges" not in p else None


def unit(g):
    return g + "\\text{ units}" if re.fullmatch(r"-?\d+(\.\d+)?", g) else None


def digit(g):
    m = list(re.finditer(r"\d", g))
    k = m[len(m) // 2] if m else None
    return g[:k.start()] + ("7" if k[0] == "9" else str(int(k[0]) + 1)) + g[k.end():] if k else None


def sign(g):
    s = g.strip().strip("$").strip()
    if not re.fullmatch(r"-?\s*(\d+(\.\d+)?|\\d?frac\{\d+\}\{\d+\})", s) or not re.search("[1-9]", s):
        return None
    return s[1:].strip() if s.startswith("-") else "-" + s


def drop(g):
    m = re.fullmatch(r"(\$?)([-\w\\{}^ ]+)([+-])([-\w\\{}^ ]+)(\$?)", g)
    if not m or m[2].strip() in ("", "-") or not re.search(r"[1-9a-z]", m[4]) or m[2].count("{") != m[2].count("}") or re.search("pm|text|mathrm|mid|frac|[A-Za-z]{4}", g):
        return None
    return m[1] + m[2] + m[5]


def off(g):
    return str(int(g) + 1) if re.fullmatch(r"-?\d+", g) else None


def swap(g):
    m = re.fullmatch(r"\$?\(([^(),]+),([^(),]+)\)\$?", g)
    return "(" + m[2] + "," + m[1] + ")" if m and m[1].strip() != m[2].strip() else None


# A digit of a power of zero, of i^4k or of a true chain may change without changing the value.
same_value = re.compile(r"\^\{0\}|^\$i\^")

golds = sorted({r["gold"] for r in rows(path)})
out = ask([(g, g, "answer") for g in golds])
text = sum(a.get("gold_parsed", "").startswith('"') for a in out)
broken = [g for g, a in zip(golds, out) if a.get("outcome") == "gold_unparsable" or not a.get("gold_parsed")]
print(f"{len(golds)} distinct golds: {len(golds) - text - len(broken)} read as mathematics, {text} named as text, {len(broken)} neither ({100 * (1 - len(broken) / max(len(golds), 1)):.2f} % read)")
failed |= len(broken) > 0.005 * len(golds)
whole = [g for g in golds if "\\boxed" not in g and g.count("{") == g.count("}")]
plain = [g for g in whole if "$" not in g and "\\(" not in g and "\\[" not in g]
check("itself", [(g, g, "answer") for g in golds], True)
check("boxed", [(g, "So we get \\boxed{" + g + "}.", "response") for g in whole], True)
for mark in (("$", "$"), ("\\(", "\\)"), ("\\[", "\\]")):
    check("between " + " ".join(mark), [(g, mark[0] + g + mark[1], "answer") for g in plain], True)
for name, f, want in [("spaces", spaces, True), ("\\dfrac", lambda g: g.replace("\\frac", "\\dfrac"), True), ("exact decimal", decimal, True), ("reordered list or set", reorder, True), ("unit text", unit, True),
                      ("a digit changed", digit, False), ("the sign", sign, False), ("a term dropped", drop, False), ("off by one", off, False), ("a tuple swapped", swap, False)]:
    check(("rewritten: " if want else "mutated: ") + name, [(g, h, "answer") for g in golds for h in [f(g)] if h is not None and h != g], want,
          lambda g: name == "a digit changed" and bool(same_value.search(g)))
sys.exit(failed)
