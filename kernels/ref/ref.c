/* The ops as their formulas read, one thread, sums in float64. Slow on purpose: this is what the other backends are tested against. */
#include "kernels/kern.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/ref/ref.h"

float kern_ref_bf16(float x)
{
    uint32_t u;
    memcpy(&u, &x, 4);
    uint32_t mag = u & 0x7FFFFFFF;
    if (mag > 0x7F800000)
        u |= 0x00400000;
    else if (mag < 0x00800000)
        u &= 0x80000000;
    else
        u += 0x7FFF + (u >> 16 & 1);
    u &= 0xFFFF0000;
    memcpy(&x, &u, 4);
    return x;
}

static double val(float x, enum kern_prec prec)
{
    return (double)(prec == KERN_BF16 ? kern_ref_bf16(x) : x);
}

static int64_t or_else(int64_t ld, int64_t dense)
{
    return ld ? ld : dense;
}

/* ---- FP8 ------------------------------------------------------------------------------------- */

static float fp8_scale(float amax, int how)
{
    const float least = how & KERN_SCALE_GRAD ? 1e-30f : 1e-4f;
    float s = (amax > least ? amax : least) / 448.f;
    int e;
    if (how & KERN_SCALE_POW2) {
        float m = frexpf(s, &e);
        s = ldexpf(1, m == 0.5f ? e - 1 : e);
    }
    return s;
}

/* A scaling block of a matrix: its E4M3 values and the scale. */
struct block {
    const float *x;
    int64_t ld, rows, cols;
    int how;
};

static float round_block(const struct block *b, float *q, int64_t ldq)
{
    float top = 0;
    for (int64_t r = 0; r < b->rows; r++)
        for (int64_t c = 0; c < b->cols; c++)
            top = fabsf(b->x[r * b->ld + c]) > top ? fabsf(b->x[r * b->ld + c]) : top;
    float s = fp8_scale(top, b->how);
    for (int64_t r = 0; r < b->rows; r++)
        for (int64_t c = 0; c < b->cols; c++)
            q[r * ldq + c] = kern_e4m3_value(kern_e4m3_code(b->x[r * b->ld + c] / s));
    return s;
}

/* How an operand [rows, cols] of a product is cut into scaling blocks. */
enum cut { ALONG_ROWS, ALONG_COLUMNS };

struct operand {
    const float *x;
    int64_t rows, cols, ld;
    enum kern_prec prec;
    enum cut cut;
    int how;
};

/* The values that the product really has, in float64. */
static double *operand(struct kern *k, enum kern_slot slot, const struct operand *o)
{
    double *out = kern_scratch(k, slot, o->rows * o->cols * 8);
    const int64_t bh = o->cut == ALONG_ROWS ? 1 : KERN_RUN, bw = o->cut == ALONG_ROWS ? KERN_RUN : 1;
    for (int64_t r = 0; o->prec != KERN_FP8 && r < o->rows; r++)
        for (int64_t c = 0; c < o->cols; c++)
            out[r * o->cols + c] = val(o->x[r * o->ld + c], o->prec);
    for (int64_t r = 0; o->prec == KERN_FP8 && r < o->rows; r += bh)
        for (int64_t c = 0; c < o->cols; c += bw) {
            float q[KERN_RUN];
            struct block b = {o->x + r * o->ld + c, o->ld, kern_min(bh, o->rows - r), kern_min(bw, o->cols - c), o->how};
            float s = round_block(&b, q, b.cols);
            for (int64_t i = 0; i < b.rows * b.cols; i++)
                out[(r + i / b.cols) * o->cols + c + i % b.cols] = (double)q[i] * (double)s;
        }
    return out;
}

/* ---- linear ---------------------------------------------------------------------------------- */

/* Packed weights are the rounded values, row-major; FP8: E4M3 values, then the scales. */
static int64_t pack_bytes(int64_t rows, int64_t cols, enum kern_prec prec)
{
    return (rows * cols + (prec == KERN_FP8 ? kern_parts(rows, KERN_RUN) * kern_parts(cols, KERN_RUN) : 0)) * 4;
}

static float *scale_at(const struct kern_weight *w, int64_t n, int64_t i)
{
    return (float *)w->pack + w->n * w->k + n / KERN_RUN * kern_parts(w->k, KERN_RUN) + i / KERN_RUN;
}

static void pack_rows(struct kern *k, const struct kern_weight *w, const void *src, int src_is_bf16, int64_t first, int64_t rows)
{
    float *out = (float *)w->pack + first * w->k;
    (void)k;
    for (int64_t i = 0; i < rows * w->k; i++) {
        uint32_t u = src_is_bf16 ? (uint32_t)((const uint16_t *)src)[i] << 16 : ((const uint32_t *)src)[i];
        float f;
        memcpy(&f, &u, 4);
        out[i] = (float)val(f, w->prec);
    }
    for (int64_t n = 0; w->prec == KERN_FP8 && n < rows; n += KERN_RUN)
        for (int64_t i = 0; i < w->k; i += KERN_RUN) {
            struct block b = {out + n * w->k + i, w->k, kern_min(KERN_RUN, rows - n), kern_min(KERN_RUN, w->k - i), 0};
            *scale_at(w, first + n, i) = round_block(&b, out + n * w->k + i, w->k);
        }
}

static void pack_fp8(struct kern *k, const struct kern_weight *w, const uint8_t *codes, const float *scale)
{
    (void)k;
    for (int64_t i = 0; i < w->n * w->k; i++)
        ((float *)w->pack)[i] = kern_e4m3_value(codes[i]);
    memcpy(scale_at(w, 0, 0), scale, (size_t)(kern_parts(w->n, KERN_RUN) * kern_parts(w->k, KERN_RUN)) * sizeof *scale);
}

static void unpack_fp8(struct kern *k, const struct kern_weight *w, uint8_t *codes, float *scale)
{
    (void)k;
    for (int64_t i = 0; i < w->n * w->k; i++)
        codes[i] = kern_e4m3_code(((const float *)w->pack)[i]);
    memcpy(scale, scale_at(w, 0, 0), (size_t)(kern_parts(w->n, KERN_RUN) * kern_parts(w->k, KERN_RUN)) * sizeof *scale);
}

static double weight_at(const struct kern_weight *w, int64_t n, int64_t i)
{
    double v = (double)((const float *)w->pack)[n * w->k + i];
    return w->prec == KERN_FP8 ? v * (double)*scale_at(w, n, i) : v;
}

static double row_dot(const float *x, const struct kern_weight *w, int64_t n)
{
    double s = 0;
    for (int64_t i = 0; i < w->k; i++)
        s += val(x[i], w->prec) * weight_at(w, n, i);
    return s;
}

static void linear(struct kern *k, const struct kern_linear *a)
{
    const struct kern_weight *w = a->w;
    const int64_t ldx = or_else(a->ldx, w->k), ldy = or_else(a->ldy, w->n);
    const double *x = operand(k, SLOT_A, &(struct operand){a->x, a->m, w->k, ldx, w->prec, ALONG_ROWS, a->pow2 ? KERN_SCALE_POW2 : 0});
    for (int64_t m = 0; m < a->m; m++)
        for (int64_t n = 0; n < w->n; n++) {
            double s = 0;
            for (int64_t i = 0; i < w->k; i++)
                s += x[m * w->k + i] * weight_at(w, n, i);
            if (a->bias)
                s += (double)a->bias[n];
            if (a->residual)
                s += (double)a->residual[m * ldy + n];
            a->y[m * ldy + n] = (float)s;
        }
}

/* FP8 reads the packed weight: the master rounds to it. */
static void linear_dgrad(struct kern *k, const struct kern_linear_dgrad *a)
{
    const struct kern_weight *w = a->w;
    const int64_t lddy = or_else(a->lddy, w->n), lddx = or_else(a->lddx, w->k);
    const double *dy = operand(k, SLOT_A, &(struct operand){a->dy, a->m, w->n, lddy, w->prec, ALONG_ROWS, KERN_SCALE_GRAD | (a->pow2 ? KERN_SCALE_POW2 : 0)});
    for (int64_t m = 0; m < a->m; m++)
        for (int64_t i = 0; i < w->k; i++) {
            double s = a->accumulate ? (double)a->dx[m * lddx + i] : 0;
            for (int64_t n = 0; n < w->n; n++)
                s += dy[m * w->n + n] * (w->prec == KERN_FP8 ? weight_at(w, n, i) : val(w->w[n * w->k + i], w->prec));
            a->dx[m * lddx + i] = (float)s;
        }
}

static void linear_wgrad(struct kern *k, const struct kern_linear_wgrad *a)
{
    const int64_t lddy = or_else(a->lddy, a->n), ldx = or_else(a->ldx, a->k);
    const double *dy = operand(k, SLOT_A, &(struct operand){a->dy, a->m, a->n, lddy, a->prec, ALONG_COLUMNS, KERN_SCALE_GRAD | (a->pow2_dy ? KERN_SCALE_POW2 : 0)});
    const double *x = operand(k, SLOT_QUANT, &(struct operand){a->x, a->m, a->k, ldx, a->prec, ALONG_COLUMNS, a->pow2_x ? KERN_SCALE_POW2 : 0});
    for (int64_t n = 0; n < a->n; n++) {
        double b = 0;
        for (int64_t i = 0; i < a->k; i++) {
            double s = a->fresh ? 0 : (double)a->dw[n * a->k + i];
            for (int64_t m = 0; m < a->m; m++)
                s += dy[m * a->n + n] * x[m * a->k + i];
            a->dw[n * a->k + i] = (float)s;
        }
        for (int64_t m = 0; m < a->m; m++)
            b += (double)a->dy[m * lddy + n];
        if (a->dbias)
            a->dbias[n] = (float)((double)a->dbias[n] + b);
    }
}

/* ---- groups ----------------------------------------------------------------------------------- */

static void group(struct kern *k, const struct kern_group *a)
{
    const int64_t ldx = or_else(a->ldx, a->w->k), ldy = or_else(a->ldy, a->w->n);
    for (int64_t e = 0; e < a->n_experts; e++)
        linear(k, &(struct kern_linear){.y = a->y + a->first[e] * ldy, .x = a->x + a->first[e] * ldx, .w = &a->w[e], .m = a->first[e + 1] - a->first[e],
                                        .ldx = ldx, .ldy = ldy, .pow2 = a->pow2});
}

static void group_dgrad(struct kern *k, const struct kern_group_dgrad *a)
{
    const int64_t lddy = or_else(a->lddy, a->w->n), lddx = or_else(a->lddx, a->w->k);
    for (int64_t e = 0; e < a->n_experts; e++)
        linear_dgrad(k, &(struct kern_linear_dgrad){.dx = a->dx + a->first[e] * lddx, .dy = a->dy + a->first[e] * lddy, .w = &a->w[e],
                                                    .m = a->first[e + 1] - a->first[e], .lddy = lddy, .lddx = lddx, .pow2 = a->pow2});
}

static void group_wgrad(struct kern *k, const struct kern_group_wgrad *a)
{
    const int64_t lddy = or_else(a->lddy, a->n), ldx = or_else(a->ldx, a->k);
    for (int64_t e = 0; e < a->n_experts; e++)
        if (a->dw[e])
            linear_wgrad(k, &(struct kern_linear_wgrad){.dw = a->dw[e], .dy = a->dy + a->first[e] * lddy, .x = a->x + a->first[e] * ldx,
                                                        .m = a->first[e + 1] - a->first[e], .n = a->n, .k = a->k, .lddy = lddy, .ldx = ldx, .prec = a->prec, .pow2_dy = a->pow2_dy, .pow2_x = a->pow2_x});
}

/* ---- rows ------------------------------------------------------------------------------------ */

static int64_t row_at(int64_t r, int64_t inner, int64_t ld, int64_t c)
{
    int64_t in = inner ? inner : 1;
    return r / in * or_else(ld, in * c) + r % in * c;
}

static double rstd_of(const float *x, int64_t c, float eps)
{
    double s = 0;
    for (int64_t i = 0; i < c; i++)
        s += (double)x[i] * (double)x[i];
    return 1 / sqrt(s / (double)c + (double)eps);
}

static void rmsnorm(struct kern *k, const struct kern_rmsnorm *a)
{
    (void)k;
    for (int64_t r = 0; r < a->rows; r++) {
        const float *x = a->x + row_at(r, a->inner, a->ldx, a->c);
        float *y = a->y + row_at(r, a->inner, a->ldy, a->c);
        double rstd = rstd_of(x, a->c, a->eps);
        for (int64_t i = 0; i < a->c; i++)
            y[i] = (float)((double)x[i] * rstd * (double)a->w[i]);
        if (a->rstd)
            a->rstd[r] = (float)rstd;
    }
}

static void rmsnorm_bwd(struct kern *k, const struct kern_rmsnorm_bwd *a)
{
    (void)k;
    for (int64_t r = 0; r < a->rows; r++) {
        const float *x = a->x + row_at(r, a->inner, a->ldx, a->c), *dy = a->dy + row_at(r, a->inner, a->lddy, a->c);
        float *dx = a->dx + row_at(r, a->inner, a->lddx, a->c);
        double rstd = rstd_of(x, a->c, a->eps), mean = 0;
        for (int64_t i = 0; i < a->c; i++)
            mean += (double)a->w[i] * (double)dy[i] * (double)x[i] / (double)a->c;
        for (int64_t i = 0; i < a->c; i++) {
            double g = rstd * ((double)a->w[i] * (double)dy[i] - (double)x[i] * rstd * rstd * mean);
            if (a->dw)
                a->dw[i] = (float)((double)a->dw[i] + (double)dy[i] * (double)x[i] * rstd);
            dx[i] = (float)((a->accumulate ? (double)dx[i] : 0) + g);
        }
    }
}

static void rope(struct kern *k, const struct kern_rope *a)
{
    (void)k;
    for (int64_t t = 0; t < a->t; t++)
        for (int64_t h = 0; h < a->h; h++)
            for (int64_t i = 0; i < a->d / 2; i++) {
                float *x = a->x + t * a->ldx + h * a->head_stride + a->first;
                float *p = x + (a->interleaved ? 2 * i : i), *q = a->interleaved ? p + 1 : p + a->d / 2;
                const float *cs = a->cos_sin + (a->pos[t] * (a->d / 2) + i) * 2;
                double c = (double)cs[0], s = a->inverse ? -(double)cs[1] : (double)cs[1], u = (double)*p, v = (double)*q;
                *p = (float)(u * c - v * s);
                *q = (float)(u * s + v * c);
            }
}

static void swiglu(struct kern *k, const struct kern_swiglu *a)
{
    const int64_t ldg = or_else(a->ldg, a->c), ldy = or_else(a->ldy, a->c);
    (void)k;
    for (int64_t r = 0; r < a->rows; r++)
        for (int64_t i = 0; i < a->c; i++) {
            double g = (double)a->g[r * ldg + i];
            a->y[r * ldy + i] = (float)(g / (1 + exp(-g)) * (double)a->u[r * ldg + i]);
        }
}

static void swiglu_bwd(struct kern *k, const struct kern_swiglu_bwd *a)
{
    const int64_t ldg = or_else(a->ldg, a->c), lddy = or_else(a->lddy, a->c), lddg = or_else(a->lddg, a->c);
    (void)k;
    for (int64_t r = 0; r < a->rows; r++)
        for (int64_t i = 0; i < a->c; i++) {
            double g = (double)a->g[r * ldg + i], u = (double)a->u[r * ldg + i], dy = (double)a->dy[r * lddy + i], s = 1 / (1 + exp(-g));
            a->dg[r * lddg + i] = (float)(dy * u * s * (1 + g * (1 - s)));
            a->du[r * lddg + i] = (float)(dy * g * s);
        }
}

static void add(struct kern *k, const struct kern_add *a)
{
    (void)k;
    for (int64_t i = 0; i < a->n; i++)
        a->y[i] = a->a[i] + a->b[i];
}

static void embed(struct kern *k, const struct kern_embed *a)
{
    (void)k;
    for (int64_t t = 0; t < a->t; t++)
        for (int64_t i = 0; i < a->c; i++) {
            int64_t at = a->ids[t] * a->c + i;
            assert(a->ids[t] >= 0 && a->ids[t] < a->v);
            uint32_t u = a->table_bf16 ? (uint32_t)((const uint16_t *)a->table_bf16)[at] << 16 : ((const uint32_t *)(const void *)a->table)[at];
            memcpy(a->y + t * a->c + i, &u, 4);
        }
}

static void embed_bwd(struct kern *k, const struct kern_embed_bwd *a)
{
    (void)k;
    for (int64_t t = 0; t < a->t; t++)
        for (int64_t i = 0; i < a->c; i++)
            a->dtable[a->ids[t] * a->c + i] += a->dy[t * a->c + i];
}

/* ---- head ------------------------------------------------------------------------------------ */

static void logits(struct kern *k, const struct kern_logits *a)
{
    linear(k, &(struct kern_linear){.y = a->y, .x = a->x, .w = a->w, .m = a->t, .ldx = a->ldx});
}

/* lse and entropy of softmax(z). */
static double log_sum_exp(const double *z, int64_t v, double *entropy)
{
    double m = -INFINITY, l = 0, ez = 0;
    for (int64_t i = 0; i < v; i++)
        m = z[i] > m ? z[i] : m;
    for (int64_t i = 0; i < v; i++) {
        l += exp(z[i] - m);
        ez += exp(z[i] - m) * z[i];
    }
    *entropy = m + log(l) - ez / l;
    return m + log(l);
}

static void logp(struct kern *k, const struct kern_logp *a)
{
    double *z = kern_scratch(k, SLOT_WORK, a->v * 8), entropy;
    for (int64_t t = 0; t < a->t; t++) {
        for (int64_t i = 0; i < a->v; i++)
            z[i] = (double)a->logits[t * a->v + i] / (double)a->temperature;
        double lse = log_sum_exp(z, a->v, &entropy);
        if (a->lse)
            a->lse[t] = (float)lse;
        if (a->entropy)
            a->entropy[t] = (float)entropy;
        if (a->target && a->logp)
            a->logp[t] = a->target[t] < 0 ? 0 : (float)(z[a->target[t]] - lse);
    }
}

static void head(struct kern *k, const struct kern_head *a)
{
    const int64_t v = a->w->n, ldx = or_else(a->ldx, a->w->k);
    double *z = kern_scratch(k, SLOT_WORK, v * 8);
    for (int64_t t = 0; t < a->t; t++) {
        double entropy = 0, lse = 0;
        if (a->target[t] >= 0) {
            for (int64_t i = 0; i < v; i++)
                z[i] = row_dot(a->x + t * ldx, a->w, i) / (double)a->temperature;
            lse = log_sum_exp(z, v, &entropy);
        }
        a->logp[t] = a->target[t] < 0 ? 0 : (float)(z[a->target[t]] - lse);
        if (a->lse)
            a->lse[t] = (float)lse;
        if (a->entropy)
            a->entropy[t] = (float)entropy;
    }
}

static void head_bwd(struct kern *k, const struct kern_head_bwd *a)
{
    const struct kern_weight *w = a->w;
    const int64_t v = w->n, ldx = or_else(a->ldx, w->k);
    double *z = kern_scratch(k, SLOT_WORK, (v + w->k) * 8), *dx = z + v, entropy;
    if (a->fresh && a->dw)
        memset(a->dw, 0, (size_t)(v * w->k) * sizeof *a->dw);
    for (int64_t t = 0; t < a->t; t++) {
        const float *x = a->x + t * ldx;
        double g = a->g ? (double)a->g[t] : 0, ge = a->ge ? (double)a->ge[t] : 0;
        memset(dx, 0, (size_t)w->k * sizeof *dx);
        if (a->target[t] >= 0 && (g != 0 || ge != 0)) {
            for (int64_t i = 0; i < v; i++)
                z[i] = row_dot(x, w, i) / (double)a->temperature;
            double lse = log_sum_exp(z, v, &entropy);
            for (int64_t i = 0; i < v; i++) {
                double lp = z[i] - lse, p = exp(lp), dz = (g * ((i == a->target[t]) - p) - ge * p * (lp + entropy)) / (double)a->temperature;
                dz = w->prec == KERN_BF16 ? (double)kern_ref_bf16((float)dz) : dz;
                for (int64_t c = 0; c < w->k; c++) {
                    dx[c] += dz * val(w->w[i * w->k + c], w->prec);
                    if (a->dw)
                        a->dw[i * w->k + c] = (float)((double)a->dw[i * w->k + c] + dz * val(x[c], w->prec));
                }
            }
        }
        for (int64_t c = 0; c < w->k; c++)
            a->dx[t * ldx + c] = (float)dx[c];
    }
}

static void head_loss(struct kern *k, const struct kern_head_loss *a)
{
    head(k, &(struct kern_head){.logp = a->logp, .x = a->x, .w = a->w, .target = a->target, .t = a->t, .ldx = a->ldx, .temperature = a->temperature});
    head_bwd(k, &(struct kern_head_bwd){.dx = a->dx, .dw = a->dw, .x = a->x, .g = a->g, .w = a->w, .target = a->target, .t = a->t, .ldx = a->ldx, .temperature = a->temperature,
                                        .fresh = a->fresh});
}

const struct kern_ops kern_ref_ops = {
    .precs = 1u << KERN_F32 | 1u << KERN_BF16 | 1u << KERN_FP8,
    .pack_bytes = pack_bytes, .pack_rows = pack_rows, .pack_turned = kern_ref_pack_turned, .pack_fp8 = pack_fp8, .unpack_fp8 = unpack_fp8, .linear = linear, .linear_dgrad = linear_dgrad, .linear_wgrad = linear_wgrad,
    .rmsnorm = rmsnorm, .rmsnorm_bwd = rmsnorm_bwd, .rope = rope, .attn = kern_ref_attn, .attn_bwd = kern_ref_attn_bwd,
    .kv_write = kern_ref_kv_write, .swiglu = swiglu, .swiglu_bwd = swiglu_bwd, .add = add, .embed = embed, .embed_bwd = embed_bwd,
    .head = head, .head_bwd = head_bwd, .head_loss = head_loss, .logits = logits, .logp = logp, .route = kern_ref_route, .route_bwd = kern_ref_route_bwd, .route_balance = kern_ref_route_balance,
    .moe_sum = kern_ref_moe_sum, .moe_dot = kern_ref_moe_dot, .moe_scale = kern_ref_moe_scale, .mla_kv = kern_ref_mla_kv,
    .mla_kv_bwd = kern_ref_mla_kv_bwd, .group = group, .group_dgrad = group_dgrad, .group_wgrad = group_wgrad,
    .heads = kern_ref_heads, .heads_dgrad = kern_ref_heads_dgrad, .heads_wgrad = kern_ref_heads_wgrad, .copy = kern_ref_copy,
    .quant = kern_ref_quant, .dequant = kern_ref_dequant,
};
