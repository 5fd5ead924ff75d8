/* What each instruction set brings to the cpu backend: the inner loops, compiled once per set from body.h (isa_*.c).
 * Everything above them (jobs, blocking, packing) is plain C and shared. All sets give the same bits. */
#ifndef HONE_KERNELS_CPU_ISA_H
#define HONE_KERNELS_CPU_ISA_H

#include <stdint.h>

enum {
    LANES = 16,   /* the virtual vector: every set computes 16 floats side by side */
    PANEL = 64,   /* outputs in one panel of packed weights */
    TILE = 6,     /* rows whose accumulators stay in registers */
    VOCAB = 1024, /* logits in one block of a log-softmax */
};

/* c[r, lane] += sum_i a(r, i) b[i, lane], one fma chain over ascending i per element, started from c (fresh: from +0; c is not read).
 * f32: a(r, i) is the float a[tile][r * rs + i * ks] of tile r / TILE; tiles lie `ts` apart. bf16: a and b hold pairs (even in the low
 * half), i counts pairs, and a step is fma(odd), then fma(even), denormals flushed: what vdpbf16ps computes. */
struct strip {
    float *c;
    float *out; /* where the results go, at stride ldo; NULL: to c */
    const void *a, *b;
    int64_t ldc, rs, ks, ts, ldb, n, rows, lanes; /* lanes: a multiple of 16 */
    int fresh, stream; /* stream: results go past the caches; whole lines of 64 bytes */
    int64_t ldo;
    const void *next; /* memory that is used afterwards: fetched meanwhile, or NULL. next_bytes in a row, or (next_ld) so many rows of a panel's width */
    int64_t next_bytes, next_ld, next_rows; /* next_ld in floats */
    /* strip_fp8: runs of KERN_RUN / 2 pairs, counted from i = 0, are summed apart and join as fma(sum, sa[r * sa_m + run * sa_i] *
     * sb[run * sb_i + lane], c); denormals are flushed there too */
    const float *sa, *sb;
    int64_t sa_m, sa_i, sb_i;
};

/* Block of an attention: scores of `rows` queries against up to 64 keys, stride 64, in place:
 * m[r] = max over the first valid[r], p = exp(scale s - m), l[r] = sum p; masked p are 0 and an empty row has m = -inf. */
struct attn_block {
    float *s, *m, *l;
    const int32_t *valid;
    int64_t rows;
    float scale;
};
/* Running state merged with one block's: m' = max, o = o exp(m - m') + ob exp(mb - m'), l likewise. Rows with valid 0 stay. */
struct attn_merge {
    float *o, *m, *l;
    const float *ob, *mb, *lb;
    const int32_t *valid;
    int64_t rows, ldo; /* width of a row of o and ob, a multiple of 16 */
};
/* p = exp(scale s - lse[r]) in s, ds = p (dp - delta[r]) scale in dp; masked keys 0. */
struct attn_ds {
    float *s, *dp;
    const float *lse, *delta;
    const int32_t *valid;
    int64_t rows;
    float scale;
};
/* max, sum exp(z - max) and sum exp(z - max) z over one block of at most VOCAB logits z = y * inv_t. */
struct vocab_stat {
    float m, l, ez;
};
/* dz = g (1[v = target] - p) - ge p (log p - mean log p), times inv_t, from the logits y, which may be dz. ent: entropy of the row. */
struct vocab_dz {
    float *dz;
    const float *y;
    int64_t n, target; /* target relative to the block, or outside of it */
    float lse, entropy, g, ge, inv_t;
};

struct norm_rows {
    float *y, *rstd, *dw; /* forward: y, rstd; backward: y = dx, dw = [c] added to */
    const float *x, *w, *dy;
    int64_t c, inner, ldx, ldy, lddy;
    float eps;
    int accumulate;
};

/* max(amax, 1e-4) / 448, or the power of two not below it (KERN_SCALE_POW2); KERN_SCALE_GRAD: max(amax, 1e-30). */
float kern_cpu_fp8_scale(float amax, int how);

struct kern_rope;
struct kern_swiglu;
struct kern_swiglu_bwd;

struct kern_cpu {
    void (*strip_f32)(const struct strip *s);
    void (*strip_bf16)(const struct strip *s);
    void (*strip_fp8)(const struct strip *s);
    void (*to_pairs)(uint32_t *dst, const float *x, int64_t n);                        /* (n + 1) / 2 pairs along a row */
    void (*zip_pairs)(uint32_t *dst, const float *even, const float *odd, int64_t n);  /* n pairs across two rows; odd NULL = 0 */
    /* FP8: values rounded to E4M3 as pairs of bf16 (exact), and the scales of groups of KERN_RUN: along a row; down columns (rows <= KERN_RUN:
     * one group), where pairs[r / 2][c] has two rows, ldp words apart. stream: past the caches, for other threads */
    void (*fp8_row)(uint32_t *pairs, float *scale, const float *x, int64_t n, int how);
    void (*fp8_cols)(uint32_t *pairs, int64_t ldp, float *scale, const float *x, int64_t ldx, int64_t rows, int64_t cols, int how, int stream);
    void (*fp8_div)(float *q, const float *x, int64_t n, float scale); /* q = E4M3(x / scale) */
    /* codes of x / s in a byte, in twelve bits, and back: n of a row, from an even place */
    void (*quant_e4m3)(uint8_t *codes, const float *x, int64_t n, float s);
    void (*quant_e5m6)(uint8_t *codes, const float *x, int64_t n, float s);
    void (*dequant_e4m3)(float *x, const uint8_t *codes, int64_t n, float s);
    void (*dequant_e5m6)(float *x, const uint8_t *codes, int64_t n, float s);
    float (*amax)(const float *x, int64_t n);
    /* dst[cols][64] = src[rows][cols]^T, zero padded. stream, here and below: past the caches, where dst is whole lines */
    void (*turn)(float *dst, const float *src, int64_t ld, int64_t rows, int64_t cols, int stream);
    /* dst[item][TILE] = src[row][item];  dst[tile][item][TILE] = src[item][row], tiles ts words apart */
    void (*tile_rows)(uint32_t *dst, const uint32_t *const *src, int64_t rows, int64_t n, int stream);
    void (*tile_cols)(uint32_t *dst, int64_t ts, const uint32_t *src, int64_t ld, int64_t rows, int64_t n, int stream);
    void (*copy_rows)(float *dst, int64_t ld, const float *src, int64_t ld_src, int64_t rows, int64_t n, int stream);
    void (*zip_rows)(uint32_t *dst, const float *src, int64_t ld, int64_t rows, int64_t n, int stream); /* dst[pair][PANEL] from two rows each; a missing one is 0 */
    /* dst[j][2 i + h] = half h of src[i][2 j] and of src[i][2 j + 1], j < n, i < items: pairs along a weight's rows become pairs across them; PANEL wide both */
    void (*across_pairs)(uint32_t *dst, const uint32_t *src, int64_t n, int64_t items, int stream);
    void (*fetch)(const float *p, int64_t ld, int64_t rows, int64_t cols); /* prefetch */
    void (*attn_block)(const struct attn_block *a);
    void (*attn_merge)(const struct attn_merge *a);
    void (*attn_ds)(const struct attn_ds *a);
    float (*dot)(const float *a, const float *b, int64_t n);
    void (*axpy)(float *y, const float *x, int64_t n); /* y += x */
    void (*times)(float *y, const float *x, float k, int64_t n); /* y = x k */
    struct vocab_stat (*vocab_stat)(const float *y, int64_t n, float inv_t);
    void (*vocab_dz)(const struct vocab_dz *a);
    void (*norm)(const struct norm_rows *a, int64_t begin, int64_t end);
    void (*norm_bwd)(const struct norm_rows *a, int64_t begin, int64_t end);
    void (*norm_dw)(const struct norm_rows *a, const float *rstd, int64_t rows, int64_t begin, int64_t end); /* columns */
    void (*rope)(const struct kern_rope *a, int64_t begin, int64_t end); /* tokens */
    void (*swiglu)(const struct kern_swiglu *a, int64_t begin, int64_t end);
    void (*swiglu_bwd)(const struct kern_swiglu_bwd *a, int64_t begin, int64_t end);
    void (*add)(float *y, const float *a, const float *b, int64_t n);
};

extern const struct kern_cpu kern_cpu_portable, kern_cpu_avx2, kern_cpu_avx512, kern_cpu_avx512bf16;

#endif
