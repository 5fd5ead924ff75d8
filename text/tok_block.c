#include "text/tok_block.h"

#include <pthread.h>

tok_block_fn *tok_block_of[TOK_N_SCANNERS];

#ifdef __x86_64__
#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

/* One bit per byte of a block, lowest first. What is in none of the first six is a sign: punctuation or a control character. */
struct masks {
    uint64_t letter, upper, digit, space, blank, line; /* blank: tab, vertical tab, form feed */
    uint64_t apostrophe, slash, control, high;
};

/* What the patterns differ in. */
enum {
    SIGN_LEADS = 1,   /* [^\r\n\p{L}\p{N}]? in front of a word; else only a space, also in front of numbers */
    LINES = 2,        /* \s*[\r\n]+, and [\r\n]* behind signs */
    SLASH = 4,        /* [\r\n/]* behind signs */
    APART = 8,        /* (?i:'s|..) is a piece of its own */
    APART_SMALL = 16, /* the same without (?i) */
    BEHIND = 32,      /* (?i:'s|..)? belongs to the word in front of it */
    CASED = 64,       /* a capital behind a small letter begins a word */
    DIGIT_1 = 128,
    DIGIT_3 = 256,
    NUMBER_ENDS = 512,  /* numbers were split off before: white space in front of one is not given back */
    NO_CONTROL = 1024   /* control characters are left to the scanner */
};

/* ---- telling bytes apart ------------------------------------------------------------------ */

INLINE __m128i between(__m128i x, char first, char last) /* ASCII only: signed comparison */
{
    return _mm_and_si128(_mm_cmpgt_epi8(x, _mm_set1_epi8((char)(first - 1))), _mm_cmpgt_epi8(_mm_set1_epi8((char)(last + 1)), x));
}

INLINE uint64_t bits(__m128i x)
{
    return (uint64_t)(unsigned)_mm_movemask_epi8(x);
}

INLINE void masks_sse2(const uint8_t *p, unsigned f, struct masks *m)
{
    *m = (struct masks){0};
    for (int k = 0; k < 64; k += 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)(p + k));
        __m128i line = _mm_or_si128(_mm_cmpeq_epi8(x, _mm_set1_epi8('\n')), _mm_cmpeq_epi8(x, _mm_set1_epi8('\r')));
        m->letter |= bits(between(_mm_or_si128(x, _mm_set1_epi8(0x20)), 'a', 'z')) << k;
        m->digit |= bits(between(x, '0', '9')) << k;
        m->space |= bits(_mm_cmpeq_epi8(x, _mm_set1_epi8(' '))) << k;
        m->blank |= bits(_mm_andnot_si128(line, between(x, '\t', '\r'))) << k;
        m->line |= bits(line) << k;
        m->high |= bits(x) << k;
        if (f & CASED)
            m->upper |= bits(between(x, 'A', 'Z')) << k;
        if (f & SLASH)
            m->slash |= bits(_mm_cmpeq_epi8(x, _mm_set1_epi8('/'))) << k;
        if (f & (APART | APART_SMALL | BEHIND))
            m->apostrophe |= bits(_mm_cmpeq_epi8(x, _mm_set1_epi8('\''))) << k;
        if (f & NO_CONTROL) /* white space taken out below */
            m->control |= bits(_mm_or_si128(between(x, 0, 31), _mm_cmpeq_epi8(x, _mm_set1_epi8(127)))) << k;
    }
    m->control &= ~(m->blank | m->line);
}

enum { C_SMALL = 1, C_UPPER = 2, C_DIGIT = 4, C_SPACE = 8, C_BLANK = 16, C_LINE = 32, C_APOSTROPHE = 64, C_CONTROL = 128 };

static uint8_t ascii[128] __attribute__((aligned(64)));

static void fill_ascii(void)
{
    for (int c = 0; c < 128; c++) {
        int small = c >= 'a' && c <= 'z', upper = c >= 'A' && c <= 'Z', line = c == '\n' || c == '\r', blank = !line && c >= '\t' && c <= '\r';
        ascii[c] = (uint8_t)(small ? C_SMALL : upper ? C_UPPER : c >= '0' && c <= '9' ? C_DIGIT : c == ' ' ? C_SPACE : blank ? C_BLANK : line ? C_LINE
                             : c == '\'' ? C_APOSTROPHE : c < 32 || c == 127 ? C_CONTROL : 0);
    }
}

#define TARGET_AVX512 __attribute__((target("avx512f,avx512bw,avx512vbmi,bmi,bmi2,lzcnt,popcnt")))

INLINE TARGET_AVX512 void masks_avx512(const uint8_t *p, unsigned f, struct masks *m)
{
    __m512i x = _mm512_loadu_si512(p);
    __m512i c = _mm512_permutex2var_epi8(_mm512_load_si512(ascii), x, _mm512_load_si512(ascii + 64));
#define WITH(bit) _mm512_test_epi8_mask(c, _mm512_set1_epi8((char)(bit)))
    *m = (struct masks){.letter = WITH(C_SMALL | C_UPPER), .digit = WITH(C_DIGIT), .space = WITH(C_SPACE), .blank = WITH(C_BLANK), .line = WITH(C_LINE),
                        .high = _mm512_movepi8_mask(x)};
    if (f & CASED)
        m->upper = WITH(C_UPPER);
    if (f & SLASH)
        m->slash = _mm512_cmpeq_epi8_mask(x, _mm512_set1_epi8('/'));
    if (f & (APART | APART_SMALL | BEHIND))
        m->apostrophe = WITH(C_APOSTROPHE);
    if (f & NO_CONTROL)
        m->control = WITH(C_CONTROL);
#undef WITH
}

/* ---- where pieces begin ------------------------------------------------------------------- */

INLINE uint64_t below(int bit) /* bits 0 .. bit - 1; bit < 64 */
{
    return (1ull << bit) - 1;
}

/* White space under \s*[\r\n]+|\s+(?!\S)|\s+ with [\r\n]* behind signs. *sure loses the bits that are not known. v: bytes known. */
INLINE uint64_t begin_spaces(const struct masks *m, uint64_t sign, int v, unsigned f, uint64_t *sure)
{
    uint64_t first = m->line & sign << 1, taken = m->line & ~(m->line + first); /* by the signs in front: a carry runs through */
    uint64_t line = m->line & ~taken, gap = m->space | m->blank, all = line | gap;
    if ((f & SLASH) && (taken << 1 & m->slash))
        *sure &= (first & -first) - 1;
    /* A gap behind a line end is a piece if no other line end follows it. */
    uint64_t after = gap & line << 1, ends = (gap + after) & ~gap;
    if (ends & line)
        *sure &= (after & -after) - 1;
    if (gap >> (v - 1) & 1) { /* it is not known what follows the last gap */
        int run = __builtin_clzll(~(gap << (64 - v)) | 1);
        if (run >= v || after >> (v - run) & 1)
            *sure &= below(v - run < 0 ? 0 : v - run);
    }
    uint64_t last = gap & ~(all >> 1); /* goes with what follows */
    if (f & NUMBER_ENDS)
        last &= ~(m->digit >> 1);
    return (all & ~(all << 1)) | after | last;
}

/* The pieces that begin in this block, its first byte being the first of one; bits that are not known are 0. */
INLINE uint64_t begins(struct masks *m, const uint8_t *p, int64_t n, unsigned f)
{
    uint64_t stop = m->high | m->control;
    int v = stop ? __builtin_ctzll(stop) : 64;
    if (v < 2)
        return 0;
    uint64_t valid = v < 64 ? below(v) : ~0ull, sure = below(v - 1); /* a space is first or not by what follows it */
    m->letter &= valid, m->digit &= valid, m->space &= valid, m->blank &= valid, m->line &= valid;
    uint64_t white = m->space | m->blank | m->line, sign = valid & ~(m->letter | m->digit | white);
    uint64_t word = m->letter & ~(m->letter << 1), signs = sign & ~(sign << 1) & ~(m->space << 1), out;
    uint64_t alone = signs & ~(sign >> 1), apart = 0;
    if (f & SIGN_LEADS)
        out = word & ~((m->space | m->blank | alone) << 1);
    else
        out = word & ~(m->space << 1);
    out |= signs;
    if (f & CASED)
        out |= m->upper & m->letter & (m->letter & ~m->upper) << 1;
    if (f & (DIGIT_1 | DIGIT_3)) {
        uint64_t number = f & DIGIT_1 ? m->digit : m->digit & ~(m->digit << 1), run = m->digit & m->digit << 1 & m->digit << 2;
        out |= number;
        for (uint64_t k = number; (f & DIGIT_3) && (k = k << 3 & run);)
            out |= k;
    } else {
        out |= m->digit & ~(m->digit << 1) & ~(m->space << 1);
    }
    if (f & LINES)
        out |= begin_spaces(m, sign, v, f, &sure);
    else
        out |= (white & ~(white << 1)) | (white & ~(white >> 1) & ~(f & NUMBER_ENDS ? m->digit >> 1 : 0));
    if (f & (APART | APART_SMALL))
        apart = m->apostrophe & alone & m->letter >> 1;
    if (f & BEHIND)
        apart = m->apostrophe & m->letter << 1 & m->letter >> 1 & valid;
    for (int done = -1; apart; apart &= apart - 1) {
        int a = __builtin_ctzll(apart), len = a == done ? 0 : tok_contraction(p, a, n, !(f & APART_SMALL));
        if (!len)
            continue;
        out &= ~((f & BEHIND ? below(len) : below(len) & ~1ull) << a);
        out |= a + len < 64 ? 1ull << (a + len) : 0;
        done = f & BEHIND ? a + len : -1; /* one for each word */
    }
    return out & sure;
}

INLINE void put(uint64_t set, int64_t at, int64_t *end)
{
    int count = __builtin_popcountll(set);
    for (int k = 0; k < count; k += 8)
        for (int i = 0; i < 8; i++) { /* without asking after each: those too many are written over */
            end[k + i] = at + (int64_t)(set ? __builtin_ctzll(set) : 63);
            set &= set - 1;
        }
}

#define BLOCKS(way, attribute, masks_of, name, f)                                                                       \
    static attribute int name##_##way(const uint8_t *p, int64_t n, int64_t *at, int64_t *end, int max)                  \
    {                                                                                                                   \
        int k = 0;                                                                                                      \
        int64_t i = *at;                                                                                                \
        while (i + TOK_BLOCK <= n && k + TOK_BLOCK <= max) {                                                            \
            struct masks m;                                                                                             \
            masks_of(p + i, (f), &m);                                                                                   \
            uint64_t set = begins(&m, p + i, n - i, (f)) & ~1ull;                                                       \
            if (!set)                                                                                                   \
                break;                                                                                                  \
            put(set, i, end + k);                                                                                       \
            k += __builtin_popcountll(set);                                                                             \
            i += 63 - __builtin_clzll(set);                                                                             \
        }                                                                                                               \
        *at = i;                                                                                                        \
        return k;                                                                                                       \
    }
#define NO_TARGET

/* scanner, what its pattern is made of */
#define SCANNERS(X)                                                                     \
    X(GPT2, APART_SMALL)                                                                \
    X(GPT2_DIGITS, APART_SMALL | DIGIT_1 | NUMBER_ENDS)                                 \
    X(LLAMA3, SIGN_LEADS | LINES | APART | DIGIT_3)                                     \
    X(QWEN2, SIGN_LEADS | LINES | APART | DIGIT_1)                                      \
    X(QWEN35, SIGN_LEADS | LINES | APART | DIGIT_1)                                     \
    X(O200K, SIGN_LEADS | LINES | SLASH | BEHIND | CASED | DIGIT_3)                     \
    X(TEKKEN, SIGN_LEADS | LINES | SLASH | CASED | DIGIT_1)                             \
    X(KIMI, SIGN_LEADS | LINES | BEHIND | CASED | DIGIT_3)                              \
    X(DS3, SIGN_LEADS | LINES | DIGIT_3 | NUMBER_ENDS | NO_CONTROL)

#define X(name, f) BLOCKS(sse2, NO_TARGET, masks_sse2, name, f)
SCANNERS(X)
#undef X
#define X(name, f) BLOCKS(avx512, TARGET_AVX512, masks_avx512, name, f)
SCANNERS(X)
#undef X

static tok_block_fn *const ways[TOK_N_BLOCK_WAYS][TOK_N_SCANNERS] = {
#define X(name, f) [TOK_SCAN_##name] = name##_sse2,
    [TOK_BLOCK_SSE2] = {SCANNERS(X)},
#undef X
#define X(name, f) [TOK_SCAN_##name] = name##_avx512,
    [TOK_BLOCK_AVX512] = {SCANNERS(X)},
#undef X
};

enum tok_block_way tok_block_way(void)
{
    int has = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("bmi2");
    return has ? TOK_BLOCK_AVX512 : TOK_BLOCK_SSE2;
}

int tok_block_take(enum tok_block_way way)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fill_ascii);
    if (way > tok_block_way())
        return 0;
    for (int s = 0; s < TOK_N_SCANNERS; s++)
        tok_block_of[s] = ways[way][s];
    return 1;
}

#else

enum tok_block_way tok_block_way(void)
{
    return TOK_BLOCK_NONE;
}

int tok_block_take(enum tok_block_way way)
{
    return way == TOK_BLOCK_NONE;
}

#endif
