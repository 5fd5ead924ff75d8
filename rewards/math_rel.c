/* Equations and inequalities: labels (x = 5), chains (x = a = b), and relations that are one another times a constant. */
#include <string.h>

#include "rewards/math_int.h"

static int upper(const struct math_checker *m, const struct node *x)
{
    return x->kind == N_SYM && m->sym[x->id].name.p[0] >= 'A' && m->sym[x->id].name.p[0] <= 'Z';
}

/* A name for a value: x, f(x), |AB|, AB, \angle ABC, (x, y), a_n. */
int math_is_label(const struct math_checker *m, const struct node *x)
{
    switch (x->kind) {
    case N_SYM:
    case N_CALL: return 1;
    case N_MUL:
        if (x->n == 2 && x->kid[0]->kind == N_SYM && (x->kid[1]->flags & F_PAREN) && x->kid[1]->kind == N_SYM)
            return 1; /* y(t) */
        for (int i = 0; i < x->n; i++)
            if (!upper(m, x->kid[i]) && !(x->kid[i]->kind == N_SYM && (m->sym[x->kid[i]->id].name.n > 4)))
                return 0;
        return 1;
    case N_FN: return (x->fn == FN_ABS || x->fn == FN_NORM) && math_is_label(m, x->kid[0]);
    case N_TUPLE:
        for (int i = 0; i < x->n; i++)
            if (x->kid[i]->kind != N_SYM)
                return 0;
        return 1;
    case N_TEXT: return 1;
    default: return 0;
    }
}

/* f(1)+f(2) is a label in a chain of values as well. */
static int names_a_value(const struct math_checker *m, const struct node *x)
{
    return math_is_label(m, x) || math_has(x, N_CALL) || x->kind == N_OPAQUE || (x->kind == N_FN && math_has(x, N_SYM));
}

static int equality(const struct node *x)
{
    if (x->kind != N_REL)
        return 0;
    for (int i = 0; i + 1 < x->n; i++)
        if (x->rel[i] != R_EQ && x->rel[i] != R_APPROX)
            return 0;
    return 1;
}

static int constant(const struct node *x)
{
    return math_is_scalar(x) && !math_has(x, N_SYM) && !math_has(x, N_CALL) && !math_has(x, N_OPAQUE) && !math_has(x, N_PM);
}

/* Index of the last member in front of an approximation. */
static int last_exact(const struct math_checker *m, const struct node *x)
{
    int last = x->n - 1;
    if (m->o.approx_tail)
        for (int i = x->n - 2; i >= 1; i--)
            if (x->rel[i] == R_APPROX)
                last = i;
    if (m->o.approx_tail && x->n == 2 && x->rel[0] == R_APPROX && constant(x->kid[0]))
        last = 0;
    return last;
}

/* The value an equation gives to a label, or NULL. Constant members of a chain must agree: "1/2 = 0.6" gives nothing. */
static struct node *value_of(struct math_checker *m, struct node *x, int gold_is_value)
{
    int last = last_exact(m, x);
    struct node *v = x->kid[last];
    if (last == 0)
        return v;
    if (x->n == 2 && !math_is_scalar(x->kid[0]) && math_has(x->kid[0], N_MATRIX))
        return v; /* A + B = C */
    if (x->n == 2 && !names_a_value(m, x->kid[0])) {
        if (names_a_value(m, v) && constant(x->kid[0]))
            return x->kid[0]; /* 5 = x */
        struct rat q;
        if (!constant(x->kid[0]) && !(gold_is_value && math_is_scalar(v) && !(math_rat(m, v, &q) && !q.sign) && math_has(x->kid[0], N_SYM)))
            return NULL; /* an equation, not a value */
        if (!constant(x->kid[0]) && !constant(v))
            return NULL;
    }
    for (int i = 0; i < last && gold_is_value; i++)
        if (constant(x->kid[i]) && constant(v) && math_quantity_eq(m, x->kid[i], v) != 1) {
            math_why(m, "the members of a chain of equations differ");
            return NULL;
        }
    return v;
}

static int rewritten_eq(struct math_checker *m, struct node *g, struct node *p)
{
    if (g->n != 2 || p->n != 2 || !math_is_scalar(g->kid[0]) || !math_is_scalar(g->kid[1]) || !math_is_scalar(p->kid[0]) || !math_is_scalar(p->kid[1]))
        return -1;
    if (math_has(g, N_PM) || math_has(p, N_PM))
        return -1;
    int k = math_proportional(m, math_minus(m, g->kid[0], g->kid[1]), math_minus(m, p->kid[0], p->kid[1]));
    math_why(m, k ? "the same equation up to a constant factor" : "the equations are not multiples of one another");
    return k != 0;
}

static int same_label(struct math_checker *m, struct node *a, struct node *b)
{
    if (a->kind == N_SYM && b->kind == N_SYM)
        return a->id == b->id || (m->sym[a->id].name.n == 1 && m->sym[b->id].name.n == 1 && ((m->sym[a->id].name.p[0] ^ m->sym[b->id].name.p[0]) == 32));
    if (math_is_scalar(a) && math_is_scalar(b))
        return math_scalar_eq(m, a, b) == 1;
    return math_equal(m, a, b) == 1;
}

static int functional(const struct node *x)
{
    return x->kind == N_CALL || x->kind == N_MUL;
}

static int both_equations(struct math_checker *m, struct node *g, struct node *p)
{
    int gl = math_is_label(m, g->kid[0]), pl = math_is_label(m, p->kid[0]), r = -1;
    if (gl && pl) {
        struct node *gv = g->kid[last_exact(m, g)], *pv = p->kid[last_exact(m, p)];
        int same = same_label(m, g->kid[0], p->kid[0]);
        if (same || functional(g->kid[0]) || functional(p->kid[0])) {
            r = math_equal(m, gv, pv);
            if (r == 1 || (constant(gv) && constant(pv)))
                return r;
        } else if (constant(gv) && constant(pv)) {
            math_why(m, "values for different names");
            return 0;
        }
    }
    int eq = rewritten_eq(m, g, p);
    if (eq >= 0)
        return eq;
    if (g->n == p->n) {
        int all = 1;
        for (int i = 0; i < g->n && all; i++)
            all = math_equal(m, g->kid[i], p->kid[i]) == 1;
        if (all)
            return 1;
    }
    if (g->n > 2 || p->n > 2) {
        struct node *gv = g->kid[last_exact(m, g)], *pv = p->kid[last_exact(m, p)];
        return math_equal(m, gv, pv);
    }
    return r >= 0 ? r : 0;
}

static int flip(int op)
{
    return op == R_LT ? R_GT : op == R_GT ? R_LT : op == R_LE ? R_GE : op == R_GE ? R_LE : op;
}

static int memberwise(struct math_checker *m, struct node *g, struct node *p, int reversed)
{
    if (g->n != p->n)
        return 0;
    for (int i = 0; i + 1 < g->n; i++)
        if (g->rel[i] != (reversed ? flip(p->rel[g->n - 2 - i]) : p->rel[i]))
            return 0;
    for (int i = 0; i < g->n; i++)
        if (math_equal(m, g->kid[i], p->kid[reversed ? g->n - 1 - i : i]) != 1)
            return 0;
    return 1;
}

static int inequalities(struct math_checker *m, struct node *g, struct node *p)
{
    if (memberwise(m, g, p, 0) || memberwise(m, g, p, 1)) {
        math_why(m, "the same relation, member by member");
        return 1;
    }
    if (g->n == 2 && p->n == 2 && math_is_scalar(g->kid[0]) && math_is_scalar(g->kid[1]) && math_is_scalar(p->kid[0]) && math_is_scalar(p->kid[1]) && g->rel[0] <= R_GE && p->rel[0] <= R_GE) {
        int k = math_proportional(m, math_minus(m, g->kid[0], g->kid[1]), math_minus(m, p->kid[0], p->kid[1]));
        if (k && g->rel[0] == (k < 0 ? flip(p->rel[0]) : p->rel[0])) {
            math_why(m, "the same relation up to a constant factor");
            return 1;
        }
    }
    math_why(m, "the relations differ");
    return 0;
}

int math_relation_eq(struct math_checker *m, struct node *g, struct node *p)
{
    int ge = equality(g), pe = equality(p);
    if (ge && pe)
        return both_equations(m, g, p);
    if (ge && p->kind != N_REL) {
        if (!m->o.label_optional || (!math_is_label(m, g->kid[0]) && !(g->n > 2 || g->rel[0] == R_APPROX || (constant(g->kid[0]) && constant(g->kid[g->n - 1])) || math_has(g->kid[0], N_CALL)))) {
            math_why(m, "the gold is an equation, the prediction is none");
            return 0;
        }
        return math_equal(m, g->kid[last_exact(m, g)], p);
    }
    if (pe && g->kind != N_REL) {
        struct node *v = m->o.label_optional ? value_of(m, p, 1) : NULL;
        if (!v) {
            if (!m->why[0])
                math_why(m, "the prediction is an equation, the gold is a value");
            return 0;
        }
        return math_equal(m, g, v);
    }
    if (g->kind == N_REL && p->kind == N_REL)
        return inequalities(m, g, p);
    /* x \in S against S */
    if (p->kind == N_REL && p->n == 2 && p->rel[0] == R_IN && p->kid[0]->kind == N_SYM)
        return math_equal(m, g, p->kid[1]);
    if (g->kind == N_REL && g->n == 2 && g->rel[0] == R_IN && g->kid[0]->kind == N_SYM)
        return math_equal(m, g->kid[1], p);
    math_why(m, "a relation against something else");
    return 0;
}
