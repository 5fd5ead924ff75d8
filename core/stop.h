/* Ctrl-C: the first one asks the work to stop after the current step (save, exit 130); the second
 * one ends the process at once with 130. SIGTERM counts as the first. */
#ifndef HONE_CORE_STOP_H
#define HONE_CORE_STOP_H

#include "core/cdecl.h"

CDECL_BEGIN

void stop_catch(void);      /* installs the handlers */
int stop_requested(void);   /* poll once per step */
void stop_request(void);    /* for tests */

CDECL_END

#endif
