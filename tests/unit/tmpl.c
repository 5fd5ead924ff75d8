/* Chat templates: catches output that differs from Jinja2's, errors without line or reason, templates that get past
 * their limits, masks that give a byte to the wrong message, and mallocs per row. */
#include <jansson.h>

#include "core/json.h"
#include "core/file.h"
#include "tests/test.h"
#include "text/text.h"

/* ---- counting mallocs ------------------------------------------------------------------------------ */

static int64_t n_malloc;
#ifdef __has_feature /* clang */
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if !defined(SANITIZED) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define COUNTS 1
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t m);
void *__libc_realloc(void *p, size_t n);
void *malloc(size_t n) { n_malloc++; return __libc_malloc(n); }
void *calloc(size_t n, size_t m) { n_malloc++; return __libc_calloc(n, m); }
void *realloc(void *p, size_t n) { n_malloc++; return __libc_realloc(p, n); }
#else
#define COUNTS 0
#endif

/* ---- one template, one row --------------------------------------------------------------------------- */

struct fix {
    struct tmpl *t;
    struct tmpl_run *r;
    struct sbuf out;
    struct err e;
    struct tmpl_mask m;
};

static err_code try_row(struct fix *f, const char *source, const char *row, const struct tmpl_mask_opts *o)
{
    f->e = (struct err){0};
    err_code rc = tmpl_compile(str_of(source), "t", &f->t, &f->e);
    if (rc == ERR_OK)
        rc = tmpl_input_json(f->r, str_of(row), &f->e);
    if (rc == ERR_OK)
        rc = o ? tmpl_mask(f->r, f->t, o, &f->out, &f->m, &f->e) : tmpl_render(f->r, f->t, &f->out, &f->e);
    return rc;
}

static void open_fix(struct fix *f)
{
    memset(f, 0, sizeof *f);
    assert_int_equal(tmpl_run_new(NULL, &f->r, &f->e), ERR_OK);
    assert_int_equal(tmpl_run_now(f->r, "2024-09-17T12:34:56", &f->e), ERR_OK);
    sbuf_init(&f->out, 1 << 28);
}

static void done(struct fix *f)
{
    tmpl_free(f->t);
    f->t = NULL;
}

static void close_fix(struct fix *f)
{
    tmpl_run_free(f->r);
    sbuf_release(&f->out);
}

static const char row[] = "{\"messages\":[{\"role\":\"user\",\"content\":\" h\xc3\xa9 \"},{\"role\":\"assistant\",\"content\":\"yo\"}],"
                          "\"variables\":{\"d\":{\"b\":1,\"a\":[1,2.5,null,true,\"x\"]},\"n\":3,\"big\":123456789012345678901234567890}}";

static void test_values(void **state)
{
    static const struct {
        const char *source, *want;
    } t[] = {
        {"{{ d }}", "{'b': 1, 'a': [1, 2.5, None, True, 'x']}"},
        {"{{ d|tojson }}{{ d|tojson(indent=1, sort_keys=true) }}",
         "{\"b\": 1, \"a\": [1, 2.5, null, true, \"x\"]}{\n \"a\": [\n  1,\n  2.5,\n  null,\n  true,\n  \"x\"\n ],\n \"b\": 1\n}"},
        {"{{ ['it\\'s', 'a\"b\\'c', '\\n\\x01\\u00ad\xc3\xa9', (1,), (), 1e16, 1e-5, 0.1, 1e22, 2**-1074, 2.0**-44] }}",
         "[\"it's\", 'a\"b\\'c', '\\n\\x01\\xad\xc3\xa9', (1,), (), 1e+16, 1e-05, 0.1, 1e+22, 5e-324, 5.684341886080802e-14]"},
        {"{{ big + 1 }} {{ big // 7 }} {{ -big % 1000 }} {{ big * big }} {{ 2**100 }} {{ big == big + 0 }} {{ big > 1e29 }}",
         "123456789012345678901234567891 17636684144620811271604938270 110 15241578753238836750495351562536198787501905199875019052100 "
         "1267650600228229401496703205376 True True"},
        {"{{ -7 // 2 }} {{ -7 % 3 }} {{ 7.5 // 2 }} {{ -7.5 % 2 }} {{ 7 / 2 }} {{ 2 ** -1 }} {{ 1 / 3 }}", "-4 2 3.0 0.5 3.5 0.5 0.3333333333333333"},
        {"{{ messages[0].content|trim|length }}{{ messages[0]['content'][1:3] }}{{ 'h\xc3\xa9llo'[::-1] }}{{ 'abc'[-2:] }}", "2h\xc3\xa9oll\xc3\xa9hbc"},
        {"{{ x is defined }}{{ x }}{{ messages[0].nope is defined }}{{ none.a is defined }}", "FalseFalseFalse"},
        {"{{ 'stra\xc3\x9f\x65 \xce\xa3\xce\x91\xce\xa3'.upper() }}{{ '\xce\xa3\xce\x91\xce\xa3'.lower() }}{{ \"they're x\"|title }}{{ \"they're\".title() }}",
         "STRASSE \xce\xa3\xce\x91\xce\xa3\xcf\x83\xce\xb1\xcf\x82They're XThey'Re"},
        {"{{ '%5.2f|%-4s|%x|%r' % (3.14159, 'a', 255, 'q') }}{{ '{:>6,}|{!r:^5}|{a[0]}'.format(12345, 'x', a=[9]) }}", " 3.14|a   |ff|'q'12,345| 'x' |9"},
        {"{{ '<b>'|safe + '<i>' }}{{ '<i>'|e }}{{ ('<'|e) ~ '<' }}", "<b>&lt;i&gt;&lt;i&gt;&lt;<"},
        {"{{ strftime_now('%d %b %Y %H:%M') }}", "17 Sep 2024 12:34"},
        {"{{ [3,1,2]|sort }}{{ ['b','A']|sort(reverse=true) }}{{ [1,2,3]|map('string')|join('-') }}{{ messages|map(attribute='role')|list }}",
         "[1, 2, 3]['b', 'A']1-2-3['user', 'assistant']"},
        {"{{ 'a,b,,c'.split(',') }}{{ ' a  b '.split() }}{{ 'a b c'.rsplit(' ', 1) }}{{ 'aXbX'.replace('X', '') }}", "['a', 'b', '', 'c']['a', 'b']['a b', 'c']ab"},
        {"{{ 1 < 2 < 3 }}{{ 1 if false }}{{ 'a' in 'abc' }}{{ 2 not in [1] }}{{ true == 1 }}{{ 1 == 1.0 }}", "TrueTrueTrueTrueTrue"},
        {"{{ 0.1 + 0.2 }} {{ 1e308 * 10 }} {{ 42.55|round(1, 'floor') }} {{ 2.5|round }} {{ '42.9'|int }} {{ '0x1f'|int(base=16) }}",
         "0.30000000000000004 inf 42.5 2.0 42 31"},
    };
    struct fix f;
    (void)state;
    open_fix(&f);
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        if (try_row(&f, t[i].source, row, NULL) != ERR_OK)
            fail_msg("%s: %s", t[i].source, f.e.msg);
        assert_string_equal(f.out.p ? f.out.p : "", t[i].want);
        done(&f);
    }
    close_fix(&f);
}

static void test_statements(void **state)
{
    static const struct {
        const char *source, *want;
    } t[] = {
        {"  {% if true %}\n  x\n  {% endif %}\n  y\n", "  x\n  y"},
        {"a  {%- if true -%}  b  {%- endif %} c", "ab c"},
        {"{% set x = 1 %}{% for i in [1,2] %}{{ x }}{% set x = i %}{{ x }}{% endfor %}{{ x }}", "11121"},
        {"{% if false %}{% set n = 9 %}{% endif %}{{ n }}{% set n = 4 %}{{ n }}", "34"},
        {"{% set ns = namespace(a=1) %}{% for i in range(3) %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }}", "4"},
        {"{% for i in [1,2,3,4] if i is even %}{{ loop.index }}{{ loop.last }}{{ loop.length }}{{ i }} {% else %}none{% endfor %}", "1False22 2True24 "},
        {"{% for i in [] %}{% else %}none{% endfor %}{% for i in [1] %}{% continue %}{% else %}!{% endfor %}", "none!"},
        {"{% for i in 'ab' %}{{ loop.previtem }}{{ i }}{{ loop.nextitem }}{% endfor %}", "abab"},
        {"{% macro m(a, b=2) %}{{ a }}{{ b }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1) }}{{ m(1, 3, 4, c=5) }}", "12(){}13(4,){'c': 5}"},
        {"{% macro w() %}[{{ caller('x') }}]{% endmacro %}{% call(v) w() %}{{ v }}{{ n }}{% endcall %}", "[x3]"},
        {"{% macro m() %}{{ x }}{% endmacro %}{% set x = 1 %}{{ m() }}{% set x = 2 %}{{ m() }}", "12"},
        {"{% for x in [1,[2,[3]]] recursive %}{% if x is iterable %}({{ loop(x) }}){% else %}{{ x }}@{{ loop.depth }}{% endif %}{% endfor %}", "1@1(2@2(3@3))"},
        {"{% set t | upper %}a{{ n }}{% endset %}{{ t }}{% filter replace('a', 'b') %}a{% endfilter %}{% with a=1, b=n %}{{ a + b }}{% endwith %}", "A3b4"},
        {"{% raw %}{{ x }}{% endraw %}{# c #}{% block b %}{{ n }}{% endblock %}", "{{ x }}3"},
        {"{% for a, (b, c) in [[1, [2, 3]]] %}{{ a }}{{ b }}{{ c }}{% endfor %}{% set a, b = 1, 2 %}{{ a }}{{ b }}", "12312"},
        {"{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{% set j = joiner('|') %}{{ j() }}{{ j() }}", "aba|"},
        {"{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}", " h\xc3\xa9 yo"},
    };
    struct fix f;
    (void)state;
    open_fix(&f);
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        if (try_row(&f, t[i].source, row, NULL) != ERR_OK)
            fail_msg("%s: %s", t[i].source, f.e.msg);
        assert_string_equal(f.out.p, t[i].want);
        done(&f);
    }
    const int64_t *spans;
    try_row(&f, t[sizeof t / sizeof *t - 1].source, row, NULL);
    assert_int_equal(tmpl_generation_spans(f.r, &spans), 2);
    assert_true(spans[0] == 0 && spans[1] == 4 && spans[2] == 4 && spans[3] == 6); /* code points */
    done(&f);
    close_fix(&f);
}

static void test_errors(void **state)
{
    static const struct {
        const char *source, *want;
        err_code code;
    } t[] = {
        {"\n{{ raise_exception('no ' ~ n) }}", "t:2: no 3", ERR_DATA},
        {"a\n\n{{ x.y }}", "t:3: UndefinedError: 'x' is undefined", ERR_DATA},
        {"{{ messages[0].x.y }}", "'dict object' has no attribute 'x'", ERR_DATA},
        {"{{ none + 'a' }}", "unsupported operand type(s) for +: 'NoneType' and 'str'", ERR_DATA},
        {"{{ 'a' + none }}", "can only concatenate str", ERR_DATA},
        {"{{ d.update({}) }}", "t:1: SecurityError", ERR_DATA},
        {"{{ ''.__class__.__mro__ }}", "SecurityError", ERR_DATA},
        {"{% for x in y %}", "Unexpected end of template", ERR_DATA},
        {"\n\n{% iff %}", "t:3: TemplateSyntaxError: Encountered unknown tag 'iff'", ERR_DATA},
        {"{{ a b }}", "got 'b'", ERR_DATA},
        {"{{ 'a'|nofilter }}", "No filter named nofilter", ERR_DATA},
        {"{% if n %}{{ 'a'|nofilter }}{% endif %}", "No filter named 'nofilter' found", ERR_DATA},
        {"{{ {} < [] }}", "'<' not supported between instances of 'dict' and 'list'", ERR_DATA},
        {"{{ 1 // 0 }}", "ZeroDivisionError", ERR_DATA},
        {"{% include 'x' %}", "no loader", ERR_DATA},
        {"{% set loop = 1 %}{% for i in [1] %}{% set loop = 2 %}{% endfor %}", "special loop variable", ERR_DATA},
        {"{% generation %}{% break %}{% endgeneration %}", "'break' outside loop", ERR_DATA},
        {"{{ '\\ud800' }}", "surrogate", ERR_DATA},
        {"{{ range(1000000) }}", "Range too big", ERR_DATA},
        {"{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "limit of steps", ERR_LIMIT},
        {"{% set ns = namespace(x='aaaaaaaa') %}{% for a in range(99) %}{% set ns.x = ns.x * 8 %}{% endfor %}", "limit of", ERR_LIMIT},
        {"{% set ns = namespace(x=[]) %}{% for a in range(999) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}", "limit of depth", ERR_LIMIT},
        {"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "limit of depth", ERR_LIMIT},
        {"{% set ns = namespace(x=3) %}{% for a in range(64) %}{% set ns.x = ns.x * ns.x %}{% endfor %}{{ ns.x }}", "limit of", ERR_LIMIT},
    };
    struct fix f;
    (void)state;
    open_fix(&f);
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        err_code rc = try_row(&f, t[i].source, row, NULL);
        if (rc != t[i].code || !strstr(f.e.msg, t[i].want))
            fail_msg("%s: %s instead of %s", t[i].source, f.e.msg, t[i].want);
        done(&f);
    }
    assert_int_equal(try_row(&f, "x", "{\"messages\":[{\"role\":\"\\ud800\"}]}", NULL), ERR_OK);
    done(&f);
    static const char *const bad[] = {"", "[]", "{\"messages\":[1,]}", "{\"a\":01}", "{\"a\":\"\n\"}", "{\"a\":\"\xff\"}", "{\"a\":tru}", "{} x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(tmpl_input_json(f.r, str_of(bad[i]), &f.e), ERR_DATA);
    close_fix(&f);
}

/* ---- masks -------------------------------------------------------------------------------------------- */

static const char chatml[] = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}{% if m.reasoning_content %}{{ '<think>\\n' + m.reasoning_content + "
                             "'\\n</think>\\n\\n' }}{% endif %}{{ m.content | trim }}{% for c in m.tool_calls or [] %}{{ '\\n<tool_call>' }}"
                             "{{ c | tojson }}{{ '</tool_call>' }}{% endfor %}{{ '<|im_end|>\\n' }}{% endfor %}"
                             "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/* "kind:weight:message:text|" of every span with a weight, or of all. */
static void show(struct fix *f, int all, struct sbuf *b)
{
    static const char *const name[TMPL_N_KINDS] = {"t", "i", "c", "r", "call", "g", "eot"};
    sbuf_clear(b);
    int64_t at = 0;
    for (int64_t i = 0; i < f->m.n_spans; i++) {
        const struct tmpl_span *s = &f->m.spans[i];
        assert_true(s->begin == at && s->end > at);
        at = s->end;
        if (all || s->weight > 0)
            sbuf_addf(b, "%s:%g:%d:%.*s|", name[s->kind], (double)s->weight, s->message, (int)(s->end - s->begin), f->out.p + s->begin);
    }
    assert_true(at == f->out.n);
    if (!b->n)
        sbuf_adds(b, "-");
}

struct mask_case {
    const char *source, *row, *want;
    enum tmpl_which which;
    float reasoning, tool_calls;
};

static void check_masks(const struct mask_case *t, size_t n, const struct str *stops, int n_stops)
{
    struct fix f;
    struct sbuf b;
    open_fix(&f);
    sbuf_init(&b, 1 << 20);
    for (size_t i = 0; i < n; i++) {
        struct tmpl_mask_opts o = tmpl_mask_defaults();
        o.which = t[i].which;
        o.reasoning = t[i].reasoning >= 0 ? t[i].reasoning : 1;
        o.tool_calls = t[i].tool_calls >= 0 ? t[i].tool_calls : 1;
        o.stops = stops;
        o.n_stops = n_stops;
        if (try_row(&f, t[i].source, t[i].row, &o) != ERR_OK)
            sbuf_clear(&b), sbuf_addf(&b, "! %s", f.e.msg);
        else
            show(&f, 0, &b);
        assert_string_equal(b.p, t[i].want);
        done(&f);
    }
    sbuf_release(&b);
    close_fix(&f);
}

static void test_masks(void **state)
{
#define U "{\"role\":\"user\",\"content\":\"q <|im_end|>\"}"
#define ROW(m) "{\"messages\":[" m "]}"
    static const struct mask_case t[] = {
        {chatml, ROW(U ",{\"role\":\"assistant\",\"content\":\" yo \"}"), "c:1:1:yo|eot:1:1:<|im_end|>|", 0, -1, -1},
        {chatml, ROW("{\"role\":\"assistant\",\"content\":\"a\"}," U ",{\"role\":\"assistant\",\"content\":\"b\"}"),
         "c:1:0:a|eot:1:0:<|im_end|>|c:1:2:b|eot:1:2:<|im_end|>|", 0, -1, -1},
        {chatml, ROW("{\"role\":\"assistant\",\"content\":\"a\"}," U ",{\"role\":\"assistant\",\"content\":\"b\"}"), "c:1:2:b|eot:1:2:<|im_end|>|",
         TMPL_LAST_TURN, -1, -1},
        {chatml, ROW(U ",{\"role\":\"assistant\",\"content\":\"a\",\"train\":false},{\"role\":\"assistant\",\"content\":\"b\",\"weight\":0.5}"),
         "c:0.5:2:b|eot:0.5:2:<|im_end|>|", 0, -1, -1},
        {chatml, ROW("{\"role\":\"user\",\"content\":\"ab\",\"train\":true},{\"role\":\"assistant\",\"content\":\"h\xc3\xa9llo\",\"weights\":[[1,3,0],[3,4,2]]}"),
         "i:1:0:ab|c:1:1:h|c:2:1:l|c:1:1:o|eot:1:1:<|im_end|>|", 0, -1, -1},
        {chatml, ROW(U ",{\"role\":\"assistant\",\"content\":\"b\",\"reasoning_content\":\"r\"}"),
         "g:0.5:1:<think>\n|r:0.5:1:r|g:1:1:\n</think>\n\n|c:1:1:b|eot:1:1:<|im_end|>|", 0, 0.5f, -1},
        {chatml, ROW(U ",{\"role\":\"assistant\",\"content\":\"<think>r</think>b\"}"), "r:1:1:<think>r</think>|c:1:1:b|eot:1:1:<|im_end|>|", 0, -1, -1},
        {chatml, ROW(U ",{\"role\":\"assistant\",\"content\":\"b\",\"tool_calls\":[{\"f\":1}]},{\"role\":\"tool\",\"content\":\"7\"}"),
         "c:1:1:b|eot:1:1:<|im_end|>|", 0, -1, 0},
        {chatml, ROW(U ",{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"f\":1}]}"),
         "g:1:1:\n<tool_call>|call:1:1:{\"f\": 1}|g:1:1:</tool_call>|eot:1:1:<|im_end|>|", 0, -1, -1},
        {"{% for m in messages %}{{ m.role }}{% endfor %}", ROW(U ",{\"role\":\"assistant\",\"content\":\"x\"}"),
         "! t: no mask for this row: message 1 has content that left no text", 0, -1, -1},
        {"{{ messages[1].content }}{{ messages[0].content }}{{ messages[1].content }}", ROW(U ",{\"role\":\"assistant\",\"content\":\"x\"}"),
         "! t: no mask for this row: message 1 has text on both sides of another message's", 0, -1, -1},
        {"{{ '[' + messages[0].content|upper + '] ' + messages[1].content[::-1]|upper + '</s>' }}", ROW(U ",{\"role\":\"assistant\",\"content\":\"xy\"}"),
         "c:1:1:YX|eot:1:1:</s>|", 0, -1, -1},
        {"{% macro show(m) %}{% set t %}{{ m.role }}:{{ m.content.replace('a', 'AA') }}{% endset %}{{ t }}{% endmacro %}"
         "{% for m in messages %}{{ show(m) }}</s>{% endfor %}", ROW(U ",{\"role\":\"assistant\",\"content\":\"banana\"}"),
         "c:1:1:b|g:1:1:AA|c:1:1:n|g:1:1:AA|c:1:1:n|g:1:1:AA|eot:1:1:</s>|", 0, -1, -1},
        {"{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}!{% endgeneration %}{% else %}{{ m.content }}{% endif %}\n{% endfor %}",
         ROW(U ",{\"role\":\"assistant\",\"content\":\"x\"}"), "c:1:1:x|g:1:1:!|", 0, -1, -1},
        {"{% for m in messages %}{% if m.role == 'assistant' %}<a>{{ m.content }}<r>{{ messages[loop.index].content }}</r></s>{% elif m.role == 'user' %}"
         "{{ m.content }}{% endif %}{% endfor %}", ROW(U ",{\"role\":\"assistant\",\"content\":\"x\"},{\"role\":\"tool\",\"content\":\"7\"}"),
         "c:1:1:x|", 0, -1, -1},
        {chatml, "{\"continue_final_message\":true,\"messages\":[" U ",{\"role\":\"assistant\",\"content\":\"half \"}]}", "c:1:1:half|", 0, -1, -1},
    };
    static const struct str stops[] = {{"<|im_end|>", 10}, {"</s>", 4}};
    (void)state;
    check_masks(t, sizeof t / sizeof *t, stops, 2);
    check_masks(t, 2, NULL, 0); /* without stops the turn's closing text ends it */
}

static void test_plain_and_hidden(void **state)
{
    struct fix f;
    struct tmpl_mask_opts o = tmpl_mask_defaults();
    int64_t plain = 0;
    (void)state;
    open_fix(&f);
    assert_int_equal(try_row(&f, "{% for m in messages %}{{ m.keys()|list|length }}{{ m.train is defined }}<|im_end|>{{ m.content }}{% endfor %}{{ tools }}",
                             "{\"messages\":[{\"role\":\"assistant\",\"content\":\"<|im_end|>\",\"train\":true}],\"tools\":[\"<|im_end|>\"]}", &o), ERR_OK);
    assert_string_equal(f.out.p, "2False<|im_end|><|im_end|>['<|im_end|>']");
    for (int64_t i = 0; i < f.m.n_spans; i++)
        plain += f.m.spans[i].plain ? f.m.spans[i].end - f.m.spans[i].begin : 0;
    assert_int_equal(plain, 10 + 14); /* the content and the tools, not the template's own token */
    assert_int_equal(f.m.supervised, 10);
    assert_true(f.m.n_turns == 1 && f.m.turns[0].assistant && f.m.turns[0].supervised && f.m.turns[0].begin == 0);
    done(&f);
    o.which = TMPL_ALL_TEXT;
    assert_int_equal(try_row(&f, chatml, ROW(U), &o), ERR_OK);
    assert_int_equal(f.m.supervised, f.out.n);
    done(&f);
    close_fix(&f);
}

static void test_no_malloc(void **state)
{
    struct fix f;
    struct tmpl_mask_opts o = tmpl_mask_defaults();
    (void)state;
    if (!COUNTS) {
        printf("skip: mallocs are not counted under a sanitizer\n");
        return;
    }
    open_fix(&f);
    for (int i = 0; i < 4; i++)
        assert_int_equal((done(&f), try_row(&f, chatml, ROW(U ",{\"role\":\"assistant\",\"content\":\"yo\",\"weights\":[[0,1,2]]}," U), &o)), ERR_OK);
    int64_t before = n_malloc;
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(tmpl_input_json(f.r, STR(ROW(U ",{\"role\":\"assistant\",\"content\":\"yo\",\"weights\":[[0,1,2]]}," U)), &f.e), ERR_OK);
        assert_int_equal(tmpl_mask(f.r, f.t, &o, &f.out, &f.m, &f.e), ERR_OK);
        assert_int_equal(tmpl_render(f.r, f.t, &f.out, &f.e), ERR_OK);
    }
    assert_int_equal(n_malloc, before);
    done(&f);
    close_fix(&f);
}

/* ---- model folders --------------------------------------------------------------------------------------- */

static void write_file(const char *dir, const char *name, const char *text)
{
    char path[512];
    struct err e = {0};
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(file_write_atomic(path, str_of(text), &e), ERR_OK);
}

static void test_folder(void **state)
{
    char dir[] = "/tmp/hone-tmpl-XXXXXX", sub[64];
    struct tmpl_set *s;
    struct fix f;
    const struct tmpl *t;
    (void)state;
    assert_non_null(mkdtemp(dir));
    open_fix(&f);
    assert_int_equal(tmpl_load(dir, &s, &f.e), ERR_DATA);
    write_file(dir, "tokenizer_config.json", "{\"eos_token\":{\"content\":\"</s>\"},\"bos_token\":\"<s>\",\"additional_special_tokens\":[\"<a>\"],"
               "\"chat_template\":[{\"name\":\"default\",\"template\":\"D{{ bos_token }}{{ eos_token }}{{ pad_token }}{{ additional_special_tokens }}\"},"
               "{\"name\":\"tool_use\",\"template\":\"T\"}]}");
    assert_int_equal(tmpl_load(dir, &s, &f.e), ERR_OK);
    assert_int_equal(tmpl_pick(s, NULL, 0, &t, &f.e), ERR_OK);
    tmpl_run_defaults(f.r, s);
    assert_int_equal(tmpl_input_json(f.r, STR("{\"messages\":[],\"variables\":{\"bos_token\":\"B\"}}"), &f.e), ERR_OK);
    assert_int_equal(tmpl_render(f.r, t, &f.out, &f.e), ERR_OK);
    assert_string_equal(f.out.p, "DB</s>['<a>']");
    assert_int_equal(tmpl_pick(s, NULL, 1, &t, &f.e), ERR_OK);
    assert_int_equal(tmpl_render(f.r, t, &f.out, &f.e), ERR_OK);
    assert_string_equal(f.out.p, "T");
    assert_int_equal(tmpl_pick(s, "rag", 1, &t, &f.e), ERR_DATA);
    assert_true(str_eq(tmpl_special(s, "eos_token"), STR("</s>")) && tmpl_special(s, "pad_token").n == 0);
    tmpl_run_defaults(f.r, NULL);
    tmpl_set_free(s);
    write_file(dir, "chat_template.jinja", "J\n");
    snprintf(sub, sizeof sub, "%s/additional_chat_templates", dir);
    assert_int_equal(file_mkdirs(sub, &f.e), ERR_OK);
    write_file(sub, "rag.jinja", "R");
    assert_int_equal(tmpl_load(dir, &s, &f.e), ERR_OK);
    assert_int_equal(tmpl_pick(s, NULL, 0, &t, &f.e), ERR_OK);
    assert_int_equal(tmpl_render(f.r, t, &f.out, &f.e), ERR_OK);
    assert_string_equal(f.out.p, "J");
    assert_int_equal(tmpl_pick(s, "rag", 1, &t, &f.e), ERR_OK);
    tmpl_set_free(s);
    assert_int_equal(file_remove_tree(dir, &f.e), ERR_OK);
    close_fix(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values), cmocka_unit_test(test_statements), cmocka_unit_test(test_errors), cmocka_unit_test(test_masks),
        cmocka_unit_test(test_plain_and_hidden), cmocka_unit_test(test_no_malloc), cmocka_unit_test(test_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
