/* How samples become micro-batches, and held-out figures. The failures to catch: a sample lost, doubled or shifted by one token; a cut that depends
 * on anything but lengths, leaves and cap; pass@k that is biased; a majority decided by chance. */
#include "grpo/batch.h"

#include <math.h>

#include "grpo/evalstat.h"
#include "core/rng.h"
#include "tests/test.h"

static struct arena mem;

static int setup(void **state)
{
    (void)state;
    arena_init(&mem, "test", 1LL << 28);
    return 0;
}

static struct grpo_sample *samples(int64_t n, uint64_t round, struct arena *a)
{
    struct grpo_sample *s = ARENA_NEW(a, struct grpo_sample, n);
    for (int64_t i = 0; i < n; i++) {
        s[i].n_prompt = 1 + (int64_t)rng_below(20, 1, RNG_TEST, round, 0, (uint64_t)i);
        s[i].n = (int64_t)rng_below(30, 1, RNG_TEST, round, 1, (uint64_t)i);
        int32_t *p = ARENA_NEW(a, int32_t, s[i].n_prompt), *q = ARENA_NEW(a, int32_t, s[i].n + 1);
        for (int64_t t = 0; t < s[i].n_prompt; t++)
            p[t] = (int32_t)(i * 1000 + t);
        for (int64_t t = 0; t < s[i].n; t++)
            q[t] = (int32_t)(i * 1000 + 500 + t);
        s[i].prompt = p, s[i].ids = q;
    }
    return s;
}

static void every_token_is_predicted_once(void **state)
{
    (void)state;
    for (uint64_t round = 0; round < 40; round++) {
        struct arena a = mem;
        int64_t n = 1 + (int64_t)round, leaves = 1LL << (round % 4), cap = 40 + (int64_t)round;
        struct grpo_sample *s = samples(n, round, &a);
        int *seen = ARENA_NEW(&a, int, n);
        const struct grpo_leaf *l = grpo_cut(s, n, leaves, cap, &a);
        for (int64_t i = 0; i < leaves; i++)
            for (int64_t k = 0; k < l[i].n; k++) {
                const struct grpo_micro *m = &l[i].micro[k];
                assert_true(m->b.n_tok <= cap || m->b.n_seq == 1);
                for (int64_t q = 0; q < m->b.n_seq; q++) {
                    const struct grpo_sample *x = &s[m->sample[q]];
                    int64_t at = m->b.cu_seqlens[q], rows = m->b.cu_seqlens[q + 1] - at;
                    seen[m->sample[q]]++;
                    assert_int_equal(rows, x->n_prompt + x->n - 1);
                    assert_int_equal(m->first[q], at + x->n_prompt - 1);
                    for (int64_t t = 0; t < rows; t++) {
                        assert_int_equal(m->b.positions[at + t], t);
                        assert_int_equal(m->b.tokens[at + t], t < x->n_prompt ? x->prompt[t] : x->ids[t - x->n_prompt]);
                        assert_int_equal(m->target[at + t], t + 1 < x->n_prompt ? -1 : x->ids[t + 1 - x->n_prompt]);
                    }
                }
            }
        for (int64_t i = 0; i < n; i++)
            assert_int_equal(seen[i], s[i].n > 0);
    }
}

static void pass_at_k_is_the_share_of_subsets(void **state)
{
    (void)state;
    assert_true(fabs(grpo_pass_at_k(4, 1, 2) - 0.5) < 1e-15);      /* 3 of the 6 pairs hold the right one */
    assert_true(fabs(grpo_pass_at_k(10, 3, 1) - 0.3) < 1e-15);
    assert_true(fabs(grpo_pass_at_k(5, 2, 3) - 0.9) < 1e-15);      /* 1 of the 10 triples misses */
    assert_true(grpo_pass_at_k(5, 0, 5) == 0);
    assert_true(grpo_pass_at_k(5, 3, 3) == 1);
}

static void majority_votes(void **state)
{
    (void)state;
    const struct str a[] = {STR("7"), STR("5"), STR("5"), STR(""), STR("7"), STR("")};
    const unsigned char right[] = {1, 0, 0, 0, 1, 0};
    assert_int_equal(grpo_majority(a, right, 1), 1);
    assert_int_equal(grpo_majority(a, right, 3), 0);
    assert_int_equal(grpo_majority(a, right, 6), 1); /* 2 against 2: the one that came first */
    assert_int_equal(grpo_majority(a + 3, right + 3, 1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_token_is_predicted_once),
        cmocka_unit_test(pass_at_k_is_the_share_of_subsets),
        cmocka_unit_test(majority_votes),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
