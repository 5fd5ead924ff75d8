/* Catches: a cached activation that is read under another scale or of another layer, a gradient through the wrong rounding, bits of a
 * gradient that depend on recompute, threads or instruction set; FP8 bytes of a checkpoint that change on the way in or out. */
#include "model/model.h"

#include <math.h>
#include <unistd.h>

#include "core/json.h"
#include "core/par.h"
#include "tests/model_test.h"

/* ---- FP8 training --------------------------------------------------------------------------- */

enum { GRAD_TOKENS = 150 };

/* Gradients of the mean log-prob of two short texts, twice over. */
static float **grads_of(struct kern *k, const struct model_config *c, const struct model_opts *o, struct arena *a, int64_t *n_params)
{
    struct model *m;
    struct err e = {0};
    int32_t ids[GRAD_TOKENS], target[GRAD_TOKENS], cu[] = {0, 90, GRAD_TOKENS};
    float logp[GRAD_TOKENS], g[GRAD_TOKENS];
    int32_t pos[GRAD_TOKENS];
    for (int i = 0; i < GRAD_TOKENS; i++) {
        ids[i] = (int32_t)draw(5, 500 + (uint32_t)i, (uint32_t)c->vocab);
        target[i] = (int32_t)draw(6, 500 + (uint32_t)i, (uint32_t)c->vocab);
        pos[i] = i < 90 ? i : i - 90;
        g[i] = 1.f / GRAD_TOKENS;
    }
    must(model_create(k, c, 7, o, &m, &e), &e);
    must(model_reserve(m, &(struct model_room){.tokens = GRAD_TOKENS, .seqs = 2, .train = 1}, &e), &e);
    float **grads = grads_alloc(m, a);
    for (int pass = 0; pass < 2; pass++) { /* the second adds to the first: buffers must not remember */
        model_forward(m, &(struct model_batch){.n_tok = GRAD_TOKENS, .n_seq = 2, .tokens = ids, .positions = pos, .cu_seqlens = cu}, 1);
        model_logp(m, &(struct model_logp){.target = target, .temperature = 1, .logp = logp});
        model_backward(m, &(struct model_grad){.g = g, .grads = grads});
    }
    model_params(m, n_params);
    model_close(m);
    return grads;
}

/* FP8's gradient is that of fp32 within the noise of 3 bits of mantissa. */
static void test_fp8_gradients(void **state)
{
    (void)state;
    struct kern *k[4];
    int n_kerns = open_kerns(k);
    for (uint64_t seed = 0; seed < 10; seed++) {
        struct model_config c = random_config(seed + 900);
        struct arena a;
        int64_t n = 0;
        enum model_mla form = seed % 2 ? MODEL_ABSORBED : MODEL_EXPANDED;
        c.hidden = 130, c.inter = 140, c.expert_inter = c.experts ? 72 : 0, c.init_range = 0.05;
        c.q_lora = c.q_lora ? 70 : 0, c.kv_lora = c.kv_lora ? 136 : 0;
        arena_init(&a, "grads", 256 << 20);
        par_init(2);
        float **want = grads_of(k[0], &c, &(struct model_opts){.prec = KERN_F32, .train = 1, .mla = form}, &a, &n);
        float **first = grads_of(k[0], &c, &(struct model_opts){.prec = KERN_FP8, .train = 1, .mla = form}, &a, &n);
        struct model *m;
        struct err e = {0};
        must(model_create(k[0], &c, 7, &(struct model_opts){.prec = KERN_FP8, .train = 1, .mla = form}, &m, &e), &e);
        const struct model_param *p = model_params(m, &n);
        double dot = 0, x2 = 0, y2 = 0;
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < p[i].n; j++)
                dot += (double)first[i][j] * (double)want[i][j], x2 += (double)first[i][j] * (double)first[i][j], y2 += (double)want[i][j] * (double)want[i][j];
        if (!(dot > (c.experts ? 0.93 : 0.98) * sqrt(x2 * y2)) /* a few tokens go to other experts */ || fabs(sqrt(x2 / y2) - 1) > 0.05)
            fail_msg("seed %d (%s): cosine of fp8's and fp32's gradient is %.4f, of their lengths %.4f", (int)seed, c.type, dot / sqrt(x2 * y2), sqrt(x2 / y2));
        for (int i = 0; i < n_kerns; i++) {
            par_init(i % 2 ? 2 : 1);
            float **again = grads_of(k[i], &c, &(struct model_opts){.prec = KERN_FP8, .train = 1, .mla = form, .recompute = i % 2 == 0}, &a, &n);
            for (int64_t q = 0; q < n; q++)
                same_bits(again[q], first[q], p[q].n, p[q].name, seed);
        }
        struct model_room room = {.tokens = 4096, .seqs = 1, .train = 1};
        int64_t narrow = model_room_bytes(m, &room);
        model_close(m);
        must(model_create(k[0], &c, 7, &(struct model_opts){.prec = KERN_BF16, .train = 1, .mla = form}, &m, &e), &e);
        if (c.layers > 1 && !c.experts) /* with one layer there is nothing to share; experts need room for the wide rows of their own */
            assert_true(narrow < model_room_bytes(m, &room));
        model_close(m);
        arena_release(&a);
    }
    par_init(0);
    for (int i = 0; i < n_kerns; i++)
        kern_close(k[i]);
}

/* ---- balance of the experts ------------------------------------------------------------------- */

enum { BAL_TOKENS = 40 };

struct balance_case {
    struct model *m;
    struct model_batch b;
    int32_t ids[BAL_TOKENS], pos[BAL_TOKENS], cu[3];
    float logp[BAL_TOKENS], g[BAL_TOKENS];
};

static struct model_config balance_config(int softmax)
{
    struct model_config c = {.type = "deepseek_v3", .architecture = "DeepseekV3ForCausalLM", .vocab = 50, .hidden = 20, .layers = 3, .heads = 2, .kv_heads = 2, .inter = 24,
                             .max_position = 64, .rms_eps = 1e-6, .init_range = 0.3, .bos = -1, .pad = -1, .kv_lora = 8, .d_nope = 6, .d_rope = 4, .d_v = 6, .head_dim = 10,
                             .rope_interleaved = 1, .experts = 6, .top_k = 2, .expert_inter = 10, .shared = 1, .groups = 2, .top_groups = 1, .first_dense = 1,
                             .router_normalise = 1, .router_scale = 2, .router_softmax = softmax, .router_bias = !softmax};
    c.rope = (struct kern_rope_spec){.type = KERN_ROPE_DEFAULT, .d = 4, .theta = 10000, .factor = 1, .truncate = 1, .original_max_position = 64};
    return c;
}

static void balance_open(struct balance_case *t, struct kern *k, int softmax, int frozen)
{
    struct model_config c = balance_config(softmax);
    struct err e = {0};
    must(model_create(k, &c, 3, &(struct model_opts){.train = 1, .freeze_router = frozen}, &t->m, &e), &e);
    must(model_reserve(t->m, &(struct model_room){.tokens = BAL_TOKENS, .seqs = 2, .train = 1}, &e), &e);
    for (int i = 0; i < BAL_TOKENS; i++) {
        t->ids[i] = (int32_t)draw(9, 100 + (uint32_t)i, 50);
        t->pos[i] = i < 25 ? i : i - 25;
        t->g[i] = 0;
    }
    t->cu[0] = 0, t->cu[1] = 25, t->cu[2] = BAL_TOKENS;
    t->b = (struct model_batch){.n_tok = BAL_TOKENS, .n_seq = 2, .tokens = t->ids, .positions = t->pos, .cu_seqlens = t->cu};
}

static double balance_run(struct balance_case *t, float **grads, float coef)
{
    double loss = 0;
    model_forward(t->m, &t->b, 1);
    model_logp(t->m, &(struct model_logp){.target = t->ids, .temperature = 1, .logp = t->logp});
    model_backward(t->m, &(struct model_grad){.g = t->g, .grads = grads, .balance = coef, .balance_loss = &loss});
    return loss;
}

/* Catches: a balance loss that is not the gradient's, is lost between layers, or reaches the frozen router. The sum over both mixtures
 * of the loss, against its difference quotient, for weights of every kind that it passes through. */
static void test_balance_gradient(void **state)
{
    (void)state;
    struct kern *k = NULL;
    struct err e = {0};
    must(kern_open(&(struct kern_opts){.backend = "cpu"}, &k, &e), &e);
    for (int softmax = 0; softmax < 2; softmax++) {
        struct balance_case t;
        struct arena a;
        int64_t n;
        int checked = 0, moved = 0;
        arena_init(&a, "balance", 64 << 20);
        balance_open(&t, k, softmax, 0);
        float **grads = grads_alloc(t.m, &a), **none = grads_alloc(t.m, &a);
        double at = balance_run(&t, grads, 1);
        assert_true(at > 0);
        const struct model_param *p = model_params(t.m, &n);
        for (int64_t i = 0; i < n; i++)
            for (int j = 0; j < 3; j++) {
                int64_t q = (int64_t)draw(17, (uint32_t)(i * 3 + j), (uint32_t)p[i].n);
                const float h = 0x1p-9f, was = p[i].w[q];
                double slope[2];
                for (int wide = 0; wide < 2; wide++) {
                    double side[2];
                    for (int up = 0; up < 2; up++) {
                        p[i].w[q] = was + (up ? h : -h) / (float)(1 + wide);
                        model_refresh(t.m);
                        side[up] = balance_run(&t, none, 1);
                    }
                    slope[wide] = (side[1] - side[0]) / (2 * (double)h) * (1 + wide);
                }
                p[i].w[q] = was;
                if (fabs(slope[0] - slope[1]) > 0.02 + 0.02 * fabs(slope[0]))
                    continue; /* a choice changed in between: there is no slope */
                if (fabs(slope[1] - (double)grads[i][q]) > 0.03 + 0.03 * fabs(slope[1]))
                    fail_msg("softmax %d: gradient of %s at %d is %g, the difference quotient %g", softmax, p[i].name, (int)q, (double)grads[i][q], slope[1]);
                checked++;
                moved += fabs(slope[1]) > 0.2;
            }
        model_refresh(t.m);
        assert_true(checked > 60 && moved > 10);
        model_close(t.m);
        balance_open(&t, k, softmax, 1);
        float **frozen = grads_alloc(t.m, &a);
        balance_run(&t, frozen, 1);
        p = model_params(t.m, &n);
        for (int64_t i = 0; i < n; i++) {
            int router = strstr(p[i].name, "mlp.gate.weight") != NULL, any = 0;
            for (int64_t q = 0; q < p[i].n; q++)
                any |= frozen[i][q] != 0;
            if (router)
                assert_true(!any && !p[i].decay);
        }
        model_close(t.m);
        arena_release(&a);
    }
    kern_close(k);
}

/* Loads are counted once per token and choice, also when layers are computed again; the bias moves against them, the choice follows, and
 * the record of the routes is that of the rows asked for. */
static void test_selection_bias(void **state)
{
    (void)state;
    struct kern *k = NULL;
    struct err e = {0};
    must(kern_open(&(struct kern_opts){.backend = "cpu"}, &k, &e), &e);
    struct balance_case t;
    struct arena a;
    arena_init(&a, "bias", 64 << 20);
    balance_open(&t, k, 0, 0);
    float **grads = grads_alloc(t.m, &a);
    int64_t n, first[6], sum = 0, worst[2] = {0, 0};
    const struct model_param *p = model_params(t.m, &n);
    float *bias = NULL;
    assert_int_equal(model_mixtures(t.m), 2);
    assert_int_equal(model_mixture_layer(t.m, 1), 2);
    for (int64_t i = 0; i < n; i++)
        if (!strcmp(p[i].name, "model.layers.2.mlp.gate.e_score_correction_bias"))
            bias = p[i].w;
    for (int i = 0; i < 6; i++)
        assert_true(bias[i] == 0); /* of a fresh model */
    for (int step = 0; step < 60; step++) {
        model_load_clear(t.m);
        balance_run(&t, grads, 0);
        const int64_t *load = model_load(t.m) + 6;
        sum = 0;
        for (int i = 0; i < 6; i++) {
            sum += load[i];
            worst[step > 0] = step == 0 || step == 59 ? (load[i] > worst[step > 0] ? load[i] : worst[step > 0]) : 0;
        }
        assert_int_equal(sum, BAL_TOKENS * 2);
        if (step == 0)
            memcpy(first, load, sizeof first);
        model_balance(t.m, 0.01f);
        for (int i = 0; i < 6 && step == 0; i++)
            assert_true(bias[i] == (first[i] * 6 < sum ? 0.01f : first[i] * 6 > sum ? -0.01f : 0.f));
    }
    assert_true(worst[1] < worst[0]);
    int32_t rows[2] = {31, 4};
    uint16_t got[8], again[8];
    assert_int_equal(model_route_width(t.m), 4);
    model_routes(t.m, rows, 2, got);
    model_routes(t.m, rows + 1, 1, again);
    assert_memory_equal(again, got + 4, 8);
    for (int i = 0; i < 8; i += 2)
        assert_true(got[i] < got[i + 1] && got[i + 1] < 6);
    model_close(t.m);
    arena_release(&a);
    kern_close(k);
}

/* ---- FP8 checkpoints --------------------------------------------------------------------------- */

static struct sbuf read_back(const char *dir, const char *name)
{
    char path[PATH_MAX];
    struct sbuf b;
    struct err e = {0};
    sbuf_init(&b, 64 << 20);
    snprintf(path, sizeof path, "%s/%s", dir, name);
    must(file_read(path, &b, &e), &e);
    return b;
}

static struct model_config folder_config(int aligned)
{
    struct model_config c = balance_config(0);
    c.init_range = 0.05;
    c.hidden = 150, c.q_lora = aligned ? 128 : 40, c.expert_inter = aligned ? 128 : 36, c.inter = aligned ? 256 : 90;
    return c;
}

static void score(struct model *m, float *logp)
{
    static const int32_t ids[] = {1, 5, 9, 2, 8, 40}, pos[] = {0, 1, 2, 3, 4, 5}, cu[] = {0, 6};
    struct err e = {0};
    must(model_reserve(m, &(struct model_room){.tokens = 6, .seqs = 1}, &e), &e);
    model_forward(m, &(struct model_batch){.n_tok = 6, .n_seq = 1, .tokens = ids, .positions = pos, .cu_seqlens = cu}, 0);
    model_logp(m, &(struct model_logp){.target = ids, .temperature = 1, .logp = logp});
}

/* An FP8 folder scores as the model that wrote it (same bytes), with masters or without; written again it is the same file; read in fp32 its
 * weights are code times scale. Blocks that do not meet (short parts of a stacked matrix) stay within one rounding. */
static void test_fp8_folder(void **state)
{
    (void)state;
    struct kern *k = NULL;
    struct err e = {0};
    char dir[64], again[64];
    must(kern_open(&(struct kern_opts){.backend = "cpu"}, &k, &e), &e);
    for (int aligned = 0; aligned < 2; aligned++) {
        struct model_config c = folder_config(aligned);
        struct model *m, *f;
        float own[6], got[2][6];
        must(model_create(k, &c, 5, &(struct model_opts){.prec = KERN_FP8, .train = 1}, &m, &e), &e);
        must(model_save(m, temp_dir(dir), MODEL_FP8, 0, &e), &e);
        temp_dir(again);
        score(m, own);
        for (int train = 0; train < 2; train++) {
            must(model_open(k, dir, &(struct model_opts){.prec = KERN_FP8, .train = train}, &f, &e), &e);
            score(f, got[train]);
            if (train)
                must(model_save(f, again, MODEL_FP8, 0, &e), &e);
            model_close(f);
        }
        assert_memory_equal(got[0], got[1], sizeof own);
        for (int i = 0; i < 6; i++) /* embedding and head are bf16 in the file, so these are not the same bits */
            if (fabsf(got[0][i] - own[i]) > 0.25f)
                fail_msg("log-prob %d is %g, of the model that was saved %g", i, (double)got[0][i], (double)own[i]);
        struct sbuf x = read_back(dir, "model.safetensors"), y = read_back(again, "model.safetensors");
        assert_true(!aligned || (x.n == y.n && !memcmp(x.p, y.p, (size_t)x.n)));
        sbuf_release(&x);
        sbuf_release(&y);
        struct st_file file;
        struct arena mem;
        char path[100];
        int64_t n;
        arena_init(&mem, "st", 16 << 20);
        snprintf(path, sizeof path, "%s/model.safetensors", dir);
        must(st_open(path, &mem, &file, &e), &e);
        must(model_open(k, dir, &(struct model_opts){.prec = KERN_F32, .train = 1}, &f, &e), &e);
        const struct model_param *p = model_params(f, &n);
        int seen = 0;
        for (int64_t i = 0; i < n; i++) {
            char name[200];
            snprintf(name, sizeof name, "%s_scale_inv", p[i].name);
            const struct st_tensor *t = st_find(&file, str_of(p[i].name)), *s = st_find(&file, str_of(name));
            assert_non_null(t);
            if (!s)
                continue;
            seen++;
            int64_t across = (p[i].cols + 127) / 128;
            for (int64_t q = 0; q < p[i].n; q++) {
                float scale;
                memcpy(&scale, (const char *)s->data + (q / p[i].cols / 128 * across + q % p[i].cols / 128) * 4, 4);
                assert_true(p[i].w[q] == kern_e4m3_value(((const uint8_t *)t->data)[q]) * scale);
            }
        }
        assert_int_equal(seen, 3 * 5 + 3 + 2 * (6 * 3 + 3));
        assert_null(st_find(&file, STR("lm_head.weight_scale_inv")));
        assert_null(st_find(&file, STR("model.layers.1.mlp.gate.weight_scale_inv")));
        assert_int_equal(st_find(&file, STR("model.layers.1.mlp.gate.e_score_correction_bias"))->dtype, ST_F32);
        model_close(f);
        model_close(m);
        st_close(&file);
        arena_release(&mem);
        must(file_remove_tree(dir, &e), &e);
        must(file_remove_tree(again, &e), &e);
    }
    kern_close(k);
}

static void refused(struct kern *k, const char *dir, err_code code, const char *what)
{
    struct model *m;
    struct err e = {0};
    err_code rc = model_open(k, dir, &(struct model_opts){.prec = KERN_FP8}, &m, &e);
    if (rc != code || !strstr(e.msg, what) || strchr(e.msg, '\n'))
        fail_msg("expected code %d with '%s', got %d: %s", code, what, rc, e.msg);
}

/* Names, dtypes and shapes in the header are changed in place. */
static void test_bad_fp8(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
        err_code code;
        const char *what;
    } edits[] = {
        {"model.layers.0.self_attn.o_proj.weight_scale_inv", "model.layers.0.self_attn.o_proj.weight_scale_inw", ERR_DATA, "'model.layers.0.self_attn.o_proj.weight_scale_inw' is not part of"},
        {"model.layers.0.self_attn.o_proj.weight_scale_inv", "model.layers.0.self_attn.x_proj.weight_scale_inv", ERR_DATA, "x_proj.weight_scale_inv' is not part of"},
        {"\"dtype\":\"F8_E4M3\"", "\"dtype\":\"F8_E5M2\"", ERR_UNSUPPORTED, "is F8_E5M2"},
        {"\"shape\":[2,2]", "\"shape\":[1,4]", ERR_DATA, "must be F32 of shape [2, 2]"},
    };
    struct kern *k = NULL;
    struct err e = {0};
    char dir[64];
    struct model *m;
    struct model_config c = folder_config(1);
    must(kern_open(&(struct kern_opts){.backend = "cpu"}, &k, &e), &e);
    must(model_create(k, &c, 5, &(struct model_opts){.prec = KERN_FP8, .train = 1}, &m, &e), &e);
    must(model_save(m, temp_dir(dir), MODEL_FP8, 0, &e), &e);
    model_close(m);
    struct sbuf b = read_back(dir, "model.safetensors"), config = read_back(dir, "config.json");
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        struct sbuf x;
        sbuf_init(&x, 64 << 20);
        sbuf_add(&x, sbuf_str(&b));
        int64_t at = str_find(sbuf_str(&b), str_of(edits[i].from), 0);
        if (at < 0)
            fail_msg("no %s in the header", edits[i].from);
        memcpy(x.p + at, edits[i].to, strlen(edits[i].to));
        write_to(dir, "model.safetensors", sbuf_str(&x));
        refused(k, dir, edits[i].code, edits[i].what);
        sbuf_release(&x);
    }
    write_to(dir, "model.safetensors", sbuf_str(&b));
    static const char *const bad[][3] = {{"\"quant_method\": \"fp8\"", "\"quant_method\": \"gptq\"", "gptq"}, {"\"e4m3\"", "\"e5m2\"", "fmt"}, {"    128\n", "    64\n", "weight_block_size"}};
    for (int i = 0; i < 3; i++) {
        struct sbuf x;
        int64_t at = str_find(sbuf_str(&config), str_of(bad[i][0]), 0);
        if (at < 0)
            fail_msg("no %s in config.json", bad[i][0]);
        sbuf_init(&x, 1 << 20);
        sbuf_add(&x, (struct str){config.p, at});
        sbuf_adds(&x, bad[i][1]);
        sbuf_add(&x, (struct str){config.p + at + (int64_t)strlen(bad[i][0]), config.n - at - (int64_t)strlen(bad[i][0])});
        write_to(dir, "config.json", sbuf_str(&x));
        refused(k, dir, ERR_UNSUPPORTED, bad[i][2]);
        sbuf_release(&x);
    }
    sbuf_release(&b);
    sbuf_release(&config);
    must(file_remove_tree(dir, &e), &e);
    kern_close(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fp8_gradients), cmocka_unit_test(test_balance_gradient), cmocka_unit_test(test_selection_bias), cmocka_unit_test(test_fp8_folder), cmocka_unit_test(test_bad_fp8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
