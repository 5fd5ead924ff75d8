/* JSON as a tape: one pass over the text, no malloc per value, numbers and strings left where they are.
 *
 * Why not core/json.h here: an import reads millions of rows, numbers must keep their spelling (Jansson
 * refuses integers over 64 bits and respells reals), and a lone "\ud800" has to pass through.
 * Grammar: RFC 8259, and NaN, Infinity, -Infinity as Python writes them. Text must be UTF-8.
 * Private to datasets/.
 */
#ifndef HONE_DATASETS_TAPE_H
#define HONE_DATASETS_TAPE_H

#include <stdint.h>

#include "core/err.h"
#include "core/str.h"

enum tape_type { TAPE_NULL, TAPE_FALSE, TAPE_TRUE, TAPE_NUMBER, TAPE_STRING, TAPE_ARRAY, TAPE_OBJECT };

/* Children follow their parent; an object's are key, value, key, value. */
struct tape_node {
    int32_t begin, end; /* bytes of the text; a string's are those between its quotes */
    int32_t next;       /* node behind this one and all below it */
    int32_t n;          /* elements, or members */
    uint8_t type;
    uint8_t escaped;    /* string: has a backslash */
};

struct tape { /* zero-initialise; reused from text to text */
    struct str text;
    struct tape_node *node;
    int32_t n, cap;
};
void data_tape_release(struct tape *t);

enum { TAPE_DEPTH = 200, TAPE_NODES = 1 << 24 };

/* Node 0 is the value. ERR_DATA with the byte; ERR_LIMIT: over TAPE_NODES values, over 2 GiB, out of memory. */
err_code data_tape_parse(struct tape *t, struct str text, struct err *e);

/* Value of a member, or -1. */
int32_t data_tape_get(const struct tape *t, int32_t object, const char *key);
/* Two members of one name: answers the first repeated key's node, or -1. */
int32_t data_tape_repeated(const struct tape *t, int32_t object);
int data_tape_is(const struct tape *t, int32_t string, const char *text); /* equal, escapes taken apart */
struct str data_tape_raw(const struct tape *t, int32_t node);            /* as written; a string without quotes */

/* The value as canonical JSON: no white space, strings with the fewest escapes, numbers and key order as written. */
void data_tape_put(struct sbuf *out, const struct tape *t, int32_t node);
/* A string's inside in canonical spelling, without quotes. */
void data_tape_put_inside(struct sbuf *out, const struct tape *t, int32_t string);
/* A string's characters. A lone surrogate becomes U+FFFD. */
void data_tape_text(struct sbuf *out, const struct tape *t, int32_t string);

#endif
