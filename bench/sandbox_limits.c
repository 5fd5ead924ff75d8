/* How exactly limits are kept, and whether anything grows.
 *   build/bench/sandbox_limits [RUNS]          default 1000: spinning, sleeping, forking, allocating and flooding programs
 *   build/bench/sandbox_limits soak RUNS       RUNS short programs in a row: memory, descriptors and processes at ten points
 * "late" is the time from the limit to the end of the last process of the run, as the caller sees it: sandbox_run returns only
 * when nothing of the run is left. CPU limits count CPU time, so their wall time is not bounded by them on a busy machine;
 * there the CPU time used beyond the limit is shown. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/log.h"
#include "rewards/rewards.h"

enum { WALL_MS = 100, CPU_MS = 50, MEM = 64 << 20, KINDS_MAX = 16 };

static const struct kind {
    const char *name, *lang, *code;
    int by; /* what ends it: 'w' wall, 'c' CPU, 'm' memory, 'o' output */
} kinds[] = {
    {"spin, Python", "python", "while True: pass", 'c'},
    {"spin in 4 processes, C", "c", "#include <unistd.h>\nint main(void){fork();fork();for(;;);}", 'c'},
    {"spin in short-lived children, C", "c", "#include <unistd.h>\n#include <sys/wait.h>\nint main(void){for(;;){if(!fork()){for(volatile int i=0;i<1000000;i++);_exit(0);}wait(0);}}", 'c'},
    {"sleep, Python", "python", "import time\ntime.sleep(9)", 'w'},
    {"sleep, signals ignored, C", "c", "#include <signal.h>\n#include <unistd.h>\nint main(void){for(int s=1;s<65;s++)signal(s,SIG_IGN);for(;;)pause();}", 'w'},
    {"fork bomb of sleepers, C", "c", "#include <unistd.h>\nint main(void){for(;;){if(fork()<0)usleep(1000);}}", 'b'},
    {"threads, Python", "python", "import threading, time\nfor i in range(9): threading.Thread(target=time.sleep, args=(9,)).start()", 'w'},
    {"touch memory, C", "c", "#include <stdlib.h>\n#include <string.h>\nint main(void){for(;;){char*p=malloc(1<<20);if(p)memset(p,1,1<<20);}}", 'm'},
    {"touch memory in 8 processes, C", "c", "#include <stdlib.h>\n#include <string.h>\n#include <unistd.h>\nint main(void){fork();fork();fork();for(;;){char*p=malloc(1<<20);if(p)memset(p,1,1<<20);}}", 'm'},
    {"bytearrays, Python", "python", "x = []\nwhile True: x.append(bytearray(b'a') * (1 << 20))", 'm'},
    {"files in /tmp, Python", "python", "i = 0\nwhile True:\n  open('/tmp/%d' % i, 'wb').write(b'x' * (1 << 20)); i += 1", 'm'},
    {"flood stdout, Python", "python", "import os\nwhile True: os.write(1, b'y' * 65536)", 'o'},
    {"flood stderr, C", "c", "#include <unistd.h>\nstatic char b[65536];\nint main(void){for(;;)write(2,b,sizeof b);}", 'o'},
};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

struct figures {
    int runs, n, wrong;
    double *late;
    double mem;      /* largest peak over the limit, a share of it */
    int64_t longest; /* output bytes */
};

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int right(const struct kind *k, const struct sandbox_result *r)
{
    switch (k->by) {
    case 'c': return r->verdict == SANDBOX_TLE && !strcmp(r->sub, "cpu");
    case 'w': return r->verdict == SANDBOX_TLE && !strcmp(r->sub, "wall");
    case 'b': return r->verdict == SANDBOX_TLE;
    case 'm': return r->verdict == SANDBOX_MLE || r->verdict == SANDBOX_RE; /* Python's MemoryError, or its report cut short */
    default: return r->verdict == SANDBOX_OLE;
    }
}

struct lane {
    const struct kind *k;
    struct figures f;
};

static void lane_run(struct sandbox_worker *w, void *ctx)
{
    struct lane *l = ctx;
    for (int i = 0; i < l->f.runs; i++) {
        struct sandbox_result r = {0};
        struct sandbox_job j = {.language = l->k->lang, .code = str_of(l->k->code), .limits = sandbox_limits_default()};
        j.limits.wall_ms = l->k->by == 'w' || l->k->by == 'b' ? WALL_MS : 10000;
        j.limits.cpu_ms = l->k->by == 'c' ? CPU_MS : 5000;
        j.limits.mem_bytes = MEM;
        j.limits.tmp_bytes = 2 * MEM;
        j.limits.procs = 32;
        j.limits.out_bytes = 1 << 20;
        if (i == 0 && strcmp(l->k->lang, "python")) { /* compiled before the clock starts */
            sandbox_run(w, &j, &r);
            sandbox_result_release(&r);
        }
        double t = clock_now();
        sandbox_run(w, &j, &r);
        t = 1e3 * (clock_now() - t);
        l->f.late[l->f.n++] = l->k->by == 'c' ? r.cpu_ms - CPU_MS : l->k->by == 'w' || l->k->by == 'b' ? t - WALL_MS : t - r.wall_ms;
        l->f.wrong += !right(l->k, &r);
        double over = (double)r.mem_peak / MEM - 1;
        l->f.mem = over > l->f.mem ? over : l->f.mem;
        l->f.longest = r.out.n > l->f.longest ? r.out.n : r.err.n > l->f.longest ? r.err.n : l->f.longest;
        if (!right(l->k, &r) && l->f.wrong == 1)
            printf("  %s: %s %s\n", l->k->name, sandbox_verdict_name(r.verdict), r.sub);
        sandbox_result_release(&r);
    }
}

static int limits(struct sandbox *s, int runs)
{
    int each = runs / N_KINDS > 0 ? runs / N_KINDS : 1, bad = 0;
    double *all = malloc((size_t)(each * N_KINDS) * sizeof *all);
    int n_all = 0;
    printf("wall %d ms, CPU %d ms, memory %d MiB, output 1 MiB; %d runs each, one at a time\n", WALL_MS, CPU_MS, MEM >> 20, each);
    printf("%-34s %9s %9s %9s  %s\n", "", "late p50", "p99", "worst", "memory over the limit");
    for (int i = 0; i < N_KINDS; i++) {
        struct lane l = {.k = &kinds[i], .f = {.runs = each, .mem = -1}};
        l.f.late = malloc((size_t)each * sizeof(double));
        struct sandbox_task t = {.fn = lane_run, .ctx = &l};
        sandbox_submit(s, &t);
        sandbox_wait(s, &t);
        qsort(l.f.late, (size_t)l.f.n, sizeof(double), by_value);
        printf("%-34s %6.1f ms %6.1f ms %6.1f ms  %+.1f %%%s%s\n", l.k->name, l.f.late[l.f.n / 2], l.f.late[l.f.n * 99 / 100], l.f.late[l.f.n - 1], 100 * l.f.mem,
               l.k->by == 'c' ? "   (CPU time over the limit)" : l.k->by == 'm' || l.k->by == 'o' ? "   (from the verdict to nothing left)" : "", l.f.wrong ? "   OTHER VERDICTS" : "");
        fflush(stdout);
        memcpy(all + n_all, l.f.late, (size_t)l.f.n * sizeof(double));
        n_all += l.f.n;
        bad |= l.f.wrong > 0 || l.f.mem > 0.05 || l.f.longest > 1 << 20;
        free(l.f.late);
    }
    qsort(all, (size_t)n_all, sizeof *all, by_value);
    printf("%d runs: late p50 %.1f, p99 %.1f, worst %.1f ms%s\n", n_all, all[n_all / 2], all[n_all * 99 / 100], all[n_all - 1], bad ? "  NOT KEPT" : "");
    free(all);
    return bad;
}

/* ---- soak */

static long self_kib(const char *key)
{
    char line[200];
    long v = -1;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, key, strlen(key)))
            v = strtol(line + strlen(key) + 1, NULL, 10);
    if (f)
        fclose(f);
    return v;
}

static int entries(const char *path)
{
    DIR *d = opendir(path);
    int n = 0;
    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n;
}

/* Memory in KiB, open files and number of the processes that descend from this one. */
static void tree(long *kib, int *fds, int *procs)
{
    enum { MAX = 4096 };
    static int pid[MAX], parent[MAX], mine[MAX];
    int n = 0, grew = 1;
    DIR *d = opendir("/proc");
    struct dirent *f;
    while (d && (f = readdir(d)) && n < MAX) {
        char path[300], line[512], *p;
        pid[n] = atoi(f->d_name);
        snprintf(path, sizeof path, "/proc/%d/stat", pid[n]);
        FILE *s = pid[n] > 0 ? fopen(path, "r") : NULL;
        if (s && fgets(line, sizeof line, s) && (p = strrchr(line, ')')))
            mine[n] = pid[n] == (int)getpid(), parent[n] = (int)strtol(p + 4, NULL, 10), n++;
        if (s)
            fclose(s);
    }
    if (d)
        closedir(d);
    while (grew) {
        grew = 0;
        for (int i = 0; i < n; i++)
            for (int k = 0; !mine[i] && k < n; k++)
                if (mine[k] && parent[i] == pid[k])
                    mine[i] = grew = 1;
    }
    *kib = 0;
    *fds = *procs = 0;
    for (int i = 0; i < n; i++) {
        char path[64], line[200];
        if (!mine[i])
            continue;
        snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid[i]);
        FILE *s = fopen(path, "r");
        long v;
        while (s && fgets(line, sizeof line, s))
            if (sscanf(line, "Pss: %ld", &v) == 1)
                *kib += v;
        if (s)
            fclose(s);
        snprintf(path, sizeof path, "/proc/%d/fd", pid[i]);
        *fds += entries(path);
        ++*procs;
    }
}

struct soak {
    int64_t runs, bad;
};

static void soak_some(struct sandbox_worker *w, void *ctx)
{
    static const char *const texts[] = {"print(sum(map(int, input().split())))", "import json, os\nopen('/tmp/x', 'w').write(json.dumps([1] * 1000))\nprint(7)",
                                        "import os\nif os.fork() == 0:\n  os._exit(0)\nos.wait()\nprint(7)"};
    struct soak *s = ctx;
    struct sandbox_result r = {0};
    for (int64_t i = 0; i < s->runs; i++) {
        int c = i % 10 == 9;
        struct sandbox_job j = {.language = c ? "c" : "python", .input = STR("3 4\n"), .limits = sandbox_limits_default(),
                                .code = str_of(c ? "#include <stdio.h>\nint main(void){puts(\"7\");return 0;}" : texts[i % 3])};
        sandbox_run(w, &j, &r);
        s->bad += r.verdict != SANDBOX_AC || r.out.n != 2 || r.out.p[0] != '7';
    }
    sandbox_result_release(&r);
}

static int soak(struct sandbox *s, int64_t runs)
{
    enum { POINTS = 10 };
    double began = clock_now();
    int64_t bad = 0, done = 0;
    printf("%10s %8s %14s %14s %8s %8s %8s %8s\n", "runs", "s", "own KiB", "tree PSS KiB", "files", "procs", "wrong", "retries");
    for (int p = 0; p <= POINTS; p++) {
        int64_t n = p ? runs / POINTS / 2 : 100;
        struct soak k[2] = {{n, 0}, {n, 0}};
        struct sandbox_task t[2] = {{.fn = soak_some, .ctx = &k[0]}, {.fn = soak_some, .ctx = &k[1]}};
        long kib;
        int fds, procs;
        for (int i = 0; i < 2; i++)
            sandbox_submit(s, &t[i]);
        for (int i = 0; i < 2; i++)
            sandbox_wait(s, &t[i]);
        bad += k[0].bad + k[1].bad;
        done += 2 * n;
        tree(&kib, &fds, &procs);
        struct sandbox_counts c = sandbox_count(s);
        printf("%10lld %8.0f %14ld %14ld %8d %8d %8lld %8lld\n", (long long)done, clock_now() - began, self_kib("VmRSS"), kib, fds, procs, (long long)bad,
               (long long)c.retries);
        fflush(stdout);
    }
    return bad > 0;
}

int main(int argc, char **argv)
{
    int long_run = argc > 2 && !strcmp(argv[1], "soak");
    setenv("HONE_SANDBOX_KEEP_PRIORITY", "1", 1); /* chrt -r 1 then holds for the programs too */
    struct sandbox_opts o = code_sandbox_opts(long_run ? 2 : 1);
    struct sandbox *s;
    struct err e = {0};
    if (sandbox_open(&s, &o, &e) != ERR_OK) {
        printf("skip: %s\n", e.msg);
        return 77;
    }
    int bad = long_run ? soak(s, atoll(argv[2])) : limits(s, argc > 1 ? atoi(argv[1]) : 1000);
    sandbox_close(s);
    return bad;
}
