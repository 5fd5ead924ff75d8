/* Rollouts: sampling from a model over a paged cache with continuous batching.
 *
 *   struct rollout *r;
 *   TRY(rollout_open(m, tok, &(struct rollout_opts){.seqs = 64, .context = 512}, &r, e));
 *   TRY(rollout_run(r, prompts, n, &sampling, &mem, &samples, &stats, e));     samples[i]: prompts in order, their samples in order
 *
 * What is sampled for (seed, prompt key, sample, position) is a pure function of the weights and the prompt (N1, N4): batch size, schedule,
 * threads, neighbours and cache history change the time, never a bit. The log-prob that is recorded is the one model_logp gives for the
 * same token at the same temperature.
 *
 * With drafts (speculate) a pass holds several tokens of a sample: the last one and what the MTP module expects behind it. A token is
 * still drawn from the model's own logits with the random number of its position; a draft only decides whether the next row can be used
 * too. So the samples and their log-probs are the same bits with and without.
 *
 * A group's prompt is computed once: full pages are shared, the page it ends in is copied for each sample. A sample is admitted only when
 * all the pages it can ever need are free, so nothing is preempted.
 */
#ifndef HONE_ROLLOUT_ROLLOUT_H
#define HONE_ROLLOUT_ROLLOUT_H

#include <stdint.h>

#include "core/arena.h"
#include "core/cdecl.h"
#include "core/err.h"
#include "core/str.h"
#include "model/model.h"
#include "text/text.h"

CDECL_BEGIN

/* Why a sample ended: name, meaning. */
#define ROLLOUT_STOPS(X)                                                    \
    X(eos, "the model ended its turn")                                      \
    X(stop, "a stop string was written; the text ends with it")             \
    X(length, "max_tokens were sampled")                                    \
    X(context, "the context (model or rollout.context) is full")            \
    X(cancelled, "interrupted")
enum rollout_stop {
#define X(name, text) ROLLOUT_##name,
    ROLLOUT_STOPS(X)
#undef X
    ROLLOUT_N_STOPS
};
const char *rollout_stop_name(enum rollout_stop s);

struct rollout_opts {
    int64_t seqs;         /* samples that run at once; 0 = 32 */
    int64_t context;      /* most tokens of a prompt and its sample; 0 = the model's max_position, at most 4096 */
    int64_t step_tokens;  /* most new tokens of one pass (prompts are cut into chunks); 0 = 512 */
    int64_t cache_bytes;  /* limit of the cache; 0 = all that `seqs` samples of `context` tokens can need */
    int64_t speculate;    /* tokens that the model's first MTP module drafts per sample and pass, 0 = off, at most 8: changes the time, never a bit */
    int finish;           /* 1: Ctrl-C does not end samples (a training step is finished, then saved) */
};

/* Order: temperature; top_k; top_p over what top_k kept; min_p relative to the best token. Ties go to the lower id. The recorded
 * log-prob is that of softmax(z / temperature) over the whole vocabulary, before truncation. temperature 0 is greedy: the best
 * token, with its log-prob at temperature 1. */
struct rollout_sampling {
    double temperature;
    int64_t top_k;        /* 0 = off */
    double top_p, min_p;  /* 1 and 0 = off */
    int64_t max_tokens;
    const struct str *stop; /* stop strings, borrowed */
    int n_stop;
    int ignore_eos;
    uint64_t seed;
};

struct rollout_prompt {
    uint64_t key;         /* of N4; the same key gives the same samples */
    const int32_t *ids;   /* [n] at least one */
    int64_t n;
    int64_t first, samples; /* sample numbers first .. first + samples - 1 */
};

struct rollout_sample {
    int64_t prompt;       /* index in the call's prompts */
    int64_t sample;
    const int32_t *ids;   /* [n] the end-of-turn token included; live in the call's arena */
    const float *logp;    /* [n] nats */
    const uint16_t *routes; /* [n, model_route_width] experts behind the logits of each token; NULL without experts */
    int64_t n;
    enum rollout_stop stop;
    struct str text;      /* without special tokens; ends with the stop string when one ended it (ids may reach further) */
};

struct rollout_stats {
    int64_t prompts, samples, prompt_tokens, tokens, passes, most_running;
    double seconds;
    int64_t drafted, accepted;           /* tokens proposed by the MTP module; of them drawn */
    int64_t plain_tokens, ahead_tokens;  /* decoded in turns without drafts (1 of 16, for comparison) and with them */
    double plain_seconds, ahead_seconds; /* in those turns, drafting included */
};
/* How many times as fast decoding was with drafts as without, measured in the same call; 0 = not measured (off, or too short). */
double rollout_speedup(const struct rollout_stats *s);

struct rollout;
/* ERR_USAGE: drafts from a model without MTP layers. The model and the tokenizer are borrowed; tok NULL: samples have no text, stop strings never match, eos is the model's. Takes the cache and room for its passes (model_reserve). */
err_code rollout_open(struct model *m, const struct tok *tok, const struct rollout_opts *o, struct rollout **out, struct err *e);
void rollout_close(struct rollout *r);
int64_t rollout_context(const struct rollout *r);
int64_t rollout_cache_bytes(const struct rollout *r);

/* Called for each sample as soon as it ends, in the order of ending; sample is complete. May be NULL. */
typedef void rollout_done_fn(void *ctx, const struct rollout_sample *s);
/* Called as text comes out, for chat; piece is valid UTF-8. May be NULL. */
typedef void rollout_text_fn(void *ctx, const struct rollout_sample *s, struct str piece);
struct rollout_hooks {
    rollout_done_fn *done;
    rollout_text_fn *text;
    void *ctx;
};
/* Samples all prompts. *out [sum of samples]. On Ctrl-C the running samples end with `cancelled` and ERR_CANCELLED is returned, *out set.
 * ERR_DATA: an empty prompt, or a token id outside the vocabulary. ERR_DIVERGED: logits are not finite (prompt and position named). */
err_code rollout_run(struct rollout *r, const struct rollout_prompt *p, int64_t n, const struct rollout_sampling *s,
                     const struct rollout_hooks *hooks, struct arena *mem, const struct rollout_sample **out,
                     struct rollout_stats *stats, struct err *e);

/* One draw from a row of logits, as rollout_run makes it; pure. scratch: [vocab] floats and [vocab] ints. Returns -1 when the logits hold
 * NaN or no finite number. */
struct rollout_scratch {
    float *p;
    int32_t *heap;
};
int32_t rollout_draw(const float *logits, int64_t vocab, const struct rollout_sampling *s, uint64_t key, int64_t sample, int64_t position,
                     struct rollout_scratch scratch);

CDECL_END

#endif
