/* A cell: the namespaces and the tmpfs of one run, held open by an init process that shares the box's
 * memory and descriptors (so that making it copies neither) and does nothing but collect orphans. Ending a cell is
 * one SIGKILL to that init: the kernel ends every process in it, and the tmpfs goes with the last. */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/mount.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/run.h"

enum { STACK_BYTES = 16 << 10, CELL_STARTING = 0, CELL_READY = -1 }; /* the state; above 0 an errno */

/* The init runs in the box's memory beside the box: no libc calls, they would share errno with it. */
static long raw(long nr, long a, long b, long c, long d, long e)
{
    long r;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    __asm__ volatile("syscall" : "=a"(r) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8) : "rcx", "r11", "memory");
    return r;
}

/* The tree with the run's own layer over it becomes the working folder. */
__attribute__((no_sanitize("address", "undefined", "thread"))) static long mount_tree(struct cell *c)
{
    static const char *const top = TREES_AT "/run", *const upper = TREES_AT "/run/u", *const work = TREES_AT "/run/w";
    long bad = raw(SYS_move_mount, c->top_fd, (long)"", AT_FDCWD, (long)top, MOVE_MOUNT_F_EMPTY_PATH);
    long fs = bad ? bad : raw(SYS_fsopen, (long)"overlay", 0, 0, 0, 0);
    if (fs < 0)
        return fs;
    bad = raw(SYS_fsconfig, fs, FSCONFIG_SET_STRING, (long)"lowerdir", (long)c->lower, 0);
    bad = bad ? bad : raw(SYS_fsconfig, fs, FSCONFIG_SET_STRING, (long)"upperdir", (long)upper, 0);
    bad = bad ? bad : raw(SYS_fsconfig, fs, FSCONFIG_SET_STRING, (long)"workdir", (long)work, 0);
    bad = bad ? bad : raw(SYS_fsconfig, fs, FSCONFIG_SET_FLAG, (long)"userxattr", 0, 0);
    bad = bad ? bad : raw(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, 0, 0, 0);
    long fd = bad ? bad : raw(SYS_fsmount, fs, 0, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, 0, 0);
    return fd < 0 ? fd : raw(SYS_move_mount, fd, (long)"", AT_FDCWD, (long)"/w/box", MOVE_MOUNT_F_EMPTY_PATH);
}

__attribute__((no_sanitize("address", "undefined", "thread"))) static int init_main(void *arg)
{
    struct cell *c = arg;
    uint64_t chld = 1ULL << (SIGCHLD - 1);
    long bad = raw(SYS_rt_sigprocmask, SIG_BLOCK, (long)&chld, 0, 8, 0);
    if (!bad)
        bad = raw(SYS_move_mount, c->tmp_fd, (long)"", AT_FDCWD, (long)"/w", MOVE_MOUNT_F_EMPTY_PATH);
    if (!bad && c->top_fd >= 0)
        bad = mount_tree(c);
    if (!bad && c->has_trees)
        bad = raw(SYS_umount2, (long)TREES_AT, MNT_DETACH, 0, 0, 0);
    __atomic_store_n(&c->state, bad ? (int32_t)-bad : CELL_READY, __ATOMIC_RELEASE);
    raw(SYS_futex, (long)&c->state, FUTEX_WAKE_PRIVATE, 1, 0, 0);
    for (;;) {
        raw(SYS_rt_sigtimedwait, (long)&chld, 0, 0, 8, 0);
        while (raw(SYS_wait4, -1, 0, WNOHANG, 0, 0) > 0)
            continue;
    }
    return 0;
}

int sandbox_tmpfs(int64_t bytes, int64_t n_inodes)
{
    char size[24], inodes[24];
    snprintf(size, sizeof size, "%lld", (long long)bytes);
    snprintf(inodes, sizeof inodes, "%lld", (long long)n_inodes);
    int fs = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC);
    if (fs < 0)
        return -1;
    int bad = syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "size", size, 0) ||
              syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "nr_inodes", inodes, 0) ||
              syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "mode", "0755", 0) ||
              syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
    int fd = bad ? -1 : (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
    int saved = errno;
    close(fs);
    errno = saved;
    return fd;
}

/* A link, or the mark by which overlayfs knows that a file of the tree below is gone. A descriptor or -1. */
static int put_other(int at, const char *part, struct str bytes, enum sandbox_file_kind kind)
{
    char to[4096];
    int bad;
    if (kind == SANDBOX_GONE) {
        bad = mknodat(at, part, S_IFCHR, 0);
    } else if (bytes.n <= 0 || bytes.n >= (int64_t)sizeof to || memchr(bytes.p, 0, (size_t)bytes.n)) {
        errno = EINVAL;
        return -1;
    } else {
        snprintf(to, sizeof to, "%.*s", STR_ARG(bytes));
        bad = symlinkat(to, at, part);
    }
    return bad ? -1 : openat(at, part, O_PATH | O_NOFOLLOW | O_CLOEXEC);
}

/* "a/b/c.txt" below dir; folders are made. Names were checked by the owner and are checked again. */
int sandbox_cell_put(int dir, struct str name, struct str bytes, enum sandbox_file_kind kind)
{
    char part[256];
    int at = dup(dir), fd = -1;
    struct str rest = name, piece;
    while (at >= 0 && str_split(&rest, '/', &piece)) {
        if (piece.n == 0 || piece.n > 255 || str_eq(piece, STR(".")) || str_eq(piece, STR("..")) || memchr(piece.p, 0, (size_t)piece.n)) {
            close(at);
            errno = EINVAL;
            return -1;
        }
        snprintf(part, sizeof part, "%.*s", STR_ARG(piece));
        if (rest.n == 0) {
            fd = kind == SANDBOX_LINK || kind == SANDBOX_GONE
                     ? put_other(at, part, bytes, kind)
                     : openat(at, part, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, kind == SANDBOX_PLAIN ? 0644 : 0755);
            break;
        }
        if (mkdirat(at, part, 0755) && errno != EEXIST)
            break;
        int next = openat(at, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        close(at);
        at = next;
    }
    int bad = fd < 0;
    for (int64_t k = 0; !bad && kind != SANDBOX_LINK && k < bytes.n;) {
        ssize_t n = write(fd, bytes.p + k, (size_t)(bytes.n - k));
        bad = n <= 0;
        k += n;
    }
    int saved = errno;
    if (fd >= 0)
        close(fd);
    if (at >= 0)
        close(at);
    errno = saved;
    return bad ? -1 : 0;
}

int sandbox_cell_make(struct cell *c, const struct sandbox_limits *l)
{
    *c = (struct cell){.init = -1, .init_fd = -1, .tmp_fd = -1, .box_fd = -1, .top_fd = -1};
    c->tmp_fd = sandbox_tmpfs(l->tmp_bytes, l->tmp_inodes);
    if (c->tmp_fd < 0 || mkdirat(c->tmp_fd, "tmp", 0777) || mkdirat(c->tmp_fd, "shm", 0777) || mkdirat(c->tmp_fd, "box", 0755) ||
        (c->box_fd = openat(c->tmp_fd, "box", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        return STEP_tmpfs;
    return 0;
}

int sandbox_cell_over(struct cell *c, const struct sandbox_limits *l, int slot)
{
    snprintf(c->lower, sizeof c->lower, TREES_AT "/%d", slot);
    c->top_fd = sandbox_tmpfs(l->tmp_bytes, l->tmp_inodes);
    if (c->top_fd < 0 || mkdirat(c->top_fd, "u", 0755) || mkdirat(c->top_fd, "w", 0755))
        return STEP_tree;
    close(c->box_fd);
    c->box_fd = openat(c->top_fd, "u", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return c->box_fd < 0 ? STEP_tree : 0;
}

int sandbox_cell_start(struct cell *c)
{
    static char *stacks; /* freed stacks, linked by their first word */
    char *stack = stacks;
    if (stack)
        memcpy(&stacks, stack, sizeof stacks);
    else
        stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED)
        return STEP_init;
    c->stack = stack;
    c->stacks = &stacks;
    c->state = CELL_STARTING;
    const int flags = CLONE_VM | CLONE_FILES | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_PIDFD | SIGCHLD;
    c->init = clone(init_main, stack + STACK_BYTES, flags, c, &c->init_fd);
    return c->init < 0 ? STEP_init : 0;
}

int sandbox_cell_ready(struct cell *c)
{
    int32_t state;
    while ((state = __atomic_load_n(&c->state, __ATOMIC_ACQUIRE)) == CELL_STARTING) {
        const struct timespec wait = {0, 100000000};
        struct pollfd p = {c->init_fd, POLLIN, 0};
        if (syscall(SYS_futex, &c->state, FUTEX_WAIT_PRIVATE, CELL_STARTING, &wait, NULL, 0) && errno == ETIMEDOUT && poll(&p, 1, 0) == 1)
            state = EPIPE; /* it was killed */
        if (state)
            break;
    }
    errno = state == CELL_READY ? 0 : state;
    return state == CELL_READY ? 0 : c->top_fd >= 0 ? STEP_tree : STEP_init;
}

double sandbox_cell_kill(struct cell *c)
{
    struct rusage ru = {0};
    if (c->init <= 0)
        return 0;
    kill(c->init, SIGKILL);
    while (wait4(c->init, NULL, 0, &ru) < 0 && errno == EINTR)
        continue;
    c->init = -1;
    return (double)ru.ru_utime.tv_sec + (double)ru.ru_stime.tv_sec + 1e-6 * (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec);
}

void sandbox_cell_end(struct cell *c)
{
    sandbox_cell_kill(c);
    if (c->init_fd >= 0)
        close(c->init_fd);
    if (c->tmp_fd >= 0)
        close(c->tmp_fd);
    if (c->box_fd >= 0)
        close(c->box_fd);
    if (c->top_fd >= 0)
        close(c->top_fd);
    if (c->stack) {
        memcpy(c->stack, c->stacks, sizeof(char *));
        *c->stacks = c->stack;
    }
    *c = (struct cell){.init = -1, .init_fd = -1, .tmp_fd = -1, .box_fd = -1, .top_fd = -1};
}
