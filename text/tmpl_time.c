/* strftime_now: datetime.now().strftime(format) in the C locale. The only thing a template can ask of
 * the machine is the time of day. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "text/tmpl.h"

static int two(const char *p, int lo, int hi, int *out)
{
    if (p[0] < '0' || p[0] > '9' || p[1] < '0' || p[1] > '9')
        return 0;
    *out = (p[0] - '0') * 10 + p[1] - '0';
    return *out >= lo && *out <= hi;
}

err_code tmpl_parse_now(const char *iso, int64_t *out, struct err *e)
{
    int c, y, mo, d, h, mi, s;
    if (strlen(iso) < 19 || iso[4] != '-' || iso[7] != '-' || (iso[10] != 'T' && iso[10] != ' ') || iso[13] != ':' || iso[16] != ':' ||
        !two(iso, 0, 99, &c) || !two(iso + 2, 0, 99, &y) || !two(iso + 5, 1, 12, &mo) || !two(iso + 8, 1, 31, &d) ||
        !two(iso + 11, 0, 23, &h) || !two(iso + 14, 0, 59, &mi) || !two(iso + 17, 0, 60, &s) || iso[19])
        return err_set(e, ERR_USAGE, "'%s' is not a time of the form YYYY-MM-DDTHH:MM:SS", iso);
    struct tm tm = {.tm_year = c * 100 + y - 1900, .tm_mon = mo - 1, .tm_mday = d, .tm_hour = h, .tm_min = mi, .tm_sec = s};
    *out = (int64_t)timegm(&tm);
    return ERR_OK;
}

err_code tmpl_strftime(struct tmpl_run *r, struct val fmt, struct val *out)
{
    struct tm tm;
    struct timespec now = {0};
    struct str f;
    struct build b;
    char one[4], buf[256];
    FLAT(r, &fmt, f);
    if (r->now_fixed != INT64_MIN) {
        time_t t = (time_t)r->now_fixed;
        gmtime_r(&t, &tm);
    } else {
        clock_gettime(CLOCK_REALTIME, &now);
        localtime_r(&now.tv_sec, &tm);
    }
    tmpl_b_init(&b, r);
    for (int64_t i = 0; i < f.n; i++) {
        if (f.p[i] != '%' || i + 1 >= f.n) {
            tmpl_b_bytes(&b, f.p + i, 1);
            continue;
        }
        int n = 1;
        one[0] = '%';
        one[n++] = f.p[++i];
        if (strchr("-_0^#E", one[1]) && one[1] && i + 1 < f.n)
            one[n++] = f.p[++i];
        one[n] = 0;
        if (one[n - 1] == 'f') {
            snprintf(buf, sizeof buf, "%06ld", now.tv_nsec / 1000);
        } else if (one[n - 1] == 'z' || one[n - 1] == 'Z') { /* a naive datetime has no zone */
            buf[0] = 0;
        } else {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
            buf[strftime(buf, sizeof buf, one, &tm)] = 0;
#pragma GCC diagnostic pop
        }
        tmpl_b_adds(&b, buf);
    }
    return tmpl_b_end(&b, out);
}
