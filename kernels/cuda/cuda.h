/* Private to kernels/cuda: the context, launches, host arrays on their way to the device. C++. */
#ifndef HONE_KERNELS_CUDA_CUDA_H
#define HONE_KERNELS_CUDA_CUDA_H

#include "kernels/cuda/device.h"
#include "kernels/kern.h"

#if !defined(KERN_EMU)
#include <cuda_runtime.h>
#else
#define kern_cuda_ops kern_emu_ops
#endif
/* The emulated backend is another one, which a test program holds beside the real one. */
#if defined(KERN_EMU)
#define DEV_BEGIN namespace kern_emu {
#define DEV_END }
#else
#define DEV_BEGIN
#define DEV_END
#endif

DEV_BEGIN

/* What an op was called with, for the message of a failure that shows up later. */
struct dev_note {
    const char *op;
    int64_t d[4]; /* its shape; -1: none */
};

/* Device scratch by use, as kern_slot. */
enum dev_slot { DEV_A, DEV_B, DEV_STATS, DEV_PARTS, DEV_HEAD_X, DEV_HEAD_Z, DEV_HEAD_DX, DEV_HEAD_LSE, DEV_ATTN_Q, DEV_ATTN_K, DEV_ATTN_V, DEV_ATTN_DO, DEV_SLOTS };

enum { DEV_NOTES = 8, DEV_RECENT = 16, DEV_RING_BYTES = 16 << 20 };

struct dev {
    struct dev_note note[DEV_NOTES];
    int64_t n_notes;
    struct {
        void *p;
        int64_t bytes;
    } slot[DEV_SLOTS];
    /* Host arrays go through a ring of pinned memory into one of the device, so that the host never waits; what was sent lately and is
     * the same again (sequence starts, page tables: every layer has them) is not sent again. */
    char *ring, *ring_host;
    int64_t ring_at;
    struct {
        int64_t at, bytes;
    } recent[DEV_RECENT];
    int n_recent;
    int64_t allocated;
#if !defined(KERN_EMU)
    cudaStream_t stream;
    int sync; /* HONE_CUDA_SYNC=1: waits after every launch, so that a failure names its op */
#endif
};

static inline struct dev *dev_of(struct kern *k)
{
    return (struct dev *)k->dev;
}

/* Device memory for an op; contents undefined; 256-byte aligned. Grows at the first call that needs more. */
void *dev_scratch(struct kern *k, enum dev_slot slot, int64_t bytes);
/* A host array on the device, until the ring comes round: for the launches of this op. */
const void *dev_send(struct kern *k, const void *host, int64_t bytes);
template <class T> static const T *dev_array(struct kern *k, const T *host, int64_t n)
{
    return (const T *)dev_send(k, host, n * (int64_t)sizeof *host);
}

#if defined(KERN_EMU)

template <class... P, class... A>
static void dev_launch(struct kern *k, struct dev_note note, void (*kernel)(P...), struct emu_grid grid, int threads, int64_t shared, A... args)
{
    if (grid.x <= 0 || grid.y <= 0 || grid.z <= 0)
        return;
    (void)k;
    auto body = [&] { kernel(P(args)...); };
    kern_emu_launch(note.op, grid, threads, shared, [](void *ctx) { (*(decltype(body) *)ctx)(); }, &body);
}

#else

struct emu_grid {
    int64_t x, y, z;
};
/* A failure of the device ends the program with the op's name and shape: nothing that was computed since can be trusted. */
void dev_check(struct kern *k, cudaError_t rc);

template <class... P, class... A>
static void dev_launch(struct kern *k, struct dev_note note, void (*kernel)(P...), struct emu_grid grid, int threads, int64_t shared, A... args)
{
    struct dev *d = dev_of(k);
    if (grid.x <= 0 || grid.y <= 0 || grid.z <= 0)
        return;
    d->note[d->n_notes++ % DEV_NOTES] = note;
    if (shared > 48 << 10)
        dev_check(k, cudaFuncSetAttribute((const void *)kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared));
    kernel<<<dim3((unsigned)grid.x, (unsigned)grid.y, (unsigned)grid.z), threads, (size_t)shared, d->stream>>>(P(args)...);
    dev_check(k, cudaGetLastError());
    if (d->sync)
        dev_check(k, cudaStreamSynchronize(d->stream));
}

#endif

/* ---- products (gemm.cu) -------------------------------------------------------------------------- */

/* c[m,n] = sum_k a(m,k) b(n,k) (+ bias[n]) (+ residual[m,n]), or c += with accumulate: then the sum starts from c.
 * f32: a(m,k) = a[m * a_m + k * a_k], likewise b. One fma chain over ascending k: the bits of the cpu backend. */
struct dev_gemm {
    float *c;
    const void *a, *b;
    int64_t m, n, k, a_m, a_k, b_n, b_k, ldc;
    const float *bias, *residual;
    int accumulate;
};
void dev_gemm_f32(struct kern *k, struct dev_note note, const struct dev_gemm *g);
/* bf16: operands are tiles of dev_bf16's making: rows of ld numbers, padded with zeros to multiples of DEV_PAD; the one with stride 1
 * along k lies by rows, the other turned. */
void dev_gemm_bf16(struct kern *k, struct dev_note note, const struct dev_gemm *g);

enum { DEV_PAD = 128 };
static inline int64_t dev_up(int64_t n) { return kern_up(n, DEV_PAD); }
/* Rows of f32 as bf16 [dev_up(rows) (few rows: kern_up(rows, 16)), dev_up(cols)], zeros around. src of any stride. */
const uint16_t *dev_bf16_rows(struct kern *k, enum dev_slot slot, const float *x, int64_t rows, int64_t cols, int64_t ld);
int64_t dev_bf16_pad_rows(int64_t rows);
void dev_to_bf16(struct kern *k, uint16_t *out, const float *x, int64_t rows, int64_t cols, int64_t ld, int64_t rows_out);

/* ---- the ops, by file ---------------------------------------------------------------------------- */

/* Those of the dense model; an op that is missing here is NULL in the table and refused by kern_has. */
#define DEV_OPS(X)                                                                                                                          \
    X(linear) X(linear_dgrad) X(linear_wgrad) X(rmsnorm) X(rmsnorm_bwd) X(rope) X(attn) X(attn_bwd) X(kv_write) X(swiglu) X(swiglu_bwd) X(add) \
    X(embed) X(embed_bwd) X(head) X(head_bwd) X(head_loss) X(logits) X(logp)

#define X(op) void dev_##op(struct kern *k, const struct kern_##op *a);
DEV_OPS(X)
#undef X

DEV_END

#endif
