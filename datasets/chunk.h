/* A file of rows as chunks: read in large pieces that end between two rows, parsed on all threads, rows in
 * file order. JSON Lines, or one JSON array of objects. Private to datasets/. */
#ifndef HONE_DATASETS_CHUNK_H
#define HONE_DATASETS_CHUNK_H

#include "datasets/filter.h"
#include "datasets/formats.h"

enum { CHUNK_BYTES = 4 << 20, CHUNK_SLICES = 16, ROW_MAX_BYTES = 256 << 20 };

struct chunk_row {
    int64_t line;          /* of the file, from 1 */
    int64_t at;            /* byte of the file where the row begins */
    int64_t begin, n;      /* its body, or the reason why it is bad, in the slice's text */
    struct data_item_info info;
    int bad, left_out;
};
struct chunk_slice {
    struct data_reader reader;
    const struct data_filter *filter; /* borrowed; NULL = none */
    struct sbuf text, changed;
    struct chunk_row *rows;
    int64_t n, cap;
    int64_t begin, end;    /* bytes of the chunk */
    int64_t line;          /* line ends of the file before it (array: rows of the chunk before it) */
    int out_of_memory;
};
struct chunk {
    char *p;
    int64_t n, cap;
    int64_t at, end_at;    /* bytes of the file: begin, and behind its last row */
    int64_t line, end_line; /* line ends of the file before each */
    int64_t *element;      /* array: line ends before each row */
    int64_t n_elements, cap_elements;
    int array;
    int too_long;          /* the chunk is one row over ROW_MAX_BYTES, which was skipped */
    int n_slices;
    struct chunk_slice slice[CHUNK_SLICES];
};

struct chunk_file {
    int fd;
    const char *path;      /* borrowed, for messages */
    int64_t at, line;      /* where the next chunk begins */
    int64_t bytes;         /* size of the file */
    int array;             /* one JSON array */
    char *tail;            /* bytes read behind the last chunk's end */
    int64_t n_tail, cap_tail;
    /* array: state behind the tail */
    int opened, depth, in_string, escaped, in_element;
    int carried;           /* the tail is the beginning of a row, ... */
    int64_t carried_line;  /* ... which begins behind so many line ends */
    int64_t now;           /* line ends so far, tail included */
    int64_t before_comma;  /* line ends before the last end of a row */
};

/* at, line: where an earlier call stopped. ERR_IO; ERR_UNSUPPORTED: Parquet, compressed, ... */
err_code data_chunk_open(struct chunk_file *f, const char *path, struct err *e);
void data_chunk_seek(struct chunk_file *f, int64_t at, int64_t line);
void data_chunk_close(struct chunk_file *f);

void data_chunk_init(struct chunk *c, enum data_format format, const struct data_map *map, const struct data_filter *filter);
void data_chunk_release(struct chunk *c);
/* Reads the next chunk and cuts it into slices; *more 0: the file is at its end. */
err_code data_chunk_read(struct chunk_file *f, struct chunk *c, int *more, struct err *e);
/* Parses slice i; slices may run on different threads. */
void data_chunk_parse(struct chunk *c, int i);

#endif
