/* Who holds what: stages, parameters, activations. */
#include "plan/parts.h"

/* ---- stages ------------------------------------------------------------------------------- */

/* Stages with one layer less, when they are uneven, are taken from the ends, the last first: that one has the head and the MTP layers. */
static int is_short(const struct plan_job *j, int64_t stage)
{
    int64_t longer = j->model->layers % j->pp, shorter = longer ? j->pp - longer : 0;
    int64_t from_end = j->pp - 1 - stage, order = stage < from_end ? 2 * stage + 1 : 2 * from_end;
    return order < shorter;
}

struct plan_stage plan_stage(const struct plan_job *j, int64_t stage)
{
    struct plan_stage s = {0};
    int64_t base = j->model->layers / j->pp, longer = j->model->layers % j->pp;
    for (int64_t i = 0; i <= stage; i++) {
        s.first += s.n;
        s.n = base + (longer && !is_short(j, i));
    }
    for (int64_t l = s.first; l < s.first + s.n; l++)
        s.n_expert += model_layer_size(j->model, l).expert > 0;
    return s;
}

int plan_stages(const struct plan_job *j, int64_t rank, int64_t stage[2])
{
    stage[0] = rank;
    stage[1] = j->pp - 1 - rank;
    return j->schedule == PIPE_dualpipe && j->pp > 1 ? 2 : 1;
}

/* ---- parameters --------------------------------------------------------------------------- */

static void add_layer(const struct plan_job *j, int64_t layer, struct plan_params *p)
{
    struct model_layer_size s = model_layer_size(j->model, layer);
    p->linear += (double)(s.attention + s.inner + s.shared);
    p->high += (double)(s.norms + s.router);
    p->expert += (double)s.expert * (double)j->model->experts / (double)j->ep;
}

struct plan_params plan_params(const struct plan_job *j, int64_t rank)
{
    const struct model_config *c = j->model;
    struct plan_params p = {0};
    double table = (double)(c->vocab * c->hidden);
    int64_t stage[2];
    int n = plan_stages(j, rank, stage), first = 0, last = 0;
    for (int i = 0; i < n; i++) {
        struct plan_stage s = plan_stage(j, stage[i]);
        for (int64_t l = s.first; l < s.first + s.n; l++)
            add_layer(j, l, &p);
        first |= stage[i] == 0;
        last |= stage[i] == j->pp - 1;
    }
    int64_t mtp = last && j->mtp ? c->mtp : 0;
    for (int64_t i = 0; i < mtp; i++) {
        add_layer(j, c->layers - 1, &p);
        p.high += (double)(3 * c->hidden + 2 * c->hidden * c->hidden);
    }
    /* the table: for the first stage, for MTP's inputs, and for a tied head */
    p.high += first || mtp || (last && c->tied) ? table : 0;
    p.high += last ? (double)c->hidden + (c->tied ? 0 : table) : 0;
    return p;
}

double plan_weight_bytes(const struct plan_job *j, const struct plan_params *p)
{
    static const double linear[] = {[PLAN_fp32] = 4, [PLAN_bf16] = 2, [PLAN_fp8] = 1 + 4.0 / (128 * 128)};
    return (p->linear + p->expert) * linear[j->precision] + p->high * (j->precision == PLAN_fp32 ? 4 : 2);
}

/* ---- activations -------------------------------------------------------------------------- */

/* n numbers of a token that no linear reads; that a linear reads; that o_proj reads (12 bits in fp8). */
static double plain(const struct plan_job *j, double n) { return n * (j->precision == PLAN_fp32 ? 4 : 2); }
static double input(const struct plan_job *j, double n) { return j->precision == PLAN_fp8 ? n * (1 + 4.0 / 128) : plain(j, n); }
static double packed(const struct plan_job *j, double n) { return j->precision == PLAN_fp8 ? n * (1.5 + 4.0 / 128) : plain(j, n); }

static double attention_bytes(const struct plan_job *j, int all)
{
    const struct model_config *c = j->model;
    double h = (double)c->heads, lse = 4 * h;
    if (!c->kv_lora)
        return plain(j, (h + 2 * (double)c->kv_heads) * (double)c->head_dim) + packed(j, h * (double)c->head_dim) + lse;
    double r = (double)c->kv_lora, rope = (double)c->d_rope, dv = (double)c->d_v, dq = (double)c->head_dim;
    double sum = plain(j, (double)c->q_lora + r + rope) + packed(j, h * dv) + lse;
    if (all) { /* normed latents and what the up-projections give */
        sum += input(j, (double)c->q_lora + r) + plain(j, h * dq);
        sum += j->absorbed ? plain(j, h * (r + rope) + h * r) : plain(j, h * (dq + dv));
    }
    return sum;
}

static double inner_bytes(const struct plan_job *j, int expert_layer, int all)
{
    const struct model_config *c = j->model;
    double d = (double)c->hidden;
    if (!expert_layer)
        return input(j, 2 * (double)c->inter) + (all ? input(j, (double)c->inter) : 0);
    double k = (double)c->top_k, f = (double)c->expert_inter * (k + (double)c->shared);
    return 4 * (double)c->experts + 8 * k + input(j, k * d) + input(j, 2 * f) + (all ? input(j, f) : 0);
}

double plan_activation(const struct plan_job *j, int expert_layer, enum plan_recompute how)
{
    double d = (double)j->model->hidden;
    int all = how == PLAN_RECOMPUTE_none;
    if (how == PLAN_RECOMPUTE_full)
        return plain(j, d);
    return plain(j, 2 * d) + (all ? input(j, 2 * d) : 0) + attention_bytes(j, all) + inner_bytes(j, expert_layer, all);
}

static double stage_activation(const struct plan_job *j, int64_t stage)
{
    struct plan_stage s = plan_stage(j, stage);
    int64_t mtp = stage == j->pp - 1 && j->mtp ? j->model->mtp : 0;
    return (double)(s.n - s.n_expert) * plan_activation(j, 0, j->recompute) + (double)s.n_expert * plan_activation(j, 1, j->recompute)
           + (double)mtp * plan_activation(j, j->model->experts > 0, j->recompute);
}

static double cache_bytes(const struct plan_job *j, int64_t layers)
{
    struct plan_mla m = {0};
    struct model_size z = model_size(j->model);
    plan_mla(j, &m);
    double token = j->model->kv_lora ? m.cache[j->absorbed] : (double)z.kv_numbers * 2;
    return token * (double)layers / (double)j->model->layers * (j->precision == PLAN_fp32 ? 2 : 1) * (double)(j->cache_seqs * j->cache_context);
}

void plan_memory(const struct plan_job *j, int64_t rank, int64_t held, struct plan_rank *out)
{
    struct plan_params p = plan_params(j, rank);
    double dp = (double)(j->gpus / j->pp), copies = dp / (double)j->ep, tokens = (double)(j->micro * j->seq), most = 0;
    double owned = j->zero ? (p.linear + p.high) / dp + p.expert / copies : p.linear + p.high + p.expert;
    int64_t stage[2], layers = 0;
    int n = plan_stages(j, rank, stage), last = 0;
    *out = (struct plan_rank){.rank = rank, .params = p.linear + p.expert + p.high};
    for (int i = 0; i < n; i++) {
        double here = stage_activation(j, stage[i]);
        most = here > most ? here : most;
        layers += plan_stage(j, stage[i]).n;
        last |= stage[i] == j->pp - 1;
    }
    double work = j->recompute == PLAN_RECOMPUTE_full ? plan_activation(j, j->model->experts > 0, PLAN_RECOMPUTE_none) : 0;
    out->part[PLAN_weights] = plan_weight_bytes(j, &p);
    out->part[PLAN_gradients] = 4 * out->params;
    out->part[PLAN_master] = j->precision == PLAN_fp32 ? 0 : 4 * owned;
    out->part[PLAN_moments] = 2 * j->moment_bytes * owned;
    out->part[PLAN_activations] = ((double)held * most + work) * tokens;
    out->part[PLAN_logits] = last ? 4 * tokens * (double)j->model->vocab : 0;
    out->part[PLAN_cache] = cache_bytes(j, layers);
    out->part[PLAN_reserve] = j->reserve;
    for (int i = 0; i < PLAN_N_PARTS; i++)
        out->total += out->part[i];
}
