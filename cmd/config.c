/* hone config: the effective configuration of a file and words, as a job would store it. */
#include <stdio.h>

#include "cmd/cmd.h"
#include "script/script.h"

struct flags {
    const char *job;
    int changed;
};

static const struct opt_def defs[] = {
    {"", "job", OPT_ENUM, offsetof(struct flags, job), "none", 0, 0, "none|sft|grpo|eval|niah", "check the rules of this job too"},
    {"", "changed", OPT_BOOL, offsetof(struct flags, changed), "false", 0, 0, NULL, "only what differs from the defaults, with its source"},
};

enum { WORDS_MAX = 256 };

static err_code show(const struct flags *o, int argc, char **argv, struct arena *mem, struct err *e)
{
    struct cfg c;
    int file = argc > 0 && !strchr(argv[0], '=');
    TRY(cfg_load(file ? argv[0] : NULL, argv + file, argc - file, &c, mem, e));
    if (strcmp(o->job, "none"))
        TRY(cfg_check(&c, o->job, e));
    struct sbuf b;
    sbuf_init(&b, 16 << 20);
    (o->changed ? cfg_text_changed : cfg_text)(&c, &b);
    size_t wrote = fwrite(b.p ? b.p : "", 1, (size_t)b.n, stdout);
    int ok = wrote == (size_t)b.n && !fflush(stdout);
    sbuf_release(&b);
    return ok ? ERR_OK : err_sys(e, ERR_IO, "cannot write standard output");
}

int cmd_config(int argc, char **argv)
{
    struct flags o;
    struct arena mem;
    struct err e = {0};
    int words = 0, done;
    const struct cmd_flags f = {.usage = "config [FILE.lua] [section.key=value ...]",
                                .about = "The full effective configuration, one key per line; `hone help config` lists the keys.",
                                .defs = defs, .n = sizeof defs / sizeof *defs, .words_max = WORDS_MAX};
    arena_init(&mem, "config", 64 << 20);
    int code = cmd_parse(&f, &o, &mem, argc, argv, &words, &done);
    if (!done)
        code = show(&o, words, argv, &mem, &e) == ERR_OK ? 0 : cmd_fail(&e);
    arena_release(&mem);
    return code;
}
