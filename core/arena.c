#include "core/arena.h"

#include <string.h>
#include <sys/mman.h>

#include "core/err.h"

enum { PAGE = 4096 };

void arena_init(struct arena *a, const char *name, int64_t max_bytes)
{
    assert(max_bytes > 0);
    max_bytes = (max_bytes + PAGE - 1) / PAGE * PAGE;
    void *p = mmap(NULL, (size_t)max_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        BUG("arena '%s': cannot reserve %lld bytes of address space", name, (long long)max_bytes);
    *a = (struct arena){.base = p, .at = p, .end = (char *)p + max_bytes, .name = name};
}

void arena_large_pages(struct arena *a)
{
    madvise(a->base, (size_t)(a->end - a->base), MADV_HUGEPAGE);
}

void arena_release(struct arena *a)
{
    if (a->base)
        munmap(a->base, (size_t)(a->end - a->base));
    *a = (struct arena){0};
}

void arena_reset(struct arena *a)
{
    a->at = a->base;
}

int64_t arena_used(const struct arena *a)
{
    return a->at - a->base;
}

char *arena_mark(const struct arena *a)
{
    return a->at;
}

void arena_pop(struct arena *a, char *mark)
{
    assert(mark >= a->base && mark <= a->at);
    a->at = mark;
}

void *arena_try(struct arena *a, int64_t count, int64_t size)
{
    assert(count >= 0 && size > 0);
    int64_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        return NULL;
    uintptr_t align = bytes >= 256 ? 64 : 16;
    uintptr_t at = ((uintptr_t)a->at + align - 1) & ~(align - 1);
    int64_t pad = (int64_t)(at - (uintptr_t)a->at);
    if (bytes > a->end - a->at - pad)
        return NULL;
    char *p = a->at + pad;
    a->at = p + bytes;
    return memset(p, 0, (size_t)bytes);
}

void *arena_alloc(struct arena *a, int64_t count, int64_t size)
{
    void *p = arena_try(a, count, size);
    if (!p)
        BUG("arena '%s' is full: %lld of %lld bytes used, %lld x %lld asked", a->name, (long long)arena_used(a),
            (long long)(a->end - a->base), (long long)count, (long long)size);
    return p;
}
