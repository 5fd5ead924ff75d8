/* Strings as (pointer, length): borrowed views that need not end in NUL, and a bounded builder. */
#ifndef HONE_CORE_STR_H
#define HONE_CORE_STR_H

#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include "core/arena.h"
#include "core/cdecl.h"

CDECL_BEGIN

struct str {
    const char *p; /* borrowed; bytes, usually UTF-8 */
    int64_t n;
};

#define STR(lit) ((struct str){("" lit), (int64_t)sizeof(lit) - 1})
#define STR_ARG(s) (int)(s).n, (s).p /* for "%.*s" */

struct str str_of(const char *cstr);          /* NULL gives the empty string */
int str_eq(struct str a, struct str b);
int str_cmp(struct str a, struct str b);      /* memcmp order, shorter first */
int str_starts(struct str s, struct str prefix);
int str_ends(struct str s, struct str suffix);
int64_t str_find(struct str s, struct str what, int64_t from);  /* byte index or -1 */
int64_t str_rfind(struct str s, struct str what);               /* last occurrence or -1 */
struct str str_sub(struct str s, int64_t from, int64_t to);     /* clamped */
struct str str_trim(struct str s);                              /* ASCII white space, both ends */
/* Cuts *rest at the first sep; returns the piece before it. 0 when nothing is left. */
int str_split(struct str *rest, char sep, struct str *piece);
struct str str_dup(struct arena *a, struct str s);              /* NUL-terminated copy */
struct str str_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Whole string as a number; 0 when it is not one. */
int str_to_i64(struct str s, int64_t *out);
int str_to_f64(struct str s, double *out); /* decimal or hex float, C locale */
/* Levenshtein distance, for "did you mean"; strings over 63 bytes count as far. */
int str_distance(struct str a, struct str b);
int str_far(struct str word); /* the distance at which a name no longer resembles word */

/* Decodes one code point at s[at]; returns its byte count, or 0 when the bytes are not valid UTF-8
 * (surrogates and over-long forms are not valid). */
int utf8_decode(struct str s, int64_t at, uint32_t *cp);
int utf8_encode(uint32_t cp, char out[4]); /* byte count */
int64_t utf8_check(struct str s);          /* -1 when valid, else the offset of the first bad byte */

/* A growing byte buffer with a mandatory maximum. After the maximum or memory is reached `full` is
 * set and further bytes are dropped: check it once at the end. Always NUL-terminated once written. */
struct sbuf {
    char *p;
    int64_t n, cap, max;
    int full;
};

void sbuf_init(struct sbuf *b, int64_t max_bytes);
void sbuf_release(struct sbuf *b);
void sbuf_clear(struct sbuf *b); /* empty, keeps the memory */
void sbuf_add(struct sbuf *b, struct str s);
void sbuf_addc(struct sbuf *b, char c);
void sbuf_adds(struct sbuf *b, const char *cstr);
void sbuf_addf(struct sbuf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
char *sbuf_room(struct sbuf *b, int64_t n); /* n writable bytes at the end (then add to b->n), or NULL */
struct str sbuf_str(const struct sbuf *b);  /* borrowed until the next write */

CDECL_END

#endif
