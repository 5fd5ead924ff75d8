#include "datasets/tape.h"

#include <stdlib.h>

#include "core/json.h"

void data_tape_release(struct tape *t)
{
    free(t->node);
    *t = (struct tape){0};
}

struct scan {
    struct tape *t;
    const char *p;
    int32_t at, end;
    struct err *e;
};

static err_code bad(struct scan *s, const char *what)
{
    return err_set(s->e, ERR_DATA, "not JSON at byte %d: %s", s->at + 1, what);
}

static err_code push(struct scan *s, enum tape_type type, int32_t begin, int32_t *out)
{
    struct tape *t = s->t;
    if (t->n == t->cap) {
        int32_t cap = t->cap ? t->cap * 2 : 256;
        struct tape_node *p = t->n < TAPE_NODES ? realloc(t->node, (size_t)cap * sizeof *p) : NULL;
        if (!p)
            return err_set(s->e, ERR_LIMIT, "more than %d values", t->n);
        t->node = p;
        t->cap = cap;
    }
    *out = t->n++;
    t->node[*out] = (struct tape_node){.begin = begin, .type = (uint8_t)type};
    return ERR_OK;
}

static void space(struct scan *s)
{
    while (s->at < s->end && (s->p[s->at] == ' ' || s->p[s->at] == '\t' || s->p[s->at] == '\n' || s->p[s->at] == '\r'))
        s->at++;
}

/* Bytes from `at` that need no look: ASCII, no quote, no backslash, no control; eight at a time. */
static int32_t plain_run(const char *p, int32_t at, int32_t end)
{
    const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
    while (at + 8 <= end) {
        uint64_t w;
        memcpy(&w, p + at, 8);
        uint64_t quote = w ^ (ones * '"'), slash = w ^ (ones * '\\');
        uint64_t hit = w | (w - ones * 0x20) | (quote - ones) | (slash - ones); /* false hits only beside 8-bit bytes */
        if (hit & high)
            break;
        at += 8;
    }
    while (at < end && (unsigned char)p[at] >= 0x20 && (unsigned char)p[at] < 0x80 && p[at] != '"' && p[at] != '\\')
        at++;
    return at;
}

static int hex4(const char *p, uint32_t *out)
{
    *out = 0;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (d < 0)
            return 0;
        *out = *out << 4 | (uint32_t)d;
    }
    return 1;
}

static err_code string(struct scan *s, int32_t *out)
{
    int32_t id, begin = ++s->at; /* behind the quote */
    TRY(push(s, TAPE_STRING, begin, &id));
    for (;;) {
        s->at = plain_run(s->p, s->at, s->end);
        if (s->at >= s->end)
            return bad(s, "the text ends inside a string");
        unsigned char c = (unsigned char)s->p[s->at];
        uint32_t cp;
        if (c == '"')
            break;
        if (c == '\\') {
            s->t->node[id].escaped = 1;
            char x = s->at + 1 < s->end ? s->p[s->at + 1] : 0;
            if (x == 'u' ? s->end - s->at < 6 || !hex4(s->p + s->at + 2, &cp) : !x || !strchr("\"\\/bfnrt", x))
                return bad(s, "bad escape");
            s->at += x == 'u' ? 6 : 2;
        } else if (c < 0x20) {
            return bad(s, "control character in a string");
        } else {
            int n = utf8_decode((struct str){s->p, s->end}, s->at, &cp);
            if (!n)
                return bad(s, "not UTF-8");
            s->at += n;
        }
    }
    s->t->node[id].end = s->at++;
    s->t->node[id].next = s->t->n;
    *out = id;
    return ERR_OK;
}

static int32_t digits(struct scan *s)
{
    int32_t from = s->at;
    while (s->at < s->end && s->p[s->at] >= '0' && s->p[s->at] <= '9')
        s->at++;
    return s->at - from;
}

static int word(struct scan *s, const char *w)
{
    struct str have = {s->p + s->at, s->end - s->at};
    if (!str_starts(have, str_of(w)))
        return 0;
    s->at += (int32_t)strlen(w);
    return 1;
}

static int number(struct scan *s)
{
    if (s->p[s->at] == '-')
        s->at++;
    if (word(s, "Infinity"))
        return 1;
    int zero = s->at < s->end && s->p[s->at] == '0';
    int32_t n = digits(s);
    if (n == 0 || (zero && n > 1))
        return 0;
    if (s->at < s->end && s->p[s->at] == '.') {
        s->at++;
        if (!digits(s))
            return 0;
    }
    if (s->at < s->end && (s->p[s->at] | 0x20) == 'e') {
        s->at++;
        if (s->at < s->end && (s->p[s->at] == '+' || s->p[s->at] == '-'))
            s->at++;
        if (!digits(s))
            return 0;
    }
    return 1;
}

static err_code scalar(struct scan *s)
{
    int32_t id, begin = s->at;
    enum tape_type type = TAPE_NUMBER;
    if (s->at >= s->end)
        return bad(s, "a value is missing");
    if (s->p[s->at] == '"')
        return string(s, &id);
    if (word(s, "null"))
        type = TAPE_NULL;
    else if (word(s, "true"))
        type = TAPE_TRUE;
    else if (word(s, "false"))
        type = TAPE_FALSE;
    else if (!word(s, "NaN") && !number(s))
        return bad(s, "not a value");
    TRY(push(s, type, begin, &id));
    s->t->node[id].end = s->at;
    s->t->node[id].next = s->t->n;
    return ERR_OK;
}

/* In a container: what stands before its next element. *closed: its end was there instead. */
static err_code separator(struct scan *s, struct tape_node *c, int *closed)
{
    char close = c->type == TAPE_ARRAY ? ']' : '}';
    space(s);
    *closed = s->at < s->end && s->p[s->at] == close;
    if (*closed) {
        s->at++;
        return ERR_OK;
    }
    if (c->n > 0) {
        if (s->at >= s->end || s->p[s->at] != ',')
            return bad(s, c->type == TAPE_ARRAY ? "',' or ']' is missing" : "',' or '}' is missing");
        s->at++;
        space(s);
    }
    c->n++;
    return ERR_OK;
}

static err_code key(struct scan *s)
{
    int32_t id;
    if (s->at >= s->end || s->p[s->at] != '"')
        return bad(s, "a key is missing");
    TRY(string(s, &id));
    space(s);
    if (s->at >= s->end || s->p[s->at] != ':')
        return bad(s, "':' is missing");
    s->at++;
    return ERR_OK;
}

static err_code values(struct scan *s)
{
    int32_t open[TAPE_DEPTH], depth = 0, id;
    for (;;) {
        space(s);
        if (s->at < s->end && (s->p[s->at] == '{' || s->p[s->at] == '[')) {
            if (depth == TAPE_DEPTH)
                return bad(s, "nested too deeply");
            TRY(push(s, s->p[s->at] == '{' ? TAPE_OBJECT : TAPE_ARRAY, s->at, &id));
            s->at++;
            open[depth++] = id;
        } else {
            TRY(scalar(s));
        }
        int closed = 1;
        while (depth > 0 && closed) {
            TRY(separator(s, &s->t->node[open[depth - 1]], &closed));
            if (closed) {
                struct tape_node *c = &s->t->node[open[--depth]];
                c->end = s->at;
                c->next = s->t->n;
            }
        }
        if (depth == 0)
            return ERR_OK;
        if (s->t->node[open[depth - 1]].type == TAPE_OBJECT)
            TRY(key(s));
    }
}

err_code data_tape_parse(struct tape *t, struct str text, struct err *e)
{
    if (text.n > INT32_MAX - 1)
        return err_set(e, ERR_LIMIT, "longer than 2 GiB");
    t->text = text;
    t->n = 0;
    struct scan s = {t, text.p, 0, (int32_t)text.n, e};
    TRY(values(&s));
    space(&s);
    return s.at == s.end ? ERR_OK : bad(&s, "more text behind the value");
}

/* ---- asking ------------------------------------------------------------------------------- */

struct str data_tape_raw(const struct tape *t, int32_t node)
{
    const struct tape_node *v = &t->node[node];
    return (struct str){t->text.p + v->begin, v->end - v->begin};
}

/* One escape at p, which was checked: its bytes in UTF-8; a lone surrogate sets *lone. Returns bytes read. */
static int32_t unescape(const char *p, const char *end, char out[4], int *n, uint32_t *lone)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    uint32_t a, b;
    *lone = 0;
    if (p[1] != 'u') {
        out[0] = to[strchr(from, p[1]) - from];
        *n = 1;
        return 2;
    }
    hex4(p + 2, &a);
    int32_t used = 6;
    if (a >= 0xD800 && a < 0xDC00 && end - p >= 12 && p[6] == '\\' && p[7] == 'u' && hex4(p + 8, &b) && b >= 0xDC00 && b < 0xE000) {
        a = 0x10000 + ((a - 0xD800) << 10) + (b - 0xDC00);
        used = 12;
    } else if (a >= 0xD800 && a < 0xE000) {
        *lone = a;
    }
    *n = *lone ? 0 : utf8_encode(a, out);
    return used;
}

static void put_char(struct sbuf *out, const char *c, int n, uint32_t lone)
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    if (lone) {
        sbuf_addf(out, "\\u%04x", lone);
    } else if (n == 1 && (unsigned char)c[0] < 0x20 && (!c[0] || !strchr(from, c[0]))) {
        sbuf_addf(out, "\\u%04x", c[0]);
    } else if (n == 1 && strchr(from, c[0])) {
        sbuf_addc(out, '\\');
        sbuf_addc(out, to[strchr(from, c[0]) - from]);
    } else {
        sbuf_add(out, (struct str){c, n});
    }
}

/* canonical: as JSON text; else as characters. */
static void put_escaped(struct sbuf *out, struct str raw, int canonical)
{
    const char *p = raw.p, *end = raw.p + raw.n;
    while (p < end) {
        const char *slash = memchr(p, '\\', (size_t)(end - p));
        sbuf_add(out, (struct str){p, (slash ? slash : end) - p});
        if (!slash)
            return;
        char c[4];
        int n;
        uint32_t lone;
        p = slash + unescape(slash, end, c, &n, &lone);
        if (canonical)
            put_char(out, c, n, lone);
        else
            sbuf_add(out, lone ? STR("\xEF\xBF\xBD") : (struct str){c, n});
    }
}

void data_tape_put_inside(struct sbuf *out, const struct tape *t, int32_t string)
{
    if (t->node[string].escaped)
        put_escaped(out, data_tape_raw(t, string), 1);
    else
        sbuf_add(out, data_tape_raw(t, string));
}

void data_tape_text(struct sbuf *out, const struct tape *t, int32_t string)
{
    if (t->node[string].escaped)
        put_escaped(out, data_tape_raw(t, string), 0);
    else
        sbuf_add(out, data_tape_raw(t, string));
}

int data_tape_is(const struct tape *t, int32_t string, const char *text)
{
    struct str raw = data_tape_raw(t, string), want = str_of(text);
    if (!t->node[string].escaped)
        return str_eq(raw, want);
    struct sbuf b;
    sbuf_init(&b, 1 << 20);
    put_escaped(&b, raw, 0);
    int same = !b.full && str_eq(sbuf_str(&b), want);
    sbuf_release(&b);
    return same;
}

int32_t data_tape_get(const struct tape *t, int32_t object, const char *name)
{
    if (t->node[object].type != TAPE_OBJECT)
        return -1;
    for (int32_t i = object + 1, end = t->node[object].next; i < end; i = t->node[i + 1].next)
        if (data_tape_is(t, i, name))
            return i + 1;
    return -1;
}

int32_t data_tape_repeated(const struct tape *t, int32_t object)
{
    int32_t end = t->node[object].next;
    for (int32_t i = object + 1; i < end; i = t->node[i + 1].next)
        for (int32_t j = object + 1; j < i; j = t->node[j + 1].next)
            if (t->node[i].end - t->node[i].begin == t->node[j].end - t->node[j].begin && str_eq(data_tape_raw(t, i), data_tape_raw(t, j)))
                return i;
    return -1;
}

/* ---- writing ------------------------------------------------------------------------------ */

void data_tape_put(struct sbuf *out, const struct tape *t, int32_t node)
{
    int32_t end[TAPE_DEPTH], depth = 0; /* containers that are open: where each ends */
    uint8_t object[TAPE_DEPTH];
    int first = 1, is_key = 0;
    for (int32_t i = node, stop = t->node[node].next; i < stop || depth;) {
        while (depth && i == end[depth - 1]) {
            sbuf_addc(out, object[--depth] ? '}' : ']');
            first = 0;
            is_key = depth && object[depth - 1];
        }
        if (i >= stop)
            continue;
        const struct tape_node *v = &t->node[i++];
        int key_here = is_key;
        if (!first)
            sbuf_addc(out, depth && object[depth - 1] && !key_here ? ':' : ',');
        first = 0;
        if (v->type == TAPE_STRING) {
            sbuf_addc(out, '"');
            data_tape_put_inside(out, t, i - 1);
            sbuf_addc(out, '"');
        } else if (v->type >= TAPE_ARRAY) {
            sbuf_addc(out, v->type == TAPE_OBJECT ? '{' : '[');
            object[depth] = v->type == TAPE_OBJECT;
            end[depth++] = v->next;
            first = 1;
            is_key = v->type == TAPE_OBJECT;
            continue;
        } else {
            sbuf_add(out, data_tape_raw(t, i - 1));
        }
        is_key = depth && object[depth - 1] ? !key_here : 0;
    }
}
