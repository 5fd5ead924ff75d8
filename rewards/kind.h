/* Private: what a reward is made of. */
#ifndef HONE_REWARDS_KIND_H
#define HONE_REWARDS_KIND_H

#include "rewards/rewards.h"

CDECL_BEGIN

struct reward_kind {
    const char *name;
    /* *self may stay NULL. */
    err_code (*open)(const struct cfg *c, void **self, struct err *e);
    void (*close)(void *self); /* NULL: nothing to do */
    /* One of the two. score: called from many threads, worker in [0, PAR_MAX) is this thread's number; strings go to mem, which is
     * this thread's. score_all: called from one thread, with a pool of its own. v comes zeroed with why = "". */
    void (*score)(void *self, int worker, const struct reward_request *q, struct arena *mem, struct reward_verdict *v);
    void (*score_all)(void *self, const struct reward_request *q, int64_t n, struct arena *mem, struct reward_verdict *const *v);
};

#define X(name, help) extern const struct reward_kind reward_kind_##name;
REWARD_LIST(X)
#undef X

/* Sets outcome, score (NaN for the outcomes without one) and the reason, which is cut to a line of 300 bytes. */
void reward_say(struct reward_verdict *v, struct arena *mem, enum reward_outcome o, double score, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

/* Names that reward.language takes, one line. */
void reward_languages(struct sbuf *out);

CDECL_END

#endif
