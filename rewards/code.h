/* The code reward: a program and the tests of its task in, a verdict out.
 *
 * Structure before filters: tests and expected values never enter the process of the program.
 *   stdio     the program reads a test's input and its output is compared here, by a named rule
 *   assert    the tests run in a trusted process beside the program's; calls go over a pipe, results come back
 *             as plain values that are rebuilt before anything is compared (C++: the same, from the signature)
 *   unittest  Python suites in that same way; C suites (Unity) in the program's own process: `weak`
 * docs/code-rewards.md has the rules.
 *
 * det: the verdict is a function of task and program, for any number of workers; a limit that is only just
 *      reached is the exception, which is why limits count CPU time.
 * err: ERR_DATA a task that cannot be understood. What breaks on our side is the verdict IE: never score it.
 */
#ifndef HONE_REWARDS_CODE_H
#define HONE_REWARDS_CODE_H

#include "core/arena.h"
#include "core/cdecl.h"
#include "core/json.h"
#include "sandbox/sandbox.h"

CDECL_BEGIN

enum code_kind { CODE_STDIO, CODE_ASSERT, CODE_UNITTEST };

/* How output is compared. name, meaning */
#define CODE_COMPARE(X)                                                                               \
    X(tokens, "white-space separated words; case ignored unless flags say case_sensitive")            \
    X(float, "tokens; numbers within tol, absolute or relative (flags: float_absolute_tolerance ...)") \
    X(lines, "line by line, white space at line ends and blank lines at the end dropped")             \
    X(unordered, "lines as for `lines`, in any order")                                                \
    X(exact, "byte for byte")                                                                         \
    X(checker, "a Python program of the task decides, in a box of its own")
enum code_compare_mode {
#define X(name, text) CODE_COMPARE_##name,
    CODE_COMPARE(X)
#undef X
    CODE_COMPARE_N
};
struct code_compare {
    enum code_compare_mode mode;
    double abs_tol, rel_tol;
    int case_sensitive, space_sensitive;
    struct str checker; /* source; files input.txt, expected.txt, output.txt beside it; exit 0 right, 1 wrong */
};
/* 1 equal. Bytes by length; NaN equals nothing, infinities only themselves; no hex, no underscores in numbers. */
int code_compare(const struct code_compare *c, struct str expected, struct str got);
err_code code_compare_parse(const json_t *o, struct code_compare *c, struct err *e);

struct code_test {
    struct str name, in, out;
    int has_out;
};

struct code_task {
    enum code_kind kind;
    struct code_compare compare;
    struct code_test *tests;       /* stdio */
    int n_tests, n_left_out;       /* tests without an expected output are left out and counted */
    struct str test_code;          /* assert: joined asserts or the given code */
    struct str setup;              /* C++: in front of the tests */
    int n_asserts;                 /* where the task lists them one by one; else 0 */
    struct str entry_point, prompt, solution_file, compile;
    struct sandbox_file *files;    /* unittest: test files */
    int n_files;
    const char **modules;          /* unittest Python: the modules to run; NULL-terminated */
    int expect_tests;              /* number of tests that must have run; 0 = as many as the suite has */
    int needs_weak;                /* the tests can only run in the program's own process */
    struct sandbox_limits limits, compile_limits;
    json_t *from;                  /* the strings above live in it; released with the task */
};
/* Strings are borrowed from `o`, which the task keeps; tables live in mem. lang may be NULL (read from o). */
err_code code_task_parse(const json_t *o, const char *lang, struct arena *mem, struct code_task *t, struct err *e);
void code_task_release(struct code_task *t);
void code_task_time_limit(struct code_task *t, double seconds); /* of CPU; wall time is 3 * seconds + 2 */

struct code_program {
    const char *language;
    struct str code;
    const struct sandbox_file *files; /* instead of or beside code */
    int n_files;
};

struct code_opts {
    int stop;        /* at the first failure (all-or-nothing scores lose nothing by it) */
    int allow_weak;  /* run tasks that need the program's own process for their tests */
};

struct code_verdict {
    enum sandbox_verdict verdict;  /* of the task: the first failing test's */
    int passed, total, ran;        /* tests */
    int first_failed;              /* from 1; 0 none */
    int weak;                      /* rests on the program's own word or ran its tests in its own process */
    char why[300];
    unsigned char *each;           /* [ran] enum sandbox_verdict, in the caller's arena */
    double wall_ms, cpu_ms;        /* sums over the runs */
    int64_t mem_peak;
    int retries;
    struct str out, err;           /* of the failing run, or the last; cut to 64 KiB; in the caller's arena */
};
/* Judges one program. Runs on a worker of a pool opened with code_sandbox_opts. */
void code_judge(struct sandbox_worker *w, const struct code_task *t, const struct code_program *p, const struct code_opts *o,
                struct arena *mem, struct code_verdict *v);

/* Pool options with the modules that call-style tests need. */
struct sandbox_opts code_sandbox_opts(int workers);

/* Scores for GRPO. share = 0: 1 if AC, else 0. share = 1: passed / total. IE gives NaN: leave the sample out. */
double code_score(const struct code_verdict *v, int share);

/* A batch, in order, on all workers of the pool; what does not end by the deadline (seconds from now,
 * 0 = none) is IE. Counts of what was left out are in the verdicts. */
struct code_request {
    const struct code_task *task;
    struct code_program program;
};
void code_judge_all(struct sandbox *s, const struct code_request *q, int64_t n, const struct code_opts *o, double deadline_s, struct arena *mem,
                    struct code_verdict *out);

CDECL_END

#endif
