/* Drawing a token from a row of logits. Sums run in float64 over ascending ids (or in heap order), so a draw depends on the row,
 * the sampling options and (seed, key, sample, position) alone. */
#include "core/rng.h"
#include "rollout/rollout.h"

static int32_t best_token(const float *z, int64_t n)
{
    int64_t best = -1;
    for (int64_t i = 0; i < n; i++) {
        if (z[i] != z[i])
            return -1;
        if (best < 0 || z[i] > z[best])
            best = i;
    }
    return best >= 0 && z[best] > -__builtin_inff() && z[best] < __builtin_inff() ? (int32_t)best : -1;
}

/* a goes before b: larger weight, then lower id */
static int before(const float *p, int32_t a, int32_t b)
{
    return p[a] > p[b] || (p[a] == p[b] && a < b);
}

static void sift(int32_t *heap, int64_t n, int64_t at, const float *p)
{
    for (;;) {
        int64_t child = 2 * at + 1;
        if (child >= n)
            return;
        if (child + 1 < n && before(p, heap[child + 1], heap[child]))
            child++;
        if (!before(p, heap[child], heap[at]))
            return;
        int32_t t = heap[at];
        heap[at] = heap[child], heap[child] = t;
        at = child;
    }
}

/* The first id, counted in ascending ids, at which the running sum of weights passes `target`; the last one with weight otherwise. */
static int32_t walk(const float *p, int64_t n, double target)
{
    double sum = 0;
    int32_t last = -1;
    for (int64_t i = 0; i < n; i++) {
        if (!(p[i] > 0))
            continue;
        sum += p[i];
        last = (int32_t)i;
        if (sum > target)
            break;
    }
    return last;
}

/* The best of the heap, taken out of it. */
static int32_t pop(int32_t *heap, int64_t *n, const float *p)
{
    int32_t top = heap[0];
    heap[0] = heap[--*n];
    sift(heap, *n, 0, p);
    return top;
}

/* The last token, best first, that top_k and then top_p keep. Costs O(vocab + kept log vocab). */
static int32_t last_kept(const float *p, int64_t n, const struct rollout_sampling *s, int32_t *heap)
{
    int64_t n_heap = 0;
    double all = 0, taken = 0;
    for (int64_t i = 0; i < n; i++)
        if (p[i] > 0)
            heap[n_heap++] = (int32_t)i, all += p[i];
    for (int64_t i = n_heap / 2; i-- > 0;)
        sift(heap, n_heap, i, p);
    if (s->top_k > 0 && s->top_k < n_heap) {
        /* taken ones go to the end of the array, where the shrinking heap no longer is */
        int64_t end = n_heap;
        all = 0;
        for (int64_t k = 1; k <= s->top_k; k++) {
            int32_t top = pop(heap, &n_heap, p);
            heap[end - k] = top;
            all += p[top];
        }
        int64_t k = 1;
        for (taken = p[heap[end - 1]]; s->top_p < 1 ? taken < s->top_p * all && k < s->top_k : k < s->top_k; taken += p[heap[end - k]])
            k++;
        return heap[end - k];
    }
    int32_t top = pop(heap, &n_heap, p);
    for (taken = p[top]; n_heap > 0 && (s->top_p >= 1 || taken < s->top_p * all); taken += p[top])
        top = pop(heap, &n_heap, p);
    return top;
}

/* Zeroes the weights that top_k, top_p and min_p drop and returns the sum of the others, in ascending id order. */
static double truncate_row(float *p, int64_t n, int32_t best, const struct rollout_sampling *s, int32_t *heap)
{
    int sorted = s->top_k > 0 || s->top_p < 1;
    int32_t last = sorted ? last_kept(p, n, s, heap) : -1;
    float floor = (float)s->min_p * p[best], last_p = sorted ? p[last] : 0;
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        if (p[i] < floor || (sorted && (p[i] < last_p || (p[i] == last_p && i > last))))
            p[i] = 0;
        sum += p[i];
    }
    return sum;
}

int32_t rollout_draw(const float *logits, int64_t vocab, const struct rollout_sampling *s, uint64_t key, int64_t sample, int64_t position,
                     struct rollout_scratch scratch)
{
    int32_t best = best_token(logits, vocab);
    if (best < 0 || s->temperature == 0)
        return best;
    float inv = (float)(1.0 / s->temperature), top = logits[best];
    float *p = scratch.p;
    double sum = 0;
    for (int64_t i = 0; i < vocab; i++) {
        p[i] = kern_expf((logits[i] - top) * inv);
        sum += p[i];
    }
    if (s->top_k > 0 || s->top_p < 1 || s->min_p > 0)
        sum = truncate_row(p, vocab, best, s, scratch.heap);
    return walk(p, vocab, rng_f64(s->seed, RNG_SAMPLE, key, (uint32_t)sample, (uint64_t)position) * sum);
}
