/* Running statements: output, loops, macros, captures. */
#include <stdlib.h>

#include "text/tmpl_stmt.h"

enum { GO_ON, BREAK, CONTINUE };

/* ---- output -------------------------------------------------------------------------------------- */

static err_code track_piece(struct tmpl_run *r, const char *p, uint32_t n, const char *org, int32_t turn, uint32_t gen)
{
    struct outpiece *last = r->n_piece ? &r->piece[r->n_piece - 1] : NULL;
    if (last && last->p + last->n == p && last->org == org && last->turn == turn && last->gen == gen)
        return last->n += n, ERR_OK;
    if (r->n_piece == r->cap_piece) {
        int64_t cap = r->cap_piece ? r->cap_piece * 2 : 256;
        struct outpiece *q = realloc(r->piece, (size_t)cap * sizeof *q);
        if (!q)
            return tmpl_full(r);
        r->piece = q;
        r->cap_piece = cap;
    }
    r->piece[r->n_piece++] = (struct outpiece){.at = r->out->n, .n = n, .turn = turn, .p = p, .org = org, .gen = gen};
    return ERR_OK;
}

static err_code emit_piece(struct tmpl_run *r, const char *p, uint32_t n, const char *org, int32_t turn, uint32_t gen)
{
    if (!n)
        return ERR_OK;
    turn = turn < 0 ? r->turn : turn;
    gen = gen ? gen : r->gen;
    if (r->sink) {
        tmpl_b_view(r->sink, p, n, org, turn, gen);
        return ERR_OK;
    }
    if (r->out->n + n > r->out_max)
        return tmpl_limit(r, "output");
    if (r->track)
        TRY(track_piece(r, p, n, org, turn, gen));
    sbuf_add(r->out, (struct str){p, n});
    return r->out->full ? tmpl_limit(r, "output") : ERR_OK;
}

err_code tmpl_emit(struct tmpl_run *r, struct val v)
{
    if (r->sink)
        r->sink->ascii &= (v.flags & VF_ASCII) != 0;
    if (!(v.flags & VF_ROPE))
        return emit_piece(r, v.s, v.n, NULL, -1, 0);
    for (uint32_t i = 0; i < v.rope->np; i++) {
        const struct piece *p = &v.rope->b->at[i];
        TRY(emit_piece(r, p->p, p->n, p->org, p->turn, p->gen));
    }
    return ERR_OK;
}

static err_code output(struct tmpl_run *r, struct frame *f, const struct node *n)
{
    struct val v;
    for (int i = 0; i < n->n; i++) {
        const struct node *k = n->kid[i];
        if (k->kind == N_DATA) {
            TRY(tmpl_emit(r, k->v));
            continue;
        }
        r->line = k->line;
        TRY(tmpl_eval(r, f, k, &v));
        if (v.tag != T_STR)
            TRY(tmpl_str(r, v, &v));
        TRY(tmpl_emit(r, v));
    }
    return ERR_OK;
}

/* Runs a body with its output captured as a string. */
static err_code capture(struct tmpl_run *r, struct frame *f, struct node *const *kid, int n, struct val *out, int *jump)
{
    struct build b, *outer = r->sink;
    tmpl_b_init(&b, r);
    r->sink = &b;
    err_code rc = tmpl_body(r, f, kid, n, jump);
    r->sink = outer;
    TRY(rc);
    return tmpl_b_end(&b, out);
}

/* ---- scopes ---------------------------------------------------------------------------------------- */

static void enter(struct tmpl_run *r, struct frame *f, const struct scope *s)
{
    for (int i = 0; i < s->n; i++) {
        const struct load *l = &s->load[i];
        struct val *to = &f->slot[l->slot];
        if (l->hops == -1) {
            *to = r->free_val[l->from];
        } else if (l->hops == -2) {
            *to = (struct val){.tag = T_MISSING};
        } else {
            const struct frame *g = f;
            for (int k = 0; k < l->hops; k++)
                g = g->up;
            *to = g->slot[l->from];
        }
    }
}

static err_code new_frame(struct tmpl_run *r, struct frame *up, const struct func *fn, struct frame **out)
{
    *out = tmpl_mem(r, (int64_t)sizeof **out + fn->n_slots * (int64_t)sizeof(struct val));
    if (!*out)
        return tmpl_full(r);
    memset(*out, 0, sizeof **out + (size_t)fn->n_slots * sizeof(struct val));
    (*out)->up = up;
    return ERR_OK;
}

static err_code unpack(struct tmpl_run *r, struct frame *f, const struct node *target, struct val v)
{
    struct val list;
    if (v.tag == T_UNDEF && v.flags != U_SECURITY && target->n)
        return tmpl_fail(r, "ValueError", "not enough values to unpack (expected %d, got 0)", target->n);
    if (v.tag <= T_FLOAT && v.tag != T_UNDEF)
        return tmpl_fail(r, "TypeError", "cannot unpack non-iterable %s object", tmpl_type(v));
    TRY(tmpl_list(r, v, &list));
    if (list.seq->n != target->n)
        return tmpl_fail(r, "ValueError", list.seq->n < target->n ? "not enough values to unpack (expected %d, got %lld)"
                                                                  : "too many values to unpack (expected %d)", target->n, (long long)list.seq->n);
    for (int i = 0; i < target->n; i++)
        TRY(tmpl_assign(r, f, target->kid[i], list.seq->at[i]));
    return ERR_OK;
}

err_code tmpl_assign(struct tmpl_run *r, struct frame *f, const struct node *t, struct val v)
{
    if (t->kind == N_TUPLE)
        return unpack(r, f, t, v);
    if (t->kind == N_NAME) {
        f->slot[t->slot] = v;
        return ERR_OK;
    }
    struct val ns;
    if (t->hops < 0) {
        ns = r->free_val[t->slot];
    } else {
        for (int i = 0; i < t->hops; i++)
            f = f->up;
        ns = f->slot[t->slot];
    }
    if (ns.tag != T_NS)
        return tmpl_fail(r, "TemplateRuntimeError", "cannot assign attribute on non-namespace object");
    return tmpl_dict_put(r, ns.dict, t->v, v);
}

/* ---- loops ----------------------------------------------------------------------------------------- */

/* The next item that passes the loop's test. */
err_code tmpl_loop_peek(struct tmpl_run *r, struct loop *l)
{
    const struct node *test = l->node->c;
    struct val ok;
    int more = 0;
    if (l->peeked)
        return ERR_OK;
    for (;;) {
        TRY(l->ended ? ERR_OK : tmpl_next(r, &l->src, &l->next, &more));
        if (l->ended || !more) {
            l->ended = 1;
            l->next = (struct val){.tag = T_MISSING};
            break;
        }
        if (!test)
            break;
        enter(r, l->frame, test->scope);
        TRY(tmpl_assign(r, l->frame, test->a, l->next));
        r->line = test->line;
        TRY(tmpl_eval(r, l->frame, test->b, &ok));
        if (tmpl_truth(r, ok))
            break;
    }
    l->peeked = 1;
    return ERR_OK;
}

err_code tmpl_loop_length(struct tmpl_run *r, struct loop *l, int64_t *out)
{
    if (l->length < 0 && !l->node->c && l->src.kind != IT_ITER && l->src.kind != IT_STR && l->src.kind != IT_LOOP)
        l->length = l->src.n; /* of the whole; i has moved, n has not */
    if (l->length < 0) {      /* draw the rest and go on from a list of it */
        struct val *at, v;
        int64_t n = 0, cap = 8;
        TRY(tmpl_loop_peek(r, l));
        v = l->next;
        MEM(r, at, cap);
        while (v.tag != T_MISSING) {
            if (n == cap) {
                struct val *old = at;
                MEM(r, at, cap * 2);
                tmpl_copy(at, old, (size_t)n * sizeof *at);
                cap *= 2;
            }
            at[n++] = v;
            l->peeked = 0;
            TRY(tmpl_loop_peek(r, l));
            v = l->next;
        }
        struct seq *s;
        MEM(r, s, 1);
        *s = (struct seq){.n = n, .at = at};
        struct node *copy;
        MEM(r, copy, 1);
        *copy = *l->node;
        copy->c = NULL; /* what is left has passed the test */
        l->node = copy;
        l->src = (struct it){.kind = IT_SEQ, .v = {.tag = T_LIST, .seq = s}, .n = n};
        l->ended = l->peeked = 0;
        l->length = l->index + 1 + n;
    }
    *out = l->length;
    return ERR_OK;
}

/* Which message of the row a loop's item is, or -1. */
static int32_t message_of(const struct tmpl_run *r, struct val v)
{
    const char *p = v.p;
    if (v.tag != T_DICT)
        return -1;
    if (v.dict == r->continued)
        return (int32_t)r->n_msg - 1;
    if (p < r->row_lo || p >= r->row_hi)
        return -1;
    int64_t lo = 0, hi = r->n_msg;
    while (lo < hi) {
        int64_t mid = (lo + hi) / 2;
        if (r->msg[mid].hi <= p)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < r->n_msg && (v.dict == r->msg[lo].dict || v.dict == r->msg[lo].bare) ? (int32_t)lo : -1;
}

static err_code loop_passes(struct tmpl_run *r, struct frame *f, struct loop *l, const struct node *n, int *ran)
{
    int32_t turn = r->turn;
    for (;;) {
        int jump = GO_ON;
        TRY(tmpl_loop_peek(r, l));
        if (l->next.tag == T_MISSING)
            return ERR_OK;
        l->prev = l->cur;
        l->cur = l->next;
        l->peeked = 0;
        l->index++;
        f->slot[n->loop_slot] = (struct val){.tag = T_LOOP, .loop = l};
        enter(r, f, n->scope);
        TRY(tmpl_assign(r, f, n->a, l->cur));
        if (r->track) {
            int32_t m = message_of(r, l->cur);
            r->turn = m > turn ? m : turn; /* an inner loop that looks back prints for the turn it stands in */
        }
        TRY(tmpl_body(r, f, n->kid, n->n, &jump));
        r->turn = turn;
        *ran |= jump == GO_ON; /* Jinja2's else runs unless one pass came to its end */
        if (jump == BREAK)
            return ERR_OK;
    }
}

static err_code run_loop(struct tmpl_run *r, struct frame *f, const struct node *n, struct val src, int depth, int *jump)
{
    struct loop *l;
    int ran = 0;
    MEM(r, l, 1);
    *l = (struct loop){.node = n, .frame = f, .index = -1, .length = -1, .depth = depth};
    TRY(tmpl_iter(r, src, &l->src));
    TRY(loop_passes(r, f, l, n, &ran));
    if (ran || !n->d)
        return ERR_OK;
    enter(r, f, n->d->scope);
    return tmpl_body(r, f, n->d->kid, n->d->n, jump);
}

/* A recursive loop is a function whose text comes back. */
static err_code recurse(struct tmpl_run *r, struct frame *up, const struct node *n, struct val src, int depth, struct val *out)
{
    struct frame *f;
    struct build b, *outer = r->sink;
    int jump = GO_ON;
    TRY(tmpl_deeper(r));
    TRY(new_frame(r, up, n->func, &f));
    tmpl_b_init(&b, r);
    r->sink = &b;
    err_code rc = run_loop(r, f, n, src, depth, &jump);
    r->sink = outer;
    TRY(rc);
    r->depth--;
    return tmpl_b_end(&b, out);
}

err_code tmpl_call_loop(struct tmpl_run *r, struct loop *l, const struct args *in, struct val *out)
{
    if (!(l->node->flags & NF_RECURSIVE))
        return tmpl_fail(r, "TypeError", "The loop must have the 'recursive' marker to be called recursively.");
    if (in->n != 1 || in->nkw)
        return tmpl_fail(r, "TypeError", "loop() takes one argument");
    return recurse(r, l->frame->up, l->node, in->pos[0], l->depth + 1, out);
}

static err_code exec_for(struct tmpl_run *r, struct frame *f, const struct node *n, int *jump)
{
    struct val src, text;
    TRY(tmpl_eval(r, f, n->b, &src));
    if (!(n->flags & NF_RECURSIVE))
        return run_loop(r, f, n, src, 0, jump);
    TRY(recurse(r, f, n, src, 0, &text));
    return tmpl_emit(r, text);
}

/* ---- macros ---------------------------------------------------------------------------------------- */

static struct kwarg *find_kw(const struct args *in, struct str name)
{
    for (int i = 0; i < in->nkw; i++)
        if (str_eq(in->kw[i].k, name))
            return &in->kw[i];
    return NULL;
}

static int is_param(const struct node *d, struct str name)
{
    for (int i = 0; i < d->nkw; i++)
        if (str_eq(d->kw[i].k, name))
            return i;
    return -1;
}

/* Keywords that no parameter took. */
static err_code macro_kwargs(struct tmpl_run *r, const struct node *d, const struct args *in, struct frame *f)
{
    struct val rest;
    TRY(tmpl_dict_new(r, in->nkw, &rest));
    for (int i = 0; i < in->nkw; i++) {
        struct str k = in->kw[i].k;
        int p = is_param(d, k);
        if (p >= in->n || (d->caller_slot >= 0 && str_eq(k, STR("caller"))))
            continue;
        if (!(d->flags & NF_KWARGS) || d->kwargs_slot < 0) {
            if (str_eq(k, STR("caller")))
                return tmpl_fail(r, "TypeError", "macro '%s' was invoked with two values for the special caller argument. This is most likely a bug.",
                                 d->name.p);
            return tmpl_fail(r, "TypeError", "macro '%s' takes no keyword argument '%.*s'", d->name.p, STR_ARG(k));
        }
        TRY(tmpl_dict_put(r, rest.dict, tmpl_view(k.p, k.n), in->kw[i].v));
    }
    if (d->kwargs_slot >= 0)
        f->slot[d->kwargs_slot] = rest;
    return ERR_OK;
}

static err_code macro_params(struct tmpl_run *r, const struct node *d, const struct args *in, struct frame *f)
{
    for (int i = 0; i < d->nkw; i++) {
        struct kwarg *kw = i < in->n ? NULL : find_kw(in, d->kw[i].k);
        f->slot[i] = i < in->n ? in->pos[i] : kw ? kw->v : (struct val){.tag = T_MISSING};
    }
    if (d->caller_slot >= 0) {
        struct kwarg *kw = find_kw(in, STR("caller"));
        f->slot[d->caller_slot] = kw && kw->v.tag != T_NONE ? kw->v : v_hint("No caller defined");
    }
    TRY(macro_kwargs(r, d, in, f));
    int extra = in->n > d->nkw ? in->n - d->nkw : 0;
    if (d->varargs_slot >= 0) {
        TRY(tmpl_seq_new(r, T_TUPLE, extra, &f->slot[d->varargs_slot]));
        for (int i = 0; i < extra; i++)
            f->slot[d->varargs_slot].seq->at[i] = in->pos[d->nkw + i];
    } else if (extra) {
        return tmpl_fail(r, "TypeError", "macro '%s' takes not more than %d argument(s)", d->name.p, d->nkw);
    }
    return ERR_OK;
}

err_code tmpl_call_macro(struct tmpl_run *r, const struct macro *m, const struct args *in, struct val *out)
{
    const struct node *d = m->def;
    struct frame *f;
    int jump = GO_ON;
    TRY(tmpl_deeper(r));
    TRY(new_frame(r, m->up, d->func, &f));
    TRY(macro_params(r, d, in, f));
    enter(r, f, d->scope);
    for (int i = 0; i < d->nkw; i++) {
        if (f->slot[i].tag != T_MISSING)
            continue;
        if (d->kw[i].v) {
            TRY(tmpl_eval(r, f, d->kw[i].v, &f->slot[i]));
        } else {
            struct val msg = v_lit("parameter '"), name = tmpl_view(d->kw[i].k.p, d->kw[i].k.n);
            struct str s;
            TRY(tmpl_cat(r, msg, name, &msg));
            TRY(tmpl_cat(r, msg, (struct val){.tag = T_STR, .flags = VF_ASCII, .n = 19, .s = "' was not provided"}, &msg));
            FLAT(r, &msg, s);
            f->slot[i] = v_hint(s.p);
        }
    }
    TRY(capture(r, f, d->kid, d->n, out, &jump));
    r->depth--;
    return ERR_OK;
}

static err_code make_macro(struct tmpl_run *r, struct frame *f, const struct node *n, struct val *out)
{
    struct macro *m;
    MEM(r, m, 1);
    *m = (struct macro){n, f};
    *out = (struct val){.tag = T_MACRO, .macro = m};
    return ERR_OK;
}

static int64_t out_code_points(struct tmpl_run *r)
{
    r->cp_n += tmpl_len_cp(str_sub(sbuf_str(r->out), r->cp_at, r->out->n), 0);
    r->cp_at = r->out->n;
    return r->cp_n;
}

/* transformers' tracker: a span begins at the length of what the template has put out so far (text that
 * is still being captured does not count) and is as long as the block's text. */
static err_code exec_generation(struct tmpl_run *r, struct frame *f, const struct node *n)
{
    struct val macro = {0}, text;
    struct args in = {0};
    uint32_t outer = r->gen;
    TRY(make_macro(r, f, n, &macro));
    r->gen = ++r->n_gen;
    TRY(tmpl_call_macro(r, macro.macro, &in, &text));
    r->gen = outer;
    if (r->n_gspan == r->cap_gspan) {
        int64_t cap = r->cap_gspan ? r->cap_gspan * 2 : 64;
        struct genspan *g = realloc(r->gspan, (size_t)cap * sizeof *g);
        if (!g)
            return tmpl_full(r);
        r->gspan = g;
        r->cap_gspan = cap;
    }
    int64_t begin = out_code_points(r), len;
    TRY(tmpl_len(r, text, &len));
    r->gspan[r->n_gspan++] = (struct genspan){begin, begin + len};
    return tmpl_emit(r, text);
}

/* ---- statements ------------------------------------------------------------------------------------ */

static err_code exec_if(struct tmpl_run *r, struct frame *f, const struct node *n, int *jump)
{
    struct val v;
    for (; n; n = n->b) {
        if (n->a) {
            r->line = n->line;
            TRY(tmpl_eval(r, f, n->a, &v));
            if (!tmpl_truth(r, v))
                continue;
        }
        return tmpl_body(r, f, n->kid, n->n, jump);
    }
    return ERR_OK;
}

static err_code exec_captured(struct tmpl_run *r, struct frame *f, const struct node *n, int *jump)
{
    struct val text;
    enter(r, f, n->scope);
    TRY(capture(r, f, n->kid, n->n, &text, jump));
    if (*jump)
        return ERR_OK;
    if (n->b)
        TRY(tmpl_eval_filters(r, f, n->b, text, &text));
    if (n->kind == N_SETBLOCK)
        return tmpl_assign(r, f, n->a, text);
    TRY(tmpl_str(r, text, &text));
    return tmpl_emit(r, text);
}

static err_code exec_with(struct tmpl_run *r, struct frame *f, const struct node *n, int *jump)
{
    struct val *v;
    MEM(r, v, n->a->n + 1);
    for (int i = 0; i < n->a->n; i++)
        TRY(tmpl_eval(r, f, n->a->kid[i]->b, &v[i]));
    enter(r, f, n->scope);
    for (int i = 0; i < n->a->n; i++)
        TRY(tmpl_assign(r, f, n->a->kid[i]->a, v[i]));
    return tmpl_body(r, f, n->kid, n->n, jump);
}

static err_code exec_call_block(struct tmpl_run *r, struct frame *f, const struct node *n)
{
    struct val caller = {0}, v;
    TRY(make_macro(r, f, n, &caller));
    TRY(tmpl_eval_call(r, f, n->a, caller, &v));
    TRY(tmpl_str(r, v, &v));
    return tmpl_emit(r, v);
}

static err_code exec_block(struct tmpl_run *r, struct frame *f, const struct node *n)
{
    struct frame *own;
    int jump = GO_ON;
    while (f->up)
        f = f->up;
    TRY(new_frame(r, f, n->func, &own));
    enter(r, own, n->scope);
    return tmpl_body(r, own, n->kid, n->n, &jump);
}

static err_code exec_one(struct tmpl_run *r, struct frame *f, const struct node *n, int *jump)
{
    struct val v;
    switch (n->kind) {
    case N_OUTPUT: return output(r, f, n);
    case N_IF: return exec_if(r, f, n, jump);
    case N_FOR: return exec_for(r, f, n, jump);
    case N_SET:
        TRY(tmpl_eval(r, f, n->b, &v));
        return tmpl_assign(r, f, n->a, v);
    case N_SETBLOCK: case N_FILTERBLOCK: return exec_captured(r, f, n, jump);
    case N_MACRO:
        TRY(make_macro(r, f, n, &v));
        return tmpl_assign(r, f, n->a, v);
    case N_CALLBLOCK: return exec_call_block(r, f, n);
    case N_GENERATION: return exec_generation(r, f, n);
    case N_WITH: return exec_with(r, f, n, jump);
    case N_SCOPE: enter(r, f, n->scope); return tmpl_body(r, f, n->kid, n->n, jump);
    case N_BLOCK: return exec_block(r, f, n);
    case N_BREAK: *jump = BREAK; return ERR_OK;
    case N_CONTINUE: *jump = CONTINUE; return ERR_OK;
    case N_NOLOADER: return tmpl_fail(r, "TypeError", "no loader for this environment specified");
    default: BUG("statement of kind %d", n->kind);
    }
}

err_code tmpl_body(struct tmpl_run *r, struct frame *f, struct node *const *kid, int n, int *jump)
{
    TRY(tmpl_deeper(r));
    for (int i = 0; i < n && !*jump; i++) {
        r->line = kid[i]->line;
        TRY(tmpl_step(r, 1));
        TRY(exec_one(r, f, kid[i], jump));
    }
    r->depth--;
    return ERR_OK;
}

err_code tmpl_exec(struct tmpl_run *r)
{
    const struct node *root = r->t->root;
    struct frame *f;
    int jump = GO_ON;
    TRY(new_frame(r, NULL, root->func, &f));
    enter(r, f, root->scope);
    return tmpl_body(r, f, root->kid, root->n, &jump);
}
