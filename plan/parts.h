/* Pieces of plan_make (private to plan/). */
#ifndef HONE_PLAN_PARTS_H
#define HONE_PLAN_PARTS_H

#include "plan/plan.h"

/* Layers first .. first + n - 1 of a stage, of them n_expert with experts. */
struct plan_stage {
    int64_t first, n, n_expert;
};
struct plan_stage plan_stage(const struct plan_job *j, int64_t stage);
/* The stages of a rank: 1, or 2 with DualPipe. */
int plan_stages(const struct plan_job *j, int64_t rank, int64_t stage[2]);

/* Parameters of a rank: linears that every DP rank has, linears of its experts, what stays in high precision. */
struct plan_params {
    double linear, expert, high;
};
struct plan_params plan_params(const struct plan_job *j, int64_t rank);
double plan_weight_bytes(const struct plan_job *j, const struct plan_params *p);

err_code plan_check(const struct plan_job *j, struct err *e);
/* held: micro-batches whose activations the rank holds at once. */
void plan_memory(const struct plan_job *j, int64_t rank, int64_t held, struct plan_rank *out);
void plan_traffic(const struct plan_job *j, struct plan_traffic *out);
void plan_mla(const struct plan_job *j, struct plan_mla *out);

#endif
