/* json.dumps and json.loads. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "text/tmpl_jp.h"

/* ---- writing --------------------------------------------------------------------------------- */

static void dump_str_esc(struct build *b, uint32_t cp)
{
    char buf[16];
    static const char from[] = "\"\\\n\r\t\f\b", to[] = "\"\\nrtfb";
    const char *hit = cp && cp < 0x80 ? strchr(from, (int)cp) : NULL;
    if (hit)
        snprintf(buf, sizeof buf, "\\%c", to[hit - from]);
    else if (cp >= 0x10000)
        snprintf(buf, sizeof buf, "\\u%04x\\u%04x", 0xD800 + ((cp - 0x10000) >> 10), 0xDC00 + ((cp - 0x10000) & 0x3FF));
    else
        snprintf(buf, sizeof buf, "\\u%04x", cp);
    tmpl_b_adds(b, buf);
}

static err_code dump_str(struct tmpl_run *r, struct build *b, struct val v, int ascii)
{
    struct str s;
    int64_t from = 0;
    int n = 1;
    FLAT(r, &v, s);
    tmpl_b_adds(b, "\"");
    for (int64_t i = 0; i < s.n; i += n) {
        unsigned char c = (unsigned char)s.p[i];
        uint32_t cp = c;
        n = 1;
        if (c >= 0x80) {
            if (!ascii)
                continue;
            cp = tmpl_wtf8(s, i, &n);
        } else if (c >= 0x20 && c != '"' && c != '\\' && !(ascii && c == 0x7F)) {
            continue;
        }
        tmpl_b_bytes(b, s.p + from, i - from);
        dump_str_esc(b, cp);
        from = i + n;
    }
    tmpl_b_bytes(b, s.p + from, s.n - from);
    tmpl_b_adds(b, "\"");
    return ERR_OK;
}

static err_code dump_num(struct tmpl_run *r, struct build *b, struct val v)
{
    if (v.tag == T_BOOL)
        tmpl_b_adds(b, v.i ? "true" : "false");
    else if (v.tag == T_FLOAT && !isfinite(v.f))
        tmpl_b_adds(b, isnan(v.f) ? "NaN" : v.f < 0 ? "-Infinity" : "Infinity");
    else
        return tmpl_num_text(r, b, v);
    return ERR_OK;
}

static err_code dump_key(struct tmpl_run *r, struct build *b, struct val k, const struct dump_opts *o)
{
    if (k.tag == T_STR)
        return dump_str(r, b, k, o->ascii);
    if (k.tag != T_NONE && !tmpl_is_num(k))
        return tmpl_fail(r, "TypeError", "keys must be str, int, float, bool or None, not %s", tmpl_type(k));
    tmpl_b_adds(b, "\"");
    if (k.tag == T_NONE)
        tmpl_b_adds(b, "null");
    else
        TRY(dump_num(r, b, k));
    tmpl_b_adds(b, "\"");
    return ERR_OK;
}

static void newline(struct build *b, const struct dump_opts *o, int level)
{
    if (!o->has_indent)
        return;
    tmpl_b_adds(b, "\n");
    for (int i = 0; i < level; i++)
        tmpl_b_bytes(b, o->indent.p, o->indent.n);
}

static err_code dump(struct tmpl_run *r, struct build *b, struct val v, const struct dump_opts *o, int level);

static err_code dump_dict(struct tmpl_run *r, struct build *b, const struct dict *d, const struct dump_opts *o, int level)
{
    struct pair *at = d->at;
    if (!d->n)
        return tmpl_b_adds(b, "{}"), ERR_OK;
    if (o->sort) {
        struct val *k, *idx;
        MEM(r, k, d->n);
        MEM(r, idx, d->n);
        MEM(r, at, d->n);
        for (uint32_t i = 0; i < d->n; i++)
            k[i] = d->at[i].k, idx[i] = v_int(i);
        TRY(tmpl_sort(r, idx, k, d->n, 0));
        for (uint32_t i = 0; i < d->n; i++)
            at[i] = d->at[idx[i].i];
    }
    tmpl_b_adds(b, "{");
    for (uint32_t i = 0; i < d->n; i++) {
        if (i)
            tmpl_b_bytes(b, o->item_sep.p, o->item_sep.n);
        newline(b, o, level + 1);
        TRY(dump_key(r, b, at[i].k, o));
        tmpl_b_bytes(b, o->key_sep.p, o->key_sep.n);
        TRY(dump(r, b, at[i].v, o, level + 1));
    }
    newline(b, o, level);
    tmpl_b_adds(b, "}");
    return ERR_OK;
}

static err_code dump_list(struct tmpl_run *r, struct build *b, const struct seq *s, const struct dump_opts *o, int level)
{
    if (!s->n)
        return tmpl_b_adds(b, "[]"), ERR_OK;
    tmpl_b_adds(b, "[");
    for (int64_t i = 0; i < s->n; i++) {
        if (i)
            tmpl_b_bytes(b, o->item_sep.p, o->item_sep.n);
        newline(b, o, level + 1);
        TRY(dump(r, b, s->at[i], o, level + 1));
    }
    newline(b, o, level);
    tmpl_b_adds(b, "]");
    return ERR_OK;
}

static err_code dump(struct tmpl_run *r, struct build *b, struct val v, const struct dump_opts *o, int level)
{
    TRY(tmpl_step(r, 1));
    TRY(tmpl_deeper(r));
    const char *saved = b->org, *org = r->track ? tmpl_origin(r, v) : NULL;
    err_code rc = ERR_OK;
    if (org)
        b->org = org;
    switch (v.tag) {
    case T_NONE: tmpl_b_adds(b, "null"); break;
    case T_BOOL: case T_INT: case T_BIG: case T_FLOAT: rc = dump_num(r, b, v); break;
    case T_STR: rc = dump_str(r, b, v, o->ascii); break;
    case T_LIST: case T_TUPLE: rc = dump_list(r, b, v.seq, o, level); break;
    case T_DICT: rc = dump_dict(r, b, v.dict, o, level); break;
    default: rc = tmpl_fail(r, "TypeError", "Object of type %s is not JSON serializable", tmpl_type(v)); break;
    }
    b->org = saved;
    r->depth--;
    return rc;
}

err_code tmpl_dump(struct tmpl_run *r, struct build *b, struct val v, const struct dump_opts *o)
{
    return dump(r, b, v, o, 0);
}

/* ---- reading --------------------------------------------------------------------------------- */

err_code tmpl_jp_fail(struct jp *j, const char *what)
{
    return err_set(j->r->e, ERR_DATA, "row is not JSON at byte %lld: %s", (long long)(j->p - j->start), what);
}

void tmpl_jp_space(struct jp *j)
{
    while (j->p < j->end && (*j->p == ' ' || *j->p == '\n' || *j->p == '\r' || *j->p == '\t'))
        j->p++;
}

static int hex4(const char *p, uint32_t *out)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++) {
        int d = p[i] >= '0' && p[i] <= '9' ? p[i] - '0' : (p[i] | 32) >= 'a' && (p[i] | 32) <= 'f' ? (p[i] | 32) - 'a' + 10 : -1;
        if (d < 0)
            return 0;
        v = v << 4 | (uint32_t)d;
    }
    return *out = v, 1;
}

static err_code unescape(struct jp *j, const char *p, const char *end, char *out, int64_t *n_out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    char *o = out;
    while (p < end) {
        const char *slash = memchr(p, '\\', (size_t)(end - p)), *hit;
        int64_t n = (slash ? slash : end) - p;
        tmpl_copy(o, p, (size_t)n);
        o += n;
        if (!slash)
            break;
        p = slash + 1;
        uint32_t cp, low;
        if (*p == 'u') {
            if (end - p < 5 || !hex4(p + 1, &cp))
                return tmpl_jp_fail(j, "invalid \\uXXXX escape");
            p += 5;
            if (cp >= 0xD800 && cp < 0xDC00 && end - p >= 6 && p[0] == '\\' && p[1] == 'u' && hex4(p + 2, &low) && low >= 0xDC00 && low < 0xE000) {
                cp = 0x10000 + ((cp - 0xD800) << 10) + (low - 0xDC00);
                p += 6;
            }
            j->r->surrogates |= cp >= 0xD800 && cp < 0xE000;
            o += utf8_encode(cp, o);
        } else if (*p && (hit = strchr(from, *p)) != NULL) {
            *o++ = to[hit - from];
            p++;
        } else {
            return tmpl_jp_fail(j, "invalid \\escape");
        }
    }
    *n_out = o - out;
    return ERR_OK;
}

/* j->p is behind the opening quote. */
err_code tmpl_jp_string(struct jp *j, struct val *out)
{
    const char *p = j->p, *end = j->end;
    unsigned char high = 0;
    int esc = 0;
    for (;; p++) {
        if (p >= end)
            return tmpl_jp_fail(j, "unterminated string");
        unsigned char c = (unsigned char)*p;
        if (c == '"')
            break;
        if (c < 0x20) {
            j->p = p;
            return tmpl_jp_fail(j, "invalid control character in a string");
        }
        high |= c;
        if (c == '\\') {
            esc = 1;
            p++;
        }
    }
    int64_t n = p - j->p;
    if ((high & 0x80) && utf8_check((struct str){j->p, n}) >= 0)
        return tmpl_jp_fail(j, "a string that is not UTF-8");
    if (n > UINT32_MAX / 4)
        return tmpl_full(j->r);
    char *mem;
    MEM(j->r, mem, n + 1);
    if (esc) {
        TRY(unescape(j, j->p, p, mem, &n));
        *out = tmpl_view(mem, n);
    } else {
        tmpl_copy(mem, j->p, (size_t)n);
        *out = (struct val){.tag = T_STR, .flags = high & 0x80 ? 0 : VF_ASCII, .n = (uint32_t)n, .s = mem};
    }
    j->p = p + 1;
    return ERR_OK;
}

static err_code jp_number(struct jp *j, struct val *out)
{
    const char *p = j->p;
    int neg = p < j->end && *p == '-', flt = 0;
    p += neg;
    const char *digits = p;
    while (p < j->end && *p >= '0' && *p <= '9')
        p++;
    int64_t n = p - digits;
    if (n == 0 || (n > 1 && digits[0] == '0'))
        return n > 1 ? (j->p = digits + 1, tmpl_jp_fail(j, "number with a leading zero")) : tmpl_jp_fail(j, "expecting a value");
    if (p + 1 < j->end && *p == '.' && p[1] >= '0' && p[1] <= '9') {
        for (flt = 1, p++; p < j->end && *p >= '0' && *p <= '9'; p++)
            ;
    }
    if (p < j->end && (*p | 32) == 'e') {
        const char *q = p + 1;
        q += q < j->end && (*q == '+' || *q == '-');
        if (q < j->end && *q >= '0' && *q <= '9') {
            for (flt = 1; q < j->end && *q >= '0' && *q <= '9'; q++)
                ;
            p = q;
        }
    }
    if (flt) {
        char *copy;
        MEM(j->r, copy, p - j->p + 1);
        tmpl_copy(copy, j->p, (size_t)(p - j->p));
        copy[p - j->p] = 0;
        *out = v_float(strtod(copy, NULL));
    } else if (n <= 18) {
        int64_t v = 0;
        for (const char *q = digits; q < p; q++)
            v = v * 10 + (*q - '0');
        *out = v_int(neg ? -v : v);
    } else {
        TRY(tmpl_int_digits(j->r, (struct str){digits, n}, 10, neg, out));
    }
    j->p = p;
    return ERR_OK;
}

static err_code jp_push(struct jp *j, struct val v)
{
    struct jstack *s = j->stack;
    if (s->n == s->cap) {
        int64_t cap = s->cap ? s->cap * 2 : 256;
        struct val *at = realloc(s->at, (size_t)cap * sizeof *at);
        if (!at)
            return tmpl_full(j->r);
        s->at = at;
        s->cap = cap;
    }
    s->at[s->n++] = v;
    return ERR_OK;
}

static err_code jp_array(struct jp *j, struct val *out)
{
    int64_t base = j->stack->n;
    struct val v;
    tmpl_jp_space(j);
    while (!(j->p < j->end && *j->p == ']')) {
        TRY(tmpl_jp_value(j, &v));
        TRY(jp_push(j, v));
        tmpl_jp_space(j);
        if (j->p < j->end && *j->p == ',') {
            j->p++;
            tmpl_jp_space(j);
            if (j->p < j->end && *j->p == ']')
                return tmpl_jp_fail(j, "expecting a value");
            continue;
        }
        if (!(j->p < j->end && *j->p == ']'))
            return tmpl_jp_fail(j, "expecting ',' or ']'");
    }
    j->p++;
    int64_t n = j->stack->n - base;
    TRY(tmpl_seq_new(j->r, T_LIST, n, out));
    if (n)
        tmpl_copy(out->seq->at, j->stack->at + base, (size_t)n * sizeof(struct val));
    j->stack->n = base;
    return ERR_OK;
}

err_code tmpl_jp_key(struct jp *j, struct val *k)
{
    tmpl_jp_space(j);
    if (!(j->p < j->end && *j->p == '"'))
        return tmpl_jp_fail(j, "expecting a property name in double quotes");
    j->p++;
    TRY(tmpl_jp_string(j, k));
    tmpl_jp_space(j);
    if (!(j->p < j->end && *j->p == ':'))
        return tmpl_jp_fail(j, "expecting ':'");
    j->p++;
    return ERR_OK;
}

/* Behind a member: 1 in *more when another follows. */
err_code tmpl_jp_more(struct jp *j, char close, int *more)
{
    tmpl_jp_space(j);
    if (j->p < j->end && (*j->p == ',' || *j->p == close)) {
        *more = *j->p++ == ',';
        return ERR_OK;
    }
    return tmpl_jp_fail(j, close == '}' ? "expecting ',' or '}'" : "expecting ',' or ']'");
}

int tmpl_jp_empty(struct jp *j, char close)
{
    tmpl_jp_space(j);
    return j->p < j->end && *j->p == close ? (j->p++, 1) : 0;
}

err_code tmpl_jp_dict(struct jp *j, int64_t base, struct val *out)
{
    struct jstack *s = j->stack;
    int64_t n = (s->n - base) / 2;
    TRY(tmpl_dict_new(j->r, n, out));
    for (int64_t i = 0; i < n; i++)
        TRY(tmpl_dict_put(j->r, out->dict, s->at[base + 2 * i], s->at[base + 2 * i + 1]));
    s->n = base;
    return ERR_OK;
}

err_code tmpl_jp_pair(struct jp *j, struct val k, struct val v)
{
    TRY(jp_push(j, k));
    return jp_push(j, v);
}

static err_code jp_object(struct jp *j, struct val *out)
{
    int64_t base = j->stack->n;
    struct val k, v;
    int more = !tmpl_jp_empty(j, '}');
    while (more) {
        TRY(tmpl_jp_key(j, &k));
        TRY(tmpl_jp_value(j, &v));
        TRY(tmpl_jp_pair(j, k, v));
        TRY(tmpl_jp_more(j, '}', &more));
    }
    return tmpl_jp_dict(j, base, out);
}

static err_code jp_word(struct jp *j, struct val *out)
{
    static const struct {
        const char *word;
        struct val v;
    } words[] = {{"true", {.tag = T_BOOL, .i = 1}}, {"false", {.tag = T_BOOL}}, {"null", {.tag = T_NONE}}, {"NaN", {.tag = T_FLOAT, .f = NAN}},
                 {"Infinity", {.tag = T_FLOAT, .f = INFINITY}}, {"-Infinity", {.tag = T_FLOAT, .f = -INFINITY}}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        int64_t n = (int64_t)strlen(words[i].word);
        if (j->end - j->p >= n && !memcmp(j->p, words[i].word, (size_t)n)) {
            j->p += n;
            *out = words[i].v;
            return ERR_OK;
        }
    }
    return jp_number(j, out);
}

err_code tmpl_jp_value(struct jp *j, struct val *out)
{
    tmpl_jp_space(j);
    if (j->p >= j->end)
        return tmpl_jp_fail(j, "expecting a value");
    char c = *j->p;
    if (c == '"')
        return j->p++, tmpl_jp_string(j, out);
    if (c != '{' && c != '[')
        return jp_word(j, out);
    if (j->r->depth + 2 > j->r->lim.depth)
        return tmpl_limit(j->r, "depth");
    j->r->depth++;
    j->p++;
    TRY(c == '{' ? jp_object(j, out) : jp_array(j, out));
    j->r->depth--;
    return ERR_OK;
}
