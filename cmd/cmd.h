/* What the subcommands share. cmd/ is the only folder that knows argv, stdout and exit codes. */
#ifndef HONE_CMD_CMD_H
#define HONE_CMD_CMD_H

#include <stdio.h>

#include "core/err.h"
#include "core/json.h"
#include "core/opt.h"
#include "core/str.h"

#define CMD(name, summary) int cmd_##name(int argc, char **argv);
#include "cmd/list.h"
#undef CMD

/* Commands with verbs, as `hone verify math`. */
struct cmd_verb {
    const char *name, *summary;
    int (*run)(int argc, char **argv);
};
/* argv[0] is the verb; runs it with the rest, or prints the list (stdout with --help, else a usage error). */
int cmd_dispatch(const char *command, const struct cmd_verb *verbs, int n, int argc, char **argv);

/* Prints "hone: <message>" to stderr and returns the exit code. */
int cmd_fail(const struct err *e);

/* Flags of one command. Prints the help and sets *done when --help was asked, or when the flags are
 * wrong; then the caller returns the given exit code. usage: "tokenize --model DIR < in > out". */
struct cmd_flags {
    const char *usage;             /* behind "hone " */
    const char *about;             /* a paragraph for --help */
    const struct opt_def *defs;
    int n;
    int words_max;                 /* positional arguments allowed */
};
int cmd_parse(const struct cmd_flags *f, void *values, struct arena *mem, int argc, char **argv, int *n_words, int *done);

/* Plumbing: JSON Lines on stdin, one answer line each on stdout, in order. `answer` appends a whole
 * line to out (or sets e: then {"id":…,"error":…} is written, the run goes on and the exit code is 1). */
typedef err_code cmd_answer_fn(void *ctx, const json_t *question, struct sbuf *out, struct err *e);
int cmd_plumb(cmd_answer_fn *answer, void *ctx);

#endif
