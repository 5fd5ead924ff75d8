/* Ops along rows: the split over threads; the arithmetic is rows_body.h. */
#include "kernels/cpu/cpu.h"

#include <string.h>

#include "core/par.h"

/* Rows per chunk so that a chunk is worth handing to a thread. */
static int64_t grain(int64_t c)
{
    return kern_max(1, (1 << 13) / kern_max(c, 1));
}

struct norm_job {
    const struct kern_cpu *cpu;
    struct norm_rows r;
    const float *rstd;
    int64_t rows;
};

static void norm_range(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct norm_job *j = ctx;
    (void)worker;
    j->cpu->norm(&j->r, begin, end);
}

static void norm_bwd_range(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct norm_job *j = ctx;
    (void)worker;
    j->cpu->norm_bwd(&j->r, begin, end);
}

static void norm_dw_range(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct norm_job *j = ctx;
    (void)worker;
    j->cpu->norm_dw(&j->r, j->rstd, j->rows, begin, end);
}

static int64_t row_stride(int64_t ld, int64_t inner, int64_t c)
{
    return ld ? ld : inner * c;
}

void kern_cpu_rmsnorm(struct kern *k, const struct kern_rmsnorm *a)
{
    int64_t inner = a->inner ? a->inner : 1;
    struct norm_job j = {.cpu = k->cpu, .r = {
        .y = a->y, .rstd = a->rstd, .x = a->x, .w = a->w, .c = a->c, .inner = inner, .ldx = row_stride(a->ldx, inner, a->c),
        .ldy = row_stride(a->ldy, inner, a->c), .eps = a->eps,
    }};
    par_for(a->rows, grain(a->c), norm_range, &j);
}

void kern_cpu_rmsnorm_bwd(struct kern *k, const struct kern_rmsnorm_bwd *a)
{
    int64_t inner = a->inner ? a->inner : 1;
    float *rstd = a->dw ? kern_scratch(k, SLOT_STATS, a->rows * 4) : NULL;
    struct norm_job j = {.cpu = k->cpu, .rstd = rstd, .rows = a->rows, .r = {
        .y = a->dx, .rstd = rstd, .dw = a->dw, .x = a->x, .w = a->w, .dy = a->dy, .c = a->c, .inner = inner,
        .ldx = row_stride(a->ldx, inner, a->c), .ldy = row_stride(a->lddx, inner, a->c), .lddy = row_stride(a->lddy, inner, a->c),
        .eps = a->eps, .accumulate = a->accumulate,
    }};
    par_for(a->rows, grain(a->c), norm_bwd_range, &j);
    if (a->dw)
        par_for(a->c, kern_max(LANES, kern_up(a->c / 8, LANES)), norm_dw_range, &j);
}

struct ew_job {
    const struct kern_cpu *cpu;
    const void *a;
};

/* ---- rope ------------------------------------------------------------------------------------ */

static void rope_range(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct ew_job *j = ctx;
    (void)worker;
    j->cpu->rope(j->a, begin, end);
}

void kern_cpu_rope(struct kern *k, const struct kern_rope *a)
{
    struct ew_job j = {k->cpu, a};
    assert(a->d % 2 == 0);
    par_for(a->t, grain(a->h * a->d), rope_range, &j);
}

/* ---- elementwise ----------------------------------------------------------------------------- */

static void swiglu_range(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct ew_job *j = ctx;
    (void)worker;
    j->cpu->swiglu(j->a, begin, end);
}

void kern_cpu_swiglu(struct kern *k, const struct kern_swiglu *a)
{
    struct kern_swiglu d = *a;
    struct ew_job j = {k->cpu, &d};
    d.ldg = a->ldg ? a->ldg : a->c;
    d.ldy = a->ldy ? a->ldy : a->c;
    par_for(a->rows, grain(a->c), swiglu_range, &j);
}

static void swiglu_bwd_range(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct ew_job *j = ctx;
    (void)worker;
    j->cpu->swiglu_bwd(j->a, begin, end);
}

void kern_cpu_swiglu_bwd(struct kern *k, const struct kern_swiglu_bwd *a)
{
    struct kern_swiglu_bwd d = *a;
    struct ew_job j = {k->cpu, &d};
    d.ldg = a->ldg ? a->ldg : a->c;
    d.lddy = a->lddy ? a->lddy : a->c;
    d.lddg = a->lddg ? a->lddg : a->c;
    par_for(a->rows, grain(a->c), swiglu_bwd_range, &j);
}

static void add_range(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct ew_job *j = ctx;
    const struct kern_add *a = j->a;
    (void)worker;
    j->cpu->add(a->y + begin, a->a + begin, a->b + begin, end - begin);
}

void kern_cpu_add(struct kern *k, const struct kern_add *a)
{
    struct ew_job j = {k->cpu, a};
    par_for(a->n, 1 << 15, add_range, &j);
}

/* ---- embedding ------------------------------------------------------------------------------- */

static void embed_range(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct kern_embed *a = ctx;
    (void)worker;
    for (int64_t t = begin; t < end; t++) {
        assert(a->ids[t] >= 0 && a->ids[t] < a->v);
        float *y = a->y + t * a->c;
        if (a->table_bf16) {
            const uint16_t *h = (const uint16_t *)a->table_bf16 + a->ids[t] * a->c;
            uint32_t *u = (uint32_t *)(void *)y;
            for (int64_t i = 0; i < a->c; i++)
                u[i] = (uint32_t)h[i] << 16;
        } else
            memcpy(y, a->table + a->ids[t] * a->c, (size_t)a->c * sizeof *y);
    }
}

void kern_cpu_embed(struct kern *k, const struct kern_embed *a)
{
    (void)k;
    par_for(a->t, grain(a->c), embed_range, (void *)(uintptr_t)a);
}

static void embed_bwd_columns(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct ew_job *j = ctx;
    const struct kern_embed_bwd *a = j->a;
    (void)worker;
    for (int64_t t = 0; t < a->t; t++) {
        assert(a->ids[t] >= 0 && a->ids[t] < a->v);
        j->cpu->axpy(a->dtable + a->ids[t] * a->c + begin, a->dy + t * a->c + begin, end - begin);
    }
}

/* Threads share the columns, so that rows of one id are added in ascending t by whoever owns the column. */
void kern_cpu_embed_bwd(struct kern *k, const struct kern_embed_bwd *a)
{
    struct ew_job j = {k->cpu, a};
    par_for(a->c, kern_max(PANEL, kern_up(a->c / 8, PANEL)), embed_bwd_columns, &j);
}

/* ---- cache ----------------------------------------------------------------------------------- */

static void write_bf16(const struct kern_kv_write *a, int64_t t)
{
    for (int64_t h = 0; h < a->hkv; h++) {
        uint16_t *to = (uint16_t *)(void *)a->k_pages + a->page[t] * a->page_stride_k + (h * KERN_PAGE + a->slot[t]) * a->dk;
        const uint32_t *from = (const uint32_t *)(const void *)(a->k + t * a->ldk + h * a->dk);
        for (int64_t i = 0; i < a->dk; i++)
            to[i] = (uint16_t)(from[i] >> 16);
    }
}

void kern_cpu_kv_write(struct kern *k, const struct kern_kv_write *a)
{
    (void)k;
    assert(!a->bf16 || !a->dv);
    for (int64_t t = 0; t < a->t; t++) {
        assert(a->slot[t] >= 0 && a->slot[t] < KERN_PAGE && a->page[t] >= 0);
        if (a->bf16)
            write_bf16(a, t);
        for (int64_t h = 0; h < a->hkv && !a->bf16; h++) {
            memcpy(a->k_pages + a->page[t] * a->page_stride_k + (h * KERN_PAGE + a->slot[t]) * a->dk, a->k + t * a->ldk + h * a->dk,
                   (size_t)a->dk * sizeof *a->k);
            if (a->dv)
                memcpy(a->v_pages + a->page[t] * a->page_stride_v + (h * KERN_PAGE + a->slot[t]) * a->dv, a->v + t * a->ldv + h * a->dv,
                       (size_t)a->dv * sizeof *a->v);
        }
    }
}
