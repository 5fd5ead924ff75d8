/* Merging up to 64 symbols with their ranks in registers: the least of all is one instruction a step, and neighbours are bits of
 * one word. The same merges in the same order as merge_medium of text/bpe.c, which does it where AVX-512 is missing. */
#include "text/tok.h"

#ifdef __x86_64__
#include <immintrin.h>

enum { LANES = 16 };
#define TARGET __attribute__((target("avx512f,bmi,bmi2,lzcnt,popcnt")))
#define INLINE static inline __attribute__((always_inline))

struct look {
    uint64_t key, slot;
    int maybe;
};

INLINE TARGET struct look ask(const struct tok_image *im, uint32_t left, uint32_t right)
{
    uint64_t key = (uint64_t)left << im->id_bits | right, h = tok_mix(key), bit = h >> 34 & ((uint64_t)im->n[TOK_S_maybe] * 64 - 1);
    __builtin_prefetch(&im->pair[h >> 20 & ((uint64_t)im->n[TOK_S_pair] - 1)]);
    return (struct look){key, h >> 20, (int)(im->maybe[bit >> 6] >> (bit & 63) & 1)};
}

INLINE TARGET uint32_t answer(const struct tok_image *im, struct look q)
{
    uint64_t mask = (uint64_t)im->n[TOK_S_pair] - 1;
    if (!q.maybe)
        return TOK_NONE;
    for (uint64_t i = q.slot & mask;; i = (i + 1) & mask) {
        uint64_t v = im->pair[i];
        if (v >> im->rank_bits == q.key) {
            uint32_t r = (uint32_t)(v & ((1ull << im->rank_bits) - 1));
            __builtin_prefetch(&im->made[r]);
            return r;
        }
        if (v == ~0ull)
            return TOK_NONE;
    }
}

INLINE TARGET void set_rank(__m512i *rank, int vectors, int at, uint32_t r)
{
    for (int k = 0; k < vectors; k++)
        rank[k] = _mm512_mask_set1_epi32(rank[k], (__mmask16)((1ull << at) >> (k * LANES)), (int)r);
}

INLINE TARGET int merge(const struct tok_image *im, struct tok_sym *sym, int n, const uint8_t *raw, uint16_t *begin, int vectors)
{
    uint32_t first[LANES * 4] __attribute__((aligned(64)));
    __m512i rank[4];
    uint64_t alive = ~0ull >> (64 - n);
    for (int i = 0; i < vectors * LANES; i++)
        first[i] = i + 1 >= n ? TOK_NONE : raw ? im->two[raw[i] << 8 | raw[i + 1]] : tok_pair_rank(im, sym[i].id, sym[i + 1].id);
    for (int k = 0; k < vectors; k++)
        rank[k] = _mm512_load_si512(first + k * LANES);
    for (;;) {
        __m512i low = rank[0];
        uint64_t hits = 0;
        for (int k = 1; k < vectors; k++)
            low = _mm512_min_epu32(low, rank[k]);
        uint32_t r = _mm512_reduce_min_epu32(low);
        if (r == TOK_NONE)
            break;
        for (int k = 0; k < vectors; k++)
            hits |= (uint64_t)_mm512_cmpeq_epi32_mask(rank[k], _mm512_set1_epi32((int)r)) << (k * LANES);
        int at = (int)_tzcnt_u64(hits);
        uint64_t behind = alive & (~1ull << at), before = alive & ((1ull << at) - 1);
        int right = (int)_tzcnt_u64(behind), left = 63 - (int)_lzcnt_u64(before), next = (int)_tzcnt_u64(behind & (behind - 1));
        uint32_t id = im->made[r];
        sym[at].id = id;
        sym[at].len += sym[right].len;
        alive &= ~(1ull << right);
        set_rank(rank, vectors, right, TOK_NONE);
        struct look a = {0}, b = {0};
        if (next < 64)
            a = ask(im, id, sym[next].id);
        if (before)
            b = ask(im, sym[left].id, id);
        set_rank(rank, vectors, at, answer(im, a));
        if (before)
            set_rank(rank, vectors, left, answer(im, b));
    }
    int k = 0;
    for (; alive; alive &= alive - 1) {
        begin[k] = (uint16_t)_tzcnt_u64(alive);
        sym[k] = sym[begin[k]];
        k++;
    }
    return k;
}

TARGET static int merge_avx512(const struct tok_image *im, struct tok_sym *sym, int n, const uint8_t *raw, uint16_t *begin)
{
    return n <= LANES ? merge(im, sym, n, raw, begin, 1) : n <= 2 * LANES ? merge(im, sym, n, raw, begin, 2) : merge(im, sym, n, raw, begin, 4);
}

static int off;

int bpe_short_take(int on)
{
    off = !on;
    return on && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("bmi2");
}

int bpe_short(const struct tok_image *im, struct tok_sym *sym, int n, const uint8_t *raw, uint16_t *begin)
{
    int has = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("bmi2");
    return has && !off ? merge_avx512(im, sym, n, raw, begin) : 0;
}

#else

int bpe_short_take(int on)
{
    (void)on;
    return 0;
}

int bpe_short(const struct tok_image *im, struct tok_sym *sym, int n, const uint8_t *raw, uint16_t *begin)
{
    (void)im, (void)sym, (void)n, (void)raw, (void)begin;
    return 0;
}

#endif
