/* Lua 5.4 states for configs, data generators and user rewards, and the typed configuration.
 *
 * A state is a closed box:
 *   no      io, os, require, package, load*, dofile, debug, coroutine, collectgarbage, string.dump, math.random, finalizers,
 *           bytecode
 *   memory  at most limits.memory_bytes through the allocator: past it Lua raises an error it can catch, but not grow
 *   time    at most limits.instructions VM instructions and limits.wall_s seconds. Once over, every further instruction raises
 *           again, so pcall cannot go on. Library calls are charged by the work they do (patterns, rep, move, sort), so none of
 *           them can hide from the count.
 * det: the same file, arguments and seed give the same result: `pairs` and `next` walk keys in order (numbers, then strings by
 * bytes, then booleans; other keys are an error), `table.sort` is a stable merge sort, no address is ever printed, there is no
 * clock and no random but the counter-based `rng` of a generator. The instruction limit strikes at the same place every time;
 * the wall limit is a backstop for a stalled machine and is the one thing that can differ.
 * Globals added: hash(text) -> integer in [0, 2^63), null (JSON null in arrays), print(...) -> the log.
 *
 * Errors: ERR_DATA the script is wrong (file:line: message), ERR_LIMIT a limit was reached (which one: script_ended), ERR_IO no file.
 * Not thread-safe: one state per thread; states are independent.
 */
#ifndef HONE_SCRIPT_SCRIPT_H
#define HONE_SCRIPT_SCRIPT_H

#include <stdint.h>

#include "core/cdecl.h"
#include "core/err.h"
#include "core/json.h"
#include "core/str.h"
#include "script/config.h"

CDECL_BEGIN

struct script;

struct script_limits {
    int64_t memory_bytes;   /* 0 = 64 MiB */
    int64_t instructions;   /* of one script_run or script_call; 0 = 100 million (about a second) */
    double wall_s;          /* of one script_run or script_call; 0 = 10 */
};

err_code script_open(struct script **out, const struct script_limits *limits, struct err *e);
void script_close(struct script *s); /* NULL is fine */

/* Runs a chunk (text only). name is what messages call it. */
err_code script_run(struct script *s, struct str text, const char *name, struct err *e);
err_code script_run_file(struct script *s, const char *path, struct err *e);
/* Whether the chunk defined a global function of that name. */
int script_has(struct script *s, const char *function);
/* Calls a global function with the members of the JSON array `args` (may be NULL: none); *out is the array of its results,
 * owned by the caller. Absent object members and JSON null in objects are nil; tables with keys 1..n come back as arrays
 * (an empty table too), tables with string keys as objects in byte order. A result that JSON cannot say (function, NaN, a
 * loop, bytes that are not UTF-8) is ERR_DATA. */
err_code script_call(struct script *s, const char *function, const json_t *args, json_t **out, struct err *e);

/* Offers a function of the caller's as a global of that name. args: the array of its arguments (nil is null); *out: its one
 * result, taken over and released by the state; *work: instructions to charge for the call. An error becomes an error in Lua.
 * ctx outlives the state. Before script_run, so that the chunk may use it. */
typedef err_code script_fn(void *ctx, const json_t *args, json_t **out, int64_t *work, struct err *e);
err_code script_offer(struct script *s, const char *name, script_fn *fn, void *ctx, struct err *e);

enum script_end { SCRIPT_FINE, SCRIPT_ERROR, SCRIPT_INSTRUCTIONS, SCRIPT_WALL, SCRIPT_MEMORY };
enum script_end script_ended(const struct script *s); /* how the last run or call ended */
int64_t script_memory(const struct script *s);        /* bytes in use */

/* ---- files that define one function -------------------------------------------------------- *
 * Rewards, filters and hooks: the file is read once; every call gets a state of its own, so that nothing is carried from one call to
 * another and the order of calls and threads cannot matter. A state costs some 50 us and the file's top level.
 */
struct script_host { /* what the caller offers under a name, see script_offer */
    const char *name;
    script_fn *fn;
    void *ctx;
};
struct script_file {
    struct sbuf text;
    char *path;
    struct script_limits limits;
};
/* form: the function with its arguments, as messages say it: "row(row)". host: NULL = none. ERR_IO, ERR_DATA (the file is wrong),
 * ERR_USAGE (it defines no such function); then nothing is held. */
err_code script_file_open(struct script_file *f, const char *path, const char *form, const struct script_limits *limits, const struct script_host *host,
                          struct err *e);
void script_file_close(struct script_file *f);
/* A state that has run the file. *s is to be closed by the caller whatever the answer; NULL is possible. Thread-safe. */
err_code script_file_load(const struct script_file *f, const struct script_host *host, struct script **s, struct err *e);

/* ---- generators ---------------------------------------------------------------------------- *
 * A file that defines `generate(rng, i, args)`; it is called for i = 0, 1, ... and calls emit(row) (a table that JSON can say)
 * any number of times. rng is a pure function of (seed, i) (N4, stream RNG_DEMO):
 *   rng:int(lo, hi)   whole number, both ends included      rng:float()        [0, 1)
 *   rng:chance(p)     true with probability p               rng:pick(list)     one element
 *   rng:shuffle(list) in place, returns it
 * args: the table of the caller's words. generate() that returns false ends the rows early.
 */
struct script_generate {
    const char *path;
    uint64_t seed;
    int64_t n;                  /* rows wanted */
    char **words;               /* "key=value" for args: numbers and true/false are typed */
    int n_words;
    struct script_limits limits; /* of one call of generate() */
    err_code (*row)(void *ctx, struct str json, struct err *e); /* one row as compact JSON, no newline */
    void *ctx;
};
/* Exactly n rows (fewer when generate() returned false). ERR_LIMIT: 1,000 calls in a row emitted nothing. */
err_code script_rows(const struct script_generate *g, int64_t *rows, struct err *e);

CDECL_END

#endif
