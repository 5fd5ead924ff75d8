#include <string.h>

#include "plan/plan.h"

static const struct plan_cluster clusters[] = {
#define CLUSTER(id, title_, n, gib, tbs, bf16_, fp8_, intra_, inter_, price_)                                                                       \
    {.name = #id, .title = title_, .gpus_per_node = n, .memory = (double)(gib) * (1 << 30), .memory_rate = (tbs)*1e12, .bf16 = (bf16_)*1e12,        \
     .fp8 = (fp8_)*1e12, .intra = (intra_)*1e9, .inter = (inter_)*1e9, .price = price_},
#include "configs/clusters.def"
};

const struct plan_cluster *plan_clusters(int *n)
{
    *n = sizeof clusters / sizeof *clusters;
    return clusters;
}

const struct plan_cluster *plan_cluster(const char *name)
{
    for (size_t i = 0; i < sizeof clusters / sizeof *clusters; i++)
        if (!strcmp(clusters[i].name, name))
            return &clusters[i];
    return NULL;
}
