/* hone model: what a model or a safetensors file holds, random weights, and where two models differ. */
#include <stdio.h>

#include "cmd/cmd.h"
#include "core/file.h"
#include "model/model.h"

struct info_flags {
    int json;
};

/* One safetensors file as a JSON line; 0 when it was refused. */
static int file_line(const char *path)
{
    struct arena mem;
    struct st_file f;
    struct sbuf b;
    struct err e = {0};
    arena_init(&mem, "safetensors", 1LL << 32);
    sbuf_init(&b, 1LL << 30);
    sbuf_adds(&b, "{\"file\":");
    json_put_str(&b, str_of(path));
    err_code rc = st_open(path, &mem, &f, &e);
    if (rc != ERR_OK) {
        sbuf_adds(&b, ",\"error\":");
        json_put_str(&b, str_of(e.msg));
    } else {
        sbuf_adds(&b, ",\"metadata\":{");
        for (int64_t i = 0; i < f.n_meta; i++) {
            sbuf_adds(&b, i ? "," : "");
            json_put_str(&b, f.meta[i].key);
            sbuf_addc(&b, ':');
            json_put_str(&b, f.meta[i].value);
        }
        sbuf_adds(&b, "},\"tensors\":[");
        for (int64_t i = 0; i < f.n; i++) {
            const struct st_tensor *t = &f.tensors[i];
            sbuf_adds(&b, i ? ",{\"name\":" : "{\"name\":");
            json_put_str(&b, t->name);
            sbuf_addf(&b, ",\"dtype\":\"%s\",\"shape\":[", st_dtype_name(t->dtype));
            for (int d = 0; d < t->n_dims; d++)
                sbuf_addf(&b, "%s%llu", d ? "," : "", (unsigned long long)t->dims[d]);
            sbuf_addf(&b, "],\"bytes\":%lld}", (long long)t->bytes);
        }
        sbuf_addc(&b, ']');
        st_close(&f);
    }
    sbuf_addc(&b, '}');
    puts(b.p);
    sbuf_release(&b);
    arena_release(&mem);
    return rc == ERR_OK;
}

static int run_info(int argc, char **argv)
{
    static const struct opt_def defs[] = {
        {"", "json", OPT_BOOL, offsetof(struct info_flags, json), "false", 0, 0, NULL, "one JSON line per file"},
    };
    struct arena mem;
    struct info_flags v;
    int n = 0, done, bad = 0;
    struct cmd_flags f = {.usage = "model info FILE.safetensors ...", .about = "The tensors of safetensors files.", .defs = defs, .n = 1, .words_max = 1000};
    arena_init(&mem, "flags", 1 << 20);
    int code = cmd_parse(&f, &v, &mem, argc, argv, &n, &done);
    arena_release(&mem);
    if (done)
        return code;
    for (int i = 0; i < n; i++)
        bad += !file_line(argv[i]);
    return bad ? err_exit(ERR_LINES) : 0;
}

int cmd_model(int argc, char **argv)
{
    static const struct cmd_verb verbs[] = {
        {"info", "parameters, shapes and memory of a model folder, a config.json or a safetensors file", run_info},
    };
    return cmd_dispatch("model", verbs, 1, argc, argv);
}
