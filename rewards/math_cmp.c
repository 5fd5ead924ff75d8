/* Typed comparison of two answers. */
#include <string.h>

#include "rewards/math_int.h"

static int is_interval(const struct node *x)
{
    return x->kind == N_TUPLE && x->n == 2;
}

/* x >= 2, x <= -2 */
static int inequality_list(const struct node *x)
{
    if (x->kind != N_LIST || x->n < 2)
        return 0;
    for (int i = 0; i < x->n; i++)
        if (x->kid[i]->kind != N_REL || x->kid[i]->rel[0] == R_EQ || x->kid[i]->rel[0] > R_GE)
            return 0;
    return 1;
}

static int setlike(const struct node *x)
{
    return is_interval(x) || x->kind == N_SETOP || x->kind == N_AND || x->kind == N_OR || x->kind == N_BUILDER ||
           (x->kind == N_REL && x->rel[0] != R_EQ && x->rel[0] != R_APPROX) || (x->kind == N_CONST && (x->fn == C_EMPTY || x->fn == C_REALS)) || x->kind == N_SET ||
           (x->kind == N_WHERE && setlike(x->kid[0])) || inequality_list(x);
}

int math_ordered(struct math_checker *m, struct node **g, struct node **p, int n)
{
    int r = 1;
    m->inner++;
    for (int i = 0; i < n && r == 1 && !m->over; i++)
        r = math_equal(m, g[i], p[i]);
    m->inner--;
    if (r == 1)
        math_why(m, "equal member by member");
    return m->over ? -1 : r;
}

static int match(struct math_checker *m, struct node **g, int ng, struct node **p, int np, uint8_t *used, int *undecided)
{
    for (int i = 0; i < ng; i++) {
        int hit = 0;
        for (int k = 0; k < np && !hit && !m->over; k++) {
            int j = (i + k) % np;
            if (used[j] && !m->o.set_duplicates)
                continue;
            int r = math_equal(m, g[i], p[j]);
            *undecided |= r < 0;
            if (r == 1)
                hit = used[j] = 1;
        }
        if (!hit) {
            math_why(m, "member %d of the gold is missing", i + 1);
            return *undecided ? -1 : 0;
        }
    }
    for (int j = 0; j < np; j++) {
        int hit = used[j];
        for (int i = 0; i < ng && !hit && !m->over; i++)
            hit = math_equal(m, g[i], p[j]) == 1;
        if (!hit) {
            math_why(m, "member %d of the prediction is not in the gold", j + 1);
            return 0;
        }
    }
    math_why(m, "the same members in any order");
    return 1;
}

/* As sets (repeats count once) or as multisets. */
int math_unordered(struct math_checker *m, struct node **g, int ng, struct node **p, int np)
{
    enum { MOST = 400 };
    if (ng > MOST || np > MOST || (!m->o.set_duplicates && ng != np)) {
        math_why(m, "%d against %d members", ng, np);
        return 0;
    }
    uint8_t *used = math_new(m, np);
    int undecided = 0;
    m->inner++;
    int r0 = match(m, g, ng, p, np, used, &undecided);
    m->inner--;
    return r0;
}
/* ---- plus or minus ---- */

static void count_pm(const struct node *x, int *plus, int *minus)
{
    if (x->kind == N_PM) {
        *plus += x->fn == '+';
        *minus += x->fn == '-';
    }
    for (int i = 0; i < x->n; i++)
        count_pm(x->kid[i], plus, minus);
}

static struct node *choose(struct math_checker *m, struct node *x, unsigned bits, int *next, int joint)
{
    if (!x->n)
        return x;
    struct node *y;
    if (x->kind == N_PM) {
        unsigned b = joint ? bits & 1 : bits >> *next & 1;
        ++*next;
        y = choose(m, x->kid[0], bits, next, joint);
        return (x->fn == '+') == !b ? y : math_wrap(m, N_MUL, math_num(m, -1), y);
    }
    y = math_node(m, x->kind, x->n);
    struct node **kid = y->kid;
    *y = *x;
    y->kid = kid;
    for (int i = 0; i < x->n; i++)
        kid[i] = choose(m, x->kid[i], bits, next, joint);
    return y;
}

/* All readings of an answer with signs left open; the members of a list are opened one by one. NULL: too many. */
static struct node *open_signs(struct math_checker *m, struct node *x)
{
    int plus = 0, minus = 0;
    struct vec v = {0};
    count_pm(x, &plus, &minus);
    if (plus + minus > 8)
        return NULL;
    if (x->kind == N_LIST || x->kind == N_SET) {
        for (int i = 0; i < x->n; i++) {
            struct node *k = math_has(x->kid[i], N_PM) ? open_signs(m, x->kid[i]) : x->kid[i];
            if (!k)
                return NULL;
            if (k->kind == N_LIST)
                for (int j = 0; j < k->n; j++)
                    math_push(m, &v, k->kid[j]);
            else
                math_push(m, &v, k);
        }
        return math_from(m, N_LIST, &v);
    }
    int joint = minus > 0, n = joint ? 1 : plus;
    if (n > 3)
        return NULL;
    for (unsigned b = 0; b < 1u << n; b++) {
        int next = 0;
        math_push(m, &v, choose(m, x, b, &next, joint));
    }
    return math_from(m, N_LIST, &v);
}

/* ---- text ---- */

static int between_digits(struct str s, int64_t i)
{
    return i > 0 && i + 1 < s.n && s.p[i - 1] >= '0' && s.p[i - 1] <= '9' && s.p[i + 1] >= '0' && s.p[i + 1] <= '9';
}

/* Lower case, no spaces but between digits, no full stop at the end, no brackets around the whole. */
static struct str bare(struct math_checker *m, struct str s)
{
    if (s.n > MATH_MAX_BYTES)
        return s;
    char *p = math_new(m, s.n + 1);
    int64_t n = 0;
    for (int64_t i = 0; i < s.n; i++)
        if ((s.p[i] != ' ' || between_digits(s, i)) && s.p[i] != '"')
            p[n++] = s.p[i] >= 'A' && s.p[i] <= 'Z' ? (char)(s.p[i] | 32) : s.p[i];
    while (n && (p[n - 1] == '.' || p[n - 1] == '!'))
        n--;
    if (n > 2 && p[0] == '(' && p[n - 1] == ')' && !memchr(p + 1, '(', (size_t)n - 2)) {
        p++;
        n -= 2;
    }
    return (struct str){p, n};
}

static struct str text_of(struct math_checker *m, const struct node *x)
{
    return x->kind == N_TEXT ? x->s : x->kind == N_SYM ? m->sym[x->id].name : (struct str){NULL, 0};
}

static int names_eq(struct math_checker *m, const struct node *g, const struct node *p)
{
    struct str a = bare(m, text_of(m, g)), b = bare(m, text_of(m, p));
    int eq = a.n && str_eq(a, b);
    math_why(m, eq ? "the same text" : "texts differ");
    return eq;
}

/* ---- conditions ---- */

static struct node *parameter(struct node *c)
{
    if (c->kind == N_LIST)
        return c->n ? parameter(c->kid[0]) : NULL;
    return c->kind == N_REL && c->n >= 2 && c->rel[0] == R_IN && c->kid[0]->kind == N_SYM && c->kid[1]->kind == N_CONST ? c->kid[0] : NULL;
}

static int uses(const struct node *x, int id)
{
    if (x->kind == N_SYM && x->id == id)
        return 1;
    for (int i = 0; i < x->n; i++)
        if (uses(x->kid[i], id))
            return 1;
    return 0;
}

/* x = pi/4 + k pi, k in Z: the name of the integer does not matter. */
static int with_condition(struct math_checker *m, struct node *g, struct node *p)
{
    struct node *gv = g->kind == N_WHERE ? g->kid[0] : g, *pv = p->kind == N_WHERE ? p->kid[0] : p;
    struct node *gk = g->kind == N_WHERE ? parameter(g->kid[1]) : NULL, *pk = p->kind == N_WHERE ? parameter(p->kid[1]) : NULL;
    if (gk && m->o.parametric && !uses(pv, gk->id)) {
        int other = -1;
        if (pk)
            other = pk->id;
        else
            for (int i = 0; i < m->n_sym && other < 0; i++)
                if (uses(pv, i) && !uses(gv, i))
                    other = i;
        if (other >= 0)
            pv = math_substitute(m, pv, other, gk);
    }
    int r = math_equal(m, gv, pv);
    if (r == 1 && g->kind == N_WHERE && p->kind == N_WHERE && !gk && !pk) {
        r = math_equal(m, g->kid[1], p->kid[1]);
        if (r != 1)
            math_why(m, "the side conditions differ");
    }
    return r;
}

static int with_modulus(struct math_checker *m, struct node *g, struct node *p)
{
    if (g->kind == N_MOD && p->kind == N_MOD) {
        int r = math_equal(m, g->kid[1], p->kid[1]);
        if (r != 1)
            return r;
        struct node *a = g->kid[0], *b = p->kid[0];
        a = a->kind == N_REL ? a->kid[a->n - 1] : a;
        b = b->kind == N_REL ? b->kid[b->n - 1] : b;
        return math_equal(m, a, b);
    }
    if (g->kind == N_MOD && m->o.modular) {
        struct node *a = g->kid[0];
        return math_equal(m, a->kind == N_REL ? a->kid[a->n - 1] : a, p);
    }
    math_why(m, "a residue class against a number");
    return 0;
}

/* ---- shapes ---- */

static int tuples(struct math_checker *m, struct node *g, struct node *p)
{
    if (g->n != p->n) {
        math_why(m, "%d against %d members", g->n, p->n);
        return 0;
    }
    if (g->n == 2 && (g->open != p->open || g->close != p->close)) {
        math_why(m, "brackets differ: open against closed");
        return 0;
    }
    return math_ordered(m, g->kid, p->kid, g->n);
}

static int matrices(struct math_checker *m, struct node *g, struct node *p)
{
    if (g->rows != p->rows || g->n != p->n) {
        math_why(m, "matrices of different shape");
        return 0;
    }
    return math_ordered(m, g->kid, p->kid, g->n);
}

/* A matrix against a tuple of numbers, or of rows. */
static int matrix_tuple(struct math_checker *m, struct node *x, struct node *t, int gold_is_matrix)
{
    int cols = x->n / x->rows;
    if (x->open == 'c' && (t->kind == N_LIST || t->kind == N_SET))
        return gold_is_matrix ? math_unordered(m, x->kid, x->n, t->kid, t->n) : math_unordered(m, t->kid, t->n, x->kid, x->n);
    if (m->o.vector_row && (x->rows == 1 || cols == 1) && t->n == x->n && t->kind != N_SET && (t->n == 0 || t->kid[0]->kind != N_TUPLE))
        return gold_is_matrix ? math_ordered(m, x->kid, t->kid, t->n) : math_ordered(m, t->kid, x->kid, t->n);
    if (t->kind == N_TUPLE && t->n == x->rows) {
        for (int i = 0; i < t->n; i++) {
            if (t->kid[i]->kind != N_TUPLE || t->kid[i]->n != cols)
                return 0;
            int r = gold_is_matrix ? math_ordered(m, x->kid + i * cols, t->kid[i]->kid, cols) : math_ordered(m, t->kid[i]->kid, x->kid + i * cols, cols);
            if (r != 1)
                return r;
        }
        return 1;
    }
    math_why(m, "a matrix against something else");
    return 0;
}

static int collections(struct math_checker *m, struct node *g, struct node *p)
{
    int gt = g->kind == N_TUPLE, pt = p->kind == N_TUPLE;
    if (gt && pt)
        return tuples(m, g, p);
    if (gt || pt) { /* a tuple against a list or set: in order */
        struct node *t = gt ? g : p;
        if (t->n == 2 && (t->open != '(' || t->close != ')')) {
            math_why(m, "an interval against a list");
            return 0;
        }
        if (g->n != p->n) {
            math_why(m, "%d against %d members", g->n, p->n);
            return 0;
        }
        int set = (gt ? p : g)->kind == N_SET;
        if (m->o.set_vs_tuple && set)
            return math_unordered(m, g->kid, g->n, p->kid, p->n);
        return math_ordered(m, g->kid, p->kid, g->n);
    }
    if (!m->o.list_unordered && g->kind == N_LIST && p->kind == N_LIST)
        return g->n == p->n ? math_ordered(m, g->kid, p->kid, g->n) : 0;
    if (g->kind == N_LIST && g->n >= p->n && m->o.set_duplicates) {
        int keep = m->o.set_duplicates;
        m->o.set_duplicates = 0; /* a list says how often */
        int r = math_unordered(m, g->kid, g->n, p->kid, p->n);
        m->o.set_duplicates = keep;
        return r;
    }
    return math_unordered(m, g->kid, g->n, p->kid, p->n);
}

static int is_collection(const struct node *x)
{
    return x->kind == N_TUPLE || x->kind == N_SET || x->kind == N_LIST;
}

/* 1,234 may be a number or two. */
static int negative(struct node *x, struct node **inner);

static struct node *as_list(struct math_checker *m, struct node *x)
{
    struct vec v = {0};
    struct node *in;
    if (negative(x, &in)) {
        struct node *l = as_list(m, in);
        if (l->kind == N_LIST)
            l->kid[0] = math_wrap(m, N_MUL, math_num(m, -1), l->kid[0]);
        return l;
    }
    struct rat q = x->q, k = rat_of(1000), f, t;
    if (x->kind != N_NUM || !(x->flags & F_THOUSANDS) || !rat_is_int(&q))
        return x;
    struct node *parts[8];
    int n = 0;
    while (q.sign && n < 8) {
        struct rat down;
        if (!rat_div(m, &f, &q, &k) || !rat_floor(m, &down, &f) || !rat_mul(m, &t, &down, &k) || !rat_sub(m, &t, &q, &t))
            return x;
        parts[n] = math_node(m, N_NUM, 0);
        parts[n++]->q = t;
        q = down;
    }
    if (!n) /* 0,000 has no groups to part */
        return x;
    while (n)
        math_push(m, &v, parts[--n]);
    return math_from(m, N_LIST, &v);
}

/* x^3/3 + C against x^3/3 */
static struct node *without_constant(struct math_checker *m, struct node *x)
{
    struct vec v = {0};
    int dropped = 0;
    if (x->kind != N_ADD)
        return NULL;
    for (int i = 0; i < x->n; i++) {
        struct node *k = x->kid[i];
        if (k->kind == N_SYM && !dropped && (str_eq(m->sym[k->id].name, STR("C")) || str_eq(m->sym[k->id].name, STR("c")) || str_eq(m->sym[k->id].name, STR("K"))))
            dropped = 1;
        else
            math_push(m, &v, k);
    }
    struct node *y = v.n == 1 ? v.p[0] : v.n ? math_from(m, N_ADD, &v) : NULL;
    return dropped && y && math_has(y, N_SYM) ? y : NULL;
}

static int uneval(const struct node *x)
{
    if (x->flags & F_UNEVAL && x->kind != N_NUM && !(x->kind == N_FN && (x->fn == FN_MAX || x->fn == FN_MIN)))
        return 1;
    for (int i = 0; i < x->n; i++)
        if (uneval(x->kid[i]))
            return 1;
    return 0;
}

static int find_symbol(const struct math_checker *m, const char *name)
{
    for (int i = 0; i < m->n_sym; i++)
        if (str_eq(m->sym[i].name, str_of(name)))
            return i;
    return -1;
}

/* C_n^k as the number of combinations. */
static struct node *combinations(struct math_checker *m, struct node *x, int *changed)
{
    if (x->kind == N_POW && x->kid[0]->kind == N_SYM) {
        struct str s = m->sym[x->kid[0]->id].name;
        int64_t n;
        if (s.n > 2 && (s.p[0] == 'C' || s.p[0] == 'P' || s.p[0] == 'A') && s.p[1] == '_') {
            struct str sub = str_sub(s, 2, s.n);
            struct node *top = str_to_i64(sub, &n) ? math_num(m, n) : NULL;
            if (!top && sub.n == 1) {
                int id = math_symbol(m, sub, 0);
                if (id >= 0) {
                    top = math_node(m, N_SYM, 0);
                    top->id = (int16_t)id;
                }
            }
            if (top) {
                struct node *b = math_wrap(m, N_FN, top, x->kid[1]);
                b->fn = FN_BINOM;
                *changed = 1;
                if (s.p[0] == 'C')
                    return b;
                struct node *f = math_wrap(m, N_FN, x->kid[1], NULL); /* arrangements */
                f->fn = FN_FACT;
                return math_wrap(m, N_MUL, b, f);
            }
        }
    }
    if (!x->n)
        return x;
    struct node *y = math_node(m, x->kind, x->n);
    struct node **kid = y->kid;
    *y = *x;
    y->kid = kid;
    for (int i = 0; i < x->n; i++)
        kid[i] = combinations(m, x->kid[i], changed);
    return y;
}

/* log without a base as the natural logarithm. */
static struct node *natural(struct math_checker *m, struct node *x, int *changed)
{
    if (!x->n)
        return x;
    struct node *y = math_node(m, x->kind, x->n);
    struct node **kid = y->kid;
    *y = *x;
    y->kid = kid;
    if (x->kind == N_FN && x->fn == FN_LOG && x->n == 1) {
        y->fn = FN_LN;
        *changed = 1;
    }
    for (int i = 0; i < x->n; i++)
        kid[i] = natural(m, x->kid[i], changed);
    return y;
}

static int has_angle(const struct math_checker *m, const struct node *x)
{
    if ((x->kind == N_CONST && x->fn == C_PI) || (x->kind == N_UNIT && str_eq(m->sym[x->id].name, STR("deg"))))
        return 1;
    for (int i = 0; i < x->n; i++)
        if (has_angle(m, x->kid[i]))
            return 1;
    return 0;
}

/* The one name in a family of angles, when it is one that stands for a whole number; -1: there is none. */
static int parameter_name(const struct math_checker *m, const struct node *x)
{
    int found = -1;
    if (!has_angle(m, x))
        return -1;
    for (int i = 0; i < m->n_sym; i++)
        if (uses(x, i)) {
            struct str s = m->sym[i].name;
            if (found >= 0 || s.n != 1 || !strchr("klmn", s.p[0]))
                return -1;
            found = i;
        }
    return found;
}

/* Second readings of a scalar that did not match. */
static int other_readings(struct math_checker *m, struct node *g, struct node *p)
{
    int up = find_symbol(m, "C"), low = find_symbol(m, "c"), changed = 0;
    if (m->o.integration_constant && up >= 0 && low >= 0 && g->kind == N_ADD && p->kind == N_ADD) { /* + C and + c */
        struct node *c = math_node(m, N_SYM, 0);
        c->id = (int16_t)up;
        if (uses(g, up) && !uses(g, low) && uses(p, low) && !uses(p, up) && math_quantity_eq(m, g, math_substitute(m, p, low, c)) == 1)
            return 1;
        c->id = (int16_t)low;
        if (uses(g, low) && !uses(g, up) && uses(p, up) && !uses(p, low) && math_quantity_eq(m, g, math_substitute(m, p, up, c)) == 1)
            return 1;
    }
    int gk = parameter_name(m, g), pk = parameter_name(m, p);
    if (m->o.parametric && gk >= 0 && pk >= 0 && gk != pk && !uses(g, pk)) { /* k pi and n pi */
        struct node *k = math_node(m, N_SYM, 0);
        k->id = (int16_t)gk;
        if (math_quantity_eq(m, g, math_substitute(m, p, pk, k)) == 1) {
            math_why(m, "equal but for the name of the integer parameter (policy parametric)");
            return 1;
        }
    }
    if (math_has(p, N_FN) || math_has(g, N_FN)) {
        struct node *a = natural(m, g, &changed), *b = natural(m, p, &changed);
        if (changed && math_quantity_eq(m, a, b) == 1) {
            math_why(m, "equal when log is the natural logarithm");
            return 1;
        }
        changed = 0;
    }
    if (m->o.comb_notation && (math_has(p, N_POW) || math_has(g, N_POW))) {
        struct node *a = combinations(m, g, &changed), *b = combinations(m, p, &changed);
        if (changed && math_quantity_eq(m, a, b) == 1) {
            math_why(m, "equal when C_n^k is a number of combinations");
            return 1;
        }
    }
    return 0;
}

/* Holds a fraction of two whole numbers with a common divisor. */
static int unreduced(const struct node *x)
{
    int64_t a, b;
    if (x->kind == N_DIV && x->kid[0]->kind == N_NUM && x->kid[1]->kind == N_NUM && rat_i64(&x->kid[0]->q, &a) && rat_i64(&x->kid[1]->q, &b)) {
        while (b) {
            int64_t t = a % b;
            a = b;
            b = t;
        }
        return a > 1;
    }
    if (x->kind == N_MUL && x->n == 2 && x->kid[1]->kind == N_POW && x->kid[1]->kid[0]->kind == N_NUM && x->kid[1]->kid[1]->kind == N_NUM) { /* 6/8 in plain text */
        struct node div = {.kind = N_DIV, .n = 2}, *kid[2] = {x->kid[0], x->kid[1]->kid[0]};
        div.kid = kid;
        if (rat_i64(&x->kid[1]->kid[1]->q, &a) && a == -1 && unreduced(&div))
            return 1;
    }
    for (int i = 0; i < x->n; i++)
        if (unreduced(x->kid[i]))
            return 1;
    return 0;
}

static int scalars(struct math_checker *m, struct node *g, struct node *p)
{
    if (g->kind == N_SYM && p->kind == N_SYM && (g->id == p->id || ((g->flags | p->flags) & F_TEXT)))
        return names_eq(m, g, p);
    if (uneval(p) && !uneval(g)) {
        math_why(m, "the prediction leaves an operator unevaluated");
        return 0;
    }
    if (!m->o.unreduced && unreduced(p) && !unreduced(g)) {
        math_why(m, "a fraction is not in lowest terms (policy unreduced)");
        return 0;
    }
    int r = math_quantity_eq(m, g, p);
    struct node *h;
    if (r != 1 && m->o.integration_constant && (h = without_constant(m, g)) && !without_constant(m, p)) {
        int s = math_quantity_eq(m, h, p);
        if (s == 1) {
            math_why(m, "equal up to the constant of integration (policy integration_constant)");
            return 1;
        }
    }
    if (r == 0 && (math_has(g, N_SYM) || math_has(p, N_SYM) || math_has(p, N_FN) || math_has(g, N_FN))) {
        const char *why = m->why;
        if (other_readings(m, g, p))
            return 1;
        m->why = why;
    }
    return r;
}

static int rat_less_than(const struct rat *a, int64_t b)
{
    int64_t v;
    return rat_i64(a, &v) && v < b;
}

/* "no solution" rather than a sign. */
static int saying(const struct node *x)
{
    return x->kind == N_CONST && (x->flags & F_TEXT) && (x->fn == C_EMPTY || x->fn == C_DNE);
}

static int special(struct math_checker *m, struct node *g, struct node *p)
{
    struct node *x = g->kind == N_BASED ? g : p, *o = x == g ? p : g;
    if (g->kind == N_BASED || p->kind == N_BASED) {
        int r = o->kind == N_BASED ? math_equal(m, g->kid[1], p->kid[1]) == 1 && rat_eq(&g->q, &p->q) : x == g && o->kind == N_NUM && math_scalar_eq(m, g->kid[0], o) == 1;
        math_why(m, r ? "the same digits in the same base" : "numbers in a base differ");
        return r;
    }
    if (g->kind == N_TIME && p->kind == N_TIME) {
        int r = rat_eq(&g->q, &p->q) && (m->o.clock_24h || !g->open == !p->open || rat_less_than(&g->q, 13 * 3600));
        if (!r && !g->open != !p->open && m->o.unit_optional) { /* 8:30 against 8:30 p.m. */
            int64_t a = (int64_t)(g->open ? p : g)->q.n1, b = (int64_t)(g->open ? g : p)->q.n1;
            r = a < 13 * 3600 && (a % 43200 == b % 43200);
        }
        math_why(m, r ? "the same time" : "times differ");
        return r;
    }
    if (m->o.unit_optional && ((g->kind == N_TIME && g->open && p->kind == N_NUM) || (p->kind == N_TIME && p->open && g->kind == N_NUM))) { /* 9 a.m. and 9 */
        int64_t s = (int64_t)(g->kind == N_TIME ? g : p)->q.n1, h;
        int r = rat_i64(&(g->kind == N_TIME ? p : g)->q, &h) && h >= 1 && h <= 12 && s % 43200 == h % 12 * 3600;
        math_why(m, r ? "the same hour, without a.m. or p.m. (policy unit_optional)" : "times differ");
        return r;
    }
    if (g->kind == N_RATIO || p->kind == N_RATIO) {
        if (g->kind == p->kind && g->n == p->n) {
            for (int i = 1; i < g->n; i++) {
                int r = math_scalar_eq(m, math_wrap(m, N_MUL, g->kid[0], p->kid[i]), math_wrap(m, N_MUL, g->kid[i], p->kid[0]));
                if (r != 1)
                    return r;
            }
            return 1;
        }
        if (g->kind == N_RATIO && p->kind == N_TIME && !p->open && g->n == 2) { /* 10:15 was read as a time */
            int64_t s = (int64_t)p->q.n1 * (p->q.sign != 0);
            return math_scalar_eq(m, math_wrap(m, N_MUL, g->kid[0], math_num(m, s % 3600 / 60)), math_wrap(m, N_MUL, g->kid[1], math_num(m, s / 3600)));
        }
        x = g->kind == N_RATIO ? g : p;
        o = x == g ? p : g;
        if (x->n == 2 && math_is_scalar(o))
            return math_scalar_eq(m, math_wrap(m, N_DIV, x->kid[0], x->kid[1]), o);
    }
    math_why(m, "answers of different kinds");
    return 0;
}

static int negative(struct node *x, struct node **inner)
{
    int64_t v;
    if (x->kind != N_MUL || x->n != 2 || x->kid[0]->kind != N_NUM || !rat_i64(&x->kid[0]->q, &v) || v != -1)
        return 0;
    *inner = x->kid[1];
    return 1;
}

static int structural(struct math_checker *m, struct node *g, struct node *p)
{
    struct node *a, *b;
    if (negative(g, &a) && negative(p, &b) && !math_is_scalar(a))
        return math_equal(m, a, b);
    if (g->kind != p->kind || g->n != p->n || g->fn != p->fn || g->kind == N_REL || (g->n == 0 && g->kind != N_DOTS)) {
        math_why(m, "answers of different kinds");
        return 0;
    }
    if (g->kind == N_SETOP && g->fn != 'D')
        return math_unordered(m, g->kid, g->n, p->kid, p->n);
    return math_ordered(m, g->kid, p->kid, g->n);
}

/* Sums of matrices and multiples of one by scalars, entry by entry; NULL: not that. */
static struct node *fold_matrix(struct math_checker *m, struct node *x)
{
    struct node *acc = NULL;
    if (x->kind == N_MATRIX)
        return x;
    if (x->kind != N_ADD && x->kind != N_MUL)
        return NULL;
    struct vec scalar = {0};
    for (int i = 0; i < x->n; i++) {
        struct node *k = x->kid[i], *y = math_is_scalar(k) ? NULL : fold_matrix(m, k);
        if (x->kind == N_MUL && !y && math_is_scalar(k)) {
            math_push(m, &scalar, k);
            continue;
        }
        if (!y || (acc && (x->kind == N_MUL || acc->n != y->n || acc->rows != y->rows)))
            return NULL;
        struct node *sum = math_node(m, N_MATRIX, y->n);
        sum->rows = y->rows;
        sum->open = y->open;
        for (int j = 0; j < y->n; j++) {
            if (!math_is_scalar(y->kid[j]))
                return NULL;
            sum->kid[j] = acc ? math_wrap(m, N_ADD, acc->kid[j], y->kid[j]) : y->kid[j];
        }
        acc = sum;
    }
    if (acc && scalar.n) {
        struct node *f = math_from(m, N_MUL, &scalar);
        for (int j = 0; j < acc->n; j++)
            acc->kid[j] = math_wrap(m, N_MUL, f, acc->kid[j]);
    }
    return acc;
}

static int dispatch(struct math_checker *m, struct node *g, struct node *p)
{
    if (g->kind == N_WHERE || p->kind == N_WHERE) {
        if (setlike(g) && setlike(p)) {
            int r = math_real_set_eq(m, g, p);
            if (r != -2)
                return r;
        }
        return with_condition(m, g, p);
    }
    if (g->kind == N_MOD || p->kind == N_MOD)
        return with_modulus(m, g, p);
    if (g->kind == N_TEXT || p->kind == N_TEXT)
        return names_eq(m, g, p);
    if (g->kind == N_CONST && p->kind == N_SYM && (p->flags & F_TEXT) && ((g->fn == C_I && str_eq(m->sym[p->id].name, STR("i"))) || (g->fn == C_E && str_eq(m->sym[p->id].name, STR("e")))))
        return math_why(m, "the same constant"), 1;
    if (g->kind == N_CONST && p->kind == N_CONST && g->fn == p->fn && (m->o.empty_words || saying(g) == saying(p)))
        return math_why(m, "the same constant"), 1;
    if (!m->o.empty_words && saying(g) != saying(p))
        return math_why(m, "words against a sign (policy empty_words)"), 0;
    int gpm = math_has(g, N_PM), ppm = math_has(p, N_PM);
    if (gpm || ppm) {
        struct node *a = gpm ? open_signs(m, g) : g, *b = ppm ? open_signs(m, p) : p;
        if (!a || !b) {
            math_why(m, "too many open signs");
            return 0;
        }
        return math_equal(m, a, b);
    }
    if (math_is_scalar(g) && math_is_scalar(p))
        return scalars(m, g, p);
    if (m->o.set_vs_tuple && ((g->kind == N_SET && is_interval(p)) || (is_interval(g) && p->kind == N_SET)))
        return collections(m, g, p);
    if (setlike(g) && setlike(p) && !(is_interval(g) && is_interval(p)) && !(g->kind == N_SET && p->kind == N_SET)) {
        int r = math_real_set_eq(m, g, p);
        if (r != -2)
            return r;
    }
    if (g->kind == N_REL || p->kind == N_REL)
        return math_relation_eq(m, g, p);
    struct node *gm = fold_matrix(m, g), *pm = fold_matrix(m, p);
    g = gm ? gm : g;
    p = pm ? pm : p;
    if (g->kind == N_MATRIX && p->kind == N_MATRIX)
        return matrices(m, g, p);
    if (g->kind == N_MATRIX && is_collection(p))
        return matrix_tuple(m, g, p, 1);
    if (p->kind == N_MATRIX && is_collection(g))
        return matrix_tuple(m, p, g, 0);
    if (is_collection(g) && is_collection(p))
        return collections(m, g, p);
    if (g->kind == N_SET && p->kind == N_SET && g->n + p->n == 1)
        return math_why(m, "an empty set against another one"), 0;
    if ((g->kind == N_SET || g->kind == N_LIST) && g->n == 1 && !m->inner && !(g->kid[0]->kind == N_CONST && g->kid[0]->fn == C_EMPTY))
        return math_equal(m, g->kid[0], p);
    if ((p->kind == N_SET || (p->kind == N_LIST && p->open != 'o')) && p->n == 1 && !m->inner && !(p->kid[0]->kind == N_CONST && p->kid[0]->fn == C_EMPTY))
        return math_equal(m, g, p->kid[0]);
    struct node *parts;
    if (is_collection(g) && (parts = as_list(m, p))->kind == N_LIST)
        return math_equal(m, g, parts);
    if (is_collection(p) && (parts = as_list(m, g))->kind == N_LIST)
        return math_equal(m, parts, p);
    if (g->kind == N_BASED || p->kind == N_BASED || g->kind == N_TIME || p->kind == N_TIME || g->kind == N_RATIO || p->kind == N_RATIO)
        return special(m, g, p);
    return structural(m, g, p);
}

int math_equal(struct math_checker *m, struct node *g, struct node *p)
{
    if (!math_spend(m, 20))
        return -1;
    if (m->depth > MATH_MAX_DEPTH) {
        math_why(m, "too deep");
        return -1;
    }
    m->depth++;
    m->why = "";
    int r = dispatch(m, g, p);
    m->depth--;
    return r;
}
