/* From the configuration to the options of the maths. */
#ifndef HONE_GRPO_OPTIONS_H
#define HONE_GRPO_OPTIONS_H

#include "grpo/advantage.h"
#include "grpo/loss.h"
#include "script/script.h"

CDECL_BEGIN

struct grpo_adv_opts grpo_adv_options(const struct cfg *c);
/* kl_coef is 0 when the KL goes into the reward. */
struct grpo_loss_opts grpo_loss_options(const struct cfg *c);

CDECL_END

#endif
