-- What the two stages of the demo share (tools/demo.sh). SIZE of everything: small enough for two CPU cores.
data = { store = "demo.db", cap = 2048, over_long = "error" }
rollout = { temperature = 1, max_tokens = 64, batch = 128, context = 192 }
reward = { list = { math = 1 } }
eval = { sources = "demo_heldout", split = "all", samples = 4, k = { "1", "4" }, temperature = 1, prompts = 100, show = 2 }
