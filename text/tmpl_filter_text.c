/* Filters on text. */
#include <math.h>
#include <stdio.h>

#include "text/tmpl_strop.h"

#define FILTER(fname) static err_code fname(struct tmpl_run *r, struct val *a, struct val *out)

static err_code cased(struct tmpl_run *r, struct val v, enum case_op op, struct val *out)
{
    TRY(tmpl_soft(r, v, &v));
    return tmpl_s_case(r, v, op, out);
}

FILTER(f_upper) { return cased(r, a[0], CASE_UPPER, out); }
FILTER(f_lower) { return cased(r, a[0], CASE_LOWER, out); }
FILTER(f_capitalize) { return cased(r, a[0], CASE_CAPITAL, out); }

/* Jinja's title: a word begins behind one of "-", white space, ( { [ <. */
FILTER(f_title)
{
    struct str s;
    struct build b;
    struct val v, part;
    int n;
    TRY(tmpl_soft(r, a[0], &v));
    FLAT(r, &v, s);
    tmpl_b_init(&b, r);
    for (int64_t i = 0; i < s.n;) {
        int64_t from = i;
        int start = 1;
        while (i < s.n) {
            uint32_t cp = tmpl_wtf8(s, i, &n);
            int split = cp == '-' || cp == '(' || cp == '{' || cp == '[' || cp == '<' || tmpl_uni_is(cp, UNI_SPACE);
            if (start && split) {
                i += n;
                break;
            }
            if (split)
                break;
            start = 0;
            i += n;
        }
        TRY(tmpl_step(r, 1));
        tmpl_wtf8(s, from, &n);
        TRY(tmpl_cut(r, v, from, from + n, &part));
        TRY(tmpl_s_case(r, part, CASE_UPPER, &part));
        tmpl_b_val(&b, part);
        TRY(tmpl_cut(r, v, from + n, i, &part));
        TRY(tmpl_s_case(r, part, CASE_LOWER, &part));
        tmpl_b_val(&b, part);
    }
    return tmpl_b_end(&b, out);
}

FILTER(f_trim)
{
    struct val v;
    TRY(tmpl_soft(r, a[0], &v));
    return tmpl_s_strip(r, v, a[1], STRIP_LEFT | STRIP_RIGHT, out);
}

FILTER(f_replace)
{
    int64_t count = -1;
    struct val s, old, to;
    if (a[3].tag != T_MISSING && a[3].tag != T_NONE)
        TRY(tmpl_index(r, a[3], "count", &count));
    TRY(tmpl_str(r, a[0], &s));
    TRY(tmpl_str(r, a[1], &old));
    TRY(tmpl_str(r, a[2], &to));
    return tmpl_s_replace(r, s, old, to, count, out);
}

FILTER(f_string) { return tmpl_soft(r, a[0], out); }
FILTER(f_escape) { return tmpl_escape(r, a[0], out); }

FILTER(f_forceescape)
{
    struct val v;
    TRY(tmpl_str(r, a[0], &v));
    return tmpl_escape(r, v, out);
}

FILTER(f_safe)
{
    TRY(tmpl_str(r, a[0], out));
    out->flags |= VF_SAFE;
    return ERR_OK;
}

FILTER(f_center)
{
    int64_t width = 80;
    struct val v;
    if (a[1].tag != T_MISSING)
        TRY(tmpl_index(r, a[1], "width", &width));
    TRY(tmpl_soft(r, a[0], &v));
    return tmpl_s_pad(r, v, width, (struct val){.tag = T_MISSING}, '^', out);
}

FILTER(f_indent)
{
    struct val pad = v_lit("    "), lines, nl = v_lit("\n"), text;
    int64_t width = 4;
    struct build b;
    if (a[0].tag == T_UNDEF)
        return tmpl_undef(r, a[0]);
    if (a[0].tag != T_STR)
        return tmpl_fail(r, "TypeError", "unsupported operand type(s) for +=: '%s' and 'str'", tmpl_type(a[0]));
    if (a[1].tag == T_STR)
        pad = a[1];
    else if (a[1].tag != T_MISSING) {
        TRY(tmpl_index(r, a[1], "width", &width));
        TRY(tmpl_arith(r, N_MUL, v_lit(" "), v_int(width), &pad));
    }
    int first = tmpl_truth(r, a[2]), blank = tmpl_truth(r, a[3]);
    TRY(tmpl_cat(r, a[0], nl, &text)); /* the quirk that Jinja needs for splitlines */
    TRY(tmpl_s_lines(r, text, 0, &lines));
    tmpl_b_init(&b, r);
    for (int64_t i = 0; i < lines.seq->n; i++) {
        struct val line = lines.seq->at[i];
        TRY(tmpl_step(r, 1));
        if (i)
            tmpl_b_val(&b, nl);
        if (i ? blank || line.n : first)
            tmpl_b_val(&b, pad);
        tmpl_b_val(&b, line);
    }
    TRY(tmpl_b_end(&b, out));
    out->flags |= a[0].flags & VF_SAFE;
    return ERR_OK;
}

FILTER(f_truncate)
{
    int64_t length = 255, leeway = 5, n, end_n;
    struct val end = v_lit("..."), cut, parts;
    struct str s;
    if (a[1].tag != T_MISSING)
        TRY(tmpl_index(r, a[1], "length", &length));
    if (a[3].tag != T_MISSING)
        end = a[3];
    if (a[4].tag != T_MISSING && a[4].tag != T_NONE)
        TRY(tmpl_index(r, a[4], "leeway", &leeway));
    TRY(tmpl_len(r, end, &end_n));
    if (length < end_n || leeway < 0)
        return tmpl_fail(r, "AssertionError", length < end_n ? "expected length >= %lld, got %lld" : "expected leeway >= 0", (long long)end_n,
                         (long long)length);
    TRY(tmpl_len(r, a[0], &n));
    if (n <= length || n - length <= leeway)
        return *out = a[0], ERR_OK;
    if (a[0].tag != T_STR)
        return tmpl_fail(r, "TypeError", "can only truncate text, not %s", tmpl_type(a[0]));
    FLAT(r, &a[0], s);
    TRY(tmpl_cut(r, a[0], 0, tmpl_cp_to_byte(s, length - end_n), &cut));
    if (!tmpl_truth(r, a[2])) {
        TRY(tmpl_s_rsplit(r, cut, v_lit(" "), 1, &parts));
        cut = parts.seq->at[0];
    }
    return tmpl_arith(r, N_ADD, cut, end, out);
}

FILTER(f_wordcount)
{
    struct val v;
    struct str s;
    int64_t words = 0;
    int n, in = 0;
    TRY(tmpl_soft(r, a[0], &v));
    FLAT(r, &v, s);
    for (int64_t i = 0; i < s.n; i += n) {
        uint32_t cp = tmpl_wtf8(s, i, &n);
        int word = cp == '_' || tmpl_uni_is(cp, UNI_ALPHA) || tmpl_uni_is(cp, UNI_NUMERIC);
        words += word && !in;
        in = word;
    }
    *out = v_int(words);
    return ERR_OK;
}

static err_code f_format(struct tmpl_run *r, const struct val *self, const struct args *in, struct val *out)
{
    struct val fmt, arg;
    if (in->n && in->nkw)
        return tmpl_fail(r, "FilterArgumentError", "can't handle positional and keyword arguments at the same time");
    TRY(tmpl_soft(r, *self, &fmt));
    if (in->nkw) {
        TRY(tmpl_dict_new(r, in->nkw, &arg));
        for (int i = 0; i < in->nkw; i++)
            TRY(tmpl_dict_put(r, arg.dict, tmpl_view(in->kw[i].k.p, in->kw[i].k.n), in->kw[i].v));
    } else {
        TRY(tmpl_seq_new(r, T_TUPLE, in->n, &arg));
        tmpl_copy(arg.seq->at, in->pos, sizeof(struct val) * (size_t)in->n);
    }
    return tmpl_percent(r, fmt, arg, out);
}

/* Tags and comments go, runs of white space become one space, entities are read. */
FILTER(f_striptags)
{
    static const struct {
        const char *name, *to;
    } entity[] = {{"&amp;", "&"}, {"&lt;", "<"}, {"&gt;", ">"}, {"&quot;", "\""}, {"&#34;", "\""}, {"&#39;", "'"}, {"&nbsp;", "\xC2\xA0"}};
    struct val v, words;
    struct str s;
    struct build b;
    TRY(tmpl_str(r, a[0], &v));
    FLAT(r, &v, s);
    tmpl_b_init(&b, r);
    tmpl_b_from(&b, v);
    for (int64_t i = 0; i < s.n; i++) {
        int64_t end = -1;
        if (s.n - i >= 4 && !memcmp(s.p + i, "<!--", 4)) {
            end = str_find(s, STR("-->"), i);
            end += end >= 0 ? 2 : 0;
        } else if (s.p[i] == '<') {
            end = str_find(s, STR(">"), i);
        }
        if (end >= 0)
            i = end;
        else
            tmpl_b_bytes(&b, s.p + i, 1);
    }
    TRY(tmpl_b_end(&b, &v));
    TRY(tmpl_s_split(r, v, NONE, -1, &words));
    TRY(tmpl_s_join(r, v_lit(" "), words, 0, &v));
    FLAT(r, &v, s);
    tmpl_b_init(&b, r);
    tmpl_b_from(&b, v);
    for (int64_t i = 0; i < s.n; i++) {
        size_t k = 0, n_entity = sizeof entity / sizeof *entity;
        while (k < n_entity && !(s.p[i] == '&' && str_starts(str_sub(s, i, s.n), str_of(entity[k].name))))
            k++;
        if (k < n_entity) {
            tmpl_b_adds(&b, entity[k].to);
            i += (int64_t)strlen(entity[k].name) - 1;
        } else {
            tmpl_b_bytes(&b, s.p + i, 1);
        }
    }
    return tmpl_b_end(&b, out);
}

static err_code quote(struct tmpl_run *r, struct build *b, struct val v, int query)
{
    struct str s;
    char hex[4];
    TRY(tmpl_str(r, v, &v));
    FLAT(r, &v, s);
    tmpl_b_from(b, v);
    for (int64_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if ((c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || (c && strchr("_.-~", c)) || (c == '/' && !query)) {
            tmpl_b_bytes(b, s.p + i, 1);
        } else if (c == ' ' && query) {
            tmpl_b_adds(b, "+");
        } else {
            snprintf(hex, sizeof hex, "%%%02X", c);
            tmpl_b_adds(b, hex);
        }
    }
    b->org = NULL;
    return ERR_OK;
}

FILTER(f_urlencode)
{
    struct build b;
    struct it it;
    struct val v = a[0], pair;
    int more, first = 1;
    tmpl_b_init(&b, r);
    if (v.tag == T_STR || tmpl_is_num(v) || v.tag == T_NONE) {
        TRY(quote(r, &b, v, 0));
        return tmpl_b_end(&b, out);
    }
    if (v.tag == T_DICT)
        v = (struct val){.tag = T_VIEW, .flags = VIEW_ITEMS, .dict = a[0].dict};
    TRY(tmpl_iter(r, v, &it));
    for (;;) {
        TRY(tmpl_next(r, &it, &pair, &more));
        if (!more)
            return tmpl_b_end(&b, out);
        TRY(tmpl_list(r, pair, &pair));
        if (pair.seq->n != 2)
            return tmpl_fail(r, "ValueError", "urlencode wants pairs");
        if (!first)
            tmpl_b_adds(&b, "&");
        first = 0;
        TRY(quote(r, &b, pair.seq->at[0], 1));
        tmpl_b_adds(&b, "=");
        TRY(quote(r, &b, pair.seq->at[1], 1));
    }
}

FILTER(f_xmlattr)
{
    struct build b;
    int n = 0;
    if (a[0].tag != T_DICT)
        return tmpl_fail(r, "AttributeError", "'%s' object has no attribute 'items'", tmpl_type(a[0]));
    tmpl_b_init(&b, r);
    for (uint32_t i = 0; i < a[0].dict->n; i++) {
        struct val k = a[0].dict->at[i].k, v = a[0].dict->at[i].v;
        struct str s;
        if (v.tag == T_NONE || v.tag == T_UNDEF)
            continue;
        if (k.tag != T_STR)
            return tmpl_fail(r, "TypeError", "expected string or bytes-like object, got '%s'", tmpl_type(k));
        FLAT(r, &k, s);
        for (int64_t j = 0; j < s.n; j++)
            if (strchr(" \t\n\r\f\v/>=", s.p[j]))
                return tmpl_fail(r, "ValueError", "Invalid character in attribute name: '%.*s'", STR_ARG(s));
        TRY(tmpl_escape(r, k, &k));
        TRY(tmpl_escape(r, v, &v));
        if (n++ || a[1].tag == T_MISSING || tmpl_truth(r, a[1]))
            tmpl_b_adds(&b, " ");
        tmpl_b_val(&b, k);
        tmpl_b_adds(&b, "=\"");
        tmpl_b_val(&b, v);
        tmpl_b_adds(&b, "\"");
    }
    return tmpl_b_end(&b, out);
}

FILTER(f_filesizeformat)
{
    static const char *const dec[] = {"kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"}, *const bin[] = {"KiB", "MiB", "GiB", "TiB", "PiB",
                                                                                                      "EiB", "ZiB", "YiB"};
    double x, unit, base = tmpl_truth(r, a[1]) ? 1024 : 1000;
    char buf[80];
    struct str s;
    struct build b;
    int i = 0;
    if (a[0].tag == T_STR) {
        FLAT(r, &a[0], s);
        if (!tmpl_float_of(s, &x))
            return tmpl_fail(r, "ValueError", "could not convert string to float: '%.*s'", STR_ARG(s));
    } else if (tmpl_is_num(a[0])) {
        TRY(tmpl_to_float(r, a[0], &x));
    } else {
        return tmpl_fail(r, "TypeError", "float() argument must be a string or a real number, not '%s'", tmpl_type(a[0]));
    }
    if (x == 1) {
        snprintf(buf, sizeof buf, "1 Byte");
    } else if (x < base) {
        snprintf(buf, sizeof buf, "%.0f Bytes", trunc(x));
    } else {
        for (unit = base * base; i < 7 && !(x < unit); i++)
            unit *= base;
        snprintf(buf, sizeof buf, "%.1f %s", base * x / unit, base == 1024 ? bin[i] : dec[i]);
    }
    tmpl_b_init(&b, r);
    tmpl_b_adds(&b, buf);
    return tmpl_b_end(&b, out);
}

static err_code json_indent(struct tmpl_run *r, struct val v, struct dump_opts *o)
{
    int64_t n;
    struct val pad;
    o->has_indent = v.tag != T_MISSING && v.tag != T_NONE;
    if (!o->has_indent)
        return ERR_OK;
    if (v.tag == T_STR) {
        FLAT(r, &v, o->indent);
        return ERR_OK;
    }
    TRY(tmpl_index(r, v, "indent", &n));
    TRY(tmpl_arith(r, N_MUL, v_lit(" "), v_int(n < 1000 ? n : 1000), &pad));
    FLAT(r, &pad, o->indent);
    return ERR_OK;
}

/* transformers' filter: json.dumps, nothing escaped for HTML. */
FILTER(f_tojson)
{
    struct dump_opts o = {.ascii = tmpl_truth(r, a[1]), .sort = tmpl_truth(r, a[4]), .item_sep = STR(", "), .key_sep = STR(": ")};
    struct build b;
    struct val seps;
    TRY(json_indent(r, a[2], &o));
    if (o.has_indent)
        o.item_sep = STR(",");
    if (a[3].tag != T_MISSING && a[3].tag != T_NONE) {
        TRY(tmpl_list(r, a[3], &seps));
        if (seps.seq->n != 2 || seps.seq->at[0].tag != T_STR || seps.seq->at[1].tag != T_STR)
            return tmpl_fail(r, "ValueError", "separators must be a pair of strings");
        FLAT(r, &seps.seq->at[0], o.item_sep);
        FLAT(r, &seps.seq->at[1], o.key_sep);
    }
    tmpl_b_init(&b, r);
    TRY(tmpl_dump(r, &b, a[0], &o));
    return tmpl_b_end(&b, out);
}

FILTER(f_unsupported)
{
    (void)a, (void)out;
    return tmpl_fail(r, "TemplateRuntimeError", "the filters urlize and wordwrap are not supported");
}

/* A copy with every dict sorted by key, as pprint shows them. */
static err_code sorted_copy(struct tmpl_run *r, struct val v, struct val *out)
{
    *out = v;
    if (v.tag != T_LIST && v.tag != T_TUPLE && v.tag != T_DICT)
        return ERR_OK;
    TRY(tmpl_deeper(r));
    if (v.tag == T_DICT) {
        struct val *key, *at;
        MEM(r, key, v.dict->n + 1);
        MEM(r, at, v.dict->n + 1);
        for (uint32_t i = 0; i < v.dict->n; i++)
            key[i] = v.dict->at[i].k, at[i] = v_int(i);
        TRY(tmpl_sort(r, at, key, v.dict->n, 0));
        TRY(tmpl_dict_new(r, v.dict->n, out));
        for (uint32_t i = 0; i < v.dict->n; i++) {
            struct val item;
            TRY(sorted_copy(r, v.dict->at[at[i].i].v, &item));
            TRY(tmpl_dict_put(r, out->dict, v.dict->at[at[i].i].k, item));
        }
    } else {
        TRY(tmpl_seq_new(r, v.tag, v.seq->n, out));
        for (int64_t i = 0; i < v.seq->n; i++)
            TRY(sorted_copy(r, v.seq->at[i], &out->seq->at[i]));
    }
    r->depth--;
    return ERR_OK;
}

FILTER(f_pprint)
{
    struct build b;
    struct val v;
    TRY(sorted_copy(r, a[0], &v));
    tmpl_b_init(&b, r);
    TRY(tmpl_repr(r, &b, v));
    if (b.n > 80)
        return tmpl_fail(r, "TemplateRuntimeError", "pprint of more than one line is not supported");
    return tmpl_b_end(&b, out);
}

const struct fn tmpl_filters_text[] = {
    {.name = "capitalize", .f = f_capitalize, .params = ""},
    {.name = "center", .f = f_center, .params = "width"},
    {.name = "e", .f = f_escape, .params = ""},
    {.name = "escape", .f = f_escape, .params = ""},
    {.name = "filesizeformat", .f = f_filesizeformat, .params = "binary"},
    {.name = "forceescape", .f = f_forceescape, .params = ""},
    {.name = "format", .raw = f_format, .params = ""},
    {.name = "indent", .f = f_indent, .params = "width first blank"},
    {.name = "lower", .f = f_lower, .params = ""},
    {.name = "pprint", .f = f_pprint, .params = ""},
    {.name = "replace", .f = f_replace, .params = "old new count", .need = 2},
    {.name = "safe", .f = f_safe, .params = ""},
    {.name = "string", .f = f_string, .params = ""},
    {.name = "striptags", .f = f_striptags, .params = ""},
    {.name = "title", .f = f_title, .params = ""},
    {.name = "tojson", .f = f_tojson, .params = "ensure_ascii indent separators sort_keys"},
    {.name = "trim", .f = f_trim, .params = "chars"},
    {.name = "truncate", .f = f_truncate, .params = "length killwords end leeway"},
    {.name = "upper", .f = f_upper, .params = ""},
    {.name = "urlencode", .f = f_urlencode, .params = ""},
    {.name = "urlize", .f = f_unsupported, .params = "trim_url_limit nofollow target rel extra_schemes"},
    {.name = "wordcount", .f = f_wordcount, .params = ""},
    {.name = "wordwrap", .f = f_unsupported, .params = "width break_long_words wrapstring break_on_hyphens"},
    {.name = "xmlattr", .f = f_xmlattr, .params = "autospace"},
    {0},
};
