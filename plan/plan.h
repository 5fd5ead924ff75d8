/* What a training job needs on machines that are not here: memory per GPU, traffic, bubbles, time and cost. Arithmetic on the config alone.
 *
 *   struct plan_job j = {.model = &c, .cluster = *plan_cluster("h800"), .gpus = 2048, .pp = 16, .ep = 64, ...};
 *   TRY(plan_make(&j, scratch, &r, e));
 *
 * Layout: gpus = DP x PP, no tensor parallelism. EP divides DP: the experts of a layer lie on EP of the DP ranks, and there are DP / EP copies.
 * Ranks are numbered so that a node holds neighbours of the DP dimension. ZeRO-1: master weights and moments of the shared weights are cut over
 * DP, those of experts over their DP / EP copies. The stages' layers are contiguous; the embedding is on the first, head and MTP layers on the
 * last. DualPipe: rank r holds stages r and PP - 1 - r.
 *
 * Bytes of one parameter on a GPU
 *   weights      as the linears read them: fp32 4, bf16 2, fp8 1 + 4 / 128^2 (block scales); embedding, head, norms and router bf16
 *   gradients    4, whole        master  4, sharded (fp32: the weights are the master)        moments  2 x (4 or 2), sharded
 * Bytes of one token in one layer: plan_activation. All of these are what the formulas say, balanced experts assumed; fragments, buffers of the
 * collectives and the CUDA context are the `reserve`.
 *
 * Traffic of one GPU and step, in one direction
 *   all-to-all   tokens x expert layers x 2 (forward and its mirror) x (dispatch d x (1 + 4/128 | 2) + combine d x 2), times the copies:
 *                between nodes at most min(groups chosen, k, nodes) (without groups: min(k, nodes)), minus one when every node is chosen anyway;
 *                within a node at most min(k, EP)
 *   pipeline     tokens x d x 2 bytes, activations forward and gradients backward
 *   data         ZeRO-1: reduce-scatter of f32 gradients, all-gather of weights, each (D - 1) / D of the bytes; else all-reduce
 *
 * Time: model FLOPs of a token = 3 x forward at a mean context of half a sequence (causal), without recomputation and MTP layers;
 *   tokens/s = GPUs x MFU x bf16 peak / FLOPs. MFU is against the bf16 peak whatever the precision. hours_per_trillion instead of MFU gives a
 *   measured speed, and the MFU that it means. F : B : W of the bubbles follow from the FLOPs: B = 2F, W = the linears' share of F; F&B = F + B.
 *   src: DeepSeek-V3 technical report 3.2, 3.4, 3.5, tables 1 and 2; Rajbhandari et al. 2020 (ZeRO)
 * Errors: ERR_USAGE the layout cannot work (which numbers, and what would), ERR_LIMIT it does not fit (by how much, and what would).
 */
#ifndef HONE_PLAN_PLAN_H
#define HONE_PLAN_PLAN_H

#include <stdint.h>

#include "core/arena.h"
#include "core/err.h"
#include "model/model.h"
#include "parallel/parallel.h"

struct plan_cluster {
    const char *name, *title;
    int64_t gpus_per_node;
    double memory;               /* bytes of one GPU */
    double memory_rate;          /* bytes/s */
    double bf16, fp8;            /* FLOP/s, dense; fp8 0 = none */
    double intra, inter;         /* bytes/s of one GPU in one direction */
    double price;                /* of one GPU-hour */
};
const struct plan_cluster *plan_cluster(const char *name); /* NULL: no such preset */
const struct plan_cluster *plan_clusters(int *n);

enum plan_recompute { PLAN_RECOMPUTE_none, PLAN_RECOMPUTE_selective, PLAN_RECOMPUTE_full };
enum plan_precision { PLAN_fp32, PLAN_bf16, PLAN_fp8 };

#define PLAN_MFU 0.4

struct plan_job {
    const struct model_config *model;
    struct plan_cluster cluster;
    int64_t gpus, pp, ep;
    int zero, mtp, absorbed, uneven; /* uneven: stages may differ by one layer */
    enum pipe_kind schedule;
    enum plan_recompute recompute; /* selective: norms, MLA up-projections and SwiGLU outputs; full: all but a layer's input */
    enum plan_precision precision;
    int moment_bytes;            /* 4 or 2 */
    int64_t seq, batch, micro;   /* tokens of a sequence; sequences of a step, of a micro-batch */
    int64_t cache_seqs, cache_context; /* rollouts: sequences per pipeline and their tokens; 0 = none */
    double reserve;              /* bytes kept free */
    double mfu, hours_per_trillion; /* at most one of them; neither: PLAN_MFU */
    double tokens;               /* of the whole run */
    double price;
};

/* Parts of one GPU's memory: key, name. */
#define PLAN_PARTS(X)                                                                                                              \
    X(weights, "weights") X(gradients, "gradients, f32") X(master, "master weights, f32") X(moments, "moments")                     \
    X(activations, "activations") X(logits, "logits of a micro-batch") X(cache, "rollout cache") X(reserve, "reserve")
enum plan_part {
#define X(key, name) PLAN_##key,
    PLAN_PARTS(X)
#undef X
    PLAN_N_PARTS
};
struct plan_rank {
    int64_t rank;                /* of the pipeline */
    double params;               /* held here */
    double part[PLAN_N_PARTS], total;
};

struct plan_traffic {            /* bytes of one GPU and step, one direction, and seconds at the cluster's rate */
    double all_to_all_inter, all_to_all_intra, pipeline, data;
    double s_inter, s_intra, s_pipeline, s_data;
    int64_t node_copies, gpu_copies;
};

struct plan_bubble {             /* of one schedule, seconds; runs 0: it does not take this shape */
    int runs;
    double formula, simulated, share; /* share of the step that is bubble */
    int64_t activations;
};

struct plan_mla {                /* per form: [0] expanded, [1] absorbed; zeros without latent attention */
    double pair[2];              /* FLOP per query, key and head */
    double decode[2];            /* attention FLOP of one token at the end of a sequence, all layers */
    double train[2];             /* forward FLOP per token at the mean context, linears included */
    double cache[2];             /* bytes per token, all layers, bf16 */
};

struct plan_result {
    int64_t dp, micro_batches;
    struct plan_rank *ranks;     /* [pp] */
    int64_t worst;               /* the rank that holds most */
    struct plan_traffic traffic; /* the largest over ranks */
    struct plan_bubble bubble[PIPE_N_KINDS];
    double f, b, w;              /* seconds of a micro-batch on a stage */
    struct plan_mla mla;
    double flops, attention_flops; /* model FLOPs per token, of them attention */
    double mfu, tokens_per_s, step_s, days_per_trillion, hours_per_trillion, hours, days, cost;
};
/* r->ranks lives in mem. */
err_code plan_make(const struct plan_job *j, struct arena *mem, struct plan_result *r, struct err *e);

/* Bytes that one token leaves for the backward in one layer (expert layer or plain one). */
double plan_activation(const struct plan_job *j, int expert_layer, enum plan_recompute how);

#endif
