#include "core/hash.h"

#include <stdio.h>
#include <xxhash.h>

#include "core/err.h"

static struct hash128 from_xxh(XXH128_hash_t h)
{
    return (struct hash128){h.high64, h.low64};
}

struct hash128 hash_bytes(const void *p, int64_t n)
{
    assert(n >= 0);
    return from_xxh(XXH3_128bits(p, (size_t)n));
}

int hash_eq(struct hash128 a, struct hash128 b)
{
    return a.hi == b.hi && a.lo == b.lo;
}

void hash_hex(struct hash128 h, char out[33])
{
    snprintf(out, 33, "%016llx%016llx", (unsigned long long)h.hi, (unsigned long long)h.lo);
}

struct hash_state *hash_open(void)
{
    XXH3_state_t *s = XXH3_createState();
    if (!s)
        BUG("out of memory for a hash state");
    XXH3_128bits_reset(s);
    return (struct hash_state *)s;
}

void hash_add(struct hash_state *h, const void *p, int64_t n)
{
    assert(n >= 0);
    if (n)
        XXH3_128bits_update((XXH3_state_t *)h, p, (size_t)n);
}

void hash_field(struct hash_state *h, const void *p, int64_t n)
{
    unsigned char len[8];
    for (int i = 0; i < 8; i++)
        len[i] = (unsigned char)((uint64_t)n >> (8 * i));
    hash_add(h, len, 8);
    hash_add(h, p, n);
}

struct hash128 hash_close(struct hash_state *h)
{
    struct hash128 r = from_xxh(XXH3_128bits_digest((XXH3_state_t *)h));
    XXH3_freeState((XXH3_state_t *)h);
    return r;
}
