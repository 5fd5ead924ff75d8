/* Architecture, parameters, Hugging Face folders, forward and backward, KV cache. Refuses to know optimisers and sampling.
 *
 *   struct model *m;
 *   TRY(model_open(k, "Qwen2.5-0.5B-Instruct", &(struct model_opts){.prec = KERN_BF16, .train = 1}, &m, e));
 *   TRY(model_reserve(m, &(struct model_room){.tokens = 4096, .seqs = 64, .train = 1}, e));
 *   model_forward(m, &batch);                                   activations stay for the backward
 *   model_logp(m, &(struct model_logp){.target = t, ...});
 *   model_backward(m, &(struct model_grad){.g = dlogp, .grads = grads});   (the two in one: model_loss)
 *   model_refresh(m);                                           after the optimiser changed the masters
 *
 * One forward (N2): rollout (model_step, paged cache), scoring and training (model_forward) run the same ops with the same bits.
 * Families: Llama 2/3.x, Qwen2/2.5, Qwen3, Qwen3-MoE, DeepSeek-V2 and V3 ("model_type": llama, qwen2, qwen3, qwen3_moe, deepseek_v2, deepseek_v3). Anything a config asks for that is not
 * supported is refused by name (ERR_UNSUPPORTED), never ignored.
 * Pointers called host are ordinary memory; parameters and activations are the backend's.
 * Errors: ERR_IO, ERR_DATA (file, tensor and reason), ERR_UNSUPPORTED, ERR_LIMIT (memory), ERR_DIVERGED (weights with NaN or Inf).
 */
#ifndef HONE_MODEL_MODEL_H
#define HONE_MODEL_MODEL_H

#include <stdint.h>

#include "core/arena.h"
#include "core/cdecl.h"
#include "core/err.h"
#include "core/str.h"
#include "kernels/kernels.h"
#include "model/safetensors.h"

CDECL_BEGIN

/* ---- configuration ------------------------------------------------------------------------ */

struct model_config {
    char type[32];              /* "llama", "qwen2", ... */
    char architecture[64];      /* "LlamaForCausalLM", ... */
    int64_t vocab, hidden, layers, heads, kv_heads, head_dim, inter, max_position;
    double rms_eps, init_range;
    int tied, qkv_bias, o_bias, mlp_bias, qk_norm;
    struct kern_rope_spec rope;
    /* latent attention (DeepSeek); kv_lora 0 = none. head_dim is then d_nope + d_rope, kv_heads = heads */
    int64_t q_lora, kv_lora, d_nope, d_rope, d_v; /* q_lora 0: queries from one matrix */
    int rope_interleaved;
    /* mixture of experts; experts 0 = none. Layers below first_dense are plain, with inter */
    int64_t experts, top_k, expert_inter, shared, groups, top_groups, first_dense; /* shared: experts every token goes to, as one */
    int router_softmax, router_normalise, router_bias;
    double router_scale;
    int64_t mtp;                /* multi-token-prediction layers behind the last */
    char quant[64];             /* "" = none, "fp8" = E4M3 in blocks of 128 x 128, else what quantization_config asks for, which model_open refuses */
    int32_t eos[8];             /* generation_config.json wins over config.json */
    int n_eos;
    int32_t bos, pad;           /* -1 = none */
};
/* config.json of a folder, or the file itself. */
err_code model_config_read(const char *path, struct model_config *c, struct err *e);
/* Counts from the config alone: parameters (tied ones once, MTP layers apart), of them embedding + head; active: those one token meets, without
 * the embedding table (a lookup) but with the head; mtp: what the MTP layers add, shared embedding and head not counted again; numbers
 * that the cache holds per token (latent attention: its latent form). */
struct model_size {
    int64_t params, embed, per_layer, active, mtp, kv_numbers;
};
struct model_size model_size(const struct model_config *c);
/* Of one layer, by part (planning): one routed expert alone; plain layers have inner > 0, the others router, shared and expert. */
struct model_layer_size {
    int64_t attention, norms, inner, router, shared, expert;
};
struct model_layer_size model_layer_size(const struct model_config *c, int64_t layer);
/* FLOPs of one token's forward at a context of n keys (2 per multiply-add). */
double model_flops(const struct model_config *c, double n);

/* ---- a model ------------------------------------------------------------------------------ */

struct model;

/* Latent attention computes the same numbers in two orders, which differ in bits: everything of a run that carries a log-prob uses one.
 *   expanded  keys and values of every head from the latent. Cache: heads (dn + dr + dv) numbers per token and layer; per query, key and
 *             head 2 (dn + dr + dv) FLOP (V3: 640), and 2 kv_lora heads (dn + dv) per token (V3: 33.6 M) once, when it enters the cache
 *   absorbed  queries through the key half of kv_b, outputs through its value half; all heads share one latent row. Cache: kv_lora + dr
 *             numbers (V3: 576, 1/71 of expanded), rounded to bf16 where the linears are; per query, key and head
 *             2 (2 kv_lora + dr) FLOP (V3: 2176, 3.4 x), and the same 2 kv_lora heads (dn + dv) per token
 * Expanded is cheaper to train, absorbed to decode: a step reads each latent row once for all heads. */
enum model_mla { MODEL_EXPANDED, MODEL_ABSORBED };

/* Context extension by YaRN in place of config.json's rope scaling; factor 0 = none. beta 32 and 1; models with latent attention get
 * mscale = mscale_all_dim = 1 (the factor goes into the softmax scale, at all lengths), others the factor 0.1 ln(factor) + 1 on cos and sin.
 * Saved with the model; the same extension of an extended model changes nothing.
 *   src: DeepSeek-V3 technical report 4.3 */
struct model_extend {
    double factor;
    int64_t original, positions; /* 0: what config.json says; factor x original */
};
/* Applies it to a configuration. ERR_USAGE: it gives fewer positions than the original. */
err_code model_extend(struct model_config *c, const struct model_extend *x, struct err *e);

struct model_opts {
    enum model_mla mla;         /* of models with latent attention */
    enum kern_prec prec;        /* of the linears; embedding lookup, norms, router and attention run in f32; FP8: the head in bf16 */
    int train;                  /* 1: f32 masters are kept; 0: only what the forward reads */
    int recompute;              /* 1: the backward computes a layer's activations again from its input */
    int freeze_router;          /* 1: the routers' weights take no gradient and do not decay; what lies below them still does */
    struct model_extend extend; /* model_open alone */
};
/* Loads a Hugging Face folder (config.json, model.safetensors or the sharded index; F32, BF16 or F16). Every tensor is checked against
 * the shape that the config gives, and for NaN and Inf. */
err_code model_open(struct kern *k, const char *dir, const struct model_opts *o, struct model **out, struct err *e);
/* Random weights: normal(0, init_range), residual outputs (o_proj, down_proj) scaled by 1 / sqrt(2 layers), norms 1, biases 0. A pure
 * function of (config, seed) (N4). */
err_code model_create(struct kern *k, const struct model_config *c, uint64_t seed, const struct model_opts *o, struct model **out, struct err *e);
void model_close(struct model *m);
const struct model_config *model_conf(const struct model *m);
struct kern *model_kern(const struct model *m);
/* "absorbed", "expanded", or "none": the model has no latent attention. */
const char *model_mla_name(const struct model *m);
/* Another model of the same shape over the same packed weights, taken over as they are now, to be kept while m trains: the frozen reference.
 * Costs a copy of norms, biases and embedding table (bf16 where that is exact) now, and one of the packed weights at the first
 * model_refresh of m: its address space is taken now, its memory then. Has no masters: train = 0. */
err_code model_freeze(struct model *m, struct model **out, struct err *e);

/* config.json and model.safetensors (sharded above shard_bytes, 0 = 5 GB) under HF names: F32; BF16 (rounded to nearest even; the selection bias stays
 * F32); or BF16 with the linears in FP8 as DeepSeek-V3's released files have them (E4M3, weight_scale_inv; not embedding, head, router, eh_proj):
 * the very bytes that a model of KERN_FP8 runs with. The source folder's other files
 * (tokenizer, templates, generation_config.json) are copied when the model came from one. */
enum model_dtype { MODEL_F32, MODEL_BF16, MODEL_FP8 };
err_code model_save(const struct model *m, const char *dir, enum model_dtype dtype, int64_t shard_bytes, struct err *e);
/* Files that model_save writes too (tokenizer, templates, generation_config.json, licence), read from a folder now. */
err_code model_take_files(struct model *m, const char *dir, struct err *e);

struct model_param {
    const char *name;           /* HF name */
    float *w;                   /* [n] master, row-major; NULL without masters (norms and biases are always there) */
    int64_t n, rows, cols;      /* cols 1 for vectors */
    int decay;                  /* matrices: weight decay applies */
    int mtp;                    /* of an MTP layer: no part of the main forward */
};
const struct model_param *model_params(const struct model *m, int64_t *n);
/* The masters changed: packs are renewed. */
void model_refresh(struct model *m);
/* XXH3 of all parameters (name, shape, values as f32) as 32 hex digits: the same for a folder in f32 and in bf16 of the same values. */
void model_digest(const struct model *m, char out[33]);

/* ---- passes ------------------------------------------------------------------------------- */

struct model_room {
    int64_t tokens, seqs;       /* most of one model_forward or model_step */
    int train;                  /* room for activations of a backward */
};
/* Plans and takes all memory of the passes; may be called again to grow. model_room_bytes: what it would take. */
err_code model_reserve(struct model *m, const struct model_room *r, struct err *e);
int64_t model_room_bytes(const struct model *m, const struct model_room *r);

struct model_batch {            /* host; ragged rows, one behind the other; rows do not see each other */
    int64_t n_tok, n_seq;
    const int32_t *tokens;      /* [n_tok] */
    const int32_t *positions;   /* [n_tok] from 0 in every row */
    const int32_t *cu_seqlens;  /* [n_seq + 1] */
};
/* Up to the final norm. keep 1: activations for model_backward stay. The batch's arrays must live until then. */
void model_forward(struct model *m, const struct model_batch *b, int keep);

/* Head over the last model_forward's rows. target[t] < 0: no log-prob for row t (0 is written). */
struct model_logp {
    const int32_t *target;      /* host [n_tok] */
    float temperature;          /* 1 = the model's own distribution */
    float *logp, *entropy;      /* host [n_tok]; entropy may be NULL */
};
void model_logp(struct model *m, const struct model_logp *a);
/* Logits of chosen rows of the last forward or step, host [n_rows, vocab]. */
void model_logits(struct model *m, const int32_t *rows, int64_t n_rows, float *out);

/* Multi-token prediction (DeepSeek-V3 section 2.2) over the last model_forward with keep. Module k = 1 .. conf.mtp at row i of a sequence takes the
 * state of module k - 1 (module 0: the final norm's output) and the token at i + k, and predicts the token behind it:
 *   z = eh_proj [enorm(emb(t_{i+k})) | hnorm(h^{k-1}_i)];   h^k = layer(z), at position i;   p_k = softmax(head(norm(h^k)))
 * The last k rows of a sequence have no module k: sequences do not see each other. The input of module k > 1 is h^{k-1} before its norm.
 * Names as published: model.layers.(num_hidden_layers + k - 1); embedding and head are the main ones. */
struct model_mtp {
    const int32_t *target;      /* host [n_tok], as in model_logp: target[t] is the token behind row t; module k at row i learns target[i + k] */
    float *logp;                /* host [conf.mtp, n_tok]: log p_k(target[t]) at its place t = i + k; 0 where there is none */
};
void model_mtp(struct model *m, const struct model_mtp *a);

struct model_grad {
    const float *g;             /* host [n_tok]: dL/dlogp of the last model_logp */
    const float *g_mtp;         /* host [conf.mtp, n_tok]: dL/dlogp of the last model_mtp; NULL: the MTP layers learn nothing */
    int mtp_apart;              /* 1: they alone learn from g_mtp, and the main model with its embedding and head does not */
    const float *ge;            /* host [n_tok]: dL/dentropy, or NULL */
    float *const *grads;        /* [n_params] each [n], added to */
    int fresh;                  /* 1: grads hold anything and are written, all of them, with the bits of grads that held zeros */
    float balance;              /* per token: sum over mixtures and tokens of balance loss[t] (kern_route_balance) joins the loss; 0 = off */
    double *balance_loss;       /* that sum, without the factor; written when balance is not 0; may be NULL */
};
void model_backward(struct model *m, const struct model_grad *a);

/* model_logp and model_backward in one, for a loss whose dL/dlogp is known before the log-probs are: the head's logits are computed once.
 * The same bits. g where target < 0 is not read. */
struct model_loss {
    const int32_t *target;      /* as in model_logp */
    float temperature;
    float *logp;
    const float *g;             /* as in model_grad */
    float *const *grads;
    int fresh;                  /* as in model_grad */
    float balance;
    double *balance_loss;
};
void model_loss(struct model *m, const struct model_loss *a);

/* ---- mixtures of experts ------------------------------------------------------------------ *
 * Host memory. A model without experts has no mixtures, and what follows does nothing. */
int64_t model_mixtures(const struct model *m);
int64_t model_mixture_layer(const struct model *m, int64_t i); /* layer of the i-th */
int model_has_selection_bias(const struct model *m);
/* Tokens that went to each expert, [model_mixtures][experts], over all forwards with keep since the last model_load_clear. */
const int64_t *model_load(const struct model *m);
void model_load_clear(struct model *m);
/* Auxiliary-loss-free balancing: bias_e += rate sign(mean load - load_e), of every mixture's selection bias. The loads are whole numbers, so
 * their sum over micro-batches (and ranks) has no order. Not for the optimiser: the bias takes no gradient. src: DeepSeek-V3 section 2.1.2 */
void model_balance(struct model *m, float rate);
/* Experts that rows of the last forward or step chose, MTP modules apart: out [n_rows, model_route_width], mixtures ascending, ids ascending in each. */
int64_t model_route_width(const struct model *m);
void model_routes(const struct model *m, const int32_t *rows, int64_t n_rows, uint16_t *out);

/* ---- cache -------------------------------------------------------------------------------- *
 * Pages of KERN_PAGE tokens; who owns which page is the caller's (rollout's) business. */
struct model_cache;
int64_t model_cache_page_bytes(const struct model *m); /* all layers, keys and values; with MTP layers one more for drafts */
err_code model_cache_open(struct model *m, int64_t n_pages, struct model_cache **out, struct err *e);
void model_cache_close(struct model_cache *c);
/* Copies one page's contents (a shared prefix that ends inside a page). */
void model_cache_copy(struct model_cache *c, int32_t dst, int32_t src);

/* New tokens of several sequences at once (prefill chunks and single decode tokens, mixed): writes their keys and values into the cache,
 * then attends over pages. Afterwards model_logits or model_step_logp read the rows. */
struct model_step {             /* host */
    struct model_batch b;       /* positions are absolute; cu_seqlens over the new tokens */
    const int32_t *kv_len;      /* [n_seq] keys after this step */
    const int32_t *pages;       /* [n_seq, max_pages] */
    int64_t max_pages;
};
void model_step(struct model *m, struct model_cache *c, const struct model_step *s);
/* lse at `temperature` and logp of target for rows of logits that model_logits gave (host): the bits of model_logp. */
void model_rows_logp(struct model *m, const float *logits, const int32_t *target, int64_t rows, float temperature, float *logp);

/* MTP as a draft for speculative decoding: module 1 over rows whose main state is known, through its own part of the cache. Nothing
 * that carries a log-prob depends on it. The model must have MTP layers. */
struct model_draft {            /* host */
    struct model_step s;        /* row r: position of the main row whose state it takes, and the token behind it */
    const int32_t *from;        /* [n_tok] row of the last model_step (again 1: of the last model_draft) with that state; -1 - i: row i of states */
    const float *states;        /* [.., hidden] as model_state gave them, or NULL */
    int again;                  /* 1: module 1 goes on from its own states: drafts further ahead */
};
void model_draft(struct model *m, struct model_cache *c, const struct model_draft *d);
/* Logits of chosen rows of the last model_draft: predictions of the token behind the row's. */
void model_draft_logits(struct model *m, const int32_t *rows, int64_t n_rows, float *out);
/* State of a row of the last model_step, host [hidden]. */
void model_state(struct model *m, int32_t row, float *out);

CDECL_END

#endif
