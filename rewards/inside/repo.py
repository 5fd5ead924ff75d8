# Runs the named tests of a repository. Two kinds of process: the keeper (this one) never imports a line of the repository, holds
# the descriptor on which results leave the box, and cannot be looked into; for each test file it forks a child, which loads the
# file and runs its tests. The keeper believes a child only in order: a test is begun, gets a number that did not exist before, and ends once with
# that number; now and then, at the beginning and at the end the child must first run a canary, a test that cannot pass. A child that says anything else, or whose
# canary lives, has said nothing.
import sys
sys.path[:] = [p for p in sys.path if p]
import ctypes, importlib, inspect, json, os, select, signal, traceback, types, unittest, unittest.case, unittest.loader, unittest.mock
import unittest.result, unittest.suite

ROOT = "/w/box"
REPORT = 5
LINE_MAX = 1 << 16
SAID_MAX = 400   # messages that are passed on
OUTCOMES = ("passed", "failed", "error", "skipped", "unsupported")
_write, _read, _exit, _json, _parse = os.write, os.read, os._exit, json.dumps, json.loads


def dumpable(yes):
    ctypes.CDLL(None).prctl(4, yes, 0, 0, 0)


# ---- the child

class Needs(Exception):
    """The plain runner does not have what this test asks for."""


class Result(unittest.TestResult):
    """Takes nothing from the class above but its name: what is changed there changes nothing here."""

    def __init__(self):
        self.failfast = self.shouldStop = self.buffer = self.tb_locals = False
        self._mirrorOutput = self._moduleSetUpFailed = self._testRunEntered = False
        self.testsRun, self.errors, self.failures, self.skipped, self.expectedFailures, self.unexpectedSuccesses = 0, [], [], [], [], []
        self.seen = []

    def put(self, kind, text=""):
        self.seen.append((kind, text))

    def startTest(self, test):
        self.testsRun += 1

    def stopTest(self, test):
        pass

    def startTestRun(self):
        pass

    def stopTestRun(self):
        pass

    def stop(self):
        pass

    def wasSuccessful(self):
        return False

    def addSuccess(self, test):
        self.put("passed")

    def addError(self, test, err):
        self.put("error", say(err[1]))

    def addFailure(self, test, err):
        self.put("failed", say(err[1]))

    def addSkip(self, test, reason):
        self.put("skipped", str(reason))

    def addExpectedFailure(self, test, err):
        self.put("passed")

    def addUnexpectedSuccess(self, test):
        self.put("failed", "unexpected success")

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self.put("failed" if issubclass(err[0], AssertionError) else "error", say(err[1]))

    def addDuration(self, test, elapsed):
        pass

    def outcome(self):
        for kind in ("error", "failed", "skipped"):
            for k, text in self.seen:
                if k == kind:
                    return kind, text
        return ("passed", "") if [k for k, _ in self.seen] == ["passed"] else ("error", "ended without an outcome")


def say(e):
    try:
        return ("%s: %s" % (type(e).__name__, e))[:300]
    except BaseException:
        return type(e).__name__


class Guard:
    """What the test library consists of, as it was before the repository was loaded."""

    def __init__(self, modules):
        self.was = []
        for mod in modules:
            for owner in [mod] + [v for v in vars(mod).values() if isinstance(v, type) and v.__module__ == mod.__name__]:
                for name, v in list(vars(owner).items()):
                    if isinstance(v, (types.FunctionType, staticmethod, classmethod, property, type)):
                        f = getattr(v, "__func__", v)
                        self.was.append((owner, name, v, f, getattr(f, "__code__", None), getattr(f, "__defaults__", None), getattr(f, "__kwdefaults__", None)))

    def broken(self):
        for owner, name, v, f, code, defaults, kw in self.was:
            if vars(owner).get(name) is not v or getattr(f, "__code__", None) is not code or getattr(f, "__defaults__", None) is not defaults \
                    or getattr(f, "__kwdefaults__", None) is not kw:
                return "%s.%s was replaced" % (getattr(owner, "__name__", owner), name)
        return ""


def canaries():
    class Canary(unittest.TestCase):
        def test_equal(self):
            self.assertEqual([1, "a"], [1, "b"])

        def test_true(self):
            self.assertTrue(0)

        def test_plain(self):
            assert 1 > 2

        def test_raises(self):
            with self.assertRaises(ValueError):
                pass

        def test_fail(self):
            self.fail("always")
    return Canary, sorted(n for n in vars(Canary) if n.startswith("test_"))


class Talk:
    """The child's end."""

    def __init__(self, rfd, wfd, canary):
        self.r, self.w, self.canary = rfd, wfd, canary
        self.left = b""
        self.over = False

    def tell(self, *what):
        data = _json(what).encode() + b"\n"
        while data:
            data = data[_write(self.w, data):]

    def hear(self):
        while b"\n" not in self.left:
            data = _read(self.r, 4096)
            if not data:
                _exit(1)
            self.left += data
        line, self.left = self.left.split(b"\n", 1)
        return _parse(line)

    def begin(self, index):
        """Asks for the test's number; a canary may come first. With None: at the end of all."""
        self.tell("begin", index)
        self.over = index is None
        while True:
            kind, number, which = self.hear()
            if kind == "run":
                return number
            out, text = self.canary(which)
            self.tell("canary", number, out, text)


def run_case(cls, name):
    """One method of a TestCase, with its module's and class's fixtures."""
    r = Result()
    try:
        unittest.suite.TestSuite([cls(name)]).run(r)
    except BaseException as e:
        r.put("error", say(e))
    return r.outcome()


def call(f, *args):
    if inspect.iscoroutinefunction(f) or inspect.isgeneratorfunction(f):
        raise Needs("an asynchronous test or a generator")
    return f(*args)


def need_no_fixture(f):
    for p in inspect.signature(f).parameters.values():
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY):
            raise Needs("the fixture '%s'" % p.name)


def run_plain(mod, names):
    """test_x or TestX::test_x in the manner of pytest: no fixtures but setup_* and teardown_*."""
    ends = []

    def around(owner, up, down, *args):
        for name, now in ((up, True), (down, False)):
            f = getattr(owner, name, None)
            if callable(f):
                todo = lambda f=f: f(*args) if inspect.signature(f).parameters else f()
                todo() if now else ends.append(todo)
    try:
        if "[" in names[-1]:
            raise Needs("a parameter list")
        around(mod, "setup_module", "teardown_module", mod)
        owner = mod
        for name in names[:-1]:
            owner = getattr(owner, name)
        if owner is not mod:
            around(owner, "setup_class", "teardown_class")
            owner = owner()
        f = getattr(owner, names[-1])
        need_no_fixture(f)
        marks = list(getattr(f, "pytestmark", ())) + list(getattr(type(owner), "pytestmark", ())) + list(getattr(mod, "pytestmark", ()))
        if marks:
            raise Needs("a mark")
        around(owner, "setup_method" if owner is not mod else "setup_function", "teardown_method" if owner is not mod else "teardown_function", f)
        call(f)
        out = "passed", ""
    except Needs as e:
        out = "unsupported", str(e)
    except unittest.SkipTest as e:
        out = "skipped", str(e)
    except AssertionError as e:
        out = "failed", say(e)
    except BaseException as e:
        kind = type(e).__name__ if type(e).__module__.startswith("_pytest.outcomes") else ""
        out = ("skipped" if kind == "Skipped" else "failed" if kind == "Failed" else "error"), say(e)
    for f in reversed(ends):
        try:
            f()
        except BaseException as e:
            out = "error", say(e)
    return out


def load(path):
    """The module of a test file, by the name it has from the folder above its packages."""
    full = os.path.join(ROOT, path)
    base = os.path.dirname(full)
    while base != ROOT and os.path.exists(os.path.join(base, "__init__.py")):
        base = os.path.dirname(base)
    name = os.path.relpath(full, base)[:-3].replace("/", ".")
    for p in (ROOT, base):
        if p not in sys.path:
            sys.path.insert(0, p)
    mod = importlib.import_module(name)
    if os.path.realpath(getattr(mod, "__file__", None) or "") != os.path.realpath(full):
        raise ImportError("the name %s belongs to another module" % name)
    return mod


def find(mod, names):
    """The TestCase behind names, or None for a plain function; AttributeError when there is nothing."""
    owner = mod
    for name in names[:-1]:
        owner = getattr(owner, name)
    if isinstance(owner, type) and issubclass(owner, unittest.TestCase):
        getattr(owner, names[-1])
        return owner
    getattr(owner, names[-1].split("[")[0])
    return None


def plain_child(talk, path, tests, guard):
    try:
        mod, bad = load(path), ("", "")
    except unittest.SkipTest as e:
        bad = "skipped", str(e)
    except BaseException as e:
        bad = "error", "the test file cannot be loaded: " + say(e)
        if isinstance(e, ModuleNotFoundError) and e.name in ("pytest", "_pytest"):
            bad = "unsupported", "pytest"
        traceback.print_exc()
    for index, names in tests:
        number = talk.begin(index)
        if bad[0]:
            out, text = bad
        else:
            try:
                cls = find(mod, names)
                out, text = run_case(cls, names[-1]) if cls else run_plain(mod, names)
            except AttributeError as e:
                out, text = "error", "no such test: " + say(e)
        broken = guard.broken()
        if broken:
            out, text = "error", broken
        talk.tell("end", index, number, out, text)


class Plugin:
    """Inside pytest: picks the tests, says which one runs, adds up its reports."""

    def __init__(self, talk, path, tests, guard):
        self.talk, self.guard = talk, guard
        self.want = {"::".join([path] + names): index for index, names in tests}
        self.idle = True  # nothing is set up: a canary of pytest's own cannot disturb the fixtures of a class

    def pytest_collection_modifyitems(self, session, config, items):
        items[:] = [x for x in items if x.nodeid in self.want]

    def pytest_runtest_protocol(self, item, nextitem):
        from _pytest.runner import runtestprotocol
        index = self.want[item.nodeid]
        self.item = item
        number = self.talk.begin(index)
        self.idle = False
        out, text = self.sum_up(runtestprotocol(item, log=False, nextitem=nextitem))
        broken = self.guard.broken()
        if broken:
            out, text = "error", broken
        self.talk.tell("end", index, number, out, text)
        if nextitem is None:
            self.idle = True
            self.talk.begin(None)
        return True

    def sum_up(self, reports):
        out, text = "error", "ended without an outcome"
        for r in reports:
            xfail = hasattr(r, "wasxfail")
            if r.outcome == "failed":
                return ("failed" if r.when == "call" else "error"), str(getattr(r, "longreprtext", ""))[-300:]
            if r.outcome == "skipped":
                out, text = ("passed", "") if xfail else ("skipped", str(r.longrepr)[-300:])
            elif r.when == "call":
                out, text = "passed", ""
        return out, text

    def canary(self, which):
        if not self.idle:
            return self.plain(which)
        import pytest
        from _pytest.runner import runtestprotocol

        def test_canary():
            assert which is None, "always"

        item = pytest.Function.from_parent(self.item.getparent(pytest.Module) or self.item.parent, name="test_canary", callobj=test_canary)
        return self.sum_up(runtestprotocol(item, log=False, nextitem=None))


def pytest_child(talk, path, tests, guard):
    import pytest
    plugin = Plugin(talk, path, tests, guard)
    plugin.plain = talk.canary
    talk.canary = plugin.canary
    sys.path.insert(0, ROOT)
    pytest.main(["-p", "no:cacheprovider", "-q", "--no-header", "--rootdir=" + ROOT, path], plugins=[plugin])


def child(q, path, tests, rfd, wfd, modules):
    os.close(REPORT)
    dumpable(1)
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    sys.argv[:] = ["test"]
    for s in (signal.SIGINT, signal.SIGTERM):
        signal.signal(s, signal.SIG_DFL)
    guard = Guard(modules + [sys.modules["__main__"]])
    cls, names = canaries()
    plain = lambda which: run_case(cls, names[which % len(names)])
    talk = Talk(rfd, wfd, plain)
    (pytest_child if q["pytest"] else plain_child)(talk, path, tests, guard)
    talk.canary = plain
    if not talk.over:
        talk.begin(None)
    talk.tell("done")
    for s in (sys.stdout, sys.stderr):
        try:
            s.flush()
        except BaseException:
            pass
    _exit(0)


# ---- the keeper

class Tampered(Exception):
    pass


class Keeper:
    def __init__(self, q):
        self.q = q
        self.said = 0
        self.alive = 0  # canaries that did not fail
        self.ran = 0

    def report(self, *what):
        data = _json(what).encode() + b"\n"
        while data:
            data = data[_write(REPORT, data):]

    def result(self, index, outcome, text):
        self.said += bool(text)
        self.report("t", index, outcome, str(text)[:200] if self.said < SAID_MAX else "")

    def lines(self, fd):
        left = b""
        while True:
            data = _read(fd, 1 << 16)
            if not data:
                return
            left += data
            *whole, left = left.split(b"\n")
            if len(left) > LINE_MAX:
                raise Tampered("a line without an end")
            for line in whole:
                try:
                    msg = _parse(line)
                except (ValueError, RecursionError):
                    raise Tampered("not a message") from None
                if type(msg) is not list or not msg or type(msg[0]) is not str:
                    raise Tampered("not a message")
                yield msg

    def talk(self, tests, rfd, wfd):
        """One child's life: ({index: (outcome, text)}, index that was begun and not ended or None, whether it said it was done)."""
        open_, got, now, number, canary, done, last = {i for i, _ in tests}, {}, None, None, None, False, False

        def tell(*what):
            try:
                _write(wfd, _json(what).encode() + b"\n")
            except OSError:
                pass  # it is gone: its end says how
        for msg in self.lines(rfd):
            if done:
                raise Tampered("more after the end")
            if msg[0] == "begin" and now is None and not last and len(msg) == 2 and type(msg[1]) is int and msg[1] in open_:
                now = msg[1]
                open_.remove(now)
                first = not got
                if first or os.urandom(1)[0] < 64:
                    canary = os.urandom(16).hex()
                    tell("canary", canary, os.urandom(1)[0])
                else:
                    number = os.urandom(16).hex()
                    tell("run", number, 0)
            elif msg == ["begin", None] and now is None and not last:
                last, canary = True, os.urandom(16).hex()
                tell("canary", canary, os.urandom(1)[0])
            elif msg[0] == "canary" and canary and len(msg) == 4 and msg[1] == canary:
                self.ran += 1
                if msg[2] not in OUTCOMES or msg[2] == "passed":
                    self.alive += 1
                    raise Tampered("a test that cannot pass passed")
                canary, number = None, os.urandom(16).hex()
                tell("run", number, 0)
            elif msg[0] == "end" and number and not canary and len(msg) == 5 and msg[1] == now and msg[2] == number and msg[3] in OUTCOMES:
                got[now] = msg[3], msg[4]
                now = number = None
            elif msg == ["done"] and last and not canary:
                done = True
            else:
                raise Tampered("a message out of order")
        return got, now, done

    def one_child(self, path, tests, modules):
        """Runs a child over tests; returns those that need another."""
        down, up = os.pipe(), os.pipe()
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            os.close(down[1])
            os.close(up[0])
            try:
                child(self.q, path, tests, down[0], up[1], modules)
            except BaseException:
                traceback.print_exc()
            finally:
                _exit(1)
        os.close(down[0])
        os.close(up[1])
        try:
            got, now, done = self.talk(tests, up[0], down[1])
            bad = ""
        except Tampered as e:
            got, now, done, bad = {}, None, False, str(e)
        os.close(up[0])
        os.close(down[1])
        if bad:
            os.kill(pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        how = "signal %d" % -code if code < 0 else "exit %d" % code
        if bad or (done and code != 0):
            for i, _ in tests:
                self.result(i, "tampered", bad or "said that all is well and ended with " + how)
            return []
        if done:
            for i, _ in tests:
                self.result(i, *got.get(i, ("missing", "")))
            return []
        if now is not None:  # the others again, without it: only a child that came to its last canary counts
            self.result(now, "error", "the process ended in the middle of the test (%s)" % how)
            return [t for t in tests if t[0] != now]
        for i, _ in tests:
            self.result(i, "error", "the process ended while it was loading the tests (%s)" % how if not got else "the process ended between two tests (%s)" % how)
        return []

    def run(self):
        groups = {}
        for index, path, names in self.q["tests"]:
            groups.setdefault(path, []).append((index, names))
        modules = [unittest, unittest.case, unittest.result, unittest.suite, unittest.loader]
        if self.q["pytest"]:
            import pytest, _pytest.runner, _pytest.python, _pytest.reports, _pytest.unittest, _pytest.nodes, _pytest.assertion.util
            modules += [_pytest.runner, _pytest.python, _pytest.reports, _pytest.unittest, _pytest.nodes]
        for path, tests in groups.items():
            while tests:
                tests = self.one_child(path, tests, modules)
        self.report("end", self.ran, self.alive)


def main():
    q = json.loads(sys.stdin.buffer.read())
    os.chdir(ROOT)
    have = importlib.util.find_spec("pytest") is not None
    if q["runner"] == 2 and not have:
        os.write(REPORT, b'["needs", "pytest"]\n')
        return
    q["pytest"] = q["runner"] == 2 or (q["runner"] == 0 and have and q["ids"] == "pytest")
    dumpable(0)
    Keeper(q).run()


import importlib.util
main()
