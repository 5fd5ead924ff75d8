/* Causal attention on tensor cores, backward, in two passes as attn_bwd.cu: dk and dv by blocks of 64 keys (a warp has 16), dq by tiles of 64
 * queries. p and ds are rounded to bf16 for the products they go into; everything is summed in f32, over (query head of the group, query
 * tile) and over key blocks ascending. */
#include "kernels/cuda/attn.h"

DEV_BEGIN

static constexpr int TILE = KERN_PAGE, THREADS = 128, PAD = 8, WARPS = THREADS / WARP;
static constexpr float LOG2E = 1.44269504088896341f;

struct bwd_args {
    struct kern_attn_bwd a;
    const uint16_t *q, *k, *v, *dout; /* bf16 [rows, heads, wide] */
    const float *delta;               /* [T, hq] */
    const int32_t *seqs, *pieces;
    int64_t first;                    /* piece of BLOCK_Y 0 */
};

KERNEL(THREADS) attn_mma_delta(struct kern_attn_bwd a, float *delta, int64_t n)
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

/* Rows first .. first + 63 of one head, those from `rows` on being zeros. */
template <int WIDE> DEVICE_TEMPLATE void fetch_rows(uint16_t *to, const uint16_t *x, int64_t first, int rows, int64_t heads, int64_t head)
{
    for (int i = THREAD; i < TILE * (WIDE / 8); i += THREADS) {
        int r = i / (WIDE / 8), at = i % (WIDE / 8) * 8;
        copy16(to + r * (WIDE + PAD) + at, r < rows ? x + ((first + r) * heads + head) * WIDE + at : x, r < rows ? 16 : 0);
    }
}

/* s += a b over WIDE, of a warp's 16 rows of `a` and all 64 of `b`. */
template <int WIDE> DEVICE_TEMPLATE void rows_times_rows(float (*s)[4], const uint16_t *a, const uint16_t *b)
{
    constexpr int LD = WIDE + PAD;
    uint32_t fa[4], fb[4];
    UNROLL
    for (int d = 0; d < WIDE / 16; d++) {
        take_a<LD, 0>(fa, a, WARP_OF * 16, 16 * d);
        UNROLL
        for (int j = 0; j < TILE / 16; j++) {
            take_b<LD, 0>(fb, b, 16 * j, 16 * d);
            mma_bf16(s[2 * j], fa, fb);
            mma_bf16(s[2 * j + 1], fa, fb + 2);
        }
    }
}

/* out += p x: p are the warp's 16 rows by 64, as sums lie; x: 64 lines of WIDE. */
template <int WIDE> DEVICE_TEMPLATE void rows_times_lines(float (*out)[4], float (*p)[4], const uint16_t *x)
{
    constexpr int LD = WIDE + PAD;
    uint32_t fb[4];
    UNROLL
    for (int j = 0; j < TILE / 16; j++) {
        const uint32_t fa[4] = {dev_bf16_pair(p[2 * j][0], p[2 * j][1]), dev_bf16_pair(p[2 * j][2], p[2 * j][3]), dev_bf16_pair(p[2 * j + 1][0], p[2 * j + 1][1]),
                                dev_bf16_pair(p[2 * j + 1][2], p[2 * j + 1][3])};
        UNROLL
        for (int i = 0; i < WIDE / 16; i++) {
            take_b<LD, 1>(fb, x, 16 * i, 16 * j);
            mma_bf16(out[2 * i], fa, fb);
            mma_bf16(out[2 * i + 1], fa, fb + 2);
        }
    }
}

template <int N> DEVICE_TEMPLATE void clear(float (*s)[4])
{
    UNROLL
    for (int i = 0; i < N; i++)
        s[i][0] = s[i][1] = s[i][2] = s[i][3] = 0;
}

/* s, dp become p, ds where the query sees the key. */
DEVICE void gradient_of(float *s, float *dp, bool sees, float lse, float delta, float scale)
{
    float p = sees ? dev_exp2(*s * (scale * LOG2E) - lse * LOG2E) : 0;
    *s = p;
    *dp = sees ? p * (*dp - delta) * scale : 0;
}

/* A warp's 16 rows of 64 (WIDE) sums, to rows of f32. */
template <int WIDE> DEVICE_TEMPLATE void put_rows(float *to, int64_t ld, float (*s)[4], int rows, int64_t d)
{
    UNROLL
    for (int i = 0; i < WIDE / 8; i++) {
        UNROLL
        for (int e = 0; e < 4; e++) {
            int r = WARP_OF * 16 + LANE / 4 + e / 2 * 8, c = 8 * i + 2 * (LANE % 4) + e % 2;
            if (r < rows && c < d)
                to[r * ld + c] = s[i][e];
        }
    }
}

template <int WIDE> KERNEL(THREADS) attn_mma_keys(struct bwd_args w)
{
    SHARED(uint16_t, memory);
    constexpr int LD = WIDE + PAD, SIZE = TILE * LD;
    const struct kern_attn_bwd &a = w.a;
    const int64_t kv_head = BLOCK_X, seq = w.seqs[w.first + BLOCK_Y], block = w.pieces[w.first + BLOCK_Y], row0 = a.cu_q[seq], n = a.cu_q[seq + 1] - row0, group = a.hq / a.hkv;
    const int keys = (int)(n - block * TILE < TILE ? n - block * TILE : TILE);
    uint16_t *sk = memory, *sv = sk + SIZE, *sq = sv + SIZE, *sdo = sq + SIZE;
    float *lse = (float *)(void *)(sdo + SIZE), *delta = lse + TILE;
    float dk[WIDE / 8][4], dv[WIDE / 8][4], s[TILE / 8][4], dp[TILE / 8][4];
    const int64_t key_row = a.kv.cu_k[seq] + block * TILE;
    fetch_rows<WIDE>(sk, w.k, key_row, keys, a.hkv, kv_head);
    fetch_rows<WIDE>(sv, w.v, key_row, keys, a.hkv, kv_head);
    clear<WIDE / 8>(dk);
    clear<WIDE / 8>(dv);
    for (int64_t g = 0; g < group; g++)
        for (int64_t t = block * TILE; t < n; t += TILE) {
            const int rows = (int)(n - t < TILE ? n - t : TILE);
            const int64_t head = kv_head * group + g;
            block_sync(); /* all are done with the tile before */
            fetch_rows<WIDE>(sq, w.q, row0 + t, rows, a.hq, head);
            fetch_rows<WIDE>(sdo, w.dout, row0 + t, rows, a.hq, head);
            if (THREAD < TILE) {
                lse[THREAD] = THREAD < rows ? a.lse[(row0 + t + THREAD) * a.hq + head] : 0;
                delta[THREAD] = THREAD < rows ? w.delta[(row0 + t + THREAD) * a.hq + head] : 0;
            }
            copy_commit();
            copy_wait<0>();
            block_sync();
            clear<TILE / 8>(s);
            clear<TILE / 8>(dp);
            rows_times_rows<WIDE>(s, sk, sq); /* keys by queries */
            rows_times_rows<WIDE>(dp, sv, sdo);
            UNROLL
            for (int j = 0; j < TILE / 8; j++) {
                UNROLL
                for (int e = 0; e < 4; e++) {
                    int key = WARP_OF * 16 + LANE / 4 + e / 2 * 8, query = 8 * j + 2 * (LANE % 4) + e % 2;
                    gradient_of(&s[j][e], &dp[j][e], query < rows && block * TILE + key <= t + query, lse[query], delta[query], a.scale);
                }
            }
            rows_times_lines<WIDE>(dv, s, sdo);
            rows_times_lines<WIDE>(dk, dp, sq);
        }
    put_rows<WIDE>(a.dk + key_row * a.kv.ldk + kv_head * a.kv.head_stride_k, a.kv.ldk, dk, keys, a.d_k);
    put_rows<WIDE>(a.dv + key_row * a.kv.ldv + kv_head * a.kv.head_stride_v, a.kv.ldv, dv, keys, a.d_v);
}

template <int WIDE> KERNEL(THREADS) attn_mma_queries(struct bwd_args w)
{
    SHARED(uint16_t, memory);
    constexpr int LD = WIDE + PAD, SIZE = TILE * LD;
    const struct kern_attn_bwd &a = w.a;
    const int64_t head = BLOCK_X, seq = w.seqs[w.first + BLOCK_Y], t0 = (int64_t)w.pieces[w.first + BLOCK_Y] * TILE, row0 = a.cu_q[seq] + t0, n = a.cu_q[seq + 1] - a.cu_q[seq];
    const int rows = (int)(n - t0 < TILE ? n - t0 : TILE), row = WARP_OF * 16 + LANE / 4;
    uint16_t *sq = memory, *sdo = sq + SIZE, *sk = sdo + SIZE, *sv = sk + SIZE;
    float dq[WIDE / 8][4], s[TILE / 8][4], dp[TILE / 8][4], lse[2], delta[2];
    fetch_rows<WIDE>(sq, w.q, row0, rows, a.hq, head);
    fetch_rows<WIDE>(sdo, w.dout, row0, rows, a.hq, head);
    clear<WIDE / 8>(dq);
    for (int h = 0; h < 2; h++) {
        lse[h] = row + 8 * h < rows ? a.lse[(row0 + row + 8 * h) * a.hq + head] : 0;
        delta[h] = row + 8 * h < rows ? w.delta[(row0 + row + 8 * h) * a.hq + head] : 0;
    }
    for (int64_t b = 0; b * TILE < t0 + rows; b++) {
        const int keys = (int)(n - b * TILE < TILE ? n - b * TILE : TILE);
        block_sync();
        fetch_rows<WIDE>(sk, w.k, a.kv.cu_k[seq] + b * TILE, keys, a.hkv, head / (a.hq / a.hkv));
        fetch_rows<WIDE>(sv, w.v, a.kv.cu_k[seq] + b * TILE, keys, a.hkv, head / (a.hq / a.hkv));
        copy_commit();
        copy_wait<0>();
        block_sync();
        clear<TILE / 8>(s);
        clear<TILE / 8>(dp);
        rows_times_rows<WIDE>(s, sq, sk);
        rows_times_rows<WIDE>(dp, sdo, sv);
        UNROLL
        for (int j = 0; j < TILE / 8; j++) {
            UNROLL
            for (int e = 0; e < 4; e++) {
                int64_t key = b * TILE + 8 * j + 2 * (LANE % 4) + e % 2;
                gradient_of(&s[j][e], &dp[j][e], row + e / 2 * 8 < rows && key <= t0 + row + e / 2 * 8, lse[e / 2], delta[e / 2], a.scale);
            }
        }
        rows_times_lines<WIDE>(dq, dp, sk);
    }
    put_rows<WIDE>(a.dq + row0 * a.ldq + head * a.d_k, a.ldq, dq, rows, a.d_k);
}

/* ---- host ------------------------------------------------------------------------------------------------- */

static constexpr int64_t MOST_PIECES = 32768;

template <int WIDE> static void launch(struct kern *k, struct bwd_args *w, int64_t pieces)
{
    const struct kern_attn_bwd *a = &w->a;
    const struct dev_note note = {"attn_bwd bf16", {pieces, a->n_seq, a->hq, a->d_k}};
    const int64_t shared = 4 * TILE * (WIDE + PAD) * 2;
    for (w->first = 0; w->first < pieces; w->first += MOST_PIECES) {
        dev_launch(k, note, attn_mma_keys<WIDE>, {a->hkv, kern_min(pieces - w->first, MOST_PIECES), 1}, THREADS, shared + 2 * TILE * 4, *w);
        dev_launch(k, note, attn_mma_queries<WIDE>, {a->hq, kern_min(pieces - w->first, MOST_PIECES), 1}, THREADS, shared, *w);
    }
}

void dev_attn_bwd_bf16(struct kern *k, const struct kern_attn_bwd *a)
{
    const int64_t wide = a->d_k <= 64 && a->d_v <= 64 ? 64 : 128, tokens = a->n_seq ? a->cu_q[a->n_seq] : 0, keys = a->n_seq ? a->kv.cu_k[a->n_seq] : 0, most = tokens / TILE + a->n_seq + 1;
    int32_t *seq = (int32_t *)kern_scratch(k, SLOT_JOBS, most * 8), *piece = seq + most;
    struct bwd_args w = {};
    int64_t n = 0;
    if (!tokens)
        return;
    for (int64_t s = 0; s < a->n_seq; s++)
        for (int64_t i = 0; i * TILE < a->cu_q[s + 1] - a->cu_q[s]; i++, n++)
            seq[n] = (int32_t)s, piece[n] = (int32_t)i;
    float *delta = (float *)dev_scratch(k, DEV_STATS, tokens * a->hq * 4);
    w.a = *a;
    w.a.kv = attn_kv_there(k, &a->kv, a->n_seq);
    w.a.cu_q = dev_array(k, a->cu_q, a->n_seq + 1);
    w.seqs = dev_array(k, seq, n), w.pieces = dev_array(k, piece, n), w.delta = delta;
    w.q = dev_heads_bf16(k, DEV_ATTN_Q, a->q, tokens, a->hq, a->d_k, a->ldq, a->d_k, wide);
    w.dout = dev_heads_bf16(k, DEV_ATTN_DO, a->dout, tokens, a->hq, a->d_v, a->ldo, a->d_v, wide);
    w.k = dev_heads_bf16(k, DEV_ATTN_K, a->kv.k, keys, a->hkv, a->d_k, a->kv.ldk, a->kv.head_stride_k, wide);
    w.v = dev_heads_bf16(k, DEV_ATTN_V, a->kv.v, keys, a->hkv, a->d_v, a->kv.ldv, a->kv.head_stride_v, wide);
    dev_launch(k, {"attn_bwd bf16: delta", {tokens, a->hq, -1, -1}}, attn_mma_delta, {kern_parts(tokens * a->hq, WARPS), 1, 1}, THREADS, 0, *a, delta, tokens * a->hq);
    (wide == 64 ? launch<64> : launch<128>)(k, &w, n);
}

DEV_END
