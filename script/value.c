/* JSON <-> Lua values, and the fixed order of keys. */
#include <math.h>
#include <stdlib.h>

#include "script/state.h"

enum { DEPTH_MAX = 100 };

static void push_value(lua_State *L, const json_t *v, int depth)
{
    luaL_checkstack(L, 4, "JSON is too deep");
    if (depth > DEPTH_MAX)
        luaL_error(L, "JSON is nested deeper than %d", DEPTH_MAX);
    switch (v ? json_typeof(v) : JSON_NULL) {
    case JSON_OBJECT: {
        const char *key;
        json_t *item;
        lua_createtable(L, 0, (int)json_object_size(v));
        json_object_foreach((json_t *)v, key, item) {
            if (json_is_null(item))
                continue;
            lua_pushstring(L, key);
            push_value(L, item, depth + 1);
            lua_rawset(L, -3);
        }
        break;
    }
    case JSON_ARRAY: {
        int n = (int)json_array_size(v);
        lua_createtable(L, n, 0);
        for (int i = 0; i < n; i++) {
            push_value(L, json_array_get(v, (size_t)i), depth + 1);
            lua_rawseti(L, -2, i + 1);
        }
        break;
    }
    case JSON_STRING: lua_pushlstring(L, json_string_value(v), json_string_length(v)); break;
    case JSON_INTEGER: lua_pushinteger(L, json_integer_value(v)); break;
    case JSON_REAL: lua_pushnumber(L, json_real_value(v)); break;
    case JSON_TRUE: lua_pushboolean(L, 1); break;
    case JSON_FALSE: lua_pushboolean(L, 0); break;
    case JSON_NULL: lua_pushlightuserdata(L, NULL); break;
    }
}

void script_push_json(lua_State *L, const json_t *v)
{
    if (v && !json_is_null(v))
        push_value(L, v, 0);
    else
        lua_pushnil(L);
}

/* One key with what its order depends on. */
struct sort_key {
    int type; /* LUA_TNUMBER, LUA_TSTRING, LUA_TBOOLEAN */
    int is_int;
    lua_Integer i;
    lua_Number x;
    struct str s;
};

static int rank(const struct sort_key *k)
{
    return k->type == LUA_TNUMBER ? 0 : k->type == LUA_TSTRING ? 1 : 2;
}

static int compare_keys(const void *pa, const void *pb)
{
    const struct sort_key *a = pa, *b = pb;
    if (a->type != b->type)
        return rank(a) - rank(b);
    if (a->type == LUA_TSTRING)
        return str_cmp(a->s, b->s);
    if (a->is_int && b->is_int)
        return a->i < b->i ? -1 : a->i > b->i;
    return a->x < b->x ? -1 : a->x > b->x; /* a float key is never whole, so it is below 2^53 and this is exact */
}

static void take_key(lua_State *L, struct sort_key *k)
{
    *k = (struct sort_key){.type = lua_type(L, -2)};
    if (k->type == LUA_TNUMBER) {
        k->is_int = lua_isinteger(L, -2);
        k->x = lua_tonumber(L, -2);
        k->i = k->is_int ? lua_tointeger(L, -2) : 0;
    } else if (k->type == LUA_TSTRING) {
        size_t n;
        k->s.p = lua_tolstring(L, -2, &n);
        k->s.n = (int64_t)n;
    } else if (k->type == LUA_TBOOLEAN) {
        k->x = lua_toboolean(L, -2);
    } else {
        luaL_error(L, "a %s as a key has no order: tables are walked by numbers, strings and booleans only", luaL_typename(L, -2));
    }
}

void script_sorted_keys(lua_State *L, int idx)
{
    idx = lua_absindex(L, idx);
    luaL_checkstack(L, 6, NULL);
    lua_Integer n = 0;
    for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1))
        n++;
    script_charge(L, 4 * n);
    lua_createtable(L, n > 1 << 26 ? 1 << 26 : (int)n, 0);
    struct sort_key *keys = lua_newuserdatauv(L, (size_t)(n ? n : 1) * sizeof *keys, 0);
    n = 0;
    for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1))
        take_key(L, &keys[n++]);
    qsort(keys, (size_t)n, sizeof *keys, compare_keys);
    for (lua_Integer i = 0; i < n; i++) {
        const struct sort_key *k = &keys[i];
        if (k->type == LUA_TSTRING)
            lua_pushlstring(L, k->s.p, (size_t)k->s.n);
        else if (k->type == LUA_TBOOLEAN)
            lua_pushboolean(L, k->x != 0);
        else if (k->is_int)
            lua_pushinteger(L, k->i);
        else
            lua_pushnumber(L, k->x);
        lua_rawseti(L, -3, i + 1);
    }
    lua_pop(L, 1);
}

static json_t *scalar(lua_State *L, int idx)
{
    json_t *v = NULL;
    size_t n;
    const char *p;
    switch (lua_type(L, idx)) {
    case LUA_TBOOLEAN: return json_boolean(lua_toboolean(L, idx));
    case LUA_TNUMBER: {
        if (lua_isinteger(L, idx))
            return json_integer(lua_tointeger(L, idx));
        lua_Number x = lua_tonumber(L, idx);
        if (!isfinite(x))
            luaL_error(L, "%s is no JSON number", isnan(x) ? "NaN" : "an infinity");
        return json_real(x);
    }
    case LUA_TSTRING:
        p = lua_tolstring(L, idx, &n);
        if (utf8_check((struct str){p, (int64_t)n}) >= 0)
            luaL_error(L, "a string is not UTF-8");
        return json_stringn_nocheck(p, n);
    case LUA_TLIGHTUSERDATA:
        if (!lua_touserdata(L, idx))
            return json_null();
        /* fall through */
    default: luaL_error(L, "a %s cannot be written as JSON", luaL_typename(L, idx));
    }
    return v;
}

static json_t *checked(lua_State *L, json_t *v)
{
    if (!v)
        luaL_error(L, "out of memory");
    return v;
}

/* Appends the value at the stack's top to an array, or sets it under key; the container is already reachable from the root. */
static void put(lua_State *L, json_t *into, const char *key, int depth)
{
    json_t *v = lua_istable(L, -1) ? NULL : checked(L, scalar(L, -1));
    if (!v && depth > DEPTH_MAX)
        luaL_error(L, "a table is nested deeper than %d", DEPTH_MAX);
    luaL_checkstack(L, 8, NULL);
    int table = lua_gettop(L);
    lua_Integer n = 0;
    if (!v) {
        script_sorted_keys(L, table);
        n = (lua_Integer)lua_rawlen(L, -1);
        lua_rawgeti(L, -1, n);
        int list = n == 0 || (lua_isinteger(L, -1) && lua_tointeger(L, -1) == n); /* sorted, so the last is the largest */
        if (lua_rawgeti(L, table + 1, 1) == LUA_TNUMBER && !(list && lua_tointeger(L, -1) == 1))
            luaL_error(L, "a table has numbers as keys but is no list 1..n");
        lua_pop(L, 2);
        v = checked(L, list ? json_array() : json_object());
    }
    if (key ? json_object_setn_new_nocheck(into, key, strlen(key), v) : json_array_append_new(into, v))
        luaL_error(L, "out of memory");
    if (lua_gettop(L) == table)
        return;
    for (lua_Integer i = 1; i <= n; i++) {
        const char *name = NULL;
        size_t bytes;
        lua_rawgeti(L, table + 1, i);
        if (json_is_object(v)) {
            if (lua_type(L, -1) != LUA_TSTRING)
                luaL_error(L, "a table with a %s among its keys cannot be written as JSON", luaL_typename(L, -1));
            name = lua_tolstring(L, -1, &bytes);
            if (strlen(name) != bytes || utf8_check((struct str){name, (int64_t)bytes}) >= 0)
                luaL_error(L, "a key is not UTF-8 text");
        } else if (!lua_isinteger(L, -1) || lua_tointeger(L, -1) != i) {
            luaL_error(L, "a table has numbers as keys but is no list 1..n");
        }
        lua_pushvalue(L, -1);
        lua_rawget(L, table);
        put(L, v, name, depth + 1);
        lua_pop(L, 2);
    }
    lua_settop(L, table);
}

void script_to_json(lua_State *L, int idx, json_t **root)
{
    idx = lua_absindex(L, idx);
    json_t *box = json_array();
    *root = box;
    checked(L, box);
    lua_pushvalue(L, idx);
    put(L, box, NULL, 0);
    lua_pop(L, 1);
    *root = json_incref(json_array_get(box, 0));
    json_decref(box);
}
