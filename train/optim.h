/* The arithmetic of one optimiser step over flat arrays.
 * det: elementwise, or sums in fixed blocks: same bytes for any thread count. */
#ifndef HONE_TRAIN_OPTIM_H
#define HONE_TRAIN_OPTIM_H

#include <stdint.h>

#include "core/cdecl.h"

CDECL_BEGIN

enum { OPTIM_BLOCK = 4096, OPTIM_GROUP = 32 };

int64_t optim_blocks(int64_t n); /* partial sums that optim_sum_squares wants */

/* sum g^2 in float64: blocks of OPTIM_BLOCK in 8 lanes each, lanes then blocks added in index order. Squares of floats
 * cannot overflow a double, so the result is finite exactly when every element is. */
enum optim_isa { OPTIM_BEST, OPTIM_PLAIN, OPTIM_AVX2 }; /* other than BEST: for tests */
double optim_sum_squares(const float *g, int64_t n, double *block_sum, enum optim_isa isa);

struct optim_step {
    double lr, beta1, beta2, eps, decay;
    double scale;         /* of the gradient: clipping */
    double fix1, fix2;    /* 1 - beta^t */
    uint64_t seed;        /* for rounding to bf16 */
    int64_t step;
    uint64_t first;       /* index of element 0 among all parameters, for rounding */
    int bf16;             /* moments are bf16, else f32 */
};

/* AdamW on n elements (formula in train.h), computed in f32. bf16 moments are rounded stochastically: with beta2 near 1
 * the change of v is below half a bf16 step, so rounding to nearest would freeze it. The random bits are a pure
 * function of (seed, step, index). first: a multiple of OPTIM_GROUP. */
void optim_adamw(const struct optim_step *s, float *w, const float *g, void *m, void *v, int64_t n, enum optim_isa isa);

/* One call's constants in f32, for the code of one instruction set. */
struct optim_job {
    float *w;
    const float *g;
    void *m, *v;
    uint64_t first;
    float beta1, beta2, rest1, rest2, scale, keep, rate, root_fix2, eps;
    uint32_t key[4]; /* Philox: key and upper half of the counter, from (seed, step) */
    int bf16;
};
void optim_constants(const struct optim_step *s, struct optim_job *out);
typedef void optim_range_fn(const struct optim_job *j, int64_t begin, int64_t end);
optim_range_fn optim_range_plain, optim_range_avx2;
typedef double optim_norm_fn(const float *g, int64_t n); /* one block's sum */
optim_norm_fn optim_norm_plain, optim_norm_avx2;

CDECL_END

#endif
