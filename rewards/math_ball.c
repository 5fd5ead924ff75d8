/* Real ball arithmetic on mpn. Every operation rounds the midpoint towards zero and adds one unit of its last place to
 * the error bound; bounds are kept as doubles with a wide exponent and rounded up by a relative 2^-50. */
#include <math.h>
#include <string.h>

#include "rewards/math_ball.h"

#define UP (1 + 0x1p-50)

static struct mag mag_norm(double m, int64_t e)
{
    int k;
    if (m == 0)
        return (struct mag){0, 0};
    m = frexp(m, &k);
    return (struct mag){m * UP, e + k};
}

static struct mag mag_add(struct mag a, struct mag b)
{
    if (a.m == 0)
        return b;
    if (b.m == 0)
        return a;
    if (a.e < b.e) {
        struct mag t = a;
        a = b;
        b = t;
    }
    int64_t d = a.e - b.e;
    return mag_norm((a.m + (d > 100 ? 0x1p-60 : ldexp(b.m, (int)-d))) * UP, a.e);
}

static struct mag mag_mul(struct mag a, struct mag b)
{
    return a.m == 0 || b.m == 0 ? (struct mag){0, 0} : mag_norm(a.m * b.m * UP, a.e + b.e);
}

static struct mag mag_2exp(int64_t e)
{
    return (struct mag){0.5, e + 1};
}

/* Upper bound of the midpoint's size. */
static struct mag mag_of(const struct ball_ctx *c, const struct ball *a)
{
    if (!a->sign)
        return (struct mag){0, 0};
    return mag_norm(((double)a->d[c->n - 1] + 1) * UP, a->e - 64);
}

static int mag_less(struct mag a, struct mag b)
{
    if (b.m == 0)
        return 0;
    return a.m == 0 || a.e < b.e - 1 || (a.e <= b.e + 1 && ldexp(a.m, (int)(a.e - b.e)) < b.m);
}

struct ball ball_unknown(void)
{
    struct ball r;
    memset(&r, 0, sizeof r);
    r.kind = BALL_UNKNOWN;
    return r;
}

static struct ball huge(int sign, int64_t e)
{
    struct ball r = ball_unknown();
    if (!sign || e < 0)
        return r;
    r.kind = BALL_HUGE;
    r.sign = (int8_t)sign;
    r.e = e > BALL_EMAX ? BALL_EMAX : e;
    return r;
}

/* 0 +- 2^-BALL_EMAX: what underflowed. */
static struct ball tiny(void)
{
    struct ball r;
    memset(&r, 0, sizeof r);
    r.rad = mag_2exp(-BALL_EMAX);
    return r;
}

int ball_is_zero(const struct ball *a)
{
    return a->kind == BALL_OK && a->sign == 0 && a->rad.m == 0;
}

int ball_has_zero(const struct ball *a)
{
    if (a->kind != BALL_OK)
        return a->kind == BALL_UNKNOWN;
    /* |mid| >= 2^(e-1) */
    return !a->sign || (a->rad.m != 0 && !mag_less(a->rad, mag_2exp(a->e - 1)));
}

int ball_sign(const struct ball *a)
{
    return ball_has_zero(a) ? 0 : a->sign;
}

int64_t ball_err_log2(const struct ball *a)
{
    return a->kind != BALL_OK ? BALL_EMAX : a->rad.m == 0 ? -2 * BALL_EMAX : a->rad.e;
}

int64_t ball_mag_log2(const struct ball *a)
{
    int64_t r = ball_err_log2(a);
    return a->kind != BALL_OK ? BALL_EMAX : a->sign && a->e > r ? a->e : r;
}

double ball_f64(const struct ball *a)
{
    if (a->kind != BALL_OK || !a->sign || a->e < -1000)
        return 0;
    int top = BALL_LIMBS - 1;
    while (top > 0 && !(a->d[top] >> 63))
        top--;
    if (a->e > 1000)
        return a->sign * 0x1p1000;
    return a->sign * ldexp((double)a->d[top], (int)(a->e - 64));
}

static struct ball settle(struct ball r)
{
    if (r.kind != BALL_OK)
        return r;
    if (r.sign && r.e > BALL_EMAX)
        return huge(r.sign, BALL_EMAX);
    if (r.rad.m != 0 && r.rad.e > BALL_EMAX)
        return ball_unknown();
    if (r.sign && r.e < -BALL_EMAX)
        return tiny();
    return r;
}

/* A ball from limbs p[0..pn) (top limb may be zero) scaled so that p is an integer times 2^shift. */
static struct ball from_limbs(const struct ball_ctx *c, int sign, const mp_limb_t *p, int64_t pn, int64_t shift, int inexact)
{
    struct ball r;
    memset(&r, 0, sizeof r);
    while (pn > 0 && p[pn - 1] == 0)
        pn--;
    if (!pn)
        return r;
    int n = c->n, z = __builtin_clzll(p[pn - 1]);
    r.sign = (int8_t)sign;
    r.e = pn * 64 - z + shift;
    int64_t take = pn < n + 1 ? pn : n + 1;
    mp_limb_t t[BALL_LIMBS + 1];
    memset(t, 0, sizeof t);
    memcpy(t + (n + 1 - take), p + (pn - take), (size_t)take * sizeof *t);
    if (z)
        mpn_lshift(t, t, n + 1, (unsigned)z);
    memcpy(r.d, t + 1, (size_t)n * sizeof *t);
    int lost = inexact || t[0] != 0;
    for (int64_t i = 0; i < pn - take && !lost; i++)
        lost = p[i] != 0;
    if (lost)
        r.rad = mag_2exp(r.e - 64 * n);
    return r;
}

struct ball ball_int(const struct ball_ctx *c, int64_t v)
{
    mp_limb_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    return from_limbs(c, v < 0 ? -1 : 1, &u, 1, 0, 0);
}

struct ball ball_neg(struct ball a)
{
    a.sign = (int8_t)-a.sign;
    return a;
}

struct ball ball_mul_2exp(struct ball a, int64_t k)
{
    if (a.kind == BALL_OK) {
        a.e += k;
        if (a.rad.m != 0)
            a.rad.e += k;
    }
    return settle(a);
}

struct ball ball_rat(struct ball_ctx *c, const struct rat *q)
{
    struct ball n = from_limbs(c, q->sign, rat_num(q), q->nn, 0, 0);
    if (rat_is_int(q))
        return n;
    struct ball d = from_limbs(c, 1, rat_den(q), q->dn, 0, 0);
    return ball_div(c, &n, &d);
}

static struct ball add_far(const struct ball *a, const struct ball *b)
{
    if (a->kind == BALL_UNKNOWN || b->kind == BALL_UNKNOWN)
        return ball_unknown();
    if (a->kind == BALL_HUGE && b->kind == BALL_HUGE)
        return a->sign == b->sign ? huge(a->sign, a->e > b->e ? a->e : b->e) : ball_unknown();
    const struct ball *h = a->kind == BALL_HUGE ? a : b, *o = h == a ? b : a;
    return ball_mag_log2(o) < h->e - 2 ? huge(h->sign, h->e - 1) : ball_unknown();
}

struct ball ball_add(const struct ball_ctx *c, const struct ball *a, const struct ball *b)
{
    if (a->kind != BALL_OK || b->kind != BALL_OK)
        return add_far(a, b);
    if (ball_is_zero(a))
        return *b;
    if (ball_is_zero(b))
        return *a;
    struct mag rad = mag_add(a->rad, b->rad);
    struct ball r;
    if (!a->sign || !b->sign) {
        r = a->sign ? *a : *b;
        r.rad = rad;
        return settle(r);
    }
    int n = c->n;
    if (a->e < b->e) {
        const struct ball *t = a;
        a = b;
        b = t;
    }
    int64_t d = a->e - b->e;
    if (d > 64 * n) {
        r = *a;
        r.rad = mag_add(rad, mag_2exp(b->e));
        return settle(r);
    }
    mp_limb_t x[BALL_LIMBS + 2], y[BALL_LIMBS + 2]; /* one guard limb below, one above */
    memset(x, 0, sizeof x);
    memset(y, 0, sizeof y);
    memcpy(x + 1, a->d, (size_t)n * sizeof *x);
    int64_t w = d / 64;
    int s = (int)(d % 64), lost = 0;
    for (int64_t i = 0; i + 1 < w && i < n; i++)
        lost |= b->d[i] != 0;
    for (int64_t i = 0; i < n; i++)
        if (i + 1 - w >= 0)
            y[i + 1 - w] = b->d[i];
    if (s) {
        mp_limb_t out = mpn_rshift(y, y, n + 1, (unsigned)s);
        lost |= out != 0;
    }
    int sign = a->sign;
    if (a->sign == b->sign) {
        x[n + 1] = mpn_add_n(x, x, y, n + 1);
    } else if (mpn_cmp(x, y, n + 1) >= 0) {
        mpn_sub_n(x, x, y, n + 1);
    } else {
        mpn_sub_n(x, y, x, n + 1);
        sign = b->sign;
    }
    int64_t unit = a->e - 64 * (n + 1);
    r = from_limbs(c, sign, x, n + 2, unit, 0);
    r.rad = mag_add(r.rad, rad);
    if (lost)
        r.rad = mag_add(r.rad, mag_2exp(unit));
    return settle(r);
}

struct ball ball_sub(const struct ball_ctx *c, const struct ball *a, const struct ball *b)
{
    struct ball t = ball_neg(*b);
    return ball_add(c, a, &t);
}

struct ball ball_mul(const struct ball_ctx *c, const struct ball *a, const struct ball *b)
{
    if (ball_is_zero(a) && b->kind != BALL_UNKNOWN)
        return *a;
    if (ball_is_zero(b) && a->kind != BALL_UNKNOWN)
        return *b;
    if (a->kind != BALL_OK || b->kind != BALL_OK) {
        const struct ball *h = a->kind == BALL_HUGE ? a : b, *o = h == a ? b : a;
        if (h->kind != BALL_HUGE || !ball_sign(o))
            return ball_unknown();
        return huge(h->sign * o->sign, h->e + (o->kind == BALL_HUGE ? o->e : o->e < 2 ? o->e - 2 : 0));
    }
    struct mag am = mag_of(c, a), bm = mag_of(c, b);
    struct mag rad = mag_add(mag_add(mag_mul(am, b->rad), mag_mul(bm, a->rad)), mag_mul(a->rad, b->rad));
    struct ball r;
    if (!a->sign || !b->sign) {
        memset(&r, 0, sizeof r);
    } else {
        mp_limb_t p[2 * BALL_LIMBS];
        mpn_mul_n(p, a->d, b->d, c->n);
        r = from_limbs(c, a->sign * b->sign, p, 2 * c->n, a->e + b->e - 128 * c->n, 0);
    }
    r.rad = mag_add(r.rad, rad);
    return settle(r);
}

struct ball ball_div(const struct ball_ctx *c, const struct ball *a, const struct ball *b)
{
    int n = c->n;
    if (b->kind == BALL_HUGE && a->kind == BALL_OK) {
        struct ball r = tiny();
        int64_t k = ball_mag_log2(a) - b->e + 1;
        r.rad = mag_2exp(k < -BALL_EMAX ? -BALL_EMAX : k);
        return ball_is_zero(a) ? *a : r;
    }
    if (a->kind == BALL_HUGE && b->kind == BALL_OK && ball_sign(b))
        return huge(a->sign * b->sign, a->e - (b->e > 0 ? b->e + 1 : 0));
    if (a->kind != BALL_OK || b->kind != BALL_OK || ball_has_zero(b))
        return ball_unknown();
    struct ball r;
    memset(&r, 0, sizeof r);
    if (a->sign) {
        mp_limb_t num[2 * BALL_LIMBS], q[BALL_LIMBS + 1], rem[BALL_LIMBS];
        memset(num, 0, sizeof num);
        memcpy(num + n, a->d, (size_t)n * sizeof *num);
        mpn_tdiv_qr(q, rem, 0, num, 2 * n, b->d, n);
        int inexact = 0;
        for (int i = 0; i < n; i++)
            inexact |= rem[i] != 0;
        r = from_limbs(c, a->sign * b->sign, q, n + 1, a->e - b->e - 64 * n, inexact);
        if (inexact)
            r.rad = mag_add(r.rad, mag_2exp(a->e - b->e - 64 * n));
    }
    if (a->rad.m != 0 || b->rad.m != 0) { /* (ra + |a/b| rb) / (|b| - rb), |b| - rb >= 2^(e-2) or rb says more */
        struct mag bl = b->rad, up = mag_add(mag_of(c, &r), r.rad), inv = mag_2exp(1 - b->e);
        if (bl.m != 0 && bl.e > b->e - 3) { /* a wide divisor: be careful */
            double lo = 0.5 - ldexp(bl.m, (int)(bl.e - b->e));
            if (lo <= 0)
                return ball_unknown();
            inv = mag_norm(UP / lo, -b->e);
        } else if (bl.m != 0) {
            inv = mag_2exp(2 - b->e);
        }
        r.rad = mag_add(r.rad, mag_mul(mag_add(a->rad, mag_mul(up, b->rad)), inv));
    }
    return settle(r);
}

struct ball ball_div_small(const struct ball_ctx *c, const struct ball *a, int64_t k)
{
    if (a->kind != BALL_OK || !k) {
        struct ball b = ball_int(c, k);
        return ball_div(c, a, &b);
    }
    struct ball r;
    struct mag rad = a->rad;
    mp_limb_t u = k < 0 ? 0 - (uint64_t)k : (uint64_t)k;
    if (a->sign) {
        mp_limb_t q[BALL_LIMBS + 1];
        mp_limb_t rem = mpn_divrem_1(q, 1, a->d, c->n, u);
        r = from_limbs(c, k < 0 ? -a->sign : a->sign, q, c->n + 1, a->e - 64 * c->n - 64, rem != 0);
    } else {
        r = *a;
    }
    if (rad.m != 0) /* k >= 2^j */
        rad.e -= 63 - __builtin_clzll(u);
    r.rad = a->sign ? mag_add(r.rad, rad) : rad;
    return settle(r);
}

struct ball ball_sqrt(const struct ball_ctx *c, const struct ball *a)
{
    int n = c->n;
    if (ball_is_zero(a))
        return *a;
    if (a->kind == BALL_HUGE && a->sign > 0)
        return huge(1, a->e / 2 - 1);
    if (a->kind != BALL_OK || (a->sign < 0 && !ball_has_zero(a)))
        return ball_unknown();
    struct ball r;
    if (ball_has_zero(a)) { /* [0, sqrt(|a| + rad)] */
        struct mag up = mag_add(mag_of(c, a), a->rad);
        int odd = (int)(up.e & 1);
        memset(&r, 0, sizeof r);
        r.rad = mag_norm(sqrt(up.m * (odd ? 2 : 1)) * UP * UP, (up.e - odd) / 2);
        return settle(r);
    }
    mp_limb_t num[2 * BALL_LIMBS], s[BALL_LIMBS], rem[2 * BALL_LIMBS];
    memset(num, 0, sizeof num);
    memcpy(num + n, a->d, (size_t)n * sizeof *num);
    int odd = (int)(a->e & 1);
    if (odd)
        mpn_rshift(num, num, 2 * n, 1);
    int64_t e = a->e + odd; /* value = num * 2^(e - 128 n), e even */
    int64_t rn = mpn_sqrtrem(s, rem, num, 2 * n);
    r = from_limbs(c, 1, s, n, e / 2 - 64 * n, rn != 0);
    if (rn)
        r.rad = mag_add(r.rad, mag_2exp(e / 2 - 64 * n));
    if (a->rad.m != 0) { /* |sqrt x - sqrt a| <= rad / sqrt a <= rad / 2^(e/2 - 1) */
        r.rad = mag_add(r.rad, mag_mul(a->rad, mag_2exp(1 - r.e)));
    }
    return settle(r);
}

int ball_disjoint(const struct ball_ctx *c, const struct ball *a, const struct ball *b)
{
    if (a->kind == BALL_UNKNOWN || b->kind == BALL_UNKNOWN)
        return 0;
    if (a->kind == BALL_HUGE && b->kind == BALL_HUGE)
        return a->sign != b->sign;
    if (a->kind == BALL_HUGE || b->kind == BALL_HUGE) {
        const struct ball *h = a->kind == BALL_HUGE ? a : b, *o = h == a ? b : a;
        return ball_mag_log2(o) < h->e - 1;
    }
    struct ball d = ball_sub(c, a, b);
    return d.kind == BALL_HUGE || (d.kind == BALL_OK && d.sign && !ball_has_zero(&d));
}
