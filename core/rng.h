/* Counter-based randomness (N4): a pure function of (seed, stream, ids, position). No state to save.
 *
 *   Philox4x32-10, key = seed, counter = (stream, a, b, i).
 *   src: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", section 3.3; Random123
 * det: integer arithmetic and correctly rounded float operations only: the same bits everywhere.
 */
#ifndef HONE_CORE_RNG_H
#define HONE_CORE_RNG_H

#include <stdint.h>

#include "core/cdecl.h"

CDECL_BEGIN

/* Streams keep uses apart: the same seed gives unrelated numbers in each. */
enum rng_stream { RNG_TEST = 1, RNG_INIT, RNG_SAMPLE, RNG_SHUFFLE, RNG_PACK, RNG_DEMO, RNG_MATH, RNG_MIX, RNG_EVAL, RNG_ROUND };

void rng_philox(uint32_t out[4], const uint32_t ctr[4], const uint32_t key[2]);

/* The i-th block of four words for (seed, stream, a, b). a is folded over 64 bits, b over 32. */
void rng_block(uint32_t out[4], uint64_t seed, uint32_t stream, uint64_t a, uint32_t b, uint64_t i);
uint32_t rng_u32(uint64_t seed, uint32_t stream, uint64_t a, uint32_t b, uint64_t i);
uint64_t rng_u64(uint64_t seed, uint32_t stream, uint64_t a, uint32_t b, uint64_t i);
/* [0,1) with 24 bits (f32) or 53 bits (f64). */
float rng_f32(uint64_t seed, uint32_t stream, uint64_t a, uint32_t b, uint64_t i);
double rng_f64(uint64_t seed, uint32_t stream, uint64_t a, uint32_t b, uint64_t i);
/* Unbiased integer in [0, n). */
uint64_t rng_below(uint64_t n, uint64_t seed, uint32_t stream, uint64_t a, uint32_t b, uint64_t i);
/* Standard normal by the inverse CDF (Wichura 1988, AS 241 PPND16), relative error 1e-15. */
double rng_normal(uint64_t seed, uint32_t stream, uint64_t a, uint32_t b, uint64_t i);
/* The inverse CDF itself, 0 < p < 1: for several normals from one rng_block. */
double num_normal(double p);
/* Natural log from IEEE operations alone (libm's differs between machines); x > 0 finite; 2 ulp. */
double num_log(double x);
/* Fisher-Yates permutation of 0..n-1 into p, a pure function of its arguments. */
void rng_permutation(int64_t *p, int64_t n, uint64_t seed, uint32_t stream, uint64_t a);

CDECL_END

#endif
