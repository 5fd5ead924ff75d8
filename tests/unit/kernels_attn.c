/* Catches: attention that is wrong at any mix of lengths, head groups and sizes; that sees a key it must not; whose bits depend on the
 * instruction set, the threads, the batch around a sequence, on pages or rows, or on whether a token came in a prefill or a decode step. */
#include "kernels/kernels.h"

#include "tests/kern_test.h"

struct shape {
    int64_t hq, hkv, dk, dv, pad;
    int n_seq;
    int32_t nq[6], len[6]; /* queries, keys */
};

static int64_t total(const struct shape *s, const int32_t *n)
{
    int64_t t = 0;
    for (int i = 0; i < s->n_seq; i++)
        t += n[i];
    return t;
}

static int32_t *starts(struct bench *b, const struct shape *s, const int32_t *n)
{
    int32_t *cu = ARENA_NEW(&b->mem, int32_t, s->n_seq + 1);
    for (int i = 0; i < s->n_seq; i++)
        cu[i + 1] = cu[i] + n[i];
    return cu;
}

/* The arguments of a case with contiguous keys. */
static struct kern_attn args(struct bench *b, const struct shape *s)
{
    int64_t ldq = s->hq * s->dk + s->pad, ldk = s->hkv * s->dk + s->pad, ldv = s->hkv * s->dv, ldo = s->hq * s->dv + s->pad;
    int64_t tq = total(s, s->nq), tk = total(s, s->len);
    return (struct kern_attn){
        .o = test_in_out(b, "o", tq * ldo, 4e-6, 1), .lse = test_out(b, "lse", tq * s->hq, 2e-6), .q = test_in(b, tq * ldq, 2, 2),
        .kv = {.k = test_in(b, tk * ldk, 3, 2), .v = test_in(b, tk * ldv, 4, 1), .cu_k = starts(b, s, s->len), .ldk = ldk, .ldv = ldv,
               .head_stride_k = s->dk, .head_stride_v = s->dv},
        .cu_q = starts(b, s, s->nq), .kv_len = s->len, .n_seq = s->n_seq, .hq = s->hq, .hkv = s->hkv, .dk = s->dk, .dv = s->dv,
        .ldq = ldq, .ldo = ldo, .scale = 1 / sqrtf((float)s->dk),
    };
}

static void run_attn(struct bench *b, const void *arg)
{
    struct kern_attn a = args(b, arg);
    kern_attn(b->k, &a);
}

/* The same keys in pages, in an order of pages that is nobody's, with poison where no key is. */
static void paged(struct bench *b, const struct shape *s, struct kern_attn *a)
{
    int64_t most = 0, n = 0;
    for (int i = 0; i < s->n_seq; i++) {
        int64_t blocks = (s->len[i] + KERN_PAGE - 1) / KERN_PAGE;
        most = blocks > most ? blocks : most;
        n += blocks;
    }
    int64_t sk = s->hkv * KERN_PAGE * s->dk + 5, sv = s->hkv * KERN_PAGE * s->dv + 3, tk = total(s, s->len);
    float *kp = ARENA_NEW(&b->mem, float, n * sk), *vp = ARENA_NEW(&b->mem, float, n * sv);
    int32_t *pages = ARENA_NEW(&b->mem, int32_t, s->n_seq * most), *page = ARENA_NEW(&b->mem, int32_t, tk), *slot = ARENA_NEW(&b->mem, int32_t, tk);
    for (int64_t i = 0; i < n * sk; i++)
        kp[i] = NAN;
    for (int64_t i = 0; i < n * sv; i++)
        vp[i] = NAN;
    int64_t next = 0;
    for (int i = 0; i < s->n_seq; i++)
        for (int32_t j = 0; j < s->len[i]; j++) {
            int64_t row = a->kv.cu_k[i] + j;
            if (j % KERN_PAGE == 0)
                pages[i * most + j / KERN_PAGE] = (int32_t)(n - 1 - next++);
            page[row] = pages[i * most + j / KERN_PAGE];
            slot[row] = j % KERN_PAGE;
        }
    kern_kv_write(b->k, &(struct kern_kv_write){
        .k_pages = kp, .v_pages = vp, .k = a->kv.k, .v = a->kv.v, .page = page, .slot = slot, .t = tk, .hkv = s->hkv, .dk = s->dk, .dv = s->dv,
        .ldk = a->kv.ldk, .ldv = a->kv.ldv, .page_stride_k = sk, .page_stride_v = sv,
    });
    a->kv = (struct kern_kv){.k = kp, .v = vp, .pages = pages, .max_pages = most, .page_stride_k = sk, .page_stride_v = sv};
}

static void run_paged(struct bench *b, const void *arg)
{
    struct kern_attn a = args(b, arg);
    paged(b, arg, &a);
    kern_attn(b->k, &a);
}

static const struct shape shapes[] = {
    {1, 1, 1, 1, 0, 1, {1}, {1}},
    {2, 1, 16, 16, 0, 2, {3, 1}, {3, 9}},
    {6, 2, 24, 40, 3, 3, {70, 1, 5}, {70, 65, 64}},
    {7, 1, 64, 64, 0, 4, {1, 0, 129, 2}, {200, 0, 129, 130}},
    {3, 3, 12, 20, 1, 2, {130, 64}, {130, 128}},
    {70, 1, 33, 17, 0, 2, {2, 1}, {67, 1}},
    {2, 2, 192, 128, 0, 1, {67}, {67}},
    {3, 1, 576, 512, 0, 2, {1, 2}, {70, 2}},
};

static void test_attn(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct bench a, b;
        test_everywhere(run_attn, &shapes[i]);
        test_everywhere(run_paged, &shapes[i]);
        test_run(&a, "cpu", KERN_BEST, run_attn, &shapes[i]);
        test_run(&b, "cpu", KERN_BEST, run_paged, &shapes[i]);
        test_same(&a, &b);
        test_done(&a);
        test_done(&b);
    }
}

/* Every token of a sequence of 150 by prefills of random length and decode steps, alone or beside others, from pages: the bits of one
 * pass over the whole sequence. A split of a row's keys by anything but position (a flash-decoding split by thread, say) fails here. */
static void test_histories(void **state)
{
    (void)state;
    enum { N = 150, HQ = 4, HKV = 2, D = 32 };
    struct shape whole = {HQ, HKV, D, D, 0, 1, {N}, {N}};
    struct bench want;
    test_run(&want, "cpu", KERN_BEST, run_attn, &whole);
    for (int trial = 0; trial < 60; trial++) {
        uint64_t at = 0;
        par_init(1 + trial % 3);
        for (int32_t done = 0; done < N;) {
            int32_t step = 1 + (trial % 2 ? (int32_t)rng_below(90, (uint64_t)trial, RNG_TEST, 1, 0, at++) : 0);
            step = step < N - done ? step : N - done;
            int first = (int)rng_below(2, (uint64_t)trial, RNG_TEST, 2, 0, at++);
            /* sequence 0 is ours, or there is another one before it */
            struct shape s = {HQ, HKV, D, D, 0, 1 + first, {first ? 3 : step, step}, {first ? 77 : done + step, done + step}};
            struct bench b;
            arena_init(&b.mem, "history", (int64_t)1 << 30);
            b.n = 0;
            b.k = test_kern("cpu", KERN_BEST);
            struct kern_attn a = args(&b, &s);
            float *q = (float *)(uintptr_t)a.q, *k = (float *)(uintptr_t)a.kv.k, *v = (float *)(uintptr_t)a.kv.v;
            float *q0 = ARENA_NEW(&b.mem, float, N * HQ * D), *k0 = ARENA_NEW(&b.mem, float, N * HKV * D), *v0 = ARENA_NEW(&b.mem, float, N * HKV * D);
            test_fill(q0, N * HQ * D, 2, 2);
            test_fill(k0, N * HKV * D, 3, 2);
            test_fill(v0, N * HKV * D, 4, 1);
            int64_t row = a.cu_q[first], krow = a.kv.cu_k[first];
            memcpy(q + row * HQ * D, q0 + done * HQ * D, (size_t)(step * HQ * D) * 4);
            memcpy(k + krow * HKV * D, k0, (size_t)((done + step) * HKV * D) * 4);
            memcpy(v + krow * HKV * D, v0, (size_t)((done + step) * HKV * D) * 4);
            if (trial % 3)
                paged(&b, &s, &a);
            kern_attn(b.k, &a);
            assert_memory_equal(a.o + row * HQ * D, want.out[0].p + done * HQ * D, (size_t)(step * HQ * D) * 4);
            assert_memory_equal(a.lse + row * HQ, want.out[1].p + done * HQ, (size_t)(step * HQ) * 4);
            test_done(&b);
            done += step;
        }
    }
    par_init(0);
    test_done(&want);
}

/* ---- backward -------------------------------------------------------------------------------- */

static void run_bwd(struct bench *b, const void *arg)
{
    const struct shape *s = arg;
    struct kern_attn a = args(b, s);
    int64_t t = total(s, s->nq);
    float *dout = test_in(b, t * a.ldo, 5, 1);
    kern_attn(b->k, &a);
    kern_attn_bwd(b->k, &(struct kern_attn_bwd){
        .dq = test_in_out(b, "dq", t * a.ldq, 1e-5, 6), .dk = test_in_out(b, "dk", t * a.kv.ldk, 1e-5, 7), .dv = test_in_out(b, "dv", t * a.kv.ldv, 1e-5, 8),
        .dout = dout, .o = a.o, .lse = a.lse, .q = a.q, .kv = a.kv, .cu_q = a.cu_q, .n_seq = s->n_seq, .hq = s->hq, .hkv = s->hkv,
        .d_k = s->dk, .d_v = s->dv, .ldq = a.ldq, .ldo = a.ldo, .scale = a.scale,
    });
}

static void test_bwd(void **state)
{
    (void)state;
    static const struct shape train[] = {
        {1, 1, 1, 1, 0, 1, {1}, {1}},
        {6, 2, 24, 40, 3, 3, {70, 1, 5}, {70, 1, 5}},
        {7, 1, 64, 64, 0, 2, {0, 129}, {0, 129}},
        {3, 3, 12, 20, 1, 4, {130, 64, 1, 65}, {130, 64, 1, 65}},
        {4, 1, 192, 128, 0, 1, {67}, {67}},
    };
    for (size_t i = 0; i < sizeof train / sizeof *train; i++)
        test_everywhere(run_bwd, &train[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attn), cmocka_unit_test(test_histories), cmocka_unit_test(test_bwd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
