/* The paged cache's memory: [layers][pages][kv heads, KERN_PAGE, width] of keys, behind them as many of values; absorbed latent attention
 * has one head of kv_lora + dr and no values of their own, as bf16 where linears are narrow (the latent rows have such values then). */
#include <stdlib.h>

#include "model/impl.h"

struct model_kv_shape model_kv_shape(const struct model *m)
{
    const struct model_config *c = &m->conf;
    if (model_absorbed(m))
        return (struct model_kv_shape){1, c->kv_lora + c->d_rope, 0};
    return (struct model_kv_shape){c->kv_heads, c->head_dim, c->kv_lora ? c->d_v : c->head_dim};
}

/* Layers that have keys; the first MTP module's are the last. */
static int64_t planes(const struct model *m)
{
    return m->conf.layers + (m->conf.mtp > 0);
}

static int number_bytes(const struct model *m)
{
    return model_absorbed(m) && m->opts.prec != KERN_F32 ? 2 : 4;
}

int64_t model_cache_page_bytes(const struct model *m)
{
    struct model_kv_shape s = model_kv_shape(m);
    return planes(m) * s.heads * KERN_PAGE * (s.k + s.v) * number_bytes(m);
}

err_code model_cache_open(struct model *m, int64_t n_pages, struct model_cache **out, struct err *e)
{
    void *mem;
    struct model_cache *c = calloc(1, sizeof *c);
    assert(n_pages > 0);
    if (!c)
        return err_set(e, ERR_LIMIT, "memory is short");
    c->m = m;
    c->n_pages = n_pages;
    struct model_kv_shape s = model_kv_shape(m);
    c->page_k = s.heads * KERN_PAGE * s.k;
    c->page_v = s.heads * KERN_PAGE * s.v;
    c->bytes = number_bytes(m);
    c->staging = malloc((size_t)((c->page_k > c->page_v ? c->page_k : c->page_v) * c->bytes));
    if (!c->staging) {
        free(c);
        return err_set(e, ERR_LIMIT, "memory is short");
    }
    if (kern_alloc(m->k, n_pages * model_cache_page_bytes(m), "key-value cache", &mem, e) != ERR_OK) {
        free(c->staging);
        free(c);
        return e ? e->code : ERR_LIMIT;
    }
    c->mem = mem;
    *out = c;
    return ERR_OK;
}

void model_cache_close(struct model_cache *c)
{
    if (!c)
        return;
    kern_free(c->m->k, c->mem);
    free(c->staging);
    free(c);
}

static void copy_page(struct model_cache *c, char *plane, int64_t numbers, int32_t dst, int32_t src)
{
    int64_t n = numbers * c->bytes;
    kern_get(c->m->k, c->staging, plane + src * n, n);
    kern_put(c->m->k, plane + dst * n, c->staging, n);
}

void model_cache_copy(struct model_cache *c, int32_t dst, int32_t src)
{
    assert(dst >= 0 && dst < c->n_pages && src >= 0 && src < c->n_pages);
    for (int64_t l = 0; l < planes(c->m); l++) {
        char *keys = (char *)model_cache_plane(c, l);
        copy_page(c, keys, c->page_k, dst, src);
        if (c->page_v)
            copy_page(c, keys + c->n_pages * c->page_k * c->bytes, c->page_v, dst, src);
    }
}
