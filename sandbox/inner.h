/* Private to sandbox/: what the processes of a worker share.
 *
 *   owner (hone)  --control socket-->  box (PID 1 of its namespaces)  --fork-->  zygote (Python, warm)
 *     \--exec--> keeper --clone--------^        \--clone--> init of a run <--setns-- program
 */
#ifndef HONE_SANDBOX_INNER_H
#define HONE_SANDBOX_INNER_H

#include <linux/filter.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/hash.h"
#include "sandbox/sandbox.h"

/* ---- wire.c: messages are "HBX1", u32 length of the rest, then fields: u16 tag, u32 length, bytes. */
enum {
    WIRE_MAX = 1 << 30,
    WIRE_FIELD_HEAD = 6,
    BOX_FD = 3,    /* the control socket in keeper and box */
    BOX_UID = 1000 /* uid and gid inside */
};
#define WIRE_TAGS(X)                                                                                  \
    X(CONFIG) X(HELLO) X(ERROR) X(MODULE_NAME) X(MODULE_SOURCE) X(MODULE_PARTNER) X(PCH_DIR) X(LAYERS) \
    X(RUN) X(ARG) X(FILE_NAME) X(FILE_BYTES) X(INPUT) X(EXE) X(EXE_HASH) X(REQUEST) X(CALLEE) X(KEEP)  \
    X(PYTHON) X(PEER_HASH) X(PEER) X(REPORT) X(FILE_KIND) X(TREE_KEY) X(TREE) X(DONE) X(OUT) X(ERR) X(PARTNER) X(KEPT) X(NEED_EXE) X(MAIN)
enum wire_tag {
    WIRE_none,
#define X(name) WIRE_##name,
    WIRE_TAGS(X)
#undef X
    WIRE_TAG_N
};
void sandbox_wire_begin(struct sbuf *b);
void sandbox_wire_put(struct sbuf *b, enum wire_tag tag, const void *p, int64_t n);
void sandbox_wire_puts(struct sbuf *b, enum wire_tag tag, const char *s);
void sandbox_wire_end(struct sbuf *b); /* fills in the length */
struct wire_in {
    const char *p;
    int64_t n, at;
};
/* Next field: 1, 0 at the end, -1 when the bytes are not well formed. */
int sandbox_wire_next(struct wire_in *in, enum wire_tag *tag, struct str *bytes);
/* Blocking transfer of one message over a stream socket. 0 ok, -1 end or error. The body replaces b. */
int sandbox_wire_send(int fd, const struct sbuf *b);
int sandbox_wire_recv(int fd, struct sbuf *b, int64_t max);

/* What a run is asked to do, fixed-size part. */
struct run_ask {
    struct sandbox_limits limits;
};
/* What happened, as measured in the box. */
struct run_facts {
    int32_t failed;   /* step that failed on our side, 0 none; then sys is the errno */
    int32_t sys;
    int32_t status;   /* of wait4 */
    int32_t ended;    /* the main process ended by itself (status holds) */
    int32_t hit_wall, hit_cpu, hit_out, hit_err, oom, hit_mem, syntax, partner_ok, exec_errno, kept;
    int32_t peer_status; /* of wait4, when partner_ok and there was a peer */
    double wall_ms, cpu_ms;
    int64_t mem_peak;
};
#define RUN_STEPS(X)                                                                                        \
    X(none) X(pipes) X(tmpfs) X(files) X(init) X(setns) X(fork) X(zygote) X(cgroup) X(chdir) X(dup) X(rlimit) \
    X(privs) X(caps) X(landlock) X(filter) X(exec) X(partner) X(exe) X(tree)
enum run_step {
#define X(name) STEP_##name,
    RUN_STEPS(X)
#undef X
    STEP_N
};
const char *sandbox_step_name(int step);
/* Facts and streams in, verdict out. `r` has out, err, partner filled. */
void sandbox_judge_facts(const struct run_facts *f, const struct sandbox_job *job, struct sandbox_result *r);
/* A reply of the box into r and f. ERR_DATA when it is not well formed (a broken box). */
err_code sandbox_reply_parse(struct str body, const struct sandbox_job *job, struct sandbox_result *r, struct run_facts *f, int *need_exe,
                             struct err *e);

/* ---- cgroup.c */
struct leaf {
    int version;          /* 0 none, 1, 2 */
    int mem_procs, mem_limit, mem_usage, mem_peak, mem_events; /* descriptors or -1 */
    int cpu_procs, cpu_usage, pids_procs;
    int64_t limit;        /* as it was last set; 0: not known */
    int64_t ooms, cpu_ns; /* after the last run: nothing else counts in them */
    char dirs[4][256];
    int n_dirs;
    char why[200];        /* when version is 0 */
};
void sandbox_leaf_make(struct leaf *l, int index);
void sandbox_leaf_remove(struct leaf *l);
int sandbox_leaf_limit(struct leaf *l, int64_t bytes); /* 0 or -1 with errno: no run may start then */
int64_t sandbox_leaf_usage(const struct leaf *l);
int64_t sandbox_leaf_peak(const struct leaf *l);
void sandbox_leaf_reset(struct leaf *l);
int64_t sandbox_leaf_ooms(const struct leaf *l);
int64_t sandbox_leaf_cpu_ns(const struct leaf *l);
int sandbox_leaf_sweep(void);

/* ---- filter.c */
struct filter {
    struct sock_fprog prog;
};
err_code sandbox_filter_box(struct filter *f, struct err *e); /* for the box and everything below it */
void sandbox_filter_program(struct filter *f);                /* the rest, for programs; both are needed */

/* ---- enter.c: from a fresh fork to a confined process. Async-signal-safe: no allocation, no locks. */
struct enter {
    int init_pidfd;          /* namespaces to join */
    int in, out, err;        /* become 0 1 2 */
    int note;                /* becomes 3, close-on-exec: says what failed */
    int call_in, call_out;   /* become 4 5, or -1 */
    int exe;                 /* becomes 6, close-on-exec: the program for execveat, or -1 */
    int cg_mem, cg_cpu;      /* cgroup.procs, or -1 */
    int landlock;            /* ABI, 0 without */
    int nproc_base;          /* processes of the box itself, counted by RLIMIT_NPROC */
    int hidden;              /* the partner: nobody may look into it */
    int execs;               /* shares the box's memory until it execs */
    int limit_as;            /* no memory cgroup: bound the address space, what is mapped at the start not counted */
    int64_t as_base;
    struct sandbox_limits limits;
};
struct note {
    int32_t step, sys;
};
enum { FD_NOTE = 3, FD_CALL_IN = 4, FD_CALL_OUT = 5, FD_EXE = 6 };
int sandbox_enter_once(void); /* in the box, before the first: the limits that are the same for all. 0 or -1 */
int sandbox_enter(const struct enter *n, const struct filter *f, int *sys); /* step that failed or 0 */

/* ---- box.c, root.c, run.c, zygote.c: inside */
struct box {
    int control;
    int self_pidns;          /* to come back from a run's PID namespace */
    struct leaf leaf;
    struct filter filter;
    int landlock, root, have_proc;
    char pch_dir[512];       /* folder of precompiled headers on the host, or "" */
    int pch_fd, have_pch;    /* it, or -1; it is at /pch */
    pid_t zygote_pid;        /* 0 without libpython */
    int zygote_fd;
    pid_t partner_pid;
    int partner_fd;
    int has_partner_module;
    struct exe_slot {
        struct hash128 h;
        int fd;
        int64_t used;
    } exe[64];             /* built programs, sealed memfds, least recently used goes */
    struct tree_slot {
        struct hash128 h;
        int64_t used;      /* 0: empty */
    } tree[4];             /* mounted at TREES_AT/0..; least recently used goes */
    int trees_mounted;
    int64_t clock;
};
#define TREES_AT "/trees"
err_code sandbox_root_make(struct box *b, struct err *e);
void sandbox_box_main(struct box *b, struct sbuf *config) __attribute__((noreturn));
void sandbox_box_run(struct box *b, struct str body, struct sbuf *reply);
void sandbox_keeper_main(void) __attribute__((noreturn)); /* main() of the inner program */
/* ---- image.c: a descriptor above 9 of the inner program, to be executed; -1 with e set. */
int sandbox_image_open(struct err *e);

/* The request to a zygote: this struct and the descriptors of struct enter, in its order, by SCM_RIGHTS. */
struct zygote_ask {
    struct enter enter;
    int32_t kind; /* 0 program, 1 program served over the call pipes, 2 the partner */
    char callee[32];
};
struct zygote_reply {
    int32_t pid, step, sys;
};
enum { ZYGOTE_PROGRAM, ZYGOTE_SERVED, ZYGOTE_PARTNER };
/* Forks off the zygote; returns its pid or -1. *fd is the box's end. *version 0: no usable libpython. */
pid_t sandbox_zygote_start(struct box *b, struct sbuf *config, int *fd, char *why, int64_t why_n);
/* ---- heaps.c: the zygote's memory, laid out so that forks of it are cheap. */
struct py_arenas {
    void *ctx;
    void *(*alloc)(void *ctx, size_t n);
    void (*free)(void *ctx, void *p, size_t n);
};
struct py_arenas *sandbox_heaps_lay_out(void);                             /* before Python starts: where its small objects go */
void sandbox_heaps_settle(void *(*small)(size_t), const void *in_library); /* when nothing more is loaded, before the first fork */
int sandbox_send_fds(int sock, const void *p, int64_t n, const int *fds, int n_fds);
int64_t sandbox_recv_fds(int sock, void *p, int64_t n, int *fds, int max_fds, int *n_fds);

/* ---- pool.c, build.c: the owner's side */
struct sandbox_worker {
    struct sandbox *pool;
    int index, fd; /* control socket, -1 while there is no box */
    pid_t keeper;
    double deadline;
    struct sbuf send, recv;
    char hello[700];
};
/* One request and its answer, with new boxes as needed. exe: built program or NULL. */
struct built {
    struct hash128 key, hash;
    struct sbuf exe;      /* the program, or */
    struct sbuf err;      /* what the compiler said */
    char sub[96];
    enum sandbox_verdict verdict;
    double ms;
    int64_t used;
    int users;
};
void sandbox_run_built(struct sandbox_worker *w, const struct sandbox_job *job, const char *const *argv, const struct built *exe,
                       const struct built *peer, struct sandbox_result *r);
struct build_cache;
struct build_cache *sandbox_builds_open(const char *pch_dir);
void sandbox_builds_close(struct build_cache *c);
/* The program of a job, from the cache or compiled now; give it back. r gets the compile time. */
struct built *sandbox_build(struct sandbox_worker *w, struct build_cache *c, const struct sandbox_job *job, struct sandbox_result *r);
void sandbox_build_done(struct build_cache *c, struct built *b);
struct build_cache *sandbox_pool_builds(struct sandbox *s);
void sandbox_pool_compiled(struct sandbox *s, int from_cache);
const char *sandbox_worker_hello(const struct sandbox *s); /* what the first box said of its layers */

/* ---- tree.c */
struct sandbox_tree {
    struct hash128 key;
    struct sbuf packed; /* FILE_NAME, FILE_KIND, FILE_BYTES fields */
};
int sandbox_name_ok(struct str name);
/* In the box: the slot with this tree, filled from `packed` (if sent) when it is new. -1: not here, or errno says why. */
int sandbox_tree_slot(struct box *b, struct hash128 key, int sent, struct str packed);

/* ---- lang.c */
struct lang {
    const char *name, *about, *main_file;
    const char *const *compile; /* argv; NULL for none; the output is `prog` */
    const char *const *run;     /* argv; NULL: the built program, or the zygote for Python */
    int zygote;
};
const struct lang *sandbox_lang(const char *name);

#endif
