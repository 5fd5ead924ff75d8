/* config.json and generation_config.json of Llama, Qwen2 and Qwen3; counts that follow from the config alone. */
#include <limits.h>
#include <math.h>
#include <stdio.h>

#include "core/json.h"
#include "model/impl.h"

enum { MAX_CONFIG = 4 << 20 };

/* What the families differ in; a key of config.json wins where the family has one. */
static const struct family {
    const char *type, *architecture;
    int64_t head_dim;          /* 0: hidden / heads */
    int64_t max_position;
    int qkv_bias;              /* -1: "attention_bias" (which then covers o too) */
    int qk_norm, mlp_bias;     /* mlp_bias 1: "mlp_bias" is read */
} families[] = {
    {"llama", "LlamaForCausalLM", 0, 2048, -1, 0, 1},
    {"qwen2", "Qwen2ForCausalLM", 0, 32768, 1, 0, 0},
    {"qwen3", "Qwen3ForCausalLM", 128, 32768, -1, 1, 0},
};

/* ---- rope --------------------------------------------------------------------------------- */

static err_code rope_type(const json_t *r, enum kern_rope_type *out, struct err *e)
{
    static const char *const names[] = {[KERN_ROPE_DEFAULT] = "default", [KERN_ROPE_LINEAR] = "linear", [KERN_ROPE_LLAMA3] = "llama3", [KERN_ROPE_YARN] = "yarn"};
    struct str type = STR("default");
    TRY(json_opt_str(r, "type", &type, e));
    TRY(json_opt_str(r, "rope_type", &type, e));
    for (int i = 0; i < 4; i++)
        if (str_eq(type, str_of(names[i]))) {
            *out = (enum kern_rope_type)i;
            return ERR_OK;
        }
    return err_set(e, ERR_UNSUPPORTED, "rope type '%.*s' is not supported (default, linear, llama3, yarn are)", STR_ARG(type));
}

static err_code rope_numbers(const json_t *r, struct kern_rope_spec *s, struct err *e)
{
    TRY(json_opt_f64(r, "rope_theta", &s->theta, e));
    TRY(json_opt_f64(r, "factor", &s->factor, e));
    TRY(json_opt_f64(r, "low_freq_factor", &s->low_freq_factor, e));
    TRY(json_opt_f64(r, "high_freq_factor", &s->high_freq_factor, e));
    TRY(json_opt_f64(r, "beta_fast", &s->beta_fast, e));
    TRY(json_opt_f64(r, "beta_slow", &s->beta_slow, e));
    TRY(json_opt_f64(r, "mscale", &s->mscale, e));
    TRY(json_opt_f64(r, "mscale_all_dim", &s->mscale_all_dim, e));
    TRY(json_opt_f64(r, "attention_factor", &s->attention_factor, e));
    TRY(json_opt_bool(r, "truncate", &s->truncate, e));
    return json_opt_i64(r, "original_max_position_embeddings", &s->original_max_position, e);
}

/* rope_theta and rope_scaling, or both inside rope_parameters (transformers 5). */
static err_code read_rope(const json_t *o, struct model_config *c, struct err *e)
{
    struct kern_rope_spec *s = &c->rope;
    *s = (struct kern_rope_spec){.d = c->head_dim, .theta = 10000, .factor = 1, .low_freq_factor = 1, .high_freq_factor = 4, .beta_fast = 32,
                                 .beta_slow = 1, .truncate = 1, .original_max_position = c->max_position};
    TRY(json_opt_f64(o, "rope_theta", &s->theta, e));
    static const char *const keys[] = {"rope_scaling", "rope_parameters"};
    for (int i = 0; i < 2; i++) {
        const json_t *r = json_object_get(o, keys[i]);
        if (!r || json_is_null(r))
            continue;
        if (!json_is_object(r))
            return err_set(e, ERR_DATA, "\"%s\" must be an object", keys[i]);
        if (rope_type(r, &s->type, e) != ERR_OK || rope_numbers(r, s, e) != ERR_OK)
            return err_ctx(e, "\"%s\"", keys[i]);
        double partial = 1;
        TRY(json_opt_f64(r, "partial_rotary_factor", &partial, e));
        if (partial != 1)
            return err_set(e, ERR_UNSUPPORTED, "\"partial_rotary_factor\" %g is not supported", partial);
    }
    if (s->type != KERN_ROPE_DEFAULT && !(s->factor >= 1))
        return err_set(e, ERR_DATA, "rope \"factor\" is %g, it must be 1 or more", s->factor);
    if (!(s->theta > 1) || s->original_max_position < 1)
        return err_set(e, ERR_DATA, "\"rope_theta\" %g or \"original_max_position_embeddings\" %lld is out of range", s->theta, (long long)s->original_max_position);
    return ERR_OK;
}

/* ---- what is not supported ---------------------------------------------------------------- */

static err_code refuse_unsupported(const json_t *o, struct err *e)
{
    struct str act = STR("silu");
    double dropout = 0, partial = 1;
    int window = 0;
    TRY(json_opt_str(o, "hidden_act", &act, e));
    TRY(json_opt_f64(o, "attention_dropout", &dropout, e));
    TRY(json_opt_f64(o, "partial_rotary_factor", &partial, e));
    TRY(json_opt_bool(o, "use_sliding_window", &window, e));
    if (!str_eq(act, STR("silu")))
        return err_set(e, ERR_UNSUPPORTED, "\"hidden_act\" '%.*s' is not supported (silu is)", STR_ARG(act));
    if (dropout != 0)
        return err_set(e, ERR_UNSUPPORTED, "\"attention_dropout\" %g is not supported (0 is)", dropout);
    if (partial != 1)
        return err_set(e, ERR_UNSUPPORTED, "\"partial_rotary_factor\" %g is not supported (1 is)", partial);
    if (window)
        return err_set(e, ERR_UNSUPPORTED, "\"use_sliding_window\" is not supported");
    const json_t *q = json_object_get(o, "quantization_config");
    if (q && !json_is_null(q))
        return err_set(e, ERR_UNSUPPORTED, "\"quantization_config\": quantised weights are not supported");
    size_t i;
    json_t *v;
    json_array_foreach(json_object_get(o, "layer_types"), i, v)
        if (!json_is_string(v) || strcmp(json_string_value(v), "full_attention"))
            return err_set(e, ERR_UNSUPPORTED, "\"layer_types\" of layer %d is not supported (full_attention is)", (int)i);
    return ERR_OK;
}

/* ---- reading ------------------------------------------------------------------------------ */

static err_code read_tokens(const json_t *o, struct model_config *c, struct err *e)
{
    int64_t id = -1;
    const json_t *eos = json_object_get(o, "eos_token_id");
    size_t n = json_is_array(eos) ? json_array_size(eos) : json_is_integer(eos) ? 1 : 0;
    if (n > sizeof c->eos / sizeof *c->eos)
        return err_set(e, ERR_LIMIT, "\"eos_token_id\" lists %d tokens, %d are supported", (int)n, (int)(sizeof c->eos / sizeof *c->eos));
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_is_array(eos) ? json_array_get(eos, i) : eos;
        if (!json_is_integer(v))
            return err_set(e, ERR_DATA, "\"eos_token_id\" must be an integer or a list of them");
        c->eos[i] = (int32_t)json_integer_value(v);
    }
    c->n_eos = n ? (int)n : c->n_eos;
    const json_t *bos = json_object_get(o, "bos_token_id");
    if (json_is_integer(bos))
        c->bos = (int32_t)json_integer_value(bos);
    TRY(json_opt_i64(o, "pad_token_id", &id, e));
    c->pad = id >= 0 ? (int32_t)id : c->pad;
    return ERR_OK;
}

static err_code check_sizes(const struct model_config *c, struct err *e)
{
    const struct {
        const char *key;
        int64_t v, min, max;
    } sizes[] = { /* a matrix has two columns or more: one of them is a vector */
        {"vocab_size", c->vocab, 1, 1 << 24},          {"hidden_size", c->hidden, 2, 1 << 20},          {"num_hidden_layers", c->layers, 1, 10000},
        {"num_attention_heads", c->heads, 1, 1 << 16}, {"num_key_value_heads", c->kv_heads, 1, 1 << 16}, {"head_dim", c->head_dim, 2, 1 << 12},
        {"intermediate_size", c->inter, 2, 1 << 22},   {"max_position_embeddings", c->max_position, 1, 1 << 26},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i].v < sizes[i].min || sizes[i].v > sizes[i].max)
            return err_set(e, ERR_DATA, "\"%s\" is %lld, it must be %lld to %lld", sizes[i].key, (long long)sizes[i].v, (long long)sizes[i].min, (long long)sizes[i].max);
    if (c->heads % c->kv_heads)
        return err_set(e, ERR_DATA, "%lld attention heads are not a multiple of %lld key-value heads", (long long)c->heads, (long long)c->kv_heads);
    if (c->head_dim % 2)
        return err_set(e, ERR_DATA, "\"head_dim\" %lld is odd, rotary positions need it even", (long long)c->head_dim);
    if (!(c->rms_eps >= 0) || !(c->init_range >= 0))
        return err_set(e, ERR_DATA, "\"rms_norm_eps\" %g or \"initializer_range\" %g is out of range", c->rms_eps, c->init_range);
    return ERR_OK;
}

static err_code read_family(const json_t *o, struct model_config *c, const struct family **out, struct err *e)
{
    struct str type;
    TRY(json_need_str(o, "model_type", &type, e));
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (str_eq(type, str_of(families[i].type)))
            *out = &families[i];
    if (!*out)
        return err_set(e, ERR_UNSUPPORTED, "\"model_type\" '%.*s' is not supported (llama, qwen2, qwen3 are)", STR_ARG(type));
    const json_t *arch = json_array_get(json_object_get(o, "architectures"), 0);
    snprintf(c->type, sizeof c->type, "%s", (*out)->type);
    snprintf(c->architecture, sizeof c->architecture, "%s", (*out)->architecture);
    if (json_is_string(arch) && strcmp(json_string_value(arch), (*out)->architecture))
        return err_set(e, ERR_UNSUPPORTED, "\"architectures\" '%s' is not supported (%s is)", json_string_value(arch), (*out)->architecture);
    return ERR_OK;
}

static err_code read_config(const json_t *o, struct model_config *c, struct err *e)
{
    const struct family *f = NULL;
    int attention_bias = 0;
    *c = (struct model_config){.rms_eps = 1e-6, .init_range = 0.02, .bos = -1, .pad = -1};
    if (!json_is_object(o))
        return err_set(e, ERR_DATA, "not an object");
    TRY(read_family(o, c, &f, e));
    TRY(refuse_unsupported(o, e));
    TRY(json_need_i64(o, "vocab_size", &c->vocab, e));
    TRY(json_need_i64(o, "hidden_size", &c->hidden, e));
    TRY(json_need_i64(o, "intermediate_size", &c->inter, e));
    TRY(json_need_i64(o, "num_hidden_layers", &c->layers, e));
    TRY(json_need_i64(o, "num_attention_heads", &c->heads, e));
    c->kv_heads = c->heads;
    c->max_position = f->max_position;
    c->head_dim = f->head_dim ? f->head_dim : c->heads > 0 ? c->hidden / c->heads : 0;
    TRY(json_opt_i64(o, "num_key_value_heads", &c->kv_heads, e));
    TRY(json_opt_i64(o, "head_dim", &c->head_dim, e));
    TRY(json_opt_i64(o, "max_position_embeddings", &c->max_position, e));
    TRY(json_opt_f64(o, "rms_norm_eps", &c->rms_eps, e));
    TRY(json_opt_f64(o, "initializer_range", &c->init_range, e));
    TRY(json_opt_bool(o, "tie_word_embeddings", &c->tied, e));
    TRY(json_opt_bool(o, "attention_bias", &attention_bias, e));
    if (f->mlp_bias)
        TRY(json_opt_bool(o, "mlp_bias", &c->mlp_bias, e));
    c->qkv_bias = f->qkv_bias >= 0 ? f->qkv_bias : attention_bias;
    c->o_bias = f->qkv_bias >= 0 ? 0 : attention_bias;
    c->qk_norm = f->qk_norm;
    TRY(check_sizes(c, e));
    TRY(read_rope(o, c, e));
    return read_tokens(o, c, e);
}

err_code model_config_read(const char *path, struct model_config *c, struct err *e)
{
    char file[PATH_MAX];
    json_t *o;
    struct model_config got;
    int is_dir = file_is_dir(path);
    if (snprintf(file, sizeof file, is_dir ? "%s/config.json" : "%s", path) >= (int)sizeof file)
        return err_set(e, ERR_IO, "'%s': the path is too long", path);
    TRY(json_load(file, MAX_CONFIG, &o, e));
    err_code rc = read_config(o, &got, e);
    json_decref(o);
    if (rc != ERR_OK)
        return err_ctx(e, "'%s'", file);
    if (is_dir && snprintf(file, sizeof file, "%s/generation_config.json", path) < (int)sizeof file && file_exists(file)) {
        TRY(json_load(file, MAX_CONFIG, &o, e));
        rc = read_tokens(o, &got, e);
        json_decref(o);
        if (rc != ERR_OK)
            return err_ctx(e, "'%s'", file);
    }
    *c = got;
    return ERR_OK;
}

/* ---- writing ------------------------------------------------------------------------------ */

static json_t *rope_json(const struct kern_rope_spec *s)
{
    switch (s->type) {
    case KERN_ROPE_LINEAR: return json_pack("{s:s, s:f}", "rope_type", "linear", "factor", s->factor);
    case KERN_ROPE_LLAMA3:
        return json_pack("{s:s, s:f, s:f, s:f, s:I}", "rope_type", "llama3", "factor", s->factor, "low_freq_factor", s->low_freq_factor, "high_freq_factor",
                         s->high_freq_factor, "original_max_position_embeddings", (json_int_t)s->original_max_position);
    case KERN_ROPE_YARN: {
        json_t *r = json_pack("{s:s, s:f, s:f, s:f, s:b, s:I}", "rope_type", "yarn", "factor", s->factor, "beta_fast", s->beta_fast, "beta_slow", s->beta_slow,
                              "truncate", s->truncate, "original_max_position_embeddings", (json_int_t)s->original_max_position);
        const struct {
            const char *key;
            double v;
        } extra[] = {{"mscale", s->mscale}, {"mscale_all_dim", s->mscale_all_dim}, {"attention_factor", s->attention_factor}};
        for (int i = 0; i < 3; i++)
            if (extra[i].v != 0)
                json_object_set_new(r, extra[i].key, json_real(extra[i].v));
        return r;
    }
    case KERN_ROPE_DEFAULT: break;
    }
    return json_null();
}

static json_t *token_json(int32_t id)
{
    return id < 0 ? json_null() : json_integer(id);
}

json_t *model_config_json(const struct model_config *c)
{
    json_t *o = json_object(), *eos = json_array();
    for (int i = 0; i < c->n_eos; i++)
        json_array_append_new(eos, json_integer(c->eos[i]));
    json_object_set_new(o, "architectures", json_pack("[s]", c->architecture));
    json_object_set_new(o, "model_type", json_string(c->type));
    const struct {
        const char *key;
        int64_t v;
    } ints[] = {
        {"vocab_size", c->vocab}, {"hidden_size", c->hidden}, {"intermediate_size", c->inter}, {"num_hidden_layers", c->layers},
        {"num_attention_heads", c->heads}, {"num_key_value_heads", c->kv_heads}, {"head_dim", c->head_dim}, {"max_position_embeddings", c->max_position},
    };
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++)
        json_object_set_new(o, ints[i].key, json_integer(ints[i].v));
    json_object_set_new(o, "hidden_act", json_string("silu"));
    json_object_set_new(o, "rms_norm_eps", json_real(c->rms_eps));
    json_object_set_new(o, "initializer_range", json_real(c->init_range));
    json_object_set_new(o, "rope_theta", json_real(c->rope.theta));
    json_object_set_new(o, "rope_scaling", rope_json(&c->rope));
    json_object_set_new(o, "tie_word_embeddings", json_boolean(c->tied));
    if (strcmp(c->type, "qwen2"))
        json_object_set_new(o, "attention_bias", json_boolean(c->qkv_bias));
    if (!strcmp(c->type, "llama"))
        json_object_set_new(o, "mlp_bias", json_boolean(c->mlp_bias));
    json_object_set_new(o, "bos_token_id", token_json(c->bos));
    json_object_set_new(o, "pad_token_id", token_json(c->pad));
    json_object_set_new(o, "eos_token_id", c->n_eos == 0 ? json_null() : c->n_eos == 1 ? json_integer(c->eos[0]) : json_incref(eos));
    json_decref(eos);
    return o;
}

/* ---- counts ------------------------------------------------------------------------------- */

struct model_size model_size(const struct model_config *c)
{
    int64_t q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;
    struct model_size s = {.embed = c->vocab * c->hidden * (c->tied ? 1 : 2), .kv_bytes_f32 = c->layers * 2 * kv * 4};
    s.per_layer = (q + 2 * kv) * c->hidden + q * c->hidden + 3 * c->inter * c->hidden + 2 * c->hidden;
    s.per_layer += (c->qkv_bias ? q + 2 * kv : 0) + (c->o_bias ? c->hidden : 0) + (c->mlp_bias ? 2 * c->inter + c->hidden : 0) + (c->qk_norm ? 2 * c->head_dim : 0);
    s.params = s.embed + c->layers * s.per_layer + c->hidden;
    return s;
}

double model_flops(const struct model_config *c, double n)
{
    double q = (double)(c->heads * c->head_dim), kv = (double)(c->kv_heads * c->head_dim), h = (double)c->hidden;
    double linear = 2 * ((q + 2 * kv) * h + q * h + 3 * (double)c->inter * h);
    return (double)c->layers * (linear + 4 * q * n) + 2 * (double)c->vocab * h;
}
