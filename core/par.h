/* The thread pool: `threads` workers that split index ranges. Workers spin briefly, then sleep.
 *
 * det: par_for cuts [0,n) into chunks of `grain`; which thread runs a chunk is not defined, so a body
 *      must write only what its indices own and must not reduce across chunks in arrival order.
 * Own pool instead of OpenMP: the same code runs under ThreadSanitizer (libgomp is opaque to it), the
 * sandbox forks, and the thread count changes inside one process in the exactness tests.
 */
#ifndef HONE_CORE_PAR_H
#define HONE_CORE_PAR_H

#include <stdint.h>

#include "core/cdecl.h"

CDECL_BEGIN

enum { PAR_MAX = 256 };

/* n = 0: HONE_THREADS, else the CPUs this process may use. May be called again to change the count;
 * never from inside a body. The first par_for calls par_init(0) when nobody did. */
void par_init(int n);
int par_threads(void);

/* fn(ctx, begin, end, worker): worker in [0, par_threads()). Nested calls run inline. Blocks until done. */
typedef void par_fn(void *ctx, int64_t begin, int64_t end, int worker);
void par_for(int64_t n, int64_t grain, par_fn *fn, void *ctx);

CDECL_END

#endif
