/* What the backends share: the context, the table of ops, scratch memory. Private to kernels/. */
#ifndef HONE_KERNELS_KERN_H
#define HONE_KERNELS_KERN_H

#include "kernels/kernels.h"

struct kern_cpu;

struct kern_ops {
    int64_t (*pack_bytes)(int64_t rows, int64_t cols, enum kern_prec prec);
    void (*pack_rows)(struct kern *k, const struct kern_weight *w, const void *src, int src_is_bf16, int64_t first, int64_t rows);
    void (*pack_turned)(struct kern *k, const struct kern_weight *w, const float *src);
    void (*pack_fp8)(struct kern *k, const struct kern_weight *w, const uint8_t *codes, const float *scale);
    void (*unpack_fp8)(struct kern *k, const struct kern_weight *w, uint8_t *codes, float *scale);
#define X(op) void (*op)(struct kern *k, const struct kern_##op *a);
    KERN_OPS(X)
#undef X
};

/* Scratch by use, so that an op may call another one without sharing memory with it. */
enum kern_slot { SLOT_A, SLOT_B, SLOT_WORK, SLOT_PIECES, SLOT_QUANT, SLOT_GROUP, SLOT_HEAD_X, SLOT_HEAD_DZ, SLOT_HEAD_KEPT, SLOT_STATS, SLOT_JOBS, SLOT_N };

struct kern {
    const struct kern_ops *ops;
    const struct kern_cpu *cpu; /* the instruction set in use; NULL on ref */
    char name[32];
    struct {
        void *p;
        int64_t bytes;
    } slot[SLOT_N];
};

extern const struct kern_ops kern_ref_ops, kern_cpu_ops;

/* At least `bytes` of scratch, 64-byte aligned; contents are undefined. Grows at the first call that needs more. */
void *kern_scratch(struct kern *k, enum kern_slot slot, int64_t bytes);

/* Terms that FP8 sums before they are scaled; sides of a weight's scale block. */
enum { KERN_RUN = 128 };

/* How a group is scaled. Gradients of activations may be as small as they like (the loss is a mean over the tokens of a step). */
enum { KERN_SCALE_POW2 = 1, KERN_SCALE_GRAD = 2 };

static inline int64_t kern_min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t kern_max(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static inline int64_t kern_parts(int64_t n, int64_t size)
{
    return (n + size - 1) / size;
}

static inline int64_t kern_up(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}

#endif
