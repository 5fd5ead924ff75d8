/* hone sandbox run: programs from JSON Lines, one answer line each. */
#include <stdlib.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/pool.h"
#include "sandbox/sandbox.h"

struct flags {
    int64_t jobs;
};

static const struct opt_def defs[] = {
    {"", "jobs", OPT_INT, offsetof(struct flags, jobs), "0", 0, 256, NULL, "programs at a time; 0 = one per CPU"},
};

enum { FILES_MAX = 1024, ARGS_MAX = 128 };

/* A question in flight: what the worker needs, and the answer. */
struct item {
    struct sandbox_task task;
    json_t *q;
    struct sandbox_job job;
    struct sandbox_file files[FILES_MAX];
    const char *argv[ARGS_MAX + 1];
    struct sandbox_result r;
};

static err_code parse_argv(struct item *it, const json_t *list, struct err *e)
{
    size_t n = json_array_size(list);
    if (n == 0 || n > ARGS_MAX)
        return err_set(e, ERR_DATA, "'argv' must have 1 to %d strings", ARGS_MAX);
    for (size_t i = 0; i < n; i++)
        if (!(it->argv[i] = json_string_value(json_array_get(list, i))))
            return err_set(e, ERR_DATA, "'argv' must be strings");
    it->argv[n] = NULL;
    it->job.argv = it->argv;
    return ERR_OK;
}

static err_code parse(void *ctx, struct item *it, struct err *e)
{
    struct str lang = {NULL, 0};
    const char *name;
    json_t *v, *argv = json_object_get(it->q, "argv"), *files = json_object_get(it->q, "files"), *limits = json_object_get(it->q, "limits");
    (void)ctx;
    it->job.limits = sandbox_limits_default();
    TRY(json_opt_str(it->q, "language", &lang, e));
    TRY(json_opt_str(it->q, "code", &it->job.code, e));
    TRY(json_opt_str(it->q, "stdin", &it->job.input, e));
    if (lang.p && !sandbox_language_main(lang.p))
        return err_set(e, ERR_DATA, "unknown language '%s'", lang.p);
    it->job.language = lang.p;
    if (argv)
        TRY(parse_argv(it, argv, e));
    if (!lang.p && !argv)
        return err_set(e, ERR_DATA, "neither 'language' nor 'argv'");
    if (limits && !json_is_null(limits))
        TRY(sandbox_limits_json(&it->job.limits, limits, "", e));
    json_object_foreach(files, name, v)
    {
        if (!json_is_string(v) || it->job.n_files == FILES_MAX)
            return err_set(e, ERR_DATA, "'files' must be an object of at most %d strings", FILES_MAX);
        it->files[it->job.n_files++] = (struct sandbox_file){.name = str_of(name), .bytes = {json_string_value(v), (int64_t)json_string_length(v)}};
    }
    it->job.files = it->files;
    if (it->job.argv && !lang.p && it->job.code.p)
        return err_set(e, ERR_DATA, "'code' needs a 'language'; give files instead");
    return ERR_OK;
}

static void work(struct sandbox_worker *w, void *ctx)
{
    struct item *it = ctx;
    sandbox_run(w, &it->job, &it->r);
}

static void answer(struct item *it, struct sbuf *b)
{
    const struct sandbox_result *r = &it->r;
    json_answer_begin(b, it->q);
    sbuf_addf(b, "\"verdict\":\"%s\",\"sub\":", sandbox_verdict_name(r->verdict));
    json_put_str(b, str_of(r->sub));
    sbuf_addf(b, ",\"exit\":");
    if (r->exit_code >= 0)
        sbuf_addf(b, "%d", r->exit_code);
    else
        sbuf_adds(b, "null");
    sbuf_addf(b, ",\"signal\":");
    if (r->signal)
        sbuf_addf(b, "%d", r->signal);
    else
        sbuf_adds(b, "null");
    sbuf_adds(b, ",\"stdout\":");
    json_put_str(b, sbuf_str(&r->out));
    sbuf_adds(b, ",\"stderr\":");
    json_put_str(b, sbuf_str(&r->err));
    sbuf_addf(b, ",\"wall_ms\":%.3f,\"cpu_ms\":%.3f,\"mem_peak_bytes\":%lld", r->wall_ms, r->cpu_ms, (long long)r->mem_peak);
    if (r->retries)
        sbuf_addf(b, ",\"retries\":%d", r->retries);
    sbuf_adds(b, "}\n");
}

static void *item_new(void *ctx, const json_t *q, struct sandbox_task **t, struct err *e)
{
    struct item *it = calloc(1, sizeof *it);
    if (!it)
        BUG("out of memory");
    it->q = json_incref((json_t *)(uintptr_t)q);
    it->task = (struct sandbox_task){.fn = work, .ctx = it};
    *t = &it->task;
    if (parse(ctx, it, e) != ERR_OK)
        *t = NULL;
    return it;
}

static void item_answer(void *item, struct sbuf *b) { answer(item, b); }

static void item_free(void *item)
{
    struct item *it = item;
    json_decref(it->q);
    sandbox_result_release(&it->r);
    free(it);
}

static int run(int argc, char **argv)
{
    struct flags fl;
    struct arena mem;
    struct err e = {0};
    struct sandbox *s = NULL;
    int words, done;
    const struct cmd_flags f = {.usage = "sandbox run [--jobs N] < in > out",
                                .about = "Runs programs from JSON Lines {\"id\",\"language\"|\"argv\",\"code\",\"stdin\",\"files\",\"limits\"} under limits.",
                                .defs = defs,
                                .n = 1};
    arena_init(&mem, "flags", 1 << 20);
    int rc = cmd_parse(&f, &fl, &mem, argc, argv, &words, &done);
    if (!done && sandbox_open(&s, &(struct sandbox_opts){.workers = (int)fl.jobs}, &e) != ERR_OK)
        rc = cmd_fail(&e);
    else if (!done)
        rc = cmd_pool(s, &(struct cmd_pool_ops){item_new, item_answer, item_free}, NULL);
    sandbox_close(s);
    arena_release(&mem);
    return rc;
}

int cmd_sandbox(int argc, char **argv)
{
    static const struct cmd_verb verbs[] = {
        {"run", "run programs under limits, JSON Lines in and out", run},
        {"judge", "one program against one task, one line out", cmd_sandbox_judge},
    };
    return cmd_dispatch("sandbox", verbs, sizeof verbs / sizeof *verbs, argc, argv);
}
