/* hone eval */
#include "cmd/job.h"
#include "grpo/grpo.h"

int cmd_eval(int argc, char **argv)
{
    struct cmd_job j;
    struct grpo_eval_result r;
    struct err e = {0};
    int done, code = cmd_job_open(&j, "eval", 0,
                                  "Samples the problems of eval.sources (or the held-out side of data.sources) from model.path, scores them by reward.list and\n"
                                  "prints one figure per line. Problems, samples and verdicts go to the store as a run of kind eval.",
                                  argc, argv, &done);
    if (done)
        return code;
    err_code rc = grpo_eval_run(&j.cfg, &r, &e);
    for (int64_t i = 0; rc == ERR_OK && i < r.n_lines; i++)
        printf("%-10s %.4f\n", r.lines[i].name, r.lines[i].value);
    if (rc == ERR_OK)
        printf("%-10s %lld\n%-10s %lld\n", "problems", (long long)r.problems, "samples", (long long)r.samples);
    code = rc == ERR_OK ? 0 : cmd_fail(&e);
    cmd_job_close(&j);
    return code;
}
