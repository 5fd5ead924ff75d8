/* How a step's samples become micro-batches. */
#ifndef HONE_GRPO_BATCH_H
#define HONE_GRPO_BATCH_H

#include <stdint.h>

#include "core/arena.h"
#include "model/model.h"

/* One sample as the loss sees it. */
struct grpo_sample {
    const int32_t *prompt, *ids; /* [n_prompt], [n] */
    int64_t n_prompt, n;
    const float *logp;           /* [n] from the rollout */
    const uint16_t *routes;      /* [n, model_route_width] from the rollout; NULL without experts */
    const float *ref;            /* [n] reference model, or NULL */
    double advantage;
    int masked;                  /* 1: gives no gradient (an overlong one), but is counted and checked */
    int64_t group;               /* samples of one prompt share it */
};

/* Ragged rows prompt + response, without the last token (nothing is predicted from it). Row r of the batch predicts target[r]; rows of
 * the prompt but the last have target -1. */
struct grpo_micro {
    struct model_batch b;
    const int32_t *target;       /* [n_tok] */
    const int32_t *sample;       /* [n_seq] index of the sample */
    const int32_t *first;        /* [n_seq] row that predicts the sample's first token */
};
struct grpo_leaf {
    int64_t n;
    struct grpo_micro *micro;    /* computed one after the other, gradients added in this order */
};

/* Deals samples out to leaves (longest first, to the leaf with the fewest tokens), then cuts each leaf into micro-batches of at most cap tokens
 * (a longer sample stands alone), samples in ascending order. det: a function of the lengths, leaves and cap. All in mem. */
struct grpo_leaf *grpo_cut(const struct grpo_sample *s, int64_t n, int64_t leaves, int64_t cap, struct arena *mem);
/* Most tokens and rows that a micro-batch of such a cut can have. */
int64_t grpo_cut_tokens(int64_t cap, int64_t longest);

#endif
