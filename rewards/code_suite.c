/* Python suites that reach into the program (mock.patch of its names): they need its process. They run under the runner of repository
 * tasks, which shares no process with them and tests them with canaries; the verdict is still `weak`. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "rewards/code_private.h"
#include "rewards/repo_private.h"

enum { SUITE_MAX = 2000 };

int code_suite_patches(const struct code_task *t)
{
    for (int i = 0; i < t->n_files; i++) {
        struct str text = t->files[i].bytes;
        if (str_find(text, STR("mock"), 0) >= 0 && str_find(text, STR("patch"), 0) >= 0)
            return 1;
    }
    return 0;
}

static struct str word_at(struct str line, int64_t from)
{
    int64_t end = from;
    while (end < line.n && (isalnum((unsigned char)line.p[end]) || line.p[end] == '_'))
        end++;
    return str_sub(line, from, end);
}

/* The tests that a file has by its own text, which the program has no part in: methods test_* of classes at the left margin. */
static int list_tests(const struct sandbox_file *f, int n, struct sbuf *b)
{
    struct str rest = f->bytes, line, owner = {NULL, 0};
    while (rest.n && str_split(&rest, '\n', &line) && n < SUITE_MAX) {
        struct str text = str_trim(line);
        int inside = line.n && (line.p[0] == ' ' || line.p[0] == '\t');
        if (str_starts(line, STR("class ")))
            owner = word_at(line, 6);
        else if (line.n && !inside && line.p[0] != '#' && line.p[0] != ')' && line.p[0] != '@')
            owner = (struct str){NULL, 0};
        if (!owner.p || !inside || !str_starts(text, STR("def test")))
            continue;
        sbuf_addf(b, "%s[%d,", n ? "," : "", n);
        json_put_str(b, f->name);
        sbuf_adds(b, ",[");
        json_put_str(b, owner);
        sbuf_addc(b, ',');
        json_put_str(b, word_at(text, 4));
        sbuf_adds(b, "]]");
        n++;
    }
    return n;
}

static void note_tests(struct code_case *c, const unsigned char *each, int n, const char *note)
{
    char text[300];
    for (int i = 0; i < n; i++) {
        enum repo_test t = (enum repo_test)each[i];
        snprintf(text, sizeof text, "test %d: %s %.200s", i + 1, repo_test_name(t), c->v->first_failed ? "" : note);
        if (t == REPO_TEST_unsupported) {
            code_note(c, SANDBOX_IE, text);
            return;
        }
        /* a program that breaks the test library is found out by a canary or by the look at the library, whichever comes first */
        int broke = t == REPO_TEST_error || t == REPO_TEST_tampered;
        if (code_note(c, t == REPO_TEST_passed ? SANDBOX_AC : broke ? SANDBOX_RE : SANDBOX_WA, text))
            return;
    }
}

void code_judge_suite(struct code_case *c)
{
    enum { FILES = 256 };
    const char *const argv[] = {"/usr/bin/python3", "-s", "-B", "-c", repo_runner(), NULL};
    const struct code_task *t = c->t;
    struct sandbox_file *files = ARENA_NEW(c->mem, struct sandbox_file, FILES);
    struct str name = t->solution_file.n ? t->solution_file : STR("solution.py");
    unsigned char each[SUITE_MAX];
    char note[200];
    struct err e = {0};
    struct sbuf b;
    int n = 0, k = 0, canaries, ended;
    files[k++] = (struct sandbox_file){.name = name, .bytes = c->p->code, .kind = SANDBOX_PLAIN};
    for (int i = 0; i < c->p->n_files && k < FILES / 2; i++)
        files[k++] = c->p->files[i];
    for (int i = 0; i < t->n_files && k < FILES; i++)
        files[k++] = t->files[i]; /* behind the program's: a file of the same name is the tests' */
    sbuf_init(&b, 16 << 20);
    sbuf_adds(&b, "{\"runner\":1,\"ids\":\"unittest\",\"tests\":[");
    for (int m = 0; t->modules[m]; m++)
        for (int i = 0; i < t->n_files; i++)
            if (str_eq(t->files[i].name, str_printf(c->mem, "%s.py", t->modules[m])))
                n = list_tests(&t->files[i], n, &b);
    sbuf_adds(&b, "]}");
    struct sandbox_job job = {.argv = argv, .input = sbuf_str(&b), .files = files, .n_files = k, .limits = t->limits, .report = 1};
    c->v->weak = 1;
    c->v->total = n > 0 ? n : 1;
    if (n == 0) {
        code_note(c, SANDBOX_IE, "the suite has no method test_* of a class");
        sbuf_release(&b);
        return;
    }
    sandbox_run(c->w, &job, &c->r);
    code_note_run(c);
    sbuf_release(&b);
    if (c->r.verdict == SANDBOX_IE)
        code_note(c, SANDBOX_IE, c->r.sub);
    else if (repo_report_parse(sbuf_str(&c->r.partner), n, each, &canaries, &ended, note, sizeof note, &e) != ERR_OK)
        code_note(c, SANDBOX_IE, e.msg);
    else if (c->r.verdict != SANDBOX_AC || !ended)
        code_note(c, c->r.verdict != SANDBOX_AC ? c->r.verdict : SANDBOX_WA, c->r.verdict != SANDBOX_AC ? c->r.sub : "the tests did not run to their end");
    else
        note_tests(c, each, n, note);
}
