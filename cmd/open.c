#include "cmd/open.h"

#include <string.h>

#include "core/file.h"
#include "core/par.h"
#include "train/train.h"

struct rollout_sampling cmd_sampling(const struct cmd_sampling_flags *f)
{
    return (struct rollout_sampling){.temperature = f->temperature, .top_k = f->top_k, .top_p = f->top_p, .min_p = f->min_p, .max_tokens = f->max_tokens,
                                     .seed = (uint64_t)f->seed};
}

static int has_tokenizer(const char *dir)
{
    char path[PATH_MAX + 32];
    snprintf(path, sizeof path, "%s/tokenizer.json", dir);
    return file_exists(path);
}

/* A run has one form of latent attention for all its log-probs: a checkpoint's was recorded with its config. */
static err_code choose_mla(const char *asked, const char *path, enum model_mla *out, struct err *e)
{
    static const char key[] = "\nmodel.mla=";
    char state[PATH_MAX + 32];
    struct arena mem;
    struct ckpt_info info = {0};
    struct str was = STR("");
    snprintf(state, sizeof state, "%s/hone/state.json", path);
    arena_init(&mem, "checkpoint", 64 << 20);
    err_code rc = file_exists(state) ? ckpt_read(path, &info, &mem, e) : ERR_OK;
    int64_t at = rc == ERR_OK ? str_find(info.config, str_of(key), 0) : -1;
    if (at >= 0) {
        struct str rest = str_sub(info.config, at + (int64_t)sizeof key - 1, info.config.n);
        str_split(&rest, '\n', &was);
    }
    if (rc == ERR_OK && was.n && strcmp(asked, "auto") && !str_eq(was, str_of(asked)))
        rc = err_set(e, ERR_USAGE, "'%s' belongs to a run with model.mla=%.*s, its log-probs have other bits in the %s form; hint: --mla %.*s", path, STR_ARG(was), asked, STR_ARG(was));
    *out = str_eq(strcmp(asked, "auto") || !was.n ? str_of(asked) : was, STR("expanded")) ? MODEL_EXPANDED : MODEL_ABSORBED;
    arena_release(&mem);
    return rc;
}

err_code cmd_model_open(const struct cmd_model_flags *f, struct cmd_model *m, struct err *e)
{
    static const enum kern_prec precs[] = {KERN_F32, KERN_BF16, KERN_FP8};
    int prec = !strcmp(f->precision, "bf16") ? 1 : !strcmp(f->precision, "fp8") ? 2 : 0;
    enum model_mla mla = MODEL_EXPANDED;
    *m = (struct cmd_model){0};
    if (!f->model[0])
        return err_set(e, ERR_USAGE, "which model? hint: --model DIR");
    par_init((int)f->threads);
    TRY(ckpt_model(f->model, m->path, e));
    TRY(choose_mla(f->mla, m->path, &mla, e));
    err_code rc = kern_open(&(struct kern_opts){.backend = f->device}, &m->kern, e);
    if (rc == ERR_OK && has_tokenizer(m->path))
        rc = tok_load(m->path, &m->tok, e);
    if (rc == ERR_OK && m->tok)
        rc = tok_enc_new(m->tok, &m->enc, e);
    if (rc == ERR_OK)
        rc = model_open(m->kern, m->path, &(struct model_opts){.mla = mla, .prec = precs[prec]}, &m->model, e);
    if (rc != ERR_OK)
        cmd_model_close(m);
    return rc;
}

void cmd_model_close(struct cmd_model *m)
{
    model_close(m->model);
    tok_enc_free(m->enc);
    tok_free(m->tok);
    if (m->kern)
        kern_close(m->kern);
}
