#include "core/json.h"

#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "core/file.h"

void json_lines_init(struct json_lines *r, FILE *f, const char *name, int64_t max_bytes)
{
    *r = (struct json_lines){.f = f, .name = name, .max_bytes = max_bytes};
}

void json_lines_release(struct json_lines *r)
{
    free(r->raw);
    r->raw = NULL;
    r->raw_cap = 0;
}

err_code json_lines_next(struct json_lines *r, struct str *out, int *more, struct err *e)
{
    *more = 1;
    ssize_t n = getline(&r->raw, &r->raw_cap, r->f);
    if (n < 0) {
        if (ferror(r->f))
            return err_sys(e, ERR_IO, "cannot read '%s'", r->name);
        *more = 0;
        return ERR_OK;
    }
    r->line++;
    if (n > r->max_bytes)
        return err_set(e, ERR_LIMIT, "%s:%lld: line is longer than %lld bytes", r->name, (long long)r->line,
                       (long long)r->max_bytes);
    while (n && (r->raw[n - 1] == '\n' || r->raw[n - 1] == '\r'))
        n--;
    *out = (struct str){r->raw, n};
    return ERR_OK;
}

err_code json_parse(struct str text, json_t **out, struct err *e)
{
    json_error_t je;
    json_t *v = json_loadb(text.p, (size_t)text.n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &je);
    if (!v)
        return err_set(e, ERR_DATA, "not JSON at byte %d: %s", je.position, je.text);
    *out = v;
    return ERR_OK;
}

err_code json_load(const char *path, int64_t max_bytes, json_t **out, struct err *e)
{
    struct sbuf b;
    sbuf_init(&b, max_bytes);
    err_code rc = file_read(path, &b, e);
    if (rc == ERR_OK) {
        json_error_t je;
        json_t *v = json_loadb(b.p ? b.p : "", (size_t)b.n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &je);
        if (v)
            *out = v;
        else
            rc = err_set(e, ERR_DATA, "%s:%d: not JSON: %s", path, je.line, je.text);
    }
    sbuf_release(&b);
    return rc;
}

static const json_t *member(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return v && !json_is_null(v) ? v : NULL;
}

static err_code wrong(struct err *e, const char *key, const char *want)
{
    return err_set(e, ERR_DATA, "\"%s\" is not %s", key, want);
}

err_code json_opt_str(const json_t *o, const char *key, struct str *out, struct err *e)
{
    const json_t *v = member(o, key);
    if (v && !json_is_string(v))
        return wrong(e, key, "a string");
    if (v)
        *out = (struct str){json_string_value(v), (int64_t)json_string_length(v)};
    return ERR_OK;
}

err_code json_opt_i64(const json_t *o, const char *key, int64_t *out, struct err *e)
{
    const json_t *v = member(o, key);
    if (v && !json_is_integer(v))
        return wrong(e, key, "an integer");
    if (v)
        *out = json_integer_value(v);
    return ERR_OK;
}

err_code json_opt_f64(const json_t *o, const char *key, double *out, struct err *e)
{
    const json_t *v = member(o, key);
    if (v && !json_is_number(v))
        return wrong(e, key, "a number");
    if (v)
        *out = json_number_value(v);
    return ERR_OK;
}

err_code json_opt_bool(const json_t *o, const char *key, int *out, struct err *e)
{
    const json_t *v = member(o, key);
    if (v && !json_is_boolean(v))
        return wrong(e, key, "true or false");
    if (v)
        *out = json_is_true(v);
    return ERR_OK;
}

err_code json_need_str(const json_t *o, const char *key, struct str *out, struct err *e)
{
    if (!member(o, key))
        return err_set(e, ERR_DATA, "\"%s\" is missing", key);
    return json_opt_str(o, key, out, e);
}

err_code json_need_i64(const json_t *o, const char *key, int64_t *out, struct err *e)
{
    if (!member(o, key))
        return err_set(e, ERR_DATA, "\"%s\" is missing", key);
    return json_opt_i64(o, key, out, e);
}

static void put_escape(struct sbuf *b, unsigned char c)
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    const char *hit = strchr(from, c);
    if (c && hit)
        sbuf_addf(b, "\\%c", to[hit - from]);
    else
        sbuf_addf(b, "\\u%04x", c);
}

void json_put_str(struct sbuf *b, struct str s)
{
    sbuf_addc(b, '"');
    int64_t begin = 0, i = 0;
    while (i < s.n) {
        unsigned char c = (unsigned char)s.p[i];
        uint32_t cp;
        int n = c >= 0x80 ? utf8_decode(s, i, &cp) : 1;
        int separator = n > 1 && (cp == 0x85 || cp == 0x2028 || cp == 0x2029);
        if (n && c >= 0x20 && c != '"' && c != '\\' && !separator) {
            i += n;
            continue;
        }
        sbuf_add(b, str_sub(s, begin, i));
        if (separator) {
            sbuf_addf(b, "\\u%04x", cp); /* readers that split lines as Unicode does would cut the answer in two */
            i += n - 1;
        } else if (n)
            put_escape(b, c);
        else
            sbuf_adds(b, "\xEF\xBF\xBD");
        begin = ++i;
    }
    sbuf_add(b, str_sub(s, begin, s.n));
    sbuf_addc(b, '"');
}

void json_put_hex(struct sbuf *b, double v)
{
    sbuf_addf(b, "\"%a\"", v);
}

static int put_chunk(const char *p, size_t n, void *ctx)
{
    sbuf_add(ctx, (struct str){p, (int64_t)n});
    return 0;
}

void json_put_value(struct sbuf *b, const json_t *v)
{
    if (!v || json_dump_callback(v, put_chunk, b, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17)) < 0)
        sbuf_adds(b, "null");
}

void json_answer_begin(struct sbuf *b, const json_t *question)
{
    sbuf_adds(b, "{\"id\":");
    json_put_value(b, json_object_get(question, "id"));
    sbuf_addc(b, ',');
}

void json_answer_error(struct sbuf *b, const json_t *question, const char *msg)
{
    json_answer_begin(b, question);
    sbuf_adds(b, "\"error\":");
    json_put_str(b, str_of(msg));
    sbuf_adds(b, "}\n");
}
