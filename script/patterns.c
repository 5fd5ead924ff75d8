/* string.find, match, gmatch, gsub and rep with the meaning of Lua 5.4's, charged for their work: a pattern such as
 * ("a*"):rep(50) .. "b" backtracks for ages inside one call of the stock library, where no hook can stop it.
 *
 * A pattern is compiled into items (a set of bytes with a repetition, or a mark), then matched by backtracking. Only repetitions
 * and captures recurse, and each level stands for one of them, so the depth is bounded by REPEATS_MAX.
 */
#include <ctype.h>
#include <string.h>

#include "script/state.h"

enum { CAPTURES_MAX = 32, REPEATS_MAX = 200, CHARGE_EVERY = 4096 };

enum kind { SET, OPEN, CLOSE, PLACE, BALANCE, FRONTIER, BACK, AT_END };

struct item {
    enum kind kind;
    char rep;            /* 0 once, else one of * + - ? */
    unsigned char x, y;  /* BALANCE: the pair; BACK, CLOSE, OPEN, PLACE: capture index in x */
    uint32_t set[8];     /* SET, FRONTIER: one bit per byte value */
};

struct pattern {
    int64_t n;
    int anchored;
    int n_captures;
    struct item item[];
};

/* ---- compiling ---------------------------------------------------------------------------- */

static void set_add(struct item *it, int c)
{
    it->set[c >> 5] |= 1u << (c & 31);
}

static int set_has(const struct item *it, int c)
{
    return it->set[c >> 5] >> (c & 31) & 1;
}

static int in_class(int c, char letter)
{
    switch (letter) {
    case 'a': return isalpha(c) != 0;
    case 'c': return iscntrl(c) != 0;
    case 'd': return isdigit(c) != 0;
    case 'g': return isgraph(c) != 0;
    case 'l': return islower(c) != 0;
    case 'p': return ispunct(c) != 0;
    case 's': return isspace(c) != 0;
    case 'u': return isupper(c) != 0;
    case 'w': return isalnum(c) != 0;
    case 'x': return isxdigit(c) != 0;
    case 'z': return c == 0;
    default: return -1;
    }
}

/* What "%letter" stands for: a class, its complement in upper case, or the character itself. */
static void set_escape(struct item *it, char letter)
{
    char lower = (char)tolower((unsigned char)letter);
    for (int c = 0; c < 256; c++) {
        int in = in_class(c, lower);
        if (in < 0 ? c == (unsigned char)letter : in == !isupper((unsigned char)letter))
            set_add(it, c);
    }
}

/* At the byte behind "["; returns the offset behind "]". */
static int64_t set_bracket(lua_State *L, struct item *it, struct str p, int64_t at)
{
    int negate = at < p.n && p.p[at] == '^';
    at += negate;
    for (int64_t first = at; at < p.n && (p.p[at] != ']' || at == first);) {
        unsigned char c = (unsigned char)p.p[at];
        if (c == '%') {
            if (at + 1 >= p.n)
                luaL_error(L, "malformed pattern (missing ']')");
            set_escape(it, p.p[at + 1]);
            at += 2;
        } else if (at + 2 < p.n && p.p[at + 1] == '-' && p.p[at + 2] != ']') {
            for (int k = c; k <= (unsigned char)p.p[at + 2]; k++)
                set_add(it, k);
            at += 3;
        } else {
            set_add(it, c);
            at++;
        }
    }
    if (at >= p.n)
        luaL_error(L, "malformed pattern (missing ']')");
    for (int k = 0; negate && k < 8; k++)
        it->set[k] = ~it->set[k];
    return at + 1;
}

struct compiler {
    lua_State *L;
    struct pattern *out;
    int open[CAPTURES_MAX], depth;
};

static int new_capture(struct compiler *c)
{
    if (c->out->n_captures == CAPTURES_MAX)
        luaL_error(c->L, "too many captures");
    return c->out->n_captures++;
}

/* An escape that is not a class: %b, %f, %1. Returns the offset behind it, or 0 when it is a class. */
static int64_t special_escape(struct compiler *c, struct item *it, struct str p, int64_t at)
{
    char letter = p.p[at + 1];
    if (letter == 'b') {
        if (at + 3 >= p.n)
            luaL_error(c->L, "malformed pattern (missing arguments to '%%b')");
        it->kind = BALANCE;
        it->x = (unsigned char)p.p[at + 2];
        it->y = (unsigned char)p.p[at + 3];
        return at + 4;
    }
    if (letter == 'f') {
        if (at + 2 >= p.n || p.p[at + 2] != '[')
            luaL_error(c->L, "missing '[' after '%%f' in pattern");
        it->kind = FRONTIER;
        return set_bracket(c->L, it, p, at + 3);
    }
    if (!isdigit((unsigned char)letter))
        return 0;
    it->kind = BACK;
    it->x = (unsigned char)(letter - '1');
    int closed = letter != '0' && it->x < c->out->n_captures;
    for (int i = 0; i < c->depth; i++)
        closed &= c->open[i] != it->x;
    if (!closed)
        luaL_error(c->L, "invalid capture index %%%c in pattern", letter);
    return at + 2;
}

static int64_t compile_mark(struct compiler *c, struct item *it, struct str p, int64_t at)
{
    if (p.p[at] == '(') {
        int place = at + 1 < p.n && p.p[at + 1] == ')', k = new_capture(c);
        it->kind = place ? PLACE : OPEN;
        it->x = (unsigned char)k;
        if (!place)
            c->open[c->depth++] = k;
        return at + 1 + place;
    }
    if (c->depth == 0)
        luaL_error(c->L, "invalid pattern capture");
    it->kind = CLOSE;
    it->x = (unsigned char)c->open[--c->depth];
    return at + 1;
}

static int64_t compile_item(struct compiler *c, struct item *it, struct str p, int64_t at)
{
    unsigned char ch = (unsigned char)p.p[at];
    *it = (struct item){.kind = SET};
    if (ch == '(' || ch == ')')
        return compile_mark(c, it, p, at);
    if (ch == '$' && at + 1 == p.n) {
        it->kind = AT_END;
        return at + 1;
    }
    int64_t end = 0;
    if (ch == '%') {
        if (at + 1 >= p.n)
            luaL_error(c->L, "malformed pattern (ends with '%%')");
        end = special_escape(c, it, p, at);
        if (end)
            return end;
        set_escape(it, p.p[at + 1]);
        end = at + 2;
    } else if (ch == '[') {
        end = set_bracket(c->L, it, p, at + 1);
    } else {
        if (ch == '.')
            memset(it->set, 0xff, sizeof it->set);
        else
            set_add(it, ch);
        end = at + 1;
    }
    if (end < p.n && strchr("*+-?", p.p[end]) && p.p[end])
        it->rep = p.p[end++];
    return end;
}

/* Pushes the compiled pattern (a userdata). anchors: "^" at the start is one (not in gmatch). */
static struct pattern *compile(lua_State *L, struct str p, int anchors)
{
    script_charge(L, p.n);
    struct pattern *out = lua_newuserdatauv(L, sizeof *out + (size_t)p.n * sizeof(struct item), 0);
    struct compiler c = {.L = L, .out = out};
    int64_t at = anchors && p.n && p.p[0] == '^';
    *out = (struct pattern){.anchored = (int)at};
    while (at < p.n)
        at = compile_item(&c, &out->item[out->n++], p, at);
    if (c.depth)
        luaL_error(L, "unfinished capture");
    return out;
}

/* ---- matching ----------------------------------------------------------------------------- */

struct match {
    lua_State *L;
    const struct pattern *p;
    struct str s;
    int64_t begin[CAPTURES_MAX], end[CAPTURES_MAX]; /* end -1: a position */
    int64_t work;
    int depth;
};

static void charge(struct match *m, int64_t work)
{
    m->work += work;
    if (m->work < CHARGE_EVERY)
        return;
    work = m->work;
    m->work = 0;
    script_charge(m->L, work / 8); /* a step here is about an eighth of a VM instruction */
}

static int64_t match_at(struct match *m, int64_t i, int64_t at);

/* The rest of the pattern; one level deeper. */
static int64_t rest(struct match *m, int64_t i, int64_t at)
{
    if (++m->depth > REPEATS_MAX)
        luaL_error(m->L, "pattern too complex");
    int64_t r = match_at(m, i, at);
    m->depth--;
    return r;
}

static int fits(const struct match *m, const struct item *it, int64_t at)
{
    return at < m->s.n && set_has(it, (unsigned char)m->s.p[at]);
}

static int64_t repeat(struct match *m, int64_t i, int64_t at)
{
    const struct item *it = &m->p->item[i];
    if (it->rep == '-') {
        for (;; at++) {
            int64_t r = rest(m, i + 1, at);
            if (r >= 0 || !fits(m, it, at))
                return r;
            charge(m, 8);
        }
    }
    int64_t most = it->rep == '?' ? 1 : m->s.n - at, least = it->rep == '+', n = 0;
    while (n < most && fits(m, it, at + n))
        n++;
    charge(m, n);
    for (; n >= least; n--) {
        int64_t r = rest(m, i + 1, at + n);
        if (r >= 0)
            return r;
        charge(m, 8);
    }
    return -1;
}

/* Behind the balanced text that begins at `at`, or -1. */
static int64_t balanced(struct match *m, const struct item *it, int64_t at)
{
    int64_t from = at, depth = 0;
    if (at >= m->s.n || (unsigned char)m->s.p[at] != it->x)
        return -1;
    for (; at < m->s.n; at++) {
        unsigned char c = (unsigned char)m->s.p[at];
        if (c == it->y && (it->x != it->y || at > from))
            depth--;
        else if (c == it->x)
            depth++;
        if (depth == 0)
            break;
    }
    charge(m, at - from);
    return at < m->s.n ? at + 1 : -1;
}

static int64_t back(struct match *m, const struct item *it, int64_t at)
{
    int64_t n = m->end[it->x] < 0 ? 0 : m->end[it->x] - m->begin[it->x];
    charge(m, n / 8);
    if (n > m->s.n - at || memcmp(m->s.p + m->begin[it->x], m->s.p + at, (size_t)n))
        return -1;
    return at + n;
}

/* A capture mark is set while the rest is tried, and restored when the rest fails. */
static int64_t mark(struct match *m, int64_t i, int64_t at)
{
    const struct item *it = &m->p->item[i];
    int64_t *where = it->kind == CLOSE ? &m->end[it->x] : &m->begin[it->x];
    int64_t was = *where, was_end = m->end[it->x];
    *where = at;
    if (it->kind == PLACE)
        m->end[it->x] = -1;
    int64_t r = rest(m, i + 1, at);
    if (r < 0) {
        *where = was;
        if (it->kind == PLACE)
            m->end[it->x] = was_end;
    }
    return r;
}

static int64_t match_at(struct match *m, int64_t i, int64_t at)
{
    for (; i < m->p->n; i++) {
        const struct item *it = &m->p->item[i];
        charge(m, 4);
        switch (it->kind) {
        case SET:
            if (it->rep)
                return repeat(m, i, at);
            if (!fits(m, it, at))
                return -1;
            at++;
            break;
        case OPEN:
        case CLOSE:
        case PLACE: return mark(m, i, at);
        case BALANCE:
            if ((at = balanced(m, it, at)) < 0)
                return -1;
            break;
        case FRONTIER: {
            int before = at > 0 ? (unsigned char)m->s.p[at - 1] : 0, here = at < m->s.n ? (unsigned char)m->s.p[at] : 0;
            if (set_has(it, before) || !set_has(it, here))
                return -1;
            break;
        }
        case BACK:
            if ((at = back(m, it, at)) < 0)
                return -1;
            break;
        case AT_END:
            if (at != m->s.n)
                return -1;
            break;
        }
    }
    return at;
}

/* First match from *at on; *at becomes its begin. Returns its end or -1. */
static int64_t search(struct match *m, int64_t *at)
{
    for (;; ++*at) {
        m->depth = 0;
        int64_t end = match_at(m, 0, *at);
        if (end >= 0 || m->p->anchored || *at >= m->s.n)
            return end;
    }
}

static void push_capture(const struct match *m, int k)
{
    if (m->end[k] < 0)
        lua_pushinteger(m->L, m->begin[k] + 1);
    else
        lua_pushlstring(m->L, m->s.p + m->begin[k], (size_t)(m->end[k] - m->begin[k]));
}

/* The captures, or the whole match when there are none (whole = 1). */
static int push_captures(const struct match *m, int64_t begin, int64_t end, int whole)
{
    luaL_checkstack(m->L, CAPTURES_MAX + 4, "too many captures");
    if (m->p->n_captures == 0 && whole) {
        lua_pushlstring(m->L, m->s.p + begin, (size_t)(end - begin));
        return 1;
    }
    for (int k = 0; k < m->p->n_captures; k++)
        push_capture(m, k);
    return m->p->n_captures;
}

/* ---- what Lua calls ----------------------------------------------------------------------- */

static struct str check_str(lua_State *L, int arg)
{
    size_t n;
    const char *p = luaL_checklstring(L, arg, &n);
    return (struct str){p, (int64_t)n};
}

/* The optional start at arg as an offset, or -1 when it lies behind the end. */
static int64_t start_at(lua_State *L, int arg, struct str s)
{
    lua_Integer i = luaL_optinteger(L, arg, 1);
    i = i > 0 ? i - 1 : i == 0 ? 0 : i < -s.n ? 0 : s.n + i;
    return i > s.n ? -1 : i;
}

static int find_or_match(lua_State *L, int find)
{
    struct str s = check_str(L, 1), p = check_str(L, 2);
    int64_t at = start_at(L, 3, s);
    if (at < 0) {
        lua_pushnil(L);
        return 1;
    }
    int special = 0;
    for (int64_t i = 0; i < p.n; i++)
        special |= p.p[i] && strchr("^$*+?.([%-)", p.p[i]) != NULL;
    if (find && (lua_toboolean(L, 4) || !special)) {
        script_charge(L, (s.n - at + p.n) / 8);
        const char *hit = memmem(s.p + at, (size_t)(s.n - at), p.p, (size_t)p.n);
        if (!hit) {
            lua_pushnil(L);
            return 1;
        }
        lua_pushinteger(L, hit - s.p + 1);
        lua_pushinteger(L, hit - s.p + p.n);
        return 2;
    }
    struct match m = {.L = L, .s = s, .p = compile(L, p, 1)};
    int64_t end = search(&m, &at);
    if (end < 0) {
        lua_pushnil(L);
        return 1;
    }
    if (!find)
        return push_captures(&m, at, end, 1);
    lua_pushinteger(L, at + 1);
    lua_pushinteger(L, end);
    return 2 + push_captures(&m, at, end, 0);
}

static int lib_find(lua_State *L)
{
    return find_or_match(L, 1);
}

static int lib_match(lua_State *L)
{
    return find_or_match(L, 0);
}

/* Upvalues: text, pattern, where to go on, end of the last match (an empty match there would be the same one again). */
static int gmatch_step(lua_State *L)
{
    struct match m = {.L = L, .s = check_str(L, lua_upvalueindex(1)), .p = lua_touserdata(L, lua_upvalueindex(2))};
    int64_t at = lua_tointeger(L, lua_upvalueindex(3)), last = lua_tointeger(L, lua_upvalueindex(4));
    while (at <= m.s.n) {
        int64_t end = search(&m, &at);
        if (end < 0)
            break;
        if (end == last) {
            at++;
            continue;
        }
        lua_pushinteger(L, end);
        lua_copy(L, -1, lua_upvalueindex(3));
        lua_replace(L, lua_upvalueindex(4));
        return push_captures(&m, at, end, 1);
    }
    lua_pushinteger(L, m.s.n + 1);
    lua_replace(L, lua_upvalueindex(3));
    lua_pushnil(L);
    return 1;
}

static int lib_gmatch(lua_State *L)
{
    struct str s = check_str(L, 1), p = check_str(L, 2);
    int64_t at = start_at(L, 3, s);
    lua_settop(L, 2);
    lua_pushvalue(L, 1);
    compile(L, p, 0);
    lua_pushinteger(L, at < 0 ? s.n + 1 : at);
    lua_pushinteger(L, -1);
    lua_pushcclosure(L, gmatch_step, 4);
    return 1;
}

/* Adds the replacement string at index 3 with its %0..%9. */
static void add_template(struct match *m, luaL_Buffer *b, int64_t begin, int64_t end)
{
    struct str r = check_str(m->L, 3);
    for (int64_t i = 0; i < r.n; i++) {
        if (r.p[i] != '%') {
            luaL_addchar(b, r.p[i]);
            continue;
        }
        char c = ++i < r.n ? r.p[i] : 0;
        if (c == '%') {
            luaL_addchar(b, '%');
        } else if (isdigit((unsigned char)c)) {
            int k = c - '1', whole = c == '0' || (k == 0 && m->p->n_captures == 0);
            if (!whole && k >= m->p->n_captures)
                luaL_error(m->L, "invalid capture index %%%c in replacement string", c);
            if (whole) {
                luaL_addlstring(b, m->s.p + begin, (size_t)(end - begin));
            } else {
                push_capture(m, k);
                luaL_addvalue(b);
            }
        } else {
            luaL_error(m->L, "invalid use of '%%' in replacement string");
        }
    }
}

/* Adds what the table or function at index 3 says; nil and false keep the text. */
static void add_replacement(struct match *m, luaL_Buffer *b, int64_t begin, int64_t end)
{
    lua_State *L = m->L;
    int type = lua_type(L, 3);
    if (type == LUA_TSTRING || type == LUA_TNUMBER) {
        add_template(m, b, begin, end);
        return;
    }
    if (type == LUA_TFUNCTION) {
        lua_pushvalue(L, 3);
        lua_call(L, push_captures(m, begin, end, 1), 1);
    } else {
        int n = push_captures(m, begin, end, 1);
        lua_pop(L, n - 1);
        lua_gettable(L, 3);
    }
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        luaL_addlstring(b, m->s.p + begin, (size_t)(end - begin));
    } else if (!lua_isstring(L, -1)) {
        luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
    } else {
        luaL_addvalue(b);
    }
}

static int lib_gsub(lua_State *L)
{
    struct str s = check_str(L, 1), p = check_str(L, 2);
    int type = lua_type(L, 3);
    lua_Integer most = luaL_optinteger(L, 4, INT64_MAX), n = 0;
    luaL_argexpected(L, type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TTABLE || type == LUA_TFUNCTION, 3, "string, function or table");
    lua_settop(L, 3);
    struct match m = {.L = L, .s = s, .p = compile(L, p, 1)};
    int64_t at = 0, last = -1;
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    while (n < most) {
        m.depth = 0;
        int64_t end = match_at(&m, 0, at);
        if (end >= 0 && end != last) {
            n++;
            add_replacement(&m, &b, at, end);
            at = last = end;
        } else if (at < s.n) {
            luaL_addchar(&b, s.p[at++]);
        } else {
            break;
        }
        if (m.p->anchored)
            break;
    }
    luaL_addlstring(&b, s.p + at, (size_t)(s.n - at));
    luaL_pushresult(&b);
    lua_pushinteger(L, n);
    return 2;
}

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
    static const luaL_Reg ours[] = {{"find", lib_find}, {"match", lib_match}, {"gmatch", lib_gmatch}, {"gsub", lib_gsub}, {NULL, NULL}};
    luaL_setfuncs(L, ours, 0);
    lua_getfield(L, -1, "rep");
    lua_pushcclosure(L, lib_rep, 1);
    lua_setfield(L, -2, "rep");
}
