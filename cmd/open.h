/* What commands over one model folder share: backend, model, tokenizer. */
#ifndef HONE_CMD_OPEN_H
#define HONE_CMD_OPEN_H

#include <limits.h>
#include <stddef.h>

#include "cmd/cmd.h"
#include "model/model.h"
#include "text/text.h"

struct cmd_model_flags {
    const char *model, *precision, *mla, *backend;
    int64_t threads;
};
#define CMD_MODEL_FLAGS(T, f)                                                                                                                    \
    {"", "model", OPT_STR, offsetof(T, f.model), "", 0, 0, NULL, "Hugging Face folder: config.json, safetensors, tokenizer.json"},               \
    {"", "precision", OPT_ENUM, offsetof(T, f.precision), "fp32", 0, 0, "fp32|bf16|fp8", "of the linears; log-probs agree only at the same precision"}, \
    {"", "mla", OPT_ENUM, offsetof(T, f.mla), "auto", 0, 0, "auto|absorbed|expanded", "form of latent attention; auto = that of the checkpoint's run, else absorbed"}, \
    {"", "backend", OPT_ENUM, offsetof(T, f.backend), "auto", 0, 0, "auto|cpu|ref|cuda", "where the kernels run"},                               \
    {"", "threads", OPT_INT, offsetof(T, f.threads), "0", 0, 256, NULL, "CPU threads; 0 = all this process may use"}

struct cmd_model {
    char path[PATH_MAX];  /* the folder: --model, or the newest checkpoint in it */
    struct kern *kern;
    struct model *model;
    struct tok *tok;      /* with its encoder; NULL when the folder has no tokenizer.json: token ids are all one can give and get */
    struct tok_enc *enc;
};
/* ERR_USAGE: no --model; another form of latent attention than the checkpoint's run has. On an error nothing is held. */
err_code cmd_model_open(const struct cmd_model_flags *f, struct cmd_model *m, struct err *e);
void cmd_model_close(struct cmd_model *m);

#endif
