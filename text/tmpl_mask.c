/* The loss mask of a rendered row: turns, supervised stretches, weights.
 *
 * One pass over the stretches of known origin finds where each message's text lies; a second one cuts
 * the text at the borders of the supervised stretches and writes the spans. docs/templates.md has the rules.
 */
#include <math.h>
#include <stdlib.h>

#include "text/tmpl_mask.h"

struct tmpl_mask_opts tmpl_mask_defaults(void)
{
    return (struct tmpl_mask_opts){.which = TMPL_ALL_ASSISTANT, .reasoning = 1, .tool_calls = 1, .plain = 1, .use_generation = 1};
}

void tmpl_mask_release(struct tmpl_run *r)
{
    struct mask_state *m = r->mask;
    if (!m)
        return;
    free(m->atom);
    free(m->turn);
    free(m->weight);
    free(m->span);
    free(m->out_turn);
    for (int i = 0; i < PROMPTS; i++)
        sbuf_release(&m->prompt[i].text);
    sbuf_release(&m->probe[0]);
    sbuf_release(&m->probe[1]);
    free(m);
    r->mask = NULL;
}

static err_code mismatch(struct tmpl_run *r, const char *what, int64_t message)
{
    return err_set(r->e, ERR_MISMATCH, "%s: no mask for this row: message %lld %s", r->t->name, (long long)message, what);
}

/* ---- what the row asks for --------------------------------------------------------------------------------- */

static int number(struct val v, double *out)
{
    if (v.tag != T_INT && v.tag != T_FLOAT)
        return 0;
    *out = v.tag == T_INT ? (double)v.i : v.f;
    return isfinite(*out) && *out >= 0;
}

static err_code read_weights(struct tmpl_run *r, const struct message *g, struct turn *t, int64_t i)
{
    struct mask_state *m = r->mask;
    int64_t at = 0, cp = 0;
    t->w0 = (int32_t)m->n_weight;
    if (g->weights.tag == T_MISSING || g->weights.tag == T_NONE)
        return ERR_OK;
    if (g->weights.tag != T_LIST || !g->content.p)
        return err_set(r->e, ERR_DATA, "messages[%lld].weights is not a list for a content that is text", (long long)i);
    for (int64_t k = 0; k < g->weights.seq->n; k++) {
        struct val v = g->weights.seq->at[k];
        double w;
        int ok = v.tag == T_LIST && v.seq->n == 3 && v.seq->at[0].tag == T_INT && v.seq->at[1].tag == T_INT && number(v.seq->at[2], &w) &&
                 v.seq->at[0].i >= cp && v.seq->at[1].i >= v.seq->at[0].i;
        if (!ok)
            return err_set(r->e, ERR_DATA, "messages[%lld].weights[%lld] is not [begin, end, weight] with 0 <= begin <= end in ascending order",
                           (long long)i, (long long)k);
        struct weight_at *q;
        TRY(tmpl_mask_grow(r, &m->weight, m->n_weight + 1, &m->cap_weight, sizeof *m->weight));
        q = &m->weight[m->n_weight++];
        q->begin = at += tmpl_cp_to_byte(str_sub(g->content, at, g->content.n), v.seq->at[0].i - cp);
        q->end = at += tmpl_cp_to_byte(str_sub(g->content, at, g->content.n), v.seq->at[1].i - v.seq->at[0].i);
        q->w = (float)w;
        cp = v.seq->at[1].i;
    }
    t->wn = (int32_t)m->n_weight - t->w0;
    return ERR_OK;
}

static err_code read_turn(struct tmpl_run *r, const struct tmpl_mask_opts *o, int64_t i, int64_t last_user)
{
    const struct message *g = &r->msg[i];
    struct turn *t = &r->mask->turn[i];
    double weight = 1;
    *t = (struct turn){.begin = -1, .own_begin = -1, .own_end = -1, .eot = -1, .sup = -1};
    int train = g->assistant;
    if (g->train.tag == T_BOOL)
        train = (int)g->train.i;
    else if (g->train.tag != T_MISSING && g->train.tag != T_NONE)
        return err_set(r->e, ERR_DATA, "messages[%lld].train is not true or false", (long long)i);
    if (g->weight.tag != T_MISSING && g->weight.tag != T_NONE && !number(g->weight, &weight))
        return err_set(r->e, ERR_DATA, "messages[%lld].weight is not a number >= 0", (long long)i);
    if (o->which == TMPL_LAST_TURN && g->assistant && i < last_user)
        train = 0;
    t->weight = train ? (float)weight : 0;
    return read_weights(r, g, t, i);
}

static err_code read_turns(struct tmpl_run *r, const struct tmpl_mask_opts *o)
{
    struct mask_state *m = r->mask;
    int64_t last_user = -1;
    TRY(tmpl_mask_grow(r, &m->turn, r->n_msg, &m->cap_turn, sizeof *m->turn));
    TRY(tmpl_mask_grow(r, &m->out_turn, r->n_msg, &m->cap_out_turn, sizeof *m->out_turn));
    m->n_weight = 0;
    for (int64_t i = 0; i < r->n_msg; i++)
        if (r->msg[i].user)
            last_user = i;
    for (int64_t i = 0; i < r->n_msg; i++)
        TRY(read_turn(r, o, i, last_user));
    return ERR_OK;
}

/* ---- where the turns lie ------------------------------------------------------------------------------------ */

static int is_own(const struct atom *a)
{
    return a->message >= 0 && a->plain && (a->kind == TMPL_CONTENT || a->kind == TMPL_REASONING || a->kind == TMPL_TOOL_CALL);
}

/* Own bytes of a message must not come back behind another's (strict). */
static err_code locate(struct tmpl_run *r, int strict)
{
    struct mask_state *m = r->mask;
    int32_t current = -1;
    int64_t floor = 0;
    for (int64_t k = 0; k < m->n_atom; k++) {
        const struct atom *a = &m->atom[k];
        if (a->message < 0)
            continue;
        struct turn *t = &m->turn[a->message];
        int own = r->msg[a->message].assistant ? is_own(a) : a->kind == TMPL_INPUT;
        if (!own && a->kind == TMPL_INPUT && t->own_end >= 0 && a->begin < t->limit)
            t->limit = a->begin; /* another's bytes end the turn, unless it goes on behind them */
        if (strict && own && current != a->message && t->own_begin >= 0 && (r->msg[a->message].assistant || r->msg[current].assistant))
            return mismatch(r, "has text on both sides of another message's", a->message);
        if (own) {
            if (current != a->message && current >= 0)
                m->turn[current].limit = a->begin;
            current = a->message;
            if (t->own_begin < 0) {
                t->own_begin = a->begin;
                t->floor = floor;
            }
            floor = t->own_end = a->end;
            t->limit = r->out->n;
        }
        if (t->begin < 0)
            t->begin = a->begin;
        t->end = a->end;
    }
    return ERR_OK;
}

/* Did a loop print it? Then template text carries its number too. */
static void mark_looped(struct tmpl_run *r)
{
    struct mask_state *m = r->mask;
    for (int64_t k = 0; k < r->n_piece; k++)
        if (r->piece[k].turn >= 0)
            m->turn[r->piece[k].turn].looped = 1;
}

static int blank(struct str s)
{
    return str_trim(s).n == 0;
}

static int64_t common_prefix(struct str a, struct str b)
{
    int64_t n = 0;
    while (n < a.n && n < b.n && a.p[n] == b.p[n])
        n++;
    return n;
}

static struct str skip_blank(struct str s)
{
    while (s.n && strchr(" \t\r\n", s.p[0]) && s.p[0])
        s.p++, s.n--;
    return s;
}

/* Where the model's part of a turn begins: behind the text that the turn shares with the generation prompt. */
static int64_t turn_start(struct str text, int64_t begin, int64_t own, struct str prompt)
{
    struct str pre = str_sub(text, begin, own), head = skip_blank(pre), want = skip_blank(prompt);
    int64_t n = common_prefix(str_sub(text, begin + (pre.n - head.n), text.n), want);
    /* a common part that ends inside a word or a marker is chance */
    if (n > 0 && (n == want.n || strchr(">]:) \t\r\n", want.p[n - 1]))) {
        int64_t at = begin + (pre.n - head.n) + n;
        return at < own ? at : own;
    }
    if (want.n) {
        int64_t at = str_rfind(pre, want);
        if (at >= 0)
            return begin + at + want.n;
    } else if (blank(pre)) {
        return begin; /* no prompt at all: what stands before the content is the model's, if it is space */
    }
    return own;
}

/* The first stop text in [from, to). */
static int find_stop(struct tmpl_run *r, const struct tmpl_mask_opts *o, int64_t from, int64_t to, int64_t *begin, int64_t *end)
{
    struct str window = str_sub(sbuf_str(r->out), from, to), eos = {"", 0};
    int n = o->n_stops, found = 0;
    if (r->defaults)
        eos = tmpl_special(r->defaults, "eos_token");
    for (int i = 0; i <= n; i++) {
        struct str stop = i < n ? o->stops[i] : eos;
        int64_t at = stop.n ? str_find(window, stop, 0) : -1;
        if (at < 0 || (found && from + at > *begin) || (found && from + at == *begin && from + at + stop.n <= *end))
            continue;
        *begin = from + at;
        *end = from + at + stop.n;
        found = 1;
    }
    return found;
}

/* End of turn: a stop text, or without any known stop the template's closing text without white space. */
static void turn_end(struct tmpl_run *r, const struct tmpl_mask_opts *o, struct turn *t, int64_t limit, struct str prompt)
{
    struct str text = sbuf_str(r->out);
    int64_t from = t->own_end;
    t->eot = t->eot_end = from;
    if (find_stop(r, o, from, limit, &t->eot, &t->eot_end) || o->n_stops || !t->looped || limit < t->end)
        return;
    struct str rest = str_sub(text, from, t->end);
    int64_t at = prompt.n && r->add_generation_prompt ? str_rfind(rest, prompt) : -1;
    rest = str_trim(str_sub(rest, 0, at < 0 ? rest.n : at));
    if (rest.n) {
        t->eot = rest.p - text.p;
        t->eot_end = t->eot + rest.n;
    }
}

/* Borders of the supervised stretch of an assistant's turn. done: where the one before ended. */
static err_code place_turn(struct tmpl_run *r, const struct tmpl_mask_opts *o, struct str prompt, int64_t i, int64_t *done)
{
    struct turn *t = &r->mask->turn[i];
    const struct message *g = &r->msg[i];
    if (t->own_begin < 0) {
        if (t->weight > 0 && g->has_content && !(g->content.p && blank(g->content)))
            return mismatch(r, "has content that left no text", i);
        return ERR_OK;
    }
    int64_t begin = t->looped && t->begin >= t->floor ? t->begin : t->floor;
    t->sup = turn_start(sbuf_str(r->out), begin, t->own_begin, prompt);
    if (t->sup < *done) /* the one before ended in text that a loop gave to this one */
        t->sup = *done < t->own_begin ? *done : t->own_begin;
    if (t->sup < *done)
        return mismatch(r, "stands before an earlier one", i);
    if (!t->looped)
        t->begin = t->sup;
    if (r->continue_final && i == r->n_msg - 1)
        t->eot = t->eot_end = r->out->n;
    else
        turn_end(r, o, t, t->limit, prompt);
    t->end = t->eot_end > t->end ? t->eot_end : t->end;
    *done = t->eot_end;
    return ERR_OK;
}

static err_code place_turns(struct tmpl_run *r, const struct tmpl_mask_opts *o, struct str prompt)
{
    int64_t done = 0;
    for (int64_t i = 0; i < r->n_msg; i++)
        if (r->msg[i].assistant)
            TRY(place_turn(r, o, prompt, i, &done));
    return ERR_OK;
}

/* ---- spans --------------------------------------------------------------------------------------------------- */

static err_code push_span(struct tmpl_run *r, struct tmpl_span s)
{
    struct mask_state *m = r->mask;
    struct tmpl_span *last = m->n_span ? &m->span[m->n_span - 1] : NULL;
    if (s.begin == s.end)
        return ERR_OK;
    if (last && last->message == s.message && last->kind == s.kind && last->plain == s.plain && last->weight == s.weight)
        return last->end = s.end, ERR_OK;
    TRY(tmpl_mask_grow(r, &m->span, m->n_span + 1, &m->cap_span, sizeof *m->span));
    m->span[m->n_span++] = s;
    return ERR_OK;
}

static float factor(const struct tmpl_mask_opts *o, int kind)
{
    return kind == TMPL_REASONING ? o->reasoning : kind == TMPL_TOOL_CALL ? o->tool_calls : 1;
}

static uint8_t pass(const struct atom *a, struct turn *t)
{
    uint8_t before = t->near;
    if (is_own(a) || a->kind == TMPL_INPUT)
        t->near = a->kind;
    return before;
}

/* Glue belongs to the own bytes that it leads to, or behind the last ones to those. */
static void find_leads(struct tmpl_run *r)
{
    struct mask_state *m = r->mask;
    for (int64_t k = m->n_atom - 1; k >= 0; k--) {
        struct atom *a = &m->atom[k];
        struct turn *t = a->message >= 0 ? &m->turn[a->message] : NULL;
        if (t && is_own(a) && !t->last)
            t->last = a->kind;
        a->lead = t ? pass(a, t) : 0;
    }
    for (int64_t i = 0; i < r->n_msg; i++)
        m->turn[i].near = 0;
    for (int64_t k = 0; k < m->n_atom; k++) {
        struct atom *a = &m->atom[k];
        a->trail = a->message >= 0 ? pass(a, &m->turn[a->message]) : 0;
    }
}

/* Text beside another message's bytes (a tool's answer inside the turn) is not the model's. */
static float glue_factor(const struct tmpl_mask_opts *o, const struct atom *a, const struct turn *t)
{
    if (a->lead == TMPL_INPUT || a->trail == TMPL_INPUT)
        return 0;
    return factor(o, a->lead ? a->lead : t->last);
}

/* A stretch of content, cut where the message's own weights change. */
static err_code content_spans(struct tmpl_run *r, const struct turn *t, struct tmpl_span s, int64_t off)
{
    if (!t->wn)
        return push_span(r, s);
    if (off < 0)
        return mismatch(r, "has weights for a content that the template changes", s.message);
    const struct weight_at *w = r->mask->weight + t->w0, *end = w + t->wn;
    for (int64_t lo = 0, hi = t->wn; lo < hi;) { /* to the first that ends behind off */
        int64_t mid = (lo + hi) / 2;
        if (w[mid].end <= off)
            lo = mid + 1;
        else
            hi = mid;
        if (lo >= hi)
            w += lo;
    }
    while (s.begin < s.end) {
        struct tmpl_span part = s;
        while (w < end && w->end <= off)
            w++;
        int inside = w < end && w->begin <= off;
        int64_t left = s.end - s.begin, to = w == end ? left : inside ? w->end - off : w->begin - off;
        to = to < left ? to : left;
        part.end = s.begin + to;
        part.weight = inside ? s.weight * w->w : s.weight;
        TRY(push_span(r, part));
        s.begin += to;
        off += to;
    }
    return ERR_OK;
}

/* One stretch inside one region of a turn. */
static err_code paint(struct tmpl_run *r, const struct tmpl_mask_opts *o, int64_t k, int64_t begin, int64_t end, int in_turn, int in_eot)
{
    const struct atom *a = &r->mask->atom[k];
    struct tmpl_span s = {.begin = begin, .end = end, .message = a->message, .kind = a->kind, .plain = a->plain && o->plain};
    const struct message *g = a->message >= 0 ? &r->msg[a->message] : NULL;
    const struct turn *t = a->message >= 0 ? &r->mask->turn[a->message] : NULL;
    int64_t off = a->off < 0 ? -1 : a->off + (begin - a->begin);
    if (o->which == TMPL_ALL_TEXT) {
        s.weight = 1;
        return push_span(r, s);
    }
    if (!g || t->weight == 0)
        return push_span(r, s);
    if (!g->assistant) { /* `train` on another role: its content */
        s.weight = a->off >= 0 ? t->weight : 0;
        return a->off >= 0 ? content_spans(r, t, s, off) : push_span(r, s);
    }
    if (a->kind == TMPL_INPUT || !(in_turn || in_eot))
        return push_span(r, s);
    if (a->kind == TMPL_TEMPLATE) {
        s.kind = in_eot ? TMPL_EOT : TMPL_GLUE;
        s.weight = in_eot ? t->weight : t->weight * glue_factor(o, a, t);
        return push_span(r, s);
    }
    s.weight = t->weight * factor(o, a->kind);
    return a->kind == TMPL_CONTENT || (a->kind == TMPL_REASONING && off >= 0) ? content_spans(r, t, s, off) : push_span(r, s);
}

/* The template's own blocks decide what is supervised; kinds are told as ever. */
static err_code paint_generation(struct tmpl_run *r, const struct tmpl_mask_opts *o, int64_t k)
{
    struct atom *a = &r->mask->atom[k];
    const struct turn *t = a->message >= 0 ? &r->mask->turn[a->message] : NULL;
    if (a->gen && !t) {
        struct tmpl_span s = {.begin = a->begin, .end = a->end, .weight = 1, .message = -1, .kind = TMPL_GLUE, .plain = a->plain && o->plain};
        return push_span(r, s);
    }
    int64_t cut[4] = {a->begin, a->end, a->end, a->end};
    if (t && t->eot >= 0 && t->eot_end > t->eot) {
        cut[1] = t->eot < a->begin ? a->begin : t->eot > a->end ? a->end : t->eot;
        cut[2] = t->eot_end < cut[1] ? cut[1] : t->eot_end > a->end ? a->end : t->eot_end;
    }
    for (int i = 0; i < 3; i++)
        TRY(paint(r, o, k, cut[i], cut[i + 1], a->gen && i != 1, a->gen && i == 1));
    return ERR_OK;
}

/* Cuts atoms at the borders of the turns. An end of turn may lie in text that no loop gave to the turn. */
static err_code make_spans(struct tmpl_run *r, const struct tmpl_mask_opts *o, int from_generation)
{
    struct mask_state *m = r->mask;
    int64_t cur = 0;
    m->n_span = 0;
    find_leads(r);
    for (int64_t k = 0; k < m->n_atom; k++) {
        if (from_generation) {
            TRY(paint_generation(r, o, k));
            continue;
        }
        for (int64_t at = m->atom[k].begin, end; at < m->atom[k].end; at = end) {
            while (cur < r->n_msg && (m->turn[cur].sup < 0 || m->turn[cur].eot_end <= at))
                cur++;
            const struct turn *t = cur < r->n_msg ? &m->turn[cur] : NULL;
            int in = t && at >= t->sup && at < t->eot, eot = t && at >= t->eot && at < t->eot_end;
            end = m->atom[k].end;
            int64_t border = !t ? end : at < t->sup ? t->sup : in ? t->eot : t->eot_end;
            end = border < end ? border : end;
            if ((in || eot) && m->atom[k].message != cur && !m->atom[k].plain)
                m->atom[k].message = (int32_t)cur; /* template text between the turns' own bytes */
            TRY(paint(r, o, k, at, end, in, eot));
        }
    }
    return ERR_OK;
}

static void report(struct tmpl_run *r, int from_generation, struct tmpl_mask *out)
{
    struct mask_state *m = r->mask;
    *out = (struct tmpl_mask){.spans = m->span, .n_spans = m->n_span, .turns = m->out_turn, .n_turns = r->n_msg,
                              .from_generation = from_generation};
    for (int64_t i = 0; i < r->n_msg; i++) {
        const struct turn *t = &m->turn[i];
        int64_t begin = t->begin < 0 ? 0 : t->begin;
        m->out_turn[i] = (struct tmpl_turn){.begin = begin, .end = t->begin < 0 ? 0 : t->end, .assistant = r->msg[i].assistant};
    }
    for (int64_t i = 0; i < m->n_span; i++) {
        if (m->span[i].weight <= 0)
            continue;
        out->supervised += m->span[i].end - m->span[i].begin;
        if (m->span[i].message >= 0)
            m->out_turn[m->span[i].message].supervised = 1;
    }
}

static err_code derive(struct tmpl_run *r, const struct tmpl_mask_opts *o, struct str prompt, struct tmpl_mask *out)
{
    int from_generation = o->use_generation && r->t->has_generation && o->which != TMPL_ALL_TEXT;
    TRY(tmpl_mask_atoms(r));
    mark_looped(r);
    TRY(locate(r, o->which != TMPL_ALL_TEXT));
    TRY(o->which == TMPL_ALL_TEXT ? ERR_OK : place_turns(r, o, prompt));
    TRY(make_spans(r, o, from_generation));
    report(r, from_generation, out);
    return ERR_OK;
}

err_code tmpl_mask(struct tmpl_run *r, const struct tmpl *t, const struct tmpl_mask_opts *o, struct sbuf *out, struct tmpl_mask *mask,
                   struct err *e)
{
    struct str prompt = {"", 0};
    if (!r->has_row)
        BUG("tmpl_mask without a row");
    if (!r->mask) {
        r->mask = calloc(1, sizeof *r->mask);
        if (!r->mask)
            return err_set(e, ERR_LIMIT, "out of memory");
        sbuf_init(&r->mask->probe[0], r->lim.output);
        sbuf_init(&r->mask->probe[1], r->lim.output);
    }
    if (o->which != TMPL_ALL_TEXT)
        TRY(tmpl_mask_prompt(r, t, &prompt, e));
    r->e = e;
    r->t = t;
    r->hide = 1;
    TRY(read_turns(r, o));
    TRY(tmpl_run_render(r, t, 1, out, e));
    if (r->messages.tag == T_LIST && r->n_msg != r->messages.seq->n && o->which != TMPL_ALL_TEXT)
        return err_set(e, ERR_MISMATCH, "%s: no mask for this row: a message is not an object", t->name);
    return derive(r, o, prompt, mask);
}
