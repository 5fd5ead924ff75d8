#!/usr/bin/env python3
"""transformers loads what hone saved, and both give the same log-probs.

    roundtrip.py HONE [N] [SEED]

N random tiny configs of each family: `hone model init` (f32 or bf16, one file or shards), from_pretrained in float64 without missing, unexpected or
mismatched tensors, `hone score --precision fp32` against log_softmax in float64; then transformers saves and hone scores that folder: the same bits.
"""
import json, os, random, shutil, subprocess, sys, tempfile
import torch
from transformers import AutoModelForCausalLM

hone, n, seed = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 10, int(sys.argv[3]) if len(sys.argv) > 3 else 1
rnd = random.Random(seed)
scalings = [None, None, {'rope_type': 'linear', 'factor': 2.5},
            {'rope_type': 'llama3', 'factor': 8.0, 'low_freq_factor': 1.0, 'high_freq_factor': 4.0, 'original_max_position_embeddings': 32},
            {'rope_type': 'yarn', 'factor': 4.0, 'original_max_position_embeddings': 32}]


def config(kind):
    kv = rnd.choice([1, 2, 3])
    c = dict(model_type=kind, vocab_size=rnd.randint(20, 200), intermediate_size=rnd.randint(8, 90), num_hidden_layers=rnd.randint(1, 3),
             num_key_value_heads=kv, num_attention_heads=kv * rnd.randint(1, 3), head_dim=2 * rnd.randint(2, 12), max_position_embeddings=128, rms_norm_eps=rnd.choice([1e-5, 1e-6]),
             tie_word_embeddings=rnd.random() < 0.5, rope_theta=rnd.choice([10000.0, 500000.0, 100.0]), rope_scaling=rnd.choice(scalings), initializer_range=0.3)
    c['hidden_size'] = c['num_attention_heads'] * rnd.randint(3, 15)  # the library asks for a multiple, hone does not
    if kind != 'qwen2':
        c['attention_bias'] = rnd.random() < 0.3
    if kind == 'llama':
        c['mlp_bias'] = rnd.random() < 0.3
    if kind == 'qwen3_moe':
        c.update(num_experts=rnd.randint(4, 9), num_experts_per_tok=rnd.randint(1, 4), moe_intermediate_size=rnd.randint(8, 30), norm_topk_prob=rnd.random() < 0.5)
    if kind.startswith('deepseek'):
        g = rnd.choice([1, 2, 4])
        c.update(q_lora_rank=rnd.choice([None, 9]), kv_lora_rank=rnd.randint(6, 20), qk_nope_head_dim=rnd.randint(4, 10), qk_rope_head_dim=2 * rnd.randint(2, 5), v_head_dim=rnd.randint(4, 12),
                 n_routed_experts=g * rnd.randint(3, 4), n_shared_experts=rnd.randint(1, 2), num_experts_per_tok=rnd.randint(1, 3), moe_intermediate_size=rnd.randint(8, 30),
                 first_k_dense_replace=rnd.randint(0, 1), n_group=g, topk_group=(g + 1) // 2, norm_topk_prob=kind == 'deepseek_v3' and rnd.random() < 0.5, routed_scaling_factor=1.7,
                 num_key_value_heads=c['num_attention_heads'], attention_bias=False)
        del c['head_dim']
        if kind == 'deepseek_v3':
            c['num_nextn_predict_layers'] = rnd.choice([0, 1])
        if kind == 'deepseek_v2':
            c['topk_method'] = 'greedy' if g == 1 else 'group_limited_greedy'
    if kind == 'qwen2':  # no head_dim key in the published files
        c['hidden_size'] = c['num_attention_heads'] * c['head_dim']
        del c['head_dim']
    return c


def score(d, rows):
    q = ''.join(json.dumps({'id': i, 'ids': r, 'n_prompt': 1}) + '\n' for i, r in enumerate(rows))
    out = subprocess.run([hone, 'score', '--model', d, '--precision', 'fp32'], input=q, capture_output=True, text=True, check=True).stdout
    return [[float.fromhex(x) for x in json.loads(line)['logp']] for line in out.splitlines()]


worst = checked = 0
kinds = ['llama', 'qwen2', 'qwen3', 'qwen3_moe', 'deepseek_v2', 'deepseek_v3']
for kind in kinds:
    for i in range(n):
        d = tempfile.mkdtemp()
        c = config(kind)
        json.dump(c, open(d + '/c.json', 'w'))
        dtype, shard = rnd.choice(['f32', 'bf16']), rnd.choice(['5000000000', '6000'])
        subprocess.run([hone, 'model', 'init', d + '/c.json', d + '/m', '--seed', str(i), '--dtype', dtype, '--shard-bytes', shard], check=True, capture_output=True)
        model, info = AutoModelForCausalLM.from_pretrained(d + '/m', dtype=torch.float64, attn_implementation='eager', experts_implementation='eager', output_loading_info=True)
        # the library knows no MTP layers; it ignores them by the name that they have in the published model, and lists them at any other depth
        mtp = tuple(f"model.layers.{c['num_hidden_layers'] + k}." for k in range(c.get('num_nextn_predict_layers', 0)))
        unexpected = [k for k in info['unexpected_keys'] if not (mtp and k.startswith(mtp))]
        assert not (info['missing_keys'] or unexpected or info['mismatched_keys']), info
        assert not mtp or len(unexpected) < len(info['unexpected_keys']), 'MTP layers were not saved'
        rows = [[rnd.randrange(c['vocab_size']) for _ in range(k)] for k in (2, 40, 100)]
        got = score(d + '/m', rows)
        for r, g in zip(rows, got):
            with torch.no_grad():
                lp = torch.log_softmax(model(torch.tensor([r])).logits[0].double(), -1)
            want = lp[torch.arange(len(r) - 1), torch.tensor(r[1:])]
            worst = max(worst, float(((want - torch.tensor(g, dtype=torch.float64)).abs() / want.abs().max()).max()))
            checked += len(g)
        model.to(torch.float32 if dtype == 'f32' else torch.bfloat16).save_pretrained(d + '/t')
        assert score(d + '/t', rows) == got, 'other bits from the folder that transformers saved'
        shutil.rmtree(d)
print(f'{len(kinds) * n} models, {checked} log-probs, largest difference {worst:.2g} of the largest log-prob; all folders loaded both ways')
sys.exit(worst > 1e-5)
