#include "train/optim.h"

#include <math.h>
#include <string.h>

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

static float from_bf16(uint16_t h)
{
    uint32_t u = (uint32_t)h << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* Up with the probability of what lies below: E[result] = f. f is finite and far from the largest float. */
static uint16_t to_bf16(float f, uint32_t random16)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return (uint16_t)((u + (random16 & 0xFFFF)) >> 16);
}

struct adamw_job {
    const struct optim_step *s;
    float *w;
    const float *g;
    void *m, *v;
    float beta1, beta2, scale, keep, rate, root_fix2, eps;
};

/* One element; m and v are read and replaced. */
static inline float adamw_one(const struct adamw_job *j, float w, float g, float *m, float *v)
{
    g *= j->scale;
    *m = j->beta1 * *m + (1 - j->beta1) * g;
    *v = j->beta2 * *v + (1 - j->beta2) * (g * g);
    return w * j->keep - j->rate * (*m / (sqrtf(*v) * j->root_fix2 + j->eps));
}

static void adamw_f32(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct adamw_job *j = ctx;
    float *m = j->m, *v = j->v;
    (void)worker;
    for (int64_t i = begin; i < end; i++)
        j->w[i] = adamw_one(j, j->w[i], j->g[i], &m[i], &v[i]);
}

static void adamw_bf16(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct adamw_job *j = ctx;
    uint16_t *m = j->m, *v = j->v;
    (void)worker;
    for (int64_t i = begin; i < end; i += 4) { /* GRAIN is a multiple of 4: a block never straddles two workers */
        uint32_t r[4];
        rng_block(r, j->s->seed, RNG_ROUND, (uint64_t)j->s->step, 0, (j->s->first + (uint64_t)i) / 4);
        for (int64_t k = i; k < end && k < i + 4; k++) {
            float mk = from_bf16(m[k]), vk = from_bf16(v[k]);
            j->w[k] = adamw_one(j, j->w[k], j->g[k], &mk, &vk);
            m[k] = to_bf16(mk, r[k - i]);
            v[k] = to_bf16(vk, r[k - i] >> 16);
        }
    }
}

void optim_adamw(const struct optim_step *s, float *w, const float *g, void *m, void *v, int64_t n)
{
    struct adamw_job j = {
        .s = s, .w = w, .g = g, .m = m, .v = v,
        .beta1 = (float)s->beta1, .beta2 = (float)s->beta2, .scale = (float)s->scale, .eps = (float)s->eps,
        .keep = (float)(1 - s->lr * s->decay), .rate = (float)(s->lr / s->fix1), .root_fix2 = (float)(1 / sqrt(s->fix2)),
    };
    par_for(n, GRAIN, s->bf16 ? adamw_bf16 : adamw_f32, &j);
}
