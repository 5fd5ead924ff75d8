/* Any bytes as text, under tokenizers of every family: the first byte chooses the tokenizer, the second whether the rest is
 * repeated (long words) or is ids to decode. Catches: a piece whose ids are not what plain merging gives (caches, chunks and
 * shortcuts included); ids that depend on the way they were asked for; text that does not come back; offsets out of order or
 * outside the text; streamed text that differs from whole text; output that is not UTF-8; bytes that are not UTF-8 accepted. */
#include "tests/tok_families.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct family fam[N_FAMILIES];
enum { MAX_TEXT = 4096 };

static void close_families(void)
{
    for (int i = 0; i < N_FAMILIES; i++)
        family_close(&fam[i]);
}

static void open_families(void)
{
    json_t *learned = family_model();
    for (int i = 0; i < N_FAMILIES; i++)
        family_open(&fam[i], &family_specs[i], learned);
    json_decref(learned);
    if (atexit(close_families))
        abort();
}

struct explained {
    const struct family *f;
    struct str text;
    const struct tok_ids *ids; /* as encoding gave them */
    int64_t n, at;             /* ids and bytes gone through */
    int plain;                 /* pieces are the text's own bytes, so that they can be merged again */
};

static void check_piece(void *ctx, const struct tok_piece *p)
{
    struct explained *x = ctx;
    int32_t id[MAX_TEXT];
    if (p->n > x->ids->n - x->n || memcmp(x->ids->id + x->n, p->id, (size_t)p->n * sizeof *p->id))
        BUG("%s: ids of the whole and of its pieces differ at %lld", x->f->spec->name, (long long)x->n);
    x->n += p->n;
    if (!x->plain)
        return;
    if (p->begin != x->at || p->end > x->text.n)
        BUG("%s: a piece begins at %lld, not %lld", x->f->spec->name, (long long)p->begin, (long long)x->at);
    x->at = p->end;
    struct str piece = str_sub(x->text, p->begin, p->end);
    int32_t whole = x->f->spec->flags & FAM_IGNORE_MERGES ? tok_vocab_find(&x->f->t->im, piece) : -1;
    if (p->added)
        return;
    int64_t n = whole >= 0 ? 1 : piece.n;
    for (int64_t i = 0; i < piece.n; i++)
        id[i] = whole >= 0 ? whole : (int32_t)x->f->t->im.byte_id[(unsigned char)piece.p[i]];
    n = family_merge(x->f, id, n);
    if (n != p->n || memcmp(id, p->id, (size_t)n * sizeof *id))
        BUG("%s: '%.*s' is merged to other ids than the plain way", x->f->spec->name, STR_ARG(piece));
}

/* Both ways of decoding give the same UTF-8; it is left in `out`. */
static void decode(const struct family *f, const int32_t *id, int64_t n, int skip, struct sbuf *out)
{
    struct sbuf parts;
    struct tok_stream *s = tok_stream_new(f->t, skip);
    sbuf_init(&parts, 1 << 24);
    sbuf_clear(out);
    tok_decode(f->t, id, n, skip, out);
    for (int64_t i = 0; i < n; i++) {
        int64_t before = parts.n;
        tok_stream_push(s, id[i], &parts);
        if (utf8_check(str_sub(sbuf_str(&parts), before, parts.n)) >= 0)
            BUG("%s: a part of a character was streamed", f->spec->name);
    }
    tok_stream_end(s, &parts);
    if (!str_eq(sbuf_str(out), sbuf_str(&parts)))
        BUG("%s: '%.*s' streamed is '%.*s'", f->spec->name, STR_ARG(sbuf_str(out)), STR_ARG(sbuf_str(&parts)));
    if (utf8_check(sbuf_str(out)) >= 0)
        BUG("%s: decoded text is not UTF-8", f->spec->name);
    tok_stream_free(s);
    sbuf_release(&parts);
}

static void check_offsets(const struct family *f, struct str text, const struct tok_ids *ids, int64_t added)
{
    for (int64_t i = 0; i < ids->n; i++) {
        int64_t b = ids->begin[i], e = ids->end[i];
        if (b < 0 || b > e || e > text.n || ids->id[i] < 0 || ids->id[i] >= tok_n_ids(f->t))
            BUG("%s: token %lld stands at [%lld, %lld) of %lld", f->spec->name, (long long)i, (long long)b, (long long)e, (long long)text.n);
        if (i > added && (b < ids->begin[i - 1] || e < ids->end[i - 1]))
            BUG("%s: token %lld stands before the one in front of it", f->spec->name, (long long)i);
        if ((b < text.n && ((unsigned char)text.p[b] & 0xC0) == 0x80) || (e < text.n && ((unsigned char)text.p[e] & 0xC0) == 0x80))
            BUG("%s: the offsets of token %lld cut a character", f->spec->name, (long long)i);
    }
}

static void check_text(struct family *f, struct str text, int plain)
{
    struct tok_ids ids = {0}, with = {0};
    struct err e = {0};
    struct sbuf back;
    int bos = f->spec->flags & FAM_BOS ? 1 : 0, same = (f->spec->flags & FAM_NFC) == 0 || uni_is_form(text, UNI_NFC);
    sbuf_init(&back, 1 << 24);
    if (tok_encode(f->enc, &(struct tok_text){.text = text, .plain = plain}, &ids, &e) != ERR_OK || tok_encode(f->enc, &(struct tok_text){.text = text, .plain = plain, .offsets = 1, .add_special = TOK_SPECIAL_FILE}, &with, &e) != ERR_OK)
        BUG("%s: %s", f->spec->name, e.msg);
    if (with.n != ids.n + bos || (ids.n && memcmp(with.id + bos, ids.id, (size_t)ids.n * sizeof *ids.id)))
        BUG("%s: ids with offsets and without differ", f->spec->name);
    check_offsets(f, text, &with, bos);
    struct explained x = {.f = f, .text = text, .ids = &ids, .plain = same && (f->spec->flags & FAM_CHARS) == 0};
    if (tok_explain(f->enc, &(struct tok_text){.text = text, .plain = plain}, check_piece, &x, &e) != ERR_OK || x.n != ids.n || (x.plain && x.at != text.n))
        BUG("%s: pieces are not all of the text", f->spec->name);
    decode(f, ids.id, ids.n, 0, &back);
    for (int64_t i = 0; i < ids.n && f->spec->flags & FAM_SPM; i++)
        same &= !tok_is_added(f->t, ids.id[i]); /* each gap between them begins with a space of its own */
    if (same && str_find(text, STR("▁"), 0) < 0 && !str_eq(sbuf_str(&back), text))
        BUG("%s: '%.*s' comes back as '%.*s'", f->spec->name, STR_ARG(text), STR_ARG(sbuf_str(&back)));
    decode(f, with.id, with.n, 1, &back);
    sbuf_release(&back);
    tok_ids_release(&ids);
    tok_ids_release(&with);
}

static void check_ids(struct family *f, const uint8_t *data, size_t size)
{
    int32_t id[MAX_TEXT / 2];
    int64_t n = 0;
    struct sbuf out;
    for (size_t i = 0; i + 1 < size && n < MAX_TEXT / 2; i += 2)
        id[n++] = (int32_t)((data[i] << 8 | data[i + 1]) % (tok_n_ids(f->t) + 3)) - 1; /* some that are none */
    sbuf_init(&out, 1 << 24);
    decode(f, id, n, data[0] & 1, &out);
    sbuf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int ready;
    if (!ready)
        open_families(), ready = 1;
    if (size < 3 || size > MAX_TEXT)
        return 0;
    struct family *f = &fam[data[0] % N_FAMILIES];
    struct str given = {(const char *)data + 2, (int64_t)size - 2};
    if (data[1] % 8 == 7) {
        check_ids(f, data + 2, size - 2);
        return 0;
    }
    struct sbuf b;
    struct tok_ids ids = {0};
    struct err e = {0};
    bpe_short_take(data[1] >> 6 & 1);
    sbuf_init(&b, 1 << 20);
    if ((tok_encode(f->enc, &(struct tok_text){.text = given}, &ids, &e) == ERR_OK) != (utf8_check(given) < 0))
        BUG("%s: wrong about UTF-8: %s", f->spec->name, e.msg);
    tok_ids_release(&ids);
    int64_t times = data[1] % 8 < 3 ? 1 + data[1] : 1, most = data[1] % 32 ? MAX_TEXT / 6 : MAX_TEXT; /* plain merging takes the square */
    do
        tok_utf8_replace(given, &b);
    while (--times > 0 && b.n + 3 * given.n < most);
    if (b.n <= MAX_TEXT) {
        char *exact = malloc((size_t)b.n + 1); /* ends where the text ends: a read behind it is seen */
        memcpy(exact + 1, b.p, (size_t)b.n);
        check_text(f, (struct str){exact + 1, b.n}, data[1] >> 7);
        free(exact);
    }
    sbuf_release(&b);
    return 0;
}
