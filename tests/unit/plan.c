/* Planning. The failures to catch: figures that are not the report's; a part of the memory that does not follow its formula; a layout that
 * cannot work and is planned all the same; a refusal whose hint does not fit either. */
#include "plan/plan.h"

#include <math.h>

#include "tests/test.h"

static struct arena mem;
static struct model_config v3, dense;

static int setup(void **state)
{
    struct err e = {0};
    (void)state;
    arena_init(&mem, "test", 1LL << 30);
    assert_int_equal(model_config_read("configs/models/deepseek_v3.json", &v3, &e), ERR_OK);
    assert_int_equal(model_config_read("configs/models/llama31_8b.json", &dense, &e), ERR_OK);
    return 0;
}

/* DeepSeek-V3's pre-training. */
static struct plan_job report(void)
{
    return (struct plan_job){.model = &v3, .cluster = *plan_cluster("h800"), .gpus = 2048, .pp = 16, .ep = 64, .zero = 1, .mtp = 1, .uneven = 1, .schedule = PIPE_dualpipe,
                             .recompute = PLAN_RECOMPUTE_selective, .precision = PLAN_fp8, .moment_bytes = 2, .seq = 4096, .batch = 15360, .micro = 1,
                             .reserve = 4.0 * (1 << 30), .hours_per_trillion = 180e3, .tokens = 14.8e12, .price = 2};
}

static struct plan_job small(void)
{
    return (struct plan_job){.model = &dense, .cluster = *plan_cluster("h100"), .gpus = 8, .pp = 1, .ep = 1, .zero = 1, .precision = PLAN_bf16, .moment_bytes = 4,
                             .recompute = PLAN_RECOMPUTE_full, .seq = 4096, .batch = 64, .micro = 1, .mfu = 0.4, .tokens = 1e12, .price = 2};
}

static void the_report(void **state)
{
    struct plan_job j = report();
    struct plan_result r;
    struct err e = {0};
    (void)state;
    assert_int_equal(plan_make(&j, &mem, &r, &e), ERR_OK);
    assert_true(fabs(r.hours - 2664e3) < 1);
    assert_true(fabs(r.cost - 5.328e6) < 2);
    assert_true(fabs(r.days_per_trillion - 3.7) < 0.05);
    assert_true(fabs((r.hours + 119e3 + 5e3) * 2 - 5.576e6) < 2);
    /* 180,000 h over 2,048 GPUs and 1e12 / (15,360 x 4,096) steps are 19.906 s a step; FLOPs counted wrongly would show in the share of the peak */
    assert_true(fabs(r.step_s - 19.906) < 0.01 && fabs(r.mfu - 0.391) < 0.005);
    assert_int_equal(r.traffic.node_copies, 4);
    assert_int_equal(r.traffic.gpu_copies, 8);
    /* tokens x 4 expert layers x there and back x 4 nodes x (fp8 with a scale per 128 + bf16) */
    double token = 4 * (7168.0 + 224) + 4 * 7168.0 * 2;
    assert_true(fabs(r.traffic.all_to_all_inter - 4096.0 * 120 * 4 * 2 * token) < 1);
    /* tokens x d x 2 bytes, there and back */
    assert_true(fabs(r.traffic.pipeline - 4096.0 * 120 * 7168 * 2 * 2) < 1);
}

static void all_parameters_are_somewhere(void **state)
{
    static const int64_t shapes[][4] = {{2048, 16, 64, PIPE_1f1b}, {2048, 16, 64, PIPE_dualpipe}, {512, 8, 32, PIPE_zb1p}, {61 * 8, 61, 8, PIPE_1f1b}};
    struct model_size z = model_size(&v3);
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct plan_job j = report();
        struct plan_result r;
        struct err e = {0};
        j.gpus = shapes[i][0], j.pp = shapes[i][1], j.ep = shapes[i][2], j.schedule = (enum pipe_kind)shapes[i][3];
        j.batch = j.gpus / j.pp * 2 * j.pp;
        j.cluster.memory = 1e15;
        assert_int_equal(plan_make(&j, &mem, &r, &e), ERR_OK);
        double sum = 0, experts = 0;
        for (int64_t l = 0; l < v3.layers + 1; l++)
            experts += (double)model_layer_size(&v3, l < v3.layers ? l : v3.layers - 1).expert * 256;
        for (int64_t k = 0; k < j.pp; k++)
            sum += r.ranks[k].params;
        int twice = j.schedule == PIPE_dualpipe ? 2 : 1;
        /* each rank has 1 / EP of its experts; without DualPipe the last stage has a table of its own for MTP */
        double want = twice * ((double)(z.params + z.mtp) - experts + experts / (double)j.ep);
        if (twice == 1)
            want += (double)(v3.vocab * v3.hidden);
        assert_true(fabs(sum - want) < 1);
    }
}

static void parts_follow_their_formulas(void **state)
{
    struct plan_job j = small();
    struct plan_result r;
    struct err e = {0};
    double n = (double)model_size(&dense).params, tokens = 4096;
    (void)state;
    assert_int_equal(plan_make(&j, &mem, &r, &e), ERR_OK);
    assert_true(r.ranks[0].params == n);
    assert_true(r.ranks[0].part[PLAN_weights] == 2 * n && r.ranks[0].part[PLAN_gradients] == 4 * n);
    assert_true(fabs(r.ranks[0].part[PLAN_master] - 4 * n / 8) < 1 && fabs(r.ranks[0].part[PLAN_moments] - 8 * n / 8) < 1);
    assert_true(r.ranks[0].part[PLAN_logits] == 4 * tokens * 128256);
    /* full: one input per layer, and one layer again: x, x_mid, two normed, q k v, o, lse, gate, up, product */
    double layer = 2 * (4 * 4096.0 + (32 + 16) * 128 + 32 * 128 + 3 * 14336) + 4 * 32;
    assert_true(fabs(r.ranks[0].part[PLAN_activations] - tokens * (32 * 2 * 4096.0 + layer)) < 1);
    assert_true(r.traffic.all_to_all_inter == 0 && r.traffic.pipeline == 0);
    assert_true(fabs(r.traffic.data - 7.0 / 8 * 6 * n) < 1);
    /* MFU: FLOPs = 3 x (2 x weights that a token meets + attention over half a sequence) */
    double flops = 3 * (2.0 * (7504924672 - 65 * 4096) + 32 * 4 * 32 * 128 * 2048.0);
    assert_true(fabs(r.flops / flops - 1) < 1e-9);
    assert_true(fabs(r.tokens_per_s - 8 * 0.4 * 989.5e12 / flops) < 1e-3);
    j.zero = 0, j.precision = PLAN_fp32, j.cluster.memory = 1e15;
    assert_int_equal(plan_make(&j, &mem, &r, &e), ERR_OK);
    assert_true(r.ranks[0].part[PLAN_master] == 0 && r.ranks[0].part[PLAN_moments] == 8 * n && r.ranks[0].part[PLAN_weights] == 4 * n);
    j.cache_seqs = 3, j.cache_context = 100;
    assert_int_equal(plan_make(&j, &mem, &r, &e), ERR_OK);
    assert_true(r.ranks[0].part[PLAN_cache] == 300.0 * 131072 * 2);
}

static void pipeline_ranks_hold_what_the_schedule_says(void **state)
{
    struct plan_job j = small();
    struct plan_result r;
    struct err e = {0};
    (void)state;
    j.gpus = 32, j.pp = 4, j.batch = 8 * 8, j.cluster.memory = 1e15, j.recompute = PLAN_RECOMPUTE_none;
    assert_int_equal(plan_make(&j, &mem, &r, &e), ERR_OK);
    assert_int_equal(r.micro_batches, 8);
    for (int64_t i = 0; i < 4; i++)
        assert_true(fabs(r.ranks[i].part[PLAN_activations] - (double)(4 - i) * 8 * 4096 * plan_activation(&j, 0, PLAN_RECOMPUTE_none)) < 1);
    assert_true(r.ranks[3].part[PLAN_logits] > 0 && r.ranks[0].part[PLAN_logits] == 0);
    for (int k = 0; k < PIPE_N_KINDS - 1; k++)
        assert_true(fabs(r.bubble[k].formula - r.bubble[k].simulated) < 1e-9 * r.step_s);
    /* the step is work and bubble */
    assert_true(fabs(8 * (r.f + r.b) + r.bubble[PIPE_1f1b].simulated - r.step_s) < 1e-9 * r.step_s);
}

static void both_forms_of_latent_attention(void **state)
{
    struct plan_job j = report();
    struct plan_result r, q;
    struct err e = {0};
    (void)state;
    assert_int_equal(plan_make(&j, &mem, &r, &e), ERR_OK);
    assert_true(r.mla.pair[0] == 640 && r.mla.pair[1] == 2176);
    assert_true(r.mla.cache[1] == 70272 && r.mla.cache[0] == 2.0 * 61 * 128 * 320);
    assert_true(fabs(r.mla.train[1] / r.mla.train[0] - 1.29) < 0.01); /* 29 % more at 4096 tokens */
    j.absorbed = 1, j.cache_seqs = 1, j.cache_context = 1000;
    assert_int_equal(plan_make(&j, &mem, &q, &e), ERR_OK);
    assert_true(q.mfu > r.mfu);
    double cache = 0;
    for (int64_t i = 0; i < 16; i++)
        cache += q.ranks[i].part[PLAN_cache];
    assert_true(fabs(cache - 2 * 70272.0 * 1000) < 1); /* DualPipe holds every layer twice */
}

static void refused(const struct plan_job *j, err_code code, const char *with)
{
    struct plan_result r;
    struct err e = {0};
    assert_int_equal(plan_make(j, &mem, &r, &e), code);
    if (!strstr(e.msg, with))
        fail_msg("'%s' does not say '%s'", e.msg, with);
    assert_null(strchr(e.msg, '\n'));
}

static void what_cannot_work_is_refused(void **state)
{
    struct plan_job j;
    (void)state;
#define REFUSED(base, set, code, with) j = base(); set; refused(&j, code, with);
    REFUSED(report, j.ep = 96, ERR_USAGE, "256 experts do not divide over EP 96")
    REFUSED(report, j.ep = 256, ERR_USAGE, "EP 256 does not divide DP 128")
    REFUSED(report, j.uneven = 0, ERR_USAGE, "61 layers do not divide into 16 pipeline stages")
    REFUSED(report, j.pp = 64; j.ep = 32; j.batch = 32 * 128, ERR_USAGE, "64 pipeline stages for 61 layers")
    REFUSED(report, j.gpus = 2047, ERR_USAGE, "2047 GPUs do not divide into 16 pipeline stages")
    REFUSED(report, j.batch = 15361, ERR_USAGE, "a batch of 15361 sequences")
    REFUSED(report, j.batch = 128 * 16, ERR_USAGE, "DualPipe does not take 16 stages with 16 micro-batches")
    REFUSED(report, j.seq = 200000, ERR_USAGE, "the model has 163840 positions")
    REFUSED(report, j.mfu = 0.4, ERR_USAGE, "one of them")
    REFUSED(report, j.cluster = *plan_cluster("a100"), ERR_USAGE, "has no fp8")
    REFUSED(small, j.ep = 2, ERR_USAGE, "the model has no experts")
    REFUSED(small, j.absorbed = 1, ERR_USAGE, "no latent attention")
    REFUSED(small, j.recompute = PLAN_RECOMPUTE_none; j.micro = 8; j.seq = 16384, ERR_LIMIT, "GiB too many; most of it activations")
#undef REFUSED
}

/* What the message says would fit does fit, in the size that it says. */
static void hints_hold(void **state)
{
    struct plan_job j = small();
    struct plan_result r;
    struct err e = {0};
    (void)state;
    j.recompute = PLAN_RECOMPUTE_none, j.micro = 4;
    refused(&j, ERR_LIMIT, "would fit: --micro 1 (");
    assert_int_equal(plan_make(&j, &mem, &r, &e), ERR_LIMIT);
    double said = strtod(strstr(e.msg, "--micro 1 (") + 11, NULL);
    j.micro = 1;
    assert_int_equal(plan_make(&j, &mem, &r, &e), ERR_OK);
    assert_true(fabs(r.ranks[r.worst].total / (1 << 30) - said) < 0.06);
    j = report();
    j.gpus = 16, j.pp = 1, j.ep = 16, j.batch = 16, j.schedule = PIPE_1f1b;
    refused(&j, ERR_LIMIT, "would fit: --gpus ");
    assert_int_equal(plan_make(&j, &mem, &r, &e), ERR_LIMIT);
    long long gpus, pp, ep;
    assert_int_equal(sscanf(strstr(e.msg, "would fit"), "would fit: --gpus %lld --pp %lld --ep %lld", &gpus, &pp, &ep), 3);
    j.gpus = gpus, j.pp = pp, j.ep = ep, j.uneven = 1, j.recompute = PLAN_RECOMPUTE_full, j.batch = gpus * 2;
    assert_int_equal(plan_make(&j, &mem, &r, &e), ERR_OK);
    j = small();
    j.gpus = 1, j.batch = 2;
    refused(&j, ERR_LIMIT, "--gpus 4 (");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_report),
        cmocka_unit_test(all_parameters_are_somewhere),
        cmocka_unit_test(parts_follow_their_formulas),
        cmocka_unit_test(pipeline_ranks_hold_what_the_schedule_says),
        cmocka_unit_test(both_forms_of_latent_attention),
        cmocka_unit_test(what_cannot_work_is_refused),
        cmocka_unit_test(hints_hold),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
