/* The sandbox beside bubblewrap: runs per second of CPU, and latency with two in flight.
 *   build/bench/sandbox [SECONDS per row [WORD]]      default 2; WORD picks the rows whose name has it (to profile one)
 * CPU is that of the whole tree (own threads, keeper, box, programs), from a cpuacct group of this process where one can be
 * made, else from rusage; what kernel workers do afterwards is not in it. "/s/core" is 1 s over the CPU of one run. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/log.h"
#include "rewards/rewards.h"

enum { LAT_MAX = 50000, FLIGHT = 2, ROUNDS = 5 };

/* Function-writing tasks of the kind that HumanEval has: a docstring, a short body, six to eight checks. */
static const struct {
    const char *entry, *code, *tests;
} tasks[] = {
    {"closest", "from typing import List\n\ndef closest(xs: List[float], limit: float) -> bool:\n    \"\"\" Is any pair nearer than limit? \"\"\"\n"
                "    for i, a in enumerate(xs):\n        for j, b in enumerate(xs):\n            if i != j and abs(a - b) < limit:\n                return True\n    return False\n",
     "def check(candidate):\n    assert candidate([1.0, 2.0, 3.5, 4.2], 0.8) == True\n    assert candidate([1.0, 2.0, 3.5], 0.5) == False\n"
     "    assert candidate([], 1.0) == False\n    assert candidate([1.0, 1.05], 0.1) == True\n    assert candidate([9.0, -9.0], 17.9) == False\n"
     "    assert candidate([1.1, 2.2, 3.1, 4.1, 5.1], 1.0) == True\n    assert candidate([1.1, 2.2, 3.3], 0.5) == False\n"},
    {"groups", "def groups(text):\n    \"\"\" Splits nested brackets into balanced groups. \"\"\"\n    out, cur, depth = [], [], 0\n    for c in text:\n"
               "        if c == '(':\n            depth += 1\n            cur.append(c)\n        elif c == ')':\n            depth -= 1\n            cur.append(c)\n"
               "            if depth == 0:\n                out.append(''.join(cur))\n                cur.clear()\n    return out\n",
     "def check(candidate):\n    assert candidate('(()()) ((())) () ((())()())') == ['(()())', '((()))', '()', '((())()())']\n"
     "    assert candidate('() (()) ((())) (((())))') == ['()', '(())', '((()))', '(((())))']\n    assert candidate('(()(())((())))') == ['(()(())((())))']\n"
     "    assert candidate('( ) (( )) (( )( ))') == ['()', '(())', '(()())']\n    assert candidate('') == []\n    assert candidate('()') == ['()']\n"},
    {"runs", "def runs(s):\n    \"\"\" Run lengths of a text. \"\"\"\n    out = []\n    for c in s:\n        if out and out[-1][0] == c:\n"
             "            out[-1] = (c, out[-1][1] + 1)\n        else:\n            out.append((c, 1))\n    return out\n",
     "def check(candidate):\n    assert candidate('') == []\n    assert candidate('a') == [('a', 1)]\n    assert candidate('aab') == [('a', 2), ('b', 1)]\n"
     "    assert candidate('abab') == [('a', 1), ('b', 1), ('a', 1), ('b', 1)]\n    assert candidate('zzzz') == [('z', 4)]\n"
     "    assert candidate('xxyyy') == [('x', 2), ('y', 3)]\n    assert candidate('112') == [('1', 2), ('2', 1)]\n"},
    {"primes", "def primes(n):\n    \"\"\" Prime factors, smallest first. \"\"\"\n    out = []\n    p = 2\n    while p * p <= n:\n        while n % p == 0:\n"
               "            out.append(p)\n            n //= p\n        p += 1\n    if n > 1:\n        out.append(n)\n    return out\n",
     "def check(candidate):\n    assert candidate(2) == [2]\n    assert candidate(4) == [2, 2]\n    assert candidate(8) == [2, 2, 2]\n"
     "    assert candidate(57) == [3, 19]\n    assert candidate(3249) == [3, 3, 19, 19]\n    assert candidate(185193) == [3, 3, 3, 19, 19, 19]\n"
     "    assert candidate(18) == [2, 3, 3]\n    assert candidate(1) == []\n"},
};
enum { N_TASKS = sizeof tasks / sizeof *tasks };

/* ---- CPU of the tree */

static char group[128];

static void group_leave(void)
{
    FILE *f = group[0] ? fopen("/sys/fs/cgroup/cpuacct/cgroup.procs", "w") : NULL;
    if (f) {
        fprintf(f, "%d", (int)getpid());
        fclose(f);
    }
    for (int i = 0; group[0] && rmdir(group) && errno == EBUSY && i < 100; i++)
        usleep(10000);
}

static void group_enter(void)
{
    char path[160];
    snprintf(group, sizeof group, "/sys/fs/cgroup/cpuacct/hone-bench-%d", (int)getpid());
    snprintf(path, sizeof path, "%s/cgroup.procs", group);
    FILE *f = mkdir(group, 0755) ? NULL : fopen(path, "w");
    if (!f || fprintf(f, "%d", (int)getpid()) < 0 || fclose(f))
        group[0] = 0;
    else
        atexit(group_leave);
}

static double tree_cpu(void)
{
    char path[160];
    unsigned long long ns;
    snprintf(path, sizeof path, "%s/cpuacct.usage", group);
    FILE *f = group[0] ? fopen(path, "r") : NULL;
    int ok = f && fscanf(f, "%llu", &ns) == 1;
    if (f)
        fclose(f);
    if (ok)
        return 1e-9 * (double)ns;
    double s = 0;
    for (int who = RUSAGE_SELF;; who = RUSAGE_CHILDREN) {
        struct rusage u;
        getrusage(who, &u);
        s += (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + 1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
        if (who == RUSAGE_CHILDREN)
            return s;
    }
}

/* ---- rows */

struct lane {
    void (*one)(struct lane *l, int64_t i);
    struct sandbox_worker *w;
    struct sandbox_task task;
    pthread_t thread;
    double until, *ms;
    int64_t n, bad;
    const char *lang, *code, *const *argv;
    struct code_task *parsed;
};

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void loop(struct lane *l)
{
    while (clock_now() < l->until && l->n < LAT_MAX) {
        double t = clock_now();
        l->one(l, l->n);
        l->ms[l->n++] = 1e3 * (clock_now() - t);
    }
}

static void boxed(struct sandbox_worker *w, void *ctx)
{
    struct lane *l = ctx;
    l->w = w;
    loop(l);
}

static void *bare(void *ctx)
{
    loop(ctx);
    return NULL;
}

static double base_python, base_true;
static const char *only = "";

/* One round: two lanes for `s` seconds. Appends the times to `all`; returns CPU seconds of the whole tree per run. */
static double round_of(struct sandbox *pool, const struct lane *like, double s, double *all, int64_t *n, int64_t *bad)
{
    struct lane l[FLIGHT];
    double start = clock_now(), cpu = tree_cpu();
    int64_t before = *n;
    for (int i = 0; i < FLIGHT; i++) {
        l[i] = *like;
        l[i].until = start + s;
        l[i].ms = malloc(LAT_MAX * sizeof(double));
        l[i].task = (struct sandbox_task){.fn = boxed, .ctx = &l[i]};
        if (pool)
            sandbox_submit(pool, &l[i].task);
        else if (pthread_create(&l[i].thread, NULL, bare, &l[i]))
            BUG("no thread");
    }
    for (int i = 0; i < FLIGHT; i++)
        if (pool)
            sandbox_wait(pool, &l[i].task);
        else
            pthread_join(l[i].thread, NULL);
    cpu = tree_cpu() - cpu;
    for (int i = 0; i < FLIGHT; i++) {
        int64_t room = ROUNDS * LAT_MAX - *n, k = l[i].n < room ? l[i].n : room;
        memcpy(all + *n, l[i].ms, (size_t)k * sizeof(double));
        *n += k;
        *bad += l[i].bad;
        free(l[i].ms);
    }
    return *n > before ? cpu / (double)(*n - before) : 0;
}

/* The best of five rounds is the CPU figure (what else runs on the machine only adds); latencies are those of all. */
static void row(const char *name, struct sandbox *pool, struct lane like, double s, double *base)
{
    double *all, best = 0, wall = clock_now();
    int64_t n = 0, bad = 0;
    if (!strstr(name, only))
        return;
    all = malloc(ROUNDS * LAT_MAX * sizeof *all);
    for (int k = 0; k < ROUNDS; k++) {
        double c = round_of(pool, &like, s / ROUNDS, all, &n, &bad);
        best = c > 0 && (best == 0 || c < best) ? c : best;
    }
    wall = clock_now() - wall;
    if (n == 0 || best == 0) {
        printf("%-46s nothing ran\n", name);
        free(all);
        return;
    }
    qsort(all, (size_t)n, sizeof *all, by_value);
    if (base && !*base)
        *base = best;
    printf("%-46s %6.0f /s/core %6.0f /s %7.2f ms CPU  p50 %6.2f  p99 %6.2f ms", name, 1 / best, (double)n / wall, 1e3 * best, all[n / 2], all[n * 99 / 100]);
    if (base)
        printf("  %6.1fx", *base / best);
    printf("%s\n", bad ? "  WRONG VERDICTS" : "");
    fflush(stdout);
    free(all);
}

static void one_program(struct lane *l, int64_t i)
{
    struct sandbox_result r = {0};
    struct sandbox_job j = {.language = l->lang, .code = str_of(l->code), .input = STR("3 4\n"), .limits = sandbox_limits_default()};
    (void)i;
    sandbox_run(l->w, &j, &r);
    l->bad += r.verdict != SANDBOX_AC;
    sandbox_result_release(&r);
}

static void one_judged(struct lane *l, int64_t i)
{
    int k = (int)(i % N_TASKS);
    struct arena mem;
    struct code_verdict v;
    struct code_program p = {.language = "python", .code = str_of(tasks[k].code)};
    arena_init(&mem, "bench", 64 << 20);
    code_judge(l->w, &l->parsed[k], &p, &(struct code_opts){.stop = 1}, &mem, &v);
    l->bad += v.verdict != SANDBOX_AC;
    arena_release(&mem);
}

static void one_spawn(struct lane *l, int64_t i)
{
    extern char **environ;
    char code[8192];
    const char *argv[32];
    posix_spawn_file_actions_t fa;
    pid_t pid;
    int n = 0, st = -1, k = (int)(i % N_TASKS);
    for (; l->argv[n]; n++)
        argv[n] = l->argv[n];
    if (l->code) {
        snprintf(code, sizeof code, "%s\n%s\ncheck(%s)\n", tasks[k].code, tasks[k].tests, tasks[k].entry);
        argv[n++] = code;
    }
    argv[n] = NULL;
    posix_spawn_file_actions_init(&fa);
    posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
    if (posix_spawnp(&pid, argv[0], &fa, NULL, (char *const *)(uintptr_t)argv, environ) || waitpid(pid, &st, 0) < 0)
        st = -1;
    l->bad += st != 0;
    posix_spawn_file_actions_destroy(&fa);
}

static void one_fork(struct lane *l, int64_t i)
{
    pid_t pid = fork();
    (void)i;
    if (pid == 0)
        _exit(0);
    l->bad += waitpid(pid, NULL, 0) < 0;
}

static void parse_tasks(struct code_task *t, struct arena *mem)
{
    for (int i = 0; i < N_TASKS; i++) {
        struct err e = {0};
        json_t *o = json_pack("{s:s,s:s,s:{s:s}}", "kind", "assert", "entry_point", tasks[i].entry, "tests", "code", tasks[i].tests);
        if (!o || code_task_parse(o, "python", mem, &t[i], &e) != ERR_OK)
            BUG("%s", e.msg);
        json_decref(o);
    }
}

/* ---- compiling */

struct build_figures {
    double first_ms, ms, cpu_ms, cached_ms;
    int bad;
};

static void build(struct sandbox_worker *w, void *ctx)
{
    struct build_figures *f = ctx;
    char code[400];
    for (int i = 0; i < 5; i++) {
        struct sandbox_result r = {0};
        snprintf(code, sizeof code, "#include <bits/stdc++.h>\nusing namespace std;\nint main(){vector<int> v;map<string,int> m;int a,b;"
                 "while(cin>>a>>b)v.push_back(a+b);sort(v.begin(),v.end());for(int x:v)cout<<x<<'\\n';return %d*0;}\n// %d %d", i, i, (int)getpid());
        struct sandbox_job j = {.language = "cpp", .code = str_of(code), .input = STR("3 4\n"), .limits = sandbox_limits_default()};
        double t = clock_now();
        sandbox_run(w, &j, &r);
        f->bad += r.verdict != SANDBOX_AC || !r.compiled;
        if (i == 0)
            f->first_ms = 1e3 * (clock_now() - t); /* may have made the header */
        else if (f->ms == 0 || r.compile_ms < f->ms)
            f->ms = r.compile_ms;
        t = clock_now();
        sandbox_run(w, &j, &r);
        double again = 1e3 * (clock_now() - t);
        f->cached_ms = f->cached_ms == 0 || again < f->cached_ms ? again : f->cached_ms;
        f->bad += r.compiled;
        sandbox_result_release(&r);
    }
}

static int have(const char *program)
{
    char cmd[200];
    snprintf(cmd, sizeof cmd, "command -v %s >/dev/null 2>&1", program);
    return system(cmd) == 0;
}

#define BWRAP "bwrap", "--ro-bind", "/", "/", "--unshare-all", "--die-with-parent", "--tmpfs", "/tmp", "--proc", "/proc", "--dev", "/dev"

int main(int argc, char **argv)
{
    static const char *const bwrap_python[] = {BWRAP, "/usr/bin/python3", "-c", NULL};
    static const char *const bwrap_true[] = {BWRAP, "/bin/true", NULL};
    static const char *const python[] = {"/usr/bin/python3", "-c", NULL};
    double s = argc > 1 ? atof(argv[1]) : 2;
    only = argc > 2 ? argv[2] : "";
    setenv("HONE_SANDBOX_KEEP_PRIORITY", "1", 1); /* chrt -r 1 then holds for the programs too */
    struct sandbox_opts o = code_sandbox_opts(FLIGHT);
    struct sandbox *pool;
    struct code_task parsed[N_TASKS];
    struct arena mem;
    struct err e = {0};
    signal(SIGPIPE, SIG_IGN);
    group_enter();
    arena_init(&mem, "bench", 64 << 20);
    parse_tasks(parsed, &mem);
    if (sandbox_open(&pool, &o, &e) != ERR_OK) {
        printf("skip: %s\n", e.msg);
        return 77;
    }
    printf("two in flight; CPU of the whole tree by %s\n", group[0] ? "cpuacct" : "rusage (of ended processes)");
    if (have("bwrap")) {
        row("bubblewrap python3 -c TASK (in-process checks)", NULL, (struct lane){.one = one_spawn, .argv = bwrap_python, .code = "", .parsed = parsed}, s, &base_python);
        row("bubblewrap true", NULL, (struct lane){.one = one_spawn, .argv = bwrap_true}, s, &base_true);
    } else {
        printf("skip: no bubblewrap here, so no ratios to it\n");
    }
    row("python3 -c TASK, no isolation", NULL, (struct lane){.one = one_spawn, .argv = python, .code = ""}, s, base_python > 0 ? &base_python : NULL);
    row("fork + exit", NULL, (struct lane){.one = one_fork}, s, base_true > 0 ? &base_true : NULL);
    row("hone: Python TASK judged by calls", pool, (struct lane){.one = one_judged, .parsed = parsed}, s, base_python > 0 ? &base_python : NULL);
    row("hone: Python, print(sum(...))", pool, (struct lane){.one = one_program, .lang = "python", .code = "print(sum(map(int, input().split())))"}, s,
        base_python > 0 ? &base_python : NULL);
    row("hone: C, built once", pool, (struct lane){.one = one_program, .lang = "c", .code = "#include <stdio.h>\nint main(void){int a,b;if(scanf(\"%d %d\",&a,&b)==2)printf(\"%d\\n\",a+b);return 0;}"}, s,
        base_true > 0 ? &base_true : NULL);
    row("hone: sh", pool, (struct lane){.one = one_program, .lang = "sh", .code = "read a b; echo $((a+b))"}, s, base_true > 0 ? &base_true : NULL);
    struct build_figures f = {0};
    struct sandbox_task t = {.fn = build, .ctx = &f};
    if (!only[0] || strstr("C++ compile", only)) {
        sandbox_submit(pool, &t);
        sandbox_wait(pool, &t);
        printf("C++ with bits/stdc++.h: compile %.0f ms (the first, with the header if it was not there: %.0f ms), cached %.1f ms with its run%s\n", f.ms,
               f.first_ms, f.cached_ms, f.bad ? "  WRONG" : "");
    }
    sandbox_close(pool);
    for (int i = 0; i < N_TASKS; i++)
        code_task_release(&parsed[i]);
    arena_release(&mem);
    return 0;
}
