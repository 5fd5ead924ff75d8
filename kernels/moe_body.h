/* Arithmetic of the mixture and latent-attention ops, one row at a time: plain C without contraction, so one body serves every backend
 * on the processor and gives the same bits everywhere. */
#ifndef HONE_KERNELS_MOE_BODY_H
#define HONE_KERNELS_MOE_BODY_H

#include <math.h>
#include <string.h>

#include "kernels/kern.h"

static inline void route_scores(const struct kern_route *a, const float *z, float *s)
{
    float top = z[0], sum = 0;
    if (!a->softmax) {
        for (int64_t e = 0; e < a->e; e++)
            s[e] = 1.f / (1.f + kern_expf(-z[e]));
        return;
    }
    for (int64_t e = 1; e < a->e; e++)
        top = z[e] > top ? z[e] : top;
    for (int64_t e = 0; e < a->e; e++)
        sum += s[e] = kern_expf(z[e] - top);
    for (int64_t e = 0; e < a->e; e++)
        s[e] /= sum;
}

/* Best value of v[0..n) that is not taken yet, lowest index first among equals; NaN never wins over a number. */
static inline int64_t best_of(const float *v, int64_t n)
{
    int64_t at = 0;
    for (int64_t i = 1; i < n; i++)
        if (v[i] > v[at] || (isnan(v[at]) && !isnan(v[i])))
            at = i;
    return at;
}

/* The worth of a group. */
static inline float group_worth(const float *b, int64_t n, int best_two)
{
    float one = -INFINITY, two = -INFINITY;
    for (int64_t i = 0; i < n; i++) {
        if (b[i] > one)
            two = one, one = b[i];
        else if (b[i] > two)
            two = b[i];
    }
    return !best_two ? one : n > 1 ? one + two : one;
}

/* Marks the top_k best of b, ties to the lowest. */
static inline void take_best(const float *b, int64_t n, int64_t top_k, unsigned char *taken)
{
    memset(taken, 0, (size_t)n);
    for (int64_t j = 0; j < top_k; j++) {
        int64_t at = -1;
        for (int64_t e = 0; e < n; e++)
            if (!taken[e] && (at < 0 || b[e] > b[at] || (isnan(b[at]) && !isnan(b[e]))))
                at = e;
        taken[at] = 1;
    }
}

/* b (scratch [e]) and worth (scratch [groups]) for one token; marks taken[e]. */
static inline void route_choose(const struct kern_route *a, float *b, float *worth, unsigned char *taken)
{
    const int64_t per = a->e / a->groups;
    if (a->groups > 1) {
        for (int64_t g = 0; g < a->groups; g++)
            worth[g] = group_worth(b + g * per, per, !a->softmax);
        for (int64_t i = 0; i < a->top_groups; i++) {
            int64_t g = best_of(worth, a->groups);
            worth[g] = NAN; /* kept */
        }
        for (int64_t g = 0; g < a->groups; g++)
            for (int64_t i = 0; !isnan(worth[g]) && i < per; i++)
                b[g * per + i] = -INFINITY;
    }
    take_best(b, a->e, a->top_k, taken);
}

static inline void route_row(const struct kern_route *a, int64_t t, float *b, float *worth, unsigned char *taken)
{
    float *s = a->score + t * a->e, *w = a->weight + t * a->top_k, sum = 0;
    int64_t j = 0;
    route_scores(a, a->z + t * a->e, s);
    for (int64_t e = 0; e < a->e; e++)
        b[e] = a->bias ? s[e] + a->bias[e] : s[e];
    route_choose(a, b, worth, taken);
    for (int64_t e = 0; e < a->e; e++)
        if (taken[e]) {
            a->id[t * a->top_k + j] = (int32_t)e;
            w[j++] = s[e];
            sum += s[e];
        }
    for (j = 0; j < a->top_k; j++)
        w[j] = (a->normalise ? w[j] / (sum + 1e-20f) : w[j]) * a->scale;
}

static inline void route_bwd_row(const struct kern_route_bwd *a, int64_t t)
{
    const float *s = a->score + t * a->e, *dw = a->dweight + t * a->top_k;
    const int32_t *id = a->id + t * a->top_k;
    float *dz = a->dz + t * a->e, sum = 0, mean = 0, dot = 0;
    memset(dz, 0, (size_t)a->e * sizeof *dz);
    for (int64_t j = 0; j < a->top_k; j++)
        sum += s[id[j]];
    for (int64_t j = 0; j < a->top_k; j++)
        mean += dw[j] * s[id[j]];
    for (int64_t j = 0; j < a->top_k; j++) /* ds, kept in dz */
        dz[id[j]] = a->scale * (a->normalise ? (dw[j] - mean / (sum + 1e-20f)) / (sum + 1e-20f) : dw[j]);
    for (int64_t e = 0; e < a->e; e++)
        dot += dz[e] * s[e];
    for (int64_t e = 0; e < a->e; e++)
        dz[e] = a->softmax ? s[e] * (dz[e] - dot) : dz[e] * (s[e] * (1.f - s[e]));
}

/* f (scratch [e]) and taken (scratch [e]) for sequence s. */
static inline void route_balance_seq(const struct kern_route_balance *a, int64_t s, float *f, unsigned char *taken)
{
    const int64_t from = a->cu[s], to = a->cu[s + 1];
    for (int64_t e = 0; e < a->e; e++)
        f[e] = 0;
    for (int64_t t = from; t < to; t++) {
        take_best(a->score + t * a->e, a->e, a->top_k, taken);
        for (int64_t e = 0; e < a->e; e++)
            f[e] += taken[e]; /* whole numbers: exact */
    }
    for (int64_t e = 0; e < a->e; e++)
        f[e] *= (float)a->e / (float)(a->top_k * (to - from));
    for (int64_t t = from; t < to; t++) {
        const float *score = a->score + t * a->e;
        float sum = 0, dot = 0;
        for (int64_t e = 0; e < a->e; e++)
            sum += score[e], dot += f[e] * score[e];
        float whole = a->softmax ? 1 : sum + 1e-20f;
        a->loss[t] = dot /= whole;
        for (int64_t e = 0; a->dz && e < a->e; e++) {
            float ds = a->coef * (f[e] - dot) / whole;
            a->dz[t * a->e + e] += ds * (a->softmax ? score[e] : score[e] * (1.f - score[e]));
        }
    }
}

static inline void moe_sum_row(const struct kern_moe_sum *a, int64_t t)
{
    float *y = a->y + t * a->c;
    const float *add1 = a->a ? a->a + t * a->c : NULL, *add2 = a->b ? a->b + t * a->c : NULL;
    for (int64_t i = 0; i < a->c; i++) {
        float sum = 0;
        for (int64_t j = 0; j < a->top_k; j++) {
            float x = a->x[a->row_of[t * a->top_k + j] * a->c + i];
            sum += a->weight ? a->weight[t * a->top_k + j] * x : x;
        }
        sum = add1 ? sum + add1[i] : sum;
        y[i] = add2 ? sum + add2[i] : sum;
    }
}

static inline void moe_dot_row(const struct kern_moe_dot *a, int64_t r)
{
    enum { N = 16 };
    const float *p = a->p + r * a->c, *q = a->q + r * a->c;
    float s[N] = {0};
    for (int64_t i = 0; i < a->c; i++)
        s[i % N] += p[i] * q[i];
    for (int n = N / 2; n > 0; n /= 2)
        for (int i = 0; i < n; i++)
            s[i] += s[i + n];
    a->y[a->slot_of[r]] = s[0];
}

static inline void moe_scale_row(const struct kern_moe_scale *a, int64_t r)
{
    float w = a->weight[a->slot_of[r]];
    for (int64_t i = 0; i < a->c; i++)
        a->x[r * a->c + i] *= w;
}

static inline void mla_kv_row(const struct kern_mla_kv *a, int64_t t)
{
    const int64_t dk = a->dn + a->dr, dkv = a->dn + a->dv;
    for (int64_t h = 0; h < a->h; h++) {
        float *k = a->k + (t * a->h + h) * dk;
        const float *kv = a->kv + (t * a->h + h) * dkv;
        memcpy(k, kv, (size_t)a->dn * sizeof *k);
        memcpy(k + a->dn, a->rope + t * a->ld_rope, (size_t)a->dr * sizeof *k);
        memcpy(a->v + (t * a->h + h) * a->dv, kv + a->dn, (size_t)a->dv * sizeof *k);
    }
}

static inline void mla_kv_bwd_row(const struct kern_mla_kv_bwd *a, int64_t t)
{
    const int64_t n_k = a->d_n + a->d_r, n_kv = a->d_n + a->d_v;
    float *drope = a->drope + t * a->ld_rope;
    memset(drope, 0, (size_t)a->d_r * sizeof *drope);
    for (int64_t h = 0; h < a->h; h++) {
        const float *dk = a->dk + (t * a->h + h) * n_k;
        float *dkv = a->dkv + (t * a->h + h) * n_kv;
        memcpy(dkv, dk, (size_t)a->d_n * sizeof *dkv);
        memcpy(dkv + a->d_n, a->dv + (t * a->h + h) * a->d_v, (size_t)a->d_v * sizeof *dkv);
        for (int64_t i = 0; i < a->d_r; i++)
            drope[i] += dk[a->d_n + i];
    }
}

/* As a bf16 linear rounds: nearest even, denormals to zero, NaN stays quiet. */
static inline float round_to_bf16(float x)
{
    uint32_t u;
    memcpy(&u, &x, 4);
    uint32_t size = u & 0x7FFFFFFF;
    u = size > 0x7F800000 ? u | 0x00400000 : size < 0x00800000 ? u & 0x80000000 : u + 0x7FFF + (u >> 16 & 1);
    u &= 0xFFFF0000;
    memcpy(&x, &u, 4);
    return x;
}

static inline void copy_row(const struct kern_copy *a, int64_t r)
{
    const int64_t inner = a->inner ? a->inner : 1;
    float *y = a->y + r / inner * a->ldy + r % inner * a->y_step;
    const float *x = a->x + r / inner * a->ldx + r % inner * a->x_step;
    for (int64_t i = 0; i < a->c; i++) {
        float v = a->add ? y[i] + x[i] : x[i];
        y[i] = a->bf16 ? round_to_bf16(v) : v;
    }
}

#endif
