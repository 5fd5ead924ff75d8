/* hone tokenize: text to ids and back, as JSON Lines; training a vocabulary. */
#include <stdio.h>
#include <stdlib.h>

#include "cmd/cmd.h"
#include "cmd/tokenize.h"
#include "text/text.h"

struct flags {
    const char *model, *tiktoken, *scheme, *invalid;
    int add_special, offsets, decode, skip_special, plain;
};

struct job {
    struct flags f;
    struct tok *t;
    struct tok_enc *enc;
    struct tok_ids ids;
    struct sbuf text, bytes;
};

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static err_code from_base64(struct str s, struct sbuf *out, struct err *e)
{
    uint32_t bits = 0;
    int n = 0;
    while (s.n && s.p[s.n - 1] == '=')
        s.n--;
    for (int64_t i = 0; i < s.n; i++) {
        int v = base64_value(s.p[i]);
        if (v < 0)
            return err_set(e, ERR_DATA, "\"bytes_b64\" is not base64 at character %lld", (long long)i);
        bits = bits << 6 | (uint32_t)v;
        if ((n += 6) >= 8)
            sbuf_addc(out, (char)(bits >> (n -= 8) & 0xFF));
    }
    return ERR_OK;
}

/* The text of a question: "text", or "bytes_b64" with invalid UTF-8 refused or replaced. */
static err_code question_text(struct job *j, const json_t *q, struct str *out, struct err *e)
{
    struct str b64 = {NULL, 0};
    TRY(json_opt_str(q, "bytes_b64", &b64, e));
    if (!b64.p)
        return json_need_str(q, "text", out, e);
    sbuf_clear(&j->bytes);
    TRY(from_base64(b64, &j->bytes, e));
    *out = sbuf_str(&j->bytes);
    if (!strcmp(j->f.invalid, "replace") && utf8_check(*out) >= 0) {
        sbuf_clear(&j->text);
        tok_utf8_replace(*out, &j->text);
        *out = sbuf_str(&j->text);
    }
    return ERR_OK;
}

static void put_number(struct sbuf *b, int64_t v)
{
    char digits[24];
    int n = 0;
    do
        digits[n++] = (char)('0' + v % 10);
    while (v /= 10);
    while (n)
        sbuf_addc(b, digits[--n]);
}

static err_code answer_encode(void *ctx, const json_t *q, struct sbuf *out, struct err *e)
{
    struct job *j = ctx;
    struct tok_text in = {.add_special = j->f.add_special, .plain = j->f.plain, .offsets = j->f.offsets};
    TRY(question_text(j, q, &in.text, e));
    TRY(tok_encode(j->enc, &in, &j->ids, e));
    json_answer_begin(out, q);
    sbuf_adds(out, "\"ids\":[");
    for (int64_t i = 0; i < j->ids.n; i++) {
        if (i)
            sbuf_addc(out, ',');
        put_number(out, j->ids.id[i]);
    }
    sbuf_addc(out, ']');
    for (int64_t i = 0; j->f.offsets && i <= j->ids.n; i++) {
        if (i == j->ids.n) {
            sbuf_adds(out, i ? "]" : ",\"offsets\":[]");
            break;
        }
        sbuf_adds(out, i ? ",[" : ",\"offsets\":[[");
        put_number(out, j->ids.begin[i]);
        sbuf_addc(out, ',');
        put_number(out, j->ids.end[i]);
        sbuf_addc(out, ']');
    }
    sbuf_adds(out, "}\n");
    return ERR_OK;
}

static err_code answer_decode(void *ctx, const json_t *q, struct sbuf *out, struct err *e)
{
    struct job *j = ctx;
    const json_t *list = json_object_get(q, "ids"), *v;
    size_t i;
    if (!json_is_array(list))
        return err_set(e, ERR_DATA, "\"ids\" is not a list");
    int32_t *id = malloc((json_array_size(list) + 1) * sizeof *id);
    if (!id)
        return err_set(e, ERR_LIMIT, "out of memory for %zu ids", json_array_size(list));
    json_array_foreach(list, i, v) {
        if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > INT32_MAX) {
            free(id);
            return err_set(e, ERR_DATA, "\"ids\"[%zu] is not a token id", i);
        }
        id[i] = (int32_t)json_integer_value(v);
    }
    sbuf_clear(&j->text);
    int64_t unknown = tok_decode(j->t, id, (int64_t)json_array_size(list), j->f.skip_special, &j->text);
    free(id);
    json_answer_begin(out, q);
    sbuf_adds(out, "\"text\":");
    json_put_str(out, sbuf_str(&j->text));
    if (unknown)
        sbuf_addf(out, ",\"unknown_ids\":%lld", (long long)unknown);
    sbuf_adds(out, "}\n");
    return ERR_OK;
}

static err_code load(struct job *j, struct err *e)
{
    if (!*j->f.model == !*j->f.tiktoken)
        return err_set(e, ERR_USAGE, "give either --model DIR or --tiktoken FILE");
    if (*j->f.model)
        TRY(tok_load(j->f.model, &j->t, e));
    else
        TRY(tok_load_tiktoken(j->f.tiktoken, *j->f.scheme ? j->f.scheme : NULL, &j->t, e));
    return tok_enc_new(j->t, &j->enc, e);
}

int cmd_tokenize(int argc, char **argv)
{
    static const struct opt_def defs[] = {
        {"", "model", OPT_STR, offsetof(struct flags, model), "", 0, 0, NULL, "folder with tokenizer.json, or such a file"},
        {"", "tiktoken", OPT_STR, offsetof(struct flags, tiktoken), "", 0, 0, NULL, "rank file (*.tiktoken, Llama's tokenizer.model)"},
        {"", "scheme", OPT_STR, offsetof(struct flags, scheme), "", 0, 0, NULL, "pattern and special tokens of a rank file, as cl100k_base (default: from its name)"},
        {"", "add-special", OPT_BOOL, offsetof(struct flags, add_special), "false", 0, 0, NULL, "add what the post-processor adds (bos, eos)"},
        {"", "offsets", OPT_BOOL, offsetof(struct flags, offsets), "false", 0, 0, NULL, "also \"offsets\": byte spans of the text"},
        {"", "plain", OPT_BOOL, offsetof(struct flags, plain), "false", 0, 0, NULL, "control tokens written in the text are plain text"},
        {"", "invalid", OPT_ENUM, offsetof(struct flags, invalid), "error", 0, 0, "error|replace", "bytes that are not UTF-8: refuse the line, or U+FFFD"},
        {"", "decode", OPT_BOOL, offsetof(struct flags, decode), "false", 0, 0, NULL, "{\"id\",\"ids\"} to {\"id\",\"text\"}"},
        {"", "skip-special", OPT_BOOL, offsetof(struct flags, skip_special), "false", 0, 0, NULL, "decode: leave special tokens out"},
    };
    static const struct cmd_flags f = {
        .usage = "tokenize --model DIR [--decode] < in > out",
        .about = "Reads {\"id\",\"text\"} (or \"bytes_b64\") lines and answers {\"id\",\"ids\"}; with --decode the other way. The ids are those of the\n"
                 "Hugging Face tokenizers library on the same tokenizer.json. `hone tokenize train --help`: a vocabulary of your own.",
        .defs = defs, .n = sizeof defs / sizeof *defs, .words_max = 0,
    };
    if (argc && !strcmp(argv[0], "train"))
        return cmd_tokenize_train(argc - 1, argv + 1);
    struct arena mem;
    struct job j = {0};
    struct err e = {0};
    int words, done;
    arena_init(&mem, "flags", 1 << 20);
    int code = cmd_parse(&f, &j.f, &mem, argc, argv, &words, &done);
    if (!done) {
        sbuf_init(&j.text, 1LL << 32);
        sbuf_init(&j.bytes, 1LL << 32);
        code = load(&j, &e) == ERR_OK ? cmd_plumb(j.f.decode ? answer_decode : answer_encode, &j) : cmd_fail(&e);
        tok_ids_release(&j.ids);
        tok_enc_free(j.enc);
        tok_free(j.t);
        sbuf_release(&j.text);
        sbuf_release(&j.bytes);
    }
    arena_release(&mem);
    return code;
}
