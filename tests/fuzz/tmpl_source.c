/* Fuzz target: template source. Whatever the bytes, compiling and rendering a fixed row ends with text or an
 * error; the mask's spans cover the text without gaps. Catches: crashes, endless loops, deep recursion. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "text/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char row[] = "{\"messages\":[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":\"h\\u00e9 <b>\"},"
                          "{\"role\":\"assistant\",\"content\":\"<think>a</think>b\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":{\"x\":1.5}}}]},"
                          "{\"role\":\"tool\",\"content\":\"7\"}],\"tools\":[{\"name\":\"f\"}],\"variables\":{\"n\":3,\"s\":\"text\",\"l\":[1,2,3]}}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct tmpl_limits lim = {.steps = 200000, .memory = 32 << 20, .output = 1 << 20, .depth = 60};
    struct err e = {0};
    struct tmpl *t;
    struct tmpl_run *r;
    struct tmpl_mask m;
    struct sbuf out;
    struct tmpl_mask_opts o = tmpl_mask_defaults();
    if (tmpl_compile((struct str){(const char *)data, (int64_t)size}, "fuzz", &t, &e) != ERR_OK)
        return 0;
    if (tmpl_run_new(&lim, &r, &e) != ERR_OK)
        abort();
    sbuf_init(&out, 1 << 20);
    if (tmpl_run_now(r, "2024-09-17T12:34:56", &e) != ERR_OK || tmpl_input_json(r, str_of(row), &e) != ERR_OK)
        abort();
    err_code rc = tmpl_render(r, t, &out, &e);
    int64_t n = out.n;
    if (rc == ERR_OK && tmpl_mask(r, t, &o, &out, &m, &e) == ERR_OK) {
        int64_t at = 0;
        for (int64_t i = 0; i < m.n_spans; at = m.spans[i++].end)
            if (m.spans[i].begin != at || m.spans[i].end <= at)
                abort();
        if (at != out.n || out.n != n)
            abort();
    }
    sbuf_release(&out);
    tmpl_run_free(r);
    tmpl_free(t);
    return 0;
}
