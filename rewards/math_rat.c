/* Exact rationals on GMP's mpn layer. Limbs live in the checker's arena, so nothing is freed and nothing is
 * allocated elsewhere; every result's size is bounded before the call that would make it. */
#include <string.h>

#include "core/err.h"
#include "rewards/math_int.h"

static uint64_t gcd64(uint64_t a, uint64_t b)
{
    if (!a || !b)
        return a | b;
    int shift = __builtin_ctzll(a | b);
    a >>= __builtin_ctzll(a);
    while (b) {
        b >>= __builtin_ctzll(b);
        if (a > b) {
            uint64_t t = a;
            a = b;
            b = t;
        }
        b -= a;
    }
    return a << shift;
}

static mp_limb_t *limbs(struct math_checker *m, int64_t n)
{
    return math_new(m, n * (int64_t)sizeof(mp_limb_t));
}

static void set_num(struct rat *r, const mp_limb_t *p, int64_t n)
{
    while (n > 0 && p[n - 1] == 0)
        n--;
    r->nn = (int32_t)n;
    if (n <= 1)
        r->n1 = n ? p[0] : 0;
    else
        r->np = p;
}

static void set_den(struct rat *r, const mp_limb_t *p, int64_t n)
{
    while (n > 1 && p[n - 1] == 0)
        n--;
    r->dn = (int32_t)n;
    if (n <= 1)
        r->d1 = p[0];
    else
        r->dp = p;
}

struct rat rat_of(int64_t v)
{
    uint64_t a = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    return (struct rat){.sign = (v > 0) - (v < 0), .nn = v != 0, .dn = 1, .n1 = a, .d1 = 1};
}

struct rat rat_neg(struct rat a)
{
    a.sign = -a.sign;
    return a;
}

static struct rat small(int sign, uint64_t n, uint64_t d)
{
    uint64_t g = d == 1 ? 1 : gcd64(n, d);
    return (struct rat){.sign = n ? sign : 0, .nn = n != 0, .dn = 1, .n1 = n / g, .d1 = n ? d / g : 1};
}

/* x >> its trailing zeros, in place; returns how many. */
static int64_t strip_twos(mp_limb_t *x, int64_t *n)
{
    int64_t z = (int64_t)mpn_scan1(x, 0), l = z / 64;
    if (l) {
        memmove(x, x + l, (size_t)(*n - l) * sizeof *x);
        *n -= l;
    }
    if (z % 64)
        mpn_rshift(x, x, *n, (unsigned)(z % 64));
    *n -= x[*n - 1] == 0;
    return z;
}

/* Divides x exactly by g, in place. */
static void div_out(struct math_checker *m, mp_limb_t *x, int64_t *n, const mp_limb_t *g, int64_t gn)
{
    mp_limb_t *q = limbs(m, *n - gn + 1), *rem = limbs(m, gn);
    mpn_tdiv_qr(q, rem, 0, x, *n, g, gn);
    *n = *n - gn + 1;
    *n -= q[*n - 1] == 0;
    memcpy(x, q, (size_t)*n * sizeof *q);
}

/* num and den are owned buffers with non-zero top limbs; brings them to lowest terms. */
static int finish(struct math_checker *m, struct rat *r, int sign, mp_limb_t *num, int64_t nn, mp_limb_t *den, int64_t dn)
{
    while (nn > 0 && num[nn - 1] == 0)
        nn--;
    while (dn > 1 && den[dn - 1] == 0)
        dn--;
    if (nn == 0) {
        *r = rat_of(0);
        return 1;
    }
    if (nn == 1 && dn == 1) {
        *r = small(sign, num[0], den[0]);
        return 1;
    }
    if (!(dn == 1 && den[0] == 1)) {
        mp_limb_t *a = limbs(m, nn), *b = limbs(m, dn), *g;
        int64_t an = nn, bn = dn, gn;
        memcpy(a, num, (size_t)nn * sizeof *a);
        memcpy(b, den, (size_t)dn * sizeof *b);
        int64_t za = strip_twos(a, &an), zb = strip_twos(b, &bn), z = za < zb ? za : zb;
        int swap = an < bn || (an == bn && mpn_cmp(a, b, an) < 0);
        g = limbs(m, (swap ? an : bn) + z / 64 + 2);
        gn = swap ? mpn_gcd(g, b, bn, a, an) : mpn_gcd(g, a, an, b, bn);
        if (z) {
            mp_limb_t *s = limbs(m, gn + z / 64 + 2);
            memcpy(s + z / 64, g, (size_t)gn * sizeof *g);
            gn += z / 64;
            if (z % 64) {
                mp_limb_t c = mpn_lshift(s, s, gn, (unsigned)(z % 64));
                if (c)
                    s[gn++] = c;
            }
            g = s;
        }
        if (!(gn == 1 && g[0] == 1)) {
            div_out(m, num, &nn, g, gn);
            div_out(m, den, &dn, g, gn);
        }
        math_spend(m, 40 + (nn + dn) * (nn + dn) / 16);
    }
    r->sign = sign;
    set_num(r, num, nn);
    set_den(r, den, dn);
    return 1;
}

int rat_frac(struct math_checker *m, struct rat *r, int64_t n, int64_t d)
{
    (void)m;
    if (!d)
        return 0;
    uint64_t a = n < 0 ? 0 - (uint64_t)n : (uint64_t)n, b = d < 0 ? 0 - (uint64_t)d : (uint64_t)d;
    *r = small((n < 0) != (d < 0) ? -1 : 1, a, b);
    return 1;
}

/* Digits to limbs, a word of them at a time: mpn_set_str takes memory of its own for long ones. */
static int64_t limbs_of(mp_limb_t *p, const unsigned char *d, int64_t n, int base)
{
    int64_t pn = 0;
    for (int64_t i = 0; i < n;) {
        uint64_t word = 0, scale = 1;
        for (; i < n && scale <= UINT64_MAX / 36; i++) {
            word = word * (uint64_t)base + d[i];
            scale *= (uint64_t)base;
        }
        mp_limb_t high = pn ? mpn_mul_1(p, p, pn, scale) : 0;
        if (high)
            p[pn++] = high;
        high = pn ? mpn_add_1(p, p, pn, word) : word;
        if (high)
            p[pn++] = high;
    }
    return pn;
}

int rat_digits(struct math_checker *m, struct rat *r, const char *digits, int64_t n, int base)
{
    while (n && *digits == '0')
        digits++, n--;
    if (n <= 18 && base == 10) {
        uint64_t v = 0;
        for (int64_t i = 0; i < n; i++)
            v = v * 10 + (uint64_t)(digits[i] - '0');
        *r = rat_of((int64_t)v);
        return 1;
    }
    if (n > MATH_MAX_DIGITS)
        return 0;
    unsigned char *d = math_new(m, n + 1);
    for (int64_t i = 0; i < n; i++) {
        int c = digits[i], v = c <= '9' ? c - '0' : (c | 32) - 'a' + 10;
        if (v < 0 || v >= base)
            return 0;
        d[i] = (unsigned char)v;
    }
    if (n == 0) {
        *r = rat_of(0);
        return 1;
    }
    mp_limb_t *p = limbs(m, n * 6 / 64 + 3);
    int64_t pn = limbs_of(p, d, n, base);
    math_spend(m, pn * pn / 4);
    *r = rat_of(1);
    set_num(r, p, pn);
    r->sign = r->nn > 0;
    return 1;
}

static int fits(int64_t a, int64_t b)
{
    return a + b <= MATH_MAX_LIMBS;
}

/* a * b into a fresh buffer. */
static mp_limb_t *product(struct math_checker *m, const mp_limb_t *a, int64_t an, const mp_limb_t *b, int64_t bn)
{
    mp_limb_t *p = limbs(m, an + bn + 1);
    if (an >= bn)
        mpn_mul(p, a, an, b, bn);
    else
        mpn_mul(p, b, bn, a, an);
    math_spend(m, 2 + an * bn / 32);
    return p;
}

static int add_signed(struct math_checker *m, struct rat *r, const struct rat *a, const struct rat *b, int bsign)
{
    if (!a->sign || !bsign) {
        struct rat t = a->sign ? *a : *b;
        if (!a->sign)
            t.sign = bsign;
        *r = t;
        return 1;
    }
    if (a->nn == 1 && b->nn == 1 && a->dn == 1 && b->dn == 1) {
        unsigned __int128 x = (unsigned __int128)a->n1 * b->d1, y = (unsigned __int128)b->n1 * a->d1;
        unsigned __int128 d = (unsigned __int128)a->d1 * b->d1;
        int sign = a->sign;
        unsigned __int128 s;
        int over = 0;
        if (a->sign == bsign) {
            s = x + y;
            over = s < x;
        } else if (x >= y) {
            s = x - y;
        } else {
            s = y - x;
            sign = bsign;
        }
        if (!over && !(s >> 64) && !(d >> 64)) {
            *r = small(sign, (uint64_t)s, (uint64_t)d);
            return 1;
        }
    }
    if (!fits(a->nn, b->dn) || !fits(b->nn, a->dn) || !fits(a->dn, b->dn))
        return 0;
    int64_t xn = a->nn + b->dn, yn = b->nn + a->dn, dn = a->dn + b->dn;
    mp_limb_t *x = product(m, rat_num(a), a->nn, rat_den(b), b->dn);
    mp_limb_t *y = product(m, rat_num(b), b->nn, rat_den(a), a->dn);
    mp_limb_t *d = product(m, rat_den(a), a->dn, rat_den(b), b->dn);
    int64_t n = xn > yn ? xn : yn;
    mp_limb_t *p = limbs(m, n + 1), *q = limbs(m, n + 1), *s = limbs(m, n + 2);
    memcpy(p, x, (size_t)xn * sizeof *x);
    memcpy(q, y, (size_t)yn * sizeof *y);
    int sign = a->sign;
    if (a->sign == bsign) {
        s[n] = mpn_add_n(s, p, q, n);
    } else if (mpn_cmp(p, q, n) >= 0) {
        mpn_sub_n(s, p, q, n);
    } else {
        mpn_sub_n(s, q, p, n);
        sign = bsign;
    }
    return finish(m, r, sign, s, n + 1, d, dn);
}

int rat_add(struct math_checker *m, struct rat *r, const struct rat *a, const struct rat *b)
{
    return add_signed(m, r, a, b, b->sign);
}

int rat_sub(struct math_checker *m, struct rat *r, const struct rat *a, const struct rat *b)
{
    return add_signed(m, r, a, b, -b->sign);
}

static int mul_parts(struct math_checker *m, struct rat *r, int sign, const mp_limb_t *an, int64_t ann, const mp_limb_t *bn, int64_t bnn,
                     const mp_limb_t *ad, int64_t adn, const mp_limb_t *bd, int64_t bdn)
{
    if (!fits(ann, bnn) || !fits(adn, bdn))
        return 0;
    mp_limb_t *n = product(m, an, ann, bn, bnn), *d = product(m, ad, adn, bd, bdn);
    return finish(m, r, sign, n, ann + bnn, d, adn + bdn);
}

int rat_mul(struct math_checker *m, struct rat *r, const struct rat *a, const struct rat *b)
{
    if (!a->sign || !b->sign) {
        *r = rat_of(0);
        return 1;
    }
    if (a->nn == 1 && b->nn == 1 && a->dn == 1 && b->dn == 1) {
        unsigned __int128 n = (unsigned __int128)a->n1 * b->n1, d = (unsigned __int128)a->d1 * b->d1;
        if (!(n >> 64) && !(d >> 64)) {
            *r = small(a->sign * b->sign, (uint64_t)n, (uint64_t)d);
            return 1;
        }
    }
    return mul_parts(m, r, a->sign * b->sign, rat_num(a), a->nn, rat_num(b), b->nn, rat_den(a), a->dn, rat_den(b), b->dn);
}

int rat_div(struct math_checker *m, struct rat *r, const struct rat *a, const struct rat *b)
{
    if (!b->sign)
        return 0;
    if (!a->sign) {
        *r = rat_of(0);
        return 1;
    }
    if (a->nn == 1 && b->nn == 1 && a->dn == 1 && b->dn == 1) {
        unsigned __int128 n = (unsigned __int128)a->n1 * b->d1, d = (unsigned __int128)a->d1 * b->n1;
        if (!(n >> 64) && !(d >> 64)) {
            *r = small(a->sign * b->sign, (uint64_t)n, (uint64_t)d);
            return 1;
        }
    }
    return mul_parts(m, r, a->sign * b->sign, rat_num(a), a->nn, rat_den(b), b->dn, rat_den(a), a->dn, rat_num(b), b->nn);
}

int64_t rat_bits(const struct rat *a)
{
    int64_t n = a->nn ? a->nn * 64 - __builtin_clzll(rat_num(a)[a->nn - 1]) : 0;
    int64_t d = a->dn * 64 - __builtin_clzll(rat_den(a)[a->dn - 1]);
    return n > d ? n : d;
}

int rat_pow(struct math_checker *m, struct rat *r, const struct rat *a, int64_t e)
{
    if (e == 0) {
        *r = rat_of(1);
        return 1;
    }
    int64_t k = e < 0 ? (e == INT64_MIN ? INT64_MAX : -e) : e;
    if (!a->sign || rat_bits(a) <= 1) { /* 0, 1, -1 */
        if (!a->sign && e < 0)
            return 0;
        *r = *a;
        if (k % 2 == 0)
            r->sign = a->sign * a->sign;
        return 1;
    }
    if (k > 64 * MATH_MAX_LIMBS || rat_bits(a) * k > 64 * (MATH_MAX_LIMBS - 2))
        return 0;
    struct rat base = *a, acc = rat_of(1);
    for (int64_t j = k;;) {
        if (j & 1 && !rat_mul(m, &acc, &acc, &base))
            return 0;
        j >>= 1;
        if (!j)
            break;
        if (m->over || !rat_mul(m, &base, &base, &base))
            return 0;
    }
    if (e > 0) {
        *r = acc;
        return 1;
    }
    struct rat one = rat_of(1);
    return rat_div(m, r, &one, &acc);
}

/* Largest v with v^k <= n for one limb. */
static uint64_t iroot64(uint64_t n, int64_t k)
{
    uint64_t lo = 0, hi = k == 1 ? n : (1ULL << (64 / k + 1)) - 1;
    while (lo < hi) {
        uint64_t mid = lo + (hi - lo) / 2 + 1;
        unsigned __int128 p = 1;
        for (int64_t i = 0; i < k && p <= n; i++)
            p *= mid;
        if (p <= n)
            lo = mid;
        else
            hi = mid - 1;
    }
    return lo;
}

static int root_part(struct math_checker *m, const mp_limb_t *p, int64_t n, int64_t k, struct rat *out)
{
    if (n == 1) {
        uint64_t v = k >= 64 ? (p[0] > 1 ? 1 : p[0]) : iroot64(p[0], k);
        *out = rat_of(1);
        out->n1 = v;
        out->sign = v != 0;
        unsigned __int128 q = 1;
        for (int64_t i = 0; i < k && q <= p[0] && v > 1; i++)
            q *= v;
        return v <= 1 ? v == p[0] : q == p[0];
    }
    if (k != 2)
        return 0;
    mp_limb_t *s = limbs(m, (n + 1) / 2);
    math_spend(m, n * n / 8);
    if (mpn_sqrtrem(s, NULL, p, n) != 0)
        return 0;
    *out = rat_of(1);
    set_num(out, s, (n + 1) / 2);
    return 1;
}

int rat_root(struct math_checker *m, struct rat *r, const struct rat *a, int64_t k)
{
    struct rat n, d;
    if (k < 1 || (a->sign < 0 && k % 2 == 0))
        return 0;
    if (!a->sign) {
        *r = rat_of(0);
        return 1;
    }
    if (!root_part(m, rat_num(a), a->nn, k, &n) || !root_part(m, rat_den(a), a->dn, k, &d))
        return 0;
    n.sign = a->sign;
    return rat_div(m, r, &n, &d);
}

int rat_floor(struct math_checker *m, struct rat *r, const struct rat *a)
{
    if (rat_is_int(a)) {
        *r = *a;
        return 1;
    }
    struct rat q = rat_of(0);
    if (a->nn >= a->dn) {
        mp_limb_t *p = limbs(m, a->nn - a->dn + 1), *rem = limbs(m, a->dn);
        mpn_tdiv_qr(p, rem, 0, rat_num(a), a->nn, rat_den(a), a->dn);
        set_num(&q, p, a->nn - a->dn + 1);
        q.sign = q.nn ? a->sign : 0;
    }
    struct rat one = rat_of(1);
    if (a->sign < 0)
        return rat_sub(m, r, &q, &one);
    *r = q;
    return 1;
}

int rat_eq(const struct rat *a, const struct rat *b)
{
    return a->sign == b->sign && a->nn == b->nn && a->dn == b->dn && mpn_cmp(rat_den(a), rat_den(b), a->dn) == 0 &&
           (a->nn == 0 || mpn_cmp(rat_num(a), rat_num(b), a->nn) == 0);
}

int rat_cmp(struct math_checker *m, const struct rat *a, const struct rat *b)
{
    if (a->sign != b->sign)
        return a->sign < b->sign ? -1 : 1;
    if (rat_eq(a, b))
        return 0;
    struct rat d;
    if (rat_sub(m, &d, a, b))
        return d.sign;
    return a->nn - a->dn > b->nn - b->dn ? a->sign : -a->sign; /* sizes so far apart that limbs decide */
}

int rat_i64(const struct rat *a, int64_t *out)
{
    if (!rat_is_int(a) || a->nn > 1 || (a->nn && a->n1 > (uint64_t)INT64_MAX))
        return 0;
    *out = a->nn ? a->sign * (int64_t)a->n1 : 0;
    return 1;
}

static void show_part(struct math_checker *m, struct sbuf *b, const mp_limb_t *p, int64_t n)
{
    if (n > 12) {
        sbuf_addf(b, "<%lld bits>", (long long)(n * 64));
        return;
    }
    mp_limb_t *c = limbs(m, n + 1);
    unsigned char *s = math_new(m, n * 20 + 2);
    memcpy(c, p, (size_t)n * sizeof *c);
    size_t k = mpn_get_str(s, 10, c, n), z = 0;
    while (z + 1 < k && s[z] == 0)
        z++;
    for (; z < k; z++)
        sbuf_addc(b, (char)('0' + s[z]));
}

void rat_show(struct math_checker *m, struct sbuf *b, const struct rat *a)
{
    if (!a->sign) {
        sbuf_addc(b, '0');
        return;
    }
    if (a->sign < 0)
        sbuf_addc(b, '-');
    show_part(m, b, rat_num(a), a->nn);
    if (!rat_is_int(a)) {
        sbuf_addc(b, '/');
        show_part(m, b, rat_den(a), a->dn);
    }
}
