#!/usr/bin/env python3
"""PyTorch on the model of bench/model.c: tokens/s of one SFT step (forward, backward, clip, AdamW), eager and compiled.

    bench_torch.py fp32|bf16 ROWS LEN THREADS [eager|compiled]

bf16 is torch.autocast over f32 weights, which is what hone's bf16 is. The head's logits are cut to f32 before the loss, as transformers does.
Compiling takes minutes; only the timed steps run at real-time priority (where that is allowed), so that other work on the machine does not count.
"""
import os, sys, time
import torch
from transformers import LlamaConfig, LlamaForCausalLM

dtype, rows, length, threads = sys.argv[1], *map(int, sys.argv[2:5])
kinds = sys.argv[5:] or ['eager', 'compiled']
WARM, STEPS = 2, 4
torch.set_num_threads(threads)
torch.manual_seed(0)
c = LlamaConfig(vocab_size=50304, hidden_size=768, num_hidden_layers=12, num_attention_heads=12, num_key_value_heads=12, intermediate_size=2048, max_position_embeddings=2048,
                tie_word_embeddings=True, attn_implementation='sdpa', use_cache=False)
ids, target = (torch.randint(0, 50304, (rows, length)) for _ in range(2))


def priority(policy, level):
    """All threads of this process: the pool of the products is older than the call."""
    for task in os.listdir('/proc/self/task'):
        try:
            os.sched_setscheduler(int(task), policy, os.sched_param(level))
        except OSError:
            pass


def run(kind):
    model = LlamaForCausalLM(c).train()
    opt = torch.optim.AdamW(model.parameters(), lr=1e-5, betas=(0.9, 0.95), weight_decay=0.1, fused=True)

    def loss_of():
        with torch.autocast('cpu', torch.bfloat16, enabled=dtype == 'bf16'):
            logits = model(input_ids=ids).logits
        return torch.nn.functional.cross_entropy(logits.float().view(-1, 50304), target.view(-1))
    fn = torch.compile(loss_of) if kind == 'compiled' else loss_of
    best = 1e9
    for i in range(WARM + STEPS):
        if i == WARM:
            priority(os.SCHED_RR, 2)
        t = time.perf_counter()
        loss = fn()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        opt.zero_grad(set_to_none=True)
        if i >= WARM:
            best = min(best, time.perf_counter() - t)
    priority(os.SCHED_OTHER, 0)
    print(f'torch {kind} {dtype} {rows * length / best:.1f} tokens/s (torch {torch.__version__})', flush=True)


priority(os.SCHED_OTHER, 0)  # whatever the caller had: compiling takes minutes of both cores
for kind in kinds:
    try:
        run(kind)
    except Exception as e:  # a compiler that is missing is said, not hidden
        print(f'torch {kind} {dtype} failed: {type(e).__name__}: {str(e)[:300]}', flush=True)
