/* For the tests of model/: models of random shape, gradients, scratch folders. */
#ifndef HONE_TESTS_MODEL_TEST_H
#define HONE_TESTS_MODEL_TEST_H

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/arena.h"
#include "core/file.h"
#include "core/rng.h"
#include "model/model.h"
#include "tests/test.h"

static inline void must(err_code rc, const struct err *e)
{
    if (rc != ERR_OK)
        fail_msg("%s", e->msg);
}

static inline float **grads_alloc(const struct model *m, struct arena *a)
{
    int64_t n;
    const struct model_param *p = model_params(m, &n);
    float **g = ARENA_NEW(a, float *, n);
    for (int64_t i = 0; i < n; i++)
        g[i] = ARENA_NEW(a, float, p[i].n);
    return g;
}

static inline uint32_t draw(uint64_t seed, uint32_t what, uint32_t n)
{
    return (uint32_t)rng_below(n, seed, RNG_TEST, what, 0, 0);
}

static inline void random_mixture(struct model_config *c, uint64_t seed)
{
    static const int64_t groups[] = {1, 2, 4};
    c->groups = groups[draw(seed, 10, 3)];
    c->experts = c->groups * (2 + draw(seed, 11, 3));
    c->top_groups = 1 + draw(seed, 12, (uint32_t)c->groups);
    c->top_k = 1 + draw(seed, 13, (uint32_t)(c->top_groups * (c->experts / c->groups)));
    c->expert_inter = 4 + draw(seed, 14, 40);
    c->shared = draw(seed, 15, 3);
    c->first_dense = draw(seed, 16, 2);
    c->router_normalise = (int)draw(seed, 17, 2);
    c->router_scale = 2.5;
}

static inline struct model_config random_config(uint64_t seed)
{
    static const char *const types[][2] = {{"llama", "LlamaForCausalLM"}, {"qwen2", "Qwen2ForCausalLM"}, {"qwen3", "Qwen3ForCausalLM"}, {"qwen3_moe", "Qwen3MoeForCausalLM"},
                                           {"deepseek_v2", "DeepseekV2ForCausalLM"}, {"deepseek_v3", "DeepseekV3ForCausalLM"}};
    int family = (int)draw(seed, 1, 6);
    int64_t kv = 1 + draw(seed, 2, 2), d = 2 * (2 + draw(seed, 3, 12));
    struct model_config c = {.vocab = 40 + draw(seed, 4, 100), .hidden = 8 + draw(seed, 5, 60), .layers = 1 + draw(seed, 6, 2), .kv_heads = kv, .heads = kv * (1 + draw(seed, 7, 3)),
                             .head_dim = d, .inter = 8 + draw(seed, 8, 80), .max_position = 2048, .rms_eps = 1e-6, .init_range = 0.2, .tied = (int)draw(seed, 9, 2),
                             .qkv_bias = family == 1, .qk_norm = family == 2 || family == 3, .bos = -1, .pad = -1};
    snprintf(c.type, sizeof c.type, "%s", types[family][0]);
    snprintf(c.architecture, sizeof c.architecture, "%s", types[family][1]);
    if (family >= 3)
        random_mixture(&c, seed);
    c.router_softmax = family == 3 || family == 4;
    c.router_bias = family == 5;
    if (family == 3)
        c.groups = c.top_groups = 1, c.shared = c.first_dense = 0, c.router_scale = 1;
    if (family == 4 && c.router_normalise)
        c.router_scale = 1;
    if (family >= 4) {
        c.kv_heads = c.heads;
        c.q_lora = draw(seed, 18, 2) ? 4 + draw(seed, 19, 30) : 0;
        c.kv_lora = 4 + draw(seed, 20, 30);
        c.d_nope = 2 + draw(seed, 21, 14);
        c.d_rope = 2 * (1 + draw(seed, 22, 6));
        c.d_v = 2 + draw(seed, 23, 20);
        c.head_dim = c.d_nope + c.d_rope;
        c.rope_interleaved = 1;
        c.mtp = draw(seed, 24, 3);
    }
    c.rope = (struct kern_rope_spec){.type = KERN_ROPE_DEFAULT, .d = c.kv_lora ? c.d_rope : d, .theta = 10000, .factor = 1, .truncate = 1, .original_max_position = 2048};
    return c;
}

/* Weights of a created model are shaken so that biases and norms matter. */
static inline void shake(struct model *m, uint64_t seed)
{
    int64_t n;
    const struct model_param *p = model_params(m, &n);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < p[i].n; j++)
            p[i].w[j] += 0.1f * (rng_f32(seed, RNG_TEST, (uint64_t)i + 100, 1, (uint64_t)j) - 0.5f);
    model_refresh(m);
}

static inline void same_bits(const float *a, const float *b, int64_t n, const char *what, uint64_t seed)
{
    if (memcmp(a, b, (size_t)n * 4))
        fail_msg("case %llu: %s: bits differ", (unsigned long long)seed, what);
}

static inline int open_kerns(struct kern **k)
{
    static const enum kern_isa isas[] = {KERN_AVX512BF16, KERN_AVX512, KERN_AVX2, KERN_PORTABLE};
    int n = 0;
    struct err e = {0};
    for (int i = 0; i < 4; i++) {
        if (kern_has_isa(isas[i]))
            must(kern_open(&(struct kern_opts){.backend = "cpu", .isa = isas[i]}, &k[n++], &e), &e);
        else
            printf("skip: this machine lacks an instruction set (%d)\n", (int)isas[i]);
    }
    return n;
}

static inline char *temp_dir(char buf[64])
{
    snprintf(buf, 64, "/tmp/hone-model-XXXXXX");
    assert_non_null(mkdtemp(buf));
    return buf;
}

static inline void copy_file(const char *from, const char *to_dir, const char *name)
{
    char path[PATH_MAX];
    struct sbuf b;
    struct err e = {0};
    sbuf_init(&b, 64 << 20);
    snprintf(path, sizeof path, "%s/%s", from, name);
    must(file_read(path, &b, &e), &e);
    snprintf(path, sizeof path, "%s/%s", to_dir, name);
    must(file_write_atomic(path, sbuf_str(&b), &e), &e);
    sbuf_release(&b);
}

static inline void write_to(const char *dir, const char *name, struct str s)
{
    char path[PATH_MAX];
    struct err e = {0};
    snprintf(path, sizeof path, "%s/%s", dir, name);
    must(file_write_atomic(path, s, &e), &e);
}

#endif
