/* Rewards: text in, numbers out. Refuses to know tokens, tensors, models and what an advantage is.
 *
 *   struct rewards *r;
 *   TRY(reward_open(&cfg, &r, e));                                what reward.list names, with its weights
 *   reward_score(r, requests, n, &mem, results, &stats);          all samples, on all threads
 *   results[i].total                                              NaN: leave this sample out
 *
 *   total = sum_k weight_k score_k                                NaN when a reward with weight is NaN
 *
 * What went wrong on our side (a verifier out of its budget, an error in a user's Lua, a broken sandbox, a gold answer that
 * cannot be read) has score NaN and an outcome that says so; it is counted, and it is never a low score.
 * det: outcomes, scores and reasons are functions of the requests and the configuration, for any number of threads; ms are not.
 * Threads: reward_score uses the pool of core/par.h; one call at a time per struct rewards.
 */
#ifndef HONE_REWARDS_REWARDS_H
#define HONE_REWARDS_REWARDS_H

#include <stdint.h>

#include "core/arena.h"
#include "core/cdecl.h"
#include "core/err.h"
#include "core/json.h"
#include "core/str.h"
#include "rewards/code.h"
#include "rewards/math.h"
#include "rewards/repo.h"
#include "script/script.h"

CDECL_BEGIN

/* Every reward: name, what it scores. A new one: a line here and rewards/reward_<name>.c with `reward_kind_<name>`. */
#define REWARD_LIST(X)                                                                                   \
    X(math, "1 when the answer in the response equals the gold answer (docs/math-verifier.md), else 0")  \
    X(code, "1 when the last fenced program passes the tests of its item (docs/code-rewards.md); reward.code_share: their share") \
    X(repo, "1 when the last fenced patch makes the tests of its repository pass (docs/repo-tasks.md), else 0") \
    X(format, "1 when the response has the structure of reward.format_tags or format_regex, else 0")     \
    X(length, "in [0, 1] by the number of tokens: reward.length_mode, length_target, length_limit")      \
    X(language, "share of the letters that belong to reward.language")                                   \
    X(lua, "what reward(row) in the file reward.lua returns: score, outcome, why")

/* name, 1 when there is a score, meaning */
#define REWARD_OUTCOMES(X)                                                              \
    X(RIGHT, "right", 1, "correct")                                                     \
    X(WRONG, "wrong", 1, "shown to be not correct")                                     \
    X(UNPARSABLE, "unparsable", 1, "no answer could be read from the response")         \
    X(SCORED, "scored", 1, "a graded score, neither right nor wrong")                   \
    X(GOLD_UNPARSABLE, "gold_unparsable", 0, "the data's fault: no gold answer")        \
    X(TIMEOUT, "timeout", 0, "the verifier came to the end of its budget")              \
    X(CRASHED, "crashed", 0, "the verifier failed")

enum reward_outcome {
#define X(name, text, scored, meaning) REWARD_##name,
    REWARD_OUTCOMES(X)
#undef X
    REWARD_N_OUTCOMES
};
const char *reward_outcome_name(enum reward_outcome o);
int reward_outcome_scored(enum reward_outcome o); /* 0: its score is NaN */
/* REWARD_N_OUTCOMES when there is none of that name. */
enum reward_outcome reward_outcome_find(struct str name);

struct reward_request {     /* all borrowed for the call */
    struct str prompt;      /* the text shown to the model, or the last user turn */
    struct str gold;        /* the item's answer; n 0 = none */
    struct str response;    /* what was sampled, without special tokens */
    int64_t tokens;         /* of the response */
    const char *stop;       /* why it ended; NULL = unknown */
    const json_t *item;     /* the data item; may be NULL */
};

struct reward_verdict {
    enum reward_outcome outcome;
    double score;           /* NaN: none */
    const char *why;        /* one line that a person can check; never NULL */
    struct str answer;      /* what the verifier took for the answer, for votes; n 0 = none */
    double ms;
};

struct reward_result {
    double total;
    const struct reward_verdict *each; /* [reward_count] in the order of reward.list */
};

struct reward_stats {
    int64_t n, failed;                      /* samples; of them without a total */
    int64_t (*outcomes)[REWARD_N_OUTCOMES]; /* [reward_count] */
};

struct rewards;
/* ERR_USAGE: unknown reward (names the nearest), a regex that does not compile, a Lua file without reward(row). */
err_code reward_open(const struct cfg *c, struct rewards **out, struct err *e);
void reward_close(struct rewards *r); /* NULL is fine */
int reward_count(const struct rewards *r);
const char *reward_name(const struct rewards *r, int k);
double reward_weight(const struct rewards *r, int k);

/* out [n]; everything that results and stats point to lives in mem. */
void reward_score(struct rewards *r, const struct reward_request *q, int64_t n, struct arena *mem, struct reward_result *out,
                  struct reward_stats *stats);

/* One line per reward, script and outcome, for `hone help rewards`. */
void reward_help(struct sbuf *out);

CDECL_END

#endif
