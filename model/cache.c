/* The paged cache's memory: [layers][pages][kv heads, KERN_PAGE, head_dim] of keys, behind them as many of values. */
#include <stdlib.h>

#include "model/impl.h"

static int64_t page_k(const struct model_config *c)
{
    return c->kv_heads * KERN_PAGE * c->head_dim;
}

static int64_t page_v(const struct model_config *c)
{
    return c->kv_heads * KERN_PAGE * (c->kv_lora ? c->d_v : c->head_dim);
}

int64_t model_cache_page_bytes(const struct model *m)
{
    return m->conf.layers * (page_k(&m->conf) + page_v(&m->conf)) * 4;
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
    c->page_k = page_k(&m->conf);
    c->page_v = page_v(&m->conf);
    c->staging = malloc((size_t)(c->page_k > c->page_v ? c->page_k : c->page_v) * 4);
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

static void copy_page(struct model_cache *c, float *plane, int64_t floats, int32_t dst, int32_t src)
{
    kern_get(c->m->k, c->staging, plane + src * floats, floats * 4);
    kern_put(c->m->k, plane + dst * floats, c->staging, floats * 4);
}

void model_cache_copy(struct model_cache *c, int32_t dst, int32_t src)
{
    assert(dst >= 0 && dst < c->n_pages && src >= 0 && src < c->n_pages);
    for (int64_t l = 0; l < c->m->conf.layers; l++) {
        float *keys = c->mem + l * c->n_pages * (c->page_k + c->page_v);
        copy_page(c, keys, c->page_k, dst, src);
        copy_page(c, keys + c->n_pages * c->page_k, c->page_v, dst, src);
    }
}
