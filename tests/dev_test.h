/* For tests of backends with memory of their own: inputs and outputs of a case lie in the backend's memory, outputs poisoned and guarded.
 * A case runs on ref, cpu and the device alike; its results are compared on the host. */
#ifndef HONE_TESTS_DEV_TEST_H
#define HONE_TESTS_DEV_TEST_H

#include <math.h>

#include "core/arena.h"
#include "core/rng.h"
#include "kernels/kernels.h"
#include "tests/test.h"

enum { SIDE_GUARD = 16, SIDE_OUTS = 12, SIDE_PIECES = 64 };

/* One run of a case on one backend. */
struct side {
    struct kern *k;
    struct arena mem;
    void *piece[SIDE_PIECES];
    int n_pieces, n;
    struct side_out {
        const char *name;
        float *dev, *host; /* behind the guard */
        int64_t n;
        double tol;        /* against ref, of its largest magnitude */
        int exact;         /* f32 forward: the bits of cpu */
    } out[SIDE_OUTS];
};

static inline void *side_alloc(struct side *s, int64_t bytes)
{
    struct err e = {0};
    void *p;
    assert_true(s->n_pieces < SIDE_PIECES);
    if (kern_alloc(s->k, bytes, "a test", &p, &e) != ERR_OK)
        fail_msg("%s", e.msg);
    return s->piece[s->n_pieces++] = p;
}

static inline void *side_put(struct side *s, const void *host, int64_t bytes)
{
    void *p = side_alloc(s, bytes);
    kern_put(s->k, p, host, bytes);
    return p;
}

static inline float *side_numbers(struct side *s, int64_t n, uint64_t id, float scale)
{
    float *p = ARENA_NEW(&s->mem, float, n);
    for (int64_t i = 0; i < n; i++)
        p[i] = scale * (2 * rng_f32(12, RNG_TEST, id, 0, (uint64_t)i) - 1);
    return p;
}

/* At an odd place: nothing may assume more than 4-byte alignment. */
static inline float *side_in(struct side *s, int64_t n, uint64_t id, float scale)
{
    float *p = side_alloc(s, (n + 1) * 4);
    kern_put(s->k, p + 1, side_numbers(s, n, id, scale), n * 4);
    return p + 1;
}

static inline float side_guard(int64_t i)
{
    return 1e30f + (float)i * 1e25f;
}

/* id 0: full of NaN; else filled like an input, for ops that add. */
static inline float *side_out(struct side *s, const char *name, int64_t n, double tol, int exact, uint64_t id)
{
    float *p = ARENA_NEW(&s->mem, float, n + 2 * SIDE_GUARD), *from = id ? side_numbers(s, n, id, 1) : NULL;
    assert_true(s->n < SIDE_OUTS);
    for (int64_t i = 0; i < SIDE_GUARD; i++)
        p[i] = p[SIDE_GUARD + n + i] = side_guard(i);
    for (int64_t i = 0; i < n; i++)
        p[SIDE_GUARD + i] = from ? from[i] : NAN;
    float *dev = (float *)side_put(s, p, (n + 2 * SIDE_GUARD) * 4) + SIDE_GUARD;
    s->out[s->n++] = (struct side_out){name, dev, p + SIDE_GUARD, n, tol, exact};
    return dev;
}

static inline struct kern_weight side_weight(struct side *s, int64_t n, int64_t k, enum kern_prec prec, uint64_t id)
{
    struct kern_weight w = {.n = n, .k = k, .prec = prec, .w = side_in(s, n * k, id, 1)};
    w.pack = side_alloc(s, kern_pack_bytes(s->k, n, k, prec));
    kern_pack(s->k, &w);
    return w;
}

typedef void side_case(struct side *s, const void *arg);

static inline void side_run(struct side *s, struct kern *k, side_case *run, const void *arg)
{
    *s = (struct side){.k = k};
    arena_init(&s->mem, "device test", (int64_t)2 << 30);
    run(s, arg);
    for (int o = 0; o < s->n; o++) {
        struct side_out *x = &s->out[o];
        kern_get(k, x->host - SIDE_GUARD, x->dev - SIDE_GUARD, (x->n + 2 * SIDE_GUARD) * 4);
        for (int64_t i = 0; i < SIDE_GUARD; i++)
            if (x->host[i - SIDE_GUARD] != side_guard(i) || x->host[x->n + i] != side_guard(i))
                fail_msg("%s: an op wrote outside of '%s'", kern_name(k), x->name);
    }
}

static inline void side_done(struct side *s)
{
    for (int i = 0; i < s->n_pieces; i++)
        kern_free(s->k, s->piece[i]);
    arena_release(&s->mem);
}

/* Largest difference of an output, of the largest magnitude. */
static inline double side_error(const struct side_out *want, const struct side_out *got, int64_t *at)
{
    double top = 0, worst = 0;
    *at = 0;
    for (int64_t i = 0; i < want->n; i++)
        top = fmax(top, fabs((double)want->host[i]));
    for (int64_t i = 0; i < want->n; i++) {
        double d = fabs((double)want->host[i] - (double)got->host[i]);
        if (!(d <= worst)) /* NaN too */
            worst = d, *at = i;
    }
    return worst / (top + 1e-30);
}

static inline void side_near(const struct side *want, const struct side *got)
{
    for (int o = 0; o < want->n; o++) {
        const struct side_out *x = &want->out[o], *y = &got->out[o];
        int64_t at;
        double d = side_error(x, y, &at);
        if (!(d <= x->tol))
            fail_msg("%s: '%s'[%lld of %lld] is %g, %s says %g (difference %.3g of the largest, allowed %.3g)", kern_name(got->k), x->name, (long long)at, (long long)x->n,
                     (double)y->host[at], kern_name(want->k), (double)x->host[at], d, x->tol);
    }
}

static inline void side_same(const struct side *want, const struct side *got, int only_exact)
{
    for (int o = 0; o < want->n; o++)
        for (int64_t i = 0; i < want->out[o].n && (!only_exact || want->out[o].exact); i++)
            if (memcmp(want->out[o].host + i, got->out[o].host + i, 4))
                fail_msg("%s: '%s'[%lld of %lld] is %a, %s said %a", kern_name(got->k), want->out[o].name, (long long)i, (long long)want->out[o].n,
                         (double)got->out[o].host[i], kern_name(want->k), (double)want->out[o].host[i]);
}

#endif
