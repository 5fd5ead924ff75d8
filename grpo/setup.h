/* Opening and closing a GRPO job (private to grpo/). */
#ifndef HONE_GRPO_SETUP_H
#define HONE_GRPO_SETUP_H

#include "grpo/job.h"

err_code grpo_setup(struct grpo *g, const struct cfg *c, int resume, struct err *e);
/* The run's status by rc; frees all. Returns rc, or what failed while ending. */
err_code grpo_teardown(struct grpo *g, err_code rc, struct err *e);
/* Sampling and scoring alone, over g->j's model, tokenizer and store: rollout engine, rewards, held-out problems. */
err_code grpo_open_parts(struct grpo *g, struct err *e);
void grpo_close_parts(struct grpo *g);

/* Behind step: with grpo.ref_sync_every the reference becomes the policy. Its weights are kept under train.dir, so that a resume finds them. */
err_code grpo_sync_reference(struct grpo *g, int64_t step, struct err *e);

#endif
