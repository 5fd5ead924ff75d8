/* The JSON reader of rows, in pieces, so that the row's own members can be taken apart on the way. */
#ifndef HONE_TEXT_TMPL_JP_H
#define HONE_TEXT_TMPL_JP_H

#include "text/tmpl.h"

struct jp {
    struct tmpl_run *r;
    struct jstack *stack; /* values of containers that are still open */
    const char *p, *end, *start;
};
err_code tmpl_jp_fail(struct jp *j, const char *what);
void tmpl_jp_space(struct jp *j);
err_code tmpl_jp_value(struct jp *j, struct val *out);
err_code tmpl_jp_string(struct jp *j, struct val *out);
err_code tmpl_jp_key(struct jp *j, struct val *k); /* a key and its colon */
err_code tmpl_jp_more(struct jp *j, char close, int *more);
int tmpl_jp_empty(struct jp *j, char close);
err_code tmpl_jp_pair(struct jp *j, struct val k, struct val v);
err_code tmpl_jp_dict(struct jp *j, int64_t base, struct val *out); /* of the pairs pushed since base */

#endif
