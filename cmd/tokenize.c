/* hone tokenize: text to ids and back, as JSON Lines; training a vocabulary. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/tokenize.h"
#include "core/par.h"
#include "text/text.h"

enum { LINE_MAX_BYTES = 256 << 20, BATCH_ROWS = 512, BATCH_BYTES = 8 << 20 };

struct flags {
    const char *model, *tiktoken, *scheme, *invalid, *color;
    int add_special, as_class, offsets, decode, skip_special, plain, explain;
};

/* One per thread. */
struct worker {
    struct tok_enc *enc;
    struct tok_ids ids;
    struct sbuf text, bytes;
};

struct row {
    struct sbuf line, out;
    int64_t number;
    int failed;
};

struct job {
    struct flags f;
    struct tok *t;
    struct worker *worker;
    int n_workers;
    struct row row[BATCH_ROWS];
    int n_rows;
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
static err_code question_text(const struct job *j, struct worker *w, const json_t *q, struct str *out, struct err *e)
{
    struct str b64 = {NULL, 0};
    TRY(json_opt_str(q, "bytes_b64", &b64, e));
    if (!b64.p)
        return json_need_str(q, "text", out, e);
    sbuf_clear(&w->bytes);
    TRY(from_base64(b64, &w->bytes, e));
    *out = sbuf_str(&w->bytes);
    if (!strcmp(j->f.invalid, "replace") && utf8_check(*out) >= 0) {
        sbuf_clear(&w->text);
        tok_utf8_replace(*out, &w->text);
        *out = sbuf_str(&w->text);
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

static err_code answer_encode(const struct job *j, struct worker *w, const json_t *q, struct sbuf *out, struct err *e)
{
    struct tok_text in = {.add_special = !j->f.add_special ? TOK_SPECIAL_NONE : j->f.as_class ? TOK_SPECIAL_CLASS : TOK_SPECIAL_FILE, .plain = j->f.plain, .offsets = j->f.offsets};
    TRY(question_text(j, w, q, &in.text, e));
    TRY(tok_encode(w->enc, &in, &w->ids, e));
    const struct tok_ids *ids = &w->ids;
    json_answer_begin(out, q);
    sbuf_adds(out, "\"ids\":[");
    for (int64_t i = 0; i < ids->n; i++) {
        if (i)
            sbuf_addc(out, ',');
        put_number(out, ids->id[i]);
    }
    sbuf_adds(out, j->f.offsets ? "],\"offsets\":[" : "]");
    for (int64_t i = 0; j->f.offsets && i < ids->n; i++) {
        sbuf_adds(out, i ? ",[" : "[");
        put_number(out, ids->begin[i]);
        sbuf_addc(out, ',');
        put_number(out, ids->end[i]);
        sbuf_addc(out, ']');
    }
    sbuf_adds(out, j->f.offsets ? "]}\n" : "}\n");
    return ERR_OK;
}

static err_code answer_decode(const struct job *j, struct worker *w, const json_t *q, struct sbuf *out, struct err *e)
{
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
    sbuf_clear(&w->text);
    int64_t unknown = tok_decode(j->t, id, (int64_t)json_array_size(list), j->f.skip_special, &w->text);
    free(id);
    json_answer_begin(out, q);
    sbuf_adds(out, "\"text\":");
    json_put_str(out, sbuf_str(&w->text));
    if (unknown)
        sbuf_addf(out, ",\"unknown_ids\":%lld", (long long)unknown);
    sbuf_adds(out, "}\n");
    return ERR_OK;
}

/* ---- rows on threads, answers in order ---------------------------------------------------- */

static void answer_row(const struct job *j, struct worker *w, struct row *r)
{
    struct err e = {0};
    json_t *q = NULL;
    struct str line = sbuf_str(&r->line);
    sbuf_clear(&r->out);
    if (!strcmp(j->f.invalid, "replace") && utf8_check(line) >= 0) {
        sbuf_clear(&w->text);
        tok_utf8_replace(line, &w->text);
        line = sbuf_str(&w->text);
    }
    err_code rc = json_parse(line, &q, &e);
    if (rc == ERR_OK)
        rc = j->f.decode ? answer_decode(j, w, q, &r->out, &e) : answer_encode(j, w, q, &r->out, &e);
    r->failed = rc != ERR_OK;
    if (r->failed) {
        err_ctx(&e, "stdin:%lld", (long long)r->number);
        sbuf_clear(&r->out);
        json_answer_error(&r->out, q, e.msg);
    }
    json_decref(q);
}

static void answer_rows(void *ctx, int64_t begin, int64_t end, int worker)
{
    struct job *j = ctx;
    for (int64_t i = begin; i < end; i++)
        answer_row(j, &j->worker[worker], &j->row[i]);
}

/* Answers what is collected. */
static int flush_rows(struct job *j)
{
    int failed = 0;
    par_for(j->n_rows, 1, answer_rows, j);
    for (int i = 0; i < j->n_rows; i++) {
        failed |= j->row[i].failed;
        fwrite(j->row[i].out.p, 1, (size_t)j->row[i].out.n, stdout);
    }
    j->n_rows = 0;
    return failed;
}

static void put_line_error(const char *msg)
{
    struct sbuf b;
    sbuf_init(&b, 1 << 20);
    json_answer_error(&b, NULL, msg);
    fwrite(b.p, 1, (size_t)b.n, stdout);
    sbuf_release(&b);
}

static int plumb(struct job *j)
{
    struct json_lines in;
    int failed = 0, more = 1, code = 0;
    int64_t bytes = 0;
    json_lines_init(&in, stdin, "stdin", LINE_MAX_BYTES);
    while (more && !code) {
        struct err e = {0};
        struct str line;
        err_code rc = json_lines_next(&in, &line, &more, &e);
        if (rc == ERR_OK && more && str_trim(line).n) {
            struct row *r = &j->row[j->n_rows++];
            sbuf_clear(&r->line);
            sbuf_add(&r->line, line);
            r->number = in.line;
            bytes += line.n;
        }
        if (rc != ERR_OK || !more || j->n_rows == BATCH_ROWS || bytes > BATCH_BYTES) {
            failed |= flush_rows(j);
            bytes = 0;
        }
        if (rc == ERR_IO)
            code = cmd_fail(&e);
        else if (rc != ERR_OK) { /* one line too long: answered, and on */
            put_line_error(e.msg);
            failed = 1;
        }
    }
    json_lines_release(&in);
    if (!code && (fflush(stdout) || ferror(stdout))) {
        struct err e = {0};
        err_sys(&e, ERR_IO, "cannot write standard output");
        code = cmd_fail(&e);
    }
    return code ? code : failed ? err_exit(ERR_LINES) : 0;
}

/* ---- for people --------------------------------------------------------------------------- */

struct show {
    const struct tok *t;
    struct str text;
    int color;
    int64_t tokens, pieces;
};

static void put_shown(struct sbuf *b, struct str s)
{
    for (int64_t i = 0; i < s.n;) {
        uint32_t c;
        int n = utf8_decode(s, i, &c);
        if (n == 0)
            sbuf_addf(b, "\\x%02x", (unsigned char)s.p[i]);
        else if (c == '\n')
            sbuf_adds(b, "\\n");
        else if (c < 32 || c == 127)
            sbuf_addf(b, "\\x%02x", (unsigned)c);
        else
            sbuf_add(b, str_sub(s, i, i + n));
        i += n ? n : 1;
    }
}

/* One line per piece: bytes of the text, ids, and the tokens, each in its own colour (or between bars). */
static void show_piece(void *ctx, const struct tok_piece *p)
{
    static const char *const colors[] = {"\x1b[30;46m", "\x1b[30;43m", "\x1b[30;42m", "\x1b[30;45m", "\x1b[37;44m", "\x1b[37;41m"};
    struct show *s = ctx;
    struct sbuf b;
    sbuf_init(&b, 1 << 30);
    sbuf_addf(&b, "%8lld %8lld  ", (long long)p->begin, (long long)p->end);
    for (int64_t i = 0; i < p->n; i++) {
        sbuf_adds(&b, s->color ? colors[(s->tokens + i) % 6] : "|");
        put_shown(&b, p->added ? tok_name(s->t, p->id[i]) : tok_bytes(s->t, p->id[i]));
        sbuf_adds(&b, s->color ? "\x1b[0m" : i + 1 == p->n ? "|" : "");
    }
    sbuf_adds(&b, p->added ? "  added" : " ");
    for (int64_t i = 0; i < p->n; i++)
        sbuf_addf(&b, " %d", p->id[i]);
    sbuf_addc(&b, '\n');
    fwrite(b.p, 1, (size_t)b.n, stdout);
    sbuf_release(&b);
    s->tokens += p->n;
    s->pieces++;
}

static err_code explain(struct job *j, struct err *e)
{
    struct show s = {.t = j->t, .color = !strcmp(j->f.color, "always") || (!strcmp(j->f.color, "auto") && isatty(1))};
    struct sbuf text;
    char chunk[65536];
    size_t n;
    sbuf_init(&text, 1 << 30);
    while ((n = fread(chunk, 1, sizeof chunk, stdin)) > 0)
        sbuf_add(&text, (struct str){chunk, (int64_t)n});
    s.text = sbuf_str(&text);
    err_code rc = text.full ? err_set(e, ERR_LIMIT, "the text is longer than 1 GiB")
                            : tok_explain(j->worker[0].enc, &(struct tok_text){.text = s.text, .plain = j->f.plain}, show_piece, &s, e);
    if (rc == ERR_OK)
        printf("%lld bytes, %lld pieces, %lld tokens\n", (long long)s.text.n, (long long)s.pieces, (long long)s.tokens);
    sbuf_release(&text);
    return rc;
}

/* ---- set-up ------------------------------------------------------------------------------- */

static err_code load(struct job *j, struct err *e)
{
    if (!*j->f.model == !*j->f.tiktoken)
        return err_set(e, ERR_USAGE, "give either --model DIR or --tiktoken FILE");
    if (*j->f.model)
        TRY(tok_load(j->f.model, &j->t, e));
    else
        TRY(tok_load_tiktoken(j->f.tiktoken, *j->f.scheme ? j->f.scheme : NULL, &j->t, e));
    j->n_workers = j->f.explain ? 1 : par_threads();
    j->worker = calloc((size_t)j->n_workers, sizeof *j->worker);
    if (!j->worker)
        return err_set(e, ERR_LIMIT, "out of memory for %d threads", j->n_workers);
    for (int w = 0; w < j->n_workers; w++) {
        sbuf_init(&j->worker[w].text, 1LL << 32);
        sbuf_init(&j->worker[w].bytes, 1LL << 32);
        if (!j->f.decode)
            TRY(tok_enc_new(j->t, &j->worker[w].enc, e));
    }
    for (int i = 0; i < BATCH_ROWS; i++) {
        sbuf_init(&j->row[i].line, 1LL << 32);
        sbuf_init(&j->row[i].out, 1LL << 36);
    }
    return ERR_OK;
}

static void release(struct job *j)
{
    for (int w = 0; j->worker && w < j->n_workers; w++) {
        tok_ids_release(&j->worker[w].ids);
        tok_enc_free(j->worker[w].enc);
        sbuf_release(&j->worker[w].text);
        sbuf_release(&j->worker[w].bytes);
    }
    free(j->worker);
    for (int i = 0; i < BATCH_ROWS; i++) {
        sbuf_release(&j->row[i].line);
        sbuf_release(&j->row[i].out);
    }
    tok_free(j->t);
}

static int run(struct job *j)
{
    struct err e = {0};
    err_code rc = load(j, &e);
    if (rc == ERR_OK && j->f.explain)
        rc = explain(j, &e);
    int code = rc != ERR_OK ? cmd_fail(&e) : j->f.explain ? 0 : plumb(j);
    release(j);
    return code;
}

int cmd_tokenize(int argc, char **argv)
{
    static const struct opt_def defs[] = {
        {"", "model", OPT_STR, offsetof(struct flags, model), "", 0, 0, NULL, "folder with tokenizer.json, or such a file"},
        {"", "tiktoken", OPT_STR, offsetof(struct flags, tiktoken), "", 0, 0, NULL, "rank file (*.tiktoken, Llama's tokenizer.model)"},
        {"", "scheme", OPT_STR, offsetof(struct flags, scheme), "", 0, 0, NULL, "pattern and special tokens of a rank file, as cl100k_base (default: from its name)"},
        {"", "add-special", OPT_BOOL, offsetof(struct flags, add_special), "false", 0, 0, NULL, "add what the post-processor adds (bos, eos)"},
        {"", "as-class", OPT_BOOL, offsetof(struct flags, as_class), "false", 0, 0, NULL, "with --add-special: as the class that tokenizer_config.json names adds them"},
        {"", "offsets", OPT_BOOL, offsetof(struct flags, offsets), "false", 0, 0, NULL, "also \"offsets\": byte spans of the text"},
        {"", "plain", OPT_BOOL, offsetof(struct flags, plain), "false", 0, 0, NULL, "control tokens written in the text are plain text"},
        {"", "invalid", OPT_ENUM, offsetof(struct flags, invalid), "error", 0, 0, "error|replace", "bytes that are not UTF-8: refuse the line, or U+FFFD"},
        {"", "decode", OPT_BOOL, offsetof(struct flags, decode), "false", 0, 0, NULL, "{\"id\",\"ids\"} to {\"id\",\"text\"}"},
        {"", "skip-special", OPT_BOOL, offsetof(struct flags, skip_special), "false", 0, 0, NULL, "decode: leave special tokens out"},
        {"", "explain", OPT_BOOL, offsetof(struct flags, explain), "false", 0, 0, NULL, "stdin is plain text: show its pieces and tokens, one piece a line"},
        {"", "color", OPT_ENUM, offsetof(struct flags, color), "auto", 0, 0, "auto|always|never", "colours of --explain"},
    };
    static const struct cmd_flags f = {
        .usage = "tokenize --model DIR [--decode] < in > out",
        .about = "Reads {\"id\",\"text\"} (or \"bytes_b64\") lines and answers {\"id\",\"ids\"}; with --decode the other way. The ids are those of the\n"
                 "Hugging Face tokenizers library on the same tokenizer.json. `hone tokenize train --help`: a vocabulary of your own.",
        .defs = defs, .n = sizeof defs / sizeof *defs, .words_max = 0,
    };
    if (argc && !strcmp(argv[0], "train"))
        return cmd_tokenize_train(argc - 1, argv + 1);
    static struct job j; /* 512 rows: too large for the stack */
    struct arena mem;
    int words, done;
    arena_init(&mem, "flags", 1 << 20);
    int code = cmd_parse(&f, &j.f, &mem, argc, argv, &words, &done);
    if (!done)
        code = run(&j);
    arena_release(&mem);
    return code;
}
