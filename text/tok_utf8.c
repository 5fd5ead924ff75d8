/* Is it UTF-8? Both ways of a byte-level tokenizer ask that of every text, so it must cost next to nothing: 64 bytes at a time, each
 * kind of byte as bits of one word, where there is AVX-512; else by character with ASCII by 8. */
#include "text/tok.h"

/* From `at` on, which begins a character. */
static int64_t check_chars(struct str s, int64_t at)
{
    for (int64_t i = uni_ascii(s, at); i < s.n;) {
        const uint8_t *p = (const uint8_t *)s.p + i;
        uint32_t c;
        int n;
        if (p[0] >= 0xE1 && p[0] <= 0xEF && p[0] != 0xED && i + 3 <= s.n && (p[1] & 0xC0) == 0x80 && (p[2] & 0xC0) == 0x80)
            n = 3; /* most of what is not ASCII, and nothing can be wrong with it */
        else if (p[0] >= 0xC2 && p[0] <= 0xDF && i + 2 <= s.n && (p[1] & 0xC0) == 0x80)
            n = 2;
        else if (!(n = utf8_decode(s, i, &c)))
            return i;
        i += n;
        if (i < s.n && (unsigned char)s.p[i] < 0x80)
            i = uni_ascii(s, i);
    }
    return -1;
}

#ifdef __x86_64__
#include <immintrin.h>

#define TARGET __attribute__((target("avx512f,avx512bw,bmi2")))

/* What the bytes behind a block must be, from the leads in it: bits 0 to 2 are its first three bytes. */
struct owed {
    uint64_t follow, low_A0, high_A0, low_90, high_90; /* a continuation; and not below or from A0, 90 on */
};

/* 1 when the block x, with what the one before it owes, has only whole characters up to its last ones. */
static inline __attribute__((always_inline)) TARGET int block_good(__m512i x, struct owed *o)
{
#define FROM(b) _mm512_cmpge_epu8_mask(x, _mm512_set1_epi8((char)(b)))
#define IS(b) _mm512_cmpeq_epi8_mask(x, _mm512_set1_epi8((char)(b)))
    uint64_t high = _mm512_movepi8_mask(x), lead = FROM(0xC0), three = FROM(0xE0), four = FROM(0xF0);
    uint64_t follow = o->follow | lead << 1 | three << 2 | four << 3;
    uint64_t bad = (FROM(0xF5) | (lead & ~FROM(0xC2))) | (follow ^ (high & ~lead));
    uint64_t a0 = FROM(0xA0), n90 = FROM(0x90), e0 = IS(0xE0), ed = IS(0xED), f0 = IS(0xF0), f4 = IS(0xF4);
    bad |= ((o->low_A0 | e0 << 1) & ~a0) | ((o->high_A0 | ed << 1) & a0) | ((o->low_90 | f0 << 1) & ~n90) | ((o->high_90 | f4 << 1) & n90);
    *o = (struct owed){lead >> 63 | three >> 62 | four >> 61, e0 >> 63, ed >> 63, f0 >> 63, f4 >> 63};
    return bad == 0;
#undef FROM
#undef IS
}

/* The first block that is not good, or where the text ends inside a character: where the last character before it begins. */
TARGET static int64_t check_avx512(struct str s, int *ascii)
{
    struct owed o = {0};
    int64_t i = 0;
    uint64_t any = 0;
    int good = 1;
    for (; i < s.n && good; i += 64) {
        __m512i x = s.n - i >= 64 ? _mm512_loadu_si512(s.p + i) : _mm512_maskz_loadu_epi8(~0ull >> (64 - (s.n - i)), s.p + i);
        uint64_t high = _mm512_movepi8_mask(x);
        any |= high;
        if (high | o.follow)
            good = block_good(x, &o);
    }
    *ascii = any == 0;
    if (good && o.follow == 0)
        return -1;
    i = i > 67 ? i - 67 : 0; /* the block itself and a character that began before it */
    while (i > 0 && ((unsigned char)s.p[i] & 0xC0) == 0x80)
        i--;
    return i;
}

int64_t tok_utf8_check(struct str s, int *ascii)
{
    if (!__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("bmi2")) {
        *ascii = uni_ascii(s, 0) == s.n;
        return check_chars(s, 0);
    }
    int64_t at = check_avx512(s, ascii);
    return at < 0 ? -1 : check_chars(s, at);
}

#else

int64_t tok_utf8_check(struct str s, int *ascii)
{
    *ascii = uni_ascii(s, 0) == s.n;
    return check_chars(s, 0);
}

#endif
