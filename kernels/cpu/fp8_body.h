/* E4M3: rounding and scales. Compiled once per instruction set; see isa.h. */
#ifndef HONE_KERNELS_CPU_FP8_BODY_H
#define HONE_KERNELS_CPU_FP8_BODY_H

#include "kernels/cpu/vec.h"
#include "kernels/kern.h"

INLINE vf v_abs(vf x)
{
    return v_from_bits(i_and(v_bits(x), i_set(0x7FFFFFFF)));
}

/* Nearest E4M3 value, ties to even, saturating; NaN stays. Normal numbers round their bits to 3 of mantissa; below 2^-6 the step is
 * 2^-9, which adding and taking away 1.5 * 2^14 rounds to. */
INLINE vf v_e4m3(vf x)
{
    vi u = v_bits(x), sign = i_and(u, i_set(0x80000000)), mag = i_and(u, i_set(0x7FFFFFFF)), step = v_bits(v_set(24576.f));
    vi r = i_and(i_add(mag, i_add(i_and(i_shr(mag, 20), i_set(1)), i_set(0x7FFFF))), i_set(0xFFF00000));
    r = i_less(mag, i_set(0x3C800000), v_bits(v_sub(v_add(v_from_bits(mag), v_from_bits(step)), v_from_bits(step))), r);
    r = i_less(i_set(0x43E00000), r, i_set(0x43E00000), r);
    r = i_less(i_set(0x7F800000), mag, mag, r);
    return v_from_bits(i_or(r, sign));
}

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
    vf s = v_set(scale);
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        v_store(q + i, v_e4m3(v_div(v_load(x + i), s)));
    if (i < n)
        v_store_n(q + i, v_e4m3(v_div(v_load_n(x + i, n - i), s)), n - i);
}

static void fp8_row(float *q, float *scale, const float *x, int64_t n, int how)
{
    for (int64_t i = 0; i < n; i += KERN_RUN) {
        int64_t m = n - i < KERN_RUN ? n - i : KERN_RUN;
        float s = kern_cpu_fp8_scale(amax(x + i, m), how);
        fp8_div(q + i, x + i, m, s);
        *scale++ = s;
    }
}

static void fp8_cols(float *q, float *scale, const float *x, int64_t ldx, int64_t rows, int64_t cols, int how)
{
    for (int64_t c = 0; c < cols; c += LANES) {
        float s[LANES];
        int64_t n = cols - c < LANES ? cols - c : LANES;
        vf m = v_set(0);
        for (int64_t r = 0; r < rows; r++)
            m = v_max(v_abs(v_load_n(x + r * ldx + c, n)), m);
        v_store(s, m);
        for (int64_t l = 0; l < LANES; l++)
            s[l] = kern_cpu_fp8_scale(s[l], how);
        vf sv = v_load(s);
        v_store_n(scale + c, sv, n);
        for (int64_t r = 0; r < rows; r++)
            v_store_n(q + r * cols + c, v_e4m3(v_div(v_load_n(x + r * ldx + c, n), sv)), n);
    }
}

#endif
