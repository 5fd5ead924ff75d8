/* Catches: a step whose bytes depend on threads or on how leaves lie over ranks; AdamW that is not AdamW; a schedule
 * off by one; a refused step that changed something; a checkpoint that does not bring back the same run; a checkpoint
 * seen half written, lost by a full disk, or accepted when damaged; malloc inside the step. */
#include "train/train.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <math.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/fault.h"
#include "core/file.h"
#include "core/log.h"
#include "core/par.h"
#include "core/rng.h"
#include "train/optim.h"
#include "tests/test.h"

/* ---- a toy model: two tensors, loss = sum_leaf sum_i a_i (w_i - target_leaf_i)^2 / 2 ----------------------------- */

enum { N_MATRIX = 70001, N_BIAS = 37 };

struct toy {
    struct train_param p[2];
    float *w[2];
    int refreshed;
};

static void toy_refresh(void *ctx)
{
    ((struct toy *)ctx)->refreshed++;
}

static err_code toy_save(void *ctx, const char *dir, struct err *e)
{
    struct toy *m = ctx;
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0666);
    if (fd < 0)
        return err_sys(e, ERR_IO, "cannot create '%s'", path);
    err_code rc = file_write_all(fd, m->w[0], N_MATRIX * 4, path, e);
    if (rc == ERR_OK)
        rc = file_write_all(fd, m->w[1], N_BIAS * 4, path, e);
    close(fd);
    return rc;
}

static void toy_open(struct toy *m, const char *from)
{
    static const char *const names[2] = {"layer.weight", "layer.bias"};
    int64_t n[2] = {N_MATRIX, N_BIAS};
    *m = (struct toy){.refreshed = 0};
    for (int k = 0; k < 2; k++) {
        m->w[k] = calloc((size_t)n[k], 4);
        m->p[k] = (struct train_param){.name = names[k], .w = m->w[k], .n = n[k], .decay = k == 0};
        for (int64_t i = 0; i < n[k]; i++)
            m->w[k][i] = rng_f32(1, RNG_TEST, (uint64_t)k, 0, (uint64_t)i) - 0.5f;
    }
    if (from) {
        char path[PATH_MAX];
        struct file_map map;
        snprintf(path, sizeof path, "%s/model.safetensors", from);
        assert_int_equal(file_map_open(path, &map, NULL), ERR_OK);
        memcpy(m->w[0], map.p, N_MATRIX * 4);
        memcpy(m->w[1], map.p + N_MATRIX * 4, N_BIAS * 4);
        file_map_release(&map);
    }
}

static void toy_close(struct toy *m)
{
    free(m->w[0]);
    free(m->w[1]);
}

static void toy_grad(const struct toy *m, const struct train *t, float *g, int64_t step, int64_t leaf)
{
    for (int k = 0; k < 2; k++)
        for (int64_t i = 0; i < m->p[k].n; i++)
            g[t->offset[k] + i] = m->w[k][i] - (float)((i * 7 + leaf * 13 + step * 3) % 101) / 50.f;
}

static const struct train_opts base = {
    .steps = 12, .leaves = 4, .lr = 1e-2, .lr_min = 1e-3, .warmup = 3, .schedule = TRAIN_COSINE, .beta1 = 0.9,
    .beta2 = 0.99, .eps = 1e-8, .weight_decay = 0.1, .clip = 1, .moments = TRAIN_BF16, .seed = 5, .dir = "", .keep = 2,
};

static struct train_target target_of(struct toy *m)
{
    return (struct train_target){.params = m->p, .n_params = 2, .ctx = m, .refresh = toy_refresh, .save = toy_save};
}

static err_code toy_step(struct train *t, struct toy *m, struct train_step *s, struct err *e)
{
    train_begin(t);
    for (int64_t leaf = 0; leaf < t->opts.leaves; leaf++) {
        if (leaf == 2 && t->step % 3 == 1) {
            train_leaf_absent(t);
            continue;
        }
        toy_grad(m, t, train_leaf(t), t->step, leaf);
        train_leaf_done(t);
    }
    return train_end(t, 1.0, s, e);
}

static struct train_opts with_dir(const char *dir)
{
    struct train_opts o = base;
    o.dir = dir;
    return o;
}

static void fresh_dir(char path[64])
{
    snprintf(path, 64, "/tmp/hone_train_XXXXXX");
    assert_non_null(mkdtemp(path));
}

/* ---- numbers ---------------------------------------------------------------------------------------------------- */

static void test_schedule(void **state)
{
    (void)state;
    struct train_opts o = {.steps = 110, .lr = 2, .lr_min = 0.5, .warmup = 10, .schedule = TRAIN_COSINE};
    assert_true(train_lr(&o, 1) == 0.2 && train_lr(&o, 10) == 2 && train_lr(&o, 11) == 2);
    for (int64_t s = 11; s <= 110; s++) {
        double want = 0.5 + 1.5 * 0.5 * (1 + cos(M_PI * (double)(s - 11) / 100));
        assert_true(fabs(train_lr(&o, s) - want) < 1e-15 * 8); /* a few ulp: two different cosines */
        assert_true(s == 11 || train_lr(&o, s) < train_lr(&o, s - 1));
    }
    o.hold = 50;
    assert_true(train_lr(&o, 60) == 2 && train_lr(&o, 61) == 2 && train_lr(&o, 62) < 2);
    assert_true(fabs(train_lr(&o, 86) - 1.25) < 1e-15 * 8);
    o.schedule = TRAIN_LINEAR;
    assert_true(fabs(train_lr(&o, 86) - 1.25) < 1e-15 * 8 && train_lr(&o, 110) > 0.5);
    o.schedule = TRAIN_CONSTANT;
    assert_true(train_lr(&o, 110) == 2);
    o = (struct train_opts){.steps = 1, .lr = 3, .schedule = TRAIN_COSINE};
    assert_true(train_lr(&o, 1) == 3); /* one step, no warm-up: the whole rate */
}

/* Against the paper's formula in float64; f32 arithmetic over 12 steps keeps 1e-5 of the largest weight. */
static void test_adamw(void **state)
{
    (void)state;
    struct toy m;
    struct train t;
    struct err e = {0};
    struct train_opts o = base;
    o.moments = TRAIN_F32;
    o.leaves = 1;
    toy_open(&m, NULL);
    struct train_target target = target_of(&m);
    assert_int_equal(train_open(&t, &o, &target, &e), ERR_OK);
    double w[3], mm[3] = {0}, vv[3] = {0};
    for (int i = 0; i < 3; i++)
        w[i] = i == 2 ? (double)m.w[1][5] : (double)m.w[0][i];
    for (int step = 0; step < 12; step++) {
        struct train_step s;
        double norm2 = 0;
        float *g;
        train_begin(&t);
        toy_grad(&m, &t, g = train_leaf(&t), step, 0);
        for (int64_t i = 0; i < t.n_grad; i++)
            norm2 += (double)g[i] * (double)g[i];
        double gi[3] = {(double)g[0], (double)g[1], (double)g[t.offset[1] + 5]}, c = 1 / sqrt(norm2);
        train_leaf_done(&t);
        assert_int_equal(train_end(&t, 0, &s, &e), ERR_OK);
        assert_true(fabs(s.grad_norm * s.grad_norm / norm2 - 1) < 1e-12 && fabs(s.clip_scale / c - 1) < 1e-12);
        for (int i = 0; i < 3; i++) {
            double q = c * gi[i];
            mm[i] = 0.9 * mm[i] + 0.1 * q;
            vv[i] = 0.99 * vv[i] + 0.01 * q * q;
            w[i] -= s.lr * (i < 2 ? 0.1 : 0) * w[i];
            w[i] -= s.lr * (mm[i] / (1 - pow(0.9, step + 1))) / (sqrt(vv[i] / (1 - pow(0.99, step + 1))) + 1e-8);
            assert_true(fabs(w[i] - (double)(i == 2 ? m.w[1][5] : m.w[0][i])) < 1e-5);
        }
    }
    assert_int_equal(m.refreshed, 12);
    train_close(&t);
    toy_close(&m);
}

/* bf16 moments follow the f32 ones on average even where rounding to nearest would stand still (20 % below the mean square at beta2 0.99). */
static void test_bf16_moments(void **state)
{
    (void)state;
    enum { N = 4096, STEPS = 400 };
    static float w[N];
    static uint16_t m[N], v[N];
    struct toy toy = {.p = {{"w", w, N, 0}}};
    struct train t;
    struct err e = {0};
    struct train_opts o = base;
    struct train_target target = {.params = toy.p, .n_params = 1, .ctx = &toy};
    struct train_step s;
    o.leaves = 1, o.clip = 0, o.steps = STEPS, o.warmup = 0, o.lr = o.lr_min = 0, o.schedule = TRAIN_CONSTANT;
    assert_int_equal(train_open(&t, &o, &target, &e), ERR_OK);
    for (int step = 0; step < STEPS; step++) {
        train_begin(&t);
        float *leaf = train_leaf(&t);
        for (int i = 0; i < N; i++)
            leaf[i] = 0.5f;
        train_leaf_done(&t);
        assert_int_equal(train_end(&t, 0, &s, &e), ERR_OK);
    }
    memcpy(m, t.m, sizeof m);
    memcpy(v, t.v, sizeof v);
    double mean_m = 0, mean_v = 0;
    for (int i = 0; i < N; i++) {
        uint32_t a = (uint32_t)m[i] << 16, b = (uint32_t)v[i] << 16;
        float fa, fb;
        memcpy(&fa, &a, 4);
        memcpy(&fb, &b, 4);
        mean_m += (double)fa / N;
        mean_v += (double)fb / N;
    }
    double want_v = 0.25 * (1 - pow(0.99, STEPS));
    /* the mean of 4096 independent roundings: their spread is below 1 % of v, so 0.5 % is over 30 sigma of the mean */
    assert_true(fabs(mean_m / 0.5 - 1) < 0.005 && fabs(mean_v / want_v - 1) < 0.005);
    train_close(&t);
}

/* The norm adds in the order that its header promises, on every instruction set and with a short last block. */
static void test_norm_order(void **state)
{
    (void)state;
    enum { MANY = 2 * OPTIM_BLOCK + 37, LANES = 8 };
    static float g[MANY];
    for (int i = 0; i < MANY; i++)
        g[i] = (float)rng_normal(1, RNG_TEST, 2, 0, (uint64_t)i);
    for (int64_t n = 1; n <= MANY; n += n < 40 ? 1 : 997) { /* the sum's order, spelled out */
        double want = 0, block[3], got[2];
        for (int64_t b = 0; b < n; b += OPTIM_BLOCK) {
            double lane[LANES] = {0}, sum = 0;
            for (int64_t i = b; i < n && i < b + OPTIM_BLOCK; i++)
                lane[i % LANES] += (double)g[i] * (double)g[i];
            for (int l = 0; l < LANES; l++)
                sum += lane[l];
            want += sum;
        }
        got[0] = optim_sum_squares(g, n, block, OPTIM_PLAIN);
        got[1] = optim_sum_squares(g, n, block, OPTIM_AVX2);
        assert_memory_equal(&want, &got[0], sizeof want);
        assert_memory_equal(&want, &got[1], sizeof want);
    }
}

/* Same bits from every instruction set, in bf16 and f32, at every length of the last group; and the vectorised
 * Philox is Philox: a moment of 1 + 2^-9 (a quarter of a bf16 step) goes up exactly where the generator says so. */
static void test_isa(void **state)
{
    (void)state;
    enum { N = 1003 };
    for (int bf16 = 0; bf16 < 2; bf16++)
        for (int64_t n = N - 40; n <= N; n++) {
            static float w[2][N], g[N], m[2][N], v[2][N];
            struct optim_step s = {.lr = 1e-3, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .decay = 0.1, .scale = 0.7,
                                   .fix1 = 0.1, .fix2 = 0.05, .seed = 77, .step = 3, .first = 1 << 20, .bf16 = bf16};
            memset(m, 0, sizeof m);
            memset(v, 0, sizeof v);
            for (int i = 0; i < N; i++) {
                w[0][i] = w[1][i] = (float)rng_normal(1, RNG_TEST, 0, 0, (uint64_t)i);
                g[i] = (float)rng_normal(1, RNG_TEST, 1, 0, (uint64_t)i);
            }
            for (int k = 0; k < 3; k++) {
                optim_adamw(&s, w[0], g, m[0], v[0], n, OPTIM_PLAIN);
                optim_adamw(&s, w[1], g, m[1], v[1], n, OPTIM_AVX2);
            }
            assert_memory_equal(w[0], w[1], sizeof w[0]);
            assert_memory_equal(m[0], m[1], sizeof m[0]);
            assert_memory_equal(v[0], v[1], sizeof v[0]);
        }
    static float w[N], g[N];
    static uint16_t m[N], v[N];
    struct optim_step s = {.beta1 = 0, .beta2 = 0, .eps = 1, .scale = 1, .fix1 = 1, .fix2 = 1, .seed = 77, .step = 3, .first = 64, .bf16 = 1};
    for (int i = 0; i < N; i++)
        g[i] = 1 + 0x1p-9f;
    optim_adamw(&s, w, g, m, v, N, OPTIM_BEST);
    for (int i = 0; i < N; i++) {
        uint32_t r[4];
        uint64_t block = (64 + (uint64_t)i / 32 * 32) / 4 + (uint64_t)i % 8;
        rng_block(r, 77, RNG_ROUND, 3, 0, block);
        uint16_t low = (uint16_t)r[i % 32 / 8];
        assert_int_equal(m[i], 0x3F80 + (low + 0x4000 >= 0x10000)); /* 2^-9 is 0x4000 below a bf16 of 1 */
    }
}

static void run_bytes(int threads, float *out)
{
    struct toy m;
    struct train t;
    struct train_step s;
    struct err e = {0};
    par_init(threads);
    toy_open(&m, NULL);
    struct train_target target = target_of(&m);
    assert_int_equal(train_open(&t, &base, &target, &e), ERR_OK);
    for (int i = 0; i < 6; i++)
        assert_int_equal(toy_step(&t, &m, &s, &e), ERR_OK);
    memcpy(out, m.w[0], N_MATRIX * 4);
    memcpy(out + N_MATRIX, m.w[1], N_BIAS * 4);
    train_close(&t);
    toy_close(&m);
}

static void test_threads(void **state)
{
    (void)state;
    static float a[N_MATRIX + N_BIAS], b[N_MATRIX + N_BIAS];
    run_bytes(1, a);
    run_bytes(2, b);
    assert_memory_equal(a, b, sizeof a);
    run_bytes(3, b);
    assert_memory_equal(a, b, sizeof a);
}

/* The sum of 16 leaves computed by 1, 2, 4, 8 and 16 ranks, each with its own tree; every set of absent leaves of a
 * few. The values are such that another order gives other bits. */
static void test_tree_ranks(void **state)
{
    (void)state;
    enum { N = 1000, LEAVES = 16 };
    struct arena mem;
    arena_init(&mem, "test", 64 << 20);
    for (int trial = 0; trial < 40; trial++) {
        static float want[N];
        int have_want = 0, wrong_order_differs = 0;
        uint32_t absent = trial < 20 ? 0 : rng_u32(3, RNG_TEST, (uint64_t)trial, 0, 0) & 0xFFFF;
        for (int64_t ranks = 1; ranks <= LEAVES; ranks *= 2) {
            float *root[LEAVES];
            arena_reset(&mem);
            for (int64_t r = 0; r < ranks; r++) {
                struct train_tree *t = ARENA_NEW(&mem, struct train_tree, 1);
                train_tree_init(t, &mem, N, LEAVES / ranks);
                train_tree_begin(t);
                for (int64_t l = r * LEAVES / ranks; l < (r + 1) * LEAVES / ranks; l++) {
                    float *g = (absent >> l & 1) ? NULL : train_tree_leaf(t);
                    for (int i = 0; g && i < N; i++)
                        g[i] = (float)(rng_normal(9, RNG_TEST, (uint64_t)l, (uint32_t)trial, (uint64_t)i) * pow(10, (double)(l % 5)));
                    train_tree_leaf_done(t, !g);
                }
                root[r] = train_tree_root(t);
            }
            for (int64_t step = 1; step < ranks; step *= 2)
                for (int64_t r = 0; r + step < ranks; r += 2 * step) {
                    if (root[r] && root[r + step]) /* added on the right-hand rank: addition commutes */
                        train_tree_add(root[r + step], root[r], N);
                    root[r] = root[r + step] ? root[r + step] : root[r];
                }
            if (absent == 0xFFFF) {
                assert_null(root[0]);
                continue;
            }
            if (!have_want)
                memcpy(want, root[0], sizeof want), have_want = 1;
            assert_memory_equal(want, root[0], sizeof want);
        }
        for (int i = 0; i < N && !absent; i++) {
            float sum = 0;
            for (int l = 0; l < LEAVES; l++)
                sum += (float)(rng_normal(9, RNG_TEST, (uint64_t)l, (uint32_t)trial, (uint64_t)i) * pow(10, (double)(l % 5)));
            wrong_order_differs |= sum != want[i];
        }
        assert_true(absent || wrong_order_differs);
    }
    arena_release(&mem);
}

static void test_refused(void **state)
{
    (void)state;
    struct toy m;
    struct train t;
    struct train_step s;
    struct err e = {0};
    toy_open(&m, NULL);
    struct train_target target = target_of(&m);
    assert_int_equal(train_open(&t, &base, &target, &e), ERR_OK);
    assert_int_equal(toy_step(&t, &m, &s, &e), ERR_OK);
    static float before[N_MATRIX];
    static uint16_t moment[N_MATRIX];
    memcpy(before, m.w[0], sizeof before);
    memcpy(moment, t.v, sizeof moment);
    for (int kind = 0; kind < 3; kind++) {
        train_begin(&t);
        for (int leaf = 0; leaf < 4; leaf++) {
            float *g = train_leaf(&t);
            toy_grad(&m, &t, g, 1, leaf);
            if (leaf == 1 && kind == 0)
                g[t.offset[1] + 3] = NAN;
            if (leaf == 2 && kind == 1)
                g[N_MATRIX - 1] = -INFINITY;
            train_leaf_done(&t);
        }
        assert_int_equal(train_end(&t, kind == 2 ? NAN : 1, &s, &e), ERR_DIVERGED);
        assert_non_null(strstr(e.msg, kind == 0 ? "'layer.bias' is nan at index 3" : kind == 1 ? "'layer.weight' is -inf at index 70000" : "loss is nan"));
        assert_non_null(strstr(e.msg, "step 2"));
        assert_memory_equal(before, m.w[0], sizeof before);
        assert_memory_equal(moment, t.v, sizeof moment);
        assert_true(t.step == 1);
    }
    assert_int_equal(toy_step(&t, &m, &s, &e), ERR_OK); /* and the trainer goes on */
    train_close(&t);
    toy_close(&m);
}

static void test_no_malloc(void **state)
{
    (void)state;
    struct toy m;
    struct train t;
    struct train_step s;
    struct err e = {0};
    toy_open(&m, NULL);
    struct train_target target = target_of(&m);
    assert_int_equal(train_open(&t, &base, &target, &e), ERR_OK);
    assert_int_equal(toy_step(&t, &m, &s, &e), ERR_OK);
    struct mallinfo2 a = mallinfo2();
    for (int i = 0; i < 5; i++)
        assert_int_equal(toy_step(&t, &m, &s, &e), ERR_OK);
    struct mallinfo2 b = mallinfo2();
    assert_true(a.uordblks == b.uordblks && a.hblkhd == b.hblkhd && a.arena == b.arena);
    train_close(&t);
    toy_close(&m);
}

/* ---- checkpoints ------------------------------------------------------------------------------------------------ */

static void digest(const char *dir, char out[33])
{
    struct arena mem;
    struct ckpt_info info;
    char path[PATH_MAX];
    struct err e = {0};
    arena_init(&mem, "test", 64 << 20);
    assert_int_equal(ckpt_newest(dir, path, &e), ERR_OK);
    assert_true(path[0]);
    assert_int_equal(ckpt_verify(path, &info, &mem, &e), ERR_OK);
    memcpy(out, info.digest, 33);
    arena_release(&mem);
}

/* From the newest checkpoint (or the start) to step `until`; saves every `every`. */
static err_code run_to(const char *dir, int64_t until, int64_t every, struct err *e)
{
    struct toy m;
    struct train t;
    struct train_step s;
    struct ckpt_info info;
    char path[PATH_MAX], cursor[32];
    struct train_opts o = with_dir(dir);
    TRY(train_find(dir, 1, path, e));
    toy_open(&m, path[0] ? path : NULL);
    struct train_target target = target_of(&m);
    err_code rc = train_open(&t, &o, &target, e);
    if (rc == ERR_OK && path[0])
        rc = train_load(&t, path, &info, e);
    while (rc == ERR_OK && t.step < until) {
        rc = toy_step(&t, &m, &s, e);
        snprintf(cursor, sizeof cursor, "pack %d", (int)t.step);
        if (rc == ERR_OK && (t.step % every == 0 || t.step == until))
            rc = train_save(&t, str_of(cursor), e);
    }
    train_close(&t);
    toy_close(&m);
    return rc;
}

static void test_resume(void **state)
{
    (void)state;
    char a[64], b[64], da[33], db[33], path[PATH_MAX];
    struct err e = {0};
    fresh_dir(a);
    fresh_dir(b);
    assert_int_equal(run_to(a, 10, 100, &e), ERR_OK);
    assert_int_equal(run_to(b, 5, 2, &e), ERR_OK);
    assert_int_equal(run_to(b, 10, 3, &e), ERR_OK);
    digest(a, da);
    digest(b, db);
    assert_string_equal(da, db);
    assert_int_equal(train_find(a, 0, path, &e), ERR_USAGE); /* never trains over an older run */
    assert_non_null(strstr(e.msg, "--resume"));
    int n = 0; /* keep = 2 */
    for (int step = 0; step <= 10; step++) {
        snprintf(path, sizeof path, "%s/step_%08d", b, step);
        n += file_exists(path);
    }
    assert_int_equal(n, 2);
    assert_int_equal(file_remove_tree(a, &e) | file_remove_tree(b, &e), ERR_OK);
}

static void test_damage(void **state)
{
    (void)state;
    char a[64], path[PATH_MAX], file[PATH_MAX + 64];
    struct err e = {0};
    fresh_dir(a);
    assert_int_equal(run_to(a, 4, 2, &e), ERR_OK);
    snprintf(file, sizeof file, "%s/step_00000004/hone/optim.safetensors", a);
    int fd = open(file, O_RDWR);
    char c;
    assert_true(pread(fd, &c, 1, 5000) == 1);
    c ^= 1;
    assert_true(pwrite(fd, &c, 1, 5000) == 1);
    close(fd);
    assert_int_equal(train_find(a, 1, path, &e), ERR_MISMATCH);
    assert_non_null(strstr(e.msg, "hone/optim.safetensors"));
    snprintf(file, sizeof file, "%s/step_00000004", a);
    assert_int_equal(file_remove_tree(file, &e), ERR_OK);
    assert_int_equal(train_find(a, 1, path, &e), ERR_OK);
    assert_non_null(strstr(path, "step_00000002"));
    assert_int_equal(file_remove_tree(a, &e), ERR_OK);
}

/* Every place where a write, flush or rename can fail, one after the other: the error is one clear line, the older
 * checkpoint stays the newest and good, nothing half done is left, and the run can go on. */
static void test_disk_full(void **state)
{
    (void)state;
    static const char *const points[] = {"write", "sync", "rename"};
    char a[64], path[PATH_MAX], before[33], after[33], tmp[PATH_MAX];
    struct err e = {0};
    for (int k = 0; k < 3; k++) {
        fresh_dir(a);
        assert_int_equal(run_to(a, 2, 2, &e), ERR_OK);
        digest(a, before);
        int failed = 0;
        for (int at = 1; at < 40; at++) {
            char spec[32];
            snprintf(spec, sizeof spec, "%s:%d", points[k], at);
            e = (struct err){0};
            fault_set(spec);
            err_code rc = run_to(a, 4, 4, &e);
            fault_set(NULL);
            if (rc == ERR_OK)
                break;
            assert_int_equal(rc, ERR_IO);
            assert_true(strchr(e.msg, '\n') == NULL && strstr(e.msg, "cannot "));
            snprintf(tmp, sizeof tmp, "%s/step_00000004.tmp", a);
            assert_false(file_exists(tmp));
            assert_int_equal(ckpt_newest(a, path, &e), ERR_OK);
            digest(a, after); /* verifies */
            if (strstr(path, "step_00000004"))
                break; /* only the last flush of the run folder failed: the new one is there, whole */
            assert_string_equal(before, after);
            assert_non_null(strstr(e.msg, "step_00000002' is good"));
            failed++;
        }
        assert_true(failed >= (k == 2 ? 1 : 3));
        assert_int_equal(file_remove_tree(a, &e), ERR_OK);
    }
}

/* SIGKILL at every write, flush and rename of a run that saves often; then go on: same digest as an undisturbed run. */
static void test_kill(void **state)
{
    (void)state;
    static const char *const points[] = {"write", "sync", "rename"};
    char a[64], b[64], want[33], got[33];
    struct err e = {0};
    fresh_dir(a);
    assert_int_equal(run_to(a, 6, 2, &e), ERR_OK);
    digest(a, want);
    for (int k = 0; k < 3; k++)
        for (int at = 1; at < 30; at += k == 2 ? 1 : 4) {
            char spec[32];
            int status;
            fresh_dir(b);
            snprintf(spec, sizeof spec, "%s:%d!", points[k], at);
            pid_t pid = fork();
            if (pid == 0) {
                par_init(1);
                fault_set(spec);
                _exit(run_to(b, 6, 2, &e) != ERR_OK);
            }
            assert_true(waitpid(pid, &status, 0) == pid);
            int killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
            assert_true(killed || status == 0);
            assert_int_equal(run_to(b, 6, 2, &e), ERR_OK);
            digest(b, got);
            assert_string_equal(want, got);
            assert_int_equal(file_remove_tree(b, &e), ERR_OK);
            if (!killed)
                break;
        }
    assert_int_equal(file_remove_tree(a, &e), ERR_OK);
}

static void test_lock(void **state)
{
    (void)state;
    char a[64];
    int one, two;
    struct err e = {0};
    fresh_dir(a);
    assert_int_equal(ckpt_lock(a, &one, &e), ERR_OK);
    assert_int_equal(ckpt_lock(a, &two, &e), ERR_BUSY);
    ckpt_unlock(one);
    assert_int_equal(ckpt_lock(a, &two, &e), ERR_OK);
    ckpt_unlock(two);
    assert_int_equal(file_remove_tree(a, &e), ERR_OK);
}

/* A parameter apart, whose gradient is far above the clipping, changes nothing of the others, and is clipped itself. */
static void test_apart(void **state)
{
    (void)state;
    float w[2][5000 + 40], first[5000];
    for (int loud = 0; loud < 2; loud++) {
        struct train t;
        struct train_step s;
        struct err e = {0};
        memset(w, 0, sizeof w);
        struct train_param p[2] = {{.name = "main", .w = w[0], .n = 5000}, {.name = "draft", .w = w[1], .n = 40, .apart = 1}};
        struct train_opts o = base;
        o.leaves = 1, o.clip = 0.5, o.eps = 1, o.warmup = o.hold = 0; /* eps: with it the step's size depends on the gradient's */
        assert_int_equal(train_open(&t, &o, &(struct train_target){.params = p, .n_params = 2}, &e), ERR_OK);
        train_begin(&t);
        float *g = train_leaf(&t);
        for (int i = 0; i < 5000; i++)
            g[t.offset[0] + i] = (float)(i % 7 - 3);
        for (int i = 0; i < 40; i++)
            g[t.offset[1] + i] = loud ? 1e6f : 0;
        train_leaf_done(&t);
        assert_int_equal(train_end(&t, 1, &s, &e), ERR_OK);
        double norm = 0;
        for (int i = 0; i < 5000; i++)
            norm += (i % 7 - 3) * (i % 7 - 3);
        assert_true(fabs(s.grad_norm - sqrt(norm)) < 1e-9 * s.grad_norm && fabs(s.clip_scale - 0.5 / sqrt(norm)) < 1e-12);
        if (loud) {
            double each = 0.5 / sqrt(40);
            assert_memory_equal(first, w[0], sizeof first);
            assert_true(fabs((double)w[1][3] + s.lr * each / (each + 1)) < 1e-6 * s.lr);
        } else
            memcpy(first, w[0], sizeof first);
        train_close(&t);
    }
}

/* A bf16 second moment that cannot decay is refused, in f32 and below the limit it is not. */
static void test_slow_moments(void **state)
{
    (void)state;
    static const struct {
        double beta2;
        enum train_moments moments;
        err_code rc;
    } cases[] = {{0.999, TRAIN_BF16, ERR_USAGE}, {0.995, TRAIN_BF16, ERR_USAGE}, {0.99, TRAIN_BF16, ERR_OK}, {0.999, TRAIN_F32, ERR_OK}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct train t;
        struct err e = {0};
        float w[4] = {0};
        struct train_param p = {.name = "w", .w = w, .n = 4};
        struct train_opts o = base;
        o.beta2 = cases[i].beta2, o.moments = cases[i].moments;
        assert_int_equal(train_open(&t, &o, &(struct train_target){.params = &p, .n_params = 1}, &e), cases[i].rc);
        if (cases[i].rc == ERR_OK)
            train_close(&t);
        else
            assert_true(strstr(e.msg, "bf16") && strstr(e.msg, "beta2") && !strchr(e.msg, '\n'));
    }
}

static void test_same_config(void **state)
{
    (void)state;
    struct err e = {0};
    struct str a = STR("train.lr=1\ntrain.keep=2\n"), b = STR("train.lr=1\ntrain.keep=3\n"), c = STR("train.lr=2\ntrain.keep=2\n");
    assert_int_equal(train_same_config(a, a, "", &e), ERR_OK);
    assert_int_equal(train_same_config(a, b, "train.dir train.keep", &e), ERR_OK);
    assert_int_equal(train_same_config(a, c, "train.keep", &e), ERR_USAGE);
    assert_non_null(strstr(e.msg, "train.lr=1, now it is train.lr=2"));
}

int main(void)
{
    log_set_quiet(1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_apart), cmocka_unit_test(test_slow_moments), cmocka_unit_test(test_schedule), cmocka_unit_test(test_adamw),     cmocka_unit_test(test_bf16_moments), cmocka_unit_test(test_norm_order), cmocka_unit_test(test_isa),
        cmocka_unit_test(test_threads),  cmocka_unit_test(test_tree_ranks), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_no_malloc), cmocka_unit_test(test_resume),   cmocka_unit_test(test_damage),
        cmocka_unit_test(test_disk_full), cmocka_unit_test(test_kill),     cmocka_unit_test(test_lock),
        cmocka_unit_test(test_same_config),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
