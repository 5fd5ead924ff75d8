#include "core/log.h"
#include "core/stop.h"
#include "sft/data.h"
#include "sft/sft.h"

/* -sum_t w_t log pi(x_t) / W of one micro-batch, and its gradient: dL/dlogp_t = -w_t / W. */
static double leaf_loss(struct train_job *j, const struct data_batch *b, double weight, struct arena scratch)
{
    float *logp = ARENA_NEW(&scratch, float, b->n_tok), *g = ARENA_NEW(&scratch, float, b->n_tok);
    int32_t *target = ARENA_NEW(&scratch, int32_t, b->n_tok);
    struct model_batch in = {.n_tok = b->n_tok, .n_seq = b->n_seq, .tokens = b->tokens, .positions = b->positions, .cu_seqlens = b->cu_seqlens};
    double loss = 0;
    for (int64_t t = 0; t < b->n_tok; t++)
        target[t] = b->weights[t] > 0 ? b->targets[t] : -1; /* the head skips rows that nothing is learnt from */
    model_forward(j->m, &in, 1);
    model_logp(j->m, &(struct model_logp){.target = target, .temperature = 1, .logp = logp});
    for (int64_t t = 0; t < b->n_tok; t++) {
        if (target[t] < 0)
            continue;
        g[t] = (float)(-(double)b->weights[t] / weight);
        loss -= (double)b->weights[t] * (double)logp[t] / weight;
    }
    model_backward(j->m, &(struct model_grad){.g = g, .grads = train_job_leaf(j)});
    return loss;
}

static err_code record(struct train_job *j, const struct train_step *s, const struct data_step *d, double seconds, struct err *e)
{
    struct store_run *r = &j->run;
    TRY(store_begin(j->store, e));
    TRY(store_step(r, s->step, d->epoch, e));
    TRY(store_metric(r, s->step, "loss", s->loss, e));
    TRY(store_metric(r, s->step, "lr", s->lr, e));
    TRY(store_metric(r, s->step, "grad_norm", s->grad_norm, e));
    TRY(store_metric(r, s->step, "clip_scale", s->clip_scale, e));
    TRY(store_metric(r, s->step, "tokens", (double)d->n_tok, e));
    TRY(store_metric(r, s->step, "supervised", (double)d->n_sup, e));
    TRY(store_metric(r, s->step, "rows", (double)d->n_rows, e));
    TRY(store_timing(r, s->step, "seconds", seconds, e));
    return store_commit(j->store, e);
}

static err_code one_step(struct train_job *j, struct sft_data *d, struct arena mem, struct sft_result *out, int *stop, struct err *e)
{
    struct data_step batch;
    struct train_step s;
    double began = clock_now(), loss = 0;
    TRY(data_plan_step(d->plan, j->t.step, &mem, &batch, e));
    train_begin(&j->t);
    for (int64_t i = 0; i < j->c->train.leaves; i++) {
        if (i >= batch.n_leaves || batch.leaves[i].weight == 0) {
            train_leaf_absent(&j->t);
            continue;
        }
        loss += leaf_loss(j, &batch.leaves[i], batch.weight, mem);
        train_leaf_done(&j->t);
    }
    TRY(train_end(&j->t, loss, &s, e));
    TRY(record(j, &s, &batch, clock_now() - began, e));
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
