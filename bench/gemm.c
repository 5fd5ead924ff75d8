/* Matrix products of the cpu backend against OpenBLAS (f32) and oneDNN (f32, bf16), which are yardsticks only: each is used when its
 * library is installed (libopenblas0-openmp; libdnnl-dev) and said to be missing otherwise. Ratios are taken in one run, best of
 * interleaved repeats, since the machine may be shared. Then: decode against the read bandwidth, and what order costs.
 *   build/bench/gemm [words]   only the sections named: shapes small grad fp8 experts layer decode
 *   BENCH_CPU=1 OMP_NUM_THREADS=1 HONE_THREADS=1 build/bench/gemm   processor time of one thread: for a machine that others load */
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench/bench.h"
#include "core/par.h"
#include "core/rng.h"
#include "kernels/kernels.h"
#if defined(__has_include)
#if __has_include(<dnnl.h>)
#include <dnnl.h>
#define HAVE_DNNL (DNNL_VERSION_MAJOR == 2)
#endif
#endif
#ifndef HAVE_DNNL
#define HAVE_DNNL 0
#endif

struct side {
    const char *name;
    void (*run)(void *ctx);
    void *ctx;
    double best;
};

/* Best time of each side, taken in turns for about `seconds`. */
static void race(struct side *s, int n, double seconds)
{
    double stop = now() + seconds;
    for (int i = 0; i < n; i++)
        s[i].best = 1e30;
    for (int round = 0; round < 3 || now() < stop; round++)
        for (int i = 0; i < n; i++)
            if (s[i].run) {
                usleep(par_threads() > 1 ? 5000 : 0); /* the threads of the last side's OpenMP spin on for milliseconds */
                double t = now();
                s[i].run(s[i].ctx);
                t = now() - t;
                if (round && t < s[i].best)
                    s[i].best = t;
            }
}

/* ---- the yardsticks -------------------------------------------------------------------------- */

typedef void sgemm_fn(int order, int ta, int tb, int m, int n, int k, float alpha, const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);
static sgemm_fn *sgemm;

static void find_openblas(void)
{
    static const char *const names[] = {"/usr/lib/x86_64-linux-gnu/openblas-openmp/libopenblas.so.0", "libopenblas.so.0"};
    for (size_t i = 0; !sgemm && i < sizeof names / sizeof *names; i++) {
        void *lib = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
        if (lib)
            *(void **)(void *)&sgemm = dlsym(lib, "cblas_sgemm");
    }
    if (!sgemm)
        printf("skip: OpenBLAS is not installed (libopenblas0-openmp)\n");
}

struct product {
    struct kern *k;
    int64_t m, n, kk;
    struct kern_weight w;
    float *x, *y, *dw;
};

static void run_ours(void *p)
{
    struct product *a = p;
    kern_linear(a->k, &(struct kern_linear){.y = a->y, .x = a->x, .w = &a->w, .m = a->m});
}

static void run_openblas(void *p)
{
    struct product *a = p;
    sgemm(101, 111, 112, (int)a->m, (int)a->n, (int)a->kk, 1, a->x, (int)a->kk, a->w.w, (int)a->kk, 0, a->y, (int)a->n);
}

#if HAVE_DNNL
#define DNNL_CALLS(X)                                                                                                      \
    X(dnnl_engine_create) X(dnnl_stream_create) X(dnnl_stream_wait) X(dnnl_memory_desc_init_by_tag) X(dnnl_matmul_desc_init) \
    X(dnnl_primitive_desc_create) X(dnnl_primitive_create) X(dnnl_primitive_execute) X(dnnl_memory_create)                 \
    X(dnnl_primitive_desc_query_md) X(dnnl_reorder_primitive_desc_create) X(dnnl_primitive_desc_destroy)                   \
    X(dnnl_primitive_destroy) X(dnnl_memory_destroy) X(dnnl_memory_desc_get_size)
#define X(f) static __typeof__(f) *p_##f;
DNNL_CALLS(X)
#undef X
static dnnl_engine_t engine;
static dnnl_stream_t stream;

static int find_dnnl(void)
{
    void *lib = dlopen("libdnnl.so.2", RTLD_NOW | RTLD_LOCAL);
    if (!lib)
        return 0;
#define X(f)                                             \
    if (!(*(void **)(void *)&p_##f = dlsym(lib, #f)))    \
        return 0;
    DNNL_CALLS(X)
#undef X
    return p_dnnl_engine_create(&engine, dnnl_cpu, 0) == dnnl_success && p_dnnl_stream_create(&stream, engine, dnnl_stream_default_flags) == dnnl_success;
}

struct onednn {
    dnnl_primitive_t prim;
    dnnl_exec_arg_t args[3];
};

static void run_dnnl(void *p)
{
    struct onednn *d = p;
    p_dnnl_primitive_execute(d->prim, stream, 3, d->args);
    p_dnnl_stream_wait(stream);
}

/* Weights in the layout that oneDNN asks for, as ours are in ours; bf16 source in memory for it (ours converts from f32 in the call). */
static int dnnl_setup(struct onednn *d, struct product *a, int bf16, uint16_t *xb)
{
    dnnl_memory_desc_t xm, wm, wp, ym;
    dnnl_matmul_desc_t md;
    dnnl_primitive_desc_t pd, rd;
    dnnl_primitive_t re;
    dnnl_memory_t from, mem[3];
    dnnl_dims_t xs = {a->m, a->kk}, ws = {a->kk, a->n}, ys = {a->m, a->n};
    dnnl_data_type_t t = bf16 ? dnnl_bf16 : dnnl_f32;
    p_dnnl_memory_desc_init_by_tag(&xm, 2, xs, t, dnnl_ab);
    p_dnnl_memory_desc_init_by_tag(&wm, 2, ws, t, dnnl_format_tag_any);
    p_dnnl_memory_desc_init_by_tag(&wp, 2, ws, dnnl_f32, dnnl_ba);
    p_dnnl_memory_desc_init_by_tag(&ym, 2, ys, dnnl_f32, dnnl_ab);
    if (p_dnnl_matmul_desc_init(&md, &xm, &wm, NULL, &ym) != dnnl_success || p_dnnl_primitive_desc_create(&pd, &md, NULL, engine, NULL) != dnnl_success)
        return 0;
    const dnnl_memory_desc_t *want = p_dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0);
    p_dnnl_memory_create(&from, &wp, engine, (void *)(uintptr_t)a->w.w);
    p_dnnl_memory_create(&mem[1], want, engine, DNNL_MEMORY_ALLOCATE);
    if (p_dnnl_reorder_primitive_desc_create(&rd, &wp, engine, want, engine, NULL) != dnnl_success || p_dnnl_primitive_create(&re, rd) != dnnl_success)
        return 0;
    dnnl_exec_arg_t ra[2] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, mem[1]}};
    p_dnnl_primitive_execute(re, stream, 2, ra);
    p_dnnl_stream_wait(stream);
    for (int64_t i = 0; bf16 && i < a->m * a->kk; i++) {
        uint32_t u;
        memcpy(&u, a->x + i, 4);
        xb[i] = (uint16_t)(u >> 16);
    }
    p_dnnl_memory_create(&mem[0], &xm, engine, bf16 ? (void *)xb : (void *)a->x);
    p_dnnl_memory_create(&mem[2], &ym, engine, a->y);
    p_dnnl_primitive_create(&d->prim, pd);
    d->args[0] = (dnnl_exec_arg_t){DNNL_ARG_SRC, mem[0]};
    d->args[1] = (dnnl_exec_arg_t){DNNL_ARG_WEIGHTS, mem[1]};
    d->args[2] = (dnnl_exec_arg_t){DNNL_ARG_DST, mem[2]};
    p_dnnl_memory_destroy(from);
    p_dnnl_primitive_destroy(re);
    p_dnnl_primitive_desc_destroy(rd);
    p_dnnl_primitive_desc_destroy(pd);
    return 1;
}

static void dnnl_drop(struct onednn *d)
{
    for (int i = 0; i < 3; i++)
        p_dnnl_memory_destroy(d->args[i].memory);
    p_dnnl_primitive_destroy(d->prim);
}
#endif

/* ---- sections -------------------------------------------------------------------------------- */

static struct product product(struct kern *k, int64_t m, int64_t n, int64_t kk, int bf16)
{
    struct product a = {.k = k, .m = m, .n = n, .kk = kk};
    float *w = need(k, n * kk * 4);
    a.x = need(k, m * kk * 4);
    a.y = need(k, m * n * 4);
    for (int64_t i = 0; i < n * kk; i++)
        w[i] = (float)((i * 7919) % 1000) / 1000 - 0.5f;
    for (int64_t i = 0; i < m * kk; i++)
        a.x[i] = (float)((i * 104729) % 1000) / 1000 - 0.5f;
    a.w = (struct kern_weight){.n = n, .k = kk, .prec = bf16 ? KERN_BF16 : KERN_F32, .w = w, .pack = need(k, kern_pack_bytes(k, n, kk, bf16 ? KERN_BF16 : KERN_F32))};
    kern_pack(k, &a.w);
    return a;
}

static void drop(struct product *a)
{
    kern_free(a->k, (void *)(uintptr_t)a->w.w);
    kern_free(a->k, a->w.pack);
    kern_free(a->k, a->x);
    kern_free(a->k, a->y);
}

static void shapes(struct kern *k, const int64_t (*mnk)[3], int n, int dnnl)
{
    printf("%-22s %-5s %10s %10s %10s   %s\n", "M x N x K", "", "hone", "OpenBLAS", "oneDNN", "GFLOP/s; hone / each");
    for (int i = 0; i < n; i++)
        for (int bf16 = 0; bf16 < 2; bf16++) {
            struct product a = product(k, mnk[i][0], mnk[i][1], mnk[i][2], bf16);
            struct side s[3] = {{"hone", run_ours, &a, 0}, {"OpenBLAS", sgemm && !bf16 ? run_openblas : NULL, &a, 0}, {"oneDNN", NULL, NULL, 0}};
            uint16_t *xb = need(k, a.m * a.kk * 2);
#if HAVE_DNNL
            struct onednn d;
            if (dnnl && dnnl_setup(&d, &a, bf16, xb))
                s[2].run = run_dnnl, s[2].ctx = &d;
#endif
            double flop = 2.0 * (double)a.m * (double)a.n * (double)a.kk;
            char label[64];
            race(s, 3, 0.7);
            snprintf(label, sizeof label, "%lld x %lld x %lld", (long long)a.m, (long long)a.n, (long long)a.kk);
            printf("%-22s %-5s %10.1f", label, bf16 ? "bf16" : "f32", flop / s[0].best * 1e-9);
            for (int j = 1; j < 3; j++)
                s[j].run ? printf(" %10.1f", flop / s[j].best * 1e-9) : printf(" %10s", "-");
            for (int j = 1; j < 3; j++)
                s[j].run ? printf("   %.2f", s[j].best / s[0].best) : printf("      -");
            printf("\n");
#if HAVE_DNNL
            if (s[2].run)
                dnnl_drop(&d);
#endif
            kern_free(k, xb);
            drop(&a);
        }
    (void)dnnl;
}

/* ---- gradients ------------------------------------------------------------------------------- */

static void run_dgrad(void *p)
{
    struct product *a = p;
    kern_linear_dgrad(a->k, &(struct kern_linear_dgrad){.dx = a->x, .dy = a->y, .w = &a->w, .m = a->m});
}

static void run_wgrad(void *p)
{
    struct product *a = p;
    kern_linear_wgrad(a->k, &(struct kern_linear_wgrad){.dw = a->dw, .dy = a->y, .x = a->x, .m = a->m, .n = a->n, .k = a->kk, .prec = a->w.prec});
}

static void gradients(struct kern *k)
{
    static const int64_t mnk[][3] = {{2048, 2048, 2048}, {1024, 3072, 768}, {1024, 768, 3072}, {256, 4864, 896}};
    printf("%-22s %-5s %10s %10s %10s   GFLOP/s\n", "gradients: M x N x K", "", "forward", "dgrad", "wgrad");
    for (size_t i = 0; i < sizeof mnk / sizeof *mnk; i++)
        for (int bf16 = 0; bf16 < 2; bf16++) {
            struct product a = product(k, mnk[i][0], mnk[i][1], mnk[i][2], bf16);
            struct side s[3] = {{"fwd", run_ours, &a, 0}, {"dgrad", run_dgrad, &a, 0}, {"wgrad", run_wgrad, &a, 0}};
            double flop = 2.0 * (double)a.m * (double)a.n * (double)a.kk;
            char label[64];
            a.dw = need(k, a.n * a.kk * 4);
            race(s, 3, 0.8);
            snprintf(label, sizeof label, "%lld x %lld x %lld", (long long)a.m, (long long)a.n, (long long)a.kk);
            printf("%-22s %-5s %10.1f %10.1f %10.1f\n", label, bf16 ? "bf16" : "f32", flop / s[0].best * 1e-9, flop / s[1].best * 1e-9, flop / s[2].best * 1e-9);
            kern_free(k, a.dw);
            drop(&a);
        }
}

/* ---- FP8 and experts -------------------------------------------------------------------------- */

static void fp8(struct kern *k)
{
    static const int64_t mnk[][3] = {{2048, 2048, 2048}, {1024, 3072, 768}, {64, 1408, 2048}, {1, 4096, 4096}};
    printf("%-22s %10s %10s   %s\n", "FP8: M x N x K", "bf16", "fp8", "GFLOP/s forward; fp8 / bf16 forward, dgrad, wgrad");
    for (size_t i = 0; i < sizeof mnk / sizeof *mnk; i++) {
        struct product a = product(k, mnk[i][0], mnk[i][1], mnk[i][2], 1), b = product(k, mnk[i][0], mnk[i][1], mnk[i][2], 1);
        kern_free(k, b.w.pack);
        b.w.prec = KERN_FP8;
        b.w.pack = need(k, kern_pack_bytes(k, b.n, b.kk, KERN_FP8));
        kern_pack(k, &b.w);
        a.dw = need(k, a.n * a.kk * 4);
        b.dw = need(k, a.n * a.kk * 4);
        struct side s[6] = {{"", run_ours, &a, 0}, {"", run_ours, &b, 0}, {"", run_dgrad, &a, 0}, {"", run_dgrad, &b, 0}, {"", run_wgrad, &a, 0}, {"", run_wgrad, &b, 0}};
        double flop = 2.0 * (double)a.m * (double)a.n * (double)a.kk;
        char label[64];
        race(s, 6, 1.5);
        snprintf(label, sizeof label, "%lld x %lld x %lld", (long long)a.m, (long long)a.n, (long long)a.kk);
        printf("%-22s %10.1f %10.1f   %.2f %.2f %.2f\n", label, flop / s[0].best * 1e-9, flop / s[1].best * 1e-9, s[0].best / s[1].best, s[2].best / s[3].best, s[4].best / s[5].best);
        kern_free(k, a.dw);
        kern_free(k, b.dw);
        drop(&a);
        drop(&b);
    }
}

enum { EXPERTS = 16 };

struct experts {
    struct kern *k;
    struct kern_weight w[EXPERTS];
    int32_t first[EXPERTS + 1];
    float *x, *y;
};

static void run_group(void *p)
{
    struct experts *a = p;
    kern_group(a->k, &(struct kern_group){.y = a->y, .x = a->x, .w = a->w, .first = a->first, .n_experts = EXPERTS});
}

static void experts(struct kern *k)
{
    static const int64_t nk[][2] = {{1408, 2048}, {256, 512}};
    printf("experts: 64 tokens each, %d experts, against one product of 1024 rows\n", EXPERTS);
    for (int i = 0; i < 2; i++)
        for (int bf16 = 0; bf16 < 2; bf16++) {
            struct product a = product(k, 64 * EXPERTS, nk[i][0], nk[i][1], bf16);
            struct experts x = {.k = k, .x = a.x, .y = a.y};
            for (int e = 0; e < EXPERTS; e++) {
                x.w[e] = a.w;
                x.w[e].pack = need(k, kern_pack_bytes(k, a.n, a.kk, a.w.prec));
                kern_pack(k, &x.w[e]);
                x.first[e + 1] = 64 * (e + 1);
            }
            struct side s[2] = {{"", run_ours, &a, 0}, {"", run_group, &x, 0}};
            race(s, 2, 1.0);
            printf("  %4lld x %4lld %-5s dense %6.1f GFLOP/s, experts %.2f of it\n", (long long)a.n, (long long)a.kk, bf16 ? "bf16" : "f32",
                   2e-9 * (double)a.m * (double)a.n * (double)a.kk / s[0].best, s[0].best / s[1].best);
            for (int e = 0; e < EXPERTS; e++)
                kern_free(k, x.w[e].pack);
            drop(&a);
        }
}

/* A whole mixture, as model/mixture.c runs it: router, choice, rows by expert, gate and up, SwiGLU, down, combination. */
struct mixture {
    struct kern *k;
    struct kern_weight router, gu[EXPERTS], down[EXPERTS];
    int32_t first[EXPERTS + 1], *ids, *row_of, *token_of;
    float *x, *rows, *guy, *act, *y, *out, *z, *score, *weight;
    int64_t t, c, inner;
};
enum { CHOSEN = 4 };

static void dispatch(struct mixture *a)
{
    const int64_t n = a->t * CHOSEN;
    memset(a->first, 0, sizeof a->first);
    for (int64_t i = 0; i < n; i++)
        a->first[a->ids[i] + 1]++;
    for (int e = 0; e < EXPERTS; e++)
        a->first[e + 1] += a->first[e];
    for (int64_t i = 0; i < n; i++) {
        a->row_of[i] = a->first[a->ids[i]]++;
        a->token_of[a->row_of[i]] = (int32_t)(i / CHOSEN);
    }
    memmove(a->first + 1, a->first, EXPERTS * sizeof *a->first);
    a->first[0] = 0;
}

static void run_mixture(void *p)
{
    struct mixture *a = p;
    const int64_t rows = a->t * CHOSEN;
    kern_linear(a->k, &(struct kern_linear){.y = a->z, .x = a->x, .w = &a->router, .m = a->t});
    kern_route(a->k, &(struct kern_route){.score = a->score, .weight = a->weight, .id = a->ids, .z = a->z, .t = a->t, .e = EXPERTS, .top_k = CHOSEN, .groups = 1, .top_groups = 1,
                                          .normalise = 1, .scale = 1});
    dispatch(a);
    kern_embed(a->k, &(struct kern_embed){.y = a->rows, .table = a->x, .ids = a->token_of, .t = rows, .c = a->c, .v = a->t});
    kern_group(a->k, &(struct kern_group){.y = a->guy, .x = a->rows, .w = a->gu, .first = a->first, .n_experts = EXPERTS});
    kern_swiglu(a->k, &(struct kern_swiglu){.y = a->act, .g = a->guy, .u = a->guy + a->inner, .rows = rows, .c = a->inner, .ldg = 2 * a->inner});
    kern_group(a->k, &(struct kern_group){.y = a->y, .x = a->act, .w = a->down, .first = a->first, .n_experts = EXPERTS});
    kern_moe_sum(a->k, &(struct kern_moe_sum){.y = a->out, .x = a->y, .weight = a->weight, .b = a->x, .row_of = a->row_of, .t = a->t, .c = a->c, .top_k = CHOSEN});
}

/* The same products over all rows at once, and nothing else. */
static void run_dense(void *p)
{
    struct mixture *a = p;
    kern_linear(a->k, &(struct kern_linear){.y = a->guy, .x = a->rows, .w = &a->gu[0], .m = a->t * CHOSEN});
    kern_linear(a->k, &(struct kern_linear){.y = a->y, .x = a->act, .w = &a->down[0], .m = a->t * CHOSEN});
}

static struct kern_weight random_weight(struct kern *k, float *values, int64_t n, int64_t kk, enum kern_prec prec)
{
    struct kern_weight w = {.n = n, .k = kk, .prec = prec, .w = values, .pack = need(k, kern_pack_bytes(k, n, kk, prec))};
    kern_pack(k, &w);
    return w;
}

static void layer(struct kern *k)
{
    static const int64_t ci[][2] = {{2048, 1408}, {512, 256}};
    static const char *const names[] = {"f32", "bf16", "fp8"};
    printf("layer: a mixture, %d of %d experts, 64 tokens each on average, with router, choice and combination, against its products over all rows at once\n", CHOSEN, EXPERTS);
    for (int i = 0; i < 2; i++)
        for (int prec = 0; prec < 3; prec++) {
            struct mixture a = {.k = k, .t = 64 * EXPERTS / CHOSEN, .c = ci[i][0], .inner = ci[i][1]};
            const int64_t rows = a.t * CHOSEN;
            float *w = need(k, 2 * a.inner * a.c * 4);
            for (int64_t j = 0; j < 2 * a.inner * a.c; j++)
                w[j] = rng_f32(1, RNG_TEST, 0, 0, (uint64_t)j) - 0.5f;
            a.router = random_weight(k, w, EXPERTS, a.c, KERN_F32);
            for (int e = 0; e < EXPERTS; e++) {
                a.gu[e] = random_weight(k, w, 2 * a.inner, a.c, (enum kern_prec)prec);
                a.down[e] = random_weight(k, w, a.c, a.inner, (enum kern_prec)prec);
            }
            struct { float **p; int64_t n; } room[] = {{&a.x, a.t * a.c}, {&a.rows, rows * a.c}, {&a.guy, rows * 2 * a.inner}, {&a.act, rows * a.inner}, {&a.y, rows * a.c}, {&a.out, a.t * a.c},
                                                       {&a.z, a.t * EXPERTS}, {&a.score, a.t * EXPERTS}, {&a.weight, rows}};
            for (size_t j = 0; j < sizeof room / sizeof *room; j++)
                *room[j].p = need(k, room[j].n * 4);
            a.ids = need(k, rows * 4), a.row_of = need(k, rows * 4), a.token_of = need(k, rows * 4);
            for (int64_t j = 0; j < a.t * a.c; j++)
                a.x[j] = rng_f32(2, RNG_TEST, 0, 0, (uint64_t)j) - 0.5f;
            run_mixture(&a);
            struct side s[2] = {{"", run_dense, &a, 0}, {"", run_mixture, &a, 0}};
            race(s, 2, 1.0);
            printf("  %4lld, inner %4lld %-5s dense %6.1f GFLOP/s, layer %.2f of it\n", (long long)a.c, (long long)a.inner, names[prec], 6e-9 * (double)(rows * a.c * a.inner) / s[0].best,
                   s[0].best / s[1].best);
            for (int e = 0; e < EXPERTS; e++)
                kern_free(k, a.gu[e].pack), kern_free(k, a.down[e].pack);
            for (size_t j = 0; j < sizeof room / sizeof *room; j++)
                kern_free(k, *room[j].p);
            kern_free(k, a.router.pack), kern_free(k, w), kern_free(k, a.ids), kern_free(k, a.row_of), kern_free(k, a.token_of);
        }
}

/* ---- decode ---------------------------------------------------------------------------------- */

struct stream {
    const float *p;
    int64_t n;
    float sink[PAR_MAX * 16];
};

static void read_range(void *ctx, int64_t begin, int64_t end, int worker)
{
    struct stream *s = ctx;
    typedef float v16 __attribute__((vector_size(64), aligned(64)));
    v16 a = {0}, b = {0}, c = {0}, d = {0};
    const v16 *p = (const v16 *)(const void *)s->p;
    for (int64_t i = begin; i < end; i += 4) {
        a += p[i];
        b += p[i + 1];
        c += p[i + 2];
        d += p[i + 3];
    }
    a += b + c + d;
    s->sink[worker * 16] += a[0];
}

static void run_read(void *p)
{
    struct stream *s = p;
    par_for(s->n / 16, 1 << 14, read_range, s);
}

enum { LAYERS = 24 };

struct layers {
    struct kern *k;
    struct kern_weight w[LAYERS];
    float *x, *y;
    int64_t m;
};

static void run_layers(void *p)
{
    struct layers *l = p;
    for (int i = 0; i < LAYERS; i++)
        kern_linear(l->k, &(struct kern_linear){.y = l->y, .x = l->x, .w = &l->w[i], .m = l->m});
}

/* A stack of matrices far larger than the caches, read once per token. */
static void decode(struct kern *k)
{
    for (int bf16 = 0; bf16 < 2; bf16++) {
        enum { N = 4864, K = 1792 };
        struct layers l = {.k = k};
        enum kern_prec prec = bf16 ? KERN_BF16 : KERN_F32;
        int64_t bytes = kern_pack_bytes(k, N, K, prec);
        float *w = need(k, N * K * 4);
        for (int64_t i = 0; i < N * K; i++)
            w[i] = (float)((i * 7919) % 1000) / 1000 - 0.5f;
        l.x = need(k, 64 * K * 4);
        l.y = need(k, 64 * N * 4);
        for (int64_t i = 0; i < 64 * K; i++)
            l.x[i] = 0.5f;
        for (int i = 0; i < LAYERS; i++) {
            l.w[i] = (struct kern_weight){.n = N, .k = K, .prec = prec, .w = w, .pack = need(k, bytes)};
            kern_pack(k, &l.w[i]);
        }
        struct stream s = {.p = need(k, bytes * LAYERS), .n = bytes * LAYERS / 4};
        memset((void *)(uintptr_t)s.p, 0, (size_t)(bytes * LAYERS));
        double one = 0;
        printf("decode, %d matrices %d x %d %s (%.0f MB): tokens/s is per stack of matrices\n", LAYERS, N, K, bf16 ? "bf16" : "f32", (double)(bytes * LAYERS) * 1e-6);
        for (int64_t m = 1; m <= 64; m *= 2) {
            struct side side[2] = {{"ours", run_layers, &l, 0}, {"read", run_read, &s, 0}};
            l.m = m;
            race(side, 2, 1.0);
            if (m == 1)
                one = side[0].best;
            printf("  batch %2lld  %8.1f tok/s  %5.1f GB/s of weights (reading alone %5.1f, %3.0f %%)  %6.1f GFLOP/s  x%.1f of batch 1\n", (long long)m,
                   (double)m / side[0].best, (double)(bytes * LAYERS) / side[0].best * 1e-9, (double)(bytes * LAYERS) / side[1].best * 1e-9,
                   100 * side[1].best / side[0].best, 2.0 * (double)m * N * K * LAYERS / side[0].best * 1e-9, (double)m * one / side[0].best);
        }
        for (int i = 0; i < LAYERS; i++)
            kern_free(k, l.w[i].pack);
        kern_free(k, w);
        kern_free(k, l.x);
        kern_free(k, l.y);
        kern_free(k, (void *)(uintptr_t)s.p);
    }
}

static int wanted(int argc, char **argv, const char *section)
{
    for (int i = 1; i < argc; i++)
        if (strstr(section, argv[i]))
            return 1;
    return argc < 2;
}

int main(int argc, char **argv)
{
    struct kern *k;
    struct err e = {0};
    int dnnl = 0;
    static const int64_t large[][3] = {{2048, 2048, 2048}, {256, 3072, 768}, {1024, 4864, 896}, {64, 1408, 2048}};
    static const int64_t small[][3] = {{1, 4096, 4096}, {8, 4096, 4096}, {16, 4096, 4096}, {32, 4096, 4096}, {64, 4096, 4096}};
    if (kern_open(&(struct kern_opts){.backend = "cpu"}, &k, &e) != ERR_OK) {
        fprintf(stderr, "%s\n", e.msg);
        return 1;
    }
    if (getenv("BENCH_CPU"))
        which = CLOCK_PROCESS_CPUTIME_ID;
    printf("%s, %d threads, %s time\n", kern_name(k), par_threads(), getenv("BENCH_CPU") ? "processor" : "wall");
    find_openblas();
#if HAVE_DNNL
    dnnl = find_dnnl();
#endif
    if (!dnnl)
        printf("skip: oneDNN 2 is not installed (libdnnl-dev)\n");
    if (wanted(argc, argv, "shapes"))
        shapes(k, large, (int)(sizeof large / sizeof *large), dnnl);
    if (wanted(argc, argv, "small"))
        shapes(k, small, (int)(sizeof small / sizeof *small), dnnl);
    if (wanted(argc, argv, "grad"))
        gradients(k);
    if (wanted(argc, argv, "fp8"))
        fp8(k);
    if (wanted(argc, argv, "experts"))
        experts(k);
    if (wanted(argc, argv, "layer"))
        layer(k);
    if (wanted(argc, argv, "decode"))
        decode(k);
    kern_close(k);
    return 0;
}
