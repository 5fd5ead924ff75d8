/* Files: whole reads with a limit, read-only maps, and writes that a reader never sees half done. */
#ifndef HONE_CORE_FILE_H
#define HONE_CORE_FILE_H

#include <stdint.h>

#include "core/cdecl.h"
#include "core/err.h"
#include "core/str.h"

CDECL_BEGIN

/* Whole file into `out` (replaced). ERR_IO unreadable, ERR_LIMIT larger than out->max. */
err_code file_read(const char *path, struct sbuf *out, struct err *e);

struct file_map {
    const char *p;
    int64_t n; /* bytes; p is NULL when 0 */
};
err_code file_map_open(const char *path, struct file_map *m, struct err *e);
void file_map_release(struct file_map *m);

/* Writes beside, fsyncs, renames over, fsyncs the folder: after a crash the old or the new bytes are there. */
err_code file_write_atomic(const char *path, struct str bytes, struct err *e);
/* write(2) until all is written; fault point "write". */
err_code file_write_all(int fd, const void *p, int64_t n, const char *path, struct err *e);
err_code file_sync(int fd, const char *path, struct err *e);       /* fsync; fault point "sync" */
err_code file_sync_dir(const char *path, struct err *e);           /* fsync of a folder */
err_code file_rename(const char *from, const char *to, struct err *e); /* fault point "rename" */
err_code file_mkdirs(const char *path, struct err *e);             /* like mkdir -p */
err_code file_remove_tree(const char *path, struct err *e);        /* like rm -r; missing is fine; never follows links */
int file_exists(const char *path);
int file_is_dir(const char *path);

CDECL_END

#endif
