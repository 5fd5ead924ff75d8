/* Patterns outside the known ones: Debian's Oniguruma, with our own Unicode tables.
 *
 * The reference library carries Oniguruma 6.9.10 (Unicode 16.0); Debian's is older and would class new letters
 * differently. So no class is left to the library: \p{..}, \s, \w, \d, \b and [:..:] are written out as ranges of
 * text/uni_data.c before the pattern is compiled, and what cannot be written out (\X, \y, [:alpha:], unknown properties) is
 * refused by name. What remains of the library's tables is case folding under (?i), the same for all letters that have
 * two cases in both versions. */
#include <oniguruma.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "text/tok.h"

struct tok_re {
    regex_t *re;
};

struct tok_re_run {
    OnigRegion *region;
};

enum { MAX_PATTERN = 1 << 20, MAX_WRITTEN = 32 << 20 };

/* ---- writing classes out ------------------------------------------------------------------ */

static void put_range(void *ctx, uint32_t first, uint32_t last)
{
    struct sbuf *b = ctx;
    if (first < 0xD800 && last > 0xDFFF) {
        put_range(b, first, 0xD7FF);
        put_range(b, 0xE000, last);
        return;
    }
    if (first >= 0xD800 && first <= 0xDFFF)
        first = 0xE000;
    if (last >= 0xD800 && last <= 0xDFFF)
        last = 0xD7FF;
    if (first == last)
        sbuf_addf(b, "\\x{%X}", first);
    else if (first < last)
        sbuf_addf(b, "\\x{%X}-\\x{%X}", first, last);
}

/* A class item: inside brackets its ranges join the others, negated ones as a nested set. Outside of them (?i) does not
 * fold a property, though it folds a set. */
static err_code put_class(struct sbuf *out, struct str name, int negated, int in_class, struct err *e)
{
    int bracket = negated || !in_class;
    if (!in_class)
        sbuf_adds(out, "(?-i:");
    if (bracket)
        sbuf_adds(out, negated ? "[^" : "[");
    int64_t before = out->n;
    if (!in_class && str_eq(name, STR("word")))
        uni_ranges_word(0, put_range, out);
    else if (!uni_property(name, put_range, out))
        return err_set(e, ERR_UNSUPPORTED, "the property \\p{%.*s} of a pattern is not known", STR_ARG(name));
    if (out->n == before)
        return err_set(e, ERR_UNSUPPORTED, "the property \\p{%.*s} of a pattern has no characters", STR_ARG(name));
    if (bracket)
        sbuf_addc(out, ']');
    if (!in_class)
        sbuf_addc(out, ')');
    return ERR_OK;
}

/* At "\p": \p{Name}, \p{^Name}, \P{Name}. */
static err_code put_property(struct str s, int64_t *at, int in_class, struct sbuf *out, struct err *e)
{
    int negated = s.p[*at + 1] == 'P';
    int64_t open = *at + 2, close = open < s.n && s.p[open] == '{' ? str_find(s, STR("}"), open) : -1;
    if (close < 0)
        return err_set(e, ERR_UNSUPPORTED, "a pattern has \\p without {name}");
    struct str name = str_sub(s, open + 1, close);
    if (name.n && name.p[0] == '^') {
        name = str_sub(name, 1, name.n);
        negated = !negated;
    }
    *at = close + 1;
    return put_class(out, name, negated, in_class, e);
}

/* [:name:] inside a class. */
static err_code put_posix(struct str s, int64_t *at, struct sbuf *out, struct err *e)
{
    static const char *const known[] = {"space", "digit", "word", "ascii", "cntrl", "punct"};
    int64_t close = str_find(s, STR(":]"), *at + 2), from = *at + 2;
    int negated = from < s.n && s.p[from] == '^';
    struct str name = str_sub(s, from + negated, close < 0 ? s.n : close);
    for (size_t i = 0; close >= 0 && i < sizeof known / sizeof *known; i++)
        if (str_eq(name, str_of(known[i]))) {
            *at = close + 2;
            return put_class(out, name, negated, 1, e);
        }
    return err_set(e, ERR_UNSUPPORTED, "the class [:%.*s:] of a pattern is not supported", STR_ARG(str_sub(name, 0, 40)));
}

static err_code put_boundary(int negated, struct sbuf *out, struct err *e)
{
    struct sbuf w;
    sbuf_init(&w, MAX_WRITTEN);
    err_code rc = put_class(&w, STR("word"), 0, 0, e);
    const char *p = rc == ERR_OK ? w.p : "";
    if (negated)
        sbuf_addf(out, "(?:(?<=%s)(?=%s)|(?<!%s)(?!%s))", p, p, p, p);
    else
        sbuf_addf(out, "(?:(?<=%s)(?!%s)|(?<!%s)(?=%s))", p, p, p, p);
    sbuf_release(&w);
    return rc;
}

/* At a backslash. */
static err_code put_escape(struct str s, int64_t *at, int in_class, struct sbuf *out, struct err *e)
{
    char c = *at + 1 < s.n ? s.p[*at + 1] : 0;
    if (c == 'p' || c == 'P')
        return put_property(s, at, in_class, out, e);
    if (strchr("XyY", c) && c && !in_class)
        return err_set(e, ERR_UNSUPPORTED, "\\%c of a pattern is not supported", c);
    *at += 2;
    if (c && strchr("sS", c))
        return put_class(out, STR("space"), c == 'S', in_class, e);
    if (c && strchr("wW", c))
        return put_class(out, STR("word"), c == 'W', in_class, e);
    if (c && strchr("dD", c))
        return put_class(out, STR("digit"), c == 'D', in_class, e);
    if (c && strchr("bB", c) && !in_class)
        return put_boundary(c == 'B', out, e);
    sbuf_add(out, str_sub(s, *at - 2, *at));
    return ERR_OK;
}

static err_code write_out(struct str s, struct sbuf *out, struct err *e)
{
    int depth = 0;
    for (int64_t i = 0; i < s.n && !out->full;) {
        char c = s.p[i];
        if (c == '\\') {
            TRY(put_escape(s, &i, depth > 0, out, e));
            continue;
        }
        if (depth && c == '[' && i + 1 < s.n && s.p[i + 1] == ':') {
            TRY(put_posix(s, &i, out, e));
            continue;
        }
        sbuf_addc(out, c);
        i++;
        if (c == '[') {
            depth++;
            if (i < s.n && s.p[i] == '^')
                sbuf_addc(out, s.p[i++]);
            if (i < s.n && s.p[i] == ']') /* a first ] is a character */
                sbuf_adds(out, "\\]"), i++;
        } else if (c == ']' && depth) {
            depth--;
        }
    }
    return out->full ? err_set(e, ERR_LIMIT, "a pattern of %lld bytes is too large", (long long)s.n) : ERR_OK;
}

/* ---- compiling and searching -------------------------------------------------------------- */

static void start_library(void)
{
    OnigEncoding use[] = {ONIG_ENCODING_UTF8};
    onig_initialize(use, 1);
    onig_set_warn_func(onig_null_warn);
    onig_set_verb_warn_func(onig_null_warn);
}

err_code tok_re_new(struct str pattern, struct tok_re **out, struct err *e)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct sbuf b;
    OnigErrorInfo info;
    pthread_once(&once, start_library);
    if (pattern.n > MAX_PATTERN)
        return err_set(e, ERR_LIMIT, "a pattern of %lld bytes is too large", (long long)pattern.n);
    if (utf8_check(pattern) >= 0)
        return err_set(e, ERR_DATA, "a pattern is not UTF-8");
    sbuf_init(&b, MAX_WRITTEN);
    err_code rc = write_out(pattern, &b, e);
    struct tok_re *re = calloc(1, sizeof *re);
    if (!re)
        BUG("out of memory for a pattern");
    if (rc == ERR_OK) {
        struct str w = sbuf_str(&b);
        int r = onig_new(&re->re, (const UChar *)w.p, (const UChar *)w.p + w.n, ONIG_OPTION_NONE, ONIG_ENCODING_UTF8, ONIG_SYNTAX_DEFAULT, &info);
        if (r != ONIG_NORMAL) {
            UChar why[ONIG_MAX_ERROR_MESSAGE_LEN];
            onig_error_code_to_str(why, r, &info);
            rc = err_set(e, ERR_DATA, "pattern '%.*s': %s", STR_ARG(str_sub(pattern, 0, 200)), (const char *)why);
        }
    }
    sbuf_release(&b);
    if (rc != ERR_OK)
        free(re);
    else
        *out = re;
    return rc;
}

void tok_re_free(struct tok_re *re)
{
    if (re)
        onig_free(re->re);
    free(re);
}

struct tok_re_run *tok_re_run_new(void)
{
    struct tok_re_run *r = calloc(1, sizeof *r);
    if (!r || !(r->region = onig_region_new()))
        BUG("out of memory for a pattern's captures");
    return r;
}

void tok_re_run_free(struct tok_re_run *r)
{
    if (r)
        onig_region_free(r->region, 1);
    free(r);
}

err_code tok_re_next(const struct tok_re *re, struct tok_re_run *r, struct str s, struct tok_re_at *at, int64_t *begin, int64_t *end, int *found,
                     struct err *e)
{
    const UChar *p = (const UChar *)s.p, *stop = p + s.n;
    *found = 0;
    while (!at->done && at->from <= s.n) {
        int rc = (int)onig_search(re->re, p, stop, p + at->from, stop, r->region, ONIG_OPTION_NONE);
        if (rc == ONIG_MISMATCH)
            break;
        if (rc < 0) {
            UChar why[ONIG_MAX_ERROR_MESSAGE_LEN];
            onig_error_code_to_str(why, rc);
            return err_set(e, ERR_LIMIT, "a pattern gave up at byte %lld of a piece of %lld: %s", (long long)at->from, (long long)s.n, (const char *)why);
        }
        int64_t b = r->region->beg[0], n = r->region->end[0];
        if (b == n && at->any && at->last_end == n) { /* an empty match right behind the last one: step over a character */
            uint32_t cp;
            int w = utf8_decode(s, at->from, &cp);
            at->from += w ? w : 1;
            continue;
        }
        at->from = at->last_end = n;
        at->any = 1;
        *begin = b;
        *end = n;
        *found = 1;
        return ERR_OK;
    }
    at->done = 1;
    return ERR_OK;
}
