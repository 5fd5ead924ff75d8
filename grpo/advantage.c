#include "grpo/advantage.h"

#include <math.h>

struct moments {
    int64_t n;
    double mean, var; /* var: sum of squares around the mean / (n - ddof); 0 when n <= ddof */
};

/* Of the values that are not NaN, without the one at `skip` (-1: none). */
static struct moments moments(const double *x, int64_t n, int64_t skip, int ddof)
{
    struct moments m = {0};
    double sum = 0, sq = 0;
    for (int64_t i = 0; i < n; i++)
        if (i != skip && !isnan(x[i]))
            sum += x[i], m.n++;
    if (!m.n)
        return m;
    m.mean = sum / (double)m.n;
    for (int64_t i = 0; i < n; i++)
        if (i != skip && !isnan(x[i]))
            sq += (x[i] - m.mean) * (x[i] - m.mean);
    m.var = m.n > ddof ? sq / (double)(m.n - ddof) : 0;
    return m;
}

static double divisor(const struct grpo_adv_opts *o, double var)
{
    double d = o->eps_inside ? sqrt(var + o->eps) : sqrt(var) + o->eps;
    return d > 0 ? d : 1;
}

/* Whether the scored rewards but that at `skip` are all equal: a deviation of exactly 0, whatever rounding says. */
static int equal_but(const double *r, int64_t n, int64_t skip)
{
    double first = NAN;
    for (int64_t i = 0; i < n; i++) {
        if (i == skip || isnan(r[i]))
            continue;
        if (isnan(first))
            first = r[i];
        if (r[i] != first)
            return 0;
    }
    return 1;
}

/* One sample of a group with two or more scored ones. */
static double advantage_of(const struct grpo_adv_opts *o, const double *r, int64_t group, int64_t i, const struct moments *all)
{
    struct moments others = {0};
    if (o->baseline != GRPO_BASE_NONE && equal_but(r, group, -1))
        return 0;
    if (o->baseline == GRPO_BASE_LOO || o->scale == GRPO_SCALE_LOO_STD)
        others = moments(r, group, i, o->ddof);
    double a = r[i] - (o->baseline == GRPO_BASE_MEAN ? all->mean : o->baseline == GRPO_BASE_LOO ? others.mean : 0);
    if (o->scale == GRPO_SCALE_STD)
        a /= divisor(o, all->var);
    else if (o->scale == GRPO_SCALE_LOO_STD && !equal_but(r, group, i))
        a /= divisor(o, others.var);
    return a;
}

/* All samples of the step divided by the deviation of the centred rewards. Flat groups are 0 there and count. */
static void scale_batch(const struct grpo_adv_opts *o, const double *reward, double *adv, int64_t n)
{
    double sum = 0, sq = 0;
    int64_t scored = 0;
    for (int64_t i = 0; i < n; i++)
        if (!isnan(reward[i]))
            sum += adv[i], scored++;
    double mean = scored ? sum / (double)scored : 0;
    for (int64_t i = 0; i < n; i++)
        if (!isnan(reward[i]))
            sq += (adv[i] - mean) * (adv[i] - mean);
    double d = divisor(o, scored > o->ddof ? sq / (double)(scored - o->ddof) : 0);
    for (int64_t i = 0; i < n; i++)
        adv[i] /= d;
}

void grpo_advantage(const struct grpo_adv_opts *o, const double *reward, int64_t groups, int64_t group, double *adv, struct grpo_adv_stats *st)
{
    *st = (struct grpo_adv_stats){.groups = groups};
    for (int64_t g = 0; g < groups; g++) {
        const double *r = reward + g * group;
        struct moments all = moments(r, group, -1, o->ddof);
        for (int64_t i = 0; i < group; i++) {
            double *a = &adv[g * group + i];
            if (isnan(r[i]))
                *a = 0;
            else if (all.n == 1)
                *a = !o->single_reward ? 0 : o->scale == GRPO_SCALE_STD ? r[i] / divisor(o, 1) : r[i];
            else
                *a = advantage_of(o, r, group, i, &all);
        }
        st->scored += all.n;
        st->failed += group - all.n;
        st->tiny += all.n < 2;
        st->flat += all.n >= 2 && equal_but(r, group, -1);
    }
    struct moments every = moments(reward, groups * group, -1, 0);
    st->reward_mean = every.n ? every.mean : NAN;
    st->reward_std = every.n ? sqrt(every.var) : NAN;
    if (o->scale == GRPO_SCALE_BATCH_STD)
        scale_batch(o, reward, adv, groups * group);
}

double grpo_overlong(int64_t tokens, int cut, int64_t limit, int64_t cache)
{
    if (cache <= 0 || tokens <= limit - cache)
        return 0;
    if (tokens > limit || cut)
        return -1;
    return (double)(limit - cache - tokens) / (double)cache;
}

int grpo_flat(const double *reward, int64_t group)
{
    int64_t n = 0;
    for (int64_t i = 0; i < group; i++)
        n += !isnan(reward[i]);
    return n < 2 || equal_but(reward, group, -1);
}
