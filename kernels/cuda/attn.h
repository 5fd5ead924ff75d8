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

DEV_END

#endif
