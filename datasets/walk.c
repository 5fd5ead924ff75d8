#include "datasets/walk.h"

#include <math.h>

#include "core/rng.h"

void data_perm_init(struct data_perm *p, uint64_t n, uint64_t seed, uint64_t a, uint32_t b)
{
    *p = (struct data_perm){.n = n, .half = 1};
    while (p->half < 32 && (uint64_t)1 << (2 * p->half) < n)
        p->half++;
    rng_block(p->key, seed, RNG_SHUFFLE, a, b, 0);
    rng_block(p->key + 4, seed, RNG_SHUFFLE, a, b, 1);
}

static uint32_t mix(uint32_t x, uint32_t key)
{
    x = (x ^ key) * 0x9E3779B1u;
    x = (x ^ x >> 15) * 0x85EBCA77u;
    return x ^ x >> 13;
}

uint64_t data_perm_at(const struct data_perm *p, uint64_t x)
{
    assert(x < p->n);
    if (!p->half)
        return x;
    uint32_t mask = p->half == 32 ? UINT32_MAX : ((uint32_t)1 << p->half) - 1;
    do {
        uint32_t l = (uint32_t)(x >> p->half), r = (uint32_t)x & mask;
        for (int i = 0; i < 8; i++) {
            uint32_t next = l ^ (mix(r, p->key[i]) & mask);
            l = r;
            r = next;
        }
        x = (uint64_t)l << p->half | r;
    } while (x >= p->n); /* a cycle of the permutation of 2^(2 half) leads back inside */
    return x;
}

void data_walk_init(struct data_walk *w, const struct data_items *items, uint64_t seed, int shuffle)
{
    assert(items->n_sources <= SOURCES_MAX);
    *w = (struct data_walk){.items = items, .seed = seed, .shuffle = shuffle, .epoch = -1};
    for (int s = 0; s < items->n_sources; s++) {
        int64_t n = items->begin[s + 1] - items->begin[s];
        int64_t k = n && items->weight[s] > 0 ? llround(items->weight[s] * (double)n) : 0;
        w->k[s] = k == 0 && n && items->weight[s] > 0 ? 1 : k;
        w->rows += w->k[s];
        w->pass[s][0] = w->pass[s][1] = -1;
    }
}

static const struct data_perm *source_pass(struct data_walk *w, int s, int64_t pass)
{
    struct data_perm *p = &w->source[s][pass & 1];
    if (w->pass[s][pass & 1] != pass) {
        data_perm_init(p, (uint64_t)(w->items->begin[s + 1] - w->items->begin[s]), w->seed, (uint64_t)pass, (uint32_t)s + 1);
        p->half = w->shuffle ? p->half : 0;
        w->pass[s][pass & 1] = pass;
    }
    return p;
}

int64_t data_walk_at(struct data_walk *w, int64_t i)
{
    assert(i >= 0 && w->rows > 0);
    int64_t epoch = i / w->rows;
    if (epoch != w->epoch) {
        data_perm_init(&w->mix, (uint64_t)w->rows, w->seed, (uint64_t)epoch, 0);
        w->mix.half = w->shuffle ? w->mix.half : 0;
        w->epoch = epoch;
    }
    int64_t at = (int64_t)data_perm_at(&w->mix, (uint64_t)(i % w->rows));
    int s = 0;
    while (at >= w->k[s])
        at -= w->k[s++];
    int64_t n = w->items->begin[s + 1] - w->items->begin[s], row = epoch * w->k[s] + at;
    return w->items->begin[s] + (int64_t)data_perm_at(source_pass(w, s, row / n), (uint64_t)(row % n));
}

int64_t data_pick(const struct data_items *it, uint64_t seed, int64_t i, struct arena scratch)
{
    struct data_walk *w = ARENA_NEW(&scratch, struct data_walk, 1);
    data_walk_init(w, it, seed, 1);
    return it->id[data_walk_at(w, i)];
}
