/* A round of samples: prompts, rollouts, rewards, advantages; flat groups replaced when dynamic sampling is on. */
#include <math.h>
#include <string.h>

#include "core/log.h"
#include "grpo/job.h"

struct rollout_sampling grpo_sampling(const struct grpo *g, int eval)
{
    const struct cfg *c = g->c;
    struct rollout_sampling s = {
        .temperature = c->rollout.temperature, .top_k = c->rollout.top_k, .top_p = c->rollout.top_p, .min_p = c->rollout.min_p,
        .max_tokens = c->rollout.max_tokens, .stop = g->stops, .n_stop = g->n_stops, .seed = (uint64_t)c->seed,
    };
    if (eval) {
        s.temperature = c->eval.temperature, s.top_k = c->eval.top_k, s.top_p = c->eval.top_p, s.min_p = 0;
        s.max_tokens = c->eval.max_tokens ? c->eval.max_tokens : c->rollout.max_tokens;
    }
    return s;
}

/* The next n problems of the walk that fit; the walk's place is their key, so a problem that comes again gets other samples. */
static err_code next_problems(struct grpo *g, int64_t n, struct grpo_round *r, struct arena *mem, struct grpo_problem *out, struct err *e)
{
    for (int64_t i = 0, tried = 0; i < n; tried++) {
        if (tried > 100 * n + g->problems.items.n)
            return err_set(e, ERR_DATA, "grpo: every prompt is longer than rollout.max_prompt %lld", (long long)g->c->rollout.max_prompt);
        TRY(grpo_problem_get(&g->problems, g->next, mem, &out[i], e));
        out[i].key = (uint64_t)g->next++;
        if (out[i].n)
            i++;
        else
            grpo_problem_release(&out[i]), r->too_long++;
    }
    return ERR_OK;
}

static err_code sample_groups(struct grpo *g, const struct grpo_problem *p, int64_t n, struct grpo_round *r, struct arena *mem,
                              const struct rollout_sample **out, struct err *e)
{
    struct rollout_prompt *ask = ARENA_NEW(mem, struct rollout_prompt, n + 1);
    struct rollout_sampling s = grpo_sampling(g, 0);
    struct rollout_stats st;
    for (int64_t i = 0; i < n; i++)
        ask[i] = (struct rollout_prompt){.key = p[i].key, .ids = p[i].ids, .n = p[i].n, .samples = g->c->grpo.group};
    TRY(rollout_run(g->r, ask, n, &s, NULL, mem, out, &st, e));
    r->sampled.tokens += st.tokens, r->sampled.samples += st.samples, r->sampled.prompts += st.prompts, r->sampled.passes += st.passes;
    r->sampled.prompt_tokens += st.prompt_tokens, r->sampled.seconds += st.seconds;
    r->sampled.drafted += st.drafted, r->sampled.accepted += st.accepted;
    r->sampled.plain_tokens += st.plain_tokens, r->sampled.ahead_tokens += st.ahead_tokens;
    r->sampled.plain_seconds += st.plain_seconds, r->sampled.ahead_seconds += st.ahead_seconds;
    return ERR_OK;
}

void grpo_score(struct grpo *g, const struct grpo_problem *p, const struct rollout_sample *s, int64_t n, struct arena *mem, struct grpo_result *result)
{
    const struct cfg *c = g->c;
    struct reward_request *q = ARENA_NEW(mem, struct reward_request, n + 1);
    struct reward_result *out = ARENA_NEW(mem, struct reward_result, n + 1);
    struct reward_stats st;
    for (int64_t i = 0; i < n; i++) {
        const struct grpo_problem *x = &p[s[i].prompt];
        q[i] = (struct reward_request){.prompt = x->prompt, .gold = x->gold, .response = s[i].text, .tokens = s[i].n,
                                       .stop = rollout_stop_name(s[i].stop), .item = x->row};
    }
    reward_score(g->rewards, q, n, mem, out, &st);
    for (int64_t i = 0; i < n; i++) {
        int cut = s[i].stop == ROLLOUT_length || s[i].stop == ROLLOUT_context;
        double penalty = c->grpo.overlong_cache ? c->grpo.overlong_weight * grpo_overlong(s[i].n, cut, c->rollout.max_tokens, c->grpo.overlong_cache) : 0;
        result[i] = (struct grpo_result){.problem = &p[s[i].prompt], .s = &s[i], .reward = out[i], .total = out[i].total + penalty, .cut = cut};
    }
}

static void keep_group(struct grpo *g, struct grpo_round *r, int64_t from)
{
    int64_t at = r->n_groups++ * r->group;
    for (int64_t k = 0; k < r->group; k++) {
        const struct grpo_result *x = &r->all[from + k];
        r->kept[from + k] = 1;
        r->result[at + k] = *x;
        r->sample[at + k] = (struct grpo_sample){
            .prompt = x->problem->ids, .n_prompt = x->problem->n, .ids = x->s->ids, .n = x->s->n, .logp = x->s->logp, .routes = x->s->routes, .group = r->n_groups - 1,
            .masked = isnan(x->total) || x->s->n == 0 || (x->cut && g->c->grpo.overlong_mask),
        };
    }
}

/* One turn: `want` more groups. Everything goes into r->all, what is kept into the arrays as well. */
static err_code turn(struct grpo *g, int64_t want, struct grpo_round *r, struct arena *mem, struct err *e)
{
    struct grpo_problem *p = ARENA_NEW(mem, struct grpo_problem, want);
    const struct rollout_sample *s;
    double *reward = ARENA_NEW(mem, double, r->group);
    TRY(next_problems(g, want, r, mem, p, e));
    double began = clock_now();
    TRY(sample_groups(g, p, want, r, mem, &s, e));
    double sampled = clock_now();
    grpo_score(g, p, s, want * r->group, mem, r->all + r->n_all);
    r->t_rollout += sampled - began, r->t_reward += clock_now() - sampled;
    for (int64_t i = 0; i < want; i++) {
        int64_t from = r->n_all + i * r->group;
        for (int64_t k = 0; k < r->group; k++)
            reward[k] = r->all[from + k].total;
        if (g->c->grpo.dynamic_sampling && grpo_flat(reward, r->group))
            r->flat++;
        else
            keep_group(g, r, from);
    }
    r->n_all += want * r->group;
    for (int64_t i = 0; i < want; i++)
        grpo_problem_release(&p[i]); /* its strings and ids stay in mem */
    return ERR_OK;
}

static void reference(struct grpo *g, struct grpo_round *r, struct arena *mem)
{
    int64_t n = r->n_groups * r->group;
    float **logp = ARENA_NEW(mem, float *, n + 1);
    grpo_logp(g, g->ref, r->sample, n, logp, NULL, mem);
    for (int64_t i = 0; i < n; i++) {
        r->sample[i].ref = logp[i];
        if (strcmp(g->c->grpo.kl_in, "reward") == 0)
            r->reward[i] -= g->c->grpo.kl_coef * grpo_kl_sum((enum grpo_kl)cfg_index(g->c, "grpo.kl_kind"), r->sample[i].logp, logp[i], NULL, r->sample[i].n);
    }
}

err_code grpo_collect(struct grpo *g, int64_t step, struct arena *mem, struct grpo_round *r, struct err *e)
{
    const struct cfg *c = g->c;
    int64_t groups = c->grpo.prompts, most = groups * (1 + (c->grpo.dynamic_sampling ? c->grpo.max_refills : 0)), n = groups * c->grpo.group;
    *r = (struct grpo_round){.step = step, .group = c->grpo.group};
    r->all = ARENA_NEW(mem, struct grpo_result, most * r->group);
    r->kept = ARENA_NEW(mem, unsigned char, most * r->group);
    r->result = ARENA_NEW(mem, struct grpo_result, n);
    r->sample = ARENA_NEW(mem, struct grpo_sample, n);
    r->reward = ARENA_NEW(mem, double, n);
    r->advantage = ARENA_NEW(mem, double, n);
    TRY(turn(g, groups, r, mem, e));
    for (; c->grpo.dynamic_sampling && r->n_groups < groups && r->refills < c->grpo.max_refills; r->refills++)
        TRY(turn(g, groups - r->n_groups, r, mem, e));
    n = r->n_groups * r->group;
    for (int64_t i = 0; i < n; i++)
        r->reward[i] = r->result[i].total;
    if (g->ref)
        reference(g, r, mem);
    grpo_advantage(&g->adv, r->reward, r->n_groups, r->group, r->advantage, &r->adv);
    for (int64_t i = 0; i < n; i++)
        r->sample[i].advantage = r->advantage[i];
    return ERR_OK;
}
