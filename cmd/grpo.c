/* hone grpo */
#include <math.h>

#include "cmd/job.h"
#include "core/log.h"
#include "grpo/grpo.h"

int cmd_grpo(int argc, char **argv)
{
    struct cmd_job j;
    struct grpo_summary r;
    struct err e = {0};
    int done, code = cmd_job_open(&j, "grpo", 1,
                                  "Group-relative policy optimisation of model.path on the prompt rows of data.sources, scored by reward.list. Every step\n"
                                  "counts the tokens whose log-prob in the trainer is not the one the rollout recorded; it must be 0. Keys: 'hone help config'.",
                                  argc, argv, &done);
    if (done)
        return code;
    err_code rc = grpo_run(&j.cfg, j.resume, &r, &e);
    if (rc == ERR_OK)
        log_info("grpo", "done: %lld steps, %lld tokens sampled, %lld of %lld compared tokens differ", (long long)r.steps, (long long)r.tokens,
                 (long long)r.differing, (long long)r.compared);
    code = rc == ERR_OK ? 0 : cmd_fail(&e);
    cmd_job_close(&j);
    return code;
}
