/* What the benches share: the clock (BENCH_CPU=1: processor time, for a machine that others load) and device memory or the end. */
#ifndef HONE_BENCH_BENCH_H
#define HONE_BENCH_BENCH_H

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "kernels/kernels.h"

static clockid_t which = CLOCK_MONOTONIC;

static inline double now(void)
{
    struct timespec t;
    clock_gettime(which, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static inline void *need(struct kern *k, int64_t bytes)
{
    void *p;
    struct err e = {0};
    if (kern_alloc(k, bytes, "bench", &p, &e) != ERR_OK) {
        fprintf(stderr, "%s\n", e.msg);
        exit(1);
    }
    return p;
}

#endif
