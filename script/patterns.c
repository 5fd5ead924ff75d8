#include "script/state.h"

/* string.rep of the empty string would count to n. Upvalue 1 is Lua's. */
static int lib_rep(lua_State *L)
{
    size_t a, b = 0;
    luaL_checklstring(L, 1, &a);
    luaL_optlstring(L, 3, "", &b);
    if (a + b == 0) {
        lua_pushliteral(L, "");
        return 1;
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 1);
    return 1;
}

void script_open_patterns(lua_State *L)
{
    lua_getfield(L, -1, "rep");
    lua_pushcclosure(L, lib_rep, 1);
    lua_setfield(L, -2, "rep");
}
