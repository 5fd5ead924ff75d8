/* hone eval, hone eval niah */
#include "cmd/job.h"
#include <string.h>

#include "grpo/grpo.h"

static int niah(int argc, char **argv)
{
    static struct grpo_niah_result r; /* the grid is large */
    struct cmd_job j;
    struct err e = {0};
    int done, code = cmd_job_open(&j, "niah", 1,
                                  "Needle in a haystack (`hone eval niah`): a key is hidden at each depth of prompts of each length and asked for at their end; niah.* are its\n"
                                  "keys. Prints the grid, writes niah.out.json and niah.out.svg. Answers go to the store as a run of kind niah; --resume goes on\n"
                                  "behind the last finished cell.",
                                  argc, argv, &done);
    if (done)
        return code;
    err_code rc = grpo_niah_run(&j.cfg, j.resume, &r, &e);
    if (rc == ERR_OK) {
        printf("depth ");
        for (int64_t l = 0; l < r.n_lengths; l++)
            printf(" %9lld", (long long)r.length[l]);
        for (int64_t d = 0; d < r.n_depths; d++) {
            printf("\n%4.0f %%", r.depth[d] * 100);
            for (int64_t l = 0; l < r.n_lengths; l++)
                printf(" %9.3f", r.right[d][l]);
        }
        printf("\nmean  %9.4f\n", r.mean);
    }
    code = rc == ERR_OK ? 0 : cmd_fail(&e);
    cmd_job_close(&j);
    return code;
}

int cmd_eval(int argc, char **argv)
{
    struct cmd_job j;
    struct grpo_eval_result r;
    struct err e = {0};
    if (argc > 0 && !strcmp(argv[0], "niah"))
        return niah(argc - 1, argv + 1);
    int done, code = cmd_job_open(&j, "eval", 0,
                                  "Samples the problems of eval.sources (or the held-out side of data.sources) from model.path, scores them by reward.list and\n"
                                  "prints one figure per line. Problems, samples and verdicts go to the store as a run of kind eval. `hone eval niah` looks for\n"
                                  "needles in haystacks.",
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
