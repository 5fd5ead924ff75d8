/* Narrow storage by search: the code whose value is nearest, the even one of two. */
#include "kernels/ref/ref.h"

#include <math.h>

static double value(unsigned code, enum kern_narrow format)
{
    if (format == KERN_E4M3)
        return (double)kern_e4m3_value((uint8_t)code);
    int e = code >> 6 & 31, m = code & 63;
    double v = e ? ldexp(64 + m, e - 21) : ldexp(m, -20);
    return code & 0x800 ? -v : v;
}

static unsigned nearest(float x, enum kern_narrow format)
{
    const unsigned sign = signbit(x) ? format == KERN_E4M3 ? 0x80 : 0x800 : 0, top = format == KERN_E4M3 ? 0x7E : 0x7BF;
    unsigned best = 0;
    if (isnan(x))
        return format == KERN_E4M3 ? 0x7F : 0x7FF;
    for (unsigned c = 1; c <= top; c++) {
        double old = fabs(value(best, format) - fabs((double)x)), d = fabs(value(c, format) - fabs((double)x));
        if (d < old || (d == old && c % 2 == 0))
            best = c;
    }
    return best | sign;
}

static float scale_of(float top, enum kern_narrow format, int pow2)
{
    float s = format == KERN_E4M3 ? (top > 1e-4f ? top : 1e-4f) / 448.f : (top > 1e-20f ? top : 1e-20f) / 65024.f;
    int e;
    if (!pow2 && format == KERN_E4M3)
        return s;
    float m = frexpf(s, &e);
    return ldexpf(1, m == 0.5f ? e - 1 : e);
}

void kern_ref_quant(struct kern *k, const struct kern_quant *a)
{
    const int64_t runs = kern_parts(a->c, KERN_RUN), ldx = a->ldx ? a->ldx : a->c;
    (void)k;
    for (int64_t r = 0; r < a->rows; r++)
        for (int64_t i = 0; i < a->c; i++) {
            const float *x = a->x + r * ldx, *run = x + i / KERN_RUN * KERN_RUN;
            uint8_t *out = a->codes + r * kern_narrow_bytes(a->c, a->format);
            float top = 0;
            for (int64_t j = 0; j < kern_min(KERN_RUN, a->c - i / KERN_RUN * KERN_RUN); j++)
                top = fabsf(run[j]) > top ? fabsf(run[j]) : top;
            float s = a->scale[r * runs + i / KERN_RUN] = scale_of(top, a->format, a->pow2);
            unsigned code = nearest(x[i] / s, a->format);
            if (a->format == KERN_E4M3)
                out[i] = (uint8_t)code;
            else if (i % 2 == 0) {
                out[i / 2 * 3] = (uint8_t)code;
                out[i / 2 * 3 + 1] = (uint8_t)(code >> 8);
                out[i / 2 * 3 + 2] = 0;
            } else {
                out[i / 2 * 3 + 1] |= (uint8_t)(code << 4);
                out[i / 2 * 3 + 2] = (uint8_t)(code >> 4);
            }
        }
}

void kern_ref_dequant(struct kern *k, const struct kern_dequant *a)
{
    const int64_t runs = kern_parts(a->c, KERN_RUN), ldx = a->ldx ? a->ldx : a->c;
    (void)k;
    for (int64_t r = 0; r < a->rows; r++)
        for (int64_t i = 0; i < a->c; i++) {
            const uint8_t *in = a->codes + r * kern_narrow_bytes(a->c, a->format), *p = in + i / 2 * 3;
            unsigned code = a->format == KERN_E4M3 ? in[i] : i % 2 ? (unsigned)(p[1] >> 4 | p[2] << 4) : (unsigned)(p[0] | (p[1] & 15) << 8);
            double v = a->format == KERN_E5M6 && (code & 0x7FF) == 0x7FF ? NAN : value(code, a->format);
            a->x[r * ldx + i] = (float)(v * (double)a->scale[r * runs + i / KERN_RUN]);
        }
}
