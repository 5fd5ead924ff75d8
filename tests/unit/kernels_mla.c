/* Catches: heads multiplied by another head's matrix, a turned pack that is not the transpose, a gradient of the absorbed form that is not the
 * derivative, bits that depend on rows, threads, instruction set, or on whether the latent cache is contiguous or paged. */
#include "kernels/kernels.h"

#include "tests/kern_test.h"

struct shape {
    int64_t t, h, n, k;
    enum kern_prec prec;
};

/* H weights [n, k]; turned: made from their transposes, which stay the masters. */
static struct kern_weight *weights(struct bench *b, const struct shape *s, int turned)
{
    struct kern_weight *w = ARENA_NEW(&b->mem, struct kern_weight, s->h);
    for (int64_t h = 0; h < s->h; h++) {
        w[h] = test_weight(b, s->n, s->k, s->prec, 50 + (uint64_t)h);
        if (turned)
            kern_pack_turned(b->k, &w[h], w[h].w);
    }
    return w;
}

static void run_heads(struct bench *b, const void *arg)
{
    const struct shape *s = arg;
    const int64_t ldx = s->h * (s->k + 1) + 3, ldy = s->h * (s->n + 2);
    const double tol = s->prec == KERN_F32 ? 1e-5 : 2e-5;
    float *x = test_in(b, s->t * ldx, 1, 1), *dy = test_in(b, s->t * ldy, 2, 1);
    for (int turned = 0; turned < 2; turned++) {
        const struct kern_weight *w = weights(b, s, turned);
        kern_heads(b->k, &(struct kern_heads){.y = test_in_out(b, turned ? "y turned" : "y", s->t * ldy, tol, 3), .x = x, .w = w, .t = s->t, .h = s->h, .ldx = ldx, .ldy = ldy,
                                              .x_head = s->k + 1, .y_head = s->n + 2});
        kern_heads_dgrad(b->k, &(struct kern_heads_dgrad){.dx = test_in_out(b, turned ? "dx turned" : "dx", s->t * ldx, tol, 4), .dy = dy, .w = w, .t = s->t, .h = s->h, .lddy = ldy,
                                                          .lddx = ldx, .dy_head = s->n + 2, .dx_head = s->k + 1, .turned = turned});
    }
    kern_heads_wgrad(b->k, &(struct kern_heads_wgrad){.dw = test_in_out(b, "dw", s->h * (s->n * s->k + 5), tol, 5), .dy = dy, .x = x, .t = s->t, .h = s->h, .n = s->n, .k = s->k,
                                                      .lddy = ldy, .ldx = ldx, .dy_head = s->n + 2, .x_head = s->k + 1, .dw_head = s->n * s->k + 5, .prec = s->prec});
}

static void test_heads(void **state)
{
    (void)state;
    static const struct shape shapes[] = {
        {1, 1, 1, 1, KERN_F32}, {5, 3, 17, 9, KERN_F32}, {40, 4, 70, 33, KERN_BF16}, {1, 16, 128, 64, KERN_BF16}, {13, 2, 64, 128, KERN_F32}, {200, 2, 65, 12, KERN_BF16},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        test_everywhere(run_heads, &shapes[i]);
}

static void run_copy(struct bench *b, const void *arg)
{
    const int *how = arg; /* add, bf16 */
    float *x = test_in(b, 7 * 40, 1, 3);
    kern_copy(b->k, &(struct kern_copy){.y = test_in_out(b, "y", 7 * 50, 0, 2), .x = x, .rows = 21, .c = 9, .inner = 3, .ldx = 40, .ldy = 50, .x_step = 11, .y_step = 15, .add = how[0],
                                        .bf16 = how[1]});
}

static void test_copy(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++)
        test_everywhere(run_copy, (const int[]){i & 1, i >> 1});
    struct kern *k = test_kern("cpu", KERN_BEST);
    float x[] = {1.00390625f, 1.01171875f, 1e-40f, -0.f, NAN, INFINITY}, want[] = {1.f, 1.015625f, 0, -0.f, NAN, INFINITY};
    kern_copy(k, &(struct kern_copy){.y = x, .x = x, .rows = 1, .c = 6, .bf16 = 1}); /* ties to even; denormals to zero */
    for (int i = 0; i < 6; i++)
        assert_true(i == 4 ? isnan(x[i]) : x[i] == want[i]);
    kern_close(k);
}

/* ---- one latent for all heads ------------------------------------------------------------------ */

/* The same keys, contiguous (0), in scattered pages (1), in pages of bf16 (2); values are their first columns. */
static void run_latent(struct bench *b, const void *arg)
{
    const int paged = *(const int *)arg & 3, narrow = *(const int *)arg & 4;
    enum { H = 134, R = 48, ROPE = 16, D = R + ROPE, SEQS = 3 };
    static const int32_t cu_q[] = {0, 3, 70, 71}, kv_len[] = {130, 67, 1}, cu_k[] = {0, 130, 197, 198};
    float *q = test_in(b, 71 * H * D, 1, 1), *keys = test_in(b, 198 * D, 2, 1), *o = test_out(b, "o", 71 * H * R, 1e-5), *lse = test_out(b, "lse", 71 * H, 1e-5);
    float *mem = ARENA_NEW(&b->mem, float, 6 * KERN_PAGE * D);
    struct kern_attn a = {.o = o, .lse = lse, .q = q, .kv = {.k = keys, .v = keys, .cu_k = cu_k, .ldk = D, .ldv = D}, .cu_q = cu_q, .kv_len = kv_len, .n_seq = SEQS, .hq = H, .hkv = 1,
                          .dk = D, .dv = R, .ldq = H * D, .ldo = H * R, .scale = 0.2f};
    test_fill(mem, 6 * KERN_PAGE * D, 9, 1e6f); /* what is not written yet must not matter */
    if (narrow)
        kern_copy(b->k, &(struct kern_copy){.y = keys, .x = keys, .rows = 198, .c = D, .ldx = D, .ldy = D, .bf16 = 1});
    if (paged) {
        static const int32_t of[SEQS * 3] = {4, 0, 3, 2, 1, 0, 5, 0, 0};
        int32_t page[198], slot[198];
        for (int s = 0; s < SEQS; s++)
            for (int i = 0; i < kv_len[s]; i++) {
                page[cu_k[s] + i] = of[s * 3 + i / KERN_PAGE];
                slot[cu_k[s] + i] = i % KERN_PAGE;
            }
        kern_kv_write(b->k, &(struct kern_kv_write){.k_pages = mem, .k = keys, .page = page, .slot = slot, .t = 198, .hkv = 1, .dk = D, .ldk = D, .page_stride_k = KERN_PAGE * D, .bf16 = paged == 2});
        a.kv = (struct kern_kv){.k = mem, .v = mem, .pages = of, .max_pages = 3, .page_stride_k = KERN_PAGE * D, .page_stride_v = KERN_PAGE * D, .ldv = D, .bf16 = paged == 2};
    }
    kern_attn(b->k, &a);
}

static void test_latent(void **state)
{
    (void)state;
    static const int same[][2] = {{0, 1}, {4, 5}, {4, 6}};
    struct bench a, b;
    for (int i = 0; i < 3; i++) {
        test_everywhere(run_latent, &same[i][1]);
        test_run(&a, "cpu", KERN_BEST, run_latent, &same[i][0]);
        test_run(&b, "cpu", KERN_BEST, run_latent, &same[i][1]);
        test_same(&a, &b);
        test_done(&a);
        test_done(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_heads), cmocka_unit_test(test_copy), cmocka_unit_test(test_latent)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
