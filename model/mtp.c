/* Multi-token prediction: the modules' forward and backward over a training batch, and module 1 as a draft over the cache.
 * A module is a decoder layer like any other; its rows are those of the batch that have a token k places on, packed without gaps.
 * src: DeepSeek-V3 section 2.2; embedding half first and the main state behind the final norm, as the released weights want it */
#include "model/impl.h"

/* The layer functions read positions and key counts from the acts: the module's take their place for a while. */
struct view {
    int32_t *pos, *kv_len;
};

static struct view enter(struct model *m, const struct mtp_rows *r)
{
    struct view was = {m->a.pos, m->a.kv_len};
    m->a.pos = r->pos;
    m->a.kv_len = r->kv_len;
    return was;
}

static void leave(struct model *m, struct view was)
{
    m->a.pos = was.pos;
    m->a.kv_len = was.kv_len;
}

static struct model_batch batch_of(const struct mtp_rows *r)
{
    return (struct model_batch){.n_tok = r->n, .n_seq = r->seqs, .tokens = r->tokens, .positions = r->positions, .cu_seqlens = r->cu};
}

static void norm(struct model *m, float *y, int64_t ldy, const float *x, int param, int64_t rows)
{
    kern_rmsnorm(m->k, &(struct kern_rmsnorm){.y = y, .x = x, .w = model_vec(m, param), .rows = rows, .c = m->conf.hidden, .ldy = ldy, .eps = (float)m->conf.rms_eps});
}

static void look_up(struct model *m, float *y, const float *table, const int32_t *ids, int64_t n, int64_t rows)
{
    kern_embed(m->k, &(struct kern_embed){.y = y, .table = table, .ids = ids, .t = n, .c = m->conf.hidden, .v = rows});
}

/* a->xn: embeddings of the rows' tokens; w->cat: [enorm(a->xn) | hnorm(w->h)]. */
static void concatenate(struct model *m, const struct mtp *p, const struct mtp_rows *r)
{
    struct acts *a = &m->a;
    int64_t c = m->conf.hidden;
    kern_embed(m->k, &(struct kern_embed){.y = a->xn, .table = m->table, .table_bf16 = m->table16, .ids = r->tokens, .t = r->n, .c = c, .v = m->conf.vocab});
    norm(m, a->mtp.cat, 2 * c, a->xn, p->enorm, r->n);
    norm(m, a->mtp.cat + c, 2 * c, a->mtp.h, p->hnorm, r->n);
}

/* w->h: the states that module k (from 0) takes. */
static void take_states(struct model *m, int64_t k)
{
    const struct mtp_rows *r = &m->a.mtp.module[k];
    look_up(m, m->a.mtp.h, k ? r[-1].out : m->a.fin, r->from, r->n, k ? r[-1].n : m->rows);
}

static void module_forward(struct model *m, const struct pass *p, int64_t k)
{
    struct mtp_rows *r = &m->a.mtp.module[k];
    const struct mtp *of = &m->mtp[k];
    struct view was = enter(m, r);
    concatenate(m, of, r);
    model_linear(m, &of->eh, m->a.slots[m->conf.layers + k].x_in, m->a.mtp.cat, NULL, r->n);
    model_layer_forward(m, p, m->conf.layers + k, r->out);
    norm(m, r->fin, 0, r->out, of->norm, r->n);
    leave(m, was);
}

/* Rows of module k (from 0): those of the batch that have a token k + 1 places on in their sequence. */
static void choose_rows(struct model *m, const struct model_mtp *a, int64_t k)
{
    const struct model_batch *b = &m->batch;
    struct mtp_rows *r = &m->a.mtp.module[k];
    int32_t n = 0;
    r->seqs = b->n_seq;
    r->cu[0] = 0;
    for (int64_t s = 0; s < b->n_seq; s++) {
        for (int32_t i = b->cu_seqlens[s], to = b->cu_seqlens[s + 1] - (int32_t)k - 1; i < to; i++, n++) {
            r->tokens[n] = b->tokens[i + k + 1];
            r->positions[n] = b->positions[i];
            r->from[n] = k ? r[-1].cu[s] + (i - b->cu_seqlens[s]) : i;
            r->place[n] = i + (int32_t)k + 1;
            r->target[n] = a->target[r->place[n]];
        }
        r->cu[s + 1] = n;
        r->kv_len[s] = n - r->cu[s];
    }
    r->n = n;
}

void model_mtp(struct model *m, const struct model_mtp *a)
{
    struct mtp_work *w = &m->a.mtp;
    assert(m->kept && m->conf.mtp > 0);
    memset(a->logp, 0, (size_t)(m->conf.mtp * m->rows) * sizeof *a->logp);
    for (int64_t k = 0; k < m->conf.mtp; k++) {
        struct mtp_rows *r = &w->module[k];
        choose_rows(m, a, k);
        if (!r->n)
            continue;
        kern_put(m->k, r->pos, r->positions, r->n * 4);
        take_states(m, k);
        struct model_batch b = batch_of(r);
        module_forward(m, &(struct pass){.b = &b, .keep = 1}, k);
        kern_head(m->k, &(struct kern_head){.logp = r->logp, .lse = r->lse, .x = r->fin, .w = &m->head.w, .target = r->target, .t = r->n, .temperature = 1});
        kern_get(m->k, w->logp, r->logp, r->n * 4);
        for (int64_t i = 0; i < r->n; i++)
            a->logp[k * m->rows + r->place[i]] = w->logp[i];
    }
    m->has_mtp = 1;
}

/* ---- backward ------------------------------------------------------------------------------- */

/* a->dx: what flows into the module's output: from its head, and from the module behind it (whose dh is in w->dh). */
static void output_back(const struct back *b, int64_t k, const float *g)
{
    struct model *m = b->m;
    struct acts *a = &m->a;
    struct mtp_rows *r = &a->mtp.module[k];
    for (int64_t i = 0; i < r->n; i++)
        a->mtp.logp[i] = g[r->place[i]];
    kern_put(m->k, a->g, a->mtp.logp, r->n * 4);
    kern_head_bwd(m->k, &(struct kern_head_bwd){.dx = a->dxn, .dw = b->apart ? NULL : b->grads[m->head.first],
                                                .fresh = !b->apart && model_first_grad(b, m->head.first), .x = r->fin, .lse = r->lse, .g = a->g, .w = &m->head.w, .target = r->target, .t = r->n,
                                                .temperature = 1});
    model_norm_back(b, a->dx, a->dxn, r->out, m->mtp[k].norm, 0);
    if (k + 1 < m->conf.mtp && r[1].n)
        kern_embed_bwd(m->k, &(struct kern_embed_bwd){.dtable = a->dx, .dy = a->mtp.dh, .ids = r[1].from, .t = r[1].n, .c = m->conf.hidden, .v = r->n});
}

/* From a->dx, the gradient of eh_proj's output, to the embedding table and w->dh. */
static void input_back(const struct back *b, int64_t k)
{
    struct model *m = b->m;
    struct acts *a = &m->a;
    struct mtp_work *w = &a->mtp;
    const struct mtp_rows *r = &w->module[k];
    const struct mtp *of = &m->mtp[k];
    int64_t c = m->conf.hidden;
    take_states(m, k);
    concatenate(m, of, r);
    model_wgrad(b, &of->eh, a->dx, w->cat, r->n);
    model_dgrad(b, &of->eh, w->dcat, a->dx, r->n, 0);
    struct kern_rmsnorm_bwd n = {.dx = a->dxn, .dw = model_grad_of(b, of->enorm), .dy = w->dcat, .x = a->xn, .w = model_vec(m, of->enorm), .rows = r->n, .c = c, .lddy = 2 * c,
                                 .eps = (float)m->conf.rms_eps};
    kern_rmsnorm_bwd(m->k, &n);
    if (!b->apart)
        kern_embed_bwd(m->k, &(struct kern_embed_bwd){.dtable = model_grad_of(b, m->embed), .dy = a->dxn, .ids = r->tokens, .t = r->n, .c = c, .v = m->conf.vocab});
    n.dx = w->dh, n.dw = model_grad_of(b, of->hnorm), n.dy = w->dcat + c, n.x = w->h, n.w = model_vec(m, of->hnorm);
    kern_rmsnorm_bwd(m->k, &n);
}

void model_mtp_back(struct model *m, const struct model_grad *g, uint8_t *has)
{
    struct mtp_work *w = &m->a.mtp;
    kern_zero(m->k, w->dfin, m->rows * m->conf.hidden * 4);
    for (int64_t k = m->conf.mtp - 1; k >= 0; k--) {
        struct mtp_rows *r = &w->module[k];
        struct model_batch batch = batch_of(r);
        struct back b = {.m = m, .b = &batch, .grads = g->grads, .t = r->n, .balance = g->balance, .balance_loss = g->balance_loss, .apart = g->mtp_apart, .has = has};
        if (!r->n)
            continue;
        struct view was = enter(m, r);
        output_back(&b, k, g->g_mtp + k * m->rows);
        model_layer_back(&b, m->conf.layers + k);
        input_back(&b, k);
        leave(m, was);
        if (k == 0 && !b.apart)
            kern_embed_bwd(m->k, &(struct kern_embed_bwd){.dtable = w->dfin, .dy = w->dh, .ids = r->from, .t = r->n, .c = m->conf.hidden, .v = m->rows});
    }
}

/* ---- draft ---------------------------------------------------------------------------------- */

void model_draft(struct model *m, struct model_cache *c, const struct model_draft *d)
{
    struct mtp_work *w = &m->a.mtp;
    struct mtp_rows *r = &w->module[0];
    const struct model_batch *b = &d->s.b;
    int64_t n = b->n_tok, states = d->again ? r->n : m->rows;
    assert(m->conf.mtp > 0);
    model_check_batch(m, b);
    model_place_tokens(m, c, &d->s);
    for (int64_t i = 0; i < n; i++) {
        assert(d->from[i] < states && (d->from[i] >= 0 || d->states));
        r->from[i] = d->from[i] < 0 ? 0 : d->from[i];
        r->tokens[i] = b->tokens[i];
    }
    look_up(m, w->h, d->again ? r->out : m->a.fin, r->from, n, states);
    for (int64_t i = 0; i < n; i++)
        if (d->from[i] < 0)
            kern_put(m->k, w->h + i * m->conf.hidden, d->states + (-1 - d->from[i]) * m->conf.hidden, m->conf.hidden * 4);
    r->n = n;
    kern_put(m->k, r->pos, b->positions, n * 4);
    module_forward(m, &(struct pass){.b = b, .step = &d->s, .cache = c}, 0);
    m->kept = m->has_mtp = 0;
}

void model_draft_logits(struct model *m, const int32_t *rows, int64_t n_rows, float *out)
{
    model_some_logits(m, m->a.mtp.module[0].fin, m->a.mtp.module[0].n, rows, n_rows, out);
}

void model_state(struct model *m, int32_t row, float *out)
{
    assert(row >= 0 && row < m->rows);
    kern_get(m->k, out, m->a.fin + row * m->conf.hidden, m->conf.hidden * 4);
}
