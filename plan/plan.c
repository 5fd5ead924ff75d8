#include "plan/plan.h"

#include <stdio.h>

#include "plan/parts.h"

static const double GIB = 1 << 30;

/* ---- what cannot work --------------------------------------------------------------------- */

static err_code check_split(const struct plan_job *j, struct err *e)
{
    const struct model_config *c = j->model;
    int64_t dp = j->gpus / j->pp;
    if (j->gpus % j->pp)
        return err_set(e, ERR_USAGE, "%lld GPUs do not divide into %lld pipeline stages", (long long)j->gpus, (long long)j->pp);
    if (j->pp > c->layers)
        return err_set(e, ERR_USAGE, "%lld pipeline stages for %lld layers: a stage would be empty", (long long)j->pp, (long long)c->layers);
    if (c->layers % j->pp && !j->uneven)
        return err_set(e, ERR_USAGE, "%lld layers do not divide into %lld pipeline stages; hint: --uneven gives stages of %lld and %lld", (long long)c->layers,
                       (long long)j->pp, (long long)(c->layers / j->pp + 1), (long long)(c->layers / j->pp));
    if (j->ep > 1 && !c->experts)
        return err_set(e, ERR_USAGE, "EP %lld: the model has no experts", (long long)j->ep);
    if (j->ep > 1 && c->experts % j->ep)
        return err_set(e, ERR_USAGE, "%lld experts do not divide over EP %lld", (long long)c->experts, (long long)j->ep);
    if (dp % j->ep)
        return err_set(e, ERR_USAGE, "EP %lld does not divide DP %lld (%lld GPUs / PP %lld)", (long long)j->ep, (long long)dp, (long long)j->gpus, (long long)j->pp);
    if (j->batch % (dp * j->micro))
        return err_set(e, ERR_USAGE, "a batch of %lld sequences does not divide into micro-batches of %lld on DP %lld", (long long)j->batch, (long long)j->micro, (long long)dp);
    return ERR_OK;
}

err_code plan_check(const struct plan_job *j, struct err *e)
{
    const struct model_config *c = j->model;
    if (j->seq > c->max_position)
        return err_set(e, ERR_USAGE, "sequences of %lld tokens: the model has %lld positions", (long long)j->seq, (long long)c->max_position);
    if (j->precision == PLAN_fp8 && !(j->cluster.fp8 > 0))
        return err_set(e, ERR_USAGE, "%s has no fp8; hint: --precision bf16", j->cluster.title);
    if (j->absorbed && !c->kv_lora)
        return err_set(e, ERR_USAGE, "--mla absorbed: the model has no latent attention");
    if (j->cache_seqs && j->cache_context > c->max_position)
        return err_set(e, ERR_USAGE, "a rollout cache of %lld tokens: the model has %lld positions", (long long)j->cache_context, (long long)c->max_position);
    if (j->mfu > 0 && j->hours_per_trillion > 0)
        return err_set(e, ERR_USAGE, "--mfu and --hours-per-trillion both give the speed; hint: one of them");
    return check_split(j, e);
}

/* ---- memory ------------------------------------------------------------------------------- */

static err_code all_ranks(const struct plan_job *j, struct arena *mem, struct plan_result *r, struct err *e)
{
    static const struct pipe_cost even = {.f = 1, .b = 2, .w = 1, .fb = 3};
    int64_t *held = ARENA_NEW(mem, int64_t, j->pp);
    struct pipe_run run = {.held = held};
    r->dp = j->gpus / j->pp;
    r->micro_batches = j->batch / (r->dp * j->micro);
    held[0] = 1;
    if (j->pp > 1)
        TRY(pipe_simulate(j->schedule, j->pp, r->micro_batches, &even, *mem, &run, e));
    r->ranks = ARENA_NEW(mem, struct plan_rank, j->pp);
    r->worst = 0;
    for (int64_t i = 0; i < j->pp; i++) {
        plan_memory(j, i, held[i], &r->ranks[i]);
        if (r->ranks[i].total > r->ranks[r->worst].total)
            r->worst = i;
    }
    return ERR_OK;
}

/* The fullest rank of a changed job in GiB; negative when it cannot work. */
static double would_take(const struct plan_job *j, struct arena scratch)
{
    struct plan_result r;
    struct err e = {0};
    if (plan_check(j, &e) != ERR_OK || all_ranks(j, &scratch, &r, &e) != ERR_OK)
        return -1;
    return r.ranks[r.worst].total / GIB;
}

struct change {
    const char *words;
    struct plan_job j;
};

/* Single changes that help, cheapest first. */
static int changes_of(const struct plan_job *j, struct change *out, char (*text)[32])
{
    int n = 0;
#define CHANGE(when, what, set)                                    \
    if (when) {                                                    \
        out[n] = (struct change){.words = what, .j = *j};          \
        out[n].j.set;                                              \
        n++;                                                       \
    }
    CHANGE(!j->zero, "--zero 1", zero = 1)
    CHANGE(j->recompute < PLAN_RECOMPUTE_selective, "--recompute selective", recompute = PLAN_RECOMPUTE_selective)
    CHANGE(j->moment_bytes > 2, "--moments bf16", moment_bytes = 2)
    CHANGE(j->micro > 1, "--micro 1", micro = 1)
    CHANGE(j->recompute < PLAN_RECOMPUTE_full, "--recompute full", recompute = PLAN_RECOMPUTE_full)
    CHANGE(j->precision == PLAN_fp32, "--precision bf16", precision = PLAN_bf16)
    CHANGE(j->precision != PLAN_fp8 && j->cluster.fp8 > 0, "--precision fp8", precision = PLAN_fp8)
    for (int64_t k = 2; k <= 64; k *= 2) {
        snprintf(text[n], sizeof text[n], "--ep %lld", (long long)(j->ep * k));
        CHANGE(j->model->experts > 0, text[n], ep = j->ep * k)
        snprintf(text[n], sizeof text[n], "--pp %lld", (long long)(j->pp * k));
        CHANGE(1, text[n], pp = j->pp * k)
        snprintf(text[n], sizeof text[n], "--gpus %lld", (long long)(j->gpus * k));
        CHANGE(j->zero, text[n], gpus = j->gpus * k; out[n].j.batch = j->batch * k)
    }
#undef CHANGE
    return n;
}

/* The fewest GPUs on which something fits, with everything that saves memory; 0: none up to 1024 times as many. */
static int fewest_gpus(const struct plan_job *j, struct arena scratch, char *text, size_t cap)
{
    struct plan_job x = *j;
    x.zero = x.micro = x.uneven = 1, x.recompute = PLAN_RECOMPUTE_full, x.moment_bytes = 2;
    for (x.gpus = j->gpus; x.gpus <= j->gpus * 1024; x.gpus *= 2)
        for (x.pp = j->pp; x.pp <= j->model->layers && x.pp <= x.gpus; x.pp *= 2)
            for (x.ep = j->ep; x.ep <= x.gpus / x.pp; x.ep *= 2) {
                x.batch = x.gpus / x.pp * 2 * x.pp;
                double gib = would_take(&x, scratch);
                if (gib < 0 || gib * GIB > j->cluster.memory)
                    continue;
                snprintf(text, cap, "; would fit: --gpus %lld --pp %lld --ep %lld%s --recompute full --moments bf16 (%.1f)", (long long)x.gpus, (long long)x.pp, (long long)x.ep,
                         j->model->layers % x.pp ? " --uneven" : "", gib);
                return 1;
            }
    return 0;
}

static err_code does_not_fit(const struct plan_job *j, const struct plan_result *r, struct arena scratch, struct err *e)
{
    static const char *const names[] = {
#define X(key, name) name,
        PLAN_PARTS(X)
#undef X
    };
    const struct plan_rank *w = &r->ranks[r->worst];
    struct change c[32];
    char text[32][32], hint[400] = "";
    int most = 0, n = changes_of(j, c, text), found = 0;
    for (int i = 1; i < PLAN_N_PARTS; i++)
        most = w->part[i] > w->part[most] ? i : most;
    for (int i = 0; i < n && found < 3; i++) {
        double gib = would_take(&c[i].j, scratch);
        size_t at = strlen(hint);
        if (gib >= 0 && gib * GIB <= j->cluster.memory)
            snprintf(hint + at, sizeof hint - at, "%s%s (%.1f)", found++ ? " or " : "; would fit: ", c[i].words, gib);
    }
    struct plan_job all = *j; /* what costs nothing but time, at once */
    all.zero = all.micro = 1, all.recompute = PLAN_RECOMPUTE_full, all.moment_bytes = 2;
    double gib = would_take(&all, scratch);
    if (!found && gib >= 0 && gib * GIB <= j->cluster.memory)
        snprintf(hint, sizeof hint, "; would fit: --zero 1 --micro 1 --recompute full --moments bf16 together (%.1f)", gib);
    else if (!found && !fewest_gpus(j, scratch, hint, sizeof hint))
        snprintf(hint, sizeof hint, "; nothing fits on up to 1024 times as many GPUs");
    return err_set(e, ERR_LIMIT, "does not fit: rank %lld of the pipeline needs %.1f GiB, a GPU has %.1f (%.1f GiB too many; most of it %s, %.1f)%s", (long long)w->rank,
                   w->total / GIB, j->cluster.memory / GIB, (w->total - j->cluster.memory) / GIB, names[most], w->part[most] / GIB, hint);
}

/* ---- time --------------------------------------------------------------------------------- */

static void speed(const struct plan_job *j, struct plan_result *r)
{
    const struct model_config *c = j->model;
    double linear = model_flops(c, 0), context = (double)j->seq / 2, gpus = (double)j->gpus;
    double forward = c->kv_lora ? r->mla.train[j->absorbed] : model_flops(c, context);
    r->flops = 3 * forward;
    r->attention_flops = 3 * (forward - linear);
    if (j->hours_per_trillion > 0)
        r->tokens_per_s = gpus * 1e12 / (j->hours_per_trillion * 3600);
    else
        r->tokens_per_s = gpus * j->mfu * j->cluster.bf16 / r->flops;
    r->mfu = r->tokens_per_s * r->flops / (gpus * j->cluster.bf16);
    r->step_s = (double)(j->batch * j->seq) / r->tokens_per_s;
    r->hours_per_trillion = gpus * 1e12 / r->tokens_per_s / 3600;
    r->days_per_trillion = r->hours_per_trillion / gpus / 24;
    r->hours = r->hours_per_trillion * j->tokens / 1e12;
    r->days = r->hours / gpus / 24;
    r->cost = r->hours * j->price;
}

/* The step is M (F + B) and the bubble of the job's schedule; from it the seconds of F. */
static void bubbles(const struct plan_job *j, struct plan_result *r, struct arena scratch)
{
    double linear = 1 - r->attention_flops / r->flops, m = (double)r->micro_batches;
    struct pipe_cost c = {.f = 1, .b = 2, .w = linear, .fb = 3};
    double own = j->pp > 1 ? pipe_bubble(j->schedule, j->pp, &c) : 0;
    r->f = r->step_s / (3 * m + own);
    r->b = 2 * r->f;
    r->w = linear * r->f;
    c = (struct pipe_cost){.f = r->f, .b = r->b, .w = r->w, .fb = r->f + r->b};
    for (int k = 0; k < PIPE_N_KINDS; k++) {
        struct pipe_run run = {0};
        struct err none = {0};
        if (pipe_simulate((enum pipe_kind)k, j->pp, r->micro_batches, &c, scratch, &run, &none) != ERR_OK)
            continue;
        r->bubble[k] = (struct plan_bubble){.runs = 1, .formula = pipe_bubble((enum pipe_kind)k, j->pp, &c), .simulated = run.bubble, .share = run.bubble / run.total,
                                            .activations = run.activations};
    }
}

err_code plan_make(const struct plan_job *j, struct arena *mem, struct plan_result *r, struct err *e)
{
    struct plan_job job = *j;
    *r = (struct plan_result){0};
    TRY(plan_check(&job, e));
    if (!(job.mfu > 0) && !(job.hours_per_trillion > 0))
        job.mfu = PLAN_MFU;
    TRY(all_ranks(&job, mem, r, e));
    if (r->ranks[r->worst].total > job.cluster.memory)
        return does_not_fit(&job, r, *mem, e);
    plan_traffic(&job, &r->traffic);
    plan_mla(&job, &r->mla);
    speed(&job, r);
    bubbles(&job, r, *mem);
    return ERR_OK;
}
