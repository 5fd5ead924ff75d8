/* Private to kernels/cpu: matrix multiplication as the ops of this backend use it. */
#ifndef HONE_KERNELS_CPU_CPU_H
#define HONE_KERNELS_CPU_CPU_H

#include "kernels/cpu/isa.h"
#include "kernels/kern.h"

/* c[m,n] (+)= sum_i a(m,i) b(i,n) (+ bias[n]) (+ residual[m,n]), one chain over ascending i per element.
 * a(m,i) = a[m * a_m + i * a_i], one of the strides being 1. b is packed panels, or rows b[i * ldb + n]. accumulate: the chain starts
 * from c. With residual c may be residual.
 * FP8: a and b are words: pairs (2 i, 2 i + 1) of E4M3 values as bf16, and strides count those. Each run of KERN_RUN terms counts
 * sa[m * sa_m + run * sa_i] times sb[run * sb_i + (n, or n / KERN_RUN * sb_n)]. turned instead of b: the pack of a weight [k, n], whose rows are reduced over. */
struct gemm {
    float *c;
    const float *a, *b, *bias, *residual;
    const void *panels;
    const uint32_t *turned;
    int64_t m, n, k, a_m, a_i, ldb, ldc;
    enum kern_prec prec;
    int accumulate, sb_per_lane;
    const float *sa, *sb;
    int64_t sa_m, sa_i, sb_i, sb_n;
};
/* All of them share prec and which of a's strides is 1. */
void kern_cpu_gemms(struct kern *k, const struct gemm *g, int64_t n);

/* Items (floats, or pairs of bf16) that a reduction of length k has. */
static inline int64_t items(int64_t k, int bf16)
{
    return bf16 ? (k + 1) / 2 : k;
}

/* Copies rows of a, contiguous in the reduction, into tiles of TILE rows, reduction outermost inside a tile: [tile][item][TILE].
 * out has kern_up(rows, TILE) * items(k) words. bf16: a is rounded and paired; else it is words. */
struct pack_a {
    const struct kern_cpu *cpu;
    uint32_t *out;
    const float *a;
    int64_t rows, k, a_m;
    int bf16, stream; /* stream: past the caches, for other threads */
};
void kern_cpu_pack_a(const struct pack_a *p);

/* At the end of a job that streamed: its stores are seen before whatever says that it is done. */
static inline void kern_cpu_streamed(void)
{
#if defined(__x86_64__)
    __builtin_ia32_sfence();
#endif
}

/* One panel's block of results: out[rows][PANEL] (stride ldo) += a panel. a: packed tiles; panel: packed weights of the whole reduction. */
struct panel_mul {
    const struct kern_cpu *cpu;
    float *out;
    const uint32_t *a, *panel;
    int64_t ldo, rows, n; /* n: items */
    int bf16;
};
void kern_cpu_panel_mul(const struct panel_mul *p);

int64_t kern_cpu_pack_bytes(int64_t rows, int64_t cols, enum kern_prec prec);
void kern_cpu_pack_rows(struct kern *k, const struct kern_weight *w, const void *src, int src_is_bf16, int64_t first, int64_t rows);

void kern_cpu_pack_turned(struct kern *k, const struct kern_weight *w, const float *src);

/* Where an FP8 pack keeps the scales [ceil(n/128), ceil(k/128)]. */
float *kern_cpu_fp8_scales(const struct kern_weight *w);
void kern_cpu_pack_fp8(struct kern *k, const struct kern_weight *w, const uint8_t *codes, const float *scale);
void kern_cpu_unpack_fp8(struct kern *k, const struct kern_weight *w, uint8_t *codes, float *scale);

#define X(op) void kern_cpu_##op(struct kern *k, const struct kern_##op *a);
KERN_OPS(X)
#undef X

#endif
