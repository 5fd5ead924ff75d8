/* make bench ONLY=model: training and decoding speed of whole models, each beside what bounds it.
 * HONE_TORCH=/path/to/python (with torch and transformers of tools/parity/requirements.txt): PyTorch on the same model in the same run. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "core/log.h"
#include "core/par.h"
#include "core/rng.h"
#include "model/model.h"
#include "train/train.h"

static void must(err_code rc, const struct err *e)
{
    if (rc == ERR_OK)
        return;
    fprintf(stderr, "bench: %s\n", e->msg);
    exit(1);
}

static struct model_config llama124m(void)
{
    struct model_config c = {.type = "llama", .architecture = "LlamaForCausalLM", .vocab = 50304, .hidden = 768, .layers = 12, .heads = 12, .kv_heads = 12, .head_dim = 64,
                             .inter = 2048, .max_position = 2048, .rms_eps = 1e-5, .init_range = 0.02, .tied = 1, .bos = -1, .pad = -1};
    c.rope = (struct kern_rope_spec){.d = 64, .theta = 10000, .factor = 1, .truncate = 1, .original_max_position = 2048};
    return c;
}

static struct model_config qwen05b(void)
{
    struct model_config c = {.type = "qwen2", .architecture = "Qwen2ForCausalLM", .vocab = 151936, .hidden = 896, .layers = 24, .heads = 14, .kv_heads = 2, .head_dim = 64,
                             .inter = 4864, .max_position = 32768, .rms_eps = 1e-6, .init_range = 0.02, .tied = 1, .qkv_bias = 1, .bos = -1, .pad = -1};
    c.rope = (struct kern_rope_spec){.d = 64, .theta = 1e6, .factor = 1, .truncate = 1, .original_max_position = 32768};
    return c;
}

/* Cheap weights: the speed does not depend on them, a normal for each would take longer than the measurement. */
static struct model *open_model(struct kern *k, const struct model_config *c, enum kern_prec prec, int train)
{
    struct model *m;
    struct err e = {0};
    must(model_create(k, c, 1, &(struct model_opts){.prec = prec, .train = train}, &m, &e), &e);
    return m;
}

/* ---- training ------------------------------------------------------------------------------ */

static void refresh(void *ctx)
{
    model_refresh(ctx);
}

struct batch {
    int32_t *ids, *pos, *target, cu[65];
    float *g, *logp;
    struct model_batch b;
};

static void batch_open(struct batch *t, int rows, int len, int64_t vocab)
{
    int64_t n = (int64_t)rows * len;
    t->ids = calloc((size_t)n, 4), t->pos = calloc((size_t)n, 4), t->target = calloc((size_t)n, 4), t->g = calloc((size_t)n, 4), t->logp = calloc((size_t)n, 4);
    for (int64_t i = 0; i < n; i++) {
        t->ids[i] = (int32_t)rng_below((uint64_t)vocab, 1, RNG_TEST, 0, 0, (uint64_t)i);
        t->target[i] = (int32_t)rng_below((uint64_t)vocab, 1, RNG_TEST, 1, 0, (uint64_t)i);
        t->pos[i] = (int32_t)(i % len);
        t->g[i] = -1.0f / (float)n;
    }
    for (int r = 0; r <= rows; r++)
        t->cu[r] = r * len;
    t->b = (struct model_batch){.n_tok = n, .n_seq = rows, .tokens = t->ids, .positions = t->pos, .cu_seqlens = t->cu};
}

static void batch_close(struct batch *t)
{
    free(t->ids), free(t->pos), free(t->target), free(t->g), free(t->logp);
}

struct trainee {
    struct model *m;
    struct train t;
    struct train_param *params;
    float **grads;
    int64_t n;
};

static void trainee_open(struct trainee *s, struct kern *k, const struct model_config *c, enum kern_prec prec, const struct batch *b)
{
    struct err e = {0};
    s->m = open_model(k, c, prec, 1);
    const struct model_param *p = model_params(s->m, &s->n);
    s->params = calloc((size_t)s->n, sizeof *s->params);
    s->grads = calloc((size_t)s->n, sizeof *s->grads);
    for (int64_t i = 0; i < s->n; i++)
        s->params[i] = (struct train_param){.name = p[i].name, .w = p[i].w, .n = p[i].n, .decay = p[i].decay};
    struct train_opts o = {.steps = 1000, .leaves = 1, .lr = 1e-5, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.1, .clip = 1, .moments = TRAIN_F32, .dir = ""};
    struct train_target target = {.params = s->params, .n_params = s->n, .ctx = s->m, .refresh = refresh};
    must(train_open(&s->t, &o, &target, &e), &e);
    must(model_reserve(s->m, &(struct model_room){.tokens = b->b.n_tok, .seqs = b->b.n_seq, .train = 1}, &e), &e);
}

static void trainee_close(struct trainee *s)
{
    train_close(&s->t);
    model_close(s->m);
    free(s->params);
    free(s->grads);
}

static double train_step_once(struct trainee *s, const struct batch *b)
{
    struct train_step out;
    struct err e = {0};
    double loss = 0, began = clock_now();
    train_begin(&s->t);
    float *g = train_leaf(&s->t);
    for (int64_t i = 0; i < s->n; i++)
        s->grads[i] = g + s->t.offset[i];
    model_forward(s->m, &b->b, 1);
    model_loss(s->m, &(struct model_loss){.target = b->target, .temperature = 1, .logp = b->logp, .g = b->g, .grads = s->grads, .fresh = 1});
    for (int64_t i = 0; i < b->b.n_tok; i++)
        loss += (double)(b->g[i] * b->logp[i]);
    train_leaf_done(&s->t);
    must(train_end(&s->t, loss, &out, &e), &e);
    return clock_now() - began;
}

static double torch_tokens_per_s(const char *python, const char *dtype, int rows, int len)
{
    char cmd[4096], line[400];
    double best = 0, v;
    snprintf(cmd, sizeof cmd, "%s tools/parity/bench_torch.py %s %d %d %d 2>/dev/null", python, dtype, rows, len, par_threads());
    FILE *f = popen(cmd, "r");
    while (f && fgets(line, sizeof line, f)) {
        printf("    %s", line);
        if (sscanf(line, "torch %*s %*s %lf", &v) == 1)
            best = fmax(best, v);
    }
    if (f)
        pclose(f);
    return best;
}

static void bench_training(struct kern *k)
{
    enum { ROWS = 4, LEN = 256, STEPS = 5 };
    struct model_config c = llama124m();
    const char *python = getenv("HONE_TORCH");
    struct batch b;
    batch_open(&b, ROWS, LEN, c.vocab);
    printf("SFT step, Llama shape of %.1f M parameters, %d rows of %d tokens, %d threads, forward + backward + clip + AdamW (f32 moments)\n",
           (double)model_size(&c).params / 1e6, ROWS, LEN, par_threads());
    for (int prec = 0; prec < 2; prec++) {
        struct trainee s;
        double best = 1e9;
        trainee_open(&s, k, &c, prec ? KERN_BF16 : KERN_F32, &b);
        for (int i = 0; i < STEPS + 2; i++) { /* the first two touch the memory */
            double t = train_step_once(&s, &b);
            best = i >= 2 && t < best ? t : best;
        }
        trainee_close(&s);
        double rate = ROWS * LEN / best, gflops = 3 * model_flops(&c, LEN / 2) * rate / 1e9;
        printf("  hone %-5s %7.1f tokens/s  %6.1f GFLOP/s", prec ? "bf16" : "fp32", rate, gflops);
        printf("  %.2f x llm.c's GPT-2 124M (43 tokens/s, 4 x 256, measured on this kind of machine)\n", rate / 43);
        double torch = python ? torch_tokens_per_s(python, prec ? "bf16" : "fp32", ROWS, LEN) : 0;
        if (torch > 0)
            printf("  ratio %s: %.2f x PyTorch's best\n", prec ? "bf16" : "fp32", rate / torch);
    }
    batch_close(&b);
}

/* ---- decoding ------------------------------------------------------------------------------ */

struct stream {
    const uint64_t *p;
    uint64_t sum[PAR_MAX * 8];
};

static void read_some(void *ctx, int64_t from, int64_t to, int worker)
{
    struct stream *s = ctx;
    uint64_t a = 0, b = 0, c = 0, d = 0;
    for (int64_t i = from; i < to; i += 4)
        a += s->p[i], b += s->p[i + 1], c += s->p[i + 2], d += s->p[i + 3];
    s->sum[worker * 8] += a + b + c + d;
}

static double read_bandwidth(void)
{
    int64_t n = 1LL << 27; /* 1 GiB */
    uint64_t *p = malloc((size_t)n * 8);
    static struct stream s;
    double best = 0;
    memset(p, 1, (size_t)n * 8);
    s.p = p;
    for (int i = 0; i < 5; i++) {
        double began = clock_now();
        par_for(n, n / 64, read_some, &s);
        best = fmax(best, (double)n * 8 / (clock_now() - began));
    }
    free(p);
    return best;
}

struct decoder {
    struct model *m;
    struct model_cache *c;
    int32_t ids[64], pos[64], cu[65], kv_len[64], rows[64], pages[64 * 8];
    float *logits;
    int n, at;
};

static void decoder_step(struct decoder *d)
{
    for (int i = 0; i < d->n; i++) {
        d->ids[i] = (d->at * 37 + i) % 1000;
        d->pos[i] = d->at;
        d->kv_len[i] = d->at + 1;
        d->cu[i] = i;
        d->rows[i] = i;
        for (int j = 0; j < 8; j++)
            d->pages[i * 8 + j] = i * 8 + j;
    }
    d->cu[d->n] = d->n;
    model_step(d->m, d->c, &(struct model_step){.b = {.n_tok = d->n, .n_seq = d->n, .tokens = d->ids, .positions = d->pos, .cu_seqlens = d->cu}, .kv_len = d->kv_len,
                                                .pages = d->pages, .max_pages = 8});
    model_logits(d->m, d->rows, d->n, d->logits);
    d->at++;
}

static double decode_rate(struct model *m, int n, int steps)
{
    static struct decoder d;
    struct err e = {0};
    double best = 1e9;
    d = (struct decoder){.m = m, .n = n};
    must(model_reserve(m, &(struct model_room){.tokens = n, .seqs = n}, &e), &e);
    must(model_cache_open(m, n * 8, &d.c, &e), &e);
    d.logits = malloc((size_t)(n * model_conf(m)->vocab) * 4);
    for (int i = 0; i < steps; i++) {
        double began = clock_now();
        decoder_step(&d);
        double t = clock_now() - began;
        best = t < best ? t : best;
    }
    free(d.logits);
    model_cache_close(d.c);
    return n / best;
}

static void bench_decoding(struct kern *k)
{
    struct model_config c = qwen05b();
    printf("decoding, Qwen2.5-0.5B shape, random weights, context below 100\n");
    for (int prec = 1; prec >= 0; prec--) {
        struct model *m = open_model(k, &c, prec ? KERN_BF16 : KERN_F32, 0);
        double weights = (double)model_size(&c).params * (prec ? 2 : 4), bw = read_bandwidth();
        double one = decode_rate(m, 1, 40);
        bw = fmax(bw, read_bandwidth());
        double many = decode_rate(m, 32, 12);
        printf("  %s: one stream %6.2f tokens/s, reads %5.2f GB/s of %5.2f GB/s measured in this run = %.1f %%; 32 streams %7.1f tokens/s = %.2f x one\n", prec ? "bf16" : "fp32", one,
               one * weights / 1e9, bw / 1e9, 100 * one * weights / bw, many, many / one);
        model_close(m);
    }
}

/* ---- memory -------------------------------------------------------------------------------- */

static void bench_memory(struct kern *k)
{
    struct model_config c = qwen05b();
    struct batch b;
    struct trainee s;
    struct rusage u;
    batch_open(&b, 4, 512, c.vocab);
    trainee_open(&s, k, &c, KERN_BF16, &b);
    double first = train_step_once(&s, &b), second = train_step_once(&s, &b);
    getrusage(RUSAGE_SELF, &u);
    printf("Qwen2.5-0.5B shape, one SFT step of %lld tokens (bf16 linears, f32 moments): %.2f s, then %.2f s; largest memory of this process so far %.2f GiB\n",
           (long long)b.b.n_tok, first, second, (double)u.ru_maxrss / (1 << 20));
    printf("  activations %.2f GiB, of them for a plain forward %.2f GiB\n", (double)model_room_bytes(s.m, &(struct model_room){.tokens = 2048, .seqs = 4, .train = 1}) / (1 << 30),
           (double)model_room_bytes(s.m, &(struct model_room){.tokens = 2048, .seqs = 4}) / (1 << 30));
    trainee_close(&s);
    batch_close(&b);
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0); /* lines show while the next measurement runs */
    const char *only = argc > 1 ? argv[1] : "";
    struct kern *k;
    struct err e = {0};
    must(kern_open(&(struct kern_opts){.backend = "cpu"}, &k, &e), &e);
    printf("backend %s\n", kern_name(k));
    if (strstr("training", only))
        bench_training(k);
    if (strstr("decoding", only))
        bench_decoding(k);
    if (strstr("memory", only))
        bench_memory(k);
    kern_close(k);
    return 0;
}
