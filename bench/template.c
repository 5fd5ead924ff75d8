/* Chat templates: rows per CPU second on one thread, rendering alone and with the mask, from JSON text.
 *
 *   HONE_BENCH_TEMPLATES=DIR   *.jinja (default: two templates written here)
 * The cost per turn should not grow with the number of turns: the last column is its ratio to 10 turns. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/file.h"
#include "core/log.h"
#include "text/text.h"

static const char chatml[] =
    "{%- if messages[0]['role'] == 'system' %}\n    {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}\n"
    "{%- else %}\n    {{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}\n{%- endif %}\n"
    "{%- for message in messages %}\n"
    "    {%- if (message.role == \"user\") or (message.role == \"system\" and not loop.first) or (message.role == \"assistant\" and not "
    "message.tool_calls) %}\n"
    "        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}\n"
    "    {%- elif message.role == \"assistant\" %}\n        {{- '<|im_start|>' + message.role }}\n"
    "        {%- for tool_call in message.tool_calls %}\n            {{- '\\n<tool_call>\\n' }}{{ tool_call | tojson }}{{- '\\n</tool_call>' }}\n"
    "        {%- endfor %}\n        {{- '<|im_end|>\\n' }}\n    {%- endif %}\n{%- endfor %}\n"
    "{%- if add_generation_prompt %}\n    {{- '<|im_start|>assistant\\n' }}\n{%- endif %}\n";
static const char inst[] =
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] | trim + ' [/INST]' }}"
    "{% elif m['role'] == 'assistant' %}{{ ' ' + m['content'] | trim + ' ' + '</s>' }}{% endif %}{% endfor %}";

struct bench {
    struct tmpl_run *run;
    struct tmpl *t;
    struct sbuf text;
    struct tmpl_mask_opts opts;
};

static void die(const struct err *e)
{
    fprintf(stderr, "%s\n", e->msg);
    exit(1);
}

/* A row of `turns` messages of about 120 bytes each. */
static void make_row(struct sbuf *b, int turns)
{
    sbuf_clear(b);
    sbuf_adds(b, "{\"messages\":[");
    for (int i = 0; i < turns; i++)
        sbuf_addf(b, "%s{\"role\":\"%s\",\"content\":\"Message number %d: what is the sum of the first %d odd numbers, and why is it a square? "
                     "Please explain it\\nstep by step.\"}", i ? "," : "", i % 2 ? "assistant" : "user", i, i + 3);
    sbuf_adds(b, "]}");
}

static double rate(struct bench *x, struct str row, int mask)
{
    struct err e = {0};
    struct tmpl_mask m;
    double began = clock_cpu(), spent = 0;
    int64_t n = 0;
    do {
        for (int i = 0; i < 100; i++, n++) {
            err_code rc = tmpl_input_json(x->run, row, &e);
            if (rc == ERR_OK)
                rc = mask ? tmpl_mask(x->run, x->t, &x->opts, &x->text, &m, &e) : tmpl_render(x->run, x->t, &x->text, &e);
            if (rc != ERR_OK)
                return -1;
        }
        spent = clock_cpu() - began;
    } while (spent < 0.25);
    return (double)n / spent;
}

static void run_one(struct bench *x, struct str source, const char *name)
{
    static const int turns[] = {2, 10, 40, 160};
    struct sbuf row;
    struct err e = {0};
    double per_turn = 0;
    double began = clock_cpu();
    if (tmpl_compile(source, name, &x->t, &e) != ERR_OK)
        die(&e);
    double compile = clock_cpu() - began;
    sbuf_init(&row, 1 << 20);
    for (int i = 0; i < 4; i++) {
        make_row(&row, turns[i]);
        double plain = rate(x, sbuf_str(&row), 0), mask = rate(x, sbuf_str(&row), 1);
        if (turns[i] == 10)
            per_turn = mask * 10;
        if (plain < 0 || mask < 0)
            printf("%-40s %5d  refused\n", name, turns[i]);
        else if (per_turn > 0)
            printf("%-40s %5d %12.0f %12.0f %10.0f %8.2f\n", name, turns[i], plain, mask, (double)x->text.n * mask / 1e6, per_turn / (mask * turns[i]));
        else
            printf("%-40s %5d %12.0f %12.0f %10.0f   compile %.0f us\n", name, turns[i], plain, mask, (double)x->text.n * mask / 1e6, compile * 1e6);
    }
    sbuf_release(&row);
    tmpl_free(x->t);
}

int main(void)
{
    struct bench x = {.opts = tmpl_mask_defaults()};
    static const struct str stops[] = {{"<|im_end|>", 10}, {"</s>", 4}, {"<|eot_id|>", 10}};
    struct err e = {0};
    const char *dir = getenv("HONE_BENCH_TEMPLATES");
    x.opts.stops = stops;
    x.opts.n_stops = 3;
    if (tmpl_run_new(NULL, &x.run, &e) != ERR_OK)
        die(&e);
    sbuf_init(&x.text, 1 << 30);
    printf("%-40s %5s %12s %12s %10s %8s\n", "template", "turns", "rows/s", "with mask", "MB/s", "per turn");
    run_one(&x, str_of(chatml), "chatml with tools");
    run_one(&x, str_of(inst), "[INST]");
    DIR *d = dir ? opendir(dir) : NULL;
    for (struct dirent *it; d && (it = readdir(d));) {
        char path[4096];
        struct sbuf b;
        if (!str_ends(str_of(it->d_name), STR(".jinja")))
            continue;
        snprintf(path, sizeof path, "%s/%s", dir, it->d_name);
        sbuf_init(&b, 8 << 20);
        if (file_read(path, &b, &e) != ERR_OK)
            die(&e);
        run_one(&x, sbuf_str(&b), it->d_name);
        sbuf_release(&b);
    }
    if (d)
        closedir(d);
    sbuf_release(&x.text);
    tmpl_run_free(x.run);
    return 0;
}
