/* Schedules and placement. The failures to catch: a list that deadlocks, drops or doubles a micro-batch, or idles longer than the published
 * formula; a placement that differs from the published example. */
#include "parallel/parallel.h"

#include <math.h>

#include "tests/test.h"

static struct arena mem;

static int setup(void **state)
{
    (void)state;
    arena_init(&mem, "test", 1LL << 28);
    return 0;
}

static void simulated_bubbles_are_the_formulas(void **state)
{
    static const int64_t shapes[][2] = {{4, 8}, {8, 20}, {8, 32}, {16, 32}, {16, 64}};
    /* DualPipe's formula is exact where F, W and the input part of B take the same time, as the report draws them. */
    const struct pipe_cost even = {.f = 1, .b = 2, .w = 1, .fb = 3}, uneven = {.f = 1, .b = 2, .w = 0.9, .fb = 3};
    (void)state;
    for (int k = 0; k < PIPE_N_KINDS; k++)
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
            int64_t held[16];
            struct pipe_run r = {.held = held};
            struct err e = {0};
            int64_t pp = shapes[i][0];
            const struct pipe_cost c = k == PIPE_dualpipe ? even : uneven;
            assert_int_equal(pipe_simulate((enum pipe_kind)k, pp, shapes[i][1], &c, mem, &r, &e), ERR_OK);
            assert_true(fabs(r.bubble - pipe_bubble((enum pipe_kind)k, pp, &c)) < 1e-9 * r.total); /* sums of a few hundred doubles */
            assert_int_equal(r.activations, k == PIPE_dualpipe ? pp + 1 : pp);
            assert_int_equal(held[0], k == PIPE_dualpipe ? pp + 1 : pp);
            assert_true(k == PIPE_dualpipe || held[pp - 1] == 1);
        }
}

static void shapes_that_do_not_fit_are_refused(void **state)
{
    const struct pipe_cost c = {.f = 1, .b = 2, .w = 1, .fb = 3};
    struct pipe_run r = {0};
    struct err e = {0};
    (void)state;
    assert_int_equal(pipe_simulate(PIPE_dualpipe, 4, 6, &c, mem, &r, &e), ERR_USAGE);
    assert_int_equal(pipe_simulate(PIPE_dualpipe, 3, 8, &c, mem, &r, &e), ERR_USAGE);
    assert_int_equal(pipe_simulate(PIPE_1f1b, 8, 7, &c, mem, &r, &e), ERR_USAGE);
    assert_int_equal(pipe_simulate(PIPE_1f1b, 1, 1, &c, mem, &r, &e), ERR_OK);
    assert_true(r.bubble == 0);
}

static void the_published_placement(void **state)
{
    /* the example of the EPLB README: two layers */
    static const double load[2][12] = {{90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86}, {20, 107, 104, 64, 19, 197, 187, 157, 172, 86, 16, 27}};
    static const int32_t want[2][16] = {{5, 6, 5, 7, 8, 4, 3, 4, 10, 9, 10, 2, 0, 1, 11, 1}, {7, 10, 6, 8, 6, 11, 8, 9, 2, 4, 5, 1, 5, 0, 3, 1}};
    const struct eplb_shape s = {.experts = 12, .replicas = 16, .groups = 4, .nodes = 2, .gpus = 8};
    (void)state;
    for (int layer = 0; layer < 2; layer++) {
        int32_t got[16], count[12], n = 0;
        struct err e = {0};
        assert_int_equal(eplb_place(&s, load[layer], got, count, mem, &e), ERR_OK);
        assert_memory_equal(got, want[layer], sizeof got);
        for (int i = 0; i < 12; i++)
            n += count[i];
        assert_int_equal(n, 16);
        assert_true(eplb_imbalance(&s, load[layer], got) < 1.4); /* the unreplicated layout is at 1.9 and 1.7 */
    }
    struct eplb_shape bad = s;
    struct err e = {0};
    int32_t got[16];
    bad.replicas = 15;
    assert_int_equal(eplb_place(&bad, load[0], got, NULL, mem, &e), ERR_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(simulated_bubbles_are_the_formulas),
        cmocka_unit_test(shapes_that_do_not_fit_are_refused),
        cmocka_unit_test(the_published_placement),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
