/* Expressions of the template language, with Jinja2's grammar. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "text/tmpl_parse.h"

enum { MAX_DEPTH = 200, MAX_ARGS = 255, MAX_HEIGHT = 600 };

err_code tmpl_p_fail(struct parser *p, int line, const char *fmt, ...)
{
    char msg[500];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    return err_set(p->e, ERR_DATA, "%s:%d: TemplateSyntaxError: %s", p->t->name, line, msg);
}

static const char *tok_text(const struct token *k, char buf[80])
{
    static const char *const fixed[] = {[K_DATA] = "template data", [K_VAR_BEGIN] = "begin of print statement",
                                        [K_VAR_END] = "end of print statement", [K_BLOCK_BEGIN] = "begin of statement block",
                                        [K_BLOCK_END] = "end of statement block", [K_STRING] = "string", [K_EOF] = "end of template"};
    if (k->kind == K_OP)
        return k->op;
    if (k->kind == K_NAME || k->kind == K_INT || k->kind == K_FLOAT) {
        snprintf(buf, 80, "%.*s", k->text.n < 70 ? (int)k->text.n : 70, k->text.p);
        return buf;
    }
    return fixed[k->kind];
}

err_code tmpl_p_unexpected(struct parser *p, const char *want)
{
    char buf[80];
    return tmpl_p_fail(p, p_cur(p)->line, "expected %s, got '%s'", want, tok_text(p_cur(p), buf));
}

int tmpl_p_skip_name(struct parser *p, const char *name)
{
    return p_name(p, name) ? (p->at++, 1) : 0;
}

int tmpl_p_skip_op(struct parser *p, const char *op)
{
    return p_op(p, op) ? (p->at++, 1) : 0;
}

err_code tmpl_p_expect_op(struct parser *p, const char *op)
{
    char want[8];
    snprintf(want, sizeof want, "'%s'", op);
    return tmpl_p_skip_op(p, op) ? ERR_OK : tmpl_p_unexpected(p, want);
}

struct str tmpl_p_keep(struct parser *p, struct str s)
{
    char *c = ARENA_TRY(&p->t->mem, char, s.n + 1);
    if (!c)
        return (struct str){"", 0};
    if (s.n)
        tmpl_copy(c, s.p, (size_t)s.n);
    return (struct str){c, s.n};
}

err_code tmpl_p_expect_name(struct parser *p, struct str *out)
{
    if (p_cur(p)->kind != K_NAME)
        return tmpl_p_unexpected(p, "a name");
    *out = tmpl_p_keep(p, p_cur(p)->text);
    p->at++;
    return ERR_OK;
}

err_code tmpl_p_node(struct parser *p, enum node_kind kind, int line, struct node **out)
{
    struct node *n = ARENA_TRY(&p->t->mem, struct node, 1);
    if (!n)
        return err_set(p->e, ERR_LIMIT, "%s: template is too large", p->t->name);
    n->kind = (uint8_t)kind;
    n->line = line;
    n->loop_slot = n->caller_slot = n->kwargs_slot = n->varargs_slot = -1;
    *out = n;
    return ERR_OK;
}

err_code tmpl_p_push(struct parser *p, struct nodes *l, struct node *n)
{
    if (l->n == l->cap) {
        int cap = l->cap ? l->cap * 2 : 4;
        struct node **at = ARENA_TRY(&p->t->mem, struct node *, cap);
        if (!at)
            return err_set(p->e, ERR_LIMIT, "%s: template is too large", p->t->name);
        if (l->n)
            tmpl_copy(at, l->at, sizeof *at * (size_t)l->n);
        l->at = at;
        l->cap = cap;
    }
    l->at[l->n++] = n;
    return ERR_OK;
}

static void taller(int *height, const struct node *n)
{
    if (n && n->height > *height)
        *height = n->height;
}

err_code tmpl_p_seal(struct parser *p, struct node *n)
{
    int height = 0, kids = n->kind == N_DICT ? n->n * 2 : n->kind == N_CONST ? 0 : n->n;
    taller(&height, n->a);
    taller(&height, n->b);
    taller(&height, n->c);
    taller(&height, n->d);
    for (int i = 0; i < kids; i++)
        taller(&height, n->kid[i]);
    for (int i = 0; i < n->nkw; i++)
        taller(&height, n->kw[i].v);
    n->height = height + 1;
    return n->height > MAX_HEIGHT ? tmpl_p_fail(p, n->line, "the template is nested too deep") : ERR_OK;
}

static err_code wrap(struct parser *p, enum node_kind kind, int line, struct node *a, struct node *b, struct node **out)
{
    TRY(tmpl_p_node(p, kind, line, out));
    (*out)->a = a;
    (*out)->b = b;
    return tmpl_p_seal(p, *out);
}

static err_code constant(struct parser *p, struct val v, struct node **out)
{
    TRY(tmpl_p_node(p, N_CONST, p_cur(p)->line, out));
    (*out)->v = v;
    return ERR_OK;
}

/* ---- literals ------------------------------------------------------------------------------ */

static err_code p_strings(struct parser *p, struct node **out)
{
    int line = p_cur(p)->line, from = p->at;
    int64_t n = 0;
    while (p_cur(p)->kind == K_STRING)
        n += p_cur(p)->text.n, p->at++;
    struct str text = p->tok[from].text;
    if (p->at - from > 1) {
        char *c = ARENA_TRY(&p->t->mem, char, n + 1);
        if (!c)
            return err_set(p->e, ERR_LIMIT, "%s: template is too large", p->t->name);
        text = (struct str){c, 0};
        for (int i = from; i < p->at; i++) {
            if (p->tok[i].text.n)
                tmpl_copy(c + text.n, p->tok[i].text.p, (size_t)p->tok[i].text.n);
            text.n += p->tok[i].text.n;
        }
    }
    TRY(constant(p, tmpl_view(text.p, text.n), out));
    (*out)->line = line;
    return ERR_OK;
}

/* Integer literals beyond int64 are kept as text and made at run time (N_CONST with a name). */
static err_code p_number(struct parser *p, struct node **out)
{
    const struct token *k = p_cur(p);
    char buf[400];
    int n = 0;
    for (int64_t i = 0; i < k->text.n && n < (int)sizeof buf - 1; i++)
        if (k->text.p[i] != '_')
            buf[n++] = k->text.p[i];
    buf[n] = 0;
    if (k->text.n > (int64_t)sizeof buf - 2)
        return tmpl_p_fail(p, k->line, "a number of more than 398 characters");
    if (k->kind == K_FLOAT) {
        TRY(constant(p, v_float(strtod(buf, NULL)), out));
    } else {
        int base = 10, skip = 0;
        if (n > 2 && buf[0] == '0' && (buf[1] | 32) >= 'a') {
            base = (buf[1] | 32) == 'x' ? 16 : (buf[1] | 32) == 'o' ? 8 : 2;
            skip = 2;
        }
        TRY(constant(p, v_int(0), out));
        uint64_t v = 0;
        int big = 0;
        for (int i = skip; i < n; i++) {
            int d = buf[i] <= '9' ? buf[i] - '0' : (buf[i] | 32) - 'a' + 10;
            big |= __builtin_mul_overflow(v, (uint64_t)base, &v) || __builtin_add_overflow(v, (uint64_t)d, &v) || v > INT64_MAX;
        }
        (*out)->v = v_int((int64_t)v);
        if (big) {
            (*out)->name = tmpl_p_keep(p, (struct str){buf + skip, n - skip});
            (*out)->n = base;
        }
    }
    p->at++;
    return ERR_OK;
}

static err_code p_list(struct parser *p, struct node **out)
{
    struct nodes l = {0};
    int line = p_cur(p)->line;
    p->at++;
    while (!p_op(p, "]")) {
        struct node *x;
        if (l.n) {
            TRY(tmpl_p_expect_op(p, ","));
            if (p_op(p, "]"))
                break;
        }
        TRY(tmpl_p_expr(p, 1, &x));
        TRY(tmpl_p_push(p, &l, x));
    }
    p->at++;
    TRY(tmpl_p_node(p, N_LIST, line, out));
    (*out)->kid = l.at;
    (*out)->n = l.n;
    return tmpl_p_seal(p, *out);
}

static err_code p_dict(struct parser *p, struct node **out)
{
    struct nodes l = {0};
    int line = p_cur(p)->line;
    p->at++;
    while (!p_op(p, "}")) {
        struct node *k, *v;
        if (l.n) {
            TRY(tmpl_p_expect_op(p, ","));
            if (p_op(p, "}"))
                break;
        }
        TRY(tmpl_p_expr(p, 1, &k));
        TRY(tmpl_p_expect_op(p, ":"));
        TRY(tmpl_p_expr(p, 1, &v));
        TRY(tmpl_p_push(p, &l, k));
        TRY(tmpl_p_push(p, &l, v));
    }
    p->at++;
    TRY(tmpl_p_node(p, N_DICT, line, out));
    (*out)->kid = l.at;
    (*out)->n = l.n / 2;
    return tmpl_p_seal(p, *out);
}

static int const_name(struct str s, struct val *v)
{
    if (str_eq(s, STR("true")) || str_eq(s, STR("True")))
        return *v = v_bool(1), 1;
    if (str_eq(s, STR("false")) || str_eq(s, STR("False")))
        return *v = v_bool(0), 1;
    if (str_eq(s, STR("none")) || str_eq(s, STR("None")))
        return *v = NONE, 1;
    return 0;
}

err_code tmpl_p_primary(struct parser *p, int namespaces, struct node **out)
{
    const struct token *k = p_cur(p);
    struct val v;
    char buf[80];
    if (k->kind == K_NAME) {
        p->at++;
        if (const_name(k->text, &v)) {
            TRY(constant(p, v, out));
            (*out)->line = k->line;
        } else if (namespaces && p_op(p, ".")) {
            struct str attr;
            p->at++;
            TRY(tmpl_p_expect_name(p, &attr));
            TRY(tmpl_p_node(p, N_NSREF, k->line, out));
            (*out)->v = tmpl_view(attr.p, attr.n);
            (*out)->name = tmpl_p_keep(p, k->text);
        } else {
            TRY(tmpl_p_node(p, N_NAME, k->line, out));
            (*out)->name = tmpl_p_keep(p, k->text);
        }
        return ERR_OK;
    }
    if (k->kind == K_STRING)
        return p_strings(p, out);
    if (k->kind == K_INT || k->kind == K_FLOAT)
        return p_number(p, out);
    if (tok_is_op(k, "(")) {
        p->at++;
        TRY(tmpl_p_tuple(p, (struct tuple_opts){.parens = 1}, out));
        return tmpl_p_expect_op(p, ")");
    }
    if (tok_is_op(k, "["))
        return p_list(p, out);
    if (tok_is_op(k, "{"))
        return p_dict(p, out);
    return tmpl_p_fail(p, k->line, "unexpected '%s'", tok_text(k, buf));
}

static int tuple_end(const struct parser *p, const char *end)
{
    int k = p_cur(p)->kind;
    return k == K_VAR_END || k == K_BLOCK_END || p_op(p, ")") || (end && p_name(p, end));
}

err_code tmpl_p_tuple(struct parser *p, struct tuple_opts o, struct node **out)
{
    struct nodes l = {0};
    struct node *x = NULL;
    int line = p_cur(p)->line, is_tuple = 0;
    for (;;) {
        if (l.n)
            TRY(tmpl_p_expect_op(p, ","));
        if (tuple_end(p, o.end))
            break;
        TRY(o.simplified ? tmpl_p_primary(p, o.namespaces, &x) : tmpl_p_expr(p, !o.no_cond, &x));
        TRY(tmpl_p_push(p, &l, x));
        if (!p_op(p, ","))
            break;
        is_tuple = 1;
        line = p_cur(p)->line;
    }
    if (!is_tuple) {
        if (l.n)
            return *out = l.at[0], ERR_OK;
        if (!o.parens)
            return tmpl_p_unexpected(p, "an expression");
    }
    TRY(tmpl_p_node(p, N_TUPLE, line, out));
    (*out)->kid = l.at;
    (*out)->n = l.n;
    return tmpl_p_seal(p, *out);
}

/* ---- calls, subscripts, filters, tests ------------------------------------------------------ */

struct call_parts {
    struct nodes pos;
    struct kwnode *kw;
    int nkw;
    struct node *star, *starstar;
};

static err_code push_kw(struct parser *p, struct call_parts *c, struct str k, struct node *v)
{
    struct kwnode *kw = ARENA_TRY(&p->t->mem, struct kwnode, c->nkw + 1);
    if (!kw)
        return err_set(p->e, ERR_LIMIT, "%s: template is too large", p->t->name);
    if (c->nkw)
        tmpl_copy(kw, c->kw, sizeof *kw * (size_t)c->nkw);
    for (int i = 0; i < c->nkw; i++)
        if (str_eq(kw[i].k, k))
            return tmpl_p_fail(p, p_cur(p)->line, "keyword argument repeated: %.*s", STR_ARG(k));
    kw[c->nkw++] = (struct kwnode){k, v};
    c->kw = kw;
    return ERR_OK;
}

static err_code call_part(struct parser *p, struct call_parts *c)
{
    struct node *x;
    int line = p_cur(p)->line;
    if (tmpl_p_skip_op(p, "*")) {
        if (c->star || c->starstar)
            return tmpl_p_fail(p, line, "invalid syntax for function call expression");
        return tmpl_p_expr(p, 1, &c->star);
    }
    if (tmpl_p_skip_op(p, "**")) {
        if (c->starstar)
            return tmpl_p_fail(p, line, "invalid syntax for function call expression");
        return tmpl_p_expr(p, 1, &c->starstar);
    }
    if (p_cur(p)->kind == K_NAME && tok_is_op(p_look(p), "=")) {
        struct str k;
        if (c->starstar)
            return tmpl_p_fail(p, line, "invalid syntax for function call expression");
        TRY(tmpl_p_expect_name(p, &k));
        p->at++;
        TRY(tmpl_p_expr(p, 1, &x));
        return push_kw(p, c, k, x);
    }
    if (c->star || c->starstar || c->nkw)
        return tmpl_p_fail(p, line, "invalid syntax for function call expression");
    TRY(tmpl_p_expr(p, 1, &x));
    return tmpl_p_push(p, &c->pos, x);
}

static err_code call_args(struct parser *p, struct node *n)
{
    struct call_parts c = {0};
    int any = 0;
    TRY(tmpl_p_expect_op(p, "("));
    while (!p_op(p, ")")) {
        if (any) {
            TRY(tmpl_p_expect_op(p, ","));
            if (p_op(p, ")"))
                break;
        }
        TRY(call_part(p, &c));
        any = 1;
    }
    p->at++;
    if (c.pos.n + c.nkw > MAX_ARGS)
        return tmpl_p_fail(p, n->line, "more than %d arguments", MAX_ARGS);
    n->kid = c.pos.at;
    n->n = c.pos.n;
    n->kw = c.kw;
    n->nkw = c.nkw;
    n->b = c.star;
    n->c = c.starstar;
    return tmpl_p_seal(p, n);
}

static err_code p_call(struct parser *p, struct node *callee, struct node **out)
{
    TRY(tmpl_p_node(p, N_CALL, p_cur(p)->line, out));
    (*out)->a = callee;
    return call_args(p, *out);
}

static err_code p_subscribed(struct parser *p, struct node **out)
{
    int line = p_cur(p)->line;
    struct node *part[3] = {NULL, NULL, NULL};
    if (!p_op(p, ":")) {
        TRY(tmpl_p_expr(p, 1, &part[0]));
        if (!p_op(p, ":"))
            return *out = part[0], ERR_OK;
    }
    p->at++;
    if (!p_op(p, ":") && !p_op(p, "]") && !p_op(p, ","))
        TRY(tmpl_p_expr(p, 1, &part[1]));
    if (tmpl_p_skip_op(p, ":") && !p_op(p, "]") && !p_op(p, ","))
        TRY(tmpl_p_expr(p, 1, &part[2]));
    TRY(tmpl_p_node(p, N_SLICE, line, out));
    (*out)->a = part[0];
    (*out)->b = part[1];
    (*out)->c = part[2];
    return tmpl_p_seal(p, *out);
}

static err_code p_subscript(struct parser *p, struct node *obj, struct node **out)
{
    int line = p_cur(p)->line;
    struct node *x;
    if (tmpl_p_skip_op(p, ".")) {
        const struct token *k = p_cur(p);
        if (k->kind == K_NAME) {
            p->at++;
            TRY(wrap(p, N_ATTR, line, obj, NULL, out));
            (*out)->name = tmpl_p_keep(p, k->text);
            (*out)->v = tmpl_view((*out)->name.p, (*out)->name.n);
            return ERR_OK;
        }
        if (k->kind != K_INT)
            return tmpl_p_fail(p, k->line, "expected name or number");
        TRY(p_number(p, &x));
        return wrap(p, N_ITEM, line, obj, x, out);
    }
    struct nodes l = {0};
    p->at++;
    while (!p_op(p, "]")) {
        if (l.n)
            TRY(tmpl_p_expect_op(p, ","));
        TRY(p_subscribed(p, &x));
        TRY(tmpl_p_push(p, &l, x));
    }
    p->at++;
    if (l.n == 1) {
        x = l.at[0];
    } else {
        TRY(tmpl_p_node(p, N_TUPLE, line, &x));
        x->kid = l.at;
        x->n = l.n;
        TRY(tmpl_p_seal(p, x));
    }
    return wrap(p, N_ITEM, line, obj, x, out);
}

static err_code p_postfix(struct parser *p, struct node *x, struct node **out)
{
    for (;;) {
        if (p_op(p, ".") || p_op(p, "["))
            TRY(p_subscript(p, x, &x));
        else if (p_op(p, "("))
            TRY(p_call(p, x, &x));
        else
            break;
    }
    *out = x;
    return ERR_OK;
}

/* a.b.c as one name, as filters and tests are named. */
static err_code dotted(struct parser *p, struct str *out)
{
    TRY(tmpl_p_expect_name(p, out));
    while (tmpl_p_skip_op(p, ".")) {
        struct str more;
        TRY(tmpl_p_expect_name(p, &more));
        char *c = ARENA_TRY(&p->t->mem, char, out->n + more.n + 2);
        if (!c)
            return err_set(p->e, ERR_LIMIT, "%s: template is too large", p->t->name);
        snprintf(c, (size_t)(out->n + more.n + 2), "%.*s.%.*s", STR_ARG(*out), STR_ARG(more));
        *out = (struct str){c, out->n + more.n + 1};
    }
    return ERR_OK;
}

err_code tmpl_p_filters(struct parser *p, struct node *x, int start_inline, struct node **out)
{
    while (p_op(p, "|") || start_inline) {
        struct node *f;
        if (!start_inline)
            p->at++;
        start_inline = 0;
        TRY(wrap(p, N_FILTER, p_cur(p)->line, x, NULL, &f));
        TRY(dotted(p, &f->name));
        f->fn = tmpl_filter(f->name);
        if (p_op(p, "("))
            TRY(call_args(p, f));
        x = f;
    }
    *out = x;
    return ERR_OK;
}

static int test_arg_follows(const struct parser *p)
{
    int k = p_cur(p)->kind;
    if (k == K_NAME)
        return !p_name(p, "else") && !p_name(p, "or") && !p_name(p, "and");
    return k == K_STRING || k == K_INT || k == K_FLOAT || p_op(p, "(") || p_op(p, "[") || p_op(p, "{");
}

static err_code p_test(struct parser *p, struct node *x, struct node **out)
{
    struct node *t, *arg;
    p->at++; /* is */
    int negated = tmpl_p_skip_name(p, "not");
    TRY(wrap(p, N_TEST, p_cur(p)->line, x, NULL, &t));
    TRY(dotted(p, &t->name));
    t->fn = tmpl_test(t->name);
    if (p_op(p, "(")) {
        TRY(call_args(p, t));
    } else if (test_arg_follows(p)) {
        struct nodes l = {0};
        if (p_name(p, "is"))
            return tmpl_p_fail(p, p_cur(p)->line, "You cannot chain multiple tests with is");
        TRY(tmpl_p_primary(p, 0, &arg));
        TRY(p_postfix(p, arg, &arg));
        TRY(tmpl_p_push(p, &l, arg));
        t->kid = l.at;
        t->n = 1;
        TRY(tmpl_p_seal(p, t));
    }
    return negated ? wrap(p, N_NOT, t->line, t, NULL, out) : (*out = t, ERR_OK);
}

static err_code p_filter_expr(struct parser *p, struct node *x, struct node **out)
{
    for (;;) {
        if (p_op(p, "|"))
            TRY(tmpl_p_filters(p, x, 0, &x));
        else if (p_name(p, "is"))
            TRY(p_test(p, x, &x));
        else if (p_op(p, "("))
            TRY(p_call(p, x, &x));
        else
            break;
    }
    *out = x;
    return ERR_OK;
}

/* ---- operators ------------------------------------------------------------------------------ */

static err_code p_unary(struct parser *p, int with_filter, struct node **out)
{
    int line = p_cur(p)->line;
    struct node *x;
    if (++p->depth > MAX_DEPTH)
        return tmpl_p_fail(p, line, "expression is nested too deep");
    if (p_op(p, "-") || p_op(p, "+")) {
        enum node_kind kind = p_op(p, "-") ? N_NEG : N_POS;
        p->at++;
        TRY(p_unary(p, 0, &x));
        TRY(wrap(p, kind, line, x, NULL, &x));
    } else {
        TRY(tmpl_p_primary(p, 0, &x));
    }
    TRY(p_postfix(p, x, &x));
    if (with_filter)
        TRY(p_filter_expr(p, x, &x));
    p->depth--;
    *out = x;
    return ERR_OK;
}

struct binop {
    const char *op;
    enum node_kind kind;
};

static err_code p_pow(struct parser *p, struct node **out)
{
    struct node *x, *y;
    TRY(p_unary(p, 1, &x));
    while (p_op(p, "**")) {
        int line = p_cur(p)->line;
        p->at++;
        TRY(p_unary(p, 1, &y));
        TRY(wrap(p, N_POW, line, x, y, &x));
    }
    *out = x;
    return ERR_OK;
}

static err_code p_binary(struct parser *p, const struct binop *ops, int n, err_code (*below)(struct parser *, struct node **), struct node **out)
{
    struct node *x, *y;
    TRY(below(p, &x));
    for (;;) {
        int i = 0, line = p_cur(p)->line;
        while (i < n && !p_op(p, ops[i].op))
            i++;
        if (i == n)
            break;
        p->at++;
        TRY(below(p, &y));
        TRY(wrap(p, ops[i].kind, line, x, y, &x));
    }
    *out = x;
    return ERR_OK;
}

static err_code p_math2(struct parser *p, struct node **out)
{
    static const struct binop ops[] = {{"*", N_MUL}, {"/", N_DIV}, {"//", N_FLOORDIV}, {"%", N_MOD}};
    return p_binary(p, ops, 4, p_pow, out);
}

static err_code p_concat(struct parser *p, struct node **out)
{
    struct nodes l = {0};
    int line = p_cur(p)->line;
    struct node *x;
    TRY(p_math2(p, &x));
    TRY(tmpl_p_push(p, &l, x));
    while (tmpl_p_skip_op(p, "~")) {
        TRY(p_math2(p, &x));
        TRY(tmpl_p_push(p, &l, x));
    }
    if (l.n == 1)
        return *out = x, ERR_OK;
    TRY(tmpl_p_node(p, N_CONCAT, line, out));
    (*out)->kid = l.at;
    (*out)->n = l.n;
    return tmpl_p_seal(p, *out);
}

static err_code p_math1(struct parser *p, struct node **out)
{
    static const struct binop ops[] = {{"+", N_ADD}, {"-", N_SUB}};
    return p_binary(p, ops, 2, p_concat, out);
}

static int compare_op(struct parser *p, enum cmp_op *op)
{
    static const char *const ops[] = {[CMP_EQ] = "==", [CMP_NE] = "!=", [CMP_LT] = "<", [CMP_LE] = "<=", [CMP_GT] = ">", [CMP_GE] = ">="};
    for (int i = 0; i <= CMP_GE; i++)
        if (tmpl_p_skip_op(p, ops[i]))
            return *op = (enum cmp_op)i, 1;
    if (tmpl_p_skip_name(p, "in"))
        return *op = CMP_IN, 1;
    if (p_name(p, "not") && tok_is_name(p_look(p), "in"))
        return p->at += 2, *op = CMP_NOT_IN, 1;
    return 0;
}

/* a < b < c: kid[0] is a; each further kid is a node whose op compares the one before with its a. */
static err_code p_compare(struct parser *p, struct node **out)
{
    struct nodes l = {0};
    int line = p_cur(p)->line;
    enum cmp_op op;
    struct node *x, *y;
    TRY(p_math1(p, &x));
    TRY(tmpl_p_push(p, &l, x));
    while (compare_op(p, &op)) {
        TRY(p_math1(p, &y));
        TRY(wrap(p, N_COMPARE, y->line, y, NULL, &y));
        y->op = (uint8_t)op;
        TRY(tmpl_p_push(p, &l, y));
    }
    if (l.n == 1)
        return *out = x, ERR_OK;
    TRY(tmpl_p_node(p, N_COMPARE, line, out));
    (*out)->kid = l.at;
    (*out)->n = l.n;
    return tmpl_p_seal(p, *out);
}

static err_code p_not(struct parser *p, struct node **out)
{
    int line = p_cur(p)->line, n = 0;
    struct node *x;
    while (tmpl_p_skip_name(p, "not"))
        n++;
    if (n > MAX_DEPTH)
        return tmpl_p_fail(p, line, "expression is nested too deep");
    TRY(p_compare(p, &x));
    for (; n; n--)
        TRY(wrap(p, N_NOT, line, x, NULL, &x));
    *out = x;
    return ERR_OK;
}

static err_code p_logic(struct parser *p, const char *word, enum node_kind kind, err_code (*below)(struct parser *, struct node **),
                        struct node **out)
{
    struct node *x, *y;
    int line = p_cur(p)->line;
    TRY(below(p, &x));
    while (tmpl_p_skip_name(p, word)) {
        TRY(below(p, &y));
        TRY(wrap(p, kind, line, x, y, &x));
        line = p_cur(p)->line;
    }
    *out = x;
    return ERR_OK;
}

static err_code p_and(struct parser *p, struct node **out)
{
    return p_logic(p, "and", N_AND, p_not, out);
}

static err_code p_or(struct parser *p, struct node **out)
{
    return p_logic(p, "or", N_OR, p_and, out);
}

err_code tmpl_p_expr(struct parser *p, int with_cond, struct node **out)
{
    struct node *x, *test, *other;
    int line = p_cur(p)->line;
    if (++p->depth > MAX_DEPTH)
        return tmpl_p_fail(p, line, "expression is nested too deep");
    TRY(p_or(p, &x));
    while (with_cond && tmpl_p_skip_name(p, "if")) {
        TRY(p_or(p, &test));
        other = NULL;
        if (tmpl_p_skip_name(p, "else"))
            TRY(tmpl_p_expr(p, 1, &other));
        TRY(wrap(p, N_COND, line, test, x, &x));
        x->c = other;
        TRY(tmpl_p_seal(p, x));
        line = p_cur(p)->line;
    }
    p->depth--;
    *out = x;
    return ERR_OK;
}
