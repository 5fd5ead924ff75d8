/* The maths of grpo/. Fails when: an advantage setting no longer reproduces the program it is documented for, a preset's loss or
 * gradient leaves its formula, a derivative is not the derivative of the value, the loss depends on how a step is cut, an
 * infrastructure failure moves anyone's baseline, a masked sequence gives a gradient, a bound that struck is not counted. */
#include <math.h>

#include "core/rng.h"
#include "grpo/advantage.h"
#include "grpo/loss.h"
#include "grpo/options.h"
#include "tests/test.h"
#include "tests/unit/grpo_golden.h"

static void near(double got, double want, double tolerance, const char *what)
{
    if (!(fabs(got - want) <= tolerance * (1 + fabs(want))))
        fail_msg("%s: got %.17g, want %.17g", what, got, want);
}

/* docs/grpo.md says these settings; the golden values come from the other programs' formulas. */
static const struct {
    const char *name;
    struct grpo_adv_opts o;
} implementations[] = {
    {"trl", {.scale = GRPO_SCALE_STD, .ddof = 1, .eps = 1e-4}},
    {"verl", {.scale = GRPO_SCALE_STD, .ddof = 1, .eps = 1e-6, .single_reward = 1}},
    {"openrlhf", {.scale = GRPO_SCALE_STD, .ddof = 1, .eps = 1e-9}},
    {"slime", {.scale = GRPO_SCALE_STD, .ddof = 1, .eps = 1e-6}},
    {"oat", {.scale = GRPO_SCALE_STD, .ddof = 1, .eps = 1e-8}},
    {"open_instruct", {.scale = GRPO_SCALE_STD, .ddof = 0, .eps = 1e-8}},
    {"grpo_zero", {.scale = GRPO_SCALE_STD, .ddof = 0, .eps = 1e-4}},
    {"rl_cu", {.scale = GRPO_SCALE_STD, .ddof = 0, .eps = 1e-8, .eps_inside = 1}},
    {"titan", {.scale = GRPO_SCALE_STD, .ddof = 0, .eps = 1e-6}},
    {"areal", {.scale = GRPO_SCALE_STD, .ddof = 1, .eps = 1e-5}},
    {"nemo", {.baseline = GRPO_BASE_LOO, .scale = GRPO_SCALE_LOO_STD, .ddof = 1, .eps = 1e-6}},
    {"prime", {.scale = GRPO_SCALE_NONE}},
    {"rloo", {.baseline = GRPO_BASE_LOO, .scale = GRPO_SCALE_NONE}},
};

static void advantages_of_other_programs(void **state)
{
    (void)state;
    enum { N = sizeof implementations / sizeof *implementations };
    assert_int_equal(N, sizeof golden_advantages / sizeof *golden_advantages);
    for (int k = 0; k < N; k++) {
        double a[GOLDEN_GROUPS * 8];
        struct grpo_adv_stats st;
        assert_string_equal(implementations[k].name, golden_advantages[k].name);
        grpo_advantage(&implementations[k].o, golden_group[0], GOLDEN_GROUPS, 8, a, &st);
        for (int i = 0; i < GOLDEN_GROUPS * 8; i++)
            near(a[i], golden_advantages[k].a[i / 8][i % 8], 1e-9, implementations[k].name);
        assert_true(st.scored == GOLDEN_GROUPS * 8 && st.failed == 0 && st.flat == 0);
    }
    near(golden_advantages[0].a[0][0], 2.4742, 1e-4, "trl, 1 of 8 right"); /* the published comparison */
    near(golden_advantages[10].a[0][0], 1.0, 1e-12, "nemo, 1 of 8 right");
    near(golden_advantages[10].a[1][0], 1.0690, 1e-4, "nemo, 4 of 8 right");
}

static void failures_flat_and_tiny_groups(void **state)
{
    (void)state;
    const double r[] = {1, NAN, 0, NAN, /**/ 0.1, 0.1, 0.1, 0.1, /**/ NAN, NAN, 0.7, NAN, /**/ NAN, NAN, NAN, NAN};
    double a[16];
    struct grpo_adv_stats st;
    struct grpo_adv_opts o = {.scale = GRPO_SCALE_STD};
    grpo_advantage(&o, r, 4, 4, a, &st);
    const double want[16] = {1, 0, -1, 0};
    for (int i = 0; i < 16; i++)
        assert_true(a[i] == want[i]); /* exactly: with eps 0, rounding noise would be blown up to 1 */
    assert_true(st.scored == 7 && st.failed == 9 && st.groups == 4 && st.flat == 1 && st.tiny == 2);
    near(st.reward_mean, 2.1 / 7, 1e-12, "mean");
    o = (struct grpo_adv_opts){.scale = GRPO_SCALE_STD, .eps = 1e-6, .single_reward = 1};
    grpo_advantage(&o, r, 4, 4, a, &st);
    near(a[10], 0.7 / (1 + 1e-6), 1e-12, "single");
    for (int k = 0; k < 3; k++) { /* 7 equal others: their deviation is 0, whatever 0.1 * 7 rounds to */
        const double g[8] = {0.1, 0.1, 0.1, 0.5, 0.1, 0.1, 0.1, 0.1};
        o = (struct grpo_adv_opts){.baseline = GRPO_BASE_LOO, .scale = GRPO_SCALE_LOO_STD, .ddof = 1};
        grpo_advantage(&o, g, 1, 8, a, &st);
        near(a[3], 0.4, 1e-12, "loo std 0");
    }
    assert_true(grpo_flat(r, 4) == 0 && grpo_flat(r + 4, 4) && grpo_flat(r + 8, 4) && grpo_flat(r + 12, 4));
    o = (struct grpo_adv_opts){.scale = GRPO_SCALE_BATCH_STD};
    const double two[] = {1, 3, 10, 14};
    grpo_advantage(&o, two, 2, 2, a, &st); /* centred -1 1 -2 2: deviation sqrt(10 / 4) */
    near(a[3], 2 / sqrt(2.5), 1e-12, "batch");
    o = (struct grpo_adv_opts){.baseline = GRPO_BASE_NONE, .scale = GRPO_SCALE_NONE};
    grpo_advantage(&o, r + 4, 1, 4, a, &st);
    assert_true(a[0] == 0.1);
}

static void overlong_penalty(void **state)
{
    (void)state;
    assert_true(grpo_overlong(80, 0, 100, 20) == 0 && grpo_overlong(90, 0, 100, 20) == -0.5 && grpo_overlong(100, 0, 100, 20) == -1);
    assert_true(grpo_overlong(101, 0, 100, 20) == -1 && grpo_overlong(100, 1, 100, 20) == -1 && grpo_overlong(100, 1, 100, 0) == 0);
    assert_true(grpo_overlong(81, 0, 100, 20) == -0.05);
}

static float new_[GOLDEN_TOKENS], old_[GOLDEN_TOKENS], ref_[GOLDEN_TOKENS], entropy_[GOLDEN_TOKENS];

static void take_golden(void)
{
    for (int t = 0; t < GOLDEN_TOKENS; t++) {
        new_[t] = (float)golden_new[t];
        old_[t] = (float)golden_old[t];
        ref_[t] = (float)golden_ref[t];
        entropy_[t] = (float)golden_entropy[t];
    }
}

/* All six sequences; cut into two "micro-batches" at `cut` that are merged. */
static struct grpo_stats run(const struct grpo_loss_opts *o, const double *adv, float *g, float *ge, int cut)
{
    struct grpo_count norm = {0};
    struct grpo_stats st[2];
    int at = 0;
    for (int i = 0; i < GOLDEN_SEQS; i++)
        grpo_count_add(&norm, NULL, golden_lengths[i], 0);
    grpo_stats_init(&st[0]);
    grpo_stats_init(&st[1]);
    for (int i = 0; i < GOLDEN_SEQS; at += golden_lengths[i++]) {
        struct grpo_seq s = {.n = golden_lengths[i], .logp = new_ + at, .old = old_ + at, .ref = o->kl_coef != 0 ? ref_ + at : NULL,
                             .entropy = entropy_ + at, .advantage = adv[i], .g = g + at, .ge = ge ? ge + at : NULL};
        grpo_loss(o, &norm, &s, &st[i >= cut]);
    }
    grpo_stats_merge(&st[0], &st[1]);
    return st[0];
}

/* Advantages and loss options of a config. */
static void from_config(const char *words, struct grpo_loss_opts *o, double *adv)
{
    struct arena mem;
    struct cfg c;
    struct err e = {0};
    char buf[400], *w[20], *save = buf;
    int n = 0;
    arena_init(&mem, "config", 1 << 20);
    snprintf(buf, sizeof buf, "%s", words);
    for (char *one; (one = strsep(&save, " "));)
        w[n++] = one;
    if (cfg_load(NULL, w, n, &c, &mem, &e) != ERR_OK)
        fail_msg("%s", e.msg);
    double r[GOLDEN_SEQS];
    struct grpo_adv_stats st;
    memcpy(r, golden_rewards, sizeof r);
    for (int i = 0, at = 0; i < GOLDEN_SEQS && !strcmp(c.grpo.kl_in, "reward"); at += golden_lengths[i++])
        r[i] -= c.grpo.kl_coef * grpo_kl_sum((enum grpo_kl)cfg_index(&c, "grpo.kl_kind"), old_ + at, ref_ + at, NULL, golden_lengths[i]);
    struct grpo_adv_opts a = grpo_adv_options(&c);
    grpo_advantage(&a, r, 2, 3, adv, &st);
    *o = grpo_loss_options(&c);
    arena_release(&mem);
}

static const struct {
    const char *name, *words;
} cases[] = {
    {"hone", "seed=1"},
    {"deepseekmath", "grpo.preset=deepseekmath"},
    {"dr_grpo", "grpo.preset=dr_grpo grpo.constant_length=8"},
    {"dapo", "grpo.preset=dapo"},
    {"gspo", "grpo.preset=gspo"},
    {"cispo", "grpo.preset=cispo"},
    {"rloo", "grpo.preset=rloo"},
    {"gspo_wide", "grpo.preset=gspo grpo.clip_low=0.1 grpo.clip_high=0.1"},
    {"everything", "grpo.ddof=1 grpo.adv_eps=1e-6 grpo.clip_low=0.3 grpo.clip_high=0.3 grpo.dual_clip=1.4 grpo.kl_coef=0.1 grpo.kl_kind=k2 "
                   "grpo.aggregate=seq_mean grpo.entropy_coef=0.01"},
    {"whole_sequence", "grpo.baseline=loo grpo.scale=none grpo.level=sequence_sum grpo.clip_low=0.5 grpo.clip_high=0.5 grpo.kl_coef=0.02 "
                       "grpo.kl_kind=k1 grpo.aggregate=seq_sum"},
};
enum { N_CASES = sizeof cases / sizeof *cases };

static void presets_are_their_formulas(void **state)
{
    (void)state;
    assert_int_equal(N_CASES, sizeof golden_losses / sizeof *golden_losses);
    assert_true(golden_constant == 8);
    take_golden();
    for (int k = 0; k < N_CASES; k++) {
        struct grpo_loss_opts o;
        double adv[GOLDEN_SEQS];
        float g[GOLDEN_TOKENS];
        const struct golden_loss *want = &golden_losses[k];
        assert_string_equal(want->name, cases[k].name);
        from_config(cases[k].words, &o, adv);
        struct grpo_stats st = run(&o, adv, g, NULL, GOLDEN_SEQS);
        near(st.loss, want->loss, 1e-13, want->name);
        near(st.loss, st.loss_policy + st.loss_kl + st.loss_entropy, 1e-14, "parts");
        int moved = 0;
        for (int t = 0; t < GOLDEN_TOKENS; t++) {
            near(g[t], want->g[t], 1e-7, want->name);
            moved += want->g[t] != 0;
        }
        assert_true(moved > 0);
        assert_true(st.tokens == GOLDEN_TOKENS && st.seqs == GOLDEN_SEQS);
    }
}

/* Central differences of the value over every token. cispo: its weight is a constant, so the value is not the potential. */
static void derivatives_are_of_the_value(void **state)
{
    (void)state;
    take_golden();
    for (int k = 0; k < N_CASES; k++) {
        struct grpo_loss_opts o;
        double adv[GOLDEN_SEQS];
        float g[GOLDEN_TOKENS], ge[GOLDEN_TOKENS], unused[GOLDEN_TOKENS];
        from_config(cases[k].words, &o, adv);
        run(&o, adv, g, ge, 3);
        for (int t = 0; t < GOLDEN_TOKENS; t++) {
            float x = new_[t], up = x + 0x1p-12f, down = x - 0x1p-12f;
            if (o.kind != GRPO_CISPO) {
                new_[t] = up;
                double a = run(&o, adv, unused, NULL, 3).loss;
                new_[t] = down;
                double b = run(&o, adv, unused, NULL, 3).loss;
                new_[t] = x;
                near(g[t], (a - b) / ((double)up - (double)down), 3e-7, cases[k].name);
            }
            x = entropy_[t];
            entropy_[t] = x + 1;
            double a = run(&o, adv, unused, NULL, 3).loss;
            entropy_[t] = x - 1;
            double b = run(&o, adv, unused, NULL, 3).loss;
            entropy_[t] = x;
            near(ge[t], (a - b) / 2, 1e-7, "entropy");
        }
    }
}

static void the_cut_does_not_matter(void **state)
{
    (void)state;
    take_golden();
    for (int k = 0; k < N_CASES; k++) {
        struct grpo_loss_opts o;
        double adv[GOLDEN_SEQS];
        float g[GOLDEN_TOKENS], h[GOLDEN_TOKENS];
        from_config(cases[k].words, &o, adv);
        double whole = run(&o, adv, g, NULL, GOLDEN_SEQS).loss;
        for (int cut = 0; cut < GOLDEN_SEQS; cut++) {
            near(run(&o, adv, h, NULL, cut).loss, whole, 1e-14, "cut");
            assert_memory_equal(g, h, sizeof g);
        }
    }
}

static void masks_and_counts(void **state)
{
    (void)state;
    struct grpo_loss_opts o = {.clip_low = 0.2, .clip_high = 0.2, .dual_clip = 3, .aggregate = GRPO_TOKEN_MEAN};
    float old[5] = {-1, -1, -1, -1, -1}, new[5] = {-1, -1.5f, -0.5f, 0.5f, -2}, g[5];
    uint8_t mask[5] = {1, 1, 1, 1, 0};
    struct grpo_count norm = {0};
    grpo_count_add(&norm, mask, 5, 0);
    grpo_count_add(&norm, NULL, 7, 1);
    grpo_count_add(&norm, (uint8_t[2]){0, 0}, 2, 0);
    assert_true(norm.tokens == 4 && norm.seqs == 1);
    struct grpo_stats st;
    struct grpo_seq s = {.n = 5, .logp = new, .old = old, .mask = mask, .advantage = 1, .g = g};
    grpo_stats_init(&st);
    grpo_loss(&o, &norm, &s, &st);
    assert_true(g[4] == 0 && g[2] == 0 && g[3] == 0 && g[0] == -0.25f && g[1] != 0);
    assert_true(st.clip_high == 2 && st.clip_low == 0 && st.dual == 0 && st.tokens == 4 && st.differing == 4 && st.compared == 5);
    near(st.ratio_max, exp(1.5), 1e-15, "max");
    near(st.ratio_min, exp(-0.5), 1e-15, "min");
    s.advantage = -2;
    grpo_stats_init(&st);
    grpo_loss(&o, &norm, &s, &st);
    assert_true(st.clip_high == 0 && st.clip_low == 1 && st.dual == 1 && g[3] == 0 && g[1] == 0 && g[2] > 0);
    s.masked = 1;
    grpo_stats_init(&st);
    grpo_loss(&o, &norm, &s, &st);
    for (int t = 0; t < 5; t++)
        assert_true(g[t] == 0);
    assert_true(st.loss == 0 && st.tokens == 0 && st.masked == 1 && st.differing == 4);
    /* equal bits, on-policy: ratio 1, gradient -A / N, nothing clipped */
    s = (struct grpo_seq){.n = 5, .logp = old, .old = old, .advantage = 0.5, .g = g};
    grpo_stats_init(&st);
    grpo_loss(&o, &(struct grpo_count){10, 2}, &s, &st);
    assert_true(st.differing == 0 && st.ratio == 5 && st.kl_old == 0 && g[1] == -0.05f);
}

/* The own exp, through the ratio: against libm's, and k3 near 0 against its series. */
static void exp_is_exp(void **state)
{
    (void)state;
    struct grpo_loss_opts o = {.clip_low = 1, .clip_high = 1e9};
    double worst = 0;
    for (int i = 0; i < 100000; i++) {
        float d = (float)(40 * (rng_f64(1, RNG_TEST, 0, 0, (uint64_t)i) - 0.5)), zero = 0, g;
        struct grpo_stats st;
        grpo_stats_init(&st);
        grpo_loss(&o, &(struct grpo_count){1, 1}, &(struct grpo_seq){.n = 1, .logp = &d, .old = &zero, .advantage = 1, .g = &g}, &st);
        worst = fmax(worst, fabs(st.ratio / exp((double)d) - 1));
    }
    assert_true(worst < 6e-16);
    float a = 1e-6f, b = 0;
    near(grpo_kl_sum(GRPO_K3, &a, &b, NULL, 1) / ((double)a * (double)a / 2 * (1 - (double)a / 3)), 1, 1e-12, "k3");
    a = -800;
    assert_true(isinf(grpo_kl_sum(GRPO_K3, &a, &b, NULL, 1)));
    assert_true(grpo_kl_sum(GRPO_K1, &a, &b, NULL, 1) == -800);
    a = NAN;
    assert_true(isnan(grpo_kl_sum(GRPO_K3, &a, &b, NULL, 1)));
}

static void figures_have_names(void **state)
{
    (void)state;
    struct grpo_stats st, *s = &st;
    grpo_stats_init(s);
    int n = 0;
#define FIGURE(name, value) n += isfinite(value) && name[0];
    GRPO_FIGURES(FIGURE)
    assert_true(n == 17);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(advantages_of_other_programs), cmocka_unit_test(failures_flat_and_tiny_groups),
        cmocka_unit_test(overlong_penalty),             cmocka_unit_test(presets_are_their_formulas),
        cmocka_unit_test(derivatives_are_of_the_value), cmocka_unit_test(the_cut_does_not_matter),
        cmocka_unit_test(masks_and_counts),             cmocka_unit_test(exp_is_exp),
        cmocka_unit_test(figures_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
