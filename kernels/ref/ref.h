/* Private to kernels/ref. */
#ifndef HONE_KERNELS_REF_REF_H
#define HONE_KERNELS_REF_REF_H

#include "kernels/kern.h"

float kern_ref_bf16(float x); /* rounded as kern_prec says */

void kern_ref_attn(struct kern *k, const struct kern_attn *a);
void kern_ref_attn_bwd(struct kern *k, const struct kern_attn_bwd *a);
void kern_ref_kv_write(struct kern *k, const struct kern_kv_write *a);
void kern_ref_route(struct kern *k, const struct kern_route *a);
void kern_ref_route_balance(struct kern *k, const struct kern_route_balance *a);
void kern_ref_route_bwd(struct kern *k, const struct kern_route_bwd *a);
void kern_ref_moe_sum(struct kern *k, const struct kern_moe_sum *a);
void kern_ref_moe_dot(struct kern *k, const struct kern_moe_dot *a);
void kern_ref_moe_scale(struct kern *k, const struct kern_moe_scale *a);
void kern_ref_mla_kv(struct kern *k, const struct kern_mla_kv *a);
void kern_ref_mla_kv_bwd(struct kern *k, const struct kern_mla_kv_bwd *a);
void kern_ref_pack_turned(struct kern *k, const struct kern_weight *w, const float *src);
void kern_ref_heads(struct kern *k, const struct kern_heads *a);
void kern_ref_heads_dgrad(struct kern *k, const struct kern_heads_dgrad *a);
void kern_ref_heads_wgrad(struct kern *k, const struct kern_heads_wgrad *a);
void kern_ref_copy(struct kern *k, const struct kern_copy *a);
void kern_ref_quant(struct kern *k, const struct kern_quant *a);
void kern_ref_dequant(struct kern *k, const struct kern_dequant *a);

#endif
