/* hone plan: what a training job needs on machines that are not here. */
#include "plan/plan.h"

#include <stdarg.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/plan.h"

struct flags {
    const char *cluster, *schedule, *recompute, *precision, *moments, *mla, *more;
    int64_t gpus, pp, ep, dp, zero, seq, batch, micro, cache_seqs, cache_context, per_node;
    int uneven, mtp, json;
    double memory, bf16, fp8, intra, inter, price, reserve, mfu, per_trillion, tokens;
};

#define F(key, T, field, ...) {"", key, T, offsetof(struct flags, field), __VA_ARGS__}
static const struct opt_def defs[] = {
    F("cluster", OPT_STR, cluster, "h100", 0, 0, NULL, "preset of the GPUs (`hone plan clusters`)"),
    F("gpus", OPT_INT, gpus, "8", 1, 1e7, NULL, "GPUs"),
    F("pp", OPT_INT, pp, "1", 1, 1024, NULL, "pipeline stages; DP = gpus / pp"),
    F("ep", OPT_INT, ep, "1", 1, 1e6, NULL, "ranks over which a layer's experts lie; divides DP"),
    F("dp", OPT_INT, dp, "0", 0, 1e7, NULL, "checked against gpus / pp when given"),
    F("zero", OPT_INT, zero, "1", 0, 1, NULL, "1: master weights and moments cut over DP"),
    F("schedule", OPT_ENUM, schedule, "1f1b", 0, 0, "1f1b|zb1p|dualpipe", "of the pipeline"),
    F("uneven", OPT_BOOL, uneven, "false", 0, 0, NULL, "stages may differ by one layer"),
    F("recompute", OPT_ENUM, recompute, "none", 0, 0, "none|selective|full", "selective: norms, MLA up-projections, SwiGLU; full: all but a layer's input"),
    F("precision", OPT_ENUM, precision, "bf16", 0, 0, "fp32|bf16|fp8", "of the linears"),
    F("moments", OPT_ENUM, moments, "fp32", 0, 0, "fp32|bf16", "of AdamW"),
    F("mla", OPT_ENUM, mla, "expanded", 0, 0, "expanded|absorbed", "form of latent attention"),
    F("mtp", OPT_BOOL, mtp, "true", 0, 0, NULL, "the model's MTP layers are trained too"),
    F("seq", OPT_INT, seq, "4096", 1, 1e8, NULL, "tokens of a sequence"),
    F("batch", OPT_INT, batch, "0", 0, 1e9, NULL, "sequences of a step; 0 = 2 x pp micro-batches on each DP rank"),
    F("micro", OPT_INT, micro, "1", 1, 1e6, NULL, "sequences of a micro-batch"),
    F("cache-seqs", OPT_INT, cache_seqs, "0", 0, 1e7, NULL, "rollouts at once on one pipeline"),
    F("cache-context", OPT_INT, cache_context, "0", 0, 1e8, NULL, "tokens of each in the cache; 0 = seq"),
    F("mfu", OPT_NUM, mfu, "0", 0, 1, NULL, "share of the bf16 peak that model FLOPs reach; 0 = 0.4"),
    F("hours-per-trillion", OPT_NUM, per_trillion, "0", 0, 1e12, NULL, "a measured speed instead: GPU-hours of 10^12 tokens"),
    F("tokens", OPT_NUM, tokens, "1e12", 0, 1e18, NULL, "of the run"),
    F("more", OPT_STR, more, "", 0, 0, NULL, "GPU-hours of other stages: context:119000,post:5000"),
    F("reserve", OPT_NUM, reserve, "4", 0, 1e4, NULL, "GiB kept free: context, collectives' buffers, fragments"),
    F("memory", OPT_NUM, memory, "0", 0, 1e6, NULL, "GiB of a GPU; 0 = the preset's, as below"),
    F("gpus-per-node", OPT_INT, per_node, "0", 0, 4096, NULL, ""),
    F("bf16-tflops", OPT_NUM, bf16, "0", 0, 1e6, NULL, "dense peak"),
    F("fp8-tflops", OPT_NUM, fp8, "0", 0, 1e6, NULL, "dense peak"),
    F("intra-gbs", OPT_NUM, intra, "0", 0, 1e6, NULL, "GB/s of a GPU within its node, one direction"),
    F("inter-gbs", OPT_NUM, inter, "0", 0, 1e6, NULL, "GB/s of a GPU between nodes, one direction"),
    F("price", OPT_NUM, price, "0", 0, 1e6, NULL, "$ per GPU-hour"),
    F("json", OPT_BOOL, json, "false", 0, 0, NULL, "one JSON object, SI units"),
};
#undef F

static const char about[] = "Memory per GPU, traffic, pipeline bubbles, time and cost of training a model, from its config.json (docs/plan.md has every formula).\n"
                            "A layout that cannot work or does not fit is refused with the numbers and what would work.\n"
                            "  hone plan clusters               the presets\n"
                            "  hone plan bubbles --help         one schedule's list, simulated step by step\n"
                            "  hone plan eplb --help            expert placement from a load file";

/* ---- figures, as text or as JSON ----------------------------------------------------------- */

void plan_out_open(struct plan_out *o, int json)
{
    *o = (struct plan_out){.json = json, .first = 1};
    sbuf_init(&o->b, 1 << 24);
    if (json)
        sbuf_addc(&o->b, '{');
}

void plan_out_close(struct plan_out *o)
{
    if (o->json)
        sbuf_adds(&o->b, "}\n");
    fwrite(o->b.p, 1, (size_t)o->b.n, stdout);
    sbuf_release(&o->b);
}

void plan_out_group(struct plan_out *o, const char *key, const char *fmt, ...)
{
    va_list ap;
    char title[300];
    va_start(ap, fmt);
    vsnprintf(title, sizeof title, fmt, ap);
    va_end(ap);
    if (o->json)
        sbuf_addf(&o->b, "%s\"%s\":{", o->first ? "" : ",", key);
    else
        sbuf_addf(&o->b, "%s%s\n", o->first ? "" : "\n", title);
    o->first = 1;
}

void plan_out_end(struct plan_out *o)
{
    if (o->json)
        sbuf_addc(&o->b, '}');
    o->first = 0;
}

void plan_out_num(struct plan_out *o, const char *key, const char *label, double v, double scale, const char *unit, int digits)
{
    if (o->json)
        sbuf_addf(&o->b, "%s\"%s\":%.15g", o->first ? "" : ",", key, v);
    else
        sbuf_addf(&o->b, "  %-28s %14.*f %s\n", label, digits, v / scale, unit);
    o->first = 0;
}

void plan_out_text(struct plan_out *o, const char *key, const char *label, const char *text)
{
    if (o->json) {
        sbuf_addf(&o->b, "%s\"%s\":", o->first ? "" : ",", key);
        json_put_str(&o->b, str_of(text));
    } else {
        sbuf_addf(&o->b, "%-10s %s\n", label, text);
    }
    o->first = 0;
}

/* ---- from flags to a job ------------------------------------------------------------------- */

static void take(double *at, double v, double unit) { *at = v > 0 ? v * unit : *at; }

static err_code make_cluster(const struct flags *v, struct plan_cluster *c, struct err *e)
{
    const struct plan_cluster *p = plan_cluster(v->cluster);
    if (!p) {
        char known[200] = "";
        int n;
        const struct plan_cluster *all = plan_clusters(&n);
        for (int i = 0; i < n; i++)
            snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i ? ", " : "", all[i].name);
        return err_set(e, ERR_USAGE, "no cluster preset '%s' (%s are); hint: any preset with --memory, --bf16-tflops, --intra-gbs, --inter-gbs, ...", v->cluster, known);
    }
    *c = *p;
    take(&c->memory, v->memory, 1 << 30);
    take(&c->bf16, v->bf16, 1e12);
    take(&c->fp8, v->fp8, 1e12);
    take(&c->intra, v->intra, 1e9);
    take(&c->inter, v->inter, 1e9);
    take(&c->price, v->price, 1);
    c->gpus_per_node = v->per_node ? v->per_node : c->gpus_per_node;
    return ERR_OK;
}

static int index_of(const char *word, const char *const *names, int n)
{
    for (int i = 0; i < n; i++)
        if (!strcmp(word, names[i]))
            return i;
    BUG("no choice '%s'", word);
}

static const char *const schedules[] = {
#define X(name, title) #name,
    PIPE_KINDS(X)
#undef X
};
static const char *const schedule_titles[] = {
#define X(name, title) title,
    PIPE_KINDS(X)
#undef X
};

enum pipe_kind plan_schedule(const char *word) { return (enum pipe_kind)index_of(word, schedules, PIPE_N_KINDS); }
const char *plan_schedule_title(enum pipe_kind k) { return schedule_titles[k]; }

static err_code make_job(const struct flags *v, const struct model_config *c, struct plan_job *j, struct err *e)
{
    static const char *const recomputes[] = {"none", "selective", "full"}, *const precisions[] = {"fp32", "bf16", "fp8"};
    *j = (struct plan_job){.model = c, .gpus = v->gpus, .pp = v->pp, .ep = v->ep, .zero = (int)v->zero, .mtp = v->mtp && c->mtp, .absorbed = !strcmp(v->mla, "absorbed"), .uneven = v->uneven,
                           .schedule = plan_schedule(v->schedule), .recompute = (enum plan_recompute)index_of(v->recompute, recomputes, 3),
                           .precision = (enum plan_precision)index_of(v->precision, precisions, 3), .moment_bytes = strcmp(v->moments, "bf16") ? 4 : 2,
                           .seq = v->seq, .micro = v->micro, .cache_seqs = v->cache_seqs, .cache_context = v->cache_context ? v->cache_context : v->seq,
                           .reserve = v->reserve * (1 << 30), .mfu = v->mfu, .hours_per_trillion = v->per_trillion, .tokens = v->tokens};
    TRY(make_cluster(v, &j->cluster, e));
    j->price = j->cluster.price;
    int64_t dp = v->gpus / v->pp;
    if (v->dp && v->dp * v->pp != v->gpus)
        return err_set(e, ERR_USAGE, "DP %lld x PP %lld are not %lld GPUs", (long long)v->dp, (long long)v->pp, (long long)v->gpus);
    j->batch = v->batch ? v->batch : dp * v->micro * 2 * v->pp;
    return ERR_OK;
}

/* ---- the report ---------------------------------------------------------------------------- */

static void put_head(struct plan_out *o, const char *path, const struct flags *v, const struct plan_job *j, const struct plan_result *r)
{
    const struct model_config *c = j->model;
    struct model_size z = model_size(c);
    char line[400];
    snprintf(line, sizeof line, "%s (%s): %.2f B parameters, %.2f B activated, MTP %.2f B%s", path, c->type, (double)z.params / 1e9, (double)z.active / 1e9, (double)z.mtp / 1e9,
             c->mtp && !j->mtp ? " (not trained)" : "");
    plan_out_text(o, "model", "model", line);
    snprintf(line, sizeof line, "%lld x %s, %.0f GiB, bf16 %.0f TFLOP/s, fp8 %.0f, %.0f GB/s within %lld, %.0f between nodes, $%.2f an hour", (long long)j->gpus, j->cluster.title,
             j->cluster.memory / (1 << 30), j->cluster.bf16 / 1e12, j->cluster.fp8 / 1e12, j->cluster.intra / 1e9, (long long)j->cluster.gpus_per_node, j->cluster.inter / 1e9, j->price);
    plan_out_text(o, "cluster", "cluster", line);
    snprintf(line, sizeof line, "DP %lld x PP %lld, EP %lld, %s, %s, recompute %s, %s, moments %s%s%s", (long long)r->dp, (long long)j->pp, (long long)j->ep, j->zero ? "ZeRO-1" : "no ZeRO",
             schedule_titles[j->schedule], v->recompute, v->precision, v->moments, c->kv_lora ? ", MLA " : "", c->kv_lora ? v->mla : "");
    plan_out_text(o, "layout", "layout", line);
    snprintf(line, sizeof line, "%lld sequences of %lld = %.2f M tokens; %lld micro-batches of %lld on each pipeline", (long long)j->batch, (long long)j->seq,
             (double)(j->batch * j->seq) / 1e6, (long long)r->micro_batches, (long long)j->micro);
    plan_out_text(o, "step", "step", line);
}

static void put_memory(struct plan_out *o, const struct plan_job *j, const struct plan_result *r)
{
    static const char *const keys[] = {
#define X(key, name) #key,
        PLAN_PARTS(X)
#undef X
    }, *const names[] = {
#define X(key, name) name,
        PLAN_PARTS(X)
#undef X
    };
    const struct plan_rank *w = &r->ranks[r->worst];
    int64_t least = 0;
    for (int64_t i = 0; i < j->pp; i++)
        least = r->ranks[i].total < r->ranks[least].total ? i : least;
    plan_out_group(o, "memory", "memory of a GPU on rank %lld, the fullest of %lld (the emptiest, %lld, has %.2f GiB)", (long long)w->rank, (long long)j->pp, (long long)least,
                   r->ranks[least].total / (1 << 30));
    plan_out_num(o, "rank", "pipeline rank", (double)w->rank, 1, "", 0);
    plan_out_num(o, "params", "parameters held", w->params, 1e9, "B", 3);
    for (int i = 0; i < PLAN_N_PARTS; i++)
        plan_out_num(o, keys[i], names[i], w->part[i], 1 << 30, "GiB", 2);
    plan_out_num(o, "total", "total", w->total, 1 << 30, "GiB", 2);
    plan_out_num(o, "free", "left", j->cluster.memory - w->total, 1 << 30, "GiB", 2);
    plan_out_end(o);
}

/* Bytes of one kind of traffic and how long they take: "<key>" and "<key>_s" in JSON. */
static void put_wire(struct plan_out *o, const char *key, const char *label, double bytes, double seconds)
{
    char key_s[64];
    snprintf(key_s, sizeof key_s, "%s_s", key);
    if (o->json) {
        plan_out_num(o, key, label, bytes, 1, "", 0);
        plan_out_num(o, key_s, label, seconds, 1, "", 0);
    } else {
        sbuf_addf(&o->b, "  %-28s %14.2f GB  %8.3f s\n", label, bytes / 1e9, seconds);
    }
}

static void put_traffic(struct plan_out *o, const struct plan_job *j, const struct plan_result *r)
{
    const struct plan_traffic *t = &r->traffic;
    plan_out_group(o, "traffic", "traffic of a GPU and step, one direction, and its time at full rate (a step takes %.2f s)", r->step_s);
    put_wire(o, "all_to_all_inter", "all-to-all between nodes", t->all_to_all_inter, t->s_inter);
    put_wire(o, "all_to_all_intra", "all-to-all within a node", t->all_to_all_intra, t->s_intra);
    plan_out_num(o, "node_copies", "  a token goes to at most", (double)t->node_copies, 1, "other nodes", 0);
    plan_out_num(o, "gpu_copies", "  and to at most", (double)t->gpu_copies, 1, "GPUs", 0);
    put_wire(o, "pipeline", "pipeline", t->pipeline, t->s_pipeline);
    put_wire(o, "data", j->zero ? "gradients and weights" : "gradients", t->data, t->s_data);
    plan_out_end(o);
}

static void put_bubbles(struct plan_out *o, const struct plan_job *j, const struct plan_result *r)
{
    plan_out_group(o, "bubbles", "bubbles of %lld stages and %lld micro-batches, F %.2f ms, B %.2f, of it W %.2f", (long long)j->pp, (long long)r->micro_batches, r->f * 1e3, r->b * 1e3, r->w * 1e3);
    for (int k = 0; k < PIPE_N_KINDS; k++) {
        const struct plan_bubble *b = &r->bubble[k];
        if (o->json) {
            plan_out_group(o, schedules[k], "%s", "");
            plan_out_num(o, "runs", "", b->runs, 1, "", 0);
            plan_out_num(o, "formula_s", "", b->formula, 1, "", 0);
            plan_out_num(o, "simulated_s", "", b->simulated, 1, "", 0);
            plan_out_num(o, "share", "", b->share, 1, "", 0);
            plan_out_num(o, "activations", "", (double)b->activations, 1, "", 0);
            plan_out_end(o);
        } else if (b->runs) {
            sbuf_addf(&o->b, "  %-10s formula %10.3f ms   simulated %10.3f ms   %5.2f %% of the step   %lld activations, %s parameters\n", schedule_titles[k], b->formula * 1e3, b->simulated * 1e3,
                      b->share * 100, (long long)b->activations, k == PIPE_dualpipe && j->pp > 1 ? "2x" : "1x");
        } else {
            sbuf_addf(&o->b, "  %-10s does not take this shape\n", schedule_titles[k]);
        }
    }
    plan_out_end(o);
}

static void put_mla(struct plan_out *o, const struct plan_job *j, const struct plan_result *r)
{
    static const char *const forms[] = {"expanded", "absorbed"};
    if (!j->model->kv_lora)
        return;
    plan_out_group(o, "mla", "latent attention, its two forms at %lld tokens", (long long)j->seq);
    for (int i = 0; i < 2; i++) {
        plan_out_group(o, forms[i], "  %s%s", forms[i], i == j->absorbed ? " (this job)" : "");
        plan_out_num(o, "pair_flops", "per query, key and head", r->mla.pair[i], 1, "FLOP", 0);
        plan_out_num(o, "decode_flops", "attention of the last token", r->mla.decode[i], 1e9, "GFLOP", 3);
        plan_out_num(o, "forward_flops", "forward of a token, mean", r->mla.train[i], 1e9, "GFLOP", 3);
        plan_out_num(o, "cache_bytes", "cache of a token, bf16", r->mla.cache[i], 1e3, "KB", 1);
        plan_out_end(o);
    }
    plan_out_end(o);
}

static err_code put_time(struct plan_out *o, const struct flags *v, const struct plan_job *j, const struct plan_result *r, struct err *e)
{
    double hours = r->hours;
    struct str rest = str_of(v->more), piece;
    plan_out_group(o, "time", "time and cost of %.4g T tokens at %.1f %% of the bf16 peak%s", j->tokens / 1e12, r->mfu * 100, j->hours_per_trillion > 0 ? ", from the measured speed" : "");
    plan_out_num(o, "flops_per_token", "model FLOPs of a token", r->flops, 1e9, "GFLOP", 2);
    plan_out_num(o, "mfu", "MFU", r->mfu, 0.01, "%", 2);
    plan_out_num(o, "tokens_per_s", "tokens/s", r->tokens_per_s, 1, "", 0);
    plan_out_num(o, "step_s", "step", r->step_s, 1, "s", 3);
    plan_out_num(o, "days_per_trillion", "days per trillion tokens", r->days_per_trillion, 1, "", 2);
    plan_out_num(o, "hours_per_trillion", "GPU-hours per trillion", r->hours_per_trillion, 1e3, "K", 1);
    plan_out_num(o, "days", "days", r->days, 1, "", 1);
    plan_out_num(o, "gpu_hours", "GPU-hours", r->hours, 1e3, "K", 1);
    plan_out_num(o, "cost", "cost", r->cost, 1e6, "M$", 3);
    if (rest.n) {
        plan_out_group(o, "more", "  other stages");
        while (str_split(&rest, ',', &piece)) {
            int64_t colon = str_find(piece, STR(":"), 0);
            double h;
            char name[64];
            if (colon < 1 || colon >= (int64_t)sizeof name || !str_to_f64(str_sub(piece, colon + 1, piece.n), &h) || !(h >= 0))
                return err_set(e, ERR_USAGE, "--more '%.*s': NAME:GPU-HOURS is expected", STR_ARG(piece));
            snprintf(name, sizeof name, "%.*s", (int)colon, piece.p);
            for (char *p = name; *p; p++)
                *p = *p == '"' || *p == '\\' || (unsigned char)*p < 32 ? '_' : *p;
            plan_out_num(o, name, name, h, 1e3, "K GPU-hours", 1);
            hours += h;
        }
        plan_out_end(o);
        plan_out_num(o, "all_gpu_hours", "GPU-hours in all", hours, 1e3, "K", 1);
        plan_out_num(o, "all_cost", "cost in all", hours * j->price, 1e6, "M$", 3);
    }
    plan_out_end(o);
    return ERR_OK;
}

static err_code plan_model(const char *path, const struct flags *v, struct arena *mem, struct err *e)
{
    struct model_config c;
    struct plan_job j;
    struct plan_result r;
    struct plan_out o;
    TRY(model_config_read(path, &c, e));
    TRY(make_job(v, &c, &j, e));
    TRY(plan_make(&j, mem, &r, e));
    plan_out_open(&o, v->json);
    put_head(&o, path, v, &j, &r);
    o.first = 0;
    put_memory(&o, &j, &r);
    put_traffic(&o, &j, &r);
    put_bubbles(&o, &j, &r);
    put_mla(&o, &j, &r);
    err_code rc = put_time(&o, v, &j, &r, e);
    if (rc == ERR_OK)
        plan_out_close(&o);
    else
        sbuf_release(&o.b);
    return rc;
}

static int run_clusters(int argc, char **argv)
{
    int n;
    const struct plan_cluster *c = plan_clusters(&n);
    (void)argv;
    if (argc > 0 && strcmp(argv[0], "--help")) {
        fprintf(stderr, "usage: hone plan clusters\n");
        return err_exit(ERR_USAGE);
    }
    printf("%-6s %-16s %5s %8s %10s %10s %10s %10s %8s\n", "name", "", "node", "GiB", "bf16 TF/s", "fp8 TF/s", "in node", "between", "$/hour");
    for (int i = 0; i < n; i++)
        printf("%-6s %-16s %5lld %8.0f %10.0f %10.0f %5.0f GB/s %5.0f GB/s %8.2f\n", c[i].name, c[i].title, (long long)c[i].gpus_per_node, c[i].memory / (1 << 30), c[i].bf16 / 1e12,
               c[i].fp8 / 1e12, c[i].intra / 1e9, c[i].inter / 1e9, c[i].price);
    return 0;
}

int cmd_plan(int argc, char **argv)
{
    static const struct cmd_verb verbs[] = {{"clusters", "", run_clusters}, {"bubbles", "", cmd_plan_bubbles}, {"eplb", "", cmd_plan_eplb}};
    for (size_t i = 0; argc > 0 && i < sizeof verbs / sizeof *verbs; i++)
        if (!strcmp(argv[0], verbs[i].name))
            return verbs[i].run(argc - 1, argv + 1);
    struct flags v;
    struct arena mem;
    struct err e = {0};
    int n = 0, done;
    struct cmd_flags f = {.usage = "plan DIR|config.json --cluster h800 --gpus 2048 --pp 16 --ep 64 ...", .about = about, .defs = defs, .n = sizeof defs / sizeof *defs, .words_max = 1};
    arena_init(&mem, "plan", 1LL << 32);
    int code = cmd_parse(&f, &v, &mem, argc, argv, &n, &done);
    if (!done && n != 1) {
        fprintf(stderr, "usage: hone %s (try --help)\n", f.usage);
        code = err_exit(ERR_USAGE);
    } else if (!done) {
        code = plan_model(argv[0], &v, &mem, &e) == ERR_OK ? 0 : cmd_fail(&e);
    }
    arena_release(&mem);
    return code;
}
