"""hone verify math over the shared cases: accuracy on labelled pairs, responses and hostile input."""
import base64, json, os, subprocess, sys

hone, cases = sys.argv[1:3]
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


labelled("math_shared.jsonl", 0.99, 0.001)
labelled("math_responses_shared.jsonl", 0.999, 0.0)
labelled("math_selfcheck.jsonl", 1.0, 0.0)
hostile()
sys.exit(failed)
