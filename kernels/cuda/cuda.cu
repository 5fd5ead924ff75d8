/* The context of a device: memory, host arrays on their way, failures, the table of ops. */
#include "kernels/cuda/cuda.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

DEV_BEGIN

#if defined(KERN_EMU)

static void *raw_alloc(int64_t bytes) { return kern_emu_alloc(bytes); }
static void raw_free(void *p) { kern_emu_free(p); }
static void raw_put(struct kern *, void *dst, const void *src, int64_t bytes)
{
    kern_emu_open_memory();
    memcpy(dst, src, (size_t)bytes);
    kern_emu_shut_memory();
}
static void raw_get(struct kern *, void *dst, const void *src, int64_t bytes) { raw_put(NULL, dst, src, bytes); }
static void raw_zero(struct kern *, void *dst, int64_t bytes)
{
    kern_emu_open_memory();
    memset(dst, 0, (size_t)bytes);
    kern_emu_shut_memory();
}
static void wait_all(struct kern *) {}
static int64_t raw_left() { return INT64_MAX; }

#else

/* The last launches, the newest first: a fault shows up at the next wait, behind the launch that made it. */
static void last_ops(const struct dev *d, char *out, size_t room)
{
    size_t at = 0;
    out[0] = 0;
    for (int64_t i = d->n_notes - 1; i >= 0 && i >= d->n_notes - DEV_NOTES && at + 1 < room; i--) {
        const struct dev_note *n = &d->note[i % DEV_NOTES];
        at += (size_t)snprintf(out + at, room - at, "%s%s [", i == d->n_notes - 1 ? "" : ", ", n->op);
        for (int j = 0; j < 4 && n->d[j] >= 0 && at + 1 < room; j++)
            at += (size_t)snprintf(out + at, room - at, "%s%lld", j ? " " : "", (long long)n->d[j]);
        if (at + 1 < room)
            at += (size_t)snprintf(out + at, room - at, "]");
    }
}

void dev_check(struct kern *k, cudaError_t rc)
{
    char ops[600];
    if (rc == cudaSuccess)
        return;
    last_ops(dev_of(k), ops, sizeof ops);
    BUG("the device failed: %s (%s); last launches, newest first: %s; HONE_CUDA_SYNC=1 names the one at fault", cudaGetErrorString(rc), cudaGetErrorName(rc),
        dev_of(k)->n_notes ? ops : "none");
}

static void *raw_alloc(int64_t bytes)
{
    void *p = NULL;
    if (cudaMalloc(&p, (size_t)bytes) == cudaSuccess)
        return p;
    cudaGetLastError(); /* not to be taken for a launch's */
    return NULL;
}
static void raw_free(void *p) { cudaFree(p); }
static void wait_all(struct kern *k) { dev_check(k, cudaStreamSynchronize(dev_of(k)->stream)); }
static void raw_put(struct kern *k, void *dst, const void *src, int64_t bytes)
{
    dev_check(k, cudaMemcpyAsync(dst, src, (size_t)bytes, cudaMemcpyHostToDevice, dev_of(k)->stream));
    wait_all(k); /* src is the caller's again */
}
static void raw_get(struct kern *k, void *dst, const void *src, int64_t bytes)
{
    dev_check(k, cudaMemcpyAsync(dst, src, (size_t)bytes, cudaMemcpyDeviceToHost, dev_of(k)->stream));
    wait_all(k);
}
static void raw_zero(struct kern *k, void *dst, int64_t bytes) { dev_check(k, cudaMemsetAsync(dst, 0, (size_t)bytes, dev_of(k)->stream)); }
static int64_t raw_left()
{
    size_t left = 0, all = 0;
    return cudaMemGetInfo(&left, &all) == cudaSuccess ? (int64_t)left : -1;
}

#endif

/* ---- scratch and host arrays ---------------------------------------------------------------------- */

void *dev_scratch(struct kern *k, enum dev_slot slot, int64_t bytes)
{
    struct dev *d = dev_of(k);
    if (d->slot[slot].bytes < bytes) {
        if (d->slot[slot].p)
            raw_free(d->slot[slot].p); /* waits for the device */
        bytes = kern_up(bytes + bytes / 4, 256);
        d->slot[slot].bytes = bytes;
        if (!(d->slot[slot].p = raw_alloc(bytes)))
            BUG("no device memory for %lld bytes of scratch, %lld are free; hint: fewer tokens per pass", (long long)bytes, (long long)raw_left());
    }
    return d->slot[slot].p;
}

const void *dev_send(struct kern *k, const void *host, int64_t bytes)
{
    struct dev *d = dev_of(k);
    assert(bytes <= DEV_RING_BYTES);
    for (int i = 0; i < d->n_recent; i++)
        if (d->recent[i].bytes == bytes && !memcmp(d->ring_host + d->recent[i].at, host, (size_t)bytes))
            return d->ring + d->recent[i].at;
    if (d->ring_at + bytes > DEV_RING_BYTES) { /* from the start, when what lies there was sent */
        wait_all(k);
        d->ring_at = 0;
        d->n_recent = 0;
    }
    int64_t at = d->ring_at;
    if (!bytes)
        return d->ring + at;
    memcpy(d->ring_host + at, host, (size_t)bytes);
#if defined(KERN_EMU)
    raw_put(k, d->ring + at, host, bytes);
#else
    dev_check(k, cudaMemcpyAsync(d->ring + at, d->ring_host + at, (size_t)bytes, cudaMemcpyHostToDevice, d->stream));
#endif
    d->ring_at = kern_up(at + bytes, 256);
    if (d->n_recent == DEV_RECENT)
        memmove(d->recent, d->recent + 1, --d->n_recent * sizeof *d->recent);
    d->recent[d->n_recent].at = at;
    d->recent[d->n_recent++].bytes = bytes;
    return d->ring + at;
}

/* ---- memory of the caller -------------------------------------------------------------------------- */

static err_code alloc(struct kern *k, int64_t bytes, const char *what, void **out, struct err *e)
{
    void *p = raw_alloc(kern_up(bytes ? bytes : 1, 256));
    if (!p)
        return err_set(e, ERR_LIMIT, "no device memory for %lld bytes of %s: %lld of %s are free; hint: fewer tokens or rows at a time, or --device cpu", (long long)bytes,
                       what, (long long)raw_left(), k->name);
    raw_zero(k, p, kern_up(bytes ? bytes : 1, 256));
    *out = p;
    return ERR_OK;
}

static void release(struct kern *, void *p)
{
    raw_free(p);
}

/* ---- open and close --------------------------------------------------------------------------------- */

#if defined(KERN_EMU)

static err_code attach(struct kern *k, struct dev *d, struct err *)
{
    snprintf(k->name, sizeof k->name, "emu");
    d->ring_host = (char *)malloc(DEV_RING_BYTES);
    d->ring = (char *)raw_alloc(DEV_RING_BYTES);
    return ERR_OK;
}

static void detach(struct dev *d)
{
    free(d->ring_host);
}

#else

static err_code device_error(struct err *e, const char *what, cudaError_t rc)
{
    return err_set(e, ERR_DEVICE, "cuda: %s: %s; hint: --device cpu", what, cudaGetErrorString(rc));
}

/* A kernel of this file, asked for by name: an image for this device is in the program, or can be made from its PTX. */
KERNEL(WARP) probe(int *out) { *out = THREAD; }

static err_code attach(struct kern *k, struct dev *d, struct err *e)
{
    cudaDeviceProp p;
    cudaFuncAttributes image;
    int n = 0, major = 0;
    cudaError_t rc = cudaDriverGetVersion(&major);
    if (rc == cudaSuccess && major == 0)
        return err_set(e, ERR_DEVICE, "cuda: this machine has no NVIDIA driver (libcuda.so.1 was not found); hint: --device cpu");
    rc = cudaGetDeviceCount(&n);
    if (rc != cudaSuccess || n < 1)
        return device_error(e, "no usable device", rc == cudaSuccess ? cudaErrorNoDevice : rc);
    if ((rc = cudaGetDeviceProperties(&p, 0)) != cudaSuccess || (rc = cudaSetDevice(0)) != cudaSuccess)
        return device_error(e, "device 0", rc);
    if ((rc = cudaFuncGetAttributes(&image, (const void *)probe)) != cudaSuccess)
        return err_set(e, ERR_DEVICE, "cuda: '%s' (compute capability %d.%d) cannot run this program's kernels, which need 8.0 or later: %s; hint: --device cpu", p.name,
                       p.major, p.minor, cudaGetErrorString(rc));
    if ((rc = cudaStreamCreateWithFlags(&d->stream, cudaStreamNonBlocking)) != cudaSuccess)
        return device_error(e, "no stream", rc);
    if ((rc = cudaMallocHost((void **)&d->ring_host, DEV_RING_BYTES)) != cudaSuccess || !(d->ring = (char *)raw_alloc(DEV_RING_BYTES)))
        return device_error(e, "no memory for the context", rc == cudaSuccess ? cudaErrorMemoryAllocation : rc);
    const char *sync = getenv("HONE_CUDA_SYNC");
    d->sync = sync && !strcmp(sync, "1");
    snprintf(k->name, sizeof k->name, "cuda sm_%d%d %.48s", p.major, p.minor, p.name);
    return ERR_OK;
}

static void detach(struct dev *d)
{
    if (d->ring_host)
        cudaFreeHost(d->ring_host);
    if (d->stream)
        cudaStreamDestroy(d->stream);
}

#endif

static void close(struct kern *k)
{
    struct dev *d = dev_of(k);
    if (!d)
        return;
    for (int i = 0; i < DEV_SLOTS; i++)
        if (d->slot[i].p)
            raw_free(d->slot[i].p);
    if (d->ring)
        raw_free(d->ring);
    detach(d);
    free(d);
    k->dev = NULL;
}

static err_code open(struct kern *k, struct err *e)
{
    if (!(k->dev = calloc(1, sizeof(struct dev))))
        return err_set(e, ERR_LIMIT, "memory is short");
    err_code rc = attach(k, dev_of(k), e);
    if (rc != ERR_OK)
        close(k);
    return rc;
}

void dev_adamw(struct kern *k, const struct kern_adamw *a);
double dev_sum_squares(struct kern *k, const float *x, int64_t n, double *block_sum);

static const struct kern_device device = {
    .open = open, .close = close, .alloc = alloc, .release = release, .put = raw_put, .get = raw_get, .zero = raw_zero, .adamw = dev_adamw, .sum_squares = dev_sum_squares,
};

int64_t dev_pack_bytes(int64_t rows, int64_t cols, enum kern_prec prec);
void dev_pack_rows(struct kern *k, const struct kern_weight *w, const void *src, int src_is_bf16, int64_t first, int64_t rows);

/* The ops by name, whatever their order in the list. */
static struct kern_ops table()
{
    struct kern_ops t = {};
    t.device = &device;
    t.precs = 1u << KERN_F32 | 1u << KERN_BF16;
    t.pack_bytes = dev_pack_bytes;
    t.pack_rows = dev_pack_rows;
#define X(op) t.op = dev_##op;
    DEV_OPS(X)
#undef X
    return t;
}

DEV_END

#if defined(KERN_EMU)
using namespace kern_emu;
#endif
extern "C" const struct kern_ops kern_cuda_ops = table();
