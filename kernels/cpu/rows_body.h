/* Ops that work along a row: norms, activations, softmax pieces. Compiled once per instruction set; see isa.h for the formulas. */
#ifndef HONE_KERNELS_CPU_ROWS_BODY_H
#define HONE_KERNELS_CPU_ROWS_BODY_H

#include <math.h>

#include "kernels/cpu/vec.h"
#include "kernels/kernels.h"

/* Sums along a row run in 64 lanes: element i belongs to lane i % 64; the four vectors are added as (0 + 1) + (2 + 3), then v_sum. */
enum { WIDE = 4 };

INLINE float wide_sum(const vf s[WIDE])
{
    return v_sum(v_add(v_add(s[0], s[1]), v_add(s[2], s[3])));
}

#define WIDE_LOOP(i, v, n) \
    for (int64_t i = 0, v = 0; i < (n); i += LANES, v = (v + 1) % WIDE)

static float dot(const float *a, const float *b, int64_t n)
{
    vf s[WIDE] = {v_set(0), v_set(0), v_set(0), v_set(0)};
    int64_t i = 0;
    for (; i + WIDE * LANES <= n; i += WIDE * LANES)
        for (int v = 0; v < WIDE; v++)
            s[v] = v_fma(v_load(a + i + v * LANES), v_load(b + i + v * LANES), s[v]);
    for (int v = 0; i < n; i += LANES, v++)
        s[v] = v_fma(v_load_n(a + i, n - i), v_load_n(b + i, n - i), s[v]);
    return wide_sum(s);
}

static void axpy(float *y, const float *x, int64_t n)
{
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        v_store(y + i, v_add(v_load(y + i), v_load(x + i)));
    for (; i < n; i++)
        y[i] += x[i];
}

static void times(float *y, const float *x, float k, int64_t n)
{
    for (int64_t i = 0; i < n; i += LANES)
        v_store_n(y + i, v_mul(v_load_n(x + i, n - i), v_set(k)), n - i);
}

static void add(float *y, const float *a, const float *b, int64_t n)
{
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        v_store(y + i, v_add(v_load(a + i), v_load(b + i)));
    for (; i < n; i++)
        y[i] = a[i] + b[i];
}

INLINE int64_t at_row(int64_t r, int64_t inner, int64_t ld, int64_t c)
{
    return r / inner * ld + r % inner * c;
}

INLINE float rstd_of(const float *x, int64_t c, float eps)
{
    return 1.f / sqrtf(dot(x, x, c) / (float)c + eps);
}

static void norm(const struct norm_rows *a, int64_t begin, int64_t end)
{
    for (int64_t r = begin; r < end; r++) {
        const float *x = a->x + at_row(r, a->inner, a->ldx, a->c);
        float *y = a->y + at_row(r, a->inner, a->ldy, a->c), rstd = rstd_of(x, a->c, a->eps);
        for (int64_t i = 0; i < a->c; i += LANES)
            v_store_n(y + i, v_mul(v_mul(v_load_n(x + i, a->c - i), v_set(rstd)), v_load_n(a->w + i, a->c - i)), a->c - i);
        if (a->rstd)
            a->rstd[r] = rstd;
    }
}

static void norm_bwd(const struct norm_rows *a, int64_t begin, int64_t end)
{
    const int64_t c = a->c;
    for (int64_t r = begin; r < end; r++) {
        const float *x = a->x + at_row(r, a->inner, a->ldx, c), *dy = a->dy + at_row(r, a->inner, a->lddy, c);
        float *dx = a->y + at_row(r, a->inner, a->ldy, c), rstd = rstd_of(x, c, a->eps);
        vf s[WIDE] = {v_set(0), v_set(0), v_set(0), v_set(0)};
        WIDE_LOOP(i, v, c) s[v] = v_fma(v_mul(v_load_n(dy + i, c - i), v_load_n(a->w + i, c - i)), v_load_n(x + i, c - i), s[v]);
        float k = rstd * rstd * (wide_sum(s) / (float)c);
        for (int64_t i = 0; i < c; i += LANES) {
            vf g = v_mul(v_load_n(dy + i, c - i), v_load_n(a->w + i, c - i));
            g = v_mul(v_set(rstd), v_sub(g, v_mul(v_load_n(x + i, c - i), v_set(k))));
            v_store_n(dx + i, a->accumulate ? v_add(v_load_n(dx + i, c - i), g) : g, c - i);
        }
        if (a->rstd)
            a->rstd[r] = rstd;
    }
}

/* dw of the columns [begin, end), rows ascending. */
static void norm_dw(const struct norm_rows *a, const float *rstd, int64_t rows, int64_t begin, int64_t end)
{
    for (int64_t r = 0; r < rows; r++) {
        const float *x = a->x + at_row(r, a->inner, a->ldx, a->c), *dy = a->dy + at_row(r, a->inner, a->lddy, a->c);
        for (int64_t i = begin; i < end; i += LANES) {
            vf p = v_mul(v_load_n(x + i, end - i), v_set(rstd[r]));
            v_store_n(a->dw + i, v_fma(v_load_n(dy + i, end - i), p, v_load_n(a->dw + i, end - i)), end - i);
        }
    }
}

/* n pairs (p, q) by the angles (c, s). */
INLINE void turn_pairs(float *restrict p, float *restrict q, const float *restrict c, const float *restrict s, int64_t n)
{
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        vf x = v_load(p + i), y = v_load(q + i), cs = v_load(c + i), sn = v_load(s + i);
        v_store(p + i, v_sub(v_mul(x, cs), v_mul(y, sn)));
        v_store(q + i, v_add(v_mul(x, sn), v_mul(y, cs)));
    }
    for (; i < n; i++) {
        float x = p[i], y = q[i];
        p[i] = x * c[i] - y * s[i];
        q[i] = x * s[i] + y * c[i];
    }
}

/* A token's angles are laid side by side once, for all its heads. */
static void rope(const struct kern_rope *a, int64_t begin, int64_t end)
{
    enum { SOME = 64 };
    const int64_t half = a->d / 2;
    for (int64_t t = begin; t < end; t++)
        for (int64_t first = 0; first < half; first += SOME) {
            const float *cs = a->cos_sin + a->pos[t] * a->d + 2 * first;
            const int64_t n = half - first < SOME ? half - first : SOME;
            float c[SOME], s[SOME];
            for (int64_t i = 0; i < n; i++)
                c[i] = cs[2 * i], s[i] = a->inverse ? -cs[2 * i + 1] : cs[2 * i + 1];
            for (int64_t h = 0; h < a->h; h++) {
                float *x = a->x + t * a->ldx + h * a->head_stride + a->first + (a->interleaved ? 2 * first : first);
                if (a->interleaved)
                    for (int64_t i = 0; i < n; i++) {
                        float p = x[2 * i], q = x[2 * i + 1];
                        x[2 * i] = p * c[i] - q * s[i];
                        x[2 * i + 1] = p * s[i] + q * c[i];
                    }
                else
                    turn_pairs(x, x + half, c, s, n);
            }
        }
}

static void swiglu(const struct kern_swiglu *a, int64_t begin, int64_t end)
{
    const vf one = v_set(1);
    for (int64_t r = begin; r < end; r++)
        for (int64_t i = 0; i < a->c; i += LANES) {
            vf g = v_load_n(a->g + r * a->ldg + i, a->c - i), u = v_load_n(a->u + r * a->ldg + i, a->c - i);
            vf s = v_div(g, v_add(one, v_exp(v_sub(v_set(0), g))));
            v_store_n(a->y + r * a->ldy + i, v_mul(s, u), a->c - i);
        }
}

static void swiglu_bwd(const struct kern_swiglu_bwd *a, int64_t begin, int64_t end)
{
    const vf one = v_set(1);
    for (int64_t r = begin; r < end; r++)
        for (int64_t i = 0; i < a->c; i += LANES) {
            int64_t m = a->c - i;
            vf g = v_load_n(a->g + r * a->ldg + i, m), u = v_load_n(a->u + r * a->ldg + i, m), dy = v_load_n(a->dy + r * a->lddy + i, m);
            vf s = v_div(one, v_add(one, v_exp(v_sub(v_set(0), g))));
            vf t = v_mul(s, v_fma(g, v_sub(one, s), one));
            v_store_n(a->dg + r * a->lddg + i, v_mul(v_mul(dy, u), t), m);
            v_store_n(a->du + r * a->lddg + i, v_mul(v_mul(dy, g), s), m);
        }
}

/* ---- log-softmax over a block of the vocabulary ---------------------------------------------- */

static struct vocab_stat vocab_stat(const float *y, int64_t n, float inv_t)
{
    const vf k = v_set(inv_t), none = v_set(-INFINITY);
    vf top = none, s[WIDE] = {v_set(0), v_set(0), v_set(0), v_set(0)}, e[WIDE] = {v_set(0), v_set(0), v_set(0), v_set(0)};
    for (int64_t i = 0; i < n; i += LANES)
        top = v_max(top, v_keep(v_mul(v_load_n(y + i, n - i), k), n - i, -INFINITY)); /* a NaN is seen again below */
    float m = v_top(top);
    WIDE_LOOP(i, v, n) {
        vf z = v_mul(v_load_n(y + i, n - i), k), p = v_keep(v_exp(v_sub(z, v_set(m))), n - i, 0);
        s[v] = v_add(s[v], p);
        e[v] = v_fma(p, v_keep(z, n - i, 0), e[v]);
    }
    return (struct vocab_stat){m, wide_sum(s), wide_sum(e)};
}

static void vocab_dz(const struct vocab_dz *a)
{
    const vf k = v_set(a->inv_t);
    for (int64_t i = 0; i < a->n; i += LANES) {
        int64_t m = a->n - i;
        vf lp = v_sub(v_mul(v_load_n(a->y + i, m), k), v_set(a->lse)), p = v_exp(lp);
        /* log p - mean log p = log p + entropy */
        vf d = v_add(v_mul(v_set(a->g), p), v_mul(v_mul(v_set(a->ge), p), v_add(lp, v_set(a->entropy))));
        v_store_n(a->dz + i, v_sub(v_set(0), v_mul(d, k)), m);
    }
    if (a->target >= 0 && a->target < a->n)
        a->dz[a->target] = a->dz[a->target] + a->g * a->inv_t;
}

#endif
