/* Complex balls: a midpoint of 1-16 limbs with a 64-bit exponent, and a rigorous error bound. */
#ifndef HONE_REWARDS_MATH_BALL_H
#define HONE_REWARDS_MATH_BALL_H

#include <gmp.h>
#include <stdint.h>

#include "rewards/math_int.h"

enum { BALL_LIMBS = 16, BALL_FAR = 1, BALL_DEPTH = MATH_MAX_HIGH + 32 };

#define BALL_EMAX ((int64_t)1 << 40) /* beyond 2^BALL_EMAX only "at least that big" is known */

/* An error bound m * 2^e, rounded up; m = 0 is exact. */
struct mag {
    double m;
    int64_t e;
};

enum ball_kind {
    BALL_OK,       /* mid +- rad */
    BALL_HUGE,     /* sign * something >= 2^e */
    BALL_UNKNOWN,  /* nothing is known, or the value does not exist */
};

struct ball {
    int8_t sign;   /* 0: the midpoint is 0 */
    uint8_t kind;
    int64_t e;     /* value = sign * 0.d * 2^e, the top bit of d set */
    struct mag rad;
    mp_limb_t d[BALL_LIMBS];
};

struct cball {
    struct ball re, im;
    int branch;    /* went through a cut of a complex function: only the principal value */
};

struct ball_ctx {
    int n;                          /* limbs in use */
    struct ball pi, ln2;            /* at BALL_LIMBS */
    int depth;                      /* of tmp in use */
    struct cball tmp[BALL_DEPTH];   /* of expressions in evaluation: one a level of the tree */
};

void ball_setup(struct ball_ctx *c);                    /* pi and ln 2 */
struct ball ball_int(const struct ball_ctx *c, int64_t v);
struct ball ball_rat(struct ball_ctx *c, const struct rat *q);
struct ball ball_unknown(void);
struct ball ball_neg(struct ball a);
struct ball ball_add(const struct ball_ctx *c, const struct ball *a, const struct ball *b);
struct ball ball_sub(const struct ball_ctx *c, const struct ball *a, const struct ball *b);
struct ball ball_mul(const struct ball_ctx *c, const struct ball *a, const struct ball *b);
struct ball ball_div(const struct ball_ctx *c, const struct ball *a, const struct ball *b);
struct ball ball_div_small(const struct ball_ctx *c, const struct ball *a, int64_t k); /* k != 0 */
struct ball ball_sqrt(const struct ball_ctx *c, const struct ball *a);   /* UNKNOWN when certainly negative */
struct ball ball_exp(const struct ball_ctx *c, const struct ball *a);
struct ball ball_log(const struct ball_ctx *c, const struct ball *a);    /* a > 0, else UNKNOWN */
void ball_sincos(const struct ball_ctx *c, const struct ball *a, struct ball *s, struct ball *co);
struct ball ball_atan(const struct ball_ctx *c, const struct ball *a);
struct ball ball_pi(const struct ball_ctx *c);
struct ball ball_mul_2exp(struct ball a, int64_t k);

int ball_is_zero(const struct ball *a);                 /* exactly */
int ball_sign(const struct ball *a);                    /* -1, 1: certain; 0: zero or not known */
int ball_has_zero(const struct ball *a);
int ball_disjoint(const struct ball_ctx *c, const struct ball *a, const struct ball *b);
/* log2 of the error, and of the magnitude from above; -BALL_EMAX for none. */
int64_t ball_err_log2(const struct ball *a);
int64_t ball_mag_log2(const struct ball *a);
double ball_f64(const struct ball *a);                  /* the midpoint, for starting points and messages */

#endif
