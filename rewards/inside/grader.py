# The trusted side: runs the tests of one task after the other. The program under test lives in another process;
# its functions and objects appear here as Remote, its results as plain values rebuilt from JSON. A comparison is
# therefore always made here, on values that this process built itself.
import ast, builtins, collections, gc, io, json, os, random, socket, sys, time, types, unittest

sys.set_int_max_str_digits(100000)
_limit = sys.getrecursionlimit()
_control = socket.socket(fileno=os.dup(0))
_scan = json.JSONDecoder().scan_once
_dumps = json.JSONEncoder(check_circular=False).encode
_SCALAR = frozenset((int, float, str, bool, type(None)))
_codes = collections.OrderedDict()
CODES_MAX = 512
CHECKS_MAX = 100000
READ = 16 << 10  # at a time
AHEAD_MAX = 32 << 10  # bytes of calls sent ahead: less than a pipe holds, or both sides could wait for room in one
dec_plain = modules["calls"].dec_plain  # plain values only; the same text on both sides


def packed(msg):
    data = _dumps(msg).encode("ascii")
    return len(data).to_bytes(4, "little") + data


class Gone(BaseException):
    """The program has ended or talks nonsense."""


class Stop(BaseException):
    """A check failed and the caller wanted no more."""


class Away:
    """The program's end of the two pipes."""

    def __init__(self, rfd, wfd):
        self.r, self.w = rfd, wfd
        self.rest = b""
        self.ahead = []    # calls that were sent before the tests make them, the last one first
        self.mine, self.mine_ids = [], {}
        self.mirrors = {}
        self.trusted = 0   # checks that rest on the program's own word
        self.suite = False
        self.why = ""

    def recv(self):
        """The next message; what comes behind it stays for the next call."""
        data = self.rest
        while len(data) < 4:
            data += self.more(READ)
        end = 4 + int.from_bytes(data[:4], "little")
        if end > 64 << 20:
            raise Gone("an answer is too large")
        if len(data) < end:
            parts, n = [data], end - len(data)
            while n > 0:
                data = self.more(min(n, 1 << 20))
                parts.append(data)
                n -= len(data)
            data = b"".join(parts)
        self.rest = data[end:]
        try:
            text = data[4:end].decode("utf-8")
            msg, n = _scan(text, 0)
            if n == len(text) and type(msg) is list and msg and type(msg[0]) is str:
                return msg
        except (ValueError, StopIteration, RecursionError):
            pass
        raise Gone("an answer is not well formed")

    def more(self, n):
        data = os.read(self.r, n)
        if not data:
            raise Gone(self.why or "the program ended before its tests did")
        return data

    def send(self, msg):
        self.put(packed(msg))

    def put(self, data):
        try:
            while data:
                data = data[os.write(self.w, data):]
        except OSError:
            raise Gone(self.why or "the program ended before its tests did") from None

    def wait_ready(self):
        msg = self.recv()
        if msg[0] != "ready":
            self.why = "the program ended while it was loading: " + ": ".join(str(x) for x in msg[1:3])
            raise Gone(self.why)

    def ask(self, msg):
        self.send(msg)
        return self.answer(self.recv())

    def call(self, handle, args, kw):
        """A call of the program: the next that was sent ahead, or a new one."""
        if self.ahead and "n" in handle:
            if self.ahead.pop() != (handle.get("n"), args, kw):
                raise RuntimeError("the tests make other calls than those that were read out of them")
            msg = self.recv()
            if msg[0] != "cut":
                return self.answer(msg)
            self.ahead.clear()
        return self.ask(["call", handle, [self.enc(x) for x in args], {n: self.enc(x) for n, x in kw.items()}])

    def answer(self, msg):
        while True:
            try:
                if msg[0] == "v":
                    return self.dec(msg[1], 0)
                if msg[0] == "e":
                    err = self.exc(msg)
                    break
                if msg[0] == "cb":
                    self.callback(msg)
                elif msg[0] == "cut":
                    self.ahead.clear()
                elif msg[0] == "end":
                    self.why = "the program ended itself: " + str(msg[1])
                    raise Gone(self.why)
                else:
                    raise Gone("an answer is not well formed")
            except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError) as e:
                raise Gone("an answer is not well formed: " + type(e).__name__) from None
            msg = self.recv()
        raise err

    def callback(self, msg):
        """The program calls a function of the tests."""
        fn = self.mine[msg[1]]
        args, kw = [self.dec(x, 0) for x in msg[2]], {str(k): self.dec(x, 0) for k, x in msg[3].items()}
        try:
            out = ["v", self.enc(fn(*args, **kw))]
        except Exception as e:
            out = ["e", type(e).__name__, [self.enc(a) for a in e.args]]
        self.send(out)

    def enc(self, v):
        t = type(v)
        if t in _SCALAR:
            return v
        enc = self.enc
        if t is list:
            return [enc(x) for x in v]
        if t is tuple:
            return {"t": [enc(x) for x in v]}
        if t is dict or t is collections.defaultdict or t is collections.OrderedDict:
            return {"d": [[enc(a), enc(b)] for a, b in v.items()]}
        if t is set or t is frozenset:
            return {"s" if t is set else "z": [enc(x) for x in v]}
        if t is Remote:
            return object.__getattribute__(v, "_h")
        if t is bytes or t is bytearray:
            return {"b" if t is bytes else "y": v.decode("latin-1")}
        if t is complex:
            return {"c": [v.real, v.imag]}
        if t is range:
            return {"r": [v.start, v.stop, v.step]}
        if t is collections.Counter:
            return {"C": [[enc(a), enc(b)] for a, b in v.items()]}
        if t is collections.deque:
            return {"q": [enc(x) for x in v]}
        if t.__module__ == "decimal" and t.__name__ == "Decimal":
            return {"D": str(v)}
        if t.__module__ == "fractions" and t.__name__ == "Fraction":
            return {"F": [v.numerator, v.denominator]}
        if t.__module__ == "datetime" and getattr(v, "tzinfo", None) is None:
            if t.__name__ == "timedelta":
                return {"M": ["timedelta", v.days, v.seconds, v.microseconds]}
            return {"M": [t.__name__] + [getattr(v, k) for k in "year month day hour minute second microsecond".split() if hasattr(v, k)]}
        if isinstance(v, tuple):
            return {"t": [enc(x) for x in v]}
        if isinstance(v, type) and issubclass(v, BaseException) and "_remote" in v.__dict__:
            return {"o": v._remote}
        if t.__module__ == "numpy" and hasattr(v, "tolist"):
            return enc(v.tolist())
        # the same object is the same number, so that the program can find a callback it was given before
        k = self.mine_ids.get(id(v))
        if k is None:
            k = self.mine_ids[id(v)] = len(self.mine)
            self.mine.append(v)
        return {"g": k}

    def dec(self, v, depth):
        t = type(v)
        if t in _SCALAR:
            return v
        if depth > 200:
            raise ValueError("too deep")
        depth += 1
        if t is list:
            return [x if type(x) in _SCALAR else self.dec(x, depth) for x in v]
        tag = next(iter(v))
        x = v[tag]
        if tag == "t":
            return tuple([self.dec(y, depth) for y in x])
        if tag == "d":
            return {self.dec(a, depth): self.dec(b, depth) for a, b in x}
        if tag == "o":
            return Remote(self, {"o": int(x)}, str(v.get("k")))
        if tag == "x":
            return self.exc_class(x)
        if tag == "g":
            return self.mine[x]
        return dec_plain(tag, x, lambda y: self.dec(y, depth))

    def exc_class(self, c):
        base = next((b for n in c["m"] for b in [getattr(builtins, str(n), None)] if isinstance(b, type) and issubclass(b, BaseException)), Exception)
        if not issubclass(base, Exception):
            base = Exception  # nothing that the program raises may end this process
        if "o" not in c:
            return base
        key = int(c["o"])
        if key not in self.mirrors:
            self.mirrors[key] = type(str(c.get("k")), (base,), {"_remote": key})
        return self.mirrors[key]

    def exc(self, msg):
        args = [self.dec(a, 0) for a in msg[2]]
        c = self.exc_class(msg[1])
        try:
            e = c(*args)
        except Exception:
            e = Exception(str(msg[3]))
        e._from_program = True
        return e


def _forward(op):
    def f(self, *a):
        away = object.__getattribute__(self, "_away")
        return away.ask([op, [away.enc(self)] + [away.enc(x) for x in a]])
    return f


def _operator(op, swapped):
    """Arithmetic. An operator that sees the expected value could answer what makes the check true: with a plain operand
    it is the program's word alone, so call-style tests do not get it and suites count it."""
    def f(self, other):
        away = object.__getattribute__(self, "_away")
        if type(other) is not Remote:
            if not away.suite:
                return NotImplemented
            away.trusted += 1
        a, b = away.enc(self), away.enc(other)
        return away.ask([op, [b, a] if swapped else [a, b]])
    return f


class Remote:
    """An object of the program. It takes part in a comparison only with objects of the program."""
    __slots__ = ("_away", "_h", "_k")

    def __init__(self, away, handle, kind=""):
        object.__setattr__(self, "_away", away)
        object.__setattr__(self, "_h", handle)
        object.__setattr__(self, "_k", kind)

    def __call__(self, *a, **k):
        away = object.__getattribute__(self, "_away")
        return away.call(object.__getattribute__(self, "_h"), list(a), k)

    def __getattribute__(self, name):
        if name in ("__class__", "__dict__", "__slots__", "__wrapped__", "_away", "_h", "_k"):
            return object.__getattribute__(self, name)
        away = object.__getattribute__(self, "_away")
        return away.ask(["getattr", [away.enc(self), name]])

    def __setattr__(self, name, v):
        away = object.__getattribute__(self, "_away")
        away.ask(["setattr", [away.enc(self), name, away.enc(v)]])

    def __delattr__(self, name):
        away = object.__getattribute__(self, "_away")
        away.ask(["delattr", [away.enc(self), name]])

    def _compare(self, op, other):
        away = object.__getattribute__(self, "_away")
        if type(other) is not Remote:
            return NotImplemented
        if op == "eq" and away.enc(self) == away.enc(other):
            return True
        away.trusted += 1
        got = away.ask([op, [away.enc(self), away.enc(other)]])
        return got if type(got) is bool else NotImplemented

    def __eq__(self, other):
        return Remote._compare(self, "eq", other)

    def __ne__(self, other):
        r = Remote._compare(self, "ne", other)
        return r if r is not NotImplemented else True

    def __lt__(self, other):
        return Remote._compare(self, "lt", other)

    def __le__(self, other):
        return Remote._compare(self, "le", other)

    def __gt__(self, other):
        return Remote._compare(self, "gt", other)

    def __ge__(self, other):
        return Remote._compare(self, "ge", other)

    def __hash__(self):
        return hash(json.dumps(object.__getattribute__(self, "_h")))

    def __contains__(self, v):
        return any(x is v or x == v for x in self)

    def __iter__(self):
        away = object.__getattribute__(self, "_away")
        it = away.ask(["iter", [away.enc(self)]])
        if type(it) is not Remote:
            return iter(it)
        return Remote._walk(it)

    def _walk(it):
        while True:
            try:
                v = next(it)
            except StopIteration:
                return
            yield v

    def __enter__(self):
        return self.__enter__()

    def __exit__(self, *a):
        return self.__exit__(None, None, None)

    def __instancecheck__(self, v):
        if type(v) is not Remote:
            return False
        away = object.__getattribute__(self, "_away")
        return away.ask(["isinstance", [away.enc(v), away.enc(self)]]) is True

    def __repr__(self):
        away = object.__getattribute__(self, "_away")
        try:
            s = away.ask(["repr", [away.enc(self)]])
        except Gone:  # repr is also for messages: the next question says that it is gone
            s = None
        return s if type(s) is str else "<%s of the program>" % object.__getattribute__(self, "_k")

    def __dir__(self):
        away = object.__getattribute__(self, "_away")
        return away.ask(["dir", [away.enc(self)]])

    def __str__(self):
        away = object.__getattribute__(self, "_away")
        s = away.ask(["str", [away.enc(self)]])
        return s if type(s) is str else ""


for _n in "len bool next int float getitem setitem delitem neg pos abs invert index format reversed round".split():
    setattr(Remote, "__%s__" % _n, _forward(_n))
for _n in "add sub mul truediv floordiv mod pow matmul lshift rshift divmod and_ or_ xor".split():
    setattr(Remote, "__%s__" % _n.strip("_"), _operator(_n, False))
    setattr(Remote, "__r%s__" % _n.strip("_"), _operator(_n, True))


class Checks:
    """What was checked: [ok, why] in the order of the tests."""

    def __init__(self, stop):
        self.list, self.stop = [], stop

    def add(self, ok, why=""):
        if len(self.list) < CHECKS_MAX:
            self.list.append([ok, why[:200]])
        if not ok and self.stop:
            raise Stop()

    def ok(self, value):
        self.add(bool(value), "" if value else "assertion failed")

    def err(self, e):
        self.add(False, reason(e))


def reason(e):
    if isinstance(e, AssertionError) and not getattr(e, "_from_program", 0):
        return "assertion failed"
    try:
        text = str(e)
    except Exception:
        text = ""
    return "%s%s: %s" % ("program raised " if getattr(e, "_from_program", 0) else "", type(e).__name__, text)


class Asserts(ast.NodeTransformer):
    """Each assert that is not inside a try becomes a check that is counted and need not end the test."""

    def __init__(self):
        self.n = 0

    def visit_Try(self, node):
        return node

    def visit_Assert(self, node):
        self.n += 1
        text = "try:\n    __hone_checks.ok(0)\nexcept Exception as __hone_e:\n    __hone_checks.err(__hone_e)"
        new = ast.parse(text).body[0]
        for x in ast.walk(new):
            ast.copy_location(x, node)
        new.body[0].value.args[0] = node.test  # last: a condition may be a list of a hundred thousand numbers
        return new


def free_names(tree):
    """Names the tests use and do not define: (called only, otherwise used)."""
    defined, called, used = set(dir(builtins)), set(), set()
    funcs = set()
    for n in ast.walk(tree):
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Name):
            funcs.add(id(n.func))
    for n in ast.walk(tree):
        if isinstance(n, ast.Name):
            if not isinstance(n.ctx, ast.Load):
                defined.add(n.id)
            elif id(n) in funcs:
                called.add(n.id)
            else:
                used.add(n.id)
        elif isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            defined.add(n.name)
        elif isinstance(n, ast.arg):
            defined.add(n.arg)
        elif isinstance(n, ast.alias):
            defined.add((n.asname or n.name).split(".")[0])
        elif isinstance(n, ast.ExceptHandler) and n.name:
            defined.add(n.name)
    return called - used - defined, used - defined


def shadowed(tree):
    """Tests that call nothing but built-in functions are of a function with such a name, which is the program's and no other:
    the one whose calls hold no further call and that every assert has. (With two such names the task must say entry_point.)"""
    found = None
    for n in ast.walk(tree):
        if isinstance(n, ast.Assert):
            names = {c.func.id for c in ast.walk(n.test) if isinstance(c, ast.Call) and isinstance(c.func, ast.Name)
                     and not any(isinstance(x, ast.Call) for a in c.args for x in ast.walk(a))}
            found = names if found is None else found & names
    return found if found and len(found) == 1 else set()


# Built-in functions that call nothing of the program but what is in their arguments
_PURE = frozenset("abs all any bool dict float frozenset int len list max min repr reversed round set sorted str sum tuple".split())


def literal(node):
    try:
        return True, ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False, None


def first_call(node, names):
    """The one call of the program in an expression that nothing before it can keep from being made, or None."""
    while True:
        if isinstance(node, ast.Compare):
            rest, node = node.comparators, node.left
            if literal(node)[0]:
                node, rest = rest[0], rest[1:]
        elif isinstance(node, (ast.UnaryOp, ast.Subscript)):
            rest, node = [node.slice] if isinstance(node, ast.Subscript) else [], node.operand if isinstance(node, ast.UnaryOp) else node.value
        elif isinstance(node, ast.BinOp):
            rest, node = [node.right], node.left
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            if node.func.id in names:
                break
            if node.func.id not in _PURE:
                return None
            rest, node = node.args[1:] + node.keywords, node.args[0]
        else:
            return None
        if any(mentions(x, names) for x in rest):
            return None
    args, kw = [literal(a) for a in node.args], [(k.arg, literal(k.value)) for k in node.keywords]
    if not all(ok for ok, _ in args) or not all(k and ok for k, (ok, _) in kw):
        return None
    return node.func.id, [v for _, v in args], {k: v for k, (_, v) in kw}


def constant(st):
    return (isinstance(st, ast.Expr) and isinstance(st.value, ast.Constant)) or (isinstance(st, ast.Assign) and literal(st.value)[0])


def mentions(node, names):
    return any(isinstance(n, ast.Name) and n.id in names for n in ast.walk(node))


def sent_ahead(body, names, as_name):
    """The calls that tests begin with, one in each assert, with values that are written there: the same whatever the program answers.
    They go to the program in one message."""
    calls = []
    for st in body:
        if not mentions(st, names):
            if not isinstance(st, (ast.Assert, ast.Pass, ast.Import, ast.ImportFrom)) and not constant(st):
                break
            continue
        c = first_call(st.test, names) if isinstance(st, ast.Assert) and not (st.msg and mentions(st.msg, names)) else None
        if c is None:
            break
        calls.append((as_name or c[0], c[1], c[2]))
    plain = Away(-1, -1)
    msg = packed(["calls", [[{"n": n}, [plain.enc(x) for x in a], {k: plain.enc(x) for k, x in kw.items()}] for n, a, kw in calls]])
    return (calls[::-1], msg) if len(calls) > 1 and len(msg) <= AHEAD_MAX else ([], b"")


def ahead_of(tree, called, used, entry, needs_call):
    if not needs_call:
        return sent_ahead(tree.body, set(called), None) if not used else ([], b"")
    check = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "check"]
    alone = all(n in check or isinstance(n, (ast.Import, ast.ImportFrom)) or constant(n) for n in tree.body)
    a = check[0].args
    if len(check) != 1 or not alone or used or check[0].decorator_list or len(a.args) != 1 or a.vararg or a.kwarg or a.kwonlyargs or a.posonlyargs:
        return [], b""
    return sent_ahead(check[0].body, {a.args[0].arg}, entry) if set(called) <= {a.args[0].arg} else ([], b"")


def prepare(text, entry):
    """Compiled tests, cached: (code, names called, names used, asserts, needs a call of check, calls sent ahead, their message)."""
    key = text, entry
    got = _codes.get(key)
    if got:
        _codes.move_to_end(key)
        return got
    tree = ast.parse(text)
    called, used = free_names(tree)
    if entry and entry in dir(builtins):
        called = called | {entry}
    if not called and not used:
        called = shadowed(tree)
    has_check = any(isinstance(n, ast.FunctionDef) and n.name == "check" for n in tree.body)
    calls_it = any(isinstance(n, ast.Expr) and isinstance(n.value, ast.Call) and getattr(n.value.func, "id", "") == "check" for n in ast.walk(tree))
    needs_call = has_check and not calls_it and bool(entry)
    ahead = ahead_of(tree, called, used, entry, needs_call)
    t = Asserts()
    tree = ast.fix_missing_locations(t.visit(tree))
    got = compile(tree, "tests", "exec", dont_inherit=True), sorted(called), sorted(used), t.n, needs_call, *ahead
    _codes[key] = got
    if len(_codes) > CODES_MAX:
        _codes.popitem(last=False)
    return got


def run_asserts(q, away, checks):
    code, called, used, n, needs_call, ahead, msg = prepare(q["code"], q.get("entry_point") or "")
    try:
        away.put(msg)
    except Gone:
        pass  # why, the program's first word says
    away.wait_ready()
    away.ahead = ahead[:]
    ns = {"__name__": "tests", "__builtins__": builtins, "__hone_checks": checks}
    for name in called:
        ns[name] = Remote(away, {"n": name}, name)
    for name in used:
        try:
            ns[name] = away.ask(["value", [name]])
        except NameError:
            pass  # the tests will say so themselves
    exec(code, ns)
    if needs_call:
        ns["check"](Remote(away, {"n": q["entry_point"]}, q["entry_point"]))
    return n


class Solution(types.ModuleType):
    """The program's module, as the tests import it."""

    def __init__(self, name, away):
        super().__init__(name)
        self.__dict__["_hone_away"] = away
        self.__dict__["__path__"] = []

    def __getattr__(self, name):
        if name.startswith("__") and name != "__all__":
            raise AttributeError(name)
        away = self.__dict__["_hone_away"]
        try:
            return away.ask(["value", [name]])
        except NameError:
            raise AttributeError("module '%s' has no attribute '%s'" % (self.__name__, name)) from None


class Results(unittest.TestResult):
    """Outcome by test id. A test counts once, with the worst it reported."""

    def __init__(self):
        super().__init__()
        self.by_id = {}

    def put(self, test, ok, why=""):
        k = test.id()
        if k not in self.by_id or self.by_id[k][0]:
            self.by_id[k] = [ok, why[:200]]

    def startTest(self, test):
        super().startTest(test)

    def addSuccess(self, test):
        self.put(test, True)

    def addError(self, test, err):
        if isinstance(err[1], (Gone, Stop)):
            raise err[1]
        self.put(test, False, reason(err[1]))

    def addFailure(self, test, err):
        self.put(test, False, reason(err[1]) if not isinstance(err[1], AssertionError) else "assertion failed: " + str(err[1])[:150])

    def addSkip(self, test, why):
        self.put(test, False, "skipped: " + why)

    def addExpectedFailure(self, test, err):
        self.put(test, True)

    def addUnexpectedSuccess(self, test):
        self.put(test, False, "unexpected success")

    def addSubTest(self, test, subtest, err):
        if err is not None:
            if isinstance(err[1], (Gone, Stop)):
                raise err[1]
            self.put(test, False, reason(err[1]))


def flatten(suite):
    for t in suite:
        if isinstance(t, unittest.TestSuite):
            yield from flatten(t)
        else:
            yield t


def run_unittest(q, away, checks):
    away.suite = True
    away.wait_ready()
    stem = q["module"]
    saved = dict(sys.modules)
    n = 0
    try:
        sys.modules[stem] = Solution(stem, away)
        for name in q["tests"]:
            mod = types.ModuleType(name)
            sys.modules[name] = mod
            exec(compile(q["files"][name + ".py"], name + ".py", "exec", dont_inherit=True), mod.__dict__)
            tests = list(flatten(unittest.defaultTestLoader.loadTestsFromModule(mod)))
            n += len(tests)
            for t in tests:
                r = Results()
                t.run(r)
                if not r.by_id:  # skipped before it began, or a failing class fixture
                    r.put(t, False, "did not run")
                for ok, why in r.by_id.values():
                    checks.add(ok, why)
    finally:
        for k in list(sys.modules):
            if k not in saved:
                del sys.modules[k]
        sys.modules.update(saved)
    return n


def grade(q, rfd, wfd):
    away, checks = Away(rfd, wfd), Checks(bool(q.get("stop")))
    out = {"ended": False, "why": "", "gone": False}
    n = 0
    if q["kind"] == "unittest" or "random" in q["code"]:
        random.seed(q.get("seed", 0))
    sys.setrecursionlimit(_limit)
    real = sys.stdout, sys.stderr
    sys.stdout = sys.stderr = io.StringIO()
    try:
        n = (run_unittest if q["kind"] == "unittest" else run_asserts)(q, away, checks)
        out["ended"] = True
    except Stop:
        pass
    except Gone as e:
        out["gone"], out["why"] = True, str(e)
    except SyntaxError as e:
        out["error"] = "the tests do not compile: %s" % e
    except BaseException as e:
        try:
            checks.add(False, reason(e))
        except Stop:
            pass
        if isinstance(e, (NameError, ImportError)) and not getattr(e, "_from_program", 0):
            out["why"] = reason(e)
    finally:
        sys.stdout, sys.stderr = real
    try:
        total = max(n or q.get("count") or prepare(q["code"], q.get("entry_point") or "")[3] if q["kind"] == "assert" else n, len(checks.list))
    except Exception:
        total = len(checks.list)
    out.update(checks=checks.list, total=total, passed=sum(1 for c in checks.list if c[0]), trusted=away.trusted)
    return out


def main():
    while True:
        head, fds, _, _ = socket.recv_fds(_control, 4, 4)
        if len(head) < 4 or len(fds) != 2:
            return
        n = int.from_bytes(head, "little")
        parts = []
        while n > 0:
            data = _control.recv(min(n, 1 << 20))
            if not data:
                return
            parts.append(data)
            n -= len(data)
        try:
            out = grade(json.loads(b"".join(parts)), fds[0], fds[1])
        except Exception as e:
            out = {"error": "the tests could not be run: %s: %s" % (type(e).__name__, e), "checks": [], "total": 0, "passed": 0, "ended": False}
        for fd in fds:
            os.close(fd)
        data = json.dumps(out).encode()
        _control.sendall(len(data).to_bytes(4, "little") + data)


main()
