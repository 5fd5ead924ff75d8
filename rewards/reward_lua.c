/* lua: reward(row) of a user's file -> score[, outcome[, why]].
 * Every call has a state of its own: a global or an upvalue that counts would make a score depend on the order in which threads
 * take samples. A state costs some 50 us and the file's top level. The file may ask the math verifier: math_verify(question). */
#include <math.h>
#include <stdlib.h>

#include "core/par.h"
#include "rewards/kind.h"
#include "rewards/math.h"

struct lua_reward {
    struct script_file file;
    struct math_checker *checker[PAR_MAX + 1]; /* one per thread, made when first needed; the last one: of opening */
};

static void lua_close_reward(void *self)
{
    struct lua_reward *l = self;
    script_file_close(&l->file);
    for (int w = 0; w <= PAR_MAX; w++)
        math_close(l->checker[w]);
    free(l);
}

static err_code form_of(const json_t *q, const char *key, enum math_form *form, struct err *e)
{
    struct str s = {NULL, 0};
    TRY(json_opt_str(q, key, &s, e));
    if (s.p && !str_eq(s, STR("answer")) && !str_eq(s, STR("response")))
        return err_set(e, ERR_DATA, "%s must be \"answer\" or \"response\"", key);
    if (s.p)
        *form = str_eq(s, STR("answer")) ? MATH_ANSWER : MATH_RESPONSE;
    return ERR_OK;
}

/* math_verify{gold =, pred =, form =, gold_form =, policy =} -> {outcome =, why =, extracted =, rule =, gold_parsed =, pred_parsed =} */
static err_code math_verify(void *ctx, const json_t *args, json_t **out, int64_t *work, struct err *e)
{
    struct math_checker **m = ctx;
    struct math_question ask = {.pred_form = MATH_RESPONSE, .explain = 1};
    struct math_opts o = MATH_OPTS_DEFAULT;
    struct math_result r;
    struct str policy = {NULL, 0};
    const json_t *q = json_array_get(args, 0);
    err_code rc = json_is_object(q) && json_array_size(args) == 1 ? ERR_OK : err_set(e, ERR_DATA, "one table is wanted");
    rc = rc != ERR_OK ? rc : json_need_str(q, "gold", &ask.gold, e);
    rc = rc != ERR_OK ? rc : json_need_str(q, "pred", &ask.pred, e);
    rc = rc != ERR_OK ? rc : form_of(q, "form", &ask.pred_form, e);
    rc = rc != ERR_OK ? rc : form_of(q, "gold_form", &ask.gold_form, e);
    rc = rc != ERR_OK ? rc : json_opt_str(q, "policy", &policy, e);
    rc = rc != ERR_OK ? rc : math_opts_set(&o, policy, e);
    if (rc != ERR_OK)
        return err_ctx(e, "math_verify");
    if (!*m)
        *m = math_open();
    math_check(*m, &ask, &o, &r);
    *work = r.work + 100;
    struct sbuf b;
    const struct {
        const char *key;
        struct str value;
    } fields[] = {{"outcome", str_of(math_outcome_name(r.outcome))}, {"why", str_of(r.why)}, {"rule", str_of(r.rule)}, {"extracted", r.extracted}, {"gold_parsed", r.gold_parsed}, {"pred_parsed", r.pred_parsed}};
    sbuf_init(&b, 16 << 20);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        sbuf_addf(&b, "%s\"%s\":", i ? "," : "{", fields[i].key);
        json_put_str(&b, fields[i].value);
    }
    sbuf_addc(&b, '}');
    rc = b.full ? err_set(e, ERR_LIMIT, "math_verify: the answer is too long") : json_parse(sbuf_str(&b), out, e);
    sbuf_release(&b);
    return rc;
}

static struct script_host host_of(struct lua_reward *l, int worker)
{
    return (struct script_host){"math_verify", math_verify, &l->checker[worker]};
}

static err_code lua_open_reward(const struct cfg *c, void **self, struct err *e)
{
    struct script_limits limits = {c->reward.lua_memory_mb << 20, c->reward.lua_instructions, c->reward.lua_wall_s};
    if (!c->reward.lua[0])
        return err_set(e, ERR_USAGE, "reward.list has lua: reward.lua must name the file");
    struct lua_reward *l = calloc(1, sizeof *l);
    if (!l)
        return err_set(e, ERR_LIMIT, "no memory for the lua reward");
    struct script_host host = host_of(l, PAR_MAX);
    err_code rc = script_file_open(&l->file, c->reward.lua, "reward(row)", &limits, &host, e);
    if (rc != ERR_OK) {
        lua_close_reward(l);
        return rc;
    }
    *self = l;
    return ERR_OK;
}

/* [row] as JSON: text that is not UTF-8 gets U+FFFD, as everywhere a response is written. */
static json_t *row_of(const struct reward_request *q)
{
    struct sbuf b;
    json_t *v = NULL;
    sbuf_init(&b, 1 << 28);
    sbuf_adds(&b, "[{\"prompt\":");
    json_put_str(&b, q->prompt);
    sbuf_adds(&b, ",\"gold\":");
    json_put_str(&b, q->gold);
    sbuf_adds(&b, ",\"response\":");
    json_put_str(&b, q->response);
    sbuf_addf(&b, ",\"tokens\":%lld,\"stop\":", (long long)q->tokens);
    json_put_str(&b, str_of(q->stop));
    if (q->item) {
        sbuf_adds(&b, ",\"item\":");
        json_put_value(&b, q->item);
    }
    sbuf_adds(&b, "}]");
    if (!b.full)
        json_parse(sbuf_str(&b), &v, NULL);
    sbuf_release(&b);
    return v;
}

/* The results of reward(): what is not a score, an outcome and a reason is the author's mistake, so nobody's low score. */
static void take(const json_t *out, const char *path, struct arena *mem, struct reward_verdict *v)
{
    const json_t *score = json_array_get(out, 0), *name = json_array_get(out, 1), *why = json_array_get(out, 2);
    double x = json_is_number(score) ? json_number_value(score) : NAN;
    enum reward_outcome o = x == 1 ? REWARD_RIGHT : x == 0 ? REWARD_WRONG : REWARD_SCORED;
    if (json_is_string(name))
        o = reward_outcome_find(str_of(json_string_value(name)));
    if (name && !json_is_null(name) && (!json_is_string(name) || o == REWARD_N_OUTCOMES))
        reward_say(v, mem, REWARD_CRASHED, 0, "%s: reward() returned an outcome that is not in the list of `hone help rewards`", path);
    else if (!json_is_number(score) && reward_outcome_scored(o))
        reward_say(v, mem, REWARD_CRASHED, 0, "%s: reward() returned no number as the score", path);
    else
        reward_say(v, mem, o, x, "%s", json_is_string(why) ? json_string_value(why) : "");
}

static void lua_score(void *self, int worker, const struct reward_request *q, struct arena *mem, struct reward_verdict *v)
{
    struct lua_reward *l = self;
    struct script *s = NULL;
    struct err e = {0};
    json_t *args = row_of(q), *out = NULL;
    struct script_host host = host_of(l, worker);
    err_code rc = args ? script_file_load(&l->file, &host, &s, &e) : err_set(&e, ERR_DATA, "the row is too large");
    if (rc == ERR_OK)
        rc = script_call(s, "reward", args, &out, &e);
    int time = rc == ERR_LIMIT && s && script_ended(s) != SCRIPT_MEMORY;
    script_close(s);
    json_decref(args);
    if (rc == ERR_OK)
        take(out, l->file.path, mem, v);
    else
        reward_say(v, mem, time ? REWARD_TIMEOUT : REWARD_CRASHED, 0, "%s", e.msg);
    json_decref(out);
}

const struct reward_kind reward_kind_lua = {.name = "lua", .open = lua_open_reward, .close = lua_close_reward, .score = lua_score};
