#!/usr/bin/env python3
"""Ids of `hone tokenize --tiktoken` against the tiktoken library on rank files.

    pip install tiktoken==0.14.0
    python3 tools/parity/tiktoken_parity.py --hone ./hone FOLDER   (with cl100k_base.tiktoken, o200k_base.tiktoken, ...)
"""
import argparse, json, os, random, subprocess, sys
import tiktoken, tiktoken.load, tiktoken_ext.openai_public as public

ap = argparse.ArgumentParser()
ap.add_argument("--hone", default="./hone")
ap.add_argument("--seed", type=int, default=1)
ap.add_argument("--texts", type=int, default=3000)
ap.add_argument("folder")
a = ap.parse_args()
rnd = random.Random(a.seed)
local = lambda url, *_, **__: tiktoken.load.load_tiktoken_bpe(os.path.join(a.folder, os.path.basename(url)))
POOL = ["abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJ", "0123456789", " \t\n\r", "  \n\n", "'s't'RE'Ve'm'LL'd'S", ".,;:!?-_()[]{}<>/\\|@#$%^&*+=~`\"'", "éèüñçßøÅ", "日本語中文漢字", "ひらカタ",
        "한국어", "русскийТЕКСТ", "العربية٠١٢٣", "हिन्दी१२३", "²³½①Ⅷ", "\u00a0\u2003\u3000\u200b\u2028\u0085", "🙂👍🏽👩‍👩‍👧", "e\u0301a\u0323", "<|endoftext|><|endofprompt|>", "ſKıİ"]


def text():
    out = []
    for _ in range(rnd.randint(1, 12)):
        p = rnd.choice(POOL)
        k = rnd.random()
        out.append(p if k < 0.25 else rnd.choice(p) * rnd.randint(1, 20) if k < 0.4 else "".join(rnd.choice(p) for _ in range(rnd.randint(1, 6))))
    return "".join(out)


texts = [text() for _ in range(a.texts)]
rc, done = 0, 0
for name in ("cl100k_base", "o200k_base", "p50k_base", "r50k_base"):
    path = os.path.join(a.folder, name + ".tiktoken")
    if not os.path.exists(path):
        print(f"skip: no {path}")
        continue
    public.load_tiktoken_bpe = lambda url, **kw: tiktoken.load.load_tiktoken_bpe(path)
    enc = tiktoken.Encoding(**getattr(public, name)())
    q = "".join(json.dumps({"text": t}) + "\n" for t in texts)
    p = subprocess.run([a.hone, "tokenize", "--tiktoken", path], input=q.encode(), stdout=subprocess.PIPE)
    got = [json.loads(x).get("ids") for x in p.stdout.decode().split("\n") if x]
    bad = 0
    for t, g in zip(texts, got):
        want = enc.encode(t, allowed_special="all")
        if want != g:
            bad += 1
            if bad < 4:
                print(f"  {name}: {t!r:.200} want {want} got {g}")
    print(f"{name}: {len(got)} of {len(texts)} texts, {bad} differ")
    rc |= bad > 0 or len(got) != len(texts)
    done += 1
sys.exit(1 if rc or not done else 0)
