#include "grpo/batch.h"

#include <stdlib.h>

struct piece {
    int64_t tokens;
    int32_t index;
};

static int longest_first(const void *a, const void *b)
{
    const struct piece *x = a, *y = b;
    if (x->tokens != y->tokens)
        return x->tokens > y->tokens ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static int64_t rows_of(const struct grpo_sample *s) { return s->n_prompt + s->n - 1; }

static void fill(struct grpo_micro *m, const struct grpo_sample *s, const int32_t *index, int64_t n, struct arena *mem)
{
    int64_t rows = 0, at = 0;
    for (int64_t i = 0; i < n; i++)
        rows += rows_of(&s[index[i]]);
    int32_t *tokens = ARENA_NEW(mem, int32_t, rows), *pos = ARENA_NEW(mem, int32_t, rows), *target = ARENA_NEW(mem, int32_t, rows);
    int32_t *cu = ARENA_NEW(mem, int32_t, n + 1), *who = ARENA_NEW(mem, int32_t, n), *first = ARENA_NEW(mem, int32_t, n);
    for (int64_t i = 0; i < n; i++) {
        const struct grpo_sample *q = &s[index[i]];
        who[i] = index[i];
        first[i] = (int32_t)(at + q->n_prompt - 1);
        for (int64_t t = 0; t < rows_of(q); t++) {
            tokens[at + t] = t < q->n_prompt ? q->prompt[t] : q->ids[t - q->n_prompt];
            pos[at + t] = (int32_t)t;
            target[at + t] = t + 1 < q->n_prompt ? -1 : q->ids[t + 1 - q->n_prompt];
        }
        at += rows_of(q);
        cu[i + 1] = (int32_t)at;
    }
    *m = (struct grpo_micro){.b = {.n_tok = rows, .n_seq = n, .tokens = tokens, .positions = pos, .cu_seqlens = cu},
                             .target = target, .sample = who, .first = first};
}

static void cut_leaf(struct grpo_leaf *leaf, const struct grpo_sample *s, const int32_t *index, int64_t n, int64_t cap, struct arena *mem)
{
    leaf->micro = ARENA_NEW(mem, struct grpo_micro, n + 1);
    for (int64_t begin = 0, end; begin < n; begin = end) {
        int64_t rows = rows_of(&s[index[begin]]);
        for (end = begin + 1; end < n && rows + rows_of(&s[index[end]]) <= cap; end++)
            rows += rows_of(&s[index[end]]);
        fill(&leaf->micro[leaf->n++], s, index + begin, end - begin, mem);
    }
}

struct grpo_leaf *grpo_cut(const struct grpo_sample *s, int64_t n, int64_t leaves, int64_t cap, struct arena *mem)
{
    struct grpo_leaf *out = ARENA_NEW(mem, struct grpo_leaf, leaves);
    struct piece *order = ARENA_NEW(mem, struct piece, n + 1);
    int64_t *load = ARENA_NEW(mem, int64_t, leaves), n_order = 0;
    int32_t *leaf_of = ARENA_NEW(mem, int32_t, n + 1), *index = ARENA_NEW(mem, int32_t, n + 1);
    for (int64_t i = 0; i < n; i++) {
        leaf_of[i] = -1;
        if (s[i].n > 0)
            order[n_order++] = (struct piece){rows_of(&s[i]), (int32_t)i};
    }
    qsort(order, (size_t)n_order, sizeof *order, longest_first);
    for (int64_t i = 0; i < n_order; i++) {
        int64_t best = 0;
        for (int64_t l = 1; l < leaves; l++)
            if (load[l] < load[best])
                best = l;
        load[best] += order[i].tokens;
        leaf_of[order[i].index] = (int32_t)best;
    }
    for (int64_t l = 0; l < leaves; l++) {
        int64_t m = 0;
        for (int64_t i = 0; i < n; i++)
            if (leaf_of[i] == l)
                index[m++] = (int32_t)i;
        cut_leaf(&out[l], s, index, m, cap, mem);
    }
    return out;
}

int64_t grpo_cut_tokens(int64_t cap, int64_t longest)
{
    return cap > longest ? cap : longest;
}
