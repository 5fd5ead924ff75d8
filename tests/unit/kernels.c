/* Catches: an op that is wrong, reads or writes beyond its arrays, leaves an output element unwritten, or whose bits depend on the
 * instruction set, the threads or the rows beside it. Attention has its own program (kernels_attn.c). */
#include "kernels/kernels.h"

#include "tests/kern_test.h"

/* ---- linears --------------------------------------------------------------------------------- */

struct shape {
    int64_t m, n, k, pad;
    enum kern_prec prec;
    int extras; /* bias, residual; accumulate */
};

static void run_linear(struct bench *b, const void *arg)
{
    const struct shape *s = arg;
    int64_t ldx = s->k + s->pad, ldy = s->n + s->pad;
    struct kern_weight w = test_weight(b, s->n, s->k, s->prec, 1);
    float *x = test_in(b, s->m * ldx, 2, 1), *y = test_in_out(b, "y", s->m * ldy, 2e-6, 3);
    kern_linear(b->k, &(struct kern_linear){
        .y = y, .x = x, .w = &w, .bias = s->extras ? test_in(b, s->n, 4, 1) : NULL, .residual = s->extras ? y : NULL, .m = s->m, .ldx = ldx, .ldy = ldy,
    });
}

static void run_dgrad(struct bench *b, const void *arg)
{
    const struct shape *s = arg;
    int64_t lddx = s->k + s->pad, lddy = s->n + s->pad;
    struct kern_weight w = test_weight(b, s->n, s->k, s->prec, 1);
    float *dy = test_in(b, s->m * lddy, 2, 1), *dx = test_in_out(b, "dx", s->m * lddx, 2e-6, 3);
    kern_linear_dgrad(b->k, &(struct kern_linear_dgrad){.dx = dx, .dy = dy, .w = &w, .m = s->m, .lddy = lddy, .lddx = lddx, .accumulate = s->extras});
}

static void run_wgrad(struct bench *b, const void *arg)
{
    const struct shape *s = arg;
    int64_t ldx = s->k + s->pad, lddy = s->n + s->pad;
    float *x = test_in(b, s->m * ldx, 1, 1), *dy = test_in(b, s->m * lddy, 2, 1);
    float *dw = test_in_out(b, "dw", s->n * s->k, 2e-6, 3), *db = s->extras ? test_in_out(b, "dbias", s->n, 2e-6, 4) : NULL;
    kern_linear_wgrad(b->k, &(struct kern_linear_wgrad){
        .dw = dw, .dbias = db, .dy = dy, .x = x, .m = s->m, .n = s->n, .k = s->k, .lddy = lddy, .ldx = ldx, .prec = s->prec,
    });
}

static void test_linears(void **state)
{
    (void)state;
    static const int64_t mnk[][3] = {{1, 1, 1}, {1, 64, 64}, {2, 63, 3}, {5, 65, 17}, {6, 128, 130}, {7, 100, 513}, {13, 33, 1027}, {97, 70, 66}, {200, 5, 9}};
    for (size_t i = 0; i < sizeof mnk / sizeof *mnk; i++)
        for (int prec = 0; prec < 2; prec++)
            for (int extras = 0; extras < 2; extras++) {
                struct shape s = {mnk[i][0], mnk[i][1], mnk[i][2], (int64_t)i % 3, (enum kern_prec)prec, extras};
                test_everywhere(run_linear, &s);
                test_everywhere(run_dgrad, &s);
                test_everywhere(run_wgrad, &s);
            }
}

/* ---- rows ------------------------------------------------------------------------------------ */

struct row_shape {
    int64_t rows, c, inner, pad;
    int flag;
};

static void run_norm(struct bench *b, const void *arg)
{
    const struct row_shape *s = arg;
    int64_t in = s->inner ? s->inner : 1, ld = in * s->c + s->pad, n = (s->rows + in - 1) / in * ld;
    float *x = test_in(b, n, 1, 3), *w = test_in(b, s->c, 2, 1), *y = test_in_out(b, "y", n, 1e-6, 3);
    float *rstd = test_out(b, "rstd", s->rows, 1e-6), *dy = test_in(b, n, 4, 1);
    kern_rmsnorm(b->k, &(struct kern_rmsnorm){.y = y, .rstd = rstd, .x = x, .w = w, .rows = s->rows, .c = s->c, .inner = s->inner, .ldx = ld, .ldy = ld, .eps = 1e-6f});
    kern_rmsnorm_bwd(b->k, &(struct kern_rmsnorm_bwd){
        .dx = test_in_out(b, "dx", n, 2e-6, 5), .dw = s->flag & 2 ? test_in_out(b, "dw", s->c, 4e-6, 6) : NULL, .dy = dy, .x = x, .w = w,
        .rows = s->rows, .c = s->c, .inner = s->inner, .ldx = ld, .lddy = ld, .lddx = ld, .eps = 1e-6f, .accumulate = s->flag & 1,
    });
}

static void run_swiglu(struct bench *b, const void *arg)
{
    const struct row_shape *s = arg;
    int64_t ldg = 2 * s->c + s->pad, ldy = s->c + s->pad;
    float *g = test_in(b, s->rows * ldg, 1, 8), *dy = test_in(b, s->rows * ldy, 2, 1), *d = test_in_out(b, "dg|du", s->rows * ldg, 2e-6, 3);
    kern_swiglu(b->k, &(struct kern_swiglu){.y = test_in_out(b, "y", s->rows * ldy, 1e-6, 4), .g = g, .u = g + s->c, .rows = s->rows, .c = s->c, .ldg = ldg, .ldy = ldy});
    kern_swiglu_bwd(b->k, &(struct kern_swiglu_bwd){
        .dg = d, .du = d + s->c, .dy = dy, .g = g, .u = g + s->c, .rows = s->rows, .c = s->c, .ldg = ldg, .lddy = ldy, .lddg = ldg,
    });
}

static void run_rope(struct bench *b, const void *arg)
{
    const struct row_shape *s = arg; /* rows tokens, c = rotated size, inner heads */
    int64_t head = s->c + s->pad, ld = s->inner * head + 3;
    struct kern_rope_spec spec = {.d = s->c, .theta = 10000};
    float *table = ARENA_NEW(&b->mem, float, 100 * s->c), *x = test_in_out(b, "x", s->rows * ld, 1e-6, 1);
    int32_t *pos = ARENA_NEW(&b->mem, int32_t, s->rows);
    for (int64_t t = 0; t < s->rows; t++)
        pos[t] = (int32_t)((t * 37) % 100);
    kern_rope_table(&spec, 100, table);
    kern_rope(b->k, &(struct kern_rope){
        .x = x, .pos = pos, .cos_sin = table, .t = s->rows, .h = s->inner, .d = s->c, .first = s->pad, .ldx = ld, .head_stride = head,
        .interleaved = s->flag & 1, .inverse = s->flag >> 1,
    });
}

static void run_embed(struct bench *b, const void *arg)
{
    const struct row_shape *s = arg;
    enum { V = 11 };
    int32_t *ids = ARENA_NEW(&b->mem, int32_t, s->rows);
    uint16_t *half = ARENA_NEW(&b->mem, uint16_t, V * s->c);
    float *table = test_in(b, V * s->c, 1, 1), *y = test_out(b, "y", s->rows * s->c, 0);
    for (int64_t t = 0; t < s->rows; t++)
        ids[t] = (int32_t)((t * t + 1) % V);
    for (int64_t i = 0; i < V * s->c; i++) {
        uint32_t u;
        memcpy(&u, table + i, 4);
        half[i] = (uint16_t)(u >> 16);
    }
    kern_embed(b->k, &(struct kern_embed){.y = y, .table = s->flag ? NULL : table, .table_bf16 = s->flag ? half : NULL, .ids = ids, .t = s->rows, .c = s->c, .v = V});
    float *sum = test_out(b, "sum", s->rows * s->c, 0);
    kern_add(b->k, &(struct kern_add){.y = sum, .a = y, .b = test_in(b, s->rows * s->c, 2, 1), .n = s->rows * s->c});
    kern_embed_bwd(b->k, &(struct kern_embed_bwd){.dtable = test_in_out(b, "dtable", V * s->c, 1e-6, 3), .dy = sum, .ids = ids, .t = s->rows, .c = s->c, .v = V});
}

static void test_rows(void **state)
{
    (void)state;
    static const int64_t dims[][3] = {{1, 2, 1}, {3, 16, 1}, {7, 66, 3}, {40, 130, 2}, {5, 1030, 1}, {33, 64, 4}};
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++)
        for (int flag = 0; flag < 4; flag++) {
            struct row_shape s = {dims[i][0], dims[i][1], dims[i][2], (int64_t)i % 4 * 2, flag};
            test_everywhere(run_norm, &s);
            test_everywhere(run_rope, &s);
            if (flag < 2) {
                test_everywhere(run_swiglu, &s);
                test_everywhere(run_embed, &s);
            }
        }
}

/* ---- head ------------------------------------------------------------------------------------ */

static int32_t *targets(struct bench *b, int64_t t, int64_t v)
{
    int32_t *target = ARENA_NEW(&b->mem, int32_t, t);
    for (int64_t i = 0; i < t; i++)
        target[i] = i % 5 == 3 ? -1 : (int32_t)rng_below((uint64_t)v, 3, RNG_TEST, 9, 0, (uint64_t)i);
    return target;
}

static void run_head(struct bench *b, const void *arg)
{
    const struct shape *s = arg;
    int64_t ldx = s->k + s->pad, t = s->m, v = s->n;
    struct kern_weight w = test_weight(b, v, s->k, s->prec, 1);
    float *x = test_in(b, t * ldx, 2, 1), *logp = test_out(b, "logp", t, 1e-5), *lse = test_out(b, "lse", t, 1e-5), *ent = test_out(b, "entropy", t, 1e-5);
    int32_t *target = targets(b, t, v);
    float temp = s->extras ? 0.7f : 1;
    kern_head(b->k, &(struct kern_head){.logp = logp, .lse = lse, .entropy = ent, .x = x, .w = &w, .target = target, .t = t, .ldx = ldx, .temperature = temp});
    float *g = test_in(b, t, 3, 1), *ge = s->extras ? test_in(b, t, 4, 1) : NULL;
    g[0] = 0;
    if (ge)
        ge[0] = 0;
    kern_head_bwd(b->k, &(struct kern_head_bwd){
        .dx = test_in_out(b, "dx", t * ldx, s->prec == KERN_BF16 ? 2e-4 : 1e-5, 5), .dw = test_in_out(b, "dw", v * s->k, s->prec == KERN_BF16 ? 2e-4 : 1e-5, 6), .x = x, .lse = lse,
        .entropy = ent, .g = g, .ge = ge, .w = &w, .target = target, .t = t, .ldx = ldx, .temperature = temp,
    });
    /* the two ways to a log-prob have the same bits */
    float *logits = ARENA_NEW(&b->mem, float, t * v), *lp = ARENA_NEW(&b->mem, float, t), *l2 = ARENA_NEW(&b->mem, float, t), *e2 = ARENA_NEW(&b->mem, float, t);
    kern_logits(b->k, &(struct kern_logits){.y = logits, .x = x, .w = &w, .t = t, .ldx = ldx});
    kern_logp(b->k, &(struct kern_logp){.logp = lp, .lse = l2, .entropy = e2, .logits = logits, .target = target, .t = t, .v = v, .temperature = temp});
    for (int64_t i = 0; i < t && strcmp(kern_name(b->k), "ref"); i++)
        assert_true(target[i] < 0 || (!memcmp(lp + i, logp + i, 4) && !memcmp(l2 + i, lse + i, 4) && !memcmp(e2 + i, ent + i, 4)));
}

/* In one pass, with and without rows that have no gradient. */
static void run_head_loss(struct bench *b, const void *arg)
{
    const struct shape *s = arg;
    int64_t ldx = s->k + s->pad, t = s->m, v = s->n;
    double tol = s->prec == KERN_BF16 ? 2e-4 : 1e-5;
    struct kern_weight w = test_weight(b, v, s->k, s->prec, 1);
    float *x = test_in(b, t * ldx, 2, 1), *logp = test_out(b, "logp", t, 1e-5), *dx = test_in_out(b, "dx", t * ldx, tol, 5), *dw = test_in_out(b, "dw", v * s->k, tol, 6);
    float *lp = test_out(b, "two: logp", t, 1e-5), *lse = test_out(b, "lse", t, 1e-5), *dx2 = test_in_out(b, "two: dx", t * ldx, tol, 5);
    float *dw2 = test_in_out(b, "two: dw", v * s->k, tol, 6), *g = test_in(b, t, 3, 1);
    int32_t *target = targets(b, t, v);
    g[0] = s->extras ? 0 : 0.5f;
    kern_head_loss(b->k, &(struct kern_head_loss){.logp = logp, .dx = dx, .dw = dw, .x = x, .g = g, .w = &w, .target = target, .t = t, .ldx = ldx, .temperature = 0.9f});
    kern_head(b->k, &(struct kern_head){.logp = lp, .lse = lse, .x = x, .w = &w, .target = target, .t = t, .ldx = ldx, .temperature = 0.9f});
    kern_head_bwd(b->k, &(struct kern_head_bwd){.dx = dx2, .dw = dw2, .x = x, .lse = lse, .g = g, .w = &w, .target = target, .t = t, .ldx = ldx, .temperature = 0.9f});
    assert_memory_equal(logp, lp, (size_t)t * sizeof *lp);
    assert_memory_equal(dx, dx2, (size_t)(t * ldx) * sizeof *dx);
    assert_memory_equal(dw, dw2, (size_t)(v * s->k) * sizeof *dw);
}

/* More logits than are kept at a time: the chunks of rows meet without a seam. */
static void test_head_chunks(void **state)
{
    (void)state;
    enum { T = 200, V = 700000, K = 3 };
    struct kern *k = test_kern("cpu", KERN_BEST);
    for (int prec = 0; prec < 2; prec++) {
        struct bench b = {.k = k};
        arena_init(&b.mem, "kernel test", (int64_t)1 << 30);
        struct kern_weight w = test_weight(&b, V, K, (enum kern_prec)prec, 1);
        float *x = test_in(&b, T * K, 2, 1), *g = test_in(&b, T, 3, 1), *out[2][4];
        int32_t *target = targets(&b, T, V);
        for (int i = 0; i < 2; i++) {
            out[i][0] = ARENA_NEW(&b.mem, float, T), out[i][1] = ARENA_NEW(&b.mem, float, T * K), out[i][2] = ARENA_NEW(&b.mem, float, V * K);
            out[i][3] = ARENA_NEW(&b.mem, float, T);
        }
        kern_head_loss(k, &(struct kern_head_loss){.logp = out[0][0], .dx = out[0][1], .dw = out[0][2], .x = x, .g = g, .w = &w, .target = target, .t = T, .temperature = 1});
        kern_head(k, &(struct kern_head){.logp = out[1][0], .lse = out[1][3], .x = x, .w = &w, .target = target, .t = T, .temperature = 1});
        kern_head_bwd(k, &(struct kern_head_bwd){.dx = out[1][1], .dw = out[1][2], .x = x, .lse = out[1][3], .g = g, .w = &w, .target = target, .t = T, .temperature = 1});
        assert_memory_equal(out[0][0], out[1][0], T * sizeof(float));
        assert_memory_equal(out[0][1], out[1][1], T * K * sizeof(float));
        assert_memory_equal(out[0][2], out[1][2], (size_t)V * K * sizeof(float));
        arena_release(&b.mem);
    }
    kern_close(k);
}

static void test_head(void **state)
{
    (void)state;
    static const int64_t tvk[][3] = {{1, 2, 3}, {5, 1024, 16}, {50, 1025, 33}, {9, 2500, 40}, {1600, 70, 8}};
    for (size_t i = 0; i < sizeof tvk / sizeof *tvk; i++)
        for (int prec = 0; prec < 2; prec++) {
            struct shape s = {tvk[i][0], tvk[i][1], tvk[i][2], (int64_t)i % 3, (enum kern_prec)prec, prec ^ (int)(i & 1)};
            test_everywhere(run_head, &s);
            test_everywhere(run_head_loss, &s);
        }
}

/* ---- elementary functions -------------------------------------------------------------------- */

static double ulp(float x)
{
    return (double)(nextafterf(fabsf(x), INFINITY) - fabsf(x));
}

static void test_exp_log(void **state)
{
    (void)state;
    double worst = 0, worst_log = 0;
    for (uint64_t i = 0; i < 400000; i++) {
        float x = -104 + 193 * rng_f32(1, RNG_TEST, 0, 0, i), y = kern_expf(x);
        double want = exp((double)x);
        if (want < 3.4e38)
            worst = fmax(worst, fabs((double)y - want) / ulp((float)want));
        float z = (float)exp(170 * (double)rng_f32(1, RNG_TEST, 1, 0, i) - 85), l = kern_logf(z);
        worst_log = fmax(worst_log, fabs((double)l - log((double)z)) / ulp((float)log((double)z)));
    }
    assert_true(worst < 2 && worst_log < 0.51);
    assert_true(kern_expf(0) == 1 && kern_expf(-INFINITY) == 0 && isinf(kern_expf(89)) && isnan(kern_expf(NAN)) && kern_expf(-104.5f) == 0);
    assert_true(kern_logf(1) == 0 && isinf(kern_logf(0)) && isnan(kern_logf(-1)) && isinf(kern_logf(INFINITY)) && isnan(kern_logf(NAN)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exp_log), cmocka_unit_test(test_linears), cmocka_unit_test(test_rows), cmocka_unit_test(test_head),
        cmocka_unit_test(test_head_chunks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
