/* Best-fit-decreasing. Lengths are small integers, so the order is a counting sort and "the fullest bin that
 * still has room" is the lowest set bit at or above a length, in a bitmap with one bit per amount of free
 * space and a summary bit per word: a handful of instructions per row. */
#include "datasets/datasets.h"

struct frees {      /* which amounts of free space some open bin has */
    uint64_t *level[5];
    int levels;
};

static void frees_init(struct frees *f, int32_t cap, struct arena *mem)
{
    int64_t n = (int64_t)cap + 1;
    *f = (struct frees){0};
    do {
        n = (n + 63) / 64;
        assert(f->levels < 5);
        f->level[f->levels++] = ARENA_NEW(mem, uint64_t, n);
    } while (n > 1);
}

static void set(struct frees *f, uint64_t i)
{
    for (int l = 0; l < f->levels; l++, i >>= 6) {
        uint64_t *w = &f->level[l][i >> 6], was = *w;
        *w = was | (uint64_t)1 << (i & 63);
        if (was)
            return; /* the word was in the summary already */
    }
}

static void clear(struct frees *f, uint64_t i)
{
    for (int l = 0; l < f->levels; l++, i >>= 6)
        if ((f->level[l][i >> 6] &= ~((uint64_t)1 << (i & 63))))
            return;
}

/* Smallest set bit >= i, or -1. n: number of bits. */
static int64_t at_least(const struct frees *f, uint64_t i, uint64_t n)
{
    for (int l = 0; l < f->levels && i < n; l++) { /* up, until a word has a bit at or behind i */
        uint64_t rest = f->level[l][i >> 6] >> (i & 63);
        if (rest) {
            i += (uint64_t)__builtin_ctzll(rest);
            while (l-- > 0) /* and down to its first bit */
                i = i << 6 | (uint64_t)__builtin_ctzll(f->level[l][i]);
            return (int64_t)i;
        }
        i = (i >> 6) + 1;
        n = (n + 63) >> 6;
    }
    return -1;
}

/* Rows by falling length; rows of one length keep their order. end[c]: behind the rows of length cap - c. */
static void order(const int32_t *len, int64_t n, int32_t cap, int32_t *by, int32_t *end)
{
    for (int64_t i = 0; i < n; i++) {
        assert(len[i] >= 1 && len[i] <= cap);
        end[cap - len[i] + 1]++;
    }
    for (int32_t c = 1; c <= cap; c++)
        end[c] += end[c - 1];
    for (int64_t i = 0; i < n; i++)
        by[end[cap - len[i]]++] = (int32_t)i;
}

int64_t data_pack(const int32_t *len, int64_t n, int32_t cap, int32_t max_rows, int32_t *bin, struct arena scratch)
{
    assert(n >= 0 && n <= INT32_MAX && cap >= 1 && cap <= (1 << 24));
    struct frees f;
    int32_t *by = ARENA_NEW(&scratch, int32_t, n), *end = ARENA_NEW(&scratch, int32_t, (int64_t)cap + 2);
    int32_t *head = ARENA_NEW(&scratch, int32_t, (int64_t)cap + 1); /* bin + 1 that came to this free space last */
    int32_t *next = ARENA_NEW(&scratch, int32_t, n), *rows = max_rows > 0 ? ARENA_NEW(&scratch, int32_t, n) : NULL;
    int32_t bins = 0, size = cap; /* size: length of the row at hand, without a look at len[] out of order */
    order(len, n, cap, by, end);
    frees_init(&f, cap, &scratch);
    for (int64_t k = 0; k < n; k++) {
        while (k >= end[cap - size])
            size--;
        int64_t room = at_least(&f, (uint64_t)size, (uint64_t)cap + 1);
        int32_t b = room >= 0 ? head[room] - 1 : bins++;
        if (room < 0) {
            room = cap;
        } else {
            head[room] = next[b];
            if (!head[room])
                clear(&f, (uint64_t)room);
        }
        bin[by[k]] = b;
        int64_t left = room - size;
        if (left == 0 || (rows && ++rows[b] == max_rows))
            continue; /* full */
        next[b] = head[left];
        head[left] = b + 1;
        set(&f, (uint64_t)left);
    }
    return bins;
}
