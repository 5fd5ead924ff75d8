#!/usr/bin/env python3
"""A model that really retrieves, its weights set by hand: niah_head.py TOKENIZER_FOLDER VOCAB OUT KIND

Two layers of DeepSeek-V3's latent attention, no experts. Tokens have codes of +-1. Layer 1 brings the codes of the three tokens before to every place (heads that
see position alone: rotary parts turned back by 1, 2 and 3). In layer 2 a query of the codes (this token, the two before) meets keys of the codes (the
three tokens before): it looks at what stood behind the same three tokens elsewhere, and the head says that token: an induction head (Olsson et al. 2022).
KIND  head    that
      none    without layer 2's output: knows every token, finds nothing
      near    a rotary part takes from the score with distance: finds what is near
"""
import array, json, math, os, random, shutil, struct, sys

C, DR, HEADS, HIDDEN = 32, 32, 4, 192  # width of a code; rotary width
DN, DV, LATENT = 3 * C, C, 4 * C
TOKEN, BEFORE, OUT, ONE = 0, C, 4 * C, 5 * C  # places in the residual stream: code; codes of the 3 before; answer; 1


class Matrix:
    def __init__(self, rows, cols):
        self.rows, self.cols, self.w = rows, cols, array.array("f", bytes(4 * rows * cols))

    def set(self, row, col, value):
        self.w[row * self.cols + col] = value

    def diagonal(self, row, col, n, value):
        for i in range(n):
            self.set(row + i, col + i, value)


def turned(by):
    """A rotary vector that meets (1, 0, 1, 0, ...) best `by` tokens earlier."""
    w = [10000 ** (-2 * i / DR) for i in range(DR // 2)]
    return [f(by * x) for x in w for f in (math.cos, lambda a: -math.sin(a))]


def main():
    tok, vocab, out, kind = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
    rng = random.Random(1)
    scale = math.sqrt(DN + DR)  # undone by attention
    t = {}
    embed, head = Matrix(vocab, HIDDEN), Matrix(vocab, HIDDEN)
    for v in range(vocab):
        for i in range(C):
            sign = rng.choice((-1.0, 1.0))
            embed.set(v, TOKEN + i, sign)
            head.set(v, OUT + i, sign)
        embed.set(v, ONE, 1.0)
    t["model.embed_tokens.weight"], t["lm_head.weight"] = embed, head
    for layer in range(2):
        q, kv, up, o = Matrix(HEADS * (DN + DR), HIDDEN), Matrix(LATENT + DR, HIDDEN), Matrix(HEADS * (DN + DV), LATENT), Matrix(HIDDEN, HEADS * DV)
        # what a norm makes of a number 1: 33 and 129 of them are there
        one = 1 / math.sqrt((C + 1) / HIDDEN) if layer == 0 else 1 / math.sqrt((4 * C + 1) / HIDDEN)
        for i in range(0, DR, 2):
            kv.set(LATENT + i, ONE, 1 / one)
        if layer == 0:
            kv.diagonal(3 * C, TOKEN, C, 1)  # the latent's norm makes +-2 of it
            for h in range(3):
                for i, x in enumerate(turned(h + 1)):
                    q.set(h * (DN + DR) + DN + i, ONE, 300 * scale * x / one)
                up.diagonal(h * (DN + DV) + DN, 3 * C, C, 0.5)
                o.diagonal(BEFORE + h * C, h * DV, C, 1)
        else:
            kv.diagonal(0, BEFORE, 3 * C, 1)
            kv.diagonal(3 * C, TOKEN, C, 1)
            q.diagonal(0, TOKEN, 3 * C, scale / one)  # this token and the two before meet the three before
            up.diagonal(0, 0, 3 * C, 1)
            up.diagonal(DN, 3 * C, C, 1)
            if kind == "near":
                q.set(DN + 16, ONE, 100 * scale / one)  # 100 cos(0.01 distance)
            if kind != "none":
                o.diagonal(OUT, 0, C, 1)
        p = f"model.layers.{layer}."
        t[p + "self_attn.q_proj.weight"], t[p + "self_attn.kv_a_proj_with_mqa.weight"], t[p + "self_attn.kv_b_proj.weight"], t[p + "self_attn.o_proj.weight"] = q, kv, up, o
        for name, rows, cols in (("gate_proj", 16, HIDDEN), ("up_proj", 16, HIDDEN), ("down_proj", HIDDEN, 16)):
            t[p + f"mlp.{name}.weight"] = Matrix(rows, cols)
        for name, n in (("input_layernorm", HIDDEN), ("post_attention_layernorm", HIDDEN), ("self_attn.kv_a_layernorm", LATENT)):
            t[p + name + ".weight"] = array.array("f", [1.0] * n)
    t["model.norm.weight"] = array.array("f", [1.0] * HIDDEN)
    index, at, body = {}, 0, b""
    for name, x in t.items():
        data = (x.w if isinstance(x, Matrix) else x).tobytes()
        index[name] = {"dtype": "F32", "shape": [x.rows, x.cols] if isinstance(x, Matrix) else [len(x)], "data_offsets": [at, at + len(data)]}
        at += len(data)
        body += data
    names = json.dumps(index).encode()
    shutil.copytree(tok, out)
    with open(os.path.join(out, "model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(names)) + names + body)
    config = {"architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "vocab_size": vocab, "hidden_size": HIDDEN, "intermediate_size": 16, "moe_intermediate_size": 16,
              "num_hidden_layers": 2, "first_k_dense_replace": 2, "num_attention_heads": HEADS, "num_key_value_heads": HEADS, "q_lora_rank": None, "kv_lora_rank": LATENT,
              "qk_nope_head_dim": DN, "qk_rope_head_dim": DR, "v_head_dim": DV, "n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2, "n_group": 2, "topk_group": 1,
              "norm_topk_prob": True, "routed_scaling_factor": 1.0, "scoring_func": "sigmoid", "topk_method": "noaux_tc", "hidden_act": "silu", "max_position_embeddings": 2048,
              "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": False, "torch_dtype": "float32"}
    with open(os.path.join(out, "config.json"), "w") as f:
        json.dump(config, f)


main()
