/* hone verify code, hone sandbox judge: programs against the tests of their tasks. */
#include <stdlib.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/pool.h"
#include "core/file.h"
#include "rewards/rewards.h"

struct flags {
    int64_t jobs;
    int weak, stop;
};

static const struct opt_def defs[] = {
    {"", "jobs", OPT_INT, offsetof(struct flags, jobs), "0", 0, 256, NULL, "programs at a time; 0 = one per CPU"},
    {"", "weak", OPT_BOOL, offsetof(struct flags, weak), "true", 0, 0, NULL, "judge tasks whose tests need the program's own process (marked weak)"},
    {"", "stop", OPT_BOOL, offsetof(struct flags, stop), "true", 0, 0, NULL, "stop a task at its first failing test"},
};

enum { FILES_MAX = 256 };

struct item {
    struct sandbox_task work;
    json_t *q;
    struct arena mem;
    struct code_task task;
    struct code_program program;
    struct sandbox_file files[FILES_MAX];
    struct code_opts opts;
    struct code_verdict v;
};

static err_code parse(struct item *it, struct err *e)
{
    json_t *task = json_object_get(it->q, "task"), *files = json_object_get(it->q, "files"), *v;
    struct str lang = {NULL, 0};
    const char *name;
    TRY(json_need_str(it->q, "language", &lang, e));
    TRY(json_opt_str(it->q, "code", &it->program.code, e));
    if (!json_is_object(task))
        return err_set(e, ERR_DATA, "no 'task'");
    it->program.language = lang.p;
    if (!sandbox_language_main(lang.p))
        return err_set(e, ERR_DATA, "unknown language '%s'", lang.p);
    json_object_foreach(files, name, v)
    {
        if (!json_is_string(v) || it->program.n_files == FILES_MAX)
            return err_set(e, ERR_DATA, "'files' must be an object of at most %d strings", FILES_MAX);
        it->files[it->program.n_files++] = (struct sandbox_file){.name = str_of(name), .bytes = {json_string_value(v), (int64_t)json_string_length(v)}};
    }
    it->program.files = it->files;
    if (!it->program.code.p && !it->program.n_files)
        return err_set(e, ERR_DATA, "neither 'code' nor 'files'");
    return code_task_parse(task, lang.p, &it->mem, &it->task, e);
}

static void work(struct sandbox_worker *w, void *ctx)
{
    struct item *it = ctx;
    code_judge(w, &it->task, &it->program, &it->opts, &it->mem, &it->v);
}

static void *item_new(void *ctx, const json_t *q, struct sandbox_task **t, struct err *e)
{
    const struct flags *fl = ctx;
    struct item *it = calloc(1, sizeof *it);
    if (!it)
        BUG("out of memory");
    it->q = json_incref((json_t *)(uintptr_t)q);
    it->opts = (struct code_opts){.stop = fl->stop, .allow_weak = fl->weak};
    it->work = (struct sandbox_task){.fn = work, .ctx = it};
    arena_init(&it->mem, "code task", 256 << 20);
    *t = parse(it, e) == ERR_OK ? &it->work : NULL;
    return it;
}

static void put_verdict(struct sbuf *b, const struct code_verdict *v)
{
    sbuf_addf(b, "\"verdict\":\"%s\",\"passed\":%d,\"total\":%d,\"verdicts\":[", sandbox_verdict_name(v->verdict), v->passed, v->total);
    for (int i = 0; i < v->ran; i++)
        sbuf_addf(b, "%s\"%s\"", i ? "," : "", sandbox_verdict_name(v->each[i]));
    sbuf_adds(b, "],\"why\":");
    json_put_str(b, str_of(v->why));
    if (v->weak)
        sbuf_adds(b, ",\"weak\":true");
    if (v->retries)
        sbuf_addf(b, ",\"retries\":%d", v->retries);
}

static void item_answer(void *item, struct sbuf *b)
{
    struct item *it = item;
    json_answer_begin(b, it->q);
    put_verdict(b, &it->v);
    sbuf_addf(b, ",\"wall_ms\":%.3f,\"cpu_ms\":%.3f,\"mem_peak_bytes\":%lld}\n", it->v.wall_ms, it->v.cpu_ms, (long long)it->v.mem_peak);
}

static void item_free(void *item)
{
    struct item *it = item;
    code_task_release(&it->task);
    json_decref(it->q);
    arena_release(&it->mem);
    free(it);
}

int cmd_verify_code(int argc, char **argv)
{
    struct flags fl;
    struct arena mem;
    struct err e = {0};
    struct sandbox *s = NULL;
    int words, done;
    const struct cmd_flags f = {.usage = "verify code [--jobs N] < in > out",
                                .about = "Judges programs from JSON Lines {\"id\",\"language\",\"code\"|\"files\",\"task\"} in the sandbox.",
                                .defs = defs,
                                .n = sizeof defs / sizeof *defs};
    arena_init(&mem, "flags", 1 << 20);
    int rc = cmd_parse(&f, &fl, &mem, argc, argv, &words, &done);
    struct sandbox_opts o = code_sandbox_opts(done ? 1 : (int)fl.jobs);
    if (!done && sandbox_open(&s, &o, &e) != ERR_OK)
        rc = cmd_fail(&e);
    else if (!done)
        rc = cmd_pool(s, &(struct cmd_pool_ops){item_new, item_answer, item_free}, &fl);
    sandbox_close(s);
    arena_release(&mem);
    return rc;
}

/* ---- sandbox judge */

struct judge_flags {
    const char *lang, *task, *limits;
};

static const struct opt_def judge_defs[] = {
    {"", "lang", OPT_STR, offsetof(struct judge_flags, lang), "", 0, 0, NULL, "language of the file"},
    {"", "task", OPT_STR, offsetof(struct judge_flags, task), "", 0, 0, NULL, "JSON file with the task"},
    {"", "limits", OPT_STR, offsetof(struct judge_flags, limits), "", 0, 0, NULL, "JSON file with limits"},
};

static void print_judgement(const struct code_verdict *v)
{
    struct sbuf b;
    sbuf_init(&b, 64 << 20);
    sbuf_addc(&b, '{');
    put_verdict(&b, v);
    sbuf_adds(&b, ",\"stdout\":");
    json_put_str(&b, v->out);
    sbuf_adds(&b, ",\"stderr\":");
    json_put_str(&b, v->err);
    sbuf_addf(&b, ",\"wall_s\":%.4f,\"cpu_s\":%.4f,\"mem_peak_bytes\":%lld}\n", v->wall_ms / 1e3, v->cpu_ms / 1e3, (long long)v->mem_peak);
    fwrite(b.p, 1, (size_t)b.n, stdout);
    sbuf_release(&b);
}

static err_code judge(const struct judge_flags *fl, const char *path, struct arena *mem, struct code_verdict *v, struct err *e)
{
    enum { FILE_MAX = 64 << 20 };
    struct sbuf code;
    json_t *task = NULL, *limits = NULL;
    struct sandbox *s = NULL;
    struct code_task t = {0};
    sbuf_init(&code, FILE_MAX);
    err_code rc = file_read(path, &code, e);
    rc = rc != ERR_OK ? rc : json_load(fl->task, FILE_MAX, &task, e);
    rc = rc != ERR_OK || !fl->limits[0] ? rc : json_load(fl->limits, FILE_MAX, &limits, e);
    rc = rc != ERR_OK ? rc : code_task_parse(task, fl->lang, mem, &t, e);
    if (rc == ERR_OK && limits) {
        rc = sandbox_limits_json(&t.limits, limits, "", e);
        rc = rc != ERR_OK ? rc : sandbox_limits_json(&t.compile_limits, limits, "compile_", e);
        t.compile_limits.cpu_ms = t.compile_limits.wall_ms;
    }
    struct sandbox_opts o = code_sandbox_opts(1);
    rc = rc != ERR_OK ? rc : sandbox_open(&s, &o, e);
    if (rc == ERR_OK) {
        struct code_request q = {&t, {.language = fl->lang, .code = sbuf_str(&code)}};
        code_judge_all(s, &q, 1, &(struct code_opts){.stop = 1, .allow_weak = 1}, 0, mem, v);
    }
    sandbox_close(s);
    code_task_release(&t);
    json_decref(task);
    json_decref(limits);
    sbuf_release(&code);
    return rc;
}

int cmd_sandbox_judge(int argc, char **argv)
{
    struct judge_flags fl;
    struct arena mem;
    struct err e = {0};
    struct code_verdict v;
    int words, done;
    const struct cmd_flags f = {.usage = "sandbox judge --lang L --task TASK.json [--limits LIMITS.json] FILE",
                                .about = "Judges one program against one task and prints one JSON line.",
                                .defs = judge_defs,
                                .n = sizeof judge_defs / sizeof *judge_defs,
                                .words_max = 1};
    arena_init(&mem, "judge", 256 << 20);
    int rc = cmd_parse(&f, &fl, &mem, argc, argv, &words, &done);
    if (!done && (words != 1 || !fl.task[0] || !sandbox_language_main(fl.lang)))
        rc = cmd_fail(&(struct err){ERR_USAGE, "judge needs --lang, --task and one file"});
    else if (!done)
        rc = judge(&fl, argv[0], &mem, &v, &e) == ERR_OK ? (print_judgement(&v), 0) : cmd_fail(&e);
    arena_release(&mem);
    return rc;
}
