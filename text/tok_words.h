/* What a thread remembers of the words it has encoded. Three tables by length: up to 15 bytes (key and up to 4 ids in 32
 * bytes, two entries to a cache line), up to 31 (key and up to 8 ids in one line), longer ones. What has more ids keeps them in a
 * pool, as long words keep their bytes; a full pool is emptied, and entries that point into what it held are known by its
 * generation. Keys are compared whole: a hit is never a guess. Sizes are fixed when the table is made. */
#ifndef HONE_TEXT_TOK_WORDS_H
#define HONE_TEXT_TOK_WORDS_H

#include "text/tok.h"

struct tok_word16 {
    uint64_t lo, hi;   /* bytes; the top byte of hi is the length, so 0, 0 is a free entry */
    uint32_t id[4];    /* the count stands above bit 24 of id[0]; 255: id[1] is a place in the pool, id[2] the generation */
};
struct tok_word32 {
    uint64_t key[4];   /* the same with 31 bytes */
    uint32_t id[8];
};
struct tok_word_long {
    uint64_t hash;
    uint32_t at;       /* in pool: count, ids, bytes */
    uint32_t len;      /* 0: free */
};

struct tok_words {
    struct tok_word16 *small;
    struct tok_word32 *mid;
    struct tok_word_long *lng;
    uint64_t small_mask, mid_mask, long_mask; /* of lines (two entries), of entries, of entries */
    uint32_t *pool;
    int64_t pool_n, pool_cap, n_long;
    uint32_t generation;
    uint64_t *token;   /* one bit per hash of a short word: 0 = it is no token. With ignore_merges, else NULL */
};

/* Filled with the vocabulary's own words. */
void tok_words_init(struct tok_words *c, const struct tok *t);
void tok_words_release(struct tok_words *c);
int64_t tok_words_memory(const struct tok_words *c);

/* Ids of the pieces that end at end[0 .. k), the first beginning at b, appended to out->id (room is made). */
enum { TOK_MAX_BATCH = 256 };
struct tok_run {
    const char *p;
    int64_t n;
    int64_t b;
    const int64_t *end;
    int k;
};
void tok_words_encode(struct tok_words *c, const struct tok *t, struct bpe_scratch *bpe, const struct tok_run *run, struct tok_ids *out);

#endif
