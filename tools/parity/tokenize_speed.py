#!/usr/bin/env python3
"""bench/tokenize beside the tokenizers and tiktoken libraries, one thread each, in one run, ids compared.

    pip install tokenizers==0.23.3 tiktoken==0.14.0
    make -j2 tests && python3 tools/parity/tokenize_speed.py TOKENIZERS_DIR TEXTS_DIR [name ...]

The bench times whole texts (up to 4 MB); the libraries, slower by far, the first 400,000 characters of each, in documents of 8,000. Every
document of those is also given to `./hone tokenize`, and its ids must be the libraries' ("ids"). tiktoken gets the vocabulary as ranks and the
file's one pattern; a tokenizer of several splits it cannot do. It neither normalizes nor knows added tokens: documents that are not NFC or
have the text of such a token are left out for it.
"""
import json, os, subprocess, sys, time, unicodedata
os.environ["TOKENIZERS_PARALLELISM"] = "false"
import tiktoken
from tokenizers import Tokenizer

SAMPLE, DOC = 400_000, 8_000


def byte_alphabet():
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in keep]
    return {chr(b): b for b in keep} | {chr(256 + i): b for i, b in enumerate(rest)}


def as_tiktoken(path, alphabet=byte_alphabet()):
    """The same tokenizer for tiktoken, or None. Ranks are ids, so merges must be in the order of ids: GPT-2's are, and all made from rank files."""
    f = json.load(open(path, encoding="utf-8"))
    pre = f["pre_tokenizer"] or {}
    steps = pre.get("pretokenizers", [pre])
    splits = [s["pattern"]["Regex"] for s in steps if s["type"] == "Split"]
    if any(s["type"] not in ("Split", "ByteLevel") for s in steps) or len(splits) > 1 or any(s.get("invert") and s["behavior"] != "Removed" for s in steps):
        return None
    pattern = splits[0] if splits else r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    added = {t["content"] for t in f["added_tokens"]}
    ranks = {bytes(alphabet[c] for c in k): v for k, v in f["model"]["vocab"].items() if k not in added and all(c in alphabet for c in k)}
    return (tiktoken.Encoding("x", pat_str=pattern, mergeable_ranks=ranks, special_tokens={}), added) if len(ranks) > 256 else None


def cpu(fn, docs):
    """MB per CPU second and results, the better of two."""
    best, out, n = 0.0, None, sum(len(d.encode()) for d in docs)
    for _ in range(2):
        t = time.process_time()
        out = [fn(d) for d in docs]
        best = max(best, n / 1e6 / (time.process_time() - t))
    return best, out


def hone_ids(model, docs):
    rows = "".join(json.dumps({"id": i, "text": d}) + "\n" for i, d in enumerate(docs))
    out = subprocess.run(["./hone", "tokenize", "--model", model], input=rows, stdout=subprocess.PIPE, text=True, check=True).stdout
    return [json.loads(line)["ids"] for line in out.splitlines()]


def main():
    toks, texts, names = sys.argv[1], sys.argv[2], sys.argv[3:] or sorted(os.listdir(sys.argv[1]))
    differ = 0
    for name in names:
        path = os.path.join(toks, name, "tokenizer.json")
        if not os.path.exists(path):
            continue
        env = dict(os.environ, HONE_BENCH_TOKENIZERS=toks, HONE_BENCH_TEXTS=texts, HONE_BENCH_ONLY=name)
        bench = subprocess.run(["build/bench/tokenize"], env=env, stdout=subprocess.PIPE, text=True, check=True).stdout
        t0 = time.time()
        ref = Tokenizer.from_file(path)
        load, tik = time.time() - t0, as_tiktoken(path)
        for line in bench.splitlines():
            w = line.split()
            if w[0] != name or "MB/cpu-s" not in line or "tokens" not in w:
                if w and w[0] == name:
                    print(line, flush=True)
                continue
            mine = {k: float(w[w.index(k) + 1]) for k in ("cold", "warm", "decode")}
            data = open(os.path.join(texts, w[1] + ".txt"), encoding="utf-8", errors="ignore").read(SAMPLE)
            docs = [data[i:i + DOC] for i in range(0, len(data), DOC)]
            own = hone_ids(os.path.join(toks, name), docs)
            enc, ids = cpu(lambda d: ref.encode(d, add_special_tokens=False).ids, docs)
            n, t = sum(len(d.encode()) for d in docs), time.process_time()
            for i in ids:
                ref.decode(i, skip_special_tokens=False)
            dec = n / 1e6 / (time.process_time() - t)
            bad = sum(a != b for a, b in zip(own, ids))
            tail = ""
            if tik:
                norm = [i for i, d in enumerate(docs) if unicodedata.is_normalized("NFC", d) and not any(a in d for a in tik[1])]
                speed, theirs = cpu(tik[0].encode_ordinary, [docs[i] for i in norm])
                other = sum(own[i] != b for i, b in zip(norm, theirs))
                tail = f" | tiktoken {speed:5.2f} ratio cold {mine['cold'] / speed:5.1f} warm {mine['warm'] / speed:5.1f} ids {len(norm) - other}/{len(norm)}"
                bad += other
            differ += bad
            print(f"{name:12} {w[1]:6} hone cold {mine['cold']:6.1f} warm {mine['warm']:6.1f} decode {mine['decode']:7.1f} | tokenizers {enc:5.2f} decode {dec:5.1f}"
                  f" ratio cold {mine['cold'] / enc:5.1f} warm {mine['warm'] / enc:6.1f} decode {mine['decode'] / dec:6.1f} ids {len(docs) - sum(a != b for a, b in zip(own, ids))}/{len(docs)}{tail}",
                  flush=True)
        print(f"{name:12} the tokenizers library loads in {load * 1e3:.0f} ms", flush=True)
    print("ids are the same in every document" if not differ else f"{differ} documents differ")
    return 1 if differ else 0


sys.exit(main())
