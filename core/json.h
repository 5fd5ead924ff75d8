/* JSON glue over Jansson, and JSON Lines. Numbers that must keep their bits are written as hex
 * float strings ("0x1.8p-3"). */
#ifndef HONE_CORE_JSON_H
#define HONE_CORE_JSON_H

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

#include "core/cdecl.h"
#include "core/err.h"
#include "core/str.h"

CDECL_BEGIN

/* Lines of a text stream, without the newline; a last line without one counts. */
struct json_lines {
    FILE *f;            /* borrowed */
    const char *name;   /* borrowed, for messages */
    int64_t line;       /* number of the current line, from 1 */
    int64_t max_bytes;  /* longest line taken, newline included */
    char *raw;          /* getline's buffer */
    size_t raw_cap;
};
void json_lines_init(struct json_lines *r, FILE *f, const char *name, int64_t max_bytes);
void json_lines_release(struct json_lines *r);
/* *out borrowed until the next call. *more = 0 at the end. ERR_LIMIT: the line was too long and was
 * skipped, the next call goes on behind it. ERR_IO: reading failed. */
err_code json_lines_next(struct json_lines *r, struct str *out, int *more, struct err *e);

/* Parses one JSON text; owned by the caller (json_decref). The message has the column. */
err_code json_parse(struct str text, json_t **out, struct err *e);
err_code json_load(const char *path, int64_t max_bytes, json_t **out, struct err *e); /* message has file:line */

/* Members of an object; ERR_DATA names the key. *_opt leave *out alone when the key is absent or null. */
err_code json_need_str(const json_t *o, const char *key, struct str *out, struct err *e);  /* borrowed from o */
err_code json_need_i64(const json_t *o, const char *key, int64_t *out, struct err *e);
err_code json_opt_str(const json_t *o, const char *key, struct str *out, struct err *e);
err_code json_opt_i64(const json_t *o, const char *key, int64_t *out, struct err *e);
err_code json_opt_f64(const json_t *o, const char *key, double *out, struct err *e);
err_code json_opt_bool(const json_t *o, const char *key, int *out, struct err *e);

/* Writers. json_put_str writes a quoted string; bytes that are not UTF-8 become U+FFFD. */
void json_put_str(struct sbuf *b, struct str s);
void json_put_hex(struct sbuf *b, double v);           /* "\"0x1.8p-3\"" */
void json_put_value(struct sbuf *b, const json_t *v);  /* compact, order kept */

/* One answer per question: starts {"id":..., with the question's own id (any JSON value, null when
 * absent), the caller adds `"key":value` pairs and json_answer_end. */
void json_answer_begin(struct sbuf *b, const json_t *question);
void json_answer_error(struct sbuf *b, const json_t *question, const char *msg); /* whole line */

CDECL_END

#endif
