/* Latent attention of one V3 layer while decoding: the absorbed form over its latent cache against the expanded one over keys and values of
 * every head, and how often a cached number is read per token. BENCH_CPU=1 HONE_THREADS=1: processor time of one thread. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "bench/bench.h"
#include "core/par.h"
#include "kernels/cpu/cpu.h"

enum { CONTEXT = 4096, BLOCKS = CONTEXT / KERN_PAGE, R = 512, ROPE = 64, NOPE = 128, V = 128 };

/* Every key that attention takes from the cache goes through here. */
static const struct kern_cpu *real;
static int64_t numbers_read;

static void counting_turn(float *dst, const float *src, int64_t ld, int64_t rows, int64_t cols, int stream)
{
    __atomic_add_fetch(&numbers_read, rows * cols, __ATOMIC_RELAXED);
    real->turn(dst, src, ld, rows, cols, stream);
}

/* One token of each of n_seq sequences, CONTEXT keys each. */
static struct kern_attn decode(struct kern *k, int64_t heads, int64_t n_seq, int absorbed, int bf16, int32_t *ints)
{
    const int64_t dk = absorbed ? R + ROPE : NOPE + ROPE, dv = absorbed ? R : V, hkv = absorbed ? 1 : heads, pages = n_seq * BLOCKS;
    int32_t *cu = ints, *len = cu + n_seq + 1, *page = len + n_seq;
    float *keys = need(k, pages * KERN_PAGE * hkv * (dk + (absorbed ? 0 : dv)) * (bf16 ? 2 : 4)), *q = need(k, n_seq * heads * dk * 4);
    for (int64_t s = 0; s < n_seq; s++)
        cu[s + 1] = (int32_t)s + 1, len[s] = CONTEXT;
    for (int64_t i = 0; i < pages; i++)
        page[i] = (int32_t)(i * 7 % pages); /* scattered */
    for (int64_t i = 0; i < n_seq * heads * dk; i++)
        q[i] = (float)((i * 7919) % 2003) / 1001 - 1;
    for (int64_t i = 0; i < pages * KERN_PAGE * hkv * (dk + (absorbed ? 0 : dv)) / (bf16 ? 2 : 1); i++)
        keys[i] = bf16 ? 0x1.0101p-2f : (float)((i * 104729) % 4001) / 2000 - 1;
    struct kern_attn a = {.o = need(k, n_seq * heads * dv * 4), .q = q, .cu_q = cu, .kv_len = len, .n_seq = n_seq, .hq = heads, .hkv = hkv, .dk = dk, .dv = dv, .ldq = heads * dk,
                          .ldo = heads * dv, .scale = 0.05f};
    a.kv = (struct kern_kv){.k = keys, .v = absorbed ? keys : keys + pages * KERN_PAGE * hkv * dk, .pages = page, .max_pages = BLOCKS, .page_stride_k = hkv * KERN_PAGE * dk,
                            .page_stride_v = absorbed ? KERN_PAGE * dk : hkv * KERN_PAGE * dv, .ldv = absorbed ? dk : 0, .bf16 = bf16};
    return a;
}

static double line(struct kern *k, int64_t heads, int64_t n_seq, int absorbed, int bf16, double base)
{
    int32_t *ints = malloc((size_t)(2 * n_seq + 1 + n_seq * BLOCKS) * sizeof *ints);
    struct kern_attn a = decode(k, heads, n_seq, absorbed, bf16, ints);
    double best = 1e30, flop = 2.0 * (double)(a.dk + a.dv) * (double)heads * CONTEXT;
    for (int i = 0; i < 4; i++) {
        double t = now();
        numbers_read = 0;
        kern_attn(k, &a);
        t = (now() - t) / (double)n_seq;
        best = t < best ? t : best;
    }
    double per_token = (double)(a.hkv * a.dk + (absorbed ? 0 : a.hkv * a.dv)) * (bf16 ? 2 : 4) * CONTEXT;
    printf("%4lld heads  %-8s %-4s  %3lld rows  cache %7.2f MB per token's step  keys read %.2f times  %8.2f ms per token  %6.1f GFLOP/s  %5.1f GB/s", (long long)heads,
           absorbed ? "absorbed" : "expanded", bf16 ? "bf16" : "f32", (long long)n_seq, per_token / 1e6, (double)numbers_read / (double)(n_seq * a.hkv * a.dk * CONTEXT), best * 1e3,
           flop / best / 1e9, per_token / best / 1e9);
    printf(base > 0 ? "  %.2f x\n" : "\n", base / best);
    kern_free(k, (void *)(uintptr_t)a.kv.k);
    kern_free(k, (void *)(uintptr_t)a.q);
    kern_free(k, a.o);
    free(ints);
    return best;
}

int main(void)
{
    struct kern *k;
    struct err e = {0};
    const char *threads = getenv("HONE_THREADS");
    which = getenv("BENCH_CPU") ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC;
    par_init(threads ? atoi(threads) : 0);
    if (kern_open(&(struct kern_opts){.backend = "cpu"}, &k, &e) != ERR_OK) {
        fprintf(stderr, "%s\n", e.msg);
        return 1;
    }
    real = k->cpu;
    struct kern_cpu counting = *real;
    counting.turn = counting_turn;
    k->cpu = &counting;
    printf("%s, %d threads; latent %d + %d, context %d; the last column is the speed against expanded\n", kern_name(k), par_threads(), R, ROPE, CONTEXT);
    for (int64_t heads = 4; heads <= 16; heads *= 4) {
        double base = line(k, heads, 4, 0, 0, 0);
        line(k, heads, 4, 1, 0, base);
        line(k, heads, 4, 1, 1, base);
    }
    line(k, 128, 4, 1, 0, 0); /* expanded keys and values of V3 would be 0.7 GB per sequence */
    line(k, 128, 4, 1, 1, 0);
    k->cpu = real;
    kern_close(k);
    return 0;
}
