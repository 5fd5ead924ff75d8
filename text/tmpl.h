/* Inside of the template engine: values, syntax tree, run. Private to text/tmpl*.c.
 *
 * Provenance. A string value is a view (pointer, length) or a rope of views. Nothing copies row bytes
 * into a template's output on the way: slices, strips and joins make views and ropes, so every byte that
 * reaches the output still has the address it had in the row, and the address tells message and field
 * (the row is parsed depth first into one range of memory, so a message owns a sub-range). Text that is
 * computed from row data (upper, tojson) carries the address of its source in `org` instead.
 */
#ifndef HONE_TEXT_TMPL_H
#define HONE_TEXT_TMPL_H

#include <stdint.h>
#include <string.h>

#include "core/arena.h"
#include "core/err.h"
#include "core/hash.h"
#include "core/str.h"
#include "text/template.h"

/* ---- values ------------------------------------------------------------------------------- */

enum tag {
    T_MISSING, /* no value: an unset slot or an absent argument */
    T_UNDEF, T_NONE, T_BOOL, T_INT, T_BIG, T_FLOAT, T_STR, T_BYTES, T_LIST, T_TUPLE, T_DICT, T_VIEW, T_RANGE, T_ITER,
    T_SLICE, T_NS, T_MACRO, T_METHOD, T_FUNC, T_LOOP, T_LOOPFN, T_CYCLER, T_JOINER, T_ELLIPSIS
};

enum { VF_ASCII = 1, VF_ROPE = 2, VF_SAFE = 4, VF_GROUP = 8 }; /* SAFE: Markup; GROUP: tuple of groupby */
enum { U_NAME, U_ATTR, U_HINT, U_SECURITY };                   /* why a value is undefined: val.flags of T_UNDEF */
enum { VIEW_KEYS, VIEW_VALUES, VIEW_ITEMS };                   /* val.flags of T_VIEW */

struct val {
    uint8_t tag, flags;
    uint16_t aux; /* T_UNDEF: tag of the object an attribute was missing on */
    uint32_t n;   /* T_STR: bytes */
    union {
        int64_t i;
        double f;
        const char *s; /* T_STR view, T_UNDEF name (NUL-terminated) */
        struct rope *rope;
        struct seq *seq;
        struct dict *dict;
        struct big *big;
        struct range *range;
        struct iter *iter;
        struct macro *macro;
        struct method *method;
        struct loop *loop;
        struct cycler *cycler;
        const struct fn *fn;
        void *p;
    };
};

struct piece {
    const char *p;
    const char *org; /* NULL: the origin is p itself; else all n bytes come from the row value at org */
    uint32_t at, n;  /* offset in the rope, bytes */
    int32_t turn;    /* message whose loop printed it, -1 = none */
    uint32_t gen;    /* number of the {% generation %} block that printed it, 0 = none */
};
struct pieces {
    uint32_t used, cap;
    struct piece at[];
};
/* A rope owns the first np pieces of b; a longer rope may share b and own more. */
struct rope {
    const char *flat; /* the bytes in one place, made on demand */
    struct pieces *b;
    uint32_t np;
};

struct seq {
    int64_t n;
    struct val *at;
};
struct pair {
    struct val k, v;
};
struct dict {
    uint32_t n, cap;
    struct pair *at;
    uint32_t *index; /* open addressing, cap slots of position + 1; NULL when small */
    uint32_t mask;
};
struct big { /* |value| in limbs of 64 bits, little end first, no leading zeros */
    int neg, n;
    unsigned long d[];
};
struct range {
    int64_t start, stop, step, n;
};
struct method {
    struct val self;
    const struct fn *fn;
};
struct frame { /* one activation of a function; slots of the functions around it are reached by `up` */
    struct frame *up;
    struct val slot[];
};
struct macro {
    const struct node *def;
    struct frame *up;
};
struct cycler {
    struct val *at;
    int64_t n, i;
};

/* Iteration over anything iterable; also the state of a generator. */
enum it_kind { IT_SEQ, IT_STR, IT_RANGE, IT_KEYS, IT_VALUES, IT_ITEMS, IT_ITER, IT_EMPTY, IT_LOOP };
struct it {
    uint8_t kind;
    int back; /* reversed */
    struct val v;
    int64_t i, n;
};
struct iter { /* a generator; next yields one value or *more = 0 */
    err_code (*next)(struct tmpl_run *r, struct iter *g, struct val *out, int *more);
    const char *name;
    struct it src;
    struct val *arg;
    int n_arg, i, flag, done;
    void *p;
};

struct loop {
    struct it src;
    const struct node *node;
    struct frame *frame;
    struct val prev, cur, next; /* T_MISSING = none */
    int64_t index;              /* 0-based */
    int64_t length;             /* -1 = not known yet */
    int depth, peeked, ended;
    struct val last_changed;    /* arguments of ifchanged: a tuple, or T_MISSING */
};

struct kwarg {
    struct str k;
    struct val v;
};
struct args {
    struct val *pos;
    int n;
    struct kwarg *kw;
    int nkw;
};

/* A function of the language: filter, test, method or global. a[0] is the filtered value or self (absent
 * for globals: a[0] is T_MISSING), a[1..] are the parameters, T_MISSING when not given. */
struct fn {
    const char *name;
    err_code (*f)(struct tmpl_run *r, struct val *a, struct val *out);
    const char *params; /* names, separated by one space */
    uint8_t need, flags;
    err_code (*raw)(struct tmpl_run *r, const struct val *self, const struct args *in, struct val *out); /* takes any arguments */
};
enum { FN_POS = 1, FN_MAX_PARAMS = 8 }; /* FN_POS: positional-only */

/* ---- syntax tree -------------------------------------------------------------------------- */

enum node_kind {
    N_DATA, N_OUTPUT, N_FOR, N_IF, N_SET, N_SETBLOCK, N_MACRO, N_CALLBLOCK, N_GENERATION, N_FILTERBLOCK, N_WITH, N_SCOPE, N_BLOCK,
    N_BREAK, N_CONTINUE, N_NOLOADER,
    N_CONST, N_NAME, N_NSREF, N_TUPLE, N_LIST, N_DICT, N_COND, N_AND, N_OR, N_NOT, N_NEG, N_POS, N_ADD, N_SUB, N_MUL, N_DIV, N_FLOORDIV,
    N_MOD, N_POW, N_CONCAT, N_COMPARE, N_ATTR, N_ITEM, N_SLICE, N_CALL, N_FILTER, N_TEST
};
enum cmp_op { CMP_EQ, CMP_NE, CMP_LT, CMP_LE, CMP_GT, CMP_GE, CMP_IN, CMP_NOT_IN };

struct kwnode {
    struct str k;
    struct node *v;
};
struct load { /* what a slot gets when its scope is entered */
    int slot, hops, from; /* hops -1: free name `from`; -2: missing; else slot `from` of the hops-th frame up */
};
struct scope {
    struct load *load;
    int n;
};
struct func { /* something with its own frame */
    int n_slots;
};
struct node {
    uint8_t kind, op, store, flags;
    int32_t line;
    int32_t slot, hops; /* N_NAME, N_NSREF: hops -1 = free name `slot` */
    int32_t n, nkw;
    struct node *a, *b, *c, *d;
    struct node **kid;
    struct kwnode *kw;
    struct val v;
    struct str name;       /* NUL-terminated */
    const struct fn *fn;
    struct scope *scope;   /* of the body */
    struct scope *scope2;  /* N_FOR: of the test */
    struct func *func;
    int32_t height;
    int32_t loop_slot, caller_slot, kwargs_slot, varargs_slot; /* -1 = not used */
};
enum { NF_CALLER = 1, NF_KWARGS = 2, NF_VARARGS = 4, NF_RECURSIVE = 8, NF_NEGATED = 16 }; /* node.flags */

struct tmpl {
    struct arena mem;
    const char *name;
    struct node *root;
    struct str *free_name; /* names looked up in the row */
    int n_free;
    int has_generation, surrogates;
    uint64_t serial; /* tells templates apart when an address is used again */
};

/* ---- run ---------------------------------------------------------------------------------- */

struct build { /* a string under construction */
    struct tmpl_run *r;
    struct pieces *b;
    uint32_t np;
    int64_t n;
    char *chunk, *chunk_end;
    const char *org; /* origin of the bytes added with tmpl_b_bytes */
    int ascii, failed;
};

struct field { /* a stretch of row memory with one meaning */
    const char *lo, *hi;
    int32_t message;
    uint8_t kind; /* enum tmpl_kind: what an assistant's byte from here is */
};
struct message {
    const char *lo, *hi; /* row memory */
    struct dict *dict, *bare; /* bare: without train, weight, weights */
    struct str content, reasoning;
    uint8_t assistant, user, has_content;
    struct val train, weight, weights; /* as the row has them, T_MISSING when absent */
};

struct outpiece { /* a stretch of the output, when tracking */
    int64_t at;
    uint32_t n;
    int32_t turn;
    const char *p, *org;
    uint32_t gen;
};
struct genspan {
    int64_t begin, end; /* code points */
};

struct jstack { /* keeps its memory from row to row */
    struct val *at;
    int64_t n, cap;
};

struct tmpl_run {
    struct jstack jstack;
    struct arena mem;        /* the row, then scratch */
    struct tmpl_limits lim;
    const struct tmpl_set *defaults;
    int64_t now_fixed;       /* seconds as if UTC; INT64_MIN = system clock */
    /* the row */
    const char *row_lo, *row_hi;
    char *row_mark;          /* scratch starts here */
    struct dict *vars;       /* the row's "variables"; NULL = none */
    struct hash128 vars_hash; /* of their JSON text */
    struct dict *continued;  /* the last message with the continue tag, in this render */
    struct val messages, tools, documents;
    struct message *msg;
    int64_t n_msg;
    struct field *field;
    int64_t n_field;
    struct str id;
    int64_t cap_msg, cap_field;
    int wants_spans, add_generation_prompt, continue_final, has_row, has_agp;
    int hide;                /* train, weight and weights are hidden from the template */
    int surrogates;          /* a lone surrogate may be about */
    /* the render */
    const struct tmpl *t;
    struct err *e;
    struct val *free_val;
    int line;
    int64_t steps, out_max;
    int depth;
    struct build *sink;      /* NULL: the output itself */
    struct sbuf *out;
    int track;
    int32_t turn;
    uint32_t gen, n_gen;
    struct outpiece *piece;
    int64_t n_piece, cap_piece;
    struct genspan *gspan;
    int64_t n_gspan, cap_gspan;
    int64_t cp_at, cp_n;     /* code points counted so far: n of them in the first `at` bytes of out */
    uint64_t n_random;
    struct mask_state *mask; /* of tmpl_mask; NULL before the first */
};

static inline void *tmpl_mem(struct tmpl_run *r, int64_t bytes)
{
    bytes = (bytes + 7) & ~7LL;
    if (bytes > r->mem.end - r->mem.at)
        return NULL;
    char *p = r->mem.at;
    r->mem.at += bytes;
    return p;
}
static inline void tmpl_copy(void *to, const void *from, size_t n)
{
    if (n) /* empty arrays may be NULL, which memcpy does not take */
        memcpy(to, from, n);
}
err_code tmpl_full(struct tmpl_run *r); /* ERR_LIMIT: memory */
#define MEM(r, p, count)                                                          \
    do {                                                                          \
        if (!((p) = tmpl_mem((r), (int64_t)sizeof *(p) * (int64_t)(count))))      \
            return tmpl_full(r);                                                  \
    } while (0)

/* Fails with "Kind: text"; returns ERR_DATA. */
err_code tmpl_fail(struct tmpl_run *r, const char *kind, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
err_code tmpl_limit(struct tmpl_run *r, const char *what);
/* Counts work; every loop in the engine that the template can lengthen calls it. */
static inline err_code tmpl_step(struct tmpl_run *r, int64_t n)
{
    r->steps -= n;
    return r->steps < 0 ? tmpl_limit(r, "steps") : ERR_OK;
}
err_code tmpl_deeper(struct tmpl_run *r); /* r->depth++; the caller undoes it on success */

/* ---- constructors ------------------------------------------------------------------------- */

#define NONE ((struct val){.tag = T_NONE})
static inline struct val v_bool(int b) { return (struct val){.tag = T_BOOL, .i = b != 0}; }
static inline struct val v_int(int64_t i) { return (struct val){.tag = T_INT, .i = i}; }
static inline struct val v_float(double f) { return (struct val){.tag = T_FLOAT, .f = f}; }
static inline struct val v_lit(const char *s) { return (struct val){.tag = T_STR, .flags = VF_ASCII, .n = (uint32_t)strlen(s), .s = s}; }
static inline struct val v_hint(const char *s) { return (struct val){.tag = T_UNDEF, .flags = U_HINT, .s = s}; }
struct val tmpl_view(const char *p, int64_t n); /* finds out whether it is ASCII */
err_code tmpl_seq_new(struct tmpl_run *r, uint8_t tag, int64_t n, struct val *out); /* n unset items */
err_code tmpl_tuple2(struct tmpl_run *r, struct val a, struct val b, struct val *out);
struct str tmpl_cstr(struct tmpl_run *r, struct str s); /* NUL-terminated copy in scratch, "" when full */

/* ---- strings (tmpl_str.c) ----------------------------------------------------------------- */

struct str tmpl_flat(struct tmpl_run *r, struct val *v); /* bytes in one place; p NULL past the memory limit */
#define FLAT(r, v, out)                                  \
    do {                                                 \
        (out) = tmpl_flat((r), (v));                     \
        if (!(out).p)                                    \
            return tmpl_full(r);                         \
    } while (0)
err_code tmpl_cut(struct tmpl_run *r, struct val s, int64_t from, int64_t to, struct val *out); /* bytes [from, to) */
err_code tmpl_cat(struct tmpl_run *r, struct val a, struct val b, struct val *out);
const char *tmpl_origin(struct tmpl_run *r, struct val v); /* address in the row, or NULL */
int64_t tmpl_len_cp(struct str s, int ascii);               /* code points */
int64_t tmpl_cp_to_byte(struct str s, int64_t cp);          /* clamped */
void tmpl_b_init(struct build *b, struct tmpl_run *r);
void tmpl_b_bytes(struct build *b, const char *p, int64_t n); /* copied */
void tmpl_b_adds(struct build *b, const char *s);
void tmpl_b_cp(struct build *b, uint32_t cp);
void tmpl_b_view(struct build *b, const char *p, int64_t n, const char *org, int32_t turn, uint32_t gen); /* not copied */
void tmpl_b_val(struct build *b, struct val str);
err_code tmpl_b_end(struct build *b, struct val *out);
/* Text computed from a string: its origin is the whole of `from`. */
void tmpl_b_from(struct build *b, struct val from);
uint32_t tmpl_wtf8(struct str s, int64_t at, int *n);        /* decodes, surrogates included; n >= 1 always */

/* ---- values (tmpl_value.c) ---------------------------------------------------------------- */

const char *tmpl_type(struct val v); /* Python's type name */
int tmpl_truth(struct tmpl_run *r, struct val v);
err_code tmpl_eq(struct tmpl_run *r, struct val a, struct val b, int *out);
err_code tmpl_cmp(struct tmpl_run *r, enum cmp_op op, struct val a, struct val b, int *out); /* LT LE GT GE */
err_code tmpl_in(struct tmpl_run *r, struct val x, struct val set, int *out);
err_code tmpl_hash(struct tmpl_run *r, struct val v, uint64_t *out);
err_code tmpl_undef(struct tmpl_run *r, struct val v); /* the error of using it */
err_code tmpl_len(struct tmpl_run *r, struct val v, int64_t *out);
err_code tmpl_sort(struct tmpl_run *r, struct val *item, struct val *key, int64_t n, int reverse);
err_code tmpl_dict_new(struct tmpl_run *r, int64_t cap, struct val *out);
err_code tmpl_dict_put(struct tmpl_run *r, struct dict *d, struct val k, struct val v);
err_code tmpl_dict_get(struct tmpl_run *r, const struct dict *d, struct val k, struct val *out); /* T_MISSING when absent */
struct val *tmpl_dict_str(const struct dict *d, struct str k);                                  /* NULL when absent */
err_code tmpl_index(struct tmpl_run *r, struct val v, const char *what, int64_t *out); /* an int argument, clamped to int64 */

/* ---- iteration (tmpl_iter.c) --------------------------------------------------------------- */

err_code tmpl_iter(struct tmpl_run *r, struct val v, struct it *it);
err_code tmpl_next(struct tmpl_run *r, struct it *it, struct val *out, int *more);
err_code tmpl_list(struct tmpl_run *r, struct val v, struct val *out); /* T_LIST of its items; a list is not copied */
err_code tmpl_gen(struct tmpl_run *r, const char *name, err_code (*next)(struct tmpl_run *, struct iter *, struct val *, int *), struct val src,
                  struct val *out);

/* ---- numbers (tmpl_num.c, tmpl_big.c) ------------------------------------------------------ */

err_code tmpl_arith(struct tmpl_run *r, enum node_kind op, struct val a, struct val b, struct val *out);
err_code tmpl_neg(struct tmpl_run *r, struct val a, struct val *out);
int tmpl_is_num(struct val v); /* bool, int, big, float */
err_code tmpl_to_float(struct tmpl_run *r, struct val v, double *out);
err_code tmpl_num_text(struct tmpl_run *r, struct build *b, struct val v); /* repr of a number */
int tmpl_float_repr(double f, char buf[40]);
/* int(text, base); *ok = 0: not a number. */
err_code tmpl_int_of(struct tmpl_run *r, struct str s, int base, struct val *out, int *ok);
err_code tmpl_int_digits(struct tmpl_run *r, struct str digits, int base, int neg, struct val *out);
int tmpl_float_of(struct str s, double *out); /* float(text) */
err_code tmpl_float_to_int(struct tmpl_run *r, double f, struct val *out); /* truncates */
int tmpl_num_cmp(struct tmpl_run *r, struct val a, struct val b, int *unordered); /* -1 0 1 */
err_code tmpl_big_arith(struct tmpl_run *r, enum node_kind op, struct val a, struct val b, struct val *out);
err_code tmpl_big_text(struct tmpl_run *r, struct build *b, struct val v, int base);
double tmpl_big_double(struct val v, int *overflow);
int tmpl_big_cmp(struct val a, struct val b);
int64_t tmpl_big_bits(struct val v);

/* ---- text of values (tmpl_repr.c, tmpl_json.c, tmpl_format.c, tmpl_time.c) ------------------ */

err_code tmpl_str(struct tmpl_run *r, struct val v, struct val *out); /* str(v) */
err_code tmpl_repr(struct tmpl_run *r, struct build *b, struct val v);
err_code tmpl_escape(struct tmpl_run *r, struct val v, struct val *out); /* markupsafe.escape */
struct dump_opts {
    int ascii, sort, has_indent;
    struct str indent, item_sep, key_sep;
};
err_code tmpl_dump(struct tmpl_run *r, struct build *b, struct val v, const struct dump_opts *o);
err_code tmpl_percent(struct tmpl_run *r, struct val fmt, struct val arg, struct val *out);
err_code tmpl_format(struct tmpl_run *r, struct val fmt, const struct args *in, struct val *out);
err_code tmpl_format_value(struct tmpl_run *r, struct build *b, struct val v, struct str spec);
err_code tmpl_strftime(struct tmpl_run *r, struct val fmt, struct val *out);
err_code tmpl_parse_now(const char *iso, int64_t *out, struct err *e);

/* ---- Unicode (tmpl_uni.c), as Python's str has it ------------------------------------------ */

enum uni_class { UNI_ALPHA, UNI_DECIMAL, UNI_DIGIT, UNI_NUMERIC, UNI_SPACE, UNI_PRINTABLE, UNI_UPPER, UNI_LOWER, UNI_TITLE, UNI_CASED,
                 UNI_IGNORABLE, UNI_XID_START, UNI_XID_CONTINUE };
int tmpl_uni_is(uint32_t cp, enum uni_class c);
enum uni_map { UNI_TO_UPPER, UNI_TO_LOWER, UNI_TO_TITLE, UNI_FOLD };
int tmpl_uni_map(uint32_t cp, enum uni_map m, uint32_t out[3]); /* number of code points */
int tmpl_uni_digit_value(uint32_t cp);                              /* 0..9, or -1 */

/* ---- access and calls (tmpl_attr.c, tmpl_call.c) ------------------------------------------- */

err_code tmpl_getattr(struct tmpl_run *r, struct val obj, struct str name, struct val *out);
err_code tmpl_getitem(struct tmpl_run *r, struct val obj, struct val key, struct val *out);
err_code tmpl_getslice(struct tmpl_run *r, struct val obj, struct val from, struct val to, struct val step, struct val *out);
const struct fn *tmpl_method_of(struct val obj, struct str name); /* NULL: no such method */
err_code tmpl_call(struct tmpl_run *r, struct val f, const struct args *in, struct val *out);
err_code tmpl_call_fn(struct tmpl_run *r, const struct fn *f, const struct val *self, const struct args *in, struct val *out);
err_code tmpl_bind(struct tmpl_run *r, const struct fn *f, const struct args *in, struct val *slot);
const struct fn *tmpl_filter(struct str name);
const struct fn *tmpl_test(struct str name);
const struct fn *tmpl_global(struct str name);
extern const struct fn tmpl_str_methods[], tmpl_list_methods[], tmpl_tuple_methods[], tmpl_dict_methods[], tmpl_int_methods[],
    tmpl_float_methods[], tmpl_range_methods[], tmpl_loop_methods[], tmpl_cycler_methods[];
extern const struct fn tmpl_filters_text[], tmpl_filters_seq[], tmpl_filters_misc[];
const struct fn *tmpl_find_fn(const struct fn *table, struct str name);
err_code tmpl_attr_path(struct tmpl_run *r, struct val obj, struct val path, struct val *out); /* make_attrgetter */

/* ---- compile and run ----------------------------------------------------------------------- */

struct parser;
err_code tmpl_parse(struct tmpl *t, struct str source, struct err *e); /* sets root */
err_code tmpl_bind_names(struct tmpl *t, struct err *e);               /* slots, scopes, free names */
err_code tmpl_exec(struct tmpl_run *r);                                /* the root, into the sink */
err_code tmpl_eval(struct tmpl_run *r, struct frame *f, const struct node *n, struct val *out);
err_code tmpl_body(struct tmpl_run *r, struct frame *f, struct node *const *kid, int n, int *jump);
err_code tmpl_call_macro(struct tmpl_run *r, const struct macro *m, const struct args *in, struct val *out);
err_code tmpl_call_loop(struct tmpl_run *r, struct loop *l, const struct args *in, struct val *out);
err_code tmpl_loop_peek(struct tmpl_run *r, struct loop *l);
err_code tmpl_loop_length(struct tmpl_run *r, struct loop *l, int64_t *out);
err_code tmpl_emit(struct tmpl_run *r, struct val str);
err_code tmpl_assign(struct tmpl_run *r, struct frame *f, const struct node *target, struct val v);
/* tmpl_render with provenance when track is set. */
err_code tmpl_run_render(struct tmpl_run *r, const struct tmpl *t, int track, struct sbuf *out, struct err *e);
void tmpl_mask_release(struct tmpl_run *r);
err_code tmpl_set_var(struct tmpl_run *r, const struct tmpl_set *s, struct str name, struct val *out); /* T_MISSING: no such token */

/* ---- lexer (tmpl_lex.c) -------------------------------------------------------------------- */

enum tok_kind { K_DATA, K_VAR_BEGIN, K_VAR_END, K_BLOCK_BEGIN, K_BLOCK_END, K_NAME, K_STRING, K_INT, K_FLOAT, K_OP, K_EOF };
struct token {
    uint8_t kind;
    char op[3]; /* K_OP: its text */
    int line;
    struct str text; /* K_DATA, K_NAME, K_STRING (unescaped), K_INT, K_FLOAT */
};
err_code tmpl_lex(struct tmpl *t, struct str source, struct token **out, int *n, struct err *e);

#endif
