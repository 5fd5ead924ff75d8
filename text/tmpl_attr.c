/* obj.name, obj[key] and slices, with the sandbox's rules: names that begin with an underscore and the
 * methods that would change a list or a dict give an undefined value that fails when used. */
#include <stdio.h>
#include <stdlib.h>

#include "text/tmpl.h"

static int in_list(const char *const *list, struct str name)
{
    for (; *list; list++)
        if (str_eq(str_of(*list), name))
            return 1;
    return 0;
}

/* Attributes of every Python object; all of them unsafe. */
static int is_dunder(struct str name)
{
    static const char *const names[] = {"__class__", "__doc__", "__init__", "__new__", "__repr__", "__str__", "__hash__", "__eq__", "__ne__",
        "__lt__", "__le__", "__gt__", "__ge__", "__dir__", "__format__", "__getattribute__", "__setattr__", "__delattr__", "__reduce__",
        "__reduce_ex__", "__sizeof__", "__subclasshook__", "__init_subclass__", "__len__", "__iter__", "__getitem__", "__contains__",
        "__add__", "__mul__", "__call__", "__module__", "__dict__", "__globals__", "__self__", "__name__", "__getstate__", NULL};
    return str_starts(name, STR("__")) && in_list(names, name);
}

static int is_mutator(struct val obj, struct str name)
{
    static const char *const list[] = {"append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove", NULL};
    static const char *const dict[] = {"clear", "pop", "popitem", "setdefault", "update", NULL};
    return (obj.tag == T_LIST && in_list(list, name)) || (obj.tag == T_DICT && in_list(dict, name));
}

const struct fn *tmpl_method_of(struct val obj, struct str name)
{
    switch (obj.tag) {
    case T_STR: return tmpl_find_fn(tmpl_str_methods, name);
    case T_LIST: return tmpl_find_fn(tmpl_list_methods, name);
    case T_TUPLE: return tmpl_find_fn(tmpl_tuple_methods, name);
    case T_DICT: return tmpl_find_fn(tmpl_dict_methods, name);
    case T_BOOL: case T_INT: case T_BIG: return tmpl_find_fn(tmpl_int_methods, name);
    case T_FLOAT: return tmpl_find_fn(tmpl_float_methods, name);
    case T_RANGE: return tmpl_find_fn(tmpl_range_methods, name);
    case T_LOOP: return tmpl_find_fn(tmpl_loop_methods, name);
    case T_CYCLER: return tmpl_find_fn(tmpl_cycler_methods, name);
    default: return NULL;
    }
}

static err_code loop_attr(struct tmpl_run *r, struct loop *l, struct str name, struct val *out, int *found)
{
    static const char *const names[] = {"index", "index0", "first", "last", "length", "revindex", "revindex0", "depth", "depth0", "previtem",
                                        "nextitem", NULL};
    int64_t n = 0;
    int i = 0;
    while (names[i] && !str_eq(str_of(names[i]), name))
        i++;
    *found = names[i] != NULL;
    if (i >= 4 && i <= 6)
        TRY(tmpl_loop_length(r, l, &n));
    switch (i) {
    case 0: *out = v_int(l->index + 1); break;
    case 1: *out = v_int(l->index); break;
    case 2: *out = v_bool(l->index == 0); break;
    case 3: case 10:
        TRY(tmpl_loop_peek(r, l));
        *out = i == 3 ? v_bool(l->next.tag == T_MISSING) : l->next.tag == T_MISSING ? v_hint("there is no next item") : l->next;
        break;
    case 4: *out = v_int(n); break;
    case 5: *out = v_int(n - l->index); break;
    case 6: *out = v_int(n - l->index - 1); break;
    case 7: *out = v_int(l->depth + 1); break;
    case 8: *out = v_int(l->depth); break;
    case 9: *out = l->index == 0 ? v_hint("there is no previous item") : l->prev; break;
    default: break;
    }
    return ERR_OK;
}

static err_code macro_attr(struct tmpl_run *r, const struct node *def, struct str name, struct val *out, int *found)
{
    *found = 1;
    if (str_eq(name, STR("name")))
        *out = tmpl_view(def->name.p, def->name.n);
    else if (str_eq(name, STR("catch_kwargs")))
        *out = v_bool(def->flags & NF_KWARGS);
    else if (str_eq(name, STR("catch_varargs")))
        *out = v_bool(def->flags & NF_VARARGS);
    else if (str_eq(name, STR("caller")))
        *out = v_bool(def->flags & NF_CALLER);
    else if (str_eq(name, STR("arguments"))) {
        TRY(tmpl_seq_new(r, T_TUPLE, def->nkw, out));
        for (int i = 0; i < def->nkw; i++)
            out->seq->at[i] = tmpl_view(def->kw[i].k.p, def->kw[i].k.n);
    } else {
        *found = 0;
    }
    return ERR_OK;
}

/* Attributes that are not methods. */
static err_code property(struct tmpl_run *r, struct val obj, struct str name, struct val *out, int *found)
{
    *found = 0;
    switch (obj.tag) {
    case T_NS: {
        struct val *v = tmpl_dict_str(obj.dict, name);
        if ((*found = v != NULL))
            *out = *v;
        return ERR_OK;
    }
    case T_LOOP: return loop_attr(r, obj.loop, name, out, found);
    case T_MACRO: return macro_attr(r, obj.macro->def, name, out, found);
    case T_TUPLE:
        if ((obj.flags & VF_GROUP) && (str_eq(name, STR("grouper")) || str_eq(name, STR("list")))) {
            *out = obj.seq->at[name.n == 4];
            *found = 1;
        }
        return ERR_OK;
    case T_BOOL: case T_INT: case T_BIG: case T_FLOAT:
        *found = str_eq(name, STR("real")) || str_eq(name, STR("imag")) ||
                 (obj.tag != T_FLOAT && (str_eq(name, STR("numerator")) || str_eq(name, STR("denominator"))));
        if (*found)
            *out = name.p[0] == 'i' ? (obj.tag == T_FLOAT ? v_float(0) : v_int(0)) : name.p[0] == 'd' ? v_int(1) : obj;
        if (out->tag == T_BOOL && *found)
            out->tag = T_INT;
        return ERR_OK;
    case T_RANGE:
        *found = str_eq(name, STR("start")) || str_eq(name, STR("stop")) || str_eq(name, STR("step"));
        if (*found)
            *out = v_int(name.n == 5 ? obj.range->start : name.p[2] == 'o' ? obj.range->stop : obj.range->step);
        return ERR_OK;
    case T_CYCLER:
        if (str_eq(name, STR("current"))) {
            *out = obj.cycler->at[obj.cycler->i];
            *found = 1;
        }
        return ERR_OK;
    default: return ERR_OK;
    }
}

static err_code no_attr(struct tmpl_run *r, struct val obj, struct str name, uint8_t why, struct val *out)
{
    *out = (struct val){.tag = T_UNDEF, .flags = why, .aux = obj.tag, .s = tmpl_cstr(r, name).p};
    return ERR_OK;
}

static err_code attribute(struct tmpl_run *r, struct val obj, struct str name, struct val *out, int *found)
{
    const struct fn *m = tmpl_method_of(obj, name);
    *found = 1;
    if (m) {
        struct method *b;
        MEM(r, b, 1);
        *b = (struct method){obj, m};
        *out = (struct val){.tag = T_METHOD, .method = b};
        return ERR_OK;
    }
    TRY(property(r, obj, name, out, found));
    if (*found ? name.p[0] == '_' : is_mutator(obj, name) || is_dunder(name)) {
        *found = 1;
        return no_attr(r, obj, name, U_SECURITY, out);
    }
    return ERR_OK;
}

err_code tmpl_getattr(struct tmpl_run *r, struct val obj, struct str name, struct val *out)
{
    int found;
    if (obj.tag == T_UNDEF)
        return tmpl_undef(r, obj);
    TRY(attribute(r, obj, name, out, &found));
    if (found)
        return ERR_OK;
    if (obj.tag == T_DICT) {
        struct val *v = tmpl_dict_str(obj.dict, name);
        if (v)
            return *out = *v, ERR_OK;
    }
    return no_attr(r, obj, name, U_ATTR, out);
}

/* ---- subscripts --------------------------------------------------------------------------------- */

static err_code str_at(struct tmpl_run *r, struct val s, int64_t i, struct val *out, int *found)
{
    int64_t n;
    struct str flat;
    TRY(tmpl_len(r, s, &n));
    i += i < 0 ? n : 0;
    *found = i >= 0 && i < n;
    if (!*found)
        return ERR_OK;
    if (s.flags & VF_ASCII)
        return tmpl_cut(r, s, i, i + 1, out);
    FLAT(r, &s, flat);
    int64_t at = tmpl_cp_to_byte(flat, i);
    int bytes;
    tmpl_wtf8(flat, at, &bytes);
    return tmpl_cut(r, s, at, at + bytes, out);
}

static err_code no_element(struct tmpl_run *r, struct val obj, struct val key, struct val *out)
{
    struct build b;
    struct val msg;
    struct str s;
    tmpl_b_init(&b, r);
    tmpl_b_adds(&b, tmpl_type(obj));
    tmpl_b_adds(&b, " object has no element ");
    TRY(tmpl_repr(r, &b, key));
    tmpl_b_bytes(&b, "", 1);
    TRY(tmpl_b_end(&b, &msg));
    FLAT(r, &msg, s);
    *out = v_hint(s.p);
    return ERR_OK;
}

err_code tmpl_getitem(struct tmpl_run *r, struct val obj, struct val key, struct val *out)
{
    int found = 0;
    struct str name;
    if (obj.tag == T_UNDEF)
        return tmpl_undef(r, obj);
    if (obj.tag == T_DICT && key.tag != T_LIST && key.tag != T_DICT) {
        TRY(tmpl_dict_get(r, obj.dict, key, out));
        found = out->tag != T_MISSING;
    } else if (key.tag == T_INT || key.tag == T_BOOL) {
        int64_t i = key.i;
        if (obj.tag == T_LIST || obj.tag == T_TUPLE) {
            i += i < 0 ? obj.seq->n : 0;
            found = i >= 0 && i < obj.seq->n;
            if (found)
                *out = obj.seq->at[i];
        } else if (obj.tag == T_STR) {
            TRY(str_at(r, obj, i, out, &found));
        } else if (obj.tag == T_RANGE) {
            i += i < 0 ? obj.range->n : 0;
            found = i >= 0 && i < obj.range->n;
            *out = v_int(obj.range->start + i * obj.range->step);
        }
    }
    if (found)
        return ERR_OK;
    if (key.tag != T_STR)
        return no_element(r, obj, key, out);
    FLAT(r, &key, name);
    TRY(attribute(r, obj, name, out, &found));
    return found ? ERR_OK : no_attr(r, obj, name, U_ATTR, out);
}

/* Python's slice.indices. */
static err_code slice_indices(struct tmpl_run *r, struct val from, struct val to, struct val by, int64_t n, int64_t out[3])
{
    int64_t step = 1, lo, hi, v;
    if (by.tag != T_NONE)
        TRY(tmpl_index(r, by, "slice step", &step));
    if (step == 0)
        return tmpl_fail(r, "ValueError", "slice step cannot be zero");
    step = step < -INT64_MAX ? -INT64_MAX : step;
    lo = step < 0 ? -1 : 0;
    hi = step < 0 ? n - 1 : n;
    out[0] = step < 0 ? hi : lo;
    out[1] = step < 0 ? lo : hi;
    struct val *ends[2] = {&from, &to};
    for (int i = 0; i < 2; i++) {
        if (ends[i]->tag == T_NONE)
            continue;
        TRY(tmpl_index(r, *ends[i], "slice index", &v));
        if (v < 0)
            v = v < -n ? lo : v + n < lo ? lo : v + n;
        out[i] = v > hi ? hi : v;
    }
    out[2] = step;
    return ERR_OK;
}

static err_code slice_str(struct tmpl_run *r, struct val s, int64_t n, const int64_t x[3], struct val *out)
{
    struct str flat;
    FLAT(r, &s, flat);
    int ascii = s.flags & VF_ASCII;
    if (x[2] == 1) {
        int64_t from = ascii ? x[0] : tmpl_cp_to_byte(flat, x[0]);
        int64_t len = x[1] > x[0] ? x[1] - x[0] : 0;
        int64_t to = ascii ? from + len : x[1] == n ? s.n : from + tmpl_cp_to_byte(str_sub(flat, from, flat.n), len);
        return tmpl_cut(r, s, from, len ? to : from, out);
    }
    struct build b;
    struct val part;
    int64_t *at = NULL;
    if (!ascii) { /* where each code point begins */
        MEM(r, at, n + 1);
        int64_t k = 0;
        for (int64_t i = 0; i <= s.n; i++)
            if (i == s.n || ((unsigned char)flat.p[i] & 0xC0) != 0x80)
                at[k++] = i;
    }
    tmpl_b_init(&b, r);
    for (int64_t i = x[0]; x[2] > 0 ? i < x[1] : i > x[1]; i += x[2]) {
        TRY(tmpl_step(r, 1));
        TRY(tmpl_cut(r, s, ascii ? i : at[i], ascii ? i + 1 : at[i + 1], &part));
        if (r->track)
            tmpl_b_val(&b, part);
        else
            tmpl_b_bytes(&b, part.s, part.n);
        if (x[2] > INT64_MAX / 2 || x[2] < INT64_MIN / 2)
            break;
    }
    TRY(tmpl_b_end(&b, out));
    out->flags |= s.flags & VF_SAFE;
    return ERR_OK;
}

err_code tmpl_getslice(struct tmpl_run *r, struct val obj, struct val from, struct val to, struct val step, struct val *out)
{
    int64_t n, x[3];
    if (obj.tag == T_UNDEF)
        return tmpl_undef(r, obj);
    if (obj.tag != T_STR && obj.tag != T_LIST && obj.tag != T_TUPLE && obj.tag != T_RANGE)
        return tmpl_fail(r, "TypeError", obj.tag == T_DICT ? "unhashable type: 'slice'" : "'%s' object is not subscriptable", tmpl_type(obj));
    TRY(tmpl_len(r, obj, &n));
    TRY(slice_indices(r, from, to, step, n, x));
    if (obj.tag == T_STR)
        return slice_str(r, obj, n, x, out);
    int64_t span = x[2] > 0 ? x[1] - x[0] : x[0] - x[1], by = x[2] > 0 ? x[2] : -x[2];
    int64_t count = span > 0 ? (span - 1) / by + 1 : 0;
    if (obj.tag == T_RANGE) {
        struct range *g;
        MEM(r, g, 1);
        *g = (struct range){obj.range->start + x[0] * obj.range->step, obj.range->start + x[1] * obj.range->step, obj.range->step * x[2], count};
        *out = (struct val){.tag = T_RANGE, .range = g};
        return ERR_OK;
    }
    TRY(tmpl_step(r, count));
    if (x[2] == 1) { /* lists never change, so a part can share */
        struct seq *s;
        MEM(r, s, 1);
        *s = (struct seq){.n = count, .at = obj.seq->at + x[0]};
        *out = (struct val){.tag = obj.tag, .seq = s};
        return ERR_OK;
    }
    TRY(tmpl_seq_new(r, obj.tag, count, out));
    for (int64_t i = 0; i < count; i++)
        out->seq->at[i] = obj.seq->at[x[0] + i * x[2]];
    return ERR_OK;
}

/* A dotted path ("a.b.0"), an index, or nothing: what map, sort and the like take as attribute. */
err_code tmpl_attr_path(struct tmpl_run *r, struct val obj, struct val path, struct val *out)
{
    struct str rest, part;
    *out = obj;
    if (path.tag == T_NONE || path.tag == T_MISSING)
        return ERR_OK;
    if (path.tag != T_STR)
        return tmpl_getitem(r, obj, path, out);
    FLAT(r, &path, rest);
    if (rest.n == 0)
        return tmpl_getitem(r, obj, path, out);
    while (str_split(&rest, '.', &part)) {
        int64_t index;
        int digits = part.n > 0 && part.n < 18;
        for (int64_t i = 0; i < part.n; i++)
            digits &= part.p[i] >= '0' && part.p[i] <= '9';
        TRY(tmpl_getitem(r, *out, digits && str_to_i64(part, &index) ? v_int(index) : tmpl_view(part.p, part.n), out));
    }
    return ERR_OK;
}
