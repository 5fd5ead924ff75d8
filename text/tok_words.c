#include "text/tok_words.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { SMALL = 15, MID = 31, LONG_MAX_BYTES = 1024, MAX_BATCH = 256, COUNT_SHIFT = 24, ID_MASK = (1 << COUNT_SHIFT) - 1 };

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

static inline uint64_t mix(uint64_t lo, uint64_t hi)
{
    uint64_t h = (lo ^ hi * 0x9E3779B97F4A7C15u) * 0xD6E8FEB86659FD93u;
    return h ^ h >> 32;
}

static inline void key32(const char *p, int64_t len, uint64_t key[4])
{
    char copy[32] = {0};
    memcpy(copy, p, (size_t)len);
    copy[31] = (char)len;
    memcpy(key, copy, 32);
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

static void put_small(struct tok_words *c, uint64_t lo, uint64_t hi, uint64_t h, const uint32_t *id, int n)
{
    struct tok_word16 *slot = NULL;
    for (int k = 0; k < 4 && !slot; k++) {
        struct tok_word16 *e = &c->small[(((h & c->small_mask) * 2 + (uint64_t)k) & (c->small_mask * 2 + 1))];
        if (e->hi == 0 || (e->lo == lo && e->hi == hi))
            slot = e;
    }
    if (!slot) /* all taken: one of its own line makes room */
        slot = &c->small[(h & c->small_mask) * 2 + (h >> 63)];
    *slot = (struct tok_word16){.lo = lo, .hi = hi};
    memcpy(slot->id, id, (size_t)n * sizeof *id);
    slot->id[0] |= (uint32_t)n << COUNT_SHIFT;
}

void tok_words_init(struct tok_words *c, const struct tok *t)
{
    uint64_t small = 1 << 14;
    while (small < 5 * (uint64_t)t->im.n_ids / 2)
        small *= 2;
    uint64_t mid = small / 8, lng = small / 4;
    *c = (struct tok_words){.small_mask = small / 2 - 1, .mid_mask = mid - 1, .long_mask = lng - 1, .pool_cap = (int64_t)lng * 128};
    c->small = table(small, sizeof *c->small);
    c->mid = table(mid, sizeof *c->mid);
    c->lng = table(lng, sizeof *c->lng);
    c->pool = table((uint64_t)c->pool_cap, 1);
    for (int32_t id = 0; id < t->im.n_ids; id++) {
        struct str s = tok_im_text(&t->im, id);
        uint32_t one = (uint32_t)id;
        uint64_t lo, hi;
        if (!(t->im.flags[id] & TOK_SELF) || s.n == 0 || s.n > SMALL)
            continue;
        key16(s.p, s.n, 0, &lo, &hi);
        put_small(c, lo, hi, mix(lo, hi), &one, 1);
    }
}

void tok_words_release(struct tok_words *c)
{
    free(c->small);
    free(c->mid);
    free(c->lng);
    free(c->pool);
    *c = (struct tok_words){0};
}

int64_t tok_words_memory(const struct tok_words *c)
{
    if (!c->small)
        return 0;
    return (int64_t)((c->small_mask + 1) * 2 * sizeof *c->small + (c->mid_mask + 1) * sizeof *c->mid + (c->long_mask + 1) * sizeof *c->lng) + c->pool_cap;
}

/* ---- looking up --------------------------------------------------------------------------- */

static inline void put_ids(struct tok_ids *out, const uint32_t *id, int64_t n)
{
    out->id = tok_grow(out->id, &out->cap, out->n + n + 8, sizeof *out->id);
    memcpy(out->id + out->n, id, (size_t)n * sizeof *id);
    out->n += n;
}

static void merged(const struct tok *t, struct bpe_scratch *bpe, struct str word, struct tok_ids *out)
{
    bpe_word(t, word, bpe);
    out->id = tok_grow(out->id, &out->cap, out->n + bpe->n + 8, sizeof *out->id);
    for (int64_t i = 0; i < bpe->n; i++)
        out->id[out->n + i] = (int32_t)bpe->sym[i].id;
    out->n += bpe->n;
}

static __attribute__((noinline)) void miss_small(struct tok_words *c, const struct tok *t, struct bpe_scratch *bpe, struct str word, struct tok_ids *out)
{
    int64_t first = out->n;
    uint64_t lo, hi;
    merged(t, bpe, word, out);
    int64_t n = out->n - first;
    if (n < 1 || n > 4)
        return;
    key16(word.p, word.n, 0, &lo, &hi);
    put_small(c, lo, hi, mix(lo, hi), (const uint32_t *)out->id + first, (int)n);
}

static void encode_mid(struct tok_words *c, const struct tok *t, struct bpe_scratch *bpe, struct str word, struct tok_ids *out)
{
    uint64_t key[4];
    key32(word.p, word.n, key);
    uint64_t h = mix32(key);
    struct tok_word32 *a = &c->mid[h & c->mid_mask], *b = &c->mid[(h & c->mid_mask) ^ 1];
    struct tok_word32 *hit = !memcmp(a->key, key, 32) ? a : !memcmp(b->key, key, 32) ? b : NULL;
    if (hit) {
        int64_t n = hit->id[0] >> COUNT_SHIFT;
        memcpy(out->id + out->n, hit->id, sizeof hit->id);
        out->id[out->n] &= ID_MASK;
        out->n += n;
        return;
    }
    int64_t first = out->n;
    merged(t, bpe, word, out);
    int64_t n = out->n - first;
    if (n < 1 || n > 8)
        return;
    hit = a->key[3] == 0 ? a : b->key[3] == 0 ? b : h >> 63 ? a : b;
    memcpy(hit->key, key, 32);
    memcpy(hit->id, out->id + first, (size_t)n * sizeof *out->id);
    hit->id[0] |= (uint32_t)n << COUNT_SHIFT;
}

static void remember_long(struct tok_words *c, uint64_t h, struct str word, const int32_t *id, int64_t n)
{
    int64_t bytes = (word.n + 3) / 4 * 4, need = bytes + n * 4;
    if (need > c->pool_cap / 16)
        return;
    if (c->pool_n + need > c->pool_cap || 2 * c->n_long > (int64_t)c->long_mask) {
        memset(c->lng, 0, (size_t)(c->long_mask + 1) * sizeof *c->lng);
        c->pool_n = c->n_long = 0;
    }
    uint64_t k = h & c->long_mask;
    while (c->lng[k].len)
        k = (k + 1) & c->long_mask;
    c->lng[k] = (struct tok_word_long){.hash = h, .at = (uint32_t)c->pool_n, .len = (uint32_t)word.n, .n = (uint32_t)n};
    memcpy(c->pool + c->pool_n, word.p, (size_t)word.n);
    memcpy(c->pool + c->pool_n + bytes, id, (size_t)n * sizeof *id);
    c->pool_n += need;
    c->n_long++;
}

static void encode_long(struct tok_words *c, const struct tok *t, struct bpe_scratch *bpe, struct str word, struct tok_ids *out)
{
    if (word.n > LONG_MAX_BYTES) {
        merged(t, bpe, word, out);
        return;
    }
    uint64_t h = tok_hash_bytes(word.p, word.n);
    for (uint64_t k = h & c->long_mask; c->lng[k].len; k = (k + 1) & c->long_mask) {
        const struct tok_word_long *e = &c->lng[k];
        if (e->hash == h && e->len == word.n && !memcmp(c->pool + e->at, word.p, (size_t)word.n)) {
            put_ids(out, (const uint32_t *)(const void *)(c->pool + e->at + (e->len + 3) / 4 * 4), e->n);
            return;
        }
    }
    int64_t first = out->n;
    merged(t, bpe, word, out);
    remember_long(c, h, word, out->id + first, out->n - first);
}

void tok_words_encode(struct tok_words *c, const struct tok *t, struct bpe_scratch *bpe, const struct tok_run *run, struct tok_ids *out)
{
    uint64_t lo[MAX_BATCH], hi[MAX_BATCH], line[MAX_BATCH];
    int64_t b = run->b;
    assert(run->k <= MAX_BATCH);
    for (int i = 0; i < run->k; i++) {
        int64_t len = run->end[i] - b;
        if (len <= SMALL) {
            key16(run->p + b, len, b + 16 <= run->n, &lo[i], &hi[i]);
            line[i] = (mix(lo[i], hi[i]) & c->small_mask) * 2;
            __builtin_prefetch(&c->small[line[i]]);
        }
        b = run->end[i];
    }
    out->id = tok_grow(out->id, &out->cap, out->n + 8 * run->k + 16, sizeof *out->id);
    b = run->b;
    for (int i = 0; i < run->k; i++) {
        struct str word = {run->p + b, run->end[i] - b};
        b = run->end[i];
        if (out->cap - out->n < 8 * (run->k - i) + 16)
            out->id = tok_grow(out->id, &out->cap, out->n + 8 * (run->k - i) + 16, sizeof *out->id);
        if (word.n > SMALL) {
            if (word.n <= MID)
                encode_mid(c, t, bpe, word, out);
            else
                encode_long(c, t, bpe, word, out);
            continue;
        }
        const struct tok_word16 *e = &c->small[line[i]];
        if (__builtin_expect(e->lo != lo[i] || e->hi != hi[i], 0)) {
            e++;
            if (e->lo != lo[i] || e->hi != hi[i]) {
                e = &c->small[(line[i] + 2) & (c->small_mask * 2 + 1)];
                if (e->lo != lo[i] || e->hi != hi[i])
                    e++;
                if (e->lo != lo[i] || e->hi != hi[i]) {
                    miss_small(c, t, bpe, word, out);
                    continue;
                }
            }
        }
        uint32_t first = e->id[0];
        memcpy(out->id + out->n, e->id, sizeof e->id);
        out->id[out->n] = (int32_t)(first & ID_MASK);
        out->n += first >> COUNT_SHIFT;
    }
}
