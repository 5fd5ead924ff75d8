# In the program's process: takes calls from a pipe, answers plain values. Nothing here is secret and nothing
# here is trusted: whatever a program does to it changes its own answers and no one else's judgement.
#
# Messages both ways: 4 bytes length, then JSON. Values: None, bool, int, float, str as they are; a JSON array is a
# list; an object has one tag: t tuple, d dict, s set, z frozenset, b bytes, y bytearray, c complex, r range, D Decimal,
# F Fraction, C Counter, q deque, N namedtuple, M date and time, o an object that stays here, x an exception class,
# n a name of the program's module, g an object of the other side.
import sys, os, json, builtins, collections, threading

_dumps = json.JSONEncoder(ensure_ascii=True, check_circular=False).encode
_loads = json.JSONDecoder().decode
_type, _len, _id, _str, _int, _isinstance = type, len, id, str, int, isinstance
_mro = type.__dict__["__mro__"].__get__
_read, _write = os.read, os.write
_SCALAR = frozenset((int, float, str, bool, type(None)))
_OPS = {}
DEPTH = 100
MAX = 64 << 20
READ = 16 << 10  # at a time


def _ops():
    import operator
    for name in ("eq ne lt le gt ge add sub mul truediv floordiv mod pow matmul and_ or_ xor lshift rshift neg pos abs invert contains getitem "
                 "setitem delitem index").split():
        _OPS[name] = getattr(operator, name)
    _OPS.update(getattr=getattr, setattr=setattr, delattr=delattr, len=len, str=str, repr=repr, bool=bool, iter=iter, next=next, int=int, float=float,
                hash=hash, isinstance=isinstance, issubclass=issubclass, dir=dir, format=format, reversed=reversed, round=round, divmod=divmod,
                list=list)


class Side:
    """One end of the conversation."""

    def __init__(self, rfd, wfd, module):
        self.r, self.w, self.module = rfd, wfd, module
        self.objects, self.ids = {}, {}
        self.rest = b""
        self.there = {}   # what the other side handed over, by its number: the same object each time

    def recv(self):
        """The next message. What comes behind it stays for the next call."""
        data = self.rest
        while _len(data) < 4:
            data += self.more(READ)
        end = 4 + _int.from_bytes(data[:4], "little")
        if _len(data) < end:
            parts, n = [data], end - _len(data)
            while n > 0:
                data = self.more(n if n < 1 << 20 else 1 << 20)
                parts.append(data)
                n -= _len(data)
            data = b"".join(parts)
        self.rest = data[end:]
        return _loads(data[4:end].decode("utf-8", "surrogatepass"))

    def more(self, n):
        data = _read(self.r, n)
        if not data:
            os._exit(0)  # the other side has gone: nothing left to do
        return data

    def send(self, msg):
        data = _dumps(msg).encode("ascii")
        if _len(data) > MAX:
            data = _dumps(["e", {"m": ["ValueError"]}, ["the result is too large"], "the result is too large"]).encode()
        data = _len(data).to_bytes(4, "little") + data
        n = _write(self.w, data)
        while n < _len(data):
            data = data[n:]
            n = _write(self.w, data)

    def keep(self, v):
        k = self.ids.get(_id(v))
        if k is None:
            k = _len(self.objects)
            self.objects[k] = v
            self.ids[_id(v)] = k
        return k

    def enc(self, v, depth=0):
        t = _type(v)
        if t in _SCALAR:
            return v if t is not _int or v.bit_length() < 300000 else {"o": self.keep(v), "k": "int"}
        if depth > DEPTH:
            return {"o": self.keep(v), "k": "deep"}
        depth += 1
        enc = self.enc
        if t is list:
            return [x if _type(x) in _SCALAR and _type(x) is not _int else enc(x, depth) for x in v]
        if t is tuple:
            return {"t": [enc(x, depth) for x in v]}
        if t is dict:
            return {"d": [[enc(a, depth), enc(b, depth)] for a, b in v.items()]}
        return self.enc_other(v, t, depth)

    def enc_other(self, v, t, depth):
        enc = self.enc
        for base in _mro(t):  # an honest subclass is judged by what it is made of, never by what it says of itself
            if base is _int:
                return enc(_int.__add__(v, 0), depth) if t is not bool else v
            if base is float:
                return float.__add__(v, 0.0)
            if base is str:
                return str.__str__(v) if _type(str.__str__(v)) is _str else "".join(str.__iter__(v))
            if base is list:
                return [enc(x, depth) for x in list.__iter__(v)]
            if base is tuple:
                f = getattr(t, "_fields", None)
                if _type(f) is tuple and all(_type(x) is _str for x in f):
                    return {"N": [t.__name__, list(f), [enc(x, depth) for x in tuple.__iter__(v)]]}
                return {"t": [enc(x, depth) for x in tuple.__iter__(v)]}
            if base is set or base is frozenset:
                return {"s" if base is set else "z": [enc(x, depth) for x in base.__iter__(v)]}
            if base is collections.Counter:
                return {"C": [[enc(a, depth), enc(b, depth)] for a, b in dict.items(v)]}
            if base is dict:
                return {"d": [[enc(a, depth), enc(b, depth)] for a, b in dict.items(v)]}
            if base is bytes or base is bytearray:
                return {"b" if base is bytes else "y": base.decode(v, "latin-1")}
            if base is collections.deque:
                return {"q": [enc(x, depth) for x in collections.deque.__iter__(v)]}
            if base is complex:
                return {"c": [v.real, v.imag]}
            if base is range:
                return {"r": [v.start, v.stop, v.step]}
            name = base.__module__, base.__name__
            if name in (("decimal", "Decimal"), ("fractions", "Fraction")) and sys.modules.get(name[0]) is not None:
                return {"D": base.__str__(v)} if name[1] == "Decimal" else {"F": [int(v.numerator), int(v.denominator)]}
            if name[0] == "datetime" and name[1] in ("datetime", "date", "time", "timedelta"):
                return self.enc_time(v, name[1])
            if name[0] == "numpy" and hasattr(v, "tolist"):
                return enc(v.tolist(), depth)
        if t is Far:
            return {"g": v._n}
        if _isinstance(v, type) and issubclass(v, BaseException):
            return {"x": self.exc_class(v)}
        return {"o": self.keep(v), "k": t.__name__, "c": 1 if callable(v) else 0}

    def enc_time(self, v, kind):
        if kind == "timedelta":
            return {"M": ["timedelta", v.days, v.seconds, v.microseconds]}
        if getattr(v, "tzinfo", None) is not None:
            return {"o": self.keep(v), "k": kind}
        return {"M": [kind] + [getattr(v, k) for k in "year month day hour minute second microsecond".split() if hasattr(v, k)]}

    def exc_class(self, c):
        names = [b.__name__ for b in _mro(c) if getattr(builtins, b.__name__, None) is b and b is not object]
        own = getattr(builtins, c.__name__, None) is c
        return {"m": names} if own else {"m": names, "o": self.keep(c), "k": c.__name__}

    def dec(self, v):
        t = _type(v)
        if t is list:
            return [x if _type(x) in _SCALAR else self.dec(x) for x in v]
        if t is not dict:
            return v
        (tag, x), = list(v.items())[:1]
        dec = self.dec
        if tag == "t":
            return tuple([dec(y) for y in x])
        if tag == "d":
            return {dec(a): dec(b) for a, b in x}
        if tag == "o":
            return self.objects[x]
        if tag == "n":
            try:
                return self.module.__dict__[x]
            except KeyError:
                raise NameError("name '%s' is not defined" % x) from None
        if tag == "g":
            if x not in self.there:
                self.there[x] = Far(self, x)
            return self.there[x]
        return dec_plain(tag, x, dec)

    def answer(self, msg):
        """One request, one answer."""
        try:
            op = msg[0]
            if op == "call":
                got = self.dec(msg[1])(*[self.dec(x) for x in msg[2]], **{k: self.dec(x) for k, x in msg[3].items()})
            elif op == "value":
                got = self.dec({"n": msg[1][0]})
            else:
                got = _OPS[op](*[self.dec(x) for x in msg[1]])
            out = ["v", self.enc(got)]
        except (SystemExit, KeyboardInterrupt, GeneratorExit) as e:
            self.send(["end", _type(e).__name__])
            raise
        except BaseException as e:
            out = self.enc_exc(e)
        return out

    def calls(self, ahead):
        """Calls that the tests will make one after the other, whatever the answers are. After an answer with an object that
        stays here the tests may want something of that object before their next call: the rest is not made."""
        n, left = _len(self.objects), _len(ahead)
        for c in ahead:
            self.send(self.answer(["call", c[0], c[1], c[2]]))
            left -= 1
            if left and _len(self.objects) > n:
                self.send(["cut"])
                break

    def enc_exc(self, e):
        try:
            args = [self.enc(a) for a in e.args]
            text = _str(e)[:300]
        except BaseException:
            args, text = [], ""
        return ["e", self.exc_class(_type(e)), args, text]

    def far_call(self, n, args, kw):
        self.send(["cb", n, [self.enc(a) for a in args], {k: self.enc(v) for k, v in kw.items()}])
        while True:
            msg = self.recv()
            if msg[0] == "v":
                return self.dec(msg[1])
            if msg[0] == "e":
                c = getattr(builtins, msg[1], RuntimeError)
                raise c(*[self.dec(a) for a in msg[2]])
            self.send(self.answer(msg))


class Far:
    """A function of the tests that was handed over as an argument."""
    __slots__ = ("_side", "_n")

    def __init__(self, side, n):
        self._side, self._n = side, n

    def __call__(self, *a, **k):
        return self._side.far_call(self._n, a, k)


def dec_plain(tag, x, dec):
    if tag == "s":
        return {dec(y) for y in x}
    if tag == "z":
        return frozenset(dec(y) for y in x)
    if tag == "b":
        return x.encode("latin-1")
    if tag == "y":
        return bytearray(x.encode("latin-1"))
    if tag == "c":
        return complex(x[0], x[1])
    if tag == "r":
        return range(x[0], x[1], x[2])
    if tag == "D":
        import decimal
        return decimal.Decimal(x)
    if tag == "F":
        import fractions
        return fractions.Fraction(x[0], x[1])
    if tag == "C":
        return collections.Counter({dec(a): dec(b) for a, b in x})
    if tag == "q":
        return collections.deque(dec(y) for y in x)
    if tag == "N":
        if len(x[1]) != len(x[2]) or not all(type(f) is str and f.isidentifier() for f in x[1]):
            raise ValueError("not a named tuple")
        return collections.namedtuple(x[0] if x[0].isidentifier() else "T", x[1], rename=True)(*[dec(y) for y in x[2]])
    if tag == "M":
        import datetime
        if x[0] not in ("datetime", "date", "time", "timedelta"):
            raise ValueError("not a time")
        return getattr(datetime, x[0])(*x[1:])
    raise ValueError("unknown value")


def serve(rfd, wfd, load, exit_code, finish):
    name = "solution"
    got = load(name)
    side = Side(rfd, wfd, None)
    if got is None:
        side.send(["dead", "SyntaxError"])
        finish(1)
    side.module, code = got
    try:
        exec(code, side.module.__dict__)
    except BaseException as e:
        side.send(["dead", _type(e).__name__, _str(e)[:300]])
        finish(exit_code(e))
    side.send(["ready"])
    try:
        while True:
            msg = side.recv()
            if msg[0] == "calls":
                side.calls(msg[1])
            else:
                side.send(side.answer(msg))
    except BaseException as e:
        finish(exit_code(e))


_TEXT = """
from typing import List
class C:
    pass
def f(xs: List[int], y=1.5):
    out = []
    for i, x in enumerate(xs):
        if x % 2 == 0 and i < 10:
            out.append(x)
    return sorted(out), {"k": y}, "a b".split(), None, True, {1, 2}
def g(s):
    return " ".join(c for c in s if c != "x")
def h(n):
    return n if n < 2 else h(n - 1) + n / 2
def stop():
    raise SystemExit
"""


def warm():
    """Whole conversations in this process, until the interpreter has nothing left to specialise."""
    import types
    _ops()
    for k in range(20):
        a, b = os.pipe(), os.pipe()
        mod = types.ModuleType("solution")
        other = Side(b[0], a[1], None)
        other.send(["calls", [[{"n": "f"}, [[1, 2, 3]], {}], [{"n": "g"}, ["axb"], {}], [{"n": "h"}, [4], {}]]])
        other.send(["value", ["f"]])
        other.send(["call", {"n": "f"}, [[1, {"t": [2, "a"]}], 2.5], {}])
        other.send(["call", {"n": "nothing"}, ["a"], {}])
        other.send(["call", {"n": "C"}, [], {}])
        other.send(["getattr", [{"n": "C"}, "__name__"]])
        other.send(["call", {"n": "stop"}, [], {}])
        serve(a[0], b[1], lambda name: (mod, compile(_TEXT, "solution", "exec")), lambda e: 0, lambda code: None)
        for fd in (*a, *b):
            os.close(fd)
