/* hone plan bubbles, hone plan eplb. */
#include <math.h>
#include <string.h>

#include "cmd/plan.h"

/* ---- bubbles ------------------------------------------------------------------------------- */

struct bubble_flags {
    const char *shapes;
    double f, b, w, fb;
    int json;
};

static err_code one_shape(const struct bubble_flags *v, struct str shape, struct arena scratch, struct sbuf *out, struct err *e)
{
    int64_t slash = str_find(shape, STR("/"), 0), pp, micro;
    if (slash < 1 || !str_to_i64(str_sub(shape, 0, slash), &pp) || !str_to_i64(str_sub(shape, slash + 1, shape.n), &micro) || pp < 1 || pp > 1024 || micro < 1 || micro > 100000)
        return err_set(e, ERR_USAGE, "'%.*s' is no shape; hint: STAGES/MICRO-BATCHES, as 8/20", STR_ARG(shape));
    const struct pipe_cost c = {.f = v->f, .b = v->b, .w = v->w, .fb = v->fb > 0 ? v->fb : v->f + v->b};
    for (int k = 0; k < PIPE_N_KINDS; k++) {
        struct pipe_run r = {0};
        struct err none = {0};
        const char *title = plan_schedule_title((enum pipe_kind)k);
        if (pipe_simulate((enum pipe_kind)k, pp, micro, &c, scratch, &r, &none) != ERR_OK) {
            if (none.code == ERR_MISMATCH)
                return err_set(e, ERR_MISMATCH, "%s", none.msg);
            if (!v->json)
                sbuf_addf(out, "%4lld %5lld  %-9s does not take this shape\n", (long long)pp, (long long)micro, title);
            continue;
        }
        double formula = pipe_bubble((enum pipe_kind)k, pp, &c);
        if (v->json)
            sbuf_addf(out, "{\"pp\":%lld,\"micro_batches\":%lld,\"schedule\":\"%s\",\"formula\":%.15g,\"simulated\":%.15g,\"share\":%.15g,\"activations\":%lld}\n", (long long)pp,
                      (long long)micro, title, formula, r.bubble, r.bubble / r.total, (long long)r.activations);
        else
            sbuf_addf(out, "%4lld %5lld  %-9s %10.4f %10.4f %6s %7.2f %% %8lld\n", (long long)pp, (long long)micro, title, formula, r.bubble,
                      fabs(formula - r.bubble) <= 1e-9 * r.total ? "equal" : "differ", 100 * r.bubble / r.total, (long long)r.activations);
    }
    return ERR_OK;
}

static err_code bubbles(const struct bubble_flags *v, struct arena *mem, struct err *e)
{
    struct sbuf out;
    struct str rest = str_of(v->shapes), piece;
    err_code rc = v->w <= v->b ? ERR_OK : err_set(e, ERR_USAGE, "W %g is a part of B %g and cannot be longer", v->w, v->b);
    sbuf_init(&out, 1 << 24);
    if (!v->json)
        sbuf_addf(&out, "  PP     M  schedule     formula  simulated          share  activations   (F %g, B %g, of it W %g)\n", v->f, v->b, v->w);
    while (rc == ERR_OK && str_split(&rest, ',', &piece))
        rc = one_shape(v, str_trim(piece), *mem, &out, e);
    if (rc == ERR_OK)
        fwrite(out.p, 1, (size_t)out.n, stdout);
    sbuf_release(&out);
    return rc;
}

int cmd_plan_bubbles(int argc, char **argv)
{
    static const struct opt_def defs[] = {
        {"", "shapes", OPT_STR, offsetof(struct bubble_flags, shapes), "4/8,8/20,8/32,16/32,16/64", 0, 0, NULL, "STAGES/MICRO-BATCHES, ..."},
        {"", "f", OPT_NUM, offsetof(struct bubble_flags, f), "1", 1e-9, 1e9, NULL, "time of a forward"},
        {"", "b", OPT_NUM, offsetof(struct bubble_flags, b), "2", 1e-9, 1e9, NULL, "time of a whole backward"},
        {"", "w", OPT_NUM, offsetof(struct bubble_flags, w), "1", 0, 1e9, NULL, "time of its weight part"},
        {"", "fb", OPT_NUM, offsetof(struct bubble_flags, fb), "0", 0, 1e9, NULL, "time of an overlapped pair; 0 = f + b"},
        {"", "json", OPT_BOOL, offsetof(struct bubble_flags, json), "false", 0, 0, NULL, "one JSON line per schedule and shape"},
    };
    struct bubble_flags v;
    struct arena mem;
    struct err e = {0};
    int n = 0, done;
    struct cmd_flags f = {.usage = "plan bubbles --shapes 8/20,16/64", .about = "Idle time of the worst rank of 1F1B, ZB1P and DualPipe: by formula, and by running every rank's list of calls\n"
                          "with its dependencies. DualPipe's formula is exact where F, W and B - W take the same time.", .defs = defs, .n = 6};
    arena_init(&mem, "bubbles", 1LL << 34);
    int code = cmd_parse(&f, &v, &mem, argc, argv, &n, &done);
    if (!done)
        code = bubbles(&v, &mem, &e) == ERR_OK ? 0 : cmd_fail(&e);
    arena_release(&mem);
    return code;
}

/* ---- expert placement ----------------------------------------------------------------------- */

struct eplb_flags {
    int64_t replicas, groups, nodes, gpus;
    int json;
};

/* {"loads": [[...], ...]} or the list alone, or one layer's list. */
static err_code read_loads(const char *path, struct arena *mem, double **load, int64_t *layers, int64_t *experts, struct err *e)
{
    json_t *o;
    TRY(json_load(path, 256 << 20, &o, e));
    json_t *rows = json_is_object(o) ? json_object_get(o, "loads") : o;
    err_code rc = ERR_OK;
    int single = json_is_array(rows) && json_is_number(json_array_get(rows, 0));
    *layers = single ? 1 : (int64_t)json_array_size(rows);
    *experts = (int64_t)json_array_size(single ? rows : json_array_get(rows, 0));
    if (*layers < 1 || *experts < 1 || *layers > 10000 || *experts > 100000)
        rc = err_set(e, ERR_DATA, "'%s': a list of loads per layer is expected, as {\"loads\": [[90, 132, ...], ...]}", path);
    *load = rc == ERR_OK ? ARENA_NEW(mem, double, *layers * *experts) : NULL;
    for (int64_t l = 0; l < *layers && rc == ERR_OK; l++) {
        const json_t *row = single ? rows : json_array_get(rows, (size_t)l);
        if ((int64_t)json_array_size(row) != *experts)
            rc = err_set(e, ERR_DATA, "'%s': layer %lld has %lld loads, the first has %lld", path, (long long)l, (long long)json_array_size(row), (long long)*experts);
        for (int64_t i = 0; i < *experts && rc == ERR_OK; i++) {
            const json_t *v = json_array_get(row, (size_t)i);
            double x = json_is_number(v) ? json_number_value(v) : -1;
            if (!(x >= 0) || !isfinite(x))
                rc = err_set(e, ERR_DATA, "'%s': load %lld of layer %lld is not a number from 0", path, (long long)i, (long long)l);
            else
                (*load)[l * *experts + i] = x;
        }
    }
    json_decref(o);
    return rc;
}

static void put_ids(struct sbuf *b, const int32_t *v, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        sbuf_addf(b, "%s%d", i ? "," : "", v[i]);
}

static void put_layer(struct sbuf *b, const struct eplb_shape *s, const struct eplb_flags *v, int64_t layer, const double *load, const int32_t *slot, const int32_t *count)
{
    double after = eplb_imbalance(s, load, slot);
    if (v->json) {
        sbuf_addf(b, "{\"layer\":%lld,\"slot_expert\":[", (long long)layer);
        put_ids(b, slot, s->replicas);
        sbuf_adds(b, "],\"replicas\":[");
        put_ids(b, count, s->experts);
        sbuf_addf(b, "],\"imbalance\":%.15g}\n", after);
        return;
    }
    sbuf_addf(b, "layer %lld: largest load of a GPU over the mean %.3f\n", (long long)layer, after);
    int64_t slots = s->replicas / s->gpus, per_node = s->gpus / s->nodes;
    for (int64_t g = 0; g < s->gpus; g++) {
        sbuf_addf(b, "  node %lld GPU %lld: ", (long long)(g / per_node), (long long)(g % per_node));
        put_ids(b, slot + g * slots, slots);
        sbuf_addc(b, '\n');
    }
}

static err_code eplb(const char *path, const struct eplb_flags *v, struct arena *mem, struct err *e)
{
    double *load;
    int64_t layers, experts;
    struct sbuf b;
    TRY(read_loads(path, mem, &load, &layers, &experts, e));
    struct eplb_shape s = {.experts = experts, .replicas = v->replicas ? v->replicas : experts, .groups = v->groups, .nodes = v->nodes, .gpus = v->gpus};
    int32_t *slot = ARENA_NEW(mem, int32_t, s.replicas), *count = ARENA_NEW(mem, int32_t, experts);
    err_code rc = ERR_OK;
    sbuf_init(&b, 1 << 28);
    for (int64_t l = 0; l < layers && rc == ERR_OK; l++) {
        rc = eplb_place(&s, load + l * experts, slot, count, *mem, e);
        if (rc == ERR_OK)
            put_layer(&b, &s, v, l, load + l * experts, slot, count);
    }
    if (rc == ERR_OK)
        fwrite(b.p, 1, (size_t)b.n, stdout);
    sbuf_release(&b);
    return rc;
}

int cmd_plan_eplb(int argc, char **argv)
{
    static const struct opt_def defs[] = {
        {"", "replicas", OPT_INT, offsetof(struct eplb_flags, replicas), "0", 0, 1e6, NULL, "slots over all GPUs; 0 = one per expert"},
        {"", "groups", OPT_INT, offsetof(struct eplb_flags, groups), "1", 1, 1e5, NULL, "expert groups of the router"},
        {"", "nodes", OPT_INT, offsetof(struct eplb_flags, nodes), "1", 1, 1e5, NULL, "nodes"},
        {"", "gpus", OPT_INT, offsetof(struct eplb_flags, gpus), "1", 1, 1e6, NULL, "GPUs over all nodes"},
        {"", "json", OPT_BOOL, offsetof(struct eplb_flags, json), "false", 0, 0, NULL, "one JSON line per layer"},
    };
    struct eplb_flags v;
    struct arena mem;
    struct err e = {0};
    int n = 0, done;
    struct cmd_flags f = {.usage = "plan eplb LOADS.json --replicas 288 --groups 8 --nodes 4 --gpus 32",
                          .about = "Which expert each slot of each GPU holds, the hottest ones several times, from measured loads: {\"loads\": [[expert 0, 1, ...] per layer]}.\n"
                                   "Groups are kept on one node where they divide by the nodes. The metrics of a run have the loads (docs/plan.md).", .defs = defs, .n = 5, .words_max = 1};
    arena_init(&mem, "eplb", 1LL << 32);
    int code = cmd_parse(&f, &v, &mem, argc, argv, &n, &done);
    if (!done && n != 1) {
        fprintf(stderr, "usage: hone %s (try --help)\n", f.usage);
        code = err_exit(ERR_USAGE);
    } else if (!done) {
        code = eplb(argv[0], &v, &mem, &e) == ERR_OK ? 0 : cmd_fail(&e);
    }
    arena_release(&mem);
    return code;
}
