/* The math verifier: is this the right answer?
 *
 *   struct math_checker *m = math_open();                       one per thread
 *   struct math_question q = {.gold = gold, .pred = response, .pred_form = MATH_RESPONSE};
 *   struct math_opts o = MATH_OPTS_DEFAULT;
 *   struct math_result r;
 *   math_check(m, &q, &o, &r);                                  r.outcome, r.why
 *   math_close(m);
 *
 * How equality is decided, in this order:
 *   1. the same tokens after clean-up;
 *   2. exact rational arithmetic (GMP's mpn layer, sizes bounded before each call);
 *   3. rational functions, i and opaque function values: evaluation at seeded points of F_p[i], p = 2^61 - 1
 *      (Schwartz 1980, Zippel 1979: a wrong "equal" has probability < degree / 2^61), cross-checked by 4;
 *   4. everything else: complex ball arithmetic at seeded points, at rising precision. Disjoint balls prove that
 *      two answers differ; balls that still overlap at the last precision count as equal.
 * No float is ever compared with a tolerance.
 *
 * det:   the result is a function of the strings and the options: no clock, no locale, no thread, no address.
 * cost:  1-10 us for a typical answer; work, memory, depth and size are bounded by counted operations.
 * alloc: none after math_open; all strings in a result live in the checker until its next call.
 * src:   the policies and their labels are described in docs/math-verifier.md.
 */
#ifndef HONE_REWARDS_MATH_H
#define HONE_REWARDS_MATH_H

#include <stdint.h>

#include "core/cdecl.h"
#include "core/err.h"
#include "core/str.h"

CDECL_BEGIN

/* name, what it means. An infrastructure failure is never `wrong`. */
#define MATH_OUTCOME_LIST(X)                                                              \
    X(RIGHT, "right", "equal to the gold answer")                                         \
    X(WRONG, "wrong", "shown to differ, or not an answer of the gold's kind")             \
    X(UNPARSABLE, "unparsable", "nothing in the prediction could be read as an answer")   \
    X(GOLD_UNPARSABLE, "gold_unparsable", "the data's fault: the gold answer is empty or garbage") \
    X(TIMEOUT, "timeout", "the work budget ran out before a decision")

enum math_outcome {
#define X(name, text, meaning) MATH_##name,
    MATH_OUTCOME_LIST(X)
#undef X
    MATH_OUTCOME_N
};

const char *math_outcome_name(enum math_outcome o); /* "right" */

enum math_form {
    MATH_ANSWER,   /* the whole string is the answer */
    MATH_RESPONSE, /* the answer has to be found in it */
};

/* Policies: what is a matter of taste. name, default, meaning of 1. */
#define MATH_POLICY_LIST(X)                                                                                        \
    X(percent_loose, 1, "a gold with % accepts the bare number and the fraction, a bare gold accepts the same number with %") \
    X(rounded, 1, "a gold without a finite decimal form accepts its decimal correct to >= 6 digits")               \
    X(rounded_coarse, 0, "such a gold accepts any correct rounding to >= 3 digits, and a decimal gold a value that rounds to it") \
    X(interval_inequality, 1, "the interval [a,b) equals a <= x < b, in both directions")                           \
    X(unit_optional, 1, "a missing unit is forgiven on either side; another unit never is, unless it converts")     \
    X(list_unordered, 1, "comma lists and sets are compared without order; tuples never are")                       \
    X(set_duplicates, 1, "repeated members of a set or list count once")                                            \
    X(set_vs_tuple, 0, "(1,3) equals {1,3} in any order")                                                           \
    X(label_optional, 1, "x = 5 equals 5; an equation is never equal to its right side")                            \
    X(vector_row, 1, "a column or row matrix equals the tuple or list of its entries")                              \
    X(degree_radian, 1, "45 degrees equals pi/4")                                                                   \
    X(integration_constant, 1, "a missing + C is forgiven")                                                         \
    X(parametric, 1, "the name of an integer parameter and its side condition do not matter")                       \
    X(modular, 1, "7 (mod 12) accepts 7")                                                                           \
    X(approx_tail, 1, "in a = b ~ c the part after the approximation sign is a comment")                            \
    X(word_numbers, 1, "five equals 5")                                                                             \
    X(decimal_comma, 1, "a gold with a decimal point accepts the same digits with a comma: 2.5 and 2,5")             \
    X(percent_x100, 0, "a bare number equals 100 times itself: 0.75 and 75")                                         \
    X(unit_convert, 1, "5 m equals 500 cm; off: only the unit of the gold, whatever its spelling")                   \
    X(unreduced, 1, "6/8 equals 3/4; off: a fraction must be in lowest terms where the gold's is")                   \
    X(comb_notation, 1, "C_n^k, C(n,k), P_n^k and A_n^k are numbers of combinations and arrangements")               \
    X(clock_24h, 1, "3:45 p.m. equals 15:45")                                                                        \
    X(function_name, 1, "y = 2x equals f(x) = 2x")                                                                   \
    X(dummy_variable, 0, "f(x) = x^2 equals f(t) = t^2")                                                             \
    X(empty_words, 1, "no solution, none, does not exist in words equal their signs")                                \
    X(thousands_space, 1, "1 234 is one number")                                                                     \
    X(equation_chain, 1, "x = 4/6 = 2/3 is 2/3 when its members agree; off: it is no value")                         \
    X(all_boxes, 1, "responses: neighbouring boxes are one list, right when the gold has them all; off: the last box counts") \
    X(think_boxes, 0, "responses: what stands in a thinking block counts as well")                                   \
    X(strict_box, 0, "responses: only the content of the last box counts (for RL with a box in the prompt)")        \
    X(unevaluated, 0, "a finite sum or product, gcd, lcm or determinant left standing equals its value; integrals, limits and derivatives never do")

/* The rules that find an answer in a response, in their usual order. name, text, what it takes. */
#define MATH_RULE_LIST(X)                                                                             \
    X(BOX, "box", "the last \\boxed, \\fbox or \\framebox")                                     \
    X(TAG, "tag", "<answer> ... </answer>")                                                           \
    X(HASHES, "hashes", "#### 18")                                                                    \
    X(PHRASE, "phrase", "the answer is ..., Answer: ..., and the same in other languages")            \
    X(WHOLE, "whole", "a short text that reads as mathematics to its end")                            \
    X(LAST, "last", "the last formula (reported as maths), or the last number behind it (number)")

enum math_rule {
    MATH_RULE_NONE,
#define X(name, text, meaning) MATH_RULE_##name,
    MATH_RULE_LIST(X)
#undef X
    MATH_RULE_N
};

struct math_opts {
#define X(name, def, meaning) unsigned name : 1;
    MATH_POLICY_LIST(X)
#undef X
    uint8_t rules[MATH_RULE_N]; /* enum math_rule in the order wanted, ended by NONE; none at all: the usual order */
};

#define MATH_OPT_INIT_(name, def, meaning) .name = def,
#define MATH_OPTS_DEFAULT ((struct math_opts){MATH_POLICY_LIST(MATH_OPT_INIT_)})

/* Switches as words: "no-rounded, set_vs_tuple, rules=phrase>box". ERR_USAGE for a word that is none, with its name. */
err_code math_opts_set(struct math_opts *o, struct str words, struct err *e);
err_code math_opts_rules(struct math_opts *o, struct str rules, struct err *e); /* "phrase>box>last"; empty: the usual order */

struct math_question {
    struct str gold, pred;                /* borrowed; any bytes */
    enum math_form gold_form, pred_form;
    int explain;                          /* also render gold_parsed and pred_parsed (costs time) */
};

struct math_result {
    enum math_outcome outcome;
    const char *rule;                     /* how the answer was found: "box", "hashes", "phrase", ... (a literal) */
    const char *why;                      /* the deciding step, in words (lives in the checker) */
    struct str extracted;                 /* the part of pred that was compared */
    struct str gold_parsed, pred_parsed;  /* what was read, as an S-expression; empty unless asked */
    int64_t work;                         /* operations counted */
};

struct math_checker;
struct math_checker *math_open(void);
void math_close(struct math_checker *m);
void math_check(struct math_checker *m, const struct math_question *q, const struct math_opts *o, struct math_result *r);

/* Extraction alone: the answer inside a response and the rule that found it ("none"). Lives until the next call. */
struct str math_extract(struct math_checker *m, struct str text, const struct math_opts *o, const char **rule);

CDECL_END

#endif
