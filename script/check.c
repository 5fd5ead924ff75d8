/* Rules over several keys, and the help of the table. Bounds of one key stand in configs/options.def. */
#include <stdio.h>

#include "script/config.h"

static err_code need(int have, const char *key, const char *job, struct err *e)
{
    return have ? ERR_OK : err_set(e, ERR_USAGE, "hone %s needs %s", job, key);
}

static int power_of_two(int64_t n)
{
    return (n & (n - 1)) == 0;
}

static err_code check_train(const struct cfg *c, const char *job, struct err *e)
{
    int64_t steps = c->train.steps;
    if (!power_of_two(c->train.leaves))
        return err_set(e, ERR_USAGE, "train.leaves must be a power of two, got %lld", (long long)c->train.leaves);
    if (c->train.lr_min > c->train.lr)
        return err_set(e, ERR_USAGE, "train.lr_min (%g) is above train.lr (%g)", c->train.lr_min, c->train.lr);
    if (steps && c->train.warmup + c->train.hold > steps)
        return err_set(e, ERR_USAGE, "train.warmup + train.hold (%lld) is above train.steps (%lld)",
                       (long long)(c->train.warmup + c->train.hold), (long long)steps);
    if (!steps && c->train.epochs <= 0)
        return err_set(e, ERR_USAGE, "hone %s has nothing to do: train.steps and train.epochs are 0", job);
    if (c->train.keep && !c->train.dir[0] && c->train.save_every)
        return err_set(e, ERR_USAGE, "train.save_every is set but train.dir is empty: there is no place for checkpoints");
    return ERR_OK;
}

static err_code check_data(const struct cfg *c, struct err *e)
{
    if (c->data.max_len > c->data.cap)
        return err_set(e, ERR_USAGE, "data.max_len (%lld) is above data.cap (%lld): such a row fits into no micro-batch",
                       (long long)c->data.max_len, (long long)c->data.cap);
    if (c->data.raw && c->data.template[0])
        return err_set(e, ERR_USAGE, "data.raw and data.template exclude each other");
    if (!strcmp(c->data.split, "heldout") && c->data.heldout == 0)
        return err_set(e, ERR_USAGE, "data.split=heldout needs data.heldout > 0");
    return ERR_OK;
}

static err_code check_reward(const struct cfg *c, struct err *e)
{
    struct cfg_item items[64];
    int n, lua = 0;
    double total = 0;
    TRY(cfg_list(c->reward.list, "reward.list", items, 64, &n, e));
    for (int i = 0; i < n; i++) {
        lua |= str_eq(items[i].name, STR("lua"));
        total += items[i].weight < 0 ? -items[i].weight : items[i].weight;
    }
    if (lua && !c->reward.lua[0])
        return err_set(e, ERR_USAGE, "reward.list has lua: reward.lua must name the file");
    if (!lua && c->reward.lua[0])
        return err_set(e, ERR_USAGE, "reward.lua is set but reward.list has no lua");
    if (n && total == 0)
        return err_set(e, ERR_USAGE, "every weight in reward.list is 0");
    if (c->reward.length_target > c->reward.length_limit)
        return err_set(e, ERR_USAGE, "reward.length_target (%lld) is above reward.length_limit (%lld)", (long long)c->reward.length_target,
                       (long long)c->reward.length_limit);
    return ERR_OK;
}

static err_code check_grpo(const struct cfg *c, struct err *e)
{
    if (c->grpo.minibatches > c->grpo.prompts)
        return err_set(e, ERR_USAGE, "grpo.minibatches (%lld) is above grpo.prompts (%lld): a minibatch has whole groups",
                       (long long)c->grpo.minibatches, (long long)c->grpo.prompts);
    if (c->grpo.dual_clip != 0 && c->grpo.dual_clip <= 1)
        return err_set(e, ERR_USAGE, "grpo.dual_clip must be 0 (off) or above 1, got %g", c->grpo.dual_clip);
    if (c->grpo.dual_clip != 0 && strcmp(c->grpo.loss, "clip"))
        return err_set(e, ERR_USAGE, "grpo.dual_clip works with grpo.loss=clip only");
    if (!strcmp(c->grpo.loss, "cispo") && strcmp(c->grpo.level, "token"))
        return err_set(e, ERR_USAGE, "grpo.loss=cispo is defined per token: grpo.level must be token");
    if (!strcmp(c->grpo.loss, "reinforce") && c->grpo.inner_epochs * c->grpo.minibatches > 1)
        return err_set(e, ERR_USAGE, "grpo.loss=reinforce has no ratio, so only one optimiser step per sample is sound: "
                       "grpo.inner_epochs and grpo.minibatches must be 1");
    if (!strcmp(c->grpo.scale, "loo_std") && c->grpo.group < 3)
        return err_set(e, ERR_USAGE, "grpo.scale=loo_std needs grpo.group of at least 3");
    if (c->grpo.overlong_cache > c->rollout.max_tokens)
        return err_set(e, ERR_USAGE, "grpo.overlong_cache (%lld) is above rollout.max_tokens (%lld)", (long long)c->grpo.overlong_cache,
                       (long long)c->rollout.max_tokens);
    if ((c->grpo.ref_path[0] || c->grpo.ref_sync_every) && c->grpo.kl_coef == 0)
        return err_set(e, ERR_USAGE, "a reference is configured but grpo.kl_coef is 0");
    if (c->rollout.temperature == 0)
        return err_set(e, ERR_USAGE, "rollout.temperature 0 gives %lld equal samples per group", (long long)c->grpo.group);
    return ERR_OK;
}

static err_code check_eval(const struct cfg *c, struct err *e)
{
    struct cfg_item k[64];
    int n;
    TRY(cfg_list(c->eval.k, "eval.k", k, 64, &n, e));
    for (int i = 0; i < n; i++) {
        int64_t v;
        if (!str_to_i64(k[i].name, &v) || v < 1 || v > c->eval.samples)
            return err_set(e, ERR_USAGE, "eval.k: '%.*s' is no number in [1, eval.samples = %lld]", STR_ARG(k[i].name), (long long)c->eval.samples);
    }
    if (c->eval.samples > 1 && c->eval.temperature == 0)
        return err_set(e, ERR_USAGE, "eval.samples is %lld but eval.temperature is 0: all samples of a problem would be equal",
                       (long long)c->eval.samples);
    return ERR_OK;
}

err_code cfg_check(const struct cfg *c, const char *job, struct err *e)
{
    int sft = !strcmp(job, "sft"), grpo = !strcmp(job, "grpo");
    TRY(need(c->model.path[0] != 0, "model.path (a Hugging Face folder)", job, e));
    if (!strcmp(job, "niah"))
        return ERR_OK; /* reads no rows and earns nothing */
    TRY(need(c->data.sources[0] != 0 || (!sft && !grpo && c->eval.sources[0]), "data.sources (what to read from the store)", job, e));
    TRY(check_data(c, e));
    TRY(check_eval(c, e));
    if (sft || grpo)
        TRY(check_train(c, job, e));
    if (!sft) {
        TRY(need(c->reward.list[0] != 0, "reward.list (what a response earns)", job, e));
        TRY(check_reward(c, e));
    }
    if (grpo) {
        TRY(need(c->train.steps > 0, "train.steps (prompts are drawn without end)", job, e));
        TRY(check_grpo(c, e));
    }
    return ERR_OK;
}

/* ---- help --------------------------------------------------------------------------------- */

static const struct row {
    const char *section, *key, *type, *def, *choices, *help;
    double min, max;
} rows[] = {
#define TOP(key, TYPE, def, min, max, choices, help) {"", #key, #TYPE, def, choices, help, min, max},
#define SECTION(name, help) {#name, "", "", "", "", help, 0, 0},
#define OPT(section, key, TYPE, def, min, max, choices, help) {#section, #key, #TYPE, def, choices, help, min, max},
#include "configs/options.def"
};

static void add_range(struct sbuf *b, const struct row *r)
{
    struct str rest = str_of(r->choices), one;
    if (r->choices[0])
        for (int i = 0; str_split(&rest, '|', &one); i++)
            sbuf_addf(b, "%s`%.*s`", i ? " " : "", STR_ARG(one));
    else if (r->min != 0 || r->max != 0)
        sbuf_addf(b, "%.16g to %.16g", r->min, r->max);
}

static void markdown_row(struct sbuf *b, const struct row *r)
{
    if (!r->key[0]) {
        sbuf_addf(b, "\n## %s\n\n%s\n\n| key | type | default | values | meaning |\n|---|---|---|---|---|\n", r->section, r->help);
        return;
    }
    sbuf_addf(b, "| `%s%s%s` | %s | %s%s%s | ", r->section, r->section[0] ? "." : "", r->key, r->type, r->def[0] ? "`" : "", r->def,
              r->def[0] ? "`" : "");
    add_range(b, r);
    sbuf_addf(b, " | %s |\n", r->help);
}

static void text_row(struct sbuf *b, const struct row *r)
{
    char left[128];
    if (!r->key[0]) {
        sbuf_addf(b, "\n%s: %s\n", r->section, r->help);
        return;
    }
    snprintf(left, sizeof left, "%s%s%s=%s", r->section, r->section[0] ? "." : "", r->key, r->def);
    sbuf_addf(b, "  %-32s %s", left, r->help);
    if (r->choices[0])
        sbuf_addf(b, " (%s)", r->choices);
    else if (r->min != 0 || r->max != 0)
        sbuf_addf(b, " [%.16g, %.16g]", r->min, r->max);
    sbuf_addc(b, '\n');
}

void cfg_help(struct sbuf *out, int markdown)
{
    if (markdown)
        sbuf_adds(out, "# Configuration\n\n"
                  "Made from `configs/options.def` by `hone help config markdown`; do not edit.\n\n"
                  "A config is a Lua file that assigns sections, `train = { lr = 1e-5 }`, or returns one table of them. It runs in a\n"
                  "closed state: no files, no clock, no randomness, limits on memory and instructions. `include(\"other.lua\")` runs\n"
                  "another file first (path relative to the including one). Helpers must be `local`. Words `section.key=value` on the\n"
                  "command line win over files, and files over `grpo.preset`, which fills what nothing else set\n"
                  "(`configs/presets.def`). Values are typed. An unknown key is an error that names the nearest one, with file and\n"
                  "line. The full effective config is stored with the run and its checkpoints.\n\n"
                  "Types: BOOL `true`/`false`; INT whole number; NUM number; STR string; ENUM one of the values; LIST names with\n"
                  "optional weights, `{ \"a\", \"b\" }` or `{ a = 1, b = 0.5 }` in Lua, `a:1,b:0.5` as a word; TEXTS strings, `{ \"x\" }` in\n"
                  "Lua, a JSON array or one bare string as a word. Paths are relative to where `hone` is started.\n\n"
                  "| key | type | default | values | meaning |\n|---|---|---|---|---|\n");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        (markdown ? markdown_row : text_row)(out, &rows[i]);
}
