/* Memory of the weights, filling it, packs and who shares them, digest. */
#include <stdatomic.h>
#include <stdlib.h>

#include "core/hash.h"
#include "core/par.h"
#include "model/impl.h"

/* ---- memory ------------------------------------------------------------------------------- */

static int64_t pack_room(const struct model *m, const struct kern_weight *w)
{
    return (kern_pack_bytes(m->k, w->n, w->k, w->prec) + 63) / 64 * 64;
}

/* Of a linear: one pack, or two per head. */
static int64_t linear_room(const struct model *m, const struct linear *lin)
{
    return lin->uk ? m->conf.heads * (pack_room(m, lin->uk) + pack_room(m, lin->uv)) : pack_room(m, &lin->w);
}

static err_code packs_open(struct model *m, struct packs **out, struct err *e)
{
    int64_t bytes = 0;
    for (int64_t i = 0; i < m->n_linears; i++) {
        struct linear *lin = m->linears[i];
        lin->pack_at = bytes;
        bytes += linear_room(m, lin);
    }
    struct packs *p = calloc(1, sizeof *p);
    if (!p)
        return err_set(e, ERR_LIMIT, "memory is short");
    p->bytes = bytes;
    p->refs = 1;
    if (kern_alloc(m->k, bytes, "packed weights", &p->mem, e) != ERR_OK) {
        free(p);
        return e ? e->code : ERR_LIMIT;
    }
    *out = p;
    return ERR_OK;
}

static void packs_drop(struct kern *k, struct packs *p)
{
    if (p && --p->refs == 0) {
        kern_free(k, p->mem);
        free(p);
    }
}

/* The heads' shares of kv_b: rows of its master, packs in its place. */
static void bind_heads(struct model *m, struct linear *lin)
{
    const struct model_config *c = &m->conf;
    char *at = (char *)m->packs->mem + lin->pack_at;
    for (int64_t h = 0; h < c->heads; h++) {
        struct kern_weight *uk = &lin->uk[h], *uv = &lin->uv[h];
        const float *rows = lin->w.w ? lin->w.w + h * (c->d_nope + c->d_v) * c->kv_lora : NULL;
        uk->w = rows;
        uv->w = rows ? rows + c->d_nope * c->kv_lora : NULL;
        uk->pack = at;
        uv->pack = at + pack_room(m, uk);
        at += pack_room(m, uk) + pack_room(m, uv);
    }
    lin->w.pack = NULL;
}

/* Points the linears at masters, biases and packs. */
static void bind(struct model *m)
{
    for (int64_t p = 0; p < m->n_params; p++)
        m->params[p].w = m->offset[p] < 0 ? NULL : m->masters + m->offset[p];
    for (int64_t i = 0; i < m->n_linears; i++) {
        struct linear *lin = m->linears[i];
        lin->w.w = m->params[lin->first].w;
        lin->w.pack = (char *)m->packs->mem + lin->pack_at;
        lin->bias = model_vec(m, lin->bias_first);
        if (lin->uk)
            bind_heads(m, lin);
    }
    for (int64_t l = 0; l < model_all_layers(m); l++) {
        const struct mixture *x = m->layers[l].mix;
        for (int64_t e = 0; x && e < m->conf.experts; e++) {
            x->gu_w[e] = x->gu[e].w;
            x->down_w[e] = x->down[e].w;
        }
    }
    if (m->opts.train)
        m->table = m->params[m->embed].w;
}

static err_code table_alloc(struct model *m, int bf16, struct err *e)
{
    void *p;
    int64_t n = m->params[m->embed].n;
    TRY(kern_alloc(m->k, n * (bf16 ? 2 : 4), "embedding table", &p, e));
    if (bf16)
        m->table16 = p;
    else
        m->table = p;
    return ERR_OK;
}

static err_code weights_alloc(struct model *m, int table_is_bf16, struct err *e)
{
    void *p;
    TRY(kern_alloc(m->k, m->master_floats * 4, m->opts.train ? "master weights" : "norms and biases", &p, e));
    m->masters = p;
    if (!m->opts.train)
        TRY(table_alloc(m, table_is_bf16, e));
    TRY(packs_open(m, &m->packs, e));
    bind(m);
    return ERR_OK;
}

/* ---- filling ------------------------------------------------------------------------------ */

enum { FILL_BLOCK = 1 << 20, FILL_GRAIN = 1 << 14, PACK_ROWS = 128 /* rows that kern_pack_rows may begin at */ };

/* One block of elements of a parameter, filled and checked by all threads. */
struct block {
    const struct model_fill *f;
    int64_t p, first;
    float *out;
    _Atomic int64_t bad;       /* lowest element that is not finite, or INT64_MAX */
};

static void fill_some(void *ctx, int64_t from, int64_t to, int worker)
{
    (void)worker;
    struct block *b = ctx;
    b->f->fill(b->f->ctx, b->p, b->first + from, to - from, b->out + from);
    for (int64_t i = from; i < to; i++) {
        uint32_t bits;
        memcpy(&bits, &b->out[i], 4);
        if ((bits & 0x7f800000) != 0x7f800000)
            continue;
        int64_t was = atomic_load(&b->bad);
        while (b->first + i < was && !atomic_compare_exchange_weak(&b->bad, &was, b->first + i))
            ;
        break;
    }
}

struct filler {
    struct model *m;
    const struct model_fill *f;
    float *host;               /* FILL_BLOCK floats, or PACK_ROWS rows where those are more */
    float *dev;                /* the same, backend memory */
    int64_t room;
    struct hash128 *sums;      /* [n_params] of the f32 values, when they are not kept; else NULL */
    struct err *e;
};

/* hash: NULL, or takes the values too */
static err_code fill_block(struct filler *w, int64_t p, int64_t first, int64_t n, float *out, struct hash_state *hash)
{
    struct block b = {.f = w->f, .p = p, .first = first, .out = out, .bad = INT64_MAX};
    par_for(n, FILL_GRAIN, fill_some, &b);
    if (b.bad != INT64_MAX) {
        const struct model_param *q = &w->m->params[p];
        return err_set(w->e, ERR_DIVERGED, "'%s': tensor '%s' has NaN or Inf at row %lld, column %lld", w->f->from, q->name, (long long)(b.bad / q->cols),
                       (long long)(b.bad % q->cols));
    }
    if (hash)
        hash_add(hash, out, n * 4);
    return ERR_OK;
}

/* In place: element i is read before it is written over. The values are bf16 already, so that nothing is lost. */
static void cut_to_bf16(float *v, int64_t n)
{
    uint16_t *half = (uint16_t *)v;
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &v[i], 4);
        half[i] = (uint16_t)(bits >> 16);
    }
}

/* A parameter that is kept as f32 (dst) or bf16 (dst16), in blocks. */
static err_code fill_flat(struct filler *w, int64_t p, float *dst, uint16_t *dst16)
{
    int64_t n = w->m->params[p].n;
    struct hash_state *hash = w->sums ? hash_open() : NULL;
    err_code rc = ERR_OK;
    for (int64_t at = 0; at < n && rc == ERR_OK; at += w->room) {
        int64_t k = n - at < w->room ? n - at : w->room;
        rc = fill_block(w, p, at, k, w->host, hash);
        if (rc == ERR_OK && dst)
            kern_put(w->m->k, dst + at, w->host, k * 4);
        if (rc == ERR_OK && dst16) {
            cut_to_bf16(w->host, k);
            kern_put(w->m->k, dst16 + at, w->host, k * 2);
        }
    }
    if (hash)
        w->sums[p] = hash_close(hash);
    return rc;
}

enum { MOST_PARTS = 3 };

/* Rows [first, first + rows) of a linear whose parts lie apart, into host memory. */
static err_code gather_rows(struct filler *w, const struct linear *lin, int64_t first, int64_t rows, struct hash_state **hash)
{
    int64_t k = lin->w.k, part_first = 0;
    for (int i = 0; i < lin->n_parts; i++) {
        int64_t n = w->m->params[lin->first + i].rows, from = first - part_first, to = first + rows - part_first;
        from = from < 0 ? 0 : from;
        to = to > n ? n : to;
        if (from < to)
            TRY(fill_block(w, lin->first + i, from * k, (to - from) * k, w->host + (part_first + from - first) * k, hash[i]));
        part_first += n;
    }
    return ERR_OK;
}

/* The rows of one head of kv_b (k: kv_lora), in backend memory. */
static void pack_head(struct model *m, const struct linear *lin, int64_t h, const float *rows)
{
    kern_pack_turned(m->k, &lin->uk[h], rows);
    kern_pack_rows(m->k, &lin->uv[h], rows + m->conf.d_nope * m->conf.kv_lora, 0, 0, m->conf.d_v);
}

static void pack(struct model *m, const struct linear *lin)
{
    for (int64_t h = 0; lin->uk && h < m->conf.heads; h++)
        pack_head(m, lin, h, lin->uk[h].w);
    if (!lin->uk)
        kern_pack(m->k, &lin->w);
}

/* A step of the loop below: a head of kv_b, or rows of any other. */
static void pack_some(struct filler *w, const struct linear *lin, int64_t first, int64_t rows)
{
    kern_put(w->m->k, w->dev, w->host, rows * lin->w.k * 4);
    if (lin->uk)
        pack_head(w->m, lin, first / rows, w->dev);
    else
        kern_pack_rows(w->m->k, &lin->w, w->dev, 0, first, rows);
}

static err_code pack_without_master(struct filler *w, const struct linear *lin)
{
    int64_t k = lin->w.k, step = lin->uk ? w->m->conf.d_nope + w->m->conf.d_v : w->room / k / PACK_ROWS * PACK_ROWS;
    struct hash_state *hash[MOST_PARTS] = {NULL};
    err_code rc = ERR_OK;
    assert(lin->n_parts <= MOST_PARTS);
    for (int i = 0; i < lin->n_parts; i++)
        hash[i] = lin->first + i == w->m->embed ? NULL : hash_open(); /* a tied table was read once already */
    for (int64_t r = 0; r < lin->w.n && rc == ERR_OK; r += step) {
        int64_t rows = lin->w.n - r < step ? lin->w.n - r : step;
        rc = gather_rows(w, lin, r, rows, hash);
        if (rc == ERR_OK)
            pack_some(w, lin, r, rows);
    }
    for (int i = 0; i < lin->n_parts; i++)
        if (hash[i])
            w->sums[lin->first + i] = hash_close(hash[i]);
    return rc;
}

/* Of every parameter's name, shape and the hash of its values. */
static void digest_of(const struct model *m, const struct hash128 *sums, char out[33])
{
    struct hash_state *h = hash_open();
    for (int64_t p = 0; p < m->n_params; p++) {
        hash_field(h, m->params[p].name, (int64_t)strlen(m->params[p].name));
        hash_add(h, &m->params[p].rows, 8);
        hash_add(h, &m->params[p].cols, 8);
        hash_add(h, &sums[p], sizeof sums[p]);
    }
    hash_hex(hash_close(h), out);
}

static err_code fill_all(struct filler *w)
{
    struct model *m = w->m;
    for (int64_t p = 0; p < m->n_params; p++) {
        if (m->offset[p] >= 0)
            TRY(fill_flat(w, p, m->params[p].w, NULL));
        else if (p == m->embed)
            TRY(fill_flat(w, p, m->table, m->table16));
    }
    for (int64_t i = 0; i < m->n_linears; i++) {
        const struct linear *lin = m->linears[i];
        if (!m->opts.train)
            TRY(pack_without_master(w, lin)); /* for its hash, too */
        if (!model_pack_codes(m, lin, w->f) && m->opts.train)
            pack(m, lin);
    }
    if (w->sums)
        digest_of(m, w->sums, m->digest);
    return ERR_OK;
}

err_code model_fill(struct model *m, const struct model_fill *f, struct err *e)
{
    struct filler w = {.m = m, .f = f, .room = FILL_BLOCK, .e = e};
    TRY(weights_alloc(m, f->table_is_bf16, e));
    for (int64_t i = 0; i < m->n_linears; i++)
        if (m->linears[i]->w.k * PACK_ROWS > w.room)
            w.room = m->linears[i]->w.k * PACK_ROWS;
    if ((m->conf.d_nope + m->conf.d_v) * m->conf.kv_lora > w.room)
        w.room = (m->conf.d_nope + m->conf.d_v) * m->conf.kv_lora;
    void *dev;
    w.host = malloc((size_t)w.room * 4);
    w.sums = m->opts.train ? NULL : calloc((size_t)m->n_params, sizeof *w.sums);
    err_code rc = !w.host || (!w.sums && !m->opts.train) ? err_set(e, ERR_LIMIT, "memory is short") : kern_alloc(m->k, w.room * 4, "loading", &dev, e);
    if (rc == ERR_OK) {
        w.dev = dev;
        rc = fill_all(&w);
        kern_free(m->k, dev);
    }
    free(w.host);
    free(w.sums);
    return rc;
}

/* ---- after the optimiser ------------------------------------------------------------------ */

void model_refresh(struct model *m)
{
    assert(m->opts.train);
    if (m->packs->refs > 1) { /* a frozen copy goes on reading the old ones */
        assert(m->spare);
        m->packs->refs--;
        m->packs = m->spare;
        m->spare = NULL;
        bind(m);
    }
    for (int64_t i = 0; i < m->n_linears; i++)
        pack(m, m->linears[i]);
}

static int is_bf16(const float *v, int64_t n)
{
    uint32_t low = 0, bits;
    for (int64_t i = 0; i < n; i++) {
        memcpy(&bits, &v[i], 4);
        low |= bits & 0xffff;
    }
    return low == 0;
}

static void read_param(const struct model *m, int64_t p, int64_t first, int64_t n, float *out)
{
    if (m->params[p].w)
        kern_get(m->k, out, m->params[p].w + first, n * 4);
    else if (m->table)
        kern_get(m->k, out, m->table + first, n * 4);
    else {
        uint16_t *half = (uint16_t *)out + n; /* the upper half: widening upwards does not overtake it */
        kern_get(m->k, half, (const uint16_t *)m->table16 + first, n * 2);
        for (int64_t i = 0; i < n; i++) {
            uint32_t bits = (uint32_t)half[i] << 16;
            memcpy(&out[i], &bits, 4);
        }
    }
}

/* Vectors and the embedding table: the trainer changes those in place, so a frozen copy has its own. */
static err_code copy_plain(struct model *to, const struct model *from, struct err *e)
{
    float *buf = malloc(FILL_BLOCK * 4);
    if (!buf)
        return err_set(e, ERR_LIMIT, "memory is short");
    int bf16 = 1;
    const struct model_param *t = &from->params[from->embed];
    for (int64_t at = 0; at < t->n && bf16; at += FILL_BLOCK) {
        int64_t n = t->n - at < FILL_BLOCK ? t->n - at : FILL_BLOCK;
        read_param(from, from->embed, at, n, buf);
        bf16 = is_bf16(buf, n);
    }
    err_code rc = table_alloc(to, bf16, e);
    for (int64_t p = 0; p < to->n_params && rc == ERR_OK; p++) {
        if (to->offset[p] < 0 && p != to->embed)
            continue;
        for (int64_t at = 0; at < to->params[p].n; at += FILL_BLOCK) {
            int64_t n = to->params[p].n - at < FILL_BLOCK ? to->params[p].n - at : FILL_BLOCK;
            read_param(from, p, at, n, buf);
            if (to->offset[p] >= 0)
                kern_put(to->k, to->params[p].w + at, buf, n * 4);
            else if (!bf16)
                kern_put(to->k, to->table + at, buf, n * 4);
            else {
                cut_to_bf16(buf, n);
                kern_put(to->k, (uint16_t *)to->table16 + at, buf, n * 2);
            }
        }
    }
    free(buf);
    return rc;
}

static err_code freeze(struct model *m, struct model *f, struct err *e)
{
    void *p;
    if (m->opts.train && !m->spare)
        TRY(packs_open(m, &m->spare, e)); /* taken now, so that the refresh cannot fail; touched first there */
    TRY(kern_alloc(m->k, f->master_floats * 4, "norms and biases", &p, e));
    f->masters = p;
    f->packs = m->packs;
    f->packs->refs++;
    for (int64_t i = 0; i < m->n_linears; i++)
        f->linears[i]->pack_at = m->linears[i]->pack_at;
    bind(f);
    TRY(copy_plain(f, m, e));
    model_digest(m, f->digest);
    return model_rope_open(f, e);
}

err_code model_freeze(struct model *m, struct model **out, struct err *e)
{
    struct model_opts o = m->opts;
    struct model *f;
    o.train = 0;
    TRY(model_alloc(m->k, &m->conf, &o, &f, e));
    err_code rc = freeze(m, f, e);
    if (rc != ERR_OK)
        model_close(f);
    else
        *out = f;
    return rc;
}

struct hashing {
    const struct model *m;
    struct hash128 *sums;
};

static void hash_params(void *ctx, int64_t from, int64_t to, int worker)
{
    const struct hashing *w = ctx;
    float *buf = malloc(FILL_BLOCK * 4);
    assert(buf);
    (void)worker;
    for (int64_t p = from; p < to; p++) {
        struct hash_state *h = hash_open();
        for (int64_t at = 0; at < w->m->params[p].n; at += FILL_BLOCK) {
            int64_t n = w->m->params[p].n - at < FILL_BLOCK ? w->m->params[p].n - at : FILL_BLOCK;
            read_param(w->m, p, at, n, buf);
            hash_add(h, buf, n * 4);
        }
        w->sums[p] = hash_close(h);
    }
    free(buf);
}

void model_digest(const struct model *m, char out[33])
{
    if (!m->opts.train) {
        memcpy(out, m->digest, 33);
        return;
    }
    struct hash128 *sums = calloc((size_t)m->n_params, sizeof *sums);
    assert(sums);
    par_for(m->n_params, 1, hash_params, &(struct hashing){m, sums});
    digest_of(m, sums, out);
    free(sums);
}

void model_weights_free(struct model *m)
{
    if (!m->opts.train) {
        kern_free(m->k, m->table);
        kern_free(m->k, m->table16);
    }
    kern_free(m->k, m->masters);
    packs_drop(m->k, m->packs);
    packs_drop(m->k, m->spare);
}
