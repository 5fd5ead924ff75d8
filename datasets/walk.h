/* The order of rows: an endless shuffled walk that can be entered anywhere. Private to datasets/. */
#ifndef HONE_DATASETS_WALK_H
#define HONE_DATASETS_WALK_H

#include "datasets/datasets.h"

enum { SOURCES_MAX = 64 };

/* A permutation of 0..n-1 with random access: an 8-round Feistel network over the smallest even number of bits
 * that holds n, walked until it lands inside. */
struct data_perm {
    uint64_t n;
    uint32_t key[8];
    int half; /* bits of a half; 0 = identity */
};
void data_perm_init(struct data_perm *p, uint64_t n, uint64_t seed, uint64_t a, uint32_t b);
uint64_t data_perm_at(const struct data_perm *p, uint64_t x);

/* Epoch e is positions [e * rows, (e + 1) * rows): k[s] rows of source s, mixed. A source whose k is no multiple
 * of its size goes on in the next epoch where it stopped: over the epochs every row comes equally often. */
struct data_walk {
    const struct data_items *items;
    uint64_t seed;
    int shuffle;
    int64_t rows;             /* of an epoch */
    int64_t k[SOURCES_MAX];   /* by source */
    int64_t epoch;            /* of `mix`; -1: none */
    struct data_perm mix, source[SOURCES_MAX][2]; /* the passes over a source an epoch usually meets */
    int64_t pass[SOURCES_MAX][2];
};
void data_walk_init(struct data_walk *w, const struct data_items *items, uint64_t seed, int shuffle);
int64_t data_walk_at(struct data_walk *w, int64_t i); /* index into items->id; i >= 0 */

#endif
