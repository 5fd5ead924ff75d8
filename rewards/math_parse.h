/* Shared by the two files of the parser: the token cursor, and what calls what. Each function reads from the cursor and
 * returns NULL where the tokens are no such thing; the cursor is then anywhere. */
#ifndef HONE_REWARDS_MATH_PARSE_H
#define HONE_REWARDS_MATH_PARSE_H

#include "rewards/math_int.h"

static inline struct tok *cur(struct math_checker *m)
{
    return &m->t[m->at];
}

static inline int is(const struct tok *t, int type, int id)
{
    return t->type == type && t->id == id;
}

static inline int accept(struct math_checker *m, int type, int id)
{
    if (!is(cur(m), type, id))
        return 0;
    m->at++;
    return 1;
}

static inline int digits_only(const struct tok *t)
{
    return t->type == T_NUM && t->frac < 0 && !t->exp10 && !t->thousands;
}

static inline int word_of(const struct tok *t, int cls)
{
    return t->type == T_WORD && (t->id & 255) == cls;
}

struct node *math_fn1(struct math_checker *m, int fn, struct node *a);
struct node *math_fn2(struct math_checker *m, int fn, struct node *a, struct node *b);
struct node *math_sym(struct math_checker *m, struct str name, int text);
struct str math_join(struct math_checker *m, struct str a, const char *mid, struct str b);
struct str math_script(struct math_checker *m);        /* a sub- or superscript as text */
struct node *math_argument(struct math_checker *m);    /* of \frac, ^, ...: a group, one digit, one token */
struct node *math_product(struct math_checker *m);

/* math_say.c */
struct node *math_unit_node(struct math_checker *m, struct str s);
struct node *math_word_number(struct math_checker *m);
struct node *math_clock(struct math_checker *m);
struct node *math_clock_node(struct math_checker *m, int64_t seconds, int half); /* half: 0 not said, 1 a.m., 2 p.m. */
int math_meridiem(struct math_checker *m);       /* reads it */
int math_meridiem_ahead(struct math_checker *m); /* and does not */

struct node *math_matrix(struct math_checker *m);
struct node *math_big_operator(struct math_checker *m);
struct node *math_decorated(struct math_checker *m);
struct node *math_blackboard(struct math_checker *m);
struct node *math_bracket(struct math_checker *m);
struct node *math_outward(struct math_checker *m);
struct node *math_set(struct math_checker *m, int close);
struct node *math_group(struct math_checker *m);
struct node *math_bars(struct math_checker *m, int type, int close);
struct node *math_between(struct math_checker *m, int fn, int close);

#endif
