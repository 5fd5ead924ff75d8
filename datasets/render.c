/* One item -> text, tokens, one weight per token. */
#include "datasets/render.h"

#include <dirent.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/file.h"
#include "core/json.h"

struct data_render_opts data_render_defaults(void)
{
    return (struct data_render_opts){.which = "all", .reasoning = 1, .tool_calls = 1};
}

/* ---- recipes ------------------------------------------------------------------------------ */

/* Every file the template may come from; a change in any of them is another recipe. */
static err_code hash_file(const char *dir, const char *name, struct hash_state *h, struct err *e)
{
    char path[PATH_MAX];
    struct sbuf b;
    if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path)
        return err_set(e, ERR_IO, "bad path '%s'", dir);
    if (!file_exists(path))
        return ERR_OK;
    sbuf_init(&b, 64 << 20);
    err_code rc = file_read(path, &b, e);
    if (rc == ERR_OK) {
        hash_field(h, name, (int64_t)strlen(name));
        hash_field(h, b.p, b.n);
    }
    sbuf_release(&b);
    return rc;
}

static int jinja(const struct dirent *d)
{
    return str_ends(str_of(d->d_name), STR(".jinja"));
}

static err_code hash_template(const char *dir, struct hash128 *out, struct err *e)
{
    static const char *const names[] = {"chat_template.jinja", "chat_template.json", "tokenizer_config.json", "special_tokens_map.json"};
    char more[PATH_MAX];
    struct dirent **list = NULL;
    struct hash_state *h = hash_open();
    err_code rc = ERR_OK;
    for (int i = 0; i < 4 && rc == ERR_OK; i++)
        rc = hash_file(dir, names[i], h, e);
    snprintf(more, sizeof more, "%s/additional_chat_templates", dir);
    int n = scandir(more, &list, jinja, alphasort);
    for (int i = 0; i < n; i++) {
        if (rc == ERR_OK)
            rc = hash_file(more, list[i]->d_name, h, e);
        free(list[i]);
    }
    free(list);
    *out = hash_close(h);
    return rc;
}

/* Texts that can end a turn: every special token, the folder's eos among them. Reserved ones never occur. */
static void find_stops(struct data_recipe *r)
{
    int32_t n = tok_n_ids(r->tok);
    r->stops = calloc((size_t)n + 1, sizeof *r->stops);
    if (!r->stops)
        BUG("out of memory");
    for (int32_t id = 0; id < n; id++) {
        struct str text = tok_bytes(r->tok, id);
        if ((tok_is_special(r->tok, id) || id == tok_eos(r->tok)) && text.n && str_find(text, STR("reserved"), 0) < 0)
            r->stops[r->mask.n_stops++] = text;
    }
    struct str eos = r->set ? tmpl_special(r->set, "eos_token") : (struct str){0};
    if (eos.n)
        r->stops[r->mask.n_stops++] = eos;
    r->mask.stops = r->stops;
}

static err_code choose_mask(struct data_recipe *r, struct err *e)
{
    const char *which = r->o.which ? r->o.which : "all";
    if (strcmp(which, "all") && strcmp(which, "last") && strcmp(which, "text"))
        return err_set(e, ERR_USAGE, "supervised turns: '%s' is none of all, last, text", which);
    if (!isfinite(r->o.reasoning) || !isfinite(r->o.tool_calls) || r->o.reasoning < 0 || r->o.tool_calls < 0)
        return err_set(e, ERR_USAGE, "weight factors below 0");
    r->mask = tmpl_mask_defaults();
    r->mask.which = !strcmp(which, "all") ? TMPL_ALL_ASSISTANT : !strcmp(which, "last") ? TMPL_LAST_TURN : TMPL_ALL_TEXT;
    r->mask.reasoning = (float)r->o.reasoning;
    r->mask.tool_calls = (float)r->o.tool_calls;
    return ERR_OK;
}

static void name_recipe(struct data_recipe *r)
{
    struct hash128 t = tok_hash(r->tok);
    struct hash_state *h = hash_open();
    snprintf(r->options, sizeof r->options, "version=%d which=%d template=%s reasoning=%.9g tool_calls=%.9g raw=%d now=%s", RENDER_VERSION,
             (int)r->mask.which, r->o.template_name ? r->o.template_name : "", r->o.reasoning, r->o.tool_calls, !!r->o.raw, r->o.now);
    hash_field(h, &t, sizeof t);
    hash_field(h, &r->template, sizeof r->template);
    hash_field(h, r->options, (int64_t)strlen(r->options));
    r->hash = hash_close(h);
}

static err_code open_recipe(struct data_recipe *r, struct err *e)
{
    TRY(choose_mask(r, e));
    if (!r->o.now || !r->o.now[0])
        r->o.now = "2024-07-26T00:00:00";
    if (r->o.template_name && !r->o.template_name[0])
        r->o.template_name = NULL;
    if (!r->tok)
        TRY(tok_load(r->o.model, &r->own, e));
    r->tok = r->tok ? r->tok : r->own;
    if (!r->o.raw) {
        TRY(tmpl_load(r->o.model, &r->set, e));
        TRY(hash_template(r->o.model, &r->template, e));
    }
    find_stops(r);
    if (r->o.raw && tok_eos(r->tok) < 0)
        return err_set(e, ERR_DATA, "'%s' names no end-of-text token (eos_token in tokenizer_config.json), which raw rows end with", r->o.model);
    name_recipe(r);
    return ERR_OK;
}

err_code data_recipe_open(const struct data_render_opts *o, struct data_recipe **out, struct err *e)
{
    struct data_recipe *r = calloc(1, sizeof *r);
    if (!r)
        BUG("out of memory");
    r->o = *o;
    r->tok = o->tok;
    err_code rc = open_recipe(r, e);
    if (rc == ERR_OK)
        *out = r;
    else
        data_recipe_close(r);
    return rc;
}

void data_recipe_close(struct data_recipe *r)
{
    if (!r)
        return;
    tmpl_set_free(r->set);
    tok_free(r->own);
    free(r->stops);
    free(r);
}

/* ---- lanes -------------------------------------------------------------------------------- */

err_code data_lane_open(struct data_lane *l, const struct data_recipe *recipe, struct err *e)
{
    *l = (struct data_lane){.recipe = recipe};
    sbuf_init(&l->text, TEXT_MAX_BYTES);
    sbuf_init(&l->part, TEXT_MAX_BYTES);
    err_code rc = tok_enc_new(recipe->tok, &l->enc, e);
    if (rc == ERR_OK && recipe->set)
        rc = tmpl_run_new(NULL, &l->run, e);
    if (rc == ERR_OK && l->run) {
        tmpl_run_defaults(l->run, recipe->set);
        rc = tmpl_run_now(l->run, recipe->o.now, e);
    }
    if (rc != ERR_OK)
        data_lane_close(l);
    return rc;
}

void data_lane_close(struct data_lane *l)
{
    tok_enc_free(l->enc);
    tmpl_run_free(l->run);
    tok_ids_release(&l->ids);
    data_tape_release(&l->tape);
    sbuf_release(&l->text);
    sbuf_release(&l->part);
    free(l->spans);
    free(l->weight);
    free(l->kind);
    *l = (struct data_lane){0};
}

static struct str member(const struct data_lane *l, const char *name)
{
    int32_t v = data_tape_get(&l->tape, 0, name);
    return v < 0 ? (struct str){0} : data_tape_raw(&l->tape, v);
}

static err_code parse_body(struct data_lane *l, struct str kind, struct str body, struct err *e)
{
    if (str_eq(kind, STR("pair")))
        return err_set(e, ERR_DATA, "a pair is two rows; it is rendered by what trains on pairs");
    return data_tape_parse(&l->tape, body, e);
}

/* Renders through the template; spans live in the run. */
static err_code through_template(struct data_lane *l, struct str messages, int prompt, struct tmpl_mask *mask, struct err *e)
{
    const struct tmpl *t;
    struct tmpl_parts parts = {.messages = messages, .tools = member(l, "tools"), .documents = member(l, "documents"),
                               .variables = member(l, "variables"), .add_generation_prompt = prompt};
    TRY(tmpl_input_parts(l->run, &parts, e));
    TRY(tmpl_pick(l->recipe->set, l->recipe->o.template_name, tmpl_input_has_tools(l->run), &t, e));
    TRY(tmpl_mask(l->run, t, &l->recipe->mask, &l->text, mask, e));
    return l->text.full ? err_set(e, ERR_LIMIT, "the rendered text is over %d bytes", TEXT_MAX_BYTES) : ERR_OK;
}

/* ---- without a template ------------------------------------------------------------------- */

static void add_span(struct data_lane *l, int64_t *n, int64_t begin, enum tmpl_kind kind, float weight)
{
    if (*n == l->cap_spans) {
        l->cap_spans = l->cap_spans ? l->cap_spans * 2 : 16;
        l->spans = realloc(l->spans, (size_t)l->cap_spans * sizeof *l->spans);
        if (!l->spans)
            BUG("out of memory");
    }
    if (l->text.n > begin)
        l->spans[(*n)++] = (struct tmpl_span){.begin = begin, .end = l->text.n, .weight = weight, .message = -1, .kind = (uint8_t)kind, .plain = 1};
}

static void add_content(struct data_lane *l, int32_t content)
{
    const struct tape *t = &l->tape;
    if (content >= 0 && t->node[content].type == TAPE_STRING)
        data_tape_text(&l->text, t, content);
    if (content < 0 || t->node[content].type != TAPE_ARRAY)
        return;
    for (int32_t i = content + 1; i < t->node[content].next; i = t->node[i].next) {
        int32_t text = t->node[i].type == TAPE_STRING ? i : data_tape_get(t, i, "text");
        if (text >= 0)
            data_tape_text(&l->text, t, text);
    }
}

static float own_weight(const struct data_lane *l, int32_t m, int assistant)
{
    const struct tape *t = &l->tape;
    int32_t train = data_tape_get(t, m, "train"), weight = data_tape_get(t, m, "weight");
    double w = 1;
    if (train >= 0 && t->node[train].type == TAPE_FALSE)
        return 0;
    if (!assistant && !(train >= 0 && t->node[train].type == TAPE_TRUE))
        return 0;
    if (weight >= 0 && str_to_f64(data_tape_raw(t, weight), &w) && isfinite(w) && w >= 0)
        return (float)w;
    return 1;
}

/* Contents one behind the other. Returns the number of spans. */
static int64_t raw_text(struct data_lane *l, int32_t list, int32_t n_messages)
{
    const struct tape *t = &l->tape;
    enum tmpl_which which = l->recipe->mask.which;
    int64_t n = 0;
    int32_t m = list + 1, last_user = -1;
    for (int32_t i = 0; i < n_messages; i++, m = t->node[m].next)
        if (!data_tape_is(t, data_tape_get(t, m, "role"), "assistant"))
            last_user = i;
    m = list + 1;
    for (int32_t i = 0; i < n_messages; i++, m = t->node[m].next) {
        int64_t begin = l->text.n;
        int assistant = data_tape_is(t, data_tape_get(t, m, "role"), "assistant");
        float w = which == TMPL_ALL_TEXT ? 1 : which == TMPL_LAST_TURN && i < last_user ? 0 : own_weight(l, m, assistant);
        add_content(l, data_tape_get(t, m, "content"));
        add_span(l, &n, begin, assistant ? TMPL_CONTENT : TMPL_INPUT, w);
    }
    return n;
}

/* Raw rows end with the end-of-text token, supervised as what comes before it is. */
static err_code raw_row(struct data_lane *l, struct str kind, int64_t *n_spans, struct err *e)
{
    const struct tape *t = &l->tape;
    sbuf_clear(&l->text);
    if (str_eq(kind, STR("text"))) {
        *n_spans = 0;
        data_tape_text(&l->text, t, data_tape_get(t, 0, "text"));
        add_span(l, n_spans, 0, TMPL_CONTENT, 1);
    } else {
        int32_t list = data_tape_get(t, 0, "messages");
        *n_spans = raw_text(l, list, t->node[list].n);
    }
    return l->text.full ? err_set(e, ERR_LIMIT, "the text is over %d bytes", TEXT_MAX_BYTES) : ERR_OK;
}

/* ---- tokens and weights ------------------------------------------------------------------- */

static void room_for_weights(struct data_lane *l, int64_t n)
{
    if (n <= l->cap_weight)
        return;
    l->cap_weight = n * 3 / 2;
    l->weight = realloc(l->weight, (size_t)l->cap_weight * sizeof *l->weight);
    l->kind = realloc(l->kind, (size_t)l->cap_weight);
    if (!l->weight || !l->kind)
        BUG("out of memory");
}

/* A token weighs what the span of its first byte weighs. */
static void weigh(struct data_lane *l, const struct tmpl_span *spans, int64_t n_spans)
{
    int64_t s = 0;
    room_for_weights(l, l->ids.n);
    l->supervised = 0;
    l->first_supervised = -1;
    for (int64_t i = 0; i < l->ids.n; i++) {
        int added = l->ids.end[i] == 0; /* by the post-processor: no byte of the text */
        while (!added && s + 1 < n_spans && spans[s].end <= l->ids.begin[i])
            s++;
        l->weight[i] = added || i == 0 || n_spans == 0 ? 0 : spans[s].weight;
        l->kind[i] = added || n_spans == 0 ? TMPL_TEMPLATE : spans[s].kind;
    }
}

static void one_more_id(struct tok_ids *ids)
{
    int64_t n = ids->n + 1;
    if (n > ids->cap)
        ids->id = realloc(ids->id, (size_t)(ids->cap = n * 2) * sizeof *ids->id);
    if (n > ids->cap_offsets) {
        ids->begin = realloc(ids->begin, (size_t)(n * 2) * sizeof *ids->begin);
        ids->end = realloc(ids->end, (size_t)(n * 2) * sizeof *ids->end);
        ids->cap_offsets = n * 2;
    }
    if (!ids->id || !ids->begin || !ids->end)
        BUG("out of memory");
    ids->n = n;
}

/* The end-of-text token of a raw row, which weighs as the row's last span. */
static err_code add_end(struct data_lane *l, const struct tmpl_span *spans, int64_t n_spans, struct err *e)
{
    struct tok_ids *ids = &l->ids;
    int32_t eos = tok_eos(l->recipe->tok);
    struct str text = tok_bytes(l->recipe->tok, eos);
    int there = ids->n > 1 && ids->id[ids->n - 1] == eos && ids->end[ids->n - 1] == 0; /* the post-processor did it */
    int64_t at = l->text.n;
    sbuf_add(&l->text, text);
    if (l->text.full)
        return err_set(e, ERR_LIMIT, "the text is over %d bytes", TEXT_MAX_BYTES);
    if (!there)
        one_more_id(ids);
    room_for_weights(l, ids->n);
    int64_t i = ids->n - 1;
    ids->id[i] = eos;
    ids->begin[i] = at;
    ids->end[i] = l->text.n;
    l->weight[i] = n_spans && i > 0 ? spans[n_spans - 1].weight : 0;
    l->kind[i] = TMPL_EOT;
    return ERR_OK;
}

static void count_supervised(struct data_lane *l)
{
    for (int64_t i = l->ids.n - 1; i >= 0; i--)
        if (l->weight[i] > 0) {
            l->supervised++;
            l->first_supervised = i;
        }
}

err_code data_lane_render(struct data_lane *l, struct str kind, struct str body, struct err *e)
{
    struct tmpl_mask mask;
    TRY(parse_body(l, kind, body, e));
    int raw = l->recipe->o.raw || str_eq(kind, STR("text"));
    const struct tmpl_span *spans;
    int64_t n_spans;
    if (raw) {
        TRY(raw_row(l, kind, &n_spans, e));
        spans = l->spans;
    } else {
        TRY(through_template(l, member(l, "messages"), 0, &mask, e));
        spans = mask.spans;
        n_spans = mask.n_spans;
    }
    struct tok_text in = {.text = sbuf_str(&l->text), .add_special = raw ? TOK_SPECIAL_CLASS : TOK_SPECIAL_NONE, .offsets = 1, .spans = spans, .n_spans = n_spans};
    TRY(tok_encode(l->enc, &in, &l->ids, e));
    weigh(l, spans, n_spans);
    if (raw && tok_eos(l->recipe->tok) >= 0)
        TRY(add_end(l, spans, n_spans, e));
    count_supervised(l);
    return ERR_OK;
}

/* ---- one item at a time ------------------------------------------------------------------- */

struct data_renderer {
    struct data_recipe *recipe;
    struct data_lane lane;
};

err_code data_renderer_open(const struct data_render_opts *o, struct data_renderer **out, struct err *e)
{
    struct data_renderer *r = calloc(1, sizeof *r);
    if (!r)
        BUG("out of memory");
    err_code rc = data_recipe_open(o, &r->recipe, e);
    if (rc == ERR_OK)
        rc = data_lane_open(&r->lane, r->recipe, e);
    if (rc == ERR_OK)
        *out = r;
    else
        data_renderer_close(r);
    return rc;
}

void data_renderer_close(struct data_renderer *r)
{
    if (!r)
        return;
    data_lane_close(&r->lane);
    data_recipe_close(r->recipe);
    free(r);
}

const struct tok *data_renderer_tok(const struct data_renderer *r)
{
    return r->recipe->tok;
}

static void *copy(struct arena *mem, const void *p, int64_t n, int64_t size)
{
    void *q = arena_alloc(mem, n, size);
    if (n)
        memcpy(q, p, (size_t)(n * size));
    return q;
}

err_code data_render_item(struct data_renderer *r, struct str kind, struct str body, struct arena *mem, struct data_row *out, struct err *e)
{
    struct data_lane *l = &r->lane;
    TRY(data_lane_render(l, kind, body, e));
    int64_t n = l->ids.n, *begin = ARENA_NEW(mem, int64_t, n + 1);
    for (int64_t i = 0; i < n; i++)
        begin[i] = l->ids.begin[i];
    begin[n] = l->text.n;
    *out = (struct data_row){.text = str_dup(mem, sbuf_str(&l->text)), .n = n, .ids = copy(mem, l->ids.id, n, 4), .begin = begin,
                             .weight = copy(mem, l->weight, n, 4), .kind = copy(mem, l->kind, n, 1), .supervised = l->supervised};
    return ERR_OK;
}

err_code data_render_one(struct str kind, struct str body, const struct data_render_opts *o, struct arena *mem, struct data_row *out, struct err *e)
{
    struct data_renderer *r = NULL;
    TRY(data_renderer_open(o, &r, e));
    err_code rc = data_render_item(r, kind, body, mem, out, e);
    data_renderer_close(r);
    return rc;
}

/* ---- prompts ------------------------------------------------------------------------------ */

static int says(const struct tape *t, int32_t m, const char *role)
{
    int32_t r = data_tape_get(t, m, "role");
    return r >= 0 && data_tape_is(t, r, role);
}

/* The list without its last assistant turn, as JSON, with the system message of the options when it has none;
 * n_messages of the list's own that are left. */
static struct str messages_before_answer(struct data_lane *l, int32_t list, int32_t *n_messages)
{
    const struct tape *t = &l->tape;
    const char *system = l->recipe->o.system;
    int32_t m = list + 1, n = t->node[list].n, last = m;
    for (; m < t->node[list].next; m = t->node[m].next)
        last = m;
    *n_messages = n - (n > 0 && says(t, last, "assistant"));
    m = list + 1;
    int put_system = system && system[0] && *n_messages > 0 && !says(t, m, "system");
    if (*n_messages == n && !put_system)
        return data_tape_raw(t, list);
    sbuf_clear(&l->part);
    sbuf_addc(&l->part, '[');
    if (put_system) {
        sbuf_adds(&l->part, "{\"role\":\"system\",\"content\":");
        json_put_str(&l->part, str_of(system));
        sbuf_addc(&l->part, '}');
    }
    for (int32_t i = 0; i < *n_messages; i++, m = t->node[m].next) {
        sbuf_adds(&l->part, i || put_system ? "," : "");
        sbuf_add(&l->part, data_tape_raw(t, m));
    }
    sbuf_addc(&l->part, ']');
    return sbuf_str(&l->part);
}

static err_code prompt_text(struct data_lane *l, struct tok_text *in, struct err *e)
{
    struct tmpl_mask mask;
    int32_t n_messages, list = data_tape_get(&l->tape, 0, "messages");
    if (list < 0)
        return err_set(e, ERR_DATA, "no messages to sample from");
    struct str messages = messages_before_answer(l, list, &n_messages);
    if (n_messages == 0)
        return err_set(e, ERR_DATA, "nothing comes before the answer");
    if (l->recipe->o.raw) {
        sbuf_clear(&l->text);
        if (l->recipe->o.system && !says(&l->tape, list + 1, "system"))
            sbuf_adds(&l->text, l->recipe->o.system);
        *in = (struct tok_text){.add_special = TOK_SPECIAL_CLASS, .plain = 1};
        raw_text(l, list, n_messages);
    } else {
        TRY(through_template(l, messages, 1, &mask, e));
        *in = (struct tok_text){.spans = mask.spans, .n_spans = mask.n_spans};
    }
    in->text = sbuf_str(&l->text);
    return ERR_OK;
}

err_code data_prompt_ids(struct data_renderer *r, struct str kind, struct str body, struct arena *mem, struct data_prompt *out, struct err *e)
{
    struct data_lane *l = &r->lane;
    struct tok_text in;
    TRY(parse_body(l, kind, body, e));
    TRY(prompt_text(l, &in, e));
    TRY(tok_encode(l->enc, &in, &l->ids, e));
    *out = (struct data_prompt){.text = str_dup(mem, sbuf_str(&l->text)), .ids = copy(mem, l->ids.id, l->ids.n, 4), .n = l->ids.n};
    int32_t answer = data_tape_get(&l->tape, 0, "answer");
    if (answer >= 0 && l->tape.node[answer].type == TAPE_STRING) {
        sbuf_clear(&l->part);
        data_tape_text(&l->part, &l->tape, answer);
        out->answer = str_dup(mem, sbuf_str(&l->part));
    } else if (answer >= 0) {
        out->answer = str_dup(mem, data_tape_raw(&l->tape, answer));
    }
    out->meta = member(l, "meta").n ? str_dup(mem, member(l, "meta")) : (struct str){0};
    return ERR_OK;
}
