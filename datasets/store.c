/* Opening, migrating, statements, transactions. */
#include "datasets/store.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "datasets/lock.h"
#include "datasets/schema.h"
#include "datasets/vfs.h"

enum { MAX_STATEMENTS = 256, BUSY_WAIT_MS = 5000 };

struct store {
    sqlite3 *db;
    struct store_lock *lock; /* STORE_WRITE only */
    enum store_mode mode;
    char path[PATH_MAX];
    struct {
        const char *sql;
        sqlite3_stmt *st;
    } cached[MAX_STATEMENTS];
    int n_cached;
};

const char *store_path(const struct store *s)
{
    return s->path;
}

static err_code failed(const struct store *s, int rc, const char *doing, struct err *e)
{
    const char *p = s->path, *why = s->db ? sqlite3_errmsg(s->db) : sqlite3_errstr(rc);
    switch (rc & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return err_set(e, ERR_BUSY, "cannot %s store '%s': another program holds it; hint: close it there and try again", doing, p);
    case SQLITE_FULL:
        return err_set(e, ERR_IO, "cannot %s store '%s': the disk is full; hint: free space and run the same command again, what was committed is safe", doing, p);
    case SQLITE_READONLY:
        return err_set(e, ERR_IO, "cannot %s store '%s': it is read-only", doing, p);
    case SQLITE_NOTADB:
        return err_set(e, ERR_MISMATCH, "'%s' is not a store: not an SQLite file", p);
    case SQLITE_CORRUPT:
        return err_set(e, ERR_DATA, "cannot %s store '%s': %s; hint: restore a copy, or save what is left with sqlite3 '.recover'", doing, p, why);
    case SQLITE_CONSTRAINT:
        return err_set(e, ERR_DATA, "cannot %s store '%s': %s", doing, p, why);
    case SQLITE_TOOBIG:
        return err_set(e, ERR_LIMIT, "cannot %s store '%s': a value is larger than SQLite takes", doing, p);
    default:
        return err_set(e, ERR_IO, "cannot %s store '%s': %s", doing, p, why);
    }
}

static err_code run_sql(struct store *s, const char *sql, const char *doing, struct err *e)
{
    int rc = sqlite3_exec(s->db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? ERR_OK : failed(s, rc, doing, e);
}

/* ---- opening ------------------------------------------------------------------------------ */

static err_code pragma_get(struct store *s, const char *sql, int64_t *out, struct err *e)
{
    sqlite3_stmt *st;
    int rc = sqlite3_prepare_v2(s->db, sql, -1, &st, NULL);
    if (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        *out = sqlite3_column_int64(st, 0);
        rc = SQLITE_OK;
    }
    err_code answer = rc == SQLITE_OK ? ERR_OK : failed(s, rc, "read", e);
    sqlite3_finalize(st);
    return answer;
}

static err_code connect(struct store *s, int immutable, struct err *e)
{
    int flags = SQLITE_OPEN_NOMUTEX | (s->mode == STORE_WRITE ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY);
    char *uri = immutable ? sqlite3_mprintf("file:%w?immutable=1", s->path) : NULL;
    int rc = sqlite3_open_v2(uri ? uri : s->path, &s->db, flags | (immutable ? SQLITE_OPEN_URI : 0), store_vfs());
    sqlite3_free(uri);
    if (rc != SQLITE_OK)
        return failed(s, rc, "open", e);
    sqlite3_busy_timeout(s->db, BUSY_WAIT_MS);
    return ERR_OK;
}

/* A folder that cannot be written to has no room for the reader's index of the log: read the file as it is. */
static err_code connect_reader(struct store *s, struct err *e)
{
    char wal[PATH_MAX + 8];
    int64_t version;
    TRY(connect(s, 0, e));
    if (pragma_get(s, "PRAGMA user_version", &version, e) == ERR_OK)
        return ERR_OK;
    snprintf(wal, sizeof wal, "%s-wal", s->path);
    int rc = sqlite3_errcode(s->db) & 0xff;
    if ((rc != SQLITE_CANTOPEN && rc != SQLITE_READONLY) || file_exists(wal) || access(s->path, R_OK))
        return e ? e->code : ERR_IO;
    sqlite3_close(s->db);
    s->db = NULL;
    return connect(s, 1, e);
}

static err_code check_identity(struct store *s, int64_t *version, struct err *e)
{
    int64_t app = 0, objects = 0;
    TRY(pragma_get(s, "PRAGMA application_id", &app, e));
    TRY(pragma_get(s, "PRAGMA user_version", version, e));
    TRY(pragma_get(s, "SELECT count(*) FROM sqlite_master", &objects, e));
    int fresh = app == 0 && *version == 0 && objects == 0 && s->mode == STORE_WRITE;
    if (app != STORE_APPLICATION_ID && !fresh)
        return err_set(e, ERR_MISMATCH, "'%s' is an SQLite file, but not a hone store", s->path);
    if (*version > store_schema_version)
        return err_set(e, ERR_MISMATCH, "store '%s' has schema version %lld, this hone knows up to %d; hint: use the newer hone",
                       s->path, (long long)*version, store_schema_version);
    if (s->mode == STORE_READ && *version < store_schema_version)
        return err_set(e, ERR_MISMATCH, "store '%s' has the older schema version %lld of %d; hint: any command that writes to it brings it forward",
                       s->path, (long long)*version, store_schema_version);
    return ERR_OK;
}

static err_code migrate(struct store *s, int64_t version, struct err *e)
{
    for (int64_t v = version; v < store_schema_version; v++) {
        char mark[100];
        snprintf(mark, sizeof mark, "PRAGMA application_id = %d; PRAGMA user_version = %d;", STORE_APPLICATION_ID, (int)v + 1);
        TRY(run_sql(s, "BEGIN IMMEDIATE", "bring forward", e));
        err_code rc = run_sql(s, store_schema[v], "bring forward", e);
        if (rc == ERR_OK)
            rc = run_sql(s, mark, "bring forward", e);
        if (rc == ERR_OK)
            rc = run_sql(s, "COMMIT", "bring forward", e);
        if (rc != ERR_OK) {
            store_rollback(s);
            return rc;
        }
    }
    return ERR_OK;
}

static err_code open_writer(struct store *s, const char *who, struct err *e)
{
    int64_t version;
    if (file_exists(s->path) && access(s->path, W_OK))
        return err_sys(e, ERR_IO, "cannot open store '%s' for writing", s->path);
    TRY(store_lock_take(s->path, who, &s->lock, e));
    TRY(connect(s, 0, e));
    TRY(check_identity(s, &version, e));
    if (version == 0)
        TRY(run_sql(s, "PRAGMA page_size = 8192", "set up", e));
    TRY(run_sql(s, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON;"
                   "PRAGMA cache_size = -65536; PRAGMA wal_autocheckpoint = 4000; PRAGMA temp_store = MEMORY", "set up", e));
    return migrate(s, version, e);
}

static err_code open_reader(struct store *s, struct err *e)
{
    int64_t version;
    if (!file_exists(s->path))
        return err_sys(e, ERR_IO, "cannot open store '%s'", s->path);
    TRY(connect_reader(s, e));
    TRY(check_identity(s, &version, e));
    return run_sql(s, "PRAGMA cache_size = -65536; PRAGMA temp_store = MEMORY", "set up", e);
}

err_code store_open(const char *path, enum store_mode mode, const char *who, struct store **out, struct err *e)
{
    struct err local = {0};
    if (!e)
        e = &local;
    struct store *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(e, ERR_IO, "cannot open store '%s': out of memory", path);
    s->mode = mode;
    err_code rc = snprintf(s->path, sizeof s->path, "%s", path) >= (int)sizeof s->path || !*path
                      ? err_set(e, ERR_IO, "cannot open store '%s': bad path", path) : ERR_OK;
    if (rc == ERR_OK)
        rc = mode == STORE_WRITE ? open_writer(s, who ? who : "hone", e) : open_reader(s, e);
    if (rc != ERR_OK) {
        store_close(s);
        return rc;
    }
    *out = s;
    return ERR_OK;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    for (int i = 0; i < s->n_cached; i++)
        sqlite3_finalize(s->cached[i].st);
    store_rollback(s);
    if (s->db && sqlite3_close(s->db) != SQLITE_OK)
        BUG("store '%s' closed while a query is open", s->path);
    store_lock_drop(s->lock);
    free(s);
}

/* ---- transactions ------------------------------------------------------------------------- */

err_code store_begin(struct store *s, struct err *e)
{
    return run_sql(s, "BEGIN IMMEDIATE", "write", e);
}

err_code store_commit(struct store *s, struct err *e)
{
    err_code rc = run_sql(s, "COMMIT", "write", e);
    if (rc != ERR_OK)
        store_rollback(s);
    return rc;
}

void store_rollback(struct store *s)
{
    if (s->db && !sqlite3_get_autocommit(s->db))
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
}

/* A commit under synchronous=FULL flushes the whole log, all earlier commits included. */
err_code store_sync(struct store *s, struct err *e)
{
    int64_t version = 0;
    char touch[80];
    assert(sqlite3_get_autocommit(s->db));
    TRY(pragma_get(s, "PRAGMA user_version", &version, e));
    snprintf(touch, sizeof touch, "PRAGMA user_version = %d", (int)version);
    TRY(run_sql(s, "PRAGMA synchronous = FULL", "flush", e));
    err_code rc = run_sql(s, touch, "flush", e);
    TRY(run_sql(s, "PRAGMA synchronous = NORMAL", "flush", e));
    return rc;
}

err_code store_bulk(struct store *s, int on, struct err *e)
{
    assert(sqlite3_get_autocommit(s->db));
    return run_sql(s, on ? "PRAGMA cache_size = -262144; PRAGMA wal_autocheckpoint = 32768; PRAGMA journal_size_limit = 67108864"
                         : "PRAGMA cache_size = -65536; PRAGMA wal_autocheckpoint = 4000", "write", e);
}

/* ---- statements --------------------------------------------------------------------------- */

static err_code prepared(struct store *s, const char *sql, sqlite3_stmt **out, struct err *e)
{
    for (int i = 0; i < s->n_cached; i++)
        if (s->cached[i].sql == sql) {
            *out = s->cached[i].st;
            if (sqlite3_stmt_busy(*out))
                BUG("statement is open already: %s", sql);
            return ERR_OK;
        }
    if (s->n_cached == MAX_STATEMENTS)
        BUG("more than %d different statements", MAX_STATEMENTS);
    int rc = sqlite3_prepare_v3(s->db, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL);
    if (rc == SQLITE_ERROR)
        BUG("bad statement: %s: %s", sqlite3_errmsg(s->db), sql);
    if (rc != SQLITE_OK)
        return failed(s, rc, "read", e);
    s->cached[s->n_cached].sql = sql;
    s->cached[s->n_cached++].st = *out;
    return ERR_OK;
}

static int bind_bytes(sqlite3_stmt *st, int at, const void *p, int64_t n, int blob)
{
    if (!p && n == 0)
        return sqlite3_bind_null(st, at);
    if (blob)
        return sqlite3_bind_blob64(st, at, p, (sqlite3_uint64)n, SQLITE_STATIC);
    return sqlite3_bind_text64(st, at, p, (sqlite3_uint64)n, SQLITE_STATIC, SQLITE_UTF8);
}

static int bind_all(sqlite3_stmt *st, const char *args, va_list ap)
{
    int rc = SQLITE_OK, at = 1;
    for (const char *a = args; *a && rc == SQLITE_OK; a++, at++) {
        if (*a == 'i') {
            rc = sqlite3_bind_int64(st, at, va_arg(ap, int64_t));
        } else if (*a == 'd') {
            rc = sqlite3_bind_double(st, at, va_arg(ap, double));
        } else if (*a == 't') {
            const char *t = va_arg(ap, const char *);
            rc = bind_bytes(st, at, t, t ? (int64_t)strlen(t) : 0, 0);
        } else if (*a == 's') {
            struct str v = va_arg(ap, struct str);
            rc = bind_bytes(st, at, v.p, v.n, 0);
        } else if (*a == 'b') {
            const void *p = va_arg(ap, const void *);
            rc = bind_bytes(st, at, p, va_arg(ap, int64_t), 1);
        } else {
            BUG("unknown argument letter '%c'", *a);
        }
    }
    assert(rc != SQLITE_OK || sqlite3_bind_parameter_count(st) == at - 1);
    return rc;
}

static err_code vquery(struct store *s, struct store_query *q, struct err *e, const char *sql, const char *args, va_list ap)
{
    sqlite3_stmt *st;
    *q = (struct store_query){.s = s};
    TRY(prepared(s, sql, &st, e));
    int rc = bind_all(st, args, ap);
    if (rc != SQLITE_OK)
        return failed(s, rc, "write", e);
    q->st = st;
    return store_next(q, e);
}

err_code store_query(struct store *s, struct store_query *q, struct err *e, const char *sql, const char *args, ...)
{
    va_list ap;
    va_start(ap, args);
    err_code rc = vquery(s, q, e, sql, args, ap);
    va_end(ap);
    return rc;
}

err_code store_next(struct store_query *q, struct err *e)
{
    int rc = sqlite3_step(q->st);
    q->more = rc == SQLITE_ROW;
    if (rc == SQLITE_ROW)
        return ERR_OK;
    err_code answer = rc == SQLITE_DONE ? ERR_OK : failed(q->s, rc, sqlite3_stmt_readonly(q->st) ? "read" : "write", e);
    store_end(q);
    return answer;
}

void store_end(struct store_query *q)
{
    if (!q->st)
        return;
    sqlite3_reset(q->st);
    sqlite3_clear_bindings(q->st);
    q->st = NULL;
    q->more = 0;
}

err_code store_exec(struct store *s, struct err *e, const char *sql, const char *args, ...)
{
    struct store_query q;
    va_list ap;
    va_start(ap, args);
    err_code rc = vquery(s, &q, e, sql, args, ap);
    va_end(ap);
    store_end(&q);
    return rc;
}

err_code store_get(struct store *s, int64_t *out, int64_t fallback, struct err *e, const char *sql, const char *args, ...)
{
    struct store_query q;
    va_list ap;
    va_start(ap, args);
    err_code rc = vquery(s, &q, e, sql, args, ap);
    va_end(ap);
    if (rc == ERR_OK)
        *out = q.more ? store_i64(&q, 0) : fallback;
    store_end(&q);
    return rc;
}

int64_t store_i64(const struct store_query *q, int col)
{
    return sqlite3_column_int64(q->st, col);
}

double store_f64(const struct store_query *q, int col)
{
    return sqlite3_column_type(q->st, col) == SQLITE_NULL ? NAN : sqlite3_column_double(q->st, col);
}

struct str store_str(const struct store_query *q, int col)
{
    const char *p = sqlite3_column_type(q->st, col) == SQLITE_BLOB ? sqlite3_column_blob(q->st, col)
                                                                   : (const char *)sqlite3_column_text(q->st, col);
    return (struct str){p, sqlite3_column_bytes(q->st, col)};
}

int64_t store_last_id(const struct store *s)
{
    return sqlite3_last_insert_rowid(s->db);
}

int64_t store_changes(const struct store *s)
{
    return sqlite3_changes64(s->db);
}
