#include "grpo/options.h"

#include <string.h>

struct grpo_adv_opts grpo_adv_options(const struct cfg *c)
{
    return (struct grpo_adv_opts){
        .baseline = (enum grpo_baseline)cfg_index(c, "grpo.baseline"),
        .scale = (enum grpo_scale)cfg_index(c, "grpo.scale"),
        .ddof = (int)c->grpo.ddof,
        .eps = c->grpo.adv_eps,
        .eps_inside = cfg_index(c, "grpo.eps_at"),
        .single_reward = cfg_index(c, "grpo.single"),
    };
}

struct grpo_loss_opts grpo_loss_options(const struct cfg *c)
{
    int in_reward = !strcmp(c->grpo.kl_in, "reward");
    return (struct grpo_loss_opts){
        .kind = (enum grpo_kind)cfg_index(c, "grpo.loss"),
        .level = (enum grpo_level)cfg_index(c, "grpo.level"),
        .clip_low = c->grpo.clip_low,
        .clip_high = c->grpo.clip_high,
        .dual_clip = c->grpo.dual_clip,
        .kl_coef = in_reward ? 0 : c->grpo.kl_coef,
        .kl_kind = (enum grpo_kl)cfg_index(c, "grpo.kl_kind"),
        .aggregate = (enum grpo_aggregate)cfg_index(c, "grpo.aggregate"),
        .constant_length = (double)(c->grpo.constant_length ? c->grpo.constant_length : c->rollout.max_tokens),
        .entropy_coef = c->grpo.entropy_coef,
    };
}
