/* The gradient tree (N5): a step's batch is cut into `leaves` micro-batches by the plan, and their gradients are added
 * in one fixed binary tree whatever the number of ranks.
 *
 *   leaves 8:  ((g0+g1)+(g2+g3)) + ((g4+g5)+(g6+g7))
 *   rank r of R owns leaves [r*leaves/R, (r+1)*leaves/R): a subtree. It adds its own with the binary-counter merge
 *   (leaf i is added to its sibling as soon as both are there); roots of ranks are added by the same rule.
 *
 * mem  log2(leaves of this rank) + 1 buffers of n floats
 * det  the order of additions depends on `leaves` alone; addition commutes, so either side may do it. An absent
 *      leaf (no tokens) adds nothing, and which leaves are absent is the plan's doing, not the ranks'.
 */
#ifndef HONE_TRAIN_TREE_H
#define HONE_TRAIN_TREE_H

#include <stdint.h>

#include "core/arena.h"
#include "core/cdecl.h"
#include "kernels/kernels.h"

CDECL_BEGIN

enum { TREE_LEVELS = 21, TRAIN_LEAVES_MAX = 1 << (TREE_LEVELS - 1) };

struct train_tree {
    struct kern *k;               /* whose memory the buffers are; NULL: the host's */
    int64_t n;                    /* floats per buffer */
    int64_t leaves;               /* of this rank; a power of two */
    int64_t done;                 /* leaves finished in this step */
    int n_free;
    float *free[TREE_LEVELS];
    float *held[TREE_LEVELS];     /* by level; NULL: none, or only absent leaves */
    float *leaf;                  /* handed out by train_tree_leaf */
};

/* Buffers live in mem. leaves: a power of two. */
void train_tree_init(struct train_tree *t, struct arena *mem, int64_t n, int64_t leaves);
/* Buffers of a device instead: `buffers` has train_tree_buffers(leaves) * n floats of k's memory. */
void train_tree_place(struct train_tree *t, struct kern *k, float *buffers, int64_t n, int64_t leaves);
int64_t train_tree_buffers(int64_t leaves);
void train_tree_begin(struct train_tree *t);       /* forgets an unfinished step */
/* A buffer for the next leaf's gradient, borrowed until train_tree_leaf_done. It was zeroed once and holds an older gradient now: all that
 * ever changes in it must be written. */
float *train_tree_leaf(struct train_tree *t);
void train_tree_leaf_done(struct train_tree *t, int absent);
/* The sum, after `leaves` leaves; NULL when all were absent. Borrowed until train_tree_begin. */
float *train_tree_root(struct train_tree *t);
/* a += b, the one addition of the tree: for the roots of ranks. */
void train_tree_add(float *a, const float *b, int64_t n);

CDECL_END

#endif
