/* Mixture of experts and latent attention as their formulas read. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/ref/ref.h"

static void scores(const struct kern_route *a, int64_t t, double *s)
{
    const float *z = a->z + t * a->e;
    double sum = 0, top = -INFINITY;
    for (int64_t e = 0; e < a->e; e++)
        top = fmax(top, (double)z[e]);
    for (int64_t e = 0; e < a->e; e++)
        sum += exp((double)z[e] - top);
    for (int64_t e = 0; e < a->e; e++)
        s[e] = a->softmax ? exp((double)z[e] - top) / sum : 1 / (1 + exp(-(double)z[e]));
}

/* How many of b[0..n) come before b[i]: larger, or equal and of a lower index. */
static int64_t rank_of(const double *b, int64_t n, int64_t i)
{
    int64_t before = 0;
    for (int64_t k = 0; k < n; k++)
        before += b[k] > b[i] || (b[k] == b[i] && k < i);
    return before;
}

static double worth_of(const struct kern_route *a, const double *b, int64_t g)
{
    int64_t per = a->e / a->groups;
    double sum = 0;
    for (int64_t i = 0; i < per; i++)
        if (rank_of(b + g * per, per, i) < (a->softmax ? 1 : 2))
            sum += b[g * per + i];
    return sum;
}

void kern_ref_route(struct kern *k, const struct kern_route *a)
{
    (void)k;
    double *s = calloc((size_t)(a->e * 3 + a->groups), sizeof *s), *b = s + a->e, *masked = b + a->e, *worth = masked + a->e;
    assert(s);
    for (int64_t t = 0; t < a->t; t++) {
        double sum = 0;
        int64_t j = 0;
        scores(a, t, s);
        for (int64_t e = 0; e < a->e; e++) {
            a->score[t * a->e + e] = (float)s[e];
            b[e] = s[e] + (a->bias ? (double)a->bias[e] : 0);
        }
        for (int64_t g = 0; g < a->groups; g++)
            worth[g] = worth_of(a, b, g);
        for (int64_t e = 0; e < a->e; e++)
            masked[e] = a->groups == 1 || rank_of(worth, a->groups, e / (a->e / a->groups)) < a->top_groups ? b[e] : -INFINITY;
        for (int64_t e = 0; e < a->e; e++)
            if (rank_of(masked, a->e, e) < a->top_k) {
                a->id[t * a->top_k + j++] = (int32_t)e;
                sum += s[e];
            }
        for (j = 0; j < a->top_k; j++)
            a->weight[t * a->top_k + j] = (float)((double)a->scale * s[a->id[t * a->top_k + j]] / (a->normalise ? sum + 1e-20 : 1));
    }
    free(s);
}

void kern_ref_route_balance(struct kern *k, const struct kern_route_balance *a)
{
    (void)k;
    double *f = calloc((size_t)(2 * a->e), sizeof *f), *score = f + a->e;
    assert(f);
    for (int64_t s = 0; s < a->n_seq; s++) {
        const int64_t len = a->cu[s + 1] - a->cu[s];
        memset(f, 0, (size_t)a->e * sizeof *f);
        for (int64_t pass = 0; pass < 2; pass++)
            for (int64_t t = a->cu[s]; t < a->cu[s + 1]; t++) {
                double sum = 0, loss = 0;
                for (int64_t e = 0; e < a->e; e++)
                    sum += score[e] = (double)a->score[t * a->e + e];
                for (int64_t e = 0; pass == 0 && e < a->e; e++)
                    f[e] += rank_of(score, a->e, e) < a->top_k ? (double)a->e / (double)(a->top_k * len) : 0;
                sum = a->softmax ? 1 : sum;
                for (int64_t e = 0; e < a->e; e++)
                    loss += f[e] * score[e] / sum;
                for (int64_t e = 0; pass == 1 && a->dz && e < a->e; e++)
                    a->dz[t * a->e + e] += (float)((double)a->coef * (f[e] - loss) / sum * score[e] * (a->softmax ? 1 : 1 - score[e]));
                a->loss[t] = (float)loss;
            }
    }
    free(f);
}

void kern_ref_route_bwd(struct kern *k, const struct kern_route_bwd *a)
{
    (void)k;
    for (int64_t t = 0; t < a->t; t++) {
        const float *s = a->score + t * a->e, *dw = a->dweight + t * a->top_k;
        const int32_t *id = a->id + t * a->top_k;
        double sum = 0, mix = 0, dot = 0;
        for (int64_t j = 0; j < a->top_k; j++) {
            sum += (double)s[id[j]];
            mix += (double)dw[j] * s[id[j]];
        }
        double n = a->normalise ? sum + 1e-20 : 1;
        for (int64_t j = 0; j < a->top_k; j++)
            dot += (double)a->scale * ((double)dw[j] / n - (a->normalise ? mix / (n * n) : 0)) * s[id[j]];
        for (int64_t e = 0; e < a->e; e++) {
            double ds = 0, v = (double)s[e];
            for (int64_t j = 0; j < a->top_k; j++)
                if (id[j] == e)
                    ds = (double)a->scale * ((double)dw[j] / n - (a->normalise ? mix / (n * n) : 0));
            a->dz[t * a->e + e] = (float)(a->softmax ? v * (ds - dot) : ds * v * (1 - v));
        }
    }
}

void kern_ref_moe_sum(struct kern *k, const struct kern_moe_sum *a)
{
    (void)k;
    for (int64_t t = 0; t < a->t; t++)
        for (int64_t i = 0; i < a->c; i++) {
            double sum = 0;
            for (int64_t j = 0; j < a->top_k; j++)
                sum += (a->weight ? (double)a->weight[t * a->top_k + j] : 1) * a->x[a->row_of[t * a->top_k + j] * a->c + i];
            sum += (a->a ? (double)a->a[t * a->c + i] : 0) + (a->b ? (double)a->b[t * a->c + i] : 0);
            a->y[t * a->c + i] = (float)sum;
        }
}

void kern_ref_moe_dot(struct kern *k, const struct kern_moe_dot *a)
{
    (void)k;
    for (int64_t r = 0; r < a->rows; r++) {
        double sum = 0;
        for (int64_t i = 0; i < a->c; i++)
            sum += (double)a->p[r * a->c + i] * a->q[r * a->c + i];
        a->y[a->slot_of[r]] = (float)sum;
    }
}

void kern_ref_moe_scale(struct kern *k, const struct kern_moe_scale *a)
{
    (void)k;
    for (int64_t r = 0; r < a->rows; r++)
        for (int64_t i = 0; i < a->c; i++)
            a->x[r * a->c + i] *= a->weight[a->slot_of[r]];
}

void kern_ref_mla_kv(struct kern *k, const struct kern_mla_kv *a)
{
    (void)k;
    for (int64_t r = 0; r < a->t * a->h; r++) {
        const float *kv = a->kv + r * (a->dn + a->dv);
        for (int64_t i = 0; i < a->dn + a->dr; i++)
            a->k[r * (a->dn + a->dr) + i] = i < a->dn ? kv[i] : a->rope[r / a->h * a->ld_rope + i - a->dn];
        for (int64_t i = 0; i < a->dv; i++)
            a->v[r * a->dv + i] = kv[a->dn + i];
    }
}

void kern_ref_mla_kv_bwd(struct kern *k, const struct kern_mla_kv_bwd *a)
{
    (void)k;
    for (int64_t t = 0; t < a->t; t++)
        for (int64_t i = 0; i < a->d_r; i++) {
            double sum = 0;
            for (int64_t h = 0; h < a->h; h++)
                sum += (double)a->dk[(t * a->h + h) * (a->d_n + a->d_r) + a->d_n + i];
            a->drope[t * a->ld_rope + i] = (float)sum;
        }
    for (int64_t r = 0; r < a->t * a->h; r++)
        for (int64_t i = 0; i < a->d_n + a->d_v; i++)
            a->dkv[r * (a->d_n + a->d_v) + i] = i < a->d_n ? a->dk[r * (a->d_n + a->d_r) + i] : a->dv[r * a->d_v + i - a->d_n];
}
