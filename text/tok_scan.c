#include "text/tok_scan.h"

#include <pthread.h>
#include <stdlib.h>

#include "text/tok_block.h"
#include "text/tok_patterns.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* ---- classes ------------------------------------------------------------------------------ */

/* A set of bits per code point: what the patterns ask of a character. */
enum {
    UP = 1,     /* Lu Lt */
    LOW = 2,    /* Ll */
    BOTH = 4,   /* Lm Lo: in the upper and in the lower class of o200k */
    MARK = 8,
    NUM = 16,
    SPACE = 32,
    PUNCT = 64, /* P or S */
    HAN = 128,
    LETTER = UP | LOW | BOTH
};
enum { ASCII_N = 128, PAGES = 0x1100 };

static struct {
    uint8_t ascii[256];        /* lead bytes of longer characters: 0 */
    uint8_t page[PAGES];
    uint8_t of[256][256];
} cls;

static uint8_t bits_of(uint32_t c)
{
    uint8_t b = uni_in(c, UNI_BIT(Lu) | UNI_BIT(Lt)) ? UP : uni_in(c, UNI_BIT(Ll)) ? LOW : uni_in(c, UNI_BIT(Lm) | UNI_BIT(Lo)) ? BOTH : 0;
    b |= uni_in(c, UNI_M) ? MARK : uni_in(c, UNI_N) ? NUM : uni_in(c, UNI_P | UNI_S) ? PUNCT : 0;
    return (uint8_t)(b | (uni_is_space(c) ? SPACE : 0));
}

static void mark_han(void *han, uint32_t first, uint32_t last)
{
    memset((uint8_t *)han + first, HAN, last - first + 1);
}

static void fill_classes(void)
{
    int n = 0;
    uint8_t *han = calloc(PAGES, 256);
    if (!han)
        BUG("out of memory for character classes");
    uni_property(STR("Han"), mark_han, han);
    for (uint32_t page = 0; page < PAGES; page++) {
        uint8_t row[256];
        int same = 0;
        for (uint32_t i = 0; i < 256; i++)
            row[i] = bits_of(page << 8 | i) | han[page << 8 | i];
        while (same < n && memcmp(cls.of[same], row, 256))
            same++;
        if (same == n) {
            assert(n < 256);
            memcpy(cls.of[n++], row, 256);
        }
        cls.page[page] = (uint8_t)same;
    }
    memcpy(cls.ascii, cls.of[cls.page[0]], ASCII_N);
    free(han);
    tok_block_take(tok_block_way());
}

static void classes_ready(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fill_classes);
}

/* One character: its class and, by *w, its width. */
static inline unsigned class_at(const uint8_t *p, int64_t i, int *w)
{
    uint8_t b = p[i];
    if (b < 0x80) {
        *w = 1;
        return cls.ascii[b];
    }
    uint32_t c;
    if (b < 0xE0) {
        *w = 2;
        c = (b & 31u) << 6 | (p[i + 1] & 63u);
    } else if (b < 0xF0) {
        *w = 3;
        c = (b & 15u) << 12 | (p[i + 1] & 63u) << 6 | (p[i + 2] & 63u);
    } else {
        *w = 4;
        c = (b & 7u) << 18 | (p[i + 1] & 63u) << 12 | (p[i + 2] & 63u) << 6 | (p[i + 3] & 63u);
    }
    return cls.of[cls.page[c >> 8]][c & 255];
}

#define INLINE static inline __attribute__((always_inline))

INLINE int is_newline(uint8_t b)
{
    return b == '\n' || b == '\r';
}

/* Behind the ASCII letters at i, 16 at a time where they can be read. */
INLINE int64_t ascii_letters(const uint8_t *p, int64_t i, int64_t n)
{
#ifdef __SSE2__
    while (i + 16 <= n) {
        __m128i x = _mm_or_si128(_mm_loadu_si128((const __m128i *)(const void *)(p + i)), _mm_set1_epi8(0x20));
        __m128i from_a = _mm_add_epi8(x, _mm_set1_epi8((char)(0x80 - 'a'))); /* 'a'..'z' to the 26 lowest signed values */
        unsigned other = (unsigned)_mm_movemask_epi8(_mm_cmpgt_epi8(from_a, _mm_set1_epi8((char)(0x80 + 25))));
        if (other)
            return i + __builtin_ctz(other);
        i += 16;
    }
#endif
    while (i < n && (uint8_t)((p[i] | 32) - 'a') < 26)
        i++;
    return i;
}

/* End of the run of characters with any of the bits. */
INLINE int64_t run_of(const uint8_t *p, int64_t i, int64_t n, unsigned bits)
{
    int w;
    if ((bits & LETTER) == LETTER)
        i = ascii_letters(p, i, n);
    while (i < n && (class_at(p, i, &w) & bits))
        i += w;
    return i;
}

/* End of the run of characters with none of the bits. */
INLINE int64_t run_without(const uint8_t *p, int64_t i, int64_t n, unsigned bits)
{
    int w;
    while (i < n && !(class_at(p, i, &w) & bits))
        i += w;
    return i;
}

/* ---- parts that the patterns share -------------------------------------------------------- */

/* \s*[\r\n]+|\s+(?!\S)|\s+ at a space; lines = 0: without the first part. */
INLINE int64_t spaces(const uint8_t *p, int64_t i, int64_t n, int lines)
{
    int64_t e = i, last = i, line_end = 0;
    int w;
    while (e < n && (class_at(p, e, &w) & SPACE)) {
        last = e;
        e += w;
        if (is_newline(p[last]))
            line_end = e;
    }
    if (lines && line_end)
        return line_end;
    return e == n || last == i ? e : last; /* the last space goes with the word */
}

INLINE int64_t newlines(const uint8_t *p, int64_t i, int64_t n, int slash)
{
    while (i < n && (is_newline(p[i]) || (slash && p[i] == '/')))
        i++;
    return i;
}

INLINE int64_t numbers(const uint8_t *p, int64_t i, int64_t n, int max)
{
    int w;
    for (int k = 0; k < max && i < n && (class_at(p, i, &w) & NUM); k++)
        i += w;
    return i;
}

/* ---- one piece ---------------------------------------------------------------------------- */

/* (?i:'s|..)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,digits}| ?[^\s\p{L}\p{N}]+[\r\n]*|spaces; marks: \p{M} is in the words. */
INLINE int64_t cl100k(const uint8_t *p, int64_t i, int64_t n, int digits, int marks)
{
    unsigned word = marks ? LETTER | MARK : LETTER, not_sign = word | NUM | SPACE;
    int w, v = 0;
    unsigned c = class_at(p, i, &w), next;
    if (c & LETTER)
        return run_of(p, i + w, n, word);
    if (c & NUM)
        return numbers(p, i, n, digits);
    if (p[i] == '\'') {
        int len = tok_contraction(p, i, n, 1);
        if (len)
            return i + len;
    }
    next = i + w < n ? class_at(p, i + w, &v) : 0;
    if ((next & word) && !is_newline(p[i]))
        return run_of(p, i + w + v, n, word);
    if (marks && (c & MARK))
        return i + w; /* the next is no letter and no mark: the mark is the word */
    if (!(c & not_sign))
        return newlines(p, run_without(p, i + w, n, not_sign), n, 0);
    if (p[i] == ' ' && i + 1 < n && !(next & not_sign))
        return newlines(p, run_without(p, i + 1 + v, n, not_sign), n, 0);
    return spaces(p, i, n, 1);
}

/* 's|..| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
INLINE int64_t gpt2(const uint8_t *p, int64_t i, int64_t n)
{
    int w;
    if (p[i] == '\'') {
        int len = tok_contraction(p, i, n, 0);
        if (len)
            return i + len;
    }
    int64_t at = p[i] == ' ' && i + 1 < n ? i + 1 : i;
    unsigned c = class_at(p, at, &w);
    if (c & LETTER)
        return run_of(p, at + w, n, LETTER);
    if (c & NUM)
        return run_of(p, at + w, n, NUM);
    if (!(c & SPACE))
        return run_without(p, at + w, n, LETTER | NUM | SPACE);
    return spaces(p, i, n, 0);
}

/* From s: [upper]*[lower]+ or else [upper]+[lower]*, where letters and marks without case are in both; -1: neither. skip: bits
 * that take a character out of both (Han). */
INLINE int64_t cased(const uint8_t *p, int64_t s, int64_t n, unsigned skip, int *only_upper)
{
    int64_t j = s, both_end = -1;
    int w;
    unsigned c = 0;
    while (j < n && ((c = class_at(p, j, &w)) & (UP | BOTH | MARK)) && !(c & skip)) {
        j += w;
        if (c & (BOTH | MARK))
            both_end = j;
    }
    *only_upper = 0;
    if (j < n && (c & LOW) && !(c & skip)) {
        while (j < n && ((c = class_at(p, j, &w)) & (LOW | BOTH | MARK)) && !(c & skip))
            j += w;
        return j;
    }
    if (both_end >= 0)
        return both_end; /* [upper]* gives back until [lower]+ has one */
    *only_upper = 1;
    return j > s ? j : -1;
}

/* The two word alternatives of o200k: the first for any prefix comes before the second for any. */
INLINE int64_t cased_word(const uint8_t *p, int64_t i, int64_t n, int w, unsigned c, unsigned skip)
{
    int upper, upper_bare;
    int64_t with = -1, bare = -1;
    if (!(c & (LETTER | NUM)) && !is_newline(p[i])) {
        with = cased(p, i + w, n, skip, &upper);
        if (with >= 0 && !upper)
            return with;
    }
    if ((c & (LETTER | MARK)) && !(c & skip)) {
        bare = cased(p, i, n, skip, &upper_bare);
        if (bare >= 0 && !upper_bare)
            return bare;
    }
    return with >= 0 ? with : bare;
}

INLINE int64_t o200k(const uint8_t *p, int64_t i, int64_t n, int digits, int contractions, int slash, unsigned skip)
{
    int w, v = 0;
    unsigned c = class_at(p, i, &w);
    if (skip && (c & skip))
        return run_of(p, i, n, skip);
    if (c & NUM)
        return numbers(p, i, n, digits);
    int64_t e = cased_word(p, i, n, w, c, skip);
    if (e >= 0)
        return contractions && e < n && p[e] == '\'' ? e + tok_contraction(p, e, n, 1) : e;
    if (!(c & (LETTER | SPACE)))
        return newlines(p, run_without(p, i + w, n, LETTER | NUM | SPACE), n, slash);
    if (p[i] == ' ' && i + 1 < n && !(class_at(p, i + 1, &v) & (LETTER | NUM | SPACE)))
        return newlines(p, run_without(p, i + 1 + v, n, LETTER | NUM | SPACE), n, slash);
    return spaces(p, i, n, 1);
}

/* ---- DeepSeek-V3: three splits ------------------------------------------------------------ */

/* U+4E00-9FA5, 3040-309F, 30A0-30FF: three bytes each. */
INLINE int is_cjk(const uint8_t *p, int64_t i)
{
    if (p[i] < 0xE3 || p[i] > 0xE9)
        return 0;
    uint32_t c = (p[i] & 15u) << 12 | (p[i + 1] & 63u) << 6 | (p[i + 2] & 63u);
    return (c >= 0x4E00 && c <= 0x9FA5) || (c >= 0x3040 && c <= 0x30FF);
}

INLINE int ascii_letter(uint8_t b)
{
    return (uint8_t)((b | 32) - 'a') < 26;
}

/* The first two splits leave numbers, CJK runs and the rest; the third works inside each CJK run and inside the rest. 1 when
 * the character at i is not of the kind in hand. */
INLINE int ds3_border(const uint8_t *p, int64_t i, unsigned c, int cjk)
{
    return (c & NUM) || (p[i] >= 0xE3 && is_cjk(p, i)) != cjk;
}

INLINE int64_t ds3_run(const uint8_t *p, int64_t i, int64_t n, unsigned bits, int cjk)
{
    int w;
    unsigned c;
    if (bits & LETTER && !cjk)
        i = ascii_letters(p, i, n);
    while (i < n && ((c = class_at(p, i, &w)) & bits) && !ds3_border(p, i, c, cjk))
        i += w;
    return i;
}

INLINE int64_t ds3_spaces(const uint8_t *p, int64_t i, int64_t n, int cjk)
{
    int64_t e = i, last = i, line_end = 0;
    int w;
    while (e < n && (class_at(p, e, &w) & SPACE)) {
        last = e;
        e += w;
        if (is_newline(p[last]))
            line_end = e;
    }
    if (line_end)
        return line_end;
    if (e == n || last == i)
        return e;
    return ds3_border(p, e, class_at(p, e, &w), cjk) ? e : last; /* in front of a border the split's text ends */
}

/* What one alternative of the third split takes at i, or -1. */
INLINE int64_t ds3_match(const uint8_t *p, int64_t i, int64_t n, unsigned c, int w, int cjk)
{
    int v;
    if (c & (LETTER | MARK))
        return ds3_run(p, i + w, n, LETTER | MARK, cjk);
    unsigned next = i + w < n ? class_at(p, i + w, &v) : 0;
    int border = i + w < n && ds3_border(p, i + w, next, cjk);
    if (c & PUNCT) {
        if (p[i] < 0x80 && i + 1 < n && ascii_letter(p[i + 1])) {
            return ascii_letters(p, i + 2, n);
        }
        int64_t e = ds3_run(p, i + w, n, PUNCT, cjk);
        return cjk ? e : newlines(p, e, n, 0); /* U+30FB is a sign and CJK: a line end behind it stands in another split's text */
    }
    if ((next & (LETTER | MARK)) && !border && !is_newline(p[i]))
        return ds3_run(p, i + w + v, n, LETTER | MARK, cjk);
    if (p[i] == ' ' && (next & PUNCT) && !border)
        return newlines(p, ds3_run(p, i + 1 + v, n, PUNCT, cjk), n, 0);
    return c & SPACE ? ds3_spaces(p, i, n, cjk) : -1;
}

INLINE int64_t ds3_kind(const uint8_t *p, int64_t i, int64_t n, unsigned c, int w, int cjk)
{
    int64_t e = ds3_match(p, i, n, c, w, cjk);
    while (e < 0) { /* no alternative: what stands between two matches is one piece */
        i += w;
        if (i == n)
            return n;
        c = class_at(p, i, &w);
        if (ds3_border(p, i, c, cjk) || ds3_match(p, i, n, c, w, cjk) >= 0)
            return i;
    }
    return e;
}

INLINE int64_t ds3(const uint8_t *p, int64_t i, int64_t n)
{
    int w;
    unsigned c = class_at(p, i, &w);
    if (c & NUM)
        return numbers(p, i, n, 3);
    return p[i] >= 0xE3 && is_cjk(p, i) ? ds3_kind(p, i, n, c, w, 1) : ds3_kind(p, i, n, c, w, 0);
}

/* ---- GPT-2 behind Digits ------------------------------------------------------------------ */

INLINE int64_t gpt2_digits(const uint8_t *p, int64_t i, int64_t n)
{
    int w;
    unsigned c = class_at(p, i, &w);
    if (c & NUM)
        return i + w;
    if (p[i] == ' ' && i + 1 < n && (class_at(p, i + 1, &w) & NUM))
        return i + 1;
    if (c & SPACE) { /* a digit behind ends the split's text: nothing is given back */
        int64_t e = run_of(p, i, n, SPACE);
        if (e < n && (class_at(p, e, &w) & NUM))
            return e;
    }
    return gpt2(p, i, n);
}

/* ---- many pieces -------------------------------------------------------------------------- */

/* 1 when the 16 bytes at i are ASCII: then a block may be worth its while. */
INLINE int plain_ahead(const uint8_t *p, int64_t i, int64_t n)
{
    uint64_t a, b;
    if (i + TOK_BLOCK > n)
        return 0;
    memcpy(&a, p + i, 8);
    memcpy(&b, p + i + 8, 8);
    return !((a | b) & 0x8080808080808080u);
}

/* Blocks where they can be had; max < TOK_BLOCK: never. The caller is asked for more room before one is not taken for want of it. */
#define MANY(name, one)                                                                             \
    static int many_##name(const uint8_t *p, int64_t n, int64_t *at, int64_t *end, int max)         \
    {                                                                                               \
        int k = 0;                                                                                  \
        tok_block_fn *blocks = tok_block_of[TOK_SCAN_##name];                                       \
        for (int64_t i = *at; i < n && k < max; *at = i) {                                          \
            if (blocks && max >= TOK_BLOCK && plain_ahead(p, i, n)) {                               \
                if (max - k < TOK_BLOCK)                                                            \
                    break;                                                                          \
                k += blocks(p, n, &i, end + k, max - k);                                            \
                if (k == max)                                                                       \
                    continue;                                                                       \
            }                                                                                       \
            end[k++] = i = one;                                                                     \
        }                                                                                           \
        return k;                                                                                   \
    }
MANY(NONE, n)
MANY(GPT2, gpt2(p, i, n))
MANY(GPT2_DIGITS, gpt2_digits(p, i, n))
MANY(LLAMA3, cl100k(p, i, n, 3, 0))
MANY(QWEN2, cl100k(p, i, n, 1, 0))
MANY(QWEN35, cl100k(p, i, n, 1, 1))
MANY(O200K, o200k(p, i, n, 3, 1, 1, 0))
MANY(TEKKEN, o200k(p, i, n, 1, 0, 1, 0))
MANY(KIMI, o200k(p, i, n, 3, 1, 0, HAN))
MANY(DS3, ds3(p, i, n))

int tok_scan(enum tok_scanner s, const char *text, int64_t n, int64_t *at, int64_t *end, int max)
{
    const uint8_t *p = (const uint8_t *)text;
    switch (s) {
#define X(name, what) \
    case TOK_SCAN_##name: return many_##name(p, n, at, end, max);
        TOK_SCANNERS(X)
#undef X
    case TOK_N_SCANNERS: break;
    }
    return many_NONE(p, n, at, end, max);
}

/* ---- choosing ----------------------------------------------------------------------------- */

/* A split that keeps every byte: the pieces are its matches, whether gaps are kept or dropped, when the pattern leaves none. */
static int splits_by(const struct tok_pre *f, const char *regex)
{
    int keeps = (f->behavior == TOK_ISOLATED && !f->invert) || (f->behavior == TOK_REMOVED && f->invert);
    return f->kind == TOK_PRE_SPLIT && keeps && str_eq(f->pattern, str_of(regex));
}

static int isolates(const struct tok_pre *f, const char *regex)
{
    return f->behavior == TOK_ISOLATED && !f->invert && splits_by(f, regex);
}

static int only_bytes(const struct tok_pre *f, int use_regex)
{
    return f->kind == TOK_PRE_BYTES && !f->prefix_space && f->use_regex == use_regex && !f->map;
}

enum tok_scanner tok_scan_for(const struct tok_pre *pre, int n)
{
    static const struct {
        const char *regex;
        enum tok_scanner scanner;
    } known[] = {
        {TOK_RE_GPT2, TOK_SCAN_GPT2}, {TOK_RE_LLAMA3, TOK_SCAN_LLAMA3}, {TOK_RE_QWEN2, TOK_SCAN_QWEN2}, {TOK_RE_QWEN35, TOK_SCAN_QWEN35},
        {TOK_RE_O200K, TOK_SCAN_O200K}, {TOK_RE_TEKKEN, TOK_SCAN_TEKKEN}, {TOK_RE_KIMI, TOK_SCAN_KIMI},
    };
    classes_ready();
    if (n == 1 && only_bytes(&pre[0], 1))
        return TOK_SCAN_GPT2;
    if (n == 2 && pre[0].kind == TOK_PRE_CHARS && pre[0].chars == TOK_CHARS_DIGIT && pre[0].behavior == TOK_ISOLATED && only_bytes(&pre[1], 1))
        return TOK_SCAN_GPT2_DIGITS;
    for (size_t i = 0; n == 2 && i < sizeof known / sizeof *known; i++)
        if (splits_by(&pre[0], known[i].regex) && only_bytes(&pre[1], 0))
            return known[i].scanner;
    if (n == 4 && isolates(&pre[0], TOK_RE_DS3_DIGITS) && isolates(&pre[1], TOK_RE_DS3_CJK) && isolates(&pre[2], TOK_RE_DS3_TEXT) && only_bytes(&pre[3], 0))
        return TOK_SCAN_DS3;
    return TOK_SCAN_NONE;
}
