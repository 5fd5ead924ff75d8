/* The owner's side: one thread per worker takes tasks from a bounded queue. A box that dies, hangs or
 * answers nonsense is replaced and the run repeated; after three boxes the run is IE. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/fault.h"
#include "core/file.h"
#include "core/log.h"
#include "sandbox/inner.h"

enum { WORKERS_MAX = 256, TRIES = 3, REPLY_GRACE_S = 20, START_S = 60, RUNS_PER_BOX = 200000 };

struct sandbox {
    int n, queue_max, uid_base, stopping, image;
    struct sandbox_worker *w;
    pthread_t *threads;
    pthread_mutex_t lock;
    pthread_cond_t work, room, done;
    struct sandbox_task *head, *tail;
    int queued;
    struct sbuf config; /* modules, as the box gets them */
    char pch[512];
    struct build_cache *builds;
    struct sandbox_counts counts;
};

static void count(struct sandbox *s, int64_t *what)
{
    pthread_mutex_lock(&s->lock);
    ++*what;
    pthread_mutex_unlock(&s->lock);
}

struct build_cache *sandbox_pool_builds(struct sandbox *s) { return s->builds; }

void sandbox_pool_compiled(struct sandbox *s, int from_cache) { count(s, from_cache ? &s->counts.cache_hits : &s->counts.compiles); }

/* ---- boxes */

static void box_stop(struct sandbox_worker *w, int broken)
{
    if (w->fd >= 0)
        close(w->fd);
    w->fd = -1;
    if (w->keeper > 0) {
        if (broken) /* it may not be listening any more: the kernel takes the box along with its keeper */
            kill(w->keeper, SIGKILL);
        while (waitpid(w->keeper, NULL, 0) < 0 && errno == EINTR)
            continue;
        if (broken)
            sandbox_leaf_sweep();
    }
    w->keeper = 0;
}

static err_code spawn_keeper(struct sandbox_worker *w, int control, struct err *e)
{
    char name[] = "hone-box", *argv[] = {name, NULL}, *envp[8];
    static const char *const pass[] = {"HONE_SANDBOX_NO_CGROUP", "HONE_SANDBOX_KEEP_PRIORITY", "HONE_FAULT", "LD_LIBRARY_PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS"};
    char vars[6][512];
    int n = 0, rc;
    posix_spawn_file_actions_t fa;
    posix_spawnattr_t at;
    sigset_t none, all;
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", w->pool->image);
    for (unsigned i = 0; i < sizeof pass / sizeof *pass; i++) {
        const char *v = getenv(pass[i]);
        if (v && snprintf(vars[n], sizeof vars[n], "%s=%s", pass[i], v) < (int)sizeof vars[n]) {
            envp[n] = vars[n];
            n++;
        }
    }
    envp[n] = NULL;
    sigemptyset(&none);
    sigfillset(&all);
    sigdelset(&all, SIGKILL);
    sigdelset(&all, SIGSTOP);
    if (posix_spawn_file_actions_init(&fa))
        return err_set(e, ERR_SANDBOX, "no memory to start a worker");
    posix_spawnattr_init(&at);
    posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&fa, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&fa, control, BOX_FD);
    posix_spawnattr_setsigmask(&at, &none);
    posix_spawnattr_setsigdefault(&at, &all);
    posix_spawnattr_setflags(&at, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    rc = fault_hit("fork") ? EAGAIN : posix_spawn(&w->keeper, path, &fa, &at, argv, envp);
    posix_spawn_file_actions_destroy(&fa);
    posix_spawnattr_destroy(&at);
    if (rc) {
        w->keeper = 0;
        errno = rc;
        return err_sys(e, ERR_SANDBOX, "cannot start a sandbox worker");
    }
    return ERR_OK;
}

static void set_timeout(int fd, double s)
{
    struct timeval tv = {(time_t)s, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv);
}

static err_code read_hello(struct sandbox_worker *w, struct err *e)
{
    enum wire_tag tag;
    struct str s;
    if (sandbox_wire_recv(w->fd, &w->recv, 1 << 20))
        return err_set(e, ERR_SANDBOX, "a sandbox worker ended while it was starting");
    struct wire_in in = {w->recv.p, w->recv.n, 0};
    while (sandbox_wire_next(&in, &tag, &s) == 1) {
        if (tag == WIRE_ERROR)
            return err_set(e, ERR_SANDBOX, "%.*s", STR_ARG(s));
        if (tag == WIRE_HELLO)
            snprintf(w->hello, sizeof w->hello, "%.*s", STR_ARG(s));
    }
    return w->hello[0] ? ERR_OK : err_set(e, ERR_SANDBOX, "a sandbox worker started without a word");
}

static err_code box_start(struct sandbox_worker *w, struct err *e)
{
    struct sandbox *s = w->pool;
    int sv[2];
    int32_t v[2] = {w->index, s->uid_base};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv))
        return err_sys(e, ERR_SANDBOX, "cannot start a sandbox worker");
    err_code rc = spawn_keeper(w, sv[1], e);
    close(sv[1]);
    w->fd = sv[0];
    w->hello[0] = 0;
    if (rc == ERR_OK) {
        set_timeout(w->fd, START_S);
        sandbox_wire_begin(&w->send);
        sandbox_wire_put(&w->send, WIRE_CONFIG, v, sizeof v);
        if (s->pch[0])
            sandbox_wire_puts(&w->send, WIRE_PCH_DIR, s->pch);
        sbuf_add(&w->send, sbuf_str(&s->config));
        sandbox_wire_end(&w->send);
        rc = sandbox_wire_send(w->fd, &w->send) ? err_set(e, ERR_SANDBOX, "a sandbox worker ended while it was starting") : read_hello(w, e);
    }
    if (rc != ERR_OK)
        box_stop(w, 0);
    else
        count(s, &s->counts.workers_started);
    return rc;
}

/* ---- one run */

static void put_request(struct sandbox_worker *w, const struct sandbox_job *job, const char *const *argv, const struct built *exe,
                        const struct built *peer, int with_exe, const struct sandbox_limits *l)
{
    struct sbuf *b = &w->send;
    const struct lang *lang = job->language ? sandbox_lang(job->language) : NULL;
    sandbox_wire_begin(b);
    sandbox_wire_put(b, WIRE_RUN, l, sizeof *l);
    if (lang && !exe) {
        sandbox_wire_puts(b, WIRE_FILE_NAME, lang->main_file);
        sandbox_wire_put(b, WIRE_FILE_BYTES, job->code.p, job->code.n);
    }
    for (int i = 0; i < job->n_files; i++) {
        sandbox_wire_put(b, WIRE_FILE_NAME, job->files[i].name.p, job->files[i].name.n);
        if (job->files[i].kind)
            sandbox_wire_put(b, WIRE_FILE_KIND, &(char){(char)job->files[i].kind}, 1);
        sandbox_wire_put(b, WIRE_FILE_BYTES, job->files[i].bytes.p, job->files[i].bytes.n);
    }
    if (job->tree) {
        sandbox_wire_put(b, WIRE_TREE_KEY, &job->tree->key, sizeof job->tree->key);
        if (with_exe)
            sandbox_wire_put(b, WIRE_TREE, job->tree->packed.p, job->tree->packed.n);
    }
    for (int i = 0; argv && argv[i]; i++)
        sandbox_wire_puts(b, WIRE_ARG, argv[i]);
    if (!argv && !exe)
        sandbox_wire_put(b, WIRE_PYTHON, "", 0);
    if (exe) {
        sandbox_wire_puts(b, WIRE_ARG, "prog");
        sandbox_wire_put(b, WIRE_EXE_HASH, &exe->hash, sizeof exe->hash);
        if (with_exe)
            sandbox_wire_put(b, WIRE_EXE, exe->exe.p, exe->exe.n);
    }
    if (peer) {
        sandbox_wire_put(b, WIRE_PEER_HASH, &peer->hash, sizeof peer->hash);
        if (with_exe)
            sandbox_wire_put(b, WIRE_PEER, peer->exe.p, peer->exe.n);
    }
    if (job->report)
        sandbox_wire_put(b, WIRE_REPORT, "", 0);
    sandbox_wire_put(b, WIRE_INPUT, job->input.p, job->input.n);
    if (job->partner) {
        sandbox_wire_put(b, WIRE_REQUEST, job->partner->request.p, job->partner->request.n);
        sandbox_wire_puts(b, WIRE_CALLEE, job->partner->callee);
    }
    if (job->keep)
        sandbox_wire_puts(b, WIRE_KEEP, job->keep);
    sandbox_wire_end(b);
}

/* One exchange with a living box. 0: answered; 1: the box is to be replaced. */
static int exchange(struct sandbox_worker *w, const struct sandbox_job *job, const char *const *argv, const struct built *exe,
                    const struct built *peer, const struct sandbox_limits *l, struct sandbox_result *r)
{
    struct run_facts f;
    struct err e = {0};
    int need_exe = 0;
    for (int with_exe = 0; with_exe < 2; with_exe++) {
        put_request(w, job, argv, exe, peer, with_exe, l);
        set_timeout(w->fd, 1e-3 * (double)l->wall_ms * (job->partner ? 5 : 4) + REPLY_GRACE_S); /* the box may grant time, WAIT_MAX */
        if (sandbox_wire_send(w->fd, &w->send) || sandbox_wire_recv(w->fd, &w->recv, WIRE_MAX))
            return 1;
        if (sandbox_reply_parse(sbuf_str(&w->recv), job, r, &f, &need_exe, &e) != ERR_OK) {
            log_warn("sandbox", "%s: replacing worker %d", e.msg, w->index);
            return 1;
        }
        if (!need_exe)
            break;
    }
    sandbox_judge_facts(&f, job, r);
    return 0;
}

static void fail_run(struct sandbox_worker *w, struct sandbox_result *r, const char *why)
{
    r->verdict = SANDBOX_IE;
    snprintf(r->sub, sizeof r->sub, "%.90s", why);
    count(w->pool, &w->pool->counts.internal);
}

int sandbox_name_ok(struct str name)
{
    struct str rest = name, part;
    if (name.n == 0 || name.n > 1024 || name.p[0] == '/' || name.p[name.n - 1] == '/' || memchr(name.p, 0, (size_t)name.n))
        return 0;
    while (str_split(&rest, '/', &part))
        if (part.n == 0 || part.n > 255 || str_eq(part, STR(".")) || str_eq(part, STR("..")))
            return 0;
    return 1;
}

static void prepare(struct sandbox_result *r)
{
    struct sbuf *all[] = {&r->out, &r->err, &r->partner, &r->kept};
    for (int i = 0; i < 4; i++) {
        if (all[i]->max == 0)
            sbuf_init(all[i], WIRE_MAX);
        sbuf_clear(all[i]);
    }
    r->sub[0] = 0;
    r->exit_code = -1;
    r->signal = r->retries = r->has_kept = 0;
    r->wall_ms = r->cpu_ms = 0;
    r->mem_peak = 0;
}

void sandbox_run_built(struct sandbox_worker *w, const struct sandbox_job *job, const char *const *argv, const struct built *exe,
                       const struct built *peer, struct sandbox_result *r)
{
    struct sandbox_limits l = job->limits;
    struct err e = {0};
    prepare(r);
    count(w->pool, &w->pool->counts.runs);
    double left = w->deadline > 0 ? 1e3 * (w->deadline - clock_now()) : 0;
    int cut = w->deadline > 0 && left < (double)l.wall_ms;
    if (w->deadline > 0 && left < 1) {
        count(w->pool, &w->pool->counts.deadline);
        fail_run(w, r, "deadline");
        return;
    }
    if (cut)
        l.wall_ms = (int64_t)left;
    for (int try = 0; try < TRIES; try++) {
        if (try) {
            r->retries++;
            count(w->pool, &w->pool->counts.retries);
        }
        if (w->fd < 0 && box_start(w, &e) != ERR_OK) {
            usleep(20000u << try);
            continue;
        }
        if (exchange(w, job, argv, exe, peer, &l, r)) {
            box_stop(w, 1);
            err_set(&e, ERR_SANDBOX, "the worker died");
            continue;
        }
        if (r->verdict != SANDBOX_IE) {
            if (cut && r->verdict == SANDBOX_TLE && !strcmp(r->sub, "wall")) {
                count(w->pool, &w->pool->counts.deadline);
                fail_run(w, r, "deadline");
            }
            return;
        }
        err_set(&e, ERR_SANDBOX, "%s", r->sub);
        usleep(2000u << try);
    }
    fail_run(w, r, e.msg);
}

static void run_compiled(struct sandbox_worker *w, const struct sandbox_job *job, struct sandbox_result *r)
{
    struct build_cache *c = w->pool->builds;
    struct built *b = sandbox_build(w, c, job, r);
    struct built *peer = job->peer && b->verdict == SANDBOX_AC ? sandbox_build(w, c, job->peer, r) : NULL;
    if (b->verdict != SANDBOX_AC) {
        prepare(r);
        r->verdict = b->verdict;
        snprintf(r->sub, sizeof r->sub, "%s", b->sub);
        sbuf_add(&r->err, sbuf_str(&b->err));
    } else if (peer && peer->verdict != SANDBOX_AC) { /* the caller's own program does not compile: nothing the other one did */
        char why[160];
        prepare(r);
        sbuf_add(&r->err, sbuf_str(&peer->err));
        snprintf(why, sizeof why, "the trusted program: %s", peer->sub);
        fail_run(w, r, why);
    } else {
        sandbox_run_built(w, job, NULL, b, peer, r);
    }
    sandbox_build_done(c, b);
    if (peer)
        sandbox_build_done(c, peer);
}

void sandbox_run(struct sandbox_worker *w, const struct sandbox_job *job, struct sandbox_result *r)
{
    const struct lang *lang = job->language ? sandbox_lang(job->language) : NULL;
    int warm = lang && lang->zygote && strstr(w->hello, "python=1");
    r->compiled = 0;
    r->compile_ms = 0;
    prepare(r);
    for (int i = 0; i < job->n_files; i++)
        if (!sandbox_name_ok(job->files[i].name)) {
            fail_run(w, r, "a file name is not relative and plain");
            return;
        }
    if (!lang && !job->argv) {
        fail_run(w, r, "neither a known language nor a command");
        return;
    }
    if (job->partner && !warm) {
        fail_run(w, r, "calls need the warm Python (libpython)");
        return;
    }
    if (!lang || !(lang->compile || job->build)) {
        sandbox_run_built(w, job, job->argv ? job->argv : warm ? NULL : lang->run, NULL, NULL, r);
        return;
    }
    run_compiled(w, job, r);
}

void sandbox_result_release(struct sandbox_result *r)
{
    sbuf_release(&r->out);
    sbuf_release(&r->err);
    sbuf_release(&r->partner);
    sbuf_release(&r->kept);
}

/* ---- queue */

static void *worker_main(void *arg)
{
    struct sandbox_worker *w = arg;
    struct sandbox *s = w->pool;
    for (;;) {
        pthread_mutex_lock(&s->lock);
        while (!s->head && !s->stopping)
            pthread_cond_wait(&s->work, &s->lock);
        struct sandbox_task *t = s->head;
        if (t) {
            s->head = t->next;
            s->tail = s->head ? s->tail : NULL;
            s->queued--;
            pthread_cond_signal(&s->room);
        }
        pthread_mutex_unlock(&s->lock);
        if (!t)
            return NULL;
        w->deadline = t->deadline;
        t->fn(w, t->ctx);
        pthread_mutex_lock(&s->lock);
        t->done = 1;
        pthread_cond_broadcast(&s->done);
        pthread_mutex_unlock(&s->lock);
    }
}

void sandbox_submit(struct sandbox *s, struct sandbox_task *t)
{
    pthread_mutex_lock(&s->lock);
    while (s->queued >= s->queue_max)
        pthread_cond_wait(&s->room, &s->lock);
    t->done = 0;
    t->next = NULL;
    if (s->tail)
        s->tail->next = t;
    else
        s->head = t;
    s->tail = t;
    s->queued++;
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->lock);
}

void sandbox_wait(struct sandbox *s, struct sandbox_task *t)
{
    pthread_mutex_lock(&s->lock);
    while (!t->done)
        pthread_cond_wait(&s->done, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

/* ---- open and close */

static int cpus(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
    return n < 1 ? 1 : n > WORKERS_MAX ? WORKERS_MAX : n;
}

/* Where precompiled headers are kept between runs; without a place C++ just compiles more slowly. */
static void find_pch(char *out, int64_t n)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    out[0] = 0;
    if (cache && cache[0] == '/')
        snprintf(out, (size_t)n, "%.400s/hone/pch", cache);
    else if (home && home[0] == '/')
        snprintf(out, (size_t)n, "%.400s/.cache/hone/pch", home);
    if (out[0] && (file_mkdirs(out, NULL) != ERR_OK || chmod(out, 0755) || access(out, W_OK)))
        out[0] = 0;
}

static void put_modules(struct sandbox *s, const struct sandbox_opts *o)
{
    for (int i = 0; i < o->n_modules; i++) {
        sandbox_wire_puts(&s->config, WIRE_MODULE_NAME, o->modules[i].name);
        sandbox_wire_put(&s->config, WIRE_MODULE_SOURCE, o->modules[i].source.p, o->modules[i].source.n);
        sandbox_wire_puts(&s->config, WIRE_MODULE_PARTNER, o->modules[i].partner ? "1" : "0");
    }
}

err_code sandbox_open(struct sandbox **out, const struct sandbox_opts *o, struct err *e)
{
    struct sandbox *s = calloc(1, sizeof *s);
    int n = o->workers > 0 ? o->workers : cpus();
    if (!s || n > WORKERS_MAX || !(s->w = calloc((size_t)n, sizeof *s->w)) || !(s->threads = calloc((size_t)n, sizeof *s->threads))) {
        if (s)
            free(s->w);
        free(s);
        return err_set(e, ERR_SANDBOX, "cannot have %d sandbox workers", n);
    }
    s->queue_max = o->queue > 0 ? o->queue : 4 * n;
    s->uid_base = o->uid_base > 0 ? o->uid_base : 60000;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->work, NULL);
    pthread_cond_init(&s->room, NULL);
    pthread_cond_init(&s->done, NULL);
    sbuf_init(&s->config, 32 << 20);
    put_modules(s, o);
    find_pch(s->pch, sizeof s->pch);
    s->builds = sandbox_builds_open(s->pch);
    sandbox_sweep();
    s->image = sandbox_image_open(e);
    err_code rc = s->image < 0 ? ERR_SANDBOX : ERR_OK;
    for (; s->n < n && rc == ERR_OK; s->n++) {
        struct sandbox_worker *w = &s->w[s->n];
        *w = (struct sandbox_worker){.pool = s, .index = s->n, .fd = -1};
        sbuf_init(&w->send, WIRE_MAX);
        sbuf_init(&w->recv, WIRE_MAX);
        rc = box_start(w, e);
        if (rc == ERR_OK && pthread_create(&s->threads[s->n], NULL, worker_main, w)) {
            box_stop(w, 0);
            rc = err_set(e, ERR_SANDBOX, "cannot start a thread for a sandbox worker");
        }
        if (rc != ERR_OK) {
            sbuf_release(&w->send);
            sbuf_release(&w->recv);
            s->n--; /* this one has no thread to join */
        }
    }
    if (rc != ERR_OK) {
        sandbox_close(s);
        return rc;
    }
    *out = s;
    return ERR_OK;
}

void sandbox_close(struct sandbox *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->stopping = 1;
    pthread_cond_broadcast(&s->work);
    pthread_mutex_unlock(&s->lock);
    for (int i = 0; i < s->n; i++)
        pthread_join(s->threads[i], NULL);
    for (int i = 0; i < s->n; i++) { /* all are told before one is waited for */
        if (s->w[i].fd >= 0)
            close(s->w[i].fd);
        s->w[i].fd = -1;
    }
    for (int i = 0; i < s->n; i++) {
        box_stop(&s->w[i], 0);
        sbuf_release(&s->w[i].send);
        sbuf_release(&s->w[i].recv);
    }
    sandbox_builds_close(s->builds);
    sbuf_release(&s->config);
    if (s->image >= 0)
        close(s->image);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->work);
    pthread_cond_destroy(&s->room);
    pthread_cond_destroy(&s->done);
    free(s->threads);
    free(s->w);
    free(s);
}

int sandbox_workers(const struct sandbox *s) { return s->n; }
int sandbox_sweep(void) { return sandbox_leaf_sweep(); }
const char *sandbox_worker_hello(const struct sandbox *s) { return s->n ? s->w[0].hello : ""; }

struct sandbox_counts sandbox_count(struct sandbox *s)
{
    pthread_mutex_lock(&s->lock);
    struct sandbox_counts c = s->counts;
    pthread_mutex_unlock(&s->lock);
    return c;
}
