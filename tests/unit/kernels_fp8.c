/* Catches: E4M3 or E5M6 codes that are not the nearest; scales on the wrong blocks; runs that are not promoted; groups of experts whose
 * bits differ from the experts one by one; FP8 bits that depend on instruction set, threads or batch. */
#include "kernels/kernels.h"

#include "tests/kern_test.h"

/* All 256 codes against the closed form, all bf16 inputs against a search for the nearest, ties to even. */
static void test_e4m3(void **state)
{
    (void)state;
    double v[127];
    for (int c = 0; c < 127; c++) {
        int e = c >> 3, m = c & 7;
        v[c] = e ? ldexp(1 + m / 8.0, e - 7) : ldexp(m / 8.0, -6);
        assert_true((double)kern_e4m3_value((uint8_t)c) == v[c] && (double)kern_e4m3_value((uint8_t)(c | 0x80)) == -v[c]);
        assert_int_equal(kern_e4m3_code((float)v[c]), c);
    }
    assert_true(isnan(kern_e4m3_value(0x7F)) && isnan(kern_e4m3_value(0xFF)) && v[126] == 448 && signbit(kern_e4m3_value(0x80)));
    struct kern *k = test_kern("cpu", KERN_BEST);
    for (uint32_t h = 0; h < 0x10000; h++) {
        uint32_t u = h << 16;
        float x;
        memcpy(&x, &u, 4);
        int best = 0;
        for (int c = 1; c < 127 && !isnan(x); c++) {
            double old = fabs(v[best] - fabs((double)x)), d = fabs(v[c] - fabs((double)x));
            if (d < old || (d == old && c % 2 == 0 && !isinf(x)))
                best = c;
        }
        if (isinf(x))
            best = 126;
        assert_int_equal(kern_e4m3_code(x), isnan(x) ? 0x7F : best | (signbit(x) ? 0x80 : 0));
    }
    kern_close(k);
}

struct shape {
    int64_t m, n, k, pad;
    int flag; /* pow2; accumulate, extras */
};

static void run_linear(struct bench *b, const void *arg)
{
    const struct shape *s = arg;
    int64_t ldx = s->k + s->pad, ldy = s->n + s->pad;
    struct kern_weight w = test_weight(b, s->n, s->k, KERN_FP8, 1);
    float *x = test_in(b, s->m * ldx, 2, 3), *dy = test_in(b, s->m * ldy, 4, 0.01f), *y = test_in_out(b, "y", s->m * ldy, 2e-6, 3);
    kern_linear(b->k, &(struct kern_linear){.y = y, .x = x, .w = &w, .residual = s->flag ? y : NULL, .m = s->m, .ldx = ldx, .ldy = ldy, .pow2 = s->flag});
    kern_linear_dgrad(b->k, &(struct kern_linear_dgrad){
        .dx = test_in_out(b, "dx", s->m * ldx, 2e-6, 5), .dy = dy, .w = &w, .m = s->m, .lddy = ldy, .lddx = ldx, .accumulate = s->flag, .pow2 = s->flag,
    });
    kern_linear_wgrad(b->k, &(struct kern_linear_wgrad){
        .dw = test_in_out(b, "dw", s->n * s->k, 2e-6, 6), .dy = dy, .x = x, .m = s->m, .n = s->n, .k = s->k, .lddy = ldy, .ldx = ldx, .prec = KERN_FP8, .pow2_dy = s->flag, .pow2_x = s->pad & 1,
    });
}

static void test_linear(void **state)
{
    (void)state;
    static const int64_t mnk[][3] = {{1, 1, 1}, {3, 70, 129}, {7, 130, 300}, {130, 65, 64}, {300, 140, 33}};
    for (size_t i = 0; i < sizeof mnk / sizeof *mnk; i++)
        for (int flag = 0; flag < 2; flag++) {
            struct shape s = {mnk[i][0], mnk[i][1], mnk[i][2], (int64_t)i % 3, flag};
            test_everywhere(run_linear, &s);
        }
}

/* Gradients are scaled whatever their size: 2^-40 of dy gives 2^-40 of dx and dw, bit for bit. */
static void test_small_gradients(void **state)
{
    (void)state;
    for (int cpu = 0; cpu < 2; cpu++) {
        enum { M = 9, N = 130, K = 70 };
        struct bench b = {.n = 0};
        arena_init(&b.mem, "small", (int64_t)1 << 28);
        b.k = test_kern(cpu ? "cpu" : "ref", KERN_BEST);
        struct kern_weight w = test_weight(&b, N, K, KERN_FP8, 1);
        float *dy = test_in(&b, M * N, 2, 0.01f), *x = test_in(&b, M * K, 3, 1), *dx[2], *dw[2];
        for (int small = 0; small < 2; small++) {
            dx[small] = ARENA_NEW(&b.mem, float, M * K);
            dw[small] = ARENA_NEW(&b.mem, float, N * K);
            for (int i = 0; small && i < M * N; i++)
                dy[i] *= 0x1p-40f;
            kern_linear_dgrad(b.k, &(struct kern_linear_dgrad){.dx = dx[small], .dy = dy, .w = &w, .m = M});
            kern_linear_wgrad(b.k, &(struct kern_linear_wgrad){.dw = dw[small], .dy = dy, .x = x, .m = M, .n = N, .k = K, .prec = KERN_FP8});
        }
        for (int i = 0; i < M * K; i++)
            assert_true(dx[1][i] == dx[0][i] * 0x1p-40f);
        for (int i = 0; i < N * K; i++)
            assert_true(dw[1][i] == dw[0][i] * 0x1p-40f);
        test_done(&b);
    }
}

/* ---- experts --------------------------------------------------------------------------------- */

enum { E = 5, N = 70, K = 150 };
static const int32_t first[E + 1] = {0, 3, 3, 140, 141, 150};

static void run_group(struct bench *b, const void *arg)
{
    enum kern_prec prec = *(const enum kern_prec *)arg;
    struct kern_weight w[E];
    float *dw[E], *x = test_in(b, 150 * K, 2, 1), *dy = test_in(b, 150 * N, 3, 1), *all = test_in_out(b, "dw", E * N * K, 2e-6, 4);
    for (int e = 0; e < E; e++) {
        w[e] = test_weight(b, N, K, prec, 10 + (uint64_t)e);
        dw[e] = all + e * N * K;
    }
    float *y = test_out(b, "y", 150 * N, 2e-6), *dx = test_out(b, "dx", 150 * K, 2e-6);
    kern_group(b->k, &(struct kern_group){.y = y, .x = x, .w = w, .first = first, .n_experts = E});
    kern_group_dgrad(b->k, &(struct kern_group_dgrad){.dx = dx, .dy = dy, .w = w, .first = first, .n_experts = E});
    kern_group_wgrad(b->k, &(struct kern_group_wgrad){.dw = dw, .dy = dy, .x = x, .first = first, .n_experts = E, .n = N, .k = K, .prec = prec});
    /* one by one: the same bits */
    for (int e = 0; e < E && strcmp(kern_name(b->k), "ref"); e++) {
        int64_t m = first[e + 1] - first[e], r = first[e];
        float *one = ARENA_NEW(&b->mem, float, 150 * (K + N));
        kern_linear(b->k, &(struct kern_linear){.y = one, .x = x + r * K, .w = &w[e], .m = m});
        assert_memory_equal(one, y + r * N, (size_t)(m * N) * 4);
        kern_linear_dgrad(b->k, &(struct kern_linear_dgrad){.dx = one, .dy = dy + r * N, .w = &w[e], .m = m});
        assert_memory_equal(one, dx + r * K, (size_t)(m * K) * 4);
    }
}

static void test_group(void **state)
{
    (void)state;
    for (enum kern_prec prec = KERN_F32; prec <= KERN_FP8; prec++)
        test_everywhere(run_group, &prec);
}

/* Codes and scales of a checkpoint go in and out unchanged, and give the product of their values. */
static void test_bytes(void **state)
{
    (void)state;
    for (int cpu = 0; cpu < 2; cpu++) {
        struct bench b = {.n = 0};
        arena_init(&b.mem, "bytes", (int64_t)1 << 28);
        b.k = test_kern(cpu ? "cpu" : "ref", KERN_BEST);
        struct kern_weight w = {.n = 200, .k = 131, .prec = KERN_FP8};
        uint8_t *codes = ARENA_NEW(&b.mem, uint8_t, 200 * 131), *back = ARENA_NEW(&b.mem, uint8_t, 200 * 131);
        float scale[4] = {0.5f, 0.03f, 3e-5f, 2}, out[4], x[131], y[200];
        w.pack = ARENA_NEW(&b.mem, char, kern_pack_bytes(b.k, 200, 131, KERN_FP8));
        for (int64_t i = 0; i < 200 * 131; i++)
            codes[i] = (uint8_t)(i * 7 % 127 | (i % 3 == 0 ? 0x80 : 0));
        kern_pack_fp8(b.k, &w, codes, scale);
        kern_unpack_fp8(b.k, &w, back, out);
        assert_memory_equal(codes, back, 200 * 131);
        assert_memory_equal(scale, out, sizeof scale);
        for (int i = 0; i < 131; i++)
            x[i] = kern_e4m3_value((uint8_t)(i % 120)) * 0.25f;
        x[0] = 112, x[128] = 112; /* 448 / 4: the scale of both groups is 1/4, so x is exact in E4M3 */
        kern_linear(b.k, &(struct kern_linear){.y = y, .x = x, .w = &w, .m = 1});
        for (int n = 0; n < 200; n++) {
            double s = 0, top = 0;
            for (int i = 0; i < 131; i++) {
                double t = (double)x[i] * (double)kern_e4m3_value(codes[n * 131 + i]) * (double)scale[n / 128 * 2 + i / 128];
                s += t;
                top += fabs(t);
            }
            assert_true(fabs(s - (double)y[n]) <= 1e-6 * top);
        }
        test_done(&b);
    }
}

/* ---- narrow storage -------------------------------------------------------------------------- */

static void run_narrow(struct bench *b, const void *arg)
{
    const struct shape *s = arg;
    enum kern_narrow format = (enum kern_narrow)(s->flag >> 1);
    int64_t ldx = s->k + s->pad, runs = (s->k + 127) / 128, bytes = kern_narrow_bytes(s->k, format);
    float *x = test_in(b, s->m * ldx, 1, s->flag & 1 ? 1e-3f : 900), *scale = test_out(b, "scale", s->m * runs, 0), *y = test_in_out(b, "x", s->m * ldx, 0, 2);
    float *codes = test_in_out(b, "codes", (s->m * bytes + 3) / 4, 0, 3);
    memset(codes, 0, (size_t)((s->m * bytes + 3) / 4 * 4));
    x[0] = 0;
    kern_quant(b->k, &(struct kern_quant){.codes = (uint8_t *)codes, .scale = scale, .x = x, .rows = s->m, .c = s->k, .ldx = ldx, .format = format, .pow2 = s->flag & 1});
    kern_dequant(b->k, &(struct kern_dequant){.x = y, .codes = (uint8_t *)codes, .scale = scale, .rows = s->m, .c = s->k, .ldx = ldx, .format = format});
    for (int64_t r = 0; r < s->m; r++)
        for (int64_t i = 0; i < s->k; i++) {
            double d = fabs((double)y[r * ldx + i] - (double)x[r * ldx + i]), step = format == KERN_E4M3 ? 0x1p-4 : 0x1p-7;
            assert_true(d <= step * fabs((double)x[r * ldx + i]) + (double)scale[r * runs + i / 128] * (format == KERN_E4M3 ? 0x1p-10 : 0x1p-21));
        }
    for (int64_t i = 0; i < (s->m * bytes + 3) / 4; i++) { /* compared as numbers below: no NaN */
        uint32_t u;
        memcpy(&u, codes + i, 4);
        codes[i] = (float)(u % 0xFFFFFB);
    }
}

static void test_narrow(void **state)
{
    (void)state;
    for (int flag = 0; flag < 4; flag++)
        for (int64_t c = 1; c < 400; c = c * 3 + 1) {
            struct shape s = {5, 0, c, c % 3, flag};
            test_everywhere(run_narrow, &s);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_e4m3), cmocka_unit_test(test_linear), cmocka_unit_test(test_small_gradients), cmocka_unit_test(test_group), cmocka_unit_test(test_bytes), cmocka_unit_test(test_narrow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
