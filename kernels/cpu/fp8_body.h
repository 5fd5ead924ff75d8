/* E4M3 and E5M6: rounding, codes and scales. Compiled once per instruction set; see isa.h. Behind gemm_body.h, whose pairs it makes. */
#ifndef HONE_KERNELS_CPU_FP8_BODY_H
#define HONE_KERNELS_CPU_FP8_BODY_H

#include "kernels/cpu/gemm_body.h"
#include "kernels/cpu/vec.h"
#include "kernels/kern.h"

enum { MAGNITUDE = 0x7FFFFFFF, INFINITE = 0x7F800000 };

INLINE vi v_magnitude(vf x)
{
    return i_and(v_bits(x), i_set(MAGNITUDE));
}

INLINE vf v_abs(vf x)
{
    return v_from_bits(v_magnitude(x));
}

/* ---- x / s ----------------------------------------------------------------------------------- *
 * A vector's division costs as much as ten products. With r the float nearest to 1 / s and q = x r, one more step q + r (x - q s) is the
 * quotient but for 2^-46, rounded once (Markstein 1990), as long as x - q s does not fall below the smallest float; from s = 2^-80 on it
 * does not for any quotient above 2^-20. Smaller scales, and infinite ones, divide. A quotient of -0 comes out as 0: signs are x's. */

struct divisor {
    vf s, minus, r;
    int divide;
};

INLINE int fp8_divides(float s)
{
    return !(s >= 0x1p-80f && s <= 0x1p100f);
}

INLINE struct divisor v_divisor(vf s, int divide)
{
    return (struct divisor){s, v_sub(v_set(0), s), v_div(v_set(1), s), divide};
}

INLINE vf v_quotient(vf x, const struct divisor *d)
{
    vf q = v_mul(x, d->r);
    return d->divide ? v_div(x, d->s) : v_fma(v_fma(q, d->minus, x), d->r, q);
}

/* ---- E4M3 ------------------------------------------------------------------------------------ *
 * Normal numbers round their bits to 3 of mantissa; below 2^-6 the step is 2^-9, which adding 1.5 * 2^14 rounds to. */

enum { E4M3_NORMAL = 0x3C800000, E4M3_TOP = 0x43E00000 };

INLINE vi e4m3_rounded(vi mag) /* 3 bits of mantissa, and below them anything */
{
    return i_add(mag, i_add(i_and(i_shr(mag, 20), i_set(1)), i_set(0x7FFFF)));
}

/* Nearest E4M3 value to q, ties to even, saturating, with the sign of x; NaN stays. */
INLINE vf v_e4m3(vf q, vf x)
{
    const vf step = v_set(24576.f);
    vi mag = v_magnitude(q), r = i_and(e4m3_rounded(mag), i_set(0xFFF00000));
    r = i_less(mag, i_set(E4M3_NORMAL), v_bits(v_sub(v_add(v_from_bits(mag), step), step)), r);
    r = i_less(i_set(E4M3_TOP), r, i_set(E4M3_TOP), r);
    r = i_less(i_set(INFINITE), mag, mag, r);
    return v_from_bits(i_or(r, i_and(v_bits(x), i_set(0x80000000))));
}

/* The same for what a product reads, where the sign of a zero is no matter: q of at most 448, but for the last bits. */
INLINE vi e4m3_operand(vf q)
{
    const vf step = v_set(24576.f);
    vi u = v_bits(q), mag = v_magnitude(q), r = i_and(e4m3_rounded(u), i_set(0xFFF00000));
    r = i_less(mag, i_set(E4M3_NORMAL), v_bits(v_sub(v_add(q, step), step)), r);
    return i_less(i_set(INFINITE), mag, v_bits(v_set(NAN)), r);
}

/* Its code, as kern_e4m3_code. */
INLINE vi e4m3_codes(vf q, vf x)
{
    const vf step = v_set(24576.f);
    vi mag = v_magnitude(q), c = i_sub(i_shr(e4m3_rounded(mag), 20), i_set(120 << 3));
    c = i_less(mag, i_set(E4M3_NORMAL), i_sub(v_bits(v_add(v_from_bits(mag), step)), v_bits(step)), c);
    c = i_less(i_set(0x7E), c, i_set(0x7E), c);
    c = i_or(c, i_and(i_shr(v_bits(x), 24), i_set(0x80)));
    return i_less(i_set(INFINITE), mag, i_set(0x7F), c);
}

INLINE vf e4m3_values(vi code)
{
    const vf step = v_set(24576.f);
    vi mag = i_and(code, i_set(0x7F)), v = i_add(i_shl(mag, 20), i_set(120u << 23));
    v = i_less(mag, i_set(8), v_bits(v_sub(v_from_bits(i_add(v_bits(step), mag)), step)), v);
    v = i_less(i_set(0x7E), mag, v_bits(v_set(NAN)), v);
    return v_from_bits(i_or(v, i_shl(i_and(code, i_set(0x80)), 24)));
}

/* ---- E5M6 ------------------------------------------------------------------------------------ *
 * Twelve bits: sign, exponent as f16 has it (1..30), 6 of mantissa; the largest is 127 / 64 * 2^15. Below 2^-14 the step is 2^-20. */

enum { E5M6_NORMAL = 0x38800000, E5M6_TOP = 0x7BF };

INLINE vi e5m6_codes(vf q, vf x)
{
    const vf step = v_set(12.f);
    vi mag = v_magnitude(q), c = i_add(mag, i_add(i_and(i_shr(mag, 17), i_set(1)), i_set(0xFFFF)));
    c = i_sub(i_shr(c, 17), i_set(112 << 6));
    c = i_less(mag, i_set(E5M6_NORMAL), i_sub(v_bits(v_add(v_from_bits(mag), step)), v_bits(step)), c);
    c = i_less(i_set(E5M6_TOP), c, i_set(E5M6_TOP), c);
    c = i_or(c, i_and(i_shr(v_bits(x), 20), i_set(0x800)));
    return i_less(i_set(INFINITE), mag, i_set(0x7FF), c);
}

INLINE vf e5m6_values(vi code)
{
    const vf step = v_set(12.f);
    vi mag = i_and(code, i_set(0x7FF)), v = i_add(i_shl(mag, 17), i_set(112u << 23));
    v = i_less(mag, i_set(64), v_bits(v_sub(v_from_bits(i_add(v_bits(step), mag)), step)), v);
    v = i_less(i_set(0x7FE), mag, v_bits(v_set(NAN)), v);
    return v_from_bits(i_or(v, i_shl(i_and(code, i_set(0x800)), 20)));
}

/* ---- rows of codes --------------------------------------------------------------------------- */

INLINE void put_bytes(uint8_t *out, vi c, int64_t n)
{
#if defined(__AVX512F__)
    _mm_mask_storeu_epi8(out, v_first(n), _mm512_cvtepi32_epi8(c));
#else
    uint32_t t[LANES];
    i_store(t, c);
    for (int64_t l = 0; l < LANES && l < n; l++)
        out[l] = (uint8_t)t[l];
#endif
}

INLINE vi get_bytes(const uint8_t *in, int64_t n)
{
#if defined(__AVX512F__)
    return _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(v_first(n), in));
#else
    uint32_t t[LANES] = {0};
    for (int64_t l = 0; l < LANES && l < n; l++)
        t[l] = in[l];
    return i_load(t);
#endif
}

/* Four codes of twelve bits are six bytes. */
INLINE void put_twelves(uint8_t *out, vi c, int64_t n)
{
    uint32_t t[LANES];
    uint8_t all[LANES * 3 / 2];
    i_store(t, c);
    for (int i = 0; i < LANES; i += 4) {
        uint64_t w = (uint64_t)t[i] | (uint64_t)t[i + 1] << 12 | (uint64_t)t[i + 2] << 24 | (uint64_t)t[i + 3] << 36;
        memcpy(all + i / 2 * 3, &w, 6);
    }
    memcpy(out, all, n >= LANES ? sizeof all : (size_t)((n + 1) / 2 * 3));
}

INLINE vi get_twelves(const uint8_t *in, int64_t n)
{
    uint32_t t[LANES];
    uint8_t all[LANES * 3 / 2] = {0};
    memcpy(all, in, n >= LANES ? sizeof all : (size_t)((n + 1) / 2 * 3));
    for (int i = 0; i < LANES; i += 4) {
        uint64_t w = 0;
        memcpy(&w, all + i / 2 * 3, 6);
        for (int j = 0; j < 4; j++)
            t[i + j] = (uint32_t)(w >> 12 * j) & 0xFFF;
    }
    return i_load(t);
}

static void quant_e4m3(uint8_t *codes, const float *x, int64_t n, float s)
{
    const struct divisor d = v_divisor(v_set(s), fp8_divides(s));
    for (int64_t i = 0; i < n; i += LANES) {
        vf v = v_load_n(x + i, n - i);
        put_bytes(codes + i, e4m3_codes(v_quotient(v, &d), v), n - i);
    }
}

static void dequant_e4m3(float *x, const uint8_t *codes, int64_t n, float s)
{
    for (int64_t i = 0; i < n; i += LANES)
        v_store_n(x + i, v_mul(e4m3_values(get_bytes(codes + i, n - i)), v_set(s)), n - i);
}

static void quant_e5m6(uint8_t *codes, const float *x, int64_t n, float s)
{
    const struct divisor d = v_divisor(v_set(s), fp8_divides(s));
    for (int64_t i = 0; i < n; i += LANES) {
        vf v = v_load_n(x + i, n - i);
        put_twelves(codes + i / 2 * 3, e5m6_codes(v_quotient(v, &d), v), n - i);
    }
}

static void dequant_e5m6(float *x, const uint8_t *codes, int64_t n, float s)
{
    for (int64_t i = 0; i < n; i += LANES)
        v_store_n(x + i, v_mul(e5m6_values(get_twelves(codes + i / 2 * 3, n - i)), v_set(s)), n - i);
}

/* ---- operands of products -------------------------------------------------------------------- */

/* Largest magnitude; a NaN is not seen (it stays in the values). */
static float amax(const float *x, int64_t n)
{
    vf m = v_set(0);
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        m = v_max(v_abs(v_load(x + i)), m);
    if (i < n)
        m = v_max(v_abs(v_load_n(x + i, n - i)), m);
    return v_top(m);
}

static void fp8_div(float *q, const float *x, int64_t n, float scale)
{
    const struct divisor d = v_divisor(v_set(scale), fp8_divides(scale));
    for (int64_t i = 0; i < n; i += LANES) {
        vf v = v_load_n(x + i, n - i);
        v_store_n(q + i, v_e4m3(v_quotient(v, &d), v), n - i);
    }
}

/* One run of a row. */
INLINE void row_run(uint16_t *half, const float *x, int64_t n, float scale)
{
    const struct divisor d = v_divisor(v_set(scale), fp8_divides(scale));
    uint16_t t[LANES];
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        vf v = v_load(x + i);
        row_pairs(half + i, v_from_bits(e4m3_operand(v_quotient(v, &d))));
    }
    if (i < n) {
        vf v = v_load_n(x + i, n - i);
        row_pairs(t, v_from_bits(e4m3_operand(v_quotient(v, &d))));
        memcpy(half + i, t, (size_t)(n - i + n % 2) * sizeof *t);
    }
}

static void fp8_row(uint32_t *pairs, float *scale, const float *x, int64_t n, int how)
{
    for (int64_t i = 0; i < n; i += KERN_RUN) {
        int64_t m = n - i < KERN_RUN ? n - i : KERN_RUN;
        *scale = kern_cpu_fp8_scale(amax(x + i, m), how);
        row_run((uint16_t *)pairs + i, x + i, m, *scale++);
    }
}

/* kern_cpu_fp8_scale of 16 maxima. */
INLINE vf v_fp8_scale(vf top, int how)
{
    vf s = v_div(v_max(top, v_set(how & KERN_SCALE_GRAD ? 1e-30f : 1e-4f)), v_set(448.f));
    return how & KERN_SCALE_POW2 ? v_from_bits(i_and(i_add(v_bits(s), i_set(0x7FFFFF)), i_set(INFINITE))) : s;
}

/* Up to nv vectors of columns side by side: rows lie far apart, so a line of memory is used whole while it is near. */
INLINE void cols_some(uint32_t *pairs, int64_t ldp, float *scale, const float *x, int64_t ldx, int64_t rows, int64_t n, int how, const int nv, const int stream)
{
    struct divisor d[PANEL / LANES];
    vf top[PANEL / LANES];
    for (int v = 0; v < nv; v++)
        top[v] = v_set(0);
    for (int64_t r = 0; r < rows; r++)
        for (int v = 0; v < nv; v++)
            top[v] = v_max(v_abs(v_load_n(x + r * ldx + v * LANES, n - v * LANES)), top[v]);
    for (int v = 0; v < nv; v++) {
        float s[LANES];
        int divide = 0;
        v_store(s, v_fp8_scale(top[v], how));
        v_store_n(scale + v * LANES, v_load(s), n - v * LANES);
        for (int l = 0; l < LANES; l++)
            divide |= fp8_divides(s[l]);
        d[v] = v_divisor(v_load(s), divide);
    }
    for (int64_t r = 0; r < rows; r += 2, pairs += ldp)
        for (int v = 0; v < nv; v++) {
            const float *at = x + r * ldx + v * LANES;
            vf even = v_load_n(at, n - v * LANES), odd = r + 1 < rows ? v_load_n(at + ldx, n - v * LANES) : v_set(0);
            vi p = i_or(i_shr(e4m3_operand(v_quotient(even, &d[v])), 16), e4m3_operand(v_quotient(odd, &d[v]))); /* the low halves are 0 */
            if (stream)
                v_stream((float *)(void *)pairs + v * LANES, v_from_bits(p));
            else
                v_store_n((float *)(void *)pairs + v * LANES, v_from_bits(p), n - v * LANES);
        }
}

static void fp8_cols(uint32_t *pairs, int64_t ldp, float *scale, const float *x, int64_t ldx, int64_t rows, int64_t cols, int how, int stream)
{
    int64_t c = 0;
    for (; c + PANEL <= cols; c += PANEL)
        stream && whole_lines(pairs) && ldp % LANES == 0 ? cols_some(pairs + c, ldp, scale + c, x + c, ldx, rows, PANEL, how, PANEL / LANES, 1)
                                                         : cols_some(pairs + c, ldp, scale + c, x + c, ldx, rows, PANEL, how, PANEL / LANES, 0);
    for (; c < cols; c += LANES)
        cols_some(pairs + c, ldp, scale + c, x + c, ldx, rows, cols - c < LANES ? cols - c : LANES, how, 1, 0);
}

#endif
