/* Pieces of the needle test (private to grpo/). */
#ifndef HONE_GRPO_NIAH_H
#define HONE_GRPO_NIAH_H

#include "grpo/grpo.h"

enum { GRPO_NIAH_KEY = 200 };
/* The fixed key, or `digits` digits that are a function of (seed, cell, sample), the first not 0. */
void grpo_niah_key(const char *fixed, int64_t digits, uint64_t seed, uint64_t cell, uint64_t sample, char out[GRPO_NIAH_KEY]);
/* Appends text with every {key} replaced. */
void grpo_niah_fill(const char *text, const char *key, struct sbuf *out);
int grpo_niah_right(struct str answer, const char *key);
/* OUT.json and OUT.svg. */
err_code grpo_niah_write(const char *out, const char *model, const struct grpo_niah_result *r, struct err *e);

#endif
