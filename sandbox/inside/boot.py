# The first text the zygote runs. It prepares what every program needs, touches the parts of the interpreter that
# programs touch (so that a forked copy finds them warm), freezes all of it, and says what a copy does.
import sys, os, gc, io, types, builtins, traceback, linecache, atexit
import math, re, collections, heapq, itertools, functools, bisect, random, string, operator, json, typing
import threading, copy, time

_boot = sys.modules["__main__"]
_modules = {}
_partner = None
_main_thread, _native_id = threading.main_thread(), threading.get_native_id
_exit, _open, _read, _close = os._exit, os.open, os.read, os.close
_seed = super(random.Random, random._inst).seed
_mains = {}
NOTE = 3
MAIN = "/w/box/main.py"
SOURCE = 64 << 10  # what is asked for at first: most programs are smaller
REHEARSALS = 20    # after as many runs the interpreter has specialised its code and does not write to it any more


def _add_module(name, source, partner):
    global _partner
    code = compile(source, "<" + name + ">", "exec")
    if partner:
        _partner = code
        return
    mod = types.ModuleType(name)
    exec(code, mod.__dict__)
    _modules[name] = mod


_TEXT = '''
import sys, math
from typing import List
class A:
    n = 0
    def __init__(self, x): self.x = x; self.d = {"k": [x]}
    def m(self, *a, **k): return sum(i * i for i in range(10) if i % 2) + len(a)
    @property
    def p(self): return f"{self.x:>5} {self.x!r} {1.5:.2f}"
def f(a, b=1, *c):
    try:
        return [x for x in (a, b)] + sorted({3, 1, 2}, key=lambda v: -v)
    except (ValueError, KeyError) as e:
        raise
    finally:
        pass
t = A(3); t.m(1, 2); t.p; f(1)
try:
    1 // 0
except ZeroDivisionError as e:
    s = str(e)
d = {i: str(i) for i in range(50)}
s = " ".join(d.values()).split(); x = list(map(int, s)); x.sort(); x[1:3]; 2 ** 100 % 7; "a".upper().replace("A", "b").encode()
with open("/dev/null") as h: h.read()
def g():
    yield from range(3)
list(g()); isinstance(t, A); max(x), min(x), abs(-1), round(2.5), any(x), all(x), tuple(x), set(x), enumerate(x), zip(x, x), reversed(x)
a, *b = x
while True:
    break
assert x is not None and (y := 3) > 2
n = int(input())
for line in sys.stdin:
    a, b = map(int, line.split())
    print(a + b, n, "x", sep=" ")
print("%d %s" % (n, a), *x[:3])
sys.stdout.write(s + "\\n")
'''


def _rehearse(text, given):
    """A whole run in this process, with streams of its own."""
    ends = os.pipe(), os.pipe()
    saved = sys.stdin, sys.stdout, sys.__stdin__, sys.__stdout__
    os.write(ends[0][1], given)
    os.close(ends[0][1])
    sys.stdin = sys.__stdin__ = open(ends[0][0], encoding="utf-8")
    sys.stdout = sys.__stdout__ = open(ends[1][1], "w", encoding="utf-8")
    source, note = os.pipe(), os.pipe()
    os.write(source[1], text)
    os.close(source[1])
    _program(source[0], note[1])
    wind_up()
    os.close(note[0])
    for f in (sys.stdin, sys.stdout):
        f.close()
    os.close(ends[1][0])
    sys.stdin, sys.stdout, sys.__stdin__, sys.__stdout__ = saved


def _warm():
    if not atexit._ncallbacks():
        for _ in range(REHEARSALS):
            _mains["__main__"] = _module("__main__")
            _rehearse(_TEXT.encode(), b"3\n1 2\n3 4\n")
        _rehearse(b"def f(:\n", b"")
        _rehearse(b"1 // 0\n", b"")
    for mod in _modules.values():
        if hasattr(mod, "warm"):
            mod.warm()


def _module(name):
    mod = types.ModuleType(name)
    mod.__file__ = MAIN
    mod.__builtins__ = builtins
    return mod


def _ready():
    for k in ("PYTHONUTF8", "PYTHONSAFEPATH", "PYTHONNOUSERSITE"):
        os.environ.pop(k, None)
    sys.argv[:] = ["main.py"]
    sys.orig_argv[:] = ["python3", "main.py"]
    sys.path.insert(0, "/w/box")
    _warm()
    for name in ("__main__", "solution"):
        _mains[name] = _module(name)
    sys.modules["__main__"] = _boot
    linecache.clearcache()
    gc.collect()
    gc.freeze()


def load(name):
    """The program's module __main__ (or the named one) with its compiled text, or None after a syntax error was reported."""
    return prepare(name, _main_text(), NOTE)


def _main_text():
    return _open(MAIN, 0o2000000)  # read-only, close-on-exec


def prepare(name, fd, note):
    source = _read(fd, SOURCE)
    if len(source) == SOURCE:
        while more := _read(fd, 1 << 20):
            source += more
    _close(fd)
    try:
        code = compile(source, MAIN, "exec", 0, True)
    except BaseException:
        os.write(note, b"S")
        _close(note)
        kind, err, tb = sys.exc_info()
        traceback.print_exception(kind, err, None)
        return None
    _close(note)
    mod = _mains[name]
    sys.modules[name] = mod
    return mod, code


def finish(code):
    """What Python does at its end, without taking the interpreter apart: threads, then the rest."""
    if threading._shutdown_locks or threading._threading_atexits:
        try:
            threading._shutdown()  # once in a process: no rehearsal may do it
        except BaseException:
            traceback.print_exc()
    wind_up()
    _exit(code & 255)


def wind_up():
    """Exit handlers, the program's own objects, streams."""
    atexit._run_exitfuncs()
    main = sys.modules.get("__main__")
    if main is not None and main is not _boot:
        names = main.__dict__
        for k in list(names):
            if not k.startswith("__"):
                names[k] = None
        names.clear()
    out, err = sys.stdout, sys.stderr
    for s in (out, err) if out is sys.__stdout__ and err is sys.__stderr__ else (out, sys.__stdout__, err, sys.__stderr__):
        try:
            s.flush()
        except BaseException:
            pass


def exit_code(err):
    """The exit code of an uncaught exception, reported as Python does."""
    if isinstance(err, SystemExit):
        c = err.code
        if c is None:
            return 0
        if isinstance(c, int):
            return c
        print(c, file=sys.stderr)
        return 1
    try:
        tb = err.__traceback__ and err.__traceback__.tb_next
        sys.excepthook(type(err), err.with_traceback(tb), tb)
    except BaseException:
        traceback.print_exc()
    return 1


def _program(fd, note):
    """Runs the text that fd has as __main__; its exit code."""
    got = prepare("__main__", fd, note)
    if got is None:
        return 1
    mod, code = got
    try:
        exec(code, mod.__dict__)
        return 0
    except BaseException as e:
        return exit_code(e)


def _run(kind, callee):
    _seed()
    _main_thread._native_id = _native_id()
    if kind == 2:
        sys.modules.pop("__main__", None)
        mod = types.ModuleType("__main__")
        mod.modules = _modules
        sys.modules["__main__"] = mod
        exec(_partner, mod.__dict__)
        _exit(0)
    if kind == 1:
        _modules[callee].serve(4, 5, load, exit_code, finish)
        _exit(0)
    finish(_program(_main_text(), NOTE))
