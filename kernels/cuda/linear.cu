/* Linears and their weights. A pack is the matrix by rows: f32 as it is, bf16 rounded and padded with zeros to multiples of DEV_PAD. */
#include "kernels/cuda/cuda.h"

DEV_BEGIN

static constexpr int THREADS = 256;
static constexpr int64_t MOST_ROWS = 32768;

static int64_t or_else(int64_t ld, int64_t dense) { return ld ? ld : dense; }

int64_t dev_pack_bytes(int64_t rows, int64_t cols, enum kern_prec prec)
{
    return prec == KERN_F32 ? rows * cols * 4 : dev_up(rows) * dev_up(cols) * 2;
}

KERNEL(THREADS) pack(char *out, const void *src, int64_t cols, int64_t cols_out, int src_is_bf16, int to_bf16)
{
    int64_t i = (int64_t)BLOCK_X * THREADS + THREAD, r = BLOCK_Y;
    if (i >= cols)
        return;
    float v = src_is_bf16 ? from_bits((uint32_t)((const uint16_t *)src)[r * cols + i] << 16) : ((const float *)src)[r * cols + i];
    if (to_bf16)
        ((uint16_t *)(void *)out)[r * cols_out + i] = dev_bf16(v);
    else
        ((float *)(void *)out)[r * cols_out + i] = v;
}

/* What lies around a bf16 pack stays as kern_alloc left it: zero. */
void dev_pack_rows(struct kern *k, const struct kern_weight *w, const void *src, int src_is_bf16, int64_t first, int64_t rows)
{
    const int bf16 = w->prec == KERN_BF16;
    const int64_t wide = bf16 ? dev_up(w->k) : w->k, item = bf16 ? 2 : 4;
    for (int64_t r = 0; r < rows; r += MOST_ROWS) {
        const char *from = (const char *)src + r * w->k * (src_is_bf16 ? 2 : 4);
        char *to = (char *)w->pack + (first + r) * wide * item;
        dev_launch(k, {"pack", {w->n, w->k, -1, -1}}, pack, {kern_parts(w->k, THREADS), kern_min(rows - r, MOST_ROWS), 1}, THREADS, 0, to, (const void *)from, w->k, wide,
                   src_is_bf16, bf16);
    }
}

void dev_linear(struct kern *k, const struct kern_linear *a)
{
    const struct kern_weight *w = a->w;
    const int64_t ldx = or_else(a->ldx, w->k), ldy = or_else(a->ldy, w->n);
    struct dev_gemm g = {};
    struct dev_note note = {"linear", {a->m, w->n, w->k, -1}};
    assert(w->pack);
    g.c = a->y, g.m = a->m, g.n = w->n, g.k = w->k, g.ldc = ldy, g.bias = a->bias, g.residual = a->residual;
    g.a_k = g.b_k = 1, g.b = w->pack;
    if (!a->m)
        return;
    if (w->prec == KERN_F32) {
        g.a = a->x, g.a_m = ldx, g.b_n = w->k;
        dev_gemm_f32(k, note, &g);
        return;
    }
    g.a = dev_bf16_rows(k, DEV_A, a->x, a->m, w->k, ldx);
    g.a_m = g.b_n = dev_up(w->k);
    dev_gemm_bf16(k, note, &g);
}

/* bf16 reads the pack, which is the rounded master; without one the master is rounded here. */
void dev_linear_dgrad(struct kern *k, const struct kern_linear_dgrad *a)
{
    const struct kern_weight *w = a->w;
    const int64_t lddy = or_else(a->lddy, w->n), lddx = or_else(a->lddx, w->k);
    struct dev_gemm g = {};
    struct dev_note note = {"linear_dgrad", {a->m, w->n, w->k, -1}};
    g.c = a->dx, g.m = a->m, g.n = w->k, g.k = w->n, g.ldc = lddx, g.accumulate = a->accumulate;
    g.a_k = g.b_n = 1;
    if (!a->m)
        return;
    if (w->prec == KERN_F32) {
        assert(w->w);
        g.a = a->dy, g.a_m = lddy, g.b = w->w, g.b_k = w->k;
        dev_gemm_f32(k, note, &g);
        return;
    }
    assert(w->w || w->pack);
    g.a = dev_bf16_rows(k, DEV_A, a->dy, a->m, w->n, lddy);
    g.a_m = dev_up(w->n);
    g.b_k = dev_up(w->k);
    g.b = w->pack;
    if (!w->pack) {
        uint16_t *b = (uint16_t *)dev_scratch(k, DEV_B, dev_up(w->n) * dev_up(w->k) * 2);
        dev_to_bf16(k, b, w->w, w->n, w->k, w->k, dev_up(w->n));
        g.b = b;
    }
    dev_gemm_bf16(k, note, &g);
}

void dev_sum_rows(struct kern *k, const char *op, float *out, const float *dy, int64_t rows, int64_t c, int64_t ld);

void dev_linear_wgrad(struct kern *k, const struct kern_linear_wgrad *a)
{
    const int64_t lddy = or_else(a->lddy, a->n), ldx = or_else(a->ldx, a->k);
    struct dev_gemm g = {};
    struct dev_note note = {"linear_wgrad", {a->m, a->n, a->k, -1}};
    g.c = a->dw, g.m = a->n, g.n = a->k, g.k = a->m, g.ldc = a->k, g.accumulate = !a->fresh;
    g.a_m = g.b_n = 1;
    if (!a->m && a->fresh)
        kern_zero(k, a->dw, a->n * a->k * 4);
    if (!a->m)
        return;
    if (a->prec == KERN_F32) {
        g.a = a->dy, g.a_k = lddy, g.b = a->x, g.b_k = ldx;
        dev_gemm_f32(k, note, &g);
    } else {
        uint16_t *dy = (uint16_t *)dev_scratch(k, DEV_A, dev_up(a->m) * dev_up(a->n) * 2), *x = (uint16_t *)dev_scratch(k, DEV_B, dev_up(a->m) * dev_up(a->k) * 2);
        dev_to_bf16(k, dy, a->dy, a->m, a->n, lddy, dev_up(a->m));
        dev_to_bf16(k, x, a->x, a->m, a->k, ldx, dev_up(a->m));
        g.a = dy, g.a_k = dev_up(a->n), g.b = x, g.b_k = dev_up(a->k);
        dev_gemm_bf16(k, note, &g);
    }
    if (a->dbias)
        dev_sum_rows(k, "linear_wgrad: dbias", a->dbias, a->dy, a->m, a->n, lddy);
}

DEV_END
