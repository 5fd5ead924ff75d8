/* The store. Fails when: a second writer gets in, a killed run's half-done steps stay visible after a
 * resume, a full disk loses what was committed or is not reported, a foreign or newer file is taken for
 * a store, bits of log-probs change on the way. */
#include <math.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/fault.h"
#include "core/file.h"
#include "datasets/datasets.h"
#include "tests/test.h"

static char dir[] = "/tmp/hone-store-XXXXXX", path[200];

static struct store *fresh(void)
{
    struct store *s;
    struct err w = {0};
    char wal[220];
    snprintf(path, sizeof path, "%s/t.db", dir);
    unlink(path);
    snprintf(wal, sizeof wal, "%s-wal", path);
    unlink(wal);
    if (store_open(path, STORE_WRITE, "test", &s, &w))
        fail_msg("%s", w.msg);
    return s;
}

#define MUST(call)                       \
    do {                                 \
        struct err e_ = {0}, *e = &e_;   \
        if ((call) != ERR_OK)            \
            fail_msg("%s", e_.msg);      \
    } while (0)

static int64_t count(struct store *s, const char *sql)
{
    int64_t n = -1;
    MUST(store_get(s, &n, -1, e, sql, ""));
    return n;
}

static void opens_and_reopens(void **state)
{
    (void)state;
    struct store *s = fresh();
    MUST(store_exec(s, e, "INSERT INTO sources(name) VALUES(?)", "t", "a"));
    assert_int_equal(store_last_id(s), 1);
    store_close(s);
    MUST(store_open(path, STORE_READ, NULL, &s, e));
    assert_int_equal(count(s, "SELECT count(*) FROM sources"), 1);
    struct err w = {0};
    assert_int_equal(store_exec(s, &w, "INSERT INTO sources(name) VALUES('b')", ""), ERR_IO);
    assert_non_null(strstr(w.msg, "read-only"));
    store_close(s);
}

static void one_writer(void **state)
{
    (void)state;
    struct store *s = fresh(), *t = NULL;
    struct err w = {0};
    assert_int_equal(store_open(path, STORE_WRITE, "other", &t, &w), ERR_BUSY);
    pid_t pid = fork();
    if (pid == 0) { /* another process: refused with the holder's name; reading is allowed */
        struct err f = {0};
        int bad = store_open(path, STORE_WRITE, "other", &t, &f) != ERR_BUSY || !strstr(f.msg, "'test' (process ");
        bad |= store_open(path, STORE_READ, NULL, &t, &f) != ERR_OK;
        _exit(bad);
    }
    int status;
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    store_close(s);
    MUST(store_open(path, STORE_WRITE, "other", &t, e));
    store_close(t);
    /* the lock dies with its holder, and a child that the holder left behind does not keep it */
    int pipe_fd[2];
    assert_int_equal(pipe(pipe_fd), 0);
    pid = fork();
    if (pid == 0) {
        struct err f = {0};
        if (store_open(path, STORE_WRITE, "holder", &t, &f))
            _exit(1);
        if (fork() == 0) {
            pid_t me = getpid();
            if (write(pipe_fd[1], &me, sizeof me) != sizeof me)
                _exit(1);
            sleep(60);
            _exit(0);
        }
        pause();
    }
    pid_t orphan;
    assert_int_equal(read(pipe_fd[0], &orphan, sizeof orphan), sizeof orphan);
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    MUST(store_open(path, STORE_WRITE, "next", &t, e));
    store_close(t);
    kill(orphan, SIGKILL);
    close(pipe_fd[0]);
    close(pipe_fd[1]);
}

static void write_steps(struct store_run *r, int64_t from, int64_t to)
{
    for (int64_t i = from; i <= to; i++) {
        float logp[2] = {-0.1f * (float)i, -1e-30f};
        int32_t ids[2] = {(int32_t)i, 7};
        struct store_rollout o = {.purpose = "train", .prompt = 3, .sample = 0, .ids = ids, .logp = logp, .n = 2, .text = STR("x"),
                                  .stop = "eos", .reward = 1, .advantage = NAN, .used = 1};
        struct store_verdict v = {"train", 3, 0, "math", "right", 1, NULL, 0.5};
        MUST(store_begin(r->s, e));
        MUST(store_step(r, i, 0, e));
        MUST(store_metric(r, i, "loss", 1.0 / (double)(i + 1), e));
        MUST(store_timing(r, i, "ms", 3, e));
        MUST(store_event(r, i, "dropped", 2, NULL, e));
        MUST(store_eval(r, i, "heldout", "pass@1", 0.5, 8, e));
        MUST(store_rollout(r, i, &o, e));
        MUST(store_verdict(r, i, &v, e));
        MUST(store_commit(r->s, e));
        if (i % 5 == 0)
            MUST(store_sync(r->s, e));
    }
}

/* Every view of a run as one text, without what names the run or tells the time. */
static void dump(struct store *s, int64_t run, struct sbuf *b)
{
    static const char *const sql[] = {
        "SELECT step, epoch, '', '' FROM steps WHERE run = ? ORDER BY step",
        "SELECT step, name, value, '' FROM metrics WHERE run = ? ORDER BY step, name",
        "SELECT step, name, count, ifnull(detail, '') FROM events WHERE run = ? ORDER BY step, name",
        "SELECT step, dataset || name, value, n FROM evals WHERE run = ? ORDER BY step, dataset, name",
        "SELECT step, prompt || stop || reward || sample, hex(ids), hex(logp) FROM rollouts WHERE run = ? ORDER BY step, prompt, sample",
        "SELECT step, reward, outcome, score FROM verdicts WHERE run = ? ORDER BY step, prompt, sample, reward",
    };
    for (size_t k = 0; k < sizeof sql / sizeof *sql; k++) {
        struct store_query q;
        MUST(store_query(s, &q, e, sql[k], "i", run));
        while (q.more) {
            for (int c = 0; c < 4; c++) {
                sbuf_add(b, store_str(&q, c));
                sbuf_addc(b, '|');
            }
            sbuf_addc(b, '\n');
            MUST(store_next(&q, e));
        }
    }
}

static void resume_gives_the_same_rows(void **state)
{
    (void)state;
    struct store *s = fresh();
    struct store_run r;
    struct store_run_info info = {.kind = "grpo", .name = "out/a", .config = "x=1", .code = "t", .seed = 1};
    MUST(store_run_begin(s, &info, &r, e));
    write_steps(&r, 0, 20);
    MUST(store_run_end(&r, "done", NULL, e));
    int64_t whole = r.id;

    info.name = "out/b";
    MUST(store_run_begin(s, &info, &r, e));
    write_steps(&r, 0, 3);            /* killed before the first checkpoint */
    MUST(store_run_resume(s, r.id, 0, &(struct store_run_info){.config = NULL, .code = "t", .provenance = "c0"}, &r, e));
    write_steps(&r, 0, 13);           /* checkpoint at 10 */
    MUST(store_run_resume(s, r.id, 10, &(struct store_run_info){.config = NULL, .code = "t", .provenance = "c10"}, &r, e));
    write_steps(&r, 11, 12);          /* killed again, twice */
    MUST(store_run_resume(s, r.id, 10, &(struct store_run_info){.config = "x=2", .code = "t", .provenance = "c10"}, &r, e));
    MUST(store_run_resume(s, r.id, 10, &(struct store_run_info){.config = NULL, .code = "t", .provenance = "c10"}, &r, e));
    write_steps(&r, 11, 20);
    MUST(store_run_end(&r, "done", NULL, e));
    int64_t found = 0;
    MUST(store_run_find(s, "out/b", &found, e));
    assert_int_equal(found, r.id);

    struct sbuf a, b;
    sbuf_init(&a, 1 << 20);
    sbuf_init(&b, 1 << 20);
    dump(s, whole, &a);
    dump(s, r.id, &b);
    assert_true(a.n > 1000);
    assert_string_equal(a.p, b.p);
    sbuf_release(&a);
    sbuf_release(&b);
    /* nothing was deleted: 4 + 14 + 2 + 10 steps were done for it */
    assert_int_equal(count(s, "SELECT count(*) FROM steps_all WHERE run = 2"), 30);
    assert_int_equal(count(s, "SELECT count(*) FROM attempts WHERE run = 2 AND attempt > 2 AND provenance = 'c10'"), 3);
    struct err w = {0};
    assert_int_equal(store_run_resume(s, 99, 1, &(struct store_run_info){.config = NULL, .code = "t", .provenance = "c1"}, &r, &w), ERR_DATA);
    store_close(s);
}

static void disk_full(void **state)
{
    (void)state;
    struct store *s = fresh();
    MUST(store_exec(s, e, "INSERT INTO sources(name) VALUES(?)", "t", "kept"));
    store_close(s);
    int refused = 0;
    for (int at = 1; at < 40; at++) { /* the disk fills up at every write in turn */
        char spec[40];
        snprintf(spec, sizeof spec, "sqlite:%d+", at);
        fault_set(spec);
        struct err w = {0};
        err_code rc = store_open(path, STORE_WRITE, "test", &s, &w);
        if (rc == ERR_OK) {
            rc = store_begin(s, &w);
            for (int i = 0; rc == ERR_OK && i < 300; i++)
                rc = store_exec(s, &w, "INSERT INTO sources(name) VALUES(hex(randomblob(500)))", "");
            if (rc == ERR_OK)
                rc = store_commit(s, &w);
            store_close(s);
        }
        fault_set(NULL);
        if (rc != ERR_OK) {
            refused++;
            assert_int_equal(rc, ERR_IO);
            assert_non_null(strstr(w.msg, "disk is full"));
        }
        MUST(store_open(path, STORE_READ, NULL, &s, e));
        assert_int_equal(count(s, "SELECT count(*) FROM sources WHERE name = 'kept'"), 1);
        int64_t n = count(s, "SELECT count(*) FROM sources");
        assert_int_equal((n - 1) % 300, 0); /* all rows of a transaction or none */
        store_close(s);
    }
    assert_true(refused > 5);
}

static void foreign_files(void **state)
{
    (void)state;
    struct store *s = fresh();
    struct err w = {0};
    MUST(store_exec(s, e, "PRAGMA user_version = 99", ""));
    store_close(s);
    assert_int_equal(store_open(path, STORE_WRITE, "test", &s, &w), ERR_MISMATCH);
    assert_non_null(strstr(w.msg, "version 99"));
    s = fresh();
    MUST(store_exec(s, e, "PRAGMA application_id = 5", ""));
    store_close(s);
    assert_int_equal(store_open(path, STORE_READ, NULL, &s, &w), ERR_MISMATCH);
    unlink(path);
    assert_int_equal(store_open(path, STORE_READ, NULL, &s, &w), ERR_IO);
    MUST(file_write_atomic(path, STR("this is not a database, but it is long enough to be looked at as one.......... "
                                     "and more ...................................................................."), e));
    assert_int_equal(store_open(path, STORE_WRITE, "test", &s, &w), ERR_MISMATCH);
    assert_int_equal(store_open("/nowhere/x.db", STORE_WRITE, "test", &s, &w), ERR_IO);
}

int main(void)
{
    if (!mkdtemp(dir))
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_and_reopens), cmocka_unit_test(one_writer), cmocka_unit_test(resume_gives_the_same_rows),
        cmocka_unit_test(disk_full), cmocka_unit_test(foreign_files),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    file_remove_tree(dir, NULL);
    return rc;
}
