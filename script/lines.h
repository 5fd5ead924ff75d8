/* Private: where a config file assigns a key. Lua forgets the line of `lr = 1` inside a table, so the text is scanned once more
 * for `name =`, `name.key =`, `["key"] =` and nested `{ }`. A miss only costs the line number in a message. */
#ifndef HONE_SCRIPT_LINES_H
#define HONE_SCRIPT_LINES_H

#include "core/arena.h"
#include "core/cdecl.h"
#include "core/str.h"

CDECL_BEGIN

struct line {
    const char *key, *file; /* "train.lr" */
    int line;
    struct line *next;      /* found before this one */
};

/* Adds what the text assigns in front of *list; everything lives in mem. */
void script_scan_lines(struct line **list, struct str text, const char *file, struct arena *mem);
/* "file:line" of the last assignment of key, or "file" (the fallback) when it was not seen. */
struct str script_find_line(const struct line *list, const char *key, const char *fallback, struct arena *mem);

CDECL_END

#endif
