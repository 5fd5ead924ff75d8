/* Items out as JSON Lines. What a format cannot hold is an error that names the item, never left out. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file.h"
#include "core/stop.h"
#include "datasets/formats.h"

enum { FLUSH_BYTES = 1 << 20 };

struct exporting {
    struct tape tape;
    struct sbuf out;
    struct err *e;
    int64_t item;
    struct str kind;
};

static err_code cannot(struct exporting *x, const char *format, const char *why)
{
    return err_set(x->e, ERR_UNSUPPORTED, "item %lld cannot be written as %s: %s", (long long)x->item, format, why);
}

/* The members behind the messages, as they are. */
static void put_others(struct exporting *x, const char *skip)
{
    const struct tape *t = &x->tape;
    for (int32_t i = 1; i < t->node[0].next; i = t->node[i + 1].next) {
        if (data_tape_is(t, i, "messages") || (skip && data_tape_is(t, i, skip)))
            continue;
        sbuf_adds(&x->out, ",\"");
        data_tape_put_inside(&x->out, t, i);
        sbuf_adds(&x->out, "\":");
        data_tape_put(&x->out, t, i + 1);
    }
}

static err_code put_sharegpt(struct exporting *x)
{
    static const char *const names[][2] = {{"user", "human"}, {"assistant", "gpt"}, {"system", "system"}, {"tool", "observation"}};
    const struct tape *t = &x->tape;
    int32_t list = data_tape_get(t, 0, "messages");
    sbuf_adds(&x->out, "{\"conversations\":[");
    for (int32_t m = list + 1, n = 0; m < t->node[list].next; m = t->node[m].next, n++) {
        int32_t role = data_tape_get(t, m, "role"), content = data_tape_get(t, m, "content");
        const char *from = NULL;
        for (int k = 0; k < 4; k++)
            if (data_tape_is(t, role, names[k][0]))
                from = names[k][1];
        if (!from || content < 0 || t->node[content].type != TAPE_STRING || t->node[m].n != 2)
            return cannot(x, "sharegpt", "a message is more than a known role and a text");
        sbuf_addf(&x->out, "%s{\"from\":\"%s\",\"value\":", n ? "," : "", from);
        data_tape_put(&x->out, t, content);
        sbuf_addc(&x->out, '}');
    }
    sbuf_addc(&x->out, ']');
    put_others(x, NULL);
    return ERR_OK;
}

/* One user message with a text is written as that text. */
static void put_prompt(struct exporting *x, int32_t list, int32_t n)
{
    const struct tape *t = &x->tape;
    int32_t m = list + 1, content = data_tape_get(t, m, "content");
    if (n == 1 && t->node[m].n == 2 && data_tape_is(t, data_tape_get(t, m, "role"), "user") && content >= 0 && t->node[content].type == TAPE_STRING) {
        data_tape_put(&x->out, t, content);
        return;
    }
    for (int32_t i = 0; i < n; i++, m = t->node[m].next) {
        sbuf_addc(&x->out, i ? ',' : '[');
        data_tape_put(&x->out, t, m);
    }
    sbuf_addc(&x->out, ']');
}

static err_code put_prompt_answer(struct exporting *x)
{
    int32_t list = data_tape_get(&x->tape, 0, "messages");
    sbuf_adds(&x->out, "{\"prompt\":");
    put_prompt(x, list, x->tape.node[list].n);
    put_others(x, NULL);
    return ERR_OK;
}

static err_code put_prompt_completion(struct exporting *x)
{
    const struct tape *t = &x->tape;
    int32_t list = data_tape_get(t, 0, "messages"), n = t->node[list].n, m = list + 1;
    if (n < 2)
        return cannot(x, "prompt_completion", "nothing comes before the answer");
    sbuf_adds(&x->out, "{\"prompt\":");
    put_prompt(x, list, n - 1);
    for (int32_t i = 0; i < n - 1; i++)
        m = t->node[m].next;
    sbuf_adds(&x->out, ",\"completion\":[");
    data_tape_put(&x->out, t, m);
    sbuf_addc(&x->out, ']');
    put_others(x, NULL);
    return ERR_OK;
}

/* Formats and the kinds they hold; no writer: the body itself is a row of the format. */
static const struct {
    enum data_format format;
    const char *kinds;
    err_code (*put)(struct exporting *x);
} writers[] = {
    {DATA_openai, "chat prompt", NULL},
    {DATA_sharegpt, "chat prompt", put_sharegpt},
    {DATA_prompt_completion, "chat", put_prompt_completion},
    {DATA_prompt_answer, "prompt", put_prompt_answer},
    {DATA_preference, "pair", NULL},
    {DATA_text, "text", NULL},
};

static err_code put_item(struct exporting *x, enum data_format format, struct str body)
{
    for (size_t i = 0; i < sizeof writers / sizeof *writers; i++) {
        struct str kinds = str_of(writers[i].kinds), one;
        if (writers[i].format != format)
            continue;
        while (str_split(&kinds, ' ', &one))
            if (str_eq(one, x->kind)) {
                if (writers[i].put) {
                    TRY(data_tape_parse(&x->tape, body, x->e));
                    TRY(writers[i].put(x));
                    sbuf_addc(&x->out, '}');
                } else {
                    sbuf_add(&x->out, body);
                }
                sbuf_addc(&x->out, '\n');
                return x->out.full ? err_set(x->e, ERR_LIMIT, "item %lld is too large to write", (long long)x->item) : ERR_OK;
            }
        return err_set(x->e, ERR_UNSUPPORTED, "item %lld is a %.*s; the format %s holds %s items", (long long)x->item, STR_ARG(x->kind),
                       data_format_name(format), writers[i].kinds);
    }
    return err_set(x->e, ERR_UNSUPPORTED, "no export to the format %s; hint: openai, sharegpt, prompt_completion, prompt_answer, preference, text",
                   data_format_name(format));
}

static err_code write_items(struct store *s, const struct data_items *it, enum data_format format, int fd, const char *path, struct err *e)
{
    struct exporting x = {.e = e};
    struct store_query q;
    err_code rc = ERR_OK;
    sbuf_init(&x.out, 1LL << 32);
    for (int64_t i = 0; i < it->n && rc == ERR_OK; i++) {
        x.item = it->id[i];
        rc = store_query(s, &q, e, "SELECT i.kind, b.body FROM items i JOIN bodies b ON b.item = i.id WHERE i.id = ?", "i", x.item);
        if (rc == ERR_OK && !q.more)
            rc = err_set(e, ERR_DATA, "store '%s' has no item %lld", store_path(s), (long long)x.item);
        if (rc == ERR_OK) {
            x.kind = store_str(&q, 0);
            rc = put_item(&x, format, store_str(&q, 1));
            store_end(&q);
        }
        if (rc == ERR_OK && (x.out.n >= FLUSH_BYTES || i + 1 == it->n)) {
            rc = file_write_all(fd, x.out.p, x.out.n, path, e);
            sbuf_clear(&x.out);
        }
        if (rc == ERR_OK && stop_requested())
            rc = err_set(e, ERR_CANCELLED, "export to '%s' stopped", path);
    }
    data_tape_release(&x.tape);
    sbuf_release(&x.out);
    return rc;
}

/* A regular file is written beside and renamed: it is either whole or as it was. A link or a device is written into. */
static err_code write_file(struct store *s, const struct data_items *it, enum data_format format, const char *path, struct err *e)
{
    char beside[PATH_MAX];
    struct stat st;
    if (!strcmp(path, "-"))
        return write_items(s, it, format, STDOUT_FILENO, "standard output", e);
    int direct = lstat(path, &st) == 0 && !S_ISREG(st.st_mode);
    if (snprintf(beside, sizeof beside, direct ? "%s" : "%s.part", path) >= (int)sizeof beside)
        return err_set(e, ERR_IO, "cannot write '%s': bad path", path);
    int fd = open(beside, direct ? O_WRONLY | O_CLOEXEC : O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return err_sys(e, ERR_IO, "cannot write '%s'", beside);
    err_code rc = write_items(s, it, format, fd, path, e);
    if (rc == ERR_OK && !direct)
        rc = file_sync(fd, beside, e);
    if (close(fd) < 0 && rc == ERR_OK)
        rc = err_sys(e, ERR_IO, "cannot write '%s'", beside);
    if (rc == ERR_OK && !direct)
        rc = file_rename(beside, path, e);
    if (rc != ERR_OK && !direct)
        unlink(beside);
    return rc;
}

err_code data_export(struct store *s, int64_t snapshot, enum data_format format, const char *path, int64_t *rows, struct err *e)
{
    int64_t n = 0;
    struct arena mem;
    struct data_items it;
    TRY(store_get(s, &n, 0, e, "SELECT items FROM snapshots WHERE id = ?", "i", snapshot));
    arena_init(&mem, "export", n * 8 + (1 << 16));
    err_code rc = data_snapshot_items(s, snapshot, &mem, &it, e);
    if (rc == ERR_OK)
        rc = write_file(s, &it, format, path, e);
    if (rc == ERR_OK)
        *rows = it.n;
    arena_release(&mem);
    return rc;
}
