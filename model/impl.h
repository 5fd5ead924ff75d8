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
};

struct layer {
    struct linear qkv, o, gu, down;
    int norm1, norm2, q_norm, k_norm; /* parameters; -1 = none */
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

/* What one layer keeps from its forward for its backward. Without room for a backward, and with recompute, layers share the buffers. */
struct slot {
    float *x_in;               /* [T, hidden] */
    float *qkv;                /* [T, nq + 2 nkv]; q and k rotated in place, or raw when they are normed */
    float *o, *lse;            /* [T, nq], [T, heads] */
    float *x_mid;              /* [T, hidden] */
    float *gu;                 /* [T, 2 inter]; the backward turns it into its gradient */
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
    struct layer *layers;
    struct linear head;
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
    const int32_t *target;     /* of the last model_logp */
    float temperature;
    int64_t rows;              /* tokens of the last pass */
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
};
/* All weights from a source: masters and packs, or packs and vectors alone. ERR_DIVERGED names the first value that is not finite. */
err_code model_fill(struct model *m, const struct model_fill *f, struct err *e);

err_code model_rope_open(struct model *m, struct err *e);
void model_rope_upto(struct model *m, int64_t positions);
struct linear *model_linears(struct model *m, int64_t i); /* i-th of 4 * layers + 1; the last is the head */
int64_t model_n_linears(const struct model *m);

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

struct model_cache {
    struct model *m;
    int64_t n_pages, page_floats; /* of keys, and of values, of one layer's page */
    float *mem;                /* [layers][k or v][n_pages][page_floats] */
    float *staging;            /* host, one page */
};

#endif
