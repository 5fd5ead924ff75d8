/* The user's row(row) of a Lua file, called for every row of an import: true = as it is, nil or false = left out, a table = that in
 * its place (any format the import knows). Every call has a state of its own, so that a row's fate depends on the row alone and not on
 * threads, order or where an import went on; a call costs some 50 us. Private to datasets/. */
#ifndef HONE_DATASETS_FILTER_H
#define HONE_DATASETS_FILTER_H

#include "core/hash.h"
#include "script/script.h"

struct data_filter;

/* ERR_IO, ERR_DATA (the file is wrong), ERR_USAGE (it defines no row). */
err_code data_filter_open(const char *path, struct data_filter **out, struct err *e);
void data_filter_close(struct data_filter *f); /* NULL is fine */
struct hash128 data_filter_hash(const struct data_filter *f); /* of the file */

enum data_filter_fate { FILTER_KEEP, FILTER_LEAVE_OUT, FILTER_CHANGED };
/* Thread-safe. FILTER_CHANGED: *out, which is cleared first, has the row in its place. ERR_DATA: the line is no JSON, or the function failed. */
err_code data_filter_row(const struct data_filter *f, struct str line, enum data_filter_fate *fate, struct sbuf *out, struct err *e);

#endif
