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

/* The factors of 16 rows at a time, then the rows. */
static void attn_merge(const struct attn_merge *a)
{
    for (int64_t r0 = 0; r0 < a->rows; r0 += LANES) {
        float old[LANES], new[LANES], l[LANES];
        int64_t n = a->rows - r0 < LANES ? a->rows - r0 : LANES;
        vf m = v_load_n(a->m + r0, n), mb = v_load_n(a->mb + r0, n), top = v_max(m, mb), zero = v_set(0);
        v_store(old, v_exp(v_sub(m, top)));
        v_store(new, v_exp(v_sub(mb, top)));
        v_store(l, v_fma(v_load_n(a->l + r0, n), v_load(old), v_mul(v_load_n(a->lb + r0, n), v_load(new))));
        for (int64_t r = r0; r < r0 + n; r++) {
            if (a->valid[r] <= 0)
                continue;
            float *o = a->o + r * a->ldo;
            const float *ob = a->ob + r * a->ldo;
            vf fo = v_set(old[r - r0]), fn = v_set(new[r - r0]);
            /* + 0 turns a -0 that underflow left into +0: whether masked keys follow in the block must not show */
            for (int64_t i = 0; i < a->ldo; i += LANES)
                v_store(o + i, v_fma(v_load(o + i), fo, v_mul(v_add(v_load(ob + i), zero), fn)));
            a->l[r] = l[r - r0];
            a->m[r] = a->m[r] > a->mb[r] ? a->m[r] : a->mb[r];
        }
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
