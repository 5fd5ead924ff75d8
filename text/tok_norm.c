/* Normalizers, with the origin of every byte as the reference library keeps it. */
#include <stdlib.h>

#include "core/json.h"
#include "text/tok.h"

/* ---- text with origins -------------------------------------------------------------------- */

void tok_work_release(struct tok_work *w)
{
    free(w->p);
    free(w->from);
    free(w->to);
    free(w->cut);
    *w = (struct tok_work){0};
}

void tok_work_begin(struct tok_work *w, int align)
{
    w->n = w->n_cuts = 0;
    w->align = align;
}

static void room(struct tok_work *w, int64_t n)
{
    w->p = tok_grow(w->p, &w->cap, w->n + n, 1);
    if (w->align && w->cap_align < w->n + n) {
        int64_t cap = w->cap_align;
        w->from = tok_grow(w->from, &cap, w->n + n, sizeof *w->from);
        w->to = tok_grow(w->to, &w->cap_align, w->n + n, sizeof *w->to);
    }
}

void tok_work_add(struct tok_work *w, const char *p, int64_t n, uint32_t from, uint32_t to)
{
    room(w, n);
    if (n)
        memcpy(w->p + w->n, p, (size_t)n);
    for (int64_t i = 0; w->align && i < n; i++) {
        w->from[w->n + i] = from;
        w->to[w->n + i] = to;
    }
    w->n += n;
}

void tok_work_copy(struct tok_work *w, const struct tok_work *src, int64_t b, int64_t e)
{
    room(w, e - b);
    if (e > b)
        memcpy(w->p + w->n, src->p + b, (size_t)(e - b));
    if (w->align && e > b) {
        memcpy(w->from + w->n, src->from + b, (size_t)(e - b) * sizeof *w->from);
        memcpy(w->to + w->n, src->to + b, (size_t)(e - b) * sizeof *w->to);
    }
    w->n += e - b;
}

void tok_work_cut(struct tok_work *w, int64_t b, int64_t e)
{
    if (e <= b)
        return; /* empty pieces give no tokens */
    w->cut = tok_grow(w->cut, &w->cap_cuts, w->n_cuts + 1, sizeof *w->cut);
    w->cut[w->n_cuts++] = (struct tok_cut){b, e};
}

static void swap(struct tok_work *a, struct tok_work *b)
{
    struct tok_work t = *a;
    *a = *b;
    *b = t;
}

/* ---- the kinds ---------------------------------------------------------------------------- */

/* Puts cp down as the reference's transform does: an inserted character has the place of the byte before, any other the
 * place of the first character it replaces. *at walks over src. */
static void put_changed(struct tok_work *dst, const struct tok_work *src, int64_t *at, struct uni_cp cp)
{
    char u[4];
    uint32_t c, from = 0, to = 0;
    int n = utf8_encode(cp.c, u);
    if (src->align && cp.change > 0 && *at > 0)
        from = src->from[*at - 1], to = src->to[*at - 1];
    if (src->align && cp.change <= 0 && *at < src->n)
        from = src->from[*at], to = src->to[*at];
    tok_work_add(dst, u, n, from, to);
    for (int32_t k = cp.change; k <= 0 && *at < src->n; k++)
        *at += utf8_decode((struct str){src->p, src->n}, *at, &c);
}

/* One stretch of src, as uni_next_change gives it. */
static void stretch_to_form(struct tok_work *dst, const struct tok_work *src, int64_t b, int64_t e, enum uni_form form)
{
    enum { FEW = 32 };
    uint32_t few[FEW], *in = few;
    struct uni_cp few_out[FEW * 18], *out = few_out;
    int64_t n = 0, at = b;
    if (e - b > FEW) {
        in = malloc((size_t)(e - b) * sizeof *in);
        out = malloc((size_t)uni_form_room(e - b) * sizeof *out);
        if (!in || !out)
            BUG("out of memory to normalize %lld bytes", (long long)(e - b));
    }
    for (int64_t i = b; i < e; n++)
        i += uni_next(src->p + i, &in[n]);
    int64_t m = uni_to_form(in, n, form, out);
    for (int64_t i = 0; i < m; i++)
        put_changed(dst, src, &at, out[i]);
    if (in != few) {
        free(in);
        free(out);
    }
}

static void to_form(struct tok_work *w, struct tok_work *tmp, enum uni_form form)
{
    struct str s = {w->p, w->n};
    int64_t done = 0, b, e;
    if (!uni_next_change(s, form, 0, &b, &e))
        return;
    tok_work_begin(tmp, w->align);
    do {
        tok_work_copy(tmp, w, done, b);
        stretch_to_form(tmp, w, b, e, form);
        done = e;
    } while (uni_next_change(s, form, done, &b, &e));
    tok_work_copy(tmp, w, done, w->n);
    swap(w, tmp);
}

static void lower(struct tok_work *w, struct tok_work *tmp)
{
    int64_t at = 0;
    tok_work_begin(tmp, w->align);
    for (int64_t i = 0; i < w->n;) {
        uint32_t c, out[3];
        i += utf8_decode((struct str){w->p, w->n}, i, &c);
        int n = uni_lower(c, out);
        for (int k = 0; k < n; k++)
            put_changed(tmp, w, &at, (struct uni_cp){out[k], k > 0});
    }
    swap(w, tmp);
}

static int64_t space_at(struct str s, int64_t at)
{
    uint32_t c;
    int n = utf8_decode(s, at, &c);
    return n && uni_is_space(c) ? n : 0;
}

static int64_t space_before(struct str s, int64_t at)
{
    uint32_t c;
    int64_t b = at;
    while (b > 0 && ((unsigned char)s.p[--b] & 0xC0) == 0x80)
        ;
    return at > 0 && utf8_decode(s, b, &c) && uni_is_space(c) ? at - b : 0;
}

static void strip(struct tok_work *w, struct tok_work *tmp, int left, int right)
{
    struct str s = {w->p, w->n};
    int64_t b = 0, e = w->n, k;
    while (left && (k = space_at(s, b)))
        b += k;
    while (right && e > b && (k = space_before(s, e)))
        e -= k;
    if (b == 0 && e == w->n)
        return;
    tok_work_begin(tmp, w->align);
    tok_work_copy(tmp, w, b, e);
    swap(w, tmp);
}

static void put_replacement(struct tok_work *dst, const struct tok_work *src, int64_t end, struct str with)
{
    int there = src->align && end > 0;
    tok_work_add(dst, with.p, with.n, there ? src->from[end - 1] : 0, there ? src->to[end - 1] : 0);
}

static void replace_text(struct tok_work *w, struct tok_work *tmp, struct str what, struct str with)
{
    struct str s = {w->p, w->n};
    int64_t at = 0, hit = what.n ? str_find(s, what, 0) : -1;
    if (hit < 0)
        return;
    tok_work_begin(tmp, w->align);
    for (; hit >= 0; hit = str_find(s, what, at)) {
        tok_work_copy(tmp, w, at, hit);
        at = hit + what.n;
        put_replacement(tmp, w, at, with);
    }
    tok_work_copy(tmp, w, at, w->n);
    swap(w, tmp);
}

static err_code replace_re(const struct tok_norm *f, struct tok_re_run *re, struct tok_work *w, struct tok_work *tmp, struct err *e)
{
    struct tok_re_at it = {0};
    struct str s = {w->p, w->n};
    int64_t at = 0, b, end;
    int found;
    if (w->n == 0)
        return ERR_OK;
    tok_work_begin(tmp, w->align);
    for (;;) {
        TRY(tok_re_next(f->re, re, s, &it, &b, &end, &found, e));
        if (!found)
            break;
        tok_work_copy(tmp, w, at, b);
        put_replacement(tmp, w, end, f->with);
        at = end;
    }
    tok_work_copy(tmp, w, at, w->n);
    swap(w, tmp);
    return ERR_OK;
}

static void prepend(struct tok_work *w, struct tok_work *tmp, struct str with)
{
    if (w->n == 0 || with.n == 0)
        return;
    uint32_t c;
    int n = utf8_decode((struct str){w->p, w->n}, 0, &c);
    tok_work_begin(tmp, w->align);
    tok_work_add(tmp, with.p, with.n, w->align ? w->from[0] : 0, w->align ? w->to[n - 1] : 0);
    tok_work_copy(tmp, w, 0, w->n);
    swap(w, tmp);
}

err_code tok_normalize(const struct tok *t, struct tok_re_run *re, struct tok_work *w, struct tok_work *tmp, struct err *e)
{
    for (int i = 0; i < t->n_norm; i++) {
        const struct tok_norm *f = &t->norm[i];
        switch (f->kind) {
        case TOK_NORM_FORM: to_form(w, tmp, f->form); break;
        case TOK_NORM_LOWER: lower(w, tmp); break;
        case TOK_NORM_STRIP: strip(w, tmp, f->left, f->right); break;
        case TOK_NORM_REPLACE: replace_text(w, tmp, f->what, f->with); break;
        case TOK_NORM_REPLACE_RE: TRY(replace_re(f, re, w, tmp, e)); break;
        case TOK_NORM_PREPEND: prepend(w, tmp, f->with); break;
        }
    }
    return ERR_OK;
}

/* ---- reading ------------------------------------------------------------------------------ */

static err_code read_replace(struct tok *t, const json_t *v, struct tok_norm *f, struct err *e)
{
    json_t *pattern = json_object_get(v, "pattern");
    struct str what = {NULL, 0}, with = {NULL, 0};
    TRY(json_need_str(v, "content", &with, e));
    f->with = tok_keep(t, with);
    if (json_object_get(pattern, "String")) {
        f->kind = TOK_NORM_REPLACE;
        TRY(json_need_str(pattern, "String", &what, e));
        f->what = tok_keep(t, what);
        return ERR_OK;
    }
    f->kind = TOK_NORM_REPLACE_RE;
    TRY(json_need_str(pattern, "Regex", &what, e));
    return tok_re_new(what, &f->re, e);
}

static err_code read_norm(struct tok *t, const json_t *v, int depth, struct err *e)
{
    static const char *const forms[] = {[UNI_NFC] = "NFC", [UNI_NFD] = "NFD", [UNI_NFKC] = "NFKC", [UNI_NFKD] = "NFKD"};
    enum { MAX = 64 };
    struct str type = {NULL, 0};
    if (depth > 8)
        return err_set(e, ERR_LIMIT, "normalizers are nested too deep");
    TRY(json_need_str(v, "type", &type, e));
    if (str_eq(type, STR("Sequence"))) {
        size_t i;
        json_t *item;
        json_array_foreach(json_object_get(v, "normalizers"), i, item)
            TRY(read_norm(t, item, depth + 1, e));
        return ERR_OK;
    }
    if (!t->norm)
        t->norm = ARENA_NEW(&t->mem, struct tok_norm, MAX);
    if (t->n_norm == MAX)
        return err_set(e, ERR_LIMIT, "more than %d normalizers", MAX);
    struct tok_norm *f = &t->norm[t->n_norm];
    for (int k = 0; k < 4; k++)
        if (str_eq(type, str_of(forms[k]))) {
            *f = (struct tok_norm){.kind = TOK_NORM_FORM, .form = (enum uni_form)k};
            return t->n_norm++, ERR_OK;
        }
    if (str_eq(type, STR("Lowercase"))) {
        f->kind = TOK_NORM_LOWER;
    } else if (str_eq(type, STR("Strip"))) {
        *f = (struct tok_norm){.kind = TOK_NORM_STRIP, .left = 1, .right = 1};
        TRY(json_opt_bool(v, "strip_left", &f->left, e));
        TRY(json_opt_bool(v, "strip_right", &f->right, e));
    } else if (str_eq(type, STR("Replace"))) {
        TRY(read_replace(t, v, f, e));
    } else if (str_eq(type, STR("Prepend"))) {
        struct str with = {NULL, 0};
        f->kind = TOK_NORM_PREPEND;
        TRY(json_need_str(v, "prepend", &with, e));
        f->with = tok_keep(t, with);
    } else {
        return err_set(e, ERR_UNSUPPORTED, "normalizer \"%.*s\" is not supported", STR_ARG(type));
    }
    t->n_norm++;
    return ERR_OK;
}

err_code tok_open_norm(struct tok *t, const json_t *v, struct err *e)
{
    return !v || json_is_null(v) ? ERR_OK : read_norm(t, v, 0, e);
}
