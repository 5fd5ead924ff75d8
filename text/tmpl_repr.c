/* str() and repr() of values, and HTML escaping. */
#include <stdio.h>

#include "text/tmpl.h"

/* While row values are written, computed bytes carry the address of the value they come from. */
static const char *enter_origin(struct tmpl_run *r, struct build *b, struct val v)
{
    const char *saved = b->org, *org = r->track ? tmpl_origin(r, v) : NULL;
    if (org)
        b->org = org;
    return saved;
}

static err_code repr_str(struct tmpl_run *r, struct build *b, struct val v)
{
    struct str s;
    FLAT(r, &v, s);
    int single = memchr(s.p, '\'', (size_t)s.n) != NULL, twice = memchr(s.p, '"', (size_t)s.n) != NULL;
    char q = single && !twice ? '"' : '\'', buf[12];
    int64_t from = 0;
    int n;
    tmpl_b_bytes(b, &q, 1);
    for (int64_t i = 0; i < s.n; i += n) {
        uint32_t cp = tmpl_wtf8(s, i, &n);
        const char *esc = cp == '\n' ? "\\n" : cp == '\r' ? "\\r" : cp == '\t' ? "\\t" : cp == '\\' ? "\\\\" : NULL;
        if (cp == (uint32_t)q)
            esc = q == '"' ? "\\\"" : "\\'";
        if (!esc && (cp < 0x80 ? cp >= 0x20 && cp < 0x7F : tmpl_uni_is(cp, UNI_PRINTABLE)))
            continue;
        tmpl_b_bytes(b, s.p + from, i - from);
        from = i + n;
        if (!esc) {
            snprintf(buf, sizeof buf, cp < 0x100 ? "\\x%02x" : cp < 0x10000 ? "\\u%04x" : "\\U%08x", cp);
            esc = buf;
        }
        tmpl_b_adds(b, esc);
    }
    tmpl_b_bytes(b, s.p + from, s.n - from);
    tmpl_b_bytes(b, &q, 1);
    return ERR_OK;
}

static err_code repr_bytes(struct build *b, struct val v)
{
    char buf[8];
    tmpl_b_adds(b, "b'");
    for (uint32_t i = 0; i < v.n; i++) {
        unsigned char c = (unsigned char)v.s[i];
        if (c == '\\' || c == '\'')
            snprintf(buf, sizeof buf, "\\%c", c);
        else if (c == '\n' || c == '\r' || c == '\t')
            snprintf(buf, sizeof buf, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
        else
            snprintf(buf, sizeof buf, c >= 0x20 && c < 0x7F ? "%c" : "\\x%02x", c);
        tmpl_b_adds(b, buf);
    }
    tmpl_b_adds(b, "'");
    return ERR_OK;
}

static err_code repr_items(struct tmpl_run *r, struct build *b, const struct seq *s, const char *open, const char *close)
{
    tmpl_b_adds(b, open);
    for (int64_t i = 0; i < s->n; i++) {
        if (i)
            tmpl_b_adds(b, ", ");
        TRY(tmpl_repr(r, b, s->at[i]));
    }
    tmpl_b_adds(b, close);
    return ERR_OK;
}

static err_code repr_dict(struct tmpl_run *r, struct build *b, const struct dict *d)
{
    tmpl_b_adds(b, "{");
    for (uint32_t i = 0; i < d->n; i++) {
        if (i)
            tmpl_b_adds(b, ", ");
        TRY(tmpl_repr(r, b, d->at[i].k));
        tmpl_b_adds(b, ": ");
        TRY(tmpl_repr(r, b, d->at[i].v));
    }
    tmpl_b_adds(b, "}");
    return ERR_OK;
}

static err_code repr_view(struct tmpl_run *r, struct build *b, struct val v)
{
    struct val list;
    v.tag = T_VIEW;
    TRY(tmpl_list(r, v, &list));
    tmpl_b_adds(b, tmpl_type(v));
    return repr_items(r, b, list.seq, "([", "])");
}

static err_code repr_other(struct tmpl_run *r, struct build *b, struct val v)
{
    char buf[120];
    switch (v.tag) {
    case T_UNDEF: tmpl_b_adds(b, "Undefined"); return ERR_OK;
    case T_NONE: tmpl_b_adds(b, "None"); return ERR_OK;
    case T_ELLIPSIS: tmpl_b_adds(b, "Ellipsis"); return ERR_OK;
    case T_RANGE:
        tmpl_b_bytes(b, buf, snprintf(buf, sizeof buf, v.range->step == 1 ? "range(%lld, %lld)" : "range(%lld, %lld, %lld)",
                                     (long long)v.range->start, (long long)v.range->stop, (long long)v.range->step));
        return ERR_OK;
    case T_NS:
        tmpl_b_adds(b, "<Namespace ");
        TRY(repr_dict(r, b, v.dict));
        tmpl_b_adds(b, ">");
        return ERR_OK;
    case T_MACRO:
        tmpl_b_adds(b, "<Macro ");
        TRY(tmpl_repr(r, b, tmpl_view(v.macro->def->name.p, v.macro->def->name.n)));
        tmpl_b_adds(b, ">");
        return ERR_OK;
    case T_LOOP: {
        int64_t n;
        TRY(tmpl_loop_length(r, v.loop, &n));
        tmpl_b_bytes(b, buf, snprintf(buf, sizeof buf, "<LoopContext %lld/%lld>", (long long)v.loop->index + 1, (long long)n));
        return ERR_OK;
    }
    default: /* Python prints an address here; a text that repeats is worth more */
        tmpl_b_bytes(b, buf, snprintf(buf, sizeof buf, "<%s object>", tmpl_type(v)));
        return ERR_OK;
    }
}

err_code tmpl_repr(struct tmpl_run *r, struct build *b, struct val v)
{
    TRY(tmpl_step(r, 1));
    TRY(tmpl_deeper(r));
    const char *saved = enter_origin(r, b, v);
    err_code rc;
    switch (v.tag) {
    case T_BOOL: case T_INT: case T_BIG: case T_FLOAT: rc = tmpl_num_text(r, b, v); break;
    case T_STR:
        if (v.flags & VF_SAFE)
            tmpl_b_adds(b, "Markup(");
        rc = repr_str(r, b, v);
        if (v.flags & VF_SAFE)
            tmpl_b_adds(b, ")");
        break;
    case T_BYTES: rc = repr_bytes(b, v); break;
    case T_LIST: rc = repr_items(r, b, v.seq, "[", "]"); break;
    case T_TUPLE: rc = repr_items(r, b, v.seq, "(", v.seq->n == 1 ? ",)" : ")"); break;
    case T_DICT: rc = repr_dict(r, b, v.dict); break;
    case T_VIEW: rc = repr_view(r, b, v); break;
    default: rc = repr_other(r, b, v); break;
    }
    b->org = saved;
    r->depth--;
    return rc;
}

err_code tmpl_str(struct tmpl_run *r, struct val v, struct val *out)
{
    struct build b;
    if (v.tag == T_STR) {
        *out = v;
        out->flags &= (uint8_t)~VF_SAFE;
        return ERR_OK;
    }
    if (v.tag == T_UNDEF)
        return *out = v_lit(""), ERR_OK;
    if (v.tag == T_NONE)
        return *out = v_lit("None"), ERR_OK;
    if (v.tag == T_JOINER)
        return tmpl_fail(r, "TypeError", "a joiner is called, not printed");
    tmpl_b_init(&b, r);
    TRY(tmpl_repr(r, &b, v));
    return tmpl_b_end(&b, out);
}

err_code tmpl_escape(struct tmpl_run *r, struct val v, struct val *out)
{
    struct build b;
    struct str s;
    int64_t from = 0;
    if (v.tag == T_STR && (v.flags & VF_SAFE))
        return *out = v, ERR_OK;
    TRY(tmpl_str(r, v, &v));
    FLAT(r, &v, s);
    tmpl_b_init(&b, r);
    for (int64_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        const char *to = c == '&' ? "&amp;" : c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '\'' ? "&#39;" : c == '"' ? "&#34;" : NULL;
        struct val part;
        if (!to)
            continue;
        TRY(tmpl_cut(r, v, from, i, &part));
        tmpl_b_val(&b, part);
        b.org = NULL;
        if (r->track) {
            TRY(tmpl_cut(r, v, i, i + 1, &part));
            tmpl_b_from(&b, part);
        }
        tmpl_b_adds(&b, to);
        from = i + 1;
    }
    struct val rest;
    TRY(tmpl_cut(r, v, from, s.n, &rest));
    tmpl_b_val(&b, rest);
    TRY(tmpl_b_end(&b, out));
    out->flags |= VF_SAFE;
    return ERR_OK;
}
