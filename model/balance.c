/* Load of the experts, their balance without a loss, and the record of who went where. */
#include "model/impl.h"

int64_t model_mixtures(const struct model *m)
{
    return m->n_mixtures;
}

static const struct mixture *mixture_at(const struct model *m, int64_t i, int64_t *layer)
{
    for (int64_t l = 0; l < m->conf.layers + m->conf.mtp; l++)
        if (m->layers[l].mix && m->layers[l].mix->at == i) {
            *layer = l;
            return m->layers[l].mix;
        }
    BUG("no mixture %lld", (long long)i);
}

int64_t model_mixture_layer(const struct model *m, int64_t i)
{
    int64_t layer;
    mixture_at(m, i, &layer);
    return layer;
}

int model_has_selection_bias(const struct model *m)
{
    return m->n_mixtures > 0 && m->conf.router_bias;
}

const int64_t *model_load(const struct model *m)
{
    return m->load;
}

void model_load_clear(struct model *m)
{
    memset(m->load, 0, (size_t)(m->n_mixtures * m->conf.experts) * sizeof *m->load);
}

void model_balance(struct model *m, float rate)
{
    const int64_t n = m->conf.experts;
    int64_t layer;
    for (int64_t i = 0; i < m->n_mixtures && m->conf.router_bias; i++) {
        const int64_t *load = m->load + i * n;
        float *bias = m->params[mixture_at(m, i, &layer)->bias].w;
        int64_t sum = 0;
        for (int64_t e = 0; e < n; e++)
            sum += load[e];
        for (int64_t e = 0; e < n; e++) {
            float b;
            kern_get(m->k, &b, bias + e, 4);
            b += rate * (float)((sum > n * load[e]) - (sum < n * load[e]));
            kern_put(m->k, bias + e, &b, 4);
        }
    }
}

int64_t model_route_width(const struct model *m)
{
    return m->n_routed * m->conf.top_k;
}

void model_routes(const struct model *m, const int32_t *rows, int64_t n_rows, uint16_t *out)
{
    const int64_t width = model_route_width(m);
    for (int64_t i = 0; width > 0 && i < n_rows; i++) { /* dense models have no table of routes */
        assert(rows[i] >= 0 && rows[i] < m->rows);
        memcpy(out + i * width, m->a.mix.routes + rows[i] * width, (size_t)width * sizeof *out);
    }
}
