/* Attention of the cpu backend: forward and backward of training shapes against the f32 product rate of the same run, and decode steps
 * against the read bandwidth. BENCH_CPU=1 HONE_THREADS=1: processor time of one thread, for a machine that others load. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/bench.h"
#include "core/par.h"
#include "core/rng.h"
#include "kernels/kernels.h"

static float *noise(struct kern *k, int64_t n)
{
    float *p = need(k, n * 4);
    for (int64_t i = 0; i < n; i++)
        p[i] = (float)((i * 7919) % 2003) / 1001 - 1;
    return p;
}

static double best(void (*run)(void *), void *ctx, double seconds)
{
    double stop = now() + seconds, b = 1e30;
    for (int i = 0; i < 3 || now() < stop; i++) {
        double t = now();
        run(ctx);
        t = now() - t;
        if (i && t < b)
            b = t;
    }
    return b;
}

struct product {
    struct kern *k;
    struct kern_weight w;
    float *x, *y;
};

static void run_product(void *p)
{
    struct product *a = p;
    kern_linear(a->k, &(struct kern_linear){.y = a->y, .x = a->x, .w = &a->w, .m = 512});
}

static double product_rate(struct kern *k)
{
    enum { N = 1024 };
    struct product a = {.k = k, .x = noise(k, 512 * N), .y = need(k, 512 * N * 4)};
    a.w = (struct kern_weight){.n = N, .k = N, .prec = KERN_F32, .w = noise(k, N * N), .pack = need(k, kern_pack_bytes(k, N, N, KERN_F32))};
    kern_pack(k, &a.w);
    return 2.0 * 512 * N * N / best(run_product, &a, 0.5);
}

struct attn {
    struct kern *k;
    struct kern_attn f;
    struct kern_attn_bwd b;
};

static void run_fwd(void *p)
{
    struct attn *a = p;
    kern_attn(a->k, &a->f);
}

static void run_bwd(void *p)
{
    struct attn *a = p;
    kern_attn_bwd(a->k, &a->b);
}

struct shape {
    const char *name;
    int64_t hq, hkv, dk, dv, seqs, len;
};

static struct attn setup(struct kern *k, const struct shape *s, int64_t queries)
{
    struct attn a = {.k = k};
    int64_t tq = s->seqs * queries, tk = s->seqs * s->len;
    int32_t *cu_q = need(k, (s->seqs + 1) * 4), *cu_k = need(k, (s->seqs + 1) * 4), *len = need(k, s->seqs * 4);
    for (int64_t i = 0; i < s->seqs; i++) {
        cu_q[i + 1] = (int32_t)((i + 1) * queries);
        cu_k[i + 1] = (int32_t)((i + 1) * s->len);
        len[i] = (int32_t)s->len;
    }
    a.f = (struct kern_attn){
        .o = need(k, tq * s->hq * s->dv * 4), .lse = need(k, tq * s->hq * 4), .q = noise(k, tq * s->hq * s->dk),
        .kv = {.k = noise(k, tk * s->hkv * s->dk), .v = noise(k, tk * s->hkv * s->dv), .cu_k = cu_k, .ldk = s->hkv * s->dk, .ldv = s->hkv * s->dv,
               .head_stride_k = s->dk, .head_stride_v = s->dv},
        .cu_q = cu_q, .kv_len = len, .n_seq = s->seqs, .hq = s->hq, .hkv = s->hkv, .dk = s->dk, .dv = s->dv, .ldq = s->hq * s->dk,
        .ldo = s->hq * s->dv, .scale = 1 / sqrtf((float)s->dk),
    };
    return a;
}

static void train(struct kern *k)
{
    static const struct shape shapes[] = {
        {"124M: 12 heads of 64", 12, 12, 64, 64, 1, 1024}, {"0.5B: 14/2 heads of 64", 14, 2, 64, 64, 4, 512}, {"8B: 32/8 heads of 128", 32, 8, 128, 128, 1, 512},
        {"short: 12 heads of 64", 12, 12, 64, 64, 32, 64}, {"MLA: 16 heads of 192/128", 16, 16, 192, 128, 1, 512}, {"absorbed: 16/1 of 576/512", 16, 1, 576, 512, 1, 512},
    };
    double rate = product_rate(k);
    printf("f32 products 512 x 1024 x 1024: %.1f GFLOP/s; below: GFLOP/s over the causal half, and the share of that rate\n", rate * 1e-9);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const struct shape *s = &shapes[i];
        struct attn a = setup(k, s, s->len);
        int64_t t = s->seqs * s->len;
        double pairs = (double)s->seqs * (double)s->len * (double)(s->len + 1) / 2 * (double)s->hq, tf, tb;
        run_fwd(&a);
        a.b = (struct kern_attn_bwd){
            .dq = need(k, t * a.f.ldq * 4), .dk = need(k, t * a.f.kv.ldk * 4), .dv = need(k, t * a.f.kv.ldv * 4), .dout = noise(k, t * a.f.ldo),
            .o = a.f.o, .lse = a.f.lse, .q = a.f.q, .kv = a.f.kv, .cu_q = a.f.cu_q, .n_seq = s->seqs, .hq = s->hq, .hkv = s->hkv, .d_k = s->dk,
            .d_v = s->dv, .ldq = a.f.ldq, .ldo = a.f.ldo, .scale = a.f.scale,
        };
        tf = best(run_fwd, &a, 0.5);
        tb = best(run_bwd, &a, 0.5);
        double ff = 2 * pairs * (double)(s->dk + s->dv), fb = 2 * pairs * (double)(3 * s->dk + 2 * s->dv);
        printf("%-26s %4lld x %4lld   forward %6.1f (%2.0f %%)   backward %6.1f (%2.0f %%)\n", s->name, (long long)s->seqs, (long long)s->len, ff / tf * 1e-9,
               100 * ff / tf / rate, fb / tb * 1e-9, 100 * fb / tb / rate);
    }
}

struct stream {
    const float *p;
    int64_t n;
    float sink[PAR_MAX * 16];
};

static void read_range(void *ctx, int64_t begin, int64_t end, int worker)
{
    struct stream *s = ctx;
    typedef float v16 __attribute__((vector_size(64), aligned(64)));
    v16 a = {0}, b = {0};
    const v16 *p = (const v16 *)(const void *)s->p;
    for (int64_t i = begin; i < end; i += 2) {
        a += p[i];
        b += p[i + 1];
    }
    a += b;
    s->sink[worker * 16] += a[0];
}

static void run_read(void *p)
{
    struct stream *s = p;
    par_for(s->n / 16, 1 << 14, read_range, s);
}

static void decode(struct kern *k)
{
    static const struct shape shapes[] = {
        {"0.5B: 14/2 heads of 64", 14, 2, 64, 64, 64, 4096}, {"8B: 32/8 heads of 128", 32, 8, 128, 128, 4, 8192}, {"8B, one sequence", 32, 8, 128, 128, 1, 32768},
        {"absorbed: 128/1 of 576/512", 128, 1, 576, 512, 4, 8192}, {"12 heads of 64", 12, 12, 64, 64, 16, 2048},
    };
    struct stream r = {.n = 1 << 27};
    r.p = need(k, r.n * 4);
    memset((void *)(uintptr_t)r.p, 0, (size_t)r.n * 4);
    printf("decode steps, one query per sequence, paged; reading alone: %.1f GB/s\n", 4e-9 * (double)r.n / best(run_read, &r, 0.5));
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const struct shape *s = &shapes[i];
        struct attn a = setup(k, s, 1);
        int64_t blocks = s->len / KERN_PAGE;
        int32_t *pages = need(k, s->seqs * blocks * 4);
        for (int64_t p = 0; p < s->seqs * blocks; p++)
            pages[p] = (int32_t)(p * 7919 % (s->seqs * blocks)); /* the same memory as pages, in an order of their own */
        a.f.kv = (struct kern_kv){.k = a.f.kv.k, .v = a.f.kv.v, .pages = pages, .max_pages = blocks,
                                  .page_stride_k = s->hkv * KERN_PAGE * s->dk, .page_stride_v = s->hkv * KERN_PAGE * s->dv};
        double t = best(run_fwd, &a, 0.5), bytes = 4.0 * (double)(s->seqs * s->len * s->hkv) * (double)(s->dk + s->dv);
        double flop = 2.0 * (double)(s->seqs * s->len * s->hq) * (double)(s->dk + s->dv);
        printf("%-26s %4lld x %5lld   %6.1f GB/s of cache, %6.1f GFLOP/s\n", s->name, (long long)s->seqs, (long long)s->len, bytes / t * 1e-9, flop / t * 1e-9);
    }
}

int main(void)
{
    struct kern *k;
    struct err e = {0};
    if (getenv("BENCH_CPU"))
        which = CLOCK_PROCESS_CPUTIME_ID;
    if (kern_open(&(struct kern_opts){.backend = "cpu"}, &k, &e) != ERR_OK) {
        fprintf(stderr, "%s\n", e.msg);
        return 1;
    }
    printf("%s, %d threads, %s time\n", kern_name(k), par_threads(), getenv("BENCH_CPU") ? "processor" : "wall");
    train(k);
    decode(k);
    kern_close(k);
    return 0;
}
