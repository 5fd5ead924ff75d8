/* Saving and resuming: what of a trainer goes into a checkpoint, and back.
 *
 * hone/optim.safetensors has two tensors per parameter, "<name>.m" and "<name>.v", in parameter order. Its header is
 * a function of the parameters alone, so reading it back is a comparison and not a parse. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "core/json.h"
#include "core/log.h"
#include "train/train.h"

static const int64_t HEADER_MAX_BYTES = 64 << 20;

static int64_t item_bytes(const struct train *t)
{
    return t->opts.moments == TRAIN_BF16 ? 2 : 4;
}

/* The eight bytes of length and the JSON, padded with blanks to a multiple of 8, as the format asks. */
static err_code put_header(const struct train *t, struct sbuf *b, struct err *e)
{
    int64_t at = 0;
    sbuf_adds(b, "01234567{");
    for (int64_t p = 0; p < t->target.n_params; p++)
        for (int second = 0; second < 2; second++) {
            const struct train_param *q = &t->target.params[p];
            struct sbuf name;
            int64_t bytes = q->n * item_bytes(t);
            sbuf_init(&name, 4096);
            sbuf_addf(&name, "%s.%c", q->name, second ? 'v' : 'm');
            if (at)
                sbuf_addc(b, ',');
            json_put_str(b, sbuf_str(&name));
            sbuf_addf(b, ":{\"dtype\":\"%s\",\"shape\":[%lld],\"data_offsets\":[%lld,%lld]}",
                      t->opts.moments == TRAIN_BF16 ? "BF16" : "F32", (long long)q->n, (long long)at, (long long)(at + bytes));
            sbuf_release(&name);
            at += bytes;
        }
    sbuf_addc(b, '}');
    while (b->n % 8)
        sbuf_addc(b, ' ');
    if (b->full)
        return err_set(e, ERR_LIMIT, "the header of the optimiser state is larger than %lld bytes", (long long)b->max);
    for (int i = 0; i < 8; i++)
        b->p[i] = (char)((uint64_t)(b->n - 8) >> (8 * i));
    return ERR_OK;
}

enum { PIECE = 1 << 20 };

/* Moments of a device go to a file, and come from one, in pieces. */
static err_code write_state(const struct train *t, int fd, const char *from, int64_t bytes, const char *path, struct err *e)
{
    if (!t->device)
        return file_write_all(fd, from, bytes, path, e);
    char *piece = malloc(PIECE);
    err_code rc = piece ? ERR_OK : err_set(e, ERR_LIMIT, "memory is short");
    for (int64_t at = 0; rc == ERR_OK && at < bytes; at += PIECE) {
        int64_t n = bytes - at < PIECE ? bytes - at : PIECE;
        kern_get(t->device, piece, from + at, n);
        rc = file_write_all(fd, piece, n, path, e);
    }
    free(piece);
    return rc;
}

static void read_state(struct train *t, char *to, const char *from, int64_t bytes)
{
    if (t->device)
        kern_put(t->device, to, from, bytes);
    else
        memcpy(to, from, (size_t)bytes);
}

static err_code write_moments(const struct train *t, int fd, const char *path, struct err *e)
{
    struct sbuf b;
    sbuf_init(&b, HEADER_MAX_BYTES);
    err_code rc = put_header(t, &b, e);
    if (rc == ERR_OK)
        rc = file_write_all(fd, b.p, b.n, path, e);
    sbuf_release(&b);
    for (int64_t p = 0; rc == ERR_OK && p < t->target.n_params; p++) {
        int64_t at = t->offset[p] * item_bytes(t), bytes = t->target.params[p].n * item_bytes(t);
        rc = write_state(t, fd, (const char *)t->m + at, bytes, path, e);
        if (rc == ERR_OK)
            rc = write_state(t, fd, (const char *)t->v + at, bytes, path, e);
    }
    return rc;
}

static err_code save_moments(const struct train *t, const char *dir, struct err *e)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/hone/optim.safetensors", dir) >= (int)sizeof path)
        return err_set(e, ERR_IO, "path is too long: '%.200s...'", dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0)
        return err_sys(e, ERR_IO, "cannot create '%s'", path);
    err_code rc = write_moments(t, fd, path, e);
    if (close(fd) < 0 && rc == ERR_OK)
        rc = err_sys(e, ERR_IO, "cannot close '%s'", path);
    return rc;
}

static err_code write_checkpoint(struct train *t, struct str cursor, struct err *e)
{
    struct ckpt_writer w;
    struct ckpt_info info = {.step = t->step, .cursor = cursor, .config = t->config, .code = t->code, .run = t->run, .attempt = t->attempt};
    TRY(ckpt_begin(&w, t->opts.dir, t->step, e));
    err_code rc = t->target.save(t->target.ctx, w.tmp, e);
    if (rc == ERR_OK)
        rc = save_moments(t, w.tmp, e);
    if (rc != ERR_OK) {
        ckpt_abort(&w);
        return rc;
    }
    return ckpt_commit(&w, &info, t->opts.keep, &t->io, e);
}

err_code train_save(struct train *t, struct str cursor, struct err *e)
{
    char last[PATH_MAX];
    struct err ignored = {0};
    arena_reset(&t->io);
    if (write_checkpoint(t, cursor, e) == ERR_OK)
        return ERR_OK;
    err_ctx(e, "step %lld: the checkpoint was not written", (long long)t->step);
    if (e && ckpt_newest(t->opts.dir, last, &ignored) == ERR_OK && last[0]) {
        size_t n = strlen(e->msg);
        snprintf(e->msg + n, sizeof e->msg - n, "; '%.300s' is good: make room and go on with --resume", last);
    }
    return e ? e->code : ERR_IO;
}

err_code train_find(const char *dir, int resume, char path[PATH_MAX], struct err *e)
{
    struct arena mem;
    struct ckpt_info info;
    TRY(ckpt_newest(dir, path, e));
    if (!path[0])
        return ERR_OK;
    if (!resume)
        return err_set(e, ERR_USAGE, "'%s' holds a checkpoint already ('%s'); hint: --resume goes on with it, train.dir=... starts elsewhere", dir, path);
    arena_init(&mem, "verify", 64 << 20);
    err_code rc = ckpt_verify(path, &info, &mem, e);
    arena_release(&mem);
    return rc == ERR_OK ? rc : err_ctx(e, "cannot resume from '%s' (hint: remove it to go on from the one before)", path);
}

static err_code read_moments(struct train *t, const char *path, const struct file_map *m, struct err *e)
{
    struct sbuf b;
    sbuf_init(&b, HEADER_MAX_BYTES);
    err_code rc = put_header(t, &b, e);
    int64_t at = b.n, want = b.n;
    for (int64_t p = 0; p < t->target.n_params; p++)
        want += 2 * t->target.params[p].n * item_bytes(t);
    if (rc == ERR_OK && (m->n != want || memcmp(m->p, b.p, (size_t)b.n)))
        rc = err_set(e, ERR_MISMATCH, "'%s' is the optimiser state of other parameters or of another train.moments", path);
    sbuf_release(&b);
    for (int64_t p = 0; rc == ERR_OK && p < t->target.n_params; p++) {
        int64_t to = t->offset[p] * item_bytes(t), bytes = t->target.params[p].n * item_bytes(t);
        read_state(t, (char *)t->m + to, m->p + at, bytes);
        read_state(t, (char *)t->v + to, m->p + at + bytes, bytes);
        at += 2 * bytes;
    }
    return rc;
}

err_code train_load(struct train *t, const char *path, struct ckpt_info *info, struct err *e)
{
    char file[PATH_MAX];
    struct file_map m;
    arena_reset(&t->io);
    TRY(ckpt_read(path, info, &t->io, e));
    if (info->step > t->opts.steps)
        return err_set(e, ERR_USAGE, "'%s' has done %lld steps, train.steps is %lld", path, (long long)info->step, (long long)t->opts.steps);
    if (snprintf(file, sizeof file, "%s/hone/optim.safetensors", path) >= (int)sizeof file)
        return err_set(e, ERR_IO, "path is too long: '%.200s...'", path);
    TRY(file_map_open(file, &m, e));
    err_code rc = read_moments(t, file, &m, e);
    file_map_release(&m);
    TRY(rc);
    t->step = t->began_step = info->step;
    t->run = info->run;
    t->attempt = info->attempt + 1;
    return ERR_OK;
}

static int is_free(struct str key, const char *free_keys)
{
    struct str rest = str_of(free_keys), one;
    while (str_split(&rest, ' ', &one))
        if (str_eq(one, key))
            return 1;
    return 0;
}

err_code train_same_config(struct str was, struct str now, const char *free_keys, struct err *e)
{
    struct str a, b;
    for (;;) {
        int more_a = str_split(&was, '\n', &a), more_b = str_split(&now, '\n', &b);
        if (!more_a && !more_b)
            return ERR_OK;
        if (more_a != more_b)
            return err_set(e, ERR_USAGE, "the checkpoint was made by a program with other config keys; hint: resume it with that one");
        struct str key = str_sub(a, 0, str_find(a, STR("="), 0));
        if (!str_eq(a, b) && !is_free(key, free_keys))
            return err_set(e, ERR_USAGE, "the run was started with %.*s, now it is %.*s; hint: resume with the same config, or start a new run elsewhere",
                           STR_ARG(a), STR_ARG(b));
    }
}
