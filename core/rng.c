#include "core/rng.h"

#include <math.h>

#include "core/err.h"

void rng_philox(uint32_t out[4], const uint32_t ctr[4], const uint32_t key[2])
{
    uint32_t c0 = ctr[0], c1 = ctr[1], c2 = ctr[2], c3 = ctr[3], k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

void rng_block(uint32_t out[4], uint64_t seed, uint32_t stream, uint64_t a, uint32_t b, uint64_t i)
{
    /* 192 bits of identity do not fit a 128-bit counter: derive a key from (seed; stream, a, b) first. */
    uint32_t id[4] = {stream, (uint32_t)a, (uint32_t)(a >> 32), b};
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t derived[4];
    rng_philox(derived, id, key);
    uint32_t ctr[4] = {(uint32_t)i, (uint32_t)(i >> 32), derived[2], derived[3]};
    rng_philox(out, ctr, derived);
}

uint32_t rng_u32(uint64_t seed, uint32_t stream, uint64_t a, uint32_t b, uint64_t i)
{
    uint32_t out[4];
    rng_block(out, seed, stream, a, b, i);
    return out[0];
}

uint64_t rng_u64(uint64_t seed, uint32_t stream, uint64_t a, uint32_t b, uint64_t i)
{
    uint32_t out[4];
    rng_block(out, seed, stream, a, b, i);
    return (uint64_t)out[1] << 32 | out[0];
}

float rng_f32(uint64_t seed, uint32_t stream, uint64_t a, uint32_t b, uint64_t i)
{
    return (float)(rng_u32(seed, stream, a, b, i) >> 8) * 0x1p-24f;
}

double rng_f64(uint64_t seed, uint32_t stream, uint64_t a, uint32_t b, uint64_t i)
{
    return (double)(rng_u64(seed, stream, a, b, i) >> 11) * 0x1p-53;
}

uint64_t rng_below(uint64_t n, uint64_t seed, uint32_t stream, uint64_t a, uint32_t b, uint64_t i)
{
    assert(n > 0);
    uint32_t out[4];
    rng_block(out, seed, stream, a, b, i);
    uint64_t x = (uint64_t)out[1] << 32 | out[0];
    uint64_t threshold = (0 - n) % n; /* Lemire's rejection; the block is rehashed until accepted */
    for (;;) {
        unsigned __int128 m = (unsigned __int128)x * n;
        if ((uint64_t)m >= threshold)
            return (uint64_t)(m >> 64);
        uint32_t key[2] = {out[2], out[3]};
        rng_philox(out, out, key);
        x = (uint64_t)out[1] << 32 | out[0];
    }
}

double num_log(double x)
{
    assert(x > 0 && isfinite(x));
    int e;
    double m = frexp(x, &e); /* [0.5, 1) */
    if (m < 0.70710678118654752440)
        m *= 2, e--;
    double s = (m - 1) / (m + 1), z = s * s, sum = 0;
    for (int k = 23; k >= 1; k -= 2) /* 2 atanh(s), |s| <= 0.172: the next term is below 1e-19 */
        sum = sum * z + 1.0 / k;
    return e * 6.93147180369123816490e-01 + (2 * s * sum + e * 1.90821492927058770002e-10);
}

static double ratio(const double *num, const double *den, double r)
{
    double a = num[7], b = den[7];
    for (int i = 6; i >= 0; i--)
        a = a * r + num[i], b = b * r + den[i];
    return a / b;
}

double num_normal(double p)
{
    static const double a[8] = {3.3871328727963666080e0, 1.3314166789178437745e+2, 1.9715909503065514427e+3,
                                1.3731693765509461125e+4, 4.5921953931549871457e+4, 6.7265770927008700853e+4,
                                3.3430575583588128105e+4, 2.5090809287301226727e+3};
    static const double b[8] = {1.0, 4.2313330701600911252e+1, 6.8718700749205790830e+2, 5.3941960214247511077e+3,
                                2.1213794301586595867e+4, 3.9307895800092710610e+4, 2.8729085735721942674e+4,
                                5.2264952788528545610e+3};
    static const double c[8] = {1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0,
                                3.64784832476320460504e0, 1.27045825245236838258e0, 2.41780725177450611770e-1,
                                2.27238449892691845833e-2, 7.74545014278341407640e-4};
    static const double d[8] = {1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
                                1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4,
                                1.05075007164441684324e-9};
    static const double f[8] = {6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0,
                                2.96560571828504891230e-1, 2.65321895265761230930e-2, 1.24266094738807843860e-3,
                                2.71155556874348757815e-5, 2.01033439929228813265e-7};
    static const double g[8] = {1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
                                7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7,
                                2.04426310338993978564e-15};
    double q = p - 0.5;
    if (fabs(q) <= 0.425)
        return q * ratio(a, b, 0.180625 - q * q);
    double r = sqrt(-num_log(q < 0 ? p : 1 - p));
    double v = r <= 5 ? ratio(c, d, r - 1.6) : ratio(f, g, r - 5);
    return q < 0 ? -v : v;
}

double rng_normal(uint64_t seed, uint32_t stream, uint64_t a, uint32_t b, uint64_t i)
{
    /* centred on the 53-bit grid, so that 0 and 1 cannot occur */
    return num_normal(rng_f64(seed, stream, a, b, i) + 0x1p-54);
}

void rng_permutation(int64_t *p, int64_t n, uint64_t seed, uint32_t stream, uint64_t a)
{
    for (int64_t i = 0; i < n; i++)
        p[i] = i;
    for (int64_t i = n - 1; i > 0; i--) {
        int64_t j = (int64_t)rng_below((uint64_t)i + 1, seed, stream, a, 0, (uint64_t)i);
        int64_t t = p[i];
        p[i] = p[j];
        p[j] = t;
    }
}
