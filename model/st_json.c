/* The reference derives its parser from types: struct HashMetadata { __metadata__: Option<Map<String,String>>, #[flatten] tensors:
 * Map<String, TensorInfo> }. What follows accepts what that accepts: unknown fields of a tensor, a tensor given as the array
 * [dtype, shape, data_offsets], a dtype given as {"F32": null}; and refuses what that refuses: 1e0, -0 or a value over 2^64 as an
 * integer, a field given twice, lone surrogates, numbers beyond f64, nesting over 127. */
#include "model/st_json.h"

#include <math.h>
#include <stdlib.h>

struct scan {
    const char *file;
    struct str s;
    int64_t at;
    int depth;
    struct arena *mem;
    struct st_header *h;
    struct err *e;
};

enum { MAX_DEPTH = 127 };

static err_code bad(struct scan *c, const char *why)
{
    return err_set(c->e, ERR_DATA, "'%s': header byte %lld: %s [InvalidHeaderDeserialization]", c->file, (long long)c->at, why);
}

static err_code full(struct scan *c)
{
    return err_set(c->e, ERR_LIMIT, "'%s': the header needs more memory than is planned for it", c->file);
}

static int peek(struct scan *c)
{
    while (c->at < c->s.n && memchr(" \t\n\r", c->s.p[c->at], 4))
        c->at++;
    return c->at < c->s.n ? (unsigned char)c->s.p[c->at] : -1;
}

static err_code expect(struct scan *c, char want)
{
    char why[] = "expected 'x'";
    why[10] = want;
    if (peek(c) != want)
        return bad(c, why);
    c->at++;
    return ERR_OK;
}

/* ---- strings and numbers ------------------------------------------------------------------ */

static int hex4(struct scan *c, uint32_t *out)
{
    *out = 0;
    for (int i = 0; i < 4; i++, c->at++) {
        int ch = c->at < c->s.n ? c->s.p[c->at] : 0;
        int d = ch >= '0' && ch <= '9' ? ch - '0' : (ch | 32) >= 'a' && (ch | 32) <= 'f' ? (ch | 32) - 'a' + 10 : -1;
        if (d < 0)
            return 0;
        *out = *out * 16 + (uint32_t)d;
    }
    return 1;
}

/* Behind the backslash; writes the character's bytes. */
static err_code escape(struct scan *c, char *out, int *n)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    int ch = c->at < c->s.n ? c->s.p[c->at++] : 0;
    const char *f = ch ? strchr(from, ch) : NULL;
    *n = 1;
    if (f) {
        out[0] = to[f - from];
        return ERR_OK;
    }
    uint32_t hi, lo;
    if (ch != 'u' || !hex4(c, &hi))
        return bad(c, "invalid escape");
    if (hi >= 0xD800 && hi < 0xE000) {
        if (hi >= 0xDC00 || c->at + 2 > c->s.n || memcmp(c->s.p + c->at, "\\u", 2))
            return bad(c, "lone surrogate in an escape");
        c->at += 2;
        if (!hex4(c, &lo) || lo < 0xDC00 || lo >= 0xE000)
            return bad(c, "lone surrogate in an escape");
        hi = 0x10000 + ((hi - 0xD800) << 10) + (lo - 0xDC00);
    }
    *n = utf8_encode(hi, out);
    return ERR_OK;
}

/* A view of the text where nothing is escaped, else a copy. */
static err_code string(struct scan *c, struct str *out)
{
    TRY(expect(c, '"'));
    int64_t from = c->at, escapes = 0;
    for (; c->at < c->s.n && c->s.p[c->at] != '"'; c->at++) {
        if ((unsigned char)c->s.p[c->at] < 0x20)
            return bad(c, "control character in a string");
        if (c->s.p[c->at] == '\\')
            escapes++, c->at++;
    }
    if (c->at >= c->s.n)
        return bad(c, "a string does not end");
    int64_t to = c->at;
    *out = str_sub(c->s, from, to);
    c->at++;
    if (!escapes)
        return ERR_OK;
    char *copy = ARENA_TRY(c->mem, char, to - from + 1);
    if (!copy)
        return full(c);
    int64_t n = 0;
    for (c->at = from; c->at < to;) {
        int k = 1;
        if (c->s.p[c->at] != '\\')
            copy[n] = c->s.p[c->at++];
        else {
            c->at++;
            TRY(escape(c, copy + n, &k));
        }
        n += k;
    }
    c->at = to + 1;
    *out = (struct str){copy, n};
    return ERR_OK;
}

static int64_t digits(struct scan *c)
{
    int64_t n = 0;
    while (c->at < c->s.n && c->s.p[c->at] >= '0' && c->s.p[c->at] <= '9')
        c->at++, n++;
    return n;
}

/* A number of JSON; *plain 1 when it is digits alone. */
static err_code number(struct scan *c, int *plain)
{
    int64_t from = c->at;
    *plain = c->s.p[c->at] != '-';
    c->at += !*plain;
    int64_t lead = c->at;
    if (!digits(c))
        return bad(c, "invalid number");
    if (c->s.p[lead] == '0' && c->at - lead > 1)
        return bad(c, "a number starts with 0");
    if (c->at < c->s.n && c->s.p[c->at] == '.') {
        c->at++, *plain = 0;
        if (!digits(c))
            return bad(c, "invalid number");
    }
    if (c->at < c->s.n && (c->s.p[c->at] | 32) == 'e') {
        c->at++, *plain = 0;
        if (c->at < c->s.n && (c->s.p[c->at] == '+' || c->s.p[c->at] == '-'))
            c->at++;
        if (!digits(c))
            return bad(c, "invalid number");
    }
    /* A number that ends with the text is an error of what encloses it, and strtod must not read on. */
    if (c->at < c->s.n && c->at - from > 300 - (*plain ? 0 : 299) && isinf(strtod(c->s.p + from, NULL)))
        return bad(c, "number out of range");
    return ERR_OK;
}

static err_code unsigned_int(struct scan *c, uint64_t *out)
{
    int ch = peek(c), plain;
    if (ch < '0' || ch > '9')
        return bad(c, "expected an unsigned integer");
    int64_t from = c->at;
    TRY(number(c, &plain));
    *out = 0;
    for (int64_t i = from; plain && i < c->at; i++)
        plain = !__builtin_mul_overflow(*out, 10u, out) && !__builtin_add_overflow(*out, (uint64_t)(c->s.p[i] - '0'), out);
    return plain ? ERR_OK : bad(c, "expected an unsigned integer of 64 bits");
}

/* ---- values ------------------------------------------------------------------------------- */

static err_code enter(struct scan *c, char open)
{
    TRY(expect(c, open));
    return ++c->depth > MAX_DEPTH ? bad(c, "nested too deeply") : ERR_OK;
}

/* Between elements: *more = 0 behind the closing bracket. first: none was read yet. */
static err_code next(struct scan *c, char close, int first, int *more)
{
    int ch = peek(c);
    *more = ch != close;
    if (!*more) {
        c->at++;
        c->depth--;
        return ERR_OK;
    }
    if (first)
        return ERR_OK;
    TRY(expect(c, ','));
    return peek(c) == close ? bad(c, "a comma before the closing bracket") : ERR_OK;
}

static err_code key(struct scan *c, struct str *out)
{
    TRY(string(c, out));
    return expect(c, ':');
}

static err_code word(struct scan *c, const char *w)
{
    int64_t n = (int64_t)strlen(w);
    if (c->at + n > c->s.n || memcmp(c->s.p + c->at, w, (size_t)n))
        return bad(c, "expected a value");
    c->at += n;
    return ERR_OK;
}

/* Recursion is bounded by MAX_DEPTH. */
static err_code skip(struct scan *c)
{
    struct str s;
    int plain, more, ch = peek(c);
    switch (ch) {
    case '"': return string(c, &s);
    case 't': return word(c, "true");
    case 'f': return word(c, "false");
    case 'n': return word(c, "null");
    case '{':
    case '[':
        TRY(enter(c, (char)ch));
        for (int first = 1;; first = 0) {
            TRY(next(c, ch == '{' ? '}' : ']', first, &more));
            if (!more)
                return ERR_OK;
            if (ch == '{')
                TRY(key(c, &s));
            TRY(skip(c));
        }
    default:
        return ch == '-' || (ch >= '0' && ch <= '9') ? number(c, &plain) : bad(c, "expected a value");
    }
}

static err_code dtype(struct scan *c, enum st_dtype *out)
{
    struct str s;
    int more, wrapped = peek(c) == '{';
    if (wrapped)
        TRY(enter(c, '{'));
    TRY(string(c, &s));
    if (wrapped) {
        TRY(expect(c, ':'));
        if (peek(c) == '{') {
            TRY(enter(c, '{'));
            TRY(next(c, '}', 1, &more));
            if (more)
                return bad(c, "expected null");
        } else {
            TRY(word(c, "null"));
        }
        TRY(next(c, '}', 0, &more));
        if (more)
            return bad(c, "expected one dtype");
    }
    for (int d = 0; d < ST_N_DTYPES; d++)
        if (str_eq(s, str_of(st_dtype_name((enum st_dtype)d)))) {
            *out = (enum st_dtype)d;
            return ERR_OK;
        }
    return err_set(c->e, ERR_DATA, "'%s': header byte %lld: unknown dtype '%.*s' [InvalidHeaderDeserialization]", c->file, (long long)c->at,
                   (int)(s.n > 40 ? 40 : s.n), s.p);
}

static err_code integers(struct scan *c, const uint64_t **out, int *n_out)
{
    int more;
    int64_t from = c->at, n = 0;
    TRY(enter(c, '['));
    for (int first = 1;; first = 0, n++) { /* once to count, once to keep */
        uint64_t v;
        TRY(next(c, ']', first, &more));
        if (!more)
            break;
        TRY(unsigned_int(c, &v));
    }
    uint64_t *v = ARENA_TRY(c->mem, uint64_t, n + 1);
    if (!v)
        return full(c);
    c->at = from;
    TRY(enter(c, '['));
    for (int64_t i = 0; i <= n; i++) {
        TRY(next(c, ']', i == 0, &more));
        if (more)
            TRY(unsigned_int(c, &v[i]));
    }
    *out = v;
    *n_out = (int)n;
    return ERR_OK;
}

static err_code offsets(struct scan *c, struct st_entry *t)
{
    const uint64_t *v;
    int n;
    TRY(integers(c, &v, &n));
    if (n != 2)
        return bad(c, "data_offsets must be two integers");
    t->begin = v[0];
    t->end = v[1];
    return ERR_OK;
}

enum { F_DTYPE = 1, F_SHAPE = 2, F_OFFSETS = 4, F_ALL = 7 };

static err_code field(struct scan *c, int which, struct st_entry *t)
{
    return which == F_DTYPE ? dtype(c, &t->dtype) : which == F_SHAPE ? integers(c, &t->dims, &t->n_dims) : offsets(c, t);
}

static err_code tensor(struct scan *c, struct st_entry *t)
{
    int more, seen = 0, array = peek(c) == '[';
    TRY(enter(c, array ? '[' : '{'));
    for (int first = 1;; first = 0) {
        struct str name;
        TRY(next(c, array ? ']' : '}', first, &more));
        if (!more)
            break;
        int which = array ? (seen == 0 ? F_DTYPE : seen == F_DTYPE ? F_SHAPE : F_OFFSETS) : 0;
        if (!array) {
            TRY(key(c, &name));
            which = str_eq(name, STR("dtype")) ? F_DTYPE : str_eq(name, STR("shape")) ? F_SHAPE : str_eq(name, STR("data_offsets")) ? F_OFFSETS : 0;
        }
        if (which & seen)
            return bad(c, array ? "a tensor has three fields" : "a field is given twice");
        seen |= which;
        TRY(which ? field(c, which, t) : skip(c));
    }
    return seen == F_ALL ? ERR_OK : bad(c, !(seen & F_DTYPE) ? "missing field 'dtype'" : !(seen & F_SHAPE) ? "missing field 'shape'" : "missing field 'data_offsets'");
}

/* ---- the header --------------------------------------------------------------------------- */

static void *room(void *p, int64_t n, int64_t *cap, size_t size)
{
    if (n < *cap)
        return p;
    *cap = *cap ? *cap * 2 : 64;
    return realloc(p, (size_t)*cap * size);
}

static err_code metadata(struct scan *c)
{
    int more;
    if (peek(c) == 'n')
        return word(c, "null");
    TRY(enter(c, '{'));
    for (int first = 1;; first = 0) {
        struct st_meta m;
        TRY(next(c, '}', first, &more));
        if (!more)
            return ERR_OK;
        TRY(key(c, &m.key));
        TRY(string(c, &m.value));
        struct st_meta *p = room(c->h->meta, c->h->n_meta, &c->h->cap_meta, sizeof m);
        if (!p)
            return full(c);
        c->h->meta = p;
        p[c->h->n_meta++] = m;
    }
}

static err_code header(struct scan *c)
{
    int more, has_meta = 0;
    TRY(enter(c, '{'));
    for (int first = 1;; first = 0) {
        struct st_entry t = {.order = c->h->n};
        TRY(next(c, '}', first, &more));
        if (!more)
            break;
        TRY(key(c, &t.name));
        if (str_eq(t.name, STR("__metadata__"))) {
            if (has_meta++)
                return bad(c, "'__metadata__' is given twice");
            TRY(metadata(c));
            continue;
        }
        TRY(tensor(c, &t));
        struct st_entry *p = room(c->h->entries, c->h->n, &c->h->cap, sizeof t);
        if (!p)
            return full(c);
        c->h->entries = p;
        p[c->h->n++] = t;
    }
    return peek(c) < 0 ? ERR_OK : bad(c, "characters behind the header's object");
}

err_code st_header_parse(const char *file, struct str text, struct arena *mem, struct st_header *out, struct err *e)
{
    struct scan c = {.file = file, .s = text, .mem = mem, .h = out, .e = e};
    *out = (struct st_header){0};
    err_code rc = header(&c);
    if (rc != ERR_OK) {
        free(out->entries);
        free(out->meta);
        *out = (struct st_header){0};
    }
    return rc;
}
