/* The output head with log-softmax, in tiles of rows x VOCAB logits. A row's statistics are taken per block of the vocabulary and
 * merged in ascending block order by one formula, the same for logits that were kept (logp) and for those that never were (head). */
#include "kernels/cpu/cpu.h"

#include <math.h>
#include <string.h>

#include "core/par.h"

enum {
    HEAD_ROWS = 48,    /* rows of one tile of logits: 192 KiB */
    SPAN = 2 * VOCAB,  /* logits whose gradients are taken at a time */
    BWD_ROWS = 1536,   /* rows of the backward at a time: 12 MiB of dz */
    KEPT_BYTES = 256 << 20, /* logits that wait for their dz */
    VPANELS = VOCAB / PANEL,
};

static struct vocab_stat merge(struct vocab_stat a, struct vocab_stat b)
{
    float m = a.m > b.m ? a.m : b.m, ea = kern_expf(a.m - m), eb = kern_expf(b.m - m);
    return (struct vocab_stat){m, fmaf(a.l, ea, b.l * eb), fmaf(a.ez, ea, b.ez * eb)};
}

/* lse, and the entropy lse - sum p z. */
static float finish(const struct vocab_stat *block, int64_t blocks, float *entropy)
{
    struct vocab_stat s = block[0];
    for (int64_t b = 1; b < blocks; b++)
        s = merge(s, block[b]);
    float lse = s.m + kern_logf(s.l);
    *entropy = lse - s.ez / s.l;
    return lse;
}

static int64_t vocab_blocks(int64_t v)
{
    return (v + VOCAB - 1) / VOCAB;
}

/* ---- logits and their statistics ------------------------------------------------------------- */

void kern_cpu_logits(struct kern *k, const struct kern_logits *a)
{
    kern_cpu_linear(k, &(struct kern_linear){.y = a->y, .x = a->x, .w = a->w, .m = a->t, .ldx = a->ldx});
}

struct logp_job {
    const struct kern_cpu *cpu;
    const struct kern_logp *a;
    struct vocab_stat *stat;
    float inv_t;
};

static void logp_rows(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct logp_job *j = ctx;
    const struct kern_logp *a = j->a;
    const int64_t blocks = vocab_blocks(a->v);
    (void)worker;
    for (int64_t t = begin; t < end; t++) {
        const float *y = a->logits + t * a->v;
        struct vocab_stat *s = j->stat + t * blocks;
        float entropy;
        for (int64_t b = 0; b < blocks; b++)
            s[b] = j->cpu->vocab_stat(y + b * VOCAB, kern_min(VOCAB, a->v - b * VOCAB), j->inv_t);
        float lse = finish(s, blocks, &entropy);
        if (a->lse)
            a->lse[t] = lse;
        if (a->entropy)
            a->entropy[t] = entropy;
        if (a->target && a->logp)
            a->logp[t] = a->target[t] >= 0 ? y[a->target[t]] * j->inv_t - lse : 0;
    }
}

void kern_cpu_logp(struct kern *k, const struct kern_logp *a)
{
    struct logp_job j = {.cpu = k->cpu, .a = a, .inv_t = 1.f / a->temperature};
    j.stat = kern_scratch(k, SLOT_STATS, a->t * vocab_blocks(a->v) * (int64_t)sizeof *j.stat);
    par_for(a->t, 1, logp_rows, &j);
}

/* ---- fused ----------------------------------------------------------------------------------- */

/* Rows that count, packed for the product. */
struct rows {
    int32_t *index; /* row of the caller */
    uint32_t *a;    /* packed tiles */
    int64_t n;
};

struct head_job {
    const struct kern_cpu *cpu;
    const struct kern_weight *w;
    const int32_t *target;
    struct rows rows;
    char *work;
    struct vocab_stat *stat; /* [rows, blocks] */
    float *zt;               /* [rows] logit of the target */
    float *kept;             /* [rows, kept_ld] logits between the forward and the backward, or NULL */
    int64_t kept_ld;
    float inv_t;
    /* backward */
    const float *lse, *entropy, *g, *ge;
    float *dz; /* [rows, SPAN], from block `block` on */
    int64_t block;
};

static int64_t head_items(const struct kern_weight *w)
{
    return items(w->k, w->prec == KERN_BF16);
}

/* Logits of rows [row, row + n) in block b of the vocabulary, at out. */
static void head_logits(const struct head_job *j, int64_t row, int64_t n, int64_t b, float *out, int64_t ldo)
{
    const int64_t len = head_items(j->w), panels = kern_up(j->w->n, PANEL) / PANEL;
    for (int64_t r = 0; r < n; r++)
        memset(out + r * ldo, 0, VOCAB * sizeof *out);
    for (int64_t p = b * VPANELS; p < kern_min((b + 1) * VPANELS, panels); p++)
        kern_cpu_panel_mul(&(struct panel_mul){
            .cpu = j->cpu, .out = out + (p - b * VPANELS) * PANEL, .ldo = ldo, .a = j->rows.a + row * len,
            .panel = (const uint32_t *)j->w->pack + p * PANEL * len, .rows = n, .n = len, .bf16 = j->w->prec == KERN_BF16,
        });
}

/* Statistics of every row in some blocks of the vocabulary. */
static void head_blocks(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct head_job *j = ctx;
    const int64_t blocks = vocab_blocks(j->w->n);
    float *z = (float *)(void *)j->work + worker * HEAD_ROWS * VOCAB;
    for (int64_t b = begin; b < end; b++)
        for (int64_t row = 0; row < j->rows.n; row += HEAD_ROWS) {
            int64_t n = kern_min(HEAD_ROWS, j->rows.n - row), v = kern_min(VOCAB, j->w->n - b * VOCAB);
            head_logits(j, row, n, b, z, VOCAB);
            for (int64_t r = row; r < row + n; r++) {
                int64_t target = j->target[j->rows.index[r]] - b * VOCAB;
                const float *y = z + (r - row) * VOCAB;
                j->stat[r * blocks + b] = j->cpu->vocab_stat(y, v, j->inv_t);
                if (target >= 0 && target < VOCAB)
                    j->zt[r] = y[target] * j->inv_t;
            }
        }
}

/* The same of logits that are there. */
static void kept_rows(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct head_job *j = ctx;
    const int64_t blocks = vocab_blocks(j->w->n);
    (void)worker;
    for (int64_t r = begin; r < end; r++) {
        const float *y = j->kept + r * j->kept_ld;
        for (int64_t b = 0; b < blocks; b++)
            j->stat[r * blocks + b] = j->cpu->vocab_stat(y + b * VOCAB, kern_min(VOCAB, j->w->n - b * VOCAB), j->inv_t);
        j->zt[r] = y[j->target[j->rows.index[r]]] * j->inv_t;
    }
}

struct gather {
    const struct kern_cpu *cpu;
    const float *x;
    const struct rows *rows;
    float *out; /* [rows, k] */
    int64_t ldx, k;
    int bf16;
};

static void gather_tiles(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct gather *g = ctx;
    (void)worker;
    for (int64_t t = begin; t < end; t++) {
        int64_t n = kern_min(TILE, g->rows->n - t * TILE);
        float *x = g->out + t * TILE * g->k;
        for (int64_t r = 0; r < n; r++)
            memcpy(x + r * g->k, g->x + g->rows->index[t * TILE + r] * g->ldx, (size_t)g->k * sizeof *x);
        kern_cpu_pack_a(&(struct pack_a){
            .cpu = g->cpu, .out = g->rows->a + t * TILE * items(g->k, g->bf16), .a = x, .rows = n, .k = g->k, .a_m = g->k, .bf16 = g->bf16, .stream = par_threads() > 1,
        });
    }
    kern_cpu_streamed();
}

/* Copies the rows in index side by side (returned) and packs them. */
static float *gather(struct kern *k, struct rows *rows, const struct kern_weight *w, const float *x, int64_t ldx)
{
    const int64_t dense = kern_up(rows->n * w->k * 4, 64);
    char *mem = kern_scratch(k, SLOT_HEAD_X, dense + kern_up(rows->n, TILE) * head_items(w) * 4);
    rows->a = (uint32_t *)(void *)(mem + dense);
    struct gather g = {.cpu = k->cpu, .x = x, .rows = rows, .out = (float *)(void *)mem, .ldx = ldx ? ldx : w->k, .k = w->k, .bf16 = w->prec == KERN_BF16};
    par_for(kern_up(rows->n, TILE) / TILE, 4, gather_tiles, &g);
    return g.out;
}

/* Log-probs of j->rows, to their places in a. */
static void head_rows(struct kern *k, struct head_job *j, const struct kern_head *a)
{
    const int64_t blocks = vocab_blocks(j->w->n);
    j->work = kern_scratch(k, SLOT_WORK, par_threads() * HEAD_ROWS * VOCAB * 4);
    j->stat = kern_scratch(k, SLOT_STATS, j->rows.n * (blocks * (int64_t)sizeof *j->stat + 4));
    j->zt = (float *)(void *)(j->stat + j->rows.n * blocks);
    if (j->kept)
        par_for(j->rows.n, 4, kept_rows, j);
    else
        par_for(blocks, 1, head_blocks, j);
    for (int64_t r = 0; r < j->rows.n; r++) {
        int64_t t = j->rows.index[r];
        float entropy, lse = finish(j->stat + r * blocks, blocks, &entropy);
        a->logp[t] = j->zt[r] - lse;
        if (a->lse)
            a->lse[t] = lse;
        if (a->entropy)
            a->entropy[t] = entropy;
    }
}

void kern_cpu_head(struct kern *k, const struct kern_head *a)
{
    struct rows rows = {.index = kern_scratch(k, SLOT_JOBS, a->t * 4)};
    assert(a->w->prec != KERN_FP8); /* the head stays in bf16 or f32 */
    for (int64_t t = 0; t < a->t; t++) {
        assert(a->target[t] < a->w->n);
        if (a->target[t] >= 0)
            rows.index[rows.n++] = (int32_t)t;
        a->logp[t] = 0;
        if (a->lse)
            a->lse[t] = 0;
        if (a->entropy)
            a->entropy[t] = 0;
    }
    if (!rows.n)
        return;
    gather(k, &rows, a->w, a->x, a->ldx);
    struct head_job j = {.cpu = k->cpu, .w = a->w, .target = a->target, .rows = rows, .inv_t = 1.f / a->temperature};
    head_rows(k, &j, a);
}

/* Logits of one tile of rows and one block of the vocabulary turned into dz. */
static void dz_tiles(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct head_job *j = ctx;
    const int64_t tiles = kern_parts(j->rows.n, HEAD_ROWS);
    (void)worker;
    for (int64_t job = begin; job < end; job++) {
        const int64_t row = job % tiles * HEAD_ROWS, n = kern_min(HEAD_ROWS, j->rows.n - row), block = j->block + job / tiles, first = block * VOCAB;
        float *dz = j->dz + row * SPAN + (first - j->block * VOCAB);
        const float *z = j->kept ? j->kept + row * j->kept_ld + first : dz;
        if (!j->kept)
            head_logits(j, row, n, block, dz, SPAN);
        for (int64_t r = row; r < row + n; r++, dz += SPAN, z += j->kept ? j->kept_ld : SPAN) {
            int64_t t = j->rows.index[r];
            j->cpu->vocab_dz(&(struct vocab_dz){
                .dz = dz, .y = z, .n = kern_min(VOCAB, j->w->n - first), .target = j->target[t] - first, .lse = j->lse[t],
                .entropy = j->ge ? j->entropy[t] : 0, .g = j->g ? j->g[t] : 0, .ge = j->ge ? j->ge[t] : 0, .inv_t = j->inv_t,
            });
        }
    }
}

/* Where the gradients of a chunk of rows go. */
struct head_out {
    float *dx, *dw;
    int64_t ldx;
    int fresh; /* dw is written */
};

/* dx and dw of j->rows, one span of the vocabulary after the other; x: the rows, dense. */
static void head_grads(struct kern *k, struct head_job *j, const struct head_out *out, const float *x)
{
    const int64_t c = j->w->k, v = j->w->n, rows = j->rows.n;
    float *dz = kern_scratch(k, SLOT_HEAD_DZ, rows * (SPAN + c) * 4), *dx = dz + rows * SPAN;
    j->dz = dz;
    for (int64_t first = 0; first < v; first += SPAN) {
        const int64_t n = kern_min(SPAN, v - first);
        struct gemm g = {.a = dz, .prec = j->w->prec};
        j->block = first / VOCAB;
        par_for(kern_parts(rows, HEAD_ROWS) * vocab_blocks(n), 1, dz_tiles, j);
        g.c = dx, g.b = j->w->w + first * c, g.m = rows, g.n = c, g.k = n, g.a_m = SPAN, g.a_i = 1, g.ldb = c, g.ldc = c, g.accumulate = first > 0;
        if (j->w->prec == KERN_BF16 && j->w->pack)
            g.b = NULL, g.turned = (const uint32_t *)j->w->pack + first * items(c, 1);
        kern_cpu_gemms(k, &g, 1);
        g.c = out->dw + first * c, g.b = x, g.turned = NULL, g.m = n, g.k = rows, g.a_m = 1, g.a_i = SPAN, g.accumulate = !out->fresh;
        if (out->dw)
            kern_cpu_gemms(k, &g, 1);
    }
    for (int64_t r = 0; r < rows; r++)
        memcpy(out->dx + j->rows.index[r] * out->ldx, dx + r * c, (size_t)c * sizeof *dx);
}

void kern_cpu_head_bwd(struct kern *k, const struct kern_head_bwd *a)
{
    struct rows rows = {.index = kern_scratch(k, SLOT_JOBS, a->t * 4)};
    assert(a->w->w && a->w->prec != KERN_FP8 && (!a->ge || a->entropy));
    for (int64_t t = 0; t < a->t; t++) {
        if (a->target[t] >= 0 && ((a->g && a->g[t] != 0) || (a->ge && a->ge[t] != 0)))
            rows.index[rows.n++] = (int32_t)t;
        else
            memset(a->dx + t * (a->ldx ? a->ldx : a->w->k), 0, (size_t)a->w->k * sizeof *a->dx);
    }
    struct head_out out = {a->dx, a->dw, a->ldx ? a->ldx : a->w->k, a->fresh};
    if (!rows.n && a->dw && a->fresh)
        kern_zero(k, a->dw, a->w->n * a->w->k * 4);
    for (int64_t first = 0; first < rows.n; first += BWD_ROWS) {
        struct rows some = {.index = rows.index + first, .n = kern_min(BWD_ROWS, rows.n - first)};
        const float *x = gather(k, &some, a->w, a->x, a->ldx);
        struct head_job j = {.cpu = k->cpu, .w = a->w, .target = a->target, .rows = some, .inv_t = 1.f / a->temperature,
                             .lse = a->lse, .entropy = a->entropy, .g = a->g, .ge = a->ge};
        head_grads(k, &j, &out, x);
        out.fresh = 0;
    }
}

/* Whether every row that has a log-prob has a gradient too. */
static int all_learn(const struct kern_head_loss *a)
{
    for (int64_t t = 0; t < a->t; t++)
        if (a->target[t] >= 0 && a->g[t] == 0)
            return 0;
    return 1;
}

void kern_cpu_head_loss(struct kern *k, const struct kern_head_loss *a)
{
    const int64_t wide = vocab_blocks(a->w->n) * VOCAB + LANES; /* + LANES: rows do not share cache sets */
    const int64_t most = kern_min(BWD_ROWS, kern_max(KEPT_BYTES / 4 / wide / HEAD_ROWS, 1) * HEAD_ROWS), ldx = a->ldx ? a->ldx : a->w->k;
    struct rows rows = {.index = kern_scratch(k, SLOT_JOBS, a->t * 8)};
    float *lse = (float *)(void *)(rows.index + a->t);
    struct kern_head head = {.logp = a->logp, .lse = lse, .x = a->x, .w = a->w, .target = a->target, .t = a->t, .ldx = a->ldx, .temperature = a->temperature};
    assert(a->w->w && a->w->prec != KERN_FP8);
    if (!all_learn(a)) { /* the two leave out different rows */
        kern_cpu_head(k, &head);
        kern_cpu_head_bwd(k, &(struct kern_head_bwd){.dx = a->dx, .dw = a->dw, .x = a->x, .lse = lse, .g = a->g, .w = a->w, .target = a->target, .t = a->t,
                                                     .ldx = a->ldx, .temperature = a->temperature, .fresh = a->fresh});
        return;
    }
    for (int64_t t = 0; t < a->t; t++)
        if (a->target[t] >= 0)
            rows.index[rows.n++] = (int32_t)t;
        else {
            a->logp[t] = 0;
            memset(a->dx + t * ldx, 0, (size_t)a->w->k * sizeof *a->dx);
        }
    struct head_out out = {a->dx, a->dw, ldx, a->fresh};
    if (!rows.n && a->dw && a->fresh)
        kern_zero(k, a->dw, a->w->n * a->w->k * 4);
    const int64_t chunk = kern_up(kern_parts(rows.n, kern_max(kern_parts(rows.n, most), 1)), HEAD_ROWS); /* chunks of like size */
    for (int64_t first = 0; first < rows.n; first += chunk) {
        struct rows some = {.index = rows.index + first, .n = kern_min(chunk, rows.n - first)};
        const float *x = gather(k, &some, a->w, a->x, a->ldx);
        struct head_job j = {.cpu = k->cpu, .w = a->w, .target = a->target, .rows = some, .inv_t = 1.f / a->temperature, .lse = lse, .g = a->g,
                             .kept = kern_scratch(k, SLOT_HEAD_KEPT, some.n * wide * 4), .kept_ld = wide};
        kern_cpu_gemms(k, &(struct gemm){.c = j.kept, .a = x, .panels = a->w->pack, .m = some.n, .n = a->w->n, .k = a->w->k, .a_m = a->w->k, .a_i = 1, .ldc = wide,
                                         .prec = a->w->prec}, 1);
        head_rows(k, &j, &head);
        head_grads(k, &j, &out, x);
        out.fresh = 0;
    }
}
