#include "train/hook.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"

struct train_hook {
    struct script_file file;
    int64_t history;
};

void train_hook_close(struct train_hook *h)
{
    if (!h)
        return;
    script_file_close(&h->file);
    free(h);
}

err_code train_hook_open(const struct cfg *c, struct train_hook **out, struct err *e)
{
    struct script_limits limits = {c->hook.memory_mb << 20, c->hook.instructions, c->hook.wall_s};
    *out = NULL;
    if (!c->hook.lua[0])
        return ERR_OK;
    struct train_hook *h = calloc(1, sizeof *h);
    if (!h)
        BUG("out of memory");
    h->history = c->hook.history;
    err_code rc = script_file_open(&h->file, c->hook.lua, "step(now, before)", &limits, NULL, e);
    if (rc == ERR_OK)
        *out = h;
    else
        free(h);
    return rc;
}

/* ---- what the hook sees -------------------------------------------------------------------- */

static json_t *row_of(json_t *rows, int64_t first, int64_t step)
{
    while ((int64_t)json_array_size(rows) <= step - first)
        json_array_append_new(rows, json_pack("{s:I}", "step", (json_int_t)(first + (int64_t)json_array_size(rows))));
    return json_array_get(rows, (size_t)(step - first));
}

static void put(json_t *row, struct str name, double value)
{
    if (isfinite(value))
        json_object_setn_new(row, name.p, (size_t)name.n, json_real(value));
}

/* The rows of steps first .. last, in order; what the hook itself added to the last one is left out: it was not there when it was asked first. */
static err_code read_rows(struct store_run *run, int64_t first, int64_t last, json_t *rows, struct err *e)
{
    struct store_query q;
    TRY(store_query(run->s, &q, e, "SELECT step, name, value FROM metrics WHERE run = ? AND step BETWEEN ? AND ?"
                                   " AND (step < ? OR name NOT LIKE 'hook.%')", "iiii", run->id, first, last, last));
    while (q.more) {
        put(row_of(rows, first, store_i64(&q, 0)), store_str(&q, 1), store_f64(&q, 2));
        TRY(store_next(&q, e));
    }
    TRY(store_query(run->s, &q, e, "SELECT step, name, value FROM evals WHERE run = ? AND step BETWEEN ? AND ?", "iii", run->id, first, last));
    while (q.more) {
        json_t *row = row_of(rows, first, store_i64(&q, 0));
        if (!json_object_get(row, "eval"))
            json_object_set_new(row, "eval", json_object());
        put(json_object_get(row, "eval"), store_str(&q, 1), store_f64(&q, 2));
        TRY(store_next(&q, e));
    }
    row_of(rows, first, last);
    return ERR_OK;
}

/* [now, before] */
static err_code arguments(const struct train_hook *h, struct store_run *run, int64_t step, int64_t steps, json_t **out, struct err *e)
{
    int64_t first = step > h->history ? step - h->history : 1;
    json_t *before = json_array();
    *out = NULL;
    err_code rc = read_rows(run, first, step, before, e);
    if (rc == ERR_OK) {
        json_t *now = json_incref(json_array_get(before, (size_t)(step - first)));
        json_array_remove(before, (size_t)(step - first));
        json_object_set_new(now, "steps", json_integer(steps));
        *out = json_pack("[oO]", now, before);
    }
    json_decref(before);
    return rc;
}

/* ---- what it answers ----------------------------------------------------------------------- */

static err_code store_metrics(struct store_run *run, int64_t step, const char *path, json_t *metrics, struct err *e)
{
    char name[64];
    const char *key;
    json_t *value;
    if (!json_is_object(metrics) && json_array_size(metrics))
        return err_set(e, ERR_DATA, "%s: step() returned metrics that are no table of name = number", path);
    json_object_foreach(metrics, key, value)
    {
        if (!json_is_number(value))
            return err_set(e, ERR_DATA, "%s: step() returned metric '%s' that is no number", path, key);
        if (snprintf(name, sizeof name, "hook.%s", key) >= (int)sizeof name)
            return err_set(e, ERR_DATA, "%s: step() returned a metric name of more than %zu bytes", path, sizeof name - 6);
        TRY(store_metric(run, step, name, json_number_value(value), e));
    }
    return ERR_OK;
}

static err_code take(json_t *table, const char *path, struct train_hook_answer *out, json_t **metrics, struct err *e)
{
    const char *key;
    json_t *v;
    if (!table || json_is_null(table) || (json_is_array(table) && !json_array_size(table)))
        return ERR_OK;
    if (!json_is_object(table))
        return err_set(e, ERR_DATA, "%s: step() must return nil or a table { stop =, save =, metrics = }", path);
    json_object_foreach(table, key, v)
    {
        if (!strcmp(key, "stop") && (json_is_string(v) || json_is_boolean(v))) {
            out->stop = !json_is_false(v);
            snprintf(out->why, sizeof out->why, "%s", json_is_string(v) ? json_string_value(v) : "the hook said so");
        } else if (!strcmp(key, "save") && json_is_boolean(v)) {
            out->save = json_is_true(v);
        } else if (!strcmp(key, "metrics")) {
            *metrics = v;
        } else {
            return err_set(e, ERR_DATA, "%s: step() returned '%s' = %s; it is one of stop (true or a reason), save (true), metrics (a table)", path, key,
                           json_is_boolean(v) ? "a boolean" : json_is_number(v) ? "a number" : json_is_string(v) ? "a string" : "a table");
        }
    }
    return ERR_OK;
}

static err_code keep(struct train_hook *h, struct store_run *run, int64_t step, const struct train_hook_answer *a, json_t *metrics, struct err *e)
{
    if (!metrics && !a->stop)
        return ERR_OK;
    TRY(store_begin(run->s, e));
    err_code rc = metrics ? store_metrics(run, step, h->file.path, metrics, e) : ERR_OK;
    if (rc == ERR_OK && a->stop)
        rc = store_event(run, step, "hook_stop", 1, a->why, e);
    if (rc == ERR_OK)
        return store_commit(run->s, e);
    store_rollback(run->s);
    return rc;
}

err_code train_hook_call(struct train_hook *h, struct store_run *run, int64_t step, int64_t steps, int again, struct train_hook_answer *out, struct err *e)
{
    struct script *s = NULL;
    json_t *args = NULL, *answer = NULL, *metrics = NULL;
    *out = (struct train_hook_answer){0};
    if (!h)
        return ERR_OK;
    err_code rc = arguments(h, run, step, steps, &args, e);
    if (rc == ERR_OK)
        rc = script_file_load(&h->file, NULL, &s, e);
    if (rc == ERR_OK)
        rc = script_call(s, "step", args, &answer, e);
    if (rc == ERR_OK)
        rc = take(json_array_get(answer, 0), h->file.path, out, &metrics, e);
    if (rc == ERR_OK && !again)
        rc = keep(h, run, step, out, metrics, e);
    script_close(s);
    json_decref(args);
    json_decref(answer);
    if (rc == ERR_OK && out->stop)
        log_info("hook", "step %lld: the run ends here: %s", (long long)step, out->why);
    return rc;
}
