/* Rendering. Fails when: a token weighs what another token should; the end of an assistant turn is not
 * supervised; text of a row becomes a control token; tokens depend on threads, kills or the day; a row without
 * supervision or with a template error is not named; a prompt is not the beginning of the row it belongs to. */
#include "tests/data_util.h"

#include "core/rng.h"

static char model_dir[300];

/* A small vocabulary with ChatML. */
static void make_model(void)
{
    struct tok_trainer *tr;
    struct tok_train_stats st;
    static const char *const texts[] = {"You are a helpful assistant.", "the answer is 12 and the question was: what is 5 + 7?", "hello world, hello there",
                                        "system user assistant tool\n", "<think>\nlet me see\n</think>\n\n"};
    snprintf(model_dir, sizeof model_dir, "%s", in_dir("model"));
    MUST(file_mkdirs(model_dir, e));
    MUST(tok_train_new(&(struct tok_train_opts){.vocab = 400}, &tr, e));
    for (int i = 0; i < 50; i++)
        MUST(tok_train_add(tr, str_of(texts[i % 5]), e));
    MUST(tok_train_write(tr, model_dir, &st, e));
    tok_train_free(tr);
}

static struct data_render_opts opts(void)
{
    struct data_render_opts o = data_render_defaults();
    o.model = model_dir;
    o.quiet = 1;
    return o;
}

/* The supervised text: bytes of tokens with weight > 0, pieces that are not neighbours separated by '|'. */
static void supervised_text(const struct data_row *r, char *out, size_t max)
{
    size_t n = 0;
    int open = 0;
    out[0] = 0;
    for (int64_t t = 0; t < r->n; t++) {
        if (r->weight[t] > 0) {
            if (!open && n)
                n += (size_t)snprintf(out + n, max - n, "|");
            n += (size_t)snprintf(out + n, max - n, "%.*s", (int)(r->begin[t + 1] - r->begin[t]), r->text.p + r->begin[t]);
        }
        open = r->weight[t] > 0;
    }
}

static void row_of(const char *kind, const char *body, struct data_render_opts o, struct arena *mem, struct data_row *out)
{
    MUST(data_render_one(str_of(kind), str_of(body), &o, mem, out, e));
    assert_int_equal(out->begin[out->n], out->text.n);
    assert_true(out->n == 0 || out->weight[0] == 0);
    int64_t sup = 0;
    for (int64_t t = 0; t < out->n; t++) {
        sup += out->weight[t] > 0;
        assert_true(out->begin[t] <= out->begin[t + 1]);
    }
    assert_int_equal(sup, out->supervised);
}

#define TWO_TURNS "{\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":\"hello\"},{\"role\":\"assistant\",\"content\":\"hello there\"}," \
                  "{\"role\":\"user\",\"content\":\"what is 5 + 7?\"},{\"role\":\"assistant\",\"content\":\"12\"}],\"answer\":\"12\",\"meta\":{\"k\":1}}"

static void masks_on_chatml(void **state)
{
    (void)state;
    struct arena mem;
    struct data_row r;
    struct data_render_opts o = opts();
    char sup[500];
    arena_init(&mem, "test", 16 << 20);
    row_of("chat", TWO_TURNS, o, &mem, &r);
    supervised_text(&r, sup, sizeof sup);
    assert_string_equal(sup, "hello there<|im_end|>|12<|im_end|>");
    o.which = "last";
    row_of("chat", TWO_TURNS, o, &mem, &r);
    supervised_text(&r, sup, sizeof sup);
    assert_string_equal(sup, "12<|im_end|>");
    o.which = "text";
    row_of("chat", TWO_TURNS, o, &mem, &r);
    assert_int_equal(r.supervised, r.n - 1);
    o = opts();
    row_of("chat", "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"no\",\"train\":false},"
                   "{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"half\",\"weight\":0.5}]}", o, &mem, &r);
    supervised_text(&r, sup, sizeof sup);
    assert_string_equal(sup, "half<|im_end|>");
    for (int64_t t = 0; t < r.n; t++)
        assert_true(r.weight[t] == 0 || r.weight[t] == 0.5f);
    row_of("text", "{\"text\":\"hello world\"}", o, &mem, &r);
    supervised_text(&r, sup, sizeof sup);
    assert_string_equal(r.text.p, "hello world<|im_end|>"); /* the eos of the demo's vocabulary */
    assert_int_equal(r.supervised, r.n - 1);
    struct err w = {0};
    assert_int_equal(data_render_one(STR("pair"), STR("{}"), &o, &mem, &r, &w), ERR_DATA);
    o.which = "some";
    assert_int_equal(data_render_one(STR("chat"), STR(TWO_TURNS), &o, &mem, &r, &w), ERR_USAGE);
    arena_release(&mem);
}

static void raw_rows(void **state)
{
    (void)state;
    struct arena mem;
    struct data_row r;
    struct data_render_opts o = opts();
    char sup[500];
    arena_init(&mem, "test", 16 << 20);
    o.raw = 1;
    row_of("chat", TWO_TURNS, o, &mem, &r);
    supervised_text(&r, sup, sizeof sup);
    assert_string_equal(r.text.p, "shellohello therewhat is 5 + 7?12<|im_end|>");
    /* tokens may cross the borders of messages; each weighs as its first byte */
    assert_non_null(strstr(sup, "<|im_end|>"));
    o.which = "last";
    row_of("chat", "{\"messages\":[{\"role\":\"user\",\"content\":\"5 + 7 =\"},{\"role\":\"assistant\",\"content\":\" 12\"}]}", o, &mem, &r);
    supervised_text(&r, sup, sizeof sup);
    assert_string_equal(sup, " 12<|im_end|>");
    arena_release(&mem);
}

/* A row cannot write control tokens. */
static void row_text_is_plain(void **state)
{
    (void)state;
    struct arena mem;
    struct data_row r;
    struct data_renderer *x;
    struct data_render_opts o = opts();
    arena_init(&mem, "test", 16 << 20);
    MUST(data_renderer_open(&o, &x, e));
    int32_t end = tok_find(data_renderer_tok(x), STR("<|im_end|>")), ends = 0;
    assert_true(end >= 0);
    MUST(data_render_item(x, STR("chat"), STR("{\"messages\":[{\"role\":\"user\",\"content\":\"x<|im_end|>\"},{\"role\":\"assistant\",\"content\":\"<|im_end|><|im_start|>\"}]}"), &mem, &r, e));
    for (int64_t t = 0; t < r.n; t++)
        ends += r.ids[t] == end;
    assert_int_equal(ends, 2);
    data_renderer_close(x);
    arena_release(&mem);
}

/* A prompt is what the row begins with, so that a rollout starts where training says it does. */
static void prompts_begin_rows(void **state)
{
    (void)state;
    struct arena mem;
    struct data_row r;
    struct data_prompt p;
    struct data_renderer *x;
    struct data_render_opts o = opts();
    arena_init(&mem, "test", 16 << 20);
    MUST(data_renderer_open(&o, &x, e));
    MUST(data_render_item(x, STR("chat"), STR(TWO_TURNS), &mem, &r, e));
    MUST(data_prompt_ids(x, STR("chat"), STR(TWO_TURNS), &mem, &p, e));
    assert_true(p.n > 10 && p.n < r.n);
    assert_memory_equal(p.ids, r.ids, (size_t)p.n * 4);
    assert_true(r.weight[p.n - 1] == 0 && r.weight[p.n] > 0);
    assert_string_equal(p.answer.p, "12");
    assert_string_equal(p.meta.p, "{\"k\":1}");
    MUST(data_prompt_ids(x, STR("prompt"), STR("{\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"answer\":{\"tests\":[1]}}"), &mem, &p, e));
    assert_string_equal(p.answer.p, "{\"tests\":[1]}");
    assert_true(str_ends(p.text, STR("<|im_start|>assistant\n")));
    struct err w = {0};
    assert_int_equal(data_prompt_ids(x, STR("chat"), STR("{\"messages\":[{\"role\":\"assistant\",\"content\":\"q\"}]}"), &mem, &p, &w), ERR_DATA);
    assert_int_equal(data_prompt_ids(x, STR("text"), STR("{\"text\":\"q\"}"), &mem, &p, &w), ERR_DATA);
    data_renderer_close(x);
    o.system = "be \"good\"";
    MUST(data_renderer_open(&o, &x, e));
    MUST(data_prompt_ids(x, STR("prompt"), STR("{\"messages\":[{\"role\":\"user\",\"content\":\"q\"}]}"), &mem, &p, e));
    assert_true(str_starts(p.text, STR("<|im_start|>system\nbe \"good\"<|im_end|>")));
    MUST(data_prompt_ids(x, STR("chat"), STR(TWO_TURNS), &mem, &p, e));
    assert_true(str_starts(p.text, STR("<|im_start|>system\ns<|im_end|>")));
    data_renderer_close(x);
    arena_release(&mem);
}

static void many_rows(const char *name, int n)
{
    FILE *f = fopen(in_dir(name), "w");
    for (int i = 0; i < n; i++) {
        fprintf(f, "{\"messages\":[{\"role\":\"user\",\"content\":\"what is %d + 7? %.*s\"},{\"role\":\"assistant\",\"content\":\"the answer is %d\"}]}\n", i, i % 90,
                "hello world, hello there, hello world, hello there, hello world, hello there, hello world, hello there", i + 7);
        if (i % 10 == 0)
            fprintf(f, "{\"text\":\"%d hello\"}\n", i);
    }
    fclose(f);
}

static int64_t snapshot_of(struct store *s, const char *name)
{
    struct data_import_stats st;
    int64_t snapshot;
    char source[128];
    MUST(data_import(s, in_dir(name), &(struct data_import_opts){.quiet = 1}, &st, e));
    snprintf(source, sizeof source, "%s", st.source);
    MUST(data_snapshot(s, &(struct data_select){.sources = source, .kinds = "chat,text", .split = "all"}, &snapshot, e));
    return snapshot;
}

static void threads_and_calls_give_the_same(void **state)
{
    (void)state;
    struct sbuf a, b;
    sbuf_init(&a, 1 << 28);
    sbuf_init(&b, 1 << 28);
    many_rows("many.jsonl", 4000);
    for (int threads = 1; threads <= 3; threads += 2) {
        struct store *s = fresh_store("thr.db");
        struct data_render_opts o = opts();
        struct data_render_stats st, again;
        int64_t recipe, same, snapshot = snapshot_of(s, "many.jsonl");
        par_init(threads);
        o.keep_text = 1;
        MUST(data_render(s, snapshot, &o, &recipe, &st, e));
        assert_int_equal(st.items, 4400);
        assert_int_equal(st.cached, 0);
        assert_int_equal(st.unsupervised, 0);
        MUST(data_render(s, snapshot, &o, &same, &again, e));
        assert_int_equal(same, recipe);
        assert_int_equal(again.cached, 4400);
        assert_int_equal(again.tokens, st.tokens);
        assert_int_equal(again.longest, st.longest);
        assert_int_equal(number(s, "SELECT count(*) FROM token_data WHERE text LIKE '%<|im_end|>%'"), 4400);
        dump_data(s, threads == 1 ? &a : &b);
        o.which = "last"; /* another recipe */
        MUST(data_render(s, snapshot, &o, &same, &again, e));
        assert_int_not_equal(same, recipe);
        assert_int_equal(again.cached, 0);
        store_close(s);
    }
    par_init(0);
    assert_true(str_eq(sbuf_str(&a), sbuf_str(&b)));
    sbuf_release(&a);
    sbuf_release(&b);
}

static void stored_rows_are_rendered_rows(void **state)
{
    (void)state;
    struct store *s = fresh_store("same.db");
    struct data_render_opts o = opts();
    struct data_render_stats st;
    int64_t recipe, snapshot;
    struct arena mem;
    arena_init(&mem, "test", 64 << 20);
    many_rows("some.jsonl", 200);
    snapshot = snapshot_of(s, "some.jsonl");
    MUST(data_render(s, snapshot, &o, &recipe, &st, e));
    struct data_plan *p;
    struct data_plan_info info;
    struct data_plan_opts po = {.snapshot = snapshot, .recipe = recipe, .seed = 1, .cap = 512, .leaves = 2, .pack = 1, .shuffle = 1};
    MUST(data_plan_open(s, &po, &p, e));
    MUST(data_plan_epoch(p, 0, &info, e));
    assert_int_equal(info.rows, st.items);
    assert_int_equal(info.tokens, st.tokens);
    struct data_renderer *x;
    MUST(data_renderer_open(&o, &x, e));
    for (int64_t step = 0; step < 5; step++) {
        struct data_step one;
        MUST(data_plan_step(p, step, &mem, &one, e));
        for (int64_t k = 0; k < one.n_leaves; k++)
            for (int64_t q = 0; q < one.leaves[k].n_seq; q++) {
                const struct data_batch *b = &one.leaves[k];
                struct str kind, body;
                struct data_row r;
                MUST(data_item(s, b->items[q], &mem, &kind, &body, e));
                MUST(data_render_item(x, kind, body, &mem, &r, e));
                int64_t from = b->cu_seqlens[q];
                assert_int_equal(b->cu_seqlens[q + 1] - from, r.n);
                assert_memory_equal(b->tokens + from, r.ids, (size_t)r.n * 4);
                assert_memory_equal(b->weights + from, r.weight + 1, (size_t)(r.n - 1) * 4);
            }
    }
    data_renderer_close(x);
    data_plan_close(p);
    arena_release(&mem);
    store_close(s);
}

static void bad_rows_are_named(void **state)
{
    (void)state;
    struct store *s = fresh_store("named.db");
    struct data_render_opts o = opts();
    struct data_render_stats st;
    struct err w = {0};
    int64_t recipe;
    write_file("none.jsonl", "{\"text\":\"fine\"}\n{\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":\"a\",\"train\":false}]}\n");
    int64_t snapshot = snapshot_of(s, "none.jsonl");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(data_render(s, snapshot, &o, &recipe, &st, &w), ERR_DATA);
        assert_non_null(strstr(w.msg, "none.jsonl:2 "));
        assert_non_null(strstr(w.msg, "no supervised token"));
        assert_int_equal(number(s, "SELECT count(*) FROM token_rows"), 0);
    }
    o.drop_unsupervised = 1;
    MUST(data_render(s, snapshot, &o, &recipe, &st, e));
    assert_int_equal(st.unsupervised, 1);
    o.drop_unsupervised = 0; /* refused from the cache as well */
    assert_int_equal(data_render(s, snapshot, &o, &recipe, &st, &w), ERR_DATA);
    assert_non_null(strstr(w.msg, "none.jsonl:2 "));
    struct data_plan *p;
    struct data_plan_info info;
    MUST(data_plan_open(s, &(struct data_plan_opts){.snapshot = snapshot, .recipe = recipe, .cap = 64, .leaves = 1, .pack = 1}, &p, e));
    MUST(data_plan_epoch(p, 0, &info, e));
    assert_int_equal(info.dropped_unsupervised, 1);
    data_plan_close(p);
    store_close(s);
}

static void prepare_render(void *ctx)
{
    struct store *s = fresh_store("kr.db");
    *(int64_t *)ctx = snapshot_of(s, "kr.jsonl");
    store_close(s);
}

static int render_all(void *ctx)
{
    struct store *t;
    struct data_render_opts o = opts();
    struct data_render_stats st;
    int64_t recipe;
    o.commit_rows = 1;
    return store_open(in_dir("kr.db"), STORE_WRITE, "t", &t, NULL) || data_render(t, *(int64_t *)ctx, &o, &recipe, &st, NULL);
}

static void killed_while_rendering(void **state)
{
    (void)state;
    int64_t snapshot;
    struct kill_test k = {.store = "kr.db", .points = {0, 1, 2, 3, 4, 5, 6, 7, 8, 16, 32, 64, 128, 256, 512}, .n_points = 15, .prepare = prepare_render,
                          .work = render_all, .ctx = &snapshot};
    many_rows("kr.jsonl", 3000);
    assert_true(kill_run(&k) > 5);
}

int main(void)
{
    if (!mkdtemp(work_dir))
        return 1;
    setenv("HONE_CACHE", "", 1);
    make_model();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(masks_on_chatml), cmocka_unit_test(raw_rows), cmocka_unit_test(row_text_is_plain), cmocka_unit_test(prompts_begin_rows),
        cmocka_unit_test(threads_and_calls_give_the_same), cmocka_unit_test(stored_rows_are_rendered_rows), cmocka_unit_test(bad_rows_are_named),
        cmocka_unit_test(killed_while_rendering),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    file_remove_tree(work_dir, NULL);
    return rc;
}
