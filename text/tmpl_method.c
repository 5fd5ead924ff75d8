/* Methods of str, list, tuple, dict, numbers, range, loop and cycler. What would change a list or dict is
 * not here: the sandbox refuses it. */
#include <math.h>

#include "text/tmpl_strop.h"

#define METHOD(fname) static err_code fname(struct tmpl_run *r, struct val *a, struct val *out)
#define CASE_METHOD(fname, op) METHOD(fname) { return tmpl_s_case(r, a[0], op, out); }

CASE_METHOD(s_upper, CASE_UPPER)
CASE_METHOD(s_lower, CASE_LOWER)
CASE_METHOD(s_title, CASE_TITLE)
CASE_METHOD(s_capitalize, CASE_CAPITAL)
CASE_METHOD(s_swapcase, CASE_SWAP)
CASE_METHOD(s_casefold, CASE_FOLD)

METHOD(s_strip) { return tmpl_s_strip(r, a[0], a[1], STRIP_LEFT | STRIP_RIGHT, out); }
METHOD(s_lstrip) { return tmpl_s_strip(r, a[0], a[1], STRIP_LEFT, out); }
METHOD(s_rstrip) { return tmpl_s_strip(r, a[0], a[1], STRIP_RIGHT, out); }

static err_code opt_int(struct tmpl_run *r, struct val v, int64_t *out)
{
    return v.tag == T_MISSING ? ERR_OK : tmpl_index(r, v, "argument", out);
}

static err_code need_str(struct tmpl_run *r, const char *what, struct val v)
{
    if (v.tag == T_STR)
        return ERR_OK;
    return tmpl_fail(r, "TypeError", "%s argument must be str, not %s", what, tmpl_type(v));
}

METHOD(s_split)
{
    int64_t max = -1;
    TRY(opt_int(r, a[2], &max));
    return tmpl_s_split(r, a[0], a[1], max, out);
}

METHOD(s_rsplit)
{
    int64_t max = -1;
    TRY(opt_int(r, a[2], &max));
    return tmpl_s_rsplit(r, a[0], a[1], max, out);
}

METHOD(s_splitlines) { return tmpl_s_lines(r, a[0], tmpl_truth(r, a[1]), out); }

METHOD(s_replace)
{
    int64_t count = -1;
    TRY(need_str(r, "replace()", a[1]));
    TRY(need_str(r, "replace()", a[2]));
    TRY(opt_int(r, a[3], &count));
    if (a[0].flags & VF_SAFE)
        TRY(tmpl_escape(r, a[2], &a[2]));
    return tmpl_s_replace(r, a[0], a[1], a[2], count, out);
}

METHOD(s_join) { return tmpl_s_join(r, a[0], a[1], 0, out); }

/* s[start:end] of find, count, startswith: *base is where it begins, in code points. */
static err_code window(struct tmpl_run *r, const struct val *a, struct str *out, int64_t *base, int *valid)
{
    int64_t n, x[2];
    struct val s = a[0];
    struct str flat;
    TRY(tmpl_len(r, s, &n));
    FLAT(r, &s, flat);
    x[0] = 0;
    x[1] = n;
    for (int i = 0; i < 2; i++) {
        if (a[2 + i].tag == T_MISSING || a[2 + i].tag == T_NONE)
            continue;
        TRY(tmpl_index(r, a[2 + i], "slice index", &x[i]));
        x[i] = x[i] < 0 ? (x[i] + n < 0 ? 0 : x[i] + n) : x[i];
    }
    *valid = x[0] <= n && x[0] <= x[1];
    x[1] = x[1] > n ? n : x[1];
    *base = x[0];
    int64_t from = s.flags & VF_ASCII ? x[0] : tmpl_cp_to_byte(flat, x[0]), to = s.flags & VF_ASCII ? x[1] : tmpl_cp_to_byte(flat, x[1]);
    *out = str_sub(flat, from, to);
    return tmpl_step(r, flat.n / 64);
}

static err_code find(struct tmpl_run *r, struct val *a, int back, int must, struct val *out)
{
    struct str s, what;
    int64_t base;
    int valid;
    TRY(need_str(r, "find()", a[1]));
    TRY(window(r, a, &s, &base, &valid));
    FLAT(r, &a[1], what);
    int64_t at = !valid ? -1 : back ? str_rfind(s, what) : str_find(s, what, 0);
    if (at < 0 && must)
        return tmpl_fail(r, "ValueError", "substring not found");
    *out = v_int(at < 0 ? -1 : base + tmpl_len_cp(str_sub(s, 0, at), 0));
    return ERR_OK;
}

METHOD(s_find) { return find(r, a, 0, 0, out); }
METHOD(s_rfind) { return find(r, a, 1, 0, out); }
METHOD(s_index) { return find(r, a, 0, 1, out); }
METHOD(s_rindex) { return find(r, a, 1, 1, out); }

METHOD(s_count)
{
    struct str s, what;
    int64_t base, n = 0;
    int valid;
    TRY(need_str(r, "count()", a[1]));
    TRY(window(r, a, &s, &base, &valid));
    FLAT(r, &a[1], what);
    if (what.n == 0) {
        n = tmpl_len_cp(s, 0) + 1;
    } else {
        for (int64_t at = str_find(s, what, 0); at >= 0; at = str_find(s, what, at + what.n))
            n++;
    }
    *out = v_int(valid ? n : 0);
    return ERR_OK;
}

static err_code affix(struct tmpl_run *r, struct val *a, int end, struct val *out)
{
    struct str s, what;
    int64_t base;
    int valid, yes = 0;
    TRY(window(r, a, &s, &base, &valid));
    int64_t n = a[1].tag == T_TUPLE ? a[1].seq->n : 1;
    for (int64_t i = 0; i < n && !yes; i++) {
        struct val x = a[1].tag == T_TUPLE ? a[1].seq->at[i] : a[1];
        if (x.tag != T_STR)
            return tmpl_fail(r, "TypeError", "%s first arg must be str or a tuple of str, not %s", end ? "endswith" : "startswith", tmpl_type(x));
        FLAT(r, &x, what);
        yes = valid && (end ? str_ends(s, what) : str_starts(s, what));
    }
    *out = v_bool(yes);
    return ERR_OK;
}

METHOD(s_startswith) { return affix(r, a, 0, out); }
METHOD(s_endswith) { return affix(r, a, 1, out); }

static err_code pad(struct tmpl_run *r, struct val *a, char align, struct val *out)
{
    int64_t width = 0;
    TRY(opt_int(r, a[1], &width));
    return tmpl_s_pad(r, a[0], width, a[2], align, out);
}

METHOD(s_center) { return pad(r, a, '^', out); }
METHOD(s_ljust) { return pad(r, a, '<', out); }
METHOD(s_rjust) { return pad(r, a, '>', out); }

METHOD(s_zfill)
{
    int64_t width = 0, n;
    struct str s;
    struct val sign, rest;
    TRY(opt_int(r, a[1], &width));
    FLAT(r, &a[0], s);
    TRY(tmpl_len(r, a[0], &n));
    int signed_ = s.n && (s.p[0] == '+' || s.p[0] == '-');
    TRY(tmpl_cut(r, a[0], 0, signed_, &sign));
    TRY(tmpl_cut(r, a[0], signed_, s.n, &rest));
    TRY(tmpl_s_pad(r, rest, width - signed_, v_lit("0"), '>', &rest));
    return tmpl_cat(r, sign, rest, out);
}

METHOD(s_expandtabs)
{
    int64_t tab = 8, col = 0;
    struct str s;
    struct build b;
    int n;
    TRY(opt_int(r, a[1], &tab));
    if (tab > 10000)
        return tmpl_limit(r, "tab size");
    FLAT(r, &a[0], s);
    tmpl_b_init(&b, r);
    tmpl_b_from(&b, a[0]);
    for (int64_t i = 0; i < s.n; i += n) {
        tmpl_wtf8(s, i, &n);
        if (s.p[i] != '\t') {
            tmpl_b_bytes(&b, s.p + i, n);
            col = s.p[i] == '\n' || s.p[i] == '\r' ? 0 : col + 1;
            continue;
        }
        for (int64_t k = tab > 0 ? tab - col % tab : 0; k > 0; k--, col++)
            tmpl_b_adds(&b, " ");
    }
    return tmpl_b_end(&b, out);
}

static err_code partition(struct tmpl_run *r, struct val *a, int back, struct val *out)
{
    struct str s, what;
    TRY(need_str(r, "partition()", a[1]));
    FLAT(r, &a[0], s);
    FLAT(r, &a[1], what);
    if (!what.n)
        return tmpl_fail(r, "ValueError", "empty separator");
    int64_t at = back ? str_rfind(s, what) : str_find(s, what, 0);
    TRY(tmpl_seq_new(r, T_TUPLE, 3, out));
    struct val *x = out->seq->at;
    if (at < 0) {
        x[0] = back ? v_lit("") : a[0];
        x[1] = v_lit("");
        x[2] = back ? a[0] : v_lit("");
        return ERR_OK;
    }
    TRY(tmpl_cut(r, a[0], 0, at, &x[0]));
    x[1] = a[1];
    return tmpl_cut(r, a[0], at + what.n, s.n, &x[2]);
}

METHOD(s_partition) { return partition(r, a, 0, out); }
METHOD(s_rpartition) { return partition(r, a, 1, out); }

METHOD(s_removeprefix)
{
    struct str s, what;
    TRY(need_str(r, "removeprefix()", a[1]));
    FLAT(r, &a[0], s);
    FLAT(r, &a[1], what);
    return tmpl_cut(r, a[0], str_starts(s, what) ? what.n : 0, s.n, out);
}

METHOD(s_removesuffix)
{
    struct str s, what;
    TRY(need_str(r, "removesuffix()", a[1]));
    FLAT(r, &a[0], s);
    FLAT(r, &a[1], what);
    return tmpl_cut(r, a[0], 0, str_ends(s, what) ? s.n - what.n : s.n, out);
}

static err_code all_are(struct tmpl_run *r, struct val v, enum uni_class c, int when_empty, struct val *out)
{
    struct str s;
    int n, yes;
    FLAT(r, &v, s);
    yes = s.n || when_empty;
    for (int64_t i = 0; i < s.n && yes; i += n)
        yes = tmpl_uni_is(tmpl_wtf8(s, i, &n), c);
    *out = v_bool(yes);
    return ERR_OK;
}

#define CLASS_METHOD(fname, c, empty) METHOD(fname) { return all_are(r, a[0], c, empty, out); }
CLASS_METHOD(s_isalpha, UNI_ALPHA, 0)
CLASS_METHOD(s_isdecimal, UNI_DECIMAL, 0)
CLASS_METHOD(s_isdigit, UNI_DIGIT, 0)
CLASS_METHOD(s_isnumeric, UNI_NUMERIC, 0)
CLASS_METHOD(s_isspace, UNI_SPACE, 0)
CLASS_METHOD(s_isprintable, UNI_PRINTABLE, 1)

METHOD(s_isalnum)
{
    struct str s;
    int n, yes;
    FLAT(r, &a[0], s);
    yes = s.n != 0;
    for (int64_t i = 0; i < s.n && yes; i += n) {
        uint32_t cp = tmpl_wtf8(s, i, &n);
        yes = tmpl_uni_is(cp, UNI_ALPHA) || tmpl_uni_is(cp, UNI_NUMERIC) || tmpl_uni_is(cp, UNI_DIGIT);
    }
    *out = v_bool(yes);
    return ERR_OK;
}

METHOD(s_isascii)
{
    struct str s;
    FLAT(r, &a[0], s);
    *out = v_bool(tmpl_view(s.p, s.n).flags & VF_ASCII);
    return ERR_OK;
}

METHOD(s_isidentifier)
{
    struct str s;
    int n, yes;
    FLAT(r, &a[0], s);
    yes = s.n != 0;
    for (int64_t i = 0; i < s.n && yes; i += n) {
        uint32_t cp = tmpl_wtf8(s, i, &n);
        yes = cp == '_' || tmpl_uni_is(cp, i ? UNI_XID_CONTINUE : UNI_XID_START);
    }
    *out = v_bool(yes);
    return ERR_OK;
}

METHOD(s_islower)
{
    struct str s;
    FLAT(r, &a[0], s);
    *out = v_bool(tmpl_s_isupper(s, UNI_LOWER));
    return ERR_OK;
}

METHOD(s_isupper)
{
    struct str s;
    FLAT(r, &a[0], s);
    *out = v_bool(tmpl_s_isupper(s, UNI_UPPER));
    return ERR_OK;
}

METHOD(s_istitle)
{
    struct str s;
    int n, cased = 0, any = 0, yes = 1;
    FLAT(r, &a[0], s);
    for (int64_t i = 0; i < s.n && yes; i += n) {
        uint32_t cp = tmpl_wtf8(s, i, &n);
        int up = tmpl_uni_is(cp, UNI_UPPER) || tmpl_uni_is(cp, UNI_TITLE), low = tmpl_uni_is(cp, UNI_LOWER);
        yes = up ? !cased : low ? cased : 1;
        cased = up || low;
        any |= cased;
    }
    *out = v_bool(yes && any);
    return ERR_OK;
}

METHOD(s_encode)
{
    struct str s;
    FLAT(r, &a[0], s);
    if (utf8_check(s) >= 0)
        return tmpl_fail(r, "UnicodeEncodeError", "'utf-8' codec can't encode a surrogate");
    *out = (struct val){.tag = T_BYTES, .n = (uint32_t)s.n, .s = s.p};
    return ERR_OK;
}

static err_code s_format(struct tmpl_run *r, const struct val *self, const struct args *in, struct val *out)
{
    return tmpl_format(r, *self, in, out);
}

METHOD(s_format_map)
{
    struct args in = {0};
    if (a[1].tag != T_DICT)
        return tmpl_fail(r, "TypeError", "format_map() argument must be a mapping");
    in.nkw = (int)a[1].dict->n;
    MEM(r, in.kw, in.nkw + 1);
    for (int i = 0; i < in.nkw; i++) {
        TRY(need_str(r, "format_map() key", a[1].dict->at[i].k));
        FLAT(r, &a[1].dict->at[i].k, in.kw[i].k);
        in.kw[i].v = a[1].dict->at[i].v;
    }
    return tmpl_format(r, a[0], &in, out);
}

METHOD(s_translate)
{
    struct str s;
    struct build b;
    struct val to, part;
    int n;
    FLAT(r, &a[0], s);
    tmpl_b_init(&b, r);
    for (int64_t i = 0; i < s.n; i += n) {
        uint32_t cp = tmpl_wtf8(s, i, &n);
        TRY(tmpl_step(r, 1));
        if (a[1].tag != T_DICT)
            return tmpl_fail(r, "TypeError", "'%s' object is not subscriptable", tmpl_type(a[1]));
        TRY(tmpl_dict_get(r, a[1].dict, v_int(cp), &to));
        TRY(tmpl_cut(r, a[0], i, i + n, &part));
        if (to.tag == T_INT && to.i >= 0 && to.i <= 0x10FFFF)
            tmpl_b_cp(&b, (uint32_t)to.i);
        else if (to.tag == T_STR || to.tag == T_MISSING)
            tmpl_b_val(&b, to.tag == T_STR ? to : part);
        else if (to.tag != T_NONE)
            return tmpl_fail(r, "TypeError", "character mapping must return integer, None or str");
    }
    return tmpl_b_end(&b, out);
}

const struct fn tmpl_str_methods[] = {
    {.name = "capitalize", .f = s_capitalize, .params = ""},
    {.name = "casefold", .f = s_casefold, .params = ""},
    {.name = "center", .f = s_center, .params = "width fillchar", .need = 1, .flags = FN_POS},
    {.name = "count", .f = s_count, .params = "sub start end", .need = 1, .flags = FN_POS},
    {.name = "encode", .f = s_encode, .params = "encoding errors"},
    {.name = "endswith", .f = s_endswith, .params = "suffix start end", .need = 1, .flags = FN_POS},
    {.name = "expandtabs", .f = s_expandtabs, .params = "tabsize"},
    {.name = "find", .f = s_find, .params = "sub start end", .need = 1, .flags = FN_POS},
    {.name = "format", .raw = s_format, .params = ""},
    {.name = "format_map", .f = s_format_map, .params = "mapping", .need = 1, .flags = FN_POS},
    {.name = "index", .f = s_index, .params = "sub start end", .need = 1, .flags = FN_POS},
    {.name = "isalnum", .f = s_isalnum, .params = ""},
    {.name = "isalpha", .f = s_isalpha, .params = ""},
    {.name = "isascii", .f = s_isascii, .params = ""},
    {.name = "isdecimal", .f = s_isdecimal, .params = ""},
    {.name = "isdigit", .f = s_isdigit, .params = ""},
    {.name = "isidentifier", .f = s_isidentifier, .params = ""},
    {.name = "islower", .f = s_islower, .params = ""},
    {.name = "isnumeric", .f = s_isnumeric, .params = ""},
    {.name = "isprintable", .f = s_isprintable, .params = ""},
    {.name = "isspace", .f = s_isspace, .params = ""},
    {.name = "istitle", .f = s_istitle, .params = ""},
    {.name = "isupper", .f = s_isupper, .params = ""},
    {.name = "join", .f = s_join, .params = "iterable", .need = 1, .flags = FN_POS},
    {.name = "ljust", .f = s_ljust, .params = "width fillchar", .need = 1, .flags = FN_POS},
    {.name = "lower", .f = s_lower, .params = ""},
    {.name = "lstrip", .f = s_lstrip, .params = "chars", .flags = FN_POS},
    {.name = "partition", .f = s_partition, .params = "sep", .need = 1, .flags = FN_POS},
    {.name = "removeprefix", .f = s_removeprefix, .params = "prefix", .need = 1, .flags = FN_POS},
    {.name = "removesuffix", .f = s_removesuffix, .params = "suffix", .need = 1, .flags = FN_POS},
    {.name = "replace", .f = s_replace, .params = "old new count", .need = 2, .flags = FN_POS},
    {.name = "rfind", .f = s_rfind, .params = "sub start end", .need = 1, .flags = FN_POS},
    {.name = "rindex", .f = s_rindex, .params = "sub start end", .need = 1, .flags = FN_POS},
    {.name = "rjust", .f = s_rjust, .params = "width fillchar", .need = 1, .flags = FN_POS},
    {.name = "rpartition", .f = s_rpartition, .params = "sep", .need = 1, .flags = FN_POS},
    {.name = "rsplit", .f = s_rsplit, .params = "sep maxsplit"},
    {.name = "rstrip", .f = s_rstrip, .params = "chars", .flags = FN_POS},
    {.name = "split", .f = s_split, .params = "sep maxsplit"},
    {.name = "splitlines", .f = s_splitlines, .params = "keepends"},
    {.name = "startswith", .f = s_startswith, .params = "prefix start end", .need = 1, .flags = FN_POS},
    {.name = "strip", .f = s_strip, .params = "chars", .flags = FN_POS},
    {.name = "swapcase", .f = s_swapcase, .params = ""},
    {.name = "title", .f = s_title, .params = ""},
    {.name = "translate", .f = s_translate, .params = "table", .need = 1, .flags = FN_POS},
    {.name = "upper", .f = s_upper, .params = ""},
    {.name = "zfill", .f = s_zfill, .params = "width", .need = 1, .flags = FN_POS},
    {0},
};

/* ---- sequences ------------------------------------------------------------------------------------- */

METHOD(l_count)
{
    int64_t n = 0;
    int eq;
    for (int64_t i = 0; i < a[0].seq->n; i++) {
        TRY(tmpl_step(r, 1));
        TRY(tmpl_eq(r, a[0].seq->at[i], a[1], &eq));
        n += eq;
    }
    *out = v_int(n);
    return ERR_OK;
}

METHOD(l_index)
{
    int eq;
    for (int64_t i = 0; i < a[0].seq->n; i++) {
        TRY(tmpl_step(r, 1));
        TRY(tmpl_eq(r, a[0].seq->at[i], a[1], &eq));
        if (eq)
            return *out = v_int(i), ERR_OK;
    }
    return tmpl_fail(r, "ValueError", "value is not in %s", tmpl_type(a[0]));
}

METHOD(same)
{
    (void)r;
    *out = a[0];
    return ERR_OK;
}

const struct fn tmpl_list_methods[] = {
    {.name = "copy", .f = same, .params = ""},
    {.name = "count", .f = l_count, .params = "value", .need = 1, .flags = FN_POS},
    {.name = "index", .f = l_index, .params = "value", .need = 1, .flags = FN_POS},
    {0},
};
const struct fn tmpl_tuple_methods[] = {
    {.name = "count", .f = l_count, .params = "value", .need = 1, .flags = FN_POS},
    {.name = "index", .f = l_index, .params = "value", .need = 1, .flags = FN_POS},
    {0},
};

METHOD(d_get)
{
    TRY(tmpl_dict_get(r, a[0].dict, a[1], out));
    if (out->tag == T_MISSING)
        *out = a[2].tag == T_MISSING ? NONE : a[2];
    return ERR_OK;
}

static err_code view(struct val *a, uint8_t kind, struct val *out)
{
    *out = (struct val){.tag = T_VIEW, .flags = kind, .dict = a[0].dict};
    return ERR_OK;
}

METHOD(d_items) { (void)r; return view(a, VIEW_ITEMS, out); }
METHOD(d_keys) { (void)r; return view(a, VIEW_KEYS, out); }
METHOD(d_values) { (void)r; return view(a, VIEW_VALUES, out); }

METHOD(d_fromkeys)
{
    struct it it;
    struct val k;
    int more;
    TRY(tmpl_dict_new(r, 8, out));
    TRY(tmpl_iter(r, a[1], &it));
    for (;;) {
        TRY(tmpl_next(r, &it, &k, &more));
        if (!more)
            return ERR_OK;
        TRY(tmpl_dict_put(r, out->dict, k, a[2].tag == T_MISSING ? NONE : a[2]));
    }
}

const struct fn tmpl_dict_methods[] = {
    {.name = "copy", .f = same, .params = ""},
    {.name = "fromkeys", .f = d_fromkeys, .params = "iterable value", .need = 1, .flags = FN_POS},
    {.name = "get", .f = d_get, .params = "key default", .need = 1, .flags = FN_POS},
    {.name = "items", .f = d_items, .params = ""},
    {.name = "keys", .f = d_keys, .params = ""},
    {.name = "values", .f = d_values, .params = ""},
    {0},
};

METHOD(r_count)
{
    int in;
    TRY(tmpl_in(r, a[1], a[0], &in));
    *out = v_int(in);
    return ERR_OK;
}

METHOD(r_index)
{
    int in;
    TRY(tmpl_in(r, a[1], a[0], &in));
    if (!in || a[1].tag != T_INT)
        return tmpl_fail(r, "ValueError", "value is not in range");
    *out = v_int((a[1].i - a[0].range->start) / a[0].range->step);
    return ERR_OK;
}

const struct fn tmpl_range_methods[] = {
    {.name = "count", .f = r_count, .params = "value", .need = 1, .flags = FN_POS},
    {.name = "index", .f = r_index, .params = "value", .need = 1, .flags = FN_POS},
    {0},
};

/* ---- numbers --------------------------------------------------------------------------------------- */

METHOD(i_bit_length)
{
    (void)r;
    uint64_t u = a[0].tag == T_BIG ? 0 : a[0].i < 0 ? 0 - (uint64_t)a[0].i : (uint64_t)a[0].i;
    *out = v_int(a[0].tag == T_BIG ? tmpl_big_bits(a[0]) : u ? 64 - __builtin_clzll(u) : 0);
    return ERR_OK;
}

METHOD(i_bit_count)
{
    int64_t n = 0;
    (void)r;
    if (a[0].tag == T_BIG)
        for (int i = 0; i < a[0].big->n; i++)
            n += __builtin_popcountl(a[0].big->d[i]);
    else
        n = __builtin_popcountll(a[0].i < 0 ? 0 - (uint64_t)a[0].i : (uint64_t)a[0].i);
    *out = v_int(n);
    return ERR_OK;
}

METHOD(n_conjugate)
{
    (void)r;
    *out = a[0];
    out->tag = a[0].tag == T_BOOL ? T_INT : a[0].tag;
    return ERR_OK;
}

METHOD(f_is_integer)
{
    (void)r;
    *out = v_bool(isfinite(a[0].f) && a[0].f == floor(a[0].f));
    return ERR_OK;
}

const struct fn tmpl_int_methods[] = {
    {.name = "bit_length", .f = i_bit_length, .params = ""},
    {.name = "bit_count", .f = i_bit_count, .params = ""},
    {.name = "conjugate", .f = n_conjugate, .params = ""},
    {0},
};
const struct fn tmpl_float_methods[] = {
    {.name = "is_integer", .f = f_is_integer, .params = ""},
    {.name = "conjugate", .f = n_conjugate, .params = ""},
    {0},
};

/* ---- loop and cycler ---------------------------------------------------------------------------------- */

static err_code loop_cycle(struct tmpl_run *r, const struct val *self, const struct args *in, struct val *out)
{
    if (!in->n)
        return tmpl_fail(r, "TypeError", "no items for cycling given");
    *out = in->pos[self->loop->index % in->n];
    return ERR_OK;
}

static err_code loop_changed(struct tmpl_run *r, const struct val *self, const struct args *in, struct val *out)
{
    struct val now;
    int eq = 0;
    TRY(tmpl_seq_new(r, T_TUPLE, in->n, &now));
    tmpl_copy(now.seq->at, in->pos, sizeof(struct val) * (size_t)in->n);
    if (self->loop->last_changed.tag != T_MISSING)
        TRY(tmpl_eq(r, now, self->loop->last_changed, &eq));
    self->loop->last_changed = now;
    *out = v_bool(!eq);
    return ERR_OK;
}

const struct fn tmpl_loop_methods[] = {
    {.name = "cycle", .raw = loop_cycle, .params = ""},
    {.name = "changed", .raw = loop_changed, .params = ""},
    {0},
};

METHOD(c_next)
{
    struct cycler *c = a[0].cycler;
    (void)r;
    *out = c->at[c->i];
    c->i = (c->i + 1) % c->n;
    return ERR_OK;
}

METHOD(c_reset)
{
    (void)r;
    a[0].cycler->i = 0;
    *out = NONE;
    return ERR_OK;
}

const struct fn tmpl_cycler_methods[] = {
    {.name = "next", .f = c_next, .params = ""},
    {.name = "reset", .f = c_reset, .params = ""},
    {0},
};
