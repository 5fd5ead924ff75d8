-- Needles at 11 depths of prompts up to 128K tokens, as in the DeepSeek-V3 report's figure 8.
--   hone eval niah configs/yarn_niah.lua niah.text=book.txt
model = { path = "out/yarn_128k", precision = "bf16" }
data = { store = "long.db" }
niah = { lengths = { "2048", "8192", "16384", "32768", "49152", "65536", "81920", "98304", "114688", "130000" }, depths = 11, samples = 1, out = "out/niah" }
