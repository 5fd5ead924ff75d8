/* Token rows as they lie in the store. Private to datasets/. */
#ifndef HONE_DATASETS_TOKENS_H
#define HONE_DATASETS_TOKENS_H

#include "datasets/datasets.h"

/* Weights as runs of (int32 count, float32 weight), little-endian; w[0 .. n). Replaces out. */
void data_runs_put(struct sbuf *out, const float *w, int64_t n);
/* The first n weights; n may be less than the row has. ERR_DATA: not runs, or fewer than n. */
err_code data_runs_get(struct str runs, float *w, int64_t n, struct err *e);

/* "source 'x', FILE:LINE" of an item, for messages. */
void data_item_where(struct store *s, int64_t item, char *out, int64_t max);

#endif
