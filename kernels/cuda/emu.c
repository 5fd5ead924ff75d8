#include "kernels/cuda/emu.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#include "core/err.h"
#include "core/rng.h"

enum { THREADS_MAX = 1024, STACK = 64 << 10, WARP = 32, COPIES_MAX = 512, GUARD_BYTES = 256 };

enum state { READY, AT_BARRIER, AT_COLLECTIVE, GONE };

struct copy {
    void *dst;
    const void *src;
    int bytes, group;
};

struct fiber {
    enum state state;
#if defined(__x86_64__)
    void *sp;
#else
    ucontext_t context;
#endif
    struct copy copy[COPIES_MAX];
    int n_copies, n_groups; /* groups committed */
};

/* Lanes that came to a collective. */
struct warp {
    const char *what;
    void *lane[WARP];
    int n;
};

struct emu_place kern_emu_at;

static struct {
    const char *name;
    emu_body *body;
    void *ctx;
    int threads, waiting, gone;
    struct fiber *fiber;   /* [THREADS_MAX] */
    char *stacks;
    struct warp warp[THREADS_MAX / WARP];
    char *shared;          /* at the end of its pages, so that one byte too many faults */
    int64_t shared_bytes;
    uint64_t order;
    int *turn;             /* [THREADS_MAX] */
#if defined(__x86_64__)
    void *sp;
#else
    ucontext_t context;
#endif
} emu;

/* ---- switching ------------------------------------------------------------------------------- */

#if defined(__x86_64__)
void kern_emu_switch(void **from, void *to);
__asm__(".text\n.globl kern_emu_switch\n.type kern_emu_switch,@function\nkern_emu_switch:\n"
        "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
        "mov %rsp,(%rdi)\nmov %rsi,%rsp\n"
        "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n"
        ".size kern_emu_switch,.-kern_emu_switch\n");
#endif

static struct fiber *self(void)
{
    return &emu.fiber[kern_emu_at.thread];
}

static void leave(enum state s)
{
    struct fiber *f = self();
    f->state = s;
#if defined(__x86_64__)
    kern_emu_switch(&f->sp, emu.sp);
#else
    swapcontext(&f->context, &emu.context);
#endif
}

static void release_barrier(void)
{
    for (int t = 0; t < emu.threads; t++)
        if (emu.fiber[t].state == AT_BARRIER)
            emu.fiber[t].state = READY;
    emu.waiting = 0;
}

static void entry(void)
{
    emu.body(emu.ctx);
    emu.gone++;
    if (emu.waiting && emu.waiting == emu.threads - emu.gone)
        release_barrier();
    leave(GONE);
    abort();
}

static void start(int t)
{
    struct fiber *f = &emu.fiber[t];
    char *top = emu.stacks + (int64_t)(t + 1) * STACK;
    f->state = READY;
    f->n_copies = f->n_groups = 0;
#if defined(__x86_64__)
    void **sp = (void **)(void *)top - 8; /* six registers, entry, and where entry would return to: aligned as a call leaves it */
    memset(sp, 0, 8 * sizeof *sp);
    sp[6] = (void *)(uintptr_t)entry;
    f->sp = sp;
#else
    getcontext(&f->context);
    f->context.uc_stack.ss_sp = top - STACK;
    f->context.uc_stack.ss_size = STACK;
    f->context.uc_link = NULL;
    makecontext(&f->context, entry, 0);
#endif
}

static void resume(int t)
{
    kern_emu_at.thread = t;
#if defined(__x86_64__)
    kern_emu_switch(&emu.sp, emu.fiber[t].sp);
#else
    swapcontext(&emu.context, &emu.fiber[t].context);
#endif
}

/* ---- blocks ---------------------------------------------------------------------------------- */

static void stuck(void)
{
    int at[4] = {0};
    const char *what = "";
    for (int t = 0; t < emu.threads; t++)
        at[emu.fiber[t].state]++;
    for (int w = 0; w < emu.threads / WARP; w++)
        if (emu.warp[w].n)
            what = emu.warp[w].what;
    BUG("kernel %s, block (%d %d %d): %d threads wait at a barrier, %d for the rest of their warp (%s), %d are gone", emu.name, kern_emu_at.x, kern_emu_at.y,
        kern_emu_at.z, at[AT_BARRIER], at[AT_COLLECTIVE], what, at[GONE]);
}

static void set_turns(void)
{
    for (int t = 0; t < emu.threads; t++)
        emu.turn[t] = emu.order == 1 ? emu.threads - 1 - t : t;
    for (int t = emu.threads - 1; emu.order > 1 && t > 0; t--) {
        int other = (int)rng_below((uint64_t)t + 1, emu.order, RNG_TEST, 0, 0, (uint64_t)t), was = emu.turn[t];
        emu.turn[t] = emu.turn[other];
        emu.turn[other] = was;
    }
}

static void run_block(void)
{
    emu.waiting = emu.gone = 0;
    memset(emu.shared, 0xFF, (size_t)emu.shared_bytes); /* NaN */
    for (int t = 0; t < emu.threads; t++)
        start(t);
    while (emu.gone < emu.threads) {
        int ran = 0;
        for (int i = 0; i < emu.threads; i++)
            if (emu.fiber[emu.turn[i]].state == READY) {
                resume(emu.turn[i]);
                ran = 1;
            }
        if (!ran)
            stuck();
    }
}

static void *pages(int64_t bytes)
{
    void *p = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        BUG("the emulator gets no memory");
    return p;
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
    static char line[256];
    int n = snprintf(line, sizeof line, "emu: kernel %s, block (%d %d %d), thread %d: memory at %p is no allocation of the device (or no kernel is running)\n",
                     emu.name ? emu.name : "none", kern_emu_at.x, kern_emu_at.y, kern_emu_at.z, kern_emu_at.thread, info->si_addr);
    (void)context;
    if (write(2, line, (size_t)n) < 0)
        _exit(1);
    signal(sig, SIG_DFL); /* the instruction faults again, with a core and a sanitizer's report */
}

static void set_up(void)
{
    if (emu.fiber)
        return;
    emu.fiber = pages(THREADS_MAX * (int64_t)sizeof *emu.fiber);
    emu.turn = pages(THREADS_MAX * (int64_t)sizeof *emu.turn);
    emu.stacks = pages((int64_t)THREADS_MAX * STACK);
    stack_t alt = {.ss_sp = pages(STACK), .ss_size = STACK};
    struct sigaction a = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaltstack(&alt, NULL);
    sigaction(SIGSEGV, &a, NULL);
}

static int64_t up(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}

void kern_emu_launch(const char *name, struct emu_grid grid, int threads, int64_t shared, emu_body *body, void *ctx)
{
    set_up();
    assert(threads > 0 && threads <= THREADS_MAX && threads % WARP == 0 && shared >= 0 && grid.x > 0 && grid.y > 0 && grid.z > 0);
    if (grid.y > 65535 || grid.z > 65535 || grid.x > INT32_MAX || shared > 227 << 10)
        BUG("kernel %s: a grid of %lld x %lld x %lld with %lld bytes of shared memory does not fit a device", name, (long long)grid.x, (long long)grid.y,
            (long long)grid.z, (long long)shared);
    int64_t room = up(shared, 4096) + 4096;
    char *base = pages(room);
    mprotect(base + room - 4096, 4096, PROT_NONE);
    emu.name = name, emu.body = body, emu.ctx = ctx, emu.threads = threads, emu.shared_bytes = shared;
    emu.shared = base + room - 4096 - up(shared, 16);
    memset(emu.warp, 0, sizeof emu.warp);
    set_turns();
    kern_emu_open_memory();
    kern_emu_at = (struct emu_place){.grid_x = (int)grid.x, .grid_y = (int)grid.y, .grid_z = (int)grid.z};
    for (int64_t b = 0; b < grid.x * grid.y * grid.z; b++) {
        int64_t i = emu.order == 1 ? grid.x * grid.y * grid.z - 1 - b : b;
        kern_emu_at.x = (int)(i % grid.x), kern_emu_at.y = (int)(i / grid.x % grid.y), kern_emu_at.z = (int)(i / grid.x / grid.y);
        run_block();
    }
    kern_emu_shut_memory();
    munmap(base, (size_t)room);
    emu.name = NULL;
}

void kern_emu_order(uint64_t order)
{
    emu.order = order;
}

void *kern_emu_shared(void)
{
    return emu.shared;
}

void kern_emu_barrier(void)
{
    if (++emu.waiting == emu.threads - emu.gone)
        release_barrier();
    else
        leave(AT_BARRIER);
}

void kern_emu_warp(const char *what, emu_collective *all, void *mine)
{
    int t = kern_emu_at.thread, first = t / WARP * WARP;
    struct warp *w = &emu.warp[t / WARP];
    if (w->n && strcmp(w->what, what))
        BUG("kernel %s, block (%d %d %d), warp %d: thread %d is at %s, others at %s", emu.name, kern_emu_at.x, kern_emu_at.y, kern_emu_at.z, t / WARP, t, what, w->what);
    w->what = what;
    w->lane[t % WARP] = mine;
    if (++w->n < WARP) {
        leave(AT_COLLECTIVE);
        return;
    }
    w->n = 0;
    if (all)
        all(w->lane);
    for (int i = first; i < first + WARP; i++)
        if (emu.fiber[i].state == AT_COLLECTIVE)
            emu.fiber[i].state = READY;
}

/* ---- asynchronous copies --------------------------------------------------------------------- */

void kern_emu_copy(void *dst, const void *src, int bytes)
{
    struct fiber *f = self();
    if (f->n_copies == COPIES_MAX)
        BUG("kernel %s: more than %d copies under way in one thread", emu.name, COPIES_MAX);
    if ((uintptr_t)dst % 16 || (bytes && (uintptr_t)src % 16))
        BUG("kernel %s: a copy of 16 bytes from %p to %p is not aligned", emu.name, src, dst);
    f->copy[f->n_copies++] = (struct copy){dst, src, bytes, f->n_groups};
}

void kern_emu_copy_commit(void)
{
    self()->n_groups++;
}

void kern_emu_copy_wait(int groups_left)
{
    struct fiber *f = self();
    int kept = 0;
    for (int i = 0; i < f->n_copies; i++) {
        struct copy c = f->copy[i];
        if (c.group >= f->n_groups - groups_left) {
            f->copy[kept++] = c;
            continue;
        }
        memset(c.dst, 0, 16);
        memcpy(c.dst, c.src, (size_t)c.bytes);
    }
    f->n_copies = kept;
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* The map's length stands in the page before what the caller gets; a closed page follows it. */
static struct region {
    char *base;
    int64_t room; /* of the caller's pages */
} *regions;
static int n_regions, room_regions, opened; /* opened: how many want it open */
static pthread_mutex_t memory_lock = PTHREAD_MUTEX_INITIALIZER;

static void protect(const struct region *r)
{
    if (r->base && mprotect(r->base, (size_t)r->room, opened ? PROT_READ | PROT_WRITE : PROT_NONE))
        BUG("mprotect failed");
}

void *kern_emu_alloc(int64_t bytes)
{
    struct region r = {.room = up(bytes ? bytes : 1, 4096)};
    void *p = mmap(NULL, (size_t)(r.room + 4096), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    set_up();
    if (p == MAP_FAILED)
        return NULL;
    r.base = p;
    if (n_regions == room_regions) {
        room_regions = room_regions ? 2 * room_regions : 64;
        if (!(regions = realloc(regions, (size_t)room_regions * sizeof *regions)))
            BUG("the emulator gets no memory");
    }
    regions[n_regions++] = r;
    protect(&r);
    return r.base + r.room - up(bytes ? bytes : 1, GUARD_BYTES);
}

void kern_emu_free(void *p)
{
    for (int i = 0; i < n_regions; i++)
        if ((char *)p >= regions[i].base && (char *)p < regions[i].base + regions[i].room) {
            munmap(regions[i].base, (size_t)(regions[i].room + 4096));
            regions[i] = regions[--n_regions];
            return;
        }
    BUG("%p is no memory of the device", p);
}

static void set_opened(int change)
{
    pthread_mutex_lock(&memory_lock);
    int was = opened > 0;
    opened += change;
    for (int i = 0; was != (opened > 0) && i < n_regions; i++)
        protect(&regions[i]);
    pthread_mutex_unlock(&memory_lock);
}

void kern_emu_open_memory(void)
{
    set_opened(1);
}

void kern_emu_shut_memory(void)
{
    set_opened(-1);
}
