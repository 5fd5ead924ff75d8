/* Python tests as calls: the request to the trusted side, and its answer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rewards/code_private.h"

__asm__(".pushsection .rodata\n"
        "code_calls_py:\n.incbin \"rewards/inside/calls.py\"\n.byte 0\n"
        "code_grader_py:\n.incbin \"rewards/inside/grader.py\"\n.byte 0\n"
        ".popsection\n");
extern const char code_calls_py[], code_grader_py[];

struct sandbox_opts code_sandbox_opts(int workers)
{
    static struct sandbox_module modules[2];
    modules[0] = (struct sandbox_module){"calls", str_of(code_calls_py), 0};
    modules[1] = (struct sandbox_module){"grader", str_of(code_grader_py), 1};
    return (struct sandbox_opts){.workers = workers, .modules = modules, .n_modules = 2};
}

static void put_key(struct sbuf *b, const char *key, struct str v)
{
    sbuf_addf(b, ",\"%s\":", key);
    json_put_str(b, v);
}

static void put_request(struct sbuf *b, const struct code_case *c)
{
    const struct code_task *t = c->t;
    sbuf_addf(b, "{\"kind\":\"%s\",\"stop\":%s", t->kind == CODE_ASSERT ? "assert" : "unittest", c->o->stop ? "true" : "false");
    if (t->kind == CODE_ASSERT) {
        put_key(b, "code", t->test_code);
        if (t->entry_point.n)
            put_key(b, "entry_point", t->entry_point);
    } else {
        struct str stem = t->solution_file.n ? t->solution_file : STR("solution.py");
        put_key(b, "module", str_ends(stem, STR(".py")) ? str_sub(stem, 0, stem.n - 3) : stem);
        sbuf_adds(b, ",\"files\":{\"\":\"\"");
        for (int i = 0; i < t->n_files; i++) {
            sbuf_addc(b, ',');
            json_put_str(b, t->files[i].name);
            sbuf_addc(b, ':');
            json_put_str(b, t->files[i].bytes);
        }
        sbuf_adds(b, "},\"tests\":[");
        for (int i = 0; t->modules[i]; i++) {
            sbuf_adds(b, i ? "," : "");
            json_put_str(b, str_of(t->modules[i]));
        }
        sbuf_addc(b, ']');
    }
    sbuf_addc(b, '}');
}

/* Verdict of a failed check from the reason the trusted side gives. */
static enum sandbox_verdict of_reason(const char *why)
{
    if (!strncmp(why, "program raised MemoryError", 26))
        return SANDBOX_MLE;
    return !strncmp(why, "program raised ", 15) ? SANDBOX_RE : SANDBOX_WA;
}

/* The program ended in the middle: how? */
static void note_gone(struct code_case *c, const char *why)
{
    char text[300], how[40];
    if (c->r.signal)
        snprintf(how, sizeof how, "signal %d", c->r.signal);
    else
        snprintf(how, sizeof how, "exit %d", c->r.exit_code);
    snprintf(text, sizeof text, "%.200s (%s)", why, how);
    code_note(c, strstr(why, "MemoryError") ? SANDBOX_MLE : SANDBOX_RE, text);
}

static void read_answer(struct code_case *c, const json_t *a)
{
    const json_t *checks = json_object_get(a, "checks");
    const char *error = json_string_value(json_object_get(a, "error")), *why = json_string_value(json_object_get(a, "why"));
    int64_t total = json_integer_value(json_object_get(a, "total"));
    int gone = json_is_true(json_object_get(a, "gone")), ended = json_is_true(json_object_get(a, "ended"));
    c->v->total = (int)(total > 0 ? total : 0);
    c->v->weak |= json_integer_value(json_object_get(a, "trusted")) > 0;
    if (error) {
        code_note(c, SANDBOX_IE, error);
        return;
    }
    for (size_t i = 0; i < json_array_size(checks); i++) {
        const json_t *x = json_array_get(checks, i);
        const char *reason = json_string_value(json_array_get(x, 1));
        char text[300];
        snprintf(text, sizeof text, "check %d: %.250s", (int)i + 1, reason ? reason : "");
        code_note(c, json_is_true(json_array_get(x, 0)) ? SANDBOX_AC : of_reason(reason ? reason : ""), text);
    }
    if (gone)
        note_gone(c, why ? why : "the program ended before its tests did");
    if (c->v->verdict == SANDBOX_AC && !ended)
        code_note(c, SANDBOX_WA, "the tests did not run to their end");
    if (c->v->total < c->v->ran)
        c->v->total = c->v->ran;
    if (c->t->expect_tests && c->v->verdict == SANDBOX_AC && c->v->passed != c->t->expect_tests) {
        c->v->total = c->t->expect_tests;
        code_note(c, SANDBOX_WA, "another number of tests ran than the task has");
    }
}

/* The program may be a call ahead of its tests: after the first failed check, where that is the end, nothing that it did counts. */
static int decided(const struct code_case *c, const json_t *a)
{
    const json_t *checks = json_object_get(a, "checks");
    size_t n = json_array_size(checks);
    return c->o->stop && n > 0 && json_is_false(json_array_get(json_array_get(checks, n - 1), 0)) && !json_is_true(json_object_get(a, "gone"));
}

void code_judge_calls(struct code_case *c)
{
    struct sbuf request;
    struct err e = {0};
    json_t *a = NULL;
    struct sandbox_partner partner = {.callee = "calls"};
    sbuf_init(&request, 256 << 20);
    put_request(&request, c);
    partner.request = sbuf_str(&request);
    struct sandbox_job job = {.language = "python", .code = c->p->code, .files = c->p->files, .n_files = c->p->n_files, .limits = c->t->limits,
                              .partner = &partner};
    sandbox_run(c->w, &job, &c->r);
    code_note_run(c);
    c->v->total = c->t->n_asserts > 0 ? c->t->n_asserts : 1;
    int answered = c->r.partner.n > 0 && json_parse(sbuf_str(&c->r.partner), &a, &e) == ERR_OK;
    if (c->r.verdict != SANDBOX_AC && !(answered && c->r.verdict != SANDBOX_IE && decided(c, a)))
        code_note(c, c->r.verdict, c->r.sub);
    else if (!answered)
        code_note(c, SANDBOX_IE, "the trusted side answered nonsense");
    else
        read_answer(c, a);
    json_decref(a);
    sbuf_release(&request);
}
