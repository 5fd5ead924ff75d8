-- Context extension, stage 2 of 2: 32K -> 128K. The report's batch is 480 sequences of 128K.
--   hone eval niah configs/yarn_niah.lua niah.text=book.txt        afterwards
--   hone sft configs/yarn_128k_sft.lua
include("yarn_32k_sft.lua")
model.path = "out/yarn_32k"
data.cap = 131072
train.dir = "out/yarn_128k"
train.leaves = 512
