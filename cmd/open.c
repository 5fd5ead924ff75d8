#include "cmd/open.h"

#include <string.h>

#include "core/file.h"
#include "core/par.h"
#include "train/train.h"

static int has_tokenizer(const char *dir)
{
    char path[PATH_MAX + 32];
    snprintf(path, sizeof path, "%s/tokenizer.json", dir);
    return file_exists(path);
}

err_code cmd_model_open(const struct cmd_model_flags *f, struct cmd_model *m, struct err *e)
{
    static const enum kern_prec precs[] = {KERN_F32, KERN_BF16, KERN_FP8};
    int prec = !strcmp(f->precision, "bf16") ? 1 : !strcmp(f->precision, "fp8") ? 2 : 0;
    *m = (struct cmd_model){0};
    if (!f->model[0])
        return err_set(e, ERR_USAGE, "which model? hint: --model DIR");
    par_init((int)f->threads);
    TRY(ckpt_model(f->model, m->path, e));
    err_code rc = kern_open(&(struct kern_opts){.backend = f->backend}, &m->kern, e);
    if (rc == ERR_OK && has_tokenizer(m->path))
        rc = tok_load(m->path, &m->tok, e);
    if (rc == ERR_OK && m->tok)
        rc = tok_enc_new(m->tok, &m->enc, e);
    if (rc == ERR_OK)
        rc = model_open(m->kern, m->path, &(struct model_opts){.prec = precs[prec]}, &m->model, e);
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
