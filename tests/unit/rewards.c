/* The registry and the simple rewards. Fails when: a broken verifier is scored instead of left out, one bad sample changes another's
 * score, threads or batch order change a score, a structure that is half there counts, a limit of a Lua reward does not hold. */
#include <math.h>
#include <unistd.h>

#include "core/file.h"
#include "core/par.h"
#include "rewards/rewards.h"
#include "tests/test.h"

static char dir[] = "/tmp/hone-rewards-XXXXXX";
static struct arena mem;

static const char *lua_file(const char *text)
{
    static char path[256];
    struct err e = {0};
    snprintf(path, sizeof path, "%s/r.lua", dir);
    if (file_write_atomic(path, str_of(text), &e) != ERR_OK)
        fail_msg("%s", e.msg);
    return path;
}

static err_code open_with(const char *const *words, struct rewards **r, struct err *e)
{
    struct cfg c;
    struct arena config;
    char *w[16];
    int n = 0;
    arena_init(&config, "config", 1 << 20);
    for (; words[n]; n++)
        w[n] = (char *)words[n];
    err_code rc = cfg_load(NULL, w, n, &c, &config, e);
    if (rc == ERR_OK)
        rc = reward_open(&c, r, e);
    arena_release(&config); /* a reward keeps copies of what it needs */
    return rc;
}

static struct rewards *must_open(const char *const *words)
{
    struct rewards *r = NULL;
    struct err e = {0};
    if (open_with(words, &r, &e) != ERR_OK)
        fail_msg("%s", e.msg);
    return r;
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static struct reward_verdict score_one(struct rewards *r, const char *response, int64_t tokens)
{
    struct reward_request q = {.response = str_of(response), .tokens = tokens};
    struct reward_result out;
    struct reward_stats st;
    reward_score(r, &q, 1, &mem, &out, &st);
    assert_true(out.each[0].why && st.n == 1);
    return out.each[0];
}

static void format_by_tags(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int right;
    } cases[] = {
        {"<think>a</think><answer>b</answer>", 1},
        {" \n<think>\na < b\n</think>\n\n<answer>7</answer>\n", 1},
        {"<think></think><answer></answer>", 1},
        {"<answer>b</answer><think>a</think>", 0},
        {"<think>a</think>and<answer>b</answer>", 0},
        {"so <think>a</think><answer>b</answer>", 0},
        {"<think>a</think><answer>b</answer> done", 0},
        {"<think>a<answer>b</answer></think><answer>b</answer>", 0},
        {"<think>a</think><think>a</think><answer>b</answer>", 0},
        {"<think>a</think><answer>b", 0},
        {"</think><think><answer>b</answer>", 0},
        {"<think>a</answer><answer>b</think>", 0},
        {"", 0},
    };
    struct rewards *r = must_open(WORDS("reward.list=format"));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct reward_verdict v = score_one(r, cases[i].text, 0);
        if (v.score != cases[i].right || v.outcome != (cases[i].right ? REWARD_RIGHT : REWARD_WRONG))
            fail_msg("'%s': %g %s", cases[i].text, v.score, v.why);
    }
    assert_int_equal(score_one(r, "<think>\xff</think><answer></answer>", 0).outcome, REWARD_UNPARSABLE);
    reward_close(r);
    r = must_open(WORDS("reward.list=format", "reward.format_opened=true"));
    assert_true(score_one(r, "a</think><answer>b</answer>", 0).score == 1);
    assert_true(score_one(r, "<think>a</think><answer>b</answer>", 0).score == 0);
    reward_close(r);
}

static void format_by_regex(void **state)
{
    (void)state;
    struct rewards *r = must_open(WORDS("reward.list=format", "reward.format_regex=<think>.*?</think>\\s*<answer>.*?</answer>"));
    assert_true(score_one(r, "<think>a\nb</think>\n<answer>b</answer>", 0).score == 1);
    assert_true(score_one(r, "<think>a\nb</think>\n<answer>b</answer>!", 0).score == 0);
    reward_close(r);
    r = must_open(WORDS("reward.list=format", "reward.format_regex=a|ab"));
    assert_true(score_one(r, "ab", 0).score == 1 && score_one(r, "b", 0).score == 0);
    reward_close(r);
    r = must_open(WORDS("reward.list=format", "reward.format_regex=(a+)+(a+)+(a+)+b"));
    struct reward_verdict v = score_one(r, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac", 0);
    assert_true(v.outcome == REWARD_TIMEOUT && isnan(v.score)); /* our pattern exploded: nobody's low score */
    reward_close(r);
}

static void length_and_language(void **state)
{
    (void)state;
    struct rewards *r = must_open(WORDS("reward.list=length", "reward.length_target=100", "reward.length_limit=200"));
    assert_true(score_one(r, "", 100).score == 1 && score_one(r, "", 150).score == 0.5 && score_one(r, "", 200).score == 0 && score_one(r, "", 999).score == 0);
    assert_int_equal(score_one(r, "", 5).outcome, REWARD_SCORED);
    reward_close(r);
    r = must_open(WORDS("reward.list=length", "reward.length_mode=target", "reward.length_target=100"));
    assert_true(score_one(r, "", 100).score == 1 && score_one(r, "", 50).score == 0.5 && score_one(r, "", 150).score == 0.5 && score_one(r, "", 300).score == 0);
    reward_close(r);
    r = must_open(WORDS("reward.list=language", "reward.language=zh"));
    assert_true(score_one(r, "答案是 42。", 0).score == 1 && score_one(r, "答案 ab", 0).score == 0.5 && score_one(r, "42", 0).score == 1);
    assert_true(score_one(r, "答案 \\frac{1}{2} \xff", 0).score == 1 && score_one(r, "答 ಕ", 0).score == 0.5);
    reward_close(r);
    r = must_open(WORDS("reward.list=language", "reward.language=ja", "reward.language_min=0.9"));
    assert_int_equal(score_one(r, "これは答えです", 0).outcome, REWARD_RIGHT);
    assert_int_equal(score_one(r, "the answer", 0).outcome, REWARD_WRONG);
    reward_close(r);
    r = must_open(WORDS("reward.list=language", "reward.language=ru"));
    assert_true(score_one(r, "Ответ ё: 1", 0).score == 1 && score_one(r, "Ok да", 0).score == 0.5);
    reward_close(r);
}

static void math_by_the_verifier(void **state)
{
    (void)state;
    static const struct {
        const char *gold, *response;
        enum reward_outcome outcome;
        const char *answer;
    } cases[] = {
        {"72", "so\n#### 72", REWARD_RIGHT, "72"},
        {"72", "#### $72.", REWARD_RIGHT, NULL},
        {"1/2", "thus \\boxed{0.5}", REWARD_RIGHT, "0.5"},
        {"72", "#### 71", REWARD_WRONG, "71"},
        {"72", "", REWARD_UNPARSABLE, NULL},
        {"", "#### 72", REWARD_GOLD_UNPARSABLE, NULL},
    };
    struct rewards *r = must_open(WORDS("reward.list=math"));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct reward_request q = {.gold = str_of(cases[i].gold), .response = str_of(cases[i].response)};
        struct reward_result out;
        struct reward_stats st;
        reward_score(r, &q, 1, &mem, &out, &st);
        const struct reward_verdict *v = out.each;
        double want = cases[i].outcome == REWARD_RIGHT ? 1 : cases[i].outcome == REWARD_GOLD_UNPARSABLE ? NAN : 0;
        if (v->outcome != cases[i].outcome || !(isnan(want) ? isnan(out.total) : out.total == want))
            fail_msg("'%s': %s %g %s", cases[i].response, reward_outcome_name(v->outcome), out.total, v->why);
        if (cases[i].answer)
            assert_true(str_eq(v->answer, str_of(cases[i].answer)));
    }
    reward_close(r);
    r = must_open(WORDS("reward.list=math", "reward.gold_form=response", "reward.strict_box=true"));
    struct reward_request q[2] = {{.gold = STR("3 + 4 = 7\n#### 7"), .response = STR("\\boxed{7}")}, {.gold = STR("#### 7"), .response = STR("7")}};
    struct reward_result out[2];
    struct reward_stats st;
    reward_score(r, q, 2, &mem, out, &st);
    assert_true(out[0].total == 1 && out[1].total == 0);
    reward_close(r);
}

static void code_by_the_sandbox(void **state)
{
    (void)state;
    static const struct {
        const char *item, *response;
        enum reward_outcome outcome;
        double score;
    } cases[] = {
#define TASK "{\"kind\":\"stdio\",\"tests\":[{\"in\":\"2 3\",\"out\":\"5\"},{\"in\":\"4 4\",\"out\":\"8\"}]}"
        {"{\"task\":" TASK "}", "First ```python\nbad(\n``` no:\n```python\na, b = map(int, input().split())\nprint(a + b)\n```", REWARD_RIGHT, 1},
        {"{\"meta\":{\"task\":" TASK "}}", "```\nprint(5)\n```", REWARD_WRONG, 0.5},
        {"{\"task\":" TASK "}", "```python\nwhile True: pass\n```", REWARD_WRONG, 0},
        {"{\"task\":" TASK "}", "print(5)", REWARD_UNPARSABLE, 0},
        {"{\"task\":{\"kind\":\"poem\"}}", "```\nprint(5)\n```", REWARD_GOLD_UNPARSABLE, NAN},
        {"{}", "```\nprint(5)\n```", REWARD_GOLD_UNPARSABLE, NAN},
#undef TASK
    };
    enum { N = sizeof cases / sizeof *cases };
    struct rewards *r;
    struct err e = {0};
    if (open_with(WORDS("reward.list=code", "reward.code_share=true", "reward.jobs=2", "reward.time_limit_s=0.5"), &r, &e) != ERR_OK) {
        assert_int_equal(e.code, ERR_SANDBOX);
        printf("skip: code reward: %s\n", e.msg);
        return;
    }
    struct reward_request q[N];
    struct reward_result out[N];
    struct reward_stats st;
    for (int i = 0; i < N; i++) {
        json_t *item = NULL;
        assert_int_equal(json_parse(str_of(cases[i].item), &item, &e), ERR_OK);
        q[i] = (struct reward_request){.response = str_of(cases[i].response), .item = item};
    }
    reward_score(r, q, N, &mem, out, &st);
    for (int i = 0; i < N; i++) {
        const struct reward_verdict *v = out[i].each;
        if (v->outcome != cases[i].outcome || !(isnan(cases[i].score) ? isnan(v->score) : v->score == cases[i].score))
            fail_msg("case %d: %s %g '%s'", i, reward_outcome_name(v->outcome), v->score, v->why);
        json_decref((json_t *)q[i].item);
    }
    assert_int_equal(st.failed, 2);
    reward_close(r);
}

static void lua_failures_are_no_scores(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum reward_outcome outcome;
        double score;
        const char *why;
    } cases[] = {
        {"function reward(row) return 1 end", REWARD_RIGHT, 1, ""},
        {"function reward(row) return 0 end", REWARD_WRONG, 0, ""},
        {"function reward(row) return 0.25, nil, row.response .. row.stop end", REWARD_SCORED, 0.25, "x length"},
        {"function reward(row) return 0, 'unparsable', 'no\\nanswer' end", REWARD_UNPARSABLE, 0, "no answer"},
        {"function reward(row) return nil, 'gold_unparsable' end", REWARD_GOLD_UNPARSABLE, NAN, ""},
        {"function reward(row) return 0, 'crashed' end", REWARD_CRASHED, NAN, ""},
        {"function reward(row) error('oh') end", REWARD_CRASHED, NAN, "r.lua:1: oh"},
        {"function reward(row) return end", REWARD_CRASHED, NAN, "no number"},
        {"function reward(row) return true end", REWARD_CRASHED, NAN, "no number"},
        {"function reward(row) return 0 / 0 end", REWARD_CRASHED, NAN, "NaN"},
        {"function reward(row) return 1, 'good' end", REWARD_CRASHED, NAN, "not in the list"},
        {"function reward(row) return 1, 7 end", REWARD_CRASHED, NAN, "not in the list"},
        {"function reward(row) while true do end end", REWARD_TIMEOUT, NAN, "instruction limit"},
        {"function reward(row) local s = row.response while true do pcall(string.rep, s, 1e6) end end", REWARD_TIMEOUT, NAN, "limit"},
        {"function reward(row) local t = {} while true do t[#t + 1] = {} end end", REWARD_CRASHED, NAN, "memory limit"},
        {"function reward(row) return row.item.meta.n / 4, nil, row.gold end", REWARD_SCORED, 0.5, "g"},
    };
    json_t *item = json_pack("{s:{s:i}}", "meta", "n", 2);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char lua[300];
        snprintf(lua, sizeof lua, "reward.lua=%s", lua_file(cases[i].text));
        struct rewards *r = must_open(WORDS("reward.list=lua", lua, "reward.lua_instructions=1e6", "reward.lua_memory_mb=4"));
        struct reward_request q = {.response = STR("x "), .gold = STR("g"), .stop = "length", .item = item};
        struct reward_result out;
        struct reward_stats st;
        reward_score(r, &q, 1, &mem, &out, &st);
        const struct reward_verdict *v = out.each;
        int same = isnan(cases[i].score) ? isnan(v->score) && isnan(out.total) && st.failed == 1 : v->score == cases[i].score && out.total == v->score;
        if (v->outcome != cases[i].outcome || !same || !strstr(v->why, cases[i].why) || st.outcomes[0][v->outcome] != 1)
            fail_msg("%s: %s %g '%s'", cases[i].text, reward_outcome_name(v->outcome), v->score, v->why);
        reward_close(r);
    }
    json_decref(item);
}

static void lua_asks_the_math_verifier(void **state)
{
    (void)state;
    static const struct {
        const char *call, *why;
    } cases[] = {
        {"math_verify{gold = row.gold, pred = row.response}", "right box \\frac{2}{4} equal as exact rational numbers"},
        {"math_verify{gold = '3', pred = row.response}", "wrong box \\frac{2}{4} exact rational numbers differ"},
        {"math_verify{gold = '5', pred = 'I do not know'}", "unparsable whole I do not know the prediction does not read as mathematics, the gold does"},
        {"math_verify{gold = '', pred = '5'}", "gold_unparsable none 5 the gold answer is empty or holds nothing that can be read"},
        {"math_verify{gold = '25\\\\%', pred = '25', form = 'answer'}", "right answer 25 equal up to the per cent sign (policy percent_loose)"},
        {"math_verify{gold = '25\\\\%', pred = '25', form = 'answer', policy = 'no-percent_loose'}", "wrong answer 25 per cent value differs"},
        {"math_verify{gold = 'so #### 7', gold_form = 'response', pred = '\\\\boxed{5} the answer is 7', policy = 'rules=phrase'}", "right phrase 7 the same spelling"},
    };
    static const char *const bad[][2] = {
        {"math_verify('1', '2')", "one table is wanted"}, {"math_verify{gold = '1'}", "pred"}, {"math_verify{gold = '1', pred = '1', form = 'poem'}", "form must be"}, {"math_verify{gold = '1', pred = '1', policy = 'no-such'}", "is no policy"},
    };
    char lua[300], text[600];
    struct reward_request q = {.response = STR("so \\boxed{\\frac{2}{4}}"), .gold = STR("\\frac12"), .stop = "eos"};
    struct reward_result out;
    struct reward_stats st;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(text, sizeof text, "function reward(row) local v = %s return 0.5, nil, v.outcome .. ' ' .. v.rule .. ' ' .. v.extracted .. ' ' .. v.why end", cases[i].call);
        snprintf(lua, sizeof lua, "reward.lua=%s", lua_file(text));
        struct rewards *r = must_open(WORDS("reward.list=lua", lua));
        reward_score(r, &q, 1, &mem, &out, &st);
        assert_string_equal(out.each[0].why, cases[i].why);
        assert_true(out.total == 0.5);
        reward_close(r);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(text, sizeof text, "function reward(row) return %s end", bad[i][0]);
        snprintf(lua, sizeof lua, "reward.lua=%s", lua_file(text));
        struct rewards *r = must_open(WORDS("reward.list=lua", lua));
        reward_score(r, &q, 1, &mem, &out, &st);
        assert_int_equal(out.each[0].outcome, REWARD_CRASHED);
        assert_non_null(strstr(out.each[0].why, bad[i][1]));
        reward_close(r);
    }
    /* its work counts: a loop of checks ends at the instruction limit */
    snprintf(lua, sizeof lua, "reward.lua=%s", lua_file("function reward(row) while true do math_verify{gold = '9!', pred = '\\\\sqrt{2}+\\\\sin 3'} end end"));
    struct rewards *r = must_open(WORDS("reward.list=lua", lua, "reward.lua_instructions=300000"));
    reward_score(r, &q, 1, &mem, &out, &st);
    assert_int_equal(out.each[0].outcome, REWARD_TIMEOUT);
    reward_close(r);
    static const struct {
        const char *gold, *response;
        double score;
    } recipe[] = {{"7", "\\boxed{7}", 1}, {"7", "The answer is 7.", 0.5}, {"7", "\\boxed{8}", 0.1}, {"7", "none of it", 0}};
    r = must_open(WORDS("reward.list=lua", "reward.lua=configs/math_steps_reward.lua"));
    for (size_t i = 0; i < sizeof recipe / sizeof *recipe; i++) {
        q = (struct reward_request){.response = str_of(recipe[i].response), .gold = str_of(recipe[i].gold), .stop = "eos"};
        reward_score(r, &q, 1, &mem, &out, &st);
        if (out.total != recipe[i].score)
            fail_msg("'%s': %g, %s", recipe[i].response, out.total, out.each[0].why);
    }
    reward_close(r);
}

static void opening_is_checked(void **state)
{
    (void)state;
    static const char *const cases[][3] = {
        {"reward.list=fromat", "", "unknown reward 'fromat', did you mean 'format'?"},
        {"reward.list=format,format:2", "", "has 'format' twice"},
        {"reward.list=", "", "reward.list is empty"},
        {"reward.list=format", "reward.format_regex=(a", "reward.format_regex '(a': "},
        {"reward.list=format", "reward.format_tags=", "needs reward.format_tags"},
        {"reward.list=language", "reward.language=klingon", "'klingon' is none of latin"},
        {"reward.list=lua", "seed=1", "reward.lua must name the file"},
        {"reward.list=lua", "reward.lua=/nonexistent.lua", "/nonexistent.lua"},
    };
    struct rewards *r;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = {0};
        const char *const words[] = {cases[i][0], cases[i][1][0] ? cases[i][1] : NULL, NULL};
        if (open_with(words, &r, &e) == ERR_OK || !strstr(e.msg, cases[i][2]))
            fail_msg("wanted '%s', got '%s'", cases[i][2], e.msg);
    }
    struct err e = {0};
    char lua[300];
    snprintf(lua, sizeof lua, "reward.lua=%s", lua_file("x = 1"));
    assert_int_equal(open_with(WORDS("reward.list=lua", lua), &r, &e), ERR_USAGE);
    assert_non_null(strstr(e.msg, "no global function reward(row)"));
    snprintf(lua, sizeof lua, "reward.lua=%s", lua_file("x = = 1"));
    assert_int_equal(open_with(WORDS("reward.list=lua", lua), &r, &e), ERR_DATA);
}

/* A Lua reward that counts its calls, crashes on some samples and runs out of its limit on others. */
static void threads_change_nothing(void **state)
{
    (void)state;
    enum { N = 300 };
    char lua[300];
    snprintf(lua, sizeof lua, "reward.lua=%s", lua_file("calls = 0\nfunction reward(row) calls = calls + 1 local n = row.tokens\n"
             "if n % 7 == 3 then error('seven') end if n % 50 == 1 then while true do end end\n"
             "local t = {} for i = 1, n % 40 do t[#t + 1] = { i } end return calls * (n % 5) / 8, nil, #t .. ' of ' .. n end"));
    struct rewards *r = must_open(WORDS("reward.list=lua:0.5,format:2,length:-1,language,math:0.25", lua, "reward.lua_instructions=20000"));
    struct reward_request q[N];
    static char text[N][64];
    struct reward_result first[N], out[N];
    struct reward_stats st0, st;
    for (int i = 0; i < N; i++) {
        snprintf(text[i], sizeof text[i], i % 3 ? "<think>%d</think><answer>ответ</answer>" : "answer %d", i);
        q[i] = (struct reward_request){.response = str_of(text[i]), .tokens = i, .gold = STR("33")};
    }
    par_init(1);
    reward_score(r, q, N, &mem, first, &st0);
    assert_true(st0.failed > N / 7 && st0.failed < N / 3);
    assert_true(st0.outcomes[0][REWARD_TIMEOUT] > 0 && st0.outcomes[0][REWARD_CRASHED] > 0 && st0.outcomes[1][REWARD_RIGHT] == 200);
    for (int threads = 2; threads <= 8; threads *= 2) {
        par_init(threads);
        reward_score(r, q, N, &mem, out, &st);
        assert_memory_equal(st.outcomes, st0.outcomes, 5 * sizeof *st.outcomes);
        for (int i = 0; i < N; i++) {
            assert_true(isnan(out[i].total) == isnan(first[i].total) && (isnan(out[i].total) || out[i].total == first[i].total));
            for (int k = 0; k < reward_count(r); k++)
                assert_string_equal(out[i].each[k].why, first[i].each[k].why);
        }
    }
    /* backwards, and one by one: a sample's score is its own */
    for (int i = N - 1; i >= 0; i -= 17) {
        reward_score(r, &q[i], 1, &mem, out, &st);
        assert_true(isnan(out[0].total) ? isnan(first[i].total) : out[0].total == first[i].total);
    }
    reward_score(r, q, 0, &mem, out, &st);
    assert_true(st.n == 0 && st.failed == 0);
    reward_close(r);
}

static void weight_zero_is_only_shown(void **state)
{
    (void)state;
    char lua[300];
    snprintf(lua, sizeof lua, "reward.lua=%s", lua_file("function reward(row) error('x') end"));
    struct rewards *r = must_open(WORDS("reward.list=length:0.5,lua:0", lua));
    struct reward_request q = {.tokens = 1};
    struct reward_result out;
    struct reward_stats st;
    reward_score(r, &q, 1, &mem, &out, &st);
    assert_true(out.total == 0.5 && isnan(out.each[1].score) && st.failed == 0);
    assert_string_equal(reward_name(r, 1), "lua");
    assert_true(reward_weight(r, 0) == 0.5);
    reward_close(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(format_by_tags),         cmocka_unit_test(format_by_regex),
        cmocka_unit_test(length_and_language),    cmocka_unit_test(lua_failures_are_no_scores),
        cmocka_unit_test(opening_is_checked), cmocka_unit_test(lua_asks_the_math_verifier),     cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(weight_zero_is_only_shown), cmocka_unit_test(math_by_the_verifier),
        cmocka_unit_test(code_by_the_sandbox),
    };
    if (!mkdtemp(dir))
        return 1;
    arena_init(&mem, "test", 64 << 20);
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    struct err e = {0};
    file_remove_tree(dir, &e);
    arena_release(&mem);
    return rc;
}
