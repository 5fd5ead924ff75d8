/* The user's hook: step(now, before) of a Lua file, called behind every step of a run.
 *
 *   now      the step's row: { step = 12, steps = 200, loss = ..., lr = ..., eval = { ["pass@1"] = ... } }: its metrics by their
 *            names in the store (not finite = absent), and the evaluation of this step where there was one
 *   before   the rows of at most hook.history earlier steps, oldest first, without `steps`
 *   returns  nil, or { stop = "why" | true, save = true, metrics = { name = number } }
 *            stop: the run ends behind this step as done, with a checkpoint; save: a checkpoint now;
 *            metrics: stored as hook.NAME, so later calls find them in `before`
 *
 * Every call runs in a fresh state and sees the store alone, so a run that was killed and goes on is given the same rows and gets
 * the same answers. A hook that fails ends the run behind a checkpoint: nothing is lost.
 */
#ifndef HONE_TRAIN_HOOK_H
#define HONE_TRAIN_HOOK_H

#include "datasets/datasets.h"
#include "script/script.h"

struct train_hook;

struct train_hook_answer {
    int stop, save;
    char why[160];              /* of stop */
};

/* NULL in *out: the config names no hook. ERR_IO, ERR_DATA (the file is wrong), ERR_USAGE (it defines no step). */
err_code train_hook_open(const struct cfg *c, struct train_hook **out, struct err *e);
void train_hook_close(struct train_hook *h); /* NULL is fine */
/* Behind the commit of `step`. again: the step was done in an earlier attempt: nothing is stored. h NULL: the empty answer.
 * ERR_DATA, ERR_LIMIT: the hook failed. */
err_code train_hook_call(struct train_hook *h, struct store_run *run, int64_t step, int64_t steps, int again, struct train_hook_answer *out, struct err *e);

#endif
