/* Import: a pipeline of three chunks (one is read while one is parsed and one is stored), and a cursor
 * that moves in the transaction that stores the rows. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/log.h"
#include "core/par.h"
#include "core/stop.h"
#include "datasets/chunk.h"

/* Work between two commits: what a kill can cost. Fewer, larger commits write the pages of the hash index
 * less often. */
enum { COMMIT_BYTES = 96 << 20, BULK_BYTES = 16 << 20 };

struct import {
    struct store *s;
    const struct data_import_opts *o;
    struct data_import_stats *st;
    struct err *e;
    const char *shown;        /* the path as the caller spelled it, for messages */
    char path[PATH_MAX];      /* absolute */
    char options[4096];
    struct hash128 hash;
    int64_t mtime_ns;
    struct data_map map;
    struct data_filter *filter;
    struct chunk_file file;
    int64_t row;              /* of files */
    int64_t next_item;
    int64_t at, line;         /* behind the last row stored */
    int64_t rows, added, bad, left_out; /* of the file, earlier calls included */
    int64_t uncommitted;      /* bytes */
    int stop;                 /* a bad line under stop_at_bad */
    struct chunk chunk[3];
};

/* ---- the file and its row ----------------------------------------------------------------- */

static err_code hash_file(struct import *im)
{
    enum { PIECE = 1 << 20 };
    struct hash_state *h = hash_open();
    char *p = malloc(PIECE);
    int64_t at = 0;
    struct stat st;
    ssize_t n = 1;
    if (!p)
        BUG("out of memory");
    while (n > 0) {
        n = pread(im->file.fd, p, PIECE, at);
        if (n > 0)
            hash_add(h, p, n);
        at += n > 0 ? n : 0;
    }
    free(p);
    im->hash = hash_close(h);
    if (n < 0 || fstat(im->file.fd, &st))
        return err_sys(im->e, ERR_IO, "cannot read '%s'", im->shown);
    im->file.bytes = at;
    im->mtime_ns = st.st_mtim.tv_sec * 1000000000LL + st.st_mtim.tv_nsec;
    return ERR_OK;
}

/* The name rows are found under. ',' and ':' have a meaning where sources are selected. */
static err_code name_source(struct import *im)
{
    char *out = im->st->source;
    size_t max = sizeof im->st->source;
    if (im->o->source && im->o->source[0]) {
        if (strlen(im->o->source) >= max || strpbrk(im->o->source, ",: "))
            return err_set(im->e, ERR_USAGE, "source name '%s': no ',', ':' or blanks, at most %zu bytes", im->o->source, max - 1);
        snprintf(out, max, "%s", im->o->source);
        return ERR_OK;
    }
    const char *base = strrchr(im->path, '/') + 1;
    snprintf(out, max, "%s", base);
    char *dot = strrchr(out, '.');
    if (dot && dot > out)
        *dot = 0;
    for (char *p = out; *p; p++)
        if (strchr(",: ", *p))
            *p = '_';
    return ERR_OK;
}

static struct str hash_blob(const struct hash128 *h, char out[16])
{
    for (int i = 0; i < 8; i++) {
        out[i] = (char)(h->hi >> (56 - 8 * i));
        out[8 + i] = (char)(h->lo >> (56 - 8 * i));
    }
    return (struct str){out, 16};
}

static err_code source_id(struct store *s, const char *name, int64_t *id, struct err *e)
{
    TRY(store_exec(s, e, "INSERT INTO sources(name) VALUES(?) ON CONFLICT(name) DO NOTHING", "t", name));
    return store_get(s, id, 0, e, "SELECT id FROM sources WHERE name = ?", "t", name);
}

/* Row sequence that a file's end of life gets: above every row and every earlier end. */
static err_code next_seq(struct store *s, int64_t *seq, struct err *e)
{
    return store_get(s, seq, 1, e, "SELECT 1 + max((SELECT ifnull(max(seq), 0) FROM source_rows),"
                                   " (SELECT ifnull(max(superseded_at), 0) FROM files))", "");
}

static err_code resume_file(struct import *im, struct store_query *q)
{
    im->row = store_i64(q, 0);
    im->st->already = (int)store_i64(q, 1);
    im->at = store_i64(q, 2);
    im->line = store_i64(q, 3);
    im->rows = store_i64(q, 4);
    im->added = store_i64(q, 5);
    im->bad = store_i64(q, 6);
    im->left_out = store_i64(q, 7);
    im->st->resumed_at = im->line;
    return ERR_OK;
}

/* Finds the row of this content under this path, or makes one; another content at the path ends its life. */
static err_code open_file_row(struct import *im)
{
    struct err *e = im->e;
    struct store_query q;
    int64_t source = 0, seq = 0;
    char blob[16];
    struct str hash = hash_blob(&im->hash, blob);
    TRY(source_id(im->s, im->st->source, &source, e));
    TRY(store_query(im->s, &q, e, "SELECT id, done, bytes_done, lines_done, rows, added, bad, left_out FROM files"
                                  " WHERE source = ? AND path = ? AND superseded_at IS NULL AND hash = ? AND options = ?", "itbt",
                    source, im->path, hash.p, hash.n, im->options));
    int found = q.more;
    if (found)
        resume_file(im, &q);
    store_end(&q);
    if (found)
        return ERR_OK;
    TRY(next_seq(im->s, &seq, e));
    TRY(store_exec(im->s, e, "UPDATE files SET superseded_at = ? WHERE source = ? AND path = ? AND superseded_at IS NULL", "iit", seq,
                   source, im->path));
    TRY(store_exec(im->s, e, "INSERT INTO files(source, path, hash, bytes, options) VALUES(?,?,?,?,?)", "itbit", source, im->path,
                   hash.p, hash.n, im->file.bytes, im->options));
    im->row = store_last_id(im->s);
    return ERR_OK;
}

/* ---- storing ------------------------------------------------------------------------------ */

static err_code add_item(struct store *s, int64_t *next, const struct data_item_info *info, struct str body, int64_t *id, int *added,
                         struct err *e)
{
    char blob[16];
    struct str hash = hash_blob(&info->hash, blob);
    *id = *next;
    TRY(store_exec(s, e, "INSERT INTO items(id, hash, kind, prompt) VALUES(?,?,?,?) ON CONFLICT(hash) DO NOTHING", "ibti", *id, hash.p,
                   hash.n, data_kind_name[info->kind], info->prompt));
    *added = store_changes(s) > 0;
    if (!*added)
        return store_get(s, id, 0, e, "SELECT id FROM items WHERE hash = ?", "b", hash.p, hash.n);
    (*next)++;
    return store_exec(s, e, "INSERT INTO bodies(item, body) VALUES(?,?)", "is", *id, body);
}

static void keep_first_bad(struct import *im, int64_t line, struct str reason)
{
    int n = reason.n < 200 ? (int)reason.n : 200;
    if (!im->st->first_bad[0])
        snprintf(im->st->first_bad, sizeof im->st->first_bad, "%.160s:%lld: %.*s", im->shown, (long long)line, n, reason.p);
}

static err_code store_bad(struct import *im, int64_t line, struct str reason)
{
    im->bad++;
    im->st->bad = im->bad;
    return store_exec(im->s, im->e, "INSERT INTO bad_lines(file, line, reason) VALUES(?,?,?)", "iis", im->row, line, reason);
}

static err_code store_row(struct import *im, const struct chunk_slice *s, const struct chunk_row *r)
{
    struct str text = {s->text.p + r->begin, r->n};
    int64_t id;
    int added = 0;
    im->st->lines++;
    if (r->bad)
        return store_bad(im, r->line, text);
    if (r->left_out) {
        im->left_out++;
        return ERR_OK;
    }
    TRY(add_item(im->s, &im->next_item, &r->info, text, &id, &added, im->e));
    im->rows++;
    im->added += added;
    im->st->added += added;
    im->st->known += !added;
    im->st->formats[r->info.format]++;
    return store_exec(im->s, im->e, "INSERT INTO source_rows(file, line, item) VALUES(?,?,?)", "iii", im->row, r->line, id);
}

static err_code move_cursor(struct import *im)
{
    return store_exec(im->s, im->e, "UPDATE files SET bytes_done = ?, lines_done = ?, rows = ?, added = ?, bad = ?, left_out = ? WHERE id = ?",
                      "iiiiiii", im->at, im->line, im->rows, im->added, im->bad, im->left_out, im->row);
}

static err_code commit(struct import *im, int again)
{
    im->uncommitted = 0;
    TRY(move_cursor(im));
    TRY(store_commit(im->s, im->e));
    return again ? store_begin(im->s, im->e) : ERR_OK;
}

static err_code store_slice(struct import *im, const struct chunk_slice *s)
{
    if (s->out_of_memory)
        return err_set(im->e, ERR_LIMIT, "no memory for the rows of a piece of '%s'", im->shown);
    for (int64_t i = 0; i < s->n && !im->stop; i++) {
        const struct chunk_row *r = &s->rows[i];
        if (r->bad && im->o->stop_at_bad) {
            im->stop = 1; /* the next call meets the line again */
            im->at = r->at;
            im->line = r->line - 1;
            im->st->bad = im->bad + 1;
            keep_first_bad(im, r->line, (struct str){s->text.p + r->begin, r->n});
            return ERR_OK;
        }
        TRY(store_row(im, s, r));
    }
    return ERR_OK;
}

static err_code store_chunk(struct import *im, const struct chunk *c)
{
    char why[80];
    if (c->too_long) {
        snprintf(why, sizeof why, "row is longer than %d bytes", ROW_MAX_BYTES);
        im->st->lines++;
        TRY(store_bad(im, c->line + 1, str_of(why)));
    }
    for (int i = 0; i < c->n_slices && !im->stop; i++)
        TRY(store_slice(im, &c->slice[i]));
    if (im->stop)
        return ERR_OK;
    im->uncommitted += c->end_at - c->at;
    im->at = c->end_at;
    im->line = c->end_line;
    return im->uncommitted >= (im->o->commit_bytes > 0 ? im->o->commit_bytes : COMMIT_BYTES) ? commit(im, 1) : ERR_OK;
}

/* ---- the pipeline ------------------------------------------------------------------------- */

struct turn { /* one turn: store `old`, read `next`, parse `now` */
    struct import *im;
    struct chunk *old, *now, *next;
    int more;
    err_code stored, read;
    struct err store_err, read_err;
};

static void turn_task(void *ctx, int64_t begin, int64_t end, int worker)
{
    struct turn *t = ctx;
    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        if (i == 0 && t->old)
            t->stored = store_chunk(t->im, t->old);
        else if (i == 1 && t->next)
            t->read = data_chunk_read(&t->im->file, t->next, &t->more, &t->read_err);
        else if (i >= 2 && t->now)
            data_chunk_parse(t->now, (int)i - 2);
    }
}

static err_code pump(struct import *im)
{
    struct progress p;
    struct chunk *old = NULL, *now = NULL;
    struct err *out = im->e;
    int k = 0, more = 1;
    char note[80];
    progress_begin(&p, "import", "MiB", im->file.bytes >> 20);
    while ((more || now || old) && !im->stop) {
        struct turn t = {.im = im, .old = old, .now = now, .next = more && !stop_requested() ? &im->chunk[k] : NULL};
        im->e = &t.store_err;
        par_for(2 + (now ? now->n_slices : 0), 1, turn_task, &t);
        im->e = out;
        if (t.stored != ERR_OK || t.read != ERR_OK) {
            *out = t.stored != ERR_OK ? t.store_err : t.read_err;
            return t.stored != ERR_OK ? t.stored : t.read;
        }
        more = t.next ? t.more : 0;
        old = now;
        now = t.next && t.more ? t.next : NULL;
        k = (k + 1) % 3;
        snprintf(note, sizeof note, "%lld rows", (long long)im->rows);
        if (!im->o->quiet)
            progress_at(&p, im->at >> 20, note);
    }
    if (!im->o->quiet)
        progress_end(&p);
    return ERR_OK;
}

/* ---- beginning and end -------------------------------------------------------------------- */

static err_code first_bad(struct import *im)
{
    struct store_query q;
    TRY(store_query(im->s, &q, im->e, "SELECT line, reason FROM bad_lines WHERE file = ? ORDER BY line LIMIT 1", "i", im->row));
    if (q.more)
        keep_first_bad(im, store_i64(&q, 0), store_str(&q, 1));
    store_end(&q);
    return ERR_OK;
}

static err_code unchanged(struct import *im)
{
    struct stat st;
    if (fstat(im->file.fd, &st))
        return err_sys(im->e, ERR_IO, "cannot read '%s'", im->shown);
    if (st.st_size != im->file.bytes || st.st_mtim.tv_sec * 1000000000LL + st.st_mtim.tv_nsec != im->mtime_ns)
        return err_set(im->e, ERR_IO, "'%s' was changed while it was read; hint: import it again", im->shown);
    return ERR_OK;
}

/* Rows from the cursor on, in transactions; the last one marks the file as done. */
static err_code import_rows(struct import *im)
{
    TRY(store_get(im->s, &im->next_item, 1, im->e, "SELECT 1 + ifnull(max(id), 0) FROM items", ""));
    data_chunk_seek(&im->file, im->at, im->line);
    TRY(pump(im));
    if (im->at < im->file.bytes && !im->stop) {
        TRY(commit(im, 0));
        if (!stop_requested())
            return err_set(im->e, ERR_IO, "'%s' became shorter while it was read; hint: import it again", im->shown);
        return err_set(im->e, ERR_CANCELLED, "import of '%s' stopped at line %lld; the same command goes on from there", im->path,
                       (long long)im->line);
    }
    TRY(unchanged(im));
    if (!im->stop)
        TRY(store_exec(im->s, im->e, "UPDATE files SET done = 1 WHERE id = ?", "i", im->row));
    return commit(im, 0);
}

static err_code verdict(struct import *im)
{
    struct data_import_stats *st = im->st;
    st->bad = im->stop ? st->bad : im->bad;
    if (st->bad == 0)
        return ERR_OK;
    TRY(first_bad(im));
    if (im->stop)
        return err_set(im->e, ERR_DATA, "%s; the import stopped before this line", st->first_bad);
    if (st->bad == 1)
        return err_set(im->e, ERR_DATA, "%s; the other %lld rows are imported", st->first_bad, (long long)im->rows);
    return err_set(im->e, ERR_DATA, "%s; %lld lines like that (table bad_lines has them), the other %lld rows are imported", st->first_bad,
                   (long long)st->bad, (long long)im->rows);
}

static err_code run(struct import *im)
{
    TRY(hash_file(im));
    if (im->file.bytes > BULK_BYTES)
        TRY(store_bulk(im->s, 1, im->e));
    TRY(store_begin(im->s, im->e));
    TRY(open_file_row(im));
    if (im->st->already)
        return store_commit(im->s, im->e);
    TRY(commit(im, 1)); /* the file row exists before the first row, whatever happens */
    for (int i = 0; i < 3; i++)
        data_chunk_init(&im->chunk[i], im->o->format, im->map.n ? &im->map : NULL, im->filter);
    err_code rc = import_rows(im);
    for (int i = 0; i < 3; i++)
        data_chunk_release(&im->chunk[i]);
    return rc;
}

/* What decides which rows a file's bytes become: another filter is another import. */
static err_code describe_options(struct import *im)
{
    char filter[48] = "";
    if (im->filter) {
        struct hash128 h = data_filter_hash(im->filter);
        snprintf(filter, sizeof filter, " filter=%016llx%016llx", (unsigned long long)h.hi, (unsigned long long)h.lo);
    }
    int n = snprintf(im->options, sizeof im->options, "format=%s%s map=%s", data_format_name(im->o->format), filter, im->o->map ? im->o->map : "");
    if (n >= (int)sizeof im->options) /* cut, two maps could look like one import */
        return err_set(im->e, ERR_USAGE, "--map is longer than %zu bytes", sizeof im->options - 100);
    return ERR_OK;
}

err_code data_import(struct store *s, const char *path, const struct data_import_opts *o, struct data_import_stats *st, struct err *e)
{
    static const struct data_import_opts defaults;
    struct err local = {0};
    struct import *im = calloc(1, sizeof *im);
    if (!im)
        BUG("out of memory");
    *st = (struct data_import_stats){0};
    *im = (struct import){.s = s, .o = o ? o : &defaults, .st = st, .e = e ? e : &local, .shown = path};
    err_code rc = data_map_parse(im->o->map, &im->map, im->e);
    if (rc == ERR_OK && !realpath(path, im->path))
        rc = err_sys(im->e, ERR_IO, "cannot open '%s'", path);
    if (rc == ERR_OK && im->o->filter && im->o->filter[0])
        rc = data_filter_open(im->o->filter, &im->filter, im->e);
    if (rc == ERR_OK)
        rc = name_source(im);
    if (rc == ERR_OK)
        rc = data_chunk_open(&im->file, path, im->e);
    if (rc == ERR_OK) {
        rc = describe_options(im);
        if (rc == ERR_OK)
            rc = run(im);
        if (rc != ERR_OK)
            store_rollback(s);
        if (im->file.bytes > BULK_BYTES) {
            err_code end = store_bulk(s, 0, rc == ERR_OK ? im->e : NULL);
            rc = rc == ERR_OK ? end : rc;
        }
        data_chunk_close(&im->file);
        if (rc == ERR_OK)
            rc = verdict(im);
        st->left_out = im->left_out;
    }
    data_filter_close(im->filter);
    free(im);
    return rc;
}

/* ---- single items ------------------------------------------------------------------------- */

err_code data_item(struct store *s, int64_t id, struct arena *mem, struct str *kind, struct str *body, struct err *e)
{
    struct store_query q;
    TRY(store_query(s, &q, e, "SELECT i.kind, b.body FROM items i JOIN bodies b ON b.item = i.id WHERE i.id = ?", "i", id));
    if (!q.more)
        return err_set(e, ERR_DATA, "store '%s' has no item %lld", store_path(s), (long long)id);
    *kind = str_dup(mem, store_str(&q, 0));
    *body = str_dup(mem, store_str(&q, 1));
    store_end(&q);
    return ERR_OK;
}

/* The file row that stands for the program itself in a source. */
static err_code own_file(struct store *s, const char *source, int64_t *file, struct err *e)
{
    static const char zero[16];
    int64_t id = 0;
    TRY(source_id(s, source, &id, e));
    TRY(store_get(s, file, 0, e, "SELECT id FROM files WHERE source = ? AND path = '' AND superseded_at IS NULL", "i", id));
    if (*file)
        return ERR_OK;
    TRY(store_exec(s, e, "INSERT INTO files(source, path, hash, bytes, options, done) VALUES(?,'',?,0,'program',1)", "ib", id, zero,
                   (int64_t)sizeof zero));
    *file = store_last_id(s);
    return ERR_OK;
}

static err_code add_own(struct store *s, const char *source, const struct data_item_info *info, struct str body, int64_t *id, struct err *e)
{
    int64_t file = 0, next = 0, there = 0;
    int added;
    TRY(own_file(s, source, &file, e));
    TRY(store_get(s, &next, 1, e, "SELECT 1 + ifnull(max(id), 0) FROM items", ""));
    TRY(add_item(s, &next, info, body, id, &added, e));
    TRY(store_get(s, &there, 0, e, "SELECT 1 FROM source_rows WHERE file = ? AND line = ?", "ii", file, *id));
    if (there)
        return ERR_OK;
    TRY(store_exec(s, e, "INSERT INTO source_rows(file, line, item) VALUES(?,?,?)", "iii", file, *id, *id));
    return store_exec(s, e, "UPDATE files SET rows = rows + 1, added = added + ? WHERE id = ?", "ii", (int64_t)added, file);
}

err_code data_item_add(struct store *s, const char *source, const char *kind, struct str body, int64_t *id, struct err *e)
{
    struct data_reader r;
    struct data_item_info info;
    struct sbuf out;
    data_reader_init(&r, DATA_AUTO, NULL);
    sbuf_init(&out, 1LL << 31);
    err_code rc = data_read_row(&r, body, &out, &info, e);
    if (rc == ERR_OK && strcmp(kind, data_kind_name[info.kind]))
        rc = err_set(e, ERR_DATA, "an item is a %s, not a %s", data_kind_name[info.kind], kind);
    if (rc == ERR_OK)
        rc = add_own(s, source, &info, sbuf_str(&out), id, e);
    sbuf_release(&out);
    data_reader_release(&r);
    return rc;
}
