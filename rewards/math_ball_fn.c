/* Elementary functions of real balls. Starting points come from libm, but every error bound is proved from what was
 * computed afterwards, so a bad libm costs precision and never correctness. */
#include <math.h>
#include <string.h>

#include "rewards/math_ball.h"

static struct ball from_f64(const struct ball_ctx *c, double v)
{
    int e;
    double m = frexp(v, &e);
    struct ball r = ball_int(c, (int64_t)ldexp(m, 53));
    return ball_mul_2exp(r, e - 53);
}

static void widen(struct ball *r, int64_t log2)
{
    if (r->kind != BALL_OK)
        return;
    struct mag x = {0.5, log2 + 1}, y = r->rad;
    if (y.m == 0 || y.e < x.e - 60)
        r->rad = (struct mag){x.m * (1 + 0x1p-40), x.e};
    else if (x.e < y.e - 60)
        r->rad.m *= 1 + 0x1p-40;
    else
        r->rad = (struct mag){(ldexp(x.m, (int)(x.e - y.e)) + y.m) * (1 + 0x1p-40), y.e};
}

/* The constants at fewer limbs: the top c->n limbs and one unit of error. */
static struct ball shorten(const struct ball_ctx *c, const struct ball *a)
{
    struct ball r = *a;
    memset(r.d, 0, sizeof r.d);
    memcpy(r.d, a->d + BALL_LIMBS - c->n, (size_t)c->n * sizeof *r.d);
    widen(&r, r.e - 64 * c->n);
    return r;
}

struct ball ball_pi(const struct ball_ctx *c)
{
    return shorten(c, &c->pi);
}

/* atan(1/k) * 1 or atanh(1/k) by its series, k small: fixed point on n limbs. */
static void series(mp_limb_t *sum, int n, mp_limb_t k, int alternate)
{
    mp_limb_t p[BALL_LIMBS + 2], t[BALL_LIMBS + 2];
    memset(p, 0, sizeof p);
    memset(sum, 0, (size_t)n * sizeof *sum);
    p[n - 1] = 1; /* one integer limb */
    mpn_divrem_1(p, 0, p, n, k);
    for (mp_limb_t j = 1;; j += 2) {
        mpn_divrem_1(t, 0, p, n, j);
        if (alternate && (j & 2))
            mpn_sub_n(sum, sum, t, n);
        else
            mpn_add_n(sum, sum, t, n);
        mpn_divrem_1(p, 0, p, n, k * k);
        int zero = 1;
        for (int i = 0; i < n; i++)
            zero &= p[i] == 0;
        if (zero)
            return;
    }
}

static struct ball constant(const mp_limb_t *p, int n, int64_t unit)
{
    struct ball r;
    memset(&r, 0, sizeof r);
    while (p[n - 1] == 0)
        n--, unit += 0;
    int z = __builtin_clzll(p[n - 1]);
    mp_limb_t t[BALL_LIMBS + 4];
    memcpy(t, p, (size_t)n * sizeof *t);
    if (z)
        mpn_lshift(t, t, n, (unsigned)z);
    memcpy(r.d, t + n - BALL_LIMBS, sizeof r.d);
    r.sign = 1;
    r.e = unit + 64 * n - z;
    widen(&r, r.e - 64 * BALL_LIMBS + 1);
    return r;
}

void ball_setup(struct ball_ctx *c)
{
    enum { N = BALL_LIMBS + 2 }; /* one integer limb, one guard limb */
    mp_limb_t a[N + 2], b[N + 2];
    c->n = BALL_LIMBS;
    series(a, N, 5, 1); /* pi = 16 atan(1/5) - 4 atan(1/239), Machin 1706 */
    series(b, N, 239, 1);
    mpn_mul_1(a, a, N, 16);
    mpn_submul_1(a, b, N, 4);
    c->pi = constant(a, N, -64 * (N - 1));
    series(a, N, 3, 0); /* ln 2 = 2 atanh(1/3) */
    mpn_mul_1(a, a, N, 2);
    c->ln2 = constant(a, N, -64 * (N - 1));
}

struct ball ball_exp(const struct ball_ctx *c, const struct ball *a)
{
    enum { HALVE = 8 };
    if (a->kind == BALL_UNKNOWN)
        return *a;
    if (a->kind == BALL_HUGE || a->e > 45 || (a->rad.m != 0 && a->rad.e > 4)) {
        int s = a->kind == BALL_HUGE ? a->sign : ball_sign(a);
        struct ball r = ball_unknown();
        if (s > 0 && (a->kind == BALL_HUGE ? a->e : a->e - 1) > 1) { /* e^x >= 2^x for x > 0 */
            int64_t lo = (a->kind == BALL_HUGE ? a->e : a->e - 1) - 1;
            r.kind = BALL_HUGE;
            r.sign = 1;
            r.e = lo >= 40 ? BALL_EMAX : (int64_t)1 << lo;
        } else if (s < 0 && a->e > 45) {
            r = ball_int(c, 0);
            r.rad = (struct mag){0.5, 1 - BALL_EMAX};
        }
        return r;
    }
    struct ball ln2 = shorten(c, &c->ln2), kb, t, one = ball_int(c, 1);
    int64_t k = (int64_t)floor(ball_f64(a) * 1.4426950408889634 + 0.5);
    kb = ball_int(c, k);
    t = ball_mul(c, &kb, &ln2);
    struct ball r = ball_sub(c, a, &t);
    r = ball_mul_2exp(r, -HALVE);
    int64_t size = ball_mag_log2(&r), bits = 0, terms = 1;
    if (r.kind != BALL_OK || size > 0)
        return ball_unknown();
    while (bits > -64 * c->n - 12 && terms < 200) { /* |r|^terms / terms! */
        bits += size - (int64_t)log2((double)terms);
        terms++;
    }
    struct ball s = one;
    for (int64_t j = terms; j >= 1; j--) {
        s = ball_mul(c, &s, &r);
        s = ball_div_small(c, &s, j);
        s = ball_add(c, &s, &one);
    }
    widen(&s, bits + 1);
    for (int i = 0; i < HALVE; i++)
        s = ball_mul(c, &s, &s);
    return ball_mul_2exp(s, k);
}

struct ball ball_log(const struct ball_ctx *c, const struct ball *a)
{
    if (a->kind == BALL_HUGE && a->sign > 0) {
        struct ball r = ball_unknown();
        if (a->e > 64) { /* log(2^e) > e / 2 */
            r.kind = BALL_HUGE;
            r.sign = 1;
            r.e = 62 - __builtin_clzll((uint64_t)a->e);
        }
        return r;
    }
    if (a->kind != BALL_OK || ball_sign(a) <= 0)
        return ball_unknown();
    struct ball x = ball_mul_2exp(*a, -a->e), y = from_f64(c, log(ball_f64(&x))), one = ball_int(c, 1), out = y;
    for (int i = 0; i < 5; i++) {
        struct ball ny = ball_neg(y), t = ball_exp(c, &ny);
        t = ball_mul(c, &t, &x);
        struct ball p = ball_sub(c, &t, &one), q = ball_add(c, &t, &one), z = ball_div(c, &p, &q);
        if (z.kind != BALL_OK || ball_mag_log2(&z) > -2)
            return ball_unknown();
        out = ball_mul_2exp(z, 1);
        out = ball_add(c, &y, &out);
        int64_t err = 3 * ball_mag_log2(&z);
        widen(&out, err);
        if (err < -64 * c->n || ball_err_log2(a) - a->e > err)
            break;
        y = out;
        y.rad = (struct mag){0, 0};
    }
    struct ball ln2 = shorten(c, &c->ln2), e = ball_int(c, a->e), t = ball_mul(c, &e, &ln2);
    return ball_add(c, &out, &t);
}

/* The integer nearest to the midpoint (towards zero), exactly. */
static struct ball whole(const struct ball_ctx *c, const struct ball *a)
{
    struct ball r = *a;
    r.rad = (struct mag){0, 0};
    if (!a->sign || a->e <= 0)
        return ball_int(c, 0);
    for (int i = 0; i < c->n; i++) { /* bit 0 of limb i is worth 2^(e - 64 n + 64 i) */
        int64_t low = a->e - 64 * c->n + 64 * i;
        if (low + 64 <= 0)
            r.d[i] = 0;
        else if (low < 0)
            r.d[i] &= ~(mp_limb_t)0 << (unsigned)(-low);
    }
    return r;
}

static struct ball taylor(const struct ball_ctx *c, const struct ball *r2, int first, int64_t terms)
{
    struct ball one = ball_int(c, 1), s = one;
    for (int64_t j = terms; j >= 1; j--) {
        int64_t k = 2 * j + first;
        s = ball_mul(c, &s, r2);
        s = ball_div_small(c, &s, -k * (k - 1));
        s = ball_add(c, &s, &one);
    }
    return s;
}

void ball_sincos(const struct ball_ctx *c, const struct ball *a, struct ball *s, struct ball *co)
{
    struct ball any = ball_int(c, 0);
    any.rad = (struct mag){0.5, 1};
    *s = *co = a->kind == BALL_UNKNOWN ? *a : any;
    if (a->kind != BALL_OK || a->e > 64 * c->n - 24 || ball_err_log2(a) > 0)
        return;
    struct ball pi = ball_pi(c), half = ball_mul_2exp(pi, -1), t = ball_div(c, a, &half), q = whole(c, &t), f;
    f = ball_sub(c, &t, &q);
    int64_t extra = ball_f64(&f) > 0.5 ? 1 : ball_f64(&f) < -0.5 ? -1 : 0;
    f = ball_int(c, extra);
    q = ball_add(c, &q, &f);
    struct ball four = ball_mul_2exp(q, -2), r;
    f = whole(c, &four);
    f = ball_mul_2exp(f, 2);
    f = ball_sub(c, &q, &f); /* q mod 4, exact */
    int k = ((int)ball_f64(&f) % 4 + 4) % 4;
    t = ball_mul(c, &q, &half);
    r = ball_sub(c, a, &t);
    int64_t size = ball_mag_log2(&r);
    if (r.kind != BALL_OK || size > 1)
        return;
    struct ball r2 = ball_mul(c, &r, &r);
    int64_t bits = 0, terms = 0;
    while (bits > -64 * c->n - 8 && terms < 300) {
        terms++;
        bits += 2 * (size > 0 ? 0 : size) - (int64_t)(log2((double)(2 * terms)) + log2((double)(2 * terms - 1)));
    }
    struct ball si = taylor(c, &r2, 1, terms), cs = taylor(c, &r2, 0, terms);
    widen(&si, bits + 1);
    widen(&cs, bits + 1);
    si = ball_mul(c, &si, &r);
    struct ball ns = ball_neg(si), nc = ball_neg(cs);
    *s = k == 0 ? si : k == 1 ? cs : k == 2 ? ns : nc;
    *co = k == 0 ? cs : k == 1 ? ns : k == 2 ? nc : si;
}

struct ball ball_atan(const struct ball_ctx *c, const struct ball *a)
{
    if (ball_is_zero(a))
        return *a;
    if (a->kind == BALL_UNKNOWN)
        return *a;
    struct ball one = ball_int(c, 1);
    if (a->kind == BALL_HUGE || (a->e > 8 && ball_sign(a))) { /* sign * pi/2 - atan(1/x) */
        struct ball inv = ball_div(c, &one, a), t = ball_atan(c, &inv), h = ball_mul_2exp(ball_pi(c), -1);
        if (a->sign < 0)
            h = ball_neg(h);
        return ball_sub(c, &h, &t);
    }
    struct ball y = from_f64(c, atan(ball_f64(a))), out = y;
    for (int i = 0; i < 5; i++) {
        struct ball s, co, p, q, d;
        ball_sincos(c, &y, &s, &co);
        p = ball_mul(c, a, &co);
        p = ball_sub(c, &p, &s);
        q = ball_mul(c, a, &s);
        q = ball_add(c, &q, &co);
        d = ball_div(c, &p, &q); /* tan(atan a - y) */
        if (d.kind != BALL_OK || ball_mag_log2(&d) > -2)
            return ball_unknown();
        out = ball_add(c, &y, &d);
        int64_t err = 3 * ball_mag_log2(&d);
        widen(&out, err);
        if (err < -64 * c->n + (a->e < 0 ? a->e : 0) || ball_err_log2(a) > err)
            break;
        y = out;
        y.rad = (struct mag){0, 0};
    }
    return out;
}
