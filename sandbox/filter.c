/* The system call filter: an allow-list. What is not on it answers EPERM (an honest program sees a refused
 * call, not a crash); what only an attack calls ends the process with SIGSYS, which is the verdict SV. */
#include <asm/ioctls.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

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

static int add_all(scmp_filter_ctx c, uint32_t action, const char *const *names, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        int nr = seccomp_syscall_resolve_name(names[i]);
        if (nr == __NR_SCMP_ERROR || nr < 0)
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
    static const int prctls[] = {PR_SET_NAME, PR_GET_NAME, PR_SET_PDEATHSIG, PR_GET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, PR_GET_DUMPABLE, PR_SET_DUMPABLE,
                                 PR_GET_NO_NEW_PRIVS, PR_SET_NO_NEW_PRIVS, PR_CAPBSET_READ, 0x53564d41 /* PR_SET_VMA */};
    const unsigned long namespaces = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID |
                                     CLONE_NEWNET | 0x80 /* CLONE_NEWTIME */ | CLONE_PARENT | CLONE_PTRACE | CLONE_UNTRACED;
    int rc = seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1, SCMP_A0(SCMP_CMP_MASKED_EQ, namespaces, 0));
    rc = rc ? rc : seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(socketpair), 1, SCMP_A0(SCMP_CMP_EQ, AF_UNIX));
    for (unsigned i = 0; !rc && i < sizeof ioctls / sizeof *ioctls; i++)
        rc = seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1, SCMP_A1(SCMP_CMP_EQ, ioctls[i]));
    for (unsigned i = 0; !rc && i < sizeof prctls / sizeof *prctls; i++)
        rc = seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1, SCMP_A0(SCMP_CMP_EQ, (unsigned)prctls[i]));
    /* locks are allowed, leases and directory notices are not: they reach across to other holders of a file */
    static const int fcntls[] = {F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GETLK, F_SETLK, F_SETLKW, F_SETOWN, F_GETOWN,
                                 F_SETSIG, F_GETSIG, F_GETPIPE_SZ, F_SETPIPE_SZ, F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW};
    for (unsigned i = 0; !rc && i < sizeof fcntls / sizeof *fcntls; i++)
        rc = seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1, SCMP_A1(SCMP_CMP_EQ, (unsigned)fcntls[i]));
    rc = rc ? rc : seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(personality), 1, SCMP_A0(SCMP_CMP_EQ, 0xffffffffu));
    return rc;
}

err_code sandbox_filter_make(struct filter *f, struct err *e)
{
    scmp_filter_ctx c = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (!c)
        return err_set(e, ERR_SANDBOX, "cannot start a seccomp filter");
    int rc = seccomp_attr_set(c, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    seccomp_attr_set(c, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a binary tree; libseccomp before 2.5 keeps the list */
    rc = rc ? rc : add_all(c, SCMP_ACT_ALLOW, allowed, sizeof allowed / sizeof *allowed);
    rc = rc ? rc : add_all(c, SCMP_ACT_ERRNO(ENOSYS), absent, sizeof absent / sizeof *absent);
    rc = rc ? rc : add_all(c, SCMP_ACT_KILL_PROCESS, deadly, sizeof deadly / sizeof *deadly);
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
