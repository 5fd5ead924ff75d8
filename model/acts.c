/* Memory of the passes: one plan, one allocation. */
#include <stdlib.h>

#include "model/impl.h"

/* Hands out pieces of one range; with base NULL it only adds up. */
struct plan {
    char *base;
    int64_t at;
};

static void *take(struct plan *p, int64_t n, int64_t size)
{
    void *at = p->base ? p->base + p->at : NULL;
    p->at += (n * size + 63) / 64 * 64;
    return at;
}

static float *take_f32(struct plan *p, int64_t n)
{
    return take(p, n, 4);
}

enum { MOST_LOGIT_ROWS = 64 };

static struct narrow take_narrow(struct plan *p, int64_t rows, int64_t c, enum kern_narrow format)
{
    struct narrow n = {take(p, rows * kern_narrow_bytes(c, format), 1), NULL};
    n.scale = take_f32(p, rows * ((c + 127) / 128));
    return n;
}

/* Which of a slot's buffers: dense layers and mixtures have different ones. */
struct kinds {
    int dense, mixture;
};

/* The wide buffers of a layer, which FP8 keeps in few bits. */
static void plan_wide(struct plan *p, const struct model *m, int64_t t, struct kinds k, struct slot *s)
{
    const struct model_config *c = &m->conf;
    s->q = c->q_lora ? take_f32(p, t * c->heads * c->head_dim) : NULL;
    s->kv = c->kv_lora && !model_absorbed(m) ? take_f32(p, t * c->heads * (c->d_nope + c->d_v)) : NULL;
    s->lat_o = model_absorbed(m) ? take_f32(p, t * c->heads * c->kv_lora) : NULL;
    s->o = take_f32(p, t * model_o_width(c));
    if (k.dense)
        s->gu = take_f32(p, t * 2 * c->inter);
    if (k.mixture) {
        s->expert_gu = take_f32(p, t * c->top_k * 2 * c->expert_inter);
        s->shared_gu = take_f32(p, t * 2 * c->shared * c->expert_inter);
    }
}

static void plan_kept(struct plan *p, const struct model *m, int64_t t, struct kinds k, struct slot *s)
{
    const struct model_config *c = &m->conf;
    s->o_kept = take_narrow(p, t, model_o_width(c), KERN_E5M6);
    s->lat_o_kept = take_narrow(p, model_absorbed(m) ? t : 0, c->heads * c->kv_lora, KERN_E5M6);
    if (k.dense)
        s->gu_kept = take_narrow(p, 2 * t, c->inter, KERN_E4M3);
    if (k.mixture) {
        s->expert_gu_kept = take_narrow(p, 2 * t * c->top_k, c->expert_inter, KERN_E4M3);
        s->shared_gu_kept = take_narrow(p, 2 * t, c->shared * c->expert_inter, KERN_E4M3);
    }
}

/* The others; x_in apart. */
static void plan_slot(struct plan *p, const struct model *m, int64_t t, struct kinds k, struct slot *s)
{
    const struct model_config *c = &m->conf;
    s->qkv = take_f32(p, t * m->layers[0].qkv.w.n);
    s->lse = take_f32(p, t * c->heads);
    s->x_mid = take_f32(p, t * c->hidden);
    if (c->kv_lora && !c->q_lora)
        s->q = s->qkv;
    if (k.mixture) {
        s->score = take_f32(p, t * c->experts);
        s->weight = take_f32(p, t * c->top_k);
        s->id = take(p, t * c->top_k, 4);
    }
}

static int has_dense(const struct model_config *c)
{
    return !c->experts || c->first_dense > 0;
}

static int has_mixture(const struct model_config *c)
{
    return c->experts && c->first_dense < c->layers + c->mtp;
}

static void plan_slots(struct plan *p, const struct model *m, const struct model_room *r, struct acts *a)
{
    const struct model_config *c = &m->conf;
    struct slot shared = {0};
    const struct kinds all = {has_dense(c), has_mixture(c)};
    int own = r->train && !m->opts.recompute, narrow = r->train && model_is_narrow(m);
    if (!own || narrow)
        plan_wide(p, m, r->tokens, all, &shared);
    if (!own && narrow)
        plan_kept(p, m, r->tokens, all, &shared);
    if (!own)
        plan_slot(p, m, r->tokens, all, &shared);
    float *x = r->train ? NULL : take_f32(p, r->tokens * c->hidden);
    for (int64_t l = 0; l < model_all_layers(m); l++) {
        struct slot s = shared;
        const struct kinds k = {!m->layers[l].mix, m->layers[l].mix != NULL};
        if (own) {
            (narrow ? plan_kept : plan_wide)(p, m, r->tokens, k, &s);
            plan_slot(p, m, r->tokens, k, &s);
        }
        s.x_in = r->train ? take_f32(p, r->tokens * c->hidden) : x;
        if (a->slots)
            a->slots[l] = s;
    }
    a->x_last = r->train ? take_f32(p, r->tokens * c->hidden) : x;
}

static void plan_latent(struct plan *p, const struct model_config *c, int64_t t, int train, struct latent_work *w)
{
    int64_t k = c->heads * c->head_dim, v = c->heads * c->d_v, kv = c->heads * (c->d_nope + c->d_v);
    w->cq = take_f32(p, t * c->q_lora);
    w->ckv = take_f32(p, t * c->kv_lora);
    w->k = take_f32(p, t * k);
    w->v = take_f32(p, t * v);
    if (!train)
        return;
    w->dq = take_f32(p, c->q_lora ? t * k : 0);
    w->dkv = take_f32(p, t * kv);
    w->dk = take_f32(p, t * k);
    w->dv = take_f32(p, t * v);
    w->dcq = take_f32(p, t * c->q_lora);
    w->dckv = take_f32(p, t * c->kv_lora);
}

static void plan_absorbed(struct plan *p, const struct model_config *c, int64_t t, int train, struct latent_work *w)
{
    int64_t wide = c->kv_lora + c->d_rope;
    w->cq = take_f32(p, t * c->q_lora);
    w->lat = take_f32(p, t * wide);
    w->qa = take_f32(p, t * c->heads * wide);
    if (!train)
        return;
    w->dq = take_f32(p, c->q_lora ? t * c->heads * c->head_dim : 0);
    w->dqa = take_f32(p, t * c->heads * wide);
    w->dk = take_f32(p, t * wide);
    w->dv = take_f32(p, t * wide);
    w->dlat_o = take_f32(p, t * c->heads * c->kv_lora);
    w->dcq = take_f32(p, t * c->q_lora);
    w->dckv = take_f32(p, t * c->kv_lora);
}

static void plan_mixture(struct plan *p, const struct model_config *c, int64_t t, int train, struct mixture_work *w)
{
    int64_t rows = t * c->top_k;
    w->z = take_f32(p, t * c->experts);
    w->x = take_f32(p, rows * c->hidden);
    w->y = take_f32(p, rows * c->hidden);
    w->act = take_f32(p, rows * c->expert_inter);
    w->shared_act = take_f32(p, t * c->shared * c->expert_inter);
    w->shared_y = take_f32(p, c->shared ? t * c->hidden : 0);
    if (!train)
        return;
    w->dy = take_f32(p, rows * c->hidden);
    w->dact = take_f32(p, rows * c->expert_inter);
    w->dweight = take_f32(p, rows);
    w->dz = take_f32(p, t * c->experts);
    w->balance = take_f32(p, t);
}

/* A linear's input on its way to the weight gradient: any of them, as many rows as go to experts. */
static struct narrow take_round(struct plan *p, const struct model_config *c, int64_t t)
{
    int64_t wide = c->q_lora > c->kv_lora ? c->q_lora : c->kv_lora;
    return take_narrow(p, t * (c->top_k > 1 ? c->top_k : 1), wide > c->hidden ? wide : c->hidden, KERN_E4M3);
}

/* module NULL: only adds up. Outside of training one module runs, as a draft. */
static void plan_mtp(struct plan *p, const struct model_config *c, int64_t t, int train, struct mtp_work *w)
{
    w->h = take_f32(p, t * c->hidden);
    w->cat = take_f32(p, 2 * t * c->hidden);
    for (int64_t k = 0; k < (train ? c->mtp : 1); k++) {
        struct mtp_rows r = w->module ? w->module[k] : (struct mtp_rows){0};
        r.out = take_f32(p, t * c->hidden);
        r.fin = take_f32(p, t * c->hidden);
        r.logp = take_f32(p, t);
        r.lse = take_f32(p, t);
        r.pos = take(p, t, 4);
        if (w->module)
            w->module[k] = r;
    }
    if (!train)
        return;
    w->dh = take_f32(p, t * c->hidden);
    w->dcat = take_f32(p, 2 * t * c->hidden);
    w->dfin = take_f32(p, t * c->hidden);
}

static void plan_backward(struct plan *p, const struct model *m, int64_t t, struct acts *a)
{
    const struct model_config *c = &m->conf;
    a->dx = take_f32(p, t * c->hidden);
    a->dxn = take_f32(p, t * c->hidden);
    a->dqkv = take_f32(p, t * m->layers[0].qkv.w.n);
    a->dqk = c->qk_norm ? take_f32(p, t * (c->heads + c->kv_heads) * c->head_dim) : NULL;
    a->dout = take_f32(p, t * model_o_width(c));
    if (model_is_narrow(m))
        a->round = take_round(p, c, t);
    a->g = take_f32(p, t);
    a->ge = take_f32(p, t);
}

static void plan_all(struct plan *p, const struct model *m, const struct model_room *r, struct acts *a)
{
    const struct model_config *c = &m->conf;
    int64_t t = r->tokens;
    plan_slots(p, m, r, a);
    a->fin = take_f32(p, t * c->hidden);
    a->xn = take_f32(p, t * c->hidden);
    a->qk = c->qk_norm ? take_f32(p, t * (c->heads + c->kv_heads) * c->head_dim) : NULL;
    a->act = has_dense(c) ? take_f32(p, t * c->inter) : NULL;
    if (c->kv_lora)
        (model_absorbed(m) ? plan_absorbed : plan_latent)(p, c, t, r->train, &a->lat);
    if (has_mixture(c))
        plan_mixture(p, c, t, r->train, &a->mix);
    if (c->mtp)
        plan_mtp(p, c, t, r->train, &a->mtp);
    a->logp = take_f32(p, t);
    a->lse = take_f32(p, t);
    a->entropy = take_f32(p, t);
    a->pos = take(p, t, 4);
    a->logit_rows = r->seqs < MOST_LOGIT_ROWS ? r->seqs : MOST_LOGIT_ROWS;
    a->gathered = take_f32(p, a->logit_rows * c->hidden);
    a->logits = take_f32(p, a->logit_rows * c->vocab);
    a->row_logp = take_f32(p, a->logit_rows);
    a->row_lse = take_f32(p, a->logit_rows);
    if (r->train)
        plan_backward(p, m, t, a);
}

int64_t model_room_bytes(const struct model *m, const struct model_room *r)
{
    struct plan p = {0};
    struct acts a = {0};
    plan_all(&p, m, r, &a);
    return p.at;
}

void model_acts_free(struct model *m)
{
    kern_free(m->k, m->a.mem);
    free(m->a.kv_len);
    free(m->a.page);
    free(m->a.at);
    free(m->a.mix.first);
    free(m->a.mix.dw);
    free(m->a.mix.routes);
    free(m->a.mtp.host);
    free(m->a.mtp.logp);
    m->a = (struct acts){.slots = m->a.slots, .mtp.module = m->a.mtp.module};
}

static int host_alloc_mtp(struct acts *a, const struct model_config *c)
{
    int64_t t = a->room.tokens, each = 5 * t + 2 * a->room.seqs + 1;
    a->mtp.host = malloc((size_t)(c->mtp * each) * sizeof *a->mtp.host);
    a->mtp.logp = malloc((size_t)t * sizeof *a->mtp.logp);
    for (int64_t k = 0; a->mtp.host && k < c->mtp; k++) {
        struct mtp_rows *r = &a->mtp.module[k];
        r->tokens = a->mtp.host + k * each;
        r->positions = r->tokens + t;
        r->from = r->positions + t;
        r->target = r->from + t;
        r->place = r->target + t;
        r->cu = r->place + t;
        r->kv_len = r->cu + a->room.seqs + 1;
    }
    return a->mtp.host && a->mtp.logp;
}

static err_code host_alloc(struct model *m, struct err *e)
{
    struct acts *a = &m->a;
    const struct model_config *c = &m->conf;
    a->kv_len = malloc((size_t)a->room.seqs * sizeof *a->kv_len);
    a->page = malloc((size_t)a->room.tokens * sizeof *a->page);
    a->at = malloc((size_t)a->room.tokens * sizeof *a->at);
    int ok = a->kv_len && a->page && a->at;
    if (ok && c->experts) { /* one block: counts, then the four maps */
        int64_t n = a->room.tokens * c->top_k;
        a->mix.first = malloc((size_t)(c->experts + 1 + 4 * n) * sizeof(int32_t));
        a->mix.dw = malloc((size_t)c->experts * sizeof *a->mix.dw);
        a->mix.routes = malloc((size_t)(n * m->n_routed + 1) * sizeof *a->mix.routes);
        ok = a->mix.first && a->mix.dw && a->mix.routes;
        a->mix.row_of = ok ? a->mix.first + c->experts + 1 : NULL;
        a->mix.slot_of = ok ? a->mix.row_of + n : NULL;
        a->mix.token_of = ok ? a->mix.slot_of + n : NULL;
        a->mix.ids = ok ? a->mix.token_of + n : NULL;
    }
    if (ok && c->mtp)
        ok = host_alloc_mtp(a, c);
    return ok ? ERR_OK : err_set(e, ERR_LIMIT, "memory is short");
}

err_code model_reserve(struct model *m, const struct model_room *r, struct err *e)
{
    struct model_room want = m->a.room;
    void *mem;
    assert(r->tokens > 0 && r->seqs > 0 && (!r->train || m->opts.train));
    want.tokens = r->tokens > want.tokens ? r->tokens : want.tokens;
    want.seqs = r->seqs > want.seqs ? r->seqs : want.seqs;
    want.train |= r->train;
    if (m->a.mem && want.tokens == m->a.room.tokens && want.seqs == m->a.room.seqs && want.train == m->a.room.train)
        return ERR_OK;
    if (!m->a.slots)
        m->a.slots = ARENA_NEW(&m->mem, struct slot, model_all_layers(m));
    if (!m->a.mtp.module)
        m->a.mtp.module = ARENA_NEW(&m->mem, struct mtp_rows, m->conf.mtp);
    model_acts_free(m);
    m->kept = 0;
    m->rows = 0;
    m->a.bytes = model_room_bytes(m, &want);
    TRY(kern_alloc(m->k, m->a.bytes, "activations", &mem, e));
    m->a.mem = mem;
    m->a.room = want;
    struct plan p = {.base = mem};
    plan_all(&p, m, &want, &m->a);
    return host_alloc(m, e);
}
