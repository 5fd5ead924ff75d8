#include "grpo/loss.h"

#include <assert.h>
#include <math.h>
#include <string.h>

void grpo_count_add(struct grpo_count *c, const uint8_t *mask, int64_t n, int masked)
{
    int64_t counting = 0;
    for (int64_t t = 0; t < n && !masked; t++)
        counting += !mask || mask[t];
    c->tokens += counting;
    c->seqs += counting > 0;
}

/* exp(x) - 1 - x by its series, for |x| <= 0.35: no cancellation where k3 lives. Relative error below 1e-15. */
static double series2(double x)
{
    double s = 1;
    for (int k = 17; k >= 3; k--)
        s = 1 + s * x / k;
    return x * x / 2 * s;
}

/* exp from IEEE operations alone: x = k ln 2 + r, |r| <= ln 2 / 2. libm's picks a variant by the chip. 2 ulp. */
static double exp64(double x)
{
    if (isnan(x))
        return x;
    if (x > 709.7)
        return INFINITY;
    if (x < -745.2)
        return 0;
    double k = floor(x * 1.4426950408889634 + 0.5);
    double r = (x - k * 6.93147180369123816490e-01) - k * 1.90821492927058770002e-10; /* ln 2 in two parts: the first product is exact */
    return ldexp(1 + (r + series2(r)), (int)k);
}

/* exp(x) - 1 - x >= 0 */
static double exp_less_line(double x)
{
    return fabs(x) <= 0.35 ? series2(x) : exp64(x) - 1 - x;
}

static double exp_less_one(double x)
{
    return fabs(x) <= 0.35 ? x + series2(x) : exp64(x) - 1;
}

static double kl_value(enum grpo_kl kind, double d)
{
    return kind == GRPO_K1 ? d : kind == GRPO_K2 ? d * d / 2 : exp_less_line(-d);
}

static double kl_slope(enum grpo_kl kind, double d)
{
    return kind == GRPO_K1 ? 1 : kind == GRPO_K2 ? d : -exp_less_one(-d);
}

static int counts(const uint8_t *mask, int64_t t)
{
    return !mask || mask[t];
}

double grpo_kl_sum(enum grpo_kl kind, const float *logp, const float *ref, const uint8_t *mask, int64_t n)
{
    double sum = 0;
    for (int64_t t = 0; t < n; t++)
        if (counts(mask, t))
            sum += kl_value(kind, (double)logp[t] - (double)ref[t]);
    return sum;
}

void grpo_stats_init(struct grpo_stats *s)
{
    *s = (struct grpo_stats){.ratio_min = INFINITY, .ratio_max = -INFINITY};
}

void grpo_stats_merge(struct grpo_stats *into, const struct grpo_stats *from)
{
    into->loss += from->loss;
    into->loss_policy += from->loss_policy;
    into->loss_kl += from->loss_kl;
    into->loss_entropy += from->loss_entropy;
    into->ratio += from->ratio;
    into->ratio_min = fmin(into->ratio_min, from->ratio_min);
    into->ratio_max = fmax(into->ratio_max, from->ratio_max);
    into->kl_old += from->kl_old;
    into->kl_ref += from->kl_ref;
    into->entropy += from->entropy;
    into->logp += from->logp;
    into->tokens += from->tokens;
    into->seqs += from->seqs;
    into->masked += from->masked;
    into->clip_low += from->clip_low;
    into->clip_high += from->clip_high;
    into->dual += from->dual;
    into->differing += from->differing;
    into->compared += from->compared;
}

/* What one ratio makes of the policy term: its value, and dl/dlogp as if the ratio's derivative were the ratio. */
struct term {
    double value, slope;
    int low, high, dual; /* which bound took the gradient (cispo: cut the weight) */
};

static struct term policy_term(const struct grpo_loss_opts *o, double rho, double a, double logp)
{
    double lo = 1 - o->clip_low, hi = 1 + o->clip_high;
    double cut = rho < lo ? lo : rho > hi ? hi : rho;
    if (o->kind == GRPO_REINFORCE)
        return (struct term){.value = -a * logp, .slope = -a};
    if (o->kind == GRPO_CISPO)
        return (struct term){.value = -cut * a * logp, .slope = -cut * a, .low = rho < lo, .high = rho > hi};
    if (o->dual_clip > 0 && a < 0 && rho > o->dual_clip)
        return (struct term){.value = -o->dual_clip * a, .dual = 1};
    if (a > 0 && rho > hi)
        return (struct term){.value = -hi * a, .high = 1};
    if (a < 0 && rho < lo)
        return (struct term){.value = -lo * a, .low = 1};
    return (struct term){.value = -rho * a, .slope = -rho * a};
}

/* w_t: the same for every counting token of a sequence. */
static double weight(const struct grpo_loss_opts *o, const struct grpo_count *norm, int64_t n)
{
    switch (o->aggregate) {
    case GRPO_TOKEN_MEAN: return 1 / (double)norm->tokens;
    case GRPO_SEQ_MEAN: return 1 / ((double)norm->seqs * (double)n);
    case GRPO_SEQ_SUM: return 1 / (double)norm->seqs;
    case GRPO_CONSTANT: return 1 / ((double)norm->seqs * o->constant_length);
    }
    return 0;
}

static void compare_bits(const struct grpo_seq *s, struct grpo_stats *st)
{
    for (int64_t t = 0; t < s->n; t++)
        st->differing += memcmp(&s->logp[t], &s->old[t], sizeof(float)) != 0;
    st->compared += s->n;
}

/* Counting tokens and the sum of their log-ratios. */
static int64_t count_ratio(const struct grpo_seq *s, double *sum)
{
    int64_t n = 0;
    *sum = 0;
    for (int64_t t = 0; t < s->n; t++)
        if (counts(s->mask, t))
            *sum += (double)s->logp[t] - (double)s->old[t], n++;
    return n;
}

static void observe(struct grpo_stats *st, const struct term *p, double rho, double log_ratio)
{
    st->ratio += rho;
    st->ratio_min = fmin(st->ratio_min, rho);
    st->ratio_max = fmax(st->ratio_max, rho);
    st->kl_old += exp_less_line(log_ratio);
    st->clip_low += p->low;
    st->clip_high += p->high;
    st->dual += p->dual;
}

void grpo_loss(const struct grpo_loss_opts *o, const struct grpo_count *norm, const struct grpo_seq *s, struct grpo_stats *st)
{
    double sum, policy = 0, kl = 0, entropy = 0;
    assert(s->ref || o->kl_coef == 0);
    assert(s->entropy || o->entropy_coef == 0);
    compare_bits(s, st);
    memset(s->g, 0, (size_t)s->n * sizeof *s->g);
    if (s->ge)
        memset(s->ge, 0, (size_t)s->n * sizeof *s->ge);
    int64_t n = count_ratio(s, &sum);
    st->masked += s->masked != 0;
    if (s->masked || n == 0)
        return;
    double w = weight(o, norm, n);
    double whole = exp64(o->level == GRPO_SEQUENCE ? sum / (double)n : sum);
    for (int64_t t = 0; t < s->n; t++) {
        if (!counts(s->mask, t))
            continue;
        double logp = s->logp[t], log_ratio = logp - (double)s->old[t], rho = o->level == GRPO_TOKEN ? exp64(log_ratio) : whole;
        struct term p = policy_term(o, rho, s->advantage, logp);
        double slope = p.slope;
        /* one ratio for the whole sequence: its value counts once, not once per token */
        policy += o->level == GRPO_SEQUENCE_SUM && o->kind == GRPO_CLIP ? p.value / (double)n : p.value;
        if (s->ref) {
            double d = logp - (double)s->ref[t];
            kl += kl_value(o->kl_kind, d);
            slope += o->kl_coef * kl_slope(o->kl_kind, d);
        }
        if (s->entropy)
            entropy += (double)s->entropy[t];
        s->g[t] = (float)(w * slope);
        if (s->ge)
            s->ge[t] = (float)(-w * o->entropy_coef);
        st->logp += logp;
        observe(st, &p, rho, log_ratio);
    }
    st->tokens += n;
    st->seqs++;
    st->kl_ref += kl;
    st->entropy += entropy;
    st->loss_policy += w * policy;
    st->loss_kl += w * o->kl_coef * kl;
    st->loss_entropy -= w * o->entropy_coef * entropy;
    st->loss += w * (policy + o->kl_coef * kl - o->entropy_coef * entropy);
}
