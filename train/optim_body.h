/* AdamW over whole groups of 32 elements, included once per instruction set (optim_plain.c, optim_avx2.c): every operation
 * is a single IEEE one (the build never contracts to FMA), so both give the same bits. Written as loops over fixed lanes
 * for the vectoriser. */
#ifndef HONE_TRAIN_OPTIM_BODY_H
#define HONE_TRAIN_OPTIM_BODY_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "train/optim.h"

enum { LANES = 8, WORDS = 4 };

/* Philox4x32-10 of 8 consecutive counters at once; r[word][lane]. Same numbers as rng_philox (tested). */
static inline void philox8(uint32_t r[WORDS][LANES], const struct optim_job *j, uint64_t first)
{
    uint32_t k0 = j->key[0], k1 = j->key[1];
    for (int l = 0; l < LANES; l++) {
        r[0][l] = (uint32_t)(first + (uint64_t)l);
        r[1][l] = (uint32_t)((first + (uint64_t)l) >> 32);
        r[2][l] = j->key[2];
        r[3][l] = j->key[3];
    }
    for (int round = 0; round < 10; round++) {
        for (int l = 0; l < LANES; l++) {
            uint64_t p0 = (uint64_t)0xD2511F53u * r[0][l], p1 = (uint64_t)0xCD9E8D57u * r[2][l];
            r[0][l] = (uint32_t)(p1 >> 32) ^ r[1][l] ^ k0;
            r[2][l] = (uint32_t)(p0 >> 32) ^ r[3][l] ^ k1;
            r[1][l] = (uint32_t)p1;
            r[3][l] = (uint32_t)p0;
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

static inline float from_bf16(uint16_t h)
{
    uint32_t u = (uint32_t)h << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* Up with the probability of what lies below: E[result] = f. f is finite and far from the largest float. */
static inline uint16_t to_bf16(float f, uint32_t random16)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return (uint16_t)((u + random16) >> 16);
}

/* One element; m and v are read and replaced. */
static inline float one(const struct optim_job *j, float w, float g, float *m, float *v)
{
    g *= j->scale;
    *m = j->beta1 * *m + j->rest1 * g;
    *v = j->beta2 * *v + j->rest2 * (g * g);
    return w * j->keep - j->rate * (*m / (sqrtf(*v) * j->root_fix2 + j->eps));
}

static inline void group_f32(const struct optim_job *j, float *restrict w, const float *restrict g, float *restrict m, float *restrict v)
{
    for (int l = 0; l < OPTIM_GROUP; l++)
        w[l] = one(j, w[l], g[l], &m[l], &v[l]);
}

static inline void group_bf16(const struct optim_job *j, uint64_t index, float *restrict w, const float *restrict g,
                              uint16_t *restrict m, uint16_t *restrict v)
{
    uint32_t r[WORDS][LANES];
    philox8(r, j, index / WORDS);
    for (int k = 0; k < WORDS; k++)
        for (int l = 0; l < LANES; l++) {
            int i = k * LANES + l;
            float mi = from_bf16(m[i]), vi = from_bf16(v[i]);
            w[i] = one(j, w[i], g[i], &mi, &vi);
            m[i] = to_bf16(mi, r[k][l] & 0xFFFF);
            v[i] = to_bf16(vi, r[k][l] >> 16);
        }
}

/* A short last group is done in a copy, so that there is one way to compute an element. */
static inline void short_group(const struct optim_job *j, int64_t at, int64_t n)
{
    float w[OPTIM_GROUP] = {0}, g[OPTIM_GROUP] = {0}, m[OPTIM_GROUP] = {0}, v[OPTIM_GROUP] = {0};
    size_t item = j->bf16 ? 2 : 4, bytes = (size_t)n * item, floats = (size_t)n * sizeof(float);
    char *mp = (char *)j->m + (size_t)at * item, *vp = (char *)j->v + (size_t)at * item;
    memcpy(w, j->w + at, floats);
    memcpy(g, j->g + at, floats);
    memcpy(m, mp, bytes);
    memcpy(v, vp, bytes);
    if (j->bf16)
        group_bf16(j, j->first + (uint64_t)at, w, g, (uint16_t *)m, (uint16_t *)v);
    else
        group_f32(j, w, g, m, v);
    memcpy(j->w + at, w, floats);
    memcpy(mp, m, bytes);
    memcpy(vp, v, bytes);
}

static inline void optim_body(const struct optim_job *j, int64_t begin, int64_t end)
{
    int64_t at = begin;
    for (; at + OPTIM_GROUP <= end; at += OPTIM_GROUP)
        if (j->bf16)
            group_bf16(j, j->first + (uint64_t)at, j->w + at, j->g + at, (uint16_t *)j->m + at, (uint16_t *)j->v + at);
        else
            group_f32(j, j->w + at, j->g + at, (float *)j->m + at, (float *)j->v + at);
    if (at < end)
        short_group(j, at, end - at);
}

/* Two vectors of four sums, so that the additions do not wait for each other; squares of floats are exact in a double. */
static inline double norm_body(const float *g, int64_t n)
{
    typedef float f4 __attribute__((vector_size(16)));
    typedef double d4 __attribute__((vector_size(32)));
    enum { HALF = 4 };
    d4 s[2] = {{0}, {0}};
    double sum = 0;
    int64_t at = 0;
    for (; at + LANES <= n; at += LANES)
        for (int h = 0; h < 2; h++) {
            f4 x;
            memcpy(&x, g + at + h * HALF, sizeof x);
            d4 d = __builtin_convertvector(x, d4);
            s[h] += d * d;
        }
    for (int l = 0; at < n; at++, l++)
        s[l / HALF][l % HALF] += (double)g[at] * (double)g[at];
    for (int l = 0; l < LANES; l++)
        sum += s[l / HALF][l % HALF];
    return sum;
}

#endif
