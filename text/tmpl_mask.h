/* The mask's view of a rendered text. */
#ifndef HONE_TEXT_TMPL_MASK_H
#define HONE_TEXT_TMPL_MASK_H

#include "text/tmpl.h"

/* A stretch of the text of one origin. */
struct atom {
    int64_t begin, end;
    int64_t off;     /* of its first byte in the message's content string; -1 = not a copy of it */
    int32_t message; /* whose turn it stands in, -1 = none */
    uint8_t kind;    /* enum tmpl_kind, GLUE and EOT not yet told apart from TEMPLATE */
    uint8_t plain, gen;
    uint8_t lead, trail; /* kind of the nearest bytes of the row behind and before it in its turn; 0 = none */
};
struct weight_at {
    int64_t begin, end; /* bytes of content */
    float w;
};
struct turn { /* what is known of a message while the mask is made */
    int64_t begin, end;         /* its region */
    int64_t own_begin, own_end; /* first to last byte that is its own; -1 = none */
    int64_t floor, limit;       /* end of the own bytes before it, begin of those behind it */
    int64_t sup, eot, eot_end;  /* supervised from sup; end of turn [eot, eot_end) */
    float weight;               /* 0 = not supervised */
    uint8_t near, last;         /* kinds: of the row bytes just passed, of the last own bytes */
    uint8_t looped;             /* a loop over messages printed it */
    int32_t w0, wn;             /* its `weights` */
};

enum { PROMPTS = 16 };
struct mask_state {
    struct atom *atom;
    int64_t n_atom, cap_atom;
    struct turn *turn;
    int64_t cap_turn;
    struct weight_at *weight;
    int64_t n_weight, cap_weight;
    struct tmpl_span *span;
    int64_t n_span, cap_span;
    struct tmpl_turn *out_turn;
    int64_t cap_out_turn;
    struct { /* generation prompts, by template and variables */
        uint64_t serial;
        struct hash128 vars;
        struct sbuf text;
    } prompt[PROMPTS];
    int n_prompt, next_prompt;
    struct sbuf probe[2];
};

err_code tmpl_mask_grow(struct tmpl_run *r, void *array, int64_t need, int64_t *cap, size_t size);
/* What the template puts behind the messages when a generation prompt is asked for; empty = nothing. */
err_code tmpl_mask_prompt(struct tmpl_run *r, const struct tmpl *t, struct str *out, struct err *e);
err_code tmpl_mask_atoms(struct tmpl_run *r); /* from the pieces of the last tracked render */

#endif
