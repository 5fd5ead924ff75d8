#include "train/job.h"

#include <string.h>

#include "core/log.h"
#include "core/par.h"
#include "core/version.h"

/* Keys that may differ between the parts of one run: they do not change what is computed. */
static const char free_keys[] = "threads isa data.store train.dir train.save_every train.keep train.log_every eval.show reward.jobs model.recompute rollout.speculate "
                                "hook.lua hook.history hook.memory_mb hook.instructions hook.wall_s ";

enum kern_prec train_job_prec(const struct cfg *c)
{
    static const enum kern_prec precs[] = {KERN_F32, KERN_BF16, KERN_FP8};
    return precs[cfg_index(c, "model.precision")];
}

const char *train_job_mla(const struct cfg *c, const char *job)
{
    return strcmp(c->model.mla, "auto") ? c->model.mla : !strcmp(job, "sft") ? "expanded" : "absorbed";
}

struct model_opts train_job_model(const struct cfg *c, const char *job, int train)
{
    struct model_extend x = {0};
    if (!strcmp(c->model.rope, "yarn"))
        x = (struct model_extend){.factor = c->model.rope_factor, .original = c->model.rope_original, .positions = c->model.positions};
    return (struct model_opts){.extend = x, .mla = strcmp(train_job_mla(c, job), "absorbed") ? MODEL_EXPANDED : MODEL_ABSORBED, .prec = train_job_prec(c), .train = train,
                               .recompute = train && c->model.recompute, .freeze_router = c->model.freeze_router};
}

err_code train_job_kern(const struct cfg *c, struct kern **out, struct err *e)
{
    static const enum kern_isa isas[] = {KERN_BEST, KERN_PORTABLE, KERN_AVX2, KERN_AVX512, KERN_AVX512BF16};
    par_init((int)c->threads);
    return kern_open(&(struct kern_opts){.backend = c->device, .isa = isas[cfg_index(c, "isa")]}, out, e);
}

static err_code save_model(void *ctx, const char *dir, struct err *e)
{
    const struct train_job *j = ctx;
    return model_save(j->m, dir, 0, 0, e);
}

static void refresh_model(void *ctx)
{
    struct train_job *j = ctx;
    model_refresh(j->m);
}

/* MTP layers that get no gradient must not decay either. */
static int trains_mtp(const struct train_job *j)
{
    const struct cfg *c = j->c;
    return strcmp(j->kind, "sft") ? c->grpo.mtp_weight > 0 : c->train.mtp_weight > 0 || c->train.mtp_weight_late > 0;
}

static void make_target(struct train_job *j)
{
    int64_t n;
    const struct model_param *p = model_params(j->m, &n);
    struct train_param *out = ARENA_NEW(&j->mem, struct train_param, n);
    for (int64_t i = 0; i < n; i++)
        out[i] = (struct train_param){.name = p[i].name, .w = p[i].w, .n = p[i].n, .decay = p[i].decay && (!p[i].mtp || trains_mtp(j)),
                                      .apart = p[i].mtp && strcmp(j->kind, "sft")};
    j->target = (struct train_target){.k = j->k, .params = out, .n_params = n, .ctx = j, .refresh = refresh_model, .save = save_model};
    j->grads = ARENA_NEW(&j->mem, float *, n);
}

static err_code open_parts(struct train_job *j, struct err *e)
{
    const struct cfg *c = j->c;
    char who[64];
    snprintf(who, sizeof who, "hone %s", j->kind);
    TRY(train_hook_open(c, &j->hook, e));
    TRY(train_job_kern(c, &j->k, e));
    if (c->train.dir[0])
        TRY(train_find(c->train.dir, j->resume, j->checkpoint, e));
    TRY(ckpt_model(j->checkpoint[0] ? j->checkpoint : c->model.path, j->from, e));
    TRY(store_open(c->data.store, STORE_WRITE, who, &j->store, e));
    TRY(tok_load(j->from, &j->tok, e));
    struct model_opts how = train_job_model(c, j->kind, 1);
    TRY(model_open(j->k, j->from, &how, &j->m, e));
    if (j->resume) {
        int64_t id = 0;
        TRY(store_run_find(j->store, c->train.dir, &id, e));
        if (id)
            TRY(store_run_snapshot(j->store, id, &j->snapshot, e));
    }
    return ERR_OK;
}

err_code train_job_open(struct train_job *j, const struct cfg *c, const char *kind, int resume, struct err *e)
{
    *j = (struct train_job){.c = c, .kind = kind, .resume = resume, .saved_at = -1};
    if (resume && !c->train.dir[0])
        return err_set(e, ERR_USAGE, "--resume needs train.dir, the folder of the run");
    arena_init(&j->mem, "job", 1LL << 32);
    sbuf_init(&j->config, 1 << 20);
    cfg_text(c, &j->config);
    err_code rc = open_parts(j, e);
    return rc == ERR_OK ? rc : train_job_end(j, rc, e);
}

/* ---- balance of the experts ---------------------------------------------------------------- */

static err_code check_balance(const struct train_job *j, struct err *e)
{
    const struct cfg *c = j->c;
    if ((c->train.balance_rate > 0 || c->train.balance_loss > 0) && !model_mixtures(j->m))
        return err_set(e, ERR_USAGE, "train.balance_rate and train.balance_loss balance experts; a %s of this config.json has none", model_conf(j->m)->type);
    if (c->train.balance_rate > 0 && !model_has_selection_bias(j->m))
        return err_set(e, ERR_USAGE, "train.balance_rate moves a selection bias; the router of a %s has none (hint: train.balance_loss)", model_conf(j->m)->type);
    if (c->model.freeze_router && (c->train.balance_rate > 0 || c->train.balance_loss > 0))
        return err_set(e, ERR_USAGE, "model.freeze_router keeps the routers as they are: train.balance_rate and train.balance_loss must be 0");
    return ERR_OK;
}

float train_job_balance(const struct train_job *j, int64_t n_tok)
{
    return n_tok > 0 ? (float)(j->c->train.balance_loss / (double)n_tok) : 0;
}

void train_job_moved(struct train_job *j)
{
    const struct cfg *c = j->c;
    const int64_t n = model_mixtures(j->m) * model_conf(j->m)->experts, *load = model_load(j->m);
    for (int64_t i = 0; i < n; i++)
        j->load[i] += load[i];
    if (c->train.balance_rate > 0 && (c->train.balance_steps == 0 || j->t.step <= c->train.balance_steps))
        model_balance(j->m, (float)c->train.balance_rate);
    model_load_clear(j->m);
}

err_code train_job_record_load(struct train_job *j, int64_t step, struct err *e)
{
    const int64_t n = model_conf(j->m)->experts;
    double worst = 0;
    int64_t all = 0;
    for (int64_t i = 0; i < model_mixtures(j->m); i++) {
        const int64_t *load = j->load + i * n;
        int64_t sum = 0, most = 0;
        for (int64_t k = 0; k < n; k++) {
            sum += load[k];
            most = load[k] > most ? load[k] : most;
        }
        double violation = sum ? (double)most * (double)n / (double)sum - 1 : 0;
        TRY(store_load(&j->run, step, model_mixture_layer(j->m, i), load, n, violation, e));
        worst = violation > worst ? violation : worst;
        all += sum;
    }
    if (all)
        TRY(store_metric(&j->run, step, "max_violation", worst, e));
    memset(j->load, 0, (size_t)(model_mixtures(j->m) * n) * sizeof *j->load);
    return ERR_OK;
}

static struct train_opts opts_of(const struct cfg *c, int64_t steps)
{
    return (struct train_opts){
        .steps = steps, .leaves = c->train.leaves, .lr = c->train.lr, .lr_min = c->train.lr_min, .warmup = c->train.warmup, .hold = c->train.hold,
        .schedule = (enum train_schedule)cfg_index(c, "train.schedule"), .beta1 = c->train.beta1, .beta2 = c->train.beta2, .eps = c->train.eps,
        .weight_decay = c->train.weight_decay, .clip = c->train.clip, .moments = (enum train_moments)cfg_index(c, "train.moments"),
        .seed = (uint64_t)c->seed, .dir = c->train.dir, .save_every = c->train.save_every, .keep = c->train.keep, .log_every = c->train.log_every,
    };
}

/* "step 12 ..." -> 12 */
static err_code read_cursor(struct train_job *j, struct err *e)
{
    struct str rest = j->cursor, word, number = STR("");
    if (!str_split(&rest, ' ', &word) || !str_eq(word, STR("step")) || !str_split(&rest, ' ', &number) || !str_to_i64(number, &j->step_done))
        return err_set(e, ERR_DATA, "'%s': the cursor '%.*s' is not one of hone %s", j->checkpoint, STR_ARG(j->cursor), j->kind);
    return ERR_OK;
}

static err_code resume_run(struct train_job *j, const struct store_run_info *now, struct err *e)
{
    struct ckpt_info info;
    int64_t id = 0;
    if (j->checkpoint[0]) {
        TRY(train_load(&j->t, j->checkpoint, &info, e));
        TRY(train_same_config(info.config, sbuf_str(&j->config), free_keys, e));
        j->cursor = str_dup(&j->mem, info.cursor);
        TRY(read_cursor(j, e));
        j->saved_at = j->t.step;
    }
    TRY(store_run_find(j->store, j->c->train.dir, &id, e));
    if (!id)
        return err_set(e, ERR_DATA, "store '%s' has no run '%s'; hint: data.store names the store that the run began with", j->c->data.store, j->c->train.dir);
    return store_run_resume(j->store, id, j->step_done, now, &j->run, e);
}

void train_job_provenance(const struct cfg *c, char out[80])
{
    struct data_provenance p = {0};
    struct err e = {0};
    if (c->file && data_provenance(c->file, &p, &e) != ERR_OK)
        log_warn("train", "the run's commit is not recorded: %s", e.msg);
    data_provenance_text(&p, out);
}

err_code train_job_start(struct train_job *j, int64_t steps, int64_t snapshot, struct err *e)
{
    const struct cfg *c = j->c;
    struct train_opts o = opts_of(c, steps);
    int64_t known = 0;
    char commit[80];
    make_target(j);
    TRY(check_balance(j, e));
    j->load = ARENA_NEW(&j->mem, int64_t, model_mixtures(j->m) * model_conf(j->m)->experts + 1);
    TRY(train_open(&j->t, &o, &j->target, e));
    j->trainer = 1;
    j->t.config = sbuf_str(&j->config);
    j->t.code = str_of(HONE_VERSION);
    if (j->resume && !j->checkpoint[0])
        TRY(store_run_find(j->store, c->train.dir, &known, e));
    train_job_provenance(c, commit);
    struct store_run_info info = {.kind = j->kind, .name = c->train.dir, .config = j->config.p, .code = HONE_VERSION, .provenance = commit,
                                  .seed = c->seed, .snapshot = snapshot};
    if (j->resume && (j->checkpoint[0] || known)) {
        TRY(resume_run(j, &info, e));
        log_info(j->kind, "goes on behind step %lld", (long long)j->step_done);
    } else {
        TRY(store_run_begin(j->store, &info, &j->run, e));
    }
    j->started = 1;
    j->t.run = j->run.id;
    j->t.attempt = j->run.attempt;
    return ERR_OK;
}

err_code train_job_hook(struct train_job *j, int64_t step, int64_t steps, const char *rest, int *stop, struct err *e)
{
    struct train_hook_answer a;
    struct err second = {0};
    int again = step == j->step_done;
    *stop = 0;
    if (step == 0)
        return ERR_OK;
    err_code rc = train_hook_call(j->hook, &j->run, step, steps, again, &a, e);
    *stop = rc == ERR_OK && a.stop;
    if (again)
        return rc;
    if (rc != ERR_OK) { /* what failed first is told; that the checkpoint failed too is a second line */
        if (train_job_save(j, step, rest, &second) != ERR_OK)
            log_warn(j->kind, "no checkpoint behind the failed hook: %s", second.msg);
        return rc;
    }
    return a.save || a.stop ? train_job_save(j, step, rest, e) : ERR_OK;
}

float *const *train_job_leaf(struct train_job *j)
{
    float *g = train_leaf(&j->t);
    for (int64_t i = 0; i < j->target.n_params; i++)
        j->grads[i] = g + j->t.offset[i];
    return j->grads;
}

err_code train_job_save(struct train_job *j, int64_t step, const char *rest, struct err *e)
{
    char cursor[256];
    if (!j->c->train.dir[0] || j->t.step == j->saved_at)
        return ERR_OK;
    TRY(store_sync(j->store, e));
    snprintf(cursor, sizeof cursor, "step %lld%s%s", (long long)step, rest[0] ? " " : "", rest);
    TRY(train_save(&j->t, str_of(cursor), e));
    j->saved_at = j->t.step;
    return ERR_OK;
}

err_code train_job_end(struct train_job *j, err_code rc, struct err *e)
{
    if (j->started) {
        struct err second = {0};
        store_rollback(j->store);
        const char *status = rc == ERR_OK ? "done" : rc == ERR_CANCELLED ? "stopped" : "failed";
        err_code ended = store_run_end(&j->run, status, rc == ERR_OK || !e ? NULL : e->msg, &second);
        if (ended != ERR_OK && rc == ERR_OK) {
            rc = ended;
            if (e)
                *e = second;
        }
    }
    if (j->trainer)
        train_close(&j->t);
    model_close(j->m);
    tok_free(j->tok);
    store_close(j->store);
    if (j->k)
        kern_close(j->k);
    train_hook_close(j->hook);
    sbuf_release(&j->config);
    arena_release(&j->mem);
    return rc;
}
