#include "core/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/str.h"

static int quiet;
static int live; /* a status line stands on the terminal and must go before another line comes */

static void line(const char *kind, const char *area, const char *fmt, va_list ap)
{
    char buf[2000];
    int n = snprintf(buf, sizeof buf, "hone: %s%s: ", kind, area);
    vsnprintf(buf + n, sizeof buf - (size_t)n, fmt, ap);
    fprintf(stderr, "%s%s\n", live ? "\r\033[K" : "", buf); /* one call, so that threads do not mix lines */
    live = 0;
}

void log_live(const char *text, int last)
{
    if (quiet)
        return;
    int tty = isatty(2);
    fprintf(stderr, "%shone: %s%s", tty ? "\r\033[K" : "", text, tty && !last ? "" : "\n");
    live = tty && !last;
}

void log_set_quiet(int q)
{
    quiet = q;
}

void log_info(const char *area, const char *fmt, ...)
{
    if (quiet)
        return;
    va_list ap;
    va_start(ap, fmt);
    line("", area, fmt, ap);
    va_end(ap);
}

void log_warn(const char *area, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    line("warning: ", area, fmt, ap);
    va_end(ap);
}

int log_on(const char *area, int level)
{
    struct str rest = {getenv("HONE_TRACE"), 0}, one;
    if (!rest.p)
        return 0;
    rest.n = (int64_t)strlen(rest.p);
    while (str_split(&rest, ',', &one)) {
        struct str name;
        int64_t on = 1;
        struct str tail = one;
        str_split(&tail, ':', &name);
        if (tail.p && !str_to_i64(tail, &on))
            on = 1;
        if ((str_eq(name, str_of(area)) || str_eq(name, STR("all"))) && level <= on)
            return 1;
    }
    return 0;
}

void log_debug(const char *area, int level, const char *fmt, ...)
{
    if (!log_on(area, level))
        return;
    va_list ap;
    va_start(ap, fmt);
    line("trace: ", area, fmt, ap);
    va_end(ap);
}

double clock_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double clock_cpu(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void progress_begin(struct progress *p, const char *what, const char *unit, int64_t total)
{
    double now = clock_now();
    *p = (struct progress){.what = what, .unit = unit, .total = total, .began = now, .shown = now, .tty = isatty(2)};
}

static void draw(struct progress *p, const char *note, int last)
{
    double took = clock_now() - p->began;
    double rate = took > 0 ? (double)p->done / took : 0;
    char left[64] = "";
    if (last)
        snprintf(left, sizeof left, ", %.1f s", took);
    else if (p->total > 0 && rate > 0)
        snprintf(left, sizeof left, ", %.0f s left", (double)(p->total - p->done) / rate);
    char of[32] = "";
    if (p->total > 0)
        snprintf(of, sizeof of, " of %lld", (long long)p->total);
    fprintf(stderr, "%shone: %s: %lld%s %s, %.4g/s%s%s%s%s", p->tty ? "\r\033[K" : "", p->what, (long long)p->done, of,
            p->unit, rate, left, note ? ", " : "", note ? note : "", p->tty && !last ? "" : "\n");
    p->drawn = 1;
}

void progress_at(struct progress *p, int64_t done, const char *note)
{
    p->done = done;
    double now = clock_now();
    if (quiet || now - p->shown < (p->tty ? 0.2 : 10.0))
        return;
    p->shown = now;
    draw(p, note, 0);
}

void progress_end(struct progress *p)
{
    if (!quiet && (p->drawn || clock_now() - p->began > 1.0))
        draw(p, NULL, 1);
}
