/* hone data show, stats. */
#include <stdlib.h>
#include <unistd.h>

#include "cmd/data.h"

struct show_flags {
    const char *store, *source, *color;
    int64_t row, item;
    int prompt;
    struct render_flags r;
};

static const struct opt_def show_defs[] = {
    {"", "store", OPT_STR, offsetof(struct show_flags, store), "hone.db", 0, 0, NULL, "the SQLite store"},
    {"", "source", OPT_STR, offsetof(struct show_flags, source), "", 0, 0, NULL, "source that --row counts in; empty = all, in the order of their import"},
    {"", "row", OPT_INT, offsetof(struct show_flags, row), "1", 1, 9e15, NULL, "which row, from 1"},
    {"", "item", OPT_INT, offsetof(struct show_flags, item), "0", 0, 9e15, NULL, "the item with this id instead"},
    {"", "prompt", OPT_BOOL, offsetof(struct show_flags, prompt), "false", 0, 0, NULL, "show what a rollout would start from"},
    {"", "color", OPT_ENUM, offsetof(struct show_flags, color), "auto", 0, 0, "auto|always|never", "supervised text in colour; auto = on a terminal"},
    RENDER_FLAGS(struct show_flags),
};

static err_code find_row(struct store *s, const struct show_flags *f, int64_t *item, struct err *e)
{
    *item = f->item;
    if (f->item)
        return ERR_OK;
    TRY(store_get(s, item, 0, e, "SELECT r.item FROM source_rows r JOIN files f ON f.id = r.file JOIN sources s ON s.id = f.source"
                                 " WHERE f.superseded_at IS NULL AND (? = '' OR s.name = ?) ORDER BY r.seq LIMIT 1 OFFSET ?", "tti", f->source,
                  f->source, f->row - 1));
    return *item ? ERR_OK : err_set(e, ERR_DATA, "no row %lld in %s%s; hint: hone data list", (long long)f->row, f->source[0] ? "source " : "the store", f->source);
}

static err_code print_places(struct store *s, int64_t item, struct str kind, struct err *e)
{
    struct store_query q;
    printf("item %lld, %.*s", (long long)item, STR_ARG(kind));
    TRY(store_query(s, &q, e, "SELECT s.name, CASE f.path WHEN '' THEN '(made by hone)' ELSE f.path END, r.line FROM source_rows r JOIN files f ON f.id = r.file"
                              " JOIN sources s ON s.id = f.source WHERE r.item = ? ORDER BY r.seq LIMIT 5", "i", item));
    while (q.more) {
        struct str name = store_str(&q, 0), path = store_str(&q, 1);
        printf(", source %.*s %.*s:%lld", STR_ARG(name), STR_ARG(path), (long long)store_i64(&q, 2));
        TRY(store_next(&q, e));
    }
    printf("\n");
    return ERR_OK;
}

/* Text for one line: control characters and line ends visible. */
static void put_visible(struct sbuf *b, struct str s)
{
    for (int64_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '\n')
            sbuf_adds(b, "\\n");
        else if (c == '\t')
            sbuf_adds(b, "\\t");
        else if (c < 0x20 || c == 0x7f)
            sbuf_addf(b, "\\x%02x", c);
        else
            sbuf_addc(b, (char)c);
    }
}

/* Columns a text takes, roughly: one per character. */
static int columns(struct str s)
{
    int n = 0;
    for (int64_t i = 0; i < s.n; i++)
        n += ((unsigned char)s.p[i] & 0xC0) != 0x80;
    return n;
}

enum { TEXT_COLUMNS = 56, LINE_TOKENS = 12 };

static const char *const kind_names[TMPL_N_KINDS] = {"template", "input", "answer", "reasoning", "tool call", "glue", "end"};

/* How many tokens from t on share a line: one weight, one kind, up to a line end or a full column. */
static int64_t line_end(const struct data_row *r, int64_t t)
{
    int64_t u = t + 1;
    while (u < r->n && u - t < LINE_TOKENS && r->weight[u] == r->weight[t] && r->kind[u] == r->kind[t] && r->begin[u + 1] - r->begin[t] <= TEXT_COLUMNS) {
        if (r->begin[u] > r->begin[t] && r->text.p[r->begin[u] - 1] == '\n')
            break;
        u++;
    }
    return u;
}

static void print_tokens(const struct data_row *r, int color)
{
    struct sbuf b;
    sbuf_init(&b, 1LL << 32);
    printf("%6s  %-7s %-9s  %-*s  %s\n", "token", "weight", "part", TEXT_COLUMNS, "text", "ids");
    for (int64_t t = 0, u; t < r->n; t = u) {
        u = line_end(r, t);
        char weight[24] = ".";
        if (r->weight[t] > 0)
            snprintf(weight, sizeof weight, "%.4g", (double)r->weight[t]);
        sbuf_clear(&b);
        put_visible(&b, str_sub(r->text, r->begin[t], r->begin[u]));
        int pad = TEXT_COLUMNS - columns(sbuf_str(&b));
        const char *on = color ? (r->weight[t] > 0 ? "\033[32m" : "\033[2m") : "", *off = color ? "\033[0m" : "";
        printf("%6lld  %-7s %-9s  %s%s%s%*s  ", (long long)t, weight, kind_names[r->kind[t]], on, b.p ? b.p : "", off, pad > 0 ? pad : 0, "");
        for (int64_t i = t; i < u; i++)
            printf("%s%d", i > t ? " " : "", r->ids[i]);
        printf("\n");
    }
    sbuf_release(&b);
}

static err_code show_row(struct store *s, const struct show_flags *f, struct arena *mem, struct err *e)
{
    int64_t item;
    struct str kind, body;
    struct data_renderer *r = NULL;
    struct data_render_opts o = cmd_data_render_opts(&f->r);
    TRY(find_row(s, f, &item, e));
    TRY(data_item(s, item, mem, &kind, &body, e));
    TRY(print_places(s, item, kind, e));
    if (!f->r.model[0]) {
        printf("%.*s\n(no tokens: --model DIR shows them)\n", STR_ARG(body));
        return ERR_OK;
    }
    TRY(data_renderer_open(&o, &r, e));
    int color = !strcmp(f->color, "always") || (!strcmp(f->color, "auto") && isatty(1));
    err_code rc;
    if (f->prompt) {
        struct data_prompt p;
        rc = data_prompt_ids(r, kind, body, mem, &p, e);
        if (rc == ERR_OK) {
            printf("%lld tokens to start from; gold answer: %.*s\n%.*s\n", (long long)p.n, STR_ARG(p.answer), STR_ARG(p.text));
            for (int64_t i = 0; i < p.n; i++)
                printf("%d%s", p.ids[i], i + 1 < p.n ? " " : "\n");
        }
    } else {
        struct data_row row;
        rc = data_render_item(r, kind, body, mem, &row, e);
        if (rc == ERR_OK) {
            printf("%lld tokens, %lld supervised\n", (long long)row.n, (long long)row.supervised);
            print_tokens(&row, color);
            if (row.supervised == 0)
                rc = err_set(e, ERR_DATA, "item %lld has no supervised token: nothing in it is an assistant turn that counts (--turns %s)",
                             (long long)item, f->r.turns);
        }
    }
    data_renderer_close(r);
    return rc;
}

int cmd_data_show(int argc, char **argv)
{
    struct arena mem;
    struct show_flags f;
    struct store *s = NULL;
    struct err e = {0};
    int n, done;
    struct cmd_flags flags = {"data show --row N --model DIR", "One row as it is trained on: weight, part and text of its tokens, and their ids. '.' is weight 0.",
                              show_defs, (int)(sizeof show_defs / sizeof *show_defs), 0};
    arena_init(&mem, "show", 8LL << 30);
    int code = cmd_parse(&flags, &f, &mem, argc, argv, &n, &done);
    if (!done) {
        err_code rc = store_open(f.store, STORE_READ, NULL, &s, &e);
        if (rc == ERR_OK)
            rc = show_row(s, &f, &mem, &e);
        store_close(s);
        fflush(stdout);
        code = rc == ERR_OK ? 0 : cmd_fail(&e);
    }
    arena_release(&mem);
    return code;
}

/* ---- stats -------------------------------------------------------------------------------- */

struct stats_flags {
    const char *store;
};

static const struct opt_def stats_defs[] = {
    {"", "store", OPT_STR, offsetof(struct stats_flags, store), "hone.db", 0, 0, NULL, "the SQLite store"},
};

static err_code print_kinds(struct store *s, struct err *e)
{
    struct store_query q;
    printf("source\tkind\trows\titems\tprompts\tbytes (mean)\twith answer\n");
    TRY(store_query(s, &q, e, "SELECT s.name, i.kind, count(*), count(DISTINCT i.id), count(DISTINCT i.prompt), sum(length(b.body)) / count(*),"
                              " count(DISTINCT CASE WHEN instr(b.body, '\"answer\":') > 0 AND json_type(b.body, '$.answer') IS NOT NULL THEN i.id END)"
                              " FROM source_rows r JOIN files f ON f.id = r.file JOIN sources s ON s.id = f.source JOIN items i ON i.id = r.item"
                              " JOIN bodies b ON b.item = i.id WHERE f.superseded_at IS NULL GROUP BY s.id, i.kind ORDER BY s.id, i.kind", ""));
    while (q.more) {
        struct str name = store_str(&q, 0), kind = store_str(&q, 1);
        printf("%.*s\t%.*s", STR_ARG(name), STR_ARG(kind));
        for (int c = 2; c < 7; c++)
            printf("\t%s", cmd_data_count(store_i64(&q, c)));
        printf("\n");
        TRY(store_next(&q, e));
    }
    return ERR_OK;
}

static err_code print_lengths(struct store *s, int64_t recipe, struct str model, struct err *e)
{
    static const int parts[] = {0, 10, 50, 90, 99, 100};
    int64_t rows = 0, sum = 0, sup = 0, none = 0, len = 0;
    TRY(store_get(s, &rows, 0, e, "SELECT count(*) FROM token_rows WHERE recipe = ?", "i", recipe));
    TRY(store_get(s, &sum, 0, e, "SELECT ifnull(sum(n), 0) FROM token_rows WHERE recipe = ?", "i", recipe));
    TRY(store_get(s, &sup, 0, e, "SELECT ifnull(sum(supervised), 0) FROM token_rows WHERE recipe = ?", "i", recipe));
    TRY(store_get(s, &none, 0, e, "SELECT count(*) FROM token_rows WHERE recipe = ? AND supervised = 0", "i", recipe));
    printf("%lld\t%.*s\t%s\t%s\t%.1f %%\t%s", (long long)recipe, STR_ARG(model), cmd_data_count(rows), cmd_data_count(sum),
           sum ? 100 * (double)sup / (double)sum : 0, cmd_data_count(none));
    for (size_t i = 0; i < sizeof parts / sizeof *parts && rows; i++) {
        TRY(store_get(s, &len, 0, e, "SELECT n FROM token_rows WHERE recipe = ? ORDER BY n LIMIT 1 OFFSET ?", "ii", recipe, (rows - 1) * parts[i] / 100));
        printf("\t%s", cmd_data_count(len));
    }
    printf("\n");
    return ERR_OK;
}

static err_code print_stats(struct store *s, struct err *e)
{
    struct store_query q;
    int64_t items = 0;
    TRY(store_get(s, &items, 0, e, "SELECT count(*) FROM items", ""));
    if (items == 0)
        return err_set(e, ERR_DATA, "store '%s' has no data yet; hint: hone data import FILE.jsonl", store_path(s));
    TRY(print_kinds(s, e));
    TRY(store_query(s, &q, e, "SELECT id, model FROM recipes ORDER BY id", ""));
    if (q.more)
        printf("\nrecipe\tmodel\trows\ttokens\tsupervised\twithout supervision\tshortest\t10 %%\tmedian\t90 %%\t99 %%\tlongest\n");
    while (q.more) {
        TRY(print_lengths(s, store_i64(&q, 0), store_str(&q, 1), e));
        TRY(store_next(&q, e));
    }
    return ERR_OK;
}

int cmd_data_stats(int argc, char **argv)
{
    struct arena mem;
    struct stats_flags f;
    struct store *s = NULL;
    struct err e = {0};
    int n, done;
    struct cmd_flags flags = {"data stats [--store hone.db]", "Counts by source and kind; token lengths by recipe; columns separated by tabs.", stats_defs, 1, 0};
    arena_init(&mem, "flags", 1 << 20);
    int code = cmd_parse(&flags, &f, &mem, argc, argv, &n, &done);
    if (!done) {
        err_code rc = store_open(f.store, STORE_READ, NULL, &s, &e);
        if (rc == ERR_OK)
            rc = print_stats(s, &e);
        store_close(s);
        code = rc == ERR_OK ? 0 : cmd_fail(&e);
    }
    arena_release(&mem);
    return code;
}
