/* Supervised fine-tuning: weighted next-token cross-entropy over packed rows.
 *
 *   L = sum_t w_t (-log pi(x_t | x_<t)) / sum_t w_t      both sums over the whole step, whatever its micro-batches (N5)
 *
 * Models with MTP modules (model.h) learn L + lambda / D sum_k L_k as well, lambda = train.mtp_weight, where
 *   L_k = sum_t w_t (-log p_k(x_t)) / sum_t w_t          over the x_t that module k predicts: DeepSeek-V3's equations 24 and 25
 * The masks are the main loss's; the metric "loss" is L alone, "mtp_loss" the mean of the L_k.
 * w_t are the rows' loss weights (datasets/: 1 on assistant tokens, 0 elsewhere, unless the data says otherwise).
 */
#ifndef HONE_SFT_SFT_H
#define HONE_SFT_SFT_H

#include "core/err.h"
#include "script/script.h"

struct sft_result {
    int64_t steps, tokens;   /* of this call */
    double loss;             /* of the last step */
};

/* Runs c's job to the end. resume: go on from the newest checkpoint of train.dir. ERR_CANCELLED on Ctrl-C, after a checkpoint. */
err_code sft_run(const struct cfg *c, int resume, struct sft_result *out, struct err *e);

#endif
