/* DeepSeekMoE: y = x_mid + sum_e w_e expert_e(n) + shared(n),  n = norm(x_mid), over the chosen experts in ascending id, shared last.
 * Tokens are copied into rows sorted by expert, then by token, so that every expert is one matrix product over its rows; nothing is dropped.
 * det  an expert's rows are independent, and each token's sum has one order: batch, neighbours and threads do not matter.
 * src: DeepSeek-V3 section 2.1.2 */
#include "model/impl.h"

/* Rows by expert from the choice: w->first[e] .. w->first[e + 1] are expert e's. */
static void dispatch(struct model *m, const struct slot *s, int64_t t)
{
    const struct model_config *c = &m->conf;
    struct mixture_work *w = &m->a.mix;
    int64_t n = t * c->top_k;
    kern_get(m->k, w->ids, s->id, n * 4);
    memset(w->first, 0, (size_t)(c->experts + 1) * sizeof *w->first);
    for (int64_t i = 0; i < n; i++)
        w->first[w->ids[i] + 1]++;
    for (int64_t e = 0; e < c->experts; e++)
        w->first[e + 1] += w->first[e];
    for (int64_t i = 0; i < n; i++) { /* first[e] runs to the end of e's rows ... */
        int32_t r = w->first[w->ids[i]]++;
        w->row_of[i] = r;
        w->slot_of[r] = (int32_t)i;
        w->token_of[r] = (int32_t)(i / c->top_k);
    }
    memmove(w->first + 1, w->first, (size_t)c->experts * sizeof *w->first); /* ... which is where the next begin */
    w->first[0] = 0;
}

/* What the router chose goes into the record of the pass and, when a backward will follow, into the load. */
static void note_choice(struct model *m, const struct mixture *x, int64_t t, int keep)
{
    const struct model_config *c = &m->conf;
    const struct mixture_work *w = &m->a.mix;
    for (int64_t i = 0; x->at < m->n_routed && i < t * c->top_k; i++)
        w->routes[(i / c->top_k * m->n_routed + x->at) * c->top_k + i % c->top_k] = (uint16_t)w->ids[i];
    for (int64_t e = 0; keep && e < c->experts; e++)
        m->load[x->at * c->experts + e] += w->first[e + 1] - w->first[e];
}

static void gather(struct model *m, float *rows, const float *x, int64_t t)
{
    const struct model_config *c = &m->conf;
    kern_embed(m->k, &(struct kern_embed){.y = rows, .table = x, .ids = m->a.mix.token_of, .t = t * c->top_k, .c = c->hidden, .v = t});
}

static void swiglu(struct model *m, float *y, const float *gu, int64_t rows, int64_t c)
{
    kern_swiglu(m->k, &(struct kern_swiglu){.y = y, .g = gu, .u = gu + c, .rows = rows, .c = c, .ldg = 2 * c});
}

static void swiglu_back(struct model *m, float *gu, const float *dy, int64_t rows, int64_t c)
{
    kern_swiglu_bwd(m->k, &(struct kern_swiglu_bwd){.dg = gu, .du = gu + c, .dy = dy, .g = gu, .u = gu + c, .rows = rows, .c = c, .ldg = 2 * c, .lddg = 2 * c});
}

static void shared_forward(struct model *m, const struct pass *p, const struct mixture *x, struct slot *s, int finish)
{
    int64_t t = p->b->n_tok;
    const struct model_config *c = &m->conf;
    struct mixture_work *w = &m->a.mix;
    if (!c->shared)
        return;
    model_linear(m, &x->shared_gu, s->shared_gu, m->a.xn, NULL, t);
    if (p->keep)
        model_keep(m, &s->shared_gu_kept, s->shared_gu, 2 * t, c->shared * c->expert_inter, KERN_E4M3);
    if (!finish)
        return;
    swiglu(m, w->shared_act, s->shared_gu, t, c->shared * c->expert_inter);
    model_linear(m, &x->shared_down, w->shared_y, w->shared_act, NULL, t);
}

void model_mixture_forward(struct model *m, const struct pass *p, int64_t l, struct slot *s, float *out)
{
    const struct model_config *c = &m->conf;
    const struct mixture *x = m->layers[l].mix;
    struct mixture_work *w = &m->a.mix;
    int64_t inner = c->expert_inter, t = p->b->n_tok;
    model_linear(m, &x->router, w->z, m->a.xn, NULL, t);
    kern_route(m->k, &(struct kern_route){.score = s->score, .weight = s->weight, .id = s->id, .z = w->z, .bias = model_vec(m, x->bias), .t = t, .e = c->experts, .top_k = c->top_k,
                                          .groups = c->groups, .top_groups = c->top_groups, .softmax = c->router_softmax, .normalise = c->router_normalise,
                                          .scale = (float)c->router_scale});
    dispatch(m, s, t);
    if (out) /* not when a layer is computed again for its backward */
        note_choice(m, x, t, p->keep);
    gather(m, w->x, m->a.xn, t);
    kern_group(m->k, &(struct kern_group){.y = s->expert_gu, .x = w->x, .w = x->gu_w, .first = w->first, .n_experts = c->experts, .pow2 = x->gu->pow2_x});
    if (p->keep)
        model_keep(m, &s->expert_gu_kept, s->expert_gu, 2 * t * c->top_k, inner, KERN_E4M3);
    if (out) {
        swiglu(m, w->act, s->expert_gu, t * c->top_k, inner);
        kern_group(m->k, &(struct kern_group){.y = w->y, .x = w->act, .w = x->down_w, .first = w->first, .n_experts = c->experts});
    }
    shared_forward(m, p, x, s, out != NULL);
    if (out)
        kern_moe_sum(m->k, &(struct kern_moe_sum){.y = out, .x = w->y, .weight = s->weight, .a = c->shared ? w->shared_y : NULL, .b = s->x_mid, .row_of = w->row_of, .t = t,
                                                  .c = c->hidden, .top_k = c->top_k});
}

/* Gradients of one part (gate or up, or all of down) of every expert. */
static void expert_wgrad(const struct back *b, const struct linear *of, int part, const float *dy, const float *x)
{
    const struct model *m = b->m;
    const struct mixture_work *w = &m->a.mix;
    for (int64_t e = 0; e < m->conf.experts; e++)
        w->dw[e] = model_grad_of(b, of[e].first + part);
    kern_group_wgrad(m->k, &(struct kern_group_wgrad){.dw = w->dw, .dy = dy, .x = x, .first = w->first, .n_experts = m->conf.experts, .n = m->params[of->first + part].rows,
                                                      .k = of->w.k, .lddy = of->w.n, .prec = of->w.prec, .pow2_dy = of->pow2_dy, .pow2_x = of->pow2_x});
}

/* dweight comes from dy . expert(x) = (W_down^T dy) . act, so that the experts' outputs need not be kept. */
static void experts_back(const struct back *b, const struct mixture *x, struct slot *s)
{
    struct model *m = b->m;
    const struct model_config *c = &m->conf;
    struct mixture_work *w = &m->a.mix;
    int64_t rows = b->t * c->top_k, inner = c->expert_inter;
    gather(m, w->x, m->a.xn, b->t);
    model_round_input(m, x->gu, w->x, rows);
    gather(m, w->dy, m->a.dx, b->t);
    model_take(m, s->expert_gu, &s->expert_gu_kept, 2 * rows, inner, KERN_E4M3);
    swiglu(m, w->act, s->expert_gu, rows, inner);
    kern_group_dgrad(m->k, &(struct kern_group_dgrad){.dx = w->dact, .dy = w->dy, .w = x->down_w, .first = w->first, .n_experts = c->experts,
                                                           .pow2 = x->down->pow2_dy});
    kern_moe_dot(m->k, &(struct kern_moe_dot){.y = w->dweight, .p = w->dact, .q = w->act, .slot_of = w->slot_of, .rows = rows, .c = inner});
    kern_moe_scale(m->k, &(struct kern_moe_scale){.x = w->dact, .weight = s->weight, .slot_of = w->slot_of, .rows = rows, .c = inner});
    kern_moe_scale(m->k, &(struct kern_moe_scale){.x = w->dy, .weight = s->weight, .slot_of = w->slot_of, .rows = rows, .c = c->hidden});
    swiglu_back(m, s->expert_gu, w->dact, rows, inner);
    expert_wgrad(b, x->down, 0, w->dy, w->act);
    for (int part = 0; part < 2; part++) /* gate, up */
        expert_wgrad(b, x->gu, part, s->expert_gu + part * inner, w->x);
    kern_group_dgrad(m->k, &(struct kern_group_dgrad){.dx = w->y, .dy = s->expert_gu, .w = x->gu_w, .first = w->first, .n_experts = c->experts});
}

/* The balance loss joins dz. */
static void balance_back(const struct back *b, const struct slot *s)
{
    struct model *m = b->m;
    struct mixture_work *w = &m->a.mix;
    enum { STEP = 1024 };
    float loss[STEP];
    if (b->balance == 0)
        return;
    kern_route_balance(m->k, &(struct kern_route_balance){.dz = w->dz, .loss = w->balance, .score = s->score, .cu = b->b->cu_seqlens, .n_seq = b->b->n_seq, .e = m->conf.experts,
                                                          .top_k = m->conf.top_k, .softmax = m->conf.router_softmax, .coef = b->balance});
    for (int64_t t = 0; b->balance_loss && t < b->t; t += STEP) {
        int64_t n = b->t - t < STEP ? b->t - t : STEP;
        kern_get(m->k, loss, w->balance + t, n * 4);
        for (int64_t i = 0; i < n; i++)
            *b->balance_loss += (double)loss[i];
    }
}

void model_mixture_back(const struct back *b, const struct layer *y, struct slot *s)
{
    struct model *m = b->m;
    struct acts *a = &m->a;
    const struct model_config *c = &m->conf;
    const struct mixture *x = y->mix;
    struct mixture_work *w = &a->mix;
    dispatch(m, s, b->t);
    experts_back(b, x, s);
    kern_route_bwd(m->k, &(struct kern_route_bwd){.dz = w->dz, .dweight = w->dweight, .score = s->score, .id = s->id, .t = b->t, .e = c->experts, .top_k = c->top_k,
                                                  .softmax = c->router_softmax, .normalise = c->router_normalise, .scale = (float)c->router_scale});
    balance_back(b, s);
    if (!m->opts.freeze_router)
        model_wgrad(b, &x->router, w->dz, a->xn, b->t);
    model_dgrad(b, &x->router, a->dxn, w->dz, b->t, 0);
    if (c->shared) {
        model_take(m, s->shared_gu, &s->shared_gu_kept, 2 * b->t, c->shared * c->expert_inter, KERN_E4M3);
        swiglu(m, w->shared_act, s->shared_gu, b->t, c->shared * c->expert_inter);
        model_wgrad(b, &x->shared_down, a->dx, w->shared_act, b->t);
        model_dgrad(b, &x->shared_down, w->shared_act, a->dx, b->t, 0);
        swiglu_back(m, s->shared_gu, w->shared_act, b->t, c->shared * c->expert_inter);
        model_round_input(m, &x->shared_gu, a->xn, b->t);
        model_wgrad(b, &x->shared_gu, s->shared_gu, a->xn, b->t);
        model_dgrad(b, &x->shared_gu, a->dxn, s->shared_gu, b->t, 1);
    }
    kern_moe_sum(m->k, &(struct kern_moe_sum){.y = a->dxn, .x = w->y, .b = a->dxn, .row_of = w->row_of, .t = b->t, .c = c->hidden, .top_k = c->top_k});
}
