/* A whole snapshot -> token rows: batches on a belt (one is rendered on all threads while the one before is
 * stored and the one behind is read), so rows are stored in snapshot order whatever the threads. */
#include <stdio.h>
#include <stdlib.h>

#include "core/log.h"
#include "core/par.h"
#include "core/stop.h"
#include "datasets/render.h"

enum { BATCH_ROWS = 1024, BATCH_BYTES = 4 << 20, GRAIN = 16, COMMIT_ROWS = 65536 };

struct job { /* one row */
    int64_t item;
    int kind;                    /* offset of the kind's name in the batch's text */
    int64_t body, n_body, n_kind;
    int worker;
    int64_t ids, runs, text;     /* where the results lie in the worker's output */
    int64_t n, n_runs, n_text, supervised, first_supervised;
    err_code rc;
};

struct batch {
    struct job *job;
    int64_t n;
    struct sbuf in;              /* kinds and bodies */
    struct sbuf *out;            /* [threads] */
};

struct rendering {
    struct store *s;
    const struct data_render_opts *o;
    struct data_render_stats *st;
    struct data_recipe *recipe;
    struct data_lane *lane;      /* [threads] */
    struct sbuf *runs;           /* [threads] scratch */
    int threads;
    struct err *e;
    struct data_items items;
    uint8_t *cached;             /* [items.n] has tokens already */
    int64_t id;                  /* recipe row */
    int64_t next;                /* item to read */
    int64_t uncommitted;
    struct err *failed;          /* [threads] the first failure of each worker in the batch at hand ... */
    int64_t *failed_at;          /* ... and the row it belongs to; -1: none */
    struct batch batch[3];
};

/* ---- the recipe's row, what is there already ---------------------------------------------- */

static err_code find_recipe(struct rendering *r)
{
    const struct data_recipe *x = r->recipe;
    char hash[16], tok[16], template[16];
    struct hash128 all[3] = {x->hash, tok_hash(x->tok), x->template};
    char *blob[3] = {hash, tok, template};
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < 8; i++) {
            blob[k][i] = (char)(all[k].hi >> (56 - 8 * i));
            blob[k][8 + i] = (char)(all[k].lo >> (56 - 8 * i));
        }
    TRY(store_get(r->s, &r->id, 0, r->e, "SELECT id FROM recipes WHERE hash = ?", "b", hash, (int64_t)16));
    if (r->id)
        return ERR_OK;
    TRY(store_exec(r->s, r->e, "INSERT INTO recipes(hash, tokenizer, template, options, model) VALUES(?,?,?,?,?)", "bbbtt", hash, (int64_t)16,
                   tok, (int64_t)16, template, (int64_t)16, x->options, x->o.model ? x->o.model : ""));
    r->id = store_last_id(r->s);
    return ERR_OK;
}

static void add_stats(struct data_render_stats *st, int64_t n, int64_t supervised)
{
    st->tokens += n;
    st->supervised += supervised;
    st->unsupervised += supervised == 0;
    st->longest = n > st->longest ? n : st->longest;
}

struct place {
    int64_t item, at;
};

static int by_item(const void *a, const void *b)
{
    int64_t x = ((const struct place *)a)->item, y = ((const struct place *)b)->item;
    return (x > y) - (x < y);
}

static err_code find_cached(struct rendering *r)
{
    struct store_query q;
    int64_t n = r->items.n;
    struct place *at = malloc((size_t)n * sizeof *at);
    if (!at)
        BUG("out of memory");
    for (int64_t i = 0; i < n; i++)
        at[i] = (struct place){r->items.id[i], i};
    if (r->items.n_sources > 1)
        qsort(at, (size_t)n, sizeof *at, by_item);
    err_code rc = store_query(r->s, &q, r->e, "SELECT item, n, supervised FROM token_rows WHERE recipe = ? AND +item BETWEEN ? AND ?", "iii",
                              r->id, at[0].item, at[n - 1].item);
    for (; rc == ERR_OK && q.more; rc = store_next(&q, r->e)) {
        struct place key = {store_i64(&q, 0), 0}, *found = bsearch(&key, at, (size_t)n, sizeof *at, by_item);
        if (!found)
            continue;
        r->cached[found->at] = 1;
        r->st->cached++;
        add_stats(r->st, store_i64(&q, 1), store_i64(&q, 2));
    }
    free(at);
    return rc;
}

/* A recipe that was stored with rows that have no supervised token is refused like one that makes them now. */
static err_code refuse_cached_unsupervised(struct rendering *r)
{
    int64_t item = 0;
    char where[300];
    if (r->o->drop_unsupervised || r->st->unsupervised == 0)
        return ERR_OK;
    for (int64_t i = 0; i < r->items.n && !item; i++)
        if (r->cached[i])
            TRY(store_get(r->s, &item, 0, r->e, "SELECT item FROM token_rows WHERE recipe = ? AND item = ? AND supervised = 0", "ii", r->id,
                          r->items.id[i]));
    data_item_where(r->s, item, where, sizeof where);
    return err_set(r->e, ERR_DATA, "%s has no supervised token; hint: hone data show --item %lld shows why, or let such rows be dropped", where,
                   (long long)item);
}

/* ---- the belt ----------------------------------------------------------------------------- */

static err_code read_batch(struct rendering *r, struct batch *b)
{
    struct store_query q;
    b->n = 0;
    sbuf_clear(&b->in);
    while (r->next < r->items.n && b->n < BATCH_ROWS && b->in.n < BATCH_BYTES) {
        int64_t at = r->next++;
        if (r->cached[at])
            continue;
        TRY(store_query(r->s, &q, r->e, "SELECT i.kind, b.body FROM items i JOIN bodies b ON b.item = i.id WHERE i.id = ?", "i", r->items.id[at]));
        if (!q.more)
            return err_set(r->e, ERR_DATA, "store '%s' has no item %lld", store_path(r->s), (long long)r->items.id[at]);
        struct str kind = store_str(&q, 0), body = store_str(&q, 1);
        struct job *j = &b->job[b->n++];
        *j = (struct job){.item = r->items.id[at], .body = b->in.n + kind.n, .n_body = body.n, .kind = (int)b->in.n, .n_kind = kind.n};
        sbuf_add(&b->in, kind);
        sbuf_add(&b->in, body);
        store_end(&q);
        if (b->in.full)
            return err_set(r->e, ERR_LIMIT, "out of memory for a batch of rows");
    }
    return ERR_OK;
}

static void render_job(struct rendering *r, struct batch *b, int64_t i, int worker)
{
    struct job *j = &b->job[i];
    struct data_lane *l = &r->lane[worker];
    struct sbuf *out = &b->out[worker];
    struct err why = {0};
    j->worker = worker;
    j->rc = data_lane_render(l, (struct str){b->in.p + j->kind, j->n_kind}, (struct str){b->in.p + j->body, j->n_body}, &why);
    if (j->rc != ERR_OK) {
        if (r->failed_at[worker] < 0) { /* a worker's rows come in rising order */
            r->failed[worker] = why;
            r->failed_at[worker] = i;
        }
        return;
    }
    data_runs_put(&r->runs[worker], l->weight, l->ids.n);
    j->n = l->ids.n;
    j->supervised = l->supervised;
    j->first_supervised = l->first_supervised;
    j->ids = out->n;
    sbuf_add(out, (struct str){(const char *)l->ids.id, j->n * 4});
    j->runs = out->n;
    j->n_runs = r->runs[worker].n;
    sbuf_add(out, sbuf_str(&r->runs[worker]));
    j->text = out->n;
    j->n_text = r->o->keep_text ? l->text.n : 0;
    if (r->o->keep_text)
        sbuf_add(out, sbuf_str(&l->text));
    if (out->full)
        j->rc = ERR_LIMIT;
}

static err_code store_job(struct rendering *r, const struct batch *b, const struct job *j)
{
    const char *p = b->out[j->worker].p;
    char where[300];
    if (j->supervised == 0 && !r->o->drop_unsupervised) {
        data_item_where(r->s, j->item, where, sizeof where);
        return err_set(r->e, ERR_DATA, "%s has no supervised token; hint: hone data show --item %lld shows why, or let such rows be dropped",
                       where, (long long)j->item);
    }
    TRY(store_exec(r->s, r->e, "INSERT INTO token_rows(recipe, item, n, supervised, first_supervised) VALUES(?,?,?,?,?)", "iiiii", r->id,
                   j->item, j->n, j->supervised, j->first_supervised));
    add_stats(r->st, j->n, j->supervised);
    return store_exec(r->s, r->e, "INSERT INTO token_data(row, ids, weights, text) VALUES(?,?,?,?)", "ibbs", store_last_id(r->s), p + j->ids,
                      j->n * 4, p + j->runs, j->n_runs, j->n_text ? (struct str){p + j->text, j->n_text} : (struct str){0});
}

static err_code store_batch(struct rendering *r, struct batch *b)
{
    for (int64_t i = 0; i < b->n; i++)
        TRY(store_job(r, b, &b->job[i]));
    for (int w = 0; w < r->threads; w++)
        sbuf_clear(&b->out[w]);
    r->uncommitted += b->n;
    b->n = 0;
    if (r->uncommitted < (r->o->commit_rows > 0 ? r->o->commit_rows : COMMIT_ROWS))
        return ERR_OK;
    r->uncommitted = 0;
    TRY(store_commit(r->s, r->e));
    return store_begin(r->s, r->e);
}

struct turn {
    struct rendering *r;
    struct batch *old, *now, *next;
    err_code rc;
    struct err e;
};

/* Task 0 uses the store, the others render. */
static void turn_task(void *ctx, int64_t begin, int64_t end, int worker)
{
    struct turn *t = ctx;
    for (int64_t k = begin; k < end; k++) {
        if (k == 0) {
            t->rc = t->old ? store_batch(t->r, t->old) : ERR_OK;
            if (t->rc == ERR_OK && t->next)
                t->rc = read_batch(t->r, t->next);
            continue;
        }
        for (int64_t i = (k - 1) * GRAIN; i < k * GRAIN && i < t->now->n; i++)
            render_job(t->r, t->now, i, worker);
    }
}

/* The failure of the first row that failed, with the row's place. */
static err_code first_failure(struct rendering *r, const struct batch *b)
{
    int first = -1;
    char where[300];
    for (int w = 0; w < r->threads; w++)
        if (r->failed_at[w] >= 0 && (first < 0 || r->failed_at[w] < r->failed_at[first]))
            first = w;
    if (first < 0)
        return ERR_OK;
    data_item_where(r->s, b->job[r->failed_at[first]].item, where, sizeof where);
    return err_set(r->e, r->failed[first].code, "%s: %s", where, r->failed[first].msg);
}

static err_code run_belt(struct rendering *r)
{
    struct progress p;
    struct batch *old = NULL, *now = NULL;
    struct err *out = r->e;
    int k = 0;
    int64_t todo = r->items.n - r->st->cached, done = 0;
    char note[80];
    progress_begin(&p, "render", "rows", todo);
    for (;;) {
        struct turn t = {.r = r, .old = old, .now = now, .next = !stop_requested() ? &r->batch[k] : NULL};
        for (int w = 0; w < r->threads; w++)
            r->failed_at[w] = -1;
        r->e = &t.e;
        par_for(1 + (now ? (now->n + GRAIN - 1) / GRAIN : 0), 1, turn_task, &t);
        r->e = out;
        if (t.rc != ERR_OK) {
            *out = t.e;
            return t.rc;
        }
        if (now)
            TRY(first_failure(r, now));
        old = now;
        now = t.next && t.next->n ? t.next : NULL;
        done += old ? old->n : 0;
        k = (k + 1) % 3;
        snprintf(note, sizeof note, "%lld tokens", (long long)r->st->tokens);
        if (!r->o->quiet)
            progress_at(&p, done, note);
        if (!old && !now)
            break;
    }
    if (!r->o->quiet)
        progress_end(&p);
    return ERR_OK;
}

/* ---- beginning and end -------------------------------------------------------------------- */

static err_code open_lanes(struct rendering *r)
{
    r->threads = par_threads();
    r->lane = calloc((size_t)r->threads, sizeof *r->lane);
    r->runs = calloc((size_t)r->threads, sizeof *r->runs);
    r->failed = calloc((size_t)r->threads, sizeof *r->failed);
    r->failed_at = calloc((size_t)r->threads, sizeof *r->failed_at);
    if (!r->lane || !r->runs || !r->failed || !r->failed_at)
        BUG("out of memory");
    for (int k = 0; k < 3; k++) {
        struct batch *b = &r->batch[k];
        sbuf_init(&b->in, 1LL << 31);
        b->job = malloc(BATCH_ROWS * sizeof *b->job);
        b->out = calloc((size_t)r->threads, sizeof *b->out);
        if (!b->job || !b->out)
            BUG("out of memory");
        for (int w = 0; w < r->threads; w++)
            sbuf_init(&b->out[w], 1LL << 33);
    }
    for (int w = 0; w < r->threads; w++) {
        sbuf_init(&r->runs[w], 1LL << 33);
        TRY(data_lane_open(&r->lane[w], r->recipe, r->e));
    }
    return ERR_OK;
}

static void close_lanes(struct rendering *r)
{
    for (int w = 0; w < r->threads; w++) {
        data_lane_close(&r->lane[w]);
        sbuf_release(&r->runs[w]);
    }
    for (int k = 0; k < 3; k++) {
        for (int w = 0; w < r->threads && r->batch[k].out; w++)
            sbuf_release(&r->batch[k].out[w]);
        free(r->batch[k].out);
        free(r->batch[k].job);
        sbuf_release(&r->batch[k].in);
    }
    free(r->lane);
    free(r->runs);
    free(r->failed);
    free(r->failed_at);
}

static err_code render_missing(struct rendering *r)
{
    int bulk = r->items.n - r->st->cached > COMMIT_ROWS;
    err_code rc = open_lanes(r);
    if (rc == ERR_OK && bulk)
        rc = store_bulk(r->s, 1, r->e);
    if (rc == ERR_OK)
        rc = store_begin(r->s, r->e);
    if (rc == ERR_OK)
        rc = run_belt(r);
    if (rc == ERR_OK)
        rc = store_commit(r->s, r->e);
    store_rollback(r->s);
    if (bulk) {
        err_code end = store_bulk(r->s, 0, rc == ERR_OK ? r->e : NULL);
        rc = rc == ERR_OK ? end : rc;
    }
    close_lanes(r);
    if (rc == ERR_OK && r->next < r->items.n)
        rc = err_set(r->e, ERR_CANCELLED, "rendering stopped at row %lld of %lld; the same command goes on from there", (long long)r->next,
                     (long long)r->items.n);
    return rc;
}

static err_code render_snapshot(struct rendering *r, int64_t snapshot, struct arena *mem)
{
    TRY(data_recipe_open(r->o, &r->recipe, r->e));
    TRY(data_snapshot_items(r->s, snapshot, mem, &r->items, r->e));
    r->cached = ARENA_NEW(mem, uint8_t, r->items.n);
    r->st->items = r->items.n;
    TRY(find_recipe(r));
    TRY(find_cached(r));
    TRY(refuse_cached_unsupervised(r));
    return r->st->cached < r->items.n ? render_missing(r) : ERR_OK;
}

err_code data_render(struct store *s, int64_t snapshot, const struct data_render_opts *o, int64_t *recipe, struct data_render_stats *st,
                     struct err *e)
{
    struct err local = {0};
    int64_t n = 0;
    struct arena mem;
    struct rendering *r = calloc(1, sizeof *r);
    if (!r)
        BUG("out of memory");
    *st = (struct data_render_stats){0};
    *r = (struct rendering){.s = s, .o = o, .st = st, .e = e ? e : &local};
    err_code rc = store_get(s, &n, 0, r->e, "SELECT items FROM snapshots WHERE id = ?", "i", snapshot);
    arena_init(&mem, "render", n * 16 + (1 << 20));
    if (rc == ERR_OK)
        rc = render_snapshot(r, snapshot, &mem);
    if (rc == ERR_OK)
        *recipe = r->id;
    data_recipe_close(r->recipe);
    arena_release(&mem);
    free(r);
    return rc;
}
