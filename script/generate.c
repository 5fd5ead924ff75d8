/* Generators: rows out of Lua, a pure function of (file, seed, args). */
#include <stdlib.h>

#include "core/rng.h"
#include "script/state.h"

static const char RNG_META[] = "hone.rng";

/* rng is a userdata: the row's number and the position in its stream. */
struct rng {
    uint64_t seed, row, at;
};

static struct rng *rng_arg(lua_State *L)
{
    return luaL_checkudata(L, 1, RNG_META);
}

static uint64_t below(struct rng *r, uint64_t n)
{
    return rng_below(n, r->seed, RNG_DEMO, r->row, 0, r->at++);
}

static int rng_int(lua_State *L)
{
    struct rng *r = rng_arg(L);
    lua_Integer lo = luaL_checkinteger(L, 2), hi = luaL_checkinteger(L, 3);
    luaL_argcheck(L, lo <= hi && (uint64_t)hi - (uint64_t)lo < 1ULL << 62, 3, "empty or too wide interval");
    lua_pushinteger(L, lo + (lua_Integer)below(r, (uint64_t)(hi - lo) + 1));
    return 1;
}

static double rng_unit(struct rng *r)
{
    return rng_f64(r->seed, RNG_DEMO, r->row, 0, r->at++);
}

static int rng_float(lua_State *L)
{
    lua_pushnumber(L, rng_unit(rng_arg(L)));
    return 1;
}

static int rng_chance(lua_State *L)
{
    struct rng *r = rng_arg(L);
    lua_Number p = luaL_checknumber(L, 2);
    lua_pushboolean(L, rng_unit(r) < p);
    return 1;
}

static int rng_pick(lua_State *L)
{
    struct rng *r = rng_arg(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_Integer n = (lua_Integer)lua_rawlen(L, 2);
    luaL_argcheck(L, n > 0, 2, "empty list");
    lua_rawgeti(L, 2, 1 + (lua_Integer)below(r, (uint64_t)n));
    return 1;
}

static int rng_shuffle(lua_State *L)
{
    struct rng *r = rng_arg(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    lua_Integer n = (lua_Integer)lua_rawlen(L, 2);
    script_charge(L, n);
    for (lua_Integer i = n; i > 1; i--) {
        lua_Integer j = 1 + (lua_Integer)below(r, (uint64_t)i);
        lua_rawgeti(L, 2, i);
        lua_rawgeti(L, 2, j);
        lua_rawseti(L, 2, i);
        lua_rawseti(L, 2, j);
    }
    return 1;
}

static int make_rng_meta(lua_State *L)
{
    static const luaL_Reg methods[] = {{"int", rng_int},   {"float", rng_float},     {"chance", rng_chance},
                                       {"pick", rng_pick}, {"shuffle", rng_shuffle}, {NULL, NULL}};
    luaL_newmetatable(L, RNG_META);
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    return 0;
}

struct generation {
    const struct script_generate *g;
    int64_t index, emitted;
    json_t *rows;   /* of this call */
    json_t *made;   /* the row that is being made; owned here, so that raising leaks nothing */
    int stopped;
};

static int emit(lua_State *L)
{
    struct generation *k = lua_touserdata(L, lua_upvalueindex(1));
    luaL_checktype(L, 1, LUA_TTABLE);
    json_decref(k->made); /* of a call that failed inside pcall */
    k->made = NULL;
    script_to_json(L, 1, &k->made);
    json_t *v = k->made;
    k->made = NULL;
    if (json_array_append_new(k->rows, v))
        luaL_error(L, "out of memory");
    return 0;
}

/* "key=value" words as a table; 12, 0.5, true and false are typed. */
static void push_args(lua_State *L, const struct script_generate *g)
{
    lua_newtable(L);
    for (int i = 0; i < g->n_words; i++) {
        struct str value = str_of(g->words[i]), key;
        int64_t n;
        double x;
        str_split(&value, '=', &key);
        lua_pushlstring(L, key.p, (size_t)key.n);
        if (!value.p || str_eq(value, STR("true")))
            lua_pushboolean(L, 1);
        else if (str_eq(value, STR("false")))
            lua_pushboolean(L, 0);
        else if (str_to_i64(value, &n))
            lua_pushinteger(L, n);
        else if (str_to_f64(value, &x))
            lua_pushnumber(L, x);
        else
            lua_pushlstring(L, value.p, (size_t)value.n);
        lua_rawset(L, -3);
    }
}

static int one_call(lua_State *L)
{
    struct generation *k = lua_touserdata(L, 1);
    lua_pushlightuserdata(L, k);
    lua_pushcclosure(L, emit, 1);
    lua_setglobal(L, "emit");
    if (lua_getglobal(L, "generate") != LUA_TFUNCTION)
        return luaL_error(L, "the file defines no function generate(rng, i, args)");
    struct rng *r = lua_newuserdatauv(L, sizeof *r, 0);
    *r = (struct rng){.seed = k->g->seed, .row = (uint64_t)k->index};
    luaL_setmetatable(L, RNG_META);
    lua_pushinteger(L, k->index);
    push_args(L, k->g);
    lua_call(L, 3, 1);
    k->stopped = lua_isboolean(L, -1) && !lua_toboolean(L, -1);
    return 0;
}

static err_code pass_rows(struct generation *k, struct sbuf *b, struct err *e)
{
    json_t *v;
    size_t i;
    json_array_foreach(k->rows, i, v) {
        if (k->emitted == k->g->n)
            break;
        sbuf_clear(b);
        json_put_value(b, v);
        TRY(k->g->row(k->g->ctx, sbuf_str(b), e));
        k->emitted++;
    }
    json_array_clear(k->rows);
    return ERR_OK;
}

err_code script_rows(const struct script_generate *g, int64_t *rows, struct err *e)
{
    enum { IDLE_MAX = 1000, ROW_MAX = 64 << 20 };
    struct generation k = {.g = g, .rows = json_array()};
    struct script *s = NULL;
    struct sbuf b;
    int64_t idle = 0;
    sbuf_init(&b, ROW_MAX);
    err_code rc = script_open(&s, &g->limits, e);
    if (rc == ERR_OK)
        rc = script_protected(s, make_rng_meta, NULL, e);
    if (rc == ERR_OK)
        rc = script_run_file(s, g->path, e);
    for (; rc == ERR_OK && k.emitted < g->n && !k.stopped; k.index++) {
        int64_t had = k.emitted;
        rc = script_protected(s, one_call, &k, e);
        if (rc != ERR_OK)
            err_ctx(e, "generate(%lld)", (long long)k.index);
        else
            rc = pass_rows(&k, &b, e);
        idle = k.emitted == had ? idle + 1 : 0;
        if (rc == ERR_OK && idle >= IDLE_MAX && !k.stopped)
            rc = err_set(e, ERR_LIMIT, "'%s': generate() emitted nothing in %d calls; %lld of %lld rows so far", g->path, IDLE_MAX,
                         (long long)k.emitted, (long long)g->n);
    }
    *rows = k.emitted;
    json_decref(k.rows);
    json_decref(k.made);
    script_close(s);
    sbuf_release(&b);
    return rc;
}
