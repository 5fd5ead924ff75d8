#include "parallel/schedule.h"

/* One entry of a rank's list. dir: 0 enters at rank 0, 1 at the last rank (DualPipe only). */
enum what { FWD, BWD_FULL, BWD_INPUT, WEIGHT, PAIR };
struct call {
    enum what what;
    int f_dir, b_dir;
    int64_t f, b;            /* micro-batch of its direction */
};
struct lane {
    struct call *calls;
    int64_t n, at;
    int64_t next_f[2], next_b[2], queued, done_w;
    double now, busy;
    int64_t held, most;
};
struct sim {
    int64_t pp, micro;       /* micro: per direction */
    struct lane *lanes;
    double *f_end, *b_end;   /* [dir][rank][micro], negative: not done */
};

double pipe_bubble(enum pipe_kind k, int64_t pp, const struct pipe_cost *c)
{
    switch (k) {
    case PIPE_1f1b: return (double)(pp - 1) * (c->f + c->b);
    case PIPE_zb1p: return (double)(pp - 1) * (c->f + c->b - 2 * c->w);
    case PIPE_dualpipe: return ((double)pp / 2 - 1) * (c->fb + c->b - 3 * c->w);
    default: BUG("no schedule %d", k);
    }
}

/* ---- the lists ---------------------------------------------------------------------------- */

static void put_f(struct lane *l, int dir) { l->calls[l->n++] = (struct call){.what = FWD, .f_dir = dir, .f = l->next_f[dir]++}; }

static void put_b(struct lane *l, int dir, int input_only)
{
    l->calls[l->n++] = (struct call){.what = input_only ? BWD_INPUT : BWD_FULL, .b_dir = dir, .b = l->next_b[dir]++};
    l->queued += input_only;
}

static void put_w(struct lane *l)
{
    l->calls[l->n++] = (struct call){.what = WEIGHT};
    l->queued--;
}

static void put_pair(struct lane *l, int f_dir, int b_dir)
{
    l->calls[l->n++] = (struct call){.what = PAIR, .f_dir = f_dir, .f = l->next_f[f_dir]++, .b_dir = b_dir, .b = l->next_b[b_dir]++};
}

static void list_1f1b(struct lane *l, int64_t rank, int64_t pp, int64_t micro)
{
    int64_t warm = pp - 1 - rank;
    for (int64_t i = 0; i < warm; i++)
        put_f(l, 0);
    for (int64_t i = 0; i < micro - warm; i++)
        put_f(l, 0), put_b(l, 0, 0);
    for (int64_t i = 0; i < warm; i++)
        put_b(l, 0, 0);
}

/* ZB-H1: as 1F1B with backwards split; rank r keeps r weight parts back and fills its tail with them. */
static void list_zb1p(struct lane *l, int64_t rank, int64_t pp, int64_t micro)
{
    int64_t warm = pp - 1 - rank;
    for (int64_t i = 0; i < warm; i++)
        put_f(l, 0);
    for (int64_t i = 0; i < micro - warm; i++) {
        put_f(l, 0), put_b(l, 0, 1);
        if (l->queued > rank)
            put_w(l);
    }
    for (int64_t i = 0; i < warm; i++)
        put_b(l, 0, 1), put_w(l);
    while (l->queued)
        put_w(l);
}

/* Eight phases; direction 0 of a rank is the one whose end is nearer. */
static void list_dualpipe(struct lane *l, int64_t rank, int64_t pp, int64_t micro)
{
    int64_t half = pp / 2, h = rank < pp - 1 - rank ? rank : pp - 1 - rank;
    int d0 = rank >= half, d1 = !d0, middle = rank == half - 1 || rank == half;
    for (int64_t i = 0; i < 2 * (half - h - 1); i++)
        put_f(l, d0);
    for (int64_t i = 0; i < h + 1; i++)
        put_f(l, d0), put_f(l, d1);
    for (int64_t i = 0; i < half - h - 1; i++)
        put_b(l, d1, 1), put_w(l), put_f(l, d1);
    for (int64_t i = 0; i < micro / 2 - pp + h + 1; i++) {
        if (i == 0 && middle)
            put_f(l, d0), put_b(l, d1, 0);
        else
            put_pair(l, d0, d1);
        put_pair(l, d1, d0);
    }
    for (int64_t i = 0; i < half - h - 1; i++)
        put_b(l, d1, 0), put_pair(l, d1, d0);
    int split = 0;
    for (int64_t i = 0; i < h + 1; i++) {
        split |= i == (h + 1) / 2 && h % 2 == 1;
        put_b(l, d1, split);
        split |= i == (h + 1) / 2 && h % 2 == 0;
        put_b(l, d0, split);
    }
    for (int64_t i = 0; i < half - h - 1; i++)
        put_w(l), put_b(l, d0, 1);
    for (int64_t i = 0; i < h + 1; i++)
        put_w(l);
}

/* ---- the simulation ----------------------------------------------------------------------- */

static double *f_end(struct sim *s, int dir, int64_t rank, int64_t m) { return &s->f_end[(dir * s->pp + rank) * s->micro + m]; }
static double *b_end(struct sim *s, int dir, int64_t rank, int64_t m) { return &s->b_end[(dir * s->pp + rank) * s->micro + m]; }

/* When the call's inputs are there; negative: not yet known. */
static double ready(struct sim *s, int64_t rank, const struct call *c)
{
    double at = 0, t;
    if (c->what == FWD || c->what == PAIR) {
        int64_t before = c->f_dir ? rank + 1 : rank - 1;
        if (before >= 0 && before < s->pp) {
            if ((t = *f_end(s, c->f_dir, before, c->f)) < 0)
                return -1;
            at = t > at ? t : at;
        }
    }
    if (c->what == BWD_FULL || c->what == BWD_INPUT || c->what == PAIR) {
        int64_t behind = c->b_dir ? rank - 1 : rank + 1;
        t = behind >= 0 && behind < s->pp ? *b_end(s, c->b_dir, behind, c->b) : *f_end(s, c->b_dir, rank, c->b);
        if (t < 0 || *f_end(s, c->b_dir, rank, c->b) < 0)
            return -1;
        at = t > at ? t : at;
    }
    return at;
}

static double cost_of(const struct pipe_cost *c, enum what w)
{
    return w == FWD ? c->f : w == BWD_FULL ? c->b : w == BWD_INPUT ? c->b - c->w : w == WEIGHT ? c->w : c->fb;
}

static int advance(struct sim *s, int64_t rank, const struct pipe_cost *c)
{
    struct lane *l = &s->lanes[rank];
    int moved = 0;
    for (double at; l->at < l->n && (at = ready(s, rank, &l->calls[l->at])) >= 0; l->at++, moved = 1) {
        const struct call *k = &l->calls[l->at];
        double took = cost_of(c, k->what);
        l->now = (at > l->now ? at : l->now) + took;
        l->busy += took;
        int forward = k->what == FWD || k->what == PAIR, backward = k->what == BWD_FULL || k->what == BWD_INPUT || k->what == PAIR;
        if (forward)
            *f_end(s, k->f_dir, rank, k->f) = l->now, l->held++;
        l->most = l->held > l->most ? l->held : l->most;
        if (backward)
            *b_end(s, k->b_dir, rank, k->b) = l->now, l->held--;
    }
    return moved;
}

static err_code make_lists(struct sim *s, enum pipe_kind k, int64_t pp, int64_t micro, struct arena *mem, struct err *e)
{
    if (pp < 1 || (k == PIPE_dualpipe ? pp % 2 || micro % 2 || micro < 2 * pp : micro < pp))
        return err_set(e, ERR_USAGE, "%s does not take %lld stages with %lld micro-batches; %s", k == PIPE_dualpipe ? "DualPipe" : "this schedule",
                       (long long)pp, (long long)micro, k == PIPE_dualpipe ? "both must be even, micro-batches at least 2 x stages" : "there must be at least as many micro-batches as stages");
    *s = (struct sim){.pp = pp, .micro = k == PIPE_dualpipe ? micro / 2 : micro, .lanes = ARENA_NEW(mem, struct lane, pp)};
    s->f_end = ARENA_NEW(mem, double, 2 * pp * s->micro);
    s->b_end = ARENA_NEW(mem, double, 2 * pp * s->micro);
    for (int64_t i = 0; i < 2 * pp * s->micro; i++)
        s->f_end[i] = s->b_end[i] = -1;
    for (int64_t r = 0; r < pp; r++) {
        s->lanes[r].calls = ARENA_NEW(mem, struct call, 4 * micro + 8 * pp);
        (k == PIPE_1f1b ? list_1f1b : k == PIPE_zb1p ? list_zb1p : list_dualpipe)(&s->lanes[r], r, pp, micro);
    }
    return ERR_OK;
}

err_code pipe_simulate(enum pipe_kind k, int64_t pp, int64_t micro, const struct pipe_cost *c, struct arena scratch, struct pipe_run *out, struct err *e)
{
    struct sim s = {0};
    int moved = 1;
    TRY(make_lists(&s, k, pp, micro, &scratch, e));
    while (moved) {
        moved = 0;
        for (int64_t r = 0; r < pp; r++)
            moved |= advance(&s, r, c);
    }
    *out = (struct pipe_run){.held = out->held};
    for (int64_t r = 0; r < pp; r++) {
        struct lane *l = &s.lanes[r];
        int64_t f = l->next_f[0] + l->next_f[1], b = l->next_b[0] + l->next_b[1];
        if (l->at < l->n || l->queued || f != micro || b != micro)
            return err_set(e, ERR_MISMATCH, "schedule: rank %lld stops at call %lld of %lld with %lld weight parts left", (long long)r, (long long)l->at,
                           (long long)l->n, (long long)l->queued);
        out->total = l->now > out->total ? l->now : out->total;
        out->activations = l->most > out->activations ? l->most : out->activations;
        if (out->held)
            out->held[r] = l->most;
    }
    for (int64_t r = 0; r < pp; r++)
        out->bubble = out->total - s.lanes[r].busy > out->bubble ? out->total - s.lanes[r].busy : out->bubble;
    return ERR_OK;
}
