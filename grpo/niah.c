/* Needle in a haystack. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "core/log.h"
#include "core/rng.h"
#include "core/stop.h"
#include "core/version.h"
#include "grpo/grpo.h"
#include "grpo/niah.h"
#include "rollout/rollout.h"
#include "train/train.h"

enum { TEXT_MAX = 1 << 28 };
/* Keys that a resume may change: they do not change an answer. */
static const char free_keys[] = "threads isa data.store rollout.batch rollout.step_tokens rollout.cache_mb rollout.speculate ";

struct niah {
    const struct cfg *c;
    struct train_job j;
    struct rollout *r;
    struct tok_enc *enc;
    struct tok_ids hay, head, question; /* head: what the tokenizer puts before a text */
    struct grpo_niah_result *out;
    int64_t done;                /* cells */
};

/* ---- the haystack --------------------------------------------------------------------------- */

static void make_text(uint64_t seed, struct sbuf *b)
{
    static const char *const sentences[] = {
        "The road goes on behind the hill. ", "A boat waits at the old bridge. ", "Nobody counted the birds that morning. ", "The baker opens his shop at six. ",
        "It rained for most of the week. ", "Two cats sleep on the warm stones. ", "The clock in the tower is a little slow. ", "She wrote a letter and sent it the same day. ",
        "Apples are cheaper in autumn. ", "The train was late again. ", "He planted a row of beans by the wall. ", "Somebody was singing in the next room. ",
    };
    for (uint64_t i = 0; i < 4096; i++)
        sbuf_adds(b, sentences[rng_below(sizeof sentences / sizeof *sentences, seed, RNG_EVAL, 0, 1, i)]);
}

static err_code encode(struct niah *n, struct str text, int special, struct tok_ids *out, struct err *e)
{
    return tok_encode(n->enc, &(struct tok_text){.text = text, .add_special = special ? TOK_SPECIAL_CLASS : TOK_SPECIAL_NONE, .plain = 1}, out, e);
}

/* Special tokens before a text: those of an encoding of nothing, but for an end that some tokenizers add. */
static err_code read_texts(struct niah *n, struct err *e)
{
    struct sbuf b;
    sbuf_init(&b, TEXT_MAX);
    err_code rc = ERR_OK;
    if (n->c->niah.text[0])
        rc = file_read(n->c->niah.text, &b, e);
    else
        make_text((uint64_t)n->c->seed, &b);
    if (rc == ERR_OK && encode(n, sbuf_str(&b), 0, &n->hay, e) != ERR_OK)
        rc = err_ctx(e, "'%s'", n->c->niah.text);
    sbuf_release(&b);
    if (rc == ERR_OK && n->hay.n == 0)
        rc = err_set(e, ERR_DATA, "'%s' has no text", n->c->niah.text);
    if (rc == ERR_OK)
        rc = encode(n, STR(""), 1, &n->head, e);
    while (rc == ERR_OK && n->head.n > 0 && n->head.id[n->head.n - 1] != model_conf(n->j.m)->bos)
        n->head.n--;
    return rc == ERR_OK ? encode(n, str_of(n->c->niah.question), 0, &n->question, e) : rc;
}

/* ---- one prompt ----------------------------------------------------------------------------- */

void grpo_niah_key(const char *fixed, int64_t digits, uint64_t seed, uint64_t cell, uint64_t sample, char out[GRPO_NIAH_KEY])
{
    if (fixed[0]) {
        snprintf(out, GRPO_NIAH_KEY, "%s", fixed);
        return;
    }
    for (int64_t i = 0; i < digits; i++)
        out[i] = (char)('0' + (i == 0 ? 1 + rng_below(9, seed, RNG_EVAL, cell, 2, sample * 32) : rng_below(10, seed, RNG_EVAL, cell, 2, sample * 32 + (uint64_t)i)));
    out[digits] = 0;
}

void grpo_niah_fill(const char *text, const char *key, struct sbuf *out)
{
    struct str rest = str_of(text);
    for (int64_t at; (at = str_find(rest, STR("{key}"), 0)) >= 0; rest = str_sub(rest, at + 5, rest.n)) {
        sbuf_add(out, str_sub(rest, 0, at));
        sbuf_adds(out, key);
    }
    sbuf_add(out, rest);
}

int grpo_niah_right(struct str answer, const char *key)
{
    struct str k = str_of(key), a = str_trim(answer);
    if (!str_starts(a, k))
        return 0;
    return a.n == k.n || !isalnum((unsigned char)a.p[k.n]);
}

/* The cell's number names its length and depth, so that another grid draws the same prompts for them. */
static uint64_t cell_key(int64_t length, double depth) { return (uint64_t)length * 1024 + (uint64_t)lround(depth * 1000); }

static void put_ids(int32_t *ids, int64_t *at, const struct tok_ids *from)
{
    for (int64_t i = 0; i < from->n; i++)
        ids[(*at)++] = from->id[i];
}

static err_code make_prompt(struct niah *n, int64_t length, double depth, int64_t sample, const char *key, struct arena *mem, struct rollout_prompt *p, struct err *e)
{
    struct sbuf b;
    struct tok_ids needle = {0};
    uint64_t cell = cell_key(length, depth);
    sbuf_init(&b, 1 << 20);
    grpo_niah_fill(n->c->niah.needle, key, &b);
    err_code rc = encode(n, sbuf_str(&b), 0, &needle, e);
    sbuf_release(&b);
    int64_t hay = length - n->head.n - needle.n - n->question.n, before = (int64_t)((double)hay * depth + 0.5), at = 0;
    if (rc == ERR_OK && hay < 0)
        rc = err_set(e, ERR_USAGE, "niah.lengths: %lld tokens do not hold needle and question (%lld)", (long long)length, (long long)(length - hay));
    if (rc == ERR_OK) {
        int32_t *ids = ARENA_NEW(mem, int32_t, length);
        uint64_t from = rng_below((uint64_t)n->hay.n, (uint64_t)n->c->seed, RNG_EVAL, cell, 3, (uint64_t)sample);
        put_ids(ids, &at, &n->head);
        for (int64_t i = 0; i <= hay; i++) {
            if (i == before)
                put_ids(ids, &at, &needle);
            if (i < hay)
                ids[at++] = n->hay.id[(from + (uint64_t)i) % (uint64_t)n->hay.n];
        }
        put_ids(ids, &at, &n->question);
        *p = (struct rollout_prompt){.key = cell << 20 | (uint64_t)sample, .ids = ids, .n = length, .samples = 1};
    }
    tok_ids_release(&needle);
    return rc;
}

/* ---- cells ---------------------------------------------------------------------------------- */

struct cell {
    int64_t number, length;
    double depth;
    char name[40];               /* of its figure */
};

static struct cell cell_at(const struct niah *n, int64_t number)
{
    struct cell c = {.number = number, .length = n->out->length[number / n->out->n_depths], .depth = n->out->depth[number % n->out->n_depths]};
    snprintf(c.name, sizeof c.name, "%lld@%.1f%%", (long long)c.length, c.depth * 100);
    return c;
}

static err_code record(struct niah *n, const struct cell *c, const struct rollout_prompt *p, const struct rollout_sample *s, char (*key)[GRPO_NIAH_KEY], struct err *e)
{
    int64_t right = 0, samples = n->out->samples, step = c->number + 1;
    TRY(store_begin(n->j.store, e));
    TRY(store_step(&n->j.run, step, 0, e));
    for (int64_t i = 0; i < samples; i++) {
        int ok = grpo_niah_right(s[i].text, key[i]);
        char why[GRPO_NIAH_KEY + 16];
        snprintf(why, sizeof why, "key %s", key[i]);
        const struct store_rollout o = {.purpose = "niah", .prompt = i, .prompt_ids = p[i].ids, .n_prompt = p[i].n, .ids = s[i].ids, .logp = s[i].logp, .n = s[i].n, .text = s[i].text,
                                        .stop = rollout_stop_name(s[i].stop), .reward = ok, .advantage = NAN, .why = why};
        TRY(store_rollout(&n->j.run, step, &o, e));
        right += ok;
    }
    TRY(store_eval(&n->j.run, step, "niah", c->name, (double)right / (double)samples, samples, e));
    n->out->right[c->number % n->out->n_depths][c->number / n->out->n_depths] = (double)right / (double)samples;
    return store_commit(n->j.store, e);
}

static err_code run_cell(struct niah *n, int64_t number, struct arena *mem, struct err *e)
{
    struct cell c = cell_at(n, number);
    int64_t samples = n->out->samples;
    struct rollout_prompt *p = ARENA_NEW(mem, struct rollout_prompt, samples);
    char(*key)[GRPO_NIAH_KEY] = arena_alloc(mem, samples, GRPO_NIAH_KEY);
    const struct rollout_sample *s;
    struct rollout_stats stats;
    const struct rollout_sampling greedy = {.top_p = 1, .max_tokens = n->c->niah.max_tokens, .seed = (uint64_t)n->c->seed};
    for (int64_t i = 0; i < samples; i++) {
        grpo_niah_key(n->c->niah.key, n->c->niah.digits, (uint64_t)n->c->seed, cell_key(c.length, c.depth), (uint64_t)i, key[i]);
        TRY(make_prompt(n, c.length, c.depth, i, key[i], mem, &p[i], e));
    }
    TRY(rollout_run(n->r, p, samples, &greedy, NULL, mem, &s, &stats, e));
    return record(n, &c, p, s, key, e);
}

static err_code all_cells(struct niah *n, struct err *e)
{
    struct progress bar;
    struct arena mem;
    int64_t cells = n->out->n_lengths * n->out->n_depths;
    err_code rc = ERR_OK;
    arena_init(&mem, "needles", 1LL << 34);
    progress_begin(&bar, "niah", "cells", cells);
    for (int64_t i = n->done; i < cells && rc == ERR_OK; i++) {
        struct cell c = cell_at(n, i);
        progress_at(&bar, i, c.name);
        rc = stop_requested() ? err_set(e, ERR_CANCELLED, "interrupted after %lld of %lld cells; hint: --resume goes on", (long long)i, (long long)cells) : run_cell(n, i, &mem, e);
        arena_reset(&mem);
    }
    if (rc == ERR_OK)
        progress_at(&bar, cells, NULL);
    progress_end(&bar);
    arena_release(&mem);
    return rc;
}

/* ---- the run -------------------------------------------------------------------------------- */

static err_code read_grid(const struct cfg *c, struct grpo_niah_result *out, struct err *e)
{
    struct cfg_item item[GRPO_NIAH_LENGTHS];
    int n;
    TRY(cfg_list(c->niah.lengths, "niah.lengths", item, GRPO_NIAH_LENGTHS, &n, e));
    *out = (struct grpo_niah_result){.n_lengths = n, .n_depths = c->niah.depths, .samples = c->niah.samples};
    for (int i = 0; i < n; i++)
        if (!str_to_i64(item[i].name, &out->length[i]) || out->length[i] < 1 || out->length[i] > 1 << 26)
            return err_set(e, ERR_USAGE, "niah.lengths: '%.*s' is no number of tokens", STR_ARG(item[i].name));
    if (n == 0)
        return err_set(e, ERR_USAGE, "niah.lengths is empty");
    if (strlen(c->niah.key) >= GRPO_NIAH_KEY)
        return err_set(e, ERR_USAGE, "niah.key is longer than %d bytes", GRPO_NIAH_KEY - 1);
    if (!strstr(c->niah.needle, "{key}"))
        return err_set(e, ERR_USAGE, "niah.needle has no {key}");
    for (int64_t d = 0; d < out->n_depths; d++)
        out->depth[d] = out->n_depths > 1 ? (double)d / (double)(out->n_depths - 1) : 0.5;
    return ERR_OK;
}

/* Cells of the run that goes on, and their figures; n->done 0: there is none. */
static err_code go_on(struct niah *n, const struct store_run_info *info, struct err *e)
{
    int64_t id = 0;
    struct store_query q;
    TRY(store_run_find(n->j.store, info->name, &id, e));
    if (!id)
        return store_run_begin(n->j.store, info, &n->j.run, e);
    TRY(store_query(n->j.store, &q, e, "SELECT config FROM runs WHERE id = ? AND kind = 'niah'", "i", id));
    if (!q.more)
        return err_set(e, ERR_USAGE, "the run '%s' is of another kind; hint: niah.out=NAME", info->name);
    err_code same = train_same_config(store_str(&q, 0), sbuf_str(&n->j.config), free_keys, e);
    store_end(&q);
    TRY(same);
    TRY(store_query(n->j.store, &q, e, "SELECT step, value FROM evals WHERE run = ? AND dataset = 'niah' ORDER BY step", "i", id));
    while (q.more) {
        int64_t cell = store_i64(&q, 0) - 1;
        if (cell == n->done && cell < n->out->n_lengths * n->out->n_depths)
            n->out->right[cell % n->out->n_depths][cell / n->out->n_depths] = store_f64(&q, 1), n->done++;
        TRY(store_next(&q, e));
    }
    log_info("niah", "%lld cells are done", (long long)n->done);
    return store_run_resume(n->j.store, id, n->done, info, &n->j.run, e);
}

static err_code open_model(struct niah *n, struct err *e)
{
    const struct cfg *c = n->c;
    struct train_job *j = &n->j;
    int64_t longest = 0;
    TRY(train_job_kern(c, &j->k, e));
    TRY(ckpt_model(c->model.path, j->from, e));
    TRY(store_open(c->data.store, STORE_WRITE, "hone eval niah", &j->store, e));
    TRY(tok_load(j->from, &j->tok, e));
    TRY(tok_enc_new(j->tok, &n->enc, e));
    struct model_opts how = train_job_model(c, "niah", 0);
    TRY(model_open(j->k, j->from, &how, &j->m, e));
    for (int64_t i = 0; i < n->out->n_lengths; i++)
        longest = n->out->length[i] > longest ? n->out->length[i] : longest;
    if (longest + c->niah.max_tokens > model_conf(j->m)->max_position)
        return err_set(e, ERR_USAGE, "niah.lengths: %lld tokens and an answer of %lld, the model has %lld positions; hint: model.rope=yarn extends it", (long long)longest,
                       (long long)c->niah.max_tokens, (long long)model_conf(j->m)->max_position);
    TRY(read_texts(n, e));
    struct rollout_opts o = {.seqs = c->rollout.batch < c->niah.samples ? c->rollout.batch : c->niah.samples, .context = longest + c->niah.max_tokens,
                             .step_tokens = c->rollout.step_tokens, .cache_bytes = c->rollout.cache_mb << 20, .speculate = c->rollout.speculate};
    return rollout_open(j->m, j->tok, &o, &n->r, e);
}

static err_code run(struct niah *n, int resume, struct err *e)
{
    const struct cfg *c = n->c;
    char commit[80];
    double sum = 0;
    TRY(read_grid(c, n->out, e));
    TRY(open_model(n, e));
    train_job_provenance(c, commit);
    struct store_run_info info = {.kind = "niah", .name = c->niah.out, .config = n->j.config.p, .code = HONE_VERSION, .provenance = commit, .seed = c->seed};
    TRY(resume ? go_on(n, &info, e) : store_run_begin(n->j.store, &info, &n->j.run, e));
    n->j.started = 1;
    TRY(all_cells(n, e));
    for (int64_t d = 0; d < n->out->n_depths; d++)
        for (int64_t l = 0; l < n->out->n_lengths; l++)
            sum += n->out->right[d][l];
    n->out->mean = sum / (double)(n->out->n_depths * n->out->n_lengths);
    return grpo_niah_write(c->niah.out, c->model.path, n->out, e);
}

err_code grpo_niah_run(const struct cfg *c, int resume, struct grpo_niah_result *out, struct err *e)
{
    struct niah n = {.c = c, .j = {.c = c, .kind = "niah"}, .out = out};
    arena_init(&n.j.mem, "job", 1LL << 32);
    sbuf_init(&n.j.config, 1 << 20);
    cfg_text(c, &n.j.config);
    err_code rc = run(&n, resume, e);
    rollout_close(n.r);
    tok_ids_release(&n.hay);
    tok_ids_release(&n.head);
    tok_ids_release(&n.question);
    tok_enc_free(n.enc);
    return train_job_end(&n.j, rc, e);
}
