/* The inner loops of matrix multiplication, compiled once per instruction set.
 *
 * A tile keeps up to TILE rows by NV vectors of sums in registers and walks the reduction once, in ascending order: one fma chain per
 * element whatever the tile's size, so the shape of the tile is free to differ between instruction sets. The chain starts from what
 * lies in c: long reductions are cut into blocks without a second accumulator. */
#ifndef HONE_KERNELS_CPU_GEMM_BODY_H
#define HONE_KERNELS_CPU_GEMM_BODY_H

#include "kernels/cpu/vec.h"

#if defined(__AVX512F__)
enum { NV = 4 };
#else
enum { NV = 1 }; /* 16 registers of 8 floats: 6 rows of 16 lanes */
#endif

struct at {
    float *c;
    const void *a, *b;
    int64_t ldc, rs, ks, ldb, n;
};

INLINE void tile_f32(const struct at *t, const int rows, const int nv)
{
    vf s[TILE][NV];
    const float *a = t->a, *b = t->b;
    const int64_t rs = t->rs, ks = t->ks, ldb = t->ldb;
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < nv; v++)
            s[r][v] = v_load(t->c + r * t->ldc + v * LANES);
    for (int64_t i = 0; i < t->n; i++, a += ks, b += ldb) {
        vf w[NV];
        for (int v = 0; v < nv; v++)
            w[v] = v_load(b + v * LANES);
        for (int r = 0; r < rows; r++) {
            vf x = v_set(a[r * rs]);
            for (int v = 0; v < nv; v++)
                s[r][v] = v_fma(x, w[v], s[r][v]);
        }
    }
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < nv; v++)
            v_store(t->c + r * t->ldc + v * LANES, s[r][v]);
}

/* One step of a bf16 chain: s + odd * odd, then + even * even. */
INLINE vf pair_fma(vf s, vi a, vi b)
{
#if defined(__AVX512BF16__)
    return _mm512_dpbf16_ps(s, (__m512bh)a, (__m512bh)b);
#else
    const vi high = i_set(0xFFFF0000);
    s = v_fma(v_from_bits(i_and(a, high)), v_from_bits(i_and(b, high)), s);
    return v_fma(v_from_bits(i_shl(a, 16)), v_from_bits(i_shl(b, 16)), s);
#endif
}

INLINE void tile_bf16(const struct at *t, const int rows, const int nv)
{
    vf s[TILE][NV];
    const uint32_t *a = t->a, *b = t->b;
    const int64_t rs = t->rs, ks = t->ks, ldb = t->ldb;
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < nv; v++)
            s[r][v] = v_load(t->c + r * t->ldc + v * LANES);
    for (int64_t i = 0; i < t->n; i++, a += ks, b += ldb) {
        vi w[NV];
        for (int v = 0; v < nv; v++)
            w[v] = i_load(b + v * LANES);
        for (int r = 0; r < rows; r++) {
            vi x = i_set(a[r * rs]);
            for (int v = 0; v < nv; v++)
                s[r][v] = pair_fma(s[r][v], x, w[v]);
        }
    }
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < nv; v++)
            v_store(t->c + r * t->ldc + v * LANES, s[r][v]);
}

/* One function per tile shape: the loops above unroll into registers only when rows and vectors are constants. */
#define TILE_FN(kind, r, v) \
    static void kind##_##r##x##v(const struct at *t) { tile_##kind(t, r, v); }
#define TILE_ROWS(kind, v) TILE_FN(kind, 1, v) TILE_FN(kind, 2, v) TILE_FN(kind, 3, v) TILE_FN(kind, 4, v) TILE_FN(kind, 5, v) TILE_FN(kind, 6, v)
#define TILE_LIST(kind, v) {kind##_1x##v, kind##_2x##v, kind##_3x##v, kind##_4x##v, kind##_5x##v, kind##_6x##v}
typedef void tile_fn(const struct at *t);
#if defined(__AVX512F__)
TILE_ROWS(f32, 1) TILE_ROWS(f32, 2) TILE_ROWS(f32, 3) TILE_ROWS(f32, 4)
TILE_ROWS(bf16, 1) TILE_ROWS(bf16, 2) TILE_ROWS(bf16, 3) TILE_ROWS(bf16, 4)
static tile_fn *const f32_tiles[NV][TILE] = {TILE_LIST(f32, 1), TILE_LIST(f32, 2), TILE_LIST(f32, 3), TILE_LIST(f32, 4)};
static tile_fn *const bf16_tiles[NV][TILE] = {TILE_LIST(bf16, 1), TILE_LIST(bf16, 2), TILE_LIST(bf16, 3), TILE_LIST(bf16, 4)};
#else
TILE_ROWS(f32, 1) TILE_ROWS(bf16, 1)
static tile_fn *const f32_tiles[NV][TILE] = {TILE_LIST(f32, 1)};
static tile_fn *const bf16_tiles[NV][TILE] = {TILE_LIST(bf16, 1)};
#endif

INLINE void strip_run(const struct strip *s, tile_fn *const fn[NV][TILE])
{
    for (int64_t lane = 0; lane < s->lanes; lane += NV * LANES) {
        int64_t nv = (s->lanes - lane) / LANES;
        for (int64_t r = 0; r < s->rows; r += TILE) {
            int64_t rows = s->rows - r;
            struct at t = {
                .c = s->c + r * s->ldc + lane, .a = (const float *)s->a + r / TILE * s->ts, .b = (const float *)s->b + lane,
                .ldc = s->ldc, .rs = s->rs, .ks = s->ks, .ldb = s->ldb, .n = s->n,
            };
            fn[nv < NV ? nv - 1 : NV - 1][rows < TILE ? rows - 1 : TILE - 1](&t);
        }
    }
}

static void strip_f32(const struct strip *s)
{
    strip_run(s, f32_tiles);
}

/* vdpbf16ps takes denormals as zero and gives none; its emulations run with the processor told to do the same. */
static void strip_bf16(const struct strip *s)
{
#if defined(__x86_64__) && !defined(__AVX512BF16__)
    unsigned mode = _mm_getcsr();
    _mm_setcsr(mode | _MM_FLUSH_ZERO_ON | 0x40 /* denormals are zeros */);
    strip_run(s, bf16_tiles);
    _mm_setcsr(mode);
#else
    strip_run(s, bf16_tiles);
#endif
}

static void to_pairs(uint32_t *dst, const float *x, int64_t n)
{
    uint16_t *h = (uint16_t *)dst;
    for (int64_t i = 0; i < n; i += LANES) {
        uint32_t u[LANES];
        int64_t m = n - i < LANES ? n - i : LANES;
        i_store(u, v_round_bf16(v_load_n(x + i, m)));
        for (int64_t l = 0; l < m; l++)
            h[i + l] = (uint16_t)(u[l] >> 16);
    }
    if (n % 2)
        h[n] = 0;
}

static void zip_pairs(uint32_t *dst, const float *even, const float *odd, int64_t n)
{
    for (int64_t i = 0; i < n; i += LANES) {
        int64_t m = n - i < LANES ? n - i : LANES;
        vi e = i_shr(v_round_bf16(v_load_n(even + i, m)), 16), o = odd ? v_round_bf16(v_load_n(odd + i, m)) : i_set(0);
        v_store_n((float *)(void *)(dst + i), v_from_bits(i_or(e, o)), m);
    }
}

static void turn(float *dst, const float *src, int64_t ld, int64_t rows, int64_t cols)
{
    for (int64_t c0 = 0; c0 < cols; c0 += LANES) {
        int64_t c1 = c0 + LANES < cols ? c0 + LANES : cols;
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = c0; c < c1; c++)
                dst[c * PANEL + r] = src[r * ld + c];
        for (int64_t c = c0; c < c1 && rows < PANEL; c++)
            memset(dst + c * PANEL + rows, 0, (size_t)(PANEL - rows) * sizeof *dst);
    }
}

#endif
