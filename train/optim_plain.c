#pragma GCC optimize("O3")
#include "train/optim_body.h"

void optim_range_plain(const struct optim_job *j, int64_t begin, int64_t end)
{
    optim_body(j, begin, end);
}

double optim_norm_plain(const float *g, int64_t n)
{
    return norm_body(g, n);
}
