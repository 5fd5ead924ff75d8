-- The demo's second stage: the same model gets better at being right, from verdicts on its own answers.
include("demo_base.lua")
model = { path = "demo/sft" }
data.sources = "demo_rl"
train = { dir = "demo/grpo", steps = 100, leaves = 2, lr = 1.5e-4, beta2 = 0.98, warmup = 3, clip = 1, log_every = 10 }
grpo = { preset = "hone", prompts = 32, group = 8 }
eval.every = 25
