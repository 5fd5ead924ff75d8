#include "datasets/chunk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/fault.h"

/* ---- opening ------------------------------------------------------------------------------ */

static int64_t read_at(int fd, char *p, int64_t n, int64_t at)
{
    int64_t got = 0;
    while (got < n) {
        ssize_t k = fault_hit("read") ? (errno = EIO, -1) : pread(fd, p + got, (size_t)(n - got), at + got);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return -1;
        if (k == 0)
            break;
        got += k;
    }
    return got;
}

/* What is often given in place of JSON Lines. */
static err_code look(struct chunk_file *f, struct err *e)
{
    static const struct {
        const char *magic;
        int n;
        const char *what;
    } others[] = {
        {"PAR1", 4, "Parquet; hint: convert it to JSON Lines first"},
        {"\x1f\x8b", 2, "compressed with gzip; hint: gzip -d"},
        {"\x28\xb5\x2f\xfd", 4, "compressed with zstd; hint: zstd -d"},
        {"BZh", 3, "compressed with bzip2; hint: bzip2 -d"},
        {"\xfd" "7zXZ", 5, "compressed with xz; hint: xz -d"},
        {"PK\x03\x04", 4, "a zip archive; hint: unzip it"},
        {"ARROW1", 6, "Arrow; hint: convert it to JSON Lines first"},
        {"\xff\xfe", 2, "UTF-16 text; hint: convert it to UTF-8"},
        {"\xfe\xff", 2, "UTF-16 text; hint: convert it to UTF-8"},
    };
    char head[4096];
    int64_t n = read_at(f->fd, head, sizeof head, 0);
    if (n < 0)
        return err_sys(e, ERR_IO, "cannot read '%s'", f->path);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (n >= others[i].n && !memcmp(head, others[i].magic, (size_t)others[i].n))
            return err_set(e, ERR_UNSUPPORTED, "'%s' is %s", f->path, others[i].what);
    int64_t i = n >= 3 && !memcmp(head, "\xEF\xBB\xBF", 3) ? 3 : 0;
    while (i < n && strchr(" \t\r\n", head[i]) && head[i])
        i++;
    if (i < n && head[i] == '[') {
        do
            i++;
        while (i < n && head[i] && strchr(" \t\r\n", head[i]));
        f->array = i < n && (head[i] == '{' || head[i] == ']');
    }
    return ERR_OK;
}

err_code data_chunk_open(struct chunk_file *f, const char *path, struct err *e)
{
    struct stat st;
    *f = (struct chunk_file){.path = path};
    f->fd = fault_hit("open") ? (errno = EMFILE, -1) : open(path, O_RDONLY | O_CLOEXEC);
    if (f->fd < 0)
        return err_sys(e, ERR_IO, "cannot open '%s'", path);
    err_code rc = ERR_OK;
    if (fstat(f->fd, &st) < 0)
        rc = err_sys(e, ERR_IO, "cannot read '%s'", path);
    else if (!S_ISREG(st.st_mode))
        rc = err_set(e, ERR_IO, "'%s' is not a regular file; hint: an import must be able to start again where it stopped, so save the rows to a file", path);
    else
        rc = look(f, e);
    f->bytes = rc == ERR_OK ? st.st_size : 0;
    if (rc != ERR_OK)
        data_chunk_close(f);
    return rc;
}

void data_chunk_seek(struct chunk_file *f, int64_t at, int64_t line)
{
    f->at = at;
    f->line = line;
    f->depth = at > 0; /* array: behind a comma, or behind the end */
    f->opened = at > 0;
}

void data_chunk_close(struct chunk_file *f)
{
    if (f->fd >= 0)
        close(f->fd);
    free(f->tail);
    f->fd = -1;
    f->tail = NULL;
}

void data_chunk_init(struct chunk *c, enum data_format format, const struct data_map *map, const struct data_filter *filter)
{
    *c = (struct chunk){0};
    for (int i = 0; i < CHUNK_SLICES; i++) {
        data_reader_init(&c->slice[i].reader, format, map);
        sbuf_init(&c->slice[i].text, 1LL << 33);
        sbuf_init(&c->slice[i].changed, 1LL << 31);
        c->slice[i].filter = filter;
    }
}

void data_chunk_release(struct chunk *c)
{
    for (int i = 0; i < CHUNK_SLICES; i++) {
        data_reader_release(&c->slice[i].reader);
        sbuf_release(&c->slice[i].text);
        sbuf_release(&c->slice[i].changed);
        free(c->slice[i].rows);
    }
    free(c->element);
    free(c->p);
    *c = (struct chunk){0};
}

/* ---- reading ------------------------------------------------------------------------------ */

static err_code room(char **p, int64_t *cap, int64_t want, const char *path, struct err *e)
{
    if (want <= *cap)
        return ERR_OK;
    char *q = realloc(*p, (size_t)want);
    if (!q)
        return err_set(e, ERR_LIMIT, "no memory for a piece of %lld bytes of '%s'", (long long)want, path);
    *p = q;
    *cap = want;
    return ERR_OK;
}

static err_code element_begins(struct chunk *c, int64_t line, struct err *e)
{
    if (c->n_elements == c->cap_elements) {
        int64_t cap = c->cap_elements ? c->cap_elements * 2 : 1024;
        int64_t *p = realloc(c->element, (size_t)cap * sizeof *p);
        if (!p)
            return err_set(e, ERR_LIMIT, "no memory for the rows of a chunk");
        c->element = p;
        c->cap_elements = cap;
    }
    c->element[c->n_elements++] = line;
    return ERR_OK;
}

/* Rewrites bytes [from, n) of an array file in place as one row per line: white space is free in JSON, so the
 * commas between elements become line ends, and line ends become blanks. */
static err_code unfold(struct chunk_file *f, struct chunk *c, int64_t from, struct err *e)
{
    for (int64_t i = from; i < c->n; i++) {
        char *p = &c->p[i];
        int newline = *p == '\n';
        if (newline)
            f->now++;
        if (f->in_string) {
            f->in_string = *p != '"' || f->escaped;
            f->escaped = *p == '\\' && !f->escaped;
            if (newline)
                *p = 1; /* not allowed there: keeps the row in one piece and is reported with it */
            continue;
        }
        if (newline || *p == ' ' || *p == '\t' || *p == '\r') {
            *p = ' ';
        } else if (!f->opened && *p == '[') {
            f->opened = f->depth = 1;
            *p = ' ';
        } else if (f->depth == 1 && (*p == ',' || *p == ']')) {
            f->depth = *p == ',';
            f->in_element = 0;
            f->before_comma = f->now;
            *p = '\n';
        } else {
            if (!f->in_element)
                TRY(element_begins(c, f->now, e));
            f->in_element = 1;
            f->in_string = *p == '"';
            f->depth += *p == '[' || *p == '{';
            f->depth -= (*p == ']' || *p == '}') && f->depth > 1;
        }
    }
    return ERR_OK;
}

static int64_t count_lines(const char *p, int64_t n)
{
    const char *end = p + n;
    int64_t lines = 0;
    while ((p = memchr(p, '\n', (size_t)(end - p)))) {
        lines++;
        p++;
    }
    return lines;
}

/* A row over ROW_MAX_BYTES is read over, not kept. */
static err_code skip_row(struct chunk_file *f, struct chunk *c, struct err *e)
{
    int64_t at = f->at + c->n;
    for (;;) {
        int64_t n = read_at(f->fd, c->p, CHUNK_BYTES, at);
        if (n < 0)
            return err_sys(e, ERR_IO, "cannot read '%s'", f->path);
        const char *end = memchr(c->p, '\n', (size_t)n);
        at += end ? end - c->p + 1 : n;
        if (end || n == 0)
            break;
    }
    c->too_long = 1;
    c->n = 0;
    c->end_at = at;
    c->end_line = f->line + 1;
    f->n_tail = 0;
    f->at = at;
    f->line = c->end_line;
    return ERR_OK;
}

/* Lines that are not blank. */
static int64_t count_rows(const char *p, int64_t n)
{
    const char *end = p + n;
    int64_t rows = 0;
    while (p < end) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        rows += str_trim((struct str){p, (nl ? nl : end) - p}).n > 0;
        p = nl ? nl + 1 : end;
    }
    return rows;
}

/* Returns the line ends up to the chunk's end (array: its rows). */
static int64_t cut(struct chunk *c, int64_t line)
{
    line = c->array ? 0 : line;
    int64_t piece = c->n / CHUNK_SLICES + 1, begin = 0;
    c->n_slices = 0;
    while (begin < c->n) {
        struct chunk_slice *s = &c->slice[c->n_slices++];
        int64_t end = begin + piece;
        const char *nl = end < c->n ? memchr(c->p + end, '\n', (size_t)(c->n - end)) : NULL;
        end = nl ? nl - c->p + 1 : c->n;
        s->begin = begin;
        s->end = end;
        s->line = line;
        line += c->array ? count_rows(c->p + begin, end - begin) : count_lines(c->p + begin, end - begin);
        begin = end;
    }
    return line;
}

static err_code fill(struct chunk_file *f, struct chunk *c, int64_t want, int *at_end, struct err *e)
{
    TRY(room(&c->p, &c->cap, want, f->path, e));
    int64_t from = c->n, n = read_at(f->fd, c->p + c->n, want - c->n, f->at + c->n);
    if (n < 0)
        return err_sys(e, ERR_IO, "cannot read '%s'", f->path);
    *at_end = n < want - c->n;
    c->n += n;
    if (f->at == 0 && from == 0 && c->n >= 3 && !memcmp(c->p, "\xEF\xBB\xBF", 3))
        memset(c->p, ' ', 3);
    return f->array ? unfold(f, c, from, e) : ERR_OK;
}

/* The chunk ends behind its last whole row; what follows is the next one's beginning. */
static err_code settle(struct chunk_file *f, struct chunk *c, int64_t n, struct err *e)
{
    f->n_tail = c->n - n;
    TRY(room(&f->tail, &f->cap_tail, f->n_tail, f->path, e));
    if (f->n_tail)
        memcpy(f->tail, c->p + n, (size_t)f->n_tail);
    c->n = n;
    c->end_at = f->at + n;
    c->end_line = cut(c, f->line);
    if (f->array) { /* the row that is cut belongs to the next chunk */
        f->carried = f->in_element && f->n_tail > 0;
        if (f->carried)
            f->carried_line = c->element[--c->n_elements];
        c->end_line = f->n_tail ? f->before_comma : f->now;
    }
    f->at = c->end_at;
    f->line = c->end_line;
    return ERR_OK;
}

err_code data_chunk_read(struct chunk_file *f, struct chunk *c, int *more, struct err *e)
{
    int at_end = 0;
    c->n = f->n_tail;
    c->n_elements = 0;
    c->n_slices = c->too_long = 0;
    c->at = f->at;
    c->line = f->line;
    c->array = f->array;
    TRY(room(&c->p, &c->cap, c->n, f->path, e));
    if (c->n)
        memcpy(c->p, f->tail, (size_t)c->n);
    if (f->carried)
        TRY(element_begins(c, f->carried_line, e));
    f->now = f->n_tail ? f->now : f->line;
    for (int64_t want = c->n + CHUNK_BYTES;; want *= 2) {
        TRY(fill(f, c, want, &at_end, e));
        const char *last = c->n ? memrchr(c->p, '\n', (size_t)c->n) : NULL;
        *more = c->n > 0;
        if (at_end)
            return settle(f, c, c->n, e);
        if (last)
            return settle(f, c, last - c->p + 1, e);
        if (c->n > ROW_MAX_BYTES)
            return f->array ? err_set(e, ERR_LIMIT, "%s:%lld: row is longer than %d bytes", f->path, (long long)f->now + 1, ROW_MAX_BYTES)
                            : skip_row(f, c, e);
    }
}

/* ---- parsing ------------------------------------------------------------------------------ */

static struct chunk_row *new_row(struct chunk_slice *s)
{
    if (s->n == s->cap) {
        int64_t cap = s->cap ? s->cap * 2 : 512;
        struct chunk_row *p = realloc(s->rows, (size_t)cap * sizeof *p);
        if (!p)
            return NULL;
        s->rows = p;
        s->cap = cap;
    }
    s->rows[s->n] = (struct chunk_row){.begin = s->text.n};
    return &s->rows[s->n++];
}

static void parse_row(struct chunk_slice *s, struct chunk_row *r, struct str line)
{
    struct err why = {0};
    enum data_filter_fate fate = FILTER_KEEP;
    err_code rc = line.n > ROW_MAX_BYTES ? err_set(&why, ERR_DATA, "row is longer than %d bytes", ROW_MAX_BYTES)
                  : s->filter            ? data_filter_row(s->filter, line, &fate, &s->changed, &why)
                                         : ERR_OK;
    r->left_out = rc == ERR_OK && fate == FILTER_LEAVE_OUT;
    if (rc == ERR_OK && !r->left_out)
        rc = data_read_row(&s->reader, fate == FILTER_CHANGED ? sbuf_str(&s->changed) : line, &s->text, &r->info, &why);
    r->bad = rc != ERR_OK;
    if (r->bad)
        sbuf_adds(&s->text, why.msg);
    r->n = s->text.n - r->begin;
}

void data_chunk_parse(struct chunk *c, int i)
{
    struct chunk_slice *s = &c->slice[i];
    const char *p = c->p + s->begin, *end = c->p + s->end;
    int64_t line = s->line, row_of = s->line;
    s->n = 0;
    s->out_of_memory = 0;
    sbuf_clear(&s->text);
    while (p < end) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        struct str row = str_trim((struct str){p, (nl ? nl : end) - p});
        line++;
        if (row.n) {
            struct chunk_row *r = new_row(s);
            if (!r) {
                s->out_of_memory = 1;
                return;
            }
            r->line = c->array ? c->element[row_of++] + 1 : line;
            r->at = c->at + (row.p - c->p);
            parse_row(s, r, row);
        }
        p = nl ? nl + 1 : end;
    }
    s->out_of_memory |= s->text.full;
}
