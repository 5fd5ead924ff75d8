/* What kernels are written in: CUDA's words, or the emulator's (emu.h). Private to kernels/cuda; C++.
 *
 *   KERNEL(threads) name(args)      blocks are one-dimensional; THREAD, LANE, WARP_OF, BLOCK_X .. are its place
 *   SHARED(float, s)                the block's dynamic shared memory
 * Every operation on floats is the IEEE one: the compiler contracts nothing (-fmad=false), fused ones are written fmaf. */
#ifndef HONE_KERNELS_CUDA_DEVICE_H
#define HONE_KERNELS_CUDA_DEVICE_H

#include <stdint.h>

enum { WARP = 32 };

#if defined(KERN_EMU)

#include <math.h>
#include <string.h>

#include "kernels/cuda/emu.h"

#define KERNEL(threads) static void
#define DEVICE static inline
#define DEVICE_TEMPLATE static inline
#define HOST_DEVICE static inline
#define THREAD kern_emu_at.thread
#define BLOCK_X kern_emu_at.x
#define BLOCK_Y kern_emu_at.y
#define BLOCK_Z kern_emu_at.z
#define GRID_X kern_emu_at.grid_x
#define SHARED(type, name) type *name = (type *)kern_emu_shared()
#define UNROLL

DEVICE void block_sync() { kern_emu_barrier(); }
DEVICE void warp_sync() { kern_emu_warp("a barrier of the warp", NULL, NULL); }

struct emu_exchange {
    uint32_t mine, got;
    int from;
};
static void emu_exchange_all(void *const lanes[32])
{
    for (int l = 0; l < WARP; l++)
        ((emu_exchange *)lanes[l])->got = ((const emu_exchange *)lanes[((emu_exchange *)lanes[l])->from & 31])->mine;
}
template <class T> static T lane_from(T v, int lane)
{
    emu_exchange x = {0, 0, lane};
    static_assert(sizeof v == 4, "one word");
    memcpy(&x.mine, &v, 4);
    kern_emu_warp("a shuffle", emu_exchange_all, &x);
    memcpy(&v, &x.got, 4);
    return v;
}
template <class T> static T lane_xor(T v, int bits) { return lane_from(v, (THREAD % WARP) ^ bits); }

/* dst of shared, src of device memory, both aligned to 16; bytes 0: zeros */
DEVICE void copy16(void *dst, const void *src, int bytes) { kern_emu_copy(dst, src, bytes); }
DEVICE void copy_commit() { kern_emu_copy_commit(); }
template <int LEFT> static void copy_wait() { kern_emu_copy_wait(LEFT); }

DEVICE float from_bits(uint32_t u) { float f; memcpy(&f, &u, 4); return f; }
DEVICE uint32_t to_bits(float f) { uint32_t u; memcpy(&u, &f, 4); return u; }

/* mma.m16n8k16, A by rows, B by columns, as the PTX manual lays the fragments over the lanes. Sums in float64: a device rounds otherwise. */
struct emu_mma {
    float *c;
    const uint32_t *a, *b;
};
DEVICE float emu_half(uint32_t word, int high) { return from_bits(high ? word & 0xFFFF0000u : word << 16); }
static void emu_mma_all(void *const lanes[32])
{
    float a[16][16], b[16][8];
    for (int l = 0; l < WARP; l++) {
        const emu_mma *m = (const emu_mma *)lanes[l];
        int g = l / 4, t = l % 4;
        for (int i = 0; i < 4; i++)
            for (int h = 0; h < 2; h++)
                a[g + i % 2 * 8][2 * t + h + i / 2 * 8] = emu_half(m->a[i], h);
        for (int i = 0; i < 2; i++)
            for (int h = 0; h < 2; h++)
                b[2 * t + h + i * 8][g] = emu_half(m->b[i], h);
    }
    for (int l = 0; l < WARP; l++) {
        float *c = ((const emu_mma *)lanes[l])->c;
        for (int i = 0; i < 4; i++) {
            int row = l / 4 + i / 2 * 8, col = 2 * (l % 4) + i % 2;
            double s = (double)c[i];
            for (int k = 0; k < 16; k++)
                s += (double)a[row][k] * (double)b[k][col];
            c[i] = (float)s;
        }
    }
}
DEVICE void mma_bf16(float c[4], const uint32_t a[4], const uint32_t b[2])
{
    emu_mma m = {c, a, b};
    kern_emu_warp("mma", emu_mma_all, &m);
}

/* ldmatrix.x4: lane l brings the address of row l % 8 of matrix l / 8; register i of a lane is two elements of matrix i. */
struct emu_load {
    const void *row;
    uint32_t *r;
};
static void emu_load_all(void *const lanes[32])
{
    for (int l = 0; l < WARP; l++)
        for (int i = 0; i < 4; i++)
            memcpy(((emu_load *)lanes[l])->r + i, (const uint16_t *)((const emu_load *)lanes[8 * i + l / 4])->row + 2 * (l % 4), 4);
}
static void emu_load_turned_all(void *const lanes[32])
{
    for (int l = 0; l < WARP; l++)
        for (int i = 0; i < 4; i++)
            for (int h = 0; h < 2; h++)
                memcpy((char *)(((emu_load *)lanes[l])->r + i) + 2 * h, (const uint16_t *)((const emu_load *)lanes[8 * i + 2 * (l % 4) + h])->row + l / 4, 2);
}
DEVICE void load_matrix(uint32_t r[4], const void *row)
{
    emu_load x = {row, r};
    kern_emu_warp("ldmatrix", emu_load_all, &x);
}
DEVICE void load_matrix_turned(uint32_t r[4], const void *row)
{
    emu_load x = {row, r};
    kern_emu_warp("ldmatrix.trans", emu_load_turned_all, &x);
}

DEVICE float dev_exp2(float x) { return exp2f(x); }

#else

#define KERNEL(threads) static __global__ void __launch_bounds__(threads)
#define DEVICE static __device__ __forceinline__
#define DEVICE_TEMPLATE __device__ __forceinline__
#define HOST_DEVICE static __host__ __device__ __forceinline__
#define THREAD ((int)threadIdx.x)
#define BLOCK_X ((int)blockIdx.x)
#define BLOCK_Y ((int)blockIdx.y)
#define BLOCK_Z ((int)blockIdx.z)
#define GRID_X ((int)gridDim.x)
#define SHARED(type, name)                                  \
    extern __shared__ __align__(128) unsigned char shared_memory[]; \
    type *name = (type *)(void *)shared_memory
#define UNROLL _Pragma("unroll")

DEVICE void block_sync() { __syncthreads(); }
DEVICE void warp_sync() { __syncwarp(); }
template <class T> __device__ __forceinline__ T lane_from(T v, int lane) { return __shfl_sync(0xFFFFFFFFu, v, lane); }
template <class T> __device__ __forceinline__ T lane_xor(T v, int bits) { return __shfl_xor_sync(0xFFFFFFFFu, v, bits); }

DEVICE uint32_t shared_address(const void *p) { return (uint32_t)__cvta_generic_to_shared(p); }
DEVICE void copy16(void *dst, const void *src, int bytes)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(dst)), "l"(src), "r"(bytes) : "memory");
}
DEVICE void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int LEFT> __device__ __forceinline__ void copy_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory"); }

DEVICE float from_bits(uint32_t u) { return __uint_as_float(u); }
DEVICE uint32_t to_bits(float f) { return __float_as_uint(f); }

DEVICE void mma_bf16(float c[4], const uint32_t a[4], const uint32_t b[2])
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
/* 2^x as the special function unit has it: one value per x, 2 ulp */
DEVICE float dev_exp2(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
DEVICE void load_matrix(uint32_t r[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row)) : "memory");
}
DEVICE void load_matrix_turned(uint32_t r[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row)) : "memory");
}

#endif

#define LANE (THREAD % WARP)
#define WARP_OF (THREAD / WARP)

/* ---- numbers, with the bits of the host's (elementary.c, cpu/vec.h) ---------------------------- */

DEVICE float dev_max(float a, float b) { return a > b ? a : b; }
DEVICE float dev_min(float a, float b) { return a < b ? a : b; }
DEVICE bool dev_nan(float x) { return (to_bits(x) & 0x7FFFFFFF) > 0x7F800000; }
DEVICE float dev_inf() { return from_bits(0x7F800000); }

/* kern_expf */
DEVICE float dev_exp(float x)
{
    const float magic = 12582912.f;
    if (dev_nan(x))
        return x;
    x = -105.f > x ? -105.f : x;
    x = 89.f < x ? 89.f : x;
    float n = fmaf(x, 1.44269504088896341f, magic) - magic;
    float r = fmaf(n, 2.12194440e-4f, fmaf(n, -0.693359375f, x));
    float p = 1.9875691500e-4f;
    p = fmaf(p, r, 1.3981999507e-3f);
    p = fmaf(p, r, 8.3334519073e-3f);
    p = fmaf(p, r, 4.1665795894e-2f);
    p = fmaf(p, r, 1.6666665459e-1f);
    p = fmaf(p, r, 5.0000001201e-1f);
    p = fmaf(p, r * r, r) + 1.f;
    int32_t e = (int32_t)n, half = e >> 1;
    return p * from_bits((uint32_t)(half + 127) << 23) * from_bits((uint32_t)(e - half + 127) << 23);
}

/* kern_logf: num_log in float64, rounded once. */
DEVICE float dev_log(float x)
{
    if (!(x > 0))
        return x == 0 ? -dev_inf() : from_bits(0x7FC00000);
    if (x == dev_inf())
        return x;
    int e;
    double m = frexp((double)x, &e);
    if (m < 0.70710678118654752440)
        m *= 2, e--;
    double s = (m - 1) / (m + 1), z = s * s, sum = 0;
    for (int k = 23; k >= 1; k -= 2)
        sum = sum * z + 1.0 / k;
    return (float)(e * 6.93147180369123816490e-01 + (2 * s * sum + e * 1.90821492927058770002e-10));
}

/* Nearest even, denormals to zero, NaN quiet. */
DEVICE uint16_t dev_bf16(float x)
{
    uint32_t u = to_bits(x), mag = u & 0x7FFFFFFF;
    if (mag > 0x7F800000)
        u |= 0x00400000;
    else if (mag < 0x00800000)
        u &= 0x80000000;
    else
        u += 0x7FFF + (u >> 16 & 1);
    return (uint16_t)(u >> 16);
}

DEVICE uint32_t dev_bf16_pair(float low, float high) { return (uint32_t)dev_bf16(high) << 16 | dev_bf16(low); }

/* Fragments of m16n8k16 from tiles in shared memory whose lines are LD numbers apart. An operand that lies by rows has lines of k, a turned
 * one has lines of rows.
 * A: rows row .. row + 15, k .. k + 15. */
template <int LD, int TURNED> DEVICE_TEMPLATE void take_a(uint32_t r[4], const uint16_t *t, int row, int k)
{
    const int l = LANE;
    if (TURNED) /* matrices (k, rows), (k, rows + 8), (k + 8, rows), .. */
        load_matrix_turned(r, t + (k + l % 8 + l / 16 * 8) * LD + row + l / 8 % 2 * 8);
    else
        load_matrix(r, t + (row + l % 16) * LD + k + l / 16 * 8);
}

/* B: columns n .. n + 15: r[0], r[1] the first eight, r[2], r[3] the others. */
template <int LD, int TURNED> DEVICE_TEMPLATE void take_b(uint32_t r[4], const uint16_t *t, int n, int k)
{
    const int l = LANE;
    if (TURNED)
        load_matrix_turned(r, t + (k + l % 16) * LD + n + l / 16 * 8);
    else
        load_matrix(r, t + (n + l % 8 + l / 16 * 8) * LD + k + l / 8 % 2 * 8);
}

/* B: columns n .. n + 7, k .. k + 31: r[0], r[1] the first half of k, r[2], r[3] the second. */
template <int LD, int TURNED> DEVICE_TEMPLATE void take_b_long(uint32_t r[4], const uint16_t *t, int n, int k)
{
    const int l = LANE;
    if (TURNED)
        load_matrix_turned(r, t + (k + l) * LD + n);
    else
        load_matrix(r, t + (n + l % 8) * LD + k + l / 8 * 8);
}

/* A sum along a row: element i in lane i % 64 (cpu/rows_body.h). A thread of the warp holds lanes LANE and LANE + 32; all get the sum. */
DEVICE float row_sum(float low, float high)
{
    float a = low + lane_xor(low, 16), b = high + lane_xor(high, 16), s = a + b;
    for (int d = 8; d; d /= 2)
        s += lane_xor(s, d);
    return s;
}

DEVICE float row_max(float low, float high)
{
    float m = dev_max(low, high);
    for (int d = 16; d; d /= 2)
        m = dev_max(m, lane_xor(m, d));
    return m;
}

#endif
