/* Private to kernels/cpu: what attention's forward and backward share. */
#ifndef HONE_KERNELS_CPU_ATTN_H
#define HONE_KERNELS_CPU_ATTN_H

#include "kernels/cpu/cpu.h"

/* Keys and values of one block of one kv head. */
struct kern_block {
    const float *k, *v;
    int64_t ldk, ldv;
};
struct kern_block kern_cpu_kv_block(const struct kern_kv *kv, int64_t seq, int64_t head, int64_t block, int64_t dk, int64_t dv);

/* src itself when its rows are whole vectors, else a copy in room with zeros after each row. */
const float *kern_cpu_padded(const float *src, int64_t ld, int64_t rows, int64_t cols, float *room, int64_t *ld_out);

#endif
