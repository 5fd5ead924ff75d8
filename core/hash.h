/* Content hashes: XXH3, 128 bit. Not cryptographic: they tell rows, plans and checkpoints apart,
 * they do not protect against a forger. Canonical (big-endian) hex is the printed form. */
#ifndef HONE_CORE_HASH_H
#define HONE_CORE_HASH_H

#include <stdint.h>

#include "core/cdecl.h"
#include "core/str.h"

CDECL_BEGIN

struct hash128 {
    uint64_t hi, lo;
};

struct hash128 hash_bytes(const void *p, int64_t n);
int hash_eq(struct hash128 a, struct hash128 b);
void hash_hex(struct hash128 h, char out[33]); /* 32 hex digits and NUL */

/* Streamed. Every piece is preceded by its length when added with hash_field, so that ("ab","c")
 * and ("a","bc") differ. */
struct hash_state;
struct hash_state *hash_open(void);
void hash_add(struct hash_state *h, const void *p, int64_t n);
void hash_field(struct hash_state *h, const void *p, int64_t n);
struct hash128 hash_close(struct hash_state *h); /* frees h */

CDECL_END

#endif
