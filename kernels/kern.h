/* What the backends share: the context, the table of ops, scratch memory. Private to kernels/. */
#ifndef HONE_KERNELS_KERN_H
#define HONE_KERNELS_KERN_H

#include "kernels/kernels.h"

CDECL_BEGIN

struct kern_cpu;

/* A backend whose memory is not the host's (kernels.h: kern_alloc and so on). */
struct kern_device {
    err_code (*open)(struct kern *k, struct err *e); /* ERR_DEVICE: none here, and why */
    void (*close)(struct kern *k);
    err_code (*alloc)(struct kern *k, int64_t bytes, const char *what, void **out, struct err *e);
    void (*release)(struct kern *k, void *p);
    void (*put)(struct kern *k, void *dst, const void *host_src, int64_t bytes);
    void (*get)(struct kern *k, void *host_dst, const void *src, int64_t bytes);
    void (*zero)(struct kern *k, void *dst, int64_t bytes);
    void (*adamw)(struct kern *k, const struct kern_adamw *a);
    double (*sum_squares)(struct kern *k, const float *x, int64_t n, double *block_sum);
};

struct kern_ops {
    const struct kern_device *device; /* NULL: host memory */
    unsigned precs;                   /* bit per kern_prec that its linears have */
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
    void *dev;                  /* the device's state */
    char name[80];
    struct {
        void *p;
        int64_t bytes;
    } slot[SLOT_N];
};

extern const struct kern_ops kern_ref_ops, kern_cpu_ops;
/* NULL where they are not linked in: a build without nvcc; any program but the tests of kernels/cuda. */
extern const struct kern_ops kern_cuda_ops __attribute__((weak)), kern_emu_ops __attribute__((weak));

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

CDECL_END

#endif
