/* Repository tasks (SWE style): a patch in, whether the named tests pass out.
 *
 *   struct repo_store *s = repo_store_open(1LL << 30);              base trees, shared by all samples of a task
 *   TRY(repo_task_parse(item, &opts, &mem, &t, e));                 a row in the form of SWE-bench
 *   repo_judge(worker, s, &t, model_patch, &mem, &v);               from a task of the sandbox pool
 *
 * The tree of base_commit is read from a local clone by libgit2, without history; the model's patch is applied in memory, its
 * changes to tests and to what configures the test runner are dropped and named, test_patch is applied, and the tests run in
 * the box. Each outcome comes from a runner that shares no process with the code under test (docs/repo-tasks.md).
 *
 * err: ERR_DATA the task's fault (no such commit, test_patch does not apply); ERR_IO the clone cannot be read. What breaks on our side
 *   is REPO_CRASHED: never score it.
 * det: the outcome is a function of clone, task and patch as far as the tests themselves are; `ms` is not.
 * Threads: a store and a task are shared; a judgement is one thread's.
 */
#ifndef HONE_REWARDS_REPO_H
#define HONE_REWARDS_REPO_H

#include "core/arena.h"
#include "core/cdecl.h"
#include "core/json.h"
#include "sandbox/sandbox.h"

CDECL_BEGIN

/* ---- trees */

struct repo_tree {
    const struct sandbox_file *files; /* by name, as str_cmp orders them */
    int64_t n;
    int64_t left_out;                 /* submodules, and links that leave the tree */
};
/* The tree of a commit (full or abbreviated id) of the repository at `path` (bare or not); later commits are not looked at. Lives in mem. */
err_code repo_tree_read(const char *path, const char *commit, struct arena *mem, struct repo_tree *t, struct err *e);

/* Changes over a tree, at most one per name; SANDBOX_GONE removes. */
enum { REPO_EDITS_MAX = 2048 };
struct repo_edits {
    struct sandbox_file f[REPO_EDITS_MAX];
    int n;
};
/* The file as it is with the edits, or NULL. */
const struct sandbox_file *repo_find(const struct repo_tree *t, const struct repo_edits *x, struct str name);
/* 1: may be written. 0: *why says why not: absolute, "..", ".git" in any spelling, not plain. */
int repo_path_ok(struct str name, const char **why);

/* Applies a unified diff as git writes it: exact context; a hunk whose place is another than its header says is
 * taken when its lines are found in exactly one place. Renames, copies, modes, links and "No newline" are known; binary patches are refused.
 * All or nothing: on ERR_DATA x is unchanged and e names file and hunk. New bytes live in mem. det: pure. */
err_code repo_patch_apply(const struct repo_tree *t, struct repo_edits *x, struct str patch, struct arena *mem, struct err *e);

/* ---- tasks */

struct repo_task_opts {
    const char *clones;   /* folder of local clones: REPO for "owner/name" is CLONES/owner/name(.git) or CLONES/owner__name(.git) */
    double time_limit_s;  /* for rows that state none; 0 = 300 */
    int64_t memory_bytes; /* for rows without limits; 0 = 4 GiB */
};
struct repo_task {
    struct str id, commit, test_patch, gold;
    const char *clone;                 /* path */
    struct str *tests;                 /* FAIL_TO_PASS, then PASS_TO_PASS */
    int n_fail, n_pass;
    const char **protect;              /* further patterns of names that the model's patch may not change; NULL ends */
    int runner;                        /* 0 pytest for ids with "::" when it is installed; 1 always the plain one; 2 pytest */
    struct sandbox_limits limits;
};
/* Strings are borrowed from o. ERR_DATA names the member. */
err_code repo_task_parse(const json_t *o, const struct repo_task_opts *opts, struct arena *mem, struct repo_task *t, struct err *e);

/* name, 1 when it has a score, meaning */
#define REPO_OUTCOMES(X)                                                                        \
    X(RIGHT, "right", 1, "every test of FAIL_TO_PASS and PASS_TO_PASS passed")                  \
    X(WRONG, "wrong", 1, "a test did not pass")                                                 \
    X(UNPARSABLE, "unparsable", 1, "the patch is none, does not apply or writes where it may not") \
    X(TIMEOUT, "timeout", 1, "the tests did not end within the limits")                         \
    X(CRASHED, "crashed", 0, "the task or the sandbox failed: never score it")
enum repo_outcome {
#define X(name, text, scored, meaning) REPO_##name,
    REPO_OUTCOMES(X)
#undef X
    REPO_OUTCOME_N
};
const char *repo_outcome_name(enum repo_outcome o);

/* Of one test. name, meaning */
#define REPO_TESTS(X)                                                         \
    X(missing, "was not run: no such test, or the run ended before it")       \
    X(passed, "ran to its end without a failure")                             \
    X(failed, "an assertion failed")                                          \
    X(error, "an exception, in the test or around it")                        \
    X(skipped, "skipped: not passed")                                         \
    X(unsupported, "the runner lacks what it needs: nobody's fault but ours") \
    X(tampered, "the process that ran it broke the rules: nothing it said counts")
enum repo_test {
#define X(name, text) REPO_TEST_##name,
    REPO_TESTS(X)
#undef X
    REPO_TEST_N
};
const char *repo_test_name(enum repo_test t);

struct repo_verdict {
    enum repo_outcome outcome;
    int fail_passed, pass_passed;  /* of FAIL_TO_PASS, of PASS_TO_PASS */
    unsigned char *each;           /* [n_fail + n_pass] enum repo_test */
    int dropped;                   /* changes of the patch that were not made */
    char why[400];
    double wall_ms, cpu_ms;
    int64_t mem_peak;
    struct str out, err;           /* of the run, each cut to 64 KiB; in the caller's arena */
};

struct repo_store;
struct repo_store *repo_store_open(int64_t max_bytes); /* keeps base trees up to this size, least recently used first out */
void repo_store_close(struct repo_store *s);
void repo_judge(struct sandbox_worker *w, struct repo_store *s, const struct repo_task *t, struct str patch, struct arena *mem,
                struct repo_verdict *v);

/* A batch on all workers, in order. */
struct repo_request {
    const struct repo_task *task;
    struct str patch;
};
void repo_judge_all(struct sandbox *box, struct repo_store *s, const struct repo_request *q, int64_t n, struct arena *mem, struct repo_verdict *out);

/* What the runner reported, read with distrust: each test of the task once, in any order. n_tests outcomes to `each`. ERR_DATA: not well formed. */
err_code repo_report_parse(struct str report, int n_tests, unsigned char *each, int *canaries, int *ended, char *note, int64_t note_n, struct err *e);

CDECL_END

#endif
