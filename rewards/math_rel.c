/* Equations and inequalities: labels (x = 5), chains (x = a = b), and relations that are one another times a constant. */
#include <string.h>

#include "rewards/math_int.h"

static int upper(const struct math_checker *m, const struct node *x)
{
    return x->kind == N_SYM && m->sym[x->id].name.p[0] >= 'A' && m->sym[x->id].name.p[0] <= 'Z';
}

/* dy */
static int differential(const struct math_checker *m, const struct node *x)
{
    return x->kind == N_MUL && x->n == 2 && x->kid[0]->kind == N_SYM && x->kid[1]->kind == N_SYM && str_eq(m->sym[x->kid[0]->id].name, STR("d"));
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
        if (x->n == 2 && x->kid[0]->kind == N_POW && x->kid[0]->kid[0]->kind == N_SYM && (x->kid[1]->flags & F_PAREN) && x->kid[1]->kind == N_SYM)
            return 1; /* f^{-1}(x) */
        for (int i = 0; i < x->n; i++)
            if (!upper(m, x->kid[i]) && !(x->kid[i]->kind == N_SYM && (m->sym[x->kid[i]->id].name.n > 4)))
                return 0;
        return 1;
    case N_DIV: return differential(m, x->kid[0]) && differential(m, x->kid[1]);
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

/* Members of a chain that can be compared must agree: "1/2 = 0.6" and "x = 2a = 3a" say nothing. */
static int consistent(struct math_checker *m, struct node *x, int last)
{
    struct node *v = x->kid[last];
    for (int i = 0; i < last; i++) {
        struct node *k = x->kid[i];
        if (constant(k) != constant(v) || names_a_value(m, k) || !math_is_scalar(k) || !math_is_scalar(v) || math_has(k, N_PM) || math_has(v, N_PM))
            continue;
        if (i == 0 && !constant(k))
            continue;
        if (math_quantity_eq(m, k, v) != 1) {
            math_why(m, "the members of a chain of equations differ");
            return 0;
        }
    }
    return 1;
}

/* The value an equation gives to a label, or NULL. */
static struct node *value_of(struct math_checker *m, struct node *x)
{
    if (x->n > 2 && x->rel[1] != R_APPROX && !m->o.equation_chain)
        return NULL;
    int last = last_exact(m, x);
    struct node *v = x->kid[last];
    struct rat q;
    if (last == 0)
        return v;
    if (x->n == 2 && !math_is_scalar(x->kid[0]) && math_has(x->kid[0], N_MATRIX))
        return v; /* A + B = C */
    if (x->n == 2 && !names_a_value(m, x->kid[0])) {
        if (names_a_value(m, v) && constant(x->kid[0]))
            return x->kid[0]; /* 5 = x */
        if (!constant(x->kid[0]) && !(math_is_scalar(v) && !(math_rat(m, v, &q) && !q.sign) && math_has(x->kid[0], N_SYM)))
            return NULL; /* an equation, not a value */
        if (!constant(x->kid[0]) && !constant(v))
            return NULL;
    }
    return consistent(m, x, last) ? v : NULL;
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

/* f(x), y(t) */
static int functional(const struct node *x)
{
    if (x->kind == N_CALL) /* f(x), but not f(2): that is one value among others */
        for (int i = 0; i < x->n; i++)
            if (constant(x->kid[i]))
                return 0;
    return x->kind == N_CALL || (x->kind == N_MUL && x->n == 2 && (x->kid[1]->flags & F_PAREN));
}

static int all_constant(const struct node *x)
{
    for (int i = 0; i < x->n; i++)
        if (!constant(x->kid[i]))
            return 0;
    return 1;
}

/* Both give an approximation: they must not contradict one another. */
static int tails_agree(struct math_checker *m, struct node *g, struct node *p)
{
    struct node *a = g->kid[g->n - 1], *b = p->kid[p->n - 1];
    if (g->rel[g->n - 2] != R_APPROX || p->rel[p->n - 2] != R_APPROX || !constant(a) || !constant(b))
        return 1;
    if (math_quantity_eq(m, a, b) == 1)
        return 1;
    if ((a->kind == N_NUM && math_rounds_to(m, b, a)) || (b->kind == N_NUM && math_rounds_to(m, a, b)))
        return 1;
    math_why(m, "the approximations differ");
    return 0;
}

static int memberwise(struct math_checker *m, struct node *g, struct node *p, int reversed);

/* Chains and plain statements: member by member, or a consistent chain with the same end. */
static int chains(struct math_checker *m, struct node *g, struct node *p)
{
    if (g->n == p->n && memberwise(m, g, p, 0)) {
        math_why(m, "the same equation, member by member");
        return 1;
    }
    int gl = last_exact(m, g), pl = last_exact(m, p);
    if (!tails_agree(m, g, p) || !consistent(m, p, pl))
        return 0;
    for (int i = 0; g->n == p->n && i < pl; i++) { /* a member that differs must be one that could be verified */
        struct node *k = p->kid[i], *v = p->kid[pl];
        if (math_is_label(m, k) || (math_is_scalar(k) && math_is_scalar(v) && constant(k) == constant(v) && i > 0) || (constant(k) && constant(v)))
            continue;
        if (math_equal(m, g->kid[i], k) != 1)
            return 0;
    }
    if (!all_constant(g) && !(math_is_label(m, g->kid[0]) && math_is_label(m, p->kid[0])) && g->n == 2 && p->n == 2)
        return 0;
    if (math_is_label(m, g->kid[0]) != math_is_label(m, p->kid[0]))
        return 0;
    return math_equal(m, g->kid[gl], p->kid[pl]);
}

/* The prediction with its argument called as the gold calls it: f(t) = t^2 as f(x) = x^2. */
static struct node *renamed(struct math_checker *m, struct node *g, struct node *p)
{
    struct node *a = g->kid[0], *b = p->kid[0];
    if (a->kind != N_CALL || b->kind != N_CALL || a->id != b->id || a->n != 1 || b->n != 1 || a->kid[0]->kind != N_SYM || b->kid[0]->kind != N_SYM)
        return p;
    struct node *q = math_substitute(m, p, b->kid[0]->id, a->kid[0]);
    q->rel = p->rel;
    return q;
}

static int both_equations(struct math_checker *m, struct node *g, struct node *p)
{
    int gl = math_is_label(m, g->kid[0]), pl = math_is_label(m, p->kid[0]);
    int named = m->o.function_name && (functional(g->kid[0]) || functional(p->kid[0])); /* y = ... and f(x) = ... */
    if (m->o.dummy_variable)
        p = renamed(m, g, p);
    if (all_constant(g) || all_constant(p) || g->n > 2 || p->n > 2) {
        if (gl && pl && !same_label(m, g->kid[0], p->kid[0]) && !named) {
            math_why(m, "values for different names");
            return 0;
        }
        return chains(m, g, p);
    }
    if (gl && pl) {
        struct node *gv = g->kid[1], *pv = p->kid[1];
        if (same_label(m, g->kid[0], p->kid[0]) || named) {
            int r = math_equal(m, gv, pv);
            if (r == 1 || (constant(gv) && constant(pv)))
                return r;
        } else if ((constant(gv) && constant(pv)) || (!m->o.function_name && (functional(g->kid[0]) || functional(p->kid[0])))) {
            math_why(m, "values for different names");
            return 0;
        }
    }
    if (rewritten_eq(m, g, p) == 1)
        return 1;
    const char *why = m->why;
    if (memberwise(m, g, p, 0) || memberwise(m, g, p, 1)) {
        math_why(m, "the same equation, member by member");
        return 1;
    }
    m->why = why;
    return 0;
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
        if (g->n > 2 && g->rel[1] != R_APPROX && !m->o.equation_chain) {
            math_why(m, "the gold is a chain of equations (policy equation_chain)");
            return 0;
        }
        return math_equal(m, g->kid[last_exact(m, g)], p);
    }
    if (pe && g->kind != N_REL) {
        struct node *v = m->o.label_optional ? value_of(m, p) : NULL;
        if (!v) {
            if (!m->why[0])
                math_why(m, "the prediction is an equation, the gold is none");
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
