/* repo: the patch in a response against the tests of its repository, in the sandbox (rewards/repo.h).
 * The item is a row in the form of SWE-bench: its member "task", its "meta" or itself, whichever has a base_commit. */
#include <stdlib.h>
#include <string.h>

#include "rewards/kind.h"
#include "rewards/repo.h"

struct repo_reward {
    struct sandbox *box;
    struct repo_store *store;
    struct repo_task_opts opts;
    char *clones;
};

static void repo_close_reward(void *self)
{
    struct repo_reward *r = self;
    sandbox_close(r->box);
    repo_store_close(r->store);
    free(r->clones);
    free(r);
}

static err_code repo_open_reward(const struct cfg *c, void **self, struct err *e)
{
    enum { STORE_BYTES = 1 << 30 };
    struct repo_reward *r = calloc(1, sizeof *r);
    if (!r || !(r->clones = strdup(c->reward.repo_clones))) {
        free(r);
        return err_set(e, ERR_LIMIT, "no memory for the repo reward");
    }
    r->opts = (struct repo_task_opts){.clones = r->clones, .time_limit_s = c->reward.repo_time_limit_s};
    r->store = repo_store_open(STORE_BYTES);
    err_code rc = sandbox_open(&r->box, &(struct sandbox_opts){.workers = (int)c->reward.jobs}, e);
    if (rc == ERR_OK)
        *self = r;
    else
        repo_close_reward(r);
    return rc;
}

/* The last block between lines that begin with three backquotes; without one the whole text, if a diff begins in it. A diff's own lines
 * begin with a sign or a blank, so a fence inside a patch is none. */
static struct str patch_in(struct str text)
{
    struct str found = {NULL, 0}, rest = text, line;
    const char *from = NULL;
    while (rest.n && str_split(&rest, '\n', &line)) {
        if (!str_starts(line, STR("```")))
            continue;
        if (from) {
            found = (struct str){from, line.p - from};
            from = NULL;
        } else {
            from = rest.p;
        }
    }
    if (!found.p && (str_starts(text, STR("diff --git ")) || str_find(text, STR("\ndiff --git "), 0) >= 0 || str_starts(text, STR("--- a/"))))
        return text;
    return found;
}

static const json_t *row_of(const json_t *item)
{
    const json_t *task = json_object_get(item, "task"), *meta = json_object_get(item, "meta");
    return json_object_get(task, "base_commit") ? task : json_object_get(meta, "base_commit") ? meta : item;
}

static void say(const struct repo_verdict *got, struct arena *mem, struct reward_verdict *v)
{
    static const enum reward_outcome outcome[] = {
        [REPO_RIGHT] = REWARD_RIGHT, [REPO_WRONG] = REWARD_WRONG, [REPO_UNPARSABLE] = REWARD_UNPARSABLE,
        [REPO_TIMEOUT] = REWARD_WRONG, /* the patch ran too long, not the verifier */
        [REPO_CRASHED] = REWARD_CRASHED};
    reward_say(v, mem, outcome[got->outcome], got->outcome == REPO_RIGHT, "%s%s%s", repo_outcome_name(got->outcome), got->why[0] ? ": " : "", got->why);
    v->ms = got->wall_ms;
}

static void repo_score_all(void *self, const struct reward_request *q, int64_t n, struct arena *mem, struct reward_verdict *const *v)
{
    struct repo_reward *r = self;
    struct repo_task *tasks = ARENA_NEW(mem, struct repo_task, n + 1);
    struct repo_request *ask = ARENA_NEW(mem, struct repo_request, n + 1);
    struct repo_verdict *got = ARENA_NEW(mem, struct repo_verdict, n + 1);
    int64_t *which = ARENA_NEW(mem, int64_t, n + 1), asked = 0;
    for (int64_t i = 0; i < n; i++) {
        struct err e = {0};
        struct str patch = patch_in(q[i].response);
        if (repo_task_parse(row_of(q[i].item), &r->opts, mem, &tasks[i], &e) != ERR_OK) {
            reward_say(v[i], mem, REWARD_GOLD_UNPARSABLE, 0, "task: %s", e.msg);
        } else if (!patch.p) {
            reward_say(v[i], mem, REWARD_UNPARSABLE, 0, "no fenced patch in the response");
        } else {
            ask[asked] = (struct repo_request){&tasks[i], patch};
            which[asked++] = i;
        }
    }
    repo_judge_all(r->box, r->store, ask, asked, mem, got);
    for (int64_t k = 0; k < asked; k++)
        say(&got[k], mem, v[which[k]]);
}

const struct reward_kind reward_kind_repo = {.name = "repo", .open = repo_open_reward, .close = repo_close_reward, .score_all = repo_score_all};
