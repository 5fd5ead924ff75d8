/* Loading: image from the cache or from the file, then the pipeline around it. */
#include <stdio.h>
#include <stdlib.h>

#include "core/json.h"
#include "text/tok.h"

struct str tok_keep(struct tok *t, struct str s)
{
    return str_dup(&t->mem, s);
}

/* ---- added tokens ------------------------------------------------------------------------- */

static int flag(const json_t *o, const char *key, int def)
{
    const json_t *v = json_object_get(o, key);
    return json_is_boolean(v) ? json_is_true(v) : def;
}

static err_code read_added(struct tok *t, const json_t *o, struct err *e)
{
    struct tok_added a = {.id = -1};
    TRY(json_need_str(o, "content", &a.text, e));
    if (t->listed_ids)
        a.id = (int32_t)json_integer_value(json_object_get(o, "id"));
    a.single_word = (uint8_t)flag(o, "single_word", 0);
    a.lstrip = (uint8_t)flag(o, "lstrip", 0);
    a.rstrip = (uint8_t)flag(o, "rstrip", 0);
    a.special = (uint8_t)flag(o, "special", 0);
    a.normalized = (uint8_t)flag(o, "normalized", !a.special);
    return tok_add_token(t, &a, e);
}

err_code tok_open_added(struct tok *t, const json_t *list, struct err *e)
{
    size_t i;
    json_t *o;
    json_array_foreach(list, i, o)
        TRY(read_added(t, o, e));
    return ERR_OK;
}

struct listed {
    int64_t id;
    const json_t *token;
};

static int by_id(const void *a, const void *b)
{
    const struct listed *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

/* tokenizer_config.json lists tokens that the tokenizer.json beside it may lack: added in the order of their ids. */
static err_code read_config_added(struct tok *t, const json_t *config, struct err *e)
{
    json_t *list = json_object_get(config, "added_tokens_decoder"), *o;
    const char *key;
    int64_t n = 0;
    err_code rc = ERR_OK;
    if (!json_is_object(list))
        return ERR_OK;
    struct listed *all = calloc(json_object_size(list) + 1, sizeof *all);
    if (!all)
        BUG("out of memory for added tokens");
    json_object_foreach(list, key, o) {
        if (!str_to_i64(str_of(key), &all[n].id))
            rc = err_set(e, ERR_DATA, "tokenizer_config.json: added_tokens_decoder: \"%.40s\" is not an id", key);
        all[n++].token = o;
    }
    qsort(all, (size_t)n, sizeof *all, by_id);
    for (int64_t i = 0; i < n && rc == ERR_OK; i++) {
        struct str text = {NULL, 0};
        rc = json_need_str(all[i].token, "content", &text, e);
        if (rc == ERR_OK && tok_added_find(t, text) < 0)
            rc = read_added(t, all[i].token, e);
    }
    free(all);
    return rc;
}

/* ---- post-processor ----------------------------------------------------------------------- */

static err_code put_special(struct tok *t, int32_t *list, int *n, int64_t id, struct err *e)
{
    if (*n == 16)
        return err_set(e, ERR_LIMIT, "a post-processor adds more than 16 tokens on one side");
    if (id < 0 || id >= TOK_MAX_IDS)
        return err_set(e, ERR_DATA, "a post-processor adds id %lld", (long long)id);
    (void)t;
    list[(*n)++] = (int32_t)id;
    return ERR_OK;
}

static err_code read_template(struct tok *t, const json_t *v, struct err *e)
{
    size_t i, k;
    json_t *item, *id;
    int behind = 0;
    json_array_foreach(json_object_get(v, "single"), i, item) {
        json_t *special = json_object_get(item, "SpecialToken"), *seq = json_object_get(item, "Sequence");
        struct str name = {NULL, 0};
        if (seq) {
            if (behind++)
                return err_set(e, ERR_UNSUPPORTED, "a TemplateProcessing that repeats the text is not supported");
            continue;
        }
        TRY(json_need_str(special, "id", &name, e));
        json_t *entry = json_object_getn(json_object_get(v, "special_tokens"), name.p, (size_t)name.n);
        if (!entry)
            return err_set(e, ERR_DATA, "TemplateProcessing: \"%.*s\" is not in its special_tokens", STR_ARG(name));
        json_array_foreach(json_object_get(entry, "ids"), k, id)
            TRY(put_special(t, behind ? t->file.after : t->file.before, behind ? &t->file.n_after : &t->file.n_before, json_integer_value(id), e));
    }
    return ERR_OK;
}

/* ["</s>", 2] */
static int64_t pair_id(const json_t *v, const char *key)
{
    const json_t *id = json_array_get(json_object_get(v, key), 1);
    return json_is_integer(id) ? json_integer_value(id) : -1;
}

err_code tok_open_post(struct tok *t, const json_t *v, struct err *e)
{
    struct str type = {NULL, 0};
    if (!v || json_is_null(v))
        return ERR_OK;
    TRY(json_need_str(v, "type", &type, e));
    if (str_eq(type, STR("Sequence"))) {
        size_t i;
        json_t *item;
        json_array_foreach(json_object_get(v, "processors"), i, item)
            TRY(tok_open_post(t, item, e));
        return ERR_OK;
    }
    if (str_eq(type, STR("TemplateProcessing")))
        return read_template(t, v, e);
    int roberta = str_eq(type, STR("RobertaProcessing"));
    if (str_eq(type, STR("ByteLevel")) || roberta) {
        t->trim_offsets = flag(v, "trim_offsets", 1);
        t->trim_prefix = flag(v, "add_prefix_space", 1);
    }
    if (roberta || str_eq(type, STR("BertProcessing"))) {
        TRY(put_special(t, t->file.before, &t->file.n_before, pair_id(v, "cls"), e));
        return put_special(t, t->file.after, &t->file.n_after, pair_id(v, "sep"), e);
    }
    return str_eq(type, STR("ByteLevel")) ? ERR_OK : err_set(e, ERR_UNSUPPORTED, "post-processor \"%.*s\" is not supported", STR_ARG(type));
}

/* ---- the whole ---------------------------------------------------------------------------- */

static void open_fallback(struct tok *t)
{
    memset(t->fallback, 0xFF, sizeof t->fallback);
    for (int b = 0; t->im.byte_fallback && b < 256; b++) {
        char name[8];
        int n = snprintf(name, sizeof name, "<0x%02X>", b);
        int32_t id = tok_vocab_find(&t->im, (struct str){name, n});
        if (id >= 0)
            t->fallback[b] = (uint32_t)id;
    }
}

/* Llama 2 and Gemma have no pre-tokenizer to speak of: a text is one piece. But their vocabularies were learned from words, so hardly any
 * token has a mark behind another character, and what no token holds no merge crosses: the piece falls apart there into words that can
 * be remembered one by one. Unknown characters would join over a seam; with all byte tokens there are none. A byte token that a merge
 * could make too would not tell how many bytes it stands for. */
static void open_apart(struct tok *t)
{
    const struct tok_image *im = &t->im;
    const struct str mark = STR(TOK_MARK);
    uint32_t low = ~0u, high = 0;
    if (im->byte_level || !im->byte_fallback || im->ignore_merges || t->prefix.n || t->suffix.n)
        return;
    for (int b = 0; b < 256; b++) {
        if (t->fallback[b] == ~0u)
            return;
        low = t->fallback[b] < low ? t->fallback[b] : low;
        high = t->fallback[b] > high ? t->fallback[b] : high;
    }
    for (int32_t r = 0; r < im->n_merges; r++)
        if (im->made[r] >= low && im->made[r] <= high)
            return;
    for (int32_t id = 0; id < im->n_ids; id++) {
        struct str s = tok_im_text(im, id);
        for (int64_t at = str_find(s, mark, 1); at >= 0; at = str_find(s, mark, at + 1))
            t->joined[(unsigned char)s.p[at - 1]] = 1;
    }
    t->apart = 1;
}

static err_code open_config(struct tok *t, const json_t *root, const json_t *config, struct err *e)
{
    const json_t *model = json_object_get(root, "model");
    struct str prefix = {NULL, 0}, suffix = {NULL, 0};
    TRY(json_opt_str(model, "continuing_subword_prefix", &prefix, e));
    TRY(json_opt_str(model, "end_of_word_suffix", &suffix, e));
    t->prefix = tok_keep(t, prefix);
    t->suffix = tok_keep(t, suffix);
    if (t->im.byte_level && (prefix.n || suffix.n))
        return err_set(e, ERR_UNSUPPORTED, "a subword prefix or suffix together with ByteLevel is not supported");
    TRY(tok_open_norm(t, json_object_get(root, "normalizer"), e));
    TRY(tok_open_pre(t, json_object_get(root, "pre_tokenizer"), e));
    TRY(tok_open_post(t, json_object_get(root, "post_processor"), e));
    TRY(tok_open_added(t, json_object_get(root, "added_tokens"), e));
    TRY(read_config_added(t, config, e));
    TRY(tok_open_tries(t, e));
    TRY(tok_open_dec(t, json_object_get(root, "decoder"), e));
    open_fallback(t);
    open_apart(t);
    return tok_open_pieces(t, e);
}

static void add_to_hash(const struct tok *t, struct hash_state *h)
{
    hash_field(h, t->im.config, t->im.n[TOK_S_config]);
    hash_field(h, t->im.name_at, (t->im.n_ids + 1) * (int64_t)sizeof *t->im.name_at);
    hash_field(h, t->im.name, t->im.n[TOK_S_name]);
    hash_field(h, t->im.pair, t->im.n[TOK_S_pair] * (int64_t)sizeof *t->im.pair);
    for (int32_t i = 0; i < t->n_added; i++) {
        const struct tok_added *a = &t->added[i];
        uint8_t bits[] = {a->single_word, a->lstrip, a->rstrip, a->normalized, a->special};
        hash_field(h, a->text.p, a->text.n);
        hash_field(h, &a->id, sizeof a->id);
        hash_field(h, bits, sizeof bits);
    }
    if (memcmp(&t->class, &t->file, sizeof t->class))
        hash_field(h, &t->class, sizeof t->class);
}

/* "eos_token": "text" or {"content": "text"}. */
static int32_t named_token(const struct tok *t, const json_t *config, const json_t *map, const char *key)
{
    const json_t *v = json_object_get(config, key);
    if (!v || json_is_null(v))
        v = json_object_get(map, key);
    if (json_is_object(v))
        v = json_object_get(v, "content");
    return json_is_string(v) ? tok_find(t, (struct str){json_string_value(v), (int64_t)json_string_length(v)}) : -1;
}

/* One of the classes that write their own post-processor. */
static int class_adds(struct str name)
{
    static const char *const classes[] = {"LlamaTokenizer", "GemmaTokenizer", "CohereTokenizer", "CodeLlamaTokenizer"};
    if (str_ends(name, STR("Fast")))
        name = str_sub(name, 0, name.n - 4);
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (str_eq(name, str_of(classes[i])))
            return 1;
    return 0;
}

/* add_bos_token is on and add_eos_token off where the file does not say. */
static err_code open_class(struct tok *t, const json_t *config, struct err *e)
{
    struct str name = {NULL, 0};
    const json_t *bos = json_object_get(config, "add_bos_token"), *eos = json_object_get(config, "add_eos_token");
    t->class = t->file;
    if (!json_is_object(config))
        return ERR_OK;
    TRY(json_opt_str(config, "tokenizer_class", &name, e));
    if (!class_adds(name))
        return ERR_OK;
    if ((json_is_true(bos) && t->bos < 0) || (json_is_true(eos) && t->eos < 0))
        return err_set(e, ERR_DATA, "tokenizer_config.json: add_%s_token is true, but there is no %s_token", json_is_true(bos) && t->bos < 0 ? "bos" : "eos", json_is_true(bos) && t->bos < 0 ? "bos" : "eos");
    t->class = (struct tok_around){0};
    if (!json_is_false(bos) && t->bos >= 0)
        t->class.before[t->class.n_before++] = t->bos;
    if (json_is_true(eos))
        t->class.after[t->class.n_after++] = t->eos;
    return ERR_OK;
}

static err_code open_all(struct tok *t, const char *path, const json_t *config, const json_t *map, struct err *e)
{
    json_t *root = NULL;
    TRY(json_parse((struct str){t->im.config, t->im.n[TOK_S_config]}, &root, e));
    err_code rc = open_config(t, root, config, e);
    json_decref(root);
    if (rc != ERR_OK)
        return err_ctx(e, "%s", path);
    t->bos = named_token(t, config, map, "bos_token");
    t->eos = named_token(t, config, map, "eos_token");
    t->pad = named_token(t, config, map, "pad_token");
    if (open_class(t, config, e) != ERR_OK)
        return err_ctx(e, "%s", path);
    struct hash_state *h = hash_open();
    add_to_hash(t, h);
    t->hash = hash_close(h);
    return ERR_OK;
}

static err_code optional_json(const char *dir, const char *name, json_t **out, struct err *e)
{
    char path[4096];
    struct sbuf b;
    json_error_t je;
    *out = NULL;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (!file_exists(path))
        return ERR_OK;
    sbuf_init(&b, 64 << 20);
    err_code rc = file_read(path, &b, e);
    /* "model_max_length": 1000000000000000019884624838656 is common: integers are read as floats */
    if (rc == ERR_OK && !(*out = json_loadb(b.p ? b.p : "", (size_t)b.n, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &je)))
        rc = err_set(e, ERR_DATA, "%s:%d: not JSON: %s", path, je.line, je.text);
    sbuf_release(&b);
    return rc;
}

static struct tok *new_tok(void)
{
    struct tok *t = calloc(1, sizeof *t);
    if (!t)
        BUG("out of memory for a tokenizer");
    arena_init(&t->mem, "tokenizer", 1LL << 30);
    t->max_added = -1;
    return t;
}

err_code tok_from_image(struct tok_image *im, const char *path, const json_t *config, struct tok **out, struct err *e)
{
    struct tok *t = new_tok();
    t->im = *im;
    t->listed_ids = 1;
    err_code rc = open_all(t, path, config, NULL, e);
    if (rc != ERR_OK)
        tok_free(t);
    else
        *out = t;
    return rc;
}

static err_code load_image(struct tok *t, const char *path, struct err *e)
{
    struct file_map map;
    TRY(file_map_open(path, &map, e));
    struct hash128 key = hash_bytes(map.p, map.n);
    err_code rc = ERR_OK;
    if (!tok_cache_get(key, &t->im)) {
        rc = tok_build_json((struct str){map.p, map.n}, path, &t->im, e);
        if (rc == ERR_OK)
            tok_cache_put(key, &t->im);
    }
    file_map_release(&map);
    return rc;
}

err_code tok_load(const char *dir, struct tok **out, struct err *e)
{
    char path[4096];
    json_t *config = NULL, *map = NULL;
    int is_dir = file_is_dir(dir);
    struct tok *t = new_tok();
    snprintf(path, sizeof path, is_dir ? "%s/tokenizer.json" : "%s", dir);
    err_code rc = load_image(t, path, e);
    if (rc == ERR_OK && is_dir)
        rc = optional_json(dir, "tokenizer_config.json", &config, e);
    if (rc == ERR_OK && is_dir)
        rc = optional_json(dir, "special_tokens_map.json", &map, e);
    if (rc == ERR_OK)
        rc = open_all(t, path, config, map, e);
    json_decref(config);
    json_decref(map);
    if (rc != ERR_OK)
        tok_free(t);
    else
        *out = t;
    return rc;
}

void tok_free(struct tok *t)
{
    if (!t)
        return;
    for (int i = 0; i < t->n_norm; i++)
        tok_re_free(t->norm[i].re);
    for (int i = 0; i < t->n_pre; i++)
        tok_re_free(t->pre[i].re);
    tok_added_free(t);
    tok_image_release(&t->im);
    arena_release(&t->mem);
    free(t);
}

/* ---- asking ------------------------------------------------------------------------------- */

int32_t tok_n_ids(const struct tok *t)
{
    return t->n_ids;
}

int32_t tok_find(const struct tok *t, struct str text)
{
    int32_t k = tok_added_find(t, text);
    if (k >= 0)
        return t->added[k].id;
    int32_t id = tok_vocab_find(&t->im, text);
    for (int32_t i = 0; id < 0 && i < t->n_ids; i++) /* what it decodes to may differ from what it matches ("▁the") */
        if (str_eq(tok_bytes(t, i), text) && text.n)
            id = i;
    return id;
}

struct str tok_name(const struct tok *t, int32_t id)
{
    if (id < 0 || id >= t->n_ids)
        return (struct str){"", 0};
    if (t->added_of[id] >= 0)
        return t->added[t->added_of[id]].text;
    return id < t->im.n_ids ? tok_im_name(&t->im, id) : (struct str){"", 0};
}

int tok_is_added(const struct tok *t, int32_t id)
{
    return id >= 0 && id < t->n_ids && t->added_of[id] >= 0;
}

int tok_is_special(const struct tok *t, int32_t id)
{
    return tok_is_added(t, id) && t->added[t->added_of[id]].special;
}

int32_t tok_bos(const struct tok *t)
{
    return t->bos;
}

int32_t tok_eos(const struct tok *t)
{
    return t->eos;
}

int32_t tok_pad(const struct tok *t)
{
    return t->pad;
}

int32_t tok_unk(const struct tok *t)
{
    return t->im.unk;
}

struct hash128 tok_hash(const struct tok *t)
{
    return t->hash;
}

int64_t tok_memory(const struct tok *t)
{
    int64_t nodes = (int64_t)(t->raw.cap + t->normed.cap) * (int64_t)sizeof *t->raw.node;
    return (int64_t)sizeof *t + t->im.bytes + arena_used(&t->mem) + t->n_added * (int64_t)sizeof *t->added + nodes;
}
