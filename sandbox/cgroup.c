/* One kept control group per worker. v1: a leaf in each of memory, cpuacct and pids below the group that
 * hone itself runs in; v2: one leaf where the controllers can be had. No group is a lesser layer, never a
 * silent one: `why` says what is missing, the run then lives by rlimits and by polling its processes. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sandbox/inner.h"

enum { LIMIT_TRIES = 200, PIDS_OF_BOX = 64 }; /* keeper, box, zygote, partner, inits: room beside the program's own */

static int read_small(const char *path, char *buf, int64_t n)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t k = read(fd, buf, (size_t)n - 1);
    close(fd);
    if (k < 0)
        return -1;
    buf[k] = 0;
    return 0;
}

static int write_small(const char *dir, const char *file, const char *text)
{
    char path[400];
    snprintf(path, sizeof path, "%s/%s", dir, file);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t k = write(fd, text, strlen(text));
    close(fd);
    return k < 0 ? -1 : 0;
}

static int open_in(const char *dir, const char *file, int flags)
{
    char path[400];
    snprintf(path, sizeof path, "%s/%s", dir, file);
    return open(path, flags | O_CLOEXEC);
}

/* Where the hierarchy with `controller` ("" for v2) is mounted, and the group this process is in. */
static int where(const char *controller, char out[200])
{
    char mounts[16384], groups[4096], at[120] = "", group[200] = "";
    char *save = NULL;
    int v2 = !controller[0];
    if (read_small("/proc/self/mounts", mounts, sizeof mounts) || read_small("/proc/self/cgroup", groups, sizeof groups))
        return -1;
    for (char *l = strtok_r(mounts, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
        char dev[64], dir[120], type[32], opts[300], want[40], have[302];
        if (sscanf(l, "%63s %119s %31s %299s", dev, dir, type, opts) != 4)
            continue;
        snprintf(want, sizeof want, ",%s,", controller);
        snprintf(have, sizeof have, ",%.298s,", opts);
        if (v2 ? !strcmp(type, "cgroup2") : !strcmp(type, "cgroup") && strstr(have, want))
            snprintf(at, sizeof at, "%s", dir);
    }
    for (char *l = strtok_r(groups, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
        char *names = strchr(l, ':'), *path = names ? strchr(names + 1, ':') : NULL;
        if (!path)
            continue;
        *path++ = 0;
        char want[40], have[120];
        snprintf(want, sizeof want, ",%s,", controller);
        snprintf(have, sizeof have, ",%.100s,", names + 1);
        if (v2 ? !names[1] : strstr(have, want) != NULL)
            snprintf(group, sizeof group, "%s", strcmp(path, "/") ? path : "");
    }
    return at[0] && snprintf(out, 200, "%.119s%.79s", at, group) < 200 ? 0 : -1;
}

/* A fresh leaf named after this process, so that a sweep knows whether its owner lives. */
static int make_dir(struct leaf *l, const char *base, int index, char out[256])
{
    snprintf(out, 256, "%.199s/hone-box-%d-%d", base, (int)getpid(), index);
    if (mkdir(out, 0755) && errno != EEXIST)
        return -1;
    snprintf(l->dirs[l->n_dirs++], sizeof l->dirs[0], "%s", out);
    return 0;
}

static void reset(struct leaf *l)
{
    *l = (struct leaf){.mem_procs = -1, .mem_limit = -1, .mem_usage = -1, .mem_peak = -1, .mem_events = -1, .cpu_procs = -1,
                       .cpu_usage = -1, .pids_procs = -1};
}

static int make_v1(struct leaf *l, int index)
{
    char base[200], dir[256], num[24];
    if (where("memory", base) || make_dir(l, base, index, dir)) {
        snprintf(l->why, sizeof l->why, "no writable memory cgroup (v1)");
        return -1;
    }
    l->mem_procs = open_in(dir, "cgroup.procs", O_WRONLY);
    l->mem_limit = open_in(dir, "memory.limit_in_bytes", O_WRONLY);
    l->mem_usage = open_in(dir, "memory.usage_in_bytes", O_RDONLY);
    l->mem_peak = open_in(dir, "memory.max_usage_in_bytes", O_RDWR);
    l->mem_events = open_in(dir, "memory.oom_control", O_RDONLY);
    write_small(dir, "memory.swappiness", "0");
    if (l->mem_procs < 0 || l->mem_limit < 0 || l->mem_usage < 0 || l->mem_peak < 0 || l->mem_events < 0) {
        snprintf(l->why, sizeof l->why, "the memory cgroup '%.120s' lacks a file", dir);
        return -1;
    }
    if (!where("cpuacct", base) && !make_dir(l, base, index, dir)) {
        l->cpu_procs = open_in(dir, "cgroup.procs", O_WRONLY);
        l->cpu_usage = open_in(dir, "cpuacct.usage", O_RDONLY);
    }
    /* the whole worker lives in the pids leaf: a second bound behind RLIMIT_NPROC */
    if (!where("pids", base) && !make_dir(l, base, index, dir)) {
        snprintf(num, sizeof num, "%d", 4096 + PIDS_OF_BOX);
        write_small(dir, "pids.max", num);
        l->pids_procs = open_in(dir, "cgroup.procs", O_WRONLY);
    }
    l->version = 1;
    return 0;
}

static int make_v2(struct leaf *l, int index)
{
    char base[200], dir[256], have[256];
    if (where("", base) || snprintf(dir, sizeof dir, "%s/cgroup.controllers", base) < 0 || read_small(dir, have, sizeof have) ||
        !strstr(have, "memory")) {
        snprintf(l->why, sizeof l->why, "no memory controller in cgroup v2 here");
        return -1;
    }
    write_small(base, "cgroup.subtree_control", "+memory");
    write_small(base, "cgroup.subtree_control", "+pids");
    write_small(base, "cgroup.subtree_control", "+cpu");
    if (make_dir(l, base, index, dir)) {
        snprintf(l->why, sizeof l->why, "cgroup v2 '%.80s' is not writable (systemd-run --user --scope -p Delegate=yes gives one)", base);
        return -1;
    }
    l->mem_procs = open_in(dir, "cgroup.procs", O_WRONLY);
    l->mem_limit = open_in(dir, "memory.max", O_WRONLY);
    l->mem_usage = open_in(dir, "memory.current", O_RDONLY);
    l->mem_peak = open_in(dir, "memory.peak", O_RDWR);
    if (l->mem_peak < 0)
        l->mem_peak = open_in(dir, "memory.peak", O_RDONLY);
    l->mem_events = open_in(dir, "memory.events", O_RDONLY);
    l->cpu_usage = open_in(dir, "cpu.stat", O_RDONLY);
    write_small(dir, "memory.swap.max", "0");
    if (l->mem_procs < 0 || l->mem_limit < 0 || l->mem_usage < 0 || l->mem_events < 0) {
        snprintf(l->why, sizeof l->why, "the memory controller is not delegated below '%.90s' (processes live in it)", base);
        return -1;
    }
    l->version = 2;
    return 0;
}

void sandbox_leaf_make(struct leaf *l, int index)
{
    reset(l);
    if (!getenv("HONE_SANDBOX_NO_CGROUP") && !make_v1(l, index))
        return;
    char why[200];
    snprintf(why, sizeof why, "%s", l->why);
    sandbox_leaf_remove(l);
    if (!getenv("HONE_SANDBOX_NO_CGROUP") && !make_v2(l, index))
        return;
    if (!why[0])
        snprintf(why, sizeof why, "switched off by HONE_SANDBOX_NO_CGROUP");
    sandbox_leaf_remove(l);
    snprintf(l->why, sizeof l->why, "%s", why);
}

void sandbox_leaf_remove(struct leaf *l)
{
    int fds[] = {l->mem_procs, l->mem_limit, l->mem_usage, l->mem_peak, l->mem_events, l->cpu_procs, l->cpu_usage, l->pids_procs};
    for (unsigned i = 0; i < sizeof fds / sizeof *fds; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    for (int i = 0; i < l->n_dirs; i++)
        for (int k = 0; rmdir(l->dirs[i]) && errno == EBUSY && k < 200; k++)
            usleep(5000);
    char why[200];
    snprintf(why, sizeof why, "%s", l->why);
    reset(l);
    snprintf(l->why, sizeof l->why, "%s", why);
}

static int64_t read_num(int fd, const char *key)
{
    char buf[512];
    ssize_t k = fd < 0 ? -1 : pread(fd, buf, sizeof buf - 1, 0);
    if (k <= 0)
        return 0;
    buf[k] = 0;
    const char *at = buf;
    if (key[0]) {
        at = strstr(buf, key);
        if (!at)
            return 0;
        at += strlen(key);
    }
    return strtoll(at, NULL, 10);
}

int sandbox_leaf_limit(struct leaf *l, int64_t bytes)
{
    char num[24];
    int n = snprintf(num, sizeof num, "%lld", (long long)bytes), rc = -1;
    if (l->mem_limit < 0 || l->limit == bytes)
        return 0;
    for (int i = 0; rc < 0 && i < LIMIT_TRIES; i++) {
        if (i)
            usleep(1000); /* EBUSY: what the last run left is still being given back */
        rc = pwrite(l->mem_limit, num, (size_t)n, 0) == n ? 0 : -1;
        if (rc && errno != EBUSY)
            break;
    }
    l->limit = rc ? 0 : bytes;
    return rc;
}

int64_t sandbox_leaf_usage(const struct leaf *l) { return read_num(l->mem_usage, ""); }
int64_t sandbox_leaf_peak(const struct leaf *l) { return read_num(l->mem_peak, ""); }

void sandbox_leaf_reset(struct leaf *l)
{
    if (l->mem_peak >= 0 && pwrite(l->mem_peak, "0", 1, 0) < 0)
        errno = 0; /* v2 before 6.12: the peak is that of the worker so far, an upper bound */
}

int64_t sandbox_leaf_ooms(const struct leaf *l) { return read_num(l->mem_events, l->version == 1 ? "oom_kill " : "oom_kill "); }

int64_t sandbox_leaf_cpu_ns(const struct leaf *l)
{
    return l->version == 1 ? read_num(l->cpu_usage, "") : read_num(l->cpu_usage, "usage_usec ") * 1000;
}

/* Leaves whose keeper is gone. Another user's leaves are not ours to touch: rmdir fails and that is fine. */
int sandbox_leaf_sweep(void)
{
    static const char *const names[] = {"memory", "cpuacct", "pids", ""};
    int removed = 0;
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        char base[200], path[512];
        DIR *d;
        struct dirent *f;
        if (where(names[i], base) || !(d = opendir(base)))
            continue;
        while ((f = readdir(d))) {
            int pid, index;
            if (sscanf(f->d_name, "hone-box-%d-%d", &pid, &index) != 2 || !kill(pid, 0) || errno == EPERM)
                continue;
            snprintf(path, sizeof path, "%s/%s", base, f->d_name);
            removed += !rmdir(path);
        }
        closedir(d);
    }
    return removed;
}
