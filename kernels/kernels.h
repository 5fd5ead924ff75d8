/* The list of ops, and the backends that compute them.
 *
 *   struct kern *k;
 *   TRY(kern_open(&(struct kern_opts){.backend = "cpu"}, &k, e));
 *   kern_linear(k, &(struct kern_linear){.y = y, .x = x, .w = &w, .m = 5});
 *   kern_close(k);
 *
 * One list (KERN_OPS) gives the args structs, the table of every backend and the functions kern_<op>(). Backends:
 *   ref    readable, float64 sums, one thread: what the others are tested against (not bit for bit)
 *   cpu    AVX-512-BF16, AVX-512, AVX2+FMA or portable C, chosen at run time; the same bits from all of them
 *   cuda   an NVIDIA GPU, of the ops and precisions that kern_has and kern_has_prec say; in f32 its forward has the bits of cpu. docs/cuda.md
 *
 * Conventions
 *   Shapes are row-major and written with the letters T/M rows (tokens), N outputs, K inputs, C width, D head size, H heads, V vocabulary.
 *   Tensor pointers are memory of the backend (kern_alloc); on ref and cpu that is ordinary memory, any 4-byte alignment. Scalars,
 *   structs, and the index arrays marked host are host memory, read before the op returns. Outputs may not overlap inputs unless the op says so. NULL optional inputs are skipped.
 *   Shapes are asserted (a wrong shape is our bug); values are the caller's world: NaN in gives NaN out.
 * det (N1): every output row of a forward op is a function of that row's inputs, the weights and its absolute position alone: never
 *   of M, of the neighbours, of threads or of the instruction set. Backward ops: same bits for the same arguments, whatever the threads
 *   and the instruction set; sums over tokens are one chain in ascending token order, started from what the gradient holds.
 * mem: ops take scratch from the context; it grows at the first call that needs more, so steps of a shape seen before allocate nothing.
 * Threads: one context per thread of control; an op splits its work over the pool of core/par.h.
 */
#ifndef HONE_KERNELS_KERNELS_H
#define HONE_KERNELS_KERNELS_H

#include <stdint.h>

#include "core/cdecl.h"
#include "core/err.h"

CDECL_BEGIN

struct kern;

#define KERN_OPS(X)                                                                                            \
    X(linear) X(linear_dgrad) X(linear_wgrad) X(rmsnorm) X(rmsnorm_bwd) X(rope) X(attn) X(attn_bwd) X(kv_write) \
    X(swiglu) X(swiglu_bwd) X(add) X(embed) X(embed_bwd) X(head) X(head_bwd) X(head_loss) X(logits) X(logp)                   \
    X(route) X(route_bwd) X(route_balance) X(moe_sum) X(moe_dot) X(moe_scale) X(mla_kv) X(mla_kv_bwd)       \
    X(heads) X(heads_dgrad) X(heads_wgrad) X(copy)                                         \
    X(group) X(group_dgrad) X(group_wgrad) X(quant) X(dequant)
#define X(op) KERN_OP_##op,
enum kern_op { KERN_OPS(X) KERN_OP_N };
#undef X

/* Precision of a linear (N6). BF16: x and w are rounded to bf16 (nearest even, denormals to zero, as vcvtneps2bf16 does), products are
 * exact, sums are f32 with denormals flushed to zero.
 * FP8 (DeepSeek-V3's recipe, report section 3.3): both operands E4M3 (max 448, nearest even, saturating; NaN stays), values x / s with
 * s = max(amax, 1e-4) / 448 in f32 (dy: max(amax, 1e-30): a mean over many tokens has small gradients), or the power of two not below
 * it (pow2). x, dy: groups of 128 along the reduction of one row; w: blocks of 128 x 128; wgrad: groups of 128 tokens of one channel, both operands. Each run of 128 terms is summed as bf16 is (E4M3 is exact in
 * bf16), then added as fma(sum, s_a s_b, total) over ascending runs. */
enum kern_prec { KERN_F32, KERN_BF16, KERN_FP8 };
enum kern_isa { KERN_BEST, KERN_PORTABLE, KERN_AVX2, KERN_AVX512, KERN_AVX512BF16 };

/* Keys of one attention block and of one cache page. Attention walks keys in blocks of this many from key 0. */
enum { KERN_PAGE = 64 };

struct kern_opts {
    const char *backend;   /* "auto", "ref", "cpu", "cuda" */
    enum kern_isa isa;     /* cpu: KERN_BEST, or a lower one for tests */
};
/* auto: cuda where this build has it and a device answers, else cpu. ERR_DEVICE: no such backend here (and why), or the instruction set
 * is missing. */
err_code kern_open(const struct kern_opts *o, struct kern **out, struct err *e);
void kern_close(struct kern *k);
const char *kern_name(const struct kern *k);  /* "cpu avx512bf16" */
int kern_has_isa(enum kern_isa isa);

/* What a backend computes (KERN_OPS below): cuda has the dense models' ops alone. Calling another one is a BUG that names it. */
int kern_has(const struct kern *k, enum kern_op op);
int kern_has_prec(const struct kern *k, enum kern_prec prec);
/* 1: kern_alloc gives ordinary memory. */
int kern_on_host(const struct kern *k);

/* Memory of the backend: zeroed, 64-byte aligned. ERR_LIMIT when there is not enough. Ops of a device run behind the caller's back, in
 * order; kern_get waits for them. */
err_code kern_alloc(struct kern *k, int64_t bytes, const char *what, void **out, struct err *e);
void kern_free(struct kern *k, void *p);
void kern_put(struct kern *k, void *dst, const void *host_src, int64_t bytes);
void kern_get(struct kern *k, void *host_dst, const void *src, int64_t bytes);
void kern_zero(struct kern *k, void *dst, int64_t bytes);

/* ---- weights ------------------------------------------------------------------------------ */

/* A matrix [n, k] as the linears read it. `w` is the f32 master (the trainer's), row-major; may be NULL when nothing is trained:
 * then only forward ops may use it. `pack` is the layout the backend's forward wants, renewed by kern_pack after every update. */
struct kern_weight {
    int64_t n, k;
    enum kern_prec prec;
    const float *w;
    void *pack;            /* kern_pack_bytes; owned by whoever allocated it */
};
int64_t kern_pack_bytes(const struct kern *k, int64_t rows, int64_t cols, enum kern_prec prec);
/* Fills w->pack from w->w. */
void kern_pack(struct kern *k, const struct kern_weight *w);
/* Same from rows [first, first + rows) of bf16 or f32 source data, for loading without a master. first: a multiple of 64 (FP8: 128). */
void kern_pack_rows(struct kern *k, const struct kern_weight *w, const void *src, int src_is_bf16, int64_t first, int64_t rows);

/* Fills w->pack from the transpose: src [k, n] row-major f32. f32 and bf16. */
void kern_pack_turned(struct kern *k, const struct kern_weight *w, const float *src);

/* FP8 weights as a checkpoint has them: codes [n, k] E4M3 and their multipliers scale [ceil(n/128), ceil(k/128)] (weight_scale_inv),
 * into a pack; out of a pack (bit for bit what went in, or what kern_pack made). Host memory. ref and cpu. */
void kern_pack_fp8(struct kern *k, const struct kern_weight *w, const uint8_t *codes, const float *scale);
void kern_unpack_fp8(struct kern *k, const struct kern_weight *w, uint8_t *codes, float *scale);

/* ---- ops ---------------------------------------------------------------------------------- */

/* y[m,n] = sum_k x[m,k] w[n,k] (+ bias[n]) (+ residual[m,n])
 * det  one fma chain over ascending k from +0 (bf16: pairs (2i, 2i+1), first fma of the odd, then of the even element, denormal inputs
 *      and results taken as zero: measured to be what vdpbf16ps does, NaN bits included, and computed alike on all paths);
 *      bias, then residual added to the finished sum
 * y may be residual. Row strides ldx, ldy in floats, 0 = dense. */
struct kern_linear {
    float *y;
    const float *x;
    const struct kern_weight *w;
    const float *bias, *residual;   /* [n] or NULL; [m,n] or NULL */
    int64_t m, ldx, ldy;
    int pow2;                       /* FP8: the scales of x are powers of two */
};
/* dx[m,k] (+)= sum_n dy[m,n] w[n,k]; reads the master w. BF16: both rounded; w from the pack when there is one. FP8: reads the pack, whose bytes are the forward's. accumulate 1: dx is added to.
 * det  one fma chain over ascending n, from dx or +0 */
struct kern_linear_dgrad {
    float *dx;
    const float *dy;
    const struct kern_weight *w;
    int64_t m, lddy, lddx;
    int accumulate, pow2;           /* pow2 as above, for dy */
};
/* dw[n,k] += sum_m dy[m,n] x[m,k];  dbias[n] += sum_m dy[m,n]. prec as w (dbias: f32). dbias may be NULL. fresh 1: dw holds anything and
 * is written, with the bits of a dw that held zeros.
 * det  one fma chain over ascending m, started from dw; dbias: adds over ascending m */
struct kern_linear_wgrad {
    float *dw, *dbias;
    const float *dy, *x;
    int64_t m, n, k, lddy, ldx;
    enum kern_prec prec;
    int pow2_dy, pow2_x;            /* FP8: the scales of dy, of x are powers of two */
    int fresh;
};

/* y[t,c] = x[t,c] rstd[t] w[c],  rstd = 1 / sqrt(mean_c x^2 + eps);  one rounding. Also per head: rows = T * H, c = D.
 * src: Zhang & Sennrich 2019. rstd may be NULL. Row strides in floats, 0 = dense: row r lies at (r / inner) * ldx + (r % inner) * c
 * (inner 0 = 1), so heads inside a wider row need no copy. y may be x. */
struct kern_rmsnorm {
    float *y, *rstd;
    const float *x, *w;
    int64_t rows, c, inner, ldx, ldy;
    float eps;
};
/* dx[t,c] (+)= rstd (w dy - x rstd^2 mean_c(w dy x));  dw[c] += sum_t dy x rstd. rstd is computed again from x. dw NULL: skipped. */
struct kern_rmsnorm_bwd {
    float *dx, *dw;
    const float *dy, *x, *w;
    int64_t rows, c, inner, ldx, lddy, lddx;
    float eps;
    int accumulate;
};

/* In place: rotates x[t, h, first .. first + d) by angle pos[t] * inv_freq[i], read from cos_sin[pos, i] = (cos, sin), i < d/2.
 * pairs: half (i, i + d/2) as Llama and Qwen, or interleaved (2i, 2i+1) as DeepSeek. inverse 1: rotates back (the backward).
 * Row t of x starts at x + t * ldx, head h at + h * head_stride. src: Su et al. 2021. */
struct kern_rope {
    float *x;
    const int32_t *pos;        /* [t] */
    const float *cos_sin;      /* [max_pos, d/2, 2] from kern_rope_table, in backend memory */
    int64_t t, h, d, first, ldx, head_stride;
    int interleaved, inverse;
};

/* Where attention finds keys and values. Either contiguous (pages NULL): sequence s has its keys at rows
 * cu_k[s] .. cu_k[s+1] of k and v, row strides ldk, ldv, kv head h at + h * head_stride_k/v; or paged: block b of sequence s is page
 * pages[s * max_pages + b], which lies at k + page * page_stride_k, kv head h at + h * KERN_PAGE * dk, key j at + j * dk (v likewise, with
 * row stride ldv when that is given: values that are the first columns of the keys).
 * The bits are the same. */
struct kern_kv {
    const float *k, *v;
    const int32_t *cu_k;       /* [n_seq + 1] contiguous form; host */
    int64_t ldk, ldv, head_stride_k, head_stride_v;
    const int32_t *pages;      /* [n_seq, max_pages] or NULL; host */
    int64_t max_pages, page_stride_k, page_stride_v;
    int bf16;                  /* paged form with k = v: pages hold bf16, strides count numbers; the bits are those of the same values in f32 */
};
/* Causal ragged attention with grouped heads (query head h reads kv head h / (hq / hkv)).
 *   Sequence s: queries are rows cu_q[s] .. cu_q[s+1]; it has kv_len[s] keys; its last query sees all of them, the one before one less.
 *   s_j = scale q . k_j;   o = sum_j softmax(s)_j v_j;   lse = log sum_j exp(s_j)  (natural log, may be NULL)
 * det  per query: blocks of KERN_PAGE keys from key 0, ascending, each block's maximum, sum and weighted values from scratch, merged by
 *      one formula; a masked key adds +0. No T x T buffer. All query heads of a kv head share one read of its keys (where threads would be
 *      idle they are split). dk may differ from dv (MLA: 192/128, absorbed 576/512). */
struct kern_attn {
    float *o, *lse;            /* [T, hq, dv] stride ldo;  [T, hq] */
    const float *q;            /* [T, hq, dk] stride ldq, heads adjacent */
    struct kern_kv kv;
    const int32_t *cu_q;       /* [n_seq + 1] host */
    const int32_t *kv_len;     /* [n_seq] host */
    int64_t n_seq, hq, hkv, dk, dv, ldq, ldo;
    float scale;
    enum kern_prec prec;       /* of the linears around it. cuda, KERN_BF16: q, k, v and the weights rounded to bf16, sums in f32; all else: f32 */
};
/* Contiguous form only, kv_len[s] == queries of s. Writes dq, dk, dv (whole; strides of q, k, v). delta = sum dv(do * o) inside.
 * det  dq: one chain over ascending keys; dk, dv: one chain over (query head of the group, query) ascending */
struct kern_attn_bwd {
    float *dq, *dk, *dv;
    const float *dout;         /* stride ldo */
    const float *o, *lse, *q;
    struct kern_kv kv;
    const int32_t *cu_q;       /* host */
    int64_t n_seq, hq, hkv, d_k, d_v, ldq, ldo;
    float scale;
    enum kern_prec prec;       /* as above */
};
/* Copies rows of new keys and values into their pages: row t goes to page page[t], slot slot[t]. */
struct kern_kv_write {
    float *k_pages, *v_pages;
    const float *k, *v;        /* [t, hkv, dk] stride ldk, heads adjacent; v likewise */
    const int32_t *page, *slot;/* [t] host */
    int64_t t, hkv, dk, dv, ldk, ldv, page_stride_k, page_stride_v;
    int bf16;                  /* pages hold bf16: k has such values already, its upper halves are kept. dv must be 0 */
};

/* y = silu(g) u = g / (1 + exp(-g)) u, rows of c; g and u may lie in one row [g | u] (ldg). src: Shazeer 2020. */
struct kern_swiglu {
    float *y;
    const float *g, *u;
    int64_t rows, c, ldg, ldy;
};
/* dg = dy u s (1 + g (1 - s)),  du = dy g s,  s = 1 / (1 + exp(-g)). dg/du with stride lddg; dg may be g, du may be u. */
struct kern_swiglu_bwd {
    float *dg, *du;
    const float *dy, *g, *u;
    int64_t rows, c, ldg, lddy, lddg;
};

/* y[i] = a[i] + b[i]; y may be a or b. */
struct kern_add {
    float *y;
    const float *a, *b;
    int64_t n;
};

/* y[t,:] = table[ids[t],:]. */
struct kern_embed {
    float *y;
    const float *table;        /* [v, c] f32, or bf16 when table_bf16 */
    const void *table_bf16;
    const int32_t *ids;        /* [t] host */
    int64_t t, c, v;
};
/* dtable[ids[t],:] += dy[t,:], in ascending t. */
struct kern_embed_bwd {
    float *dtable;
    const float *dy;
    const int32_t *ids;        /* host */
    int64_t t, c, v;
};

/* Output head fused with log-softmax; no [T, V] logits are kept: rows and vocabulary go in tiles.
 *   z = x w^T / temperature;  lse = log sum_v exp(z_v);  logp = z[target] - lse;  entropy = lse - sum_v softmax(z)_v z_v
 * Rows with target < 0 give logp 0 and entropy 0 and cost nothing.
 * det  vocabulary in fixed blocks of 1024 from 0, ascending; the same bits as kern_logits followed by kern_logp. */
struct kern_head {
    float *logp, *lse, *entropy; /* [t]; lse and entropy may be NULL */
    const float *x;              /* [t, k] */
    const struct kern_weight *w; /* [v, k] */
    const int32_t *target;       /* [t] host */
    int64_t t, ldx;
    float temperature;
};
/* With g[t] = dL/dlogp[t] and ge[t] = dL/dentropy[t] (NULL = 0), p = softmax(z):
 *   dz_v = g (1[v = target] - p_v) - ge p_v (z_v - sum_u p_u z_u)  with z_v - lse = log p_v;   dx = dz w / temperature;  dw += dz^T x / temperature
 * Logits are computed again tile by tile. Rows with target < 0 or g = ge = 0 give dx = 0 and add nothing to dw. Writes dx (row
 * stride ldx, as x). fresh 1: dw holds anything and is written. */
struct kern_head_bwd {
    float *dx, *dw;
    const float *x, *lse, *entropy, *g, *ge; /* entropy: as kern_head gave it, needed with ge */
    const struct kern_weight *w;
    const int32_t *target;       /* host */
    int64_t t, ldx;
    float temperature;
    int fresh;
};
/* kern_head, then kern_head_bwd, for a loss whose g = dL/dlogp is known beforehand: logits are kept until their dz instead of computed
 * twice, for as many rows at a time as fit 256 MiB. det: the bits of the two. */
struct kern_head_loss {
    float *logp, *dx, *dw;       /* [t]; dx, dw as above */
    const float *x, *g;
    const struct kern_weight *w;
    const int32_t *target;       /* host */
    int64_t t, ldx;
    float temperature;
    int fresh;                   /* as above */
};
/* logits[t, v] = x w^T (no temperature): for sampling, few rows. */
struct kern_logits {
    float *y;
    const float *x;
    const struct kern_weight *w;
    int64_t t, ldx;
};
/* From rows of logits: lse of logits/temperature, and logp of target[t] (NULL: lse only). Bits as kern_head. */
struct kern_logp {
    float *logp, *lse, *entropy; /* entropy may be NULL */
    const float *logits;         /* [t, v] */
    const int32_t *target;       /* host; may be NULL */
    int64_t t, v;
    float temperature;
};

/* ---- mixture of experts --------------------------------------------------------------------- *
 * Token t has K slots (t, j), j ascending by expert id. The rows that the experts work on are sorted by expert, then by token; row_of and
 * slot_of (host) lead from one to the other. */

/* Router. score = sigmoid(z) or softmax(z);  b = score + bias, for the choice only.
 *   groups > 1: the top_groups best groups stay, by the sum of their two best b (sigmoid) or by their best (softmax); others get -inf
 *   id = the top_k best b, ties to the lowest expert, then sorted ascending;  weight = score[id] (/ (sum + 1e-20)) * scale
 * src: DeepSeek-V3 section 2.1.2, DeepSeek-V2 section 2.2.3. det: as a row op; sums ascend over experts. NaN: any choice, NaN weights. */
struct kern_route {
    float *score, *weight;     /* [t, e]; [t, top_k] */
    int32_t *id;               /* [t, top_k] */
    const float *z, *bias;     /* [t, e]; [e] or NULL */
    int64_t t, e, top_k, groups, top_groups;
    int softmax, normalise;
    float scale;
};
/* dz from dweight: through the normalisation and the score function, not through the choice. Writes dz (zeros where nothing was chosen;
 * softmax reaches all). */
struct kern_route_bwd {
    float *dz;                 /* [t, e] */
    const float *dweight, *score;
    const int32_t *id;
    int64_t t, e, top_k;
    int softmax, normalise;
    float scale;
};
/* Sequence-wise balance loss, through the scores. Of a sequence of T tokens, with p_t = score_t / sum(score_t) (softmax: score_t):
 *   f_i = e / (top_k T) #{t : i among the top_k best score_t};   P_i = mean_t p_ti;   loss = sum_i f_i P_i   (1 when all are alike)
 * The choice here is that of the plain scores: without bias and groups, ties to the lowest expert. f takes no gradient.
 *   loss[t] = sum_i f_i p_ti, so that a sequence's is the mean of its tokens';   dz[t] += coef dloss[t]/dz[t]   (dz NULL: not wanted)
 * src: DeepSeek-V3 section 2.1.2, eq. 17-20. det: as a row op, given the sequence; sums ascend over experts. */
struct kern_route_balance {
    float *dz, *loss;          /* [t, e]; [t] */
    const float *score;
    const int32_t *cu;         /* [n_seq + 1] host */
    int64_t n_seq, e, top_k;
    int softmax;
    float coef;
};
/* y[t] = sum_j weight[t,j] x[row_of[t,j]] (+ a[t]) (+ b[t]), j ascending, product then sum, a and b last. weight NULL: 1. y may be b. */
struct kern_moe_sum {
    float *y;
    const float *x, *weight, *a, *b;
    const int32_t *row_of;     /* [t, top_k] host */
    int64_t t, c, top_k;
};
/* y[slot_of[r]] = sum_c p[r,c] q[r,c] in 16 lanes, lanes added pairwise. */
struct kern_moe_dot {
    float *y;
    const float *p, *q;
    const int32_t *slot_of;    /* [rows] host */
    int64_t rows, c;
};
/* x[r,:] *= weight[slot_of[r]]. */
struct kern_moe_scale {
    float *x;
    const float *weight;
    const int32_t *slot_of;    /* host */
    int64_t rows, c;
};

/* Rows sorted by expert: expert e owns rows first[e] .. first[e+1] of x and y (host, [n_experts + 1]); all weights have one shape.
 * Each expert is kern_linear (dgrad, wgrad) of its rows, bit for bit; FP8 groups of tokens start at the expert's first row. */
struct kern_group {
    float *y;
    const float *x;
    const struct kern_weight *w;    /* [n_experts], host */
    const int32_t *first;
    int64_t n_experts, ldx, ldy;
    int pow2;
};
struct kern_group_dgrad {
    float *dx;                      /* written */
    const float *dy;
    const struct kern_weight *w;
    const int32_t *first;
    int64_t n_experts, lddy, lddx;
    int pow2;
};
struct kern_group_wgrad {
    float *const *dw;               /* [n_experts] host array of [n,k], added to; an entry may be NULL */
    const float *dy, *x;
    const int32_t *first;
    int64_t n_experts, n, k, lddy, ldx;
    enum kern_prec prec;
    int pow2_dy, pow2_x;
};

/* ---- latent attention ----------------------------------------------------------------------- */

/* Keys and values of MLA's expanded form: k[t,h] = [kv[t,h,0..dn) | rope[t]],  v[t,h] = kv[t,h,dn..dn+dv). src: DeepSeek-V2 section 2.1 */
struct kern_mla_kv {
    float *k, *v;              /* [t, h, dn + dr]; [t, h, dv] */
    const float *kv, *rope;    /* [t, h, dn + dv]; [t, dr] stride ld_rope */
    int64_t t, h, dn, dr, dv, ld_rope;
};
/* dkv from dk and dv; drope[t] = sum_h dk[t,h,dn..], h ascending. Writes both. */
struct kern_mla_kv_bwd {
    float *dkv, *drope;
    const float *dk, *dv;
    int64_t t, h, d_n, d_r, d_v, ld_rope;
};

/* The absorbed form works on latents: one matrix of its own per head, before and after an attention of one kv head.
 *   y[t,h,n] = sum_k x[t,h,k] w[h][n,k]
 * Row t, head h of x lies at t * ldx + h * x_head, likewise y. The weights share shape and precision (f32, bf16).
 * det  as linear */
struct kern_heads {
    float *y;
    const float *x;
    const struct kern_weight *w; /* [h] host; reads the packs */
    int64_t t, h, ldx, ldy, x_head, y_head;
};
/* dx[t,h,k] = sum_n dy[t,h,n] w[h][n,k]; reads the masters. turned 1: a master is the transpose [k, n] (what kern_pack_turned read).
 * det  one fma chain over ascending n */
struct kern_heads_dgrad {
    float *dx;
    const float *dy;
    const struct kern_weight *w;
    int64_t t, h, lddy, lddx, dy_head, dx_head;
    int turned;
};
/* dw[h][n,k] += sum_t dy[t,h,n] x[t,h,k]; head h's gradient is at dw + h * dw_head. A turned weight: pass dy for x and x for dy.
 * det  one fma chain over ascending t, started from dw */
struct kern_heads_wgrad {
    float *dw;
    const float *dy, *x;
    int64_t t, h, n, k, lddy, ldx, dy_head, x_head, dw_head;
    enum kern_prec prec;
};

/* y[r] = x[r], or y[r] += x[r] (add), rows of c. Row r lies at (r / inner) * ld + (r % inner) * step (inner 0 = 1). bf16 1: the result is
 * rounded as a bf16 linear rounds its input. y may be x. */
struct kern_copy {
    float *y;
    const float *x;
    int64_t rows, c, inner, ldx, ldy, x_step, y_step;
    int add, bf16;
};

/* ---- narrow storage ------------------------------------------------------------------------- */

/* Rows of activations kept for the backward. E4M3: one byte each, scale as FP8 linears have it. E5M6: 12 bits (sign, 5, 6, bias 15, no
 * infinities; nearest even, saturating), scale a power of two with amax / s <= 65024; two values in three bytes, first in the low bits.
 * Groups of 128 along the row, the last may be short. */
enum kern_narrow { KERN_E4M3, KERN_E5M6 };
int64_t kern_narrow_bytes(int64_t c, enum kern_narrow format); /* of one row of codes */
struct kern_quant {
    uint8_t *codes;                 /* [rows, kern_narrow_bytes(c)] */
    float *scale;                   /* [rows, ceil(c / 128)] */
    const float *x;
    int64_t rows, c, ldx;
    enum kern_narrow format;
    int pow2;                       /* E5M6 always has it */
};
struct kern_dequant {
    float *x;
    const uint8_t *codes;
    const float *scale;
    int64_t rows, c, ldx;
    enum kern_narrow format;
};

#define X(op) void kern_##op(struct kern *k, const struct kern_##op *a);
KERN_OPS(X)
#undef X

/* ---- the optimiser on a device ---------------------------------------------------------------- *
 * Of backends whose memory is not the host's; elsewhere train/optim.h does the same, with the same bits. */
struct kern_adamw {
    float *w;
    const float *g;
    void *m, *v;                   /* f32, or bf16 rounded at random (bf16) */
    int64_t n;
    uint64_t first;                /* index of element 0 among all parameters; a multiple of 32 */
    float beta1, beta2, rest1, rest2, scale, keep, rate, root_fix2, eps; /* as struct optim_job has them */
    uint32_t key[4];
    int bf16;
};
void kern_adamw(struct kern *k, const struct kern_adamw *a);
/* sum x^2 in float64: blocks of 4096 in 8 lanes, lanes then blocks in index order. block_sum: host, [ceil(n / 4096)]. */
double kern_sum_squares(struct kern *k, const float *x, int64_t n, double *block_sum);

/* ---- elementary functions with the same bits everywhere (no libm) ------------------------- */

float kern_expf(float x);          /* relative error < 2 ulp; 0 below -104, inf above 88.8; NaN stays */
float kern_logf(float x);
float kern_e4m3_value(uint8_t code);
uint8_t kern_e4m3_code(float x);   /* nearest even, saturates at 448, NaN is 0x7F */

/* Rope scaling, as config.json's rope_scaling / rope_parameters has it. */
enum kern_rope_type { KERN_ROPE_DEFAULT, KERN_ROPE_LINEAR, KERN_ROPE_LLAMA3, KERN_ROPE_YARN };
struct kern_rope_spec {
    enum kern_rope_type type;
    int64_t d;                     /* rotated dimensions */
    double theta, factor;
    double low_freq_factor, high_freq_factor;                       /* llama3 */
    double beta_fast, beta_slow, mscale, mscale_all_dim, attention_factor; /* yarn; attention_factor 0 = by formula */
    int truncate;                  /* yarn: round the ramp's ends to integers (default 1) */
    int64_t original_max_position;
};
/* inv_freq[d/2] in float64 and the factor on cos and sin. src: transformers modeling_rope_utils.py; Peng et al. 2023 (yarn) */
void kern_rope_freqs(const struct kern_rope_spec *s, double *inv_freq, double *attention_factor);
/* host table [positions, d/2, 2] f32: float64 angles and own sin/cos, rounded once. */
void kern_rope_table(const struct kern_rope_spec *s, int64_t positions, float *table);

CDECL_END

#endif
