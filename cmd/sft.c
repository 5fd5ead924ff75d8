/* hone sft */
#include "cmd/job.h"
#include "core/log.h"
#include "sft/sft.h"

int cmd_sft(int argc, char **argv)
{
    struct cmd_job j;
    struct sft_result r;
    struct err e = {0};
    int done, code = cmd_job_open(&j, "sft", 1,
                                  "Supervised fine-tuning of model.path on data.sources of the store (see 'hone data import'). Checkpoints are Hugging Face\n"
                                  "folders under train.dir; the same config gives the same bytes, also after a kill and --resume. Keys: 'hone help config'.",
                                  argc, argv, &done);
    if (done)
        return code;
    err_code rc = sft_run(&j.cfg, j.resume, &r, &e);
    if (rc == ERR_OK)
        log_info("sft", "done: %lld steps, %lld tokens, loss %.4f", (long long)r.steps, (long long)r.tokens, r.loss);
    code = rc == ERR_OK ? 0 : cmd_fail(&e);
    cmd_job_close(&j);
    return code;
}
