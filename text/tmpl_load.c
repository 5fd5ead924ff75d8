/* What a model folder brings: templates and special tokens. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/file.h"
#include "core/json.h"
#include "text/tmpl.h"

enum { MAX_FILE = 64 << 20, MAX_TOKENS = 64 };

struct named {
    struct str name;
    struct tmpl *t;
};
struct special {
    struct str key, text;
    struct str *list; /* additional_special_tokens: texts; NULL = one text */
    int n_list;
};
struct tmpl_set {
    struct arena mem;
    struct named *at;
    int n, cap;
    struct special special[MAX_TOKENS];
    int n_special;
};

static err_code add_template(struct tmpl_set *s, struct str name, struct str source, const char *shown, struct err *e)
{
    struct tmpl *t;
    for (int i = 0; i < s->n; i++)
        if (str_eq(s->at[i].name, name))
            return ERR_OK; /* the first found wins */
    TRY(tmpl_compile(source, shown, &t, e));
    if (s->n == s->cap) {
        int cap = s->cap ? s->cap * 2 : 4;
        struct named *at = ARENA_NEW(&s->mem, struct named, cap);
        if (s->n)
            tmpl_copy(at, s->at, sizeof *at * (size_t)s->n);
        s->at = at;
        s->cap = cap;
    }
    s->at[s->n++] = (struct named){str_dup(&s->mem, name), t};
    return ERR_OK;
}

static err_code add_file(struct tmpl_set *s, struct str name, const char *path, const char *shown, struct err *e)
{
    struct sbuf b;
    sbuf_init(&b, MAX_FILE);
    err_code rc = file_read(path, &b, e);
    if (rc == ERR_OK)
        rc = add_template(s, name, sbuf_str(&b), shown, e);
    sbuf_release(&b);
    return rc;
}

/* A string, or a list of {"name", "template"}. */
static err_code add_json(struct tmpl_set *s, const json_t *v, const char *file, struct err *e)
{
    char shown[300];
    if (json_is_string(v)) {
        snprintf(shown, sizeof shown, "%s", file);
        return add_template(s, STR("default"), (struct str){json_string_value(v), (int64_t)json_string_length(v)}, shown, e);
    }
    for (size_t i = 0; i < json_array_size(v); i++) {
        struct str name, source;
        const json_t *one = json_array_get(v, i);
        err_code rc = json_need_str(one, "name", &name, e);
        if (rc == ERR_OK)
            rc = json_need_str(one, "template", &source, e);
        if (rc != ERR_OK)
            return err_ctx(e, "%s: chat_template[%zu]", file, i);
        snprintf(shown, sizeof shown, "%s (%.*s)", file, (int)(name.n < 100 ? name.n : 100), name.p);
        TRY(add_template(s, name, source, shown, e));
    }
    return ERR_OK;
}

static struct special *special_slot(struct tmpl_set *s, const char *key)
{
    for (int i = 0; i < s->n_special; i++)
        if (str_eq(s->special[i].key, str_of(key)))
            return NULL; /* the first file that names it wins */
    if (s->n_special == MAX_TOKENS)
        return NULL;
    s->special[s->n_special] = (struct special){.key = str_dup(&s->mem, str_of(key))};
    return &s->special[s->n_special++];
}

static const char *token_text(const json_t *v)
{
    return json_is_string(v) ? json_string_value(v) : json_string_value(json_object_get(v, "content"));
}

static int ends_with(const char *s, const char *suffix)
{
    return str_ends(str_of(s), str_of(suffix));
}

static void add_specials(struct tmpl_set *s, json_t *o)
{
    const char *key;
    json_t *v;
    json_object_foreach(o, key, v) {
        int list = !strcmp(key, "additional_special_tokens") || !strcmp(key, "extra_special_tokens");
        if (list && json_is_array(v) && json_array_size(v)) {
            struct special *p = special_slot(s, key);
            if (!p)
                continue;
            p->list = ARENA_NEW(&s->mem, struct str, (int64_t)json_array_size(v));
            for (size_t i = 0; i < json_array_size(v); i++)
                if (token_text(json_array_get(v, i)))
                    p->list[p->n_list++] = str_dup(&s->mem, str_of(token_text(json_array_get(v, i))));
        } else if (ends_with(key, "_token") && strncmp(key, "add_", 4) && token_text(v)) {
            struct special *p = special_slot(s, key);
            if (p)
                p->text = str_dup(&s->mem, str_of(token_text(v)));
        }
    }
}

static err_code load_json(struct tmpl_set *s, const char *dir, const char *file, int specials, struct err *e)
{
    char path[4200];
    json_t *o;
    snprintf(path, sizeof path, "%s/%s", dir, file);
    if (!file_exists(path))
        return ERR_OK;
    TRY(json_load(path, MAX_FILE, &o, e));
    const json_t *v = json_object_get(o, "chat_template");
    err_code rc = v && !json_is_null(v) ? add_json(s, v, file, e) : ERR_OK;
    if (specials)
        add_specials(s, o);
    json_decref(o);
    return rc;
}

static err_code load_additional(struct tmpl_set *s, const char *dir, struct err *e)
{
    char path[4200], file[4600];
    struct dirent **list;
    snprintf(path, sizeof path, "%s/additional_chat_templates", dir);
    if (!file_is_dir(path))
        return ERR_OK;
    int n = scandir(path, &list, NULL, alphasort);
    if (n < 0)
        return err_sys(e, ERR_IO, "cannot read '%s'", path);
    err_code rc = ERR_OK;
    for (int i = 0; i < n; i++) {
        struct str name = str_of(list[i]->d_name);
        if (rc == ERR_OK && str_ends(name, STR(".jinja"))) {
            snprintf(file, sizeof file, "%s/%s", path, list[i]->d_name);
            rc = add_file(s, str_sub(name, 0, name.n - 6), file, list[i]->d_name, e);
        }
        free(list[i]);
    }
    free(list);
    return rc;
}

static err_code new_set(struct tmpl_set **out, struct err *e)
{
    struct tmpl_set *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(e, ERR_LIMIT, "out of memory");
    arena_init(&s->mem, "templates", 1 << 30);
    *out = s;
    return ERR_OK;
}

static err_code load_all(struct tmpl_set *s, const char *dir, struct err *e)
{
    char path[4200];
    if (!file_is_dir(dir))
        return err_set(e, ERR_IO, "'%s' is not a folder", dir);
    snprintf(path, sizeof path, "%s/chat_template.jinja", dir);
    if (file_exists(path))
        TRY(add_file(s, STR("default"), path, "chat_template.jinja", e));
    TRY(load_additional(s, dir, e));
    TRY(load_json(s, dir, "chat_template.json", 0, e));
    TRY(load_json(s, dir, "special_tokens_map.json", 1, e));
    TRY(load_json(s, dir, "tokenizer_config.json", 1, e));
    if (!s->n)
        return err_set(e, ERR_DATA, "'%s' has no chat template (chat_template.jinja, or chat_template in tokenizer_config.json)", dir);
    return ERR_OK;
}

err_code tmpl_load(const char *dir, struct tmpl_set **out, struct err *e)
{
    struct tmpl_set *s = NULL;
    TRY(new_set(&s, e));
    err_code rc = load_all(s, dir, e);
    if (rc != ERR_OK)
        tmpl_set_free(s);
    else
        *out = s;
    return rc;
}

err_code tmpl_load_file(const char *path, struct tmpl_set **out, struct err *e)
{
    struct tmpl_set *s = NULL;
    const char *slash = strrchr(path, '/');
    TRY(new_set(&s, e));
    err_code rc = add_file(s, STR("default"), path, slash ? slash + 1 : path, e);
    if (rc != ERR_OK)
        tmpl_set_free(s);
    else
        *out = s;
    return rc;
}

void tmpl_set_free(struct tmpl_set *s)
{
    if (!s)
        return;
    for (int i = 0; i < s->n; i++)
        tmpl_free(s->at[i].t);
    arena_release(&s->mem);
    free(s);
}

static const struct tmpl *find(const struct tmpl_set *s, struct str name)
{
    for (int i = 0; i < s->n; i++)
        if (str_eq(s->at[i].name, name))
            return s->at[i].t;
    return NULL;
}

err_code tmpl_pick(const struct tmpl_set *s, const char *name, int has_tools, const struct tmpl **out, struct err *e)
{
    const struct tmpl *t = name ? find(s, str_of(name)) : has_tools ? find(s, STR("tool_use")) : NULL;
    if (!t && !name)
        t = find(s, STR("default"));
    if (!t)
        return err_set(e, ERR_DATA, "no chat template named '%s'; the first of %d is '%s'", name ? name : "default", s->n, s->at[0].name.p);
    *out = t;
    return ERR_OK;
}

struct str tmpl_special(const struct tmpl_set *s, const char *key)
{
    for (int i = 0; i < s->n_special; i++)
        if (str_eq(s->special[i].key, str_of(key)))
            return s->special[i].text;
    return (struct str){"", 0};
}

err_code tmpl_set_var(struct tmpl_run *r, const struct tmpl_set *s, struct str name, struct val *out)
{
    for (int i = 0; i < s->n_special; i++) {
        const struct special *p = &s->special[i];
        if (!str_eq(p->key, name))
            continue;
        if (!p->list)
            return *out = tmpl_view(p->text.p, p->text.n), ERR_OK;
        TRY(tmpl_seq_new(r, T_LIST, p->n_list, out));
        for (int k = 0; k < p->n_list; k++)
            out->seq->at[k] = tmpl_view(p->list[k].p, p->list[k].n);
        return ERR_OK;
    }
    return ERR_OK;
}
