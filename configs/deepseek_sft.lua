-- SFT of a DeepSeek-V3 model as its report trains: FP8 linears, bf16 moments, experts balanced by the selection bias (docs/deepseek.md, docs/fp8.md).
--   hone data import chat.jsonl --store chat.db --source chat
--   hone sft configs/deepseek_sft.lua model.path=DIR
model = { path = "DeepSeek-V3", precision = "fp8", recompute = true }
data = { store = "chat.db", sources = "chat", cap = 4096, over_long = "drop" }
train = { dir = "out/deepseek_sft", epochs = 2, leaves = 8, lr = 5e-6, lr_min = 1e-6, schedule = "cosine", warmup = 20, beta2 = 0.95, weight_decay = 0.1,
          moments = "bf16", balance_rate = 1e-3, balance_loss = 1e-4, save_every = 100 }
