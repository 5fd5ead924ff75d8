/* Fault points: places where a test makes the world fail.
 *
 *   if (fault_hit("write")) { errno = ENOSPC; ... }
 *
 * HONE_FAULT=name:N makes the N-th hit of `name` fail (once); name:N+ makes it and all later hits fail;
 * name:N! kills the process with SIGKILL at that hit (crash tests). Several, separated by commas.
 * Points in use: open read write sync rename fork alloc sqlite sqlite_sync (add a name here when adding a point).
 * Cost when the variable is unset: one load. Thread-safe.
 */
#ifndef HONE_CORE_FAULT_H
#define HONE_CORE_FAULT_H

#include "core/cdecl.h"

CDECL_BEGIN

int fault_hit(const char *name);
void fault_set(const char *spec); /* for tests: replaces the environment's; NULL turns all off */

CDECL_END

#endif
