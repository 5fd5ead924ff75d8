/* What values are: types, truth, equality, order, hashing, dictionaries. */
#include <stdlib.h>

#include "text/tmpl.h"

const char *tmpl_type(struct val v)
{
    static const char *const names[] = {
        [T_UNDEF] = "Undefined", [T_NONE] = "NoneType", [T_BOOL] = "bool", [T_INT] = "int", [T_BIG] = "int", [T_FLOAT] = "float",
        [T_STR] = "str", [T_BYTES] = "bytes", [T_LIST] = "list", [T_TUPLE] = "tuple", [T_DICT] = "dict", [T_RANGE] = "range",
        [T_ITER] = "generator", [T_SLICE] = "slice", [T_NS] = "Namespace", [T_MACRO] = "Macro", [T_METHOD] = "builtin_function_or_method",
        [T_FUNC] = "function", [T_LOOP] = "LoopContext", [T_LOOPFN] = "LoopContext", [T_CYCLER] = "Cycler", [T_JOINER] = "Joiner",
        [T_ELLIPSIS] = "ellipsis"};
    static const char *const views[] = {"dict_keys", "dict_values", "dict_items"};
    if (v.tag == T_VIEW)
        return views[v.flags];
    if (v.tag == T_STR && (v.flags & VF_SAFE))
        return "Markup";
    return names[v.tag] ? names[v.tag] : "missing";
}

int tmpl_truth(struct tmpl_run *r, struct val v)
{
    (void)r;
    switch (v.tag) {
    case T_MISSING: case T_UNDEF: case T_NONE: return 0;
    case T_BOOL: case T_INT: return v.i != 0;
    case T_FLOAT: return v.f != 0;
    case T_STR: case T_BYTES: return v.n != 0;
    case T_LIST: case T_TUPLE: return v.seq->n != 0;
    case T_DICT: case T_VIEW: return v.dict->n != 0;
    case T_RANGE: return v.range->n != 0;
    case T_LOOP: return 1;
    default: return 1;
    }
}

err_code tmpl_len(struct tmpl_run *r, struct val v, int64_t *out)
{
    struct str s;
    switch (v.tag) {
    case T_UNDEF: *out = 0; return ERR_OK;
    case T_STR:
        if (v.flags & VF_ASCII)
            return *out = v.n, ERR_OK;
        FLAT(r, &v, s);
        *out = tmpl_len_cp(s, 0);
        return ERR_OK;
    case T_BYTES: *out = v.n; return ERR_OK;
    case T_LIST: case T_TUPLE: *out = v.seq->n; return ERR_OK;
    case T_DICT: case T_VIEW: *out = v.dict->n; return ERR_OK;
    case T_RANGE: *out = v.range->n; return ERR_OK;
    case T_LOOP: return tmpl_loop_length(r, v.loop, out);
    default: return tmpl_fail(r, "TypeError", "object of type '%s' has no len()", tmpl_type(v));
    }
}

err_code tmpl_index(struct tmpl_run *r, struct val v, const char *what, int64_t *out)
{
    if (v.tag == T_INT || v.tag == T_BOOL)
        return *out = v.i, ERR_OK;
    if (v.tag == T_BIG)
        return *out = v.big->neg ? INT64_MIN : INT64_MAX, ERR_OK;
    if (v.tag == T_UNDEF)
        return tmpl_undef(r, v);
    return tmpl_fail(r, "TypeError", "%s must be an integer, not '%s'", what, tmpl_type(v));
}

err_code tmpl_undef(struct tmpl_run *r, struct val v)
{
    const char *name = v.s ? v.s : "?";
    switch (v.flags) {
    case U_NAME: return tmpl_fail(r, "UndefinedError", "'%s' is undefined", name);
    case U_SECURITY:
        return tmpl_fail(r, "SecurityError", "access to attribute '%s' of '%s' object is unsafe.", name, tmpl_type((struct val){.tag = (uint8_t)v.aux}));
    case U_HINT: return tmpl_fail(r, "UndefinedError", "%s", name);
    default: break;
    }
    if (v.aux == T_NONE)
        return tmpl_fail(r, "UndefinedError", "'None' has no attribute '%s'", name);
    return tmpl_fail(r, "UndefinedError", "'%s object' has no attribute '%s'", tmpl_type((struct val){.tag = (uint8_t)v.aux}), name);
}

/* ---- equality and order --------------------------------------------------------------------- */

static err_code seq_eq(struct tmpl_run *r, const struct seq *a, const struct seq *b, int *out)
{
    *out = a->n == b->n;
    if (a == b)
        return ERR_OK;
    TRY(tmpl_deeper(r));
    for (int64_t i = 0; *out && i < a->n; i++) {
        TRY(tmpl_step(r, 1));
        TRY(tmpl_eq(r, a->at[i], b->at[i], out));
    }
    r->depth--;
    return ERR_OK;
}

static err_code dict_eq(struct tmpl_run *r, const struct dict *a, const struct dict *b, int *out)
{
    *out = a->n == b->n;
    if (a == b)
        return ERR_OK;
    TRY(tmpl_deeper(r));
    for (uint32_t i = 0; *out && i < a->n; i++) {
        struct val v;
        TRY(tmpl_step(r, 1));
        TRY(tmpl_dict_get(r, b, a->at[i].k, &v));
        *out = v.tag != T_MISSING;
        if (*out)
            TRY(tmpl_eq(r, a->at[i].v, v, out));
    }
    r->depth--;
    return ERR_OK;
}

static int range_eq(const struct range *a, const struct range *b)
{
    return a->n == b->n && (a->n == 0 || (a->start == b->start && (a->n == 1 || a->step == b->step)));
}

err_code tmpl_eq(struct tmpl_run *r, struct val a, struct val b, int *out)
{
    *out = 0;
    if (tmpl_is_num(a) && tmpl_is_num(b)) {
        int unordered, c = tmpl_num_cmp(r, a, b, &unordered);
        *out = !unordered && c == 0;
        return ERR_OK;
    }
    if (a.tag != b.tag)
        return ERR_OK;
    switch (a.tag) {
    case T_UNDEF: case T_NONE: case T_ELLIPSIS: *out = 1; return ERR_OK;
    case T_STR: case T_BYTES: {
        struct str x, y;
        if (a.n != b.n)
            return ERR_OK;
        FLAT(r, &a, x);
        FLAT(r, &b, y);
        *out = str_eq(x, y);
        return ERR_OK;
    }
    case T_LIST: case T_TUPLE: return seq_eq(r, a.seq, b.seq, out);
    case T_DICT: return dict_eq(r, a.dict, b.dict, out);
    case T_VIEW:
        if (a.flags == VIEW_VALUES || a.flags != b.flags)
            *out = a.dict == b.dict && a.flags == b.flags;
        else if (a.flags == VIEW_ITEMS)
            return dict_eq(r, a.dict, b.dict, out);
        else
            for (uint32_t i = 0, same = a.dict->n == b.dict->n; (*out = (int)same) && i < a.dict->n; i++)
                TRY(tmpl_in(r, a.dict->at[i].k, b, (int *)&same));
        return ERR_OK;
    case T_RANGE: *out = range_eq(a.range, b.range); return ERR_OK;
    default: *out = a.p == b.p; return ERR_OK;
    }
}

static err_code order(struct tmpl_run *r, enum cmp_op op, int c, int *out)
{
    (void)r;
    *out = op == CMP_LT ? c < 0 : op == CMP_LE ? c <= 0 : op == CMP_GT ? c > 0 : c >= 0;
    return ERR_OK;
}

err_code tmpl_cmp(struct tmpl_run *r, enum cmp_op op, struct val a, struct val b, int *out)
{
    static const char *const name[] = {[CMP_LT] = "<", [CMP_LE] = "<=", [CMP_GT] = ">", [CMP_GE] = ">="};
    if (tmpl_is_num(a) && tmpl_is_num(b)) {
        int unordered, c = tmpl_num_cmp(r, a, b, &unordered);
        return unordered ? (*out = 0, ERR_OK) : order(r, op, c, out);
    }
    if (a.tag == T_UNDEF || b.tag == T_UNDEF)
        return tmpl_undef(r, a.tag == T_UNDEF ? a : b);
    if (a.tag == b.tag && (a.tag == T_STR || a.tag == T_BYTES)) {
        struct str x, y;
        FLAT(r, &a, x);
        FLAT(r, &b, y);
        return order(r, op, str_cmp(x, y), out);
    }
    if (a.tag == b.tag && (a.tag == T_LIST || a.tag == T_TUPLE)) {
        int64_t n = a.seq->n < b.seq->n ? a.seq->n : b.seq->n;
        TRY(tmpl_deeper(r));
        for (int64_t i = 0; i < n; i++) {
            int eq;
            TRY(tmpl_step(r, 1));
            TRY(tmpl_eq(r, a.seq->at[i], b.seq->at[i], &eq));
            if (!eq) {
                TRY(tmpl_cmp(r, op, a.seq->at[i], b.seq->at[i], out));
                r->depth--;
                return ERR_OK;
            }
        }
        r->depth--;
        return order(r, op, (a.seq->n > b.seq->n) - (a.seq->n < b.seq->n), out);
    }
    return tmpl_fail(r, "TypeError", "'%s' not supported between instances of '%s' and '%s'", name[op], tmpl_type(a), tmpl_type(b));
}

err_code tmpl_in(struct tmpl_run *r, struct val x, struct val set, int *out)
{
    struct str a, b;
    struct it it;
    struct val v;
    int more = 1;
    *out = 0;
    if (set.tag == T_STR) {
        if (x.tag != T_STR)
            return tmpl_fail(r, "TypeError", "'in <string>' requires string as left operand, not %s", tmpl_type(x));
        FLAT(r, &x, a);
        FLAT(r, &set, b);
        TRY(tmpl_step(r, b.n / 64));
        *out = str_find(b, a, 0) >= 0;
        return ERR_OK;
    }
    if (set.tag == T_DICT || (set.tag == T_VIEW && set.flags == VIEW_KEYS)) {
        TRY(tmpl_dict_get(r, set.dict, x, &v));
        *out = v.tag != T_MISSING;
        return ERR_OK;
    }
    if (set.tag == T_RANGE && x.tag == T_INT) {
        const struct range *g = set.range;
        int64_t d = x.i - g->start;
        *out = g->n && (g->step > 0 ? x.i >= g->start && x.i < g->stop : x.i <= g->start && x.i > g->stop) && d % g->step == 0;
        return ERR_OK;
    }
    if (set.tag == T_NONE || tmpl_is_num(set) || set.tag == T_NS || set.tag == T_MACRO || set.tag == T_METHOD || set.tag == T_FUNC)
        return tmpl_fail(r, "TypeError", "argument of type '%s' is not iterable", tmpl_type(set));
    TRY(tmpl_iter(r, set, &it));
    while (!*out) {
        TRY(tmpl_next(r, &it, &v, &more));
        if (!more)
            break;
        TRY(tmpl_eq(r, v, x, out));
    }
    return ERR_OK;
}

/* ---- hashing and dictionaries ---------------------------------------------------------------- */

static uint64_t mix(uint64_t h)
{
    h = (h ^ (h >> 32)) * 0x9E3779B97F4A7C15u;
    return h ^ (h >> 29);
}

static uint64_t hash_str(struct str s)
{
    uint64_t h = (uint64_t)s.n, w;
    for (; s.n >= 8; s.p += 8, s.n -= 8) {
        tmpl_copy(&w, s.p, 8);
        h = mix(h ^ w);
    }
    w = 0;
    tmpl_copy(&w, s.p, (size_t)s.n);
    return mix(h ^ w);
}

static uint64_t hash_double(double f)
{
    uint64_t w;
    if (f >= -9.2e18 && f <= 9.2e18 && f == (double)(int64_t)f) /* equal numbers hash alike */
        return mix((uint64_t)(int64_t)f);
    tmpl_copy(&w, &f, 8);
    return mix(w);
}

err_code tmpl_hash(struct tmpl_run *r, struct val v, uint64_t *out)
{
    struct str s;
    int overflow;
    switch (v.tag) {
    case T_STR: case T_BYTES:
        FLAT(r, &v, s);
        *out = hash_str(s);
        return ERR_OK;
    case T_BOOL: case T_INT: *out = v.i >= -9200000000000000000 && v.i <= 9200000000000000000 ? mix((uint64_t)v.i) : hash_double((double)v.i); return ERR_OK;
    case T_FLOAT: *out = hash_double(v.f); return ERR_OK;
    case T_BIG: *out = hash_double(tmpl_big_double(v, &overflow)); return ERR_OK;
    case T_NONE: case T_UNDEF: case T_ELLIPSIS: *out = mix(v.tag); return ERR_OK;
    case T_TUPLE: {
        uint64_t h = 77, one;
        TRY(tmpl_deeper(r));
        for (int64_t i = 0; i < v.seq->n; i++) {
            TRY(tmpl_hash(r, v.seq->at[i], &one));
            h = mix(h * 31 + one);
        }
        r->depth--;
        *out = h;
        return ERR_OK;
    }
    case T_LIST: case T_DICT: case T_VIEW: case T_SLICE: return tmpl_fail(r, "TypeError", "unhashable type: '%s'", tmpl_type(v));
    default: *out = mix((uint64_t)(uintptr_t)v.p); return ERR_OK;
    }
}

enum { SMALL = 8 };

err_code tmpl_dict_new(struct tmpl_run *r, int64_t cap, struct val *out)
{
    struct dict *d;
    MEM(r, d, 1);
    *d = (struct dict){.cap = (uint32_t)(cap < 4 ? 4 : cap)};
    if (cap > INT32_MAX / 4)
        return tmpl_full(r);
    MEM(r, d->at, d->cap);
    *out = (struct val){.tag = T_DICT, .dict = d};
    return ERR_OK;
}

static err_code reindex(struct tmpl_run *r, struct dict *d)
{
    uint32_t slots = 32;
    while (slots < d->cap * 2)
        slots *= 2;
    MEM(r, d->index, slots);
    memset(d->index, 0, slots * sizeof *d->index);
    d->mask = slots - 1;
    for (uint32_t i = 0; i < d->n; i++) {
        uint64_t h;
        TRY(tmpl_hash(r, d->at[i].k, &h));
        uint32_t at = (uint32_t)h & d->mask;
        while (d->index[at])
            at = (at + 1) & d->mask;
        d->index[at] = i + 1;
    }
    return ERR_OK;
}

static err_code lookup(struct tmpl_run *r, const struct dict *d, struct val k, int64_t *out)
{
    int eq = 0;
    uint64_t h;
    *out = -1;
    if (!d->index) {
        if (k.tag != T_STR)
            TRY(tmpl_hash(r, k, &h)); /* for the error of an unhashable key */
        for (uint32_t i = 0; i < d->n; i++) {
            TRY(tmpl_eq(r, d->at[i].k, k, &eq));
            if (eq)
                return *out = i, ERR_OK;
        }
        return ERR_OK;
    }
    TRY(tmpl_hash(r, k, &h));
    for (uint32_t at = (uint32_t)h & d->mask; d->index[at]; at = (at + 1) & d->mask) {
        TRY(tmpl_step(r, 1));
        TRY(tmpl_eq(r, d->at[d->index[at] - 1].k, k, &eq));
        if (eq)
            return *out = d->index[at] - 1, ERR_OK;
    }
    return ERR_OK;
}

err_code tmpl_dict_put(struct tmpl_run *r, struct dict *d, struct val k, struct val v)
{
    int64_t i;
    uint64_t h;
    TRY(lookup(r, d, k, &i));
    if (i >= 0)
        return d->at[i].v = v, ERR_OK;
    if (d->n == d->cap) {
        struct pair *at;
        MEM(r, at, (int64_t)d->cap * 2);
        tmpl_copy(at, d->at, d->n * sizeof *at);
        d->at = at;
        d->cap *= 2;
        d->index = NULL;
    }
    if (!d->index && d->n >= SMALL)
        TRY(reindex(r, d));
    d->at[d->n++] = (struct pair){k, v};
    if (d->index) {
        TRY(tmpl_hash(r, k, &h));
        uint32_t at = (uint32_t)h & d->mask;
        while (d->index[at])
            at = (at + 1) & d->mask;
        d->index[at] = d->n;
    }
    return ERR_OK;
}

err_code tmpl_dict_get(struct tmpl_run *r, const struct dict *d, struct val k, struct val *out)
{
    int64_t i;
    TRY(lookup(r, d, k, &i));
    *out = i < 0 ? (struct val){.tag = T_MISSING} : d->at[i].v;
    return ERR_OK;
}

struct val *tmpl_dict_str(const struct dict *d, struct str k)
{
    if (d->index) {
        for (uint32_t at = (uint32_t)hash_str(k) & d->mask; d->index[at]; at = (at + 1) & d->mask) {
            struct pair *q = &d->at[d->index[at] - 1];
            if (q->k.tag == T_STR && !(q->k.flags & VF_ROPE) && q->k.n == k.n && !memcmp(q->k.s, k.p, (size_t)k.n))
                return &q->v;
            if (q->k.tag == T_STR && (q->k.flags & VF_ROPE) && q->k.rope->flat && str_eq((struct str){q->k.rope->flat, q->k.n}, k))
                return &q->v; /* hashing a key makes it flat */
        }
        return NULL;
    }
    for (uint32_t i = 0; i < d->n; i++) {
        const struct val *q = &d->at[i].k;
        if (q->tag != T_STR || q->n != k.n)
            continue;
        if (q->flags & VF_ROPE ? q->rope->flat && !memcmp(q->rope->flat, k.p, (size_t)k.n) : !memcmp(q->s, k.p, (size_t)k.n))
            return &d->at[i].v;
    }
    return NULL;
}

err_code tmpl_seq_new(struct tmpl_run *r, uint8_t tag, int64_t n, struct val *out)
{
    struct seq *s;
    MEM(r, s, 1);
    s->n = n;
    MEM(r, s->at, n + (n == 0));
    *out = (struct val){.tag = tag, .seq = s};
    return ERR_OK;
}

err_code tmpl_tuple2(struct tmpl_run *r, struct val a, struct val b, struct val *out)
{
    TRY(tmpl_seq_new(r, T_TUPLE, 2, out));
    out->seq->at[0] = a;
    out->seq->at[1] = b;
    return ERR_OK;
}

/* ---- sorting: stable merge, Python's order of equal items also when reversed ------------------- */

struct sorter {
    struct tmpl_run *r;
    struct val *item, *key, *ti, *tk;
    int reverse;
};

static err_code merge(struct sorter *s, int64_t lo, int64_t mid, int64_t hi)
{
    int64_t i = lo, j = mid, k = lo;
    while (i < mid && j < hi) {
        int right;
        TRY(tmpl_step(s->r, 1));
        TRY(s->reverse ? tmpl_cmp(s->r, CMP_LT, s->key[i], s->key[j], &right) : tmpl_cmp(s->r, CMP_LT, s->key[j], s->key[i], &right));
        int64_t from = right ? j++ : i++;
        s->ti[k] = s->item[from];
        s->tk[k++] = s->key[from];
    }
    for (; i < mid; i++, k++)
        s->ti[k] = s->item[i], s->tk[k] = s->key[i];
    for (; j < hi; j++, k++)
        s->ti[k] = s->item[j], s->tk[k] = s->key[j];
    tmpl_copy(s->item + lo, s->ti + lo, (size_t)(hi - lo) * sizeof *s->item);
    tmpl_copy(s->key + lo, s->tk + lo, (size_t)(hi - lo) * sizeof *s->key);
    return ERR_OK;
}

static err_code sort_range(struct sorter *s, int64_t lo, int64_t hi)
{
    if (hi - lo < 2)
        return ERR_OK;
    int64_t mid = lo + (hi - lo) / 2;
    TRY(sort_range(s, lo, mid));
    TRY(sort_range(s, mid, hi));
    return merge(s, lo, mid, hi);
}

err_code tmpl_sort(struct tmpl_run *r, struct val *item, struct val *key, int64_t n, int reverse)
{
    struct sorter s = {.r = r, .item = item, .key = key, .reverse = reverse};
    MEM(r, s.ti, n + 1);
    MEM(r, s.tk, n + 1);
    return sort_range(&s, 0, n);
}
