/* math: the verifier of rewards/math.h. One checker per thread, made when the thread first needs it. */
#include <stdlib.h>

#include "core/par.h"
#include "rewards/kind.h"
#include "rewards/math.h"

struct math_reward {
    enum math_form gold_form;
    struct math_opts opts;
    struct math_checker *checker[PAR_MAX];
};

static void math_close_reward(void *self)
{
    struct math_reward *m = self;
    for (int w = 0; w < PAR_MAX; w++)
        if (m->checker[w])
            math_close(m->checker[w]);
    free(m);
}

static err_code math_open_reward(const struct cfg *c, void **self, struct err *e)
{
    struct math_reward *m = calloc(1, sizeof *m);
    if (!m)
        return err_set(e, ERR_LIMIT, "no memory for the math reward");
    m->gold_form = cfg_index(c, "reward.gold_form") ? MATH_RESPONSE : MATH_ANSWER;
    m->opts = MATH_OPTS_DEFAULT;
    m->opts.strict_box = c->reward.strict_box != 0;
    if (math_opts_set(&m->opts, str_of(c->reward.math_policy), e) != ERR_OK) {
        free(m);
        return err_ctx(e, "reward.math_policy");
    }
    *self = m;
    return ERR_OK;
}

static void math_score(void *self, int worker, const struct reward_request *q, struct arena *mem, struct reward_verdict *v)
{
    static const enum reward_outcome outcome[] = {
        [MATH_RIGHT] = REWARD_RIGHT, [MATH_WRONG] = REWARD_WRONG, [MATH_UNPARSABLE] = REWARD_UNPARSABLE,
        [MATH_GOLD_UNPARSABLE] = REWARD_GOLD_UNPARSABLE, [MATH_TIMEOUT] = REWARD_TIMEOUT};
    struct math_reward *m = self;
    struct math_question ask = {.gold = q->gold, .pred = q->response, .gold_form = m->gold_form, .pred_form = MATH_RESPONSE};
    struct math_result r;
    if (!m->checker[worker] && !(m->checker[worker] = math_open())) {
        reward_say(v, mem, REWARD_CRASHED, 0, "no memory for a checker");
        return;
    }
    math_check(m->checker[worker], &ask, &m->opts, &r);
    reward_say(v, mem, outcome[r.outcome], r.outcome == MATH_RIGHT, "%s", r.why ? r.why : "");
    if (r.extracted.n)
        v->answer = str_dup(mem, r.extracted);
}

const struct reward_kind reward_kind_math = {.name = "math", .open = math_open_reward, .close = math_close_reward, .score = math_score};
