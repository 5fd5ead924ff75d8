/* hone model: what a model or a safetensors file holds, random weights, and where two models differ. */
#include <math.h>
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

/* A published FP8 file: linears of the layers in one byte with a scale per 128 x 128 block, the rest in bf16. */
static double fp8_bytes(const struct model_config *c)
{
    double linear = 0;
    for (int64_t l = 0; l < c->layers; l++) {
        struct model_layer_size s = model_layer_size(c, l);
        linear += (double)(s.attention + s.inner + s.shared) + (double)s.expert * (double)c->experts;
    }
    return linear * (1 + 4.0 / (128 * 128)) + 2 * ((double)model_size(c).params - linear);
}

static void print_config(const char *path, const struct model_config *c)
{
    struct model_size z = model_size(c);
    static const char *const rope[] = {[KERN_ROPE_DEFAULT] = "plain", [KERN_ROPE_LINEAR] = "linear", [KERN_ROPE_LLAMA3] = "llama3", [KERN_ROPE_YARN] = "yarn"};
    printf("model       %s (%s) from %s\n", c->type, c->architecture, path);
    printf("shape       %lld layers, %lld wide, %lld heads (%lld of keys and values) of %lld, inner %lld, vocabulary %lld%s\n", (long long)c->layers, (long long)c->hidden,
           (long long)c->heads, (long long)c->kv_heads, (long long)c->head_dim, (long long)c->inter, (long long)c->vocab, c->tied ? ", tied" : "");
    if (c->kv_lora)
        printf("attention   latent: queries %lld, keys and values %lld + %lld rotary; per head %lld + %lld, values %lld\n", (long long)c->q_lora, (long long)c->kv_lora, (long long)c->d_rope,
               (long long)c->d_nope, (long long)c->d_rope, (long long)c->d_v);
    if (c->experts)
        printf("experts     %lld of %lld, %lld per token by %s, %lld shared, %lld of %lld groups, first %lld layers dense\n", (long long)c->experts, (long long)c->expert_inter,
               (long long)c->top_k, c->router_softmax ? "softmax" : "sigmoid", (long long)c->shared, (long long)c->top_groups, (long long)c->groups, (long long)c->first_dense);
    printf("positions   %lld, rope %s, theta %g\n", (long long)c->max_position, rope[c->rope.type], c->rope.theta);
    printf("parameters  %lld (%.2f B), of them embedding and head %lld\n", (long long)z.params, (double)z.params / 1e9, (long long)z.embed);
    printf("activated   %lld (%.2f B) per token, without the embedding table\n", (long long)z.active, (double)z.active / 1e9);
    if (c->mtp)
        printf("mtp         %lld (%.2f B) more in %lld layers\n", (long long)z.mtp, (double)z.mtp / 1e9, (long long)c->mtp);
    printf("weights     %.2f GiB in f32, %.2f GiB in bf16, %.2f GiB in fp8\n", (double)z.params * 4 / (1 << 30), (double)z.params * 2 / (1 << 30), fp8_bytes(c) / (1 << 30));
    printf("cache       %lld bytes (%.1f KB) per token in bf16, %lld in f32\n", (long long)z.kv_numbers * 2, (double)z.kv_numbers * 2 / 1e3, (long long)z.kv_numbers * 4);
    printf("training    %.2f GiB for f32 weights, gradient, bf16 moments and bf16 packs, without activations\n", (double)z.params * 14 / (1 << 30));
    printf("forward     %.4f GFLOP per token without context, %.4f at %lld\n", model_flops(c, 0) / 1e9, model_flops(c, (double)c->max_position) / 1e9, (long long)c->max_position);
}

static void print_config_json(const char *path, const struct model_config *c)
{
    struct model_size z = model_size(c);
    struct sbuf b;
    sbuf_init(&b, 1 << 20);
    sbuf_adds(&b, "{\"model\":");
    json_put_str(&b, str_of(path));
    sbuf_addf(&b, ",\"type\":\"%s\",\"layers\":%lld,\"hidden\":%lld,\"vocab\":%lld,\"params\":%lld,\"active\":%lld,\"mtp\":%lld,\"embed\":%lld,\"kv_bytes_bf16\":%lld,\"flops\":%.0f,"
                  "\"weight_bytes\":{\"f32\":%lld,\"bf16\":%lld,\"fp8\":%.0f}}", c->type,
              (long long)c->layers, (long long)c->hidden, (long long)c->vocab, (long long)z.params, (long long)z.active, (long long)z.mtp, (long long)z.embed, (long long)z.kv_numbers * 2, model_flops(c, 0),
              (long long)z.params * 4, (long long)z.params * 2, fp8_bytes(c));
    puts(b.p);
    sbuf_release(&b);
}

static int config_info(const char *path, int json)
{
    struct model_config c;
    struct err e = {0};
    if (model_config_read(path, &c, &e) != ERR_OK)
        return cmd_fail(&e);
    (json ? print_config_json : print_config)(path, &c);
    return 0;
}

static int run_info(int argc, char **argv)
{
    static const struct opt_def defs[] = {
        {"", "json", OPT_BOOL, offsetof(struct info_flags, json), "false", 0, 0, NULL, "one JSON line per argument"},
    };
    struct arena mem;
    struct info_flags v;
    int n = 0, done, code = 0;
    struct cmd_flags f = {.usage = "model info [--json] DIR|config.json|FILE.safetensors ...",
                          .about = "Parameters, memory and shape of a model from its config.json alone; of a safetensors file its tensors (one JSON line).",
                          .defs = defs, .n = 1, .words_max = 100000};
    arena_init(&mem, "flags", 1 << 20);
    int flags = cmd_parse(&f, &v, &mem, argc, argv, &n, &done);
    arena_release(&mem);
    if (done)
        return flags;
    if (n == 0) {
        fprintf(stderr, "usage: hone %s (try --help)\n", f.usage);
        return err_exit(ERR_USAGE);
    }
    for (int i = 0; i < n; i++) {
        int rc = str_ends(str_of(argv[i]), STR(".safetensors")) ? (file_line(argv[i]) ? 0 : err_exit(ERR_LINES)) : config_info(argv[i], v.json);
        code = rc ? rc : code;
    }
    return code;
}

/* ---- init --------------------------------------------------------------------------------- */

struct init_flags {
    int64_t seed, shard_bytes;
    const char *tokenizer, *dtype;
};

static enum model_dtype dtype_of(const char *name)
{
    return !strcmp(name, "bf16") ? MODEL_BF16 : !strcmp(name, "fp8") ? MODEL_FP8 : MODEL_F32;
}

static err_code init(char **words, const struct init_flags *v, struct err *e)
{
    const char *config = words[0], *dir = words[1];
    struct model_config c;
    struct kern *k;
    struct model *m;
    TRY(model_config_read(config, &c, e));
    if (file_exists(dir) && !file_is_dir(dir))
        return err_set(e, ERR_IO, "'%s' is a file", dir);
    TRY(kern_open(&(struct kern_opts){.backend = "cpu"}, &k, e));
    err_code rc = model_create(k, &c, (uint64_t)v->seed, &(struct model_opts){.prec = KERN_F32, .train = 1}, &m, e);
    if (rc == ERR_OK) {
        char digest[33];
        if (v->tokenizer[0])
            rc = model_take_files(m, v->tokenizer, e);
        if (rc == ERR_OK)
            rc = model_save(m, dir, dtype_of(v->dtype), v->shard_bytes, e);
        model_digest(m, digest);
        if (rc == ERR_OK)
            printf("%s  %s  %lld parameters\n", digest, dir, (long long)model_size(&c).params);
        model_close(m);
    }
    kern_close(k);
    return rc;
}

/* A command of two words and these flags. */
static int two_words(const struct cmd_flags *f, err_code (*run)(char **words, const struct init_flags *v, struct err *e), int argc, char **argv)
{
    struct arena mem;
    struct init_flags v;
    struct err e = {0};
    int n = 0, done;
    arena_init(&mem, "flags", 1 << 20);
    int code = cmd_parse(f, &v, &mem, argc, argv, &n, &done);
    if (!done && n != 2) {
        fprintf(stderr, "usage: hone %s (try --help)\n", f->usage);
        code = err_exit(ERR_USAGE);
    } else if (!done) {
        code = run(argv, &v, &e) == ERR_OK ? 0 : cmd_fail(&e);
    }
    arena_release(&mem);
    return code;
}

static int run_init(int argc, char **argv)
{
    static const struct opt_def defs[] = {
        {"", "seed", OPT_INT, offsetof(struct init_flags, seed), "1", 0, 9e15, NULL, "of the random weights"},
        {"", "tokenizer", OPT_STR, offsetof(struct init_flags, tokenizer), "", 0, 0, NULL, "folder whose tokenizer and template files are copied"},
        {"", "dtype", OPT_ENUM, offsetof(struct init_flags, dtype), "f32", 0, 0, "f32|bf16|fp8", "of the written weights"},
        {"", "shard-bytes", OPT_INT, offsetof(struct init_flags, shard_bytes), "5000000000", 1, 1e15, NULL, "largest file; above it the weights are sharded"},
    };
    return two_words(&(struct cmd_flags){.usage = "model init CONFIG.json DIR --seed N", .about = "A Hugging Face folder with random weights: normal(0, initializer_range), outputs of attention and MLP\n"
                     "scaled by 1/sqrt(2 layers), norms 1, biases 0. The same config and seed give the same bytes.", .defs = defs, .n = 4, .words_max = 2}, init, argc, argv);
}

/* ---- convert ------------------------------------------------------------------------------ */

static err_code convert(char **dirs, const struct init_flags *v, struct err *e)
{
    struct kern *k;
    struct model *m;
    TRY(kern_open(&(struct kern_opts){.backend = "cpu"}, &k, e));
    /* opened in fp8, a folder's own bytes go into an fp8 one unchanged */
    enum kern_prec prec = dtype_of(v->dtype) == MODEL_FP8 ? KERN_FP8 : KERN_F32;
    err_code rc = model_open(k, dirs[0], &(struct model_opts){.prec = prec, .train = 1}, &m, e);
    if (rc == ERR_OK) {
        rc = model_save(m, dirs[1], dtype_of(v->dtype), v->shard_bytes, e);
        model_close(m);
    }
    kern_close(k);
    return rc;
}

static int run_convert(int argc, char **argv)
{
    static const struct opt_def defs[] = {
        {"", "dtype", OPT_ENUM, offsetof(struct init_flags, dtype), "bf16", 0, 0, "f32|bf16|fp8", "of the written weights"},
        {"", "shard-bytes", OPT_INT, offsetof(struct init_flags, shard_bytes), "5000000000", 1, 1e15, NULL, "largest file; above it the weights are sharded"},
    };
    return two_words(&(struct cmd_flags){.usage = "model convert DIR OUT --dtype f32|bf16|fp8", .about = "A model folder in another number format. fp8: the linears as E4M3 with weight_scale_inv\n"
                     "per block of 128 x 128, everything else bf16, as DeepSeek-V3 was released.", .defs = defs, .n = 2, .words_max = 2}, convert, argc, argv);
}

/* ---- diff --------------------------------------------------------------------------------- */

/* Tensors of two models, compared as f32. */
static int diff_params(const struct model *a, const struct model *b)
{
    int64_t n, nb, differing = 0;
    const struct model_param *p = model_params(a, &n), *q = model_params(b, &nb);
    for (int64_t i = 0; i < n; i++) {
        int64_t count = 0, first = -1;
        double most = 0;
        for (int64_t j = 0; j < p[i].n; j++) {
            if (!memcmp(&p[i].w[j], &q[i].w[j], 4))
                continue;
            double d = (double)p[i].w[j] - (double)q[i].w[j];
            most = fmax(most, fabs(d));
            first = first < 0 ? j : first;
            count++;
        }
        if (count)
            printf("! %s  %lld of %lld differ, most by %.6g, first at [%lld, %lld]\n", p[i].name, (long long)count, (long long)p[i].n, most, (long long)(first / p[i].cols),
                   (long long)(first % p[i].cols));
        differing += count > 0;
    }
    printf("%lld of %lld tensors differ\n", (long long)differing, (long long)n);
    return differing ? err_exit(ERR_MISMATCH) : 0;
}

static int same_params(const struct model *a, const struct model *b)
{
    int64_t na, nb;
    const struct model_param *p = model_params(a, &na), *q = model_params(b, &nb);
    for (int64_t i = 0; i < na && na == nb; i++)
        if (strcmp(p[i].name, q[i].name) || p[i].rows != q[i].rows || p[i].cols != q[i].cols)
            return 0;
    return na == nb;
}

static err_code diff(char **dirs, int *code, struct err *e)
{
    struct kern *k;
    struct model *m[2] = {NULL, NULL};
    const struct model_opts o = {.prec = KERN_F32, .train = 1};
    TRY(kern_open(&(struct kern_opts){.backend = "cpu"}, &k, e));
    err_code rc = model_open(k, dirs[0], &o, &m[0], e);
    if (rc == ERR_OK)
        rc = model_open(k, dirs[1], &o, &m[1], e);
    if (rc == ERR_OK && !same_params(m[0], m[1]))
        rc = err_set(e, ERR_MISMATCH, "'%s' and '%s' do not have the same tensors and shapes", dirs[0], dirs[1]);
    if (rc == ERR_OK)
        *code = diff_params(m[0], m[1]);
    model_close(m[0]);
    model_close(m[1]);
    kern_close(k);
    return rc;
}

static int run_diff(int argc, char **argv)
{
    struct arena mem;
    struct info_flags v;
    struct err e = {0};
    int n = 0, done;
    struct cmd_flags f = {.usage = "model diff A B", .about = "Tensors of two model folders that differ, compared as f32. Exit code 10 when any does.", .words_max = 2};
    arena_init(&mem, "flags", 1 << 20);
    int code = cmd_parse(&f, &v, &mem, argc, argv, &n, &done);
    arena_release(&mem);
    if (done)
        return code;
    if (n != 2) {
        fprintf(stderr, "usage: hone %s (try --help)\n", f.usage);
        return err_exit(ERR_USAGE);
    }
    return diff(argv, &code, &e) == ERR_OK ? code : cmd_fail(&e);
}

int cmd_model(int argc, char **argv)
{
    static const struct cmd_verb verbs[] = {
        {"info", "parameters, shapes and memory of a model folder or config.json; tensors of a safetensors file", run_info},
        {"init", "a folder with random weights from a config.json", run_init},
        {"convert", "a folder in another number format: f32, bf16 or fp8", run_convert},
        {"diff", "tensors of two folders that differ", run_diff},
    };
    return cmd_dispatch("model", verbs, 4, argc, argv);
}
