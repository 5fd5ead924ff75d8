/* Kernels without a GPU: the same .cu files compiled as C++ for the host, a thread of a block being a fiber. For tests alone.
 *
 *   emu_launch("kernel", grid, threads, shared, body, ctx)   body runs once per thread and reads EMU's thread and block numbers
 *
 * What it checks that a device does not: every lane of a warp comes to the same collective (else it names both), no block waits for ever,
 * device memory is touched by kernels, kern_put, kern_get and kern_zero alone (anything else faults at once: it is unmapped in between),
 * nothing beyond an allocation's end, shared memory that a block did not write is NaN, asynchronous copies land no
 * sooner than at the wait for them. emu_order changes the order in which threads run: bits that depend on it are a missing barrier.
 * What it cannot show: how tensor cores round inside one instruction, and speed.
 */
#ifndef HONE_KERNELS_CUDA_EMU_H
#define HONE_KERNELS_CUDA_EMU_H

#include <stdint.h>

#include "core/cdecl.h"

CDECL_BEGIN

struct emu_place {
    int thread, x, y, z; /* in the block; the block in the grid */
    int grid_x, grid_y, grid_z;
};
extern struct emu_place kern_emu_at;

struct emu_grid {
    int64_t x, y, z;
};
typedef void emu_body(void *ctx);
void kern_emu_launch(const char *name, struct emu_grid grid, int threads, int64_t shared, emu_body *body, void *ctx);

/* This block's dynamic shared memory. */
void *kern_emu_shared(void);
void kern_emu_barrier(void);
/* All lanes of a warp come here with what they bring; the last one does the work for all. `what` names the collective. */
typedef void emu_collective(void *const lanes[32]);
void kern_emu_warp(const char *what, emu_collective *all, void *mine);

/* Copies of 16 bytes (or zeros) into shared memory, in groups, as cp.async has them. */
void kern_emu_copy(void *dst, const void *src, int bytes);
void kern_emu_copy_commit(void);
void kern_emu_copy_wait(int groups_left);

/* Which order threads take turns in: 0 ascending, 1 descending, others: shuffled by it. Of launches from now on. */
void kern_emu_order(uint64_t order);

/* Device memory: closed but for kernels, and between kern_emu_open and kern_emu_shut. NULL: none left. */
void *kern_emu_alloc(int64_t bytes);
void kern_emu_free(void *p);
void kern_emu_open_memory(void);
void kern_emu_shut_memory(void);

CDECL_END

#endif
