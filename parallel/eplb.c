#include "parallel/eplb.h"

#include <string.h>

/* n weights into `bins` bins of n / bins each: bin[i], rank of i inside it. */
static void pack(const double *w, int64_t n, int64_t bins, int32_t *bin, int32_t *rank, struct arena scratch)
{
    double *load = ARENA_NEW(&scratch, double, bins);
    int32_t *fill = ARENA_NEW(&scratch, int32_t, bins), *order = ARENA_NEW(&scratch, int32_t, n + 1);
    for (int64_t i = 0; i < n; i++) { /* insertion: stable, descending */
        int64_t at = i;
        for (; at > 0 && w[order[at - 1]] < w[i]; at--)
            order[at] = order[at - 1];
        order[at] = (int32_t)i;
    }
    for (int64_t k = 0; k < n; k++) {
        int32_t i = order[k], best = -1;
        for (int32_t b = 0; b < bins; b++)
            if (fill[b] < n / bins && (best < 0 || load[b] < load[best]))
                best = b;
        bin[i] = best;
        rank[i] = fill[best]++;
        load[best] += w[i];
    }
}

/* n experts as m replicas: expert of each replica; the first n are the experts themselves. count[n]. */
static void replicate(const double *w, int64_t n, int64_t m, int32_t *expert, int32_t *count)
{
    for (int64_t i = 0; i < n; i++)
        expert[i] = (int32_t)i, count[i] = 1;
    for (int64_t r = n; r < m; r++) {
        int64_t best = 0;
        for (int64_t i = 1; i < n; i++)
            if (w[i] / count[i] > w[best] / count[best])
                best = i;
        expert[r] = (int32_t)best;
        count[best]++;
    }
}

/* One node's experts to its slots. own[n]: expert ids; slots[m]. */
static void place_node(const double *load, const int32_t *own, int64_t n, int64_t m, int64_t gpus, int32_t *slots, int32_t *count, struct arena scratch)
{
    double *w = ARENA_NEW(&scratch, double, n), *share = ARENA_NEW(&scratch, double, m);
    int32_t *expert = ARENA_NEW(&scratch, int32_t, m), *copies = ARENA_NEW(&scratch, int32_t, n);
    int32_t *gpu = ARENA_NEW(&scratch, int32_t, m), *rank = ARENA_NEW(&scratch, int32_t, m);
    for (int64_t i = 0; i < n; i++)
        w[i] = load[own[i]];
    replicate(w, n, m, expert, copies);
    for (int64_t r = 0; r < m; r++)
        share[r] = w[expert[r]] / copies[expert[r]];
    pack(share, m, gpus, gpu, rank, scratch);
    for (int64_t r = 0; r < m; r++)
        slots[gpu[r] * (m / gpus) + rank[r]] = own[expert[r]];
    for (int64_t i = 0; count && i < n; i++)
        count[own[i]] = copies[i];
}

err_code eplb_place(const struct eplb_shape *s, const double *load, int32_t *slot_expert, int32_t *count, struct arena scratch, struct err *e)
{
    int64_t groups = s->groups, nodes = s->nodes;
    if (s->experts < 1 || groups < 1 || nodes < 1 || s->gpus < 1 || groups % nodes) /* experts stay where they are best: one group on one node */
        groups = nodes = 1;
    if (s->experts < 1 || s->gpus < 1 || s->replicas < s->experts || s->replicas % s->gpus || s->experts % groups || s->gpus % nodes)
        return err_set(e, ERR_USAGE, "placement: %lld experts as %lld replicas in %lld groups on %lld GPUs of %lld nodes do not divide", (long long)s->experts,
                       (long long)s->replicas, (long long)s->groups, (long long)s->gpus, (long long)s->nodes);
    int64_t per_group = s->experts / groups, per_node = s->experts / nodes;
    double *w = ARENA_NEW(&scratch, double, groups);
    int32_t *node = ARENA_NEW(&scratch, int32_t, groups), *rank = ARENA_NEW(&scratch, int32_t, groups), *own = ARENA_NEW(&scratch, int32_t, s->experts);
    for (int64_t i = 0; i < s->experts; i++)
        w[i / per_group] += load[i];
    pack(w, groups, nodes, node, rank, scratch);
    for (int64_t g = 0; g < groups; g++)
        for (int64_t k = 0; k < per_group; k++)
            own[node[g] * per_node + rank[g] * per_group + k] = (int32_t)(g * per_group + k);
    for (int64_t n = 0; n < nodes; n++)
        place_node(load, own + n * per_node, per_node, s->replicas / nodes, s->gpus / nodes, slot_expert + n * (s->replicas / nodes), count, scratch);
    return ERR_OK;
}

double eplb_imbalance(const struct eplb_shape *s, const double *load, const int32_t *slot_expert)
{
    double most = 0, sum = 0;
    int64_t slots = s->replicas / s->gpus;
    for (int64_t g = 0; g < s->gpus; g++) {
        double here = 0;
        for (int64_t k = 0; k < slots; k++) {
            int32_t x = slot_expert[g * slots + k], n = 0;
            for (int64_t r = 0; r < s->replicas; r++)
                n += slot_expert[r] == x;
            here += load[x] / n;
        }
        most = here > most ? here : most;
        sum += here;
    }
    return sum > 0 ? most * (double)s->gpus / sum : 1;
}
