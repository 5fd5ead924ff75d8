#include "kernels/kern.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "core/par.h"
#include "core/rng.h"
#include "kernels/cpu/isa.h"

/* Every allocation carries its mapped length in the 64 bytes before it. */
enum { HEAD = 64, HUGE = 2 << 20 };

static void *map(int64_t bytes)
{
    int64_t all = kern_up(bytes + HEAD, bytes >= HUGE ? HUGE : 4096);
    char *p = mmap(NULL, (size_t)all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    if (bytes >= HUGE)
        madvise(p, (size_t)all, MADV_HUGEPAGE); /* a hint: weights are streamed, and page walks cost bandwidth */
    memcpy(p, &all, sizeof all);
    return p + HEAD;
}

static void unmap(void *p)
{
    int64_t all;
    if (!p)
        return;
    memcpy(&all, (char *)p - HEAD, sizeof all);
    munmap((char *)p - HEAD, (size_t)all);
}

void *kern_scratch(struct kern *k, enum kern_slot slot, int64_t bytes)
{
    if (k->slot[slot].bytes < bytes) {
        unmap(k->slot[slot].p);
        bytes += bytes / 4; /* a step that is a little longer than the last must not map again */
        if (!(k->slot[slot].p = map(bytes)))
            BUG("no address space for %lld bytes of scratch", (long long)bytes);
        k->slot[slot].bytes = bytes;
    }
    return k->slot[slot].p;
}

static const char *const isa_names[] = {
    [KERN_BEST] = "best", [KERN_PORTABLE] = "portable", [KERN_AVX2] = "avx2", [KERN_AVX512] = "avx512", [KERN_AVX512BF16] = "avx512bf16",
};

int kern_has_isa(enum kern_isa isa)
{
#if defined(__x86_64__)
    switch (isa) {
    case KERN_AVX2: return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case KERN_AVX512:
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512dq");
    case KERN_AVX512BF16: return kern_has_isa(KERN_AVX512) && __builtin_cpu_supports("avx512bf16");
    default: return 1;
    }
#else
    return isa == KERN_BEST || isa == KERN_PORTABLE;
#endif
}

static const struct kern_cpu *isa_table(enum kern_isa isa)
{
#if defined(__x86_64__)
    switch (isa) {
    case KERN_AVX2: return &kern_cpu_avx2;
    case KERN_AVX512: return &kern_cpu_avx512;
    case KERN_AVX512BF16: return &kern_cpu_avx512bf16;
    default: break;
    }
#endif
    (void)isa;
    return &kern_cpu_portable;
}

/* NULL when this build has none. */
static const struct kern_ops *device_ops(const char *backend)
{
    const struct kern_ops *cuda = &kern_cuda_ops, *emu = &kern_emu_ops; /* weak: their addresses may be NULL */
    return !strcmp(backend, "emu") ? emu : cuda;
}

static err_code host_open(struct kern *k, int ref, enum kern_isa isa, struct err *e)
{
    if (!ref && !kern_has_isa(isa))
        return err_set(e, ERR_DEVICE, "this processor has no '%s' instructions", isa_names[isa]);
    for (int i = KERN_AVX512BF16; isa == KERN_BEST; i--)
        if (kern_has_isa((enum kern_isa)i))
            isa = (enum kern_isa)i;
    k->ops = ref ? &kern_ref_ops : &kern_cpu_ops;
    k->cpu = ref ? NULL : isa_table(isa);
    snprintf(k->name, sizeof k->name, ref ? "ref" : "cpu %s", isa_names[isa]);
    return ERR_OK;
}

/* auto takes whatever answers; cuda says why there is none. */
static err_code any_open(struct kern *k, const struct kern_opts *o, struct err *e)
{
    const char *b = o->backend ? o->backend : "auto";
    int is_auto = !strcmp(b, "auto"), ref = !strcmp(b, "ref"), cpu = !strcmp(b, "cpu");
    const struct kern_ops *ops = device_ops(b);
    struct err why = {ERR_OK, ""};
    if (ref || cpu)
        return host_open(k, ref, o->isa, e);
    if (!is_auto && strcmp(b, "cuda") && !(ops && !strcmp(b, "emu")))
        return err_set(e, ERR_DEVICE, "no backend '%s' in this build (it has: cpu, ref%s)", b, ops ? ", cuda" : "");
    if (!ops && !is_auto)
        return err_set(e, ERR_DEVICE, "this build has no cuda: there was no nvcc when it was made; hint: --device cpu, or make again where nvcc is");
    k->ops = ops;
    if (ops && ops->device->open(k, is_auto ? &why : e) == ERR_OK)
        return ERR_OK;
    return is_auto ? host_open(k, 0, o->isa, e) : ERR_DEVICE;
}

err_code kern_open(const struct kern_opts *o, struct kern **out, struct err *e)
{
    struct kern *k = map(sizeof *k);
    if (!k)
        return err_sys(e, ERR_LIMIT, "no memory for a kernel context");
    err_code rc = any_open(k, o, e);
    if (rc != ERR_OK)
        unmap(k);
    else
        *out = k;
    return rc;
}

void kern_close(struct kern *k)
{
    if (!k)
        return;
    if (k->ops->device)
        k->ops->device->close(k);
    for (int i = 0; i < SLOT_N; i++)
        unmap(k->slot[i].p);
    unmap(k);
}

const char *kern_name(const struct kern *k)
{
    return k->name;
}

/* ---- memory -------------------------------------------------------------------------------- */

int kern_on_host(const struct kern *k)
{
    return !k->ops->device;
}

err_code kern_alloc(struct kern *k, int64_t bytes, const char *what, void **out, struct err *e)
{
    assert(bytes >= 0);
    if (k->ops->device)
        return k->ops->device->alloc(k, bytes, what, out, e);
    if (!(*out = map(bytes ? bytes : 1)))
        return err_sys(e, ERR_LIMIT, "no memory for %lld bytes of %s", (long long)bytes, what);
    return ERR_OK;
}

void kern_free(struct kern *k, void *p)
{
    if (p && k->ops->device)
        k->ops->device->release(k, p);
    else
        unmap(p);
}

void kern_put(struct kern *k, void *dst, const void *host_src, int64_t bytes)
{
    if (k->ops->device)
        k->ops->device->put(k, dst, host_src, bytes);
    else
        memcpy(dst, host_src, (size_t)bytes);
}

void kern_get(struct kern *k, void *host_dst, const void *src, int64_t bytes)
{
    if (k->ops->device)
        k->ops->device->get(k, host_dst, src, bytes);
    else
        memcpy(host_dst, src, (size_t)bytes);
}

static void zero_range(void *ctx, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    memset((char *)ctx + begin, 0, (size_t)(end - begin));
}

void kern_zero(struct kern *k, void *dst, int64_t bytes)
{
    if (k->ops->device)
        k->ops->device->zero(k, dst, bytes);
    else
        par_for(bytes, 1 << 18, zero_range, dst);
}

void kern_adamw(struct kern *k, const struct kern_adamw *a)
{
    assert(k->ops->device && a->first % 32 == 0);
    k->ops->device->adamw(k, a);
}

double kern_sum_squares(struct kern *k, const float *x, int64_t n, double *block_sum)
{
    assert(k->ops->device);
    return k->ops->device->sum_squares(k, x, n, block_sum);
}

/* ---- weights and ops ----------------------------------------------------------------------- */

int64_t kern_pack_bytes(const struct kern *k, int64_t rows, int64_t cols, enum kern_prec prec)
{
    assert(kern_has_prec(k, prec));
    return k->ops->pack_bytes(rows, cols, prec);
}

void kern_pack(struct kern *k, const struct kern_weight *w)
{
    assert(w->w && w->pack);
    k->ops->pack_rows(k, w, w->w, 0, 0, w->n);
}

void kern_pack_rows(struct kern *k, const struct kern_weight *w, const void *src, int src_is_bf16, int64_t first, int64_t rows)
{
    assert(w->pack && first >= 0 && first % (w->prec == KERN_FP8 ? KERN_RUN : 64) == 0 && rows >= 0 && first + rows <= w->n);
    k->ops->pack_rows(k, w, src, src_is_bf16, first, rows);
}

void kern_pack_turned(struct kern *k, const struct kern_weight *w, const float *src)
{
    assert(w->pack && w->prec != KERN_FP8);
    if (!k->ops->pack_turned)
        BUG("%s has no pack_turned", k->name);
    k->ops->pack_turned(k, w, src);
}

void kern_pack_fp8(struct kern *k, const struct kern_weight *w, const uint8_t *codes, const float *scale)
{
    assert(w->pack && w->prec == KERN_FP8);
    if (!k->ops->pack_fp8)
        BUG("%s has no pack_fp8", k->name);
    k->ops->pack_fp8(k, w, codes, scale);
}

void kern_unpack_fp8(struct kern *k, const struct kern_weight *w, uint8_t *codes, float *scale)
{
    assert(w->pack && w->prec == KERN_FP8);
    if (!k->ops->unpack_fp8)
        BUG("%s has no unpack_fp8", k->name);
    k->ops->unpack_fp8(k, w, codes, scale);
}

int64_t kern_narrow_bytes(int64_t c, enum kern_narrow format)
{
    return format == KERN_E4M3 ? c : (c + 1) / 2 * 3;
}

int kern_has_prec(const struct kern *k, enum kern_prec prec)
{
    return k->ops->precs >> prec & 1;
}

int kern_has(const struct kern *k, enum kern_op op)
{
    switch (op) {
#define X(op) \
    case KERN_OP_##op: return k->ops->op != NULL;
        KERN_OPS(X)
#undef X
    default: return 0;
    }
}

#define X(op)                                                 \
    void kern_##op(struct kern *k, const struct kern_##op *a) \
    {                                                         \
        if (!k->ops->op)                                      \
            BUG("%s has no " #op, k->name);                   \
        k->ops->op(k, a);                                     \
    }
KERN_OPS(X)
#undef X
