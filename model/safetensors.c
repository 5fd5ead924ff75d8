#include "model/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/json.h"
#include "model/st_json.h"

static const struct {
    const char *name;
    int bits;
} dtypes[] = {
#define X(name, bits) {#name, bits},
    ST_DTYPES(X)
#undef X
};

const char *st_dtype_name(enum st_dtype d)
{
    return dtypes[d].name;
}

int st_dtype_bits(enum st_dtype d)
{
    return dtypes[d].bits;
}

/* ---- reading ------------------------------------------------------------------------------ */

enum { MAX_HEADER = 100000000 };

static int by_name_then_order(const void *x, const void *y)
{
    const struct st_entry *a = x, *b = y;
    int c = str_cmp(a->name, b->name);
    return c ? c : (a->order > b->order) - (a->order < b->order);
}

static int by_offset(const void *x, const void *y)
{
    const struct st_entry *a = x, *b = y;
    if (a->begin != b->begin)
        return a->begin < b->begin ? -1 : 1;
    if (a->end != b->end)
        return a->end < b->end ? -1 : 1;
    return str_cmp(a->name, b->name);
}

/* Of entries with one name the last in the file counts. */
static int64_t drop_repeated(struct st_entry *t, int64_t n)
{
    int64_t kept = 0;
    if (n)
        qsort(t, (size_t)n, sizeof *t, by_name_then_order);
    for (int64_t i = 0; i < n; i++)
        if (i + 1 == n || !str_eq(t[i].name, t[i + 1].name))
            t[kept++] = t[i];
    return kept;
}

static err_code refuse(const char *file, struct str tensor, const char *why, struct err *e)
{
    return err_set(e, ERR_DATA, "'%s': tensor '%.*s': %s", file, (int)(tensor.n > 200 ? 200 : tensor.n), tensor.p, why);
}

/* Offsets without holes or overlaps, each as long as dtype and shape say. *data_end: where the last one ends. */
static err_code check(const char *file, const struct st_entry *t, int64_t n, uint64_t *data_end, struct err *e)
{
    uint64_t at = 0;
    for (int64_t i = 0; i < n; i++) {
        uint64_t count = 1, bits;
        if (t[i].begin != at || t[i].end < at)
            return refuse(file, t[i].name, "its bytes do not begin where the tensor before ends [InvalidOffset]", e);
        at = t[i].end;
        int over = 0;
        for (int d = 0; d < t[i].n_dims && !over; d++)
            over = __builtin_mul_overflow(count, t[i].dims[d], &count);
        if (over || __builtin_mul_overflow(count, (uint64_t)dtypes[t[i].dtype].bits, &bits))
            return refuse(file, t[i].name, "its shape overflows 64 bits [ValidationOverflow]", e);
        if (bits % 8)
            return refuse(file, t[i].name, "its elements do not fill whole bytes [MisalignedSlice]", e);
        if (bits / 8 != t[i].end - t[i].begin)
            return refuse(file, t[i].name, "dtype and shape do not give the length of its bytes [TensorInvalidInfo]", e);
    }
    *data_end = at;
    return ERR_OK;
}

/* The entries, sorted by offset; `order` holds each one's rank by name. */
static err_code publish(const struct st_entry *t, int64_t n, const char *data, struct arena *mem, struct st_file *out)
{
    struct st_tensor *ts = ARENA_TRY(mem, struct st_tensor, n + 1);
    int64_t *by_name = ARENA_TRY(mem, int64_t, n + 1);
    if (!ts || !by_name)
        return ERR_LIMIT;
    for (int64_t i = 0; i < n; i++) {
        ts[i] = (struct st_tensor){.name = t[i].name, .dtype = t[i].dtype, .n_dims = t[i].n_dims, .dims = t[i].dims,
                                   .data = data + t[i].begin, .bytes = (int64_t)(t[i].end - t[i].begin)};
        by_name[t[i].order] = i;
    }
    out->n = n;
    out->tensors = ts;
    out->by_name = by_name;
    return ERR_OK;
}

static err_code parse_entries(const char *name, struct file_map m, int64_t data_at, struct st_header *h, struct arena *mem,
                              struct st_file *out, struct err *e)
{
    uint64_t end = 0;
    h->n = drop_repeated(h->entries, h->n);
    for (int64_t i = 0; i < h->n; i++)
        h->entries[i].order = i;
    if (h->n)
        qsort(h->entries, (size_t)h->n, sizeof *h->entries, by_offset);
    TRY(check(name, h->entries, h->n, &end, e));
    if (end != (uint64_t)(m.n - data_at))
        return err_set(e, ERR_DATA, "'%s': the tensors need %llu bytes, the file has %lld: truncated or damaged [MetadataIncompleteBuffer]", name,
                       (unsigned long long)end, (long long)(m.n - data_at));
    struct st_meta *meta = ARENA_TRY(mem, struct st_meta, h->n_meta + 1);
    if (!meta || publish(h->entries, h->n, m.p + data_at, mem, out) != ERR_OK)
        return err_set(e, ERR_LIMIT, "'%s': the header needs more memory than is planned for it", name);
    if (h->n_meta)
        memcpy(meta, h->meta, (size_t)h->n_meta * sizeof *meta);
    out->meta = meta;
    out->n_meta = h->n_meta;
    return ERR_OK;
}

err_code st_parse(const char *name, struct file_map m, struct arena *mem, struct st_file *out, struct err *e)
{
    struct st_header h;
    struct st_file f = {.map = m};
    uint64_t n = 0;
    if (m.n < 8)
        return err_set(e, ERR_DATA, "'%s': %lld bytes are too few for a safetensors file [HeaderTooSmall]", name, (long long)m.n);
    for (int i = 7; i >= 0; i--)
        n = n << 8 | (unsigned char)m.p[i];
    if (n > MAX_HEADER)
        return err_set(e, ERR_DATA, "'%s': a header of %llu bytes is over the format's limit [HeaderTooLarge]", name, (unsigned long long)n);
    if ((int64_t)n > m.n - 8)
        return err_set(e, ERR_DATA, "'%s': the header should have %llu bytes but the file ends after %lld: truncated [InvalidHeaderLength]", name,
                       (unsigned long long)n, (long long)(m.n - 8));
    struct str text = {m.p + 8, (int64_t)n};
    int64_t at = utf8_check(text);
    if (at >= 0)
        return err_set(e, ERR_DATA, "'%s': header byte %lld is not UTF-8 [InvalidHeader]", name, (long long)at);
    TRY(st_header_parse(name, text, mem, &h, e));
    err_code rc = parse_entries(name, m, 8 + (int64_t)n, &h, mem, &f, e);
    free(h.entries);
    free(h.meta);
    if (rc == ERR_OK)
        *out = f;
    return rc;
}

err_code st_open(const char *path, struct arena *mem, struct st_file *out, struct err *e)
{
    struct file_map m;
    TRY(file_map_open(path, &m, e));
    err_code rc = st_parse(path, m, mem, out, e);
    if (rc != ERR_OK)
        file_map_release(&m);
    return rc;
}

void st_close(struct st_file *f)
{
    file_map_release(&f->map);
    f->n = 0;
}

const struct st_tensor *st_find(const struct st_file *f, struct str name)
{
    int64_t lo = 0, hi = f->n;
    while (lo < hi) {
        int64_t mid = (lo + hi) / 2;
        const struct st_tensor *t = &f->tensors[f->by_name[mid]];
        int c = str_cmp(name, t->name);
        if (c == 0)
            return t;
        if (c < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return NULL;
}

/* ---- writing ------------------------------------------------------------------------------ */

static int as_written(const void *x, const void *y)
{
    const struct st_tensor *a = *(const struct st_tensor *const *)x, *b = *(const struct st_tensor *const *)y;
    return a->dtype != b->dtype ? (a->dtype < b->dtype) - (a->dtype > b->dtype) : str_cmp(a->name, b->name);
}

static void put_header(struct sbuf *b, const struct st_tensor *const *t, int64_t n)
{
    int64_t at = 0;
    sbuf_adds(b, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (int64_t i = 0; i < n; i++) {
        sbuf_adds(b, ",");
        json_put_str(b, t[i]->name);
        sbuf_addf(b, ":{\"dtype\":\"%s\",\"shape\":[", st_dtype_name(t[i]->dtype));
        for (int d = 0; d < t[i]->n_dims; d++)
            sbuf_addf(b, "%s%llu", d ? "," : "", (unsigned long long)t[i]->dims[d]);
        sbuf_addf(b, "],\"data_offsets\":[%lld,%lld]}", (long long)at, (long long)(at + t[i]->bytes));
        at += t[i]->bytes;
    }
    sbuf_adds(b, "}");
    while (b->n % 8 && !b->full)
        sbuf_addc(b, ' ');
}

static err_code put_tensor(int fd, const char *path, const struct st_source *s, const struct st_tensor *t, char *buf, struct err *e)
{
    if (!s->read)
        return file_write_all(fd, t->data, t->bytes, path, e);
    for (int64_t at = 0; at < t->bytes; at += ST_CHUNK) {
        int64_t n = t->bytes - at < ST_CHUNK ? t->bytes - at : ST_CHUNK;
        s->read(s->ctx, t, at, n, buf);
        TRY(file_write_all(fd, buf, n, path, e));
    }
    return ERR_OK;
}

static err_code put_all(int fd, const char *path, const struct st_source *s, const struct st_tensor *const *t, struct err *e)
{
    struct sbuf head;
    char len[8], *buf = s->read ? malloc(ST_CHUNK) : NULL;
    sbuf_init(&head, MAX_HEADER);
    put_header(&head, t, s->n);
    err_code rc = head.full || (s->read && !buf) ? err_set(e, ERR_LIMIT, "cannot write '%s': the header is too large or memory is short", path) : ERR_OK;
    for (int i = 0; i < 8; i++)
        len[i] = (char)((uint64_t)head.n >> 8 * i);
    if (rc == ERR_OK)
        rc = file_write_all(fd, len, 8, path, e);
    if (rc == ERR_OK)
        rc = file_write_all(fd, head.p, head.n, path, e);
    for (int64_t i = 0; rc == ERR_OK && i < s->n; i++)
        rc = put_tensor(fd, path, s, t[i], buf, e);
    if (rc == ERR_OK)
        rc = file_sync(fd, path, e);
    sbuf_release(&head);
    free(buf);
    return rc;
}

err_code st_write(const char *path, const struct st_source *s, struct err *e)
{
    char tmp[PATH_MAX], dir[PATH_MAX];
    if (snprintf(tmp, sizeof tmp, "%s.tmp.%d", path, (int)getpid()) >= (int)sizeof tmp)
        return err_set(e, ERR_IO, "cannot write '%s': the path is too long", path);
    const struct st_tensor **t = malloc((size_t)(s->n + 1) * sizeof(*t));
    if (!t)
        return err_set(e, ERR_LIMIT, "cannot write '%s': memory is short", path);
    for (int64_t i = 0; i < s->n; i++)
        t[i] = &s->t[i];
    qsort(t, (size_t)s->n, sizeof(*t), as_written);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    err_code rc = fd < 0 ? err_sys(e, ERR_IO, "cannot create '%s'", tmp) : put_all(fd, tmp, s, t, e);
    free(t);
    if (fd >= 0 && close(fd) < 0 && rc == ERR_OK)
        rc = err_sys(e, ERR_IO, "cannot close '%s'", tmp);
    if (rc == ERR_OK)
        rc = file_rename(tmp, path, e);
    if (rc != ERR_OK) {
        if (fd >= 0)
            unlink(tmp);
        return rc;
    }
    snprintf(dir, sizeof dir, "%s", path);
    char *slash = strrchr(dir, '/');
    if (slash)
        slash[slash == dir] = 0;
    return file_sync_dir(slash ? dir : ".", e);
}
