/* Expert placement: which expert each slot of each GPU holds, from measured loads, with the hottest experts held several times.
 *
 * Groups divisible by nodes: groups go to nodes (balanced), experts are replicated inside a node, replicas go to its GPUs. Otherwise the same
 * with one group on one node. Packing: by load descending, each into the least loaded bin that has room. Replicas: again and again one more
 * for the expert with the largest load per replica. Ties go to the lower index everywhere.
 *   src: DeepSeek EPLB (README and algorithm description)
 */
#ifndef HONE_PARALLEL_EPLB_H
#define HONE_PARALLEL_EPLB_H

#include <stdint.h>

#include "core/arena.h"
#include "core/err.h"

struct eplb_shape {
    int64_t experts, replicas, groups, nodes, gpus;
};
/* load [experts] -> slot_expert [replicas] (slots of GPU g: g * replicas / gpus ...), count [experts] replicas of each; may be NULL.
 * ERR_USAGE: sizes that do not divide. */
err_code eplb_place(const struct eplb_shape *s, const double *load, int32_t *slot_expert, int32_t *count, struct arena scratch, struct err *e);
/* Largest load of a GPU over the mean load, each replica carrying its share. 1 = perfect. */
double eplb_imbalance(const struct eplb_shape *s, const double *load, const int32_t *slot_expert);

#endif
