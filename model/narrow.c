/* What FP8 keeps of activations between forward and backward (DeepSeek-V3 section 3.3.3).
 *   kept in E4M3       inputs of SwiGLU, whose output is computed again
 *   kept in E5M6       output of attention: its backward reads it, and so does the weight gradient of o
 *   computed again     norms, and from the latents queries, keys and values of MLA
 * The backward's other inputs of linears (behind a norm) are those that the forward's products read: rounded in groups of 128 along the
 * row as it did, then by the weight gradient in groups of 128 tokens. Computing them again gives the bytes that a cache of them would hold.
 * What is kept does not depend on whether a layer's forward ran once or, with opts.recompute, again. */
#include "model/impl.h"

int model_is_narrow(const struct model *m)
{
    return m->opts.prec == KERN_FP8;
}

void model_keep(struct model *m, const struct narrow *to, const float *x, int64_t rows, int64_t c, enum kern_narrow format)
{
    if (model_is_narrow(m))
        kern_quant(m->k, &(struct kern_quant){.codes = to->codes, .scale = to->scale, .x = x, .rows = rows, .c = c, .format = format});
}

void model_take(struct model *m, float *x, const struct narrow *from, int64_t rows, int64_t c, enum kern_narrow format)
{
    if (model_is_narrow(m))
        kern_dequant(m->k, &(struct kern_dequant){.x = x, .codes = from->codes, .scale = from->scale, .rows = rows, .c = c, .format = format});
}

void model_round_input(struct model *m, const struct linear *lin, float *x, int64_t rows)
{
    const struct narrow *r = &m->a.round;
    if (lin->w.prec != KERN_FP8)
        return;
    kern_quant(m->k, &(struct kern_quant){.codes = r->codes, .scale = r->scale, .x = x, .rows = rows, .c = lin->w.k, .format = KERN_E4M3, .pow2 = lin->pow2_x});
    kern_dequant(m->k, &(struct kern_dequant){.x = x, .codes = r->codes, .scale = r->scale, .rows = rows, .c = lin->w.k, .format = KERN_E4M3});
}
