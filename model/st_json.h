/* Private to model/: the JSON of a safetensors header, as the reference's parser (serde) takes it. */
#ifndef HONE_MODEL_ST_JSON_H
#define HONE_MODEL_ST_JSON_H

#include "model/safetensors.h"

struct st_entry {
    struct str name;
    enum st_dtype dtype;
    int n_dims;
    const uint64_t *dims;
    uint64_t begin, end;
    int64_t order;             /* position in the header */
};
struct st_header {
    struct st_entry *entries;  /* in file order, repeated names included; malloc'ed: free() */
    int64_t n, cap;
    struct st_meta *meta;      /* malloc'ed: free() */
    int64_t n_meta, cap_meta;
};
/* Strings and dims live in the text or in mem. On failure nothing is left to free. */
err_code st_header_parse(const char *file, struct str text, struct arena *mem, struct st_header *out, struct err *e);

#endif
