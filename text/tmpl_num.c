/* Numbers with Python's rules: integers without bounds, shortest float text, arithmetic. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "text/tmpl.h"

int tmpl_is_num(struct val v)
{
    return v.tag >= T_BOOL && v.tag <= T_FLOAT;
}

static int is_int(struct val v)
{
    return v.tag >= T_BOOL && v.tag <= T_BIG;
}

err_code tmpl_to_float(struct tmpl_run *r, struct val v, double *out)
{
    int overflow = 0;
    *out = v.tag == T_FLOAT ? v.f : v.tag == T_BIG ? tmpl_big_double(v, &overflow) : (double)v.i;
    return overflow ? tmpl_fail(r, "OverflowError", "int too large to convert to float") : ERR_OK;
}

/* An integer against a float, exactly. */
static int cmp_int_float(struct val a, double f)
{
    if (a.tag == T_BIG) {
        int overflow;
        double d = tmpl_big_double(a, &overflow);
        return d < f ? -1 : d > f;
    }
    if (f >= 0x1p63)
        return -1;
    if (f < -0x1p63)
        return 1;
    int64_t t = (int64_t)f;
    if (a.i != t)
        return a.i < t ? -1 : 1;
    double frac = f - (double)t;
    return frac > 0 ? -1 : frac < 0;
}

int tmpl_num_cmp(struct tmpl_run *r, struct val a, struct val b, int *unordered)
{
    (void)r;
    *unordered = (a.tag == T_FLOAT && isnan(a.f)) || (b.tag == T_FLOAT && isnan(b.f));
    if (*unordered)
        return 0;
    if (a.tag == T_FLOAT && b.tag == T_FLOAT)
        return a.f < b.f ? -1 : a.f > b.f;
    if (a.tag == T_FLOAT)
        return -cmp_int_float(b, a.f);
    if (b.tag == T_FLOAT)
        return cmp_int_float(a, b.f);
    if (a.tag == T_BIG || b.tag == T_BIG)
        return tmpl_big_cmp(a, b);
    return a.i < b.i ? -1 : a.i > b.i;
}

/* ---- text ----------------------------------------------------------------------------------- */

/* Fewest digits that read back as f, and of those the nearest. "%.*e" gives the nearest for each
 * count; only at powers of two, where the gap below is half the gap above, can a farther neighbour
 * read back when the nearest does not. */
static void shortest(double f, char out[32])
{
    int e;
    int pow2 = frexp(f, &e) == 0.5;
    for (int digits = fabs(f) < 1e-300 ? 1 : 15; digits <= 17; digits++) {
        snprintf(out, 32, "%.*e", digits - 1, f);
        if (strtod(out, NULL) == f)
            return;
        if (pow2) {
            char up[32];
            tmpl_copy(up, out, 32);
            char *last = strchr(up, 'e') - 1;
            if (*last >= '0' && *last < '9') {
                ++*last;
                if (strtod(up, NULL) == f) {
                    tmpl_copy(out, up, 32);
                    return;
                }
            }
        }
    }
}

int tmpl_float_repr(double f, char buf[40])
{
    char sci[32], digits[24];
    int n = 0, at = 0;
    if (isnan(f))
        return snprintf(buf, 40, "nan");
    if (isinf(f))
        return snprintf(buf, 40, f < 0 ? "-inf" : "inf");
    if (signbit(f))
        buf[at++] = '-';
    f = fabs(f);
    if (f == 0)
        return at + snprintf(buf + at, (size_t)(40 - at), "0.0");
    shortest(f, sci);
    for (const char *p = sci; *p != 'e'; p++)
        if (*p != '.')
            digits[n++] = *p;
    while (n > 1 && digits[n - 1] == '0')
        n--;
    int exp = (int)strtol(strchr(sci, 'e') + 1, NULL, 10);
    if (exp < -4 || exp >= 16) {
        buf[at++] = digits[0];
        if (n > 1) {
            buf[at++] = '.';
            tmpl_copy(buf + at, digits + 1, (size_t)(n - 1));
            at += n - 1;
        }
        return at + snprintf(buf + at, (size_t)(40 - at), "e%c%02d", exp < 0 ? '-' : '+', abs(exp));
    }
    if (exp < 0) {
        at += snprintf(buf + at, (size_t)(40 - at), "0.%.*s", -exp - 1, "000");
        tmpl_copy(buf + at, digits, (size_t)n);
        at += n;
    } else {
        for (int i = 0; i <= exp || i < n; i++) {
            if (i == exp + 1)
                buf[at++] = '.';
            buf[at++] = i < n ? digits[i] : '0';
        }
        if (n <= exp + 1) {
            buf[at++] = '.';
            buf[at++] = '0';
        }
    }
    buf[at] = 0;
    return at;
}

err_code tmpl_num_text(struct tmpl_run *r, struct build *b, struct val v)
{
    char buf[40];
    if (v.tag == T_BIG)
        return tmpl_big_text(r, b, v, 10);
    if (v.tag == T_BOOL)
        tmpl_b_adds(b, v.i ? "True" : "False");
    else if (v.tag == T_FLOAT)
        tmpl_b_bytes(b, buf, tmpl_float_repr(v.f, buf));
    else
        tmpl_b_bytes(b, buf, snprintf(buf, sizeof buf, "%lld", (long long)v.i));
    return ERR_OK;
}

/* ---- reading -------------------------------------------------------------------------------- */

static struct str py_strip(struct str s)
{
    int n;
    while (s.n && tmpl_uni_is(tmpl_wtf8(s, 0, &n), UNI_SPACE))
        s.p += n, s.n -= n;
    while (s.n) {
        int64_t at = s.n - 1;
        while (at > 0 && ((unsigned char)s.p[at] & 0xC0) == 0x80)
            at--;
        if (!tmpl_uni_is(tmpl_wtf8(s, at, &n), UNI_SPACE))
            break;
        s.n = at;
    }
    return s;
}

/* Digits of any script become ASCII; underscores between digits go. 0: something else is in it. */
static int plain_digits(struct str s, int base, char *out, int64_t *n_out)
{
    int64_t n = 0;
    int n_cp, under = 1;
    for (int64_t i = 0; i < s.n; i += n_cp) {
        uint32_t cp = tmpl_wtf8(s, i, &n_cp);
        if (cp == '_') {
            if (under)
                return 0;
            under = 1;
            continue;
        }
        int d = tmpl_uni_digit_value(cp);
        if (d < 0 && cp < 0x80 && ((cp | 32) >= 'a' && (cp | 32) <= 'z'))
            d = (int)(cp | 32) - 'a' + 10;
        if (d < 0 || d >= base)
            return 0;
        out[n++] = "0123456789abcdefghijklmnopqrstuvwxyz"[d];
        under = 0;
    }
    *n_out = n;
    return n > 0 && !under;
}

err_code tmpl_int_of(struct tmpl_run *r, struct str s, int base, struct val *out, int *ok)
{
    char *digits;
    int neg = 0;
    *ok = 0;
    s = py_strip(s);
    if (s.n && (s.p[0] == '+' || s.p[0] == '-')) {
        neg = s.p[0] == '-';
        s.p++, s.n--;
    }
    if (s.n > 1 && s.p[0] == '0' && (base == 0 || base == 2 || base == 8 || base == 16)) {
        char c = (char)(s.p[1] | 32);
        int b = c == 'x' ? 16 : c == 'o' ? 8 : c == 'b' ? 2 : 0;
        if (b && (base == 0 || base == b)) {
            base = b;
            s.p += 2, s.n -= 2;
            if (s.n && s.p[0] == '_')
                s.p++, s.n--;
        }
    }
    int strict = base == 0;
    if (strict)
        base = 10;
    MEM(r, digits, s.n + 1);
    int64_t n;
    if (!plain_digits(s, base, digits, &n))
        return ERR_OK;
    if (strict && n > 1 && digits[0] == '0')
        for (int64_t i = 0; i < n; i++)
            if (digits[i] != '0')
                return ERR_OK;
    *ok = 1;
    return tmpl_int_digits(r, (struct str){digits, n}, base, neg, out);
}

int tmpl_float_of(struct str s, double *out)
{
    char buf[800], *end;
    int n = 0, n_cp, after_digit = 0;
    s = py_strip(s);
    if (s.n == 0 || s.n > 780)
        return 0;
    for (int64_t i = 0; i < s.n; i += n_cp) {
        uint32_t cp = tmpl_wtf8(s, i, &n_cp);
        int d = tmpl_uni_digit_value(cp);
        if (cp == '_') {
            if (!after_digit || i + 1 >= s.n || tmpl_uni_digit_value((unsigned char)s.p[i + 1]) < 0)
                return 0;
            continue;
        }
        after_digit = d >= 0;
        if (d < 0 && cp >= 0x80)
            return 0;
        buf[n++] = d >= 0 ? (char)('0' + d) : (char)cp;
    }
    buf[n] = 0;
    if (strpbrk(buf, "xXpP(")) /* C reads hex floats and nan(...), Python does not */
        return 0;
    *out = strtod(buf, &end);
    return *end == 0;
}

/* ---- arithmetic ----------------------------------------------------------------------------- */

static const char *op_text(enum node_kind op)
{
    switch (op) {
    case N_ADD: return "+";
    case N_SUB: return "-";
    case N_MUL: return "*";
    case N_DIV: return "/";
    case N_FLOORDIV: return "//";
    case N_MOD: return "%";
    default: return "** or pow()";
    }
}

static int64_t floor_div(int64_t a, int64_t b)
{
    int64_t q = a / b;
    return q - (a % b != 0 && (a < 0) != (b < 0));
}

static err_code int_arith(struct tmpl_run *r, enum node_kind op, struct val a, struct val b, struct val *out)
{
    int64_t v = 0;
    int big = a.tag == T_BIG || b.tag == T_BIG;
    if ((op == N_FLOORDIV || op == N_MOD) && !big) {
        if (b.i == 0)
            return tmpl_fail(r, "ZeroDivisionError", "integer division or modulo by zero");
        if (!(a.i == INT64_MIN && b.i == -1)) {
            int64_t q = floor_div(a.i, b.i);
            *out = v_int(op == N_MOD ? a.i - q * b.i : q);
            return ERR_OK;
        }
        big = 1;
    }
    if (!big && op != N_POW)
        big = op == N_ADD ? __builtin_add_overflow(a.i, b.i, &v) : op == N_SUB ? __builtin_sub_overflow(a.i, b.i, &v)
                                                                              : __builtin_mul_overflow(a.i, b.i, &v);
    if (!big && op != N_POW)
        return *out = v_int(v), ERR_OK;
    return tmpl_big_arith(r, op, a, b, out);
}

static err_code float_arith(struct tmpl_run *r, enum node_kind op, double a, double b, struct val *out)
{
    double mod, div;
    switch (op) {
    case N_ADD: *out = v_float(a + b); return ERR_OK;
    case N_SUB: *out = v_float(a - b); return ERR_OK;
    case N_MUL: *out = v_float(a * b); return ERR_OK;
    case N_DIV:
        if (b == 0)
            return tmpl_fail(r, "ZeroDivisionError", "float division by zero");
        *out = v_float(a / b);
        return ERR_OK;
    case N_POW: {
        if (a == 0 && b < 0)
            return tmpl_fail(r, "ZeroDivisionError", "0.0 cannot be raised to a negative power");
        if (a < 0 && isfinite(a) && isfinite(b) && b != floor(b))
            return tmpl_fail(r, "TypeError", "complex numbers are not supported");
        double p = pow(a, b);
        if (isinf(p) && isfinite(a) && isfinite(b))
            return tmpl_fail(r, "OverflowError", "(34, 'Numerical result out of range')");
        *out = v_float(p);
        return ERR_OK;
    }
    default: break;
    }
    if (b == 0)
        return tmpl_fail(r, "ZeroDivisionError", "float floor division by zero");
    mod = fmod(a, b);
    div = (a - mod) / b;
    if (mod != 0) {
        if ((b < 0) != (mod < 0)) {
            mod += b;
            div -= 1;
        }
    } else {
        mod = copysign(0.0, b);
    }
    double fl = div != 0 ? floor(div) : copysign(0.0, a / b);
    if (div != 0 && div - fl > 0.5)
        fl += 1;
    *out = v_float(op == N_MOD ? mod : fl);
    return ERR_OK;
}

static err_code num_arith(struct tmpl_run *r, enum node_kind op, struct val a, struct val b, struct val *out)
{
    double x, y;
    if (is_int(a) && is_int(b) && op != N_DIV) {
        int negative = b.tag == T_BIG ? b.big->neg : b.i < 0;
        if (op != N_POW || !negative)
            return int_arith(r, op, a, b, out);
    }
    TRY(tmpl_to_float(r, a, &x));
    TRY(tmpl_to_float(r, b, &y));
    if (op == N_DIV && is_int(a) && is_int(b) && y == 0)
        return tmpl_fail(r, "ZeroDivisionError", "division by zero");
    if (op == N_DIV && a.tag != T_BIG && b.tag != T_BIG && is_int(a) && is_int(b) && (llabs(a.i) > 1LL << 53 || llabs(b.i) > 1LL << 53))
        return *out = v_float((double)((long double)a.i / (long double)b.i)), ERR_OK;
    return float_arith(r, op, x, y, out);
}

static err_code repeat(struct tmpl_run *r, struct val s, int64_t times, struct val *out)
{
    times = times < 0 ? 0 : times;
    if (s.tag == T_STR) {
        struct build b;
        if (s.n == 0 || times == 0)
            return *out = v_lit(""), ERR_OK;
        if (times > r->lim.output / s.n)
            return tmpl_limit(r, "string size");
        struct str flat;
        FLAT(r, &s, flat);
        tmpl_b_init(&b, r);
        TRY(tmpl_step(r, times));
        if (r->track && tmpl_origin(r, s))
            for (int64_t i = 0; i < times; i++)
                tmpl_b_val(&b, s);
        else
            for (int64_t i = 0; i < times; i++)
                tmpl_b_bytes(&b, flat.p, flat.n);
        TRY(tmpl_b_end(&b, out));
        out->flags |= s.flags & VF_SAFE;
        return ERR_OK;
    }
    if (s.seq->n && times > (INT64_C(1) << 30) / s.seq->n)
        return tmpl_limit(r, "list size");
    TRY(tmpl_step(r, times * s.seq->n));
    TRY(tmpl_seq_new(r, s.tag, s.seq->n * times, out));
    for (int64_t i = 0; i < out->seq->n; i++)
        out->seq->at[i] = s.seq->at[i % s.seq->n];
    return ERR_OK;
}

static err_code add_seq(struct tmpl_run *r, struct val a, struct val b, struct val *out)
{
    TRY(tmpl_step(r, a.seq->n + b.seq->n));
    TRY(tmpl_seq_new(r, a.tag, a.seq->n + b.seq->n, out));
    tmpl_copy(out->seq->at, a.seq->at, (size_t)a.seq->n * sizeof *a.seq->at);
    tmpl_copy(out->seq->at + a.seq->n, b.seq->at, (size_t)b.seq->n * sizeof *b.seq->at);
    return ERR_OK;
}

static int is_sequence(struct val v)
{
    return v.tag == T_STR || v.tag == T_LIST || v.tag == T_TUPLE;
}

err_code tmpl_arith(struct tmpl_run *r, enum node_kind op, struct val a, struct val b, struct val *out)
{
    int64_t times;
    if (op == N_ADD && a.tag == T_STR && b.tag == T_STR) {
        if ((a.flags ^ b.flags) & VF_SAFE)
            TRY(tmpl_escape(r, a.flags & VF_SAFE ? b : a, a.flags & VF_SAFE ? &b : &a));
        return tmpl_cat(r, a, b, out);
    }
    if (tmpl_is_num(a) && tmpl_is_num(b))
        return num_arith(r, op, a, b, out);
    if (op == N_MOD && a.tag == T_STR)
        return tmpl_percent(r, a, b, out);
    if (a.tag == T_UNDEF || b.tag == T_UNDEF)
        return tmpl_undef(r, a.tag == T_UNDEF ? a : b);
    if (op == N_ADD && a.tag == b.tag && (a.tag == T_LIST || a.tag == T_TUPLE))
        return add_seq(r, a, b, out);
    if (op == N_MUL && ((is_sequence(a) && is_int(b)) || (is_int(a) && is_sequence(b)))) {
        TRY(tmpl_index(r, is_int(a) ? a : b, "count", &times));
        return repeat(r, is_int(a) ? b : a, times, out);
    }
    if (op == N_ADD && a.tag == T_STR)
        return tmpl_fail(r, "TypeError", "can only concatenate str (not \"%s\") to str", tmpl_type(b));
    if (op == N_ADD && (a.tag == T_LIST || a.tag == T_TUPLE))
        return tmpl_fail(r, "TypeError", "can only concatenate %s (not \"%s\") to %s", tmpl_type(a), tmpl_type(b), tmpl_type(a));
    return tmpl_fail(r, "TypeError", "unsupported operand type(s) for %s: '%s' and '%s'", op_text(op), tmpl_type(a), tmpl_type(b));
}

err_code tmpl_neg(struct tmpl_run *r, struct val a, struct val *out)
{
    if (a.tag == T_FLOAT)
        return *out = v_float(-a.f), ERR_OK;
    if (is_int(a))
        return int_arith(r, N_SUB, v_int(0), a, out);
    if (a.tag == T_UNDEF)
        return tmpl_undef(r, a);
    return tmpl_fail(r, "TypeError", "bad operand type for unary -: '%s'", tmpl_type(a));
}
