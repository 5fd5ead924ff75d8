/* hone verify: is an answer right? One question a line on stdin, one verdict a line on stdout. */
#include <stddef.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/pool.h"
#include "rewards/rewards.h"

struct math_flags {
    int explain;
    const char *rules;
#define X(name, def, meaning) int name;
    MATH_POLICY_LIST(X)
#undef X
};

#define STRING_(x) #x
#define STRING(x) STRING_(x)
static const struct opt_def math_defs[] = {
    {"", "explain", OPT_BOOL, offsetof(struct math_flags, explain), "false", 0, 0, NULL, "show the operations counted as well"},
    {"", "rules", OPT_STR, offsetof(struct math_flags, rules), "", 0, 0, NULL, "responses: which rules find the answer, in order, as phrase>box>last; empty: box>tag>hashes>phrase>whole>last"},
#define X(name, def, meaning) {"", #name, OPT_BOOL, offsetof(struct math_flags, name), def ? "true" : "false", 0, 0, NULL, "policy (" STRING(def) "): " meaning},
    MATH_POLICY_LIST(X)
#undef X
};

struct math_ctx {
    struct math_checker *m;
    struct math_opts o;
    int explain;
};

static err_code form_of(const json_t *q, const char *key, enum math_form def, enum math_form *out, struct err *e)
{
    struct str s = {NULL, 0};
    *out = def;
    TRY(json_opt_str(q, key, &s, e));
    if (!s.p)
        return ERR_OK;
    if (str_eq(s, STR("answer")))
        *out = MATH_ANSWER;
    else if (str_eq(s, STR("response")))
        *out = MATH_RESPONSE;
    else
        return err_set(e, ERR_DATA, "\"%s\" must be \"answer\" or \"response\"", key);
    return ERR_OK;
}

static void put(struct sbuf *b, const char *key, struct str s)
{
    sbuf_addf(b, ",\"%s\":", key);
    json_put_str(b, s);
}

static err_code answer_math(void *ctx, const json_t *q, struct sbuf *out, struct err *e)
{
    struct math_ctx *c = ctx;
    struct math_question question = {.explain = 1};
    struct math_result r;
    TRY(json_need_str(q, "gold", &question.gold, e));
    TRY(json_need_str(q, "pred", &question.pred, e));
    TRY(form_of(q, "form", MATH_ANSWER, &question.pred_form, e));
    TRY(form_of(q, "gold_form", MATH_ANSWER, &question.gold_form, e));
    math_check(c->m, &question, &c->o, &r);
    json_answer_begin(out, q);
    sbuf_addf(out, "\"outcome\":\"%s\"", math_outcome_name(r.outcome));
    put(out, "gold_parsed", r.gold_parsed);
    put(out, "pred_parsed", r.pred_parsed);
    put(out, "extracted", str_sub(r.extracted, 0, 4096));
    put(out, "rule", str_of(r.rule));
    put(out, "why", str_of(r.why));
    if (c->explain)
        sbuf_addf(out, ",\"work\":%lld", (long long)r.work);
    sbuf_adds(out, "}\n");
    return ERR_OK;
}

static int run_math(int argc, char **argv)
{
    struct arena mem;
    struct math_flags v;
    int words, done;
    struct cmd_flags f = {
        .usage = "verify math < questions > verdicts",
        .about = "Reads {\"id\",\"gold\",\"pred\",\"form\":\"answer\"|\"response\",\"gold_form\"} lines and answers\n"
                 "{\"id\",\"outcome\",\"gold_parsed\",\"pred_parsed\",\"extracted\",\"rule\",\"why\"}. docs/math-verifier.md says what is accepted.",
        .defs = math_defs, .n = (int)(sizeof math_defs / sizeof *math_defs)};
    arena_init(&mem, "flags", 1 << 20);
    int code = cmd_parse(&f, &v, &mem, argc, argv, &words, &done);
    if (!done) {
        struct math_ctx c = {.m = math_open(), .explain = v.explain};
#define X(name, def, meaning) c.o.name = v.name != 0;
        MATH_POLICY_LIST(X)
#undef X
        struct err e = {0};
        code = math_opts_rules(&c.o, str_of(v.rules), &e) == ERR_OK ? cmd_plumb(answer_math, &c) : cmd_fail(&e);
        math_close(c.m);
    }
    arena_release(&mem);
    return code;
}

int cmd_verify(int argc, char **argv)
{
    static const struct cmd_verb verbs[] = {
        {"code", "programs against the tests of their tasks", cmd_verify_code},
        {"math", "mathematical answers against a gold answer", run_math},
        {"repo", "patches against the tests of their repositories", cmd_verify_repo},
    };
    return cmd_dispatch("verify", verbs, (int)(sizeof verbs / sizeof *verbs), argc, argv);
}
