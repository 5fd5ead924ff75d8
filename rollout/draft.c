/* Speculative decoding with the model's MTP module as the draft. A pass of the model then holds a sample's last token and the drafts behind it;
 * rollout.c draws at each of them as it would without drafts, and stops where a draw is not what was drafted. So ids and log-probs are those
 * of plain decoding whatever the drafts are: only their number per pass changes.
 * A draft is drawn from the module's distribution with the random number that the real draw will use: the two agree more often than two
 * independent draws. src: DeepSeek-V3 section 5.4.3; Leviathan et al. 2023 (there accepted by probability; here by the common random number) */
#include "core/log.h"
#include "core/par.h"
#include "rollout/impl.h"

enum { TIMED = 16 }; /* one turn in so many goes without drafts, so that the speed-up is measured, not guessed */

err_code rollout_draft_open(struct rollout *r, int64_t depth, struct err *e)
{
    if (depth < 0 || depth > DRAFT_MAX)
        return err_set(e, ERR_USAGE, "rollout.speculate is %lld, it must be 0 to %d", (long long)depth, DRAFT_MAX);
    if (depth && !model_conf(r->m)->mtp)
        return err_set(e, ERR_USAGE, "rollout.speculate=%lld needs a model with MTP layers, this one has none; hint: rollout.speculate=0", (long long)depth);
    r->d.depth = depth;
    return ERR_OK;
}

void rollout_draft_memory(struct rollout *r)
{
    struct drafts *d = &r->d;
    struct arena *a = &r->mem;
    if (!d->depth)
        return;
    rollout_rows_new(r, &d->in, r->step_tokens);
    d->from = ARENA_NEW(a, int32_t, r->step_tokens);
    d->rows = ARENA_NEW(a, int32_t, r->n_seqs);
    d->states = ARENA_NEW(a, float, r->n_seqs * model_conf(r->m)->hidden);
    d->who = ARENA_NEW(a, struct seq *, r->n_seqs);
}

static void run(struct rollout *r, int again)
{
    struct drafts *d = &r->d;
    model_draft(r->m, r->cache, &(struct model_draft){.s = d->in.step, .from = d->from, .states = d->states, .again = again});
}

void rollout_draft_prompt(struct rollout *r, struct group *g, int64_t first, int64_t n, int64_t at)
{
    const struct rollout_prompt *p = &r->prompts[g->prompt];
    int64_t known = first + n < p->n ? n : n - 1; /* the token behind the prompt's last is each sample's own */
    if (known < n)
        model_state(r->m, (int32_t)(at + n - 1), g->state);
    if (!known)
        return;
    rollout_rows_clear(r, &r->d.in);
    rollout_rows_add(r, &r->d.in, p->ids + first + 1, known, first, g->pages, g->n_pages);
    for (int64_t i = 0; i < known; i++)
        r->d.from[i] = (int32_t)(at + i);
    run(r, 0);
}

/* Drafts that a sample can use: its limit leaves room for them and for the token drawn behind them. */
static int64_t room(const struct rollout *r, const struct seq *q)
{
    int64_t left = q->limit - q->out.n - 1;
    return left < r->d.depth ? left : r->d.depth;
}

/* The rows whose state and next token are known since the draws: one per token drawn. */
static void add_known(struct rollout *r, struct seq *q)
{
    struct drafts *d = &r->d;
    const int64_t at = d->in.step.b.n_tok, hidden = model_conf(r->m)->hidden;
    rollout_rows_add(r, &d->in, q->drawn, q->n_drawn, r->prompts[q->out.prompt].n + q->out.n - q->n_drawn - 1, q->pages, q->n_pages);
    for (int k = 0; k < q->n_drawn; k++)
        d->from[at + k] = (int32_t)(q->at + k);
    if (q->at < 0) {
        d->from[at] = (int32_t)(-1 - d->n);
        memcpy(d->states + d->n * hidden, q->g->state, (size_t)hidden * sizeof *d->states);
    }
    q->at_draft = at + q->n_drawn - 1;
    d->who[d->n++] = q;
}

/* One step further: the module's own state and the token it drafted. */
static void add_ahead(struct rollout *r, struct seq *q)
{
    struct drafts *d = &r->d;
    const int64_t at = d->in.step.b.n_tok;
    rollout_rows_add(r, &d->in, &q->draft[q->n_draft - 1], 1, r->prompts[q->out.prompt].n + q->out.n - 2 + q->n_draft, q->pages, q->n_pages);
    d->from[at] = (int32_t)q->at_draft;
    q->at_draft = at;
    d->who[d->n++] = q;
}

static void draw_range(void *ctx, int64_t begin, int64_t end, int worker)
{
    struct rollout *r = ctx;
    for (int64_t i = begin; i < end; i++) {
        struct seq *q = r->d.who[i];
        const struct rollout_prompt *p = &r->prompts[q->out.prompt];
        int32_t id = rollout_draw(r->logits + i * r->vocab, r->vocab, r->s, p->key, q->out.sample, p->n + q->out.n + q->n_draft, r->scratch[worker]);
        if (id >= 0) /* not finite: no draft, and no harm */
            q->draft[q->n_draft++] = id;
    }
}

static void draw_drafts(struct rollout *r)
{
    struct drafts *d = &r->d;
    for (int64_t i = 0; i < d->n; i++)
        d->rows[i] = (int32_t)d->who[i]->at_draft;
    model_draft_logits(r->m, d->rows, d->n, r->logits); /* the rows of the last pass are used up */
    par_for(d->n, 1, draw_range, r);
}

void rollout_draft(struct rollout *r)
{
    struct drafts *d = &r->d;
    double began = clock_now();
    d->plain = d->turn++ % TIMED == TIMED / 2;
    for (int64_t k = 0; k < (d->plain ? 1 : d->depth); k++) {
        rollout_rows_clear(r, &d->in);
        d->n = 0;
        for (int64_t i = 0; i < r->n_seqs; i++) {
            struct seq *q = &r->seqs[i];
            if (k == 0)
                q->n_draft = 0;
            if (!q->used || q->fresh || room(r, q) <= k || q->n_draft < k)
                continue;
            (k ? add_ahead : add_known)(r, q);
        }
        if (!d->n)
            break;
        run(r, k > 0);
        if (!d->plain)
            draw_drafts(r);
    }
    d->spent = clock_now() - began;
}

void rollout_draft_timed(struct rollout *r, int64_t prompt_rows, double now)
{
    struct drafts *d = &r->d;
    struct rollout_stats *s = &r->stats;
    if (d->began > 0 && prompt_rows == 0 && d->taken > 0) {
        double pass = now - d->began - (d->plain ? d->spent : 0); /* a timed turn drafts for the next one */
        *(d->plain ? &s->plain_seconds : &s->ahead_seconds) += pass;
        *(d->plain ? &s->plain_tokens : &s->ahead_tokens) += d->taken;
        s->ahead_seconds += d->plain ? d->spent : 0;
    }
    d->taken = 0;
    d->began = now;
}

double rollout_speedup(const struct rollout_stats *s)
{
    if (s->plain_tokens == 0 || s->ahead_tokens == 0 || s->ahead_seconds <= 0)
        return 0;
    return s->plain_seconds / (double)s->plain_tokens / (s->ahead_seconds / (double)s->ahead_tokens);
}
