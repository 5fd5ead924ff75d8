/* Ids back to text. Whole and streamed decoding are one machine: a step per token that appends what can no longer change.
 *
 *   per token (Replace, Strip, Metaspace, suffix)  ->  bytes or byte runs  ->  joined  ->  Strip of the joined text
 */
#include <stdlib.h>

#include "core/json.h"
#include "text/tok.h"

/* How the per-token texts come together. */
enum { JOIN_TEXT, JOIN_BYTES, JOIN_FALLBACK };

struct tok_stream {
    const struct tok *t;
    int skip;
    int64_t index;         /* tokens taken */
    struct sbuf bytes;     /* ByteLevel: an incomplete character; ByteFallback: the current run of byte tokens */
    struct sbuf last;      /* suffix decoder: the last token, which loses its suffix when nothing follows */
    int has_last;
    int64_t stripped;      /* characters of the joined text's beginning taken off so far; -1: past the beginning */
    struct sbuf tail;      /* Strip at the end: characters that may have to go */
    struct sbuf one, two;
};

/* ---- joined text -------------------------------------------------------------------------- */

static const struct tok_dec *joined_strip(const struct tok *t)
{
    int fused = 0;
    for (int i = 0; i < t->n_dec; i++) {
        fused |= t->dec[i].kind == TOK_DEC_FUSE || t->dec[i].kind == TOK_DEC_BYTES;
        if (fused && t->dec[i].kind == TOK_DEC_STRIP)
            return &t->dec[i];
    }
    return NULL;
}

static void put_tail(struct tok_stream *s, const struct tok_dec *f, struct str text, struct sbuf *out)
{
    if (f->stop == 0) {
        sbuf_add(out, text);
        return;
    }
    char u[4];
    int64_t w = utf8_encode(f->ch, u), keep = 0, n = 0;
    sbuf_add(&s->tail, text);
    struct str all = sbuf_str(&s->tail);
    while (n < f->stop && keep + w <= all.n && !memcmp(all.p + all.n - keep - w, u, (size_t)w))
        keep += w, n++;
    sbuf_add(out, str_sub(all, 0, all.n - keep));
    memmove(s->tail.p, s->tail.p + all.n - keep, (size_t)keep);
    s->tail.n = keep;
}

static void put_joined(struct tok_stream *s, struct str text, struct sbuf *out)
{
    const struct tok_dec *f = joined_strip(s->t);
    if (!f) {
        sbuf_add(out, text);
        return;
    }
    char u[4];
    int64_t w = utf8_encode(f->ch, u);
    while (text.n && s->stripped >= 0 && s->stripped < f->start && text.n >= w && !memcmp(text.p, u, (size_t)w)) {
        text = str_sub(text, w, text.n);
        s->stripped++;
    }
    if (text.n) {
        s->stripped = -1;
        put_tail(s, f, text, out);
    }
}

/* ---- bytes -------------------------------------------------------------------------------- */

/* Length of the maximal subpart of an ill-formed sequence at s[at] (>= 1), and whether it is only cut short by the end. */
static int64_t bad_part(struct str s, int64_t at, int *cut_short)
{
    const unsigned char *p = (const unsigned char *)s.p + at;
    int64_t left = s.n - at;
    int need = p[0] >= 0xC2 && p[0] <= 0xDF ? 2 : p[0] >= 0xE0 && p[0] <= 0xEF ? 3 : p[0] >= 0xF0 && p[0] <= 0xF4 ? 4 : 1;
    *cut_short = 0;
    for (int i = 1; i < need; i++) {
        if (i == left)
            return *cut_short = 1, left;
        unsigned lo = i > 1 ? 0x80 : p[0] == 0xE0 ? 0xA0 : p[0] == 0xF0 ? 0x90 : 0x80;
        unsigned hi = i > 1 ? 0xBF : p[0] == 0xED ? 0x9F : p[0] == 0xF4 ? 0x8F : 0xBF;
        if (p[i] < lo || p[i] > hi)
            return i;
    }
    return 1;
}

/* Appends s with U+FFFD for each bad part; returns how many bytes at the end were left because they may go on. */
static int64_t put_lossy(struct str s, int at_end, struct sbuf *out)
{
    int64_t begin = 0, i = 0;
    while (i < s.n) {
        uint32_t cp;
        int cut, n = (unsigned char)s.p[i] < 0x80 ? 1 : utf8_decode(s, i, &cp);
        if (n) {
            i += n;
            continue;
        }
        int64_t bad = bad_part(s, i, &cut);
        sbuf_add(out, str_sub(s, begin, i));
        if (cut && !at_end)
            return s.n - i;
        sbuf_adds(out, "\xEF\xBF\xBD");
        begin = i += bad;
    }
    sbuf_add(out, str_sub(s, begin, s.n));
    return 0;
}

void tok_utf8_replace(struct str bytes, struct sbuf *out)
{
    put_lossy(bytes, 1, out);
}

static void flush_bytes(struct tok_stream *s, int at_end, struct sbuf *out)
{
    sbuf_clear(&s->two);
    int64_t left = put_lossy(sbuf_str(&s->bytes), at_end, &s->two);
    if (left)
        memmove(s->bytes.p, s->bytes.p + s->bytes.n - left, (size_t)left);
    s->bytes.n = left;
    put_joined(s, sbuf_str(&s->two), out);
}

/* A run of byte tokens: text when it is UTF-8 as a whole, else one U+FFFD per byte. */
static void flush_run(struct tok_stream *s, struct sbuf *out)
{
    struct str run = sbuf_str(&s->bytes);
    int good = utf8_check(run) < 0;
    if (good)
        put_joined(s, run, out);
    for (int64_t i = 0; !good && i < run.n; i++)
        put_joined(s, STR("\xEF\xBF\xBD"), out);
    sbuf_clear(&s->bytes);
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int byte_token(struct str s)
{
    if (s.n != 6 || memcmp(s.p, "<0x", 3) || s.p[5] != '>' || hex_digit(s.p[3]) < 0 || hex_digit(s.p[4]) < 0)
        return -1;
    return hex_digit(s.p[3]) * 16 + hex_digit(s.p[4]);
}

/* ---- per token ---------------------------------------------------------------------------- */

static void replace_all(struct sbuf *b, struct str what, struct str with, struct sbuf *tmp)
{
    struct str s = sbuf_str(b);
    int64_t at = 0, hit = what.n ? str_find(s, what, 0) : -1;
    if (hit < 0)
        return;
    sbuf_clear(tmp);
    for (; hit >= 0; hit = str_find(s, what, at)) {
        sbuf_add(tmp, str_sub(s, at, hit));
        sbuf_add(tmp, with);
        at = hit + what.n;
    }
    sbuf_add(tmp, str_sub(s, at, s.n));
    struct sbuf t = *b;
    *b = *tmp;
    *tmp = t;
}

static void drop_front(struct sbuf *b, int64_t n)
{
    memmove(b->p, b->p + n, (size_t)(b->n - n));
    b->n -= n;
}

static void strip_token(const struct tok_dec *f, struct sbuf *b)
{
    char u[4];
    int64_t w = utf8_encode(f->ch, u);
    for (int i = 0; i < f->start && b->n >= w && !memcmp(b->p, u, (size_t)w); i++)
        drop_front(b, w);
    for (int i = 0; i < f->stop && b->n >= w && !memcmp(b->p + b->n - w, u, (size_t)w); i++)
        b->n -= w;
}

/* What WordPiece's clean-up does to one token. */
static void clean_up(struct sbuf *b, struct sbuf *tmp)
{
    static const char *const pairs[][2] = {{" .", "."}, {" ?", "?"}, {" !", "!"}, {" ,", ","}, {" ' ", "'"}, {" n't", "n't"},
                                           {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        replace_all(b, str_of(pairs[i][0]), str_of(pairs[i][1]), tmp);
}

static void word_piece(const struct tok_dec *f, int64_t index, struct sbuf *b, struct sbuf *tmp)
{
    if (index > 0 && str_starts(sbuf_str(b), f->what)) {
        drop_front(b, f->what.n);
    } else if (index > 0) {
        sbuf_clear(tmp);
        sbuf_addc(tmp, ' ');
        sbuf_add(tmp, sbuf_str(b));
        struct sbuf t = *b;
        *b = *tmp;
        *tmp = t;
    }
    if (f->cleanup)
        clean_up(b, tmp);
}

/* The steps before the texts are joined, on s->one. */
static void token_steps(struct tok_stream *s)
{
    const struct tok *t = s->t;
    for (int i = 0; i < t->n_dec; i++) {
        const struct tok_dec *f = &t->dec[i];
        switch (f->kind) {
        case TOK_DEC_REPLACE: replace_all(&s->one, f->what, f->with, &s->two); break;
        case TOK_DEC_STRIP: strip_token(f, &s->one); break;
        case TOK_DEC_METASPACE:
            replace_all(&s->one, f->what, s->index == 0 && f->drop_first ? STR("") : STR(" "), &s->two);
            break;
        case TOK_DEC_WORDPIECE: word_piece(f, s->index, &s->one, &s->two); break;
        case TOK_DEC_SUFFIX:
        case TOK_DEC_FALLBACK: break;
        case TOK_DEC_FUSE:
        case TOK_DEC_BYTES: return;
        }
    }
}

static const struct tok_dec *decoder_of(const struct tok *t, enum tok_dec_kind kind)
{
    for (int i = 0; i < t->n_dec; i++)
        if (t->dec[i].kind == kind)
            return &t->dec[i];
    return NULL;
}

static void put_token(struct tok_stream *s, struct sbuf *out)
{
    if (decoder_of(s->t, TOK_DEC_BYTES)) {
        sbuf_add(&s->bytes, sbuf_str(&s->one));
        flush_bytes(s, 0, out);
        return;
    }
    int byte = decoder_of(s->t, TOK_DEC_FALLBACK) ? byte_token(sbuf_str(&s->one)) : -1;
    if (byte >= 0) {
        sbuf_addc(&s->bytes, (char)byte);
        return;
    }
    if (s->bytes.n)
        flush_run(s, out);
    put_joined(s, sbuf_str(&s->one), out);
}

static void swap_last(struct tok_stream *s, int at_end, const struct tok_dec *suffix, struct sbuf *out)
{
    struct sbuf now = s->one;
    s->one = s->last;
    s->last = now;
    if (s->has_last) {
        replace_all(&s->one, suffix->what, at_end ? STR("") : STR(" "), &s->two);
        put_token(s, out);
    }
    s->has_last = 1;
}

static int known(const struct tok *t, int32_t id)
{
    return id >= 0 && id < t->n_ids && (tok_is_added(t, id) || (id < t->im.n_ids && t->im.flags[id]));
}

/* What the decoder starts from: a normalized added token as it was normalized, as the reference has it. */
static struct str spelled(const struct tok *t, int32_t id)
{
    return tok_is_added(t, id) ? t->added[t->added_of[id]].match : tok_name(t, id);
}

void tok_stream_push(struct tok_stream *s, int32_t id, struct sbuf *out)
{
    const struct tok *t = s->t;
    if (!known(t, id) || (s->skip && tok_is_special(t, id)))
        return;
    sbuf_clear(&s->one);
    if (!t->has_decoder && s->index > 0)
        sbuf_addc(&s->one, ' ');
    sbuf_add(&s->one, decoder_of(t, TOK_DEC_BYTES) ? (struct str){t->piece + t->piece_at[id], t->piece_at[id + 1] - t->piece_at[id]} : spelled(t, id));
    token_steps(s);
    s->index++;
    const struct tok_dec *suffix = decoder_of(t, TOK_DEC_SUFFIX);
    if (suffix)
        swap_last(s, 0, suffix, out);
    else
        put_token(s, out);
}

void tok_stream_end(struct tok_stream *s, struct sbuf *out)
{
    const struct tok_dec *suffix = decoder_of(s->t, TOK_DEC_SUFFIX);
    if (suffix && s->has_last)
        swap_last(s, 1, suffix, out);
    if (decoder_of(s->t, TOK_DEC_BYTES))
        flush_bytes(s, 1, out);
    else if (s->bytes.n)
        flush_run(s, out);
    sbuf_clear(&s->bytes);
    sbuf_clear(&s->last);
    sbuf_clear(&s->tail); /* what Strip takes off the end */
    s->index = s->stripped = 0;
    s->has_last = 0;
}

static void stream_init(struct tok_stream *s, const struct tok *t, int skip)
{
    *s = (struct tok_stream){.t = t, .skip = skip};
    struct sbuf *all[] = {&s->bytes, &s->last, &s->tail, &s->one, &s->two};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        sbuf_init(all[i], TOK_MAX_TEXT * 4);
}

static void stream_release(struct tok_stream *s)
{
    struct sbuf *all[] = {&s->bytes, &s->last, &s->tail, &s->one, &s->two};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        sbuf_release(all[i]);
}

struct tok_stream *tok_stream_new(const struct tok *t, int skip_special)
{
    struct tok_stream *s = malloc(sizeof *s);
    if (!s)
        BUG("out of memory for a decoder");
    stream_init(s, t, skip_special);
    return s;
}

void tok_stream_free(struct tok_stream *s)
{
    if (s)
        stream_release(s);
    free(s);
}

/* ---- whole -------------------------------------------------------------------------------- */

struct str tok_bytes(const struct tok *t, int32_t id)
{
    if (id < 0 || id >= t->n_ids)
        return (struct str){"", 0};
    return (struct str){t->piece + t->piece_at[id], t->piece_at[id + 1] - t->piece_at[id]};
}

/* A token that is looked at: long, special, unknown, or there is little room. Returns 1 when there is no such token. */
static int put_far(const struct tok *t, int32_t id, int skip_special, struct sbuf *out)
{
    if (!known(t, id))
        return 1;
    if (!skip_special || !tok_is_special(t, id))
        sbuf_add(out, tok_bytes(t, id));
    return 0;
}

/* Copies short tokens from id[k] on, each whole with what stands behind it; returns where the first is that is none, or n. */
static int64_t put_near(const struct tok *t, const int32_t *id, int64_t k, int64_t n, struct sbuf *out)
{
    enum { BLOCK = 256, ROOM = BLOCK * (int)sizeof *t->near };
    while (k < n && out->max - out->n > ROOM) {
        char *p = sbuf_room(out, ROOM);
        int64_t end = k + BLOCK < n ? k + BLOCK : n;
        if (!p)
            return k;
        for (; k < end; k++) {
            const struct tok_near *s = &t->near[(uint32_t)id[k] < (uint32_t)t->n_ids ? id[k] : t->n_ids];
            if (__builtin_expect(s->n >= TOK_BYTE, 0))
                break;
            memcpy(p, s, sizeof *s);
            p += s->n;
        }
        out->n = p - out->p;
        out->p[out->n] = 0;
        if (k < end)
            break;
    }
    return k;
}

/* ByteLevel alone: bytes side by side, UTF-8 is checked once over all. */
static int64_t decode_bytes(const struct tok *t, const int32_t *id, int64_t n, int skip_special, struct sbuf *out)
{
    int64_t unknown = 0, begin = out->n;
    int ascii;
    for (int64_t k = 0; (k = put_near(t, id, k, n, out)) < n; k++)
        unknown += put_far(t, id[k], skip_special, out);
    struct str s = str_sub(sbuf_str(out), begin, out->n);
    if (tok_utf8_check(s, &ascii) >= 0) {
        struct sbuf good;
        sbuf_init(&good, out->max);
        put_lossy(s, 1, &good);
        out->n = begin;
        sbuf_add(out, sbuf_str(&good));
        sbuf_release(&good);
    }
    return unknown;
}

/* 1 when a token's text does not depend on where it stands, and of the whole only the beginning is stripped: Llama-2, Gemma. */
static int is_joined(const struct tok *t)
{
    const struct tok_dec *f = joined_strip(t);
    for (int i = 0; i < t->n_dec; i++) {
        enum tok_dec_kind k = t->dec[i].kind;
        if (k != TOK_DEC_REPLACE && k != TOK_DEC_FALLBACK && k != TOK_DEC_FUSE && k != TOK_DEC_STRIP)
            return 0;
    }
    return t->n_dec > 0 && (!f || f->stop == 0);
}

/* The byte tokens from id[k] on, as one run; what is left out and what is none does not end it. Returns where it ends. */
static int64_t put_run(const struct tok *t, const int32_t *id, int64_t k, int64_t n, int skip_special, struct sbuf *out, int64_t *unknown)
{
    int64_t begin = out->n, end;
    for (; k < n; k++) {
        int is = known(t, id[k]);
        *unknown += !is;
        if (!is || (skip_special && tok_is_special(t, id[k])))
            continue;
        if (t->near[id[k]].n != TOK_BYTE)
            break;
        sbuf_add(out, tok_bytes(t, id[k]));
    }
    end = out->n;
    if (utf8_check(str_sub(sbuf_str(out), begin, end)) >= 0) {
        out->n = begin;
        for (int64_t i = begin; i < end; i++)
            sbuf_adds(out, "\xEF\xBF\xBD");
    }
    return k;
}

static int64_t decode_joined(const struct tok *t, const int32_t *id, int64_t n, int skip_special, struct sbuf *out)
{
    const struct tok_dec *f = joined_strip(t);
    int64_t unknown = 0, begin = out->n, k = 0, at = 0;
    while ((k = put_near(t, id, k, n, out)) < n) {
        int64_t next = put_run(t, id, k, n, skip_special, out, &unknown);
        if (next == k)
            put_far(t, id[next++], skip_special, out);
        k = next;
    }
    if (f) {
        char u[4];
        int64_t w = utf8_encode(f->ch, u);
        struct str all = str_sub(sbuf_str(out), begin, out->n);
        for (int i = 0; i < f->start && at + w <= all.n && !memcmp(all.p + at, u, (size_t)w); i++)
            at += w;
        if (at) { /* nothing decoded has no memory to move */
            memmove(out->p + begin, out->p + begin + at, (size_t)(all.n - at));
            out->n -= at;
        }
    }
    return unknown;
}

int64_t tok_decode(const struct tok *t, const int32_t *id, int64_t n, int skip_special, struct sbuf *out)
{
    int64_t unknown = 0;
    struct tok_stream s;
    if (t->n_dec == 1 && t->dec[0].kind == TOK_DEC_BYTES)
        return decode_bytes(t, id, n, skip_special, out);
    if (is_joined(t))
        return decode_joined(t, id, n, skip_special, out);
    stream_init(&s, t, skip_special);
    for (int64_t i = 0; i < n; i++) {
        unknown += !known(t, id[i]);
        tok_stream_push(&s, id[i], out);
    }
    tok_stream_end(&s, out);
    stream_release(&s);
    return unknown;
}

/* s->one = a token after its per-token steps; the byte when it is a byte token, else -1. */
static int one_byte(struct tok_stream *s, int32_t id)
{
    sbuf_clear(&s->one);
    sbuf_add(&s->one, spelled(s->t, id));
    s->index = 1; /* not the first: no space is taken off */
    token_steps(s);
    return decoder_of(s->t, TOK_DEC_FALLBACK) ? byte_token(sbuf_str(&s->one)) : -1;
}

/* What each id stands for in a text: ByteLevel bytes; for the others the token after its per-token steps, or the byte of
 * a byte token. */
static void put_piece(struct tok_stream *s, int32_t id, struct sbuf *all)
{
    const struct tok *t = s->t;
    int64_t n;
    sbuf_clear(&s->one);
    if (!known(t, id))
        return;
    struct str name = spelled(t, id);
    if (decoder_of(t, TOK_DEC_BYTES)) {
        char *room = sbuf_room(&s->one, name.n);
        sbuf_add(all, tok_name_bytes(name, room, &n) ? (struct str){room, n} : name);
        return;
    }
    int byte = one_byte(s, id);
    if (byte >= 0)
        sbuf_addc(all, (char)byte);
    else
        sbuf_add(all, sbuf_str(&s->one));
}

err_code tok_open_pieces(struct tok *t, struct err *e)
{
    struct tok_stream s;
    struct sbuf all;
    stream_init(&s, t, 0);
    sbuf_init(&all, TOK_MAX_FILE);
    uint32_t *at = ARENA_TRY(&t->mem, uint32_t, t->n_ids + 1);
    if (!at)
        return err_set(e, ERR_LIMIT, "too many tokens");
    for (int32_t id = 0; id < t->n_ids; id++) {
        at[id] = (uint32_t)all.n;
        put_piece(&s, id, &all);
    }
    at[t->n_ids] = (uint32_t)all.n;
    t->piece_at = at;
    t->piece = ARENA_TRY(&t->mem, char, all.n + 1);
    t->near = ARENA_TRY(&t->mem, struct tok_near, t->n_ids + 1);
    if (!t->piece || !t->near)
        return err_set(e, ERR_LIMIT, "too many tokens");
    if (all.n)
        memcpy(t->piece, all.p, (size_t)all.n);
    for (int32_t id = 0; id <= t->n_ids; id++) {
        struct str b = tok_bytes(t, id);
        int byte = id < t->n_ids && b.n == 1 && known(t, id) && !decoder_of(t, TOK_DEC_BYTES) && one_byte(&s, id) >= 0;
        t->near[id].n = byte ? TOK_BYTE : b.n == 0 || b.n > (int64_t)sizeof t->near->p || tok_is_special(t, id) ? TOK_FAR : (uint8_t)b.n;
        if (t->near[id].n < TOK_BYTE)
            memcpy(t->near[id].p, b.p, (size_t)b.n);
    }
    stream_release(&s);
    sbuf_release(&all);
    return ERR_OK;
}

/* ---- reading ------------------------------------------------------------------------------ */

static err_code one_char(struct str s, uint32_t *out, const char *what, struct err *e)
{
    if (s.n == 0 || utf8_decode(s, 0, out) != s.n)
        return err_set(e, ERR_UNSUPPORTED, "decoder %s with \"%.*s\" instead of one character is not supported", what, STR_ARG(s));
    return ERR_OK;
}

static err_code read_strip(const json_t *v, struct tok_dec *f, struct err *e)
{
    struct str s = {NULL, 0};
    int64_t start = 0, stop = 0;
    f->kind = TOK_DEC_STRIP;
    TRY(json_need_str(v, "content", &s, e));
    TRY(json_opt_i64(v, "start", &start, e));
    TRY(json_opt_i64(v, "stop", &stop, e));
    if (start < 0 || stop < 0 || start > 1000 || stop > 1000)
        return err_set(e, ERR_DATA, "decoder Strip: start or stop is out of range");
    f->start = (int)start;
    f->stop = (int)stop;
    return one_char(s, &f->ch, "Strip", e);
}

static err_code read_dec_metaspace(struct tok *t, const json_t *v, struct tok_dec *f, struct err *e)
{
    struct str s = STR("\xE2\x96\x81"), scheme = {NULL, 0};
    int prefix = 1;
    f->kind = TOK_DEC_METASPACE;
    TRY(json_opt_str(v, "replacement", &s, e));
    TRY(json_opt_str(v, "prepend_scheme", &scheme, e));
    TRY(json_opt_bool(v, "add_prefix_space", &prefix, e));
    f->what = tok_keep(t, s);
    f->drop_first = scheme.p ? !str_eq(scheme, STR("never")) : prefix;
    return ERR_OK;
}

static err_code read_dec_replace(struct tok *t, const json_t *v, struct tok_dec *f, struct err *e)
{
    struct str what = {NULL, 0}, with = {NULL, 0};
    const json_t *pattern = json_object_get(v, "pattern");
    f->kind = TOK_DEC_REPLACE;
    if (!json_object_get(pattern, "String"))
        return err_set(e, ERR_UNSUPPORTED, "decoder Replace with a Regex is not supported");
    TRY(json_need_str(pattern, "String", &what, e));
    TRY(json_need_str(v, "content", &with, e));
    f->what = tok_keep(t, what);
    f->with = tok_keep(t, with);
    return ERR_OK;
}

static err_code read_one(struct tok *t, const json_t *v, struct str type, struct tok_dec *f, struct err *e)
{
    struct str s = {NULL, 0};
    if (str_eq(type, STR("ByteLevel")))
        f->kind = TOK_DEC_BYTES;
    else if (str_eq(type, STR("ByteFallback")))
        f->kind = TOK_DEC_FALLBACK;
    else if (str_eq(type, STR("Fuse")))
        f->kind = TOK_DEC_FUSE;
    else if (str_eq(type, STR("Strip")))
        return read_strip(v, f, e);
    else if (str_eq(type, STR("Metaspace")))
        return read_dec_metaspace(t, v, f, e);
    else if (str_eq(type, STR("Replace")))
        return read_dec_replace(t, v, f, e);
    else if (str_eq(type, STR("BPEDecoder"))) {
        f->kind = TOK_DEC_SUFFIX;
        s = STR("</w>");
        TRY(json_opt_str(v, "suffix", &s, e));
        f->what = tok_keep(t, s);
    } else if (str_eq(type, STR("WordPiece"))) {
        f->kind = TOK_DEC_WORDPIECE;
        f->cleanup = 1;
        s = STR("##");
        TRY(json_opt_str(v, "prefix", &s, e));
        TRY(json_opt_bool(v, "cleanup", &f->cleanup, e));
        f->what = tok_keep(t, s);
    } else {
        return err_set(e, ERR_UNSUPPORTED, "decoder \"%.*s\" is not supported", STR_ARG(type));
    }
    return ERR_OK;
}

static err_code read_dec(struct tok *t, const json_t *v, int depth, struct err *e)
{
    enum { MAX = 64 };
    struct str type = {NULL, 0};
    if (depth > 8)
        return err_set(e, ERR_LIMIT, "decoders are nested too deep");
    TRY(json_need_str(v, "type", &type, e));
    if (str_eq(type, STR("Sequence"))) {
        size_t i;
        json_t *item;
        json_array_foreach(json_object_get(v, "decoders"), i, item)
            TRY(read_dec(t, item, depth + 1, e));
        return ERR_OK;
    }
    if (!t->dec)
        t->dec = ARENA_NEW(&t->mem, struct tok_dec, MAX);
    if (t->n_dec == MAX)
        return err_set(e, ERR_LIMIT, "more than %d decoders", MAX);
    return read_one(t, v, type, &t->dec[t->n_dec++], e);
}

/* Which kinds may follow which: the machine above runs per-token steps, one way of joining, then at most one Strip. */
static err_code check_order(const struct tok *t, struct err *e)
{
    int joined = 0, strips = 0, bytes = 0;
    for (int i = 0; i < t->n_dec; i++) {
        enum tok_dec_kind k = t->dec[i].kind;
        int per_token = k != TOK_DEC_FUSE && k != TOK_DEC_STRIP;
        if (joined && per_token)
            return err_set(e, ERR_UNSUPPORTED, "a decoder behind Fuse or ByteLevel other than Strip is not supported");
        if (bytes && k != TOK_DEC_FUSE)
            return err_set(e, ERR_UNSUPPORTED, "a decoder between ByteFallback and Fuse is not supported");
        if (joined && k == TOK_DEC_STRIP && strips++)
            return err_set(e, ERR_UNSUPPORTED, "two Strip decoders behind Fuse are not supported");
        if (k == TOK_DEC_BYTES && i > 0)
            return err_set(e, ERR_UNSUPPORTED, "a decoder before ByteLevel is not supported");
        bytes = k == TOK_DEC_FALLBACK;
        joined |= k == TOK_DEC_FUSE || k == TOK_DEC_BYTES;
    }
    return ERR_OK;
}

err_code tok_open_dec(struct tok *t, const json_t *v, struct err *e)
{
    if (!v || json_is_null(v))
        return ERR_OK;
    t->has_decoder = 1;
    TRY(read_dec(t, v, 0, e));
    return check_order(t, e);
}
