/* hone score: log-probabilities of given tokens by the training forward, as hex floats. */
#include <stdlib.h>

#include "cmd/cmd.h"
#include "cmd/open.h"
#include "model/model.h"

struct flags {
    struct cmd_model_flags model;
    double temperature;
};

struct score {
    struct model *m;
    const struct flags *flags;
    struct sbuf ids, pos, target; /* int32 each */
    float *logp;
    int64_t cap;
};

static int32_t *ints(struct sbuf *b, int64_t n)
{
    sbuf_clear(b);
    return (int32_t *)sbuf_room(b, n * 4);
}

/* "ids" and "n_prompt", checked against the model. */
static err_code read_question(struct score *s, const json_t *q, int64_t *n_out, int64_t *n_prompt, struct err *e)
{
    const struct model_config *c = model_conf(s->m);
    const json_t *ids = json_object_get(q, "ids"), *v;
    size_t i;
    if (!json_is_array(ids) || json_array_size(ids) == 0)
        return err_set(e, ERR_DATA, "\"ids\" must be a list of one or more token ids");
    int64_t n = (int64_t)json_array_size(ids);
    if (n > c->max_position)
        return err_set(e, ERR_LIMIT, "%lld tokens, the model has %lld positions", (long long)n, (long long)c->max_position);
    TRY(json_need_i64(q, "n_prompt", n_prompt, e));
    if (*n_prompt < 1 || *n_prompt > n)
        return err_set(e, ERR_DATA, "\"n_prompt\" is %lld, it must be 1 to %lld: the first token has no log-probability", (long long)*n_prompt, (long long)n);
    int32_t *id = ints(&s->ids, n), *pos = ints(&s->pos, n), *target = ints(&s->target, n);
    if (!id || !pos || !target)
        return err_set(e, ERR_LIMIT, "memory is short");
    json_array_foreach(ids, i, v) {
        json_int_t t = json_is_integer(v) ? json_integer_value(v) : -1;
        if (t < 0 || t >= c->vocab)
            return err_set(e, ERR_DATA, "\"ids\"[%d] is not a token id below %lld", (int)i, (long long)c->vocab);
        id[i] = (int32_t)t;
        pos[i] = (int32_t)i;
        target[i] = -1;
        if (i > 0 && (int64_t)i >= *n_prompt)
            target[i - 1] = (int32_t)t;
    }
    *n_out = n;
    return ERR_OK;
}

static err_code answer(void *ctx, const json_t *q, struct sbuf *out, struct err *e)
{
    struct score *s = ctx;
    int64_t n = 0, n_prompt = 0;
    TRY(read_question(s, q, &n, &n_prompt, e));
    if (n > s->cap) {
        float *grown = realloc(s->logp, (size_t)n * sizeof *grown);
        if (!grown)
            return err_set(e, ERR_LIMIT, "memory is short");
        s->logp = grown;
        s->cap = n;
        TRY(model_reserve(s->m, &(struct model_room){.tokens = n, .seqs = 1}, e));
    }
    const int32_t cu[2] = {0, (int32_t)n};
    model_forward(s->m, &(struct model_batch){.n_tok = n, .n_seq = 1, .tokens = (int32_t *)s->ids.p, .positions = (int32_t *)s->pos.p, .cu_seqlens = cu}, 0);
    model_logp(s->m, &(struct model_logp){.target = (int32_t *)s->target.p, .temperature = (float)s->flags->temperature, .logp = s->logp});
    json_answer_begin(out, q);
    sbuf_adds(out, "\"logp\":[");
    for (int64_t i = n_prompt - 1; i < n - 1; i++) {
        sbuf_adds(out, i > n_prompt - 1 ? "," : "");
        json_put_hex(out, (double)s->logp[i]);
    }
    sbuf_adds(out, "]}\n");
    return ERR_OK;
}

static int score(const struct flags *v)
{
    struct cmd_model m;
    struct score s = {.flags = v};
    struct err e = {0};
    if (cmd_model_open(&v->model, &m, &e) != ERR_OK)
        return cmd_fail(&e);
    s.m = m.model;
    sbuf_init(&s.ids, 1LL << 30);
    sbuf_init(&s.pos, 1LL << 30);
    sbuf_init(&s.target, 1LL << 30);
    int code = cmd_plumb(answer, &s);
    sbuf_release(&s.ids);
    sbuf_release(&s.pos);
    sbuf_release(&s.target);
    free(s.logp);
    cmd_model_close(&m);
    return code;
}

int cmd_score(int argc, char **argv)
{
    static const struct opt_def defs[] = {
        CMD_MODEL_FLAGS(struct flags, model),
        {"", "temperature", OPT_NUM, offsetof(struct flags, temperature), "1", 1e-3, 1e3, NULL, "of the distribution that is scored"},
    };
    struct arena mem;
    struct flags v;
    int n = 0, done;
    struct cmd_flags f = {.usage = "score --model DIR < questions > answers",
                          .about = "Reads {\"id\",\"ids\",\"n_prompt\"} per line, writes {\"id\",\"logp\"}: the log-probability of every token from position n_prompt on,\n"
                                   "by the forward that training runs, as hex floats: the bits that `hone rollout` recorded.",
                          .defs = defs, .n = sizeof defs / sizeof *defs};
    arena_init(&mem, "flags", 1 << 20);
    int code = cmd_parse(&f, &v, &mem, argc, argv, &n, &done);
    if (!done)
        code = score(&v);
    arena_release(&mem);
    return code;
}
