/* Steps: plan + number -> the tokens of its micro-batches. */
#include "datasets/plan.h"

#include <stdlib.h>

/* Steps of an epoch: from the store when it was made before, so that a resume does not make all earlier ones. */
static err_code epoch_steps(struct data_plan *p, int64_t epoch, int64_t *steps, struct err *e)
{
    if (epoch < p->n_steps) {
        *steps = p->steps[epoch];
        return ERR_OK;
    }
    assert(epoch == p->n_steps);
    TRY(store_get(p->s, steps, 0, e, "SELECT steps FROM plan_epochs WHERE plan = ? AND epoch = ?", "ii", p->id, epoch));
    if (*steps == 0) {
        TRY(data_plan_load(p, epoch, e));
        *steps = p->now.info.steps;
    }
    if (p->n_steps == p->cap_steps) {
        p->cap_steps = p->cap_steps ? p->cap_steps * 2 : 16;
        p->steps = realloc(p->steps, (size_t)p->cap_steps * sizeof *p->steps);
        if (!p->steps)
            BUG("out of memory");
    }
    p->steps[p->n_steps++] = *steps;
    return ERR_OK;
}

err_code data_plan_locate(struct data_plan *p, int64_t step, int64_t *epoch, int64_t *at, struct err *e)
{
    assert(step >= 0);
    int64_t left = step, steps = 0;
    for (int64_t k = 0;; k++) {
        TRY(epoch_steps(p, k, &steps, e));
        if (left < steps) {
            *epoch = k;
            *at = left;
            return ERR_OK;
        }
        left -= steps;
    }
}

struct filling {
    int32_t *tokens, *positions, *targets;
    float *weights;
    int64_t at;
};

/* Row r behind what is there; the weight of token t belongs to the place before it. */
static err_code add_row(struct data_plan *p, const struct plan_row *r, int64_t n, struct filling *f, struct err *e)
{
    struct store_query q;
    int32_t *tokens = f->tokens + f->at, *targets = f->targets + f->at, *positions = f->positions + f->at;
    float *w = f->weights + f->at;
    TRY(store_query(p->s, &q, e, "SELECT ids, weights FROM token_data WHERE row = ?", "i", r->id));
    struct str ids = q.more ? store_str(&q, 0) : (struct str){0};
    err_code rc = ids.n == 4 * (int64_t)r->n ? data_runs_get(store_str(&q, 1), w, n, e)
                                             : err_set(e, ERR_DATA, "the stored tokens of row %lld are damaged", (long long)r->id);
    if (rc == ERR_OK)
        memcpy(tokens, ids.p, (size_t)n * 4);
    store_end(&q);
    TRY(rc);
    for (int64_t i = 0; i < n; i++) {
        positions[i] = (int32_t)i;
        targets[i] = i + 1 < n ? tokens[i + 1] : -1;
        w[i] = i + 1 < n ? w[i + 1] : 0;
    }
    f->at += n;
    return ERR_OK;
}

static int64_t kept(const struct data_plan *p, const struct plan_row *r)
{
    return r->n < p->o.max_len ? r->n : p->o.max_len;
}

static err_code make_batch(struct data_plan *p, int64_t batch, struct arena *mem, struct data_batch *out, struct err *e)
{
    const struct plan_epoch *x = &p->now;
    int64_t from = batch ? x->end[batch - 1] : 0, n_seq = x->end[batch] - from, n_tok = 0;
    int32_t *cu = ARENA_NEW(mem, int32_t, n_seq + 1);
    int64_t *items = ARENA_NEW(mem, int64_t, n_seq);
    for (int64_t i = 0; i < n_seq; i++) {
        items[i] = p->items.id[x->row[from + i]];
        n_tok += kept(p, &p->rows[x->row[from + i]]);
        cu[i + 1] = (int32_t)n_tok;
    }
    struct filling f = {ARENA_NEW(mem, int32_t, n_tok), ARENA_NEW(mem, int32_t, n_tok), ARENA_NEW(mem, int32_t, n_tok), ARENA_NEW(mem, float, n_tok), 0};
    for (int64_t i = 0; i < n_seq; i++)
        TRY(add_row(p, &p->rows[x->row[from + i]], cu[i + 1] - cu[i], &f, e));
    *out = (struct data_batch){.n_tok = n_tok, .n_seq = n_seq, .tokens = f.tokens, .positions = f.positions, .cu_seqlens = cu,
                               .targets = f.targets, .weights = f.weights, .items = items};
    for (int64_t i = 0; i < n_tok; i++) {
        out->weight += f.weights[i];
        out->n_sup += f.weights[i] > 0;
    }
    return ERR_OK;
}

err_code data_plan_step(struct data_plan *p, int64_t step, struct arena *mem, struct data_step *out, struct err *e)
{
    struct data_step s = {.step = step};
    TRY(data_plan_locate(p, step, &s.epoch, &s.at, e));
    TRY(data_plan_load(p, s.epoch, e));
    int64_t from = s.at * p->o.leaves, left = p->now.info.batches - from;
    s.n_leaves = left < p->o.leaves ? left : p->o.leaves;
    struct data_batch *leaves = ARENA_NEW(mem, struct data_batch, s.n_leaves);
    for (int64_t i = 0; i < s.n_leaves; i++) {
        TRY(make_batch(p, from + i, mem, &leaves[i], e));
        s.weight += leaves[i].weight;
        s.n_sup += leaves[i].n_sup;
        s.n_tok += leaves[i].n_tok;
        s.n_rows += leaves[i].n_seq;
    }
    s.leaves = leaves;
    *out = s;
    return ERR_OK;
}
