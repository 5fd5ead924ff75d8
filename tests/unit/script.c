/* Lua states. Fails when: a script reaches the machine (files, clock, bytecode), an endless loop, a bomb of memory or work hidden
 * in a library call is not stopped, pcall outlives a limit, the order of pairs or sort depends on addresses or hash seeds, a
 * value changes on its way between JSON and Lua. */
#include "core/log.h"
#include "script/script.h"
#include "tests/test.h"

static const struct script_limits small = {.memory_bytes = 4 << 20, .instructions = 2000000, .wall_s = 5};

static enum script_end run(const char *text, struct err *e)
{
    struct script *s;
    e->msg[0] = 0;
    assert_int_equal(script_open(&s, &small, e), ERR_OK);
    err_code rc = script_run(s, str_of(text), "t", e);
    enum script_end end = script_ended(s);
    assert_int_equal(rc == ERR_OK, end == SCRIPT_FINE);
    assert_true(script_memory(s) <= small.memory_bytes);
    script_close(s);
    return end;
}

static void must_run(const char *text)
{
    struct err e = {0};
    if (run(text, &e) != SCRIPT_FINE)
        fail_msg("%s: %s", text, e.msg);
}

static void box_is_closed(void **state)
{
    (void)state;
    must_run("for _, n in ipairs { 'io', 'os', 'require', 'package', 'load', 'loadfile', 'dofile', 'loadstring', 'debug', 'coroutine',\n"
             "  'collectgarbage' } do assert(_G[n] == nil, n) end assert(string.dump == nil and math.random == nil)");
    struct err e = {0};
    assert_int_equal(run("\033Lua binary", &e), SCRIPT_ERROR);
    assert_non_null(strstr(e.msg, "binary"));
    assert_int_equal(run("setmetatable({}, { __gc = function() while true do end end })", &e), SCRIPT_ERROR);
    assert_non_null(strstr(e.msg, "finalizers"));
    assert_int_equal(run("local x = 1\nx.y.z = 2", &e), SCRIPT_ERROR);
    assert_non_null(strstr(e.msg, "t:2: attempt to index a number value"));
    assert_int_equal(run("error({})", &e), SCRIPT_ERROR);
    assert_non_null(strstr(e.msg, "error object is a table"));
    struct script *s;
    assert_int_equal(script_run_file((script_open(&s, NULL, &e), s), "/nonexistent.lua", &e), ERR_IO);
    script_close(s);
}

static void limits_hold(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum script_end end;
    } cases[] = {
        {"while true do end", SCRIPT_INSTRUCTIONS},
        {"while true do pcall(function() while true do end end) end", SCRIPT_INSTRUCTIONS},
        {"while true do pcall(error) end", SCRIPT_INSTRUCTIONS},
        {"xpcall(function() while true do end end, function() while true do end end) while true do end", SCRIPT_INSTRUCTIONS},
        {"local t = {} while true do t[#t + 1] = {} end", SCRIPT_MEMORY},
        {"local s = 'x' while true do s = s .. s end", SCRIPT_MEMORY},
        {"string.rep('x', 1e12)", SCRIPT_ERROR},
        {"assert(string.rep('', 1e18) == '')", SCRIPT_FINE},
        {"string.rep('x', 1e8)", SCRIPT_MEMORY},
        {"table.move({}, 1, 1 << 62, 2)", SCRIPT_INSTRUCTIONS},
        {"table.move({}, -(1 << 62), 1 << 62, 2)", SCRIPT_INSTRUCTIONS},
        {"table.insert(setmetatable({}, { __len = function() return 1 << 60 end }), 1, 2)", SCRIPT_INSTRUCTIONS},
        {"table.concat(setmetatable({}, { __len = function() return 1 << 60 end, __index = function() return '' end }))", SCRIPT_INSTRUCTIONS},
        {"table.unpack({}, 1, 1e8)", SCRIPT_INSTRUCTIONS},
        {"string.find(string.rep('a', 5000), string.rep('a*', 60) .. 'b')", SCRIPT_INSTRUCTIONS},
        {"string.match(string.rep('a', 3000), string.rep('.-', 20) .. 'b')", SCRIPT_INSTRUCTIONS},
        {"for _ in string.gmatch(string.rep('a', 3000), string.rep('a*', 20) .. 'b') do end", SCRIPT_INSTRUCTIONS},
        {"string.gsub(string.rep('a', 3000), string.rep('a*', 20) .. 'b', '')", SCRIPT_INSTRUCTIONS},
        {"string.rep('x', 1000000):find(string.rep('x', 500000) .. 'y', 1, true)", SCRIPT_FINE},
        {"local t = {} for i = 1, 20000 do t[i] = i end while true do table.sort(t, function(a, b) return a < b end) end", SCRIPT_INSTRUCTIONS},
        {"local t = {} for i = 1, 20000 do t[i] = i end while true do for k in pairs(t) do break end end", SCRIPT_INSTRUCTIONS},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = {0};
        double began = clock_now();
        enum script_end end = run(cases[i].text, &e);
        double took = clock_now() - began;
        if (end != cases[i].end)
            fail_msg("%s: ended %d, not %d: %s", cases[i].text, (int)end, (int)cases[i].end, e.msg);
        if (took > 4)
            fail_msg("%s: took %g s", cases[i].text, took);
    }
    struct script *s;
    struct err e = {0};
    assert_int_equal(script_open(&s, &(struct script_limits){.instructions = 1LL << 50, .wall_s = 0.2}, &e), ERR_OK);
    assert_int_equal(script_run(s, STR("while true do pcall(error) end"), "t", &e), ERR_LIMIT);
    assert_int_equal(script_ended(s), SCRIPT_WALL);
    /* every failing pcall walks the whole stack inside Lua: slow work that no count sees */
    assert_int_equal(script_run(s, STR("local function f() pcall(f) f() end f()"), "t", &e), ERR_LIMIT);
    assert_int_equal(script_ended(s), SCRIPT_WALL);
    assert_int_equal(script_run(s, STR("x = 1"), "t", &e), ERR_OK); /* a new call has its own time */
    script_close(s);
    assert_int_equal(script_open(&s, &(struct script_limits){.memory_bytes = 1000}, &e), ERR_LIMIT);
}

static void order_is_fixed(void **state)
{
    (void)state;
    must_run("local t = { z = 1, a = 2, [3] = 3, [1] = 4, [2.5] = 5, [true] = 6, [-7] = 7, [false] = 8, ab = 9 }\n"
             "local s = {} for k, v in pairs(t) do s[#s + 1] = tostring(k) .. '=' .. v end\n"
             "assert(table.concat(s, ' ') == '-7=7 1=4 2.5=5 3=3 a=2 ab=9 z=1 false=8 true=6', table.concat(s, ' '))\n"
             "local k, n = nil, 0 repeat k = next(t, k) n = n + 1 until k == nil assert(n == 10 and next({}) == nil)\n"
             "for k in pairs(t) do t[k] = nil end assert(next(t) == nil)\n"
             "assert(tostring({}) == 'table' and string.format('%s %d', print, 3) == 'function 3' and tostring(null) == 'null')\n"
             "assert(not pcall(string.format, '%p', {}) and not pcall(pairs, { [{}] = 1 }))");
    must_run("local t = {} for i = 1, 1000 do t[i] = { i, i * 7919 % 10 } end table.sort(t, function(a, b) return a[2] < b[2] end)\n"
             "for i = 2, 1000 do assert(t[i - 1][2] < t[i][2] or (t[i - 1][2] == t[i][2] and t[i - 1][1] < t[i][1])) end\n"
             "local u = { 'b', 'a', 'c' } table.sort(u) assert(table.concat(u) == 'abc') table.sort(t, function() return true end)\n"
             "local e = {} table.sort(e) assert(#e == 0)\n"
             "local v = { 1, 2, 3 } table.insert(v, 2, 9) assert(table.remove(v, 1) == 1 and table.concat(v, ',') == '9,2,3')\n"
             "assert(table.remove(v) == 3 and select('#', table.unpack({ 1, 2, 3 })) == 3 and #table.move({ 1, 2 }, 1, 2, 3, {}) ~= 1)");
    must_run("local ok, m = xpcall(error, function(m) return m .. '!' end, 'x') assert(not ok and m == 'x!')\n"
             "local a, b, c = xpcall(function(...) return ... end, print, 1, 2) assert(a and b == 1 and c == 2)");
    must_run("assert(hash('abc') == hash('ab' .. 'c') and hash('abc') ~= hash('abd') and hash('') >= 0)");
}

static void patterns_are_luas(void **state)
{
    (void)state;
    must_run("assert(('hello world'):find('o w') == 5)\n"
             "local a, b, c = ('key = value'):match('^(%w+)%s*=%s*(%w+)$') assert(a == 'key' and b == 'value' and c == nil)\n"
             "assert(('  trim '):match('^%s*(.-)%s*$') == 'trim')\n"
             "assert(('a,b,,c'):gsub(',', ';') == 'a;b;;c' and select(2, ('a,b,,c'):gsub(',', ';', 2)) == 2)\n"
             "assert(('THE (quick) fox'):find('%((%a+)%)') == 5 and ('f(a(b)c)d'):match('%b()') == '(a(b)c)')\n"
             "assert(('abc'):gsub('%w', '%0%0') == 'aabbcc' and ('abc'):gsub('', '-') == '-a-b-c-')\n"
             "assert(('hello'):gsub('l', { l = 'L' }) == 'heLLo' and ('hello'):gsub('(h)(e)', function(x, y) return y .. x end) == 'ehllo')\n"
             "assert(('THE (quick) fox'):gsub('%f[%a]%a+', string.lower) == 'the (quick) fox')\n"
             "local t = {} for k, v in ('a=1, b=2'):gmatch('(%w+)=(%w+)') do t[#t + 1] = k .. v end assert(table.concat(t) == 'a1b2')\n"
             "local n = 0 for w in ('one two'):gmatch('%a+') do n = n + #w end assert(n == 6)\n"
             "assert(('x'):rep(3, '-') == 'x-x-x' and ('a.b'):find('.', 1, true) == 2 and ('abc'):find('b', -1) == nil)\n"
             "local p, q = ('abcabc'):find('(a)(b)()') assert(p == 1 and q == 2 and select(5, ('abcabc'):find('(a)(b)()')) == 3)\n"
             "assert(('aXb'):find('%u') == 2 and ('a-b'):match('[%a-]+') == 'a-b' and ('a]b'):match('[]]') == ']' and ('x^'):match('[%^x]+') == 'x^')\n"
             "assert(('abab'):match('(ab)%1') == 'ab' and ('0x1F'):match('^0[xX](%x+)$') == '1F' and ('ab'):match('^b') == nil)\n"
             "assert(('[abc'):find('[', 1, true) == 1 and ('é'):match('[\\xc3][\\xa9]') == 'é')\n"
             "assert(not pcall(string.find, 'a', '[a') and not pcall(string.find, 'a', '%') and not pcall(string.gsub, 'a', 'a', '%2'))\n"
             "assert(not pcall(string.find, 'a', '(a') and not pcall(string.find, 'a', 'a)') and not pcall(string.find, 'a', '%1'))\n"
             "assert(('abc'):gsub('b', '%%') == 'a%c' and ('x = $y'):gsub('%$(%w+)', function() return nil end) == 'x = $y')\n"
             "assert(('aaa'):find('a-', 2) == 2 and ('aaab'):match('a-b') == 'aaab' and ('ab'):match('a?b?c?') == 'ab')\n"
             "assert(#(('a'):rep(1000)):match('a*') == 1000 and ('foo.bar'):match('([^.]+)$') == 'bar')");
}

static void json_goes_both_ways(void **state)
{
    (void)state;
    struct script *s;
    struct err e = {0};
    json_t *args = NULL, *out = NULL;
    struct sbuf b;
    sbuf_init(&b, 1 << 20);
    assert_int_equal(script_open(&s, NULL, &e), ERR_OK);
    assert_int_equal(script_run(s, STR("function same(...) return ... end function bad(k) return ({ f = print, nan = 0/0, mixed = { 1, a = 2 },\n"
                                       "holes = { [1] = 1, [3] = 3 }, utf8 = '\\255' })[k] end function loop() local t = {} t.t = t return t end\n"
                                       "function boom() error('no') end"), "t", &e), ERR_OK);
    assert_int_equal(json_parse(STR("[{\"b\":[1,2.5,\"x\",null,true],\"a\":{\"é\":\"\\u0001\"},\"n\":null},9007199254740993,0.5,null,[]]"), &args, &e), ERR_OK);
    if (script_call(s, "same", args, &out, &e) != ERR_OK)
        fail_msg("%s", e.msg);
    json_put_value(&b, out);
    assert_string_equal(b.p, "[{\"a\":{\"é\":\"\\u0001\"},\"b\":[1,2.5,\"x\",null,true]},9007199254740993,0.5,null,[]]");
    json_decref(args);
    json_decref(out);
    static const char *const bad[][2] = {{"f", "a function cannot"}, {"nan", "NaN"}, {"mixed", "no list"}, {"holes", "no list"}, {"utf8", "not UTF-8"}};
    for (size_t i = 0; i < 5; i++) {
        args = json_pack("[s]", bad[i][0]);
        assert_int_equal(script_call(s, "bad", args, &out, &e), ERR_DATA);
        if (!strstr(e.msg, bad[i][1]))
            fail_msg("%s", e.msg);
        json_decref(args);
    }
    assert_int_equal(script_call(s, "loop", NULL, &out, &e), ERR_DATA);
    assert_non_null(strstr(e.msg, "nested deeper"));
    assert_int_equal(script_call(s, "boom", NULL, &out, &e), ERR_DATA);
    assert_string_equal(e.msg, "t:3: no");
    assert_int_equal(script_call(s, "absent", NULL, &out, &e), ERR_DATA);
    assert_true(script_has(s, "same") && !script_has(s, "absent"));
    script_close(s);
    sbuf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(box_is_closed),     cmocka_unit_test(limits_hold),         cmocka_unit_test(order_is_fixed),
        cmocka_unit_test(patterns_are_luas), cmocka_unit_test(json_goes_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
