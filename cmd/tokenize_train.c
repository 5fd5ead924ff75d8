/* hone tokenize train: a byte-level BPE vocabulary from texts. */
#include <stdio.h>

#include "cmd/cmd.h"
#include "cmd/tokenize.h"
#include "core/file.h"
#include "core/log.h"
#include "text/text.h"

struct flags {
    const char *out, *pattern, *special, *template;
    int64_t vocab, min_count;
};

/* Every string of a row is text, but for names: roles, ids and types. */
static int is_name(const char *key)
{
    return !strcmp(key, "role") || !strcmp(key, "id") || !strcmp(key, "type") || !strcmp(key, "name");
}

static err_code add_value(struct tok_trainer *tr, const json_t *v, struct err *e)
{
    const char *key;
    json_t *item;
    size_t i;
    if (json_is_string(v))
        return tok_train_add(tr, (struct str){json_string_value(v), (int64_t)json_string_length(v)}, e);
    json_array_foreach(v, i, item)
        TRY(add_value(tr, item, e));
    if (json_is_object(v))
        json_object_foreach((json_t *)(uintptr_t)v, key, item)
            if (!is_name(key))
                TRY(add_value(tr, item, e));
    return ERR_OK;
}

static err_code add_lines(struct tok_trainer *tr, FILE *f, const char *name, struct err *e)
{
    struct json_lines in;
    struct str line;
    int more = 1;
    err_code rc = ERR_OK;
    json_lines_init(&in, f, name, 256 << 20);
    while (rc == ERR_OK) {
        json_t *v = NULL;
        rc = json_lines_next(&in, &line, &more, e);
        if (rc != ERR_OK || !more)
            break;
        if (str_trim(line).n == 0)
            continue;
        rc = json_parse(line, &v, e);
        if (rc == ERR_OK)
            rc = add_value(tr, v, e);
        if (rc != ERR_OK)
            err_ctx(e, "%s:%lld", name, (long long)in.line);
        json_decref(v);
    }
    json_lines_release(&in);
    return rc;
}

static err_code add_file(struct tok_trainer *tr, const char *path, struct err *e)
{
    struct str p = str_of(path);
    if (str_ends(p, STR(".jsonl"))) {
        FILE *f = fopen(path, "r");
        if (!f)
            return err_sys(e, ERR_IO, "cannot open '%s'", path);
        err_code rc = add_lines(tr, f, path, e);
        fclose(f);
        return rc;
    }
    struct file_map m;
    TRY(file_map_open(path, &m, e));
    err_code rc = tok_train_add(tr, (struct str){m.p ? m.p : "", m.n}, e);
    file_map_release(&m);
    return rc == ERR_OK ? ERR_OK : err_ctx(e, "%s", path);
}

static err_code read_inputs(struct tok_trainer *tr, int n, char **paths, struct err *e)
{
    if (n == 0)
        return add_lines(tr, stdin, "stdin", e);
    for (int i = 0; i < n; i++)
        TRY(add_file(tr, paths[i], e));
    return ERR_OK;
}

static err_code train(const struct flags *f, int n, char **paths, struct err *e)
{
    enum { MAX_SPECIAL = 256 };
    struct str special[MAX_SPECIAL], rest = str_of(f->special), one;
    struct tok_train_opts o = {.vocab = f->vocab, .min_count = f->min_count, .pattern = f->pattern};
    struct tok_train_stats s = {0};
    struct tok_trainer *tr;
    struct sbuf tmpl;
    double began = clock_now();
    if (!*f->out)
        return err_set(e, ERR_USAGE, "give --out DIR");
    while (*f->special && o.n_special < MAX_SPECIAL && str_split(&rest, ',', &one))
        special[o.n_special++] = one;
    if (*f->special)
        o.special = special;
    sbuf_init(&tmpl, 16 << 20);
    if (*f->template) {
        TRY(file_read(f->template, &tmpl, e));
        sbuf_addc(&tmpl, 0);
        o.chat_template = tmpl.p;
    }
    err_code rc = tok_train_new(&o, &tr, e);
    sbuf_release(&tmpl);
    TRY(rc);
    rc = read_inputs(tr, n, paths, e);
    if (rc == ERR_OK && (rc = tok_train_write(tr, f->out, &s, e)) == ERR_OK)
        log_info("tokenize", "%s: %lld ids, %lld merges from %lld texts (%.1f MB, %lld distinct words) in %.1f s", f->out, (long long)s.ids, (long long)s.merges,
                 (long long)s.texts, (double)s.bytes / 1e6, (long long)s.distinct_words, clock_now() - began);
    tok_train_free(tr);
    return rc;
}

int cmd_tokenize_train(int argc, char **argv)
{
    static const struct opt_def defs[] = {
        {"", "out", OPT_STR, offsetof(struct flags, out), "", 0, 0, NULL, "folder for tokenizer.json and tokenizer_config.json"},
        {"", "vocab", OPT_INT, offsetof(struct flags, vocab), "32000", 256, 1 << 20, NULL, "ids wanted, special tokens included"},
        {"", "min-count", OPT_INT, offsetof(struct flags, min_count), "2", 1, 1e9, NULL, "pairs seen less often are not joined"},
        {"", "pattern", OPT_ENUM, offsetof(struct flags, pattern), "qwen2", 0, 0, "qwen2|gpt2|llama3|o200k", "how text is cut into words"},
        {"", "special", OPT_STR, offsetof(struct flags, special), "", 0, 0, NULL, "special tokens, by comma (default: <|endoftext|>,<|im_start|>,<|im_end|>)"},
        {"", "template", OPT_STR, offsetof(struct flags, template), "", 0, 0, NULL, "chat template file (default: ChatML)"},
    };
    static const struct cmd_flags f = {
        .usage = "tokenize train --out DIR --vocab N [FILE...]",
        .about = "Trains a byte-level BPE vocabulary. A FILE.jsonl gives every string of its rows (but roles, ids, names and types), any other file is one\n"
                 "text; without files JSON Lines are read from stdin. The same texts in any order give the same files.",
        .defs = defs, .n = sizeof defs / sizeof *defs, .words_max = 1 << 16,
    };
    struct arena mem;
    struct flags v = {0};
    struct err e = {0};
    int words, done;
    arena_init(&mem, "flags", 1 << 20);
    int code = cmd_parse(&f, &v, &mem, argc, argv, &words, &done);
    if (!done && train(&v, words, argv, &e) != ERR_OK)
        code = cmd_fail(&e);
    arena_release(&mem);
    return code;
}
