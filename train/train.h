/* The trainer: optimiser state, schedule, clipping, the gradient tree, checkpoints, resume and the live line.
 * It does not know where a loss came from. One step of any job:
 *
 *   train_begin(t);
 *   for (i = 0; i < t->opts.leaves; i++) {            leaf i: micro-batch i of the plan
 *       float *grad = train_leaf(t);                  [t->n_grad] f32, to be written; parameter p at grad + t->offset[p]
 *       ... backward, adding into grad ...
 *       train_leaf_done(t);                           or train_leaf_absent(t) when the plan gave it nothing
 *   }
 *   train_end(t, loss, &step, e);                     norm, check, clip, AdamW, refresh; ERR_DIVERGED: refused
 *   if (train_due(t)) train_save(t, cursor, e);
 *
 * The loss must be normalised by the global token (or sequence) count before the backward (N5): the tree only adds.
 *
 *   g     = tree sum of the leaves;  norm = sqrt(sum g^2);  c = min(1, clip / norm)   (clip 0: no clipping); parameters apart have a c of their own
 *   m     = beta1 m + (1 - beta1) c g;     v = beta2 v + (1 - beta2) (c g)^2
 *   w     = w - lr wd w - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)     wd on decaying parameters only
 *   src: Loshchilov & Hutter 2019, algorithm 2
 *
 * det  same bytes for any thread count and any partition of the leaves over ranks
 * mem  moments 2 x n (f32 or bf16) + (log2(leaves) + 1) x n gradients, allocated by train_open; a step allocates nothing
 */
#ifndef HONE_TRAIN_TRAIN_H
#define HONE_TRAIN_TRAIN_H

#include <stdint.h>

#include "core/arena.h"
#include "core/cdecl.h"
#include "core/err.h"
#include "core/str.h"
#include "train/ckpt.h"
#include "train/tree.h"

CDECL_BEGIN

enum train_schedule { TRAIN_CONSTANT, TRAIN_COSINE, TRAIN_LINEAR };
enum train_moments { TRAIN_F32, TRAIN_BF16 };

struct train_opts {
    int64_t steps;                  /* optimiser steps of the whole run */
    int64_t leaves;                 /* micro-batches per step; a power of two */
    double lr, lr_min;              /* peak, and where the decay ends */
    int64_t warmup, hold;           /* steps: linear rise to lr; then at lr before the decay begins */
    enum train_schedule schedule;
    double beta1, beta2, eps, weight_decay;
    double clip;                    /* global gradient norm; 0 = off */
    enum train_moments moments;
    uint64_t seed;                  /* stochastic rounding of bf16 moments */
    const char *dir;                /* run folder; "" = no checkpoints */
    int64_t save_every, keep;       /* steps between checkpoints (0: only at the end); newest K kept (0: all) */
    int64_t log_every;              /* steps between plain lines; a terminal gets every step */
};

/* Learning rate of step 1..steps:
 *   step <= warmup            lr step / warmup
 *   then `hold` steps         lr
 *   then, to the last step    lr_min + (lr - lr_min) s(p),  p = (step-1 - warmup - hold) / (steps - warmup - hold)
 *                             s = 1 (constant) | (1 + cos(pi p)) / 2 (cosine) | 1 - p (linear)
 * det: IEEE operations only, no libm */
double train_lr(const struct train_opts *o, int64_t step);

struct train_param {
    const char *name;               /* as in the safetensors file */
    float *w;                       /* [n] f32 master weights, owned by the model */
    int64_t n;
    int decay;                      /* weight decay applies (matrices, not norms and biases) */
    int apart;                      /* clipped by the norm of those apart: the others are trained as if these were not there. The last ones */
};

/* What the trainer asks of a model. ctx is passed back. */
struct train_target {
    struct kern *k;                 /* whose memory w is; NULL: the host's */
    const struct train_param *params; /* borrowed until train_close; same order in every run */
    int64_t n_params;
    void *ctx;
    void (*refresh)(void *ctx);       /* weights changed: renew low-precision copies; may be NULL */
    err_code (*save)(void *ctx, const char *dir, struct err *e); /* write the Hugging Face folder, f32 */
};

struct train_step {
    int64_t step;                   /* 1 for the first */
    double loss, lr, grad_norm, clip_scale;
};

struct train {
    struct train_opts opts;
    struct train_target target;
    int64_t n_grad;                 /* floats of a gradient buffer */
    int64_t n_main;                 /* of them before the parameters apart */
    int64_t *offset;                /* [n_params] in floats; multiples of 32 */
    int64_t step;                   /* steps done */
    struct train_tree tree;
    struct arena mem, io;           /* the state; what one save or load needs */
    struct kern *device;            /* target.k when its memory is not the host's, else NULL: then gradients and moments are there too */
    void *there;                    /* all of that, one allocation */
    void *m, *v;                    /* moments [n_grad] f32 or bf16 */
    double *block_sum;              /* [n_blocks] squares of the gradient in fixed blocks */
    int64_t run, attempt;           /* ids for the checkpoint; set by the job */
    struct str config, code;        /* for the checkpoint; borrowed; set by the job */
    int lock_fd;                    /* -1 without a folder */
    double began;                   /* for rate and time left */
    int64_t began_step;
    double shown;
};

/* Takes the run folder's lock (ERR_BUSY when another process trains there) and plans the memory. */
err_code train_open(struct train *t, const struct train_opts *opts, const struct train_target *target, struct err *e);
void train_close(struct train *t);

/* Where a job starts. resume = 0: ERR_USAGE when the folder holds a checkpoint already. resume = 1: newest complete
 * checkpoint, every byte verified (ERR_MISMATCH when damaged); path[0] = 0 when there is none yet: start at step 0.
 * Call before opening the model, open the model from `path`, then train_open and train_load. */
err_code train_find(const char *dir, int resume, char path[PATH_MAX], struct err *e);
/* Moments and counters from a checkpoint; info (in t->io, until the next save) has cursor and config. */
err_code train_load(struct train *t, const char *path, struct ckpt_info *info, struct err *e);
/* ERR_USAGE names the first key that differs between two config texts, but for those in `free_keys` ("a.b c.d "). */
err_code train_same_config(struct str was, struct str now, const char *free_keys, struct err *e);

void train_begin(struct train *t);
float *train_leaf(struct train *t);
void train_leaf_done(struct train *t);
void train_leaf_absent(struct train *t);
/* ERR_DIVERGED: loss or gradient is not finite (the message has step, tensor, index); weights, moments and counters
 * are as before train_begin. */
err_code train_end(struct train *t, double loss, struct train_step *out, struct err *e);

int train_due(const struct train *t);  /* a checkpoint is due after this step: save_every, the last step, or Ctrl-C */
/* Cursor: where the data stands after t->step steps, in the job's own words. On failure the message names the last
 * checkpoint that is good; nothing was lost. */
err_code train_save(struct train *t, struct str cursor, struct err *e);

/* The live line: loss, lr, norm, tokens/s, time left. tokens: of this step; seconds: it took. */
void train_show(struct train *t, const struct train_step *s, const char *what, int64_t tokens, double seconds);

CDECL_END

#include "train/job.h"

#endif
