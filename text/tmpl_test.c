/* Tests: what stands behind `is`. */
#include <math.h>

#include "text/tmpl_strop.h"

#define TEST(fname, expr)                                                              \
    static err_code fname(struct tmpl_run *r, struct val *a, struct val *out)          \
    {                                                                                  \
        (void)r;                                                                       \
        *out = v_bool(expr);                                                           \
        return ERR_OK;                                                                 \
    }

static int is_iterable(struct val v)
{
    return v.tag == T_UNDEF || v.tag == T_STR || v.tag == T_BYTES || v.tag == T_LIST || v.tag == T_TUPLE || v.tag == T_DICT || v.tag == T_VIEW ||
           v.tag == T_RANGE || v.tag == T_ITER || v.tag == T_LOOP;
}

/* has a length and can be subscripted */
static int is_sequence(struct val v)
{
    return is_iterable(v) && v.tag != T_ITER && v.tag != T_VIEW && v.tag != T_LOOP;
}

static int is_callable(struct val v)
{
    return v.tag == T_FUNC || v.tag == T_METHOD || v.tag == T_MACRO || v.tag == T_LOOP || v.tag == T_JOINER || v.tag == T_UNDEF;
}

static int same(struct val a, struct val b)
{
    if (a.tag != b.tag)
        return 0;
    if (a.tag == T_NONE || a.tag == T_ELLIPSIS)
        return 1;
    if (a.tag == T_STR)
        return a.n == b.n && (a.p == b.p || (!((a.flags | b.flags) & VF_ROPE) && !memcmp(a.s, b.s, a.n)));
    return a.p == b.p;
}

TEST(t_defined, a[0].tag != T_UNDEF)
TEST(t_undefined, a[0].tag == T_UNDEF)
TEST(t_none, a[0].tag == T_NONE)
TEST(t_boolean, a[0].tag == T_BOOL)
TEST(t_true, a[0].tag == T_BOOL && a[0].i)
TEST(t_false, a[0].tag == T_BOOL && !a[0].i)
TEST(t_integer, a[0].tag == T_INT || a[0].tag == T_BIG)
TEST(t_float, a[0].tag == T_FLOAT)
TEST(t_number, tmpl_is_num(a[0]))
TEST(t_string, a[0].tag == T_STR)
TEST(t_mapping, a[0].tag == T_DICT)
TEST(t_sequence, is_sequence(a[0]))
TEST(t_iterable, is_iterable(a[0]))
TEST(t_callable, is_callable(a[0]))
TEST(t_escaped, a[0].tag == T_STR && (a[0].flags & VF_SAFE))
TEST(t_sameas, same(a[0], a[1]))

static err_code t_eq(struct tmpl_run *r, struct val *a, struct val *out)
{
    int eq;
    TRY(tmpl_eq(r, a[0], a[1], &eq));
    *out = v_bool(eq);
    return ERR_OK;
}

static err_code t_ne(struct tmpl_run *r, struct val *a, struct val *out)
{
    int eq;
    TRY(tmpl_eq(r, a[0], a[1], &eq));
    *out = v_bool(!eq);
    return ERR_OK;
}

#define ORDER(fname, op)                                                               \
    static err_code fname(struct tmpl_run *r, struct val *a, struct val *out)          \
    {                                                                                  \
        int yes;                                                                       \
        TRY(tmpl_cmp(r, op, a[0], a[1], &yes));                                        \
        *out = v_bool(yes);                                                            \
        return ERR_OK;                                                                 \
    }
ORDER(t_lt, CMP_LT)
ORDER(t_le, CMP_LE)
ORDER(t_gt, CMP_GT)
ORDER(t_ge, CMP_GE)

static err_code t_in(struct tmpl_run *r, struct val *a, struct val *out)
{
    int in;
    TRY(tmpl_in(r, a[0], a[1], &in));
    *out = v_bool(in);
    return ERR_OK;
}

static err_code remainder_is(struct tmpl_run *r, struct val x, struct val by, int64_t want, struct val *out)
{
    struct val rest;
    int eq;
    TRY(tmpl_arith(r, N_MOD, x, by, &rest));
    TRY(tmpl_eq(r, rest, v_int(want), &eq));
    *out = v_bool(eq);
    return ERR_OK;
}

static err_code t_odd(struct tmpl_run *r, struct val *a, struct val *out) { return remainder_is(r, a[0], v_int(2), 1, out); }
static err_code t_even(struct tmpl_run *r, struct val *a, struct val *out) { return remainder_is(r, a[0], v_int(2), 0, out); }
static err_code t_divisibleby(struct tmpl_run *r, struct val *a, struct val *out) { return remainder_is(r, a[0], a[1], 0, out); }

static err_code letters(struct tmpl_run *r, struct val v, enum uni_class want, struct val *out)
{
    struct str s;
    TRY(tmpl_str(r, v, &v));
    FLAT(r, &v, s);
    *out = v_bool(tmpl_s_isupper(s, want));
    return ERR_OK;
}

static err_code t_lower(struct tmpl_run *r, struct val *a, struct val *out) { return letters(r, a[0], UNI_LOWER, out); }
static err_code t_upper(struct tmpl_run *r, struct val *a, struct val *out) { return letters(r, a[0], UNI_UPPER, out); }

static err_code known(struct tmpl_run *r, struct val v, int test, struct val *out)
{
    struct str s;
    *out = v_bool(0);
    if (v.tag != T_STR)
        return ERR_OK;
    FLAT(r, &v, s);
    *out = v_bool((test ? tmpl_test(s) : tmpl_filter(s)) != NULL);
    return ERR_OK;
}

static err_code t_filter(struct tmpl_run *r, struct val *a, struct val *out) { return known(r, a[0], 0, out); }
static err_code t_test(struct tmpl_run *r, struct val *a, struct val *out) { return known(r, a[0], 1, out); }

const struct fn *tmpl_test(struct str name)
{
    static const struct fn table[] = {
        {.name = "defined", .f = t_defined, .params = ""}, {.name = "undefined", .f = t_undefined, .params = ""},
        {.name = "none", .f = t_none, .params = ""}, {.name = "boolean", .f = t_boolean, .params = ""},
        {.name = "true", .f = t_true, .params = ""}, {.name = "false", .f = t_false, .params = ""},
        {.name = "integer", .f = t_integer, .params = ""}, {.name = "float", .f = t_float, .params = ""},
        {.name = "number", .f = t_number, .params = ""}, {.name = "string", .f = t_string, .params = ""},
        {.name = "mapping", .f = t_mapping, .params = ""}, {.name = "sequence", .f = t_sequence, .params = ""},
        {.name = "iterable", .f = t_iterable, .params = ""}, {.name = "callable", .f = t_callable, .params = ""},
        {.name = "escaped", .f = t_escaped, .params = ""}, {.name = "odd", .f = t_odd, .params = ""},
        {.name = "even", .f = t_even, .params = ""}, {.name = "lower", .f = t_lower, .params = ""},
        {.name = "upper", .f = t_upper, .params = ""}, {.name = "filter", .f = t_filter, .params = ""},
        {.name = "test", .f = t_test, .params = ""},
        {.name = "sameas", .f = t_sameas, .params = "other", .need = 1},
        {.name = "divisibleby", .f = t_divisibleby, .params = "num", .need = 1},
        {.name = "in", .f = t_in, .params = "seq", .need = 1},
#define COMPARISON(word, fn) {.name = word, .f = fn, .params = "other", .need = 1}
        COMPARISON("eq", t_eq), COMPARISON("==", t_eq), COMPARISON("equalto", t_eq), COMPARISON("ne", t_ne), COMPARISON("!=", t_ne),
        COMPARISON("lt", t_lt), COMPARISON("<", t_lt), COMPARISON("lessthan", t_lt), COMPARISON("le", t_le), COMPARISON("<=", t_le),
        COMPARISON("gt", t_gt), COMPARISON(">", t_gt), COMPARISON("greaterthan", t_gt), COMPARISON("ge", t_ge), COMPARISON(">=", t_ge),
#undef COMPARISON
        {0},
    };
    return tmpl_find_fn(table, name);
}
