/* Matrix multiplication: packing, blocking and the split over threads. Only outputs are ever split, never a reduction. */
#include "kernels/cpu/cpu.h"

#include <string.h>

#include "core/par.h"

enum {
    KC = 512,        /* items of the reduction per block: 128 KiB of a panel, which stays in L2 */
    MB = 96,         /* rows of one job's results when the panel is packed already */
    MB_PACK = 960,   /* when the job packs its panel: more rows to share that cost */
    GROUP = 16 * TILE, /* rows that pack_cols takes at a time */
    A_BYTES = 8 << 20, /* packed rows at a time */
};

/* ---- packing rows --------------------------------------------------------------------------- */

/* Rows contiguous in the reduction: convert each, then interleave. */
static void pack_tile_rows(const struct pack_a *p, int64_t first, int64_t rows, uint32_t *out)
{
    enum { STEP = 256 };
    uint32_t tmp[TILE][STEP];
    for (int64_t i = 0; i < items(p->k, p->bf16); i += STEP) {
        int64_t n = kern_min(STEP, items(p->k, p->bf16) - i);
        const uint32_t *row[TILE];
        for (int64_t r = 0; r < rows; r++) {
            const float *src = p->a + (first + r) * p->a_m;
            if (p->bf16)
                p->cpu->to_pairs(tmp[r], src + 2 * i, kern_min(2 * n, p->k - 2 * i));
            row[r] = p->bf16 ? tmp[r] : (const uint32_t *)(const void *)(src + i);
        }
        for (int64_t j = 0; j < n; j++)
            for (int64_t r = 0; r < rows; r++)
                out[(i + j) * TILE + r] = row[r][j];
    }
}

/* Rows contiguous across the reduction: a(., i) is a run of memory; several tiles are filled at a time. */
static void pack_cols(const struct pack_a *p, int64_t first, int64_t rows, uint32_t *out)
{
    const int64_t len = items(p->k, p->bf16);
    uint32_t tmp[GROUP];
    for (int64_t i = 0; i < len; i++) {
        const float *even = p->a + (p->bf16 ? 2 * i : i) * p->a_i + first;
        const uint32_t *row = (const uint32_t *)(const void *)even;
        if (p->bf16) {
            p->cpu->zip_pairs(tmp, even, 2 * i + 1 < p->k ? even + p->a_i : NULL, rows);
            row = tmp;
        }
        uint32_t *to = out + i * TILE;
        int64_t r = 0;
        for (; r + TILE <= rows; r += TILE, to += TILE * len)
            memcpy(to, row + r, TILE * sizeof *to);
        memcpy(to, row + r, (size_t)(rows - r) * sizeof *to);
    }
}

void kern_cpu_pack_a(const struct pack_a *p)
{
    const int64_t step = p->a_i == 1 ? TILE : GROUP;
    for (int64_t first = 0; first < p->rows; first += step) {
        int64_t rows = kern_min(step, p->rows - first);
        (p->a_i == 1 ? pack_tile_rows : pack_cols)(p, first, rows, p->out + first * items(p->k, p->bf16));
    }
}

static void pack_a_range(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct pack_a *all = ctx;
    struct pack_a p = *all;
    (void)worker;
    p.out += begin * TILE * items(p.k, p.bf16);
    p.a += begin * TILE * p.a_m;
    p.rows = kern_min(end * TILE, all->rows) - begin * TILE;
    kern_cpu_pack_a(&p);
}

/* ---- packing weights ------------------------------------------------------------------------ */

int64_t kern_cpu_pack_bytes(int64_t rows, int64_t cols, enum kern_prec prec)
{
    return kern_up(rows, PANEL) * items(cols, prec == KERN_BF16) * 4;
}

struct pack_w {
    const struct kern_cpu *cpu;
    const struct kern_weight *w;
    const char *src;
    int64_t first, rows, item;
};

/* A stretch of one row as floats. */
static const float *floats(const struct pack_w *p, int64_t row, int64_t at, int64_t n, float *tmp)
{
    const char *s = p->src + (row * p->w->k + at) * p->item;
    if (p->item == 4)
        return (const float *)(const void *)s;
    for (int64_t i = 0; i < n; i++) {
        uint16_t h;
        memcpy(&h, s + 2 * i, 2);
        uint32_t u = (uint32_t)h << 16;
        memcpy(tmp + i, &u, 4);
    }
    return tmp;
}

static void pack_w_panels(void *ctx, int64_t begin, int64_t end, int worker)
{
    enum { STEP = 64 };
    const struct pack_w *p = ctx;
    const int bf16 = p->w->prec == KERN_BF16;
    const int64_t len = items(p->w->k, bf16), step = bf16 ? 2 * STEP : STEP;
    (void)worker;
    for (int64_t panel = begin; panel < end; panel++) {
        uint32_t *out = (uint32_t *)p->w->pack + (p->first / PANEL + panel) * PANEL * len;
        int64_t rows = kern_min(PANEL, p->rows - panel * PANEL);
        for (int64_t at = 0; at < p->w->k; at += step) {
            float tmp[2 * STEP], block[PANEL][STEP];
            int64_t n = kern_min(step, p->w->k - at), m = items(n, bf16);
            for (int64_t r = 0; r < rows; r++) {
                const float *f = floats(p, panel * PANEL + r, at, n, tmp);
                if (bf16)
                    p->cpu->to_pairs((uint32_t *)(void *)block[r], f, n);
                else
                    memcpy(block[r], f, (size_t)n * sizeof *f);
            }
            p->cpu->turn((float *)(void *)(out + items(at, bf16) * PANEL), block[0], STEP, rows, m);
        }
    }
}

void kern_cpu_pack_rows(struct kern *k, const struct kern_weight *w, const void *src, int src_is_bf16, int64_t first, int64_t rows)
{
    struct pack_w p = {k->cpu, w, src, first, rows, src_is_bf16 ? 2 : 4};
    par_for(kern_up(rows, PANEL) / PANEL, 1, pack_w_panels, &p);
}

/* ---- products ------------------------------------------------------------------------------- */

void kern_cpu_panel_mul(const struct panel_mul *p)
{
    for (int64_t i = 0; i < p->n; i += KC) {
        struct strip s = {
            .c = p->out, .a = p->a + i * TILE, .b = p->panel + i * PANEL, .ldc = p->ldo, .rs = 1, .ks = TILE, .ts = TILE * p->n,
            .ldb = PANEL, .n = kern_min(KC, p->n - i), .rows = p->rows, .lanes = PANEL,
        };
        (p->bf16 ? p->cpu->strip_bf16 : p->cpu->strip_f32)(&s);
    }
}

struct gemm_job {
    const struct kern_cpu *cpu;
    const struct gemm *g;
    const uint32_t *a;
    char *work;
    int64_t first, rows; /* of this chunk */
    int64_t parts, part_rows;
};

/* Rows [i, i + n) of the reduction of one panel of b, in the panel's layout. */
static void pack_b(const struct gemm_job *j, int64_t panel, int64_t i, int64_t n, uint32_t *out)
{
    const struct gemm *g = j->g;
    int64_t lanes = kern_min(PANEL, g->n - panel * PANEL);
    for (int64_t r = 0; r < n; r++, out += PANEL) {
        const float *row = g->b + (g->bf16 ? 2 : 1) * (i + r) * g->ldb + panel * PANEL;
        if (g->bf16)
            j->cpu->zip_pairs(out, row, 2 * (i + r) + 1 < g->k ? row + g->ldb : NULL, lanes);
        else
            memcpy(out, row, (size_t)lanes * sizeof *row);
        if (lanes < PANEL)
            memset(out + lanes, 0, (size_t)(PANEL - lanes) * sizeof *out);
    }
}

static void load_c(const struct gemm *g, int64_t row, int64_t rows, int64_t panel, float *buf)
{
    int64_t lanes = kern_min(PANEL, g->n - panel * PANEL);
    if (!g->accumulate || lanes < PANEL)
        memset(buf, 0, (size_t)(rows * PANEL) * sizeof *buf);
    for (int64_t r = 0; g->accumulate && r < rows; r++)
        memcpy(buf + r * PANEL, g->c + (row + r) * g->ldc + panel * PANEL, (size_t)lanes * sizeof *buf);
}

static void store_c(const struct gemm *g, int64_t row, int64_t rows, int64_t panel, const float *buf)
{
    int64_t lanes = kern_min(PANEL, g->n - panel * PANEL);
    for (int64_t r = 0; r < rows; r++, buf += PANEL) {
        int64_t at = (row + r) * g->ldc + panel * PANEL;
        const float *bias = g->bias ? g->bias + panel * PANEL : NULL, *res = g->residual ? g->residual + at : NULL;
        if (bias && res)
            for (int64_t l = 0; l < lanes; l++)
                g->c[at + l] = buf[l] + bias[l] + res[l];
        else if (bias || res)
            for (int64_t l = 0; l < lanes; l++)
                g->c[at + l] = buf[l] + (bias ? bias[l] : res[l]);
        else
            memcpy(g->c + at, buf, (size_t)lanes * sizeof *buf);
    }
}

/* A job is a panel of outputs and a part of the rows. */
static void gemm_jobs(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct gemm_job *j = ctx;
    const struct gemm *g = j->g;
    const int64_t len = items(g->k, g->bf16), mb = g->panels ? MB : MB_PACK;
    float *buf = (float *)(void *)(j->work + worker * (MB_PACK * PANEL + KC * PANEL) * 4);
    uint32_t *block = (uint32_t *)(void *)(buf + MB_PACK * PANEL);
    for (int64_t job = begin; job < end; job++) {
        int64_t panel = job / j->parts, row = job % j->parts * j->part_rows, stop = kern_min(row + j->part_rows, j->rows);
        for (; row < stop; row += mb) {
            int64_t rows = kern_min(mb, stop - row);
            struct panel_mul p = {.cpu = j->cpu, .out = buf, .a = j->a + row * len, .ldo = PANEL, .rows = rows, .n = len, .bf16 = g->bf16};
            load_c(g, j->first + row, rows, panel, buf);
            if (g->panels) {
                p.panel = (const uint32_t *)g->panels + panel * PANEL * len;
                kern_cpu_panel_mul(&p);
            } else
                for (int64_t i = 0; i < len; i += KC) {
                    struct strip s = {
                        .c = buf, .a = p.a + i * TILE, .b = block, .ldc = PANEL, .rs = 1, .ks = TILE, .ts = TILE * len, .ldb = PANEL,
                        .n = kern_min(KC, len - i), .rows = rows, .lanes = PANEL,
                    };
                    pack_b(j, panel, i, s.n, block);
                    (g->bf16 ? j->cpu->strip_bf16 : j->cpu->strip_f32)(&s);
                }
            store_c(g, j->first + row, rows, panel, buf);
        }
    }
}

void kern_cpu_gemm(struct kern *k, const struct gemm *g)
{
    const int64_t len = items(g->k, g->bf16), panels = kern_up(g->n, PANEL) / PANEL, threads = par_threads();
    const int64_t mb = g->panels ? MB : MB_PACK;
    int64_t chunk = kern_max(A_BYTES / 4 / kern_max(len, 1) / mb, 1) * mb;
    if (chunk > g->m)
        chunk = kern_up(g->m, TILE);
    if (g->m <= 0 || g->n <= 0)
        return;
    uint32_t *a = kern_scratch(k, SLOT_A, chunk * len * 4);
    char *work = kern_scratch(k, SLOT_WORK, threads * (MB_PACK * PANEL + KC * PANEL) * 4);
    for (int64_t first = 0; first < g->m; first += chunk) {
        int64_t rows = kern_min(chunk, g->m - first);
        struct pack_a p = {.cpu = k->cpu, .out = a, .a = g->a + first * g->a_m, .rows = rows, .k = g->k, .a_m = g->a_m, .a_i = g->a_i, .bf16 = g->bf16};
        par_for(kern_up(rows, TILE) / TILE, kern_max(1, (1 << 14) / (len * TILE)), pack_a_range, &p);
        /* enough jobs to share; a part is a whole number of row blocks */
        int64_t parts = kern_min((4 * threads + panels - 1) / panels, kern_up(rows, mb) / mb);
        struct gemm_job j = {.cpu = k->cpu, .g = g, .a = a, .work = work, .first = first, .rows = rows};
        j.part_rows = kern_up((rows + parts - 1) / parts, mb);
        j.parts = (rows + j.part_rows - 1) / j.part_rows;
        par_for(panels * j.parts, 1, gemm_jobs, &j);
    }
}

/* ---- the linear ops ------------------------------------------------------------------------- */

void kern_cpu_linear(struct kern *k, const struct kern_linear *a)
{
    const struct kern_weight *w = a->w;
    struct gemm g = {
        .c = a->y, .a = a->x, .bias = a->bias, .residual = a->residual, .panels = w->pack, .m = a->m, .n = w->n, .k = w->k,
        .a_m = a->ldx ? a->ldx : w->k, .a_i = 1, .ldc = a->ldy ? a->ldy : w->n, .bf16 = w->prec == KERN_BF16,
    };
    assert(w->pack && a->m >= 0);
    kern_cpu_gemm(k, &g);
}

void kern_cpu_linear_dgrad(struct kern *k, const struct kern_linear_dgrad *a)
{
    const struct kern_weight *w = a->w;
    struct gemm g = {
        .c = a->dx, .a = a->dy, .b = w->w, .ldb = w->k, .m = a->m, .n = w->k, .k = w->n, .a_m = a->lddy ? a->lddy : w->n, .a_i = 1,
        .ldc = a->lddx ? a->lddx : w->k, .bf16 = w->prec == KERN_BF16, .accumulate = a->accumulate,
    };
    assert(w->w && a->m >= 0);
    kern_cpu_gemm(k, &g);
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
    struct bias_job b = {a, k->cpu, a->lddy ? a->lddy : a->n};
    struct gemm g = {
        .c = a->dw, .a = a->dy, .b = a->x, .ldb = a->ldx ? a->ldx : a->k, .m = a->n, .n = a->k, .k = a->m, .a_m = 1, .a_i = b.lddy,
        .ldc = a->k, .bf16 = a->prec == KERN_BF16, .accumulate = 1,
    };
    assert(a->m >= 0);
    if (!a->m)
        return;
    kern_cpu_gemm(k, &g);
    if (a->dbias)
        par_for(a->n, 256, bias_columns, &b);
}
