/* Integers beyond int64, on GMP's mpn layer: the limbs live in the run's memory and nothing is malloced. */
#include <gmp.h>
#include <math.h>
#include <string.h>

#include "text/tmpl.h"

enum { MAX_LIMBS = 1 << 16, MAX_DIGITS = 4300 }; /* MAX_DIGITS: Python's limit for int <-> decimal text */

static err_code new_big(struct tmpl_run *r, int64_t n, struct big **out)
{
    if (n > MAX_LIMBS)
        return tmpl_limit(r, "integer size");
    *out = tmpl_mem(r, (int64_t)sizeof **out + n * 8);
    if (!*out)
        return tmpl_full(r);
    (*out)->n = (int)n;
    (*out)->neg = 0;
    return ERR_OK;
}

static struct val normal(struct big *b)
{
    while (b->n && !b->d[b->n - 1])
        b->n--;
    if (b->n == 0)
        return v_int(0);
    if (b->n == 1 && b->d[0] <= (unsigned long)INT64_MAX + (unsigned long)b->neg)
        return v_int(b->neg ? (int64_t)(0 - b->d[0]) : (int64_t)b->d[0]);
    return (struct val){.tag = T_BIG, .big = b};
}

static err_code as_big(struct tmpl_run *r, struct val v, struct big **out)
{
    if (v.tag == T_BIG)
        return *out = v.big, ERR_OK;
    TRY(new_big(r, 1, out));
    (*out)->neg = v.i < 0;
    (*out)->d[0] = v.i < 0 ? 0 - (unsigned long)v.i : (unsigned long)v.i;
    (*out)->n = v.i != 0;
    return ERR_OK;
}

static int cmp_abs(const struct big *a, const struct big *b)
{
    if (a->n != b->n)
        return a->n < b->n ? -1 : 1;
    return a->n ? mpn_cmp(a->d, b->d, a->n) : 0;
}

static err_code add(struct tmpl_run *r, const struct big *a, const struct big *b, int bneg, struct val *out)
{
    struct big *c;
    if (a->neg == bneg) {
        if (a->n < b->n) {
            const struct big *t = a;
            a = b;
            b = t;
        }
        TRY(new_big(r, a->n + 1, &c));
        c->neg = bneg;
        if (b->n)
            c->d[a->n] = mpn_add(c->d, a->d, a->n, b->d, b->n);
        else
            tmpl_copy(c->d, a->d, (size_t)a->n * 8), c->d[a->n] = 0;
    } else {
        int order = cmp_abs(a, b), neg = a->neg;
        if (order < 0) {
            const struct big *t = a;
            a = b;
            b = t;
            neg = bneg;
        }
        TRY(new_big(r, a->n, &c));
        c->neg = neg;
        if (b->n)
            mpn_sub(c->d, a->d, a->n, b->d, b->n);
        else
            tmpl_copy(c->d, a->d, (size_t)a->n * 8);
    }
    *out = normal(c);
    return ERR_OK;
}

static err_code mul(struct tmpl_run *r, const struct big *a, const struct big *b, struct val *out)
{
    struct big *c;
    if (!a->n || !b->n)
        return *out = v_int(0), ERR_OK;
    if (a->n < b->n) {
        const struct big *t = a;
        a = b;
        b = t;
    }
    TRY(new_big(r, a->n + b->n, &c));
    TRY(tmpl_step(r, (int64_t)a->n * b->n));
    c->neg = a->neg != b->neg;
    mpn_mul(c->d, a->d, a->n, b->d, b->n);
    *out = normal(c);
    return ERR_OK;
}

/* Floor division, as Python has it. */
static err_code divmod(struct tmpl_run *r, const struct big *a, const struct big *b, struct val *quot, struct val *rem)
{
    struct big *q, *m;
    struct val one;
    if (!b->n)
        return tmpl_fail(r, "ZeroDivisionError", "integer division or modulo by zero");
    if (cmp_abs(a, b) < 0) {
        *quot = v_int(0);
        TRY(new_big(r, a->n, &m));
        tmpl_copy(m->d, a->d, (size_t)a->n * 8);
    } else {
        TRY(new_big(r, a->n - b->n + 1, &q));
        TRY(new_big(r, b->n, &m));
        TRY(tmpl_step(r, (int64_t)a->n * b->n));
        mpn_tdiv_qr(q->d, m->d, 0, a->d, a->n, b->d, b->n);
        q->neg = a->neg != b->neg;
        *quot = normal(q);
    }
    m->neg = a->neg;
    *rem = normal(m);
    int rem_zero = rem->tag == T_INT && rem->i == 0;
    if (!rem_zero && a->neg != b->neg) {
        TRY(as_big(r, v_int(-1), &q));
        TRY(as_big(r, *quot, &m));
        TRY(add(r, m, q, 1, &one));
        *quot = one;
        TRY(as_big(r, *rem, &m));
        TRY(add(r, b, m, m->neg, rem));
    }
    return ERR_OK;
}

static err_code power(struct tmpl_run *r, struct val base, int64_t e, struct val *out)
{
    struct val acc = v_int(1);
    for (;;) {
        if (e & 1)
            TRY(tmpl_arith(r, N_MUL, acc, base, &acc));
        e >>= 1;
        if (!e)
            break;
        TRY(tmpl_arith(r, N_MUL, base, base, &base));
    }
    *out = acc;
    return ERR_OK;
}

err_code tmpl_big_arith(struct tmpl_run *r, enum node_kind op, struct val a, struct val b, struct val *out)
{
    struct big *x, *y;
    struct val other;
    if (op == N_POW) {
        if (b.tag == T_BIG)
            return tmpl_limit(r, "integer size");
        return power(r, a, b.i, out);
    }
    TRY(as_big(r, a, &x));
    TRY(as_big(r, b, &y));
    switch (op) {
    case N_ADD: return add(r, x, y, y->neg, out);
    case N_SUB: return add(r, x, y, !y->neg, out);
    case N_MUL: return mul(r, x, y, out);
    case N_FLOORDIV: return divmod(r, x, y, out, &other);
    case N_MOD: return divmod(r, x, y, &other, out);
    default: BUG("no big operation %d", (int)op);
    }
}

int tmpl_big_cmp(struct val a, struct val b)
{
    int an = a.tag == T_BIG ? a.big->neg : a.i < 0, bn = b.tag == T_BIG ? b.big->neg : b.i < 0;
    if (a.tag == T_BIG && b.tag == T_BIG && an == bn)
        return an ? -cmp_abs(a.big, b.big) : cmp_abs(a.big, b.big);
    return a.tag == T_BIG ? (an ? -1 : 1) : (bn ? 1 : -1); /* a big one is further out than any int64 */
}

int64_t tmpl_big_bits(struct val v)
{
    return (int64_t)v.big->n * 64 - __builtin_clzl(v.big->d[v.big->n - 1]);
}

/* Nearest double, ties to even: 64 top bits with a sticky bit, then one rounding. */
double tmpl_big_double(struct val v, int *overflow)
{
    const struct big *b = v.big;
    int64_t bits = tmpl_big_bits(v), shift = bits - 64;
    unsigned long top = b->d[b->n - 1], sticky = 0;
    if (shift > 0) {
        int64_t limb = shift / 64, off = shift % 64;
        top = b->d[limb] >> off;
        if (off && limb + 1 < b->n)
            top |= b->d[limb + 1] << (64 - off);
        for (int64_t i = 0; i < limb; i++)
            sticky |= b->d[i];
        if (off)
            sticky |= b->d[limb] << (64 - off);
    } else {
        shift = 0;
    }
    unsigned long low = top & 0x7FF, half = 0x400;
    unsigned long kept = top >> 11;
    if (bits < 64) { /* one limb: (double) rounds correctly */
        *overflow = 0;
        return b->neg ? -(double)top : (double)top;
    }
    if (low > half || (low == half && (sticky || (kept & 1))))
        kept++;
    double d = ldexp((double)kept, (int)(shift + 11 > 5000 ? 5000 : shift + 11));
    *overflow = isinf(d) != 0;
    return b->neg ? -d : d;
}

err_code tmpl_big_text(struct tmpl_run *r, struct build *out, struct val v, int base)
{
    const struct big *b = v.big;
    struct big *copy;
    unsigned char *digits;
    int64_t bits = tmpl_big_bits(v), room = base == 10 ? (int64_t)((double)bits * 0.30103) + 3 : bits + 2;
    if (base == 10 && room > MAX_DIGITS + 2)
        return tmpl_fail(r, "ValueError", "Exceeds the limit (%d digits) for integer string conversion", MAX_DIGITS);
    TRY(new_big(r, b->n + 1, &copy));
    tmpl_copy(copy->d, b->d, (size_t)b->n * 8);
    MEM(r, digits, room + 64);
    size_t n = mpn_get_str(digits, base, copy->d, b->n), from = 0;
    while (from + 1 < n && digits[from] == 0)
        from++;
    if (base == 10 && n - from > MAX_DIGITS)
        return tmpl_fail(r, "ValueError", "Exceeds the limit (%d digits) for integer string conversion", MAX_DIGITS);
    for (size_t i = from; i < n; i++)
        digits[i] = (unsigned char)"0123456789abcdef"[digits[i]];
    if (b->neg)
        tmpl_b_adds(out, "-");
    tmpl_b_bytes(out, (char *)digits + from, (int64_t)(n - from));
    return ERR_OK;
}

/* digits: only digits of the base. */
err_code tmpl_int_digits(struct tmpl_run *r, struct str digits, int base, int neg, struct val *out)
{
    while (digits.n > 1 && digits.p[0] == '0')
        digits.p++, digits.n--;
    if (digits.n > MAX_DIGITS && (base & (base - 1)))
        return tmpl_fail(r, "ValueError", "Exceeds the limit (%d digits) for integer string conversion: value has %lld digits", MAX_DIGITS,
                         (long long)digits.n);
    unsigned char *raw;
    struct big *b;
    MEM(r, raw, digits.n + 1);
    for (int64_t i = 0; i < digits.n; i++) {
        char c = digits.p[i];
        raw[i] = (unsigned char)(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
    }
    TRY(new_big(r, digits.n * 6 / 64 + 2, &b)); /* base <= 36 < 2^6 */
    b->n = (int)mpn_set_str(b->d, raw, (size_t)digits.n, base);
    b->neg = neg;
    *out = normal(b);
    return ERR_OK;
}

/* |f| >= 2^63, integral. */
static err_code big_of_double(struct tmpl_run *r, double f, struct val *out)
{
    int e;
    double m = frexp(fabs(f), &e); /* f = m 2^e, m in [0.5, 1) */
    unsigned long bits = (unsigned long)ldexp(m, 53);
    int shift = e - 53;
    struct big *b;
    TRY(new_big(r, shift / 64 + 2, &b));
    memset(b->d, 0, (size_t)b->n * 8);
    b->d[shift / 64] = bits << (shift % 64);
    if (shift % 64)
        b->d[shift / 64 + 1] = bits >> (64 - shift % 64);
    b->neg = f < 0;
    *out = normal(b);
    return ERR_OK;
}

err_code tmpl_float_to_int(struct tmpl_run *r, double f, struct val *out)
{
    if (isnan(f))
        return tmpl_fail(r, "ValueError", "cannot convert float NaN to integer");
    if (isinf(f))
        return tmpl_fail(r, "OverflowError", "cannot convert float infinity to integer");
    if (fabs(f) < 0x1p63)
        return *out = v_int((int64_t)f), ERR_OK;
    return big_of_double(r, f, out);
}
