/* Private to kernels/cuda: what attention's kernels share. C++. */
#ifndef HONE_KERNELS_CUDA_ATTN_H
#define HONE_KERNELS_CUDA_ATTN_H

#include "kernels/cuda/cuda.h"

DEV_BEGIN

/* Keys and values of block `block` (KERN_PAGE keys) of one kv head. */
struct attn_block {
    const float *k, *v;
    int64_t ldk, ldv;
};
DEVICE struct attn_block attn_block_at(const struct kern_kv &kv, int64_t seq, int64_t head, int64_t block, int64_t dk, int64_t dv)
{
    if (kv.pages) {
        int64_t page = kv.pages[seq * kv.max_pages + block], ldv = kv.ldv ? kv.ldv : dv;
        return {kv.k + page * kv.page_stride_k + head * KERN_PAGE * dk, kv.v + page * kv.page_stride_v + head * KERN_PAGE * ldv, dk, ldv};
    }
    int64_t row = kv.cu_k[seq] + block * KERN_PAGE;
    return {kv.k + row * kv.ldk + head * kv.head_stride_k, kv.v + row * kv.ldv + head * kv.head_stride_v, kv.ldk, kv.ldv};
}

/* Some tokens of one sequence times some query heads of one kv head. */
struct attn_tile {
    int32_t seq, kv_head, first_head, heads, first, tokens;
};

/* Tiles of every sequence, those with most keys first. tile NULL: only counts. */
static inline int64_t attn_cut(const struct kern_attn *a, int rows, struct attn_tile *tile)
{
    const int64_t group = a->hq / a->hkv, heads = kern_min(group, rows), step = rows / heads;
    int64_t n = 0;
    for (int64_t s = 0; s < a->n_seq; s++) {
        int64_t nq = a->cu_q[s + 1] - a->cu_q[s];
        assert(nq >= 0 && a->kv_len[s] >= nq);
        for (int64_t last = kern_parts(nq, step) - 1; last >= 0; last--)
            for (int64_t h = 0; h < a->hkv; h++)
                for (int64_t g = 0; g < group; g += heads, n++)
                    if (tile)
                        tile[n] = {(int32_t)s, (int32_t)h, (int32_t)g, (int32_t)kern_min(heads, group - g), (int32_t)(last * step), (int32_t)kern_min(step, nq - last * step)};
    }
    return n;
}

/* The host arrays of keys and values, on the device. */
static inline struct kern_kv attn_kv_there(struct kern *k, const struct kern_kv *kv, int64_t n_seq)
{
    struct kern_kv d = *kv;
    if (kv->pages)
        d.pages = dev_array(k, kv->pages, n_seq * kv->max_pages);
    else
        d.cu_k = dev_array(k, kv->cu_k, n_seq + 1);
    return d;
}

/* On tensor cores (attn_mma.cu, attn_mma_bwd.cu): heads of up to 128 numbers; larger ones stay in f32. */
static inline int dev_attn_fits(int64_t dk, int64_t dv) { return dk <= 128 && dv <= 128; }
void dev_attn_bf16(struct kern *k, const struct kern_attn *a);
void dev_attn_bwd_bf16(struct kern *k, const struct kern_attn_bwd *a);
/* Heads as bf16 [rows, heads, wide], zeros behind each head. */
const uint16_t *dev_heads_bf16(struct kern *k, enum dev_slot slot, const float *x, int64_t rows, int64_t heads, int64_t d, int64_t ld, int64_t head_stride, int64_t wide);

DEV_END

#endif
