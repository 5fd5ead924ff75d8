/* Latent attention in its absorbed form: the key half of W_UKV joins the queries, the value half the outputs, and all heads attend to one
 * row per token: [c_kv | k_rope].
 *   qa_h = [q_nope,h W_UK,h | q_rope,h];   lat_o_h = sum_j softmax_j(scale qa_h . [c_kv | k_rope]_j) c_kv,j;   o_h = lat_o_h W_UV,h^T
 * The products with W_UK and W_UV run as linears of the run's precision (fp8: in bf16, as the attention core is not fp8). Where linears are
 * narrow, the latent row is rounded to bf16 in training as in the cache.
 * src: DeepSeek-V2 section 2.1.2 and appendix C. Cost: model.h */
#include "model/impl.h"

static int64_t width(const struct model_config *c)
{
    return c->kv_lora + c->d_rope;
}

static int64_t ldq(const struct model_config *c)
{
    return c->q_lora ? c->heads * c->head_dim : model_latent_cols(c).wide;
}

/* The latent rows, from the slot's raw latents and rotated keys. */
static void make_latents(struct model *m, const struct layer *y, const struct slot *s, int64_t t)
{
    const struct model_config *c = &m->conf;
    struct latent_cols at = model_latent_cols(c);
    float *lat = m->a.lat.lat;
    int narrow = m->opts.prec != KERN_F32;
    model_latent_norm(m, lat, s->qkv + at.kv, y->k_norm, t, c->kv_lora, at.wide, width(c));
    kern_copy(m->k, &(struct kern_copy){.y = lat + c->kv_lora, .x = s->qkv + at.rope, .rows = t, .c = c->d_rope, .ldx = at.wide, .ldy = width(c)});
    if (narrow)
        kern_copy(m->k, &(struct kern_copy){.y = lat, .x = lat, .rows = t, .c = width(c), .ldx = width(c), .ldy = width(c), .bf16 = 1});
}

/* Queries that meet the latent, from the slot's. */
static void absorb(struct model *m, const struct layer *y, const struct slot *s, int64_t t)
{
    const struct model_config *c = &m->conf;
    float *qa = m->a.lat.qa;
    kern_heads(m->k, &(struct kern_heads){.y = qa, .x = s->q, .w = y->kv_b.uk, .t = t, .h = c->heads, .ldx = ldq(c), .ldy = c->heads * width(c), .x_head = c->head_dim,
                                          .y_head = width(c)});
    kern_copy(m->k, &(struct kern_copy){.y = qa + c->kv_lora, .x = s->q + c->d_nope, .rows = t * c->heads, .c = c->d_rope, .inner = c->heads, .ldx = ldq(c),
                                        .ldy = c->heads * width(c), .x_step = c->head_dim, .y_step = width(c)});
}

void model_absorbed_forward(struct model *m, const struct pass *p, int64_t l, struct slot *s)
{
    const struct model_config *c = &m->conf;
    const struct layer *y = &m->layers[l];
    struct latent_work *w = &m->a.lat;
    int64_t t = p->b->n_tok, wide = width(c);
    model_latent_queries(m, y, s, t);
    make_latents(m, y, s, t);
    absorb(m, y, s, t);
    if (p->step)
        model_write_cache(m, p, l, w->lat, wide, NULL, 0);
    kern_attn(m->k, &(struct kern_attn){.o = s->lat_o, .lse = p->keep ? s->lse : NULL, .q = w->qa, .kv = model_kv_of(m, p, l, w->lat, wide, w->lat, wide), .cu_q = p->b->cu_seqlens,
                                        .kv_len = p->step ? p->step->kv_len : m->a.kv_len, .n_seq = p->b->n_seq, .hq = c->heads, .hkv = 1, .dk = wide, .dv = c->kv_lora,
                                        .ldq = c->heads * wide, .ldo = c->heads * c->kv_lora, .scale = model_attn_scale(c)});
    if (p->keep)
        model_keep(m, &s->lat_o_kept, s->lat_o, t, c->heads * c->kv_lora, KERN_E5M6);
    kern_heads(m->k, &(struct kern_heads){.y = s->o, .x = s->lat_o, .w = y->kv_b.uv, .t = t, .h = c->heads, .ldx = c->heads * c->kv_lora, .ldy = c->heads * c->d_v,
                                          .x_head = c->kv_lora, .y_head = c->d_v});
}

/* Through o_h = lat_o_h W_UV,h^T: the gradient of lat_o, and of the value rows of kv_b. */
static void values_back(const struct back *b, const struct layer *y, const struct slot *s)
{
    struct model *m = b->m;
    const struct model_config *c = &m->conf;
    struct kern_heads_wgrad g = {.dw = model_grad_of(b, y->kv_b.first) + c->d_nope * c->kv_lora, .dy = m->a.dout, .x = s->lat_o, .t = b->t, .h = c->heads, .n = c->d_v, .k = c->kv_lora,
                                 .lddy = c->heads * c->d_v, .ldx = c->heads * c->kv_lora, .dy_head = c->d_v, .x_head = c->kv_lora, .dw_head = (c->d_nope + c->d_v) * c->kv_lora,
                                 .prec = y->kv_b.uv->prec};
    kern_heads_wgrad(m->k, &g);
    kern_heads_dgrad(m->k, &(struct kern_heads_dgrad){.dx = m->a.lat.dlat_o, .dy = m->a.dout, .w = y->kv_b.uv, .t = b->t, .h = c->heads, .lddy = g.lddy, .lddx = g.ldx,
                                                      .dy_head = c->d_v, .dx_head = c->kv_lora});
}

/* Through qa: the gradient of q (rotated), and of the key rows of kv_b. */
static void keys_back(const struct back *b, const struct layer *y, const struct slot *s, float *dq)
{
    struct model *m = b->m;
    const struct model_config *c = &m->conf;
    const float *dqa = m->a.lat.dqa;
    struct kern_heads_wgrad g = {.dw = model_grad_of(b, y->kv_b.first), .dy = s->q, .x = dqa, .t = b->t, .h = c->heads, .n = c->d_nope, .k = c->kv_lora, .lddy = ldq(c),
                                 .ldx = c->heads * width(c), .dy_head = c->head_dim, .x_head = width(c), .dw_head = (c->d_nope + c->d_v) * c->kv_lora, .prec = y->kv_b.uk->prec};
    kern_heads_wgrad(m->k, &g);
    kern_heads_dgrad(m->k, &(struct kern_heads_dgrad){.dx = dq, .dy = dqa, .w = y->kv_b.uk, .t = b->t, .h = c->heads, .lddy = g.ldx, .lddx = g.lddy, .dy_head = width(c),
                                                      .dx_head = c->head_dim, .turned = 1});
    kern_copy(m->k, &(struct kern_copy){.y = dq + c->d_nope, .x = dqa + c->kv_lora, .rows = b->t * c->heads, .c = c->d_rope, .inner = c->heads, .ldx = g.ldx, .ldy = g.lddy,
                                        .x_step = width(c), .y_step = c->head_dim});
}

void model_absorbed_back(const struct back *b, const struct layer *y, struct slot *s)
{
    struct model *m = b->m;
    struct acts *a = &m->a;
    const struct model_config *c = &m->conf;
    struct latent_work *w = &a->lat;
    int64_t wide = width(c), t = b->t;
    float *dq = c->q_lora ? w->dq : a->dqkv;
    model_take(m, s->lat_o, &s->lat_o_kept, t, c->heads * c->kv_lora, KERN_E5M6);
    model_latent_queries_again(m, y, s, t);
    values_back(b, y, s);
    make_latents(m, y, s, t);
    absorb(m, y, s, t);
    kern_attn_bwd(m->k, &(struct kern_attn_bwd){.dq = w->dqa, .dk = w->dk, .dv = w->dv, .dout = w->dlat_o, .o = s->lat_o, .lse = s->lse, .q = w->qa,
                                                .kv = {.k = w->lat, .v = w->lat, .cu_k = b->b->cu_seqlens, .ldk = wide, .ldv = wide}, .cu_q = b->b->cu_seqlens, .n_seq = b->b->n_seq,
                                                .hq = c->heads, .hkv = 1, .d_k = wide, .d_v = c->kv_lora, .ldq = c->heads * wide, .ldo = c->heads * c->kv_lora,
                                                .scale = model_attn_scale(c)});
    keys_back(b, y, s, dq);
    struct latent_cols at = model_latent_cols(c);
    kern_copy(m->k, &(struct kern_copy){.y = a->dqkv + at.rope, .x = w->dk + c->kv_lora, .rows = t, .c = c->d_rope, .ldx = wide, .ldy = at.wide});
    /* the latent is key and value; both gradients have rows of `wide`: attention wrote dv with the stride of its values */
    kern_copy(m->k, &(struct kern_copy){.y = w->dckv, .x = w->dk, .rows = t, .c = c->kv_lora, .ldx = wide, .ldy = c->kv_lora});
    kern_copy(m->k, &(struct kern_copy){.y = w->dckv, .x = w->dv, .rows = t, .c = c->kv_lora, .ldx = wide, .ldy = c->kv_lora, .add = 1});
    model_latent_queries_back(b, y, s, dq, w->dckv);
}
