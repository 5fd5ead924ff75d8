/* Ops along rows and elementwise ones: the arithmetic of cpu/rows_body.h, so the forward has its bits. Sums over tokens (dw of norms,
 * dbias) go in fixed chunks of rows, chunks added in ascending order: one chain, as the cpu has, would leave a device idle. */
#include "kernels/cuda/cuda.h"

DEV_BEGIN

static constexpr int THREADS = 256, WARPS = THREADS / WARP, CHUNK = 128;

static int64_t or_else(int64_t ld, int64_t dense) { return ld ? ld : dense; }

/* Where row r of such a tensor begins. */
struct rows {
    int64_t inner, ld, c;
};
HOST_DEVICE int64_t row_at(const struct rows &s, int64_t r) { return r / s.inner * s.ld + r % s.inner * s.c; }
static struct rows rows_of(int64_t inner, int64_t ld, int64_t c)
{
    int64_t in = inner ? inner : 1;
    return {in, ld ? ld : in * c, c};
}

/* ---- norms: a warp per row ---------------------------------------------------------------------------- */

/* sum a b, all lanes get it */
DEVICE float row_dot(const float *a, const float *b, int64_t n)
{
    float low = 0, high = 0;
    for (int64_t i = LANE; i < n; i += 2 * WARP) {
        low = fmaf(a[i], b[i], low);
        if (i + WARP < n)
            high = fmaf(a[i + WARP], b[i + WARP], high);
    }
    return row_sum(low, high);
}

DEVICE float rstd_of(const float *x, int64_t c, float eps) { return 1.f / sqrtf(row_dot(x, x, c) / (float)c + eps); }

KERNEL(THREADS) norm(struct kern_rmsnorm a, struct rows sx, struct rows sy)
{
    int64_t r = (int64_t)BLOCK_X * WARPS + WARP_OF;
    if (r >= a.rows)
        return;
    const float *x = a.x + row_at(sx, r);
    float *y = a.y + row_at(sy, r), rstd = rstd_of(x, a.c, a.eps);
    for (int64_t i = LANE; i < a.c; i += WARP)
        y[i] = x[i] * rstd * a.w[i];
    if (a.rstd && LANE == 0)
        a.rstd[r] = rstd;
}

void dev_rmsnorm(struct kern *k, const struct kern_rmsnorm *a)
{
    dev_launch(k, {"rmsnorm", {a->rows, a->c, -1, -1}}, norm, {kern_parts(a->rows, WARPS), 1, 1}, THREADS, 0, *a, rows_of(a->inner, a->ldx, a->c),
               rows_of(a->inner, a->ldy, a->c));
}

KERNEL(THREADS) norm_bwd(struct kern_rmsnorm_bwd a, struct rows sx, struct rows sdy, struct rows sdx, float *rstd_out)
{
    int64_t r = (int64_t)BLOCK_X * WARPS + WARP_OF;
    if (r >= a.rows)
        return;
    const float *x = a.x + row_at(sx, r), *dy = a.dy + row_at(sdy, r);
    float *dx = a.dx + row_at(sdx, r), rstd = rstd_of(x, a.c, a.eps), low = 0, high = 0;
    for (int64_t i = LANE; i < a.c; i += 2 * WARP) {
        low = fmaf(dy[i] * a.w[i], x[i], low);
        if (i + WARP < a.c)
            high = fmaf(dy[i + WARP] * a.w[i + WARP], x[i + WARP], high);
    }
    float f = rstd * rstd * (row_sum(low, high) / (float)a.c);
    for (int64_t i = LANE; i < a.c; i += WARP) {
        float g = rstd * (dy[i] * a.w[i] - x[i] * f);
        dx[i] = a.accumulate ? dx[i] + g : g;
    }
    if (rstd_out && LANE == 0)
        rstd_out[r] = rstd;
}

/* Rows [CHUNK b, CHUNK (b + 1)) of one column: sum dy (x rstd), or with x NULL: sum dy. */
KERNEL(THREADS) column_chunks(float *out, const float *dy, struct rows sdy, const float *x, struct rows sx, const float *rstd, int64_t rows, int64_t c)
{
    int64_t i = (int64_t)BLOCK_X * THREADS + THREAD, r = (int64_t)BLOCK_Y * CHUNK, stop = r + CHUNK < rows ? r + CHUNK : rows;
    if (i >= c)
        return;
    float s = 0;
    for (; r < stop; r++) {
        float d = dy[row_at(sdy, r) + i];
        s = x ? fmaf(d, x[row_at(sx, r) + i] * rstd[r], s) : s + d;
    }
    out[(int64_t)BLOCK_Y * c + i] = s;
}

KERNEL(THREADS) add_chunks(float *out, const float *part, int64_t chunks, int64_t c)
{
    int64_t i = (int64_t)BLOCK_X * THREADS + THREAD;
    if (i >= c)
        return;
    float s = out[i];
    for (int64_t b = 0; b < chunks; b++)
        s += part[b * c + i];
    out[i] = s;
}

/* More chunks than a grid has rows go in several turns: in order all the same. */
static constexpr int64_t MOST_CHUNKS = 32768;

static void sum_columns(struct kern *k, const char *op, float *out, const float *dy, struct rows sdy, const float *x, struct rows sx, const float *rstd, int64_t rows, int64_t c)
{
    for (int64_t first = 0; first < rows; first += MOST_CHUNKS * CHUNK) {
        int64_t n = kern_min(rows - first, MOST_CHUNKS * CHUNK), chunks = kern_parts(n, CHUNK), at = first / sdy.inner * sdy.ld, at_x = first / sx.inner * sx.ld;
        float *part = (float *)dev_scratch(k, DEV_PARTS, chunks * c * 4);
        dev_launch(k, {op, {n, c, -1, -1}}, column_chunks, {kern_parts(c, THREADS), chunks, 1}, THREADS, 0, part, dy + at, sdy, x ? x + at_x : x, sx, rstd ? rstd + first : rstd, n, c);
        dev_launch(k, {op, {chunks, c, -1, -1}}, add_chunks, {kern_parts(c, THREADS), 1, 1}, THREADS, 0, out, part, chunks, c);
    }
}

void dev_sum_rows(struct kern *k, const char *op, float *out, const float *dy, int64_t rows, int64_t c, int64_t ld)
{
    struct rows s = rows_of(1, ld, c);
    sum_columns(k, op, out, dy, s, NULL, s, NULL, rows, c);
}

void dev_rmsnorm_bwd(struct kern *k, const struct kern_rmsnorm_bwd *a)
{
    float *rstd = a->dw ? (float *)dev_scratch(k, DEV_STATS, a->rows * 4) : NULL;
    struct rows sx = rows_of(a->inner, a->ldx, a->c), sdy = rows_of(a->inner, a->lddy, a->c);
    assert(sx.inner == 1 || MOST_CHUNKS * CHUNK % sx.inner == 0 || a->rows <= MOST_CHUNKS * CHUNK);
    dev_launch(k, {"rmsnorm_bwd", {a->rows, a->c, -1, -1}}, norm_bwd, {kern_parts(a->rows, WARPS), 1, 1}, THREADS, 0, *a, sx, sdy, rows_of(a->inner, a->lddx, a->c), rstd);
    if (a->dw)
        sum_columns(k, "rmsnorm_bwd: dw", a->dw, a->dy, sdy, a->x, sx, rstd, a->rows, a->c);
}

/* ---- elementwise: a block per row and stretch ----------------------------------------------------------- */

/* Row and column of this thread's element; the grid is (stretches of a row, rows up to MOST_ROWS, turns of rows). */
static constexpr int64_t MOST_ROWS = 32768;
DEVICE int64_t grid_row() { return BLOCK_Z * MOST_ROWS + BLOCK_Y; }
static struct emu_grid grid_of(int64_t rows, int64_t c) { return {kern_parts(c, THREADS), kern_min(rows, MOST_ROWS), kern_parts(rows, MOST_ROWS)}; }

KERNEL(THREADS) swiglu(struct kern_swiglu a)
{
    int64_t i = (int64_t)BLOCK_X * THREADS + THREAD, r = grid_row();
    if (i >= a.c || r >= a.rows)
        return;
    float g = a.g[r * a.ldg + i], s = g / (1.f + dev_exp(0.f - g));
    a.y[r * a.ldy + i] = s * a.u[r * a.ldg + i];
}

void dev_swiglu(struct kern *k, const struct kern_swiglu *a)
{
    struct kern_swiglu d = *a;
    d.ldg = or_else(a->ldg, a->c), d.ldy = or_else(a->ldy, a->c);
    dev_launch(k, {"swiglu", {a->rows, a->c, -1, -1}}, swiglu, grid_of(a->rows, a->c), THREADS, 0, d);
}

KERNEL(THREADS) swiglu_bwd(struct kern_swiglu_bwd a)
{
    int64_t i = (int64_t)BLOCK_X * THREADS + THREAD, r = grid_row();
    if (i >= a.c || r >= a.rows)
        return;
    float g = a.g[r * a.ldg + i], u = a.u[r * a.ldg + i], dy = a.dy[r * a.lddy + i];
    float s = 1.f / (1.f + dev_exp(0.f - g)), t = s * fmaf(g, 1.f - s, 1.f);
    a.dg[r * a.lddg + i] = dy * u * t;
    a.du[r * a.lddg + i] = dy * g * s;
}

void dev_swiglu_bwd(struct kern *k, const struct kern_swiglu_bwd *a)
{
    struct kern_swiglu_bwd d = *a;
    d.ldg = or_else(a->ldg, a->c), d.lddy = or_else(a->lddy, a->c), d.lddg = or_else(a->lddg, a->c);
    dev_launch(k, {"swiglu_bwd", {a->rows, a->c, -1, -1}}, swiglu_bwd, grid_of(a->rows, a->c), THREADS, 0, d);
}

KERNEL(THREADS) add(struct kern_add a)
{
    int64_t i = (int64_t)BLOCK_X * THREADS + THREAD;
    if (i < a.n)
        a.y[i] = a.a[i] + a.b[i];
}

void dev_add(struct kern *k, const struct kern_add *a)
{
    dev_launch(k, {"add", {a->n, -1, -1, -1}}, add, {kern_parts(a->n, THREADS), 1, 1}, THREADS, 0, *a);
}

/* A thread per pair of a head. */
KERNEL(THREADS) rope(struct kern_rope a)
{
    int64_t half = a.d / 2, e = (int64_t)BLOCK_X * THREADS + THREAD, t = grid_row();
    if (e >= a.h * half || t >= a.t)
        return;
    int64_t h = e / half, i = e % half, step = a.interleaved ? 2 : 1, other = a.interleaved ? 1 : half;
    const float *cs = a.cos_sin + a.pos[t] * a.d + 2 * i;
    float *x = a.x + t * a.ldx + h * a.head_stride + a.first + i * step;
    float p = x[0], q = x[other], c = cs[0], s = a.inverse ? -cs[1] : cs[1];
    x[0] = p * c - q * s;
    x[other] = p * s + q * c;
}

void dev_rope(struct kern *k, const struct kern_rope *a)
{
    assert(a->d % 2 == 0);
    dev_launch(k, {"rope", {a->t, a->h, a->d, -1}}, rope, grid_of(a->t, a->h * (a->d / 2)), THREADS, 0, *a);
}

/* ---- embedding and cache --------------------------------------------------------------------------------- */

KERNEL(THREADS) embed(struct kern_embed a)
{
    int64_t i = (int64_t)BLOCK_X * THREADS + THREAD, t = grid_row();
    if (i >= a.c || t >= a.t)
        return;
    int64_t at = a.ids[t] * a.c + i;
    a.y[t * a.c + i] = a.table_bf16 ? from_bits((uint32_t)((const uint16_t *)a.table_bf16)[at] << 16) : a.table[at];
}

static void check_ids(const int32_t *ids, int64_t t, int64_t v)
{
    for (int64_t i = 0; i < t; i++)
        assert(ids[i] >= 0 && ids[i] < v);
}

void dev_embed(struct kern *k, const struct kern_embed *a)
{
    struct kern_embed d = *a;
    check_ids(a->ids, a->t, a->v);
    d.ids = dev_array(k, a->ids, a->t);
    dev_launch(k, {"embed", {a->t, a->c, a->v, -1}}, embed, grid_of(a->t, a->c), THREADS, 0, d);
}

/* Block y has one id: rows order[first[y]] .. order[first[y + 1]] of dy, ascending, join its row of the table. */
KERNEL(THREADS) embed_bwd(float *dtable, const float *dy, const int32_t *ids, const int32_t *first, const int32_t *order, int64_t n, int64_t c)
{
    int64_t i = (int64_t)BLOCK_X * THREADS + THREAD, u = grid_row();
    if (i >= c || u >= n)
        return;
    float *to = dtable + ids[u] * c + i, s = *to;
    for (int32_t j = first[u]; j < first[u + 1]; j++)
        s += dy[order[j] * c + i];
    *to = s;
}

/* Tokens sorted by id, stable: by merging runs, on the host (16 thousand tokens take less than a millisecond). tmp: as many. */
static void sort_by_id(int32_t *order, int32_t *tmp, const int32_t *ids, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        order[i] = (int32_t)i;
    for (int64_t w = 1; w < n; w *= 2) {
        for (int64_t lo = 0; lo < n; lo += 2 * w) {
            int64_t mid = kern_min(lo + w, n), hi = kern_min(lo + 2 * w, n), a = lo, b = mid, out = lo;
            while (a < mid || b < hi)
                tmp[out++] = b >= hi || (a < mid && ids[order[a]] <= ids[order[b]]) ? order[a++] : order[b++];
        }
        for (int64_t i = 0; i < n; i++)
            order[i] = tmp[i];
    }
}

void dev_embed_bwd(struct kern *k, const struct kern_embed_bwd *a)
{
    int32_t *order = (int32_t *)kern_scratch(k, SLOT_JOBS, (4 * a->t + 1) * 4), *tmp = order + a->t, *ids = tmp + a->t, *first = ids + a->t;
    int64_t n = 0;
    if (!a->t)
        return;
    check_ids(a->ids, a->t, a->v);
    sort_by_id(order, tmp, a->ids, a->t);
    for (int64_t i = 0; i < a->t; i++)
        if (i == 0 || a->ids[order[i]] != a->ids[order[i - 1]]) {
            ids[n] = a->ids[order[i]];
            first[n++] = (int32_t)i;
        }
    first[n] = (int32_t)a->t;
    dev_launch(k, {"embed_bwd", {a->t, a->c, a->v, n}}, embed_bwd, grid_of(n, a->c), THREADS, 0, a->dtable, a->dy, dev_array(k, ids, n), dev_array(k, first, n + 1),
               dev_array(k, order, a->t), n, a->c);
}

KERNEL(THREADS) kv_write(struct kern_kv_write a)
{
    int64_t e = (int64_t)BLOCK_X * THREADS + THREAD, t = grid_row(), wide = a.dk + a.dv;
    if (e >= a.hkv * wide || t >= a.t)
        return;
    int64_t h = e / wide, i = e % wide, row = h * KERN_PAGE + a.slot[t];
    if (i < a.dk)
        a.k_pages[a.page[t] * a.page_stride_k + row * a.dk + i] = a.k[t * a.ldk + h * a.dk + i];
    else
        a.v_pages[a.page[t] * a.page_stride_v + row * a.dv + i - a.dk] = a.v[t * a.ldv + h * a.dv + i - a.dk];
}

void dev_kv_write(struct kern *k, const struct kern_kv_write *a)
{
    struct kern_kv_write d = *a;
    assert(!a->bf16); /* latent attention's */
    for (int64_t t = 0; t < a->t; t++)
        assert(a->slot[t] >= 0 && a->slot[t] < KERN_PAGE && a->page[t] >= 0);
    d.page = dev_array(k, a->page, a->t);
    d.slot = dev_array(k, a->slot, a->t);
    dev_launch(k, {"kv_write", {a->t, a->hkv, a->dk, a->dv}}, kv_write, grid_of(a->t, a->hkv * (a->dk + a->dv)), THREADS, 0, d);
}

DEV_END
