/* code: the program in a response against the tests of its item, in the sandbox (rewards/code.h).
 * The item's task is its member "task", or "meta.task" where the importer put it; the language is the task's, the item's or Python. */
#include <stdlib.h>

#include "rewards/code.h"
#include "rewards/kind.h"

struct code_reward {
    struct sandbox *box;
    double time_limit_s;
    int64_t memory_bytes;
    int share;
};

static void code_close_reward(void *self)
{
    struct code_reward *c = self;
    sandbox_close(c->box);
    free(c);
}

static err_code code_open_reward(const struct cfg *c, void **self, struct err *e)
{
    struct code_reward *r = calloc(1, sizeof *r);
    if (!r)
        return err_set(e, ERR_LIMIT, "no memory for the code reward");
    *r = (struct code_reward){.time_limit_s = c->reward.time_limit_s, .memory_bytes = c->reward.memory_limit_mb << 20, .share = c->reward.code_share};
    struct sandbox_opts o = code_sandbox_opts((int)c->reward.jobs);
    err_code rc = sandbox_open(&r->box, &o, e);
    if (rc != ERR_OK) {
        free(r);
        return rc;
    }
    *self = r;
    return ERR_OK;
}

/* The last fenced block of the response: models explain first and write the program last. Without a fence, nothing. */
static struct str last_block(struct str text)
{
    struct str found = {0}, fence = STR("```");
    int64_t at = 0;
    while ((at = str_find(text, fence, at)) >= 0) {
        int64_t line = str_find(text, STR("\n"), at), end;
        if (line < 0 || (end = str_find(text, fence, line)) < 0)
            break;
        found = str_sub(text, line + 1, end);
        at = end + fence.n;
    }
    return found;
}

static const json_t *member(const json_t *item, const char *name)
{
    const json_t *v = json_object_get(item, name);
    return v ? v : json_object_get(json_object_get(item, "meta"), name);
}

static const char *text_or(const json_t *v, const char *otherwise)
{
    return json_is_string(v) ? json_string_value(v) : otherwise;
}

struct job {
    struct code_task task;
    int parsed;
    struct reward_verdict *v;
    const char *language;
};

/* A task that cannot be understood is the data's fault. */
static int parse(const struct code_reward *c, const json_t *item, struct arena *mem, struct job *j)
{
    const json_t *task = member(item, "task"), *limits = json_object_get(task, "limits");
    struct err e = {0};
    if (!json_is_object(task)) {
        reward_say(j->v, mem, REWARD_GOLD_UNPARSABLE, 0, "the item has no task");
        return 0;
    }
    j->language = text_or(json_object_get(task, "language"), text_or(member(item, "language"), "python"));
    if (code_task_parse(task, j->language, mem, &j->task, &e) != ERR_OK) {
        reward_say(j->v, mem, REWARD_GOLD_UNPARSABLE, 0, "task: %s", e.msg);
        code_task_release(&j->task);
        return 0;
    }
    if (!limits && !json_object_get(task, "time_limit_s"))
        code_task_time_limit(&j->task, c->time_limit_s);
    if (!limits)
        j->task.limits.mem_bytes = c->memory_bytes;
    return 1;
}

static void say(const struct code_reward *c, const struct code_verdict *got, struct arena *mem, struct reward_verdict *v)
{
    double score = code_score(got, c->share);
    enum reward_outcome o = got->verdict == SANDBOX_IE ? REWARD_CRASHED : got->verdict == SANDBOX_AC ? REWARD_RIGHT : REWARD_WRONG;
    reward_say(v, mem, o, score, "%s, %d of %d tests: %s", sandbox_verdict_name(got->verdict), got->passed, got->total, got->why);
    v->ms = got->wall_ms;
}

static void code_score_all(void *self, const struct reward_request *q, int64_t n, struct arena *mem, struct reward_verdict *const *v)
{
    struct code_reward *c = self;
    struct job *jobs = ARENA_NEW(mem, struct job, n ? n : 1);
    struct code_request *ask = ARENA_NEW(mem, struct code_request, n ? n : 1);
    struct code_verdict *got = ARENA_NEW(mem, struct code_verdict, n ? n : 1);
    int64_t *which = ARENA_NEW(mem, int64_t, n ? n : 1), asked = 0;
    for (int64_t i = 0; i < n; i++) {
        struct job *j = &jobs[i];
        struct str code = last_block(q[i].response);
        j->v = v[i];
        if (!(j->parsed = parse(c, q[i].item, mem, j)))
            continue;
        if (!code.p) {
            reward_say(v[i], mem, REWARD_UNPARSABLE, 0, "no fenced block of code in the response");
            continue;
        }
        ask[asked] = (struct code_request){&j->task, {.language = j->language, .code = code}};
        which[asked++] = i;
    }
    code_judge_all(c->box, ask, asked, &(struct code_opts){.stop = !c->share}, 0, mem, got);
    for (int64_t k = 0; k < asked; k++)
        say(c, &got[k], mem, v[which[k]]);
    for (int64_t i = 0; i < n; i++)
        if (jobs[i].parsed)
            code_task_release(&jobs[i].task);
}

const struct reward_kind reward_kind_code = {.name = "code", .open = code_open_reward, .close = code_close_reward, .score_all = code_score_all};
