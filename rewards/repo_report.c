/* The report of the runner, line by line. It comes from inside a box: a line that is not as it must be makes all of it worthless. */
#include <stdio.h>
#include <string.h>

#include "rewards/repo_private.h"

struct report {
    int n, ended, canaries, noted; /* noted: the test that note is about */
    unsigned char *each, *seen;
    char *note;
    int64_t note_n;
};

static enum repo_test test_of(struct str name)
{
    int i = 0;
    while (i < REPO_TEST_N && !str_eq(str_of(repo_test_name((enum repo_test)i)), name))
        i++;
    return (enum repo_test)i;
}

static err_code read_line(struct report *r, const json_t *a, struct err *e)
{
    const char *what = json_string_value(json_array_get(a, 0)), *outcome = json_string_value(json_array_get(a, 2)), *text = json_string_value(json_array_get(a, 3));
    const json_t *one = json_array_get(a, 1);
    if (what && !strcmp(what, "t") && json_is_integer(one) && outcome) {
        json_int_t i = json_integer_value(one);
        enum repo_test t = test_of(str_of(outcome));
        if (i < 0 || i >= r->n || t == REPO_TEST_N)
            return err_set(e, ERR_DATA, "a test or an outcome that there is not");
        if (r->seen[i]++)
            return err_set(e, ERR_DATA, "a test that ended twice");
        r->each[i] = (unsigned char)t;
        if (t != REPO_TEST_passed && i < r->noted) {
            snprintf(r->note, (size_t)r->note_n, "%s", text ? text : "");
            r->noted = (int)i;
        }
        return ERR_OK;
    }
    if (what && !strcmp(what, "end") && json_is_integer(one)) {
        r->ended = 1;
        r->canaries = (int)json_integer_value(one);
        return ERR_OK;
    }
    if (what && !strcmp(what, "needs") && json_is_string(one)) {
        for (int i = 0; i < r->n; i++)
            r->each[i] = REPO_TEST_unsupported;
        snprintf(r->note, (size_t)r->note_n, "%s", json_string_value(one));
        return ERR_OK;
    }
    return err_set(e, ERR_DATA, "a line that is not known");
}

err_code repo_report_parse(struct str report, int n_tests, unsigned char *each, int *canaries, int *ended, char *note, int64_t note_n, struct err *e)
{
    struct arena mem;
    struct report r = {.n = n_tests, .noted = n_tests, .each = each, .note = note, .note_n = note_n};
    err_code rc = ERR_OK;
    arena_init(&mem, "report", 1 << 20);
    r.seen = ARENA_NEW(&mem, unsigned char, n_tests + 1);
    memset(each, REPO_TEST_missing, (size_t)n_tests);
    note[0] = 0;
    for (struct str rest = report, line; rc == ERR_OK && str_find(rest, STR("\n"), 0) >= 0 && str_split(&rest, '\n', &line);) {
        json_t *a = NULL;
        if (r.ended)
            rc = err_set(e, ERR_DATA, "more behind the end");
        rc = rc != ERR_OK ? rc : json_parse(line, &a, e);
        rc = rc != ERR_OK ? rc : read_line(&r, a, e);
        json_decref(a);
    }
    *canaries = r.canaries;
    *ended = r.ended;
    arena_release(&mem);
    return rc;
}
