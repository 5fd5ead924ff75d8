/* What a GRPO job holds while it runs (private to grpo/). */
#ifndef HONE_GRPO_JOB_H
#define HONE_GRPO_JOB_H

#include "grpo/batch.h"
#include "grpo/options.h"
#include "rewards/rewards.h"
#include "rollout/rollout.h"
#include "train/train.h"

/* Problems to sample from: a snapshot's prompt items, rendered when they are asked for. */
struct grpo_problems {
    struct store *store;
    struct data_renderer *renderer;
    struct data_items items;
    int64_t snapshot, max_prompt;
    uint64_t seed;
    struct arena mem;
};
struct grpo_problem {
    int64_t item;
    uint64_t key;               /* of its samples (N4) */
    json_t *row;                /* until grpo_problem_release */
    struct str gold;            /* "" = none */
    struct str prompt;          /* text of the last user message */
    const int32_t *ids;
    int64_t n;                  /* tokens; 0: left out, it is longer than max_prompt */
};
err_code grpo_problems_open(struct grpo_problems *p, const struct cfg *c, struct store *s, int64_t snapshot, const char *model, const struct tok *tok,
                            struct err *e);
void grpo_problems_close(struct grpo_problems *p);
/* The i-th of an endless shuffled walk; key is the caller's. Arrays in mem. */
err_code grpo_problem_get(struct grpo_problems *p, int64_t i, struct arena *mem, struct grpo_problem *out, struct err *e);
void grpo_problem_release(struct grpo_problem *p);

/* One sample with what became of it. */
struct grpo_result {
    const struct grpo_problem *problem;
    const struct rollout_sample *s;
    struct reward_result reward;        /* verdict of each reward */
    double total;                       /* with penalties; NaN = a verifier failed */
    int cut;                            /* ended by length or context */
};

/* A step's harvest. */
struct grpo_round {
    int64_t step, n_groups, group;      /* kept groups, samples in each */
    struct grpo_result *result;         /* [n_groups * group] */
    struct grpo_sample *sample;         /* [n_groups * group] what the loss reads */
    double *reward, *advantage;         /* [n_groups * group] */
    int64_t n_all;                      /* with the dropped groups, for the store */
    struct grpo_result *all;
    unsigned char *kept;                /* [n_all] */
    int64_t refills, flat, too_long;    /* rounds of replacement; groups dropped; prompts left out */
    struct grpo_adv_stats adv;
    struct grpo_stats stats;            /* of the updates */
    int64_t differing, compared;        /* N3 */
    int64_t differing_routes;           /* tokens whose experts differ between rollout and trainer */
    struct train_step last;
    int64_t updates;
    double mtp_loss;                    /* -sum log p of the MTP modules over what they predicted in the updates */
    int64_t mtp_tokens;                 /* how many that were */
    struct rollout_stats sampled;
    double t_rollout, t_reward, t_update; /* seconds */
};

struct grpo {
    const struct cfg *c;
    struct train_job j;
    struct grpo_problems problems, held_out;
    int has_held_out;
    struct rollout *r;
    struct rewards *rewards;
    struct model *ref;                  /* NULL: no KL */
    int64_t next;                       /* place in the walk over the problems */
    struct str stops[16];
    int n_stops;
    struct grpo_loss_opts loss;
    struct grpo_adv_opts adv;
};

/* grpo/collect.c: prompts, samples, rewards, advantages. */
err_code grpo_collect(struct grpo *g, int64_t step, struct arena *mem, struct grpo_round *out, struct err *e);
struct rollout_sampling grpo_sampling(const struct grpo *g, int eval);
/* Scores samples (each names its problem by number); result [n]. */
void grpo_score(struct grpo *g, const struct grpo_problem *p, const struct rollout_sample *s, int64_t n, struct arena *mem, struct grpo_result *result);

/* grpo/update.c: inner epochs and minibatches over a round. */
err_code grpo_update(struct grpo *g, struct grpo_round *r, struct arena *mem, struct err *e);
/* Log-probs of the samples by a model: for the reference (r NULL), and to compare with the rollout's, experts too. logp[i]: [sample n], in mem. */
void grpo_logp(struct grpo *g, struct model *m, const struct grpo_sample *s, int64_t n, float **logp, struct grpo_round *r, struct arena *mem);

/* grpo/record.c */
err_code grpo_record(struct grpo *g, const struct grpo_round *r, double seconds, struct err *e);
err_code grpo_record_verdicts(struct grpo *g, int64_t step, const char *purpose, int64_t prompt, int64_t sample, const struct grpo_result *x, struct err *e);

/* grpo/eval.c: one evaluation on the held-out problems, written to the store as of `step`. */
struct grpo_figures {
    int64_t problems, samples;
    double pass1, reward, length;
};
err_code grpo_evaluate(struct grpo *g, int64_t step, struct grpo_figures *out, struct err *e);

#endif
