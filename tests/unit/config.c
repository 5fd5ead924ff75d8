/* Configuration. Fails when: a key of the list cannot be set from a file or a word, the command line loses to a file, a preset
 * overrides what the user set, an unknown or ill-typed key passes or its message lacks file, line or nearest name, a stored
 * config does not read back as the same config, a rule over several keys is not enforced. */
#include <unistd.h>

#include "core/file.h"
#include "script/script.h"
#include "tests/test.h"

static char dir[] = "/tmp/hone-config-XXXXXX";

static const char *write_file(const char *name, const char *text)
{
    static char path[4][256];
    static int at;
    struct err e = {0};
    char *p = path[at++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", dir, name);
    if (file_write_atomic(p, str_of(text), &e) != ERR_OK)
        fail_msg("%s", e.msg);
    return p;
}

static struct arena mem;

static void must_load(const char *path, struct cfg *c, const char *w1, const char *w2)
{
    struct err e = {0};
    char *words[2] = {(char *)w1, (char *)w2};
    arena_reset(&mem);
    if (cfg_load(path, words, !!w1 + !!w2, c, &mem, &e) != ERR_OK)
        fail_msg("%s", e.msg);
}

static void fails_with(const char *path, const char *word, const char *want)
{
    struct cfg c;
    struct err e = {0};
    char *words[1] = {(char *)word};
    arena_reset(&mem);
    err_code rc = cfg_load(path, words, word != NULL, &c, &mem, &e);
    if (rc != ERR_USAGE || !strstr(e.msg, want))
        fail_msg("wanted '%s', got %s '%s'", want, err_name(rc), e.msg);
}

static void reads_files_and_words(void **state)
{
    (void)state;
    struct cfg c;
    const char *p = write_file("a.lua", "-- a comment with train.lr = 3\nlocal base = 1e-4\nseed = 7\ntrain = {\n  lr = base * 2, warmup = 10,\n"
                               "  schedule = 'cosine',\n}\ndata = { sources = { 'b', 'a' }, pack = false }\nreward = { list = { math = 1, format = 0.5 } }\n"
                               "rollout = { stop = { 'x\\n', '</s>' } }\nreturn { train = { warmup = 20 } }");
    must_load(p, &c, "train.warmup=30", "eval.samples=1e2");
    assert_true(c.seed == 7 && c.train.lr == 2e-4 && c.train.warmup == 30 && c.eval.samples == 100 && !c.data.pack);
    assert_string_equal(c.data.sources, "b,a");
    assert_string_equal(c.reward.list, "format:0.5,math:1");
    assert_string_equal(c.rollout.stop, "[\"x\\n\",\"</s>\"]");
    assert_string_equal(c.train.schedule, "cosine");
    assert_int_equal(cfg_index(&c, "train.schedule"), 1);
    assert_int_equal(cfg_index(&c, "model.precision"), 0);
    assert_string_equal(c.data.store, "hone.db");

    struct str s[4];
    struct cfg_item item[4];
    struct err e = {0};
    int n;
    assert_int_equal(cfg_texts(c.rollout.stop, "rollout.stop", s, 4, &n, &mem, &e), ERR_OK);
    assert_true(n == 2 && str_eq(s[0], STR("x\n")) && str_eq(s[1], STR("</s>")));
    assert_int_equal(cfg_list(c.reward.list, "reward.list", item, 4, &n, &e), ERR_OK);
    assert_true(n == 2 && str_eq(item[1].name, STR("math")) && item[0].weight == 0.5);
    assert_int_equal(cfg_list(c.reward.list, "reward.list", item, 1, &n, &e), ERR_USAGE);
    must_load(NULL, &c, "rollout.stop=a \"b\"", "data.sources=x:2,y");
    assert_string_equal(c.rollout.stop, "[\"a \\\"b\\\"\"]");
    must_load(p, &c, "rollout.stop=", NULL);
    assert_string_equal(c.rollout.stop, "");
}

static void includes(void **state)
{
    (void)state;
    struct cfg c;
    write_file("base.lua", "train = { lr = 3, lr_min = 2 }\nmodel = { path = 'm' }\nreturn { name = 'base' }");
    const char *p = write_file("b.lua", "local b = include('base.lua')\ntrain.lr = 4\nmodel.path = b.name .. model.path");
    must_load(p, &c, NULL, NULL);
    assert_true(c.train.lr == 4 && c.train.lr_min == 2);
    assert_string_equal(c.model.path, "basem");
    fails_with(write_file("c.lua", "include('base.lua')\ntrain.lrr = 4"), NULL, "c.lua:2: unknown option 'train.lrr', did you mean 'train.lr'?");
    write_file("base2.lua", "\n\ntrain = { lr = 30 }");
    fails_with(write_file("d.lua", "include('base2.lua')"), NULL, "base2.lua:3: train.lr must be in [0, 10], got 30");
    fails_with(write_file("loop.lua", "include('loop.lua')"), NULL, "includes");
    struct err e = {0};
    arena_reset(&mem);
    assert_int_equal(cfg_load(write_file("e.lua", "include('missing.lua')"), NULL, 0, &c, &mem, &e), ERR_IO);
    assert_non_null(strstr(e.msg, "e.lua:1: cannot open"));
}

static void presets(void **state)
{
    (void)state;
    struct cfg c;
    must_load(NULL, &c, "grpo.preset=deepseekmath", "grpo.clip_high=0.5");
    assert_true(c.grpo.clip_high == 0.5 && c.grpo.kl_coef == 0.04);
    assert_string_equal(c.grpo.aggregate, "seq_mean");
    must_load(write_file("f.lua", "grpo = { preset = 'gspo', level = 'token' }"), &c, NULL, NULL);
    assert_string_equal(c.grpo.level, "token");
    assert_true(c.grpo.clip_high == 4e-4);
    must_load(NULL, &c, NULL, NULL);
    assert_true(c.grpo.clip_high == 0.28);
}

static void bad_input_is_named(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"train = {\n lr = 1e-3,\n  lrr = 2 }", "x.lua:3: unknown option 'train.lrr', did you mean 'train.lr'?"},
        {"train = { lr = 1e-3 }\ntrain.lr = 12", "x.lua:2: train.lr must be in [0, 10], got 12"},
        {"train = { lr = '1e-3' }", "x.lua:1: train.lr: expected a number, got a string"},
        {"\ngrpo = { [ \"group\" ] = 2.5 }", "x.lua:2: grpo.group: expected a whole number, got '2.5'"},
        {"data = { pack = 1 }", "data.pack: expected true or false, got a number"},
        {"model = { path = 3 }", "model.path: expected a string, got a number"},
        {"model = { path = { 'a' } }", "model.path: expected a string, got a table"},
        {"model = { path = 'a\\0b' }", "zero byte"},
        {"data = { sources = { a = 'x' } }", "expected a string or a table of names"},
        {"data = { sources = 'a:x' }", "x.lua:1: data.sources: the weight in 'a:x' is no number"},
        {"rollout = { stop = { 1 } }", "x.lua:1: rollout.stop: every member must be a string"},
        {"grpo = { preset = 'dapoo' }", "grpo.preset must be one of hone|deepseekmath"},
        {"trian = { lr = 1 }", "x.lua:1: unknown section 'trian', did you mean 'train'?"},
        {"sede = 3", "x.lua:1: unknown option 'sede', did you mean 'seed'?"},
        {"seed = -1", "seed must be in [0, "},
        {"seed = { 1 }", "x.lua:1: seed: expected a number, got a table"},
        {"train = 3", "'train' is a section: expected a table of its keys, got a number"},
        {"train = { 3 }", "'train' is a section: expected a table of its keys, got a list"},
        {"function helper() end", "'helper' is a function: helpers must be local"},
        {"return 3", "a table of sections as the file's result expected"},
        {"return { { } }", "expected sections by name"},
        {"return {\n train = { lr = 1e-3,\n  lrr = 2 } }", "x.lua:3: unknown option 'train.lrr'"},
        {"data = { sources = { 'a', b = 1 } }", "x.lua: a table has numbers as keys but is no list"},
        {"train = { lr = 0/0 }", "NaN is no JSON number"},
        {"train = {\n lr = }", "x.lua:2: unexpected symbol near '}'"},
        {"while true do end", "instruction limit"},
        {"local t = {} for i = 1, 1e9 do t[i] = 'x' .. i end", "limit"},
        {"os.exit(1)", "attempt to index a nil value (global 'os')"},
        {"error('no GPU here')", "x.lua:1: no GPU here"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        fails_with(write_file("x.lua", cases[i][0]), NULL, cases[i][1]);
    fails_with(NULL, "train.lr", "command line: expected section.key=value, got 'train.lr'");
    fails_with(NULL, "lr=3", "command line: unknown option 'lr', did you mean 'train.lr'?");
    fails_with(NULL, "train.lr=0.2x", "command line: train.lr: expected a number, got '0.2x'");
    fails_with(NULL, "rollout.stop=[3", "command line: rollout.stop: expected a JSON array of strings");
    fails_with(NULL, "model.path=\"x", "must be one JSON string");
    struct cfg c;
    struct err e = {0};
    assert_int_equal(cfg_load("/nonexistent.lua", NULL, 0, &c, &mem, &e), ERR_IO);
}

static void text_reads_back(void **state)
{
    (void)state;
    struct cfg c, d;
    struct err e = {0};
    struct sbuf a, b;
    sbuf_init(&a, 1 << 20);
    sbuf_init(&b, 1 << 20);
    must_load(write_file("g.lua", "data = { system = 'be \"good\"\\nand kind', sources = { a = 0.1 } }\ntrain = { lr = 1/3 }\n"
                         "rollout = { stop = { '\\n' } }\nmodel = { path = '\"q\"' }\ngrpo = { preset = 'rloo', kl_kind = 'k2' }"), &c, NULL, NULL);
    cfg_text(&c, &a);
    struct arena other;
    arena_init(&other, "other", 1 << 20);
    if (cfg_from_text(sbuf_str(&a), "stored", &d, &other, &e) != ERR_OK)
        fail_msg("%s", e.msg);
    cfg_text(&d, &b);
    assert_string_equal(a.p, b.p);
    assert_true(d.train.lr == c.train.lr);
    assert_string_equal(d.data.system, "be \"good\"\nand kind");
    assert_string_equal(d.model.path, "\"q\"");
    sbuf_clear(&b);
    cfg_text_changed(&c, &b);
    assert_non_null(strstr(b.p, "train.lr=0.3333333333333333  # "));
    assert_non_null(strstr(b.p, "g.lua:2\n"));
    assert_non_null(strstr(b.p, "data.sources=a:0.1  # "));
    assert_non_null(strstr(b.p, "grpo.kl_kind=k2  # "));
    assert_non_null(strstr(b.p, "grpo.kl_coef=0.05"));
    assert_non_null(strstr(b.p, "# grpo.preset=rloo\n"));
    assert_null(strstr(b.p, "train.beta1"));
    arena_release(&other);
    sbuf_release(&a);
    sbuf_release(&b);
}

/* Every key takes its own default as a word, and stands in the text once. */
static void every_key_works(void **state)
{
    (void)state;
    struct cfg c, d;
    struct err e = {0};
    struct sbuf a, help;
    sbuf_init(&a, 1 << 20);
    sbuf_init(&help, 1 << 20);
    must_load(NULL, &c, NULL, NULL);
    cfg_text(&c, &a);
    cfg_help(&help, 1);
    struct arena other;
    arena_init(&other, "other", 1 << 20);
    for (int i = 0; i < c.set.n; i++) {
        char name[128], word[256], row[160];
        snprintf(name, sizeof name, "%s%s%s", c.set.defs[i].section, c.set.defs[i].section[0] ? "." : "", c.set.defs[i].key);
        snprintf(word, sizeof word, "%s=%s", name, c.set.defs[i].def);
        snprintf(row, sizeof row, "| `%s` |", name);
        char *words[1] = {word};
        if (cfg_load(NULL, words, 1, &d, &other, &e) != ERR_OK)
            fail_msg("%s", e.msg);
        assert_string_equal(d.set.source[i], "command line");
        assert_non_null(strstr(help.p, row));
        assert_true(strlen(c.set.defs[i].help) > 5);
        arena_reset(&other);
    }
    arena_release(&other);
    sbuf_release(&a);
    sbuf_release(&help);
}

static void rules_over_keys(void **state)
{
    (void)state;
    static const char *const cases[][3] = {
        /* job, words, message ("" = passes) */
        {"sft", "model.path=m data.sources=a", ""},
        {"sft", "data.sources=a", "hone sft needs model.path"},
        {"grpo", "model.path=m data.sources=a", "hone grpo needs reward.list"},
        {"grpo", "model.path=m data.sources=a reward.list=math train.steps=5", ""},
        {"grpo", "model.path=m data.sources=a reward.list=math", "hone grpo needs train.steps"},
        {"eval", "model.path=m eval.sources=a reward.list=math", ""},
        {"sft", "model.path=m data.sources=a train.leaves=3", "train.leaves must be a power of two, got 3"},
        {"sft", "model.path=m data.sources=a train.steps=5 train.warmup=9", "train.warmup + train.hold (9) is above train.steps (5)"},
        {"sft", "model.path=m data.sources=a data.max_len=9999", "data.max_len (9999) is above data.cap (4096)"},
        {"grpo", "model.path=m data.sources=a reward.list=lua", "reward.lua must name the file"},
        {"grpo", "model.path=m data.sources=a reward.list=math train.steps=5 grpo.minibatches=64", "grpo.minibatches (64) is above grpo.prompts (32)"},
        {"grpo", "model.path=m data.sources=a reward.list=math train.steps=5 grpo.dual_clip=0.5", "grpo.dual_clip must be 0 (off) or above 1"},
        {"grpo", "model.path=m data.sources=a reward.list=math train.steps=5 grpo.preset=rloo grpo.inner_epochs=2", "grpo.loss=reinforce"},
        {"grpo", "model.path=m data.sources=a reward.list=math train.steps=5 grpo.ref_sync_every=3", "grpo.kl_coef is 0"},
        {"grpo", "model.path=m data.sources=a reward.list=math eval.k=1,4", "eval.k: '4' is no number in [1, eval.samples = 1]"},
        {"grpo", "model.path=m data.sources=a reward.list=math train.steps=5 rollout.temperature=0", "equal samples per group"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cfg c;
        struct err e = {0};
        char buf[400], *words[16], *save = buf;
        int n = 0;
        snprintf(buf, sizeof buf, "%s", cases[i][1]);
        for (char *w; (w = strsep(&save, " "));)
            words[n++] = w;
        arena_reset(&mem);
        if (cfg_load(NULL, words, n, &c, &mem, &e) != ERR_OK)
            fail_msg("%s", e.msg);
        err_code rc = cfg_check(&c, cases[i][0], &e);
        if (cases[i][2][0] ? rc != ERR_USAGE || !strstr(e.msg, cases[i][2]) : rc != ERR_OK)
            fail_msg("case %zu: wanted '%s', got '%s'", i, cases[i][2], e.msg);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_files_and_words), cmocka_unit_test(includes),        cmocka_unit_test(presets),
        cmocka_unit_test(bad_input_is_named),    cmocka_unit_test(text_reads_back), cmocka_unit_test(every_key_works),
        cmocka_unit_test(rules_over_keys),
    };
    if (!mkdtemp(dir))
        return 1;
    arena_init(&mem, "config", 16 << 20);
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    struct err e = {0};
    file_remove_tree(dir, &e);
    arena_release(&mem);
    return rc;
}
