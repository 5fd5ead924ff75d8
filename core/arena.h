/* Memory by lifetime: run, step, scratch. An arena is one reserved range of address space with a
 * limit; pages are taken from the system when first touched.
 *
 *   struct arena a;
 *   arena_init(&a, "step", 1 << 30);
 *   float *x = ARENA_NEW(&a, float, n);        zeroed, 64-byte aligned when large
 *   struct arena scratch = a;                  by value: what f() takes from the copy dies with it
 *   f(&a, scratch);
 *   arena_reset(&a);                           forget all, keep the pages
 *   arena_release(&a);
 *
 * arena_alloc never returns NULL: passing the limit aborts with the arena's name, because a planned
 * size was wrong. For foreign input of unknown size use arena_try and answer ERR_LIMIT.
 * Not thread-safe: one arena per thread.
 */
#ifndef HONE_CORE_ARENA_H
#define HONE_CORE_ARENA_H

#include <stddef.h>
#include <stdint.h>

#include "core/cdecl.h"

CDECL_BEGIN

struct arena {
    char *base, *at, *end;
    const char *name; /* borrowed; a literal */
};

void arena_init(struct arena *a, const char *name, int64_t max_bytes);
/* A hint, before first use: all of it will be used, so the system may give it in large pages (walks over page tables cost bandwidth). */
void arena_large_pages(struct arena *a);
void arena_release(struct arena *a);
void arena_reset(struct arena *a);          /* everything taken from it is dead */
int64_t arena_used(const struct arena *a);  /* bytes */

/* A place to go back to: arena_pop(a, arena_mark(a)) frees what was taken between. */
char *arena_mark(const struct arena *a);
void arena_pop(struct arena *a, char *mark);

/* count * size bytes, zeroed; aligned to 16, or to 64 from 256 bytes on. */
void *arena_alloc(struct arena *a, int64_t count, int64_t size);
void *arena_try(struct arena *a, int64_t count, int64_t size); /* NULL past the limit */

#define ARENA_NEW(a, T, n) ((T *)arena_alloc((a), (n), (int64_t)sizeof(T)))
#define ARENA_TRY(a, T, n) ((T *)arena_try((a), (n), (int64_t)sizeof(T)))

CDECL_END

#endif
