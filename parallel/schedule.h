/* Pipeline schedules, by formula and by simulating every rank's list of calls with its dependencies.
 *
 *   F  forward of one micro-batch on one stage,  B  its whole backward,  W  the weight-gradient part of B,  FB  a forward and a backward
 *   overlapped (F&B). Bubble = idle time of the worst rank:
 *     1F1B       (PP - 1) (F + B)                 activations PP,     parameters 1x
 *     ZB1P       (PP - 1) (F + B - 2W)            activations PP,     parameters 1x
 *     DualPipe   (PP/2 - 1) (F&B + B - 3W)        activations PP + 1, parameters 2x
 * The simulation gives exactly these (DualPipe: where F, W and the input part of B take the same time).
 *   src: DeepSeek-V3 technical report, table 2; Qi et al. 2023 (zero bubble); the DualPipe repository's schedule description
 */
#ifndef HONE_PARALLEL_SCHEDULE_H
#define HONE_PARALLEL_SCHEDULE_H

#include <stdint.h>

#include "core/arena.h"
#include "core/err.h"

#define PIPE_KINDS(X) X(1f1b, "1F1B") X(zb1p, "ZB1P") X(dualpipe, "DualPipe")
enum pipe_kind {
#define X(name, title) PIPE_##name,
    PIPE_KINDS(X)
#undef X
    PIPE_N_KINDS
};

struct pipe_cost {
    double f, b, w, fb;      /* time of F, of B (weight part included), of W, of an overlapped pair */
};
struct pipe_run {
    double total;            /* from the first call to the last */
    double bubble;           /* idle time of the worst rank */
    int64_t activations;     /* most micro-batches whose activations a rank holds at once */
    int64_t *held;           /* in: NULL, or [pp] for the same of each rank */
};
double pipe_bubble(enum pipe_kind k, int64_t pp, const struct pipe_cost *c);
/* ERR_USAGE: a shape that the schedule does not take (DualPipe: pp even, micro even and >= 2 pp; others: micro >= pp). ERR_MISMATCH: the lists
 * deadlock or leave work undone, which is our mistake in them. */
err_code pipe_simulate(enum pipe_kind k, int64_t pp, int64_t micro, const struct pipe_cost *c, struct arena scratch, struct pipe_run *out, struct err *e);

#endif
