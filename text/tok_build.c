/* tokenizer.json (or a rank file) to an image: ids, spellings, what they stand for, and the merges by rank. */
#include <stdio.h>
#include <stdlib.h>

#include "core/json.h"
#include "text/tok.h"

/* ---- byte alphabet ------------------------------------------------------------------------ */

/* Printable bytes stand for themselves, the other 68 for U+0100 and up, in order. */
static int printable(int b)
{
    return (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || (b >= 0xAE && b <= 0xFF);
}

uint32_t tok_byte_char(unsigned char b)
{
    if (printable(b))
        return b;
    return b <= 32 ? 0x100u + b : b <= 0xA0 ? 0x100u + 33 + (b - 0x7Fu) : 0x143u;
}

int tok_char_byte(uint32_t c)
{
    if (c < 0x100)
        return printable((int)c) ? (int)c : -1;
    c -= 0x100;
    return c <= 32 ? (int)c : c <= 66 ? (int)(0x7F + c - 33) : c == 67 ? 0xAD : -1;
}

int tok_name_bytes(struct str name, char *out, int64_t *n)
{
    int64_t m = 0;
    for (int64_t i = 0; i < name.n;) {
        uint32_t c;
        int w = utf8_decode(name, i, &c), b = w ? tok_char_byte(c) : -1;
        if (b < 0)
            return 0;
        out[m++] = (char)b;
        i += w;
    }
    *n = m;
    return 1;
}

/* ---- collecting --------------------------------------------------------------------------- */

struct build {
    struct tok_image *im;
    struct str *name;   /* [n_ids] borrowed; p NULL: no such id */
    uint32_t *made;     /* [n_merges] */
    struct build_pair {
        uint32_t left, right, rank;
    } *pair;            /* [n_pairs] */
    int64_t n_pairs;
    uint32_t *table;    /* ids by spelling while building */
    int64_t mask;
    char *config;
};

static void build_free(struct build *b)
{
    free(b->name);
    free(b->made);
    free(b->pair);
    free(b->table);
    free(b->config);
}

static void *need(int64_t n, size_t size)
{
    void *p = calloc(n ? (size_t)n : 1, size);
    if (!p)
        BUG("out of memory for %lld tokens", (long long)n);
    return p;
}

static int64_t table_size(int64_t n)
{
    int64_t size = 64;
    while (size < 2 * n)
        size *= 2;
    return size;
}

static int32_t by_name(const struct build *b, struct str name)
{
    for (int64_t i = (int64_t)tok_hash_bytes(name.p, name.n) & b->mask; b->table[i]; i = (i + 1) & b->mask)
        if (str_eq(b->name[b->table[i] - 1], name))
            return (int32_t)(b->table[i] - 1);
    return -1;
}

static void index_names(struct build *b)
{
    b->mask = table_size(b->im->n_ids) - 1;
    b->table = need(b->mask + 1, sizeof *b->table);
    for (int32_t id = 0; id < b->im->n_ids; id++) {
        int64_t i = (int64_t)tok_hash_bytes(b->name[id].p, b->name[id].n) & b->mask;
        while (b->table[i])
            i = (i + 1) & b->mask;
        if (b->name[id].p)
            b->table[i] = (uint32_t)id + 1;
    }
}

/* ---- sections ----------------------------------------------------------------------------- */

static int bits_for(int64_t n) /* n < 2^bits */
{
    int bits = 1;
    while (n >> bits)
        bits++;
    return bits;
}

struct strings {
    uint32_t *at;
    struct sbuf bytes;
};

static void strings_release(struct strings *s)
{
    free(s->at);
    sbuf_release(&s->bytes);
}

static void set_texts(struct build *b, struct strings *names, struct strings *texts, uint8_t *flags)
{
    struct sbuf one;
    sbuf_init(&one, TOK_MAX_FILE);
    for (int32_t id = 0; id < b->im->n_ids; id++) {
        struct str name = b->name[id], text = name;
        names->at[id] = (uint32_t)names->bytes.n;
        texts->at[id] = (uint32_t)texts->bytes.n;
        if (!name.p)
            continue;
        flags[id] = TOK_IN_VOCAB;
        b->im->n_entries++;
        sbuf_clear(&one);
        if (b->im->byte_level) {
            char *room = sbuf_room(&one, name.n);
            if (tok_name_bytes(name, room, &text.n))
                text.p = room;
            else
                text = name, flags[id] |= TOK_OWN_UTF8;
        }
        sbuf_add(&names->bytes, name);
        sbuf_add(&texts->bytes, text);
    }
    names->at[b->im->n_ids] = (uint32_t)names->bytes.n;
    texts->at[b->im->n_ids] = (uint32_t)texts->bytes.n;
    sbuf_release(&one);
}

/* A byte-level spelling and its bytes are one to one, so ids found by text are the ids found by spelling. */
static uint32_t *find_table(const struct tok_image *im, const struct strings *texts, const uint8_t *flags, int64_t *size)
{
    *size = table_size(im->n_ids);
    uint32_t *find = need(*size, sizeof *find);
    for (int32_t id = 0; id < im->n_ids; id++) {
        if (!(flags[id] & TOK_IN_VOCAB))
            continue;
        const char *p = texts->bytes.p + texts->at[id];
        int64_t n = texts->at[id + 1] - texts->at[id], i = (int64_t)tok_hash_bytes(p, n) & (*size - 1);
        while (find[i])
            i = (i + 1) & (*size - 1);
        find[i] = (uint32_t)id + 1;
    }
    return find;
}

/* The last of equal pairs wins, as in the reference's map. */
static uint64_t *pair_table(const struct build *b, int64_t *size)
{
    const struct tok_image *im = b->im;
    *size = table_size(b->n_pairs);
    uint64_t *pair = malloc((size_t)*size * sizeof *pair), mask = (uint64_t)*size - 1;
    if (!pair)
        BUG("out of memory for %d merges", im->n_merges);
    memset(pair, 0xFF, (size_t)*size * sizeof *pair);
    for (int64_t k = 0; k < b->n_pairs; k++) {
        uint64_t key = (uint64_t)b->pair[k].left << im->id_bits | b->pair[k].right, i = tok_mix(key) >> 20 & mask;
        while (pair[i] != ~0ull && pair[i] >> im->rank_bits != key)
            i = (i + 1) & mask;
        pair[i] = key << im->rank_bits | b->pair[k].rank;
    }
    return pair;
}

/* 8 to 16 bits per pair: one look in 8 to 16 at an absent pair goes on to the table. More bits are slower: they fall out of the cache. */
static uint64_t *maybe_table(const struct build *b, int64_t *size)
{
    *size = table_size(b->n_pairs) / 16;
    uint64_t *maybe = need(*size, sizeof *maybe), mask = (uint64_t)*size * 64 - 1;
    for (int64_t k = 0; k < b->n_pairs; k++) {
        uint64_t bit = tok_mix((uint64_t)b->pair[k].left << b->im->id_bits | b->pair[k].right) >> 34 & mask;
        maybe[bit >> 6] |= 1ull << (bit & 63);
    }
    return maybe;
}

/* Which tokens come out when their own bytes go in: a word cache starts with them. */
static void mark_self(const struct tok_image *im, const struct strings *texts, uint8_t *flags, const uint32_t *byte_id)
{
    struct bpe_scratch s = {0};
    for (int32_t id = 0; id < im->n_ids; id++) {
        int64_t n = texts->at[id + 1] - texts->at[id];
        const unsigned char *p = (const unsigned char *)texts->bytes.p + texts->at[id];
        if (flags[id] != TOK_IN_VOCAB || !im->byte_level || n == 0)
            continue;
        s.n = im->ignore_merges ? 0 : n;
        s.sym = tok_grow(s.sym, &s.cap, n, sizeof *s.sym);
        for (int64_t i = 0; i < s.n; i++) {
            s.sym[i] = (struct tok_sym){byte_id[p[i]], 1};
            if (byte_id[p[i]] == ~0u)
                s.n = 0, i = n;
        }
        bpe_merge(im, &s);
        if (im->ignore_merges || (s.n == 1 && s.sym[0].id == (uint32_t)id))
            flags[id] |= TOK_SELF;
    }
    bpe_release(&s);
}

static err_code finish(struct build *b, struct str config, const char *path, struct err *e)
{
    struct tok_image *im = b->im;
    struct strings names = {0}, texts = {0};
    im->id_bits = bits_for(im->n_ids);
    im->rank_bits = bits_for(im->n_merges);
    if (2 * im->id_bits + im->rank_bits > 64)
        return err_set(e, ERR_LIMIT, "'%s': %d tokens and %d merges are more than hone's tables hold", path, im->n_ids, im->n_merges);
    names.at = need(im->n_ids + 1, sizeof *names.at);
    texts.at = need(im->n_ids + 1, sizeof *texts.at);
    uint8_t *flags = need(im->n_ids, 1);
    uint32_t *two = need(65536, sizeof *two), byte_id[256];
    sbuf_init(&names.bytes, TOK_MAX_FILE);
    sbuf_init(&texts.bytes, TOK_MAX_FILE);
    set_texts(b, &names, &texts, flags);
    im->n[TOK_S_config] = config.n;
    im->n[TOK_S_name_at] = im->n[TOK_S_text_at] = im->n_ids + 1;
    im->n[TOK_S_name] = names.bytes.n;
    im->n[TOK_S_text] = texts.bytes.n;
    im->n[TOK_S_flags] = im->n_ids;
    uint32_t *find = find_table(im, &texts, flags, &im->n[TOK_S_find]);
    uint64_t *pair = pair_table(b, &im->n[TOK_S_pair]), *maybe = maybe_table(b, &im->n[TOK_S_maybe]);
    im->n[TOK_S_made] = im->n_merges;
    im->n[TOK_S_two] = 65536;
    im->n[TOK_S_byte_id] = 256;
    memset(byte_id, 0xFF, sizeof byte_id);
    for (int32_t id = 0; id < im->n_ids; id++)
        if (texts.at[id + 1] - texts.at[id] == 1 && !(flags[id] & TOK_OWN_UTF8) && (flags[id] & TOK_IN_VOCAB))
            byte_id[(unsigned char)texts.bytes.p[texts.at[id]]] = (uint32_t)id;
    im->pair = pair; /* tok_pair_rank below reads them */
    im->maybe = maybe;
    for (int i = 0; i < 65536; i++)
        two[i] = byte_id[i >> 8] == ~0u || byte_id[i & 255] == ~0u ? TOK_NONE : tok_pair_rank(im, byte_id[i >> 8], byte_id[i & 255]);
    im->made = b->made;
    mark_self(im, &texts, flags, byte_id);
    const void *data[TOK_N_SECTIONS] = {
        [TOK_S_config] = config.p, [TOK_S_name_at] = names.at, [TOK_S_name] = names.bytes.p, [TOK_S_text_at] = texts.at,
        [TOK_S_text] = texts.bytes.p, [TOK_S_flags] = flags, [TOK_S_find] = find, [TOK_S_pair] = pair, [TOK_S_maybe] = maybe, [TOK_S_made] = b->made,
        [TOK_S_two] = two, [TOK_S_byte_id] = byte_id,
    };
    tok_image_pack(im, data);
    strings_release(&names);
    strings_release(&texts);
    free(flags);
    free(two);
    free(find);
    free(pair);
    free(maybe);
    return ERR_OK;
}

/* ---- tokenizer.json ----------------------------------------------------------------------- */

static struct str text_of(const json_t *v)
{
    return json_is_string(v) ? (struct str){json_string_value(v), (int64_t)json_string_length(v)} : (struct str){NULL, 0};
}

static err_code read_vocab(struct build *b, json_t *vocab, struct err *e)
{
    const char *key;
    json_t *v;
    int64_t top = -1;
    if (!json_is_object(vocab))
        return err_set(e, ERR_DATA, "model.vocab is not an object");
    json_object_foreach(vocab, key, v) {
        int64_t id = json_is_integer(v) ? json_integer_value(v) : -1;
        if (id < 0 || id >= TOK_MAX_IDS)
            return err_set(e, ERR_DATA, "model.vocab: the id of \"%.60s\" is not a number below %d", key, TOK_MAX_IDS);
        top = id > top ? id : top;
    }
    b->im->n_ids = (int32_t)(top + 1);
    b->name = need(b->im->n_ids, sizeof *b->name);
    void *it = json_object_iter(vocab);
    for (; it; it = json_object_iter_next(vocab, it)) {
        int64_t id = json_integer_value(json_object_iter_value(it));
        b->name[id] = (struct str){json_object_iter_key(it), (int64_t)json_object_iter_key_len(it)};
    }
    index_names(b);
    return ERR_OK;
}

/* "a b" or ["a", "b"]. */
static int merge_parts(const json_t *v, struct str *left, struct str *right)
{
    if (json_is_array(v) && json_array_size(v) == 2) {
        *left = text_of(json_array_get(v, 0));
        *right = text_of(json_array_get(v, 1));
        return left->p && right->p;
    }
    struct str s = text_of(v);
    int64_t at = s.p ? str_find(s, STR(" "), 0) : -1;
    if (at < 0 || str_find(s, STR(" "), at + 1) >= 0)
        return 0;
    *left = str_sub(s, 0, at);
    *right = str_sub(s, at + 1, s.n);
    return 1;
}

static err_code read_merges(struct build *b, const json_t *merges, struct str prefix, struct err *e)
{
    struct sbuf both;
    err_code rc = ERR_OK;
    if (!json_is_array(merges))
        return err_set(e, ERR_DATA, "model.merges is not a list");
    int64_t n = (int64_t)json_array_size(merges);
    if (n >= 1 << 28)
        return err_set(e, ERR_LIMIT, "model.merges has %lld entries", (long long)n);
    b->im->n_merges = (int32_t)n;
    b->n_pairs = n;
    b->made = need(n, sizeof *b->made);
    b->pair = need(n, sizeof *b->pair);
    sbuf_init(&both, TOK_MAX_FILE);
    for (int64_t r = 0; r < n && rc == ERR_OK; r++) {
        struct str left, right;
        if (!merge_parts(json_array_get(merges, (size_t)r), &left, &right)) {
            rc = err_set(e, ERR_DATA, "model.merges[%lld] is not a pair of tokens", (long long)r);
            break;
        }
        sbuf_clear(&both);
        sbuf_add(&both, left);
        sbuf_add(&both, str_sub(right, prefix.n, right.n));
        int32_t l = by_name(b, left), rr = by_name(b, right), made = by_name(b, sbuf_str(&both));
        if (l < 0 || rr < 0 || made < 0)
            rc = err_set(e, ERR_DATA, "model.merges[%lld]: \"%.*s\" is not in the vocabulary", (long long)r, STR_ARG(l < 0 ? left : rr < 0 ? right : sbuf_str(&both)));
        b->pair[r] = (struct build_pair){(uint32_t)l, (uint32_t)rr, (uint32_t)r};
        b->made[r] = (uint32_t)made;
    }
    sbuf_release(&both);
    return rc;
}

static int names_type(const json_t *v, const char *type)
{
    const char *keys[] = {"pretokenizers", "normalizers"};
    if (!json_is_object(v))
        return 0;
    struct str t = text_of(json_object_get(v, "type"));
    if (t.p && str_eq(t, str_of(type)))
        return 1;
    for (int k = 0; k < 2; k++) {
        size_t i;
        json_t *item;
        json_array_foreach(json_object_get(v, keys[k]), i, item) {
            if (names_type(item, type))
                return 1;
        }
    }
    return 0;
}

static err_code read_model(struct build *b, json_t *root, struct err *e)
{
    json_t *model = json_object_get(root, "model");
    struct tok_image *im = b->im;
    struct str type = text_of(json_object_get(model, "type")), prefix = {NULL, 0}, unk = {NULL, 0};
    double dropout = 0;
    if (!json_is_object(model))
        return err_set(e, ERR_DATA, "there is no \"model\"");
    if (type.p ? !str_eq(type, STR("BPE")) : !json_object_get(model, "merges"))
        return err_set(e, ERR_UNSUPPORTED, "model type \"%.*s\" is not supported, only BPE is", STR_ARG(type.p ? type : STR("?")));
    TRY(json_opt_f64(model, "dropout", &dropout, e));
    if (dropout > 0)
        return err_set(e, ERR_UNSUPPORTED, "model.dropout %g is not supported: ids would be random", dropout);
    TRY(json_opt_bool(model, "byte_fallback", &im->byte_fallback, e));
    TRY(json_opt_bool(model, "fuse_unk", &im->fuse_unk, e));
    TRY(json_opt_bool(model, "ignore_merges", &im->ignore_merges, e));
    TRY(json_opt_str(model, "continuing_subword_prefix", &prefix, e));
    TRY(json_opt_str(model, "unk_token", &unk, e));
    im->byte_level = names_type(json_object_get(root, "pre_tokenizer"), "ByteLevel");
    TRY(read_vocab(b, json_object_get(model, "vocab"), e));
    im->unk = -1;
    if (unk.p) {
        im->unk = by_name(b, unk);
        if (im->unk < 0)
            return err_set(e, ERR_DATA, "model.unk_token \"%.*s\" is not in the vocabulary", STR_ARG(unk));
    }
    return read_merges(b, json_object_get(model, "merges"), prefix, e);
}

/* The rest of the file as text: the big members of the model are left out. */
static char *small_config(json_t *root)
{
    json_t *model = json_object_get(root, "model"), *copy = json_copy(root), *small = json_copy(model);
    json_object_del(small, "vocab");
    json_object_del(small, "merges");
    json_object_set_new(copy, "model", small);
    char *text = json_dumps(copy, JSON_COMPACT);
    json_decref(copy);
    return text;
}

err_code tok_build_json(struct str json, const char *path, struct tok_image *im, struct err *e)
{
    struct build b = {.im = im};
    json_error_t je;
    *im = (struct tok_image){0};
    json_t *root = json_loadb(json.p, (size_t)json.n, JSON_ALLOW_NUL, &je);
    if (!root)
        return err_set(e, ERR_DATA, "%s:%d: not JSON: %s", path, je.line, je.text);
    err_code rc = read_model(&b, root, e);
    if (rc != ERR_OK)
        err_ctx(e, "%s", path);
    if (rc == ERR_OK) {
        b.config = small_config(root);
        rc = b.config ? finish(&b, str_of(b.config), path, e) : err_set(e, ERR_DATA, "%s: cannot be written back as JSON", path);
    }
    json_decref(root);
    build_free(&b);
    return rc;
}

/* ---- rank files --------------------------------------------------------------------------- */

/* Every way to cut a token into two tokens is a merge of that token's rank. */
static void cut_tokens(struct build *b, const struct str *token)
{
    int64_t cap = 0;
    for (int32_t id = 0; id < b->im->n_ids; id++)
        for (int64_t k = 1; k < token[id].n; k++) {
            int32_t left = by_name(b, str_sub(token[id], 0, k)), right = left < 0 ? -1 : by_name(b, str_sub(token[id], k, token[id].n));
            if (right < 0)
                continue;
            b->pair = tok_grow(b->pair, &cap, b->n_pairs + 1, sizeof *b->pair);
            b->pair[b->n_pairs++] = (struct build_pair){(uint32_t)left, (uint32_t)right, (uint32_t)id};
        }
}

/* Spellings of the byte alphabet for tokens given as bytes. */
static void spell(struct build *b, const struct str *token, struct sbuf *names)
{
    int64_t *at = need(b->im->n_ids + 1, sizeof *at);
    for (int32_t id = 0; id < b->im->n_ids; id++) {
        at[id] = names->n;
        for (int64_t i = 0; i < token[id].n; i++) {
            char u[4];
            int n = utf8_encode(tok_byte_char((unsigned char)token[id].p[i]), u);
            sbuf_add(names, (struct str){u, n});
        }
    }
    at[b->im->n_ids] = names->n;
    for (int32_t id = 0; id < b->im->n_ids; id++)
        b->name[id] = token[id].p ? (struct str){names->p + at[id], at[id + 1] - at[id]} : (struct str){NULL, 0};
    free(at);
}

err_code tok_build_ranks(const struct str *token, int64_t n, struct str config, const char *path, struct tok_image *im, struct err *e)
{
    struct build b = {.im = im};
    struct sbuf names;
    *im = (struct tok_image){.n_ids = (int32_t)n, .n_merges = (int32_t)n, .byte_level = 1, .ignore_merges = 1, .unk = -1};
    b.name = need(n, sizeof *b.name);
    b.made = need(n, sizeof *b.made);
    memcpy(b.name, token, (size_t)n * sizeof *token); /* by bytes first: cuts are found by them */
    for (int64_t i = 0; i < n; i++)
        b.made[i] = (uint32_t)i;
    index_names(&b);
    cut_tokens(&b, token);
    sbuf_init(&names, TOK_MAX_FILE);
    spell(&b, token, &names);
    err_code rc = finish(&b, config, path, e);
    sbuf_release(&names);
    build_free(&b);
    return rc;
}
