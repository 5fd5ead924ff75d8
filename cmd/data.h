/* What the verbs of `hone data` share. */
#ifndef HONE_CMD_DATA_H
#define HONE_CMD_DATA_H

#include <stddef.h>

#include "cmd/cmd.h"
#include "datasets/datasets.h"

/* Flags that say which rows: the keys of the config's section "data". */
struct data_flags {
    const char *store, *sources, *kinds, *split, *exclude;
    double heldout;
};
#define DATA_FLAGS(T, kind_list, which)                                                                                                        \
    {"", "store", OPT_STR, offsetof(T, d.store), "hone.db", 0, 0, NULL, "the SQLite store"},                                                   \
    {"", "sources", OPT_STR, offsetof(T, d.sources), "", 0, 0, NULL, "sources, with a weight when wanted: \"gsm8k:1,chat:0.5\"; empty = all"}, \
    {"", "kinds", OPT_STR, offsetof(T, d.kinds), kind_list, 0, 0, NULL, "kinds of items: chat, prompt, pair, text"},                           \
    {"", "split", OPT_ENUM, offsetof(T, d.split), which, 0, 0, "train|heldout|all", "side of the held-out split"},                            \
    {"", "heldout", OPT_NUM, offsetof(T, d.heldout), "0", 0, 0.9, NULL, "share of prompts held out, by the hash of the prompt"},              \
    {"", "exclude", OPT_STR, offsetof(T, d.exclude), "", 0, 0, NULL, "sources whose prompts must not occur"}

/* Flags that say how rows become tokens. */
struct render_flags {
    const char *model, *turns, *template_name;
    double reasoning, tool_calls;
    int raw;
};
#define RENDER_FLAGS(T)                                                                                                                             \
    {"", "model", OPT_STR, offsetof(T, r.model), "", 0, 0, NULL, "folder with tokenizer.json and a chat template"},                                 \
    {"", "turns", OPT_ENUM, offsetof(T, r.turns), "all", 0, 0, "all|last|text", "assistant turns that are supervised; text = every byte"},          \
    {"", "template", OPT_STR, offsetof(T, r.template_name), "", 0, 0, NULL, "name of the chat template when the model has several"},                \
    {"", "reasoning", OPT_NUM, offsetof(T, r.reasoning), "1", 0, 100, NULL, "factor on the loss weight of reasoning parts"},                        \
    {"", "tool-calls", OPT_NUM, offsetof(T, r.tool_calls), "1", 0, 100, NULL, "factor on the loss weight of tool calls"},                           \
    {"", "raw", OPT_BOOL, offsetof(T, r.raw), "false", 0, 0, NULL, "no template: contents one behind the other, then the end-of-text token"}
struct data_render_opts cmd_data_render_opts(const struct render_flags *f);

/* Opens the store and, unless sources are named, names all of them in mem. */
err_code cmd_data_open(struct data_flags *f, enum store_mode mode, struct arena *mem, struct store **s, struct err *e);
struct data_select cmd_data_select(const struct data_flags *f);
/* n with thousands marks, in one of a few static buffers. */
const char *cmd_data_count(int64_t n);

int cmd_data_show(int argc, char **argv);
int cmd_data_stats(int argc, char **argv);

#endif
