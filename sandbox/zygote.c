/* The zygote: a process with a warm Python interpreter that forks once per run. It is forked off the box
 * before the first request, so no data of any run is in its memory, and what a run does stays in that run's
 * copy. libpython is loaded at run time: hone neither needs it to build nor carries it. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/inner.h"

__asm__(".pushsection .rodata\n.balign 16\n"
        "sandbox_boot_py:\n.incbin \"sandbox/inside/boot.py\"\n.byte 0\n"
        ".popsection\n");
extern const char sandbox_boot_py[];

/* The stable part of the C API: name, arguments, result */
#define PYTHON(X)                                                 \
    X(void, Py_InitializeEx, (int))                               \
    X(int, PyRun_SimpleStringFlags, (const char *, void *))       \
    X(void *, PyImport_AddModule, (const char *))                 \
    X(void *, PyObject_GetAttrString, (void *, const char *))     \
    X(void *, PyObject_CallFunction, (void *, const char *, ...)) \
    X(void, PyErr_Print, (void))                                  \
    X(void, PyObject_SetArenaAllocator, (struct py_arenas *))     \
    X(void *, PyObject_Malloc, (size_t))                          \
    X(void, Py_SetProgramName, (const wchar_t *))

static struct {
#define X(result, name, args) result(*name) args;
    PYTHON(X)
#undef X
} py;

static int load(char *why, int64_t why_n)
{
    static const char *const names[] = {"libpython3.11.so.1.0", "libpython3.13.so.1.0", "libpython3.12.so.1.0", "libpython3.10.so.1.0",
                                        "libpython3.9.so.1.0"};
    void *so = NULL;
    for (unsigned i = 0; !so && i < sizeof names / sizeof *names; i++)
        so = dlopen(names[i], RTLD_NOW | RTLD_GLOBAL);
    if (!so) {
        snprintf(why, (size_t)why_n, "no libpython3 to load (package libpython3.11): Python starts anew for every run");
        return -1;
    }
#define X(result, name, args)                                                                    \
    if (!(py.name = (result(*) args)(uintptr_t)dlsym(so, #name))) {                              \
        snprintf(why, (size_t)why_n, "libpython3 lacks %s: Python starts anew for every run", #name); \
        return -1;                                                                               \
    }
    PYTHON(X)
#undef X
    return 0;
}

/* Streams are pipes while Python starts, so that its file objects do not take them for seekable ones. */
static void streams_are_pipes(void)
{
    int p[2];
    if (pipe(p) || dup2(p[0], 0) < 0 || dup2(p[1], 1) < 0 || dup2(p[1], 2) < 0)
        _exit(1);
    close(p[0]);
    close(p[1]);
}

static int boot(struct sbuf *config, void **run)
{
    struct wire_in in = {config->p, config->n, 0};
    enum wire_tag tag;
    struct str s, name = {NULL, 0}, source = {NULL, 0};
    clearenv();
    setenv("PATH", "/usr/local/bin:/usr/bin:/bin", 1);
    setenv("HOME", "/w/tmp", 1);
    setenv("TMPDIR", "/w/tmp", 1);
    setenv("LANG", "C.UTF-8", 1);
    setenv("PYTHONHASHSEED", "0", 1);
    setenv("PYTHONNOUSERSITE", "1", 1);
    setenv("PYTHONDONTWRITEBYTECODE", "1", 1);
    setenv("PYTHONUTF8", "1", 1);
    setenv("PYTHONSAFEPATH", "1", 1);
    py.PyObject_SetArenaAllocator(sandbox_heaps_lay_out());
    py.Py_SetProgramName(L"/usr/bin/python3");
    py.Py_InitializeEx(1);
    if (py.PyRun_SimpleStringFlags(sandbox_boot_py, NULL))
        return -1;
    void *main = py.PyImport_AddModule("__main__");
    void *add = main ? py.PyObject_GetAttrString(main, "_add_module") : NULL;
    void *ready = main ? py.PyObject_GetAttrString(main, "_ready") : NULL;
    *run = main ? py.PyObject_GetAttrString(main, "_run") : NULL;
    while (sandbox_wire_next(&in, &tag, &s) == 1) {
        if (tag == WIRE_MODULE_NAME)
            name = s;
        if (tag == WIRE_MODULE_SOURCE)
            source = s;
        if (tag == WIRE_MODULE_PARTNER && name.n && source.n) {
            char *n = strndup(name.p, (size_t)name.n), *text = strndup(source.p, (size_t)source.n);
            if (!n || !text || !add || !py.PyObject_CallFunction(add, "ssi", n, text, s.n ? s.p[0] == '1' : 0))
                return -1;
            free(n);
            free(text);
        }
    }
    if (!*run || !ready || !py.PyObject_CallFunction(ready, NULL))
        return -1;
    sandbox_heaps_settle(py.PyObject_Malloc, (const void *)(uintptr_t)py.Py_InitializeEx);
    return 0;
}

/* The copy: confined first, Python again only after that. */
static void child(const struct zygote_ask *z, const struct filter *filter, void *run)
{
    struct note n = {0};
    n.step = sandbox_enter(&z->enter, filter, &n.sys);
    if (n.step) {
        /* the descriptor may not be in its place yet, then the other number is right */
        ssize_t k = write(fcntl(FD_NOTE, F_GETFD) >= 0 && n.step > STEP_dup ? FD_NOTE : z->enter.note, &n, sizeof n);
        _exit(k > 0 ? 127 : 126);
    }
    /* Not PyOS_AfterFork_Child: half of all page faults of a small run were in it. The zygote has one thread, holds no lock
     * and registers no handlers of its own; what is left to do of it (random's seed, the thread's id) boot.py does. */
    py.PyObject_CallFunction(run, "is", (int)z->kind, z->callee);
    py.PyErr_Print();
    _exit(1);
}

/* Bytes of address space this process has mapped (much of it is not memory, above all under a sanitiser). */
static int64_t mapped(void)
{
    char buf[64] = "";
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof buf - 1);
    if (fd >= 0)
        close(fd);
    return n > 0 ? strtoll(buf, NULL, 10) * sysconf(_SC_PAGESIZE) : 64LL << 20;
}

static void serve(struct box *b, int fd, void *run)
{
    const int64_t base = mapped();
    static struct zygote_ask z;
    int self = b->self_pidns, fds[8], n_fds, *tid = NULL;
    if (prctl(PR_GET_TID_ADDRESS, &tid))
        tid = NULL;
    while (sandbox_recv_fds(fd, &z, sizeof z, fds, 8, &n_fds) == (int64_t)sizeof z) {
        struct zygote_reply reply = {0};
        int *const to[] = {&z.enter.init_pidfd, &z.enter.in, &z.enter.out, &z.enter.err, &z.enter.note, &z.enter.call_in, &z.enter.call_out};
        for (int i = 0; i < 7; i++)
            *to[i] = i < n_fds ? fds[i] : -1;
        z.enter.exe = -1;
        z.enter.as_base = base;
        if (setns(z.enter.init_pidfd, CLONE_NEWPID)) {
            reply = (struct zygote_reply){-1, STEP_setns, errno};
        } else {
            /* as the box's own child; and the C library's note of its thread id is kept right */
            long pid = syscall(SYS_clone, CLONE_PARENT | (tid ? CLONE_CHILD_SETTID : 0) | SIGCHLD, NULL, NULL, tid, NULL);
            if (pid == 0)
                child(&z, &b->filter, run);
            reply = (struct zygote_reply){(int32_t)pid, pid < 0 ? STEP_fork : 0, pid < 0 ? errno : 0};
            if (setns(self, CLONE_NEWPID))
                _exit(1);
        }
        for (int i = 0; i < n_fds; i++)
            close(fds[i]);
        if (send(fd, &reply, sizeof reply, MSG_NOSIGNAL) != sizeof reply)
            break;
    }
    _exit(0);
}

pid_t sandbox_zygote_start(struct box *b, struct sbuf *config, int *fd, char *why, int64_t why_n)
{
    int sv[2];
    if (load(why, why_n))
        return 0;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv)) {
        snprintf(why, (size_t)why_n, "no socket pair for the zygote");
        return 0;
    }
    pid_t pid = fork();
    if (pid == 0) {
        void *run = NULL;
        char ok = 1;
        close(b->control);
        close(sv[0]);
        signal(SIGINT, SIG_DFL);
        signal(SIGTERM, SIG_DFL);
        signal(SIGHUP, SIG_DFL);
        streams_are_pipes();
        if (boot(config, &run))
            _exit(1);
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        for (int i = 0; i < 3; i++)
            if (null < 0 || dup2(null, i) < 0)
                _exit(1);
        close(null);
        if (send(sv[1], &ok, 1, MSG_NOSIGNAL) == 1)
            serve(b, sv[1], run);
        _exit(1);
    }
    close(sv[1]);
    char ok = 0;
    if (pid < 0 || recv(sv[0], &ok, 1, 0) != 1) {
        snprintf(why, (size_t)why_n, "the Python zygote did not start: Python starts anew for every run");
        close(sv[0]);
        return 0;
    }
    *fd = sv[0];
    return pid;
}
