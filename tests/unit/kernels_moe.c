/* Catches: a router that picks other experts than the paper says (ties, strongly negative biases, masked groups), weights from the biased
 * scores, a gradient that is not the derivative, experts summed in another order, latent keys assembled wrongly, bits that depend on threads. */
#include "kernels/kernels.h"

#include "tests/kern_test.h"

struct shape {
    int64_t t, e, top_k, groups, top_groups, c;
    int softmax, normalise, bias; /* bias: 0 none, 1 around 0, 2 around -0.6 */
    float scale;
};

static void run_route(struct bench *b, const void *arg)
{
    const struct shape *s = arg;
    float *z = test_in(b, s->t * s->e, 1, 3), *bias = s->bias ? test_in(b, s->e, 2, 0.3f) : NULL, *dw = test_in(b, s->t * s->top_k, 3, 1);
    for (int64_t e = 0; s->bias == 2 && e < s->e; e++)
        bias[e] -= 0.6f;
    int32_t *id = ARENA_NEW(&b->mem, int32_t, s->t * s->top_k);
    float *ids = test_out(b, "id", s->t * s->top_k, 0), *score = test_out(b, "score", s->t * s->e, 1e-6);
    struct kern_route r = {.score = score, .weight = test_out(b, "weight", s->t * s->top_k, 2e-6), .id = id, .z = z, .bias = bias, .t = s->t, .e = s->e, .top_k = s->top_k,
                           .groups = s->groups, .top_groups = s->top_groups, .softmax = s->softmax, .normalise = s->normalise, .scale = s->scale};
    kern_route(b->k, &r);
    for (int64_t i = 0; i < s->t * s->top_k; i++) {
        ids[i] = (float)id[i];
        if (i % s->top_k)
            assert_true(id[i] > id[i - 1]);
    }
    kern_route_bwd(b->k, &(struct kern_route_bwd){.dz = test_out(b, "dz", s->t * s->e, 5e-6), .dweight = dw, .score = score, .id = id, .t = s->t, .e = s->e, .top_k = s->top_k,
                                                  .softmax = s->softmax, .normalise = s->normalise, .scale = s->scale});
}

static const struct shape shapes[] = {
    {1, 2, 1, 1, 1, 3, 1, 0, 0, 1},     {7, 8, 3, 1, 1, 17, 1, 1, 0, 1},    {33, 16, 4, 4, 2, 40, 0, 1, 1, 2.5f}, {33, 16, 4, 4, 2, 16, 0, 1, 2, 2.5f},
    {9, 24, 6, 8, 3, 33, 1, 0, 0, 16}, {50, 32, 8, 8, 4, 130, 0, 0, 2, 1}, {5, 6, 6, 3, 3, 5, 0, 1, 1, 1},        {3, 7, 7, 7, 7, 5, 0, 1, 1, 1},
};
enum { N = sizeof shapes / sizeof *shapes };

static void test_route(void **state)
{
    (void)state;
    for (int i = 0; i < N; i++)
        test_everywhere(run_route, &shapes[i]);
}

/* By hand: ties go to the lowest expert; with all biases at -2 masked groups must still lose (filling them with 0 would pick them);
 * the group with the best single expert loses to the one with the best pair. */
static void test_choice(void **state)
{
    (void)state;
    struct kern *k = test_kern("cpu", KERN_BEST);
    static const float flat[8] = {0}, minus[8] = {-2, -2, -2, -2, -2, -2, -2, -2};
    static const float peaked[8] = {5, -5, 1, 1, -9, -9, -9, -9}; /* sigmoid: 0.993 + 0.007 < 0.731 + 0.731 */
    float score[8], weight[2];
    int32_t id[2];
    struct kern_route r = {.score = score, .weight = weight, .id = id, .z = flat, .bias = minus, .t = 1, .e = 8, .top_k = 2, .groups = 4, .top_groups = 1, .normalise = 1, .scale = 2};
    kern_route(k, &r);
    assert_int_equal(id[0], 0);
    assert_int_equal(id[1], 1);
    assert_true(weight[0] == 1 && weight[1] == 1); /* from the unbiased scores, normalised, times 2 */
    r.z = peaked;
    kern_route(k, &r);
    assert_int_equal(id[0], 2);
    assert_int_equal(id[1], 3);
    r.softmax = 1; /* V2: a group's worth is its best expert */
    kern_route(k, &r);
    assert_int_equal(id[0], 0);
    assert_int_equal(id[1], 1);
    kern_close(k);
}

static double loss_of(struct kern *k, const struct shape *s, const float *z, const float *dw)
{
    float score[64], weight[64];
    int32_t id[64];
    double sum = 0;
    kern_route(k, &(struct kern_route){.score = score, .weight = weight, .id = id, .z = z, .t = 1, .e = s->e, .top_k = s->top_k, .groups = s->groups, .top_groups = s->top_groups,
                                       .softmax = s->softmax, .normalise = s->normalise, .scale = s->scale});
    for (int64_t j = 0; j < s->top_k; j++)
        sum += (double)weight[j] * (double)dw[j];
    return sum;
}

static void test_route_gradient(void **state)
{
    (void)state;
    struct kern *k = test_kern("ref", KERN_BEST);
    for (int i = 0; i < N; i++) {
        struct shape s = shapes[i];
        float z[64], dw[64], score[64], weight[64], dz[64];
        int32_t id[64];
        double top = 0;
        test_fill(z, s.e, 40 + (uint64_t)i, 2);
        test_fill(dw, s.top_k, 80 + (uint64_t)i, 1);
        kern_route(k, &(struct kern_route){.score = score, .weight = weight, .id = id, .z = z, .t = 1, .e = s.e, .top_k = s.top_k, .groups = s.groups, .top_groups = s.top_groups,
                                           .softmax = s.softmax, .normalise = s.normalise, .scale = s.scale});
        kern_route_bwd(k, &(struct kern_route_bwd){.dz = dz, .dweight = dw, .score = score, .id = id, .t = 1, .e = s.e, .top_k = s.top_k, .softmax = s.softmax,
                                                   .normalise = s.normalise, .scale = s.scale});
        for (int64_t e = 0; e < s.e; e++)
            top = fmax(top, fabs((double)dz[e]));
        for (int64_t e = 0; e < s.e; e++) {
            float was = z[e], h = 0x1p-8f;
            z[e] = was + h;
            double up = loss_of(k, &s, z, dw);
            z[e] = was - h;
            double down = loss_of(k, &s, z, dw);
            z[e] = was;
            double slope = (up - down) / (2 * (double)h);
            if (fabs(slope - (double)dz[e]) > 1e-3 * top + 2e-4 * s.scale)
                fail_msg("shape %d: dz[%d] is %g, the difference quotient %g", i, (int)e, (double)dz[e], slope);
        }
    }
    kern_close(k);
}

/* ---- balance loss ---------------------------------------------------------------------------- */

static void run_balance(struct bench *b, const void *arg)
{
    const struct shape *s = arg;
    const int32_t cu[] = {0, (int32_t)(s->t / 3), (int32_t)(s->t / 3), (int32_t)s->t}; /* one may be empty */
    float *z = test_in(b, s->t * s->e, 1, 3), *score = ARENA_NEW(&b->mem, float, s->t * s->e);
    for (int64_t t = 0; t < s->t; t++)
        for (int64_t e = 0; e < s->e; e++)
            score[t * s->e + e] = s->softmax ? 1 / (float)s->e + 0.001f * z[t * s->e + e] : 1 / (1 + kern_expf(-z[t * s->e + e]));
    struct kern_route_balance r = {.dz = test_in_out(b, "dz", s->t * s->e, 5e-6, 4), .loss = test_out(b, "loss", s->t, 5e-6), .score = score, .cu = cu, .n_seq = 3, .e = s->e,
                                   .top_k = s->top_k, .softmax = s->softmax, .coef = 0.3f};
    kern_route_balance(b->k, &r);
    r.dz = NULL;
    kern_route_balance(b->k, &r);
}

/* By hand: two experts, one per token, sigmoid. Six tokens, of which five choose expert 0: f = (2 5/6, 2 1/6). All scores alike: 1.
 * The difference quotient of the sum of the losses, f held, for both score functions. */
static void test_balance(void **state)
{
    (void)state;
    for (int i = 0; i < N; i++)
        test_everywhere(run_balance, &shapes[i]);
    struct kern *k = test_kern("cpu", KERN_BEST);
    static const int32_t cu[] = {0, 6};
    float score[12], loss[6], dz[12], flat[6];
    for (int t = 0; t < 6; t++)
        score[2 * t] = t < 5 ? 0.75f : 0.25f, score[2 * t + 1] = t < 5 ? 0.25f : 0.75f;
    struct kern_route_balance r = {.loss = loss, .score = score, .cu = cu, .n_seq = 1, .e = 2, .top_k = 1};
    kern_route_balance(k, &r);
    for (int t = 0; t < 6; t++) /* f0 p0 + f1 p1 */
        assert_true(fabs((double)loss[t] - (t < 5 ? 5.0 / 3 * 0.75 + 1.0 / 3 * 0.25 : 5.0 / 3 * 0.25 + 1.0 / 3 * 0.75)) < 1e-6);
    for (int t = 0; t < 12; t++)
        score[t] = t % 4 == 0 || t % 4 == 3 ? 0.5f : 0.4999f; /* each expert three times, all but alike */
    r.loss = flat;
    kern_route_balance(k, &r);
    for (int t = 0; t < 6; t++)
        assert_true(fabs((double)flat[t] - 1) < 1e-3);
    for (int softmax = 0; softmax < 2; softmax++) {
        float z[12], id_weight[12];
        int32_t id[12];
        test_fill(z, 12, 9, 1);
        struct kern_route route = {.score = score, .weight = id_weight, .id = id, .z = z, .t = 6, .e = 2, .top_k = 1, .groups = 1, .softmax = softmax, .scale = 1};
        kern_route(k, &route);
        memset(dz, 0, sizeof dz);
        r.loss = loss, r.dz = dz, r.softmax = softmax, r.coef = 1;
        kern_route_balance(k, &r);
        r.dz = NULL;
        for (int i = 0; i < 12; i++) {
            double slope = 0;
            float was = z[i];
            for (int sign = 1; sign >= -1; sign -= 2) { /* too small a step to change any choice */
                z[i] = was + (float)sign * 0x1p-8f;
                kern_route(k, &route);
                kern_route_balance(k, &r);
                for (int t = 0; t < 6; t++)
                    slope += sign * (double)loss[t] * 0x1p7;
            }
            z[i] = was;
            if (fabs(slope - (double)dz[i]) > 2e-4)
                fail_msg("softmax %d: dz[%d] is %g, the difference quotient %g", softmax, i, (double)dz[i], slope);
        }
    }
    kern_close(k);
}

static void run_mixture(struct bench *b, const void *arg)
{
    const struct shape *s = arg;
    int64_t rows = s->t * s->top_k;
    int64_t *perm = ARENA_NEW(&b->mem, int64_t, rows);
    int32_t *row_of = ARENA_NEW(&b->mem, int32_t, rows), *slot_of = ARENA_NEW(&b->mem, int32_t, rows);
    rng_permutation(perm, rows, 5, RNG_TEST, 0);
    for (int64_t i = 0; i < rows; i++)
        row_of[i] = (int32_t)perm[i], slot_of[perm[i]] = (int32_t)i;
    float *x = test_in(b, rows * s->c, 1, 1), *w = test_in(b, rows, 2, 1), *q = test_in(b, rows * s->c, 3, 1);
    float *y = test_in_out(b, "y", s->t * s->c, 2e-6, 4);
    kern_moe_sum(b->k, &(struct kern_moe_sum){.y = y, .x = x, .weight = s->softmax ? w : NULL, .a = s->normalise ? test_in(b, s->t * s->c, 5, 1) : NULL, .b = s->bias ? y : NULL,
                                              .row_of = row_of, .t = s->t, .c = s->c, .top_k = s->top_k});
    kern_moe_dot(b->k, &(struct kern_moe_dot){.y = test_out(b, "dot", rows, 3e-6), .p = x, .q = q, .slot_of = slot_of, .rows = rows, .c = s->c});
    kern_moe_scale(b->k, &(struct kern_moe_scale){.x = test_in_out(b, "scaled", rows * s->c, 1e-7, 6), .weight = w, .slot_of = slot_of, .rows = rows, .c = s->c});
}

static void test_mixture(void **state)
{
    (void)state;
    for (int i = 0; i < N; i++)
        test_everywhere(run_mixture, &shapes[i]);
}

static void run_latent(struct bench *b, const void *arg)
{
    const struct shape *s = arg;
    int64_t h = s->top_k, dn = s->c, dr = 2 * s->groups, dv = s->c + 3, t = s->t, ld = dr + 5;
    float *kv = test_in(b, t * h * (dn + dv), 1, 1), *rope = test_in(b, t * ld, 2, 1), *dk = test_in(b, t * h * (dn + dr), 3, 1), *dvv = test_in(b, t * h * dv, 4, 1);
    kern_mla_kv(b->k, &(struct kern_mla_kv){.k = test_out(b, "k", t * h * (dn + dr), 0), .v = test_out(b, "v", t * h * dv, 0), .kv = kv, .rope = rope, .t = t, .h = h, .dn = dn,
                                            .dr = dr, .dv = dv, .ld_rope = ld});
    float *drope = test_in_out(b, "drope", t * ld, 2e-6, 5);
    kern_mla_kv_bwd(b->k, &(struct kern_mla_kv_bwd){.dkv = test_out(b, "dkv", t * h * (dn + dv), 0), .drope = drope, .dk = dk, .dv = dvv, .t = t, .h = h, .d_n = dn, .d_r = dr,
                                                    .d_v = dv, .ld_rope = ld});
}

static void test_latent(void **state)
{
    (void)state;
    for (int i = 0; i < N; i++)
        test_everywhere(run_latent, &shapes[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choice), cmocka_unit_test(test_route), cmocka_unit_test(test_route_gradient), cmocka_unit_test(test_balance), cmocka_unit_test(test_mixture), cmocka_unit_test(test_latent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
