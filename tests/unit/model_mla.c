/* Catches: the two forms of latent attention taken for one another, or further apart than rounding; MTP rows that see their neighbours,
 * or whose gradient is not the derivative; a folder with MTP layers that are missing, or whose copies are none. */
#include <math.h>

#include "core/json.h"
#include "tests/model_test.h"

static struct kern *cpu;
static int32_t positions[200];

static void close_to(const float *got, const float *want, int64_t n, double tol)
{
    double most = 0, scale = 0;
    for (int64_t i = 0; i < n; i++) {
        scale = fmax(scale, fabs((double)want[i]));
        most = fmax(most, fabs((double)got[i] - (double)want[i]));
    }
    if (!(most <= tol * scale))
        fail_msg("logits differ by %.3g of their maximum %.3g (allowed %.1g)", most / scale, scale, tol);
}

/* ---- the two forms of latent attention -------------------------------------------------------- */

static struct model_config latent_config(uint64_t seed)
{
    struct model_config c;
    do
        c = random_config(seed++);
    while (!c.kv_lora);
    return c;
}

/* In f32 the forms agree to the rounding of a few hundred sums (1e-5 of the largest logit), and are not the same bits: comparing them by
 * bits would be wrong, and taking one for the other silently too. Without masters, the same bits as with them; the cache has the latent's size. */
static void test_forms(void **state)
{
    (void)state;
    enum { N = 90 };
    static float z[3][N * 200];
    static int32_t ids[N], rows[N];
    const int32_t cu[2] = {0, N};
    char dir[64];
    struct err e = {0};
    temp_dir(dir);
    for (uint64_t i = 0; i < 12; i++) {
        struct model_config c = latent_config(300 + 10 * i);
        int64_t page[2];
        for (int k = 0; k < N; k++)
            ids[k] = (int32_t)draw(i, 500 + (uint32_t)k, (uint32_t)c.vocab), rows[k] = k;
        for (int form = 0; form < 3; form++) {
            struct model *m;
            struct model_opts o = {.mla = form ? MODEL_ABSORBED : MODEL_EXPANDED, .prec = (enum kern_prec)(i % 2), .train = form < 2};
            if (form < 2) {
                must(model_create(cpu, &c, 7, &o, &m, &e), &e);
                shake(m, 3);
                must(model_save(m, dir, 0, 0, &e), &e);
                page[form] = model_cache_page_bytes(m);
            } else
                must(model_open(cpu, dir, &o, &m, &e), &e);
            assert_string_equal(model_mla_name(m), form ? "absorbed" : "expanded");
            must(model_reserve(m, &(struct model_room){.tokens = N, .seqs = 1}, &e), &e);
            model_forward(m, &(struct model_batch){.n_tok = N, .n_seq = 1, .tokens = ids, .positions = positions, .cu_seqlens = cu}, 0);
            model_logits(m, rows, N, z[form]);
            model_close(m);
        }
        assert_int_equal(page[0] * (c.kv_lora + c.d_rope), page[1] * (i % 2 ? 2 : 1) * c.heads * (c.head_dim + c.d_v)); /* bf16: half */
        assert_memory_not_equal(z[0], z[1], (size_t)(N * c.vocab) * 4);
        assert_memory_equal(z[1], z[2], (size_t)(N * c.vocab) * 4);
        if (i % 2 == 0) /* in bf16 a rounding may change which experts a token meets */
            close_to(z[1], z[0], N * c.vocab, 1e-5);
    }
    must(file_remove_tree(dir, &e), &e);
}

/* ---- multi-token prediction -------------------------------------------------------------------- */

/* Rows of a few lengths, the shortest without any module; mtp log-probs [mtp, n] by place. */
struct ahead {
    int32_t ids[120], pos[120], target[120], cu[6];
    float logp[3 * 120];
};

static void ahead_fill(struct ahead *a, const struct model_config *c, uint64_t seed)
{
    static const int32_t len[] = {1, 40, 2, 3, 74};
    a->cu[0] = 0;
    for (int s = 0; s < 5; s++) {
        a->cu[s + 1] = a->cu[s] + len[s];
        for (int32_t i = 0; i < len[s]; i++) {
            int32_t t = a->cu[s] + i;
            a->ids[t] = (int32_t)draw(seed, 600 + (uint32_t)t, (uint32_t)c->vocab);
            a->pos[t] = i;
        }
    }
    for (int32_t t = 0; t < 120; t++)
        a->target[t] = draw(seed, 900 + (uint32_t)t, 4) ? (int32_t)draw(seed, 1100 + (uint32_t)t, (uint32_t)c->vocab) : -1;
}

static double ahead_loss(struct model *m, struct ahead *a, const float *g)
{
    double loss = 0;
    static float logp[120];
    model_forward(m, &(struct model_batch){.n_tok = 120, .n_seq = 5, .tokens = a->ids, .positions = a->pos, .cu_seqlens = a->cu}, 1);
    model_logp(m, &(struct model_logp){.target = a->target, .temperature = 1, .logp = logp});
    model_mtp(m, &(struct model_mtp){.target = a->target, .logp = a->logp});
    for (int64_t i = 0; g && i < model_conf(m)->mtp * 120; i++)
        loss += (double)g[i] * (double)a->logp[i];
    return loss;
}

/* A row's log-probs of every module are those of the row alone: nothing leaks from the neighbours. */
static void test_mtp_isolation(void **state)
{
    (void)state;
    struct ahead all, one;
    struct err e = {0};
    for (uint64_t i = 0; i < 6; i++) {
        struct model_config c = latent_config(400 + 10 * i);
        struct model *m;
        c.mtp = 1 + (int64_t)i % 3;
        must(model_create(cpu, &c, 3, &(struct model_opts){.mla = (enum model_mla)(i % 2), .prec = (enum kern_prec)(i % 3), .train = 1, .recompute = (int)(i / 3)}, &m, &e), &e);
        shake(m, 4);
        must(model_reserve(m, &(struct model_room){.tokens = 120, .seqs = 5, .train = 1}, &e), &e);
        ahead_fill(&all, &c, i);
        ahead_loss(m, &all, NULL);
        for (int s = 0; s < 5; s++) {
            int32_t n = all.cu[s + 1] - all.cu[s], cu[2] = {0, n};
            model_forward(m, &(struct model_batch){.n_tok = n, .n_seq = 1, .tokens = all.ids + all.cu[s], .positions = all.pos + all.cu[s], .cu_seqlens = cu}, 1);
            model_mtp(m, &(struct model_mtp){.target = all.target + all.cu[s], .logp = one.logp});
            for (int64_t k = 0; k < c.mtp; k++)
                for (int32_t t = 0; t < n; t++) {
                    float v = all.logp[k * 120 + all.cu[s] + t];
                    assert_memory_equal(&one.logp[k * n + t], &v, 4);
                    assert_true((v != 0) == (t > k && all.target[all.cu[s] + t] >= 0));
                }
        }
        model_close(m);
    }
}

/* The gradient is the derivative, along a random direction of all parameters (no experts: a choice has no derivative). */
static void test_mtp_derivative(void **state)
{
    (void)state;
    struct err e = {0};
    for (uint64_t i = 0; i < 4; i++) {
        struct model_config c = latent_config(500 + 10 * i);
        struct arena mem;
        struct model *m;
        struct ahead a;
        static float g[3 * 120], none[120];
        const double step = 1e-3;
        double along = 0, size = 0, loss[2];
        int64_t n;
        c.mtp = 2, c.experts = 0;
        arena_init(&mem, "derivative", 64 << 20);
        must(model_create(cpu, &c, 3, &(struct model_opts){.mla = (enum model_mla)(i % 2), .train = 1}, &m, &e), &e);
        shake(m, 4);
        must(model_reserve(m, &(struct model_room){.tokens = 120, .seqs = 5, .train = 1}, &e), &e);
        const struct model_param *p = model_params(m, &n);
        float **grads = grads_alloc(m, &mem);
        ahead_fill(&a, &c, i);
        for (int k = 0; k < 240; k++)
            g[k] = (float)draw(i, 2000 + (uint32_t)k, 100) / 100 - 0.5f;
        ahead_loss(m, &a, g);
        model_backward(m, &(struct model_grad){.g = none, .g_mtp = g, .grads = grads});
        for (int sign = 0; sign < 2; sign++) {
            for (int64_t q = 0; q < n; q++)
                for (int64_t j = 0; j < p[q].n; j++) {
                    double d = draw(i, 3000 + (uint32_t)(q * 131 + j), 2) ? 1 : -1;
                    if (!sign)
                        along += d * (double)grads[q][j], size += fabs((double)grads[q][j]);
                    p[q].w[j] += (float)((sign ? -2 : 1) * step * d);
                }
            model_refresh(m);
            loss[sign] = ahead_loss(m, &a, g);
        }
        double slope = (loss[0] - loss[1]) / (2 * step);
        if (fabs(slope - along) > 2e-3 * size)
            fail_msg("case %llu: the loss changes by %g along a direction, the gradient says %g (sum of magnitudes %g)", (unsigned long long)i, slope, along, size);
        assert_true(fabs(along) > 1e-2 * sqrt(size));
        model_close(m);
        arena_release(&mem);
    }
}

/* A folder saved by a program that does not know MTP opens without; an embedding that is no copy does not. */
static void test_mtp_folder(void **state)
{
    (void)state;
    char dir[64], path[100];
    struct err e = {0};
    struct model *m;
    struct model_config c = latent_config(600);
    temp_dir(dir);
    c.mtp = 0;
    must(model_create(cpu, &c, 3, &(struct model_opts){.train = 1}, &m, &e), &e);
    must(model_save(m, dir, 0, 0, &e), &e);
    model_close(m);
    snprintf(path, sizeof path, "%s/config.json", dir);
    json_t *o;
    must(json_load(path, 1 << 20, &o, &e), &e);
    json_object_set_new(o, "num_nextn_predict_layers", json_integer(1));
    assert_int_equal(json_dump_file(o, path, 0), 0);
    json_decref(o);
    must(model_open(cpu, dir, &(struct model_opts){.train = 1}, &m, &e), &e);
    assert_int_equal(model_conf(m)->mtp, 0);
    model_close(m);
    c.mtp = 2;
    must(model_create(cpu, &c, 3, &(struct model_opts){.train = 1}, &m, &e), &e);
    must(model_save(m, dir, 0, 0, &e), &e);
    model_close(m);
    struct sbuf b;
    sbuf_init(&b, 64 << 20);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    must(file_read(path, &b, &e), &e);
    struct arena mem;
    struct st_file f;
    arena_init(&mem, "file", 8 << 20);
    must(st_open(path, &mem, &f, &e), &e);
    char name[80];
    snprintf(name, sizeof name, "model.layers.%lld.embed_tokens.weight", (long long)c.layers + 1);
    const struct st_tensor *t = st_find(&f, str_of(name));
    assert_non_null(t);
    int64_t at = (const char *)t->data - (const char *)f.map.p;
    st_close(&f);
    b.p[at] ^= 1;
    must(file_write_atomic(path, sbuf_str(&b), &e), &e);
    assert_int_equal(model_open(cpu, dir, &(struct model_opts){.train = 1}, &m, &e), ERR_UNSUPPORTED);
    assert_non_null(strstr(e.msg, "is not a copy"));
    sbuf_release(&b);
    arena_release(&mem);
    must(file_remove_tree(dir, &e), &e);
}

static int setup(void **state)
{
    struct err e = {0};
    (void)state;
    for (int i = 0; i < 200; i++)
        positions[i] = i;
    return kern_open(&(struct kern_opts){.backend = "cpu"}, &cpu, &e);
}

static int teardown(void **state)
{
    (void)state;
    kern_close(cpu);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms), cmocka_unit_test(test_mtp_isolation), cmocka_unit_test(test_mtp_derivative), cmocka_unit_test(test_mtp_folder),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
