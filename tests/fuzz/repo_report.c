/* Catches a report of a broken box that crashes the reader, writes outside the list of tests or counts a test that it does not have. */
#include <stdlib.h>
#include <string.h>

#include "rewards/repo_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    enum { TESTS = 3 };
    unsigned char each[TESTS + 1];
    char note[16];
    int canaries = 0, ended = 0;
    struct err e = {0};
    each[TESTS] = 99;
    memset(note, 'x', sizeof note);
    if (repo_report_parse((struct str){(const char *)data, (int64_t)n}, TESTS, each, &canaries, &ended, note, sizeof note, &e) != ERR_OK && !e.msg[0])
        abort();
    for (int i = 0; i < TESTS; i++)
        if (each[i] >= REPO_TEST_N)
            abort();
    if (each[TESTS] != 99 || !memchr(note, 0, sizeof note))
        abort();
    return 0;
}
