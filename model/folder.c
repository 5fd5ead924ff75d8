/* Opening a Hugging Face folder: shards, checks, the small files beside the weights. */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "core/json.h"
#include "core/log.h"
#include "core/rng.h"
#include "model/impl.h"

enum { MAX_SHARDS = 1024, MAX_EXTRA = 64 << 20 };

struct shards {
    const char *dir;
    struct arena mem;
    struct st_file *files;
    char (*paths)[PATH_MAX];
    int n;
    const struct st_tensor **of; /* [n_params] */
    const struct st_tensor **scale; /* [n_params] of FP8 tensors */
    const struct model_param *params;
    int fp8;                   /* config.json says so */
    int64_t benign;            /* tensors that are known to be redundant */
};

static void shards_close(struct shards *s)
{
    for (int i = 0; i < s->n; i++)
        st_close(&s->files[i]);
    arena_release(&s->mem);
}

static err_code add_shard(struct shards *s, const char *name, struct err *e)
{
    if (s->n == MAX_SHARDS)
        return err_set(e, ERR_LIMIT, "'%s': more than %d shards", s->dir, MAX_SHARDS);
    if (strchr(name, '/') || snprintf(s->paths[s->n], PATH_MAX, "%s/%s", s->dir, name) >= PATH_MAX)
        return err_set(e, ERR_DATA, "'%s': '%s' is no name of a shard", s->dir, name);
    TRY(st_open(s->paths[s->n], &s->mem, &s->files[s->n], e));
    s->n++;
    return ERR_OK;
}

static int shard_of(const struct shards *s, const char *name)
{
    for (int i = 0; i < s->n; i++)
        if (!strcmp(strrchr(s->paths[i], '/') + 1, name))
            return i;
    return -1;
}

/* model.safetensors.index.json: every tensor it maps must be in its file. */
static err_code open_index(struct shards *s, const char *index, struct err *e)
{
    json_t *o, *v;
    const char *tensor;
    err_code rc = ERR_OK;
    TRY(json_load(index, 256 << 20, &o, e));
    json_t *map = json_object_get(o, "weight_map");
    if (!json_is_object(map))
        rc = err_set(e, ERR_DATA, "'%s': \"weight_map\" is missing", index);
    json_object_foreach(map, tensor, v) {
        if (rc != ERR_OK)
            break;
        if (!json_is_string(v)) {
            rc = err_set(e, ERR_DATA, "'%s': the file of '%s' is not a string", index, tensor);
            break;
        }
        const char *name = json_string_value(v);
        int i = shard_of(s, name);
        if (i < 0 && (rc = add_shard(s, name, e)) == ERR_OK)
            i = s->n - 1;
        if (rc == ERR_OK && !st_find(&s->files[i], str_of(tensor)))
            rc = err_set(e, ERR_DATA, "'%s' says that tensor '%s' is in '%s', but it is not", index, tensor, name);
    }
    json_decref(o);
    return rc;
}

static err_code shards_open(const char *dir, struct shards *s, struct err *e)
{
    char path[PATH_MAX];
    *s = (struct shards){.dir = dir};
    arena_init(&s->mem, "safetensors headers", 4LL << 30);
    s->files = ARENA_NEW(&s->mem, struct st_file, MAX_SHARDS);
    s->paths = arena_alloc(&s->mem, MAX_SHARDS, PATH_MAX);
    if (snprintf(path, sizeof path, "%s/model.safetensors.index.json", dir) < (int)sizeof path && file_exists(path))
        return open_index(s, path, e);
    return add_shard(s, "model.safetensors", e);
}

/* ---- tensors and parameters ------------------------------------------------------------------ */

static err_code check_tensor(const struct shards *s, const struct model_param *p, const struct st_tensor *t, struct err *e)
{
    int want = p->cols > 1 ? 2 : 1;
    int same = t->n_dims == want && t->dims[0] == (uint64_t)p->rows && (want == 1 || t->dims[1] == (uint64_t)p->cols);
    if (t->dtype != ST_F32 && t->dtype != ST_BF16 && t->dtype != ST_F16 && !(s->fp8 && t->dtype == ST_F8_E4M3 && want == 2))
        return err_set(e, ERR_UNSUPPORTED, "'%s': tensor '%s' is %s (F32, BF16, F16 are supported)", s->dir, p->name, st_dtype_name(t->dtype));
    if (same)
        return ERR_OK;
    char got[200] = "";
    for (int d = 0, at = 0; d < t->n_dims && at < 150; d++)
        at += snprintf(got + at, sizeof got - (size_t)at, "%s%llu", d ? ", " : "", (unsigned long long)t->dims[d]);
    if (want == 2)
        return err_set(e, ERR_DATA, "'%s': tensor '%s' has shape [%s], config.json gives [%lld, %lld]", s->dir, p->name, got, (long long)p->rows, (long long)p->cols);
    return err_set(e, ERR_DATA, "'%s': tensor '%s' has shape [%s], config.json gives [%lld]", s->dir, p->name, got, (long long)p->rows);
}

static int64_t blocks(int64_t n)
{
    return (n + 127) / 128;
}

/* An FP8 tensor has its multipliers beside it, one per block of 128 x 128, and no other has any. */
static err_code check_scale(const struct shards *s, const struct model_param *p, const struct st_tensor *t, const struct st_tensor *scale, struct err *e)
{
    if (t->dtype != ST_F8_E4M3 && scale)
        return err_set(e, ERR_DATA, "'%s': tensor '%s_scale_inv' scales '%s', which is %s", s->dir, p->name, p->name, st_dtype_name(t->dtype));
    if (t->dtype != ST_F8_E4M3)
        return ERR_OK;
    if (!scale)
        return err_set(e, ERR_DATA, "'%s': tensor '%s' is F8_E4M3, but its scales '%s_scale_inv' are missing", s->dir, p->name, p->name);
    if (scale->dtype != ST_F32 || scale->n_dims != 2 || scale->dims[0] != (uint64_t)blocks(p->rows) || scale->dims[1] != (uint64_t)blocks(p->cols))
        return err_set(e, ERR_DATA, "'%s': tensor '%s_scale_inv' must be F32 of shape [%lld, %lld], one number per block of 128 x 128", s->dir, p->name, (long long)blocks(p->rows),
                       (long long)blocks(p->cols));
    return ERR_OK;
}

/* Published MTP layers repeat the embedding and the head: of which parameter this tensor is a copy, or -1. */
static int copied_param(const struct model *m, struct str name)
{
    static const char *const of[] = {"embed_tokens.weight", "shared_head.head.weight"};
    char full[96];
    for (int64_t l = m->conf.layers; l < model_all_layers(m); l++)
        for (int i = 0; i < 2; i++) {
            snprintf(full, sizeof full, "model.layers.%lld.%s", (long long)l, of[i]);
            if (str_eq(name, str_of(full)))
                return i ? m->head.first : m->embed;
        }
    return -1;
}

/* Present in published files, and not read: frequencies that the config gives; the head of a tied model; copies in MTP layers. */
static int redundant(const struct model *m, struct str name)
{
    return str_ends(name, STR(".rotary_emb.inv_freq")) || (m->conf.tied && str_eq(name, STR("lm_head.weight"))) || copied_param(m, name) >= 0;
}

/* A copy that is none would be another model: what is shared here is not shared there. */
static err_code check_copies(const struct shards *s, const struct model *m, struct err *e)
{
    for (int i = 0; i < s->n; i++)
        for (int64_t j = 0; j < s->files[i].n; j++) {
            const struct st_tensor *t = &s->files[i].tensors[j];
            int p = copied_param(m, t->name);
            if (p >= 0 && (t->dtype != s->of[p]->dtype || t->bytes != s->of[p]->bytes || memcmp(t->data, s->of[p]->data, (size_t)t->bytes)))
                return err_set(e, ERR_UNSUPPORTED, "'%s': tensor '%.*s' is not a copy of '%s'; MTP layers with an embedding or head of their own are not supported", s->paths[i],
                               (int)(t->name.n > 200 ? 200 : t->name.n), t->name.p, m->params[p].name);
        }
    return ERR_OK;
}

static int by_name(const void *x, const void *y)
{
    return strcmp((*(const struct model_param *const *)x)->name, (*(const struct model_param *const *)y)->name);
}

static int name_cmp(const void *key, const void *y)
{
    return str_cmp(*(const struct str *)key, str_of((*(const struct model_param *const *)y)->name));
}

/* Every tensor is a parameter, every parameter has one tensor of its shape. */
static err_code match(struct shards *s, const struct model *m, struct err *e)
{
    const struct model_param **sorted = ARENA_NEW(&s->mem, const struct model_param *, m->n_params);
    s->of = ARENA_NEW(&s->mem, const struct st_tensor *, m->n_params);
    s->scale = ARENA_NEW(&s->mem, const struct st_tensor *, m->n_params);
    s->fp8 = m->conf.quant[0] != 0;
    s->params = m->params;
    for (int64_t p = 0; p < m->n_params; p++)
        sorted[p] = &m->params[p];
    qsort(sorted, (size_t)m->n_params, sizeof(*sorted), by_name);
    for (int i = 0; i < s->n; i++)
        for (int64_t j = 0; j < s->files[i].n; j++) {
            const struct st_tensor *t = &s->files[i].tensors[j], **into = s->of;
            struct str name = t->name;
            if (s->fp8 && str_ends(name, STR("_scale_inv")))
                name.n -= (int64_t)strlen("_scale_inv"), into = s->scale;
            const struct model_param **at = bsearch(&name, sorted, (size_t)m->n_params, sizeof(*sorted), name_cmp);
            if (!at && redundant(m, t->name)) {
                s->benign += copied_param(m, t->name) < 0; /* those are compared below */
                continue;
            }
            if (!at)
                return err_set(e, ERR_DATA, "'%s': tensor '%.*s' is not part of a %s of this config.json", s->paths[i], (int)(t->name.n > 200 ? 200 : t->name.n), t->name.p,
                               m->conf.type);
            if (into[*at - m->params])
                return err_set(e, ERR_DATA, "'%s': tensor '%.*s' is in two shards", s->dir, (int)(t->name.n > 200 ? 200 : t->name.n), t->name.p);
            into[*at - m->params] = t;
        }
    for (int64_t p = 0; p < m->n_params; p++) {
        if (!s->of[p])
            return err_set(e, ERR_DATA, "'%s': tensor '%s' is missing", s->dir, m->params[p].name);
        TRY(check_tensor(s, &m->params[p], s->of[p], e));
        TRY(check_scale(s, &m->params[p], s->of[p], s->scale[p], e));
    }
    if (s->benign)
        log_info("model", "'%s': %lld tensors are not read (rotary frequencies, the head of a tied model)", s->dir, (long long)s->benign);
    return check_copies(s, m, e);
}

static float half_to_float(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exp = h >> 10 & 31, frac = h & 0x3ff, bits;
    float f;
    if (exp == 0) { /* zero or denormal: frac * 2^-24, exact */
        f = (float)frac * 0x1p-24f;
        memcpy(&bits, &f, 4);
        bits |= sign;
    } else {
        bits = sign | (exp == 31 ? 0xffu : exp + 112) << 23 | frac << 13;
    }
    memcpy(&f, &bits, 4);
    return f;
}

/* value = code * scale of its block; a NaN code stays one, and is found. */
static void fill_fp8(const struct shards *s, const struct model_param *q, int64_t p, int64_t first, int64_t n, float *out)
{
    const uint8_t *codes = s->of[p]->data;
    const char *scale = s->scale[p]->data;
    for (int64_t i = 0; i < n; i++) {
        int64_t at = first + i, row = at / q->cols, col = at % q->cols;
        float f;
        memcpy(&f, scale + (row / 128 * blocks(q->cols) + col / 128) * 4, 4);
        out[i] = kern_e4m3_value(codes[at]) * f;
    }
}

static int file_codes(void *ctx, int64_t p, const uint8_t **codes, const void **scale)
{
    const struct shards *s = ctx;
    if (!s->scale[p])
        return 0;
    *codes = s->of[p]->data;
    *scale = s->scale[p]->data;
    return 1;
}

static void fill_from_file(void *ctx, int64_t p, int64_t first, int64_t n, float *out)
{
    const struct shards *s = ctx;
    const struct st_tensor *t = s->of[p];
    const char *src = (const char *)t->data + first * st_dtype_bits(t->dtype) / 8;
    if (t->dtype == ST_F8_E4M3) {
        fill_fp8(s, &s->params[p], p, first, n, out);
        return;
    }
    if (t->dtype == ST_F32) {
        memcpy(out, src, (size_t)n * 4);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        uint16_t h;
        memcpy(&h, src + 2 * i, 2);
        if (t->dtype == ST_F16) {
            out[i] = half_to_float(h);
        } else {
            uint32_t bits = (uint32_t)h << 16;
            memcpy(&out[i], &bits, 4);
        }
    }
}

/* ---- files beside the weights ------------------------------------------------------------- */

static int is_extra(const char *name)
{
    static const char *const starts[] = {"tokenizer", "special_tokens_map.json", "added_tokens.json", "vocab.", "merges.txt", "generation_config.json", "chat_template", "LICENSE"};
    struct str s = str_of(name);
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
        if (str_starts(s, str_of(starts[i])))
            return 1;
    return str_ends(s, STR(".jinja")) || str_ends(s, STR(".tiktoken"));
}

static int by_extra_name(const void *x, const void *y)
{
    return strcmp(((const struct extra *)x)->name, ((const struct extra *)y)->name);
}

/* Read now, not when saving: the folder may be a checkpoint that is rotated away until then. */
err_code model_take_files(struct model *m, const char *dir, struct err *e)
{
    DIR *d = opendir(dir);
    err_code rc = ERR_OK;
    if (!d)
        return err_sys(e, ERR_IO, "cannot open folder '%s'", dir);
    for (struct dirent *it; rc == ERR_OK && (it = readdir(d));) {
        char path[PATH_MAX];
        struct stat st;
        struct sbuf b;
        if (!is_extra(it->d_name) || snprintf(path, sizeof path, "%s/%s", dir, it->d_name) >= (int)sizeof path || stat(path, &st) || !S_ISREG(st.st_mode))
            continue;
        struct extra *grown = realloc(m->extras, (size_t)(m->n_extras + 1) * sizeof *grown);
        if (!grown) {
            rc = err_set(e, ERR_LIMIT, "memory is short");
            break;
        }
        m->extras = grown;
        sbuf_init(&b, MAX_EXTRA);
        if ((rc = file_read(path, &b, e)) == ERR_OK) {
            grown[m->n_extras++] = (struct extra){.name = strdup(it->d_name), .bytes = b.p, .n = b.n};
            assert(grown[m->n_extras - 1].name);
        } else {
            sbuf_release(&b);
        }
    }
    closedir(d);
    if (m->n_extras)
        qsort(m->extras, (size_t)m->n_extras, sizeof *m->extras, by_extra_name);
    return rc;
}

/* ---- opening and creating ----------------------------------------------------------------- */

static err_code open_into(struct model *m, const char *dir, struct err *e)
{
    struct shards s;
    char path[PATH_MAX];
    err_code rc = shards_open(dir, &s, e);
    if (rc == ERR_OK)
        rc = match(&s, m, e);
    if (rc == ERR_OK)
        rc = model_fill(m, &(struct model_fill){.fill = fill_from_file, .ctx = &s, .from = dir, .table_is_bf16 = s.of[m->embed]->dtype == ST_BF16,
                                              .codes = s.fp8 ? file_codes : NULL}, e);
    shards_close(&s);
    if (rc == ERR_OK)
        rc = model_rope_open(m, e);
    if (rc == ERR_OK)
        rc = model_take_files(m, dir, e);
    if (rc == ERR_OK && snprintf(path, sizeof path, "%s/config.json", dir) < (int)sizeof path)
        rc = json_load(path, 4 << 20, &m->source, e);
    return rc;
}

/* Folders saved by programs that do not know MTP still have its key in config.json. */
static err_code find_mtp(const char *dir, struct model_config *c, struct err *e)
{
    struct shards s;
    char prefix[64];
    int found = 0;
    snprintf(prefix, sizeof prefix, "model.layers.%lld.", (long long)c->layers);
    err_code rc = c->mtp ? shards_open(dir, &s, e) : ERR_OK;
    if (!c->mtp)
        return rc;
    for (int i = 0; i < s.n; i++)
        for (int64_t j = 0; j < s.files[i].n && !found; j++)
            found = str_starts(s.files[i].tensors[j].name, str_of(prefix));
    if (rc == ERR_OK && !found) {
        log_info("model", "'%s': config.json names %lld MTP layers, the files have none: read without", dir, (long long)c->mtp);
        c->mtp = 0;
    }
    shards_close(&s);
    return rc;
}

err_code model_open(struct kern *k, const char *dir, const struct model_opts *o, struct model **out, struct err *e)
{
    struct model_config c;
    struct model *m;
    if (!file_is_dir(dir))
        return err_set(e, ERR_IO, "'%s' is not a folder with a model", dir);
    TRY(model_config_read(dir, &c, e));
    if (c.quant[0] && strcmp(c.quant, "fp8"))
        return err_set(e, ERR_UNSUPPORTED, "'%s': \"quantization_config\" '%s': not supported (fp8, e4m3, in blocks of 128 x 128 is)", dir, c.quant);
    TRY(find_mtp(dir, &c, e));
    if (model_extend(&c, &o->extend, e) != ERR_OK)
        return err_ctx(e, "'%s'", dir);
    TRY(model_alloc(k, &c, o, &m, e));
    err_code rc = open_into(m, dir, e);
    if (rc != ERR_OK)
        model_close(m);
    else
        *out = m;
    return rc;
}

struct random_source {
    const struct model *m;
    uint64_t seed;
};

static void fill_random(void *ctx, int64_t p, int64_t first, int64_t n, float *out)
{
    const struct random_source *r = ctx;
    const struct model_param *q = &r->m->params[p];
    struct str name = str_of(q->name);
    double sd = r->m->conf.init_range;
    if (q->cols == 1) {
        float v = str_ends(name, STR("bias")) ? 0 : 1; /* also e_score_correction_bias */
        for (int64_t i = 0; i < n; i++)
            out[i] = v;
        return;
    }
    if (str_ends(name, STR("o_proj.weight")) || str_ends(name, STR("down_proj.weight")))
        sd /= sqrt(2.0 * (double)r->m->conf.layers);
    for (int64_t i = 0; i < n;) { /* four elements to a block of the generator */
        uint32_t u[4];
        int64_t at = first + i;
        rng_block(u, r->seed, RNG_INIT, (uint64_t)p, 0, (uint64_t)at / 4);
        for (int64_t k = at % 4; k < 4 && i < n; k++, i++)
            out[i] = (float)(sd * num_normal(((double)u[k] + 0.5) * 0x1p-32));
    }
}

err_code model_create(struct kern *k, const struct model_config *c, uint64_t seed, const struct model_opts *o, struct model **out, struct err *e)
{
    struct model *m;
    TRY(model_alloc(k, c, o, &m, e));
    struct random_source r = {m, seed};
    err_code rc = model_fill(m, &(struct model_fill){.fill = fill_random, .ctx = &r, .from = "random weights"}, e);
    if (rc == ERR_OK)
        rc = model_rope_open(m, e);
    if (rc != ERR_OK)
        model_close(m);
    else
        *out = m;
    return rc;
}
