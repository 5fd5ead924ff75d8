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

static void test_policies(void **state)
{
    (void)state;
    static const struct {
        const char *gold, *pred;
        struct math_opts off;
    } cases[] = {
        {"25\\%", "25", {.percent_loose = 1}}, {"\\sqrt2", "1.41421356", {.rounded = 1}}, {"[0,1)", "0\\le x<1", {.interval_inequality = 1}}, {"5\\text{ m}", "5", {.unit_optional = 1}}, {"1,2", "2,1", {.list_unordered = 1}},
        {"\\{1,2\\}", "\\{1,2,2\\}", {.set_duplicates = 1}}, {"5", "x=5", {.label_optional = 1}}, {"\\begin{pmatrix}1\\\\2\\end{pmatrix}", "(1,2)", {.vector_row = 1}}, {"\\pi/4", "45^\\circ", {.degree_radian = 1}},
        {"x^2+C", "x^2", {.integration_constant = 1}}, {"7\\pmod{12}", "7", {.modular = 1}}, {"5", "\\text{five}", {.word_numbers = 1}},
    };
    struct math_checker *m = math_open();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct math_question q = {.gold = str_of(cases[i].gold), .pred = str_of(cases[i].pred)};
        struct math_opts o = MATH_OPTS_DEFAULT, off = MATH_OPTS_DEFAULT;
        struct math_result r;
#define X(name, def, meaning) off.name &= !cases[i].off.name;
        MATH_POLICY_LIST(X)
#undef X
        math_check(m, &q, &o, &r);
        if (r.outcome != MATH_RIGHT)
            print_message("with the policy: '%s' '%s'\n", cases[i].gold, cases[i].pred);
        assert_int_equal(r.outcome, MATH_RIGHT);
        math_check(m, &q, &off, &r);
        if (r.outcome == MATH_RIGHT)
            print_message("without the policy: '%s' '%s'\n", cases[i].gold, cases[i].pred);
        assert_int_not_equal(r.outcome, MATH_RIGHT);
    }
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
        cmocka_unit_test(test_right), cmocka_unit_test(test_wrong), cmocka_unit_test(test_extraction), cmocka_unit_test(test_outcomes),
        cmocka_unit_test(test_policies), cmocka_unit_test(test_hostile), cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
