/* Statements of the template language, with Jinja2's grammar; generation blocks and loop controls. */
#include "text/tmpl_parse.h"

enum { MAX_NEST = 100 };

static err_code subparse(struct parser *p, const char *const *ends, struct nodes *out);

/* The statements of a block up to one of `ends`, which is left as the current token (or taken). */
static err_code body_until(struct parser *p, const char *const *ends, int drop, struct node ***kid, int *n)
{
    struct nodes l = {0};
    if (++p->depth > MAX_NEST)
        return tmpl_p_fail(p, p_cur(p)->line, "blocks are nested too deep");
    tmpl_p_skip_op(p, ":");
    if (p_cur(p)->kind != K_BLOCK_END)
        return tmpl_p_unexpected(p, "token 'end of statement block'");
    p->at++;
    TRY(subparse(p, ends, &l));
    if (p_cur(p)->kind == K_EOF)
        return tmpl_p_fail(p, p_cur(p)->line, "Unexpected end of template. Jinja was looking for the following tags: '%s'", ends[0]);
    if (drop)
        p->at++;
    p->depth--;
    *kid = l.at;
    *n = l.n;
    return ERR_OK;
}

static err_code check_target(struct parser *p, struct node *n)
{
    n->store = 1;
    if (n->kind == N_NAME || n->kind == N_NSREF)
        return ERR_OK;
    if (n->kind != N_TUPLE)
        return tmpl_p_fail(p, n->line, "can't assign to this expression");
    for (int i = 0; i < n->n; i++)
        TRY(check_target(p, n->kid[i]));
    return ERR_OK;
}

static err_code p_target(struct parser *p, const char *end, int namespaces, struct node **out)
{
    TRY(tmpl_p_tuple(p, (struct tuple_opts){.simplified = 1, .namespaces = namespaces, .end = end}, out));
    return check_target(p, *out);
}

static err_code p_name_target(struct parser *p, struct node **out)
{
    int line = p_cur(p)->line;
    struct str name;
    TRY(tmpl_p_expect_name(p, &name));
    TRY(tmpl_p_node(p, N_NAME, line, out));
    (*out)->name = name;
    (*out)->store = 1;
    static const char *const reserved[] = {"true", "false", "none", "True", "False", "None"};
    for (int i = 0; i < 6; i++)
        if (str_eq(name, str_of(reserved[i])))
            return tmpl_p_fail(p, line, "can't assign to '%s'", reserved[i]);
    return ERR_OK;
}

static err_code p_for(struct parser *p, struct node *n)
{
    static const char *const ends[] = {"endfor", "else", NULL}, *const last[] = {"endfor", NULL};
    TRY(p_target(p, "in", 0, &n->a));
    if (!tmpl_p_skip_name(p, "in"))
        return tmpl_p_unexpected(p, "'in'");
    TRY(tmpl_p_tuple(p, (struct tuple_opts){.no_cond = 1, .end = "recursive"}, &n->b));
    if (tmpl_p_skip_name(p, "if"))
        TRY(tmpl_p_expr(p, 1, &n->c));
    if (tmpl_p_skip_name(p, "recursive"))
        n->flags |= NF_RECURSIVE;
    TRY(body_until(p, ends, 0, &n->kid, &n->n));
    int has_else = p_name(p, "else");
    p->at++;
    if (has_else) {
        TRY(tmpl_p_node(p, N_SCOPE, p_cur(p)->line, &n->d));
        TRY(body_until(p, last, 1, &n->d->kid, &n->d->n));
    }
    return ERR_OK;
}

static err_code p_if(struct parser *p, struct node *n)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL}, *const last[] = {"endif", NULL};
    struct node *first = n;
    for (int tests = 0;; tests++) {
        TRY(tmpl_p_tuple(p, (struct tuple_opts){.no_cond = 1}, &n->a));
        TRY(body_until(p, ends, 0, &n->kid, &n->n));
        if (tests == MAX_NEST)
            return tmpl_p_fail(p, n->line, "more than %d elif", MAX_NEST);
        TRY(tmpl_p_seal(p, n)); /* the chain is walked from its head, which takes the height of all */
        first->height = n->height > first->height ? n->height : first->height;
        const struct token *k = p_cur(p);
        p->at++;
        if (tok_is_name(k, "elif")) {
            TRY(tmpl_p_node(p, N_IF, p_cur(p)->line, &n->b));
            n = n->b;
            continue;
        }
        if (tok_is_name(k, "else")) {
            TRY(tmpl_p_node(p, N_IF, k->line, &n->b));
            TRY(body_until(p, last, 1, &n->b->kid, &n->b->n)); /* an N_IF without a test: always */
            TRY(tmpl_p_seal(p, n->b));
        }
        return ERR_OK;
    }
}

static err_code p_set(struct parser *p, struct node *n)
{
    static const char *const ends[] = {"endset", NULL};
    TRY(p_target(p, NULL, 1, &n->a));
    if (tmpl_p_skip_op(p, "="))
        return tmpl_p_tuple(p, (struct tuple_opts){0}, &n->b);
    n->kind = N_SETBLOCK;
    TRY(tmpl_p_filters(p, NULL, 0, &n->b));
    return body_until(p, ends, 1, &n->kid, &n->n);
}

/* (a, b=1): names in kw, defaults in kw[].v. */
static err_code p_signature(struct parser *p, struct node *n)
{
    struct nodes args = {0}, defs = {0};
    TRY(tmpl_p_expect_op(p, "("));
    while (!p_op(p, ")")) {
        struct node *arg, *def = NULL;
        if (args.n)
            TRY(tmpl_p_expect_op(p, ","));
        TRY(p_name_target(p, &arg));
        for (int i = 0; i < args.n; i++)
            if (str_eq(args.at[i]->name, arg->name))
                return tmpl_p_fail(p, arg->line, "duplicate argument '%s'", arg->name.p);
        if (tmpl_p_skip_op(p, "="))
            TRY(tmpl_p_expr(p, 1, &def));
        else if (defs.n && defs.at[defs.n - 1])
            return tmpl_p_fail(p, arg->line, "non-default argument follows default argument");
        TRY(tmpl_p_push(p, &args, arg));
        TRY(tmpl_p_push(p, &defs, def));
    }
    p->at++;
    n->kw = ARENA_TRY(&p->t->mem, struct kwnode, args.n);
    if (!n->kw)
        return err_set(p->e, ERR_LIMIT, "%s: template is too large", p->t->name);
    for (int i = 0; i < args.n; i++)
        n->kw[i] = (struct kwnode){args.at[i]->name, defs.at[i]};
    n->nkw = args.n;
    return ERR_OK;
}

static err_code p_macro(struct parser *p, struct node *n)
{
    static const char *const ends[] = {"endmacro", NULL};
    TRY(p_name_target(p, &n->a));
    n->name = n->a->name;
    TRY(p_signature(p, n));
    return body_until(p, ends, 1, &n->kid, &n->n);
}

static err_code p_call_block(struct parser *p, struct node *n)
{
    static const char *const ends[] = {"endcall", NULL};
    n->name = STR("caller");
    if (p_op(p, "("))
        TRY(p_signature(p, n));
    TRY(tmpl_p_expr(p, 1, &n->a));
    if (n->a->kind != N_CALL)
        return tmpl_p_fail(p, n->line, "expected call");
    return body_until(p, ends, 1, &n->kid, &n->n);
}

static err_code p_generation(struct parser *p, struct node *n)
{
    static const char *const ends[] = {"endgeneration", NULL};
    p->t->has_generation = 1;
    n->name = STR("caller");
    return body_until(p, ends, 1, &n->kid, &n->n);
}

static err_code p_filter_block(struct parser *p, struct node *n)
{
    static const char *const ends[] = {"endfilter", NULL};
    TRY(tmpl_p_filters(p, NULL, 1, &n->b));
    return body_until(p, ends, 1, &n->kid, &n->n);
}

static err_code p_with(struct parser *p, struct node *n)
{
    static const char *const ends[] = {"endwith", NULL};
    struct nodes l = {0};
    while (p_cur(p)->kind != K_BLOCK_END) {
        struct node *set;
        if (l.n)
            TRY(tmpl_p_expect_op(p, ","));
        TRY(tmpl_p_node(p, N_SET, p_cur(p)->line, &set));
        TRY(p_target(p, NULL, 0, &set->a));
        TRY(tmpl_p_expect_op(p, "="));
        TRY(tmpl_p_expr(p, 1, &set->b));
        TRY(tmpl_p_push(p, &l, set));
    }
    TRY(tmpl_p_node(p, N_SCOPE, n->line, &n->a));
    n->a->kid = l.at;
    n->a->n = l.n;
    return body_until(p, ends, 1, &n->kid, &n->n);
}

static err_code p_block(struct parser *p, struct node *n)
{
    static const char *const ends[] = {"endblock", NULL};
    TRY(tmpl_p_expect_name(p, &n->name));
    tmpl_p_skip_name(p, "scoped");
    tmpl_p_skip_name(p, "required");
    if (p_op(p, "-"))
        return tmpl_p_fail(p, n->line, "Block names in Jinja have to be valid Python identifiers and may not contain hyphens");
    TRY(body_until(p, ends, 1, &n->kid, &n->n));
    tmpl_p_skip_name(p, n->name.p);
    return ERR_OK;
}

static err_code p_autoescape(struct parser *p, struct node *n)
{
    static const char *const ends[] = {"endautoescape", NULL};
    TRY(tmpl_p_expr(p, 1, &n->a));
    if (n->a->kind != N_CONST || tmpl_truth(NULL, n->a->v))
        return tmpl_p_fail(p, n->line, "autoescape is not supported");
    n->a = NULL;
    return body_until(p, ends, 1, &n->kid, &n->n);
}

static err_code p_print(struct parser *p, struct node *n)
{
    struct nodes l = {0};
    while (p_cur(p)->kind != K_BLOCK_END) {
        struct node *x;
        if (l.n)
            TRY(tmpl_p_expect_op(p, ","));
        TRY(tmpl_p_expr(p, 1, &x));
        TRY(tmpl_p_push(p, &l, x));
    }
    n->kid = l.at;
    n->n = l.n;
    return ERR_OK;
}

/* include, import, from, extends: they parse, and fail when run, because there is no loader. */
static err_code p_noloader(struct parser *p, struct node *n)
{
    struct node *x;
    TRY(tmpl_p_expr(p, 1, &x));
    while (p_cur(p)->kind != K_BLOCK_END && p_cur(p)->kind != K_EOF)
        p->at++;
    (void)n;
    return ERR_OK;
}

static err_code p_nothing(struct parser *p, struct node *n)
{
    (void)p, (void)n;
    return ERR_OK;
}

static const struct {
    const char *word;
    enum node_kind kind;
    err_code (*f)(struct parser *, struct node *);
} statements[] = {
    {"for", N_FOR, p_for}, {"if", N_IF, p_if}, {"set", N_SET, p_set}, {"macro", N_MACRO, p_macro}, {"call", N_CALLBLOCK, p_call_block},
    {"generation", N_GENERATION, p_generation}, {"filter", N_FILTERBLOCK, p_filter_block}, {"with", N_WITH, p_with},
    {"block", N_BLOCK, p_block}, {"autoescape", N_SCOPE, p_autoescape}, {"print", N_OUTPUT, p_print}, {"break", N_BREAK, p_nothing},
    {"continue", N_CONTINUE, p_nothing}, {"include", N_NOLOADER, p_noloader}, {"import", N_NOLOADER, p_noloader},
    {"from", N_NOLOADER, p_noloader}, {"extends", N_NOLOADER, p_noloader},
};

static err_code p_statement(struct parser *p, struct node **out)
{
    const struct token *k = p_cur(p);
    if (k->kind != K_NAME)
        return tmpl_p_fail(p, k->line, "tag name expected");
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++)
        if (tok_is_name(k, statements[i].word)) {
            p->at++;
            TRY(tmpl_p_node(p, statements[i].kind, k->line, out));
            return statements[i].f(p, *out);
        }
    return tmpl_p_fail(p, k->line, "Encountered unknown tag '%.*s'.", STR_ARG(k->text));
}

static int at_end_tag(const struct parser *p, const char *const *ends)
{
    for (; ends && *ends; ends++)
        if (p_name(p, *ends))
            return 1;
    return 0;
}

/* Prints between statements are gathered in one N_OUTPUT. */
static err_code output(struct parser *p, struct nodes *out, struct nodes *prints)
{
    if (!prints->n)
        return ERR_OK;
    struct node *n;
    TRY(tmpl_p_node(p, N_OUTPUT, prints->at[0]->line, &n));
    n->kid = prints->at;
    n->n = prints->n;
    *prints = (struct nodes){0};
    TRY(tmpl_p_seal(p, n));
    return tmpl_p_push(p, out, n);
}

static err_code subparse(struct parser *p, const char *const *ends, struct nodes *out)
{
    struct nodes prints = {0};
    for (;;) {
        const struct token *k = p_cur(p);
        struct node *n;
        if (k->kind == K_EOF)
            return output(p, out, &prints);
        p->at++;
        if (k->kind == K_DATA) {
            TRY(tmpl_p_node(p, N_DATA, k->line, &n));
            n->v = tmpl_view(k->text.p, k->text.n);
            TRY(tmpl_p_push(p, &prints, n));
        } else if (k->kind == K_VAR_BEGIN) {
            TRY(tmpl_p_tuple(p, (struct tuple_opts){0}, &n));
            TRY(tmpl_p_push(p, &prints, n));
            if (p_cur(p)->kind != K_VAR_END)
                return tmpl_p_unexpected(p, "token 'end of print statement'");
            p->at++;
        } else {
            TRY(output(p, out, &prints));
            if (at_end_tag(p, ends))
                return ERR_OK;
            TRY(p_statement(p, &n));
            TRY(tmpl_p_seal(p, n));
            TRY(tmpl_p_push(p, out, n));
            if (p_cur(p)->kind != K_BLOCK_END)
                return tmpl_p_unexpected(p, "token 'end of statement block'");
            p->at++;
        }
    }
}

err_code tmpl_parse(struct tmpl *t, struct str source, struct err *e)
{
    struct parser p = {.t = t, .e = e};
    struct nodes l = {0};
    TRY(tmpl_lex(t, source, &p.tok, &p.n, e));
    TRY(subparse(&p, NULL, &l));
    TRY(tmpl_p_node(&p, N_SCOPE, 1, &t->root));
    t->root->kid = l.at;
    t->root->n = l.n;
    return ERR_OK;
}
