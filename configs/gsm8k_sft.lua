-- SFT of Qwen2.5-0.5B-Instruct on worked GSM8K solutions.
--   hone data import gsm8k_train.jsonl --source gsm8k        rows {"question", "answer"}: the solution ends in "#### N"
--   hone sft configs/gsm8k_sft.lua model.path=Qwen2.5-0.5B-Instruct
model = { path = "Qwen2.5-0.5B-Instruct", precision = "bf16" }
data = { store = "gsm8k.db", sources = "gsm8k", cap = 4096, max_len = 1024, over_long = "drop" }
train = { dir = "out/gsm8k_sft", epochs = 3, leaves = 8, lr = 1e-5, lr_min = 1e-6, warmup = 20, schedule = "cosine", weight_decay = 0.01,
          moments = "bf16", save_every = 100 }
