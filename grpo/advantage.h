/* Group-relative advantages from rewards: arrays in, arrays out.
 *
 *   A[g,s] = (r[g,s] - b) / sd'
 *
 *   b    mean   mean of the group's scored samples
 *        loo    mean of the others in the group (RLOO)
 *        none   0
 *   sd   std        deviation of the group: sqrt(sum (r - mean)^2 / (n - ddof))
 *        loo_std    deviation of the others in the group, n - 1 of them; a deviation of 0 divides nothing (NeMo RL's rule)
 *        batch_std  deviation of all r - b of the step around their mean
 *        none       1
 *   sd'  sd + eps (outside) or sqrt(sd^2 + eps) (inside)
 *
 * A NaN reward is an infrastructure failure: left out of every mean and deviation, its advantage is 0, counted. A group whose scored
 * rewards are all equal gets exactly 0 (not rounding noise over eps). A group with one scored sample: 0, or (single_reward) as with
 * mean 0 and deviation 1.
 *
 * Ours (preset hone): mean, std, ddof 0, eps 1e-4 outside. ddof 0 because the group is the whole population that the baseline speaks of,
 * and A then has unit mean square for any group size; eps 1e-4 so that rewards that differ by rounding are not blown up to unit size,
 * while 0/1 rewards lose less than 0.1 %. docs/grpo.md has the settings that reproduce other programs.
 *
 * in    reward [groups, group] f64
 * out   adv    [groups, group] f64; must not overlap reward
 * mem   allocates nothing        det  f64 sums in index order        cost  O(groups * group)
 * src   Shao et al. 2024 (DeepSeekMath) section 4.1.2; Kool et al. 2019 (leave-one-out); research notes in docs/grpo.md
 * test  tests/unit/grpo_loss.c against tools/parity/grpo_golden.py
 */
#ifndef HONE_GRPO_ADVANTAGE_H
#define HONE_GRPO_ADVANTAGE_H

#include <stdint.h>

#include "core/cdecl.h"

CDECL_BEGIN

/* In the order of the choices of grpo.baseline and grpo.scale. */
enum grpo_baseline { GRPO_BASE_MEAN, GRPO_BASE_LOO, GRPO_BASE_NONE };
enum grpo_scale { GRPO_SCALE_STD, GRPO_SCALE_LOO_STD, GRPO_SCALE_BATCH_STD, GRPO_SCALE_NONE };

struct grpo_adv_opts {
    enum grpo_baseline baseline;
    enum grpo_scale scale;
    int ddof;           /* 0 or 1 */
    double eps;
    int eps_inside;
    int single_reward;
};

struct grpo_adv_stats {
    int64_t scored, failed;     /* samples with a reward; with NaN */
    int64_t groups, flat, tiny; /* groups; with all scored rewards equal; with fewer than 2 scored */
    double reward_mean, reward_std; /* of the scored samples, ddof 0; NaN when there is none */
};

void grpo_advantage(const struct grpo_adv_opts *o, const double *reward, int64_t groups, int64_t group, double *adv, struct grpo_adv_stats *st);

/* 1 when a group teaches nothing: fewer than 2 scored rewards, or all equal. What dynamic sampling replaces. */
int grpo_flat(const double *reward, int64_t group);

/* Soft overlong penalty, in [-1, 0]: 0 up to limit - cache tokens, then falling linearly, -1 from `limit` on when the response was cut.
 *   |y| <= L - C: 0     L - C < |y| <= L: ((L - C) - |y|) / C     |y| > L: -1
 * A response that was cut at `limit` counts as longer than it. cache 0: 0. src: Yu et al. 2025 (DAPO), equation 13 */
double grpo_overlong(int64_t tokens, int cut, int64_t limit, int64_t cache);

CDECL_END

#endif
