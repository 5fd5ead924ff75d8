/* Tokens to expressions: a precedence parser whose recursion is bounded by MATH_MAX_DEPTH; sums and products are flat. */
#include <string.h>

#include "core/err.h"
#include "rewards/math_parse.h"

struct node *math_node(struct math_checker *m, int kind, int n)
{
    struct node *x = math_new(m, (int64_t)sizeof *x + n * (int64_t)sizeof *x->kid);
    x->kind = (uint8_t)kind;
    x->n = n;
    x->prec = -1;
    x->kid = (struct node **)(x + 1);
    return x;
}

struct node *math_num(struct math_checker *m, int64_t v)
{
    struct node *x = math_node(m, N_NUM, 0);
    x->q = rat_of(v);
    return x;
}

struct node *math_high(struct math_checker *m, struct node *x)
{
    int high = 0;
    for (int i = 0; i < x->n; i++)
        high = x->kid[i]->high > high ? x->kid[i]->high : high;
    m->deep |= high >= MATH_MAX_HIGH;
    x->high = (int16_t)(high + (high < INT16_MAX));
    return x;
}

struct node *math_wrap(struct math_checker *m, int kind, struct node *a, struct node *b)
{
    struct node *x = math_node(m, kind, b ? 2 : 1);
    x->kid[0] = a;
    if (b)
        x->kid[1] = b;
    return math_high(m, x);
}

void math_push(struct math_checker *m, struct vec *v, struct node *x)
{
    if (v->n == v->cap) {
        int cap = v->cap ? v->cap * 2 : 8;
        struct node **p = math_new(m, cap * (int64_t)sizeof *p);
        if (v->n)
            memcpy(p, v->p, (size_t)v->n * sizeof *p);
        v->p = p;
        v->cap = cap;
    }
    v->p[v->n++] = x;
}

struct node *math_from(struct math_checker *m, int kind, const struct vec *v)
{
    struct node *x = math_node(m, kind, v->n);
    if (v->n)
        memcpy(x->kid, v->p, (size_t)v->n * sizeof *v->p);
    return math_high(m, x);
}

static uint64_t hash_str(struct str s)
{
    uint64_t h = 1469598103934665603ull;
    for (int64_t i = 0; i < s.n; i++)
        h = (h ^ (unsigned char)s.p[i]) * 1099511628211ull;
    return h;
}

int math_symbol(struct math_checker *m, struct str name, int text)
{
    uint64_t h = hash_str(name);
    for (int i = 0; i < m->n_sym; i++)
        if (m->sym[i].hash == h && str_eq(m->sym[i].name, name))
            return i;
    if (m->n_sym == MATH_MAX_SYMS)
        return -1;
    m->sym[m->n_sym] = (struct sym){.name = name, .hash = h, .text = (uint8_t)text};
    return m->n_sym++;
}

struct node *math_sym(struct math_checker *m, struct str name, int text)
{
    int id = math_symbol(m, name, text);
    if (id < 0)
        return NULL;
    struct node *x = math_node(m, N_SYM, 0);
    x->id = (int16_t)id;
    x->flags = text ? F_TEXT : 0;
    return x;
}

struct node *math_fn1(struct math_checker *m, int fn, struct node *a)
{
    if (!a)
        return NULL;
    struct node *x = math_wrap(m, N_FN, a, NULL);
    x->fn = (uint8_t)fn;
    return x;
}

struct node *math_fn2(struct math_checker *m, int fn, struct node *a, struct node *b)
{
    if (!a || !b)
        return NULL;
    struct node *x = math_wrap(m, N_FN, a, b);
    x->fn = (uint8_t)fn;
    return x;
}

static struct node *power(struct math_checker *m);
static struct node *atom(struct math_checker *m);
static int plain_int(const struct node *x);

static int ends_value(const struct tok *t)
{
    return t->type == T_END || t->type == T_CLOSE || t->type == T_REL || (t->type == T_OP && strchr(",;&R", t->id));
}

/* How many of the last decimals repeat: 1 in 0.333, 2 in 0.4545; 0: none do. Twice at least, three digits at least. */
static int repeated_tail(struct str s, int frac)
{
    for (int p = 1; p <= 12; p++) {
        int n = 0;
        while (n + p < frac && s.p[s.n - 1 - n] == s.p[s.n - 1 - n - p])
            n++;
        if (n + p >= 2 * p && n + p >= 3 && !(p == 1 && s.p[s.n - 1] == '0'))
            return p;
    }
    return 0;
}

/* Spelled digits, point, repeating tail and exponent as one rational. */
static struct node *number(struct math_checker *m, const struct tok *t)
{
    char buf[64], *d = t->s.n <= 60 ? buf : math_new(m, t->s.n);
    int64_t n = 0;
    for (int64_t i = 0; i < t->s.n; i++)
        if (t->s.p[i] >= '0' && t->s.p[i] <= '9')
            d[n++] = t->s.p[i];
    struct node *x = math_node(m, N_NUM, 0);
    if (!rat_digits(m, &x->q, d, n, 10))
        return NULL;
    x->prec = t->frac < 0 ? -1 : t->frac > 100 ? 100 : (int8_t)t->frac;
    x->flags = (uint8_t)((t->thousands ? F_THOUSANDS : 0) | (t->frac >= 0 ? F_DECIMAL : 0) | (t->rep ? F_REPEAT : 0));
    if (t->rep) { /* (all digits - digits before the repeat) / (10^frac - 10^(frac - rep)) */
        struct rat head, ten = rat_of(10), a, b;
        if (!rat_digits(m, &head, d, n - t->rep, 10) || !rat_pow(m, &a, &ten, t->frac) || !rat_pow(m, &b, &ten, t->frac - t->rep) ||
            !rat_sub(m, &x->q, &x->q, &head) || !rat_sub(m, &a, &a, &b) || !rat_div(m, &x->q, &x->q, &a))
            return NULL;
        return x;
    }
    if (t->frac > 0 && is(cur(m), T_CMD, K_DOTS) && cur(m) == t + 1 && (ends_value(cur(m) + 1))) { /* 0.4545... */
        m->at++;
        int rep = repeated_tail(t->s, t->frac);
        if (rep) {
            struct tok r = *t;
            r.rep = (int16_t)rep;
            return number(m, &r);
        }
    }
    int64_t e = (int64_t)t->exp10 - (t->frac > 0 ? t->frac : 0);
    if (e && x->q.sign) {
        struct rat ten = rat_of(10), p;
        if (rat_pow(m, &p, &ten, e) && rat_mul(m, &x->q, &x->q, &p))
            return x;
        if (!t->exp10)
            return NULL;
        return math_wrap(m, N_MUL, x, math_wrap(m, N_POW, math_num(m, 10), math_num(m, e)));
    }
    return x;
}

/* One argument of \frac and friends: a group, or one digit, or one token. */
struct node *math_argument(struct math_checker *m)
{
    int neg = 0, from = m->at;
    while (is(cur(m), T_OP, '-') || is(cur(m), T_OP, '+')) {
        neg ^= cur(m)->id == '-';
        m->at++;
    }
    if (m->at > from) {
        struct node *a = math_argument(m);
        return a && neg ? math_wrap(m, N_MUL, math_num(m, -1), a) : a;
    }
    struct tok *t = cur(m);
    if (digits_only(t) && t->s.n > 1) { /* \frac12: cut one digit off */
        struct tok one = *t;
        one.s.n = 1;
        t->s.p++;
        t->s.n--;
        return number(m, &one);
    }
    if (m->depth > MATH_MAX_DEPTH)
        return NULL;
    m->depth++;
    int type = t->type, id = t->id;
    struct node *x;
    if (type == T_OPEN && id == '{') {
        m->at++;
        int bar = m->bar, set = m->in_set;
        m->bar = m->in_set = 0;
        x = math_relation(m);
        m->bar = bar;
        m->in_set = set;
        if (!accept(m, T_CLOSE, '}'))
            x = NULL;
    } else if (type == T_FN || type == T_NUM || type == T_SYM || type == T_CONST || type == T_CMD || type == T_OPEN || type == T_UNIT || (type == T_WORD && (id & 255) == W_NUMBER)) {
        m->short_names++;
        x = type == T_FN ? power(m) : atom(m);
        m->short_names--;
    } else {
        x = NULL;
    }
    m->depth--;
    return x;
}

/* Tokens of a sub- or superscript as text: _{n+1} is part of the name. */
struct str math_script(struct math_checker *m)
{
    int begin = m->at, depth = 0;
    if (is(cur(m), T_OPEN, '{')) {
        do {
            depth += is(cur(m), T_OPEN, '{');
            depth -= is(cur(m), T_CLOSE, '}');
            m->at += cur(m)->type != T_END;
        } while (depth && cur(m)->type != T_END);
        return math_plain(m, m->t + begin + 1, m->at - begin - 2);
    }
    if (cur(m)->type == T_END || cur(m)->type == T_CLOSE)
        return (struct str){NULL, 0};
    m->at++;
    return math_plain(m, m->t + begin, m->at - begin);
}

struct str math_join(struct math_checker *m, struct str a, const char *mid, struct str b)
{
    int64_t k = (int64_t)strlen(mid), n = a.n + k + b.n;
    char *p = math_new(m, n + 1);
    memcpy(p, a.p, (size_t)a.n);
    memcpy(p + a.n, mid, (size_t)k);
    if (b.n)
        memcpy(p + a.n + k, b.p, (size_t)b.n);
    return (struct str){p, n};
}

static int calls(struct str name)
{
    return (name.n == 1 && strchr("fghFG", name.p[0])) || (name.n > 1 && strchr("fghFG", name.p[0]) && (name.p[1] == '\'' || name.p[1] == '_'));
}

static struct node *arguments(struct math_checker *m, struct vec *v)
{
    do {
        struct node *a = math_relation(m);
        if (!a)
            return NULL;
        math_push(m, v, a);
    } while (accept(m, T_OP, ',') || accept(m, T_OP, ';'));
    return accept(m, T_CLOSE, ')') || accept(m, T_CLOSE, ']') ? v->p[0] : NULL;
}

static struct node *name(struct math_checker *m)
{
    struct tok *t = cur(m);
    struct str s = t->s;
    m->at++;
    for (int k = 0; k < 8; k++) {
        if (is(cur(m), T_OP, '\'')) {
            m->at++;
            s = math_join(m, s, "'", STR(""));
        } else if (is(cur(m), T_OP, '_')) {
            m->at++;
            struct str sub = math_script(m);
            if (!sub.n)
                return NULL;
            s = math_join(m, s, "_", sub);
        } else if (digits_only(cur(m)) && !cur(m)->space && t->type == T_SYM && k == 0 && s.n == 1 && !m->short_names) {
            s = math_join(m, s, "_", cur(m)->s); /* x1 */
            m->at++;
        } else {
            break;
        }
    }
    struct tok *p = cur(m);
    if (m->o.comb_notation && s.n == 1 && s.p[0] == 'C' && is(p, T_OPEN, '(') && (p[1].type == T_NUM || p[1].type == T_SYM) && is(p + 2, T_OP, ',') && (p[3].type == T_NUM || p[3].type == T_SYM) && is(p + 4, T_CLOSE, ')')) { /* C(5,2) */
        struct vec v = {0};
        m->at++;
        return arguments(m, &v) ? math_fn2(m, FN_BINOM, v.p[0], v.p[1]) : NULL;
    }
    int value = is(p, T_OPEN, '(') && !p->space && digits_only(p + 1) && is(p + 2, T_CLOSE, ')') && s.n == 1 && !(p[3].type == T_OPEN && p[3].id == '('); /* I(0) */
    if ((calls(s) && (is(p, T_OPEN, '(') || is(p, T_OPEN, '['))) || value) {
        struct vec v = {0};
        m->at++;
        if (!arguments(m, &v))
            return NULL;
        struct node *x = math_from(m, N_CALL, &v);
        int id = math_symbol(m, s, 0);
        x->id = (int16_t)id;
        return id < 0 ? NULL : x;
    }
    return math_sym(m, s, t->text);
}

static int starts_atom(struct math_checker *m)
{
    const struct tok *t = cur(m);
    switch (t->type) {
    case T_NUM:
    case T_SYM:
    case T_CONST:
    case T_FN:
    case T_UNIT:
        return 1;
    case T_OPEN: return !(t->id == '[' && m->outward);
    case T_WORD: return (((t->id & 255) == W_SQUARE || (t->id & 255) == W_CUBIC) && t[1].type == T_UNIT) || (t->id & 255) == W_SCALE;
    case T_CMD: return t->id == K_FRAC || t->id == K_BINOM || t->id == K_SQRT || t->id == K_DECOR || t->id == K_BIGOP || t->id == K_BEGIN || t->id == K_PREFIX || t->id == K_BB || t->id == K_DOTS;
    case T_OP: return (t->id == '|' && !m->bar && !m->in_set) || t->id == 'V';
    default: return 0;
    }
}

/* The argument of a function written without brackets: powers side by side, up to the next function. */
static struct node *bare_argument(struct math_checker *m)
{
    int neg = 0;
    while (is(cur(m), T_OP, '-') || is(cur(m), T_OP, '+')) {
        neg ^= cur(m)->id == '-';
        m->at++;
    }
    struct node *x = cur(m)->type == T_FN || starts_atom(m) ? power(m) : NULL;
    while (x && starts_atom(m)) {
        struct tok *t = cur(m);
        int e_power = is(t, T_CONST, C_E) && is(t + 1, T_OP, '^');
        if (t->type == T_FN || e_power || t->type == T_UNIT || t->type == T_NUM || (t->type == T_CMD && t->id != K_FRAC && t->id != K_SQRT && t->id != K_DECOR) || (t->type == T_OPEN && t->id != '{') || t->type == T_WORD)
            break;
        struct node *y = power(m);
        x = y ? math_wrap(m, N_MUL, x, y) : NULL;
    }
    return x && neg ? math_wrap(m, N_MUL, math_num(m, -1), x) : x;
}

static int inverse_of(int fn)
{
    switch (fn) {
    case FN_SIN: return FN_ASIN;
    case FN_COS: return FN_ACOS;
    case FN_TAN: return FN_ATAN;
    case FN_COT: return FN_ACOT;
    case FN_SINH: return FN_ASINH;
    case FN_COSH: return FN_ACOSH;
    case FN_TANH: return FN_ATANH;
    default: return -1;
    }
}

static struct node *apply(struct math_checker *m, int fn, struct node *sub, struct vec *v)
{
    if (fn == FN_LOG && sub)
        return math_fn2(m, FN_LOGB, v->p[0], sub);
    if (fn == FN_LOG && v->n == 2) /* log(x, b) */
        return math_fn2(m, FN_LOGB, v->p[0], v->p[1]);
    if (fn == FN_ROOT && v->n == 1) /* cbrt */
        return math_fn2(m, FN_ROOT, v->p[0], math_num(m, 3));
    struct node *x = math_from(m, N_FN, v);
    x->fn = (uint8_t)fn;
    if (fn == FN_MAX || fn == FN_MIN || fn == FN_GCD || fn == FN_LCM || fn == FN_DET)
        x->flags |= F_UNEVAL;
    if ((fn == FN_BINOM) != (v->n == 2) && v->n != 1)
        return fn == FN_MAX || fn == FN_MIN || fn == FN_GCD || fn == FN_LCM ? x : NULL;
    return sub && fn != FN_MAX && fn != FN_MIN ? NULL : x;
}

static struct node *function(struct math_checker *m)
{
    int fn = cur(m)->id, inverse = 0;
    m->at++;
    struct node *sub = NULL, *exp = NULL;
    struct vec v = {0};
    for (int k = 0; k < 2; k++) {
        if (accept(m, T_OP, '_')) {
            if (!(sub = math_argument(m)))
                return NULL;
        } else if (is(cur(m), T_OP, '^')) {
            m->at++;
            if (!(exp = math_argument(m)))
                return NULL;
        }
    }
    int64_t e;
    if (exp && exp->kind == N_MUL && exp->n == 2 && exp->kid[0]->kind == N_NUM && exp->kid[1]->kind == N_NUM && exp->kid[0]->q.sign < 0 && rat_i64(&exp->kid[1]->q, &e) && e == 1 && inverse_of(fn) >= 0) {
        fn = inverse_of(fn);
        inverse = 1;
    }
    struct tok *t = cur(m);
    if (t->type == T_OPEN && (t->id == '(' || t->id == '[' || (t->id == '{' && (is(t + 1, T_OPEN, '(') == 0)))) {
        int bar = m->bar, set = m->in_set, close = t->id == '(' ? ')' : t->id == '[' ? ']' : '}';
        m->bar = m->in_set = 0;
        m->at++;
        do {
            struct node *a = math_relation(m);
            if (!a)
                return NULL;
            math_push(m, &v, a);
        } while (accept(m, T_OP, ','));
        m->bar = bar;
        m->in_set = set;
        if (!accept(m, T_CLOSE, close))
            return NULL;
    } else {
        struct node *a = bare_argument(m);
        if (!a)
            return NULL;
        math_push(m, &v, a);
    }
    struct node *x = apply(m, fn, sub, &v);
    return x && exp && !inverse ? math_wrap(m, N_POW, x, exp) : x;
}

static struct node *root(struct math_checker *m)
{
    struct node *k = NULL;
    m->at++;
    if (accept(m, T_OPEN, '[')) {
        k = math_expr(m);
        if (!k || !accept(m, T_CLOSE, ']'))
            return NULL;
    }
    struct node *a = math_argument(m);
    return k ? math_fn2(m, FN_ROOT, a, k) : math_fn1(m, FN_SQRT, a);
}

static struct node *fraction(struct math_checker *m)
{
    int fn = cur(m)->id;
    m->at++;
    struct node *a = math_argument(m);
    struct node *b = a ? math_argument(m) : NULL;
    if (!b)
        return NULL;
    if (fn == K_BINOM)
        return math_fn2(m, FN_BINOM, a, b);
    return math_wrap(m, N_DIV, a, b);
}

/* ^5C_2, _5C_2, ^5P_2: combinations and arrangements with the upper index in front. */
static struct node *prescript(struct math_checker *m)
{
    m->at++;
    struct node *n = math_argument(m);
    struct tok *t = cur(m);
    if (!n || t->type != T_SYM || t->s.n != 1 || !strchr("CP", t->s.p[0]) || !is(t + 1, T_OP, '_'))
        return NULL;
    m->at += 2;
    struct node *k = math_argument(m), *x = math_fn2(m, FN_BINOM, n, k);
    return !x || t->s.p[0] == 'C' ? x : math_wrap(m, N_MUL, x, math_fn1(m, FN_FACT, k));
}

static struct node *atom(struct math_checker *m)
{
    struct tok *t = cur(m);
    struct node *x;
    switch (t->type) {
    case T_NUM:
        if ((x = math_clock(m)))
            return x;
        m->at++;
        x = number(m, t);
        if (x && is(cur(m), T_OP, '_') && digits_only(t)) { /* 1011_2 */
            int64_t base;
            m->at++;
            struct node *b = math_argument(m);
            if (!b || b->kind != N_NUM || !rat_i64(&b->q, &base) || base < 2 || base > 36)
                return NULL;
            struct node *y = math_wrap(m, N_BASED, x, b);
            return rat_digits(m, &y->q, t->s.p, t->s.n, (int)base) ? y : NULL;
        }
        return x;
    case T_SYM: return name(m);
    case T_CONST:
        if (is(t + 1, T_OP, '_')) {
            struct tok as_name = *t;
            *t = as_name;
            t->type = T_SYM;
            return name(m);
        }
        m->at++;
        x = math_node(m, N_CONST, 0);
        x->fn = (uint8_t)t->id;
        return x;
    case T_FN: return function(m);
    case T_UNIT: m->at++; return math_unit_node(m, t->s);
    case T_WORD:
        if (((t->id & 255) == W_SQUARE || (t->id & 255) == W_CUBIC) && t[1].type == T_UNIT) {
            m->at += 2;
            x = math_unit_node(m, t[1].s);
            return x ? math_wrap(m, N_POW, x, math_num(m, (t->id & 255) == W_SQUARE ? 2 : 3)) : NULL;
        }
        return math_word_number(m);
    case T_OPEN:
        switch (t->id) {
        case '{':
            if (is(t + 1, T_CLOSE, '}') && (is(t + 2, T_OP, '^') || is(t + 2, T_OP, '_')) && m->o.comb_notation) { /* {}^5C_2 */
                m->at += 2;
                return prescript(m);
            }
            return math_group(m);
        case 'S': return math_set(m, 'S');
        case '|': return math_bars(m, T_CLOSE, '|');
        case 'f': return math_between(m, FN_FLOOR, 'f');
        case 'c': return math_between(m, FN_CEIL, 'c');
        default: return math_bracket(m);
        }
    case T_CLOSE: return t->id == ']' ? math_outward(m) : NULL;
    case T_OP:
        if ((t->id == '^' || t->id == '_') && m->o.comb_notation)
            return prescript(m);
        if (t->id == '|')
            return math_bars(m, T_OP, '|');
        return t->id == 'V' ? math_bars(m, T_OP, 'V') : NULL;
    case T_CMD:
        switch (t->id) {
        case K_FRAC:
        case K_BINOM: return fraction(m);
        case K_SQRT: return root(m);
        case K_DECOR: return math_decorated(m);
        case K_BEGIN: return math_matrix(m);
        case K_BIGOP: return math_big_operator(m);
        case K_BB: return math_blackboard(m);
        case K_PREFIX: m->at++; return power(m); /* \angle ABC is ABC */
        case K_DOTS: m->at++; return math_node(m, N_DOTS, 0);
        default: return NULL;
        }
    default: return NULL;
    }
}

static struct node *degrees(struct math_checker *m, struct node *x)
{
    struct node *u = math_unit_node(m, STR("deg"));
    if (!u)
        return NULL;
    struct node *y = math_wrap(m, N_MUL, x, u);
    struct tok *t = cur(m);
    int up = t->type == T_NUM && is(t + 1, T_OP, '^'), brace = up && is(t + 2, T_OPEN, '{');
    if (t->type == T_NUM && is(t + 1 + up + brace, T_OP, '\'')) { /* 30 degrees 15' */
        struct node *min = number(m, t);
        m->at += 2 + up + 2 * brace;
        return min ? math_wrap(m, N_ADD, y, math_wrap(m, N_MUL, math_wrap(m, N_DIV, min, math_num(m, 60)), u)) : NULL;
    }
    if (t->type == T_SYM && t->s.n == 1 && (t->s.p[0] == 'C' || t->s.p[0] == 'F'))
        m->at++;
    return y;
}

static struct node *exponent(struct math_checker *m)
{
    struct tok *t = cur(m);
    if (t->type == T_NUM) { /* x^10 in plain text */
        m->at++;
        return number(m, t);
    }
    return math_argument(m);
}

static struct node *power(struct math_checker *m)
{
    if (m->depth > MATH_MAX_DEPTH || m->over)
        return NULL;
    m->depth++;
    struct node *x = atom(m);
    for (int k = 0; x && k < 40; k++) {
        struct tok *t = cur(m);
        if (is(t, T_OP, '!')) {
            m->at++;
            int two = accept(m, T_OP, '!');
            x = math_fn1(m, two ? FN_FACT2 : FN_FACT, x);
        } else if (is(t, T_OP, 'o')) {
            m->at++;
            x = degrees(m, x);
        } else if (x->kind == N_NUM && math_meridiem_ahead(m)) { /* 9 a.m. */
            int half = math_meridiem(m);
            int64_t h;
            if (rat_i64(&x->q, &h) && h >= 1 && h <= 12 && k == 0) {
                x = math_clock_node(m, h * 3600, half);
                continue;
            }
            struct node *u = math_unit_node(m, half == 1 ? STR("a.m.") : STR("p.m."));
            x = u ? math_wrap(m, N_MUL, x, u) : NULL;
        } else if (is(t, T_OP, '%')) {
            m->at++;
            x = math_wrap(m, N_PERCENT, x, NULL);
        } else if (t->type == T_WORD && (t->id & 255) == W_PERCENT) {
            m->at++;
            x = math_wrap(m, N_PERCENT, x, NULL);
        } else if (is(t, T_OP, '^')) {
            m->at++;
            if (accept(m, T_OP, 'o')) {
                x = degrees(m, x);
            } else if (is(cur(m), T_OPEN, '{') && is(cur(m) + 1, T_OP, 'o') && is(cur(m) + 2, T_CLOSE, '}')) {
                m->at += 3;
                x = degrees(m, x);
            } else if (is(cur(m), T_OP, '\'') || (is(cur(m), T_OPEN, '{') && is(cur(m) + 1, T_OP, '\''))) {
                struct str p = math_script(m);
                x = x->kind == N_SYM ? math_sym(m, math_join(m, m->sym[x->id].name, "", p), 0) : NULL;
            } else {
                struct node *e = exponent(m);
                if (e && x->kind == N_SYM && accept(m, T_OP, '_')) { /* x^2_i */
                    struct str sub = math_script(m);
                    x = sub.n ? math_sym(m, math_join(m, m->sym[x->id].name, "_", sub), x->flags & F_TEXT) : NULL;
                }
                x = e && x ? math_wrap(m, N_POW, x, e) : NULL;
            }
        } else {
            break;
        }
    }
    m->depth--;
    return x;
}

static int plain_int(const struct node *x)
{
    return x && x->kind == N_NUM && rat_is_int(&x->q) && !(x->flags & (F_PAREN | F_DECIMAL));
}

/* \frac with two whole numbers behind it, told from the tokens alone: reading a fraction to see what it is and reading it
 * again as a factor would double the work at each level of nesting. */
static int plain_fraction(const struct tok *t)
{
    int64_t used = 0; /* digits of *p: \frac12 */
    const struct tok *p = t + 1;
    for (int k = 0; k < 2; k++) {
        int open = 0, close = 0;
        while (!used && is(p, T_OPEN, '{'))
            p++, open++;
        if (p->type != T_NUM || p->frac >= 0 || p->exp10)
            return 0;
        if (!open && used + 1 < p->s.n) {
            used++;
            continue;
        }
        used = 0;
        for (p++; close < open && is(p, T_CLOSE, '}'); close++)
            p++;
        if (close < open)
            return 0;
    }
    return 1;
}

/* 2 1/2 and 2\frac12 */
static struct node *mixed(struct math_checker *m, struct node *whole)
{
    struct tok *t = cur(m);
    if (!plain_int(whole))
        return NULL;
    int at = m->at;
    if (is(t, T_CMD, K_FRAC) && plain_fraction(t)) {
        struct node *f = fraction(m);
        return f ? math_wrap(m, N_ADD, whole, f) : NULL;
    }
    if (digits_only(t) && is(t + 1, T_OP, '/') && digits_only(t + 2) && t->space) {
        m->at += 3;
        struct node *a = number(m, t), *b = number(m, t + 2);
        if (a && b)
            return math_wrap(m, N_ADD, whole, math_wrap(m, N_DIV, a, b));
    }
    m->at = at;
    return NULL;
}

/* 33 1/3 %, 22 1/2 degrees */
static struct node *behind_mixed(struct math_checker *m, struct node *x)
{
    struct tok *t = cur(m);
    int brace = is(t, T_OP, '^') && is(t + 1, T_OPEN, '{') && is(t + 2, T_OP, 'o') && is(t + 3, T_CLOSE, '}');
    if (is(t, T_OP, '%') || word_of(t, W_PERCENT)) {
        m->at++;
        return math_wrap(m, N_PERCENT, x, NULL);
    }
    if (brace || (is(t, T_OP, '^') && is(t + 1, T_OP, 'o'))) {
        m->at += brace ? 4 : 2;
        return degrees(m, x);
    }
    if (accept(m, T_OP, 'o'))
        return degrees(m, x);
    return x;
}

static struct node *signed_power(struct math_checker *m)
{
    int neg = 0;
    while (is(cur(m), T_OP, '-') || is(cur(m), T_OP, '+')) {
        neg ^= cur(m)->id == '-';
        m->at++;
    }
    struct node *x = power(m);
    return x && neg ? math_wrap(m, N_MUL, math_num(m, -1), x) : x;
}

static int unit_letter(const struct tok *t)
{
    return t->type == T_SYM && t->text && t->s.n == 1 && math_unit(t->s);
}

/* A bracket that holds a comment or a side condition is no factor. */
static int remark(const struct tok *t)
{
    if (t->type != T_OPEN || t->id != '(')
        return 0;
    int w = t[1].type == T_WORD && (t[1].id & 255) != W_NUMBER && (t[1].id & 255) != W_SQUARE;
    return w || (t[1].type == T_SYM && t[2].type == T_REL) || (t[1].type == T_SYM && is(t + 2, T_OP, ',') && t[3].type == T_SYM && t[4].type == T_REL) || t[1].type == T_UNIT;
}

/* Two quantities side by side, "5 feet 3 inches", add up. */
static int has_unit(const struct node *x)
{
    return x->kind == N_UNIT || (x->kind == N_MUL && x->n && x->kid[x->n - 1]->kind == N_UNIT);
}

struct node *math_product(struct math_checker *m)
{
    struct vec v = {0};
    struct node *x = power(m), *mix = x ? mixed(m, x) : NULL;
    x = mix ? behind_mixed(m, mix) : x;
    if (!x)
        return NULL;
    math_push(m, &v, x);
    while (!m->over) {
        struct tok *t = cur(m);
        struct node *y;
        if (is(t, T_OP, '*')) {
            m->at++;
            y = signed_power(m);
            struct node *z = y && y->kind == N_NUM ? mixed(m, y) : NULL;
            y = z ? z : y;
        } else if (is(t, T_OP, '/') || (t->type == T_WORD && (t->id & 255) == W_PER)) {
            m->at++;
            if (unit_letter(cur(m)) || (v.n && has_unit(v.p[v.n - 1]) && cur(m)->type == T_SYM && cur(m)->s.n == 1 && math_unit(cur(m)->s))) {
                y = math_unit_node(m, cur(m)->s);
                m->at++;
                if (y && is(cur(m), T_OP, '^')) {
                    m->at++;
                    struct node *e = exponent(m);
                    y = e ? math_wrap(m, N_POW, y, e) : NULL;
                }
            } else {
                y = signed_power(m);
            }
            y = y ? math_wrap(m, N_POW, y, math_num(m, -1)) : NULL;
        } else if (is(t, T_OP, '-') && v.n && has_unit(v.p[v.n - 1]) && unit_letter(t + 1)) { /* N-m */
            m->at++;
            continue;
        } else if (unit_letter(t) && v.n) {
            y = math_unit_node(m, t->s);
            m->at++;
            if (y && is(cur(m), T_OP, '^')) {
                m->at++;
                struct node *e = exponent(m);
                y = e ? math_wrap(m, N_POW, y, e) : NULL;
            }
        } else if (starts_atom(m)) {
            if (remark(t))
                break;
            if (t->type == T_NUM) {
                if (v.n > 1 && has_unit(v.p[v.n - 1])) {
                    if (m->depth > MATH_MAX_DEPTH)
                        return NULL;
                    m->depth++;
                    struct node *rest = math_product(m);
                    m->depth--;
                    return rest ? math_wrap(m, N_ADD, math_from(m, N_MUL, &v), rest) : NULL;
                }
                if (v.p[v.n - 1]->kind == N_NUM || v.p[v.n - 1]->kind == N_SYM || v.p[v.n - 1]->kind == N_TIME)
                    if (!(v.n == 1 && v.p[0]->kind == N_UNIT))
                        break;
            }
            if (t->type == T_WORD && (t->id & 255) == W_SCALE) {
                struct node *p = math_num(m, 10);
                y = math_wrap(m, N_POW, p, math_num(m, t->id >> 8));
                m->at++;
            } else {
                y = power(m);
            }
        } else {
            break;
        }
        if (!y)
            return NULL;
        math_push(m, &v, y);
    }
    return v.n == 1 ? v.p[0] : math_from(m, N_MUL, &v);
}

static int is_set(const struct node *x)
{
    return x->kind == N_SET || x->kind == N_SETOP || (x->kind == N_CONST && (x->fn == C_REALS || x->fn == C_INTEGERS || x->fn == C_NATURALS || x->fn == C_RATIONALS));
}

struct node *math_expr(struct math_checker *m)
{
    if (m->depth > MATH_MAX_DEPTH || m->over)
        return NULL;
    m->depth++;
    struct vec v = {0};
    int pending = 0;
    for (;;) {
        int neg = 0, pm = 0;
        while (cur(m)->type == T_OP && (cur(m)->id == '-' || cur(m)->id == '+' || cur(m)->id == 'P' || cur(m)->id == 'M')) {
            neg ^= cur(m)->id == '-';
            pm = cur(m)->id == 'P' || cur(m)->id == 'M' ? cur(m)->id : pm;
            m->at++;
        }
        struct node *x = math_product(m);
        if (!x) {
            m->depth--;
            return NULL;
        }
        if (neg)
            x = math_wrap(m, N_MUL, math_num(m, -1), x);
        if (pm) {
            x = math_wrap(m, N_PM, x, NULL);
            x->fn = pm == 'P' ? '+' : '-';
        }
        math_push(m, &v, x);
        struct tok *t = cur(m);
        pending = t->type == T_OP && (t->id == '-' || t->id == '+' || t->id == 'P' || t->id == 'M');
        if (!pending)
            break;
    }
    m->depth--;
    if (v.n == 2 && is_set(v.p[0]) && v.p[1]->kind == N_MUL && v.p[1]->n == 2 && v.p[1]->kid[0]->kind == N_NUM && v.p[1]->kid[0]->q.sign < 0 && is_set(v.p[1]->kid[1])) {
        v.p[1] = v.p[1]->kid[1]; /* R - {2} */
        struct node *x = math_from(m, N_SETOP, &v);
        x->fn = 'D';
        return x;
    }
    return v.n == 1 ? v.p[0] : math_from(m, N_ADD, &v);
}

/* U between two brackets is a union. */
static int set_operator(struct math_checker *m)
{
    struct tok *t = cur(m);
    if (t->type == T_OP && (t->id == 'U' || t->id == 'N' || t->id == 'D'))
        return t->id;
    if (t->type == T_SYM && str_eq(t->s, STR("U")) && m->at && m->t[m->at - 1].type == T_CLOSE && t[1].type == T_OPEN)
        return 'U';
    return 0;
}

static struct node *set_expr(struct math_checker *m)
{
    struct node *x = math_expr(m);
    int op;
    for (int k = 0; x && k < 60 && (op = set_operator(m)); k++) {
        struct vec v = {0};
        math_push(m, &v, x);
        while (set_operator(m) == op) {
            m->at++;
            struct node *y = math_expr(m);
            if (!y)
                return NULL;
            math_push(m, &v, y);
        }
        x = math_from(m, N_SETOP, &v);
        x->fn = (uint8_t)op;
    }
    return x;
}

static int all_ratio(const uint8_t *ops, int n)
{
    for (int i = 0; i < n; i++)
        if (ops[i] != (uint8_t)-2)
            return 0;
    return 1;
}

struct node *math_relation(struct math_checker *m)
{
    if (m->depth > MATH_MAX_DEPTH)
        return NULL;
    m->depth++;
    struct vec v = {0};
    uint8_t *ops = NULL;
    int n_ops = 0, cap = 0, is_ratio = 0;
    struct node *x = set_expr(m);
    while (x) {
        struct tok *t = cur(m);
        if (is(t, T_CMD, K_OVER) || is(t, T_CMD, K_CHOOSE)) { /* {a \over b}, with or without the braces */
            m->at++;
            struct node *b = math_expr(m);
            x = !b ? NULL : t->id == K_OVER ? math_wrap(m, N_DIV, x, b) : math_fn2(m, FN_BINOM, x, b);
            if (!x)
                break;
            t = cur(m);
        }
        math_push(m, &v, x);
        int rel = t->type == T_REL ? t->id : (is(t, T_OP, ':') || (word_of(t, W_TO) && plain_int(x) && digits_only(t + 1))) && !m->in_set && (v.n == 1 || is_ratio) ? -2 : -1;
        is_ratio = rel == -2;
        if (is(t, T_CMD, K_NOT) && t[1].type == T_REL) {
            rel = t[1].id == R_IN ? R_NOTIN : t[1].id == R_EQ ? R_NE : R_OTHER;
            m->at++;
        }
        if (rel == -1)
            break;
        m->at++;
        if (rel == R_EQ && cur(m)->type == T_REL && cur(m)->id == R_EQ)
            m->at++;
        if (n_ops == cap) {
            uint8_t *p = math_new(m, cap = cap ? cap * 2 : 8);
            if (n_ops)
                memcpy(p, ops, (size_t)n_ops);
            ops = p;
        }
        ops[n_ops++] = (uint8_t)rel;
        x = set_expr(m);
    }
    m->depth--;
    if (!x)
        return NULL;
    if (!n_ops) {
        if (cur(m)->type == T_CMD && cur(m)->id == K_BMOD) {
            m->at++;
            struct node *b = math_expr(m);
            return b ? math_wrap(m, N_MOD, x, b) : NULL;
        }
        return x;
    }
    if (ops[0] == (uint8_t)-2)
        return all_ratio(ops, n_ops) ? math_from(m, N_RATIO, &v) : NULL;
    x = math_from(m, N_REL, &v);
    x->rel = ops;
    return x;
}
