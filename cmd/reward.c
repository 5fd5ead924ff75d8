/* hone reward: what responses earn, JSON lines in and out. */
#include <math.h>
#include <stdio.h>

#include "cmd/cmd.h"
#include "core/par.h"
#include "rewards/rewards.h"

struct none {
    int unused;
};

static err_code read_request(const json_t *q, struct reward_request *r, struct err *e)
{
    struct str stop = STR("");
    TRY(json_need_str(q, "response", &r->response, e));
    TRY(json_opt_str(q, "prompt", &r->prompt, e));
    TRY(json_opt_str(q, "gold", &r->gold, e));
    TRY(json_opt_i64(q, "tokens", &r->tokens, e));
    TRY(json_opt_str(q, "stop", &stop, e));
    r->stop = stop.p;
    r->item = json_object_get(q, "item");
    return ERR_OK;
}

static void put_number(struct sbuf *b, double x)
{
    if (isnan(x))
        sbuf_adds(b, "null");
    else
        sbuf_addf(b, "%.17g", x);
}

static err_code answer(void *ctx, const json_t *question, struct sbuf *out, struct err *e)
{
    struct rewards *r = ctx;
    struct reward_request q = {0};
    struct reward_result res;
    struct reward_stats st;
    struct arena mem;
    TRY(read_request(question, &q, e));
    arena_init(&mem, "reward", 64 << 20);
    reward_score(r, &q, 1, &mem, &res, &st);
    json_answer_begin(out, question);
    sbuf_adds(out, "\"total\":");
    put_number(out, res.total);
    sbuf_adds(out, ",\"rewards\":[");
    for (int k = 0; k < reward_count(r); k++) {
        const struct reward_verdict *v = &res.each[k];
        sbuf_addf(out, "%s{\"name\":\"%s\",\"outcome\":\"%s\",\"score\":", k ? "," : "", reward_name(r, k), reward_outcome_name(v->outcome));
        put_number(out, v->score);
        sbuf_adds(out, ",\"why\":");
        json_put_str(out, str_of(v->why));
        if (v->answer.n) {
            sbuf_adds(out, ",\"answer\":");
            json_put_str(out, v->answer);
        }
        sbuf_addc(out, '}');
    }
    sbuf_adds(out, "]}\n");
    arena_release(&mem);
    return ERR_OK;
}

int cmd_reward(int argc, char **argv)
{
    struct none values;
    struct arena mem;
    struct cfg c;
    struct rewards *r;
    struct err e = {0};
    int words = 0, done;
    const struct cmd_flags f = {
        .usage = "reward [CONFIG.lua] [reward.list=format:1,... reward.key=value ...] < rows.jsonl > verdicts.jsonl",
        .about = "Scores responses: {\"id\",\"response\",\"gold\"?,\"prompt\"?,\"tokens\"?,\"stop\"?,\"item\"?} in,\n"
                 "{\"id\",\"total\",\"rewards\":[{\"name\",\"outcome\",\"score\",\"why\",\"answer\"?}]} out. total null: the sample would be left out.\n"
                 "`hone help rewards` lists rewards and outcomes.",
        .words_max = 256};
    arena_init(&mem, "config", 64 << 20);
    int code = cmd_parse(&f, &values, &mem, argc, argv, &words, &done);
    if (!done) {
        int file = words > 0 && !strchr(argv[0], '=');
        err_code rc = cfg_load(file ? argv[0] : NULL, argv + file, words - file, &c, &mem, &e);
        if (rc == ERR_OK)
            rc = reward_open(&c, &r, &e);
        if (rc == ERR_OK) {
            par_init((int)c.threads);
            code = cmd_plumb(answer, r);
            reward_close(r);
        } else {
            code = cmd_fail(&e);
        }
    }
    arena_release(&mem);
    return code;
}
