/* Scalars with units: 5 m, 18 km/h, $3.20, 45 degrees, 25 %, 2 hours 30 minutes, 7 apples. */
#include <string.h>

#include "rewards/math_int.h"

enum { DIMS = 16 };
static const char dim_names[DIMS + 1] = "LMTKA$YNDEGJCR%?";

struct quantity {
    struct node *value;
    int8_t dim[DIMS];
    struct rat size;    /* of one unit, in base units */
    int has_unit;
    struct str noun;    /* a unit nobody knows: "apples" */
    int percent;
    uint64_t spelled;   /* hash of the units as written */
};

static int add_unit(struct math_checker *m, struct quantity *q, int id, int64_t power)
{
    struct str name = m->sym[id].name;
    const struct unit *u = math_unit(name);
    q->has_unit = 1;
    q->spelled += m->sym[id].hash * (uint64_t)power;
    if (!u) { /* "square units", "cm long": the first word may be a unit */
        int64_t k = 0;
        while (k < name.n && name.p[k] != ' ')
            k++;
        if (k == name.n || !(u = math_unit(str_sub(name, 0, k)))) {
            q->noun = name;
            return 1;
        }
    }
    for (const char *p = u->dims; *p;) {
        const char *d = strchr(dim_names, *p++);
        int neg = *p == '-';
        p += neg;
        q->dim[d - dim_names] = (int8_t)(q->dim[d - dim_names] + (neg ? -1 : 1) * (*p - '0') * power);
        p++;
    }
    struct rat f;
    return u->num && rat_frac(m, &f, u->num, u->den) && rat_pow(m, &f, &f, power) && rat_mul(m, &q->size, &q->size, &f);
}

static int unit_factor(struct math_checker *m, struct quantity *q, const struct node *x, int64_t sign)
{
    int64_t e;
    struct rat r;
    if (x->kind == N_UNIT)
        return add_unit(m, q, x->id, sign);
    if (x->kind == N_POW && math_rat(m, x->kid[1], &r) && rat_i64(&r, &e) && e >= -4 && e <= 4)
        return unit_factor(m, q, x->kid[0], sign * e);
    if (x->kind == N_MUL || x->kind == N_DIV) {
        for (int i = 0; i < x->n; i++)
            if (!unit_factor(m, q, x->kid[i], x->kind == N_DIV && i ? -sign : sign))
                return 0;
        return 1;
    }
    return 0;
}

static int only_units(const struct node *x)
{
    if (x->kind == N_UNIT)
        return 1;
    if (x->kind == N_POW)
        return only_units(x->kid[0]);
    if (x->kind != N_MUL && x->kind != N_DIV)
        return 0;
    for (int i = 0; i < x->n; i++)
        if (!only_units(x->kid[i]))
            return 0;
    return 1;
}

static int split(struct math_checker *m, struct node *x, struct quantity *q);

/* 2 h + 30 min: in base units. */
static int split_sum(struct math_checker *m, struct node *x, struct quantity *q)
{
    struct vec v = {0};
    struct quantity t, first = {0};
    for (int i = 0; i < x->n; i++) {
        if (!split(m, x->kid[i], &t) || !t.has_unit || t.percent || t.noun.n || (i && memcmp(t.dim, first.dim, sizeof t.dim)))
            return 0;
        if (!i)
            first = t;
        struct node *f = math_node(m, N_NUM, 0);
        f->q = t.size;
        math_push(m, &v, math_wrap(m, N_MUL, t.value, f));
        first.spelled = first.spelled * 31 + t.spelled;
    }
    *q = first;
    q->size = rat_of(1);
    q->value = math_from(m, N_ADD, &v);
    return 1;
}

static int split(struct math_checker *m, struct node *x, struct quantity *q)
{
    struct vec v = {0};
    *q = (struct quantity){.size = rat_of(1), .value = x};
    if (x->kind == N_PERCENT) {
        q->percent = 1;
        q->value = x->kid[0];
        return 1;
    }
    if (x->kind == N_ADD && math_has(x, N_UNIT)) {
        if (!split_sum(m, x, q))
            *q = (struct quantity){.size = rat_of(1), .value = x};
        return 1;
    }
    if (x->kind == N_UNIT) {
        q->value = math_num(m, 1);
        return add_unit(m, q, x->id, 1);
    }
    if (x->kind != N_MUL && x->kind != N_DIV)
        return 1;
    int inner_percent = 0;
    for (int i = 0; i < x->n; i++) {
        struct node *k = x->kid[i];
        int inverse = x->kind == N_DIV && i;
        struct quantity t;
        if (only_units(k)) {
            if (!unit_factor(m, q, k, inverse ? -1 : 1))
                return 0;
        } else if (k->kind == N_PERCENT && !inverse) {
            inner_percent = 1;
            math_push(m, &v, k->kid[0]);
        } else if (!inverse && (k->kind == N_MUL || k->kind == N_DIV) && math_has(k, N_UNIT) && split(m, k, &t) && t.has_unit && !t.percent) {
            struct quantity keep = *q;
            *q = t;
            for (int d = 0; d < DIMS; d++)
                q->dim[d] = (int8_t)(q->dim[d] + keep.dim[d]);
            if (keep.noun.n)
                q->noun = keep.noun;
            math_push(m, &v, t.value);
        } else {
            math_push(m, &v, inverse ? math_wrap(m, N_POW, k, math_num(m, -1)) : k);
        }
    }
    q->percent = inner_percent;
    if (q->has_unit || inner_percent)
        q->value = v.n == 0 ? math_num(m, 1) : v.n == 1 ? v.p[0] : math_from(m, N_MUL, &v);
    else
        q->value = x;
    return 1;
}

/* Singular and plural, and one phrase inside the other: "books", "comic books". */
static int same_noun(struct str a, struct str b)
{
    while (a.n > 3 && a.p[a.n - 1] == 's')
        a.n--;
    while (b.n > 3 && b.p[b.n - 1] == 's')
        b.n--;
    return str_eq(a, b) || (a.n >= 3 && str_find(b, a, 0) >= 0) || (b.n >= 3 && str_find(a, b, 0) >= 0);
}

static int significant(struct math_checker *m, const struct rat *q, int prec)
{
    struct rat ten = rat_of(10), p, v = *q;
    int n = 0;
    if (!rat_pow(m, &p, &ten, prec) || !rat_mul(m, &v, &v, &p) || !v.sign)
        return 0;
    int64_t bits = rat_bits(&v);
    for (double b = 0; b < (double)bits - 0.5 && n < 100; b += 3.3219)
        n++;
    return n;
}

static int finite_decimal(struct math_checker *m, const struct node *x)
{
    struct rat q, d, ten = rat_of(10), p;
    if (!math_rat(m, x, &q))
        return 0;
    if (rat_is_int(&q))
        return 1;
    d = q;
    return rat_pow(m, &p, &ten, rat_bits(&q) + 1) && rat_mul(m, &d, &q, &p) && rat_is_int(&d);
}

/* -1.25 as one decimal literal. */
static struct node *decimal_of(struct math_checker *m, struct node *x)
{
    if (x->kind == N_NUM)
        return (x->flags & F_DECIMAL) && !(x->flags & F_REPEAT) ? x : NULL;
    if (x->kind == N_MUL && x->n == 2 && x->kid[0]->kind == N_NUM && x->kid[0]->q.sign < 0 && x->kid[0]->q.n1 == 1 && rat_is_int(&x->kid[0]->q)) {
        struct node *d = decimal_of(m, x->kid[1]), *y;
        if (!d)
            return NULL;
        y = math_node(m, N_NUM, 0);
        y->q = rat_neg(d->q);
        y->prec = d->prec;
        y->flags = d->flags;
        return y;
    }
    return NULL;
}

/* Equal, or a rounding that the policy takes. */
static int value_eq(struct math_checker *m, struct node *g, struct node *p)
{
    int r = math_scalar_eq(m, g, p);
    if (r == 1 || (!m->o.rounded && !m->o.rounded_coarse))
        return r;
    struct node *d = decimal_of(m, p), *gd = decimal_of(m, g);
    int need = m->o.rounded_coarse ? 3 : 6;
    if (d && !gd && d->prec > 0 && !finite_decimal(m, g) && significant(m, &d->q, d->prec) >= need && math_rounds_to(m, g, d)) {
        math_why(m, "the decimal is the gold value rounded to %d places (policy rounded)", d->prec);
        return 1;
    }
    if (m->o.rounded_coarse && gd && gd->prec > 0 && significant(m, &gd->q, gd->prec) >= 3 && math_rounds_to(m, p, gd)) {
        math_why(m, "the value rounds to the gold decimal (policy rounded_coarse)");
        return 1;
    }
    return r;
}

static struct node *scaled(struct math_checker *m, struct quantity *q, struct rat k)
{
    struct node *f = math_node(m, N_NUM, 0);
    f->q = k;
    return math_wrap(m, N_MUL, q->value, f);
}

static int percent_eq(struct math_checker *m, struct quantity *g, struct quantity *p)
{
    struct rat hundredth;
    rat_frac(m, &hundredth, 1, 100);
    int r = value_eq(m, g->value, p->value);
    if (g->percent && p->percent)
        return r;
    if ((g->percent ? p : g)->has_unit) {
        math_why(m, "per cent against another unit");
        return 0;
    }
    if (r == 1) {
        if (m->o.percent_loose) {
            math_why(m, "equal up to the per cent sign (policy percent_loose)");
            return 1;
        }
    }
    struct node *a = g->percent ? scaled(m, g, hundredth) : g->value, *b = p->percent ? scaled(m, p, hundredth) : p->value;
    if (value_eq(m, a, b) == 1) {
        math_why(m, "per cent against the same fraction");
        return 1;
    }
    math_why(m, "per cent value differs");
    return 0;
}

/* Only a degree sign (or nothing) on one side and nothing on the other. */
static int is_degree(const struct quantity *q)
{
    for (int i = 0; i < DIMS; i++)
        if (q->dim[i] != (dim_names[i] == 'D'))
            return 0;
    return 1;
}

static int names_nothing(const struct node *x)
{
    return !math_has(x, N_SYM) && !math_has(x, N_CALL) && !math_has(x, N_UNIT);
}

/* "5 m" in plain text is a product with a name; read the name as a unit. NULL: no such letter. */
static struct node *letters_as_units(struct math_checker *m, struct node *x)
{
    int found = 0;
    if (x->kind != N_MUL || !names_nothing(x->kid[0]))
        return NULL;
    struct node *y = math_node(m, N_MUL, x->n);
    for (int i = 0; i < x->n; i++) {
        struct node *k = x->kid[i], *s = k->kind == N_POW && names_nothing(k->kid[1]) ? k->kid[0] : k;
        y->kid[i] = k;
        if (names_nothing(k))
            continue;
        if (s->kind != N_SYM || m->sym[s->id].name.n != 1 || !math_unit(m->sym[s->id].name))
            return NULL;
        struct node *u = math_node(m, N_UNIT, 0);
        u->id = s->id;
        y->kid[i] = s == k ? u : math_wrap(m, N_POW, u, k->kid[1]);
        found = 1;
    }
    return found ? y : NULL;
}

/* 0.75 for 75 or 75 for 0.75. */
static int hundredfold(struct math_checker *m, struct node *g, struct node *p)
{
    const char *why = m->why;
    struct node *h = math_num(m, 100);
    if (math_scalar_eq(m, math_wrap(m, N_MUL, h, g), p) == 1 || math_scalar_eq(m, math_wrap(m, N_MUL, h, p), g) == 1) {
        math_why(m, "equal but for a factor of 100 (policy percent_x100)");
        return 1;
    }
    m->why = why;
    return 0;
}

int math_quantity_eq(struct math_checker *m, struct node *gold, struct node *pred)
{
    struct quantity g, p;
    if (math_has(pred, N_SYM) && !math_has(gold, N_SYM)) {
        struct node *u = letters_as_units(m, pred);
        pred = u ? u : pred;
    } else if (math_has(gold, N_SYM) && math_has(pred, N_UNIT) && !math_has(pred, N_SYM)) {
        struct node *u = letters_as_units(m, gold);
        gold = u ? u : gold;
    }
    if (!split(m, gold, &g) || !split(m, pred, &p) || (!g.has_unit && !p.has_unit && !g.percent && !p.percent)) {
        int r = value_eq(m, gold, pred);
        if (r == 0 && m->o.percent_x100 && hundredfold(m, gold, pred))
            return 1;
        return r;
    }
    if (g.percent || p.percent)
        return percent_eq(m, &g, &p);
    if (g.has_unit != p.has_unit) {
        int r = value_eq(m, g.value, p.value);
        if (r == 1 && m->o.unit_optional) {
            math_why(m, g.has_unit ? "equal; the prediction leaves the unit out (policy unit_optional)" : "equal; the prediction adds a unit (policy unit_optional)");
            return 1;
        }
        if (m->o.degree_radian && is_degree(g.has_unit ? &g : &p) && value_eq(m, gold, pred) == 1) {
            math_why(m, "the same angle in degrees and radians (policy degree_radian)");
            return 1;
        }
        if (r == 1)
            math_why(m, "the unit is missing");
        return r == 1 ? 0 : r;
    }
    if (g.noun.n || p.noun.n) {
        int r = value_eq(m, g.value, p.value);
        if (r != 1 || g.spelled == p.spelled || (g.noun.n && p.noun.n && same_noun(g.noun, p.noun)))
            return r;
        math_why(m, "same number, other unit");
        return 0;
    }
    if (memcmp(g.dim, p.dim, sizeof g.dim)) {
        static const int8_t none[DIMS];
        int free = !memcmp(g.dim, none, sizeof none) || !memcmp(p.dim, none, sizeof none);
        int r = value_eq(m, g.value, p.value);
        if (free) /* "units" stands for any unit */
            return r;
        if (r == 1)
            math_why(m, "same number, other unit");
        return 0;
    }
    if (rat_eq(&g.size, &p.size))
        return value_eq(m, g.value, p.value);
    if (!m->o.unit_convert) {
        math_why(m, "another unit of the same kind (policy unit_convert)");
        return 0;
    }
    int r = value_eq(m, scaled(m, &g, g.size), scaled(m, &p, p.size));
    if (r == 0)
        math_why(m, "quantities differ after conversion to one unit");
    return r;
}
