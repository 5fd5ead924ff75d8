/* Pre-tokenizers, the general way: every stage as the reference library runs it. The fast ways for known stages are the
 * scanners; this file is what they are compared with. */
#include <stdlib.h>

#include "core/json.h"
#include "text/tok.h"
#include "text/tok_patterns.h"
#include "text/tok_scan.h"


/* ---- matches to pieces -------------------------------------------------------------------- */

struct match {
    int64_t b, e;
    int hit;
};
struct matches {
    struct match *p;
    int64_t n, cap;
};

static void add_match(struct matches *m, int64_t b, int64_t e, int hit)
{
    m->p = tok_grow(m->p, &m->cap, m->n + 1, sizeof *m->p);
    m->p[m->n++] = (struct match){b, e, hit};
}

/* Matches and the gaps between them, over all of s. */
static void add_hit(struct matches *m, int64_t *at, int64_t b, int64_t e)
{
    if (*at != b)
        add_match(m, *at, b, 0);
    add_match(m, b, e, 1);
    *at = e;
}

static void add_rest(struct matches *m, int64_t at, int64_t n)
{
    if (at != n)
        add_match(m, at, n, 0);
}

/* Joins neighbours where the behaviour says so, in place. */
static void join(struct matches *m, enum tok_behavior how)
{
    int64_t n = 0;
    int before = 0; /* was the last one a hit? */
    if (how == TOK_MERGED_NEXT) {
        /* From the right: a hit takes in what follows it. */
        int64_t w = m->n;
        for (int64_t i = m->n - 1; i >= 0; i--) {
            struct match x = m->p[i];
            if (x.hit && !before && w < m->n)
                m->p[w].b = x.b;
            else
                m->p[--w] = x;
            before = x.hit;
        }
        memmove(m->p, m->p + w, (size_t)(m->n - w) * sizeof *m->p);
        m->n -= w;
        return;
    }
    for (int64_t i = 0; i < m->n; i++) {
        struct match x = m->p[i];
        int take = how == TOK_CONTIGUOUS ? x.hit == before : x.hit && !before;
        if (take && n > 0)
            m->p[n - 1].e = x.e;
        else
            m->p[n++] = x;
        before = x.hit;
    }
    m->n = n;
}

static void put_pieces(struct matches *m, const struct tok_pre *f, int64_t base, struct tok_work *out)
{
    for (int64_t i = 0; f->invert && i < m->n; i++)
        m->p[i].hit = !m->p[i].hit;
    if (f->behavior != TOK_ISOLATED && f->behavior != TOK_REMOVED)
        join(m, f->behavior);
    for (int64_t i = 0; i < m->n; i++)
        if (!(f->behavior == TOK_REMOVED && m->p[i].hit))
            tok_work_cut(out, base + m->p[i].b, base + m->p[i].e);
}

static err_code match_re(const struct tok_re *re, struct tok_re_run *run, struct str s, struct matches *m, struct err *e)
{
    struct tok_re_at it = {0};
    int64_t at = 0, b, end;
    int found;
    for (;;) {
        TRY(tok_re_next(re, run, s, &it, &b, &end, &found, e));
        if (!found)
            break;
        add_hit(m, &at, b, end);
    }
    add_rest(m, at, s.n);
    return ERR_OK;
}

static void match_text(struct str what, struct str s, struct matches *m)
{
    int64_t at = 0;
    for (int64_t hit; what.n && (hit = str_find(s, what, at)) >= 0;)
        add_hit(m, &at, hit, hit + what.n);
    add_rest(m, at, s.n);
}

static int char_is(const struct tok_pre *f, uint32_t c)
{
    switch (f->chars) {
    case TOK_CHARS_DIGIT: return uni_in(c, UNI_N);
    case TOK_CHARS_PUNCT: return uni_is_punct(c);
    case TOK_CHARS_SPACE: return uni_is_space(c);
    case TOK_CHARS_ONE: return c == f->ch;
    case TOK_CHARS_WORD_RUN: break;
    }
    return 0;
}

/* Runs of word characters and runs of what is neither word nor space: Rust's \w, which is not Oniguruma's. */
static void match_word_runs(struct str s, struct matches *m)
{
    int64_t at = 0, begin = 0;
    int kind = 0;
    for (int64_t i = 0; i <= s.n;) {
        uint32_t c = 0;
        int n = i < s.n ? utf8_decode(s, i, &c) : 1;
        int k = i == s.n || uni_is_space(c) ? 0 : uni_is_word(c) ? 1 : 2;
        if (k != kind) {
            if (kind)
                add_hit(m, &at, begin, i);
            begin = i;
            kind = k;
        }
        i += n;
    }
    add_rest(m, at, s.n);
}

static void match_chars(const struct tok_pre *f, struct str s, struct matches *m)
{
    int64_t at = 0;
    if (f->chars == TOK_CHARS_WORD_RUN) {
        match_word_runs(s, m);
        return;
    }
    for (int64_t i = 0; i < s.n;) {
        uint32_t c;
        int n = utf8_decode(s, i, &c);
        if (char_is(f, c))
            add_hit(m, &at, i, i + n);
        i += n;
    }
    add_rest(m, at, s.n);
}

/* ---- stages ------------------------------------------------------------------------------- */

/* Cuts each piece of w again; the text stays. tmp only holds the new cuts. */
static err_code split(const struct tok_pre *f, struct tok_re_run *re, struct tok_work *w, struct tok_work *tmp, struct err *e)
{
    struct matches m = {0};
    err_code rc = ERR_OK;
    tmp->n_cuts = 0;
    for (int64_t i = 0; i < w->n_cuts && rc == ERR_OK; i++) {
        struct str s = {w->p + w->cut[i].b, w->cut[i].e - w->cut[i].b};
        m.n = 0;
        if (f->kind == TOK_PRE_SPLIT || f->kind == TOK_PRE_BYTES)
            rc = match_re(f->re, re, s, &m, e);
        else if (f->kind == TOK_PRE_SPLIT_TEXT)
            match_text(f->pattern, s, &m);
        else
            match_chars(f, s, &m);
        if (rc == ERR_OK)
            put_pieces(&m, f, w->cut[i].b, tmp);
    }
    free(m.p);
    if (rc != ERR_OK)
        return rc;
    struct tok_cut *cut = w->cut;
    int64_t cap = w->cap_cuts;
    w->cut = tmp->cut, w->cap_cuts = tmp->cap_cuts, w->n_cuts = tmp->n_cuts;
    tmp->cut = cut, tmp->cap_cuts = cap, tmp->n_cuts = 0;
    return ERR_OK;
}

static void swap(struct tok_work *a, struct tok_work *b)
{
    struct tok_work t = *a;
    *a = *b;
    *b = t;
}

static void put_before(struct tok_work *dst, const struct tok_work *src, struct tok_cut c, struct str what)
{
    uint32_t cp;
    int n = utf8_decode((struct str){src->p, src->n}, c.b, &cp);
    tok_work_add(dst, what.p, what.n, src->align ? src->from[c.b] : 0, src->align ? src->to[c.b + n - 1] : 0);
}

/* A space in front of each piece that does not begin with one. */
static void prefix_space(struct tok_work *w, struct tok_work *tmp)
{
    tok_work_begin(tmp, w->align);
    for (int64_t i = 0; i < w->n_cuts; i++) {
        struct tok_cut c = w->cut[i];
        int64_t b = tmp->n;
        if (w->p[c.b] != ' ')
            put_before(tmp, w, c, STR(" "));
        tok_work_copy(tmp, w, c.b, c.e);
        tok_work_cut(tmp, b, tmp->n);
    }
    swap(w, tmp);
}

static void map_bytes(struct tok_work *w, struct tok_work *tmp)
{
    tok_work_begin(tmp, w->align);
    for (int64_t i = 0; i < w->n_cuts; i++) {
        int64_t b = tmp->n;
        for (int64_t k = w->cut[i].b; k < w->cut[i].e; k++) {
            char u[4];
            int n = utf8_encode(tok_byte_char((unsigned char)w->p[k]), u);
            tok_work_add(tmp, u, n, w->align ? w->from[k] : 0, w->align ? w->to[k] : 0);
        }
        tok_work_cut(tmp, b, tmp->n);
    }
    swap(w, tmp);
}

static err_code byte_level(const struct tok_pre *f, struct tok_re_run *re, struct tok_work *w, struct tok_work *tmp, struct err *e)
{
    if (f->prefix_space)
        prefix_space(w, tmp);
    if (f->use_regex)
        TRY(split(f, re, w, tmp, e));
    if (f->map)
        map_bytes(w, tmp);
    return ERR_OK;
}

static int starts_at(const struct tok_work *w, struct tok_cut c, struct str s)
{
    return c.e - c.b >= s.n && !memcmp(w->p + c.b, s.p, (size_t)s.n);
}

static void metaspace(const struct tok_pre *f, struct tok_work *w, struct tok_work *tmp, int64_t gap_begin)
{
    tok_work_begin(tmp, w->align);
    for (int64_t i = 0; i < w->n_cuts; i++) {
        struct tok_cut c = w->cut[i];
        int64_t b = tmp->n, origin = c.b == 0 && i == 0 ? gap_begin : w->align ? (int64_t)w->from[c.b] : -1;
        int has = starts_at(w, c, f->rep) || w->p[c.b] == ' ';
        if (!has && (f->prepend == TOK_PREPEND_ALWAYS || (f->prepend == TOK_PREPEND_FIRST && origin == 0)))
            put_before(tmp, w, c, f->rep);
        for (int64_t k = c.b; k < c.e; k++) {
            if (w->p[k] == ' ')
                tok_work_add(tmp, f->rep.p, f->rep.n, w->align ? w->from[k] : 0, w->align ? w->to[k] : 0);
            else
                tok_work_copy(tmp, w, k, k + 1);
        }
        if (!f->split) {
            tok_work_cut(tmp, b, tmp->n);
            continue;
        }
        struct matches m = {0};
        struct tok_pre by_rep = {.behavior = TOK_MERGED_NEXT};
        match_text(f->rep, (struct str){tmp->p + b, tmp->n - b}, &m);
        put_pieces(&m, &by_rep, b, tmp);
        free(m.p);
    }
    swap(w, tmp);
}

err_code tok_pretokenize(const struct tok *t, struct tok_re_run *re, struct tok_work *w, struct tok_work *tmp, int64_t gap_begin, struct err *e)
{
    w->n_cuts = 0;
    tok_work_cut(w, 0, w->n);
    for (int i = 0; i < t->n_pre; i++) {
        const struct tok_pre *f = &t->pre[i];
        switch (f->kind) {
        case TOK_PRE_SPLIT:
        case TOK_PRE_SPLIT_TEXT:
        case TOK_PRE_CHARS: TRY(split(f, re, w, tmp, e)); break;
        case TOK_PRE_BYTES: TRY(byte_level(f, re, w, tmp, e)); break;
        case TOK_PRE_METASPACE: metaspace(f, w, tmp, gap_begin); break;
        }
    }
    return ERR_OK;
}

/* ---- reading ------------------------------------------------------------------------------ */

static err_code read_behavior(const json_t *v, enum tok_behavior *out, struct err *e)
{
    static const char *const names[] = {"Isolated", "Removed", "Contiguous", "MergedWithPrevious", "MergedWithNext"};
    struct str s = {NULL, 0};
    TRY(json_opt_str(v, "behavior", &s, e));
    for (int i = 0; s.p && i < 5; i++)
        if (str_eq(s, str_of(names[i])))
            return *out = (enum tok_behavior)i, ERR_OK;
    return s.p ? err_set(e, ERR_UNSUPPORTED, "behavior \"%.*s\" is not supported", STR_ARG(s)) : ERR_OK;
}

static err_code read_split(struct tok *t, const json_t *v, struct tok_pre *f, struct err *e)
{
    json_t *pattern = json_object_get(v, "pattern");
    struct str s = {NULL, 0};
    TRY(read_behavior(v, &f->behavior, e));
    TRY(json_opt_bool(v, "invert", &f->invert, e));
    if (json_object_get(pattern, "String")) {
        f->kind = TOK_PRE_SPLIT_TEXT;
        TRY(json_need_str(pattern, "String", &s, e));
    } else {
        f->kind = TOK_PRE_SPLIT;
        TRY(json_need_str(pattern, "Regex", &s, e));
    }
    f->pattern = tok_keep(t, s);
    return ERR_OK;
}

static err_code read_byte_level(const json_t *v, struct tok_pre *f, struct err *e)
{
    *f = (struct tok_pre){.kind = TOK_PRE_BYTES, .prefix_space = 1, .use_regex = 1};
    TRY(json_opt_bool(v, "add_prefix_space", &f->prefix_space, e));
    TRY(json_opt_bool(v, "use_regex", &f->use_regex, e));
    f->pattern = STR(TOK_RE_GPT2);
    return ERR_OK;
}

static err_code read_metaspace(struct tok *t, const json_t *v, struct tok_pre *f, struct err *e)
{
    static const char *const schemes[] = {"always", "first", "never"};
    struct str rep = STR("\xE2\x96\x81"), scheme = {NULL, 0};
    int prefix = 1;
    *f = (struct tok_pre){.kind = TOK_PRE_METASPACE, .split = 1};
    TRY(json_opt_str(v, "replacement", &rep, e));
    TRY(json_opt_str(v, "prepend_scheme", &scheme, e));
    TRY(json_opt_bool(v, "add_prefix_space", &prefix, e)); /* files older than prepend_scheme */
    TRY(json_opt_bool(v, "split", &f->split, e));
    f->rep = tok_keep(t, rep);
    f->prepend = prefix ? TOK_PREPEND_ALWAYS : TOK_PREPEND_NEVER;
    for (int i = 0; scheme.p && i < 3; i++)
        if (str_eq(scheme, str_of(schemes[i])))
            return f->prepend = (enum tok_prepend)i, ERR_OK;
    return scheme.p ? err_set(e, ERR_UNSUPPORTED, "prepend_scheme \"%.*s\" is not supported", STR_ARG(scheme)) : ERR_OK;
}

static err_code read_chars(const json_t *v, struct str type, struct tok_pre *f, int *known, struct err *e)
{
    int individual = 0;
    *known = 1;
    f->kind = TOK_PRE_CHARS;
    if (str_eq(type, STR("Digits"))) {
        f->chars = TOK_CHARS_DIGIT;
        TRY(json_opt_bool(v, "individual_digits", &individual, e));
        f->behavior = individual ? TOK_ISOLATED : TOK_CONTIGUOUS;
    } else if (str_eq(type, STR("Punctuation"))) {
        f->chars = TOK_CHARS_PUNCT;
        TRY(read_behavior(v, &f->behavior, e));
    } else if (str_eq(type, STR("WhitespaceSplit"))) {
        f->chars = TOK_CHARS_SPACE;
        f->behavior = TOK_REMOVED;
    } else if (str_eq(type, STR("Whitespace"))) {
        f->chars = TOK_CHARS_WORD_RUN;
        f->behavior = TOK_REMOVED;
        f->invert = 1;
    } else if (str_eq(type, STR("CharDelimiterSplit"))) {
        struct str d = {NULL, 0};
        f->chars = TOK_CHARS_ONE;
        f->behavior = TOK_REMOVED;
        TRY(json_need_str(v, "delimiter", &d, e));
        if (utf8_decode(d, 0, &f->ch) != d.n)
            return err_set(e, ERR_DATA, "delimiter \"%.*s\" is not one character", STR_ARG(d));
    } else {
        *known = 0;
    }
    return ERR_OK;
}

static err_code read_pre(struct tok *t, const json_t *v, int depth, struct err *e)
{
    enum { MAX = 64 };
    struct str type = {NULL, 0};
    if (depth > 8)
        return err_set(e, ERR_LIMIT, "pre-tokenizers are nested too deep");
    TRY(json_need_str(v, "type", &type, e));
    if (str_eq(type, STR("Sequence"))) {
        size_t i;
        json_t *item;
        json_array_foreach(json_object_get(v, "pretokenizers"), i, item)
            TRY(read_pre(t, item, depth + 1, e));
        return ERR_OK;
    }
    if (!t->pre)
        t->pre = ARENA_NEW(&t->mem, struct tok_pre, MAX);
    if (t->n_pre == MAX)
        return err_set(e, ERR_LIMIT, "more than %d pre-tokenizers", MAX);
    struct tok_pre *f = &t->pre[t->n_pre];
    int known;
    t->n_pre++; /* counted first: what it holds is released even when reading it fails */
    if (str_eq(type, STR("Split")))
        return read_split(t, v, f, e);
    if (str_eq(type, STR("ByteLevel")))
        return read_byte_level(v, f, e);
    if (str_eq(type, STR("Metaspace")))
        return read_metaspace(t, v, f, e);
    TRY(read_chars(v, type, f, &known, e));
    return known ? ERR_OK : err_set(e, ERR_UNSUPPORTED, "pre-tokenizer \"%.*s\" is not supported", STR_ARG(type));
}

/* The patterns, for the general engine; a scanner does without. */
err_code tok_pre_compile(struct tok *t, struct err *e)
{
    for (int i = 0; i < t->n_pre; i++) {
        struct tok_pre *f = &t->pre[i];
        if (!f->re && (f->kind == TOK_PRE_SPLIT || (f->kind == TOK_PRE_BYTES && f->use_regex)))
            TRY(tok_re_new(f->pattern, &f->re, e));
    }
    return ERR_OK;
}

err_code tok_open_pre(struct tok *t, const json_t *v, struct err *e)
{
    if (!v || json_is_null(v))
        return ERR_OK;
    TRY(read_pre(t, v, 0, e));
    int byte_levels = 0;
    for (int i = 0; i < t->n_pre; i++) {
        if (t->pre[i].kind == TOK_PRE_METASPACE && byte_levels)
            return err_set(e, ERR_UNSUPPORTED, "Metaspace behind ByteLevel is not supported");
        if (t->pre[i].kind != TOK_PRE_BYTES)
            continue;
        if (byte_levels++)
            return err_set(e, ERR_UNSUPPORTED, "two ByteLevel pre-tokenizers are not supported");
        t->pre[i].map = i + 1 < t->n_pre;
    }
    t->scanner = (int)tok_scan_for(t->pre, t->n_pre);
    return t->scanner == TOK_SCAN_NONE ? tok_pre_compile(t, e) : ERR_OK;
}
