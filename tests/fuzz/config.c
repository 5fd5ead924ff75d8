/* Config files of any bytes: no crash, no leak, no hang; what loads has a text that reads back as itself. */
#include "script/config.h"

#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char path[] = "/tmp/hone-fuzz-config-XXXXXX";
    static int fd = -1;
    if (fd < 0)
        fd = mkstemp(path);
    if (fd < 0 || ftruncate(fd, 0) || pwrite(fd, data, size, 0) != (ssize_t)size)
        abort();
    struct arena mem;
    struct cfg c, d;
    struct err e = {0};
    struct sbuf a, b;
    arena_init(&mem, "config", 64 << 20);
    sbuf_init(&a, 8 << 20);
    sbuf_init(&b, 8 << 20);
    if (cfg_load(path, NULL, 0, &c, &mem, &e) == ERR_OK) {
        cfg_text(&c, &a);
        if (cfg_from_text(sbuf_str(&a), "text", &d, &mem, &e) != ERR_OK)
            abort();
        cfg_text(&d, &b);
        if (!str_eq(sbuf_str(&a), sbuf_str(&b)))
            abort();
        cfg_check(&c, "grpo", &e);
    } else if (!e.msg[0]) {
        abort();
    }
    sbuf_release(&a);
    sbuf_release(&b);
    arena_release(&mem);
    return 0;
}
