/* Speed of the data path: import, render, pack, plan. Every figure has a yardstick taken in the same run. Times are
 * CPU seconds of the whole process, all threads, so that other work on the machine counts less; "wall" says otherwise.
 * HONE_BENCH_ROWS scales the import and render parts (default 200,000 rows). */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "core/log.h"
#include "core/par.h"
#include "core/rng.h"
#include "datasets/datasets.h"

static char dir[] = "/tmp/hone-bench-XXXXXX";

#define MUST(call)                                  \
    do {                                            \
        struct err e_ = {0}, *e = &e_;              \
        if ((call) != ERR_OK) {                     \
            fprintf(stderr, "bench: %s\n", e_.msg); \
            exit(1);                                \
        }                                           \
    } while (0)

static const char *in_dir(const char *name)
{
    static char path[4][300];
    static int k;
    k = (k + 1) % 4;
    snprintf(path[k], sizeof path[k], "%s/%s", dir, name);
    return path[k];
}

static const char *const words[] = {"the", "answer", "is", "a", "number", "that", "we", "find", "by", "adding", "seven", "and", "twelve", "because", "every",
                                    "box", "holds", "three", "apples", "so", "there", "are", "many", "of", "them", "in", "total"};

static void sentence(FILE *f, uint64_t row, uint32_t part, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        fprintf(f, "%s%s", i ? " " : "", words[rng_below(27, 1, RNG_TEST, row, part, (uint64_t)i)]);
}

/* Two-message rows of some 550 bytes, as instruction data has them. */
static int64_t write_rows(const char *path, int64_t rows)
{
    FILE *f = fopen(path, "w");
    for (int64_t i = 0; i < rows; i++) {
        fprintf(f, "{\"messages\":[{\"role\":\"user\",\"content\":\"%lld: ", (long long)i);
        sentence(f, (uint64_t)i, 0, 10 + (int64_t)rng_below(40, 2, RNG_TEST, (uint64_t)i, 0, 0));
        fprintf(f, "?\"},{\"role\":\"assistant\",\"content\":\"");
        sentence(f, (uint64_t)i, 1, 20 + (int64_t)rng_below(100, 2, RNG_TEST, (uint64_t)i, 1, 0));
        fprintf(f, ".\\n\\n#### %lld\"}]}\n", (long long)i % 97);
    }
    int64_t bytes = ftell(f);
    fclose(f);
    return bytes;
}

static void line(const char *what, double value, const char *unit, const char *yardstick, double ratio, double floor)
{
    printf("%-34s %12.4g %-10s %-44s %8.3g", what, value, unit, yardstick, ratio);
    if (floor > 0)
        printf("   floor %g%s", floor, ratio >= floor ? "" : "  MISSED");
    printf("\n");
    fflush(stdout);
}

/* Jansson over the same lines, one thread: what parsing alone costs elsewhere. */
static double jansson_seconds(const char *path)
{
    char *p = NULL;
    size_t cap = 0;
    ssize_t n;
    FILE *f = fopen(path, "r");
    double t = clock_cpu();
    while ((n = getline(&p, &cap, f)) > 0) {
        json_t *v = json_loadb(p, (size_t)n, 0, NULL);
        json_decref(v);
    }
    t = clock_cpu() - t;
    free(p);
    fclose(f);
    return t;
}

static void bench_import(struct store *s, int64_t rows)
{
    struct data_import_stats st;
    char path[300];
    snprintf(path, sizeof path, "%s", in_dir("rows.jsonl"));
    int64_t bytes = write_rows(path, rows);
    double parse = jansson_seconds(path), wall = clock_now(), t = clock_cpu();
    MUST(data_import(s, path, &(struct data_import_opts){.quiet = 1}, &st, e));
    t = clock_cpu() - t;
    wall = clock_now() - wall;
    line("import", (double)rows / t, "rows/s", "times as fast as Jansson's parsing alone", parse / t, 0.5);
    line("import", (double)bytes / t / 1e6, "MB/s", "wall seconds per CPU second", wall / t, 0);
    double again = clock_cpu();
    MUST(data_import(s, path, &(struct data_import_opts){.quiet = 1}, &st, e));
    again = clock_cpu() - again;
    line("import of the same file again", again * 1e3, "ms", "times as fast as the first time", t / again, 10);
}

static void make_model(const char *path)
{
    struct tok_trainer *tr;
    struct tok_train_stats st;
    MUST(tok_train_new(&(struct tok_train_opts){.vocab = 2000}, &tr, e));
    for (int i = 0; i < 27; i++)
        for (int k = 0; k < 10; k++) {
            char text[80];
            snprintf(text, sizeof text, "%s %s %d?", words[i], words[(i + k) % 27], k * 7);
            MUST(tok_train_add(tr, str_of(text), e));
        }
    MUST(tok_train_write(tr, path, &st, e));
    tok_train_free(tr);
}

static void bench_render(struct store *s)
{
    struct data_render_opts o = data_render_defaults();
    struct data_render_stats st;
    int64_t snapshot = 0, recipe;
    char model[300];
    snprintf(model, sizeof model, "%s", in_dir("model"));
    MUST(file_mkdirs(model, e));
    make_model(model);
    o.model = model;
    o.quiet = 1;
    MUST(data_snapshot(s, &(struct data_select){.sources = "rows"}, &snapshot, e));
    double t = clock_cpu();
    MUST(data_render(s, snapshot, &o, &recipe, &st, e));
    t = clock_cpu() - t;
    /* open-instruct plans 400 rows/s and CPU for templates and tokens of chat rows; a Jinja2 render alone is 87,000/s */
    line("render, mask, tokenize, store", (double)st.items / t, "rows/s", "times open-instruct's planned 400 rows/s per CPU", (double)st.items / t / 400, 50);
    line("render, mask, tokenize, store", (double)st.tokens / t / 1e6, "Mtok/s", "tokens per row", (double)st.tokens / (double)st.items, 0);
    struct data_renderer *r;
    struct arena mem;
    arena_init(&mem, "prompt", 1 << 20);
    MUST(data_renderer_open(&o, &r, e));
    t = clock_cpu();
    for (int i = 0; i < 20000; i++) {
        struct data_prompt p;
        arena_reset(&mem);
        MUST(data_prompt_ids(r, STR("prompt"), STR("{\"messages\":[{\"role\":\"user\",\"content\":\"there are twelve apples in a box and seven in the total, so how many are there?\"}]}"), &mem, &p, e));
    }
    line("prompt to ids", (clock_cpu() - t) / 20000 * 1e6, "us", "", 0, 0);
    data_renderer_close(r);
    arena_release(&mem);
}

/* Lengths of a mixed instruction and reasoning set: two log-normals by the central limit. */
static void lengths(int32_t *len, int64_t n, int32_t cap)
{
    for (int64_t i = 0; i < n; i++) {
        double z = rng_normal(3, RNG_TEST, (uint64_t)i, 0, 0), x = i % 5 < 3 ? 5.9 + 0.9 * z : 7.8 + 0.8 * z, v = 1;
        for (int k = 0; k < 64; k++)
            v *= 1 + x / 64; /* e^x, roughly: only the shape matters */
        len[i] = v < 1 ? 1 : v > cap ? cap : (int32_t)v;
    }
}

static void bench_pack(void)
{
    enum { N = 1000000, CAP = 16384 };
    int32_t *len = malloc(N * 4), *bin = malloc(N * 4);
    int64_t total = 0;
    struct arena mem;
    arena_init(&mem, "pack", 12LL * N + 9 * CAP + (1 << 20));
    lengths(len, N, CAP);
    for (int i = 0; i < N; i++)
        total += len[i];
    data_pack(len, N, CAP, 0, bin, mem);
    double t = clock_cpu();
    int64_t bins = data_pack(len, N, CAP, 0, bin, mem);
    t = clock_cpu() - t;
    line("pack 1,000,000 rows", t * 1e3, "ms", "share of the bins' room that is used, percent", 100.0 * (double)total / ((double)bins * CAP), 99.95);
    line("pack 1,000,000 rows", N / t / 1e6, "Mrows/s", "times as fast as TRL's 3.6 s", 3.6 / t, 60);
    free(len);
    free(bin);
    arena_release(&mem);
}

static void bench_plan(void)
{
    enum { N = 1500000 };
    struct store *s;
    int32_t *len = malloc(N * 4);
    int64_t snapshot;
    char path[300];
    snprintf(path, sizeof path, "%s", in_dir("texts.jsonl"));
    FILE *f = fopen(path, "w");
    for (int i = 0; i < N; i++)
        fprintf(f, "{\"text\":\"%d\"}\n", i);
    fclose(f);
    lengths(len, N, 16384);
    struct data_import_stats st;
    MUST(store_open(in_dir("plan.db"), STORE_WRITE, "bench", &s, e));
    double t = clock_cpu();
    MUST(data_import(s, path, &(struct data_import_opts){.quiet = 1}, &st, e));
    line("import 1,500,000 tiny rows", N / (clock_cpu() - t), "rows/s", "", 0, 0);
    MUST(store_begin(s, e));
    MUST(store_exec(s, e, "INSERT INTO recipes(hash, tokenizer, template, options, model) VALUES('h','t','m','','')", ""));
    for (int64_t i = 0; i < N; i++)
        MUST(store_exec(s, e, "INSERT INTO token_rows(recipe, item, n, supervised, first_supervised) VALUES(1,?,?,1,1)", "ii", i + 1, (int64_t)len[i] + 1));
    MUST(store_commit(s, e));
    t = clock_cpu();
    MUST(data_snapshot(s, &(struct data_select){.sources = "texts", .kinds = "text"}, &snapshot, e));
    line("snapshot of 1,500,000 rows", clock_cpu() - t, "s", "", 0, 0);
    struct data_plan *p;
    struct data_plan_info info;
    t = clock_cpu();
    MUST(data_plan_open(s, &(struct data_plan_opts){.snapshot = snapshot, .recipe = 1, .seed = 1, .cap = 16384, .leaves = 32, .over = DATA_LONG_DROP,
                                                    .pack = 1, .shuffle = 1}, &p, e));
    line("open the plan", clock_cpu() - t, "s", "", 0, 0);
    t = clock_cpu();
    MUST(data_plan_epoch(p, 0, &info, e));
    t = clock_cpu() - t;
    line("plan an epoch of 1,500,000 rows", t, "s", "share of the room that is used, percent", 100 * info.efficiency, 99.9);
    line("plan an epoch of 1,500,000 rows", N / t / 1e6, "Mrows/s", "million rows per second", N / t / 1e6, 0.5);
    data_plan_close(p);
    store_close(s);
    free(len);
}

int main(void)
{
    struct store *s;
    int64_t rows = 200000;
    if (getenv("HONE_BENCH_ROWS") && !str_to_i64(str_of(getenv("HONE_BENCH_ROWS")), &rows))
        rows = 200000;
    if (!mkdtemp(dir))
        return 1;
    setenv("HONE_CACHE", "", 1);
    printf("%-34s %12s %-10s %-44s %8s   (%d threads)\n", "what", "value", "unit", "yardstick", "ratio", par_threads());
    bench_pack();
    MUST(store_open(in_dir("bench.db"), STORE_WRITE, "bench", &s, e));
    bench_import(s, rows);
    bench_render(s);
    store_close(s);
    bench_plan();
    file_remove_tree(dir, NULL);
    return 0;
}
