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

/* name in the file, bits per element; in the reference's order, which is the order in which a writer places tensors (last first) */
#define ST_DTYPES(X)                                                                                                          \
    X(BOOL, 8) X(F4, 4) X(F6_E2M3, 6) X(F6_E3M2, 6) X(U8, 8) X(I8, 8) X(F8_E5M2, 8) X(F8_E4M3, 8) X(F8_E8M0, 8)               \
    X(F8_E4M3FNUZ, 8) X(F8_E5M2FNUZ, 8) X(I16, 16) X(U16, 16) X(F16, 16) X(BF16, 16) X(I32, 32) X(U32, 32) X(F32, 32)         \
    X(C64, 64) X(F64, 64) X(I64, 64) X(U64, 64)
enum st_dtype {
#define X(name, bits) ST_##name,
    ST_DTYPES(X)
#undef X
    ST_N_DTYPES
};
const char *st_dtype_name(enum st_dtype d);
int st_dtype_bits(enum st_dtype d);

struct st_tensor {
    struct str name;
    enum st_dtype dtype;
    int n_dims;
    const uint64_t *dims;
    const void *data;          /* in the map; not aligned */
    int64_t bytes;
};
struct st_meta {
    struct str key, value;
};
struct st_file {
    struct file_map map;
    int64_t n, n_meta;
    const struct st_tensor *tensors; /* by offset; live in mem */
    const int64_t *by_name;          /* [n] indices into tensors */
    const struct st_meta *meta;      /* __metadata__, in file order, a repeated key as often as it stands there */
};
/* ERR_IO; ERR_DATA: file, tensor, reason and in brackets the reference library's name for it; ERR_LIMIT: mem is full. */
err_code st_open(const char *path, struct arena *mem, struct st_file *out, struct err *e);
/* The same on bytes in memory (m is borrowed and must outlive out; st_close is not needed). name: for messages. */
err_code st_parse(const char *name, struct file_map m, struct arena *mem, struct st_file *out, struct err *e);
void st_close(struct st_file *f);
const struct st_tensor *st_find(const struct st_file *f, struct str name); /* NULL: none */

/* Called while writing, in file order, for bytes [at, at + n) of a tensor; n <= ST_CHUNK and a multiple of the element size. */
enum { ST_CHUNK = 1 << 20 };
typedef void st_read_fn(void *ctx, const struct st_tensor *t, int64_t at, int64_t n, void *buf);
struct st_source {
    const struct st_tensor *t; /* order does not matter: written as the reference does, by dtype, then by name */
    int64_t n;
    st_read_fn *read;          /* NULL: bytes come from t->data */
    void *ctx;
};
/* Beside, fsynced, renamed. "__metadata__" is {"format":"pt"}; the header is padded to 8 bytes. */
err_code st_write(const char *path, const struct st_source *s, struct err *e);

CDECL_END

#endif
