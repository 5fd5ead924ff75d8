#include "kernels/cpu/cpu.h"

const struct kern_ops kern_cpu_ops = {
    .pack_bytes = kern_cpu_pack_bytes,
    .pack_rows = kern_cpu_pack_rows,
#define X(op) .op = kern_cpu_##op,
    KERN_OPS(X)
#undef X
};
