/* What `hone sft`, `hone grpo`, `hone eval` share: a config file, section.key=value words, --resume. */
#ifndef HONE_CMD_JOB_H
#define HONE_CMD_JOB_H

#include "cmd/cmd.h"
#include "script/script.h"

struct cmd_job {
    struct arena mem;
    struct cfg cfg;
    int resume;
};
/* Reads flags, config and words, checks them for `job`, prints the keys that differ from their defaults and catches Ctrl-C.
 * resumes: it knows --resume. *done: the caller returns the exit code (help or an error); then nothing is held. */
int cmd_job_open(struct cmd_job *j, const char *job, int resumes, const char *about, int argc, char **argv, int *done);
void cmd_job_close(struct cmd_job *j);

#endif
