/* Weights into panels of PANEL outputs, the reduction outermost inside a panel: [panel][item][PANEL]. FP8 packs hold the E4M3 values as
 * bf16 (exact), then the scales. */
#include "kernels/cpu/cpu.h"

#include <string.h>

#include "core/par.h"

static int64_t panel_bytes(int64_t rows, int64_t cols, enum kern_prec prec)
{
    return kern_up(rows, PANEL) * items(cols, prec != KERN_F32) * 4;
}

int64_t kern_cpu_pack_bytes(int64_t rows, int64_t cols, enum kern_prec prec)
{
    int64_t scales = prec == KERN_FP8 ? kern_parts(rows, KERN_RUN) * kern_parts(cols, KERN_RUN) * 4 : 0;
    return panel_bytes(rows, cols, prec) + scales;
}

float *kern_cpu_fp8_scales(const struct kern_weight *w)
{
    return (float *)(void *)((char *)w->pack + panel_bytes(w->n, w->k, KERN_FP8));
}

float kern_cpu_fp8_scale(float amax, int how)
{
    const float least = how & KERN_SCALE_GRAD ? 1e-30f : 1e-4f;
    float s = (amax > least ? amax : least) / 448.f;
    uint32_t u;
    memcpy(&u, &s, sizeof u);
    if ((how & KERN_SCALE_POW2) && (u & 0x7FFFFF))
        u = (u | 0x7FFFFF) + 1;
    memcpy(&s, &u, sizeof s);
    return s;
}

struct pack_w {
    const struct kern_cpu *cpu;
    const struct kern_weight *w;
    const char *src;
    int64_t first, rows, item;
    int stream;
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

enum {
    STEP = 64,       /* items of a row that are turned at a time */
    LARGE = 2 << 20, /* bytes of a weight that will not be in the caches when it is read */
};

/* One panel's rows [0, rows) x columns [at, at + n) into place; scale 0: no FP8. */
static void pack_block(const struct pack_w *p, int64_t panel, int64_t rows, int64_t at, int64_t n, float scale)
{
    const int bf16 = p->w->prec != KERN_F32;
    uint32_t *out = (uint32_t *)p->w->pack + ((p->first / PANEL + panel) * items(p->w->k, bf16) + items(at, bf16)) * PANEL;
    float tmp[2 * STEP], q[2 * STEP], block[PANEL][STEP];
    if (!bf16 && p->item == 4) {
        p->cpu->turn((float *)(void *)out, floats(p, panel * PANEL, at, n, NULL), p->w->k, rows, n, p->stream);
        return;
    }
    for (int64_t r = 0; r < rows; r++) {
        const float *f = floats(p, panel * PANEL + r, at, n, tmp);
        if (scale != 0) {
            p->cpu->fp8_div(q, f, n, scale);
            f = q;
        }
        if (bf16)
            p->cpu->to_pairs((uint32_t *)(void *)block[r], f, n);
        else
            memcpy(block[r], f, (size_t)n * sizeof *f);
    }
    p->cpu->turn((float *)(void *)out, block[0], STEP, rows, items(n, bf16), p->stream);
}

static void pack_panels(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct pack_w *p = ctx;
    const int64_t step = p->w->prec == KERN_F32 ? STEP : 2 * STEP;
    (void)worker;
    for (int64_t panel = begin; panel < end; panel++)
        for (int64_t at = 0; at < p->w->k; at += step)
            pack_block(p, panel, kern_min(PANEL, p->rows - panel * PANEL), at, kern_min(step, p->w->k - at), 0);
    kern_cpu_streamed();
}

/* Blocks of KERN_RUN rows: two panels. */
static void pack_fp8_blocks(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct pack_w *p = ctx;
    const int64_t across = kern_parts(p->w->k, KERN_RUN);
    float *scales = kern_cpu_fp8_scales(p->w) + p->first / KERN_RUN * across, tmp[KERN_RUN];
    (void)worker;
    for (int64_t b = begin; b < end; b++)
        for (int64_t at = 0; at < p->w->k; at += KERN_RUN) {
            int64_t n = kern_min(KERN_RUN, p->w->k - at), rows = kern_min(KERN_RUN, p->rows - b * KERN_RUN);
            float top = 0;
            for (int64_t r = 0; r < rows; r++) {
                float m = p->cpu->amax(floats(p, b * KERN_RUN + r, at, n, tmp), n);
                top = m > top ? m : top;
            }
            float s = scales[b * across + at / KERN_RUN] = kern_cpu_fp8_scale(top, 0);
            for (int64_t r = 0; r < rows; r += PANEL)
                pack_block(p, (b * KERN_RUN + r) / PANEL, kern_min(PANEL, rows - r), at, n, s);
        }
    kern_cpu_streamed();
}

void kern_cpu_pack_rows(struct kern *k, const struct kern_weight *w, const void *src, int src_is_bf16, int64_t first, int64_t rows)
{
    struct pack_w p = {k->cpu, w, src, first, rows, src_is_bf16 ? 2 : 4, rows * w->k * 4 > LARGE};
    if (w->prec == KERN_FP8)
        par_for(kern_parts(rows, KERN_RUN), 1, pack_fp8_blocks, &p);
    else
        par_for(kern_parts(rows, PANEL), 1, pack_panels, &p);
}

/* The rows of src are what a panel holds side by side already. */
static void turned_panels(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct pack_w *p = ctx;
    const int bf16 = p->w->prec != KERN_F32;
    const float *src = (const float *)(const void *)p->src;
    (void)worker;
    for (int64_t panel = begin; panel < end; panel++) {
        int64_t n = kern_min(PANEL, p->w->n - panel * PANEL);
        uint32_t *out = (uint32_t *)p->w->pack + panel * items(p->w->k, bf16) * PANEL;
        for (int64_t i = 0; i < items(p->w->k, bf16); i++, out += PANEL) {
            const float *row = src + (bf16 ? 2 * i : i) * p->w->n + panel * PANEL;
            if (n < PANEL)
                memset(out, 0, PANEL * sizeof *out);
            if (bf16)
                p->cpu->zip_pairs(out, row, 2 * i + 1 < p->w->k ? row + p->w->n : NULL, n);
            else
                memcpy(out, row, (size_t)n * sizeof *out);
        }
    }
}

void kern_cpu_pack_turned(struct kern *k, const struct kern_weight *w, const float *src)
{
    struct pack_w p = {.cpu = k->cpu, .w = w, .src = (const char *)src};
    par_for(kern_parts(w->n, PANEL), 1, turned_panels, &p);
}

/* ---- FP8 bytes ------------------------------------------------------------------------------- */

/* The two bf16 halves of a word are k and k + 1 of output n. */
static uint16_t *half_at(const struct kern_weight *w, int64_t n, int64_t k)
{
    return (uint16_t *)w->pack + ((n / PANEL * items(w->k, 1) + k / 2) * PANEL + n % PANEL) * 2 + k % 2;
}

void kern_cpu_pack_fp8(struct kern *k, const struct kern_weight *w, const uint8_t *codes, const float *scale)
{
    (void)k;
    memset(w->pack, 0, (size_t)panel_bytes(w->n, w->k, KERN_FP8));
    for (int64_t n = 0; n < w->n; n++)
        for (int64_t i = 0; i < w->k; i++) {
            float v = kern_e4m3_value(codes[n * w->k + i]);
            uint32_t u;
            memcpy(&u, &v, 4);
            *half_at(w, n, i) = (uint16_t)(u >> 16);
        }
    memcpy(kern_cpu_fp8_scales(w), scale, (size_t)(kern_parts(w->n, KERN_RUN) * kern_parts(w->k, KERN_RUN)) * sizeof *scale);
}

void kern_cpu_unpack_fp8(struct kern *k, const struct kern_weight *w, uint8_t *codes, float *scale)
{
    (void)k;
    for (int64_t n = 0; n < w->n; n++)
        for (int64_t i = 0; i < w->k; i++) {
            uint32_t u = (uint32_t)*half_at(w, n, i) << 16;
            float v;
            memcpy(&v, &u, 4);
            codes[n * w->k + i] = kern_e4m3_code(v);
        }
    memcpy(scale, kern_cpu_fp8_scales(w), (size_t)(kern_parts(w->n, KERN_RUN) * kern_parts(w->k, KERN_RUN)) * sizeof *scale);
}
