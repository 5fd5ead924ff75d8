-- What the two stages of the demo share (tools/demo.sh): small enough for two CPU cores. Accuracy is measured as training samples:
-- at temperature 1, several samples of each problem.
data = { store = "demo/hone.db", cap = 2048, over_long = "error" }
rollout = { temperature = 1, max_tokens = 40, batch = 256, context = 96 }
reward = { list = { math = 1 } }
eval = { sources = "demo_heldout", split = "all", samples = 4, k = { "1", "4" }, temperature = 1, prompts = 150 }
