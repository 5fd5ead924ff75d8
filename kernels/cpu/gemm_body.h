/* The inner loops of matrix multiplication, compiled once per instruction set.
 *
 * A tile keeps up to TILE rows by NV vectors of sums in registers and walks the reduction once, in ascending order: one fma chain per
 * element whatever the tile's size, so the shape of the tile is free to differ between instruction sets. The chain starts from what
 * lies in c: long reductions are cut into blocks without a second accumulator. */
#ifndef HONE_KERNELS_CPU_GEMM_BODY_H
#define HONE_KERNELS_CPU_GEMM_BODY_H

#include "kernels/cpu/vec.h"
#include "kernels/kern.h"

#if defined(__AVX512F__)
enum { NV = 4 };
#else
enum { NV = 1 }; /* 16 registers of 8 floats: 6 rows of 16 lanes */
#endif

struct at {
    const float *c;
    float *out;
    const void *a, *b;
    int64_t ldc, ldo, rs, ks, ldb, n;
    int fresh, stream;
    const float *sa, *sb;
    int64_t sa_m, sa_i, sb_i;
    const char *next; /* asked for on the way, a line per step, lines next_step bytes apart; NULL: nothing */
    int64_t next_step;
};

/* Tiles of one or two rows wait for memory alone: asking costs them more than it gives. */
INLINE void ask(const struct at *t, const char **next, const int rows)
{
    if (rows > 2) {
        __builtin_prefetch(*next, 0, 2);
        *next += t->next_step;
    }
}

/* The loops over a tile are flat and told to unroll, so that the compiler sees early that the sums are registers: it would else pass them
 * through memory before and after the walk. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ALL_SUMS
#else
#define ALL_SUMS _Pragma("GCC unroll 24")
#endif

INLINE void start(const struct at *t, vf s[TILE * NV], const int rows, const int nv)
{
    if (t->fresh) {
        ALL_SUMS for (int i = 0; i < rows * nv; i++)
            s[i] = v_set(0);
    } else {
        ALL_SUMS for (int i = 0; i < rows * nv; i++)
            s[i] = v_load(t->c + i / nv * t->ldc + i % nv * LANES);
    }
}

INLINE void put(const struct at *t, vf s[TILE * NV], const int rows, const int nv)
{
    if (t->stream) {
        ALL_SUMS for (int i = 0; i < rows * nv; i++)
            v_stream(t->out + i / nv * t->ldo + i % nv * LANES, s[i]);
    } else {
        ALL_SUMS for (int i = 0; i < rows * nv; i++)
            v_store(t->out + i / nv * t->ldo + i % nv * LANES, s[i]);
    }
}

INLINE void tile_f32(const struct at *t, const int rows, const int nv)
{
    vf s[TILE * NV];
    const float *a = t->a, *b = t->b;
    const char *next = t->next ? t->next : (const char *)t->b;
    const int64_t rs = t->rs, ks = t->ks, ldb = t->ldb;
    start(t, s, rows, nv);
    for (int64_t i = 0; i < t->n; i++, a += ks, b += ldb) {
        vf w[NV];
        ask(t, &next, rows);
        ALL_SUMS for (int v = 0; v < nv; v++)
            w[v] = v_load(b + v * LANES);
        ALL_SUMS for (int j = 0; j < rows * nv; j++)
            s[j] = v_fma(v_set(a[j / nv * rs]), w[j % nv], s[j]);
    }
    put(t, s, rows, nv);
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
    vf s[TILE * NV];
    const uint32_t *a = t->a, *b = t->b;
    const char *next = t->next ? t->next : (const char *)t->b;
    const int64_t rs = t->rs, ks = t->ks, ldb = t->ldb;
    start(t, s, rows, nv);
    for (int64_t i = 0; i < t->n; i++, a += ks, b += ldb) {
        vi w[NV];
        ask(t, &next, rows);
        ALL_SUMS for (int v = 0; v < nv; v++)
            w[v] = i_load(b + v * LANES);
        ALL_SUMS for (int j = 0; j < rows * nv; j++)
            s[j] = pair_fma(s[j], i_set(a[j / nv * rs]), w[j % nv]);
    }
    put(t, s, rows, nv);
}

/* Sums of a run join the totals at `from`, which between two runs lie on the stack. */
INLINE void tile_fp8(const struct at *t, const int rows, const int nv)
{
    static const float zeros[PANEL];
    float kept[TILE * PANEL];
    const float *from = t->fresh ? zeros : t->c;
    int64_t ldf = t->fresh ? 0 : t->ldc;
    const uint32_t *a = t->a, *b = t->b;
    const char *next = t->next ? t->next : (const char *)t->b;
    const int64_t rs = t->rs, ks = t->ks, ldb = t->ldb;
    for (int64_t first = 0, run = 0; first < t->n; first += KERN_RUN / 2, run++) {
        vf s[TILE * NV];
        const int64_t n = t->n - first < KERN_RUN / 2 ? t->n - first : KERN_RUN / 2;
        ALL_SUMS for (int j = 0; j < rows * nv; j++)
            s[j] = v_set(0);
        for (int64_t i = 0; i < n; i++, a += ks, b += ldb) {
            vi w[NV];
            ask(t, &next, rows);
            ALL_SUMS for (int v = 0; v < nv; v++)
                w[v] = i_load(b + v * LANES);
            ALL_SUMS for (int j = 0; j < rows * nv; j++)
                s[j] = pair_fma(s[j], i_set(a[j / nv * rs]), w[j % nv]);
        }
        ALL_SUMS for (int j = 0; j < rows * nv; j++) {
            const int r = j / nv, v = j % nv;
            const vf scale = v_mul(v_set(t->sa[r * t->sa_m + run * t->sa_i]), v_load(t->sb + run * t->sb_i + v * LANES));
            s[j] = v_fma(s[j], scale, v_load(from + r * ldf + v * LANES));
        }
        if (first + n == t->n)
            put(t, s, rows, nv);
        else {
            ALL_SUMS for (int j = 0; j < rows * nv; j++)
                v_store(kept + j / nv * PANEL + j % nv * LANES, s[j]);
        }
        from = kept, ldf = PANEL;
    }
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
TILE_ROWS(fp8, 4)
static tile_fn *const f32_tiles[NV][TILE] = {TILE_LIST(f32, 1), TILE_LIST(f32, 2), TILE_LIST(f32, 3), TILE_LIST(f32, 4)};
static tile_fn *const bf16_tiles[NV][TILE] = {TILE_LIST(bf16, 1), TILE_LIST(bf16, 2), TILE_LIST(bf16, 3), TILE_LIST(bf16, 4)};
static tile_fn *const fp8_tiles[NV][TILE] = {{NULL}, {NULL}, {NULL}, TILE_LIST(fp8, 4)}; /* whole panels only */
#else
TILE_ROWS(f32, 1) TILE_ROWS(bf16, 1) TILE_ROWS(fp8, 1)
static tile_fn *const f32_tiles[NV][TILE] = {TILE_LIST(f32, 1)};
static tile_fn *const bf16_tiles[NV][TILE] = {TILE_LIST(bf16, 1)};
static tile_fn *const fp8_tiles[NV][TILE] = {TILE_LIST(fp8, 1)};
#endif

/* Sums that lie in memory are asked for a tile ahead. */
INLINE void ask_sums(const struct strip *s, int64_t row, int64_t lane, int64_t nv)
{
    for (int64_t r = row; s->out && !s->fresh && r < row + TILE && r < s->rows; r++)
        for (int64_t v = 0; v < nv && v < NV; v++)
            __builtin_prefetch(s->c + r * s->ldc + lane + v * LANES, 1, 3);
}

/* What tile number i asks for: a run of lines, or one of the columns of lines of some rows. */
INLINE void share_of_next(const struct strip *s, int64_t i, struct at *t)
{
    const char *next = s->next;
    if (next && s->next_ld && i / NV * s->n < s->next_rows)
        t->next = next + (i / NV * s->n * s->next_ld + i % NV * LANES) * 4, t->next_step = s->next_ld * 4;
    else if (next && i * s->n * 64 < s->next_bytes)
        t->next = next + i * s->n * 64, t->next_step = 64;
}

INLINE void strip_run(const struct strip *s, tile_fn *const fn[NV][TILE])
{
    float *out = s->out ? s->out : s->c;
    const int64_t ldo = s->out ? s->ldo : s->ldc;
    for (int64_t lane = 0; lane < s->lanes; lane += NV * LANES) {
        int64_t nv = (s->lanes - lane) / LANES;
        for (int64_t r = 0; r < s->rows; r += TILE) {
            int64_t rows = s->rows - r;
            struct at t = {
                .c = s->c + r * s->ldc + lane, .out = out + r * ldo + lane, .ldo = ldo, .stream = s->stream, .a = (const float *)s->a + r / TILE * s->ts, .b = (const float *)s->b + lane,
                .ldc = s->ldc, .rs = s->rs, .ks = s->ks, .ldb = s->ldb, .n = s->n, .fresh = s->fresh,
                .sa = s->sa ? s->sa + r * s->sa_m : NULL, .sb = s->sb ? s->sb + lane : NULL, .sa_m = s->sa_m, .sa_i = s->sa_i, .sb_i = s->sb_i,
            };
            share_of_next(s, r / TILE, &t);
            ask_sums(s, r + TILE, lane, nv);
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

/* The sums here flush as above; so does the addition of a run, on every instruction set. */
static void strip_fp8(const struct strip *s)
{
#if defined(__x86_64__)
    unsigned mode = _mm_getcsr();
    _mm_setcsr(mode | _MM_FLUSH_ZERO_ON | 0x40);
    strip_run(s, fp8_tiles);
    _mm_setcsr(mode);
#else
    strip_run(s, fp8_tiles);
#endif
}

/* 16 values of a row as 8 pairs. */
INLINE void row_pairs(uint16_t *dst, vf x)
{
#if defined(__AVX512BF16__)
    _mm256_storeu_si256((__m256i *)(void *)dst, (__m256i)_mm512_cvtneps_pbh(x));
#elif defined(__AVX512F__)
    _mm256_storeu_si256((__m256i *)(void *)dst, _mm512_cvtepi32_epi16(i_shr(v_round_bf16(x), 16)));
#else
    uint32_t u[LANES];
    i_store(u, v_round_bf16(x));
    for (int l = 0; l < LANES; l++)
        dst[l] = (uint16_t)(u[l] >> 16);
#endif
}

static void to_pairs(uint32_t *dst, const float *x, int64_t n)
{
    uint16_t *h = (uint16_t *)dst, t[LANES];
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        row_pairs(h + i, v_load(x + i));
    if (i < n) {
        row_pairs(t, v_load_n(x + i, n - i));
        memcpy(h + i, t, (size_t)(n - i + n % 2) * sizeof *t);
    }
}

/* 16 values of two rows as 16 pairs. */
INLINE vi two_rows(vf even, vf odd)
{
#if defined(__AVX512BF16__)
    vi e = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(even)), o = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(odd));
    return i_or(e, i_shl(o, 16));
#else
    return i_or(i_shr(v_round_bf16(even), 16), v_round_bf16(odd));
#endif
}

static void zip_pairs(uint32_t *dst, const float *even, const float *odd, int64_t n)
{
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        i_store(dst + i, two_rows(v_load(even + i), odd ? v_load(odd + i) : v_set(0)));
    if (i < n) {
        vi p = two_rows(v_load_n(even + i, n - i), odd ? v_load_n(odd + i, n - i) : v_set(0));
        v_store_n((float *)(void *)(dst + i), v_from_bits(p), n - i);
    }
}

/* ---- rows into tiles ------------------------------------------------------------------------- *
 * What one thread writes and several read is streamed past the caches: a line that two cores hold costs 25 ns to write again. */

INLINE int whole_lines(const void *p)
{
    return ((uintptr_t)p & 63) == 0;
}

#if defined(__AVX512F__)
_Static_assert(TILE == 6 && LANES == 16, "the permutations below");

/* Word p of a tile belongs to row p % 6 and item p / 6: where it lies in two rows of 16 items, and which two rows those are. */
#define WORD(p) ((p) / 6 + (p) % 2 * 16)
#define WORD4(p) WORD(p), WORD((p) + 1), WORD((p) + 2), WORD((p) + 3)
#define WORD16(p) {WORD4(p), WORD4((p) + 4), WORD4((p) + 8), WORD4((p) + 12)}
#define OF(p, two) ((p) % 6 / 2 == (two)) << (p) % 16
#define OF4(p, two) (OF(p, two) | OF((p) + 1, two) | OF((p) + 2, two) | OF((p) + 3, two))
#define OF16(p, two) (OF4(p, two) | OF4((p) + 4, two) | OF4((p) + 8, two) | OF4((p) + 12, two))

INLINE void tile_put(void *dst, vi x, const int stream)
{
    stream ? _mm512_stream_si512(dst, x) : i_store(dst, x);
}

/* 16 items of 6 rows. */
INLINE void tile16(uint32_t *dst, vi row[TILE], const int stream)
{
    static const int32_t at[TILE][LANES] = {WORD16(0), WORD16(16), WORD16(32), WORD16(48), WORD16(64), WORD16(80)};
    static const __mmask16 second[TILE] = {OF16(0, 1), OF16(16, 1), OF16(32, 1), OF16(48, 1), OF16(64, 1), OF16(80, 1)};
    static const __mmask16 third[TILE] = {OF16(0, 2), OF16(16, 2), OF16(32, 2), OF16(48, 2), OF16(64, 2), OF16(80, 2)};
    for (int q = 0; q < TILE; q++) {
        vi x = i_load(at[q]), v = _mm512_permutex2var_epi32(row[0], x, row[1]);
        v = _mm512_mask_mov_epi32(v, second[q], _mm512_permutex2var_epi32(row[2], x, row[3]));
        v = _mm512_mask_mov_epi32(v, third[q], _mm512_permutex2var_epi32(row[4], x, row[5]));
        tile_put(dst + q * LANES, v, stream);
    }
}

/* 8 items of 6 words each, `ld` words apart; 8 words of each are read. */
INLINE void tile8(uint32_t *dst, const uint32_t *src, int64_t ld, const int stream)
{
    static const int32_t first[LANES] = {0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13, 16, 17, 18, 19};
    static const int32_t mid[LANES] = {4, 5, 8, 9, 10, 11, 12, 13, 16, 17, 18, 19, 20, 21, 24, 25};
    static const int32_t last[LANES] = {10, 11, 12, 13, 16, 17, 18, 19, 20, 21, 24, 25, 26, 27, 28, 29};
    vi two[4];
    for (int i = 0; i < 4; i++)
        two[i] = _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)(const void *)(src + 2 * i * ld))),
                                    _mm256_loadu_si256((const __m256i *)(const void *)(src + (2 * i + 1) * ld)), 1);
    tile_put(dst, _mm512_permutex2var_epi32(two[0], i_load(first), two[1]), stream);
    tile_put(dst + LANES, _mm512_permutex2var_epi32(two[1], i_load(mid), two[2]), stream);
    tile_put(dst + 2 * LANES, _mm512_permutex2var_epi32(two[2], i_load(last), two[3]), stream);
}
#endif

/* dst[item][TILE] = src[row][item]; the words of absent rows are not written, or hold anything. */
static void tile_rows(uint32_t *dst, const uint32_t *const *src, int64_t rows, int64_t n, int stream)
{
    int64_t i = 0;
#if defined(__AVX512F__)
    for (; rows == TILE && i + LANES <= n; i += LANES) {
        vi row[TILE];
        for (int r = 0; r < TILE; r++)
            row[r] = i_load(src[r] + i);
        stream && whole_lines(dst) ? tile16(dst + i * TILE, row, 1) : tile16(dst + i * TILE, row, 0);
    }
#endif
    for (; i < n; i++)
        for (int64_t r = 0; r < rows; r++)
            dst[i * TILE + r] = src[r][i];
    (void)stream;
}

/* dst[tile][item][TILE] = src[item][row], tiles `ts` words apart. */
static void tile_cols(uint32_t *dst, int64_t ts, const uint32_t *src, int64_t ld, int64_t rows, int64_t n, int stream)
{
    for (int64_t r = 0; r < rows; r += TILE, dst += ts) {
        const int64_t some = rows - r < TILE ? rows - r : TILE;
        int64_t i = 0;
#if defined(__AVX512F__)
        for (; rows - r >= 8 && i + 8 <= n; i += 8)
            stream && whole_lines(dst) ? tile8(dst + i * TILE, src + i * ld + r, ld, 1) : tile8(dst + i * TILE, src + i * ld + r, ld, 0);
#endif
        for (; i < n; i++)
            for (int64_t j = 0; j < some; j++)
                dst[i * TILE + j] = src[i * ld + r + j];
    }
    (void)stream;
}

INLINE void copy_some(float *dst, int64_t ld, const float *src, int64_t ld_src, int64_t rows, int64_t n, const int stream)
{
    for (int64_t r = 0; r < rows; r++, dst += ld, src += ld_src) {
        int64_t i = 0;
        for (; i + LANES <= n; i += LANES)
            stream ? v_stream(dst + i, v_load(src + i)) : v_store(dst + i, v_load(src + i));
        if (i < n)
            memcpy(dst + i, src + i, (size_t)(n - i) * sizeof *dst);
    }
}

static void copy_rows(float *dst, int64_t ld, const float *src, int64_t ld_src, int64_t rows, int64_t n, int stream)
{
    if (stream && whole_lines(dst) && ld % LANES == 0)
        copy_some(dst, ld, src, ld_src, rows, n, 1);
    else if (n == PANEL)
        copy_some(dst, ld, src, ld_src, rows, PANEL, 0);
    else
        copy_some(dst, ld, src, ld_src, rows, n, 0);
}

/* dst[pair][PANEL] = rows 2 pair and 2 pair + 1, a missing one as zeros. */
static void zip_rows(uint32_t *dst, const float *src, int64_t ld, int64_t rows, int64_t n, int stream)
{
    for (int64_t r = 0; r < rows; r += 2, dst += PANEL, src += 2 * ld) {
        const float *odd = r + 1 < rows ? src + ld : NULL;
        if (stream && n == PANEL && odd && whole_lines(dst))
            for (int l = 0; l < PANEL; l += LANES)
                v_stream((float *)(void *)(dst + l), v_from_bits(two_rows(v_load(src + l), v_load(odd + l))));
        else
            zip_pairs(dst, src, odd, n);
    }
}

#if defined(__AVX512F__)
/* 8 items of 16 outputs: the halves of two neighbours change places, then the 8 x 8 words of 64 bits are turned. */
INLINE void across8(uint32_t *dst, const uint32_t *src, const int stream)
{
    const vi halves = _mm512_broadcast_i32x4(_mm_set_epi8(15, 14, 11, 10, 13, 12, 9, 8, 7, 6, 3, 2, 5, 4, 1, 0));
    vi a[8], b[8];
    for (int i = 0; i < 8; i++)
        a[i] = _mm512_shuffle_epi8(i_load(src + i * PANEL), halves);
    for (int i = 0; i < 8; i += 2) {
        b[i] = _mm512_unpacklo_epi64(a[i], a[i + 1]);
        b[i + 1] = _mm512_unpackhi_epi64(a[i], a[i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
        for (int h = 0; h < 2; h++) {
            a[i + h] = _mm512_shuffle_i64x2(b[i + h], b[i + 2 + h], 0x88);
            a[i + 2 + h] = _mm512_shuffle_i64x2(b[i + h], b[i + 2 + h], 0xDD);
        }
    for (int h = 0; h < 4; h++) { /* a[h]: pairs h and h + 4 of outputs, items 0 to 3; a[4 + h]: items 4 to 7 */
        tile_put(dst + h * PANEL, _mm512_shuffle_i64x2(a[h], a[4 + h], 0x88), stream);
        tile_put(dst + (h + 4) * PANEL, _mm512_shuffle_i64x2(a[h], a[4 + h], 0xDD), stream);
    }
}
#endif

static void across_pairs(uint32_t *dst, const uint32_t *src, int64_t n, int64_t items, int stream)
{
    int64_t whole = 0;
#if defined(__AVX512F__)
    for (; whole + 8 <= items; whole += 8)
        for (int64_t j = 0; j < n; j += 8) {
            uint32_t *d = dst + j * PANEL + 2 * whole, few[8 * PANEL];
            const uint32_t *s = src + whole * PANEL + 2 * j;
            if (n - j < 8) {
                across8(few, s, 0);
                for (int64_t r = 0; r < n - j; r++)
                    memcpy(d + r * PANEL, few + r * PANEL, 16 * sizeof *d);
            } else
                stream && whole_lines(d) ? across8(d, s, 1) : across8(d, s, 0);
        }
#endif
    for (int64_t j = 0; j < n; j++)
        for (int64_t i = whole; i < items; i++) {
            uint32_t even = src[i * PANEL + 2 * j], odd = src[i * PANEL + 2 * j + 1];
            dst[j * PANEL + 2 * i] = (even & 0xFFFF) | odd << 16;
            dst[j * PANEL + 2 * i + 1] = even >> 16 | (odd & 0xFFFF0000);
        }
    (void)stream;
}

/* Asks for rows that the next block will read. */
static void fetch(const float *p, int64_t ld, int64_t rows, int64_t cols)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c += LANES)
            __builtin_prefetch(p + r * ld + c, 0, 2);
}

/* ---- transposition --------------------------------------------------------------------------- */

#if defined(__AVX512F__)
/* 16 x 16 in four rounds: 32-bit pairs, 64-bit pairs, then 128-bit quarters twice. */
INLINE void turn16(float *dst, int64_t ldd, const float *src, int64_t ld, int64_t rows, int64_t cols, const int stream)
{
    __m512 a[16], b[16];
    for (int r = 0; r < 16; r++)
        a[r] = r < rows ? v_load_n(src + r * ld, cols) : v_set(0);
    for (int r = 0; r < 16; r += 2) {
        b[r] = _mm512_unpacklo_ps(a[r], a[r + 1]);
        b[r + 1] = _mm512_unpackhi_ps(a[r], a[r + 1]);
    }
    for (int r = 0; r < 16; r += 4)
        for (int h = 0; h < 2; h++) {
            __m512d x = _mm512_castps_pd(b[r + h]), y = _mm512_castps_pd(b[r + 2 + h]);
            a[r + 2 * h] = _mm512_castpd_ps(_mm512_unpacklo_pd(x, y));
            a[r + 2 * h + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(x, y));
        }
    for (int q = 0; q < 4; q++) {
        b[q] = _mm512_shuffle_f32x4(a[q], a[4 + q], 0x88);
        b[4 + q] = _mm512_shuffle_f32x4(a[q], a[4 + q], 0xDD);
        b[8 + q] = _mm512_shuffle_f32x4(a[8 + q], a[12 + q], 0x88);
        b[12 + q] = _mm512_shuffle_f32x4(a[8 + q], a[12 + q], 0xDD);
    }
    for (int q = 0; q < 4; q++) {
        a[q] = _mm512_shuffle_f32x4(b[q], b[8 + q], 0x88);
        a[8 + q] = _mm512_shuffle_f32x4(b[q], b[8 + q], 0xDD);
        a[4 + q] = _mm512_shuffle_f32x4(b[4 + q], b[12 + q], 0x88);
        a[12 + q] = _mm512_shuffle_f32x4(b[4 + q], b[12 + q], 0xDD);
    }
    for (int c = 0; c < 16; c++)
        if (c < cols)
            stream ? v_stream(dst + c * ldd, a[c]) : v_store(dst + c * ldd, a[c]);
}
#else
INLINE void turn16(float *dst, int64_t ldd, const float *src, int64_t ld, int64_t rows, int64_t cols, const int stream)
{
    for (int64_t c = 0; c < cols && c < LANES; c++)
        for (int64_t r = 0; r < LANES; r++)
            dst[c * ldd + r] = r < rows ? src[r * ld + c] : 0;
    (void)stream;
}
#endif

static void turn(float *dst, const float *src, int64_t ld, int64_t rows, int64_t cols, int stream)
{
    stream &= whole_lines(dst);
    for (int64_t r = 0; r < PANEL; r += LANES)
        for (int64_t c = 0; c < cols; c += LANES)
            if (stream)
                turn16(dst + c * PANEL + r, PANEL, src + r * ld + c, ld, rows - r, cols - c, 1);
            else
                turn16(dst + c * PANEL + r, PANEL, src + r * ld + c, ld, rows - r, cols - c, 0);
}

#endif
