/* A state: its memory, its two clocks, and protected entry. */
#include "script/state.h"

#include <stdlib.h>

#include "core/file.h"
#include "core/log.h"

enum { HOOK_EVERY = 1000, FULL_COLLECTION = 20000, SCRIPT_FILE_MAX = 16 << 20 };

struct script *script_of(lua_State *L)
{
    return *(struct script **)lua_getextraspace(L);
}

/* Lua's contract: nsize 0 frees; old size is a type tag when p is NULL. NULL makes Lua collect and try again, then raise. */
static void *allocate(void *ud, void *p, size_t old, size_t nsize)
{
    struct script *s = ud;
    int64_t had = p ? (int64_t)old : 0;
    if (nsize == 0) {
        free(p);
        s->used_bytes -= had;
        return NULL;
    }
    s->spent += (int64_t)nsize / 64; /* memory is work too: the hook sees it */
    if (s->used_bytes - had + (int64_t)nsize > s->limits.memory_bytes) {
        s->spent += FULL_COLLECTION;
        return NULL;
    }
    void *q = realloc(p, nsize);
    if (q)
        s->used_bytes += (int64_t)nsize - had;
    return q;
}

static void hook(lua_State *L, lua_Debug *ar);

static void out_of_time(lua_State *L, struct script *s, enum script_end why)
{
    s->end = why;
    lua_sethook(L, hook, LUA_MASKCOUNT, 1); /* from now on every instruction raises: pcall cannot go on */
    lua_Debug at; /* the hook stands in the Lua function, a library function one level above it */
    int level = lua_getstack(L, 0, &at) && lua_getinfo(L, "l", &at) && at.currentline > 0 ? 0 : 1;
    luaL_where(L, level);
    lua_pushstring(L, "stopped");
    lua_concat(L, 2);
    lua_error(L);
}

void script_charge(lua_State *L, int64_t work)
{
    struct script *s = script_of(L);
    s->spent += work;
    if (s->end == SCRIPT_INSTRUCTIONS || s->spent > s->limits.instructions)
        out_of_time(L, s, SCRIPT_INSTRUCTIONS);
    if (s->end == SCRIPT_WALL || clock_now() > s->deadline)
        out_of_time(L, s, SCRIPT_WALL);
}

static void hook(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    script_charge(L, HOOK_EVERY);
}

/* The error object becomes a string with the place where it was raised. */
static int handler(lua_State *L)
{
    if (lua_type(L, 1) != LUA_TSTRING)
        lua_pushfstring(L, "(error object is a %s)", luaL_typename(L, 1));
    return 1;
}

struct entry {
    lua_CFunction fn;
    void *arg;
};

static int enter(lua_State *L)
{
    const struct entry *in = lua_touserdata(L, 1);
    lua_settop(L, 0);
    luaL_checkstack(L, 40, NULL);
    lua_pushlightuserdata(L, in->arg);
    return in->fn(L);
}

err_code script_protected(struct script *s, lua_CFunction fn, void *arg, struct err *e)
{
    lua_State *L = s->L;
    struct entry in = {fn, arg};
    s->spent = 0;
    s->deadline = clock_now() + s->limits.wall_s;
    s->end = SCRIPT_FINE;
    lua_settop(L, 0);
    lua_sethook(L, hook, LUA_MASKCOUNT, HOOK_EVERY);
    lua_pushcfunction(L, handler); /* light C functions allocate nothing: no error can escape here */
    lua_pushcfunction(L, enter);
    lua_pushlightuserdata(L, &in);
    int rc = lua_pcall(L, 1, 0, 1);
    lua_sethook(L, NULL, 0, 0);
    if (s->end == SCRIPT_FINE && rc != LUA_OK)
        s->end = rc == LUA_ERRMEM ? SCRIPT_MEMORY : SCRIPT_ERROR;
    const char *msg = rc != LUA_OK && lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
    err_code code = ERR_OK;
    switch (s->end) {
    case SCRIPT_FINE: break;
    case SCRIPT_ERROR: code = err_set(e, ERR_DATA, "%s", msg); break;
    case SCRIPT_INSTRUCTIONS:
        code = err_set(e, ERR_LIMIT, "%s%sinstruction limit of %lld", msg, *msg ? " by the " : "", (long long)s->limits.instructions);
        break;
    case SCRIPT_WALL: code = err_set(e, ERR_LIMIT, "%s%stime limit of %g s", msg, *msg ? " by the " : "", s->limits.wall_s); break;
    case SCRIPT_MEMORY: code = err_set(e, ERR_LIMIT, "memory limit of %lld bytes", (long long)s->limits.memory_bytes); break;
    }
    lua_settop(L, 0);
    return code;
}

static int panic(lua_State *L)
{
    BUG("Lua error outside of a protected call: %s", lua_tostring(L, -1));
}

err_code script_open(struct script **out, const struct script_limits *limits, struct err *e)
{
    struct script *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(e, ERR_LIMIT, "no memory for a Lua state");
    s->limits = limits ? *limits : (struct script_limits){0};
    if (!s->limits.memory_bytes)
        s->limits.memory_bytes = 64 << 20;
    if (!s->limits.instructions)
        s->limits.instructions = 100000000;
    if (s->limits.wall_s <= 0)
        s->limits.wall_s = 10;
    s->L = lua_newstate(allocate, s);
    if (!s->L) {
        free(s);
        return err_set(e, ERR_LIMIT, "a Lua state does not fit into %lld bytes", limits ? (long long)limits->memory_bytes : 0LL);
    }
    *(struct script **)lua_getextraspace(s->L) = s;
    lua_atpanic(s->L, panic);
    err_code rc = script_protected(s, script_open_libs, NULL, e);
    if (rc != ERR_OK) {
        script_close(s);
        return rc;
    }
    *out = s;
    return ERR_OK;
}

void script_close(struct script *s)
{
    if (!s)
        return;
    lua_close(s->L);
    json_decref(s->host_args);
    json_decref(s->host_out);
    assert(s->used_bytes == 0);
    free(s);
}

enum script_end script_ended(const struct script *s)
{
    return s->end;
}

int64_t script_memory(const struct script *s)
{
    return s->used_bytes;
}

struct chunk {
    struct str text;
    const char *name;
};

static int run_chunk(lua_State *L)
{
    const struct chunk *c = lua_touserdata(L, 1);
    const char *name = lua_pushfstring(L, "@%s", c->name);
    if (luaL_loadbufferx(L, c->text.p ? c->text.p : "", (size_t)c->text.n, name, "t") != LUA_OK)
        return lua_error(L);
    lua_call(L, 0, 0);
    return 0;
}

err_code script_run(struct script *s, struct str text, const char *name, struct err *e)
{
    struct chunk c = {text, name};
    return script_protected(s, run_chunk, &c, e);
}

err_code script_run_file(struct script *s, const char *path, struct err *e)
{
    struct sbuf b;
    sbuf_init(&b, SCRIPT_FILE_MAX);
    err_code rc = file_read(path, &b, e);
    if (rc == ERR_OK)
        rc = script_run(s, sbuf_str(&b), path, e);
    sbuf_release(&b);
    return rc;
}

int script_has(struct script *s, const char *function)
{
    lua_rawgeti(s->L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
    lua_State *L = s->L;
    int found = 0;
    for (lua_pushnil(L); !found && lua_next(L, 1); lua_pop(L, 1)) /* no string is interned: nothing can raise */
        found = lua_type(L, 2) == LUA_TSTRING && !strcmp(lua_tostring(L, 2), function) && lua_type(L, 3) == LUA_TFUNCTION;
    lua_settop(L, 0);
    return found;
}

struct call {
    const char *function;
    const json_t *args;
    json_t *out;
};

static int run_call(lua_State *L)
{
    struct call *c = lua_touserdata(L, 1);
    if (lua_getglobal(L, c->function) != LUA_TFUNCTION)
        return luaL_error(L, "no function '%s'", c->function);
    int n = (int)json_array_size(c->args);
    luaL_checkstack(L, n, "too many arguments");
    for (int i = 0; i < n; i++)
        script_push_json(L, json_array_get(c->args, (size_t)i));
    lua_call(L, n, LUA_MULTRET);
    int top = lua_gettop(L);
    lua_createtable(L, top - 1, 0);
    lua_insert(L, 2);
    for (int i = top; i > 1; i--) {
        if (lua_isnil(L, -1)) { /* nil results become null, so that positions stay */
            lua_pop(L, 1);
            lua_pushlightuserdata(L, NULL);
        }
        lua_rawseti(L, 2, i - 1);
    }
    script_to_json(L, 2, &c->out);
    return 0;
}

err_code script_call(struct script *s, const char *function, const json_t *args, json_t **out, struct err *e)
{
    struct call c = {.function = function, .args = args};
    err_code rc = script_protected(s, run_call, &c, e);
    if (rc != ERR_OK)
        json_decref(c.out);
    else
        *out = c.out;
    return rc;
}
