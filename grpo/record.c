/* What a round leaves in the store. */
#include <math.h>
#include <string.h>

#include "grpo/job.h"

err_code grpo_record_verdicts(struct grpo *g, int64_t step, const char *purpose, int64_t prompt, int64_t sample, const struct grpo_result *x, struct err *e)
{
    for (int k = 0; k < reward_count(g->rewards); k++) {
        const struct reward_verdict *v = &x->reward.each[k];
        TRY(store_verdict(&g->j.run, step, &(struct store_verdict){.purpose = purpose, .prompt = prompt, .sample = sample, .reward = reward_name(g->rewards, k),
                                                                    .outcome = reward_outcome_name(v->outcome), .score = v->score, .why = v->why, .wall_ms = v->ms}, e));
    }
    return ERR_OK;
}

static err_code record_sample(struct grpo *g, const struct grpo_round *r, int64_t i, int64_t kept_at, struct err *e)
{
    const struct grpo_result *x = &r->all[i];
    int failed = isnan(x->total), kept = r->kept[i];
    const struct store_rollout o = {
        .purpose = "train", .prompt = i / r->group, .sample = i % r->group, .item = x->problem->item,
        .prompt_ids = x->problem->ids, .n_prompt = i % r->group ? 0 : x->problem->n, .ids = x->s->ids, .logp = x->s->logp, .n = x->s->n,
        .routes = x->s->routes, .route_width = model_route_width(g->j.m),
        .text = x->s->text, .stop = rollout_stop_name(x->s->stop), .reward = x->total, .advantage = kept ? r->advantage[kept_at] : NAN,
        .used = kept && !r->sample[kept_at].masked,
        .why = !kept ? "all rewards of the group are equal" : failed ? "a verifier failed" : r->sample[kept_at].masked ? "cut at the length limit" : NULL,
    };
    TRY(store_rollout(&g->j.run, r->step, &o, e));
    return grpo_record_verdicts(g, r->step, "train", o.prompt, o.sample, x, e);
}

static err_code record_figures(struct grpo *g, const struct grpo_round *r, struct err *e)
{
    struct store_run *run = &g->j.run;
    const struct grpo_stats *s = &r->stats;
    int64_t cut = 0, step = r->step;
    for (int64_t i = 0; i < r->n_all; i++)
        cut += r->all[i].cut;
#define X(name, value)                                  \
    if (strcmp(name, "differing_tokens") != 0)          \
        TRY(store_metric(run, step, name, value, e));
    GRPO_FIGURES(X)
#undef X
    const struct { const char *name; double value; } more[] = {
        {"differing_tokens", (double)r->differing}, {"compared_tokens", (double)r->compared}, {"differing_routes", (double)r->differing_routes}, {"reward", r->adv.reward_mean}, {"reward_std", r->adv.reward_std},
        {"flat_groups", (double)(r->flat + r->adv.flat)}, {"refills", (double)r->refills}, {"cut", (double)cut}, {"unscored", (double)r->adv.failed},
        {"response_length", r->sampled.samples ? (double)r->sampled.tokens / (double)r->sampled.samples : 0}, {"updates", (double)r->updates},
        {"lr", r->updates ? r->last.lr : NAN}, {"grad_norm", r->updates ? r->last.grad_norm : NAN}, {"prompts_too_long", (double)r->too_long},
    };
    for (size_t i = 0; i < sizeof more / sizeof *more; i++)
        TRY(store_metric(run, step, more[i].name, more[i].value, e));
    if (r->mtp_tokens)
        TRY(store_metric(run, step, "mtp_loss", r->mtp_loss / (double)r->mtp_tokens, e));
    return ERR_OK;
}

err_code grpo_record(struct grpo *g, const struct grpo_round *r, double seconds, struct err *e)
{
    struct store_run *run = &g->j.run;
    TRY(store_begin(g->j.store, e));
    TRY(store_step(run, r->step, 0, e));
    for (int64_t i = 0, kept = 0; i < r->n_all; i++) {
        TRY(record_sample(g, r, i, kept, e));
        kept += r->kept[i];
    }
    TRY(record_figures(g, r, e));
    TRY(train_job_record_load(&g->j, r->step, e));
    TRY(store_timing(run, r->step, "seconds", seconds, e));
    if (r->sampled.drafted) { /* with the timings, not the metrics: results do not depend on drafts */
        TRY(store_timing(run, r->step, "drafts_accepted", (double)r->sampled.accepted / (double)r->sampled.drafted, e));
        TRY(store_timing(run, r->step, "drafts_speedup", rollout_speedup(&r->sampled), e));
    }
    TRY(store_timing(run, r->step, "rollout_seconds", r->t_rollout, e));
    TRY(store_timing(run, r->step, "reward_seconds", r->t_reward, e));
    TRY(store_timing(run, r->step, "update_seconds", r->t_update, e));
    return store_commit(g->j.store, e);
}
