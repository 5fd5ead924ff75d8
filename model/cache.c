/* The paged cache's memory: [layers][keys or values][pages][kv heads, KERN_PAGE, head_dim]. */
#include <stdlib.h>

#include "model/impl.h"

int64_t model_cache_page_bytes(const struct model *m)
{
    return m->conf.layers * 2 * m->conf.kv_heads * KERN_PAGE * m->conf.head_dim * 4;
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
    c->page_floats = m->conf.kv_heads * KERN_PAGE * m->conf.head_dim;
    c->staging = malloc((size_t)c->page_floats * 4);
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

void model_cache_copy(struct model_cache *c, int32_t dst, int32_t src)
{
    assert(dst >= 0 && dst < c->n_pages && src >= 0 && src < c->n_pages);
    for (int64_t i = 0; i < 2 * c->m->conf.layers; i++) {
        float *plane = c->mem + i * c->n_pages * c->page_floats;
        kern_get(c->m->k, c->staging, plane + src * c->page_floats, c->page_floats * 4);
        kern_put(c->m->k, plane + dst * c->page_floats, c->staging, c->page_floats * 4);
    }
}
