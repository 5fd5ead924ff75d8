/* Held-out problems: several samples of each, scored by the run's rewards. Right is what the first reward of reward.list calls right. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/log.h"
#include "core/version.h"
#include "grpo/evalstat.h"
#include "grpo/grpo.h"
#include "grpo/setup.h"

enum { K_MAX = 16 };
/* Keys of held-out samples: apart from those of training, and the same at every evaluation, so that two of them differ by the weights alone. */
static const uint64_t EVAL_KEY = 1ull << 62;

struct evaluation {
    int64_t n, samples;          /* problems, samples of each */
    struct grpo_problem *p;
    struct grpo_result *result;  /* [n * samples] */
    struct rollout_stats sampled;
    int n_k;
    int64_t k[K_MAX];
};

static err_code read_k(const struct cfg *c, struct evaluation *v, struct err *e)
{
    struct cfg_item item[K_MAX];
    TRY(cfg_list(c->eval.k, "eval.k", item, K_MAX, &v->n_k, e));
    for (int i = 0; i < v->n_k; i++)
        if (!str_to_i64(item[i].name, &v->k[i]) || v->k[i] < 1 || v->k[i] > c->eval.samples)
            return err_set(e, ERR_USAGE, "eval.k: '%.*s' is not a number from 1 to eval.samples %lld", STR_ARG(item[i].name), (long long)c->eval.samples);
    return ERR_OK;
}

static err_code sample_all(struct grpo *g, struct evaluation *v, struct arena *mem, struct err *e)
{
    const struct rollout_sample *s;
    struct rollout_sampling how = grpo_sampling(g, 1);
    struct rollout_prompt *ask = ARENA_NEW(mem, struct rollout_prompt, v->n + 1);
    for (int64_t i = 0; i < v->n; i++) {
        TRY(grpo_problem_get(&g->held_out, i, mem, &v->p[i], e));
        ask[i] = (struct rollout_prompt){.key = EVAL_KEY + (uint64_t)i, .ids = v->p[i].ids, .n = v->p[i].n, .samples = v->samples};
    }
    TRY(rollout_run(g->r, ask, v->n, &how, NULL, mem, &s, &v->sampled, e));
    grpo_score(g, v->p, s, v->n * v->samples, mem, v->result);
    return ERR_OK;
}

static int is_right(const struct grpo_result *x) { return x->reward.each[0].outcome == REWARD_RIGHT; }

static void add_line(struct grpo_eval_result *out, double value, const char *name, int64_t k)
{
    struct grpo_eval_line *l = &out->lines[out->n_lines++];
    l->value = value;
    if (k)
        snprintf(l->name, sizeof l->name, "%s@%lld", name, (long long)k);
    else
        snprintf(l->name, sizeof l->name, "%s", name);
}

static void figures(const struct evaluation *v, struct grpo_eval_result *out)
{
    double pass[K_MAX] = {0}, reward = 0, length = 0;
    int64_t majority[K_MAX] = {0}, scored = 0, unscored = 0;
    struct str answer[1024];
    unsigned char right[1024];
    for (int64_t i = 0; i < v->n; i++) {
        int64_t c = 0, votes = v->samples < 1024 ? v->samples : 1024;
        for (int64_t s = 0; s < v->samples; s++) {
            const struct grpo_result *x = &v->result[i * v->samples + s];
            c += is_right(x);
            length += (double)x->s->n;
            if (isnan(x->total))
                unscored++;
            else
                reward += x->total, scored++;
            if (s < votes)
                answer[s] = x->reward.each[0].answer, right[s] = (unsigned char)is_right(x);
        }
        for (int k = 0; k < v->n_k; k++) {
            pass[k] += grpo_pass_at_k(v->samples, c, v->k[k]);
            majority[k] += v->k[k] <= votes && grpo_majority(answer, right, v->k[k]);
        }
    }
    double n = v->n ? (double)v->n : 1;
    *out = (struct grpo_eval_result){.problems = v->n, .samples = v->samples};
    for (int k = 0; k < v->n_k; k++)
        add_line(out, pass[k] / n, "pass", v->k[k]);
    for (int k = 0; k < v->n_k; k++)
        if (v->k[k] > 1)
            add_line(out, (double)majority[k] / n, "maj", v->k[k]);
    add_line(out, scored ? reward / (double)scored : NAN, "reward", 0);
    add_line(out, length / (n * (double)v->samples), "length", 0);
    add_line(out, (double)unscored, "unscored", 0);
}

static err_code record(struct grpo *g, int64_t step, const struct evaluation *v, const struct grpo_eval_result *out, struct err *e)
{
    const char *set = g->c->eval.sources[0] ? g->c->eval.sources : "heldout";
    TRY(store_begin(g->j.store, e));
    for (int64_t i = 0; i < v->n * v->samples; i++) {
        const struct grpo_result *x = &v->result[i];
        int64_t prompt = i / v->samples, sample = i % v->samples;
        const struct store_rollout o = {.purpose = "eval", .prompt = prompt, .sample = sample, .item = x->problem->item, .prompt_ids = x->problem->ids,
                                        .n_prompt = sample ? 0 : x->problem->n, .ids = x->s->ids, .logp = x->s->logp, .n = x->s->n, .text = x->s->text,
                                        .stop = rollout_stop_name(x->s->stop), .reward = x->total, .advantage = NAN, .used = 0, .why = "held out"};
        TRY(store_rollout(&g->j.run, step, &o, e));
        TRY(grpo_record_verdicts(g, step, "eval", prompt, sample, x, e));
    }
    for (int64_t i = 0; i < out->n_lines; i++)
        TRY(store_eval(&g->j.run, step, set, out->lines[i].name, out->lines[i].value, v->n, e));
    return store_commit(g->j.store, e);
}

static void show_samples(const struct grpo *g, const struct evaluation *v)
{
    for (int64_t i = 0; i < g->c->eval.show && i < v->n; i++) {
        const struct grpo_result *x = &v->result[i * v->samples];
        log_info("eval", "problem  %.*s", STR_ARG(x->problem->prompt));
        struct str rest = x->s->text, line;
        while (str_split(&rest, '\n', &line))
            log_info("eval", "         %.*s", STR_ARG(line));
        log_info("eval", "         -> %s: %s", reward_outcome_name(x->reward.each[0].outcome), x->reward.each[0].why);
    }
}

static err_code run(struct grpo *g, int64_t step, struct arena *mem, struct grpo_eval_result *out, struct err *e)
{
    const struct cfg *c = g->c;
    struct evaluation v = {.n = g->held_out.items.n, .samples = c->eval.samples};
    if (c->eval.prompts > 0 && v.n > c->eval.prompts)
        v.n = c->eval.prompts;
    v.p = ARENA_NEW(mem, struct grpo_problem, v.n + 1);
    v.result = ARENA_NEW(mem, struct grpo_result, v.n * v.samples + 1);
    TRY(read_k(c, &v, e));
    err_code rc = sample_all(g, &v, mem, e);
    if (rc == ERR_OK) {
        figures(&v, out);
        show_samples(g, &v);
        rc = record(g, step, &v, out, e);
    }
    for (int64_t i = 0; i < v.n; i++)
        grpo_problem_release(&v.p[i]);
    return rc;
}

static double line_value(const struct grpo_eval_result *r, const char *name)
{
    for (int64_t i = 0; i < r->n_lines; i++)
        if (strcmp(r->lines[i].name, name) == 0)
            return r->lines[i].value;
    return NAN;
}

err_code grpo_evaluate(struct grpo *g, int64_t step, struct grpo_figures *out, struct err *e)
{
    struct arena mem;
    struct grpo_eval_result r;
    arena_init(&mem, "evaluation", 1LL << 36);
    err_code rc = run(g, step, &mem, &r, e);
    arena_release(&mem);
    if (rc == ERR_OK)
        *out = (struct grpo_figures){.problems = r.problems, .samples = r.samples, .pass1 = line_value(&r, "pass@1"), .reward = line_value(&r, "reward"),
                                     .length = line_value(&r, "length")};
    return rc;
}

/* ---- alone -------------------------------------------------------------------------------- */

static err_code open_alone(struct grpo *g, struct err *e)
{
    const struct cfg *c = g->c;
    struct train_job *j = &g->j;
    TRY(train_job_kern(c, &j->k, e));
    TRY(ckpt_model(c->model.path, j->from, e));
    TRY(store_open(c->data.store, STORE_WRITE, "hone eval", &j->store, e));
    TRY(tok_load(j->from, &j->tok, e));
    struct model_opts how = train_job_model(c, "eval", 0);
    TRY(model_open(j->k, j->from, &how, &j->m, e));
    TRY(grpo_open_parts(g, e));
    if (!g->has_held_out)
        return err_set(e, ERR_USAGE, "nothing to evaluate on; hint: eval.sources=NAME, or data.sources=NAME with data.heldout=0.1");
    char commit[80];
    train_job_provenance(c, commit);
    struct store_run_info info = {.kind = "eval", .name = c->model.path, .config = j->config.p, .code = HONE_VERSION, .provenance = commit, .seed = c->seed, .snapshot = g->held_out.snapshot};
    TRY(store_run_begin(j->store, &info, &j->run, e));
    j->started = 1;
    return ERR_OK;
}

err_code grpo_eval_run(const struct cfg *c, struct grpo_eval_result *out, struct err *e)
{
    struct grpo g = {.c = c, .j = {.c = c, .kind = "eval"}};
    struct arena mem;
    arena_init(&g.j.mem, "job", 1LL << 32);
    arena_init(&mem, "evaluation", 1LL << 36);
    sbuf_init(&g.j.config, 1 << 20);
    cfg_text(c, &g.j.config);
    err_code rc = open_alone(&g, e);
    if (rc == ERR_OK)
        rc = run(&g, 0, &mem, out, e);
    arena_release(&mem);
    return grpo_teardown(&g, rc, e);
}
