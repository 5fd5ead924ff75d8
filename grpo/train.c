#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/log.h"
#include "core/stop.h"
#include "grpo/grpo.h"
#include "grpo/job.h"
#include "grpo/setup.h"

static void show(struct grpo *g, const struct grpo_round *r, double seconds)
{
    char line[320];
    int64_t every = g->c->train.log_every, steps = g->c->train.steps;
    int plain = r->step % every == 0 || r->step == 1 || r->step == steps;
    if (r->differing)
        log_warn("grpo", "step %lld: %lld of %lld tokens have another log-prob in the trainer than in the rollout; they must agree bit for bit: "
                 "the run is not what it claims to be", (long long)r->step, (long long)r->differing, (long long)r->compared);
    if (r->differing_routes)
        log_warn("grpo", "step %lld: %lld of %lld tokens went to other experts in the trainer than in the rollout; they must agree", (long long)r->step,
                 (long long)r->differing_routes, (long long)r->compared);
    if (!plain && !isatty(2))
        return;
    snprintf(line, sizeof line, "grpo: step %lld of %lld  reward %.3f  length %.1f  kl %.2g  clip %.3f  entropy %.2f  norm %.3g  differing %lld  %.1f s (rollout %.1f, update %.1f)",
             (long long)r->step, (long long)steps, r->adv.reward_mean, r->sampled.samples ? (double)r->sampled.tokens / (double)r->sampled.samples : 0.0,
             r->stats.kl_old / grpo_least(r->stats.tokens), (double)(r->stats.clip_low + r->stats.clip_high) / grpo_least(r->stats.tokens),
             r->stats.entropy / grpo_least(r->stats.tokens), r->updates ? r->last.grad_norm : 0.0, (long long)r->differing, seconds, r->t_rollout, r->t_update);
    if (r->sampled.drafted)
        snprintf(line + strlen(line), sizeof line - strlen(line), "  drafts %.0f %% (%.2f x)", 100 * (double)r->sampled.accepted / (double)r->sampled.drafted,
                 rollout_speedup(&r->sampled));
    log_live(line, plain);
}

static err_code one_step(struct grpo *g, int64_t step, struct arena mem, struct grpo_summary *out, struct err *e)
{
    struct grpo_round r;
    double began = clock_now();
    TRY(grpo_collect(g, step, &mem, &r, e));
    double collected = clock_now();
    TRY(grpo_update(g, &r, &mem, e));
    r.t_update = clock_now() - collected;
    TRY(grpo_sync_reference(g, step, e));
    TRY(grpo_record(g, &r, clock_now() - began, e));
    show(g, &r, clock_now() - began);
    out->steps++, out->tokens += r.sampled.tokens, out->differing += r.differing, out->compared += r.compared, out->reward = r.adv.reward_mean;
    return ERR_OK;
}

static err_code evaluate(struct grpo *g, int64_t step, double *pass1, struct err *e)
{
    struct grpo_figures f;
    if (!g->has_held_out)
        return ERR_OK;
    TRY(grpo_evaluate(g, step, &f, e));
    log_info("grpo", "step %lld: held-out pass@1 %.3f over %lld problems x %lld samples, reward %.3f, length %.1f", (long long)step, f.pass1, (long long)f.problems,
             (long long)f.samples, f.reward, f.length);
    *pass1 = f.pass1;
    return ERR_OK;
}

static const char *rest(const struct grpo *g, char out[64])
{
    snprintf(out, 64, "problem %lld", (long long)g->next);
    return out;
}

static err_code steps(struct grpo *g, struct arena mem, struct grpo_summary *out, struct err *e)
{
    const struct cfg *c = g->c;
    int64_t last = c->train.steps;
    char at[64];
    int stop;
    if (g->j.step_done == 0)
        TRY(evaluate(g, 0, &out->first_pass1, e));
    TRY(train_job_hook(&g->j, g->j.step_done, last, rest(g, at), &stop, e));
    for (int64_t step = g->j.step_done + 1; step <= last && !stop; step++) {
        TRY(one_step(g, step, mem, out, e));
        int evaluated = (c->eval.every > 0 && step % c->eval.every == 0) || step == last;
        if (evaluated)
            TRY(evaluate(g, step, &out->last_pass1, e));
        TRY(train_job_hook(&g->j, step, last, rest(g, at), &stop, e));
        if ((c->train.save_every > 0 && step % c->train.save_every == 0) || step == last || stop_requested())
            TRY(train_job_save(&g->j, step, rest(g, at), e));
        if (stop && !evaluated)
            TRY(evaluate(g, step, &out->last_pass1, e));
        if (stop_requested() && step < last && !stop)
            return err_set(e, ERR_CANCELLED, "interrupted behind step %lld; --resume goes on", (long long)step);
    }
    return ERR_OK;
}

err_code grpo_run(const struct cfg *c, int resume, struct grpo_summary *out, struct err *e)
{
    struct grpo g;
    struct arena mem;
    *out = (struct grpo_summary){.first_pass1 = NAN, .last_pass1 = NAN};
    TRY(grpo_setup(&g, c, resume, e));
    arena_init(&mem, "step", 1LL << 36);
    err_code rc = steps(&g, mem, out, e);
    arena_release(&mem);
    return grpo_teardown(&g, rc, e);
}
