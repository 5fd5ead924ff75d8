/* bench/cuda [device] [small]: what a GPU makes of the ops, each beside the limit measured in the same run; without a device it says so.
 * `small`: tiny shapes, to see that the bench itself runs (on cpu). tools/gpu_check.sh runs it, with PyTorch's figures beside. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "core/log.h"
#include "core/par.h"
#include "core/rng.h"
#include "model/model.h"
#include "train/train.h"

static struct kern *k;
static int small;
static double bandwidth; /* bytes/s of a large add, read and written */

static void must(err_code rc, const struct err *e)
{
    if (rc == ERR_OK)
        return;
    fprintf(stderr, "bench: %s\n", e->msg);
    exit(1);
}

static float *numbers(int64_t n, uint64_t id, float scale)
{
    enum { BLOCK = 1 << 20 };
    static float some[BLOCK];
    float *p = need(k, n * 4);
    for (int64_t i = 0; i < BLOCK; i++)
        some[i] = scale * (2 * rng_f32(1, RNG_TEST, id, 0, (uint64_t)i) - 1);
    for (int64_t at = 0; at < n; at += BLOCK)
        kern_put(k, p + at, some, (n - at < BLOCK ? n - at : BLOCK) * 4);
    return p;
}

static void finish(const void *p)
{
    float f;
    kern_get(k, &f, p, 4);
}

/* Seconds of one call: the mean of as many as fill 0.2 s, behind two for warming up. */
#define TIME(out, result, call)                          \
    do {                                                 \
        double once_, began_;                            \
        call;                                            \
        finish(result);                                  \
        began_ = now();                                  \
        call;                                            \
        finish(result);                                  \
        once_ = now() - began_;                          \
        int n_ = once_ > 0.1 ? 2 : (int)(0.2 / once_) + 2; \
        n_ = n_ > 200 ? 200 : n_;                        \
        began_ = now();                                  \
        for (int i_ = 0; i_ < n_; i_++)                  \
            call;                                        \
        finish(result);                                  \
        (out) = (now() - began_) / n_;                   \
    } while (0)

static void bench_memory(void)
{
    const int64_t n = small ? 1 << 20 : 1LL << 28;
    float *a = numbers(n, 1, 1), *b = numbers(n, 2, 1);
    double t;
    TIME(t, a, kern_add(k, &(struct kern_add){.y = a, .a = a, .b = b, .n = n}));
    bandwidth = 12.0 * (double)n / t;
    printf("memory  add of %lld floats               %8.0f GB/s read and written\n", (long long)n, bandwidth / 1e9);
    kern_free(k, a);
    kern_free(k, b);
}

static void bench_gemm(int64_t m, int64_t n, int64_t c, enum kern_prec prec)
{
    float *x = numbers(m * c, 1, 1), *y = numbers(m * n, 2, 1), *master = numbers(n * c, 3, 1), *dw = numbers(n * c, 4, 1);
    struct kern_weight w = {.n = n, .k = c, .prec = prec, .w = master, .pack = need(k, kern_pack_bytes(k, n, c, prec))};
    double fwd, dgrad, wgrad, flops = 2.0 * (double)m * (double)n * (double)c;
    kern_pack(k, &w);
    TIME(fwd, y, kern_linear(k, &(struct kern_linear){.y = y, .x = x, .w = &w, .m = m}));
    TIME(dgrad, x, kern_linear_dgrad(k, &(struct kern_linear_dgrad){.dx = x, .dy = y, .w = &w, .m = m}));
    TIME(wgrad, dw, kern_linear_wgrad(k, &(struct kern_linear_wgrad){.dw = dw, .dy = y, .x = x, .m = m, .n = n, .k = c, .prec = prec}));
    printf("gemm    %s %5lld x %6lld x %5lld      forward %7.1f  dgrad %7.1f  wgrad %7.1f TFLOP/s", prec == KERN_F32 ? "f32 " : "bf16", (long long)m, (long long)n, (long long)c,
           flops / fwd / 1e12, flops / dgrad / 1e12, flops / wgrad / 1e12);
    if (m <= 16)
        printf("   weights at %.0f %% of the add", 100 * (double)(n * c * (prec == KERN_F32 ? 4 : 2)) / fwd / bandwidth);
    printf("\n");
    kern_free(k, x), kern_free(k, y), kern_free(k, master), kern_free(k, dw), kern_free(k, w.pack);
}

static void bench_attn(int64_t t, int64_t hq, int64_t hkv, int64_t d)
{
    const int32_t cu[2] = {0, (int32_t)t}, len = (int32_t)t;
    float *q = numbers(t * hq * d, 1, 1), *kk = numbers(t * hkv * d, 2, 1), *v = numbers(t * hkv * d, 3, 1), *o = numbers(t * hq * d, 4, 1), *lse = numbers(t * hq, 5, 1);
    float *dq = numbers(t * hq * d, 6, 1), *dk = numbers(t * hkv * d, 7, 1), *dv = numbers(t * hkv * d, 8, 1), *dout = numbers(t * hq * d, 9, 1);
    for (int prec = 0; prec < 2; prec++) {
        struct kern_attn a = {.o = o, .lse = lse, .q = q, .kv = {.k = kk, .v = v, .cu_k = cu, .ldk = hkv * d, .ldv = hkv * d, .head_stride_k = d, .head_stride_v = d}, .cu_q = cu,
                              .kv_len = &len, .n_seq = 1, .hq = hq, .hkv = hkv, .dk = d, .dv = d, .ldq = hq * d, .ldo = hq * d, .scale = 0.1f, .prec = (enum kern_prec)prec};
        struct kern_attn_bwd b = {.dq = dq, .dk = dk, .dv = dv, .dout = dout, .o = o, .lse = lse, .q = q, .kv = a.kv, .cu_q = cu, .n_seq = 1, .hq = hq, .hkv = hkv, .d_k = d, .d_v = d,
                                  .ldq = hq * d, .ldo = hq * d, .scale = 0.1f, .prec = (enum kern_prec)prec};
        double fwd, bwd, flops = 2.0 * (double)t * (double)t * (double)hq * (double)d; /* causal: half of the 4 t t h d */
        TIME(fwd, o, kern_attn(k, &a));
        TIME(bwd, dq, kern_attn_bwd(k, &b));
        printf("attn    %s T %lld, heads %lld/%lld of %lld, causal    forward %7.2f  backward %7.2f TFLOP/s\n", prec ? "bf16" : "f32 ", (long long)t, (long long)hq, (long long)hkv,
               (long long)d, flops / fwd / 1e12, 2.5 * flops / bwd / 1e12);
    }
    kern_free(k, q), kern_free(k, kk), kern_free(k, v), kern_free(k, o), kern_free(k, lse), kern_free(k, dq), kern_free(k, dk), kern_free(k, dv), kern_free(k, dout);
}

/* ---- models ------------------------------------------------------------------------------------ */

static struct model_config qwen05b(void)
{
    struct model_config c = {.type = "qwen2", .architecture = "Qwen2ForCausalLM", .vocab = small ? 1000 : 151936, .hidden = small ? 64 : 896, .layers = small ? 2 : 24,
                             .heads = small ? 2 : 14, .kv_heads = 2, .head_dim = small ? 32 : 64, .inter = small ? 100 : 4864, .max_position = 8192, .rms_eps = 1e-6, .init_range = 0.02,
                             .tied = 1, .qkv_bias = 1, .bos = -1, .pad = -1};
    c.rope = (struct kern_rope_spec){.d = c.head_dim, .theta = 1e6, .factor = 1, .truncate = 1, .original_max_position = 8192};
    return c;
}

static void refresh(void *m)
{
    model_refresh(m);
}

static void bench_training(int64_t n_tok)
{
    struct model_config c = qwen05b();
    struct model *m;
    struct err e = {0};
    struct train t;
    int64_t n;
    must(model_create(k, &c, 1, &(struct model_opts){.prec = KERN_BF16, .train = 1}, &m, &e), &e);
    const struct model_param *p = model_params(m, &n);
    struct train_param *params = calloc((size_t)n, sizeof *params);
    float **grads = calloc((size_t)n, sizeof *grads), *g = calloc((size_t)n_tok, 4), *logp = calloc((size_t)n_tok, 4);
    int32_t *ids = calloc((size_t)n_tok, 4), *pos = calloc((size_t)n_tok, 4), *target = calloc((size_t)n_tok, 4), cu[2] = {0, (int32_t)n_tok};
    for (int64_t i = 0; i < n; i++)
        params[i] = (struct train_param){.name = p[i].name, .w = p[i].w, .n = p[i].n, .decay = p[i].decay};
    for (int64_t i = 0; i < n_tok; i++) {
        ids[i] = (int32_t)rng_below((uint64_t)c.vocab, 1, RNG_TEST, 0, 0, (uint64_t)i);
        target[i] = (int32_t)rng_below((uint64_t)c.vocab, 1, RNG_TEST, 1, 0, (uint64_t)i);
        pos[i] = (int32_t)i;
        g[i] = -1.f / (float)n_tok;
    }
    struct train_opts o = {.steps = 1000, .leaves = 1, .lr = 1e-5, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.1, .clip = 1, .moments = TRAIN_F32, .dir = ""};
    must(train_open(&t, &o, &(struct train_target){.k = k, .params = params, .n_params = n, .ctx = m, .refresh = refresh}, &e), &e);
    must(model_reserve(m, &(struct model_room){.tokens = n_tok, .seqs = 1, .train = 1}, &e), &e);
    double began = 0, forward = 0, backward = 0, update = 0;
    const int steps = small ? 3 : 12, warm = 2;
    for (int s = 0; s < steps; s++) {
        struct train_step out;
        began = now();
        train_begin(&t);
        float *leaf = train_leaf(&t);
        for (int64_t i = 0; i < n; i++)
            grads[i] = leaf + t.offset[i];
        model_forward(m, &(struct model_batch){.n_tok = n_tok, .n_seq = 1, .tokens = ids, .positions = pos, .cu_seqlens = cu}, 1);
        finish(p[0].w);
        double a = now();
        model_loss(m, &(struct model_loss){.target = target, .temperature = 1, .logp = logp, .g = g, .grads = grads, .fresh = 1});
        train_leaf_done(&t);
        finish(p[0].w);
        double b = now();
        must(train_end(&t, 1, &out, &e), &e);
        finish(p[0].w);
        if (s >= warm)
            forward += a - began, backward += b - a, update += now() - b;
    }
    double each = (forward + backward + update) / (steps - warm);
    printf("train   Qwen2.5-0.5B shape, bf16, packed %lld  %9.0f tok/s   (forward %.1f ms, head and backward %.1f ms, optimiser %.1f ms)\n", (long long)n_tok, (double)n_tok / each,
           forward / (steps - warm) * 1e3, backward / (steps - warm) * 1e3, update / (steps - warm) * 1e3);
    train_close(&t);
    model_close(m);
    free(params), free(grads), free(g), free(logp), free(ids), free(pos), free(target);
}

static void bench_decode(int n_seq, int32_t context)
{
    struct model_config c = qwen05b();
    struct model *m;
    struct model_cache *cache;
    struct err e = {0};
    enum { MOST = 64 };
    int32_t tokens[MOST], pos[MOST], cu[MOST + 1], len[MOST], *pages = calloc((size_t)n_seq * 64, 4), rows[MOST];
    const int32_t per = (context + KERN_PAGE) / KERN_PAGE + 1;
    float *logits = malloc((size_t)(n_seq * c.vocab) * 4);
    must(model_create(k, &c, 1, &(struct model_opts){.prec = KERN_BF16}, &m, &e), &e);
    must(model_reserve(m, &(struct model_room){.tokens = n_seq, .seqs = n_seq}, &e), &e);
    must(model_cache_open(m, (int64_t)n_seq * per, &cache, &e), &e);
    for (int s = 0; s < n_seq; s++) {
        tokens[s] = s, pos[s] = context, cu[s] = s, len[s] = context + 1, rows[s] = s;
        for (int32_t b = 0; b < per; b++)
            pages[s * per + b] = s * per + b;
    }
    cu[n_seq] = n_seq;
    struct model_step step = {.b = {.n_tok = n_seq, .n_seq = n_seq, .tokens = tokens, .positions = pos, .cu_seqlens = cu}, .kv_len = len, .pages = pages, .max_pages = per};
    double pass, with_logits;
    int64_t n_params;
    TIME(pass, model_params(m, &n_params)[1].w, model_step(m, cache, &step)); /* 1: a norm, which is there without masters */
    double began = now();
    for (int i = 0; i < 10; i++) {
        model_step(m, cache, &step);
        model_logits(m, rows, n_seq, logits);
    }
    with_logits = (now() - began) / 10;
    struct model_size z = model_size(&c);
    double bytes = 2.0 * (double)(z.params - z.embed);
    printf("decode  %2d sequences at %d keys            %9.0f tok/s (%.0f with logits to the host)   layers' weights at %.0f %% of the add\n", n_seq, context, n_seq / pass,
           n_seq / with_logits, 100 * bytes / pass / bandwidth);
    free(pages), free(logits);
    model_cache_close(cache);
    model_close(m);
}

int main(int argc, char **argv)
{
    const char *device = argc > 1 ? argv[1] : "cuda";
    struct err e = {0};
    small = argc > 2 && !strcmp(argv[2], "small");
    par_init(0);
    if (kern_open(&(struct kern_opts){.backend = device}, &k, &e) != ERR_OK) {
        printf("skip: no device (%s)\n", e.msg);
        return 0;
    }
    printf("%s\n", kern_name(k));
    bench_memory();
    static const int64_t shapes[][3] = {{8192, 8192, 8192}, {4096, 9728, 896}, {4096, 896, 4864}, {1024, 151936, 896}, {1, 4096, 4096}, {16, 4096, 4096}, {16, 9728, 896}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        bench_gemm(small ? 1 + shapes[i][0] / 128 : shapes[i][0], small ? 64 : shapes[i][1], small ? 64 : shapes[i][2], KERN_BF16);
    bench_gemm(small ? 64 : 2048, small ? 64 : 2048, small ? 64 : 2048, KERN_F32);
    bench_attn(small ? 100 : 8192, small ? 4 : 16, small ? 2 : 4, small ? 32 : 128);
    fflush(stdout);
    bench_training(small ? 64 : 4096);
    for (int n = 1; n <= 64; n *= 4)
        bench_decode(n, small ? 70 : 1024);
    kern_close(k);
    return 0;
}
