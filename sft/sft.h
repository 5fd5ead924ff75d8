/* Supervised fine-tuning: weighted next-token cross-entropy over packed rows.
 *
 *   L = sum_t w_t (-log pi(x_t | x_<t)) / sum_t w_t      both sums over the whole step, whatever its micro-batches (N5)
 *
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
