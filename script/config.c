/* Configuration files: Lua tables become option words with the line they stand on; the table of options does the rest. */
#include "script/config.h"

#include <limits.h>
#include <stdio.h>

#include "core/file.h"
#include "core/json.h"
#include "script/lines.h"
#include "script/state.h"

enum { CFG_FILE_MAX = 4 << 20, CFG_INCLUDES_MAX = 16 };

enum kind { BOOL, INT, NUM, STR, ENUM, LIST, TEXTS };

#define OPT_OF_BOOL OPT_BOOL
#define OPT_OF_INT OPT_INT
#define OPT_OF_NUM OPT_NUM
#define OPT_OF_STR OPT_STR
#define OPT_OF_ENUM OPT_ENUM
#define OPT_OF_LIST OPT_STR
#define OPT_OF_TEXTS OPT_STR

static const struct opt_def defs[] = {
#define TOP(key, TYPE, def, min, max, choices, help) {"", #key, OPT_OF_##TYPE, offsetof(struct cfg, key), def, min, max, choices, help},
#define OPT(section, key, TYPE, def, min, max, choices, help) \
    {#section, #key, OPT_OF_##TYPE, offsetof(struct cfg, section.key), def, min, max, choices, help},
#include "configs/options.def"
};
static const enum kind kinds[] = {
#define TOP(key, TYPE, def, min, max, choices, help) TYPE,
#define OPT(section, key, TYPE, def, min, max, choices, help) TYPE,
#include "configs/options.def"
};
static const struct section {
    const char *name, *help;
} sections[] = {
#define SECTION(name, help) {#name, help},
#include "configs/options.def"
};
static const struct preset {
    const char *name, *keys;
} presets[] = {
#define PRESET(name, keys, what, source) {#name, keys},
#include "configs/presets.def"
};

enum { N_DEFS = sizeof defs / sizeof *defs, N_SECTIONS = sizeof sections / sizeof *sections, N_PRESETS = sizeof presets / sizeof *presets };

static int section_known(struct str name)
{
    for (int i = 0; i < N_SECTIONS; i++)
        if (str_eq(name, str_of(sections[i].name)))
            return 1;
    return 0;
}

/* ---- values ------------------------------------------------------------------------------- */

err_code cfg_list(const char *list, const char *key, struct cfg_item *out, int max, int *n, struct err *e)
{
    struct str rest = str_of(list), one;
    *n = 0;
    while (list[0] && str_split(&rest, ',', &one)) {
        struct str weight = str_trim(one), name;
        if (*n == max)
            return err_set(e, ERR_USAGE, "%s: more than %d members", key, max);
        str_split(&weight, ':', &name);
        out[*n] = (struct cfg_item){.name = str_trim(name), .weight = 1};
        if (name.n == 0)
            return err_set(e, ERR_USAGE, "%s: empty name in '%s'", key, list);
        if (weight.p && !str_to_f64(str_trim(weight), &out[*n].weight))
            return err_set(e, ERR_USAGE, "%s: the weight in '%.*s' is no number", key, STR_ARG(one));
        ++*n;
    }
    return ERR_OK;
}

err_code cfg_texts(const char *texts, const char *key, struct str *out, int max, int *n, struct arena *mem, struct err *e)
{
    json_t *v = NULL;
    err_code rc = ERR_OK;
    *n = 0;
    if (!texts[0])
        return ERR_OK;
    if (json_parse(str_of(texts), &v, NULL) != ERR_OK || !json_is_array(v))
        rc = err_set(e, ERR_USAGE, "%s: expected a JSON array of strings, got '%s'", key, texts);
    else if (json_array_size(v) > (size_t)max)
        rc = err_set(e, ERR_USAGE, "%s: more than %d strings", key, max);
    for (size_t i = 0; rc == ERR_OK && i < json_array_size(v); i++) {
        const json_t *one = json_array_get(v, i);
        if (json_is_string(one) && json_string_length(one))
            out[(*n)++] = str_dup(mem, (struct str){json_string_value(one), (int64_t)json_string_length(one)});
        else
            rc = err_set(e, ERR_USAGE, "%s: every member must be a string that is not empty", key);
    }
    json_decref(v);
    return rc;
}

enum { MEMBERS_MAX = 256 };

/* opt_put, and the form of lists. */
static err_code put(struct cfg *c, struct str name, struct str value, const char *source, struct err *e)
{
    struct cfg_item items[MEMBERS_MAX];
    struct str texts[MEMBERS_MAX];
    char key[128];
    int n;
    const struct opt_def *d = opt_find(&c->set, name);
    if (d && memchr(value.p ? value.p : "", 0, (size_t)value.n))
        return err_set(e, ERR_USAGE, "%s: %.*s: a zero byte in the value", source, STR_ARG(name));
    TRY(opt_put(&c->set, name, value, source, e));
    snprintf(key, sizeof key, "%.*s", STR_ARG(name));
    const char *text = kinds[d - defs] == LIST || kinds[d - defs] == TEXTS ? *(const char **)((char *)c + d->offset) : "";
    struct arena scratch = *c->set.mem;
    err_code rc = ERR_OK;
    if (kinds[d - defs] == LIST)
        rc = cfg_list(text, key, items, MEMBERS_MAX, &n, e);
    else if (kinds[d - defs] == TEXTS)
        rc = cfg_texts(text, key, texts, MEMBERS_MAX, &n, &scratch, e);
    return rc == ERR_OK ? rc : err_ctx(e, "%s", source);
}

/* A word of the command line or a stored line: a string may be quoted as JSON, TEXTS may be one bare string. */
static err_code put_word(struct cfg *c, struct str name, struct str value, const char *source, struct err *e)
{
    const struct opt_def *d = opt_find(&c->set, name);
    enum kind kind = d ? kinds[d - defs] : BOOL;
    struct sbuf b;
    json_t *v = NULL;
    err_code rc = ERR_OK;
    sbuf_init(&b, CFG_FILE_MAX);
    if (kind == STR && value.n && value.p[0] == '"') {
        sbuf_addf(&b, "[%.*s]", STR_ARG(value));
        const json_t *one = json_parse(sbuf_str(&b), &v, NULL) == ERR_OK && json_array_size(v) == 1 ? json_array_get(v, 0) : NULL;
        if (json_is_string(one))
            value = (struct str){json_string_value(one), (int64_t)json_string_length(one)};
        else
            rc = err_set(e, ERR_USAGE, "%s: %.*s: a value that begins with '\"' must be one JSON string", source, STR_ARG(name));
    } else if (kind == TEXTS && value.n && value.p[0] != '[') {
        sbuf_addc(&b, '[');
        json_put_str(&b, value);
        sbuf_addc(&b, ']');
        value = sbuf_str(&b);
    }
    if (rc == ERR_OK)
        rc = put(c, name, value, source, e);
    json_decref(v);
    sbuf_release(&b);
    return rc;
}

static const char *type_name(const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT:
    case JSON_ARRAY: return "a table";
    case JSON_STRING: return "a string";
    case JSON_INTEGER:
    case JSON_REAL: return "a number";
    case JSON_TRUE:
    case JSON_FALSE: return "true or false";
    default: return "null";
    }
}

/* The shortest of 15, 16 and 17 digits that reads back as x: 0.1 stays 0.1. */
static void add_number(struct sbuf *b, double x)
{
    char text[40];
    double back = 0;
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        if (str_to_f64(str_of(text), &back) && back == x)
            break;
    }
    sbuf_adds(b, text);
}

static void add_scalar(struct sbuf *b, const json_t *v)
{
    if (json_is_string(v))
        sbuf_add(b, (struct str){json_string_value(v), (int64_t)json_string_length(v)});
    else if (json_is_integer(v))
        sbuf_addf(b, "%lld", (long long)json_integer_value(v));
    else if (json_is_real(v))
        add_number(b, json_real_value(v));
    else
        sbuf_adds(b, json_is_true(v) ? "true" : "false");
}

/* { "a", "b" } and { a = 1, b = 0.5 } as "a,b" and "a:1,b:0.5". 0 when a member is neither. */
static int add_list(struct sbuf *b, const json_t *v)
{
    const char *key;
    json_t *one;
    size_t i;
    int ok = 1;
    json_array_foreach((json_t *)v, i, one) {
        ok &= json_is_string(one) || json_is_integer(one);
        sbuf_adds(b, i ? "," : "");
        add_scalar(b, one);
    }
    json_object_foreach((json_t *)v, key, one) {
        ok &= json_is_number(one);
        sbuf_addf(b, "%s%s:", b->n ? "," : "", key);
        add_scalar(b, one);
    }
    return ok;
}

/* The value as an option word. expected: what stands in the message when the type is wrong. */
static int value_word(struct sbuf *b, enum kind kind, const json_t *v, const char **expected)
{
    static const char *const want[] = {"true or false", "a number", "a number", "a string", "a string", "a string or a table of names or name = weight",
                                       "a string or a table of strings"};
    *expected = want[kind];
    switch (kind) {
    case BOOL: add_scalar(b, v); return json_is_boolean(v);
    case INT:
    case NUM: add_scalar(b, v); return json_is_number(v);
    case STR:
    case ENUM: add_scalar(b, v); return json_is_string(v);
    case LIST:
        if (json_is_string(v))
            add_scalar(b, v);
        return json_is_string(v) || ((json_is_array(v) || json_is_object(v)) && add_list(b, v));
    case TEXTS:
        if (json_is_string(v)) {
            sbuf_addc(b, '[');
            json_put_value(b, v);
            sbuf_addc(b, ']');
        } else {
            json_put_value(b, v);
        }
        return json_is_string(v) || json_is_array(v);
    }
    return 0;
}

static err_code put_json(struct cfg *c, const char *name, const json_t *v, const char *source, struct err *e)
{
    const struct opt_def *d = opt_find(&c->set, str_of(name));
    struct sbuf b;
    const char *expected;
    if (!d) /* opt_put names the nearest */
        return opt_put(&c->set, str_of(name), STR(""), source, e);
    sbuf_init(&b, CFG_FILE_MAX);
    err_code rc;
    if (!value_word(&b, kinds[d - defs], v, &expected))
        rc = err_set(e, ERR_USAGE, "%s: %s: expected %s, got %s", source, name, expected, type_name(v));
    else
        rc = put(c, str_of(name), b.p ? sbuf_str(&b) : STR(""), source, e);
    sbuf_release(&b);
    return rc;
}

/* ---- files -------------------------------------------------------------------------------- */

struct load {
    const char *path;    /* of the file that is running */
    struct sbuf text;    /* its bytes until they are compiled */
    struct line *lines;  /* where keys are assigned, all files */
    struct arena *mem;
    json_t *globals, *returned;
    struct err e;        /* a failure that was not Lua's */
    int depth;
};

enum { ENV = 2 }; /* stack index of the table that the file's globals go to */

/* Runs f->path with the table at stack index env as its globals; leaves what it returned. */
static void run_file(lua_State *L, struct load *f, int env)
{
    sbuf_clear(&f->text);
    if (file_read(f->path, &f->text, &f->e) != ERR_OK)
        luaL_error(L, "%s", f->e.msg);
    struct str text = sbuf_str(&f->text);
    script_scan_lines(&f->lines, text, str_dup(f->mem, str_of(f->path)).p, f->mem);
    const char *name = lua_pushfstring(L, "@%s", f->path);
    if (luaL_loadbufferx(L, text.p ? text.p : "", (size_t)text.n, name, "t") != LUA_OK)
        lua_error(L);
    lua_pushvalue(L, env);
    lua_setupvalue(L, -2, 1);
    lua_call(L, 0, 1);
}

static int include(lua_State *L)
{
    struct load *f = lua_touserdata(L, lua_upvalueindex(1));
    const char *name = luaL_checkstring(L, 1), *was = f->path, *slash = strrchr(was, '/');
    if (name[0] != '/' && slash)
        lua_pushfstring(L, "%s%s", lua_pushlstring(L, was, (size_t)(slash - was) + 1), name);
    if (f->depth >= CFG_INCLUDES_MAX)
        return luaL_error(L, "more than %d includes inside each other", CFG_INCLUDES_MAX);
    f->depth++;
    f->path = lua_tostring(L, -1);
    lua_pushvalue(L, lua_upvalueindex(2));
    run_file(L, f, lua_gettop(L));
    f->path = was;
    f->depth--;
    return 1;
}

/* Sections and top keys of a table as JSON; what is made is owned by *out at once, so that raising leaks nothing. Functions among
 * them are helpers that should have been local. */
static void take_table(lua_State *L, int idx, json_t **out)
{
    script_sorted_keys(L, idx);
    for (lua_Integer i = 1, n = (lua_Integer)lua_rawlen(L, -1); i <= n; i++) {
        lua_rawgeti(L, -1, i);
        lua_pushvalue(L, -1);
        int type = lua_rawget(L, idx);
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "expected sections by name, got a list");
        if (type == LUA_TFUNCTION)
            luaL_error(L, "'%s' is a function: helpers must be local", lua_tostring(L, -2));
        lua_pop(L, 2);
    }
    lua_pop(L, 1);
    script_to_json(L, idx, out);
}

static int run_config(lua_State *L)
{
    struct load *f = lua_touserdata(L, 1);
    lua_newtable(L); /* ENV; reads fall through to the library */
    lua_newtable(L);
    lua_pushglobaltable(L);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, ENV);
    lua_pushlightuserdata(L, f);
    lua_pushvalue(L, ENV);
    lua_pushcclosure(L, include, 2);
    lua_setglobal(L, "include");
    run_file(L, f, ENV);
    take_table(L, ENV, &f->globals);
    if (!lua_isnil(L, -1)) {
        luaL_argexpected(L, lua_istable(L, -1), 1, "a table of sections as the file's result");
        take_table(L, lua_gettop(L), &f->returned);
    }
    return 0;
}

static err_code unknown_section(const char *name, const char *source, struct err *e)
{
    const char *near = NULL;
    int best = str_far(str_of(name));
    for (int i = 0; i < N_SECTIONS; i++) {
        int d = str_distance(str_of(name), str_of(sections[i].name));
        if (d < best)
            best = d, near = sections[i].name;
    }
    return err_set(e, ERR_USAGE, "%s: unknown section '%s'%s%s%s", source, name, near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static err_code put_section(struct cfg *c, const struct load *f, const char *section, const json_t *v, struct err *e)
{
    const char *key;
    json_t *one;
    char name[256];
    json_object_foreach((json_t *)v, key, one) {
        snprintf(name, sizeof name, "%s.%s", section, key);
        TRY(put_json(c, name, one, script_find_line(f->lines, name, f->path, c->set.mem).p, e));
    }
    return ERR_OK;
}

static err_code put_sections(struct cfg *c, const struct load *f, const json_t *all, struct err *e)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)all, key, v) {
        const char *source = script_find_line(f->lines, key, f->path, c->set.mem).p;
        int known = section_known(str_of(key)), empty = json_is_array(v) && json_array_size(v) == 0;
        if (known && json_is_object(v))
            TRY(put_section(c, f, key, v, e));
        else if (known && !empty)
            return err_set(e, ERR_USAGE, "%s: '%s' is a section: expected a table of its keys, got %s", source, key,
                           json_is_array(v) ? "a list" : type_name(v));
        else if (!known && (json_is_object(v) || empty))
            return unknown_section(key, source, e);
        else if (!known)
            TRY(put_json(c, key, v, source, e));
    }
    return ERR_OK;
}

static err_code load_file(struct cfg *c, const char *path, struct err *e)
{
    struct load f = {.path = path, .mem = c->set.mem};
    struct script *s;
    sbuf_init(&f.text, CFG_FILE_MAX);
    err_code rc = script_open(&s, &(struct script_limits){.memory_bytes = 16 << 20, .instructions = 5000000}, e);
    if (rc == ERR_OK) {
        rc = script_protected(s, run_config, &f, e);
        if (rc != ERR_OK)
            rc = e->code = f.e.code ? f.e.code : ERR_USAGE;
        if (rc != ERR_OK && !strstr(e->msg, path)) /* a value that no option can hold */
            err_ctx(e, "%s", path);
        script_close(s);
    }
    f.path = path;
    if (rc == ERR_OK)
        rc = put_sections(c, &f, f.globals, e);
    if (rc == ERR_OK && f.returned)
        rc = put_sections(c, &f, f.returned, e);
    json_decref(f.globals);
    json_decref(f.returned);
    sbuf_release(&f.text);
    return rc;
}

/* ---- the whole ---------------------------------------------------------------------------- */

static void fill_preset(struct cfg *c)
{
    const char *keys = "";
    for (int i = 0; i < N_PRESETS; i++)
        if (!strcmp(presets[i].name, c->grpo.preset))
            keys = presets[i].keys;
    struct str rest = str_of(keys), one;
    struct str source = str_printf(c->set.mem, "grpo.preset=%s", c->grpo.preset);
    while (str_split(&rest, ' ', &one)) {
        struct str value = one, key;
        struct err e = {0};
        if (!str_split(&value, '=', &key) || key.n == 0)
            continue;
        struct str name = str_printf(c->set.mem, "grpo.%.*s", STR_ARG(key));
        const struct opt_def *d = opt_find(&c->set, name);
        if (d && c->set.source[d - defs])
            continue;
        if (put(c, name, value, source.p, &e) != ERR_OK)
            BUG("configs/presets.def: %s", e.msg);
    }
}

err_code cfg_load(const char *path, char **words, int n_words, struct cfg *c, struct arena *mem, struct err *e)
{
    opt_init(&c->set, defs, N_DEFS, c, mem);
    c->file = path;
    if (path)
        TRY(load_file(c, path, e));
    for (int i = 0; i < n_words; i++) {
        struct str value = str_of(words[i]), name;
        str_split(&value, '=', &name);
        if (!value.p)
            return err_set(e, ERR_USAGE, "command line: expected section.key=value, got '%s'", words[i]);
        TRY(put_word(c, name, value, "command line", e));
    }
    fill_preset(c);
    return ERR_OK;
}

err_code cfg_from_text(struct str text, const char *source, struct cfg *c, struct arena *mem, struct err *e)
{
    struct str line;
    int n = 0;
    opt_init(&c->set, defs, N_DEFS, c, mem);
    c->file = NULL;
    while (str_split(&text, '\n', &line)) {
        struct str value = line, name;
        n++;
        if (line.n == 0)
            continue;
        str_split(&value, '=', &name);
        struct str at = str_printf(mem, "%s:%d", source, n);
        if (!value.p)
            return err_set(e, ERR_USAGE, "%s: expected section.key=value", at.p);
        TRY(put_word(c, name, value, at.p, e));
    }
    fill_preset(c);
    return ERR_OK;
}

static void add_value(struct sbuf *b, const struct cfg *c, int i)
{
    const char *slot = (const char *)c + defs[i].offset, *s = kinds[i] == STR ? *(const char *const *)slot : "";
    if (kinds[i] == NUM)
        add_number(b, *(const double *)slot);
    else if (s[0] == '"' || strpbrk(s, "\n\r"))
        json_put_str(b, str_of(s));
    else
        opt_value(b, &c->set, &defs[i]);
}

static void add_line(struct sbuf *b, const struct cfg *c, int i)
{
    sbuf_addf(b, "%s%s%s=", defs[i].section, defs[i].section[0] ? "." : "", defs[i].key);
    add_value(b, c, i);
}

void cfg_text(const struct cfg *c, struct sbuf *out)
{
    for (int i = 0; i < N_DEFS; i++) {
        add_line(out, c, i);
        sbuf_addc(out, '\n');
    }
}

void cfg_text_changed(const struct cfg *c, struct sbuf *out)
{
    struct cfg plain;
    struct arena scratch = *c->set.mem;
    struct sbuf was, now;
    opt_init(&plain.set, defs, N_DEFS, &plain, &scratch);
    sbuf_init(&was, CFG_FILE_MAX);
    sbuf_init(&now, CFG_FILE_MAX);
    for (int i = 0; i < N_DEFS; i++) {
        sbuf_clear(&was);
        sbuf_clear(&now);
        add_line(&was, &plain, i);
        add_line(&now, c, i);
        if (str_eq(sbuf_str(&was), sbuf_str(&now)))
            continue;
        sbuf_add(out, sbuf_str(&now));
        sbuf_addf(out, "  # %s\n", c->set.source[i] ? c->set.source[i] : "default");
    }
    sbuf_release(&was);
    sbuf_release(&now);
}

int cfg_index(const struct cfg *c, const char *name)
{
    const struct opt_def *d = opt_find(&c->set, str_of(name));
    if (!d || d->type != OPT_ENUM)
        BUG("'%s' is no key with choices", name);
    struct str rest = str_of(d->choices), one;
    struct str value = str_of(*(const char *const *)((const char *)c + d->offset));
    for (int i = 0; str_split(&rest, '|', &one); i++)
        if (str_eq(one, value))
            return i;
    BUG("%s holds '%.*s', which is none of %s", name, STR_ARG(value), d->choices);
}
