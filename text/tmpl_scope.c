/* Which variable a name means: Jinja2's rules of scope, worked out once per template.
 *
 * A scope has the names its statements store or read. A name read but never stored is looked up in the
 * scopes around it, last in the row's variables. A name stored in an inner scope is a new variable that
 * starts with the outer value each time the scope is entered (so a loop's assignments end with the pass).
 * Macros, call blocks, recursive loops and blocks are functions: they have frames of their own and see
 * the variables around them live, as Python closures do.
 */
#include "text/tmpl.h"

enum load_kind { L_PARAM, L_MISSING, L_ROW, L_ALIAS };

struct sym {
    struct str name;
    int slot; /* -1 while it is only read */
    enum load_kind load;
    int stored;
    struct sym *outer;      /* L_ALIAS */
    struct fnctx *outer_fn;
};
struct fnctx {
    struct fnctx *up;
    int n_slots, loops;
};
struct table {
    struct table *up;
    struct fnctx *fn;
    struct sym **at;
    int n, cap;
};
struct ctx {
    struct tmpl *t;
    struct err *e;
    struct table *root;
    int soft; /* directly inside an if: unknown filters fail when they run, not now */
};

static err_code too_large(struct ctx *c)
{
    return err_set(c->e, ERR_LIMIT, "%s: template is too large", c->t->name);
}

#define NEW(c, p, n)                                                    \
    do {                                                                \
        if (!((p) = arena_try(&(c)->t->mem, (n), (int64_t)sizeof *(p)))) \
            return too_large(c);                                        \
    } while (0)

static err_code bind_error(struct ctx *c, int line, const char *what, const char *name)
{
    return err_set(c->e, ERR_DATA, "%s:%d: TemplateSyntaxError: %s%s", c->t->name, line, what, name);
}

/* ---- symbols ------------------------------------------------------------------------------- */

static struct sym *find_here(const struct table *t, struct str name)
{
    for (int i = 0; i < t->n; i++)
        if (str_eq(t->at[i]->name, name))
            return t->at[i];
    return NULL;
}

static struct sym *find(const struct table *t, struct str name, struct fnctx **fn)
{
    for (; t; t = t->up) {
        struct sym *s = find_here(t, name);
        if (s) {
            *fn = t->fn;
            return s;
        }
    }
    return NULL;
}

static err_code define(struct ctx *c, struct table *t, struct str name, struct sym **out)
{
    if (t->n == t->cap) {
        int cap = t->cap ? t->cap * 2 : 8;
        struct sym **at;
        NEW(c, at, cap);
        if (t->n)
            tmpl_copy(at, t->at, sizeof *at * (size_t)t->n);
        t->at = at;
        t->cap = cap;
    }
    struct sym *s;
    NEW(c, s, 1);
    *s = (struct sym){.name = name, .slot = -1, .load = L_ROW};
    t->at[t->n++] = s;
    *out = s;
    return ERR_OK;
}

static void alias_or(struct table *t, struct sym *s, enum load_kind other)
{
    s->outer = t->up ? find(t->up, s->name, &s->outer_fn) : NULL;
    s->load = s->outer ? L_ALIAS : other;
}

static err_code sym_load(struct ctx *c, struct table *t, struct str name)
{
    struct fnctx *fn;
    struct sym *s;
    return find(t, name, &fn) ? ERR_OK : define(c, t, name, &s);
}

static void give_slot(struct table *t, struct sym *s)
{
    if (s->slot < 0)
        s->slot = t->fn->n_slots++;
}

static err_code sym_store(struct ctx *c, struct table *t, struct str name)
{
    struct sym *s = find_here(t, name);
    if (!s) {
        TRY(define(c, t, name, &s));
        alias_or(t, s, L_MISSING);
    }
    s->stored = 1;
    give_slot(t, s);
    return ERR_OK;
}

static err_code sym_param(struct ctx *c, struct table *t, struct str name, int32_t *slot)
{
    struct sym *s = find_here(t, name);
    if (!s)
        TRY(define(c, t, name, &s));
    s->load = L_PARAM;
    s->stored = 1;
    give_slot(t, s);
    if (slot)
        *slot = s->slot;
    return ERR_OK;
}

static err_code free_index(struct ctx *c, struct str name, int *out)
{
    struct tmpl *t = c->t;
    for (int i = 0; i < t->n_free; i++)
        if (str_eq(t->free_name[i], name))
            return *out = i, ERR_OK;
    if ((t->n_free & (t->n_free - 1)) == 0) { /* full at powers of two */
        struct str *p;
        NEW(c, p, t->n_free ? t->n_free * 2 : 1);
        if (t->n_free)
            tmpl_copy(p, t->free_name, sizeof *p * (size_t)t->n_free);
        t->free_name = p;
    }
    *out = t->n_free;
    t->free_name[t->n_free++] = name;
    return ERR_OK;
}

static int hops(const struct fnctx *from, const struct fnctx *to)
{
    int n = 0;
    for (; from != to; from = from->up)
        n++;
    return n;
}

/* ---- which names a scope has ---------------------------------------------------------------- */

static err_code see(struct ctx *c, struct table *t, struct node *n);

static err_code see_all(struct ctx *c, struct table *t, struct node **kid, int n)
{
    for (int i = 0; i < n; i++)
        TRY(see(c, t, kid[i]));
    return ERR_OK;
}

/* What only a branch stores may be unset behind it: then the name means what it meant before. */
static err_code see_if(struct ctx *c, struct table *t, struct node *n)
{
    char *was;
    int known = t->n;
    NEW(c, was, known + 1);
    for (int i = 0; i < known; i++)
        was[i] = (char)t->at[i]->stored;
    TRY(see(c, t, n->a));
    TRY(see_all(c, t, n->kid, n->n));
    TRY(see(c, t, n->b));
    for (int i = 0; i < t->n; i++)
        if (t->at[i]->stored && !(i < known && was[i]) && t->at[i]->load != L_PARAM)
            alias_or(t, t->at[i], L_ROW);
    return ERR_OK;
}

static err_code see(struct ctx *c, struct table *t, struct node *n)
{
    if (!n)
        return ERR_OK;
    switch (n->kind) {
    case N_NAME: return n->store ? sym_store(c, t, n->name) : sym_load(c, t, n->name);
    case N_NSREF: return sym_load(c, t, n->name);
    case N_IF: return see_if(c, t, n);
    case N_MACRO: return sym_store(c, t, n->name);
    case N_SET:
        TRY(see(c, t, n->b));
        return see(c, t, n->a);
    case N_SETBLOCK:
        TRY(see(c, t, n->b));
        return see(c, t, n->a);
    case N_FOR: return see(c, t, n->b);
    case N_CALLBLOCK: return see(c, t, n->a);
    case N_WITH:
        for (int i = 0; i < n->a->n; i++)
            TRY(see(c, t, n->a->kid[i]->b));
        return ERR_OK;
    case N_GENERATION: case N_FILTERBLOCK: case N_SCOPE: case N_BLOCK: return ERR_OK;
    default: break;
    }
    TRY(see(c, t, n->a));
    TRY(see(c, t, n->b));
    TRY(see(c, t, n->c));
    TRY(see(c, t, n->d));
    for (int i = 0; i < n->nkw; i++)
        TRY(see(c, t, n->kw[i].v));
    int kids = n->kind == N_DICT ? n->n * 2 : n->n;
    return n->kind == N_CONST ? ERR_OK : see_all(c, t, n->kid, kids);
}

static err_code see_params(struct ctx *c, struct table *t, struct node *target)
{
    if (target->kind == N_NAME)
        return sym_param(c, t, target->name, NULL);
    for (int i = 0; i < target->n; i++)
        TRY(see_params(c, t, target->kid[i]));
    return ERR_OK;
}

/* Does the tree read (or store) `name`? */
static int mentions(const struct node *n, const char *name, int store)
{
    if (!n)
        return 0;
    if (n->kind == N_NAME)
        return n->store == store && str_eq(n->name, str_of(name));
    if (n->kind == N_CONST || n->kind == N_DATA)
        return 0;
    if (mentions(n->a, name, store) || mentions(n->b, name, store) || mentions(n->c, name, store) || mentions(n->d, name, store))
        return 1;
    for (int i = 0; i < n->nkw; i++)
        if (mentions(n->kw[i].v, name, store))
            return 1;
    int kids = n->kind == N_DICT ? n->n * 2 : n->n;
    for (int i = 0; i < kids; i++)
        if (mentions(n->kid[i], name, store))
            return 1;
    return 0;
}

static int body_mentions(const struct node *n, const char *name, int store)
{
    for (int i = 0; i < n->n; i++)
        if (mentions(n->kid[i], name, store))
            return 1;
    return 0;
}

/* ---- binding -------------------------------------------------------------------------------- */

static err_code bind(struct ctx *c, struct table *t, struct node *n);

static err_code new_table(struct ctx *c, struct table *up, struct fnctx *fn, struct table **out)
{
    NEW(c, *out, 1);
    (*out)->up = up;
    (*out)->fn = fn;
    return ERR_OK;
}

static err_code new_fn(struct ctx *c, struct fnctx *up, struct fnctx **out)
{
    NEW(c, *out, 1);
    (*out)->up = up;
    return ERR_OK;
}

static err_code place(struct ctx *c, const struct fnctx *from, struct sym *s, struct fnctx *fn, int32_t *hops_out, int32_t *slot)
{
    if (s->slot >= 0) {
        *hops_out = hops(from, fn);
        *slot = s->slot;
        return ERR_OK;
    }
    *hops_out = -1;
    return free_index(c, s->name, slot);
}

static err_code make_scope(struct ctx *c, struct table *t, struct scope **out)
{
    struct scope *s;
    NEW(c, s, 1);
    NEW(c, s->load, t->n + 1);
    for (int i = 0; i < t->n; i++) {
        struct sym *y = t->at[i];
        struct load *l = &s->load[s->n];
        if (y->slot < 0 || y->load == L_PARAM)
            continue;
        l->slot = y->slot;
        if (y->load == L_ALIAS)
            TRY(place(c, t->fn, y->outer, y->outer_fn, &l->hops, &l->from));
        else if (y->load == L_ROW)
            l->hops = -1;
        else
            l->hops = -2;
        if (y->load == L_ROW)
            TRY(free_index(c, y->name, &l->from));
        s->n++;
    }
    *out = s;
    return ERR_OK;
}

static err_code bind_name(struct ctx *c, struct table *t, struct node *n)
{
    struct fnctx *fn;
    struct sym *s = find(t, n->name, &fn);
    if (!s)
        BUG("name '%s' was not seen", n->name.p);
    return place(c, t->fn, s, fn, &n->hops, &n->slot);
}

static err_code bind_all(struct ctx *c, struct table *t, struct node **kid, int n)
{
    for (int i = 0; i < n; i++)
        TRY(bind(c, t, kid[i]));
    return ERR_OK;
}

/* A body with a scope of its own in the same function. */
static err_code bind_scope(struct ctx *c, struct table *t, struct node *n)
{
    int soft = c->soft;
    c->soft = 0;
    TRY(make_scope(c, t, &n->scope));
    TRY(bind_all(c, t, n->kid, n->n));
    c->soft = soft;
    return ERR_OK;
}

static err_code copy_target(struct ctx *c, const struct node *n, struct node **out)
{
    NEW(c, *out, 1);
    **out = *n;
    if (n->kind == N_TUPLE) {
        NEW(c, (*out)->kid, n->n + 1);
        for (int i = 0; i < n->n; i++)
            TRY(copy_target(c, n->kid[i], &(*out)->kid[i]));
    }
    return ERR_OK;
}

static err_code new_func(struct ctx *c, const struct fnctx *fn, struct func **out)
{
    NEW(c, *out, 1);
    (*out)->n_slots = fn->n_slots;
    return ERR_OK;
}

/* The test of a loop has its own copy of the target and its own scope: n->c = {a: target, b: test}. */
static err_code bind_for_test(struct ctx *c, struct table *t, struct fnctx *fn, struct node *n)
{
    struct table *tt;
    struct node *test;
    TRY(new_table(c, t, fn, &tt));
    NEW(c, test, 1);
    test->kind = N_SCOPE;
    test->line = n->c->line;
    TRY(copy_target(c, n->a, &test->a));
    test->b = n->c;
    TRY(see_params(c, tt, test->a));
    TRY(see(c, tt, test->b));
    TRY(make_scope(c, tt, &test->scope));
    TRY(bind(c, tt, test->a));
    TRY(bind(c, tt, test->b));
    n->c = test;
    return ERR_OK;
}

static err_code bind_for(struct ctx *c, struct table *t, struct node *n)
{
    struct table *body, *other;
    struct fnctx *fn = t->fn;
    TRY(bind(c, t, n->b));
    if (mentions(n->a, "loop", 1) || body_mentions(n, "loop", 1))
        return bind_error(c, n->line, "Can't assign to special loop variable in for-loop", "");
    if (n->flags & NF_RECURSIVE)
        TRY(new_fn(c, t->fn, &fn));
    TRY(new_table(c, t, fn, &body));
    if (n->c)
        TRY(bind_for_test(c, t, fn, n));
    TRY(sym_param(c, body, STR("loop"), &n->loop_slot));
    TRY(see_params(c, body, n->a));
    TRY(see_all(c, body, n->kid, n->n));
    TRY(bind(c, body, n->a));
    fn->loops++;
    TRY(bind_scope(c, body, n));
    fn->loops--;
    if (n->d) {
        TRY(new_table(c, t, fn, &other));
        TRY(see_all(c, other, n->d->kid, n->d->n));
        TRY(bind_scope(c, other, n->d));
    }
    return n->flags & NF_RECURSIVE ? new_func(c, fn, &n->func) : ERR_OK;
}

/* Macros, call blocks and generation blocks: kw has the parameters, kid the body. */
static err_code bind_macro(struct ctx *c, struct table *t, struct node *n)
{
    struct table *body;
    struct fnctx *fn;
    int explicit_caller = 0, skip_kwargs = 0, skip_varargs = 0;
    TRY(new_fn(c, t->fn, &fn));
    TRY(new_table(c, t, fn, &body));
    for (int i = 0; i < n->nkw; i++) { /* parameters are slots 0, 1, ... */
        TRY(sym_param(c, body, n->kw[i].k, NULL));
        if (str_eq(n->kw[i].k, STR("caller"))) {
            explicit_caller = 1;
            if (!n->kw[i].v && body_mentions(n, "caller", 0))
                return bind_error(c, n->line, "When defining macros or call blocks the special \"caller\" argument must be omitted or be "
                                              "given a default.", "");
        }
        skip_kwargs |= str_eq(n->kw[i].k, STR("kwargs"));
        skip_varargs |= str_eq(n->kw[i].k, STR("varargs"));
    }
    for (int i = 0; i < n->nkw; i++)
        TRY(see(c, body, n->kw[i].v));
    TRY(see_all(c, body, n->kid, n->n));
    if (body_mentions(n, "caller", 0)) {
        n->flags |= NF_CALLER;
        if (!explicit_caller)
            TRY(sym_param(c, body, STR("caller"), &n->caller_slot));
    }
    if (!skip_kwargs && body_mentions(n, "kwargs", 0)) {
        n->flags |= NF_KWARGS;
        TRY(sym_param(c, body, STR("kwargs"), &n->kwargs_slot));
    }
    if (!skip_varargs && body_mentions(n, "varargs", 0)) {
        n->flags |= NF_VARARGS;
        TRY(sym_param(c, body, STR("varargs"), &n->varargs_slot));
    }
    for (int i = 0; i < n->nkw; i++)
        TRY(bind(c, body, n->kw[i].v));
    TRY(bind_scope(c, body, n));
    return new_func(c, fn, &n->func);
}

static err_code bind_block(struct ctx *c, struct node *n)
{
    struct table *body;
    struct fnctx *fn;
    TRY(new_fn(c, c->root->fn, &fn));
    TRY(new_table(c, c->root, fn, &body));
    TRY(see_all(c, body, n->kid, n->n));
    TRY(bind_scope(c, body, n));
    return new_func(c, fn, &n->func);
}

static err_code bind_inner(struct ctx *c, struct table *t, struct node *n)
{
    struct table *body;
    TRY(new_table(c, t, t->fn, &body));
    if (n->kind == N_WITH)
        for (int i = 0; i < n->a->n; i++) {
            TRY(bind(c, t, n->a->kid[i]->b));
            TRY(see(c, body, n->a->kid[i]->a));
        }
    if (n->kind == N_FILTERBLOCK)
        TRY(see(c, body, n->b));
    TRY(see_all(c, body, n->kid, n->n));
    if (n->kind == N_WITH)
        for (int i = 0; i < n->a->n; i++)
            TRY(bind(c, body, n->a->kid[i]->a));
    if (n->kind == N_FILTERBLOCK)
        TRY(bind(c, body, n->b));
    if (n->kind == N_SETBLOCK) {
        TRY(bind(c, t, n->a));
        TRY(bind(c, t, n->b));
    }
    return bind_scope(c, body, n);
}

static err_code bind_soft(struct ctx *c, struct table *t, struct node *n)
{
    int soft = c->soft;
    c->soft = 1;
    TRY(bind(c, t, n->a));
    TRY(bind(c, t, n->b));
    TRY(bind(c, t, n->c));
    TRY(bind_all(c, t, n->kid, n->n));
    c->soft = soft;
    return ERR_OK;
}

static err_code bind(struct ctx *c, struct table *t, struct node *n)
{
    if (!n)
        return ERR_OK;
    switch (n->kind) {
    case N_NAME: case N_NSREF: return bind_name(c, t, n);
    case N_IF: case N_COND: return bind_soft(c, t, n);
    case N_FOR: return bind_for(c, t, n);
    case N_MACRO:
        TRY(bind(c, t, n->a));
        return bind_macro(c, t, n);
    case N_CALLBLOCK:
        TRY(bind(c, t, n->a));
        return bind_macro(c, t, n);
    case N_GENERATION: return bind_macro(c, t, n);
    case N_BLOCK: return bind_block(c, n);
    case N_SETBLOCK: case N_FILTERBLOCK: case N_WITH: case N_SCOPE: return bind_inner(c, t, n);
    case N_BREAK: case N_CONTINUE:
        return t->fn->loops ? ERR_OK : bind_error(c, n->line, n->kind == N_BREAK ? "'break' outside loop" : "'continue' not properly in loop", "");
    case N_FILTER: case N_TEST:
        if (!n->fn && !c->soft)
            return bind_error(c, n->line, n->kind == N_FILTER ? "No filter named " : "No test named ", n->name.p);
        break;
    case N_CONST: case N_DATA: return ERR_OK;
    default: break;
    }
    TRY(bind(c, t, n->a));
    TRY(bind(c, t, n->b));
    TRY(bind(c, t, n->c));
    TRY(bind(c, t, n->d));
    for (int i = 0; i < n->nkw; i++)
        TRY(bind(c, t, n->kw[i].v));
    return bind_all(c, t, n->kid, n->kind == N_DICT ? n->n * 2 : n->n);
}

err_code tmpl_bind_names(struct tmpl *t, struct err *e)
{
    struct ctx c = {.t = t, .e = e};
    struct fnctx *fn;
    TRY(new_fn(&c, NULL, &fn));
    TRY(new_table(&c, NULL, fn, &c.root));
    TRY(see_all(&c, c.root, t->root->kid, t->root->n));
    TRY(bind_scope(&c, c.root, t->root));
    return new_func(&c, fn, &t->root->func);
}
