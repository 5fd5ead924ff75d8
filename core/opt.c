#include "core/opt.h"

#include <math.h>
#include <stdio.h>

static void full_name(const struct opt_def *d, char out[128])
{
    snprintf(out, 128, "%s%s%s", d->section, d->section[0] ? "." : "", d->key);
}

static void *slot(const struct opt_set *s, const struct opt_def *d)
{
    return (char *)s->values + d->offset;
}

const struct opt_def *opt_find(const struct opt_set *s, struct str name)
{
    char full[128];
    for (int i = 0; i < s->n; i++) {
        full_name(&s->defs[i], full);
        if (str_eq(name, str_of(full)))
            return &s->defs[i];
    }
    return NULL;
}

const char *opt_nearest(const struct opt_set *s, struct str word, char buf[128])
{
    char full[128];
    int best = str_far(word);
    const char *found = NULL;
    for (int i = 0; i < s->n; i++) {
        full_name(&s->defs[i], full);
        int d = str_distance(word, str_of(full)), bare = str_distance(word, str_of(s->defs[i].key)) + 1;
        d = bare < d ? bare : d;
        if (d < best) {
            best = d;
            memcpy(buf, full, sizeof full);
            found = buf;
        }
    }
    return found;
}

static int in_choices(const char *choices, struct str v)
{
    struct str rest = str_of(choices), one;
    while (str_split(&rest, '|', &one))
        if (str_eq(one, v))
            return 1;
    return 0;
}

static err_code out_of_bounds(const struct opt_def *d, const char *name, const char *source, struct str v, struct err *e)
{
    return err_set(e, ERR_USAGE, "%s: %s must be in [%.10g, %.10g], got %.*s", source, name, d->min, d->max, STR_ARG(v));
}

static int bounded(const struct opt_def *d)
{
    return d->min != 0 || d->max != 0;
}

static err_code put_number(struct opt_set *s, const struct opt_def *d, const char *name, const char *source, struct str v,
                           struct err *e)
{
    double x;
    if (!str_to_f64(v, &x) || isnan(x))
        return err_set(e, ERR_USAGE, "%s: %s: expected a number, got '%.*s'", source, name, STR_ARG(v));
    if (bounded(d) && (x < d->min || x > d->max))
        return out_of_bounds(d, name, source, v, e);
    if (d->type == OPT_NUM) {
        *(double *)slot(s, d) = x;
        return ERR_OK;
    }
    int64_t i;
    if (!str_to_i64(v, &i)) { /* 1e6 is welcome where it is whole */
        if (x != floor(x) || fabs(x) > 0x1p53)
            return err_set(e, ERR_USAGE, "%s: %s: expected a whole number, got '%.*s'", source, name, STR_ARG(v));
        i = (int64_t)x;
    }
    *(int64_t *)slot(s, d) = i;
    return ERR_OK;
}

static err_code put_bool(struct opt_set *s, const struct opt_def *d, const char *name, const char *source, struct str v,
                         struct err *e)
{
    int yes = str_eq(v, STR("true")) || str_eq(v, STR("1")) || str_eq(v, STR("yes")) || str_eq(v, STR("on"));
    int no = str_eq(v, STR("false")) || str_eq(v, STR("0")) || str_eq(v, STR("no")) || str_eq(v, STR("off"));
    if (!yes && !no)
        return err_set(e, ERR_USAGE, "%s: %s: expected true or false, got '%.*s'", source, name, STR_ARG(v));
    *(int *)slot(s, d) = yes;
    return ERR_OK;
}

static err_code put_value(struct opt_set *s, const struct opt_def *d, struct str v, const char *source, struct err *e)
{
    char name[128];
    full_name(d, name);
    if (d->type == OPT_INT || d->type == OPT_NUM)
        return put_number(s, d, name, source, v, e);
    if (d->type == OPT_BOOL)
        return put_bool(s, d, name, source, v, e);
    if (d->type == OPT_ENUM && !in_choices(d->choices, v))
        return err_set(e, ERR_USAGE, "%s: %s must be one of %s, got '%.*s'", source, name, d->choices, STR_ARG(v));
    *(const char **)slot(s, d) = str_dup(s->mem, v).p;
    return ERR_OK;
}

void opt_init(struct opt_set *s, const struct opt_def *defs, int n, void *values, struct arena *mem)
{
    *s = (struct opt_set){.defs = defs, .n = n, .values = values, .mem = mem};
    s->source = ARENA_NEW(mem, const char *, n ? n : 1);
    for (int i = 0; i < n; i++) {
        struct err e = {0};
        if (put_value(s, &defs[i], str_of(defs[i].def), "default", &e) != ERR_OK)
            BUG("%s", e.msg);
    }
}

err_code opt_put(struct opt_set *s, struct str name, struct str value, const char *source, struct err *e)
{
    const struct opt_def *d = opt_find(s, name);
    if (!d) {
        char buf[128];
        const char *near = opt_nearest(s, name, buf);
        return err_set(e, ERR_USAGE, "%s: unknown option '%.*s'%s%s%s", source, STR_ARG(name), near ? ", did you mean '" : "",
                       near ? near : "", near ? "'?" : "");
    }
    TRY(put_value(s, d, value, source, e));
    s->source[d - s->defs] = str_dup(s->mem, str_of(source)).p;
    return ERR_OK;
}

static err_code one_flag(struct opt_set *s, int argc, char **argv, int *i, struct err *e)
{
    struct str word = str_of(argv[*i] + 2), name;
    struct str value = word;
    str_split(&value, '=', &name);
    const struct opt_def *d = opt_find(s, name);
    if (!d && str_starts(name, STR("no-"))) {
        struct str bare = str_sub(name, 3, name.n);
        d = opt_find(s, bare);
        if (d && d->type == OPT_BOOL && !value.p)
            return opt_put(s, bare, STR("false"), "command line", e);
    }
    if (d && !value.p && d->type == OPT_BOOL)
        value = STR("true");
    else if (d && !value.p) {
        if (*i + 1 >= argc)
            return err_set(e, ERR_USAGE, "--%.*s needs a value: %s", STR_ARG(name), d->help);
        value = str_of(argv[++*i]);
    }
    return opt_put(s, name, value, "command line", e);
}

err_code opt_flags(struct opt_set *s, int argc, char **argv, int *n_words, int *help, struct err *e)
{
    int words = 0, flags = 1;
    *help = 0;
    for (int i = 0; i < argc; i++) {
        char *a = argv[i];
        if (flags && !strcmp(a, "--"))
            flags = 0;
        else if (flags && (!strcmp(a, "--help") || !strcmp(a, "-h")))
            *help = 1;
        else if (flags && a[0] == '-' && a[1] == '-')
            TRY(one_flag(s, argc, argv, &i, e));
        else
            argv[words++] = a;
    }
    *n_words = words;
    return ERR_OK;
}

void opt_value(struct sbuf *b, const struct opt_set *s, const struct opt_def *d)
{
    const void *v = slot(s, d);
    switch (d->type) {
    case OPT_BOOL: sbuf_adds(b, *(const int *)v ? "true" : "false"); break;
    case OPT_INT: sbuf_addf(b, "%lld", (long long)*(const int64_t *)v); break;
    case OPT_NUM: sbuf_addf(b, "%.17g", *(const double *)v); break;
    default: sbuf_adds(b, *(const char *const *)v); break;
    }
}

void opt_dump(struct sbuf *b, const struct opt_set *s, int changed_only)
{
    for (int i = 0; i < s->n; i++) {
        char name[128];
        if (changed_only && !s->source[i])
            continue;
        full_name(&s->defs[i], name);
        sbuf_addf(b, "%s=", name);
        opt_value(b, s, &s->defs[i]);
        if (changed_only)
            sbuf_addf(b, "  # %s", s->source[i]);
        sbuf_addc(b, '\n');
    }
}

void opt_help(struct sbuf *b, const struct opt_def *defs, int n)
{
    static const char *const kinds[] = {"", "N", "X", "TEXT", ""};
    for (int i = 0; i < n; i++) {
        const struct opt_def *d = &defs[i];
        char name[128], left[256];
        full_name(d, name);
        const char *kind = d->type == OPT_ENUM ? d->choices : kinds[d->type];
        snprintf(left, sizeof left, "%s%s%s%s", d->section[0] ? "" : "--", name, kind[0] ? (d->section[0] ? "=" : " ") : "", kind);
        sbuf_addf(b, "  %-34s %s", left, d->help);
        if (d->def[0] && d->type != OPT_BOOL)
            sbuf_addf(b, " [%s]", d->def);
        sbuf_addc(b, '\n');
    }
}
