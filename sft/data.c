#include "sft/data.h"

#include "core/log.h"

static err_code choose_items(struct train_job *j, int64_t *snapshot, struct err *e)
{
    const struct cfg *c = j->c;
    *snapshot = j->snapshot;
    if (*snapshot)
        return ERR_OK;
    const char *kinds = strcmp(c->data.turns, "text") == 0 ? "chat,text" : "chat";
    return data_snapshot(j->store, &(struct data_select){.sources = c->data.sources, .kinds = kinds, .split = c->data.split,
                                                         .heldout = c->data.heldout, .exclude = c->data.exclude}, snapshot, e);
}

static err_code make_tokens(struct train_job *j, int64_t snapshot, int64_t *recipe, struct err *e)
{
    const struct cfg *c = j->c;
    struct data_render_opts o = data_render_defaults();
    struct data_render_stats st;
    o.model = j->from, o.tok = j->tok, o.which = c->data.turns, o.template_name = c->data.template[0] ? c->data.template : NULL;
    o.reasoning = c->data.reasoning, o.tool_calls = c->data.tool_calls;
    o.raw = c->data.raw, o.keep_text = c->data.keep_text, o.drop_unsupervised = c->data.drop_unsupervised;
    TRY(data_render(j->store, snapshot, &o, recipe, &st, e));
    log_info("sft", "%lld rows, %lld tokens, %lld of them supervised; longest row %lld", (long long)st.items, (long long)st.tokens,
             (long long)st.supervised, (long long)st.longest);
    if (st.unsupervised)
        log_warn("sft", "%lld rows have no supervised token and are left out", (long long)st.unsupervised);
    return ERR_OK;
}

/* train.epochs as steps: whole epochs, then a share of the next one. */
static err_code count_steps(struct train_job *j, struct sft_data *d, struct err *e)
{
    struct data_plan_info info;
    TRY(data_plan_epoch(d->plan, 0, &info, e));
    log_info("sft", "epoch 0: %lld steps, %lld micro-batches of %lld tokens, %.1f %% full; left out: %lld too long, %lld without supervision; cut: %lld",
             (long long)info.steps, (long long)info.batches, (long long)j->c->data.cap, 100 * info.efficiency, (long long)info.dropped_long,
             (long long)info.dropped_unsupervised, (long long)info.truncated);
    d->steps = j->c->train.steps;
    if (d->steps)
        return ERR_OK;
    double left = j->c->train.epochs;
    for (int64_t epoch = 0; left > 0; epoch++, left -= 1) {
        TRY(data_plan_epoch(d->plan, epoch, &info, e));
        d->steps += left >= 1 ? info.steps : (int64_t)((double)info.steps * left + 0.5);
    }
    return d->steps > 0 ? ERR_OK : err_set(e, ERR_USAGE, "train.epochs %g gives no step", j->c->train.epochs);
}

err_code sft_data_open(struct train_job *j, struct sft_data *d, struct err *e)
{
    const struct cfg *c = j->c;
    int64_t recipe = 0;
    *d = (struct sft_data){0};
    TRY(choose_items(j, &d->snapshot, e));
    TRY(make_tokens(j, d->snapshot, &recipe, e));
    struct data_plan_opts o = {
        .snapshot = d->snapshot, .recipe = recipe, .seed = (uint64_t)c->seed, .cap = c->data.cap, .leaves = c->train.leaves,
        .max_len = c->data.max_len, .over = (enum data_long)cfg_index(c, "data.over_long"), .max_rows = c->data.max_rows,
        .window = c->data.window, .pack = c->data.pack, .shuffle = c->data.shuffle,
    };
    TRY(data_plan_open(j->store, &o, &d->plan, e));
    d->max_seqs = c->data.max_rows ? c->data.max_rows : c->data.cap;
    err_code rc = count_steps(j, d, e);
    if (rc != ERR_OK)
        data_plan_close(d->plan);
    return rc;
}
