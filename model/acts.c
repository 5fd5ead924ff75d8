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

/* The buffers that a layer fills; x_in apart. */
static void plan_slot(struct plan *p, const struct model_config *c, int64_t t, struct slot *s)
{
    int64_t q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;
    s->qkv = take_f32(p, t * (q + 2 * kv));
    s->o = take_f32(p, t * q);
    s->lse = take_f32(p, t * c->heads);
    s->x_mid = take_f32(p, t * c->hidden);
    s->gu = take_f32(p, t * 2 * c->inter);
}

static void plan_slots(struct plan *p, const struct model *m, const struct model_room *r, struct acts *a)
{
    struct slot shared;
    int own = r->train && !m->opts.recompute;
    if (!own)
        plan_slot(p, &m->conf, r->tokens, &shared);
    float *x = r->train ? NULL : take_f32(p, r->tokens * m->conf.hidden);
    for (int64_t l = 0; l < m->conf.layers; l++) {
        struct slot s = shared;
        if (own)
            plan_slot(p, &m->conf, r->tokens, &s);
        s.x_in = r->train ? take_f32(p, r->tokens * m->conf.hidden) : x;
        if (a->slots)
            a->slots[l] = s;
    }
    a->x_last = r->train ? take_f32(p, r->tokens * m->conf.hidden) : x;
}

static void plan_backward(struct plan *p, const struct model_config *c, int64_t t, struct acts *a)
{
    int64_t q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;
    a->dx = take_f32(p, t * c->hidden);
    a->dxn = take_f32(p, t * c->hidden);
    a->dqkv = take_f32(p, t * (q + 2 * kv));
    a->dqk = c->qk_norm ? take_f32(p, t * (q + kv)) : NULL;
    a->dout = take_f32(p, t * q);
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
    a->act = take_f32(p, t * c->inter);
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
        plan_backward(p, c, t, a);
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
    m->a = (struct acts){.slots = m->a.slots};
}

static err_code host_alloc(struct acts *a, struct err *e)
{
    a->kv_len = malloc((size_t)a->room.seqs * sizeof *a->kv_len);
    a->page = malloc((size_t)a->room.tokens * sizeof *a->page);
    a->at = malloc((size_t)a->room.tokens * sizeof *a->at);
    return a->kv_len && a->page && a->at ? ERR_OK : err_set(e, ERR_LIMIT, "memory is short");
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
        m->a.slots = ARENA_NEW(&m->mem, struct slot, m->conf.layers);
    model_acts_free(m);
    m->kept = 0;
    m->rows = 0;
    m->a.bytes = model_room_bytes(m, &want);
    TRY(kern_alloc(m->k, m->a.bytes, "activations", &mem, e));
    m->a.mem = mem;
    m->a.room = want;
    struct plan p = {.base = mem};
    plan_all(&p, m, &want, &m->a);
    return host_alloc(&m->a, e);
}
