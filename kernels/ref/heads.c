/* The products per head as their formulas read. */
#include <string.h>

#include "kernels/ref/ref.h"

static double val(float x, enum kern_prec prec)
{
    return (double)(prec == KERN_BF16 ? kern_ref_bf16(x) : x);
}

void kern_ref_pack_turned(struct kern *k, const struct kern_weight *w, const float *src)
{
    (void)k;
    for (int64_t n = 0; n < w->n; n++)
        for (int64_t i = 0; i < w->k; i++)
            ((float *)w->pack)[n * w->k + i] = (float)val(src[i * w->n + n], w->prec);
}

void kern_ref_heads(struct kern *k, const struct kern_heads *a)
{
    (void)k;
    for (int64_t r = 0; r < a->t * a->h; r++) {
        const int64_t t = r / a->h, h = r % a->h;
        const struct kern_weight *w = &a->w[h];
        for (int64_t n = 0; n < w->n; n++) {
            double s = 0;
            for (int64_t i = 0; i < w->k; i++)
                s += val(a->x[t * a->ldx + h * a->x_head + i], w->prec) * (double)((const float *)w->pack)[n * w->k + i];
            a->y[t * a->ldy + h * a->y_head + n] = (float)s;
        }
    }
}

void kern_ref_heads_dgrad(struct kern *k, const struct kern_heads_dgrad *a)
{
    (void)k;
    for (int64_t r = 0; r < a->t * a->h; r++) {
        const int64_t t = r / a->h, h = r % a->h;
        const struct kern_weight *w = &a->w[h];
        for (int64_t i = 0; i < w->k; i++) {
            double s = 0;
            for (int64_t n = 0; n < w->n; n++)
                s += val(a->dy[t * a->lddy + h * a->dy_head + n], w->prec) * val(w->w[a->turned ? i * w->n + n : n * w->k + i], w->prec);
            a->dx[t * a->lddx + h * a->dx_head + i] = (float)s;
        }
    }
}

void kern_ref_heads_wgrad(struct kern *k, const struct kern_heads_wgrad *a)
{
    (void)k;
    for (int64_t h = 0; h < a->h; h++)
        for (int64_t n = 0; n < a->n; n++)
            for (int64_t i = 0; i < a->k; i++) {
                float *dw = a->dw + h * a->dw_head + n * a->k + i;
                double s = (double)*dw;
                for (int64_t t = 0; t < a->t; t++)
                    s += val(a->dy[t * a->lddy + h * a->dy_head + n], a->prec) * val(a->x[t * a->ldx + h * a->x_head + i], a->prec);
                *dw = (float)s;
            }
}

void kern_ref_copy(struct kern *k, const struct kern_copy *a)
{
    (void)k;
    const int64_t inner = a->inner ? a->inner : 1;
    for (int64_t r = 0; r < a->rows; r++)
        for (int64_t i = 0; i < a->c; i++) {
            float *y = a->y + r / inner * a->ldy + r % inner * a->y_step + i, v = a->x[r / inner * a->ldx + r % inner * a->x_step + i];
            v = a->add ? *y + v : v;
            *y = a->bf16 ? kern_ref_bf16(v) : v;
        }
}
