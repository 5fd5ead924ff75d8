/* For the tests of kernels/: inputs from a counter, guarded and poisoned outputs, one case run on every backend, instruction set and
 * thread count. */
#ifndef HONE_TESTS_KERN_TEST_H
#define HONE_TESTS_KERN_TEST_H

#include <math.h>

#include "core/arena.h"
#include "core/par.h"
#include "core/rng.h"
#include "kernels/kernels.h"
#include "tests/test.h"

enum { GUARD = 16, MAX_OUTS = 8 };

struct bench {
    struct arena mem;
    struct kern *k;
    int n;
    struct {
        const char *name;
        float *p;
        int64_t n;
        double tol; /* of the reference's largest magnitude */
    } out[MAX_OUTS];
};

static inline float test_guard(int64_t i)
{
    return 1e30f + (float)i * 1e25f;
}

/* An output of n floats, full of NaN, between guard words. */
static inline float *test_out(struct bench *b, const char *name, int64_t n, double tol)
{
    float *p = ARENA_NEW(&b->mem, float, n + 2 * GUARD);
    for (int64_t i = 0; i < GUARD; i++)
        p[i] = p[GUARD + n + i] = test_guard(i);
    for (int64_t i = 0; i < n; i++)
        p[GUARD + i] = NAN;
    assert_true(b->n < MAX_OUTS);
    b->out[b->n].name = name;
    b->out[b->n].n = n;
    b->out[b->n].tol = tol;
    b->out[b->n++].p = p + GUARD;
    return p + GUARD;
}

static inline void test_fill(float *p, int64_t n, uint64_t id, float scale)
{
    for (int64_t i = 0; i < n; i++)
        p[i] = scale * (2 * rng_f32(11, RNG_TEST, id, 0, (uint64_t)i) - 1);
}

/* Inputs lie at odd places: nothing may assume more than 4-byte alignment. */
static inline float *test_in(struct bench *b, int64_t n, uint64_t id, float scale)
{
    float *p = ARENA_NEW(&b->mem, float, n + 1) + 1;
    test_fill(p, n, id, scale);
    return p;
}

static inline float *test_in_out(struct bench *b, const char *name, int64_t n, double tol, uint64_t id)
{
    float *p = test_out(b, name, n, tol);
    test_fill(p, n, id, 1);
    return p;
}

static inline struct kern_weight test_weight(struct bench *b, int64_t n, int64_t k, enum kern_prec prec, uint64_t id)
{
    struct kern_weight w = {.n = n, .k = k, .prec = prec, .w = test_in(b, n * k, id, 1)};
    w.pack = ARENA_NEW(&b->mem, char, kern_pack_bytes(b->k, n, k, prec));
    kern_pack(b->k, &w);
    return w;
}

static inline struct kern *test_kern(const char *backend, enum kern_isa isa)
{
    struct kern *k;
    struct err e = {0};
    assert_int_equal(kern_open(&(struct kern_opts){.backend = backend, .isa = isa}, &k, &e), ERR_OK);
    return k;
}

static inline void test_run(struct bench *b, const char *backend, enum kern_isa isa, void (*run)(struct bench *, const void *), const void *arg)
{
    arena_init(&b->mem, "kernel test", (int64_t)4 << 30);
    b->n = 0;
    b->k = test_kern(backend, isa);
    run(b, arg);
    for (int o = 0; o < b->n; o++)
        for (int64_t i = 0; i < GUARD; i++)
            if (b->out[o].p[i - GUARD] != test_guard(i) || b->out[o].p[b->out[o].n + i] != test_guard(i))
                fail_msg("%s: %s wrote outside of '%s'", kern_name(b->k), "an op", b->out[o].name);
}

static inline void test_done(struct bench *b)
{
    kern_close(b->k);
    arena_release(&b->mem);
}

static inline void test_near(const struct bench *want, const struct bench *got)
{
    for (int o = 0; o < want->n; o++) {
        double top = 0, worst = 0;
        int64_t at = 0;
        for (int64_t i = 0; i < want->out[o].n; i++)
            top = fmax(top, fabs((double)want->out[o].p[i]));
        for (int64_t i = 0; i < want->out[o].n; i++) {
            double d = fabs((double)want->out[o].p[i] - (double)got->out[o].p[i]);
            if (!(d <= worst)) /* NaN too */
                worst = d, at = i;
        }
        if (!(worst <= want->out[o].tol * top + 1e-30))
            fail_msg("%s: '%s'[%lld] is %g, ref says %g (largest %g)", kern_name(got->k), want->out[o].name, (long long)at,
                     (double)got->out[o].p[at], (double)want->out[o].p[at], top);
    }
}

static inline void test_same(const struct bench *want, const struct bench *got)
{
    for (int o = 0; o < want->n; o++)
        for (int64_t i = 0; i < want->out[o].n; i++)
            if (memcmp(want->out[o].p + i, got->out[o].p + i, 4))
                fail_msg("%s with %d threads: '%s'[%lld] is %a, %s said %a", kern_name(got->k), par_threads(), want->out[o].name, (long long)i,
                         (double)got->out[o].p[i], kern_name(want->k), (double)want->out[o].p[i]);
}

/* ref against cpu by tolerance; cpu against itself by bits over instruction sets and 1, 2, 3 threads. */
static inline void test_everywhere(void (*run)(struct bench *, const void *), const void *arg)
{
    struct bench ref, first, b;
    test_run(&ref, "ref", KERN_BEST, run, arg);
    par_init(1);
    test_run(&first, "cpu", KERN_BEST, run, arg);
    test_near(&ref, &first);
    for (enum kern_isa isa = KERN_PORTABLE; isa <= KERN_AVX512BF16; isa++)
        for (int threads = isa == KERN_PORTABLE ? 2 : 1; threads <= 3 && kern_has_isa(isa); threads += isa == KERN_PORTABLE ? 2 : 1) { /* portable is slow */
            par_init(threads);
            test_run(&b, "cpu", isa, run, arg);
            test_same(&first, &b);
            test_done(&b);
        }
    test_done(&first);
    test_done(&ref);
    par_init(0);
}

#endif
