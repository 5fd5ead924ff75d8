/* Catches a judge of code that fails a right program (a name of Python's own, an example in a comment, a callback that is
 * found again, a test with a long list), that passes a wrong one, that counts tests wrongly for a share, that lets calls
 * made ahead of their tests show, or that takes the word of a broken checker. Needs user namespaces: skips where the machine has none. */
#include <math.h>

#include "rewards/rewards.h"
#include "tests/test.h"

static struct sandbox *pool;

struct one {
    const char *lang, *task, *code, *verdict;
    int passed, total; /* total 0: not looked at */
};

static void judge(const struct one *x, const struct code_opts *o)
{
    struct err e = {0};
    json_t *task = NULL;
    struct arena mem;
    struct code_task t;
    struct code_verdict v;
    arena_init(&mem, "test", 64 << 20);
    assert_int_equal(json_parse(str_of(x->task), &task, &e), ERR_OK);
    assert_int_equal(code_task_parse(task, x->lang, &mem, &t, &e), ERR_OK);
    struct code_request q = {&t, {.language = x->lang, .code = str_of(x->code)}};
    code_judge_all(pool, &q, 1, o, 0, &mem, &v);
    if (strcmp(sandbox_verdict_name(v.verdict), x->verdict) || (x->total && (v.passed != x->passed || v.total != x->total)))
        fail_msg("%s %d/%d instead of %s %d/%d: %s\n%s", sandbox_verdict_name(v.verdict), v.passed, v.total, x->verdict, x->passed, x->total, v.why,
                 x->code);
    code_task_release(&t);
    json_decref(task);
    arena_release(&mem);
}

#define JUDGE_ALL(list, ...)                                          \
    for (unsigned i_ = 0; i_ < sizeof(list) / sizeof *(list); i_++) \
        judge(&(list)[i_], &(struct code_opts){__VA_ARGS__})

static void names_of_python(void **st)
{
    (void)st;
    static const char max3[] = "{\"kind\":\"assert\",\"tests\":{\"asserts\":[\"assert max(1, 5) == 6\",\"assert abs(max(2, 2) - 4) < 1\"]}}",
                      other[] = "{\"kind\":\"assert\",\"tests\":{\"asserts\":[\"assert all(f(i) == i for i in range(3))\"]}}";
    static const struct one list[] = {
        {"python", max3, "def max(a, b): return a + b", "AC", 2, 2},
        {"python", max3, "def max(a, b): return a - b", "WA", 0, 0},
        {"python", max3, "def min(a, b): return a + b", "RE", 0, 0}, /* Python's own max is not what is tested */
        {"python", max3, "def abs(x): return 0\ndef max(a, b): return 6", "WA", 0, 0},
        {"python", other, "def all(x): return True\ndef f(i): return 0", "WA", 0, 0},
    };
    JUDGE_ALL(list, .stop = 1);
}

static void objects_that_come_back(void **st)
{
    (void)st;
    static const char suite[] =
        "{\"kind\":\"unittest\",\"solution_file\":\"bus.py\",\"tests\":{\"files\":{\"bus_test.py\":\"import unittest\\nfrom bus import Bus\\n"
        "class T(unittest.TestCase):\\n  def test_remove(self):\\n    got = []\\n    f = lambda x: got.append(x)\\n    b = Bus()\\n    b.add(f)\\n"
        "    b.send(1)\\n    b.remove(f)\\n    b.send(2)\\n    self.assertEqual(got, [1])\\n"
        "  def test_repr(self):\\n    self.assertEqual(repr(Bus()), 'Bus()')\\n\"}}}";
    static const struct one list[] = {
        {"python", suite, "class Bus:\n  def __init__(s): s.l = set()\n  def add(s, f): s.l.add(f)\n  def remove(s, f): s.l.remove(f)\n"
                          "  def send(s, x):\n    for f in s.l: f(x)\n  def __repr__(s): return 'Bus()'", "AC", 2, 2},
        {"python", suite, "class Bus:\n  def __init__(s): s.l = set()\n  def add(s, f): s.l.add(f)\n  def remove(s, f): pass\n"
                          "  def send(s, x):\n    for f in s.l: f(x)\n  def __repr__(s): return 'Bus[]'", "WA", 0, 2},
    };
    JUDGE_ALL(list, .stop = 0);
}

/* Suites that replace names of the program. What the program does to the test library does not help it. */
static void suites_in_the_process(void **st)
{
    (void)st;
    static const char suite[] =
        "{\"kind\":\"unittest\",\"solution_file\":\"top.py\",\"tests\":{\"files\":{\"top_test.py\":\"import io, unittest\\nfrom unittest import mock\\n"
        "from top import first\\n\\n@mock.patch('top.open', create=True)\\nclass T(unittest.TestCase):\\n  def test_one(self, m):\\n"
        "    m.return_value = io.StringIO('a\\\\nb')\\n    self.assertEqual(first('x'), 'a')\\n  def test_none(self, m):\\n"
        "    m.return_value = io.StringIO('')\\n    self.assertEqual(first('x'), '')\\n\"}}}";
    static const struct one list[] = {
        {"python", suite, "def first(name):\n  with open(name) as f: return f.readline().strip()", "AC", 2, 2},
        {"python", suite, "def first(name):\n  with open(name) as f: return f.read()", "WA", 1, 2},
        {"python", suite, "def first(name): raise KeyError(name)", "RE", 0, 2},
        {"python", suite, "import unittest\nunittest.TestCase.assertEqual = lambda *a: None\ndef first(name): return 1", "RE", 0, 2},
        {"python", suite, "import os; os._exit(0)", "RE", 0, 2},
    };
    JUDGE_ALL(list, .allow_weak = 1);
    static const struct one refused[] = {{"python", suite, "def first(name): return 1", "IE", 0, 0}};
    JUDGE_ALL(refused, .allow_weak = 0);
}

static void cpp_comments(void **st)
{
    (void)st;
    static const char task[] =
        "{\"kind\":\"assert\",\"prompt\":\"/*\\nTwice.\\n>>> twice(\\\"a\\\")\\n{\\\"a\\\", \\\"a\\\"}\\n*/\\n#include<string>\\n#include<vector>\\n"
        "using namespace std;\\n// twice(x) { is no code\\nvector<string> twice(string s){\\n\",\"tests\":{\"code\":\"#include<assert.h>\\n"
        "int main(){ assert(twice(\\\"x//\\\")[1] == \\\"x//\\\"); }\"}}";
    static const struct one list[] = {
        {"cpp", task, "#include<string>\n#include<vector>\nusing namespace std;\n/* twice(1) { */\nvector<string> twice(string s){ return {s, s}; }", "AC", 1, 1},
        {"cpp", task, "#include<string>\n#include<vector>\nusing namespace std;\nvector<string> twice(string s){ return {s, \"\"}; }", "WA", 0, 1},
    };
    JUDGE_ALL(list, .stop = 1);
}

/* The time a condition takes to prepare grows with its length, not with its square. */
static void long_conditions(void **st)
{
    (void)st;
    struct sbuf b;
    sbuf_init(&b, 8 << 20);
    sbuf_adds(&b, "{\"kind\":\"assert\",\"tests\":{\"code\":\"assert f(20000) == [");
    for (int i = 0; i < 20000; i++)
        sbuf_addf(&b, "%d,", i);
    sbuf_adds(&b, "]\"}}");
    const struct one list[] = {{"python", b.p, "def f(n): return list(range(n))", "AC", 1, 1}, {"python", b.p, "def f(n): return list(range(n - 1))", "WA", 0, 1}};
    JUDGE_ALL(list, .stop = 1);
    sbuf_release(&b);
}

#define SUMS "\"tests\":[{\"in\":\"1 2\",\"out\":\"3\"},{\"in\":\"2 2\",\"out\":\"5\"},{\"in\":\"4 4\",\"out\":\"8\"},{\"in\":\"9 9\"}]"
static void shares_and_first_failures(void **st)
{
    (void)st;
    static const char stdio[] = "{\"kind\":\"stdio\"," SUMS "}",
                      calls[] = "{\"kind\":\"assert\",\"tests\":{\"asserts\":[\"assert f(1) == 1\",\"assert f(2) == 1\",\"assert f(3) == 3\"]}}";
    static const char add[] = "a, b = map(int, input().split())\nprint(a + b)", same[] = "def f(x): return x";
    const struct one all[] = {{"python", stdio, add, "WA", 2, 3}, {"python", calls, same, "WA", 2, 3}},
                     first[] = {{"python", stdio, add, "WA", 1, 3}, {"python", calls, same, "WA", 1, 3}};
    JUDGE_ALL(all, .stop = 0);
    JUDGE_ALL(first, .stop = 1);
    struct code_verdict v = {.verdict = SANDBOX_WA, .passed = 2, .total = 3};
    assert_true(code_score(&v, 1) == 2.0 / 3 && code_score(&v, 0) == 0);
    v.verdict = SANDBOX_IE;
    assert_true(isnan(code_score(&v, 1)) && isnan(code_score(&v, 0)));
    v = (struct code_verdict){.verdict = SANDBOX_AC, .passed = 3, .total = 3};
    assert_true(code_score(&v, 1) == 1 && code_score(&v, 0) == 1);
    v = (struct code_verdict){.verdict = SANDBOX_CE};
    assert_true(code_score(&v, 1) == 0);
}

/* The calls of such tests reach the program before the tests make them: nobody may see that. */
static void calls_sent_ahead(void **st)
{
    (void)st;
    static const char three[] = "{\"kind\":\"assert\",\"tests\":{\"asserts\":[\"assert f(1) == 1\",\"assert f(2) == 2\",\"assert f(3) == 3\"]}}",
                      lists[] = "{\"kind\":\"assert\",\"tests\":{\"asserts\":[\"assert list(f(2)) == [0, 1]\",\"assert list(f(1)) == [0]\",\"assert sum(f(3)) == 3\"]}}",
                      same[] = "{\"kind\":\"assert\",\"entry_point\":\"f\",\"tests\":{\"code\":\"import math\\ndef check(g):\\n    assert True, 'x'\\n"
                               "    assert g([1, 2], k=-1.5) == {'a': (1, 2)}, 'no'\\n    assert g([1, 2], k=-1.5)['a'] == (1, 2)\\n"
                               "    assert math.isclose(g([3])['a'][0], 3)\\n    assert not g([])\\n\"}}";
    static const struct one first[] = {
        {"python", three, "def f(x): return x", "AC", 3, 3},
        {"python", three, "import os\ndef f(x):\n  if x == 1: return 0\n  os._exit(3)", "WA", 0, 3},
        {"python", three, "def f(x):\n  if x == 1: return 0\n  while True: pass", "WA", 0, 3},
        {"python", three, "def f(x):\n  if x == 1: return 0\n  print('x' * (1 << 24))", "WA", 0, 3},
        {"python", three, "import os\ndef f(x):\n  if x == 3: os._exit(0)\n  return x", "RE", 2, 3},
        {"python", three, "import os\nos._exit(0)", "RE", 0, 3},
        {"python", lists, "made = 0\ndef f(k):\n  global made\n  made += 1\n  mine = made\n  return (i if made == mine else -1 for i in range(k))", "AC", 3, 3},
        {"python", same, "def f(x, k=0):\n  out = {'a': tuple(x)} if x else {}\n  x.clear()\n  return out", "AC", 5, 5},
    };
    static const struct one all[] = {
        {"python", three, "def f(x):\n  if x == 2: raise KeyError(x)\n  return x", "RE", 2, 3},
        {"python", three, "class A(Exception): pass\ndef f(x):\n  if x == 2: raise A(f)\n  return x", "RE", 2, 3},
        {"python", three, "def f(x): return f if x == 2 else x", "WA", 2, 3},
    };
    for (int i = 0; i < 5; i++) /* a race would show now and then */
        JUDGE_ALL(first, .stop = 1);
    JUDGE_ALL(all, .stop = 0);
}

static void checkers(void **st)
{
    (void)st;
#define CHECKED(text) "{\"kind\":\"stdio\",\"compare\":{\"mode\":\"checker\",\"checker\":\"" text "\"},\"tests\":[{\"in\":\"12\",\"out\":\"2\"}]}"
#define FACTOR "x = int(open('output.txt').read()); n = int(open('input.txt').read()); raise SystemExit(0 if 1 < x < n and n % x == 0 else 1)"
    static const struct one list[] = {
        {"python", CHECKED(FACTOR), "print(6)", "AC", 1, 1},       /* another answer than the expected one */
        {"python", CHECKED(FACTOR), "print(5)", "WA", 0, 1},
        {"python", CHECKED(FACTOR), "print(6)\nraise SystemExit(1)", "RE", 0, 1},
        {"python", CHECKED("import os; os._exit(3)"), "print(6)", "IE", 0, 0},
        {"python", CHECKED("int('x')"), "print(6)", "IE", 0, 0},
        {"python", CHECKED("def f(:"), "print(6)", "IE", 0, 0},
        /* the program finds neither the expected answer nor the checker */
        {"python", CHECKED(FACTOR), "import glob\nprint(6 if glob.glob('/w/**/expected.txt', recursive=True) else 5)", "WA", 0, 1},
    };
    JUDGE_ALL(list, .stop = 1);
}

int main(void)
{
    struct err e = {0};
    struct sandbox_opts o = code_sandbox_opts(2);
    const struct CMUnitTest boxed[] = {
        cmocka_unit_test(names_of_python),
        cmocka_unit_test(objects_that_come_back),
        cmocka_unit_test(suites_in_the_process),
        cmocka_unit_test(cpp_comments),
        cmocka_unit_test(long_conditions),
        cmocka_unit_test(shares_and_first_failures),
        cmocka_unit_test(calls_sent_ahead),
        cmocka_unit_test(checkers),
    };
    if (sandbox_open(&pool, &o, &e) != ERR_OK) {
        printf("skip: %s\n", e.msg);
        return 77;
    }
    int failed = cmocka_run_group_tests(boxed, NULL, NULL);
    sandbox_close(pool);
    return failed;
}
