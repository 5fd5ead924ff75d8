/* Catches: a crash, an endless loop or a read outside the file on any bytes given as a safetensors file; a tensor said to lie outside
 * the file; two tensors found under one name. */
#include "model/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena mem;
    struct st_file f;
    struct err e = {0};
    arena_init(&mem, "fuzz", 256 << 20);
    if (st_parse("fuzz", (struct file_map){(const char *)data, (int64_t)size}, &mem, &f, &e) == ERR_OK) {
        int64_t total = 0;
        for (int64_t i = 0; i < f.n; i++) {
            const struct st_tensor *t = &f.tensors[i];
            const char *p = t->data;
            assert(p >= (const char *)data && p + t->bytes <= (const char *)data + size && t->bytes >= 0);
            assert(st_find(&f, t->name) == t);
            total += t->bytes;
        }
        assert(total <= (int64_t)size - 8);
    }
    arena_release(&mem);
    return 0;
}
