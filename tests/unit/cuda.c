/* Catches: an op of kernels/cuda that is wrong at any shape, writes outside of its outputs or leaves some unwritten, reads what it may not,
 * misses a barrier (bits that depend on the order in which threads run), whose bits depend on the rows beside a row, or whose f32 forward
 * has not the bits of the cpu. On the emulator always (kernels/cuda/emu.h); on a device where there is one. */
#include "kernels/kernels.h"

#include "core/par.h"
#include "tests/dev_test.h"

void kern_emu_order(uint64_t order); /* kernels/cuda/emu.h */

/* HONE_TEST_DEVICE=cuda: the device alone, for tools/gpu_check.sh. */
static struct kern *ref, *cpu, *dev[2];
static int n_dev, emulated;

static struct kern *open_or_null(const char *backend, struct err *e)
{
    struct kern *k;
    return kern_open(&(struct kern_opts){.backend = backend}, &k, e) == ERR_OK ? k : NULL;
}

static int open_all(void **state)
{
    struct err e = {0};
    (void)state;
    ref = open_or_null("ref", &e);
    cpu = open_or_null("cpu", &e);
    emulated = !getenv("HONE_TEST_DEVICE");
    if (emulated)
        dev[n_dev++] = open_or_null("emu", &e);
    assert_true(ref && cpu && (dev[0] || !emulated));
    dev[n_dev] = open_or_null("cuda", &e);
    if (dev[n_dev])
        n_dev++;
    else
        printf("skip: no device (%s)\n", e.msg);
    return n_dev == 0;
}

static int close_all(void **state)
{
    (void)state;
    kern_close(ref);
    kern_close(cpu);
    for (int i = 0; i < n_dev; i++)
        kern_close(dev[i]);
    return 0;
}

/* Against ref by tolerance, against cpu by bits where the case says so; the emulator again with threads the other way round and shuffled. */
static void everywhere(side_case *run, const void *arg)
{
    struct side want, bits, got, again;
    side_run(&want, ref, run, arg);
    side_run(&bits, cpu, run, arg);
    for (int i = 0; i < n_dev; i++) {
        side_run(&got, dev[i], run, arg);
        side_near(&want, &got);
        side_same(&bits, &got, 1);
        for (uint64_t order = 1; i == 0 && emulated && order < 3; order++) {
            kern_emu_order(order);
            side_run(&again, dev[0], run, arg);
            side_same(&got, &again, 0);
            side_done(&again);
            kern_emu_order(0);
        }
        side_done(&got);
    }
    side_done(&bits);
    side_done(&want);
}

/* ---- linears --------------------------------------------------------------------------------- */

struct shape {
    int64_t m, n, k, pad;
    enum kern_prec prec;
    int extras; /* bias, residual; accumulate */
};

static double tol_of(enum kern_prec prec)
{
    return prec == KERN_F32 ? 2e-6 : 4e-6;
}

static void run_linear(struct side *b, const void *arg)
{
    const struct shape *s = arg;
    int64_t ldx = s->k + s->pad, ldy = s->n + s->pad;
    struct kern_weight w = side_weight(b, s->n, s->k, s->prec, 1);
    float *x = side_in(b, s->m * ldx, 2, 1), *y = side_out(b, "y", s->m * ldy, tol_of(s->prec), s->prec == KERN_F32, 3);
    kern_linear(b->k, &(struct kern_linear){
        .y = y, .x = x, .w = &w, .bias = s->extras ? side_in(b, s->n, 4, 1) : NULL, .residual = s->extras ? y : NULL, .m = s->m, .ldx = ldx, .ldy = ldy,
    });
}

static void run_dgrad(struct side *b, const void *arg)
{
    const struct shape *s = arg;
    int64_t lddx = s->k + s->pad, lddy = s->n + s->pad;
    struct kern_weight w = side_weight(b, s->n, s->k, s->prec, 1);
    float *dy = side_in(b, s->m * lddy, 2, 1), *dx = side_out(b, "dx", s->m * lddx, tol_of(s->prec), s->prec == KERN_F32, 3);
    kern_linear_dgrad(b->k, &(struct kern_linear_dgrad){.dx = dx, .dy = dy, .w = &w, .m = s->m, .lddy = lddy, .lddx = lddx, .accumulate = s->extras});
}

static void run_wgrad(struct side *b, const void *arg)
{
    const struct shape *s = arg;
    int64_t ldx = s->k + s->pad, lddy = s->n + s->pad;
    float *x = side_in(b, s->m * ldx, 1, 1), *dy = side_in(b, s->m * lddy, 2, 1);
    float *dw = side_out(b, "dw", s->n * s->k, tol_of(s->prec), s->prec == KERN_F32, 3), *db = s->extras ? side_out(b, "dbias", s->n, 2e-6, 0, 4) : NULL;
    kern_linear_wgrad(b->k, &(struct kern_linear_wgrad){
        .dw = dw, .dbias = db, .dy = dy, .x = x, .m = s->m, .n = s->n, .k = s->k, .lddy = lddy, .ldx = ldx, .prec = s->prec, .fresh = s->pad == 2,
    });
}

static void test_linears(void **state)
{
    (void)state;
    static const int64_t mnk[][3] = {{1, 1, 1}, {1, 70, 64}, {2, 63, 3}, {5, 65, 17}, {7, 100, 257}, {17, 33, 97}, {97, 70, 66}, {140, 130, 9}, {300, 5, 40}};
    for (size_t i = 0; i < sizeof mnk / sizeof *mnk; i++)
        for (int prec = 0; prec < 2; prec++) {
            struct shape s = {mnk[i][0], mnk[i][1], mnk[i][2], (int64_t)i % 3, (enum kern_prec)prec, (prec + (int)i) % 2};
            everywhere(run_linear, &s);
            everywhere(run_dgrad, &s);
            everywhere(run_wgrad, &s);
        }
}

/* ---- rows ------------------------------------------------------------------------------------ */

struct row_shape {
    int64_t rows, c, inner, pad;
    int flag;
};

static void run_norm(struct side *b, const void *arg)
{
    const struct row_shape *s = arg;
    int64_t in = s->inner ? s->inner : 1, ld = in * s->c + s->pad, n = (s->rows + in - 1) / in * ld;
    float *x = side_in(b, n, 1, 3), *w = side_in(b, s->c, 2, 1), *y = side_out(b, "y", n, 1e-6, 1, 3);
    float *rstd = side_out(b, "rstd", s->rows, 1e-6, 1, 0), *dy = side_in(b, n, 4, 1);
    kern_rmsnorm(b->k, &(struct kern_rmsnorm){.y = y, .rstd = rstd, .x = x, .w = w, .rows = s->rows, .c = s->c, .inner = s->inner, .ldx = ld, .ldy = ld, .eps = 1e-6f});
    kern_rmsnorm_bwd(b->k, &(struct kern_rmsnorm_bwd){
        .dx = side_out(b, "dx", n, 2e-6, 1, 5), .dw = s->flag & 2 ? side_out(b, "dw", s->c, 4e-6, 0, 6) : NULL, .dy = dy, .x = x, .w = w,
        .rows = s->rows, .c = s->c, .inner = s->inner, .ldx = ld, .lddy = ld, .lddx = ld, .eps = 1e-6f, .accumulate = s->flag & 1,
    });
}

static void run_swiglu(struct side *b, const void *arg)
{
    const struct row_shape *s = arg;
    int64_t ldg = 2 * s->c + s->pad, ldy = s->c + s->pad;
    float *g = side_in(b, s->rows * ldg, 1, 8), *dy = side_in(b, s->rows * ldy, 2, 1), *d = side_out(b, "dg|du", s->rows * ldg, 2e-6, 1, 3);
    kern_swiglu(b->k, &(struct kern_swiglu){.y = side_out(b, "y", s->rows * ldy, 1e-6, 1, 4), .g = g, .u = g + s->c, .rows = s->rows, .c = s->c, .ldg = ldg, .ldy = ldy});
    kern_swiglu_bwd(b->k, &(struct kern_swiglu_bwd){
        .dg = d, .du = d + s->c, .dy = dy, .g = g, .u = g + s->c, .rows = s->rows, .c = s->c, .ldg = ldg, .lddy = ldy, .lddg = ldg,
    });
}

static void run_rope(struct side *b, const void *arg)
{
    const struct row_shape *s = arg; /* rows tokens, c = rotated size, inner heads */
    int64_t head = s->c + s->pad, ld = s->inner * head + 3;
    struct kern_rope_spec spec = {.d = s->c, .theta = 10000};
    float *table = ARENA_NEW(&b->mem, float, 100 * s->c), *x = side_out(b, "x", s->rows * ld, 1e-6, 1, 1);
    int32_t *pos = ARENA_NEW(&b->mem, int32_t, s->rows);
    for (int64_t t = 0; t < s->rows; t++)
        pos[t] = (int32_t)((t * 37) % 100);
    kern_rope_table(&spec, 100, table);
    kern_rope(b->k, &(struct kern_rope){
        .x = x, .pos = side_put(b, pos, s->rows * 4), .cos_sin = side_put(b, table, 400 * s->c), .t = s->rows, .h = s->inner, .d = s->c, .first = s->pad, .ldx = ld,
        .head_stride = head, .interleaved = s->flag & 1, .inverse = s->flag >> 1,
    });
}

static void run_embed(struct side *b, const void *arg)
{
    const struct row_shape *s = arg;
    enum { V = 11 };
    int32_t *ids = ARENA_NEW(&b->mem, int32_t, s->rows);
    uint16_t *half = ARENA_NEW(&b->mem, uint16_t, V * s->c);
    float *table = side_numbers(b, V * s->c, 1, 1), *y = side_out(b, "y", s->rows * s->c, 0, 1, 0);
    for (int64_t t = 0; t < s->rows; t++)
        ids[t] = (int32_t)((t * t + 1) % V);
    for (int64_t i = 0; i < V * s->c; i++) {
        uint32_t u;
        memcpy(&u, table + i, 4);
        half[i] = (uint16_t)(u >> 16);
    }
    kern_embed(b->k, &(struct kern_embed){.y = y, .table = s->flag ? NULL : side_put(b, table, V * s->c * 4), .table_bf16 = s->flag ? side_put(b, half, V * s->c * 2) : NULL, .ids = ids,
                                          .t = s->rows, .c = s->c, .v = V});
    float *sum = side_out(b, "sum", s->rows * s->c, 0, 1, 0);
    kern_add(b->k, &(struct kern_add){.y = sum, .a = y, .b = side_in(b, s->rows * s->c, 2, 1), .n = s->rows * s->c});
    kern_embed_bwd(b->k, &(struct kern_embed_bwd){.dtable = side_out(b, "dtable", V * s->c, 1e-6, 1, 3), .dy = sum, .ids = ids, .t = s->rows, .c = s->c, .v = V});
}

static void test_rows(void **state)
{
    (void)state;
    static const int64_t dims[][3] = {{1, 2, 1}, {3, 16, 1}, {7, 66, 3}, {40, 130, 2}, {5, 1030, 1}, {300, 24, 4}};
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++)
        for (int flag = 0; flag < 4; flag++) {
            struct row_shape s = {dims[i][0], dims[i][1], dims[i][2], (int64_t)i % 4 * 2, flag};
            everywhere(run_norm, &s);
            everywhere(run_rope, &s);
            if (flag < 2) {
                everywhere(run_swiglu, &s);
                everywhere(run_embed, &s);
            }
        }
}

/* ---- attention --------------------------------------------------------------------------------- */

struct attn_shape {
    int64_t hq, hkv, dk, dv, pad;
    int n_seq;
    int32_t nq[6], len[6]; /* queries, keys */
    enum kern_prec prec;   /* bf16: inputs have such values, so that only the weights' rounding shows */
};

static float *attn_in(struct side *b, const struct attn_shape *s, int64_t n, uint64_t id, float scale)
{
    float *p = side_numbers(b, n, id, scale), *there = (float *)side_alloc(b, (n + 1) * 4) + 1;
    for (int64_t i = 0; i < n && s->prec == KERN_BF16; i++) {
        uint32_t u;
        memcpy(&u, p + i, 4);
        u &= 0xFFFF0000;
        memcpy(p + i, &u, 4);
    }
    kern_put(b->k, there, p, n * 4);
    return there;
}

static int64_t total(const struct attn_shape *s, const int32_t *n)
{
    int64_t t = 0;
    for (int i = 0; i < s->n_seq; i++)
        t += n[i];
    return t;
}

static int32_t *starts(struct side *b, const struct attn_shape *s, const int32_t *n)
{
    int32_t *cu = ARENA_NEW(&b->mem, int32_t, s->n_seq + 1);
    for (int i = 0; i < s->n_seq; i++)
        cu[i + 1] = cu[i] + n[i];
    return cu;
}

static struct kern_attn attn_args(struct side *b, const struct attn_shape *s)
{
    int64_t ldq = s->hq * s->dk + s->pad, ldk = s->hkv * s->dk + s->pad, ldv = s->hkv * s->dv, ldo = s->hq * s->dv + s->pad;
    int64_t tq = total(s, s->nq), tk = total(s, s->len);
    int f32 = s->prec == KERN_F32;
    return (struct kern_attn){
        .prec = s->prec, .o = side_out(b, "o", tq * ldo, f32 ? 4e-6 : 4e-3, f32, 1), .lse = side_out(b, "lse", tq * s->hq, 2e-6, f32, 0), .q = attn_in(b, s, tq * ldq, 2, 2),
        .kv = {.k = attn_in(b, s, tk * ldk, 3, 2), .v = attn_in(b, s, tk * ldv, 4, 1), .cu_k = starts(b, s, s->len), .ldk = ldk, .ldv = ldv,
               .head_stride_k = s->dk, .head_stride_v = s->dv},
        .cu_q = starts(b, s, s->nq), .kv_len = s->len, .n_seq = s->n_seq, .hq = s->hq, .hkv = s->hkv, .dk = s->dk, .dv = s->dv,
        .ldq = ldq, .ldo = ldo, .scale = 1 / sqrtf((float)s->dk),
    };
}

static void run_attn(struct side *b, const void *arg)
{
    struct kern_attn a = attn_args(b, arg);
    kern_attn(b->k, &a);
}

/* The same keys in pages, in an order of pages that is nobody's, with poison where no key is. */
static void run_paged(struct side *b, const void *arg)
{
    const struct attn_shape *s = arg;
    struct kern_attn a = attn_args(b, s);
    int64_t most = 0, n = 0;
    for (int i = 0; i < s->n_seq; i++) {
        int64_t blocks = (s->len[i] + KERN_PAGE - 1) / KERN_PAGE;
        most = blocks > most ? blocks : most;
        n += blocks;
    }
    int64_t sk = s->hkv * KERN_PAGE * s->dk + 5, sv = s->hkv * KERN_PAGE * s->dv + 3, tk = total(s, s->len), next = 0;
    float *poison = ARENA_NEW(&b->mem, float, n * (sk + sv));
    int32_t *pages = ARENA_NEW(&b->mem, int32_t, s->n_seq * most), *page = ARENA_NEW(&b->mem, int32_t, tk), *slot = ARENA_NEW(&b->mem, int32_t, tk);
    for (int64_t i = 0; i < n * (sk + sv); i++)
        poison[i] = NAN;
    float *kp = side_put(b, poison, n * sk * 4), *vp = side_put(b, poison, n * sv * 4);
    for (int i = 0; i < s->n_seq; i++)
        for (int32_t j = 0; j < s->len[i]; j++) {
            int64_t row = a.kv.cu_k[i] + j;
            if (j % KERN_PAGE == 0)
                pages[i * most + j / KERN_PAGE] = (int32_t)(n - 1 - next++);
            page[row] = pages[i * most + j / KERN_PAGE];
            slot[row] = j % KERN_PAGE;
        }
    kern_kv_write(b->k, &(struct kern_kv_write){
        .k_pages = kp, .v_pages = vp, .k = a.kv.k, .v = a.kv.v, .page = page, .slot = slot, .t = tk, .hkv = s->hkv, .dk = s->dk, .dv = s->dv,
        .ldk = a.kv.ldk, .ldv = a.kv.ldv, .page_stride_k = sk, .page_stride_v = sv,
    });
    a.kv = (struct kern_kv){.k = kp, .v = vp, .pages = pages, .max_pages = most, .page_stride_k = sk, .page_stride_v = sv};
    kern_attn(b->k, &a);
}

static void run_attn_bwd(struct side *b, const void *arg)
{
    const struct attn_shape *s = arg;
    struct kern_attn a = attn_args(b, s);
    int64_t t = total(s, s->nq);
    int f32 = s->prec == KERN_F32;
    double tol = f32 ? 1e-5 : 1e-2;
    kern_attn(b->k, &a);
    kern_attn_bwd(b->k, &(struct kern_attn_bwd){
        .prec = s->prec, .dq = side_out(b, "dq", t * a.ldq, tol, f32, 5), .dk = side_out(b, "dk", t * a.kv.ldk, tol, f32, 6), .dv = side_out(b, "dv", t * a.kv.ldv, tol, f32, 7),
        .dout = attn_in(b, s, t * a.ldo, 8, 1), .o = a.o, .lse = a.lse, .q = a.q, .kv = a.kv, .cu_q = a.cu_q, .n_seq = a.n_seq, .hq = a.hq, .hkv = a.hkv,
        .d_k = a.dk, .d_v = a.dv, .ldq = a.ldq, .ldo = a.ldo, .scale = a.scale,
    });
}

static void test_attn(void **state)
{
    (void)state;
    static const struct attn_shape shapes[] = {
        {1, 1, 1, 1, 0, 1, {1}, {1}, KERN_F32},
        {2, 1, 16, 16, 0, 2, {3, 1}, {3, 9}, KERN_F32},
        {6, 2, 24, 40, 3, 3, {70, 1, 5}, {70, 65, 64}, KERN_F32},
        {7, 1, 32, 32, 0, 4, {1, 0, 67, 2}, {200, 0, 129, 130}, KERN_F32},
        {20, 1, 33, 17, 0, 2, {2, 1}, {67, 1}, KERN_F32},
        {2, 1, 80, 72, 0, 2, {2, 40}, {300, 40}, KERN_F32}, /* heads above 64, more than one chunk of keys */
    };
    static const struct attn_shape square[] = {
        {1, 1, 1, 1, 0, 1, {1}, {1}, KERN_F32},
        {4, 2, 24, 40, 3, 3, {70, 1, 5}, {70, 1, 5}, KERN_F32},
        {3, 1, 20, 20, 0, 2, {0, 130}, {0, 130}, KERN_F32},
        {2, 1, 72, 80, 1, 1, {67}, {67}, KERN_F32},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int prec = 0; prec < 2; prec++) {
            struct attn_shape s = shapes[i];
            s.prec = (enum kern_prec)prec;
            everywhere(run_attn, &s);
            everywhere(run_paged, &s);
        }
    for (size_t i = 0; i < sizeof square / sizeof *square; i++)
        for (int prec = 0; prec < 2; prec++) {
            struct attn_shape s = square[i];
            s.prec = (enum kern_prec)prec;
            everywhere(run_attn_bwd, &s);
        }
}

/* ---- head ------------------------------------------------------------------------------------ */

static int32_t *targets(struct side *b, int64_t t, int64_t v)
{
    int32_t *target = ARENA_NEW(&b->mem, int32_t, t);
    for (int64_t i = 0; i < t; i++)
        target[i] = i % 5 == 3 ? -1 : (int32_t)rng_below((uint64_t)v, 3, RNG_TEST, 9, 0, (uint64_t)i);
    return target;
}

static void run_head(struct side *b, const void *arg)
{
    const struct shape *s = arg;
    int64_t ldx = s->k + s->pad, t = s->m, v = s->n;
    int exact = s->prec == KERN_F32;
    double tol = exact ? 1e-5 : 2e-4;
    struct kern_weight w = side_weight(b, v, s->k, s->prec, 1);
    float *x = side_in(b, t * ldx, 2, 1), *logp = side_out(b, "logp", t, 1e-5, exact, 0), *lse = side_out(b, "lse", t, 1e-5, exact, 0);
    float *ent = side_out(b, "entropy", t, 1e-5, exact, 0);
    int32_t *target = targets(b, t, v);
    float temp = s->extras ? 0.7f : 1;
    kern_head(b->k, &(struct kern_head){.logp = logp, .lse = lse, .entropy = ent, .x = x, .w = &w, .target = target, .t = t, .ldx = ldx, .temperature = temp});
    float *g = side_in(b, t, 3, 1), *ge = s->extras ? side_in(b, t, 4, 1) : NULL;
    kern_head_bwd(b->k, &(struct kern_head_bwd){
        .dx = side_out(b, "dx", t * ldx, tol, exact, 5), .dw = side_out(b, "dw", v * s->k, tol, exact, 6), .x = x, .lse = lse, .entropy = ent, .g = g, .ge = ge, .w = &w,
        .target = target, .t = t, .ldx = ldx, .temperature = temp, .fresh = s->pad == 1,
    });
    kern_head_loss(b->k, &(struct kern_head_loss){.logp = side_out(b, "loss: logp", t, 1e-5, exact, 0), .dx = side_out(b, "loss: dx", t * ldx, tol, exact, 5),
                                                  .dw = side_out(b, "loss: dw", v * s->k, tol, exact, 6), .x = x, .g = g, .w = &w, .target = target, .t = t, .ldx = ldx,
                                                  .temperature = 0.9f, .fresh = s->pad == 2});
    /* the two ways to a log-prob have the same bits */
    float *logits = side_out(b, "logits", t * v, 4e-6, exact, 0), *lp = side_out(b, "logits: logp", t, 1e-5, exact, 0);
    kern_logits(b->k, &(struct kern_logits){.y = logits, .x = x, .w = &w, .t = t, .ldx = ldx});
    kern_logp(b->k, &(struct kern_logp){.logp = lp, .lse = side_out(b, "logits: lse", t, 1e-5, exact, 0), .entropy = side_out(b, "logits: entropy", t, 1e-5, exact, 0),
                                        .logits = logits, .target = target, .t = t, .v = v, .temperature = temp});
    float *a = ARENA_NEW(&b->mem, float, 2 * t), *c = a + t;
    kern_get(b->k, a, logp, t * 4);
    kern_get(b->k, c, lp, t * 4);
    if (b->k != ref)
        assert_memory_equal(a, c, (size_t)t * 4);
}

static void test_head(void **state)
{
    (void)state;
    static const int64_t tvk[][3] = {{1, 2, 3}, {5, 1024, 16}, {19, 1025, 33}, {9, 2500, 40}, {140, 70, 8}};
    for (size_t i = 0; i < sizeof tvk / sizeof *tvk; i++)
        for (int prec = 0; prec < 2; prec++) {
            struct shape s = {tvk[i][0], tvk[i][1], tvk[i][2], (int64_t)i % 3, (enum kern_prec)prec, prec ^ (int)(i & 1)};
            everywhere(run_head, &s);
        }
}

/* ---- one order per sum ------------------------------------------------------------------------- */

/* Some rows of a linear, alone: the bits of all of them together. Every tile shape is met. */
static void test_subsets(void **state)
{
    (void)state;
    enum { M = 200, N = 70, K = 100 };
    static const int64_t some[][2] = {{0, 1}, {199, 1}, {3, 5}, {7, 16}, {11, 17}, {100, 64}, {60, 65}, {0, 130}};
    for (int d = 0; d < n_dev; d++)
        for (int prec = 0; prec < 2; prec++) {
            struct side s = {.k = dev[d]};
            float all[M * N], part[M * N];
            arena_init(&s.mem, "device test", (int64_t)1 << 30);
            struct kern_weight w = side_weight(&s, N, K, (enum kern_prec)prec, 1);
            float *x = side_in(&s, M * K, 2, 1), *y = side_alloc(&s, sizeof all);
            kern_linear(s.k, &(struct kern_linear){.y = y, .x = x, .w = &w, .m = M});
            kern_get(s.k, all, y, sizeof all);
            for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
                kern_linear(s.k, &(struct kern_linear){.y = y, .x = x + some[i][0] * K, .w = &w, .m = some[i][1]});
                kern_get(s.k, part, y, some[i][1] * N * 4);
                if (memcmp(part, all + some[i][0] * N, (size_t)(some[i][1] * N) * 4))
                    fail_msg("%s: rows %d.. (%d of them, precision %d) have other bits alone", kern_name(s.k), (int)some[i][0], (int)some[i][1], prec);
            }
            side_done(&s);
        }
}

/* A sequence in prefills of any length and decode steps, alone or behind another, from pages: the bits of one pass over it. */
static void test_histories(void **state)
{
    (void)state;
    enum { N = 300, HQ = 4, HKV = 2, D = 32, PAGES = 8 }; /* more keys than a chunk has */
    for (int turn = 0; turn < 2 * n_dev; turn++) {
        const int d = turn / 2, emu = d == 0 && emulated;
        struct side s = {.k = dev[d]};
        float want[N * HQ * D], got[N * HQ * D];
        arena_init(&s.mem, "device test", (int64_t)1 << 30);
        const int32_t whole[2] = {0, N}, len = N;
        float *q = side_in(&s, (N + 3) * HQ * D, 2, 2), *k = side_in(&s, (N + 3) * HKV * D, 3, 2), *v = side_in(&s, (N + 3) * HKV * D, 4, 1);
        float *o = side_alloc(&s, (N + 3) * HQ * D * 4), *kp = side_alloc(&s, PAGES * HKV * KERN_PAGE * D * 4), *vp = side_alloc(&s, PAGES * HKV * KERN_PAGE * D * 4);
        struct kern_attn a = {.o = o, .q = q, .kv = {.k = k, .v = v, .cu_k = whole, .ldk = HKV * D, .ldv = HKV * D, .head_stride_k = D, .head_stride_v = D}, .cu_q = whole,
                              .kv_len = &len, .n_seq = 1, .hq = HQ, .hkv = HKV, .dk = D, .dv = D, .ldq = HQ * D, .ldo = HQ * D, .scale = 0.2f, .prec = (enum kern_prec)(turn % 2)};
        kern_attn(s.k, &a);
        kern_get(s.k, want, o, sizeof want);
        for (int trial = 0; trial < (emu ? 3 : 60); trial++) {
            uint64_t at = 0;
            for (int32_t done = 0; done < N;) {
                int32_t step = 1 + (trial % 2 || emu ? (int32_t)rng_below(emu ? 100 : 60, (uint64_t)trial, RNG_TEST, 1, 0, at++) : 0), other = (int32_t)rng_below(2, (uint64_t)trial, RNG_TEST, 2, 0, at++);
                step = step < N - done ? step : N - done;
                int32_t page[N + 3], slot[N + 3], lens[2] = {other ? 3 : done + step, done + step}, cu[3] = {0, other ? 3 : step, 3 + step};
                int32_t pages[2][5] = {{7, 7, 7, 7, 7}, {5, 2, 6, 0, 1}};
                for (int32_t i = 0; i < step; i++)
                    page[i] = pages[1][(done + i) / KERN_PAGE], slot[i] = (done + i) % KERN_PAGE;
                kern_kv_write(s.k, &(struct kern_kv_write){.k_pages = kp, .v_pages = vp, .k = k + done * HKV * D, .v = v + done * HKV * D, .page = page, .slot = slot, .t = step,
                                                           .hkv = HKV, .dk = D, .dv = D, .ldk = HKV * D, .ldv = HKV * D, .page_stride_k = HKV * KERN_PAGE * D,
                                                           .page_stride_v = HKV * KERN_PAGE * D});
                struct kern_attn p = a;
                /* behind another sequence of three: its queries are rows of q before ours, whatever they are */
                p.q = other ? (done >= 3 ? q + (done - 3) * HQ * D : q) : q + done * HQ * D;
                if (other && done < 3)
                    p.q = q + done * HQ * D, other = 0, cu[1] = step, lens[0] = done + step;
                p.kv = (struct kern_kv){.k = kp, .v = vp, .pages = other ? pages[0] : pages[1], .max_pages = 5, .page_stride_k = HKV * KERN_PAGE * D, .page_stride_v = HKV * KERN_PAGE * D};
                p.cu_q = cu, p.kv_len = lens, p.n_seq = 1 + other;
                kern_attn(s.k, &p);
                kern_get(s.k, got, o + (other ? 3 * HQ * D : 0), step * HQ * D * 4);
                if (memcmp(got, want + done * HQ * D, (size_t)step * HQ * D * 4))
                    fail_msg("%s: trial %d: tokens %d.. (%d of them) have other bits than in one pass", kern_name(s.k), trial, done, step);
                done += step;
            }
        }
        side_done(&s);
    }
}

/* A sequence of several chunks of keys alone, where chunks are computed side by side, and beside so many others that one block of threads
 * walks all of them. */
static void test_attn_crowd(void **state)
{
    (void)state;
    enum { CROWD = 140, KEYS = 600, Q = 3, HQ = 2, D = 32 };
    for (int turn = 0; turn < 2 * n_dev; turn++) {
        struct side s = {.k = dev[turn / 2]};
        int32_t cu_q[CROWD + 2] = {0, Q}, cu_k[CROWD + 2] = {0, KEYS}, len[CROWD + 1] = {KEYS};
        float alone[Q * HQ * D], beside[Q * HQ * D], lse[2][Q * HQ];
        for (int i = 1; i <= CROWD; i++)
            cu_q[i + 1] = Q + i, cu_k[i + 1] = KEYS + i, len[i] = 1;
        arena_init(&s.mem, "device test", (int64_t)1 << 30);
        float *q = side_in(&s, (Q + CROWD) * HQ * D, 2, 2), *k = side_in(&s, (KEYS + CROWD) * D, 3, 2), *v = side_in(&s, (KEYS + CROWD) * D, 4, 1);
        float *o = side_alloc(&s, (Q + CROWD) * HQ * D * 4), *l = side_alloc(&s, (Q + CROWD) * HQ * 4);
        struct kern_attn a = {.o = o, .lse = l, .q = q, .kv = {.k = k, .v = v, .cu_k = cu_k, .ldk = D, .ldv = D, .head_stride_k = D, .head_stride_v = D}, .cu_q = cu_q, .kv_len = len,
                              .n_seq = 1, .hq = HQ, .hkv = 1, .dk = D, .dv = D, .ldq = HQ * D, .ldo = HQ * D, .scale = 0.2f, .prec = (enum kern_prec)(turn % 2)};
        kern_attn(s.k, &a);
        kern_get(s.k, alone, o, sizeof alone);
        kern_get(s.k, lse[0], l, sizeof lse[0]);
        a.n_seq = CROWD + 1;
        kern_attn(s.k, &a);
        kern_get(s.k, beside, o, sizeof beside);
        kern_get(s.k, lse[1], l, sizeof lse[1]);
        assert_memory_equal(alone, beside, sizeof alone);
        assert_memory_equal(lse[0], lse[1], sizeof lse[0]);
        side_done(&s);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    struct kern *k = NULL;
    struct err e = {0};
    assert_false(!n_dev || kern_has(dev[0], KERN_OP_route) || kern_has(dev[0], KERN_OP_heads) || kern_has_prec(dev[0], KERN_FP8) || kern_on_host(dev[0]));
    assert_true(kern_has(dev[0], KERN_OP_attn) && kern_has_prec(dev[0], KERN_BF16) && kern_has(cpu, KERN_OP_route) && kern_on_host(cpu));
    if (kern_open(&(struct kern_opts){.backend = "cuda"}, &k, &e) == ERR_OK)
        kern_close(k);
    else
        assert_true(e.code == ERR_DEVICE && strstr(e.msg, "--device cpu") && !strchr(e.msg, '\n'));
    assert_int_equal(kern_open(&(struct kern_opts){.backend = "auto"}, &k, &e), ERR_OK);
    kern_close(k);
}

/* `devices`: says which there are, fails without one. `quick`: one small shape of everything, for tools that watch every access. */
static int say_devices(void)
{
    struct err e = {0};
    struct kern *k = open_or_null("cuda", &e);
    printf("figure: %s\n", k ? kern_name(k) : e.msg);
    if (k)
        kern_close(k);
    return k == NULL;
}

static void test_quick(void **state)
{
    (void)state;
    const struct row_shape rows = {40, 130, 2, 2, 3}, plain = {40, 130, 2, 2, 1};
    for (int prec = 0; prec < 2; prec++) {
        const struct shape s = {97, 70, 66, 1, (enum kern_prec)prec, 1}, few = {5, 65, 100, 2, (enum kern_prec)prec, 0}, head = {19, 1025, 33, 1, (enum kern_prec)prec, 1};
        const struct attn_shape attn = {6, 2, 24, 40, 3, 3, {70, 1, 5}, {70, 65, 64}, (enum kern_prec)prec}, square = {4, 2, 24, 40, 3, 3, {70, 1, 5}, {70, 1, 5}, (enum kern_prec)prec};
        everywhere(run_attn, &attn), everywhere(run_paged, &attn), everywhere(run_attn_bwd, &square);
        everywhere(run_linear, &s), everywhere(run_linear, &few), everywhere(run_dgrad, &s), everywhere(run_wgrad, &s), everywhere(run_head, &head);
    }
    everywhere(run_norm, &rows), everywhere(run_rope, &rows), everywhere(run_swiglu, &plain), everywhere(run_embed, &plain);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest quick[] = {cmocka_unit_test(test_quick)};
    if (argc > 1 && !strcmp(argv[1], "devices"))
        return say_devices();
    if (argc > 1 && !strcmp(argv[1], "quick"))
        return cmocka_run_group_tests(quick, open_all, close_all);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_linears), cmocka_unit_test(test_rows), cmocka_unit_test(test_attn),
        cmocka_unit_test(test_head), cmocka_unit_test(test_subsets), cmocka_unit_test(test_histories), cmocka_unit_test(test_attn_crowd),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
