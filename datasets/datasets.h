/* Data: rows in, tokens with loss weights out, in an order that is a function of the seed.
 *
 *   import    JSON Lines -> items (content-addressed, each distinct row once)
 *   render    items -> tokens + one loss weight per token, once per recipe (tokenizer, template, options)
 *   snapshot  which items a run reads; never changes when more is imported
 *   plan      snapshot + recipe + seed -> per epoch: which rows lie together in which micro-batch
 *   step      plan + step number -> the step's micro-batches; a pure function, so a resume needs the number only
 *
 * Owns the store (store.h), import and export, mixing, splitting, packing, provenance. Refuses to know
 * how training works and what a right answer is.
 * Invariants: nothing is dropped, cut or repeated without a count that the caller can print; two calls
 * with the same arguments over the same snapshot give the same bytes, whatever the threads.
 */
#ifndef HONE_DATASETS_DATASETS_H
#define HONE_DATASETS_DATASETS_H

#include <stdint.h>

#include "core/arena.h"
#include "core/cdecl.h"
#include "core/err.h"
#include "core/hash.h"
#include "datasets/store.h"
#include "text/text.h"

CDECL_BEGIN

/* ---- items -------------------------------------------------------------------------------- *
 * An item is one JSON object in one form, whatever the file's:
 *   chat    {"messages":[...] , "tools"?, "documents"?, "variables"?, "answer"?, "meta"?}   ends with an assistant turn
 *   prompt  the same, not ending with an assistant turn: something to sample from
 *   pair    {"prompt":[...], "chosen":[...], "rejected":[...], "tools"?, "documents"?, "variables"?, "answer"?, "meta"?}
 *   text    {"text":"...", "meta"?}
 * "answer" is the gold answer of an RL row (a string, or a list or object as it was given); "variables" are
 * template variables; fields nobody knows are kept in "meta". docs/data-formats.md. */

#define DATA_FORMATS(X)                                                                            \
    X(openai, "messages: [{role, content}]; also under conversations")                             \
    X(sharegpt, "conversations: [{from, value}], system")                                          \
    X(alpaca, "instruction, input, output, system, history")                                       \
    X(prompt_completion, "prompt, completion (or response): strings or message lists")             \
    X(prompt_answer, "prompt (question, problem), answer (gold, solution, ...): for RL")           \
    X(preference, "chosen, rejected, prompt: strings or message lists")                            \
    X(text, "text: trained on as it is")
enum data_format {
    DATA_AUTO,
#define X(name, help) DATA_##name,
    DATA_FORMATS(X)
#undef X
    DATA_N_FORMATS
};
const char *data_format_name(enum data_format f);

struct data_import_opts {
    const char *source;      /* name rows are found under; NULL = the file's name without folder and ending */
    enum data_format format; /* DATA_AUTO: told row by row */
    const char *map;         /* "prompt=question,completion=answer": field = field of the file; NULL = none */
    const char *filter;      /* Lua file with row(row), see datasets/filter.h; NULL or "" = none */
    int stop_at_bad;         /* 1: a bad line ends the import (what came before it stays) */
    int quiet;               /* no progress line */
    int64_t commit_bytes;    /* bytes of the file between two commits, what a kill can cost; 0 = 96 MiB */
};
struct data_import_stats {
    int64_t lines;                      /* read in this call; blank ones are not counted */
    int64_t added;                      /* new items */
    int64_t known;                      /* rows whose content was in the store already */
    int64_t bad;                        /* lines of the whole file that are not rows */
    int64_t left_out;                   /* rows of the whole file that the filter left out */
    int64_t formats[DATA_N_FORMATS];    /* rows of each format, this call */
    int64_t resumed_at;                 /* lines an earlier, interrupted call had done */
    int already;                        /* 1: the whole file was in the store */
    char source[128];
    char first_bad[400];                /* "FILE:LINE: reason" of the first bad line, "" when none */
};
/* Idempotent by content: the same file again adds nothing; a changed file under the same path takes the
 * place of the older one in its source. Killed at any moment, the next call goes on where it stopped and
 * the store ends with the same rows. Bad lines are rows of `bad_lines`; the good ones are imported and
 * the answer is ERR_DATA with FILE:LINE. ERR_CANCELLED on Ctrl-C (what was read is kept). */
err_code data_import(struct store *s, const char *path, const struct data_import_opts *o, struct data_import_stats *st,
                     struct err *e);

/* Whole item by id; *kind and *body live in mem. ERR_DATA: no such item. */
err_code data_item(struct store *s, int64_t id, struct arena *mem, struct str *kind, struct str *body, struct err *e);
/* Adds one item made by the program (a preference pair, a trace) to a source; the same content again is
 * the same item. body: canonical JSON as above. */
err_code data_item_add(struct store *s, const char *source, const char *kind, struct str body, int64_t *id, struct err *e);

/* ---- snapshots: which items --------------------------------------------------------------- */

struct data_select {
    const char *sources;  /* "a,b" or with weights "a:1,b:0.5": rows per epoch as a multiple of the source */
    const char *kinds;    /* "chat", "prompt", "chat,text", ... */
    const char *split;    /* "train", "heldout" or "all" */
    double heldout;       /* share of prompts held out, by the hash of the prompt; 0 = none */
    const char *exclude;  /* sources whose prompts must not occur (benchmarks), "" = none: dropped and counted */
};
/* The select's items now, as a snapshot: rows imported later do not enter it. The same items give the
 * same snapshot. ERR_DATA: unknown source (names the nearest), half-imported source, no items. */
err_code data_snapshot(struct store *s, const struct data_select *sel, int64_t *snapshot, struct err *e);

struct data_items {
    int64_t n;             /* distinct items, all sources */
    const int64_t *id;     /* [n] by source, then ascending; lives in mem */
    int n_sources;
    const int64_t *begin;  /* [n_sources + 1] into id */
    const double *weight;  /* [n_sources] */
    int64_t excluded;      /* items dropped because their prompt is in `exclude` */
    int64_t repeated;      /* items left out of a source because an earlier one has them */
    struct hash128 digest; /* of the items' contents */
};
err_code data_snapshot_items(struct store *s, int64_t snapshot, struct arena *mem, struct data_items *out, struct err *e);
/* The i-th item of an endless, shuffled walk over the snapshot (RL prompts); pure. */
int64_t data_pick(const struct data_items *it, uint64_t seed, int64_t i, struct arena scratch);
/* Items of snapshot a whose prompt is also a prompt of snapshot b: for disjointness checks. */
err_code data_overlap(struct store *s, int64_t a, int64_t b, int64_t *n, struct err *e);

/* ---- rendering: tokens and weights -------------------------------------------------------- */

enum data_long { DATA_LONG_ERROR, DATA_LONG_DROP, DATA_LONG_TRUNCATE };

struct data_render_opts {
    const char *model;      /* folder with tokenizer.json and, unless raw, a chat template */
    const struct tok *tok;  /* the folder's tokenizer when it is loaded already (borrowed); NULL = load it */
    const char *which;      /* assistant turns that are supervised: "all", "last" or "text" (every byte) */
    const char *template_name; /* NULL = the default one */
    const char *system;     /* data_prompt_ids alone: system message put before prompts that have none; NULL = none */
    const char *now;        /* clock of templates, "YYYY-MM-DDTHH:MM:SS"; NULL = 2024-07-26T00:00:00, so that tokens do not depend on the day */
    double reasoning, tool_calls; /* factors on the weight of these parts; 1 = as the rest */
    int raw;                /* no template: contents one behind the other, then the end-of-text token */
    int keep_text;          /* store the rendered text beside the tokens */
    int drop_unsupervised;  /* 1: rows without a supervised token are kept out and counted; 0: an error names the row */
    int quiet;
    int64_t commit_rows;    /* rows between two commits, what a kill can cost; 0 = 65536 */
};
struct data_render_opts data_render_defaults(void);

struct data_render_stats {
    int64_t items, cached;       /* items of the snapshot; those that had tokens already */
    int64_t tokens, supervised;  /* of the whole snapshot */
    int64_t unsupervised;        /* rows without a supervised token */
    int64_t longest;
};
/* Renders and tokenises every item of the snapshot that has no tokens under this recipe. The recipe is
 * the hash of tokenizer, template, options and rendering version, the row's key is its content: a stale
 * token row cannot be read. Special-token text in row data is encoded as plain text. */
err_code data_render(struct store *s, int64_t snapshot, const struct data_render_opts *o, int64_t *recipe,
                     struct data_render_stats *st, struct err *e);

/* One item at a time, with tokenizer and template kept open: `hone data show`, RL prompts. One renderer per thread. */
struct data_renderer;
err_code data_renderer_open(const struct data_render_opts *o, struct data_renderer **out, struct err *e);
void data_renderer_close(struct data_renderer *r); /* NULL is fine */
const struct tok *data_renderer_tok(const struct data_renderer *r);

/* An item as it is trained on. Arrays live in mem; weight[t] belongs to predicting ids[t] from the tokens
 * before it, weight[0] is 0. */
struct data_row {
    struct str text;
    int64_t n;
    const int32_t *ids;
    const float *weight;
    const int64_t *begin; /* [n + 1] byte of the text where the token begins */
    const uint8_t *kind;  /* [n] enum tmpl_kind of its first byte */
    int64_t supervised;
};
/* ERR_DATA: a pair (it is two rows), or a template's error; no supervised token is not an error here. */
err_code data_render_item(struct data_renderer *r, struct str kind, struct str body, struct arena *mem, struct data_row *out, struct err *e);
/* The same without a renderer at hand: opens one, which costs a tokenizer load. */
err_code data_render_one(struct str kind, struct str body, const struct data_render_opts *o, struct arena *mem,
                         struct data_row *out, struct err *e);

/* An item as something to sample from: what comes before its last assistant turn, with the template's
 * generation prompt behind it. Some 20 us for a short prompt; see data_item for the item, data_pick for the next one. */
struct data_prompt {
    struct str text;
    const int32_t *ids;
    int64_t n;
    struct str answer;    /* the gold answer's text; JSON when it is a list or an object; n 0 = none */
    struct str meta;      /* "meta" as JSON; n 0 = none */
};
err_code data_prompt_ids(struct data_renderer *r, struct str kind, struct str body, struct arena *mem, struct data_prompt *out, struct err *e);

/* ---- packing ------------------------------------------------------------------------------ */

/* Best-fit-decreasing of lengths len[0..n) (each in 1..cap) into bins of cap tokens and at most max_rows
 * rows (0 = no limit). bin[i] = bin of row i, bins numbered by their first row in sorted order.
 * Of several bins with the least sufficient room, the one that came to that room last is taken.
 * det: a function of the arguments; rows of one length keep their order. cost: O(n + cap).
 * scratch holds 12 n + 9 cap bytes. Returns the number of bins. n < 2^31, cap <= 2^24. */
int64_t data_pack(const int32_t *len, int64_t n, int32_t cap, int32_t max_rows, int32_t *bin, struct arena scratch);

struct data_plan_opts {
    int64_t snapshot, recipe;
    uint64_t seed;
    int64_t cap;          /* tokens of one micro-batch */
    int64_t leaves;       /* micro-batches per step (the last step of an epoch may have fewer) */
    int64_t max_len;      /* longest row; 0 = cap */
    enum data_long over;  /* what happens to a longer one */
    int64_t max_rows;     /* rows per micro-batch, 0 = no limit */
    int64_t window;       /* rows that are packed together, 0 = 131072 */
    int pack;             /* 0: one row per micro-batch */
    int shuffle;          /* 0: rows in item order, bins in that order */
};
struct data_plan_info { /* of one epoch */
    int64_t steps, batches, rows, tokens, supervised;
    int64_t dropped_long, truncated, dropped_unsupervised;
    double efficiency;     /* tokens / (batches * cap) */
    struct hash128 digest; /* rows, their order and places */
};
struct data_plan;
/* ERR_DATA: an over-long row under DATA_LONG_ERROR (named), rows without tokens, no rows left. */
err_code data_plan_open(struct store *s, const struct data_plan_opts *o, struct data_plan **out, struct err *e);
void data_plan_close(struct data_plan *p);
int64_t data_plan_id(const struct data_plan *p);
int64_t data_plan_snapshot(const struct data_plan *p);
/* Epoch from 0. Made, stored with its digest and checked against the store when it is there already
 * (ERR_MISMATCH). */
err_code data_plan_epoch(struct data_plan *p, int64_t epoch, struct data_plan_info *info, struct err *e);
/* Global step from 0 -> epoch and step inside it. */
err_code data_plan_locate(struct data_plan *p, int64_t step, int64_t *epoch, int64_t *at, struct err *e);

/* One micro-batch: ragged rows, one behind the other; rows do not see each other. */
struct data_batch {
    int64_t n_tok, n_seq;
    const int32_t *tokens;     /* [n_tok] */
    const int32_t *positions;  /* [n_tok] from 0 in every row */
    const int32_t *cu_seqlens; /* [n_seq + 1] */
    const int32_t *targets;    /* [n_tok] the token that follows in its row; -1 at the row's end */
    const float *weights;      /* [n_tok] loss weight of predicting targets[i] at position i; 0 where the target is -1 */
    const int64_t *items;      /* [n_seq] */
    double weight;             /* sum of weights, float64, in order */
    int64_t n_sup;             /* weights > 0 */
};
struct data_step {
    int64_t step, epoch, at;   /* at: step inside the epoch */
    int64_t n_leaves;
    const struct data_batch *leaves; /* [n_leaves] */
    double weight;             /* sum over the leaves, in order: the denominator of the step's loss */
    int64_t n_sup, n_tok, n_rows;
};
/* Pure: the same plan and step give the same bytes. Everything lives in mem. */
err_code data_plan_step(struct data_plan *p, int64_t step, struct arena *mem, struct data_step *out, struct err *e);

/* ---- out ---------------------------------------------------------------------------------- */

/* Items of a snapshot as JSON Lines in the given format (openai, sharegpt, prompt_completion,
 * prompt_answer, preference, text); path "-" is standard output. ERR_UNSUPPORTED names the item that the format cannot hold. */
err_code data_export(struct store *s, int64_t snapshot, enum data_format format, const char *path, int64_t *rows, struct err *e);

/* ---- where a recipe came from ------------------------------------------------------------- */

struct data_provenance {
    char commit[65]; /* of the git repository that the path lies in; "" = in none, or one without a commit */
    int dirty;       /* 1: tracked files differ from the commit, or the path itself is new */
};
/* path: a config file or its folder. No repository is not an error. ERR_IO: git cannot read the repository. */
err_code data_provenance(const char *path, struct data_provenance *out, struct err *e);
/* "3f2c… with changes", "" outside of git: for store_run_info.provenance. */
void data_provenance_text(const struct data_provenance *p, char out[80]);

CDECL_END

#endif
