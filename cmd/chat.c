/* hone chat: talk to a model in the terminal. */
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/open.h"
#include "core/stop.h"
#include "datasets/datasets.h"
#include "rollout/rollout.h"

struct flags {
    struct cmd_model_flags model;
    struct cmd_sampling_flags sampling;
    const char *system;
};

static const struct opt_def defs[] = {
    CMD_MODEL_FLAGS(struct flags, model),
    {"", "system", OPT_STR, offsetof(struct flags, system), "", 0, 0, NULL, "system message"},
    CMD_SAMPLING_FLAGS(struct flags, sampling, "0.7", "0.95", "512"),
};

struct chat {
    const struct flags *f;
    struct cmd_model m;
    struct data_renderer *renderer;
    struct rollout *r;
    json_t *messages;
};

static void print_piece(void *ctx, const struct rollout_sample *s, struct str piece)
{
    (void)ctx, (void)s;
    fwrite(piece.p, 1, (size_t)piece.n, stdout);
    fflush(stdout);
}

static void say(struct chat *c, const char *role, struct str text)
{
    json_array_append_new(c->messages, json_pack("{s:s,s:s%}", "role", role, "content", text.p, (size_t)text.n));
}

static err_code answer(struct chat *c, struct arena mem, struct err *e)
{
    struct sbuf body;
    struct data_prompt d;
    const struct rollout_sample *out;
    json_t *row = json_pack("{s:O}", "messages", c->messages);
    sbuf_init(&body, 64 << 20);
    json_put_value(&body, row);
    json_decref(row);
    err_code rc = data_prompt_ids(c->renderer, STR("prompt"), sbuf_str(&body), &mem, &d, e);
    sbuf_release(&body);
    TRY(rc);
    const struct flags *f = c->f;
    struct rollout_prompt p = {.key = (uint64_t)json_array_size(c->messages), .ids = d.ids, .n = d.n, .samples = 1};
    struct rollout_sampling s = cmd_sampling(&f->sampling);
    struct rollout_hooks hooks = {.text = print_piece};
    TRY(rollout_run(c->r, &p, 1, &s, &hooks, &mem, &out, NULL, e));
    printf("\n");
    if (out[0].stop == ROLLOUT_context)
        fprintf(stderr, "[the context of %lld tokens is full; /new begins again]\n", (long long)rollout_context(c->r));
    say(c, "assistant", out[0].text);
    return ERR_OK;
}

static void begin(struct chat *c)
{
    json_array_clear(c->messages);
    if (c->f->system[0])
        say(c, "system", str_of(c->f->system));
}

static err_code talk(struct chat *c, struct err *e)
{
    struct json_lines in;
    struct arena mem;
    struct str line;
    int more = 1;
    err_code rc = ERR_OK;
    json_lines_init(&in, stdin, "stdin", 1 << 20);
    arena_init(&mem, "chat", 1LL << 34);
    begin(c);
    while (rc == ERR_OK) {
        fprintf(stderr, "> ");
        rc = json_lines_next(&in, &line, &more, e);
        if (rc != ERR_OK || !more || str_eq(line, STR("/quit")))
            break;
        if (str_eq(line, STR("/new"))) {
            begin(c);
        } else if (str_trim(line).n > 0) {
            say(c, "user", line);
            rc = answer(c, mem, e);
        }
    }
    arena_release(&mem);
    json_lines_release(&in);
    return rc;
}

static err_code run(struct chat *c, struct err *e)
{
    struct data_render_opts o = data_render_defaults();
    TRY(cmd_model_open(&c->f->model, &c->m, e));
    o.model = c->m.path, o.tok = c->m.tok; /* a folder without a tokenizer is refused by the renderer */
    err_code rc = data_renderer_open(&o, &c->renderer, e);
    if (rc == ERR_OK)
        rc = rollout_open(c->m.model, c->m.tok, &(struct rollout_opts){.seqs = 1, .context = c->f->sampling.context}, &c->r, e);
    if (rc == ERR_OK)
        rc = talk(c, e);
    rollout_close(c->r);
    data_renderer_close(c->renderer);
    cmd_model_close(&c->m);
    return rc;
}

int cmd_chat(int argc, char **argv)
{
    struct arena mem;
    struct flags f;
    struct chat c = {.f = &f};
    struct err e = {0};
    int n_words, done;
    arena_init(&mem, "flags", 1 << 20);
    int code = cmd_parse(&(struct cmd_flags){.usage = "chat --model DIR",
                                             .about = "A conversation, one line a turn. /new begins again, /quit or the end of the input ends it. DIR may be a run folder:\n"
                                                      "its newest checkpoint is taken.",
                                             .defs = defs, .n = sizeof defs / sizeof *defs}, &f, &mem, argc, argv, &n_words, &done);
    if (!done) {
        stop_catch();
        c.messages = json_array();
        err_code rc = run(&c, &e);
        json_decref(c.messages);
        code = rc == ERR_OK ? 0 : cmd_fail(&e);
    }
    arena_release(&mem);
    return code;
}
