#include "core/par.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "core/err.h"
#include "core/str.h"

enum { SPIN = 4000 };

static struct {
    pthread_mutex_t lock; /* guards the condition variables; the epoch is atomic so workers can spin on it */
    pthread_cond_t wake, done;
    pthread_t thread[PAR_MAX];
    int threads; /* 0: not started */
    atomic_uint epoch;
    atomic_int running; /* helpers still inside the current job */
    atomic_int stop;
    par_fn *fn;
    void *ctx;
    int64_t n, grain;
    atomic_int_fast64_t next;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER, .done = PTHREAD_COND_INITIALIZER};

static pthread_mutex_t callers = PTHREAD_MUTEX_INITIALIZER; /* one job at a time */
static _Thread_local int inside;

static void pause_cpu(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static void work(int worker)
{
    inside = 1;
    for (;;) {
        int64_t b = atomic_fetch_add(&pool.next, pool.grain);
        if (b >= pool.n)
            break;
        int64_t end = pool.n - b < pool.grain ? pool.n : b + pool.grain;
        pool.fn(pool.ctx, b, end, worker);
    }
    inside = 0;
}

static void *helper(void *arg)
{
    int worker = (int)(intptr_t)arg;
    unsigned seen = 0;
    for (;;) {
        for (int i = 0; i < SPIN && atomic_load(&pool.epoch) == seen; i++)
            pause_cpu();
        if (atomic_load(&pool.epoch) == seen) {
            pthread_mutex_lock(&pool.lock);
            while (atomic_load(&pool.epoch) == seen)
                pthread_cond_wait(&pool.wake, &pool.lock);
            pthread_mutex_unlock(&pool.lock);
        }
        seen = atomic_load(&pool.epoch);
        if (atomic_load(&pool.stop))
            return NULL;
        work(worker);
        if (atomic_fetch_sub(&pool.running, 1) == 1) {
            pthread_mutex_lock(&pool.lock);
            pthread_cond_signal(&pool.done);
            pthread_mutex_unlock(&pool.lock);
        }
    }
}

static void announce(void)
{
    pthread_mutex_lock(&pool.lock);
    atomic_fetch_add(&pool.epoch, 1);
    pthread_cond_broadcast(&pool.wake);
    pthread_mutex_unlock(&pool.lock);
}

static void stop_threads(void)
{
    if (pool.threads > 1) {
        atomic_store(&pool.stop, 1);
        announce();
        for (int i = 1; i < pool.threads; i++)
            pthread_join(pool.thread[i], NULL);
        atomic_store(&pool.stop, 0);
    }
    pool.threads = 0;
    atomic_store(&pool.epoch, 0);
}

/* A forked child has no helpers: it starts over, with fresh locks, at its first par_for. */
static void after_fork(void)
{
    pthread_mutex_init(&pool.lock, NULL);
    pthread_cond_init(&pool.wake, NULL);
    pthread_cond_init(&pool.done, NULL);
    pthread_mutex_init(&callers, NULL);
    pool.threads = 0;
    atomic_store(&pool.epoch, 0);
    atomic_store(&pool.running, 0);
}

static int default_threads(void)
{
    int64_t n;
    if (getenv("HONE_THREADS") && str_to_i64(str_of(getenv("HONE_THREADS")), &n) && n >= 1)
        return n < PAR_MAX ? (int)n : PAR_MAX;
    cpu_set_t set;
    int cpus = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return cpus < PAR_MAX ? cpus : PAR_MAX;
}

void par_init(int n)
{
    static int hooked;
    assert(n >= 0 && !inside);
    if (!hooked)
        hooked = pthread_atfork(NULL, NULL, after_fork) == 0;
    stop_threads();
    if (n == 0)
        n = default_threads();
    if (n > PAR_MAX)
        n = PAR_MAX;
    pool.threads = n;
    for (int i = 1; i < n; i++)
        if (pthread_create(&pool.thread[i], NULL, helper, (void *)(intptr_t)i)) {
            pool.threads = i; /* fewer threads give the same results, later */
            break;
        }
}

int par_threads(void)
{
    if (!pool.threads)
        par_init(0);
    return pool.threads;
}

void par_for(int64_t n, int64_t grain, par_fn *fn, void *ctx)
{
    assert(grain > 0);
    if (n <= 0)
        return;
    if (inside || n <= grain || par_threads() == 1) {
        fn(ctx, 0, n, 0);
        return;
    }
    pthread_mutex_lock(&callers);
    pool.fn = fn;
    pool.ctx = ctx;
    pool.n = n;
    pool.grain = grain;
    atomic_store(&pool.next, 0);
    atomic_store(&pool.running, pool.threads - 1);
    announce();
    work(0);
    for (int i = 0; i < SPIN && atomic_load(&pool.running); i++)
        pause_cpu();
    pthread_mutex_lock(&pool.lock);
    while (atomic_load(&pool.running))
        pthread_cond_wait(&pool.done, &pool.lock);
    pthread_mutex_unlock(&pool.lock);
    pthread_mutex_unlock(&callers);
}
