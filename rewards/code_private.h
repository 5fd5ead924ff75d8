/* Private to the code reward. */
#ifndef HONE_REWARDS_CODE_PRIVATE_H
#define HONE_REWARDS_CODE_PRIVATE_H

#include "rewards/code.h"

/* One judgement in the making. */
struct code_case {
    struct sandbox_worker *w;
    const struct code_task *t;
    const struct code_program *p;
    const struct code_opts *o;
    struct arena *mem;
    struct code_verdict *v;
    struct sandbox_result r;
    unsigned char *each;
    int each_cap;
};

/* Notes the outcome of one test; 1 when the judgement is to stop. */
int code_note(struct code_case *c, enum sandbox_verdict v, const char *why);
void code_note_run(struct code_case *c); /* adds the figures of c->r */
void code_fail_all(struct code_case *c, enum sandbox_verdict v, const char *why); /* no test could run */

void code_judge_stdio(struct code_case *c);
void code_judge_calls(struct code_case *c);   /* Python, assert and unittest */
void code_judge_suite(struct code_case *c);  /* Python suites that need the program's own process */
int code_suite_patches(const struct code_task *t); /* 1: it has such a suite */
void code_judge_cpp(struct code_case *c);     /* C++ assert */
void code_judge_unity(struct code_case *c);   /* C suites */

/* "g++ -std=c++17 -O1" or the whole "gcc ... *.c ... -o t" of a task as argv that writes prog; NULL when it is not a
 * compiler command. `sources`: files for a "*.c". */
const char **code_build_argv(struct arena *mem, struct str command, const char *compiler, const char *const *sources);

#endif
