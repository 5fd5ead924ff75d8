/* length: a score by the number of response tokens.
 *   max     1 for n <= T, (L - n) / (L - T) in between, 0 for n >= L      T: length_target, L: length_limit
 *   target  max(0, 1 - |n - T| / T)
 */
#include <stdlib.h>

#include "rewards/kind.h"

struct length {
    int target_mode;
    int64_t target, limit;
};

static err_code length_open(const struct cfg *c, void **self, struct err *e)
{
    struct length *l = calloc(1, sizeof *l);
    if (!l)
        return err_set(e, ERR_LIMIT, "no memory for the length reward");
    *l = (struct length){!strcmp(c->reward.length_mode, "target"), c->reward.length_target, c->reward.length_limit};
    *self = l;
    return ERR_OK;
}

static void length_score(void *self, int worker, const struct reward_request *q, struct arena *mem, struct reward_verdict *v)
{
    const struct length *l = self;
    int64_t n = q->tokens;
    double s;
    (void)worker;
    if (l->target_mode) {
        s = 1 - (double)(n > l->target ? n - l->target : l->target - n) / (double)l->target;
        s = s < 0 ? 0 : s;
    } else {
        s = n <= l->target ? 1 : n >= l->limit ? 0 : (double)(l->limit - n) / (double)(l->limit - l->target);
    }
    reward_say(v, mem, REWARD_SCORED, s, "%lld tokens", (long long)n);
}

const struct reward_kind reward_kind_length = {.name = "length", .open = length_open, .close = free, .score = length_score};
