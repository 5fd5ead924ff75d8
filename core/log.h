/* Log lines and progress, always to stderr: stdout carries data only.
 *
 * Areas are folder names. HONE_TRACE=rollout,sandbox:2 turns on log_debug for areas (level 1, or the
 * given one; "all" for every area).
 */
#ifndef HONE_CORE_LOG_H
#define HONE_CORE_LOG_H

#include <stdint.h>

#include "core/cdecl.h"

CDECL_BEGIN

void log_info(const char *area, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void log_warn(const char *area, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void log_debug(const char *area, int level, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int log_on(const char *area, int level);
void log_set_quiet(int quiet); /* drops log_info and progress; warnings stay */

/* A status line without its newline: rewritten in place on a terminal, printed as a line elsewhere. last: keep it. */
void log_live(const char *text, int last);

double clock_now(void);        /* seconds, monotonic */
double clock_cpu(void);        /* CPU seconds of this process */

/* A progress line with rate and time left: rewritten in place on a terminal, one plain line every
 * 10 s otherwise. One at a time; not thread-safe. */
struct progress {
    const char *what, *unit; /* borrowed */
    int64_t done, total;     /* total 0 = unknown */
    double began, shown;
    int tty, drawn;
};

void progress_begin(struct progress *p, const char *what, const char *unit, int64_t total);
void progress_at(struct progress *p, int64_t done, const char *note); /* note may be NULL */
void progress_end(struct progress *p);                                /* final line with the mean rate */

CDECL_END

#endif
