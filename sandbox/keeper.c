/* The keeper: started by exec of our own image with a clean environment, it makes the control groups and the
 * namespaces, then waits for the box to end and takes the groups away. It outlives a killed owner by the
 * moment that the box needs to see its control socket close, and takes the box with it when it is killed. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/landlock.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/fault.h"
#include "sandbox/inner.h"

enum { BOX_GRACE_MS = 1000 };

static void answer_error(const char *msg)
{
    struct sbuf b;
    sbuf_init(&b, 4096);
    sandbox_wire_begin(&b);
    sandbox_wire_puts(&b, WIRE_ERROR, msg);
    sandbox_wire_end(&b);
    sandbox_wire_send(BOX_FD, &b);
    _exit(1);
}

static int put_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : write(fd, text, strlen(text));
    int saved = errno;
    if (fd >= 0)
        close(fd);
    errno = saved;
    return n < 0 ? -1 : 0;
}

/* Inside uid 1000 = an id of its own when we are root, else the caller's. */
static int write_maps(pid_t box, int outer_uid, int outer_gid, int root)
{
    char path[64], map[64];
    snprintf(path, sizeof path, "/proc/%d/setgroups", (int)box);
    if (!root && put_file(path, "deny"))
        return -1;
    snprintf(path, sizeof path, "/proc/%d/uid_map", (int)box);
    snprintf(map, sizeof map, "%d %d 1\n", BOX_UID, outer_uid);
    if (put_file(path, map))
        return -1;
    snprintf(path, sizeof path, "/proc/%d/gid_map", (int)box);
    snprintf(map, sizeof map, "%d %d 1\n", BOX_UID, outer_gid);
    return put_file(path, map);
}

static void first_in_box(struct box *b, struct sbuf *config, int wait_fd)
{
    char go;
    if (read(wait_fd, &go, 1) != 1)
        _exit(1);
    close(wait_fd);
    /* here: the descriptor must belong to the box's mounts, and as its inner user the box may not pass the folders above */
    b->pch_fd = b->pch_dir[0] ? open(b->pch_dir, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    if (b->root && setgroups(0, NULL))
        answer_error("cannot make the box: dropping groups");
    if (setresgid(BOX_UID, BOX_UID, BOX_UID) || setresuid(BOX_UID, BOX_UID, BOX_UID))
        answer_error("cannot make the box: taking the inner user");
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* Joining a cell by its init's pidfd asks for ptrace rights over it, which a box that is not dumpable would not
     * have over its own. Programs cannot use that: the box, inits and zygote hold capabilities that they lack. */
    prctl(PR_SET_DUMPABLE, 1);
    sandbox_box_main(b, config);
}

/* The config message: only what the keeper itself needs is read here. */
static void read_config(const struct sbuf *config, struct box *b, int *index, int *uid_base)
{
    struct wire_in in = {config->p, config->n, 0};
    enum wire_tag tag;
    struct str s;
    while (sandbox_wire_next(&in, &tag, &s) == 1) {
        int32_t v[2];
        if (tag == WIRE_CONFIG && s.n == sizeof v) {
            memcpy(v, s.p, sizeof v);
            *index = v[0];
            *uid_base = v[1];
        } else if (tag == WIRE_PCH_DIR) {
            snprintf(b->pch_dir, sizeof b->pch_dir, "%.*s", STR_ARG(s));
        }
    }
}

static int landlock_abi(void)
{
    long v = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    return v > 0 ? (int)v : 0;
}

/* Waits for the box to end. One that does not see that its owner has gone, because it hangs, is ended here. */
static void await_end(pid_t box)
{
    int fd = (int)syscall(SYS_pidfd_open, box, 0), gone = 0;
    for (;;) {
        struct pollfd p[] = {{fd, POLLIN, 0}, {gone ? -1 : BOX_FD, POLLRDHUP, 0}};
        int n = poll(p, 2, gone ? BOX_GRACE_MS : -1);
        if (fd < 0 || p[0].revents || (n < 0 && errno != EINTR))
            break;
        if (n == 0)
            kill(box, SIGKILL);
        gone = gone || p[1].revents;
    }
    close(BOX_FD); /* the owner sees the end now, not after the groups are gone */
    while (waitpid(box, NULL, 0) < 0 && errno == EINTR)
        continue;
}

void sandbox_keeper_main(void)
{
    static struct box b;
    struct sbuf config;
    int index = 0, uid_base = 60000, go[2];
    struct rlimit core = {0, 0};
    if (fcntl(BOX_FD, F_GETFD) < 0)
        _exit(1); /* started by hand */
    prctl(PR_SET_NAME, "hone-box");
    syscall(SYS_close_range, BOX_FD + 1, ~0u, 0);
    fcntl(BOX_FD, F_SETFD, FD_CLOEXEC);
    setsid();
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    setrlimit(RLIMIT_CORE, &core);
    sbuf_init(&config, 64 << 20);
    if (sandbox_wire_recv(BOX_FD, &config, 64 << 20))
        _exit(1);
    b = (struct box){.control = BOX_FD, .root = geteuid() == 0, .landlock = landlock_abi(), .partner_fd = -1, .zygote_fd = -1, .pch_fd = -1};
    read_config(&config, &b, &index, &uid_base);
    sandbox_leaf_make(&b.leaf, index);
    if (b.leaf.pids_procs >= 0 && write(b.leaf.pids_procs, "0", 1) < 0)
        b.leaf.pids_procs = -1;
    if (pipe2(go, O_CLOEXEC))
        answer_error("cannot make the box: no pipe");
    long flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP | SIGCHLD;
    pid_t box = fault_hit("userns") ? (errno = EPERM, -1) : (pid_t)syscall(SYS_clone, flags, NULL, NULL, NULL, NULL);
    if (box == 0) {
        close(go[1]);
        first_in_box(&b, &config, go[0]);
    }
    if (box < 0) {
        char msg[300];
        snprintf(msg, sizeof msg, "cannot make namespaces: %s; hint: allow unprivileged user namespaces (sysctl user.max_user_namespaces), see 'hone doctor'",
                 strerror(errno));
        sandbox_leaf_remove(&b.leaf);
        answer_error(msg);
    }
    if (write_maps(box, b.root ? uid_base + index : (int)geteuid(), b.root ? uid_base + index : (int)getegid(), b.root) ||
        write(go[1], "g", 1) != 1) {
        char msg[300];
        snprintf(msg, sizeof msg, "cannot map the inner user: %s", strerror(errno));
        kill(box, SIGKILL);
        waitpid(box, NULL, 0);
        sandbox_leaf_remove(&b.leaf);
        answer_error(msg);
    }
    close(go[0]);
    prctl(PR_SET_DUMPABLE, 0);
    await_end(box);
    /* out of the pids leaf before it can be removed */
    if (b.leaf.pids_procs >= 0) {
        char up[300];
        snprintf(up, sizeof up, "%s/../cgroup.procs", b.leaf.dirs[b.leaf.n_dirs - 1]);
        if (put_file(up, "0"))
            errno = 0;
    }
    sandbox_leaf_remove(&b.leaf);
    _exit(0);
}
