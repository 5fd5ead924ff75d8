/* Trees as S-expressions, for people. */
#include "rewards/math_int.h"

static const char *const kinds[] = {
#define X(name, text) text,
    MATH_NODE_LIST(X)
#undef X
};

static const char *const fns[] = {
#define X(name, text) text,
    MATH_FN_LIST(X)
#undef X
};

static const char *const consts[] = {
#define X(name, text) text,
    MATH_CONST_LIST(X)
#undef X
};

static const char *const rels[] = {"=", "!=", "<", "<=", ">", ">=", "in", "not-in", "~", "==", "subset", "rel"};

static void head(struct math_checker *m, struct sbuf *b, const struct node *x)
{
    switch (x->kind) {
    case N_FN: sbuf_adds(b, fns[x->fn]); return;
    case N_CALL:
    case N_OPAQUE: sbuf_add(b, m->sym[x->id].name); return;
    case N_SETOP: sbuf_adds(b, x->fn == 'U' ? "union" : x->fn == 'N' ? "intersection" : "minus"); return;
    case N_TUPLE: sbuf_addf(b, "tuple%c%c", x->open, x->close); return;
    case N_MATRIX: sbuf_addf(b, "matrix %dx%d", x->rows, x->rows ? x->n / x->rows : 0); return;
    case N_PM: sbuf_adds(b, x->fn == '+' ? "+-" : "-+"); return;
    default: sbuf_adds(b, kinds[x->kind]);
    }
}

void math_show(struct math_checker *m, struct sbuf *b, const struct node *x)
{
    if (b->full || m->depth > MATH_MAX_DEPTH)
        return;
    switch (x->kind) {
    case N_NUM: rat_show(m, b, &x->q); return;
    case N_SYM:
    case N_UNIT: sbuf_add(b, m->sym[x->id].name); return;
    case N_CONST: sbuf_adds(b, consts[x->fn]); return;
    case N_TEXT:
        sbuf_addc(b, '"');
        sbuf_add(b, str_sub(x->s, 0, 400));
        sbuf_addc(b, '"');
        return;
    case N_TIME:
        sbuf_adds(b, "(time ");
        rat_show(m, b, &x->q);
        sbuf_addc(b, ')');
        return;
    default: break;
    }
    sbuf_addc(b, '(');
    head(m, b, x);
    m->depth++;
    for (int i = 0; i < x->n; i++) {
        sbuf_addc(b, ' ');
        if (x->kind == N_REL && i) {
            sbuf_adds(b, rels[x->rel[i - 1]]);
            sbuf_addc(b, ' ');
        }
        math_show(m, b, x->kid[i]);
    }
    m->depth--;
    sbuf_addc(b, ')');
}
