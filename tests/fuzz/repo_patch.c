/* Catches a patch that crashes the parser, changes something when it is refused, or leaves a name behind that may not be written: outside
 * the tree, in .git, below a file, through a link. */
#include <stdlib.h>

#include "rewards/repo_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define S_(lit) {("" lit), sizeof(lit) - 1}
static const struct sandbox_file files[] = {
    {.name = S_("a"), .bytes = S_("one\ntwo\nthree\n"), .kind = SANDBOX_PLAIN},
    {.name = S_("d/b"), .bytes = S_("x\ny\nx\ny"), .kind = SANDBOX_PLAIN},
    {.name = S_("d/e"), .bytes = S_(""), .kind = SANDBOX_PROGRAM},
    {.name = S_("l"), .bytes = S_("d"), .kind = SANDBOX_LINK},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct repo_edits x;
    const struct repo_tree t = {files, sizeof files / sizeof *files, 0};
    const char *why;
    struct arena mem;
    struct err e = {0};
    arena_init(&mem, "fuzz", 256 << 20);
    x.n = 0;
    if (repo_patch_apply(&t, &x, (struct str){(const char *)data, (int64_t)n}, &mem, &e) != ERR_OK) {
        if (x.n != 0 || !e.msg[0])
            abort();
    }
    for (int i = 0; i < x.n; i++) {
        const struct sandbox_file *f = &x.f[i];
        int64_t last = f->bytes.n ? f->bytes.p[f->bytes.n - 1] : 0; /* all of it can be read */
        if (!repo_path_ok(f->name, &why) || (f->kind == SANDBOX_GONE && f->bytes.n) || last > 127)
            abort();
        for (int64_t k = 0; f->kind != SANDBOX_GONE && k < f->name.n; k++)
            if (f->name.p[k] == '/' && repo_find(&t, &x, str_sub(f->name, 0, k)))
                abort();
        if (f->kind != SANDBOX_GONE && repo_is_folder(&t, &x, f->name))
            abort();
    }
    arena_release(&mem);
    return 0;
}
