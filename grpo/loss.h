/* The policy loss of one sequence and its exact derivative by every token's log-prob: arrays in, arrays out.
 *
 * With m the tokens of the sequence that count, n their number, D_t = logp_t - old_t:
 *   rho_t  token         exp(D_t)
 *          sequence      exp(1/n sum_m D)      the same for all tokens (GSPO)
 *          sequence_sum  exp(sum_m D)          the same for all tokens (whole-sequence ratio)
 *   l_t    clip       -min(rho A, clamp(rho, 1 - low, 1 + high) A); with dual_clip c and A < 0: at most -c A
 *          cispo      -sg(clamp(rho, 1 - low, 1 + high)) A logp_t      (sg: a constant in the derivative)
 *          reinforce  -A logp_t
 *   d_t    = logp_t - ref_t;   k1 = d    k2 = d^2 / 2    k3 = exp(-d) - 1 + d
 *   L      = sum_t w_t (l_t + kl_coef k(d_t) - entropy_coef H_t)       for sequence_sum, l is counted once with weight w
 *   w_t    token_mean 1 / N    seq_mean 1 / (B n)    seq_sum 1 / B    constant 1 / (B C)
 * N, B: tokens and sequences that count in the whole optimiser step (grpo_count), known before the first backward, so the loss does not
 * depend on how the step is cut into micro-batches, leaves or ranks. C: constant_length.
 *
 * dL/dlogp_t: clip: -w rho A where the unclipped branch is the active one, else 0 (one formula for all three ratios: for a sequence ratio
 * the derivative reaches each token of the sequence with rho A w_t). k1: 1, k2: d, k3: 1 - exp(-d).
 *
 * A `masked` sequence (cut by the length limit, failed) gives no gradient and does not count in N and B.
 * f64 inside, results rounded to f32 once. Own exp: the same bits on every machine. Allocates nothing.
 * det   a function of the arguments; sums in token order
 * src   Schulman et al. 2017 (clip); Ye et al. 2020 (dual clip); Shao et al. 2024 (k3, seq_mean); Yu et al. 2025 (token_mean, two bounds);
 *       Liu et al. 2025 (constant); Zheng et al. 2025 (sequence); MiniMax 2025 (cispo); Schulman, "Approximating KL divergence" (k1, k2, k3)
 * test  tests/unit/grpo_loss.c: golden vectors of tools/parity/grpo_golden.py and finite differences
 */
#ifndef HONE_GRPO_LOSS_H
#define HONE_GRPO_LOSS_H

#include <stdint.h>

#include "core/cdecl.h"

CDECL_BEGIN

/* In the order of the choices of grpo.loss, grpo.level, grpo.kl_kind and grpo.aggregate. */
enum grpo_kind { GRPO_CLIP, GRPO_CISPO, GRPO_REINFORCE };
enum grpo_level { GRPO_TOKEN, GRPO_SEQUENCE, GRPO_SEQUENCE_SUM };
enum grpo_kl { GRPO_K1, GRPO_K2, GRPO_K3 };
enum grpo_aggregate { GRPO_TOKEN_MEAN, GRPO_SEQ_MEAN, GRPO_SEQ_SUM, GRPO_CONSTANT };

struct grpo_loss_opts {
    enum grpo_kind kind;
    enum grpo_level level;
    double clip_low, clip_high, dual_clip; /* dual_clip 0 = off */
    double kl_coef;                        /* of the KL in the loss; 0 = none */
    enum grpo_kl kl_kind;
    enum grpo_aggregate aggregate;
    double constant_length;                /* C, tokens */
    double entropy_coef;
};

/* What the step's weights are normalised by. */
struct grpo_count {
    int64_t tokens, seqs;
};
/* Adds one sequence; mask [n] (NULL: all tokens count). Sequences without a counting token do not count. */
void grpo_count_add(struct grpo_count *c, const uint8_t *mask, int64_t n, int masked);

struct grpo_seq {
    int64_t n;              /* response tokens */
    const float *logp;      /* [n] nats, the policy now */
    const float *old;       /* [n] the policy that sampled */
    const float *ref;       /* [n] the reference, or NULL: then kl_coef must be 0 */
    const float *entropy;   /* [n] nats, or NULL: then entropy_coef must be 0 */
    const uint8_t *mask;    /* [n] 1: counts; NULL: all */
    double advantage;
    int masked;             /* 1: no gradient */
    float *g;               /* out [n] dL/dlogp; every element is written */
    float *ge;              /* out [n] dL/dentropy, or NULL */
};

/* Sums over what was added; merge in a fixed order. Finished figures: GRPO_FIGURES. */
struct grpo_stats {
    double loss, loss_policy, loss_kl, loss_entropy; /* weighted as in L */
    double ratio, ratio_min, ratio_max;              /* sum, extremes over counting tokens */
    double kl_old;                                   /* sum of exp(D) - 1 - D >= 0: k3 of the sampling policy against this one */
    double kl_ref, entropy, logp;                    /* sums; kl_ref of the chosen kind */
    int64_t tokens, seqs, masked;                    /* counting tokens, sequences; masked sequences */
    int64_t clip_low, clip_high, dual;               /* tokens without a policy gradient (cispo: with a cut weight), by bound */
    int64_t differing;                               /* tokens, masked ones too, whose logp and old differ in any bit */
    int64_t compared;
};
void grpo_stats_init(struct grpo_stats *s);
void grpo_stats_merge(struct grpo_stats *into, const struct grpo_stats *from);

/* Name and value of a finished figure, for the store and the log line; the expressions read `const struct grpo_stats *s`. */
#define GRPO_FIGURES(X)                                                  \
    X("loss", s->loss)                                                   \
    X("loss_policy", s->loss_policy)                                     \
    X("loss_kl", s->loss_kl)                                             \
    X("loss_entropy", s->loss_entropy)                                   \
    X("ratio_mean", s->ratio / grpo_least(s->tokens))                    \
    X("ratio_min", s->tokens ? s->ratio_min : 1)                         \
    X("ratio_max", s->tokens ? s->ratio_max : 1)                         \
    X("clip_low_fraction", (double)s->clip_low / grpo_least(s->tokens))  \
    X("clip_high_fraction", (double)s->clip_high / grpo_least(s->tokens)) \
    X("dual_clip_fraction", (double)s->dual / grpo_least(s->tokens))     \
    X("kl_old", s->kl_old / grpo_least(s->tokens))                       \
    X("kl_ref", s->kl_ref / grpo_least(s->tokens))                       \
    X("entropy", s->entropy / grpo_least(s->tokens))                     \
    X("logp_mean", s->logp / grpo_least(s->tokens))                      \
    X("tokens", (double)s->tokens)                                       \
    X("masked", (double)s->masked)                                       \
    X("differing_tokens", (double)s->differing)

static inline double grpo_least(int64_t n)
{
    return n ? (double)n : 1;
}

/* The loss terms and gradients of one sequence; adds to st. */
void grpo_loss(const struct grpo_loss_opts *o, const struct grpo_count *norm, const struct grpo_seq *s, struct grpo_stats *st);

/* KL to the reference of one sequence, sum over its counting tokens: what kl_in = reward takes from the reward (times kl_coef). */
double grpo_kl_sum(enum grpo_kl kind, const float *logp, const float *ref, const uint8_t *mask, int64_t n);

CDECL_END

#endif
