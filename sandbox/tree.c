/* Trees on the owner's side: packed once, sent to each box that asks (tree_slot.c). */
#include <stdlib.h>

#include "sandbox/inner.h"

enum { PACKED_MAX = 900 << 20 };

err_code sandbox_tree_make(const struct sandbox_file *files, int64_t n, struct sandbox_tree **out, struct err *e)
{
    struct sandbox_tree *t = calloc(1, sizeof *t);
    if (!t)
        return err_set(e, ERR_LIMIT, "no memory for a tree");
    sbuf_init(&t->packed, PACKED_MAX);
    for (int64_t i = 0; i < n; i++) {
        char kind = (char)files[i].kind;
        if (!sandbox_name_ok(files[i].name) || files[i].kind == SANDBOX_GONE) {
            sandbox_tree_free(t);
            return err_set(e, ERR_DATA, "'%.*s' is no name for a file of a tree", (int)(files[i].name.n < 100 ? files[i].name.n : 100), files[i].name.p);
        }
        sandbox_wire_put(&t->packed, WIRE_FILE_NAME, files[i].name.p, files[i].name.n);
        sandbox_wire_put(&t->packed, WIRE_FILE_KIND, &kind, 1);
        sandbox_wire_put(&t->packed, WIRE_FILE_BYTES, files[i].bytes.p, files[i].bytes.n);
    }
    if (t->packed.full) {
        sandbox_tree_free(t);
        return err_set(e, ERR_LIMIT, "a tree has more than %d MiB", PACKED_MAX >> 20);
    }
    t->key = hash_bytes(t->packed.p, t->packed.n);
    *out = t;
    return ERR_OK;
}

void sandbox_tree_free(struct sandbox_tree *t)
{
    if (!t)
        return;
    sbuf_release(&t->packed);
    free(t);
}
