/* Strings: views, ropes, and building them. */
#include <string.h>

#include "text/tmpl.h"

static int is_ascii(const char *p, int64_t n)
{
    uint64_t any = 0, w;
    while (n >= 8) {
        tmpl_copy(&w, p, 8);
        any |= w;
        p += 8;
        n -= 8;
    }
    for (; n > 0; n--)
        any |= (uint64_t)(unsigned char)*p++;
    return !(any & 0x8080808080808080u);
}

struct val tmpl_view(const char *p, int64_t n)
{
    return (struct val){.tag = T_STR, .flags = is_ascii(p, n) ? VF_ASCII : 0, .n = (uint32_t)n, .s = p};
}

uint32_t tmpl_wtf8(struct str s, int64_t at, int *n)
{
    uint32_t cp;
    if ((*n = utf8_decode(s, at, &cp)) != 0)
        return cp;
    const unsigned char *p = (const unsigned char *)s.p + at;
    if (s.n - at >= 3 && p[0] == 0xED && p[1] >= 0xA0 && p[1] <= 0xBF && (p[2] & 0xC0) == 0x80)
        return *n = 3, 0xD000u | (p[1] & 0x3Fu) << 6 | (p[2] & 0x3Fu);
    return *n = 1, 0xFFFD;
}

int64_t tmpl_len_cp(struct str s, int ascii)
{
    if (ascii)
        return s.n;
    int64_t n = 0;
    for (int64_t i = 0; i < s.n; i++)
        n += ((unsigned char)s.p[i] & 0xC0) != 0x80;
    return n;
}

int64_t tmpl_cp_to_byte(struct str s, int64_t cp)
{
    int64_t i = 0;
    while (i < s.n && cp > 0) {
        i++;
        while (i < s.n && ((unsigned char)s.p[i] & 0xC0) == 0x80)
            i++;
        cp--;
    }
    return i;
}

struct str tmpl_cstr(struct tmpl_run *r, struct str s)
{
    char *p = tmpl_mem(r, s.n + 1);
    if (!p)
        return (struct str){"", 0};
    tmpl_copy(p, s.p, (size_t)s.n);
    p[s.n] = 0;
    return (struct str){p, s.n};
}

struct str tmpl_flat(struct tmpl_run *r, struct val *v)
{
    if (!(v->flags & VF_ROPE))
        return (struct str){v->s ? v->s : "", v->n};
    struct rope *o = v->rope;
    if (!o->flat) {
        char *p = tmpl_mem(r, (int64_t)v->n + 1);
        if (!p)
            return (struct str){NULL, 0};
        for (uint32_t i = 0; i < o->np; i++)
            tmpl_copy(p + o->b->at[i].at, o->b->at[i].p, o->b->at[i].n);
        p[v->n] = 0;
        o->flat = p;
    }
    return (struct str){o->flat, v->n};
}

static int in_row(const struct tmpl_run *r, const char *p)
{
    return p >= r->row_lo && p < r->row_hi;
}

const char *tmpl_origin(struct tmpl_run *r, struct val v)
{
    if (v.tag == T_STR && (v.flags & VF_ROPE)) {
        for (uint32_t i = 0; i < v.rope->np; i++) {
            const struct piece *p = &v.rope->b->at[i];
            if (p->org || in_row(r, p->p))
                return p->org ? p->org : p->p;
        }
        return NULL;
    }
    const char *p = v.tag == T_STR ? v.s : v.tag == T_LIST || v.tag == T_TUPLE || v.tag == T_DICT ? v.p : NULL;
    return p && in_row(r, p) ? p : NULL;
}

/* ---- building ------------------------------------------------------------------------------ */

void tmpl_b_init(struct build *b, struct tmpl_run *r)
{
    *b = (struct build){.r = r, .ascii = 1};
}

static struct pieces *grow(struct tmpl_run *r, struct pieces *old, uint32_t np)
{
    uint32_t cap = np ? np * 2 : 6;
    struct pieces *p = tmpl_mem(r, (int64_t)sizeof *p + (int64_t)cap * (int64_t)sizeof p->at[0]);
    if (!p)
        return NULL;
    p->cap = cap;
    p->used = np;
    if (np)
        tmpl_copy(p->at, old->at, np * sizeof p->at[0]);
    return p;
}

void tmpl_b_view(struct build *b, const char *p, int64_t n, const char *org, int32_t turn, uint32_t gen)
{
    if (n <= 0 || b->failed)
        return;
    if (b->n + n > UINT32_MAX / 2) {
        b->failed = 1;
        return;
    }
    struct piece *last = b->np ? &b->b->at[b->np - 1] : NULL;
    if (last && last->p + last->n == p && last->org == org && last->turn == turn && last->gen == gen) {
        last->n += (uint32_t)n;
        b->n += n;
        return;
    }
    if (!b->b || b->b->cap == b->np) {
        struct pieces *g = grow(b->r, b->b, b->np);
        if (!g) {
            b->failed = 1;
            return;
        }
        b->b = g;
    }
    b->b->at[b->np++] = (struct piece){.p = p, .org = org, .at = (uint32_t)b->n, .n = (uint32_t)n, .turn = turn, .gen = gen};
    b->b->used = b->np;
    b->n += n;
}

void tmpl_b_bytes(struct build *b, const char *p, int64_t n)
{
    if (n <= 0 || b->failed)
        return;
    if (b->chunk_end - b->chunk < n) {
        int64_t want = b->n < 120 ? 120 : b->n < 65536 ? b->n : 65536;
        want = want < n ? n : want;
        b->chunk = tmpl_mem(b->r, want);
        if (!b->chunk) {
            b->chunk_end = NULL;
            b->failed = 1;
            return;
        }
        b->chunk_end = b->chunk + want;
    }
    tmpl_copy(b->chunk, p, (size_t)n);
    b->ascii &= is_ascii(p, n);
    char *at = b->chunk;
    b->chunk += n;
    tmpl_b_view(b, at, n, b->org, -1, 0);
}

void tmpl_b_adds(struct build *b, const char *s)
{
    tmpl_b_bytes(b, s, (int64_t)strlen(s));
}

void tmpl_b_cp(struct build *b, uint32_t cp)
{
    char buf[4];
    b->r->surrogates |= cp >= 0xD800 && cp < 0xE000;
    tmpl_b_bytes(b, buf, utf8_encode(cp, buf));
}

void tmpl_b_val(struct build *b, struct val v)
{
    b->ascii &= (v.flags & VF_ASCII) != 0;
    if (!(v.flags & VF_ROPE)) {
        tmpl_b_view(b, v.s, v.n, NULL, -1, 0);
        return;
    }
    for (uint32_t i = 0; i < v.rope->np; i++) {
        const struct piece *p = &v.rope->b->at[i];
        tmpl_b_view(b, p->p, p->n, p->org, p->turn, p->gen);
    }
}

void tmpl_b_from(struct build *b, struct val from)
{
    b->org = b->r->track ? tmpl_origin(b->r, from) : NULL;
}

err_code tmpl_b_end(struct build *b, struct val *out)
{
    struct tmpl_run *r = b->r;
    if (b->failed)
        return tmpl_full(r);
    *out = (struct val){.tag = T_STR, .flags = b->ascii || !b->n ? VF_ASCII : 0, .n = (uint32_t)b->n, .s = ""};
    if (b->np == 0)
        return ERR_OK;
    const struct piece *p = &b->b->at[0];
    if (b->np == 1 && !p->org && p->turn < 0 && !p->gen) {
        out->s = p->p;
        return ERR_OK;
    }
    struct rope *o;
    MEM(r, o, 1);
    *o = (struct rope){.b = b->b, .np = b->np};
    out->rope = o;
    out->flags |= VF_ROPE;
    return ERR_OK;
}

err_code tmpl_cat(struct tmpl_run *r, struct val a, struct val b, struct val *out)
{
    uint8_t safe = (a.flags | b.flags) & VF_SAFE;
    if (a.n == 0 || b.n == 0) {
        *out = a.n == 0 ? b : a;
        out->flags = (uint8_t)((out->flags & ~VF_SAFE) | safe);
        return ERR_OK;
    }
    struct build x;
    tmpl_b_init(&x, r);
    if ((a.flags & VF_ROPE) && a.rope->b->used == a.rope->np) {
        /* a owns the tail of its pieces: go on behind it, so that s = s + t in a loop stays linear.
         * The last piece belongs to a too and must not grow. */
        x.b = a.rope->b;
        x.np = a.rope->np;
        x.n = a.n;
        x.ascii = a.flags & VF_ASCII;
        if (x.b->cap == x.np && !(x.b = grow(r, x.b, x.np)))
            return tmpl_full(r);
        const struct piece *q = b.flags & VF_ROPE ? &b.rope->b->at[0] : NULL;
        x.b->at[x.np++] = (struct piece){.p = q ? q->p : b.s, .org = q ? q->org : NULL, .at = a.n, .n = q ? q->n : b.n,
                                         .turn = q ? q->turn : -1, .gen = q ? q->gen : 0};
        x.b->used = x.np;
        x.n += x.b->at[x.np - 1].n;
        x.ascii = x.ascii && (b.flags & VF_ASCII);
        for (uint32_t i = 1; q && i < b.rope->np; i++)
            tmpl_b_view(&x, q[i].p, q[i].n, q[i].org, q[i].turn, q[i].gen);
    } else {
        tmpl_b_val(&x, a);
        tmpl_b_val(&x, b);
    }
    TRY(tmpl_b_end(&x, out));
    out->flags |= safe;
    return ERR_OK;
}

err_code tmpl_cut(struct tmpl_run *r, struct val s, int64_t from, int64_t to, struct val *out)
{
    from = from < 0 ? 0 : from > s.n ? s.n : from;
    to = to < from ? from : to > s.n ? s.n : to;
    if (from == 0 && to == s.n)
        return *out = s, ERR_OK;
    struct str flat;
    FLAT(r, &s, flat);
    if (!(s.flags & VF_ROPE) || !r->track) {
        *out = s.flags & VF_ASCII ? (struct val){.tag = T_STR, .flags = VF_ASCII, .n = (uint32_t)(to - from), .s = flat.p + from}
                                  : tmpl_view(flat.p + from, to - from);
    } else {
        struct build b;
        tmpl_b_init(&b, r);
        const struct piece *p = s.rope->b->at;
        uint32_t lo = 0, hi = s.rope->np;
        while (hi - lo > 1) {
            uint32_t mid = (lo + hi) / 2;
            *(p[mid].at <= from ? &lo : &hi) = mid;
        }
        for (; lo < s.rope->np && p[lo].at < to; lo++) {
            int64_t x = p[lo].at < from ? from - p[lo].at : 0, y = p[lo].at + p[lo].n > to ? to - p[lo].at : p[lo].n;
            tmpl_b_view(&b, p[lo].p + x, y - x, p[lo].org, p[lo].turn, p[lo].gen);
        }
        b.ascii = s.flags & VF_ASCII ? 1 : is_ascii(flat.p + from, to - from);
        TRY(tmpl_b_end(&b, out));
    }
    out->flags |= s.flags & VF_SAFE;
    return ERR_OK;
}
