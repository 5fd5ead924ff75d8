#include "train/train.h"

/* cos(pi p) for p in [0,1] from IEEE operations alone: libm's cos may differ in the last bit between machines, and
 * with it every weight. -sin(pi (p - 1/2)) by its Taylor series to x^21; |x| <= pi/2, error below 1e-16. */
static double cos_pi(double p)
{
    double x = 3.141592653589793238462643 * (p - 0.5), x2 = x * x, sum = 0;
    for (int k = 21; k >= 3; k -= 2)
        sum = (1 + sum) * (-x2 / (double)(k * (k - 1)));
    return -x * (1 + sum);
}

double train_lr(const struct train_opts *o, int64_t step)
{
    int64_t k = step - 1, hold_end = o->warmup + o->hold;
    assert(step >= 1);
    if (k < o->warmup)
        return o->lr * (double)step / (double)o->warmup;
    if (o->schedule == TRAIN_CONSTANT || k < hold_end || o->steps <= hold_end)
        return o->lr;
    double p = k >= o->steps ? 1.0 : (double)(k - hold_end) / (double)(o->steps - hold_end);
    double shape = o->schedule == TRAIN_COSINE ? 0.5 * (1 + cos_pi(p)) : 1 - p;
    return o->lr_min + (o->lr - o->lr_min) * shape;
}
