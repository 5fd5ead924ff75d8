/* Catches: a forward or a gradient that is not the family's (against transformers in float64); a log-prob whose bits depend on batch,
 * packing, prefill chunks, cache history, threads or instruction set; recomputation that changes a gradient; a frozen reference that
 * moves; a saved folder that does not come back; memory taken inside a step; a damaged or wrong folder that is taken. */
#include "model/model.h"

#include <dirent.h>
#include <limits.h>
#include <malloc.h>
#include <math.h>
#include <unistd.h>

#include "core/file.h"
#include "core/json.h"
#include "core/par.h"
#include "core/rng.h"
#include "tests/model_test.h"

static struct kern *cpu;

/* ---- parity with transformers (tests/golden, made by tools/parity/golden.py) ------------------ */

static const struct st_tensor *need(const struct st_file *f, const char *name)
{
    const struct st_tensor *t = st_find(f, str_of(name));
    if (!t)
        fail_msg("golden file lacks '%s'", name);
    return t;
}

/* An aligned copy of a golden tensor. */
static void *load(const struct st_file *f, const char *name, struct arena *a)
{
    const struct st_tensor *t = need(f, name);
    void *p = arena_alloc(a, t->bytes, 1);
    memcpy(p, t->data, (size_t)t->bytes);
    return p;
}

static void close_to(const char *golden, const char *what, const float *got, const float *want, int64_t n, double tol)
{
    double most = 0, scale = 0;
    for (int64_t i = 0; i < n; i++) {
        scale = fmax(scale, fabs((double)want[i]));
        most = fmax(most, fabs((double)got[i] - (double)want[i]));
        if (!isfinite(got[i]))
            fail_msg("%s: %s[%lld] is not finite", golden, what, (long long)i);
    }
    if (most > tol * scale)
        fail_msg("%s: %s differs by %.3g of its maximum %.3g (allowed %.1g)", golden, what, most / scale, scale, tol);
}

struct golden {
    struct arena mem;
    struct st_file f;
    int32_t *ids, *target, *pos, *cu;
    float *g, *ge, *logits, *g_mtp; /* g_mtp: [mtp, n_tok] or NULL */
    double *logp, *entropy, *mtp_logp;
    float temperature;
    struct model_batch b;
};

static void golden_open(struct golden *v, const char *dir)
{
    char path[PATH_MAX + 32];
    struct err e = {0};
    arena_init(&v->mem, "golden", 64 << 20);
    snprintf(path, sizeof path, "%s/vectors.safetensors", dir);
    must(st_open(path, &v->mem, &v->f, &e), &e);
    v->ids = load(&v->f, "ids", &v->mem);
    v->target = load(&v->f, "target", &v->mem);
    v->g = load(&v->f, "g", &v->mem);
    v->ge = load(&v->f, "ge", &v->mem);
    v->logits = load(&v->f, "logits", &v->mem);
    v->logp = load(&v->f, "logp", &v->mem);
    v->entropy = load(&v->f, "entropy", &v->mem);
    v->g_mtp = st_find(&v->f, STR("g_mtp")) ? load(&v->f, "g_mtp", &v->mem) : NULL;
    v->mtp_logp = v->g_mtp ? load(&v->f, "mtp_logp", &v->mem) : NULL;
    v->temperature = *(float *)load(&v->f, "temperature", &v->mem);
    const int32_t *rows = load(&v->f, "rows", &v->mem);
    int64_t n_seq = need(&v->f, "rows")->bytes / 4, n = need(&v->f, "ids")->bytes / 4;
    v->pos = ARENA_NEW(&v->mem, int32_t, n);
    v->cu = ARENA_NEW(&v->mem, int32_t, n_seq + 1);
    for (int64_t s = 0; s < n_seq; s++) {
        v->cu[s + 1] = v->cu[s] + rows[s];
        for (int32_t i = 0; i < rows[s]; i++)
            v->pos[v->cu[s] + i] = i;
    }
    v->b = (struct model_batch){.n_tok = n, .n_seq = n_seq, .tokens = v->ids, .positions = v->pos, .cu_seqlens = v->cu};
}

/* Forward, head and backward of the golden batch into fresh gradients. */
static float **run_golden(struct model *m, struct golden *v, float *logp, float *entropy)
{
    float **grads = grads_alloc(m, &v->mem);
    struct err e = {0};
    must(model_reserve(m, &(struct model_room){.tokens = v->b.n_tok, .seqs = v->b.n_seq, .train = 1}, &e), &e);
    model_forward(m, &v->b, 1);
    model_logp(m, &(struct model_logp){.target = v->target, .temperature = v->temperature, .logp = logp, .entropy = entropy});
    if (v->g_mtp) {
        int64_t n = v->b.n_tok * model_conf(m)->mtp;
        float *got = ARENA_NEW(&v->mem, float, n), *want = ARENA_NEW(&v->mem, float, n);
        model_mtp(m, &(struct model_mtp){.target = v->target, .logp = got});
        for (int64_t i = 0; i < n; i++)
            want[i] = (float)v->mtp_logp[i];
        close_to("mtp", "logp", got, want, n, 1e-5);
    }
    model_backward(m, &(struct model_grad){.g = v->g, .ge = v->ge, .g_mtp = v->g_mtp, .grads = grads});
    return grads;
}

static void check_golden(const char *dir, const char *name, enum model_mla mla)
{
    struct golden v;
    struct model *m, *r;
    struct err e = {0};
    golden_open(&v, dir);
    must(model_open(cpu, dir, &(struct model_opts){.mla = mla, .prec = KERN_F32, .train = 1}, &m, &e), &e);
    const struct model_config *c = model_conf(m);
    int64_t n = v.b.n_tok, np;
    const struct model_param *p = model_params(m, &np);
    float *logp = ARENA_NEW(&v.mem, float, n), *entropy = ARENA_NEW(&v.mem, float, n), *want = ARENA_NEW(&v.mem, float, n), *logits = ARENA_NEW(&v.mem, float, n * c->vocab);
    int32_t *all = ARENA_NEW(&v.mem, int32_t, n);
    int64_t counted = 0;
    float **grads = run_golden(m, &v, logp, entropy);
    for (int64_t i = 0; i < n; i++)
        all[i] = (int32_t)i;
    model_logits(m, all, n, logits);
    close_to(name, "logits", logits, v.logits, n * c->vocab, 1e-5);
    for (int64_t i = 0; i < n; i++)
        want[i] = (float)v.logp[i];
    close_to(name, "logp", logp, want, n, 1e-5);
    for (int64_t i = 0; i < n; i++)
        want[i] = (float)v.entropy[i];
    close_to(name, "entropy", entropy, want, n, 1e-5);
    for (int64_t i = 0; i < np; i++) {
        char key[200];
        snprintf(key, sizeof key, "grad.%s", p[i].name);
        counted += p[i].n;
        if (str_ends(str_of(key), STR("e_score_correction_bias"))) { /* not trained by gradients */
            for (int64_t j = 0; j < p[i].n; j++)
                assert_true(grads[i][j] == 0);
            continue;
        }
        assert_int_equal(need(&v.f, key)->bytes, p[i].n * 4);
        close_to(name, key, grads[i], load(&v.f, key, &v.mem), p[i].n, 1e-4);
    }
    assert_int_equal(counted, model_size(c).params + model_size(c).mtp);
    /* recomputation: the same bits; twice into one gradient: adds */
    must(model_open(cpu, dir, &(struct model_opts){.mla = mla, .prec = KERN_F32, .train = 1, .recompute = 1}, &r, &e), &e);
    float **again = run_golden(r, &v, logp, entropy);
    for (int64_t i = 0; i < np; i++)
        assert_memory_equal(grads[i], again[i], (size_t)p[i].n * 4);
    if (c->layers + c->mtp > 1)
        assert_true(model_room_bytes(r, &(struct model_room){.tokens = 999, .seqs = 9, .train = 1}) < model_room_bytes(m, &(struct model_room){.tokens = 999, .seqs = 9, .train = 1}));
    model_close(r);
    model_close(m);
    st_close(&v.f);
    arena_release(&v.mem);
}

static void test_parity(void **state)
{
    (void)state;
    const char *from = getenv("HONE_GOLDEN") ? getenv("HONE_GOLDEN") : "tests/golden"; /* golden.py DIR --random makes others */
    DIR *d = opendir(from);
    int n = 0;
    assert_non_null(d);
    for (struct dirent *it; (it = readdir(d));) {
        char dir[PATH_MAX];
        if (it->d_name[0] == '.')
            continue;
        snprintf(dir, sizeof dir, "%s/%s", from, it->d_name);
        check_golden(dir, it->d_name, MODEL_EXPANDED);
        if (str_starts(str_of(it->d_name), STR("deepseek")))
            check_golden(dir, it->d_name, MODEL_ABSORBED);
        n++;
    }
    closedir(d);
    assert_true(n >= 8);
}

/* ---- models of random shape ----------------------------------------------------------------- */

/* ---- exactness ------------------------------------------------------------------------------ */

enum { SEQS = 5, LONGEST = 200, PAGES = 64, MAX_PAGES = LONGEST / KERN_PAGE + 2 };

struct texts {
    int32_t ids[SEQS][LONGEST];
    int32_t len[SEQS];
    float *logits[SEQS];       /* [len, vocab] of one plain forward of the sequence alone */
    float *logp[SEQS];         /* [len]: of the next token */
};

static int32_t positions[LONGEST];

/* The reference: every sequence alone, one forward. */
static void plain(struct model *m, struct texts *t, struct arena *a)
{
    int32_t rows[LONGEST], target[LONGEST];
    for (int s = 0; s < SEQS; s++) {
        const int32_t cu[2] = {0, t->len[s]};
        t->logits[s] = ARENA_NEW(a, float, t->len[s] * model_conf(m)->vocab);
        t->logp[s] = ARENA_NEW(a, float, t->len[s]);
        for (int i = 0; i < t->len[s]; i++) {
            rows[i] = i;
            target[i] = i + 1 < t->len[s] ? t->ids[s][i + 1] : -1;
        }
        model_forward(m, &(struct model_batch){.n_tok = t->len[s], .n_seq = 1, .tokens = t->ids[s], .positions = positions, .cu_seqlens = cu}, 0);
        model_logits(m, rows, t->len[s], t->logits[s]);
        model_logp(m, &(struct model_logp){.target = target, .temperature = 0.9f, .logp = t->logp[s]});
    }
}

/* All sequences as rows of one batch, in a random order. */
static void packed(struct model *m, const struct texts *t, uint64_t seed, struct arena scratch)
{
    int32_t ids[SEQS * LONGEST], pos[SEQS * LONGEST], target[SEQS * LONGEST], rows[SEQS * LONGEST], cu[SEQS + 1] = {0};
    int64_t order[SEQS], v = model_conf(m)->vocab;
    rng_permutation(order, SEQS, seed, RNG_TEST, 77);
    for (int k = 0; k < SEQS; k++) {
        int s = (int)order[k], at = cu[k];
        for (int i = 0; i < t->len[s]; i++) {
            ids[at + i] = t->ids[s][i];
            pos[at + i] = i;
            target[at + i] = i + 1 < t->len[s] ? t->ids[s][i + 1] : -1;
            rows[at + i] = at + i;
        }
        cu[k + 1] = at + t->len[s];
    }
    float *logits = ARENA_NEW(&scratch, float, cu[SEQS] * v), *logp = ARENA_NEW(&scratch, float, cu[SEQS]);
    model_forward(m, &(struct model_batch){.n_tok = cu[SEQS], .n_seq = SEQS, .tokens = ids, .positions = pos, .cu_seqlens = cu}, 0);
    model_logits(m, rows, cu[SEQS], logits);
    model_logp(m, &(struct model_logp){.target = target, .temperature = 0.9f, .logp = logp});
    for (int k = 0; k < SEQS; k++) {
        int s = (int)order[k];
        same_bits(logits + cu[k] * v, t->logits[s], t->len[s] * v, "packed logits", seed);
        same_bits(logp + cu[k], t->logp[s], t->len[s], "packed logp", seed);
    }
}

/* One step's random choice: some sequences, each with a chunk of its next tokens. */
struct draft {
    int32_t ids[SEQS * LONGEST], pos[SEQS * LONGEST], rows[SEQS * LONGEST], cu[SEQS + 1], kv_len[SEQS], pages[SEQS * MAX_PAGES];
    int who[SEQS], n;
};

static void draft_step(struct draft *d, const struct texts *t, int32_t *done, int32_t (*pages)[MAX_PAGES], uint64_t seed, uint32_t step)
{
    d->n = 0;
    d->cu[0] = 0;
    for (int s = 0; s < SEQS; s++) {
        int left = t->len[s] - done[s];
        if (!left || (draw(seed, 1000 + step * 20 + (uint32_t)s, 3) == 0))
            continue;
        int one = draw(seed, 1000 + step * 20 + 10 + (uint32_t)s, 2), k = one ? 1 : 1 + (int)draw(seed, 5000 + step * 20 + (uint32_t)s, (uint32_t)left);
        for (int i = 0; i < k; i++) {
            int at = d->cu[d->n] + i;
            d->ids[at] = t->ids[s][done[s] + i];
            d->pos[at] = done[s] + i;
            d->rows[at] = at;
        }
        memcpy(&d->pages[d->n * MAX_PAGES], pages[s], sizeof *pages);
        done[s] += k;
        d->kv_len[d->n] = done[s];
        d->who[d->n] = s;
        d->cu[d->n + 1] = d->cu[d->n] + k;
        d->n++;
    }
}

/* Random prefill chunks and decode steps of the sequences, mixed, over scattered pages whose old contents are garbage. */
static void stepped(struct model *m, struct model_cache *c, const struct texts *t, uint64_t seed, struct arena scratch)
{
    int32_t done[SEQS] = {0}, pages[SEQS][MAX_PAGES];
    int64_t order[PAGES], v = model_conf(m)->vocab;
    float *logits = ARENA_NEW(&scratch, float, SEQS * LONGEST * v), *logp = ARENA_NEW(&scratch, float, LONGEST);
    struct draft *d = ARENA_NEW(&scratch, struct draft, 1);
    rng_permutation(order, PAGES, seed, RNG_TEST, 78);
    for (int i = 0; i < SEQS * MAX_PAGES; i++)
        pages[i / MAX_PAGES][i % MAX_PAGES] = (int32_t)order[i];
    /* a shared prefix: the first sequence's tokens are also the second's, so its full first page may be a copy */
    for (uint32_t step = 0; step < 100000; step++) {
        int left = 0;
        for (int s = 0; s < SEQS; s++)
            left += t->len[s] - done[s];
        if (!left)
            return;
        draft_step(d, t, done, pages, seed, step);
        if (!d->n)
            continue;
        model_step(m, c, &(struct model_step){.b = {.n_tok = d->cu[d->n], .n_seq = d->n, .tokens = d->ids, .positions = d->pos, .cu_seqlens = d->cu}, .kv_len = d->kv_len,
                                              .pages = d->pages, .max_pages = MAX_PAGES});
        model_logits(m, d->rows, d->cu[d->n], logits);
        for (int k = 0; k < d->n; k++) {
            int s = d->who[k], n = d->cu[k + 1] - d->cu[k], from = d->kv_len[k] - n;
            same_bits(logits + d->cu[k] * v, t->logits[s] + from * v, n * v, "logits of a cached step", seed);
            int with_next = from + n < t->len[s] ? n : n - 1;
            if (with_next > 0) {
                model_rows_logp(m, logits + d->cu[k] * v, &t->ids[s][from + 1], with_next, 0.9f, logp);
                same_bits(logp, t->logp[s] + from, with_next, "log-probs of a cached step", seed);
            }
        }
        if (draw(seed, 9000 + step, 4) == 0) { /* a page moves, as a shared prefix is copied */
            int s = (int)draw(seed, 9100 + step, SEQS), i = (int)draw(seed, 9200 + step, MAX_PAGES), spare = (int)order[SEQS * MAX_PAGES + (int)draw(seed, 9300 + step, PAGES - SEQS * MAX_PAGES)];
            int used = 0;
            for (int k = 0; k < SEQS * MAX_PAGES; k++)
                used |= pages[k / MAX_PAGES][k % MAX_PAGES] == spare;
            if (!used) {
                model_cache_copy(c, spare, pages[s][i]);
                pages[s][i] = spare;
            }
        }
    }
    fail_msg("the steps do not end");
}

static int exact_case(uint64_t seed, struct kern *const *kerns, int n_kerns)
{
    struct model_config conf = random_config(seed / 4); /* four histories per model shape */
    struct arena a;
    struct texts *t;
    struct err e = {0};
    arena_init(&a, "exact", 512 << 20);
    t = ARENA_NEW(&a, struct texts, 1);
    for (int s = 0; s < SEQS; s++) {
        t->len[s] = 1 + (int32_t)draw(seed, 20 + (uint32_t)s, s == 0 ? LONGEST : 90);
        for (int i = 0; i < t->len[s]; i++)
            t->ids[s][i] = (int32_t)draw(seed, 10000 + (uint32_t)(s * LONGEST + i), (uint32_t)conf.vocab);
    }
    struct model_opts o = {.mla = (enum model_mla)draw(seed, 31, 2), .prec = (enum kern_prec)draw(seed, 30, 3), .train = 1};
    for (int i = 0; i < n_kerns; i++) {
        struct model *m;
        struct model_cache *c;
        char *mark = arena_mark(&a);
        struct texts was = *t;
        par_init(i % 2 ? 1 : 2);
        must(model_create(kerns[i], &conf, seed, &o, &m, &e), &e);
        shake(m, seed);
        must(model_reserve(m, &(struct model_room){.tokens = SEQS * LONGEST, .seqs = SEQS}, &e), &e);
        must(model_cache_open(m, PAGES, &c, &e), &e);
        plain(m, t, &a);
        for (int s = 0; i > 0 && s < SEQS; s++) { /* against the first instruction set and thread count */
            same_bits(t->logits[s], was.logits[s], t->len[s] * conf.vocab, kern_name(kerns[i]), seed);
            same_bits(t->logp[s], was.logp[s], t->len[s], kern_name(kerns[i]), seed);
        }
        packed(m, t, seed + 1000000 * (uint64_t)i, a);
        stepped(m, c, t, seed + 1000000 * (uint64_t)i, a);
        model_cache_close(c);
        model_close(m);
        if (i > 0)
            *t = was, arena_pop(&a, mark);
    }
    par_init(0);
    arena_release(&a);
    return n_kerns;
}

/* HONE_EXACT_CASES=1000 for the full claim; the suite runs fewer. */
static void test_exact(void **state)
{
    (void)state;
    const char *env = getenv("HONE_EXACT_CASES");
    long n = env ? strtol(env, NULL, 10) : 32;
    struct kern *k[4];
    int n_kerns = open_kerns(k), runs = 0;
    for (long i = 0; i < n; i++)
        runs += exact_case((uint64_t)i + 1, k, n_kerns);
    printf("%ld cases, %d runs, 0 differing bits\n", n, runs);
    for (int i = 0; i < n_kerns; i++)
        kern_close(k[i]);
}

/* ---- folders -------------------------------------------------------------------------------- */

static void test_save_and_open(void **state)
{
    (void)state;
    char dir[64], sub[100], digest[33], digest2[33];
    struct err e = {0};
    struct model *m, *r;
    temp_dir(dir);
    snprintf(sub, sizeof sub, "%s/tokenizer.json", dir);
    must(file_write_atomic(sub, STR("{\"t\":1}"), &e), &e);
    for (int i = 0; i < 24; i++) {
        struct model_config c = random_config((uint64_t)i + 50);
        must(model_create(cpu, &c, 9, &(struct model_opts){.train = 1}, &m, &e), &e);
        shake(m, 3);
        must(model_take_files(m, dir, &e), &e);
        model_digest(m, digest);
        for (int shards = 0; shards < 2; shards++) {
            snprintf(sub, sizeof sub, "%s/m", dir);
            must(model_save(m, sub, 0, shards ? 3000 : 0, &e), &e);
            must(model_open(cpu, sub, &(struct model_opts){.mla = (enum model_mla)(i % 2), .train = shards}, &r, &e), &e);
            model_digest(r, digest2);
            assert_string_equal(digest, digest2);
            assert_int_equal(model_conf(r)->rope.d, c.rope.d);
            assert_true(model_size(model_conf(r)).params == model_size(&c).params && model_conf(r)->mtp == c.mtp);
            model_close(r);
            snprintf(sub, sizeof sub, "%s/m/tokenizer.json", dir);
            assert_true(file_exists(sub));
        }
        model_close(m);
    }
    must(file_remove_tree(dir, &e), &e);
}

/* train = 0 from a bf16 folder: the same logits as with masters, and no f32 copy of the matrices. */
static void test_bf16_folder(void **state)
{
    (void)state;
    char dir[64], a[33], b[33];
    struct err e = {0};
    struct model *m, *r;
    int32_t ids[50], pos[50], rows[50];
    const int32_t cu[2] = {0, 50};
    temp_dir(dir);
    for (int prec = 0; prec < 3; prec++) {
        struct model_config c = random_config(71);
        c.vocab = 3000;
        c.tied = prec > 0;
        must(model_create(cpu, &c, 5, &(struct model_opts){.train = 1}, &m, &e), &e);
        must(model_save(m, dir, 1, 0, &e), &e);
        model_close(m);
        struct model_opts o = {.prec = (enum kern_prec)prec, .train = 1};
        must(model_open(cpu, dir, &o, &m, &e), &e);
        o.train = 0;
        struct mallinfo2 before = mallinfo2();
        must(model_open(cpu, dir, &o, &r, &e), &e);
        struct mallinfo2 after = mallinfo2();
        int64_t grown = (int64_t)(after.uordblks + after.hblkhd) - (int64_t)(before.uordblks + before.hblkhd), params = model_size(&c).params;
        if (prec)
            assert_true(grown < params * 4); /* bf16 packs and a bf16 table: 2 to 4 bytes, masters would add 4 */
        model_digest(m, a);
        model_digest(r, b);
        assert_string_equal(a, b);
        float *x = malloc(50 * 3000 * 4), *y = malloc(50 * 3000 * 4);
        for (int i = 0; i < 50; i++)
            ids[i] = i * 37 % 3000, pos[i] = i, rows[i] = i;
        struct model *both[] = {m, r};
        float *out[] = {x, y};
        for (int i = 0; i < 2; i++) {
            must(model_reserve(both[i], &(struct model_room){.tokens = 50, .seqs = 1}, &e), &e);
            model_forward(both[i], &(struct model_batch){.n_tok = 50, .n_seq = 1, .tokens = ids, .positions = pos, .cu_seqlens = cu}, 0);
            model_logits(both[i], rows, 50, out[i]);
        }
        assert_memory_equal(x, y, 50 * 3000 * 4);
        free(x);
        free(y);
        model_close(m);
        model_close(r);
    }
    must(file_remove_tree(dir, &e), &e);
}

/* ---- frozen reference ----------------------------------------------------------------------- */

static void logits_of(struct model *m, float *out)
{
    static const int32_t ids[] = {1, 5, 9, 2, 8}, pos[] = {0, 1, 2, 3, 4}, cu[] = {0, 5};
    struct err e = {0};
    must(model_reserve(m, &(struct model_room){.tokens = 5, .seqs = 1}, &e), &e);
    model_forward(m, &(struct model_batch){.n_tok = 5, .n_seq = 1, .tokens = ids, .positions = pos, .cu_seqlens = cu}, 0);
    model_logits(m, pos, 5, out);
}

static void test_freeze(void **state)
{
    (void)state;
    for (int i = 0; i < 24; i++) {
        struct model_config c = random_config((uint64_t)i + 200);
        struct model *m, *f, *g;
        struct err e = {0};
        static float was[5 * 200], now[5 * 200], moved[5 * 200];
        char a[33], b[33];
        must(model_create(cpu, &c, 7, &(struct model_opts){.mla = (enum model_mla)(i / 3 % 2), .prec = (enum kern_prec)(i % 3), .train = 1}, &m, &e), &e);
        logits_of(m, was);
        model_digest(m, a);
        must(model_freeze(m, &f, &e), &e);
        must(model_freeze(m, &g, &e), &e);
        shake(m, 4);
        logits_of(m, moved);
        shake(m, 5);
        for (int k = 0; k < 2; k++) {
            logits_of(k ? g : f, now);
            assert_memory_equal(was, now, (size_t)(5 * c.vocab) * 4);
            model_digest(k ? g : f, b);
            assert_string_equal(a, b);
        }
        assert_memory_not_equal(was, moved, (size_t)(5 * c.vocab) * 4);
        model_close(f);
        must(model_freeze(m, &f, &e), &e); /* the reference follows the policy */
        logits_of(m, was);
        model_close(m);                    /* frozen copies outlive it */
        logits_of(f, now);
        assert_memory_equal(was, now, (size_t)(5 * c.vocab) * 4);
        model_close(f);
        model_close(g);
    }
}

/* ---- loss -------------------------------------------------------------------------------------- */

/* One pass over the head gives the bits of two, with rows that count and rows that do not. */
static void test_loss_in_one(void **state)
{
    (void)state;
    for (int family = 0; family < 12; family++) {
        struct model_config c = random_config((uint64_t)family + 400);
        struct model *m;
        struct err e = {0};
        struct arena a;
        int64_t np;
        arena_init(&a, "test", 64 << 20);
        must(model_create(cpu, &c, 7, &(struct model_opts){.prec = (enum kern_prec)(family % 3), .train = 1}, &m, &e), &e);
        must(model_reserve(m, &(struct model_room){.tokens = 5, .seqs = 2, .train = 1}, &e), &e);
        float **two = grads_alloc(m, &a), **one = grads_alloc(m, &a), logp[2][5], g[5] = {-0.5f, -1, 7, -0.25f, -3};
        static const int32_t ids[] = {1, 5, 9, 2, 8}, target[] = {5, 9, -1, 8, 3}, pos[] = {0, 1, 2, 0, 1}, cu[] = {0, 3, 5};
        const struct model_batch b = {.n_tok = 5, .n_seq = 2, .tokens = ids, .positions = pos, .cu_seqlens = cu};
        g[3] = family % 4 ? g[3] : 0;
        model_forward(m, &b, 1);
        model_logp(m, &(struct model_logp){.target = target, .temperature = 0.8f, .logp = logp[0]});
        model_backward(m, &(struct model_grad){.g = g, .grads = two});
        model_forward(m, &b, 1);
        model_loss(m, &(struct model_loss){.target = target, .temperature = 0.8f, .logp = logp[1], .g = g, .grads = one});
        assert_memory_equal(logp[0], logp[1], sizeof logp[0]);
        const struct model_param *p = model_params(m, &np);
        for (int64_t i = 0; i < np; i++)
            assert_memory_equal(one[i], two[i], (size_t)p[i].n * sizeof **one);
        model_close(m);
        arena_release(&a);
    }
}

/* Gradients that held anything get the bits of those that held zeros, those of parameters that learn nothing too. */
static void test_fresh_gradients(void **state)
{
    (void)state;
    for (int family = 0; family < 36; family++) {
        struct model_config c = random_config((uint64_t)family + 700);
        struct model *m;
        struct err e = {0};
        struct arena a;
        int64_t np;
        c.mtp = c.kv_lora ? family % 3 : 0;
        arena_init(&a, "test", 64 << 20);
        must(model_create(cpu, &c, 7, &(struct model_opts){.prec = (enum kern_prec)(family % 3), .train = 1, .mla = family / 2 % 2 ? MODEL_ABSORBED : MODEL_EXPANDED}, &m, &e), &e);
        must(model_reserve(m, &(struct model_room){.tokens = 5, .seqs = 2, .train = 1}, &e), &e);
        float **grads[2] = {grads_alloc(m, &a), grads_alloc(m, &a)}, logp[5], g[5] = {-0.5f, -1, 7, -0.25f, -3}, g_mtp[2 * 5] = {0, -1, 0, 0, -2}, logp_mtp[2 * 5];
        static const int32_t ids[] = {1, 5, 9, 2, 8}, pos[] = {0, 1, 2, 0, 1}, cu[] = {0, 3, 5};
        int32_t target[] = {5, 9, -1, 8, 3};
        const struct model_batch b = {.n_tok = 5, .n_seq = 2, .tokens = ids, .positions = pos, .cu_seqlens = cu};
        const struct model_param *p = model_params(m, &np);
        for (int t = 0; t < 5 && family % 7 == 6; t++)
            target[t] = -1;
        for (int64_t i = 0; i < np; i++)
            memset(grads[1][i], 0xA5, (size_t)p[i].n * sizeof *grads[1][i]);
        for (int fresh = 0; fresh < 2; fresh++) {
            const int mtp = c.mtp && family % 2;
            model_forward(m, &b, 1);
            if (mtp || family % 5 == 0) {
                model_logp(m, &(struct model_logp){.target = target, .temperature = 0.8f, .logp = logp});
                if (mtp)
                    model_mtp(m, &(struct model_mtp){.target = target, .logp = logp_mtp});
                model_backward(m, &(struct model_grad){.g = g, .g_mtp = mtp ? g_mtp : NULL, .grads = grads[fresh], .fresh = fresh});
            } else
                model_loss(m, &(struct model_loss){.target = target, .temperature = 0.8f, .logp = logp, .g = g, .grads = grads[fresh], .fresh = fresh});
        }
        for (int64_t i = 0; i < np; i++)
            if (memcmp(grads[0][i], grads[1][i], (size_t)p[i].n * sizeof **grads[0]))
                fail_msg("family %d: the gradient of %s differs", family, p[i].name);
        model_close(m);
        arena_release(&a);
    }
}

/* MTP modules apart get the gradients that they get with the others, and the others those that they get without them: bit for bit. */
static void test_mtp_apart(void **state)
{
    (void)state;
    int joined = 0;
    for (int family = 0; family < 24; family++) {
        enum { NONE, APART, JOINT, WAYS };
        struct model_config c = random_config((uint64_t)family + 800);
        struct model *m;
        struct err e = {0};
        struct arena a;
        int64_t np;
        c.mtp = 1 + family % 2;
        if (!c.kv_lora)
            continue;
        arena_init(&a, "test", 64 << 20);
        must(model_create(cpu, &c, 7, &(struct model_opts){.prec = (enum kern_prec)(family % 3), .train = 1, .mla = (enum model_mla)(family / 2 % 2), .recompute = family % 5 == 0}, &m, &e), &e);
        must(model_reserve(m, &(struct model_room){.tokens = 7, .seqs = 2, .train = 1}, &e), &e);
        float **grads[WAYS], logp[7], g[7] = {-0.5f, -1, 0, -0.25f, -3, 1, 2}, g_mtp[2 * 7] = {0, -1, -2, 0, 0, -2, 0.5f, 0, 0, 3, 0, 0, 0, -1}, logp_mtp[2 * 7];
        static const int32_t ids[] = {1, 5, 9, 2, 8, 4, 1}, pos[] = {0, 1, 2, 3, 0, 1, 2}, cu[] = {0, 4, 7}, target[] = {5, 9, 2, 8, 4, 1, 3};
        const struct model_batch b = {.n_tok = 7, .n_seq = 2, .tokens = ids, .positions = pos, .cu_seqlens = cu};
        const struct model_param *p = model_params(m, &np);
        for (int way = 0; way < WAYS; way++) {
            grads[way] = grads_alloc(m, &a);
            model_forward(m, &b, 1);
            model_logp(m, &(struct model_logp){.target = target, .temperature = 1, .logp = logp});
            model_mtp(m, &(struct model_mtp){.target = target, .logp = logp_mtp});
            model_backward(m, &(struct model_grad){.g = g, .g_mtp = way == NONE ? NULL : g_mtp, .mtp_apart = way == APART, .grads = grads[way], .fresh = family % 2});
        }
        for (int64_t i = 0; i < np; i++) {
            const size_t bytes = (size_t)p[i].n * sizeof(float);
            if (memcmp(grads[APART][i], grads[p[i].mtp ? JOINT : NONE][i], bytes))
                fail_msg("family %d: the gradient of %s is not its own", family, p[i].name);
            joined += !p[i].mtp && memcmp(grads[JOINT][i], grads[NONE][i], bytes) != 0;
            assert_true(!p[i].mtp || !strstr(p[i].name, "eh_proj") || memcmp(grads[APART][i], grads[NONE][i], bytes) != 0);
        }
        model_close(m);
        arena_release(&a);
    }
    assert_true(joined > 10); /* without the flag the modules do reach the main model */
}

/* ---- memory --------------------------------------------------------------------------------- */

static void test_no_malloc_in_a_step(void **state)
{
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    printf("skip: mallinfo2 does not count under a sanitizer; the plain build checks this\n");
#else
    for (int family = 0; family < 30; family++) {
        struct model_config c = random_config((uint64_t)family + 300);
        struct model *m;
        struct model_cache *cache;
        struct err e = {0};
        struct arena a;
        arena_init(&a, "test", 64 << 20);
        must(model_create(cpu, &c, 7, &(struct model_opts){.prec = (enum kern_prec)(family / 3 % 3), .train = 1, .recompute = family % 3 == 0}, &m, &e), &e);
        must(model_reserve(m, &(struct model_room){.tokens = 5, .seqs = 2, .train = 1}, &e), &e);
        must(model_cache_open(m, 2, &cache, &e), &e);
        float **grads = grads_alloc(m, &a), logp[5], g[5] = {1, 1, 1, 1, 1}, *logits = ARENA_NEW(&a, float, 5 * c.vocab);
        static const int32_t ids[] = {1, 5, 9, 2, 8}, pos[] = {0, 1, 2, 3, 4}, cu[] = {0, 5}, kv_len[] = {5}, pages[] = {1};
        const struct model_batch b = {.n_tok = 5, .n_seq = 1, .tokens = ids, .positions = pos, .cu_seqlens = cu};
        size_t before = 0;
        for (int step = 0; step < 4; step++) {
            if (step == 1)
                before = mallinfo2().uordblks + mallinfo2().hblkhd;
            model_forward(m, &b, 1);
            model_logp(m, &(struct model_logp){.target = ids, .temperature = 1, .logp = logp});
            model_backward(m, &(struct model_grad){.g = g, .grads = grads});
            model_refresh(m);
            model_step(m, cache, &(struct model_step){.b = b, .kv_len = kv_len, .pages = pages, .max_pages = 1});
            model_logits(m, pos, 5, logits);
            model_rows_logp(m, logits, ids, 5, 1, logp);
        }
        assert_int_equal(before, mallinfo2().uordblks + mallinfo2().hblkhd);
        model_cache_close(cache);
        model_close(m);
        arena_release(&a);
    }
#endif
}

/* ---- published sizes ------------------------------------------------------------------------ */

/* Catches: a formula that forgets a matrix. Figures: the technical reports (671 B, 37 B activated, MTP 11.6 B as counted from the released
 * tensors; 236 B and 21 B; 15.7 B and 2.4 B; 494 M; 8.03 B; 30.5 B and 3.3 B, of which 0.3 B are the table). */
static void test_sizes(void **state)
{
    (void)state;
    static const struct {
        const char *config;
        double params, active, mtp;
        int64_t kv_numbers;
    } cases[] = {
        {"'model_type':'deepseek_v3','vocab_size':129280,'hidden_size':7168,'intermediate_size':18432,'moe_intermediate_size':2048,'num_hidden_layers':61,'num_attention_heads':128,"
         "'q_lora_rank':1536,'kv_lora_rank':512,'qk_nope_head_dim':128,'qk_rope_head_dim':64,'v_head_dim':128,'n_routed_experts':256,'n_shared_experts':1,'num_experts_per_tok':8,"
         "'n_group':8,'topk_group':4,'first_k_dense_replace':3,'num_nextn_predict_layers':1,'norm_topk_prob':true,'quantization_config':{'quant_method':'fp8'}",
         671.03, 36.63, 11.61, 35136},
        {"'model_type':'deepseek_v2','vocab_size':102400,'hidden_size':5120,'intermediate_size':12288,'moe_intermediate_size':1536,'num_hidden_layers':60,'num_attention_heads':128,"
         "'q_lora_rank':1536,'kv_lora_rank':512,'qk_nope_head_dim':128,'qk_rope_head_dim':64,'v_head_dim':128,'n_routed_experts':160,'n_shared_experts':2,'num_experts_per_tok':6,"
         "'n_group':8,'topk_group':3,'topk_method':'group_limited_greedy','first_k_dense_replace':1", 235.74, 20.85, 0, 34560},
        {"'model_type':'deepseek_v2','vocab_size':102400,'hidden_size':2048,'intermediate_size':10944,'moe_intermediate_size':1408,'num_hidden_layers':27,'num_attention_heads':16,"
         "'q_lora_rank':null,'kv_lora_rank':512,'qk_nope_head_dim':128,'qk_rope_head_dim':64,'v_head_dim':128,'n_routed_experts':64,'n_shared_experts':2,'num_experts_per_tok':6,"
         "'topk_method':'greedy','first_k_dense_replace':1", 15.71, 2.45, 0, 15552},
        {"'model_type':'qwen2','vocab_size':151936,'hidden_size':896,'intermediate_size':4864,'num_hidden_layers':24,'num_attention_heads':14,'num_key_value_heads':2,"
         "'tie_word_embeddings':true", 0.494, 0.494, 0, 6144},
        {"'model_type':'llama','vocab_size':128256,'hidden_size':4096,'intermediate_size':14336,'num_hidden_layers':32,'num_attention_heads':32,'num_key_value_heads':8", 8.03, 7.504, 0, 65536},
        {"'model_type':'qwen3_moe','vocab_size':151936,'hidden_size':2048,'intermediate_size':6144,'moe_intermediate_size':768,'num_hidden_layers':48,'num_attention_heads':32,"
         "'num_key_value_heads':4,'head_dim':128,'num_experts':128,'num_experts_per_tok':8", 30.53, 3.04, 0, 49152},
    };
    char dir[64], path[100], text[2000];
    struct err e = {0};
    temp_dir(dir);
    snprintf(path, sizeof path, "%s/config.json", dir);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct model_config c;
        snprintf(text, sizeof text, "{%s}", cases[i].config);
        for (char *p = text; *p; p++)
            *p = *p == '\'' ? '"' : *p;
        must(file_write_atomic(path, str_of(text), &e), &e);
        must(model_config_read(path, &c, &e), &e);
        struct model_size s = model_size(&c);
        const double got[] = {(double)s.params / 1e9, (double)s.active / 1e9, (double)s.mtp / 1e9}, want[] = {cases[i].params, cases[i].active, cases[i].mtp};
        for (int k = 0; k < 3; k++)
            if (fabs(got[k] - want[k]) > 0.006)
                fail_msg("%.60s...: count %d is %.3f B, published %.3f B", text, k, got[k], want[k]);
        assert_int_equal(s.kv_numbers, cases[i].kv_numbers);
    }
    must(file_remove_tree(dir, &e), &e);
}

/* ---- bad folders ---------------------------------------------------------------------------- */

/* Replaces bytes in the golden llama's weights or config; the message must say `what` and be one line. */
static void expect_refused(const char *dir, err_code code, const char *what)
{
    struct model *m;
    for (int train = 0; train < 2; train++) {
        struct err e = {0};
        err_code rc = model_open(cpu, dir, &(struct model_opts){.train = train}, &m, &e);
        if (rc != code || !strstr(e.msg, what) || strchr(e.msg, '\n'))
            fail_msg("expected code %d with '%s', got %d: %s", code, what, rc, e.msg);
    }
}

static void test_bad_configs(void **state)
{
    (void)state;
    static const struct {
        const char *edit;      /* members put in front: the first of a name wins no longer, so they replace */
        err_code code;
        const char *what;
    } cases[] = {
        {"\"model_type\":\"mamba\"", ERR_UNSUPPORTED, "mamba"},
        {"\"architectures\":[\"LlamaForSequenceClassification\"]", ERR_UNSUPPORTED, "LlamaForSequenceClassification"},
        {"\"hidden_act\":\"gelu\"", ERR_UNSUPPORTED, "gelu"},
        {"\"rope_parameters\":{\"rope_type\":\"longrope\"}", ERR_UNSUPPORTED, "longrope"},
        {"\"rope_parameters\":null,\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2}", ERR_UNSUPPORTED, "dynamic"},
        {"\"rope_parameters\":null,\"rope_scaling\":{\"type\":\"linear\",\"factor\":0.5}", ERR_DATA, "factor"},
        {"\"rope_parameters\":null,\"rope_scaling\":\"yarn\"", ERR_DATA, "rope_scaling"},
        {"\"use_sliding_window\":true", ERR_UNSUPPORTED, "use_sliding_window"},
        {"\"layer_types\":[\"full_attention\",\"sliding_attention\"]", ERR_UNSUPPORTED, "layer_types"},
        {"\"quantization_config\":{\"quant_method\":\"fp8\"}", ERR_UNSUPPORTED, "quantization_config"},
        {"\"attention_dropout\":0.1", ERR_UNSUPPORTED, "attention_dropout"},
        {"\"num_key_value_heads\":3", ERR_DATA, "multiple"},
        {"\"head_dim\":7", ERR_DATA, "odd"},
        {"\"hidden_size\":0", ERR_DATA, "hidden_size"},
        {"\"hidden_size\":\"24\"", ERR_DATA, "hidden_size"},
        {"\"hidden_size\":1e18", ERR_DATA, "hidden_size"},
        {"\"vocab_size\":null", ERR_DATA, "vocab_size"},
        {"\"vocab_size\":38", ERR_DATA, "config.json gives [38, 24]"},
        {"\"intermediate_size\":21", ERR_DATA, "mlp.gate_proj.weight"},
        {"\"num_hidden_layers\":3", ERR_DATA, "'model.layers.2.input_layernorm.weight' is missing"},
        {"\"num_hidden_layers\":1", ERR_DATA, "is not part of a llama"},
        {"\"attention_bias\":true", ERR_DATA, "bias' is missing"},
        {"\"eos_token_id\":[1,\"x\"]", ERR_DATA, "eos_token_id"},
    };
    char dir[64];
    struct err e = {0};
    temp_dir(dir);
    copy_file("tests/golden/llama", dir, "model.safetensors");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *o, *patch;
        char edit[300];
        must(json_load("tests/golden/llama/config.json", 1 << 20, &o, &e), &e);
        snprintf(edit, sizeof edit, "{%s}", cases[i].edit);
        must(json_parse(str_of(edit), &patch, &e), &e);
        json_object_update(o, patch);
        char *text = json_dumps(o, 0);
        write_to(dir, "config.json", str_of(text));
        free(text);
        json_decref(o);
        json_decref(patch);
        expect_refused(dir, cases[i].code, cases[i].what);
    }
    write_to(dir, "config.json", STR("{\"model_type\":"));
    expect_refused(dir, ERR_DATA, "config.json");
    must(file_remove_tree(dir, &e), &e);
    expect_refused(dir, ERR_IO, "is not a folder");
}

static void test_bad_weights(void **state)
{
    (void)state;
    char dir[64], path[100];
    struct err e = {0};
    struct sbuf b;
    temp_dir(dir);
    copy_file("tests/golden/llama", dir, "config.json");
    expect_refused(dir, ERR_IO, "model.safetensors");
    sbuf_init(&b, 64 << 20);
    must(file_read("tests/golden/llama/model.safetensors", &b, &e), &e);
    write_to(dir, "model.safetensors", (struct str){b.p, b.n - 1});
    expect_refused(dir, ERR_DATA, "truncated");
    write_to(dir, "model.safetensors", (struct str){b.p, 100});
    expect_refused(dir, ERR_DATA, "truncated");
    static const struct {
        const char *from, *to;
        err_code code;
        const char *what;
    } edits[] = {
        {"model.norm.weight", "model.norm.weighs", ERR_DATA, "'model.norm.weighs' is not part of"},
        {"[24,24]", "[12,48]", ERR_DATA, "has shape [12, 48], config.json gives [24, 24]"},
        {"[24,24]", "[ 576 ]", ERR_DATA, "has shape [576]"},
        {"\"dtype\":\"F32\"", "\"dtype\":\"I32\"", ERR_UNSUPPORTED, "is I32"},
    };
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        struct sbuf c;
        sbuf_init(&c, 64 << 20);
        sbuf_add(&c, sbuf_str(&b));
        int64_t at = str_find(sbuf_str(&b), str_of(edits[i].from), 0);
        assert_true(at > 0);
        memcpy(c.p + at, edits[i].to, strlen(edits[i].to));
        write_to(dir, "model.safetensors", sbuf_str(&c));
        expect_refused(dir, edits[i].code, edits[i].what);
        sbuf_release(&c);
    }
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 3; i++) { /* the last tensor's last value, and one in the middle */
        float was;
        int64_t at = i ? b.n - 4 : b.n - 20004;
        memcpy(&was, b.p + at, 4);
        memcpy(b.p + at, &bad[i], 4);
        write_to(dir, "model.safetensors", sbuf_str(&b));
        expect_refused(dir, ERR_DIVERGED, "has NaN or Inf at row");
        memcpy(b.p + at, &was, 4);
    }
    /* shards: an index that promises what is not there */
    write_to(dir, "model.safetensors", sbuf_str(&b));
    write_to(dir, "model.safetensors.index.json", STR("{\"weight_map\":{\"model.norm.weight\":\"model.safetensors\",\"x\":\"model.safetensors\"}}"));
    expect_refused(dir, ERR_DATA, "'x' is in 'model.safetensors', but it is not");
    write_to(dir, "model.safetensors.index.json", STR("{\"weight_map\":{\"model.norm.weight\":\"../m.safetensors\"}}"));
    expect_refused(dir, ERR_DATA, "is no name of a shard");
    write_to(dir, "model.safetensors.index.json", STR("{\"weight_map\":{\"model.norm.weight\":\"gone.safetensors\"}}"));
    expect_refused(dir, ERR_IO, "gone.safetensors");
    write_to(dir, "model.safetensors.index.json", STR("{}"));
    expect_refused(dir, ERR_DATA, "weight_map");
    sbuf_release(&b);
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", dir);
    assert_int_equal(unlink(path), 0);
    struct model *m;
    must(model_open(cpu, dir, &(struct model_opts){.train = 0}, &m, &e), &e);
    assert_int_equal(model_save(m, dir, 0, 0, &e), ERR_UNSUPPORTED);
    model_close(m);
    must(file_remove_tree(dir, &e), &e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parity),
        cmocka_unit_test(test_exact),
        cmocka_unit_test(test_save_and_open),
        cmocka_unit_test(test_bf16_folder),
        cmocka_unit_test(test_freeze),
        cmocka_unit_test(test_loss_in_one), cmocka_unit_test(test_fresh_gradients), cmocka_unit_test(test_mtp_apart),
        cmocka_unit_test(test_no_malloc_in_a_step),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_bad_configs),
        cmocka_unit_test(test_bad_weights),
    };
    struct err e = {0};
    for (int i = 0; i < LONGEST; i++)
        positions[i] = i;
    if (kern_open(&(struct kern_opts){.backend = "cpu"}, &cpu, &e) != ERR_OK) {
        printf("%s\n", e.msg);
        return 1;
    }
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    kern_close(cpu);
    return rc;
}
