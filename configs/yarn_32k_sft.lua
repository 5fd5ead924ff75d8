-- Context extension, stage 1 of 2, as DeepSeek-V3 (report 4.3): 4K -> 32K by YaRN, 1,000 steps at the last rate of pre-training.
-- The report's batch is 1,920 sequences of 32K; ours is a power of two of micro-batches of one sequence.
--   hone data import long_text.jsonl --source long           rows {"text"}
--   hone sft configs/yarn_32k_sft.lua model.path=DIR
-- YaRN's own numbers (scale 40, alpha 1, beta 32, factor 0.1 ln 40 + 1) are the same in both stages; only the sequences grow.
model = { path = "base", precision = "bf16", recompute = true, rope = "yarn", rope_factor = 40, rope_original = 4096 }
data = { store = "long.db", sources = "long", turns = "text", cap = 32768, over_long = "truncate" }
train = { dir = "out/yarn_32k", steps = 1000, leaves = 2048, lr = 7.3e-6, schedule = "constant", beta1 = 0.9, beta2 = 0.95, weight_decay = 0.1, clip = 1,
          moments = "bf16", save_every = 100 }
