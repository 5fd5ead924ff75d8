/* Rollouts. The failures to catch: a sample or a recorded log-prob that depends on the batch, the schedule, the cache, the chunking of the
 * prompt, the threads or on drafts; log-probs that are not the trainer's; pages that leak; a sampler that is biased or breaks a tie by luck. */
#include "rollout/rollout.h"

#include <math.h>
#include <unistd.h>

#include "core/par.h"
#include "core/rng.h"
#include "tests/test.h"

enum { VOCAB = 300 };

static struct kern *kern;
static struct model *model;
static struct tok *tok;
static struct arena mem;

static int setup(void **state)
{
    (void)state;
    struct err e = {0};
    struct model_config c = {.type = "qwen3", .architecture = "Qwen3ForCausalLM", .vocab = VOCAB, .hidden = 48, .layers = 2, .heads = 4, .kv_heads = 2,
                             .head_dim = 16, .inter = 80, .max_position = 400, .rms_eps = 1e-6, .init_range = 0.3, .qk_norm = 1, .tied = 1,
                             .rope = {.d = 16, .theta = 10000, .factor = 1}, .eos = {258}, .n_eos = 1, .bos = -1, .pad = -1};
    char dir[] = "/tmp/hone_rollout_XXXXXX";
    struct tok_trainer *tr;
    arena_init(&mem, "test", 1LL << 32);
    if (!mkdtemp(dir) || tok_train_new(&(struct tok_train_opts){.vocab = 259}, &tr, &e) != ERR_OK || tok_train_add(tr, STR("ab ab"), &e) != ERR_OK ||
        tok_train_write(tr, dir, NULL, &e) != ERR_OK || tok_load(dir, &tok, &e) != ERR_OK || kern_open(&(struct kern_opts){.backend = "cpu"}, &kern, &e) != ERR_OK ||
        model_create(kern, &c, 7, &(struct model_opts){.prec = KERN_F32, .train = 1}, &model, &e) != ERR_OK) {
        fprintf(stderr, "%s\n", e.msg);
        return -1;
    }
    tok_train_free(tr);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    model_close(model);
    kern_close(kern);
    tok_free(tok);
    arena_release(&mem);
    return 0;
}

/* The same samples one token at a time from full passes without any cache. */
static int64_t plain_sample(const struct rollout_prompt *p, int64_t sample, const struct rollout_sampling *s, int32_t *ids)
{
    static float z[VOCAB], scratch_p[VOCAB];
    static int32_t heap[VOCAB], all[512], pos[512];
    int64_t n = 0;
    memcpy(all, p->ids, (size_t)p->n * sizeof *all);
    for (int i = 0; i < 512; i++)
        pos[i] = i;
    while (n < s->max_tokens) {
        int32_t cu[2] = {0, (int32_t)(p->n + n)}, row = cu[1] - 1;
        model_forward(model, &(struct model_batch){.n_tok = cu[1], .n_seq = 1, .tokens = all, .positions = pos, .cu_seqlens = cu}, 0);
        model_logits(model, &row, 1, z);
        ids[n] = all[p->n + n] = rollout_draw(z, VOCAB, s, p->key, sample, p->n + n, (struct rollout_scratch){scratch_p, heap});
        if (ids[n++] == 258)
            break;
    }
    return n;
}

static void check_logp(const struct rollout_prompt *p, const struct rollout_sample *s, float temperature)
{
    static int32_t all[512], pos[512], target[512];
    static float logp[512];
    int32_t n = (int32_t)(p->n + s->n - 1), cu[2] = {0, n};
    for (int32_t i = 0; i < n; i++) {
        all[i] = i < p->n ? p->ids[i] : s->ids[i - p->n];
        pos[i] = i;
        target[i] = i + 1 < p->n ? -1 : s->ids[i + 1 - p->n];
    }
    model_forward(model, &(struct model_batch){.n_tok = n, .n_seq = 1, .tokens = all, .positions = pos, .cu_seqlens = cu}, 0);
    model_logp(model, &(struct model_logp){.target = target, .temperature = temperature, .logp = logp});
    for (int64_t i = 0; i < s->n; i++)
        assert_memory_equal(&logp[p->n - 1 + i], &s->logp[i], sizeof(float));
}

static void same_as_plain_sampling_whatever_the_schedule(void **state)
{
    (void)state;
    struct err e = {0};
    for (uint64_t round = 0; round < 12; round++) {
        struct arena scratch = mem;
        int64_t n_prompts = 1 + (int64_t)rng_below(6, 1, RNG_TEST, round, 0, 0);
        struct rollout_prompt p[6];
        struct rollout *r;
        const struct rollout_sample *out;
        struct rollout_stats stats;
        struct rollout_sampling s = {.temperature = round % 3 == 2 ? 0 : 0.9, .top_p = round % 2 ? 0.9 : 1, .top_k = round % 4 == 1 ? 20 : 0, .max_tokens = 40, .seed = round};
        for (int64_t i = 0; i < n_prompts; i++) {
            int64_t n = 1 + (int64_t)rng_below(i % 2 ? 150 : 70, 1, RNG_TEST, round, 1, (uint64_t)i);
            int32_t *ids = ARENA_NEW(&scratch, int32_t, n);
            for (int64_t k = 0; k < n; k++)
                ids[k] = (int32_t)rng_below(256, 1, RNG_TEST, round * 10 + (uint64_t)i, 2, (uint64_t)k);
            p[i] = (struct rollout_prompt){.key = round * 100 + (uint64_t)i, .ids = ids, .n = n, .first = i, .samples = (int64_t)rng_below(5, 1, RNG_TEST, round, 3, (uint64_t)i)};
        }
        par_init(1 + (int)(round % 3));
        struct rollout_opts o = {.seqs = 1 + (int64_t)round % 5, .context = 200, .step_tokens = 20 + 40 * (int64_t)(round % 3),
                                 .cache_bytes = round % 2 ? 9 * model_cache_page_bytes(model) : 0};
        assert_int_equal(rollout_open(model, tok, &o, &r, &e), ERR_OK);
        assert_int_equal(model_reserve(model, &(struct model_room){.tokens = 300, .seqs = 8}, &e), ERR_OK);
        assert_int_equal(rollout_run(r, p, n_prompts, &s, NULL, &scratch, &out, &stats, &e), ERR_OK);
        for (int64_t i = 0, at = 0; i < n_prompts; i++)
            for (int64_t k = 0; k < p[i].samples; k++, at++) {
                int32_t ids[64];
                int64_t n = plain_sample(&p[i], p[i].first + k, &s, ids);
                assert_int_equal(out[at].prompt, i);
                assert_int_equal(out[at].sample, p[i].first + k);
                assert_int_equal(out[at].n, n);
                assert_memory_equal(out[at].ids, ids, (size_t)n * sizeof *ids);
                check_logp(&p[i], &out[at], s.temperature > 0 ? (float)s.temperature : 1);
            }
        rollout_close(r);
    }
    par_init(0);
}

/* ---- drafts ------------------------------------------------------------------------------- */

static struct model *drafting_model(int latent, double range, enum kern_prec prec, enum model_mla mla)
{
    struct err e = {0};
    struct model *m;
    struct model_config c = {.type = "deepseek_v3", .architecture = "DeepseekV3ForCausalLM", .vocab = VOCAB, .hidden = 32, .layers = 2, .heads = 4, .kv_heads = 4, .head_dim = 12,
                             .inter = 48, .max_position = 400, .rms_eps = 1e-6, .init_range = range, .q_lora = latent ? 16 : 0, .kv_lora = 16, .d_nope = 8, .d_rope = 4, .d_v = 6,
                             .rope_interleaved = 1, .experts = 8, .top_k = 2, .expert_inter = 12, .shared = 1, .groups = 4, .top_groups = 2, .first_dense = 1, .router_bias = 1,
                             .router_normalise = 1, .router_scale = 2.5, .mtp = 1, .rope = {.d = 4, .theta = 10000, .factor = 1}, .eos = {258}, .n_eos = 1, .bos = -1, .pad = -1};
    if (model_create(kern, &c, 11, &(struct model_opts){.mla = mla, .prec = prec, .train = 1}, &m, &e) != ERR_OK)
        fail_msg("%s", e.msg);
    return m;
}

static int64_t random_prompts(struct rollout_prompt *p, uint64_t round, struct arena *a)
{
    int64_t n_prompts = 1 + (int64_t)rng_below(6, 2, RNG_TEST, round, 0, 0);
    for (int64_t i = 0; i < n_prompts; i++) {
        /* lengths on both sides of a page's end: the last prompt position is where samples part */
        int64_t n = i % 3 == 0 ? 1 + (int64_t)rng_below(150, 2, RNG_TEST, round, 1, (uint64_t)i) : i % 3 == 1 ? KERN_PAGE : 2 * KERN_PAGE + 1;
        int32_t *ids = ARENA_NEW(a, int32_t, n);
        for (int64_t k = 0; k < n; k++)
            ids[k] = (int32_t)rng_below(256, 2, RNG_TEST, round * 10 + (uint64_t)i, 2, (uint64_t)k);
        p[i] = (struct rollout_prompt){.key = round * 100 + (uint64_t)i, .ids = ids, .n = n, .first = i, .samples = 1 + (int64_t)rng_below(4, 2, RNG_TEST, round, 3, (uint64_t)i)};
    }
    return n_prompts;
}

static void same_samples(const struct rollout_sample *a, const struct rollout_sample *b, int64_t n, uint64_t round, int64_t depth)
{
    for (int64_t i = 0; i < n; i++) {
        if (a[i].n != b[i].n || a[i].stop != b[i].stop || memcmp(a[i].ids, b[i].ids, (size_t)a[i].n * sizeof *a->ids) || memcmp(a[i].logp, b[i].logp, (size_t)a[i].n * sizeof(float)))
            fail_msg("round %d: sample %lld is another one with drafts of %lld", (int)round, (long long)i, (long long)depth);
        assert_true(str_eq(a[i].text, b[i].text));
    }
}

/* Models whose drafts are nearly always wrong and nearly always right, both forms of attention, three precisions, any schedule. */
static void drafts_change_nothing(void **state)
{
    (void)state;
    struct err e = {0};
    int64_t drafted[2] = {0}, accepted[2] = {0};
    struct model *was = model;
    for (uint64_t round = 0; round < 12; round++) {
        struct arena scratch = mem;
        struct rollout_prompt p[6];
        struct rollout *r;
        const struct rollout_sample *plain = NULL, *out;
        struct str stop = STR("ab");
        struct rollout_stats stats;
        struct rollout_sampling s = {.temperature = round % 4 == 2 ? 0 : 0.9, .top_p = round % 4 < 2 ? 1 : 0.9, .max_tokens = 1 + (int64_t)rng_below(60, 3, RNG_TEST, round, 0, 0),
                                     .seed = round, .stop = &stop, .n_stop = round % 5 == 0};
        int good = (int)(round % 2);
        int64_t n = random_prompts(p, round, &scratch), total = 0;
        model = drafting_model(round % 3 != 0, good ? 0.003 : 0.4, (enum kern_prec)(round / 2 % 3), (enum model_mla)(round / 6 % 2));
        for (int64_t i = 0; i < n; i++)
            total += p[i].samples;
        for (int64_t depth = 0; depth <= 4; depth += depth ? 3 : 1) {
            par_init(1 + (int)((round + (uint64_t)depth) % 3));
            struct rollout_opts o = {.seqs = 1 + (int64_t)(round + (uint64_t)depth) % 5, .context = 200, .step_tokens = 20 + 40 * ((int64_t)round % 3), .speculate = depth,
                                     .cache_bytes = round % 2 ? 9 * model_cache_page_bytes(model) : 0};
            assert_int_equal(rollout_open(model, tok, &o, &r, &e), ERR_OK);
            assert_int_equal(model_reserve(model, &(struct model_room){.tokens = 300, .seqs = 8}, &e), ERR_OK);
            assert_int_equal(rollout_run(r, p, n, &s, NULL, &scratch, &out, &stats, &e), ERR_OK);
            assert_true((stats.drafted > 0) <= (depth > 0));
            drafted[good] += stats.drafted, accepted[good] += stats.accepted;
            if (!depth)
                plain = out;
            else
                same_samples(plain, out, total, round, depth);
            for (int64_t i = 0; i < total; i++)
                check_logp(&p[out[i].prompt], &out[i], s.temperature > 0 ? (float)s.temperature : 1);
            rollout_close(r);
        }
        model_close(model);
    }
    model = was;
    par_init(0);
    printf("drafts accepted: %lld of %lld by a poor module, %lld of %lld by a good one\n", (long long)accepted[0], (long long)drafted[0], (long long)accepted[1], (long long)drafted[1]);
    assert_true(accepted[0] * 2 < drafted[0] && accepted[1] * 10 > drafted[1] * 3 && accepted[0] > 0);
    struct rollout *r;
    assert_int_equal(rollout_open(model, tok, &(struct rollout_opts){.speculate = 1}, &r, &e), ERR_USAGE);
    assert_non_null(strstr(e.msg, "MTP"));
}

static void ends_are_named(void **state)
{
    (void)state;
    struct err e = {0};
    struct arena scratch = mem;
    struct rollout *r;
    const struct rollout_sample *out;
    int32_t ids[150] = {65, 66};
    struct str stop = STR("a");
    struct rollout_prompt p[] = {{.key = 1, .ids = ids, .n = 2, .samples = 2}, {.key = 2, .ids = ids, .n = 150, .samples = 1}, {.key = 3, .ids = ids, .n = 90, .samples = 1}};
    struct rollout_sampling s = {.temperature = 2, .top_p = 1, .max_tokens = 30, .seed = 5, .ignore_eos = 1};
    assert_int_equal(rollout_open(model, tok, &(struct rollout_opts){.seqs = 2, .context = 100}, &r, &e), ERR_OK);
    assert_int_equal(rollout_run(r, p, 3, &s, NULL, &scratch, &out, NULL, &e), ERR_OK);
    assert_int_equal(out[0].stop, ROLLOUT_length);
    assert_int_equal(out[0].n, 30);
    assert_int_equal(out[2].stop, ROLLOUT_context);
    assert_int_equal(out[2].n, 0);
    assert_int_equal(out[3].stop, ROLLOUT_context);
    assert_int_equal(out[3].n, 10);
    s.stop = &stop, s.n_stop = 1, s.max_tokens = 90, s.temperature = 5;
    assert_int_equal(rollout_run(r, p, 1, &s, NULL, &scratch, &out, NULL, &e), ERR_OK);
    for (int i = 0; i < 2; i++)
        if (out[i].stop == ROLLOUT_stop) {
            assert_true(str_ends(out[i].text, stop));
            assert_int_equal(str_find(out[i].text, stop, 0), out[i].text.n - 1);
        } else {
            assert_int_equal(str_find(out[i].text, stop, 0), -1);
        }
    p[0].n = 0;
    assert_int_equal(rollout_run(r, p, 1, &s, NULL, &scratch, &out, NULL, &e), ERR_DATA);
    p[0].n = 2, ids[1] = VOCAB;
    assert_int_equal(rollout_run(r, p, 1, &s, NULL, &scratch, &out, NULL, &e), ERR_DATA);
    rollout_close(r);
}

/* ---- the draw ----------------------------------------------------------------------------- */

static void draw_many(const float *z, int n, struct rollout_sampling s, int64_t count, int64_t *hits)
{
    float p[16];
    int32_t heap[16];
    for (int64_t i = 0; i < count; i++) {
        int32_t id = rollout_draw(z, n, &s, 3, i, 0, (struct rollout_scratch){p, heap});
        assert_in_range(id, 0, n - 1);
        hits[id]++;
    }
}

static void draws_follow_the_distribution(void **state)
{
    (void)state;
    enum { N = 200000 };
    const float z[4] = {0, 1, 2, -1};
    int64_t hits[4] = {0};
    double sum = 0, worst = 0;
    draw_many(z, 4, (struct rollout_sampling){.temperature = 2, .top_p = 1, .seed = 1}, N, hits);
    for (int i = 0; i < 4; i++)
        sum += exp(z[i] / 2);
    for (int i = 0; i < 4; i++) {
        double p = exp(z[i] / 2) / sum, sd = sqrt(p * (1 - p) * N), d = fabs((double)hits[i] - p * N) / sd;
        worst = d > worst ? d : worst;
    }
    assert_true(worst < 4.5); /* 4.5 standard deviations: a fair sampler with this fixed seed stays below, a bias of 1 % does not */
}

static void truncation_keeps_what_it_says(void **state)
{
    (void)state;
    const float z[5] = {1, 3, 3, 2, -5};
    int64_t k[5] = {0}, p[5] = {0}, m[5] = {0}, kp[5] = {0}, g[5] = {0};
    draw_many(z, 5, (struct rollout_sampling){.temperature = 1, .top_k = 1, .top_p = 1}, 100, k);
    assert_int_equal(k[1], 100); /* the tie goes to the lower id */
    draw_many(z, 5, (struct rollout_sampling){.temperature = 1, .top_p = 0.5}, 4000, p);
    assert_true(p[1] > 1800 && p[2] > 1800 && p[0] + p[3] + p[4] == 0); /* one of the best holds 0.41: two are needed */
    draw_many(z, 5, (struct rollout_sampling){.temperature = 1, .top_p = 1, .min_p = 0.3}, 4000, m);
    assert_true(m[3] > 0 && m[0] + m[4] == 0); /* exp(-1) = 0.37 stays, exp(-2) = 0.14 goes */
    draw_many(z, 5, (struct rollout_sampling){.temperature = 1, .top_k = 3, .top_p = 0.9}, 4000, kp);
    assert_true(kp[3] > 0 && kp[0] + kp[4] == 0);
    draw_many(z, 5, (struct rollout_sampling){.temperature = 0, .top_p = 1}, 10, g);
    assert_int_equal(g[1], 10);
    float bad[2] = {0, NAN}, huge[2] = {0, INFINITY}, scratch_p[2];
    int32_t heap[2];
    struct rollout_sampling s = {.temperature = 1, .top_p = 1};
    assert_int_equal(rollout_draw(bad, 2, &s, 0, 0, 0, (struct rollout_scratch){scratch_p, heap}), -1);
    assert_int_equal(rollout_draw(huge, 2, &s, 0, 0, 0, (struct rollout_scratch){scratch_p, heap}), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_follow_the_distribution),
        cmocka_unit_test(truncation_keeps_what_it_says),
        cmocka_unit_test(same_as_plain_sampling_whatever_the_schedule),
        cmocka_unit_test(drafts_change_nothing),
        cmocka_unit_test(ends_are_named),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
