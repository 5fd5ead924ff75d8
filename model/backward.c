/* The backward of model_forward, layer by layer from the last. Norms, SwiGLU's output and, with opts.recompute, whole layers are
 * computed again: the forward's bits are a function of its inputs, so the gradient's bits do not depend on it. FP8: narrow.c. */
#include <string.h>

#include "model/impl.h"

int model_first_grad(const struct back *w, int param)
{
    const int first = w->has && !w->has[param];
    if (first)
        w->has[param] = 1;
    return first;
}

float *model_grad_of(const struct back *w, int param)
{
    if (model_first_grad(w, param))
        kern_zero(w->m->k, w->grads[param], w->m->params[param].n * 4);
    return w->grads[param];
}

/* Fresh gradients: none holds anything yet. */
static void begin(struct back *w, int fresh)
{
    w->has = fresh ? w->m->has_grad : NULL;
    if (fresh)
        memset(w->has, 0, (size_t)w->m->n_params);
}

/* Those that the pass had nothing for are zeros. */
static void end(const struct back *w)
{
    for (int64_t p = 0; w->has && p < w->m->n_params; p++)
        model_grad_of(w, (int)p);
}

void model_wgrad(const struct back *w, const struct linear *lin, const float *dy, const float *x, int64_t rows)
{
    int64_t at = 0;
    for (int i = 0; i < lin->n_parts; i++) {
        int64_t n = w->m->params[lin->first + i].rows;
        kern_linear_wgrad(w->m->k, &(struct kern_linear_wgrad){.dw = w->grads[lin->first + i], .fresh = model_first_grad(w, lin->first + i),
                                                               .dbias = lin->bias_first < 0 ? NULL : model_grad_of(w, lin->bias_first + i), .dy = dy + at, .x = x, .m = rows, .n = n, .k = lin->w.k, .lddy = lin->w.n, .prec = lin->w.prec,
                                                               .pow2_dy = lin->pow2_dy, .pow2_x = lin->pow2_x});
        at += n;
    }
}

void model_dgrad(const struct back *w, const struct linear *lin, float *dx, const float *dy, int64_t rows, int accumulate)
{
    kern_linear_dgrad(w->m->k, &(struct kern_linear_dgrad){.dx = dx, .dy = dy, .w = &lin->w, .m = rows, .accumulate = accumulate, .pow2 = lin->pow2_dy});
}

static void wgrad(const struct back *w, const struct linear *lin, const float *dy, const float *x)
{
    model_wgrad(w, lin, dy, x, w->t);
}

static void dgrad(const struct back *w, const struct linear *lin, float *dx, const float *dy)
{
    model_dgrad(w, lin, dx, dy, w->t, 0);
}

/* dx (+)= through the norm of x. */
void model_norm_back(const struct back *w, float *dx, const float *dy, const float *x, int param, int accumulate)
{
    const struct model_config *c = &w->m->conf;
    kern_rmsnorm_bwd(w->m->k, &(struct kern_rmsnorm_bwd){.dx = dx, .dw = model_grad_of(w, param), .dy = dy, .x = x, .w = model_vec(w->m, param), .rows = w->t, .c = c->hidden,
                                                         .eps = (float)c->rms_eps, .accumulate = accumulate});
}

/* a->dxn from a->dx */
static void dense_back(const struct back *w, const struct layer *y, struct slot *s)
{
    struct model *m = w->m;
    struct acts *a = &m->a;
    int64_t c = m->conf.inter;
    model_take(m, s->gu, &s->gu_kept, 2 * w->t, c, KERN_E4M3);
    kern_swiglu(m->k, &(struct kern_swiglu){.y = a->act, .g = s->gu, .u = s->gu + c, .rows = w->t, .c = c, .ldg = 2 * c});
    wgrad(w, &y->down, a->dx, a->act);
    dgrad(w, &y->down, a->act, a->dx);
    kern_swiglu_bwd(m->k, &(struct kern_swiglu_bwd){.dg = s->gu, .du = s->gu + c, .dy = a->act, .g = s->gu, .u = s->gu + c, .rows = w->t, .c = c, .ldg = 2 * c, .lddg = 2 * c});
    model_round_input(m, &y->gu, a->xn, w->t);
    wgrad(w, &y->gu, s->gu, a->xn);
    dgrad(w, &y->gu, a->dxn, s->gu);
}

/* a->dx: gradient of the layer's output in, of x_mid out. */
static void ffn_back(const struct back *w, const struct layer *y, struct slot *s)
{
    struct acts *a = &w->m->a;
    model_norm_forward(w->m, a->xn, s->x_mid, y->norm2, w->t);
    (y->mix ? model_mixture_back : dense_back)(w, y, s);
    model_norm_back(w, a->dx, a->dxn, s->x_mid, y->norm2, 1);
}

/* Through the rotation and the norms of q and k: dqk (stride ld) to a->dqkv. */
static void qk_back(const struct back *w, const struct layer *y, const struct slot *s, float *dqk, int64_t ld)
{
    struct model *m = w->m;
    const struct model_config *c = &m->conf;
    int64_t q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim, wide = q + 2 * kv;
    model_rotate(m, dqk, ld, w->t, 1);
    if (!c->qk_norm)
        return;
    struct kern_rmsnorm_bwd n = {.dx = m->a.dqkv, .dw = model_grad_of(w, y->q_norm), .dy = dqk, .x = s->qkv, .w = model_vec(m, y->q_norm), .rows = w->t * c->heads,
                                 .c = c->head_dim, .inner = c->heads, .ldx = wide, .lddy = ld, .lddx = wide, .eps = (float)c->rms_eps};
    kern_rmsnorm_bwd(m->k, &n);
    n.dx += q, n.dy += q, n.x += q, n.dw = model_grad_of(w, y->k_norm), n.w = model_vec(m, y->k_norm), n.rows = w->t * c->kv_heads, n.inner = c->kv_heads;
    kern_rmsnorm_bwd(m->k, &n);
}

/* a->dqkv from a->dout */
static void plain_back(const struct back *w, const struct layer *y, struct slot *s)
{
    struct model *m = w->m;
    struct acts *a = &m->a;
    const struct model_config *c = &m->conf;
    int64_t d = c->head_dim, q = c->heads * d, kv = c->kv_heads * d, wide = q + 2 * kv, ld = c->qk_norm ? q + kv : wide;
    const float *qk = s->qkv;
    float *dqk = c->qk_norm ? a->dqk : a->dqkv;
    if (c->qk_norm)
        model_qk_forward(m, y, s, w->t, &qk, &ld);
    kern_attn_bwd(m->k, &(struct kern_attn_bwd){.dq = dqk, .dk = dqk + q, .dv = a->dqkv + q + kv, .dout = a->dout, .o = s->o, .lse = s->lse, .q = qk,
                                                .kv = {.k = qk + q, .v = s->qkv + q + kv, .cu_k = w->b->cu_seqlens, .ldk = ld, .ldv = wide, .head_stride_k = d, .head_stride_v = d},
                                                .cu_q = w->b->cu_seqlens, .n_seq = w->b->n_seq, .hq = c->heads, .hkv = c->kv_heads, .d_k = d, .d_v = d,
                                                .ldq = ld, .ldo = q, .scale = model_attn_scale(c), .prec = m->opts.prec});
    qk_back(w, y, s, dqk, ld);
}

/* a->dx: gradient of x_mid in, of x_in out. */
static void attn_back(const struct back *w, const struct layer *y, struct slot *s)
{
    struct acts *a = &w->m->a;
    model_take(w->m, s->o, &s->o_kept, w->t, model_o_width(&w->m->conf), KERN_E5M6);
    wgrad(w, &y->o, a->dx, s->o);
    dgrad(w, &y->o, a->dout, a->dx);
    (model_absorbed(w->m) ? model_absorbed_back : w->m->conf.kv_lora ? model_latent_back : plain_back)(w, y, s);
    model_norm_forward(w->m, a->xn, s->x_in, y->norm1, w->t);
    model_round_input(w->m, &y->qkv, a->xn, w->t);
    wgrad(w, &y->qkv, a->dqkv, a->xn);
    dgrad(w, &y->qkv, a->dxn, a->dqkv);
    model_norm_back(w, a->dx, a->dxn, s->x_in, y->norm1, 1);
}

static void head_back(const struct back *w, const struct model_grad *g)
{
    struct model *m = w->m;
    struct acts *a = &m->a;
    kern_put(m->k, a->g, g->g, w->t * 4);
    if (g->ge)
        kern_put(m->k, a->ge, g->ge, w->t * 4);
    kern_head_bwd(m->k, &(struct kern_head_bwd){.dx = a->dxn, .dw = w->grads[m->head.first], .fresh = model_first_grad(w, m->head.first), .x = a->fin, .lse = a->lse, .entropy = g->ge ? a->entropy : NULL, .g = a->g,
                                                .ge = g->ge ? a->ge : NULL, .w = &m->head.w, .target = m->target, .t = w->t, .temperature = m->temperature});
    if (g->g_mtp && !g->mtp_apart)
        kern_add(m->k, &(struct kern_add){.y = a->dxn, .a = a->dxn, .b = a->mtp.dfin, .n = w->t * m->conf.hidden});
}

void model_layer_back(const struct back *w, int64_t l)
{
    struct model *m = w->m;
    struct slot *s = &m->a.slots[l];
    if (m->opts.recompute)
        model_layer_forward(m, &(struct pass){.b = w->b, .keep = 1}, l, NULL);
    ffn_back(w, &m->layers[l], s);
    attn_back(w, &m->layers[l], s);
}

/* From a->dxn, the gradient of the head's input, to all other gradients. */
static void layers_back(const struct back *w)
{
    struct model *m = w->m;
    model_norm_back(w, m->a.dx, m->a.dxn, m->a.x_last, m->norm, 0);
    for (int64_t l = m->conf.layers - 1; l >= 0; l--)
        model_layer_back(w, l);
    kern_embed_bwd(m->k, &(struct kern_embed_bwd){.dtable = model_grad_of(w, m->embed), .dy = m->a.dx, .ids = w->b->tokens, .t = w->t, .c = m->conf.hidden, .v = m->conf.vocab});
    end(w);
    m->kept = 0; /* the activations are used up */
}

void model_backward(struct model *m, const struct model_grad *g)
{
    struct back w = {.m = m, .b = &m->batch, .grads = g->grads, .t = m->rows, .balance = g->balance, .balance_loss = g->balance_loss};
    if (g->balance_loss)
        *g->balance_loss = 0;
    if (!m->kept || !m->target || (g->ge && !m->has_entropy) || (g->g_mtp && !m->has_mtp))
        BUG("model_backward needs model_forward with keep, then model_logp (with entropy) and model_mtp when their gradients are given");
    begin(&w, g->fresh);
    if (g->g_mtp)
        model_mtp_back(m, g, w.has);
    head_back(&w, g);
    layers_back(&w);
}

void model_loss(struct model *m, const struct model_loss *l)
{
    struct back w = {.m = m, .b = &m->batch, .grads = l->grads, .t = m->rows, .balance = l->balance, .balance_loss = l->balance_loss};
    struct acts *a = &m->a;
    if (l->balance_loss)
        *l->balance_loss = 0;
    if (!m->kept)
        BUG("model_loss needs model_forward with keep");
    begin(&w, l->fresh);
    kern_put(m->k, a->g, l->g, w.t * 4);
    kern_head_loss(m->k, &(struct kern_head_loss){.logp = a->logp, .dx = a->dxn, .dw = l->grads[m->head.first], .fresh = model_first_grad(&w, m->head.first), .x = a->fin, .g = a->g, .w = &m->head.w,
                                                  .target = l->target, .t = w.t, .temperature = l->temperature});
    kern_get(m->k, l->logp, a->logp, w.t * 4);
    layers_back(&w);
}
