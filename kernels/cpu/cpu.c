#include "kernels/cpu/cpu.h"

const struct kern_ops kern_cpu_ops = {
    .precs = 1u << KERN_F32 | 1u << KERN_BF16 | 1u << KERN_FP8,
    .pack_bytes = kern_cpu_pack_bytes,
    .pack_rows = kern_cpu_pack_rows,
    .pack_turned = kern_cpu_pack_turned,
    .pack_fp8 = kern_cpu_pack_fp8,
    .unpack_fp8 = kern_cpu_unpack_fp8,
#define X(op) .op = kern_cpu_##op,
    KERN_OPS(X)
#undef X
};
