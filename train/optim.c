#include "train/optim.h"

#include <assert.h>
#include <math.h>

#include "core/par.h"
#include "core/rng.h"

enum { GRAIN_BLOCKS = 16, GRAIN = 1 << 14 };

int64_t optim_blocks(int64_t n)
{
    return (n + OPTIM_BLOCK - 1) / OPTIM_BLOCK;
}

/* The code of one instruction set. */
struct code {
    optim_range_fn *range;
    optim_norm_fn *norm;
};

static struct code choose(enum optim_isa isa)
{
#if defined(__x86_64__)
    if (isa != OPTIM_PLAIN && __builtin_cpu_supports("avx2"))
        return (struct code){optim_range_avx2, optim_norm_avx2};
#endif
    (void)isa;
    return (struct code){optim_range_plain, optim_norm_plain};
}

struct norm_job {
    const float *g;
    int64_t n;
    double *out;
    optim_norm_fn *fn;
};

static void norm_blocks(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct norm_job *j = ctx;
    (void)worker;
    for (int64_t b = begin; b < end; b++) {
        int64_t at = b * OPTIM_BLOCK, left = j->n - at;
        j->out[b] = j->fn(j->g + at, left < OPTIM_BLOCK ? left : OPTIM_BLOCK);
    }
}

double optim_sum_squares(const float *g, int64_t n, double *block_sum, enum optim_isa isa)
{
    struct norm_job j = {g, n, block_sum, choose(isa).norm};
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

void optim_constants(const struct optim_step *s, struct optim_job *out)
{
    struct optim_job j = {
        .first = s->first, .bf16 = s->bf16,
        .beta1 = (float)s->beta1, .beta2 = (float)s->beta2, .rest1 = (float)(1 - s->beta1), .rest2 = (float)(1 - s->beta2),
        .scale = (float)s->scale, .eps = (float)s->eps, .keep = (float)(1 - s->lr * s->decay),
        .rate = (float)(s->lr / s->fix1), .root_fix2 = (float)(1 / sqrt(s->fix2)),
    };
    uint32_t id[4] = {RNG_ROUND, (uint32_t)s->step, (uint32_t)((uint64_t)s->step >> 32), 0}, key[2] = {(uint32_t)s->seed, (uint32_t)(s->seed >> 32)};
    assert(s->first % OPTIM_GROUP == 0);
    rng_philox(j.key, id, key);
    *out = j;
}

void optim_adamw(const struct optim_step *s, float *w, const float *g, void *m, void *v, int64_t n, enum optim_isa isa)
{
    struct optim_job j;
    optim_constants(s, &j);
    j.w = w, j.g = g, j.m = m, j.v = v;
    struct range r = {&j, choose(isa).range};
    par_for(n, GRAIN, run_range, &r); /* GRAIN is a multiple of OPTIM_GROUP */
}
