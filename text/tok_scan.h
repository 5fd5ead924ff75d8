/* Hand-written scanners for the known pre-tokenizers: the same pieces as the patterns in text/tok_patterns.h give, in one pass
 * and without a regular expression. tests/fuzz/tok_scan.c compares each with the general engine. */
#ifndef HONE_TEXT_TOK_SCAN_H
#define HONE_TEXT_TOK_SCAN_H

#include <stdint.h>

#include "text/tok.h"

#define TOK_SCANNERS(X)                                                     \
    X(NONE, none)                                                           \
    X(GPT2, gpt2)          /* ByteLevel with its own pattern */             \
    X(GPT2_DIGITS, digits) /* Digits one by one, then that: SmolLM, StarCoder */ \
    X(LLAMA3, llama3)                                                       \
    X(QWEN2, qwen2)                                                         \
    X(QWEN35, qwen35)                                                       \
    X(O200K, o200k)                                                         \
    X(TEKKEN, tekken)                                                       \
    X(KIMI, kimi)                                                           \
    X(DS3, ds3)

enum tok_scanner {
#define X(name, fn) TOK_SCAN_##name,
    TOK_SCANNERS(X)
#undef X
    TOK_N_SCANNERS
};

/* Which scanner does what these stages do; TOK_SCAN_NONE when none does. */
enum tok_scanner tok_scan_for(const struct tok_pre *pre, int n);

/* Ends of the pieces of p[0, n) from `at` on, one to max of them; returns their number and moves *at behind the last. Much
 * faster with max a few hundred. What lies behind the returned ends is written to as well.
 * p is valid UTF-8. The piece that begins at *at ends at end[0], and so on. */
int tok_scan(enum tok_scanner s, const char *p, int64_t n, int64_t *at, int64_t *end, int max);

#endif
