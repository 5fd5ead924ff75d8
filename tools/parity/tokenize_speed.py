#!/usr/bin/env python3
"""bench/tokenize beside the tokenizers library on the same documents, one thread each, in one run.

    pip install tokenizers==0.23.3
    make -j2 tests && python3 tools/parity/tokenize_speed.py TOKENIZERS_DIR TEXTS_DIR [name ...]
"""
import os, subprocess, sys, time
os.environ["TOKENIZERS_PARALLELISM"] = "false"
from tokenizers import Tokenizer

toks, texts, names = sys.argv[1], sys.argv[2], sys.argv[3:] or sorted(os.listdir(sys.argv[1]))
for name in names:
    path = os.path.join(toks, name, "tokenizer.json")
    if not os.path.exists(path):
        continue
    env = dict(os.environ, HONE_BENCH_TOKENIZERS=toks, HONE_BENCH_TEXTS=texts, HONE_BENCH_ONLY=name)
    out = subprocess.run(["build/bench/tokenize"], env=env, stdout=subprocess.PIPE, text=True).stdout
    t0 = time.time()
    ref = Tokenizer.from_file(path)
    load = time.time() - t0
    for line in out.splitlines():
        w = line.split()
        if not line.startswith(name) or "MB/cpu-s" not in line or "tokens" not in w:
            if line.startswith(name):
                print(line)
            continue
        corpus, mine = w[1], {k: float(w[w.index(k) + 1]) for k in ("cold", "warm", "decode")}
        data = open(os.path.join(texts, corpus + ".txt"), encoding="utf-8", errors="ignore").read(400_000)
        docs = [data[i:i + 8000] for i in range(0, len(data), 8000)]
        n = len(data.encode())
        best = 0.0
        for _ in range(2):
            t = time.process_time()
            ids = [ref.encode(d, add_special_tokens=False).ids for d in docs]
            best = max(best, n / 1e6 / (time.process_time() - t))
        t = time.process_time()
        for i in ids:
            ref.decode(i, skip_special_tokens=False)
        dec = n / 1e6 / (time.process_time() - t)
        print(f"{name:14} {corpus:8} hone cold {mine['cold']:6.1f} warm {mine['warm']:6.1f} decode {mine['decode']:7.1f} | tokenizers {best:5.2f} decode {dec:5.1f}"
              f" | ratio cold {mine['cold'] / best:5.1f} warm {mine['warm'] / best:6.1f} decode {mine['decode'] / dec:6.1f}", flush=True)
    print(f"{name:14} the library loads in {load * 1e3:.0f} ms")
