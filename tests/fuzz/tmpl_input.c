/* Fuzz target: rows. Whatever the bytes, a row is read or refused, and what was read renders with a mask
 * whose spans cover the text. Catches: crashes in the JSON reader, wrong origins. */
#include <stdint.h>
#include <stdlib.h>

#include "text/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char source[] =
    "{%- set ns = namespace(n=0) %}{% for m in messages %}{{ '<' + m.role + '>' }}{% if m.role == 'assistant' %}"
    "{% if m.reasoning_content %}<think>{{ m.reasoning_content | trim }}</think>{% endif %}{{ m.content.split('</think>')[-1] | trim }}"
    "{% for c in m.tool_calls or [] %}{{ c | tojson }}{{ c.function }}{% endfor %}<end>{% else %}"
    "{{ m.content if m.content is string else m.content | tojson(indent=1) }}{% endif %}{% set ns.n = ns.n + 1 %}{% endfor %}"
    "{{ tools }}{{ documents | string | upper }}{% if add_generation_prompt %}<assistant>{% endif %}{{ x }}{{ ns.n }}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct tmpl_limits lim = {.steps = 2000000, .memory = 64 << 20, .output = 4 << 20, .depth = 100};
    static struct tmpl *t;
    static struct tmpl_run *r;
    static struct sbuf out;
    struct err e = {0};
    struct tmpl_mask m;
    struct tmpl_mask_opts o = tmpl_mask_defaults();
    struct str stop = STR("<end>");
    if (!t) {
        if (tmpl_compile(str_of(source), "fuzz", &t, &e) != ERR_OK || tmpl_run_new(&lim, &r, &e) != ERR_OK)
            abort();
        sbuf_init(&out, 8 << 20);
    }
    o.stops = &stop;
    o.n_stops = 1;
    if (tmpl_input_json(r, (struct str){(const char *)data, (int64_t)size}, &e) != ERR_OK)
        return 0;
    if (tmpl_render(r, t, &out, &e) != ERR_OK)
        return 0;
    int64_t n = out.n, at = 0;
    if (utf8_check(sbuf_str(&out)) >= 0)
        abort();
    if (tmpl_mask(r, t, &o, &out, &m, &e) != ERR_OK)
        return 0;
    for (int64_t i = 0; i < m.n_spans; at = m.spans[i++].end)
        if (m.spans[i].begin != at || m.spans[i].end <= at || m.spans[i].message >= m.n_turns)
            abort();
    if (at != out.n || (out.n != n && n == at))
        abort();
    return 0;
}
