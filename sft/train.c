#include "core/log.h"
#include "core/stop.h"
#include "sft/data.h"
#include "sft/sft.h"

/* What a step adds up over its leaves. */
struct losses {
    double weight;              /* W, of the whole step */
    double mtp_weight;          /* lambda; 0: no module runs */
    int64_t n_tok;              /* of the whole step */
    double main, mtp, balance;  /* balance: of experts, without its weight */
};

/* DeepSeek-V3's schedule: one weight, then another. */
static double mtp_weight(const struct train_job *j, int64_t steps)
{
    const struct cfg *c = j->c;
    if (!model_conf(j->m)->mtp)
        return 0;
    return (double)j->t.step < c->train.mtp_late_at * (double)steps ? c->train.mtp_weight : c->train.mtp_weight_late;
}

/* -sum_t w_t log p_k(x_t) / (W D) over the modules' targets, and its gradient times lambda into g [mtp, n_tok]. */
static double mtp_loss(struct train_job *j, const struct data_batch *b, const int32_t *target, const struct losses *l, float *g, struct arena scratch)
{
    int64_t depth = model_conf(j->m)->mtp;
    float *logp = ARENA_NEW(&scratch, float, depth * b->n_tok);
    double loss = 0, each = l->weight * (double)depth;
    model_mtp(j->m, &(struct model_mtp){.target = target, .logp = logp});
    for (int64_t i = 0; i < depth * b->n_tok; i++) {
        double w = target[i % b->n_tok] < 0 ? 0 : (double)b->weights[i % b->n_tok];
        g[i] = (float)(-l->mtp_weight * w / each);
        loss -= w * (double)logp[i] / each;
    }
    return loss;
}

/* -sum_t w_t log pi(x_t) / W of one micro-batch, and its gradient: dL/dlogp_t = -w_t / W. */
static void leaf_loss(struct train_job *j, const struct data_batch *b, struct losses *l, struct arena scratch)
{
    float *logp = ARENA_NEW(&scratch, float, b->n_tok), *g = ARENA_NEW(&scratch, float, b->n_tok), *g_mtp = NULL;
    double balance = 0;
    float coef = train_job_balance(j, l->n_tok);
    int32_t *target = ARENA_NEW(&scratch, int32_t, b->n_tok);
    struct model_batch in = {.n_tok = b->n_tok, .n_seq = b->n_seq, .tokens = b->tokens, .positions = b->positions, .cu_seqlens = b->cu_seqlens};
    for (int64_t t = 0; t < b->n_tok; t++) {
        target[t] = b->weights[t] > 0 ? b->targets[t] : -1; /* the head skips rows that nothing is learnt from */
        g[t] = target[t] < 0 ? 0 : (float)(-(double)b->weights[t] / l->weight);
    }
    model_forward(j->m, &in, 1);
    if (l->mtp_weight > 0) {
        g_mtp = ARENA_NEW(&scratch, float, model_conf(j->m)->mtp * b->n_tok);
        model_logp(j->m, &(struct model_logp){.target = target, .temperature = 1, .logp = logp});
        l->mtp += mtp_loss(j, b, target, l, g_mtp, scratch);
        model_backward(j->m, &(struct model_grad){.g = g, .g_mtp = g_mtp, .grads = train_job_leaf(j), .fresh = 1, .balance = coef, .balance_loss = &balance});
    } else
        model_loss(j->m, &(struct model_loss){.target = target, .temperature = 1, .logp = logp, .g = g, .grads = train_job_leaf(j), .fresh = 1, .balance = coef,
                                             .balance_loss = &balance});
    for (int64_t t = 0; t < b->n_tok; t++)
        if (target[t] >= 0)
            l->main -= (double)b->weights[t] * (double)logp[t] / l->weight;
    l->balance += balance / (double)l->n_tok;
}

static err_code record(struct train_job *j, const struct train_step *s, const struct data_step *d, const struct losses *l, double seconds, struct err *e)
{
    struct store_run *r = &j->run;
    TRY(store_begin(j->store, e));
    TRY(store_step(r, s->step, d->epoch, e));
    TRY(store_metric(r, s->step, "loss", s->loss, e));
    if (l->mtp_weight > 0) {
        TRY(store_metric(r, s->step, "mtp_loss", l->mtp, e));
        TRY(store_metric(r, s->step, "mtp_weight", l->mtp_weight, e));
    }
    TRY(store_metric(r, s->step, "lr", s->lr, e));
    TRY(store_metric(r, s->step, "grad_norm", s->grad_norm, e));
    TRY(store_metric(r, s->step, "clip_scale", s->clip_scale, e));
    TRY(store_metric(r, s->step, "tokens", (double)d->n_tok, e));
    TRY(store_metric(r, s->step, "supervised", (double)d->n_sup, e));
    TRY(store_metric(r, s->step, "rows", (double)d->n_rows, e));
    if (j->c->train.balance_loss > 0)
        TRY(store_metric(r, s->step, "balance_loss", l->balance, e));
    TRY(train_job_record_load(j, s->step, e));
    TRY(store_timing(r, s->step, "seconds", seconds, e));
    return store_commit(j->store, e);
}

static err_code one_step(struct train_job *j, struct sft_data *d, struct arena mem, struct sft_result *out, int *stop, struct err *e)
{
    struct data_step batch;
    struct train_step s;
    double began = clock_now();
    TRY(data_plan_step(d->plan, j->t.step, &mem, &batch, e));
    struct losses l = {.weight = batch.weight, .n_tok = batch.n_tok, .mtp_weight = mtp_weight(j, d->steps)};
    train_begin(&j->t);
    for (int64_t i = 0; i < j->c->train.leaves; i++) {
        if (i >= batch.n_leaves || batch.leaves[i].weight == 0) {
            train_leaf_absent(&j->t);
            continue;
        }
        leaf_loss(j, &batch.leaves[i], &l, mem);
        train_leaf_done(&j->t);
    }
    TRY(train_end(&j->t, l.main, &s, e));
    train_job_moved(j);
    TRY(record(j, &s, &batch, &l, clock_now() - began, e));
    train_show(&j->t, &s, "sft", batch.n_tok, clock_now() - began);
    out->steps++, out->tokens += batch.n_tok, out->loss = s.loss;
    TRY(train_job_hook(j, j->t.step, d->steps, "", stop, e));
    return train_due(&j->t) ? train_job_save(j, j->t.step, "", e) : ERR_OK;
}

static err_code run(struct train_job *j, struct sft_data *d, struct sft_result *out, struct err *e)
{
    struct arena mem;
    int stop = 0;
    err_code rc = train_job_start(j, d->steps, d->snapshot, e);
    if (rc == ERR_OK)
        rc = model_reserve(j->m, &(struct model_room){.tokens = j->c->data.cap, .seqs = d->max_seqs, .train = 1}, e);
    if (rc == ERR_OK)
        rc = train_job_hook(j, j->step_done, d->steps, "", &stop, e);
    arena_init(&mem, "step", 1LL << 34);
    while (rc == ERR_OK && !stop && j->t.step < d->steps)
        rc = stop_requested() ? err_set(e, ERR_CANCELLED, "interrupted behind step %lld; --resume goes on", (long long)j->t.step)
                              : one_step(j, d, mem, out, &stop, e);
    arena_release(&mem);
    return rc;
}

err_code sft_run(const struct cfg *c, int resume, struct sft_result *out, struct err *e)
{
    struct train_job j;
    struct sft_data d;
    *out = (struct sft_result){0};
    TRY(train_job_open(&j, c, "sft", resume, e));
    err_code rc = sft_data_open(&j, &d, e);
    if (rc == ERR_OK) {
        rc = run(&j, &d, out, e);
        data_plan_close(d.plan);
    }
    return train_job_end(&j, rc, e);
}
