/* Matrix multiplication: blocking and the split over threads. Only outputs are ever split, never a reduction. */
#include "kernels/cpu/cpu.h"

#include <stddef.h>
#include <string.h>

#include "core/par.h"

enum {
    KC = 768,        /* most items of the reduction per block: 192 KiB of a panel, which stay in L2 */
    MB = 96,         /* rows of one job: with KC items of the reduction 288 KiB, which stay in L2 beside the panel's */
    FEW = 2 * MB,    /* rows up to which a job packs its panel of b itself; for more, b is packed once for all jobs */
    PACK_ITEMS = 32, /* items of the reduction that are packed at a time: whole rows of b are read, not pieces that lie pages apart */
    GROUP = 16 * TILE, /* rows that pack_items takes at a time */
    A_BYTES = 12 << 20, /* packed rows at a time */
    JOBS = 8,       /* jobs per thread that a batch is cut into, if it can be */
    B_BYTES = 64 << 20, /* packed b at a time; a larger one is packed by the jobs */
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

void kern_cpu_pack_a(const struct pack_a *p)
{
    for (int64_t first = 0; first < p->rows; first += TILE)
        pack_tile_rows(p, first, kern_min(TILE, p->rows - first), p->out + first * items(p->k, p->bf16));
}

/* ---- products ------------------------------------------------------------------------------- */

/* Items per block: blocks of like length, so that the last is not a short one. */
static int64_t block_items(int64_t len)
{
    return kern_up(kern_parts(len, kern_max(kern_parts(len, KC), 1)), KERN_RUN / 2);
}

void kern_cpu_panel_mul(const struct panel_mul *p)
{
    const int64_t kc = block_items(p->n);
    for (int64_t i = 0; i < p->n; i += kc) {
        struct strip s = {
            .c = p->out, .a = p->a + i * TILE, .b = p->panel + i * PANEL, .ldc = p->ldo, .rs = 1, .ks = TILE, .ts = TILE * p->n,
            .ldb = PANEL, .n = kern_min(kc, p->n - i), .rows = p->rows, .lanes = PANEL,
        };
        (p->bf16 ? p->cpu->strip_bf16 : p->cpu->strip_f32)(&s);
    }
}

/* Part of a product whose rows are packed at once. */
struct piece {
    struct gemm g;       /* pointers moved to the piece's first row, m its rows */
    const uint32_t *a, *b; /* packed; b NULL: the jobs pack it */
    int64_t tile0, pack0, job0; /* of the batch; tile0: first tile of rows or block of items */
    int64_t packs;       /* jobs that pack b */
    int64_t rows, panels; /* of one job */
};

struct batch {
    const struct kern_cpu *cpu;
    struct piece *piece;
    int64_t n, tiles, packs, jobs, threads;
    int stream; /* results and packed rows go past the caches: other threads will read them */
    char *work;
};

/* One thread's memory: results, a block of packed b, scales of lanes by run. */
struct room {
    float *c, *sb;
    uint32_t *b;
};

enum { RUNS = KC / (KERN_RUN / 2), ROOM = (FEW + KC + RUNS) * PANEL * 4 };

static struct room room_at(char *work, int worker)
{
    float *base = (float *)(void *)(work + (int64_t)worker * ROOM);
    return (struct room){.c = base, .b = (uint32_t *)(void *)(base + FEW * PANEL), .sb = base + (FEW + KC) * PANEL};
}

static int narrow(const struct gemm *g)
{
    return g->prec != KERN_F32;
}

/* a and b become pairs on their way; else they are words already. */
static int rounds(const struct gemm *g)
{
    return g->prec == KERN_BF16;
}

/* Length of a row of a before it is rounded. */
static int64_t words_of_a(const struct gemm *g)
{
    return items(g->k, narrow(g) && !rounds(g));
}

/* Rows whose results a job has at a time. */
static int64_t row_block(const struct piece *p)
{
    return p->b ? MB : FEW;
}

/* Rows [i, i + n) of the reduction of one panel of b, in the panel's layout. */
static void pack_b(const struct kern_cpu *cpu, const struct gemm *g, int64_t panel, int64_t i, int64_t n, uint32_t *out, int stream)
{
    const int64_t lanes = kern_min(PANEL, g->n - panel * PANEL), first = rounds(g) ? 2 * i : i;
    stream = stream && lanes == PANEL;
    if (lanes < PANEL)
        memset(out, 0, (size_t)(n * PANEL) * sizeof *out);
    if (g->turned) { /* a panel of the pack has the rows of PANEL / 2 pairs, which the blocks here begin with */
        const int64_t across = items(g->n, 1);
        for (int64_t j = 0; j < n; j += PANEL / 2)
            cpu->across_pairs(out + j * PANEL, g->turned + ((i + j) / (PANEL / 2) * across + panel * PANEL / 2) * PANEL, kern_min(PANEL / 2, n - j), items(lanes, 1), stream);
        return;
    }
    const float *src = g->b + first * g->ldb + panel * PANEL;
    if (rounds(g))
        cpu->zip_rows(out, src, g->ldb, kern_min(2 * n, g->k - first), lanes, stream);
    else
        cpu->copy_rows((float *)(void *)out, PANEL, src, g->ldb, n, lanes, stream);
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
static void add_extras(const struct kern_cpu *cpu, const struct gemm *g, int64_t row, int64_t rows, int64_t panel, float *buf)
{
    const int64_t lanes = kern_min(PANEL, g->n - panel * PANEL);
    for (int64_t r = 0; r < rows; r++, buf += PANEL) {
        if (g->bias)
            cpu->add(buf, buf, g->bias + panel * PANEL, lanes);
        if (g->residual)
            cpu->add(buf, buf, g->residual + (row + r) * g->ldc + panel * PANEL, lanes);
    }
}

static void store_c(const struct batch *t, const struct gemm *g, int64_t row, int64_t rows, int64_t panel, float *buf)
{
    int64_t lanes = kern_min(PANEL, g->n - panel * PANEL);
    float *c = g->c + row * g->ldc + panel * PANEL;
    if (g->bias || g->residual)
        add_extras(t->cpu, g, row, rows, panel, buf);
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

/* A block of one panel's results. */
struct place {
    int64_t panel, row, rows;
    const uint32_t *b;    /* the panel, packed; NULL: packed on the way */
    const void *then;     /* what is read next, or NULL: a packed panel, or (then_ld) the rows of b that will be the next panel */
    int64_t then_ld;
    int fresh;  /* the chain starts from +0 */
    int direct; /* it starts from c, or fresh, and ends there: without the copies of load_c and store_c */
};

/* What strip s, over items [i, i + n), asks for: rows of the next panel's source, or the next block of the reduction, this panel's or the next one's. */
static void ask_next(const struct gemm *g, const struct place *at, int64_t i, int64_t n, struct strip *s)
{
    const int64_t len = items(g->k, narrow(g)), each = rounds(g) ? 2 : 1;
    if (at->then && at->then_ld) {
        s->next = (const float *)at->then + each * i * at->then_ld, s->next_ld = at->then_ld, s->next_rows = kern_min(each * n, (rounds(g) ? g->k : len) - each * i);
        return;
    }
    s->next = i + n < len ? at->b : at->then;
    if (s->next)
        s->next = (const uint32_t *)s->next + (i + n) % len * PANEL, s->next_bytes = kern_min(n, len - (i + n) % len) * PANEL * 4;
}

/* The sums of a place += a b over items [i, i + n) of the reduction; b: those items of the panel. */
static void multiply(const struct batch *t, const struct piece *p, const struct room *room, const uint32_t *b, const struct place *at, int64_t i, int64_t n)
{
    const struct gemm *g = &p->g;
    const int64_t len = items(g->k, narrow(g)), run = i / (KERN_RUN / 2);
    struct strip s = {.c = room->c, .a = p->a + at->row * len + i * TILE, .b = b, .ldc = PANEL, .rs = 1, .ks = TILE, .ts = TILE * len, .ldb = PANEL,
                      .n = n, .rows = at->rows, .lanes = PANEL, .fresh = at->fresh && i == 0};
    ask_next(g, at, i, n, &s);
    if (at->direct) {
        float *c = g->c + at->row * g->ldc + at->panel * PANEL;
        if (i == 0 && g->accumulate)
            s.c = c, s.ldc = g->ldc, s.out = room->c, s.ldo = PANEL;
        if (i + n == len)
            s.out = c, s.ldo = g->ldc, s.stream = t->stream && !g->accumulate && ((uintptr_t)c & 63) == 0 && g->ldc % LANES == 0;
    }
    if (g->prec == KERN_FP8) {
        s.sa = g->sa + at->row * g->sa_m + run * g->sa_i, s.sa_m = g->sa_m, s.sa_i = g->sa_i;
        if (g->sb_per_lane && g->n - at->panel * PANEL >= PANEL)
            s.sb = g->sb + run * g->sb_i + at->panel * PANEL, s.sb_i = g->sb_i;
        else {
            lane_scales(g, at->panel, run, kern_parts(n, KERN_RUN / 2), room->sb);
            s.sb = room->sb, s.sb_i = PANEL;
        }
        t->cpu->strip_fp8(&s);
    } else
        (g->prec == KERN_BF16 ? t->cpu->strip_bf16 : t->cpu->strip_f32)(&s);
}

/* A block of one panel's results, over the whole reduction. */
static void run_place(const struct batch *t, const struct piece *p, const struct room *room, struct place at)
{
    const struct gemm *g = &p->g;
    const int64_t len = items(g->k, narrow(g)), kc = block_items(len);
    at.fresh = !g->accumulate && len > 0;
    at.direct = g->n - at.panel * PANEL >= PANEL && !g->bias && !g->residual && len > 0;
    if (!at.direct && !at.fresh)
        load_c(t, g, at.row, at.rows, at.panel, room->c);
    for (int64_t i = 0; i < len; i += kc) {
        int64_t n = kern_min(kc, len - i);
        if (!at.b)
            pack_b(t->cpu, g, at.panel, i, n, room->b, 0);
        multiply(t, p, room, at.b ? at.b + i * PANEL : room->b, &at, i, n);
    }
    if (!at.direct)
        store_c(t, g, at.row, at.rows, at.panel, room->c);
}

/* The piece that job i of a kind belongs to; first: where pieces keep their first job of it. */
static const struct piece *find(const struct batch *t, int64_t i, size_t first)
{
    int64_t lo = 0, hi = t->n;
    while (hi - lo > 1) {
        int64_t mid = (lo + hi) / 2;
        if (*(const int64_t *)(const void *)((const char *)&t->piece[mid] + first) <= i)
            lo = mid;
        else
            hi = mid;
    }
    return &t->piece[lo];
}

/* A job is p->rows rows and p->panels panels of outputs of one piece. */
static void gemm_jobs(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct batch *t = ctx;
    const struct room room = room_at(t->work, worker);
    for (int64_t job = begin; job < end; job++) {
        const struct piece *p = find(t, job, offsetof(struct piece, job0));
        const struct gemm *g = &p->g;
        const int64_t len = items(g->k, narrow(g)), across = kern_parts(kern_parts(g->n, PANEL), p->panels), at = job - p->job0;
        const int64_t first = at % across * p->panels, last = kern_min(first + p->panels, kern_parts(g->n, PANEL));
        int64_t row = at / across * p->rows, stop = kern_min(row + p->rows, g->m), rows;
        for (; row < stop; row += rows) {
            rows = kern_min(row_block(p), stop - row);
            const int64_t after = (at + t->threads) % across; /* the panel of this thread's next job, if all jobs take as long */
            for (int64_t panel = first; panel < last; panel++) {
                struct place place = {.panel = panel, .row = row, .rows = rows, .b = p->b ? p->b + panel * len * PANEL : NULL};
                if (p->b && p->panels == 1 && row + rows == stop)
                    place.then = p->b + after * len * PANEL;
                run_place(t, p, &room, place);
            }
        }
    }
    kern_cpu_streamed();
}

/* Tiles of rows that are contiguous in the reduction. */
static void pack_tiles(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct batch *t = ctx;
    (void)worker;
    while (begin < end) {
        const struct piece *p = find(t, begin, offsetof(struct piece, tile0));
        const struct gemm *g = &p->g;
        int64_t first = (begin - p->tile0) * TILE, tiles = kern_min(end - begin, kern_parts(g->m - first, TILE));
        kern_cpu_pack_a(&(struct pack_a){
            .cpu = t->cpu, .out = (uint32_t *)(uintptr_t)p->a + first * items(g->k, narrow(g)), .a = g->a + first * g->a_m,
            .rows = kern_min(tiles * TILE, g->m - first), .k = words_of_a(g), .a_m = g->a_m, .bf16 = rounds(g), .stream = t->stream,
        });
        begin += tiles;
    }
    kern_cpu_streamed();
}

/* Items [i, i + n) of the reduction, n <= PACK_ITEMS, of rows that are contiguous across it: a(., i) is a run of memory. */
static void pack_some_items(const struct batch *t, const struct piece *p, int64_t i, int64_t n, int stream)
{
    const struct gemm *g = &p->g;
    const int64_t len = items(g->k, narrow(g)), lda = g->a_i;
    uint32_t tmp[PACK_ITEMS][GROUP];
    for (int64_t first = 0; first < g->m; first += GROUP) {
        const int64_t rows = kern_min(GROUP, g->m - first);
        const float *src = g->a + (rounds(g) ? 2 * i : i) * lda + first;
        uint32_t *out = (uint32_t *)(uintptr_t)p->a + first * len + i * TILE;
        for (int64_t j = 0; rounds(g) && j < n; j++)
            t->cpu->zip_pairs(tmp[j], src + 2 * j * lda, 2 * (i + j) + 1 < g->k ? src + (2 * j + 1) * lda : NULL, rows);
        if (rounds(g))
            t->cpu->tile_cols(out, TILE * len, tmp[0], GROUP, rows, n, stream);
        else
            t->cpu->tile_cols(out, TILE * len, (const uint32_t *)(const void *)src, lda, rows, n, stream);
    }
}

static void pack_items(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct batch *t = ctx;
    (void)worker;
    for (int64_t job = begin; job < end; job++) {
        const struct piece *p = find(t, job, offsetof(struct piece, tile0));
        const int64_t i = (job - p->tile0) * PACK_ITEMS;
        pack_some_items(t, p, i, kern_min(PACK_ITEMS, items(p->g.k, narrow(&p->g)) - i), t->stream);
    }
    kern_cpu_streamed();
}

static void pack_b_jobs(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct batch *t = ctx;
    (void)worker;
    for (int64_t job = begin; job < end; job++) {
        const struct piece *p = find(t, job, offsetof(struct piece, pack0));
        const int64_t len = items(p->g.k, narrow(&p->g)), i = (job - p->pack0) * PACK_ITEMS, n = kern_min(PACK_ITEMS, len - i);
        for (int64_t panel = 0; panel < kern_parts(p->g.n, PANEL); panel++)
            pack_b(t->cpu, &p->g, panel, i, n, (uint32_t *)(uintptr_t)p->b + (panel * len + i) * PANEL, t->stream);
    }
    kern_cpu_streamed();
}

/* Packs the rows and the b of all pieces, then runs their jobs. */
static void run_batch(struct kern *k, struct batch *t)
{
    const int64_t threads = par_threads();
    const int64_t len = items(t->piece[0].g.k, narrow(&t->piece[0].g)), by_row = t->piece[0].g.a_i == 1;
    int64_t all = 0;
    t->tiles = t->packs = t->jobs = 0;
    for (int64_t i = 0; i < t->n; i++) {
        const struct piece *p = &t->piece[i];
        all += p->g.accumulate && p->b ? kern_parts(p->g.m, MB) : kern_parts(p->g.n, PANEL);
    }
    for (int64_t i = 0; i < t->n; i++) {
        struct piece *p = &t->piece[i];
        const int64_t panels = kern_parts(p->g.n, PANEL), blocks = kern_parts(p->g.m, row_block(p)), split = kern_parts(JOBS * threads, all);
        /* a panel of b stays in L2 and rows pass by; what is added to comes from memory, in runs as long as can be */
        if (p->g.accumulate && p->b)
            p->rows = MB, p->panels = kern_parts(panels, kern_min(split, panels));
        else
            p->rows = kern_parts(blocks, kern_min(split, blocks)) * row_block(p), p->panels = 1;
        p->tile0 = t->tiles, p->pack0 = t->packs, p->job0 = t->jobs;
        t->tiles += by_row ? kern_parts(p->g.m, TILE) : kern_parts(items(p->g.k, narrow(&p->g)), PACK_ITEMS);
        t->packs += p->packs;
        t->jobs += kern_parts(panels, p->panels) * kern_parts(p->g.m, p->rows);
    }
    t->work = kern_scratch(k, SLOT_WORK, threads * ROOM);
    if (by_row)
        par_for(t->tiles, kern_max(1, (1 << 14) / (kern_max(len, 1) * TILE)), pack_tiles, t);
    else
        par_for(t->tiles, 1, pack_items, t);
    par_for(t->packs, 1, pack_b_jobs, t);
    par_for(t->jobs, 1, gemm_jobs, t);
}

/* Words of b that are packed before the jobs; 0: panels already, or not worth it. */
static int64_t words_of_b(const struct gemm *g)
{
    const int64_t words = kern_up(g->n, PANEL) * items(g->k, narrow(g));
    return g->panels || g->m <= FEW || words > B_BYTES / 4 ? 0 : words;
}

/* Rows [first, first + rows) of a product. */
static struct piece piece_of(const struct gemm *g, int64_t first, int64_t rows)
{
    struct piece p = {.g = *g, .b = g->panels};
    p.g.m = rows;
    p.g.a += first * g->a_m;
    p.g.c += first * g->ldc;
    p.g.residual = g->residual ? g->residual + first * g->ldc : NULL;
    p.g.sa = g->sa ? g->sa + first * g->sa_m : NULL;
    return p;
}

/* ---- one product of many rows ----------------------------------------------------------------- *
 * Every thread has its rows, packs them for itself, and walks all panels of b, packing each for itself where b is not packed already. What is
 * packed twice is repaid: nothing but the results passes from one thread to another. */

struct own {
    struct batch t;
    const struct gemm *g;
    uint32_t *a, *b;  /* one piece of each per thread */
    int64_t share;    /* rows per job, whole tiles */
};

enum { OWN_ROWS = 4 * MB, OWN_BYTES = 8 << 20 /* of a thread's packed rows; of a c that is added to */ };

static void own_panels(const struct own *o, const struct piece *p, int worker)
{
    const struct gemm *g = &p->g;
    const struct room room = room_at(o->t.work, worker);
    const int64_t len = items(g->k, narrow(g)), panels = kern_parts(g->n, PANEL);
    for (int64_t panel = 0; panel < panels; panel++) {
        struct place at = {.panel = panel, .b = (const uint32_t *)g->panels + panel * len * PANEL};
        const void *then = at.b + len * PANEL;
        if (!g->panels) {
            uint32_t *own = o->b + worker * len * PANEL;
            pack_b(o->t.cpu, g, panel, 0, len, own, 0);
            at.b = own, at.then_ld = g->ldb;
            then = g->turned ? NULL : g->b + (panel + 1) * PANEL;
        }
        for (at.row = 0; at.row < g->m; at.row += at.rows) {
            at.rows = kern_min(MB, g->m - at.row);
            at.then = at.row + at.rows == g->m && panel + 1 < panels ? then : NULL;
            run_place(&o->t, p, &room, at);
        }
    }
}

static void own_rows(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct own *o = ctx;
    for (int64_t job = begin; job < end; job++) {
        struct piece p = piece_of(o->g, job * o->share, kern_min(o->share, o->g->m - job * o->share));
        const int64_t len = items(p.g.k, narrow(&p.g));
        uint32_t *a = o->a + worker * o->share * len;
        p.a = a;
        if (p.g.a_i == 1)
            kern_cpu_pack_a(&(struct pack_a){.cpu = o->t.cpu, .out = a, .a = p.g.a, .rows = p.g.m, .k = words_of_a(&p.g), .a_m = p.g.a_m, .bf16 = rounds(&p.g)});
        else
            for (int64_t i = 0; i < len; i += PACK_ITEMS)
                pack_some_items(&o->t, &p, i, kern_min(PACK_ITEMS, len - i), 0);
        own_panels(o, &p, worker);
    }
    kern_cpu_streamed();
}

/* 0: not worth it */
static int run_own(struct kern *k, const struct gemm *g)
{
    const int64_t threads = par_threads(), len = items(g->k, narrow(g)), share = kern_up(kern_parts(g->m, threads), TILE);
    if (!g->panels && narrow(g)) /* packing b once per thread costs twice as much beside products twice as fast */
        return 0;
    if (g->m < threads * OWN_ROWS || len == 0 || share * len * 4 > OWN_BYTES || (g->accumulate && g->m * g->n * 4 > OWN_BYTES) || (!g->panels && len * PANEL * 4 > OWN_BYTES / 8))
        return 0;
    struct own o = {.t = {.cpu = k->cpu, .stream = threads > 1, .work = kern_scratch(k, SLOT_WORK, threads * ROOM)}, .g = g, .share = share};
    o.a = kern_scratch(k, SLOT_A, kern_max(threads * share * len * 4, A_BYTES));
    o.b = g->panels ? NULL : kern_scratch(k, SLOT_B, threads * len * PANEL * 4);
    par_for(kern_parts(g->m, share), 1, own_rows, &o);
    return 1;
}

void kern_cpu_gemms(struct kern *k, const struct gemm *g, int64_t n)
{
    struct batch t = {.cpu = k->cpu, .threads = par_threads(), .stream = par_threads() > 1, .piece = kern_scratch(k, SLOT_PIECES, n * (int64_t)sizeof *t.piece)};
    int64_t used = 0, used_b = 0, all_b = 0; /* words */
    if (n == 1 && run_own(k, g))
        return;
    for (int64_t i = 0; i < n; i++)
        all_b += words_of_b(&g[i]);
    uint32_t *a = kern_scratch(k, SLOT_A, A_BYTES), *b = kern_scratch(k, SLOT_B, kern_min(all_b * 4, B_BYTES)), *b_here = NULL;
    for (int64_t i = 0; i < n; i++) {
        const int64_t len = kern_max(items(g[i].k, narrow(&g[i])), 1), words_b = words_of_b(&g[i]);
        const int64_t most = kern_max(A_BYTES / 4 / len / FEW, 1) * FEW;
        const int64_t chunk = kern_up(kern_parts(g[i].m, kern_max(kern_parts(g[i].m, most), 1)), FEW); /* rows at a time: chunks of like size */
        for (int64_t first = 0, rows; first < g[i].m && g[i].n > 0; first += rows) {
            rows = kern_min(chunk, g[i].m - first);
            int64_t words = kern_up(rows, TILE) * len, full_b = first == 0 && used_b + words_b > B_BYTES / 4;
            if (t.n && (used + words > A_BYTES / 4 || t.n == n || full_b)) {
                run_batch(k, &t);
                t.n = used = 0;
            }
            if (full_b)
                used_b = 0;
            if (words > A_BYTES / 4)
                a = kern_scratch(k, SLOT_A, words * 4);
            struct piece *p = &t.piece[t.n++];
            *p = piece_of(&g[i], first, rows);
            p->a = a + used;
            used += words;
            if (!words_b)
                continue;
            if (first == 0) { /* later chunks of rows use it again */
                b_here = b + used_b;
                used_b += words_b;
                p->packs = kern_parts(len, PACK_ITEMS);
            }
            p->b = b_here;
        }
    }
    if (t.n)
        run_batch(k, &t);
}
