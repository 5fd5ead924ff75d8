/* What the verbs of `hone plan` share: figures that come out as aligned text or as one JSON object, from one list. */
#ifndef HONE_CMD_PLAN_H
#define HONE_CMD_PLAN_H

#include "cmd/cmd.h"
#include "parallel/parallel.h"

struct plan_out {
    int json, first;
    struct sbuf b;
};
void plan_out_open(struct plan_out *o, int json);
void plan_out_close(struct plan_out *o); /* prints */
void plan_out_group(struct plan_out *o, const char *key, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void plan_out_end(struct plan_out *o);
/* JSON has v, text has v / scale and the unit. */
void plan_out_num(struct plan_out *o, const char *key, const char *label, double v, double scale, const char *unit, int digits);
void plan_out_text(struct plan_out *o, const char *key, const char *label, const char *text);

enum pipe_kind plan_schedule(const char *word);
const char *plan_schedule_title(enum pipe_kind k);

int cmd_plan_bubbles(int argc, char **argv);
int cmd_plan_eplb(int argc, char **argv);

#endif
