/* The pre-tokenizer stages that each scanner stands for, built from the patterns, for comparing the two. */
#ifndef HONE_TESTS_TOK_STAGES_H
#define HONE_TESTS_TOK_STAGES_H

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/tok.h"
#include "text/tok_patterns.h"
#include "text/tok_scan.h"

static inline json_t *stage_split(const char *regex)
{
    return json_pack("{s:s,s:{s:s},s:s,s:b}", "type", "Split", "pattern", "Regex", regex, "behavior", "Isolated", "invert", 0);
}

static inline json_t *stages_of(enum tok_scanner s)
{
    static const char *const one[TOK_N_SCANNERS] = {
        [TOK_SCAN_LLAMA3] = TOK_RE_LLAMA3, [TOK_SCAN_QWEN2] = TOK_RE_QWEN2, [TOK_SCAN_QWEN35] = TOK_RE_QWEN35,
        [TOK_SCAN_O200K] = TOK_RE_O200K, [TOK_SCAN_TEKKEN] = TOK_RE_TEKKEN, [TOK_SCAN_KIMI] = TOK_RE_KIMI,
    };
    json_t *list = json_array();
    int regex = s == TOK_SCAN_GPT2 || s == TOK_SCAN_GPT2_DIGITS;
    if (s == TOK_SCAN_GPT2_DIGITS)
        json_array_append_new(list, json_pack("{s:s,s:b}", "type", "Digits", "individual_digits", 1));
    if (one[s])
        json_array_append_new(list, stage_split(one[s]));
    if (s == TOK_SCAN_DS3) {
        json_array_append_new(list, stage_split(TOK_RE_DS3_DIGITS));
        json_array_append_new(list, stage_split(TOK_RE_DS3_CJK));
        json_array_append_new(list, stage_split(TOK_RE_DS3_TEXT));
    }
    json_array_append_new(list, json_pack("{s:s,s:b,s:b,s:b}", "type", "ByteLevel", "add_prefix_space", 0, "trim_offsets", 0, "use_regex", regex));
    return json_pack("{s:s,s:o}", "type", "Sequence", "pretokenizers", list);
}

struct stages {
    struct tok t[TOK_N_SCANNERS];
    struct tok_re_run *re;
    struct tok_work w, tmp;
};

static inline void stages_open(struct stages *st)
{
    memset(st, 0, sizeof *st);
    st->re = tok_re_run_new();
    for (int s = TOK_SCAN_NONE + 1; s < TOK_N_SCANNERS; s++) {
        json_t *pre = stages_of((enum tok_scanner)s);
        struct err e = {0};
        arena_init(&st->t[s].mem, "stages", 1 << 20);
        if (tok_open_pre(&st->t[s], pre, &e) != ERR_OK || tok_pre_compile(&st->t[s], &e) != ERR_OK || tok_scan_for(st->t[s].pre, st->t[s].n_pre) != (enum tok_scanner)s) {
            fprintf(stderr, "scanner %d is not chosen for its own stages: %s\n", s, e.msg);
            abort();
        }
        json_decref(pre);
    }
}

static inline void stages_release(struct stages *st)
{
    for (int s = TOK_SCAN_NONE + 1; s < TOK_N_SCANNERS; s++) {
        for (int i = 0; i < st->t[s].n_pre; i++)
            tok_re_free(st->t[s].pre[i].re);
        arena_release(&st->t[s].mem);
    }
    tok_re_run_free(st->re);
    tok_work_release(&st->w);
    tok_work_release(&st->tmp);
}

enum { STAGES_BATCH = 256 };

/* -1 when the scanner gives the general engine's pieces, else the index of the first piece that differs. batch: how many pieces
 * are asked for at once, at most STAGES_BATCH. */
static inline int64_t stages_differ(struct stages *st, enum tok_scanner s, struct str text, int batch)
{
    struct err e = {0};
    int64_t at = 0, end[STAGES_BATCH], k = 0;
    tok_work_begin(&st->w, 0);
    tok_work_add(&st->w, text.p, text.n, 0, 0);
    if (tok_pretokenize(&st->t[s], st->re, &st->w, &st->tmp, 0, &e) != ERR_OK) {
        fprintf(stderr, "%s\n", e.msg);
        abort();
    }
    while (at < text.n) {
        int n = tok_scan(s, text.p, text.n, &at, end, batch);
        if (n <= 0 || at != end[n - 1])
            return k;
        for (int i = 0; i < n; i++, k++)
            if (k >= st->w.n_cuts || st->w.cut[k].e != end[i])
                return k;
    }
    return k == st->w.n_cuts ? -1 : k;
}

#endif
