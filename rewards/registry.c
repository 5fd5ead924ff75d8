/* The list of rewards, and how a batch is scored on all threads. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/log.h"
#include "core/par.h"
#include "rewards/kind.h"

enum { REWARDS_MAX = 64, WHY_MAX = 300, WORKER_BYTES_MAX = 1 << 30 };

static const struct reward_kind *const kinds[] = {
#define X(name, help) &reward_kind_##name,
    REWARD_LIST(X)
#undef X
};
static const char *const helps[] = {
#define X(name, help) help,
    REWARD_LIST(X)
#undef X
};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

static const struct {
    const char *name;
    int scored;
    const char *meaning;
} outcomes[] = {
#define X(name, text, scored, meaning) {text, scored, meaning},
    REWARD_OUTCOMES(X)
#undef X
};

const char *reward_outcome_name(enum reward_outcome o)
{
    return outcomes[o].name;
}

int reward_outcome_scored(enum reward_outcome o)
{
    return outcomes[o].scored;
}

enum reward_outcome reward_outcome_find(struct str name)
{
    for (int o = 0; o < REWARD_N_OUTCOMES; o++)
        if (str_eq(name, str_of(outcomes[o].name)))
            return (enum reward_outcome)o;
    return REWARD_N_OUTCOMES;
}

void reward_say(struct reward_verdict *v, struct arena *mem, enum reward_outcome o, double score, const char *fmt, ...)
{
    char line[WHY_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    for (char *p = line; *p; p++)
        *p = (unsigned char)*p < ' ' ? ' ' : *p;
    int64_t n = (int64_t)strlen(line);
    while (n && utf8_check((struct str){line, n}) >= 0) /* cut inside a character */
        line[--n] = 0;
    v->outcome = o;
    v->score = outcomes[o].scored ? score : NAN;
    v->why = str_dup(mem, str_of(line)).p;
}

struct one {
    const struct reward_kind *kind;
    double weight;
    void *self;
};

struct rewards {
    int n;
    struct one one[REWARDS_MAX];
    struct arena worker[PAR_MAX]; /* strings of the verdicts, until the next call; opened when first used */
};

static err_code find_kind(struct str name, const struct reward_kind **out, struct err *e)
{
    const char *near = NULL;
    int best = str_far(name);
    for (int k = 0; k < N_KINDS; k++) {
        int d = str_distance(name, str_of(kinds[k]->name));
        if (d == 0) {
            *out = kinds[k];
            return ERR_OK;
        }
        if (d < best)
            best = d, near = kinds[k]->name;
    }
    return err_set(e, ERR_USAGE, "reward.list: unknown reward '%.*s'%s%s%s; 'hone help rewards' lists them", STR_ARG(name), near ? ", did you mean '" : "",
                   near ? near : "", near ? "'?" : "");
}

err_code reward_open(const struct cfg *c, struct rewards **out, struct err *e)
{
    struct cfg_item items[REWARDS_MAX];
    int n;
    TRY(cfg_list(c->reward.list, "reward.list", items, REWARDS_MAX, &n, e));
    if (n == 0)
        return err_set(e, ERR_USAGE, "reward.list is empty: no response would earn anything");
    struct rewards *r = calloc(1, sizeof *r);
    if (!r)
        return err_set(e, ERR_LIMIT, "no memory for rewards");
    err_code rc = ERR_OK;
    for (int i = 0; rc == ERR_OK && i < n; i++) {
        struct one *o = &r->one[i];
        rc = find_kind(items[i].name, &o->kind, e);
        for (int j = 0; rc == ERR_OK && j < i; j++)
            if (r->one[j].kind == o->kind)
                rc = err_set(e, ERR_USAGE, "reward.list has '%s' twice", o->kind->name);
        if (rc != ERR_OK)
            break;
        o->weight = items[i].weight;
        if (o->kind->open)
            rc = o->kind->open(c, &o->self, e);
        if (rc == ERR_OK)
            r->n = i + 1;
    }
    if (rc != ERR_OK) {
        reward_close(r);
        return rc;
    }
    *out = r;
    return ERR_OK;
}

void reward_close(struct rewards *r)
{
    if (!r)
        return;
    for (int i = 0; i < r->n; i++)
        if (r->one[i].kind->close)
            r->one[i].kind->close(r->one[i].self);
    for (int w = 0; w < PAR_MAX; w++)
        if (r->worker[w].base)
            arena_release(&r->worker[w]);
    free(r);
}

int reward_count(const struct rewards *r)
{
    return r->n;
}

const char *reward_name(const struct rewards *r, int k)
{
    return r->one[k].kind->name;
}

double reward_weight(const struct rewards *r, int k)
{
    return r->one[k].weight;
}

struct batch {
    struct rewards *r;
    const struct reward_request *q;
    struct reward_verdict *v; /* [n, r->n] */
};

static void score_range(void *ctx, int64_t begin, int64_t end, int worker)
{
    struct batch *b = ctx;
    struct arena *mem = &b->r->worker[worker];
    if (!mem->base)
        arena_init(mem, "rewards", WORKER_BYTES_MAX);
    for (int64_t i = begin; i < end; i++)
        for (int k = 0; k < b->r->n; k++) {
            const struct one *o = &b->r->one[k];
            struct reward_verdict *v = &b->v[i * b->r->n + k];
            if (!o->kind->score)
                continue;
            double began = clock_now();
            o->kind->score(o->self, worker, &b->q[i], mem, v);
            v->ms = 1000 * (clock_now() - began);
        }
}

/* Rewards with a pool of their own, one after the other. */
static void score_pools(struct batch *b, int64_t n, struct arena *mem)
{
    for (int k = 0; k < b->r->n; k++) {
        const struct one *o = &b->r->one[k];
        if (!o->kind->score_all)
            continue;
        struct reward_verdict **v = ARENA_NEW(mem, struct reward_verdict *, n ? n : 1);
        for (int64_t i = 0; i < n; i++)
            v[i] = &b->v[i * b->r->n + k];
        o->kind->score_all(o->self, b->q, n, mem, v);
    }
}

static void add_up(const struct rewards *r, struct reward_verdict *each, struct reward_result *out, struct reward_stats *st)
{
    double total = 0;
    for (int k = 0; k < r->n; k++) {
        assert(reward_outcome_scored(each[k].outcome) == !isnan(each[k].score));
        if (r->one[k].weight != 0)
            total += r->one[k].weight * each[k].score;
        st->outcomes[k][each[k].outcome]++;
    }
    *out = (struct reward_result){.total = total, .each = each};
    st->failed += isnan(total);
}

/* Strings of the workers' arenas move to the caller's, so that results live as long as mem. */
static void keep_strings(struct reward_verdict *v, struct arena *mem)
{
    v->why = str_dup(mem, str_of(v->why)).p;
    if (v->answer.n)
        v->answer = str_dup(mem, v->answer);
}

void reward_score(struct rewards *r, const struct reward_request *q, int64_t n, struct arena *mem, struct reward_result *out,
                  struct reward_stats *stats)
{
    struct batch b = {.r = r, .q = q, .v = ARENA_NEW(mem, struct reward_verdict, n * r->n + 1)};
    *stats = (struct reward_stats){.n = n, .outcomes = arena_alloc(mem, r->n, sizeof *stats->outcomes)};
    for (int64_t i = 0; i < n * r->n; i++)
        b.v[i].why = "";
    for (int w = 0; w < PAR_MAX; w++)
        if (r->worker[w].base)
            arena_reset(&r->worker[w]);
    par_for(n, 1, score_range, &b);
    score_pools(&b, n, mem);
    for (int64_t i = 0; i < n; i++) {
        for (int k = 0; k < r->n; k++)
            keep_strings(&b.v[i * r->n + k], mem);
        add_up(r, &b.v[i * r->n], &out[i], stats);
    }
}

void reward_help(struct sbuf *out)
{
    sbuf_adds(out, "rewards (reward.list=math:1,format:0.2):\n");
    for (int k = 0; k < N_KINDS; k++)
        sbuf_addf(out, "  %-10s %s\n", kinds[k]->name, helps[k]);
    sbuf_adds(out, "\noutcomes:\n");
    for (int o = 0; o < REWARD_N_OUTCOMES; o++)
        sbuf_addf(out, "  %-16s %s%s\n", outcomes[o].name, outcomes[o].meaning, outcomes[o].scored ? "" : " (no score: the sample is left out)");
    sbuf_adds(out, "\nreward.language: ");
    reward_languages(out);
    sbuf_adds(out, "\n");
}
