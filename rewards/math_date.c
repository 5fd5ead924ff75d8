/* Dates: "July 4, 2020", "4 July 2020", "the 4th of July", "2020-07-04". Only what names its month in a word or is written year
 * first counts: 7/4/2020 is two dates. */
#include <string.h>

#include "rewards/math_int.h"

struct date {
    int year, month, day; /* 0: not said */
};

static int letter(char c)
{
    return (c | 32) >= 'a' && (c | 32) <= 'z';
}

static int digit(char c)
{
    return c >= '0' && c <= '9';
}

/* A whole month name or its first three letters, any case: 1-12, or 0. */
static int month_of(struct str w)
{
    static const char *const names[] = {"january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"};
    for (int i = 0; i < 12; i++) {
        int64_t n = (int64_t)strlen(names[i]), k = 0;
        while (k < w.n && k < n && (w.p[k] | 32) == names[i][k])
            k++;
        if (k == w.n && (k == n || k == 3 || (i == 8 && k == 4)))
            return i + 1;
    }
    return 0;
}

static int is_filler(struct str w)
{
    return str_eq(w, STR("of")) || str_eq(w, STR("the")) || str_eq(w, STR("on"));
}

static int is_ordinal(struct str w)
{
    return str_eq(w, STR("st")) || str_eq(w, STR("nd")) || str_eq(w, STR("rd")) || str_eq(w, STR("th"));
}

static int iso(struct str s, struct date *d)
{
    static const char form[] = "dddd-dd-dd";
    if (s.n != 10)
        return 0;
    for (int i = 0; i < 10; i++)
        if (form[i] == 'd' ? !digit(s.p[i]) : s.p[i] != '-')
            return 0;
    d->year = (s.p[0] - '0') * 1000 + (s.p[1] - '0') * 100 + (s.p[2] - '0') * 10 + s.p[3] - '0';
    d->month = (s.p[5] - '0') * 10 + s.p[6] - '0';
    d->day = (s.p[8] - '0') * 10 + s.p[9] - '0';
    return d->month >= 1 && d->month <= 12 && d->day >= 1 && d->day <= 31;
}

static int read_date(struct str s, struct date *d)
{
    *d = (struct date){0};
    if (s.n < 4 || s.n > 40)
        return 0;
    if (iso(s, d))
        return 1;
    for (int64_t i = 0; i < s.n;) {
        int64_t b = i;
        if (s.p[i] == ' ' || s.p[i] == ',' || s.p[i] == '.') {
            i++;
            continue;
        }
        if (digit(s.p[i])) {
            int v = 0;
            while (i < s.n && digit(s.p[i]) && i - b < 5)
                v = v * 10 + s.p[i++] - '0';
            if (i - b == 4 && !d->year)
                d->year = v;
            else if (i - b <= 2 && v >= 1 && v <= 31 && !d->day)
                d->day = v;
            else
                return 0;
            continue;
        }
        while (i < s.n && letter(s.p[i]))
            i++;
        struct str w = str_sub(s, b, i);
        int month = month_of(w);
        if (month && !d->month)
            d->month = month;
        else if (!w.n || !(is_filler(w) || (is_ordinal(w) && d->day)))
            return 0;
    }
    return d->month && (d->day || d->year);
}

int math_same_date(struct str a, struct str b)
{
    struct date x, y;
    if (!read_date(a, &x) || !read_date(b, &y))
        return -1;
    return x.year == y.year && x.month == y.month && x.day == y.day;
}
