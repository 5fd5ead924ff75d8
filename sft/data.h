/* The rows of an SFT job. */
#ifndef HONE_SFT_DATA_H
#define HONE_SFT_DATA_H

#include "train/train.h"

struct sft_data {
    struct data_plan *plan;
    int64_t snapshot, steps;    /* optimiser steps of the whole run */
    int64_t max_seqs;           /* most rows of a micro-batch */
};
/* Snapshot (the run's own on a resume), tokens, plan. Says what was left out. */
err_code sft_data_open(struct train_job *j, struct sft_data *d, struct err *e);

#endif
