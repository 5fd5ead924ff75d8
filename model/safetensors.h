/* safetensors: read by mmap, written atomically. The file format exactly as the reference library (huggingface/safetensors) accepts it:
 * what it refuses is refused, with file, tensor and reason. docs/safetensors.md has the rules. */
#ifndef HONE_MODEL_SAFETENSORS_H
#define HONE_MODEL_SAFETENSORS_H

#include <stdint.h>

#include "core/arena.h"
#include "core/cdecl.h"
#include "core/err.h"
#include "core/file.h"
#include "core/str.h"

CDECL_BEGIN

/* name in the file, bits per element */
#define ST_DTYPES(X)                                                                                                              \
    X(BOOL, 8) X(U8, 8) X(I8, 8) X(F8_E5M2, 8) X(F8_E4M3, 8) X(I16, 16) X(U16, 16) X(F16, 16) X(BF16, 16) X(I32, 32) X(U32, 32) \
    X(F32, 32) X(F64, 64) X(I64, 64) X(U64, 64)
enum st_dtype {
#define X(name, bits) ST_##name,
    ST_DTYPES(X)
#undef X
    ST_N_DTYPES
};
const char *st_dtype_name(enum st_dtype d);

enum { ST_MAX_DIMS = 8 };
struct st_tensor {
    struct str name;
    enum st_dtype dtype;
    int n_dims;
    int64_t dims[ST_MAX_DIMS];
    const void *data;          /* in the map; not aligned */
    int64_t bytes;
};
struct st_file {
    struct file_map map;
    int64_t n;
    const struct st_tensor *tensors; /* by offset; live in mem */
};
err_code st_open(const char *path, struct arena *mem, struct st_file *out, struct err *e);
void st_close(struct st_file *f);
const struct st_tensor *st_find(const struct st_file *f, struct str name); /* NULL: none */

/* Writes tensors in the given order; data is read when written. */
err_code st_write(const char *path, const struct st_tensor *t, int64_t n, struct err *e);

CDECL_END

#endif
