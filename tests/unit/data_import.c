/* Import and snapshots. Fails when: a row of a known format is read wrongly or taken for another format; bad
 * lines are lost or reported at the wrong line; importing again adds rows; a killed import leaves other rows
 * than an undisturbed one; a snapshot changes under its readers; excluded or held-out prompts leak. */
#include "tests/data_util.h"

#include <math.h>

/* One line in, the item's body out. */
static void expect(const char *line, enum data_format format, const char *kind, const char *body)
{
    struct data_import_stats st;
    struct store_query q;
    struct store *s = fresh_store("one.db");
    MUST(data_import(s, write_file("one.jsonl", line), &(struct data_import_opts){.quiet = 1}, &st, e));
    if (st.formats[format] != 1)
        fail_msg("not read as %s: %s", data_format_name(format), line);
    MUST(store_query(s, &q, e, "SELECT i.kind, b.body FROM items i JOIN bodies b ON b.item = i.id", ""));
    assert_true(q.more);
    char have[2000], want[2000];
    snprintf(have, sizeof have, "%.*s %.*s", STR_ARG(store_str(&q, 0)), STR_ARG(store_str(&q, 1)));
    snprintf(want, sizeof want, "%s %s", kind, body);
    assert_string_equal(have, want);
    store_end(&q);
    store_close(s);
}

static void formats_are_told_apart(void **state)
{
    (void)state;
    expect("{\"messages\": [ {\"content\":\"q\",\"role\":\"user\"}, {\"role\":\"assistant\",\"content\":\"a\"} ] }", DATA_openai, "chat",
           "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":\"a\"}]}");
    expect("{\"id\":7,\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"answer\":72}", DATA_openai, "prompt",
           "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"answer\":\"72\",\"meta\":{\"id\":7}}");
    expect("{\"conversations\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":\"a\",\"weight\":0.5}],\"tools\":[]}",
           DATA_openai, "chat",
           "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":\"a\",\"weight\":0.5}]}");
    expect("{\"system\":\"s\",\"conversations\":[{\"from\":\"human\",\"value\":\"q\"},{\"from\":\"gpt\",\"value\":\"a\"}],"
           "\"tools\":\"[{\\\"name\\\":\\\"f\\\"}]\"}", DATA_sharegpt, "chat",
           "{\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":\"q\"},"
           "{\"role\":\"assistant\",\"content\":\"a\"}],\"tools\":[{\"name\":\"f\"}]}");
    expect("{\"conversations\":[{\"from\":\"human\",\"value\":\"q\"},{\"from\":\"function_call\",\"value\":\"{\\\"name\\\":\\\"f\\\",\\\"arguments\\\":{\\\"x\\\":1.50}}\"},"
           "{\"from\":\"observation\",\"value\":\"2\"},{\"from\":\"gpt\",\"value\":\"a\"}]}", DATA_sharegpt, "chat",
           "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"type\":\"function\","
           "\"function\":{\"name\":\"f\",\"arguments\":{\"x\":1.50}}}]},{\"role\":\"tool\",\"content\":\"2\"},{\"role\":\"assistant\",\"content\":\"a\"}]}");
    expect("{\"instruction\":\"add\",\"input\":\"1 2\",\"output\":\"3\"}", DATA_alpaca, "chat",
           "{\"messages\":[{\"role\":\"user\",\"content\":\"add\\n1 2\"},{\"role\":\"assistant\",\"content\":\"3\"}]}");
    expect("{\"instruction\":\"b\",\"input\":\"\",\"output\":\"y\",\"history\":[[\"a\",\"x\"]]}", DATA_alpaca, "chat",
           "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"x\"},"
           "{\"role\":\"user\",\"content\":\"b\"},{\"role\":\"assistant\",\"content\":\"y\"}]}");
    expect("{\"prompt\":\"p\",\"completion\":\"c\",\"score\":1e3}", DATA_prompt_completion, "chat",
           "{\"messages\":[{\"role\":\"user\",\"content\":\"p\"},{\"role\":\"assistant\",\"content\":\"c\"}],\"meta\":{\"score\":1e3}}");
    expect("{\"system_prompt\":\"s\",\"question\":\"p\",\"response\":\"c\"}", DATA_prompt_completion, "chat",
           "{\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":\"p\"},{\"role\":\"assistant\",\"content\":\"c\"}]}");
    expect("{\"question\":\"p\",\"answer\":\"so 3\\n#### 3\"}", DATA_prompt_answer, "prompt",
           "{\"messages\":[{\"role\":\"user\",\"content\":\"p\"}],\"answer\":\"so 3\\n#### 3\"}");
    expect("{\"problem\":\"p\",\"solution\":\"long\",\"answer\":\"3\",\"level\":2}", DATA_prompt_answer, "prompt",
           "{\"messages\":[{\"role\":\"user\",\"content\":\"p\"}],\"answer\":\"3\",\"meta\":{\"solution\":\"long\",\"level\":2}}");
    expect("{\"prompt\":[{\"role\":\"user\",\"content\":\"p\"}],\"reward_model\":{\"style\":\"rule\",\"ground_truth\":\"4\"}}", DATA_prompt_answer,
           "prompt", "{\"messages\":[{\"role\":\"user\",\"content\":\"p\"}],\"answer\":\"4\",\"meta\":{\"reward_model\":{\"style\":\"rule\",\"ground_truth\":\"4\"}}}");
    expect("{\"prompt\":\"p\",\"chosen\":\"y\",\"rejected\":\"n\"}", DATA_preference, "pair",
           "{\"prompt\":[{\"role\":\"user\",\"content\":\"p\"}],\"chosen\":[{\"role\":\"assistant\",\"content\":\"y\"}],\"rejected\":[{\"role\":\"assistant\",\"content\":\"n\"}]}");
    expect("{\"chosen\":[{\"role\":\"user\",\"content\":\"p\"},{\"role\":\"assistant\",\"content\":\"y\"}],"
           "\"rejected\":[{\"content\":\"p\",\"role\":\"user\"},{\"role\":\"assistant\",\"content\":\"n\"}]}", DATA_preference, "pair",
           "{\"prompt\":[{\"role\":\"user\",\"content\":\"p\"}],\"chosen\":[{\"role\":\"assistant\",\"content\":\"y\"}],\"rejected\":[{\"role\":\"assistant\",\"content\":\"n\"}]}");
    expect("{\"text\":\"t\\u00e9 \\ud83d\\ude00 \\/ \\ud800 \\u0007\"}", DATA_text, "text", "{\"text\":\"t\xC3\xA9 \xF0\x9F\x98\x80 / \\ud800 \\u0007\"}");
}

/* Left out, changed, kept as spelled, failed; another filter takes the place of the first. */
static void a_filter_decides(void **state)
{
    (void)state;
    struct data_import_stats st;
    struct err why = {0};
    struct store *s = fresh_store("f.db");
    char lines[512], rows[400];
    const char *path = strdup(write_file("f.jsonl", "{\"question\":\"a\",\"answer\":\"1\",\"x\":1.50}\n{\"question\":\"drop\",\"answer\":\"2\"}\n"
                                                    "{\"question\":\"c\",\"answer\":\"3\"}\n{\"question\":\"fail\",\"answer\":\"4\"}\n"));
    const char *filter = strdup(write_file("f.lua", "n = 0\nfunction row(r) n = n + 1 if n > 1 then error('a state that was used before') end\n"
                                                    "if r.question == 'drop' then return false end if r.question == 'fail' then return r.none.x end\n"
                                                    "if r.question == 'c' then return { prompt = 'C', completion = 'D' } end return true end"));
    struct data_import_opts o = {.quiet = 1, .filter = filter};
    assert_int_equal(data_import(s, path, &o, &st, &why), ERR_DATA);
    assert_int_equal(st.added, 2);
    assert_int_equal(st.left_out, 1);
    assert_int_equal(st.bad, 1);
    assert_non_null(strstr(why.msg, "f.jsonl:4: "));
    assert_non_null(strstr(why.msg, "f.lua:3"));
    struct store_query q;
    lines[0] = 0;
    MUST(store_query(s, &q, e, "SELECT line || ' ' || kind || ' ' || body || '|' FROM rows ORDER BY line", ""));
    while (q.more) {
        snprintf(rows, sizeof rows, "%.*s", STR_ARG(store_str(&q, 0)));
        strncat(lines, rows, sizeof lines - strlen(lines) - 1);
        MUST(store_next(&q, e));
    }
    assert_string_equal(lines, "1 prompt {\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"answer\":\"1\",\"meta\":{\"x\":1.50}}|"
                               "3 chat {\"messages\":[{\"role\":\"user\",\"content\":\"C\"},{\"role\":\"assistant\",\"content\":\"D\"}]}|");
    data_import(s, path, &o, &st, NULL);
    assert_true(st.already);
    assert_int_equal(st.left_out, 1);
    write_file("f.lua", "function row(r) return r.question ~= 'a' end");
    MUST(data_import(s, path, &o, &st, e));
    MUST(store_query(s, &q, e, "SELECT count(*), min(line) FROM rows", ""));
    assert_int_equal(store_i64(&q, 0), 3);
    assert_int_equal(store_i64(&q, 1), 2);
    store_end(&q);
    char map[5000] = "prompt=";
    memset(map + 7, 'x', sizeof map - 8); /* cut, it would be the same import as another map */
    assert_int_equal(data_import(s, path, &(struct data_import_opts){.quiet = 1, .map = map}, &st, &why), ERR_USAGE);
    write_file("f.lua", "function rows(r) end");
    assert_int_equal(data_import(s, path, &o, &st, &why), ERR_USAGE);
    store_close(s);
    free((void *)(uintptr_t)path);
    free((void *)(uintptr_t)filter);
}

/* A body is itself a row of the same item: export and import again give the same content. */
static void bodies_are_rows(void **state)
{
    (void)state;
    const char *lines =
        "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"x\":{\"b\":1,\"a\":[]}}]}],\"k\":\"v\"}\n"
        "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"q\"}]}],\"answer\":{\"tests\":[1,2]},\"chat_template_kwargs\":{\"enable_thinking\":false}}\n"
        "{\"prompt\":\"p\",\"chosen\":\"y\",\"rejected\":\"n\",\"margin\":1}\n"
        "{\"text\":\"t\",\"lang\":\"en\"}\n";
    struct data_import_stats st;
    struct store *s = fresh_store("b.db");
    MUST(data_import(s, write_file("b.jsonl", lines), &(struct data_import_opts){.quiet = 1}, &st, e));
    assert_int_equal(st.added, 4);
    struct sbuf all;
    sbuf_init(&all, 1 << 20);
    dump_rows(s, "SELECT body || char(10) FROM bodies ORDER BY item", 1, &all);
    for (char *p = all.p; *p; p++)
        if (*p == '|')
            *p = ' ';
    MUST(data_import(s, write_file("b2.jsonl", all.p), &(struct data_import_opts){.quiet = 1}, &st, e));
    assert_int_equal(st.lines, 4);
    assert_int_equal(st.known, 4);
    sbuf_release(&all);
    store_close(s);
}

static void bad(const char *line, const char *why)
{
    struct data_import_stats st;
    struct err w = {0};
    char file[3000];
    struct store *s = fresh_store("bad.db");
    snprintf(file, sizeof file, "{\"text\":\"one\"}\n\n%s\n{\"text\":\"two\"}", line);
    assert_int_equal(data_import(s, write_file("bad.jsonl", file), &(struct data_import_opts){.quiet = 1}, &st, &w), ERR_DATA);
    if (!strstr(w.msg, "bad.jsonl:3: ") || !strstr(w.msg, why))
        fail_msg("%s\n  does not say: %s\n  for: %s", w.msg, why, line);
    assert_int_equal(st.added, 2);
    assert_int_equal(number(s, "SELECT count(*) FROM bad_lines WHERE line = 3"), 1);
    store_close(s);
}

static void bad_lines_are_named(void **state)
{
    (void)state;
    bad("{\"text\":\"x\"", "not JSON at byte 12");
    bad("{\"text\":\"x\"} x", "more text behind");
    bad("{\"text\":\"\xff\"}", "not UTF-8");
    bad("{\"text\":\"a\tb\"}", "control character");
    bad("{\"text\":\"\\x\"}", "bad escape");
    bad("{\"text\":01}", "not a value");
    bad("{\"text\":1 2}", "',' or '}'");
    bad("[1]", "not a JSON object");
    bad("{\"text\":\"a\",\"text\":\"b\"}", "there twice");
    bad("{\"text\":\"\"}", "text is empty");
    bad("{\"foo\":1,\"bar\":2}", "no known format (fields: foo, bar)");
    bad("{\"prompt\":\"x\"}", "neither completion nor answer");
    bad("{\"messages\":[]}", "messages is empty");
    bad("{\"messages\":\"x\"}", "not a list");
    bad("{\"messages\":[{\"role\":\"user\"}]}", "message 1: no content");
    bad("{\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"content\":\"a\"}]}", "message 2: no role");
    bad("{\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":\"\"}]}", "message 2: the assistant says nothing");
    bad("{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":\"x\"}]}]}", "type \"image_url\"");
    bad("{\"conversations\":[{\"from\":\"alien\",\"value\":\"q\"}]}", "from \"alien\"");
    bad("{\"instruction\":\"x\",\"output\":\"\"}", "output is empty");
    bad("{\"prompt\":\"p\",\"completion\":5}", "completion is not a string");
    bad("{\"chosen\":\"y\",\"rejected\":\"n\"}", "no prompt");
    bad("{\"system\":\"s\",\"messages\":[{\"role\":\"system\",\"content\":\"t\"},{\"role\":\"user\",\"content\":\"q\"}]}", "a system message");
    char deep[2000] = "{\"text\":";
    memset(deep + 8, '[', 500);
    bad(deep, "nested too deeply");
}

static void again_adds_nothing(void **state)
{
    (void)state;
    struct data_import_stats st;
    struct data_import_opts o = {.quiet = 1, .source = "src"};
    struct err w = {0};
    struct store *s = fresh_store("again.db");
    MUST(data_import(s, write_file("a.jsonl", "{\"text\":\"1\"}\n{\"text\":\"2\"}\n{ \"text\" : \"1\" }\n"), &o, &st, e));
    assert_int_equal(st.added, 2);
    assert_int_equal(st.known, 1);
    int64_t old = 0, now = 0;
    struct data_select sel = {.sources = "src", .kinds = "text", .split = "all"};
    MUST(data_snapshot(s, &sel, &old, e));
    MUST(data_import(s, in_dir("a.jsonl"), &o, &st, e));
    assert_int_equal(st.already, 1);
    assert_int_equal(number(s, "SELECT count(*) FROM source_rows"), 3);
    MUST(data_snapshot(s, &sel, &now, e));
    assert_int_equal(old, now);
    /* the file changes: its rows take the place of the old ones, the old snapshot stays what it was */
    MUST(data_import(s, write_file("a.jsonl", "{\"text\":\"2\"}\n{\"text\":\"3\"}\n{\"text\":\"4\"}\n"), &o, &st, e));
    assert_int_equal(st.added, 2);
    MUST(data_snapshot(s, &sel, &now, e));
    assert_int_not_equal(old, now);
    struct arena mem;
    arena_init(&mem, "test", 1 << 20);
    struct data_items a, b;
    MUST(data_snapshot_items(s, old, &mem, &a, e));
    MUST(data_snapshot_items(s, now, &mem, &b, e));
    assert_int_equal(a.n, 2);
    assert_int_equal(b.n, 3);
    assert_int_equal(a.id[1], b.id[0]); /* "2" */
    int64_t both = 0;
    MUST(data_overlap(s, old, now, &both, e));
    assert_int_equal(both, 1);
    /* and back again: the snapshot made first is found again */
    MUST(data_import(s, write_file("a.jsonl", "{\"text\":\"1\"}\n{\"text\":\"2\"}\n{ \"text\" : \"1\" }\n"), &o, &st, e));
    assert_int_equal(st.already, 0);
    int64_t third = 0;
    MUST(data_snapshot(s, &sel, &third, e));
    assert_int_equal(third, old);
    MUST(data_snapshot_items(s, now, &mem, &b, e));
    assert_int_equal(b.n, 3);
    sel.sources = "scr";
    assert_int_equal(data_snapshot(s, &sel, &now, &w), ERR_DATA);
    assert_non_null(strstr(w.msg, "did you mean 'src'?"));
    arena_release(&mem);
    store_close(s);
}

static void map_and_forced_formats(void **state)
{
    (void)state;
    struct data_import_stats st;
    struct err w = {0};
    struct store *s = fresh_store("map.db");
    write_file("m.jsonl", "{\"question\":\"p\",\"answer\":\"c\",\"prompt\":\"other\"}\n");
    MUST(data_import(s, in_dir("m.jsonl"), &(struct data_import_opts){.quiet = 1, .map = "prompt=question,completion=answer"}, &st, e));
    assert_int_equal(st.formats[DATA_prompt_completion], 1);
    assert_int_equal(number(s, "SELECT count(*) FROM bodies WHERE body ="
                               " '{\"messages\":[{\"role\":\"user\",\"content\":\"p\"},{\"role\":\"assistant\",\"content\":\"c\"}],\"meta\":{\"prompt\":\"other\"}}'"), 1);
    assert_int_equal(data_import(s, in_dir("m.jsonl"), &(struct data_import_opts){.quiet = 1, .map = "promt=question"}, &st, &w), ERR_USAGE);
    assert_int_equal(data_import(s, in_dir("m.jsonl"), &(struct data_import_opts){.quiet = 1, .map = "prompt=nope"}, &st, &w), ERR_DATA);
    assert_non_null(strstr(w.msg, "no field \"nope\""));
    write_file("p.jsonl", "{\"prompt\":\"alone\"}\n");
    MUST(data_import(s, in_dir("p.jsonl"), &(struct data_import_opts){.quiet = 1, .format = DATA_prompt_answer}, &st, e));
    assert_int_equal(st.added, 1);
    store_close(s);
}

static void arrays_and_odd_files(void **state)
{
    (void)state;
    struct data_import_stats st;
    struct err w = {0};
    struct data_import_opts o = {.quiet = 1};
    struct store *s = fresh_store("odd.db");
    /* one array over several lines; the line of a row is the one it begins in */
    MUST(data_import(s, write_file("arr.json", "\xEF\xBB\xBF[\n  {\"text\": \"a],{\\\"[\",\n \"x\": [1, {}]},\n\n  {\"text\":\"b\"}, {\"text\":\n\"c\"}\n]\n"), &o, &st, e));
    assert_int_equal(st.added, 3);
    struct sbuf b;
    sbuf_init(&b, 1 << 16);
    dump_rows(s, "SELECT line FROM source_rows ORDER BY seq", 1, &b);
    assert_string_equal(b.p, "2|\n5|\n5|\n");
    sbuf_release(&b);
    assert_int_equal(data_import(s, write_file("cut.json", "[{\"text\":\"d\"},\n{\"text\":\"e\""), &o, &st, &w), ERR_DATA);
    assert_non_null(strstr(w.msg, "cut.json:2: not JSON"));
    MUST(data_import(s, write_file("crlf.jsonl", "{\"text\":\"f\"}\r\n\r\n  {\"text\":\"g\"}\r\n"), &o, &st, e));
    assert_int_equal(st.added, 2);
    MUST(data_import(s, write_file("empty.jsonl", ""), &o, &st, e));
    assert_int_equal(st.lines, 0);
    int64_t snap;
    assert_int_equal(data_snapshot(s, &(struct data_select){.sources = "empty", .kinds = "text"}, &snap, &w), ERR_DATA);
    assert_int_equal(data_import(s, write_file("p.parquet", "PAR1 something"), &o, &st, &w), ERR_UNSUPPORTED);
    assert_non_null(strstr(w.msg, "Parquet"));
    assert_int_equal(data_import(s, in_dir("missing.jsonl"), &o, &st, &w), ERR_IO);
    assert_int_equal(data_import(s, work_dir, &o, &st, &w), ERR_IO);
    store_close(s);
}

/* stop_at_bad: what came before stays, the rest waits for a mended file. */
static void stops_at_bad(void **state)
{
    (void)state;
    struct data_import_stats st;
    struct err w = {0};
    struct data_import_opts o = {.quiet = 1, .stop_at_bad = 1};
    int64_t snap;
    struct store *s = fresh_store("stop.db");
    write_file("s.jsonl", "{\"text\":\"1\"}\n{\"text\":\"2\"}\nnope\n{\"text\":\"3\"}\n");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(data_import(s, in_dir("s.jsonl"), &o, &st, &w), ERR_DATA);
        assert_non_null(strstr(w.msg, "s.jsonl:3: not JSON"));
        assert_int_equal(number(s, "SELECT count(*) FROM source_rows"), 2);
    }
    assert_int_equal(data_snapshot(s, &(struct data_select){.sources = "s", .kinds = "text"}, &snap, &w), ERR_DATA);
    assert_non_null(strstr(w.msg, "not whole"));
    o.stop_at_bad = 0;
    assert_int_equal(data_import(s, in_dir("s.jsonl"), &o, &st, &w), ERR_DATA);
    assert_int_equal(number(s, "SELECT count(*) FROM source_rows"), 3);
    assert_int_equal(number(s, "SELECT line FROM source_rows ORDER BY seq DESC LIMIT 1"), 4);
    store_close(s);
}

/* A file larger than a chunk, with repeated rows, bad lines and long lines. */
static const char *big_file(const char *name, int rows, int array)
{
    FILE *f = fopen(in_dir(name), "w");
    static char filler[40000], path[300];
    memset(filler, 'y', sizeof filler - 1);
    if (array)
        fputs("[\n", f);
    for (int i = 0; i < rows; i++) {
        const char *sep = array ? i + 1 < rows ? ",\n" : "\n]\n" : "\n";
        if (i % 997 == 5 && !array)
            fprintf(f, "{\"text\": broken %d}%s", i, sep);
        else if (i % 1009 == 3)
            fprintf(f, "{\"text\":\"%d %s\"}%s", i, filler, sep);
        else
            fprintf(f, "{\"messages\":[{\"role\":\"user\",\"content\":\"question %d\"},{\"role\":\"assistant\",\"content\":\"answer %.*s\"}]}%s", i % 40000,
                    i % 300, filler, sep);
    }
    fclose(f);
    snprintf(path, sizeof path, "%s", in_dir(name));
    return path;
}

static void import_big(struct store *s, const char *path, int threads, struct sbuf *out)
{
    struct data_import_stats st;
    struct err w = {0};
    par_init(threads);
    err_code rc = data_import(s, path, &(struct data_import_opts){.quiet = 1}, &st, &w);
    assert_true(rc == ERR_OK || rc == ERR_DATA);
    dump_data(s, out);
}

static void threads_give_the_same_rows(void **state)
{
    (void)state;
    for (int array = 0; array < 2; array++) {
        struct sbuf a, b;
        sbuf_init(&a, 1 << 30);
        sbuf_init(&b, 1 << 30);
        const char *path = big_file("big.jsonl", 60000, array);
        struct store *s = fresh_store("t1.db");
        import_big(s, path, 1, &a);
        assert_int_equal(number(s, "SELECT count(*) FROM source_rows") + number(s, "SELECT count(*) FROM bad_lines"), 60000);
        assert_int_equal(number(s, "SELECT max(line) FROM source_rows"), array ? 60001 : 60000);
        store_close(s);
        s = fresh_store("t2.db");
        import_big(s, path, 3, &b);
        store_close(s);
        assert_true(str_eq(sbuf_str(&a), sbuf_str(&b)));
        sbuf_release(&a);
        sbuf_release(&b);
    }
    par_init(0);
}

/* Killed at the k-th write to the disk, the import is run again until it gets through. */
static void killed_at_every_write(void **state)
{
    (void)state;
    struct sbuf whole, b;
    sbuf_init(&whole, 1 << 30);
    sbuf_init(&b, 1 << 30);
    const char *path = big_file("kill.jsonl", 45000, 0);
    struct store *s = fresh_store("whole.db");
    import_big(s, path, 2, &whole);
    store_close(s);
    int died = 0, inside = 0;
    /* the store takes some thousands of writes; commits come with every chunk, so that resumes begin inside the file */
    static const int points[] = {1, 3, 20, 60, 300, 700, 1300, 1700, 2000, 2300, 2600, 3000, 3400, 3800};
    for (size_t k = 0; k < sizeof points / sizeof *points; k++) {
        int at = points[k];
        remove_store("kill.db");
        for (int again = 0; again < 2; again++) {
            pid_t pid = fork();
            if (pid == 0) {
                char spec[40];
                struct data_import_stats st;
                struct store *t;
                snprintf(spec, sizeof spec, "sqlite:%d!", at);
                if (!again)
                    fault_set(spec);
                int rc = store_open(in_dir("kill.db"), STORE_WRITE, "t", &t, NULL);
                if (rc == ERR_OK)
                    rc = data_import(t, path, &(struct data_import_opts){.quiet = 1, .commit_bytes = 1}, &st, NULL);
                _exit(rc != ERR_OK && rc != ERR_DATA);
            }
            int status;
            waitpid(pid, &status, 0);
            died += WIFSIGNALED(status);
            if (again || WIFEXITED(status))
                assert_int_equal(status, 0);
            if (!again && died == (int)k + 1) {
                s = open_store("kill.db");
                inside += number(s, "SELECT ifnull(sum(bytes_done > 0 AND done = 0), 0) FROM files") > 0;
                store_close(s);
            }
        }
        s = open_store("kill.db");
        sbuf_clear(&b);
        dump_data(s, &b);
        store_close(s);
        if (!str_eq(sbuf_str(&whole), sbuf_str(&b)))
            fail_msg("killed at write %d: other rows than an undisturbed import", at);
    }
    print_message("killed %d times, %d of them inside the file\n", died, inside);
    assert_true(died >= 10 && inside >= 3);
    sbuf_release(&whole);
    sbuf_release(&b);
}

static void disk_full_and_read_errors(void **state)
{
    (void)state;
    struct data_import_stats st;
    struct err w = {0};
    struct sbuf a, b;
    sbuf_init(&a, 1 << 30);
    sbuf_init(&b, 1 << 30);
    const char *path = big_file("full.jsonl", 20000, 0);
    struct store *s = fresh_store("full.db");
    fault_set("sqlite:60+");
    assert_int_equal(data_import(s, path, &(struct data_import_opts){.quiet = 1}, &st, &w), ERR_IO);
    assert_non_null(strstr(w.msg, "disk is full"));
    fault_set("read:3");
    assert_int_equal(data_import(s, path, &(struct data_import_opts){.quiet = 1}, &st, &w), ERR_IO);
    assert_non_null(strstr(w.msg, "cannot read"));
    fault_set(NULL);
    import_big(s, path, 2, &a);
    store_close(s);
    s = fresh_store("full2.db");
    import_big(s, path, 2, &b);
    store_close(s);
    assert_true(str_eq(sbuf_str(&a), sbuf_str(&b)));
    sbuf_release(&a);
    sbuf_release(&b);
}

static void snapshots_split_and_exclude(void **state)
{
    (void)state;
    struct data_import_stats st;
    struct store *s = fresh_store("split.db");
    struct arena mem;
    arena_init(&mem, "test", 64 << 20);
    FILE *f = fopen(in_dir("train.jsonl"), "w"), *g = fopen(in_dir("bench.jsonl"), "w");
    for (int i = 0; i < 4000; i++)
        for (int k = 0; k < 2; k++) /* two answers to each prompt; system prompts do not make another prompt of it */
            fprintf(f, "{\"messages\":[{\"role\":\"system\",\"content\":\"s%d\"},{\"role\":\"user\",\"content\":\"What is  %d?\"},{\"role\":\"assistant\",\"content\":\"%d\"}]}\n", k, i, k);
    for (int i = 0; i < 50; i++)
        fprintf(g, "{\"question\":\"what IS %d?\\n\",\"answer\":\"1\"}\n", i * 7);
    fclose(f);
    fclose(g);
    MUST(data_import(s, in_dir("train.jsonl"), &(struct data_import_opts){.quiet = 1}, &st, e));
    MUST(data_import(s, in_dir("bench.jsonl"), &(struct data_import_opts){.quiet = 1}, &st, e));
    int64_t train, held, n;
    struct data_select sel = {.sources = "train", .kinds = "chat", .split = "train", .heldout = 0.1, .exclude = "bench"};
    struct data_items a, b;
    MUST(data_snapshot(s, &sel, &train, e));
    sel.split = "heldout";
    MUST(data_snapshot(s, &sel, &held, e));
    MUST(data_snapshot_items(s, train, &mem, &a, e));
    MUST(data_snapshot_items(s, held, &mem, &b, e));
    assert_int_equal(a.n + b.n + a.excluded + b.excluded, 8000);
    assert_int_equal(a.excluded + b.excluded, 100);
    assert_in_range(b.n, 600, 1000);
    MUST(data_overlap(s, train, held, &n, e));
    assert_int_equal(n, 0);
    int64_t bench;
    MUST(data_snapshot(s, &(struct data_select){.sources = "bench", .kinds = "prompt", .split = "all"}, &bench, e));
    MUST(data_overlap(s, train, bench, &n, e));
    assert_int_equal(n, 0);
    struct err w = {0};
    assert_int_equal(data_snapshot(s, &(struct data_select){.sources = "train", .kinds = "pair"}, &n, &w), ERR_DATA);
    assert_int_equal(data_snapshot(s, &(struct data_select){.sources = "train:-1"}, &n, &w), ERR_USAGE);
    assert_int_equal(data_snapshot(s, &(struct data_select){.sources = "train,train"}, &n, &w), ERR_USAGE);
    assert_int_equal(data_snapshot(s, &(struct data_select){.sources = "train", .kinds = "chta"}, &n, &w), ERR_USAGE);
    arena_release(&mem);
    store_close(s);
}

/* The walk: every epoch has each row once, weights are kept over epochs, other seeds give another order, and
 * the order is a fair shuffle. */
static void walk_is_fair(void **state)
{
    (void)state;
    struct arena mem;
    arena_init(&mem, "test", 64 << 20);
    for (int64_t n = 1; n < 300; n = n * 3 / 2 + 1) {
        int64_t *id = ARENA_NEW(&mem, int64_t, n), begin[2] = {0, n};
        double weight = 1;
        for (int64_t i = 0; i < n; i++)
            id[i] = i;
        struct data_items it = {.n = n, .id = id, .n_sources = 1, .begin = begin, .weight = &weight};
        int other = 0;
        for (int64_t epoch = 0; epoch < 3; epoch++) {
            int64_t *seen = ARENA_NEW(&mem, int64_t, n);
            for (int64_t i = 0; i < n; i++) {
                seen[data_pick(&it, 5, epoch * n + i, mem)]++;
                other += data_pick(&it, 5, epoch * n + i, mem) != data_pick(&it, 6, epoch * n + i, mem);
            }
            for (int64_t i = 0; i < n; i++)
                assert_int_equal(seen[i], 1);
        }
        assert_true(n < 4 || other > n);
    }
    /* two sources, weights 2 and 0.25: in 4 epochs every row of the first comes 8 times, of the second once */
    int64_t id[12], begin[3] = {0, 4, 12}, seen[12] = {0};
    double weight[2] = {2, 0.25};
    for (int i = 0; i < 12; i++)
        id[i] = i;
    struct data_items it = {.n = 12, .id = id, .n_sources = 2, .begin = begin, .weight = weight};
    for (int64_t i = 0; i < 4 * 10; i++)
        seen[data_pick(&it, 1, i, mem)]++;
    for (int i = 0; i < 12; i++)
        assert_int_equal(seen[i], i < 4 ? 8 : 1);
    /* where a row lands is uniform: chi-square over 5 places of 5 rows, 24 000 seeds, 16 degrees of freedom */
    double chi = 0;
    static int64_t hits[5][5];
    int64_t five[2] = {0, 5};
    struct data_items small = {.n = 5, .id = id, .n_sources = 1, .begin = five, .weight = weight + 1};
    double one = 1;
    small.weight = &one;
    for (uint64_t seed = 0; seed < 24000; seed++)
        for (int64_t i = 0; i < 5; i++)
            hits[i][data_pick(&small, seed, i, mem)]++;
    for (int i = 0; i < 25; i++)
        chi += pow((double)hits[i / 5][i % 5] - 4800, 2) / 4800;
    assert_true(chi < 45);
    arena_release(&mem);
}

static void own_items(void **state)
{
    (void)state;
    struct store *s = fresh_store("own.db");
    int64_t a = 0, b = 0, c = 0;
    struct err w = {0};
    struct str body = STR("{\"prompt\":\"p\",\"chosen\":\"y\",\"rejected\":\"n\"}");
    MUST(data_item_add(s, "made", "pair", body, &a, e));
    MUST(data_item_add(s, "made", "pair", body, &b, e));
    MUST(data_item_add(s, "made", "text", STR("{\"text\":\"x\"}"), &c, e));
    assert_int_equal(a, b);
    assert_int_not_equal(a, c);
    assert_int_equal(number(s, "SELECT count(*) FROM source_rows"), 2);
    assert_int_equal(data_item_add(s, "made", "chat", body, &b, &w), ERR_DATA);
    assert_int_equal(number(s, "SELECT count(*) FROM pairs"), 1);
    store_close(s);
}

static void run_git(const char *args)
{
    char cmd[900];
    snprintf(cmd, sizeof cmd, "cd %s/repo && git -c user.name=t -c user.email=t@t -c init.defaultBranch=main %s >/dev/null 2>&1", work_dir, args);
    assert_int_equal(system(cmd), 0);
}

static void provenance_names_the_commit(void **state)
{
    (void)state;
    struct data_provenance p;
    struct err w = {0};
    char text[80], first[80];
    if (system("git --version >/dev/null 2>&1")) {
        print_message("skip: no git program here\n");
        return;
    }
    setenv("GIT_CEILING_DIRECTORIES", "/tmp", 1);
    MUST(file_mkdirs(in_dir("repo/sub"), e));
    MUST(data_provenance(in_dir("repo"), &p, e));
    assert_true(p.commit[0] == 0 && p.dirty == 0);
    run_git("init");
    write_file("repo/a.lua", "x = 1");
    MUST(data_provenance(in_dir("repo/a.lua"), &p, e));
    data_provenance_text(&p, text);
    assert_string_equal(text, "no commit");
    run_git("add a.lua");
    run_git("commit -m one");
    MUST(data_provenance(in_dir("repo/a.lua"), &p, e));
    assert_true(strlen(p.commit) == 40 && p.dirty == 0);
    data_provenance_text(&p, first);
    assert_string_equal(first, p.commit);
    write_file("repo/sub/new.lua", "x = 2"); /* new: dirty where it is asked about, not elsewhere */
    MUST(data_provenance(in_dir("repo/sub/new.lua"), &p, e));
    assert_int_equal(p.dirty, 1);
    MUST(data_provenance(in_dir("repo/a.lua"), &p, e));
    assert_int_equal(p.dirty, 0);
    write_file("repo/a.lua", "x = 3");
    MUST(data_provenance(in_dir("repo/sub"), &p, e));
    data_provenance_text(&p, text);
    assert_int_equal(p.dirty, 1);
    assert_true(!strncmp(text, first, 40) && strstr(text, " with changes"));
    assert_int_equal(data_provenance(in_dir("nowhere"), &p, &w), ERR_IO);
    /* and the run keeps it */
    struct store *s = fresh_store("prov.db");
    struct store_run r;
    MUST(store_run_begin(s, &(struct store_run_info){.kind = "sft", .name = "x", .provenance = text}, &r, e));
    assert_int_equal(number(s, "SELECT count(*) FROM runs WHERE provenance LIKE '% with changes'"), 1);
    store_close(s);
}

int main(void)
{
    if (!mkdtemp(work_dir))
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats_are_told_apart),
        cmocka_unit_test(a_filter_decides), cmocka_unit_test(bodies_are_rows), cmocka_unit_test(bad_lines_are_named),
        cmocka_unit_test(again_adds_nothing), cmocka_unit_test(map_and_forced_formats), cmocka_unit_test(arrays_and_odd_files),
        cmocka_unit_test(stops_at_bad), cmocka_unit_test(threads_give_the_same_rows), cmocka_unit_test(killed_at_every_write),
        cmocka_unit_test(disk_full_and_read_errors), cmocka_unit_test(snapshots_split_and_exclude), cmocka_unit_test(walk_is_fair),
        cmocka_unit_test(own_items), cmocka_unit_test(provenance_names_the_commit),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    file_remove_tree(work_dir, NULL);
    return rc;
}
