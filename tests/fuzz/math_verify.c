/* Catches: a crash, a hang, undefined behaviour or a verdict that depends on anything but its input, for arbitrary bytes.
 * Input: gold and prediction separated by a zero byte; the first byte picks the forms and policies. */
#include <stdlib.h>
#include <string.h>

#include "rewards/rewards.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct math_checker *m;
    struct math_opts o = MATH_OPTS_DEFAULT;
    struct math_result r, again;
    if (!m)
        m = math_open();
    if (size < 2)
        return 0;
    unsigned bits = data[0];
    const char *p = (const char *)data + 1, *zero = memchr(p, 0, size - 1);
    int64_t n = (int64_t)size - 1, gn = zero ? zero - p : n / 2;
    struct str gold = {p, gn}, pred = {zero ? zero + 1 : p + gn, zero ? n - gn - 1 : n - gn};
    o.strict_box = bits >> 2 & 1;
    o.rounded_coarse = bits >> 3 & 1;
    o.decimal_comma = bits >> 4 & 1;
    o.list_unordered = !(bits >> 5 & 1);
    o.unevaluated = o.percent_x100 = o.dummy_variable = bits >> 6 & 1;
    o.unreduced = o.function_name = o.equation_chain = o.all_boxes = !(bits >> 7 & 1);
    struct math_question q = {.gold = gold, .pred = pred, .gold_form = bits & 1, .pred_form = bits >> 1 & 1, .explain = 1};
    math_check(m, &q, &o, &r);
    enum math_outcome first = r.outcome;
    int64_t work = r.work;
    if (!r.why || r.outcome >= MATH_OUTCOME_N)
        abort();
    if (size % 4 == 0) { /* a quarter of the inputs twice: more would only halve the rate */
        math_check(m, &q, &o, &again);
        if (first != again.outcome || work != again.work)
            abort();
    }
    q = (struct math_question){.gold = pred, .pred = pred};
    math_check(m, &q, &o, &again);
    if (again.outcome == MATH_WRONG && !memchr(pred.p, '\\', (size_t)pred.n))
        abort(); /* what can be read is equal to itself */
    return 0;
}
