/* The subcommands: name, one-line summary. A command stands here when it works, not before; its code
 * is cmd/<name>.c with `int cmd_<name>(int argc, char **argv)`. */
CMD(help, "this list; `hone help COMMAND`, topics: config, rewards, exit-codes")
CMD(data, "import, list, show, stats, plan and export of data")
CMD(ckpt, "digest, diff and show of checkpoints")
CMD(model, "info, init and diff of model folders")
CMD(tokenize, "text to token ids and back; train a vocabulary")
CMD(score, "log-probabilities of given tokens by the training forward")
CMD(generate, "rows from a Lua file, for imports and demos")
CMD(config, "the effective configuration of a file and words")
CMD(reward, "what responses earn, by the rewards of a config")
CMD(verify, "verdicts on answers: math")
CMD(template, "rows through a chat template")
