#pragma GCC optimize("O3")
#include "train/optim_body.h"

void optim_range_plain(const struct optim_job *j, int64_t begin, int64_t end)
{
    optim_body(j, begin, end);
}
