/* The output head with log-softmax. Logits of some rows at a time are kept in scratch, for as many rows as fit KEPT_BYTES; a row's
 * statistics are taken per block of 1024 and merged ascending, as the cpu does: the bits of kern_logits and kern_logp, whatever the rows
 * beside it. Which rows have no gradient lies on the device, so that those are computed like the others: their dz is zero. */
#include "kernels/cuda/cuda.h"

#include <string.h>

DEV_BEGIN

static constexpr int THREADS = 256, WARPS = THREADS / WARP, VOCAB = 1024;
static constexpr int64_t KEPT_BYTES = (int64_t)1 << 30, ROWS_STEP = 128, MOST_ROWS = 32768;

struct stat {
    float m, l, ez;
};

/* A warp per row and block of the vocabulary (cpu/rows_body.h: vocab_stat). */
KERNEL(THREADS) vocab_stats(struct stat *out, const float *z, int64_t rows, int64_t v, float inv_t)
{
    int64_t blocks = (v + VOCAB - 1) / VOCAB, i = (int64_t)BLOCK_X * WARPS + WARP_OF, r = i / blocks, b = i % blocks;
    if (r >= rows)
        return;
    const float *y = z + r * v + b * VOCAB;
    const int n = v - b * VOCAB < VOCAB ? (int)(v - b * VOCAB) : VOCAB;
    float top = -dev_inf(), s[2] = {0, 0}, e[2] = {0, 0};
    for (int c = LANE; c < n; c += WARP)
        top = dev_max(top, y[c] * inv_t);
    float m = row_max(top, top);
    for (int c = LANE, high = 0; c < n; c += WARP, high ^= 1) {
        float x = y[c] * inv_t, p = dev_exp(x - m);
        s[high] += p;
        e[high] = fmaf(p, x, e[high]);
    }
    float l = row_sum(s[0], s[1]), ez = row_sum(e[0], e[1]);
    if (LANE == 0)
        out[i] = {m, l, ez};
}

/* Where a row's results go and what it is asked for. */
struct row_out {
    float *logp, *lse, *entropy;
    const int32_t *index, *target; /* index NULL: row r is the caller's row r; target NULL: no log-prob. Both of the device; target by the caller's rows */
};

KERNEL(THREADS) finish_rows(struct row_out o, const struct stat *stat, const float *z, int64_t rows, int64_t v, float inv_t)
{
    int64_t r = (int64_t)BLOCK_X * THREADS + THREAD, blocks = (v + VOCAB - 1) / VOCAB;
    if (r >= rows)
        return;
    struct stat a = stat[r * blocks];
    for (int64_t b = 1; b < blocks; b++) {
        struct stat c = stat[r * blocks + b];
        float m = a.m > c.m ? a.m : c.m, ea = dev_exp(a.m - m), ec = dev_exp(c.m - m);
        a = {m, fmaf(a.l, ea, c.l * ec), fmaf(a.ez, ea, c.ez * ec)};
    }
    int64_t t = o.index ? o.index[r] : r;
    float lse = a.m + dev_log(a.l);
    if (o.lse)
        o.lse[t] = lse;
    if (o.entropy)
        o.entropy[t] = lse - a.ez / a.l;
    if (o.logp)
        o.logp[t] = o.target[t] >= 0 ? z[r * v + o.target[t]] * inv_t - lse : 0;
}

static void row_stats(struct kern *k, const char *op, const struct row_out *o, const float *z, int64_t rows, int64_t v, float temperature)
{
    const int64_t blocks = kern_parts(v, VOCAB);
    struct stat *stat = (struct stat *)dev_scratch(k, DEV_STATS, rows * blocks * (int64_t)sizeof *stat);
    dev_launch(k, {op, {rows, v, -1, -1}}, vocab_stats, {kern_parts(rows * blocks, WARPS), 1, 1}, THREADS, 0, stat, z, rows, v, 1.f / temperature);
    dev_launch(k, {op, {rows, v, -1, -1}}, finish_rows, {kern_parts(rows, THREADS), 1, 1}, THREADS, 0, *o, (const struct stat *)stat, z, rows, v, 1.f / temperature);
}

void dev_logits(struct kern *k, const struct kern_logits *a)
{
    struct kern_linear l = {};
    l.y = a->y, l.x = a->x, l.w = a->w, l.m = a->t, l.ldx = a->ldx;
    dev_linear(k, &l);
}

void dev_logp(struct kern *k, const struct kern_logp *a)
{
    struct row_out o = {a->target ? a->logp : NULL, a->lse, a->entropy, NULL, a->target ? dev_array(k, a->target, a->t) : NULL};
    if (a->t)
        row_stats(k, "logp", &o, a->logits, a->t, a->v, a->temperature);
}

/* ---- fused ------------------------------------------------------------------------------------------------- */

KERNEL(THREADS) gather(float *out, const float *x, const int32_t *index, int64_t c, int64_t ldx)
{
    int64_t i = (int64_t)BLOCK_X * THREADS + THREAD, r = BLOCK_Y;
    if (i < c)
        out[r * c + i] = x[index[r] * ldx + i];
}

KERNEL(THREADS) scatter(float *x, const float *dense, const int32_t *index, int64_t c, int64_t ldx)
{
    int64_t i = (int64_t)BLOCK_X * THREADS + THREAD, r = BLOCK_Y;
    if (i < c)
        x[index[r] * ldx + i] = dense[r * c + i];
}

/* Row t of the caller's gets zeros: no target. */
KERNEL(THREADS) zero_rows(float *x, const int32_t *target, int64_t c, int64_t ldx, int64_t first)
{
    int64_t i = (int64_t)BLOCK_X * THREADS + THREAD, t = first + BLOCK_Y;
    if (i < c && target[t] < 0)
        x[t * ldx + i] = 0;
}

KERNEL(THREADS) zero_values(float *logp, float *lse, float *entropy, const int32_t *target, int64_t n)
{
    int64_t t = (int64_t)BLOCK_X * THREADS + THREAD;
    if (t >= n || target[t] >= 0)
        return;
    logp[t] = 0;
    if (lse)
        lse[t] = 0;
    if (entropy)
        entropy[t] = 0;
}

struct dz_args {
    float *z;
    const float *lse, *entropy, *g, *ge;
    const int32_t *index, *target;
    int64_t v;
    float inv_t;
};

/* Logits to their gradients, in place (cpu/rows_body.h: vocab_dz). */
KERNEL(THREADS) vocab_dz(struct dz_args a)
{
    int64_t i = (int64_t)BLOCK_X * THREADS + THREAD, r = BLOCK_Y, t = a.index[r];
    if (i >= a.v)
        return;
    float *y = a.z + r * a.v + i, g = a.g ? a.g[t] : 0, ge = a.ge ? a.ge[t] : 0, lp = *y * a.inv_t - a.lse[t], p = dev_exp(lp);
    float d = g * p + ge * p * (lp + (a.ge ? a.entropy[t] : 0)), dz = 0.f - d * a.inv_t;
    *y = i == a.target[t] ? dz + g * a.inv_t : dz;
}

/* What the passes of one call share. Rows go in chunks. */
struct head {
    const struct kern_weight *w;
    const float *x;
    int64_t ldx, t, n, chunk;        /* n: rows with a target */
    const int32_t *index, *target;   /* of the device */
    float temperature;
};

static struct head head_of(struct kern *k, const struct kern_weight *w, const float *x, int64_t ldx, const int32_t *target, int64_t t, float temperature)
{
    int32_t *index = (int32_t *)kern_scratch(k, SLOT_JOBS, kern_max(t, 1) * 4);
    struct head h = {w, x, ldx ? ldx : w->k, t, 0, 0, NULL, NULL, temperature};
    assert(w->prec != KERN_FP8 && w->pack);
    for (int64_t i = 0; i < t; i++) {
        assert(target[i] < w->n);
        if (target[i] >= 0)
            index[h.n++] = (int32_t)i;
    }
    int64_t most = kern_min(kern_max(KEPT_BYTES / 4 / w->n / ROWS_STEP, 1) * ROWS_STEP, MOST_ROWS);
    h.chunk = kern_up(kern_parts(h.n, kern_max(kern_parts(h.n, most), 1)), ROWS_STEP); /* of like size */
    h.index = dev_array(k, index, h.n);
    h.target = dev_array(k, target, t);
    return h;
}

/* One chunk: its rows side by side, and its logits. */
struct chunk {
    float *x, *z;
    const int32_t *index;
    int64_t n;
};

static struct chunk chunk_of(struct kern *k, const struct head *h, int64_t first)
{
    const int64_t c = h->w->k, room = kern_min(h->chunk, kern_up(h->n, ROWS_STEP));
    struct chunk p = {(float *)dev_scratch(k, DEV_HEAD_X, room * c * 4), (float *)dev_scratch(k, DEV_HEAD_Z, room * h->w->n * 4), h->index + first, kern_min(h->chunk, h->n - first)};
    struct kern_logits l = {};
    dev_launch(k, {"head: rows", {p.n, c, -1, -1}}, gather, {kern_parts(c, THREADS), p.n, 1}, THREADS, 0, p.x, h->x, p.index, c, h->ldx);
    l.y = p.z, l.x = p.x, l.w = h->w, l.t = p.n;
    dev_logits(k, &l);
    return p;
}

/* The chunk's dx and dw from its dz. */
static void chunk_grads(struct kern *k, const struct head *h, const struct chunk *p, float *dx, float *dw, int fresh)
{
    const int64_t c = h->w->k, v = h->w->n;
    float *dense = (float *)dev_scratch(k, DEV_HEAD_DX, kern_up(p->n, ROWS_STEP) * c * 4);
    struct kern_linear_dgrad d = {};
    struct kern_linear_wgrad g = {};
    d.dx = dense, d.dy = p->z, d.w = h->w, d.m = p->n;
    dev_linear_dgrad(k, &d);
    dev_launch(k, {"head: dx", {p->n, c, -1, -1}}, scatter, {kern_parts(c, THREADS), p->n, 1}, THREADS, 0, dx, (const float *)dense, p->index, c, h->ldx);
    g.dw = dw, g.dy = p->z, g.x = p->x, g.m = p->n, g.n = v, g.k = c, g.prec = h->w->prec, g.fresh = fresh;
    if (dw)
        dev_linear_wgrad(k, &g);
}

static void chunk_dz(struct kern *k, const struct head *h, const struct chunk *p, const struct dz_args *from)
{
    struct dz_args a = *from;
    a.z = p->z, a.index = p->index, a.target = h->target, a.v = h->w->n, a.inv_t = 1.f / h->temperature;
    dev_launch(k, {"head: dz", {p->n, a.v, -1, -1}}, vocab_dz, {kern_parts(a.v, THREADS), p->n, 1}, THREADS, 0, a);
}

/* What the rows do not reach: dx of those without target, all of a fresh dw when there are none. */
static void zero_grads(struct kern *k, const struct head *h, float *dx, float *dw, int fresh)
{
    if (!h->n && dw && fresh)
        kern_zero(k, dw, h->w->n * h->w->k * 4);
    for (int64_t first = 0; h->n < h->t && first < h->t; first += MOST_ROWS)
        dev_launch(k, {"head: zeros", {h->t, h->w->k, -1, -1}}, zero_rows, {kern_parts(h->w->k, THREADS), kern_min(h->t - first, MOST_ROWS), 1}, THREADS, 0, dx, h->target, h->w->k,
                   h->ldx, first);
}

static void zero_out(struct kern *k, const struct head *h, const struct row_out *o)
{
    if (h->n < h->t)
        dev_launch(k, {"head: zeros", {h->t, -1, -1, -1}}, zero_values, {kern_parts(h->t, THREADS), 1, 1}, THREADS, 0, o->logp, o->lse, o->entropy, h->target, h->t);
}

void dev_head(struct kern *k, const struct kern_head *a)
{
    struct head h = head_of(k, a->w, a->x, a->ldx, a->target, a->t, a->temperature);
    struct row_out o = {a->logp, a->lse, a->entropy, NULL, h.target};
    zero_out(k, &h, &o);
    for (int64_t first = 0; first < h.n; first += h.chunk) {
        struct chunk p = chunk_of(k, &h, first);
        o.index = p.index;
        row_stats(k, "head", &o, p.z, p.n, h.w->n, h.temperature);
    }
}

void dev_head_bwd(struct kern *k, const struct kern_head_bwd *a)
{
    struct head h = head_of(k, a->w, a->x, a->ldx, a->target, a->t, a->temperature);
    struct dz_args dz = {};
    assert(!a->ge || a->entropy);
    dz.lse = a->lse, dz.entropy = a->entropy, dz.g = a->g, dz.ge = a->ge;
    zero_grads(k, &h, a->dx, a->dw, a->fresh);
    for (int64_t first = 0; first < h.n; first += h.chunk) {
        struct chunk p = chunk_of(k, &h, first);
        chunk_dz(k, &h, &p, &dz);
        chunk_grads(k, &h, &p, a->dx, a->dw, a->fresh && first == 0);
    }
}

void dev_head_loss(struct kern *k, const struct kern_head_loss *a)
{
    struct head h = head_of(k, a->w, a->x, a->ldx, a->target, a->t, a->temperature);
    float *lse = (float *)dev_scratch(k, DEV_HEAD_LSE, a->t * 4);
    struct row_out o = {a->logp, NULL, NULL, NULL, h.target};
    struct dz_args dz = {};
    dz.lse = lse, dz.g = a->g;
    zero_out(k, &h, &o);
    zero_grads(k, &h, a->dx, a->dw, a->fresh);
    o.lse = lse;
    for (int64_t first = 0; first < h.n; first += h.chunk) {
        struct chunk p = chunk_of(k, &h, first);
        o.index = p.index;
        row_stats(k, "head_loss", &o, p.z, p.n, h.w->n, h.temperature);
        chunk_dz(k, &h, &p, &dz);
        chunk_grads(k, &h, &p, a->dx, a->dw, a->fresh && first == 0);
    }
}

DEV_END
