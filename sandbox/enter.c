/* From a fresh fork in the box to a confined process of a run. Everything here is system calls: the
 * caller may share memory with the box (vfork) or be a copy of a Python process. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/inner.h"

enum { N_FDS = FD_EXE + 1 };

/* The owner's own limits stay above ours. Read once: in a box nothing changes them. */
static struct rlimit own[RLIM_NLIMITS];

static int set_limit(int which, int64_t soft, int64_t hard)
{
    struct rlimit l = {(rlim_t)soft, (rlim_t)hard};
    if (own[which].rlim_max < l.rlim_max)
        l.rlim_max = own[which].rlim_max;
    if (l.rlim_cur > l.rlim_max)
        l.rlim_cur = l.rlim_max;
    return setrlimit((unsigned)which, &l);
}

int sandbox_enter_once(void)
{
    int bad = 0;
    for (int i = 0; i < RLIM_NLIMITS; i++)
        bad |= getrlimit((unsigned)i, &own[i]);
    return bad | set_limit(RLIMIT_CORE, 0, 0) | set_limit(RLIMIT_MSGQUEUE, 0, 0) | set_limit(RLIMIT_SIGPENDING, 256, 256) |
           set_limit(RLIMIT_MEMLOCK, 64 << 10, 64 << 10) | set_limit(RLIMIT_NICE, 0, 0) | set_limit(RLIMIT_RTPRIO, 0, 0);
}

static int set_limits(const struct enter *n)
{
    const struct sandbox_limits *l = &n->limits;
    int64_t cpu_s = l->cpu_ms / 1000 + 2; /* the box counts the tree in ms; this only ends what outlives the box */
    int bad = set_limit(RLIMIT_CPU, cpu_s, cpu_s + 1) | set_limit(RLIMIT_FSIZE, l->file_bytes, l->file_bytes) |
              set_limit(RLIMIT_NOFILE, l->fds, l->fds) | set_limit(RLIMIT_NPROC, l->procs + n->nproc_base, l->procs + n->nproc_base) |
              set_limit(RLIMIT_STACK, l->stack_bytes, l->stack_bytes);
    if (n->limit_as) {
        /* address space is not memory: interpreters and thread stacks reserve more than they touch */
        int64_t as = n->as_base + l->mem_bytes + l->mem_bytes / 2 + (256LL << 20);
        bad |= set_limit(RLIMIT_AS, as, as);
    }
    return bad;
}

/* Everything goes to its fixed number and nothing else stays open. First out of the way, then into place. */
static int place_fds(const struct enter *n)
{
    const int from[N_FDS] = {n->in, n->out, n->err, n->note, n->call_in, n->call_out, n->exe};
    int high[N_FDS], at = 0;
    for (int i = 0; i < N_FDS; i++)
        if ((high[i] = from[i] < 0 || from[i] >= N_FDS ? from[i] : fcntl(from[i], F_DUPFD, N_FDS)) < 0 && from[i] >= 0)
            return -1;
    for (int i = 0; i < N_FDS; i++) {
        if (high[i] >= 0 && dup3(high[i], i, i == FD_NOTE || i == FD_EXE ? O_CLOEXEC : 0) < 0)
            return -1;
        if (high[i] < 0)
            close(i);
        else
            at = i;
    }
    return (int)syscall(SYS_close_range, at + 1, ~0u, 0);
}

/* The bounding set is empty already, the box's. */
static int drop_caps(void)
{
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct d[2] = {{0, 0, 0}, {0, 0, 0}};
    return (int)syscall(SYS_capset, &h, d);
}

/* A second wall behind the mount namespace: writing is possible below /w and in the five devices only. */
static int landlock(const struct enter *n)
{
    uint64_t writes = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
                      LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |
                      LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM;
    if (n->landlock >= 2)
        writes |= 1ULL << 13; /* REFER */
    if (n->landlock >= 3)
        writes |= 1ULL << 14; /* TRUNCATE */
    struct {
        uint64_t fs, net, scoped;
    } attr = {writes, n->landlock >= 4 ? 3 : 0, n->landlock >= 6 ? 3 : 0};
    size_t size = n->landlock >= 6 ? 24 : n->landlock >= 4 ? 16 : 8;
    static const char *const places[] = {"/w", "/dev"};
    int rules = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0), bad = rules < 0;
    for (int i = 0; !bad && i < 2; i++) {
        int fd = open(places[i], O_PATH | O_CLOEXEC);
        struct landlock_path_beneath_attr r = {.allowed_access = i ? LANDLOCK_ACCESS_FS_WRITE_FILE | (writes & (1ULL << 14)) : writes,
                                               .parent_fd = fd};
        bad = fd < 0 || syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &r, 0) != 0;
        if (fd >= 0)
            close(fd);
    }
    bad = bad || syscall(SYS_landlock_restrict_self, rules, 0) != 0;
    if (rules >= 0)
        close(rules);
    return bad ? -1 : 0;
}

int sandbox_enter(const struct enter *n, const struct filter *f, int *sys)
{
    int step = 0;
#define DO(name, call)             \
    if (!step && (call)) {         \
        *sys = errno;              \
        step = STEP_##name;        \
    }
    DO(setns, setns(n->init_pidfd, CLONE_NEWNS | CLONE_NEWIPC));
    DO(chdir, chdir("/w/box"));
    DO(cgroup, n->cg_mem >= 0 && write(n->cg_mem, "0", 1) != 1);
    DO(cgroup, n->cg_cpu >= 0 && write(n->cg_cpu, "0", 1) != 1);
    DO(dup, place_fds(n));
    DO(privs, setsid() < 0);
    umask(022);
    DO(rlimit, set_limits(n));
    DO(privs, prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    DO(caps, drop_caps());
    /* not in a vfork child: the flag is the shared memory's, and exec sets it anew */
    DO(privs, !n->execs && prctl(PR_SET_DUMPABLE, !n->hidden, 0, 0, 0));
    DO(landlock, n->landlock > 0 && landlock(n));
    DO(filter, syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &f->prog));
#undef DO
    return step;
}
