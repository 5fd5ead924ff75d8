/* What stands around expressions: lists, "and", "or", side conditions, nouns behind numbers; and plain text, which is
 * what every answer becomes that does not read as mathematics to its last token. */
#include <string.h>

#include "core/err.h"
#include "rewards/math_int.h"

static const char *const const_names[] = {
#define X(name, text) text,
    MATH_CONST_LIST(X)
#undef X
};

struct text {
    char *p;
    int64_t n, cap;
    int glue; /* what was written last: 0 nothing or punctuation, 1 a name, 2 a word or number */
};

static void put(struct text *b, struct str s, int glue, int space)
{
    if (b->n + s.n + 1 > b->cap)
        return;
    if (glue && b->glue && (glue == 2 || b->glue == 2 || space))
        b->p[b->n++] = ' ';
    memcpy(b->p + b->n, s.p, (size_t)s.n);
    b->n += s.n;
    b->glue = glue;
}

static void put_token(struct math_checker *m, struct text *b, const struct tok *t, const struct tok *prev)
{
    if (t->type == T_OP && t->id == '^' && ((t[1].type == T_OP && t[1].id == 'o') || (t[1].type == T_OPEN && t[1].id == '{' && t[2].type == T_OP && t[2].id == 'o')))
        return; /* ^\circ is the degree sign */
    if (t->type == T_OP && t->id == '+' && t[1].type == T_CONST && t[1].id == C_INF && (!prev || prev->type == T_OP || prev->type == T_OPEN || prev->type == T_REL))
        return;
    switch (t->type) {
    case T_NUM:
        if (prev && prev->type == T_CMD && prev->id == K_FRAC && t->frac < 0) { /* \frac12 */
            for (int64_t i = 0; i < t->s.n; i++)
                put(b, str_sub(t->s, i, i + 1), 2, 0);
            return;
        }
        put(b, t->s, 2, 0);
        if (t->exp10) {
            char e[24];
            int64_t n = 0, v = t->exp10 < 0 ? -(int64_t)t->exp10 : t->exp10;
            e[n++] = 'e';
            if (t->exp10 < 0)
                e[n++] = '-';
            char d[12];
            int k = 0;
            for (; v; v /= 10)
                d[k++] = (char)('0' + v % 10);
            while (k)
                e[n++] = d[--k];
            put(b, (struct str){e, n}, 0, 0);
        }
        return;
    case T_WORD:
        if ((t->id & 255) == W_ARTICLE)
            return;
        put(b, math_lower(m, t->s), 2, 1);
        return;
    case T_UNIT: put(b, math_lower(m, t->s), 2, 1); return;
    case T_SYM:
        if ((t->s.p[0] | 32) == 'a' && t->s.n == 1 && t[1].type == T_WORD && t[1].space)
            return; /* an article */
        put(b, t->s, t->s.n == 1 ? 1 : 2, t->space && t->text);
        return;
    case T_CONST: put(b, t->id == C_E || t->id == C_I ? t->s : str_of(const_names[t->id]), t->id == C_E || t->id == C_I ? 1 : 2, 0); return;
    case T_FN: put(b, math_lower(m, t->s), 2, 0); return;
    case T_REL: {
        static const char *const rel[] = {"=", "!=", "<", "<=", ">", ">=", " in ", " notin ", "~", "==", " subset ", " rel "};
        put(b, t->id == R_OTHER ? t->s : str_of(rel[t->id]), 0, 0);
        return;
    }
    case T_CMD:
        if (t->id == K_FRAC)
            put(b, STR("frac"), 2, 1);
        else
            put(b, t->s, 2, 1);
        return;
    case T_OPEN:
    case T_CLOSE:
        if (t->id != '{' && t->id != '}')
            put(b, t->s, 0, 0);
        return;
    default: put(b, t->type == T_OP && t->id == '\'' ? STR("'") : t->type == T_OP && strchr("PMUNDoVR*/", t->id) ? (struct str){(const char *)"PMUNDoVR*/" + (strchr("PMUNDoVR*/", t->id) - (char *)"PMUNDoVR*/"), 1} : t->s, 0, 0);
    }
}

struct str math_plain(struct math_checker *m, const struct tok *t, int n)
{
    struct text b = {0};
    for (int i = 0; i < n; i++)
        b.cap += t[i].s.n * 2 + 24;
    b.p = math_new(m, b.cap + 1);
    for (int i = 0; i < n; i++)
        put_token(m, &b, &t[i], i ? &t[i - 1] : NULL);
    return (struct str){b.p, b.n};
}

static struct tok *cur(struct math_checker *m)
{
    return &m->t[m->at];
}

static int op(const struct math_checker *m, int c)
{
    return m->t[m->at].type == T_OP && m->t[m->at].id == c;
}

static int word(const struct math_checker *m, int cls)
{
    return m->t[m->at].type == T_WORD && (m->t[m->at].id & 255) == cls;
}

/* A word that may stand in a noun phrase behind a number. */
static int noun_token(const struct tok *t)
{
    if (t->type == T_WORD) {
        int c = t->id & 255;
        return c == W_OTHER || c == W_OF || c == W_SQUARE || c == W_CUBIC || c == W_PER || c == W_ARTICLE || c == W_IN || c == W_PART;
    }
    return t->type == T_UNIT || (t->type == T_SYM && t->text) || (t->type == T_SYM && t->s.n > 1);
}

static int has_number(const struct node *x)
{
    if (x->kind == N_NUM || x->kind == N_BASED)
        return 1;
    for (int i = 0; i < x->n && i < 16; i++)
        if (x->kid[i]->kind != N_TEXT && has_number(x->kid[i]))
            return 1;
    return 0;
}

static struct node *with_noun(struct math_checker *m, struct node *x, int begin)
{
    struct str s = math_plain(m, m->t + begin, m->at - begin);
    int id = math_symbol(m, s, 1);
    if (id < 0 || x->kind == N_REL)
        return x;
    struct node *u = math_node(m, N_UNIT, 0);
    u->id = (int16_t)id;
    return math_wrap(m, N_MUL, x, u);
}

/* "( ... )" behind a value: a remark is dropped, a condition kept. */
static struct node *bracketed(struct math_checker *m, struct node *x)
{
    int begin = m->at, i = begin + 1;
    while (m->t[i].type != T_END && m->t[i].type != T_CLOSE) {
        if (m->t[i].type == T_OPEN && m->t[i].id != '{')
            break;
        i++;
    }
    int words = 0, others = 0;
    for (int k = begin + 1; k < i; k++) {
        if (m->t[k].type == T_SYM && m->t[k].s.n == 1 && m->t[k + 1].type != T_REL)
            continue; /* t-shirts */
        words += noun_token(&m->t[k]) || (m->t[k].type == T_WORD && (m->t[k].id & 255) == W_AND);
        others += !(noun_token(&m->t[k]) || (m->t[k].type == T_WORD && (m->t[k].id & 255) == W_AND) || (m->t[k].type == T_OP && (m->t[k].id == '-' || m->t[k].id == '\'' || m->t[k].id == '.')));
    }
    if (words && !others && m->t[i].type == T_CLOSE && m->t[i].id == ')' && has_number(x)) {
        m->at = i;
        struct node *y = with_noun(m, x, begin + 1);
        m->at = i + 1;
        return y;
    }
    m->at++;
    struct node *cond = math_list(m);
    if (!cond || cur(m)->type != T_CLOSE || cur(m)->id != ')')
        return NULL;
    m->at++;
    return math_wrap(m, N_WHERE, x, cond);
}

/* "n is an integer", "any integer n", "all integers k": n in Z; NULL: something else, and the cursor stays. */
static struct node *integer_condition(struct math_checker *m)
{
    static const char *const words[] = {"is", "are", "an", "any", "some", "all", "each", "every", "number", "numbers", "whole", "integer", "integers"};
    struct tok *t = cur(m), *name = NULL;
    int integer = 0, n = 0;
    for (; t[n].type == T_WORD || t[n].type == T_SYM; n++) {
        size_t k = 0;
        while (k < sizeof words / sizeof *words && !str_eq(t[n].s, str_of(words[k])))
            k++;
        if (k < sizeof words / sizeof *words) {
            integer |= str_starts(t[n].s, STR("integer"));
        } else if (t[n].type == T_SYM && t[n].s.n == 1 && !name) {
            name = &t[n];
        } else if (!str_eq(t[n].s, STR("a"))) {
            return NULL;
        }
    }
    int id = name && integer ? math_symbol(m, name->s, 0) : -1;
    if (id < 0)
        return NULL;
    m->at += n;
    struct node *x = math_node(m, N_SYM, 0), *z = math_node(m, N_CONST, 0);
    uint8_t *rel = math_new(m, 1);
    x->id = (int16_t)id;
    z->fn = C_INTEGERS;
    rel[0] = R_IN;
    x = math_wrap(m, N_REL, x, z);
    x->rel = rel;
    return x;
}

static struct node *clause(struct math_checker *m)
{
    struct node *x = math_relation(m);
    for (int k = 0; x && k < 8; k++) {
        struct tok *t = cur(m);
        if (t->type == T_CMD && t->id == K_PMOD) {
            m->at++;
            struct node *n = math_relation(m);
            x = n ? math_wrap(m, N_MOD, x, n) : NULL;
        } else if (t->type == T_OPEN && t->id == '(') {
            x = bracketed(m, x);
        } else if (word(m, W_IF) && (m->at++, 1)) {
            struct node *c = integer_condition(m);
            c = c ? c : math_relation(m);
            x = c ? math_wrap(m, N_WHERE, x, c) : NULL;
        } else if (noun_token(t) && has_number(x)) {
            int begin = m->at;
            while (noun_token(cur(m)) || (op(m, '.') && noun_token(cur(m) + 1)) || (op(m, '-') && noun_token(cur(m) + 1)) || (op(m, '/') && noun_token(cur(m) + 1)))
                m->at++;
            x = with_noun(m, x, begin);
        } else {
            break;
        }
    }
    return x;
}

static int is_inequality(const struct node *x)
{
    if (x->kind == N_AND || x->kind == N_OR)
        return 1;
    return x->kind == N_REL && x->rel[0] != R_EQ && x->rel[0] != R_APPROX && x->rel[0] != R_EQUIV;
}

/* k \in Z, n = 0, 1, 2, ...: says what a name may be. */
static int is_condition(const struct node *x)
{
    return x->kind == N_REL && x->n == 2 && x->rel[0] == R_IN && x->kid[1]->kind == N_CONST;
}

static struct node *row_of(struct math_checker *m, struct node **p, int n)
{
    struct node *t = math_node(m, N_TUPLE, n);
    t->open = '(';
    t->close = ')';
    memcpy(t->kid, p, (size_t)n * sizeof *p);
    return math_high(m, t);
}

/* p = 5, q = 2, p = 7, q = 2: the names come round every 2 members; 0: they do not. */
static int repeated_labels(const struct vec *v)
{
    int period = 0;
    for (int i = 0; i < v->n; i++) {
        const struct node *x = v->p[i];
        if (x->kind != N_REL || x->n != 2 || x->rel[0] != R_EQ || x->kid[0]->kind != N_SYM)
            return 0;
        if (i && !period && x->kid[0]->id == v->p[0]->kid[0]->id)
            period = i;
        if (period && x->kid[0]->id != v->p[i - period]->kid[0]->id)
            return 0;
    }
    return period > 1 && v->n % period == 0 ? period : 0;
}

static struct node *build(struct math_checker *m, struct vec *v, int ands, int ors)
{
    struct vec main = {0}, cond = {0};
    int ineq = 0;
    for (int i = 0; i < v->n; i++) {
        math_push(m, is_condition(v->p[i]) && v->n > 1 ? &cond : &main, v->p[i]);
        ineq += is_inequality(v->p[i]);
    }
    struct node *x = NULL;
    int period = repeated_labels(&main);
    if (period) {
        struct vec rows = {0};
        for (int i = 0; i < main.n; i += period)
            math_push(m, &rows, row_of(m, main.p + i, period));
        x = math_from(m, N_LIST, &rows);
        return cond.n ? math_wrap(m, N_WHERE, x, cond.p[0]) : x;
    }
    if (!main.n) {
        main = cond;
        cond.n = 0;
    }
    if (main.n == 1)
        x = main.p[0];
    else if (ineq == main.n && ands && !ors)
        x = math_from(m, N_AND, &main);
    else if (ineq == main.n && ors && !ands)
        x = math_from(m, N_OR, &main);
    else if (main.n == 2 && ands && !ors && main.p[0]->kind == N_MUL && main.p[1]->kind == N_MUL && main.p[0]->kid[main.p[0]->n - 1]->kind == N_UNIT &&
             main.p[1]->kid[main.p[1]->n - 1]->kind == N_UNIT && main.p[0]->kid[main.p[0]->n - 1]->id != main.p[1]->kid[main.p[1]->n - 1]->id)
        x = math_from(m, N_ADD, &main); /* 2 hours and 30 minutes */
    else {
        x = math_from(m, N_LIST, &main);
        x->open = (uint8_t)(ors ? 'o' : ands ? 'a' : ',');
    }
    return cond.n ? math_wrap(m, N_WHERE, x, cond.n == 1 ? cond.p[0] : math_from(m, N_LIST, &cond)) : x;
}

struct node *math_list(struct math_checker *m)
{
    if (m->depth > MATH_MAX_DEPTH)
        return NULL;
    m->depth++;
    struct vec v = {0};
    int ands = 0, ors = 0, commas = 0, semis = 0, group = 0;
    for (;;) {
        struct node *x = clause(m);
        if (!x || m->over) {
            m->depth--;
            return NULL;
        }
        math_push(m, &v, x);
        int sep = 0;
        if (op(m, ',')) {
            commas++;
        } else if (op(m, ';')) {
            group = semis ? group == v.n - semis * group ? group : -1 : v.n;
            semis++;
        }
        for (int k = 0; k < 3; k++) {
            if (op(m, ',') || op(m, ';') || op(m, 'R') || op(m, '&'))
                sep = 1;
            else if (word(m, W_AND))
                sep = ands = 1;
            else if (word(m, W_OR))
                sep = ors = 1;
            else
                break;
            m->at++;
        }
        if (!sep)
            break;
    }
    m->depth--;
    if (group > 1 && !ands && !ors && v.n == group * (semis + 1) && commas == v.n - semis - 1) { /* p=5, q=2; p=7, q=2 */
        struct vec rows = {0};
        for (int i = 0; i < v.n; i += group)
            math_push(m, &rows, row_of(m, v.p + i, group));
        return math_from(m, N_LIST, &rows);
    }
    return build(m, &v, ands, ors);
}

static int edge(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r') || c == '*' || c == '`' || c == '"';
}

/* \( ... \) as a whole, and no other formula inside. */
static int wrapped(struct str s, char open, char close)
{
    if (s.n < 5 || s.p[0] != '\\' || s.p[1] != open || s.p[s.n - 2] != '\\' || s.p[s.n - 1] != close || s.p[s.n - 3] == '\\')
        return 0;
    for (int64_t i = 2; i + 3 < s.n; i++)
        if (s.p[i] == '\\') {
            if (s.p[i + 1] == open || s.p[i + 1] == close)
                return 0;
            i++;
        }
    return 1;
}

/* White space, emphasis, closing punctuation and dangling backslashes at the ends. */
static struct str strip(struct str s)
{
    for (;;) {
        int64_t n = s.n;
        while (s.n && edge(s.p[0]))
            s.p++, s.n--;
        while (s.n && (s.p[0] == ':' || s.p[0] == ';' || s.p[0] == ','))
            s.p++, s.n--;
        while (s.n && (edge(s.p[s.n - 1]) || s.p[s.n - 1] == ';' || s.p[s.n - 1] == ':' || s.p[s.n - 1] == ','))
            s.n--;
        if (s.n && s.p[s.n - 1] == '.' && !(s.n > 2 && s.p[s.n - 2] == '.'))
            s.n--;
        if (s.n && s.p[s.n - 1] == '\\')
            s.n--;
        if (s.n > 1 && s.p[s.n - 1] == '$' && s.p[0] == '$') { /* $...$ as a whole */
            int64_t inner = 0;
            for (int64_t i = 1; i + 1 < s.n; i++)
                inner += s.p[i] == '$' && s.p[i - 1] != '\\';
            if (inner == 0 || (inner == 2 && s.n > 3 && s.p[1] == '$' && s.p[s.n - 2] == '$')) {
                int64_t k = inner ? 2 : 1;
                s.p += k;
                s.n -= 2 * k;
                if (s.n > 0 && s.p[s.n - 1] == '.')
                    s.n--;
            }
        }
        if (wrapped(s, '(', ')') || wrapped(s, '[', ']'))
            s = str_sub(s, 2, s.n - 2);
        if (s.n == n)
            return s;
    }
}

static const struct {
    const char *text;
    uint8_t id;
} sayings[] = {
    {"no solution", C_EMPTY}, {"no solutions", C_EMPTY}, {"none", C_EMPTY}, {"empty set", C_EMPTY}, {"no real solution", C_EMPTY}, {"no such number", C_EMPTY}, {"no such numbers", C_EMPTY}, {"no such number exists", C_EMPTY}, {"no answer", C_EMPTY}, {"no real solutions", C_EMPTY},
    {"null set", C_EMPTY}, {"all real numbers", C_REALS}, {"all reals", C_REALS}, {"any real number", C_REALS}, {"all real x", C_REALS}, {"real numbers", C_REALS},
    {"does not exist", C_DNE}, {"doesn't exist", C_DNE}, {"undefined", C_DNE}, {"not defined", C_DNE}, {"positive infinity", C_INF}, {"infinity", C_INF},
};

static struct node *as_text(struct math_checker *m, struct str s)
{
    static const char *const openings[] = {"there is ", "there are ", "it has ", "the equation has ", "it ", "the limit ", "the answer is "};
    struct node *x;
    struct str whole = s;
    for (size_t i = 0; i < sizeof openings / sizeof *openings; i++)
        if (str_starts(s, str_of(openings[i])))
            s = str_sub(s, (int64_t)strlen(openings[i]), s.n);
    for (size_t i = 0; i < sizeof sayings / sizeof *sayings; i++)
        if (str_eq(s, str_of(sayings[i].text))) {
            x = math_node(m, N_CONST, 0);
            x->fn = sayings[i].id;
            x->flags = F_TEXT;
            return x;
        }
    x = math_node(m, N_TEXT, 0);
    x->s = whole;
    return x;
}

struct node *math_parse(struct math_checker *m, struct str s, struct str *plain)
{
    struct tok *t;
    int n;
    s = strip(s);
    if (s.n <= MATH_MAX_BYTES)
        s = strip(math_fold(m, s));
    *plain = s;
    if (!s.n)
        return NULL;
    if (s.n > MATH_MAX_BYTES || !math_lex(m, s, &t, &n)) {
        struct node *x = math_node(m, N_TEXT, 0);
        x->s = s;
        return x;
    }
    while (n && t[n - 1].type == T_OP && (t[n - 1].id == 'R' || t[n - 1].id == '.')) /* a dangling line end */
        t[--n].type = T_END;
    while (n > 1 && t[0].type == T_REL && (t[0].id == R_EQ || (t[0].id == R_APPROX && m->o.approx_tail)))
        t++, n--;
    int useful = 0;
    for (int i = 0; i < n; i++)
        useful |= t[i].type == T_NUM || t[i].type == T_SYM || t[i].type == T_CONST || t[i].type == T_WORD || t[i].type == T_UNIT || t[i].type == T_CMD ||
                  t[i].type == T_OPEN || t[i].type == T_FN || t[i].type == T_BAD;
    if (!useful)
        return NULL;
    struct str text = *plain = math_plain(m, t, n);
    m->t = t;
    m->nt = n;
    m->at = m->depth = m->bar = m->in_set = m->outward = m->deep = 0;
    struct node *x = math_list(m);
    if (x && m->at == n && x->kind != N_TEXT && !m->over && !m->deep)
        return x;
    if (!text.n)
        return NULL;
    return as_text(m, text);
}
