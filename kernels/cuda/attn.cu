/* Causal attention in f32, forward: cpu/attn.c's arithmetic, so its bits. A block of threads has a tile of queries and walks the keys from
 * key 0 in blocks of KERN_PAGE: scores, softmax of the block, weighted values, merge. */
#include "kernels/cuda/attn.h"

DEV_BEGIN

static constexpr int ROWS = 16, THREADS = 128, WARPS = THREADS / WARP, PAGE = KERN_PAGE;

/* Shared memory of a tile; keys have rows one longer, so that a column lies in all banks. */
struct room {
    float *q, *k, *v, *s, *o, *m, *l, *old_part, *new_part;
};
HOST_DEVICE int64_t room_of(struct room *r, float *base, int64_t dk, int64_t dv)
{
    int64_t at = 0;
    r->q = base + at, at += ROWS * dk;
    r->k = base + at, at += PAGE * (dk + 1);
    r->v = base + at, at += PAGE * dv;
    r->s = base + at, at += ROWS * PAGE;
    r->o = base + at, at += ROWS * dv;
    r->m = base + at, at += ROWS;
    r->l = base + at, at += ROWS;
    r->old_part = base + at, at += ROWS;
    r->new_part = base + at, at += ROWS;
    return at * 4;
}

DEVICE void load_keys(const struct room &r, const struct attn_block &b, int keys, int dk, int dv)
{
    for (int i = THREAD; i < PAGE * dk; i += THREADS)
        r.k[i / dk * (dk + 1) + i % dk] = i / dk < keys ? b.k[i / dk * b.ldk + i % dk] : 0;
    for (int i = THREAD; i < PAGE * dv; i += THREADS)
        r.v[i] = i / dv < keys ? b.v[i / dv * b.ldv + i % dv] : 0;
}

/* One row's softmax over the block, by a warp: s becomes exp(s - max); the factors of the merge, and the merged max and sum. */
DEVICE void row_softmax(const struct room &r, int row, int keys, float scale)
{
    float *s = r.s + row * PAGE, low = LANE < keys ? s[LANE] * scale : -dev_inf(), high = LANE + WARP < keys ? s[LANE + WARP] * scale : -dev_inf();
    float mb = row_max(low, high), m = r.m[row], top = dev_max(m, mb);
    low = dev_exp(low - mb);
    high = dev_exp(high - mb);
    float lb = row_sum(low, high), old_part = dev_exp(m - top), new_part = dev_exp(mb - top);
    s[LANE] = low;
    s[LANE + WARP] = high;
    warp_sync(); /* every lane has read m */
    if (LANE)
        return;
    r.old_part[row] = old_part;
    r.new_part[row] = new_part;
    r.l[row] = fmaf(r.l[row], old_part, lb * new_part);
    r.m[row] = m > mb ? m : mb;
}

KERNEL(THREADS) attn_f32(struct kern_attn a, const struct attn_tile *tiles)
{
    SHARED(float, base);
    struct room r;
    const struct attn_tile t = tiles[BLOCK_X];
    const int dk = (int)a.dk, dv = (int)a.dv, rows = t.tokens * t.heads;
    const int64_t nq = a.cu_q[t.seq + 1] - a.cu_q[t.seq], row0 = a.cu_q[t.seq] + t.first, see0 = a.kv_len[t.seq] - nq + t.first + 1;
    const int64_t head0 = t.kv_head * (a.hq / a.hkv) + t.first_head, most = see0 + t.tokens - 1;
    room_of(&r, base, dk, dv);
    for (int i = THREAD; i < rows * dk; i += THREADS)
        r.q[i] = a.q[(row0 + i / dk / t.heads) * a.ldq + (head0 + i / dk % t.heads) * dk + i % dk];
    for (int i = THREAD; i < rows * dv; i += THREADS)
        r.o[i] = 0;
    if (THREAD < ROWS)
        r.m[THREAD] = -dev_inf(), r.l[THREAD] = 0;
    for (int64_t b = 0; b * PAGE < most; b++) {
        block_sync();
        load_keys(r, attn_block_at(a.kv, t.seq, t.kv_head, b, dk, dv), (int)(most - b * PAGE < PAGE ? most - b * PAGE : PAGE), dk, dv);
        block_sync();
        for (int i = THREAD; i < rows * PAGE; i += THREADS) {
            const float *q = r.q + i / PAGE * dk, *k = r.k + i % PAGE * (dk + 1);
            float s = 0;
            for (int d = 0; d < dk; d++)
                s = fmaf(q[d], k[d], s);
            r.s[i] = s;
        }
        block_sync();
        for (int i = WARP_OF; i < rows; i += WARPS) {
            int64_t keys = see0 + i / t.heads - b * PAGE;
            if (keys > 0)
                row_softmax(r, i, keys < PAGE ? (int)keys : PAGE, a.scale);
        }
        block_sync();
        for (int i = THREAD; i < rows * dv; i += THREADS) {
            int row = i / dv, d = i % dv;
            int64_t keys = see0 + row / t.heads - b * PAGE;
            if (keys <= 0)
                continue;
            float o = 0;
            for (int j = 0; j < (keys < PAGE ? (int)keys : PAGE); j++)
                o = fmaf(r.s[row * PAGE + j], r.v[j * dv + d], o);
            /* + 0: as the cpu, where masked keys may follow */
            r.o[i] = fmaf(r.o[i], r.old_part[row], (o + 0.f) * r.new_part[row]);
        }
    }
    block_sync();
    for (int i = THREAD; i < rows * dv; i += THREADS)
        a.o[(row0 + i / dv / t.heads) * a.ldo + (head0 + i / dv % t.heads) * dv + i % dv] = r.o[i] * (1.f / r.l[i / dv]);
    if (a.lse && THREAD < rows)
        a.lse[(row0 + THREAD / t.heads) * a.hq + head0 + THREAD % t.heads] = r.m[THREAD] + dev_log(r.l[THREAD]);
}

void dev_attn(struct kern *k, const struct kern_attn *a)
{
    struct room r;
    assert(a->hq % a->hkv == 0 && a->dk > 0 && a->dv > 0 && !a->kv.bf16);
    if (a->prec != KERN_F32 && dev_attn_fits(a->dk, a->dv)) {
        dev_attn_bf16(k, a);
        return;
    }
    int64_t n = attn_cut(a, ROWS, NULL);
    struct attn_tile *tile = (struct attn_tile *)kern_scratch(k, SLOT_JOBS, n * (int64_t)sizeof *tile);
    struct kern_attn d = *a;
    attn_cut(a, ROWS, tile);
    d.kv = attn_kv_there(k, &a->kv, a->n_seq);
    d.cu_q = dev_array(k, a->cu_q, a->n_seq + 1);
    d.kv_len = dev_array(k, a->kv_len, a->n_seq);
    dev_launch(k, {"attn", {a->n_seq ? a->cu_q[a->n_seq] : 0, a->n_seq, a->hq, a->dk}}, attn_f32, {n, 1, 1}, THREADS, room_of(&r, NULL, a->dk, a->dv), d, dev_array(k, tile, n));
}

DEV_END
