/* Writing a Hugging Face folder. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/json.h"
#include "model/impl.h"

struct saver {
    const struct model *m;
    struct arena mem;
    struct st_tensor *t;       /* [n] parameters, then copies in MTP layers */
    int *shard;                /* [n] */
    int64_t n;
    int n_shards;
    enum model_dtype dtype;
    int64_t codes_of;          /* parameter whose FP8 bytes are in codes and scale, -1 = none */
    uint8_t *codes;
    float *scale;
    char name[64];             /* of a shard */
    const char *dir;
};

static uint16_t to_bf16(float f)
{
    uint32_t b;
    memcpy(&b, &f, 4);
    return (uint16_t)((b + 0x7fff + (b >> 16 & 1)) >> 16); /* nearest even; weights are finite */
}

static int is_scale(const struct st_tensor *t)
{
    return str_ends(t->name, STR("_scale_inv"));
}

static void read_fp8(struct saver *s, const struct st_tensor *t, int64_t at, int64_t n, void *buf)
{
    const struct model_param *q = t->data;
    int64_t p = q - s->m->params;
    if (s->codes_of != p)
        model_param_codes(s->m, p, s->codes, s->scale);
    s->codes_of = p;
    memcpy(buf, (is_scale(t) ? (const char *)s->scale : (const char *)s->codes) + at, (size_t)n);
}

static void read_tensor(void *ctx, const struct st_tensor *t, int64_t at, int64_t n, void *buf)
{
    const struct saver *s = ctx;
    const struct model_param *p = t->data; /* see plan() */
    if (t->dtype == ST_F8_E4M3 || is_scale(t)) {
        read_fp8(ctx, t, at, n, buf);
        return;
    }
    if (t->dtype == ST_F32) {
        kern_get(s->m->k, buf, p->w + at / 4, n);
        return;
    }
    enum { STEP = 4096 };
    float f[STEP];
    uint16_t *out = buf;
    for (int64_t i = 0; i < n / 2; i += STEP) {
        int64_t k = n / 2 - i < STEP ? n / 2 - i : STEP;
        kern_get(s->m->k, f, p->w + at / 2 + i, k * 4);
        for (int64_t j = 0; j < k; j++)
            out[i + j] = to_bf16(f[j]);
    }
}

static void shard_name(struct saver *s, int i)
{
    if (s->n_shards == 1)
        snprintf(s->name, sizeof s->name, "model.safetensors");
    else
        snprintf(s->name, sizeof s->name, "model-%05d-of-%05d.safetensors", i + 1, s->n_shards);
}

static void add_one(struct saver *s, const char *name, const struct model_param *q, enum st_dtype dtype, int64_t rows, int64_t cols)
{
    uint64_t *dims = ARENA_NEW(&s->mem, uint64_t, 2);
    dims[0] = (uint64_t)rows, dims[1] = (uint64_t)cols;
    s->t[s->n++] = (struct st_tensor){.name = str_of(name), .dtype = dtype, .n_dims = q->cols > 1 ? 2 : 1, .dims = dims, .data = q,
                                      .bytes = rows * cols * st_dtype_bits(dtype) / 8};
}

/* The selection bias stays f32 in every file: steps of the balance are below bf16's. */
static void add_tensor(struct saver *s, const char *name, const struct model_param *q)
{
    int narrow = s->dtype != MODEL_F32 && !str_ends(str_of(name), STR("e_score_correction_bias"));
    add_one(s, name, q, narrow ? ST_BF16 : ST_F32, q->rows, q->cols);
}

static void add_fp8(struct saver *s, const struct model_param *q)
{
    char name[192];
    snprintf(name, sizeof name, "%s_scale_inv", q->name);
    add_one(s, q->name, q, ST_F8_E4M3, q->rows, q->cols);
    add_one(s, str_dup(&s->mem, str_of(name)).p, q, ST_F32, (q->rows + 127) / 128, (q->cols + 127) / 128);
}

/* Published MTP layers hold the embedding and the head again; programs that load such a layer alone want them. */
static void add_copies(struct saver *s, int64_t layer)
{
    char name[96];
    snprintf(name, sizeof name, "model.layers.%lld.embed_tokens.weight", (long long)layer);
    add_tensor(s, str_dup(&s->mem, str_of(name)).p, &s->m->params[s->m->embed]);
    snprintf(name, sizeof name, "model.layers.%lld.shared_head.head.weight", (long long)layer);
    add_tensor(s, str_dup(&s->mem, str_of(name)).p, &s->m->params[s->m->head.first]);
}

/* Tensors in parameter order fill shards until the next would pass the size. */
static void plan(struct saver *s, int64_t shard_bytes)
{
    const struct model *m = s->m;
    int64_t in_shard = 0, most = 2 * m->n_params + 2 * m->conf.mtp, widest = 0;
    s->t = ARENA_NEW(&s->mem, struct st_tensor, most);
    s->shard = ARENA_NEW(&s->mem, int, most);
    s->n_shards = 1;
    for (int64_t p = 0; p < m->n_params; p++) {
        if (s->dtype == MODEL_FP8 && model_is_fp8_param(m, p)) {
            add_fp8(s, &m->params[p]);
            widest = m->params[p].n > widest ? m->params[p].n : widest;
        } else {
            add_tensor(s, m->params[p].name, &m->params[p]);
        }
    }
    s->codes = ARENA_NEW(&s->mem, uint8_t, widest + 1);
    s->scale = ARENA_NEW(&s->mem, float, widest + 1); /* blocks may be short: at most one per number */
    for (int64_t k = 0; k < m->conf.mtp; k++)
        add_copies(s, m->conf.layers + k);
    for (int64_t i = 0; i < s->n; i++) {
        if (in_shard && in_shard + s->t[i].bytes > shard_bytes)
            s->n_shards++, in_shard = 0;
        in_shard += s->t[i].bytes;
        s->shard[i] = s->n_shards - 1;
    }
}

static err_code write_shards(struct saver *s, struct err *e)
{
    char path[PATH_MAX];
    for (int i = 0; i < s->n_shards; i++) {
        int64_t first = 0, n = 0;
        for (int64_t p = 0; p < s->n; p++) {
            first += s->shard[p] < i;
            n += s->shard[p] == i;
        }
        shard_name(s, i);
        if (snprintf(path, sizeof path, "%s/%s", s->dir, s->name) >= (int)sizeof path)
            return err_set(e, ERR_IO, "'%s': the path is too long", s->dir);
        TRY(st_write(path, &(struct st_source){.t = s->t + first, .n = n, .read = read_tensor, .ctx = s}, e));
    }
    return ERR_OK;
}

static err_code write_text(const char *dir, const char *name, struct str text, struct err *e)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path)
        return err_set(e, ERR_IO, "'%s': the path is too long", dir);
    return file_write_atomic(path, text, e);
}

static err_code write_json(const char *dir, const char *name, const json_t *o, struct err *e)
{
    char *text = json_dumps(o, JSON_INDENT(2));
    if (!text)
        return err_set(e, ERR_LIMIT, "memory is short");
    size_t n = strlen(text);
    text[n] = '\n'; /* in place of the NUL */
    err_code rc = write_text(dir, name, (struct str){text, (int64_t)n + 1}, e);
    free(text);
    return rc;
}

static err_code write_index(struct saver *s, struct err *e)
{
    json_t *map = json_object(), *o = json_object();
    int64_t total = 0;
    for (int64_t p = 0; p < s->n; p++) {
        shard_name(s, s->shard[p]);
        json_object_set_new(map, s->t[p].name.p, json_string(s->name));
        total += s->t[p].bytes;
    }
    json_object_set_new(o, "metadata", json_pack("{s:I}", "total_size", (json_int_t)total));
    json_object_set_new(o, "weight_map", map);
    err_code rc = write_json(s->dir, "model.safetensors.index.json", o, e);
    json_decref(o);
    return rc;
}

/* An index left from an earlier, sharded save would win over model.safetensors. */
static err_code drop_index(struct saver *s, struct err *e)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/model.safetensors.index.json", s->dir) >= (int)sizeof path)
        return err_set(e, ERR_IO, "'%s': the path is too long", s->dir);
    return file_remove_tree(path, e);
}

/* An extension that model_open made, in place of what the source says. */
static void put_extension(json_t *o, const struct model_config *c)
{
    json_t *now = model_config_json(c);
    json_object_del(o, "rope_parameters");
    static const char *const keys[] = {"rope_theta", "rope_scaling", "max_position_embeddings"};
    for (int i = 0; i < 3; i++)
        json_object_set(o, keys[i], json_object_get(now, keys[i]));
    json_decref(now);
}

static err_code write_config(struct saver *s, struct err *e)
{
    json_t *o = s->m->source ? json_deep_copy(s->m->source) : model_config_json(&s->m->conf);
    json_object_del(o, "dtype"); /* transformers 5 writes this one, 4 the other; both read the older */
    if (s->m->conf.mtp || json_object_get(o, "num_nextn_predict_layers"))
        json_object_set_new(o, "num_nextn_predict_layers", json_integer(s->m->conf.mtp)); /* what is in the files */
    if (s->m->source && s->m->opts.extend.factor > 0)
        put_extension(o, &s->m->conf);
    json_object_set_new(o, "torch_dtype", json_string(s->dtype == MODEL_F32 ? "float32" : "bfloat16"));
    json_object_del(o, "quantization_config"); /* the source's */
    if (s->dtype == MODEL_FP8)
        json_object_set_new(o, "quantization_config", json_pack("{s:s, s:s, s:s, s:[i, i]}", "quant_method", "fp8", "fmt", "e4m3", "activation_scheme", "dynamic",
                                                                "weight_block_size", 128, 128));
    err_code rc = write_json(s->dir, "config.json", o, e);
    json_decref(o);
    return rc;
}

err_code model_save(const struct model *m, const char *dir, enum model_dtype dtype, int64_t shard_bytes, struct err *e)
{
    struct saver s = {.m = m, .dtype = dtype, .dir = dir, .codes_of = -1};
    if (!m->opts.train)
        return err_set(e, ERR_UNSUPPORTED, "cannot save '%s': this model was opened without its f32 weights", dir);
    TRY(file_mkdirs(dir, e));
    arena_init(&s.mem, "save", 1LL << 34);
    plan(&s, shard_bytes > 0 ? shard_bytes : 5000000000);
    err_code rc = write_shards(&s, e);
    if (rc == ERR_OK)
        rc = s.n_shards > 1 ? write_index(&s, e) : drop_index(&s, e);
    for (int i = 0; i < m->n_extras && rc == ERR_OK; i++)
        rc = write_text(dir, m->extras[i].name, (struct str){m->extras[i].bytes, m->extras[i].n}, e);
    if (rc == ERR_OK)
        rc = write_config(&s, e); /* last: a folder with a config.json is complete */
    arena_release(&s.mem);
    return rc;
}
