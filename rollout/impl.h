/* Private to rollout/: the state of the loop. */
#ifndef HONE_ROLLOUT_IMPL_H
#define HONE_ROLLOUT_IMPL_H

#include "rollout/rollout.h"

enum { DRAFT_MAX = 8 };

/* A prompt whose samples run: its pages and the logits behind its last token. */
struct group {
    int used;
    int64_t prompt;
    int64_t filled;             /* prompt tokens in the cache */
    int64_t admitted, running;  /* samples */
    int64_t n_pages;
    int32_t *pages;
    float *logits;              /* [vocab], valid when filled == n */
    uint16_t *route;            /* [width] likewise */
    float *state;               /* [hidden] of the last prompt token, for drafts */
};

struct seq {
    int used, fresh;            /* fresh: draws its first token from the group's logits */
    struct group *g;
    struct rollout_sample out;
    int64_t limit;              /* most tokens it may draw */
    int64_t row;                /* first of its rows of logits, -1 = the group's */
    int32_t *ids, *pages;
    float *logp;
    uint16_t *routes;           /* [context, width] */
    int64_t n_shared, n_pages;
    struct tok_stream *stream;
    struct sbuf text;
    int64_t shown;              /* bytes of text given to the text hook */
    int32_t drawn[DRAFT_MAX + 1]; /* from the last pass, as far as the drafts agreed */
    int n_drawn;
    int32_t draft[DRAFT_MAX];   /* the tokens that follow the last one, as the MTP module sees it */
    int n_draft;
    int64_t at;                 /* row of the last pass that holds its first token there; -1: its draws came from the group's logits */
    int64_t at_draft;           /* its last row of the last draft pass */
};

/* Rows of a pass; what the model reads. */
struct part_rows {
    struct model_step step;
    int32_t *tokens, *positions, *cu, *kv_len, *pages;
};

/* Speculative decoding (draft.c). */
struct drafts {
    int64_t depth;              /* most tokens drafted per pass; 0 = off */
    struct part_rows in;
    int32_t *from, *rows;       /* [step_tokens], [n_seqs] */
    float *states;              /* [n_seqs, hidden] */
    struct seq **who;           /* [n_seqs] */
    int64_t n;                  /* samples in who */
    int64_t turn;
    int plain;                  /* this turn's pass goes without drafts, to be timed */
    int64_t taken;              /* tokens that came from rows of passes in this turn */
    double began, spent;        /* of this turn: its start (0 = it has none), seconds of drafting */
};

struct rollout {
    struct model *m;
    const struct tok *tok;
    struct model_cache *cache;
    struct arena mem;
    int64_t n_seqs, context, step_tokens, max_pages, vocab, n_pages, n_free;
    int32_t *free;
    struct seq *seqs;
    struct group *groups;
    int64_t n_rows_max;         /* most rows of logits of a pass */
    float *logits;              /* [n_rows_max, vocab] */
    int64_t width;              /* of a token's route, 0 without experts */
    uint16_t *routes;           /* [n_rows_max, width] beside logits */
    struct rollout_scratch *scratch; /* one per worker */
    int n_scratch, finish;
    struct part_rows in;
    int32_t *rows, *targets;    /* [n_rows_max] */
    float *row_logp;
    struct drafts d;
    /* of the running call */
    const struct rollout_prompt *prompts;
    int64_t n_prompts, next_prompt;
    const struct rollout_sampling *s;
    const struct rollout_hooks *hooks;
    struct arena *results;
    struct rollout_sample *out;
    int64_t *offset;            /* [n_prompts] of the prompt's first sample in out */
    struct rollout_stats stats;
};

/* Rows for a pass of at most `tokens` tokens in 2 n_seqs sequences. */
void rollout_rows_new(struct rollout *r, struct part_rows *p, int64_t tokens);
void rollout_rows_clear(struct rollout *r, struct part_rows *p);
/* n tokens of one sequence from position `first` on, behind what is there. */
void rollout_rows_add(struct rollout *r, struct part_rows *p, const int32_t *ids, int64_t n, int64_t first, const int32_t *pages, int64_t n_pages);

/* draft.c */
err_code rollout_draft_open(struct rollout *r, int64_t depth, struct err *e);
void rollout_draft_memory(struct rollout *r);
/* Behind a pass: the prompt tokens [first, first + n) of g were its rows from `at` on. */
void rollout_draft_prompt(struct rollout *r, struct group *g, int64_t first, int64_t n, int64_t at);
/* Behind the draws: drafts what the running samples may say next. */
void rollout_draft(struct rollout *r);
/* Between two turns (a turn: draft, pass, draws): its time, for the measured speed-up. Turns with prompt tokens do not count. */
void rollout_draft_timed(struct rollout *r, int64_t prompt_rows, double now);

/* Prompt pages that a sample does not copy. A draft at the last prompt position depends on the sample's first token, so with drafts that
 * position is the sample's own. */
static inline int64_t rollout_shared_pages(const struct rollout *r, int64_t n)
{
    return (r->d.depth ? n - 1 : n) / KERN_PAGE;
}

#endif
