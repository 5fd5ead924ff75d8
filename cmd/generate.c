/* hone generate: rows that a Lua file makes. */
#include <stdio.h>
#include <string.h>

#include "cmd/cmd.h"
#include "script/script.h"

struct flags {
    int64_t n, seed, memory_mb, instructions;
};

static const struct opt_def defs[] = {
    {"", "n", OPT_INT, offsetof(struct flags, n), "1000", 1, 1e12, NULL, "rows"},
    {"", "seed", OPT_INT, offsetof(struct flags, seed), "1", 0, 0x1p53, NULL, "another seed, other rows"},
    {"", "memory-mb", OPT_INT, offsetof(struct flags, memory_mb), "256", 1, 65536, NULL, "memory of the Lua state in MiB"},
    {"", "instructions", OPT_INT, offsetof(struct flags, instructions), "10000000", 1000, 1e15, NULL, "most VM instructions of one generate() call"},
};

enum { WORDS_MAX = 64 };

static err_code row(void *ctx, struct str json, struct err *e)
{
    (void)ctx;
    if (fwrite(json.p, 1, (size_t)json.n, stdout) != (size_t)json.n || putchar('\n') == EOF)
        return err_sys(e, ERR_IO, "cannot write standard output");
    return ERR_OK;
}

int cmd_generate(int argc, char **argv)
{
    struct flags o;
    struct arena mem;
    struct err e = {0};
    int words = 0, done;
    const struct cmd_flags f = {
        .usage = "generate FILE.lua [key=value ...] > rows.jsonl",
        .about = "Rows (JSON Lines) from a Lua file that defines generate(rng, i, args) and calls emit(row). The words are its args.\n"
                 "Row i is a function of the file, the words, the seed and i. docs/script.md tells what Lua may use.",
        .defs = defs, .n = sizeof defs / sizeof *defs, .words_max = WORDS_MAX};
    arena_init(&mem, "flags", 1 << 20);
    int code = cmd_parse(&f, &o, &mem, argc, argv, &words, &done);
    arena_release(&mem);
    if (done)
        return code;
    if (words == 0) {
        fprintf(stderr, "usage: hone %s (try --help)\n", f.usage);
        return err_exit(ERR_USAGE);
    }
    struct script_generate g = {
        .path = argv[0], .seed = (uint64_t)o.seed, .n = o.n, .words = argv + 1, .n_words = words - 1,
        .limits = {.memory_bytes = o.memory_mb << 20, .instructions = o.instructions}, .row = row};
    int64_t rows;
    err_code rc = script_rows(&g, &rows, &e);
    if (rc == ERR_OK && fflush(stdout))
        rc = err_sys(&e, ERR_IO, "cannot write standard output");
    return rc == ERR_OK ? 0 : cmd_fail(&e);
}
