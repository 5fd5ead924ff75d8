/* A fresh store in a folder of its own, files to import, and whole tables as text. */
#ifndef HONE_TESTS_DATA_UTIL_H
#define HONE_TESTS_DATA_UTIL_H

#include <sys/wait.h>
#include <unistd.h>

#include "core/fault.h"
#include "core/file.h"
#include "core/par.h"
#include "datasets/datasets.h"
#include "tests/test.h"

static char work_dir[] = "/tmp/hone-data-XXXXXX";

#define MUST(call)                       \
    do {                                 \
        struct err e_ = {0}, *e = &e_;   \
        if ((call) != ERR_OK)            \
            fail_msg("%s", e_.msg);      \
    } while (0)

static inline const char *in_dir(const char *name)
{
    static char path[8][300];
    static int k;
    k = (k + 1) % 8;
    snprintf(path[k], sizeof path[k], "%s/%s", work_dir, name);
    return path[k];
}

static inline void remove_store(const char *name)
{
    char p[300];
    unlink(in_dir(name));
    snprintf(p, sizeof p, "%s-wal", in_dir(name));
    unlink(p);
    snprintf(p, sizeof p, "%s-shm", in_dir(name));
    unlink(p);
}

static inline struct store *open_store(const char *name)
{
    struct store *s;
    MUST(store_open(in_dir(name), STORE_WRITE, "test", &s, e));
    return s;
}

static inline struct store *fresh_store(const char *name)
{
    remove_store(name);
    return open_store(name);
}

static inline const char *write_file(const char *name, const char *text)
{
    MUST(file_write_atomic(in_dir(name), str_of(text), e));
    return in_dir(name);
}

static inline int64_t number(struct store *s, const char *sql)
{
    int64_t n = -1;
    MUST(store_get(s, &n, -1, e, sql, ""));
    return n;
}

/* Rows of a query of up to `cols` columns as lines of text. */
static inline void dump_rows(struct store *s, const char *sql, int cols, struct sbuf *b)
{
    struct store_query q;
    MUST(store_query(s, &q, e, sql, ""));
    while (q.more) {
        for (int c = 0; c < cols; c++) {
            sbuf_add(b, store_str(&q, c));
            sbuf_addc(b, '|');
        }
        sbuf_addc(b, '\n');
        MUST(store_next(&q, e));
    }
}

/* Everything but times. */
static inline void dump_data(struct store *s, struct sbuf *b)
{
    dump_rows(s, "SELECT id, name FROM sources ORDER BY id", 2, b);
    dump_rows(s, "SELECT id, source, path, hex(hash), bytes, options, bytes_done, lines_done, rows, added, bad, left_out, done, superseded_at FROM files ORDER BY id", 14, b);
    dump_rows(s, "SELECT i.id, hex(hash), kind, prompt, body FROM items i JOIN bodies b ON b.item = i.id ORDER BY i.id", 5, b);
    dump_rows(s, "SELECT seq, file, line, item FROM source_rows ORDER BY seq", 4, b);
    dump_rows(s, "SELECT file, line, reason FROM bad_lines ORDER BY file, line", 3, b);
    dump_rows(s, "SELECT id, hex(hash), sources, kinds, split, heldout, exclude, max_seq, items, excluded, hex(digest) FROM snapshots ORDER BY id", 11, b);
    dump_rows(s, "SELECT id, recipe, item, n, supervised, first_supervised FROM token_rows ORDER BY id", 6, b);
    dump_rows(s, "SELECT row, hex(ids), hex(weights), text FROM token_data ORDER BY row", 4, b);
    dump_rows(s, "SELECT plan, epoch, steps, batches, rows, tokens, supervised, dropped_long, truncated, dropped_unsupervised, hex(digest) FROM plan_epochs ORDER BY plan, epoch", 11, b);
    dump_rows(s, "SELECT plan, epoch, part, hex(token_rows), hex(ends) FROM plan_parts ORDER BY plan, epoch, part", 5, b);
}

/* Work that is killed at one write to the store after another and then done again leaves what undisturbed work leaves. */
struct kill_test {
    const char *store;              /* made anew for every point by prepare */
    int points[32], n_points;       /* which writes; the first must be 0: undisturbed */
    void (*prepare)(void *ctx);
    int (*work)(void *ctx);         /* in a child of its own; 0 = done */
    void *ctx;
};
/* How many children died. */
static inline int kill_run(const struct kill_test *k)
{
    struct sbuf whole, b;
    int died = 0;
    sbuf_init(&whole, 1 << 30);
    sbuf_init(&b, 1 << 30);
    for (int i = 0; i < k->n_points; i++) {
        int at = k->points[i];
        k->prepare(k->ctx);
        for (int again = at ? 0 : 1; again < 2; again++) {
            pid_t pid = fork();
            if (pid == 0) {
                char spec[40];
                snprintf(spec, sizeof spec, "sqlite:%d!", at);
                if (!again)
                    fault_set(spec);
                _exit(k->work(k->ctx));
            }
            int status;
            waitpid(pid, &status, 0);
            died += WIFSIGNALED(status);
            if (again)
                assert_int_equal(status, 0);
        }
        struct store *s = open_store(k->store);
        sbuf_clear(&b);
        dump_data(s, &b);
        store_close(s);
        if (i == 0)
            sbuf_add(&whole, sbuf_str(&b));
        assert_true(str_eq(sbuf_str(&whole), sbuf_str(&b)));
    }
    sbuf_release(&whole);
    sbuf_release(&b);
    return died;
}

#endif
