/* The system call filter: an allow-list. What is not on it answers EPERM (an honest program sees a refused
 * call, not a crash); what only an attack calls ends the process with SIGSYS, which is the verdict SV.
 *
 * It is loaded in two parts, because the kernel translates a filter and tries it on every system call when it is loaded,
 * 90 us for all of this. The first part is the whole list and some calls more, those that the box, its inits and the zygote
 * make themselves (`own`): the box loads it once and is bound by it too. The second takes these calls away again: each
 * program loads it, and it is short. The kernel asks both and does what the stricter one says. */
#include <asm/ioctls.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/log.h"
#include "sandbox/inner.h"

static const char *const allowed[] = {
    /* files */ "read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "preadv2", "pwritev2", "open", "openat",
    "openat2", "creat", "close", "close_range", "lseek", "stat", "fstat", "lstat", "newfstatat", "statx", "statfs", "fstatfs", "access",
    "faccessat", "faccessat2", "readlink", "readlinkat", "getdents", "getdents64", "getcwd", "chdir", "fchdir", "mkdir", "mkdirat", "rmdir",
    "unlink", "unlinkat", "rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat", "truncate", "ftruncate",
    "fallocate", "chmod", "fchmod", "fchmodat", "chown", "fchown", "lchown", "fchownat", "utime", "utimes", "utimensat", "futimesat",
    "umask", "fsync", "fdatasync", "sync_file_range", "fadvise64", "readahead", "sendfile", "copy_file_range", "flock", "dup", "dup2",
    "dup3", "pipe", "pipe2", "getxattr", "lgetxattr", "fgetxattr", "listxattr", "llistxattr", "flistxattr", "mknod", "mknodat",
    /* waiting */ "poll", "ppoll", "select", "pselect6", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait",
    "epoll_pwait2", "eventfd", "eventfd2", "timerfd_create", "timerfd_settime", "timerfd_gettime", "signalfd", "signalfd4",
    "nanosleep", "clock_nanosleep", "pause", "alarm", "getitimer", "setitimer", "timer_create", "timer_settime", "timer_gettime",
    "timer_getoverrun", "timer_delete",
    /* sockets between own processes only */ "recvmsg", "sendmsg", "recvfrom", "sendto", "shutdown", "getsockopt", "setsockopt",
    "getsockname", "getpeername",
    /* memory */ "mmap", "munmap", "mprotect", "mremap", "brk", "madvise", "msync", "mincore", "mlock", "mlock2", "munlock", "mlockall",
    "munlockall",
    /* processes */ "fork", "vfork", "execve", "execveat", "exit", "exit_group", "wait4", "waitid", "kill", "tkill", "tgkill",
    "pidfd_open", "pidfd_send_signal", "getpid", "getppid", "gettid", "getpgid", "getpgrp", "setpgid", "getsid", "setsid", "getuid",
    "geteuid", "getgid", "getegid", "getresuid", "getresgid", "getgroups", "getrlimit", "setrlimit", "prlimit64", "getrusage", "times",
    "getpriority", "setpriority", "sched_yield", "sched_getaffinity", "sched_setaffinity", "sched_getparam", "sched_setparam",
    "sched_getscheduler", "sched_setscheduler", "sched_get_priority_max", "sched_get_priority_min", "sched_getattr",
    "set_tid_address", "set_robust_list", "get_robust_list", "futex", "rseq", "membarrier", "arch_prctl", "getcpu", "capget",
    /* signals */ "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigpending", "rt_sigtimedwait", "rt_sigsuspend", "rt_sigqueueinfo",
    "rt_tgsigqueueinfo", "sigaltstack", "restart_syscall",
    /* time and the rest */ "time", "gettimeofday", "clock_gettime", "clock_getres", "uname", "sysinfo", "getrandom",
};

/* Newer calls that libraries try first and replace when the kernel says it has none. */
static const char *const absent[] = {"clone3", "fchmodat2", "futex_waitv", "futex_wait", "futex_wake", "memfd_create", "process_madvise",
                                     "cachestat", "map_shadow_stack", "mseal", "statmount", "listmount"};

static const char *const deadly[] = {
    "ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "bpf", "perf_event_open", "userfaultfd", "io_uring_setup",
    "io_uring_enter", "io_uring_register", "mount", "umount2", "pivot_root", "chroot", "open_tree", "move_mount", "fsopen", "fsconfig",
    "fsmount", "fspick", "mount_setattr", "setns", "unshare", "open_by_handle_at", "kexec_load", "kexec_file_load", "init_module",
    "finit_module", "delete_module", "reboot", "swapon", "swapoff", "acct", "quotactl", "iopl", "ioperm", "add_key", "request_key",
    "keyctl", "fanotify_init", "pidfd_getfd", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "syslog", "vhangup",
    "lookup_dcookie", "nfsservctl", "modify_ldt", "sethostname", "setdomainname",
};

/* What the box does and a program must not: refused as the lists above say, else with EPERM. Of those with a list of values
 * programs may use these. */
static const unsigned prctls[] = {PR_SET_NAME, PR_GET_NAME, PR_SET_PDEATHSIG, PR_GET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, PR_GET_DUMPABLE, PR_SET_DUMPABLE,
                                  PR_GET_NO_NEW_PRIVS, PR_SET_NO_NEW_PRIVS, PR_CAPBSET_READ, 0x53564d41 /* PR_SET_VMA */};
/* locks are allowed, leases and directory notices are not: they reach across to other holders of a file */
static const unsigned fcntls[] = {F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GETLK, F_SETLK, F_SETLKW, F_SETOWN, F_GETOWN,
                                  F_SETSIG, F_GETSIG, F_GETPIPE_SZ, F_SETPIPE_SZ, F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW};
static const unsigned namespaces[] = {CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET |
                                      0x80 /* CLONE_NEWTIME */ | CLONE_PARENT | CLONE_PTRACE | CLONE_UNTRACED};
#define N(x) ((int)(sizeof(x) / sizeof *(x)))
struct own {
    int nr, arg;            /* the argument that decides */
    const unsigned *values; /* allowed with one of them, or, for n -1, without these bits */
    int n;
};
static const struct own own[] = {
    {SYS_clone, 0, namespaces, -1},
    {SYS_fcntl, 1, fcntls, N(fcntls)},
    {SYS_prctl, 0, prctls, N(prctls)},
    {.nr = SYS_capset},
    {.nr = SYS_setns},
    {.nr = SYS_umount2},
    {.nr = SYS_fsopen},
    {.nr = SYS_fsconfig},
    {.nr = SYS_fsmount},
    {.nr = SYS_move_mount},
    {.nr = SYS_mount_setattr},
    {.nr = SYS_memfd_create},
    {.nr = SYS_seccomp},
    {.nr = SYS_landlock_create_ruleset},
    {.nr = SYS_landlock_add_rule},
    {.nr = SYS_landlock_restrict_self},
};

static int is_own(int nr)
{
    for (int i = 0; i < N(own); i++)
        if (own[i].nr == nr)
            return 1;
    return 0;
}

static int add_all(scmp_filter_ctx c, uint32_t action, const char *const *names, int n)
{
    for (int i = 0; i < n; i++) {
        int nr = seccomp_syscall_resolve_name(names[i]);
        if (nr == __NR_SCMP_ERROR || nr < 0 || is_own(nr))
            continue; /* this libseccomp does not know it: the default refuses it */
        int rc = seccomp_rule_add(c, action, nr, 0);
        if (rc)
            return rc;
    }
    return 0;
}

static int add_checked(scmp_filter_ctx c)
{
    static const unsigned long ioctls[] = {TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIOCLEX, FIONCLEX, TIOCGPGRP};
    int rc = seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(socketpair), 1, SCMP_A0(SCMP_CMP_EQ, AF_UNIX));
    for (int i = 0; !rc && i < N(ioctls); i++)
        rc = seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1, SCMP_A1(SCMP_CMP_EQ, ioctls[i]));
    for (int i = 0; !rc && i < N(own); i++)
        rc = seccomp_rule_add(c, SCMP_ACT_ALLOW, own[i].nr, 0);
    rc = rc ? rc : seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(personality), 1, SCMP_A0(SCMP_CMP_EQ, 0xffffffffu));
    return rc;
}

err_code sandbox_filter_box(struct filter *f, struct err *e)
{
    scmp_filter_ctx c = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (!c)
        return err_set(e, ERR_SANDBOX, "cannot start a seccomp filter");
    int rc = seccomp_attr_set(c, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    seccomp_attr_set(c, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a binary tree; libseccomp before 2.5 keeps the list */
    rc = rc ? rc : add_all(c, SCMP_ACT_ALLOW, allowed, N(allowed));
    rc = rc ? rc : add_all(c, SCMP_ACT_ERRNO(ENOSYS), absent, N(absent));
    rc = rc ? rc : add_all(c, SCMP_ACT_KILL_PROCESS, deadly, N(deadly));
    rc = rc ? rc : add_checked(c);
    int fd = rc ? -1 : memfd_create("filter", MFD_CLOEXEC);
    rc = rc ? rc : fd < 0 ? -errno : seccomp_export_bpf(c, fd);
    seccomp_release(c);
    off_t n = rc ? 0 : lseek(fd, 0, SEEK_END);
    struct sock_filter *code = n > 0 ? malloc((size_t)n) : NULL;
    if (!rc && (!code || pread(fd, code, (size_t)n, 0) != n))
        rc = -EIO;
    if (fd >= 0)
        close(fd);
    if (rc) {
        free(code);
        errno = rc < 0 ? -rc : rc;
        return err_sys(e, ERR_SANDBOX, "cannot build the seccomp filter");
    }
    f->prog = (struct sock_fprog){.len = (unsigned short)(n / (off_t)sizeof *code), .filter = code};
    return ERR_OK;
}

/* ---- the second part: a search for the call, then what becomes of it. Which machine's calls they are the first part decides. */

enum { CODE_MAX = 256, ALLOW = SECCOMP_RET_ALLOW };
struct code {
    struct sock_filter op[CODE_MAX];
    int n;
};

static int put(struct code *c, unsigned op, unsigned k, int jt, int jf)
{
    if (c->n == CODE_MAX || jt > 255 || jf > 255)
        BUG("the second filter is too long");
    c->op[c->n] = (struct sock_filter){(unsigned short)op, (unsigned char)jt, (unsigned char)jf, k};
    return c->n++;
}

static int on_list(const char *const *names, int n, int nr)
{
    for (int i = 0; i < n; i++)
        if (seccomp_syscall_resolve_name(names[i]) == nr)
            return 1;
    return 0;
}

static void put_decision(struct code *c, const struct own *o)
{
    unsigned refuse = on_list(deadly, N(deadly), o->nr)   ? SECCOMP_RET_KILL_PROCESS
                      : on_list(absent, N(absent), o->nr) ? SECCOMP_RET_ERRNO | ENOSYS
                                                          : SECCOMP_RET_ERRNO | EPERM;
    if (o->n) /* the lower half: the kernel looks at no more of these */
        put(c, BPF_LD | BPF_W | BPF_ABS, (unsigned)offsetof(struct seccomp_data, args) + 8u * (unsigned)o->arg, 0, 0);
    if (o->n < 0) {
        put(c, BPF_JMP | BPF_JSET | BPF_K, o->values[0], 1, 0);
        put(c, BPF_RET | BPF_K, ALLOW, 0, 0);
    }
    for (int i = 0; i < o->n; i++)
        put(c, BPF_JMP | BPF_JEQ | BPF_K, o->values[i], o->n - i, 0);
    put(c, BPF_RET | BPF_K, refuse, 0, 0);
    if (o->n > 0)
        put(c, BPF_RET | BPF_K, ALLOW, 0, 0);
}

static void put_search(struct code *c, const struct own *o, int n)
{
    if (n == 1) {
        put(c, BPF_JMP | BPF_JEQ | BPF_K, (unsigned)o->nr, 1, 0);
        put(c, BPF_RET | BPF_K, ALLOW, 0, 0);
        put_decision(c, o);
        return;
    }
    int at = put(c, BPF_JMP | BPF_JGE | BPF_K, (unsigned)o[n / 2].nr, 0, 0);
    put_search(c, o, n / 2);
    int skip = c->n - at - 1;
    if (skip > 255)
        BUG("the second filter is too long");
    c->op[at].jt = (unsigned char)skip;
    put_search(c, o + n / 2, n - n / 2);
}

static int by_number(const void *a, const void *b) { return ((const struct own *)a)->nr - ((const struct own *)b)->nr; }

void sandbox_filter_program(struct filter *f)
{
    static struct code c;
    struct own sorted[N(own)];
    memcpy(sorted, own, sizeof own);
    qsort(sorted, N(own), sizeof *own, by_number);
    c.n = 0;
    put(&c, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr), 0, 0);
    put_search(&c, sorted, N(own));
    f->prog = (struct sock_fprog){.len = (unsigned short)c.n, .filter = c.op};
}
