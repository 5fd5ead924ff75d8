/* config.json and generation_config.json of every family; counts that follow from the config alone. */
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
    enum { DENSE, QWEN_MOE, DEEPSEEK2, DEEPSEEK3 } kind;
} families[] = {
    {"llama", "LlamaForCausalLM", 0, 2048, -1, 0, 1, DENSE},
    {"qwen2", "Qwen2ForCausalLM", 0, 32768, 1, 0, 0, DENSE},
    {"qwen3", "Qwen3ForCausalLM", 128, 32768, -1, 1, 0, DENSE},
    {"qwen3_moe", "Qwen3MoeForCausalLM", 0, 32768, -1, 1, 0, QWEN_MOE},
    {"deepseek_v2", "DeepseekV2ForCausalLM", 0, 2048, -1, 0, 0, DEEPSEEK2},
    {"deepseek_v3", "DeepseekV3ForCausalLM", 0, 4096, -1, 0, 0, DEEPSEEK3},
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
    *s = (struct kern_rope_spec){.d = c->kv_lora ? c->d_rope : c->head_dim, .theta = 10000, .factor = 1, .low_freq_factor = 1, .high_freq_factor = 4, .beta_fast = 32,
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
    if (!c->kv_lora && c->head_dim % 2)
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
        return err_set(e, ERR_UNSUPPORTED, "\"model_type\" '%.*s' is not supported (llama, qwen2, qwen3, qwen3_moe, deepseek_v2, deepseek_v3 are)", STR_ARG(type));
    const json_t *arch = json_array_get(json_object_get(o, "architectures"), 0);
    snprintf(c->type, sizeof c->type, "%s", (*out)->type);
    snprintf(c->architecture, sizeof c->architecture, "%s", (*out)->architecture);
    if (json_is_string(arch) && strcmp(json_string_value(arch), (*out)->architecture))
        return err_set(e, ERR_UNSUPPORTED, "\"architectures\" '%s' is not supported (%s is)", json_string_value(arch), (*out)->architecture);
    return ERR_OK;
}

/* A text key that must be one of a few values; *at its index. */
static err_code one_of(const json_t *o, const char *key, const char *const *names, int n, int *at, struct err *e)
{
    struct str v = STR("");
    TRY(json_opt_str(o, key, &v, e));
    for (int i = 0; i < n; i++)
        if (!v.n || str_eq(v, str_of(names[i]))) {
            *at = v.n ? i : *at;
            return ERR_OK;
        }
    return err_set(e, ERR_UNSUPPORTED, "\"%s\" '%.*s' is not supported", key, STR_ARG(v));
}

static err_code read_qwen_experts(const json_t *o, struct model_config *c, struct err *e)
{
    int64_t step = 1;
    c->router_softmax = 1;
    c->router_scale = c->groups = c->top_groups = 1;
    TRY(json_opt_i64(o, "num_local_experts", &c->experts, e)); /* what transformers 5 writes */
    TRY(json_opt_i64(o, "num_experts", &c->experts, e));
    if (c->experts < 1)
        return err_set(e, ERR_DATA, "\"num_experts\" is missing");
    TRY(json_need_i64(o, "num_experts_per_tok", &c->top_k, e));
    TRY(json_need_i64(o, "moe_intermediate_size", &c->expert_inter, e));
    TRY(json_opt_bool(o, "norm_topk_prob", &c->router_normalise, e));
    TRY(json_opt_i64(o, "decoder_sparse_step", &step, e));
    if (step != 1 || json_array_size(json_object_get(o, "mlp_only_layers")))
        return err_set(e, ERR_UNSUPPORTED, "\"decoder_sparse_step\" other than 1 and \"mlp_only_layers\" are not supported");
    return ERR_OK;
}

static err_code read_deepseek_experts(const json_t *o, int v3, struct model_config *c, struct err *e)
{
    static const char *const methods[] = {"greedy", "group_limited_greedy", "noaux_tc"}, *const scores[] = {"sigmoid", "softmax"};
    int method = v3 ? 2 : 0, softmax = !v3;
    int64_t freq = 1;
    c->router_scale = c->groups = c->top_groups = 1;
    TRY(json_opt_i64(o, "num_local_experts", &c->experts, e));
    TRY(json_opt_i64(o, "n_routed_experts", &c->experts, e));
    if (!c->experts)
        return ERR_OK;
    TRY(json_need_i64(o, "num_experts_per_tok", &c->top_k, e));
    TRY(json_need_i64(o, "moe_intermediate_size", &c->expert_inter, e));
    TRY(json_opt_i64(o, "n_shared_experts", &c->shared, e));
    TRY(json_opt_i64(o, "first_k_dense_replace", &c->first_dense, e));
    TRY(json_opt_i64(o, "moe_layer_freq", &freq, e));
    TRY(json_opt_f64(o, "routed_scaling_factor", &c->router_scale, e));
    TRY(json_opt_bool(o, "norm_topk_prob", &c->router_normalise, e));
    TRY(one_of(o, "topk_method", methods, 3, &method, e));
    TRY(one_of(o, "scoring_func", scores, 2, &softmax, e));
    if (method != 0) {
        TRY(json_opt_i64(o, "n_group", &c->groups, e));
        TRY(json_opt_i64(o, "topk_group", &c->top_groups, e));
    }
    c->router_softmax = softmax;
    c->router_bias = method == 2;
    if (freq != 1)
        return err_set(e, ERR_UNSUPPORTED, "\"moe_layer_freq\" %lld is not supported (1 is)", (long long)freq);
    if (c->router_softmax == c->router_bias)
        return err_set(e, ERR_UNSUPPORTED, "\"topk_method\" '%s' with \"scoring_func\" '%s' is not supported", methods[method], scores[softmax]);
    if (!v3 && c->router_normalise)
        c->router_scale = 1; /* DeepSeek-V2's code scales only what it does not normalise */
    return ERR_OK;
}

static err_code check_experts(const struct model_config *c, struct err *e)
{
    if (!c->experts)
        return ERR_OK;
    if (c->experts < 1 || c->experts > 4096 || c->top_k < 1 || c->top_k > c->experts || c->expert_inter < 2 || c->expert_inter > 1 << 20 || c->shared < 0 || c->shared > 64)
        return err_set(e, ERR_DATA, "%lld experts of %lld, %lld per token, %lld shared: out of range", (long long)c->experts, (long long)c->expert_inter, (long long)c->top_k, (long long)c->shared);
    if (c->groups < 1 || c->experts % c->groups)
        return err_set(e, ERR_DATA, "%lld experts do not divide into %lld groups", (long long)c->experts, (long long)c->groups);
    if (c->top_groups < 1 || c->top_groups > c->groups || c->top_groups * (c->experts / c->groups) < c->top_k)
        return err_set(e, ERR_DATA, "%lld of %lld groups do not hold %lld experts per token", (long long)c->top_groups, (long long)c->groups, (long long)c->top_k);
    if (c->first_dense < 0 || c->first_dense > c->layers)
        return err_set(e, ERR_DATA, "\"first_k_dense_replace\" is %lld of %lld layers", (long long)c->first_dense, (long long)c->layers);
    return ERR_OK;
}

static err_code read_latent(const json_t *o, struct model_config *c, struct err *e)
{
    c->rope_interleaved = 1;
    TRY(json_opt_i64(o, "q_lora_rank", &c->q_lora, e));
    TRY(json_need_i64(o, "kv_lora_rank", &c->kv_lora, e));
    TRY(json_need_i64(o, "qk_nope_head_dim", &c->d_nope, e));
    TRY(json_need_i64(o, "qk_rope_head_dim", &c->d_rope, e));
    TRY(json_need_i64(o, "v_head_dim", &c->d_v, e));
    TRY(json_opt_bool(o, "rope_interleave", &c->rope_interleaved, e));
    TRY(json_opt_i64(o, "num_nextn_predict_layers", &c->mtp, e));
    const int64_t v[] = {c->q_lora + 1, c->kv_lora, c->d_nope, c->d_rope, c->d_v, c->mtp + 1};
    for (int i = 0; i < 6; i++)
        if (v[i] < 1 || v[i] > 1 << 16)
            return err_set(e, ERR_DATA, "a rank or head size of the latent attention is out of range");
    if (c->d_rope % 2)
        return err_set(e, ERR_DATA, "\"qk_rope_head_dim\" %lld is odd, rotary positions need it even", (long long)c->d_rope);
    c->kv_heads = c->heads;
    c->head_dim = c->d_nope + c->d_rope;
    return ERR_OK;
}

/* What is common to all families. */
static err_code read_common(const json_t *o, const struct family *f, struct model_config *c, struct err *e)
{
    int attention_bias = 0;
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
    return ERR_OK;
}

static void read_quant(const json_t *q, struct model_config *c)
{
    const json_t *method = json_object_get(q, "quant_method"), *fmt = json_object_get(q, "fmt"), *block = json_object_get(q, "weight_block_size");
    const char *name = json_is_string(method) ? json_string_value(method) : "unknown";
    snprintf(c->quant, sizeof c->quant, "%s", name);
    if (strcmp(name, "fp8"))
        return;
    if (fmt && !(json_is_string(fmt) && !strcmp(json_string_value(fmt), "e4m3")))
        snprintf(c->quant, sizeof c->quant, "fp8 with \"fmt\" other than e4m3");
    else if (json_integer_value(json_array_get(block, 0)) != 128 || json_integer_value(json_array_get(block, 1)) != 128)
        snprintf(c->quant, sizeof c->quant, "fp8 with \"weight_block_size\" other than [128, 128]");
}

static err_code read_config(const json_t *o, struct model_config *c, struct err *e)
{
    const struct family *f = NULL;
    *c = (struct model_config){.rms_eps = 1e-6, .init_range = 0.02, .bos = -1, .pad = -1};
    if (!json_is_object(o))
        return err_set(e, ERR_DATA, "not an object");
    TRY(read_family(o, c, &f, e));
    TRY(refuse_unsupported(o, e));
    TRY(read_common(o, f, c, e));
    if (f->kind == QWEN_MOE)
        TRY(read_qwen_experts(o, c, e));
    if (f->kind == DEEPSEEK2 || f->kind == DEEPSEEK3) {
        TRY(read_latent(o, c, e));
        TRY(read_deepseek_experts(o, f->kind == DEEPSEEK3, c, e));
        if (c->qkv_bias)
            return err_set(e, ERR_UNSUPPORTED, "\"attention_bias\" is not supported for %s", f->type);
    }
    TRY(check_sizes(c, e));
    TRY(check_experts(c, e));
    TRY(read_rope(o, c, e));
    const json_t *q = json_object_get(o, "quantization_config");
    if (q && !json_is_null(q)) {
        read_quant(q, c);
    }
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

err_code model_extend(struct model_config *c, const struct model_extend *x, struct err *e)
{
    if (x->factor == 0)
        return ERR_OK;
    struct kern_rope_spec r = {.type = KERN_ROPE_YARN, .d = c->rope.d, .theta = c->rope.theta, .factor = x->factor, .low_freq_factor = 1, .high_freq_factor = 4, .beta_fast = 32,
                               .beta_slow = 1, .truncate = 1, .original_max_position = x->original ? x->original : c->rope.original_max_position};
    r.mscale = r.mscale_all_dim = c->kv_lora ? 1 : 0;
    int64_t positions = x->positions ? x->positions : (int64_t)(x->factor * (double)r.original_max_position);
    if (positions < r.original_max_position)
        return err_set(e, ERR_USAGE, "model.positions %lld are fewer than the %lld that the model was trained on", (long long)positions, (long long)r.original_max_position);
    c->rope = r;
    c->max_position = positions;
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

static void put_ints(json_t *o, const char *const *keys, const int64_t *v, int n)
{
    for (int i = 0; i < n; i++)
        json_object_set_new(o, keys[i], json_integer(v[i]));
}

/* Keys of the mixtures and of latent attention. */
static void put_deepseek(json_t *o, const struct model_config *c)
{
    static const char *const latent[] = {"kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "num_nextn_predict_layers"};
    static const char *const mixture[] = {"n_routed_experts", "num_experts_per_tok", "moe_intermediate_size", "n_shared_experts", "first_k_dense_replace", "n_group", "topk_group"};
    static const char *const qwen[] = {"num_experts", "num_experts_per_tok", "moe_intermediate_size", "decoder_sparse_step"};
    if (c->kv_lora) {
        put_ints(o, latent, (const int64_t[]){c->kv_lora, c->d_nope, c->d_rope, c->d_v, c->mtp}, 5);
        json_object_set_new(o, "q_lora_rank", c->q_lora ? json_integer(c->q_lora) : json_null());
        json_object_set_new(o, "rope_interleave", json_boolean(c->rope_interleaved));
        json_object_del(o, "head_dim"); /* transformers would take it for another one */
    }
    if (c->experts && c->kv_lora) {
        put_ints(o, mixture, (const int64_t[]){c->experts, c->top_k, c->expert_inter, c->shared, c->first_dense, c->groups, c->top_groups}, 7);
        json_object_set_new(o, "routed_scaling_factor", json_real(c->router_scale));
        json_object_set_new(o, "scoring_func", json_string(c->router_softmax ? "softmax" : "sigmoid"));
        json_object_set_new(o, "topk_method", json_string(c->router_bias ? "noaux_tc" : c->groups > 1 ? "group_limited_greedy" : "greedy"));
        json_object_set_new(o, "moe_layer_freq", json_integer(1));
    } else if (c->experts) {
        put_ints(o, qwen, (const int64_t[]){c->experts, c->top_k, c->expert_inter, 1}, 4);
        json_object_set_new(o, "mlp_only_layers", json_array());
    }
    if (c->experts)
        json_object_set_new(o, "norm_topk_prob", json_boolean(c->router_normalise));
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
    put_deepseek(o, c);
    json_object_set_new(o, "bos_token_id", token_json(c->bos));
    json_object_set_new(o, "pad_token_id", token_json(c->pad));
    json_object_set_new(o, "eos_token_id", c->n_eos == 0 ? json_null() : c->n_eos == 1 ? json_integer(c->eos[0]) : json_incref(eos));
    json_decref(eos);
    return o;
}

/* ---- counts ------------------------------------------------------------------------------- */

static int64_t attn_params(const struct model_config *c)
{
    int64_t q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;
    if (c->kv_lora) {
        int64_t queries = c->q_lora ? c->q_lora * (c->hidden + 1 + q) : c->hidden * q;
        return queries + c->hidden * (c->kv_lora + c->d_rope) + c->kv_lora + c->kv_lora * c->heads * (c->d_nope + c->d_v) + c->heads * c->d_v * c->hidden;
    }
    return (q + 2 * kv) * c->hidden + q * c->hidden + (c->qkv_bias ? q + 2 * kv : 0) + (c->o_bias ? c->hidden : 0) + (c->qk_norm ? 2 * c->head_dim : 0);
}

struct model_layer_size model_layer_size(const struct model_config *c, int64_t layer)
{
    struct model_layer_size s = {.attention = attn_params(c), .norms = 2 * c->hidden};
    if (!c->experts || layer < c->first_dense) {
        s.inner = 3 * c->inter * c->hidden + (c->mlp_bias ? 2 * c->inter + c->hidden : 0);
        return s;
    }
    s.expert = 3 * c->hidden * c->expert_inter;
    s.router = c->experts * (c->hidden + (c->router_bias ? 1 : 0));
    s.shared = s.expert * c->shared;
    return s;
}

/* Of one layer: all, or those that a token meets. */
static int64_t ffn_params(const struct model_config *c, int64_t layer, int met)
{
    struct model_layer_size s = model_layer_size(c, layer);
    return s.inner + s.router + s.shared + s.expert * (met ? c->top_k : c->experts);
}

struct model_size model_size(const struct model_config *c)
{
    struct model_size s = {.embed = c->vocab * c->hidden * (c->tied ? 1 : 2), .active = c->vocab * c->hidden + c->hidden};
    s.params = s.embed + c->hidden;
    for (int64_t l = 0; l < c->layers; l++) {
        s.per_layer = attn_params(c) + 2 * c->hidden + ffn_params(c, l, 0);
        s.params += s.per_layer;
        s.active += attn_params(c) + 2 * c->hidden + ffn_params(c, l, 1);
    }
    s.mtp = c->mtp * (attn_params(c) + 2 * c->hidden + ffn_params(c, c->layers, 0) + 3 * c->hidden + 2 * c->hidden * c->hidden);
    s.kv_numbers = c->layers * (c->kv_lora ? c->kv_lora + c->d_rope : 2 * c->kv_heads * c->head_dim);
    return s;
}

double model_flops(const struct model_config *c, double n)
{
    double linear = 2 * (double)c->vocab * (double)c->hidden;
    for (int64_t l = 0; l < c->layers; l++)
        linear += 2 * (double)(attn_params(c) + ffn_params(c, l, 1));
    int64_t dv = c->kv_lora ? c->d_v : c->head_dim;
    return linear + (double)c->layers * 2 * (double)(c->heads * (c->head_dim + dv)) * n;
}
