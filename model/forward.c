/* The one forward (N2): training, scoring and rollout go through model_layer_forward. */
#include <math.h>

#include "core/rng.h"
#include "model/impl.h"

/* Attention's view of this pass: keys of the batch itself, or pages. */
struct kern_kv model_kv_of(const struct model *m, const struct pass *p, int64_t l, const float *k, int64_t ldk, const float *v, int64_t ldv)
{
    struct model_kv_shape shape = model_kv_shape(m);
    if (!p->step)
        return (struct kern_kv){.k = k, .v = v, .cu_k = p->b->cu_seqlens, .ldk = ldk, .ldv = ldv, .head_stride_k = shape.k, .head_stride_v = shape.v};
    const struct model_cache *c = p->cache;
    const float *keys = model_cache_plane(c, l);
    if (!shape.v) /* values are columns of the keys */
        return (struct kern_kv){.k = keys, .v = keys, .pages = p->step->pages, .max_pages = p->step->max_pages, .page_stride_k = c->page_k, .page_stride_v = c->page_k,
                                .ldv = shape.k, .bf16 = c->bytes == 2};
    return (struct kern_kv){.k = keys, .v = keys + c->n_pages * c->page_k, .pages = p->step->pages, .max_pages = p->step->max_pages,
                            .page_stride_k = c->page_k, .page_stride_v = c->page_v};
}

void model_write_cache(struct model *m, const struct pass *p, int64_t l, const float *k, int64_t ldk, const float *v, int64_t ldv)
{
    struct model_kv_shape shape = model_kv_shape(m);
    struct model_cache *h = p->cache;
    float *keys = model_cache_plane(h, l);
    kern_kv_write(m->k, &(struct kern_kv_write){.k_pages = keys, .v_pages = shape.v ? keys + h->n_pages * h->page_k : NULL, .k = k, .v = v, .page = m->a.page, .slot = m->a.at,
                                                .t = p->b->n_tok, .hkv = shape.heads, .dk = shape.k, .dv = shape.v, .ldk = ldk,
                                                .ldv = ldv, .page_stride_k = h->page_k, .page_stride_v = h->page_v, .bf16 = h->bytes == 2});
}

void model_norm_forward(struct model *m, float *y, const float *x, int param, int64_t rows)
{
    kern_rmsnorm(m->k, &(struct kern_rmsnorm){.y = y, .x = x, .w = model_vec(m, param), .rows = rows, .c = m->conf.hidden, .eps = (float)m->conf.rms_eps});
}

void model_rotate(struct model *m, float *x, int64_t ldx, int64_t rows, int inverse)
{
    const struct model_config *c = &m->conf;
    kern_rope(m->k, &(struct kern_rope){.x = x, .pos = m->a.pos, .cos_sin = m->rope, .t = rows, .h = c->heads + c->kv_heads, .d = c->head_dim, .ldx = ldx,
                                        .head_stride = c->head_dim, .inverse = inverse});
}

/* q and k as attention wants them: normed per head where the family does, then rotated. */
void model_qk_forward(struct model *m, const struct layer *y, struct slot *s, int64_t t, const float **qk, int64_t *ld)
{
    const struct model_config *c = &m->conf;
    int64_t q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim, wide = q + 2 * kv, narrow = q + kv;
    if (!c->qk_norm) {
        model_rotate(m, s->qkv, wide, t, 0);
        *qk = s->qkv;
        *ld = wide;
        return;
    }
    struct kern_rmsnorm n = {.y = m->a.qk, .x = s->qkv, .w = model_vec(m, y->q_norm), .rows = t * c->heads, .c = c->head_dim, .inner = c->heads, .ldx = wide,
                             .ldy = narrow, .eps = (float)c->rms_eps};
    kern_rmsnorm(m->k, &n);
    n.y += q, n.x += q, n.w = model_vec(m, y->k_norm), n.rows = t * c->kv_heads, n.inner = c->kv_heads;
    kern_rmsnorm(m->k, &n);
    model_rotate(m, m->a.qk, narrow, t, 0);
    *qk = m->a.qk;
    *ld = narrow;
}

static void attention(struct model *m, const struct pass *p, int64_t l, struct slot *s)
{
    const struct model_config *c = &m->conf;
    int64_t q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim, wide = q + 2 * kv, ld;
    const float *qk, *v = s->qkv + q + kv;
    model_qk_forward(m, &m->layers[l], s, p->b->n_tok, &qk, &ld);
    if (p->step)
        model_write_cache(m, p, l, qk + q, ld, v, wide);
    kern_attn(m->k, &(struct kern_attn){.o = s->o, .lse = p->keep ? s->lse : NULL, .q = qk, .kv = model_kv_of(m, p, l, qk + q, ld, v, wide), .cu_q = p->b->cu_seqlens,
                                        .kv_len = p->step ? p->step->kv_len : m->a.kv_len, .n_seq = p->b->n_seq, .hq = c->heads, .hkv = c->kv_heads,
                                        .dk = c->head_dim, .dv = c->head_dim, .ldq = ld, .ldo = q, .scale = model_attn_scale(c), .prec = m->opts.prec});
}

/* Latent attention under YaRN: times (0.1 mscale_all_dim ln factor + 1)^2, at all lengths. src: DeepSeek-V3's inference code */
float model_attn_scale(const struct model_config *c)
{
    double m = c->kv_lora && c->rope.type == KERN_ROPE_YARN && c->rope.factor > 1 ? 0.1 * c->rope.mscale_all_dim * num_log(c->rope.factor) + 1 : 1;
    return (float)(m * m / sqrt((double)c->head_dim));
}

void model_linear(struct model *m, const struct linear *lin, float *y, const float *x, const float *residual, int64_t rows)
{
    kern_linear(m->k, &(struct kern_linear){.y = y, .x = x, .w = &lin->w, .bias = lin->bias, .residual = residual, .m = rows, .pow2 = lin->pow2_x});
}

static void dense_forward(struct model *m, const struct pass *p, const struct layer *y, struct slot *s, float *out)
{
    int64_t inter = m->conf.inter, t = p->b->n_tok;
    model_linear(m, &y->gu, s->gu, m->a.xn, NULL, t);
    if (p->keep)
        model_keep(m, &s->gu_kept, s->gu, 2 * t, inter, KERN_E4M3);
    if (!out)
        return;
    kern_swiglu(m->k, &(struct kern_swiglu){.y = m->a.act, .g = s->gu, .u = s->gu + inter, .rows = t, .c = inter, .ldg = 2 * inter});
    model_linear(m, &y->down, out, m->a.act, s->x_mid, t);
}

void model_layer_forward(struct model *m, const struct pass *p, int64_t l, float *out)
{
    const struct layer *y = &m->layers[l];
    struct slot *s = &m->a.slots[l];
    int64_t t = p->b->n_tok;
    model_norm_forward(m, m->a.xn, s->x_in, y->norm1, t);
    model_linear(m, &y->qkv, s->qkv, m->a.xn, NULL, t);
    (model_absorbed(m) ? model_absorbed_forward : m->conf.kv_lora ? model_latent_forward : attention)(m, p, l, s);
    if (p->keep)
        model_keep(m, &s->o_kept, s->o, t, model_o_width(&m->conf), KERN_E5M6);
    model_linear(m, &y->o, s->x_mid, s->o, s->x_in, t);
    model_norm_forward(m, m->a.xn, s->x_mid, y->norm2, t);
    if (y->mix)
        model_mixture_forward(m, p, l, s, out);
    else
        dense_forward(m, p, y, s, out);
}

void model_check_batch(struct model *m, const struct model_batch *b)
{
    int32_t top = 0;
    if (b->n_tok < 1 || b->n_tok > m->a.room.tokens || b->n_seq < 1 || b->n_seq > m->a.room.seqs)
        BUG("a batch of %lld tokens in %lld rows, reserved are %lld in %lld", (long long)b->n_tok, (long long)b->n_seq, (long long)m->a.room.tokens, (long long)m->a.room.seqs);
    assert(b->cu_seqlens[0] == 0 && b->cu_seqlens[b->n_seq] == b->n_tok);
    for (int64_t i = 0; i < b->n_tok; i++) {
        if (b->tokens[i] < 0 || b->tokens[i] >= m->conf.vocab)
            BUG("token id %d of a vocabulary of %lld", b->tokens[i], (long long)m->conf.vocab);
        assert(b->positions[i] >= 0);
        top = b->positions[i] > top ? b->positions[i] : top;
    }
    model_rope_upto(m, top + 1);
}

static void run(struct model *m, const struct pass *p)
{
    struct acts *a = &m->a;
    const struct model_batch *b = p->b;
    model_check_batch(m, b);
    kern_put(m->k, a->pos, b->positions, b->n_tok * 4);
    float *first = a->slots[0].x_in;
    kern_embed(m->k, &(struct kern_embed){.y = first, .table = m->table, .table_bf16 = m->table16, .ids = b->tokens, .t = b->n_tok, .c = m->conf.hidden, .v = m->conf.vocab});
    for (int64_t l = 0; l < m->conf.layers; l++)
        model_layer_forward(m, p, l, l + 1 < m->conf.layers ? a->slots[l + 1].x_in : a->x_last);
    model_norm_forward(m, a->fin, a->x_last, m->norm, b->n_tok);
    m->rows = b->n_tok;
}

void model_forward(struct model *m, const struct model_batch *b, int keep)
{
    assert(!keep || m->a.room.train);
    assert(b->n_seq <= m->a.room.seqs);
    for (int64_t s = 0; s < b->n_seq; s++)
        m->a.kv_len[s] = b->cu_seqlens[s + 1] - b->cu_seqlens[s];
    run(m, &(struct pass){.b = b, .keep = keep});
    m->kept = keep;
    m->has_mtp = 0;
    m->batch = *b;
    m->target = NULL;
}

void model_place_tokens(struct model *m, const struct model_cache *c, const struct model_step *s)
{
    assert(c->m == m && s->b.n_seq <= m->a.room.seqs && s->b.n_tok <= m->a.room.tokens);
    for (int64_t i = 0; i < s->b.n_seq; i++)
        for (int32_t t = s->b.cu_seqlens[i]; t < s->b.cu_seqlens[i + 1]; t++) {
            int32_t pos = s->b.positions[t], page = s->pages[i * s->max_pages + pos / KERN_PAGE];
            assert(pos < s->kv_len[i] && pos / KERN_PAGE < s->max_pages && page >= 0 && page < c->n_pages);
            m->a.page[t] = page;
            m->a.at[t] = pos % KERN_PAGE;
        }
}

void model_step(struct model *m, struct model_cache *c, const struct model_step *s)
{
    model_place_tokens(m, c, s);
    run(m, &(struct pass){.b = &s->b, .step = s, .cache = c});
    m->kept = 0;
    m->target = NULL;
}

/* ---- head --------------------------------------------------------------------------------- */

void model_logp(struct model *m, const struct model_logp *a)
{
    int64_t n = m->rows;
    assert(n > 0);
    kern_head(m->k, &(struct kern_head){.logp = m->a.logp, .lse = m->a.lse, .entropy = a->entropy ? m->a.entropy : NULL, .x = m->a.fin, .w = &m->head.w,
                                        .target = a->target, .t = n, .temperature = a->temperature});
    kern_get(m->k, a->logp, m->a.logp, n * 4);
    if (a->entropy)
        kern_get(m->k, a->entropy, m->a.entropy, n * 4);
    m->target = a->target;
    m->temperature = a->temperature;
    m->has_entropy = a->entropy != NULL;
}

void model_some_logits(struct model *m, const float *states, int64_t n_states, const int32_t *rows, int64_t n_rows, float *out)
{
    struct acts *a = &m->a;
    for (int64_t r = 0; r < n_rows; r += a->logit_rows) {
        int64_t n = n_rows - r < a->logit_rows ? n_rows - r : a->logit_rows;
        /* a lookup of rows is what the embedding does */
        kern_embed(m->k, &(struct kern_embed){.y = a->gathered, .table = states, .ids = rows + r, .t = n, .c = m->conf.hidden, .v = n_states});
        kern_logits(m->k, &(struct kern_logits){.y = a->logits, .x = a->gathered, .w = &m->head.w, .t = n});
        kern_get(m->k, out + r * m->conf.vocab, a->logits, n * m->conf.vocab * 4);
    }
}

void model_logits(struct model *m, const int32_t *rows, int64_t n_rows, float *out)
{
    model_some_logits(m, m->a.fin, m->rows, rows, n_rows, out);
}

void model_rows_logp(struct model *m, const float *logits, const int32_t *target, int64_t rows, float temperature, float *logp)
{
    struct acts *a = &m->a;
    for (int64_t r = 0; r < rows; r += a->logit_rows) {
        int64_t n = rows - r < a->logit_rows ? rows - r : a->logit_rows;
        kern_put(m->k, a->logits, logits + r * m->conf.vocab, n * m->conf.vocab * 4);
        kern_logp(m->k, &(struct kern_logp){.logp = a->row_logp, .lse = a->row_lse, .logits = a->logits, .target = target + r, .t = n, .v = m->conf.vocab,
                                            .temperature = temperature});
        kern_get(m->k, logp + r, a->row_logp, n * 4);
    }
}
