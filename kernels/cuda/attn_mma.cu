/* Causal attention on tensor cores, forward: bf16 operands, f32 sums, softmax in f32. A block of threads has 64 rows (tokens x heads of a kv
 * head), a warp 16 of them. Keys go in blocks of KERN_PAGE from key 0, and in chunks of CHUNK blocks: a chunk's maximum, sum and weighted
 * values start from scratch, chunks are merged ascending by one formula. Where there are few tiles (decode) the chunks of a tile are
 * computed by different blocks of threads and merged by another kernel: the same numbers in the same order, so the same bits. */
#include "kernels/cuda/attn.h"

DEV_BEGIN

static constexpr int ROWS = 64, THREADS = 128, PAGE = KERN_PAGE, CHUNK = 4, PAD = 8;
static constexpr float LOG2E = 1.44269504088896341f, LN2 = 0.69314718055994531f;

struct mma_args {
    struct kern_attn a;
    const struct attn_tile *tiles;
    const uint16_t *q, *k, *v; /* bf16 [rows, heads, wide]; k, v NULL: from pages, in f32 */
    float *part;               /* split: [tile, chunk, ROWS, wide + 2] weighted values, maximum, sum; NULL: one block has all chunks */
    int64_t chunks;            /* split: most of a tile */
};

/* Line `to` gets d numbers and zeros up to WIDE; from: bf16 or f32, NULL: zeros. Eight at a time, `at` says which. */
template <int WIDE> DEVICE_TEMPLATE void line_f32(uint16_t *to, const float *from, int d, int at)
{
    uint32_t pair[4];
    UNROLL
    for (int i = 0; i < 4; i++) {
        int c = at * 8 + 2 * i;
        pair[i] = dev_bf16_pair(from && c < d ? from[c] : 0, from && c + 1 < d ? from[c + 1] : 0);
    }
    UNROLL
    for (int i = 0; i < 4; i++)
        ((uint32_t *)(void *)(to + at * 8))[i] = pair[i];
}

/* Keys and values of a block, those from `keys` on being zeros. */
template <int WIDE> DEVICE_TEMPLATE void fetch_block(uint16_t *k, uint16_t *v, const struct mma_args &m, const struct attn_tile &t, int64_t block, int keys)
{
    constexpr int EACH = WIDE / 8, LD = WIDE + PAD;
    if (!m.k) {
        const struct attn_block b = attn_block_at(m.a.kv, t.seq, t.kv_head, block, m.a.dk, m.a.dv);
        for (int i = THREAD; i < PAGE * EACH; i += THREADS) {
            int j = i / EACH;
            line_f32<WIDE>(k + j * LD, j < keys ? b.k + j * b.ldk : NULL, (int)m.a.dk, i % EACH);
            line_f32<WIDE>(v + j * LD, j < keys ? b.v + j * b.ldv : NULL, (int)m.a.dv, i % EACH);
        }
        return;
    }
    const int64_t first = ((m.a.kv.cu_k[t.seq] + block * PAGE) * m.a.hkv + t.kv_head) * WIDE, step = m.a.hkv * WIDE;
    for (int i = THREAD; i < PAGE * EACH; i += THREADS) {
        int j = i / EACH, at = i % EACH * 8, bytes = j < keys ? 16 : 0;
        int64_t from = j < keys ? first + j * step + at : 0;
        copy16(k + j * LD + at, m.k + from, bytes);
        copy16(v + j * LD + at, m.v + from, bytes);
    }
}

/* What a warp holds of its 16 rows: a thread has two rows, LANE / 4 and that + 8, and of each columns 2 (LANE % 4), + 1 of every eight. */
template <int WIDE> struct state {
    float o[WIDE / 8][4], m[2], l[2];
};

template <int WIDE> DEVICE_TEMPLATE void state_clear(struct state<WIDE> &s)
{
    UNROLL
    for (int i = 0; i < WIDE / 8; i++)
        s.o[i][0] = s.o[i][1] = s.o[i][2] = s.o[i][3] = 0;
    s.m[0] = s.m[1] = -dev_inf();
    s.l[0] = s.l[1] = 0;
}

/* The merge of a chunk (c) into what came before: factors, then o, l. */
struct factors {
    float old_part, new_part, top;
};
DEVICE struct factors merge_factors(float m, float mc)
{
    float top = dev_max(m, mc), at = top == -dev_inf() ? 0 : top;
    return {dev_exp2(m - at), dev_exp2(mc - at), top};
}

template <int WIDE> DEVICE_TEMPLATE void state_merge(struct state<WIDE> &s, const struct state<WIDE> &c)
{
    UNROLL
    for (int h = 0; h < 2; h++) {
        struct factors f = merge_factors(s.m[h], c.m[h]);
        s.m[h] = f.top;
        s.l[h] = fmaf(s.l[h], f.old_part, c.l[h] * f.new_part);
        UNROLL
        for (int i = 0; i < WIDE / 8; i++) {
            s.o[i][2 * h] = fmaf(s.o[i][2 * h], f.old_part, c.o[i][2 * h] * f.new_part);
            s.o[i][2 * h + 1] = fmaf(s.o[i][2 * h + 1], f.old_part, c.o[i][2 * h + 1] * f.new_part);
        }
    }
}

/* One block of keys: c goes on. see[h]: keys of this block that the thread's row h sees. */
template <int WIDE> DEVICE_TEMPLATE void block_step(struct state<WIDE> &c, const uint32_t (*q)[4], const uint16_t *k, const uint16_t *v, const int64_t see[2], float scale)
{
    constexpr int LD = WIDE + PAD;
    float s[PAGE / 8][4];
    uint32_t f[4];
    UNROLL
    for (int j = 0; j < PAGE / 8; j++)
        s[j][0] = s[j][1] = s[j][2] = s[j][3] = 0;
    UNROLL
    for (int d = 0; d < WIDE / 16; d++) {
        UNROLL
        for (int j = 0; j < PAGE / 16; j++) {
            take_b<LD, 0>(f, k, 16 * j, 16 * d);
            mma_bf16(s[2 * j], q[d], f);
            mma_bf16(s[2 * j + 1], q[d], f + 2);
        }
    }
    UNROLL
    for (int h = 0; h < 2; h++) {
        float top = -dev_inf(), sum = 0;
        UNROLL
        for (int j = 0; j < PAGE / 8; j++) {
            UNROLL
            for (int e = 0; e < 2; e++) {
                float &z = s[j][2 * h + e];
                z = 8 * j + 2 * (LANE % 4) + e < see[h] ? z * scale : -dev_inf();
                top = dev_max(top, z);
            }
        }
        top = dev_max(top, lane_xor(top, 1));
        top = dev_max(top, lane_xor(top, 2));
        top = dev_max(c.m[h], top);
        float at = top == -dev_inf() ? 0 : top, keep = dev_exp2(c.m[h] - at);
        UNROLL
        for (int j = 0; j < PAGE / 8; j++) {
            UNROLL
            for (int e = 0; e < 2; e++) {
                float &z = s[j][2 * h + e];
                z = dev_exp2(z - at);
                sum += z;
            }
        }
        sum += lane_xor(sum, 1);
        sum += lane_xor(sum, 2);
        c.l[h] = fmaf(c.l[h], keep, sum);
        c.m[h] = top;
        UNROLL
        for (int i = 0; i < WIDE / 8; i++)
            c.o[i][2 * h] *= keep, c.o[i][2 * h + 1] *= keep;
    }
    UNROLL
    for (int j = 0; j < PAGE / 16; j++) {
        const uint32_t p[4] = {dev_bf16_pair(s[2 * j][0], s[2 * j][1]), dev_bf16_pair(s[2 * j][2], s[2 * j][3]), dev_bf16_pair(s[2 * j + 1][0], s[2 * j + 1][1]),
                               dev_bf16_pair(s[2 * j + 1][2], s[2 * j + 1][3])};
        UNROLL
        for (int i = 0; i < WIDE / 16; i++) {
            take_b<LD, 1>(f, v, 16 * i, 16 * j);
            mma_bf16(c.o[2 * i], p, f);
            mma_bf16(c.o[2 * i + 1], p, f + 2);
        }
    }
}

/* The finished row: + 0 turns a -0 into +0, which masked keys behind it would have done. */
DEVICE void put_row(const struct kern_attn &a, int64_t token, int64_t head, int d, float o, float l)
{
    a.o[token * a.ldo + head * a.dv + d] = o * (1.f / l) + 0.f;
}

template <int WIDE> KERNEL(THREADS) attn_mma(struct mma_args m)
{
    SHARED(uint16_t, memory);
    constexpr int LD = WIDE + PAD, TILE = PAGE * LD;
    const struct kern_attn &a = m.a;
    const struct attn_tile t = m.tiles[BLOCK_X];
    const int rows = t.tokens * t.heads, row = WARP_OF * 16 + LANE / 4;
    const int64_t nq = a.cu_q[t.seq + 1] - a.cu_q[t.seq], row0 = a.cu_q[t.seq] + t.first, see0 = a.kv_len[t.seq] - nq + t.first + 1, most = see0 + t.tokens - 1;
    const int64_t head0 = t.kv_head * (a.hq / a.hkv) + t.first_head, blocks = (most + PAGE - 1) / PAGE;
    const int64_t first = m.part ? (int64_t)BLOCK_Y * CHUNK : 0, last = m.part && first + CHUNK < blocks ? first + CHUNK : blocks;
    uint16_t *sq = memory, *sk = sq + ROWS * LD, *sv = sk + 2 * TILE;
    struct state<WIDE> all, c;
    uint32_t q[WIDE / 16][4];
    if (first >= blocks)
        return;
    for (int i = THREAD; i < ROWS * (WIDE / 8); i += THREADS) {
        int r = i / (WIDE / 8), at = i % (WIDE / 8) * 8;
        copy16(sq + r * LD + at, r < rows ? m.q + ((row0 + r / t.heads) * a.hq + head0 + r % t.heads) * WIDE + at : m.q, r < rows ? 16 : 0);
    }
    fetch_block<WIDE>(sk, sv, m, t, first, (int)(most - first * PAGE < PAGE ? most - first * PAGE : PAGE));
    copy_commit();
    state_clear(all);
    state_clear(c);
    for (int64_t b = first; b < last; b++) {
        const int now = (int)(b - first) % 2;
        copy_wait<0>();
        block_sync(); /* block b is there for all, and all are done with the one before it */
        if (b == first) {
            UNROLL
            for (int d = 0; d < WIDE / 16; d++)
                take_a<LD, 0>(q[d], sq, WARP_OF * 16, 16 * d);
        }
        if (b + 1 < last) {
            int64_t keys = most - (b + 1) * PAGE;
            fetch_block<WIDE>(sk + (1 - now) * TILE, sv + (1 - now) * TILE, m, t, b + 1, (int)(keys < PAGE ? keys : PAGE));
        }
        copy_commit();
        const int64_t see[2] = {see0 + row / t.heads - b * PAGE, see0 + (row + 8) / t.heads - b * PAGE};
        block_step<WIDE>(c, q, sk + now * TILE, sv + now * TILE, see, a.scale * LOG2E);
        if (!m.part && ((b + 1) % CHUNK == 0 || b + 1 == last)) {
            state_merge(all, c);
            state_clear(c);
        }
    }
    float *part = m.part + ((int64_t)BLOCK_X * m.chunks + BLOCK_Y) * ROWS * (WIDE + 2);
    UNROLL
    for (int h = 0; h < 2; h++) {
        int r = row + 8 * h;
        int64_t token = row0 + r / t.heads, head = head0 + r % t.heads;
        if (r >= rows)
            continue;
        UNROLL
        for (int i = 0; i < WIDE / 8; i++) {
            UNROLL
            for (int e = 0; e < 2; e++) {
                int d = 8 * i + 2 * (LANE % 4) + e;
                if (m.part)
                    part[r * (WIDE + 2) + d] = c.o[i][2 * h + e];
                else if (d < a.dv)
                    put_row(a, token, head, d, all.o[i][2 * h + e], all.l[h]);
            }
        }
        if (LANE % 4)
            continue;
        if (m.part)
            part[r * (WIDE + 2) + WIDE] = c.m[h], part[r * (WIDE + 2) + WIDE + 1] = c.l[h];
        else if (a.lse)
            a.lse[token * a.hq + head] = all.m[h] * LN2 + dev_log(all.l[h]);
    }
}

/* The chunks of a tile, ascending: a thread per number of a row. */
template <int WIDE> KERNEL(THREADS) attn_merge(struct mma_args m)
{
    const struct kern_attn &a = m.a;
    const struct attn_tile t = m.tiles[BLOCK_X];
    const int64_t nq = a.cu_q[t.seq + 1] - a.cu_q[t.seq], see0 = a.kv_len[t.seq] - nq + t.first + 1, most = see0 + t.tokens - 1, chunks = (most + PAGE * CHUNK - 1) / (PAGE * CHUNK);
    for (int i = THREAD; i < t.tokens * t.heads * WIDE; i += THREADS) {
        int r = i / WIDE, d = i % WIDE;
        int64_t token = a.cu_q[t.seq] + t.first + r / t.heads, head = t.kv_head * (a.hq / a.hkv) + t.first_head + r % t.heads;
        const float *p = m.part + ((int64_t)BLOCK_X * m.chunks * ROWS + r) * (WIDE + 2);
        float o = 0, top = -dev_inf(), l = 0;
        for (int64_t c = 0; c < chunks; c++, p += ROWS * (WIDE + 2)) {
            struct factors f = merge_factors(top, p[WIDE]);
            top = f.top;
            l = fmaf(l, f.old_part, p[WIDE + 1] * f.new_part);
            o = fmaf(o, f.old_part, p[d] * f.new_part);
        }
        if (d < a.dv)
            put_row(a, token, head, d, o, l);
        if (d == 0 && a.lse)
            a.lse[token * a.hq + head] = top * LN2 + dev_log(l);
    }
}

/* ---- host ------------------------------------------------------------------------------------------------- */

static constexpr int64_t MOST_ROWS = 32768;

/* Eight numbers a thread, rows by BLOCK_Y and BLOCK_Z. */
KERNEL(THREADS) heads_to_bf16(uint16_t *out, const float *x, int64_t rows, int64_t heads, int64_t d, int64_t ld, int64_t head_stride, int64_t wide)
{
    int64_t i = (int64_t)BLOCK_X * THREADS + THREAD, r = BLOCK_Z * MOST_ROWS + BLOCK_Y, each = wide / 8, h = i / each, c = i % each * 8;
    if (h >= heads || r >= rows)
        return;
    const float *from = x + r * ld + h * head_stride;
    uint32_t *to = (uint32_t *)(void *)(out + (r * heads + h) * wide + c);
    for (int j = 0; j < 8; j += 2)
        to[j / 2] = dev_bf16_pair(c + j < d ? from[c + j] : 0, c + j + 1 < d ? from[c + j + 1] : 0);
}

const uint16_t *dev_heads_bf16(struct kern *k, enum dev_slot slot, const float *x, int64_t rows, int64_t heads, int64_t d, int64_t ld, int64_t head_stride, int64_t wide)
{
    uint16_t *out = (uint16_t *)dev_scratch(k, slot, (rows + 1) * heads * wide * 2);
    dev_launch(k, {"heads to bf16", {rows, heads, d, -1}}, heads_to_bf16, {kern_parts(heads * (wide / 8), THREADS), kern_min(rows, MOST_ROWS), kern_parts(rows, MOST_ROWS)}, THREADS, 0, out, x,
               rows, heads, d, ld, head_stride, wide);
    return out;
}

/* Splits where whole tiles would leave most of the device idle; the bits do not depend on it. */
enum { FEW_TILES = 128 };

template <int WIDE> static void launch(struct kern *k, const struct kern_attn *a, struct mma_args *m, int64_t tiles, int64_t longest)
{
    const struct dev_note note = {"attn bf16", {a->n_seq ? a->cu_q[a->n_seq] : 0, a->n_seq, a->hq, a->dk}};
    const int64_t shared = (ROWS + 4 * PAGE) * (WIDE + PAD) * 2;
    m->chunks = kern_parts(longest, PAGE * CHUNK);
    if (tiles < FEW_TILES && m->chunks > 1) {
        m->part = (float *)dev_scratch(k, DEV_PARTS, tiles * m->chunks * ROWS * (WIDE + 2) * 4);
        dev_launch(k, note, attn_mma<WIDE>, {tiles, m->chunks, 1}, THREADS, shared, *m);
        dev_launch(k, note, attn_merge<WIDE>, {tiles, 1, 1}, THREADS, 0, *m);
        return;
    }
    dev_launch(k, note, attn_mma<WIDE>, {tiles, 1, 1}, THREADS, shared, *m);
}

void dev_attn_bf16(struct kern *k, const struct kern_attn *a)
{
    const int64_t wide = a->dk <= 64 && a->dv <= 64 ? 64 : 128, n = attn_cut(a, ROWS, NULL), tokens = a->n_seq ? a->cu_q[a->n_seq] : 0;
    struct attn_tile *tile = (struct attn_tile *)kern_scratch(k, SLOT_JOBS, n * (int64_t)sizeof *tile);
    struct mma_args m = {};
    int64_t longest = 0;
    for (int64_t s = 0; s < a->n_seq; s++)
        longest = a->cu_q[s + 1] > a->cu_q[s] ? kern_max(longest, a->kv_len[s]) : longest;
    attn_cut(a, ROWS, tile);
    m.a = *a;
    m.a.kv = attn_kv_there(k, &a->kv, a->n_seq);
    m.a.cu_q = dev_array(k, a->cu_q, a->n_seq + 1);
    m.a.kv_len = dev_array(k, a->kv_len, a->n_seq);
    m.tiles = dev_array(k, tile, n);
    m.q = dev_heads_bf16(k, DEV_ATTN_Q, a->q, tokens, a->hq, a->dk, a->ldq, a->dk, wide);
    if (!a->kv.pages) {
        const int64_t keys = a->n_seq ? a->kv.cu_k[a->n_seq] : 0;
        m.k = dev_heads_bf16(k, DEV_ATTN_K, a->kv.k, keys, a->hkv, a->dk, a->kv.ldk, a->kv.head_stride_k, wide);
        m.v = dev_heads_bf16(k, DEV_ATTN_V, a->kv.v, keys, a->hkv, a->dv, a->kv.ldv, a->kv.head_stride_v, wide);
    }
    (wide == 64 ? launch<64> : launch<128>)(k, a, &m, n, longest);
}

DEV_END
