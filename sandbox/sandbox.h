/* Runs untrusted programs under limits and says what happened. Knows nothing of tests or rewards.
 *
 *   struct sandbox *s;
 *   sandbox_open(&s, &(struct sandbox_opts){.workers = 2}, &e);
 *   struct sandbox_task t = {.fn = grade, .ctx = sample};      grade() calls sandbox_run any number of times
 *   sandbox_submit(s, &t);                                     blocks while the queue is full
 *   sandbox_wait(s, &t);
 *   sandbox_close(s);
 *
 * A worker is a process tree of its own (docs/sandbox.md): a keeper on the host side, a box made once
 * (user, mount, network, IPC, UTS, cgroup and PID namespace, private read-only root), and per run new
 * PID, IPC and mount namespaces with a tmpfs of its own. A worker runs one program at a time.
 *
 * Errors: ERR_SANDBOX the box could not be made or a required layer is missing (sandbox_open).
 *   After that nothing fails: what is our own fault is the verdict IE, which nobody may score.
 * det: verdicts do not depend on the number of workers; times do.
 * Threads: submit and wait from any thread; sandbox_run only from inside a task.
 * Cost: a warm Python run about 1.5 ms, a compiled program about 1 ms of CPU (docs/speed/sandbox.md).
 */
#ifndef HONE_SANDBOX_SANDBOX_H
#define HONE_SANDBOX_SANDBOX_H

#include <stdint.h>

#include "core/arena.h"
#include "core/cdecl.h"
#include "core/err.h"
#include "core/json.h"
#include "core/str.h"

CDECL_BEGIN

/* In order of precedence: the first that applies is the verdict. A lone run is never WA: the word is
 * here so that callers who compare have the whole list. name, meaning */
#define SANDBOX_VERDICTS(X)                                          \
    X(IE, "the sandbox failed: never score it")                      \
    X(CE, "did not compile")                                         \
    X(SV, "killed for a forbidden system call")                      \
    X(OLE, "wrote more than the output limit")                       \
    X(MLE, "ran out of memory")                                      \
    X(TLE, "ran out of wall or CPU time")                            \
    X(RE, "ended by a signal, an exception or a non-zero exit code") \
    X(WA, "wrong answer")                                            \
    X(AC, "right; for a lone run: ended by itself with exit code 0")

enum sandbox_verdict {
#define X(name, text) SANDBOX_##name,
    SANDBOX_VERDICTS(X)
#undef X
    SANDBOX_VERDICT_N
};
const char *sandbox_verdict_name(enum sandbox_verdict v);

/* name, default, smallest, largest, meaning. All apply to the whole process tree of one run. */
#define SANDBOX_LIMITS(X)                                                              \
    X(wall_ms, 10000, 1, 86400000, "wall time, ms")                                    \
    X(cpu_ms, 10000, 1, 86400000, "CPU time of all processes, ms")                     \
    X(mem_bytes, 1LL << 30, 8 << 20, 1LL << 40, "memory of all processes, bytes")      \
    X(out_bytes, 4 << 20, 0, 1LL << 30, "standard output and error, bytes each")       \
    X(procs, 64, 1, 4096, "processes and threads at a time")                           \
    X(fds, 64, 8, 65536, "open files per process")                                     \
    X(file_bytes, 16 << 20, 0, 1LL << 34, "largest file, bytes")                       \
    X(tmp_bytes, 64 << 20, 4096, 1LL << 36, "all files together, bytes")               \
    X(tmp_inodes, 16384, 16, 1 << 24, "number of files")                               \
    X(stack_bytes, 64 << 20, 1 << 16, 1LL << 34, "stack of the main thread, bytes")

struct sandbox_limits {
#define X(name, def, lo, hi, text) int64_t name;
    SANDBOX_LIMITS(X)
#undef X
};
struct sandbox_limits sandbox_limits_default(void);
/* Overlays a JSON object: the names above, or wall_s cpu_s mem_mib out_kib fsize_mib tmp_mib in their
 * units; keys that begin with "compile_" are for the compiler and only checked for being known when
 * prefix is "compile_". ERR_DATA names an unknown key or a value out of bounds. */
err_code sandbox_limits_json(struct sandbox_limits *l, const json_t *o, const char *prefix, struct err *e);

enum sandbox_file_kind {
    SANDBOX_PROGRAM, /* mode 755 */
    SANDBOX_PLAIN,   /* mode 644 */
    SANDBOX_LINK,    /* bytes: where it points to */
    SANDBOX_GONE     /* over a tree: the tree's file of that name is not there */
};
struct sandbox_file {
    struct str name, bytes; /* name: relative, no "..", no empty part */
    enum sandbox_file_kind kind;
};

/* A folder of many files that many runs start from. Each worker keeps it once (in memory, read-only); a run sees it through
 * overlayfs with a layer of its own on top, so that a run costs what it changes. Needs overlayfs in a user namespace
 * (Linux 5.11); without, a run with a tree is IE. Made once, shared by threads, alive until no run uses it. */
struct sandbox_tree;
/* ERR_DATA a name that is not plain, ERR_LIMIT more than 900 MiB. The bytes are copied. */
err_code sandbox_tree_make(const struct sandbox_file *files, int64_t n, struct sandbox_tree **out, struct err *e);
void sandbox_tree_free(struct sandbox_tree *t); /* NULL is fine */

/* A second program, trusted by the caller, that talks to the one under test over two pipes: it never
 * shares a process with it. It is Python text started once per worker (module of sandbox_opts). */
struct sandbox_partner {
    struct str request; /* opaque; the partner gets it with the two pipes */
    const char *callee; /* module of sandbox_opts whose serve(read_fd, write_fd) runs in the program's process */
};

struct sandbox_job {
    const char *language;              /* row of the language table, or NULL with argv */
    struct str code;                   /* the main file; for languages */
    const char *const *argv;           /* NULL-terminated; run in the folder of the files */
    struct str input;                  /* standard input */
    const struct sandbox_tree *tree;   /* the folder the run starts in, below the files; not with keep or a compiled language; or NULL */
    const struct sandbox_file *files;
    int n_files;
    struct sandbox_limits limits;
    struct sandbox_limits compile;     /* zero wall_ms: compile defaults */
    const char *const *build;          /* compiler command instead of the table's; must write `prog`; or NULL */
    const struct sandbox_partner *partner; /* Python only; NULL without */
    const struct sandbox_job *peer;    /* compiled only: a trusted program that calls the one under test; it reads at 4 and writes
                                        * at 5, as does the other. Its end ends the run; result.peer_exit */
    int report;                        /* what the program writes to descriptor 5 becomes result.partner (at most 1 MiB) */
    const char *keep;                  /* file to bring back after the run (regular, at most file_bytes), or NULL */
};

struct sandbox_result {
    enum sandbox_verdict verdict;
    char sub[96];          /*  what exactly: "wall", "cpu", "signal 11", "exit 3", "memory cgroup", "stdout", ... */
    int exit_code, signal; /* -1 / 0 when not applicable */
    double wall_ms, cpu_ms;
    int64_t mem_peak;      /* bytes */
    int retries;           /* times the worker had to be replaced */
    int compiled;          /* a compiler ran (not from the cache) */
    double compile_ms;
    struct sbuf out, err;  /* at most limits.out_bytes each; owned: sandbox_result_release */
    struct sbuf partner;   /* the partner's answer, or the report */
    int peer_exit;         /* exit code of the peer, minus its signal; -1000 when it did not end by itself */
    struct sbuf kept;      /* the file named by keep */
    int has_kept;
};
void sandbox_result_release(struct sandbox_result *r);

struct sandbox_module {
    const char *name; /* import name inside */
    struct str source;
    int partner;      /* 1: started as the partner instead of imported */
};

struct sandbox_opts {
    int workers;                         /* 0 = one per CPU */
    int queue;                           /* tasks waiting at most; 0 = 4 per worker */
    int uid_base;                        /* started by root: worker i runs as this + i; 0 = 60000 */
    const struct sandbox_module *modules;
    int n_modules;
};

struct sandbox;
struct sandbox_worker;

struct sandbox_task {
    void (*fn)(struct sandbox_worker *w, void *ctx);
    void *ctx;
    double deadline; /* clock_now() value; 0 = none. Runs cut by it are IE "deadline" */
    int done;        /* private */
    struct sandbox_task *next; /* private */
};

err_code sandbox_open(struct sandbox **out, const struct sandbox_opts *o, struct err *e);
void sandbox_close(struct sandbox *s); /* ends all runs and waits until nothing is left */
int sandbox_workers(const struct sandbox *s);
void sandbox_submit(struct sandbox *s, struct sandbox_task *t); /* t stays the caller's, alive until waited for */
void sandbox_wait(struct sandbox *s, struct sandbox_task *t);

/* Runs one program (compiling it first where its language says so). r is replaced. */
void sandbox_run(struct sandbox_worker *w, const struct sandbox_job *job, struct sandbox_result *r);

struct sandbox_counts {
    int64_t runs, internal, retries, workers_started, compiles, cache_hits, deadline;
};
struct sandbox_counts sandbox_count(struct sandbox *s);

/* Languages: name, what it is. NULL ends. */
const char *sandbox_language(int i);
int sandbox_language_compiled(const char *name);
const char *sandbox_language_main(const char *name); /* name of the main file */

/* What this machine gives: one row per layer. */
struct sandbox_layer {
    const char *name;
    int have, required;
    char what[200]; /* found, or what is missing and what that means */
};
enum { SANDBOX_LAYERS_MAX = 24 };
int sandbox_layers(struct sandbox_layer out[SANDBOX_LAYERS_MAX]);
/* Removes what killed owners left (cgroup leaves); returns how many. sandbox_open does it too. */
int sandbox_sweep(void);

CDECL_END

#endif
