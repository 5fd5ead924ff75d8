/* What every training job (sft, grpo) sets up and tears down: backend, model, tokenizer, store, run, trainer, resume.
 *
 *   struct train_job j;
 *   TRY(train_job_open(&j, cfg, "sft", resume, e));           store, checkpoint to go on from, model, tokenizer
 *   ... data ...                                              j.snapshot is the run's own on a resume, else 0
 *   TRY(train_job_start(&j, steps, snapshot, e));             trainer and the run's row; j.cursor says where the data stands
 *   for (...) { grads = train_job_leaf(&j); model_backward(j.m, ...grads); train_leaf_done(&j.t); ... train_job_save(&j, step, "...", e); }
 *   rc = train_job_end(&j, rc, e);                            the run's status; closes all
 */
#ifndef HONE_TRAIN_JOB_H
#define HONE_TRAIN_JOB_H

#include <limits.h>

#include "core/arena.h"
#include "datasets/datasets.h"
#include "model/model.h"
#include "script/script.h"
#include "text/text.h"
#include "train/hook.h"
#include "train/train.h"

struct train_job {
    const struct cfg *c;
    const char *kind;
    int resume;
    struct arena mem;
    struct kern *k;
    struct model *m;
    struct tok *tok;
    struct store *store;
    struct store_run run;
    struct train_hook *hook;      /* NULL = none */
    struct train t;
    struct train_target target;
    float **grads;                /* [n_params] of the leaf in hand */
    struct sbuf config;           /* cfg_text */
    char from[PATH_MAX];          /* folder the weights came from: train.dir's checkpoint or model.path */
    char checkpoint[PATH_MAX];    /* "" = a fresh start */
    int64_t snapshot;             /* of the run that goes on; 0 = none */
    int64_t step_done;            /* job steps (the store's) behind the checkpoint */
    struct str cursor;            /* of the checkpoint */
    int64_t saved_at;             /* trainer step of the newest checkpoint, -1 = none */
    int64_t *load;                /* [mixtures, experts] of the job step in hand */
    int started, trainer;
};

enum kern_prec train_job_prec(const struct cfg *c);
/* model.mla of a job ("sft", "grpo", "eval") with auto decided: what is recorded with the run and may not change within it. */
const char *train_job_mla(const struct cfg *c, const char *job);
/* How a job opens its models: the policy (train 1) and the reference. */
struct model_opts train_job_model(const struct cfg *c, const char *job, int train);
/* Commit of the config file ("" = none), for the run's row; a repository that cannot be read is a warning. */
void train_job_provenance(const struct cfg *c, char out[80]);
/* Backend as device, isa and threads say. */
err_code train_job_kern(const struct cfg *c, struct kern **out, struct err *e);

err_code train_job_open(struct train_job *j, const struct cfg *c, const char *kind, int resume, struct err *e);
/* steps: optimiser steps of the run. step_done of a resume is read from the cursor "step N ...". */
err_code train_job_start(struct train_job *j, int64_t steps, int64_t snapshot, struct err *e);
/* The next leaf's gradient, by parameter: for model_backward. */
float *const *train_job_leaf(struct train_job *j);
/* Balance of the experts, of the job's keys: the factor per token of the step's n tokens for model_grad, and what belongs behind every
 * train_end: the selection bias moves, the load is added up. */
float train_job_balance(const struct train_job *j, int64_t n_tok);
void train_job_moved(struct train_job *j);
/* Load of the experts since the last call, per mixture, and the largest violation (most loaded / mean - 1), into the store; inside the
 * step's transaction. Nothing for models without experts. */
err_code train_job_record_load(struct train_job *j, int64_t step, struct err *e);
/* Checkpoint behind job step `step`: store first, then the weights. rest: what else the job must know to go on. Nothing happens without a
 * run folder, or when no optimiser step was made since the last one. */
err_code train_job_save(struct train_job *j, int64_t step, const char *rest, struct err *e);
/* The user's hook behind job step `step` of `steps`, its metrics and events committed; *stop: the run ends here. Saves when the hook
 * asks for it, ends the run, or fails; rest as in train_job_save. On a resume call it with step_done before the first step: a run
 * that its hook ended stays ended. */
err_code train_job_hook(struct train_job *j, int64_t step, int64_t steps, const char *rest, int *stop, struct err *e);
/* ERR_OK: done. ERR_CANCELLED: stopped. Else failed. Returns rc, or what failed while ending. */
err_code train_job_end(struct train_job *j, err_code rc, struct err *e);

#endif
