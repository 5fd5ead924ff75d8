/* Mixture and latent-attention ops: rows over threads; the arithmetic is kernels/moe_body.h. */
#include "kernels/moe_body.h"

#include "core/par.h"
#include "kernels/cpu/cpu.h"

struct route_job {
    const struct kern_route *a;
    char *work;                /* per worker: b [e], worth [groups], taken [e] */
    int64_t bytes;
};

static void route_range(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct route_job *j = ctx;
    float *b = (float *)(void *)(j->work + worker * j->bytes), *worth = b + j->a->e;
    for (int64_t t = begin; t < end; t++)
        route_row(j->a, t, b, worth, (unsigned char *)(worth + j->a->groups));
}

void kern_cpu_route(struct kern *k, const struct kern_route *a)
{
    struct route_job j = {.a = a, .bytes = kern_up(a->e * 5 + a->groups * 4, 64)};
    assert(a->top_k <= a->e && a->groups >= 1 && a->e % a->groups == 0 && (a->groups == 1 || a->top_groups * (a->e / a->groups) >= a->top_k));
    j.work = kern_scratch(k, SLOT_STATS, j.bytes * par_threads());
    par_for(a->t, 16, route_range, &j);
}

struct balance_job {
    const struct kern_route_balance *a;
    char *work;                /* per worker: f [e], taken [e] */
    int64_t bytes;
};

static void balance_range(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct balance_job *j = ctx;
    float *f = (float *)(void *)(j->work + worker * j->bytes);
    for (int64_t s = begin; s < end; s++)
        route_balance_seq(j->a, s, f, (unsigned char *)(f + j->a->e));
}

void kern_cpu_route_balance(struct kern *k, const struct kern_route_balance *a)
{
    struct balance_job j = {.a = a, .bytes = kern_up(a->e * 5, 64)};
    j.work = kern_scratch(k, SLOT_STATS, j.bytes * par_threads());
    par_for(a->n_seq, 1, balance_range, &j);
}

#define ROWS_OP(name, n, grain)                                                    \
    static void name##_range(void *ctx, int64_t begin, int64_t end, int worker)    \
    {                                                                              \
        (void)worker;                                                              \
        for (int64_t i = begin; i < end; i++)                                      \
            name##_row((const struct kern_##name *)ctx, i);                        \
    }                                                                              \
    void kern_cpu_##name(struct kern *k, const struct kern_##name *a)              \
    {                                                                              \
        (void)k;                                                                   \
        par_for(a->n, grain, name##_range, (void *)(uintptr_t)a);                  \
    }
ROWS_OP(route_bwd, t, 16)
ROWS_OP(moe_sum, t, 8)
ROWS_OP(moe_dot, rows, 16)
ROWS_OP(moe_scale, rows, 16)
ROWS_OP(mla_kv, t, 8)
ROWS_OP(mla_kv_bwd, t, 8)
