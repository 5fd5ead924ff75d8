/* Plans: which rows lie together in which micro-batch. An epoch is made again whenever it is needed (a second
 * per million rows) and held against the digest of its first making: the stored plan is the proof, not the source. */
#include "datasets/plan.h"

#include <stdio.h>
#include <stdlib.h>

enum { WINDOW = 131072, PART_ROWS = 65536, PLAN_VERSION = 1 };
static const uint32_t BATCH_ORDER = 1u << 30; /* beside the sources' numbers in the walk */

/* ---- opening ------------------------------------------------------------------------------ */

struct place { /* item -> where it stands in the snapshot */
    int64_t item, at;
};

static int by_item(const void *a, const void *b)
{
    int64_t x = ((const struct place *)a)->item, y = ((const struct place *)b)->item;
    return (x > y) - (x < y);
}

static err_code missing_tokens(struct data_plan *p, struct err *e)
{
    int64_t none = 0, first = -1;
    char where[300];
    for (int64_t i = 0; i < p->items.n; i++)
        if (!p->rows[i].id) {
            first = first < 0 ? i : first;
            none++;
        }
    if (none == 0)
        return ERR_OK;
    data_item_where(p->s, p->items.id[first], where, sizeof where);
    return err_set(e, ERR_DATA, "%lld of %lld rows have no tokens under recipe %lld, the first is %s", (long long)none,
                   (long long)p->items.n, (long long)p->o.recipe, where);
}

/* Lengths of the snapshot's rows: one scan of the narrow table. */
static err_code load_rows(struct data_plan *p, struct err *e)
{
    struct store_query q;
    int64_t n = p->items.n;
    p->rows = ARENA_NEW(&p->mem, struct plan_row, n);
    struct arena scratch = p->mem;
    struct place *at = ARENA_NEW(&scratch, struct place, n);
    for (int64_t i = 0; i < n; i++)
        at[i] = (struct place){p->items.id[i], i};
    if (p->items.n_sources > 1)
        qsort(at, (size_t)n, sizeof *at, by_item);
    err_code rc = store_query(p->s, &q, e, "SELECT item, id, n, supervised, first_supervised FROM token_rows WHERE recipe = ? AND +item BETWEEN ? AND ?",
                              "iii", p->o.recipe, at[0].item, at[n - 1].item);
    for (; rc == ERR_OK && q.more; rc = store_next(&q, e)) {
        struct place key = {store_i64(&q, 0), 0}, *found = bsearch(&key, at, (size_t)n, sizeof *at, by_item);
        if (found)
            p->rows[found->at] = (struct plan_row){store_i64(&q, 1), (int32_t)store_i64(&q, 2), (int32_t)store_i64(&q, 3), (int32_t)store_i64(&q, 4)};
    }
    TRY(rc);
    return missing_tokens(p, e);
}

static err_code check_opts(struct data_plan_opts *o, struct err *e)
{
    if (o->cap < 1 || o->cap > 1 << 24 || o->leaves < 1 || o->max_rows < 0 || o->max_rows > INT32_MAX || o->window < 0)
        return err_set(e, ERR_USAGE, "plan: cap %lld (1..%d), leaves %lld, max_rows %lld or window %lld is out of bounds", (long long)o->cap,
                       1 << 24, (long long)o->leaves, (long long)o->max_rows, (long long)o->window);
    if (o->max_len == 0)
        o->max_len = o->cap;
    if (o->max_len < 2 || o->max_len > o->cap)
        return err_set(e, ERR_USAGE, "plan: rows of up to %lld tokens do not fit micro-batches of %lld", (long long)o->max_len, (long long)o->cap);
    if (o->window == 0)
        o->window = WINDOW;
    return ERR_OK;
}

static err_code row_hash(struct store *s, const char *sql, int64_t id, const char *what, struct hash_state *h, struct err *e)
{
    struct store_query q;
    TRY(store_query(s, &q, e, sql, "i", id));
    if (!q.more)
        return err_set(e, ERR_DATA, "store '%s' has no %s %lld", store_path(s), what, (long long)id);
    struct str hash = store_str(&q, 0);
    hash_field(h, hash.p, hash.n);
    store_end(&q);
    return ERR_OK;
}

static err_code find_plan(struct data_plan *p, struct err *e)
{
    char options[400], hash[16];
    const struct data_plan_opts *o = &p->o;
    snprintf(options, sizeof options, "version=%d seed=%llu cap=%lld leaves=%lld max_len=%lld over=%d max_rows=%lld window=%lld pack=%d shuffle=%d",
             PLAN_VERSION, (unsigned long long)o->seed, (long long)o->cap, (long long)o->leaves, (long long)o->max_len, (int)o->over,
             (long long)o->max_rows, (long long)o->window, !!o->pack, !!o->shuffle);
    struct hash_state *h = hash_open();
    err_code rc = row_hash(p->s, "SELECT hash FROM snapshots WHERE id = ?", o->snapshot, "snapshot", h, e);
    if (rc == ERR_OK)
        rc = row_hash(p->s, "SELECT hash FROM recipes WHERE id = ?", o->recipe, "recipe", h, e);
    hash_field(h, options, (int64_t)strlen(options));
    struct hash128 sum = hash_close(h);
    TRY(rc);
    for (int i = 0; i < 8; i++) {
        hash[i] = (char)(sum.hi >> (56 - 8 * i));
        hash[8 + i] = (char)(sum.lo >> (56 - 8 * i));
    }
    TRY(store_get(p->s, &p->id, 0, e, "SELECT id FROM plans WHERE hash = ?", "b", hash, (int64_t)16));
    if (p->id)
        return ERR_OK;
    TRY(store_exec(p->s, e, "INSERT INTO plans(hash, snapshot, recipe, options) VALUES(?,?,?,?)", "biit", hash, (int64_t)16, o->snapshot,
                   o->recipe, options));
    p->id = store_last_id(p->s);
    return ERR_OK;
}

static err_code open_plan(struct data_plan *p, struct err *e)
{
    int64_t n = 0;
    TRY(check_opts(&p->o, e));
    TRY(store_get(p->s, &n, -1, e, "SELECT items FROM snapshots WHERE id = ?", "i", p->o.snapshot));
    if (n < 0)
        return err_set(e, ERR_DATA, "store '%s' has no snapshot %lld", store_path(p->s), (long long)p->o.snapshot);
    arena_init(&p->mem, "plan", n * 64 + (1 << 20));
    TRY(data_snapshot_items(p->s, p->o.snapshot, &p->mem, &p->items, e));
    TRY(load_rows(p, e));
    data_walk_init(&p->walk, &p->items, p->o.seed, p->o.shuffle);
    arena_init(&p->epoch_mem, "epoch", p->walk.rows * 96 + 20 * p->o.cap + (1 << 20));
    return find_plan(p, e);
}

err_code data_plan_open(struct store *s, const struct data_plan_opts *o, struct data_plan **out, struct err *e)
{
    struct data_plan *p = calloc(1, sizeof *p);
    if (!p)
        BUG("out of memory");
    p->s = s;
    p->o = *o;
    p->now.epoch = -1;
    err_code rc = open_plan(p, e);
    if (rc == ERR_OK)
        *out = p;
    else
        data_plan_close(p);
    return rc;
}

void data_plan_close(struct data_plan *p)
{
    if (!p)
        return;
    if (p->mem.base)
        arena_release(&p->mem);
    if (p->epoch_mem.base)
        arena_release(&p->epoch_mem);
    free(p->steps);
    free(p);
}

int64_t data_plan_id(const struct data_plan *p)
{
    return p->id;
}

int64_t data_plan_snapshot(const struct data_plan *p)
{
    return p->o.snapshot;
}

/* ---- making an epoch ---------------------------------------------------------------------- */

static err_code too_long(struct data_plan *p, struct err *e)
{
    int64_t first = -1, n = 0;
    char where[300];
    for (int64_t i = 0; i < p->items.n; i++)
        if (p->rows[i].n > p->o.max_len) {
            first = first < 0 ? i : first;
            n++;
        }
    data_item_where(p->s, p->items.id[first], where, sizeof where);
    return err_set(e, ERR_DATA, "%s has %d tokens, more than %lld, and so have %lld other rows; hint: drop or truncate such rows, or allow longer ones",
                   where, p->rows[first].n, (long long)p->o.max_len, (long long)n - 1);
}

/* Supervised tokens among the first max_len. */
static err_code supervised_kept(struct data_plan *p, const struct plan_row *r, int64_t *n, struct arena scratch, struct err *e)
{
    struct store_query q;
    float *w = ARENA_NEW(&scratch, float, p->o.max_len);
    *n = 0;
    TRY(store_query(p->s, &q, e, "SELECT weights FROM token_data WHERE row = ?", "i", r->id));
    err_code rc = q.more ? data_runs_get(store_str(&q, 0), w, p->o.max_len, e) : err_set(e, ERR_DATA, "token row %lld has no tokens", (long long)r->id);
    store_end(&q);
    for (int64_t i = 0; rc == ERR_OK && i < p->o.max_len; i++)
        *n += w[i] > 0;
    return rc;
}

/* The epoch's rows in order, those that cannot be used left out and counted. */
static err_code choose_rows(struct data_plan *p, int64_t epoch, int32_t *row, int32_t *len, struct data_plan_info *info, struct err *e)
{
    for (int64_t j = 0; j < p->walk.rows; j++) {
        int64_t at = data_walk_at(&p->walk, epoch * p->walk.rows + j), sup = p->rows[at].supervised;
        const struct plan_row *r = &p->rows[at];
        int longer = r->n > p->o.max_len;
        if (longer && p->o.over == DATA_LONG_ERROR)
            return too_long(p, e);
        if (longer && p->o.over == DATA_LONG_DROP) {
            info->dropped_long++;
            continue;
        }
        if (sup == 0 || (longer && r->first_supervised >= p->o.max_len)) {
            info->dropped_unsupervised++;
            continue;
        }
        if (longer) {
            info->truncated++;
            TRY(supervised_kept(p, r, &sup, p->epoch_mem, e));
        }
        row[info->rows] = (int32_t)at;
        len[info->rows] = longer ? (int32_t)p->o.max_len : r->n;
        info->tokens += len[info->rows++];
        info->supervised += sup;
    }
    if (info->rows == 0)
        return err_set(e, ERR_DATA, "no row of the epoch can be used: %lld too long, %lld without a supervised token",
                       (long long)info->dropped_long, (long long)info->dropped_unsupervised);
    return ERR_OK;
}

/* Rows [from, to) into bins behind those made before: sorted by bin into `out`, ends into `end`. */
static int64_t pack_window(const struct data_plan *p, int64_t from, int64_t to, const int32_t *row, const int32_t *len, int32_t *out,
                           int64_t *end, struct arena scratch)
{
    int64_t n = to - from;
    int32_t *bin = ARENA_NEW(&scratch, int32_t, n);
    int64_t bins = data_pack(len + from, n, (int32_t)p->o.cap, p->o.pack ? (int32_t)p->o.max_rows : 1, bin, scratch);
    int64_t *at = ARENA_NEW(&scratch, int64_t, bins + 1);
    if (!p->o.shuffle || !p->o.pack) { /* number bins by their first row in the epoch's order */
        int32_t *name = ARENA_NEW(&scratch, int32_t, bins), named = 0;
        for (int64_t i = 0; i < n; i++) {
            if (!name[bin[i]])
                name[bin[i]] = ++named;
            bin[i] = name[bin[i]] - 1;
        }
    }
    for (int64_t i = 0; i < n; i++)
        at[bin[i] + 1]++;
    for (int64_t b = 0; b < bins; b++) {
        at[b + 1] += at[b];
        end[b] = from + at[b + 1];
    }
    for (int64_t i = 0; i < n; i++)
        out[from + at[bin[i]]++] = row[from + i];
    return bins;
}

/* Bins that were filled by falling length lie side by side: put in random order, as rows were. */
static void shuffle_batches(const struct data_plan *p, int64_t epoch, const int32_t *row, const int64_t *end, struct plan_epoch *out)
{
    struct data_perm perm;
    int64_t n = out->info.batches, at = 0;
    data_perm_init(&perm, (uint64_t)n, p->o.seed, (uint64_t)epoch, BATCH_ORDER);
    perm.half = p->o.shuffle && p->o.pack ? perm.half : 0; /* without packing the rows' order is the batches' */
    for (int64_t b = 0; b < n; b++) {
        int64_t from = (int64_t)data_perm_at(&perm, (uint64_t)b), begin = from ? end[from - 1] : 0;
        memcpy(out->row + at, row + begin, (size_t)(end[from] - begin) * sizeof *row);
        at += end[from] - begin;
        out->end[b] = at;
    }
}

static struct hash128 digest(const struct data_plan *p, const struct plan_epoch *x)
{
    struct hash_state *h = hash_open();
    for (int64_t i = 0; i < x->info.rows; i++) {
        int64_t place[2] = {p->items.id[x->row[i]], p->rows[x->row[i]].n};
        hash_add(h, place, sizeof place);
    }
    hash_add(h, x->end, x->info.batches * (int64_t)sizeof *x->end);
    return hash_close(h);
}

static err_code make(struct data_plan *p, int64_t epoch, struct plan_epoch *out, struct err *e)
{
    struct arena *mem = &p->epoch_mem;
    int64_t n = p->walk.rows;
    out->epoch = epoch;
    out->info = (struct data_plan_info){0};
    int32_t *row = ARENA_NEW(mem, int32_t, n), *len = ARENA_NEW(mem, int32_t, n);
    TRY(choose_rows(p, epoch, row, len, &out->info, e));
    n = out->info.rows;
    int32_t *binned = ARENA_NEW(mem, int32_t, n);
    int64_t *end = ARENA_NEW(mem, int64_t, n), window = p->o.pack ? p->o.window : n;
    for (int64_t from = 0; from < n; from += window) {
        int64_t to = from + window < n ? from + window : n;
        out->info.batches += pack_window(p, from, to, row, len, binned, end + out->info.batches, *mem);
    }
    out->row = row; /* read for the last time above */
    out->end = ARENA_NEW(mem, int64_t, out->info.batches);
    shuffle_batches(p, epoch, binned, end, out);
    out->info.steps = (out->info.batches + p->o.leaves - 1) / p->o.leaves;
    out->info.efficiency = (double)out->info.tokens / ((double)out->info.batches * (double)p->o.cap);
    out->info.digest = digest(p, out);
    return ERR_OK;
}

/* ---- storing ------------------------------------------------------------------------------ */

static err_code keep_part(struct data_plan *p, const struct plan_epoch *x, int64_t part, int64_t b0, int64_t b1, struct err *e)
{
    int64_t from = b0 ? x->end[b0 - 1] : 0, n = x->end[b1 - 1] - from;
    struct arena scratch = p->epoch_mem;
    int64_t *id = ARENA_NEW(&scratch, int64_t, n);
    for (int64_t i = 0; i < n; i++)
        id[i] = p->rows[x->row[from + i]].id;
    return store_exec(p->s, e, "INSERT INTO plan_parts(plan, epoch, part, token_rows, ends) VALUES(?,?,?,?,?)", "iiibb", p->id, x->epoch, part,
                      id, n * 8, x->end + b0, (b1 - b0) * 8);
}

static err_code keep_rows(struct data_plan *p, const struct plan_epoch *x, struct err *e)
{
    const struct data_plan_info *i = &x->info;
    char hash[16];
    for (int k = 0; k < 8; k++) {
        hash[k] = (char)(i->digest.hi >> (56 - 8 * k));
        hash[8 + k] = (char)(i->digest.lo >> (56 - 8 * k));
    }
    TRY(store_exec(p->s, e, "INSERT INTO plan_epochs(plan, epoch, steps, batches, rows, tokens, supervised, dropped_long, truncated,"
                            " dropped_unsupervised, efficiency, digest) VALUES(?,?,?,?,?,?,?,?,?,?,?,?)", "iiiiiiiiiidb", p->id, x->epoch,
                   i->steps, i->batches, i->rows, i->tokens, i->supervised, i->dropped_long, i->truncated, i->dropped_unsupervised,
                   i->efficiency, hash, (int64_t)16));
    int64_t part = 0;
    for (int64_t b = 0; b < i->batches;) {
        int64_t begin = b ? x->end[b - 1] : 0, b1 = b + 1;
        while (b1 < i->batches && x->end[b1] - begin <= PART_ROWS)
            b1++;
        TRY(keep_part(p, x, part++, b, b1, e));
        b = b1;
    }
    return ERR_OK;
}

static err_code keep_or_check(struct data_plan *p, const struct plan_epoch *x, struct err *e)
{
    struct store_query q;
    TRY(store_query(p->s, &q, e, "SELECT lower(hex(digest)) FROM plan_epochs WHERE plan = ? AND epoch = ?", "ii", p->id, x->epoch));
    if (q.more) {
        char now[33], was[33];
        hash_hex(x->info.digest, now);
        snprintf(was, sizeof was, "%.*s", STR_ARG(store_str(&q, 0)));
        store_end(&q);
        return !strcmp(now, was) ? ERR_OK
                                 : err_set(e, ERR_MISMATCH, "epoch %lld of plan %lld comes out otherwise than when it was first made (digest %s, was %s)",
                                           (long long)x->epoch, (long long)p->id, now, was);
    }
    TRY(store_begin(p->s, e));
    err_code rc = keep_rows(p, x, e);
    if (rc == ERR_OK)
        rc = store_commit(p->s, e);
    if (rc != ERR_OK)
        store_rollback(p->s);
    return rc;
}

err_code data_plan_load(struct data_plan *p, int64_t epoch, struct err *e)
{
    assert(epoch >= 0);
    if (p->now.epoch == epoch)
        return ERR_OK;
    arena_reset(&p->epoch_mem);
    p->now.epoch = -1;
    struct plan_epoch x;
    TRY(make(p, epoch, &x, e));
    TRY(keep_or_check(p, &x, e));
    p->now = x;
    return ERR_OK;
}

err_code data_plan_epoch(struct data_plan *p, int64_t epoch, struct data_plan_info *info, struct err *e)
{
    TRY(data_plan_load(p, epoch, e));
    *info = p->now.info;
    return ERR_OK;
}
