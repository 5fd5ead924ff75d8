/* Catches: a model whose code touches a device's memory from the host (the emulator faults), a pass that differs between cpu and device
 * beyond what is promised (f32: the same log-probs, bit for bit), decode from pages that is not the full pass, a trainer whose step on a
 * device is another one, a model that a device cannot compute and that is not refused. */
#include <math.h>

#include "tests/model_test.h"
#include "train/optim.h"
#include "train/train.h"

static struct kern *cpu, *dev[2];
static int n_dev;

static int open_all(void **state)
{
    struct err e = {0};
    (void)state;
    must(kern_open(&(struct kern_opts){.backend = "cpu"}, &cpu, &e), &e);
    if (!getenv("HONE_TEST_DEVICE")) /* =cuda: the device alone */
        must(kern_open(&(struct kern_opts){.backend = "emu"}, &dev[n_dev++], &e), &e);
    if (kern_open(&(struct kern_opts){.backend = "cuda"}, &dev[n_dev], &e) == ERR_OK)
        n_dev++;
    else
        printf("skip: no device (%s)\n", e.msg);
    return n_dev == 0;
}

static int close_all(void **state)
{
    (void)state;
    kern_close(cpu);
    for (int i = 0; i < n_dev; i++)
        kern_close(dev[i]);
    return 0;
}

static struct model *open_model(struct kern *k, const char *name, enum kern_prec prec)
{
    struct model *m;
    struct err e = {0};
    char dir[128];
    struct model_config c;
    snprintf(dir, sizeof dir, "tests/golden/%s", name);
    must(model_config_read(dir, &c, &e), &e);
    c.max_position = 256; /* more than a page */
    c.init_range = 0.2;
    must(model_create(k, &c, 7, &(struct model_opts){.prec = prec, .train = 1}, &m, &e), &e);
    return m;
}

static const char *const dense[] = {"llama", "llama_bias_llama3", "llama_mqa_yarn_mscale", "qwen2", "qwen3", "qwen3_tied_bias"};

enum { N = 90, SEQS = 3 };

struct text {
    int32_t tokens[N], positions[N], target[N], cu[SEQS + 1];
    float g[N];
};

static struct model_batch text_of(struct text *t, int64_t vocab)
{
    static const int32_t cu[SEQS + 1] = {0, 1, 71, N};
    memcpy(t->cu, cu, sizeof cu);
    for (int s = 0; s < SEQS; s++)
        for (int32_t i = cu[s]; i < cu[s + 1]; i++) {
            t->positions[i] = i - cu[s];
            t->tokens[i] = (int32_t)rng_below((uint64_t)vocab, 5, RNG_TEST, 1, 0, (uint64_t)i);
            t->target[i] = i % 4 == 1 ? -1 : (int32_t)rng_below((uint64_t)vocab, 5, RNG_TEST, 2, 0, (uint64_t)i);
            t->g[i] = (2 * rng_f32(5, RNG_TEST, 3, 0, (uint64_t)i) - 1) / N;
        }
    return (struct model_batch){.n_tok = N, .n_seq = SEQS, .tokens = t->tokens, .positions = t->positions, .cu_seqlens = t->cu};
}

/* Gradients in the backend's memory, and on the host. */
struct grads {
    struct kern *k;
    float *there, **at, *host;
    int64_t n, n_params;
};

static struct grads grads_of(const struct model *m)
{
    struct grads g = {.k = model_kern(m)};
    struct err e = {0};
    void *p;
    const struct model_param *q = model_params(m, &g.n_params);
    for (int64_t i = 0; i < g.n_params; i++)
        g.n += q[i].n;
    must(kern_alloc(g.k, g.n * 4, "gradients", &p, &e), &e);
    g.there = p;
    g.at = malloc((size_t)g.n_params * sizeof *g.at);
    g.host = malloc((size_t)g.n * 4);
    for (int64_t i = 0, at = 0; i < g.n_params; at += q[i++].n)
        g.at[i] = g.there + at;
    return g;
}

static void grads_free(struct grads *g)
{
    kern_free(g->k, g->there);
    free(g->at);
    free(g->host);
}

static double distance(const float *a, const float *b, int64_t n)
{
    double top = 0, worst = 0;
    for (int64_t i = 0; i < n; i++) {
        top = fmax(top, fabs((double)a[i]));
        double d = fabs((double)a[i] - (double)b[i]);
        if (!(d <= worst))
            worst = d;
    }
    return worst / (top + 1e-30);
}

/* Both passes of one batch, the log-probs by both ways. */
static struct grads pass(struct model *m, struct text *t, float *logp)
{
    struct model_batch b = text_of(t, model_conf(m)->vocab);
    struct grads g = grads_of(m);
    struct err e = {0};
    float lp[N];
    must(model_reserve(m, &(struct model_room){.tokens = N, .seqs = SEQS, .train = 1}, &e), &e);
    model_forward(m, &b, 1);
    model_logp(m, &(struct model_logp){.target = t->target, .temperature = 1, .logp = logp});
    model_loss(m, &(struct model_loss){.target = t->target, .temperature = 1, .logp = lp, .g = t->g, .grads = g.at});
    same_bits(logp, lp, N, "logp and loss", 0);
    kern_get(g.k, g.host, g.there, g.n * 4);
    return g;
}

/* bf16: products are the same numbers, rounded in another order; so small a model amplifies that. */
static void test_passes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof dense / sizeof *dense; i++)
        for (int prec = 0; prec < 2; prec++) {
            struct model *a = open_model(cpu, dense[i], (enum kern_prec)prec);
            struct text t;
            float want[N], got[N];
            struct grads ga = pass(a, &t, want);
            for (int d = 0; d < n_dev; d++) {
                struct model *b = open_model(dev[d], dense[i], (enum kern_prec)prec);
                char da[33], db[33];
                struct grads gb = pass(b, &t, got);
                model_digest(a, da);
                model_digest(b, db);
                assert_string_equal(da, db);
                if (prec == 0)
                    same_bits(want, got, N, dense[i], (uint64_t)d);
                assert_true(distance(want, got, N) < (prec ? 0.02 : 1e-9));
                if (!(distance(ga.host, gb.host, ga.n) < (prec ? 0.05 : 1e-5)))
                    fail_msg("%s on %s: gradients differ by %g of the largest", dense[i], kern_name(dev[d]), distance(ga.host, gb.host, ga.n));
                grads_free(&gb);
                model_close(b);
            }
            grads_free(&ga);
            model_close(a);
        }
}

/* Sequence 1 of the batch by steps through pages, against the log-probs of the whole batch's forward: the same bits (N2). */
static void test_decode(void **state)
{
    (void)state;
    static const char *const names[] = {"qwen2", "qwen3"};
    for (int d = 0; d < n_dev; d++)
        for (int i = 0; i < 4; i++) {
            struct model *m = open_model(dev[d], names[i / 2], (enum kern_prec)(i % 2));
            struct model_cache *c;
            struct err e = {0};
            struct text t;
            struct model_batch b = text_of(&t, model_conf(m)->vocab);
            float want[N], got;
            const int32_t pages[2] = {3, 1};
            float *logits = malloc((size_t)model_conf(m)->vocab * 4);
            must(model_reserve(m, &(struct model_room){.tokens = N, .seqs = SEQS}, &e), &e);
            must(model_cache_open(m, 4, &c, &e), &e);
            model_forward(m, &b, 0);
            model_logp(m, &(struct model_logp){.target = t.target, .temperature = 1, .logp = want});
            for (int32_t done = 0, n; done < 70; done += n) {
                n = done == 0 ? 40 : done < 64 ? 7 : 1;
                n = n < 70 - done ? n : 70 - done;
                const int32_t cu[2] = {0, n}, len = done + n, first = t.cu[1] + done;
                model_step(m, c, &(struct model_step){.b = {.n_tok = n, .n_seq = 1, .tokens = t.tokens + first, .positions = t.positions + first, .cu_seqlens = cu}, .kv_len = &len,
                                                      .pages = pages, .max_pages = 2});
                for (int32_t r = 0; r < n; r++) {
                    if (t.target[first + r] < 0 || (r && r < n - 1))
                        continue;
                    model_logits(m, &r, 1, logits);
                    model_rows_logp(m, logits, t.target + first + r, 1, 1, &got);
                    same_bits(&got, &want[first + r], 1, names[i / 2], (uint64_t)(done + r));
                }
            }
            free(logits);
            model_cache_close(c);
            model_close(m);
        }
}

/* ---- the optimiser ------------------------------------------------------------------------------ */

static void refresh(void *m)
{
    model_refresh(m);
}

/* Three steps of two leaves; the weights behind them. */
static float *train_some(struct kern *k, enum train_moments moments, double *norm, int64_t *n_out)
{
    struct model *m = open_model(k, "qwen3", KERN_F32);
    struct err e = {0};
    struct text t;
    struct train tr;
    struct arena mem;
    int64_t n, at = 0;
    const struct model_param *p = model_params(m, &n);
    arena_init(&mem, "test", 64 << 20);
    struct train_param *params = ARENA_NEW(&mem, struct train_param, n);
    for (int64_t i = 0; i < n; i++)
        params[i] = (struct train_param){.name = p[i].name, .w = p[i].w, .n = p[i].n, .decay = p[i].decay};
    struct train_opts o = {.steps = 3, .leaves = 2, .lr = 0.01, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.1, .clip = 1, .moments = moments, .seed = 3, .dir = ""};
    must(train_open(&tr, &o, &(struct train_target){.k = k, .params = params, .n_params = n, .ctx = m, .refresh = refresh}, &e), &e);
    struct model_batch b = text_of(&t, model_conf(m)->vocab);
    must(model_reserve(m, &(struct model_room){.tokens = N, .seqs = SEQS, .train = 1}, &e), &e);
    float **grads = ARENA_NEW(&mem, float *, n), logp[N];
    for (int step = 0; step < 3; step++) {
        struct train_step s;
        train_begin(&tr);
        for (int leaf = 0; leaf < 2; leaf++) {
            float *g = train_leaf(&tr);
            for (int64_t i = 0; i < n; i++)
                grads[i] = g + tr.offset[i];
            model_forward(m, &b, 1);
            model_loss(m, &(struct model_loss){.target = t.target, .temperature = 1, .logp = logp, .g = t.g, .grads = grads, .fresh = 1});
            train_leaf_done(&tr);
        }
        must(train_end(&tr, 1, &s, &e), &e);
        *norm = s.grad_norm;
    }
    *n_out = 0;
    for (int64_t i = 0; i < n; i++)
        *n_out += p[i].n;
    float *out = malloc((size_t)*n_out * 4);
    for (int64_t i = 0; i < n; at += p[i++].n)
        kern_get(k, out + at, p[i].w, p[i].n * 4);
    train_close(&tr);
    model_close(m);
    arena_release(&mem);
    return out;
}

static void test_training(void **state)
{
    (void)state;
    for (int d = 0; d < n_dev; d++)
        for (int moments = 0; moments < 2; moments++) {
            double norm, norm_there, norm_again;
            int64_t n;
            float *want = train_some(cpu, (enum train_moments)moments, &norm, &n), *got = train_some(dev[d], (enum train_moments)moments, &norm_there, &n);
            float *again = train_some(dev[d], (enum train_moments)moments, &norm_again, &n);
            same_bits(got, again, n, "two runs", (uint64_t)moments);
            assert_true(norm_there == norm_again && fabs(norm - norm_there) < 1e-5 * norm);
            if (!(distance(want, got, n) < 1e-3)) /* a gradient near zero moves its weight by lr whatever its size */
                fail_msg("%s: weights differ by %g of the largest", kern_name(dev[d]), distance(want, got, n));
            free(want), free(got), free(again);
        }
}

/* The optimiser alone has the bits of the host's. */
static void test_adamw(void **state)
{
    (void)state;
    enum { MANY = 5001 };
    static float w[MANY], g[MANY], m[MANY], v[MANY], back[MANY];
    static double blocks[2], blocks_there[2];
    for (int d = 0; d < n_dev; d++)
        for (int bf16 = 0; bf16 < 2; bf16++) {
            void *there;
            struct err e = {0};
            must(kern_alloc(dev[d], MANY * 16, "test", &there, &e), &e);
            float *tw = there, *tg = tw + MANY, *tm = tg + MANY, *tv = tm + MANY;
            for (int i = 0; i < MANY; i++) {
                w[i] = rng_f32(1, RNG_TEST, 1, 0, (uint64_t)i), g[i] = rng_f32(1, RNG_TEST, 2, 0, (uint64_t)i) - 0.5f;
                m[i] = v[i] = 0;
            }
            kern_put(dev[d], tw, w, sizeof w);
            kern_put(dev[d], tg, g, sizeof g);
            double want = optim_sum_squares(g, MANY, blocks, OPTIM_BEST), got = kern_sum_squares(dev[d], tg, MANY, blocks_there);
            assert_true(want == got && !memcmp(blocks, blocks_there, sizeof blocks));
            for (int step = 1; step < 4; step++) {
                struct optim_step s = {.lr = 0.01, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .decay = 0.1, .scale = 0.7, .fix1 = 0.1 * step, .fix2 = 0.05 * step, .seed = 9, .step = step,
                                       .first = 64, .bf16 = bf16};
                struct optim_job j;
                optim_constants(&s, &j);
                struct kern_adamw a = {.w = tw, .g = tg, .m = tm, .v = tv, .n = MANY, .first = 64, .beta1 = j.beta1, .beta2 = j.beta2, .rest1 = j.rest1, .rest2 = j.rest2,
                                       .scale = j.scale, .keep = j.keep, .rate = j.rate, .root_fix2 = j.root_fix2, .eps = j.eps, .bf16 = bf16};
                memcpy(a.key, j.key, sizeof a.key);
                kern_adamw(dev[d], &a);
                optim_adamw(&s, w, g, m, v, MANY, OPTIM_BEST);
            }
            kern_get(dev[d], back, tw, sizeof back);
            same_bits(back, w, MANY, "adamw: w", (uint64_t)bf16);
            kern_get(dev[d], back, tm, sizeof back);
            assert_memory_equal(back, m, (size_t)MANY * (bf16 ? 2 : 4));
            kern_get(dev[d], back, tv, sizeof back);
            assert_memory_equal(back, v, (size_t)MANY * (bf16 ? 2 : 4));
            kern_free(dev[d], there);
        }
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *dir;
        enum kern_prec prec;
        const char *word;
    } cases[] = {{"tests/golden/deepseek_v3", KERN_F32, "latent attention"}, {"tests/golden/qwen3_moe", KERN_BF16, "mixtures of experts"}, {"tests/golden/qwen3", KERN_FP8, "fp8"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct model *m;
        struct err e = {0};
        assert_int_equal(model_open(dev[0], cases[i].dir, &(struct model_opts){.prec = cases[i].prec}, &m, &e), ERR_UNSUPPORTED);
        assert_true(strstr(e.msg, cases[i].word) && strstr(e.msg, "--device cpu"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_refused), cmocka_unit_test(test_adamw), cmocka_unit_test(test_passes), cmocka_unit_test(test_decode),
                                       cmocka_unit_test(test_training)};
    return cmocka_run_group_tests(tests, open_all, close_all);
}
