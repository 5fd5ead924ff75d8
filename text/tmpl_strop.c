/* Operations of Python's str. Results are cut from their operands where they can be. */
#include "text/tmpl_strop.h"

err_code tmpl_soft(struct tmpl_run *r, struct val v, struct val *out)
{
    return v.tag == T_STR ? (*out = v, ERR_OK) : tmpl_str(r, v, out);
}

/* ---- case ------------------------------------------------------------------------------------------ */

/* Greek sigma at the end of a word has its own small letter. */
static int final_sigma(struct str s, int64_t at, int n)
{
    int before = 0, k;
    for (int64_t i = at; i > 0 && !before;) {
        for (i--; i > 0 && ((unsigned char)s.p[i] & 0xC0) == 0x80; i--)
            ;
        uint32_t c = tmpl_wtf8(s, i, &k);
        if (tmpl_uni_is(c, UNI_IGNORABLE))
            continue;
        before = tmpl_uni_is(c, UNI_CASED) ? 1 : -1;
    }
    if (before != 1)
        return 0;
    for (int64_t i = at + n; i < s.n; i += k) {
        uint32_t c = tmpl_wtf8(s, i, &k);
        if (!tmpl_uni_is(c, UNI_IGNORABLE))
            return !tmpl_uni_is(c, UNI_CASED);
    }
    return 1;
}

static enum uni_map map_for(enum case_op op, uint32_t cp, int first, int *cased)
{
    int prev = *cased;
    switch (op) {
    case CASE_UPPER: return UNI_TO_UPPER;
    case CASE_LOWER: return UNI_TO_LOWER;
    case CASE_FOLD: return UNI_FOLD;
    case CASE_CAPITAL: return first ? UNI_TO_TITLE : UNI_TO_LOWER;
    case CASE_SWAP: return tmpl_uni_is(cp, UNI_UPPER) ? UNI_TO_LOWER : UNI_TO_UPPER;
    default:
        *cased = tmpl_uni_is(cp, UNI_CASED);
        return prev ? UNI_TO_LOWER : UNI_TO_TITLE;
    }
}

err_code tmpl_s_case(struct tmpl_run *r, struct val v, enum case_op op, struct val *out)
{
    struct str s;
    struct build b;
    const struct piece *p = v.flags & VF_ROPE && r->track ? v.rope->b->at : NULL;
    int64_t piece_end = 0;
    int n, cased = 0;
    FLAT(r, &v, s);
    TRY(tmpl_step(r, s.n / 16));
    tmpl_b_init(&b, r);
    tmpl_b_from(&b, v);
    for (int64_t i = 0; i < s.n; i += n) {
        uint32_t to[3], cp = tmpl_wtf8(s, i, &n);
        if (p && i >= piece_end) { /* computed text keeps the origin of its own piece */
            const struct val view = {.tag = T_STR, .s = p->p};
            b.org = p->org ? p->org : tmpl_origin(r, view);
            piece_end = p->at + p->n;
            p++;
        }
        enum uni_map m = map_for(op, cp, i == 0, &cased);
        if (cp < 0x80) {
            char c = (char)cp;
            if (m == UNI_TO_LOWER || m == UNI_FOLD)
                c = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
            else
                c = c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
            tmpl_b_bytes(&b, &c, 1);
            continue;
        }
        int k = tmpl_uni_map(cp, m, to);
        if (cp == 0x3A3 && m == UNI_TO_LOWER && final_sigma(s, i, n))
            to[0] = 0x3C2;
        for (int j = 0; j < k; j++)
            tmpl_b_cp(&b, to[j]);
    }
    TRY(tmpl_b_end(&b, out));
    out->flags |= v.flags & VF_SAFE;
    return ERR_OK;
}

int tmpl_s_isupper(struct str s, enum uni_class want)
{
    int any = 0, n;
    for (int64_t i = 0; i < s.n; i += n) {
        uint32_t cp = tmpl_wtf8(s, i, &n);
        if (tmpl_uni_is(cp, want == UNI_UPPER ? UNI_LOWER : UNI_UPPER) || tmpl_uni_is(cp, UNI_TITLE))
            return 0;
        any |= tmpl_uni_is(cp, want);
    }
    return any;
}

/* ---- stripping and splitting ---------------------------------------------------------------------------- */

static int is_space(uint32_t cp)
{
    if (cp < 0x80)
        return cp == ' ' || (cp >= 9 && cp <= 13) || (cp >= 0x1C && cp <= 0x1F);
    return tmpl_uni_is(cp, UNI_SPACE);
}

static int64_t char_start(struct str s, int64_t end)
{
    int64_t at = end - 1;
    while (at > 0 && ((unsigned char)s.p[at] & 0xC0) == 0x80)
        at--;
    return at;
}

static int in_set(struct str s, int64_t at, int n, struct str set, int space)
{
    int k;
    if (space)
        return is_space(tmpl_wtf8(s, at, &k));
    for (int64_t i = 0; i < set.n; i += k) {
        tmpl_wtf8(set, i, &k);
        if (k == n && !memcmp(set.p + i, s.p + at, (size_t)n))
            return 1;
    }
    return 0;
}

err_code tmpl_s_strip(struct tmpl_run *r, struct val v, struct val chars, int ends, struct val *out)
{
    struct str s, set = {"", 0};
    int space = chars.tag == T_NONE || chars.tag == T_MISSING, n;
    if (!space && chars.tag != T_STR)
        return tmpl_fail(r, "TypeError", "strip arg must be None or str");
    FLAT(r, &v, s);
    if (!space)
        FLAT(r, &chars, set);
    int64_t from = 0, to = s.n;
    TRY(tmpl_step(r, set.n));
    while ((ends & STRIP_LEFT) && from < to) {
        tmpl_wtf8(s, from, &n);
        if (!in_set(s, from, n, set, space))
            break;
        from += n;
    }
    while ((ends & STRIP_RIGHT) && to > from) {
        int64_t at = char_start(s, to);
        if (!in_set(s, at, (int)(to - at), set, space))
            break;
        to = at;
    }
    return tmpl_cut(r, v, from, to, out);
}

err_code tmpl_s_replace(struct tmpl_run *r, struct val v, struct val old, struct val to, int64_t count, struct val *out)
{
    struct str s, o;
    struct build b;
    struct val part;
    int64_t from = 0;
    FLAT(r, &v, s);
    FLAT(r, &old, o);
    tmpl_b_init(&b, r);
    int n = 0;
    for (int64_t at = 0; count != 0; count--) {
        if (o.n) {
            at = str_find(s, o, from);
            if (at < 0)
                break;
        } else if (at > s.n) {
            break;
        }
        TRY(tmpl_step(r, 1));
        TRY(tmpl_cut(r, v, from, at, &part));
        tmpl_b_val(&b, part);
        tmpl_b_val(&b, to);
        from = at + o.n;
        if (!o.n) {
            if (at < s.n)
                tmpl_wtf8(s, at, &n);
            at += at < s.n ? n : 1;
        }
    }
    TRY(tmpl_step(r, s.n / 64));
    if (from == 0 && b.n == 0 && o.n)
        return *out = v, ERR_OK;
    TRY(tmpl_cut(r, v, from, s.n, &part));
    tmpl_b_val(&b, part);
    TRY(tmpl_b_end(&b, out));
    out->flags |= v.flags & VF_SAFE;
    return ERR_OK;
}

struct list { /* a growing list of values */
    struct val *at;
    int64_t n, cap;
};

static err_code push_cut(struct tmpl_run *r, struct list *l, struct val v, int64_t from, int64_t to)
{
    TRY(tmpl_step(r, 1));
    if (l->n == l->cap) {
        struct val *old = l->at;
        l->cap = l->cap ? l->cap * 2 : 4;
        MEM(r, l->at, l->cap);
        tmpl_copy(l->at, old, (size_t)l->n * sizeof *old);
    }
    return tmpl_cut(r, v, from, to, &l->at[l->n++]);
}

static err_code list_end(struct tmpl_run *r, struct list *l, struct val *out)
{
    struct seq *s;
    MEM(r, s, 1);
    *s = (struct seq){.n = l->n, .at = l->at};
    *out = (struct val){.tag = T_LIST, .seq = s};
    return ERR_OK;
}

static err_code check_sep(struct tmpl_run *r, struct val sep)
{
    if (sep.tag != T_STR)
        return tmpl_fail(r, "TypeError", "must be str or None, not %s", tmpl_type(sep));
    return sep.n ? ERR_OK : tmpl_fail(r, "ValueError", "empty separator");
}

static err_code split_space(struct tmpl_run *r, struct val v, int64_t max, struct list *l)
{
    struct str s;
    int n;
    FLAT(r, &v, s);
    int64_t i = 0;
    for (;;) {
        while (i < s.n && is_space(tmpl_wtf8(s, i, &n)))
            i += n;
        if (i >= s.n)
            return ERR_OK;
        int64_t from = i;
        if (max >= 0 && l->n >= max)
            return push_cut(r, l, v, from, s.n);
        while (i < s.n && !is_space(tmpl_wtf8(s, i, &n)))
            i += n;
        TRY(push_cut(r, l, v, from, i));
    }
}

err_code tmpl_s_split(struct tmpl_run *r, struct val v, struct val sep, int64_t max, struct val *out)
{
    struct list l = {0};
    struct str s, d;
    FLAT(r, &v, s);
    TRY(tmpl_step(r, s.n / 64));
    if (sep.tag == T_NONE || sep.tag == T_MISSING) {
        TRY(split_space(r, v, max, &l));
        return list_end(r, &l, out);
    }
    TRY(check_sep(r, sep));
    FLAT(r, &sep, d);
    int64_t from = 0, at;
    while ((max < 0 || l.n < max) && (at = str_find(s, d, from)) >= 0) {
        TRY(push_cut(r, &l, v, from, at));
        from = at + d.n;
    }
    TRY(push_cut(r, &l, v, from, s.n));
    return list_end(r, &l, out);
}

static void reverse(struct list *l)
{
    for (int64_t i = 0, j = l->n - 1; i < j; i++, j--) {
        struct val t = l->at[i];
        l->at[i] = l->at[j];
        l->at[j] = t;
    }
}

static err_code rsplit_space(struct tmpl_run *r, struct val v, int64_t max, struct list *l)
{
    struct str s;
    int n;
    FLAT(r, &v, s);
    int64_t end = s.n;
    for (;;) {
        while (end > 0 && is_space(tmpl_wtf8(s, char_start(s, end), &n)))
            end = char_start(s, end);
        if (end == 0)
            return ERR_OK;
        if (max >= 0 && l->n >= max)
            return push_cut(r, l, v, 0, end);
        int64_t at = end;
        while (at > 0 && !is_space(tmpl_wtf8(s, char_start(s, at), &n)))
            at = char_start(s, at);
        TRY(push_cut(r, l, v, at, end));
        end = at;
    }
}

err_code tmpl_s_rsplit(struct tmpl_run *r, struct val v, struct val sep, int64_t max, struct val *out)
{
    struct list l = {0};
    struct str s, d;
    if (max < 0)
        return tmpl_s_split(r, v, sep, max, out);
    FLAT(r, &v, s);
    TRY(tmpl_step(r, s.n / 64));
    if (sep.tag == T_NONE || sep.tag == T_MISSING) {
        TRY(rsplit_space(r, v, max, &l));
    } else {
        TRY(check_sep(r, sep));
        FLAT(r, &sep, d);
        int64_t end = s.n, at;
        while (l.n < max && (at = str_rfind(str_sub(s, 0, end), d)) >= 0) {
            TRY(push_cut(r, &l, v, at + d.n, end));
            end = at;
        }
        TRY(push_cut(r, &l, v, 0, end));
    }
    reverse(&l);
    return list_end(r, &l, out);
}

static int is_line_end(uint32_t cp)
{
    return (cp >= 10 && cp <= 13) || (cp >= 0x1C && cp <= 0x1E) || cp == 0x85 || cp == 0x2028 || cp == 0x2029;
}

err_code tmpl_s_lines(struct tmpl_run *r, struct val v, int keep, struct val *out)
{
    struct list l = {0};
    struct str s;
    int n;
    int64_t from = 0;
    FLAT(r, &v, s);
    TRY(tmpl_step(r, s.n / 64));
    for (int64_t i = 0; i < s.n;) {
        uint32_t cp = tmpl_wtf8(s, i, &n);
        int64_t end = i;
        i += n;
        if (!is_line_end(cp))
            continue;
        if (cp == '\r' && i < s.n && s.p[i] == '\n')
            i++;
        TRY(push_cut(r, &l, v, from, keep ? i : end));
        from = i;
    }
    if (from < s.n)
        TRY(push_cut(r, &l, v, from, s.n));
    return list_end(r, &l, out);
}

/* ---- joining and padding ----------------------------------------------------------------------------------- */

err_code tmpl_s_join(struct tmpl_run *r, struct val sep, struct val items, int as_str, struct val *out)
{
    struct build b;
    struct it it;
    struct val v;
    int more, first = 1;
    TRY(tmpl_iter(r, items, &it));
    tmpl_b_init(&b, r);
    for (int64_t i = 0;; i++) {
        TRY(tmpl_next(r, &it, &v, &more));
        if (!more)
            break;
        if (!first)
            tmpl_b_val(&b, sep);
        first = 0;
        if (as_str)
            TRY(tmpl_str(r, v, &v));
        else if (v.tag != T_STR)
            return tmpl_fail(r, "TypeError", "sequence item %lld: expected str instance, %s found", (long long)i, tmpl_type(v));
        if (sep.flags & VF_SAFE)
            TRY(tmpl_escape(r, v, &v));
        tmpl_b_val(&b, v);
    }
    TRY(tmpl_b_end(&b, out));
    out->flags |= sep.flags & VF_SAFE;
    return ERR_OK;
}

err_code tmpl_s_pad(struct tmpl_run *r, struct val v, int64_t width, struct val fill, char align, struct val *out)
{
    int64_t n, k = 1;
    struct build b;
    TRY(tmpl_len(r, v, &n));
    if (fill.tag == T_MISSING)
        fill = v_lit(" ");
    if (fill.tag == T_STR)
        TRY(tmpl_len(r, fill, &k));
    if (fill.tag != T_STR || k != 1)
        return tmpl_fail(r, "TypeError", "The fill character must be exactly one character long");
    if (width <= n)
        return *out = v, ERR_OK;
    if (width > r->lim.output)
        return tmpl_limit(r, "string size");
    int64_t room = width - n, left = align == '<' ? 0 : align == '>' ? room : room / 2 + (room & width & 1);
    TRY(tmpl_step(r, room));
    tmpl_b_init(&b, r);
    struct str f;
    FLAT(r, &fill, f);
    for (int64_t i = 0; i < left; i++)
        tmpl_b_bytes(&b, f.p, f.n);
    tmpl_b_val(&b, v);
    for (int64_t i = left; i < room; i++)
        tmpl_b_bytes(&b, f.p, f.n);
    TRY(tmpl_b_end(&b, out));
    out->flags |= v.flags & VF_SAFE;
    return ERR_OK;
}
