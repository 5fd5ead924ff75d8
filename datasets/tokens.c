#include "datasets/tokens.h"

#include <stdio.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "token rows are little-endian and are copied as they are"
#endif

struct weight_run {
    int32_t n;
    float w;
};

void data_runs_put(struct sbuf *out, const float *w, int64_t n)
{
    sbuf_clear(out);
    for (int64_t i = 0, j; i < n; i = j) {
        for (j = i + 1; j < n && !memcmp(&w[j], &w[i], sizeof *w);)
            j++;
        struct weight_run r = {(int32_t)(j - i), w[i]};
        sbuf_add(out, (struct str){(const char *)&r, sizeof r});
    }
}

err_code data_runs_get(struct str runs, float *w, int64_t n, struct err *e)
{
    int64_t at = 0;
    for (int64_t i = 0; i + (int64_t)sizeof(struct weight_run) <= runs.n && at < n; i += (int64_t)sizeof(struct weight_run)) {
        struct weight_run r;
        memcpy(&r, runs.p + i, sizeof r);
        if (r.n <= 0)
            break;
        for (int64_t end = at + r.n < n ? at + r.n : n; at < end; at++)
            w[at] = r.w;
    }
    return at == n ? ERR_OK : err_set(e, ERR_DATA, "the stored weights of a row are damaged");
}

void data_item_where(struct store *s, int64_t item, char *out, int64_t max)
{
    struct store_query q;
    snprintf(out, (size_t)max, "item %lld", (long long)item);
    /* a scan, but only on the way to an error message */
    if (store_query(s, &q, NULL, "SELECT s.name, f.path, r.line FROM source_rows r JOIN files f ON f.id = r.file JOIN sources s ON s.id = f.source"
                                 " WHERE r.item = ? ORDER BY f.superseded_at IS NOT NULL, r.seq LIMIT 1", "i", item) != ERR_OK)
        return;
    if (q.more) {
        struct str name = store_str(&q, 0), path = store_str(&q, 1);
        if (path.n)
            snprintf(out, (size_t)max, "%.*s:%lld (source '%.*s', item %lld)", STR_ARG(path), (long long)store_i64(&q, 2), STR_ARG(name), (long long)item);
        else
            snprintf(out, (size_t)max, "item %lld of source '%.*s'", (long long)item, STR_ARG(name));
    }
    store_end(&q);
}
