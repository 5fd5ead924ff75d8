/* The checker: one call from two strings to an outcome. */
#include "rewards/math.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "rewards/math_ball.h"
#include "rewards/math_int.h"

enum { ARENA_BYTES = 512 << 20, SHOW_BYTES = 1 << 16, SLACK = 64 };

static const char *const outcome_names[] = {
#define X(name, text, meaning) text,
    MATH_OUTCOME_LIST(X)
#undef X
};

const char *math_outcome_name(enum math_outcome o)
{
    assert((unsigned)o < MATH_OUTCOME_N);
    return outcome_names[o];
}

void *math_new(struct math_checker *m, int64_t bytes)
{
    math_spend(m, 1 + bytes / 512); /* so the budget bounds the arena: 64 bytes at least for each of MATH_BUDGET operations */
    return arena_alloc(&m->mem, bytes > 0 ? bytes : 1, 1);
}

void math_why(struct math_checker *m, const char *fmt, ...)
{
    if (!strchr(fmt, '%')) {
        m->why = fmt;
        return;
    }
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(m->why_buf, sizeof m->why_buf, fmt, ap);
    va_end(ap);
    m->why = m->why_buf;
}

const char *math_g(struct math_checker *m, double v, int digits)
{
    enum { ROOM = 48 };
    char *p = math_new(m, ROOM), *to = p;
    snprintf(p, ROOM, "%.*g", digits, v);
    for (const char *s = p; *s; s++) /* the decimal point of the caller's locale, of any number of bytes */
        if (strchr("+-0123456789einfa", *s))
            *to++ = *s;
        else if (to == p || to[-1] != '.')
            *to++ = '.';
    *to = 0;
    return p;
}

struct math_checker *math_open(void)
{
    struct math_checker *m = calloc(1, sizeof *m);
    struct ball_ctx *b = calloc(1, sizeof *b);
    if (!m || !b)
        BUG("out of memory");
    arena_init(&m->mem, "math", ARENA_BYTES);
    m->balls = b;
    ball_setup(b);
    math_lex_init();
    for (int i = 0; i < 2; i++) {
        sbuf_init(&m->show[i], SHOW_BYTES);
        if (!sbuf_room(&m->show[i], SHOW_BYTES)) /* all of it now: nothing is allocated later */
            BUG("out of memory");
    }
    return m;
}

void math_close(struct math_checker *m)
{
    if (!m)
        return;
    for (int i = 0; i < 2; i++)
        sbuf_release(&m->show[i]);
    arena_release(&m->mem);
    free(m->balls);
    free(m);
}

static void begin(struct math_checker *m, const struct math_opts *o)
{
    arena_reset(&m->mem);
    m->o = *o;
    m->work = MATH_BUDGET;
    m->over = m->n_sym = m->depth = m->inner = m->short_names = m->comma = 0;
    m->why = "";
}

struct str math_extract(struct math_checker *m, struct str text, const struct math_opts *o, const char **rule)
{
    begin(m, o);
    return math_find(m, text, o, rule);
}

static int word_byte(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c & 0x80);
}

/* Past white space and dollar signs; 1: they part two letters or digits. */
static int skip_space(struct str s, int64_t *i)
{
    int64_t from = *i;
    while (*i < s.n && (s.p[*i] == ' ' || s.p[*i] == '$' || s.p[*i] == '\n'))
        ++*i;
    return *i > from && from > 0 && *i < s.n && word_byte(s.p[from - 1]) && word_byte(s.p[*i]);
}

/* The same bytes but for white space and dollar signs; "1 2" is not "12". */
static int same_spelling(struct str a, struct str b)
{
    int64_t i = 0, j = 0, n = 0;
    for (;;) {
        int parts_a = skip_space(a, &i), parts_b = skip_space(b, &j);
        if (i == a.n || j == b.n)
            return i == a.n && j == b.n && n > 0;
        if (a.p[i++] != b.p[j++] || parts_a != parts_b)
            return 0;
        n++;
    }
}

static int holds_box(struct str s)
{
    return str_find(s, STR("\\boxed"), 0) >= 0 || str_find(s, STR("\\fbox"), 0) >= 0 || str_find(s, STR("\\framebox"), 0) >= 0;
}

/* "C", "(C)", "C) 42", "(C) Cecile", "C. 42": the letter, or 0. */
static char choice_letter(const struct math_checker *m, const struct node *x, struct str plain)
{
    static const char *const named[] = {"option ", "choice ", "answer ", "case "};
    for (size_t i = 0; i < sizeof named / sizeof *named; i++)
        if (str_starts(plain, str_of(named[i])) && plain.n == (int64_t)strlen(named[i]) + 1 && plain.p[plain.n - 1] >= 'A' && plain.p[plain.n - 1] <= 'H')
            return plain.p[plain.n - 1];
    if (plain.n == 2 && plain.p[0] >= 'a' && plain.p[0] <= 'h' && plain.p[1] == ')')
        return (char)(plain.p[0] & ~32);
    if (x->kind == N_SYM) {
        struct str s = m->sym[x->id].name;
        return s.n == 1 && ((s.p[0] >= 'A' && s.p[0] <= 'Z') || (x->flags & (F_TEXT | F_PAREN))) ? (char)(s.p[0] & ~32) : 0;
    }
    if (plain.n < 2)
        return 0;
    if (plain.p[0] >= 'B' && plain.p[0] <= 'H' && plain.p[1] == ' ' && x->kind == N_TEXT && !memchr(plain.p + 2, ' ', (size_t)plain.n - 2))
        return plain.p[0]; /* C Cecile */
    int open = plain.p[0] == '(';
    char c = plain.p[open], after = open + 1 < plain.n ? plain.p[open + 1] : 0;
    int upper = c >= 'A' && c <= 'H', lower = c >= 'a' && c <= 'h';
    if (!(upper || (lower && open)) || !(after == ')' || (!open && (after == '.' || after == ':'))))
        return 0;
    for (int64_t i = open + 2; i + 2 < plain.n; i++) /* another choice */
        if ((plain.p[i] == '(' && plain.p[i + 2] == ')') || !memcmp(plain.p + i, "or ", 3))
            return 0;
    return (char)(c & ~32);
}

struct side {
    struct str text, plain;
    struct node *x;
};

/* "yes" and "YES", which may have been read as products of names. */
static int same_word(struct str a, struct str b)
{
    if (a.n != b.n || a.n < 2 || a.n > 20)
        return 0;
    for (int64_t i = 0; i < a.n; i++) {
        char x = a.p[i] | 32, y = b.p[i] | 32;
        if (x != y || x < 'a' || x > 'z')
            return 0;
    }
    return a.n > 2 || (str_eq(a, STR("no")) || str_eq(b, STR("no")));
}

static enum math_outcome decide(struct math_checker *m, struct side *g, struct side *p)
{
    if (same_spelling(g->text, p->text)) {
        math_why(m, "the same spelling");
        return MATH_RIGHT;
    }
    char gc = choice_letter(m, g->x, g->plain);
    if (gc && gc == choice_letter(m, p->x, p->plain)) {
        math_why(m, "the same choice");
        return MATH_RIGHT;
    }
    int date = math_same_date(g->plain, p->plain);
    if (date >= 0) {
        math_why(m, date ? "the same date" : "dates differ");
        return date ? MATH_RIGHT : MATH_WRONG;
    }
    if ((g->x->kind == N_TEXT) != (p->x->kind == N_TEXT)) { /* one side did not parse: the other one's tokens as text */
        struct node *t = math_node(m, N_TEXT, 0);
        t->s = g->x->kind == N_TEXT ? p->plain : g->plain;
        int eq = math_equal(m, g->x->kind == N_TEXT ? g->x : t, p->x->kind == N_TEXT ? p->x : t);
        if (eq == 1)
            return MATH_RIGHT;
        if (p->x->kind == N_TEXT) {
            math_why(m, "the prediction does not read as mathematics, the gold does");
            return MATH_UNPARSABLE;
        }
        math_why(m, "the gold is text, the prediction another one");
        return MATH_WRONG;
    }
    if (m->o.unevaluated && g->x->kind != N_TEXT) {
        g->x = math_evaluate(m, g->x);
        p->x = math_evaluate(m, p->x);
    }
    if (same_word(g->plain, p->plain)) {
        math_why(m, "the same word");
        return MATH_RIGHT;
    }
    int r = math_equal(m, g->x, p->x);
    if (r == 0 && m->o.decimal_comma && g->x->kind == N_NUM && g->x->prec > 0 && p->x->kind == N_LIST && p->x->n == 2) { /* 2,74 */
        const char *why = m->why;
        struct str plain;
        m->comma = 1;
        struct node *x = math_parse(m, p->text, &plain);
        m->comma = 0;
        r = x && x->kind != N_LIST ? math_equal(m, g->x, x) : 0;
        m->why = r == 1 ? "equal with a decimal comma (policy decimal_comma)" : why;
    }
    if (r == 1)
        return MATH_RIGHT;
    if (m->over) {
        math_why(m, "the work budget of %d operations ran out", MATH_BUDGET);
        return MATH_TIMEOUT;
    }
    return MATH_WRONG;
}

/* strict: the rules that the caller wants, which are for predictions; a gold solution may end in #### where a policy must box. */
static void read_side(struct math_checker *m, struct side *s, enum math_form form, int strict, const char **rule)
{
    struct math_opts loose = m->o;
    loose.strict_box = 0;
    memset(loose.rules, 0, sizeof loose.rules);
    *rule = "answer";
    if (form == MATH_RESPONSE)
        s->text = math_find(m, s->text, strict ? &m->o : &loose, rule);
    else if (s->text.n <= MATH_MAX_BYTES && holds_box(s->text))
        s->text = math_find(m, s->text, &loose, rule);
    s->x = s->text.n ? math_parse(m, s->text, &s->plain) : NULL;
    if (form == MATH_ANSWER && s->x && s->x->kind == N_TEXT && (str_find(s->text, STR("nswer is"), 0) >= 0 || str_find(s->text, STR("nswer:"), 0) >= 0)) { /* "the answer is 5" */
        struct side t = {.text = math_find(m, s->text, &loose, rule)};
        t.x = t.text.n ? math_parse(m, t.text, &t.plain) : NULL;
        if (t.x && t.x->kind != N_TEXT)
            *s = t;
    }
}

/* A gold that is a sentence is compared with everything behind "the answer is". */
static void take_tail(struct math_checker *m, const struct math_question *q, const struct side *g, struct math_result *r)
{
    struct side t = {.text = math_tail(m, q->pred)};
    t.x = t.text.n ? math_parse(m, t.text, &t.plain) : NULL;
    if (t.x && decide(m, (struct side *)g, &t) == MATH_RIGHT) {
        r->outcome = MATH_RIGHT;
        r->extracted = t.text;
    }
}

static void render(struct math_checker *m, const struct node *x, struct sbuf *b, struct str *out)
{
    sbuf_clear(b);
    if (x)
        math_show(m, b, x);
    *out = x ? sbuf_str(b) : STR("");
}

void math_check(struct math_checker *m, const struct math_question *q, const struct math_opts *o, struct math_result *r)
{
    struct side g = {.text = q->gold}, p = {.text = q->pred};
    const char *rule;
    begin(m, o);
    *r = (struct math_result){.rule = "none"};
    read_side(m, &g, q->gold_form, 0, &rule);
    if (g.x) {
        read_side(m, &p, q->pred_form, 1, &r->rule);
        char gc = q->pred_form == MATH_RESPONSE && strcmp(r->rule, "box") ? choice_letter(m, g.x, g.plain) : 0;
        if (gc && p.x && !choice_letter(m, p.x, p.plain)) {
            const char *choice;
            struct str c = math_choice_in(m, q->pred, &choice);
            if (c.n) {
                p.text = c;
                r->rule = choice;
                p.x = math_parse(m, c, &p.plain);
            }
        }
    }
    r->extracted = p.text;
    r->outcome = MATH_WRONG;
    if (!g.x) {
        math_why(m, "the gold answer is empty or holds nothing that can be read");
        r->outcome = MATH_GOLD_UNPARSABLE;
    } else if (!p.x && !(q->pred_form == MATH_RESPONSE && g.x->kind == N_TEXT && (take_tail(m, q, &g, r), r->outcome == MATH_RIGHT) && r->extracted.n)) {
        math_why(m, p.text.n ? "the prediction holds nothing that can be read" : "no answer was found in the prediction");
        r->outcome = MATH_UNPARSABLE;
    } else if (p.x) {
        m->depth = 0;
        r->outcome = decide(m, &g, &p);
        if (r->outcome != MATH_RIGHT && q->pred_form == MATH_RESPONSE && !strcmp(r->rule, "phrase")) {
            const char *why = m->why;
            take_tail(m, q, &g, r);
            if (r->outcome != MATH_RIGHT)
                m->why = why;
        }
    }
    r->why = m->why;
    r->work = MATH_BUDGET - m->work;
    r->gold_parsed = r->pred_parsed = STR("");
    if (q->explain) {
        render(m, g.x, &m->show[0], &r->gold_parsed);
        render(m, p.x, &m->show[1], &r->pred_parsed);
    }
}
