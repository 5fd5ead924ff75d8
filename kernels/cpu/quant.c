/* Activations in one byte or twelve bits. */
#include "kernels/cpu/cpu.h"

#include <math.h>
#include <string.h>

#include "core/par.h"

/* Twelve bits: sign, exponent as f16 has it (1..30), 6 of mantissa; the largest is 127 / 64 * 2^15. */
static uint16_t e5m6_code(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    uint16_t sign = (uint16_t)(u >> 20 & 0x800);
    u &= 0x7FFFFFFF;
    if (u > 0x7F800000)
        return 0x7FF; /* the one NaN */
    if (u < 0x38800000) { /* below 2^-14: steps of 2^-20 */
        float mag;
        memcpy(&mag, &u, sizeof mag);
        return sign | (uint16_t)(int32_t)rintf(mag * 0x1p20f);
    }
    u += 0xFFFF + (u >> 17 & 1);
    uint32_t code = (u >> 17) - (112u << 6);
    return sign | (uint16_t)(code > 0x7BF ? 0x7BF : code);
}

static float e5m6_value(uint16_t code)
{
    uint32_t mag = code & 0x7FF, u = (mag << 17) + (112u << 23); /* exponent bias 15 to 127 */
    float v = (float)mag * 0x1p-20f;
    if (mag >= 64)
        memcpy(&v, &u, sizeof v);
    if (mag == 0x7FF)
        v = NAN;
    return code & 0x800 ? -v : v;
}

static float e5m6_scale(float amax)
{
    const float largest = 65024.f; /* 127 / 64 * 2^15 */
    float s = (amax > 1e-20f ? amax : 1e-20f) / largest;
    uint32_t u;
    memcpy(&u, &s, sizeof u);
    if (u & 0x7FFFFF)
        u = (u | 0x7FFFFF) + 1;
    memcpy(&s, &u, sizeof s);
    return s;
}

struct narrow_job {
    const struct kern_cpu *cpu;
    const void *a;
};

static void quant_range(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct narrow_job *j = ctx;
    const struct kern_quant *a = j->a;
    const int64_t bytes = kern_narrow_bytes(a->c, a->format), runs = kern_parts(a->c, KERN_RUN), ldx = a->ldx ? a->ldx : a->c;
    (void)worker;
    for (int64_t r = begin; r < end; r++)
        for (int64_t at = 0; at < a->c; at += KERN_RUN) {
            const float *x = a->x + r * ldx + at;
            int64_t n = kern_min(KERN_RUN, a->c - at);
            float top = j->cpu->amax(x, n), s = a->format == KERN_E4M3 ? kern_cpu_fp8_scale(top, a->pow2 ? KERN_SCALE_POW2 : 0) : e5m6_scale(top);
            uint8_t *out = a->codes + r * bytes + kern_narrow_bytes(at, a->format);
            a->scale[r * runs + at / KERN_RUN] = s;
            for (int64_t i = 0; a->format == KERN_E4M3 && i < n; i++)
                out[i] = kern_e4m3_code(x[i] / s);
            for (int64_t i = 0; a->format == KERN_E5M6 && i < n; i += 2) {
                unsigned p = e5m6_code(x[i] / s), q = i + 1 < n ? e5m6_code(x[i + 1] / s) : 0;
                *out++ = (uint8_t)p;
                *out++ = (uint8_t)(p >> 8 | q << 4);
                *out++ = (uint8_t)(q >> 4);
            }
        }
}

void kern_cpu_quant(struct kern *k, const struct kern_quant *a)
{
    par_for(a->rows, 4, quant_range, &(struct narrow_job){k->cpu, a});
}

static void dequant_range(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct narrow_job *j = ctx;
    const struct kern_dequant *a = j->a;
    const int64_t bytes = kern_narrow_bytes(a->c, a->format), runs = kern_parts(a->c, KERN_RUN), ldx = a->ldx ? a->ldx : a->c;
    (void)worker;
    for (int64_t r = begin; r < end; r++)
        for (int64_t i = 0; i < a->c; i++) {
            const uint8_t *in = a->codes + r * bytes;
            float v, s = a->scale[r * runs + i / KERN_RUN];
            if (a->format == KERN_E4M3)
                v = kern_e4m3_value(in[i]);
            else {
                const uint8_t *p = in + i / 2 * 3;
                v = e5m6_value((uint16_t)(i % 2 ? p[1] >> 4 | p[2] << 4 : p[0] | (p[1] & 15) << 8));
            }
            a->x[r * ldx + i] = v * s;
        }
}

void kern_cpu_dequant(struct kern *k, const struct kern_dequant *a)
{
    par_for(a->rows, 4, dequant_range, &(struct narrow_job){k->cpu, a});
}
