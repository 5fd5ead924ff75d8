#include "train/optim.h"

#include <assert.h>
#include <math.h>

#include "core/par.h"
#include "core/rng.h"

enum { LANES = 8, GRAIN_BLOCKS = 16, GRAIN = 1 << 14 };

int64_t optim_blocks(int64_t n)
{
    return (n + OPTIM_BLOCK - 1) / OPTIM_BLOCK;
}

struct norm_job {
    const float *g;
    int64_t n;
    double *out;
};

static void norm_blocks(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct norm_job *j = ctx;
    (void)worker;
    for (int64_t b = begin; b < end; b++) {
        double lane[LANES] = {0}, sum = 0;
        int64_t at = b * OPTIM_BLOCK, stop = at + OPTIM_BLOCK < j->n ? at + OPTIM_BLOCK : j->n;
        for (; at + LANES <= stop; at += LANES)
            for (int l = 0; l < LANES; l++)
                lane[l] += (double)j->g[at + l] * (double)j->g[at + l];
        for (int l = 0; at < stop; at++, l++)
            lane[l] += (double)j->g[at] * (double)j->g[at];
        for (int l = 0; l < LANES; l++)
            sum += lane[l];
        j->out[b] = sum;
    }
}

double optim_sum_squares(const float *g, int64_t n, double *block_sum)
{
    struct norm_job j = {g, n, block_sum};
    double sum = 0;
    par_for(optim_blocks(n), GRAIN_BLOCKS, norm_blocks, &j);
    for (int64_t b = 0; b < optim_blocks(n); b++)
        sum += block_sum[b];
    return sum;
}

struct range {
    const struct optim_job *job;
    optim_range_fn *fn;
};

static void run_range(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct range *r = ctx;
    (void)worker;
    r->fn(r->job, begin, end);
}

static optim_range_fn *choose(enum optim_isa isa)
{
#if defined(__x86_64__)
    if (isa != OPTIM_PLAIN && __builtin_cpu_supports("avx2"))
        return optim_range_avx2;
#endif
    (void)isa;
    return optim_range_plain;
}

void optim_adamw(const struct optim_step *s, float *w, const float *g, void *m, void *v, int64_t n, enum optim_isa isa)
{
    struct optim_job j = {
        .w = w, .g = g, .m = m, .v = v, .first = s->first, .bf16 = s->bf16,
        .beta1 = (float)s->beta1, .beta2 = (float)s->beta2, .rest1 = (float)(1 - s->beta1), .rest2 = (float)(1 - s->beta2),
        .scale = (float)s->scale, .eps = (float)s->eps, .keep = (float)(1 - s->lr * s->decay),
        .rate = (float)(s->lr / s->fix1), .root_fix2 = (float)(1 / sqrt(s->fix2)),
    };
    uint32_t id[4] = {RNG_ROUND, (uint32_t)s->step, (uint32_t)((uint64_t)s->step >> 32), 0}, key[2] = {(uint32_t)s->seed, (uint32_t)(s->seed >> 32)};
    assert(s->first % OPTIM_GROUP == 0);
    rng_philox(j.key, id, key);
    struct range r = {&j, choose(isa)};
    par_for(n, GRAIN, run_range, &r); /* GRAIN is a multiple of OPTIM_GROUP */
}
