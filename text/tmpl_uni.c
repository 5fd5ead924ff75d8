/* Character classes and case mappings, as Python's str has them. */
#include "text/tmpl.h"
#include "text/tmpl_unitab.h"

int tmpl_uni_is(uint32_t cp, enum uni_class c)
{
    const struct uni_table *t = &tmpl_uni_tables[c];
    int lo = 0, hi = t->n;
    while (lo < hi) {
        int mid = (lo + hi) / 2;
        if (cp > t->at[mid].hi)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < t->n && cp >= t->at[lo].lo;
}

/* Runs are sorted by lo, but runs of step 2 may interleave, so a few neighbours are looked at. */
static int map_one(const struct uni_maps *m, uint32_t cp, uint32_t *out)
{
    int lo = 0, hi = m->n_run;
    while (lo < hi) {
        int mid = (lo + hi) / 2;
        if (m->run[mid].lo <= cp)
            lo = mid + 1;
        else
            hi = mid;
    }
    for (int i = lo - 1; i >= 0 && i >= lo - 4; i--) {
        const struct uni_run *u = &m->run[i];
        if (cp <= u->hi && (cp - u->lo) % (uint32_t)u->step == 0)
            return *out = (uint32_t)((int64_t)cp + u->delta), 1;
    }
    return 0;
}

int tmpl_uni_map(uint32_t cp, enum uni_map which, uint32_t out[3])
{
    const struct uni_maps *m = &tmpl_uni_map_tables[which];
    if (map_one(m, cp, out))
        return 1;
    for (int i = 0; cp >= 0x80 && i < m->n_multi; i++) {
        const struct uni_multi *u = &m->multi[i];
        if (u->cp != cp)
            continue;
        int n = 0;
        while (n < 3 && u->to[n])
            out[n] = u->to[n], n++;
        return n;
    }
    out[0] = cp;
    return 1;
}

int tmpl_uni_digit_value(uint32_t cp)
{
    if (cp < 0x80)
        return cp >= '0' && cp <= '9' ? (int)(cp - '0') : -1;
    const struct uni_table *t = &tmpl_uni_tables[UNI_DECIMAL];
    for (int i = 0; i < t->n; i++) /* every range of decimals is whole runs of ten */
        if (cp >= t->at[i].lo && cp <= t->at[i].hi)
            return (int)((cp - t->at[i].lo) % 10);
    return -1;
}
