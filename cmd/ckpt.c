/* hone ckpt: what a checkpoint holds, its digest, and where two differ. */
#include <limits.h>
#include <stdio.h>

#include "cmd/cmd.h"
#include "core/file.h"
#include "train/train.h"

struct none {
    int unused;
};

/* Words of `hone ckpt VERB ...`: exactly n of them. */
static int words(const char *usage, const char *about, int n, int argc, char **argv, int *exit_code)
{
    struct arena mem;
    struct none values;
    int got = 0, done;
    struct cmd_flags f = {.usage = usage, .about = about, .words_max = n};
    arena_init(&mem, "flags", 1 << 20);
    *exit_code = cmd_parse(&f, &values, &mem, argc, argv, &got, &done);
    arena_release(&mem);
    if (done)
        return 0;
    if (got != n) {
        fprintf(stderr, "usage: hone %s (try --help)\n", usage);
        *exit_code = err_exit(ERR_USAGE);
        return 0;
    }
    return 1;
}

/* A checkpoint, or the newest one of a run folder; read, and verified when asked. */
static err_code load(const char *dir, int verify, char path[PATH_MAX], struct ckpt_info *info, struct arena *mem, struct err *e)
{
    TRY(ckpt_newest(dir, path, e));
    if (!path[0])
        return err_set(e, ERR_DATA, "'%s' is no checkpoint and holds none", dir);
    return verify ? ckpt_verify(path, info, mem, e) : ckpt_read(path, info, mem, e);
}

static int run_digest(int argc, char **argv)
{
    struct arena mem;
    struct ckpt_info info;
    struct err e = {0};
    char path[PATH_MAX];
    int code;
    if (!words("ckpt digest DIR", "One hash over weights, optimiser state, step and data cursor of a checkpoint, or of the newest one in a run\n"
               "folder. Every file is read again and compared with what was written.", 1, argc, argv, &code))
        return code;
    arena_init(&mem, "ckpt", 64 << 20);
    err_code rc = load(argv[0], 1, path, &info, &mem, &e);
    if (rc == ERR_OK)
        printf("%s  %s\n", info.digest, path);
    arena_release(&mem);
    return rc == ERR_OK ? 0 : cmd_fail(&e);
}

static int run_show(int argc, char **argv)
{
    struct arena mem;
    struct ckpt_info info;
    struct err e = {0};
    char path[PATH_MAX];
    int code;
    if (!words("ckpt show DIR", "Step, cursor, run, files and config of a checkpoint, or of the newest one in a run folder.", 1, argc, argv, &code))
        return code;
    arena_init(&mem, "ckpt", 64 << 20);
    err_code rc = load(argv[0], 0, path, &info, &mem, &e);
    if (rc == ERR_OK) {
        printf("path     %s\nstep     %lld\ncursor   %.*s\nrun      %lld, attempt %lld\ncode     %.*s\ndigest   %s\n", path, (long long)info.step,
               STR_ARG(info.cursor), (long long)info.run, (long long)info.attempt, STR_ARG(info.code), info.digest);
        for (int64_t i = 0; i < info.n_files; i++)
            printf("file     %s  %12lld bytes  %.*s\n", info.files[i].hash, (long long)info.files[i].bytes, STR_ARG(info.files[i].name));
        struct str rest = info.config, line;
        while (str_split(&rest, '\n', &line))
            if (line.n)
                printf("config   %.*s\n", STR_ARG(line));
    }
    arena_release(&mem);
    return rc == ERR_OK ? 0 : cmd_fail(&e);
}

/* Lines of one text that are not lines of the other. */
static int diff_lines(char mark, struct str a, struct str b)
{
    struct str line;
    int n = 0;
    while (str_split(&a, '\n', &line)) {
        struct str rest = b, other;
        int found = line.n == 0;
        while (!found && str_split(&rest, '\n', &other))
            found = str_eq(line, other);
        if (!found)
            printf("%c config %.*s\n", mark, STR_ARG(line)), n++;
    }
    return n;
}

static int diff_files(const struct ckpt_info *a, const struct ckpt_info *b)
{
    int n = 0;
    for (int64_t i = 0, j = 0; i < a->n_files || j < b->n_files;) {
        const struct ckpt_file *x = i < a->n_files ? &a->files[i] : NULL, *y = j < b->n_files ? &b->files[j] : NULL;
        int order = !x ? 1 : !y ? -1 : str_cmp(x->name, y->name);
        if (order < 0)
            printf("- file %.*s\n", STR_ARG(x->name));
        else if (order > 0)
            printf("+ file %.*s\n", STR_ARG(y->name));
        else if (strcmp(x->hash, y->hash))
            printf("! file %.*s  %s  %s\n", STR_ARG(x->name), x->hash, y->hash);
        n += order != 0 || strcmp(x->hash, y->hash);
        i += order <= 0;
        j += order >= 0;
    }
    return n;
}

static int run_diff(int argc, char **argv)
{
    struct arena mem;
    struct ckpt_info a, b;
    struct err e = {0};
    char path[PATH_MAX];
    int code, n = 0;
    if (!words("ckpt diff A B", "Where two checkpoints differ: '-' only in A, '+' only in B, '!' in both with other bytes. Exit code 10 when the\n"
               "states differ; config lines are shown but do not count, as in the digest. `hone model diff A B` compares tensors.",
               2, argc, argv, &code))
        return code;
    arena_init(&mem, "ckpt", 64 << 20);
    err_code rc = load(argv[0], 1, path, &a, &mem, &e);
    if (rc == ERR_OK)
        rc = load(argv[1], 1, path, &b, &mem, &e);
    if (rc == ERR_OK) {
        if (a.step != b.step)
            printf("! step %lld  %lld\n", (long long)a.step, (long long)b.step), n++;
        if (!str_eq(a.cursor, b.cursor))
            printf("! cursor %.*s  %.*s\n", STR_ARG(a.cursor), STR_ARG(b.cursor)), n++;
        n += diff_files(&a, &b);
        diff_lines('-', a.config, b.config);
        diff_lines('+', b.config, a.config);
    }
    arena_release(&mem);
    return rc != ERR_OK ? cmd_fail(&e) : n ? err_exit(ERR_MISMATCH) : 0;
}

int cmd_ckpt(int argc, char **argv)
{
    static const struct cmd_verb verbs[] = {
        {"digest", "one hash over the whole training state", run_digest},
        {"diff", "where two checkpoints differ", run_diff},
        {"show", "step, cursor, files, config", run_show},
    };
    return cmd_dispatch("ckpt", verbs, 3, argc, argv);
}
