/* hone data: rows in, what is there, how it is packed, rows out. */
#include "cmd/data.h"

#include <stdlib.h>

#include "core/file.h"
#include "core/stop.h"

const char *cmd_data_count(int64_t n)
{
    static char out[8][32];
    static int k;
    char digits[24], *p = out[k = (k + 1) % 8];
    int len = snprintf(digits, sizeof digits, "%lld", (long long)n), at = 0;
    for (int i = 0; i < len; i++) {
        if (i > (digits[0] == '-') && (len - i) % 3 == 0)
            p[at++] = ',';
        p[at++] = digits[i];
    }
    p[at] = 0;
    return p;
}

struct data_render_opts cmd_data_render_opts(const struct render_flags *f)
{
    struct data_render_opts o = data_render_defaults();
    o.model = f->model;
    o.which = f->turns;
    o.template_name = f->template_name[0] ? f->template_name : NULL;
    o.reasoning = f->reasoning;
    o.tool_calls = f->tool_calls;
    o.raw = f->raw;
    return o;
}

struct data_select cmd_data_select(const struct data_flags *f)
{
    return (struct data_select){.sources = f->sources, .kinds = f->kinds, .split = f->split, .heldout = f->heldout, .exclude = f->exclude};
}

static err_code all_sources(struct store *s, struct data_flags *f, struct arena *mem, struct err *e)
{
    struct store_query q;
    struct str list = {"", 0};
    TRY(store_query(s, &q, e, "SELECT name FROM sources WHERE ',' || ? || ',' NOT LIKE '%,' || name || ',%' ORDER BY id", "t", f->exclude));
    while (q.more) {
        struct str name = store_str(&q, 0);
        list = list.n ? str_printf(mem, "%.*s,%.*s", STR_ARG(list), STR_ARG(name)) : str_dup(mem, name);
        TRY(store_next(&q, e));
    }
    if (!list.n)
        return err_set(e, ERR_DATA, "store '%s' has no data yet; hint: hone data import FILE.jsonl", store_path(s));
    f->sources = list.p;
    return ERR_OK;
}

err_code cmd_data_open(struct data_flags *f, enum store_mode mode, struct arena *mem, struct store **s, struct err *e)
{
    if (!file_exists(f->store))
        return err_set(e, ERR_IO, "no store '%s'; hint: hone data import FILE.jsonl --store %s makes one", f->store, f->store);
    TRY(store_open(f->store, mode, "hone data", s, e));
    err_code rc = f->sources[0] ? ERR_OK : all_sources(*s, f, mem, e);
    if (rc != ERR_OK)
        store_close(*s);
    return rc;
}

/* ---- import ------------------------------------------------------------------------------- */

struct import_flags {
    const char *store, *source, *format, *map, *filter;
    int stop_at_bad, quiet;
};

static const struct opt_def import_defs[] = {
    {"", "store", OPT_STR, offsetof(struct import_flags, store), "hone.db", 0, 0, NULL, "the SQLite store; made when it is missing"},
    {"", "source", OPT_STR, offsetof(struct import_flags, source), "", 0, 0, NULL, "name the rows are found under; empty = the file's name"},
    {"", "format", OPT_ENUM, offsetof(struct import_flags, format), "auto", 0, 0,
     "auto"
#define X(name, help) "|" #name
     DATA_FORMATS(X)
#undef X
     , "format of the rows; auto = told row by row"},
    {"", "map", OPT_STR, offsetof(struct import_flags, map), "", 0, 0, NULL, "other names of fields: prompt=question,completion=answer"},
    {"", "filter", OPT_STR, offsetof(struct import_flags, filter), "", 0, 0, NULL, "Lua file with row(row): true = keep, false = leave out, a table = in its place"},
    {"", "stop-at-bad", OPT_BOOL, offsetof(struct import_flags, stop_at_bad), "false", 0, 0, NULL, "end at the first line that is no row"},
    {"", "quiet", OPT_BOOL, offsetof(struct import_flags, quiet), "false", 0, 0, NULL, "no progress line"},
};

static enum data_format format_of(const char *name)
{
    for (int f = 0; f < DATA_N_FORMATS; f++)
        if (!strcmp(name, data_format_name((enum data_format)f)))
            return (enum data_format)f;
    BUG("format '%s' passed its own list", name);
}

static void print_import(const char *path, const struct data_import_stats *st)
{
    if (st->already) {
        printf("%s: source %s: already imported, nothing new\n", path, st->source);
        return;
    }
    printf("%s: source %s: %s lines, %s new items, %s known, %s bad", path, st->source, cmd_data_count(st->lines), cmd_data_count(st->added),
           cmd_data_count(st->known), cmd_data_count(st->bad));
    for (int f = 1; f < DATA_N_FORMATS; f++)
        if (st->formats[f])
            printf(", %s %s", cmd_data_count(st->formats[f]), data_format_name((enum data_format)f));
    if (st->left_out)
        printf(", %s left out by the filter", cmd_data_count(st->left_out));
    if (st->resumed_at)
        printf(" (went on behind line %s)", cmd_data_count(st->resumed_at));
    printf("\n");
}

static int run_import(int argc, char **argv)
{
    struct arena mem;
    struct import_flags f;
    struct store *s = NULL;
    struct err e = {0};
    int n = 0, done, code = 0;
    struct cmd_flags flags = {"data import FILE... [--store hone.db] [--source NAME]",
                              "Reads JSON Lines (or one JSON array) into the store. Each distinct row is kept once; the same file again adds\n"
                              "nothing; a changed file takes the place of the older one. A line that is no row is recorded and named, the others\n"
                              "are imported, and the exit code is 3. Killed at any moment, the same command goes on where it stopped.",
                              import_defs, (int)(sizeof import_defs / sizeof *import_defs), 10000};
    arena_init(&mem, "flags", 1 << 20);
    int rc = cmd_parse(&flags, &f, &mem, argc, argv, &n, &done);
    if (done || n == 0) {
        if (!done)
            fprintf(stderr, "usage: hone %s (try --help)\n", flags.usage);
        arena_release(&mem);
        return done ? rc : err_exit(ERR_USAGE);
    }
    stop_catch();
    if (store_open(f.store, STORE_WRITE, "hone data import", &s, &e) != ERR_OK)
        code = cmd_fail(&e);
    struct data_import_opts o = {.source = f.source, .format = format_of(f.format), .map = f.map, .filter = f.filter, .stop_at_bad = f.stop_at_bad, .quiet = f.quiet};
    for (int i = 0; s && i < n; i++) {
        struct data_import_stats st;
        struct err why = {0};
        err_code got = data_import(s, argv[i], &o, &st, &why);
        if (got == ERR_OK || got == ERR_DATA)
            print_import(argv[i], &st);
        if (got != ERR_OK)
            code = cmd_fail(&why);
        if (got != ERR_OK && got != ERR_DATA)
            break; /* the disk is full, Ctrl-C, ...: the next file would meet the same */
    }
    store_close(s);
    arena_release(&mem);
    return code;
}

/* ---- list --------------------------------------------------------------------------------- */

struct list_flags {
    const char *store;
};

static const struct opt_def list_defs[] = {
    {"", "store", OPT_STR, offsetof(struct list_flags, store), "hone.db", 0, 0, NULL, "the SQLite store"},
};

/* One table of the store: a head line and its rows, columns as wide as they need to be. */
static err_code table(struct store *s, const char *title, const char *head, const char *sql, int cols, struct err *e)
{
    struct store_query q;
    TRY(store_query(s, &q, e, sql, ""));
    if (!q.more)
        return ERR_OK;
    printf("%s\n%s\n", title, head);
    while (q.more) {
        for (int c = 0; c < cols; c++) {
            struct str v = store_str(&q, c);
            printf("%s%.*s", c ? "\t" : "", STR_ARG(v));
        }
        printf("\n");
        TRY(store_next(&q, e));
    }
    printf("\n");
    return ERR_OK;
}

static err_code list_all(struct store *s, struct err *e)
{
    TRY(table(s, "sources", "name\trows\titems\tkinds\tbad lines\tstate",
              "SELECT s.name, count(r.seq), count(DISTINCT r.item), ifnull(group_concat(DISTINCT i.kind), ''),"
              " (SELECT ifnull(sum(bad), 0) FROM files WHERE source = s.id AND superseded_at IS NULL),"
              " CASE WHEN EXISTS(SELECT 1 FROM files WHERE source = s.id AND superseded_at IS NULL AND done = 0) THEN 'interrupted' ELSE 'whole' END"
              " FROM sources s LEFT JOIN files f ON f.source = s.id AND f.superseded_at IS NULL LEFT JOIN source_rows r ON r.file = f.id"
              " LEFT JOIN items i ON i.id = r.item GROUP BY s.id ORDER BY s.id", 6, e));
    TRY(table(s, "files", "source\tpath\trows\tnew\tbad\timported",
              "SELECT s.name, CASE f.path WHEN '' THEN '(made by hone)' ELSE f.path END, f.rows, f.added, f.bad, f.imported_at ||"
              " CASE WHEN f.superseded_at IS NOT NULL THEN ', replaced' WHEN f.done = 0 THEN ', interrupted at line ' || f.lines_done ELSE '' END"
              " FROM files f JOIN sources s ON s.id = f.source ORDER BY f.id", 6, e));
    TRY(table(s, "snapshots", "id\tsources\tkinds\tsplit\theld out\titems\texcluded\tdigest",
              "SELECT id, sources, kinds, split, heldout, items, excluded, lower(hex(digest)) FROM snapshots ORDER BY id", 8, e));
    TRY(table(s, "recipes", "id\tmodel\trows\ttokens\tsupervised\toptions",
              "SELECT c.id, c.model, count(t.id), ifnull(sum(t.n), 0), ifnull(sum(t.supervised), 0), c.options FROM recipes c"
              " LEFT JOIN token_rows t ON t.recipe = c.id GROUP BY c.id ORDER BY c.id", 6, e));
    return table(s, "plans", "id\tsnapshot\trecipe\tepoch\tsteps\tbatches\trows\ttokens\tefficiency\tdigest",
                 "SELECT p.id, p.snapshot, p.recipe, e.epoch, e.steps, e.batches, e.rows, e.tokens, printf('%.4f', e.efficiency), lower(hex(e.digest))"
                 " FROM plans p JOIN plan_epochs e ON e.plan = p.id ORDER BY p.id, e.epoch", 10, e);
}

static int run_list(int argc, char **argv)
{
    struct arena mem;
    struct list_flags f;
    struct store *s = NULL;
    struct err e = {0};
    int n, done;
    struct cmd_flags flags = {"data list [--store hone.db]", "Sources, files, snapshots, recipes and plans of a store, columns separated by tabs.", list_defs, 1, 0};
    arena_init(&mem, "flags", 1 << 20);
    int code = cmd_parse(&flags, &f, &mem, argc, argv, &n, &done);
    if (!done) {
        err_code rc = store_open(f.store, STORE_READ, NULL, &s, &e);
        if (rc == ERR_OK)
            rc = list_all(s, &e);
        store_close(s);
        code = rc == ERR_OK ? 0 : cmd_fail(&e);
    }
    arena_release(&mem);
    return code;
}

/* ---- plan --------------------------------------------------------------------------------- */

struct plan_flags {
    struct data_flags d;
    struct render_flags r;
    int64_t seed, cap, leaves, max_len, max_rows, window, epochs;
    const char *over_long;
    int pack, shuffle, drop_unsupervised, keep_text;
};

static const struct opt_def plan_defs[] = {
    DATA_FLAGS(struct plan_flags, "chat", "train"),
    RENDER_FLAGS(struct plan_flags),
    {"", "keep-text", OPT_BOOL, offsetof(struct plan_flags, keep_text), "false", 0, 0, NULL, "store the rendered text beside the tokens"},
    {"", "drop-unsupervised", OPT_BOOL, offsetof(struct plan_flags, drop_unsupervised), "false", 0, 0, NULL, "leave rows without a supervised token out, counted"},
    {"", "seed", OPT_INT, offsetof(struct plan_flags, seed), "1", 0, 0, NULL, "seed of the order"},
    {"", "cap", OPT_INT, offsetof(struct plan_flags, cap), "4096", 8, 16777216, NULL, "tokens of one micro-batch"},
    {"", "leaves", OPT_INT, offsetof(struct plan_flags, leaves), "8", 1, 1000000, NULL, "micro-batches per step"},
    {"", "max-len", OPT_INT, offsetof(struct plan_flags, max_len), "0", 0, 16777216, NULL, "longest row in tokens; 0 = cap"},
    {"", "over-long", OPT_ENUM, offsetof(struct plan_flags, over_long), "error", 0, 0, "error|drop|truncate", "what happens to a longer row"},
    {"", "max-rows", OPT_INT, offsetof(struct plan_flags, max_rows), "0", 0, 1000000, NULL, "most rows in one micro-batch; 0 = no limit"},
    {"", "window", OPT_INT, offsetof(struct plan_flags, window), "0", 0, 100000000, NULL, "rows that are packed together; 0 = 131072"},
    {"", "pack", OPT_BOOL, offsetof(struct plan_flags, pack), "true", 0, 0, NULL, "several rows per micro-batch"},
    {"", "shuffle", OPT_BOOL, offsetof(struct plan_flags, shuffle), "true", 0, 0, NULL, "a new order every epoch"},
    {"", "epochs", OPT_INT, offsetof(struct plan_flags, epochs), "1", 1, 100000, NULL, "epochs to plan"},
};

static void print_epoch(int64_t epoch, const struct data_plan_info *i)
{
    char digest[33];
    hash_hex(i->digest, digest);
    printf("epoch %lld: %s steps, %s micro-batches, %s rows, %s tokens (%.2f %% of the room), %s supervised", (long long)epoch,
           cmd_data_count(i->steps), cmd_data_count(i->batches), cmd_data_count(i->rows), cmd_data_count(i->tokens), 100 * i->efficiency,
           cmd_data_count(i->supervised));
    if (i->dropped_long)
        printf(", %s rows too long and dropped", cmd_data_count(i->dropped_long));
    if (i->truncated)
        printf(", %s rows truncated", cmd_data_count(i->truncated));
    if (i->dropped_unsupervised)
        printf(", %s rows without supervision dropped", cmd_data_count(i->dropped_unsupervised));
    printf(", digest %s\n", digest);
}

static err_code make_plan(struct store *s, const struct plan_flags *f, struct err *e)
{
    int64_t snapshot, recipe;
    struct data_render_stats st;
    struct data_select sel = cmd_data_select(&f->d);
    struct data_render_opts r = cmd_data_render_opts(&f->r);
    struct data_plan *p;
    r.drop_unsupervised = f->drop_unsupervised;
    r.keep_text = f->keep_text;
    TRY(data_snapshot(s, &sel, &snapshot, e));
    TRY(data_render(s, snapshot, &r, &recipe, &st, e));
    printf("snapshot %lld: %s items; recipe %lld: %s tokens, %s supervised, longest row %s, %s rows rendered before\n", (long long)snapshot,
           cmd_data_count(st.items), (long long)recipe, cmd_data_count(st.tokens), cmd_data_count(st.supervised), cmd_data_count(st.longest),
           cmd_data_count(st.cached));
    struct data_plan_opts o = {.snapshot = snapshot, .recipe = recipe, .seed = (uint64_t)f->seed, .cap = f->cap, .leaves = f->leaves,
                               .max_len = f->max_len, .max_rows = f->max_rows, .window = f->window, .pack = f->pack, .shuffle = f->shuffle,
                               .over = !strcmp(f->over_long, "drop") ? DATA_LONG_DROP : !strcmp(f->over_long, "truncate") ? DATA_LONG_TRUNCATE
                                                                                                                          : DATA_LONG_ERROR};
    TRY(data_plan_open(s, &o, &p, e));
    err_code rc = ERR_OK;
    for (int64_t k = 0; k < f->epochs && rc == ERR_OK; k++) {
        struct data_plan_info info;
        rc = data_plan_epoch(p, k, &info, e);
        if (rc == ERR_OK)
            print_epoch(k, &info);
    }
    data_plan_close(p);
    return rc;
}

static int run_plan(int argc, char **argv)
{
    struct arena mem;
    struct plan_flags f;
    struct store *s = NULL;
    struct err e = {0};
    int n, done;
    struct cmd_flags flags = {"data plan --model DIR [--sources LIST] [--cap N] [--leaves N]",
                              "Renders the rows, packs them, stores the plan, and says what a run with these options would read.", plan_defs,
                              (int)(sizeof plan_defs / sizeof *plan_defs), 0};
    arena_init(&mem, "flags", 1 << 20);
    int code = cmd_parse(&flags, &f, &mem, argc, argv, &n, &done);
    if (!done) {
        stop_catch();
        err_code rc = f.r.model[0] ? ERR_OK : err_set(&e, ERR_USAGE, "which tokenizer? hint: --model DIR");
        if (rc == ERR_OK)
            rc = cmd_data_open(&f.d, STORE_WRITE, &mem, &s, &e);
        if (rc == ERR_OK) {
            rc = make_plan(s, &f, &e);
            store_close(s);
        }
        code = rc == ERR_OK ? 0 : cmd_fail(&e);
    }
    arena_release(&mem);
    return code;
}

/* ---- export ------------------------------------------------------------------------------- */

struct export_flags {
    struct data_flags d;
    const char *format, *out;
};

static const struct opt_def export_defs[] = {
    DATA_FLAGS(struct export_flags, "chat", "all"),
    {"", "format", OPT_ENUM, offsetof(struct export_flags, format), "openai", 0, 0, "openai|sharegpt|prompt_completion|prompt_answer|preference|text",
     "format of the rows"},
    {"", "out", OPT_STR, offsetof(struct export_flags, out), "-", 0, 0, NULL, "file to write; - = standard output"},
};

static int run_export(int argc, char **argv)
{
    struct arena mem;
    struct export_flags f;
    struct store *s = NULL;
    struct err e = {0};
    int n, done;
    struct cmd_flags flags = {"data export [--sources LIST] [--kinds LIST] [--format F] [--out FILE]",
                              "Items as JSON Lines. An item that the format cannot hold is an error that names it.", export_defs,
                              (int)(sizeof export_defs / sizeof *export_defs), 0};
    arena_init(&mem, "flags", 1 << 20);
    int code = cmd_parse(&flags, &f, &mem, argc, argv, &n, &done);
    if (!done) {
        int64_t snapshot, rows;
        stop_catch();
        err_code rc = cmd_data_open(&f.d, STORE_WRITE, &mem, &s, &e);
        struct data_select sel = cmd_data_select(&f.d);
        if (rc == ERR_OK) {
            rc = data_snapshot(s, &sel, &snapshot, &e);
            if (rc == ERR_OK)
                rc = data_export(s, snapshot, format_of(f.format), f.out, &rows, &e);
            if (rc == ERR_OK)
                fprintf(stderr, "hone: %s rows written\n", cmd_data_count(rows));
            store_close(s);
        }
        code = rc == ERR_OK ? 0 : cmd_fail(&e);
    }
    arena_release(&mem);
    return code;
}

int cmd_data(int argc, char **argv)
{
    static const struct cmd_verb verbs[] = {
        {"import", "JSON Lines into the store", run_import},
        {"list", "sources, files, snapshots, recipes, plans", run_list},
        {"show", "one row: text, tokens and mask side by side", cmd_data_show},
        {"stats", "counts and lengths", cmd_data_stats},
        {"plan", "render, pack, store the plan", run_plan},
        {"export", "items as JSON Lines", run_export},
    };
    return cmd_dispatch("data", verbs, (int)(sizeof verbs / sizeof *verbs), argc, argv);
}
