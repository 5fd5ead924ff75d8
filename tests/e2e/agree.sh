# The failure to catch: `hone score` gives other bits than `hone rollout` recorded; samples that depend on the lines around a prompt, on --batch or
# on threads; a bad line that stops the good ones.
. tests/e2e_lib.sh
small_world
cat >prompts.jsonl <<'END'
{"id":1,"prompt":"Ann has 3 pens, finds 4. How many now?"}
{"id":"two","messages":[{"role":"user","content":"Tom has 9 coins, loses 2. How many now?"}]}
{"id":3,"ids":[1,2,3,4,5,6,7,8,9,10]}
not json
{"id":5,"ids":[999999]}
{"id":6,"nothing":1}
END
rc=0
"$hone" rollout --model init --samples 3 --max-tokens 20 --seed 4 <prompts.jsonl >out.jsonl 2>/dev/null || rc=$?
[ $rc -eq 1 ] || fail "bad lines must give exit code 1, got $rc"
[ "$(wc -l <out.jsonl)" -eq 12 ] || fail "9 samples and 3 errors, got $(wc -l <out.jsonl) lines"
grep -q '"id":5,"error"' out.jsonl || fail "line 5 has no error of its own"
rc=0
tac prompts.jsonl | "$hone" rollout --model init --samples 3 --max-tokens 20 --seed 4 --batch 2 --threads 1 2>/dev/null >back.jsonl || rc=$?
sort out.jsonl | grep -v '"error"' >x; sort back.jsonl | grep -v '"error"' >y
cmp x y || fail "samples depend on order, batch or threads"
for precision in fp32 bf16; do
    grep -v 'not json\|999999\|nothing' prompts.jsonl | "$hone" rollout --model init --samples 2 --max-tokens 24 --precision $precision >out.jsonl 2>/dev/null
    python3 - $precision <<'END'
import json, subprocess, os, sys
hone = os.environ.get("HONE", "./hone")
prompts = [json.loads(l) for l in open("prompts.jsonl") if l.startswith("{")]
ids = {}
for p in prompts[:3]:
    if "ids" in p:
        ids[json.dumps(p["id"])] = p["ids"]
    else:
        text = p.get("prompt") or subprocess.run([hone, "template", "--model", "init"], input=json.dumps({"id": 0, "messages": p["messages"], "add_generation_prompt": True}).encode(),
                                                stdout=subprocess.PIPE, check=True).stdout.decode()
        if "messages" in p:
            text = json.loads(text)["text"]
        out = subprocess.run([hone, "tokenize", "--model", "init"], input=json.dumps({"id": 0, "text": text}).encode(), stdout=subprocess.PIPE, check=True).stdout
        ids[json.dumps(p["id"])] = json.loads(out)["ids"]
samples = [json.loads(l) for l in open("out.jsonl")]
q = "".join(json.dumps({"id": i, "ids": ids[json.dumps(s["id"])] + s["ids"], "n_prompt": len(ids[json.dumps(s["id"])])}) + "\n" for i, s in enumerate(samples))
out = subprocess.run([hone, "score", "--model", "init", "--precision", sys.argv[1]], input=q.encode(), stdout=subprocess.PIPE, check=True).stdout.decode().splitlines()
tokens = 0
for s, line in zip(samples, out):
    a = json.loads(line)
    assert a["logp"] == s["logp"], (s["id"], a["logp"][:3], s["logp"][:3])
    tokens += len(a["logp"])
assert len(out) == len(samples) == 6 and tokens > 20, (len(out), tokens)
END
done
# a folder without a tokenizer: ids in, ids out
"$hone" model init model.json bare --seed 3 >/dev/null
echo '{"id":0,"ids":[1,2,3]}' | "$hone" rollout --model bare --max-tokens 5 2>/dev/null >bare.jsonl || fail "rollout without a tokenizer"
python3 -c 'import json; r = json.load(open("bare.jsonl")); print(json.dumps({"id": 0, "ids": [1, 2, 3] + r["ids"], "n_prompt": 3}))' | "$hone" score --model bare >score.jsonl
python3 -c 'import json; assert json.load(open("bare.jsonl"))["logp"] == json.load(open("score.jsonl"))["logp"]' || fail "score without a tokenizer"
echo "rollout and score agree"
