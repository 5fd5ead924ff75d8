#!/usr/bin/env python3
"""Writes tests/golden/: random tiny models of every family, with logits, log-probs, entropies and every gradient from transformers in float64.

    golden.py DIR [NAME...]
    golden.py DIR --random N [SEED]     N random DeepSeek-V3 and V2 shapes instead, for HONE_GOLDEN=DIR build/tests/unit/model

Weights are random f32 (norms and biases too). Rotary angles are computed in float64 from the library's own inverse frequencies: the library
itself would round them to float32. The loss is sum_t g_t logp_t + ge_t H_t at a temperature, over ragged rows that do not see each other.
"""
import json, os, random, shutil, sys
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, CONFIG_MAPPING

torch.manual_seed(0)
base = dict(vocab_size=37, hidden_size=24, intermediate_size=20, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, rms_norm_eps=1e-5,
            max_position_embeddings=64, initializer_range=0.02, tie_word_embeddings=False, bos_token_id=None, eos_token_id=None, pad_token_id=None)
cases = {
    'llama': ('llama', dict(rope_theta=100.0)),
    'llama_bias_llama3': ('llama', dict(attention_bias=True, mlp_bias=True, tie_word_embeddings=True, rope_theta=50.0,
                                        rope_scaling=dict(rope_type='llama3', factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16))),
    'llama_linear_head8': ('llama', dict(head_dim=8, num_key_value_heads=4, rope_theta=100.0, rope_scaling=dict(rope_type='linear', factor=3.0))),
    'llama_mqa_yarn_mscale': ('llama', dict(num_key_value_heads=1, rope_theta=100.0,
                                            rope_scaling=dict(rope_type='yarn', factor=4.0, original_max_position_embeddings=16, beta_fast=8.0, beta_slow=1.0, mscale=1.0, mscale_all_dim=0.5))),
    'qwen2': ('qwen2', dict(tie_word_embeddings=True, rms_norm_eps=1e-6)),
    'qwen2_yarn': ('qwen2', dict(rope_theta=100.0, rope_scaling=dict(rope_type='yarn', factor=4.0, original_max_position_embeddings=16))),
    'qwen3': ('qwen3', dict(head_dim=10, rms_norm_eps=1e-6)),
    'qwen3_tied_bias': ('qwen3', dict(head_dim=4, tie_word_embeddings=True, attention_bias=True, num_key_value_heads=1)),
}
latent = dict(num_key_value_heads=4, kv_lora_rank=12, qk_nope_head_dim=6, qk_rope_head_dim=4, v_head_dim=5, hidden_size=20, num_hidden_layers=2, first_k_dense_replace=1,
              n_routed_experts=8, num_experts_per_tok=3, moe_intermediate_size=6, rms_norm_eps=1e-6)
yarn = dict(rope_type='yarn', factor=8.0, original_max_position_embeddings=8, beta_fast=4.0, beta_slow=1.0, mscale=1.0, mscale_all_dim=1.0)
cases |= {
    'deepseek_v3': ('deepseek_v3', dict(latent, q_lora_rank=10, n_shared_experts=1, n_group=4, topk_group=2, norm_topk_prob=True, routed_scaling_factor=2.5, rope_scaling=yarn)),
    'deepseek_v3_negative_bias': ('deepseek_v3', dict(latent, q_lora_rank=None, n_shared_experts=2, n_group=4, topk_group=2, norm_topk_prob=True, routed_scaling_factor=1.5,
                                                      rope_theta=100.0, tie_word_embeddings=True)),
    'deepseek_v3_one_group': ('deepseek_v3', dict(latent, q_lora_rank=6, n_shared_experts=1, n_group=1, topk_group=1, norm_topk_prob=False, routed_scaling_factor=1.0,
                                                  first_k_dense_replace=0, rope_interleave=False, rope_theta=100.0)),
    # the last two layers are MTP modules: built as decoder layers, run by mtp() below
    'deepseek_v3_mtp': ('deepseek_v3', dict(latent, q_lora_rank=10, n_shared_experts=1, n_group=2, topk_group=1, norm_topk_prob=True, routed_scaling_factor=2.5, rope_scaling=yarn,
                                            num_hidden_layers=4, num_nextn_predict_layers=2)),
    'deepseek_v3_mtp_tied': ('deepseek_v3', dict(latent, q_lora_rank=None, n_shared_experts=1, n_group=1, topk_group=1, norm_topk_prob=True, routed_scaling_factor=1.0,
                                                 first_k_dense_replace=1, num_hidden_layers=2, num_nextn_predict_layers=1, tie_word_embeddings=True, rope_theta=100.0)),
    'deepseek_v2': ('deepseek_v2', dict(latent, q_lora_rank=10, n_shared_experts=2, n_group=4, topk_group=2, topk_method='group_limited_greedy', routed_scaling_factor=4.0,
                                        rope_scaling=dict(yarn, mscale=0.707, mscale_all_dim=0.707))),
    'deepseek_v2_lite': ('deepseek_v2', dict(latent, q_lora_rank=None, n_shared_experts=2, topk_method='greedy', n_group=1, topk_group=1, routed_scaling_factor=1.0, rope_theta=100.0)),
    'qwen3_moe': ('qwen3_moe', dict(head_dim=8, num_experts=6, num_experts_per_tok=2, moe_intermediate_size=10, norm_topk_prob=True)),
}
rows, temperature = [1, 19, 2, 30], 0.75


# transformers before 5 gave masked groups 0.0 in place of -inf (its issue 45440), which picks their experts once biased scores are negative; DeepSeek's own
# code and the pinned version have -inf. V2's router still fills 0.0: harmless, its scores are a softmax.
def random_cases(n, seed):
    r, out = random.Random(seed), {}
    for i in range(n):
        v3, groups, depth, layers = r.random() < 0.7, r.choice([1, 2, 4]), 0, r.randint(1, 3)
        top_groups = r.randint(1, groups)
        experts = groups * r.randint(2, 4)
        o = dict(latent, q_lora_rank=r.choice([None, r.randint(4, 12)]), kv_lora_rank=r.randint(4, 16), qk_nope_head_dim=r.randint(2, 9), qk_rope_head_dim=2 * r.randint(1, 4), v_head_dim=r.randint(2, 9),
                 hidden_size=4 * r.randint(3, 8), n_routed_experts=experts, n_group=groups, topk_group=top_groups, num_experts_per_tok=r.randint(1, min(4, top_groups * (experts // groups))),
                 n_shared_experts=r.randint(1, 2), moe_intermediate_size=r.randint(4, 12), first_k_dense_replace=r.randint(0, 2), routed_scaling_factor=r.choice([1.0, 2.5]),
                 tie_word_embeddings=r.random() < 0.4, rope_theta=r.choice([100.0, 10000.0]))
        if r.random() < 0.5:
            scale = r.choice([0.707, 1.0])
            o['rope_scaling'] = dict(yarn, factor=r.choice([4.0, 40.0]), mscale=scale, mscale_all_dim=scale)
        if v3:
            depth = r.choice([0, 0, 1, 2])
            # one expert, normalised, has weight 1: the router's gradient is 0, and its rounding nothing to compare
            o.update(norm_topk_prob=r.random() < 0.7 and o['num_experts_per_tok'] > 1, rope_interleave=r.random() < 0.8)
        else:
            o.update(topk_method='greedy' if groups == 1 else 'group_limited_greedy', norm_topk_prob=False)
        o['num_hidden_layers'] = layers + depth
        o['first_k_dense_replace'] = min(o['first_k_dense_replace'], layers)
        if depth:
            o['num_nextn_predict_layers'] = depth
        out[f'deepseek_random_{i}' + ('_negative' if v3 and r.random() < 0.5 else '')] = ('deepseek_v3' if v3 else 'deepseek_v2', o)
    return out


def randomise(model, gen):
    for name, p in model.named_parameters():
        if p.dim() == 1:
            v = torch.randn(p.shape, generator=gen, dtype=torch.float64) * 0.2 + (0 if name.endswith('bias') else 1)
        else:
            v = torch.randn(p.shape, generator=gen, dtype=torch.float64) * (0.7 if 'embed' in name else 0.25)
        p.data = v.float().double()
    for name, b in model.named_buffers():
        if name.endswith('e_score_correction_bias'):
            b.data = torch.randn(b.shape, generator=gen).to(b.dtype) * 0.2 - (0.8 if model.negative else 0)


def exact_rotary(model):
    rot = model.model.rotary_emb

    def forward(x, position_ids, layer_type=None):
        angle = position_ids[..., None].double() * rot.inv_freq.double()
        if model.config.model_type == 'deepseek_v2':
            return torch.polar(torch.full_like(angle, rot.attention_scaling), angle)
        angle = torch.cat((angle, angle), -1)
        return angle.cos() * rot.attention_scaling, angle.sin() * rot.attention_scaling
    rot.forward = forward


def build(kind, options):
    o = dict(base, **options)
    scaling = dict(o.pop('rope_scaling', None) or {'rope_type': 'default'}, rope_theta=o.pop('rope_theta', 10000.0))
    config = CONFIG_MAPPING[kind](**o, rope_parameters=scaling)
    config._attn_implementation = 'eager'
    config._experts_implementation = 'eager'
    return AutoModelForCausalLM.from_config(config).double().eval()


def published(model, of):
    """Tensors under the names of the files: experts apart."""
    out = {}
    for k, p in model.named_parameters():
        v = of(p)
        if '.experts.gate_up_proj' in k or '.experts.down_proj' in k:
            for e in range(v.shape[0]):
                base = k.rsplit('.', 1)[0] + f'.{e}.'
                if k.endswith('down_proj'):
                    out[base + 'down_proj.weight'] = v[e].contiguous()
                else:
                    out[base + 'gate_proj.weight'], out[base + 'up_proj.weight'] = (x.contiguous() for x in v[e].chunk(2))
        else:
            out[k] = v.contiguous()
    return out


def rms(x, w, eps):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * w


def add_mtp(model, depth, gen):
    """What the modules have beside their decoder layers, under the published names."""
    d, first = model.config.hidden_size, model.config.num_hidden_layers - depth
    for k in range(depth):
        layer = model.model.layers[first + k]
        for name in ('enorm', 'hnorm'):
            setattr(layer, name, torch.nn.RMSNorm(d, dtype=torch.float64))
        layer.eh_proj = torch.nn.Linear(2 * d, d, bias=False, dtype=torch.float64)
        layer.shared_head = torch.nn.ModuleDict({'norm': torch.nn.RMSNorm(d, dtype=torch.float64)})


def mtp(model, depth, ids):
    """Logits of the main model and of the modules over one row; the library's layers, everything between them from the paper's equations 21 to 23, with the
    embedding half first as the released weights have it and the main state behind the final norm."""
    m, c, n = model.model, model.config, len(ids)

    def run(layer, x):
        pos = torch.arange(len(x))[None]
        mask = torch.full((len(x), len(x)), float('-inf'), dtype=torch.float64).triu(1)[None, None]
        y = layer(x[None], attention_mask=mask, position_ids=pos, position_embeddings=m.rotary_emb(x[None], pos))
        return (y[0] if isinstance(y, tuple) else y)[0]
    x = m.embed_tokens(ids)
    for layer in m.layers[:len(m.layers) - depth]:
        x = run(layer, x)
    h = m.norm(x)
    out = [model.lm_head(h)]
    for k, layer in enumerate(m.layers[len(m.layers) - depth:], 1):
        if n <= k:
            out.append(h.new_zeros(0, c.vocab_size))
            continue
        z = torch.cat((rms(m.embed_tokens(ids[k:]), layer.enorm.weight, c.rms_norm_eps), rms(h[:n - k], layer.hnorm.weight, c.rms_norm_eps)), -1)
        h = run(layer, layer.eh_proj(z))
        out.append(model.lm_head(rms(h, layer.shared_head['norm'].weight, c.rms_norm_eps)))
    return out


def main():
    out, only = sys.argv[1], sys.argv[2:]
    if only[:1] == ['--random']:
        cases.clear()
        cases.update(random_cases(int(only[1]), int(only[2]) if len(only) > 2 else 1))
        only = []
    for i, (name, (kind, options)) in enumerate(cases.items()):
        if only and name not in only:
            continue
        gen = torch.Generator().manual_seed(1000 + i)
        depth = options.get('num_nextn_predict_layers', 0)
        model = build(kind, options)
        add_mtp(model, depth, gen)
        model.negative = 'negative' in name
        randomise(model, gen)
        d = os.path.join(out, name)
        shutil.rmtree(d, ignore_errors=True)
        os.makedirs(d)
        n = sum(rows)
        tensors = published(model, lambda p: p.detach().float())
        tensors |= {k: b.float().contiguous() for k, b in model.named_buffers() if k.endswith('e_score_correction_bias')}
        save_file(tensors, os.path.join(d, 'model.safetensors'), metadata={'format': 'pt'})
        c = json.loads(model.config.to_json_string(use_diff=False))
        keep = [k for k in c if k in base or k in options or k in ('model_type', 'rope_parameters', 'rope_scaling', 'rope_theta', 'head_dim', 'hidden_act', 'num_local_experts')]
        c['num_hidden_layers'] -= depth
        json.dump({k: c[k] for k in sorted(keep) if not (k == 'head_dim' and 'kv_lora_rank' in c)} | {'architectures': [type(model).__name__]}, open(os.path.join(d, 'config.json'), 'w'), indent=1)
        exact_rotary(model)
        ids = torch.randint(0, base['vocab_size'], (n,), generator=gen, dtype=torch.int32)
        target = torch.randint(0, base['vocab_size'], (n,), generator=gen, dtype=torch.int32)
        target[torch.rand(n, generator=gen) < 0.2] = -1
        g, ge = (torch.randn(n, generator=gen) for _ in range(2))
        logits, ahead, at = [], [], 0
        for r in rows:
            row = ids[at:at + r].long()
            if depth:
                first, *more = mtp(model, depth, row)
                logits.append(first)
                ahead += [(k, at, x) for k, x in enumerate(more, 1)]
            else:
                logits.append(model(input_ids=row[None], use_cache=False).logits[0])
            at += r
        logits = torch.cat(logits)
        assert logits.dtype == torch.float64
        lp = torch.log_softmax(logits / temperature, -1)
        used = target >= 0
        logp = torch.where(used, lp.gather(1, target.clamp(min=0)[:, None].long())[:, 0], 0)
        entropy = torch.where(used, -(lp.exp() * lp).sum(-1), 0)
        loss, extra = (g.double() * logp + ge.double() * entropy).sum(), {}
        if depth:  # module k at row i learns target[i + k]
            g_mtp, mtp_logp = torch.randn(depth, n, generator=gen), torch.zeros(depth, n, dtype=torch.float64)
            for k, at, x in ahead:
                for i in range(len(x)):
                    if target[at + i + k] >= 0:
                        v = torch.log_softmax(x[i], -1)[target[at + i + k].long()]
                        mtp_logp[k - 1, at + i + k] = v.detach()
                        loss = loss + g_mtp[k - 1, at + i + k].double() * v
            extra = {'g_mtp': g_mtp, 'mtp_logp': mtp_logp}
        loss.backward()
        vectors = {'ids': ids, 'rows': torch.tensor(rows, dtype=torch.int32), 'target': target, 'g': g, 'ge': ge, 'temperature': torch.tensor([temperature]),
                   'logits': logits.detach().float(), 'logp': logp.detach(), 'entropy': entropy.detach(), **extra}
        # an expert without tokens has no gradient
        vectors |= {'grad.' + k: g for k, g in published(model, lambda p: (p.grad if p.grad is not None else torch.zeros_like(p)).float()).items()}
        save_file(vectors, os.path.join(d, 'vectors.safetensors'))
        print(name, sum(p.numel() for p in tensors.values()), 'parameters')


main()
