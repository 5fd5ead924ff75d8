/* What rendering one item (render.c) and a whole snapshot (render_all.c) share. Private to datasets/. */
#ifndef HONE_DATASETS_RENDER_H
#define HONE_DATASETS_RENDER_H

#include "datasets/tape.h"
#include "datasets/tokens.h"

enum { RENDER_VERSION = 1, TEXT_MAX_BYTES = 1 << 30 };

/* What all threads share. */
struct data_recipe {
    struct data_render_opts o;
    struct tok *own;          /* loaded here; NULL: the caller's */
    const struct tok *tok;
    struct tmpl_set *set;     /* NULL: raw */
    struct tmpl_mask_opts mask;
    struct str *stops;        /* of mask; one block of memory */
    struct hash128 template;  /* of the folder's template files */
    char options[400];
    struct hash128 hash;
};
err_code data_recipe_open(const struct data_render_opts *o, struct data_recipe **out, struct err *e);
void data_recipe_close(struct data_recipe *r);

/* One per thread. */
struct data_lane {
    const struct data_recipe *recipe;
    struct tmpl_run *run;
    struct tok_enc *enc;
    struct tape tape;
    struct sbuf text, part;
    struct tok_ids ids;
    struct tmpl_span *spans;  /* of raw texts */
    int64_t cap_spans;
    float *weight;            /* of ids */
    uint8_t *kind;
    int64_t cap_weight, supervised, first_supervised;
};
err_code data_lane_open(struct data_lane *l, const struct data_recipe *recipe, struct err *e);
void data_lane_close(struct data_lane *l);
/* Fills text, ids, weight, kind, supervised, first_supervised (-1: none). */
err_code data_lane_render(struct data_lane *l, struct str kind, struct str body, struct err *e);

#endif
