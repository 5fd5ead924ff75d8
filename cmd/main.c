/* hone: the table of commands, and what they share. */
#include <string.h>

#include "cmd/cmd.h"
#include "core/version.h"
#include "rewards/rewards.h"
#include "script/script.h"

static const struct cmd_verb commands[] = {
#define CMD(name, summary) {#name, summary, cmd_##name},
#include "cmd/list.h"
#undef CMD
};

enum { N_COMMANDS = sizeof commands / sizeof *commands };

static void list(FILE *f, const char *head, const struct cmd_verb *v, int n)
{
    fprintf(f, "usage: hone %s<command> ...\n\n", head);
    for (int i = 0; i < n; i++)
        fprintf(f, "  %-10s %s\n", v[i].name, v[i].summary);
}

static const struct cmd_verb *find(const struct cmd_verb *v, int n, const char *name)
{
    for (int i = 0; i < n; i++)
        if (!strcmp(v[i].name, name))
            return &v[i];
    return NULL;
}

static const char *nearest(const struct cmd_verb *v, int n, const char *name)
{
    int best = str_far(str_of(name));
    const char *found = NULL;
    for (int i = 0; i < n; i++) {
        int d = str_distance(str_of(name), str_of(v[i].name));
        if (d < best)
            best = d, found = v[i].name;
    }
    return found;
}

static int unknown(const char *head, const struct cmd_verb *v, int n, const char *name)
{
    const char *near = nearest(v, n, name);
    fprintf(stderr, "hone: %sunknown command '%s'%s%s%s; try 'hone %s--help'\n", head, name, near ? ", did you mean '" : "",
            near ? near : "", near ? "'?" : "", head);
    return err_exit(ERR_USAGE);
}

int cmd_dispatch(const char *command, const struct cmd_verb *verbs, int n, int argc, char **argv)
{
    char head[64];
    snprintf(head, sizeof head, "%s ", command);
    if (argc == 0 || !strcmp(argv[0], "--help") || !strcmp(argv[0], "-h")) {
        list(argc ? stdout : stderr, head, verbs, n);
        return argc ? 0 : err_exit(ERR_USAGE);
    }
    const struct cmd_verb *v = find(verbs, n, argv[0]);
    return v ? v->run(argc - 1, argv + 1) : unknown(head, verbs, n, argv[0]);
}

/* The lists of other folders. `help config markdown` is docs/config.md. */
static int help_list(int rewards, int markdown)
{
    struct sbuf b;
    sbuf_init(&b, 1 << 20);
    if (rewards)
        reward_help(&b);
    else
        cfg_help(&b, markdown);
    fwrite(b.p, 1, (size_t)b.n, stdout);
    sbuf_release(&b);
    return 0;
}

int cmd_help(int argc, char **argv)
{
    if (argc == 0) {
        list(stdout, "", commands, N_COMMANDS);
        printf("\n'hone <command> --help' describes one command.\n");
        return 0;
    }
    if (!strcmp(argv[0], "exit-codes")) {
        for (int i = 0; i < ERR_N; i++)
            printf("%4d  %-12s %s\n", err_exit(i), err_name(i), err_text(i));
        return 0;
    }
    if ((!strcmp(argv[0], "config") && (argc == 1 || !strcmp(argv[1], "markdown"))) || !strcmp(argv[0], "rewards"))
        return help_list(argv[0][0] == 'r', argc > 1);
    const struct cmd_verb *v = find(commands, N_COMMANDS, argv[0]);
    char help[] = "--help";
    char *ask[] = {help, NULL};
    return v && v->run != cmd_help ? v->run(1, ask) : unknown("", commands, N_COMMANDS, argv[0]);
}

int cmd_fail(const struct err *e)
{
    fprintf(stderr, "hone: %s\n", e->msg[0] ? e->msg : err_text(e->code));
    return err_exit(e->code);
}

int cmd_parse(const struct cmd_flags *f, void *values, struct arena *mem, int argc, char **argv, int *n_words, int *done)
{
    struct opt_set s;
    struct err e = {0};
    int help = 0, words = 0;
    *done = 1;
    opt_init(&s, f->defs, f->n, values, mem);
    err_code rc = opt_flags(&s, argc, argv, &words, &help, &e);
    if (help) {
        struct sbuf b;
        sbuf_init(&b, 1 << 20);
        opt_help(&b, f->defs, f->n);
        printf("usage: hone %s\n\n%s\n\n%s", f->usage, f->about, b.p ? b.p : "");
        sbuf_release(&b);
        return 0;
    }
    if (rc == ERR_OK && words > f->words_max)
        rc = err_set(&e, ERR_USAGE, "unexpected argument '%s'", argv[f->words_max]);
    if (rc != ERR_OK) {
        fprintf(stderr, "hone: %s\nusage: hone %s (try --help)\n", e.msg, f->usage);
        return err_exit(rc);
    }
    *n_words = words;
    *done = 0;
    return 0;
}

int cmd_plumb(cmd_answer_fn *answer, void *ctx)
{
    enum { LINE_MAX_BYTES = 256 << 20 };
    struct json_lines in;
    struct sbuf out;
    json_lines_init(&in, stdin, "stdin", LINE_MAX_BYTES);
    sbuf_init(&out, 1LL << 32);
    int failed = 0, exit_code = 0;
    for (;;) {
        struct err e = {0};
        struct str line;
        json_t *q = NULL;
        int more = 1;
        err_code rc = json_lines_next(&in, &line, &more, &e);
        if (rc == ERR_IO) {
            exit_code = cmd_fail(&e);
            break;
        }
        if (!more)
            break;
        if (rc == ERR_OK && str_trim(line).n == 0)
            continue;
        if (rc == ERR_OK && (rc = json_parse(line, &q, &e)) != ERR_OK)
            err_ctx(&e, "stdin:%lld", (long long)in.line);
        sbuf_clear(&out);
        if (rc == ERR_OK)
            rc = answer(ctx, q, &out, &e);
        if (rc != ERR_OK) {
            failed = 1;
            sbuf_clear(&out);
            json_answer_error(&out, q, e.msg);
        }
        fwrite(out.p, 1, (size_t)out.n, stdout);
        json_decref(q);
    }
    if (fflush(stdout) || ferror(stdout)) {
        struct err e = {0};
        err_sys(&e, ERR_IO, "cannot write standard output");
        exit_code = cmd_fail(&e);
    }
    sbuf_release(&out);
    json_lines_release(&in);
    return exit_code ? exit_code : failed ? err_exit(ERR_LINES) : 0;
}

int main(int argc, char **argv)
{
    if (argc >= 2 && !strcmp(argv[1], "--version")) {
        printf("hone %s\n", HONE_VERSION);
        return 0;
    }
    if (argc < 2 || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
        list(argc < 2 ? stderr : stdout, "", commands, N_COMMANDS);
        return argc < 2 ? err_exit(ERR_USAGE) : 0;
    }
    const struct cmd_verb *v = find(commands, N_COMMANDS, argv[1]);
    return v ? v->run(argc - 2, argv + 2) : unknown("", commands, N_COMMANDS, argv[1]);
}
