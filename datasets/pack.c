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

static void set(struct frees *f, int64_t i)
{
    for (int l = 0; l < f->levels; l++, i /= 64)
        f->level[l][i / 64] |= (uint64_t)1 << (i % 64);
}

static void clear(struct frees *f, int64_t i)
{
    for (int l = 0; l < f->levels; l++, i /= 64) {
        f->level[l][i / 64] &= ~((uint64_t)1 << (i % 64));
        if (f->level[l][i / 64])
            return;
    }
}

/* Smallest set bit >= i that is < n, or -1. */
static int64_t at_least(const struct frees *f, int64_t i, int64_t n)
{
    int l = 0;
    for (; l < f->levels; l++) { /* up, until a word has a bit at or behind i */
        uint64_t rest = i / 64 < (n + 63) / 64 ? f->level[l][i / 64] >> (i % 64) : 0;
        if (rest) {
            i += __builtin_ctzll(rest);
            break;
        }
        i = i / 64 + 1;
        n = (n + 63) / 64;
    }
    if (l == f->levels)
        return -1;
    while (l-- > 0)
        i = i * 64 + __builtin_ctzll(f->level[l][i]);
    return i;
}

/* Rows by falling length; rows of one length keep their order. */
static int32_t *order(const int32_t *len, int64_t n, int32_t cap, struct arena *mem)
{
    int32_t *count = ARENA_NEW(mem, int32_t, (int64_t)cap + 2), *by = ARENA_NEW(mem, int32_t, n);
    for (int64_t i = 0; i < n; i++) {
        assert(len[i] >= 1 && len[i] <= cap);
        count[cap - len[i] + 1]++;
    }
    for (int32_t c = 1; c <= cap; c++)
        count[c] += count[c - 1];
    for (int64_t i = 0; i < n; i++)
        by[count[cap - len[i]]++] = (int32_t)i;
    return by;
}

int64_t data_pack(const int32_t *len, int64_t n, int32_t cap, int32_t max_rows, int32_t *bin, struct arena scratch)
{
    assert(n >= 0 && n <= INT32_MAX && cap >= 1 && cap <= (1 << 24));
    struct frees f;
    int32_t *by = order(len, n, cap, &scratch);
    int32_t *head = ARENA_NEW(&scratch, int32_t, (int64_t)cap + 1); /* bin + 1 that came to this free space last */
    int32_t *next = ARENA_NEW(&scratch, int32_t, n), *rows = ARENA_NEW(&scratch, int32_t, n);
    int32_t bins = 0;
    frees_init(&f, cap, &scratch);
    for (int64_t k = 0; k < n; k++) {
        int32_t i = by[k];
        int64_t room = at_least(&f, len[i], (int64_t)cap + 1);
        int32_t b = room >= 0 ? head[room] - 1 : bins++;
        if (room < 0) {
            room = cap;
        } else {
            head[room] = next[b];
            if (!head[room])
                clear(&f, room);
        }
        bin[i] = b;
        rows[b]++;
        int64_t left = room - len[i];
        if (left == 0 || (max_rows > 0 && rows[b] == max_rows))
            continue; /* full */
        next[b] = head[left];
        head[left] = b + 1;
        set(&f, left);
    }
    return bins;
}
