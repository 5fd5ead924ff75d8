/* What the two halves of the parser share. */
#ifndef HONE_TEXT_TMPL_PARSE_H
#define HONE_TEXT_TMPL_PARSE_H

#include "text/tmpl.h"

struct parser {
    struct tmpl *t;
    struct token *tok;
    int at, n, depth;
    struct err *e;
};

static inline const struct token *p_cur(const struct parser *p) { return &p->tok[p->at]; }
static inline const struct token *p_look(const struct parser *p) { return &p->tok[p->at + 1 < p->n ? p->at + 1 : p->at]; }
static inline int tok_is_name(const struct token *k, const char *name) { return k->kind == K_NAME && str_eq(k->text, str_of(name)); }
static inline int tok_is_op(const struct token *k, const char *op) { return k->kind == K_OP && !strcmp(k->op, op); }
static inline int p_name(const struct parser *p, const char *name) { return tok_is_name(p_cur(p), name); }
static inline int p_op(const struct parser *p, const char *op) { return tok_is_op(p_cur(p), op); }
int tmpl_p_skip_name(struct parser *p, const char *name);
int tmpl_p_skip_op(struct parser *p, const char *op);
err_code tmpl_p_expect_op(struct parser *p, const char *op);
err_code tmpl_p_expect_name(struct parser *p, struct str *out); /* any name */
err_code tmpl_p_fail(struct parser *p, int line, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
err_code tmpl_p_unexpected(struct parser *p, const char *want); /* "expected ..., got ..." */
err_code tmpl_p_node(struct parser *p, enum node_kind kind, int line, struct node **out);

/* Refuses trees that later passes, which recurse, could not walk. Called when all children are set. */
err_code tmpl_p_seal(struct parser *p, struct node *n);

struct nodes { /* a growing list of nodes */
    struct node **at;
    int n, cap;
};
err_code tmpl_p_push(struct parser *p, struct nodes *l, struct node *n);

err_code tmpl_p_expr(struct parser *p, int with_cond, struct node **out);
struct tuple_opts {
    int simplified, no_cond, namespaces, parens;
    const char *end; /* a name that ends the tuple too */
};
err_code tmpl_p_tuple(struct parser *p, struct tuple_opts o, struct node **out);
err_code tmpl_p_primary(struct parser *p, int namespaces, struct node **out);
/* first NULL: the `|` of the first filter is not written (filter blocks and set blocks start inside). */
err_code tmpl_p_filters(struct parser *p, struct node *first, int start_inline, struct node **out);
struct str tmpl_p_keep(struct parser *p, struct str s); /* NUL-terminated copy in the template */

#endif
