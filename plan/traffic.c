/* Bytes on the wires, and the two forms of latent attention. */
#include "plan/parts.h"

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static void all_to_all(const struct plan_job *j, struct plan_traffic *t)
{
    const struct model_config *c = j->model;
    int64_t dp = j->gpus / j->pp, nodes = (j->ep + j->cluster.gpus_per_node - 1) / j->cluster.gpus_per_node;
    if (j->ep == 1)
        return;
    int64_t chosen = c->groups > 1 && c->groups % nodes == 0 ? least(c->top_groups, c->top_k) : c->top_k;
    t->node_copies = chosen < nodes ? chosen : nodes - 1;
    t->gpu_copies = least(c->top_k, j->ep);
    double most = 0;
    for (int64_t r = 0; r < j->pp; r++) { /* DualPipe: half of the tokens through each of two stages */
        int64_t stage[2];
        int n = plan_stages(j, r, stage);
        double layers = 0;
        for (int i = 0; i < n; i++)
            layers += (double)(plan_stage(j, stage[i]).n_expert + (stage[i] == j->pp - 1 && j->mtp ? c->mtp : 0)) / n;
        most = layers > most ? layers : most;
    }
    double wide = j->precision == PLAN_fp32 ? 4 : 2, narrow = j->precision == PLAN_fp8 ? 1 + 4.0 / 128 : wide;
    double bytes = 2 * (double)(j->batch * j->seq) / (double)dp * most * (double)c->hidden * (narrow + wide);
    t->all_to_all_inter = bytes * (double)t->node_copies;
    t->all_to_all_intra = bytes * (double)t->gpu_copies;
    t->s_inter = t->all_to_all_inter / j->cluster.inter;
    t->s_intra = t->all_to_all_intra / j->cluster.intra;
}

/* One rank's gradients out and weights in, over d ranks. */
static double exchange(const struct plan_job *j, const struct plan_params *p, double d)
{
    double n = p->linear + p->expert + p->high, share = (d - 1) / d;
    return j->zero ? share * (4 * n + plan_weight_bytes(j, p)) : 2 * share * 4 * n;
}

void plan_traffic(const struct plan_job *j, struct plan_traffic *t)
{
    int64_t dp = j->gpus / j->pp, node = j->cluster.gpus_per_node;
    *t = (struct plan_traffic){0};
    all_to_all(j, t);
    if (j->pp > 1) {
        t->pipeline = 2 * (double)(j->batch * j->seq) / (double)dp * (double)j->model->hidden * (j->precision == PLAN_fp32 ? 4 : 2);
        t->s_pipeline = t->pipeline / (j->gpus > node ? j->cluster.inter : j->cluster.intra);
    }
    for (int64_t r = 0; r < j->pp; r++) {
        struct plan_params p = plan_params(j, r), shared = {.linear = p.linear, .high = p.high}, own = {.expert = p.expert};
        double bytes = exchange(j, &shared, (double)dp) + exchange(j, &own, (double)(dp / j->ep));
        t->data = bytes > t->data ? bytes : t->data;
    }
    t->s_data = t->data / (dp > node ? j->cluster.inter : j->cluster.intra);
}

void plan_mla(const struct plan_job *j, struct plan_mla *m)
{
    const struct model_config *c = j->model;
    *m = (struct plan_mla){0};
    if (!c->kv_lora)
        return;
    double h = (double)c->heads, layers = (double)c->layers, s = (double)j->seq;
    m->pair[0] = 2 * (double)(c->head_dim + c->d_v);
    m->pair[1] = 2 * (double)(2 * c->kv_lora + c->d_rope);
    m->cache[0] = 2 * layers * h * (double)(c->head_dim + c->d_v);
    m->cache[1] = 2 * layers * (double)(c->kv_lora + c->d_rope);
    for (int i = 0; i < 2; i++) {
        m->decode[i] = layers * h * m->pair[i] * s;
        m->train[i] = model_flops(c, 0) + layers * h * m->pair[i] * s / 2; /* kv_b's two halves cost the same, applied to queries and outputs or to keys and values */
    }
}
