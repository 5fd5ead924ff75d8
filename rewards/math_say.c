/* Numbers in words, clock times and units: what answers say rather than write. */
#include <string.h>

#include "rewards/math_parse.h"

struct node *math_unit_node(struct math_checker *m, struct str s)
{
    struct node *x = math_node(m, N_UNIT, 0);
    int id = math_symbol(m, s.n > 1 ? math_lower(m, s) : s, 1);
    if (id < 0)
        return NULL;
    x->id = (int16_t)id;
    return x;
}

/* Words for numbers: "twenty five", "three hundred and five", "two thirds", "half". */
struct node *math_word_number(struct math_checker *m)
{
    int64_t total = 0, part = 0;
    int seen = 0;
    if (!m->o.word_numbers)
        return NULL;
    if (word_of(cur(m), W_PART) && cur(m)->id >> 8 == 2 && cur(m)->s.n == 4) {
        m->at++;
        return math_wrap(m, N_DIV, math_num(m, 1), math_num(m, 2));
    }
    for (; cur(m)->type == T_WORD; m->at++) {
        if (seen && word_of(cur(m), W_AND) && word_of(cur(m) - 1, W_SCALE) && word_of(cur(m) + 1, W_NUMBER))
            continue;
        if (part > 1000000 || total > 1000000000000000)
            return NULL;
        int cls = cur(m)->id & 255, v = cur(m)->id >> 8;
        if (cls == W_NUMBER) {
            if (seen && (part % 10 || (part % 100 && v >= 10)))
                return NULL;
            part += v;
        } else if (cls == W_SCALE && seen) {
            int64_t s = 1;
            for (int i = 0; i < v; i++)
                s *= 10;
            part *= s;
            if (v > 2) {
                total += part;
                part = 0;
            }
        } else {
            break;
        }
        seen = 1;
        if (is(cur(m) + 1, T_OP, '-') && cur(m)[2].type == T_WORD && (cur(m)[2].id & 255) == W_NUMBER)
            m->at++;
    }
    struct node *x = seen ? math_num(m, total + part) : NULL;
    if (x && word_of(cur(m), W_PART)) {
        x = math_wrap(m, N_DIV, x, math_num(m, cur(m)->id >> 8));
        m->at++;
    }
    return x;
}

int math_meridiem(struct math_checker *m)
{
    struct tok *t = cur(m);
    if (t->type == T_WORD && (str_eq(t->s, STR("noon")) || str_eq(t->s, STR("midnight")))) {
        m->at++;
        return str_eq(t->s, STR("noon")) ? 2 : 1;
    }
    if (t->type == T_WORD && ((t->id & 255) == W_AM || (t->id & 255) == W_PM)) {
        m->at++;
        return (t->id & 255) == W_AM ? 1 : 2;
    }
    if (t->type == T_SYM && t->s.n == 1 && strchr("apAP", t->s.p[0]) && is(t + 1, T_OP, '.') && t[2].type == T_SYM && (t[2].s.p[0] | 32) == 'm') {
        m->at += 3;
        accept(m, T_OP, '.');
        return (t->s.p[0] | 32) == 'a' ? 1 : 2;
    }
    return 0;
}

int math_meridiem_ahead(struct math_checker *m)
{
    int at = m->at, half = math_meridiem(m);
    m->at = at;
    return half;
}

/* half: 0 not said, 1 a.m., 2 p.m. */
struct node *math_clock_node(struct math_checker *m, int64_t seconds, int half)
{
    struct node *x = math_node(m, N_TIME, 0);
    if (half)
        seconds = seconds % 43200 + (half == 2 ? 43200 : 0);
    x->q = rat_of(seconds);
    x->open = (uint8_t)half;
    return x;
}

/* h:mm[:ss] [a.m.|p.m.] as seconds; NULL when the tokens are no clock time. */
struct node *math_clock(struct math_checker *m)
{
    struct tok *t = cur(m);
    int64_t h, mi, s = 0;
    if (!digits_only(t) || t->s.n > 2 || (m->at && is(t - 1, T_OP, ':')) || !is(t + 1, T_OP, ':') || !digits_only(t + 2) || t[2].s.n != 2 || !str_to_i64(t->s, &h) || !str_to_i64(t[2].s, &mi) || h > 24 || mi > 59)
        return NULL;
    m->at += 3;
    if (is(cur(m), T_OP, ':') && digits_only(cur(m) + 1) && cur(m)[1].s.n == 2) {
        str_to_i64(cur(m)[1].s, &s);
        m->at += 2;
    }
    return math_clock_node(m, h * 3600 + mi * 60 + s, math_meridiem(m));
}
