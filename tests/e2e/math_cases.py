"""hone verify math over the shared cases: accuracy on labelled pairs, responses and hostile input; golds against themselves,
their boxed form, five rewritings (must be right) and five mutations (must not be)."""
import base64, json, os, re, subprocess, sys
from decimal import Decimal, getcontext

hone, cases = sys.argv[1:3]
getcontext().prec = 60
failed = 0


def rows(name):
    path = os.path.join(cases, name)
    if os.path.exists(path):
        data = open(path, "rb").read()
    else:
        data = subprocess.run(["zstd", "-dqc", path + ".zst"], check=True, stdout=subprocess.PIPE).stdout
    return [json.loads(x) for x in data.decode().split("\n") if x.strip()]


def ask(questions):
    text = "".join(json.dumps({"id": i, "gold": g, "pred": p, "form": f, "gold_form": gf}) + "\n" for i, (g, p, f, gf) in enumerate(questions))
    out = subprocess.run([hone, "verify", "math"], input=text.encode(), stdout=subprocess.PIPE).stdout
    return [json.loads(x) for x in out.decode().splitlines()]


def need(name, bad, total, allowed, show):
    global failed
    print(f"{name}: {total - len(bad)} of {total} as expected ({100 * (1 - len(bad) / max(total, 1)):.2f} %)")
    if len(bad) > allowed:
        failed = 1
        for b in bad[:show]:
            print("   ", str(b)[:240])


def labelled(name, share, false_right_share):
    rs = [r for r in rows(name) if not r.get("policy") and "pred" in r and "gold" in r and r.get("equal") in (True, False)]
    out = ask([(r["gold"], r["pred"], r.get("form", "response"), r.get("gold_form", "answer")) for r in rs])
    bad = [(r["id"], r["gold"], r["pred"], a.get("outcome"), a.get("why")) for r, a in zip(rs, out) if (a.get("outcome") == "right") != r["equal"]]
    need(name, bad, len(rs), (1 - share) * len(rs), 10)
    false_right = [b for b in bad if b[3] == "right"]
    need(name + ", false right", false_right, len(rs), false_right_share * len(rs), 10)


def text_of(r, key):
    if key in r:
        return r[key]
    if key + "_gen" in r:
        return "".join(t * n for t, n in r[key + "_gen"])
    return base64.b64decode(r[key + "_b64"]).decode("utf-8", "replace")


def hostile():
    rs = [r for r in rows("adversarial_math.jsonl")]
    out = ask([(text_of(r, "gold"), text_of(r, "pred"), r["form"], "answer") for r in rs])
    bad = [(r["class"], a) for r, a in zip(rs, out) if r["expect"] is not None and (a.get("outcome") == "right") != r["expect"]]
    need("adversarial_math", bad, len(rs), 0, 10)
    need("adversarial_math, decided", [a for a in out if a.get("outcome") == "timeout"], len(rs), 0, 10)


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


# A changed digit that does not change the value: 1.09 * 10^0, and powers of i^4 inside a true chain.
same_value = re.compile(r"\^\{0\}|^\$i\^")


def golds():
    gs = sorted({r["gold"] for r in rows("real_gold.jsonl")})
    out = ask([(g, g, "answer", "answer") for g in gs])
    need("gold against itself", [(g, a) for g, a in zip(gs, out) if a.get("outcome") != "right"], len(gs), 0, 10)
    print(f"  of {len(gs)} golds {sum(a['gold_parsed'].startswith(chr(34)) for a in out)} are text")
    boxed = [g for g in gs if "\\boxed" not in g and g.count("{") == g.count("}")]
    out = ask([(g, "So we get \\boxed{" + g + "}.", "response", "answer") for g in boxed])
    need("gold against its box", [(g, a) for g, a in zip(boxed, out) if a.get("outcome") != "right"], len(boxed), 0, 10)
    for name, f, want in [("spaces", spaces, True), ("dfrac", lambda g: g.replace("\\frac", "\\dfrac"), True), ("exact decimal", decimal, True), ("reordered list", reorder, True), ("unit text", unit, True),
                          ("a digit changed", digit, False), ("the sign", sign, False), ("a term dropped", drop, False), ("off by one", off, False), ("a tuple swapped", swap, False)]:
        qs = [(g, h) for g in gs for h in [f(g)] if h is not None and h != g]
        out = ask([(g, h, "answer", "answer") for g, h in qs])
        bad = [(g, h, a) for (g, h), a in zip(qs, out) if (a.get("outcome") == "right") != want and not (name == "a digit changed" and same_value.search(g))]
        need(("rewritten: " if want else "mutated: ") + name, bad, len(qs), 0, 10)


labelled("math_shared.jsonl", 0.99, 0.001)
labelled("math_responses_shared.jsonl", 0.999, 0.0)
labelled("math_selfcheck.jsonl", 1.0, 0.0)
hostile()
golds()
sys.exit(failed)
