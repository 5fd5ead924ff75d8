/* Three kinds of failure, three words:
 *   BUG(), assert      our mistake: abort with file:line (assert stays on in release)
 *   err_code + struct err   the world's failure: message that gains context on the way up
 *   a plain value      an expected outcome (verdict, stop reason, wrong answer)
 *
 * A fallible function returns err_code and takes `struct err *e` last. It writes its outputs
 * only on success. Messages: lower case, no full stop, what failed first, subject in single
 * quotes, system reason last; "hint: ..." only where the user can act on it.
 */
#ifndef HONE_CORE_ERR_H
#define HONE_CORE_ERR_H

#include <assert.h>

#include "core/cdecl.h"

CDECL_BEGIN

/* name, process exit code, meaning. This list is the exit-code table of `hone help exit-codes`. */
#define ERR_LIST(X)                                                          \
    X(OK, 0, "success")                                                      \
    X(LINES, 1, "some input lines failed (each is answered with an error)")  \
    X(USAGE, 2, "bad command line or config")                                \
    X(DATA, 3, "input data is malformed")                                    \
    X(IO, 4, "reading or writing failed")                                    \
    X(DEVICE, 5, "compute device failed or is missing")                      \
    X(SANDBOX, 6, "sandbox could not be set up")                             \
    X(DIVERGED, 7, "loss, gradient or weights are not finite")               \
    X(BUSY, 8, "the store or checkpoint is in use by another process")       \
    X(LIMIT, 9, "a size, depth or work limit was reached")                   \
    X(MISMATCH, 10, "things that must agree do not (log-probs, shapes, digest)") \
    X(NETWORK, 11, "a remote service failed")                                \
    X(UNSUPPORTED, 12, "the file asks for something hone does not support")  \
    X(CANCELLED, 130, "interrupted; what was finished is saved")

typedef enum err_code {
#define X(name, exit_code, text) ERR_##name,
    ERR_LIST(X)
#undef X
    ERR_N
} err_code;

/* Lives on the caller's stack, so it works when memory is gone. Zero-initialise it. */
struct err {
    err_code code;
    char msg[1000];
};

/* Set at the origin; returns code so that `return err_set(...)` reads well. e may be NULL. */
err_code err_set(struct err *e, err_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Same, with ": <strerror(errno)>" appended; code is chosen by the caller. */
err_code err_sys(struct err *e, err_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Prepends "<fmt>: " on the way up; returns e->code. */
err_code err_ctx(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

const char *err_name(err_code code);  /* "DATA" */
const char *err_text(err_code code);  /* "input data is malformed" */
int err_exit(err_code code);          /* process exit code */

void err_bug(const char *file, int line, const char *fmt, ...) __attribute__((noreturn, format(printf, 3, 4)));
#define BUG(...) err_bug(__FILE__, __LINE__, __VA_ARGS__)

/* Propagate: `TRY(f(..., e));` */
#define TRY(call)                          \
    do {                                   \
        err_code try_rc_ = (call);         \
        if (try_rc_ != ERR_OK)             \
            return try_rc_;                \
    } while (0)

CDECL_END

#endif
