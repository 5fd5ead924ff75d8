#!/usr/bin/env python3
"""Compares hone's safetensors reader with the reference library (safetensors 0.8.0, numpy) on mutated files.

    st_diff.py HONE [N] [SEED]

Mutates a set of headers (bytes, tokens, numbers, nesting), asks both for the verdict and the tensor list, prints every difference.
"""
import json, os, random, re, struct, subprocess, sys, tempfile
from safetensors import deserialize, SafetensorError

hone, n, seed = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 3000, int(sys.argv[3]) if len(sys.argv) > 3 else 1
rnd = random.Random(seed)
base = [
    '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
    '{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"b":{"dtype":"BF16","shape":[],"data_offsets":[16,18]}}',
    '{"__metadata__":{"format":"pt"},"a":["U8",[1],[0,1]]}',
    '{"a":[{"U8":null},[1],[0,1]]}',
    '{"a":{"dtype":"F4","shape":[4],"data_offsets":[0,2],"x":[{"y":[1,2,{"z":null}]}]}}',
    '{"a":["U8",[1],[0,1]],"a":["U8",[2],[0,2]]}',
    '{"\\u0041\\ud83d\\ude42":{"dtype":"U8","shape":[0,5],"data_offsets":[0,0]}}',
]
tokens = ['{', '}', '[', ']', ',', ':', '"', 'null', 'true', '{}', '[]', '-0', '1e0', '0', '1', '2', '1.5', '18446744073709551615', '18446744073709551616',
          '1e999', '1e-999', '"dtype"', '"shape"', '"data_offsets"', '"__metadata__"', '"F6_E3M2"', '"C64"', '"U8"', '"I64"', '\\ud800', '\\u0000', '\\x', ' ', '\n', '\t',
          '\x0b', '\x01', 'é', '\\n', '01', '-1', '0.0', '1E+2', '1e', '.', '"a"', '"x":', '"x":{"y":[1]},', '[' * 125, ']' * 125, '{"U8":{}}', '{"U8":null}', '{"U8":0}', '"a":["U8",[0],[0,0]],']


def mutate(h):
    for _ in range(rnd.choice([0, 1, 1, 1, 2, 3])):
        r = rnd.random()
        parts = re.findall(r'"[^"]*"|[0-9]+|.', h, re.S)
        i = rnd.randrange(len(parts) + 1) if parts else 0
        if r < 0.35 and parts:
            parts[min(i, len(parts) - 1)] = rnd.choice(tokens)
        elif r < 0.6:
            parts.insert(i, rnd.choice(tokens))
        elif r < 0.75 and parts:
            del parts[min(i, len(parts) - 1)]
        elif parts:
            j = rnd.randrange(len(parts))
            i = min(i, len(parts) - 1)
            parts[i], parts[j] = parts[j], parts[i]
        h = ''.join(parts)
    return h


def reference(data):
    try:
        return sorted((k.encode().hex(), v['dtype'], list(v['shape']), len(v['data'])) for k, v in deserialize(data))
    except SafetensorError as e:
        return str(e)


d = tempfile.mkdtemp()
bad = ok = 0
for start in range(0, n, 200):
    files = []
    for i in range(start, min(start + 200, n)):
        h = mutate(rnd.choice(base)).encode()
        if rnd.random() < 0.02:
            h = h[:5] + b'\xff' + h[5:]
        data = struct.pack('<Q', len(h)) + h + b'\0' * rnd.choice([0, 1, 1, 2, 16, 18])
        # most files get exactly the bytes that their offsets ask for
        ends = [int(x) for x in re.findall(rb'\[[0-9]+, *([0-9]+)\]', h)]
        if ends and max(ends) < 100 and rnd.random() < 0.8:
            data = struct.pack('<Q', len(h)) + h + b'\0' * max(ends)
        p = os.path.join(d, f'{i}.safetensors')
        open(p, 'wb').write(data)
        files.append((p, data))
    out = subprocess.run([hone, 'model', 'info', '--json'] + [p for p, _ in files], capture_output=True, text=True).stdout.splitlines()
    for (p, data), line in zip(files, out, strict=True):
        a = json.loads(line)
        got = a['error'] if 'error' in a else sorted((t['name'].encode().hex(), t['dtype'], t['shape'], t['bytes']) for t in a['tensors'])
        want = reference(data)
        ok += not isinstance(want, str)
        same = got == want if not isinstance(want, str) else isinstance(got, str)
        if not same:
            bad += 1
            print('DIFFERENT', data[:400], '\n  reference:', want, '\n  hone:     ', got)
print(f'{n} files, {ok} accepted by the reference, {bad} differences')
sys.exit(bad != 0)
