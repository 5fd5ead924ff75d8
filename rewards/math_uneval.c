/* Operators left standing, turned into values for the policy `unevaluated`: finite sums and products over whole numbers,
 * gcd, lcm, determinants. What cannot be evaluated exactly stays as it is. */
#include <string.h>

#include "rewards/math_int.h"

enum { TERMS_MAX = 1000, ORDER_MAX = 6 };

/* "_k=1": the name and the first value; "^10": the last value. */
static int bounds(struct math_checker *m, const struct node *x, int *id, int64_t *from, int64_t *to)
{
    int have = 0;
    for (int i = 0; i + 1 < x->n; i++) {
        struct str s = x->kid[i]->s;
        int64_t eq = str_find(s, STR("="), 0);
        if (s.n > 1 && s.p[0] == '_' && eq > 1 && str_to_i64(str_sub(s, eq + 1, s.n), from)) {
            *id = math_symbol(m, str_sub(s, 1, eq), 0);
            have |= *id >= 0;
        } else if (s.n > 1 && s.p[0] == '^' && str_to_i64(str_sub(s, 1, s.n), to)) {
            have |= 2;
        } else {
            return 0;
        }
    }
    return have == 3 && *from > -TERMS_MAX && *to < 1000000 && *to - *from < TERMS_MAX;
}

/* In a sum over i, i is a name and not the imaginary unit. */
static struct node *free_i(struct math_checker *m, struct node *x, int id)
{
    struct node *y = x;
    if (x->kind == N_CONST && x->fn == C_I) {
        y = math_node(m, N_SYM, 0);
        y->id = (int16_t)id;
    } else if (x->n) {
        y = math_node(m, x->kind, x->n);
        struct node **kid = y->kid;
        *y = *x;
        y->kid = kid;
        for (int i = 0; i < x->n; i++)
            kid[i] = free_i(m, x->kid[i], id);
    }
    return y;
}

static struct node *expand(struct math_checker *m, const struct node *x, int kind)
{
    int64_t from = 0, to = 0;
    int id = -1;
    struct vec v = {0};
    if (!bounds(m, x, &id, &from, &to))
        return NULL;
    struct node *body = x->kid[x->n - 1];
    if (str_eq(m->sym[id].name, STR("i")))
        body = free_i(m, body, id);
    math_push(m, &v, math_num(m, kind == N_MUL));
    for (int64_t k = from; k <= to && !m->over; k++)
        math_push(m, &v, math_substitute(m, body, id, math_num(m, k)));
    return math_from(m, kind, &v);
}

static struct node *determinant(struct math_checker *m, struct node **a, int n, int stride)
{
    struct vec sum = {0};
    if (n == 1)
        return a[0];
    for (int c = 0; c < n && !m->over; c++) { /* along the first row */
        struct node **minor = math_new(m, (int64_t)(n - 1) * (n - 1) * (int64_t)sizeof *minor);
        for (int i = 1; i < n; i++)
            for (int j = 0, k = 0; j < n; j++)
                if (j != c)
                    minor[(i - 1) * (n - 1) + k++] = a[i * stride + j];
        struct node *t = math_wrap(m, N_MUL, a[c], determinant(m, minor, n - 1, n - 1));
        math_push(m, &sum, c % 2 ? math_wrap(m, N_MUL, math_num(m, -1), t) : t);
    }
    return math_from(m, N_ADD, &sum);
}

/* gcd or lcm of whole numbers that fit a word. */
static struct node *divisors(struct math_checker *m, const struct node *x)
{
    int64_t acc = 0, v;
    struct rat q;
    for (int i = 0; i < x->n; i++) {
        if (!math_rat(m, x->kid[i], &q) || !rat_i64(&q, &v) || v <= 0)
            return NULL;
        int64_t a = acc, b = v;
        while (b) {
            int64_t t = a % b;
            a = b;
            b = t;
        }
        if (x->fn == FN_LCM && acc && __builtin_mul_overflow(acc / a, v, &acc))
            return NULL;
        if (x->fn == FN_GCD || !acc)
            acc = x->fn == FN_GCD ? a : v;
    }
    return x->n ? math_num(m, acc) : NULL;
}

struct node *math_evaluate(struct math_checker *m, struct node *x)
{
    struct node *y = x, *v = NULL;
    if (!x->n || m->over)
        return x;
    y = math_node(m, x->kind, x->n);
    struct node **kid = y->kid;
    *y = *x;
    y->kid = kid;
    for (int i = 0; i < x->n; i++)
        kid[i] = math_evaluate(m, x->kid[i]);
    if (y->kind == N_OPAQUE && str_eq(m->sym[y->id].name, STR("sum")))
        v = expand(m, y, N_ADD);
    else if (y->kind == N_OPAQUE && str_eq(m->sym[y->id].name, STR("prod")))
        v = expand(m, y, N_MUL);
    else if (y->kind == N_FN && (y->fn == FN_GCD || y->fn == FN_LCM))
        v = divisors(m, y);
    else if (y->kind == N_FN && y->fn == FN_DET && y->kid[0]->kind == N_MATRIX && y->kid[0]->rows <= ORDER_MAX && y->kid[0]->n == y->kid[0]->rows * y->kid[0]->rows)
        v = determinant(m, y->kid[0]->kid, y->kid[0]->rows, y->kid[0]->rows);
    return v ? v : math_high(m, y);
}
