/* Sets of real numbers: intervals, unions, complements, linear inequalities in one name, { x | ... }. Both sides become
 * a sorted list of disjoint pieces; end points are compared as scalars. */
#include <string.h>

#include "rewards/math_int.h"

enum { PIECES = 64 };

struct piece {
    struct node *lo, *hi; /* NULL: infinite */
    int lo_in, hi_in;
};

struct rset {
    struct piece p[PIECES];
    int n;
    int var;              /* the name an inequality is about, -1 none */
    int explicit_set;     /* written as a set or interval, not as an inequality */
};

static int cmp_lo(struct math_checker *m, const struct piece *a, const struct piece *b)
{
    int r;
    if (!a->lo || !b->lo)
        return a->lo ? 1 : b->lo ? -1 : 0;
    r = math_scalar_cmp(m, a->lo, b->lo);
    return r ? r : b->lo_in - a->lo_in;
}

/* Empty pieces go, the rest is sorted and what touches is joined. 0: an order could not be decided. */
static int tidy(struct math_checker *m, struct rset *s)
{
    int n = 0, r;
    for (int i = 0; i < s->n; i++) {
        struct piece *p = &s->p[i];
        r = p->lo && p->hi ? math_scalar_cmp(m, p->lo, p->hi) : -1;
        if (r == 2) {
            if (s->n > 1)
                return 0;
            r = -1; /* one interval with symbolic ends is taken as it stands */
        }
        if (r < 0 || (r == 0 && p->lo_in && p->hi_in))
            s->p[n++] = *p;
    }
    s->n = n;
    for (int i = 1; i < n; i++)
        for (int j = i; j > 0; j--) {
            r = cmp_lo(m, &s->p[j - 1], &s->p[j]);
            if (r == 2 || m->over)
                return 0;
            if (r <= 0)
                break;
            struct piece t = s->p[j];
            s->p[j] = s->p[j - 1];
            s->p[j - 1] = t;
        }
    n = n > 0;
    for (int i = 1; i < s->n; i++) {
        struct piece *a = &s->p[n - 1], *b = &s->p[i];
        r = a->hi && b->lo ? math_scalar_cmp(m, a->hi, b->lo) : 1;
        if (r == 2)
            return 0;
        if (r < 0 || (r == 0 && !a->hi_in && !b->lo_in)) {
            s->p[n++] = *b;
            continue;
        }
        if (!a->hi)
            continue;
        int c = b->hi ? math_scalar_cmp(m, a->hi, b->hi) : -1;
        if (c == 2)
            return 0;
        if (c < 0) {
            a->hi = b->hi;
            a->hi_in = b->hi_in;
        } else if (c == 0) {
            a->hi_in |= b->hi_in;
        }
    }
    s->n = n;
    return 1;
}

static int push(struct rset *s, struct piece p)
{
    if (s->n == PIECES)
        return 0;
    s->p[s->n++] = p;
    return 1;
}

static int intersect(struct math_checker *m, struct rset *a, const struct rset *b)
{
    struct rset r = {.var = a->var, .explicit_set = a->explicit_set};
    for (int i = 0; i < a->n; i++)
        for (int j = 0; j < b->n; j++) {
            struct piece x = a->p[i], y = b->p[j];
            int c = cmp_lo(m, &x, &y);
            if (c == 2)
                return 0;
            if (c < 0) {
                x.lo = y.lo;
                x.lo_in = y.lo_in;
            }
            c = !x.hi ? 1 : !y.hi ? -1 : math_scalar_cmp(m, x.hi, y.hi);
            if (c == 2)
                return 0;
            if (c > 0) {
                x.hi = y.hi;
                x.hi_in = y.hi_in;
            } else if (c == 0) {
                x.hi_in &= y.hi_in;
            }
            if (!push(&r, x))
                return 0;
        }
    *a = r;
    return tidy(m, a);
}

static int complement(struct math_checker *m, struct rset *s)
{
    struct rset r = {.var = s->var, .explicit_set = s->explicit_set};
    struct piece gap = {0};
    if (!tidy(m, s))
        return 0;
    for (int i = 0; i < s->n; i++) {
        gap.hi = s->p[i].lo;
        gap.hi_in = !s->p[i].lo_in;
        if (gap.hi && !push(&r, gap))
            return 0;
        gap = (struct piece){.lo = s->p[i].hi, .lo_in = !s->p[i].hi_in};
        if (!s->p[i].hi) {
            *s = r;
            return 1;
        }
    }
    if (!push(&r, gap))
        return 0;
    *s = r;
    return 1;
}

static int one_symbol(const struct node *x, int *id)
{
    if (x->kind == N_SYM) {
        if (*id >= 0 && *id != x->id)
            return 0;
        *id = x->id;
    }
    if (x->kind == N_CALL || x->kind == N_OPAQUE || x->kind == N_UNIT || x->kind == N_PM)
        return 0;
    for (int i = 0; i < x->n; i++)
        if (!one_symbol(x->kid[i], id))
            return 0;
    return 1;
}

struct node *math_substitute(struct math_checker *m, struct node *x, int id, struct node *by)
{
    if (x->kind == N_SYM)
        return x->id == id ? by : x;
    if (!x->n)
        return x;
    struct node *y = math_node(m, x->kind, x->n);
    struct node **kid = y->kid;
    *y = *x;
    y->kid = kid;
    for (int i = 0; i < x->n; i++)
        kid[i] = math_substitute(m, x->kid[i], id, by);
    return y;
}

static int solve(struct math_checker *m, struct node *a, int op, struct node *b, struct rset *s);

/* |a| op b with b > 0. */
static int solve_abs(struct math_checker *m, struct node *a, int op, struct node *b, struct rset *s)
{
    struct node *minus = math_wrap(m, N_MUL, math_num(m, -1), b);
    struct rset t = {.var = s->var};
    int less = op == R_LT || op == R_LE, back = op == R_LT ? R_GT : op == R_LE ? R_GE : op == R_GT ? R_LT : R_LE;
    if (op > R_GE || op < R_LT || math_scalar_cmp(m, b, math_num(m, 0)) != 1 || !solve(m, a, op, b, s))
        return 0;
    t.var = s->var;
    if (!solve(m, a, back, minus, &t))
        return 0;
    if (less)
        return intersect(m, s, &t);
    for (int i = 0; i < t.n; i++)
        if (!push(s, t.p[i]))
            return 0;
    return tidy(m, s);
}

/* a op b, linear in one name. */
static int solve(struct math_checker *m, struct node *a, int op, struct node *b, struct rset *s)
{
    int id = -1;
    if (!math_is_scalar(a) || !math_is_scalar(b))
        return 0;
    if (a->kind == N_FN && a->fn == FN_ABS)
        return solve_abs(m, a->kid[0], op, b, s);
    if (b->kind == N_FN && b->fn == FN_ABS && op >= R_LT && op <= R_GE)
        return solve_abs(m, b->kid[0], op == R_LT ? R_GT : op == R_LE ? R_GE : op == R_GT ? R_LT : R_LE, a, s);
    int ia = math_infinity(m, a), ib = math_infinity(m, b);
    struct node *f;
    if (!one_symbol(a, &id) || !one_symbol(b, &id) || id < 0) {
        /* several names: "x < a" with a bare name on one side is solved for the name */
        if (a->kind == N_SYM && b->kind != N_SYM)
            id = a->id;
        else if (b->kind == N_SYM && a->kind != N_SYM)
            id = b->id;
        else
            return 0;
    }
    if ((s->var >= 0 && s->var != id) || op > R_GE)
        return 0;
    s->var = id;
    struct piece p = {0};
    if (ia || ib) {
        if ((ia ? b : a)->kind != N_SYM)
            return 0;
        return push(s, p);
    }
    int slope;
    struct node *root;
    if (a->kind == N_SYM || b->kind == N_SYM) {
        slope = a->kind == N_SYM ? 1 : -1;
        root = a->kind == N_SYM ? b : a;
    } else {
        f = math_minus(m, a, b);
        struct node *f0 = math_substitute(m, f, id, math_num(m, 0)), *f1 = math_substitute(m, f, id, math_num(m, 1)), *f2 = math_substitute(m, f, id, math_num(m, 2));
        struct node *twice = math_wrap(m, N_MUL, math_num(m, 2), f1), *sum = math_wrap(m, N_ADD, f2, f0), *k = math_minus(m, f1, f0);
        struct node *f3 = math_substitute(m, f, id, math_num(m, 3)), *three = math_wrap(m, N_ADD, f0, math_wrap(m, N_MUL, math_num(m, 3), k));
        if (math_scalar_eq(m, sum, twice) != 1 || math_scalar_eq(m, f3, three) != 1)
            return 0;
        slope = math_scalar_cmp(m, k, math_num(m, 0));
        if (slope == 0 || slope == 2)
            return 0;
        root = math_wrap(m, N_DIV, math_wrap(m, N_MUL, math_num(m, -1), f0), k);
    }
    int less = op == R_LT || op == R_LE, in = op == R_LE || op == R_GE;
    if (op == R_EQ) {
        p = (struct piece){root, root, 1, 1};
        return push(s, p);
    }
    if (op == R_NE) {
        p = (struct piece){NULL, root, 0, 0};
        struct piece q = {root, NULL, 0, 0};
        return push(s, p) && push(s, q);
    }
    if (slope < 0)
        less = !less;
    if (less)
        p = (struct piece){NULL, root, 0, in};
    else
        p = (struct piece){root, NULL, in, 0};
    return push(s, p);
}

static int read_set(struct math_checker *m, struct node *x, struct rset *s);

static int to_set(struct math_checker *m, struct node *x, struct rset *s)
{
    int r = m->sets < MATH_MAX_SETS;
    m->sets++;
    r = r && read_set(m, x, s);
    m->sets--;
    return r;
}

static int from_relation(struct math_checker *m, struct node *x, struct rset *s)
{
    struct rset t = {.var = s->var};
    for (int i = 0; i + 1 < x->n; i++) {
        struct rset u = {.var = t.var};
        if (x->rel[i] == R_IN || x->rel[i] == R_NOTIN) {
            if (x->n != 2 || x->kid[0]->kind != N_SYM || !to_set(m, x->kid[1], &u) || (x->rel[i] == R_NOTIN && !complement(m, &u)))
                return 0;
            u.var = x->kid[0]->id;
        } else if (x->rel[i] == R_EQ || !solve(m, x->kid[i], x->rel[i], x->kid[i + 1], &u)) {
            return 0;
        }
        t.var = u.var;
        if (i == 0)
            t = u;
        else if (!intersect(m, &t, &u))
            return 0;
    }
    *s = t;
    return 1;
}

static int combine(struct math_checker *m, struct node *x, struct rset *s, int op)
{
    for (int i = 0; i < x->n; i++) {
        struct rset t = {.var = s->var};
        if (math_is_scalar(x->kid[i]) && x->kind == N_SETOP) { /* {1} */
            push(&t, (struct piece){x->kid[i], x->kid[i], 1, 1});
        } else if (m->over || !to_set(m, x->kid[i], &t) || (s->var >= 0 && t.var >= 0 && s->var != t.var))
            return 0;
        if (i == 0) {
            *s = t;
            continue;
        }
        s->var = t.var >= 0 ? t.var : s->var;
        if (op == 'U') {
            for (int k = 0; k < t.n; k++)
                if (!push(s, t.p[k]))
                    return 0;
            continue;
        }
        if (op == 'D' && !complement(m, &t))
            return 0;
        if (!intersect(m, s, &t))
            return 0;
    }
    return op == 'U' ? tidy(m, s) : 1;
}

static struct node *end_point(struct math_checker *m, struct node *x)
{
    return math_infinity(m, x) ? NULL : x;
}

static int read_set(struct math_checker *m, struct node *x, struct rset *s)
{
    struct piece p = {0};
    switch (x->kind) {
    case N_TUPLE:
        if (x->n != 2 || !math_is_scalar(x->kid[0]) || !math_is_scalar(x->kid[1]) || math_infinity(m, x->kid[0]) > 0 || math_infinity(m, x->kid[1]) < 0)
            return 0;
        s->explicit_set = 1;
        p = (struct piece){end_point(m, x->kid[0]), end_point(m, x->kid[1]), x->open == '[', x->close == ']'};
        return push(s, p);
    case N_SET:
        s->explicit_set = 1;
        for (int i = 0; i < x->n; i++) {
            p = (struct piece){x->kid[i], x->kid[i], 1, 1};
            if (!math_is_scalar(x->kid[i]) || !push(s, p))
                return 0;
        }
        return 1;
    case N_CONST:
        s->explicit_set = 1;
        if (x->fn == C_EMPTY)
            return 1;
        return x->fn == C_REALS ? push(s, p) : 0;
    case N_SETOP: s->explicit_set = 1; return combine(m, x, s, x->fn);
    case N_LIST: { /* x > 1, x < 5: both; x > 5, x < 1: one of the two */
        struct rset keep = *s;
        if (combine(m, x, s, 'N') && tidy(m, s) && s->n)
            return 1;
        *s = keep;
        return combine(m, x, s, 'U');
    }
    case N_AND: return combine(m, x, s, 'N');
    case N_OR: return combine(m, x, s, 'U');
    case N_REL: return from_relation(m, x, s);
    case N_BUILDER: {
        struct node *v = x->kid[0];
        if (v->kind == N_REL && v->n == 2 && v->rel[0] == R_IN && v->kid[1]->kind == N_CONST && v->kid[1]->fn == C_REALS)
            v = v->kid[0];
        struct node *c = x->kid[1];
        if (v->kind != N_SYM || !(c->kind == N_LIST ? combine(m, c, s, 'N') : to_set(m, c, s)) || s->var != v->id)
            return 0;
        s->var = -1;
        s->explicit_set = 1;
        return 1;
    }
    case N_WHERE:
        if (x->kid[1]->kind == N_REL && x->kid[1]->rel[0] == R_IN && x->kid[1]->kid[1]->kind == N_CONST && x->kid[1]->kid[1]->fn == C_REALS)
            return to_set(m, x->kid[0], s);
        return 0;
    default: return 0;
    }
}

int math_real_set_eq(struct math_checker *m, struct node *g, struct node *p)
{
    struct rset a = {.var = -1}, b = {.var = -1};
    if (!to_set(m, g, &a) || !to_set(m, p, &b) || !tidy(m, &a) || !tidy(m, &b))
        return -2;
    if (a.var >= 0 && b.var >= 0 && a.var != b.var) {
        math_why(m, "inequalities about different names");
        return 0;
    }
    if (!m->o.interval_inequality && a.explicit_set != b.explicit_set) {
        math_why(m, "an interval against an inequality (policy interval_inequality)");
        return 0;
    }
    if (a.n != b.n) {
        math_why(m, "sets of reals with %d and %d pieces", a.n, b.n);
        return 0;
    }
    for (int i = 0; i < a.n; i++) {
        struct piece *x = &a.p[i], *y = &b.p[i];
        if (!x->lo != !y->lo || !x->hi != !y->hi || (x->lo && x->lo_in != y->lo_in) || (x->hi && x->hi_in != y->hi_in)) {
            math_why(m, "intervals differ in kind: open, closed or infinite");
            return 0;
        }
        int r = 1;
        if (x->lo && (r = math_quantity_eq(m, x->lo, y->lo)) != 1)
            return r;
        if (x->hi && (r = math_quantity_eq(m, x->hi, y->hi)) != 1)
            return r;
    }
    math_why(m, "the same set of real numbers");
    return 1;
}
