/* Text to ids: added tokens, normalizer, added tokens again, pre-tokenizer, BPE, post-processor. */
#include <stdlib.h>

#include "core/par.h"
#include "text/tok_scan.h"
#include "text/tok_words.h"

struct tok_enc {
    const struct tok *t;
    struct tok_re_run *re;
    struct tok_work w, tmp;
    struct tok_segs raw, normed;
    struct bpe_scratch bpe;
    struct tok_words words;
    /* of the text in hand */
    const struct tok_text *in;
    struct tok_ids *out;
    int align;
    int ascii;             /* all of it is */
    int tells_bytes;       /* ids_tell_bytes of the tokenizer */
    int64_t gap;           /* where the gap in hand begins */
    tok_piece_fn *fn;
    void *ctx;
};

/* 1 when ids alone tell how many bytes each token covers: every byte is a symbol and no token is spelled with more than it covers. */
static int ids_tell_bytes(const struct tok *t)
{
    int all = t->im.byte_level && t->prefix.n == 0 && t->suffix.n == 0;
    for (int b = 0; b < 256; b++)
        all &= t->im.byte_id[b] != ~0u;
    return all;
}

err_code tok_enc_new(const struct tok *t, struct tok_enc **out, struct err *e)
{
    struct tok_enc *enc = calloc(1, sizeof *enc);
    if (!enc)
        return err_set(e, ERR_LIMIT, "out of memory for an encoder");
    enc->t = t;
    enc->tells_bytes = ids_tell_bytes(t);
    enc->re = tok_re_run_new();
    if (t->scanner != TOK_SCAN_NONE || t->apart)
        tok_words_init(&enc->words, t);
    *out = enc;
    return ERR_OK;
}

void tok_enc_free(struct tok_enc *enc)
{
    if (!enc)
        return;
    tok_re_run_free(enc->re);
    tok_work_release(&enc->w);
    tok_work_release(&enc->tmp);
    free(enc->raw.p);
    free(enc->normed.p);
    bpe_release(&enc->bpe);
    tok_words_release(&enc->words);
    free(enc);
}

int64_t tok_enc_memory(const struct tok_enc *enc)
{
    const struct tok_work *w[] = {&enc->w, &enc->tmp};
    int64_t n = (int64_t)sizeof *enc + (enc->raw.cap + enc->normed.cap) * (int64_t)sizeof *enc->raw.p;
    for (int i = 0; i < 2; i++)
        n += w[i]->cap + w[i]->cap_align * 8 + w[i]->cap_cuts * (int64_t)sizeof *w[i]->cut;
    n += tok_words_memory(&enc->words);
    return n + enc->bpe.cap * (int64_t)sizeof *enc->bpe.sym + enc->bpe.cap_links * 8 + enc->bpe.cap_start * 8 + enc->bpe.cap_first * 4 + enc->bpe.cap_heap * 8 + enc->bpe.cap_bytes +
           (enc->bpe.part ? BPE_PARTS * (int64_t)sizeof *enc->bpe.part : 0);
}

void tok_ids_release(struct tok_ids *ids)
{
    free(ids->id);
    free(ids->begin);
    free(ids->end);
    *ids = (struct tok_ids){0};
}

/* ---- putting down ------------------------------------------------------------------------- */

static void put_id(struct tok_ids *out, int offsets, int32_t id, int64_t b, int64_t e)
{
    out->id = tok_grow(out->id, &out->cap, out->n + 1, sizeof *out->id);
    if (offsets) {
        int64_t cap = out->cap_offsets;
        out->begin = tok_grow(out->begin, &cap, out->n + 1, sizeof *out->begin);
        out->end = tok_grow(out->end, &out->cap_offsets, out->n + 1, sizeof *out->end);
        out->begin[out->n] = b;
        out->end[out->n] = e;
    }
    out->id[out->n++] = id;
}

static void put_added(struct tok_enc *enc, int32_t token, int64_t b, int64_t e)
{
    int32_t id = enc->t->added[token].id;
    put_id(enc->out, enc->in->offsets, id, b, e);
    if (enc->fn)
        enc->fn(enc->ctx, &(struct tok_piece){.begin = b, .end = e, .id = &id, .n = 1, .added = 1});
}

/* Original bytes of w[b, e). */
static void origin(const struct tok_enc *enc, int64_t b, int64_t e, int64_t *from, int64_t *to)
{
    *from = *to = 0;
    if (enc->w.align && e > b) {
        *from = enc->w.from[b];
        *to = enc->w.to[e - 1];
    }
}

/* Bytes of the text that a token of the vocabulary stands for. */
static int64_t covers(const struct tok *t, int32_t id)
{
    struct str s = tok_im_text(&t->im, id);
    if (!t->apart || s.n != 6 || s.p[0] != '<')
        return s.n;
    for (int b = 0; b < 256; b++)
        if (t->fallback[b] == (uint32_t)id)
            return 1;
    return s.n;
}

/* Places of the tokens out->id[first ..) that stand side by side from enc->w's byte b on. */
static void put_origins(struct tok_enc *enc, int64_t first, int64_t b)
{
    struct tok_ids *out = enc->out;
    int64_t cap = out->cap_offsets;
    out->begin = tok_grow(out->begin, &cap, out->n, sizeof *out->begin);
    out->end = tok_grow(out->end, &out->cap_offsets, out->n, sizeof *out->end);
    for (int64_t i = first; i < out->n; i++) {
        int64_t e = b + covers(enc->t, out->id[i]);
        origin(enc, b, e, &out->begin[i], &out->end[i]);
        b = e;
    }
}

/* Where the word at s[b] ends: before a mark that no token has behind the byte in front of it. */
static int64_t word_end(const struct tok *t, struct str s, int64_t b)
{
    for (int64_t at = b + 1; at < s.n; at++) {
        const char *p = memchr(s.p + at, TOK_MARK[0], (size_t)(s.n - at));
        if (!p)
            break;
        at = p - s.p;
        if (at + 3 <= s.n && !memcmp(p, TOK_MARK, 3) && !t->joined[(unsigned char)s.p[at - 1]])
            return at;
    }
    return s.n;
}

/* A piece of a tokenizer by character, as words. */
static void put_words(struct tok_enc *enc, struct tok_cut c)
{
    struct str s = {enc->w.p + c.b, c.e - c.b};
    int64_t end[TOK_MAX_BATCH];
    struct tok_run run = {.p = s.p, .n = s.n, .end = end};
    while (run.b < s.n) {
        int64_t first = enc->out->n, at = run.b;
        for (run.k = 0; run.k < TOK_MAX_BATCH && at < s.n; run.k++)
            end[run.k] = at = word_end(enc->t, s, at);
        tok_words_encode(&enc->words, enc->t, &enc->bpe, &run, enc->out);
        if (enc->in->offsets)
            put_origins(enc, first, c.b + run.b);
        run.b = at;
    }
}

static void put_piece(struct tok_enc *enc, struct tok_cut c)
{
    if (enc->t->apart && !enc->fn) {
        put_words(enc, c);
        return;
    }
    struct bpe_scratch *s = &enc->bpe;
    int64_t at = c.b, first = enc->out->n, from, to;
    bpe_word(enc->t, (struct str){enc->w.p + c.b, c.e - c.b}, s);
    for (int64_t i = 0; i < s->n; i++) {
        int64_t end = at + s->sym[i].len < c.e ? at + s->sym[i].len : c.e;
        origin(enc, at, end, &from, &to);
        put_id(enc->out, enc->in->offsets, (int32_t)s->sym[i].id, from, to);
        at = end;
    }
    if (enc->fn) {
        origin(enc, c.b, c.e, &from, &to);
        enc->fn(enc->ctx, &(struct tok_piece){.begin = from, .end = to, .id = enc->out->id + first, .n = enc->out->n - first});
    }
}

/* ---- stages ------------------------------------------------------------------------------- */

static int is_mapped(const struct tok *t)
{
    for (int i = 0; i < t->n_pre; i++)
        if (t->pre[i].map)
            return 1;
    return 0;
}

/* Pieces of the byte alphabet back to bytes. */
static void unmap(struct tok_enc *enc)
{
    struct tok_work *w = &enc->w, *tmp = &enc->tmp;
    tok_work_begin(tmp, w->align);
    for (int64_t i = 0; i < w->n_cuts; i++) {
        int64_t b = tmp->n;
        for (int64_t k = w->cut[i].b; k < w->cut[i].e;) {
            uint32_t c;
            int64_t at = k;
            k += utf8_decode((struct str){w->p, w->n}, k, &c);
            char byte = (char)tok_char_byte(c);
            tok_work_add(tmp, &byte, 1, w->align ? w->from[at] : 0, w->align ? w->to[at] : 0);
        }
        tok_work_cut(tmp, b, tmp->n);
    }
    struct tok_work t = *w;
    *w = *tmp;
    *tmp = t;
}

/* ---- the fast way ------------------------------------------------------------------------- */

/* Offsets of the tokens out->id[first ..) that stand side by side from original byte b on: whole characters. */
static void put_offsets(struct tok_enc *enc, struct str text, int64_t first, int64_t b)
{
    struct tok_ids *out = enc->out;
    int64_t cap = out->cap_offsets;
    out->begin = tok_grow(out->begin, &cap, out->n, sizeof *out->begin);
    out->end = tok_grow(out->end, &out->cap_offsets, out->n, sizeof *out->end);
    for (int64_t i = first; i < out->n; i++) {
        int64_t e = b + tok_im_text(&enc->t->im, out->id[i]).n, from = b, to = e;
        while (from > 0 && ((unsigned char)text.p[from] & 0xC0) == 0x80)
            from--;
        while (to < text.n && ((unsigned char)text.p[to] & 0xC0) == 0x80)
            to++;
        out->begin[i] = from;
        out->end[i] = to;
        b = e;
    }
}

/* s[b, e) in pieces by the scanner. s is the text itself, or what is in enc->w: then places are looked up there. */
static void scan_gap(struct tok_enc *enc, struct str s, int64_t b, int64_t e, int normalized)
{
    int64_t end[TOK_MAX_BATCH], at = 0;
    int batch = enc->fn ? 1 : TOK_MAX_BATCH;
    struct tok_run run = {.p = s.p + b, .n = e - b, .end = end};
    while (at < run.n) {
        int64_t first = enc->out->n, from = b + at, to;
        run.b = at;
        run.k = tok_scan((enum tok_scanner)enc->t->scanner, run.p, run.n, &at, end, batch);
        tok_words_encode(&enc->words, enc->t, &enc->bpe, &run, enc->out);
        if (enc->in->offsets && normalized)
            put_origins(enc, first, from);
        else if (enc->in->offsets)
            put_offsets(enc, s, first, from);
        if (!enc->fn)
            continue;
        to = b + at;
        if (normalized)
            origin(enc, from, to, &from, &to);
        enc->fn(enc->ctx, &(struct tok_piece){.begin = from, .end = to, .id = enc->out->id + first, .n = enc->out->n - first});
    }
}

/* The scanner's pieces of enc->w as cuts, for the slow way. */
static void scan_cuts(struct tok_enc *enc)
{
    int64_t end[TOK_MAX_BATCH], b = 0;
    enc->w.n_cuts = 0;
    for (int64_t at = 0; at < enc->w.n;) {
        int k = tok_scan((enum tok_scanner)enc->t->scanner, enc->w.p, enc->w.n, &at, end, TOK_MAX_BATCH);
        for (int i = 0; i < k; b = end[i++])
            tok_work_cut(&enc->w, b, end[i]);
    }
}

/* enc->w holds a gap after the normalizer, without added tokens. */
static err_code encode_gap(struct tok_enc *enc, int64_t gap_begin, struct err *e)
{
    if (enc->t->scanner != TOK_SCAN_NONE && !(enc->in->offsets && !enc->tells_bytes))
        return scan_gap(enc, (struct str){enc->w.p, enc->w.n}, 0, enc->w.n, 1), ERR_OK;
    if (enc->t->scanner != TOK_SCAN_NONE)
        scan_cuts(enc);
    else
        TRY(tok_pretokenize(enc->t, enc->re, &enc->w, &enc->tmp, gap_begin, e));
    if (is_mapped(enc->t))
        unmap(enc);
    for (int64_t i = 0; i < enc->w.n_cuts; i++)
        put_piece(enc, enc->w.cut[i]);
    return ERR_OK;
}

/* 1 when the normalizer would leave s as it is and a scanner may run over it. */
static int can_scan(const struct tok_enc *enc, struct str s)
{
    const struct tok *t = enc->t;
    if (t->scanner == TOK_SCAN_NONE || (enc->in->offsets && !enc->tells_bytes))
        return 0;
    for (int i = 0; i < t->n_norm; i++)
        if (t->norm[i].kind != TOK_NORM_FORM || !(enc->ascii || uni_is_form(s, t->norm[i].form)))
            return 0;
    return 1;
}

/* 1 when any of the original bytes [b, e) is row data. Spans cover the text in order. */
static int is_plain(const struct tok_text *in, int64_t b, int64_t e)
{
    if (!in->n_spans)
        return in->plain;
    int64_t lo = 0, hi = in->n_spans;
    while (lo < hi) { /* the first span that ends behind b */
        int64_t mid = (lo + hi) / 2;
        if (in->spans[mid].end > b)
            hi = mid;
        else
            lo = mid + 1;
    }
    for (; lo < in->n_spans && in->spans[lo].begin < e; lo++)
        if (in->spans[lo].plain && in->spans[lo].end > b)
            return 1;
    return 0;
}

static int plain_raw(void *ctx, int64_t b, int64_t e)
{
    return is_plain(((const struct tok_enc *)ctx)->in, b, e);
}

static int plain_gap(void *ctx, int64_t b, int64_t e)
{
    const struct tok_enc *enc = ctx;
    return is_plain(enc->in, enc->gap + b, enc->gap + e);
}

static int plain_normed(void *ctx, int64_t b, int64_t e)
{
    int64_t from, to;
    origin(ctx, b, e, &from, &to);
    return is_plain(((const struct tok_enc *)ctx)->in, from, to);
}

/* The second pass of added tokens, then pieces, all on the text itself. */
static void scan_raw_gap(struct tok_enc *enc, int64_t b, int64_t e, int picky)
{
    struct str text = enc->in->text;
    if (enc->t->normed.n == 0) {
        scan_gap(enc, text, b, e, 0);
        return;
    }
    enc->gap = b;
    tok_split_added(enc->t, &enc->t->normed, str_sub(text, b, e), picky ? plain_gap : NULL, enc, &enc->normed);
    for (int64_t i = 0; i < enc->normed.n; i++) {
        struct tok_seg g = enc->normed.p[i];
        if (g.token >= 0)
            put_added(enc, g.token, b + g.b, b + g.e);
        else
            scan_gap(enc, text, b + g.b, b + g.e, 0);
    }
}

static void take(struct tok_enc *enc, int64_t b, int64_t e)
{
    struct tok_work *w = &enc->w;
    struct str s = enc->in->text;
    tok_work_begin(w, enc->align);
    if (!enc->align) {
        tok_work_add(w, s.p + b, e - b, 0, 0);
        return;
    }
    for (int64_t i = b; i < e;) {
        uint32_t c;
        int n = utf8_decode(s, i, &c);
        tok_work_add(w, s.p + i, n, (uint32_t)i, (uint32_t)(i + n));
        i += n;
    }
}

static err_code encode_raw_gap(struct tok_enc *enc, int64_t b, int64_t e, struct err *err)
{
    const struct tok *t = enc->t;
    int picky = enc->in->plain || enc->in->n_spans;
    if (can_scan(enc, str_sub(enc->in->text, b, e)))
        return scan_raw_gap(enc, b, e, picky), ERR_OK;
    take(enc, b, e);
    TRY(tok_normalize(t, enc->re, &enc->w, &enc->tmp, err));
    if (t->normed.n == 0)
        return encode_gap(enc, b, err);
    struct tok_work whole = {0};
    struct tok_segs *segs = &enc->normed;
    tok_split_added(t, &t->normed, (struct str){enc->w.p, enc->w.n}, picky ? plain_normed : NULL, enc, segs);
    if (segs->n == 1 && segs->p[0].token < 0)
        return encode_gap(enc, b, err);
    err_code rc = ERR_OK;
    tok_work_begin(&whole, enc->align);
    tok_work_copy(&whole, &enc->w, 0, enc->w.n);
    for (int64_t i = 0; i < segs->n && rc == ERR_OK; i++) {
        struct tok_seg g = segs->p[i];
        int64_t from = 0, to = 0;
        tok_work_begin(&enc->w, enc->align);
        tok_work_copy(&enc->w, &whole, g.b, g.e);
        origin(enc, 0, g.e - g.b, &from, &to);
        if (g.token >= 0)
            put_added(enc, g.token, from, to);
        else
            rc = encode_gap(enc, enc->align ? from : b + g.b, err);
    }
    tok_work_release(&whole);
    return rc;
}

/* Bytes of the space at s[at], or before it; 0 when there is none. In a token of the byte alphabet only ' ' is one. */
static int64_t space_at(const struct tok *t, int32_t id, struct str s, int64_t at)
{
    uint32_t c;
    if (!tok_is_added(t, id))
        return at < s.n && s.p[at] == ' ';
    int n = utf8_decode(s, at, &c);
    return n && uni_is_space(c) ? n : 0;
}

static int64_t space_before(const struct tok *t, int32_t id, struct str s, int64_t at)
{
    int64_t b = at;
    if (at == 0)
        return 0;
    if (!tok_is_added(t, id))
        return s.p[at - 1] == ' ';
    while (b > 0 && ((unsigned char)s.p[--b] & 0xC0) == 0x80)
        ;
    return space_at(t, id, s, b);
}

/* e less n characters but not below b; e when the text has no n characters before it. */
static int64_t chars_back(struct str s, int64_t e, int64_t n, int64_t b)
{
    int64_t at = e;
    for (; n > 0; n--) {
        if (at == 0)
            return e;
        while (--at > 0 && ((unsigned char)s.p[at] & 0xC0) == 0x80)
            ;
    }
    return at > b ? at : b;
}

/* ByteLevel post-processor with trim_offsets: white space at a token's ends is not counted, one per character as the
 * reference does. Of an added token it looks at the text it took, white space around it included. */
static void trim_offsets(const struct tok *t, struct str text, struct tok_ids *out)
{
    for (int64_t i = 0; i < out->n; i++) {
        int64_t b = out->begin[i], e = out->end[i], lead = 0, trail = 0;
        struct str s = tok_is_added(t, out->id[i]) ? str_sub(text, b, e) : tok_bytes(t, out->id[i]);
        for (int64_t at = 0, k; (k = space_at(t, out->id[i], s, at)) > 0; at += k)
            lead++;
        for (int64_t at = s.n, k; (k = space_before(t, out->id[i], s, at)) > 0; at -= k)
            trail++;
        if (lead == 1 && (i == 0 || b == 0) && t->trim_prefix) /* the space that was put in front; more are the text's own */
            lead = 0;
        for (uint32_t c; lead > 0 && b < e; lead--)
            b += utf8_decode(text, b, &c);
        out->begin[i] = b;
        out->end[i] = chars_back(text, e, trail, b);
    }
}

static int needs_origins(const struct tok *t)
{
    for (int i = 0; i < t->n_pre; i++)
        if (t->pre[i].kind == TOK_PRE_METASPACE && t->pre[i].prepend == TOK_PREPEND_FIRST)
            return 1;
    return 0;
}

static err_code encode(struct tok_enc *enc, const struct tok_text *in, struct tok_ids *out, struct err *e)
{
    const struct tok *t = enc->t;
    struct str s = in->text;
    int picky = in->plain || in->n_spans;
    int64_t bad = tok_utf8_check(s, &enc->ascii);
    if (bad >= 0)
        return err_set(e, ERR_DATA, "not UTF-8 at byte %lld", (long long)bad);
    if (s.n > TOK_MAX_TEXT)
        return err_set(e, ERR_LIMIT, "a text of %lld bytes is too long for the tokenizer", (long long)s.n);
    out->n = 0;
    enc->in = in;
    enc->out = out;
    enc->align = in->offsets || in->n_spans || enc->fn || needs_origins(t);
    tok_split_added(t, &t->raw, s, picky ? plain_raw : NULL, enc, &enc->raw);
    for (int64_t i = 0; i < enc->raw.n; i++) {
        struct tok_seg g = enc->raw.p[i];
        if (g.token >= 0)
            put_added(enc, g.token, g.b, g.e);
        else
            TRY(encode_raw_gap(enc, g.b, g.e, e));
    }
    if (in->offsets && t->trim_offsets)
        trim_offsets(t, s, out);
    return ERR_OK;
}

static void add_special(const struct tok_around *a, int offsets, struct tok_ids *out)
{
    int64_t n = out->n;
    for (int i = 0; i < a->n_before + a->n_after; i++)
        put_id(out, offsets, 0, 0, 0);
    memmove(out->id + a->n_before, out->id, (size_t)n * sizeof *out->id);
    memcpy(out->id, a->before, (size_t)a->n_before * sizeof *out->id);
    memcpy(out->id + a->n_before + n, a->after, (size_t)a->n_after * sizeof *out->id);
    if (offsets) {
        memmove(out->begin + a->n_before, out->begin, (size_t)n * sizeof *out->begin);
        memmove(out->end + a->n_before, out->end, (size_t)n * sizeof *out->end);
        memset(out->begin, 0, (size_t)a->n_before * sizeof *out->begin);
        memset(out->end, 0, (size_t)a->n_before * sizeof *out->end);
    }
}

err_code tok_encode(struct tok_enc *enc, const struct tok_text *in, struct tok_ids *out, struct err *e)
{
    enc->fn = NULL;
    TRY(encode(enc, in, out, e));
    const struct tok_around *a = in->add_special == TOK_SPECIAL_CLASS ? &enc->t->class : &enc->t->file;
    if (in->add_special != TOK_SPECIAL_NONE && a->n_before + a->n_after)
        add_special(a, in->offsets, out);
    return ERR_OK;
}

err_code tok_explain(struct tok_enc *enc, const struct tok_text *in, tok_piece_fn *fn, void *ctx, struct err *e)
{
    struct tok_ids out = {0};
    enc->fn = fn;
    enc->ctx = ctx;
    err_code rc = encode(enc, in, &out, e);
    enc->fn = NULL;
    tok_ids_release(&out);
    return rc;
}

/* ---- many --------------------------------------------------------------------------------- */

struct many {
    struct tok_enc *const *enc;
    const struct tok_text *in;
    struct tok_ids *results;
    struct err *failed;
};

static void encode_some(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct many *m = ctx;
    for (int64_t i = begin; i < end; i++) {
        m->failed[i] = (struct err){0};
        if (tok_encode(m->enc[worker], &m->in[i], &m->results[i], &m->failed[i]) != ERR_OK)
            m->results[i].n = 0;
    }
}

void tok_encode_many(struct tok_enc *const *enc, const struct tok_text *in, int64_t n, struct tok_ids *results, struct err *failed)
{
    struct many m = {enc, in, results, failed};
    par_for(n, 4, encode_some, &m);
}
