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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fp8_gradients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
