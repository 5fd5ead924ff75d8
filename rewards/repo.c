/* Repository tasks: what may change, what runs, what the answer was. */
#include "rewards/repo.h"

#include <fnmatch.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/log.h"
#include "rewards/repo_private.h"

__asm__(".pushsection .rodata\n"
        "repo_runner_py:\n.incbin \"rewards/inside/repo.py\"\n.byte 0\n"
        ".popsection\n");

extern const char repo_runner_py[];

const char *repo_runner(void) { return repo_runner_py; }

const char *repo_outcome_name(enum repo_outcome o)
{
    static const char *const names[] = {
#define X(name, text, scored, meaning) text,
        REPO_OUTCOMES(X)
#undef X
    };
    return o < REPO_OUTCOME_N ? names[o] : "?";
}

const char *repo_test_name(enum repo_test t)
{
    static const char *const names[] = {
#define X(name, text) #name,
        REPO_TESTS(X)
#undef X
    };
    return t < REPO_TEST_N ? names[t] : "?";
}

/* ---- tasks */

/* A list, or a text that holds one, as SWE-bench has it. */
static err_code test_list(const json_t *o, const char *key, struct arena *mem, struct str **out, int *n, struct err *e)
{
    enum { TESTS_MAX = 20000 };
    const json_t *v = json_object_get(o, key);
    json_t *parsed = NULL;
    err_code rc = ERR_OK;
    *n = 0;
    if (!v || json_is_null(v))
        return ERR_OK;
    if (json_is_string(v)) {
        if (json_parse((struct str){json_string_value(v), (int64_t)json_string_length(v)}, &parsed, e) != ERR_OK)
            return err_ctx(e, "'%s'", key);
        v = parsed;
    }
    size_t count = json_array_size(v);
    if (!json_is_array(v) || count > TESTS_MAX) {
        rc = err_set(e, ERR_DATA, "'%s' must be a list of at most %d names of tests", key, TESTS_MAX);
        count = 0;
    }
    *out = ARENA_NEW(mem, struct str, (int64_t)count + 1);
    for (size_t i = 0; i < count && rc == ERR_OK; i++) {
        const json_t *x = json_array_get(v, i);
        struct str s = str_trim((struct str){json_string_value(x), (int64_t)json_string_length(x)});
        if (!json_is_string(x) || s.n == 0)
            rc = err_set(e, ERR_DATA, "'%s' must hold names of tests", key);
        else
            (*out)[(*n)++] = str_dup(mem, s);
    }
    json_decref(parsed);
    return rc;
}

static err_code find_clone(const json_t *o, const struct repo_task_opts *opts, struct arena *mem, const char **out, struct err *e)
{
    struct str repo = {NULL, 0}, clone = {NULL, 0};
    const char *why;
    TRY(json_opt_str(o, "clone", &clone, e));
    if (clone.p) {
        *out = str_dup(mem, clone).p;
        return ERR_OK;
    }
    TRY(json_need_str(o, "repo", &repo, e));
    if (!repo_path_ok(repo, &why))
        return err_set(e, ERR_DATA, "'repo' %s", why);
    if (!opts->clones || !opts->clones[0])
        return err_set(e, ERR_DATA, "no 'clone' and no folder of clones");
    for (int i = 0; i < 4; i++) {
        char *name = (char *)(uintptr_t)str_printf(mem, "%s/%.*s%s", opts->clones, STR_ARG(repo), i % 2 ? ".git" : "").p;
        char *slash = name + strlen(opts->clones) + 1;
        if (i >= 2 && (slash = strchr(slash, '/'))) { /* owner__name */
            name = (char *)(uintptr_t)str_printf(mem, "%.*s__%s", (int)(slash - name), name, slash + 1).p;
        }
        if (file_is_dir(name)) {
            *out = name;
            return ERR_OK;
        }
    }
    return err_set(e, ERR_DATA, "no clone of '%.*s' in '%s'", STR_ARG(repo), opts->clones);
}

static err_code task_runner(const json_t *o, struct repo_task *t, struct err *e)
{
    struct str s = STR("auto");
    TRY(json_opt_str(o, "runner", &s, e));
    t->runner = str_eq(s, STR("auto")) ? 0 : str_eq(s, STR("plain")) ? 1 : str_eq(s, STR("pytest")) ? 2 : -1;
    return t->runner < 0 ? err_set(e, ERR_DATA, "'runner' must be auto, plain or pytest") : ERR_OK;
}

static err_code task_limits(const json_t *o, const struct repo_task_opts *opts, struct repo_task *t, struct err *e)
{
    double s = opts->time_limit_s > 0 ? opts->time_limit_s : 300;
    TRY(json_opt_f64(o, "time_limit_s", &s, e));
    if (!(s > 0 && s <= 24 * 3600))
        return err_set(e, ERR_DATA, "'time_limit_s' must be between 0 and 86400");
    t->limits = sandbox_limits_default();
    t->limits.cpu_ms = (int64_t)(s * 1000);
    t->limits.wall_ms = 3 * t->limits.cpu_ms + 2000;
    t->limits.mem_bytes = opts->memory_bytes > 0 ? opts->memory_bytes : 4LL << 30;
    t->limits.out_bytes = 16 << 20;
    t->limits.procs = 256;
    t->limits.fds = 1024;
    t->limits.file_bytes = 256 << 20;
    t->limits.tmp_bytes = 512 << 20;
    t->limits.tmp_inodes = 100000;
    return json_object_get(o, "limits") ? sandbox_limits_json(&t->limits, json_object_get(o, "limits"), "", e) : ERR_OK;
}

err_code repo_task_parse(const json_t *o, const struct repo_task_opts *opts, struct arena *mem, struct repo_task *t, struct err *e)
{
    struct str *fail = NULL, *pass = NULL;
    const json_t *protect = json_object_get(o, "protect");
    *t = (struct repo_task){.clone = NULL};
    TRY(json_opt_str(o, "instance_id", &t->id, e));
    TRY(json_need_str(o, "base_commit", &t->commit, e));
    TRY(json_opt_str(o, "test_patch", &t->test_patch, e));
    TRY(json_opt_str(o, "patch", &t->gold, e));
    TRY(find_clone(o, opts, mem, &t->clone, e));
    TRY(test_list(o, "FAIL_TO_PASS", mem, &fail, &t->n_fail, e));
    TRY(test_list(o, "PASS_TO_PASS", mem, &pass, &t->n_pass, e));
    if (t->n_fail + t->n_pass == 0)
        return err_set(e, ERR_DATA, "neither FAIL_TO_PASS nor PASS_TO_PASS names a test");
    t->tests = ARENA_NEW(mem, struct str, t->n_fail + t->n_pass);
    for (int i = 0; i < t->n_fail + t->n_pass; i++)
        t->tests[i] = i < t->n_fail ? fail[i] : pass[i - t->n_fail];
    t->protect = ARENA_NEW(mem, const char *, (int64_t)json_array_size(protect) + 1);
    for (size_t i = 0; i < json_array_size(protect); i++)
        if (!(t->protect[i] = json_string_value(json_array_get(protect, i))))
            return err_set(e, ERR_DATA, "'protect' must be a list of patterns");
    TRY(task_runner(o, t, e));
    return task_limits(o, opts, t, e);
}

/* ---- base trees */

struct store_entry {
    const char *clone, *commit; /* in mem */
    struct arena mem;
    struct repo_tree tree;
    struct sandbox_tree *packed;
    int64_t used, users;
    struct store_entry *next;
};

struct repo_store {
    pthread_mutex_t lock;
    struct store_entry *all;
    int64_t max_bytes, clock;
};

struct repo_store *repo_store_open(int64_t max_bytes)
{
    struct repo_store *s = calloc(1, sizeof *s);
    if (!s)
        BUG("out of memory");
    pthread_mutex_init(&s->lock, NULL);
    s->max_bytes = max_bytes;
    return s;
}

static void entry_free(struct store_entry *x)
{
    sandbox_tree_free(x->packed);
    arena_release(&x->mem);
    free(x);
}

void repo_store_close(struct repo_store *s)
{
    if (!s)
        return;
    for (struct store_entry *x = s->all, *next; x; x = next) {
        next = x->next;
        entry_free(x);
    }
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* Until what is kept fits, the least recently used of what nobody uses goes. */
static void store_trim(struct repo_store *s)
{
    for (;;) {
        int64_t bytes = 0;
        struct store_entry **oldest = NULL;
        for (struct store_entry **x = &s->all; *x; x = &(*x)->next) {
            bytes += arena_used(&(*x)->mem);
            if (!(*x)->users && (!oldest || (*x)->used < (*oldest)->used))
                oldest = x;
        }
        if (bytes <= s->max_bytes || !oldest)
            return;
        struct store_entry *gone = *oldest;
        *oldest = gone->next;
        entry_free(gone);
    }
}

static err_code entry_make(const struct repo_task *t, struct store_entry **out, struct err *e)
{
    struct store_entry *x = calloc(1, sizeof *x);
    if (!x)
        BUG("out of memory");
    arena_init(&x->mem, "base tree", 2LL << 30);
    x->clone = str_dup(&x->mem, str_of(t->clone)).p;
    x->commit = str_dup(&x->mem, t->commit).p;
    err_code rc = repo_tree_read(x->clone, x->commit, &x->mem, &x->tree, e);
    rc = rc != ERR_OK ? rc : sandbox_tree_make(x->tree.files, x->tree.n, &x->packed, e);
    if (rc == ERR_OK)
        *out = x;
    else
        entry_free(x);
    return rc;
}

/* One at a time: the samples of a task want the same tree. Give it back. */
static err_code store_get(struct repo_store *s, const struct repo_task *t, struct store_entry **out, struct err *e)
{
    err_code rc = ERR_OK;
    pthread_mutex_lock(&s->lock);
    struct store_entry *x = s->all;
    while (x && (strcmp(x->clone, t->clone) || !str_eq(str_of(x->commit), t->commit)))
        x = x->next;
    if (!x && (rc = entry_make(t, &x, e)) == ERR_OK) {
        x->next = s->all;
        s->all = x;
    }
    if (rc == ERR_OK) {
        x->used = ++s->clock;
        x->users++;
        store_trim(s);
        *out = x;
    }
    pthread_mutex_unlock(&s->lock);
    return rc;
}

static void store_put(struct repo_store *s, struct store_entry *x)
{
    pthread_mutex_lock(&s->lock);
    x->users--;
    pthread_mutex_unlock(&s->lock);
}

/* ---- names of tests */

struct place {
    struct str file;  /* n 0: not found */
    struct str names; /* "Class::test", separated by "::" */
};

static int is_there(const struct repo_tree *t, const struct repo_edits *x, struct str name)
{
    const struct sandbox_file *f = repo_find(t, x, name);
    return f && f->kind != SANDBOX_LINK;
}

/* "a.b.C.test": the longest a/b.py that is there. */
static struct place dotted(const struct repo_tree *t, const struct repo_edits *x, struct str id, struct arena *mem)
{
    static const char *const roots[] = {"", "tests/", "test/", "src/"};
    for (int64_t end = id.n; end > 0; end--) {
        if (id.p[end] != '.' || end == id.n)
            continue;
        for (unsigned k = 0; k < sizeof roots / sizeof *roots; k++) {
            char *file = (char *)(uintptr_t)str_printf(mem, "%s%.*s.py", roots[k], (int)end, id.p).p;
            for (char *p = file; p < file + strlen(file) - 3; p++)
                *p = *p == '.' ? '/' : *p;
            if (!is_there(t, x, str_of(file)))
                continue;
            struct str rest = str_sub(id, end + 1, id.n), part, names = {"", 0};
            while (str_split(&rest, '.', &part))
                names = str_printf(mem, "%.*s%s%.*s", STR_ARG(names), names.n ? "::" : "", STR_ARG(part));
            return (struct place){str_of(file), names};
        }
    }
    return (struct place){{"", 0}, {"", 0}};
}

static struct place place_of(const struct repo_tree *t, const struct repo_edits *x, struct str id, struct arena *mem)
{
    int64_t colon = str_find(id, STR("::"), 0), open = str_find(id, STR(" ("), 0);
    if (colon >= 0) {
        struct str file = str_sub(id, 0, colon);
        return is_there(t, x, file) ? (struct place){file, str_sub(id, colon + 2, id.n)} : (struct place){{"", 0}, {"", 0}};
    }
    if (open > 0 && id.p[id.n - 1] == ')') { /* unittest's way: "test (a.b.C)", since Python 3.11 "test (a.b.C.test)" */
        struct str name = str_sub(id, 0, open), in = str_sub(id, open + 2, id.n - 1);
        id = str_ends(in, str_printf(mem, ".%.*s", STR_ARG(name))) ? in : str_printf(mem, "%.*s.%.*s", STR_ARG(in), STR_ARG(name));
    }
    return dotted(t, x, id, mem);
}

/* ---- what the model's patch may not change (docs/repo-tasks.md has the list in words) */

#define RUNNER_CONFIG(X)                                                                                                        \
    X("conftest.py") X("pytest.ini") X(".pytest.ini") X("tox.ini") X("setup.cfg") X("pyproject.toml") X("sitecustomize.py") X("usercustomize.py") \
    X(".coveragerc") X("*.pth") X("*.egg-link")
#define RUNNER_MODULES(X) X("unittest") X("pytest") X("_pytest") X("pluggy")

static struct str last_part(struct str name)
{
    int64_t slash = str_rfind(name, STR("/"));
    return str_sub(name, slash + 1, name.n);
}

static int configures(struct str name, struct arena *mem)
{
    static const char *const files[] = {
#define X(pattern) pattern,
        RUNNER_CONFIG(X)
#undef X
    };
    static const char *const modules[] = {
#define X(module) module,
        RUNNER_MODULES(X)
#undef X
    };
    const char *last = str_dup(mem, last_part(name)).p;
    struct str rest = str_starts(name, STR("src/")) ? str_sub(name, 4, name.n) : name, first;
    str_split(&rest, '/', &first);
    if (rest.n == 0 && str_ends(first, STR(".py")))
        first.n -= 3;
    for (unsigned i = 0; i < sizeof files / sizeof *files; i++)
        if (!fnmatch(files[i], last, FNM_CASEFOLD))
            return 1;
    for (unsigned i = 0; i < sizeof modules / sizeof *modules; i++)
        if (str_eq(first, str_of(modules[i])) && !str_starts(name, STR("src/")))
            return 1;
    return 0;
}

/* The folder of tests that a file is in, up to the first "tests" or "test"; the file itself when it is in none. */
static struct str test_root(struct str file)
{
    for (int64_t b = 0, slash; (slash = str_find(file, STR("/"), b)) >= 0; b = slash + 1) {
        struct str part = str_sub(file, b, slash);
        if (str_eq(part, STR("tests")) || str_eq(part, STR("test")))
            return str_sub(file, 0, slash);
    }
    return file;
}

static int covers(struct str folder, struct str name)
{
    return str_eq(folder, name) || (name.n > folder.n && str_starts(name, folder) && name.p[folder.n] == '/');
}

/* One judgement in the making. */
struct judging {
    const struct repo_task *t;
    const struct repo_tree *tree;
    struct repo_edits x, tests; /* the patch's and the test patch's changes */
    struct place *place;        /* [n_fail + n_pass] */
    struct str *roots;
    int n_roots;
    struct arena *mem;
    struct repo_verdict *v;
    struct sbuf said;           /* what was dropped */
};

static int is_protected(const struct judging *j, struct str name)
{
    const char *z = str_dup(j->mem, name).p;
    if (configures(name, j->mem))
        return 1;
    for (int i = 0; i < j->n_roots; i++)
        if (covers(j->roots[i], name))
            return 1;
    for (int i = 0; i < j->tests.n; i++)
        if (covers(j->tests.f[i].name, name) || covers(name, j->tests.f[i].name))
            return 1;
    for (int i = 0; j->t->protect[i]; i++)
        if (!fnmatch(j->t->protect[i], z, 0))
            return 1;
    return 0;
}

static void drop_protected(struct judging *j)
{
    int n = 0;
    for (int i = 0; i < j->x.n; i++) {
        const struct sandbox_file *f = &j->x.f[i];
        int outside = f->kind == SANDBOX_LINK && !repo_link_inside(f->name, f->bytes);
        if (!outside && !is_protected(j, f->name)) {
            j->x.f[n++] = *f;
            continue;
        }
        j->v->dropped++;
        sbuf_addf(&j->said, "%s%.*s%s", j->said.n ? ", " : "", STR_ARG(f->name), outside ? " (a link out of the tree)" : "");
    }
    j->x.n = n;
}

static void find_roots(struct judging *j)
{
    int n = j->t->n_fail + j->t->n_pass;
    j->roots = ARENA_NEW(j->mem, struct str, n + j->tests.n + 1);
    for (int i = 0; i < n + j->tests.n; i++) {
        struct str file = i < n ? j->place[i].file : j->tests.f[i - n].name, root = test_root(file);
        int known = file.n == 0;
        for (int k = 0; k < j->n_roots && !known; k++)
            known = str_eq(j->roots[k], root);
        if (!known)
            j->roots[j->n_roots++] = root;
    }
}

/* ---- the run */

static void say(struct judging *j, enum repo_outcome o, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void say(struct judging *j, enum repo_outcome o, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    j->v->outcome = o;
    if (j->said.n)
        snprintf(j->v->why, sizeof j->v->why, "%.240s%snot changed: %.140s", text, text[0] ? "; " : "", j->said.p);
    else
        snprintf(j->v->why, sizeof j->v->why, "%.399s", text);
}

static void put_request(const struct judging *j, struct sbuf *b)
{
    int n = j->t->n_fail + j->t->n_pass, colons = 0, first = 1;
    for (int i = 0; i < n; i++)
        colons += str_find(j->t->tests[i], STR("::"), 0) >= 0;
    sbuf_addf(b, "{\"runner\":%d,\"ids\":\"%s\",\"tests\":[", j->t->runner, colons ? "pytest" : "unittest");
    for (int i = 0; i < n; i++) {
        struct str names = j->place[i].names;
        if (j->place[i].file.n == 0 || names.n == 0)
            continue;
        sbuf_addf(b, "%s[%d,", first ? "" : ",", i);
        json_put_str(b, j->place[i].file);
        sbuf_adds(b, ",[");
        for (int64_t at = 0; at <= names.n; first = 0) {
            int64_t bracket = str_find(names, STR("["), at), end = str_find(names, STR("::"), at);
            if (end < 0 || (bracket >= 0 && bracket < end)) /* a parameter may hold anything */
                end = names.n;
            sbuf_adds(b, at ? "," : "");
            json_put_str(b, str_sub(names, at, end));
            at = end + 2;
        }
        sbuf_adds(b, "]]");
    }
    sbuf_adds(b, "]}");
}

static void decide(struct judging *j, const struct sandbox_result *r)
{
    const struct repo_task *t = j->t;
    struct repo_verdict *v = j->v;
    struct err e = {0};
    char note[260] = "";
    int n = t->n_fail + t->n_pass, canaries = 0, ended = 0, bad = -1, unsupported = 0;
    if (r->verdict == SANDBOX_IE) {
        say(j, REPO_CRASHED, "the sandbox failed: %s", r->sub);
        return;
    }
    if (repo_report_parse(sbuf_str(&r->partner), n, v->each, &canaries, &ended, note, sizeof note, &e) != ERR_OK) {
        say(j, REPO_CRASHED, "the runner's report: %.200s", e.msg);
        return;
    }
    for (int i = 0; i < n; i++) {
        v->fail_passed += i < t->n_fail && v->each[i] == REPO_TEST_passed;
        v->pass_passed += i >= t->n_fail && v->each[i] == REPO_TEST_passed;
        unsupported |= v->each[i] == REPO_TEST_unsupported;
        bad = bad < 0 && v->each[i] != REPO_TEST_passed ? i : bad;
    }
    int whole = r->verdict == SANDBOX_AC && r->exit_code == 0 && ended;
    if (unsupported)
        say(j, REPO_CRASHED, "the tests need what the runner lacks: %s", note);
    else if (whole && bad < 0)
        say(j, REPO_RIGHT, "%s", "");
    else if (r->verdict == SANDBOX_TLE)
        say(j, REPO_TIMEOUT, "the tests ran out of %s time", r->sub);
    else if (!whole)
        say(j, REPO_WRONG, "the run of the tests ended before them: %s %s", sandbox_verdict_name(r->verdict), r->sub);
    else
        say(j, REPO_WRONG, "%.*s: %s%s%s", (int)(t->tests[bad].n < 160 ? t->tests[bad].n : 160), t->tests[bad].p, repo_test_name(v->each[bad]),
            note[0] ? ": " : "", note);
}

static void run_tests(struct sandbox_worker *w, struct judging *j, const struct sandbox_tree *tree)
{
    enum { SHOWN = 64 << 10 };
    const char *const argv[] = {"/usr/bin/python3", "-s", "-B", "-c", repo_runner(), NULL};
    struct sandbox_result r = {0};
    struct sbuf request;
    sbuf_init(&request, 64 << 20);
    put_request(j, &request);
    struct sandbox_job job = {.argv = argv, .input = sbuf_str(&request), .tree = tree, .files = j->x.f, .n_files = j->x.n, .limits = j->t->limits, .report = 1};
    sandbox_run(w, &job, &r);
    j->v->wall_ms = r.wall_ms;
    j->v->cpu_ms = r.cpu_ms;
    j->v->mem_peak = r.mem_peak;
    j->v->out = str_dup(j->mem, str_sub(sbuf_str(&r.out), 0, SHOWN));
    j->v->err = str_dup(j->mem, str_sub(sbuf_str(&r.err), 0, SHOWN));
    decide(j, &r);
    sandbox_result_release(&r);
    sbuf_release(&request);
}

static void judge_on(struct sandbox_worker *w, struct judging *j, const struct sandbox_tree *tree, struct str patch)
{
    struct err e = {0};
    int n = j->t->n_fail + j->t->n_pass, found = 0;
    if (repo_patch_apply(j->tree, &j->tests, j->t->test_patch, j->mem, &e) != ERR_OK) {
        say(j, REPO_CRASHED, "test_patch: %.300s", e.msg);
        return;
    }
    if (repo_patch_apply(j->tree, &j->x, patch, j->mem, &e) != ERR_OK) {
        say(j, REPO_UNPARSABLE, "%.390s", e.msg);
        return;
    }
    j->place = ARENA_NEW(j->mem, struct place, n);
    for (int i = 0; i < n; i++) { /* by the tests as they are meant, not as the patch would have them */
        j->place[i] = place_of(j->tree, &j->tests, j->t->tests[i], j->mem);
        found += j->place[i].file.n > 0;
    }
    find_roots(j);
    drop_protected(j);
    if (j->x.n == 0 && j->t->n_fail) { /* the tests of FAIL_TO_PASS fail on the base by their definition */
        say(j, REPO_WRONG, "the patch changes nothing");
        return;
    }
    for (int i = 0; i < j->tests.n; i++)
        if (repo_edit(&j->x, &j->tests.f[i], &e) != ERR_OK) {
            say(j, REPO_UNPARSABLE, "%.390s", e.msg);
            return;
        }
    if (found == 0) {
        say(j, REPO_CRASHED, "no file of a test is in the tree: %.*s", (int)(j->t->tests[0].n < 200 ? j->t->tests[0].n : 200), j->t->tests[0].p);
        return;
    }
    run_tests(w, j, tree);
}

void repo_judge(struct sandbox_worker *w, struct repo_store *s, const struct repo_task *t, struct str patch, struct arena *mem, struct repo_verdict *v)
{
    struct judging *j = calloc(1, sizeof *j);
    struct store_entry *base = NULL;
    struct err e = {0};
    if (!j)
        BUG("out of memory");
    *v = (struct repo_verdict){.each = ARENA_NEW(mem, unsigned char, t->n_fail + t->n_pass + 1)};
    j->t = t;
    j->mem = mem;
    j->v = v;
    sbuf_init(&j->said, 1 << 20);
    if (store_get(s, t, &base, &e) != ERR_OK) {
        say(j, REPO_CRASHED, "%.390s", e.msg);
    } else {
        j->tree = &base->tree;
        judge_on(w, j, base->packed, patch);
        store_put(s, base);
    }
    sbuf_release(&j->said);
    free(j);
}

/* ---- a batch */

struct repo_item {
    struct sandbox_task task;
    struct repo_store *store;
    const struct repo_request *q;
    struct repo_verdict *v;
    struct arena mem;
};

static void repo_work(struct sandbox_worker *w, void *ctx)
{
    struct repo_item *it = ctx;
    repo_judge(w, it->store, it->q->task, it->q->patch, &it->mem, it->v);
}

void repo_judge_all(struct sandbox *box, struct repo_store *s, const struct repo_request *q, int64_t n, struct arena *mem, struct repo_verdict *out)
{
    struct repo_item *items = calloc((size_t)(n > 0 ? n : 1), sizeof *items);
    if (!items)
        BUG("out of memory");
    for (int64_t i = 0; i < n; i++) {
        items[i] = (struct repo_item){.store = s, .q = &q[i], .v = &out[i], .task = {.fn = repo_work, .ctx = &items[i]}};
        arena_init(&items[i].mem, "repository verdict", 512 << 20);
        sandbox_submit(box, &items[i].task);
    }
    for (int64_t i = 0; i < n; i++) {
        sandbox_wait(box, &items[i].task);
        int tests = q[i].task->n_fail + q[i].task->n_pass;
        unsigned char *each = ARENA_NEW(mem, unsigned char, tests + 1); /* what lives in the item's arena moves to the caller's */
        memcpy(each, out[i].each, (size_t)tests);
        out[i].each = each;
        out[i].out = str_dup(mem, out[i].out);
        out[i].err = str_dup(mem, out[i].err);
        arena_release(&items[i].mem);
    }
    free(items);
}
