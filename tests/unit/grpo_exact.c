/* N3: the trainer's log-prob of a sampled token is the rollout's, bit for bit. Catches, on DeepSeek-V3-shaped models: an op whose bits depend on
 * the batch, on the packing, on the history of the cache, on drafts, threads or instruction set, in either form of latent attention and in
 * every precision. The same check is run on three mutants of the ops (a split reduction, attention split by keys, experts added in
 * another order) and must find each of them. */
#include <math.h>

#include "core/par.h"
#include "grpo/batch.h"
#include "kernels/kern.h"
#include "rollout/rollout.h"
#include "tests/model_test.h"

enum { PROMPTS = 3, MOST = 40, STEPS = 2 };

static uint32_t pick(uint64_t seed, uint32_t what, uint32_t n) { return (uint32_t)rng_below(n, seed, RNG_TEST, what, 1, 0); }

struct setting {
    uint64_t seed;
    enum kern_isa isa[2];      /* of the rollout, of the trainer */
    int threads[2];
    int64_t draft;
    struct model_opts how;
    struct model_config conf;
};

static struct setting random_setting(uint64_t seed)
{
    static const enum kern_isa isas[] = {KERN_AVX512BF16, KERN_AVX512, KERN_AVX2, KERN_PORTABLE};
    struct setting s = {.seed = seed, .draft = pick(seed, 1, 4), .how = {.mla = (enum model_mla)(seed % 2), .prec = (enum kern_prec)(seed / 2 % 3), .train = 1}};
    uint64_t shape = seed * 100;
    do
        s.conf = random_config(shape++);
    while (!s.conf.kv_lora || !s.conf.experts || !s.conf.mtp || s.conf.first_dense >= s.conf.layers);
    for (int i = 0; i < 2; i++) {
        s.isa[i] = isas[pick(seed, 2 + (uint32_t)i, 4)];
        s.isa[i] = kern_has_isa(s.isa[i]) ? s.isa[i] : KERN_BEST;
        s.threads[i] = 1 + (int)pick(seed, 4 + (uint32_t)i, 2);
    }
    return s;
}

static struct model *make_model(struct kern *k, const struct setting *s)
{
    struct model *m;
    struct err e = {0};
    must(model_create(k, &s->conf, s->seed, &s->how, &m, &e), &e);
    shake(m, s->seed);
    return m;
}

/* The group's samples of random prompts, under a random schedule. */
static int64_t sample(struct model *m, const struct setting *s, uint64_t step, struct rollout_prompt *p, const struct rollout_sample **out, struct arena *mem)
{
    struct rollout *r;
    struct err e = {0};
    const struct rollout_sampling how = {.temperature = 0.9, .top_p = 1, .max_tokens = 1 + pick(s->seed, 20, MOST), .seed = s->seed + step, .ignore_eos = 1};
    int64_t total = 0;
    for (int i = 0; i < PROMPTS; i++) {
        int64_t n = 1 + pick(s->seed * 7 + step, 30 + (uint32_t)i, 140);
        int32_t *ids = ARENA_NEW(mem, int32_t, n);
        for (int64_t t = 0; t < n; t++)
            ids[t] = (int32_t)rng_below((uint32_t)s->conf.vocab, s->seed + step, RNG_TEST, (uint64_t)i, 3, (uint64_t)t);
        p[i] = (struct rollout_prompt){.key = step * PROMPTS + (uint64_t)i, .ids = ids, .n = n, .samples = 1 + pick(s->seed, 40 + (uint32_t)i, 3)};
        total += p[i].samples;
    }
    const struct rollout_opts o = {.seqs = 1 + pick(s->seed, 50, 6), .context = 200, .step_tokens = 10 + 30 * (int64_t)pick(s->seed, 51, 4), .speculate = s->draft,
                                   .cache_bytes = pick(s->seed, 52, 2) ? 10 * model_cache_page_bytes(m) : 0};
    must(rollout_open(m, NULL, &o, &r, &e), &e);
    must(rollout_run(r, p, PROMPTS, &how, NULL, mem, out, NULL, &e), &e);
    rollout_close(r);
    return total;
}

/* Tokens whose log-prob the trainer's packed forward sees differently. */
static int64_t differing(struct model *m, const struct setting *s, const struct rollout_prompt *p, const struct rollout_sample *out, int64_t n, int64_t *compared, struct arena *mem)
{
    struct grpo_sample *g = ARENA_NEW(mem, struct grpo_sample, n);
    struct err e = {0};
    int64_t count = 0, cap = 64 + pick(s->seed, 60, 600);
    for (int64_t i = 0; i < n; i++)
        g[i] = (struct grpo_sample){.prompt = p[out[i].prompt].ids, .n_prompt = p[out[i].prompt].n, .ids = out[i].ids, .n = out[i].n, .logp = out[i].logp};
    const struct grpo_leaf *leaf = grpo_cut(g, n, 1, cap, mem);
    must(model_reserve(m, &(struct model_room){.tokens = cap > 256 ? cap : 256, .seqs = 64, .train = 1}, &e), &e);
    for (int64_t k = 0; k < leaf->n; k++) {
        const struct grpo_micro *b = &leaf->micro[k];
        float *logp = ARENA_NEW(mem, float, b->b.n_tok);
        model_forward(m, &b->b, 1);
        model_logp(m, &(struct model_logp){.target = b->target, .temperature = 0.9f, .logp = logp});
        for (int64_t q = 0; q < b->b.n_seq; q++)
            for (int64_t t = 0; t < g[b->sample[q]].n; t++, ++*compared)
                count += memcmp(&logp[b->first[q] + t], &g[b->sample[q]].logp[t], 4) != 0;
    }
    return count;
}

static struct kern *open_kern(enum kern_isa isa)
{
    struct kern *k;
    struct err e = {0};
    must(kern_open(&(struct kern_opts){.backend = "cpu", .isa = isa}, &k, &e), &e);
    return k;
}

/* A run of a few steps, each with other weights; the rollout's model and the trainer's are two, on two instruction sets. */
static void test_runs(void **state)
{
    (void)state;
    const char *env = getenv("HONE_EXACT_CASES");
    long n = env ? strtol(env, NULL, 10) : 24;
    int64_t compared = 0, prec[3] = {0}, form[2] = {0}, drafts = 0, isa = 0, threads = 0;
    for (long i = 0; i < n; i++) {
        struct setting s = random_setting((uint64_t)i + 1);
        prec[s.how.prec]++, form[s.how.mla]++, drafts += s.draft > 0, isa += s.isa[0] != s.isa[1], threads += s.threads[0] != s.threads[1];
        struct kern *k[2] = {open_kern(s.isa[0]), open_kern(s.isa[1])};
        struct model *m[2] = {make_model(k[0], &s), make_model(k[1], &s)};
        for (uint64_t step = 0; step < STEPS; step++) {
            struct arena mem;
            struct rollout_prompt p[PROMPTS];
            const struct rollout_sample *out;
            arena_init(&mem, "exact", 256 << 20);
            par_init(s.threads[0]);
            int64_t total = sample(m[0], &s, step, p, &out, &mem);
            par_init(s.threads[1]);
            int64_t bad = differing(m[1], &s, p, out, total, &compared, &mem);
            if (bad)
                fail_msg("case %ld, step %d: %lld tokens differ (%s, precision %d, drafts %lld, %s and %s)", i + 1, (int)step, (long long)bad, model_mla_name(m[0]), (int)s.how.prec,
                         (long long)s.draft, kern_name(k[0]), kern_name(k[1]));
            shake(m[0], s.seed + 9 * step);
            shake(m[1], s.seed + 9 * step);
            arena_release(&mem);
        }
        for (int j = 0; j < 2; j++) {
            model_close(m[j]);
            kern_close(k[j]);
        }
    }
    par_init(0);
    printf("%ld runs (fp32 %lld, bf16 %lld, fp8 %lld; expanded %lld, absorbed %lld; drafts in %lld; rollout and trainer on two instruction sets %lld, with 1 and 2 threads %lld), "
           "%lld tokens compared, 0 differ\n", n, (long long)prec[0], (long long)prec[1], (long long)prec[2], (long long)form[0], (long long)form[1], (long long)drafts, (long long)isa,
           (long long)threads, (long long)compared);
    assert_true(compared > 100 * n);
}

/* ---- mutants --------------------------------------------------------------------------------- */

static const struct kern_ops *sound;

/* A reduction split in two where the batch is small, as a GEMV that wants more threads would do. */
static void split_k(struct kern *k, const struct kern_linear *a)
{
    const int64_t ldx = a->ldx ? a->ldx : a->w->k, ldy = a->ldy ? a->ldy : a->w->n;
    if (a->m >= 8) {
        sound->linear(k, a);
        return;
    }
    float *x = calloc((size_t)(a->m * (a->w->k + a->w->n)), sizeof *x), *y = x + a->m * a->w->k;
    struct kern_linear half = *a;
    for (int64_t t = 0; t < a->m; t++)
        memcpy(x + t * a->w->k, a->x + t * ldx, (size_t)(a->w->k / 2) * sizeof *x);
    half.x = x, half.y = y, half.ldx = half.ldy = 0, half.bias = half.residual = NULL;
    sound->linear(k, &half);
    memset(x, 0, (size_t)(a->m * a->w->k) * sizeof *x);
    for (int64_t t = 0; t < a->m; t++)
        memcpy(x + t * a->w->k + a->w->k / 2, a->x + t * ldx + a->w->k / 2, (size_t)(a->w->k - a->w->k / 2) * sizeof *x);
    half = *a, half.x = x, half.ldx = 0;
    sound->linear(k, &half);
    for (int64_t i = 0; i < a->m * a->w->n; i++)
        a->y[i / a->w->n * ldy + i % a->w->n] += y[i];
    free(x);
}

/* The keys of a decode step split behind the first page and merged by their log-sums, as flash-decoding does. */
static void split_keys(struct kern *k, const struct kern_attn *a)
{
    sound->attn(k, a);
    for (int64_t s = 0; s < a->n_seq && a->kv.pages; s++) {
        const int32_t t = a->cu_q[s], one[2] = {0, 1}, first = KERN_PAGE, rest = a->kv_len[s] - KERN_PAGE;
        if (a->cu_q[s + 1] - t != 1 || rest < 1)
            continue;
        float *o = calloc((size_t)(2 * a->hq * (a->dv + 1)), sizeof *o), *lse = o + 2 * a->hq * a->dv;
        for (int part = 0; part < 2; part++) {
            struct kern_attn h = *a;
            h.q = a->q + t * a->ldq, h.o = o + part * a->hq * a->dv, h.lse = lse + part * a->hq, h.ldo = a->hq * a->dv;
            h.cu_q = one, h.kv_len = part ? &rest : &first, h.n_seq = 1, h.kv.pages = a->kv.pages + s * a->kv.max_pages + part;
            sound->attn(k, &h);
        }
        for (int64_t i = 0; i < a->hq * a->dv; i++) {
            float l0 = lse[i / a->dv], l1 = lse[a->hq + i / a->dv], w = 1 / (1 + expf(l1 - l0));
            a->o[t * a->ldo + i] = w * o[i] + (1 - w) * o[a->hq * a->dv + i];
        }
        free(o);
    }
}

/* Experts added as they arrive: in the other order where few tokens are in flight. */
static void unordered(struct kern *k, const struct kern_moe_sum *a)
{
    struct kern_moe_sum r = *a;
    int64_t n = a->t * a->top_k;
    if (a->t >= 8) {
        sound->moe_sum(k, a);
        return;
    }
    int32_t *row = malloc((size_t)n * (sizeof *row + sizeof(float)));
    float *weight = (float *)(void *)(row + n);
    for (int64_t i = 0; i < n; i++) {
        int64_t from = i / a->top_k * a->top_k + a->top_k - 1 - i % a->top_k;
        row[i] = a->row_of[from];
        weight[i] = a->weight ? a->weight[from] : 1;
    }
    r.row_of = row, r.weight = weight;
    sound->moe_sum(k, &r);
    free(row);
}

static void test_mutants(void **state)
{
    (void)state;
    static const char *const names[] = {"split reduction", "split keys", "unordered experts"};
    for (int mutant = 0; mutant < 3; mutant++)
        for (int form = 0; form < 2; form++) {
            struct arena mem;
            struct rollout_prompt p[PROMPTS];
            const struct rollout_sample *out;
            struct setting s = random_setting(4 + (uint64_t)form);
            struct kern *k = open_kern(KERN_BEST);
            struct kern_ops ops = *k->ops;
            int64_t compared = 0, bad = 0;
            sound = k->ops;
            if (mutant == 0)
                ops.linear = split_k;
            else if (mutant == 1)
                ops.attn = split_keys;
            else
                ops.moe_sum = unordered;
            k->ops = &ops;
            s.how = (struct model_opts){.mla = (enum model_mla)form, .prec = KERN_F32, .train = 1};
            s.conf.top_k = s.conf.top_groups * (s.conf.experts / s.conf.groups);
            s.draft = 0;
            arena_init(&mem, "mutant", 256 << 20);
            struct model *m = make_model(k, &s);
            for (uint64_t step = 0; step < 3; step++) {
                int64_t total = sample(m, &s, step, p, &out, &mem);
                bad += differing(m, &s, p, out, total, &compared, &mem);
            }
            printf("%s, %s: %lld of %lld tokens differ\n", names[mutant], model_mla_name(m), (long long)bad, (long long)compared);
            assert_true(bad > 0);
            model_close(m);
            arena_release(&mem);
            k->ops = sound;
            kern_close(k);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_runs), cmocka_unit_test(test_mutants)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
