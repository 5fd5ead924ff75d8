/* One line of a file -> one item: telling the format, checking, canonical spelling. Private to datasets/. */
#ifndef HONE_DATASETS_FORMATS_H
#define HONE_DATASETS_FORMATS_H

#include "core/hash.h"
#include "datasets/datasets.h"
#include "datasets/tape.h"

enum data_kind { KIND_CHAT, KIND_PROMPT, KIND_PAIR, KIND_TEXT, N_KINDS };
extern const char *const data_kind_name[N_KINDS];

enum { MAP_MAX = 16 };
struct data_map { /* field = field of the file */
    struct str field[MAP_MAX], from[MAP_MAX]; /* borrowed from the text that was parsed */
    int n;
};
/* ERR_USAGE: unknown field (names the known ones), bad form. */
err_code data_map_parse(const char *text, struct data_map *m, struct err *e);

struct data_reader { /* one per thread; zero-initialise, then data_reader_init */
    struct tape tape;
    struct sbuf fold, part;
    enum data_format format; /* DATA_AUTO: told row by row */
    const struct data_map *map; /* borrowed; NULL = none */
};
void data_reader_init(struct data_reader *r, enum data_format format, const struct data_map *map);
void data_reader_release(struct data_reader *r);

struct data_item_info {
    enum data_format format;
    enum data_kind kind;
    struct hash128 hash; /* of kind and body */
    int64_t prompt;      /* hash of the folded prompt */
};
/* Appends the item's body to out. ERR_DATA: why the line is no row; out is as before. */
err_code data_read_row(struct data_reader *r, struct str line, struct sbuf *out, struct data_item_info *info, struct err *e);

struct hash128 data_item_hash(const char *kind, struct str body);

#endif
