/* Small tokenizers of every family, made here: one vocabulary learned from a few lines, its merges once in their order and once
 * shuffled (so that tokens exist which their own bytes do not give), under the stages of each scanner, under none, and two by
 * character as Llama 2 and Gemma are. With each comes its merging done the plain way: search all pairs, merge, again. */
#ifndef HONE_TESTS_TOK_FAMILIES_H
#define HONE_TESTS_TOK_FAMILIES_H

#include <unistd.h>

#include "core/file.h"
#include "core/json.h"
#include "tests/tok_stages.h"
#include "text/text.h"

enum { FAM_SHUFFLED = 1, FAM_NFC = 2, FAM_IGNORE_MERGES = 4, FAM_BOS = 8, FAM_WHOLE = 16, FAM_SPM = 32, FAM_GEMMA = 64, FAM_CHARS = FAM_SPM | FAM_GEMMA };

static const struct family_spec {
    const char *name;
    enum tok_scanner scanner;
    int flags;
} family_specs[] = {
    {"gpt2", TOK_SCAN_GPT2, 0},
    {"digits", TOK_SCAN_GPT2_DIGITS, 0},
    {"llama3", TOK_SCAN_LLAMA3, FAM_IGNORE_MERGES | FAM_BOS},
    {"qwen2", TOK_SCAN_QWEN2, FAM_NFC},
    {"qwen35", TOK_SCAN_QWEN35, FAM_NFC},
    {"o200k", TOK_SCAN_O200K, 0},
    {"tekken", TOK_SCAN_TEKKEN, FAM_IGNORE_MERGES},
    {"kimi", TOK_SCAN_KIMI, 0},
    {"ds3", TOK_SCAN_DS3, 0},
    {"whole", TOK_SCAN_NONE, FAM_WHOLE},
    {"llama2", TOK_SCAN_NONE, FAM_SPM | FAM_BOS},
    {"gemma", TOK_SCAN_NONE, FAM_GEMMA},
    {"qwen2 shuffled", TOK_SCAN_QWEN2, FAM_SHUFFLED},
    {"llama3 shuffled", TOK_SCAN_LLAMA3, FAM_SHUFFLED | FAM_IGNORE_MERGES},
    {"whole shuffled", TOK_SCAN_NONE, FAM_WHOLE | FAM_SHUFFLED},
};
enum { N_FAMILIES = sizeof family_specs / sizeof *family_specs, FAM_MAX_IDS = 2048 };

struct family {
    const struct family_spec *spec;
    struct tok *t;
    struct tok_enc *enc;
    uint16_t *rank;              /* [FAM_MAX_IDS * FAM_MAX_IDS] rank + 1 of a pair, 0: none */
    int32_t made[FAM_MAX_IDS];   /* by rank */
};

static inline void family_die(const struct err *e)
{
    fprintf(stderr, "families: %s\n", e->msg);
    abort();
}

/* Words, runs and scripts whose merges the families have. */
static inline void family_texts(struct tok_trainer *tr)
{
    static const char *const lines[] = {
        "The quick brown fox jumps over the lazy dog. The dogs' sleep isn't over; they'll wake.", "def f(x):\n    return x*2 + 17\n\n\nprint(f(21)) // ok\n",
        "naïve café über русский 日本語のテキスト 🙂👍",
        "1234567890 12 3.14159 1,000,000\t\ttabs  and   spaces \r\n windows\r\n", "random letters: qzx kvbj wphg mft dlrc sny ae iou the ing tion er re on an in",
    };
    static const char *const unit[] = {" ", "\n", "=", "-", "a", "́", "中", "ab", "=-", "\r\n", "\t"};
    struct err e = {0};
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
            if (tok_train_add(tr, str_of(lines[i]), &e) != ERR_OK)
                family_die(&e);
        for (size_t i = 0; i < sizeof unit / sizeof *unit; i++) {
            struct sbuf b;
            sbuf_init(&b, 1 << 20);
            sbuf_addc(&b, 'x');
            for (int k = 0; k < 37 + (int)i; k++)
                sbuf_adds(&b, unit[i]);
            sbuf_addc(&b, 'y');
            if (tok_train_add(tr, sbuf_str(&b), &e) != ERR_OK)
                family_die(&e);
            sbuf_release(&b);
        }
    }
}

/* The "model" of a tokenizer.json, learned. */
static inline json_t *family_model(void)
{
    struct tok_trainer *tr;
    struct err e = {0};
    json_t *root, *model;
    char dir[] = "/tmp/hone-families-XXXXXX", path[64];
    if (!mkdtemp(dir) || tok_train_new(&(struct tok_train_opts){.vocab = 700, .pattern = "llama3"}, &tr, &e) != ERR_OK)
        family_die(&e);
    family_texts(tr);
    if (tok_train_write(tr, dir, NULL, &e) != ERR_OK)
        family_die(&e);
    tok_train_free(tr);
    snprintf(path, sizeof path, "%s/tokenizer.json", dir);
    if (json_load(path, 1 << 24, &root, &e) != ERR_OK || file_remove_tree(dir, &e) != ERR_OK)
        family_die(&e);
    model = json_incref(json_object_get(root, "model"));
    json_decref(root);
    return model;
}

/* By character: letters, the sign for a space, byte tokens, and merges among the letters. */
static inline json_t *family_char_model(void)
{
    static const char *const pairs[][2] = {{"t", "h"}, {"th", "e"}, {"▁", "the"}, {"i", "n"}, {"in", "g"}, {"a", "a"}, {"aa", "aa"}, {"aaaa", "aaaa"}, {"▁", "▁"},
                                           {"▁▁", "▁▁"}, {"=", "="}, {"==", "=="}, {"a", "b"}, {"ab", "ab"}, {"é", "a"}, {"o", "n"}, {"▁", "on"}, {"n", "t"}, {"b", "▁"}, {"b▁", "a"}};
    json_t *vocab = json_object(), *merges = json_array();
    int id = 0;
    char name[32];
    json_object_set_new(vocab, "<unk>", json_integer(id++));
    for (int i = 0; i < 256; i++) {
        snprintf(name, sizeof name, "<0x%02X>", i);
        json_object_set_new(vocab, name, json_integer(id++));
    }
    for (const char *c = "abcdefghijklmnopqrstuvwxyzTHE=-.,0123456789"; *c; c++) {
        snprintf(name, sizeof name, "%c", *c);
        json_object_set_new(vocab, name, json_integer(id++));
    }
    json_object_set_new(vocab, "▁", json_integer(id++));
    json_object_set_new(vocab, "é", json_integer(id++));
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        snprintf(name, sizeof name, "%s%s", pairs[i][0], pairs[i][1]);
        json_object_set_new(vocab, name, json_integer(id++));
        snprintf(name, sizeof name, "%s %s", pairs[i][0], pairs[i][1]);
        json_array_append_new(merges, json_string(name));
    }
    return json_pack("{s:s,s:s,s:b,s:b,s:o,s:o}", "type", "BPE", "unk_token", "<unk>", "fuse_unk", 1, "byte_fallback", 1, "vocab", vocab, "merges", merges);
}

static inline void family_shuffle(json_t *model)
{
    json_t *old = json_object_get(model, "merges"), *merges = json_array();
    size_t n = json_array_size(old), at[FAM_MAX_IDS];
    uint64_t x = 99;
    for (size_t i = 0; i < n; i++)
        at[i] = i;
    for (size_t i = n - 1; i > 0; i--) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        size_t k = (size_t)(x >> 33) % (i + 1), t = at[i];
        at[i] = at[k];
        at[k] = t;
    }
    for (size_t i = 0; i < n; i++)
        json_array_append(merges, json_array_get(old, at[i]));
    json_object_set_new(model, "merges", merges);
}

static inline json_t *family_file(const struct family_spec *f, const json_t *learned)
{
    json_t *model = f->flags & FAM_CHARS ? family_char_model() : json_deep_copy(learned), *pre = json_null(), *norm = json_null(), *post = json_null(), *dec, *added = json_array();
    static const char *const tokens[] = {"<|im_start|>", "<|im_end|>", "<tool>"};
    if (f->flags & FAM_SHUFFLED)
        family_shuffle(model);
    if (f->flags & FAM_IGNORE_MERGES)
        json_object_set_new(model, "ignore_merges", json_true());
    if (f->flags & FAM_NFC)
        norm = json_pack("{s:s}", "type", "NFC");
    if (f->scanner != TOK_SCAN_NONE)
        pre = stages_of(f->scanner);
    else if (f->flags & FAM_WHOLE)
        pre = json_pack("{s:s,s:b,s:b,s:b}", "type", "ByteLevel", "add_prefix_space", 0, "trim_offsets", 0, "use_regex", 0);
    dec = json_pack("{s:s}", "type", "ByteLevel");
    if (f->flags & FAM_CHARS) {
        json_t *sp = json_pack("{s:s,s:{s:s},s:s}", "type", "Replace", "pattern", "String", " ", "content", "▁");
        json_decref(dec);
        dec = json_pack("{s:s,s:[{s:s,s:{s:s},s:s},{s:s},{s:s}]}", "type", "Sequence", "decoders", "type", "Replace", "pattern", "String", "▁", "content", " ", "type", "ByteFallback",
                        "type", "Fuse");
        if (f->flags & FAM_SPM) {
            norm = json_pack("{s:s,s:[{s:s,s:s},o]}", "type", "Sequence", "normalizers", "type", "Prepend", "prepend", "▁", sp);
            json_array_append_new(json_object_get(dec, "decoders"), json_pack("{s:s,s:s,s:i,s:i}", "type", "Strip", "content", " ", "start", 1, "stop", 0));
        } else {
            norm = sp;
            pre = json_pack("{s:s,s:{s:s},s:s,s:b}", "type", "Split", "pattern", "String", " ", "behavior", "MergedWithPrevious", "invert", 0);
        }
    }
    if (f->flags & FAM_BOS)
        post = json_pack("{s:s,s:[{s:{s:s,s:i}},{s:{s:s,s:i}}],s:[],s:{s:{s:s,s:[i],s:[s]}}}", "type", "TemplateProcessing", "single", "SpecialToken", "id", "B", "type_id", 0, "Sequence", "id", "A",
                         "type_id", 0, "pair", "special_tokens", "B", "id", "B", "ids", 1, "tokens", "B");
    for (int i = 0; i < 3; i++)
        json_array_append_new(added, json_pack("{s:i,s:s,s:b,s:b,s:b,s:b,s:b}", "id", 1000 + i, "content", tokens[i], "single_word", 0, "lstrip", 0, "rstrip", 0, "normalized", i == 2, "special", i < 2));
    return json_pack("{s:o,s:o,s:o,s:o,s:o,s:o}", "added_tokens", added, "normalizer", norm, "pre_tokenizer", pre, "post_processor", post, "decoder", dec, "model", model);
}

static inline void family_open(struct family *f, const struct family_spec *spec, const json_t *learned)
{
    struct tok_image im = {0};
    struct err e = {0};
    struct sbuf b;
    json_t *file = family_file(spec, learned), *v;
    size_t i;
    *f = (struct family){.spec = spec};
    sbuf_init(&b, 1 << 24);
    json_put_value(&b, file);
    if (tok_build_json(sbuf_str(&b), spec->name, &im, &e) != ERR_OK || tok_from_image(&im, spec->name, NULL, &f->t, &e) != ERR_OK || tok_enc_new(f->t, &f->enc, &e) != ERR_OK)
        family_die(&e);
    f->rank = calloc((size_t)FAM_MAX_IDS * FAM_MAX_IDS, sizeof *f->rank);
    if (!f->rank || tok_n_ids(f->t) > FAM_MAX_IDS)
        abort();
    json_array_foreach(json_object_get(json_object_get(file, "model"), "merges"), i, v) {
        struct str s = str_of(json_string_value(v)), l = str_of(json_string_value(json_array_get(v, 0))), r = str_of(json_string_value(json_array_get(v, 1)));
        if (s.n) {
            l = str_sub(s, 0, str_find(s, STR(" "), 0));
            r = str_sub(s, l.n + 1, s.n);
        }
        int32_t left = -1, right = -1, made = -1;
        for (int32_t id = 0; id < tok_n_ids(f->t); id++) {
            struct str name = tok_name(f->t, id);
            left = str_eq(name, l) ? id : left;
            right = str_eq(name, r) ? id : right;
            made = name.n == l.n + r.n && str_starts(name, l) && str_ends(name, r) ? id : made;
        }
        if (left < 0 || right < 0 || made < 0)
            abort();
        f->rank[left * FAM_MAX_IDS + right] = (uint16_t)(i + 1);
        f->made[i] = made;
    }
    sbuf_release(&b);
    json_decref(file);
}

static inline void family_close(struct family *f)
{
    tok_enc_free(f->enc);
    tok_free(f->t);
    free(f->rank);
}

/* Merges id[0, n) in place the plain way; returns how many are left. */
static inline int64_t family_merge(const struct family *f, int32_t *id, int64_t n)
{
    for (;;) {
        int64_t at = -1;
        int best = 1 << 20;
        for (int64_t i = 0; i + 1 < n; i++) {
            int r = f->rank[id[i] * FAM_MAX_IDS + id[i + 1]];
            if (r && r < best)
                best = r, at = i;
        }
        if (at < 0)
            return n;
        id[at] = f->made[best - 1];
        memmove(id + at + 1, id + at + 2, (size_t)(n - at - 2) * sizeof *id);
        n--;
    }
}

#endif
