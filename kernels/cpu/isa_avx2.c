#if defined(__x86_64__)
#pragma GCC optimize("O3")
#include "kernels/cpu/attn_body.h"
#include "kernels/cpu/gemm_body.h"
#include "kernels/cpu/rows_body.h"
#define ISA_NAME kern_cpu_avx2
#include "kernels/cpu/isa_table.h"
#endif
