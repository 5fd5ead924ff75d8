/* Snapshots: which items a run reads, as a definition and a row sequence, with a digest of what it gave. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "datasets/formats.h"
#include "datasets/walk.h"

/* A definition in one spelling. */
struct def {
    int n_sources;
    char name[SOURCES_MAX][128];
    double weight[SOURCES_MAX];
    int64_t source[SOURCES_MAX]; /* ids */
    char sources[4096], kinds[64], split[16], exclude[4096];
    double heldout;
    int64_t max_seq;
};

struct member {
    int64_t id, prompt;
    struct hash128 hash;
};
struct members {
    struct member *p;
    int64_t n, cap;
    int64_t begin[SOURCES_MAX + 1];
    int64_t excluded, repeated;
    struct hash128 digest;
};

static void *grow(void *p, int64_t n, int64_t *cap, size_t size)
{
    if (n < *cap)
        return p;
    *cap = *cap ? *cap * 2 : 4096;
    p = realloc(p, (size_t)*cap * size);
    if (!p)
        BUG("out of memory for %lld items", (long long)*cap);
    return p;
}

/* ---- definitions -------------------------------------------------------------------------- */

static err_code unknown_source(struct store *s, const char *name, struct err *e)
{
    struct store_query q;
    char near[128] = "";
    int best = str_far(str_of(name));
    int64_t all = 0;
    TRY(store_query(s, &q, e, "SELECT name FROM sources", ""));
    for (; q.more; all++) {
        struct str have = store_str(&q, 0);
        int d = str_distance(have, str_of(name));
        if (d < best)
            best = d, snprintf(near, sizeof near, "%.*s", STR_ARG(have));
        TRY(store_next(&q, e));
    }
    if (all == 0)
        return err_set(e, ERR_DATA, "no source '%s': store '%s' has no data yet; hint: hone data import FILE.jsonl --source %s", name,
                       store_path(s), name);
    return err_set(e, ERR_DATA, "no source '%s' in store '%s'%s%s%s", name, store_path(s), near[0] ? ", did you mean '" : "", near,
                   near[0] ? "'?" : "; hint: hone data list");
}

static err_code find_source(struct store *s, const char *name, int64_t *id, struct err *e)
{
    TRY(store_get(s, id, 0, e, "SELECT id FROM sources WHERE name = ?", "t", name));
    return *id ? ERR_OK : unknown_source(s, name, e);
}

static err_code add_source(struct def *d, struct str one, struct err *e)
{
    struct str rest = one, name;
    double weight = 1;
    str_split(&rest, ':', &name);
    name = str_trim(name);
    if (rest.p && rest.n && (!str_to_f64(str_trim(rest), &weight) || !isfinite(weight) || weight <= 0))
        return err_set(e, ERR_USAGE, "sources: '%.*s' is not NAME or NAME:WEIGHT with a weight above 0", STR_ARG(one));
    if (d->n_sources == SOURCES_MAX || name.n >= 128)
        return err_set(e, ERR_USAGE, "sources: more than %d, or a name over 127 bytes", SOURCES_MAX);
    for (int i = 0; i < d->n_sources; i++)
        if (str_eq(str_of(d->name[i]), name))
            return err_set(e, ERR_USAGE, "sources: '%.*s' is there twice", STR_ARG(name));
    snprintf(d->name[d->n_sources], 128, "%.*s", STR_ARG(name));
    d->weight[d->n_sources++] = weight;
    return ERR_OK;
}

static err_code spell_sources(struct def *d, const char *text, struct err *e)
{
    struct str rest = str_of(text), one;
    size_t n = 0;
    while (str_split(&rest, ',', &one))
        if (str_trim(one).n)
            TRY(add_source(d, str_trim(one), e));
    if (d->n_sources == 0)
        return err_set(e, ERR_USAGE, "sources: no source named");
    for (int i = 0; i < d->n_sources && n < sizeof d->sources; i++)
        n += (size_t)snprintf(d->sources + n, sizeof d->sources - n, "%s%s:%.17g", i ? "," : "", d->name[i], d->weight[i]);
    return n < sizeof d->sources ? ERR_OK : err_set(e, ERR_USAGE, "sources: the list is too long");
}

static err_code spell_kinds(struct def *d, const char *text, struct err *e)
{
    int want[N_KINDS] = {0}, any = 0;
    struct str rest = str_of(text), one;
    while (str_split(&rest, ',', &one)) {
        int k = 0;
        while (k < N_KINDS && !str_eq(str_trim(one), str_of(data_kind_name[k])))
            k++;
        if (k == N_KINDS)
            return err_set(e, ERR_USAGE, "kinds: '%.*s' is none of chat, prompt, pair, text", STR_ARG(one));
        want[k] = 1;
    }
    for (int k = 0; k < N_KINDS; k++)
        if (want[k]) {
            size_t n = strlen(d->kinds);
            snprintf(d->kinds + n, sizeof d->kinds - n, "%s%s", any++ ? "," : "", data_kind_name[k]);
        }
    return any ? ERR_OK : err_set(e, ERR_USAGE, "kinds: none named");
}

/* From what the caller wants, or (store rows) from what was stored: both are spelled alike. */
static err_code define(struct def *d, const struct data_select *sel, struct err *e)
{
    *d = (struct def){.heldout = sel->heldout};
    TRY(spell_sources(d, sel->sources, e));
    TRY(spell_kinds(d, sel->kinds && sel->kinds[0] ? sel->kinds : "chat", e));
    const char *split = sel->split && sel->split[0] ? sel->split : "train";
    if (strcmp(split, "train") && strcmp(split, "heldout") && strcmp(split, "all"))
        return err_set(e, ERR_USAGE, "split: '%s' is none of train, heldout, all", split);
    if (!(sel->heldout >= 0 && sel->heldout < 1))
        return err_set(e, ERR_USAGE, "heldout: %g is not in [0, 1)", sel->heldout);
    if (!strcmp(split, "heldout") && sel->heldout == 0)
        return err_set(e, ERR_USAGE, "split heldout of a data set that holds nothing out; hint: heldout=0.02");
    snprintf(d->split, sizeof d->split, "%s", split);
    int n = snprintf(d->exclude, sizeof d->exclude, "%s", sel->exclude ? sel->exclude : "");
    return n < (int)sizeof d->exclude ? ERR_OK : err_set(e, ERR_USAGE, "exclude: the list is too long");
}

static err_code find_sources(struct store *s, struct def *d, int must_be_whole, struct err *e)
{
    for (int i = 0; i < d->n_sources; i++) {
        struct store_query q;
        TRY(find_source(s, d->name[i], &d->source[i], e));
        if (!must_be_whole)
            continue;
        TRY(store_query(s, &q, e, "SELECT path FROM files WHERE source = ? AND done = 0 AND superseded_at IS NULL", "i", d->source[i]));
        if (q.more) {
            struct str path = store_str(&q, 0);
            err_set(e, ERR_DATA, "source '%s' is not whole: the import of '%.*s' was interrupted; hint: run it again", d->name[i], STR_ARG(path));
            store_end(&q);
            return ERR_DATA;
        }
    }
    return ERR_OK;
}

/* ---- members ------------------------------------------------------------------------------ */

struct ids {
    int64_t *p;
    int64_t n, cap;
};

static int by_number(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void sort_unique(struct ids *v)
{
    int sorted = 1;
    for (int64_t i = 1; i < v->n && sorted; i++)
        sorted = v->p[i - 1] <= v->p[i];
    if (!sorted)
        qsort(v->p, (size_t)v->n, sizeof *v->p, by_number);
    int64_t n = 0;
    for (int64_t i = 0; i < v->n; i++)
        if (n == 0 || v->p[n - 1] != v->p[i])
            v->p[n++] = v->p[i];
    v->n = n;
}

static int contains(const struct ids *v, int64_t x)
{
    return v->n && bsearch(&x, v->p, (size_t)v->n, sizeof *v->p, by_number) != NULL;
}

static void ids_push(struct ids *v, int64_t x)
{
    v->p = grow(v->p, v->n, &v->cap, sizeof *v->p);
    v->p[v->n++] = x;
}

/* Distinct items of a source as of max_seq, ascending. */
static err_code source_items(struct store *s, int64_t source, int64_t max_seq, struct ids *out, struct err *e)
{
    struct store_query f, q;
    struct ids files = {0};
    err_code rc = store_query(s, &f, e, "SELECT id FROM files WHERE source = ? AND (superseded_at IS NULL OR superseded_at > ?)", "ii",
                              source, max_seq);
    for (; rc == ERR_OK && f.more; rc = store_next(&f, e))
        ids_push(&files, store_i64(&f, 0));
    sort_unique(&files);
    /* by rowid: the rows of a file lie together, the index on (file, line) would fetch each one alone */
    if (rc == ERR_OK)
        rc = store_query(s, &q, e, "SELECT item, file FROM source_rows WHERE seq <= ? ORDER BY seq", "i", max_seq);
    for (; rc == ERR_OK && q.more; rc = store_next(&q, e))
        if (contains(&files, store_i64(&q, 1)))
            ids_push(out, store_i64(&q, 0));
    free(files.p);
    sort_unique(out);
    return rc;
}

/* Prompts of the sources that must not occur. */
static err_code excluded_prompts(struct store *s, const struct def *d, struct ids *out, struct err *e)
{
    struct str rest = str_of(d->exclude), one;
    while (str_split(&rest, ',', &one)) {
        char name[128];
        int64_t id = 0;
        struct ids items = {0};
        struct store_query q;
        one = str_trim(one);
        if (!one.n)
            continue;
        snprintf(name, sizeof name, "%.*s", (int)(one.n < 127 ? one.n : 127), one.p);
        TRY(find_source(s, name, &id, e));
        err_code rc = source_items(s, id, d->max_seq, &items, e);
        for (int64_t i = 0; rc == ERR_OK && i < items.n; i++) {
            rc = store_query(s, &q, e, "SELECT prompt FROM items WHERE id = ?", "i", items.p[i]);
            if (rc == ERR_OK && q.more)
                ids_push(out, store_i64(&q, 0));
            store_end(&q);
        }
        free(items.p);
        TRY(rc);
    }
    sort_unique(out);
    return ERR_OK;
}

/* [0, 1) by the prompt alone: a prompt is on one side whatever else is in the store. */
static double side(int64_t prompt)
{
    unsigned char b[8];
    for (int i = 0; i < 8; i++)
        b[i] = (unsigned char)((uint64_t)prompt >> (8 * i));
    return (double)(hash_bytes(b, 8).hi >> 11) * 0x1p-53;
}

static int wanted(const struct def *d, struct str kind, int64_t prompt)
{
    struct str rest = str_of(d->kinds), one;
    int found = 0;
    while (!found && str_split(&rest, ',', &one))
        found = str_eq(one, kind);
    if (!found || !strcmp(d->split, "all") || d->heldout == 0)
        return found;
    return (side(prompt) < d->heldout) == !strcmp(d->split, "heldout");
}

static struct hash128 blob_hash(struct str b)
{
    struct hash128 h = {0};
    for (int i = 0; i < 8 && b.n == 16; i++) {
        h.hi = h.hi << 8 | (unsigned char)b.p[i];
        h.lo = h.lo << 8 | (unsigned char)b.p[8 + i];
    }
    return h;
}

/* Of one source's items: those of the wanted kinds and side, without excluded prompts. */
static err_code choose(struct store *s, const struct def *d, const struct ids *items, const struct ids *exclude, struct members *m, struct err *e)
{
    struct store_query q;
    int64_t at = 0;
    if (items->n == 0)
        return ERR_OK;
    err_code rc = store_query(s, &q, e, "SELECT id, prompt, kind, hash FROM items WHERE id BETWEEN ? AND ? ORDER BY id", "ii", items->p[0],
                              items->p[items->n - 1]);
    for (; rc == ERR_OK && q.more; rc = store_next(&q, e)) {
        struct member x = {.id = store_i64(&q, 0), .prompt = store_i64(&q, 1)};
        if (x.id != items->p[at])
            continue;
        at++;
        if (!wanted(d, store_str(&q, 2), x.prompt))
            continue;
        if (contains(exclude, x.prompt)) {
            m->excluded++;
            continue;
        }
        x.hash = blob_hash(store_str(&q, 3));
        m->p = grow(m->p, m->n, &m->cap, sizeof *m->p);
        m->p[m->n++] = x;
    }
    return rc;
}

/* Items that an earlier source has, too, stay there alone. */
static void drop_repeated(struct members *m, int source, struct ids *seen)
{
    int64_t n = m->begin[source];
    for (int64_t i = n; i < m->n; i++) {
        if (contains(seen, m->p[i].id))
            m->repeated++;
        else
            m->p[n++] = m->p[i];
    }
    m->n = n;
    for (int64_t i = m->begin[source]; i < n; i++)
        ids_push(seen, m->p[i].id);
    sort_unique(seen);
}

static void digest(const struct def *d, struct members *m)
{
    struct hash_state *h = hash_open();
    for (int s = 0; s < d->n_sources; s++) {
        hash_field(h, d->name[s], (int64_t)strlen(d->name[s]));
        for (int64_t i = m->begin[s]; i < m->begin[s + 1]; i++) {
            char hex[33];
            hash_hex(m->p[i].hash, hex);
            hash_add(h, hex, 32);
        }
    }
    m->digest = hash_close(h);
}

static void members_release(struct members *m)
{
    free(m->p);
    *m = (struct members){0};
}

static err_code collect(struct store *s, const struct def *d, struct members *m, struct err *e)
{
    struct ids exclude = {0}, seen = {0};
    *m = (struct members){0};
    err_code rc = excluded_prompts(s, d, &exclude, e);
    for (int i = 0; rc == ERR_OK && i < d->n_sources; i++) {
        struct ids items = {0};
        rc = source_items(s, d->source[i], d->max_seq, &items, e);
        if (rc == ERR_OK)
            rc = choose(s, d, &items, &exclude, m, e);
        free(items.p);
        if (rc == ERR_OK && d->n_sources > 1)
            drop_repeated(m, i, &seen);
        m->begin[i + 1] = m->n;
    }
    free(exclude.p);
    free(seen.p);
    if (rc == ERR_OK)
        digest(d, m);
    else
        members_release(m);
    return rc;
}

/* ---- snapshots ---------------------------------------------------------------------------- */

static struct hash128 snapshot_hash(const struct def *d, const struct members *m)
{
    char hex[33], held[40];
    struct hash_state *h = hash_open();
    const char *const fields[] = {d->sources, d->kinds, d->split, d->exclude, held, hex};
    snprintf(held, sizeof held, "%.17g", d->heldout);
    hash_hex(m->digest, hex);
    for (int i = 0; i < 6; i++)
        hash_field(h, fields[i], (int64_t)strlen(fields[i]));
    return hash_close(h);
}

static void blob(struct hash128 h, char out[16])
{
    for (int i = 0; i < 8; i++) {
        out[i] = (char)(h.hi >> (56 - 8 * i));
        out[8 + i] = (char)(h.lo >> (56 - 8 * i));
    }
}

static err_code keep(struct store *s, const struct def *d, const struct members *m, int64_t *snapshot, struct err *e)
{
    char hash[16], content[16];
    blob(snapshot_hash(d, m), hash);
    blob(m->digest, content);
    TRY(store_get(s, snapshot, 0, e, "SELECT id FROM snapshots WHERE hash = ?", "b", hash, (int64_t)16));
    if (*snapshot)
        return ERR_OK;
    TRY(store_exec(s, e, "INSERT INTO snapshots(hash, sources, kinds, split, heldout, exclude, max_seq, items, excluded, digest)"
                         " VALUES(?,?,?,?,?,?,?,?,?,?)", "btttdtiiib", hash, (int64_t)16, d->sources, d->kinds, d->split, d->heldout,
                   d->exclude, d->max_seq, m->n, m->excluded, content, (int64_t)16));
    *snapshot = store_last_id(s);
    return ERR_OK;
}

err_code data_snapshot(struct store *s, const struct data_select *sel, int64_t *snapshot, struct err *e)
{
    struct members m = {0};
    struct def *d = malloc(sizeof *d);
    if (!d)
        BUG("out of memory");
    err_code rc = define(d, sel, e);
    if (rc == ERR_OK)
        rc = find_sources(s, d, 1, e);
    if (rc == ERR_OK)
        rc = store_get(s, &d->max_seq, 0, e, "SELECT max((SELECT ifnull(max(seq), 0) FROM source_rows),"
                                             " (SELECT ifnull(max(superseded_at), 0) FROM files))", "");
    if (rc == ERR_OK)
        rc = collect(s, d, &m, e);
    if (rc == ERR_OK && m.n == 0)
        rc = err_set(e, ERR_DATA, "no %s items in sources '%s', split %s%s; hint: hone data list", d->kinds, sel->sources, d->split,
                     m.excluded ? ", once the excluded prompts are gone" : "");
    if (rc == ERR_OK)
        rc = keep(s, d, &m, snapshot, e);
    members_release(&m);
    free(d);
    return rc;
}

/* The stored definition, worked out again and held against its digest. */
static err_code load(struct store *s, int64_t snapshot, struct def *d, struct members *m, struct err *e)
{
    struct store_query q;
    char sources[4096], kinds[64], split[16], exclude[4096];
    struct hash128 was;
    TRY(store_query(s, &q, e, "SELECT sources, kinds, split, heldout, exclude, max_seq, digest FROM snapshots WHERE id = ?", "i", snapshot));
    if (!q.more)
        return err_set(e, ERR_DATA, "store '%s' has no snapshot %lld", store_path(s), (long long)snapshot);
    snprintf(sources, sizeof sources, "%.*s", STR_ARG(store_str(&q, 0)));
    snprintf(kinds, sizeof kinds, "%.*s", STR_ARG(store_str(&q, 1)));
    snprintf(split, sizeof split, "%.*s", STR_ARG(store_str(&q, 2)));
    snprintf(exclude, sizeof exclude, "%.*s", STR_ARG(store_str(&q, 4)));
    struct data_select sel = {.sources = sources, .kinds = kinds, .split = split, .heldout = store_f64(&q, 3), .exclude = exclude};
    int64_t max_seq = store_i64(&q, 5);
    was = blob_hash(store_str(&q, 6));
    store_end(&q);
    TRY(define(d, &sel, e));
    d->max_seq = max_seq;
    TRY(find_sources(s, d, 0, e));
    TRY(collect(s, d, m, e));
    if (hash_eq(was, m->digest))
        return ERR_OK;
    members_release(m);
    return err_set(e, ERR_MISMATCH, "snapshot %lld of store '%s' no longer gives the items it was made of; the store was changed by hand",
                   (long long)snapshot, store_path(s));
}

err_code data_snapshot_items(struct store *s, int64_t snapshot, struct arena *mem, struct data_items *out, struct err *e)
{
    struct members m = {0};
    struct def *d = malloc(sizeof *d);
    if (!d)
        BUG("out of memory");
    err_code rc = load(s, snapshot, d, &m, e);
    if (rc == ERR_OK) {
        int64_t *id = ARENA_NEW(mem, int64_t, m.n), *begin = ARENA_NEW(mem, int64_t, d->n_sources + 1);
        double *weight = ARENA_NEW(mem, double, d->n_sources);
        for (int64_t i = 0; i < m.n; i++)
            id[i] = m.p[i].id;
        for (int i = 0; i <= d->n_sources; i++)
            begin[i] = m.begin[i];
        for (int i = 0; i < d->n_sources; i++)
            weight[i] = d->weight[i];
        *out = (struct data_items){.n = m.n, .id = id, .n_sources = d->n_sources, .begin = begin, .weight = weight,
                                   .excluded = m.excluded, .repeated = m.repeated, .digest = m.digest};
    }
    members_release(&m);
    free(d);
    return rc;
}

err_code data_overlap(struct store *s, int64_t a, int64_t b, int64_t *n, struct err *e)
{
    struct members x = {0}, y = {0};
    struct ids prompts = {0};
    struct def *d = malloc(sizeof *d);
    if (!d)
        BUG("out of memory");
    err_code rc = load(s, a, d, &x, e);
    if (rc == ERR_OK)
        rc = load(s, b, d, &y, e);
    if (rc == ERR_OK) {
        *n = 0;
        for (int64_t i = 0; i < y.n; i++)
            ids_push(&prompts, y.p[i].prompt);
        sort_unique(&prompts);
        for (int64_t i = 0; i < x.n; i++)
            *n += contains(&prompts, x.p[i].prompt);
    }
    members_release(&x);
    members_release(&y);
    free(prompts.p);
    free(d);
    return rc;
}
