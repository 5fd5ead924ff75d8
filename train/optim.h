/* The arithmetic of one optimiser step over flat arrays.
 * det: elementwise, or sums in fixed blocks: same bytes for any thread count. */
#ifndef HONE_TRAIN_OPTIM_H
#define HONE_TRAIN_OPTIM_H

#include <stdint.h>

#include "core/cdecl.h"

CDECL_BEGIN

enum { OPTIM_BLOCK = 4096 };

int64_t optim_blocks(int64_t n); /* partial sums that optim_sum_squares wants */

/* sum g^2 in float64: blocks of OPTIM_BLOCK in 8 lanes each, lanes then blocks added in index order. Squares of floats
 * cannot overflow a double, so the result is finite exactly when every element is. */
double optim_sum_squares(const float *g, int64_t n, double *block_sum);

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
 * function of (seed, step, index). */
void optim_adamw(const struct optim_step *s, float *w, const float *g, void *m, void *v, int64_t n);

CDECL_END

#endif
