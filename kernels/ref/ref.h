/* Private to kernels/ref. */
#ifndef HONE_KERNELS_REF_REF_H
#define HONE_KERNELS_REF_REF_H

#include "kernels/kern.h"

float kern_ref_bf16(float x); /* rounded as kern_prec says */

void kern_ref_attn(struct kern *k, const struct kern_attn *a);
void kern_ref_attn_bwd(struct kern *k, const struct kern_attn_bwd *a);
void kern_ref_kv_write(struct kern *k, const struct kern_kv_write *a);

#endif
