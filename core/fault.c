#include "core/fault.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/str.h"

enum { MAX_POINTS = 16 };

struct point {
    char name[32];
    long at;
    char mode; /* 0 once, '+' from then on, '!' kill */
    atomic_long hits;
};

static struct point points[MAX_POINTS];
static atomic_int n_points = -1; /* -1: the environment was not read yet */

static void parse(const char *spec)
{
    struct str rest = {spec, spec ? (int64_t)strlen(spec) : 0}, one;
    int n = 0;
    while (spec && n < MAX_POINTS && str_split(&rest, ',', &one)) {
        struct str name;
        str_split(&one, ':', &name);
        struct point *p = &points[n];
        if (name.n == 0 || name.n >= (int64_t)sizeof p->name)
            continue;
        memcpy(p->name, name.p, (size_t)name.n);
        p->name[name.n] = 0;
        p->at = one.p ? strtol(one.p, NULL, 10) : 1;
        p->mode = one.p && one.n && strchr("+!", one.p[one.n - 1]) ? one.p[one.n - 1] : 0;
        atomic_store(&p->hits, 0);
        n++;
    }
    atomic_store(&n_points, n);
}

void fault_set(const char *spec)
{
    parse(spec);
}

int fault_hit(const char *name)
{
    if (atomic_load(&n_points) < 0)
        parse(getenv("HONE_FAULT"));
    int n = atomic_load(&n_points);
    for (int i = 0; i < n; i++) {
        if (strcmp(points[i].name, name))
            continue;
        long hit = atomic_fetch_add(&points[i].hits, 1) + 1;
        if (hit == points[i].at && points[i].mode == '!')
            kill(getpid(), SIGKILL);
        if (hit == points[i].at || (points[i].mode == '+' && hit > points[i].at))
            return 1;
    }
    return 0;
}
