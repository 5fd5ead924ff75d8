/* hone template: rows through a chat template. */
#include <string.h>

#include "cmd/cmd.h"
#include "text/text.h"

struct flags {
    const char *model, *template, *name, *now, *mask;
    int generation;
};

static const struct opt_def defs[] = {
    {"", "model", OPT_STR, offsetof(struct flags, model), "", 0, 0, NULL, "model folder: its template and special tokens"},
    {"", "template", OPT_STR, offsetof(struct flags, template), "", 0, 0, NULL, "one .jinja file instead"},
    {"", "name", OPT_STR, offsetof(struct flags, name), "", 0, 0, NULL, "which of the folder's templates (default: \"default\", \"tool_use\" for rows with tools)"},
    {"", "mask", OPT_ENUM, offsetof(struct flags, mask), "none", 0, 0, "none|all|last|text", "also answer who wrote which bytes and what is supervised: every assistant turn, those behind the last user message, or all text"},
    {"", "generation", OPT_BOOL, offsetof(struct flags, generation), "true", 0, 0, NULL, "let the template's {% generation %} blocks decide the mask"},
    {"", "now", OPT_STR, offsetof(struct flags, now), "", 0, 0, NULL, "clock of strftime_now, YYYY-MM-DDTHH:MM:SS (default: the system's)"},
};

static const struct cmd_flags command = {
    .usage = "template (--model DIR | --template FILE) < rows.jsonl > texts.jsonl",
    .about = "Renders chat templates. A row is {\"id\",\"messages\",\"tools\",\"documents\",\"add_generation_prompt\",\n"
             "\"continue_final_message\",\"variables\":{...},\"spans\":bool}; the answer is {\"id\",\"text\"}, with \"spans\", or when the\n"
             "template has {% generation %} blocks, also \"generation_spans\":[[begin,end],...] in code points, or {\"id\",\"error\"}. Absent tools and documents are None.\n"
             "With --mask also \"mask\":[[begin,end,weight,kind,message,plain],...] in bytes, without gaps, and \"supervised\" bytes.",
    .defs = defs,
    .n = sizeof defs / sizeof *defs,
};

struct work {
    struct tmpl_set *set;
    struct tmpl_run *run;
    struct sbuf text;
    const char *name;
    struct err broken;
    int mask;                   /* 0: none */
    struct tmpl_mask_opts opts;
};

static void put_mask(struct sbuf *out, const struct tmpl_mask *m)
{
    static const char *const kinds[] = {"template", "input", "content", "reasoning", "tool_call", "glue", "eot"};
    sbuf_adds(out, ",\"mask\":[");
    for (int64_t i = 0; i < m->n_spans; i++) {
        const struct tmpl_span *s = &m->spans[i];
        sbuf_addf(out, "%s[%lld,%lld,%g,\"%s\",%d,%d]", i ? "," : "", (long long)s->begin, (long long)s->end, (double)s->weight, kinds[s->kind],
                  s->message, s->plain);
    }
    sbuf_addf(out, "],\"supervised\":%lld", (long long)m->supervised);
}

static err_code answer(struct work *w, struct str row, struct sbuf *out, struct err *e)
{
    const struct tmpl *t;
    const int64_t *spans;
    struct tmpl_mask mask;
    TRY(tmpl_input_json(w->run, row, e));
    if (!w->set) /* the template does not compile: every row is answered with that */
        return *e = w->broken, e->code;
    TRY(tmpl_pick(w->set, w->name, tmpl_input_has_tools(w->run), &t, e));
    TRY(w->mask ? tmpl_mask(w->run, t, &w->opts, &w->text, &mask, e) : tmpl_render(w->run, t, &w->text, e));
    sbuf_adds(out, "{\"id\":");
    sbuf_add(out, tmpl_input_id(w->run));
    sbuf_adds(out, ",\"text\":");
    json_put_str(out, sbuf_str(&w->text));
    if (tmpl_input_wants_spans(w->run) || tmpl_has_generation(t)) {
        int64_t n = tmpl_generation_spans(w->run, &spans);
        sbuf_adds(out, ",\"generation_spans\":[");
        for (int64_t i = 0; i < n; i++)
            sbuf_addf(out, "%s[%lld,%lld]", i ? "," : "", (long long)spans[2 * i], (long long)spans[2 * i + 1]);
        sbuf_addc(out, ']');
    }
    if (w->mask)
        put_mask(out, &mask);
    sbuf_adds(out, "}\n");
    return ERR_OK;
}

/* The id comes from the row even when the rest of it cannot be rendered. */
static void refuse(struct work *w, const struct err *why, struct sbuf *out)
{
    sbuf_clear(out);
    sbuf_adds(out, "{\"id\":");
    sbuf_add(out, tmpl_input_id(w->run));
    sbuf_adds(out, ",\"error\":");
    json_put_str(out, str_of(why->msg));
    sbuf_adds(out, "}\n");
}

static int run_lines(struct work *w)
{
    enum { LINE_MAX_BYTES = 256 << 20 };
    struct json_lines in;
    struct sbuf out;
    int failed = 0, more = 1, exit_code = 0;
    json_lines_init(&in, stdin, "stdin", LINE_MAX_BYTES);
    sbuf_init(&out, 1LL << 32);
    while (!exit_code) {
        struct err e = {0};
        struct str line;
        err_code rc = json_lines_next(&in, &line, &more, &e);
        if (rc == ERR_IO)
            exit_code = cmd_fail(&e);
        if (rc == ERR_IO || !more)
            break;
        if (rc == ERR_OK && str_trim(line).n == 0)
            continue;
        sbuf_clear(&out);
        if (rc == ERR_OK)
            rc = answer(w, line, &out, &e);
        if (rc != ERR_OK) {
            failed = 1;
            refuse(w, &e, &out);
        }
        fwrite(out.p, 1, (size_t)out.n, stdout);
    }
    if (!exit_code && (fflush(stdout) || ferror(stdout))) {
        struct err e = {0};
        err_sys(&e, ERR_IO, "cannot write standard output");
        exit_code = cmd_fail(&e);
    }
    sbuf_release(&out);
    json_lines_release(&in);
    return exit_code ? exit_code : failed ? err_exit(ERR_LINES) : 0;
}

int cmd_template(int argc, char **argv)
{
    struct flags f;
    struct arena mem;
    struct err e = {0};
    struct work w = {0};
    int words = 0, done;
    arena_init(&mem, "flags", 1 << 20);
    int code = cmd_parse(&command, &f, &mem, argc, argv, &words, &done);
    if (!done && !*f.model == !*f.template) {
        fprintf(stderr, "hone: template wants either --model or --template\nusage: hone %s (try --help)\n", command.usage);
        code = err_exit(ERR_USAGE);
        done = 1;
    }
    if (!done) {
        err_code rc = *f.model ? tmpl_load(f.model, &w.set, &e) : tmpl_load_file(f.template, &w.set, &e);
        if (rc == ERR_DATA) {
            w.broken = e;
            fprintf(stderr, "hone: %s\n", e.msg);
            rc = ERR_OK;
        }
        if (rc == ERR_OK)
            rc = tmpl_run_new(NULL, &w.run, &e);
        if (rc == ERR_OK && *f.now)
            rc = tmpl_run_now(w.run, f.now, &e);
        if (rc == ERR_OK) {
            if (w.set)
                tmpl_run_defaults(w.run, w.set);
            w.mask = strcmp(f.mask, "none") != 0;
            w.opts = tmpl_mask_defaults();
            w.opts.which = !strcmp(f.mask, "last") ? TMPL_LAST_TURN : !strcmp(f.mask, "text") ? TMPL_ALL_TEXT : TMPL_ALL_ASSISTANT;
            w.opts.use_generation = f.generation;
            w.name = *f.name ? f.name : NULL;
            sbuf_init(&w.text, 1LL << 30);
            code = run_lines(&w);
            sbuf_release(&w.text);
        } else {
            code = cmd_fail(&e);
        }
        tmpl_run_free(w.run);
        tmpl_set_free(w.set);
    }
    arena_release(&mem);
    return code;
}
