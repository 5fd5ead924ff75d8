#include "train/tree.h"

#include <assert.h>

#include "core/par.h"

enum { GRAIN = 1 << 16 };

struct add_job {
    float *a;
    const float *b;
};

static void add_range(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct add_job *j = ctx;
    float *a = j->a;
    const float *b = j->b;
    (void)worker;
    for (int64_t i = begin; i < end; i++)
        a[i] += b[i];
}

void train_tree_add(float *a, const float *b, int64_t n)
{
    struct add_job j = {a, b};
    par_for(n, GRAIN, add_range, &j);
}

int64_t train_tree_buffers(int64_t leaves)
{
    int64_t n = 0;
    for (; leaves; leaves >>= 1)
        n++;
    return n;
}

void train_tree_place(struct train_tree *t, struct kern *k, float *buffers, int64_t n, int64_t leaves)
{
    assert(leaves > 0 && leaves <= TRAIN_LEAVES_MAX && (leaves & (leaves - 1)) == 0);
    *t = (struct train_tree){.k = k, .n = n, .leaves = leaves};
    for (int64_t i = 0; i < train_tree_buffers(leaves); i++)
        t->free[t->n_free++] = buffers + i * n;
}

void train_tree_init(struct train_tree *t, struct arena *mem, int64_t n, int64_t leaves)
{
    train_tree_place(t, NULL, ARENA_NEW(mem, float, train_tree_buffers(leaves) * n), n, leaves);
}

static void add(const struct train_tree *t, float *a, const float *b)
{
    if (t->k)
        kern_add(t->k, &(struct kern_add){.y = a, .a = a, .b = b, .n = t->n});
    else
        train_tree_add(a, b, t->n);
}

static void take_back(struct train_tree *t, float *buf)
{
    if (buf)
        t->free[t->n_free++] = buf;
}

void train_tree_begin(struct train_tree *t)
{
    take_back(t, t->leaf);
    t->leaf = NULL;
    for (int l = 0; l < TREE_LEVELS; l++) {
        take_back(t, t->held[l]);
        t->held[l] = NULL;
    }
    t->done = 0;
}

float *train_tree_leaf(struct train_tree *t)
{
    assert(!t->leaf && t->done < t->leaves && t->n_free > 0);
    t->leaf = t->free[--t->n_free];
    return t->leaf;
}

/* Like the carry of a binary counter: leaf number done-1 ends a pair at every level where its bit is set. */
void train_tree_leaf_done(struct train_tree *t, int absent)
{
    float *sum = t->leaf;
    int level = 0;
    assert(t->leaf || absent);
    t->leaf = NULL;
    if (absent) {
        take_back(t, sum);
        sum = NULL;
    }
    for (int64_t i = t->done++; i & 1; i >>= 1, level++) {
        float *left = t->held[level];
        t->held[level] = NULL;
        if (left && sum) {
            add(t, left, sum);
            take_back(t, sum);
        }
        sum = left ? left : sum;
    }
    t->held[level] = sum;
}

float *train_tree_root(struct train_tree *t)
{
    int level = 0;
    assert(t->done == t->leaves);
    while ((int64_t)1 << level < t->leaves)
        level++;
    return t->held[level];
}
