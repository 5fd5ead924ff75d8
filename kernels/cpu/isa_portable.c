#pragma GCC optimize("O3")
#include "kernels/cpu/attn_body.h"
#include "kernels/cpu/gemm_body.h"
#include "kernels/cpu/rows_body.h"
#define ISA_NAME kern_cpu_portable
#include "kernels/cpu/isa_table.h"
