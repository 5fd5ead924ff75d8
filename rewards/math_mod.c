/* Evaluation in F_p[i], p = 2^61 - 1. p = 3 (mod 4), so -1 has no root in F_p and F_p[i] is a field: complex numbers
 * need no special case. Two rational functions that agree at a random point are equal but for a chance of
 * degree / p (Schwartz-Zippel). */
#include <string.h>

#include "core/rng.h"
#include "rewards/math_int.h"

#define P ((1ULL << 61) - 1)

static uint64_t add(uint64_t a, uint64_t b)
{
    uint64_t s = a + b;
    return s >= P ? s - P : s;
}

static uint64_t sub(uint64_t a, uint64_t b)
{
    return a >= b ? a - b : a + P - b;
}

static uint64_t mul(uint64_t a, uint64_t b)
{
    unsigned __int128 t = (unsigned __int128)a * b;
    return add((uint64_t)t & P, (uint64_t)(t >> 61));
}

static uint64_t pow_p(uint64_t a, uint64_t e)
{
    uint64_t r = 1;
    for (; e; e >>= 1, a = mul(a, a))
        if (e & 1)
            r = mul(r, a);
    return r;
}

static struct fp2 mul2(struct fp2 x, struct fp2 y)
{
    if (!(x.b | y.b))
        return (struct fp2){mul(x.a, y.a), 0};
    return (struct fp2){sub(mul(x.a, y.a), mul(x.b, y.b)), add(mul(x.a, y.b), mul(x.b, y.a))};
}

static struct fp2 inv2(struct fp2 x, struct mod_info *info)
{
    uint64_t norm = x.b ? add(mul(x.a, x.a), mul(x.b, x.b)) : x.a;
    if (!norm) {
        info->undefined = 1;
        return (struct fp2){0, 0};
    }
    uint64_t i = pow_p(norm, P - 2);
    return x.b ? (struct fp2){mul(x.a, i), mul(sub(0, x.b), i)} : (struct fp2){i, 0};
}

static struct fp2 pow2(struct fp2 x, uint64_t e)
{
    if (!x.b)
        return (struct fp2){pow_p(x.a, e), 0};
    struct fp2 r = {1, 0};
    for (; e; e >>= 1, x = mul2(x, x))
        if (e & 1)
            r = mul2(r, x);
    return r;
}

static uint64_t mix(uint64_t h, uint64_t v)
{
    h ^= v + 0x9E3779B97F4A7C15ull + (h << 6) + (h >> 2);
    h = (h ^ h >> 30) * 0xBF58476D1CE4E5B9ull;
    h = (h ^ h >> 27) * 0x94D049BB133111EBull;
    return h ^ h >> 31;
}

static struct fp2 hashed(struct mod_info *info, uint64_t tag, const struct fp2 *v, int n)
{
    uint64_t h = mix(info->seed, tag);
    for (int i = 0; i < n; i++)
        h = mix(mix(h, v[i].a), v[i].b);
    return (struct fp2){h % P, 0};
}

static uint64_t rat_mod_part(const mp_limb_t *p, int64_t n)
{
    return n ? (n == 1 ? p[0] % P : mpn_mod_1(p, n, P)) : 0;
}

static struct fp2 number(const struct rat *q, struct mod_info *info)
{
    uint64_t n = rat_mod_part(rat_num(q), q->nn);
    info->large |= q->nn > 1 || q->dn > 1 || (q->nn && (q->n1 >> 40)) || q->d1 >> 40;
    struct fp2 r = {q->sign < 0 ? sub(0, n) : n, 0};
    if (rat_is_int(q))
        return r;
    struct fp2 d = {rat_mod_part(rat_den(q), q->dn), 0};
    return mul2(r, inv2(d, info));
}

/* x^(p/q): the q-th root is a hash of (x, q), so that roots of equal things agree and powers of a root are exact. */
static struct fp2 power(struct math_checker *m, struct fp2 base, const struct rat *e, struct mod_info *info)
{
    int64_t k, d;
    struct rat num = *e;
    num.dn = 1;
    num.d1 = 1;
    struct rat den = {.sign = 1, .nn = e->dn, .dn = 1, .d1 = 1};
    if (e->dn <= 1)
        den.n1 = e->d1;
    else
        den.np = e->dp;
    (void)m;
    if (!rat_i64(&num, &k) || !rat_i64(&den, &d)) {
        info->opaque = 1;
        struct fp2 v[2] = {base, number(e, info)};
        return hashed(info, 77, v, 2);
    }
    info->large |= k > 16 || k < -16;
    if (d != 1) {
        info->opaque = 1;
        struct fp2 v[2] = {base, {(uint64_t)d, 0}};
        base = hashed(info, 78, v, 2);
    }
    if (k < 0)
        base = inv2(base, info);
    return pow2(base, (uint64_t)(k < 0 ? -k : k));
}

static struct fp2 opaque(struct math_checker *m, const struct node *x, uint64_t tag, struct mod_info *info)
{
    struct fp2 v[8];
    int n = 0;
    info->opaque = 1;
    for (int i = 0; i < x->n && n < 8; i++) {
        if (x->kid[i]->kind == N_TEXT) {
            uint64_t h = 1469598103934665603ull;
            for (int64_t j = 0; j < x->kid[i]->s.n; j++)
                h = (h ^ (unsigned char)x->kid[i]->s.p[j]) * 1099511628211ull;
            v[n++] = (struct fp2){h % P, 1};
        } else {
            v[n++] = math_mod(m, x->kid[i], info);
        }
    }
    return hashed(info, tag, v, n);
}

struct fp2 math_mod(struct math_checker *m, const struct node *x, struct mod_info *info)
{
    struct fp2 r, t;
    struct rat q;
    math_spend(m, 2);
    switch (x->kind) {
    case N_NUM: return number(&x->q, info);
    case N_PERCENT:
        r = math_mod(m, x->kid[0], info);
        t = (struct fp2){100, 0};
        return mul2(r, inv2(t, info));
    case N_SYM:
        info->symbols = 1;
        return (struct fp2){rng_u64(info->seed, RNG_MATH, m->sym[x->id].hash, 0, 0) % P, 0};
    case N_UNIT:
        info->opaque = 1; /* a degree is pi/180 */
        return (struct fp2){rng_u64(info->seed, RNG_MATH, m->sym[x->id].hash, 1, 0) % P, 0};
    case N_CONST:
        if (x->fn == C_I)
            return (struct fp2){0, 1};
        if (x->fn != C_PI && x->fn != C_E)
            info->undefined = 1;
        info->opaque = 1; /* pi and e are taken for independent: that is not proved */
        return (struct fp2){rng_u64(info->seed, RNG_MATH, x->fn, 2, 0) % P, 0};
    case N_ADD:
        r = (struct fp2){0, 0};
        for (int i = 0; i < x->n && !m->over; i++) {
            t = math_mod(m, x->kid[i], info);
            r = (struct fp2){add(r.a, t.a), add(r.b, t.b)};
        }
        return r;
    case N_MUL:
        r = (struct fp2){1, 0};
        for (int i = 0; i < x->n && !m->over; i++)
            r = mul2(r, math_mod(m, x->kid[i], info));
        return r;
    case N_DIV:
        r = math_mod(m, x->kid[0], info);
        t = math_mod(m, x->kid[1], info);
        return mul2(r, inv2(t, info));
    case N_POW: {
        r = math_mod(m, x->kid[0], info);
        if (math_rat(m, x->kid[1], &q)) {
            info->undefined |= !q.sign && !(r.a | r.b); /* 0^0 */
            return power(m, r, &q, info);
        }
        struct fp2 v[2] = {r, math_mod(m, x->kid[1], info)};
        info->opaque = 1;
        return hashed(info, 79, v, 2);
    }
    case N_FN:
        if (!(x->flags & F_UNEVAL) && x->fn != FN_SQRT && math_rat(m, x, &q))
            return number(&q, info);
        if (x->fn == FN_SQRT) {
            if (math_rat(m, x, &q))
                return number(&q, info);
            rat_frac(m, &q, 1, 2);
            return power(m, math_mod(m, x->kid[0], info), &q, info);
        }
        if (x->fn == FN_EXP) {
            struct node e = {.kind = N_CONST, .fn = C_E}, *kid[2] = {&e, x->kid[0]};
            struct node p = {.kind = N_POW, .n = 2, .kid = kid};
            return math_mod(m, &p, info);
        }
        return opaque(m, x, 100 + x->fn, info);
    case N_CALL: return opaque(m, x, 1000 + (uint64_t)m->sym[x->id].hash % 100000, info);
    case N_OPAQUE: return opaque(m, x, 200000 + (uint64_t)m->sym[x->id].hash % 100000, info);
    default: info->undefined = 1; return (struct fp2){0, 0};
    }
}
