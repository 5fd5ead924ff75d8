/* Calling: arguments to parameters, methods, globals. */
#include <stdarg.h>
#include <stdio.h>

#include "text/tmpl.h"

err_code tmpl_full(struct tmpl_run *r)
{
    return tmpl_limit(r, "memory");
}

err_code tmpl_limit(struct tmpl_run *r, const char *what)
{
    if (!r->t)
        return err_set(r->e, ERR_LIMIT, "the row passes the limit of %s", what);
    return err_set(r->e, ERR_LIMIT, "%s:%d: the template passed its limit of %s", r->t->name, r->line, what);
}

err_code tmpl_fail(struct tmpl_run *r, const char *kind, const char *fmt, ...)
{
    char msg[700];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    return err_set(r->e, ERR_DATA, "%s:%d: %s: %s", r->t ? r->t->name : "row", r->line, kind, msg);
}

err_code tmpl_deeper(struct tmpl_run *r)
{
    return ++r->depth > r->lim.depth ? tmpl_limit(r, "depth") : ERR_OK;
}

const struct fn *tmpl_find_fn(const struct fn *table, struct str name)
{
    for (; table->name; table++)
        if (table->name[0] == name.p[0] && str_eq(str_of(table->name), name))
            return table;
    return NULL;
}

/* The i-th name of a parameter list. */
static int param_index(const char *params, struct str name)
{
    struct str rest = str_of(params), one;
    for (int i = 0; rest.n && str_split(&rest, ' ', &one); i++)
        if (str_eq(one, name))
            return i;
    return -1;
}

static int param_count(const char *params)
{
    int n = *params != 0;
    for (; *params; params++)
        n += *params == ' ';
    return n;
}

err_code tmpl_bind(struct tmpl_run *r, const struct fn *f, const struct args *in, struct val *slot)
{
    int max = param_count(f->params);
    memset(slot, 0, sizeof *slot * FN_MAX_PARAMS);
    if (in->n > max)
        return tmpl_fail(r, "TypeError", "%s() takes at most %d arguments (%d given)", f->name, max, in->n);
    for (int i = 0; i < in->n; i++)
        slot[i] = in->pos[i];
    for (int i = 0; i < in->nkw; i++) {
        int k = f->flags & FN_POS ? -1 : param_index(f->params, in->kw[i].k);
        if (f->flags & FN_POS)
            return tmpl_fail(r, "TypeError", "%s() takes no keyword arguments", f->name);
        if (k < 0)
            return tmpl_fail(r, "TypeError", "%s() got an unexpected keyword argument '%.*s'", f->name, STR_ARG(in->kw[i].k));
        if (slot[k].tag != T_MISSING)
            return tmpl_fail(r, "TypeError", "%s() got multiple values for argument '%.*s'", f->name, STR_ARG(in->kw[i].k));
        slot[k] = in->kw[i].v;
    }
    for (int i = 0; i < f->need; i++)
        if (slot[i].tag == T_MISSING)
            return tmpl_fail(r, "TypeError", "%s() is missing a required argument", f->name);
    return ERR_OK;
}

err_code tmpl_call_fn(struct tmpl_run *r, const struct fn *f, const struct val *self, const struct args *in, struct val *out)
{
    struct val a[1 + FN_MAX_PARAMS];
    if (f->raw)
        return f->raw(r, self, in, out);
    a[0] = *self;
    TRY(tmpl_bind(r, f, in, a + 1));
    return f->f(r, a, out);
}

err_code tmpl_call(struct tmpl_run *r, struct val f, const struct args *in, struct val *out)
{
    static const struct val none = {.tag = T_MISSING};
    switch (f.tag) {
    case T_FUNC: return tmpl_call_fn(r, f.fn, &none, in, out);
    case T_METHOD: return tmpl_call_fn(r, f.method->fn, &f.method->self, in, out);
    case T_MACRO: return tmpl_call_macro(r, f.macro, in, out);
    case T_LOOP: return tmpl_call_loop(r, f.loop, in, out);
    case T_JOINER:
        if (in->n || in->nkw)
            return tmpl_fail(r, "TypeError", "a joiner takes no arguments");
        *out = f.cycler->i++ ? f.cycler->at[0] : v_lit("");
        return ERR_OK;
    case T_UNDEF: return tmpl_undef(r, f);
    default: return tmpl_fail(r, "TypeError", "'%s' object is not callable", tmpl_type(f));
    }
}

/* ---- globals ----------------------------------------------------------------------------------- */

static err_code g_range(struct tmpl_run *r, struct val *a, struct val *out)
{
    enum { MAX_RANGE = 100000 }; /* the sandbox's */
    struct range *g;
    int64_t x[3] = {0, 0, 1};
    int n = 1 + (a[2].tag != T_MISSING) + (a[3].tag != T_MISSING);
    for (int i = 0; i < n; i++)
        TRY(tmpl_index(r, a[1 + i], "range argument", &x[i]));
    if (n == 1)
        x[1] = x[0], x[0] = 0;
    if (x[2] == 0)
        return tmpl_fail(r, "ValueError", "range() arg 3 must not be zero");
    __int128 span = x[2] > 0 ? (__int128)x[1] - x[0] : (__int128)x[0] - x[1], by = x[2] > 0 ? (__int128)x[2] : -(__int128)x[2];
    __int128 count = span > 0 ? (span - 1) / by + 1 : 0;
    if (count > MAX_RANGE)
        return tmpl_fail(r, "OverflowError", "Range too big. The sandbox blocks ranges larger than MAX_RANGE (%d).", MAX_RANGE);
    MEM(r, g, 1);
    *g = (struct range){x[0], x[1], x[2], (int64_t)count};
    *out = (struct val){.tag = T_RANGE, .range = g};
    return ERR_OK;
}

static err_code update_from(struct tmpl_run *r, struct dict *d, struct val src)
{
    struct it it;
    struct val v, pair;
    int more;
    if (src.tag == T_DICT) {
        for (uint32_t i = 0; i < src.dict->n; i++)
            TRY(tmpl_dict_put(r, d, src.dict->at[i].k, src.dict->at[i].v));
        return tmpl_step(r, src.dict->n);
    }
    TRY(tmpl_iter(r, src, &it));
    for (;;) {
        TRY(tmpl_next(r, &it, &v, &more));
        if (!more)
            return ERR_OK;
        TRY(tmpl_list(r, v, &pair));
        if (pair.seq->n != 2)
            return tmpl_fail(r, "ValueError", "dictionary update sequence element has length %lld; 2 is required", (long long)pair.seq->n);
        TRY(tmpl_dict_put(r, d, pair.seq->at[0], pair.seq->at[1]));
    }
}

static err_code g_dict(struct tmpl_run *r, const struct val *self, const struct args *in, struct val *out)
{
    (void)self;
    if (in->n > 1)
        return tmpl_fail(r, "TypeError", "dict expected at most 1 argument, got %d", in->n);
    TRY(tmpl_dict_new(r, in->nkw, out));
    if (in->n)
        TRY(update_from(r, out->dict, in->pos[0]));
    for (int i = 0; i < in->nkw; i++)
        TRY(tmpl_dict_put(r, out->dict, tmpl_view(in->kw[i].k.p, in->kw[i].k.n), in->kw[i].v));
    return ERR_OK;
}

static err_code g_namespace(struct tmpl_run *r, const struct val *self, const struct args *in, struct val *out)
{
    TRY(g_dict(r, self, in, out));
    out->tag = T_NS;
    return ERR_OK;
}

static err_code g_cycler(struct tmpl_run *r, const struct val *self, const struct args *in, struct val *out)
{
    struct cycler *c;
    (void)self;
    if (!in->n || in->nkw)
        return tmpl_fail(r, "RuntimeError", "at least one item has to be provided");
    MEM(r, c, 1);
    *c = (struct cycler){.n = in->n};
    MEM(r, c->at, in->n);
    tmpl_copy(c->at, in->pos, sizeof *c->at * (size_t)in->n);
    *out = (struct val){.tag = T_CYCLER, .cycler = c};
    return ERR_OK;
}

static err_code g_joiner(struct tmpl_run *r, struct val *a, struct val *out)
{
    struct cycler *c;
    MEM(r, c, 1);
    *c = (struct cycler){.n = 1};
    MEM(r, c->at, 1);
    c->at[0] = a[1].tag == T_MISSING ? v_lit(", ") : a[1];
    *out = (struct val){.tag = T_JOINER, .cycler = c};
    return ERR_OK;
}

static err_code g_raise(struct tmpl_run *r, struct val *a, struct val *out)
{
    struct val msg;
    struct str s;
    (void)out;
    TRY(tmpl_str(r, a[1], &msg));
    FLAT(r, &msg, s);
    return err_set(r->e, ERR_DATA, "%s:%d: %.*s", r->t->name, r->line, (int)(s.n < 800 ? s.n : 800), s.p);
}

static err_code g_now(struct tmpl_run *r, struct val *a, struct val *out)
{
    if (a[1].tag != T_STR)
        return tmpl_fail(r, "TypeError", "strftime() argument 1 must be str, not %s", tmpl_type(a[1]));
    return tmpl_strftime(r, a[1], out);
}

static err_code g_lipsum(struct tmpl_run *r, const struct val *self, const struct args *in, struct val *out)
{
    (void)self, (void)in, (void)out;
    return tmpl_fail(r, "TemplateRuntimeError", "lipsum makes random text, which no two runs would agree on");
}

const struct fn *tmpl_global(struct str name)
{
    static const struct fn table[] = {
        {.name = "range", .f = g_range, .params = "start stop step", .need = 1, .flags = FN_POS},
        {.name = "dict", .raw = g_dict, .params = ""},
        {.name = "namespace", .raw = g_namespace, .params = ""},
        {.name = "cycler", .raw = g_cycler, .params = ""},
        {.name = "joiner", .f = g_joiner, .params = "sep"},
        {.name = "raise_exception", .f = g_raise, .params = "message", .need = 1},
        {.name = "strftime_now", .f = g_now, .params = "format", .need = 1},
        {.name = "lipsum", .raw = g_lipsum, .params = ""},
        {0},
    };
    return tmpl_find_fn(table, name);
}
