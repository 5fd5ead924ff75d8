/* Private to model/: what a model is made of. */
#ifndef HONE_MODEL_IMPL_H
#define HONE_MODEL_IMPL_H

#include <jansson.h>
#include <math.h>

#include "model/model.h"

/* A linear as the passes see it: one matrix, whose rows may be several parameters one behind the other (q|k|v, gate|up). */
struct linear {
    struct kern_weight w;
    int64_t pack_at;           /* byte offset of w.pack in the packs */
    const float *bias;         /* [n] or NULL */
    int first, n_parts;        /* parameters that are its rows */
    int bias_first;            /* parameters that are its bias, one per part; -1 = none */
    struct kern_weight *uk, *uv; /* kv_b in the absorbed form: [heads], keys turned [kv_lora, dn] and values [dv, kv_lora], in place of w.pack */
    int high;                  /* never FP8, in no file either: router, head, eh_proj */
    int pow2_x, pow2_dy;       /* FP8: scales of its input, of its output's gradient are powers of two */
};

/* Experts in place of a layer's FFN. */
struct mixture {
    struct linear router;      /* always in f32 */
    struct linear *gu, *down;  /* [experts] */
    struct kern_weight *gu_w, *down_w; /* [experts] the same weights side by side, as the grouped products take them */
    struct linear shared_gu, shared_down;
    int bias;                  /* parameter of the choice; -1 = none */
    int64_t at;                /* which mixture of the model */
};

struct layer {
    struct linear qkv;         /* latent attention: q_a | kv_a, or q | kv_a */
    struct linear q_b, kv_b;   /* latent attention */
    struct linear o, gu, down;
    struct mixture *mix;       /* NULL: gu and down */
    int norm1, norm2, q_norm, k_norm; /* parameters; -1 = none. Latent attention: of the two latents */
};

/* What an MTP layer has beside its decoder layer. */
struct mtp {
    int enorm, hnorm, norm;    /* parameters; norm: before the head */
    struct linear eh;          /* [hidden, 2 hidden], embedding first */
};

/* Forward layouts of all linears; shared by a model and its frozen copies until the next refresh. */
struct packs {
    void *mem;
    int64_t bytes;
    int refs;
};

/* A small file of the source folder that model_save gives back. */
struct extra {
    char *name, *bytes;
    int64_t n;
};

/* Rows of an activation in 8 or 12 bits, between forward and backward (narrow.c). */
struct narrow {
    uint8_t *codes;
    float *scale;
};

/* What one layer keeps from its forward for its backward. Without room for a backward, and with recompute, layers share the buffers. */
struct slot {
    float *x_in;               /* [T, hidden] */
    float *qkv;                /* [T, rows of qkv]; q and k rotated in place, or raw when they are normed; latents raw */
    float *q, *kv;             /* latent attention: [T, heads (dn + dr)], rotated (in qkv when there is no q_b); expanded: [T, heads (dn + dv)] */
    float *lat_o;              /* absorbed: [T, heads kv_lora] what attention gives */
    float *o, *lse;            /* [T, rows of o's input], [T, heads] */
    float *x_mid;              /* [T, hidden] */
    float *gu;                 /* [T, 2 inter]; the backward turns it into its gradient */
    float *score, *weight;     /* mixture: [T, experts], [T, top_k] */
    int32_t *id;               /* [T, top_k] */
    float *expert_gu, *shared_gu; /* [T top_k, 2 expert_inter], [T, 2 shared expert_inter] */
    /* FP8: what is kept of o, lat_o, gu, expert_gu and shared_gu; those themselves and q, kv are then one layer's at a time */
    struct narrow o_kept, lat_o_kept, gu_kept, expert_gu_kept, shared_gu_kept;
};

/* Buffers of one layer at a time. */
struct latent_work {
    float *cq, *ckv, *k, *v;   /* normed latents; keys and values of all heads */
    float *dq, *dkv, *dk, *dv, *dcq, *dckv;
    /* absorbed: ckv, k, v, dkv are not there */
    float *lat, *qa;           /* [T, kv_lora + dr] normed latent and rotated key; [T, heads (kv_lora + dr)] queries that meet it */
    float *dqa, *dlat_o;       /* dk, dv: [T, kv_lora + dr], of dv the first kv_lora */
};
struct mixture_work {
    float *z, *x, *y, *act, *shared_act, *shared_y; /* [T, experts]; rows sorted by expert: input, output, inner; shared */
    float *dy, *dact, *dweight, *dz, *balance; /* balance: [T] loss of each token */
    int32_t *row_of, *slot_of, *token_of, *first; /* host: [T top_k] three times, [experts + 1] */
    int32_t *ids;              /* host */
    uint16_t *routes;          /* host [T, mixtures, top_k] of the last pass */
    float **dw;                /* host [experts] */
};

/* A module's rows of the last model_mtp or model_draft. */
struct mtp_rows {
    float *out, *fin;          /* [T, hidden] the layer's output, and behind the norm */
    float *logp, *lse;         /* [T] */
    int32_t *pos;              /* [T] */
    int32_t *tokens, *positions, *from, *target, *place, *cu, *kv_len; /* host: [T] five times, [seqs + 1], [seqs] */
    int64_t n, seqs;
};
struct mtp_work {
    float *h, *cat;            /* [T, hidden] states taken; [T, 2 hidden] */
    float *dh, *dcat, *dfin;   /* backward; dfin: what the main forward's states get */
    struct mtp_rows *module;   /* [mtp]; in the model's arena */
    int32_t *host;             /* the modules' host arrays */
    float *logp;               /* host [T] */
};

/* Buffers of the passes, all inside one allocation. */
struct acts {
    struct model_room room;
    void *mem;
    int64_t bytes;
    struct slot *slots;        /* [layers]; in the model's arena */
    float *x_last;             /* [T, hidden] input of the final norm */
    float *fin;                /* [T, hidden] behind it */
    float *xn, *qk, *act;      /* normed input; normed and rotated q|k; [T, inter] */
    float *logp, *lse, *entropy; /* [T] of the head */
    int32_t *pos;              /* [T] */
    float *gathered, *logits;  /* [R, hidden], [R, vocab] */
    float *row_logp, *row_lse; /* [R] */
    int64_t logit_rows;
    float *dx, *dxn, *dqkv, *dqk, *dout, *g, *ge; /* backward */
    struct latent_work lat;
    struct mixture_work mix;
    struct narrow round;       /* FP8: a linear's input on its way to the weight gradient */
    struct mtp_work mtp;
    int32_t *kv_len, *page, *at; /* host: [seqs], [T], [T] */
};

struct model {
    struct kern *k;
    struct model_config conf;
    struct model_opts opts;
    struct arena mem;          /* tables of this struct */
    struct model_param *params;
    int64_t n_params;
    int64_t *offset;           /* [n_params] in masters, floats; -1: not there */
    float *masters;            /* all parameters, or with train = 0 the vectors alone */
    int64_t master_floats;
    void *table16;             /* embedding table as bf16, when it is exactly that and masters are not kept */
    float *table;              /* or as f32 (inside masters when those are kept) */
    int embed, norm;           /* parameters */
    struct layer *layers;      /* [layers + mtp] */
    struct mtp *mtp;           /* [mtp] */
    int64_t n_mixtures, n_routed; /* routed: those below the head, not of MTP modules */
    int64_t *load;             /* [mixtures, experts] since the last clear */
    struct linear head;
    struct linear **linears;   /* all of them */
    int64_t n_linears;
    struct packs *packs, *spare; /* spare: for the first refresh after a freeze */
    float *rope;               /* [max_position, head_dim / 2, 2] */
    int64_t rope_filled;       /* positions */
    char digest[33];           /* taken while loading, when masters are not kept */
    json_t *source;            /* config.json as it was read, or NULL */
    struct extra *extras;
    int n_extras;
    struct acts a;
    struct model_batch batch;  /* of the last forward */
    int kept, has_entropy;
    int has_mtp;               /* model_mtp ran behind the last forward */
    const int32_t *target;     /* of the last model_logp */
    float temperature;
    int64_t rows;              /* tokens of the last pass */
    uint8_t *has_grad;         /* [n_params] during a backward with fresh gradients */
};

json_t *model_config_json(const struct model_config *c);

/* Parameter table, linears and their sizes; nothing is allocated on the backend yet. */
void model_layout(struct model *m);
err_code model_alloc(struct kern *k, const struct model_config *c, const struct model_opts *o, struct model **out, struct err *e);
void model_weights_free(struct model *m);
void model_acts_free(struct model *m);

/* Fills [first, first + n) of parameter p in f32; called from one thread per range. */
typedef void model_fill_fn(void *ctx, int64_t p, int64_t first, int64_t n, float *out);
struct model_fill {
    model_fill_fn *fill;
    void *ctx;
    const char *from;          /* for messages: the folder */
    int table_is_bf16;         /* every value of the embedding is a bf16 */
    /* FP8 files: a parameter's bytes and scales as they stand there (not aligned), 0 when it has none; NULL: no such files */
    int (*codes)(void *ctx, int64_t p, const uint8_t **codes, const void **scale);
};
/* All weights from a source: masters and packs, or packs and vectors alone. ERR_DIVERGED names the first value that is not finite. */
err_code model_fill(struct model *m, const struct model_fill *f, struct err *e);

/* FP8 bytes of weights (fp8.c). In: a linear's pack from a file's bytes, where the blocks of its parts are blocks of the whole; 0: it has
 * none, or they are not. Out: of one parameter, what its linear's pack holds, or else its master rounded; codes [rows, cols], scale
 * [rows / 128, cols / 128] rounded up. */
int model_pack_codes(struct model *m, const struct linear *lin, const struct model_fill *f);
int model_is_fp8_param(const struct model *m, int64_t p);
void model_param_codes(const struct model *m, int64_t p, uint8_t *codes, float *scale);

err_code model_rope_open(struct model *m, struct err *e);
void model_rope_upto(struct model *m, int64_t positions);
/* Memory of a parameter's f32 values for the forward: norms and biases. */
static inline const float *model_vec(const struct model *m, int p)
{
    return p < 0 ? NULL : m->params[p].w;
}

/* The layer's forward from slot->x_in; out: [T, hidden], may be x_in when nothing is kept. */
struct pass {
    const struct model_batch *b;
    const struct model_step *step; /* NULL without a cache */
    struct model_cache *cache;
    int keep;
};
/* out NULL: everything that the backward reads, but not the layer's output. */
void model_layer_forward(struct model *m, const struct pass *p, int64_t l, float *out);
void model_norm_forward(struct model *m, float *y, const float *x, int param, int64_t rows);
void model_rotate(struct model *m, float *x, int64_t ldx, int64_t rows, int inverse);
void model_qk_forward(struct model *m, const struct layer *y, struct slot *s, int64_t t, const float **qk, int64_t *ld);
float model_attn_scale(const struct model_config *c);
void model_linear(struct model *m, const struct linear *lin, float *y, const float *x, const float *residual, int64_t rows);
struct kern_kv model_kv_of(const struct model *m, const struct pass *p, int64_t l, const float *k, int64_t ldk, const float *v, int64_t ldv);
void model_write_cache(struct model *m, const struct pass *p, int64_t l, const float *k, int64_t ldk, const float *v, int64_t ldv);

/* What the backward of one pass needs everywhere. */
struct back {
    struct model *m;
    const struct model_batch *b;
    float *const *grads;
    int64_t t;
    float balance;             /* as in model_grad */
    double *balance_loss;
    int apart;                 /* an MTP module that gives nothing to the main model */
    uint8_t *has;              /* [n_params] whether its gradient holds something; NULL: all do */
};
/* Whether nothing was written into a parameter's gradient yet: who asks must write all of it. */
int model_first_grad(const struct back *w, int param);
/* A parameter's gradient, to be added to. */
float *model_grad_of(const struct back *w, int param);
void model_wgrad(const struct back *w, const struct linear *lin, const float *dy, const float *x, int64_t rows);
void model_dgrad(const struct back *w, const struct linear *lin, float *dx, const float *dy, int64_t rows, int accumulate);
void model_norm_back(const struct back *w, float *dx, const float *dy, const float *x, int param, int accumulate);

/* FP8 storage (narrow.c); nothing happens in other precisions. A gated pair [rows, 2 inner] is two rows of inner. */
int model_is_narrow(const struct model *m);
void model_keep(struct model *m, const struct narrow *to, const float *x, int64_t rows, int64_t c, enum kern_narrow format);
void model_take(struct model *m, float *x, const struct narrow *from, int64_t rows, int64_t c, enum kern_narrow format);
void model_round_input(struct model *m, const struct linear *lin, float *x, int64_t rows);

/* Latent attention (latent.c): slot->o from a->xn; a->dqkv from a->dout. */
void model_latent_forward(struct model *m, const struct pass *p, int64_t l, struct slot *s);
void model_latent_back(const struct back *w, const struct layer *y, struct slot *s);
/* Mixture (mixture.c): out = x_mid + experts(a->xn), out NULL as above; a->dxn from a->dx. */
void model_mixture_forward(struct model *m, const struct pass *p, int64_t l, struct slot *s, float *out);
void model_mixture_back(const struct back *w, const struct layer *y, struct slot *s);
/* Decoder layers, those of MTP modules too. */
static inline int64_t model_all_layers(const struct model *m)
{
    return m->conf.layers + m->conf.mtp;
}
/* forward.c, backward.c, mtp.c */
void model_check_batch(struct model *m, const struct model_batch *b);
void model_place_tokens(struct model *m, const struct model_cache *c, const struct model_step *s);
void model_some_logits(struct model *m, const float *states, int64_t n_states, const int32_t *rows, int64_t n_rows, float *out);
/* a->dx: gradient of a layer's output in, of its input out. */
void model_layer_back(const struct back *w, int64_t l);
/* The modules' backward; a->mtp.dfin gets what flows into the final norm's output. */
void model_mtp_back(struct model *m, const struct model_grad *g, uint8_t *has);
static inline int model_absorbed(const struct model *m)
{
    return m->conf.kv_lora && m->opts.mla == MODEL_ABSORBED;
}
/* Heads of the cache and the width of their keys and values; absorbed: values are the first kv_lora columns of the keys. */
struct model_kv_shape {
    int64_t heads, k, v;
};
struct model_kv_shape model_kv_shape(const struct model *m);
/* Absorbed form (absorbed.c). */
void model_absorbed_forward(struct model *m, const struct pass *p, int64_t l, struct slot *s);
void model_absorbed_back(const struct back *w, const struct layer *y, struct slot *s);
/* What the two forms share (latent.c). Columns of qkv: row length; where the latent of keys and values, and the shared rotary key begin. */
struct latent_cols {
    int64_t wide, kv, rope;
};
struct latent_cols model_latent_cols(const struct model_config *c);
void model_latent_norm(struct model *m, float *y, const float *x, int param, int64_t t, int64_t width, int64_t ldx, int64_t ldy);
void model_latent_norm_back(const struct back *w, float *dx, const float *dy, const float *x, int param, int64_t width);
/* Rotates the last d_rope of every head of q, and the shared key. */
void model_latent_rotate(struct model *m, float *q, int64_t ldq, float *rope, int64_t t, int inverse);
/* s->q, rotated, and the rotated shared key in s->qkv. */
void model_latent_queries(struct model *m, const struct layer *y, struct slot *s, int64_t t);
/* FP8, in the backward: s->q again, from the latents. The shared key was rotated in place and stays. */
void model_latent_queries_again(struct model *m, const struct layer *y, struct slot *s, int64_t t);
/* From dq (a->dqkv where there is no q_b) and the gradients of the key latent (dckv) and of the rotated key (in a->dqkv) to a->dqkv. */
void model_latent_queries_back(const struct back *w, const struct layer *y, struct slot *s, float *dq, const float *dckv);
/* Width of what attention gives to o. */
static inline int64_t model_o_width(const struct model_config *c)
{
    return c->heads * (c->kv_lora ? c->d_v : c->head_dim);
}

struct model_cache {
    struct model *m;
    int64_t n_pages, page_k, page_v; /* numbers of keys and of values of one layer's page */
    int bytes;                 /* of a number */
    char *mem;                 /* [layers][keys of n_pages, then values of n_pages] */
    char *staging;             /* host, one page of the wider */
};
/* A layer's pages. */
static inline float *model_cache_plane(const struct model_cache *c, int64_t l)
{
    return (float *)(void *)(c->mem + l * c->n_pages * (c->page_k + c->page_v) * c->bytes);
}

#endif
