-- The demo's first stage: a random model of about a million parameters learns the form of the problems and of their solutions.
include("demo_base.lua")
model = { path = "demo/init" }
data.sources = "demo_sft"
data.cap = 512
train = { dir = "demo/sft", steps = 2000, leaves = 1, lr = 1e-3, lr_min = 1e-4, warmup = 50, schedule = "cosine", weight_decay = 0.01,
          beta2 = 0.98, clip = 1, log_every = 250 }
