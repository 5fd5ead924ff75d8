/* Activations in one byte or twelve bits. */
#include "kernels/cpu/cpu.h"

#include <string.h>

#include "core/par.h"

static float e5m6_scale(float amax)
{
    const float largest = 65024.f;
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
            (a->format == KERN_E4M3 ? j->cpu->quant_e4m3 : j->cpu->quant_e5m6)(out, x, n, s);
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
        for (int64_t at = 0; at < a->c; at += KERN_RUN)
            (a->format == KERN_E4M3 ? j->cpu->dequant_e4m3 : j->cpu->dequant_e5m6)(a->x + r * ldx + at, a->codes + r * bytes + kern_narrow_bytes(at, a->format),
                                                                                   kern_min(KERN_RUN, a->c - at), a->scale[r * runs + at / KERN_RUN]);
}

void kern_cpu_dequant(struct kern *k, const struct kern_dequant *a)
{
    par_for(a->rows, 4, dequant_range, &(struct narrow_job){k->cpu, a});
}
