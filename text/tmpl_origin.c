/* Who wrote which stretch of a rendered text, and the template's generation prompt. */
#include <stdlib.h>

#include "text/tmpl_mask.h"

err_code tmpl_mask_grow(struct tmpl_run *r, void *array, int64_t need, int64_t *cap, size_t size)
{
    void **p = array;
    if (need <= *cap)
        return ERR_OK;
    int64_t want = *cap * 2 > need ? *cap * 2 : need + 64;
    void *q = realloc(*p, (size_t)want * size);
    if (!q)
        return tmpl_full(r);
    *p = q;
    *cap = want;
    return ERR_OK;
}

/* ---- origins ------------------------------------------------------------------------------------------ */

static const struct field *field_at(const struct tmpl_run *r, const char *p)
{
    int64_t lo = 0, hi = r->n_field;
    while (lo < hi) {
        int64_t mid = (lo + hi) / 2;
        if (r->field[mid].hi <= p)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < r->n_field && r->field[lo].lo <= p ? &r->field[lo] : NULL;
}

static int64_t message_at(const struct tmpl_run *r, const char *p)
{
    int64_t lo = 0, hi = r->n_msg;
    while (lo < hi) {
        int64_t mid = (lo + hi) / 2;
        if (r->msg[mid].hi <= p)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < r->n_msg && r->msg[lo].lo <= p ? lo : -1;
}

static err_code push_atom(struct tmpl_run *r, struct atom a)
{
    struct mask_state *m = r->mask;
    struct atom *last = m->n_atom ? &m->atom[m->n_atom - 1] : NULL;
    if (a.begin == a.end)
        return ERR_OK;
    if (last && last->message == a.message && last->kind == a.kind && last->plain == a.plain && last->gen == a.gen &&
        (a.off < 0 ? last->off < 0 : last->off >= 0 && last->off + (last->end - last->begin) == a.off))
        return last->end = a.end, ERR_OK;
    TRY(tmpl_mask_grow(r, &m->atom, m->n_atom + 1, &m->cap_atom, sizeof *m->atom));
    m->atom[m->n_atom++] = a;
    return ERR_OK;
}

/* Inline reasoning: everything up to and with the first </think> of the content. */
static int64_t think_end(const struct message *m)
{
    int64_t at = str_find(m->content, STR("</think>"), 0);
    return at < 0 ? 0 : at + 8;
}

/* Bytes of an assistant's own fields. */
static err_code own_atom(struct tmpl_run *r, struct atom a, const struct outpiece *p, const struct message *m)
{
    struct str c = m->content;
    if (a.kind != TMPL_CONTENT || !c.p)
        return push_atom(r, a);
    const char *at = p->org ? p->org : p->p;
    if (at < c.p || at >= c.p + c.n)
        return push_atom(r, a);
    int64_t off = at - c.p, cut = think_end(m);
    if (p->org) { /* computed from the stretch that begins at org */
        a.kind = off < cut ? TMPL_REASONING : TMPL_CONTENT;
        return push_atom(r, a);
    }
    int64_t split = cut <= off ? a.begin : a.begin + (cut - off) < a.end ? a.begin + (cut - off) : a.end;
    struct atom first = a, second = a;
    first.end = second.begin = split;
    first.kind = TMPL_REASONING;
    first.off = off;
    second.off = off + (split - a.begin);
    TRY(push_atom(r, first));
    return push_atom(r, second);
}

static err_code piece_atoms(struct tmpl_run *r, const struct outpiece *p, int64_t end)
{
    const char *at = p->org ? p->org : p->p;
    struct atom a = {.begin = p->at, .end = end, .off = -1, .message = p->turn, .kind = TMPL_TEMPLATE, .gen = p->gen != 0};
    if (at < r->row_lo || at >= r->row_hi)
        return push_atom(r, a);
    const struct field *f = field_at(r, at);
    int64_t from = message_at(r, at);
    if (from < 0 && !f) /* a variable of the row speaks for the template */
        return push_atom(r, a);
    a.plain = 1;
    a.kind = TMPL_INPUT;
    if (from < 0)
        return push_atom(r, a);
    const struct message *m = &r->msg[from];
    if (a.message < 0)
        a.message = (int32_t)from;
    if (a.message != from)
        return push_atom(r, a); /* printed in another's turn */
    a.kind = m->assistant ? (f ? f->kind : TMPL_TEMPLATE) : TMPL_INPUT;
    if (!m->assistant && (!f || f->kind == TMPL_TEMPLATE)) /* role, name, ids */
        return push_atom(r, a);
    if (!m->assistant && m->content.p && !p->org && at >= m->content.p && at < m->content.p + m->content.n)
        a.off = at - m->content.p;
    return m->assistant ? own_atom(r, a, p, m) : push_atom(r, a);
}

err_code tmpl_mask_atoms(struct tmpl_run *r)
{
    r->mask->n_atom = 0;
    for (int64_t i = 0; i < r->n_piece && r->piece[i].at < r->out->n; i++) {
        int64_t end = r->piece[i].at + r->piece[i].n;
        TRY(piece_atoms(r, &r->piece[i], end < r->out->n ? end : r->out->n)); /* a continued message is cut */
    }
    return ERR_OK;
}

/* ---- the generation prompt ------------------------------------------------------------------------------- */

static err_code probe_messages(struct tmpl_run *r, struct val *out)
{
    struct val m;
    TRY(tmpl_dict_new(r, 2, &m));
    TRY(tmpl_dict_put(r, m.dict, v_lit("role"), v_lit("user")));
    TRY(tmpl_dict_put(r, m.dict, v_lit("content"), v_lit("x")));
    TRY(tmpl_seq_new(r, T_LIST, 1, out));
    out->seq->at[0] = m;
    return ERR_OK;
}

/* The text with the prompt behind the text without it; empty when the template does not go that way. */
static void render_prompt(struct tmpl_run *r, const struct tmpl *t, struct sbuf *out)
{
    struct mask_state *m = r->mask;
    int had = r->add_generation_prompt;
    err_code rc = ERR_OK;
    sbuf_clear(out);
    for (int i = 0; i < 2 && rc == ERR_OK; i++) {
        struct err e = {0};
        r->add_generation_prompt = i;
        rc = tmpl_run_render(r, t, 0, &m->probe[i], &e);
    }
    r->add_generation_prompt = had;
    struct str without = sbuf_str(&m->probe[0]), with = sbuf_str(&m->probe[1]);
    if (rc == ERR_OK && str_starts(with, without))
        sbuf_add(out, str_sub(with, without.n, with.n));
}

static err_code find_prompt(struct tmpl_run *r, const struct tmpl *t, struct sbuf *out, struct err *e)
{
    struct val messages = r->messages, tools = r->tools, probe;
    char *mark = r->row_mark;
    int64_t n_msg = r->n_msg;
    int continued = r->continue_final, hide = r->hide;
    r->e = e;
    r->mem.at = mark;
    TRY(probe_messages(r, &probe));
    r->row_mark = r->mem.at;
    r->messages = probe;
    r->tools = (struct val){.tag = T_MISSING};
    r->n_msg = r->continue_final = r->hide = 0;
    render_prompt(r, t, out);
    r->messages = messages;
    r->tools = tools;
    r->n_msg = n_msg;
    r->hide = hide;
    r->row_mark = mark;
    if (!out->n) /* templates that refuse the probe are asked with the row itself */
        render_prompt(r, t, out);
    r->continue_final = continued;
    return ERR_OK;
}

err_code tmpl_mask_prompt(struct tmpl_run *r, const struct tmpl *t, struct str *out, struct err *e)
{
    struct mask_state *m = r->mask;
    for (int i = 0; i < m->n_prompt; i++)
        if (m->prompt[i].serial == t->serial && hash_eq(m->prompt[i].vars, r->vars_hash))
            return *out = sbuf_str(&m->prompt[i].text), ERR_OK;
    int i = m->next_prompt;
    m->next_prompt = (i + 1) % PROMPTS;
    m->n_prompt = m->n_prompt < PROMPTS ? m->n_prompt + 1 : PROMPTS;
    m->prompt[i].serial = 0;
    if (!m->prompt[i].text.max)
        sbuf_init(&m->prompt[i].text, 1 << 20);
    TRY(find_prompt(r, t, &m->prompt[i].text, e));
    m->prompt[i].serial = t->serial;
    m->prompt[i].vars = r->vars_hash;
    *out = sbuf_str(&m->prompt[i].text);
    return ERR_OK;
}
