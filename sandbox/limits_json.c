/* Limits by name: one list gives the struct, the defaults, the bounds and the JSON keys. */
#include <math.h>
#include <string.h>

#include "sandbox/inner.h"

/* Other spellings, with their unit: key, limit, factor */
#define UNITS(X)                                                                                   \
    X("wall_s", wall_ms, 1000) X("cpu_s", cpu_ms, 1000) X("mem_mib", mem_bytes, 1048576)           \
    X("out_kib", out_bytes, 1024) X("fsize_mib", file_bytes, 1048576) X("tmp_mib", tmp_bytes, 1048576) \
    X("time_limit_s", wall_ms, 1000)

static int64_t *find(struct sandbox_limits *l, const char *key, double *factor, int64_t *lo, int64_t *hi)
{
    int64_t *at = NULL;
    *factor = 1;
#define X(k, name, f)       \
    if (!strcmp(key, k)) {  \
        key = #name;        \
        *factor = f;        \
    }
    UNITS(X)
#undef X
#define X(name, def, low, high, text) \
    if (!strcmp(key, #name)) {        \
        at = &l->name;                \
        *lo = low;                    \
        *hi = high;                   \
    }
    SANDBOX_LIMITS(X)
#undef X
    return at;
}

err_code sandbox_limits_json(struct sandbox_limits *l, const json_t *o, const char *prefix, struct err *e)
{
    struct sandbox_limits scratch = *l, changed = *l;
    const char *key;
    json_t *v;
    if (!json_is_object(o))
        return err_set(e, ERR_DATA, "limits are not an object");
    json_object_foreach((json_t *)(uintptr_t)o, key, v)
    {
        double factor;
        int64_t lo = 0, hi = 0;
        int compile = !strncmp(key, "compile_", 8), mine = compile == (prefix[0] != 0);
        int64_t *at = find(mine ? &changed : &scratch, key + (compile ? 8 : 0), &factor, &lo, &hi);
        if (!at)
            return err_set(e, ERR_DATA, "unknown limit '%s'; known: wall_s cpu_s mem_mib out_kib procs fds fsize_mib tmp_mib tmp_inodes", key);
        if (!json_is_number(v))
            return err_set(e, ERR_DATA, "limit '%s' is not a number", key);
        double x = json_number_value(v) * factor;
        if (!(x >= (double)lo && x <= (double)hi))
            return err_set(e, ERR_DATA, "limit '%s' is out of bounds", key);
        *at = (int64_t)llround(x);
    }
    *l = changed;
    return ERR_OK;
}
