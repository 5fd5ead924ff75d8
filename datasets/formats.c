/* Formats of rows. docs/data-formats.md has the table this file implements. */
#include "datasets/formats.h"

#include <stdio.h>

const char *const data_kind_name[N_KINDS] = {"chat", "prompt", "pair", "text"};

const char *data_format_name(enum data_format f)
{
    static const char *const names[] = {
        "auto",
#define X(name, help) #name,
        DATA_FORMATS(X)
#undef X
    };
    assert((unsigned)f < DATA_N_FORMATS);
    return names[f];
}

/* Every top-level field that a format gives a meaning; the others are kept in "meta". */
#define FIELDS(X)                                                                                                    \
    X(messages) X(conversations) X(conversation) X(system) X(system_prompt) X(tools) X(documents) X(variables)       \
    X(chat_template_kwargs) X(instruction) X(input) X(output) X(history) X(prompt) X(question) X(problem) X(query)   \
    X(completion) X(response) X(answer) X(gold) X(ground_truth) X(expected_answer) X(final_answer)                   \
    X(reference_answer) X(solution) X(target) X(reward_model) X(chosen) X(rejected) X(text) X(meta)
enum field {
#define X(name) F_##name,
    FIELDS(X)
#undef X
    N_FIELDS
};
static const struct str field_name[N_FIELDS] = {
#define X(name) {#name, sizeof #name - 1},
    FIELDS(X)
#undef X
};

static int field_find(struct str name)
{
    for (int f = 0; f < N_FIELDS; f++)
        if (field_name[f].n == name.n && !memcmp(field_name[f].p, name.p, (size_t)name.n))
            return f;
    return -1;
}

err_code data_map_parse(const char *text, struct data_map *m, struct err *e)
{
    struct str rest = str_of(text), one;
    *m = (struct data_map){0};
    while (str_split(&rest, ',', &one)) {
        struct str from = str_trim(one), field;
        if (!from.n)
            continue;
        str_split(&from, '=', &field);
        if (!from.p || !from.n)
            return err_set(e, ERR_USAGE, "map: '%.*s' is not FIELD=FIELD-OF-THE-FILE", STR_ARG(one));
        if (field_find(field) < 0)
            return err_set(e, ERR_USAGE, "map: no format has a field '%.*s'; hint: prompt, completion, answer, system, messages, "
                                         "chosen, rejected, text, ...", STR_ARG(field));
        if (m->n == MAP_MAX)
            return err_set(e, ERR_USAGE, "map: more than %d fields", MAP_MAX);
        m->field[m->n] = field;
        m->from[m->n++] = from;
    }
    return ERR_OK;
}

void data_reader_init(struct data_reader *r, enum data_format format, const struct data_map *map)
{
    *r = (struct data_reader){.format = format, .map = map};
    sbuf_init(&r->fold, 1LL << 31);
    sbuf_init(&r->part, 1LL << 31);
}

void data_reader_release(struct data_reader *r)
{
    data_tape_release(&r->tape);
    sbuf_release(&r->fold);
    sbuf_release(&r->part);
}

struct hash128 data_item_hash(const char *kind, struct str body)
{
    struct hash_state *h = hash_open();
    hash_field(h, kind, (int64_t)strlen(kind));
    hash_field(h, body.p, body.n);
    return hash_close(h);
}

/* ---- the row being read ------------------------------------------------------------------- */

struct row {
    struct data_reader *r;
    const struct tape *t;
    struct sbuf *out;
    struct err *e;
    int32_t field[N_FIELDS];  /* value node, or -1 */
    uint8_t taken[N_FIELDS];  /* has its place in the item; the others go to meta */
    int members;              /* written into the item */
    int messages;             /* written into the list that is open */
    int ends_with_assistant, answered; /* answered: an assistant turn came, the prompt is over */
};

static enum tape_type type_of(const struct row *w, int32_t node)
{
    return w->t->node[node].type;
}

static int has(const struct row *w, enum field f)
{
    return w->field[f] >= 0 && type_of(w, w->field[f]) != TAPE_NULL;
}

static int32_t take(struct row *w, enum field f)
{
    w->taken[f] = 1;
    return w->field[f];
}

/* First of several names for one thing; N_FIELDS when none is there. */
static enum field any_of(const struct row *w, const enum field *names, int n)
{
    for (int i = 0; i < n; i++)
        if (has(w, names[i]))
            return names[i];
    return N_FIELDS;
}
#define ANY(w, ...) any_of((w), (const enum field[]){__VA_ARGS__}, (int)(sizeof((const enum field[]){__VA_ARGS__}) / sizeof(enum field)))
#define PROMPTS F_prompt, F_question, F_problem, F_query
#define GOLDS F_answer, F_gold, F_ground_truth, F_expected_answer, F_final_answer, F_reference_answer

static int32_t reward_gold(const struct row *w)
{
    int32_t g = has(w, F_reward_model) ? data_tape_get(w->t, w->field[F_reward_model], "ground_truth") : -1;
    return g >= 0 && type_of(w, g) != TAPE_NULL ? g : -1;
}

static err_code find_fields(struct row *w)
{
    const struct tape *t = w->t;
    const struct data_map *m = w->r->map;
    uint8_t mapped[N_FIELDS] = {0};
    memset(w->field, 0xff, sizeof w->field);
    if (type_of(w, 0) != TAPE_OBJECT)
        return err_set(w->e, ERR_DATA, "not a JSON object");
    if (t->node[0].n > 1000)
        return err_set(w->e, ERR_DATA, "more than 1000 fields");
    int32_t again = data_tape_repeated(t, 0);
    if (again >= 0)
        return err_set(w->e, ERR_DATA, "field \"%.*s\" is there twice", STR_ARG(data_tape_raw(t, again)));
    for (int32_t i = 1; i < t->node[0].next; i = t->node[i + 1].next) {
        struct str name = data_tape_raw(t, i);
        int f = field_find(name);
        for (int k = 0; m && k < m->n; k++)
            if (str_eq(name, m->from[k])) {
                f = field_find(m->field[k]);
                mapped[f] = 1;
                w->field[f] = i + 1;
            }
        if (f >= 0 && !mapped[f])
            w->field[f] = i + 1;
    }
    for (int k = 0; m && k < m->n; k++)
        if (!mapped[field_find(m->field[k])])
            return err_set(w->e, ERR_DATA, "no field \"%.*s\", which the map names", STR_ARG(m->from[k]));
    return ERR_OK;
}

/* ---- writing messages --------------------------------------------------------------------- */

/* Case and runs of white space do not tell prompts apart. */
static void fold(struct row *w, int32_t string)
{
    struct sbuf *to = &w->r->fold, *from = &w->r->part;
    sbuf_clear(from);
    data_tape_text(from, w->t, string);
    char *p = sbuf_room(to, from->n + 1);
    if (!p || from->full)
        return;
    int64_t n = 0;
    if (to->n)
        p[n++] = '\n';
    for (int64_t i = 0; i < from->n; i++) {
        char c = from->p[i];
        if (c == ' ' || (c >= '\t' && c <= '\r')) {
            if (n && p[n - 1] != ' ' && p[n - 1] != '\n')
                p[n++] = ' ';
        } else {
            p[n++] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
        }
    }
    if (n && p[n - 1] == ' ')
        n--;
    to->n += n;
}

/* Text of a message that belongs to the prompt. */
static void fold_content(struct row *w, int32_t content)
{
    if (type_of(w, content) == TAPE_STRING) {
        fold(w, content);
        return;
    }
    if (type_of(w, content) != TAPE_ARRAY)
        return;
    for (int32_t i = content + 1; i < w->t->node[content].next; i = w->t->node[i].next) {
        int32_t text = data_tape_get(w->t, i, "text");
        if (text >= 0 && type_of(w, text) == TAPE_STRING)
            fold(w, text);
    }
}

static void message_begin(struct row *w, const char *role)
{
    sbuf_adds(w->out, w->messages++ ? ",{\"role\":\"" : "{\"role\":\"");
    sbuf_adds(w->out, role);
    sbuf_adds(w->out, "\",\"content\":");
    w->ends_with_assistant = !strcmp(role, "assistant");
    w->answered |= w->ends_with_assistant;
}

/* A string as a whole message. */
static err_code message_text(struct row *w, const char *role, int32_t node, const char *what)
{
    if (type_of(w, node) != TAPE_STRING)
        return err_set(w->e, ERR_DATA, "%s is not a string", what);
    if (w->t->node[node].begin == w->t->node[node].end)
        return err_set(w->e, ERR_DATA, "%s is empty", what);
    message_begin(w, role);
    data_tape_put(w->out, w->t, node);
    sbuf_addc(w->out, '}');
    if (!w->answered && strcmp(role, "system"))
        fold(w, node);
    return ERR_OK;
}

static err_code check_parts(struct row *w, int32_t content, int at)
{
    for (int32_t i = content + 1; i < w->t->node[content].next; i = w->t->node[i].next) {
        int32_t type = data_tape_get(w->t, i, "type"), text = data_tape_get(w->t, i, "text");
        if (type_of(w, i) == TAPE_STRING)
            continue;
        if (type >= 0 && type_of(w, type) == TAPE_STRING && !data_tape_is(w->t, type, "text"))
            return err_set(w->e, ERR_DATA, "message %d: a content part of type \"%.*s\"; only text is supported", at,
                           STR_ARG(data_tape_raw(w->t, type)));
        if (text < 0 || type_of(w, text) != TAPE_STRING)
            return err_set(w->e, ERR_DATA, "message %d: a content part without text", at);
    }
    return ERR_OK;
}

static int filled(const struct row *w, int32_t node)
{
    if (node < 0 || type_of(w, node) == TAPE_NULL)
        return 0;
    const struct tape_node *v = &w->t->node[node];
    return v->type == TAPE_STRING ? v->end > v->begin : v->type < TAPE_STRING || v->n > 0;
}

/* What an assistant turn can consist of beside content. */
static int says_more(const struct row *w, int32_t message)
{
    static const char *const names[] = {"tool_calls", "reasoning_content", "reasoning", "thinking", "function_call"};
    for (int i = 0; i < 5; i++)
        if (filled(w, data_tape_get(w->t, message, names[i])))
            return 1;
    return 0;
}

static err_code check_content(struct row *w, int32_t message, int32_t content, int assistant)
{
    int at = w->messages + 1;
    enum tape_type type = content < 0 ? TAPE_NULL : type_of(w, content);
    if (type == TAPE_ARRAY)
        TRY(check_parts(w, content, at));
    else if (type != TAPE_STRING && type != TAPE_NULL)
        return err_set(w->e, ERR_DATA, "message %d: content is neither a string nor a list", at);
    if (assistant && !filled(w, content) && !says_more(w, message))
        return err_set(w->e, ERR_DATA, "message %d: the assistant says nothing", at);
    if (!assistant && type == TAPE_NULL)
        return err_set(w->e, ERR_DATA, "message %d: no content", at);
    return ERR_OK;
}

/* Members but the two named ones, as ,"key":value. */
static void put_rest(struct row *w, int32_t object, int32_t skip_a, int32_t skip_b)
{
    for (int32_t i = object + 1; i < w->t->node[object].next; i = w->t->node[i + 1].next) {
        if (i + 1 == skip_a || i + 1 == skip_b)
            continue;
        sbuf_adds(w->out, ",\"");
        data_tape_put_inside(w->out, w->t, i);
        sbuf_adds(w->out, "\":");
        data_tape_put(w->out, w->t, i + 1);
    }
}

/* A message object, {role, content} first. */
static err_code message_object(struct row *w, int32_t m)
{
    int at = w->messages + 1;
    if (type_of(w, m) != TAPE_OBJECT)
        return err_set(w->e, ERR_DATA, "message %d is not an object", at);
    if (w->t->node[m].n > 100 || data_tape_repeated(w->t, m) >= 0)
        return err_set(w->e, ERR_DATA, "message %d: a field is there twice, or there are over 100", at);
    int32_t role = data_tape_get(w->t, m, "role"), content = data_tape_get(w->t, m, "content");
    if (role < 0 || type_of(w, role) != TAPE_STRING || !filled(w, role))
        return err_set(w->e, ERR_DATA, "message %d: no role", at);
    int assistant = data_tape_is(w->t, role, "assistant"), system = data_tape_is(w->t, role, "system");
    TRY(check_content(w, m, content, assistant));
    sbuf_adds(w->out, w->messages++ ? ",{\"role\":\"" : "{\"role\":\"");
    data_tape_put_inside(w->out, w->t, role);
    sbuf_adds(w->out, "\"");
    if (content >= 0) {
        sbuf_adds(w->out, ",\"content\":");
        data_tape_put(w->out, w->t, content);
    }
    put_rest(w, m, role, content);
    sbuf_addc(w->out, '}');
    w->ends_with_assistant = assistant;
    w->answered |= assistant;
    if (!w->answered && !system && content >= 0)
        fold_content(w, content);
    return ERR_OK;
}

static err_code messages(struct row *w, int32_t list, const char *what)
{
    if (type_of(w, list) != TAPE_ARRAY)
        return err_set(w->e, ERR_DATA, "%s is not a list of messages", what);
    if (w->t->node[list].n == 0)
        return err_set(w->e, ERR_DATA, "%s is empty", what);
    for (int32_t i = list + 1; i < w->t->node[list].next; i = w->t->node[i].next)
        TRY(message_object(w, i));
    return ERR_OK;
}

/* A string or a list of messages. */
static err_code text_or_messages(struct row *w, int32_t node, const char *role, const char *what)
{
    if (type_of(w, node) == TAPE_ARRAY)
        return messages(w, node, what);
    return message_text(w, role, node, what);
}

/* The system field as a first message; the list that follows must not have one of its own. */
static err_code system_first(struct row *w, int32_t list)
{
    enum field f = ANY(w, F_system, F_system_prompt);
    if (f == N_FIELDS || !filled(w, w->field[f])) {
        if (f != N_FIELDS)
            take(w, f);
        return ERR_OK;
    }
    if (list >= 0 && type_of(w, list) == TAPE_ARRAY && w->t->node[list].n > 0) {
        int32_t role = data_tape_get(w->t, list + 1, "role");
        if (role < 0)
            role = data_tape_get(w->t, list + 1, "from");
        if (role >= 0 && type_of(w, role) == TAPE_STRING && data_tape_is(w->t, role, "system"))
            return err_set(w->e, ERR_DATA, "a field \"%s\" and a system message", field_name[f].p);
    }
    return message_text(w, "system", take(w, f), field_name[f].p);
}

static void list_begin(struct row *w, const char *name)
{
    sbuf_addf(w->out, w->members++ ? ",\"%s\":[" : "\"%s\":[", name);
    w->messages = 0;
}

/* ---- formats ------------------------------------------------------------------------------ */

static err_code read_openai(struct row *w)
{
    enum field f = ANY(w, F_messages, F_conversations, F_conversation);
    if (f == N_FIELDS)
        return err_set(w->e, ERR_DATA, "no messages");
    list_begin(w, "messages");
    TRY(system_first(w, w->field[f]));
    TRY(messages(w, take(w, f), field_name[f].p));
    sbuf_addc(w->out, ']');
    return ERR_OK;
}

/* {"name","arguments"} (or a list of them) in the text of a function_call turn -> tool_calls. */
static err_code tool_calls(struct row *w, int32_t value, int at)
{
    struct tape inner = {0};
    struct sbuf text;
    sbuf_init(&text, 1LL << 31);
    data_tape_text(&text, w->t, value);
    err_code rc = data_tape_parse(&inner, sbuf_str(&text), NULL);
    int list = rc == ERR_OK && inner.node[0].type == TAPE_ARRAY;
    int32_t end = rc == ERR_OK ? inner.node[0].next : 0;
    if (rc == ERR_OK && list && inner.node[0].n == 0)
        rc = ERR_DATA;
    if (rc == ERR_OK) {
        message_begin(w, "assistant");
        sbuf_adds(w->out, "\"\",\"tool_calls\":[");
    }
    for (int32_t i = list ? 1 : 0; rc == ERR_OK && i < end; i = inner.node[i].next) {
        int32_t name = data_tape_get(&inner, i, "name"), arguments = data_tape_get(&inner, i, "arguments");
        if (name < 0 || arguments < 0 || inner.node[name].type != TAPE_STRING) {
            rc = ERR_DATA;
            break;
        }
        sbuf_adds(w->out, i > 1 ? ",{\"type\":\"function\",\"function\":{\"name\":" : "{\"type\":\"function\",\"function\":{\"name\":");
        data_tape_put(w->out, &inner, name);
        sbuf_adds(w->out, ",\"arguments\":");
        data_tape_put(w->out, &inner, arguments);
        sbuf_adds(w->out, "}}");
    }
    sbuf_adds(w->out, "]}");
    data_tape_release(&inner);
    sbuf_release(&text);
    return rc == ERR_OK ? ERR_OK : err_set(w->e, ERR_DATA, "message %d: a function_call is not {\"name\", \"arguments\"}", at);
}

static const char *sharegpt_role(const struct row *w, int32_t from)
{
    static const char *const names[][2] = {
        {"human", "user"}, {"user", "user"}, {"gpt", "assistant"}, {"assistant", "assistant"}, {"model", "assistant"},
        {"bot", "assistant"}, {"chatgpt", "assistant"}, {"bing", "assistant"}, {"bard", "assistant"}, {"system", "system"},
        {"tool", "tool"}, {"observation", "tool"}, {"function_response", "tool"}, {"function_call", "call"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (data_tape_is(w->t, from, names[i][0]))
            return names[i][1];
    return NULL;
}

static err_code sharegpt_message(struct row *w, int32_t m)
{
    int at = w->messages + 1;
    int32_t from = data_tape_get(w->t, m, "from"), value = data_tape_get(w->t, m, "value");
    if (type_of(w, m) != TAPE_OBJECT || from < 0 || value < 0 || type_of(w, from) != TAPE_STRING || type_of(w, value) != TAPE_STRING)
        return err_set(w->e, ERR_DATA, "message %d is not {\"from\", \"value\"} with strings", at);
    if (w->t->node[m].n > 100 || data_tape_repeated(w->t, m) >= 0)
        return err_set(w->e, ERR_DATA, "message %d: a field is there twice, or there are over 100", at);
    const char *role = sharegpt_role(w, from);
    if (!role)
        return err_set(w->e, ERR_DATA, "message %d is from \"%.*s\", which is nobody known", at, STR_ARG(data_tape_raw(w->t, from)));
    if (!strcmp(role, "call"))
        return tool_calls(w, value, at);
    if (!strcmp(role, "assistant") && !filled(w, value) && !says_more(w, m))
        return err_set(w->e, ERR_DATA, "message %d: the assistant says nothing", at);
    message_begin(w, role);
    data_tape_put(w->out, w->t, value);
    put_rest(w, m, from, value);
    sbuf_addc(w->out, '}');
    if (!w->answered && strcmp(role, "system"))
        fold(w, value);
    return ERR_OK;
}

static err_code read_sharegpt(struct row *w)
{
    enum field f = ANY(w, F_conversations, F_conversation, F_messages);
    if (f == N_FIELDS || type_of(w, w->field[f]) != TAPE_ARRAY)
        return err_set(w->e, ERR_DATA, "no list of conversations");
    int32_t list = take(w, f);
    if (w->t->node[list].n == 0)
        return err_set(w->e, ERR_DATA, "%s is empty", field_name[f].p);
    list_begin(w, "messages");
    TRY(system_first(w, list));
    for (int32_t i = list + 1; i < w->t->node[list].next; i = w->t->node[i].next)
        TRY(sharegpt_message(w, i));
    sbuf_addc(w->out, ']');
    return ERR_OK;
}

static err_code alpaca_history(struct row *w)
{
    if (!has(w, F_history))
        return ERR_OK;
    int32_t list = take(w, F_history);
    if (type_of(w, list) != TAPE_ARRAY)
        return err_set(w->e, ERR_DATA, "history is not a list");
    for (int32_t i = list + 1; i < w->t->node[list].next; i = w->t->node[i].next) {
        if (type_of(w, i) != TAPE_ARRAY || w->t->node[i].n != 2)
            return err_set(w->e, ERR_DATA, "history is not a list of [question, answer]");
        TRY(message_text(w, "user", i + 1, "a question in history"));
        TRY(message_text(w, "assistant", w->t->node[i + 1].next, "an answer in history"));
    }
    return ERR_OK;
}

static err_code read_alpaca(struct row *w)
{
    enum field out = ANY(w, F_output, F_response, F_completion);
    if (!has(w, F_instruction) || out == N_FIELDS)
        return err_set(w->e, ERR_DATA, "no %s", has(w, F_instruction) ? "output" : "instruction");
    list_begin(w, "messages");
    TRY(system_first(w, -1));
    TRY(alpaca_history(w));
    int32_t input = has(w, F_input) ? take(w, F_input) : -1;
    if (input >= 0 && type_of(w, input) != TAPE_STRING)
        return err_set(w->e, ERR_DATA, "input is not a string");
    TRY(message_text(w, "user", take(w, F_instruction), "instruction"));
    if (input >= 0 && filled(w, input)) {
        w->out->n -= 2; /* "} */
        sbuf_adds(w->out, "\\n");
        data_tape_put_inside(w->out, w->t, input);
        sbuf_adds(w->out, "\"}");
        if (!w->answered)
            fold(w, input);
    }
    TRY(message_text(w, "assistant", take(w, out), field_name[out].p));
    sbuf_addc(w->out, ']');
    return ERR_OK;
}

static err_code read_prompt_completion(struct row *w)
{
    enum field p = ANY(w, PROMPTS, F_instruction), c = ANY(w, F_completion, F_response, F_output);
    if (p == N_FIELDS || c == N_FIELDS)
        return err_set(w->e, ERR_DATA, "no %s", p == N_FIELDS ? "prompt" : "completion");
    list_begin(w, "messages");
    TRY(system_first(w, w->field[p]));
    TRY(text_or_messages(w, take(w, p), "user", field_name[p].p));
    TRY(text_or_messages(w, take(w, c), "assistant", field_name[c].p));
    sbuf_addc(w->out, ']');
    return w->ends_with_assistant ? ERR_OK : err_set(w->e, ERR_DATA, "%s does not end with an assistant message", field_name[c].p);
}

static err_code read_prompt_answer(struct row *w)
{
    enum field p = ANY(w, PROMPTS);
    if (p == N_FIELDS)
        return err_set(w->e, ERR_DATA, "no prompt");
    list_begin(w, "messages");
    TRY(system_first(w, w->field[p]));
    TRY(text_or_messages(w, take(w, p), "user", field_name[p].p));
    sbuf_addc(w->out, ']');
    return w->ends_with_assistant ? err_set(w->e, ERR_DATA, "%s ends with an assistant message", field_name[p].p) : ERR_OK;
}

/* A message alone, without a trace in the row being built. */
static err_code canonical_message(struct row *w, int32_t m, struct sbuf *out)
{
    struct row alone = *w;
    struct err ignored = {0};
    sbuf_clear(out);
    alone.out = out;
    alone.e = &ignored;
    alone.messages = 0;
    alone.answered = 1; /* nothing of it is folded into the prompt */
    return message_object(&alone, m);
}

/* Messages that two lists share at their beginning. */
static int32_t common_prefix(struct row *w, int32_t a, int32_t b)
{
    const struct tape *t = w->t;
    int32_t i = a + 1, j = b + 1, n = 0;
    struct sbuf x, y;
    sbuf_init(&x, 1LL << 31);
    sbuf_init(&y, 1LL << 31);
    for (; i < t->node[a].next && j < t->node[b].next; i = t->node[i].next, j = t->node[j].next, n++) {
        if (canonical_message(w, i, &x) != ERR_OK || canonical_message(w, j, &y) != ERR_OK || !str_eq(sbuf_str(&x), sbuf_str(&y)))
            break;
    }
    sbuf_release(&x);
    sbuf_release(&y);
    return n;
}

/* Messages [from, to) of a list, as the member `name`. */
static err_code part_of_list(struct row *w, const char *name, int32_t list, int32_t from, int32_t to)
{
    int32_t i = list + 1, at = 0;
    list_begin(w, name);
    for (; i < w->t->node[list].next; i = w->t->node[i].next, at++)
        if (at >= from && at < to)
            TRY(message_object(w, i));
    sbuf_addc(w->out, ']');
    return w->messages ? ERR_OK : err_set(w->e, ERR_DATA, "%s has no message of its own", name);
}

static err_code pair_answer(struct row *w, enum field f, int32_t skip)
{
    int32_t node = take(w, f);
    w->ends_with_assistant = 0;
    if (type_of(w, node) == TAPE_ARRAY) {
        TRY(part_of_list(w, field_name[f].p, node, skip, INT32_MAX));
    } else {
        list_begin(w, field_name[f].p);
        TRY(message_text(w, "assistant", node, field_name[f].p));
        sbuf_addc(w->out, ']');
    }
    return w->ends_with_assistant ? ERR_OK : err_set(w->e, ERR_DATA, "%s does not end with an assistant message", field_name[f].p);
}

/* A list of messages that begins with the assistant: what follows a prompt, not a whole conversation. */
static int answers(const struct row *w, int32_t list)
{
    int32_t role = w->t->node[list].n ? data_tape_get(w->t, list + 1, "role") : -1;
    return role >= 0 && type_of(w, role) == TAPE_STRING && data_tape_is(w->t, role, "assistant");
}

static err_code read_preference(struct row *w)
{
    enum field p = ANY(w, PROMPTS, F_instruction);
    if (!has(w, F_chosen) || !has(w, F_rejected))
        return err_set(w->e, ERR_DATA, "no %s", has(w, F_chosen) ? "rejected" : "chosen");
    int32_t a = w->field[F_chosen], b = w->field[F_rejected], skip = 0;
    int lists = type_of(w, a) == TAPE_ARRAY && type_of(w, b) == TAPE_ARRAY;
    if (lists && !(p != N_FIELDS && answers(w, a))) /* answers to the prompt may begin alike */
        skip = common_prefix(w, a, b);
    if (p == N_FIELDS && !lists)
        return err_set(w->e, ERR_DATA, "chosen and rejected are texts, but there is no prompt");
    if (p == N_FIELDS && skip == 0)
        return err_set(w->e, ERR_DATA, "chosen and rejected do not begin with the same messages, and there is no prompt");
    if (lists && skip > 0) { /* full conversations; a prompt field beside them says the same again */
        TRY(part_of_list(w, "prompt", a, 0, skip));
        if (p != N_FIELDS)
            take(w, p);
    } else {
        list_begin(w, "prompt");
        TRY(system_first(w, w->field[p]));
        TRY(text_or_messages(w, take(w, p), "user", field_name[p].p));
        sbuf_addc(w->out, ']');
    }
    w->answered = 1;
    TRY(pair_answer(w, F_chosen, skip));
    return pair_answer(w, F_rejected, skip);
}

static err_code read_text(struct row *w)
{
    if (!has(w, F_text) || type_of(w, w->field[F_text]) != TAPE_STRING || !filled(w, w->field[F_text]))
        return err_set(w->e, ERR_DATA, has(w, F_text) ? "text is empty or not a string" : "no text");
    w->members = 1;
    sbuf_adds(w->out, "\"text\":");
    data_tape_put(w->out, w->t, take(w, F_text));
    fold(w, w->field[F_text]);
    return ERR_OK;
}

/* ---- telling formats apart ---------------------------------------------------------------- */

static enum data_format list_format(const struct row *w, enum field f)
{
    int32_t list = w->field[f];
    if (type_of(w, list) != TAPE_ARRAY || w->t->node[list].n == 0)
        return DATA_openai;
    return data_tape_get(w->t, list + 1, "from") >= 0 && data_tape_get(w->t, list + 1, "role") < 0 ? DATA_sharegpt : DATA_openai;
}

/* Most telling fields first. DATA_AUTO: none of them. */
static enum data_format detect(const struct row *w)
{
    enum field list = ANY(w, F_messages, F_conversations, F_conversation);
    if (has(w, F_chosen) && has(w, F_rejected))
        return DATA_preference;
    if (list != N_FIELDS)
        return list_format(w, list);
    if (has(w, F_instruction) && ANY(w, F_output, F_response, F_completion) != N_FIELDS)
        return DATA_alpaca;
    if (ANY(w, PROMPTS) != N_FIELDS) {
        if (ANY(w, F_completion, F_response) != N_FIELDS)
            return DATA_prompt_completion;
        if (ANY(w, GOLDS, F_solution, F_target) != N_FIELDS || reward_gold(w) >= 0)
            return DATA_prompt_answer;
    }
    return has(w, F_text) ? DATA_text : DATA_AUTO;
}

static err_code unknown_format(const struct row *w)
{
    char names[200] = "";
    size_t n = 0;
    for (int32_t i = 1; i < w->t->node[0].next && n < sizeof names - 60; i = w->t->node[i + 1].next) {
        struct str k = data_tape_raw(w->t, i);
        n += (size_t)snprintf(names + n, sizeof names - n, "%s%.*s", n ? ", " : "", (int)(k.n < 40 ? k.n : 40), k.p);
    }
    if (ANY(w, PROMPTS) != N_FIELDS)
        return err_set(w->e, ERR_DATA, "a prompt with neither completion nor answer (fields: %s); hint: --map names other fields, "
                                       "--format prompt_answer takes prompts alone", names);
    return err_set(w->e, ERR_DATA, "no known format (fields: %s); hint: --map prompt=FIELD,completion=FIELD", names[0] ? names : "none");
}

/* ---- what follows the messages ------------------------------------------------------------ */

static void put_member(struct row *w, const char *name, int32_t node)
{
    sbuf_addf(w->out, ",\"%s\":", name);
    data_tape_put(w->out, w->t, node);
}

/* tools and documents: a list, or a list as text (the spelling of some files). */
static err_code put_list(struct row *w, enum field f)
{
    int32_t node = has(w, f) ? take(w, f) : -1;
    if (node < 0 || !filled(w, node))
        return ERR_OK;
    if (type_of(w, node) == TAPE_ARRAY) {
        put_member(w, field_name[f].p, node);
        return ERR_OK;
    }
    struct tape inner = {0};
    struct sbuf text;
    sbuf_init(&text, 1LL << 31);
    if (type_of(w, node) == TAPE_STRING)
        data_tape_text(&text, w->t, node);
    int good = data_tape_parse(&inner, sbuf_str(&text), NULL) == ERR_OK && inner.node[0].type == TAPE_ARRAY;
    if (good && inner.node[0].n > 0) {
        sbuf_addf(w->out, ",\"%s\":", field_name[f].p);
        data_tape_put(w->out, &inner, 0);
    }
    data_tape_release(&inner);
    sbuf_release(&text);
    return good ? ERR_OK : err_set(w->e, ERR_DATA, "%s is not a list", field_name[f].p);
}

static err_code put_variables(struct row *w)
{
    enum field f = ANY(w, F_variables, F_chat_template_kwargs);
    if (f == N_FIELDS)
        return ERR_OK;
    if (type_of(w, w->field[f]) != TAPE_OBJECT)
        return err_set(w->e, ERR_DATA, "%s is not an object", field_name[f].p);
    if (filled(w, take(w, f)))
        put_member(w, "variables", w->field[f]);
    return ERR_OK;
}

/* The gold answer: scalars as strings, so that 72 and "72" are one answer. */
static void put_answer(struct row *w, enum data_format format)
{
    enum field f = format == DATA_prompt_answer ? ANY(w, GOLDS, F_solution, F_target) : ANY(w, GOLDS);
    int32_t node = f != N_FIELDS ? take(w, f) : format == DATA_prompt_answer || format == DATA_openai ? reward_gold(w) : -1;
    if (node < 0)
        return;
    if (type_of(w, node) >= TAPE_STRING)
        put_member(w, "answer", node);
    else
        sbuf_addf(w->out, ",\"answer\":\"%.*s\"", STR_ARG(data_tape_raw(w->t, node)));
}

static void put_meta(struct row *w)
{
    const struct tape *t = w->t;
    int n = 0;
    int32_t own = w->field[F_meta];
    if (own >= 0 && type_of(w, own) == TAPE_OBJECT) {
        w->taken[F_meta] = 1;
        for (int32_t i = own + 1; i < t->node[own].next; i = t->node[i + 1].next) {
            sbuf_adds(w->out, n++ ? ",\"" : ",\"meta\":{\"");
            data_tape_put_inside(w->out, t, i);
            sbuf_adds(w->out, "\":");
            data_tape_put(w->out, t, i + 1);
        }
    }
    for (int32_t i = 1; i < t->node[0].next; i = t->node[i + 1].next) {
        int known = 0;
        for (int f = 0; f < N_FIELDS && !known; f++)
            known = w->taken[f] && w->field[f] == i + 1;
        if (known || t->node[i + 1].type == TAPE_NULL)
            continue;
        sbuf_adds(w->out, n++ ? ",\"" : ",\"meta\":{\"");
        data_tape_put_inside(w->out, t, i);
        sbuf_adds(w->out, "\":");
        data_tape_put(w->out, t, i + 1);
    }
    if (n)
        sbuf_addc(w->out, '}');
}

static err_code read_item(struct row *w, struct data_item_info *info)
{
    static err_code (*const readers[DATA_N_FORMATS])(struct row *) = {
#define X(name, help) [DATA_##name] = read_##name,
        DATA_FORMATS(X)
#undef X
    };
    TRY(find_fields(w));
    info->format = w->r->format == DATA_AUTO ? detect(w) : w->r->format;
    if (info->format == DATA_AUTO)
        return unknown_format(w);
    sbuf_addc(w->out, '{');
    TRY(readers[info->format](w));
    info->kind = info->format == DATA_preference ? KIND_PAIR : info->format == DATA_text ? KIND_TEXT : w->ends_with_assistant ? KIND_CHAT : KIND_PROMPT;
    if (info->kind != KIND_TEXT) {
        TRY(put_list(w, F_tools));
        TRY(put_list(w, F_documents));
        TRY(put_variables(w));
        put_answer(w, info->format);
    }
    put_meta(w);
    sbuf_addc(w->out, '}');
    return w->out->full || w->r->fold.full || w->r->part.full ? err_set(w->e, ERR_DATA, "the row is too large") : ERR_OK;
}

err_code data_read_row(struct data_reader *r, struct str line, struct sbuf *out, struct data_item_info *info, struct err *e)
{
    struct err local = {0};
    struct row w = {.r = r, .t = &r->tape, .out = out, .e = e ? e : &local};
    int64_t begin = out->n;
    TRY(data_tape_parse(&r->tape, line, e));
    sbuf_clear(&r->fold);
    err_code rc = read_item(&w, info);
    if (rc != ERR_OK) {
        out->n = begin;
        return rc;
    }
    struct str body = {out->p + begin, out->n - begin};
    struct str prompt = r->fold.n ? sbuf_str(&r->fold) : body;
    info->hash = data_item_hash(data_kind_name[info->kind], body);
    info->prompt = (int64_t)hash_bytes(prompt.p, prompt.n).lo;
    return ERR_OK;
}
