/* The linear ops, one and grouped: what they are as matrix products, and the rounding to E4M3 that comes before. */
#include "kernels/cpu/cpu.h"

#include <string.h>

#include "core/par.h"

/* ---- rounding operands to E4M3 ---------------------------------------------------------------- */

/* Values and scales of a whole operand. */
struct rounded {
    float *q, *scale;
};

struct round_job {
    const struct kern_cpu *cpu;
    struct rounded out;
    const float *x;
    const int32_t *first; /* groups of tokens start where an expert's rows do */
    int64_t rows, cols, ld, n_experts;
    int how;              /* KERN_SCALE_ */
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
        j->cpu->fp8_row(j->out.q + r * j->cols, j->out.scale + r * runs, j->x + r * j->ld, j->cols, j->how);
}

/* Columns [begin, end) in steps of PANEL, every group of tokens of every expert. Expert e's runs start at run first[e] / KERN_RUN + e,
 * which leaves room for each expert's short last group. */
static int64_t first_run(int64_t row, int64_t expert)
{
    return row / KERN_RUN + expert;
}

static void round_cols(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct round_job *j = ctx;
    (void)worker;
    for (int64_t e = 0; e < j->n_experts; e++)
        for (int64_t r = j->first[e]; r < j->first[e + 1]; r += KERN_RUN)
            for (int64_t c = begin * PANEL; c < kern_min(end * PANEL, j->cols); c += PANEL) {
                int64_t n = kern_min(PANEL, j->cols - c), rows = kern_min(KERN_RUN, j->first[e + 1] - r);
                int64_t run = first_run(j->first[e], e) + (r - j->first[e]) / KERN_RUN;
                float q[KERN_RUN * PANEL];
                j->cpu->fp8_cols(q, j->out.scale + run * j->cols + c, j->x + r * j->ld + c, j->ld, rows, n, j->how);
                for (int64_t i = 0; i < rows; i++)
                    memcpy(j->out.q + (r + i) * j->cols + c, q + i * n, (size_t)n * sizeof *q);
            }
}

/* Room for a rounded [rows, cols] in `at`, which is moved on; `runs` scales per row or column. */
static struct rounded room(float **at, int64_t rows, int64_t cols, int64_t scales)
{
    struct rounded r = {*at, *at + kern_up(rows * cols, 16)};
    *at = r.scale + kern_up(scales, 16);
    return r;
}

static int64_t room_bytes(int64_t rows, int64_t cols, int64_t scales)
{
    return (kern_up(rows * cols, 16) + kern_up(scales, 16)) * 4;
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
    const int64_t rows = a->first[a->n_experts], ldx = or_else(a->ldx, w->k), ldy = or_else(a->ldy, w->n), runs = kern_parts(w->k, KERN_RUN);
    struct gemm *g = kern_scratch(k, SLOT_GROUP, a->n_experts * (int64_t)sizeof *g);
    struct rounded x = {0};
    if (w->prec == KERN_FP8) {
        float *at = kern_scratch(k, SLOT_QUANT, room_bytes(rows, w->k, rows * runs));
        x = room(&at, rows, w->k, rows * runs);
        par_for(rows, 8, round_rows, &(struct round_job){.cpu = k->cpu, .out = x, .x = a->x, .cols = w->k, .ld = ldx, .how = scaled(a->pow2, 0)});
    }
    for (int64_t e = 0; e < a->n_experts; e++) {
        int64_t r = a->first[e];
        assert(a->first[e + 1] >= r && w[e].pack && w[e].n == w->n && w[e].k == w->k && w[e].prec == w->prec);
        g[e] = (struct gemm){
            .c = a->y + r * ldy, .a = x.q ? x.q + r * w->k : a->x + r * ldx, .panels = w[e].pack, .m = a->first[e + 1] - r, .n = w->n, .k = w->k,
            .a_m = x.q ? w->k : ldx, .a_i = 1, .ldc = ldy, .prec = w->prec, .bias = extras.bias, .residual = extras.residual,
        };
        if (x.q)
            g[e].sa = x.scale + r * runs, g[e].sa_m = runs, g[e].sa_i = 1, g[e].sb = kern_cpu_fp8_scales(&w[e]), g[e].sb_i = 1, g[e].sb_n = runs;
    }
    kern_cpu_gemms(k, g, a->n_experts);
}

static void input_grad(struct kern *k, const struct kern_group_dgrad *a, int accumulate)
{
    const struct kern_weight *w = a->w;
    const int64_t rows = a->first[a->n_experts], lddy = or_else(a->lddy, w->n), lddx = or_else(a->lddx, w->k), runs = kern_parts(w->n, KERN_RUN);
    struct gemm *g = kern_scratch(k, SLOT_GROUP, a->n_experts * (int64_t)sizeof *g);
    struct rounded dy = {0};
    if (w->prec == KERN_FP8) {
        float *at = kern_scratch(k, SLOT_QUANT, room_bytes(rows, w->n, rows * runs));
        dy = room(&at, rows, w->n, rows * runs);
        par_for(rows, 8, round_rows, &(struct round_job){.cpu = k->cpu, .out = dy, .x = a->dy, .cols = w->n, .ld = lddy, .how = scaled(a->pow2, 1)});
    }
    for (int64_t e = 0; e < a->n_experts; e++) {
        int64_t r = a->first[e];
        assert(a->first[e + 1] >= r && w[e].w && w[e].n == w->n && w[e].k == w->k && w[e].prec == w->prec);
        g[e] = (struct gemm){
            .c = a->dx + r * lddx, .a = dy.q ? dy.q + r * w->n : a->dy + r * lddy, .b = w[e].w, .ldb = w->k, .m = a->first[e + 1] - r, .n = w->k,
            .k = w->n, .a_m = dy.q ? w->n : lddy, .a_i = 1, .ldc = lddx, .prec = w->prec, .accumulate = accumulate,
        };
        if (dy.q) {
            g[e].sa = dy.scale + r * runs, g[e].sa_m = runs, g[e].sa_i = 1;
            g[e].sb = g[e].b_scale = kern_cpu_fp8_scales(&w[e]), g[e].sb_i = g[e].b_scale_i = kern_parts(w->k, KERN_RUN), g[e].sb_n = 1;
        }
    }
    kern_cpu_gemms(k, g, a->n_experts);
}

/* fresh: dw holds anything */
static void weight_grad(struct kern *k, const struct kern_group_wgrad *a, int fresh)
{
    const int64_t rows = a->first[a->n_experts], runs = first_run(rows, a->n_experts) + 1;
    int64_t lddy = or_else(a->lddy, a->n), ldx = or_else(a->ldx, a->k), n = 0;
    struct gemm *g = kern_scratch(k, SLOT_GROUP, a->n_experts * (int64_t)sizeof *g);
    struct rounded x = {0}, dy = {0};
    if (a->prec == KERN_FP8) {
        float *at = kern_scratch(k, SLOT_QUANT, room_bytes(rows, a->k, runs * a->k) + room_bytes(rows, a->n, runs * a->n));
        x = room(&at, rows, a->k, runs * a->k);
        dy = room(&at, rows, a->n, runs * a->n);
        struct round_job j = {.cpu = k->cpu, .out = x, .x = a->x, .first = a->first, .cols = a->k, .ld = ldx, .n_experts = a->n_experts, .how = scaled(a->pow2_x, 0)};
        par_for(kern_parts(a->k, PANEL), 1, round_cols, &j);
        j.out = dy, j.x = a->dy, j.cols = a->n, j.ld = lddy, j.how = scaled(a->pow2_dy, 1);
        par_for(kern_parts(a->n, PANEL), 1, round_cols, &j);
        lddy = a->n, ldx = a->k;
    }
    for (int64_t e = 0; e < a->n_experts; e++) {
        int64_t r = a->first[e], run = first_run(r, e);
        assert(a->first[e + 1] >= r);
        if (!a->dw[e] || (a->first[e + 1] == r && !fresh))
            continue;
        g[n] = (struct gemm){
            .c = a->dw[e], .a = (x.q ? dy.q : a->dy) + r * lddy, .b = (x.q ? x.q : a->x) + r * ldx, .ldb = ldx, .m = a->n, .n = a->k,
            .k = a->first[e + 1] - r, .a_m = 1, .a_i = lddy, .ldc = a->k, .prec = a->prec, .accumulate = !fresh,
        };
        if (x.q) {
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
