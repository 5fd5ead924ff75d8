/* The rules by which an output is right. Bytes with a length: a NUL is a byte like any other. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rewards/code.h"

static int is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static int next_token(struct str *s, struct str *tok)
{
    int64_t i = 0, j;
    while (i < s->n && is_space(s->p[i]))
        i++;
    for (j = i; j < s->n && !is_space(s->p[j]); j++)
        continue;
    *tok = str_sub(*s, i, j);
    *s = str_sub(*s, j, s->n);
    return tok->n > 0;
}

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }

static int same_text(struct str a, struct str b, int case_sensitive)
{
    if (a.n != b.n)
        return 0;
    if (case_sensitive)
        return !memcmp(a.p, b.p, (size_t)a.n);
    for (int64_t i = 0; i < a.n; i++)
        if (lower(a.p[i]) != lower(b.p[i]))
            return 0;
    return 1;
}

/* [+-] digits [. digits] [e [+-] digits], or inf. Returns 0 for anything else, NaN and hex included. */
static int plain_number(struct str s, double *out)
{
    char buf[400];
    int64_t i = 0, digits = 0;
    if (s.n == 0 || s.n >= (int64_t)sizeof buf)
        return 0;
    memcpy(buf, s.p, (size_t)s.n);
    buf[s.n] = 0;
    if (buf[i] == '+' || buf[i] == '-')
        i++;
    if (same_text(str_of(buf + i), STR("inf"), 0) || same_text(str_of(buf + i), STR("infinity"), 0)) {
        *out = buf[0] == '-' ? -INFINITY : INFINITY;
        return 1;
    }
    for (; buf[i] >= '0' && buf[i] <= '9'; i++)
        digits++;
    if (buf[i] == '.')
        for (i++; buf[i] >= '0' && buf[i] <= '9'; i++)
            digits++;
    if (!digits)
        return 0;
    if (buf[i] == 'e' || buf[i] == 'E') {
        int64_t exp = 0;
        i += buf[i + 1] == '+' || buf[i + 1] == '-' ? 2 : 1;
        for (; buf[i] >= '0' && buf[i] <= '9'; i++)
            exp++;
        if (!exp)
            return 0;
    }
    if (i != s.n)
        return 0;
    *out = strtod(buf, NULL);
    return 1;
}

static int same_number(const struct code_compare *c, double want, double got)
{
    double d = fabs(want - got);
    if (isinf(want) || isinf(got))
        return want == got;
    return want == got || d <= c->abs_tol || d <= c->rel_tol * fabs(want);
}

static int by_tokens(const struct code_compare *c, struct str want, struct str got)
{
    struct str a, b;
    double x, y;
    for (;;) {
        int more_a = next_token(&want, &a), more_b = next_token(&got, &b);
        if (!more_a || !more_b)
            return more_a == more_b;
        if (same_text(a, b, c->case_sensitive))
            continue;
        if (c->mode != CODE_COMPARE_float || !plain_number(a, &x) || !plain_number(b, &y) || !same_number(c, x, y))
            return 0;
    }
}

static int next_line(struct str *s, struct str *line)
{
    const char *nl = s->n ? memchr(s->p, '\n', (size_t)s->n) : NULL;
    int64_t end = nl ? nl - s->p : s->n;
    if (s->n == 0)
        return 0;
    *line = str_sub(*s, 0, end);
    *s = str_sub(*s, nl ? end + 1 : end, s->n);
    while (line->n && is_space(line->p[line->n - 1]))
        line->n--;
    return 1;
}

static struct str without_end(struct str s)
{
    while (s.n && is_space(s.p[s.n - 1]))
        s.n--;
    return s;
}

static int by_lines(const struct code_compare *c, struct str want, struct str got)
{
    struct str a, b;
    want = without_end(want);
    got = without_end(got);
    for (;;) {
        int more_a = next_line(&want, &a), more_b = next_line(&got, &b);
        if (!more_a || !more_b)
            return more_a == more_b;
        if (!same_text(a, b, c->case_sensitive))
            return 0;
    }
}

static int cmp_line(const void *a, const void *b) { return str_cmp(*(const struct str *)a, *(const struct str *)b); }

static struct str *sorted_lines(struct str s, int64_t *n)
{
    int64_t cap = 1;
    struct str line;
    s = without_end(s);
    for (int64_t i = 0; i < s.n; i++)
        cap += s.p[i] == '\n';
    struct str *out = malloc((size_t)cap * sizeof *out);
    if (!out)
        BUG("out of memory");
    for (*n = 0; next_line(&s, &line);)
        out[(*n)++] = line;
    qsort(out, (size_t)*n, sizeof *out, cmp_line);
    return out;
}

static int unordered(struct str want, struct str got)
{
    int64_t n, m;
    struct str *a = sorted_lines(want, &n), *b = sorted_lines(got, &m);
    int same = n == m;
    for (int64_t i = 0; same && i < n; i++)
        same = same_text(a[i], b[i], 1);
    free(a);
    free(b);
    return same;
}

int code_compare(const struct code_compare *c, struct str expected, struct str got)
{
    switch (c->mode) {
    case CODE_COMPARE_exact: return str_eq(expected, got);
    case CODE_COMPARE_lines: return by_lines(c, expected, got);
    case CODE_COMPARE_unordered: return unordered(expected, got);
    default: return c->space_sensitive ? by_lines(c, expected, got) : by_tokens(c, expected, got);
    }
}

static err_code parse_flags(struct str flags, struct code_compare *c, struct err *e)
{
    struct str tok, value;
    while (next_token(&flags, &tok)) {
        double *a = NULL, *b = NULL, x;
        if (str_eq(tok, STR("case_sensitive")))
            c->case_sensitive = 1;
        else if (str_eq(tok, STR("space_change_sensitive")))
            c->space_sensitive = 1;
        else if (str_eq(tok, STR("float_tolerance")))
            a = &c->abs_tol, b = &c->rel_tol;
        else if (str_eq(tok, STR("float_absolute_tolerance")))
            a = &c->abs_tol;
        else if (str_eq(tok, STR("float_relative_tolerance")))
            a = &c->rel_tol;
        else
            return err_set(e, ERR_DATA, "unknown compare flag '%.*s'", STR_ARG(tok));
        if (!a)
            continue;
        if (!next_token(&flags, &value) || !plain_number(value, &x) || x < 0)
            return err_set(e, ERR_DATA, "compare flag '%.*s' needs a number", STR_ARG(tok));
        *a = x;
        if (b)
            *b = x;
        c->mode = CODE_COMPARE_float;
    }
    return ERR_OK;
}

err_code code_compare_parse(const json_t *o, struct code_compare *c, struct err *e)
{
    static const char *const names[] = {
#define X(name, text) #name,
        CODE_COMPARE(X)
#undef X
    };
    struct str mode = STR("tokens"), flags = {NULL, 0};
    double tol = -1;
    int i = 0;
    *c = (struct code_compare){0};
    if (!o || json_is_null(o))
        return ERR_OK;
    TRY(json_opt_str(o, "mode", &mode, e));
    TRY(json_opt_str(o, "flags", &flags, e));
    TRY(json_opt_str(o, "checker", &c->checker, e));
    TRY(json_opt_f64(o, "tol", &tol, e));
    while (i < CODE_COMPARE_N && !str_eq(mode, str_of(names[i])))
        i++;
    if (i == CODE_COMPARE_N)
        return err_set(e, ERR_DATA, "unknown compare mode '%.*s'; known: tokens float lines unordered exact checker", STR_ARG(mode));
    c->mode = (enum code_compare_mode)i;
    if (c->mode == CODE_COMPARE_checker && !c->checker.n)
        return err_set(e, ERR_DATA, "compare mode 'checker' needs the checker's source");
    TRY(parse_flags(flags, c, e));
    if (c->mode == CODE_COMPARE_float && c->abs_tol == 0 && c->rel_tol == 0)
        c->abs_tol = c->rel_tol = tol >= 0 ? tol : 1e-6;
    return ERR_OK;
}
