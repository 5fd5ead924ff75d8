/* Continuous batching over a paged cache. One turn of the loop: admit what fits, draw a token for every row of logits that is ready, build
 * the next pass from the drawn tokens and chunks of prompts, run it. */
#include "rollout/rollout.h"

#include <stdlib.h>

#include "core/log.h"
#include "core/par.h"
#include "core/stop.h"
#include "rollout/impl.h"

enum { SEQS_DEFAULT = 32, CONTEXT_DEFAULT = 4096, STEP_DEFAULT = 512, STOP_MAX = 16, TEXT_MAX = 64 << 20 };

const char *rollout_stop_name(enum rollout_stop s)
{
    static const char *const names[] = {
#define X(name, text) #name,
        ROLLOUT_STOPS(X)
#undef X
    };
    return names[s];
}

static int64_t pages_for(int64_t tokens) { return (tokens + KERN_PAGE - 1) / KERN_PAGE; }

void rollout_rows_new(struct rollout *r, struct part_rows *p, int64_t tokens)
{
    struct arena *a = &r->mem;
    p->tokens = ARENA_NEW(a, int32_t, tokens);
    p->positions = ARENA_NEW(a, int32_t, tokens);
    p->cu = ARENA_NEW(a, int32_t, 2 * r->n_seqs + 1);
    p->kv_len = ARENA_NEW(a, int32_t, 2 * r->n_seqs);
    p->pages = ARENA_NEW(a, int32_t, 2 * r->n_seqs * r->max_pages);
}

static void take_memory(struct rollout *r)
{
    struct arena *a = &r->mem;
    int64_t n = r->n_seqs;
    r->seqs = ARENA_NEW(a, struct seq, n);
    r->groups = ARENA_NEW(a, struct group, n);
    for (int64_t i = 0; i < n; i++) {
        r->seqs[i].ids = ARENA_NEW(a, int32_t, r->context);
        r->seqs[i].logp = ARENA_NEW(a, float, r->context);
        r->seqs[i].pages = ARENA_NEW(a, int32_t, r->max_pages);
        r->seqs[i].stream = r->tok ? tok_stream_new(r->tok, 1) : NULL;
        sbuf_init(&r->seqs[i].text, TEXT_MAX);
        r->groups[i].pages = ARENA_NEW(a, int32_t, r->max_pages);
        r->groups[i].logits = ARENA_NEW(a, float, r->vocab);
        r->groups[i].state = r->d.depth ? ARENA_NEW(a, float, model_conf(r->m)->hidden) : NULL;
        r->seqs[i].routes = ARENA_NEW(a, uint16_t, r->context * r->width + 1);
        r->groups[i].route = ARENA_NEW(a, uint16_t, r->width + 1);
    }
    r->free = ARENA_NEW(a, int32_t, r->n_pages);
    r->n_rows_max = n * (2 + r->d.depth);
    r->logits = ARENA_NEW(a, float, r->n_rows_max * r->vocab);
    r->routes = ARENA_NEW(a, uint16_t, r->n_rows_max * r->width + 1);
    r->n_scratch = par_threads();
    r->scratch = ARENA_NEW(a, struct rollout_scratch, r->n_scratch);
    for (int i = 0; i < r->n_scratch; i++)
        r->scratch[i] = (struct rollout_scratch){ARENA_NEW(a, float, r->vocab), ARENA_NEW(a, int32_t, r->vocab)};
    rollout_rows_new(r, &r->in, r->step_tokens);
    r->rows = ARENA_NEW(a, int32_t, r->n_rows_max);
    r->targets = ARENA_NEW(a, int32_t, r->n_rows_max);
    r->row_logp = ARENA_NEW(a, float, r->n_rows_max);
    rollout_draft_memory(r);
}

err_code rollout_open(struct model *m, const struct tok *tok, const struct rollout_opts *o, struct rollout **out, struct err *e)
{
    const struct model_config *c = model_conf(m);
    struct rollout *r = calloc(1, sizeof *r);
    if (!r)
        return err_set(e, ERR_LIMIT, "out of memory");
    r->m = m, r->tok = tok, r->vocab = c->vocab, r->width = model_route_width(m), r->finish = o->finish;
    r->n_seqs = o->seqs > 0 ? o->seqs : SEQS_DEFAULT;
    r->context = o->context > 0 ? o->context : CONTEXT_DEFAULT;
    if (c->max_position > 0 && r->context > c->max_position)
        r->context = c->max_position;
    r->step_tokens = o->step_tokens > 0 ? o->step_tokens : STEP_DEFAULT;
    err_code rc = rollout_draft_open(r, o->speculate, e);
    if (rc != ERR_OK) {
        free(r);
        return rc;
    }
    if (r->step_tokens < r->n_seqs * (1 + r->d.depth) + KERN_PAGE)
        r->step_tokens = r->n_seqs * (1 + r->d.depth) + KERN_PAGE;
    r->max_pages = pages_for(r->context);
    /* Every running sample may have a group of its own whose prompt pages it does not share yet. */
    int64_t page = model_cache_page_bytes(m), most = 2 * r->n_seqs * r->max_pages;
    r->n_pages = o->cache_bytes > 0 && o->cache_bytes / page < most ? o->cache_bytes / page : most;
    if (r->n_pages < 2 * r->max_pages) {
        int64_t need = 2 * r->max_pages * page;
        free(r);
        return err_set(e, ERR_LIMIT, "rollout: a cache of %lld bytes cannot hold one sample of %lld tokens; hint: give it %lld bytes or a shorter context",
                       (long long)o->cache_bytes, (long long)(need / page / 2 * KERN_PAGE), (long long)need);
    }
    arena_init(&r->mem, "rollout", 1LL << 36);
    take_memory(r);
    rc = model_reserve(m, &(struct model_room){.tokens = r->step_tokens, .seqs = 2 * r->n_seqs}, e);
    if (rc == ERR_OK)
        rc = model_cache_open(m, r->n_pages, &r->cache, e);
    if (rc != ERR_OK) {
        rollout_close(r);
        return rc;
    }
    *out = r;
    return ERR_OK;
}

void rollout_close(struct rollout *r)
{
    if (!r)
        return;
    for (int64_t i = 0; i < r->n_seqs; i++) {
        if (r->seqs[i].stream)
            tok_stream_free(r->seqs[i].stream);
        sbuf_release(&r->seqs[i].text);
    }
    model_cache_close(r->cache);
    arena_release(&r->mem);
    free(r);
}

int64_t rollout_context(const struct rollout *r) { return r->context; }
int64_t rollout_cache_bytes(const struct rollout *r) { return r->n_pages * model_cache_page_bytes(r->m); }

/* ---- samples ------------------------------------------------------------------------------ */

static void write_token(struct seq *q, int32_t id)
{
    if (q->stream)
        tok_stream_push(q->stream, id, &q->text);
}

/* What the stream held back comes out; it starts clean for the next sample. */
static void end_text(struct seq *q, struct sbuf *out)
{
    if (q->stream)
        tok_stream_end(q->stream, out);
}

/* End of the first stop string in text[from ..], or -1. */
static int64_t stop_find(const struct rollout *r, struct str text, int64_t from)
{
    int64_t first = -1, end = -1;
    for (int i = 0; i < r->s->n_stop; i++) {
        int64_t at = str_find(text, r->s->stop[i], from);
        if (at >= 0 && (first < 0 || at < first))
            first = at, end = at + r->s->stop[i].n;
    }
    return end;
}

/* Longest stop string: a new one can begin this many bytes, less one, before the new text. */
static int64_t stop_longest(const struct rollout *r)
{
    int64_t n = 1;
    for (int i = 0; i < r->s->n_stop; i++)
        if (r->s->stop[i].n > n)
            n = r->s->stop[i].n;
    return n;
}

static void show(struct rollout *r, struct seq *q, int64_t upto)
{
    if (!r->hooks || !r->hooks->text || upto <= q->shown)
        return;
    r->hooks->text(r->hooks->ctx, &q->out, (struct str){q->text.p + q->shown, upto - q->shown});
    q->shown = upto;
}

static void release_group(struct rollout *r, struct group *g)
{
    if (g->running > 0 || g->admitted < r->prompts[g->prompt].samples)
        return;
    for (int64_t i = 0; i < g->n_pages; i++)
        r->free[r->n_free++] = g->pages[i];
    g->used = 0;
}

static void finish(struct rollout *r, struct seq *q, enum rollout_stop why, int64_t text_n)
{
    show(r, q, text_n);
    q->out.stop = why;
    q->out.ids = memcpy(ARENA_NEW(r->results, int32_t, q->out.n + 1), q->ids, (size_t)q->out.n * sizeof *q->ids);
    q->out.logp = memcpy(ARENA_NEW(r->results, float, q->out.n + 1), q->logp, (size_t)q->out.n * sizeof *q->logp);
    if (r->width)
        q->out.routes = memcpy(ARENA_NEW(r->results, uint16_t, q->out.n * r->width + 1), q->routes, (size_t)(q->out.n * r->width) * sizeof *q->routes);
    q->out.text = str_dup(r->results, (struct str){q->text.p ? q->text.p : "", text_n});
    struct rollout_sample *slot = &r->out[r->offset[q->out.prompt] + q->out.sample - r->prompts[q->out.prompt].first];
    *slot = q->out;
    r->stats.samples++;
    r->stats.tokens += q->out.n;
    for (int64_t i = q->n_shared; i < q->n_pages; i++)
        r->free[r->n_free++] = q->pages[i];
    q->used = 0;
    if (q->g) {
        q->g->running--;
        release_group(r, q->g);
    }
    if (r->hooks && r->hooks->done)
        r->hooks->done(r->hooks->ctx, slot);
}

static int is_eos(const struct rollout *r, int32_t id)
{
    const struct model_config *c = model_conf(r->m);
    for (int i = 0; i < c->n_eos; i++)
        if (c->eos[i] == id)
            return 1;
    return r->tok && id == tok_eos(r->tok);
}

/* Takes a drawn token in; ends the sample when it is time. */
static void push(struct rollout *r, struct seq *q, int32_t id, float logp)
{
    q->ids[q->out.n] = id;
    q->logp[q->out.n++] = logp;
    int64_t before = q->text.n, longest = stop_longest(r);
    if (is_eos(r, id) && !r->s->ignore_eos) {
        end_text(q, &q->text);
        finish(r, q, ROLLOUT_eos, q->text.n);
        return;
    }
    write_token(q, id);
    int last = q->out.n == q->limit;
    if (last)
        end_text(q, &q->text);
    int64_t cut = r->s->n_stop ? stop_find(r, sbuf_str(&q->text), before >= longest ? before - longest + 1 : 0) : -1;
    if (cut >= 0) {
        struct sbuf rest;
        sbuf_init(&rest, TEXT_MAX);
        end_text(q, &rest);
        sbuf_release(&rest);
        finish(r, q, ROLLOUT_stop, cut);
    } else if (last) {
        finish(r, q, q->limit == r->s->max_tokens ? ROLLOUT_length : ROLLOUT_context, q->text.n);
    } else {
        show(r, q, q->text.n);
    }
}

/* ---- admission ---------------------------------------------------------------------------- */

static struct group *free_group(struct rollout *r)
{
    for (int64_t i = 0; i < r->n_seqs; i++)
        if (!r->groups[i].used)
            return &r->groups[i];
    return NULL;
}

static struct seq *free_seq(struct rollout *r)
{
    for (int64_t i = 0; i < r->n_seqs; i++)
        if (!r->seqs[i].used)
            return &r->seqs[i];
    return NULL;
}

static int64_t sample_limit(const struct rollout *r, int64_t prompt)
{
    int64_t room = r->context - r->prompts[prompt].n;
    return room < r->s->max_tokens ? room : r->s->max_tokens;
}

/* Pages of its own that one more sample of the prompt can need. */
static int64_t own_pages(const struct rollout *r, int64_t prompt)
{
    int64_t n = r->prompts[prompt].n;
    return pages_for(n + sample_limit(r, prompt)) - rollout_shared_pages(r, n);
}

/* Prompts without room for a single token: their samples end at once. */
static void end_empty(struct rollout *r, int64_t prompt, enum rollout_stop why)
{
    const struct rollout_prompt *p = &r->prompts[prompt];
    for (int64_t k = 0; k < p->samples; k++) {
        struct rollout_sample *s = &r->out[r->offset[prompt] + k];
        *s = (struct rollout_sample){.prompt = prompt, .sample = p->first + k, .stop = why, .text = STR("")};
        r->stats.samples++;
        if (r->hooks && r->hooks->done)
            r->hooks->done(r->hooks->ctx, s);
    }
}

/* Takes prompts in while a group, a slot for a first sample and pages for both are free. */
static void admit_groups(struct rollout *r)
{
    int64_t waiting = 0, idle = 0;
    for (int64_t i = 0; i < r->n_seqs; i++) {
        idle += !r->seqs[i].used;
        if (r->groups[i].used)
            waiting += r->prompts[r->groups[i].prompt].samples - r->groups[i].admitted;
    }
    while (r->next_prompt < r->n_prompts && waiting < idle) {
        int64_t at = r->next_prompt;
        if (sample_limit(r, at) <= 0 || r->prompts[at].samples == 0) {
            end_empty(r, at, r->s->max_tokens == 0 ? ROLLOUT_length : ROLLOUT_context);
            r->next_prompt++;
            continue;
        }
        struct group *g = free_group(r);
        int64_t need = pages_for(r->prompts[at].n), held = 0;
        for (int64_t i = 0; i < r->n_seqs; i++) /* what the groups that wait for their first sample have been promised */
            if (r->groups[i].used && r->groups[i].running == 0)
                held += own_pages(r, r->groups[i].prompt);
        if (!g || r->n_free < held + need + own_pages(r, at))
            return;
        g->used = 1, g->prompt = at, g->filled = 0, g->admitted = 0, g->running = 0, g->n_pages = need;
        for (int64_t i = 0; i < need; i++)
            g->pages[i] = r->free[--r->n_free];
        waiting += r->prompts[at].samples;
        r->next_prompt++;
        r->stats.prompts++;
        r->stats.prompt_tokens += r->prompts[at].n;
    }
}

static int admit_sample(struct rollout *r, struct group *g)
{
    const struct rollout_prompt *p = &r->prompts[g->prompt];
    struct seq *q = free_seq(r);
    int64_t shared = rollout_shared_pages(r, p->n), own = own_pages(r, g->prompt), held = 0;
    for (int64_t i = 0; i < r->n_seqs; i++)
        if (&r->groups[i] != g && r->groups[i].used && r->groups[i].running == 0)
            held += own_pages(r, r->groups[i].prompt);
    if (!q || r->n_free < own + (g->running ? held : 0))
        return 0;
    q->used = q->fresh = 1;
    q->g = g, q->row = -1, q->shown = 0, q->n_draft = 0, q->at = -1;
    q->limit = sample_limit(r, g->prompt);
    q->n_shared = shared, q->n_pages = shared + own;
    q->out = (struct rollout_sample){.prompt = g->prompt, .sample = p->first + g->admitted};
    memcpy(q->pages, g->pages, (size_t)shared * sizeof *q->pages);
    for (int64_t i = shared; i < q->n_pages; i++)
        q->pages[i] = r->free[--r->n_free];
    if (p->n > shared * KERN_PAGE)
        model_cache_copy(r->cache, q->pages[shared], g->pages[shared]);
    sbuf_clear(&q->text);
    g->admitted++;
    g->running++;
    return 1;
}

static void admit(struct rollout *r)
{
    for (int64_t i = 0; i < r->n_seqs; i++) {
        struct group *g = &r->groups[i];
        while (g->used && g->filled == r->prompts[g->prompt].n && g->admitted < r->prompts[g->prompt].samples && admit_sample(r, g))
            ;
    }
    admit_groups(r);
}

/* ---- one pass ----------------------------------------------------------------------------- */

struct draw_job {
    struct rollout *r;
    struct seq **seqs;
};

/* The next token, and as long as it is what was drafted, the one behind it: each from the distribution and with the random number that
 * decoding without drafts would use there. */
static void draw_range(void *ctx, int64_t begin, int64_t end, int worker)
{
    struct draw_job *j = ctx;
    struct rollout *r = j->r;
    for (int64_t i = begin; i < end; i++) {
        struct seq *q = j->seqs[i];
        const struct rollout_prompt *p = &r->prompts[q->out.prompt];
        q->n_drawn = 0;
        do {
            const float *z = q->row < 0 ? q->g->logits : r->logits + (q->row + q->n_drawn) * r->vocab;
            q->drawn[q->n_drawn] = rollout_draw(z, r->vocab, r->s, p->key, q->out.sample, p->n + q->out.n + q->n_drawn, r->scratch[worker]);
            q->n_drawn++;
        } while (q->n_drawn <= q->n_draft && q->drawn[q->n_drawn - 1] == q->draft[q->n_drawn - 1]);
    }
}

/* Takes in what a sample drew, until it ends. */
static err_code take_drawn(struct rollout *r, struct seq *q, float temperature, struct err *e)
{
    const int64_t row = q->row;
    q->fresh = 0, q->row = -1;
    for (int k = 0; k < q->n_drawn && q->used; k++) {
        float logp;
        if (q->drawn[k] < 0)
            return err_set(e, ERR_DIVERGED, "rollout: logits of prompt %lld, sample %lld are not finite at token %lld; hint: check the weights with 'hone model info'",
                           (long long)q->out.prompt, (long long)q->out.sample, (long long)q->out.n);
        if (row >= 0)
            logp = r->row_logp[row + k], r->d.taken++;
        else
            model_rows_logp(r->m, q->g->logits, &q->drawn[k], 1, temperature, &logp);
        memcpy(q->routes + q->out.n * r->width, row >= 0 ? r->routes + (row + k) * r->width : q->g->route, (size_t)r->width * sizeof *q->routes);
        push(r, q, q->drawn[k], logp);
    }
    return ERR_OK;
}

/* Draws for every sample that has logits: its rows of the last pass, or its group's. */
static err_code draw(struct rollout *r, struct seq **ready, int64_t n_rows, struct err *e)
{
    int64_t n = 0;
    float temperature = r->s->temperature > 0 ? (float)r->s->temperature : 1;
    for (int64_t i = 0; i < r->n_seqs; i++)
        if (r->seqs[i].used && (r->seqs[i].fresh || r->seqs[i].row >= 0))
            ready[n++] = &r->seqs[i];
    par_for(n, 1, draw_range, &(struct draw_job){r, ready});
    for (int64_t i = 0; i < n_rows; i++)
        r->targets[i] = -1;
    for (int64_t i = 0; i < n; i++) {
        const struct seq *q = ready[i];
        for (int k = 0; k < q->n_drawn && q->row >= 0; k++)
            r->targets[q->row + k] = q->drawn[k];
        r->stats.drafted += q->n_draft;
        r->stats.accepted += q->n_drawn - 1;
    }
    if (n_rows)
        model_rows_logp(r->m, r->logits, r->targets, n_rows, temperature, r->row_logp);
    for (int64_t i = 0; i < n; i++)
        TRY(take_drawn(r, ready[i], temperature, e));
    return ERR_OK;
}

struct pass {
    int64_t n_rows;                /* rows whose logits are wanted */
    int64_t prompt_rows;           /* tokens of prompts among the pass's */
    struct seq **row_seq;          /* [n_rows_max] the sample whose first row this is, or NULL */
    struct group **row_group;      /* or the group whose prompt ends there */
    int64_t n_parts;               /* chunks of prompts, in the order of the groups */
    struct chunk {
        struct group *g;
        int64_t first, n, at;      /* prompt tokens; row of the first */
    } *parts;                      /* [n_seqs] */
};

void rollout_rows_clear(struct rollout *r, struct part_rows *p)
{
    p->step = (struct model_step){.b = {.tokens = p->tokens, .positions = p->positions, .cu_seqlens = p->cu}, .kv_len = p->kv_len, .pages = p->pages, .max_pages = r->max_pages};
    p->cu[0] = 0;
}

void rollout_rows_add(struct rollout *r, struct part_rows *p, const int32_t *ids, int64_t n, int64_t first, const int32_t *pages, int64_t n_pages)
{
    struct model_batch *b = &p->step.b;
    for (int64_t i = 0; i < n; i++) {
        p->tokens[b->n_tok + i] = ids[i];
        p->positions[b->n_tok + i] = (int32_t)(first + i);
    }
    memcpy(p->pages + b->n_seq * r->max_pages, pages, (size_t)n_pages * sizeof *pages);
    p->kv_len[b->n_seq] = (int32_t)(first + n);
    b->n_tok += n;
    b->n_seq++;
    p->cu[b->n_seq] = (int32_t)b->n_tok;
}

static void want_row(struct rollout *r, struct pass *p, int64_t row, struct seq *q, struct group *g)
{
    p->row_seq[p->n_rows] = q;
    p->row_group[p->n_rows] = g;
    r->rows[p->n_rows++] = (int32_t)row;
}

/* The last token of a running sample and what was drafted behind it. */
static void add_sample(struct rollout *r, struct pass *p, struct seq *q)
{
    int32_t ids[DRAFT_MAX + 1];
    int64_t n = 1 + q->n_draft;
    q->at = r->in.step.b.n_tok;
    ids[0] = q->ids[q->out.n - 1];
    memcpy(ids + 1, q->draft, (size_t)q->n_draft * sizeof *ids);
    rollout_rows_add(r, &r->in, ids, n, r->prompts[q->out.prompt].n + q->out.n - 1, q->pages, q->n_pages);
    for (int64_t k = 0; k < n; k++)
        want_row(r, p, q->at + k, k ? NULL : q, NULL);
}

static void add_prompt(struct rollout *r, struct pass *p, struct group *g)
{
    const struct rollout_prompt *pr = &r->prompts[g->prompt];
    int64_t n = pr->n - g->filled, room = r->step_tokens - r->in.step.b.n_tok, at = r->in.step.b.n_tok;
    n = n < room ? n : room;
    p->parts[p->n_parts++] = (struct chunk){g, g->filled, n, at};
    p->prompt_rows += n;
    rollout_rows_add(r, &r->in, pr->ids + g->filled, n, g->filled, g->pages, g->n_pages);
    g->filled += n;
    if (g->filled == pr->n)
        want_row(r, p, at + n - 1, NULL, g);
}

/* The tokens of every running sample, then as much of the waiting prompts as fits. */
static void build(struct rollout *r, struct pass *p)
{
    int64_t running = 0;
    rollout_rows_clear(r, &r->in);
    p->n_rows = p->prompt_rows = p->n_parts = 0;
    for (int64_t i = 0; i < r->n_seqs; i++)
        if (r->seqs[i].used && !r->seqs[i].fresh) {
            add_sample(r, p, &r->seqs[i]);
            running++;
        }
    if (running > r->stats.most_running)
        r->stats.most_running = running;
    for (int64_t i = 0; i < r->n_seqs && r->in.step.b.n_tok < r->step_tokens; i++)
        if (r->groups[i].used && r->groups[i].filled < r->prompts[r->groups[i].prompt].n)
            add_prompt(r, p, &r->groups[i]);
}

/* The logits behind a prompt, for all of its samples. */
static void keep_row(const struct rollout *r, struct group *g, int64_t row)
{
    memcpy(g->logits, r->logits + row * r->vocab, (size_t)r->vocab * sizeof *g->logits);
    memcpy(g->route, r->routes + row * r->width, (size_t)r->width * sizeof *g->route);
}

static void run_pass(struct rollout *r, struct pass *p)
{
    model_step(r->m, r->cache, &r->in.step);
    if (p->n_rows)
        model_logits(r->m, r->rows, p->n_rows, r->logits), model_routes(r->m, r->rows, p->n_rows, r->routes);
    for (int64_t i = 0; i < p->n_rows; i++) {
        if (p->row_seq[i])
            p->row_seq[i]->row = i;
        else if (p->row_group[i])
            keep_row(r, p->row_group[i], i);
    }
    for (int64_t i = 0; i < p->n_parts && r->d.depth; i++)
        rollout_draft_prompt(r, p->parts[i].g, p->parts[i].first, p->parts[i].n, p->parts[i].at);
    r->stats.passes++;
}

/* ---- the call ----------------------------------------------------------------------------- */

static err_code check(const struct rollout *r, struct err *e)
{
    for (int64_t i = 0; i < r->n_prompts; i++) {
        const struct rollout_prompt *p = &r->prompts[i];
        if (p->n <= 0)
            return err_set(e, ERR_DATA, "rollout: prompt %lld has no tokens; hint: begin it with the tokenizer's bos token", (long long)i);
        for (int64_t k = 0; k < p->n; k++)
            if (p->ids[k] < 0 || p->ids[k] >= r->vocab)
                return err_set(e, ERR_DATA, "rollout: prompt %lld has token %d at %lld, but the model knows 0 to %lld", (long long)i, p->ids[k],
                               (long long)k, (long long)r->vocab - 1);
    }
    if (r->s->n_stop > STOP_MAX)
        return err_set(e, ERR_USAGE, "rollout: %d stop strings, at most %d are taken", r->s->n_stop, STOP_MAX);
    return ERR_OK;
}

static void cancel(struct rollout *r)
{
    for (int64_t i = 0; i < r->n_seqs; i++)
        if (r->seqs[i].used) {
            end_text(&r->seqs[i], &r->seqs[i].text);
            finish(r, &r->seqs[i], ROLLOUT_cancelled, r->seqs[i].text.n);
        }
    for (int64_t i = 0; i < r->n_seqs; i++)
        if (r->groups[i].used) {
            const struct rollout_prompt *p = &r->prompts[r->groups[i].prompt];
            for (int64_t k = r->groups[i].admitted; k < p->samples; k++)
                r->out[r->offset[r->groups[i].prompt] + k] =
                    (struct rollout_sample){.prompt = r->groups[i].prompt, .sample = p->first + k, .stop = ROLLOUT_cancelled, .text = STR("")};
        }
    for (; r->next_prompt < r->n_prompts; r->next_prompt++)
        end_empty(r, r->next_prompt, ROLLOUT_cancelled);
}

/* Forgets the last call: every page is free, nothing runs. */
static void reset(struct rollout *r)
{
    r->n_free = r->n_pages;
    for (int64_t i = 0; i < r->n_pages; i++)
        r->free[i] = (int32_t)(r->n_pages - 1 - i);
    for (int64_t i = 0; i < r->n_seqs; i++)
        r->seqs[i].used = r->groups[i].used = 0;
    r->next_prompt = 0;
    r->d.turn = 0, r->d.began = 0;
    r->stats = (struct rollout_stats){0};
}

static err_code loop(struct rollout *r, int64_t total, struct err *e)
{
    struct seq **ready = ARENA_NEW(r->results, struct seq *, r->n_seqs);
    struct pass p = {.row_seq = ARENA_NEW(r->results, struct seq *, r->n_rows_max), .row_group = ARENA_NEW(r->results, struct group *, r->n_rows_max),
                     .parts = ARENA_NEW(r->results, struct chunk, r->n_seqs)};
    int64_t idle = 0; /* turns without a pass: an admission comes after each but the last */
    while (r->stats.samples < total) {
        if (!r->finish && stop_requested()) {
            cancel(r);
            return err_set(e, ERR_CANCELLED, "rollout: interrupted");
        }
        int64_t prompt_rows = p.prompt_rows;
        admit(r);
        TRY(draw(r, ready, p.n_rows, e));
        if (r->d.depth) {
            rollout_draft_timed(r, prompt_rows, clock_now());
            rollout_draft(r);
        }
        build(r, &p);
        if (r->in.step.b.n_tok > 0)
            run_pass(r, &p), idle = 0;
        else if (r->stats.samples < total && idle++ > 1)
            BUG("rollout: nothing to do, yet %lld of %lld samples are missing", (long long)(total - r->stats.samples), (long long)total);
    }
    return ERR_OK;
}

err_code rollout_run(struct rollout *r, const struct rollout_prompt *p, int64_t n, const struct rollout_sampling *s,
                     const struct rollout_hooks *hooks, struct arena *mem, const struct rollout_sample **out,
                     struct rollout_stats *stats, struct err *e)
{
    double began = clock_now();
    r->prompts = p, r->n_prompts = n, r->s = s, r->hooks = hooks, r->results = mem;
    TRY(check(r, e));
    if (par_threads() > r->n_scratch)
        BUG("rollout: opened with %d threads, run with %d", r->n_scratch, par_threads());
    reset(r);
    int64_t total = 0;
    r->offset = ARENA_NEW(mem, int64_t, n + 1);
    for (int64_t i = 0; i < n; i++) {
        r->offset[i] = total;
        total += p[i].samples;
    }
    r->out = ARENA_NEW(mem, struct rollout_sample, total + 1);
    err_code rc = loop(r, total, e);
    r->stats.seconds = clock_now() - began;
    if (stats)
        *stats = r->stats;
    if (rc == ERR_OK || rc == ERR_CANCELLED)
        *out = r->out;
    return rc;
}
