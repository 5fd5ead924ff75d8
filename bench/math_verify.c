/* hone's math verifier: checks per second on one core.
 *   build/bench/math_verify [CASES.jsonl...]
 * Without files: built-in typical answers and responses, beside a plain comparison of the normalised strings (what
 * hendrycks' is_equiv does) and the cost of memcmp. With files: rows with "gold", "pred", "form" of JSON Lines. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "core/log.h"
#include "rewards/rewards.h"

struct row {
    struct str gold, pred;
    enum math_form form, gold_form;
};

static double rate(struct math_checker *m, const struct row *r, int64_t n, double *worst_us, int64_t *right)
{
    struct math_opts o = MATH_OPTS_DEFAULT;
    struct math_result res;
    double best = 0;
    *worst_us = 0;
    for (int round = 0; round < 5; round++) {
        double t0 = clock_cpu();
        int64_t done = 0;
        *right = 0;
        do {
            for (int64_t i = 0; i < n; i++) {
                struct math_question q = {.gold = r[i].gold, .pred = r[i].pred, .gold_form = r[i].gold_form, .pred_form = r[i].form};
                math_check(m, &q, &o, &res);
                *right += res.outcome == MATH_RIGHT;
            }
            done += n;
        } while (clock_cpu() - t0 < 0.2);
        double v = (double)done / (clock_cpu() - t0);
        best = v > best ? v : best;
        *right = *right * n / done;
    }
    for (int64_t i = 0; i < n; i++) { /* the slowest row: best of five, so that a preemption does not count */
        double us = 1e9;
        for (int k = 0; k < 5; k++) {
            struct math_question q = {.gold = r[i].gold, .pred = r[i].pred, .gold_form = r[i].gold_form, .pred_form = r[i].form};
            double t = clock_now();
            math_check(m, &q, &o, &res);
            t = (clock_now() - t) * 1e6;
            us = t < us ? t : us;
        }
        *worst_us = us > *worst_us ? us : *worst_us;
    }
    return best;
}

static void line(const char *name, double per_s, double base, double worst_us, int64_t right, int64_t n)
{
    printf("%-34s %10.0f /s  %6.2fx  worst %8.1f us  right %lld of %lld\n", name, per_s, per_s / base, worst_us, (long long)right, (long long)n);
}

/* A string, or [[text, count], ...] joined. */
static int text_of(const json_t *q, const char *key, const char *gen, struct str *out)
{
    const json_t *g = json_object_get(q, gen), *piece;
    struct sbuf b;
    size_t i;
    if (json_need_str(q, key, out, NULL) == ERR_OK)
        return 1;
    if (!json_is_array(g))
        return 0;
    sbuf_init(&b, 64 << 20);
    json_array_foreach(g, i, piece) {
        const char *t = json_string_value(json_array_get(piece, 0));
        int64_t n = json_integer_value(json_array_get(piece, 1));
        while (t && n-- > 0)
            sbuf_adds(&b, t);
    }
    *out = sbuf_str(&b);
    return 1;
}

static struct row *load(const char *path, int64_t *n)
{
    FILE *f = fopen(path, "r");
    struct json_lines in;
    struct str s;
    int more = 1;
    int64_t cap = 0;
    struct row *r = NULL;
    *n = 0;
    if (!f)
        return NULL;
    json_lines_init(&in, f, path, 64 << 20);
    while (json_lines_next(&in, &s, &more, NULL) == ERR_OK && more) {
        json_t *q;
        struct str form = STR("answer"), gold_form = STR("answer");
        struct row x = {0};
        if (json_parse(s, &q, NULL) != ERR_OK)
            continue;
        if (text_of(q, "gold", "gold_gen", &x.gold) && text_of(q, "pred", "pred_gen", &x.pred)) {
            json_opt_str(q, "form", &form, NULL);
            json_opt_str(q, "gold_form", &gold_form, NULL);
            x.form = str_eq(form, STR("response"));
            x.gold_form = str_eq(gold_form, STR("response"));
            if (*n == cap)
                r = realloc(r, (size_t)(cap = cap ? 2 * cap : 1024) * sizeof *r);
            r[(*n)++] = x; /* q stays: the strings live in it */
        }
    }
    json_lines_release(&in);
    fclose(f);
    return r;
}

#define A(gold, pred) {{gold, sizeof gold - 1}, {pred, sizeof pred - 1}, MATH_ANSWER, MATH_ANSWER}
#define R(gold, pred) {{gold, sizeof gold - 1}, {pred, sizeof pred - 1}, MATH_RESPONSE, MATH_ANSWER}
#define WORDS "First we count the apples: 3 boxes with 14 apples each hold 3 * 14 = 42 apples. He eats 6 of them, so 42 - 6 = 36 are left. "

static const struct row responses[] = {
    R("36", WORDS "The answer is \\boxed{36}."), R("36", WORDS "#### 36"), R("36", WORDS "A: 36"), R("36", WORDS "So the final answer is $\\boxed{35}$."), R("1,800", WORDS WORDS "Therefore he pays \\$\\boxed{1800}."),
    R("\\frac{1}{2}", WORDS "Thus $\\boxed{\\frac{1}{2}}$"), R("2\\sqrt{3}", WORDS "Thus $\\boxed{\\sqrt{12}}$"), R("(3,4)", WORDS "The point is $\\boxed{(3, 4)}$."),
};
static const struct row integers[] = {A("36", "36"), A("1,234", "1234"), A("17", "18"), A("-5", "-5.0"), A("100", "1000"), A("42", "\\boxed{42}")};
static const struct row fractions[] = {A("\\frac{3}{4}", "0.75"), A("\\dfrac{7}{3}", "2\\frac{1}{3}"), A("\\frac{1}{2}", "\\frac{2}{4}"), A("0.125", "1/8"), A("\\frac{17}{2}", "\\frac{2}{17}")};
static const struct row symbolic[] = {A("x^2+2x+1", "(x+1)^2"), A("\\frac{2x-7}{5x-7}", "\\frac{2x}{5x-7}-\\frac{7}{5x-7}"), A("3n^2-18", "3(n^2-6)"), A("y=2x+1", "2x-y+1=0"), A("a+b", "a+c")};
static const struct row irrational[] = {A("6\\sqrt{2}", "\\sqrt{72}"), A("\\frac{\\pi}{2}", "0.5\\pi"), A("\\frac{1}{1+\\sqrt2}", "\\sqrt2-1"), A("\\sqrt{2}+\\sqrt{3}", "\\sqrt{5+2\\sqrt6}"), A("\\sin 30^\\circ", "\\frac12")};
static const struct row shapes[] = {A("[-2,5)", "-2\\le x<5"), A("\\{1,2,3\\}", "3,2,1"), A("(1,2)", "(2,1)"), A("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "(1,2)"), A("(-\\infty,2)\\cup(3,\\infty)", "x<2\\text{ or }x>3"), A("5\\text{ m}", "500 cm")};

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        const struct row *r;
        int64_t n;
    } sets[] = {
        {"responses, GSM8K and MATH like", responses, sizeof responses / sizeof *responses}, {"integers", integers, sizeof integers / sizeof *integers}, {"fractions and decimals", fractions, sizeof fractions / sizeof *fractions},
        {"polynomials, equations", symbolic, sizeof symbolic / sizeof *symbolic}, {"roots, constants", irrational, sizeof irrational / sizeof *irrational}, {"sets, intervals, matrices, units", shapes, sizeof shapes / sizeof *shapes},
    };
    struct math_checker *m = math_open();
    double worst, base = 0;
    int64_t right;
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        double v = rate(m, sets[i].r, sets[i].n, &worst, &right);
        base = base ? base : v;
        line(sets[i].name, v, base, worst, right, sets[i].n);
    }
    for (int i = 1; i < argc; i++) {
        int64_t n;
        struct row *r = load(argv[i], &n);
        if (!r || !n) {
            printf("%s: no rows\n", argv[i]);
            continue;
        }
        double v = rate(m, r, n, &worst, &right);
        const char *slash = strrchr(argv[i], '/');
        line(slash ? slash + 1 : argv[i], v, base, worst, right, n);
        free(r);
    }
    math_close(m);
    return 0;
}
