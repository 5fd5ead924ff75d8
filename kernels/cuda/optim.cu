/* AdamW and the gradient's square: train/optim_body.h and optim.c, element by element the same operations, so the same bits. */
#include "kernels/cuda/cuda.h"

DEV_BEGIN

static constexpr int GROUP = 32, LANES = 8, WORDS = 4, THREADS = 256, BLOCK = 4096;

/* rng_philox */
DEVICE void philox(uint32_t r[4], uint32_t k0, uint32_t k1)
{
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * r[0], p1 = (uint64_t)0xCD9E8D57u * r[2];
        r[0] = (uint32_t)(p1 >> 32) ^ r[1] ^ k0;
        r[2] = (uint32_t)(p0 >> 32) ^ r[3] ^ k1;
        r[1] = (uint32_t)p1;
        r[3] = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

DEVICE float one(const struct kern_adamw &a, float w, float g, float *m, float *v)
{
    g *= a.scale;
    *m = a.beta1 * *m + a.rest1 * g;
    *v = a.beta2 * *v + a.rest2 * (g * g);
    return w * a.keep - a.rate * (*m / (sqrtf(*v) * a.root_fix2 + a.eps));
}

DEVICE uint16_t random_bf16(float f, uint32_t random16) { return (uint16_t)((to_bits(f) + random16) >> 16); }

/* Eight threads per group of 32: thread l has elements l, 8 + l, 16 + l, 24 + l, whose random words are one Philox block. */
KERNEL(THREADS) adamw(struct kern_adamw a)
{
    int64_t t = (int64_t)BLOCK_X * THREADS + THREAD, group = t / LANES, l = t % LANES;
    uint64_t counter = (a.first + (uint64_t)group * GROUP) / WORDS + (uint64_t)l;
    uint32_t r[4] = {(uint32_t)counter, (uint32_t)(counter >> 32), a.key[2], a.key[3]};
    uint16_t *m16 = (uint16_t *)a.m, *v16 = (uint16_t *)a.v;
    float *m32 = (float *)a.m, *v32 = (float *)a.v;
    if (a.bf16)
        philox(r, a.key[0], a.key[1]);
    UNROLL
    for (int w = 0; w < WORDS; w++) {
        int64_t i = group * GROUP + w * LANES + l;
        if (i >= a.n)
            return;
        float m = a.bf16 ? from_bits((uint32_t)m16[i] << 16) : m32[i], v = a.bf16 ? from_bits((uint32_t)v16[i] << 16) : v32[i];
        a.w[i] = one(a, a.w[i], a.g[i], &m, &v);
        if (a.bf16) {
            m16[i] = random_bf16(m, r[w] & 0xFFFF);
            v16[i] = random_bf16(v, r[w] >> 16);
        } else {
            m32[i] = m;
            v32[i] = v;
        }
    }
}

void dev_adamw(struct kern *k, const struct kern_adamw *a)
{
    dev_launch(k, {"adamw", {a->n, -1, -1, -1}}, adamw, {kern_parts(kern_parts(a->n, GROUP) * LANES, THREADS), 1, 1}, THREADS, 0, *a);
}

/* Eight threads per block of 4096, a lane each. */
KERNEL(THREADS) square_blocks(const float *x, int64_t n, double *out)
{
    SHARED(double, lane);
    int64_t block = (int64_t)BLOCK_X * (THREADS / LANES) + THREAD / LANES, begin = block * BLOCK, stop = begin + BLOCK < n ? begin + BLOCK : n;
    double s = 0;
    for (int64_t i = begin + THREAD % LANES; i < stop; i += LANES)
        s += (double)x[i] * (double)x[i];
    lane[THREAD] = s;
    block_sync();
    if (THREAD % LANES || begin >= n)
        return;
    s = 0;
    for (int l = 0; l < LANES; l++)
        s += lane[THREAD + l];
    out[block] = s;
}

double dev_sum_squares(struct kern *k, const float *x, int64_t n, double *block_sum)
{
    int64_t blocks = kern_parts(n, BLOCK);
    double *out = (double *)dev_scratch(k, DEV_PARTS, blocks * 8), sum = 0;
    dev_launch(k, {"sum_squares", {n, -1, -1, -1}}, square_blocks, {kern_parts(blocks, THREADS / LANES), 1, 1}, THREADS, THREADS * 8, x, n, out);
    kern_get(k, block_sum, out, blocks * 8);
    for (int64_t b = 0; b < blocks; b++)
        sum += block_sum[b];
    return sum;
}

DEV_END
