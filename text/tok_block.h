/* Plain ASCII text in blocks of 64 bytes: which bytes begin a piece is worked out for all of them at once, in bits. Private to
 * text/tok_scan.c and its tests. */
#ifndef HONE_TEXT_TOK_BLOCK_H
#define HONE_TEXT_TOK_BLOCK_H

#include <stdint.h>

#include "text/tok_scan.h"

enum { TOK_BLOCK = 64 };

/* name, what tells bytes apart */
#define TOK_BLOCK_WAYS(X)                            \
    X(NONE, "one character at a time")               \
    X(SSE2, "16 bytes at a time")                    \
    X(AVX512, "64 bytes at a time (AVX-512 VBMI)")

enum tok_block_way {
#define X(name, what) TOK_BLOCK_##name,
    TOK_BLOCK_WAYS(X)
#undef X
    TOK_N_BLOCK_WAYS
};

/* The best way this machine has; tests and benches take another one. A way that the machine lacks is not taken: 0. */
enum tok_block_way tok_block_way(void);
int tok_block_take(enum tok_block_way way);

/* Pieces from *at on, which begins one, until a character outside ASCII comes near, the text is nearly over, fewer than
 * TOK_BLOCK ends have room, or something only the scanner knows stands in the way. Returns their number and moves *at behind the
 * last. end: room for max ends, of which those behind the returned ones may be written to as well. */
typedef int tok_block_fn(const uint8_t *p, int64_t n, int64_t *at, int64_t *end, int max);
extern tok_block_fn *tok_block_of[TOK_N_SCANNERS]; /* NULL: none */

/* 's 't 're 've 'm 'll 'd at i, where an apostrophe stands; 0 or the length. fold: (?i), under which U+017F is an s. */
static inline __attribute__((always_inline)) int tok_contraction(const uint8_t *p, int64_t i, int64_t n, int fold)
{
    if (i + 1 >= n)
        return 0;
    uint8_t a = p[i + 1], b = i + 2 < n ? p[i + 2] : 0;
    if (fold && a == 0xC5 && b == 0xBF)
        return 3;
    if (fold) {
        a = a >= 'A' && a <= 'Z' ? a | 32 : a;
        b = b >= 'A' && b <= 'Z' ? b | 32 : b;
    }
    if (a == 's' || a == 't' || a == 'm' || a == 'd')
        return 2;
    return (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
}

#endif
