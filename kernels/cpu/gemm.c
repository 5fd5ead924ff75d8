/* Matrix multiplication: blocking and the split over threads. Only outputs are ever split, never a reduction. */
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
        p->cpu->tile_rows(out + i * TILE, row, rows, n, p->stream);
    }
}

/* Rows contiguous across the reduction: a(., i) is a run of memory; several tiles are filled at a time. */
static void pack_cols(const struct pack_a *p, int64_t first, int64_t rows, uint32_t *out)
{
    enum { STEP = 16 };
    const int64_t len = items(p->k, p->bf16);
    uint32_t tmp[STEP][GROUP];
    for (int64_t i = 0; i < len; i += STEP) {
        const int64_t n = kern_min(STEP, len - i);
        const float *src = p->a + (p->bf16 ? 2 * i : i) * p->a_i + first;
        if (!p->bf16) {
            p->cpu->tile_cols(out + i * TILE, TILE * len, (const uint32_t *)(const void *)src, p->a_i, rows, n, p->stream);
            continue;
        }
        for (int64_t j = 0; j < n; j++, src += 2 * p->a_i)
            p->cpu->zip_pairs(tmp[j], src, 2 * (i + j) + 1 < p->k ? src + p->a_i : NULL, rows);
        p->cpu->tile_cols(out + i * TILE, TILE * len, tmp[0], GROUP, rows, n, p->stream);
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

/* Part of a product whose rows are packed at once. */
struct piece {
    struct gemm g;       /* pointers moved to the piece's first row, m its rows */
    const uint32_t *a;
    int64_t tile0, job0; /* of the batch */
    int64_t parts, part_rows;
};

struct batch {
    const struct kern_cpu *cpu;
    struct piece *piece;
    int64_t n, tiles, jobs;
    int stream; /* results and packed rows go past the caches: other threads will read them */
    char *work;
};

/* One thread's memory: results, a block of packed b, scales of lanes by run. */
struct room {
    float *c, *sb;
    uint32_t *b;
};

enum { RUNS = KC / (KERN_RUN / 2), ROOM = (MB_PACK + KC + RUNS) * PANEL * 4 };

static struct room room_at(char *work, int worker)
{
    float *base = (float *)(void *)(work + (int64_t)worker * ROOM);
    return (struct room){.c = base, .b = (uint32_t *)(void *)(base + MB_PACK * PANEL), .sb = base + (MB_PACK + KC) * PANEL};
}

static int narrow(const struct gemm *g)
{
    return g->prec != KERN_F32;
}

static int64_t row_block(const struct gemm *g)
{
    return g->panels ? MB : MB_PACK;
}

/* Rows [i, i + n) of the reduction of one panel of b, in the panel's layout. */
static void pack_b(const struct kern_cpu *cpu, const struct gemm *g, int64_t panel, int64_t i, int64_t n, uint32_t *out)
{
    const int64_t lanes = kern_min(PANEL, g->n - panel * PANEL), first = narrow(g) ? 2 * i : i;
    const float *src = g->b + first * g->ldb + panel * PANEL;
    if (lanes < PANEL)
        memset(out, 0, (size_t)(n * PANEL) * sizeof *out);
    if (!narrow(g)) {
        cpu->copy_rows((float *)(void *)out, PANEL, src, g->ldb, n, lanes, 0);
        return;
    }
    const int64_t rows = kern_min(2 * n, g->k - first);
    if (!g->b_scale) {
        cpu->zip_rows(out, src, g->ldb, rows, lanes);
        return;
    }
    for (int64_t r = 0; r < rows; r += 2, src += 2 * g->ldb, out += PANEL) { /* a weight from its master: the values of its pack again */
        const float s = g->b_scale[(first + r) / KERN_RUN * g->b_scale_i + panel * PANEL / KERN_RUN];
        float q[2][PANEL];
        for (int64_t odd = 0; odd < kern_min(2, rows - r); odd++)
            cpu->fp8_div(q[odd], src + odd * g->ldb, lanes, s);
        cpu->zip_rows(out, q[0], PANEL, kern_min(2, rows - r), lanes);
    }
}

static void load_c(const struct batch *t, const struct gemm *g, int64_t row, int64_t rows, int64_t panel, float *buf)
{
    int64_t lanes = kern_min(PANEL, g->n - panel * PANEL);
    if (!g->accumulate || lanes < PANEL)
        memset(buf, 0, (size_t)(rows * PANEL) * sizeof *buf);
    if (g->accumulate)
        t->cpu->copy_rows(buf, PANEL, g->c + row * g->ldc + panel * PANEL, g->ldc, rows, lanes, 0);
}

/* Bias, then residual onto finished sums. */
static void add_extras(const struct gemm *g, int64_t row, int64_t rows, int64_t panel, float *buf)
{
    const int64_t lanes = kern_min(PANEL, g->n - panel * PANEL);
    const float *bias = g->bias ? g->bias + panel * PANEL : NULL;
    for (int64_t r = 0; r < rows; r++, buf += PANEL) {
        const float *res = g->residual ? g->residual + (row + r) * g->ldc + panel * PANEL : NULL;
        if (bias && res)
            for (int64_t l = 0; l < lanes; l++)
                buf[l] = buf[l] + bias[l] + res[l];
        else
            for (int64_t l = 0; l < lanes; l++)
                buf[l] += bias ? bias[l] : res[l];
    }
}

static void store_c(const struct batch *t, const struct gemm *g, int64_t row, int64_t rows, int64_t panel, float *buf)
{
    int64_t lanes = kern_min(PANEL, g->n - panel * PANEL);
    float *c = g->c + row * g->ldc + panel * PANEL;
    if (g->bias || g->residual)
        add_extras(g, row, rows, panel, buf);
    /* what is accumulated has been loaded by this thread */
    t->cpu->copy_rows(c, g->ldc, buf, PANEL, rows, lanes, t->stream && !g->accumulate);
}

/* The scales of b for the lanes of a panel, runs [first, first + n). */
static void lane_scales(const struct gemm *g, int64_t panel, int64_t first, int64_t n, float *out)
{
    int64_t lanes = kern_min(PANEL, g->n - panel * PANEL);
    for (int64_t run = first; run < first + n; run++, out += PANEL) {
        const float *s = g->sb + run * g->sb_i;
        for (int64_t l = 0; l < PANEL; l++)
            out[l] = l >= lanes ? 0 : g->sb_per_lane ? s[panel * PANEL + l] : s[panel * PANEL / KERN_RUN * g->sb_n];
    }
}

/* room->c += a b for `rows` rows from `row` and items [i, i + n) of the reduction; b: those items of a panel. */
static void multiply(const struct batch *t, const struct piece *p, const struct room *room, const uint32_t *b, int64_t panel, int64_t row,
                     int64_t rows, int64_t i, int64_t n)
{
    const struct gemm *g = &p->g;
    const int64_t len = items(g->k, narrow(g)), run = i / (KERN_RUN / 2);
    struct strip s = {.c = room->c, .a = p->a + row * len + i * TILE, .b = b, .ldc = PANEL, .rs = 1, .ks = TILE, .ts = TILE * len, .ldb = PANEL,
                      .n = n, .rows = rows, .lanes = PANEL};
    if (g->prec == KERN_FP8) {
        lane_scales(g, panel, run, kern_parts(n, KERN_RUN / 2), room->sb);
        s.sa = g->sa + row * g->sa_m + run * g->sa_i, s.sb = room->sb, s.sa_m = g->sa_m, s.sa_i = g->sa_i;
        t->cpu->strip_fp8(&s);
    } else
        (g->prec == KERN_BF16 ? t->cpu->strip_bf16 : t->cpu->strip_f32)(&s);
}

static const struct piece *find(const struct batch *t, int64_t i, int by_tile)
{
    int64_t lo = 0, hi = t->n;
    while (hi - lo > 1) {
        int64_t mid = (lo + hi) / 2;
        if ((by_tile ? t->piece[mid].tile0 : t->piece[mid].job0) <= i)
            lo = mid;
        else
            hi = mid;
    }
    return &t->piece[lo];
}

/* A job is a panel of outputs and a part of the rows of one piece. */
static void gemm_jobs(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct batch *t = ctx;
    const struct room room = room_at(t->work, worker);
    for (int64_t job = begin; job < end; job++) {
        const struct piece *p = find(t, job, 0);
        const struct gemm *g = &p->g;
        const int64_t len = items(g->k, narrow(g)), panel = (job - p->job0) / p->parts;
        int64_t row = (job - p->job0) % p->parts * p->part_rows, stop = kern_min(row + p->part_rows, g->m), rows;
        for (; row < stop; row += rows) {
            rows = kern_min(row_block(g), stop - row);
            load_c(t, g, row, rows, panel, room.c);
            for (int64_t i = 0; i < len; i += KC) {
                int64_t n = kern_min(KC, len - i);
                const uint32_t *b = g->panels ? (const uint32_t *)g->panels + (panel * len + i) * PANEL : room.b;
                if (!g->panels)
                    pack_b(t->cpu, g, panel, i, n, room.b);
                multiply(t, p, &room, b, panel, row, rows, i, n);
            }
            store_c(t, g, row, rows, panel, room.c);
        }
    }
    kern_cpu_streamed();
}

static void pack_jobs(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct batch *t = ctx;
    (void)worker;
    while (begin < end) {
        const struct piece *p = find(t, begin, 1);
        const struct gemm *g = &p->g;
        int64_t first = (begin - p->tile0) * TILE, tiles = kern_min(end - begin, kern_parts(g->m - first, TILE));
        kern_cpu_pack_a(&(struct pack_a){
            .cpu = t->cpu, .out = (uint32_t *)(uintptr_t)p->a + first * items(g->k, narrow(g)), .a = g->a + first * g->a_m,
            .rows = kern_min(tiles * TILE, g->m - first), .k = g->k, .a_m = g->a_m, .a_i = g->a_i, .bf16 = narrow(g), .stream = t->stream,
        });
        begin += tiles;
    }
    kern_cpu_streamed();
}

/* Packs the rows of all pieces, then runs their jobs. */
static void run_batch(struct kern *k, struct batch *t)
{
    const int64_t threads = par_threads();
    int64_t panels = 0, len = 1, by_column = 0;
    t->tiles = t->jobs = 0;
    for (int64_t i = 0; i < t->n; i++)
        panels += kern_parts(t->piece[i].g.n, PANEL);
    for (int64_t i = 0; i < t->n; i++) {
        struct piece *p = &t->piece[i];
        const int64_t mb = row_block(&p->g), parts = kern_min(kern_parts(4 * threads, panels), kern_parts(p->g.m, mb));
        p->tile0 = t->tiles;
        p->job0 = t->jobs;
        p->part_rows = kern_up(kern_parts(p->g.m, parts), mb); /* whole blocks of rows */
        p->parts = kern_parts(p->g.m, p->part_rows);
        t->tiles += kern_parts(p->g.m, TILE);
        t->jobs += kern_parts(p->g.n, PANEL) * p->parts;
        len = items(p->g.k, narrow(&p->g));
        by_column |= p->g.a_i != 1;
    }
    t->work = kern_scratch(k, SLOT_WORK, threads * ROOM);
    par_for(t->tiles, kern_max(by_column ? GROUP / TILE : 1, (1 << 14) / (kern_max(len, 1) * TILE)), pack_jobs, t);
    par_for(t->jobs, 1, gemm_jobs, t);
}

void kern_cpu_gemms(struct kern *k, const struct gemm *g, int64_t n)
{
    struct batch t = {.cpu = k->cpu, .stream = par_threads() > 1, .piece = kern_scratch(k, SLOT_PIECES, n * (int64_t)sizeof *t.piece)};
    uint32_t *a = kern_scratch(k, SLOT_A, A_BYTES);
    int64_t used = 0; /* words */
    for (int64_t i = 0; i < n; i++) {
        const int64_t len = kern_max(items(g[i].k, narrow(&g[i])), 1), mb = row_block(&g[i]), room = A_BYTES / 4 / len;
        const int64_t chunk = kern_max(room / mb, 1) * mb; /* rows at a time */
        for (int64_t first = 0, rows; first < g[i].m && g[i].n > 0; first += rows) {
            rows = kern_min(chunk, g[i].m - first);
            int64_t words = kern_up(rows, TILE) * len;
            if (t.n && (used + words > A_BYTES / 4 || t.n == n)) {
                run_batch(k, &t);
                t.n = used = 0;
            }
            if (words > A_BYTES / 4)
                a = kern_scratch(k, SLOT_A, words * 4);
            struct piece *p = &t.piece[t.n++];
            p->g = g[i];
            p->g.m = rows;
            p->g.a += first * g[i].a_m;
            p->g.c += first * g[i].ldc;
            p->g.residual = g[i].residual ? g[i].residual + first * g[i].ldc : NULL;
            p->g.sa = g[i].sa ? g[i].sa + first * g[i].sa_m : NULL;
            p->a = a + used;
            used += words;
        }
    }
    if (t.n)
        run_batch(k, &t);
}
