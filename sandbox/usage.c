/* The fallback for machines without a writable control group: add up /proc. The box sees only its own PID
 * namespace there. CPU in clock ticks, memory as private resident pages, or proportional where it matters. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sandbox/run.h"

static int read_proc(int pid, const char *file, char *buf, int64_t n)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t k = fd < 0 ? -1 : read(fd, buf, (size_t)n - 1);
    if (fd >= 0)
        close(fd);
    if (k < 0)
        return -1;
    buf[k] = 0;
    return 0;
}

double sandbox_waited(int pid)
{
    char buf[128];
    unsigned long long ran, waited;
    return read_proc(pid, "schedstat", buf, sizeof buf) || sscanf(buf, "%llu %llu", &ran, &waited) != 2 ? 0 : 1e-9 * (double)waited;
}

static void add_process(int pid, int exact, struct usage *u)
{
    char buf[2048];
    long long pages = 0, shared = 0;
    if (read_proc(pid, "stat", buf, sizeof buf))
        return;
    u->procs++;
    /* fields 14..17 behind the name, which may hold anything: utime stime cutime cstime */
    char *p = strrchr(buf, ')');
    unsigned long long t[4] = {0};
    if (p && sscanf(p + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %llu %llu", &t[0], &t[1], &t[2], &t[3]) == 4)
        u->cpu_s += (double)(t[0] + t[1] + t[2] + t[3]) / (double)sysconf(_SC_CLK_TCK);
    if (exact && !read_proc(pid, "smaps_rollup", buf, sizeof buf)) {
        char *pss = strstr(buf, "Pss_Anon:");
        if (pss)
            u->bytes += strtoll(pss + 9, NULL, 10) << 10;
    } else if (!read_proc(pid, "statm", buf, sizeof buf) && sscanf(buf, "%*u %lld %lld", &pages, &shared) == 2) {
        u->bytes += (pages - shared) * sysconf(_SC_PAGESIZE);
    }
}

void sandbox_usage(const pid_t *own, int n_own, int exact, struct usage *u)
{
    DIR *d = opendir("/proc");
    struct dirent *f;
    *u = (struct usage){0};
    while (d && (f = readdir(d))) {
        int pid = (int)strtol(f->d_name, NULL, 10), mine = pid <= 1;
        for (int i = 0; i < n_own; i++)
            mine |= pid == own[i];
        if (!mine)
            add_process(pid, exact, u);
    }
    if (d)
        closedir(d);
}
