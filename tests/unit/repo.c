/* Catches a patch that writes where it may not or lands where it does not fit, and a repository task that is resolved by anything
 * but code that passes the tests: edited tests, configuration of the runner, printed or forged results, an exit code, a later commit.
 * The runs need user namespaces and overlayfs: they skip where the machine has none. */
#include <git2.h>
#include <unistd.h>

#include "core/file.h"
#include "rewards/rewards.h"
#include "tests/test.h"

static struct sandbox *pool;
static struct arena mem;

/* ---- patches */

#define S_(lit) {("" lit), sizeof(lit) - 1}
static const struct sandbox_file base_files[] = {
    {.name = S_("a.txt"), .bytes = S_("one\ntwo\nthree\nfour\nfive\n"), .kind = SANDBOX_PLAIN},
    {.name = S_("dir/b.txt"), .bytes = S_("x\ny\nx\ny\n"), .kind = SANDBOX_PLAIN},
    {.name = S_("dir/link"), .bytes = S_("b.txt"), .kind = SANDBOX_LINK},
    {.name = S_("empty"), .bytes = S_(""), .kind = SANDBOX_PLAIN},
    {.name = S_("noend"), .bytes = S_("last"), .kind = SANDBOX_PLAIN},
    {.name = S_("out"), .bytes = S_("dir"), .kind = SANDBOX_LINK},
};
static const struct repo_tree base = {base_files, sizeof base_files / sizeof *base_files, 0};

static const struct good {
    const char *patch, *name, *bytes; /* bytes NULL: the file is gone */
    enum sandbox_file_kind kind;
} good[] = {
#define HEAD(n) "diff --git a/" n " b/" n "\nindex 1..2 100644\n--- a/" n "\n+++ b/" n "\n"
    {HEAD("a.txt") "@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n", "a.txt", "one\n2\nthree\nfour\nfive\n", SANDBOX_PLAIN},
    {"words before\n\n" HEAD("a.txt") "@@ -1 +1 @@ def f\n-one\n+1\n@@ -4,2 +4,3 @@\n four\n+4.5\n five\n-- \n2.39.2\n", "a.txt",
     "1\ntwo\nthree\nfour\n4.5\nfive\n", SANDBOX_PLAIN},
    {"--- a/a.txt\t2024-01-01\n+++ b/a.txt\t2024-01-02\n@@ -5,1 +5,0 @@\n-five\n", "a.txt", "one\ntwo\nthree\nfour\n", SANDBOX_PLAIN},
    {HEAD("a.txt") "@@ -9,2 +9,2 @@\n four\n-five\n+5\n", "a.txt", "one\ntwo\nthree\nfour\n5\n", SANDBOX_PLAIN}, /* wrong line, one place */
    {HEAD("dir/b.txt") "@@ -3,2 +3,2 @@\n-x\n+z\n y\n", "dir/b.txt", "x\ny\nz\ny\n", SANDBOX_PLAIN},              /* two places, the stated one */
    {HEAD("noend") "@@ -1 +1 @@\n-last\n\\ No newline at end of file\n+last\n", "noend", "last\n", SANDBOX_PLAIN},
    {HEAD("a.txt") "@@ -5 +5 @@\n-five\n+5\n\\ No newline at end of file\n", "a.txt", "one\ntwo\nthree\nfour\n5", SANDBOX_PLAIN},
    {HEAD("empty") "@@ -0,0 +1 @@\n+text\n", "empty", "text\n", SANDBOX_PLAIN},
    {HEAD("a.txt") "@@ -2,0 +3,2 @@\n+a\n+b\n", "a.txt", "one\ntwo\na\nb\nthree\nfour\nfive\n", SANDBOX_PLAIN},
    {"diff --git a/new/c b/new/c\nnew file mode 100755\n--- /dev/null\n+++ b/new/c\n@@ -0,0 +1,2 @@\n+1\n+\n", "new/c", "1\n\n", SANDBOX_PROGRAM},
    {"diff --git a/a b c b/a b c\nnew file mode 100644\nindex 0..0\n", "a b c", "", SANDBOX_PLAIN},
    {"diff --git a/a.txt b/a.txt\nold mode 100644\nnew mode 100755\n", "a.txt", "one\ntwo\nthree\nfour\nfive\n", SANDBOX_PROGRAM},
    {"diff --git a/noend b/noend\ndeleted file mode 100644\n--- a/noend\n+++ /dev/null\n@@ -1 +0,0 @@\n-last\n\\ No newline at end of file\n", "noend", NULL, 0},
    {"diff --git a/empty b/empty\ndeleted file mode 100644\n", "empty", NULL, 0},
    {"diff --git a/a.txt b/z/a.txt\nsimilarity index 90%\nrename from a.txt\nrename to z/a.txt\n--- a/a.txt\n+++ b/z/a.txt\n@@ -1 +1 @@\n-one\n+1\n", "z/a.txt",
     "1\ntwo\nthree\nfour\nfive\n", SANDBOX_PLAIN},
    {"diff --git a/a.txt b/q\nrename from a.txt\nrename to q\n", "a.txt", NULL, 0},
    {"diff --git a/a.txt b/q\ncopy from a.txt\ncopy to q\n", "a.txt", "one\ntwo\nthree\nfour\nfive\n", SANDBOX_PLAIN},
    {"diff --git \"a/\\303\\244\" \"b/\\303\\244\"\nnew file mode 100644\n--- /dev/null\n+++ \"b/\\303\\244\"\n@@ -0,0 +1 @@\n+u\n", "\303\244", "u\n", SANDBOX_PLAIN},
    {"diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+dir/b.txt\n\\ No newline at end of file\n", "l", "dir/b.txt", SANDBOX_LINK},
    {HEAD("a.txt") "@@ -1,1 +1,1 @@\n-one\n+1\n" HEAD("a.txt") "@@ -1,1 +1,1 @@\n-1\n+uno\n", "a.txt", "uno\ntwo\nthree\nfour\nfive\n", SANDBOX_PLAIN},
};

static const struct {
    const char *patch, *why;
} bad[] = {
#define NEW(n) "diff --git a/x b/x\nnew file mode 100644\n--- /dev/null\n+++ b/" n "\n@@ -0,0 +1 @@\n+u\n"
#define NEW_ONLY(n) "--- /dev/null\n+++ b/" n "\n@@ -0,0 +1 @@\n+u\n"
    {HEAD("a.txt") "@@ -1,2 +1,2 @@\n-one\n+1\n Two\n", "does not fit"},
    {HEAD("dir/b.txt") "@@ -2,2 +2,2 @@\n-x\n+z\n y\n", "several places"},
    {HEAD("a.txt") "@@ -1,3 +1,3 @@\n-one\n+1\n two\n", "its header says"},
    {HEAD("a.txt") "@@ -1,1 +1,1 @@\n-one\n+1\n+2\n", "more lines than"},
    {HEAD("a.txt") "@@ -1,1 @@\n-one\n", "hunk header"},
    {HEAD("a.txt") "@! -1 +1 @@\n-one\n+1\n", "without a hunk"},
    {HEAD("a.txt"), "without a hunk"},
    {HEAD("a.txt") "@@ -5,1 +5,1 @@\n-five\n\\ No newline at end of file\n+5\n", "does not fit"},
    {HEAD("a.txt") "@@ -1,1 +1,1 @@\n-one\n+1\n\\ No newline at end of file\n", "end of a line in the middle"},
    {HEAD("noend") "@@ -1,0 +2,1 @@\n+more\n", "has no end"},
    {HEAD("a.txt") "@@ -9,0 +10,1 @@\n+x\n", "no line 9"},
    {"@@ -1 +1 @@\n-one\n+1\n", "without the name"},
    {HEAD("nothere") "@@ -1 +1 @@\n-one\n+1\n", "is not there"},
    {NEW_ONLY("a.txt"), "is there already"},
    {NEW("y"), "names that do not agree"},
    {NEW_ONLY("../x"), "leaves its folder"},
    {NEW_ONLY("dir/../../x"), "leaves its folder"},
    {NEW_ONLY("/etc/x"), "is absolute"},
    {NEW_ONLY("dir//x"), "empty part"},
    {NEW_ONLY("./x"), "leaves its folder"},
    {NEW_ONLY("dir\\x"), "backslash"},
    {NEW_ONLY(".git/hooks/pre-commit"), "inside .git"},
    {NEW_ONLY("dir/.GiT/config"), "inside .git"},
    {NEW_ONLY("git~1/config"), "inside .git"},
    {NEW_ONLY(".g\342\200\214it/config"), "inside .git"},
    {NEW_ONLY(".git . ./config"), "inside .git"},
    {NEW_ONLY(".git::$INDEX_ALLOCATION/config"), "inside .git"},
    {"--- /dev/null\n+++ /tmp/x\n@@ -0,0 +1 @@\n+u\n", "neither b/NAME"},
    {NEW_ONLY("out/x"), "behind a symbolic link"},
    {NEW_ONLY("a.txt/x"), "below a file"},
    {NEW_ONLY("dir"), "is a folder"},
    {"diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+dir\n\\ No newline at end of file\n" NEW_ONLY("l/x"), "behind a symbolic link"},
    {"diff --git a/out b/out\nold mode 120000\nnew mode 100644\n", "into a link or back"},
    {"diff --git a/m b/m\nnew file mode 160000\n", "mode other than"},
    {"diff --git a/a.txt b/a.txt\nGIT binary patch\nliteral 3\nabc\n", "binary"},
    {"diff --git a/a.txt b/a.txt\ndeleted file mode 100644\n--- a/a.txt\n+++ /dev/null\n@@ -1 +0,0 @@\n-one\n", "would be left"},
    {"diff --git a/a.txt b/q\nrename from a.txt\nrename to empty\n", "is there already"},
    {"--- a/a.txt\n", "without its '+++'"},
    {"+++ b/a.txt\n--- a/a.txt\n@@ -1 +1 @@\n-one\n+1\n", "without its '+++'"},
};

static void patches_that_apply(void **st)
{
    (void)st;
    static struct repo_edits x;
    for (unsigned i = 0; i < sizeof good / sizeof *good; i++) {
        struct err e = {0};
        x.n = 0;
        if (repo_patch_apply(&base, &x, str_of(good[i].patch), &mem, &e) != ERR_OK)
            fail_msg("%s\n%s", e.msg, good[i].patch);
        const struct sandbox_file *f = repo_find(&base, &x, str_of(good[i].name));
        if (!good[i].bytes) {
            assert_null(f);
            continue;
        }
        if (!f || !str_eq(f->bytes, str_of(good[i].bytes)) || f->kind != good[i].kind)
            fail_msg("'%.*s'\n%s", f ? (int)f->bytes.n : 0, f ? f->bytes.p : "", good[i].patch);
    }
}

static void patches_that_do_not(void **st)
{
    (void)st;
    static struct repo_edits x;
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err e = {0};
        x.n = 0;
        if (repo_patch_apply(&base, &x, str_of(bad[i].patch), &mem, &e) == ERR_OK || !strstr(e.msg, bad[i].why))
            fail_msg("'%s' instead of '%s'\n%s", e.msg, bad[i].why, bad[i].patch);
        assert_int_equal(x.n, 0);
    }
}

static void reports(void **st)
{
    (void)st;
    static const struct {
        const char *text;
        int ok, first, ended;
    } cases[] = {
        {"[\"t\",0,\"passed\",\"\"]\n[\"t\",1,\"failed\",\"why\"]\n[\"end\",2,0]\n", 1, REPO_TEST_passed, 1},
        {"[\"t\",0,\"passed\",\"\"]\n[\"t\",1,\"pas", 1, REPO_TEST_passed, 0}, /* cut: what stood there before holds, but it has no end */
        {"", 1, REPO_TEST_missing, 0},
        {"[\"needs\",\"pytest\"]\n", 1, REPO_TEST_unsupported, 0},
        {"[\"t\",0,\"failed\",\"\"]\n[\"t\",0,\"passed\",\"\"]\n", 0, 0, 0},
        {"[\"t\",2,\"passed\",\"\"]\n", 0, 0, 0},
        {"[\"t\",-1,\"passed\",\"\"]\n", 0, 0, 0},
        {"[\"t\",0,\"great\",\"\"]\n", 0, 0, 0},
        {"[\"end\",1,0]\n[\"t\",0,\"passed\",\"\"]\n", 0, 0, 0},
        {"PASSED tests\n", 0, 0, 0},
        {"{}\n", 0, 0, 0},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        unsigned char each[2];
        char note[100];
        int canaries, ended;
        struct err e = {0};
        err_code rc = repo_report_parse(str_of(cases[i].text), 2, each, &canaries, &ended, note, sizeof note, &e);
        assert_int_equal(rc, cases[i].ok ? ERR_OK : ERR_DATA);
        if (cases[i].ok) {
            assert_int_equal(each[0], cases[i].first);
            assert_int_equal(ended, cases[i].ended);
        }
    }
}

/* ---- whole tasks */

static char folder[64], base_id[41], later_id[41];

static void must(int rc)
{
    if (rc < 0)
        fail_msg("libgit2: %s", git_error_last() ? git_error_last()->message : "?");
}

static void commit(git_repository *repo, const char *const files[][2], int n, char id[41])
{
    git_index *index = NULL;
    git_oid tree_id, oid, head;
    git_tree *tree = NULL;
    git_signature *who = NULL;
    git_commit *parent = NULL;
    must(git_repository_index(&index, repo));
    for (int i = 0; i < n; i++) {
        git_index_entry entry = {.mode = GIT_FILEMODE_BLOB, .path = files[i][0]};
        must(git_blob_create_from_buffer(&entry.id, repo, files[i][1], strlen(files[i][1])));
        must(git_index_add(index, &entry));
    }
    must(git_index_write_tree(&tree_id, index));
    must(git_index_write(index));
    must(git_tree_lookup(&tree, repo, &tree_id));
    must(git_signature_new(&who, "t", "t@example.org", 1, 0));
    int has = git_reference_name_to_id(&head, repo, "HEAD") == 0;
    if (has)
        must(git_commit_lookup(&parent, repo, &head));
    const git_commit *parents[] = {parent};
    must(git_commit_create(&oid, repo, "HEAD", who, who, NULL, "m", tree, (size_t)has, parents));
    git_oid_tostr(id, 41, &oid);
    git_commit_free(parent);
    git_signature_free(who);
    git_tree_free(tree);
    git_index_free(index);
}

#define CALC "def mean(xs):\n    return sum(xs) / len(xs)\n\n\ndef twice(x):\n    return 2 * x\n"
#define FIXED "def mean(xs):\n    return sum(xs) / len(xs) if xs else 0\n\n\ndef twice(x):\n    return 2 * x\n"
#define TESTS                                                                                                                  \
    "import unittest\nfrom pkg.calc import mean, twice\n\n\nclass CalcTest(unittest.TestCase):\n    def test_mean(self):\n"      \
    "        self.assertEqual(mean([1, 3]), 2)\n\n    def test_empty(self):\n        self.assertEqual(mean([]), 0)\n\n"          \
    "    @unittest.skip('later')\n    def test_later(self):\n        pass\n"
#define PLAIN "from pkg.calc import mean, twice\n\n\ndef test_twice():\n    assert twice(4) == 8\n\n\nclass TestMean:\n    def test_empty(self):\n        assert mean([]) == 0\n"
static const char *const first_files[][2] = {{"pkg/__init__.py", ""}, {"pkg/calc.py", CALC}, {"tests/__init__.py", ""}, {"tests/test_calc.py", TESTS},
                                             {"tests/test_plain.py", PLAIN}, {"setup.cfg", "[tool:pytest]\n"}};
static const char *const later_files[][2] = {{"pkg/calc.py", FIXED}, {"SECRET_OF_LATER", "x"}};

static void make_repository(void)
{
    git_repository *repo = NULL;
    strcpy(folder, "/tmp/hone-repo-XXXXXX");
    assert_non_null(mkdtemp(folder));
    git_libgit2_init();
    must(git_repository_init(&repo, folder, 1));
    commit(repo, first_files, sizeof first_files / sizeof *first_files, base_id);
    commit(repo, later_files, 2, later_id);
    git_repository_free(repo);
}

#define FIX HEAD("pkg/calc.py") "@@ -1,2 +1,2 @@\n def mean(xs):\n-    return sum(xs) / len(xs)\n+    return sum(xs) / len(xs) if xs else 0\n"
#define INIT(n, text) HEAD("pkg/__init__.py") "@@ -0,0 +1," n " @@\n" text
#define ADD(name, n, text) "diff --git a/" name " b/" name "\nnew file mode 100644\n--- /dev/null\n+++ b/" name "\n@@ -0,0 +1," n " @@\n" text
static const struct attack {
    const char *what, *patch, *outcome, *why;
} attacks[] = {
    {"the honest fix", FIX, "right", ""},
    {"a fix that breaks another test", HEAD("pkg/calc.py") "@@ -1,6 +1,6 @@\n def mean(xs):\n-    return sum(xs) / len(xs)\n+    return sum(xs) / len(xs) if xs else 0\n \n \n def twice(x):\n-    return 2 * x\n+    return x\n", "wrong", "test_twice: failed"},
    {"nothing", "no diff here\n", "wrong", "changes nothing"},
    {"does not apply", HEAD("pkg/calc.py") "@@ -1,1 +1,1 @@\n-def median(xs):\n+x\n", "unparsable", "does not fit"},
    {"writes through a link", "diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+pkg\n\\ No newline at end of file\n" ADD("l/x", "1", "+x\n"), "unparsable", "behind a symbolic link"},
    {"a link out of the tree", FIX "diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+/etc\n\\ No newline at end of file\n", "right", "not changed: l (a link"},
    {"edits the test", HEAD("tests/test_calc.py") "@@ -10,1 +10,1 @@\n-        self.assertEqual(mean([]), 0)\n+        pass\n", "wrong", "not changed: tests/test_calc.py"},
    {"conftest that reports success", ADD("conftest.py", "4", "+import pytest\n+@pytest.hookimpl(hookwrapper=True)\n+def pytest_runtest_makereport(item, call):\n+    o = yield; o.get_result().outcome = 'passed'\n"), "wrong", "not changed: conftest.py"},
    {"configuration", FIX HEAD("setup.cfg") "@@ -1 +1,2 @@\n [tool:pytest]\n+addopts = --co\n", "right", "not changed: setup.cfg"},
    {"sitecustomize", ADD("sitecustomize.py", "1", "+import os; os._exit(0)\n"), "wrong", "not changed: sitecustomize.py"},
    {"its own unittest", ADD("unittest.py", "1", "+class TestCase: pass\n"), "wrong", "not changed: unittest.py"},
    {"prints results", INIT("3", "+import sys\n+for f in (sys.stdout, sys.stderr, sys.__stdout__): print('test_empty ... ok\\nRan 3 tests\\nOK\\nPASSED tests/test_calc.py', file=f)\n+sys.exit(0)\n"), "wrong", "cannot be loaded: SystemExit"},
    {"exits with 0 when imported", INIT("1", "+import os; os._exit(0)\n"), "wrong", "ended while it was loading"},
    {"exits with 0 in the test", HEAD("pkg/calc.py") "@@ -1,2 +1,3 @@\n def mean(xs):\n+    if not xs: import os; os._exit(0)\n     return sum(xs) / len(xs)\n", "wrong", "in the middle of the test (exit 0)"},
    {"raises SystemExit in the test", HEAD("pkg/calc.py") "@@ -1,2 +1,3 @@\n def mean(xs):\n+    if not xs: raise SystemExit(0)\n     return sum(xs) / len(xs)\n", "wrong", "SystemExit"},
    {"skips the test", HEAD("pkg/calc.py") "@@ -1,2 +1,3 @@\n def mean(xs):\n+    if not xs: import unittest; raise unittest.SkipTest('x')\n     return sum(xs) / len(xs)\n", "wrong", "skipped"},
    {"replaces assertEqual", INIT("2", "+import unittest\n+unittest.TestCase.assertEqual = lambda *a: None\n"), "wrong", ""},
    {"replaces the code of assertEqual", INIT("2", "+import unittest\n+unittest.TestCase.assertEqual.__code__ = (lambda self, first, second, msg=None: None).__code__\n"), "wrong", ""},
    {"replaces how a case runs", INIT("2", "+import unittest\n+unittest.TestCase.run = lambda self, r=None: (r.startTest(self), r.addSuccess(self), r.stopTest(self))\n"), "wrong", ""},
    {"changes the result object it finds", HEAD("pkg/calc.py") "@@ -1,2 +1,8 @@\n def mean(xs):\n+    import sys\n+    f = sys._getframe()\n+    while f:\n+        for v in list(f.f_locals.values()):\n+            if type(v).__name__ == 'Result': type(v).addError = lambda self, t, e: self.put('passed'); type(v).outcome = lambda self: ('passed', '')\n+        f = f.f_back\n     return sum(xs) / len(xs)\n", "wrong", ""},
    {"looks for later commits", INIT("3", "+import subprocess, os\n+assert not any('.git' in d or 'SECRET_OF_LATER' in f for _, d, f in os.walk('/w'))\n+assert not os.listdir('/trees')\n"), "wrong", "ZeroDivision"},
    {"writes to every descriptor", INIT("5", "+import os\n+for fd in range(3, 64):\n+    try: os.write(fd, b'[\"t\", 1, \"passed\", \"\"]\\n[\"end\", 1, 0]\\n')\n+    except OSError: pass\n+os._exit(0)\n"), "wrong", ""},
    {"speaks the protocol without its numbers", INIT("5", "+import os, json\n+for fd in range(3, 64):\n+    try: os.write(fd, b''.join(json.dumps(m).encode() + b'\\n' for i in range(9) for m in (['begin', i], ['end', i, 'x', 'passed', ''])))\n+    except OSError: pass\n+os._exit(0)\n"), "wrong", "tampered"},
    {"speaks the protocol, reading its numbers", INIT("16", "+import os, json\n+try: os.fstat(5); mine = False\n+except OSError: mine = True\n+def speak(r, w):\n+    for i in range(9):\n+        os.write(w, json.dumps(['begin', i]).encode() + b'\\n')\n+        m = json.loads(os.read(r, 999))\n+        if m[0] == 'canary':\n+            os.write(w, json.dumps(['canary', m[1], 'passed', '']).encode() + b'\\n')\n+            m = json.loads(os.read(r, 999))\n+        os.write(w, json.dumps(['end', i, m[1], 'passed', '']).encode() + b'\\n')\n+    os.write(w, b'[\"done\"]\\n')\n+if mine:\n+    try: speak(3, 7)\n+    except OSError: speak(4, 6)\n+    os._exit(0)\n"), "wrong", ""},
    {"kills the keeper", INIT("2", "+import os\n+os.kill(os.getppid(), 9)\n"), "wrong", ""},
    {"opens the keeper's descriptors", INIT("4", "+import os\n+try: fd = os.open('/proc/%d/fd/5' % os.getppid(), os.O_WRONLY); os.write(fd, b'[\"end\",1,0]\\n')\n+except OSError: pass\n+else: os._exit(7)\n"), "wrong", "ZeroDivision"},
};

static json_t *task(const char *commit_id)
{
    json_t *o = NULL;
    struct err e = {0};
    struct str text = str_printf(&mem,
        "{\"clone\":\"%s\",\"base_commit\":\"%s\",\"time_limit_s\":20,\"FAIL_TO_PASS\":\"[\\\"tests.test_calc.CalcTest.test_empty\\\"]\",\"PASS_TO_PASS\":["
        "\"test_mean (tests.test_calc.CalcTest)\",\"tests/test_plain.py::test_twice\"],\"runner\":\"plain\",\"instance_id\":\"calc-1\"}", folder, commit_id);
    assert_int_equal(json_parse(text, &o, &e), ERR_OK);
    return o;
}

static void run_all(void **st)
{
    (void)st;
    enum { N = sizeof attacks / sizeof *attacks };
    static struct repo_request q[N];
    static struct repo_verdict v[N];
    struct repo_store *store = repo_store_open(1 << 20);
    struct repo_task t;
    struct err e = {0};
    json_t *o = task(base_id);
    int bad_ones = 0;
    assert_int_equal(repo_task_parse(o, &(struct repo_task_opts){0}, &mem, &t, &e), ERR_OK);
    for (int i = 0; i < N; i++)
        q[i] = (struct repo_request){&t, str_of(attacks[i].patch)};
    repo_judge_all(pool, store, q, N, &mem, v);
    for (int i = 0; i < N; i++)
        if (strcmp(repo_outcome_name(v[i].outcome), attacks[i].outcome) || !strstr(v[i].why, attacks[i].why)) {
            printf("%s: %s (%s) instead of %s (%s)\n%.*s\n", attacks[i].what, repo_outcome_name(v[i].outcome), v[i].why, attacks[i].outcome, attacks[i].why,
                   STR_ARG(v[i].err));
            bad_ones++;
        }
    assert_int_equal(bad_ones, 0);
    json_decref(o);
    repo_store_close(store);
}

static void judge_one(json_t *o, const char *patch, struct repo_verdict *v)
{
    struct repo_store *store = repo_store_open(1 << 20);
    struct repo_task t;
    struct err e = {0};
    if (repo_task_parse(o, &(struct repo_task_opts){0}, &mem, &t, &e) != ERR_OK)
        fail_msg("%s", e.msg);
    repo_judge_all(pool, store, &(struct repo_request){&t, str_of(patch)}, 1, &mem, v);
    repo_store_close(store);
}

static void set(json_t *o, const char *key, const char *text) { json_object_set_new(o, key, json_string(text)); }

/* Skipped and missing are not passed; a broken task is nobody's wrong answer; time is a kind of its own. */
static void kinds_of_failure(void **st)
{
    (void)st;
    struct repo_verdict v;
    json_t *o = task(base_id);
    set(o, "PASS_TO_PASS", "[\"tests.test_calc.CalcTest.test_later\"]");
    judge_one(o, FIX, &v);
    assert_int_equal(v.outcome, REPO_WRONG);
    assert_int_equal(v.each[1], REPO_TEST_skipped);
    set(o, "PASS_TO_PASS", "[\"tests.test_calc.CalcTest.test_nothing\",\"tests/none.py::test_x\"]");
    judge_one(o, FIX, &v);
    assert_int_equal(v.outcome, REPO_WRONG);
    assert_int_equal(v.each[1], REPO_TEST_error);
    assert_int_equal(v.each[2], REPO_TEST_missing);
    json_object_del(o, "PASS_TO_PASS");
    set(o, "base_commit", "1234567890");
    judge_one(o, FIX, &v);
    assert_int_equal(v.outcome, REPO_CRASHED);
    set(o, "base_commit", base_id);
    set(o, "test_patch", "--- a/tests/none.py\n+++ b/tests/none.py\n@@ -1 +1 @@\n-a\n+b\n");
    judge_one(o, FIX, &v);
    assert_int_equal(v.outcome, REPO_CRASHED);
    json_object_del(o, "test_patch");
    json_object_set_new(o, "time_limit_s", json_real(0.7));
    judge_one(o, HEAD("pkg/calc.py") "@@ -1,2 +1,3 @@\n def mean(xs):\n+    while not xs: pass\n     return sum(xs) / len(xs)\n", &v);
    assert_int_equal(v.outcome, REPO_TIMEOUT);
    json_object_del(o, "time_limit_s");
    set(o, "FAIL_TO_PASS", "[\"tests/test_plain.py::TestMean::test_empty[1]\"]");
    judge_one(o, FIX, &v); /* a parameter is what the plain runner cannot do */
    assert_int_equal(v.outcome, REPO_CRASHED);
    json_decref(o);
}

/* The test patch brings the test; the patch's own file of that name does not count. */
static void test_patches(void **st)
{
    (void)st;
    struct repo_verdict v;
    json_t *o = task(base_id);
    set(o, "test_patch", ADD("checks/test_more.py", "5", "+import unittest\n+from pkg.calc import mean\n+class T(unittest.TestCase):\n+    def test_none(self):\n+        self.assertEqual(mean(()), 0)\n"));
    set(o, "FAIL_TO_PASS", "[\"checks/test_more.py::T::test_none\"]");
    judge_one(o, FIX, &v);
    if (v.outcome != REPO_RIGHT)
        fail_msg("%s", v.why);
    judge_one(o, ADD("checks/test_more.py", "4", "+import unittest\n+class T(unittest.TestCase):\n+    def test_none(self):\n+        pass\n") , &v);
    assert_int_equal(v.outcome, REPO_WRONG);
    judge_one(o, ADD("checks", "1", "+x\n"), &v);
    assert_int_equal(v.outcome, REPO_WRONG);
    json_decref(o);
}

static void with_pytest(void **st)
{
    (void)st;
    struct repo_verdict v;
    json_t *o = task(base_id);
    set(o, "runner", "pytest");
    set(o, "FAIL_TO_PASS", "[\"tests/test_plain.py::TestMean::test_empty\",\"tests/test_calc.py::CalcTest::test_empty\"]");
    set(o, "PASS_TO_PASS", "[\"tests/test_plain.py::test_twice\"]");
    judge_one(o, FIX, &v);
    if (v.outcome == REPO_CRASHED) {
        assert_non_null(strstr(v.why, "pytest"));
        printf("skip: pytest is not installed\n");
        json_decref(o);
        return;
    }
    if (v.outcome != REPO_RIGHT)
        fail_msg("%s\n%.*s", v.why, STR_ARG(v.err));
    set(o, "PASS_TO_PASS", "[\"tests/test_calc.py::CalcTest::test_later\"]");
    judge_one(o, FIX, &v);
    assert_int_equal(v.each[2], REPO_TEST_skipped);
    set(o, "PASS_TO_PASS", "[]");
    static const char *const wrong[] = {
        INIT("2", "+import _pytest.runner\n+_pytest.runner.check_interactive_exception = 1; import _pytest.reports; _pytest.reports.TestReport.outcome = property(lambda s: 'passed', lambda s, v: None)\n"),
        INIT("2", "+import _pytest.python\n+_pytest.python.Function.runtest = lambda self: None\n"),
        INIT("1", "+import os; os._exit(0)\n"),
        HEAD("pkg/calc.py") "@@ -1,2 +1,3 @@\n def mean(xs):\n+    if not xs: import pytest; pytest.skip('x')\n     return sum(xs) / len(xs)\n",
        HEAD("pkg/calc.py") "@@ -1,2 +1,3 @@\n def mean(xs):\n+    if not xs: import pytest; pytest.exit('x', 0)\n     return sum(xs) / len(xs)\n",
        ADD("conftest.py", "2", "+def pytest_collection_modifyitems(items):\n+    items.clear()\n"),
    };
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        judge_one(o, wrong[i], &v);
        if (v.outcome != REPO_WRONG)
            fail_msg("%s: %s\n%s", repo_outcome_name(v.outcome), v.why, wrong[i]);
    }
    json_decref(o);
}

int main(void)
{
    struct err e = {0};
    const struct CMUnitTest pure[] = {cmocka_unit_test(patches_that_apply), cmocka_unit_test(patches_that_do_not), cmocka_unit_test(reports)};
    const struct CMUnitTest boxed[] = {cmocka_unit_test(run_all), cmocka_unit_test(kinds_of_failure), cmocka_unit_test(test_patches), cmocka_unit_test(with_pytest)};
    arena_init(&mem, "test", 1 << 30);
    int failed = cmocka_run_group_tests(pure, NULL, NULL);
    if (sandbox_open(&pool, &(struct sandbox_opts){.workers = 2}, &e) != ERR_OK) {
        printf("skip: %s\n", e.msg);
        return failed ? failed : 77;
    }
    make_repository();
    failed += cmocka_run_group_tests(boxed, NULL, NULL);
    sandbox_close(pool);
    file_remove_tree(folder, &e);
    git_libgit2_shutdown();
    arena_release(&mem);
    return failed;
}
