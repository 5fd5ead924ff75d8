/* Held-out figures from several samples of each problem. */
#ifndef HONE_GRPO_EVALSTAT_H
#define HONE_GRPO_EVALSTAT_H

#include <stdint.h>

#include "core/str.h"

/* Unbiased estimate of P(at least one of k samples is right) from n samples of which c are right:
 *   1 - C(n - c, k) / C(n, k),  as the product 1 - prod_{i = n-c+1..n} (1 - k / i).   k <= n
 * src: Chen et al. 2021 (Codex), equation 1 */
double grpo_pass_at_k(int64_t n, int64_t c, int64_t k);

/* maj@k: 1 when the most frequent answer among the first k samples is right. Ties go to the answer that came first; samples without an
 * answer (n 0) do not vote; no votes at all is 0. right[i]: verdict of sample i. */
int grpo_majority(const struct str *answer, const unsigned char *right, int64_t k);

#endif
