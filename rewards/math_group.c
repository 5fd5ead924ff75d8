/* Brackets, sets, bars, matrices and big operators. */
#include <string.h>

#include "rewards/math_parse.h"

/* Rows of a matrix up to \end. */
struct node *math_matrix(struct math_checker *m)
{
    struct str env = cur(m)->s;
    struct vec v = {0};
    int rows = 0, cols = -1, col = 0;
    m->at++;
    for (;;) {
        while (col == 0 && accept(m, T_OP, 'R'))
            ;
        if (cur(m)->type == T_CMD && cur(m)->id == K_END)
            break;
        struct node *x = math_relation(m);
        if (!x || m->over)
            return NULL;
        accept(m, T_OP, ','); /* cases */
        math_push(m, &v, x);
        col++;
        if (accept(m, T_OP, '&'))
            continue;
        if (!is(cur(m), T_OP, 'R') && !is(cur(m), T_CMD, K_END))
            return NULL;
        if (cols >= 0 && col != cols)
            return NULL;
        cols = col;
        col = 0;
        rows++;
    }
    m->at++;
    if (!rows)
        return NULL;
    struct node *x = math_from(m, N_MATRIX, &v);
    x->rows = (int16_t)rows;
    x->open = str_starts(env, STR("cases")) || str_starts(env, STR("align")) || str_eq(env, STR("gathered")) ? 'c' : 'm';
    if (str_eq(env, STR("vmatrix")) || str_eq(env, STR("Vmatrix"))) {
        x = math_fn1(m, FN_DET, x);
        x->flags |= F_UNEVAL;
    }
    return x;
}

/* Sum, product, integral, limit: kept as they stand. */
struct node *math_big_operator(struct math_checker *m)
{
    struct vec v = {0};
    struct str op = cur(m)->s;
    m->at++;
    for (int k = 0; k < 3 && (is(cur(m), T_OP, '_') || is(cur(m), T_OP, '^')); k++) {
        int sup = cur(m)->id == '^';
        m->at++;
        struct str s = math_script(m);
        if (s.n && s.p[0] == '+')
            s = str_sub(s, 1, s.n);
        struct node *x = math_node(m, N_TEXT, 0);
        x->s = math_join(m, sup ? STR("^") : STR("_"), "", s);
        math_push(m, &v, x);
    }
    struct node *body = math_product(m);
    if (!body)
        return NULL;
    math_push(m, &v, body);
    struct node *x = math_from(m, N_OPAQUE, &v);
    int id = math_symbol(m, op, 0);
    if (id < 0)
        return NULL;
    x->id = (int16_t)id;
    x->flags = F_UNEVAL;
    return x;
}

struct node *math_decorated(struct math_checker *m)
{
    struct str d = cur(m)->s;
    if (str_eq(d, STR("overrightarrow")))
        d = STR("vec");
    m->at++;
    int begin = m->at, upper = 1;
    struct str s = math_script(m);
    if (!s.n)
        return NULL;
    for (int64_t i = 0; i < s.n; i++)
        upper &= s.p[i] >= 'A' && s.p[i] <= 'Z';
    if (upper && s.n > 1 && str_starts(d, STR("over"))) { /* the segment AB */
        m->at = begin;
        return math_argument(m);
    }
    struct str whole = math_join(m, d, " ", s);
    for (int k = 0; k < 2 && is(cur(m), T_OP, '_'); k++) {
        m->at++;
        whole = math_join(m, whole, "_", math_script(m));
    }
    return math_sym(m, whole, 0);
}

struct node *math_blackboard(struct math_checker *m)
{
    m->at++;
    struct str s = math_script(m);
    static const struct {
        char c;
        uint8_t id;
    } sets[] = {{'R', C_REALS}, {'Z', C_INTEGERS}, {'N', C_NATURALS}, {'Q', C_RATIONALS}, {'C', C_COMPLEXES}};
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
        if (s.n == 1 && s.p[0] == sets[i].c) {
            struct node *x = math_node(m, N_CONST, 0);
            x->fn = sets[i].id;
            return x;
        }
    return s.n ? math_sym(m, math_join(m, STR("bb"), " ", s), 0) : NULL;
}

/* ( ... ), [ ... ), [ ... ]: brackets around one thing group it, around several make a tuple or an interval. */
struct node *math_bracket(struct math_checker *m)
{
    int open = cur(m)->id, semi = 0, rows = 1;
    struct vec v = {0};
    m->at++;
    int bar = m->bar, set = m->in_set;
    m->bar = m->in_set = 0;
    for (;;) {
        struct node *x = math_relation(m);
        if (!x || m->over)
            return NULL;
        math_push(m, &v, x);
        if (accept(m, T_OP, ','))
            continue;
        if (accept(m, T_OP, ';')) {
            semi++;
            rows++;
            continue;
        }
        break;
    }
    m->bar = bar;
    m->in_set = set;
    if (cur(m)->type != T_CLOSE || (cur(m)->id != ')' && cur(m)->id != ']' && cur(m)->id != '<'))
        return NULL;
    int close = cur(m)->id;
    m->at++;
    if (v.n == 1) {
        if ((open == '(') != (close == ')'))
            return NULL;
        v.p[0]->flags |= F_PAREN;
        v.p[0]->open = v.p[0]->kind == N_TUPLE || v.p[0]->kind == N_MATRIX ? v.p[0]->open : (uint8_t)open;
        return v.p[0];
    }
    if (open == '[' && semi && rows < v.n && v.n % rows == 0) {
        struct node *x = math_from(m, N_MATRIX, &v);
        x->rows = (int16_t)rows;
        x->open = 'm';
        return x;
    }
    struct node *x = math_from(m, N_TUPLE, &v);
    x->open = (uint8_t)(open == '<' ? '(' : open);
    x->close = (uint8_t)(close == '<' ? ')' : close);
    return x;
}

/* ]a,b[ as written in France. */
struct node *math_outward(struct math_checker *m)
{
    m->at++;
    m->outward++;
    struct node *a = math_expr(m), *b = NULL;
    if (a && (accept(m, T_OP, ',') || accept(m, T_OP, ';')))
        b = math_expr(m);
    m->outward--;
    if (!b || (!is(cur(m), T_OPEN, '[') && !is(cur(m), T_CLOSE, ']')))
        return NULL;
    struct node *x = math_wrap(m, N_TUPLE, a, b);
    x->open = '(';
    x->close = cur(m)->type == T_OPEN ? ')' : ']';
    m->at++;
    return x;
}

struct node *math_set(struct math_checker *m, int close)
{
    int bar = m->bar, in_set = m->in_set, begin = m->at;
    struct node *x = NULL;
    m->at++;
    if (accept(m, T_CLOSE, close)) {
        x = math_node(m, N_SET, 0);
        return close == 'S' ? x : NULL;
    }
    m->bar = 0;
    m->in_set = close == 'S';
    struct vec v = {0};
    do {
        struct node *y = math_relation(m);
        if (!y)
            return NULL;
        math_push(m, &v, y);
    } while (accept(m, T_OP, ',') || accept(m, T_OP, ';'));
    if (v.n == 1 && close == 'S' && (is(cur(m), T_OP, '|') || is(cur(m), T_OP, ':'))) {
        m->at++;
        m->in_set = 0;
        struct node *cond = math_list(m);
        if (!cond)
            return NULL;
        x = math_wrap(m, N_BUILDER, v.p[0], cond);
    } else if (v.n == 1 && close == '}') {
        x = v.p[0];
    } else {
        x = math_from(m, N_SET, &v);
    }
    m->bar = bar;
    m->in_set = in_set;
    if (!accept(m, T_CLOSE, close)) {
        /* \left\{ \begin{array} ... \right. : a system */
        if (close == 'S' && v.n == 1 && v.p[0]->kind == N_MATRIX && cur(m)->type == T_END && begin == 0)
            return v.p[0];
        return NULL;
    }
    return x;
}

struct node *math_group(struct math_checker *m)
{
    return math_set(m, '}');
}

struct node *math_bars(struct math_checker *m, int type, int close)
{
    m->at++;
    int bar = m->bar, set = m->in_set;
    m->bar = type == T_OP ? bar + 1 : 0;
    m->in_set = 0;
    struct node *x = math_expr(m);
    m->bar = bar;
    m->in_set = set;
    if (!x || !accept(m, type, close))
        return NULL;
    return math_fn1(m, close == 'V' ? FN_NORM : FN_ABS, x);
}

struct node *math_between(struct math_checker *m, int fn, int close)
{
    m->at++;
    int bar = m->bar;
    m->bar = 0;
    struct node *x = math_expr(m);
    m->bar = bar;
    return x && accept(m, T_CLOSE, close) ? math_fn1(m, fn, x) : NULL;
}

