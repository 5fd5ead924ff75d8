#!/usr/bin/env python3
"""hone template against Jinja2 set up as transformers does. pip install jinja2==3.1.6

    tools/parity/jinja.py HONE [--random N] [--seed S]

Renders every snippet below, and N random expressions over the same variables, with both. A text must be equal; where Jinja2
raises, hone must answer with an error. Objects that Python prints with an address are left out. Exit code 1 on a difference."""
import argparse
import datetime
import json
import os
import random
import subprocess
import tempfile
import warnings

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

CONTEXT = {
    "d": {"a": {"b": 7}, "l": [1, 2, 3], "é": "ü <>&", "n": None, "f": 1.5, "t": True, "z": [], "y": {}},
    "l": [3, 1, 2], "s": "Hello World", "w": "  pad\n", "n": 5, "f": 2.75, "t": True,
    "messages": [{"role": "system", "content": "S"}, {"role": "user", "content": " hi "}, {"role": "assistant", "content": "yo"}],
    "u": [{"name": "Al", "age": 30}, {"name": "bo", "age": 25}, {"name": "Cy", "age": 30}],
    "uni": "Straße İΣ ﬁ ǆ", "big": 123456789012345678901234567890,
}
VALUES = ["l", "d", "s", "n", "f", "u", "uni", "big", "none", "x", "t", "messages", "'a,b'", "''", "[]", "{}", "(1,2)", "range(3)", "-3",
          "2.5", "'12'", "[[1,2],[3]]", "['b','A']", "'<i>'|safe", "d.l", "messages[0].content", "'é😀'", "1e20", "[none,1]", "d.keys()"]
FILTERS = ["upper", "lower", "title", "capitalize", "trim", "length", "first", "last", "list", "string", "int", "float", "abs", "round",
           "tojson", "sort", "unique|list", "reverse|list", "join(',')", "sum", "min", "max", "default('z')", "default('z',true)", "e", "safe",
           "map('string')|list", "select|list", "reject|list", "batch(2)|list", "slice(2)|list", "items|list", "dictsort", "indent",
           "truncate(4)", "replace('a','bb')", "wordcount", "striptags", "urlencode", "center(9)", "format(1)", "map('length')|list",
           "map(attribute='role')|list", "selectattr('role')|list", "groupby('role')", "tojson(indent=1)", "filesizeformat", "attr('real')",
           "sort(reverse=true)", "map('int')|list", "count", "d(5)", "forceescape", "round(1)", "int(3)", "tojson(sort_keys=true)", "join"]
METHODS = ["upper()", "split()", "split('a')", "strip()", "keys()|list", "items()|list", "get('a')", "real", "title()", "count('a')",
           "index(1)", "startswith('a')", "join(['x','y'])", "values()|list", "format(1,2)", "zfill(5)", "a", "l", "role", "isdigit()",
           "splitlines()", "encode()", "bit_length()", "swapcase()", "rsplit(None,1)", "partition('b')", "find('l')", "copy()", "is_integer()"]
OPERATORS = ["+", "-", "*", "/", "//", "%", "**", "~", "==", "!=", "<", "<=", ">", ">=", "in", "not in", "and", "or"]
TESTS = ["defined", "none", "string", "number", "integer", "float", "mapping", "sequence", "iterable", "callable", "true", "false", "boolean",
         "odd", "even", "upper", "lower", "undefined", "escaped", "eq 1", "in [1,2]", "divisibleby 2", "sameas none", "gt 1"]
SUBSCRIPTS = ["[0]", "[-1]", "[1:]", "[::-1]", "[:2]", "['a']", "[5]", "[none]", "['role']", "[1:-1:2]", "[0][0]"]
SNIPPETS = open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "jinja_snippets.txt"), encoding="utf-8").read().split("\n")


def environment():
    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda f: datetime.datetime(2024, 9, 17, 12, 34, 56).strftime(f)
    return env


def reference(env, source):
    try:
        context = json.loads(json.dumps(CONTEXT))
        return True, env.from_string(source).render(tools=None, documents=None, **context)
    except Exception as e:  # whatever Python raises counts as a refusal
        return False, f"{type(e).__name__}: {e}"


def ours(hone, source):
    with tempfile.NamedTemporaryFile("w", suffix=".jinja", delete=False, encoding="utf-8") as f:
        f.write(source)
    p = subprocess.run([hone, "template", "--template", f.name, "--now", "2024-09-17T12:34:56"], stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, input=(json.dumps({"variables": CONTEXT}) + "\n").encode())
    os.unlink(f.name)
    if p.returncode not in (0, 1):
        return None, f"exit code {p.returncode}: {p.stderr[-200:]!r}"
    a = json.loads(p.stdout.decode().split("\n")[0])
    return ("text" in a), a.get("text", a.get("error"))


def expression(r, depth=0):
    kind = r.random()
    if depth > 2 or kind < 0.25:
        return r.choice(VALUES)
    inner = f"({expression(r, depth + 1)})"
    if kind < 0.55:
        return f"{inner}|{r.choice(FILTERS)}"
    if kind < 0.65:
        return f"{inner}.{r.choice(METHODS)}"
    if kind < 0.75:
        return inner + r.choice(SUBSCRIPTS)
    if kind < 0.9:
        return f"{inner} {r.choice(OPERATORS)} ({expression(r, depth + 1)})"
    if kind < 0.95:
        return f"({inner} is {r.choice(TESTS)})"
    return f"('%s|%5r' % ({inner}, 1))"


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("hone")
    ap.add_argument("--random", type=int, default=0)
    ap.add_argument("--seed", type=int, default=1)
    a = ap.parse_args()
    warnings.simplefilter("ignore")
    env, r = environment(), random.Random(a.seed)
    sources = [s.replace("\\N", "\n") for s in SNIPPETS if s] + ["{{ " + expression(r) + " }}" for _ in range(a.random)]
    good = left_out = 0
    for s in sources:
        ok, want = reference(env, s)
        if ok and (" object at 0x" in want or "<generator" in want or len(want) > 100000):
            left_out += 1
            continue
        our_ok, got = ours(a.hone, s)
        same = our_ok is not None and ok == our_ok and (not ok or want == got)
        good += same
        if not same:
            print(f"{s!r}\n  Jinja2 {want[:300]!r}\n  hone   {got[:300]!r}")
    print(f"{good} of {len(sources) - left_out} agree, {left_out} left out (addresses)")
    return good + left_out != len(sources)


raise SystemExit(main())
