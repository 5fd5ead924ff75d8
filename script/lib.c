/* What Lua may call: the safe part of the standard library, with the parts that depend on addresses, clocks or hash seeds
 * replaced by ordered ones, and the parts that could loop in C without the hook seeing it bounded. */
#include <string.h>

#include "core/hash.h"
#include "core/log.h"
#include "script/state.h"

/* next(t, k): the key behind k in order. Linear in the table; pairs sorts once instead. */
static int lib_next(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 2);
    script_sorted_keys(L, 1);
    lua_Integer n = (lua_Integer)lua_rawlen(L, 3), i = 1;
    for (; !lua_isnil(L, 2) && i <= n; i++) {
        lua_rawgeti(L, 3, i);
        int same = lua_rawequal(L, -1, 2);
        lua_pop(L, 1);
        if (same)
            break;
    }
    if (!lua_isnil(L, 2)) {
        if (i > n)
            return luaL_error(L, "next: no such key in the table");
        i++;
    }
    if (i > n) {
        lua_pushnil(L);
        return 1;
    }
    lua_rawgeti(L, 3, i);
    lua_pushvalue(L, -1);
    lua_rawget(L, 1);
    return 2;
}

/* Upvalues: the table, its keys, where we are. Keys that were removed on the way are passed over; added ones are not seen. */
static int pairs_step(lua_State *L)
{
    lua_Integer i = lua_tointeger(L, lua_upvalueindex(3)), n = (lua_Integer)lua_rawlen(L, lua_upvalueindex(2));
    while (++i <= n) {
        lua_rawgeti(L, lua_upvalueindex(2), i);
        lua_pushvalue(L, -1);
        if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL)
            break;
        lua_pop(L, 2);
    }
    lua_pushinteger(L, i);
    lua_replace(L, lua_upvalueindex(3));
    if (i > n) {
        lua_pushnil(L);
        return 1;
    }
    return 2;
}

static int lib_pairs(lua_State *L)
{
    if (luaL_getmetafield(L, 1, "__pairs") != LUA_TNIL) {
        lua_pushvalue(L, 1);
        lua_call(L, 1, 3);
        return 3;
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_pushvalue(L, 1);
    script_sorted_keys(L, 1);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, pairs_step, 3);
    return 1;
}

/* tostring without addresses, which differ from run to run. */
static void plain_tostring(lua_State *L, int idx)
{
    int type = lua_type(L, idx);
    int bare = type == LUA_TTABLE || type == LUA_TFUNCTION || type == LUA_TUSERDATA || type == LUA_TLIGHTUSERDATA;
    if (bare && luaL_getmetafield(L, idx, "__tostring") != LUA_TNIL) {
        lua_pop(L, 1);
        bare = 0;
    }
    if (type == LUA_TLIGHTUSERDATA)
        lua_pushliteral(L, "null");
    else if (bare)
        lua_pushstring(L, lua_typename(L, type));
    else
        luaL_tolstring(L, idx, NULL);
}

static int lib_tostring(lua_State *L)
{
    luaL_checkany(L, 1);
    plain_tostring(L, 1);
    return 1;
}

static int lib_print(lua_State *L)
{
    luaL_Buffer b;
    int n = lua_gettop(L);
    luaL_buffinit(L, &b);
    for (int i = 1; i <= n; i++) {
        if (i > 1)
            luaL_addchar(&b, '\t');
        plain_tostring(L, i);
        luaL_addvalue(&b);
    }
    luaL_pushresult(&b);
    log_info("script", "%s", lua_tostring(L, -1));
    return 0;
}

/* Finalizers run with the hook off, where an endless loop could not be stopped. */
static int lib_setmetatable(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_argexpected(L, lua_isnil(L, 2) || lua_istable(L, 2), 2, "nil or table");
    if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
        return luaL_error(L, "cannot change a protected metatable");
    if (lua_istable(L, 2)) {
        lua_pushliteral(L, "__gc");
        if (lua_rawget(L, 2) != LUA_TNIL)
            return luaL_error(L, "finalizers (__gc) are not allowed here");
    }
    lua_settop(L, 2);
    lua_setmetatable(L, 1);
    return 1;
}

/* xpcall(f, handler, ...): the handler runs after the unwinding. Lua's runs where the error was raised, which for a limit is
 * inside the hook, and there no hook stops it. */
static int lib_xpcall(lua_State *L)
{
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_pushvalue(L, 2); /* f handler args... -> handler f args... */
    lua_pushvalue(L, 1);
    lua_replace(L, 2);
    lua_replace(L, 1);
    if (lua_pcall(L, lua_gettop(L) - 2, LUA_MULTRET, 0) == LUA_OK) {
        lua_pushboolean(L, 1);
        lua_replace(L, 1);
        return lua_gettop(L);
    }
    lua_call(L, 1, LUA_MULTRET);
    lua_pushboolean(L, 0);
    lua_insert(L, 1);
    return lua_gettop(L);
}

static int lib_hash(lua_State *L)
{
    size_t n;
    const char *p = luaL_checklstring(L, 1, &n);
    script_charge(L, (int64_t)n / 64);
    lua_pushinteger(L, (lua_Integer)(hash_bytes(p, (int64_t)n).lo >> 1));
    return 1;
}

/* string.format: upvalue 1 is Lua's. Tables and functions become words first; %p is an address. */
static int lib_format(lua_State *L)
{
    const char *f = luaL_checkstring(L, 1);
    for (const char *p = strchr(f, '%'); p; p = strchr(p + 1, '%')) {
        const char *c = p + 1 + strspn(p + 1, "-+ #0123456789.");
        if (*c == 'p')
            return luaL_error(L, "format: %%p prints an address, which differs from run to run");
        if (p[1] == '%')
            p++;
    }
    for (int i = 2; i <= lua_gettop(L); i++)
        if (lua_istable(L, i) || lua_isfunction(L, i) || lua_isuserdata(L, i)) {
            plain_tostring(L, i);
            lua_replace(L, i);
        }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 1);
    return 1;
}

/* to - from for from <= to; beyond 2^40 it is all the same, and the difference may not fit. */
static int64_t distance(lua_Integer from, lua_Integer to)
{
    uint64_t d = (uint64_t)to - (uint64_t)from;
    return d > 1ULL << 40 ? 1LL << 40 : (int64_t)d;
}

/* insert and remove in the middle move what follows; a metamethod may make the length enormous. Upvalue 1 is Lua's function,
 * upvalue 2 the number of arguments from which on there is a position. */
static int lib_charged(lua_State *L)
{
    if (lua_gettop(L) >= lua_tointeger(L, lua_upvalueindex(2))) {
        lua_Integer n = luaL_len(L, 1), at = luaL_checkinteger(L, 2);
        if (n > at)
            script_charge(L, distance(at, n));
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

/* Same for functions that take a range: upvalue 2 is the argument where it begins. */
static int lib_charged_range(lua_State *L)
{
    int at = (int)lua_tointeger(L, lua_upvalueindex(2));
    lua_Integer from = luaL_optinteger(L, at, 1);
    lua_Integer to = lua_isnoneornil(L, at + 1) ? luaL_len(L, 1) : luaL_checkinteger(L, at + 1);
    if (to >= from)
        script_charge(L, distance(from, to));
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

/* a < b of the values at i and j (absolute), by the function at 2 or by Lua's `<`. */
static int before(lua_State *L, int i, int j)
{
    if (lua_isnil(L, 2))
        return lua_compare(L, i, j, LUA_OPLT);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, i);
    lua_pushvalue(L, j);
    lua_call(L, 2, 1);
    int r = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return r;
}

/* One merge of from[lo, mid) and from[mid, hi) (1-based) into `to`. */
static void merge(lua_State *L, int from, int to, const lua_Integer at[3])
{
    lua_Integer i = at[0], j = at[1], k = at[0];
    while (i < at[1] || j < at[2]) {
        int right = i >= at[1];
        if (i < at[1] && j < at[2]) {
            lua_rawgeti(L, from, i);
            lua_rawgeti(L, from, j);
            right = before(L, lua_gettop(L), lua_gettop(L) - 1);
            lua_pop(L, 2);
        }
        lua_rawgeti(L, from, right ? j++ : i++);
        lua_rawseti(L, to, k++);
    }
}

/* table.sort: stable, the same order for any comparison function. Lua's picks pivots by the clock. */
static int lib_sort(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 2);
    if (!lua_isnil(L, 2))
        luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_Integer n = (lua_Integer)lua_rawlen(L, 1);
    lua_createtable(L, n > 1 << 26 ? 1 << 26 : (int)n, 0);
    lua_createtable(L, n > 1 << 26 ? 1 << 26 : (int)n, 0);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, 1, i);
        lua_rawseti(L, 3, i);
    }
    int from = 3, to = 4;
    for (lua_Integer w = 1; w < n; w *= 2) {
        script_charge(L, 4 * n);
        for (lua_Integer lo = 1; lo <= n; lo += 2 * w) {
            lua_Integer mid = lo + w <= n ? lo + w : n + 1, hi = lo + 2 * w <= n ? lo + 2 * w : n + 1;
            merge(L, from, to, (lua_Integer[3]){lo, mid, hi});
        }
        from = 7 - from;
        to = 7 - to;
    }
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, from, i);
        lua_rawseti(L, 1, i);
    }
    return 0;
}

/* Wraps table `lib`'s function in fn with the old one as upvalue 1; number is upvalue 2. */
static void wrap(lua_State *L, const char *name, lua_CFunction fn, int number)
{
    lua_getfield(L, -1, name);
    lua_pushinteger(L, number);
    lua_pushcclosure(L, fn, 2);
    lua_setfield(L, -2, name);
}

static void forget(lua_State *L, const char *const *names)
{
    for (; *names; names++) {
        lua_pushnil(L);
        lua_setfield(L, -2, *names);
    }
}

int script_open_libs(lua_State *L)
{
    static const luaL_Reg ours[] = {{"next", lib_next},         {"pairs", lib_pairs},
                                    {"tostring", lib_tostring}, {"print", lib_print},
                                    {"hash", lib_hash},         {"setmetatable", lib_setmetatable},
                                    {"xpcall", lib_xpcall},
                                    {NULL, NULL}};
    static const char *const no_base[] = {"collectgarbage", "dofile", "load", "loadfile", "warn", NULL};
    static const char *const no_string[] = {"dump", NULL}, *const no_math[] = {"random", "randomseed", NULL};
    luaL_requiref(L, "_G", luaopen_base, 1);
    forget(L, no_base);
    luaL_setfuncs(L, ours, 0);
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    luaL_requiref(L, "string", luaopen_string, 1);
    forget(L, no_string);
    wrap(L, "format", lib_format, 0);
    script_open_patterns(L);
    luaL_requiref(L, "math", luaopen_math, 1);
    forget(L, no_math);
    luaL_requiref(L, "utf8", luaopen_utf8, 1);
    luaL_requiref(L, "table", luaopen_table, 1);
    wrap(L, "insert", lib_charged, 3);
    wrap(L, "remove", lib_charged, 2);
    wrap(L, "concat", lib_charged_range, 3);
    wrap(L, "unpack", lib_charged_range, 2);
    wrap(L, "move", lib_charged_range, 2);
    lua_pushcfunction(L, lib_sort);
    lua_setfield(L, -2, "sort");
    return 0;
}
