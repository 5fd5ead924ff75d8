/* What this machine gives the sandbox, found by starting a worker and asking it. */
#include <stdio.h>
#include <string.h>

#include "sandbox/inner.h"

static void put(struct sandbox_layer *l, const char *name, int have, int required, const char *what)
{
    *l = (struct sandbox_layer){.name = name, .have = have, .required = required};
    snprintf(l->what, sizeof l->what, "%.199s", what);
}

static int number(const char *hello, const char *key)
{
    const char *at = strstr(hello, key);
    int v = 0;
    return at && sscanf(at + strlen(key), "%d", &v) == 1 ? v : 0;
}

int sandbox_layers(struct sandbox_layer out[SANDBOX_LAYERS_MAX])
{
    struct sandbox *s = NULL;
    struct err e = {0};
    char text[200];
    int n = 0;
    if (sandbox_open(&s, &(struct sandbox_opts){.workers = 1}, &e) != ERR_OK) {
        put(&out[n++], "namespaces", 0, 1, e.msg);
        return n;
    }
    const char *hello = sandbox_worker_hello(s);
    int cgroup = number(hello, "cgroup="), abi = number(hello, "landlock=");
    put(&out[n++], "namespaces", 1, 1, "user, mount, network, IPC, UTS, cgroup, PID");
    put(&out[n++], "seccomp", 1, 1, "allow-list in force");
    snprintf(text, sizeof text, cgroup ? "v%d, writable" : "none writable: address space limit and a look at /proc every 3 ms instead", cgroup);
    put(&out[n++], "memory cgroup", cgroup > 0, 0, text);
    put(&out[n++], "CPU accounting", number(hello, "cpuacct="), 0,
        number(hello, "cpuacct=") ? "by control group" : "none: clock ticks from /proc; what dead children used may be missed");
    put(&out[n++], "process cgroup", number(hello, "pids="), 0, number(hello, "pids=") ? "behind RLIMIT_NPROC" : "none: RLIMIT_NPROC alone");
    snprintf(text, sizeof text, abi ? "ABI %d" : "none: the mount namespace alone keeps programs from writing elsewhere", abi);
    put(&out[n++], "Landlock", abi > 0, 0, text);
    put(&out[n++], "/proc", number(hello, "proc="), 0, number(hello, "proc=") ? "own processes only, read-only" : "cannot be mounted: /dev/stdin does not work inside");
    put(&out[n++], "warm Python", number(hello, "python="), 0,
        number(hello, "python=") ? "libpython loaded" : "no libpython3 (package libpython3.11): 10 times slower, and no call-style tests");
    put(&out[n++], "C++ header", number(hello, "pch="), 0,
        number(hello, "pch=") ? "bits/stdc++.h precompiled, kept between runs" : "no place for a precompiled bits/stdc++.h: compiling takes three times as long");
    sandbox_close(s);
    return n;
}
