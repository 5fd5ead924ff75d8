/* Plumbing over the sandbox: JSON Lines in, tasks on the workers, answers out in the order of the lines. */
#ifndef HONE_CMD_POOL_H
#define HONE_CMD_POOL_H

#include "core/json.h"
#include "sandbox/sandbox.h"

struct cmd_pool_ops {
    /* An item for a question; *t NULL and e set when the question is no good. The item is freed either way. */
    void *(*make)(void *ctx, const json_t *q, struct sandbox_task **t, struct err *e);
    void (*answer)(void *item, struct sbuf *out); /* appends the line */
    void (*release)(void *item);
};
int cmd_pool(struct sandbox *s, const struct cmd_pool_ops *ops, void *ctx); /* exit code */

int cmd_sandbox_judge(int argc, char **argv);
int cmd_verify_code(int argc, char **argv);
int cmd_verify_repo(int argc, char **argv);

#endif
