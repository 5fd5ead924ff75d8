/* Latent attention (MLA): what its two forms share, and the expanded form: keys and values of every head are computed from the normed latent,
 * so training, scoring and the cache work with H heads of dn + dr and dv numbers.
 *   c_q = norm(x W_DQ), q = c_q W_UQ   (or q = x W_Q);   c_kv = norm(x W_DKV);   [k_nope | v] = c_kv W_UKV;   k_rope shared by the heads
 * src: DeepSeek-V2 section 2.1; names and layouts as released. Cost per query, key and head: 2 (dn + dr + dv) FLOP. */
#include "model/impl.h"

/* The class default of the released code: config.json's rms_norm_eps does not reach these two norms. */
static const float LATENT_EPS = 1e-6f;

struct latent_cols model_latent_cols(const struct model_config *c)
{
    int64_t q = c->q_lora ? c->q_lora : c->heads * c->head_dim;
    return (struct latent_cols){q + c->kv_lora + c->d_rope, q, q + c->kv_lora};
}

void model_latent_norm(struct model *m, float *y, const float *x, int param, int64_t t, int64_t width, int64_t ldx, int64_t ldy)
{
    kern_rmsnorm(m->k, &(struct kern_rmsnorm){.y = y, .x = x, .w = model_vec(m, param), .rows = t, .c = width, .ldx = ldx, .ldy = ldy, .eps = LATENT_EPS});
}

void model_latent_norm_back(const struct back *w, float *dx, const float *dy, const float *x, int param, int64_t width)
{
    int64_t ld = model_latent_cols(&w->m->conf).wide;
    kern_rmsnorm_bwd(w->m->k, &(struct kern_rmsnorm_bwd){.dx = dx, .dw = model_grad_of(w, param), .dy = dy, .x = x, .w = model_vec(w->m, param), .rows = w->t, .c = width, .ldx = ld,
                                                         .lddx = ld, .eps = LATENT_EPS});
}

static struct kern_rope rotation(const struct model *m, int64_t t, int inverse)
{
    return (struct kern_rope){.pos = m->a.pos, .cos_sin = m->rope, .t = t, .d = m->conf.d_rope, .interleaved = m->conf.rope_interleaved, .inverse = inverse};
}

static void rotate_queries(struct model *m, float *q, int64_t ldq, int64_t t, int inverse)
{
    const struct model_config *c = &m->conf;
    struct kern_rope r = rotation(m, t, inverse);
    r.x = q, r.h = c->heads, r.first = c->d_nope, r.ldx = ldq, r.head_stride = c->head_dim;
    kern_rope(m->k, &r);
}

void model_latent_rotate(struct model *m, float *q, int64_t ldq, float *rope, int64_t t, int inverse)
{
    struct kern_rope r = rotation(m, t, inverse);
    rotate_queries(m, q, ldq, t, inverse);
    r.x = rope, r.h = 1, r.ldx = model_latent_cols(&m->conf).wide, r.head_stride = m->conf.d_rope;
    kern_rope(m->k, &r);
}

static void queries_up(struct model *m, const struct layer *y, struct slot *s, int64_t t)
{
    const struct model_config *c = &m->conf;
    if (!c->q_lora)
        return;
    model_latent_norm(m, m->a.lat.cq, s->qkv, y->q_norm, t, c->q_lora, model_latent_cols(c).wide, 0);
    model_linear(m, &y->q_b, s->q, m->a.lat.cq, NULL, t);
}

void model_latent_queries(struct model *m, const struct layer *y, struct slot *s, int64_t t)
{
    const struct model_config *c = &m->conf;
    struct latent_cols at = model_latent_cols(c);
    queries_up(m, y, s, t);
    model_latent_rotate(m, s->q, c->q_lora ? c->heads * c->head_dim : at.wide, s->qkv + at.rope, t, 0);
}

void model_latent_queries_again(struct model *m, const struct layer *y, struct slot *s, int64_t t)
{
    const struct model_config *c = &m->conf;
    if (!model_is_narrow(m) || !c->q_lora)
        return;
    queries_up(m, y, s, t);
    rotate_queries(m, s->q, c->heads * c->head_dim, t, 0);
}

void model_latent_queries_back(const struct back *b, const struct layer *y, struct slot *s, float *dq, const float *dckv)
{
    struct model *m = b->m;
    const struct model_config *c = &m->conf;
    struct latent_work *w = &m->a.lat;
    struct latent_cols at = model_latent_cols(c);
    float *dqkv = m->a.dqkv;
    model_latent_rotate(m, dq, c->q_lora ? c->heads * c->head_dim : at.wide, dqkv + at.rope, b->t, 1);
    model_latent_norm_back(b, dqkv + at.kv, dckv, s->qkv + at.kv, y->k_norm, c->kv_lora);
    if (!c->q_lora)
        return;
    model_latent_norm(m, w->cq, s->qkv, y->q_norm, b->t, c->q_lora, at.wide, 0);
    model_round_input(m, &y->q_b, w->cq, b->t);
    model_wgrad(b, &y->q_b, dq, w->cq, b->t);
    model_dgrad(b, &y->q_b, w->dcq, dq, b->t, 0);
    model_latent_norm_back(b, dqkv, w->dcq, s->qkv, y->q_norm, c->q_lora);
}

/* ---- expanded ------------------------------------------------------------------------------- */

static void keys_up(struct model *m, const struct layer *y, struct slot *s, int64_t t)
{
    const struct model_config *c = &m->conf;
    struct latent_cols at = model_latent_cols(c);
    model_latent_norm(m, m->a.lat.ckv, s->qkv + at.kv, y->k_norm, t, c->kv_lora, at.wide, 0);
    model_linear(m, &y->kv_b, s->kv, m->a.lat.ckv, NULL, t);
}

/* Keys and values of all heads from the slot's latents. */
static void expand(struct model *m, const struct slot *s, int64_t t)
{
    const struct model_config *c = &m->conf;
    struct latent_cols at = model_latent_cols(c);
    kern_mla_kv(m->k, &(struct kern_mla_kv){.k = m->a.lat.k, .v = m->a.lat.v, .kv = s->kv, .rope = s->qkv + at.rope, .t = t, .h = c->heads, .dn = c->d_nope, .dr = c->d_rope,
                                            .dv = c->d_v, .ld_rope = at.wide});
}

void model_latent_forward(struct model *m, const struct pass *p, int64_t l, struct slot *s)
{
    const struct model_config *c = &m->conf;
    const struct layer *y = &m->layers[l];
    struct latent_work *w = &m->a.lat;
    struct latent_cols at = model_latent_cols(c);
    int64_t t = p->b->n_tok, ldq = c->q_lora ? c->heads * c->head_dim : at.wide, ldk = c->heads * c->head_dim, ldv = c->heads * c->d_v;
    model_latent_queries(m, y, s, t);
    keys_up(m, y, s, t);
    expand(m, s, t);
    if (p->step)
        model_write_cache(m, p, l, w->k, ldk, w->v, ldv);
    kern_attn(m->k, &(struct kern_attn){.o = s->o, .lse = p->keep ? s->lse : NULL, .q = s->q, .kv = model_kv_of(m, p, l, w->k, ldk, w->v, ldv), .cu_q = p->b->cu_seqlens,
                                        .kv_len = p->step ? p->step->kv_len : m->a.kv_len, .n_seq = p->b->n_seq, .hq = c->heads, .hkv = c->heads, .dk = c->head_dim, .dv = c->d_v,
                                        .ldq = ldq, .ldo = ldv, .scale = model_attn_scale(c)});
}

void model_latent_back(const struct back *b, const struct layer *y, struct slot *s)
{
    struct model *m = b->m;
    struct acts *a = &m->a;
    const struct model_config *c = &m->conf;
    struct latent_work *w = &a->lat;
    struct latent_cols at = model_latent_cols(c);
    int64_t ldq = c->q_lora ? c->heads * c->head_dim : at.wide, ldk = c->heads * c->head_dim, ldv = c->heads * c->d_v;
    float *dq = c->q_lora ? w->dq : a->dqkv;
    model_latent_queries_again(m, y, s, b->t);
    if (model_is_narrow(m))
        keys_up(m, y, s, b->t);
    expand(m, s, b->t);
    kern_attn_bwd(m->k, &(struct kern_attn_bwd){.dq = dq, .dk = w->dk, .dv = w->dv, .dout = a->dout, .o = s->o, .lse = s->lse, .q = s->q,
                                                .kv = {.k = w->k, .v = w->v, .cu_k = b->b->cu_seqlens, .ldk = ldk, .ldv = ldv, .head_stride_k = c->head_dim, .head_stride_v = c->d_v},
                                                .cu_q = b->b->cu_seqlens, .n_seq = b->b->n_seq, .hq = c->heads, .hkv = c->heads, .d_k = c->head_dim, .d_v = c->d_v, .ldq = ldq,
                                                .ldo = ldv, .scale = model_attn_scale(c)});
    kern_mla_kv_bwd(m->k, &(struct kern_mla_kv_bwd){.dkv = w->dkv, .drope = a->dqkv + at.rope, .dk = w->dk, .dv = w->dv, .t = b->t, .h = c->heads, .d_n = c->d_nope, .d_r = c->d_rope,
                                                    .d_v = c->d_v, .ld_rope = at.wide});
    model_latent_norm(m, w->ckv, s->qkv + at.kv, y->k_norm, b->t, c->kv_lora, at.wide, 0);
    model_round_input(m, &y->kv_b, w->ckv, b->t);
    model_wgrad(b, &y->kv_b, w->dkv, w->ckv, b->t);
    model_dgrad(b, &y->kv_b, w->dckv, w->dkv, b->t, 0);
    model_latent_queries_back(b, y, s, dq, w->dckv);
}
