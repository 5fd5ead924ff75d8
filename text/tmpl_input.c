/* Rows: JSON text into values, and which stretch of memory belongs to which message and field. */
#include <stdlib.h>

#include "text/tmpl_jp.h"

static void begin(struct tmpl_run *r, struct err *e)
{
    enum { KEEP = 64 << 20 };
    r->e = e;
    r->t = NULL;
    r->line = r->depth = 0;
    r->steps = r->lim.steps;
    if (arena_used(&r->mem) > KEEP) { /* one huge row must not hold its pages for ever */
        arena_release(&r->mem);
        arena_init(&r->mem, "template row", r->lim.memory);
    }
    arena_reset(&r->mem);
    r->row_lo = r->mem.base;
    r->jstack.n = 0;
    r->vars = NULL;
    r->vars_hash = (struct hash128){0};
    r->messages = r->tools = r->documents = (struct val){.tag = T_MISSING};
    r->n_msg = r->n_field = 0;
    r->id = STR("null");
    r->wants_spans = r->add_generation_prompt = r->continue_final = r->has_row = r->has_agp = r->surrogates = 0;
}

static void finish(struct tmpl_run *r)
{
    r->row_hi = r->row_mark = r->mem.at;
    r->has_row = 1;
}

static err_code grow(struct tmpl_run *r, void *array, int64_t n, int64_t *cap, size_t size)
{
    void **p = array;
    if (n < *cap)
        return ERR_OK;
    int64_t want = *cap ? *cap * 2 : 32;
    void *q = realloc(*p, (size_t)want * size);
    if (!q)
        return tmpl_full(r);
    *p = q;
    *cap = want;
    return ERR_OK;
}

static err_code add_field(struct tmpl_run *r, const char *lo, int32_t message, enum tmpl_kind kind)
{
    if (lo == r->mem.at)
        return ERR_OK;
    TRY(grow(r, &r->field, r->n_field, &r->cap_field, sizeof *r->field));
    r->field[r->n_field++] = (struct field){.lo = lo, .hi = r->mem.at, .message = message, .kind = (uint8_t)kind};
    return ERR_OK;
}

static enum tmpl_kind kind_of(struct val key)
{
    static const struct {
        const char *key;
        enum tmpl_kind kind;
    } kinds[] = {{"content", TMPL_CONTENT}, {"reasoning_content", TMPL_REASONING}, {"reasoning", TMPL_REASONING}, {"thinking", TMPL_REASONING},
                 {"tool_calls", TMPL_TOOL_CALL}};
    struct str k = {key.s, key.n};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (str_eq(k, str_of(kinds[i].key)))
            return kinds[i].kind;
    return TMPL_TEMPLATE;
}

static int hidden_key(struct val k)
{
    struct str s = {k.s, k.n};
    return k.tag == T_STR && (str_eq(s, STR("train")) || str_eq(s, STR("weight")) || str_eq(s, STR("weights")));
}

static struct val member(const struct dict *d, struct str k)
{
    const struct val *v = tmpl_dict_str(d, k);
    return v ? *v : (struct val){.tag = T_MISSING};
}

static int is_text(struct val v, struct str want)
{
    return v.tag == T_STR && str_eq((struct str){v.s, v.n}, want);
}

/* What the mask has to know of a message, and its copy without the keys that only the mask reads. */
static err_code describe(struct tmpl_run *r, struct message *m)
{
    struct val role = member(m->dict, STR("role")), content = member(m->dict, STR("content")), bare;
    m->train = member(m->dict, STR("train"));
    m->weight = member(m->dict, STR("weight"));
    m->weights = member(m->dict, STR("weights"));
    m->assistant = is_text(role, STR("assistant")) || is_text(role, STR("model"));
    m->user = is_text(role, STR("user"));
    if (content.tag == T_STR)
        m->content = (struct str){content.s, content.n};
    m->has_content = content.tag != T_MISSING && tmpl_truth(r, content);
    m->bare = m->dict;
    if (m->train.tag == T_MISSING && m->weight.tag == T_MISSING && m->weights.tag == T_MISSING)
        return ERR_OK;
    TRY(tmpl_dict_new(r, m->dict->n, &bare));
    for (uint32_t i = 0; i < m->dict->n; i++)
        if (!hidden_key(m->dict->at[i].k))
            TRY(tmpl_dict_put(r, bare.dict, m->dict->at[i].k, m->dict->at[i].v));
    m->bare = bare.dict;
    return ERR_OK;
}

static err_code read_message(struct jp *j, struct val *out)
{
    struct tmpl_run *r = j->r;
    struct message m = {.lo = r->mem.at};
    int64_t base = j->stack->n;
    struct val k, v;
    tmpl_jp_space(j);
    if (!(j->p < j->end && *j->p == '{'))
        return tmpl_jp_value(j, out);
    j->p++;
    int more = !tmpl_jp_empty(j, '}');
    while (more) {
        TRY(tmpl_jp_key(j, &k));
        const char *lo = r->mem.at;
        TRY(tmpl_jp_value(j, &v));
        TRY(add_field(r, lo, (int32_t)r->n_msg, kind_of(k)));
        TRY(tmpl_jp_pair(j, k, v));
        TRY(tmpl_jp_more(j, '}', &more));
    }
    TRY(tmpl_jp_dict(j, base, out));
    m.dict = out->dict;
    TRY(describe(r, &m));
    m.hi = r->mem.at;
    TRY(grow(r, &r->msg, r->n_msg, &r->cap_msg, sizeof *r->msg));
    r->msg[r->n_msg++] = m;
    return ERR_OK;
}

static err_code read_messages(struct jp *j)
{
    struct tmpl_run *r = j->r;
    struct val v;
    int64_t base = j->stack->n, n = 0;
    r->n_msg = r->n_field = 0;
    tmpl_jp_space(j);
    if (!(j->p < j->end && *j->p == '['))
        return tmpl_jp_value(j, &r->messages);
    j->p++;
    int more = !tmpl_jp_empty(j, ']');
    for (; more; n++) {
        r->depth = 2;
        TRY(read_message(j, &v));
        TRY(tmpl_jp_pair(j, v, NONE)); /* a stack of pairs serves a list as well */
        TRY(tmpl_jp_more(j, ']', &more));
    }
    r->depth = 0;
    TRY(tmpl_seq_new(r, T_LIST, n, &r->messages));
    for (int64_t i = 0; i < n; i++)
        r->messages.seq->at[i] = j->stack->at[base + 2 * i];
    j->stack->n = base;
    if (r->n_msg != n) /* something in it is not an object: no message can be told */
        r->n_msg = r->n_field = 0;
    return ERR_OK;
}

static err_code read_input(struct jp *j, struct val *out)
{
    const char *lo = j->r->mem.at;
    TRY(tmpl_jp_value(j, out));
    return add_field(j->r, lo, -1, TMPL_INPUT);
}

static err_code read_bool(struct jp *j, const char *key, int *out)
{
    struct val v;
    TRY(tmpl_jp_value(j, &v));
    if (v.tag != T_BOOL && v.tag != T_NONE)
        return err_set(j->r->e, ERR_DATA, "\"%s\" is not true or false", key);
    *out = v.tag == T_BOOL && v.i;
    return ERR_OK;
}

static err_code read_variables(struct jp *j)
{
    struct val v;
    const char *from = j->p;
    TRY(tmpl_jp_value(j, &v));
    if (v.tag == T_NONE)
        return ERR_OK;
    j->r->vars_hash = hash_bytes(from, j->p - from);
    if (v.tag != T_DICT)
        return err_set(j->r->e, ERR_DATA, "\"variables\" is not an object");
    j->r->vars = v.dict;
    return ERR_OK;
}

static err_code read_id(struct jp *j)
{
    struct val v;
    tmpl_jp_space(j);
    const char *from = j->p;
    TRY(tmpl_jp_value(j, &v));
    j->r->id = tmpl_cstr(j->r, (struct str){from, j->p - from});
    return ERR_OK;
}

static err_code read_key(struct jp *j, struct str k)
{
    struct tmpl_run *r = j->r;
    struct val v;
    if (str_eq(k, STR("messages")))
        return read_messages(j);
    if (str_eq(k, STR("tools")))
        return read_input(j, &r->tools);
    if (str_eq(k, STR("documents")))
        return read_input(j, &r->documents);
    if (str_eq(k, STR("add_generation_prompt"))) {
        r->has_agp = 1;
        return read_bool(j, "add_generation_prompt", &r->add_generation_prompt);
    }
    if (str_eq(k, STR("continue_final_message")))
        return read_bool(j, "continue_final_message", &r->continue_final);
    if (str_eq(k, STR("spans")))
        return read_bool(j, "spans", &r->wants_spans);
    if (str_eq(k, STR("variables")))
        return read_variables(j);
    if (str_eq(k, STR("id")))
        return read_id(j);
    return tmpl_jp_value(j, &v); /* other columns of the row are not the template's */
}

static err_code at_end(struct jp *j)
{
    tmpl_jp_space(j);
    return j->p == j->end ? ERR_OK : tmpl_jp_fail(j, "extra data");
}

err_code tmpl_input_json(struct tmpl_run *r, struct str row, struct err *e)
{
    struct val k;
    struct jp j = {.r = r, .stack = &r->jstack, .p = row.p, .end = row.p + row.n, .start = row.p};
    begin(r, e);
    tmpl_jp_space(&j);
    if (!(j.p < j.end && *j.p == '{'))
        return tmpl_jp_fail(&j, "a row is an object");
    j.p++;
    int more = !tmpl_jp_empty(&j, '}');
    while (more) {
        TRY(tmpl_jp_key(&j, &k));
        TRY(read_key(&j, (struct str){k.s, k.n}));
        TRY(tmpl_jp_more(&j, '}', &more));
    }
    TRY(at_end(&j));
    finish(r);
    return ERR_OK;
}

err_code tmpl_input_parts(struct tmpl_run *r, const struct tmpl_parts *p, struct err *e)
{
    const struct {
        const char *key;
        struct str text;
    } part[] = {{"messages", p->messages}, {"tools", p->tools}, {"documents", p->documents}, {"variables", p->variables}};
    begin(r, e);
    for (int i = 0; i < 4; i++) {
        struct jp j = {.r = r, .stack = &r->jstack, .p = part[i].text.p, .end = part[i].text.p + part[i].text.n, .start = part[i].text.p};
        if (!part[i].text.n)
            continue;
        err_code rc = read_key(&j, str_of(part[i].key));
        if (rc == ERR_OK)
            rc = at_end(&j);
        if (rc != ERR_OK)
            return err_ctx(e, "\"%s\"", part[i].key);
    }
    r->has_agp = 1;
    r->add_generation_prompt = p->add_generation_prompt;
    r->continue_final = p->continue_final_message;
    finish(r);
    return ERR_OK;
}

struct str tmpl_input_id(const struct tmpl_run *r)
{
    return r->id;
}

int tmpl_input_wants_spans(const struct tmpl_run *r)
{
    return r->wants_spans;
}

int tmpl_input_has_tools(const struct tmpl_run *r)
{
    return tmpl_truth(NULL, r->tools);
}

int64_t tmpl_input_messages(const struct tmpl_run *r)
{
    return r->messages.tag == T_LIST ? r->messages.seq->n : 0;
}
