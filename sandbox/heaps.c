/* The zygote's memory. What a run pays for is the fork of the zygote, the page faults of the copy and its end, and all
 * three go by pages: so before the first fork
 *   - the heaps that filled while Python started become huge pages: a fork copies one entry for 2 MiB instead of 512;
 *   - every free block in them is taken: a copy that allocates from holes all over the heap would copy a page for each,
 *     one that finds none goes on in fresh memory, from its first byte;
 *   - libpython's code and constants become huge pages as well: a copy has them mapped from the start, where pages of a
 *     file are mapped by one fault for every 16.
 * Where the kernel gives no huge pages, runs are slower and nothing else. */
#include <link.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sandbox/inner.h"

enum {
    HUGE = 2 << 20,
    ARENA_ROOM = 32 << 20,
    FRESH = 1 << 20,         /* malloc: what a copy has before it must ask the kernel for more */
    COLLAPSE = 25,           /* MADV_COLLAPSE, Linux 6.1 */
    SMALL_MAX = 512,         /* Python's small objects */
    SMALL_STEP = 16,
    CACHED_MAX = 1032,       /* a freed block up to here goes to malloc's cache, not back to its neighbours */
    HOLE_MAX = 256 << 10,    /* larger holes stay: they are few */
    HOLES = 1 << 20          /* an end to the search, should an allocator be of another kind */
};

#ifdef __SANITIZE_ADDRESS__
/* What the rehearsals free would be kept back by the sanitizer, 180 MiB that count with every program. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "quarantine_size_mb=4:thread_local_quarantine_size_kb=64"; }
#endif

static struct {
    char *start, *next, *end; /* Python's small objects; next moves up until the zygote is ready */
    char *brk;                /* malloc, from here on */
} room;

static char *huge_up(const char *p) { return (char *)(((uintptr_t)p + HUGE - 1) & ~(uintptr_t)(HUGE - 1)); }
static char *huge_down(const char *p) { return (char *)((uintptr_t)p & ~(uintptr_t)(HUGE - 1)); }

static void *small_alloc(void *ctx, size_t n)
{
    (void)ctx;
    if (room.next && n <= (size_t)(room.end - room.next)) {
        room.next += n;
        return room.next - n;
    }
    void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static void small_free(void *ctx, void *p, size_t n)
{
    (void)ctx;
    if ((char *)p >= room.start && (char *)p < room.end)
        madvise(p, n, MADV_DONTNEED);
    else
        munmap(p, n);
}

struct py_arenas *sandbox_heaps_lay_out(void)
{
    static struct py_arenas a = {NULL, small_alloc, small_free};
    char *top = sbrk(0), *up = huge_up(top);
    char *p = mmap(NULL, ARENA_ROOM + HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p != MAP_FAILED) {
        room.start = room.next = huge_up(p);
        room.end = room.start + ARENA_ROOM;
    }
    mallopt(M_TOP_PAD, HUGE);
    if (sbrk(up - top) != (void *)-1)
        room.brk = up;
    return &a;
}

/* The compiler may not leave out what nobody uses. */
static void *(*volatile const take)(size_t) = malloc;

/* Blocks of one size until one lies in fresh memory; that one is returned. */
static void *drain(void *(*alloc)(size_t), size_t size, uintptr_t fresh, uintptr_t end)
{
    for (int i = 0; i < HOLES; i++) {
        void *p = alloc(size);
        if (!p || ((uintptr_t)p >= fresh && (uintptr_t)p < end))
            return p;
    }
    return NULL;
}

/* Python's: fresh memory is the next huge page, where the arena that it asks for when it has none left will be. */
static void drain_small(void *(*small)(size_t))
{
    char *fresh = huge_up(room.next);
    if (!room.next || fresh + HUGE > room.end)
        return;
    room.next = fresh;
    for (size_t size = SMALL_MAX; size >= SMALL_STEP; size -= SMALL_STEP)
        if (!drain(small, size, (uintptr_t)fresh, (uintptr_t)room.end))
            return;
}

/* Behind the last block of malloc. */
static uintptr_t last_block_end(void) { return (uintptr_t)sbrk(0) - mallinfo2().keepcost; }

/* malloc's: fresh memory is what is behind its last block, moved up to the next huge page. */
static char *drain_malloc(void)
{
    mallopt(M_MMAP_THRESHOLD, 2 * HUGE);
    mallopt(M_TRIM_THRESHOLD, 16 * HUGE);
    uintptr_t last = last_block_end();
    if (!room.brk || last < (uintptr_t)room.brk)
        return NULL;
    for (size_t size = HOLE_MAX; size > CACHED_MAX; size -= SMALL_STEP)
        free(drain(take, size, last, UINTPTR_MAX));
    for (size_t size = CACHED_MAX; size >= 24; size -= SMALL_STEP)
        drain(take, size, last, UINTPTR_MAX);
    last = last_block_end();
    char *fresh = huge_up((char *)last);
    return take((uintptr_t)fresh - last) ? fresh : NULL;
}

/* The code and the constants of the library that has `at` in it, as far as whole huge pages go. */
static int collapse_library(struct dl_phdr_info *l, size_t n, void *at)
{
    char *base = (char *)(uintptr_t)l->dlpi_addr, *from = NULL, *to = NULL;
    (void)n;
    for (int i = 0; i < l->dlpi_phnum; i++) { /* in order of their addresses */
        const ElfW(Phdr) *h = &l->dlpi_phdr[i];
        char *p = (char *)((uintptr_t)(base + h->p_vaddr) & ~(uintptr_t)4095);
        if (h->p_type != PT_LOAD)
            continue;
        if ((h->p_flags & PF_W) || (from && p != to))
            break;
        from = from ? from : p;
        to = (char *)(((uintptr_t)(base + h->p_vaddr + h->p_memsz) + 4095) & ~(uintptr_t)4095);
    }
    if ((char *)at < from || (char *)at >= to)
        return 0;
    from = huge_up(from);
    to = huge_down(to);
    size_t size = to > from ? (size_t)(to - from) : 0;
    char *p = size ? mmap(NULL, size + HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) : MAP_FAILED;
    if (p == MAP_FAILED)
        return 1;
    char *copy = huge_up(p);
    memcpy(copy, from, size);
    if (madvise(copy, size, COLLAPSE) || mprotect(copy, size, PROT_READ | PROT_EXEC) ||
        mremap(copy, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, from) == MAP_FAILED)
        munmap(copy, size);
    munmap(p, (size_t)(copy - p));
    munmap(copy + size, (size_t)(p + HUGE - copy));
    return 1;
}

static void collapse(char *from, const char *to)
{
    for (char *p = from; p && p < to; p += HUGE)
        madvise(p, HUGE, COLLAPSE);
}

void sandbox_heaps_settle(void *(*small)(size_t), const void *in_library)
{
    char *small_end = room.next ? huge_up(room.next) : NULL;
    drain_small(small);
    char *fresh = drain_malloc();
    collapse(room.start, small_end);
    collapse(room.brk, fresh ? fresh : huge_down(sbrk(0)));
    room.next = NULL; /* a copy asks the kernel */
    mallopt(M_TOP_PAD, 128 << 10);
    free(take(FRESH));
    dl_iterate_phdr(collapse_library, (void *)(uintptr_t)in_library);
}
