#include "rewards/code.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "rewards/code_private.h"

/* ---- tasks */

static err_code parse_stdio(const json_t *tests, struct arena *mem, struct code_task *t, struct err *e)
{
    size_t n = json_array_size(tests);
    if (!json_is_array(tests) || n == 0)
        return err_set(e, ERR_DATA, "a stdio task needs a list of tests");
    t->tests = ARENA_NEW(mem, struct code_test, (int64_t)n);
    for (size_t i = 0; i < n; i++) {
        const json_t *x = json_array_get(tests, i);
        struct code_test test = {.in = {"", 0}};
        TRY(json_opt_str(x, "name", &test.name, e));
        TRY(json_opt_str(x, "in", &test.in, e));
        TRY(json_opt_str(x, "out", &test.out, e));
        if (!test.out.p)
            t->n_left_out++;
        else
            t->tests[t->n_tests++] = test;
    }
    return t->n_tests ? ERR_OK : err_set(e, ERR_DATA, "no test of the task has an expected output");
}

static err_code parse_assert(const json_t *tests, struct arena *mem, struct code_task *t, struct err *e)
{
    const json_t *list = json_object_get(tests, "asserts");
    TRY(json_opt_str(tests, "code", &t->test_code, e));
    TRY(json_opt_str(tests, "setup", &t->setup, e));
    t->n_asserts = (int)json_array_size(list);
    if (!t->test_code.p) {
        struct sbuf b;
        sbuf_init(&b, 64 << 20);
        for (int i = 0; i < t->n_asserts; i++) {
            const char *s = json_string_value(json_array_get(list, (size_t)i));
            sbuf_adds(&b, s ? s : "");
            sbuf_addc(&b, '\n');
        }
        t->test_code = str_dup(mem, sbuf_str(&b));
        sbuf_release(&b);
    }
    return str_trim(t->test_code).n ? ERR_OK : err_set(e, ERR_DATA, "an assert task needs 'tests' with 'code' or 'asserts'");
}

/* Modules behind "-m unittest" in the task's command. */
static void suite_modules(const json_t *cmd, struct arena *mem, struct code_task *t)
{
    size_t n = json_array_size(cmd);
    int k = 0;
    t->modules = ARENA_NEW(mem, const char *, (int64_t)n + 1 + t->n_files);
    for (size_t i = 0; i < n; i++) {
        const char *s = json_string_value(json_array_get(cmd, i));
        if (s && s[0] != '-' && i > 0 && strcmp(s, "unittest"))
            t->modules[k++] = s;
    }
    for (int i = 0; k == 0 && i < t->n_files; i++) {
        struct str f = t->files[i].name;
        if (str_ends(f, STR(".py")) && (str_starts(f, STR("test")) || str_ends(f, STR("_test.py"))))
            t->modules[k++] = str_dup(mem, str_sub(f, 0, f.n - 3)).p;
    }
}

static err_code parse_suite(const json_t *tests, struct arena *mem, struct code_task *t, struct err *e)
{
    json_t *files = json_object_get(tests, "files"), *v;
    const char *name;
    int64_t expect = 0;
    if (!json_is_object(files) || json_object_size(files) == 0)
        return err_set(e, ERR_DATA, "a unittest task needs 'tests.files'");
    t->files = ARENA_NEW(mem, struct sandbox_file, (int64_t)json_object_size(files));
    json_object_foreach(files, name, v)
    {
        if (!json_is_string(v))
            return err_set(e, ERR_DATA, "'tests.files' must hold strings");
        t->files[t->n_files++] = (struct sandbox_file){.name = str_of(name), .bytes = {json_string_value(v), (int64_t)json_string_length(v)}};
    }
    TRY(json_opt_str(tests, "compile", &t->compile, e));
    TRY(json_opt_i64(t->from, "n_tests", &expect, e));
    t->expect_tests = (int)expect;
    suite_modules(json_object_get(tests, "cmd"), mem, t);
    return ERR_OK;
}

/* CPU time, so that a loaded machine changes no verdict; sleepers get three times that and two seconds. */
void code_task_time_limit(struct code_task *t, double seconds)
{
    t->limits.cpu_ms = (int64_t)(seconds * 1000);
    t->limits.wall_ms = 3 * t->limits.cpu_ms + 2000;
}

err_code code_task_parse(const json_t *o, const char *lang, struct arena *mem, struct code_task *t, struct err *e)
{
    struct str kind, language = str_of(lang ? lang : "python");
    double limit_s = 10;
    *t = (struct code_task){.limits = sandbox_limits_default(), .from = json_incref((json_t *)(uintptr_t)o)};
    const json_t *tests = json_object_get(o, "tests");
    TRY(json_need_str(o, "kind", &kind, e));
    TRY(json_opt_str(o, "lang", &language, e));
    TRY(json_opt_str(o, "prompt", &t->prompt, e));
    TRY(json_opt_str(o, "entry_point", &t->entry_point, e));
    TRY(json_opt_str(o, "solution_file", &t->solution_file, e));
    TRY(json_opt_str(o, "compile", &t->compile, e));
    TRY(json_opt_f64(o, "time_limit_s", &limit_s, e));
    if (!(limit_s > 0 && limit_s <= 3600))
        return err_set(e, ERR_DATA, "'time_limit_s' must be between 0 and 3600");
    code_task_time_limit(t, limit_s);
    t->limits.stack_bytes = 256 << 20;
    t->compile_limits = sandbox_limits_default();
    t->compile_limits.wall_ms = 60000;
    t->compile_limits.cpu_ms = 30000;
    const json_t *given = json_object_get(o, "limits");
    if (given)
        TRY(sandbox_limits_json(&t->limits, given, "", e));
    TRY(code_compare_parse(json_object_get(o, "compare"), &t->compare, e));
    if (str_eq(kind, STR("stdio"))) {
        t->kind = CODE_STDIO;
        if (!given)
            t->limits.mem_bytes = 4LL << 30; /* as the graders that such data come from: 4 GB or none */
        return parse_stdio(tests, mem, t, e);
    }
    if (str_eq(kind, STR("assert"))) {
        t->kind = CODE_ASSERT;
        return parse_assert(tests, mem, t, e);
    }
    if (!str_eq(kind, STR("unittest")))
        return err_set(e, ERR_DATA, "unknown task kind '%.*s'; known: stdio assert unittest", STR_ARG(kind));
    t->kind = CODE_UNITTEST;
    TRY(parse_suite(tests, mem, t, e));
    t->needs_weak = !str_eq(language, STR("python")) || code_suite_patches(t);
    return ERR_OK;
}

void code_task_release(struct code_task *t)
{
    json_decref(t->from);
    t->from = NULL;
}

const char **code_build_argv(struct arena *mem, struct str command, const char *compiler, const char *const *sources)
{
    const char **argv = ARENA_NEW(mem, const char *, 200);
    int n = 0, has_out = 0;
    struct str rest = str_trim(command), word;
    argv[n++] = compiler;
    if (strstr(compiler, "++"))
        argv[n++] = "@pch";
    while (str_split(&rest, ' ', &word) && n < 150) {
        if (word.n == 0 || str_eq(word, STR("gcc")) || str_eq(word, STR("g++")) || str_eq(word, STR("cc")) || str_eq(word, STR("c++")))
            continue;
        if (str_eq(word, STR("*.c")) || str_eq(word, STR("*.cpp"))) {
            for (int i = 0; sources && sources[i] && n < 150; i++)
                argv[n++] = sources[i];
        } else if (str_eq(word, STR("-o"))) {
            argv[n++] = "-o";
            argv[n++] = "prog";
            has_out = 1;
            str_split(&rest, ' ', &word);
        } else {
            argv[n++] = str_dup(mem, word).p;
        }
    }
    if (!has_out) {
        argv[n++] = "-o";
        argv[n++] = "prog";
    }
    argv[n] = NULL;
    return argv;
}

/* ---- notes */

/* The compiler's first error, which says more than its exit code. */
static void add_compiler_error(struct code_case *c, char *why, int64_t n)
{
    struct str text = sbuf_str(&c->r.err), line;
    int64_t at = (int64_t)strlen(why);
    while (text.n && str_split(&text, '\n', &line))
        if (str_find(line, STR("error:"), 0) >= 0 || str_find(line, STR("undefined reference"), 0) >= 0) {
            snprintf(why + at, (size_t)(n - at), ": %.*s", (int)(line.n < 160 ? line.n : 160), line.p);
            return;
        }
}

int code_note(struct code_case *c, enum sandbox_verdict v, const char *why)
{
    struct code_verdict *out = c->v;
    if (out->ran < c->each_cap)
        c->each[out->ran] = (unsigned char)v;
    out->ran++;
    out->passed += v == SANDBOX_AC;
    if (v == SANDBOX_AC)
        return 0;
    if (!out->first_failed || v == SANDBOX_IE) {
        out->first_failed = out->first_failed ? out->first_failed : out->ran;
        out->verdict = v;
        snprintf(out->why, sizeof out->why, "%.290s", why);
        if (strstr(why, "compiler exit"))
            add_compiler_error(c, out->why, sizeof out->why);
    }
    return c->o->stop || v == SANDBOX_IE || v == SANDBOX_CE;
}

void code_note_run(struct code_case *c)
{
    enum { SHOWN = 64 << 10 };
    c->v->wall_ms += c->r.wall_ms;
    c->v->cpu_ms += c->r.cpu_ms;
    c->v->retries += c->r.retries;
    if (c->r.mem_peak > c->v->mem_peak)
        c->v->mem_peak = c->r.mem_peak;
    c->v->out = str_dup(c->mem, str_sub(sbuf_str(&c->r.out), 0, SHOWN));
    c->v->err = str_dup(c->mem, str_sub(sbuf_str(&c->r.err), 0, SHOWN));
}

void code_fail_all(struct code_case *c, enum sandbox_verdict v, const char *why)
{
    c->v->verdict = v;
    c->v->first_failed = 1;
    snprintf(c->v->why, sizeof c->v->why, "%.290s", why);
}

/* ---- stdio */

static enum sandbox_verdict run_checker(struct code_case *c, const struct code_test *test, struct str got, char *why, int64_t why_n)
{
    struct sandbox_result r = {0};
    struct sandbox_file f[] = {{.name = STR("input.txt"), .bytes = test->in}, {.name = STR("expected.txt"), .bytes = test->out}, {.name = STR("output.txt"), .bytes = got}};
    struct sandbox_job job = {.language = "python", .code = c->t->compare.checker, .files = f, .n_files = 3, .limits = sandbox_limits_default()};
    sandbox_run(c->w, &job, &r);
    /* the checker is ours: whatever else it does is no judgement of the program, and Python's own exit 1 is no "wrong" */
    int crashed = str_find(sbuf_str(&r.err), STR("Traceback (most recent call last)"), 0) >= 0;
    enum sandbox_verdict v = r.verdict == SANDBOX_AC ? SANDBOX_AC : r.verdict == SANDBOX_RE && r.exit_code == 1 && !crashed ? SANDBOX_WA : SANDBOX_IE;
    if (v == SANDBOX_IE)
        snprintf(why, (size_t)why_n, "the checker failed: %s %.80s", sandbox_verdict_name(r.verdict), r.sub);
    else if (v == SANDBOX_WA)
        snprintf(why, (size_t)why_n, "the checker says no");
    sandbox_result_release(&r);
    return v;
}

void code_judge_stdio(struct code_case *c)
{
    const struct code_task *t = c->t;
    const struct code_program *p = c->p;
    char why[300];
    c->v->total = t->n_tests;
    for (int i = 0; i < t->n_tests; i++) {
        const struct code_test *test = &t->tests[i];
        struct sandbox_job job = {.language = p->language, .code = p->code, .files = p->files, .n_files = p->n_files, .input = test->in,
                                  .limits = t->limits, .compile = t->compile_limits};
        if (t->compile.n && sandbox_language_compiled(p->language)) {
            const char *src[] = {sandbox_language_main(p->language), NULL};
            job.build = code_build_argv(c->mem, str_printf(c->mem, "%.*s *.c", STR_ARG(t->compile)),
                                        strcmp(p->language, "c") ? "/usr/bin/g++" : "/usr/bin/gcc", src);
        }
        sandbox_run(c->w, &job, &c->r);
        code_note_run(c);
        enum sandbox_verdict v = c->r.verdict;
        snprintf(why, sizeof why, "test %d: %.200s", i + 1, c->r.sub);
        if (v == SANDBOX_AC && t->compare.mode == CODE_COMPARE_checker) {
            v = run_checker(c, test, sbuf_str(&c->r.out), why, sizeof why);
        } else if (v == SANDBOX_AC && !code_compare(&t->compare, test->out, sbuf_str(&c->r.out))) {
            v = SANDBOX_WA;
            snprintf(why, sizeof why, "test %d: the output differs", i + 1);
        }
        if (code_note(c, v, why))
            return;
    }
}

/* ---- all kinds */

static void dispatch(struct code_case *c)
{
    const struct code_task *t = c->t;
    int python = !strcmp(c->p->language, "python");
    if (!sandbox_language_main(c->p->language))
        code_fail_all(c, SANDBOX_CE, "unknown language");
    else if (t->needs_weak && !c->o->allow_weak)
        code_fail_all(c, SANDBOX_IE, "the tests of this task can only run in the program's own process, which is not allowed (weak)");
    else if (t->kind == CODE_STDIO)
        code_judge_stdio(c);
    else if (python && t->needs_weak)
        code_judge_suite(c);
    else if (python)
        code_judge_calls(c);
    else if (t->kind == CODE_ASSERT && !strcmp(c->p->language, "cpp"))
        code_judge_cpp(c);
    else if (t->kind == CODE_UNITTEST && !strcmp(c->p->language, "c"))
        code_judge_unity(c);
    else
        code_fail_all(c, SANDBOX_IE, "tests of this kind cannot be run for this language");
}

void code_judge(struct sandbox_worker *w, const struct code_task *t, const struct code_program *p, const struct code_opts *o,
                struct arena *mem, struct code_verdict *v)
{
    enum { EACH_MAX = 10000 };
    struct code_case c = {.w = w, .t = t, .p = p, .o = o, .mem = mem, .v = v, .each_cap = EACH_MAX};
    *v = (struct code_verdict){.verdict = SANDBOX_AC};
    c.each = ARENA_NEW(mem, unsigned char, EACH_MAX);
    dispatch(&c);
    v->each = c.each;
    if (v->ran > EACH_MAX)
        v->ran = EACH_MAX;
    /* nothing passes by not having been tested */
    if (v->verdict == SANDBOX_AC && (v->total == 0 || v->passed < v->total)) {
        v->verdict = SANDBOX_WA;
        snprintf(v->why, sizeof v->why, "%d of %d tests passed", v->passed, v->total);
    }
    if (v->verdict == SANDBOX_AC && t->n_left_out)
        snprintf(v->why, sizeof v->why, "%d tests without an expected output were left out", t->n_left_out);
    sandbox_result_release(&c.r);
}

double code_score(const struct code_verdict *v, int share)
{
    if (v->verdict == SANDBOX_IE)
        return (double)NAN;
    if (v->verdict == SANDBOX_AC)
        return 1;
    return share && v->total > 0 ? (double)v->passed / v->total : 0;
}

/* ---- a batch */

struct batch_item {
    struct sandbox_task task;
    const struct code_request *q;
    const struct code_opts *o;
    struct code_verdict *v;
    struct arena mem;
};

static void batch_work(struct sandbox_worker *w, void *ctx)
{
    struct batch_item *it = ctx;
    code_judge(w, it->q->task, &it->q->program, it->o, &it->mem, it->v);
}

void code_judge_all(struct sandbox *s, const struct code_request *q, int64_t n, const struct code_opts *o, double deadline_s, struct arena *mem,
                    struct code_verdict *out)
{
    struct batch_item *items = calloc((size_t)(n > 0 ? n : 1), sizeof *items);
    double deadline = deadline_s > 0 ? clock_now() + deadline_s : 0;
    if (!items)
        BUG("out of memory");
    for (int64_t i = 0; i < n; i++) {
        struct batch_item *it = &items[i];
        *it = (struct batch_item){.q = &q[i], .o = o, .v = &out[i], .task = {.fn = batch_work, .ctx = it, .deadline = deadline}};
        arena_init(&it->mem, "code verdict", 64 << 20);
        sandbox_submit(s, &it->task);
    }
    for (int64_t i = 0; i < n; i++) {
        sandbox_wait(s, &items[i].task);
        /* what lives in the item's arena moves to the caller's */
        unsigned char *each = ARENA_NEW(mem, unsigned char, out[i].ran + 1);
        memcpy(each, out[i].each, (size_t)out[i].ran);
        out[i].each = each;
        out[i].out = str_dup(mem, out[i].out);
        out[i].err = str_dup(mem, out[i].err);
        arena_release(&items[i].mem);
    }
    free(items);
}
