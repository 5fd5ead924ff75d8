/* A model's life, and the rotary table. */
#include "model/model.h"

#include <stdlib.h>

#include "model/impl.h"

/* What the backend lacks for such a model, or NULL. */
static const char *lacks(const struct kern *k, const struct model_config *c, const struct model_opts *o)
{
    if (!kern_has_prec(k, o->prec))
        return "linears in fp8";
    if (c->kv_lora && !(kern_has(k, KERN_OP_mla_kv) && kern_has(k, KERN_OP_heads)))
        return "latent attention";
    if (c->experts && !(kern_has(k, KERN_OP_route) && kern_has(k, KERN_OP_group)))
        return "mixtures of experts";
    return NULL;
}

err_code model_alloc(struct kern *k, const struct model_config *c, const struct model_opts *o, struct model **out, struct err *e)
{
    const char *lack = lacks(k, c, o);
    if (lack)
        return err_set(e, ERR_UNSUPPORTED, "%s computes no %s, which this %s asks for; hint: --device cpu (in a config: device=cpu)", kern_name(k), lack,
                       o->prec == KERN_FP8 && !kern_has_prec(k, o->prec) ? "precision" : c->type);
    struct model *m = calloc(1, sizeof *m);
    if (!m)
        return err_set(e, ERR_LIMIT, "memory is short");
    m->k = k;
    m->conf = *c;
    m->opts = *o;
    arena_init(&m->mem, "model", 1LL << 30);
    model_layout(m);
    *out = m;
    return ERR_OK;
}

/* m->mem holds the tables, so only what is outside is freed one by one. */
void model_close(struct model *m)
{
    if (!m)
        return;
    model_weights_free(m);
    model_acts_free(m);
    kern_free(m->k, m->rope);
    for (int i = 0; i < m->n_extras; i++) {
        free(m->extras[i].name);
        free(m->extras[i].bytes);
    }
    free(m->extras);
    json_decref(m->source);
    arena_release(&m->mem);
    free(m);
}

const struct model_config *model_conf(const struct model *m)
{
    return &m->conf;
}

struct kern *model_kern(const struct model *m)
{
    return m->k;
}

const char *model_mla_name(const struct model *m)
{
    return !m->conf.kv_lora ? "none" : model_absorbed(m) ? "absorbed" : "expanded";
}

const struct model_param *model_params(const struct model *m, int64_t *n)
{
    *n = m->n_params;
    return m->params;
}

/* ---- rotary table ------------------------------------------------------------------------- *
 * Memory for every position of the config is reserved at once; the values are computed up to the highest position seen so far,
 * doubled: a model of 131,072 positions must not cost half a second at start. */

enum { ROPE_FIRST = 2048 };

static void rope_fill(struct model *m, int64_t positions)
{
    int64_t bytes = positions * m->conf.rope.d * 4;
    float *host = malloc((size_t)bytes);
    assert(host);
    kern_rope_table(&m->conf.rope, positions, host);
    kern_put(m->k, m->rope, host, bytes);
    free(host);
    m->rope_filled = positions;
}

err_code model_rope_open(struct model *m, struct err *e)
{
    void *p;
    TRY(kern_alloc(m->k, m->conf.max_position * m->conf.rope.d * 4, "rotary table", &p, e));
    m->rope = p;
    rope_fill(m, m->conf.max_position < ROPE_FIRST ? m->conf.max_position : ROPE_FIRST);
    return ERR_OK;
}

void model_rope_upto(struct model *m, int64_t positions)
{
    int64_t to = m->rope_filled;
    if (positions <= to)
        return;
    if (positions > m->conf.max_position)
        BUG("position %lld of a model with max_position_embeddings %lld", (long long)positions - 1, (long long)m->conf.max_position);
    while (to < positions)
        to *= 2;
    rope_fill(m, to < m->conf.max_position ? to : m->conf.max_position);
}
