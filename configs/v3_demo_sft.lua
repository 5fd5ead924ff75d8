-- A small model of DeepSeek-V3's shape (latent attention, 16 experts in 4 groups, one shared, MTP) learns the demo's problems. docs/longcontext.md has the commands.
include("demo_base.lua")
model = { path = "demo/v3_init" }
data.sources = "demo_sft"
data.cap = 512
train = { dir = "demo/v3_sft", steps = 2000, leaves = 1, lr = 1e-3, lr_min = 1e-4, warmup = 50, schedule = "cosine", weight_decay = 0.01,
          beta2 = 0.95, clip = 1, log_every = 250 }
