/* The parameters of a model: names, shapes, and which of them are rows of one linear. Parameters that are rows of one linear lie
 * behind each other in memory, so that the forward reads them as one matrix while files and gradients keep the published names. */
#include <stdio.h>

#include "model/impl.h"

static int add_param(struct model *m, const char *name, int64_t rows, int64_t cols)
{
    struct model_param *p = &m->params[m->n_params];
    p->name = str_dup(&m->mem, str_of(name)).p;
    p->n = rows * cols;
    p->rows = rows;
    p->cols = cols;
    p->decay = cols > 1;
    return (int)m->n_params++;
}

static int layer_param(struct model *m, int64_t l, const char *name, int64_t rows, int64_t cols)
{
    char full[160];
    snprintf(full, sizeof full, "model.layers.%lld.%s", (long long)l, name);
    return add_param(m, full, rows, cols);
}

struct part {
    const char *name; /* "self_attn.q_proj" */
    int64_t rows;
};

/* n_parts matrices [rows, k], one behind the other, with their biases. */
static void add_linear(struct model *m, int64_t l, struct linear *lin, const struct part *parts, int n_parts, int64_t k, int bias)
{
    char name[100];
    *lin = (struct linear){.w = {.k = k, .prec = m->opts.prec}, .n_parts = n_parts, .bias_first = -1};
    for (int i = 0; i < n_parts; i++) {
        snprintf(name, sizeof name, "%s.weight", parts[i].name);
        int p = layer_param(m, l, name, parts[i].rows, k);
        lin->first = i ? lin->first : p;
        lin->w.n += parts[i].rows;
    }
    for (int i = 0; bias && i < n_parts; i++) {
        snprintf(name, sizeof name, "%s.bias", parts[i].name);
        int p = layer_param(m, l, name, parts[i].rows, 1);
        lin->bias_first = i ? lin->bias_first : p;
    }
    m->linears[m->n_linears++] = lin;
}

static void add_attention(struct model *m, int64_t l, struct layer *y)
{
    const struct model_config *c = &m->conf;
    int64_t q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;
    add_linear(m, l, &y->qkv, (const struct part[]){{"self_attn.q_proj", q}, {"self_attn.k_proj", kv}, {"self_attn.v_proj", kv}}, 3, c->hidden, c->qkv_bias);
    y->q_norm = c->qk_norm ? layer_param(m, l, "self_attn.q_norm.weight", c->head_dim, 1) : -1;
    y->k_norm = c->qk_norm ? layer_param(m, l, "self_attn.k_norm.weight", c->head_dim, 1) : -1;
    add_linear(m, l, &y->o, (const struct part[]){{"self_attn.o_proj", c->hidden}}, 1, q, c->o_bias);
}

static void add_latent(struct model *m, int64_t l, struct layer *y)
{
    const struct model_config *c = &m->conf;
    int64_t q = c->heads * c->head_dim;
    const struct part in[] = {{c->q_lora ? "self_attn.q_a_proj" : "self_attn.q_proj", c->q_lora ? c->q_lora : q}, {"self_attn.kv_a_proj_with_mqa", c->kv_lora + c->d_rope}};
    add_linear(m, l, &y->qkv, in, 2, c->hidden, 0);
    y->q_norm = -1;
    if (c->q_lora) {
        y->q_norm = layer_param(m, l, "self_attn.q_a_layernorm.weight", c->q_lora, 1);
        add_linear(m, l, &y->q_b, (const struct part[]){{"self_attn.q_b_proj", q}}, 1, c->q_lora, 0);
    }
    y->k_norm = layer_param(m, l, "self_attn.kv_a_layernorm.weight", c->kv_lora, 1);
    add_linear(m, l, &y->kv_b, (const struct part[]){{"self_attn.kv_b_proj", c->heads * (c->d_nope + c->d_v)}}, 1, c->kv_lora, 0);
    if (model_absorbed(m)) {
        y->kv_b.uk = ARENA_NEW(&m->mem, struct kern_weight, c->heads);
        y->kv_b.uv = ARENA_NEW(&m->mem, struct kern_weight, c->heads);
        for (int64_t h = 0; h < c->heads; h++) {
            enum kern_prec prec = m->opts.prec == KERN_FP8 ? KERN_BF16 : m->opts.prec; /* part of the attention core (N6) */
            y->kv_b.uk[h] = (struct kern_weight){.n = c->kv_lora, .k = c->d_nope, .prec = prec};
            y->kv_b.uv[h] = (struct kern_weight){.n = c->d_v, .k = c->kv_lora, .prec = prec};
        }
    }
    add_linear(m, l, &y->o, (const struct part[]){{"self_attn.o_proj", c->hidden}}, 1, c->heads * c->d_v, 0);
}

/* A gated FFN under a prefix: "mlp", "mlp.experts.7". */
static void add_ffn(struct model *m, int64_t l, const char *prefix, int64_t inter, int bias, struct linear *gu, struct linear *down)
{
    char name[3][80];
    static const char *const of[] = {"gate_proj", "up_proj", "down_proj"};
    for (int i = 0; i < 3; i++)
        snprintf(name[i], sizeof name[i], "%s.%s", prefix, of[i]);
    add_linear(m, l, gu, (const struct part[]){{name[0], inter}, {name[1], inter}}, 2, m->conf.hidden, bias);
    add_linear(m, l, down, (const struct part[]){{name[2], m->conf.hidden}}, 1, inter, bias);
}

static void add_mixture(struct model *m, int64_t l, struct layer *y)
{
    const struct model_config *c = &m->conf;
    struct mixture *x = y->mix = ARENA_NEW(&m->mem, struct mixture, 1);
    char prefix[40];
    add_linear(m, l, &x->router, (const struct part[]){{"mlp.gate", c->experts}}, 1, c->hidden, 0);
    x->router.w.prec = KERN_F32;
    x->router.high = 1;
    x->at = m->n_mixtures++;
    if (m->opts.freeze_router)
        m->params[x->router.first].decay = 0;
    x->bias = c->router_bias ? layer_param(m, l, "mlp.gate.e_score_correction_bias", c->experts, 1) : -1;
    x->gu = ARENA_NEW(&m->mem, struct linear, c->experts);
    x->down = ARENA_NEW(&m->mem, struct linear, c->experts);
    x->gu_w = ARENA_NEW(&m->mem, struct kern_weight, c->experts);
    x->down_w = ARENA_NEW(&m->mem, struct kern_weight, c->experts);
    for (int64_t e = 0; e < c->experts; e++) {
        snprintf(prefix, sizeof prefix, "mlp.experts.%lld", (long long)e);
        add_ffn(m, l, prefix, c->expert_inter, 0, &x->gu[e], &x->down[e]);
    }
    if (c->shared)
        add_ffn(m, l, "mlp.shared_experts", c->shared * c->expert_inter, 0, &x->shared_gu, &x->shared_down);
}

/* FP8 scales that are powers of two: the input of o, what is sent to experts, and the gradient that comes back to them. The first is kept
 * in another format, the others would travel between nodes: a second rounding under another scale then adds no error.
 * src: DeepSeek-V3 section 3.3.3 */
static void mark_pow2(struct layer *y, int64_t experts)
{
    y->o.pow2_x = 1;
    for (int64_t e = 0; y->mix && e < experts; e++)
        y->mix->gu[e].pow2_x = y->mix->down[e].pow2_dy = 1;
}

static void add_layer(struct model *m, int64_t l)
{
    const struct model_config *c = &m->conf;
    struct layer *y = &m->layers[l];
    y->norm1 = layer_param(m, l, "input_layernorm.weight", c->hidden, 1);
    (c->kv_lora ? add_latent : add_attention)(m, l, y);
    y->norm2 = layer_param(m, l, "post_attention_layernorm.weight", c->hidden, 1);
    if (c->experts && l >= c->first_dense)
        add_mixture(m, l, y);
    else
        add_ffn(m, l, "mlp", c->inter, c->mlp_bias, &y->gu, &y->down);
    mark_pow2(y, c->experts);
}

/* Head and eh_proj stay high (N6). */
static enum kern_prec head_prec(const struct model *m)
{
    return m->opts.prec == KERN_FP8 ? KERN_BF16 : m->opts.prec;
}

/* Where each parameter lies in the masters: a linear's parts without gaps, groups on 64 bytes. Without masters only vectors lie there. */
static void place(struct model *m)
{
    int64_t at = 0;
    for (int64_t p = 0; p < m->n_params; p++)
        m->offset[p] = -1;
    for (int64_t i = 0; i < m->n_linears; i++) {
        const struct linear *lin = m->linears[i];
        for (int bias = 0; bias < 2; bias++) {
            int first = bias ? lin->bias_first : lin->first;
            for (int j = 0; first >= 0 && (bias || m->opts.train) && j < lin->n_parts; j++) {
                m->offset[first + j] = at;
                at += m->params[first + j].n;
            }
            at = (at + 15) / 16 * 16;
        }
    }
    for (int64_t p = 0; p < m->n_params; p++)
        if (m->offset[p] < 0 && (m->opts.train || m->params[p].cols == 1)) {
            m->offset[p] = at;
            at += (m->params[p].n + 15) / 16 * 16;
        }
    m->master_floats = at;
}

/* Behind everything else: a model has the same parameters in the same places with and without them. */
static void add_mtp(struct model *m, int64_t k)
{
    const struct model_config *c = &m->conf;
    int64_t l = c->layers + k, first = m->n_params;
    struct mtp *p = &m->mtp[k];
    p->enorm = layer_param(m, l, "enorm.weight", c->hidden, 1);
    p->hnorm = layer_param(m, l, "hnorm.weight", c->hidden, 1);
    add_linear(m, l, &p->eh, (const struct part[]){{"eh_proj", c->hidden}}, 1, 2 * c->hidden, 0);
    p->eh.w.prec = head_prec(m);
    p->eh.high = 1;
    add_layer(m, l);
    p->norm = layer_param(m, l, "shared_head.norm.weight", c->hidden, 1);
    for (; first < m->n_params; first++)
        m->params[first].mtp = 1;
}

void model_layout(struct model *m)
{
    const struct model_config *c = &m->conf;
    int64_t most = 3 + model_all_layers(m) * (24 + 3 * (c->experts + 2));
    m->params = ARENA_NEW(&m->mem, struct model_param, most);
    m->offset = ARENA_NEW(&m->mem, int64_t, most);
    m->linears = ARENA_NEW(&m->mem, struct linear *, most);
    m->layers = ARENA_NEW(&m->mem, struct layer, model_all_layers(m));
    m->mtp = ARENA_NEW(&m->mem, struct mtp, c->mtp);
    m->embed = add_param(m, "model.embed_tokens.weight", c->vocab, c->hidden);
    for (int64_t l = 0; l < c->layers; l++)
        add_layer(m, l);
    m->n_routed = m->n_mixtures;
    m->norm = add_param(m, "model.norm.weight", c->hidden, 1);
    int head = c->tied ? m->embed : add_param(m, "lm_head.weight", c->vocab, c->hidden);
    m->head = (struct linear){.w = {.n = c->vocab, .k = c->hidden, .prec = head_prec(m)}, .first = head, .n_parts = 1, .bias_first = -1, .high = 1};
    m->linears[m->n_linears++] = &m->head;
    for (int64_t k = 0; k < c->mtp; k++)
        add_mtp(m, k);
    assert(m->n_params <= most);
    m->has_grad = ARENA_NEW(&m->mem, uint8_t, m->n_params);
    m->load = ARENA_NEW(&m->mem, int64_t, m->n_mixtures * c->experts + 1);
    place(m);
}
