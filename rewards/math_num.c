/* Equality of two scalar expressions: exact rationals, then F_p[i], then balls at rising precision. */
#include <math.h>
#include <string.h>

#include "rewards/math_eval.h"

static int rat_sum(struct math_checker *m, const struct node *x, struct rat *q)
{
    struct rat t, acc;
    if (!math_rat(m, x->kid[0], &acc))
        return 0;
    for (int i = 1; i < x->n; i++)
        if (m->over || !math_rat(m, x->kid[i], &t) || !(x->kind == N_ADD ? rat_add(m, &acc, &acc, &t) : rat_mul(m, &acc, &acc, &t)))
            return 0;
    *q = acc;
    return 1;
}

static int rat_product(struct math_checker *m, struct rat *q, int64_t from, int64_t to, int64_t step)
{
    struct rat acc = rat_of(1);
    for (int64_t i = from; i <= to;) {
        int64_t word = i; /* as many factors as fit a word at once */
        for (i += step; i <= to && word < INT64_MAX / i; i += step)
            word *= i;
        struct rat k = rat_of(word);
        if (m->over || !rat_mul(m, &acc, &acc, &k))
            return 0;
    }
    *q = acc;
    return 1;
}

static int rat_binom(struct math_checker *m, struct rat *q, int64_t n, int64_t k)
{
    if (n < 0 || n > 100000 || k > n)
        return 0;
    k = k > n - k ? n - k : k;
    struct rat a, b;
    return k >= 0 && rat_product(m, &a, n - k + 1, n, 1) && rat_product(m, &b, 1, k, 1) && rat_div(m, q, &a, &b);
}

static double log2_of(const struct rat *a)
{
    const mp_limb_t *n = rat_num(a), *d = rat_den(a);
    return log2((double)n[a->nn - 1]) + 64.0 * a->nn - log2((double)d[a->dn - 1]) - 64.0 * a->dn;
}

/* log_b a when it is n/k with k <= 6: guessed in floating point, then a^k = b^n is checked exactly. */
static int rat_log(struct math_checker *m, struct rat *q, const struct rat *a, const struct rat *b)
{
    if (a->sign <= 0 || b->sign <= 0)
        return 0;
    double la = log2_of(a), lb = log2_of(b);
    if (fabs(lb) < 1e-9)
        return 0;
    for (int64_t k = 1; k <= 6; k++) {
        double n = la / lb * (double)k, r = floor(n + 0.5);
        struct rat x, y;
        if (fabs(n - r) < 1e-6 && fabs(r) < 60000 && rat_pow(m, &x, a, k) && rat_pow(m, &y, b, (int64_t)r) && rat_eq(&x, &y))
            return rat_frac(m, q, (int64_t)r, k);
    }
    return 0;
}

static int rat_fn(struct math_checker *m, const struct node *x, struct rat *q)
{
    struct rat a, b;
    int64_t n, k;
    if ((x->flags & F_UNEVAL) || x->n > 2 || !math_rat(m, x->kid[0], &a) || (x->n == 2 && !math_rat(m, x->kid[1], &b)))
        return 0;
    switch (x->fn) {
    case FN_SQRT: return rat_root(m, q, &a, 2);
    case FN_ROOT: return x->n == 2 && rat_i64(&b, &n) && n > 0 && rat_root(m, q, &a, n);
    case FN_NORM:
    case FN_ABS:
        *q = a;
        q->sign = a.sign != 0;
        return 1;
    case FN_FACT: return rat_i64(&a, &n) && n >= 0 && n < 6000 && rat_product(m, q, 2, n, 1);
    case FN_FACT2: return rat_i64(&a, &n) && n >= 0 && n < 6000 && rat_product(m, q, n % 2 ? 1 : 2, n, 2);
    case FN_BINOM: return x->n == 2 && rat_i64(&a, &n) && rat_i64(&b, &k) && k >= 0 && rat_binom(m, q, n, k);
    case FN_LOGB: return x->n == 2 && rat_log(m, q, &a, &b);
    case FN_LOG:
    case FN_LG:
        b = rat_of(10);
        return x->n == 1 && rat_log(m, q, &a, &b);
    case FN_FLOOR: return rat_floor(m, q, &a);
    case FN_CEIL:
        a.sign = -a.sign;
        if (!rat_floor(m, q, &a))
            return 0;
        q->sign = -q->sign;
        return 1;
    default: return 0;
    }
}

int math_rat(struct math_checker *m, const struct node *x, struct rat *q)
{
    struct rat a, b;
    int64_t e, d;
    math_spend(m, 1);
    switch (x->kind) {
    case N_NUM: *q = x->q; return 1;
    case N_ADD:
    case N_MUL: return rat_sum(m, x, q);
    case N_DIV: return math_rat(m, x->kid[0], &a) && math_rat(m, x->kid[1], &b) && rat_div(m, q, &a, &b);
    case N_PERCENT:
        b = rat_of(100);
        return math_rat(m, x->kid[0], &a) && rat_div(m, q, &a, &b);
    case N_POW:
        if (!math_rat(m, x->kid[0], &a) || !math_rat(m, x->kid[1], &b))
            return 0;
        if (rat_i64(&b, &e))
            return !(e == 0 && !a.sign) && rat_pow(m, q, &a, e);
        if (b.dn != 1 || b.nn != 1 || b.d1 > 64 || b.n1 > 1000 || a.sign < 0)
            return 0;
        d = (int64_t)b.d1;
        return rat_root(m, &a, &a, d) && rat_pow(m, q, &a, b.sign * (int64_t)b.n1);
    case N_FN: return rat_fn(m, x, q);
    default: return 0;
    }
}

int math_is_scalar(const struct node *x)
{
    switch (x->kind) {
    case N_NUM:
    case N_SYM:
    case N_UNIT:
    case N_CALL: return 1;
    case N_CONST: return x->fn == C_PI || x->fn == C_E || x->fn == C_I || x->fn == C_INF;
    case N_ADD:
    case N_MUL:
    case N_DIV:
    case N_POW:
    case N_FN:
    case N_PERCENT:
    case N_PM:
        for (int i = 0; i < x->n; i++)
            if (!math_is_scalar(x->kid[i]))
                return 0;
        return 1;
    case N_OPAQUE:
        for (int i = 0; i < x->n; i++)
            if (x->kid[i]->kind != N_TEXT && !math_is_scalar(x->kid[i]))
                return 0;
        return 1;
    default: return 0;
    }
}

int math_has(const struct node *x, int kind)
{
    if (x->kind == kind)
        return 1;
    for (int i = 0; i < x->n; i++)
        if (math_has(x->kid[i], kind))
            return 1;
    return 0;
}

static int has_const(const struct node *x, int id)
{
    if (x->kind == N_CONST && x->fn == id)
        return 1;
    for (int i = 0; i < x->n; i++)
        if (has_const(x->kid[i], id))
            return 1;
    return 0;
}

static int has_symbols(const struct math_checker *m, const struct node *x)
{
    if (x->kind == N_SYM || x->kind == N_CALL || x->kind == N_OPAQUE || (x->kind == N_UNIT && !str_eq(m->sym[x->id].name, STR("deg"))))
        return 1;
    for (int i = 0; i < x->n; i++)
        if (has_symbols(m, x->kid[i]))
            return 1;
    return 0;
}

/* +-infinity, written with positive factors alone. */
int math_infinity(struct math_checker *m, const struct node *x)
{
    struct rat q;
    if (x->kind == N_CONST)
        return x->fn == C_INF;
    if (x->kind != N_MUL)
        return 0;
    int sign = 1, inf = 0;
    for (int i = 0; i < x->n; i++) {
        if (x->kid[i]->kind == N_CONST && x->kid[i]->fn == C_INF)
            inf++;
        else if (math_rat(m, x->kid[i], &q) && q.sign)
            sign *= q.sign;
        else
            return 0;
    }
    return inf == 1 ? sign : 0;
}

struct node *math_minus(struct math_checker *m, struct node *a, struct node *b)
{
    return math_wrap(m, N_ADD, a, math_wrap(m, N_MUL, math_num(m, -1), b));
}

/* Names in factorials, binomials and exponents of negative numbers are whole numbers. */
static void mark_integers(struct math_checker *m, const struct node *x, int inside)
{
    struct rat q;
    if (x->kind == N_SYM && inside)
        m->sym[x->id].is_int = 1;
    int in = inside || (x->kind == N_FN && (x->fn == FN_FACT || x->fn == FN_FACT2 || x->fn == FN_BINOM));
    for (int i = 0; i < x->n; i++)
        mark_integers(m, x->kid[i], in || (x->kind == N_POW && i == 1 && math_rat(m, x->kid[0], &q) && q.sign < 0));
}

/* Two values at one precision: 0 differ for certain, 1 agree to half the digits carried, -1 neither. */
static int compare_balls(const struct ball_ctx *c, const struct cball *a, const struct cball *b)
{
    if (ball_disjoint(c, &a->re, &b->re) || ball_disjoint(c, &a->im, &b->im))
        return 0;
    if (a->re.kind != BALL_OK || b->re.kind != BALL_OK || a->im.kind != BALL_OK || b->im.kind != BALL_OK)
        return -1;
    int64_t mag = ball_mag_log2(&a->re), err = ball_err_log2(&a->re), t;
    const struct ball *all[] = {&b->re, &a->im, &b->im};
    for (int i = 0; i < 3; i++) {
        t = ball_mag_log2(all[i]);
        mag = t > mag ? t : mag;
        t = ball_err_log2(all[i]);
        err = t > err ? t : err;
    }
    return err <= (mag > 0 ? mag : 0) - 32 * c->n ? 1 : -1;
}

/* Bits of the numbers in an expression: how close two different values made of them may come. 2^(1/2^1000) is within
 * 2^-1000 of 1. */
static int64_t height(struct math_checker *m, const struct node *x)
{
    struct rat q;
    int64_t e, bits = 0;
    if (x->kind == N_SYM || x->kind == N_CONST || x->kind == N_TEXT)
        return 1;
    if (math_rat(m, x, &q))
        return rat_bits(&q);
    for (int i = 0; i < x->n; i++)
        bits += height(m, x->kid[i]);
    if (x->kind == N_POW && math_rat(m, x->kid[1], &q) && rat_i64(&q, &e) && bits < 1 << 20 && e < 1 << 20 && e > -(1 << 20))
        bits *= e < 0 ? -e : e > 0 ? e : 1;
    return bits < 1 << 28 ? bits : 1 << 28;
}

/* witness: the values agree in F_p[i], so that agreement to any number of bits will do. */
static int constant_eq(struct math_checker *m, const struct node *a, const struct node *b, int witness)
{
    static const int limbs[] = {2, 6, 16};
    struct eval ev = {.m = m, .c = m->balls};
    int64_t need = witness ? 64 : -1;
    for (int k = 0; k < 3 && !m->over; k++) {
        m->balls->n = limbs[k];
        struct cball x = math_eval(&ev, a), y = math_eval(&ev, b);
        int r = compare_balls(m->balls, &x, &y);
        if (r == 0) {
            if (x.re.kind == BALL_OK && y.re.kind == BALL_OK)
                math_why(m, "values differ: %s and %s", math_g(m, ball_f64(&x.re), 10), math_g(m, ball_f64(&y.re), 10));
            else
                math_why(m, "values differ: one is beyond 2^%lld", (long long)BALL_EMAX);
            return 0;
        }
        if (x.re.kind == BALL_UNKNOWN && y.re.kind == BALL_UNKNOWN && k)
            break;
        if (r == 1 && k && need < 0)
            need = 64 + height(m, a) + height(m, b);
        if (r == 1 && k && limbs[k] * 32 >= need) {
            math_why(m, "equal to %d bits: %s", limbs[k] * 32, math_g(m, ball_f64(&x.re), 10));
            return 1;
        }
    }
    math_why(m, need > 0 ? "too close to tell apart at 1024 bits" : "a value does not exist or is too large to compute");
    return -1;
}

static int symbolic_eq(struct math_checker *m, const struct node *a, const struct node *b)
{
    int agree = 0, cut_agree = 0, cut_differ = 0;
    mark_integers(m, a, 0);
    mark_integers(m, b, 0);
    for (int p = 0; p < 6 && !m->over && !(p == 5 && agree >= 2); p++) {
        struct eval ev = {.m = m, .c = m->balls, .point = p, .symbols = 1};
        m->balls->n = p ? 2 : 4;
        struct cball x = math_eval(&ev, a), y = math_eval(&ev, b);
        int r = compare_balls(m->balls, &x, &y);
        if (r == 0 && !ev.branch) {
            math_why(m, "differ at a seeded point: %s and %s", math_g(m, ball_f64(&x.re), 8), math_g(m, ball_f64(&y.re), 8));
            return 0;
        }
        agree += r == 1 && !ev.branch;
        cut_agree += r == 1 && ev.branch;
        cut_differ += r == 0;
        if (p == 1 && r == -1 && !agree && x.re.kind == BALL_UNKNOWN && y.re.kind == BALL_UNKNOWN && x.im.kind == BALL_UNKNOWN && !ev.branch)
            break;
    }
    if (agree >= 2 || (!agree && !cut_differ && cut_agree >= 2)) {
        math_why(m, "equal at %d seeded points", agree >= 2 ? agree : cut_agree);
        return 1;
    }
    if (!agree && cut_differ) {
        math_why(m, "differ at a seeded point");
        return 0;
    }
    math_why(m, "no seeded point gave both sides a value");
    return -1;
}

int math_scalar_eq(struct math_checker *m, const struct node *a, const struct node *b)
{
    struct rat p, q;
    int ra = math_rat(m, a, &p), rb = math_rat(m, b, &q);
    if (ra && rb) {
        int eq = rat_eq(&p, &q);
        math_why(m, eq ? "equal as exact rational numbers" : "exact rational numbers differ");
        return eq;
    }
    int ia = math_infinity(m, a), ib = math_infinity(m, b);
    if (ia || ib) {
        math_why(m, ia == ib ? "both infinite" : "infinity against something else");
        return ia == ib;
    }
    if (has_const(a, C_INF) || has_const(b, C_INF)) {
        math_why(m, "arithmetic with infinity has no value");
        return -1;
    }
    struct mod_info info = {.seed = 0x686F6E65};
    struct fp2 x = math_mod(m, a, &info), y = math_mod(m, b, &info);
    int same = x.a == y.a && x.b == y.b;
    if (!info.undefined && same && !info.large) {
        math_why(m, "equal as rational functions (seeded point of F_p[i])");
        return 1;
    }
    if (!info.undefined && !same && !info.opaque) {
        math_why(m, "differ as rational functions (seeded point of F_p[i])");
        return 0;
    }
    int symbols = info.symbols || has_symbols(m, a) || has_symbols(m, b);
    int r = symbols ? symbolic_eq(m, a, b) : constant_eq(m, a, b, same && !info.undefined);
    if (r < 0 && same && !info.undefined && (math_has(a, N_CALL) || math_has(a, N_OPAQUE) || info.symbols)) {
        math_why(m, "equal as rational functions of the same unknown functions");
        return 1;
    }
    return r;
}

int math_scalar_cmp(struct math_checker *m, const struct node *a, const struct node *b)
{
    struct rat p, q;
    int ia = math_infinity(m, a), ib = math_infinity(m, b);
    if (ia || ib)
        return ia == ib ? 0 : ia < ib ? -1 : 1;
    if (math_rat(m, a, &p) && math_rat(m, b, &q))
        return rat_cmp(m, &p, &q);
    if (has_symbols(m, a) || has_symbols(m, b))
        return math_scalar_eq(m, a, b) == 1 ? 0 : 2;
    struct eval ev = {.m = m, .c = m->balls};
    for (int n = 2; n <= 16; n *= 2) {
        m->balls->n = n;
        struct cball x = math_eval(&ev, a), y = math_eval(&ev, b);
        struct ball d = ball_sub(m->balls, &x.re, &y.re);
        if (!ball_is_zero(&x.im) || !ball_is_zero(&y.im))
            return 2;
        if (ball_sign(&d))
            return ball_sign(&d);
    }
    return math_scalar_eq(m, a, b) == 1 ? 0 : 2;
}

int math_proportional(struct math_checker *m, const struct node *a, const struct node *b)
{
    struct mod_info info = {.seed = 11}, info2 = {.seed = 12};
    struct fp2 a1 = math_mod(m, a, &info), b1 = math_mod(m, b, &info), a2 = math_mod(m, a, &info2), b2 = math_mod(m, b, &info2);
    if (!(a1.a | a1.b) || !(b1.a | b1.b))
        return 0;
    unsigned __int128 p61 = (1ULL << 61) - 1;
    int real = !(a1.b | b1.b | a2.b | b2.b);
    int same = real && (unsigned __int128)a1.a * b2.a % p61 == (unsigned __int128)a2.a * b1.a % p61;
    if (!info.undefined && !info2.undefined && real && !same && !info.opaque)
        return 0;
    int ok = 0, sign = 0;
    struct cball first = {0};
    mark_integers(m, a, 0);
    mark_integers(m, b, 0);
    for (int p = 0; p < 5 && !m->over; p++) {
        struct eval ev = {.m = m, .c = m->balls, .point = p, .symbols = 1};
        m->balls->n = 4;
        struct cball x = math_eval(&ev, a), y = math_eval(&ev, b);
        if (!ball_is_zero(&x.im) || !ball_is_zero(&y.im) || ev.branch)
            continue;
        struct ball r = ball_div(m->balls, &x.re, &y.re);
        if (r.kind != BALL_OK)
            continue;
        if (ok && ball_disjoint(m->balls, &r, &first.re))
            return 0;
        if (!ok)
            first.re = r;
        sign = ball_sign(&r);
        ok++;
    }
    return ok >= 2 ? sign : same ? 1 : 0;
}

int math_rounds_to(struct math_checker *m, const struct node *x, const struct node *d)
{
    struct rat ulp, half, two = rat_of(2), ten = rat_of(10), lo, hi;
    if (!rat_pow(m, &ulp, &ten, -(int64_t)(d->prec < 0 ? 0 : d->prec)) || !rat_div(m, &half, &ulp, &two))
        return 0;
    const struct rat *below = d->q.sign < 0 ? &ulp : &half, *above = d->q.sign < 0 ? &half : &ulp; /* cut off: towards zero */
    struct node a = {.kind = N_NUM}, b = {.kind = N_NUM};
    if (!rat_sub(m, &lo, &d->q, below) || !rat_add(m, &hi, &d->q, above))
        return 0;
    a.q = lo;
    b.q = hi;
    int low = math_scalar_cmp(m, x, &a);
    return (low == 1 || low == 0) && math_scalar_cmp(m, x, &b) == -1;
}
