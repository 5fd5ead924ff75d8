/* One run inside the box: cell, program, the loop that feeds and watches it, the end of it all. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/log.h"
#include "sandbox/run.h"

enum {
    FILES_MAX = 4096,
    ARGS_MAX = 256,
    PARTNER_MAX = 64 << 20,
    REPORT_MAX = 1 << 20,
    TICK_MS = 10,     /* how often CPU and memory are looked at after the first 10 ms */
    TICK_POLL_MS = 3, /* the same without a control group */
    WAIT_MAX = 3,     /* times the wall limit that waiting for a CPU may add to it */
    PARTNER_GRACE_MS = 2000
};

struct ask {
    struct sandbox_limits limits;
    struct str names[FILES_MAX], bytes[FILES_MAX];
    enum sandbox_file_kind kinds[FILES_MAX];
    char *argv[ARGS_MAX + 1];
    struct str input, exe, request, keep;
    struct hash128 exe_hash, peer_hash;
    struct str peer;
    struct hash128 tree_key;
    struct str tree;
    int has_peer, peer_sent, report, has_tree, tree_sent;
    int n_files, n_args, has_exe_hash, has_exe, has_request, python;
    char callee[32];
};

struct running {
    struct box *b;
    const struct ask *a;
    struct run_facts *f;
    struct cell cell, peer_cell;
    pid_t main, peer;
    int main_fd, peer_fd;     /* pidfds */
    int in, out, err, note, report; /* our ends */
    int64_t fed;
    struct sbuf *o[2];        /* stdout, stderr */
    struct sbuf answer;       /* of the partner, with its length in front */
    int partner_done;
    double began, partner_waited0;
    struct rusage ru;
};

static int parse(struct str body, struct ask *a)
{
    struct wire_in in = {body.p, body.n, 0};
    enum wire_tag tag;
    struct str s;
    int rc, have = 0;
    memset(a, 0, offsetof(struct ask, names));
    a->n_files = a->n_args = a->has_exe_hash = a->has_exe = a->has_request = a->python = 0;
    a->has_peer = a->peer_sent = a->report = a->has_tree = a->tree_sent = 0;
    a->input = a->exe = a->request = a->keep = a->peer = a->tree = (struct str){NULL, 0};
    a->callee[0] = 0;
    while ((rc = sandbox_wire_next(&in, &tag, &s)) == 1) {
        if (tag == WIRE_RUN && s.n == sizeof a->limits)
            memcpy(&a->limits, s.p, sizeof a->limits), have = 1;
        else if (tag == WIRE_FILE_NAME && a->n_files < FILES_MAX)
            a->names[a->n_files] = s, a->kinds[a->n_files] = SANDBOX_PROGRAM, a->bytes[a->n_files++] = (struct str){"", 0};
        else if (tag == WIRE_FILE_KIND && a->n_files > 0 && s.n == 1 && s.p[0] >= 0 && s.p[0] <= SANDBOX_GONE)
            a->kinds[a->n_files - 1] = (enum sandbox_file_kind)s.p[0];
        else if (tag == WIRE_TREE_KEY && s.n == sizeof a->tree_key)
            memcpy(&a->tree_key, s.p, sizeof a->tree_key), a->has_tree = 1;
        else if (tag == WIRE_TREE)
            a->tree = s, a->tree_sent = 1;
        else if (tag == WIRE_FILE_BYTES && a->n_files > 0)
            a->bytes[a->n_files - 1] = s;
        else if (tag == WIRE_ARG && a->n_args < ARGS_MAX)
            a->argv[a->n_args++] = strndup(s.p, (size_t)s.n);
        else if (tag == WIRE_INPUT)
            a->input = s;
        else if (tag == WIRE_EXE)
            a->exe = s, a->has_exe = 1;
        else if (tag == WIRE_EXE_HASH && s.n == sizeof a->exe_hash)
            memcpy(&a->exe_hash, s.p, sizeof a->exe_hash), a->has_exe_hash = 1;
        else if (tag == WIRE_REQUEST)
            a->request = s, a->has_request = 1;
        else if (tag == WIRE_PEER)
            a->peer = s, a->peer_sent = 1;
        else if (tag == WIRE_PEER_HASH && s.n == sizeof a->peer_hash)
            memcpy(&a->peer_hash, s.p, sizeof a->peer_hash), a->has_peer = 1;
        else if (tag == WIRE_REPORT)
            a->report = 1;
        else if (tag == WIRE_KEEP)
            a->keep = s;
        else if (tag == WIRE_PYTHON)
            a->python = 1;
        else if (tag == WIRE_CALLEE)
            snprintf(a->callee, sizeof a->callee, "%.*s", STR_ARG(s));
        else
            return -1;
    }
    a->argv[a->n_args] = NULL;
    return rc || !have ? -1 : 0;
}

/* A sealed memfd of the built program; kept for the next tests of the same one. -1: the owner must send it. */
static int exe_fd(struct box *b, struct hash128 hash, int sent, struct str bytes)
{
    struct exe_slot *oldest = &b->exe[0];
    for (unsigned i = 0; i < sizeof b->exe / sizeof *b->exe; i++) {
        struct exe_slot *s = &b->exe[i];
        if (s->fd >= 0 && hash_eq(s->h, hash)) {
            s->used = ++b->clock;
            return s->fd;
        }
        if (s->fd < 0 ? oldest->fd >= 0 : oldest->fd >= 0 && s->used < oldest->used)
            oldest = s;
    }
    if (!sent)
        return -1;
    int fd = (int)syscall(SYS_memfd_create, "prog", MFD_CLOEXEC | MFD_ALLOW_SEALING | 0x10 /* MFD_EXEC */);
    if (fd < 0 && errno == EINVAL)
        fd = (int)syscall(SYS_memfd_create, "prog", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int bad = fd < 0;
    for (int64_t k = 0; !bad && k < bytes.n;) {
        ssize_t n = write(fd, bytes.p + k, (size_t)(bytes.n - k));
        bad = n <= 0;
        k += n;
    }
    bad = bad || fchmod(fd, 0555) || fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
    if (bad) {
        if (fd >= 0)
            close(fd);
        return -2;
    }
    if (oldest->fd >= 0)
        close(oldest->fd);
    *oldest = (struct exe_slot){.h = hash, .fd = fd, .used = ++b->clock};
    return fd;
}

struct launch {
    struct enter enter;
    const struct filter *filter;
    char **argv;
    int exe;
};

static char *const clean_env[] = {(char *)"PATH=/usr/local/bin:/usr/bin:/bin", (char *)"HOME=/w/tmp", (char *)"TMPDIR=/w/tmp", (char *)"LANG=C.UTF-8",
                                  (char *)"PYTHONHASHSEED=0", (char *)"PYTHONDONTWRITEBYTECODE=1", NULL};

/* Shares the box's memory until exec (as vfork): system calls only. */
static int launch_main(void *arg)
{
    struct launch *l = arg;
    struct note n = {0};
    struct sigaction dfl = {.sa_handler = SIG_DFL};
    static const int ignored[] = {SIGPIPE, SIGINT, SIGTERM, SIGHUP}; /* by the keeper */
    for (unsigned i = 0; i < sizeof ignored / sizeof *ignored; i++)
        sigaction(ignored[i], &dfl, NULL);
    n.step = sandbox_enter(&l->enter, l->filter, &n.sys);
    if (!n.step) {
        n.step = STEP_exec;
        if (l->enter.exe >= 0)
            syscall(SYS_execveat, FD_EXE, "", l->argv, clean_env, AT_EMPTY_PATH);
        else
            execvpe(l->argv[0], l->argv, clean_env);
        n.sys = errno;
    }
    ssize_t k = write(FD_NOTE, &n, sizeof n);
    _exit(k > 0 ? 127 : 126);
}

static int start_exec(struct running *r, const struct enter *en, int exe, char **argv, pid_t *pid, int *pid_fd)
{
    static char stack[64 << 10] __attribute__((aligned(16)));
    struct launch l = {.enter = *en, .filter = &r->b->filter, .argv = argv};
    l.enter.exe = exe;
    l.enter.execs = 1;
    if (setns(en->init_pidfd, CLONE_NEWPID))
        return STEP_setns;
    *pid = clone(launch_main, stack + sizeof stack, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &l, pid_fd);
    int saved = errno;
    if (setns(r->b->self_pidns, CLONE_NEWPID))
        _exit(1); /* a box that cannot come back makes no further runs; the owner starts another */
    errno = saved;
    return *pid < 0 ? STEP_fork : 0;
}

static int ask_zygote(struct box *b, const struct cell *c, const struct enter *en, int kind, const char *callee, pid_t *pid)
{
    struct zygote_ask z = {.enter = *en, .kind = kind};
    struct zygote_reply reply;
    int fds[7] = {c->init_fd, en->in, en->out, en->err, en->note, en->call_in, en->call_out};
    snprintf(z.callee, sizeof z.callee, "%s", callee);
    if (sandbox_send_fds(b->zygote_fd, &z, sizeof z, fds, en->call_in >= 0 ? 7 : 5) ||
        recv(b->zygote_fd, &reply, sizeof reply, 0) != sizeof reply)
        _exit(1); /* the zygote is gone: a fork of this box could carry data of earlier runs, so the box goes too */
    *pid = reply.pid;
    errno = reply.sys;
    return reply.step;
}

static struct enter enter_defaults(const struct box *b, const struct sandbox_limits *l)
{
    return (struct enter){.init_pidfd = -1, .in = -1, .out = -1, .err = -1, .note = -1, .call_in = -1, .call_out = -1, .exe = -1,
                          .cg_mem = b->leaf.mem_procs, .cg_cpu = b->leaf.cpu_procs, .landlock = b->landlock, .nproc_base = 6,
                          .limit_as = b->leaf.version == 0, .limits = *l};
}

/* The partner lives in a cell of its own from the first request on. */
static struct cell partner_cell = {.init = -1, .init_fd = -1, .tmp_fd = -1, .box_fd = -1, .top_fd = -1};

static void partner_stop(struct box *b)
{
    if (b->partner_fd < 0)
        return;
    close(b->partner_fd);
    b->partner_fd = -1;
    /* its init cannot be waited for before it: a PID namespace ends when its last zombie is gone, and this one is ours */
    kill(partner_cell.init, SIGKILL);
    while (waitpid(b->partner_pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    sandbox_cell_end(&partner_cell);
    b->partner_pid = 0;
}

static int partner_start(struct box *b)
{
    struct sandbox_limits l = sandbox_limits_default();
    int sv[2], null = open("/dev/null", O_RDWR | O_CLOEXEC), note[2], step = 0;
    l.cpu_ms = 1LL << 40;
    l.fds = 256;
    l.tmp_bytes = 16 << 20;
    l.mem_bytes = 2LL << 30;
    if (b->partner_fd >= 0) {
        close(null);
        return 0;
    }
    if (null < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) || pipe2(note, O_CLOEXEC))
        return STEP_partner;
    step = sandbox_cell_make(&partner_cell, &l);
    partner_cell.has_trees = b->trees_mounted;
    step = step ? step : sandbox_cell_start(&partner_cell);
    step = step ? step : sandbox_cell_ready(&partner_cell);
    struct enter en = enter_defaults(b, &l);
    en.cg_mem = en.cg_cpu = -1;
    en.limit_as = en.hidden = 1;
    en.in = sv[1];
    en.out = en.err = null;
    en.note = note[1];
    step = step ? step : ask_zygote(b, &partner_cell, &en, ZYGOTE_PARTNER, "", &b->partner_pid);
    close(sv[1]);
    close(null);
    close(note[0]);
    close(note[1]);
    if (step) {
        close(sv[0]);
        sandbox_cell_end(&partner_cell);
        return STEP_partner;
    }
    b->partner_fd = sv[0];
    return 0;
}

/* Hands the tests and one end of each pipe to the partner. */
static int partner_ask(struct running *r, int call_out, int call_in)
{
    uint32_t n = (uint32_t)r->a->request.n;
    int fds[2] = {call_in, call_out};
    if (sandbox_send_fds(r->b->partner_fd, &n, sizeof n, fds, 2))
        return -1;
    for (int64_t at = 0; at < r->a->request.n;) {
        ssize_t k = send(r->b->partner_fd, r->a->request.p + at, (size_t)(r->a->request.n - at), MSG_NOSIGNAL);
        if (k <= 0)
            return -1;
        at += k;
    }
    return 0;
}

/* The peer: trusted, in a cell of its own, at the other ends of the call pipes. */
static int start_peer(struct running *r, int exe, int call_in, int call_out)
{
    static char name[] = "peer";
    char *argv[] = {name, NULL};
    struct sandbox_limits l = sandbox_limits_default();
    int null = open("/dev/null", O_RDWR | O_CLOEXEC), note[2];
    int step = null < 0 || pipe2(note, O_CLOEXEC) ? STEP_partner : 0;
    step = step ? step : sandbox_cell_make(&r->peer_cell, &l);
    r->peer_cell.has_trees = r->b->trees_mounted;
    step = step ? step : sandbox_cell_start(&r->peer_cell);
    step = step ? step : sandbox_cell_ready(&r->peer_cell);
    if (step)
        return step;
    struct enter en = enter_defaults(r->b, &l);
    en.init_pidfd = r->peer_cell.init_fd;
    en.cg_mem = en.cg_cpu = -1;
    en.limit_as = 1;
    en.in = en.out = en.err = null;
    en.note = note[1];
    en.call_in = call_in;
    en.call_out = call_out;
    step = start_exec(r, &en, exe, argv, &r->peer, &r->peer_fd);
    close(null);
    close(note[0]);
    close(note[1]);
    return step;
}

static int begin(struct running *r)
{
    const struct ask *a = r->a;
    int in[2] = {-1, -1}, out[2] = {-1, -1}, err[2] = {-1, -1}, note[2] = {-1, -1}, call[2] = {-1, -1}, back[2] = {-1, -1}, exe = -1, peer = -1;
    int step = sandbox_cell_make(&r->cell, &a->limits);
    if (!step && a->has_tree) {
        int slot = sandbox_tree_slot(r->b, a->tree_key, a->tree_sent, a->tree);
        step = slot < 0 ? STEP_tree : sandbox_cell_over(&r->cell, &a->limits, slot);
    }
    for (int i = 0; !step && i < a->n_files; i++)
        if (sandbox_cell_put(r->cell.box_fd, a->names[i], a->bytes[i], a->kinds[i]))
            step = STEP_files;
    r->cell.has_trees = r->b->trees_mounted;
    step = step ? step : sandbox_cell_start(&r->cell); /* its mounts are made while the rest is */
    if (!step && a->has_exe_hash && (exe = exe_fd(r->b, a->exe_hash, a->has_exe, a->exe)) < 0)
        return STEP_exe;
    if (!step && a->has_peer && (peer = exe_fd(r->b, a->peer_hash, a->peer_sent, a->peer)) < 0)
        return STEP_exe;
    if (!step && (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC) || pipe2(note, O_CLOEXEC)))
        step = STEP_pipes;
    if (!step && (a->has_request || a->has_peer) && (pipe2(call, O_CLOEXEC) || pipe2(back, O_CLOEXEC)))
        step = STEP_pipes;
    if (!step && a->report && pipe2(back, O_CLOEXEC))
        step = STEP_pipes;
    if (!step && a->has_peer)
        step = start_peer(r, peer, back[0], call[1]);
    if (!step && a->has_request)
        step = partner_start(r->b);
    if (!step && a->has_request && partner_ask(r, call[1], back[0])) {
        partner_stop(r->b); /* it died between two runs: once more */
        step = partner_start(r->b);
        step = step ? step : partner_ask(r, call[1], back[0]) ? STEP_partner : 0;
    }
    step = step ? step : sandbox_cell_ready(&r->cell);
    struct enter en = enter_defaults(r->b, &a->limits);
    en.init_pidfd = r->cell.init_fd;
    en.in = in[0];
    en.out = out[1];
    en.err = err[1];
    en.note = note[1];
    en.call_in = call[0];
    en.call_out = back[1];
    if (a->has_request && r->b->partner_pid > 0)
        r->partner_waited0 = sandbox_waited(r->b->partner_pid);
    r->began = clock_now();
    if (!step && a->python) {
        step = ask_zygote(r->b, &r->cell, &en, a->has_request ? ZYGOTE_SERVED : ZYGOTE_PROGRAM, a->callee, &r->main);
        if (!step && (r->main_fd = (int)syscall(SYS_pidfd_open, r->main, 0)) < 0)
            step = STEP_fork;
    } else if (!step) {
        step = start_exec(r, &en, exe, (char **)(uintptr_t)a->argv, &r->main, &r->main_fd);
    }
    if (a->report) {
        r->report = back[0];
        back[0] = -1;
    }
    int saved = errno, theirs[] = {in[0], out[1], err[1], note[1], call[0], call[1], back[0], back[1]};
    for (unsigned i = 0; i < sizeof theirs / sizeof *theirs; i++)
        if (theirs[i] >= 0)
            close(theirs[i]);
    r->in = in[1];
    r->out = out[0];
    r->err = err[0];
    r->note = note[0];
    int ours[] = {r->in, r->out, r->err, r->note, r->report};
    for (int i = 0; i < 5; i++)
        if (ours[i] >= 0)
            fcntl(ours[i], F_SETFL, O_NONBLOCK);
    errno = saved;
    return step;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Reads what there is; 1 when the limit was passed. */
static int drain(int *fd, struct sbuf *b, int64_t max)
{
    char buf[65536];
    for (;;) {
        ssize_t n = *fd < 0 ? 0 : read(*fd, buf, sizeof buf);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            if (n == 0 || errno != EAGAIN)
                close_fd(fd);
            return 0;
        }
        int64_t room = max - b->n;
        sbuf_add(b, (struct str){buf, n < room ? n : room});
        if (n > room)
            return 1;
    }
}

static void feed(struct running *r)
{
    while (r->fed < r->a->input.n) {
        ssize_t n = write(r->in, r->a->input.p + r->fed, (size_t)(r->a->input.n - r->fed));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0)
            break; /* the program closed its end */
        r->fed += n;
    }
    close_fd(&r->in);
}

static void hear_partner(struct running *r)
{
    char buf[16384];
    uint32_t want;
    ssize_t n = recv(r->b->partner_fd, buf, sizeof buf, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0)
        sbuf_add(&r->answer, (struct str){buf, n});
    if (n <= 0 || r->answer.full) {
        partner_stop(r->b);
        r->partner_done = -1;
        return;
    }
    if (r->answer.n >= 4) {
        memcpy(&want, r->answer.p, 4);
        r->partner_done = r->answer.n == (int64_t)want + 4 ? 1 : want > PARTNER_MAX || r->answer.n > (int64_t)want + 4 ? -1 : 0;
        if (r->partner_done < 0)
            partner_stop(r->b);
    }
}

/* CPU and memory so far; 1 when a limit is passed. */
static int over_limit(struct running *r)
{
    const struct sandbox_limits *l = &r->a->limits;
    struct leaf *leaf = &r->b->leaf;
    struct usage u = {0};
    pid_t own[] = {r->b->zygote_pid, r->b->partner_pid, r->cell.init, partner_cell.init, r->peer, r->peer_cell.init};
    if (leaf->cpu_usage < 0 || leaf->version == 0)
        sandbox_usage(own, 6, 0, &u);
    if (leaf->cpu_usage >= 0)
        u.cpu_s = 1e-9 * (double)(sandbox_leaf_cpu_ns(leaf) - leaf->cpu_ns);
    if (u.cpu_s * 1000 > (double)l->cpu_ms)
        return r->f->hit_cpu = 1;
    if (leaf->version)
        return r->f->oom = sandbox_leaf_ooms(leaf) > leaf->ooms;
    if (u.bytes > l->mem_bytes)
        sandbox_usage(own, 6, 1, &u);
    if (u.bytes > r->f->mem_peak)
        r->f->mem_peak = u.bytes;
    return r->f->hit_mem = u.bytes > l->mem_bytes;
}

/* When the wall time ends. Time that the program, or the tests beside it, were ready and had no CPU is not theirs: on a
 * machine with more work than CPUs an honest program would be too slow. A sleeper gains nothing by it. */
static double wall_end_of(const struct running *r)
{
    double limit = 1e-3 * (double)r->a->limits.wall_ms, waited = sandbox_waited(r->main);
    if (r->a->has_request && r->b->partner_pid > 0)
        waited += sandbox_waited(r->b->partner_pid) - r->partner_waited0;
    return r->began + limit + (waited > WAIT_MAX * limit ? WAIT_MAX * limit : waited);
}

/* Serves the streams until the program has ended (1) or must be ended (0). */
static int watch(struct running *r)
{
    const struct sandbox_limits *l = &r->a->limits;
    double wall_end = r->began + 1e-3 * (double)l->wall_ms, look = r->began + 1e-3 * TICK_MS;
    feed(r);
    for (;;) {
        struct pollfd p[] = {{r->main_fd, POLLIN, 0}, {r->in, POLLOUT, 0}, {r->out, POLLIN, 0}, {r->err, POLLIN, 0},
                             {r->a->has_request ? r->b->partner_fd : r->peer_fd, POLLIN, 0}, {r->b->control, POLLRDHUP, 0},
                             {r->report, POLLIN, 0}};
        double now = clock_now(), until = look < wall_end ? look : wall_end;
        struct timespec wait = {0, 0};
        if (until > now) {
            wait.tv_sec = (time_t)(until - now);
            wait.tv_nsec = (long)((until - now - (double)wait.tv_sec) * 1e9);
        }
        if (ppoll(p, 7, &wait, NULL) < 0 && errno != EINTR)
            return 0;
        now = clock_now();
        if (p[5].revents)
            _exit(0); /* the owner is gone */
        if (p[1].revents)
            feed(r);
        if (p[2].revents && drain(&r->out, r->o[0], l->out_bytes)) {
            r->f->hit_out = 1;
            return 0;
        }
        if (p[3].revents && drain(&r->err, r->o[1], l->out_bytes)) {
            r->f->hit_err = 1;
            return 0;
        }
        if (p[6].revents && drain(&r->report, &r->answer, REPORT_MAX))
            close_fd(&r->report);
        if (p[4].revents && r->a->has_peer)
            r->partner_done = 1;
        else if (p[4].revents)
            hear_partner(r);
        if (p[0].revents)
            return 1;
        if (r->partner_done)
            return 0;
        if (now >= wall_end && now >= (wall_end = wall_end_of(r)) - 1e-3) {
            r->f->hit_wall = 1;
            return 0;
        }
        if (now >= look) {
            if (over_limit(r))
                return 0;
            look = now + 1e-3 * (r->b->leaf.version && r->b->leaf.cpu_usage >= 0 ? TICK_MS : TICK_POLL_MS);
        }
    }
}

/* The tests may still be deciding after the program has ended: the pipe's end tells them. */
static void await_partner(struct running *r)
{
    int wait_ms = r->f->ended ? (int)r->a->limits.wall_ms + PARTNER_GRACE_MS : PARTNER_GRACE_MS;
    double end = clock_now() + 1e-3 * wait_ms;
    while (r->a->has_request && !r->partner_done && r->b->partner_fd >= 0) {
        struct pollfd p = {r->b->partner_fd, POLLIN, 0};
        double left = end - clock_now();
        if (left <= 0 || poll(&p, 1, (int)(left * 1000) + 1) < 0)
            break;
        if (p.revents)
            hear_partner(r);
    }
    if (r->a->has_request && r->partner_done != 1)
        partner_stop(r->b);
    r->f->partner_ok = r->partner_done == 1;
}

/* The same for a peer; then its cell ends. */
static void end_peer(struct running *r)
{
    struct pollfd p = {r->peer_fd, POLLIN, 0};
    if (r->peer > 0) {
        if (!r->partner_done && r->f->ended && poll(&p, 1, PARTNER_GRACE_MS) == 1)
            r->partner_done = 1;
        if (!r->partner_done)
            kill(r->peer, SIGKILL);
        while (waitpid(r->peer, &r->f->peer_status, 0) < 0 && errno == EINTR)
            continue;
        r->f->partner_ok = r->partner_done;
    }
    sandbox_cell_end(&r->peer_cell);
    close_fd(&r->peer_fd);
}

static void read_note(struct running *r)
{
    struct note n = {0};
    ssize_t k = r->note < 0 ? -1 : read(r->note, &n, sizeof n);
    if (k == 1)
        r->f->syntax = 1;
    if (k != sizeof n)
        return;
    if (n.step == STEP_exec)
        r->f->exec_errno = n.sys;
    else {
        r->f->failed = n.step;
        r->f->sys = n.sys;
    }
}

/* A file the program made, taken out by name without following anything it may have put in the way. */
static void keep_file(struct running *r, struct sbuf *kept)
{
    char name[256];
    struct stat st;
    snprintf(name, sizeof name, "%.*s", STR_ARG(r->a->keep));
    struct { uint64_t flags, mode, resolve; } how = {O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW, 0, 0x0c | 0x01}; /* beneath, no links, no mounts */
    int fd = (int)syscall(SYS_openat2, r->cell.box_fd, name, &how, sizeof how);
    if (fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size <= r->a->limits.file_bytes) {
        char *p = sbuf_room(kept, st.st_size);
        ssize_t n = p ? read(fd, p, (size_t)st.st_size) : -1;
        if (n == st.st_size) {
            kept->n += n;
            r->f->kept = 1;
        }
    }
    if (fd >= 0)
        close(fd);
}

static void end(struct running *r, struct sbuf *kept)
{
    struct leaf *leaf = &r->b->leaf;
    struct run_facts *f = r->f;
    f->wall_ms = 1e3 * (clock_now() - r->began);
    if (r->main > 0 && !f->ended)
        kill(r->main, SIGKILL);
    if (r->cell.init > 0)
        kill(r->cell.init, SIGKILL);
    if (r->main > 0)
        while (wait4(r->main, &f->status, 0, &r->ru) < 0 && errno == EINTR)
            continue;
    /* the init is reaped only after everything in its namespace is: from here on nothing runs */
    double cpu = sandbox_cell_kill(&r->cell) + (double)r->ru.ru_utime.tv_sec + (double)r->ru.ru_stime.tv_sec +
                 1e-6 * (double)(r->ru.ru_utime.tv_usec + r->ru.ru_stime.tv_usec);
    if (r->a->keep.n && f->ended)
        keep_file(r, kept);
    sandbox_cell_end(&r->cell);
    if (r->out >= 0 && drain(&r->out, r->o[0], r->a->limits.out_bytes))
        f->hit_out = 1;
    if (r->err >= 0 && drain(&r->err, r->o[1], r->a->limits.out_bytes))
        f->hit_err = 1;
    if (r->report >= 0)
        drain(&r->report, &r->answer, REPORT_MAX);
    if (leaf->cpu_usage >= 0 && r->main > 0) {
        int64_t now = sandbox_leaf_cpu_ns(leaf);
        cpu = 1e-9 * (double)(now - leaf->cpu_ns);
        leaf->cpu_ns = now;
    }
    f->cpu_ms = 1e3 * cpu;
    if (f->ended && !f->hit_cpu && f->cpu_ms > (double)r->a->limits.cpu_ms)
        f->hit_cpu = 1;
    if (leaf->version) {
        int64_t ooms = sandbox_leaf_ooms(leaf);
        f->mem_peak = sandbox_leaf_peak(leaf);
        f->oom = f->oom || ooms > leaf->ooms;
        leaf->ooms = ooms;
    } else if (f->mem_peak < (int64_t)r->ru.ru_maxrss << 10) {
        f->mem_peak = (int64_t)r->ru.ru_maxrss << 10;
    }
}

static void one_run(struct running *r, struct sbuf *kept)
{
    struct run_facts *f = r->f;
    struct leaf *leaf = &r->b->leaf;
    if (leaf->version) {
        f->failed = sandbox_leaf_limit(leaf, r->a->limits.mem_bytes) ? STEP_cgroup : 0;
        sandbox_leaf_reset(leaf);
    }
    f->failed = f->failed ? f->failed : begin(r);
    f->sys = f->failed ? errno : 0;
    if (!f->failed) {
        f->ended = watch(r);
        if (r->a->has_request && (f->ended || f->hit_wall || f->hit_cpu || f->oom || f->hit_mem || f->hit_out || f->hit_err)) {
            if (!f->ended)
                kill(r->cell.init, SIGKILL);
            await_partner(r);
        }
        f->partner_ok = r->partner_done == 1;
        read_note(r);
    }
    end(r, kept);
    end_peer(r);
    int ours[] = {r->in, r->out, r->err, r->note, r->main_fd, r->report};
    for (unsigned i = 0; i < sizeof ours / sizeof *ours; i++)
        if (ours[i] >= 0)
            close(ours[i]);
}

void sandbox_box_run(struct box *b, struct str body, struct sbuf *reply)
{
    static struct ask a;
    static struct sbuf out[3]; /* stdout, stderr, kept: their memory stays for the next run */
    struct run_facts f = {0};
    struct running r = {.b = b, .a = &a, .f = &f, .cell = {.init = -1, .init_fd = -1, .tmp_fd = -1, .box_fd = -1, .top_fd = -1}, .main = -1, .main_fd = -1,
                        .peer = -1, .peer_fd = -1, .peer_cell = {.init = -1, .init_fd = -1, .tmp_fd = -1, .box_fd = -1, .top_fd = -1}, .in = -1, .out = -1,
                        .err = -1, .note = -1, .report = -1};
    if (parse(body, &a) || (!a.python && !a.has_exe_hash && !a.n_args) || (a.python && b->zygote_pid <= 0))
        _exit(1); /* the owner does not send such a thing */
    for (int i = 0; i < 3; i++) {
        if (out[i].max != WIRE_MAX || out[i].cap > 16 << 20) {
            sbuf_release(&out[i]);
            sbuf_init(&out[i], WIRE_MAX);
        }
        sbuf_clear(&out[i]);
    }
    r.o[0] = &out[0];
    r.o[1] = &out[1];
    sbuf_init(&r.answer, PARTNER_MAX + 4);
    sandbox_wire_begin(reply);
    one_run(&r, &out[2]);
    if ((f.failed == STEP_exe && (!a.has_exe || (a.has_peer && !a.peer_sent))) || (f.failed == STEP_tree && !a.tree_sent && !f.sys))
        sandbox_wire_put(reply, WIRE_NEED_EXE, "", 0);
    sandbox_wire_put(reply, WIRE_DONE, &f, sizeof f);
    sandbox_wire_put(reply, WIRE_OUT, out[0].p, out[0].n);
    sandbox_wire_put(reply, WIRE_ERR, out[1].p, out[1].n);
    if (f.kept)
        sandbox_wire_put(reply, WIRE_KEPT, out[2].p, out[2].n);
    if (a.report)
        sandbox_wire_put(reply, WIRE_PARTNER, r.answer.p, r.answer.n);
    else if (f.partner_ok && a.has_request)
        sandbox_wire_put(reply, WIRE_PARTNER, r.answer.p + 4, r.answer.n - 4);
    sandbox_wire_end(reply);
    sbuf_release(&r.answer);
    for (int i = 0; i < a.n_args; i++)
        free(a.argv[i]);
}
