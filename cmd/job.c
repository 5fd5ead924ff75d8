#include "cmd/job.h"

#include <string.h>

#include "core/log.h"
#include "core/stop.h"
#include "train/train.h"

struct flags {
    int resume;
};

static const struct opt_def defs[] = {
    {"", "resume", OPT_BOOL, offsetof(struct flags, resume), "false", 0, 0, NULL, "go on from the newest checkpoint of train.dir; from the start when there is none"},
};

static err_code load(struct cmd_job *j, const char *job, int n_words, char **words, struct err *e)
{
    const char *path = n_words && !strchr(words[0], '=') ? words[0] : NULL;
    TRY(cfg_load(path, words + (path ? 1 : 0), n_words - (path ? 1 : 0), &j->cfg, &j->mem, e));
    return cfg_check(&j->cfg, job, e);
}

static void say_changed(const struct cfg *c, const char *job)
{
    struct sbuf b;
    struct str rest, line;
    sbuf_init(&b, 1 << 20);
    cfg_text_changed(c, &b);
    rest = sbuf_str(&b);
    while (str_split(&rest, '\n', &line))
        if (line.n)
            log_info(job, "%.*s", STR_ARG(line));
    sbuf_release(&b);
}

int cmd_job_open(struct cmd_job *j, const char *job, int resumes, const char *about, int argc, char **argv, int *done)
{
    char usage[96];
    struct flags f = {0};
    struct err e = {0};
    int n_words;
    snprintf(usage, sizeof usage, "%s [CONFIG.lua] [section.key=value ...]%s", job, resumes ? " [--resume]" : "");
    arena_init(&j->mem, "config", 1 << 28);
    int code = cmd_parse(&(struct cmd_flags){.usage = usage, .about = about, .defs = defs, .n = resumes, .words_max = 4096}, &f, &j->mem, argc, argv, &n_words, done);
    if (!*done && load(j, job, n_words, argv, &e) != ERR_OK) {
        code = cmd_fail(&e);
        *done = 1;
    }
    if (*done) {
        arena_release(&j->mem);
        return code;
    }
    j->resume = f.resume;
    say_changed(&j->cfg, job);
    j->cfg.model.mla = train_job_mla(&j->cfg, job); /* recorded as decided */
    stop_catch();
    return 0;
}

void cmd_job_close(struct cmd_job *j) { arena_release(&j->mem); }
