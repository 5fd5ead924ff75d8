/* Sixteen floats and what may be done with them, on each instruction set. Every operation is the IEEE one in every lane, so code
 * written on these gives the same bits everywhere. v_stream: past the caches, to whole lines of 64 bytes. max and min are x86's: (a > b ? a : b), the second operand when either is NaN. */
#ifndef HONE_KERNELS_CPU_VEC_H
#define HONE_KERNELS_CPU_VEC_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "kernels/cpu/isa.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

#if defined(__AVX512F__)

typedef __m512 vf;
typedef __m512i vi;

INLINE __mmask16 v_first(int64_t n) { return (__mmask16)(n >= LANES ? 0xFFFF : (1u << n) - 1); }
INLINE vf v_load(const float *p) { return _mm512_loadu_ps(p); }
INLINE vf v_load_n(const float *p, int64_t n) { return _mm512_maskz_loadu_ps(v_first(n), p); }
INLINE void v_store(float *p, vf x) { _mm512_storeu_ps(p, x); }
INLINE void v_stream(float *p, vf x) { _mm512_stream_ps(p, x); }
INLINE void v_store_n(float *p, vf x, int64_t n) { _mm512_mask_storeu_ps(p, v_first(n), x); }
INLINE vf v_set(float x) { return _mm512_set1_ps(x); }
INLINE vf v_add(vf a, vf b) { return _mm512_add_ps(a, b); }
INLINE vf v_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
INLINE vf v_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
INLINE vf v_div(vf a, vf b) { return _mm512_div_ps(a, b); }
INLINE vf v_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
INLINE vf v_max(vf a, vf b) { return _mm512_max_ps(a, b); }
INLINE vf v_min(vf a, vf b) { return _mm512_min_ps(a, b); }
INLINE vf v_keep(vf x, int64_t n, float rest) { return _mm512_mask_mov_ps(_mm512_set1_ps(rest), v_first(n), x); }
INLINE vi v_bits(vf x) { return _mm512_castps_si512(x); }
INLINE vf v_from_bits(vi x) { return _mm512_castsi512_ps(x); }
INLINE vi i_set(uint32_t x) { return _mm512_set1_epi32((int)x); }
INLINE vi i_load(const void *p) { return _mm512_loadu_si512(p); }
INLINE void i_store(void *p, vi x) { _mm512_storeu_si512(p, x); }
INLINE vi i_add(vi a, vi b) { return _mm512_add_epi32(a, b); }
INLINE vi i_sub(vi a, vi b) { return _mm512_sub_epi32(a, b); }
INLINE vi i_and(vi a, vi b) { return _mm512_and_si512(a, b); }
INLINE vi i_or(vi a, vi b) { return _mm512_or_si512(a, b); }
INLINE vi i_shl(vi a, int n) { return _mm512_slli_epi32(a, (unsigned)n); }
INLINE vi i_shr(vi a, int n) { return _mm512_srli_epi32(a, (unsigned)n); }
INLINE vi i_sar(vi a, int n) { return _mm512_srai_epi32(a, (unsigned)n); }
/* c where a < b, else d; signed */
INLINE vi i_less(vi a, vi b, vi c, vi d) { return _mm512_mask_mov_epi32(d, _mm512_cmplt_epi32_mask(a, b), c); }

#elif defined(__AVX2__)

typedef struct { __m256 lo, hi; } vf;
typedef struct { __m256i lo, hi; } vi;

INLINE vf v_load(const float *p) { return (vf){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
INLINE void v_store(float *p, vf x) { _mm256_storeu_ps(p, x.lo), _mm256_storeu_ps(p + 8, x.hi); }
INLINE void v_stream(float *p, vf x) { _mm256_stream_ps(p, x.lo), _mm256_stream_ps(p + 8, x.hi); }
INLINE vf v_set(float x) { return (vf){_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
INLINE vf v_add(vf a, vf b) { return (vf){_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)}; }
INLINE vf v_sub(vf a, vf b) { return (vf){_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)}; }
INLINE vf v_mul(vf a, vf b) { return (vf){_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)}; }
INLINE vf v_div(vf a, vf b) { return (vf){_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)}; }
INLINE vf v_fma(vf a, vf b, vf c) { return (vf){_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)}; }
INLINE vf v_max(vf a, vf b) { return (vf){_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)}; }
INLINE vf v_min(vf a, vf b) { return (vf){_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)}; }
INLINE vi v_bits(vf x) { return (vi){_mm256_castps_si256(x.lo), _mm256_castps_si256(x.hi)}; }
INLINE vf v_from_bits(vi x) { return (vf){_mm256_castsi256_ps(x.lo), _mm256_castsi256_ps(x.hi)}; }
INLINE vi i_set(uint32_t x) { return (vi){_mm256_set1_epi32((int)x), _mm256_set1_epi32((int)x)}; }
INLINE vi i_load(const void *p) { return (vi){_mm256_loadu_si256(p), _mm256_loadu_si256((const __m256i *)p + 1)}; }
INLINE void i_store(void *p, vi x) { _mm256_storeu_si256(p, x.lo), _mm256_storeu_si256((__m256i *)p + 1, x.hi); }
INLINE vi i_add(vi a, vi b) { return (vi){_mm256_add_epi32(a.lo, b.lo), _mm256_add_epi32(a.hi, b.hi)}; }
INLINE vi i_sub(vi a, vi b) { return (vi){_mm256_sub_epi32(a.lo, b.lo), _mm256_sub_epi32(a.hi, b.hi)}; }
INLINE vi i_and(vi a, vi b) { return (vi){_mm256_and_si256(a.lo, b.lo), _mm256_and_si256(a.hi, b.hi)}; }
INLINE vi i_or(vi a, vi b) { return (vi){_mm256_or_si256(a.lo, b.lo), _mm256_or_si256(a.hi, b.hi)}; }
INLINE vi i_shl(vi a, int n) { return (vi){_mm256_slli_epi32(a.lo, n), _mm256_slli_epi32(a.hi, n)}; }
INLINE vi i_shr(vi a, int n) { return (vi){_mm256_srli_epi32(a.lo, n), _mm256_srli_epi32(a.hi, n)}; }
INLINE vi i_sar(vi a, int n) { return (vi){_mm256_srai_epi32(a.lo, n), _mm256_srai_epi32(a.hi, n)}; }
INLINE vi i_less(vi a, vi b, vi c, vi d)
{
    return (vi){_mm256_blendv_epi8(d.lo, c.lo, _mm256_cmpgt_epi32(b.lo, a.lo)), _mm256_blendv_epi8(d.hi, c.hi, _mm256_cmpgt_epi32(b.hi, a.hi))};
}

#else

/* GCC's vectors, which any target lowers to what it has; loops over lanes only where there is no operator. */
typedef float vf __attribute__((vector_size(64)));
typedef int32_t vi __attribute__((vector_size(64)));
typedef uint32_t vu __attribute__((vector_size(64)));

/* Not inlined: sixteen calls of fmaf at every use would be most of the program. */
static __attribute__((noinline)) void fma_lanes(float *r, const float *a, const float *b)
{
    for (int l = 0; l < LANES; l++)
        r[l] = fmaf(a[l], b[l], r[l]);
}

INLINE vf v_load(const float *p) { vf r; memcpy(&r, p, sizeof r); return r; }
INLINE void v_store(float *p, vf x) { memcpy(p, &x, sizeof x); }
INLINE void v_stream(float *p, vf x) { memcpy(p, &x, sizeof x); }
INLINE vf v_set(float x) { return (vf){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}; }
INLINE vf v_add(vf a, vf b) { return a + b; }
INLINE vf v_sub(vf a, vf b) { return a - b; }
INLINE vf v_mul(vf a, vf b) { return a * b; }
INLINE vf v_div(vf a, vf b) { return a / b; }
INLINE vf v_fma(vf a, vf b, vf c)
{
    float t[3][LANES];
    v_store(t[0], a), v_store(t[1], b), v_store(t[2], c);
    fma_lanes(t[2], t[0], t[1]);
    return v_load(t[2]);
}
INLINE vi v_bits(vf x) { return (vi)x; }
INLINE vf v_from_bits(vi x) { return (vf)x; }
INLINE vf v_max(vf a, vf b) { vi m = a > b; return (vf)(((vi)a & m) | ((vi)b & ~m)); }
INLINE vf v_min(vf a, vf b) { vi m = a < b; return (vf)(((vi)a & m) | ((vi)b & ~m)); }
INLINE vi i_set(uint32_t x) { return (vi)v_set(0) + (int32_t)x; }
INLINE vi i_load(const void *p) { vi r; memcpy(&r, p, sizeof r); return r; }
INLINE void i_store(void *p, vi x) { memcpy(p, &x, sizeof x); }
INLINE vi i_add(vi a, vi b) { return (vi)((vu)a + (vu)b); }
INLINE vi i_sub(vi a, vi b) { return (vi)((vu)a - (vu)b); }
INLINE vi i_and(vi a, vi b) { return a & b; }
INLINE vi i_or(vi a, vi b) { return a | b; }
INLINE vi i_shl(vi a, int n) { return (vi)((vu)a << n); }
INLINE vi i_shr(vi a, int n) { return (vi)((vu)a >> n); }
INLINE vi i_sar(vi a, int n) { return a >> n; }
INLINE vi i_less(vi a, vi b, vi c, vi d) { vi m = a < b; return (c & m) | (d & ~m); }

#endif

#if !defined(__AVX512F__)
INLINE vf v_load_n(const float *p, int64_t n)
{
    float t[LANES] = {0};
    if (n >= LANES)
        return v_load(p);
    memcpy(t, p, (size_t)n * sizeof *t);
    return v_load(t);
}

INLINE void v_store_n(float *p, vf x, int64_t n)
{
    float t[LANES];
    v_store(t, x);
    memcpy(p, t, (size_t)(n < LANES ? n : LANES) * sizeof *t);
}

INLINE vf v_keep(vf x, int64_t n, float rest)
{
    float t[LANES];
    v_store(t, x);
    for (int64_t i = n; i < LANES; i++)
        t[i] = rest;
    return v_load(t);
}
#endif

/* The tree of every sum (and maximum) over lanes: 8 apart, 4, 2, 1. */
#if defined(__AVX2__)
#define V_TREE(op)                                                                      \
    __m128 q = op(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));              \
    q = op(q, _mm_movehl_ps(q, q));                                                     \
    return _mm_cvtss_f32(op(q, _mm_movehdup_ps(q)))
#if defined(__AVX512F__)
INLINE float v_sum(vf x) { __m256 h = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1)); V_TREE(_mm_add_ps); }
INLINE float v_top(vf x) { __m256 h = _mm256_max_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1)); V_TREE(_mm_max_ps); }
#else
INLINE float v_sum(vf x) { __m256 h = _mm256_add_ps(x.lo, x.hi); V_TREE(_mm_add_ps); }
INLINE float v_top(vf x) { __m256 h = _mm256_max_ps(x.lo, x.hi); V_TREE(_mm_max_ps); }
#endif
#else
INLINE float v_sum(vf x)
{
    float t[LANES];
    v_store(t, x);
    for (int d = LANES / 2; d; d /= 2)
        for (int l = 0; l < d; l++)
            t[l] = t[l] + t[l + d];
    return t[0];
}

INLINE float v_top(vf x)
{
    float t[LANES];
    v_store(t, x);
    for (int d = LANES / 2; d; d /= 2)
        for (int l = 0; l < d; l++)
            t[l] = t[l] > t[l + d] ? t[l] : t[l + d];
    return t[0];
}
#endif

/* e^x. Range: n = round(x / ln 2) by the 1.5 * 2^23 trick, r = x - n ln 2 in two parts, e^r by Cephes' polynomial of degree 7, times
 * 2^n in two factors so that denormal results are rounded once (which is what AVX-512's scalef does). src: Moshier, Cephes expf; kern_expf is this, one lane. */
INLINE vf v_exp(vf x)
{
    const vf magic = v_set(12582912.f);
    x = v_min(v_set(89.f), v_max(v_set(-105.f), x));
    vf t = v_fma(x, v_set(1.44269504088896341f), magic);
    vf n = v_sub(t, magic);
    vf r = v_fma(n, v_set(-0.693359375f), x);
    r = v_fma(n, v_set(2.12194440e-4f), r);
    vf p = v_set(1.9875691500e-4f);
    p = v_fma(p, r, v_set(1.3981999507e-3f));
    p = v_fma(p, r, v_set(8.3334519073e-3f));
    p = v_fma(p, r, v_set(4.1665795894e-2f));
    p = v_fma(p, r, v_set(1.6666665459e-1f));
    p = v_fma(p, r, v_set(5.0000001201e-1f));
    p = v_add(v_fma(p, v_mul(r, r), r), v_set(1.f));
#if defined(__AVX512F__)
    return _mm512_scalef_ps(p, n);
#else
    vi e = i_sub(v_bits(t), v_bits(magic)), half = i_sar(e, 1), rest = i_sub(e, half), bias = i_set(127);
    p = v_mul(p, v_from_bits(i_shl(i_add(half, bias), 23)));
    return v_mul(p, v_from_bits(i_shl(i_add(rest, bias), 23)));
#endif
}

/* bf16 bits in the high half: nearest even, denormals to signed zero, NaN quiet: as vcvtneps2bf16 rounds. */
INLINE vi v_round_bf16(vf x)
{
    vi u = v_bits(x), mag = i_and(u, i_set(0x7FFFFFFF));
    vi r = i_add(u, i_add(i_and(i_shr(u, 16), i_set(1)), i_set(0x7FFF)));
    r = i_less(mag, i_set(0x00800000), i_and(u, i_set(0x80000000)), r);
    r = i_less(i_set(0x7F800000), mag, i_or(u, i_set(0x00400000)), r);
    return i_and(r, i_set(0xFFFF0000));
}

#endif
