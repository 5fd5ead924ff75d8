/* Inside the math verifier: numbers, tokens, the tree, and who does what.
 *
 *   math_extract.c  response -> answer string          math_lex.c    string -> tokens (math_fold.c: Unicode)
 *   math_parse.c    tokens -> expression tree          math_answer.c lists, relations, text around expressions
 *   math_rat.c      exact rationals                    math_mod.c    values in F_p[i]
 *   math_ball.c     complex balls                      math_eval.c   the tree as a ball
 *   math_cmp.c      typed comparison                   math_num.c    equality of two scalar expressions
 *   math.c          the checker                        math_show.c   trees as text
 *   math_uneval.c   operators left standing            math_opts.c   the switches as text
 *   math_date.c     dates in words                     math_say.c    numbers, times and units in words
 */
#ifndef HONE_REWARDS_MATH_INT_H
#define HONE_REWARDS_MATH_INT_H

#include <gmp.h>
#include <stdint.h>

#include "core/arena.h"
#include "core/str.h"
#include "rewards/math.h"

enum {
    MATH_MAX_BYTES = 65536,   /* of an answer that is read as more than text */
    MATH_MAX_TOKENS = 6000,   /* of one answer; longer ones are compared as text */
    MATH_MAX_DEPTH = 480,     /* of the parser: about 120 nested brackets or fractions */
    MATH_MAX_HIGH = 400,      /* of a tree, from root to leaf */
    MATH_MAX_SETS = 8,        /* set operations inside one another */
    MATH_MAX_LIMBS = 1024,    /* of a number: 65,536 bits */
    MATH_MAX_DIGITS = 8000,   /* of a literal that is turned into a number */
    MATH_MAX_SYMS = 64,       /* different names in one question */
    MATH_BUDGET = 400000,     /* operations of one check */
};

/* ---- exact rationals: num/den in lowest terms, den > 0; one limb inline, more in the arena ---- */
struct rat {
    int sign;         /* -1, 0, 1 */
    int32_t nn, dn;   /* limbs; 0 has nn = 0; dn >= 1 */
    union { mp_limb_t n1; const mp_limb_t *np; };
    union { mp_limb_t d1; const mp_limb_t *dp; };
};

static inline const mp_limb_t *rat_num(const struct rat *r) { return r->nn <= 1 ? &r->n1 : r->np; }
static inline const mp_limb_t *rat_den(const struct rat *r) { return r->dn <= 1 ? &r->d1 : r->dp; }
static inline int rat_is_int(const struct rat *r) { return r->dn == 1 && r->d1 == 1; }

/* ---- tokens ---- */
enum tok_type {
    T_END, T_NUM, T_SYM, T_CONST, T_FN, T_OP, T_REL, T_WORD, T_UNIT, T_CMD, T_OPEN, T_CLOSE, T_BAD,
};

/* What a T_CMD does. */
enum {
    K_FRAC, K_BINOM, K_SQRT, K_OVER, K_CHOOSE, K_TEXT, K_MATHRM, K_FONT, K_OPNAME, K_LEFT, K_RIGHT, K_BB, K_SPACE, K_DROP, K_PHANTOM,
    K_DECOR, K_BEGIN, K_END, K_BIGOP, K_PMOD, K_BMOD, K_DOTS, K_QUANT, K_PREFIX, K_NOT, K_ARROW,
};

struct tok {
    uint8_t type;
    uint8_t text;      /* inside \text{...} or outside maths */
    uint8_t space;     /* white space before it */
    uint8_t thousands; /* T_NUM: written 1,234 */
    int32_t id;        /* of the type's own list; T_OP, T_OPEN, T_CLOSE: a character; T_WORD: class + 256 * value */
    int16_t frac;      /* T_NUM: digits after the point, -1 no point */
    int16_t rep;       /* T_NUM: how many of them repeat */
    int32_t exp10;     /* T_NUM: of 1e5 */
    struct str s;      /* its spelling; T_NUM: digits and point alone; T_SYM: the name */
};

/* ---- the tree ---- */
#define MATH_NODE_LIST(X)                                                                                   \
    X(NUM, "num") X(SYM, "sym") X(CONST, "const") X(ADD, "+") X(MUL, "*") X(DIV, "/") X(POW, "^")          \
    X(FN, "fn") X(CALL, "call") X(OPAQUE, "opaque") X(PM, "pm") X(UNIT, "unit") X(TUPLE, "tuple")           \
    X(SET, "set") X(LIST, "list") X(MATRIX, "matrix") X(REL, "rel") X(SETOP, "setop") X(WHERE, "where")     \
    X(BUILDER, "such-that") X(TIME, "time") X(RATIO, "ratio") X(BASED, "based") X(MOD, "mod")               \
    X(TEXT, "text") X(DOTS, "dots") X(AND, "and") X(OR, "or") X(PERCENT, "percent")

enum node_kind {
#define X(name, text) N_##name,
    MATH_NODE_LIST(X)
#undef X
};

struct node {
    uint8_t kind;
    uint8_t fn;          /* FN: enum fn; SETOP: 'u' 'n' '-'; CONST: enum; PM: '+' or '-' for +- and -+; OPAQUE: which */
    uint8_t open, close; /* TUPLE: its brackets; MATRIX: 'v' for a determinant */
    uint8_t flags;
    int8_t prec;         /* NUM: digits after the point, -1 none; unused else */
    int16_t id;          /* SYM, UNIT, CALL: number of its name */
    int32_t n;           /* children */
    int16_t rows;        /* MATRIX */
    int16_t high;        /* levels below this node */
    struct node **kid;
    union {
        struct rat q;        /* NUM */
        struct str s;        /* TEXT, BUILDER's spelling */
        const uint8_t *rel;  /* REL: n - 1 operators */
    };
};

enum {
    F_TEXT = 1,      /* written as text: names compare without case */
    F_THOUSANDS = 2, /* 1,234 */
    F_DECIMAL = 4,   /* written with a point */
    F_PAREN = 8,     /* stood in plain brackets */
    F_REPEAT = 16,   /* 0.(3) */
    F_UNEVAL = 32,   /* an operator that restates the question */
    F_MONEY = 64,
};

enum rel { R_EQ, R_NE, R_LT, R_LE, R_GT, R_GE, R_IN, R_NOTIN, R_APPROX, R_EQUIV, R_SUBSET, R_OTHER };

/* Functions: name in plain text and LaTeX, arity, kind. */
#define MATH_FN_LIST(X)                                                                                          \
    X(SQRT, "sqrt") X(ROOT, "root") X(ABS, "abs") X(SIN, "sin") X(COS, "cos") X(TAN, "tan") X(COT, "cot")        \
    X(SEC, "sec") X(CSC, "csc") X(ASIN, "arcsin") X(ACOS, "arccos") X(ATAN, "arctan") X(ACOT, "arccot")          \
    X(SINH, "sinh") X(COSH, "cosh") X(TANH, "tanh") X(ASINH, "arcsinh") X(ACOSH, "arccosh") X(ATANH, "arctanh")  \
    X(LN, "ln") X(LOG, "log") X(LG, "lg") X(LOGB, "logb") X(EXP, "exp") X(FACT, "factorial") X(FACT2, "factorial2") \
    X(BINOM, "binom") X(PERM, "perm") X(FLOOR, "floor") X(CEIL, "ceil") X(MAX, "max") X(MIN, "min")              \
    X(GCD, "gcd") X(LCM, "lcm") X(BMOD, "bmod") X(DET, "det") X(SGN, "sgn") X(GAMMA, "Gamma") X(CONJ, "conj")    \
    X(RE, "Re") X(IM, "Im") X(ARG, "arg") X(DEG, "deg") X(NORM, "norm")

enum fn {
#define X(name, text) FN_##name,
    MATH_FN_LIST(X)
#undef X
    FN_N
};

#define MATH_CONST_LIST(X)                                                                              \
    X(PI, "pi") X(E, "e") X(I, "i") X(INF, "inf") X(EMPTY, "emptyset") X(REALS, "R") X(INTEGERS, "Z")    \
    X(NATURALS, "N") X(RATIONALS, "Q") X(COMPLEXES, "C") X(DNE, "undefined") X(GOLDEN, "golden")

enum cnst {
#define X(name, text) C_##name,
    MATH_CONST_LIST(X)
#undef X
    C_N
};

enum word_class {
    W_OTHER, W_AND, W_OR, W_STOP, W_ARTICLE, W_NUMBER, W_SCALE, W_PERCENT, W_AM, W_PM, W_SQUARE, W_CUBIC, W_PER,
    W_NONE, W_ALLREAL, W_IF, W_IN, W_FROM, W_TO, W_YES, W_OF, W_IS, W_DEGREE, W_PART,
};

/* ---- the checker ---- */
struct sym {
    struct str name;
    uint64_t hash;
    uint8_t is_int;    /* an index: evaluated at positive integers */
    uint8_t text;
};

struct ball_ctx;

struct math_checker {
    struct arena mem;           /* of one call */
    struct math_opts o;
    int64_t work;               /* operations left; < 0: budget spent */
    int over;
    int depth;
    int deep;                   /* a tree grew past MATH_MAX_HIGH */
    int sets;                   /* set operations being read */
    struct sym sym[MATH_MAX_SYMS];
    int n_sym;
    char why_buf[240];
    const char *why;            /* why_buf or a literal */
    struct sbuf show[2];        /* rendered trees */
    /* token cursor of the parse in progress */
    struct tok *t;
    int nt, at;
    int bar;                    /* open absolute values */
    int in_set;                 /* a bar here means "such that" */
    int comma;                  /* 2,5 is a decimal */
    int short_names;            /* no digits joined to names: \frac a2 */
    int inner;                  /* comparing members: a set is no longer its only member */
    int outward;                /* ]a,b[: a [ closes */
    struct ball_ctx *balls;
};

static inline int math_spend(struct math_checker *m, int64_t n)
{
    m->work -= n;
    if (m->work < 0)
        m->over = 1;
    return !m->over;
}
void *math_new(struct math_checker *m, int64_t bytes);          /* zeroed; charged to the budget */
const char *math_g(struct math_checker *m, double v, int digits); /* as %g, with a point in every locale */
void math_why(struct math_checker *m, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* math_lex.c, math_fold.c */
struct str math_fold(struct math_checker *m, struct str s);      /* Unicode spellings to LaTeX */
struct lex_entry {
    const char *name;
    uint8_t type;
    int32_t id;
};
const struct lex_entry *math_lookup_cmd(struct str name);
const struct lex_entry *math_lookup_word(struct str name);      /* any case */
void math_lex_init(void);
int math_lex(struct math_checker *m, struct str s, struct tok **out, int *n); /* 0: too long */
struct unit {
    const char *name, *dims;
    int64_t num, den;
};
const struct unit *math_unit(struct str name);                   /* any case for names of two letters and more */
struct str math_lower(struct math_checker *m, struct str s);

/* math_parse.c. Each returns NULL where the tokens are no such thing. */
struct node *math_node(struct math_checker *m, int kind, int n);
struct node *math_num(struct math_checker *m, int64_t v);
struct node *math_wrap(struct math_checker *m, int kind, struct node *a, struct node *b); /* 1 or 2 children */
struct node *math_expr(struct math_checker *m);      /* a sum */
struct node *math_relation(struct math_checker *m);  /* sums joined by relations and set operations */
struct node *math_list(struct math_checker *m);      /* math_answer.c: relations with separators and side conditions */
int math_symbol(struct math_checker *m, struct str name, int text);
struct vec {
    struct node **p;
    int n, cap;
};
void math_push(struct math_checker *m, struct vec *v, struct node *x);
struct node *math_from(struct math_checker *m, int kind, const struct vec *v);
struct node *math_high(struct math_checker *m, struct node *x); /* call it when the children are in place */

/* math_answer.c */
/* Never fails: what is no mathematics is TEXT; NULL when there is nothing. *text: its tokens as canonical text. */
struct node *math_parse(struct math_checker *m, struct str s, struct str *text);
struct str math_plain(struct math_checker *m, const struct tok *t, int n); /* tokens as canonical text */

/* math_rat.c: results that would pass MATH_MAX_LIMBS return 0 and leave *r alone. */
struct rat rat_of(int64_t v);
int rat_frac(struct math_checker *m, struct rat *r, int64_t n, int64_t d);
int rat_digits(struct math_checker *m, struct rat *r, const char *digits, int64_t n, int base);
int rat_add(struct math_checker *m, struct rat *r, const struct rat *a, const struct rat *b);
int rat_sub(struct math_checker *m, struct rat *r, const struct rat *a, const struct rat *b);
int rat_mul(struct math_checker *m, struct rat *r, const struct rat *a, const struct rat *b);
int rat_div(struct math_checker *m, struct rat *r, const struct rat *a, const struct rat *b); /* 0 also for b = 0 */
int rat_pow(struct math_checker *m, struct rat *r, const struct rat *a, int64_t e);
int rat_root(struct math_checker *m, struct rat *r, const struct rat *a, int64_t k); /* 1 only when exact */
int rat_floor(struct math_checker *m, struct rat *r, const struct rat *a);
int rat_cmp(struct math_checker *m, const struct rat *a, const struct rat *b);
int rat_eq(const struct rat *a, const struct rat *b);
int rat_i64(const struct rat *a, int64_t *out);                  /* 1 when it is an integer that fits */
int64_t rat_bits(const struct rat *a);                           /* of the larger part */
struct rat rat_neg(struct rat a);
void rat_show(struct math_checker *m, struct sbuf *b, const struct rat *a);

/* math_mod.c: the value of an expression in F_p[i], p = 2^61 - 1, with a seeded value for each name and a hash for each
 * function it does not know. */
struct fp2 {
    uint64_t a, b; /* a + b i */
};
struct mod_info {
    uint64_t seed;
    int undefined;  /* a division by zero (mod p), infinity, or a thing that is no scalar */
    int opaque;     /* some value was a hash: different values prove nothing */
    int large;      /* holds numbers near p: equality needs a second witness */
    int symbols;    /* holds names */
};
struct fp2 math_mod(struct math_checker *m, const struct node *x, struct mod_info *info);

/* math_num.c */
int math_rat(struct math_checker *m, const struct node *x, struct rat *q);     /* 1: a rational constant, exactly */
int math_is_scalar(const struct node *x);
int math_has(const struct node *x, int kind);
/* 1 equal, 0 different, -1 not decided; sets why. */
int math_scalar_eq(struct math_checker *m, const struct node *a, const struct node *b);
/* -1, 0, 1; or 2 when it is not decided. */
int math_scalar_cmp(struct math_checker *m, const struct node *a, const struct node *b);
/* a = k * b for a constant k: its sign, or 0. */
int math_proportional(struct math_checker *m, const struct node *a, const struct node *b);
int math_infinity(struct math_checker *m, const struct node *x);               /* -1, 1, or 0 */
/* 1 when the decimal `d` is a correct rounding (or truncation) of x to its own last place. */
int math_rounds_to(struct math_checker *m, const struct node *x, const struct node *d);
struct node *math_minus(struct math_checker *m, struct node *a, struct node *b);

/* math_cmp.c, math_unit.c, math_sets.c, math_rel.c: 1 equal, 0 different, -1 not decided */
int math_equal(struct math_checker *m, struct node *gold, struct node *pred);
int math_unordered(struct math_checker *m, struct node **g, int ng, struct node **p, int np);
int math_ordered(struct math_checker *m, struct node **g, struct node **p, int n);
int math_quantity_eq(struct math_checker *m, struct node *g, struct node *p);      /* scalars with units and percent */
int math_relation_eq(struct math_checker *m, struct node *g, struct node *p);      /* at least one is an equation or inequality */
int math_real_set_eq(struct math_checker *m, struct node *g, struct node *p);      /* -2: one of them is no set of reals */
int math_is_label(const struct math_checker *m, const struct node *x);
struct node *math_evaluate(struct math_checker *m, struct node *x);                /* math_uneval.c */
struct node *math_substitute(struct math_checker *m, struct node *x, int id, struct node *by);

/* math_date.c: 1 the same date, 0 another one, -1: one of them is no date */
int math_same_date(struct str a, struct str b);

/* math_show.c */
void math_show(struct math_checker *m, struct sbuf *b, const struct node *x);

/* math_extract.c */
struct str math_find(struct math_checker *m, struct str text, const struct math_opts *o, const char **rule);
struct str math_tail(struct math_checker *m, struct str text);
struct str math_choice_in(struct math_checker *m, struct str text, const char **rule); /* the first choice letter standing alone */

#endif
