/* Catches: a backward that is not the derivative of its forward (checked by finite differences, not by the same formula again); a row
 * whose bits change with the rows computed beside it; rope tables that are not the published formulas; scratch that grows every step. */
#include "kernels/kernels.h"

#include <malloc.h>
#include <stdio.h>

#include "tests/kern_test.h"

/* ---- finite differences ---------------------------------------------------------------------- */

enum { MAX_VARS = 4 };

struct var {
    const char *name;
    float *p, *grad;
    int64_t n;
};

struct model {
    struct bench b;
    struct var var[MAX_VARS];
    int n;
    double (*loss)(struct model *m);
    void (*backward)(struct model *m);
    float *out, *seed; /* loss = <out, seed> in most cases */
    int64_t n_out;
    struct kern_weight w;
    struct kern_attn attn;
    int32_t *ids;
    float *aux[6];
    int flag;
};

static float *variable(struct model *m, const char *name, int64_t n, uint64_t id, float scale)
{
    struct var *v = &m->var[m->n++];
    *v = (struct var){name, test_in(&m->b, n, id, scale), ARENA_NEW(&m->b.mem, float, n), n};
    return v->p;
}

static float *outputs(struct model *m, int64_t n)
{
    m->n_out = n;
    m->seed = test_in(&m->b, n, 99, 1);
    return m->out = ARENA_NEW(&m->b.mem, float, n);
}

static double weighed(const struct model *m)
{
    double s = 0;
    for (int64_t i = 0; i < m->n_out; i++)
        s += (double)m->out[i] * (double)m->seed[i];
    return s;
}

static void start(struct model *m, const char *backend)
{
    *m = (struct model){.n = 0};
    arena_init(&m->b.mem, "gradient test", (int64_t)1 << 30);
    m->b.k = test_kern(backend, KERN_BEST);
}

/* Along random directions: (L(v + h d) - L(v - h d)) / 2h = <grad, d>. h = 2^-7 keeps truncation near 1e-4 and rounding near 1e-5. */
static void check(struct model *m)
{
    m->loss(m);
    m->backward(m);
    for (int i = 0; i < m->n; i++)
        for (uint64_t dir = 0; dir < 3; dir++) {
            struct var *v = &m->var[i];
            float *save = ARENA_NEW(&m->b.mem, float, v->n), *d = ARENA_NEW(&m->b.mem, float, v->n);
            double want = 0, scale = 0, h = 0x1p-7, side[2];
            memcpy(save, v->p, (size_t)v->n * 4);
            test_fill(d, v->n, 1000 + dir, 1);
            for (int64_t k = 0; k < v->n; k++) {
                want += (double)v->grad[k] * (double)d[k];
                scale += (double)v->grad[k] * (double)v->grad[k];
            }
            for (int s = 0; s < 2; s++) {
                for (int64_t k = 0; k < v->n; k++)
                    v->p[k] = save[k] + (float)(s ? -h : h) * d[k];
                side[s] = m->loss(m);
            }
            memcpy(v->p, save, (size_t)v->n * 4);
            double got = (side[0] - side[1]) / (2 * h);
            if (!(fabs(got - want) <= 2e-3 * (fabs(want) + sqrt(scale)) + 1e-6))
                fail_msg("%s: gradient of %s: %g along a direction, differences say %g", kern_name(m->b.k), v->name, want, got);
        }
    kern_close(m->b.k);
    arena_release(&m->b.mem);
}

static double linear_loss(struct model *m)
{
    kern_pack(m->b.k, &m->w);
    kern_linear(m->b.k, &(struct kern_linear){.y = m->out, .x = m->var[0].p, .w = &m->w, .bias = m->var[2].p, .m = 5});
    return weighed(m);
}

static void linear_backward(struct model *m)
{
    kern_linear_dgrad(m->b.k, &(struct kern_linear_dgrad){.dx = m->var[0].grad, .dy = m->seed, .w = &m->w, .m = 5});
    kern_linear_wgrad(m->b.k, &(struct kern_linear_wgrad){
        .dw = m->var[1].grad, .dbias = m->var[2].grad, .dy = m->seed, .x = m->var[0].p, .m = 5, .n = m->w.n, .k = m->w.k, .prec = m->w.prec,
    });
}

static void linear_case(const char *backend)
{
    struct model m;
    start(&m, backend);
    variable(&m, "x", 5 * 9, 1, 1);
    m.w = (struct kern_weight){.n = 7, .k = 9, .prec = KERN_F32, .w = variable(&m, "w", 7 * 9, 2, 1)};
    m.w.pack = ARENA_NEW(&m.b.mem, char, kern_pack_bytes(m.b.k, 7, 9, KERN_F32));
    variable(&m, "bias", 7, 3, 1);
    outputs(&m, 5 * 7);
    m.loss = linear_loss;
    m.backward = linear_backward;
    check(&m);
}

static double norm_loss(struct model *m)
{
    kern_rmsnorm(m->b.k, &(struct kern_rmsnorm){.y = m->out, .x = m->var[0].p, .w = m->var[1].p, .rows = 6, .c = 20, .eps = 1e-5f});
    return weighed(m);
}

static void norm_backward(struct model *m)
{
    kern_rmsnorm_bwd(m->b.k, &(struct kern_rmsnorm_bwd){
        .dx = m->var[0].grad, .dw = m->var[1].grad, .dy = m->seed, .x = m->var[0].p, .w = m->var[1].p, .rows = 6, .c = 20, .eps = 1e-5f,
    });
}

static void norm_case(const char *backend)
{
    struct model m;
    start(&m, backend);
    variable(&m, "x", 6 * 20, 1, 1);
    variable(&m, "w", 20, 2, 1);
    outputs(&m, 6 * 20);
    m.loss = norm_loss;
    m.backward = norm_backward;
    check(&m);
}

static double swiglu_loss(struct model *m)
{
    kern_swiglu(m->b.k, &(struct kern_swiglu){.y = m->out, .g = m->var[0].p, .u = m->var[1].p, .rows = 4, .c = 19});
    return weighed(m);
}

static void swiglu_backward(struct model *m)
{
    kern_swiglu_bwd(m->b.k, &(struct kern_swiglu_bwd){.dg = m->var[0].grad, .du = m->var[1].grad, .dy = m->seed, .g = m->var[0].p, .u = m->var[1].p, .rows = 4, .c = 19});
}

static void swiglu_case(const char *backend)
{
    struct model m;
    start(&m, backend);
    variable(&m, "g", 4 * 19, 1, 3);
    variable(&m, "u", 4 * 19, 2, 1);
    outputs(&m, 4 * 19);
    m.loss = swiglu_loss;
    m.backward = swiglu_backward;
    check(&m);
}

static void rope_run(struct model *m, float *x, int inverse)
{
    kern_rope(m->b.k, &(struct kern_rope){
        .x = x, .pos = m->ids, .cos_sin = m->aux[0], .t = 3, .h = 2, .d = 8, .first = 2, .ldx = 20, .head_stride = 10, .interleaved = m->flag, .inverse = inverse,
    });
}

static double rope_loss(struct model *m)
{
    memcpy(m->out, m->var[0].p, (size_t)m->n_out * 4);
    rope_run(m, m->out, 0);
    return weighed(m);
}

static void rope_backward(struct model *m)
{
    memcpy(m->var[0].grad, m->seed, (size_t)m->n_out * 4);
    rope_run(m, m->var[0].grad, 1);
}

static void rope_case(const char *backend)
{
    for (int interleaved = 0; interleaved < 2; interleaved++) {
        struct model m;
        start(&m, backend);
        m.flag = interleaved;
        variable(&m, "x", 60, 1, 1);
        outputs(&m, 60);
        m.aux[0] = ARENA_NEW(&m.b.mem, float, 10 * 8);
        m.ids = ARENA_NEW(&m.b.mem, int32_t, 3);
        m.ids[0] = 7, m.ids[1] = 0, m.ids[2] = 9;
        kern_rope_table(&(struct kern_rope_spec){.d = 8, .theta = 100}, 10, m.aux[0]);
        m.loss = rope_loss;
        m.backward = rope_backward;
        check(&m);
    }
}

static double attn_loss(struct model *m)
{
    kern_attn(m->b.k, &m->attn);
    return weighed(m);
}

static void attn_backward(struct model *m)
{
    const struct kern_attn *a = &m->attn;
    kern_attn_bwd(m->b.k, &(struct kern_attn_bwd){
        .dq = m->var[0].grad, .dk = m->var[1].grad, .dv = m->var[2].grad, .dout = m->seed, .o = a->o, .lse = a->lse, .q = a->q, .kv = a->kv,
        .cu_q = a->cu_q, .n_seq = a->n_seq, .hq = a->hq, .hkv = a->hkv, .d_k = a->dk, .d_v = a->dv, .ldq = a->ldq, .ldo = a->ldo, .scale = a->scale,
    });
}

static void attn_case(const char *backend)
{
    enum { T = 72, HQ = 4, HKV = 2, DK = 6, DV = 5 };
    static const int32_t cu[] = {0, 66, 72}, len[] = {66, 6};
    struct model m;
    start(&m, backend);
    m.attn = (struct kern_attn){
        .q = variable(&m, "q", T * HQ * DK, 1, 1), .kv = {.k = variable(&m, "k", T * HKV * DK, 2, 1), .v = variable(&m, "v", T * HKV * DV, 3, 1),
        .cu_k = cu, .ldk = HKV * DK, .ldv = HKV * DV, .head_stride_k = DK, .head_stride_v = DV}, .cu_q = cu, .kv_len = len, .n_seq = 2, .hq = HQ,
        .hkv = HKV, .dk = DK, .dv = DV, .ldq = HQ * DK, .ldo = HQ * DV, .scale = 0.5f,
    };
    m.attn.o = outputs(&m, T * HQ * DV);
    m.attn.lse = ARENA_NEW(&m.b.mem, float, T * HQ);
    m.loss = attn_loss;
    m.backward = attn_backward;
    check(&m);
}

/* L = sum g logp + ge entropy. */
static double head_loss(struct model *m)
{
    double s = 0;
    kern_pack(m->b.k, &m->w);
    kern_head(m->b.k, &(struct kern_head){.logp = m->aux[0], .lse = m->aux[1], .entropy = m->aux[2], .x = m->var[0].p, .w = &m->w, .target = m->ids, .t = 6, .temperature = 0.8f});
    for (int64_t t = 0; t < 6; t++)
        s += (double)m->aux[3][t] * (double)m->aux[0][t] + (double)m->aux[4][t] * (double)m->aux[2][t];
    return s;
}

static void head_backward(struct model *m)
{
    kern_head_bwd(m->b.k, &(struct kern_head_bwd){
        .dx = m->var[0].grad, .dw = m->var[1].grad, .x = m->var[0].p, .lse = m->aux[1], .entropy = m->aux[2], .g = m->aux[3], .ge = m->aux[4],
        .w = &m->w, .target = m->ids, .t = 6, .temperature = 0.8f,
    });
}

static void head_case(const char *backend)
{
    enum { V = 1100, C = 7 };
    struct model m;
    start(&m, backend);
    variable(&m, "x", 6 * C, 1, 1);
    m.w = (struct kern_weight){.n = V, .k = C, .prec = KERN_F32, .w = variable(&m, "w", V * C, 2, 1)};
    m.w.pack = ARENA_NEW(&m.b.mem, char, kern_pack_bytes(m.b.k, V, C, KERN_F32));
    m.ids = ARENA_NEW(&m.b.mem, int32_t, 6);
    for (int i = 0; i < 6; i++)
        m.ids[i] = i == 2 ? -1 : (i * 401) % V;
    for (int i = 0; i < 5; i++)
        m.aux[i] = test_in(&m.b, 6, (uint64_t)i + 5, 1);
    m.loss = head_loss;
    m.backward = head_backward;
    check(&m);
}

static void test_differences(void **state)
{
    (void)state;
    static void (*const cases[])(const char *) = {linear_case, norm_case, swiglu_case, rope_case, attn_case, head_case};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cases[i]("ref");
        cases[i]("cpu");
    }
}

/* ---- the rows beside ------------------------------------------------------------------------- */

/* Random subsets of the rows of a forward, in another order, have the bits of the whole. A GEMM that splits its reduction by M or by
 * threads (split-K), or a small-M path with other sums, fails here. */
static void test_subsets(void **state)
{
    (void)state;
    enum { M = 300, N = 130, K = 1200, V = 2100 };
    for (int trial = 0; trial < 40; trial++) {
        struct bench b = {.n = 0};
        arena_init(&b.mem, "subset", (int64_t)1 << 30);
        b.k = test_kern("cpu", trial % 4 == 3 && kern_has_isa(KERN_AVX2) ? KERN_AVX2 : KERN_BEST);
        enum kern_prec prec = trial & 1 ? KERN_BF16 : KERN_F32;
        struct kern_weight w = test_weight(&b, N, K, prec, 1), head = test_weight(&b, V, N, prec, 2);
        float *x = test_in(&b, M * K, 3, 1), *part = ARENA_NEW(&b.mem, float, M * K), *norm = test_in(&b, N, 4, 1);
        float *y[2], *lp[2], *lse[2];
        int32_t *target[2];
        for (int i = 0; i < 2; i++) {
            y[i] = ARENA_NEW(&b.mem, float, M * N);
            lp[i] = ARENA_NEW(&b.mem, float, M);
            lse[i] = ARENA_NEW(&b.mem, float, M);
            target[i] = ARENA_NEW(&b.mem, int32_t, M);
        }
        int64_t pick[M], perm[M], n = 1 + (int64_t)rng_below(trial % 2 ? 9 : M, (uint64_t)trial, RNG_TEST, 0, 0, 1);
        rng_permutation(perm, M, (uint64_t)trial, RNG_TEST, 5);
        for (int64_t i = 0; i < M; i++)
            target[0][i] = (int32_t)((i * 97) % V);
        for (int64_t i = 0; i < n; i++) {
            pick[i] = perm[i];
            target[1][i] = target[0][pick[i]];
            memcpy(part + i * K, x + pick[i] * K, K * 4);
        }
        for (int i = 0; i < 2; i++) {
            int64_t m = i ? n : M;
            par_init(1 + (trial + i) % 3);
            kern_linear(b.k, &(struct kern_linear){.y = y[i], .x = i ? part : x, .w = &w, .m = m});
            kern_rmsnorm(b.k, &(struct kern_rmsnorm){.y = y[i], .x = y[i], .w = norm, .rows = m, .c = N, .eps = 1e-6f});
            kern_swiglu(b.k, &(struct kern_swiglu){.y = y[i], .g = y[i], .u = y[i], .rows = m, .c = N});
            kern_head(b.k, &(struct kern_head){.logp = lp[i], .lse = lse[i], .x = y[i], .w = &head, .target = target[i], .t = m, .temperature = 1});
        }
        for (int64_t i = 0; i < n; i++) {
            assert_memory_equal(y[1] + i * N, y[0] + pick[i] * N, N * 4);
            assert_memory_equal(lp[1] + i, lp[0] + pick[i], 4);
            assert_memory_equal(lse[1] + i, lse[0] + pick[i], 4);
        }
        test_done(&b);
    }
    par_init(0);
}

static float rounded(float x)
{
    uint32_t u;
    memcpy(&u, &x, 4);
    u = (u + 0x7FFF + (u >> 16 & 1)) & 0xFFFF0000;
    memcpy(&x, &u, 4);
    return x;
}

/* The sum has exactly the order that the header gives: one fma chain, pairs odd first for bf16. */
static void test_chain(void **state)
{
    (void)state;
    enum { K = 2051 };
    struct bench b = {.n = 0};
    arena_init(&b.mem, "chain", (int64_t)1 << 30);
    b.k = test_kern("cpu", KERN_BEST);
    for (int prec = 0; prec < 2; prec++) {
        struct kern_weight w = test_weight(&b, 3, K, (enum kern_prec)prec, 1);
        float *x = test_in(&b, K, 2, 1), y[3];
        kern_linear(b.k, &(struct kern_linear){.y = y, .x = x, .w = &w, .m = 1});
        for (int n = 0; n < 3; n++) {
            float s = 0;
            for (int64_t i = 0; i < K + K % 2; i++) {
                int64_t at = prec ? (i ^ 1) : i; /* the odd element of a pair comes first */
                if (at < K)
                    s = prec ? fmaf(rounded(x[at]), rounded(w.w[n * K + at]), s) : fmaf(x[at], w.w[n * K + at], s);
            }
            assert_memory_equal(&s, &y[n], 4);
        }
    }
    test_done(&b);
}

static void run_tiny(struct bench *b, const void *arg)
{
    const enum kern_prec prec = *(const enum kern_prec *)arg;
    enum { M = 7, N = 70, K = 300 };
    float *w = test_in(b, N * K, 1, 1e-19f), *x = test_in(b, M * K, 2, prec == KERN_FP8 ? 1e-26f : 3e-19f);
    for (int64_t i = 0; i < M * K; i += 7)
        x[i] = i % 2 ? 1e-39f : -1e-40f; /* denormal inputs */
    struct kern_weight weight = {.n = N, .k = K, .prec = prec, .w = w, .pack = ARENA_NEW(&b->mem, char, kern_pack_bytes(b->k, N, K, prec))};
    kern_pack(b->k, &weight);
    kern_linear(b->k, &(struct kern_linear){.y = test_out(b, "y", M * N, 0), .x = x, .w = &weight, .m = M});
}

/* Sums around the smallest normal number: an emulation of vdpbf16ps that keeps denormals has other bits. */
static void test_denormals(void **state)
{
    (void)state;
    for (enum kern_prec prec = KERN_BF16; prec <= KERN_FP8; prec++) {
        struct bench a, b;
        test_run(&a, "cpu", KERN_BEST, run_tiny, &prec);
        for (enum kern_isa isa = KERN_PORTABLE; isa <= KERN_AVX512BF16; isa++)
            if (kern_has_isa(isa)) {
                test_run(&b, "cpu", isa, run_tiny, &prec);
                test_same(&a, &b);
                test_done(&b);
            }
        test_done(&a);
    }
}

/* ---- rope tables ----------------------------------------------------------------------------- */

static void near(double got, double want, double tol)
{
    if (!(fabs(got - want) <= tol * fabs(want)))
        fail_msg("%.12g, not %.12g", got, want);
}

static void test_rope_tables(void **state)
{
    (void)state;
    double inv[64], factor, base[64];
    struct kern_rope_spec plain = {.d = 64, .theta = 10000}, s = plain;
    kern_rope_freqs(&plain, base, &factor);
    for (int i = 0; i < 32; i++)
        near(base[i], pow(10000, -2.0 * i / 64), 1e-14);
    assert_true(factor == 1);
    s.type = KERN_ROPE_LINEAR, s.factor = 4;
    kern_rope_freqs(&s, inv, &factor);
    for (int i = 0; i < 32; i++)
        near(inv[i], base[i] / 4, 1e-15);
    /* DeepSeek-V3: factor 40 over 4096, ramp from 10 to 23, factor on cos and sin 1; published spot values */
    s = (struct kern_rope_spec){.type = KERN_ROPE_YARN, .d = 64, .theta = 10000, .factor = 40, .beta_fast = 32, .beta_slow = 1, .mscale = 1,
                                .mscale_all_dim = 1, .truncate = 1, .original_max_position = 4096};
    kern_rope_freqs(&s, inv, &factor);
    near(inv[0], 1, 1e-15);
    near(inv[10], 0.0562341325, 1e-8);
    near(inv[11], 0.0390069266, 1e-8);
    near(inv[16], 0.0055, 1e-8);
    near(inv[23], 3.33380358e-5, 1e-8);
    near(inv[31], 3.33380358e-6, 1e-8);
    near(factor, 1, 1e-15);
    s.mscale_all_dim = 0;
    kern_rope_freqs(&s, inv, &factor);
    near(factor, 1.3688879454, 1e-9);
    s.attention_factor = 1.25;
    kern_rope_freqs(&s, inv, &factor);
    near(factor, 1.25, 0);
    /* Llama 3: long waves divided by 8, short ones kept, smooth between */
    s = (struct kern_rope_spec){.type = KERN_ROPE_LLAMA3, .d = 128, .theta = 500000, .factor = 8, .low_freq_factor = 1, .high_freq_factor = 4, .original_max_position = 8192};
    kern_rope_freqs(&s, inv, &factor);
    int kept = 0, cut = 0;
    for (int i = 0; i < 64; i++) {
        double b = pow(500000, -2.0 * i / 128), wave = 2 * M_PI / b, smooth = (8192 / wave - 1) / 3;
        near(inv[i], wave < 2048 ? b : wave > 8192 ? b / 8 : (1 - smooth) * b / 8 + smooth * b, 1e-13);
        kept += wave < 2048;
        cut += wave > 8192;
    }
    assert_true(kept > 20 && cut > 20 && kept + cut < 64);
    /* the table: float64 angles rounded once, at small and large positions */
    static float table[70000 * 64];
    plain.theta = 1000000;
    kern_rope_table(&plain, 70000, table);
    int64_t off = 0;
    for (int64_t p = 0; p < 70000; p += 997)
        for (int64_t i = 0; i < 32; i++) {
            double a = (double)p * pow(1e6, -2.0 * (double)i / 64);
            float c = table[(p * 32 + i) * 2], sn = table[(p * 32 + i) * 2 + 1];
            assert_true(fabs((double)c - cos(a)) <= 6.1e-8 && fabs((double)sn - sin(a)) <= 6.1e-8);
            off += c != (float)cos(a);
            off += sn != (float)sin(a);
        }
    assert_true(off < 10); /* a rounding boundary within 1e-11 is rare */
}

/* ---- memory ---------------------------------------------------------------------------------- */

static long mapped(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%ld", &pages), 1);
    fclose(f);
    return pages;
}

static void test_warm(void **state)
{
    (void)state;
    struct bench b = {.n = 0};
    arena_init(&b.mem, "warm", (int64_t)1 << 28);
    b.k = test_kern("cpu", KERN_BEST);
    par_init(2);
    struct kern_weight w = test_weight(&b, 200, 300, KERN_BF16, 1);
    float *x = test_in(&b, 500 * 300, 2, 1), *y = ARENA_NEW(&b.mem, float, 500 * 200), *dx = ARENA_NEW(&b.mem, float, 500 * 300), *dw = ARENA_NEW(&b.mem, float, 200 * 300);
    long before = 0;
    size_t heap = 0;
    for (int step = 0; step < 20; step++) {
        kern_linear(b.k, &(struct kern_linear){.y = y, .x = x, .w = &w, .m = 500 - step});
        kern_linear_dgrad(b.k, &(struct kern_linear_dgrad){.dx = dx, .dy = y, .w = &w, .m = 500 - step});
        kern_linear_wgrad(b.k, &(struct kern_linear_wgrad){.dw = dw, .dy = y, .x = x, .m = 500 - step, .n = 200, .k = 300, .prec = KERN_BF16});
        if (step == 0)
            before = mapped(), heap = mallinfo2().uordblks;
    }
    assert_true(mapped() == before && mallinfo2().uordblks == heap);
    test_done(&b);
    par_init(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_differences), cmocka_unit_test(test_subsets), cmocka_unit_test(test_chain), cmocka_unit_test(test_denormals), cmocka_unit_test(test_rope_tables), cmocka_unit_test(test_warm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
