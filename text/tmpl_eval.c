/* Evaluating expressions. */
#include "text/tmpl_stmt.h"

static err_code eval_items(struct tmpl_run *r, struct frame *f, const struct node *n, uint8_t tag, struct val *out)
{
    TRY(tmpl_seq_new(r, tag, n->n, out));
    for (int i = 0; i < n->n; i++)
        TRY(tmpl_eval(r, f, n->kid[i], &out->seq->at[i]));
    return ERR_OK;
}

static err_code eval_dict(struct tmpl_run *r, struct frame *f, const struct node *n, struct val *out)
{
    struct val k, v;
    TRY(tmpl_dict_new(r, n->n, out));
    for (int i = 0; i < n->n; i++) {
        TRY(tmpl_eval(r, f, n->kid[2 * i], &k));
        TRY(tmpl_eval(r, f, n->kid[2 * i + 1], &v));
        TRY(tmpl_dict_put(r, out->dict, k, v));
    }
    return ERR_OK;
}

static err_code eval_concat(struct tmpl_run *r, struct frame *f, const struct node *n, struct val *out)
{
    struct build b;
    struct val v;
    tmpl_b_init(&b, r);
    for (int i = 0; i < n->n; i++) {
        TRY(tmpl_eval(r, f, n->kid[i], &v));
        TRY(tmpl_str(r, v, &v));
        tmpl_b_val(&b, v);
    }
    return tmpl_b_end(&b, out);
}

static err_code compare(struct tmpl_run *r, enum cmp_op op, struct val a, struct val b, int *out)
{
    if (op == CMP_EQ || op == CMP_NE) {
        TRY(tmpl_eq(r, a, b, out));
        *out ^= op == CMP_NE;
        return ERR_OK;
    }
    if (op == CMP_IN || op == CMP_NOT_IN) {
        TRY(tmpl_in(r, a, b, out));
        *out ^= op == CMP_NOT_IN;
        return ERR_OK;
    }
    return tmpl_cmp(r, op, a, b, out);
}

static err_code eval_compare(struct tmpl_run *r, struct frame *f, const struct node *n, struct val *out)
{
    struct val a, b;
    int yes = 1;
    TRY(tmpl_eval(r, f, n->kid[0], &a));
    for (int i = 1; yes && i < n->n; i++) {
        TRY(tmpl_eval(r, f, n->kid[i]->a, &b));
        TRY(compare(r, (enum cmp_op)n->kid[i]->op, a, b, &yes));
        a = b;
    }
    *out = v_bool(yes);
    return ERR_OK;
}

static err_code add_star(struct tmpl_run *r, struct frame *f, const struct node *star, struct args *in)
{
    struct val v;
    TRY(tmpl_eval(r, f, star, &v));
    TRY(tmpl_list(r, v, &v));
    struct val *pos;
    MEM(r, pos, in->n + v.seq->n + 1);
    tmpl_copy(pos, in->pos, sizeof *pos * (size_t)in->n);
    tmpl_copy(pos + in->n, v.seq->at, sizeof *pos * (size_t)v.seq->n);
    in->pos = pos;
    in->n += (int)v.seq->n;
    return v.seq->n > 10000 ? tmpl_limit(r, "arguments") : ERR_OK;
}

static err_code add_starstar(struct tmpl_run *r, struct frame *f, const struct node *star, struct args *in)
{
    struct val v;
    struct kwarg *kw;
    TRY(tmpl_eval(r, f, star, &v));
    if (v.tag != T_DICT)
        return tmpl_fail(r, "TypeError", "argument after ** must be a mapping, not %s", tmpl_type(v));
    if (v.dict->n > 10000)
        return tmpl_limit(r, "arguments");
    MEM(r, kw, in->nkw + (int)v.dict->n + 1);
    tmpl_copy(kw, in->kw, sizeof *kw * (size_t)in->nkw);
    for (uint32_t i = 0; i < v.dict->n; i++) {
        struct val k = v.dict->at[i].k;
        struct str s;
        if (k.tag != T_STR)
            return tmpl_fail(r, "TypeError", "keywords must be strings");
        FLAT(r, &k, s);
        for (int j = 0; j < in->nkw; j++)
            if (str_eq(kw[j].k, s))
                return tmpl_fail(r, "TypeError", "got multiple values for keyword argument '%.*s'", STR_ARG(s));
        kw[in->nkw++] = (struct kwarg){s, v.dict->at[i].v};
    }
    in->kw = kw;
    return ERR_OK;
}

/* Arguments of a call, filter or test; caller is added as a keyword unless T_MISSING. */
static err_code eval_args(struct tmpl_run *r, struct frame *f, const struct node *n, struct val caller, struct args *in)
{
    int with_caller = caller.tag != T_MISSING;
    *in = (struct args){.n = n->n, .nkw = n->nkw + with_caller};
    if (in->n)
        MEM(r, in->pos, in->n);
    if (in->nkw)
        MEM(r, in->kw, in->nkw);
    for (int i = 0; i < n->n; i++)
        TRY(tmpl_eval(r, f, n->kid[i], &in->pos[i]));
    for (int i = 0; i < n->nkw; i++) {
        in->kw[i].k = n->kw[i].k;
        TRY(tmpl_eval(r, f, n->kw[i].v, &in->kw[i].v));
    }
    if (with_caller)
        in->kw[n->nkw] = (struct kwarg){STR("caller"), caller};
    if (n->b)
        TRY(add_star(r, f, n->b, in));
    if (n->c)
        TRY(add_starstar(r, f, n->c, in));
    return ERR_OK;
}

err_code tmpl_eval_call(struct tmpl_run *r, struct frame *f, const struct node *n, struct val caller, struct val *out)
{
    struct val callee, self;
    struct args in;
    const struct fn *m = NULL;
    if (n->a->kind == N_ATTR) { /* a method is called without making a bound value first */
        TRY(tmpl_eval(r, f, n->a->a, &self));
        m = tmpl_method_of(self, n->a->name);
        if (!m)
            TRY(tmpl_getattr(r, self, n->a->name, &callee));
    } else {
        TRY(tmpl_eval(r, f, n->a, &callee));
    }
    TRY(eval_args(r, f, n, caller, &in));
    r->line = n->line;
    return m ? tmpl_call_fn(r, m, &self, &in, out) : tmpl_call(r, callee, &in, out);
}

/* A filter or test applied to v. */
static err_code apply(struct tmpl_run *r, struct frame *f, const struct node *n, struct val v, struct val *out)
{
    struct args in;
    if (!n->fn)
        return tmpl_fail(r, "TemplateRuntimeError", "No %s named '%s' found.", n->kind == N_FILTER ? "filter" : "test", n->name.p);
    TRY(eval_args(r, f, n, (struct val){.tag = T_MISSING}, &in));
    r->line = n->line;
    return tmpl_call_fn(r, n->fn, &v, &in, out);
}

/* The innermost filter of a filter block or set block has no operand: it gets `block`. */
err_code tmpl_eval_filters(struct tmpl_run *r, struct frame *f, const struct node *n, struct val block, struct val *out)
{
    struct val v = block;
    if (n->a)
        TRY(tmpl_eval_filters(r, f, n->a, block, &v));
    return apply(r, f, n, v, out);
}

/* Made of literals alone: Jinja2 works such an expression out when it compiles the template. */
static int is_literal(const struct node *n)
{
    if (!n || n->kind == N_CONST)
        return 1;
    if (n->kind < N_CONST || n->kind == N_NAME || n->kind == N_NSREF || n->kind == N_CALL || n->kind == N_ATTR)
        return 0;
    int kids = n->kind == N_DICT ? n->n * 2 : n->n;
    for (int i = 0; i < kids; i++)
        if (!is_literal(n->kid[i]))
            return 0;
    for (int i = 0; i < n->nkw; i++)
        if (!is_literal(n->kw[i].v))
            return 0;
    return is_literal(n->a) && is_literal(n->b) && is_literal(n->c);
}

static err_code eval_slice(struct tmpl_run *r, struct frame *f, struct val obj, const struct node *item, struct val *out)
{
    struct val part[3] = {NONE, NONE, NONE};
    const struct node *s = item->b, *n[3] = {s->a, s->b, s->c};
    if (obj.tag != T_STR && obj.tag != T_LIST && obj.tag != T_TUPLE && obj.tag != T_RANGE && obj.tag != T_UNDEF && is_literal(item->a) &&
        is_literal(s)) { /* and there a failed subscript is undefined, while at run time it is an error */
        *out = v_hint("a literal without items was sliced");
        return ERR_OK;
    }
    for (int i = 0; i < 3; i++)
        if (n[i])
            TRY(tmpl_eval(r, f, n[i], &part[i]));
    return tmpl_getslice(r, obj, part[0], part[1], part[2], out);
}

static err_code eval_const(struct tmpl_run *r, const struct node *n, struct val *out)
{
    if (n->n) /* an integer literal beyond int64 */
        return tmpl_int_digits(r, n->name, n->n, 0, out);
    *out = n->v;
    return ERR_OK;
}

static err_code eval_name(struct tmpl_run *r, struct frame *f, const struct node *n, struct val *out)
{
    if (n->hops < 0) {
        *out = r->free_val[n->slot];
        return ERR_OK;
    }
    for (int i = 0; i < n->hops; i++)
        f = f->up;
    *out = f->slot[n->slot];
    if (out->tag == T_MISSING)
        *out = (struct val){.tag = T_UNDEF, .flags = U_NAME, .s = n->name.p};
    return ERR_OK;
}

static err_code eval_op(struct tmpl_run *r, struct frame *f, const struct node *n, struct val *out)
{
    struct val a, b;
    TRY(tmpl_eval(r, f, n->a, &a));
    switch (n->kind) {
    case N_AND: return tmpl_truth(r, a) ? tmpl_eval(r, f, n->b, out) : (*out = a, ERR_OK);
    case N_OR: return tmpl_truth(r, a) ? (*out = a, ERR_OK) : tmpl_eval(r, f, n->b, out);
    case N_NOT: *out = v_bool(!tmpl_truth(r, a)); return ERR_OK;
    case N_COND:
        if (tmpl_truth(r, a))
            return tmpl_eval(r, f, n->b, out);
        if (n->c)
            return tmpl_eval(r, f, n->c, out);
        *out = v_hint("the inline if-expression evaluated to false and no else section was defined.");
        return ERR_OK;
    case N_NEG: return tmpl_neg(r, a, out);
    case N_POS:
        if (a.tag == T_UNDEF)
            return tmpl_undef(r, a);
        if (!tmpl_is_num(a))
            return tmpl_fail(r, "TypeError", "bad operand type for unary +: '%s'", tmpl_type(a));
        *out = a;
        out->tag = a.tag == T_BOOL ? T_INT : a.tag;
        return ERR_OK;
    case N_ATTR: r->line = n->line; return tmpl_getattr(r, a, n->name, out);
    case N_ITEM:
        if (n->b->kind == N_SLICE)
            return eval_slice(r, f, a, n, out);
        TRY(tmpl_eval(r, f, n->b, &b));
        r->line = n->line;
        return tmpl_getitem(r, a, b, out);
    case N_FILTER: case N_TEST: return apply(r, f, n, a, out);
    default: break;
    }
    TRY(tmpl_eval(r, f, n->b, &b));
    r->line = n->line;
    return tmpl_arith(r, (enum node_kind)n->kind, a, b, out);
}

err_code tmpl_eval(struct tmpl_run *r, struct frame *f, const struct node *n, struct val *out)
{
    err_code rc;
    if (n->kind == N_CONST)
        return eval_const(r, n, out);
    if (n->kind == N_NAME)
        return eval_name(r, f, n, out);
    TRY(tmpl_step(r, 1));
    TRY(tmpl_deeper(r));
    switch (n->kind) {
    case N_TUPLE: rc = eval_items(r, f, n, T_TUPLE, out); break;
    case N_LIST: rc = eval_items(r, f, n, T_LIST, out); break;
    case N_DICT: rc = eval_dict(r, f, n, out); break;
    case N_CONCAT: rc = eval_concat(r, f, n, out); break;
    case N_COMPARE: r->line = n->line; rc = eval_compare(r, f, n, out); break;
    case N_CALL: rc = tmpl_eval_call(r, f, n, (struct val){.tag = T_MISSING}, out); break;
    case N_SLICE: *out = (struct val){.tag = T_SLICE}; rc = ERR_OK; break;
    default: rc = eval_op(r, f, n, out); break;
    }
    r->depth--;
    return rc;
}
