/* Iteration, as Python's iter() and next() see the values. */
#include "text/tmpl.h"

err_code tmpl_iter(struct tmpl_run *r, struct val v, struct it *it)
{
    *it = (struct it){.v = v};
    switch (v.tag) {
    case T_LIST: case T_TUPLE: it->kind = IT_SEQ; it->n = v.seq->n; return ERR_OK;
    case T_STR: {
        struct str s;
        FLAT(r, &it->v, s);
        it->kind = IT_STR;
        it->n = s.n;
        return ERR_OK;
    }
    case T_RANGE: it->kind = IT_RANGE; it->n = v.range->n; return ERR_OK;
    case T_DICT: it->kind = IT_KEYS; it->n = v.dict->n; return ERR_OK;
    case T_VIEW:
        it->kind = v.flags == VIEW_KEYS ? IT_KEYS : v.flags == VIEW_VALUES ? IT_VALUES : IT_ITEMS;
        it->n = v.dict->n;
        return ERR_OK;
    case T_ITER: it->kind = IT_ITER; return ERR_OK;
    case T_LOOP: it->kind = IT_LOOP; return ERR_OK;
    case T_UNDEF:
        if (v.flags == U_SECURITY)
            return tmpl_undef(r, v);
        it->kind = IT_EMPTY;
        return ERR_OK;
    default: return tmpl_fail(r, "TypeError", "'%s' object is not iterable", tmpl_type(v));
    }
}

static err_code next_char(struct tmpl_run *r, struct it *it, struct val *out)
{
    struct str s;
    int n = 1;
    it->v.flags &= (uint8_t)~VF_SAFE; /* the characters of a Markup are plain */
    FLAT(r, &it->v, s);
    if (it->back) {
        int64_t at = it->n - 1;
        while (at > 0 && ((unsigned char)s.p[at] & 0xC0) == 0x80)
            at--;
        int64_t end = it->n;
        it->n = at;
        return tmpl_cut(r, it->v, at, end, out);
    }
    tmpl_wtf8(s, it->i, &n);
    TRY(tmpl_cut(r, it->v, it->i, it->i + n, out));
    it->i += n;
    return ERR_OK;
}

err_code tmpl_next(struct tmpl_run *r, struct it *it, struct val *out, int *more)
{
    TRY(tmpl_step(r, 1));
    if (it->kind == IT_ITER) {
        struct iter *g = it->v.iter;
        if (g->done)
            return *more = 0, ERR_OK;
        TRY(tmpl_deeper(r));
        TRY(g->next(r, g, out, more));
        r->depth--;
        g->done = !*more;
        return ERR_OK;
    }
    if (it->kind == IT_LOOP) {
        struct loop *l = it->v.loop;
        TRY(tmpl_loop_peek(r, l));
        *more = l->next.tag != T_MISSING;
        if (*more) {
            l->prev = l->cur;
            l->cur = l->next;
            l->peeked = 0;
            l->index++;
            return tmpl_tuple2(r, l->cur, it->v, out);
        }
        return ERR_OK;
    }
    *more = it->i < it->n;
    if (!*more)
        return ERR_OK;
    if (it->kind == IT_STR)
        return next_char(r, it, out);
    int64_t i = it->back ? --it->n : it->i++;
    switch (it->kind) {
    case IT_SEQ: *out = it->v.seq->at[i]; break;
    case IT_RANGE: *out = v_int(it->v.range->start + i * it->v.range->step); break;
    case IT_KEYS: *out = it->v.dict->at[i].k; break;
    case IT_VALUES: *out = it->v.dict->at[i].v; break;
    case IT_ITEMS: return tmpl_tuple2(r, it->v.dict->at[i].k, it->v.dict->at[i].v, out);
    default: *more = 0; break;
    }
    return ERR_OK;
}

err_code tmpl_list(struct tmpl_run *r, struct val v, struct val *out)
{
    struct it it;
    struct val x, *at;
    int64_t cap = 8, n = 0;
    int more;
    if (v.tag == T_LIST)
        return *out = v, ERR_OK;
    if (v.tag == T_TUPLE) {
        *out = v;
        out->tag = T_LIST;
        out->flags = 0;
        return ERR_OK;
    }
    TRY(tmpl_iter(r, v, &it));
    if (it.kind != IT_ITER && it.kind != IT_LOOP)
        cap = it.n;
    MEM(r, at, cap + 1);
    for (;;) {
        TRY(tmpl_next(r, &it, &x, &more));
        if (!more)
            break;
        if (n == cap) {
            struct val *old = at;
            cap = cap * 2 + 1;
            MEM(r, at, cap);
            tmpl_copy(at, old, (size_t)n * sizeof *at);
        }
        at[n++] = x;
    }
    struct seq *s;
    MEM(r, s, 1);
    *s = (struct seq){.n = n, .at = at};
    *out = (struct val){.tag = T_LIST, .seq = s};
    return ERR_OK;
}

err_code tmpl_gen(struct tmpl_run *r, const char *name, err_code (*next)(struct tmpl_run *, struct iter *, struct val *, int *), struct val src,
                  struct val *out)
{
    struct iter *g;
    MEM(r, g, 1);
    *g = (struct iter){.next = next, .name = name};
    if (src.tag != T_MISSING)
        TRY(tmpl_iter(r, src, &g->src));
    *out = (struct val){.tag = T_ITER, .iter = g};
    return ERR_OK;
}
