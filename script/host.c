/* Functions of the program that scripts may call: arguments and result go through JSON. */
#include "script/state.h"

struct offer {
    script_fn *fn;
    void *ctx;
    const char *name;
};

static int call_host(lua_State *L)
{
    struct script *s = script_of(L);
    const struct offer *o = lua_touserdata(L, lua_upvalueindex(1));
    struct err e = {0};
    int64_t work = 0;
    int n = lua_gettop(L);
    lua_createtable(L, n, 0);
    for (int i = 1; i <= n; i++) {
        if (lua_isnil(L, i)) /* null, so that positions stay */
            lua_pushlightuserdata(L, NULL);
        else
            lua_pushvalue(L, i);
        lua_rawseti(L, n + 1, i);
    }
    json_decref(s->host_args);
    json_decref(s->host_out);
    s->host_args = s->host_out = NULL;
    script_to_json(L, n + 1, &s->host_args);
    err_code rc = o->fn(o->ctx, s->host_args, &s->host_out, &work, &e);
    script_charge(L, work);
    if (rc != ERR_OK)
        return luaL_error(L, "%s", e.msg);
    script_push_json(L, s->host_out);
    return 1;
}

static int put_host(lua_State *L)
{
    const struct offer *in = lua_touserdata(L, 1);
    struct offer *o = lua_newuserdatauv(L, sizeof *o, 0);
    *o = *in;
    lua_pushcclosure(L, call_host, 1);
    lua_setglobal(L, in->name);
    return 0;
}

err_code script_offer(struct script *s, const char *name, script_fn *fn, void *ctx, struct err *e)
{
    struct offer o = {fn, ctx, name};
    return script_protected(s, put_host, &o, e);
}
