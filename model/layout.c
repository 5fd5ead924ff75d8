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
}

static void add_layer(struct model *m, int64_t l)
{
    const struct model_config *c = &m->conf;
    struct layer *y = &m->layers[l];
    int64_t q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;
    y->norm1 = layer_param(m, l, "input_layernorm.weight", c->hidden, 1);
    add_linear(m, l, &y->qkv, (const struct part[]){{"self_attn.q_proj", q}, {"self_attn.k_proj", kv}, {"self_attn.v_proj", kv}}, 3, c->hidden, c->qkv_bias);
    y->q_norm = c->qk_norm ? layer_param(m, l, "self_attn.q_norm.weight", c->head_dim, 1) : -1;
    y->k_norm = c->qk_norm ? layer_param(m, l, "self_attn.k_norm.weight", c->head_dim, 1) : -1;
    add_linear(m, l, &y->o, (const struct part[]){{"self_attn.o_proj", c->hidden}}, 1, q, c->o_bias);
    y->norm2 = layer_param(m, l, "post_attention_layernorm.weight", c->hidden, 1);
    add_linear(m, l, &y->gu, (const struct part[]){{"mlp.gate_proj", c->inter}, {"mlp.up_proj", c->inter}}, 2, c->hidden, c->mlp_bias);
    add_linear(m, l, &y->down, (const struct part[]){{"mlp.down_proj", c->hidden}}, 1, c->inter, c->mlp_bias);
}

int64_t model_n_linears(const struct model *m)
{
    return 4 * m->conf.layers + 1;
}

struct linear *model_linears(struct model *m, int64_t i)
{
    if (i == 4 * m->conf.layers)
        return &m->head;
    struct layer *y = &m->layers[i / 4];
    struct linear *const of[] = {&y->qkv, &y->o, &y->gu, &y->down};
    return of[i % 4];
}

/* Where each parameter lies in the masters: a linear's parts without gaps, groups on 64 bytes. Without masters only vectors lie there. */
static void place(struct model *m)
{
    int64_t at = 0;
    for (int64_t p = 0; p < m->n_params; p++)
        m->offset[p] = -1;
    for (int64_t i = 0; i < model_n_linears(m); i++) {
        const struct linear *lin = model_linears(m, i);
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

void model_layout(struct model *m)
{
    const struct model_config *c = &m->conf;
    int64_t most = 3 + c->layers * 20;
    m->params = ARENA_NEW(&m->mem, struct model_param, most);
    m->offset = ARENA_NEW(&m->mem, int64_t, most);
    m->layers = ARENA_NEW(&m->mem, struct layer, c->layers);
    m->embed = add_param(m, "model.embed_tokens.weight", c->vocab, c->hidden);
    for (int64_t l = 0; l < c->layers; l++)
        add_layer(m, l);
    m->norm = add_param(m, "model.norm.weight", c->hidden, 1);
    int head = c->tied ? m->embed : add_param(m, "lm_head.weight", c->vocab, c->hidden);
    m->head = (struct linear){.w = {.n = c->vocab, .k = c->hidden, .prec = m->opts.prec}, .first = head, .n_parts = 1, .bias_first = -1};
    assert(m->n_params <= most);
    place(m);
}
