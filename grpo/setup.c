#include "grpo/setup.h"

#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "core/log.h"

enum { STOPS_MAX = 16 };

/* ---- problems ----------------------------------------------------------------------------- */

static err_code training_problems(struct grpo *g, struct err *e)
{
    const struct cfg *c = g->c;
    int64_t snapshot = g->j.snapshot;
    if (!snapshot)
        TRY(data_snapshot(g->j.store, &(struct data_select){.sources = c->data.sources, .kinds = "prompt", .split = c->data.split,
                                                            .heldout = c->data.heldout, .exclude = c->data.exclude}, &snapshot, e));
    TRY(grpo_problems_open(&g->problems, c, g->j.store, snapshot, g->j.from, g->j.tok, e));
    log_info(g->j.kind, "%lld problems", (long long)g->problems.items.n);
    return ERR_OK;
}

/* eval.sources, or the held-out side of data.sources. */
static err_code held_out_problems(struct grpo *g, struct err *e)
{
    const struct cfg *c = g->c;
    int own = c->eval.sources[0] != 0;
    int64_t snapshot = 0, common = 0;
    if (!own && c->data.heldout == 0)
        return ERR_OK;
    TRY(data_snapshot(g->j.store, &(struct data_select){.sources = own ? c->eval.sources : c->data.sources, .kinds = "prompt", .split = own ? c->eval.split : "heldout",
                                                        .heldout = c->data.heldout}, &snapshot, e));
    TRY(grpo_problems_open(&g->held_out, c, g->j.store, snapshot, g->j.from, g->j.tok, e));
    g->held_out.max_prompt = 0;
    g->has_held_out = 1;
    if (g->problems.snapshot)
        TRY(data_overlap(g->j.store, snapshot, g->problems.snapshot, &common, e));
    if (common)
        log_warn(g->j.kind, "%lld held-out problems are also trained on; hint: data.exclude", (long long)common);
    return ERR_OK;
}

/* ---- rollout and rewards ------------------------------------------------------------------ */

err_code grpo_open_parts(struct grpo *g, struct err *e)
{
    const struct cfg *c = g->c;
    struct rollout_opts o = {.seqs = c->rollout.batch, .context = c->rollout.context, .step_tokens = c->rollout.step_tokens,
                             .cache_bytes = c->rollout.cache_mb << 20, .speculate = c->rollout.speculate, .finish = 1};
    TRY(cfg_texts(c->rollout.stop, "rollout.stop", g->stops, STOPS_MAX, &g->n_stops, &g->j.mem, e));
    TRY(rollout_open(g->j.m, g->j.tok, &o, &g->r, e));
    TRY(reward_open(c, &g->rewards, e));
    return held_out_problems(g, e);
}

void grpo_close_parts(struct grpo *g)
{
    if (g->problems.store)
        grpo_problems_close(&g->problems);
    if (g->held_out.store)
        grpo_problems_close(&g->held_out);
    reward_close(g->rewards);
    rollout_close(g->r);
    model_close(g->ref);
}

/* ---- the reference ------------------------------------------------------------------------ */

static int64_t synced_at(const struct grpo *g, int64_t step)
{
    int64_t every = g->c->grpo.ref_sync_every;
    return every > 0 ? step / every * every : 0;
}

static void ref_folder(const struct grpo *g, int64_t step, char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/ref_%08lld", g->c->train.dir, (long long)step);
}

static err_code open_frozen(struct grpo *g, const char *path, struct err *e)
{
    struct model_opts how = train_job_model(g->c, g->j.kind, 0);
    return model_open(g->j.k, path, &how, &g->ref, e);
}

/* The reference as of a step: a folder of its own once it was synced, before that the model the run began with. */
static err_code open_reference(struct grpo *g, struct err *e)
{
    char path[PATH_MAX];
    int64_t at = synced_at(g, g->j.step_done);
    if (g->c->grpo.kl_coef == 0)
        return ERR_OK;
    if (at > 0)
        ref_folder(g, at, path);
    else
        TRY(ckpt_model(g->c->grpo.ref_path[0] ? g->c->grpo.ref_path : g->c->model.path, path, e));
    if (at == 0 && g->j.step_done == 0 && !g->c->grpo.ref_path[0])
        TRY(model_freeze(g->j.m, &g->ref, e)); /* shares the weights until the first update */
    else
        TRY(open_frozen(g, path, e));
    return ERR_OK;
}

err_code grpo_sync_reference(struct grpo *g, int64_t step, struct err *e)
{
    char path[PATH_MAX], tmp[PATH_MAX + 8], old[PATH_MAX];
    if (!g->ref || synced_at(g, step) != step)
        return ERR_OK;
    model_close(g->ref);
    g->ref = NULL;
    TRY(model_freeze(g->j.m, &g->ref, e));
    TRY(model_reserve(g->ref, &(struct model_room){.tokens = g->c->data.cap, .seqs = g->c->data.cap}, e));
    log_info("grpo", "step %lld: the reference is the policy now", (long long)step);
    if (!g->c->train.dir[0])
        return ERR_OK;
    ref_folder(g, step, path);
    snprintf(tmp, sizeof tmp, "%s.tmp", path);
    TRY(file_remove_tree(tmp, e));
    TRY(file_mkdirs(tmp, e));
    TRY(model_save(g->j.m, tmp, 0, 0, e));
    TRY(file_remove_tree(path, e));
    TRY(file_rename(tmp, path, e));
    TRY(file_sync_dir(g->c->train.dir, e));
    ref_folder(g, step - 2 * g->c->grpo.ref_sync_every, old); /* the one before stays for checkpoints that were made under it */
    return step > 2 * g->c->grpo.ref_sync_every ? file_remove_tree(old, e) : ERR_OK;
}

/* ---- the job ------------------------------------------------------------------------------ */

/* "step N problem M" */
static err_code read_place(struct grpo *g, struct err *e)
{
    int64_t at = str_find(g->j.cursor, STR(" problem "), 0);
    if (g->j.cursor.n && (at < 0 || !str_to_i64(str_sub(g->j.cursor, at + 9, g->j.cursor.n), &g->next)))
        return err_set(e, ERR_DATA, "'%s': the cursor '%.*s' is not one of hone grpo", g->j.checkpoint, STR_ARG(g->j.cursor));
    return ERR_OK;
}

static err_code reserve(struct grpo *g, struct err *e)
{
    int64_t tokens = grpo_cut_tokens(g->c->data.cap, rollout_context(g->r));
    struct model_room room = {.tokens = tokens, .seqs = tokens, .train = 1};
    TRY(model_reserve(g->j.m, &room, e));
    room.train = 0;
    return g->ref ? model_reserve(g->ref, &room, e) : ERR_OK;
}

static err_code start(struct grpo *g, struct err *e)
{
    const struct cfg *c = g->c;
    TRY(training_problems(g, e));
    TRY(train_job_start(&g->j, c->train.steps * c->grpo.inner_epochs * c->grpo.minibatches, g->problems.snapshot, e));
    TRY(read_place(g, e));
    TRY(grpo_open_parts(g, e));
    TRY(open_reference(g, e));
    return reserve(g, e);
}

err_code grpo_setup(struct grpo *g, const struct cfg *c, int resume, struct err *e)
{
    *g = (struct grpo){.c = c, .loss = grpo_loss_options(c), .adv = grpo_adv_options(c)};
    if (c->train.steps < 1)
        return err_set(e, ERR_USAGE, "train.steps is %lld: a GRPO run needs the number of its steps", (long long)c->train.steps);
    TRY(train_job_open(&g->j, c, "grpo", resume, e));
    err_code rc = start(g, e);
    return rc == ERR_OK ? rc : grpo_teardown(g, rc, e);
}

err_code grpo_teardown(struct grpo *g, err_code rc, struct err *e)
{
    grpo_close_parts(g);
    return train_job_end(&g->j, rc, e);
}
