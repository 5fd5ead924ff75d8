/* Filters on sequences and numbers, and the look-up of all filters. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/rng.h"
#include "text/tmpl_strop.h"

#define FILTER(fname) static err_code fname(struct tmpl_run *r, struct val *a, struct val *out)

FILTER(f_length)
{
    int64_t n;
    TRY(tmpl_len(r, a[0], &n));
    *out = v_int(n);
    return ERR_OK;
}

FILTER(f_default)
{
    int use = a[0].tag == T_UNDEF || (tmpl_truth(r, a[2]) && !tmpl_truth(r, a[0]));
    *out = !use ? a[0] : a[1].tag == T_MISSING ? v_lit("") : a[1];
    return ERR_OK;
}

FILTER(f_list) { return tmpl_list(r, a[0], out); }

static err_code next_item(struct tmpl_run *r, struct iter *g, struct val *out, int *more)
{
    return tmpl_next(r, &g->src, out, more);
}

FILTER(f_items)
{
    if (a[0].tag == T_UNDEF)
        return tmpl_gen(r, "do_items", next_item, (struct val){.tag = T_UNDEF}, out);
    if (a[0].tag != T_DICT)
        return tmpl_fail(r, "TypeError", "Can only get item pairs from a mapping.");
    return tmpl_gen(r, "do_items", next_item, (struct val){.tag = T_VIEW, .flags = VIEW_ITEMS, .dict = a[0].dict}, out);
}

FILTER(f_first)
{
    struct it it;
    int more;
    TRY(tmpl_iter(r, a[0], &it));
    TRY(tmpl_next(r, &it, out, &more));
    if (!more)
        *out = v_hint("No first item, sequence was empty.");
    return ERR_OK;
}

static int can_reverse(struct val v)
{
    return v.tag == T_STR || v.tag == T_LIST || v.tag == T_TUPLE || v.tag == T_DICT || v.tag == T_VIEW || v.tag == T_RANGE;
}

FILTER(f_last)
{
    struct it it;
    int more;
    if (a[0].tag != T_UNDEF && !can_reverse(a[0]))
        return tmpl_fail(r, "TypeError", "'%s' object is not reversible", tmpl_type(a[0]));
    TRY(tmpl_iter(r, a[0], &it));
    it.back = 1;
    TRY(tmpl_next(r, &it, out, &more));
    if (!more)
        *out = v_hint("No last item, sequence was empty.");
    return ERR_OK;
}

FILTER(f_reverse)
{
    struct val list;
    if (a[0].tag == T_STR)
        return tmpl_getslice(r, a[0], NONE, NONE, v_int(-1), out);
    if (can_reverse(a[0])) {
        TRY(tmpl_gen(r, "reversed", next_item, a[0], out));
        out->iter->src.back = 1;
        return ERR_OK;
    }
    TRY(tmpl_list(r, a[0], &list));
    TRY(tmpl_seq_new(r, T_LIST, list.seq->n, out));
    for (int64_t i = 0; i < list.seq->n; i++)
        out->seq->at[i] = list.seq->at[list.seq->n - 1 - i];
    return ERR_OK;
}

FILTER(f_join)
{
    struct val items = a[0], sep;
    TRY(tmpl_str(r, a[1].tag == T_MISSING ? v_lit("") : a[1], &sep));
    if (a[2].tag != T_MISSING && a[2].tag != T_NONE) {
        TRY(tmpl_list(r, a[0], &items));
        struct val mapped;
        TRY(tmpl_seq_new(r, T_LIST, items.seq->n, &mapped));
        for (int64_t i = 0; i < items.seq->n; i++)
            TRY(tmpl_attr_path(r, items.seq->at[i], a[2], &mapped.seq->at[i]));
        items = mapped;
    }
    return tmpl_s_join(r, sep, items, 1, out);
}

/* ---- ordering ---------------------------------------------------------------------------------------- */

static err_code fold(struct tmpl_run *r, int sensitive, struct val *v)
{
    return !sensitive && v->tag == T_STR ? tmpl_s_case(r, *v, CASE_LOWER, v) : ERR_OK;
}

/* A fresh copy, because sorting moves items and lists are shared. */
static err_code copy_list(struct tmpl_run *r, struct val v, struct val *out)
{
    struct val list;
    TRY(tmpl_list(r, v, &list));
    TRY(tmpl_seq_new(r, T_LIST, list.seq->n, out));
    tmpl_copy(out->seq->at, list.seq->at, (size_t)list.seq->n * sizeof(struct val));
    return ERR_OK;
}

/* "a,b.c": one key per part. */
static err_code multi_key(struct tmpl_run *r, struct val item, struct val attribute, int sensitive, struct val *out)
{
    struct val keys[16];
    struct str rest, part;
    int n = 0;
    if (attribute.tag == T_STR && attribute.n) {
        FLAT(r, &attribute, rest);
        while (str_split(&rest, ',', &part) && n < 16) {
            TRY(tmpl_attr_path(r, item, tmpl_view(part.p, part.n), &keys[n]));
            TRY(fold(r, sensitive, &keys[n++]));
        }
    } else {
        TRY(tmpl_attr_path(r, item, attribute, &keys[n]));
        TRY(fold(r, sensitive, &keys[n++]));
    }
    TRY(tmpl_seq_new(r, T_LIST, n, out));
    tmpl_copy(out->seq->at, keys, sizeof *keys * (size_t)n);
    return ERR_OK;
}

FILTER(f_sort)
{
    struct val *key;
    TRY(copy_list(r, a[0], out));
    MEM(r, key, out->seq->n + 1);
    for (int64_t i = 0; i < out->seq->n; i++)
        TRY(multi_key(r, out->seq->at[i], a[3], tmpl_truth(r, a[2]), &key[i]));
    return tmpl_sort(r, out->seq->at, key, out->seq->n, tmpl_truth(r, a[1]));
}

FILTER(f_dictsort)
{
    struct val *key;
    struct str by = STR("key");
    if (a[0].tag != T_DICT)
        return a[0].tag == T_UNDEF ? tmpl_undef(r, a[0]) : tmpl_fail(r, "AttributeError", "'%s' object has no attribute 'items'", tmpl_type(a[0]));
    if (a[2].tag == T_STR)
        FLAT(r, &a[2], by);
    int value = str_eq(by, STR("value"));
    if ((!value && !str_eq(by, STR("key"))) || (a[2].tag != T_STR && a[2].tag != T_MISSING))
        return tmpl_fail(r, "FilterArgumentError", "You can only sort by either \"key\" or \"value\"");
    TRY(tmpl_list(r, (struct val){.tag = T_VIEW, .flags = VIEW_ITEMS, .dict = a[0].dict}, out));
    MEM(r, key, out->seq->n + 1);
    for (int64_t i = 0; i < out->seq->n; i++) {
        key[i] = out->seq->at[i].seq->at[value];
        TRY(fold(r, tmpl_truth(r, a[1]), &key[i]));
    }
    return tmpl_sort(r, out->seq->at, key, out->seq->n, tmpl_truth(r, a[3]));
}

static err_code extreme(struct tmpl_run *r, struct val *a, enum cmp_op op, struct val *out)
{
    struct it it;
    struct val v, key, best = {0};
    int more, first = 1, better;
    *out = v_hint("No aggregated item, sequence was empty.");
    TRY(tmpl_iter(r, a[0], &it));
    for (;;) {
        TRY(tmpl_next(r, &it, &v, &more));
        if (!more)
            return ERR_OK;
        TRY(tmpl_attr_path(r, v, a[2], &key));
        TRY(fold(r, tmpl_truth(r, a[1]), &key));
        better = first;
        if (!first)
            TRY(tmpl_cmp(r, op, key, best, &better));
        if (better) {
            *out = v;
            best = key;
        }
        first = 0;
    }
}

FILTER(f_min) { return extreme(r, a, CMP_LT, out); }
FILTER(f_max) { return extreme(r, a, CMP_GT, out); }

static err_code next_unique(struct tmpl_run *r, struct iter *g, struct val *out, int *more)
{
    struct val key, seen;
    for (;;) {
        TRY(tmpl_next(r, &g->src, out, more));
        if (!*more)
            return ERR_OK;
        TRY(tmpl_attr_path(r, *out, g->arg[1], &key));
        TRY(fold(r, g->flag, &key));
        TRY(tmpl_dict_get(r, g->arg[0].dict, key, &seen));
        if (seen.tag != T_MISSING)
            continue;
        return tmpl_dict_put(r, g->arg[0].dict, key, NONE);
    }
}

FILTER(f_unique)
{
    TRY(tmpl_gen(r, "sync_do_unique", next_unique, a[0], out));
    MEM(r, out->iter->arg, 2);
    TRY(tmpl_dict_new(r, 8, &out->iter->arg[0]));
    out->iter->arg[1] = a[2];
    out->iter->flag = tmpl_truth(r, a[1]);
    return ERR_OK;
}

FILTER(f_groupby)
{
    struct val items, *key, group;
    int sensitive = tmpl_truth(r, a[3]), eq;
    TRY(copy_list(r, a[0], &items));
    int64_t n = items.seq->n, n_groups = 0;
    MEM(r, key, n + 1);
    for (int64_t i = 0; i < n; i++) {
        TRY(tmpl_attr_path(r, items.seq->at[i], a[1], &key[i]));
        if (key[i].tag == T_UNDEF && a[2].tag != T_MISSING && a[2].tag != T_NONE)
            key[i] = a[2];
        TRY(fold(r, sensitive, &key[i]));
    }
    TRY(tmpl_sort(r, items.seq->at, key, n, 0));
    TRY(tmpl_seq_new(r, T_LIST, n, out));
    for (int64_t i = 0, from = 0; i < n; i++) {
        eq = 0;
        if (i + 1 < n)
            TRY(tmpl_eq(r, key[i], key[i + 1], &eq));
        if (eq)
            continue;
        struct val real = key[from];
        if (!sensitive) { /* the key as the first item spells it */
            TRY(tmpl_attr_path(r, items.seq->at[from], a[1], &real));
            if (real.tag == T_UNDEF && a[2].tag != T_MISSING && a[2].tag != T_NONE)
                real = a[2];
        }
        TRY(tmpl_getslice(r, items, v_int(from), v_int(i + 1), NONE, &group));
        TRY(tmpl_tuple2(r, real, group, &out->seq->at[n_groups]));
        out->seq->at[n_groups++].flags |= VF_GROUP;
        from = i + 1;
    }
    out->seq->n = n_groups;
    return ERR_OK;
}

/* ---- map, select -------------------------------------------------------------------------------------- */

struct mapper { /* what map, select and their kin do to an item */
    const struct fn *fn; /* filter or test; NULL = none */
    struct args in;
    struct val attribute, fallback;
    int reject;
};

static err_code next_map(struct tmpl_run *r, struct iter *g, struct val *out, int *more)
{
    const struct mapper *m = g->p;
    struct val v;
    TRY(tmpl_next(r, &g->src, &v, more));
    if (!*more)
        return ERR_OK;
    if (m->fn)
        return tmpl_call_fn(r, m->fn, &v, &m->in, out);
    TRY(tmpl_attr_path(r, v, m->attribute, out));
    if (out->tag == T_UNDEF && m->fallback.tag != T_MISSING && m->fallback.tag != T_NONE)
        *out = m->fallback;
    return ERR_OK;
}

static err_code next_select(struct tmpl_run *r, struct iter *g, struct val *out, int *more)
{
    const struct mapper *m = g->p;
    for (;;) {
        struct val v, yes;
        TRY(tmpl_next(r, &g->src, out, more));
        if (!*more)
            return ERR_OK;
        TRY(tmpl_attr_path(r, *out, m->attribute, &v));
        yes = v;
        if (m->fn)
            TRY(tmpl_call_fn(r, m->fn, &v, &m->in, &yes));
        if (tmpl_truth(r, yes) != m->reject)
            return ERR_OK;
    }
}

/* The rest of the arguments go to the named filter or test. They must outlive the call. */
static err_code named(struct tmpl_run *r, struct mapper *m, const struct args *in, int skip, int test)
{
    struct val name = in->pos[skip];
    struct str s;
    if (name.tag != T_STR)
        return tmpl_fail(r, "TypeError", "the name of a %s must be a string", test ? "test" : "filter");
    FLAT(r, &name, s);
    m->fn = test ? tmpl_test(s) : tmpl_filter(s);
    if (!m->fn)
        return tmpl_fail(r, "TemplateRuntimeError", "No %s named '%.*s'.", test ? "test" : "filter", STR_ARG(s));
    m->in = (struct args){.pos = in->pos + skip + 1, .n = in->n - skip - 1, .kw = in->kw, .nkw = in->nkw};
    return ERR_OK;
}

static err_code make_lazy(struct tmpl_run *r, const char *name, struct val src, const struct mapper *m,
                          err_code (*next)(struct tmpl_run *, struct iter *, struct val *, int *), struct val *out)
{
    struct mapper *copy;
    /* Jinja asks `if value` first, so None and 0 give nothing */
    TRY(tmpl_gen(r, name, next, tmpl_truth(r, src) ? src : (struct val){.tag = T_UNDEF}, out));
    MEM(r, copy, 1);
    *copy = *m;
    out->iter->p = copy;
    return ERR_OK;
}

static err_code f_map(struct tmpl_run *r, const struct val *self, const struct args *in, struct val *out)
{
    struct mapper m = {0};
    if (in->n) {
        TRY(named(r, &m, in, 0, 0));
    } else {
        int found = 0;
        for (int i = 0; i < in->nkw; i++) {
            if (str_eq(in->kw[i].k, STR("attribute"))) {
                m.attribute = in->kw[i].v;
                found = 1;
            } else if (str_eq(in->kw[i].k, STR("default"))) {
                m.fallback = in->kw[i].v;
            } else {
                return tmpl_fail(r, "FilterArgumentError", "Unexpected keyword argument '%.*s'", STR_ARG(in->kw[i].k));
            }
        }
        if (!found)
            return tmpl_fail(r, "FilterArgumentError", "map requires a filter argument");
    }
    return make_lazy(r, "sync_do_map", *self, &m, next_map, out);
}

static err_code select_by(struct tmpl_run *r, const struct val *self, const struct args *in, int attr, int reject, struct val *out)
{
    struct mapper m = {.reject = reject};
    if (attr) {
        if (!in->n)
            return tmpl_fail(r, "FilterArgumentError", "Missing parameter for attribute name");
        m.attribute = in->pos[0];
    }
    if (in->n > attr)
        TRY(named(r, &m, in, attr, 1));
    return make_lazy(r, "select_or_reject", *self, &m, next_select, out);
}

#define SELECT(fname, attr, reject)                                                                                        \
    static err_code fname(struct tmpl_run *r, const struct val *self, const struct args *in, struct val *out)              \
    {                                                                                                                      \
        return select_by(r, self, in, attr, reject, out);                                                                  \
    }
SELECT(f_select, 0, 0)
SELECT(f_reject, 0, 1)
SELECT(f_selectattr, 1, 0)
SELECT(f_rejectattr, 1, 1)

/* ---- batch, slice, sums --------------------------------------------------------------------------------- */

static err_code next_batch(struct tmpl_run *r, struct iter *g, struct val *out, int *more)
{
    int64_t want = g->arg[0].i, n = 0, cap = want > 0 && want < 1024 ? want : 16;
    struct val *at;
    MEM(r, at, cap + 1);
    while (n < want || want < 1) {
        struct val v;
        TRY(tmpl_next(r, &g->src, &v, more));
        if (!*more)
            break;
        if (n == cap) {
            struct val *old = at;
            cap *= 2;
            MEM(r, at, cap + 1);
            tmpl_copy(at, old, (size_t)n * sizeof *at);
        }
        at[n++] = v;
    }
    if (!n)
        return *more = 0, ERR_OK;
    *more = 1;
    TRY(tmpl_seq_new(r, T_LIST, g->arg[1].tag != T_NONE && n < want ? want : n, out));
    for (int64_t i = 0; i < out->seq->n; i++)
        out->seq->at[i] = i < n ? at[i] : g->arg[1];
    return tmpl_step(r, out->seq->n);
}

FILTER(f_batch)
{
    int64_t n;
    TRY(tmpl_index(r, a[1], "linecount", &n));
    TRY(tmpl_gen(r, "do_batch", next_batch, a[0], out));
    MEM(r, out->iter->arg, 2);
    out->iter->arg[0] = v_int(n);
    out->iter->arg[1] = a[2].tag == T_MISSING ? NONE : a[2];
    return n > 1 << 24 ? tmpl_limit(r, "list size") : ERR_OK;
}

static err_code next_slice(struct tmpl_run *r, struct iter *g, struct val *out, int *more)
{
    int64_t n = g->arg[0].seq->n, slices = g->arg[1].i, i = g->i;
    if (i >= slices)
        return *more = 0, ERR_OK;
    int64_t per = n / slices, extra = n % slices, from = i * per + (i < extra ? i : extra), count = per + (i < extra);
    int fill = g->arg[2].tag != T_NONE && i >= extra;
    g->i++;
    *more = 1;
    TRY(tmpl_seq_new(r, T_LIST, count + fill, out));
    tmpl_copy(out->seq->at, g->arg[0].seq->at + from, (size_t)count * sizeof(struct val));
    if (fill)
        out->seq->at[count] = g->arg[2];
    return ERR_OK;
}

FILTER(f_slice)
{
    int64_t n;
    TRY(tmpl_index(r, a[1], "slices", &n));
    if (n == 0)
        return tmpl_fail(r, "ZeroDivisionError", "integer division or modulo by zero");
    if (n > 1 << 24)
        return tmpl_limit(r, "list size");
    TRY(tmpl_gen(r, "sync_do_slice", next_slice, (struct val){.tag = T_MISSING}, out));
    MEM(r, out->iter->arg, 3);
    TRY(tmpl_list(r, a[0], &out->iter->arg[0]));
    out->iter->arg[1] = v_int(n);
    out->iter->arg[2] = a[2].tag == T_MISSING ? NONE : a[2];
    return ERR_OK;
}

FILTER(f_sum)
{
    struct it it;
    struct val v;
    int more;
    *out = a[2].tag == T_MISSING ? v_int(0) : a[2];
    if (out->tag == T_STR)
        return tmpl_fail(r, "TypeError", "sum() can't sum strings [use ''.join(seq) instead]");
    TRY(tmpl_iter(r, a[0], &it));
    for (;;) {
        TRY(tmpl_next(r, &it, &v, &more));
        if (!more)
            return ERR_OK;
        TRY(tmpl_attr_path(r, v, a[1], &v));
        TRY(tmpl_arith(r, N_ADD, *out, v, out));
    }
}

FILTER(f_random)
{
    int64_t n;
    if (a[0].tag != T_STR && a[0].tag != T_LIST && a[0].tag != T_TUPLE && a[0].tag != T_RANGE && a[0].tag != T_UNDEF)
        return tmpl_fail(r, "TypeError", "'%s' object is not subscriptable", tmpl_type(a[0]));
    TRY(tmpl_len(r, a[0], &n));
    if (!n)
        return *out = v_hint("No random item, sequence was empty."), ERR_OK;
    /* the n-th draw of a render is always the same: a data set must come out the same twice */
    return tmpl_getitem(r, a[0], v_int((int64_t)rng_below((uint64_t)n, 0, RNG_MIX, r->n_random++, 0, 0)), out);
}

/* ---- numbers ----------------------------------------------------------------------------------------- */

FILTER(f_int)
{
    int64_t base = 10;
    int ok = 0;
    double d;
    struct str s;
    struct val fallback = a[1].tag == T_MISSING ? v_int(0) : a[1];
    if (a[2].tag != T_MISSING)
        TRY(tmpl_index(r, a[2], "base", &base));
    if (a[0].tag == T_UNDEF)
        return tmpl_undef(r, a[0]);
    if (a[0].tag == T_FLOAT) {
        if (isnan(a[0].f))
            return *out = fallback, ERR_OK;
        return tmpl_float_to_int(r, a[0].f, out);
    }
    if (tmpl_is_num(a[0])) {
        *out = a[0];
        out->tag = a[0].tag == T_BOOL ? T_INT : a[0].tag;
        return ERR_OK;
    }
    *out = fallback;
    if (a[0].tag != T_STR)
        return ERR_OK;
    FLAT(r, &a[0], s);
    if (base == 0 || (base >= 2 && base <= 36))
        TRY(tmpl_int_of(r, s, (int)base, out, &ok));
    if (ok)
        return ERR_OK;
    *out = fallback;
    return tmpl_float_of(s, &d) && isfinite(d) ? tmpl_float_to_int(r, d, out) : ERR_OK;
}

FILTER(f_float)
{
    struct str s;
    double d;
    *out = a[1].tag == T_MISSING ? v_float(0) : a[1];
    if (a[0].tag == T_UNDEF)
        return tmpl_undef(r, a[0]);
    if (a[0].tag == T_STR) {
        FLAT(r, &a[0], s);
        if (tmpl_float_of(s, &d))
            *out = v_float(d);
    } else if (tmpl_is_num(a[0])) {
        TRY(tmpl_to_float(r, a[0], &d));
        *out = v_float(d);
    }
    return ERR_OK;
}

FILTER(f_abs)
{
    if (!tmpl_is_num(a[0]))
        return tmpl_fail(r, "TypeError", "bad operand type for abs(): '%s'", tmpl_type(a[0]));
    int neg = a[0].tag == T_FLOAT ? signbit(a[0].f) != 0 : a[0].tag == T_BIG ? a[0].big->neg : a[0].i < 0;
    if (neg)
        return tmpl_neg(r, a[0], out);
    *out = a[0];
    out->tag = a[0].tag == T_BOOL ? T_INT : a[0].tag;
    return ERR_OK;
}

/* round(): the decimal nearest to the exact value, ties to even, as printf rounds. */
static err_code round_common(struct tmpl_run *r, struct val v, int64_t digits, struct val *out)
{
    char buf[400];
    if (v.tag != T_FLOAT) {
        *out = v;
        out->tag = v.tag == T_BOOL ? T_INT : v.tag;
        if (digits >= 0 || v.tag == T_BIG)
            return ERR_OK;
        int64_t unit = 1, i = out->i;
        for (; digits < 0 && unit <= INT64_MAX / 10; digits++)
            unit *= 10;
        int64_t rest = i % unit;
        rest += rest < 0 ? unit : 0;
        int64_t low = i - rest, up = rest * 2 > unit || (rest * 2 == unit && (low / unit) % 2 != 0);
        *out = v_int(digits < 0 ? 0 : low + (up ? unit : 0));
        return ERR_OK;
    }
    if (!isfinite(v.f) || digits > 30)
        return *out = v, ERR_OK;
    if (digits >= 0) {
        snprintf(buf, sizeof buf, "%.*f", (int)digits, v.f);
        *out = v_float(strtod(buf, NULL));
        return ERR_OK;
    }
    double unit = pow(10, digits < -308 ? 308 : (double)-digits);
    *out = v_float(rint(v.f / unit) * unit);
    (void)r;
    return ERR_OK;
}

FILTER(f_round)
{
    int64_t digits = 0;
    struct str method = STR("common");
    struct val scale, v;
    double d, by;
    if (a[1].tag != T_MISSING)
        TRY(tmpl_index(r, a[1], "precision", &digits));
    if (a[2].tag == T_STR)
        FLAT(r, &a[2], method);
    int common = str_eq(method, STR("common")), up = str_eq(method, STR("ceil"));
    if (!common && !up && !str_eq(method, STR("floor")))
        return tmpl_fail(r, "FilterArgumentError", "method must be common, ceil or floor");
    if (a[0].tag == T_UNDEF)
        return common ? tmpl_fail(r, "TypeError", "type Undefined doesn't define __round__ method") : tmpl_undef(r, a[0]);
    if (!tmpl_is_num(a[0]))
        return tmpl_fail(r, "TypeError", "type %s doesn't define __round__ method", tmpl_type(a[0]));
    if (common)
        return round_common(r, a[0], digits, out);
    if (digits > 300 || digits < -300)
        return tmpl_fail(r, "OverflowError", "precision is out of range");
    TRY(tmpl_arith(r, N_POW, v_int(10), v_int(digits), &scale));
    TRY(tmpl_arith(r, N_MUL, a[0], scale, &v));
    TRY(tmpl_to_float(r, v, &d));
    TRY(tmpl_to_float(r, scale, &by));
    *out = v_float((up ? ceil(d) : floor(d)) / by);
    return ERR_OK;
}

FILTER(f_attr)
{
    struct str name;
    struct val v;
    if (a[1].tag != T_STR)
        return tmpl_fail(r, "TypeError", "attribute name must be string, not '%s'", tmpl_type(a[1]));
    FLAT(r, &a[1], name);
    v = a[0];
    if (v.tag == T_DICT) { /* only real attributes, never items */
        struct val empty;
        TRY(tmpl_dict_new(r, 0, &empty));
        if (tmpl_method_of(v, name))
            return tmpl_getattr(r, v, name, out);
        return tmpl_getattr(r, empty, name, out);
    }
    return tmpl_getattr(r, v, name, out);
}

const struct fn tmpl_filters_seq[] = {
    {.name = "abs", .f = f_abs, .params = ""},
    {.name = "attr", .f = f_attr, .params = "name", .need = 1},
    {.name = "batch", .f = f_batch, .params = "linecount fill_with", .need = 1},
    {.name = "count", .f = f_length, .params = ""},
    {.name = "d", .f = f_default, .params = "default_value boolean"},
    {.name = "default", .f = f_default, .params = "default_value boolean"},
    {.name = "dictsort", .f = f_dictsort, .params = "case_sensitive by reverse"},
    {.name = "first", .f = f_first, .params = ""},
    {.name = "float", .f = f_float, .params = "default"},
    {.name = "groupby", .f = f_groupby, .params = "attribute default case_sensitive", .need = 1},
    {.name = "int", .f = f_int, .params = "default base"},
    {.name = "items", .f = f_items, .params = ""},
    {.name = "join", .f = f_join, .params = "d attribute"},
    {.name = "last", .f = f_last, .params = ""},
    {.name = "length", .f = f_length, .params = ""},
    {.name = "list", .f = f_list, .params = ""},
    {.name = "map", .raw = f_map, .params = ""},
    {.name = "max", .f = f_max, .params = "case_sensitive attribute"},
    {.name = "min", .f = f_min, .params = "case_sensitive attribute"},
    {.name = "random", .f = f_random, .params = ""},
    {.name = "reject", .raw = f_reject, .params = ""},
    {.name = "rejectattr", .raw = f_rejectattr, .params = ""},
    {.name = "reverse", .f = f_reverse, .params = ""},
    {.name = "round", .f = f_round, .params = "precision method"},
    {.name = "select", .raw = f_select, .params = ""},
    {.name = "selectattr", .raw = f_selectattr, .params = ""},
    {.name = "slice", .f = f_slice, .params = "slices fill_with", .need = 1},
    {.name = "sort", .f = f_sort, .params = "reverse case_sensitive attribute"},
    {.name = "sum", .f = f_sum, .params = "attribute start"},
    {.name = "unique", .f = f_unique, .params = "case_sensitive attribute"},
    {0},
};

const struct fn *tmpl_filter(struct str name)
{
    const struct fn *f = tmpl_find_fn(tmpl_filters_text, name);
    return f ? f : tmpl_find_fn(tmpl_filters_seq, name);
}
