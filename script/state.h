/* Private: a state and what its library functions share. */
#ifndef HONE_SCRIPT_STATE_H
#define HONE_SCRIPT_STATE_H

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "core/cdecl.h"
#include "script/script.h"

CDECL_BEGIN

struct script {
    lua_State *L;
    struct script_limits limits;
    int64_t used_bytes;
    int64_t spent;          /* instructions of this run or call */
    double deadline;        /* clock_now() */
    enum script_end end;
    json_t *host_args, *host_out; /* of the last call of an offered function: a raise must not lose them */
};

struct script *script_of(lua_State *L);
/* Charges `work` instructions to the call; raises when a limit is passed. For library functions that loop in C. */
void script_charge(lua_State *L, int64_t work);
/* Runs fn(L) with arg as a light userdata under the limits; its results are discarded. */
err_code script_protected(struct script *s, lua_CFunction fn, void *arg, struct err *e);

/* Opens the allowed libraries (under script_protected). */
int script_open_libs(lua_State *L);
/* Replaces string.find, match, gmatch, gsub and rep by versions that are charged for their work. */
void script_open_patterns(lua_State *L);

/* Pushes a list of the keys of the table at idx in order: numbers, strings by bytes, booleans. Raises on other keys. */
void script_sorted_keys(lua_State *L, int idx);

/* JSON <-> Lua, inside a protected call. What script_to_json has made is owned by *root at every moment: when it raises, whoever holds
 * *root beyond the protected call releases it. So root must not be a local of the raising function. */
void script_push_json(lua_State *L, const json_t *v);
void script_to_json(lua_State *L, int idx, json_t **root);

CDECL_END

#endif
