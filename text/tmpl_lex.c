/* Jinja2's lexer: trim_blocks and lstrip_blocks on, one trailing newline of the source dropped. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/tmpl.h"

struct lex {
    struct tmpl *t;
    struct str s; /* newlines are \n */
    int64_t at;
    int line;
    int line_start; /* the text before `at` ends a line (or is the beginning) */
    struct token *tok;
    int n, cap;
    struct err *e;
    int depth;              /* open brackets inside a tag */
    char open[256];
};

static err_code lex_fail(struct lex *x, const char *fmt, const char *what)
{
    char msg[300];
    snprintf(msg, sizeof msg, fmt, what);
    return err_set(x->e, ERR_DATA, "%s:%d: TemplateSyntaxError: %s", x->t->name, x->line, msg);
}

static err_code push(struct lex *x, struct token k)
{
    if (x->n == x->cap) {
        int cap = x->cap ? x->cap * 2 : 256;
        struct token *p = ARENA_TRY(&x->t->mem, struct token, cap);
        if (!p)
            return err_set(x->e, ERR_LIMIT, "%s: template is too large", x->t->name);
        if (x->n)
            tmpl_copy(p, x->tok, sizeof *p * (size_t)x->n);
        x->tok = p;
        x->cap = cap;
    }
    x->tok[x->n++] = k;
    return ERR_OK;
}

static int space_at(const struct lex *x, int64_t at, int *n)
{
    if (at >= x->s.n)
        return 0;
    unsigned char c = (unsigned char)x->s.p[at];
    if (c < 0x80)
        return *n = 1, c == ' ' || (c >= '\t' && c <= '\r') || (c >= 0x1C && c <= 0x1F);
    uint32_t cp = tmpl_wtf8(x->s, at, n);
    return tmpl_uni_is(cp, UNI_SPACE);
}

/* Python's str.rstrip on s[from, to). */
static int64_t rstrip(const struct lex *x, int64_t from, int64_t to)
{
    while (to > from) {
        int64_t at = to - 1;
        int n;
        while (at > from && ((unsigned char)x->s.p[at] & 0xC0) == 0x80)
            at--;
        if (!space_at(x, at, &n) || at + n != to)
            break;
        to = at;
    }
    return to;
}

static void skip_space(struct lex *x)
{
    int n;
    while (space_at(x, x->at, &n)) {
        x->line += x->s.p[x->at] == '\n';
        x->at += n;
    }
}

static void count_lines(struct lex *x, int64_t from, int64_t to)
{
    for (int64_t i = from; i < to; i++)
        x->line += x->s.p[i] == '\n';
}

static int looking_at(const struct lex *x, int64_t at, const char *what)
{
    int64_t n = (int64_t)strlen(what);
    return at + n <= x->s.n && memcmp(x->s.p + at, what, (size_t)n) == 0;
}

/* Text before a tag at `end`, cut as its sign and lstrip_blocks ask. */
static err_code push_data(struct lex *x, int64_t begin, int64_t end, char sign, int variable)
{
    int64_t to = end;
    if (sign == '-') {
        to = rstrip(x, begin, end);
    } else if (sign != '+' && !variable) {
        int64_t bol = end;
        while (bol > begin && x->s.p[bol - 1] != '\n')
            bol--;
        if ((bol > begin || x->line_start) && rstrip(x, bol, end) == bol)
            to = bol;
    }
    err_code rc = ERR_OK;
    if (to > begin)
        rc = push(x, (struct token){.kind = K_DATA, .line = x->line, .text = {x->s.p + begin, to - begin}});
    count_lines(x, begin, end);
    return rc;
}

/* Consumes `-%}` with the white space behind, `+%}`, or `%}` with one newline (trim). 0: not there. */
static int take_end(struct lex *x, char c, int trim, int plus)
{
    char end[3] = {c, '}', 0};
    if (looking_at(x, x->at, "-") && looking_at(x, x->at + 1, end)) {
        x->at += 3;
        x->line_start = 0;
        int64_t from = x->at;
        skip_space(x);
        x->line_start = x->at > from && x->s.p[x->at - 1] == '\n';
        return 1;
    }
    int64_t skip = plus && looking_at(x, x->at, "+") && looking_at(x, x->at + 1, end) ? 3 : looking_at(x, x->at, end) ? 2 : 0;
    if (!skip)
        return 0;
    x->at += skip;
    x->line_start = 0;
    if (skip == 2 && trim && looking_at(x, x->at, "\n")) {
        x->at++;
        x->line++;
        x->line_start = 1;
    }
    return 1;
}

static err_code lex_comment(struct lex *x)
{
    int line = x->line;
    for (; x->at < x->s.n; x->at++) {
        if (take_end(x, '#', 1, 1))
            return ERR_OK;
        x->line += x->s.p[x->at] == '\n';
    }
    x->line = line;
    return lex_fail(x, "%s", "Missing end of comment tag");
}

/* `{% raw %}`: x->at is behind its sign. 1 when it was one. */
static int is_raw(struct lex *x)
{
    int64_t at = x->at;
    int line = x->line, n;
    while (space_at(x, at, &n))
        at += n;
    if (!looking_at(x, at, "raw"))
        return 0;
    int64_t from = x->at;
    at += 3;
    while (space_at(x, at, &n))
        at += n;
    if (!looking_at(x, at, "-%}") && !looking_at(x, at, "%}"))
        return 0;
    count_lines(x, from, at);
    x->at = at;
    if (take_end(x, '%', 0, 0))
        return 1;
    x->at = from;
    x->line = line;
    return 0;
}

static err_code lex_raw(struct lex *x)
{
    int64_t begin = x->at;
    for (int64_t at = begin; at < x->s.n; at++) {
        if (!looking_at(x, at, "{%"))
            continue;
        int64_t p = at + 2;
        char sign = p < x->s.n && (x->s.p[p] == '-' || x->s.p[p] == '+') ? x->s.p[p++] : 0;
        int n;
        while (space_at(x, p, &n))
            p += n;
        if (!looking_at(x, p, "endraw"))
            continue;
        p += 6;
        while (space_at(x, p, &n))
            p += n;
        if (!looking_at(x, p, "%}") && !looking_at(x, p, "-%}") && !looking_at(x, p, "+%}"))
            continue;
        TRY(push_data(x, begin, at, sign, 0));
        count_lines(x, at, p);
        x->at = p;
        take_end(x, '%', 1, 1);
        return ERR_OK;
    }
    return lex_fail(x, "%s", "Missing end of raw directive");
}

/* ---- inside tags --------------------------------------------------------------------------- */

static int digit_run(const struct lex *x, int64_t *at, const char *set)
{
    int64_t p = *at;
    int any = 0;
    while (p < x->s.n) {
        if (x->s.p[p] && strchr(set, x->s.p[p]))
            p++, any = 1;
        else if (x->s.p[p] == '_' && any && p + 1 < x->s.n && x->s.p[p + 1] && strchr(set, x->s.p[p + 1]))
            p++;
        else
            break;
    }
    *at = p;
    return any;
}

#define DEC "0123456789"

static int is_digit(const struct lex *x, int64_t at)
{
    return at < x->s.n && x->s.p[at] >= '0' && x->s.p[at] <= '9';
}

static int scan_float(const struct lex *x, int64_t *end)
{
    int64_t p = x->at;
    if (p > 0 && x->s.p[p - 1] == '.')
        return 0;
    if (!digit_run(x, &p, DEC))
        return 0;
    int frac = 0;
    if (p < x->s.n && x->s.p[p] == '.' && is_digit(x, p + 1)) {
        p++;
        digit_run(x, &p, DEC);
        frac = 1;
    }
    if (p < x->s.n && (x->s.p[p] | 32) == 'e') {
        int64_t q = p + 1;
        q += q < x->s.n && (x->s.p[q] == '+' || x->s.p[q] == '-');
        if (is_digit(x, q)) {
            digit_run(x, &q, DEC);
            p = q;
            frac = 1;
        }
    }
    *end = p;
    return frac;
}

static int scan_int(const struct lex *x, int64_t *end)
{
    static const struct {
        char letter;
        const char *set;
    } base[] = {{'b', "01"}, {'o', "01234567"}, {'x', "0123456789abcdefABCDEF"}};
    int64_t p = x->at;
    if (!is_digit(x, p))
        return 0;
    if (x->s.p[p] != '0') {
        digit_run(x, &p, DEC);
        return *end = p, 1;
    }
    for (int i = 0; i < 3 && p + 1 < x->s.n; i++)
        if ((x->s.p[p + 1] | 32) == base[i].letter) {
            int64_t q = p + 2;
            q += q < x->s.n && x->s.p[q] == '_';
            if (digit_run(x, &q, base[i].set))
                return *end = q, 1;
        }
    digit_run(x, &p, "0");
    return *end = p, 1;
}

static int name_char(struct lex *x, int64_t at, int *n, uint32_t *cp)
{
    if (at >= x->s.n)
        return 0;
    *cp = tmpl_wtf8(x->s, at, n);
    if (*cp < 0x80)
        return *cp == '_' || (*cp >= '0' && *cp <= '9') || ((*cp | 32) >= 'a' && (*cp | 32) <= 'z');
    return tmpl_uni_is(*cp, UNI_ALPHA) || tmpl_uni_is(*cp, UNI_NUMERIC);
}

static err_code lex_name(struct lex *x, int64_t end)
{
    int first = 1, n;
    for (int64_t at = x->at; at < end; at += n, first = 0) {
        uint32_t cp = tmpl_wtf8(x->s, at, &n);
        if (!tmpl_uni_is(cp, first ? UNI_XID_START : UNI_XID_CONTINUE) && cp != '_')
            return lex_fail(x, "%s", "Invalid character in identifier");
    }
    TRY(push(x, (struct token){.kind = K_NAME, .line = x->line, .text = {x->s.p + x->at, end - x->at}}));
    x->at = end;
    return ERR_OK;
}

static int hex_value(const char *p, int n, uint32_t *out)
{
    uint32_t v = 0;
    for (int i = 0; i < n; i++) {
        char c = p[i];
        int d = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
        if (d < 0)
            return 0;
        v = v << 4 | (uint32_t)d;
    }
    *out = v;
    return 1;
}

/* One escape behind a backslash at s[*i]; appends to out. 0: malformed. */
static int unescape_one(struct str s, int64_t *i, char *out, int *n)
{
    static const char from[] = "\\'\"abfnrtv", to[] = "\\'\"\a\b\f\n\r\t\v";
    char c = s.p[*i];
    const char *hit = c ? strchr(from, c) : NULL;
    *n = 0;
    if (c == '\n') {
        ++*i;
    } else if (hit) {
        out[(*n)++] = to[hit - from];
        ++*i;
    } else if (c >= '0' && c <= '7') {
        uint32_t v = 0;
        for (int k = 0; k < 3 && *i < s.n && s.p[*i] >= '0' && s.p[*i] <= '7'; k++)
            v = v * 8 + (uint32_t)(s.p[(*i)++] - '0');
        *n = utf8_encode(v, out);
    } else if (c == 'x' || c == 'u' || c == 'U') {
        int digits = c == 'x' ? 2 : c == 'u' ? 4 : 8;
        uint32_t v;
        if (*i + 1 + digits > s.n || !hex_value(s.p + *i + 1, digits, &v) || v > 0x10FFFF)
            return 0;
        *n = utf8_encode(v, out);
        *i += 1 + digits;
    } else if (c == 'N') {
        return 0;
    } else {
        out[(*n)++] = '\\';
    }
    return 1;
}

static err_code lex_string(struct lex *x)
{
    char q = x->s.p[x->at];
    int64_t end = x->at + 1;
    while (end < x->s.n && x->s.p[end] != q)
        end += x->s.p[end] == '\\' ? 2 : 1;
    if (end >= x->s.n)
        return lex_fail(x, "unexpected char %s", q == '"' ? "'\"'" : "\"'\"");
    struct str raw = {x->s.p + x->at + 1, end - x->at - 1}, text = raw;
    if (memchr(raw.p, '\\', (size_t)raw.n)) {
        char *p = ARENA_TRY(&x->t->mem, char, raw.n + 8);
        if (!p)
            return err_set(x->e, ERR_LIMIT, "%s: template is too large", x->t->name);
        text = (struct str){p, 0};
        for (int64_t i = 0; i < raw.n;) {
            int n = 1;
            if (raw.p[i] != '\\') {
                p[text.n] = raw.p[i++];
            } else {
                i++;
                if (!unescape_one(raw, &i, p + text.n, &n))
                    return lex_fail(x, "%s", "malformed or unsupported \\ escape in a string");
                x->t->surrogates |= n == 3 && (unsigned char)p[text.n] == 0xED; /* lone surrogates keep three bytes */
            }
            text.n += n;
        }
    }
    TRY(push(x, (struct token){.kind = K_STRING, .line = x->line, .text = text}));
    count_lines(x, x->at, end);
    x->at = end + 1;
    return ERR_OK;
}

static err_code lex_op(struct lex *x)
{
    static const char *const ops[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(",
                                      ")",  "{",  "}",  ">",  "<",  "=",  ".", ":", "|", ",", ";"};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        if (!looking_at(x, x->at, ops[i]))
            continue;
        char c = ops[i][0];
        if (c == '(' || c == '[' || c == '{') {
            if (x->depth == (int)sizeof x->open)
                return lex_fail(x, "%s", "brackets are nested too deep");
            x->open[x->depth++] = c == '(' ? ')' : c == '[' ? ']' : '}';
        } else if (c == ')' || c == ']' || c == '}') {
            char msg[2] = {c, 0};
            if (!x->depth)
                return lex_fail(x, "unexpected '%s'", msg);
            if (x->open[--x->depth] != c)
                return lex_fail(x, "unexpected '%s', brackets do not match", msg);
        }
        struct token k = {.kind = K_OP, .line = x->line};
        tmpl_copy(k.op, ops[i], strlen(ops[i]) + 1);
        x->at += (int64_t)strlen(ops[i]);
        return push(x, k);
    }
    int n = 1;
    tmpl_wtf8(x->s, x->at, &n);
    char shown[8] = {0};
    tmpl_copy(shown, x->s.p + x->at, (size_t)(n < 5 ? n : 4));
    return lex_fail(x, "unexpected char '%s'", shown);
}

static err_code lex_tag(struct lex *x, int variable)
{
    x->depth = 0;
    for (;;) {
        if (!x->depth) {
            int line = x->line;
            if (take_end(x, variable ? '}' : '%', !variable, !variable))
                return push(x, (struct token){.kind = variable ? K_VAR_END : K_BLOCK_END, .line = line});
        }
        if (x->at >= x->s.n)
            return lex_fail(x, "%s", variable ? "unexpected end of template, expected 'end of print statement'"
                                              : "unexpected end of template, expected 'end of statement block'");
        int64_t end;
        int n;
        uint32_t cp;
        char c = x->s.p[x->at];
        if (space_at(x, x->at, &n)) {
            skip_space(x);
        } else if (scan_float(x, &end) || scan_int(x, &end)) {
            int64_t unused;
            TRY(push(x, (struct token){.kind = scan_float(x, &unused) ? K_FLOAT : K_INT, .line = x->line, .text = {x->s.p + x->at, end - x->at}}));
            x->at = end;
        } else if (name_char(x, x->at, &n, &cp)) {
            for (end = x->at; name_char(x, end, &n, &cp); end += n)
                ;
            TRY(lex_name(x, end));
        } else if (c == '"' || c == '\'') {
            TRY(lex_string(x));
        } else {
            TRY(lex_op(x));
        }
    }
}

static err_code lex_root(struct lex *x)
{
    while (x->at < x->s.n) {
        int64_t begin = x->at, at = begin;
        while (at + 1 < x->s.n && !(x->s.p[at] == '{' && strchr("%{#", x->s.p[at + 1]) && x->s.p[at + 1]))
            at++;
        if (at + 1 >= x->s.n) {
            TRY(push(x, (struct token){.kind = K_DATA, .line = x->line, .text = {x->s.p + begin, x->s.n - begin}}));
            break;
        }
        char c = x->s.p[at + 1];
        int64_t p = at + 2;
        char sign = p < x->s.n && (x->s.p[p] == '-' || x->s.p[p] == '+') ? x->s.p[p++] : 0;
        TRY(push_data(x, begin, at, sign, c == '{'));
        x->at = p;
        if (c == '#') {
            TRY(lex_comment(x));
        } else if (c == '%' && is_raw(x)) {
            TRY(lex_raw(x));
        } else {
            TRY(push(x, (struct token){.kind = c == '{' ? K_VAR_BEGIN : K_BLOCK_BEGIN, .line = x->line}));
            TRY(lex_tag(x, c == '{'));
        }
    }
    return ERR_OK;
}

/* All line ends become \n, and one at the end goes. */
static err_code normalise(struct tmpl *t, struct str source, struct str *out, struct err *e)
{
    char *p = ARENA_TRY(&t->mem, char, source.n + 1);
    if (!p)
        return err_set(e, ERR_LIMIT, "%s: template is too large", t->name);
    int64_t n = 0;
    for (int64_t i = 0; i < source.n; i++) {
        char c = source.p[i];
        if (c == '\r') {
            c = '\n';
            i += i + 1 < source.n && source.p[i + 1] == '\n';
        }
        p[n++] = c;
    }
    n -= n && p[n - 1] == '\n';
    *out = (struct str){p, n};
    return ERR_OK;
}

err_code tmpl_lex(struct tmpl *t, struct str source, struct token **out, int *n, struct err *e)
{
    struct lex x = {.t = t, .line = 1, .line_start = 1, .e = e};
    int64_t bad = utf8_check(source);
    if (bad >= 0)
        return err_set(e, ERR_DATA, "%s: template is not UTF-8 at byte %lld", t->name, (long long)bad);
    TRY(normalise(t, source, &x.s, e));
    TRY(lex_root(&x));
    TRY(push(&x, (struct token){.kind = K_EOF, .line = x.line}));
    *out = x.tok;
    *n = x.n;
    return ERR_OK;
}
