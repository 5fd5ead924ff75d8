/* Files of rows. Fails when: reading crashes or loops; an accepted row is not its own canonical form (the body,
 * read again, must be the same item); a bad row leaves something behind; rows of a file do not ascend. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "datasets/chunk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_row(const struct chunk_slice *s, const struct chunk_row *r)
{
    struct data_reader again;
    struct data_item_info info;
    struct sbuf out;
    struct err e = {0};
    struct str body = {s->text.p + r->begin, r->n};
    data_reader_init(&again, DATA_AUTO, NULL);
    sbuf_init(&out, 1 << 30);
    if (data_read_row(&again, body, &out, &info, &e) != ERR_OK)
        BUG("a body is no row: %s: %.*s", e.msg, (int)(body.n < 500 ? body.n : 500), body.p);
    if (!str_eq(sbuf_str(&out), body) || info.kind != r->info.kind || !hash_eq(info.hash, r->info.hash))
        BUG("a body is not canonical: %.*s, then %.*s", (int)(body.n < 400 ? body.n : 400), body.p, (int)(out.n < 400 ? out.n : 400), out.p);
    sbuf_release(&out);
    data_reader_release(&again);
}

static void check_chunk(struct chunk *c, int64_t *last)
{
    for (int i = 0; i < c->n_slices; i++) {
        data_chunk_parse(c, i);
        for (int64_t k = 0; k < c->slice[i].n; k++) {
            const struct chunk_row *r = &c->slice[i].rows[k];
            if (r->line < *last || r->at < c->at || r->at > c->end_at)
                BUG("row at line %lld, byte %lld is out of order", (long long)r->line, (long long)r->at);
            *last = r->line;
            if (!r->bad)
                check_row(&c->slice[i], r);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct chunk *c;
    char path[64];
    struct chunk_file f;
    struct err e = {0};
    if (!c) {
        c = malloc(sizeof *c);
        data_chunk_init(c, DATA_AUTO, NULL, NULL);
    }
    int fd = memfd_create("rows", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        BUG("no memory file");
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (data_chunk_open(&f, path, &e) == ERR_OK) {
        int more = 1;
        int64_t last = 0;
        data_chunk_seek(&f, 0, 0);
        while (data_chunk_read(&f, c, &more, &e) == ERR_OK && more)
            check_chunk(c, &last);
        if (e.code == ERR_OK && f.at != (int64_t)size)
            BUG("%lld of %zu bytes read", (long long)f.at, size);
        data_chunk_close(&f);
    }
    close(fd);
    return 0;
}
