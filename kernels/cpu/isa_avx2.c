#if defined(__x86_64__)
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#pragma GCC optimize("O3") /* the loops over a tile must unroll; not worth the wait when every access is checked */
#endif
#include "kernels/cpu/attn_body.h"
#include "kernels/cpu/gemm_body.h"
#include "kernels/cpu/fp8_body.h"
#include "kernels/cpu/rows_body.h"
#define ISA_NAME kern_cpu_avx2
#include "kernels/cpu/isa_table.h"
#endif
