/* The store: one SQLite file per project. Everything a run read or made is a row in it, and no row is
 * ever deleted. docs/store.md has the schema and canned queries.
 *
 *   struct store *s;
 *   TRY(store_open("hone.db", STORE_WRITE, "hone sft", &s, e));
 *   struct store_run run;
 *   TRY(store_run_begin(s, &(struct store_run_info){.kind = "sft", .name = "out/demo", ...}, &run, e));
 *   for each step:
 *       TRY(store_begin(s, e));                       one transaction per step
 *       TRY(store_step(&run, step, epoch, e));
 *       TRY(store_metric(&run, step, "loss", loss, e));
 *       TRY(store_commit(s, e));
 *       if (checkpoint due) { TRY(store_sync(s, e)); write the checkpoint of `step`; }
 *   TRY(store_run_end(&run, "done", NULL, e));
 *   store_close(s);
 *
 * Writers: one process at a time. The writer holds a lock beside the file (PATH-lock) that the kernel
 * drops when it dies; a second writer gets ERR_BUSY with the holder's name, process and start. Readers
 * (STORE_READ, sqlite3, ...) are never blocked and never block.
 * Durability: what is committed survives kill -9 at once, and a power cut from the next store_sync on.
 * Not thread-safe: one struct store per thread that uses it.
 * Errors: ERR_BUSY locked; ERR_IO cannot open, disk full, read-only; ERR_MISMATCH not a hone store or
 * written by a newer hone; ERR_DATA corrupt.
 */
#ifndef HONE_DATASETS_STORE_H
#define HONE_DATASETS_STORE_H

#include <stdint.h>

#include "core/cdecl.h"
#include "core/err.h"
#include "core/str.h"

CDECL_BEGIN

struct store;
enum store_mode { STORE_READ = 1, STORE_WRITE };

/* STORE_WRITE makes the file when it is missing and brings an older schema forward; STORE_READ needs
 * the file. who: the holder's name in other processes' ERR_BUSY message, copied. */
err_code store_open(const char *path, enum store_mode mode, const char *who, struct store **out, struct err *e);
void store_close(struct store *s); /* rolls back an open transaction; NULL is fine */
const char *store_path(const struct store *s);

/* Transactions do not nest. Rows written outside of one commit one by one, which is slow. */
err_code store_begin(struct store *s, struct err *e);
err_code store_commit(struct store *s, struct err *e);
void store_rollback(struct store *s); /* fine when none is open */
/* Flushes what is committed to the disk: before a checkpoint is written. Not inside a transaction. */
err_code store_sync(struct store *s, struct err *e);

/* Around a bulk load (on = 1, then 0): more pages in memory and fewer, larger copies from the log into the file. */
err_code store_bulk(struct store *s, int on, struct err *e);

/* ---- any statement ------------------------------------------------------------------------ *
 * sql must be a string literal (its address is the key of the prepared statement cache). `args` has
 * one letter per '?': i int64_t, d double (NaN is stored as NULL), t const char * (NULL is NULL),
 * s struct str (p NULL is NULL), b const void *, int64_t bytes (NULL is NULL). */
err_code store_exec(struct store *s, struct err *e, const char *sql, const char *args, ...);
/* Rows: TRY(store_query(s, &q, e, sql, "i", id)); while (q.more) { ...; TRY(store_next(&q, e)); }
 * A query that is left early needs store_end; the same literal must not be open twice. */
struct store_query {
    struct store *s;
    void *st;
    int more;
};
err_code store_query(struct store *s, struct store_query *q, struct err *e, const char *sql, const char *args, ...);
err_code store_next(struct store_query *q, struct err *e);
void store_end(struct store_query *q); /* fine at any time */
int64_t store_i64(const struct store_query *q, int col);
double store_f64(const struct store_query *q, int col);      /* NULL reads as NaN */
struct str store_str(const struct store_query *q, int col);  /* text or blob; borrowed until the next row */
int64_t store_last_id(const struct store *s);
int64_t store_changes(const struct store *s); /* rows that the last INSERT, UPDATE or DELETE touched */
/* One integer; fallback when there is no row. */
err_code store_get(struct store *s, int64_t *out, int64_t fallback, struct err *e, const char *sql, const char *args, ...);

/* ---- runs --------------------------------------------------------------------------------- *
 * A run has attempts: one per process that worked on it. A resume says which step its checkpoint holds;
 * rows that earlier attempts wrote for later steps stay in the tables *_all and leave the views
 * (steps, metrics, rollouts, verdicts, events, evals). So after kill -9 and resume the views have the
 * rows of an uninterrupted run, provided that all rows of step N are committed before the checkpoint
 * of step N is written. Wall times live in `timings` and in columns *_ms: they differ from run to run. */
struct store_run {
    struct store *s;
    int64_t id, attempt; /* attempt counts from 1 */
};

struct store_run_info {
    const char *kind;    /* "sft", "grpo", "rollout", "eval", ... */
    const char *name;    /* how a resume finds it: the output folder */
    const char *config;  /* the full effective configuration, as text */
    const char *code;    /* version of the program */
    const char *provenance; /* commit of the recipe, see data_provenance; NULL = none */
    int64_t seed;
    int64_t snapshot;    /* data it reads, see data_plan_snapshot; 0 = none */
};
err_code store_run_begin(struct store *s, const struct store_run_info *info, struct store_run *out, struct err *e);
/* The latest run of that name; *id 0 when there is none. */
err_code store_run_find(struct store *s, const char *name, int64_t *id, struct err *e);
/* Goes on behind step_done (0: from the start). now: config (NULL = unchanged), code and provenance of this part; the rest is not
 * read. ERR_DATA: no such run. */
err_code store_run_resume(struct store *s, int64_t id, int64_t step_done, const struct store_run_info *now, struct store_run *out, struct err *e);
/* status: "done", "stopped" (Ctrl-C) or "failed"; a run that was killed has none. why may be NULL. */
err_code store_run_end(struct store_run *r, const char *status, const char *why, struct err *e);
err_code store_run_snapshot(struct store *s, int64_t id, int64_t *snapshot, struct err *e);

/* Rows of a step; step 0 is "before the first". Strings are copied. */
err_code store_step(struct store_run *r, int64_t step, int64_t epoch, struct err *e);
err_code store_metric(struct store_run *r, int64_t step, const char *name, double value, struct err *e);
err_code store_timing(struct store_run *r, int64_t step, const char *name, double value, struct err *e);
/* Counted happenings: rows dropped, truncations, retries. detail may be NULL. */
err_code store_event(struct store_run *r, int64_t step, const char *name, int64_t count, const char *detail, struct err *e);
/* A held-out figure: set "heldout", name "pass@1", n = problems behind it. */
/* Tokens that each of n experts of a layer got in the step, and its violation: most / mean - 1. */
err_code store_load(struct store_run *r, int64_t step, int64_t layer, const int64_t *tokens, int64_t n, double violation, struct err *e);
err_code store_eval(struct store_run *r, int64_t step, const char *set, const char *name, double value, int64_t n, struct err *e);

struct store_rollout {
    const char *purpose;        /* "train", "eval", "chat", ... */
    int64_t prompt, sample;     /* key inside (step, purpose): prompt number and sample number */
    int64_t item;               /* data item of the prompt, 0 = none */
    const int32_t *prompt_ids;  /* [n_prompt]; n_prompt 0 = not stored with this row */
    int64_t n_prompt;
    const int32_t *ids;         /* [n] what was sampled */
    const float *logp;          /* [n] nats; NULL = not recorded */
    const uint16_t *routes;     /* [n, route_width] experts; NULL = not recorded */
    int64_t n, route_width;
    struct str text;            /* of ids */
    const char *stop;           /* stop reason */
    double reward, advantage;   /* NaN = none */
    int used;                   /* 1: in the loss; 0: left out, `why` says why */
    const char *why;            /* may be NULL */
};
err_code store_rollout(struct store_run *r, int64_t step, const struct store_rollout *o, struct err *e);

struct store_verdict {
    const char *purpose;        /* of its rollout, with prompt and sample */
    int64_t prompt, sample;
    const char *reward;         /* name of the verifier */
    const char *outcome;        /* "right", "wrong", "unparsable", "timeout", "crashed", ... */
    double score;               /* NaN: no score (infrastructure failure) */
    const char *why;            /* may be NULL */
    double wall_ms;
};
err_code store_verdict(struct store_run *r, int64_t step, const struct store_verdict *v, struct err *e);

CDECL_END

#endif
