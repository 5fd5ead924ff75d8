/* The value of an expression as a complex ball. */
#ifndef HONE_REWARDS_MATH_EVAL_H
#define HONE_REWARDS_MATH_EVAL_H

#include "rewards/math_ball.h"
#include "rewards/math_int.h"

/* Where names are evaluated: point 0 is for constants. */
struct eval {
    struct math_checker *m;
    struct ball_ctx *c;
    int point;       /* which seeded point */
    int branch;      /* a name met a cut of a complex function on the way */
    int symbols;     /* set by the caller: are there names at all? */
};

struct cball math_eval(struct eval *ev, const struct node *x);

#endif
