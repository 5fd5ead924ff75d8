/* Rows of runs. */
#include <unistd.h>

#include "datasets/store.h"

err_code store_run_begin(struct store *s, const struct store_run_info *info, struct store_run *out, struct err *e)
{
    int64_t id = 0;
    TRY(store_begin(s, e));
    err_code rc = store_exec(s, e, "INSERT INTO runs(kind, name, config, code, seed, snapshot, provenance) VALUES(?,?,?,?,?,nullif(?,0),nullif(?,''))", "ttttiit",
                             info->kind, info->name, info->config ? info->config : "", info->code ? info->code : "", info->seed,
                             info->snapshot, info->provenance);
    if (rc == ERR_OK) {
        id = store_last_id(s);
        rc = store_exec(s, e, "INSERT INTO attempts(run, attempt, first_step, pid, code) VALUES(?,1,0,?,?)", "iit", id,
                        (int64_t)getpid(), info->code ? info->code : "");
    }
    if (rc == ERR_OK)
        rc = store_commit(s, e);
    if (rc != ERR_OK) {
        store_rollback(s);
        return rc;
    }
    *out = (struct store_run){s, id, 1};
    return ERR_OK;
}

err_code store_run_find(struct store *s, const char *name, int64_t *id, struct err *e)
{
    return store_get(s, id, 0, e, "SELECT max(id) FROM runs WHERE name = ?", "t", name);
}

err_code store_run_snapshot(struct store *s, int64_t id, int64_t *snapshot, struct err *e)
{
    return store_get(s, snapshot, 0, e, "SELECT ifnull(snapshot, 0) FROM runs WHERE id = ?", "i", id);
}

err_code store_run_resume(struct store *s, int64_t id, int64_t step_done, const struct store_run_info *now, struct store_run *out, struct err *e)
{
    int64_t last;
    TRY(store_get(s, &last, 0, e, "SELECT max(attempt) FROM attempts WHERE run = ?", "i", id));
    if (last == 0)
        return err_set(e, ERR_DATA, "store '%s' has no run %lld", store_path(s), (long long)id);
    TRY(store_begin(s, e));
    err_code rc = store_exec(s, e, "INSERT INTO attempts(run, attempt, first_step, pid, code, config, provenance) VALUES(?,?,?,?,?,?,?)", "iiiittt", id,
                             last + 1, step_done > 0 ? step_done + 1 : (int64_t)0, (int64_t)getpid(), now->code ? now->code : "", now->config, now->provenance);
    if (rc == ERR_OK)
        rc = store_exec(s, e, "UPDATE runs SET status = NULL, why = NULL, ended_at = NULL WHERE id = ?", "i", id);
    if (rc == ERR_OK)
        rc = store_commit(s, e);
    if (rc != ERR_OK) {
        store_rollback(s);
        return rc;
    }
    *out = (struct store_run){s, id, last + 1};
    return ERR_OK;
}

err_code store_run_end(struct store_run *r, const char *status, const char *why, struct err *e)
{
    TRY(store_begin(r->s, e));
    err_code rc = store_exec(r->s, e, "UPDATE runs SET status = ?, why = ?, ended_at = strftime('%Y-%m-%dT%H:%M:%fZ') WHERE id = ?",
                             "tti", status, why, r->id);
    if (rc == ERR_OK)
        rc = store_exec(r->s, e, "UPDATE attempts SET status = ?, why = ?, ended_at = strftime('%Y-%m-%dT%H:%M:%fZ')"
                                 " WHERE run = ? AND attempt = ?", "ttii", status, why, r->id, r->attempt);
    if (rc == ERR_OK)
        rc = store_commit(r->s, e);
    if (rc != ERR_OK)
        store_rollback(r->s);
    return rc;
}

err_code store_step(struct store_run *r, int64_t step, int64_t epoch, struct err *e)
{
    return store_exec(r->s, e, "INSERT INTO steps_all(run, step, attempt, epoch) VALUES(?,?,?,?)", "iiii", r->id, step, r->attempt, epoch);
}

err_code store_metric(struct store_run *r, int64_t step, const char *name, double value, struct err *e)
{
    return store_exec(r->s, e, "INSERT INTO metrics_all(run, step, attempt, name, value) VALUES(?,?,?,?,?)", "iiitd", r->id, step,
                      r->attempt, name, value);
}

err_code store_timing(struct store_run *r, int64_t step, const char *name, double value, struct err *e)
{
    return store_exec(r->s, e, "INSERT INTO timings_all(run, step, attempt, name, value) VALUES(?,?,?,?,?)", "iiitd", r->id, step,
                      r->attempt, name, value);
}

err_code store_event(struct store_run *r, int64_t step, const char *name, int64_t count, const char *detail, struct err *e)
{
    return store_exec(r->s, e, "INSERT INTO events_all(run, step, attempt, name, count, detail) VALUES(?,?,?,?,?,?)", "iiitit", r->id,
                      step, r->attempt, name, count, detail);
}

err_code store_load(struct store_run *r, int64_t step, int64_t layer, const int64_t *tokens, int64_t n, double violation, struct err *e)
{
    struct sbuf b;
    sbuf_init(&b, 1 << 20);
    for (int64_t i = 0; i < n; i++)
        sbuf_addf(&b, "%c%lld", i ? ',' : '[', (long long)tokens[i]);
    sbuf_addc(&b, ']');
    err_code rc = store_exec(r->s, e, "INSERT INTO loads_all(run, step, attempt, layer, violation, tokens) VALUES(?,?,?,?,?,?)", "iiiidt", r->id, step, r->attempt,
                             layer, violation, b.p);
    sbuf_release(&b);
    return rc;
}

err_code store_eval(struct store_run *r, int64_t step, const char *set, const char *name, double value, int64_t n, struct err *e)
{
    return store_exec(r->s, e, "INSERT INTO evals_all(run, step, attempt, dataset, name, value, n) VALUES(?,?,?,?,?,?,?)", "iiittdi",
                      r->id, step, r->attempt, set, name, value, n);
}

err_code store_rollout(struct store_run *r, int64_t step, const struct store_rollout *o, struct err *e)
{
    return store_exec(r->s, e,
                      "INSERT INTO rollouts_all(run, step, attempt, purpose, prompt, sample, item, n_prompt, n, stop, reward, advantage,"
                      " used, why, text, prompt_ids, ids, logp, routes)"
                      " VALUES(?,?,?,?,?,?,nullif(?,0),?,?,?,?,?,?,?,?,?,?,?,?)",
                      "iiitiiiiitdditsbbbb", r->id, step, r->attempt, o->purpose, o->prompt, o->sample, o->item, o->n_prompt, o->n,
                      o->stop, o->reward, o->advantage, (int64_t)o->used, o->why, o->text, (const void *)(o->n_prompt ? o->prompt_ids : NULL),
                      o->n_prompt * 4, (const void *)(o->ids ? (const void *)o->ids : ""), o->n * 4, (const void *)o->logp,
                      o->logp ? o->n * 4 : (int64_t)0, (const void *)o->routes, o->routes ? o->n * o->route_width * 2 : (int64_t)0);
}

err_code store_verdict(struct store_run *r, int64_t step, const struct store_verdict *v, struct err *e)
{
    return store_exec(r->s, e,
                      "INSERT INTO verdicts_all(run, step, attempt, purpose, prompt, sample, reward, outcome, score, why, wall_ms)"
                      " VALUES(?,?,?,?,?,?,?,?,?,?,?)", "iiitiittdtd", r->id, step, r->attempt, v->purpose, v->prompt, v->sample, v->reward,
                      v->outcome, v->score, v->why, v->wall_ms);
}
