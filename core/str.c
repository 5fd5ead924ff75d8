#include "core/str.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/err.h"

struct str str_of(const char *cstr)
{
    return (struct str){cstr ? cstr : "", cstr ? (int64_t)strlen(cstr) : 0};
}

int str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, (size_t)a.n) == 0);
}

int str_cmp(struct str a, struct str b)
{
    int64_t n = a.n < b.n ? a.n : b.n;
    int c = n ? memcmp(a.p, b.p, (size_t)n) : 0;
    return c ? c : (a.n > b.n) - (a.n < b.n);
}

int str_starts(struct str s, struct str prefix)
{
    return s.n >= prefix.n && str_eq((struct str){s.p, prefix.n}, prefix);
}

int str_ends(struct str s, struct str suffix)
{
    return s.n >= suffix.n && str_eq((struct str){s.p + s.n - suffix.n, suffix.n}, suffix);
}

int64_t str_find(struct str s, struct str what, int64_t from)
{
    if (from < 0)
        from = 0;
    if (what.n == 0)
        return from <= s.n ? from : -1;
    if (s.n - from < what.n)
        return -1;
    const char *hit = memmem(s.p + from, (size_t)(s.n - from), what.p, (size_t)what.n);
    return hit ? hit - s.p : -1;
}

int64_t str_rfind(struct str s, struct str what)
{
    for (int64_t i = s.n - what.n; i >= 0; i--)
        if (memcmp(s.p + i, what.p, (size_t)what.n) == 0)
            return i;
    return -1;
}

struct str str_sub(struct str s, int64_t from, int64_t to)
{
    from = from < 0 ? 0 : from > s.n ? s.n : from;
    to = to < from ? from : to > s.n ? s.n : to;
    return (struct str){s.p + from, to - from};
}

static int is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

struct str str_trim(struct str s)
{
    while (s.n && is_space(s.p[0]))
        s.p++, s.n--;
    while (s.n && is_space(s.p[s.n - 1]))
        s.n--;
    return s;
}

int str_split(struct str *rest, char sep, struct str *piece)
{
    if (!rest->p)
        return 0;
    const char *hit = rest->n ? memchr(rest->p, sep, (size_t)rest->n) : NULL;
    if (!hit) {
        *piece = *rest;
        *rest = (struct str){NULL, 0};
        return 1;
    }
    *piece = (struct str){rest->p, hit - rest->p};
    rest->n -= piece->n + 1;
    rest->p = hit + 1;
    return 1;
}

struct str str_dup(struct arena *a, struct str s)
{
    char *p = ARENA_NEW(a, char, s.n + 1);
    if (s.n)
        memcpy(p, s.p, (size_t)s.n);
    return (struct str){p, s.n};
}

struct str str_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    assert(n >= 0);
    char *p = ARENA_NEW(a, char, (int64_t)n + 1);
    vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return (struct str){p, n};
}

int str_to_i64(struct str s, int64_t *out)
{
    int neg = s.n && s.p[0] == '-';
    int64_t i = neg || (s.n && s.p[0] == '+'), v = 0;
    if (i == s.n)
        return 0;
    for (; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return 0;
        int digit = s.p[i] - '0';
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, neg ? -digit : digit, &v))
            return 0;
    }
    *out = v;
    return 1;
}

int str_to_f64(struct str s, double *out)
{
    char buf[128], *end;
    if (s.n == 0 || s.n >= (int64_t)sizeof buf || is_space(s.p[0]))
        return 0;
    memcpy(buf, s.p, (size_t)s.n);
    buf[s.n] = 0;
    double v = strtod(buf, &end); /* hone never calls setlocale, so this is the C locale */
    if (end != buf + s.n)
        return 0;
    *out = v;
    return 1;
}

int str_distance(struct str a, struct str b)
{
    enum { MAX = 64 };
    if (a.n >= MAX || b.n >= MAX)
        return MAX;
    int row[MAX];
    for (int j = 0; j <= b.n; j++)
        row[j] = j;
    for (int i = 1; i <= a.n; i++) {
        int diag = row[0];
        row[0] = i;
        for (int j = 1; j <= b.n; j++) {
            int best = diag + (a.p[i - 1] != b.p[j - 1]);
            best = best < row[j] + 1 ? best : row[j] + 1;
            best = best < row[j - 1] + 1 ? best : row[j - 1] + 1;
            diag = row[j];
            row[j] = best;
        }
    }
    return row[b.n];
}

int str_far(struct str word)
{
    return word.n < 3 ? 2 : word.n < 8 ? 3 : 4; /* two letters swapped are two changes */
}

int utf8_decode(struct str s, int64_t at, uint32_t *cp)
{
    const unsigned char *p = (const unsigned char *)s.p + at;
    int64_t left = s.n - at;
    if (left <= 0)
        return 0;
    if (p[0] < 0x80)
        return *cp = p[0], 1;
    int n = p[0] >= 0xF0 ? 4 : p[0] >= 0xE0 ? 3 : 2;
    if (p[0] < 0xC2 || p[0] > 0xF4 || left < n)
        return 0;
    uint32_t v = p[0] & (0x7Fu >> n);
    for (int i = 1; i < n; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return 0;
        v = v << 6 | (p[i] & 0x3Fu);
    }
    if ((n == 3 && (v < 0x800 || (v >= 0xD800 && v < 0xE000))) || (n == 4 && (v < 0x10000 || v > 0x10FFFF)))
        return 0;
    *cp = v;
    return n;
}

int utf8_encode(uint32_t cp, char out[4])
{
    if (cp < 0x80)
        return out[0] = (char)cp, 1;
    int n = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    for (int i = n - 1; i > 0; i--, cp >>= 6)
        out[i] = (char)(0x80 | (cp & 0x3F));
    out[0] = (char)((0xF00u >> n & 0xFF) | cp);
    return n;
}

int64_t utf8_check(struct str s)
{
    uint32_t cp;
    for (int64_t i = 0; i < s.n;) {
        int n = utf8_decode(s, i, &cp);
        if (!n)
            return i;
        i += n;
    }
    return -1;
}

void sbuf_init(struct sbuf *b, int64_t max_bytes)
{
    assert(max_bytes > 0);
    *b = (struct sbuf){.max = max_bytes};
}

void sbuf_release(struct sbuf *b)
{
    free(b->p);
    *b = (struct sbuf){.max = b->max};
}

void sbuf_clear(struct sbuf *b)
{
    b->n = 0;
    b->full = 0;
}

char *sbuf_room(struct sbuf *b, int64_t n)
{
    assert(n >= 0);
    if (b->full || n > b->max - b->n) {
        b->full = 1;
        return NULL;
    }
    if (b->n + n + 1 > b->cap) {
        int64_t cap = b->cap ? b->cap * 2 : 256;
        cap = cap < b->n + n + 1 ? b->n + n + 1 : cap;
        char *p = realloc(b->p, (size_t)cap);
        if (!p) {
            b->full = 1;
            return NULL;
        }
        b->p = p;
        b->cap = cap;
    }
    return b->p + b->n;
}

void sbuf_add(struct sbuf *b, struct str s)
{
    char *p = sbuf_room(b, s.n);
    if (!p)
        return;
    if (s.n)
        memcpy(p, s.p, (size_t)s.n);
    b->n += s.n;
    b->p[b->n] = 0;
}

void sbuf_addc(struct sbuf *b, char c)
{
    sbuf_add(b, (struct str){&c, 1});
}

void sbuf_adds(struct sbuf *b, const char *cstr)
{
    sbuf_add(b, str_of(cstr));
}

void sbuf_addf(struct sbuf *b, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    assert(n >= 0);
    char *p = sbuf_room(b, n);
    if (p) {
        vsnprintf(p, (size_t)n + 1, fmt, again);
        b->n += n;
    }
    va_end(again);
}

struct str sbuf_str(const struct sbuf *b)
{
    return (struct str){b->p ? b->p : "", b->n};
}
