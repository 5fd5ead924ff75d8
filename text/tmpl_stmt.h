/* What statements ask of expressions. */
#ifndef HONE_TEXT_TMPL_STMT_H
#define HONE_TEXT_TMPL_STMT_H

#include "text/tmpl.h"

err_code tmpl_eval_call(struct tmpl_run *r, struct frame *f, const struct node *n, struct val caller, struct val *out);
err_code tmpl_eval_filters(struct tmpl_run *r, struct frame *f, const struct node *n, struct val block, struct val *out);

#endif
