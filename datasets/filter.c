#include "datasets/filter.h"

#include <stdlib.h>

struct data_filter {
    struct script_file file;
};

void data_filter_close(struct data_filter *f)
{
    if (!f)
        return;
    script_file_close(&f->file);
    free(f);
}

struct hash128 data_filter_hash(const struct data_filter *f) { return hash_bytes(f->file.text.p, f->file.text.n); }

err_code data_filter_open(const char *path, struct data_filter **out, struct err *e)
{
    struct data_filter *f = calloc(1, sizeof *f);
    *out = NULL;
    if (!f)
        BUG("out of memory");
    err_code rc = script_file_open(&f->file, path, "row(row)", &(struct script_limits){0}, NULL, e);
    if (rc == ERR_OK)
        *out = f;
    else
        free(f);
    return rc;
}

static err_code take(const struct data_filter *f, const json_t *v, enum data_filter_fate *fate, struct sbuf *out, struct err *e)
{
    if (!v || json_is_null(v) || json_is_false(v)) {
        *fate = FILTER_LEAVE_OUT;
    } else if (json_is_true(v)) {
        *fate = FILTER_KEEP;
    } else if (json_is_object(v)) {
        *fate = FILTER_CHANGED;
        json_put_value(out, v);
        return out->full ? err_set(e, ERR_LIMIT, "%s: the row in its place is too large", f->file.path) : ERR_OK;
    } else {
        return err_set(e, ERR_DATA, "%s: row() must return true (keep), false (leave out) or a table", f->file.path);
    }
    return ERR_OK;
}

err_code data_filter_row(const struct data_filter *f, struct str line, enum data_filter_fate *fate, struct sbuf *out, struct err *e)
{
    struct script *s = NULL;
    json_t *row = NULL, *args = NULL, *answer = NULL;
    sbuf_clear(out);
    TRY(json_parse(line, &row, e));
    args = json_pack("[o]", row);
    err_code rc = script_file_load(&f->file, NULL, &s, e);
    if (rc == ERR_OK)
        rc = script_call(s, "row", args, &answer, e);
    if (rc == ERR_OK)
        rc = take(f, json_array_get(answer, 0), fate, out, e);
    script_close(s);
    json_decref(args);
    json_decref(answer);
    return rc;
}
