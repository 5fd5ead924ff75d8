/* Catches: a right answer scored wrong, or worse, a wrong answer, a hack or a broken gold scored right. */
#include "core/par.h"
#include "rewards/rewards.h"
#include "tests/test.h"
#include "tests/unit/math_pairs.h"

static enum math_outcome ask(struct math_checker *m, const char *gold, const char *pred, enum math_form form)
{
    struct math_question q = {.gold = str_of(gold), .pred = str_of(pred), .pred_form = form};
    struct math_opts o = MATH_OPTS_DEFAULT;
    struct math_result r;
    math_check(m, &q, &o, &r);
    assert_non_null(r.why);
    return r.outcome;
}

static void test_right(void **state)
{
    (void)state;
    struct math_checker *m = math_open();
    int bad = 0;
    for (size_t i = 0; i < sizeof right / sizeof *right; i++)
        if (ask(m, right[i].gold, right[i].pred, MATH_ANSWER) != MATH_RIGHT) {
            print_message("should be right: '%s' for '%s'\n", right[i].pred, right[i].gold);
            bad++;
        }
    math_close(m);
    assert_int_equal(bad, 0);
}

static void test_wrong(void **state)
{
    (void)state;
    struct math_checker *m = math_open();
    int bad = 0;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        enum math_outcome o = ask(m, wrong[i].gold, wrong[i].pred, MATH_ANSWER);
        if (o != MATH_WRONG && o != MATH_UNPARSABLE) {
            print_message("should be wrong, is %s: '%s' for '%s'\n", math_outcome_name(o), wrong[i].pred, wrong[i].gold);
            bad++;
        }
    }
    math_close(m);
    assert_int_equal(bad, 0);
}

static const struct {
    const char *text, *rule, *answer;
} found[] = {
    {"So \\boxed{\\frac{1}{2}}.", "box", "\\frac{1}{2}"}, {"\\boxed{5}. Wait, no. \\boxed{6}", "box", "6"}, {"\\fbox{7} and later 8", "box", "7"}, {"\\boxed{1} and \\boxed{2}", "box", "1 , 2"},
    {"\\boxed{7}\\boxed{7}", "box", "7"}, {"<think>\\boxed{4}</think> The answer is 5.", "phrase", "5"}, {"2+2 is 4\n#### 4", "hashes", "4"}, {"The answer is $\\frac12$.", "phrase", "\\frac12"}, {"**Answer:** 12 (checked)", "phrase", "12 (checked)"},
    {"答案是7", "phrase", "7"}, {"La respuesta final es $7$.", "phrase", "7"}, {"<answer>9</answer>", "tag", "9"}, {"3+2", "whole", "3+2"}, {"He sold 5 apples and kept 3", "number", "3"}, {"so $x=4$ holds", "maths", "x=4"},
};

static void test_extraction(void **state)
{
    (void)state;
    struct math_checker *m = math_open();
    struct math_opts o = MATH_OPTS_DEFAULT;
    const char *rule;
    int bad = 0;
    for (size_t i = 0; i < sizeof found / sizeof *found; i++) {
        struct str s = math_extract(m, str_of(found[i].text), &o, &rule);
        if (!str_eq(s, str_of(found[i].answer)) || strcmp(rule, found[i].rule)) {
            print_message("'%s': %s '%.*s', wanted %s '%s'\n", found[i].text, rule, STR_ARG(s), found[i].rule, found[i].answer);
            bad++;
        }
    }
    o.strict_box = 1;
    assert_int_equal(math_extract(m, STR("The answer is 5"), &o, &rule).n, 0);
    math_close(m);
    assert_int_equal(bad, 0);
}

static void test_responses(void **state)
{
    (void)state;
    struct math_checker *m = math_open();
    int bad = 0;
    for (size_t i = 0; i < sizeof responses / sizeof *responses; i++) {
        enum math_outcome o = ask(m, responses[i].gold, responses[i].text, MATH_RESPONSE);
        if ((o == MATH_RIGHT) != responses[i].right || o == MATH_GOLD_UNPARSABLE || o == MATH_TIMEOUT) {
            print_message("is %s: '%s' for '%s'\n", math_outcome_name(o), responses[i].text, responses[i].gold);
            bad++;
        }
    }
    math_close(m);
    assert_int_equal(bad, 0);
}

static void test_outcomes(void **state)
{
    (void)state;
    struct math_checker *m = math_open();
    assert_int_equal(ask(m, "", "5", MATH_ANSWER), MATH_GOLD_UNPARSABLE);
    assert_int_equal(ask(m, "$$", "5", MATH_ANSWER), MATH_GOLD_UNPARSABLE);
    assert_int_equal(ask(m, "5", "", MATH_RESPONSE), MATH_UNPARSABLE);
    assert_int_equal(ask(m, "5", "I don't know", MATH_RESPONSE), MATH_UNPARSABLE);
    assert_int_equal(ask(m, "B", "I would say B, not A.", MATH_RESPONSE), MATH_RIGHT);
    math_close(m);
}

/* For each policy an answer that is right exactly when it is on (or, for what makes the verifier stricter, off). */
static void test_policies(void **state)
{
    (void)state;
    static const struct {
        const char *policy, *gold, *pred;
        int right_when;
        enum math_form form;
    } cases[] = {
        {"percent_loose", "25\\%", "25", 1, 0},
        {"percent_loose", "40", "40\\%", 1, 0},
        {"rounded", "\\sqrt2", "1.41421356", 1, 0},
        {"rounded_coarse", "\\pi", "3.14", 1, 0},
        {"rounded_coarse", "3.14", "3.14159", 1, 0},
        {"interval_inequality", "[0,1)", "0\\le x<1", 1, 0},
        {"interval_inequality", "x>3", "(3,\\infty)", 1, 0},
        {"unit_optional", "5\\text{ m}", "5", 1, 0},
        {"unit_optional", "5", "5 m", 1, 0},
        {"list_unordered", "1,2", "2,1", 1, 0},
        {"set_duplicates", "\\{1,2\\}", "\\{1,2,2\\}", 1, 0},
        {"set_vs_tuple", "(1,3)", "\\{3,1\\}", 1, 0},
        {"label_optional", "5", "x=5", 1, 0},
        {"label_optional", "x=5", "5", 1, 0},
        {"vector_row", "\\begin{pmatrix}1\\\\2\\end{pmatrix}", "(1,2)", 1, 0},
        {"degree_radian", "\\pi/4", "45^\\circ", 1, 0},
        {"integration_constant", "x^2+C", "x^2", 1, 0},
        {"parametric", "\\frac{\\pi}{4}+k\\pi, k\\in\\mathbb{Z}", "\\frac{\\pi}{4}+n\\pi, n\\in\\mathbb{Z}", 1, 0},
        {"modular", "7\\pmod{12}", "7", 1, 0},
        {"approx_tail", "\\frac13", "\\frac13 \\approx 0.33", 1, 0},
        {"word_numbers", "5", "\\text{five}", 1, 0},
        {"decimal_comma", "2.74", "2,74", 1, 0},
        {"percent_x100", "0.75", "75", 1, 0},
        {"percent_x100", "75", "0.75", 1, 0},
        {"unit_convert", "5\\text{ m}", "500\\text{ cm}", 1, 0},
        {"unreduced", "\\frac34", "\\frac68", 1, 0},
        {"unreduced", "3/4", "6/8", 1, 0},
        {"comb_notation", "10", "C_5^2", 1, 0},
        {"comb_notation", "10", "C(5,2)", 1, 0},
        {"clock_24h", "3:45\\text{ p.m.}", "15:45", 1, 0},
        {"function_name", "y=2x+1", "f(x)=2x+1", 1, 0},
        {"dummy_variable", "f(x)=x^2", "f(t)=t^2", 1, 0},
        {"empty_words", "\\emptyset", "\\text{no solution}", 1, 0},
        {"thousands_space", "1234", "1 234", 1, 0},
        {"equation_chain", "\\frac23", "x=\\frac46=\\frac23", 1, 0},
        {"equation_chain", "x=\\frac46=\\frac23", "\\frac23", 1, 0},
        {"all_boxes", "1,2", "\\boxed{1} and \\boxed{2}", 1, MATH_RESPONSE},
        {"all_boxes", "2", "\\boxed{1} and \\boxed{2}", 0, MATH_RESPONSE},
        {"think_boxes", "4", "<think>\\boxed{4}</think>", 1, MATH_RESPONSE},
        {"strict_box", "4", "The answer is 4.", 0, MATH_RESPONSE},
        {"unevaluated", "5050", "\\sum_{k=1}^{100}k", 1, 0},
        {"unevaluated", "3628800", "\\prod_{i=1}^{10}i", 1, 0},
        {"unevaluated", "6", "\\gcd(12,18)", 1, 0},
        {"unevaluated", "36", "\\operatorname{lcm}(12,18)", 1, 0},
        {"unevaluated", "-2", "\\begin{vmatrix}1&2\\\\3&4\\end{vmatrix}", 1, 0},
    };
    struct math_checker *m = math_open();
    struct err e = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int on = 0; on < 2; on++) {
            struct math_question q = {.gold = str_of(cases[i].gold), .pred = str_of(cases[i].pred), .pred_form = cases[i].form};
            struct math_opts o = MATH_OPTS_DEFAULT;
            struct math_result r;
            char word[64];
            snprintf(word, sizeof word, "%s%s", on ? "" : "no-", cases[i].policy);
            assert_int_equal(math_opts_set(&o, str_of(word), &e), ERR_OK);
            math_check(m, &q, &o, &r);
            if ((r.outcome == MATH_RIGHT) != (on == cases[i].right_when))
                fail_msg("%s: '%s' for '%s' is %s (%s)", word, cases[i].pred, cases[i].gold, math_outcome_name(r.outcome), r.why);
        }
#define X(name, def, meaning)                                                   \
    {                                                                           \
        int tested = 0;                                                         \
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)               \
            tested |= !strcmp(cases[i].policy, #name);                          \
        if (!tested)                                                            \
            fail_msg("the policy %s has no case", #name);                       \
    }
    MATH_POLICY_LIST(X)
#undef X
    struct math_opts o = MATH_OPTS_DEFAULT;
    assert_int_equal(math_opts_set(&o, STR("no-rounded, set_vs_tuple"), &e), ERR_OK);
    assert_true(!o.rounded && o.set_vs_tuple && o.percent_loose);
    assert_int_equal(math_opts_set(&o, STR("no-such"), &e), ERR_USAGE);
    assert_non_null(strstr(e.msg, "'no-such' is no policy"));
    math_close(m);
}

/* What no switch changes: an operator that nobody evaluates exactly. */
static void test_never_evaluated(void **state)
{
    (void)state;
    static const char *const cases[][2] = {{"\\frac12", "\\int_0^1 x\\,dx"}, {"1", "\\lim_{x\\to0}\\frac{\\sin x}{x}"}, {"2x", "\\frac{d}{dx}x^2"}, {"\\frac{\\pi^2}{6}", "\\sum_{k=1}^{\\infty}\\frac{1}{k^2}"},
                                           {"5051", "\\sum_{k=1}^{100}k"}, {"7", "\\gcd(12,18)"}, {"0", "\\sum_{k=1}^{100000000}k"}};
    struct math_checker *m = math_open();
    struct math_opts o = MATH_OPTS_DEFAULT;
    o.unevaluated = 1;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct math_question q = {.gold = str_of(cases[i][0]), .pred = str_of(cases[i][1])};
        struct math_result r;
        math_check(m, &q, &o, &r);
        if (r.outcome == MATH_RIGHT)
            fail_msg("'%s' for '%s': %s", cases[i][1], cases[i][0], r.why);
    }
    math_close(m);
}

/* The order of the rules that find an answer is the caller's. */
static void test_rules(void **state)
{
    (void)state;
    static const struct {
        const char *rules, *rule, *answer;
    } cases[] = {
        {"", "box", "5"}, {"phrase>box", "phrase", "7"}, {"hashes>box", "hashes", "8"}, {"tag", "none", ""}, {"last", "number", "8"}, {"tag>last>box", "number", "8"}, {"box", "box", "5"},
    };
    static const char text[] = "So \\boxed{5}. The answer is 7.\n#### 8";
    struct math_checker *m = math_open();
    struct err e = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct math_opts o = MATH_OPTS_DEFAULT;
        const char *rule;
        assert_int_equal(math_opts_rules(&o, str_of(cases[i].rules), &e), ERR_OK);
        struct str s = math_extract(m, str_of(text), &o, &rule);
        if (strcmp(rule, cases[i].rule) || !str_eq(s, str_of(cases[i].answer)))
            fail_msg("rules '%s': %s '%.*s'", cases[i].rules, rule, STR_ARG(s));
    }
    struct math_opts o = MATH_OPTS_DEFAULT;
    assert_int_equal(math_opts_set(&o, STR("rules=phrase>box,no-rounded"), &e), ERR_OK);
    assert_true(o.rules[0] == MATH_RULE_PHRASE && o.rules[1] == MATH_RULE_BOX && !o.rules[2] && !o.rounded);
    assert_int_equal(math_opts_rules(&o, STR("box>bax"), &e), ERR_USAGE);
    assert_int_equal(math_opts_rules(&o, STR("box>box"), &e), ERR_USAGE);
    math_close(m);
}

/* Long and deep inputs end, and end within the budget. */
static void test_hostile(void **state)
{
    (void)state;
    static const char *const units[] = {"\\frac{1}{", "(", "{", "\\sqrt{", "\\left(", "|", "2^{", "-", "\\sin ", "\\boxed{", "$", "1+", "1,", "(x+1)", "\\pm 1 + ", "\\{1\\}\\cup", "1 000 ", "\\\\", "a=", "\\frac", "[0-9]*", "!", "x_{", "\\begin{matrix}", "7"};
    struct math_checker *m = math_open();
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        for (int n = 10; n <= 20000; n *= 20) {
            struct sbuf b;
            sbuf_init(&b, 1 << 24);
            for (int k = 0; k < n; k++)
                sbuf_adds(&b, units[i]);
            sbuf_adds(&b, "1");
            struct math_question q = {.gold = STR("17"), .pred = sbuf_str(&b), .pred_form = MATH_RESPONSE};
            struct math_opts o = MATH_OPTS_DEFAULT;
            struct math_result r;
            math_check(m, &q, &o, &r);
            assert_int_not_equal(r.outcome, MATH_RIGHT);
            math_check(m, &(struct math_question){.gold = sbuf_str(&b), .pred = sbuf_str(&b)}, &o, &r);
            sbuf_release(&b);
        }
    math_close(m);
}

static enum math_outcome seen[sizeof right / sizeof *right];
static struct math_checker *checkers[PAR_MAX];
static int differ;

static void check_range(void *ctx, int64_t begin, int64_t end, int worker)
{
    (void)ctx;
    for (int64_t i = begin; i < end; i++)
        if (ask(checkers[worker], right[i].gold, right[i].pred, MATH_ANSWER) != seen[i])
            __atomic_store_n(&differ, 1, __ATOMIC_RELAXED);
}

/* The same verdicts from one thread and from several. */
static void test_threads(void **state)
{
    (void)state;
    int64_t n = sizeof right / sizeof *right;
    par_init(4);
    for (int i = 0; i < par_threads(); i++)
        checkers[i] = math_open();
    for (int64_t i = 0; i < n; i++)
        seen[i] = ask(checkers[0], right[i].gold, right[i].pred, MATH_ANSWER);
    for (int round = 0; round < 5; round++)
        par_for(n, 3, check_range, NULL);
    assert_int_equal(differ, 0);
    for (int i = 0; i < par_threads(); i++)
        math_close(checkers[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_right), cmocka_unit_test(test_wrong), cmocka_unit_test(test_extraction), cmocka_unit_test(test_outcomes), cmocka_unit_test(test_responses),
        cmocka_unit_test(test_policies), cmocka_unit_test(test_never_evaluated), cmocka_unit_test(test_rules),
        cmocka_unit_test(test_hostile), cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
