/* hone rollout: prompts in, samples out, both as JSON Lines. */
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/open.h"
#include "core/hash.h"
#include "core/log.h"
#include "core/stop.h"
#include "datasets/datasets.h"
#include "rollout/rollout.h"

struct flags {
    struct cmd_model_flags model;
    struct cmd_sampling_flags sampling;
    const char *stop;
    int64_t samples, batch, speculate;
    int ignore_eos;
};

static const struct opt_def defs[] = {
    CMD_MODEL_FLAGS(struct flags, model),
    {"", "samples", OPT_INT, offsetof(struct flags, samples), "1", 1, 1e6, NULL, "samples of each prompt"},
    CMD_SAMPLING_FLAGS(struct flags, sampling, "1", "1", "256"),
    {"", "stop", OPT_STR, offsetof(struct flags, stop), "", 0, 0, NULL, "a string that ends a sample"},
    {"", "ignore-eos", OPT_BOOL, offsetof(struct flags, ignore_eos), "false", 0, 0, NULL, "sample on behind the end-of-turn token"},
    {"", "batch", OPT_INT, offsetof(struct flags, batch), "32", 1, 65536, NULL, "samples that run at once; changes the time, never a bit"},
    {"", "speculate", OPT_INT, offsetof(struct flags, speculate), "0", 0, 8, NULL, "tokens that the model's MTP module drafts per sample and pass; changes the time, never a bit"},
};

enum { LINES_AT_ONCE = 512, LINE_MAX_BYTES = 256 << 20 };

struct line {
    json_t *q;
    struct err e;
    int64_t prompt;  /* index among the good ones; -1: e says why not */
};

struct job {
    struct flags f;
    struct cmd_model *m;
    struct data_renderer *chat; /* NULL until a line has messages */
    struct rollout *r;
    struct rollout_sampling s;
    struct str stop;
    struct line lines[LINES_AT_ONCE];
    struct rollout_prompt prompts[LINES_AT_ONCE];
    int64_t n, n_prompts;
    int failed;
};

static err_code ids_of_json(const json_t *a, struct arena *mem, struct rollout_prompt *p, struct err *e)
{
    int32_t *ids = ARENA_NEW(mem, int32_t, (int64_t)json_array_size(a) + 1);
    for (size_t i = 0; i < json_array_size(a); i++) {
        const json_t *v = json_array_get(a, i);
        if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > INT32_MAX)
            return err_set(e, ERR_DATA, "ids[%zu] is not a token id", i);
        ids[i] = (int32_t)json_integer_value(v);
    }
    p->ids = ids, p->n = (int64_t)json_array_size(a);
    return ERR_OK;
}

static err_code ids_of_messages(struct job *j, const json_t *q, struct arena *mem, struct rollout_prompt *p, struct err *e)
{
    struct sbuf body;
    struct data_prompt d;
    struct data_render_opts o = data_render_defaults();
    o.model = j->m->path, o.tok = j->m->tok;
    if (!j->chat)
        TRY(data_renderer_open(&o, &j->chat, e));
    sbuf_init(&body, LINE_MAX_BYTES);
    json_put_value(&body, q);
    err_code rc = data_prompt_ids(j->chat, STR("prompt"), sbuf_str(&body), mem, &d, e);
    sbuf_release(&body);
    if (rc == ERR_OK)
        p->ids = d.ids, p->n = d.n;
    return rc;
}

static err_code ids_of_text(struct job *j, const json_t *prompt, struct arena *mem, struct rollout_prompt *p, struct err *e)
{
    struct tok_ids ids = {0};
    if (json_is_string(prompt) && !j->m->tok)
        return err_set(e, ERR_DATA, "'%s' has no tokenizer.json: give \"ids\"", j->m->path);
    if (!json_is_string(prompt))
        return err_set(e, ERR_DATA, "a line needs \"prompt\" (text), \"messages\" (a list) or \"ids\" (a list)");
    err_code rc = tok_encode(j->m->enc, &(struct tok_text){.text = {json_string_value(prompt), (int64_t)json_string_length(prompt)}, .add_special = TOK_SPECIAL_CLASS}, &ids, e);
    if (rc == ERR_OK) {
        p->n = ids.n;
        p->ids = memcpy(ARENA_NEW(mem, int32_t, ids.n + 1), ids.id, (size_t)ids.n * sizeof *ids.id);
    }
    tok_ids_release(&ids);
    return rc;
}

static err_code check_ids(const struct job *j, const struct rollout_prompt *p, struct err *e)
{
    if (p->n == 0)
        return err_set(e, ERR_DATA, "the prompt has no tokens");
    for (int64_t i = 0; i < p->n; i++)
        if (p->ids[i] >= model_conf(j->m->model)->vocab)
            return err_set(e, ERR_DATA, "ids[%lld] is %d, the model has %lld tokens", (long long)i, p->ids[i], (long long)model_conf(j->m->model)->vocab);
    return ERR_OK;
}

/* The key is the prompt's content, so that a line's samples do not depend on the lines around it. */
static void take_line(struct job *j, struct str text, int64_t number, struct arena *mem)
{
    struct line *l = &j->lines[j->n++];
    struct rollout_prompt p = {.samples = j->f.samples};
    *l = (struct line){.prompt = -1};
    err_code rc = json_parse(text, &l->q, &l->e);
    if (rc != ERR_OK) {
        err_ctx(&l->e, "stdin:%lld", (long long)number);
        return;
    }
    const json_t *ids = json_object_get(l->q, "ids");
    rc = json_is_array(ids) ? ids_of_json(ids, mem, &p, &l->e)
         : json_is_array(json_object_get(l->q, "messages")) ? ids_of_messages(j, l->q, mem, &p, &l->e)
         : ids_of_text(j, json_object_get(l->q, "prompt"), mem, &p, &l->e);
    if (rc != ERR_OK || check_ids(j, &p, &l->e) != ERR_OK)
        return;
    p.key = hash_bytes(p.ids, p.n * (int64_t)sizeof *p.ids).lo;
    l->prompt = j->n_prompts;
    j->prompts[j->n_prompts++] = p;
}

static void put_sample(struct sbuf *b, const json_t *q, const struct rollout_sample *s)
{
    json_answer_begin(b, q);
    sbuf_addf(b, "\"sample\":%lld,\"ids\":[", (long long)s->sample);
    for (int64_t i = 0; i < s->n; i++)
        sbuf_addf(b, "%s%d", i ? "," : "", s->ids[i]);
    sbuf_adds(b, "],\"logp\":[");
    for (int64_t i = 0; i < s->n; i++) {
        if (i)
            sbuf_addc(b, ',');
        json_put_hex(b, (double)s->logp[i]);
    }
    sbuf_adds(b, "],\"text\":");
    json_put_str(b, s->text);
    sbuf_addf(b, ",\"stop\":\"%s\"}\n", rollout_stop_name(s->stop));
}

static err_code answer(struct job *j, struct arena *mem, struct err *e)
{
    const struct rollout_sample *out = NULL;
    struct sbuf b;
    struct rollout_stats st;
    err_code rc = rollout_run(j->r, j->prompts, j->n_prompts, &j->s, NULL, mem, &out, &st, e);
    if (rc != ERR_OK && rc != ERR_CANCELLED)
        return rc;
    sbuf_init(&b, 1LL << 32);
    for (int64_t i = 0; i < j->n; i++) {
        struct line *l = &j->lines[i];
        sbuf_clear(&b);
        if (l->prompt < 0) {
            j->failed = 1;
            json_answer_error(&b, l->q, l->e.msg);
        }
        for (int64_t k = 0; l->prompt >= 0 && k < j->f.samples; k++)
            put_sample(&b, l->q, &out[l->prompt * j->f.samples + k]);
        fwrite(b.p, 1, (size_t)b.n, stdout);
        json_decref(l->q);
    }
    sbuf_release(&b);
    fflush(stdout);
    log_info("rollout", "%lld samples, %lld tokens, %.0f tokens/s, %lld at once", (long long)st.samples, (long long)st.tokens,
             st.seconds > 0 ? (double)st.tokens / st.seconds : 0, (long long)st.most_running);
    if (st.drafted)
        log_info("rollout", "%lld of %lld drafts accepted (%.1f %%); decoding %.2f x as fast as without (%lld tokens in turns without drafts, for comparison)", (long long)st.accepted,
                 (long long)st.drafted, 100 * (double)st.accepted / (double)st.drafted, rollout_speedup(&st), (long long)st.plain_tokens);
    j->n = j->n_prompts = 0;
    return rc;
}

static err_code run(struct job *j, struct err *e)
{
    struct json_lines in;
    struct arena mem;
    err_code rc = ERR_OK;
    int more = 1;
    json_lines_init(&in, stdin, "stdin", LINE_MAX_BYTES);
    arena_init(&mem, "rollout lines", 1LL << 36);
    while (rc == ERR_OK && more) {
        struct str text;
        rc = json_lines_next(&in, &text, &more, e);
        if (rc == ERR_LIMIT && j->n < LINES_AT_ONCE) {
            j->lines[j->n++] = (struct line){.prompt = -1, .e = *e};
            rc = ERR_OK;
        } else if (rc == ERR_OK && more && str_trim(text).n > 0) {
            take_line(j, text, in.line, &mem);
        }
        if (rc == ERR_OK && j->n > 0 && (j->n == LINES_AT_ONCE || !more)) {
            rc = answer(j, &mem, e);
            arena_reset(&mem);
        }
    }
    arena_release(&mem);
    json_lines_release(&in);
    return rc;
}

int cmd_rollout(int argc, char **argv)
{
    static struct job j; /* the lines' table is large */
    struct cmd_model m;
    struct arena mem;
    struct err e = {0};
    int n_words, done;
    arena_init(&mem, "flags", 1 << 20);
    int code = cmd_parse(&(struct cmd_flags){.usage = "rollout --model DIR < prompts.jsonl > samples.jsonl",
                                             .about = "Samples from a model. In: {\"id\", \"prompt\" | \"messages\" | \"ids\"}. Out, one line per sample, in order:\n"
                                                      "{\"id\",\"sample\",\"ids\",\"logp\":[hex floats],\"text\",\"stop\"}. `hone score` gives the same log-probs, bit for bit, at temperature 1.",
                                             .defs = defs, .n = sizeof defs / sizeof *defs}, &j.f, &mem, argc, argv, &n_words, &done);
    if (!done) {
        stop_catch();
        j.m = &m;
        j.stop = str_of(j.f.stop);
        j.s = cmd_sampling(&j.f.sampling);
        j.s.stop = &j.stop, j.s.n_stop = j.stop.n > 0, j.s.ignore_eos = j.f.ignore_eos;
        err_code rc = cmd_model_open(&j.f.model, &m, &e);
        if (rc == ERR_OK) {
            rc = rollout_open(m.model, m.tok, &(struct rollout_opts){.seqs = j.f.batch, .context = j.f.sampling.context, .speculate = j.f.speculate}, &j.r, &e);
            if (rc == ERR_OK)
                rc = run(&j, &e);
            rollout_close(j.r);
            data_renderer_close(j.chat);
            cmd_model_close(&m);
        }
        code = rc != ERR_OK ? cmd_fail(&e) : j.failed ? err_exit(ERR_LINES) : 0;
    }
    arena_release(&mem);
    return code;
}
