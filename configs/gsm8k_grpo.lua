-- GRPO of Qwen2.5-0.5B-Instruct on GSM8K questions; the reward is the math verifier against the gold after "####".
--   hone data import gsm8k_train.jsonl --source gsm8k_rl --format prompt_answer
--   hone data import gsm8k_test.jsonl --source gsm8k_test --format prompt_answer
--   hone grpo configs/gsm8k_grpo.lua model.path=Qwen2.5-0.5B-Instruct
model = { path = "Qwen2.5-0.5B-Instruct", precision = "bf16", recompute = true }
data = { store = "gsm8k.db", sources = "gsm8k_rl", exclude = "gsm8k_test", cap = 8192,
         system = "Please reason step by step, and put your final answer within \\boxed{}." }
rollout = { temperature = 1, max_tokens = 512, context = 1024, batch = 256 }
reward = { list = { math = 1 }, gold_form = "response" }
grpo = { preset = "dapo", prompts = 32, group = 8, overlong_cache = 64 }
train = { dir = "out/gsm8k_grpo", steps = 200, leaves = 8, lr = 1e-6, warmup = 5, weight_decay = 0, moments = "bf16", save_every = 20 }
eval = { sources = "gsm8k_test", split = "all", every = 20, prompts = 256, show = 2 }
