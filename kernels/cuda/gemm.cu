/* Products of matrices. An output's sum has one order whatever the tile it lies in: f32 is one fma chain over ascending k (the cpu's bits),
 * bf16 one chain of m16n8k16 instructions over ascending k, in every tile shape. Nothing splits k. */
#include "kernels/cuda/cuda.h"

DEV_BEGIN

/* ---- f32: 256 threads, 64 x 64 outputs, 16 of k at a time; each thread 4 x 4 ------------------------------- */

static constexpr int F_TILE = 64, F_K = 16, F_THREADS = 256, F_EACH = 4, F_LD = F_TILE + 1;

/* Rows [row0, row0 + 64) and columns [k0, k0 + 16) of an operand, as tile[k][row]; zeros beyond its end. */
DEVICE void f32_tile(float *tile, const float *x, int64_t row0, int64_t rows, int64_t row_step, int64_t k0, int64_t k, int64_t k_step)
{
    for (int i = THREAD; i < F_TILE * F_K; i += F_THREADS) {
        int r = k_step == 1 ? i / F_K : i % F_TILE, c = k_step == 1 ? i % F_K : i / F_TILE; /* neighbours in memory by neighbours */
        tile[c * F_LD + r] = row0 + r < rows && k0 + c < k ? x[(row0 + r) * row_step + (k0 + c) * k_step] : 0;
    }
}

KERNEL(F_THREADS) gemm_f32(struct dev_gemm g)
{
    SHARED(float, a);
    float *b = a + F_K * F_LD, acc[F_EACH][F_EACH];
    const int64_t m0 = (int64_t)BLOCK_Y * F_TILE, n0 = (int64_t)BLOCK_X * F_TILE;
    const int ty = THREAD / 16, tx = THREAD % 16; /* rows ty + 16 i, columns tx + 16 j */
    for (int i = 0; i < F_EACH; i++)
        for (int j = 0; j < F_EACH; j++) {
            int64_t m = m0 + ty + 16 * i, n = n0 + tx + 16 * j;
            acc[i][j] = g.accumulate && m < g.m && n < g.n ? g.c[m * g.ldc + n] : 0;
        }
    for (int64_t k0 = 0; k0 < g.k; k0 += F_K) {
        f32_tile(a, (const float *)g.a, m0, g.m, g.a_m, k0, g.k, g.a_k);
        f32_tile(b, (const float *)g.b, n0, g.n, g.b_n, k0, g.k, g.b_k);
        block_sync();
        int steps = g.k - k0 < F_K ? (int)(g.k - k0) : F_K; /* a zero would turn -0 into +0 */
        for (int k = 0; k < steps; k++)
            UNROLL
            for (int i = 0; i < F_EACH; i++)
                for (int j = 0; j < F_EACH; j++)
                    acc[i][j] = fmaf(a[k * F_LD + ty + 16 * i], b[k * F_LD + tx + 16 * j], acc[i][j]);
        block_sync();
    }
    for (int i = 0; i < F_EACH; i++)
        for (int j = 0; j < F_EACH; j++) {
            int64_t m = m0 + ty + 16 * i, n = n0 + tx + 16 * j;
            float v = acc[i][j];
            if (m >= g.m || n >= g.n)
                continue;
            if (g.bias)
                v += g.bias[n];
            if (g.residual)
                v += g.residual[m * g.ldc + n];
            g.c[m * g.ldc + n] = v;
        }
}

/* Grids have 65,535 rows at most: taller products go in turns. */
static constexpr int64_t MOST_TILES = 32768;

void dev_gemm_f32(struct kern *k, struct dev_note note, const struct dev_gemm *g)
{
    for (int64_t first = 0; first < g->m; first += MOST_TILES * F_TILE) {
        struct dev_gemm part = *g;
        part.m = kern_min(g->m - first, MOST_TILES * F_TILE);
        part.a = (const float *)g->a + first * g->a_m;
        part.c = g->c + first * g->ldc;
        part.residual = g->residual ? g->residual + first * g->ldc : NULL;
        dev_launch(k, note, gemm_f32, {kern_parts(g->n, F_TILE), kern_parts(part.m, F_TILE), 1}, F_THREADS, 2 * F_K * F_LD * 4, part);
    }
}

/* ---- bf16 on tensor cores ------------------------------------------------------------------------------------ */

/* Rows of f32 to bf16 with zeros around, eight columns a thread. */
static constexpr int C_THREADS = 256, C_EACH = 8;
static constexpr int64_t C_ROWS_MOST = 32768;

KERNEL(C_THREADS) to_bf16(uint16_t *out, const float *x, int64_t rows, int64_t cols, int64_t ld, int64_t cols_out)
{
    int64_t c = ((int64_t)BLOCK_X * C_THREADS + THREAD) * C_EACH, r = BLOCK_Z * C_ROWS_MOST + BLOCK_Y;
    uint32_t pair[C_EACH / 2];
    if (c >= cols_out)
        return;
    UNROLL
    for (int i = 0; i < C_EACH; i += 2) {
        float low = r < rows && c + i < cols ? x[r * ld + c + i] : 0, high = r < rows && c + i + 1 < cols ? x[r * ld + c + i + 1] : 0;
        pair[i / 2] = dev_bf16_pair(low, high);
    }
    uint32_t *to = (uint32_t *)(void *)(out + r * cols_out + c);
    UNROLL
    for (int i = 0; i < C_EACH / 2; i++)
        to[i] = pair[i];
}

int64_t dev_bf16_pad_rows(int64_t rows)
{
    return rows <= 16 ? 16 : rows <= 64 ? 64 : dev_up(rows);
}

void dev_to_bf16(struct kern *k, uint16_t *out, const float *x, int64_t rows, int64_t cols, int64_t ld, int64_t rows_out)
{
    int64_t wide = dev_up(cols);
    for (int64_t first = 0; first < rows_out; first += C_ROWS_MOST) {
        int64_t n = kern_min(rows_out - first, C_ROWS_MOST), has = kern_max(0, kern_min(rows - first, n));
        dev_launch(k, {"to bf16", {rows, cols, -1, -1}}, to_bf16, {kern_parts(wide, C_THREADS * C_EACH), n, 1}, C_THREADS, 0, out + first * wide, x + (has ? first * ld : 0), has,
                   cols, ld, wide);
    }
}

const uint16_t *dev_bf16_rows(struct kern *k, enum dev_slot slot, const float *x, int64_t rows, int64_t cols, int64_t ld)
{
    int64_t rows_out = dev_bf16_pad_rows(rows);
    uint16_t *out = (uint16_t *)dev_scratch(k, slot, rows_out * dev_up(cols) * 2);
    dev_to_bf16(k, out, x, rows, cols, ld, rows_out);
    return out;
}

/* A tile shape: BM x BN outputs by WM x WN warps, KT of k at a time, STAGES of them under way.
 * A tile of an operand that lies by rows is [rows][KT], a turned one [KT][rows]; rows of shared memory are 16 bytes longer than their
 * numbers, so that the eight rows of an 8 x 8 matrix lie in different banks. */
template <int BM_, int BN_, int WM_, int WN_, int STAGES_> struct shape {
    static constexpr int BM = BM_, BN = BN_, KT = 32, STAGES = STAGES_, WARPS = WM_ * WN_, THREADS = WARPS * WARP;
    static constexpr int WM = WM_, WN = WN_, RM = BM / WM / 16, RN = BN / WN / 8; /* of a warp: m16 and n8 pieces */
    static_assert(BM % (WM * 16) == 0 && BN % (WN * 8) == 0, "whole pieces");
};

static constexpr int T_PAD = 8;

template <int ROWS, int TURNED> struct tile {
    static constexpr int LD = (TURNED ? ROWS : 32) + T_PAD, LINES = TURNED ? 32 : ROWS, SIZE = LD * LINES, CHUNKS = (LD - T_PAD) / 8;
};

/* Starts the copies of one tile. */
template <int ROWS, int TURNED, int THREADS> DEVICE void fetch_tile(uint16_t *to, const uint16_t *x, int64_t ld, int64_t row0, int64_t k0)
{
    using T = tile<ROWS, TURNED>;
    const uint16_t *from = TURNED ? x + k0 * ld + row0 : x + row0 * ld + k0;
    for (int i = THREAD; i < T::LINES * T::CHUNKS; i += THREADS)
        copy16(to + i / T::CHUNKS * T::LD + i % T::CHUNKS * 8, from + i / T::CHUNKS * ld + i % T::CHUNKS * 8, 16);
}

template <class S, int TA, int TB> struct stages {
    static constexpr int A = tile<S::BM, TA>::SIZE, B = tile<S::BN, TB>::SIZE, BYTES = (A + B) * 2 * S::STAGES;
};

/* One tile's products: acc += a b over its 32 of k, ascending. */
template <class S, int TA, int TB> DEVICE void tile_products(float (*acc)[S::RN][4], const uint16_t *a, const uint16_t *b, int row, int col)
{
    uint32_t long_b[4];
    if (S::RN == 1)
        take_b_long<tile<S::BN, TB>::LD, TB>(long_b, b, col, 0);
    UNROLL
    for (int k = 0; k < S::KT; k += 16) {
        uint32_t fa[S::RM][4], fb[S::RN == 1 ? 1 : S::RN / 2][4];
        UNROLL
        for (int i = 0; i < S::RM; i++)
            take_a<tile<S::BM, TA>::LD, TA>(fa[i], a, row + 16 * i, k);
        UNROLL
        for (int j = 0; j < S::RN / 2; j++)
            take_b<tile<S::BN, TB>::LD, TB>(fb[j], b, col + 16 * j, k);
        UNROLL
        for (int i = 0; i < S::RM; i++) {
            UNROLL
            for (int j = 0; j < S::RN; j++)
                mma_bf16(acc[i][j], fa[i], S::RN == 1 ? long_b + k / 8 : fb[j / 2] + j % 2 * 2);
        }
    }
}

/* Reads or writes the outputs of this warp, which lie as the fragments of C do: in: what the sums start from. */
template <class S, bool IN> DEVICE void outputs(const struct dev_gemm &g, float (*acc)[S::RN][4], int64_t m0, int64_t n0)
{
    UNROLL
    for (int i = 0; i < S::RM; i++) {
        UNROLL
        for (int j = 0; j < S::RN; j++) {
            UNROLL
            for (int e = 0; e < 4; e++) {
                int64_t m = m0 + 16 * i + LANE / 4 + e / 2 * 8, n = n0 + 8 * j + 2 * (LANE % 4) + e % 2;
                bool in = m < g.m && n < g.n;
                if (IN) {
                    acc[i][j][e] = in && g.accumulate ? g.c[m * g.ldc + n] : 0;
                } else if (in) {
                    float v = acc[i][j][e];
                    if (g.bias)
                        v += g.bias[n];
                    if (g.residual)
                        v += g.residual[m * g.ldc + n];
                    g.c[m * g.ldc + n] = v;
                }
            }
        }
    }
}

/* Blocks go through the product in strips of STRIP rows of tiles, so that those at work at one time share operands in the cache. */
static constexpr int STRIP = 8;
template <class S> DEVICE void place_block(const struct dev_gemm &g, int64_t *m0, int64_t *n0)
{
    int64_t tiles_m = (g.m + S::BM - 1) / S::BM, tiles_n = (g.n + S::BN - 1) / S::BN, b = BLOCK_X, strip = b / (STRIP * tiles_n);
    int64_t high = tiles_m - strip * STRIP < STRIP ? tiles_m - strip * STRIP : STRIP, in = b - strip * STRIP * tiles_n;
    *m0 = (strip * STRIP + in % high) * S::BM;
    *n0 = in / high * S::BN;
}

template <class S, int TA, int TB> KERNEL(S::THREADS) gemm_bf16(struct dev_gemm g)
{
    SHARED(uint16_t, memory);
    using ST = stages<S, TA, TB>;
    const uint16_t *ga = (const uint16_t *)g.a, *gb = (const uint16_t *)g.b;
    const int64_t lda = TA ? g.a_k : g.a_m, ldb = TB ? g.b_k : g.b_n, steps = (g.k + S::KT - 1) / S::KT;
    const int row = WARP_OF / S::WN * (S::BM / S::WM), col = WARP_OF % S::WN * (S::BN / S::WN);
    int64_t m0, n0;
    float acc[S::RM][S::RN][4];
    place_block<S>(g, &m0, &n0);
    for (int s = 0; s < S::STAGES - 1; s++) {
        uint16_t *to = memory + s * (ST::A + ST::B);
        if (s < steps) {
            fetch_tile<S::BM, TA, S::THREADS>(to, ga, lda, m0, s * S::KT);
            fetch_tile<S::BN, TB, S::THREADS>(to + ST::A, gb, ldb, n0, s * S::KT);
        }
        copy_commit();
    }
    outputs<S, true>(g, acc, m0 + row, n0 + col);
    for (int64_t s = 0; s < steps; s++) {
        copy_wait<S::STAGES - 2>();
        block_sync(); /* tile s is there for all, and all are done with the one before, whose place the next one takes */
        int64_t next = s + S::STAGES - 1;
        if (next < steps) {
            uint16_t *to = memory + next % S::STAGES * (ST::A + ST::B);
            fetch_tile<S::BM, TA, S::THREADS>(to, ga, lda, m0, next * S::KT);
            fetch_tile<S::BN, TB, S::THREADS>(to + ST::A, gb, ldb, n0, next * S::KT);
        }
        copy_commit();
        const uint16_t *a = memory + s % S::STAGES * (ST::A + ST::B);
        tile_products<S, TA, TB>(acc, a, a + ST::A, row, col);
    }
    outputs<S, false>(g, acc, m0 + row, n0 + col);
}

template <class S, int TA, int TB> static void launch_gemm(struct kern *k, struct dev_note note, const struct dev_gemm *g)
{
    dev_launch(k, note, gemm_bf16<S, TA, TB>, {kern_parts(g->m, S::BM) * kern_parts(g->n, S::BN), 1, 1}, S::THREADS, stages<S, TA, TB>::BYTES, *g);
}

using large = shape<128, 128, 2, 4, 4>;
using middle = shape<64, 64, 2, 2, 4>;
using few = shape<16, 32, 1, 4, 6>; /* decode: many blocks, each with its own columns of the weight */

/* A forward's tile shape follows m, and its bits do not. Operands are padded for the largest tile that reads them (dev_bf16_pad_rows). */
void dev_gemm_bf16(struct kern *k, struct dev_note note, const struct dev_gemm *g)
{
    const int ta = g->a_k != 1, tb = g->b_k != 1;
    assert(!(ta && !tb));
    if (ta)
        launch_gemm<large, 1, 1>(k, note, g);
    else if (g->m <= 16)
        (tb ? launch_gemm<few, 0, 1> : launch_gemm<few, 0, 0>)(k, note, g);
    else if (g->m <= 64)
        (tb ? launch_gemm<middle, 0, 1> : launch_gemm<middle, 0, 0>)(k, note, g);
    else
        (tb ? launch_gemm<large, 0, 1> : launch_gemm<large, 0, 0>)(k, note, g);
}

DEV_END
