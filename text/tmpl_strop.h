/* Operations of Python's str that filters and methods share. */
#ifndef HONE_TEXT_TMPL_STROP_H
#define HONE_TEXT_TMPL_STROP_H

#include "text/tmpl.h"

enum case_op { CASE_UPPER, CASE_LOWER, CASE_TITLE, CASE_CAPITAL, CASE_SWAP, CASE_FOLD };
err_code tmpl_s_case(struct tmpl_run *r, struct val s, enum case_op op, struct val *out);
enum { STRIP_LEFT = 1, STRIP_RIGHT = 2 };
err_code tmpl_s_strip(struct tmpl_run *r, struct val s, struct val chars, int ends, struct val *out); /* chars NONE or MISSING: space */
err_code tmpl_s_replace(struct tmpl_run *r, struct val s, struct val old, struct val to, int64_t count, struct val *out);
err_code tmpl_s_split(struct tmpl_run *r, struct val s, struct val sep, int64_t max, struct val *out);
err_code tmpl_s_rsplit(struct tmpl_run *r, struct val s, struct val sep, int64_t max, struct val *out);
err_code tmpl_s_lines(struct tmpl_run *r, struct val s, int keep, struct val *out);
err_code tmpl_s_join(struct tmpl_run *r, struct val sep, struct val items, int as_str, struct val *out); /* as_str: str() of every item */
err_code tmpl_s_pad(struct tmpl_run *r, struct val s, int64_t width, struct val fill, char align, struct val *out);
err_code tmpl_soft(struct tmpl_run *r, struct val v, struct val *out); /* str(v), but Markup stays Markup */
int tmpl_s_isupper(struct str s, enum uni_class want);                 /* islower / isupper */

#endif
