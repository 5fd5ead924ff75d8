/* PID 1 of a worker's namespaces: takes one request after the other from the owner. It dies with the
 * control socket, and everything below it dies with it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/run.h"

static void fail_start(struct box *b, const struct err *e)
{
    struct sbuf m;
    sbuf_init(&m, 8192);
    sandbox_wire_begin(&m);
    sandbox_wire_puts(&m, WIRE_ERROR, e->msg);
    sandbox_wire_end(&m);
    sandbox_wire_send(b->control, &m);
    _exit(1);
}

/* The box keeps only what making runs needs; nothing executed later can get back even that: the bounding set is empty. */
static int keep_few_caps(void)
{
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct d[2];
    /* DAC_OVERRIDE: overlayfs works in a folder of mode 0; over this namespace's one user it means nothing else */
    const uint32_t keep = 1u << CAP_DAC_OVERRIDE | 1u << CAP_SYS_ADMIN | 1u << CAP_SYS_CHROOT | 1u << CAP_SYS_PTRACE | 1u << CAP_KILL;
    for (int c = 0; c <= 63; c++)
        if (prctl(PR_CAPBSET_DROP, c)) {
            if (errno != EINVAL || c <= CAP_SYS_RESOURCE) /* EINVAL: the kernel has no more */
                return -1;
            break;
        }
    memset(d, 0, sizeof d);
    d[0].effective = d[0].permitted = keep;
    return (int)syscall(SYS_capset, &h, d);
}

/* Whatever priority hone itself was given, its programs have an ordinary one, and the box goes before them. Timings on a
 * busy machine need the other way: HONE_SANDBOX_KEEP_PRIORITY. */
static void ordinary_children(void)
{
    struct sched_params {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t more[5];
    } a = {0};
    if (!getenv("HONE_SANDBOX_KEEP_PRIORITY") && !syscall(SYS_sched_getattr, 0, &a, sizeof a, 0)) {
        a.flags |= 1; /* SCHED_FLAG_RESET_ON_FORK */
        syscall(SYS_sched_setattr, 0, &a, 0);
    }
}

static void say_hello(struct box *b, const char *no_python)
{
    struct sbuf m;
    char layers[600];
    sbuf_init(&m, 8192);
    snprintf(layers, sizeof layers, "cgroup=%d landlock=%d proc=%d python=%d cpuacct=%d pids=%d pch=%d\n%s\n%s", b->leaf.version, b->landlock, b->have_proc,
             b->zygote_pid > 0, b->leaf.cpu_usage >= 0, b->leaf.pids_procs >= 0, b->have_pch, b->leaf.why, no_python);
    sandbox_wire_begin(&m);
    sandbox_wire_puts(&m, WIRE_HELLO, layers);
    sandbox_wire_end(&m);
    if (sandbox_wire_send(b->control, &m))
        _exit(1);
}

void sandbox_box_main(struct box *b, struct sbuf *config)
{
    struct err e = {0};
    struct sbuf in, reply;
    struct filter own;
    char why[200] = "";
    for (unsigned i = 0; i < sizeof b->exe / sizeof *b->exe; i++)
        b->exe[i].fd = -1;
    b->self_pidns = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
    if (b->self_pidns < 0 || sethostname("box", 3))
        err_sys(&e, ERR_SANDBOX, "cannot make the box: its own namespaces");
    if (e.code || sandbox_root_make(b, &e) != ERR_OK || sandbox_filter_box(&own, &e) != ERR_OK)
        fail_start(b, &e);
    sandbox_filter_program(&b->filter);
    ordinary_children();
    if (sandbox_enter_once() || keep_few_caps() || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &own.prog)) {
        err_sys(&e, ERR_SANDBOX, "cannot make the box: limits, capabilities or the seccomp filter");
        fail_start(b, &e);
    }
    b->zygote_pid = sandbox_zygote_start(b, config, &b->zygote_fd, why, sizeof why);
    sbuf_release(config);
    say_hello(b, why);
    sbuf_init(&in, WIRE_MAX);
    sbuf_init(&reply, WIRE_MAX);
    while (!sandbox_wire_recv(b->control, &in, WIRE_MAX)) {
        sandbox_box_run(b, sbuf_str(&in), &reply);
        if (sandbox_wire_send(b->control, &reply))
            break;
        if (in.cap > 16 << 20) { /* one large input does not stay for ever */
            sbuf_release(&in);
            sbuf_init(&in, WIRE_MAX);
        }
    }
    _exit(0);
}
