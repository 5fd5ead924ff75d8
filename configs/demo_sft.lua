-- The demo's first stage: a random model of about a million parameters learns the form of the problems and of their solutions.
include("demo_base.lua")
model = { path = "demo/init" }
data.sources = "demo_sft"
train = { dir = "demo/sft", steps = 300, leaves = 2, lr = 3e-3, lr_min = 3e-4, warmup = 20, schedule = "cosine", weight_decay = 0.01,
          beta2 = 0.98, clip = 1, log_every = 20 }
