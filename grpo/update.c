/* From a round of samples to optimiser steps. */
#include <math.h>
#include <string.h>

#include "core/rng.h"
#include "grpo/job.h"

static float temperature_of(const struct grpo *g) { return g->c->rollout.temperature > 0 ? (float)g->c->rollout.temperature : 1; }

/* After a forward of m over b: tokens that went to other experts than in the rollout. */
static void compare_routes(const struct model *m, const struct grpo_micro *b, const struct grpo_sample *s, struct grpo_round *r, struct arena mem)
{
    const int64_t width = model_route_width(m);
    for (int64_t q = 0; width && q < b->b.n_seq; q++) {
        const struct grpo_sample *x = &s[b->sample[q]];
        struct arena scratch = mem;
        int32_t *rows = ARENA_NEW(&scratch, int32_t, x->n + 1);
        uint16_t *got = ARENA_NEW(&scratch, uint16_t, x->n * width + 1);
        for (int64_t t = 0; t < x->n; t++)
            rows[t] = b->first[q] + (int32_t)t;
        model_routes(m, rows, x->n, got);
        for (int64_t t = 0; t < x->n; t++)
            r->differing_routes += memcmp(got + t * width, x->routes + t * width, (size_t)width * sizeof *got) != 0;
    }
}

void grpo_logp(struct grpo *g, struct model *m, const struct grpo_sample *s, int64_t n, float **logp, struct grpo_round *r, struct arena *mem)
{
    struct arena scratch;
    for (int64_t i = 0; i < n; i++)
        logp[i] = ARENA_NEW(mem, float, s[i].n + 1);
    scratch = *mem;
    const struct grpo_leaf *all = grpo_cut(s, n, 1, g->c->data.cap, &scratch);
    for (int64_t k = 0; k < all->n; k++) {
        const struct grpo_micro *b = &all->micro[k];
        struct arena inner = scratch;
        float *out = ARENA_NEW(&inner, float, b->b.n_tok);
        model_forward(m, &b->b, 0);
        if (r)
            compare_routes(m, b, s, r, inner);
        model_logp(m, &(struct model_logp){.target = b->target, .temperature = temperature_of(g), .logp = out});
        for (int64_t q = 0; q < b->b.n_seq; q++)
            memcpy(logp[b->sample[q]], out + b->first[q], (size_t)s[b->sample[q]].n * sizeof(float));
    }
}

/* A sample without advantage, KL or entropy term moves nothing: it is counted and compared, but has no backward. */
static int moves(const struct grpo *g, const struct grpo_sample *s)
{
    return s->n > 0 && !s->masked && (s->advantage != 0 || g->loss.kl_coef != 0 || g->loss.entropy_coef != 0);
}

/* N3: every token of the samples must have the log-prob that the rollout recorded, bit for bit. With a single update in the round the
 * update's own forward compares the samples that move (grpo_loss counts them), and only the others are computed here. */
static void compare(struct grpo *g, struct grpo_round *r, int single, struct arena mem)
{
    int64_t n = 0;
    struct grpo_sample *s = ARENA_NEW(&mem, struct grpo_sample, r->n_groups * r->group + 1);
    for (int64_t i = 0; i < r->n_groups * r->group; i++)
        if (!single || !moves(g, &r->sample[i]))
            s[n++] = r->sample[i];
    float **logp = ARENA_NEW(&mem, float *, n + 1);
    grpo_logp(g, g->j.m, s, n, logp, r, &mem);
    for (int64_t i = 0; i < n; i++)
        for (int64_t t = 0; t < s[i].n; t++) {
            r->differing += memcmp(&logp[i][t], &s[i].logp[t], sizeof(float)) != 0;
            r->compared++;
        }
}

struct minibatch {
    const struct grpo_sample *s;
    struct grpo_count norm;
    struct grpo_stats stats;
    int64_t n_tok;              /* rows of its forwards */
    struct grpo_round *round;
    int single;                 /* no update was made since the rollout, and none but this will be */
};

static int64_t parts_of(const struct grpo *g, const struct grpo_round *r)
{
    return g->c->grpo.minibatches < r->n_groups ? g->c->grpo.minibatches : r->n_groups;
}

static int is_single(const struct grpo *g, const struct grpo_round *r)
{
    return parts_of(g, r) == 1 && g->c->grpo.inner_epochs == 1;
}

static int trains_mtp(const struct grpo *g)
{
    return model_conf(g->j.m)->mtp > 0 && g->c->grpo.mtp_weight > 0;
}

/* MTP modules learn to foresee the policy's samples, which is what drafts are for: L = -1/(N D) sum_k sum_t log p_k(x_t), N the tokens that count in
 * the step. They alone learn from it (mtp_apart): the policy's gradient is GRPO's. Returns weight dL/dlog p_k [D, n_tok]; NULL: nothing to learn. */
static const float *mtp_loss(struct grpo *g, struct minibatch *mb, const struct grpo_micro *b, struct arena *mem)
{
    if (!trains_mtp(g))
        return NULL;
    const int64_t depth = model_conf(g->j.m)->mtp, n = b->b.n_tok;
    float *logp = ARENA_NEW(mem, float, depth * n), *grad = ARENA_NEW(mem, float, depth * n);
    const double each = (double)mb->norm.tokens * (double)depth;
    model_mtp(g->j.m, &(struct model_mtp){.target = b->target, .logp = logp});
    for (int64_t i = 0; i < depth * n; i++) {
        grad[i] = b->target[i % n] < 0 ? 0 : (float)(-g->c->grpo.mtp_weight / each);
        mb->round->mtp_loss -= (double)logp[i];
        mb->round->mtp_tokens += logp[i] < 0; /* 0: no module has that token */
    }
    return grad;
}

/* One micro-batch: forward, loss of each sample, backward into the leaf's gradient, whose first it may be. */
static void micro(struct grpo *g, struct minibatch *mb, const struct grpo_micro *b, float *const *grads, int first, struct arena mem)
{
    float *logp = ARENA_NEW(&mem, float, b->b.n_tok), *grad = ARENA_NEW(&mem, float, b->b.n_tok);
    float *entropy = ARENA_NEW(&mem, float, b->b.n_tok), *ge = g->loss.entropy_coef != 0 ? ARENA_NEW(&mem, float, b->b.n_tok) : NULL;
    model_forward(g->j.m, &b->b, 1);
    if (mb->single)
        compare_routes(g->j.m, b, mb->s, mb->round, mem);
    model_logp(g->j.m, &(struct model_logp){.target = b->target, .temperature = temperature_of(g), .logp = logp, .entropy = entropy});
    for (int64_t q = 0; q < b->b.n_seq; q++) {
        const struct grpo_sample *s = &mb->s[b->sample[q]];
        int64_t at = b->first[q];
        struct grpo_seq seq = {.n = s->n, .logp = logp + at, .old = s->logp, .ref = s->ref, .entropy = entropy + at, .advantage = s->advantage,
                               .masked = s->masked, .g = grad + at, .ge = ge ? ge + at : NULL};
        grpo_loss(&g->loss, &mb->norm, &seq, &mb->stats);
    }
    const float *g_mtp = mtp_loss(g, mb, b, &mem);
    model_backward(g->j.m, &(struct model_grad){.g = grad, .g_mtp = g_mtp, .mtp_apart = 1, .ge = ge, .grads = grads, .fresh = first, .balance = train_job_balance(&g->j, mb->n_tok)});
}

/* One optimiser step over samples of whole groups. */
static err_code step(struct grpo *g, struct grpo_round *r, const struct grpo_sample *s, int64_t n, struct arena mem, struct err *e)
{
    struct grpo_sample *active = ARENA_NEW(&mem, struct grpo_sample, n + 1);
    struct minibatch mb = {.s = active};
    int64_t n_active = 0, used = 0;
    grpo_stats_init(&mb.stats);
    for (int64_t i = 0; i < n; i++) {
        grpo_count_add(&mb.norm, NULL, s[i].n, s[i].masked);
        if (moves(g, &s[i]))
            active[n_active++] = s[i];
    }
    mb.round = r;
    mb.single = is_single(g, r);
    for (int64_t i = 0; i < n_active; i++)
        mb.n_tok += active[i].n_prompt + active[i].n - 1;
    const struct grpo_leaf *leaves = grpo_cut(active, n_active, g->c->train.leaves, g->c->data.cap, &mem);
    train_begin(&g->j.t);
    for (int64_t l = 0; l < g->c->train.leaves; l++) {
        if (!leaves[l].n) {
            train_leaf_absent(&g->j.t);
            continue;
        }
        float *const *grads = train_job_leaf(&g->j);
        for (int64_t k = 0; k < leaves[l].n; k++)
            micro(g, &mb, &leaves[l].micro[k], grads, k == 0, mem);
        train_leaf_done(&g->j.t);
        used++;
    }
    grpo_stats_merge(&r->stats, &mb.stats);
    if (!used)
        return ERR_OK; /* nothing to learn from: counted by the caller as a step without an update */
    TRY(train_end(&g->j.t, mb.stats.loss, &r->last, e));
    train_job_moved(&g->j);
    r->updates++;
    return ERR_OK;
}

/* The groups of a minibatch, by the epoch's shuffle, as one array of samples. */
static int64_t pick(const struct grpo_round *r, const int64_t *order, int64_t begin, int64_t end, struct grpo_sample *out)
{
    for (int64_t i = begin; i < end; i++)
        memcpy(out + (i - begin) * r->group, r->sample + order[i] * r->group, (size_t)r->group * sizeof *out);
    return (end - begin) * r->group;
}

err_code grpo_update(struct grpo *g, struct grpo_round *r, struct arena *mem, struct err *e)
{
    const struct cfg *c = g->c;
    struct arena scratch = *mem;
    int64_t n = r->n_groups * r->group, parts = parts_of(g, r);
    int64_t *order = ARENA_NEW(&scratch, int64_t, r->n_groups + 1);
    struct grpo_sample *s = ARENA_NEW(&scratch, struct grpo_sample, n + 1);
    grpo_stats_init(&r->stats);
    int single = is_single(g, r);
    compare(g, r, single, scratch);
    for (int64_t epoch = 0; epoch < c->grpo.inner_epochs; epoch++) {
        rng_permutation(order, r->n_groups, (uint64_t)c->seed, RNG_SHUFFLE, (uint64_t)(r->step * c->grpo.inner_epochs + epoch));
        for (int64_t k = 0; k < parts; k++) {
            int64_t m = pick(r, order, r->n_groups * k / parts, r->n_groups * (k + 1) / parts, s);
            TRY(step(g, r, s, m, scratch, e));
        }
    }
    if (single)
        r->differing += r->stats.differing, r->compared += r->stats.compared;
    return ERR_OK;
}
