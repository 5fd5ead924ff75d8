/* Tokenizers. Fails when: ids differ from the reference library's on a file or a flag, an offset or a plain span is
 * wrong, a long piece is merged otherwise than plainly, bytes that are not UTF-8 pass, streamed text differs from whole text or
 * changes later, training depends on the order of texts, a setting that is not supported is accepted, threads change ids. */
#include <unistd.h>

#include "core/file.h"
#include "core/json.h"
#include "core/par.h"
#include "tests/test.h"
#include "tests/tok_families.h"
#include "text/text.h"

#define MUST(call)                       \
    do {                                 \
        struct err e_ = {0}, *e = &e_;   \
        if ((call) != ERR_OK)            \
            fail_msg("%s", e_.msg);      \
    } while (0)

static char dir[] = "/tmp/hone-tokenizer-XXXXXX";

static const char *const texts[] = {
    "The quick brown fox jumps over the lazy dog. The dog sleeps; the fox doesn't.",
    "def f(x):\n    return x * 2 + 17\n\n\nprint(f(21))\n",
    "Ünïcödé, naïve café, 日本語のテキスト, русский текст, ภาษาไทย, 🙂👍🏽",
    "1234567890 12 3.14159 1,000,000\t\ttabs  and   spaces \r\n windows\r\n",
};
enum { N_TEXTS = sizeof texts / sizeof *texts };

static struct tok *trained(const char *pattern, int64_t vocab, int backwards)
{
    struct tok_trainer *tr;
    struct tok_train_stats s;
    struct tok *t;
    char path[200];
    snprintf(path, sizeof path, "%s/%s-%d", dir, pattern, backwards);
    MUST(tok_train_new(&(struct tok_train_opts){.vocab = vocab, .pattern = pattern}, &tr, e));
    for (int r = 0; r < 3; r++)
        for (int i = 0; i < N_TEXTS; i++)
            MUST(tok_train_add(tr, str_of(texts[backwards ? N_TEXTS - 1 - i : i]), e));
    MUST(tok_train_write(tr, path, &s, e));
    tok_train_free(tr);
    assert_int_equal(s.texts, 3 * N_TEXTS);
    MUST(tok_load(path, &t, e));
    assert_int_equal(tok_n_ids(t), s.ids);
    return t;
}

static void decodes_to(const struct tok *t, const struct tok_ids *ids, int skip, struct str want)
{
    struct sbuf out;
    sbuf_init(&out, 1 << 24);
    assert_int_equal(tok_decode(t, ids->id, ids->n, skip, &out), 0);
    if (!str_eq(sbuf_str(&out), want))
        fail_msg("decoded '%.*s', not '%.*s'", STR_ARG(sbuf_str(&out)), STR_ARG(want));
    sbuf_release(&out);
}

static void round_trips(void **state)
{
    static const char *const patterns[] = {"qwen2", "gpt2", "llama3", "o200k"};
    (void)state;
    for (int p = 0; p < 4; p++) {
        struct tok *t = trained(patterns[p], 600, 0);
        struct tok_enc *enc;
        struct tok_ids ids = {0};
        MUST(tok_enc_new(t, &enc, e));
        for (int i = 0; i < N_TEXTS; i++) {
            struct str s = str_of(texts[i]);
            MUST(tok_encode(enc, &(struct tok_text){.text = s, .offsets = 1}, &ids, e));
            assert_true(ids.n > 0 && ids.n < s.n);
            decodes_to(t, &ids, 0, s);
            assert_int_equal(ids.begin[0], 0);
            assert_int_equal(ids.end[ids.n - 1], s.n);
            for (int64_t k = 1; k < ids.n; k++)
                assert_true(ids.begin[k] >= ids.begin[k - 1] && ids.begin[k] <= ids.end[k - 1]);
        }
        tok_ids_release(&ids);
        tok_enc_free(enc);
        tok_free(t);
    }
}

static void order_of_texts(void **state)
{
    (void)state;
    struct tok *a = trained("qwen2", 500, 0), *b = trained("qwen2", 500, 1);
    assert_true(hash_eq(tok_hash(a), tok_hash(b)));
    tok_free(a);
    tok_free(b);
}

static void special_tokens(void **state)
{
    (void)state;
    struct tok *t = trained("qwen2", 500, 0);
    struct tok_enc *enc;
    struct tok_ids ids = {0};
    struct str s = STR("<|im_start|>user\nsay <|im_end|><|im_end|>\n");
    struct tmpl_span spans[] = {{.begin = 0, .end = 17}, {.begin = 17, .end = 31, .plain = 1}, {.begin = 31, .end = 42}};
    int32_t im_end = tok_find(t, STR("<|im_end|>"));
    MUST(tok_enc_new(t, &enc, e));
    assert_int_equal(im_end, tok_eos(t));
    assert_int_equal(tok_find(t, STR("<|endoftext|>")), tok_pad(t));
    assert_true(tok_is_special(t, im_end) && !tok_is_special(t, 5));
    for (int how = 0; how < 3; how++) {
        static const int want_ends[] = {2, 1, 0};
        struct tok_text in = {.text = s, .offsets = 1, .spans = how == 1 ? spans : NULL, .n_spans = how == 1 ? 3 : 0, .plain = how == 2};
        int ends = 0;
        MUST(tok_encode(enc, &in, &ids, e));
        for (int64_t i = 0; i < ids.n; i++) {
            ends += ids.id[i] == im_end;
            if (how == 1 && ids.id[i] == im_end)
                assert_int_equal(ids.begin[i], 31);
        }
        assert_int_equal(ends, want_ends[how]);
        decodes_to(t, &ids, 0, s);
        if (how == 0)
            decodes_to(t, &ids, 1, STR("user\nsay \n"));
    }
    tok_ids_release(&ids);
    tok_enc_free(enc);
    tok_free(t);
}

/* ---- small files of our own, one setting each --------------------------------------------- */

struct setting {
    const char *what, *json; /* the file but for the vocabulary */
    const char *text, *ids, *decoded, *offsets;
};

#define CHARS "\"vocab\":{\"<unk>\":0,\"a\":1,\"b\":2,\"ab\":3,\"\xE2\x96\x81\":4,\"\xE2\x96\x81" "a\":5,\"<0x41>\":6,\"c\":7,\"bc\":8,\"abc\":9,\"<0xC3>\":10,\"<0xA9>\":11}," \
              "\"merges\":[\"b c\",\"a b\",\"\xE2\x96\x81 a\",\"a bc\"]"
/* ids and offsets below were produced by the tokenizers library 0.23.3 on these very files */
static const struct setting settings[] = {
    {"merge order", "{\"model\":{\"type\":\"BPE\"," CHARS "}}", "abcabab", "9 3 3", NULL, "0 3 3 5 5 7"},
    {"unknown dropped", "{\"model\":{\"type\":\"BPE\"," CHARS "}}", "axb", "3", NULL, NULL},
    {"unk", "{\"model\":{\"type\":\"BPE\",\"unk_token\":\"<unk>\"," CHARS "}}", "xxa", "0 0 1", NULL, "0 1 1 2 2 3"},
    {"fused unk", "{\"model\":{\"type\":\"BPE\",\"unk_token\":\"<unk>\",\"fuse_unk\":true," CHARS "}}", "xxa", "0 1", NULL, "0 2 2 3"},
    {"byte fallback", "{\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"}]},\"model\":{\"type\":\"BPE\",\"byte_fallback\":true," CHARS "}}",
     "a\xC3\xA9", "1 10 11", "a\xC3\xA9", NULL},
    {"metaspace", "{\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"\xE2\x96\x81\",\"prepend_scheme\":\"always\",\"split\":true},"
                  "\"decoder\":{\"type\":\"Metaspace\",\"replacement\":\"\xE2\x96\x81\",\"prepend_scheme\":\"always\",\"split\":true},\"model\":{\"type\":\"BPE\"," CHARS "}}",
     "ab a", "4 3 5", "ab a", "0 1 0 2 2 4"},
    {"lower, strip", "{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Strip\",\"strip_left\":true,\"strip_right\":true},{\"type\":\"Lowercase\"}]},"
                     "\"model\":{\"type\":\"BPE\"," CHARS "}}", "  ABA ", "3 1", NULL, "2 4 4 5"},
    {"ignore_merges", "{\"model\":{\"type\":\"BPE\",\"ignore_merges\":true,\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"ba\":3,\"aba\":4},\"merges\":[\"b a\",\"a b\"]}}", "aba", "4", NULL, NULL},
    {"no ignore_merges", "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"ba\":3,\"aba\":4},\"merges\":[\"b a\",\"a b\"]}}", "aba", "0 3", NULL, NULL},
    {"suffix", "{\"decoder\":{\"type\":\"BPEDecoder\",\"suffix\":\"</w>\"},\"pre_tokenizer\":{\"type\":\"WhitespaceSplit\"},\"model\":{\"type\":\"BPE\",\"end_of_word_suffix\":\"</w>\","
               "\"vocab\":{\"a\":0,\"b\":1,\"b</w>\":2,\"ab</w>\":3},\"merges\":[\"a b</w>\"]}}", "ab ab", "3 3", "ab ab", NULL},
    {"flags", "{\"added_tokens\":[{\"id\":20,\"content\":\"<x>\",\"lstrip\":true,\"rstrip\":true,\"normalized\":false,\"special\":true},"
              "{\"id\":21,\"content\":\"ab\",\"single_word\":true,\"normalized\":false,\"special\":false},{\"id\":22,\"content\":\"<xy>\",\"normalized\":true,\"special\":false}],"
              "\"model\":{\"type\":\"BPE\",\"unk_token\":\"<unk>\"," CHARS "}}", "ab cab  <x>  <xy>", "3 0 7 3 12 13", NULL, "0 2 2 3 3 4 4 6 6 13 13 17"},
    {"template", "{\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"a\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"pair\":[],"
                 "\"special_tokens\":{\"a\":{\"id\":\"a\",\"ids\":[1],\"tokens\":[\"a\"]}}},\"model\":{\"type\":\"BPE\"," CHARS "}}", "b", "1 2", NULL, "0 0 0 1"},
};

static struct tok *from_json(const char *json, struct err *why)
{
    char path[200];
    struct tok *t = NULL;
    snprintf(path, sizeof path, "%s/one.json", dir);
    MUST(file_write_atomic(path, str_of(json), e));
    tok_load(path, &t, why);
    return t;
}

static void numbers(struct sbuf *b, const struct tok_ids *ids, int offsets)
{
    sbuf_clear(b);
    for (int64_t i = 0; i < ids->n; i++)
        if (offsets)
            sbuf_addf(b, "%s%lld %lld", i ? " " : "", (long long)ids->begin[i], (long long)ids->end[i]);
        else
            sbuf_addf(b, "%s%d", i ? " " : "", ids->id[i]);
}

static void every_setting(void **state)
{
    (void)state;
    struct sbuf b;
    sbuf_init(&b, 1 << 20);
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        const struct setting *s = &settings[i];
        struct err w = {0};
        struct tok *t = from_json(s->json, &w);
        struct tok_enc *enc;
        struct tok_ids ids = {0};
        if (!t)
            fail_msg("%s: %s", s->what, w.msg);
        MUST(tok_enc_new(t, &enc, e));
        MUST(tok_encode(enc, &(struct tok_text){.text = str_of(s->text), .offsets = 1, .add_special = TOK_SPECIAL_FILE}, &ids, e));
        numbers(&b, &ids, 0);
        if (strcmp(b.p ? b.p : "", s->ids))
            fail_msg("%s: ids %s, not %s", s->what, b.p, s->ids);
        numbers(&b, &ids, 1);
        if (s->offsets && strcmp(b.p, s->offsets))
            fail_msg("%s: offsets %s, not %s", s->what, b.p, s->offsets);
        if (s->decoded)
            decodes_to(t, &ids, 0, str_of(s->decoded));
        tok_ids_release(&ids);
        tok_enc_free(enc);
        tok_free(t);
    }
    sbuf_release(&b);
}

/* What goes around a text when it is asked as transformers 4 does it: {class, add_bos, add_eos} -> ids of "b". */
static void class_rules(void **state)
{
    static const struct {
        const char *config, *file, *class;
    } rule[] = {
        {"{\"tokenizer_class\":\"LlamaTokenizerFast\",\"add_bos_token\":true,\"bos_token\":{\"content\":\"<s>\"}}", "2", "20 2"},
        {"{\"tokenizer_class\":\"GemmaTokenizer\",\"add_eos_token\":true,\"bos_token\":\"<s>\",\"eos_token\":\"</s>\"}", "2", "20 2 21"},
        {"{\"tokenizer_class\":\"LlamaTokenizer\",\"add_bos_token\":false,\"bos_token\":\"<s>\"}", "2", "2"},
        {"{\"tokenizer_class\":\"PreTrainedTokenizerFast\",\"add_bos_token\":true,\"bos_token\":\"<s>\"}", "2", "2"},
        {"{\"add_bos_token\":true,\"bos_token\":\"<s>\"}", "2", "2"},
        {"{\"tokenizer_class\":\"LlamaTokenizer\",\"add_bos_token\":true}", NULL, "add_bos_token"},
    };
    char path[300], model[200];
    struct sbuf b;
    (void)state;
    sbuf_init(&b, 1 << 20);
    snprintf(model, sizeof model, "%s/class", dir);
    MUST(file_mkdirs(model, e));
    snprintf(path, sizeof path, "%s/tokenizer.json", model);
    MUST(file_write_atomic(path, STR("{\"added_tokens\":[{\"id\":20,\"content\":\"<s>\",\"special\":true},{\"id\":21,\"content\":\"</s>\",\"special\":true}],"
                                     "\"model\":{\"type\":\"BPE\"," CHARS "}}"), e));
    snprintf(path, sizeof path, "%s/tokenizer_config.json", model);
    struct hash128 bare = {0, 0};
    for (size_t i = 0; i < sizeof rule / sizeof *rule; i++) {
        struct tok *t = NULL;
        struct tok_enc *enc;
        struct tok_ids ids = {0};
        struct err w = {0};
        MUST(file_write_atomic(path, str_of(rule[i].config), e));
        if (tok_load(model, &t, &w) != ERR_OK) {
            if (rule[i].file || !strstr(w.msg, rule[i].class))
                fail_msg("rule %zu: %s", i, w.msg);
            continue;
        }
        assert_non_null(rule[i].file);
        MUST(tok_enc_new(t, &enc, e));
        for (int how = TOK_SPECIAL_FILE; how <= TOK_SPECIAL_CLASS; how++) {
            int32_t first = tok_find(t, STR("<s>"));
            MUST(tok_encode(enc, &(struct tok_text){.text = STR("b"), .add_special = (enum tok_special)how}, &ids, e));
            for (int64_t k = 0; k < ids.n; k++)
                ids.id[k] += ids.id[k] >= first ? 20 - first : 0;
            numbers(&b, &ids, 0);
            assert_string_equal(b.p, how == TOK_SPECIAL_FILE ? rule[i].file : rule[i].class);
        }
        if (i == 2)
            bare = tok_hash(t);
        assert_int_equal(i > 2, i != 2 && hash_eq(bare, tok_hash(t))); /* what adds nothing is one tokenizer */
        tok_ids_release(&ids);
        tok_enc_free(enc);
        tok_free(t);
    }
    sbuf_release(&b);
}

static void refuses_by_name(void **state)
{
    static const struct {
        const char *json, *says;
        err_code code;
    } bad[] = {
        {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{}}}", "WordPiece", ERR_UNSUPPORTED},
        {"{\"normalizer\":{\"type\":\"Nmt\"},\"model\":{\"type\":\"BPE\",\"vocab\":{},\"merges\":[]}}", "Nmt", ERR_UNSUPPORTED},
        {"{\"pre_tokenizer\":{\"type\":\"UnicodeScripts\"},\"model\":{\"type\":\"BPE\",\"vocab\":{},\"merges\":[]}}", "UnicodeScripts", ERR_UNSUPPORTED},
        {"{\"decoder\":{\"type\":\"CTC\"},\"model\":{\"type\":\"BPE\",\"vocab\":{},\"merges\":[]}}", "CTC", ERR_UNSUPPORTED},
        {"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\X+\"},\"behavior\":\"Isolated\"},\"model\":{\"type\":\"BPE\",\"vocab\":{},\"merges\":[]}}", "\\X", ERR_UNSUPPORTED},
        {"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\p{Klingon}\"},\"behavior\":\"Isolated\"},\"model\":{\"type\":\"BPE\",\"vocab\":{},\"merges\":[]}}", "Klingon", ERR_UNSUPPORTED},
        {"{\"model\":{\"type\":\"BPE\",\"dropout\":0.1,\"vocab\":{},\"merges\":[]}}", "dropout", ERR_UNSUPPORTED},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a a\"]}}", "merges[0]", ERR_DATA},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":-1},\"merges\":[]}}", "model.vocab", ERR_DATA},
        {"{\"model\":", "not JSON", ERR_DATA},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err w = {0};
        struct tok *t = from_json(bad[i].json, &w);
        if (t || w.code != bad[i].code || !strstr(w.msg, bad[i].says) || !strstr(w.msg, "one.json"))
            fail_msg("case %zu: %s (%s), not %s", i, w.msg, err_name(w.code), bad[i].says);
    }
}

static void invalid_text(void **state)
{
    (void)state;
    struct tok *t = trained("qwen2", 400, 0);
    struct tok_enc *enc;
    struct tok_ids ids = {0};
    struct err w = {0};
    struct sbuf b;
    sbuf_init(&b, 1 << 20);
    MUST(tok_enc_new(t, &enc, e));
    assert_int_equal(tok_encode(enc, &(struct tok_text){.text = STR("ab\xF0\x9F\x98")}, &ids, &w), ERR_DATA);
    assert_non_null(strstr(w.msg, "byte 2"));
    tok_utf8_replace(STR("a\xF0\x9F\x98" "b\xC0\x80\xED\xA0\x80\xFF"), &b);
    assert_string_equal(b.p, "a\xEF\xBF\xBD" "b\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
    sbuf_release(&b);
    tok_ids_release(&ids);
    tok_enc_free(enc);
    tok_free(t);
}

/* The check of long texts says of any bytes what the plain check says, also where a block of 64 ends in a character. */
static void is_utf8(void **state)
{
    static const unsigned char odd[] = {0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF4, 0xF5, 0xFF};
    static const uint32_t edge[] = {0x80, 0x7FF, 0x800, 0xFFF, 0x1000, 0xD7FF, 0xE000, 0xFFFF, 0x10000, 0x3FFFF, 0x40000, 0x10FFFF, 'a', 'a', 'a'};
    uint64_t x = 5;
    int bad = 0;
    (void)state;
    for (int round = 0; round < 200000; round++) {
        int n = 0, ascii, all = 1;
        x = x * 6364136223846793005u + 1442695040888963407u;
        int want = (int)(x >> 40) % 210;
        char *p = malloc(256), *exact;
        while (n < want) {
            x = x * 6364136223846793005u + 1442695040888963407u;
            n += utf8_encode(edge[(x >> 40) % (sizeof edge / sizeof *edge)], p + n);
            if ((x >> 20) % 128 == 0 && round % 2)
                p[n++] = (char)odd[(x >> 33) % sizeof odd];
        }
        if (round % 5 == 0 && n > 2)
            n -= 1 + round % 2;
        exact = malloc((size_t)n + 1); /* ends where the text ends: a read behind it is seen */
        memcpy(exact + 1, p, (size_t)n);
        struct str s = {exact + 1, n};
        for (int i = 0; i < n; i++)
            all &= (unsigned char)s.p[i] < 0x80;
        assert_int_equal(tok_utf8_check(s, &ascii), utf8_check(s));
        if (utf8_check(s) < 0)
            assert_int_equal(ascii, all);
        bad += utf8_check(s) >= 0;
        free(p);
        free(exact);
    }
    assert_true(bad > 1000 && bad < 199000);
}

static void put_base64(struct sbuf *b, const char *s)
{
    static const char d[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = (const unsigned char *)s;
    size_t n = *s ? strlen(s) : 1;
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)p[i] << 16 | (i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0) | (i + 2 < n ? p[i + 2] : 0);
        for (int k = 0; k < 4; k++)
            sbuf_addc(b, i + (size_t)k < n + 1 ? d[v >> (18 - 6 * k) & 63] : '=');
    }
}

/* Ranks decide, any two neighbours may merge, and a token is taken whole even when no merges lead to it. */
static void rank_files(void **state)
{
    static const char *const joined[] = {"bc", "ab", " a", "abc", " x", "xyzw"};
    struct sbuf b;
    struct tok *t;
    struct tok_enc *enc;
    struct tok_ids ids = {0};
    struct err w = {0};
    char path[200];
    (void)state;
    sbuf_init(&b, 1 << 20);
    for (int i = 0; i < 256 + 6; i++) {
        char one[2] = {(char)i, 0};
        put_base64(&b, i < 256 ? one : joined[i - 256]);
        sbuf_addf(&b, " %d\n", i);
    }
    snprintf(path, sizeof path, "%s/some.ranks", dir);
    MUST(file_write_atomic(path, sbuf_str(&b), e));
    assert_int_equal(tok_load_tiktoken(path, NULL, &t, &w), ERR_USAGE);
    assert_non_null(strstr(w.msg, "cl100k_base"));
    MUST(tok_load_tiktoken(path, "r50k_base", &t, e));
    MUST(tok_enc_new(t, &enc, e));
    MUST(tok_encode(enc, &(struct tok_text){.text = STR("abc abcab xyzw<|endoftext|>")}, &ids, e));
    numbers(&b, &ids, 0);
    assert_string_equal(b.p, "259 258 256 257 260 121 122 119 50256"); /* "abc" is taken whole; " abcab" merges bc first */
    decodes_to(t, &ids, 0, STR("abc abcab xyzw<|endoftext|>"));
    MUST(tok_encode(enc, &(struct tok_text){.text = STR("xyzw")}, &ids, e));
    assert_int_equal(ids.n, 1);
    assert_int_equal(tok_eos(t), 50256);
    tok_ids_release(&ids);
    tok_enc_free(enc);
    tok_free(t);
    sbuf_clear(&b);
    sbuf_adds(&b, "IQ== 0\nIQ== 0\n");
    MUST(file_write_atomic(path, sbuf_str(&b), e));
    assert_int_equal(tok_load_tiktoken(path, "r50k_base", &t, &w), ERR_DATA);
    assert_non_null(strstr(w.msg, ":2:"));
    sbuf_release(&b);
}

/* One piece of a unit again and again, of every length: parts, seams and what is remembered of them give what plain merging gives. */
static void long_pieces(void **state)
{
    static const char *const unit[] = {"a", " ", "\n", "=", "\xCC\x81", "中", "ab", "=-", "the ", "random letters", "aab", "1"};
    json_t *learned = family_model();
    int32_t *want = malloc(4000 * sizeof *want);
    (void)state;
    for (int i = 0; i < N_FAMILIES; i++) {
        struct family f;
        if ((family_specs[i].flags & FAM_WHOLE) == 0)
            continue;
        family_open(&f, &family_specs[i], learned);
        for (size_t u = 0; u < sizeof unit / sizeof *unit; u++)
            for (int64_t times = 1, n = (int64_t)strlen(unit[u]); times * n < 3000; times += 1 + times / 4) {
                struct sbuf b;
                struct tok_ids ids = {0};
                sbuf_init(&b, 1 << 20);
                for (int64_t k = 0; k < times; k++)
                    sbuf_adds(&b, unit[u]);
                for (int64_t k = 0; k < b.n; k++)
                    want[k] = (int32_t)f.t->im.byte_id[(unsigned char)b.p[k]];
                int64_t n_want = family_merge(&f, want, b.n);
                for (int how = 0; how < 2; how++) {
                    bpe_short_take(how);
                    MUST(tok_encode(f.enc, &(struct tok_text){.text = sbuf_str(&b)}, &ids, e));
                    if (ids.n != n_want || memcmp(ids.id, want, (size_t)n_want * sizeof *want))
                        fail_msg("%s: %lld times '%s' is merged to other ids than the plain way", family_specs[i].name, (long long)times, unit[u]);
                }
                tok_ids_release(&ids);
                sbuf_release(&b);
            }
        family_close(&f);
    }
    json_decref(learned);
    free(want);
}

/* A damaged, cut or foreign image is refused and the file is read again. */
static void cache_images(void **state)
{
    char cache[200], file[400], model[200];
    struct hash128 first = {0, 0};
    (void)state;
    snprintf(cache, sizeof cache, "%s/cache", dir);
    snprintf(model, sizeof model, "%s/qwen2-0", dir);
    tok_free(trained("qwen2", 500, 0));
    setenv("HONE_CACHE", cache, 1);
    for (int round = 0; round < 4; round++) {
        struct tok *t;
        MUST(tok_load(model, &t, e));
        if (round == 0)
            first = tok_hash(t);
        assert_true(hash_eq(first, tok_hash(t)));
        tok_free(t);
        snprintf(file, sizeof file, "ls %s/tok-*.bin", cache);
        FILE *f = popen(file, "r");
        assert_non_null(fgets(file, sizeof file, f));
        pclose(f);
        file[strcspn(file, "\n")] = 0;
        if (round == 1)
            assert_int_equal(truncate(file, 1000), 0);
        if (round == 2) {
            f = fopen(file, "r+");
            fseek(f, 3000, SEEK_SET);
            fputs("damage", f);
            fclose(f);
        }
    }
    setenv("HONE_CACHE", "", 1);
}

/* ---- streams and threads ------------------------------------------------------------------ */

static void streams_like_whole(void **state)
{
    (void)state;
    struct tok *t = trained("qwen2", 400, 0);
    struct tok_stream *st = tok_stream_new(t, 0);
    struct sbuf whole, parts;
    uint64_t x = 1;
    sbuf_init(&whole, 1 << 24);
    sbuf_init(&parts, 1 << 24);
    for (int round = 0; round < 300; round++) {
        int32_t ids[40];
        int n = (int)(x % 40);
        for (int i = 0; i < n; i++) { /* random ids: broken characters are the rule */
            x = x * 6364136223846793005u + 1442695040888963407u;
            ids[i] = (int32_t)(x >> 33) % 300;
        }
        sbuf_clear(&whole);
        sbuf_clear(&parts);
        tok_decode(t, ids, n, 0, &whole);
        for (int i = 0; i < n; i++) {
            tok_stream_push(st, ids[i], &parts);
            assert_int_equal(utf8_check(sbuf_str(&parts)), -1);
            assert_true(str_starts(sbuf_str(&whole), sbuf_str(&parts)));
        }
        tok_stream_end(st, &parts);
        assert_true(str_eq(sbuf_str(&whole), sbuf_str(&parts)));
        x = x * 6364136223846793005u + 1442695040888963407u;
        x ^= x >> 31;
    }
    sbuf_release(&whole);
    sbuf_release(&parts);
    tok_stream_free(st);
    tok_free(t);
}

static void threads_give_the_same(void **state)
{
    enum { N = 200 };
    (void)state;
    struct tok *t = trained("qwen2", 600, 0);
    static struct tok_ids one[N], two[N];
    static struct tok_text in[N];
    static struct err failed[N];
    for (int i = 0; i < N; i++) {
        struct str s = str_of(texts[i % N_TEXTS]);
        in[i] = (struct tok_text){.text = str_sub(s, 0, i % 7 ? s.n : i % 30)};
        while (utf8_check(in[i].text) >= 0)
            in[i].text.n--;
    }
    for (int threads = 1; threads <= 3; threads += 2) {
        struct tok_enc *enc[3];
        par_init(threads);
        for (int w = 0; w < threads; w++)
            MUST(tok_enc_new(t, &enc[w], e));
        tok_encode_many(enc, in, N, threads == 1 ? one : two, failed);
        for (int w = 0; w < threads; w++)
            tok_enc_free(enc[w]);
    }
    par_init(0);
    for (int i = 0; i < N; i++) {
        assert_int_equal(failed[i].code, ERR_OK);
        assert_int_equal(one[i].n, two[i].n);
        assert_memory_equal(one[i].id, two[i].id, (size_t)one[i].n * sizeof *one[i].id);
        tok_ids_release(&one[i]);
        tok_ids_release(&two[i]);
    }
    tok_free(t);
}

static int set_up(void **state)
{
    (void)state;
    setenv("HONE_CACHE", "", 1);
    return mkdtemp(dir) == NULL;
}

static int tear_down(void **state)
{
    struct err e = {0};
    (void)state;
    return file_remove_tree(dir, &e) != ERR_OK;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trips), cmocka_unit_test(order_of_texts), cmocka_unit_test(special_tokens), cmocka_unit_test(every_setting),
        cmocka_unit_test(class_rules), cmocka_unit_test(refuses_by_name), cmocka_unit_test(invalid_text), cmocka_unit_test(rank_files), cmocka_unit_test(long_pieces), cmocka_unit_test(is_utf8),
        cmocka_unit_test(cache_images), cmocka_unit_test(streams_like_whole), cmocka_unit_test(threads_give_the_same),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
