/* What one fixed order per sum costs: the ops against the same code free to reorder, one thread, in turns in one run.
 *   product    ordered: one chain per output, continued over blocks of the reduction.  free: fast-math, a block's sum added
 *              to the result at the end, as most libraries do; for one row four partial sums per output
 *   attention  ordered: every block of keys from scratch, then merged.  free: the running output is rescaled and added to in place
 * BENCH_CPU=1: processor time instead of wall time. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/bench.h"
#include "core/par.h"
#include "kernels/cpu/cpu.h"
#include "kernels/kernels.h"

static float *noise(int64_t n)
{
    float *p = aligned_alloc(64, (size_t)kern_up(n * 4, 64));
    for (int64_t i = 0; p && i < n; i++)
        p[i] = (float)((i * 7919) % 2003) / 1001 - 1;
    if (!p)
        exit(1);
    return p;
}

static void race(const char *name, void (*ordered)(void *), void (*reordered)(void *), void *ctx)
{
    double best[2] = {1e30, 1e30}, stop = now() + 1.5;
    for (int round = 0; round < 3 || now() < stop; round++)
        for (int i = 0; i < 2; i++) {
            double t = now();
            (i ? reordered : ordered)(ctx);
            t = now() - t;
            if (round && t < best[i])
                best[i] = t;
        }
    printf("%-44s ordered %9.3f ms   free %9.3f ms   order costs %+.1f %%\n", name, best[0] * 1e3, best[1] * 1e3, 100 * (best[0] / best[1] - 1));
}

/* ---- products -------------------------------------------------------------------------------- */

struct product {
    struct kern *k;
    struct kern_weight w;
    float *x, *y;
    uint32_t *a;
    int64_t m;
};

static void ordered_product(void *p)
{
    struct product *a = p;
    kern_linear(a->k, &(struct kern_linear){.y = a->y, .x = a->x, .w = &a->w, .m = a->m});
}

#pragma GCC push_options
#pragma GCC optimize("O3,fast-math")
#pragma GCC target("avx512f,avx2,fma")
#include <immintrin.h>

static inline __attribute__((always_inline)) void add_to(float *c, __m512 s)
{
    _mm512_storeu_ps(c, _mm512_add_ps(_mm512_loadu_ps(c), s));
}

/* rows x 64 outputs in registers, one partial sum each. */
static inline __attribute__((always_inline)) void free_tile(float *c, int64_t ldc, const float *a, const float *b, int64_t n, const int rows)
{
    __m512 s[TILE][4];
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < 4; v++)
            s[r][v] = _mm512_setzero_ps();
    for (int64_t i = 0; i < n; i++, a += TILE, b += PANEL) {
        __m512 w[4];
        for (int v = 0; v < 4; v++)
            w[v] = _mm512_loadu_ps(b + v * LANES);
        for (int r = 0; r < rows; r++)
            for (int v = 0; v < 4; v++)
                s[r][v] = _mm512_fmadd_ps(_mm512_set1_ps(a[r]), w[v], s[r][v]);
    }
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < 4; v++)
            add_to(c + r * ldc + v * LANES, s[r][v]);
}

/* One row leaves registers free: four partial sums per output hide the latency of the additions. */
static void free_row(float *c, const float *a, const float *b, int64_t n)
{
    __m512 s[4][4];
    for (int j = 0; j < 16; j++)
        s[j / 4][j % 4] = _mm512_setzero_ps();
    for (int64_t i = 0; i + 3 < n; i += 4, a += 4 * TILE, b += 4 * PANEL)
        for (int j = 0; j < 4; j++)
            for (int v = 0; v < 4; v++)
                s[j][v] = _mm512_fmadd_ps(_mm512_set1_ps(a[j * TILE]), _mm512_loadu_ps(b + j * PANEL + v * LANES), s[j][v]);
    for (int v = 0; v < 4; v++)
        add_to(c + v * LANES, _mm512_add_ps(_mm512_add_ps(s[0][v], s[1][v]), _mm512_add_ps(s[2][v], s[3][v])));
}

static void free_rows(float *c, int64_t ldc, const float *a, const float *b, int64_t n, int64_t rows)
{
    if (rows >= TILE)
        free_tile(c, ldc, a, b, n, TILE);
    else if (rows == 4)
        free_tile(c, ldc, a, b, n, 4);
    else
        for (int64_t r = 0; r < rows; r++)
            free_row(c + r * ldc, a + r, b, n);
}
#pragma GCC pop_options

static void free_product(void *p)
{
    enum { KC = 512, MB = 96 };
    struct product *q = p;
    const int64_t k = q->w.k, n = q->w.n;
    float buf[MB * PANEL];
    kern_cpu_pack_a(&(struct pack_a){.cpu = q->k->cpu, .out = q->a, .a = q->x, .rows = q->m, .k = k, .a_m = k});
    for (int64_t panel = 0; panel < n / PANEL; panel++)
        for (int64_t row = 0; row < q->m; row += MB) {
            int64_t rows = kern_min(MB, q->m - row);
            memset(buf, 0, (size_t)(rows * PANEL) * 4);
            for (int64_t i = 0; i < k; i += KC)
                for (int64_t r = 0; r < rows; r += TILE)
                    free_rows(buf + r * PANEL, PANEL, (const float *)(const void *)q->a + (row + r) * k + i * TILE, (const float *)q->w.pack + (panel * k + i) * PANEL,
                              kern_min(KC, k - i), rows - r);
            for (int64_t r = 0; r < rows; r++)
                memcpy(q->y + (row + r) * n + panel * PANEL, buf + r * PANEL, PANEL * 4);
        }
}

static void products(struct kern *k)
{
    static const int64_t mnk[][3] = {{1536, 1536, 1536}, {64, 2048, 2048}, {6, 1024, 1024}, {1, 1024, 1024}, {1, 4096, 4096}};
    for (size_t i = 0; i < sizeof mnk / sizeof *mnk; i++) {
        struct product p = {.k = k, .m = mnk[i][0], .x = noise(mnk[i][0] * mnk[i][2]), .y = noise(mnk[i][0] * mnk[i][1])};
        struct err e = {0};
        void *pack;
        char name[64];
        float *w = noise(mnk[i][1] * mnk[i][2]);
        if (kern_alloc(k, kern_pack_bytes(k, mnk[i][1], mnk[i][2], KERN_F32), "bench", &pack, &e) != ERR_OK)
            exit(1);
        p.w = (struct kern_weight){.n = mnk[i][1], .k = mnk[i][2], .prec = KERN_F32, .w = w, .pack = pack};
        p.a = (uint32_t *)(void *)noise(kern_up(p.m, TILE) * p.w.k);
        kern_pack(k, &p.w);
        snprintf(name, sizeof name, "product %lld x %lld x %lld f32", (long long)p.m, (long long)p.w.n, (long long)p.w.k);
        race(name, ordered_product, free_product, &p);
        kern_free(k, pack);
        free(w);
        free(p.x);
        free(p.y);
        free(p.a);
    }
}

/* ---- attention ------------------------------------------------------------------------------- */

enum { T = 1024, H = 12, D = 64, ROWS = 96 };

struct attn {
    struct kern *k;
    float *q, *key, *v, *o;
};

static void ordered_attn(void *p)
{
    static const int32_t cu[2] = {0, T}, len[1] = {T};
    struct attn *a = p;
    kern_attn(a->k, &(struct kern_attn){
        .o = a->o, .q = a->q, .kv = {.k = a->key, .v = a->v, .cu_k = cu, .ldk = H * D, .ldv = H * D, .head_stride_k = D, .head_stride_v = D},
        .cu_q = cu, .kv_len = len, .n_seq = 1, .hq = H, .hkv = H, .dk = D, .dv = D, .ldq = H * D, .ldo = H * D, .scale = 0.125f,
    });
}

struct room {
    float q[ROWS * D], kt[KERN_PAGE * D], s[ROWS * KERN_PAGE], o[ROWS * D], m[ROWS], l[ROWS], mb[ROWS], lb[ROWS];
    int32_t valid[ROWS];
};

#pragma GCC push_options
#pragma GCC optimize("O3,fast-math")
#pragma GCC target("avx512f,avx2,fma")
static void free_block(const struct kern_cpu *cpu, struct room *r, const float *v, int64_t first, int64_t rows, int64_t keys)
{
    cpu->strip_f32(&(struct strip){.c = r->s + first * KERN_PAGE, .ldc = KERN_PAGE, .a = r->q + first * D, .rs = D, .ks = 1, .ts = TILE * D, .b = r->kt,
                                   .ldb = KERN_PAGE, .n = D, .rows = rows, .lanes = kern_up(keys, LANES), .fresh = 1});
    cpu->attn_block(&(struct attn_block){.s = r->s + first * KERN_PAGE, .m = r->mb + first, .l = r->lb + first, .valid = r->valid + first, .rows = rows, .scale = 0.125f});
    for (int64_t i = first; i < first + rows; i++) { /* the running output and the new weights to one maximum */
        float m = r->m[i] > r->mb[i] ? r->m[i] : r->mb[i], old = m == r->m[i] ? 1 : kern_expf(r->m[i] - m), new = m == r->mb[i] ? 1 : kern_expf(r->mb[i] - m);
        for (int64_t d = 0; old != 1 && d < D; d++)
            r->o[i * D + d] *= old;
        for (int64_t j = 0; new != 1 && j < KERN_PAGE; j++)
            r->s[i * KERN_PAGE + j] *= new;
        r->l[i] = r->l[i] * old + r->lb[i] * new;
        r->m[i] = m;
    }
    cpu->strip_f32(&(struct strip){.c = r->o + first * D, .ldc = D, .a = r->s + first * KERN_PAGE, .rs = KERN_PAGE, .ks = 1, .ts = TILE * KERN_PAGE, .b = v,
                                   .ldb = H * D, .n = keys, .rows = rows, .lanes = D});
}

#pragma GCC pop_options

static void free_attn(void *p)
{
    static struct room r;
    struct attn *a = p;
    const struct kern_cpu *cpu = a->k->cpu;
    for (int64_t h = 0; h < H; h++)
        for (int64_t t = 0; t < T; t += ROWS) {
            int64_t rows = kern_min(ROWS, T - t);
            memset(r.o, 0, sizeof r.o);
            for (int64_t i = 0; i < rows; i++) {
                memcpy(r.q + i * D, a->q + (t + i) * H * D + h * D, D * 4);
                r.m[i] = -INFINITY;
                r.l[i] = 0;
            }
            for (int64_t b = 0; b * KERN_PAGE < t + rows; b++) {
                int64_t keys = kern_min(KERN_PAGE, t + rows - b * KERN_PAGE), first = kern_max(0, b * KERN_PAGE - t) / TILE * TILE;
                cpu->turn(r.kt, a->key + b * KERN_PAGE * H * D + h * D, H * D, keys, D, 0);
                for (int64_t i = 0; i < rows; i++)
                    r.valid[i] = (int32_t)kern_min(KERN_PAGE, kern_max(0, t + i + 1 - b * KERN_PAGE));
                if (r.valid[first] == keys)
                    free_block(cpu, &r, a->v + b * KERN_PAGE * H * D + h * D, first, rows - first, keys);
                else
                    for (int64_t i = first; i < rows; i += TILE)
                        free_block(cpu, &r, a->v + b * KERN_PAGE * H * D + h * D, i, kern_min(TILE, rows - i), r.valid[kern_min(i + TILE, rows) - 1]);
            }
            for (int64_t i = 0; i < rows; i++)
                for (int64_t d = 0; d < D; d++)
                    a->o[(t + i) * H * D + h * D + d] = r.o[i * D + d] / r.l[i];
        }
}

int main(void)
{
    struct kern *k;
    struct err e = {0};
    struct attn a;
    if (!kern_has_isa(KERN_AVX512)) {
        printf("skip: this bench wants AVX-512\n");
        return 0;
    }
    if (getenv("BENCH_CPU"))
        which = CLOCK_PROCESS_CPUTIME_ID;
    if (kern_open(&(struct kern_opts){.backend = "cpu"}, &k, &e) != ERR_OK) {
        fprintf(stderr, "%s\n", e.msg);
        return 1;
    }
    par_init(1);
    products(k);
    a = (struct attn){k, noise(T * H * D), noise(T * H * D), noise(T * H * D), noise(T * H * D)};
    race("attention 12 heads of 64, 1024 tokens", ordered_attn, free_attn, &a);
    kern_close(k);
    return 0;
}
