/* Option tables: one list gives the struct, the parser, the bounds, --help and the run-time dump.
 *
 * Command flags (cmd/x.c):
 *   struct flags { const char *model; int64_t samples; int json; };
 *   static const struct opt_def defs[] = {
 *       {"", "model", OPT_STR, offsetof(struct flags, model), "", 0, 0, NULL, "folder with config.json"},
 *       ...
 * Config keys: configs/options.def through script/ (section "train", key "lr": train.lr=1e-5).
 *
 * Value types in the struct: OPT_BOOL int, OPT_INT int64_t, OPT_NUM double, OPT_STR and OPT_ENUM
 * const char * (lives in the set's arena, never NULL). A bool flag is `--json` / `--no-json`.
 */
#ifndef HONE_CORE_OPT_H
#define HONE_CORE_OPT_H

#include <stddef.h>
#include <stdint.h>

#include "core/arena.h"
#include "core/cdecl.h"
#include "core/err.h"
#include "core/str.h"

CDECL_BEGIN

enum opt_type { OPT_BOOL, OPT_INT, OPT_NUM, OPT_STR, OPT_ENUM };

struct opt_def {
    const char *section; /* "" for a command flag */
    const char *key;
    enum opt_type type;
    size_t offset;       /* of the value in the struct */
    const char *def;     /* default, as the user would write it */
    double min, max;     /* inclusive; OPT_INT and OPT_NUM; both 0 = unbounded */
    const char *choices; /* OPT_ENUM: "a|b|c" */
    const char *help;    /* one line, with the unit */
};

struct opt_set {
    const struct opt_def *defs; /* borrowed */
    int n;
    void *values;               /* the struct, owned by the caller */
    struct arena *mem;          /* strings and sources live here */
    const char **source;        /* [n] where each value came from; NULL = default */
};

/* Fills the struct with the defaults; BUG when a default does not pass its own bounds. */
void opt_init(struct opt_set *s, const struct opt_def *defs, int n, void *values, struct arena *mem);

/* name "section.key" or "key". ERR_USAGE: unknown (names the nearest), not a number, out of bounds. */
err_code opt_put(struct opt_set *s, struct str name, struct str value, const char *source, struct err *e);
const struct opt_def *opt_find(const struct opt_set *s, struct str name);

/* argv of a command, without its name. Flags may stand anywhere; "--" ends them. Words that are not
 * flags are moved to the front of argv and counted in *n_words. --help sets *help. */
err_code opt_flags(struct opt_set *s, int argc, char **argv, int *n_words, int *help, struct err *e);

void opt_help(struct sbuf *b, const struct opt_def *defs, int n);             /* one line each */
/* "section.key=value" lines in table order; changed_only adds "  # source". */
void opt_dump(struct sbuf *b, const struct opt_set *s, int changed_only);
void opt_value(struct sbuf *b, const struct opt_set *s, const struct opt_def *d);
/* The name in "a|b|c" or the table that is nearest to `word`, or NULL when nothing is near. */
const char *opt_nearest(const struct opt_set *s, struct str word, char buf[128]);

CDECL_END

#endif
