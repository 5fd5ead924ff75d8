/* What commands over one model folder share: backend, model, tokenizer. */
#ifndef HONE_CMD_OPEN_H
#define HONE_CMD_OPEN_H

#include <limits.h>
#include <stddef.h>

#include "cmd/cmd.h"
#include "model/model.h"
#include "rollout/rollout.h"
#include "text/text.h"

struct cmd_model_flags {
    const char *model, *precision, *mla, *device;
    int64_t threads;
};
#define CMD_MODEL_FLAGS(T, f)                                                                                                                    \
    {"", "model", OPT_STR, offsetof(T, f.model), "", 0, 0, NULL, "Hugging Face folder: config.json, safetensors, tokenizer.json"},               \
    {"", "precision", OPT_ENUM, offsetof(T, f.precision), "fp32", 0, 0, "fp32|bf16|fp8", "of the linears; log-probs agree only at the same precision"}, \
    {"", "mla", OPT_ENUM, offsetof(T, f.mla), "auto", 0, 0, "auto|absorbed|expanded", "form of latent attention; auto = that of the checkpoint's run, else absorbed"}, \
    {"", "device", OPT_ENUM, offsetof(T, f.device), "auto", 0, 0, "auto|cpu|ref|cuda", "where the kernels run; auto = cuda where there is one, else cpu"}, \
    {"", "threads", OPT_INT, offsetof(T, f.threads), "0", 0, 256, NULL, "CPU threads; 0 = all this process may use"}

/* How to sample. The defaults of a command: temperature t, top-p p, n tokens. */
struct cmd_sampling_flags {
    int64_t max_tokens, context, seed, top_k;
    double temperature, top_p, min_p;
};
#define CMD_SAMPLING_FLAGS(T, f, t, p, n)                                                                                                        \
    {"", "max-tokens", OPT_INT, offsetof(T, f.max_tokens), n, 1, 1e7, NULL, "longest sample in tokens"},                                         \
    {"", "context", OPT_INT, offsetof(T, f.context), "0", 0, 1e9, NULL, "most tokens of prompt and sample; 0 = the model's, at most 4096"},      \
    {"", "temperature", OPT_NUM, offsetof(T, f.temperature), t, 0, 100, NULL, "0 = greedy; log-probs are those of the distribution at this temperature"}, \
    {"", "top-k", OPT_INT, offsetof(T, f.top_k), "0", 0, 1e9, NULL, "sample from the k likeliest tokens; 0 = off"},                              \
    {"", "top-p", OPT_NUM, offsetof(T, f.top_p), p, 1e-9, 1, NULL, "sample from the smallest set with this much probability; 1 = off"},          \
    {"", "min-p", OPT_NUM, offsetof(T, f.min_p), "0", 0, 1, NULL, "drop tokens below this share of the likeliest one's probability; 0 = off"},   \
    {"", "seed", OPT_INT, offsetof(T, f.seed), "0", 0, 9e15, NULL, "the same seed and prompt give the same samples"}
struct rollout_sampling cmd_sampling(const struct cmd_sampling_flags *f);

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
