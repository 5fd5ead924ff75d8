/* Catches a sandbox that reports the wrong end of a run, lets a run outlive its limits or see another one's
 * files, or scores what it could not run. Needs user namespaces: skips where the machine has none. */
#include <signal.h>
#include <unistd.h>

#include "core/log.h"
#include "rewards/rewards.h"
#include "tests/test.h"

#define STR_(lit) {("" lit), sizeof(lit) - 1}
static struct sandbox *pool;

struct call {
    struct sandbox_job job;
    struct sandbox_result r;
};

static void do_run(struct sandbox_worker *w, void *ctx)
{
    struct call *c = ctx;
    sandbox_run(w, &c->job, &c->r);
}

static void run(struct call *c)
{
    struct sandbox_task t = {.fn = do_run, .ctx = c};
    if (c->job.limits.wall_ms == 0)
        c->job.limits = sandbox_limits_default();
    sandbox_submit(pool, &t);
    sandbox_wait(pool, &t);
}

static void is(const char *lang, const char *code, const char *in, const char *verdict, const char *out)
{
    struct call c = {.job = {.language = lang, .code = str_of(code), .input = str_of(in)}};
    c.job.limits = sandbox_limits_default();
    c.job.limits.wall_ms = strstr(code, "sleep") ? 1000 : 20000; /* the machine may be busy */
    c.job.limits.cpu_ms = 1000;
    c.job.limits.mem_bytes = 128 << 20;
    c.job.limits.out_bytes = 10000;
    c.job.limits.procs = 16;
    run(&c);
    if (strcmp(sandbox_verdict_name(c.r.verdict), verdict))
        printf("%s: %s\n%s\n", c.r.sub, code, c.r.err.p ? c.r.err.p : "");
    assert_string_equal(sandbox_verdict_name(c.r.verdict), verdict);
    if (out)
        assert_string_equal(c.r.out.p ? c.r.out.p : "", out);
    sandbox_result_release(&c.r);
}

static void verdicts(void **st)
{
    (void)st;
    is("python", "print(1+1)", "", "AC", "2\n");
    is("python", "print(sum(map(int,input().split())))", "3 4\n", "AC", "7\n");
    /* what a process does once must not have been done by the runs that the zygote rehearses */
    is("python", "import atexit, threading, time\natexit.register(print, 'last')\ndef f():\n  time.sleep(0.1)\n  print('late')\n"
                 "threading.Thread(target=f).start()\nprint(threading.main_thread().is_alive(), atexit._ncallbacks())", "", "AC", "True 1\nlate\nlast\n");
    is("python", "print(1/0)", "", "RE", "");
    is("python", "import sys; sys.exit(3)", "", "RE", "");
    is("python", "def f(:", "", "CE", "");
    is("python", "while True: pass", "", "TLE", "");
    is("python", "import time; time.sleep(9)", "", "TLE", "");
    is("python", "x = bytearray(1 << 30)\nfor i in range(0, len(x), 4096): x[i] = 1", "", "MLE", NULL);
    is("python", "import os\nwhile True: os.write(1, b'y' * 4096)", "", "OLE", NULL);
    is("python", "import ctypes; ctypes.string_at(0)", "", "RE", NULL);
    is("c", "#include <stdio.h>\nint main(void){puts(\"hi\");return 0;}", "", "AC", "hi\n");
    is("c", "int main(void){return 3;}", "", "RE", "");
    is("c", "int main(void){return x;}", "", "CE", "");
    is("c", "#include <unistd.h>\n#include <sys/syscall.h>\nint main(void){syscall(SYS_ptrace,0,0,0,0);}", "", "SV", "");
    is("c", "#include <signal.h>\nint main(void){raise(SIGSEGV);}", "", "RE", "");
    is("cpp", "#include <bits/stdc++.h>\nint main(){std::cout << 1;}", "", "AC", "1");
    is("cpp", "int before;\n#include <bits/stdc++.h>\nint main(){std::cout << 2;}", "", "AC", "2"); /* no precompiled header can serve this */
    is("sh", "read x; echo $x$x", "ab\n", "AC", "abab\n");
}

static void nothing_carries_over(void **st)
{
    (void)st;
    is("python", "import os, json, builtins, random\nopen('/tmp/x','w').write('1'); open('x','w').write('1')\nbuiltins.planted = 1\n"
                 "json.loads = None\nos.environ['A'] = 'b'", "", "AC", "");
    is("python", "import os, json, builtins\nprint(os.listdir('/tmp'), os.listdir('.'), hasattr(builtins,'planted'), json.loads('1'), os.environ.get('A'))",
       "", "AC", "[] ['main.py'] False 1 None\n");
}

/* Runs over one tree: each sees the tree and its own changes, none sees another's or the trees themselves. */
static void trees(void **st)
{
    (void)st;
    static const struct sandbox_file files[] = {{.name = STR_("lib/a.py"), .bytes = STR_("x = 1\n"), .kind = SANDBOX_PLAIN},
                                                {.name = STR_("lib/b.py"), .bytes = STR_("y = 2\n"), .kind = SANDBOX_PLAIN},
                                                {.name = STR_("run.sh"), .bytes = STR_("echo hi\n")},
                                                {.name = STR_("link"), .bytes = STR_("lib/b.py"), .kind = SANDBOX_LINK}},
                                     over[] = {{.name = STR_("lib/a.py"), .bytes = STR_("x = 7\n"), .kind = SANDBOX_PLAIN},
                                               {.name = STR_("run.sh"), .kind = SANDBOX_GONE},
                                               {.name = STR_("new/c.py"), .bytes = STR_("z = 3\n"), .kind = SANDBOX_PLAIN}},
                                     bad = {.name = STR_("../x")};
    static const char look[] = "import os\nprint(sorted(os.listdir('.')), open('lib/a.py').read().strip(), open('link').read().strip(), os.listdir('/trees'), "
                               "oct(os.stat('lib/b.py').st_mode)[-3:])\n"
                               "open('lib/a.py', 'a').write('more'); os.remove('lib/b.py'); os.mkdir('d'); open('d/e', 'w').close()\n"
                               "import shutil; shutil.rmtree('lib'); os.mkdir('lib'); print(os.listdir('lib'))";
    static const char *const argv[] = {"/usr/bin/python3", "-I", "-c", look, NULL};
    struct err e = {0};
    struct sandbox_tree *t = NULL;
    assert_int_equal(sandbox_tree_make(&bad, 1, &t, &e), ERR_DATA);
    assert_int_equal(sandbox_tree_make(files, 4, &t, &e), ERR_OK);
    for (int i = 0; i < 6; i++) {
        struct call c = {.job = {.argv = argv, .tree = t, .files = over, .n_files = i % 2 ? 3 : 0}};
        run(&c);
        if (c.r.verdict == SANDBOX_IE && !strncmp(c.r.sub, "tree: No such device", 20)) {
            printf("skip: trees: no overlayfs\n");
            break;
        }
        if (c.r.verdict != SANDBOX_AC)
            printf("%s %s\n", c.r.sub, c.r.err.p ? c.r.err.p : "");
        assert_int_equal(c.r.verdict, SANDBOX_AC);
        assert_string_equal(c.r.out.p, i % 2 ? "['lib', 'link', 'new'] x = 7 y = 2 [] 644\n[]\n" : "['lib', 'link', 'run.sh'] x = 1 y = 2 [] 644\n[]\n");
        sandbox_result_release(&c.r);
    }
    /* more trees than a box keeps */
    for (int i = 0; i < 12; i++) {
        char text[8];
        struct sandbox_tree *one = NULL;
        static const char *const cat[] = {"/bin/cat", "n", NULL};
        snprintf(text, sizeof text, "%d", i % 6);
        struct sandbox_file f = {.name = STR("n"), .bytes = str_of(text)};
        assert_int_equal(sandbox_tree_make(&f, 1, &one, &e), ERR_OK);
        struct call c = {.job = {.argv = cat, .tree = one}};
        run(&c);
        assert_true(c.r.verdict == SANDBOX_IE || !strcmp(c.r.out.p, text));
        sandbox_result_release(&c.r);
        sandbox_tree_free(one);
    }
    sandbox_tree_free(t);
}

static void a_tree_dies_as_one(void **st)
{
    (void)st;
    struct call c = {.job = {.language = "python"}};
    c.job.code = STR("import os, time\nfor i in range(5):\n  if os.fork() == 0:\n    os.setsid()\n    while True: time.sleep(1)\nprint('out')");
    double t = clock_now();
    run(&c);
    assert_int_equal(c.r.verdict, SANDBOX_AC);
    assert_true(clock_now() - t < 9); /* the wall limit is 10 s */
    sandbox_result_release(&c.r);
}

static void calls_are_judged_outside(void **st)
{
    (void)st;
    static const struct { const char *code, *verdict; } cases[] = {
        {"def add(a, b): return a + b", "AC"},
        {"def add(a, b): return a - b", "WA"},
        {"def add(a, b): raise SystemExit(0)", "RE"},
        {"import os; os._exit(0)", "RE"},
        {"class E:\n  def __eq__(s, o): return True\n  def __sub__(s, o): return 0\ndef add(a, b): return E()", "WA"},
        {"class I(int):\n  def __eq__(s, o): return True\ndef add(a, b): return I(7)", "WA"},
        {"class I(int): pass\ndef add(a, b): return I(a + b)", "AC"},
        {"def add(a, b): return float('nan')", "WA"},
        {"", "RE"},
        {"def add(a, b):\n  import gc\n  for o in gc.get_objects():\n    if isinstance(o, str) and 'assert add' in o: return 3\n  return 0", "WA"},
    };
    struct err e = {0};
    json_t *o = NULL;
    struct arena mem;
    arena_init(&mem, "test", 64 << 20);
    assert_int_equal(json_parse(STR("{\"kind\":\"assert\",\"entry_point\":\"add\",\"tests\":{\"asserts\":[\"assert add(1, 2) == 3\",\"assert abs(add(2, 2) - 4) < 1e-9\"]}}"), &o, &e), ERR_OK);
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct code_task t;
        struct code_verdict v;
        assert_int_equal(code_task_parse(o, "python", &mem, &t, &e), ERR_OK);
        struct code_request q = {&t, {.language = "python", .code = str_of(cases[i].code)}};
        code_judge_all(pool, &q, 1, &(struct code_opts){.stop = 1}, 0, &mem, &v);
        if (strcmp(sandbox_verdict_name(v.verdict), cases[i].verdict))
            printf("%s\n%s\n", cases[i].code, v.why);
        assert_string_equal(sandbox_verdict_name(v.verdict), cases[i].verdict);
        code_task_release(&t);
    }
    json_decref(o);
    arena_release(&mem);
}

static void comparing(void **st)
{
    (void)st;
    struct code_compare tok = {0}, flt = {.mode = CODE_COMPARE_float, .abs_tol = 1e-6, .rel_tol = 1e-6}, lines = {.mode = CODE_COMPARE_lines},
                        exact = {.mode = CODE_COMPARE_exact}, un = {.mode = CODE_COMPARE_unordered};
    assert_true(code_compare(&tok, STR("1 2\n"), STR("1\n2")));
    assert_true(code_compare(&tok, STR("Yes"), STR("yES\r\n")));
    assert_false(code_compare(&tok, STR("5"), STR("5\0x")));
    assert_false(code_compare(&tok, STR("1 2"), STR("12")));
    assert_false(code_compare(&tok, STR("1"), STR("1 2")));
    assert_true(code_compare(&flt, STR("0.3333333333"), STR("0.333333")));
    assert_false(code_compare(&flt, STR("0.33"), STR("nan")));
    assert_false(code_compare(&flt, STR("1000"), STR("1_000")));
    assert_false(code_compare(&flt, STR("16"), STR("0x10")));
    assert_true(code_compare(&flt, STR("inf"), STR("inf")));
    assert_false(code_compare(&flt, STR("1"), STR("inf")));
    assert_true(code_compare(&lines, STR("a  \nb\n\n"), STR("a\nb")));
    assert_false(code_compare(&lines, STR("a b"), STR("a  b")));
    assert_true(code_compare(&un, STR("a\nb\n"), STR("b\na")));
    assert_false(code_compare(&un, STR("a\na\nb"), STR("a\nb\nb")));
    assert_false(code_compare(&exact, STR("a\n"), STR("a")));
}

int main(void)
{
    struct err e = {0};
    struct sandbox_opts o = code_sandbox_opts(2);
    const struct CMUnitTest pure[] = {cmocka_unit_test(comparing)};
    const struct CMUnitTest boxed[] = {
        cmocka_unit_test(verdicts),
        cmocka_unit_test(nothing_carries_over),
        cmocka_unit_test(trees),
        cmocka_unit_test(a_tree_dies_as_one),
        cmocka_unit_test(calls_are_judged_outside),
    };
    int failed = cmocka_run_group_tests(pure, NULL, NULL);
    if (sandbox_open(&pool, &o, &e) != ERR_OK) {
        printf("skip: %s\n", e.msg);
        return failed ? failed : 77;
    }
    failed += cmocka_run_group_tests(boxed, NULL, NULL);
    sandbox_close(pool);
    return failed;
}
