/* The % operator and str.format, with the format mini-language. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "text/tmpl.h"

struct spec {
    uint32_t fill;
    char align, sign, type, group;
    int alt, zero;
    int64_t width, precision; /* -1 = none */
};

enum { MAX_PRECISION = 1000, MAX_WIDTH = 1 << 20 };

static void pad(struct build *b, uint32_t fill, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        tmpl_b_cp(b, fill);
}

/* sign, prefix and digits, padded. '=' puts the padding between prefix and digits. */
static void put_number(struct build *b, const struct spec *s, struct str sign, struct str prefix, struct str digits)
{
    int64_t n = sign.n + prefix.n + digits.n, room = s->width > n ? s->width - n : 0;
    char align = s->align ? s->align : s->zero ? '=' : '>';
    int64_t left = align == '>' ? room : align == '^' ? room / 2 : 0;
    pad(b, s->fill, left);
    tmpl_b_bytes(b, sign.p, sign.n);
    tmpl_b_bytes(b, prefix.p, prefix.n);
    if (align == '=')
        pad(b, s->zero && !s->align ? '0' : s->fill, room);
    tmpl_b_bytes(b, digits.p, digits.n);
    if (align == '<' || align == '^')
        pad(b, s->fill, room - left);
}

/* Thousands separators in the integer part of digits. */
static err_code group(struct tmpl_run *r, struct str digits, char sep, int every, struct val *out)
{
    struct build b;
    int64_t whole = 0;
    tmpl_b_init(&b, r);
    while (whole < digits.n && ((digits.p[whole] >= '0' && digits.p[whole] <= '9') || (every == 4 && (digits.p[whole] | 32) >= 'a')))
        whole++;
    for (int64_t i = 0; i < whole; i++) {
        if (i && (whole - i) % every == 0)
            tmpl_b_bytes(&b, &sep, 1);
        tmpl_b_bytes(&b, digits.p + i, 1);
    }
    tmpl_b_bytes(&b, digits.p + whole, digits.n - whole);
    return tmpl_b_end(&b, out);
}

static err_code int_digits(struct tmpl_run *r, struct val v, int base, struct val *out)
{
    struct build b;
    char buf[80];
    tmpl_b_init(&b, r);
    if (v.tag == T_BIG) {
        struct big *abs;
        abs = tmpl_mem(r, (int64_t)sizeof *abs + v.big->n * 8);
        if (!abs)
            return tmpl_full(r);
        tmpl_copy(abs, v.big, sizeof *abs + (size_t)v.big->n * 8);
        abs->neg = 0;
        TRY(tmpl_big_text(r, &b, (struct val){.tag = T_BIG, .big = abs}, base));
    } else {
        uint64_t u = v.i < 0 ? 0 - (uint64_t)v.i : (uint64_t)v.i;
        int at = (int)sizeof buf;
        do
            buf[--at] = "0123456789abcdef"[u % (uint64_t)base];
        while (u /= (uint64_t)base);
        tmpl_b_bytes(&b, buf + at, (int64_t)sizeof buf - at);
    }
    return tmpl_b_end(&b, out);
}

static void upper(struct str s)
{
    for (int64_t i = 0; i < s.n; i++)
        if (s.p[i] >= 'a' && s.p[i] <= 'z')
            ((char *)s.p)[i] -= 32;
}

static struct str sign_of(const struct spec *s, int neg)
{
    return neg ? STR("-") : s->sign == '+' ? STR("+") : s->sign == ' ' ? STR(" ") : STR("");
}

static err_code put_int(struct tmpl_run *r, struct build *b, struct val v, const struct spec *s, int percent)
{
    int base = s->type == 'x' || s->type == 'X' ? 16 : s->type == 'o' ? 8 : s->type == 'b' ? 2 : 10;
    int neg = v.tag == T_BIG ? v.big->neg : v.i < 0;
    struct val digits;
    struct str d, prefix = STR("");
    TRY(int_digits(r, v, base, &digits));
    FLAT(r, &digits, d);
    if (s->type == 'X')
        upper(d);
    if (percent && s->precision > d.n) {
        struct build z;
        tmpl_b_init(&z, r);
        pad(&z, '0', s->precision - d.n);
        tmpl_b_val(&z, digits);
        TRY(tmpl_b_end(&z, &digits));
        FLAT(r, &digits, d);
    }
    if (s->group) {
        TRY(group(r, d, s->group, base == 10 ? 3 : 4, &digits));
        FLAT(r, &digits, d);
    }
    if (s->alt && base != 10)
        prefix = s->type == 'x' ? STR("0x") : s->type == 'X' ? STR("0X") : s->type == 'o' ? STR("0o") : STR("0b");
    put_number(b, s, sign_of(s, neg), prefix, d);
    return ERR_OK;
}

/* Digits of |f| as type e, f, g, n, % or repr (0) wants them, without the sign. */
static err_code float_digits(struct tmpl_run *r, double f, const struct spec *s, struct str *out)
{
    enum { ROOM = 1500 };
    char *buf, fmt[16], rep[40];
    MEM(r, buf, ROOM);
    int64_t p = s->precision < 0 ? 6 : s->precision;
    char t = s->type;
    if (p > MAX_PRECISION)
        return tmpl_limit(r, "precision");
    if (t == '%')
        f *= 100, t = 'f';
    if (t == 'n')
        t = 'g';
    if (!t) { /* like repr, or like g with at least one digit behind the point */
        if (s->precision < 0) {
            tmpl_float_repr(f, rep);
            snprintf(buf, ROOM, "%s", rep);
        } else {
            snprintf(buf, ROOM, "%.*g", (int)(p ? p : 1), f);
            if (!strpbrk(buf, ".en"))
                snprintf(buf + strlen(buf), 4, ".0");
        }
    } else {
        snprintf(fmt, sizeof fmt, "%%%s.*%c", s->alt ? "#" : "", t);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(buf, ROOM, fmt, (int)p, f);
#pragma GCC diagnostic pop
    }
    if (s->type == '%')
        snprintf(buf + strlen(buf), 4, "%%");
    *out = (struct str){buf, (int64_t)strlen(buf)};
    return ERR_OK;
}

static err_code put_float(struct tmpl_run *r, struct build *b, double f, const struct spec *s)
{
    struct str d;
    struct val grouped;
    TRY(float_digits(r, fabs(f), s, &d));
    if (s->group) {
        TRY(group(r, d, s->group, 3, &grouped));
        FLAT(r, &grouped, d);
    }
    put_number(b, s, sign_of(s, signbit(f) && !isnan(f)), STR(""), d);
    return ERR_OK;
}

static err_code put_text(struct tmpl_run *r, struct build *b, struct val v, const struct spec *s)
{
    struct str t;
    FLAT(r, &v, t);
    int ascii = v.flags & VF_ASCII;
    int64_t n = tmpl_len_cp(t, ascii);
    if (s->precision >= 0 && s->precision < n) {
        TRY(tmpl_cut(r, v, 0, ascii ? s->precision : tmpl_cp_to_byte(t, s->precision), &v));
        n = s->precision;
    }
    int64_t room = s->width > n ? s->width - n : 0, left = s->align == '>' ? room : s->align == '^' ? room / 2 : 0;
    pad(b, s->fill, left);
    tmpl_b_val(b, v);
    pad(b, s->fill, room - left);
    return ERR_OK;
}

/* ---- % --------------------------------------------------------------------------------------- */

struct percent {
    struct tmpl_run *r;
    struct val arg, fmt;
    int64_t at;  /* next positional argument */
    int mapping, used;
};

static err_code next_arg(struct percent *p, struct val *out)
{
    if (p->arg.tag == T_TUPLE) {
        if (p->at >= p->arg.seq->n)
            return tmpl_fail(p->r, "TypeError", "not enough arguments for format string");
        *out = p->arg.seq->at[p->at++];
        return ERR_OK;
    }
    if (p->at++ > 0)
        return tmpl_fail(p->r, "TypeError", "not enough arguments for format string");
    *out = p->arg;
    return ERR_OK;
}

static int64_t digits_at(struct str f, int64_t *i)
{
    int64_t v = 0;
    for (; *i < f.n && f.p[*i] >= '0' && f.p[*i] <= '9'; ++*i)
        v = v < MAX_WIDTH ? v * 10 + (f.p[*i] - '0') : v;
    return v;
}

static err_code width_at(struct percent *p, struct str f, int64_t *i, int64_t *out)
{
    struct val v;
    if (*i < f.n && f.p[*i] == '*') {
        ++*i;
        TRY(next_arg(p, &v));
        if (v.tag != T_INT)
            return tmpl_fail(p->r, "TypeError", "* wants int");
        *out = v.i;
    } else {
        *out = digits_at(f, i);
    }
    return *out > MAX_WIDTH ? tmpl_limit(p->r, "format width") : ERR_OK;
}

static err_code number_arg(struct percent *p, char type, struct val *v)
{
    if (v->tag == T_UNDEF)
        return tmpl_undef(p->r, *v);
    if (!tmpl_is_num(*v))
        return tmpl_fail(p->r, "TypeError", "%%%c format: a real number is required, not %s", type, tmpl_type(*v));
    if (v->tag == T_FLOAT) {
        if (type != 'd' && type != 'i' && type != 'u')
            return tmpl_fail(p->r, "TypeError", "%%%c format: an integer is required, not float", type);
        return tmpl_float_to_int(p->r, v->f, v);
    }
    return ERR_OK;
}

/* ascii(v) */
static err_code repr_text(struct tmpl_run *r, struct val v, int ascii, struct val *out)
{
    struct build b;
    struct str s;
    char buf[12];
    int n;
    tmpl_b_init(&b, r);
    TRY(tmpl_repr(r, &b, v));
    TRY(tmpl_b_end(&b, out));
    if (!ascii || (out->flags & VF_ASCII))
        return ERR_OK;
    FLAT(r, out, s);
    tmpl_b_init(&b, r);
    tmpl_b_from(&b, *out);
    for (int64_t i = 0; i < s.n; i += n) {
        uint32_t cp = tmpl_wtf8(s, i, &n);
        if (cp < 0x80)
            tmpl_b_bytes(&b, s.p + i, 1);
        else
            tmpl_b_bytes(&b, buf, snprintf(buf, sizeof buf, cp < 0x100 ? "\\x%02x" : cp < 0x10000 ? "\\u%04x" : "\\U%08x", cp));
    }
    return tmpl_b_end(&b, out);
}

static err_code percent_text(struct percent *p, struct build *b, char type, struct val v, const struct spec *s)
{
    struct tmpl_run *r = p->r;
    if (type == 's') {
        TRY(p->fmt.flags & VF_SAFE ? tmpl_escape(r, v, &v) : tmpl_str(r, v, &v));
    } else {
        TRY(repr_text(r, v, type == 'a', &v));
        if (p->fmt.flags & VF_SAFE)
            TRY(tmpl_escape(r, v, &v));
    }
    return put_text(r, b, v, s);
}

static err_code percent_char(struct percent *p, struct build *b, struct val v, const struct spec *s)
{
    char buf[4];
    if (v.tag == T_STR) {
        int64_t n;
        TRY(tmpl_len(p->r, v, &n));
        if (n == 1)
            return put_text(p->r, b, v, s);
    } else if (v.tag == T_INT && v.i >= 0 && v.i < 0x110000) {
        struct build x;
        tmpl_b_init(&x, p->r);
        tmpl_b_bytes(&x, buf, utf8_encode((uint32_t)v.i, buf));
        TRY(tmpl_b_end(&x, &v));
        return put_text(p->r, b, v, s);
    }
    return tmpl_fail(p->r, "TypeError", "%%c requires int or char");
}

static err_code percent_item(struct percent *p, struct build *b, struct str f, int64_t *i)
{
    struct spec s = {.fill = ' ', .align = 0, .precision = -1};
    struct tmpl_run *r = p->r;
    struct val v = {0};
    int keyed = 0;
    if (*i < f.n && f.p[*i] == '(') {
        int64_t from = ++*i, depth = 1;
        for (; *i < f.n && depth; ++*i)
            depth += f.p[*i] == '(' ? 1 : f.p[*i] == ')' ? -1 : 0;
        if (depth)
            return tmpl_fail(r, "ValueError", "incomplete format key");
        if (!p->mapping)
            return tmpl_fail(r, "TypeError", "format requires a mapping");
        struct val key = tmpl_view(f.p + from, *i - 1 - from);
        TRY(p->arg.tag == T_DICT ? tmpl_dict_get(r, p->arg.dict, key, &v) : tmpl_getitem(r, p->arg, key, &v));
        if (v.tag == T_MISSING || p->arg.tag != T_DICT)
            return tmpl_fail(r, "KeyError", "'%.*s'", (int)key.n, key.s);
        keyed = p->used = 1;
    }
    for (; *i < f.n && f.p[*i] && strchr("#0- +", f.p[*i]); ++*i) {
        char c = f.p[*i];
        s.alt |= c == '#';
        s.zero |= c == '0';
        s.align = c == '-' ? '<' : s.align;
        s.sign = c == '+' || (c == ' ' && s.sign != '+') ? c : s.sign;
    }
    TRY(width_at(p, f, i, &s.width));
    if (s.width < 0)
        s.align = '<', s.width = -s.width;
    if (*i < f.n && f.p[*i] == '.') {
        ++*i;
        TRY(width_at(p, f, i, &s.precision));
        s.precision = s.precision < 0 ? 0 : s.precision;
    }
    while (*i < f.n && (f.p[*i] == 'h' || f.p[*i] == 'l' || f.p[*i] == 'L'))
        ++*i;
    if (*i >= f.n)
        return tmpl_fail(r, "ValueError", "incomplete format");
    char t = f.p[(*i)++];
    if (t == '%')
        return tmpl_b_adds(b, "%"), ERR_OK;
    if (!keyed)
        TRY(next_arg(p, &v));
    s.type = t;
    if (s.align == '<')
        s.zero = 0;
    if (t == 's' || t == 'r' || t == 'a') {
        s.align = s.align ? s.align : '>';
        return percent_text(p, b, t, v, &s);
    }
    if (t == 'c') {
        s.align = s.align ? s.align : '>';
        return percent_char(p, b, v, &s);
    }
    if (strchr("diuoxX", t)) {
        TRY(number_arg(p, t, &v));
        return put_int(r, b, v, &s, 1);
    }
    if (strchr("eEfFgG", t)) {
        double d;
        if (!tmpl_is_num(v))
            return v.tag == T_UNDEF ? tmpl_undef(r, v) : tmpl_fail(r, "TypeError", "must be real number, not %s", tmpl_type(v));
        TRY(tmpl_to_float(r, v, &d));
        return put_float(r, b, d, &s);
    }
    return tmpl_fail(r, "ValueError", "unsupported format character '%c' (0x%x) at index %lld", t, (unsigned)(unsigned char)t, (long long)(*i - 1));
}

err_code tmpl_percent(struct tmpl_run *r, struct val fmt, struct val arg, struct val *out)
{
    struct percent p = {.r = r, .arg = arg, .fmt = fmt};
    struct build b;
    struct str f;
    struct val part;
    int64_t from = 0;
    p.mapping = arg.tag == T_DICT || arg.tag == T_LIST || arg.tag == T_RANGE;
    FLAT(r, &fmt, f);
    tmpl_b_init(&b, r);
    for (int64_t i = 0; i < f.n;) {
        if (f.p[i] != '%') {
            i++;
            continue;
        }
        TRY(tmpl_cut(r, fmt, from, i, &part));
        tmpl_b_val(&b, part);
        i++;
        TRY(percent_item(&p, &b, f, &i));
        from = i;
    }
    TRY(tmpl_cut(r, fmt, from, f.n, &part));
    tmpl_b_val(&b, part);
    if (arg.tag == T_TUPLE ? p.at < arg.seq->n : p.at == 0 && !p.mapping)
        return tmpl_fail(r, "TypeError", "not all arguments converted during string formatting");
    TRY(tmpl_b_end(&b, out));
    out->flags |= fmt.flags & VF_SAFE;
    return ERR_OK;
}

/* ---- str.format -------------------------------------------------------------------------------- */

static int is_align(uint32_t c)
{
    return c == '<' || c == '>' || c == '^' || c == '=';
}

static err_code parse_spec(struct tmpl_run *r, struct str f, struct spec *s)
{
    int n = 0, n2 = 0;
    int64_t i = 0;
    *s = (struct spec){.fill = ' ', .precision = -1};
    uint32_t first = f.n ? tmpl_wtf8(f, 0, &n) : 0, second = f.n > n ? tmpl_wtf8(f, n, &n2) : 0;
    if (f.n > n && is_align(second)) {
        s->fill = first;
        s->align = (char)second;
        i = n + n2;
    } else if (f.n && is_align(first)) {
        s->align = (char)first;
        i = 1;
    }
    if (i < f.n && (f.p[i] == '+' || f.p[i] == '-' || f.p[i] == ' '))
        s->sign = f.p[i++];
    if (i < f.n && f.p[i] == '#')
        s->alt = 1, i++;
    if (i < f.n && f.p[i] == '0') {
        i++;
        if (!s->align)
            s->zero = 1;
        if (s->fill == ' ' && s->align)
            s->fill = '0';
    }
    s->width = digits_at(f, &i);
    if (i < f.n && (f.p[i] == ',' || f.p[i] == '_'))
        s->group = f.p[i++];
    if (i < f.n && f.p[i] == '.') {
        int64_t from = ++i;
        s->precision = digits_at(f, &i);
        if (i == from)
            return tmpl_fail(r, "ValueError", "Format specifier missing precision");
    }
    if (i < f.n)
        s->type = f.p[i++];
    if (i < f.n)
        return tmpl_fail(r, "ValueError", "Invalid format specifier");
    return s->width >= MAX_WIDTH ? tmpl_limit(r, "format width") : ERR_OK;
}

err_code tmpl_format_value(struct tmpl_run *r, struct build *b, struct val v, struct str spec)
{
    struct spec s;
    struct val text;
    double d;
    if (spec.n == 0) {
        TRY(tmpl_str(r, v, &text));
        tmpl_b_val(b, text);
        return ERR_OK;
    }
    if (v.tag == T_UNDEF)
        return tmpl_fail(r, "TypeError", "unsupported format string passed to Undefined.__format__");
    TRY(parse_spec(r, spec, &s));
    if (v.tag == T_STR) {
        if ((s.type && s.type != 's') || s.align == '=' || s.sign || s.group)
            return tmpl_fail(r, "ValueError", "Unknown format code '%c' for object of type 'str'", s.type ? s.type : '=');
        if (s.zero)
            s.fill = '0';
        return put_text(r, b, v, &s);
    }
    if (!tmpl_is_num(v))
        return tmpl_fail(r, "TypeError", "unsupported format string passed to %s.__format__", tmpl_type(v));
    if (v.tag != T_FLOAT && (!s.type || strchr("dxXobn", s.type))) {
        if (s.precision >= 0)
            return tmpl_fail(r, "ValueError", "Precision not allowed in integer format specifier");
        return put_int(r, b, v, &s, 0);
    }
    if (v.tag != T_FLOAT && s.type == 'c') {
        struct build x;
        tmpl_b_init(&x, r);
        if (v.tag == T_BIG || v.i < 0 || v.i > 0x10FFFF)
            return tmpl_fail(r, "OverflowError", "%%c arg not in range(0x110000)");
        tmpl_b_cp(&x, (uint32_t)v.i);
        TRY(tmpl_b_end(&x, &text));
        return put_text(r, b, text, &s);
    }
    if (s.type && !strchr("eEfFgGn%", s.type))
        return tmpl_fail(r, "ValueError", "Unknown format code '%c' for object of type '%s'", s.type, tmpl_type(v));
    TRY(tmpl_to_float(r, v, &d));
    return put_float(r, b, d, &s);
}

struct formatter {
    struct tmpl_run *r;
    const struct args *in;
    struct val fmt;
    int64_t next; /* automatic number; -1 after a manual one */
};

static err_code field_root(struct formatter *m, struct str name, struct val *out)
{
    int64_t i;
    if (name.n == 0 || str_to_i64(name, &i)) {
        if ((name.n == 0) != (m->next >= 0) && m->next != 0)
            return tmpl_fail(m->r, "ValueError", name.n ? "cannot switch from automatic field numbering to manual field specification"
                                                        : "cannot switch from manual field specification to automatic field numbering");
        if (name.n == 0)
            i = m->next++;
        else
            m->next = -1;
        if (i < 0 || i >= m->in->n)
            return tmpl_fail(m->r, "IndexError", "Replacement index %lld out of range for positional args tuple", (long long)i);
        *out = m->in->pos[i];
        return ERR_OK;
    }
    for (int k = 0; k < m->in->nkw; k++)
        if (str_eq(m->in->kw[k].k, name))
            return *out = m->in->kw[k].v, ERR_OK;
    return tmpl_fail(m->r, "KeyError", "'%.*s'", STR_ARG(name));
}

static err_code field_value(struct formatter *m, struct str f, struct val *out)
{
    int64_t i = 0, from, index;
    while (i < f.n && f.p[i] != '.' && f.p[i] != '[')
        i++;
    TRY(field_root(m, str_sub(f, 0, i), out));
    while (i < f.n) {
        if (f.p[i] == '.') {
            for (from = ++i; i < f.n && f.p[i] != '.' && f.p[i] != '['; i++)
                ;
            TRY(tmpl_getattr(m->r, *out, str_sub(f, from, i), out));
        } else {
            for (from = ++i; i < f.n && f.p[i] != ']'; i++)
                ;
            if (i >= f.n)
                return tmpl_fail(m->r, "ValueError", "Missing ']' in format string");
            struct str key = str_sub(f, from, i++);
            TRY(tmpl_getitem(m->r, *out, str_to_i64(key, &index) ? v_int(index) : tmpl_view(key.p, key.n), out));
        }
    }
    return ERR_OK;
}

static err_code format_into(struct formatter *m, struct build *b, struct val fmt, int depth);

static err_code field(struct formatter *m, struct build *b, struct str f)
{
    struct tmpl_run *r = m->r;
    int64_t end = 0, brackets = 0;
    struct val v, spec = v_lit("");
    struct str spec_text;
    char conv = 0;
    while (end < f.n && (brackets || (f.p[end] != '!' && f.p[end] != ':'))) {
        brackets += f.p[end] == '[' ? 1 : f.p[end] == ']' ? -1 : 0;
        end++;
    }
    TRY(field_value(m, str_sub(f, 0, end), &v));
    if (end < f.n && f.p[end] == '!') {
        if (end + 1 >= f.n || (end + 2 < f.n && f.p[end + 2] != ':'))
            return tmpl_fail(r, "ValueError", "expected ':' after conversion specifier");
        conv = f.p[end + 1];
        end += 2;
    }
    if (end < f.n) {
        struct build x;
        tmpl_b_init(&x, r);
        TRY(format_into(m, &x, tmpl_view(f.p + end + 1, f.n - end - 1), 1));
        TRY(tmpl_b_end(&x, &spec));
    }
    if (conv == 'r' || conv == 'a') {
        TRY(repr_text(r, v, conv == 'a', &v));
    } else if (conv == 's') {
        TRY(tmpl_str(r, v, &v));
    } else if (conv) {
        return tmpl_fail(r, "ValueError", "Unknown conversion specifier '%c'", conv);
    }
    FLAT(r, &spec, spec_text);
    if (m->fmt.flags & VF_SAFE) {
        struct build x;
        tmpl_b_init(&x, r);
        TRY(tmpl_format_value(r, &x, v, spec_text));
        TRY(tmpl_b_end(&x, &spec));
        spec.flags |= v.tag == T_STR ? v.flags & VF_SAFE : 0;
        TRY(tmpl_escape(r, spec, &v));
        tmpl_b_val(b, v);
        return ERR_OK;
    }
    return tmpl_format_value(r, b, v, spec_text);
}

static err_code format_into(struct formatter *m, struct build *b, struct val fmt, int depth)
{
    struct tmpl_run *r = m->r;
    struct str f;
    struct val part;
    int64_t from = 0;
    FLAT(r, &fmt, f);
    for (int64_t i = 0; i < f.n; i++) {
        char c = f.p[i];
        if (c != '{' && c != '}')
            continue;
        TRY(tmpl_cut(r, fmt, from, i, &part));
        tmpl_b_val(b, part);
        if (i + 1 < f.n && f.p[i + 1] == c && !depth) {
            tmpl_b_bytes(b, &c, 1);
            from = ++i + 1;
            continue;
        }
        if (c == '}')
            return tmpl_fail(r, "ValueError", "Single '}' encountered in format string");
        int64_t end = i + 1, open = 1;
        for (; end < f.n && open; end++)
            open += f.p[end] == '{' ? 1 : f.p[end] == '}' ? -1 : 0;
        if (open)
            return tmpl_fail(r, "ValueError", i + 1 < f.n ? "expected '}' before end of string" : "Single '{' encountered in format string");
        if (depth > 1)
            return tmpl_fail(r, "ValueError", "Max string recursion exceeded");
        TRY(tmpl_deeper(r));
        TRY(field(m, b, str_sub(f, i + 1, end - 1)));
        r->depth--;
        from = end;
        i = end - 1;
    }
    TRY(tmpl_cut(r, fmt, from, f.n, &part));
    tmpl_b_val(b, part);
    return ERR_OK;
}

err_code tmpl_format(struct tmpl_run *r, struct val fmt, const struct args *in, struct val *out)
{
    struct formatter m = {.r = r, .in = in, .fmt = fmt};
    struct build b;
    tmpl_b_init(&b, r);
    TRY(format_into(&m, &b, fmt, 0));
    TRY(tmpl_b_end(&b, out));
    out->flags |= fmt.flags & VF_SAFE;
    return ERR_OK;
}
