/* Expressions as complex balls. Names get seeded values; functions take their principal values, and note when a name
 * came near a cut, so that identities are judged where they are meant to hold. */
#include <string.h>

#include "core/rng.h"
#include "rewards/math_eval.h"

static struct cball real(struct ball r)
{
    struct cball z;
    memset(&z, 0, sizeof z);
    z.re = r;
    return z;
}

static struct cball unknown(void)
{
    return (struct cball){.re = ball_unknown(), .im = ball_unknown()};
}

static int is_real(const struct cball *z)
{
    return ball_is_zero(&z->im);
}

static struct cball c_add(struct eval *ev, const struct cball *a, const struct cball *b)
{
    struct cball z;
    z.branch = 0;
    z.re = ball_add(ev->c, &a->re, &b->re);
    z.im = is_real(a) && is_real(b) ? a->im : ball_add(ev->c, &a->im, &b->im);
    return z;
}

static struct cball c_neg(struct cball a)
{
    a.re = ball_neg(a.re);
    a.im = ball_neg(a.im);
    return a;
}

static struct cball c_mul(struct eval *ev, const struct cball *a, const struct cball *b)
{
    const struct ball_ctx *c = ev->c;
    if (is_real(a) && is_real(b))
        return real(ball_mul(c, &a->re, &b->re));
    struct cball z;
    z.branch = 0;
    struct ball p = ball_mul(c, &a->re, &b->re), q = ball_mul(c, &a->im, &b->im);
    z.re = ball_sub(c, &p, &q);
    p = ball_mul(c, &a->re, &b->im);
    q = ball_mul(c, &a->im, &b->re);
    z.im = ball_add(c, &p, &q);
    return z;
}

static struct ball norm2(struct eval *ev, const struct cball *a)
{
    struct ball p = ball_mul(ev->c, &a->re, &a->re), q = ball_mul(ev->c, &a->im, &a->im);
    return ball_add(ev->c, &p, &q);
}

static struct cball c_div(struct eval *ev, const struct cball *a, const struct cball *b)
{
    if (is_real(b)) {
        struct cball z = *a;
        z.re = ball_div(ev->c, &a->re, &b->re);
        z.im = is_real(a) && z.re.kind != BALL_UNKNOWN ? a->im : ball_div(ev->c, &a->im, &b->re);
        return z;
    }
    struct ball n = norm2(ev, b);
    struct cball conj = *b, z;
    conj.im = ball_neg(conj.im);
    z = c_mul(ev, a, &conj);
    z.re = ball_div(ev->c, &z.re, &n);
    z.im = ball_div(ev->c, &z.im, &n);
    return z;
}

static struct ball c_abs(struct eval *ev, const struct cball *a)
{
    if (is_real(a)) {
        struct ball r = a->re;
        if (ball_sign(&r) < 0)
            return ball_neg(r);
        if (ball_sign(&r) > 0 || r.kind != BALL_OK)
            return r;
        struct ball sq = ball_mul(ev->c, &r, &r);
        return ball_sqrt(ev->c, &sq);
    }
    struct ball n = norm2(ev, a);
    return ball_sqrt(ev->c, &n);
}

static struct cball c_exp(struct eval *ev, const struct cball *a)
{
    struct ball e = ball_exp(ev->c, &a->re), s, co;
    if (is_real(a))
        return real(e);
    ball_sincos(ev->c, &a->im, &s, &co);
    struct cball z = {.re = ball_mul(ev->c, &e, &co), .im = ball_mul(ev->c, &e, &s)};
    return z;
}

/* arg in (-pi, pi]; UNKNOWN at 0 and across the cut. */
static struct ball c_arg(struct eval *ev, const struct cball *a)
{
    const struct ball_ctx *c = ev->c;
    int sr = ball_sign(&a->re), si = ball_sign(&a->im);
    struct ball pi = ball_pi(c), half = ball_mul_2exp(pi, -1), t;
    if (is_real(a))
        return sr > 0 ? ball_int(c, 0) : sr < 0 ? pi : ball_unknown();
    if (sr > 0) {
        t = ball_div(c, &a->im, &a->re);
        return ball_atan(c, &t);
    }
    if (!si)
        return ball_unknown();
    t = ball_div(c, &a->re, &a->im);
    t = ball_atan(c, &t);
    if (si < 0)
        half = ball_neg(half);
    return ball_sub(c, &half, &t);
}

static struct cball c_log(struct eval *ev, const struct cball *a)
{
    struct ball r = c_abs(ev, a);
    if (!(is_real(a) && ball_sign(&a->re) > 0) && ev->symbols)
        ev->branch = 1;
    struct cball z = {.re = ball_log(ev->c, &r), .im = c_arg(ev, a)};
    return z;
}

static struct cball c_sqrt(struct eval *ev, const struct cball *a)
{
    const struct ball_ctx *c = ev->c;
    if (is_real(a)) {
        int s = ball_sign(&a->re);
        if (s >= 0)
            return real(ball_sqrt(c, &a->re));
        if (ev->symbols)
            ev->branch = 1;
        struct ball n = ball_neg(a->re);
        struct cball z = {.re = ball_int(c, 0), .im = ball_sqrt(c, &n)};
        return z;
    }
    if (ev->symbols)
        ev->branch = 1;
    /* sqrt((|a| + re) / 2) + i im / (2 that), or the other way round for re < 0 */
    struct ball r = c_abs(ev, a), t;
    int s = ball_sign(&a->re);
    t = s >= 0 ? ball_add(c, &r, &a->re) : ball_sub(c, &r, &a->re);
    t = ball_mul_2exp(t, -1);
    t = ball_sqrt(c, &t);
    struct ball d = ball_mul_2exp(t, 1), u = ball_div(c, &a->im, &d);
    struct cball z = {.re = t, .im = u};
    if (s < 0) {
        int si = ball_sign(&a->im);
        if (!si)
            return unknown();
        z.re = si < 0 ? ball_neg(u) : u;
        z.im = si < 0 ? ball_neg(t) : t;
    }
    return z;
}

static struct cball c_int_pow(struct eval *ev, struct cball a, int64_t e)
{
    struct cball r = real(ball_int(ev->c, 1));
    int neg = e < 0;
    for (uint64_t k = neg ? 0 - (uint64_t)e : (uint64_t)e; k; k >>= 1) {
        if (k & 1)
            r = c_mul(ev, &r, &a);
        if (k > 1)
            a = c_mul(ev, &a, &a);
        math_spend(ev->m, 10);
    }
    if (!neg)
        return r;
    struct cball one = real(ball_int(ev->c, 1));
    return c_div(ev, &one, &r);
}

static struct cball c_pow(struct eval *ev, const struct cball *a, const struct cball *b)
{
    if (is_real(a) && ball_is_zero(&a->re)) {
        int s = is_real(b) ? ball_sign(&b->re) : 0;
        return s > 0 ? *a : unknown();
    }
    math_spend(ev->m, 300 + 80 * ev->c->n * ev->c->n);
    struct cball l = c_log(ev, a);
    l = c_mul(ev, &l, b);
    return c_exp(ev, &l);
}

/* The k-th root; odd roots of negative reals are real. */
static struct cball c_root(struct eval *ev, const struct cball *a, int64_t k)
{
    if (k == 2)
        return c_sqrt(ev, a);
    int odd_neg = is_real(a) && k % 2 && ball_sign(&a->re) < 0;
    struct cball x = odd_neg ? c_neg(*a) : *a;
    struct ball one = ball_int(ev->c, 1), kb = ball_int(ev->c, k);
    struct cball e = real(ball_div(ev->c, &one, &kb));
    if (is_real(a) && ball_is_zero(&a->re))
        return *a;
    x = c_pow(ev, &x, &e);
    return odd_neg ? c_neg(x) : x;
}

/* The recursion of value() needs little of the thread's stack: balls in between live on a stack of the checker's own
 * (LEAF functions do the work and return before anything recurses), so that a small thread can evaluate a deep tree. */
#define LEAF __attribute__((noinline))

static LEAF void pow_rat(struct eval *ev, const struct rat *q, struct cball *v)
{
    int64_t k, num, den;
    if (!q->sign && is_real(v) && ball_is_zero(&v->re)) { /* 0^0 */
        *v = unknown();
        return;
    }
    if (rat_i64(q, &k) && k < 4096 && k > -4096) {
        *v = c_int_pow(ev, *v, k);
        return;
    }
    struct rat n = *q, d = {.sign = 1, .nn = q->dn, .dn = 1, .d1 = 1};
    struct cball e = real(ball_rat(ev->c, q));
    n.dn = 1;
    n.d1 = 1;
    if (q->dn <= 1)
        d.n1 = q->d1;
    else
        d.np = q->dp;
    int neg = is_real(v) && ball_sign(&v->re) < 0;
    if (rat_i64(&n, &num) && rat_i64(&d, &den) && den > 1 && den < 1000 && num < 1000 && num > -1000) {
        if (neg && den % 2) { /* principal value, as for any power */
            if (ev->symbols)
                ev->branch = 1;
            *v = c_pow(ev, v, &e);
            return;
        }
        *v = c_root(ev, v, den);
        *v = c_int_pow(ev, *v, num);
    } else if (rat_is_int(q) && neg) { /* a huge integer power of a negative number */
        *v = c_neg(*v);
        *v = c_pow(ev, v, &e);
        if (rat_num(q)[0] & 1)
            *v = c_neg(*v);
    } else {
        *v = c_pow(ev, v, &e);
    }
}

/* n! for a ball that is one small integer; large ones by n! > (n/e)^n. */
static struct cball eval_factorial(struct eval *ev, const struct cball *a, int step)
{
    struct ball r = a->re;
    if (!is_real(a) || r.kind == BALL_UNKNOWN || ball_sign(&r) < 0)
        return unknown();
    if (r.kind == BALL_OK && r.rad.m == 0 && r.e <= 9) {
        int64_t n = (int64_t)ball_f64(&r);
        struct ball exact = ball_int(ev->c, n), d = ball_sub(ev->c, &r, &exact), p = ball_int(ev->c, 1);
        if (!ball_is_zero(&d))
            return unknown();
        for (int64_t i = n; i > 1; i -= step) {
            struct ball k = ball_int(ev->c, i);
            p = ball_mul(ev->c, &p, &k);
            math_spend(ev->m, 4);
        }
        return real(p);
    }
    if (r.kind == BALL_HUGE || r.e > 9) { /* n >= 2^(e-1): n! > 2^(n (e - 1 - 1.45)), and half of that for n!! */
        struct ball h = ball_unknown();
        int64_t lo = r.e - 2;
        h.kind = BALL_HUGE;
        h.sign = 1;
        h.e = lo >= 40 ? BALL_EMAX : (int64_t)1 << lo;
        return real(h);
    }
    return unknown();
}

static struct cball eval_binom(struct eval *ev, const struct cball *a, const struct cball *b)
{
    if (b->re.kind != BALL_OK || b->re.e > 9)
        return unknown();
    int64_t k = (int64_t)ball_f64(&b->re);
    struct ball kb = ball_int(ev->c, k), d = ball_sub(ev->c, &b->re, &kb), one = ball_int(ev->c, 1);
    if (!is_real(b) || !ball_is_zero(&d) || k < 0 || k > 300)
        return unknown();
    struct cball r = real(one), x = *a;
    for (int64_t i = 1; i <= k; i++) {
        struct cball ib = real(ball_int(ev->c, i)), o = real(one);
        r = c_mul(ev, &r, &x);
        r = c_div(ev, &r, &ib);
        o = c_neg(o);
        x = c_add(ev, &x, &o);
        math_spend(ev->m, 8);
    }
    return r;
}

static struct cball eval_floor(struct eval *ev, const struct cball *a, int up)
{
    double f = ball_f64(&a->re);
    if (!is_real(a) || a->re.kind != BALL_OK || a->re.e > 50)
        return unknown();
    int64_t k = (int64_t)f;
    for (int64_t c = k - 1; c <= k + 1; c++) { /* c <= x < c + 1, or c - 1 < x <= c, for certain */
        struct ball lo = ball_int(ev->c, c), hi = ball_int(ev->c, c + 1), d = ball_sub(ev->c, &a->re, &lo), e = ball_sub(ev->c, &hi, &a->re);
        if ((ball_sign(&d) > 0 || ball_is_zero(&d)) && ball_sign(&e) > 0)
            return real(up && !ball_is_zero(&d) ? hi : lo);
    }
    return unknown();
}

static struct cball c_asin(struct eval *ev, const struct cball *a)
{
    const struct ball_ctx *c = ev->c;
    struct ball one = ball_int(c, 1), sq = ball_mul(c, &a->re, &a->re), d = ball_sub(c, &one, &sq), s = ball_sqrt(c, &d);
    if (!is_real(a) || s.kind != BALL_OK) {
        if (ev->symbols)
            ev->branch = 1;
        return unknown();
    }
    s = ball_add(c, &one, &s);
    s = ball_div(c, &a->re, &s);
    s = ball_atan(c, &s);
    return real(ball_mul_2exp(s, 1));
}

static void c_sincos(struct eval *ev, const struct cball *a, struct cball *s, struct cball *co)
{
    const struct ball_ctx *c = ev->c;
    struct ball rs, rc;
    ball_sincos(c, &a->re, &rs, &rc);
    *s = real(rs);
    *co = real(rc);
    if (is_real(a))
        return;
    struct ball e = ball_exp(c, &a->im), ni = ball_neg(a->im), f = ball_exp(c, &ni), ch = ball_add(c, &e, &f), sh = ball_sub(c, &e, &f);
    ch = ball_mul_2exp(ch, -1);
    sh = ball_mul_2exp(sh, -1);
    s->re = ball_mul(c, &rs, &ch);
    s->im = ball_mul(c, &rc, &sh);
    co->re = ball_mul(c, &rc, &ch);
    co->im = ball_mul(c, &rs, &sh);
    co->im = ball_neg(co->im);
}

static struct cball eval_hyper(struct eval *ev, int fn, const struct cball *a)
{
    struct cball n = c_neg(*a), e = c_exp(ev, a), f = c_exp(ev, &n), nf = c_neg(f);
    struct cball s = c_add(ev, &e, &nf), c = c_add(ev, &e, &f);
    if (fn == FN_TANH)
        return c_div(ev, &s, &c);
    struct cball r = fn == FN_SINH ? s : c;
    r.re = ball_mul_2exp(r.re, -1);
    r.im = ball_mul_2exp(r.im, -1);
    return r;
}

/* arsinh, arcosh, artanh by their logarithms. */
static struct cball eval_area(struct eval *ev, int fn, const struct cball *a)
{
    struct cball one = real(ball_int(ev->c, 1)), m1 = c_neg(one), t, u;
    if (fn == FN_ATANH) {
        struct cball na = c_neg(*a);
        t = c_add(ev, &one, a);
        u = c_add(ev, &one, &na);
        t = c_div(ev, &t, &u);
        t = c_log(ev, &t);
        t.re = ball_mul_2exp(t.re, -1);
        t.im = ball_mul_2exp(t.im, -1);
        return t;
    }
    t = c_mul(ev, a, a);
    t = c_add(ev, &t, fn == FN_ASINH ? &one : &m1);
    t = c_sqrt(ev, &t);
    t = c_add(ev, a, &t);
    return c_log(ev, &t);
}

static struct cball eval_log(struct eval *ev, int fn, const struct cball *v, const struct cball *base)
{
    struct cball l = c_log(ev, v), b;
    if (fn == FN_LN)
        return l;
    b = base ? *base : real(ball_int(ev->c, 10));
    b = c_log(ev, &b);
    return c_div(ev, &l, &b);
}

static LEAF void larger(struct eval *ev, int fn, struct cball *best, const struct cball *v)
{
    struct ball d = ball_sub(ev->c, &v->re, &best->re);
    int s = ball_sign(&d);
    if (!is_real(v) || (!s && !ball_is_zero(&d)))
        *best = unknown();
    else if (fn == FN_MAX ? s > 0 : s < 0)
        *best = *v;
}

static struct cball eval_trig(struct eval *ev, int fn, const struct cball *a)
{
    struct cball s, c, one = real(ball_int(ev->c, 1));
    c_sincos(ev, a, &s, &c);
    switch (fn) {
    case FN_SIN: return s;
    case FN_COS: return c;
    case FN_TAN: return c_div(ev, &s, &c);
    case FN_COT: return c_div(ev, &c, &s);
    case FN_SEC: return c_div(ev, &one, &c);
    default: return c_div(ev, &one, &s);
    }
}

static struct cball eval_inverse_trig(struct eval *ev, int fn, const struct cball *a)
{
    struct cball half = real(ball_mul_2exp(ball_pi(ev->c), -1)), t;
    if (!is_real(a))
        return unknown();
    if (fn == FN_ASIN || fn == FN_ACOS) {
        t = c_asin(ev, a);
        if (fn == FN_ASIN)
            return t;
    } else {
        t = real(ball_atan(ev->c, &a->re));
        if (fn == FN_ATAN)
            return t;
    }
    t = c_neg(t);
    return c_add(ev, &half, &t);
}

/* v: the argument in, the value out; w: the second argument or NULL. */
static LEAF void eval_fn(struct eval *ev, const struct node *x, struct cball *v, const struct cball *w)
{
    struct rat q;
    int64_t k;
    switch (x->fn) {
    case FN_SQRT: *v = c_sqrt(ev, v); return;
    case FN_ROOT:
        if (math_rat(ev->m, x->kid[1], &q) && rat_i64(&q, &k) && k > 1 && k < ((int64_t)1 << 50)) {
            *v = c_root(ev, v, k);
        } else {
            struct cball one = real(ball_int(ev->c, 1)), e = c_div(ev, &one, w);
            *v = c_pow(ev, v, &e);
        }
        return;
    case FN_NORM:
    case FN_ABS: *v = real(c_abs(ev, v)); return;
    case FN_SIN:
    case FN_COS:
    case FN_TAN:
    case FN_COT:
    case FN_SEC:
    case FN_CSC: *v = eval_trig(ev, x->fn, v); return;
    case FN_ASIN:
    case FN_ACOS:
    case FN_ATAN:
    case FN_ACOT: *v = eval_inverse_trig(ev, x->fn, v); return;
    case FN_SINH:
    case FN_COSH:
    case FN_TANH: *v = eval_hyper(ev, x->fn, v); return;
    case FN_ASINH:
    case FN_ACOSH:
    case FN_ATANH: *v = eval_area(ev, x->fn, v); return;
    case FN_LN:
    case FN_LOG:
    case FN_LG:
    case FN_LOGB: *v = eval_log(ev, x->fn, v, w); return;
    case FN_EXP: *v = c_exp(ev, v); return;
    case FN_FACT: *v = eval_factorial(ev, v, 1); return;
    case FN_FACT2: *v = eval_factorial(ev, v, 2); return;
    case FN_BINOM: *v = w ? eval_binom(ev, v, w) : unknown(); return;
    case FN_FLOOR: *v = eval_floor(ev, v, 0); return;
    case FN_CEIL: *v = eval_floor(ev, v, 1); return;
    case FN_SGN:
        k = ball_sign(&v->re);
        *v = !is_real(v) || (!k && !ball_is_zero(&v->re)) ? unknown() : real(ball_int(ev->c, k));
        return;
    case FN_CONJ: v->im = ball_neg(v->im); return;
    case FN_RE: *v = real(v->re); return;
    case FN_IM: *v = real(v->im); return;
    case FN_ARG: *v = real(c_arg(ev, v)); return;
    default: *v = unknown();
    }
}

/* A value for a name. Points: 0 in (1, 2), 1 in (8, 16), 2 in (0, 1), 3 and 4 of either sign, 5 in (30, 60). */
static struct ball seeded(struct eval *ev, uint64_t hash, int whole)
{
    uint64_t r = rng_u64(20250101, RNG_MATH, hash, 10 + (uint32_t)ev->point, 0);
    if (whole)
        return ball_int(ev->c, 3 + (int64_t)(r % 9) + 2 * ev->point);
    int64_t v = (int64_t)((r & 0x3FFFFFFF) | 1 << 30); /* 31 bits: in [2^30, 2^31) */
    struct ball b = ball_int(ev->c, ev->point == 2 ? (v ^ (int64_t)1 << 30) | 1 : v);
    b = ball_mul_2exp(b, ev->point == 1 ? -27 : ev->point == 5 ? -25 : -30);
    return (ev->point == 3 && (hash & 1)) || (ev->point == 4 && !(hash & 1)) ? ball_neg(b) : b; /* each name is negative once */
}

static struct cball eval_symbol(struct eval *ev, const struct node *x)
{
    const struct sym *s = &ev->m->sym[x->id];
    if (x->kind == N_UNIT) {
        if (str_eq(s->name, STR("deg"))) {
            struct ball pi = ball_pi(ev->c), d = ball_int(ev->c, 180);
            return real(ball_div(ev->c, &pi, &d));
        }
        return real(seeded(ev, s->hash ^ 0x5555, 0));
    }
    return real(seeded(ev, s->hash, s->is_int));
}

/* A function nobody defined: a seeded number for the value of its arguments in F_p[i]. */
static struct cball eval_call(struct eval *ev, const struct node *x)
{
    struct mod_info info = {.seed = 99 + (uint64_t)ev->point};
    struct fp2 v = math_mod(ev->m, x, &info);
    return real(seeded(ev, v.a ^ v.b << 1, 0));
}

static LEAF void constant(struct eval *ev, int id, struct cball *v)
{
    struct ball one = ball_int(ev->c, 1);
    if (id == C_PI)
        *v = real(ball_pi(ev->c));
    else if (id == C_E)
        *v = real(ball_exp(ev->c, &one));
    else if (id == C_I)
        *v = (struct cball){.re = ball_int(ev->c, 0), .im = one};
    else
        *v = unknown();
}

static LEAF void leaf(struct eval *ev, const struct node *x, struct cball *v)
{
    switch (x->kind) {
    case N_NUM: *v = real(ball_rat(ev->c, &x->q)); return;
    case N_SYM:
    case N_UNIT: *v = eval_symbol(ev, x); return;
    case N_CONST: constant(ev, x->fn, v); return;
    case N_CALL:
    case N_OPAQUE: *v = eval_call(ev, x); return;
    default: *v = unknown();
    }
}

static LEAF int rational(struct eval *ev, const struct node *x, struct cball *v)
{
    struct rat q;
    if (!math_rat(ev->m, x, &q))
        return 0;
    *v = real(ball_rat(ev->c, &q));
    return 1;
}

static LEAF void add_to(struct eval *ev, struct cball *v, const struct cball *w) { *v = c_add(ev, v, w); }
static LEAF void mul_to(struct eval *ev, struct cball *v, const struct cball *w) { *v = c_mul(ev, v, w); }
static LEAF void div_to(struct eval *ev, struct cball *v, const struct cball *w) { *v = c_div(ev, v, w); }

static LEAF void set_unknown(struct cball *v) { *v = unknown(); }

static LEAF void percent(struct eval *ev, struct cball *v)
{
    struct cball h = real(ball_int(ev->c, 100));
    *v = c_div(ev, v, &h);
}

static LEAF int pow_by_rat(struct eval *ev, const struct node *e, struct cball *v)
{
    struct rat q;
    if (!math_rat(ev->m, e, &q))
        return 0;
    pow_rat(ev, &q, v);
    return 1;
}

static LEAF void pow_to(struct eval *ev, const struct node *base, struct cball *v, const struct cball *e)
{
    *v = base->kind == N_CONST && base->fn == C_E ? c_exp(ev, e) : c_pow(ev, v, e);
}

static void value(struct eval *ev, const struct node *x, struct cball *v);

/* The members from the second on, joined to v one by one; w is free. */
static void fold(struct eval *ev, const struct node *x, struct cball *v, struct cball *w)
{
    for (int i = 1; i < x->n && !ev->m->over; i++) {
        value(ev, x->kid[i], w);
        if (x->kind == N_ADD)
            add_to(ev, v, w);
        else if (x->kind == N_FN)
            larger(ev, x->fn, v, w);
        else
            mul_to(ev, v, w);
    }
}

static void apply(struct eval *ev, const struct node *x, struct cball *v, struct cball *w)
{
    math_spend(ev->m, 200 + 40 * ev->c->n * ev->c->n);
    if (x->n > 2 || x->fn == FN_DET || x->fn == FN_GCD || x->fn == FN_LCM) {
        set_unknown(v);
        return;
    }
    if (x->n == 2)
        value(ev, x->kid[1], w);
    eval_fn(ev, x, v, x->n == 2 ? w : NULL);
}

static void value(struct eval *ev, const struct node *x, struct cball *v)
{
    struct ball_ctx *c = ev->c;
    if (!math_spend(ev->m, 4 + c->n) || c->depth == BALL_DEPTH) {
        set_unknown(v);
        return;
    }
    if (!x->n || x->kind == N_CALL || x->kind == N_OPAQUE || (x->kind == N_FN && x->fn != FN_ABS && rational(ev, x, v))) {
        if (x->kind != N_FN)
            leaf(ev, x, v);
        return;
    }
    struct cball *w = &c->tmp[c->depth++];
    value(ev, x->kid[0], v);
    switch (x->kind) {
    case N_PERCENT: percent(ev, v); break;
    case N_ADD:
    case N_MUL: fold(ev, x, v, w); break;
    case N_DIV:
        value(ev, x->kid[1], w);
        div_to(ev, v, w);
        break;
    case N_POW:
        if (!pow_by_rat(ev, x->kid[1], v)) {
            value(ev, x->kid[1], w);
            pow_to(ev, x->kid[0], v, w);
        }
        break;
    case N_FN:
        if (x->fn == FN_MAX || x->fn == FN_MIN)
            fold(ev, x, v, w);
        else
            apply(ev, x, v, w);
        break;
    default: set_unknown(v);
    }
    c->depth--;
}

struct cball math_eval(struct eval *ev, const struct node *x)
{
    struct cball v;
    value(ev, x, &v);
    return v;
}
