#!/usr/bin/env python3
"""Prints text/tmpl_unitab.c: what Python's str knows about characters. Run with the Python whose answers
are wanted: python3 tools/tmpl_unicode.py > text/tmpl_unitab.c"""
import sys
import unicodedata

N = 0x110000


def ranges(pred):
    out, start = [], None
    for cp in range(N + 1):
        ok = cp < N and pred(chr(cp))
        if ok and start is None:
            start = cp
        elif not ok and start is not None:
            out.append((start, cp - 1))
            start = None
    return out


def emit_ranges(name, rs):
    print(f"const struct uni_range tmpl_uni_{name}[] = {{")
    items = [f"{{0x{a:X},0x{b:X}}}" for a, b in rs]
    for i in range(0, len(items), 9):
        print("    " + ",".join(items[i:i + 9]) + ",")
    print("};")
    return len(rs)


def maps(f):
    """Runs of single-code-point mappings: (lo, hi, step, delta), and the longer ones."""
    runs, multi = [], []
    for cp in range(N):
        if 0xD800 <= cp < 0xE000:
            continue
        to = f(chr(cp))
        if to == chr(cp):
            continue
        if len(to) > 1:
            multi.append((cp, [ord(c) for c in to]))
            continue
        d = ord(to) - cp
        if runs and runs[-1][3] == d:
            lo, hi, step, _ = runs[-1]
            if lo == hi and cp - hi <= 2:
                runs[-1] = (lo, cp, cp - hi, d)
                continue
            if lo != hi and cp - hi == step:
                runs[-1] = (lo, cp, step, d)
                continue
        runs.append((cp, cp, 1, d))
    return runs, multi


CASED = None


def cased(c):
    return unicodedata.category(c) == "Lt" or c.isupper() or c.islower()


def ignorable(c):
    # a character is case-ignorable for final sigma when it keeps the sigma final
    return not cased(c) and ("A" + c + "\u03a3").lower().endswith("\u03c2") and c != "\u03a3"


CLASSES = [
    ("alpha", str.isalpha), ("decimal", str.isdecimal), ("digit", str.isdigit), ("numeric", str.isnumeric),
    ("space", str.isspace), ("printable", str.isprintable), ("upper", str.isupper), ("lower", str.islower),
    ("title", lambda c: unicodedata.category(c) == "Lt"), ("cased", cased), ("ignorable", ignorable),
    ("xid_start", str.isidentifier), ("xid_continue", lambda c: ("a" + c).isidentifier()),
]
MAPS = [("to_upper", str.upper), ("to_lower", str.lower), ("to_title", str.title), ("fold", str.casefold)]

print(f"/* Made by tools/tmpl_unicode.py from Unicode {unicodedata.unidata_version}; do not edit. */")
print('#include "text/tmpl_unitab.h"\n')
counts = [(n, emit_ranges(n, ranges(p))) for n, p in CLASSES]
mcounts = []
for name, f in MAPS:
    runs, multi = maps(f)
    print(f"const struct uni_run tmpl_uni_{name}[] = {{")
    items = [f"{{0x{a:X},0x{b:X},{s},{d}}}" for a, b, s, d in runs]
    for i in range(0, len(items), 7):
        print("    " + ",".join(items[i:i + 7]) + ",")
    print("};")
    print(f"const struct uni_multi tmpl_uni_{name}_multi[] = {{")
    items = [f"{{0x{c:X},{{{','.join(hex(x) for x in to)}}}}}" for c, to in multi]
    for i in range(0, len(items), 5):
        print("    " + ",".join(items[i:i + 5]) + ",")
    print("};")
    mcounts.append((name, len(runs), len(multi)))
print("const struct uni_table tmpl_uni_tables[] = {")
for n, c in counts:
    print(f"    {{tmpl_uni_{n}, {c}}},")
print("};\nconst struct uni_maps tmpl_uni_map_tables[] = {")
for n, a, b in mcounts:
    print(f"    {{tmpl_uni_{n}, {a}, tmpl_uni_{n}_multi, {b}}},")
print("};")
