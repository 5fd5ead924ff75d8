/* Catches a reply of a broken box that crashes the owner, reads past the message or passes for a judgement with
 * more output than was allowed. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "sandbox/inner.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct sandbox_partner partner = {.callee = "x"};
    struct sandbox_result r = {0};
    struct run_facts f;
    struct err e = {0};
    int need;
    struct sandbox_job job = {.limits = sandbox_limits_default(), .keep = n & 1 ? "prog" : NULL, .partner = n & 2 ? &partner : NULL};
    job.limits.out_bytes = 64;
    sbuf_init(&r.out, 1 << 20);
    sbuf_init(&r.err, 1 << 20);
    sbuf_init(&r.partner, 1 << 20);
    sbuf_init(&r.kept, 1 << 20);
    if (sandbox_reply_parse((struct str){(const char *)data, (int64_t)n}, &job, &r, &f, &need, &e) == ERR_OK) {
        sandbox_judge_facts(&f, &job, &r);
        if (r.out.n > 64 || r.err.n > 64 || r.verdict >= SANDBOX_VERDICT_N)
            abort();
    } else if (!e.msg[0]) {
        abort();
    }
    sandbox_result_release(&r);
    return 0;
}
