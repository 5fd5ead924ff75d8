/* Group-relative policy optimisation, and evaluation by the same rewards.
 *
 *   for each step:  G samples of each prompt from pi;  rewards;  A = advantage within the group;
 *                   minimise sum_t w_t [ policy term(rho_t, A) + kl_coef k(d_t) - entropy_coef H_t ]
 * Formulas: grpo/advantage.h, grpo/loss.h; presets and what others do: docs/grpo.md.
 */
#ifndef HONE_GRPO_GRPO_H
#define HONE_GRPO_GRPO_H

#include "core/err.h"
#include "grpo/advantage.h"
#include "grpo/loss.h"
#include "grpo/options.h"
#include "script/script.h"

struct grpo_summary {
    int64_t steps, tokens;       /* of this call; tokens sampled */
    int64_t differing, compared; /* tokens whose trainer log-prob is not the rollout's (N3) */
    double reward;               /* mean of the last step */
    double first_pass1, last_pass1; /* held-out pass@1 before the first and after the last step; NaN without evaluation */
};
/* Runs c's job. resume: from the newest checkpoint of train.dir. ERR_CANCELLED on Ctrl-C, after a checkpoint. */
err_code grpo_run(const struct cfg *c, int resume, struct grpo_summary *out, struct err *e);

/* Samples eval.* problems from model.path, scores them and writes a run of kind "eval". */
struct grpo_eval_line {
    char name[24];               /* "pass@1", "maj@8", "reward", "length" */
    double value;
};
struct grpo_eval_result {
    int64_t problems, samples, n_lines;
    struct grpo_eval_line lines[64];
};
err_code grpo_eval_run(const struct cfg *c, struct grpo_eval_result *out, struct err *e);

/* Needle in a haystack: for each length (tokens of the prompt) and depth (share of the haystack before the needle), niah.samples prompts
 *   haystack[..depth] needle haystack[depth..] question
 * without a template, answered greedily by the rollout engine. Right: the answer, white space in front taken off, begins with the key and goes
 * on with no letter or digit. Each cell is a step of a run of kind "niah" (rollouts, and a figure "LENGTH@DEPTH"), so that a resume goes on
 * behind the last finished one. Writes niah.out.json and .svg at the end. det: the prompts are a function of (seed, length, depth, sample). */
enum { GRPO_NIAH_LENGTHS = 32, GRPO_NIAH_DEPTHS = 101 };
struct grpo_niah_result {
    int64_t n_lengths, n_depths, samples, length[GRPO_NIAH_LENGTHS];
    double depth[GRPO_NIAH_DEPTHS];                      /* 0 to 1 */
    double right[GRPO_NIAH_DEPTHS][GRPO_NIAH_LENGTHS];   /* share of a cell's samples */
    double mean;
};
err_code grpo_niah_run(const struct cfg *c, int resume, struct grpo_niah_result *out, struct err *e);

#endif
