/* hone verify repo: patches against the tests of their repositories. */
#include <stdlib.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/pool.h"
#include "rewards/rewards.h"

struct flags {
    int64_t jobs;
    const char *clones;
    double time_limit_s;
    int gold, output;
};

static const struct opt_def defs[] = {
    {"", "jobs", OPT_INT, offsetof(struct flags, jobs), "0", 0, 256, NULL, "patches at a time; 0 = one per CPU"},
    {"", "clones", OPT_STR, offsetof(struct flags, clones), "", 0, 0, NULL, "folder of local clones: owner/name, owner/name.git, owner__name, owner__name.git"},
    {"", "time-limit", OPT_NUM, offsetof(struct flags, time_limit_s), "300", 0.1, 86400, NULL, "CPU seconds for the tests of a row that states no time_limit_s"},
    {"", "gold", OPT_BOOL, offsetof(struct flags, gold), "false", 0, 0, NULL, "judge `patch`, the reference, instead of `model_patch`"},
    {"", "output", OPT_BOOL, offsetof(struct flags, output), "false", 0, 0, NULL, "answer with what the tests wrote as well"},
};

struct ctx {
    struct flags fl;
    struct repo_store *store;
};

struct item {
    struct sandbox_task work;
    const struct ctx *c;
    json_t *q;
    struct arena mem;
    struct repo_task task;
    struct str patch;
    struct repo_verdict v;
};

static err_code parse(struct item *it, struct err *e)
{
    const struct repo_task_opts o = {.clones = it->c->fl.clones, .time_limit_s = it->c->fl.time_limit_s};
    TRY(json_need_str(it->q, it->c->fl.gold ? "patch" : "model_patch", &it->patch, e));
    return repo_task_parse(it->q, &o, &it->mem, &it->task, e);
}

static void work(struct sandbox_worker *w, void *ctx)
{
    struct item *it = ctx;
    repo_judge(w, it->c->store, &it->task, it->patch, &it->mem, &it->v);
}

static void *item_new(void *ctx, const json_t *q, struct sandbox_task **t, struct err *e)
{
    struct item *it = calloc(1, sizeof *it);
    if (!it)
        BUG("out of memory");
    it->c = ctx;
    it->q = json_incref((json_t *)(uintptr_t)q);
    it->work = (struct sandbox_task){.fn = work, .ctx = it};
    arena_init(&it->mem, "repository task", 1LL << 30);
    *t = parse(it, e) == ERR_OK ? &it->work : NULL;
    return it;
}

static void put_text(struct sbuf *b, const char *key, struct str s)
{
    sbuf_addf(b, ",\"%s\":", key);
    json_put_str(b, s);
}

static void item_answer(void *item, struct sbuf *b)
{
    struct item *it = item;
    const struct repo_verdict *v = &it->v;
    json_answer_begin(b, it->q);
    if (it->task.id.p) {
        sbuf_adds(b, "\"instance_id\":");
        json_put_str(b, it->task.id);
        sbuf_addc(b, ',');
    }
    sbuf_addf(b, "\"outcome\":\"%s\",\"resolved\":%s,\"fail_to_pass\":[%d,%d],\"pass_to_pass\":[%d,%d],\"tests\":{", repo_outcome_name(v->outcome),
              v->outcome == REPO_RIGHT ? "true" : "false", v->fail_passed, it->task.n_fail, v->pass_passed, it->task.n_pass);
    for (int i = 0; i < it->task.n_fail + it->task.n_pass; i++) {
        sbuf_adds(b, i ? "," : "");
        json_put_str(b, it->task.tests[i]);
        sbuf_addf(b, ":\"%s\"", repo_test_name((enum repo_test)v->each[i]));
    }
    sbuf_addf(b, "},\"dropped\":%d", v->dropped);
    put_text(b, "why", str_of(v->why));
    if (it->c->fl.output) {
        put_text(b, "stdout", v->out);
        put_text(b, "stderr", v->err);
    }
    sbuf_addf(b, ",\"wall_ms\":%.3f,\"cpu_ms\":%.3f,\"mem_peak_bytes\":%lld}\n", v->wall_ms, v->cpu_ms, (long long)v->mem_peak);
}

static void item_free(void *item)
{
    struct item *it = item;
    json_decref(it->q);
    arena_release(&it->mem);
    free(it);
}

int cmd_verify_repo(int argc, char **argv)
{
    enum { STORE_BYTES = 1 << 30 };
    struct ctx c = {.store = NULL};
    struct arena mem;
    struct err e = {0};
    struct sandbox *s = NULL;
    int words, done;
    const struct cmd_flags f = {.usage = "verify repo [--jobs N] [--clones DIR] < in > out",
                                .about = "Judges patches from JSON Lines in the form of SWE-bench {\"id\",\"repo\"|\"clone\",\"base_commit\",\"test_patch\",\n"
                                         "\"FAIL_TO_PASS\",\"PASS_TO_PASS\",\"model_patch\"}: docs/repo-tasks.md.",
                                .defs = defs,
                                .n = sizeof defs / sizeof *defs};
    arena_init(&mem, "flags", 1 << 20);
    int rc = cmd_parse(&f, &c.fl, &mem, argc, argv, &words, &done);
    if (!done && sandbox_open(&s, &(struct sandbox_opts){.workers = (int)c.fl.jobs}, &e) != ERR_OK) {
        rc = cmd_fail(&e);
    } else if (!done) {
        c.store = repo_store_open(STORE_BYTES);
        rc = cmd_pool(s, &(struct cmd_pool_ops){item_new, item_answer, item_free}, &c);
    }
    sandbox_close(s);
    repo_store_close(c.store);
    arena_release(&mem);
    return rc;
}
