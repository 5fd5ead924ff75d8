/* Reads ahead by a window of lines, so that all workers have work and memory stays bounded. */
#include <stdlib.h>

#include "cmd/cmd.h"
#include "cmd/pool.h"

struct slot {
    json_t *q;
    void *item;
    struct sandbox_task *task; /* NULL: e says why */
    struct err e;
};

struct flow {
    struct sandbox *s;
    const struct cmd_pool_ops *ops;
    struct slot *ring;
    int64_t head, tail, n;
    struct sbuf out;
    int failed;
};

static void finish_oldest(struct flow *f)
{
    struct slot *x = &f->ring[f->head++ % f->n];
    sbuf_clear(&f->out);
    if (x->task) {
        sandbox_wait(f->s, x->task);
        f->ops->answer(x->item, &f->out);
    } else {
        f->failed = 1;
        json_answer_error(&f->out, x->q, x->e.msg);
    }
    fwrite(f->out.p, 1, (size_t)f->out.n, stdout);
    if (x->item)
        f->ops->release(x->item);
    json_decref(x->q);
}

static void start(struct flow *f, void *ctx, struct json_lines *in, err_code rc, struct str line, const struct err *e)
{
    if (f->tail - f->head == f->n)
        finish_oldest(f);
    struct slot *x = &f->ring[f->tail++ % f->n];
    *x = (struct slot){.e = *e};
    if (rc == ERR_OK && (rc = json_parse(line, &x->q, &x->e)) != ERR_OK)
        err_ctx(&x->e, "stdin:%lld", (long long)in->line);
    if (rc == ERR_OK)
        x->item = f->ops->make(ctx, x->q, &x->task, &x->e);
    if (x->task)
        sandbox_submit(f->s, x->task);
}

int cmd_pool(struct sandbox *s, const struct cmd_pool_ops *ops, void *ctx)
{
    enum { LINE_MAX_BYTES = 256 << 20, AHEAD = 8 };
    struct json_lines in;
    struct flow f = {.s = s, .ops = ops, .n = (int64_t)sandbox_workers(s) * AHEAD};
    int exit_code = 0;
    f.ring = calloc((size_t)f.n, sizeof *f.ring);
    if (!f.ring)
        BUG("out of memory");
    json_lines_init(&in, stdin, "stdin", LINE_MAX_BYTES);
    sbuf_init(&f.out, 1LL << 32);
    for (;;) {
        struct err e = {0};
        struct str line = {NULL, 0};
        int more = 1;
        err_code rc = json_lines_next(&in, &line, &more, &e);
        if (rc == ERR_IO)
            exit_code = cmd_fail(&e);
        if (rc == ERR_IO || !more)
            break;
        if (rc == ERR_OK && str_trim(line).n == 0)
            continue;
        start(&f, ctx, &in, rc, line, &e);
    }
    while (f.head < f.tail)
        finish_oldest(&f);
    if (fflush(stdout) || ferror(stdout)) {
        struct err e = {0};
        err_sys(&e, ERR_IO, "cannot write standard output");
        exit_code = cmd_fail(&e);
    }
    sbuf_release(&f.out);
    json_lines_release(&in);
    free(f.ring);
    return exit_code ? exit_code : f.failed ? err_exit(ERR_LINES) : 0;
}
