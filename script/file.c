/* A user's file that defines one function. */
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "script/script.h"

enum { LUA_FILE_MAX = 16 << 20 };

err_code script_file_load(const struct script_file *f, const struct script_host *host, struct script **s, struct err *e)
{
    *s = NULL;
    TRY(script_open(s, &f->limits, e));
    if (host)
        TRY(script_offer(*s, host->name, host->fn, host->ctx, e));
    return script_run(*s, sbuf_str(&f->text), f->path, e);
}

static err_code check(struct script_file *f, const char *form, const struct script_host *host, struct err *e)
{
    char name[64];
    struct script *s = NULL;
    snprintf(name, sizeof name, "%.*s", (int)strcspn(form, "("), form);
    TRY(file_read(f->path, &f->text, e));
    err_code rc = script_file_load(f, host, &s, e);
    if (rc == ERR_OK && !script_has(s, name))
        rc = err_set(e, ERR_USAGE, "'%s' defines no global function %s", f->path, form);
    script_close(s);
    return rc;
}

err_code script_file_open(struct script_file *f, const char *path, const char *form, const struct script_limits *limits, const struct script_host *host,
                          struct err *e)
{
    *f = (struct script_file){.path = strdup(path), .limits = *limits};
    if (!f->path)
        BUG("out of memory");
    sbuf_init(&f->text, LUA_FILE_MAX);
    err_code rc = check(f, form, host, e);
    if (rc != ERR_OK)
        script_file_close(f);
    return rc;
}

void script_file_close(struct script_file *f)
{
    sbuf_release(&f->text);
    free(f->path);
    *f = (struct script_file){.path = NULL};
}
