/* Compiling a template, and rendering a row. */
#include <stdlib.h>

#include "text/tmpl_strop.h"

#define TAG "CONTINUE_FINAL_MESSAGE_TAG "

err_code tmpl_compile(struct str source, const char *name, struct tmpl **out, struct err *e)
{
    enum { MAX_SOURCE = 4 << 20 };
    struct tmpl *t = calloc(1, sizeof *t);
    if (!t)
        return err_set(e, ERR_LIMIT, "out of memory");
    static _Atomic uint64_t serial;
    t->serial = ++serial;
    arena_init(&t->mem, "template", 1LL << 30);
    t->name = str_dup(&t->mem, str_of(name)).p;
    err_code rc = source.n > MAX_SOURCE ? err_set(e, ERR_LIMIT, "%s: template is larger than %d bytes", name, MAX_SOURCE) : ERR_OK;
    if (rc == ERR_OK)
        rc = tmpl_parse(t, source, e);
    if (rc == ERR_OK)
        rc = tmpl_bind_names(t, e);
    if (rc != ERR_OK) {
        tmpl_free(t);
        return rc;
    }
    *out = t;
    return ERR_OK;
}

void tmpl_free(struct tmpl *t)
{
    if (!t)
        return;
    arena_release(&t->mem);
    free(t);
}

int tmpl_has_generation(const struct tmpl *t)
{
    return t->has_generation;
}

err_code tmpl_run_new(const struct tmpl_limits *lim, struct tmpl_run **out, struct err *e)
{
    struct tmpl_run *r = calloc(1, sizeof *r);
    if (!r)
        return err_set(e, ERR_LIMIT, "out of memory");
    if (lim)
        r->lim = *lim;
    r->lim.steps = r->lim.steps ? r->lim.steps : 50 * 1000 * 1000;
    r->lim.memory = r->lim.memory ? r->lim.memory : 1LL << 30;
    r->lim.output = r->lim.output ? r->lim.output : 256LL << 20;
    r->lim.depth = r->lim.depth ? r->lim.depth : 200;
    r->now_fixed = INT64_MIN;
    arena_init(&r->mem, "template row", r->lim.memory);
    *out = r;
    return ERR_OK;
}

void tmpl_run_free(struct tmpl_run *r)
{
    if (!r)
        return;
    arena_release(&r->mem);
    free(r->jstack.at);
    free(r->msg);
    free(r->field);
    free(r->piece);
    free(r->gspan);
    tmpl_mask_release(r);
    free(r);
}

err_code tmpl_run_now(struct tmpl_run *r, const char *iso, struct err *e)
{
    return tmpl_parse_now(iso, &r->now_fixed, e);
}

void tmpl_run_defaults(struct tmpl_run *r, const struct tmpl_set *s)
{
    r->defaults = s;
}

/* ---- variables --------------------------------------------------------------------------------------- */

/* messages as the template sees them: without the mask's keys, and with the tag on the last. */
static err_code shown_messages(struct tmpl_run *r, struct val *out)
{
    int change = r->continued != NULL;
    for (int64_t i = 0; r->hide && i < r->n_msg; i++)
        change |= r->msg[i].bare != r->msg[i].dict;
    *out = r->messages;
    if (!change)
        return ERR_OK;
    TRY(tmpl_seq_new(r, T_LIST, r->messages.seq->n, out));
    for (int64_t i = 0; i < out->seq->n; i++)
        out->seq->at[i] = r->hide && i < r->n_msg ? (struct val){.tag = T_DICT, .dict = r->msg[i].bare} : r->messages.seq->at[i];
    if (r->continued)
        out->seq->at[out->seq->n - 1] = (struct val){.tag = T_DICT, .dict = r->continued};
    return ERR_OK;
}

static err_code variable(struct tmpl_run *r, struct str name, struct val *out)
{
    const struct val *v = r->vars ? tmpl_dict_str(r->vars, name) : NULL;
    const struct fn *g;
    *out = (struct val){.tag = T_MISSING};
    if (v)
        return *out = *v, ERR_OK;
    if (str_eq(name, STR("messages")) && r->messages.tag != T_MISSING)
        return shown_messages(r, out);
    if (str_eq(name, STR("tools")))
        return *out = r->tools.tag == T_MISSING ? NONE : r->tools, ERR_OK;
    if (str_eq(name, STR("documents")))
        return *out = r->documents.tag == T_MISSING ? NONE : r->documents, ERR_OK;
    if (str_eq(name, STR("add_generation_prompt")) && (r->has_agp || r->messages.tag != T_MISSING))
        return *out = v_bool(r->add_generation_prompt), ERR_OK;
    if (r->defaults)
        TRY(tmpl_set_var(r, r->defaults, name, out));
    if (out->tag == T_MISSING && (g = tmpl_global(name)) != NULL)
        *out = (struct val){.tag = T_FUNC, .fn = g};
    if (out->tag == T_MISSING)
        *out = (struct val){.tag = T_UNDEF, .flags = U_NAME, .s = name.p};
    return ERR_OK;
}

/* ---- continue_final_message ---------------------------------------------------------------------------- */

static err_code with_member(struct tmpl_run *r, const struct dict *d, struct val k, struct val v, struct dict **out)
{
    struct val copy;
    TRY(tmpl_dict_new(r, d->n + 1, &copy));
    for (uint32_t i = 0; i < d->n; i++)
        TRY(tmpl_dict_put(r, copy.dict, d->at[i].k, d->at[i].v));
    TRY(tmpl_dict_put(r, copy.dict, k, v));
    *out = copy.dict;
    return ERR_OK;
}

/* The last part with a text gets the tag. */
static err_code tag_parts(struct tmpl_run *r, struct val parts, struct val *final, struct val *out)
{
    for (int64_t i = parts.seq->n - 1; i >= 0; i--) {
        const struct val p = parts.seq->at[i], *text = p.tag == T_DICT ? tmpl_dict_str(p.dict, STR("text")) : NULL;
        struct val tagged;
        struct dict *part;
        if (!text)
            continue;
        *final = *text;
        TRY(tmpl_arith(r, N_ADD, *text, v_lit(TAG), &tagged));
        TRY(with_member(r, p.dict, v_lit("text"), tagged, &part));
        TRY(tmpl_seq_new(r, T_LIST, parts.seq->n, out));
        tmpl_copy(out->seq->at, parts.seq->at, (size_t)parts.seq->n * sizeof(struct val));
        out->seq->at[i] = (struct val){.tag = T_DICT, .dict = part};
        return ERR_OK;
    }
    return tmpl_fail(r, "ValueError", "continue_final_message is set but we could not find any text to continue in the final message!");
}

static err_code begin_continue(struct tmpl_run *r, struct val *final)
{
    struct val *content, tagged;
    if (r->add_generation_prompt)
        return tmpl_fail(r, "ValueError", "continue_final_message and add_generation_prompt are not compatible");
    if (r->n_msg == 0)
        return tmpl_fail(r, "IndexError", "continue_final_message is set but there is no message");
    struct dict *last = r->hide ? r->msg[r->n_msg - 1].bare : r->msg[r->n_msg - 1].dict;
    content = tmpl_dict_str(last, STR("content"));
    if (!content)
        return tmpl_fail(r, "KeyError", "continue_final_message is set but the final message has no content");
    if (content->tag == T_LIST) {
        TRY(tag_parts(r, *content, final, &tagged));
    } else {
        *final = *content;
        TRY(tmpl_arith(r, N_ADD, *content, v_lit(TAG), &tagged));
    }
    return with_member(r, last, v_lit("content"), tagged, &r->continued);
}

static err_code end_continue(struct tmpl_run *r, struct val final)
{
    struct str text = sbuf_str(r->out), tag = STR(TAG), bare = {tag.p, tag.n - 1}, want;
    struct val trimmed;
    TRY(tmpl_s_strip(r, final, NONE, STRIP_LEFT | STRIP_RIGHT, &trimmed));
    FLAT(r, &trimmed, want);
    int64_t at = str_rfind(text, bare);
    if (at < 0 || str_find(text, want, 0) < 0)
        return tmpl_fail(r, "ValueError", "continue_final_message is set but the final message does not appear in the chat after applying "
                                          "the chat template!");
    if (!str_eq(str_sub(text, at, at + tag.n), tag)) { /* the template trims, so the text before must be trimmed too */
        struct val cut;
        TRY(tmpl_s_strip(r, tmpl_view(text.p, at), NONE, STRIP_RIGHT, &cut));
        at = cut.n;
    }
    r->out->n = at;
    r->out->p[at] = 0;
    return ERR_OK;
}

/* ---- rendering ---------------------------------------------------------------------------------------- */

static err_code render(struct tmpl_run *r, struct val *final)
{
    if (r->continue_final)
        TRY(begin_continue(r, final));
    MEM(r, r->free_val, r->t->n_free + 1);
    for (int i = 0; i < r->t->n_free; i++)
        TRY(variable(r, r->t->free_name[i], &r->free_val[i]));
    TRY(tmpl_exec(r));
    if (r->continue_final)
        TRY(end_continue(r, *final));
    if ((r->surrogates || r->t->surrogates) && utf8_check(sbuf_str(r->out)) >= 0)
        return tmpl_fail(r, "UnicodeEncodeError", "the text holds a lone surrogate and cannot be encoded");
    return ERR_OK;
}

err_code tmpl_run_render(struct tmpl_run *r, const struct tmpl *t, int track, struct sbuf *out, struct err *e)
{
    struct val final = {0};
    if (!r->has_row)
        BUG("tmpl_render without a row");
    r->e = e;
    r->t = t;
    r->line = 1;
    r->depth = 0;
    r->steps = r->lim.steps;
    r->mem.at = r->row_mark;
    r->out_max = r->lim.output < out->max ? r->lim.output : out->max;
    r->sink = NULL;
    r->out = out;
    r->track = track;
    r->turn = -1;
    r->gen = r->n_gen = 0;
    r->n_piece = r->n_gspan = r->cp_at = r->cp_n = 0;
    r->n_random = 0;
    r->continued = NULL;
    sbuf_clear(out);
    if (out->p)
        out->p[0] = 0;
    return render(r, &final);
}

err_code tmpl_render(struct tmpl_run *r, const struct tmpl *t, struct sbuf *out, struct err *e)
{
    r->hide = 0;
    return tmpl_run_render(r, t, 0, out, e);
}

int64_t tmpl_generation_spans(const struct tmpl_run *r, const int64_t **spans)
{
    *spans = r->n_gspan ? &r->gspan[0].begin : NULL;
    return r->n_gspan;
}
