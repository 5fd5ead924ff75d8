-- Reinforcement learning of what configs/v3_demo_sft.lua made; latent attention in its absorbed form, so that sampling reads the latent cache.
include("demo_base.lua")
model = { path = "demo/v3_sft" }
data.sources = "demo_rl"
train = { dir = "demo/v3_grpo", steps = 100, leaves = 2, lr = 1.5e-4, beta2 = 0.95, warmup = 3, clip = 1, log_every = 10 }
grpo = { preset = "hone", prompts = 32, group = 8 }
eval.every = 25
