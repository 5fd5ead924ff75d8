/* Elementary functions from IEEE operations alone: libm's differ between machines and versions. */
#include <math.h>
#include <string.h>

#include "core/rng.h"
#include "kernels/kern.h"

/* One lane of v_exp (cpu/vec.h), where the method stands. */
float kern_expf(float x)
{
    const float magic = 12582912.f;
    x = -105.f > x ? -105.f : x;
    x = 89.f < x ? 89.f : x;
    float t = fmaf(x, 1.44269504088896341f, magic), n = t - magic;
    float r = fmaf(n, 2.12194440e-4f, fmaf(n, -0.693359375f, x));
    float p = 1.9875691500e-4f;
    p = fmaf(p, r, 1.3981999507e-3f);
    p = fmaf(p, r, 8.3334519073e-3f);
    p = fmaf(p, r, 4.1665795894e-2f);
    p = fmaf(p, r, 1.6666665459e-1f);
    p = fmaf(p, r, 5.0000001201e-1f);
    p = fmaf(p, r * r, r) + 1.f;
    if (isnan(x))
        return x;
    int32_t e = (int32_t)n, half = e >> 1;
    uint32_t a = (uint32_t)(half + 127) << 23, b = (uint32_t)(e - half + 127) << 23;
    float fa, fb;
    memcpy(&fa, &a, sizeof fa);
    memcpy(&fb, &b, sizeof fb);
    return p * fa * fb;
}

float kern_logf(float x)
{
    if (!(x > 0))
        return x == 0 ? -INFINITY : NAN;
    return isinf(x) ? x : (float)num_log((double)x);
}

/* ---- narrow floats --------------------------------------------------------------------------- */

float kern_e4m3_value(uint8_t code)
{
    uint32_t mag = code & 0x7F, u = (mag << 20) + (120u << 23); /* exponent bias 7 to 127 */
    float v = (float)mag * 0x1p-9f;
    if (mag >= 8)
        memcpy(&v, &u, sizeof v);
    if (mag == 0x7F)
        v = NAN;
    return code & 0x80 ? -v : v;
}

uint8_t kern_e4m3_code(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    uint8_t sign = (uint8_t)(u >> 24 & 0x80);
    u &= 0x7FFFFFFF;
    if (u > 0x7F800000)
        return 0x7F;
    if (u >= 0x43E80000) /* 464 and more round to 480, which is not there */
        return sign | 0x7E;
    if (u >= 0x3C800000) { /* 2^-6: the smallest normal number */
        u += 0x7FFFF + (u >> 20 & 1);
        return sign | (uint8_t)((u >> 20) - (120 << 3));
    }
    float mag;
    memcpy(&mag, &u, sizeof mag);
    return sign | (uint8_t)((mag + 24576.f) * 512.f - 24576.f * 512.f); /* adding 1.5 * 2^14 rounds to multiples of 2^-9 */
}

/* ---- rope ------------------------------------------------------------------------------------ */

/* e^x, |x| < 700, relative error 1e-15: Taylor on |r| <= ln 2 / 2. */
static double exp64(double x)
{
    double n = rint(x * 1.4426950408889634), r = fma(n, -1.9082149292705877e-10, fma(n, -0.6931471803691238, x)), s = 1;
    for (int i = 16; i > 0; i--)
        s = fma(s, r / i, 1);
    return ldexp(s, (int)n);
}

/* sin and cos of x in [0, 2^30): reduced by pi/2 in two parts, then Taylor on |r| <= pi/4; error 1e-15. */
static void sin_cos(double x, double *sin_out, double *cos_out)
{
    double n = rint(x * 0.6366197723675814), r = fma(n, -6.123233995736766e-17, fma(n, -1.5707963267948966, x)), q = r * r, s = 1, c = 1;
    for (int i = 20; i > 0; i -= 2) {
        s = fma(s, -q / (i * (i + 1)), 1);
        c = fma(c, -q / (i * (i - 1)), 1);
    }
    s *= r;
    switch ((int64_t)n & 3) {
    case 0: *sin_out = s, *cos_out = c; break;
    case 1: *sin_out = c, *cos_out = -s; break;
    case 2: *sin_out = -s, *cos_out = -c; break;
    default: *sin_out = -c, *cos_out = s; break;
    }
}

static const double two_pi = 6.283185307179586;

static double yarn_mscale(double factor, double mscale)
{
    return factor <= 1 ? 1 : 0.1 * mscale * num_log(factor) + 1;
}

/* The dimension whose wave turns `turns` times over the original context. */
static double yarn_dim(const struct kern_rope_spec *s, double turns)
{
    return (double)s->d * num_log((double)s->original_max_position / (turns * two_pi)) / (2 * num_log(s->theta));
}

static void yarn(const struct kern_rope_spec *s, double *inv, double *attention_factor)
{
    double low = yarn_dim(s, s->beta_fast), high = yarn_dim(s, s->beta_slow);
    if (s->truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = low < 0 ? 0 : low;
    high = high > (double)(s->d - 1) ? (double)(s->d - 1) : high;
    high = high == low ? high + 0.001 : high;
    for (int64_t i = 0; i < s->d / 2; i++) {
        double ramp = ((double)i - low) / (high - low);
        ramp = ramp < 0 ? 0 : ramp > 1 ? 1 : ramp;
        inv[i] = inv[i] / s->factor * ramp + inv[i] * (1 - ramp);
    }
    if (s->attention_factor > 0)
        *attention_factor = s->attention_factor;
    else if (s->mscale != 0 && s->mscale_all_dim != 0)
        *attention_factor = yarn_mscale(s->factor, s->mscale) / yarn_mscale(s->factor, s->mscale_all_dim);
    else
        *attention_factor = yarn_mscale(s->factor, 1);
}

static void llama3(const struct kern_rope_spec *s, double *inv)
{
    double l0 = (double)s->original_max_position;
    for (int64_t i = 0; i < s->d / 2; i++) {
        double wave = two_pi / inv[i];
        if (wave > l0 / s->low_freq_factor)
            inv[i] /= s->factor;
        else if (wave >= l0 / s->high_freq_factor) {
            double smooth = (l0 / wave - s->low_freq_factor) / (s->high_freq_factor - s->low_freq_factor);
            inv[i] = (1 - smooth) * inv[i] / s->factor + smooth * inv[i];
        }
    }
}

void kern_rope_freqs(const struct kern_rope_spec *s, double *inv_freq, double *attention_factor)
{
    double log_theta = num_log(s->theta), one;
    assert(s->d > 0 && s->d % 2 == 0 && s->theta > 1);
    if (!attention_factor)
        attention_factor = &one;
    *attention_factor = 1;
    for (int64_t i = 0; i < s->d / 2; i++)
        inv_freq[i] = exp64(-log_theta * (double)(2 * i) / (double)s->d);
    switch (s->type) {
    case KERN_ROPE_DEFAULT: break;
    case KERN_ROPE_LINEAR:
        for (int64_t i = 0; i < s->d / 2; i++)
            inv_freq[i] /= s->factor;
        break;
    case KERN_ROPE_LLAMA3: llama3(s, inv_freq); break;
    case KERN_ROPE_YARN: yarn(s, inv_freq, attention_factor); break;
    }
}

void kern_rope_table(const struct kern_rope_spec *s, int64_t positions, float *table)
{
    double inv[1024], factor;
    assert(s->d / 2 <= (int64_t)(sizeof inv / sizeof *inv));
    kern_rope_freqs(s, inv, &factor);
    for (int64_t p = 0; p < positions; p++)
        for (int64_t i = 0; i < s->d / 2; i++) {
            double sn, cs;
            sin_cos((double)p * inv[i], &sn, &cs);
            *table++ = (float)(cs * factor);
            *table++ = (float)(sn * factor);
        }
}
