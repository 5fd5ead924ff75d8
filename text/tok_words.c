#include "text/tok_words.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { SMALL = 15, MID = 31, LONG_MAX_BYTES = 1024, TOKEN_BITS = 21, COUNT_SHIFT = 24, ID_MASK = (1 << COUNT_SHIFT) - 1, FAR = 255 };

/* ---- keys --------------------------------------------------------------------------------- */

static const uint64_t low_mask[9] = {0, 0xFF, 0xFFFF, 0xFFFFFF, 0xFFFFFFFF, 0xFFFFFFFFFF, 0xFFFFFFFFFFFF, 0xFFFFFFFFFFFFFF, ~0ull};

static inline uint64_t load8(const char *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}

/* The 16 or 32 bytes at p with everything behind len cleared; `ample`: that many may be read. */
static inline void key16(const char *p, int64_t len, int ample, uint64_t *lo, uint64_t *hi)
{
    char copy[16] = {0};
    if (!ample)
        p = memcpy(copy, p, (size_t)len);
    *lo = load8(p) & low_mask[len < 8 ? len : 8];
    *hi = (load8(p + 8) & low_mask[len > 8 ? len - 8 : 0]) | (uint64_t)len << 56;
}

/* The whole product folded: every bit of the key counts in the low bits, also the length at the top. */
static inline uint64_t mix(uint64_t lo, uint64_t hi)
{
    unsigned __int128 m = (unsigned __int128)(lo ^ 0xA0761D6478BD642Fu) * (hi ^ 0xE7037ED1A0B428DBu);
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static inline void key32(const char *p, int64_t len, int ample, uint64_t key[4])
{
    char copy[32] = {0};
    if (!ample)
        p = memcpy(copy, p, (size_t)len);
    key[0] = load8(p);
    key[1] = load8(p + 8);
    key[2] = load8(p + 16) & low_mask[len < 24 ? len - 16 : 8];
    key[3] = (load8(p + 24) & low_mask[len > 24 ? len - 24 : 0]) | (uint64_t)len << 56;
}

static inline uint64_t mix32(const uint64_t k[4])
{
    return mix(mix(k[0], k[1]) ^ k[2] * 0xA24BAED4963EE407u, k[3]);
}

/* ---- memory ------------------------------------------------------------------------------- */

static void *table(uint64_t n, size_t size)
{
    size_t bytes = (size_t)n * size, align = bytes >= 2 << 20 ? 2 << 20 : 64;
    void *p = aligned_alloc(align, (bytes + align - 1) / align * align);
    if (!p)
        BUG("out of memory for a word cache of %zu bytes", bytes);
    if (align > 64)
        madvise(p, bytes, MADV_HUGEPAGE);
    memset(p, 0, bytes);
    return p;
}

/* Four places: two lines side by side. The one to put a word in. */
static struct tok_word16 *small_slot(struct tok_words *c, uint64_t lo, uint64_t hi, uint64_t h)
{
    for (int k = 0; k < 4; k++) {
        struct tok_word16 *e = &c->small[((h & c->small_mask) ^ (uint64_t)(k >> 1)) * 2 + (uint64_t)(k & 1)];
        if (e->hi == 0 || (e->lo == lo && e->hi == hi))
            return e;
    }
    return &c->small[(h & c->small_mask) * 2 + (h >> 63)]; /* all taken: one of its own line makes room */
}

/* n ids into room for `near` of them, or the pool. 0 when neither takes them. */
static int put_entry(struct tok_words *c, uint32_t *room, int64_t near, const int32_t *id, int64_t n)
{
    if (n >= 1 && n <= near) {
        memcpy(room, id, (size_t)n * sizeof *id);
        room[0] |= (uint32_t)n << COUNT_SHIFT;
        return 1;
    }
    if (n < 1 || n > MID || c->pool_n + n + 1 > c->pool_cap)
        return 0;
    room[0] = (uint32_t)FAR << COUNT_SHIFT;
    room[1] = (uint32_t)c->pool_n;
    room[2] = c->generation;
    c->pool[c->pool_n++] = (uint32_t)n;
    memcpy(c->pool + c->pool_n, id, (size_t)n * sizeof *id);
    c->pool_n += n;
    return 1;
}

void tok_words_init(struct tok_words *c, const struct tok *t)
{
    uint64_t small = 1 << 14;
    while (small < 5 * (uint64_t)t->im.n_ids / 2)
        small *= 2;
    uint64_t mid = small / 2, lng = small / 4;
    *c = (struct tok_words){.small_mask = small / 2 - 1, .mid_mask = mid - 1, .long_mask = lng - 1, .pool_cap = (int64_t)lng * 32};
    c->small = table(small, sizeof *c->small);
    c->mid = table(mid, sizeof *c->mid);
    c->lng = table(lng, sizeof *c->lng);
    c->pool = table((uint64_t)c->pool_cap, sizeof *c->pool);
    c->token = t->im.ignore_merges ? table(1 << (TOKEN_BITS - 6), sizeof *c->token) : NULL;
    for (int32_t id = 0; id < t->im.n_ids; id++) {
        struct str s = tok_im_text(&t->im, id);
        uint32_t one = (uint32_t)id;
        uint64_t lo, hi, h;
        if (!(t->im.flags[id] & TOK_SELF) || s.n == 0 || s.n > SMALL)
            continue;
        key16(s.p, s.n, 0, &lo, &hi);
        h = mix(lo, hi);
        if (c->token)
            c->token[h >> (70 - TOKEN_BITS)] |= 1ull << (h >> (64 - TOKEN_BITS) & 63);
        struct tok_word16 *e = small_slot(c, lo, hi, h);
        *e = (struct tok_word16){.lo = lo, .hi = hi, .id = {one | 1u << COUNT_SHIFT}};
    }
}

void tok_words_release(struct tok_words *c)
{
    free(c->small);
    free(c->mid);
    free(c->lng);
    free(c->pool);
    free(c->token);
    *c = (struct tok_words){0};
}

int64_t tok_words_memory(const struct tok_words *c)
{
    if (!c->small)
        return 0;
    return (int64_t)((c->small_mask + 1) * 2 * sizeof *c->small + (c->mid_mask + 1) * sizeof *c->mid + (c->long_mask + 1) * sizeof *c->lng + (uint64_t)c->pool_cap * sizeof *c->pool +
                     (c->token ? (1ull << TOKEN_BITS) / 8 : 0));
}

/* ---- looking up --------------------------------------------------------------------------- */

/* Room for n ids more and for the short words that may follow without asking. */
static inline void reserve(struct tok_ids *out, int64_t n)
{
    out->id = tok_grow(out->id, &out->cap, out->n + n + 4 * TOK_MAX_BATCH + 16, sizeof *out->id);
}

static void put_ids(struct tok_ids *out, const uint32_t *id, int64_t n)
{
    reserve(out, n);
    memcpy(out->id + out->n, id, (size_t)n * sizeof *id);
    out->n += n;
}

/* The ids of an entry; 0 when the pool was emptied since. */
static int put_found(const struct tok_words *c, const uint32_t *room, struct tok_ids *out)
{
    uint32_t count = room[0] >> COUNT_SHIFT;
    if (count != FAR) {
        put_ids(out, room, count);
        out->id[out->n - count] &= ID_MASK;
        return 1;
    }
    if (room[2] != c->generation)
        return 0;
    put_ids(out, c->pool + room[1] + 1, c->pool[room[1]]);
    return 1;
}

static int64_t put_merged(struct bpe_scratch *bpe, struct tok_ids *out)
{
    reserve(out, bpe->n);
    for (int64_t i = 0; i < bpe->n; i++)
        out->id[out->n + i] = (int32_t)bpe->sym[i].id;
    out->n += bpe->n;
    return bpe->n;
}

static int64_t merged(const struct tok *t, struct bpe_scratch *bpe, struct str word, struct tok_ids *out)
{
    bpe_word(t, word, bpe);
    return put_merged(bpe, out);
}

static void empty_pool(struct tok_words *c)
{
    memset(c->lng, 0, (size_t)(c->long_mask + 1) * sizeof *c->lng);
    c->pool_n = c->n_long = 0;
    c->generation++;
}

static void make_room(struct tok_words *c, int64_t need)
{
    if (c->pool_n + need > c->pool_cap || 2 * c->n_long > (int64_t)c->long_mask)
        empty_pool(c);
}

/* Not in the first line, or with many ids, or not at all. */
static __attribute__((noinline)) void encode_small(struct tok_words *c, const struct tok *t, struct bpe_scratch *bpe, struct str word, struct tok_ids *out)
{
    uint64_t lo, hi, h;
    key16(word.p, word.n, 0, &lo, &hi);
    h = mix(lo, hi);
    struct tok_word16 *e = small_slot(c, lo, hi, h);
    if (e->lo == lo && e->hi == hi && put_found(c, e->id, out))
        return;
    if (c->token && !(c->token[h >> (70 - TOKEN_BITS)] >> (h >> (64 - TOKEN_BITS) & 63) & 1))
        bpe_word_merged(t, word, bpe);
    else
        bpe_word(t, word, bpe);
    int64_t n = put_merged(bpe, out);
    struct tok_word16 made = {.lo = lo, .hi = hi};
    make_room(c, SMALL + 1);
    if (put_entry(c, made.id, 4, out->id + out->n - n, n))
        *e = made;
}

static void encode_mid(struct tok_words *c, const struct tok *t, struct bpe_scratch *bpe, struct str word, int ample, uint64_t h, struct tok_ids *out)
{
    struct tok_word32 made = {0}, *a = &c->mid[h & c->mid_mask], *b = &c->mid[(h & c->mid_mask) ^ 1];
    key32(word.p, word.n, ample, made.key);
    struct tok_word32 *hit = !memcmp(a->key, made.key, sizeof made.key) ? a : !memcmp(b->key, made.key, sizeof made.key) ? b : NULL;
    if (hit && put_found(c, hit->id, out))
        return;
    int64_t n = merged(t, bpe, word, out);
    if (!hit)
        hit = a->key[3] == 0 ? a : b->key[3] == 0 ? b : h >> 63 ? a : b;
    make_room(c, MID + 1);
    if (put_entry(c, made.id, 8, out->id + out->n - n, n))
        *hit = made;
}

static void remember_long(struct tok_words *c, uint64_t h, struct str word, const int32_t *id, int64_t n)
{
    int64_t need = 1 + n + (word.n + 3) / 4;
    if (need > c->pool_cap / 16)
        return;
    make_room(c, need);
    uint64_t k = h & c->long_mask;
    while (c->lng[k].len)
        k = (k + 1) & c->long_mask;
    uint32_t *room = c->pool + c->pool_n;
    c->lng[k] = (struct tok_word_long){.hash = h, .at = (uint32_t)c->pool_n, .len = (uint32_t)word.n};
    room[0] = (uint32_t)n;
    memcpy(room + 1, id, (size_t)n * sizeof *id);
    memcpy(room + 1 + n, word.p, (size_t)word.n);
    c->pool_n += need;
    c->n_long++;
}

static void encode_long(struct tok_words *c, const struct tok *t, struct bpe_scratch *bpe, struct str word, uint64_t h, struct tok_ids *out)
{
    if (word.n > LONG_MAX_BYTES) {
        merged(t, bpe, word, out);
        return;
    }
    for (uint64_t k = h & c->long_mask; c->lng[k].len; k = (k + 1) & c->long_mask) {
        const struct tok_word_long *e = &c->lng[k];
        const uint32_t *room = c->pool + e->at;
        if (e->hash == h && e->len == word.n && !memcmp(room + 1 + room[0], word.p, (size_t)word.n)) {
            put_ids(out, room + 1, room[0]);
            return;
        }
    }
    int64_t n = merged(t, bpe, word, out);
    remember_long(c, h, word, out->id + out->n - n, n);
}

/* The first look at each word only asks for the lines that it may be in, so that waiting for one is waiting for all. */
void tok_words_encode(struct tok_words *c, const struct tok *t, struct bpe_scratch *bpe, const struct tok_run *run, struct tok_ids *out)
{
    struct {
        uint64_t lo, hi, at; /* at: line of a short word, hash of another */
    } look[TOK_MAX_BATCH];
    int64_t b = run->b;
    assert(run->k <= TOK_MAX_BATCH);
    for (int i = 0; i < run->k; i++) {
        int64_t len = run->end[i] - b;
        const char *p = run->p + b;
        if (len <= SMALL) {
            key16(p, len, b + 16 <= run->n, &look[i].lo, &look[i].hi);
            look[i].at = (mix(look[i].lo, look[i].hi) & c->small_mask) * 2;
            __builtin_prefetch(&c->small[look[i].at]);
        } else if (len <= MID) {
            uint64_t key[4];
            key32(p, len, b + 32 <= run->n, key);
            look[i].at = mix32(key);
            __builtin_prefetch(&c->mid[look[i].at & c->mid_mask]);
        } else {
            look[i].at = len <= LONG_MAX_BYTES ? tok_hash_bytes(p, len) : 0;
            __builtin_prefetch(&c->lng[look[i].at & c->long_mask]);
        }
        b = run->end[i];
    }
    reserve(out, 0);
    int32_t *id = out->id + out->n;
    b = run->b;
    for (int i = 0; i < run->k; i++) {
        struct str word = {run->p + b, run->end[i] - b};
        int64_t from = b;
        b = run->end[i];
        if (word.n <= SMALL) {
            const struct tok_word16 *e = &c->small[look[i].at];
            e += (e->lo ^ look[i].lo) | (e->hi ^ look[i].hi) ? 1 : 0; /* which of the two is as good as random: no branch */
            uint32_t first = e->id[0];
            if (__builtin_expect(!((e->lo ^ look[i].lo) | (e->hi ^ look[i].hi)) && first < (uint32_t)FAR << COUNT_SHIFT, 1)) {
                memcpy(id, e->id, sizeof e->id);
                id[0] = (int32_t)(first & ID_MASK);
                id += first >> COUNT_SHIFT;
                continue;
            }
        }
        out->n = id - out->id;
        if (word.n <= SMALL)
            encode_small(c, t, bpe, word, out);
        else if (word.n <= MID)
            encode_mid(c, t, bpe, word, from + 32 <= run->n, look[i].at, out);
        else
            encode_long(c, t, bpe, word, look[i].at, out);
        id = out->id + out->n;
    }
    out->n = id - out->id;
}
