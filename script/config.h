/* The configuration: one list (configs/options.def) gives struct cfg, the parser, the bounds, `hone help config`, docs/config.md
 * and the text that is stored with a run.
 *
 *   struct cfg c;
 *   TRY(cfg_load("configs/demo_sft.lua", words, n_words, &c, &mem, e));
 *   TRY(cfg_check(&c, "sft", e));
 *   c.train.lr ...
 *
 * A config file is Lua in a closed state (script.h): it assigns sections (`train = { lr = 1e-5 }`, `seed = 3`) or returns one
 * table of them; include("other.lua") runs another file first (path relative to the including file; what comes later wins).
 * Words `section.key=value` of the command line win over files. grpo.preset fills the keys of its list (configs/presets.def)
 * that neither file nor command line set. Values are typed: 1 is not true, "1" is not 1.
 *
 * ERR_USAGE: "FILE:LINE: unknown option 'train.lrr', did you mean 'train.lr'?", "FILE:LINE: train.lr must be in [0, 10], got 12".
 */
#ifndef HONE_SCRIPT_CONFIG_H
#define HONE_SCRIPT_CONFIG_H

#include <stdint.h>

#include "core/arena.h"
#include "core/cdecl.h"
#include "core/err.h"
#include "core/opt.h"
#include "core/str.h"

CDECL_BEGIN

/* Types of options.def. LIST: "a,b" or with weights "a:1,b:0.5" (in Lua { "a", "b" } or { a = 1, b = 0.5 }).
 * TEXTS: strings as a JSON array ["x","y"] (in Lua { "x", "y" }; a bare word is one string). */
#define CFG_C_BOOL int
#define CFG_C_INT int64_t
#define CFG_C_NUM double
#define CFG_C_STR const char *
#define CFG_C_ENUM const char *
#define CFG_C_LIST const char *
#define CFG_C_TEXTS const char *

struct cfg {
#define TOP(key, TYPE, def, min, max, choices, help) CFG_C_##TYPE key;
#define SECTION(name, help) struct {
#define OPT(section, key, TYPE, def, min, max, choices, help) CFG_C_##TYPE key;
#define END(name) } name;
#include "configs/options.def"
    const char *file;   /* the config file, as given (borrowed); NULL = none */
    struct opt_set set; /* where each value came from; points into this struct: do not copy it */
};

/* path NULL: defaults and words only. Strings live in mem. */
err_code cfg_load(const char *path, char **words, int n_words, struct cfg *c, struct arena *mem, struct err *e);
/* Rules over several keys, and what `job` ("sft", "grpo", "eval", "niah") cannot do without. */
err_code cfg_check(const struct cfg *c, const char *job, struct err *e);

/* Every key as "section.key=value\n" in the list's order: what the store and the checkpoint keep. A string with a line break or
 * a leading quote is written as a JSON string, which cfg_load's words understand too. */
void cfg_text(const struct cfg *c, struct sbuf *out);
/* The keys that differ from their default, with "  # source". */
void cfg_text_changed(const struct cfg *c, struct sbuf *out);
/* Reads what cfg_text wrote. */
err_code cfg_from_text(struct str text, const char *source, struct cfg *c, struct arena *mem, struct err *e);

/* Index of an enum key's value among its choices: cfg_index(c, "train.schedule") is an enum train_schedule. BUG: no such key. */
int cfg_index(const struct cfg *c, const char *name);
/* Members of a LIST. Without a weight: `weight` = 1. Returns how many; ERR_USAGE through e (malformed, more than max). */
struct cfg_item {
    struct str name;
    double weight;
};
err_code cfg_list(const char *list, const char *key, struct cfg_item *out, int max, int *n, struct err *e);
/* Strings of a TEXTS value; they live in mem. */
err_code cfg_texts(const char *texts, const char *key, struct str *out, int max, int *n, struct arena *mem, struct err *e);

/* The table: section headings and their help, for `hone help config` and docs/config.md. */
void cfg_help(struct sbuf *out, int markdown);

CDECL_END

#endif
