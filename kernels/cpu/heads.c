/* One product per head: the absorbed form of latent attention. */
#include "core/par.h"
#include "kernels/cpu/cpu.h"
#include "kernels/moe_body.h"

void kern_cpu_heads(struct kern *k, const struct kern_heads *a)
{
    const struct kern_weight *w = a->w;
    struct gemm *g = kern_scratch(k, SLOT_GROUP, a->h * (int64_t)sizeof *g);
    for (int64_t h = 0; h < a->h; h++) {
        assert(w[h].pack && w[h].n == w->n && w[h].k == w->k && w[h].prec == w->prec && w->prec != KERN_FP8);
        g[h] = (struct gemm){.c = a->y + h * a->y_head, .a = a->x + h * a->x_head, .panels = w[h].pack, .m = a->t, .n = w->n, .k = w->k, .a_m = a->ldx, .a_i = 1,
                             .ldc = a->ldy, .prec = w->prec};
    }
    kern_cpu_gemms(k, g, a->h);
}

/* A turned master [k, n] has the reduction along its rows, which is what a pack is for. */
void kern_cpu_heads_dgrad(struct kern *k, const struct kern_heads_dgrad *a)
{
    const struct kern_weight *w = a->w;
    const int64_t bytes = kern_up(kern_cpu_pack_bytes(w->k, w->n, w->prec), 64);
    struct gemm *g = kern_scratch(k, SLOT_GROUP, a->h * (int64_t)sizeof *g);
    char *packs = a->turned ? kern_scratch(k, SLOT_QUANT, a->h * bytes) : NULL;
    for (int64_t h = 0; h < a->h; h++) {
        assert(w[h].w && w[h].n == w->n && w[h].k == w->k && w[h].prec == w->prec && w->prec != KERN_FP8);
        g[h] = (struct gemm){.c = a->dx + h * a->dx_head, .a = a->dy + h * a->dy_head, .m = a->t, .n = w->k, .k = w->n, .a_m = a->lddy, .a_i = 1, .ldc = a->lddx,
                             .prec = w->prec};
        if (a->turned) {
            struct kern_weight plain = {.n = w->k, .k = w->n, .prec = w->prec, .pack = packs + h * bytes};
            kern_cpu_pack_rows(k, &plain, w[h].w, 0, 0, plain.n);
            g[h].panels = plain.pack;
        } else
            g[h].b = w[h].w, g[h].ldb = w->k;
    }
    kern_cpu_gemms(k, g, a->h);
}

void kern_cpu_heads_wgrad(struct kern *k, const struct kern_heads_wgrad *a)
{
    struct gemm *g = kern_scratch(k, SLOT_GROUP, a->h * (int64_t)sizeof *g);
    assert(a->prec != KERN_FP8);
    for (int64_t h = 0; h < a->h; h++)
        g[h] = (struct gemm){.c = a->dw + h * a->dw_head, .a = a->dy + h * a->dy_head, .b = a->x + h * a->x_head, .ldb = a->ldx, .m = a->n, .n = a->k, .k = a->t, .a_m = 1,
                             .a_i = a->lddy, .ldc = a->k, .prec = a->prec, .accumulate = 1};
    kern_cpu_gemms(k, g, a->h);
}

static void copy_range(void *ctx, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    for (int64_t r = begin; r < end; r++)
        copy_row(ctx, r);
}

void kern_cpu_copy(struct kern *k, const struct kern_copy *a)
{
    (void)k;
    par_for(a->rows, kern_max(1, (1 << 13) / kern_max(a->c, 1)), copy_range, (void *)(uintptr_t)a);
}
