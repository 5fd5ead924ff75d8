/* Rank files: one "base64 rank" line per token. Any two neighbours whose joined bytes are a token may merge, the lowest rank
 * first, and a piece that is a token is taken whole. That is a list of merges in which all pairs that give one token share its
 * rank, so the same tables and the same merging serve. */
#include <stdio.h>
#include <stdlib.h>

#include "core/json.h"
#include "text/tok.h"
#include "text/tok_patterns.h"

struct special {
    const char *name;
    int32_t id; /* -1: the one after the last */
};

static const struct special openai_50k[] = {{"<|endoftext|>", 50256}};
static const struct special openai_100k[] = {
    {"<|endoftext|>", 100257}, {"<|fim_prefix|>", 100258}, {"<|fim_middle|>", 100259}, {"<|fim_suffix|>", 100260}, {"<|endofprompt|>", 100276}};
static const struct special openai_200k[] = {{"<|endoftext|>", 199999}, {"<|endofprompt|>", 200018}};
/* "name*first*count": a numbered series */
static const struct special llama_3[] = {
    {"<|begin_of_text|>", -1}, {"<|end_of_text|>", -1}, {"<|reserved_special_token_*0*2", -1}, {"<|finetune_right_pad_id|>", -1}, {"<|step_id|>", -1},
    {"<|start_header_id|>", -1}, {"<|end_header_id|>", -1}, {"<|eom_id|>", -1}, {"<|eot_id|>", -1}, {"<|python_tag|>", -1}, {"<|image|>", -1},
    {"<|reserved_special_token_*2*244", -1}};
static const struct special llama_4[] = {
    {"<|begin_of_text|>", -1}, {"<|end_of_text|>", -1}, {"<|fim_prefix|>", -1}, {"<|fim_middle|>", -1}, {"<|fim_suffix|>", -1}, {"<|header_start|>", -1},
    {"<|header_end|>", -1}, {"<|eom|>", -1}, {"<|eot|>", -1}, {"<|step|>", -1}, {"<|text_post_train_reserved_special_token_*0*6", -1},
    {"<|python_start|>", -1}, {"<|python_end|>", -1}, {"<|finetune_right_pad|>", -1}, {"<|text_post_train_reserved_special_token_*8*61", -1},
    {"<|image_start|>", -1}, {"<|image_end|>", -1}, {"<|vision_reserved_special_token_*0*2", -1}, {"<|tile_x_separator|>", -1}, {"<|tile_y_separator|>", -1},
    {"<|vision_reserved_special_token_*2*4", -1}, {"<|image|>", -1}, {"<|vision_reserved_special_token_*6*1", -1}, {"<|patch|>", -1},
    {"<|vision_reserved_special_token_*7*1041", -1}, {"<|reasoning_reserved_special_token_*0*8", -1}, {"<|reasoning_thinking_start|>", -1},
    {"<|reasoning_thinking_end|>", -1}, {"<|reserved_special_token_*0*904", -1}};

#define SPECIALS(list) list, sizeof(list) / sizeof *(list)
static const struct scheme {
    const char *name;
    int64_t tokens; /* lines of its file, to tell Llama's from each other: both are called tokenizer.model */
    const char *regex;
    const struct special *special;
    int n_special;
    const char *bos, *eos, *pad;
} schemes[] = {
    {"cl100k_base", 100256, TOK_RE_LLAMA3, SPECIALS(openai_100k), NULL, "<|endoftext|>", NULL},
    {"o200k_base", 199998, TOK_RE_O200K, SPECIALS(openai_200k), NULL, "<|endoftext|>", NULL},
    {"p50k_base", 50280, TOK_RE_GPT2, SPECIALS(openai_50k), NULL, "<|endoftext|>", NULL},
    {"r50k_base", 50256, TOK_RE_GPT2, SPECIALS(openai_50k), NULL, "<|endoftext|>", NULL},
    {"llama3", 128000, TOK_RE_LLAMA3, SPECIALS(llama_3), "<|begin_of_text|>", "<|end_of_text|>", "<|finetune_right_pad_id|>"},
    {"llama4", 200000, TOK_RE_O200K, SPECIALS(llama_4), "<|begin_of_text|>", "<|end_of_text|>", "<|finetune_right_pad|>"},
};
enum { N_SCHEMES = sizeof schemes / sizeof *schemes };

/* ---- the file ----------------------------------------------------------------------------- */

struct ranks {
    struct str *token; /* [n] by rank, bytes in `bytes`; p NULL: no such rank */
    int64_t n, cap, lines;
    struct sbuf bytes;
    int64_t *at;       /* [n] offset in bytes, -1: none */
};

static int base64_value(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *hit = c ? strchr(digits, c) : NULL;
    return hit ? (int)(hit - digits) : -1;
}

static int add_base64(struct str s, struct sbuf *out)
{
    uint32_t bits = 0;
    int n = 0;
    while (s.n && s.p[s.n - 1] == '=')
        s.n--;
    for (int64_t i = 0; i < s.n; i++) {
        int v = base64_value(s.p[i]);
        if (v < 0)
            return 0;
        bits = bits << 6 | (uint32_t)v;
        if ((n += 6) >= 8)
            sbuf_addc(out, (char)(bits >> (n -= 8) & 0xFF));
    }
    return s.n > 0;
}

static err_code bad_line(struct err *e, const char *path, int64_t line)
{
    return err_set(e, ERR_DATA, "%s:%lld: not a line of base64 and a rank of its own", path, (long long)line);
}

static err_code read_line(struct ranks *r, struct str line, const char *path, int64_t number, struct err *e)
{
    int64_t space = str_find(line, STR(" "), 0), rank = -1, begin = r->bytes.n;
    if (space < 0 || !str_to_i64(str_sub(line, space + 1, line.n), &rank) || rank < 0 || rank >= TOK_MAX_IDS || !add_base64(str_sub(line, 0, space), &r->bytes))
        return bad_line(e, path, number);
    int64_t cap = r->cap;
    r->token = tok_grow(r->token, &cap, rank + 1, sizeof *r->token);
    r->at = tok_grow(r->at, &r->cap, rank + 1, sizeof *r->at);
    for (; r->n <= rank; r->n++) {
        r->at[r->n] = -1;
        r->token[r->n] = (struct str){NULL, 0};
    }
    if (r->at[rank] >= 0)
        return bad_line(e, path, number);
    r->at[rank] = begin;
    r->token[rank].n = r->bytes.n - begin;
    r->lines++;
    return ERR_OK;
}

static err_code read_ranks(struct str file, const char *path, struct ranks *r, struct err *e)
{
    struct str line;
    int64_t number = 0;
    sbuf_init(&r->bytes, TOK_MAX_FILE);
    while (str_split(&file, '\n', &line)) {
        number++;
        line = str_trim(line);
        if (line.n)
            TRY(read_line(r, line, path, number, e));
    }
    for (int64_t i = 0; i < r->n; i++)
        if (r->at[i] >= 0)
            r->token[i].p = r->bytes.p + r->at[i];
    return r->lines ? ERR_OK : err_set(e, ERR_DATA, "'%s' has no ranks", path);
}

static void ranks_release(struct ranks *r)
{
    free(r->token);
    free(r->at);
    sbuf_release(&r->bytes);
}

/* ---- as a tokenizer.json without a vocabulary --------------------------------------------- */

static void put_special(json_t *list, const char *name, int64_t id)
{
    json_array_append_new(list, json_pack("{s:I,s:s,s:b,s:b,s:b,s:b,s:b}", "id", (json_int_t)id, "content", name, "single_word", 0, "lstrip", 0, "rstrip", 0,
                                          "normalized", 0, "special", 1));
}

static json_t *special_list(const struct scheme *s, int64_t next)
{
    json_t *list = json_array();
    for (int i = 0; i < s->n_special; i++) {
        const struct special *x = &s->special[i];
        const char *star = strchr(x->name, '*');
        int first = 0, count = 0;
        if (x->id >= 0)
            next = x->id;
        if (!star) {
            put_special(list, x->name, next++);
            continue;
        }
        if (sscanf(star, "*%d*%d", &first, &count) != 2)
            BUG("special token series '%s'", x->name);
        for (int k = 0; k < count; k++) {
            char name[96];
            snprintf(name, sizeof name, "%.*s%d|>", (int)(star - x->name), x->name, first + k);
            put_special(list, name, next++);
        }
    }
    return list;
}

static char *config_of(const struct scheme *s, int64_t next)
{
    json_t *split = json_pack("{s:s,s:{s:s},s:s,s:b}", "type", "Split", "pattern", "Regex", s->regex, "behavior", "Isolated", "invert", 0);
    json_t *bytes = json_pack("{s:s,s:b,s:b,s:b}", "type", "ByteLevel", "add_prefix_space", 0, "trim_offsets", 0, "use_regex", 0);
    json_t *root = json_pack("{s:o,s:{s:s,s:[o,O]},s:O,s:{s:s,s:b}}", "added_tokens", special_list(s, next), "pre_tokenizer", "type", "Sequence", "pretokenizers",
                             split, bytes, "decoder", bytes, "model", "type", "BPE", "ignore_merges", 1);
    char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(bytes);
    json_decref(root);
    if (!text)
        BUG("a rank file's configuration");
    return text;
}

static const struct scheme *scheme_of(const char *path, const char *name, int64_t tokens)
{
    for (int i = 0; i < N_SCHEMES; i++)
        if (name ? !strcmp(name, schemes[i].name) : str_find(str_of(path), str_of(schemes[i].name), 0) >= 0)
            return &schemes[i];
    for (int i = 0; i < N_SCHEMES && !name; i++)
        if (schemes[i].tokens == tokens)
            return &schemes[i];
    return NULL;
}

static err_code build(const char *path, const char *scheme, struct str file, struct tok_image *im, const struct scheme **out, struct err *e)
{
    struct ranks r = {0};
    err_code rc = read_ranks(file, path, &r, e);
    const struct scheme *s = rc == ERR_OK ? scheme_of(path, scheme, r.lines) : NULL;
    if (rc == ERR_OK && !s)
        rc = err_set(e, ERR_USAGE, "%s '%s': which pattern and special tokens belong to it is not known; hint: name one of cl100k_base, o200k_base, "
                                   "p50k_base, r50k_base, llama3, llama4", scheme ? "scheme" : "rank file", scheme ? scheme : path);
    if (rc == ERR_OK) {
        char *config = config_of(s, r.n);
        rc = tok_build_ranks(r.token, r.n, str_of(config), path, im, e);
        free(config);
        *out = s;
    }
    ranks_release(&r);
    return rc;
}

err_code tok_load_tiktoken(const char *path, const char *scheme, struct tok **out, struct err *e)
{
    struct file_map map;
    struct tok_image im = {0};
    const struct scheme *s = NULL;
    TRY(file_map_open(path, &map, e));
    err_code rc = build(path, scheme, (struct str){map.p ? map.p : "", map.n}, &im, &s, e);
    file_map_release(&map);
    TRY(rc);
    json_t *names = json_object();
    const char *const keys[] = {"bos_token", "eos_token", "pad_token"}, *const values[] = {s->bos, s->eos, s->pad};
    for (int i = 0; i < 3; i++)
        if (values[i])
            json_object_set_new(names, keys[i], json_string(values[i]));
    rc = tok_from_image(&im, path, names, out, e);
    json_decref(names);
    return rc;
}
