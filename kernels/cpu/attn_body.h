/* Softmax pieces of attention over one block of 64 keys. Compiled once per instruction set; see isa.h. */
#ifndef HONE_KERNELS_CPU_ATTN_BODY_H
#define HONE_KERNELS_CPU_ATTN_BODY_H

#include <math.h>

#include "kernels/cpu/vec.h"

enum { BLOCK_V = PANEL / LANES };

static void attn_block(const struct attn_block *a)
{
    const vf k = v_set(a->scale);
    for (int64_t r = 0; r < a->rows; r++) {
        float *s = a->s + r * PANEL;
        int64_t n = a->valid[r];
        vf z[BLOCK_V];
        if (n <= 0) {
            memset(s, 0, PANEL * sizeof *s);
            a->m[r] = -INFINITY;
            a->l[r] = 0;
            continue;
        }
        for (int v = 0; v < BLOCK_V; v++) {
            z[v] = v_mul(v_load(s + v * LANES), k);
            if (n < (v + 1) * LANES)
                z[v] = v_keep(z[v], n > v * LANES ? n - v * LANES : 0, -INFINITY);
        }
        float m = v_top(v_max(v_max(z[0], z[1]), v_max(z[2], z[3])));
        for (int v = 0; v < BLOCK_V; v++) {
            z[v] = v_exp(v_sub(z[v], v_set(m)));
            v_store(s + v * LANES, z[v]);
        }
        a->m[r] = m;
        a->l[r] = v_sum(v_add(v_add(z[0], z[1]), v_add(z[2], z[3])));
    }
}

static void attn_merge(const struct attn_merge *a)
{
    for (int64_t r = 0; r < a->rows; r++) {
        if (a->valid[r] <= 0)
            continue;
        float m = a->m[r] > a->mb[r] ? a->m[r] : a->mb[r], f[LANES] = {a->m[r] - m, a->mb[r] - m};
        v_store(f, v_exp(v_load(f)));
        vf old = v_set(f[0]), new = v_set(f[1]), zero = v_set(0);
        float *o = a->o + r * a->ldo;
        const float *ob = a->ob + r * a->ldo;
        /* + 0 turns a -0 that underflow left into +0: whether masked keys follow in the block must not show */
        for (int64_t i = 0; i < a->ldo; i += LANES)
            v_store(o + i, v_fma(v_load(o + i), old, v_mul(v_add(v_load(ob + i), zero), new)));
        a->l[r] = fmaf(a->l[r], f[0], a->lb[r] * f[1]);
        a->m[r] = m;
    }
}

static void attn_ds(const struct attn_ds *a)
{
    const vf k = v_set(a->scale);
    for (int64_t r = 0; r < a->rows; r++) {
        float *s = a->s + r * PANEL, *d = a->dp + r * PANEL;
        int64_t n = a->valid[r];
        for (int v = 0; v < BLOCK_V; v++) {
            vf p = v_exp(v_sub(v_mul(v_load(s + v * LANES), k), v_set(a->lse[r])));
            vf g = v_mul(v_mul(p, v_sub(v_load(d + v * LANES), v_set(a->delta[r]))), k);
            int64_t keep = n > v * LANES ? n - v * LANES : 0;
            v_store(s + v * LANES, keep < LANES ? v_keep(p, keep, 0) : p);
            v_store(d + v * LANES, keep < LANES ? v_keep(g, keep, 0) : g);
        }
    }
}

#endif
