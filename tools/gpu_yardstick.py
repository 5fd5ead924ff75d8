# What the vendor's libraries make of the same products on this device, beside bench/cuda: cuBLAS through torch.matmul, the fused
# attention through scaled_dot_product_attention, a device-to-device copy. Prints one line each.
import sys

try:
    import torch
except ImportError:
    print("no torch here: no yardstick")
    sys.exit(0)
if not torch.cuda.is_available():
    print("torch sees no GPU: no yardstick")
    sys.exit(0)
torch.manual_seed(1)


def seconds(f):
    for _ in range(3):
        f()
    torch.cuda.synchronize()
    a, b = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    a.record()
    for _ in range(10):
        f()
    b.record()
    torch.cuda.synchronize()
    return a.elapsed_time(b) / 1e4


x = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
y = torch.empty_like(x)
print(f"copy of 1 GiB                      {2 * x.numel() / seconds(lambda: y.copy_(x)) / 1e9:8.0f} GB/s read and written")
for m, n, k in ((8192, 8192, 8192), (4096, 9728, 896), (4096, 896, 4864), (1024, 151936, 896), (16, 4096, 4096)):
    a = torch.randn(m, k, device="cuda", dtype=torch.bfloat16)
    b = torch.randn(n, k, device="cuda", dtype=torch.bfloat16)
    print(f"matmul bf16 {m:5} x {n:6} x {k:5}    {2 * m * n * k / seconds(lambda: a @ b.t()) / 1e12:7.1f} TFLOP/s")
t, h, hk, d = 8192, 16, 4, 128
q = torch.randn(1, h, t, d, device="cuda", dtype=torch.bfloat16, requires_grad=True)
kk = torch.randn(1, h, t, d, device="cuda", dtype=torch.bfloat16, requires_grad=True)
v = torch.randn(1, h, t, d, device="cuda", dtype=torch.bfloat16, requires_grad=True)
sdpa = torch.nn.functional.scaled_dot_product_attention
flops = 2 * t * t * h * d
fwd = seconds(lambda: sdpa(q, kk, v, is_causal=True))
o = sdpa(q, kk, v, is_causal=True)
g = torch.randn_like(o)
bwd = seconds(lambda: torch.autograd.grad(o, (q, kk, v), g, retain_graph=True))
print(f"attention bf16 T {t}, heads {h} of {d}, causal   forward {flops / fwd / 1e12:7.1f}  backward {2.5 * flops / bwd / 1e12:7.1f} TFLOP/s")
