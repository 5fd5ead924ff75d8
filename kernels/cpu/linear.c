/* The linear ops, one and grouped: what they are as matrix products, and the rounding to E4M3 that comes before. */
#include "kernels/cpu/cpu.h"

#include <string.h>

#include "core/par.h"

/* ---- rounding operands to E4M3 ---------------------------------------------------------------- */

/* Pairs and scales of a whole operand. */
struct rounded {
    uint32_t *pairs;
    float *scale;
};

struct round_job {
    const struct kern_cpu *cpu;
    struct rounded out;
    const float *x;
    const int32_t *first; /* groups of tokens start where an expert's rows do */
    int64_t cols, ld, n_experts;
    int how;              /* KERN_SCALE_ */
    int stream;           /* round_cols: the pairs go past the caches: other threads will read them */
};

static int scaled(int pow2, int grad)
{
    return (pow2 ? KERN_SCALE_POW2 : 0) | (grad ? KERN_SCALE_GRAD : 0);
}

static void round_rows(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct round_job *j = ctx;
    const int64_t runs = kern_parts(j->cols, KERN_RUN);
    (void)worker;
    for (int64_t r = begin; r < end; r++)
        j->cpu->fp8_row(j->out.pairs + r * items(j->cols, 1), j->out.scale + r * runs, j->x + r * j->ld, j->cols, j->how);
}

/* Where expert e's groups of tokens, and its pairs of tokens, begin: the last of each may be short. */
static int64_t first_run(int64_t row, int64_t expert)
{
    return row / KERN_RUN + expert;
}

static int64_t first_pair(int64_t row, int64_t expert)
{
    return row / 2 + expert;
}

/* Columns [begin, end) in steps of PANEL, every group of tokens of every expert. */
static void round_cols(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct round_job *j = ctx;
    (void)worker;
    for (int64_t e = 0; e < j->n_experts; e++)
        for (int64_t at = 0, rows = j->first[e + 1] - j->first[e]; at < rows; at += KERN_RUN) {
            const int64_t run = first_run(j->first[e], e) + at / KERN_RUN, pair = first_pair(j->first[e], e) + at / 2, c = begin * PANEL;
            j->cpu->fp8_cols(j->out.pairs + pair * j->cols + c, j->cols, j->out.scale + run * j->cols + c, j->x + (j->first[e] + at) * j->ld + c, j->ld,
                             kern_min(KERN_RUN, rows - at), kern_min(end * PANEL, j->cols) - c, j->how, j->stream);
        }
    kern_cpu_streamed();
}

/* Room for a rounded operand in `at`, which is moved on. */
static struct rounded room(uint32_t **at, int64_t words, int64_t scales)
{
    struct rounded r = {*at, (float *)(void *)(*at + kern_up(words, 16))};
    *at += kern_up(words, 16) + kern_up(scales, 16);
    return r;
}

static int64_t room_bytes(int64_t words, int64_t scales)
{
    return (kern_up(words, 16) + kern_up(scales, 16)) * 4;
}

static struct rounded rounded_rows(struct kern *k, const float *x, int64_t rows, int64_t cols, int64_t ld, int how)
{
    const int64_t words = rows * items(cols, 1), scales = rows * kern_parts(cols, KERN_RUN);
    uint32_t *at = kern_scratch(k, SLOT_QUANT, room_bytes(words, scales));
    struct rounded r = room(&at, words, scales);
    par_for(rows, 8, round_rows, &(struct round_job){.cpu = k->cpu, .out = r, .x = x, .cols = cols, .ld = ld, .how = how});
    return r;
}

static const float *words(const struct rounded *r, int64_t at)
{
    return (const float *)(const void *)(r->pairs + at);
}

/* ---- groups of products ----------------------------------------------------------------------- */

static int64_t or_else(int64_t ld, int64_t dense)
{
    return ld ? ld : dense;
}

/* What a forward adds to its sums. */
struct extras {
    const float *bias, *residual;
};

static void forward(struct kern *k, const struct kern_group *a, struct extras extras)
{
    const struct kern_weight *w = a->w;
    const int64_t rows = a->first[a->n_experts], ldx = or_else(a->ldx, w->k), ldy = or_else(a->ldy, w->n), runs = kern_parts(w->k, KERN_RUN), pairs = items(w->k, 1);
    struct gemm *g = kern_scratch(k, SLOT_GROUP, a->n_experts * (int64_t)sizeof *g);
    struct rounded x = {0};
    if (w->prec == KERN_FP8)
        x = rounded_rows(k, a->x, rows, w->k, ldx, scaled(a->pow2, 0));
    for (int64_t e = 0; e < a->n_experts; e++) {
        int64_t r = a->first[e];
        assert(a->first[e + 1] >= r && w[e].pack && w[e].n == w->n && w[e].k == w->k && w[e].prec == w->prec);
        g[e] = (struct gemm){
            .c = a->y + r * ldy, .a = x.pairs ? words(&x, r * pairs) : a->x + r * ldx, .panels = w[e].pack, .m = a->first[e + 1] - r, .n = w->n,
            .k = w->k, .a_m = x.pairs ? pairs : ldx, .a_i = 1, .ldc = ldy, .prec = w->prec, .bias = extras.bias, .residual = extras.residual,
        };
        if (x.pairs)
            g[e].sa = x.scale + r * runs, g[e].sa_m = runs, g[e].sa_i = 1, g[e].sb = kern_cpu_fp8_scales(&w[e]), g[e].sb_i = 1, g[e].sb_n = runs;
    }
    kern_cpu_gemms(k, g, a->n_experts);
}

static void input_grad(struct kern *k, const struct kern_group_dgrad *a, int accumulate)
{
    const struct kern_weight *w = a->w;
    const int64_t rows = a->first[a->n_experts], lddy = or_else(a->lddy, w->n), lddx = or_else(a->lddx, w->k), runs = kern_parts(w->n, KERN_RUN), pairs = items(w->n, 1);
    struct gemm *g = kern_scratch(k, SLOT_GROUP, a->n_experts * (int64_t)sizeof *g);
    struct rounded dy = {0};
    if (w->prec == KERN_FP8)
        dy = rounded_rows(k, a->dy, rows, w->n, lddy, scaled(a->pow2, 1));
    for (int64_t e = 0; e < a->n_experts; e++) {
        int64_t r = a->first[e];
        assert(a->first[e + 1] >= r && w[e].n == w->n && w[e].k == w->k && w[e].prec == w->prec && (dy.pairs ? w[e].pack : w[e].w));
        g[e] = (struct gemm){
            .c = a->dx + r * lddx, .a = dy.pairs ? words(&dy, r * pairs) : a->dy + r * lddy, .b = w[e].w, .ldb = w->k, .m = a->first[e + 1] - r, .n = w->k,
            .k = w->n, .a_m = dy.pairs ? pairs : lddy, .a_i = 1, .ldc = lddx, .prec = w->prec, .accumulate = accumulate,
        };
        if (w->prec != KERN_F32 && w[e].pack)
            g[e].b = NULL, g[e].turned = w[e].pack;
        if (dy.pairs) {
            g[e].sa = dy.scale + r * runs, g[e].sa_m = runs, g[e].sa_i = 1, g[e].sb = kern_cpu_fp8_scales(&w[e]), g[e].sb_i = kern_parts(w->k, KERN_RUN), g[e].sb_n = 1;
        }
    }
    kern_cpu_gemms(k, g, a->n_experts);
}

/* fresh: dw holds anything */
static void weight_grad(struct kern *k, const struct kern_group_wgrad *a, int fresh)
{
    const int64_t rows = a->first[a->n_experts], runs = first_run(rows, a->n_experts) + 1, pairs = first_pair(rows, a->n_experts) + 1;
    int64_t lddy = or_else(a->lddy, a->n), ldx = or_else(a->ldx, a->k), n = 0;
    struct gemm *g = kern_scratch(k, SLOT_GROUP, a->n_experts * (int64_t)sizeof *g);
    struct rounded x = {0}, dy = {0};
    if (a->prec == KERN_FP8) {
        uint32_t *at = kern_scratch(k, SLOT_QUANT, room_bytes(pairs * a->k, runs * a->k) + room_bytes(pairs * a->n, runs * a->n));
        x = room(&at, pairs * a->k, runs * a->k);
        dy = room(&at, pairs * a->n, runs * a->n);
        struct round_job j = {.cpu = k->cpu, .out = x, .x = a->x, .first = a->first, .cols = a->k, .ld = ldx, .n_experts = a->n_experts, .how = scaled(a->pow2_x, 0),
                              .stream = par_threads() > 1};
        par_for(kern_parts(a->k, PANEL), 1, round_cols, &j);
        j.out = dy, j.x = a->dy, j.cols = a->n, j.ld = lddy, j.how = scaled(a->pow2_dy, 1);
        par_for(kern_parts(a->n, PANEL), 1, round_cols, &j);
        lddy = a->n, ldx = a->k;
    }
    for (int64_t e = 0; e < a->n_experts; e++) {
        const int64_t r = a->first[e], run = first_run(r, e), pair = first_pair(r, e);
        assert(a->first[e + 1] >= r);
        if (!a->dw[e] || (a->first[e + 1] == r && !fresh))
            continue;
        g[n] = (struct gemm){
            .c = a->dw[e], .a = x.pairs ? words(&dy, pair * a->n) : a->dy + r * lddy, .b = x.pairs ? words(&x, pair * a->k) : a->x + r * ldx, .ldb = ldx, .m = a->n, .n = a->k,
            .k = a->first[e + 1] - r, .a_m = 1, .a_i = lddy, .ldc = a->k, .prec = a->prec, .accumulate = !fresh,
        };
        if (x.pairs) {
            g[n].sa = dy.scale + run * a->n, g[n].sa_m = 1, g[n].sa_i = a->n;
            g[n].sb = x.scale + run * a->k, g[n].sb_i = a->k, g[n].sb_per_lane = 1;
        }
        n++;
    }
    kern_cpu_gemms(k, g, n);
}

void kern_cpu_group(struct kern *k, const struct kern_group *a)
{
    forward(k, a, (struct extras){NULL, NULL});
}

void kern_cpu_group_dgrad(struct kern *k, const struct kern_group_dgrad *a)
{
    input_grad(k, a, 0);
}

void kern_cpu_group_wgrad(struct kern *k, const struct kern_group_wgrad *a)
{
    weight_grad(k, a, 0);
}

/* ---- one linear: a group of one ----------------------------------------------------------------- */

void kern_cpu_linear(struct kern *k, const struct kern_linear *a)
{
    const int32_t first[2] = {0, (int32_t)a->m};
    forward(k, &(struct kern_group){.y = a->y, .x = a->x, .w = a->w, .first = first, .n_experts = 1, .ldx = a->ldx, .ldy = a->ldy, .pow2 = a->pow2},
            (struct extras){a->bias, a->residual});
}

void kern_cpu_linear_dgrad(struct kern *k, const struct kern_linear_dgrad *a)
{
    const int32_t first[2] = {0, (int32_t)a->m};
    input_grad(k, &(struct kern_group_dgrad){.dx = a->dx, .dy = a->dy, .w = a->w, .first = first, .n_experts = 1, .lddy = a->lddy, .lddx = a->lddx, .pow2 = a->pow2},
               a->accumulate);
}

struct bias_job {
    const struct kern_linear_wgrad *a;
    const struct kern_cpu *cpu;
    int64_t lddy;
};

static void bias_columns(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct bias_job *j = ctx;
    (void)worker;
    for (int64_t t = 0; t < j->a->m; t++)
        j->cpu->axpy(j->a->dbias + begin, j->a->dy + t * j->lddy + begin, end - begin);
}

void kern_cpu_linear_wgrad(struct kern *k, const struct kern_linear_wgrad *a)
{
    const int32_t first[2] = {0, (int32_t)a->m};
    struct bias_job b = {a, k->cpu, or_else(a->lddy, a->n)};
    weight_grad(k, &(struct kern_group_wgrad){.dw = &a->dw, .dy = a->dy, .x = a->x, .first = first, .n_experts = 1, .n = a->n, .k = a->k,
                                              .lddy = a->lddy, .ldx = a->ldx, .prec = a->prec, .pow2_dy = a->pow2_dy, .pow2_x = a->pow2_x}, a->fresh);
    if (a->dbias)
        par_for(a->n, 256, bias_columns, &b);
}
