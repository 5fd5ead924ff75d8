/* Causal attention in f32, backward: cpu/attn_bwd.c's two passes and its chains. One kernel has a block of keys and walks the queries that
 * see it (dk, dv), the other a tile of queries and walks its keys (dq): nothing is added from two places. */
#include "kernels/cuda/attn.h"

DEV_BEGIN

static constexpr int ROWS = 16, THREADS = 256, WARPS = THREADS / WARP, PAGE = KERN_PAGE;

struct bwd {
    struct kern_attn_bwd a;
    const float *delta; /* [T, hq] */
};

struct room {
    float *q, *dout, *k, *v, *p, *ds, *x, *y; /* x: dq, or dk; y: dv */
};
HOST_DEVICE int64_t room_of(struct room *r, float *base, int64_t dk, int64_t dv, int64_t rows_x, int64_t rows_y)
{
    int64_t at = 0;
    r->q = base + at, at += ROWS * dk;
    r->dout = base + at, at += ROWS * dv;
    r->k = base + at, at += PAGE * (dk + 1);
    r->v = base + at, at += PAGE * (dv + 1);
    r->p = base + at, at += ROWS * PAGE;
    r->ds = base + at, at += ROWS * PAGE;
    r->x = base + at, at += rows_x * dk;
    r->y = base + at, at += rows_y * dv;
    return at * 4;
}

DEVICE float chain(const float *a, const float *b, int n)
{
    float s = 0;
    for (int i = 0; i < n; i++)
        s = fmaf(a[i], b[i], s);
    return s;
}

DEVICE void load_keys(const struct room &r, const struct kern_attn_bwd &a, int64_t seq, int64_t head, int64_t block, int keys)
{
    const struct attn_block b = attn_block_at(a.kv, seq, head, block, a.d_k, a.d_v);
    const int dk = (int)a.d_k, dv = (int)a.d_v;
    for (int i = THREAD; i < PAGE * dk; i += THREADS)
        r.k[i / dk * (dk + 1) + i % dk] = i / dk < keys ? b.k[i / dk * b.ldk + i % dk] : 0;
    for (int i = THREAD; i < PAGE * dv; i += THREADS)
        r.v[i / dv * (dv + 1) + i % dv] = i / dv < keys ? b.v[i / dv * b.ldv + i % dv] : 0;
}

DEVICE void load_queries(const struct room &r, const struct kern_attn_bwd &a, int64_t row0, int64_t head, int rows)
{
    const int dk = (int)a.d_k, dv = (int)a.d_v;
    for (int i = THREAD; i < rows * dk; i += THREADS)
        r.q[i] = a.q[(row0 + i / dk) * a.ldq + head * dk + i % dk];
    for (int i = THREAD; i < rows * dv; i += THREADS)
        r.dout[i] = a.dout[(row0 + i / dv) * a.ldo + head * dv + i % dv];
}

/* p and ds of some queries (from token t0 of the sequence) and a block of keys; zero where a query does not see the key. */
DEVICE void pair(const struct room &r, const struct bwd &w, int64_t row0, int64_t head, int64_t t0, int rows, int64_t block)
{
    const struct kern_attn_bwd &a = w.a;
    const int dk = (int)a.d_k, dv = (int)a.d_v;
    for (int i = THREAD; i < rows * PAGE; i += THREADS) {
        int row = i / PAGE, j = i % PAGE;
        int64_t at = (row0 + row) * a.hq + head;
        bool sees = block * PAGE + j <= t0 + row;
        float p = dev_exp(chain(r.q + row * dk, r.k + j * (dk + 1), dk) * a.scale - a.lse[at]);
        float ds = p * (chain(r.dout + row * dv, r.v + j * (dv + 1), dv) - w.delta[at]) * a.scale;
        r.p[i] = sees ? p : 0;
        r.ds[i] = sees ? ds : 0;
    }
}

KERNEL(THREADS) attn_delta(struct kern_attn_bwd a, float *delta, int64_t n)
{
    int64_t i = (int64_t)BLOCK_X * WARPS + WARP_OF;
    if (i >= n)
        return;
    const float *x = a.dout + i / a.hq * a.ldo + i % a.hq * a.d_v, *y = a.o + i / a.hq * a.ldo + i % a.hq * a.d_v;
    float low = 0, high = 0;
    for (int64_t d = LANE; d < a.d_v; d += 2 * WARP) {
        low = fmaf(x[d], y[d], low);
        if (d + WARP < a.d_v)
            high = fmaf(x[d + WARP], y[d + WARP], high);
    }
    float s = row_sum(low, high);
    if (LANE == 0)
        delta[i] = s;
}

/* dk, dv of block y's keys of kv head x. */
KERNEL(THREADS) attn_bwd_keys(struct bwd w, const int32_t *seqs, const int32_t *blocks, int64_t first)
{
    SHARED(float, base);
    const struct kern_attn_bwd &a = w.a;
    struct room r;
    const int dk = (int)a.d_k, dv = (int)a.d_v;
    const int64_t kv_head = BLOCK_X, seq = seqs[first + BLOCK_Y], block = blocks[first + BLOCK_Y], n = a.cu_q[seq + 1] - a.cu_q[seq], group = a.hq / a.hkv;
    const int keys = (int)(n - block * PAGE < PAGE ? n - block * PAGE : PAGE);
    room_of(&r, base, dk, dv, PAGE, PAGE);
    load_keys(r, a, seq, kv_head, block, keys);
    for (int i = THREAD; i < PAGE * dk; i += THREADS)
        r.x[i] = 0;
    for (int i = THREAD; i < PAGE * dv; i += THREADS)
        r.y[i] = 0;
    for (int64_t g = 0; g < group; g++)
        for (int64_t t = block * PAGE; t < n; t += ROWS) {
            int rows = (int)(n - t < ROWS ? n - t : ROWS);
            block_sync();
            load_queries(r, a, a.cu_q[seq] + t, kv_head * group + g, rows);
            block_sync();
            pair(r, w, a.cu_q[seq] + t, kv_head * group + g, t, rows, block);
            block_sync();
            for (int i = THREAD; i < keys * dv; i += THREADS)
                for (int row = 0; row < rows; row++)
                    r.y[i] = fmaf(r.p[row * PAGE + i / dv], r.dout[row * dv + i % dv], r.y[i]);
            for (int i = THREAD; i < keys * dk; i += THREADS)
                for (int row = 0; row < rows; row++)
                    r.x[i] = fmaf(r.ds[row * PAGE + i / dk], r.q[row * dk + i % dk], r.x[i]);
        }
    const int64_t row = a.kv.cu_k[seq] + block * PAGE; /* every thread has summed what it writes */
    for (int i = THREAD; i < keys * dk; i += THREADS)
        a.dk[(row + i / dk) * a.kv.ldk + kv_head * a.kv.head_stride_k + i % dk] = r.x[i];
    for (int i = THREAD; i < keys * dv; i += THREADS)
        a.dv[(row + i / dv) * a.kv.ldv + kv_head * a.kv.head_stride_v + i % dv] = r.y[i];
}

/* dq of tile y's queries of head x. */
KERNEL(THREADS) attn_bwd_queries(struct bwd w, const int32_t *seqs, const int32_t *tiles, int64_t first)
{
    SHARED(float, base);
    const struct kern_attn_bwd &a = w.a;
    struct room r;
    const int dk = (int)a.d_k, dv = (int)a.d_v;
    const int64_t head = BLOCK_X, seq = seqs[first + BLOCK_Y], t0 = (int64_t)tiles[first + BLOCK_Y] * ROWS, n = a.cu_q[seq + 1] - a.cu_q[seq], row0 = a.cu_q[seq] + t0;
    const int rows = (int)(n - t0 < ROWS ? n - t0 : ROWS);
    room_of(&r, base, dk, dv, ROWS, 0);
    load_queries(r, a, row0, head, rows);
    for (int i = THREAD; i < ROWS * dk; i += THREADS)
        r.x[i] = 0;
    for (int64_t b = 0; b * PAGE < t0 + rows; b++) {
        int keys = (int)(n - b * PAGE < PAGE ? n - b * PAGE : PAGE);
        block_sync();
        load_keys(r, a, seq, head / (a.hq / a.hkv), b, keys);
        block_sync();
        pair(r, w, row0, head, t0, rows, b);
        block_sync();
        for (int i = THREAD; i < rows * dk; i += THREADS)
            for (int j = 0; j < keys; j++)
                r.x[i] = fmaf(r.ds[i / dk * PAGE + j], r.k[j * (dk + 1) + i % dk], r.x[i]);
    }
    for (int i = THREAD; i < rows * dk; i += THREADS)
        a.dq[(row0 + i / dk) * a.ldq + head * dk + i % dk] = r.x[i];
}

/* All (sequence, piece of `rows` queries) pairs. seq NULL: only counts. */
static int64_t pieces(const struct kern_attn_bwd *a, int64_t rows, int32_t *seq, int32_t *piece)
{
    int64_t n = 0;
    for (int64_t s = 0; s < a->n_seq; s++)
        for (int64_t i = 0; i * rows < a->cu_q[s + 1] - a->cu_q[s]; i++, n++)
            if (seq)
                seq[n] = (int32_t)s, piece[n] = (int32_t)i;
    return n;
}

static constexpr int64_t MOST_PIECES = 32768;

void dev_attn_bwd(struct kern *k, const struct kern_attn_bwd *a)
{
    const int64_t tokens = a->n_seq ? a->cu_q[a->n_seq] : 0, blocks = pieces(a, PAGE, NULL, NULL), tiles = pieces(a, ROWS, NULL, NULL);
    struct room r;
    struct dev_note note = {"attn_bwd", {tokens, a->n_seq, a->hq, a->d_k}};
    assert(a->hq % a->hkv == 0 && !a->kv.pages);
    if (a->prec != KERN_F32 && dev_attn_fits(a->d_k, a->d_v)) {
        dev_attn_bwd_bf16(k, a);
        return;
    }
    int32_t *seq = (int32_t *)kern_scratch(k, SLOT_JOBS, kern_max(tiles, 1) * 8), *piece = seq + tiles;
    float *delta = (float *)dev_scratch(k, DEV_STATS, tokens * a->hq * 4);
    struct bwd w = {*a, delta};
    w.a.kv.cu_k = dev_array(k, a->kv.cu_k, a->n_seq + 1);
    w.a.cu_q = dev_array(k, a->cu_q, a->n_seq + 1);
    dev_launch(k, note, attn_delta, {kern_parts(tokens * a->hq, WARPS), 1, 1}, THREADS, 0, w.a, delta, tokens * a->hq);
    pieces(a, PAGE, seq, piece);
    const int32_t *d_seq = dev_array(k, seq, blocks), *d_piece = dev_array(k, piece, blocks);
    for (int64_t first = 0; first < blocks; first += MOST_PIECES)
        dev_launch(k, note, attn_bwd_keys, {a->hkv, kern_min(blocks - first, MOST_PIECES), 1}, THREADS, room_of(&r, NULL, a->d_k, a->d_v, PAGE, PAGE), w, d_seq, d_piece, first);
    pieces(a, ROWS, seq, piece);
    d_seq = dev_array(k, seq, tiles), d_piece = dev_array(k, piece, tiles);
    for (int64_t first = 0; first < tiles; first += MOST_PIECES)
        dev_launch(k, note, attn_bwd_queries, {a->hq, kern_min(tiles - first, MOST_PIECES), 1}, THREADS, room_of(&r, NULL, a->d_k, a->d_v, ROWS, 0), w, d_seq, d_piece, first);
}

DEV_END
