/* The table that one isa_*.c exports; included last, with ISA_NAME defined. */
#ifdef ISA_NAME
const struct kern_cpu ISA_NAME = {
    .strip_f32 = strip_f32, .strip_bf16 = strip_bf16, .strip_fp8 = strip_fp8, .to_pairs = to_pairs, .zip_pairs = zip_pairs, .fp8_row = fp8_row,
    .fp8_cols = fp8_cols, .fp8_div = fp8_div,
    .quant_e4m3 = quant_e4m3, .quant_e5m6 = quant_e5m6, .dequant_e4m3 = dequant_e4m3, .dequant_e5m6 = dequant_e5m6, .across_pairs = across_pairs,
    .amax = amax, .turn = turn, .tile_rows = tile_rows, .tile_cols = tile_cols, .copy_rows = copy_rows, .zip_rows = zip_rows, .fetch = fetch,
    .attn_block = attn_block, .attn_merge = attn_merge, .attn_ds = attn_ds, .dot = dot, .axpy = axpy, .times = times,
    .vocab_stat = vocab_stat, .vocab_dz = vocab_dz, .norm = norm, .norm_bwd = norm_bwd, .norm_dw = norm_dw,
    .rope = rope, .swiglu = swiglu, .swiglu_bwd = swiglu_bwd, .add = add,
};
#endif
