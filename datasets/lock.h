/* The one-writer lock of a store: a record lock on PATH-lock, which says who holds it. Private. */
#ifndef HONE_DATASETS_LOCK_H
#define HONE_DATASETS_LOCK_H

#include "core/err.h"

struct store_lock;
/* ERR_BUSY names the holder; ERR_IO: the file cannot be made (read-only place). */
err_code store_lock_take(const char *store_path, const char *who, struct store_lock **out, struct err *e);
void store_lock_drop(struct store_lock *l); /* NULL is fine */

#endif
