#include "grpo/evalstat.h"

#include <assert.h>

double grpo_pass_at_k(int64_t n, int64_t c, int64_t k)
{
    double miss = 1;
    assert(k >= 1 && k <= n && c >= 0 && c <= n);
    if (n - c < k)
        return 1;
    for (int64_t i = n - c + 1; i <= n; i++)
        miss *= 1 - (double)k / (double)i;
    return 1 - miss;
}

int grpo_majority(const struct str *answer, const unsigned char *right, int64_t k)
{
    int64_t best = -1, best_votes = 0;
    for (int64_t i = 0; i < k; i++) {
        int64_t votes = 0, seen = 0;
        for (int64_t j = 0; j < k && answer[i].n > 0; j++) {
            int same = str_eq(answer[i], answer[j]);
            seen |= same && j < i;
            votes += same;
        }
        if (!seen && votes > best_votes)
            best = i, best_votes = votes;
    }
    return best >= 0 && right[best];
}
