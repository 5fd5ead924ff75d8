/* FP8 weights as checkpoints have them: E4M3 bytes and the multipliers of their 128 x 128 blocks ("weight_scale_inv").
 * A pack's blocks begin at the first row of a whole linear, a file's at that of each parameter: where several parameters are rows of one
 * linear (gate | up), the two agree when all but the last have a multiple of 128 rows, as in the published models. Then bytes pass
 * unchanged in both directions; else values are read, and rounded anew. */
#include <stdlib.h>

#include "model/impl.h"

enum { BLOCK = 128 };

static int64_t blocks(int64_t n)
{
    return (n + BLOCK - 1) / BLOCK;
}

static int blocks_agree(const struct model *m, const struct linear *lin)
{
    for (int i = 0; i + 1 < lin->n_parts; i++)
        if (m->params[lin->first + i].rows % BLOCK)
            return 0;
    return lin->w.prec == KERN_FP8 && lin->w.pack; /* no pack: the absorbed kv_b */
}

int model_pack_codes(struct model *m, const struct linear *lin, const struct model_fill *f)
{
    const int64_t k = lin->w.k, n = lin->w.n;
    const uint8_t *codes;
    const void *scale;
    if (!f->codes || !blocks_agree(m, lin))
        return 0;
    for (int i = 0; i < lin->n_parts; i++)
        if (!f->codes(f->ctx, lin->first + i, &codes, &scale))
            return 0;
    uint8_t *all = malloc((size_t)(n * k));
    float *scales = malloc((size_t)(blocks(n) * blocks(k)) * sizeof *scales);
    assert(all && scales);
    for (int64_t i = 0, row = 0; i < lin->n_parts; row += m->params[lin->first + i++].rows) {
        int64_t rows = m->params[lin->first + i].rows;
        f->codes(f->ctx, lin->first + i, &codes, &scale);
        memcpy(all + row * k, codes, (size_t)(rows * k));
        memcpy(scales + row / BLOCK * blocks(k), scale, (size_t)(blocks(rows) * blocks(k)) * sizeof *scales);
    }
    kern_pack_fp8(m->k, &lin->w, all, scales);
    free(all);
    free(scales);
    return 1;
}

static const struct linear *linear_of(const struct model *m, int64_t p)
{
    for (int64_t i = 0; i < m->n_linears; i++)
        if (p >= m->linears[i]->first && p < m->linears[i]->first + m->linears[i]->n_parts)
            return m->linears[i];
    return NULL;
}

int model_is_fp8_param(const struct model *m, int64_t p)
{
    const struct linear *lin = m->params[p].cols > 1 ? linear_of(m, p) : NULL;
    return lin && !lin->high;
}

static void from_pack(const struct model *m, const struct linear *lin, int64_t p, uint8_t *codes, float *scale)
{
    const int64_t k = lin->w.k, rows = m->params[p].rows;
    uint8_t *all = malloc((size_t)(lin->w.n * k));
    float *scales = malloc((size_t)(blocks(lin->w.n) * blocks(k)) * sizeof *scales);
    int64_t row = 0;
    assert(all && scales);
    for (int64_t q = lin->first; q < p; q++)
        row += m->params[q].rows;
    kern_unpack_fp8(m->k, &lin->w, all, scales);
    memcpy(codes, all + row * k, (size_t)(rows * k));
    memcpy(scale, scales + row / BLOCK * blocks(k), (size_t)(blocks(rows) * blocks(k)) * sizeof *scale);
    free(all);
    free(scales);
}

void model_param_codes(const struct model *m, int64_t p, uint8_t *codes, float *scale)
{
    const struct model_param *q = &m->params[p];
    const struct linear *lin = linear_of(m, p);
    struct kern_weight w = {.n = q->rows, .k = q->cols, .prec = KERN_FP8, .w = q->w};
    if (blocks_agree(m, lin)) {
        from_pack(m, lin, p, codes, scale);
        return;
    }
    w.pack = malloc((size_t)kern_pack_bytes(m->k, q->rows, q->cols, KERN_FP8));
    assert(w.pack);
    kern_pack(m->k, &w);
    kern_unpack_fp8(m->k, &w, codes, scale);
    free(w.pack);
}
