/* What plan.c (making epochs) and step.c (reading them) share. Private to datasets/. */
#ifndef HONE_DATASETS_PLAN_H
#define HONE_DATASETS_PLAN_H

#include "datasets/tokens.h"
#include "datasets/walk.h"

struct plan_row {     /* one per item of the snapshot, in its order */
    int64_t id;       /* of token_rows; 0: none */
    int32_t n, supervised, first_supervised;
};

struct plan_epoch {
    int64_t epoch;    /* -1: none */
    struct data_plan_info info;
    int32_t *row;     /* [info.rows] index into plan_row, batch by batch */
    int64_t *end;     /* [info.batches] rows behind each batch's last one */
};

struct data_plan {
    struct store *s;
    struct data_plan_opts o;
    int64_t id;
    struct arena mem, epoch_mem;
    struct data_items items;
    struct plan_row *rows;
    struct data_walk walk;
    struct plan_epoch now;       /* the epoch that is at hand */
    int64_t *steps, n_steps, cap_steps; /* steps of epochs 0 .. n_steps - 1 */
};

/* Puts an epoch at hand. */
err_code data_plan_load(struct data_plan *p, int64_t epoch, struct err *e);

#endif
