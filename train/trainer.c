/* The step protocol and what belongs to it: memory, the check for non-finite numbers, the live line. */
#include "train/train.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/log.h"
#include "core/stop.h"
#include "train/optim.h"

enum { ALIGN = OPTIM_GROUP }; /* floats */
static const double NORM_MAX = 1e18;
/* bf16 has 8 bits: a step of 1 - beta2 of v below half of one of its steps (0.2 to 0.4 %) is lost in rounding, or is noise when rounded at
 * random. */
static const double BETA2_BF16 = 0.995;

static int64_t moment_bytes(const struct train_opts *o)
{
    return o->moments == TRAIN_BF16 ? 2 : 4;
}

static err_code check_opts(const struct train_opts *o, struct err *e)
{
    if (o->leaves < 1 || o->leaves > TRAIN_LEAVES_MAX || (o->leaves & (o->leaves - 1)))
        return err_set(e, ERR_USAGE, "train.leaves is %lld; it must be a power of two from 1 to %d", (long long)o->leaves, TRAIN_LEAVES_MAX);
    if (o->steps < 1)
        return err_set(e, ERR_USAGE, "train.steps is %lld; there must be at least one", (long long)o->steps);
    if (o->warmup + o->hold > o->steps)
        return err_set(e, ERR_USAGE, "train.warmup + train.hold is %lld steps, more than the %lld of the run",
                       (long long)(o->warmup + o->hold), (long long)o->steps);
    if (o->lr_min > o->lr)
        return err_set(e, ERR_USAGE, "train.lr_min %g is above train.lr %g", o->lr_min, o->lr);
    if (o->moments == TRAIN_BF16 && o->beta2 >= BETA2_BF16)
        return err_set(e, ERR_USAGE, "train.beta2 %g with train.moments=bf16: a bf16 second moment cannot follow decays slower than %g (hint: train.beta2=0.95, or train.moments=fp32)",
                       o->beta2, BETA2_BF16);
    return ERR_OK;
}

/* Moments and gradients: of the arena, or one allocation of the device. */
static err_code place(struct train *t, struct err *e)
{
    int64_t n = t->n_grad, moments = n * moment_bytes(&t->opts), grads = train_tree_buffers(t->opts.leaves) * n * (int64_t)sizeof(float);
    if (!t->device) {
        t->m = arena_alloc(&t->mem, n, moment_bytes(&t->opts));
        t->v = arena_alloc(&t->mem, n, moment_bytes(&t->opts));
        train_tree_init(&t->tree, &t->mem, n, t->opts.leaves);
        return ERR_OK;
    }
    TRY(kern_alloc(t->device, 2 * moments + grads, "moments and gradients", &t->there, e));
    t->m = t->there;
    t->v = (char *)t->there + moments;
    train_tree_place(&t->tree, t->device, (float *)(void *)((char *)t->there + 2 * moments), n, t->opts.leaves);
    return ERR_OK;
}

err_code train_open(struct train *t, const struct train_opts *opts, const struct train_target *target, struct err *e)
{
    *t = (struct train){.opts = *opts, .target = *target, .lock_fd = -1, .attempt = 1, .code = STR("unknown"), .device = target->k && !kern_on_host(target->k) ? target->k : NULL};
    TRY(check_opts(opts, e));
    if (opts->dir && opts->dir[0])
        TRY(ckpt_lock(opts->dir, &t->lock_fd, e));
    int64_t n = 0, n_params = target->n_params;
    for (int64_t i = 0; i < n_params; i++)
        n += (target->params[i].n + ALIGN - 1) / ALIGN * ALIGN;
    t->n_grad = n;
    int64_t grads = train_tree_buffers(opts->leaves) * n * (int64_t)sizeof(float), blocks = optim_blocks(n);
    arena_init(&t->mem, "trainer", (t->device ? 0 : 2 * n * moment_bytes(opts) + grads) + (n_params + blocks) * 8 + (1 << 16));
    arena_large_pages(&t->mem);
    arena_init(&t->io, "checkpoint", 64 << 20);
    t->offset = ARENA_NEW(&t->mem, int64_t, n_params);
    for (int64_t i = 0, at = 0; i < n_params; i++) {
        t->offset[i] = at;
        assert(!i || target->params[i].apart >= target->params[i - 1].apart);
        if (!target->params[i].apart)
            t->n_main = at + (target->params[i].n + ALIGN - 1) / ALIGN * ALIGN;
        at += (target->params[i].n + ALIGN - 1) / ALIGN * ALIGN;
    }
    t->block_sum = ARENA_NEW(&t->mem, double, blocks);
    TRY(place(t, e));
    t->began = clock_now();
    return ERR_OK;
}

void train_close(struct train *t)
{
    if (t->lock_fd >= 0)
        ckpt_unlock(t->lock_fd);
    if (t->there)
        kern_free(t->device, t->there);
    arena_release(&t->mem);
    arena_release(&t->io);
    *t = (struct train){.lock_fd = -1};
}

void train_begin(struct train *t)
{
    train_tree_begin(&t->tree);
}

float *train_leaf(struct train *t)
{
    return train_tree_leaf(&t->tree);
}

void train_leaf_done(struct train *t)
{
    train_tree_leaf_done(&t->tree, 0);
}

void train_leaf_absent(struct train *t)
{
    train_tree_leaf_done(&t->tree, 1);
}

/* Which tensor, which element: looked for only when the norm has said that there is one. */
static err_code name_bad(const struct train *t, const float *g, struct err *e)
{
    float here[1024];
    for (int64_t p = 0; p < t->target.n_params; p++)
        for (int64_t i = 0; i < t->target.params[p].n; i++) {
            const int64_t some = (int64_t)(sizeof here / sizeof *here), left = t->target.params[p].n - i;
            const float *at = g + t->offset[p] + i;
            if (t->device && i % some == 0)
                kern_get(t->device, here, at, (left < some ? left : some) * (int64_t)sizeof *here);
            float x = t->device ? here[i % some] : *at;
            if (!isfinite(x))
                return err_set(e, ERR_DIVERGED, "step %lld: gradient of '%s' is %g at index %lld; the step was refused",
                               (long long)t->step + 1, t->target.params[p].name, (double)x, (long long)i);
        }
    return err_set(e, ERR_DIVERGED, "step %lld: gradient norm is not finite; the step was refused", (long long)t->step + 1);
}

/* Exact sequence of multiplications, so that the bias correction has the same bits everywhere. */
static double power(double base, int64_t n)
{
    double r = 1;
    for (; n; n >>= 1, base *= base)
        if (n & 1)
            r *= base;
    return r;
}

static void adamw_there(struct train *t, const struct optim_step *u, float *w, const float *g, void *m, void *v, int64_t n)
{
    struct optim_job j;
    optim_constants(u, &j);
    struct kern_adamw a = {.w = w, .g = g, .m = m, .v = v, .n = n, .first = j.first, .beta1 = j.beta1, .beta2 = j.beta2, .rest1 = j.rest1, .rest2 = j.rest2, .scale = j.scale,
                           .keep = j.keep, .rate = j.rate, .root_fix2 = j.root_fix2, .eps = j.eps, .bf16 = j.bf16};
    memcpy(a.key, j.key, sizeof a.key);
    kern_adamw(t->device, &a);
}

/* apart: the clipping of the parameters apart. */
static void update(struct train *t, const float *g, const struct train_step *s, double apart)
{
    const struct train_opts *o = &t->opts;
    struct optim_step u = {
        .lr = s->lr, .beta1 = o->beta1, .beta2 = o->beta2, .eps = o->eps, .scale = s->clip_scale,
        .fix1 = 1 - power(o->beta1, s->step), .fix2 = 1 - power(o->beta2, s->step),
        .seed = o->seed, .step = s->step, .bf16 = o->moments == TRAIN_BF16,
    };
    for (int64_t p = 0; p < t->target.n_params; p++) {
        const struct train_param *q = &t->target.params[p];
        int64_t at = t->offset[p];
        u.decay = q->decay ? o->weight_decay : 0;
        u.scale = q->apart ? apart : s->clip_scale;
        u.first = (uint64_t)at;
        void *m = (char *)t->m + at * moment_bytes(o), *v = (char *)t->v + at * moment_bytes(o);
        if (t->device)
            adamw_there(t, &u, q->w, g + at, m, v, q->n);
        else
            optim_adamw(&u, q->w, g + at, m, v, q->n, OPTIM_BEST);
    }
}

static double norm_of(struct train *t, const float *g, int64_t from, int64_t to)
{
    if (from == to)
        return 0;
    return sqrt(t->device ? kern_sum_squares(t->device, g + from, to - from, t->block_sum) : optim_sum_squares(g + from, to - from, t->block_sum, OPTIM_BEST));
}

static double clip_scale(const struct train *t, double norm)
{
    return t->opts.clip > 0 && norm > t->opts.clip ? t->opts.clip / norm : 1;
}

err_code train_end(struct train *t, double loss, struct train_step *out, struct err *e)
{
    struct train_step s = {.step = t->step + 1, .loss = loss, .clip_scale = 1};
    const float *g = train_tree_root(&t->tree);
    if (!isfinite(loss))
        return err_set(e, ERR_DIVERGED, "step %lld: loss is %g; the step was refused", (long long)s.step, loss);
    if (!g)
        return err_set(e, ERR_DATA, "step %lld: no leaf has a gradient: the batch is empty", (long long)s.step);
    s.lr = train_lr(&t->opts, s.step);
    const double apart = norm_of(t, g, t->n_main, t->n_grad);
    s.grad_norm = norm_of(t, g, 0, t->n_main);
    if (!isfinite(s.grad_norm) || !isfinite(apart))
        return name_bad(t, g, e);
    s.clip_scale = clip_scale(t, s.grad_norm);
    if (s.grad_norm * s.clip_scale > NORM_MAX || apart * clip_scale(t, apart) > NORM_MAX)
        return err_set(e, ERR_DIVERGED, "step %lld: gradient norm is %g: its square does not fit the second moment; the step was refused (hint: set train.clip)",
                       (long long)s.step, s.grad_norm > apart ? s.grad_norm : apart);
    update(t, g, &s, clip_scale(t, apart));
    if (t->target.refresh)
        t->target.refresh(t->target.ctx);
    t->step = s.step;
    *out = s;
    return ERR_OK;
}

int train_due(const struct train *t)
{
    if (!t->opts.dir || !t->opts.dir[0])
        return 0;
    return t->step == t->opts.steps || (t->opts.save_every > 0 && t->step % t->opts.save_every == 0) || stop_requested();
}

void train_show(struct train *t, const struct train_step *s, const char *what, int64_t tokens, double seconds)
{
    double now = clock_now(), took = now - t->began;
    int64_t done = s->step - t->began_step, every = t->opts.log_every > 0 ? t->opts.log_every : 1;
    int tty = isatty(2), last = s->step == t->opts.steps;
    if (tty ? now - t->shown < 0.1 && !last : s->step % every != 0 && !last && done != 1)
        return;
    t->shown = now;
    char line[256];
    double left = done > 0 ? took / (double)done * (double)(t->opts.steps - s->step) : 0;
    snprintf(line, sizeof line, "%s: step %lld of %lld  loss %.4f  lr %.3g  norm %.3g  %.0f tok/s  %.0f s left", what,
             (long long)s->step, (long long)t->opts.steps, s->loss, s->lr, s->grad_norm,
             seconds > 0 ? (double)tokens / seconds : 0, left);
    log_live(line, last);
}
