/* Byte-pair merging. Always the lowest rank first, and of equal ranks the leftmost: what a heap of (rank, position) does when
 * entries that no longer hold are skipped. An entry never comes to hold again: the symbols at a position only grow, so the
 * same pair text does not return. Hence words that are not long are searched for the minimum and give the same ids. */
#include "text/tok.h"

#include <stdlib.h>

enum { MEDIUM_WORD = 512, CHUNK = 56, BLOCK = 16 };

void *tok_grow(void *p, int64_t *cap, int64_t want, int64_t size)
{
    if (want <= *cap)
        return p;
    int64_t n = *cap ? *cap * 2 : 64;
    n = n < want ? want : n;
    p = realloc(p, (size_t)(n * size));
    if (!p)
        BUG("out of memory for %lld bytes of a text's tokens", (long long)(n * size));
    *cap = n;
    return p;
}

void bpe_release(struct bpe_scratch *s)
{
    free(s->sym);
    free(s->start);
    free(s->first);
    free(s->next);
    free(s->prev);
    free(s->heap);
    free(s->bytes);
    free(s->part);
    *s = (struct bpe_scratch){0};
}

static void add(struct bpe_scratch *s, uint32_t id, uint32_t len)
{
    s->sym = tok_grow(s->sym, &s->cap, s->n + 1, sizeof *s->sym);
    s->sym[s->n++] = (struct tok_sym){id, len};
}

/* ---- first symbols ------------------------------------------------------------------------ */

static int add_fallback(const struct tok *t, struct str ch, struct bpe_scratch *s)
{
    if (!t->im.byte_fallback)
        return 0;
    for (int64_t i = 0; i < ch.n; i++)
        if (t->fallback[(unsigned char)ch.p[i]] == ~0u)
            return 0;
    for (int64_t i = 0; i < ch.n; i++)
        add(s, t->fallback[(unsigned char)ch.p[i]], 1);
    return 1;
}

/* The character with prefix and suffix as the vocabulary spells it. */
static struct str dressed(const struct tok *t, struct str ch, int first, int last, struct bpe_scratch *s)
{
    int64_t pre = first ? 0 : t->prefix.n, suf = last ? t->suffix.n : 0;
    if (pre + suf == 0)
        return ch;
    s->bytes = tok_grow(s->bytes, &s->cap_bytes, pre + ch.n + suf, 1);
    memcpy(s->bytes, t->prefix.p, (size_t)pre);
    memcpy(s->bytes + pre, ch.p, (size_t)ch.n);
    memcpy(s->bytes + pre + ch.n, t->suffix.p, (size_t)suf);
    return (struct str){s->bytes, pre + ch.n + suf};
}

/* One symbol per character. An unknown run waits in `unk_len` and is put down before the next known character, as the
 * reference does; a character spelled by byte tokens does not end the wait. */
static void start_chars(const struct tok *t, struct str piece, struct bpe_scratch *s)
{
    int64_t unk_len = -1;
    for (int64_t i = 0; i < piece.n;) {
        uint32_t cp;
        int n = t->im.byte_level ? 1 : utf8_decode(piece, i, &cp);
        assert(n > 0);
        struct str ch = dressed(t, (struct str){piece.p + i, n}, i == 0, i + n == piece.n, s);
        int32_t id = tok_vocab_find(&t->im, ch);
        i += n;
        if (id >= 0) {
            if (unk_len >= 0)
                add(s, (uint32_t)t->im.unk, (uint32_t)unk_len);
            unk_len = -1;
            add(s, (uint32_t)id, (uint32_t)n);
        } else if (!add_fallback(t, (struct str){piece.p + i - n, n}, s) && t->im.unk >= 0) {
            if (unk_len >= 0 && !t->im.fuse_unk)
                add(s, (uint32_t)t->im.unk, (uint32_t)unk_len);
            unk_len = unk_len >= 0 && t->im.fuse_unk ? unk_len + n : n;
        }
    }
    if (unk_len >= 0)
        add(s, (uint32_t)t->im.unk, (uint32_t)unk_len);
}

static void byte_symbols(const struct tok_image *im, const uint8_t *raw, int64_t n, struct tok_sym *sym)
{
    for (int64_t i = 0; i < n; i++)
        sym[i] = (struct tok_sym){im->byte_id[raw[i]], 1};
}

static int start_bytes(const struct tok *t, struct str piece, struct bpe_scratch *s)
{
    if (!t->im.byte_level || t->prefix.n || t->suffix.n)
        return 0;
    for (int64_t i = 0; i < piece.n; i++)
        if (t->im.byte_id[(unsigned char)piece.p[i]] == ~0u)
            return 0;
    s->n = piece.n;
    s->raw = (const uint8_t *)piece.p;
    if (piece.n <= BPE_SHORT) { /* a long word's symbols are made part by part: a megabyte of them would be memory to clear */
        s->sym = tok_grow(s->sym, &s->cap, BPE_SHORT, sizeof *s->sym);
        byte_symbols(&t->im, s->raw, piece.n, s->sym);
    }
    return 1;
}

/* ---- merging ------------------------------------------------------------------------------ */

/* Up to MEDIUM_WORD symbols: a rank for every neighbouring pair, the lowest of each block of 16 beside it. Symbols stay where
 * they are; what is merged away leaves TOK_NONE behind and a link over it. */
struct medium {
    uint32_t rank[MEDIUM_WORD] __attribute__((aligned(64)));
    uint32_t low[MEDIUM_WORD / BLOCK];
    uint16_t next[MEDIUM_WORD], prev[MEDIUM_WORD];
};

static inline void block_low(struct medium *m, int block)
{
    const uint32_t *r = m->rank + block * BLOCK;
    uint32_t a[4] = {r[0], r[1], r[2], r[3]};
    for (int i = 4; i < BLOCK; i += 4)
        for (int k = 0; k < 4; k++)
            a[k] = r[i + k] < a[k] ? r[i + k] : a[k];
    a[0] = a[1] < a[0] ? a[1] : a[0];
    a[2] = a[3] < a[2] ? a[3] : a[2];
    m->low[block] = a[2] < a[0] ? a[2] : a[0];
}

/* As bpe_short, n <= MEDIUM_WORD. */
static int merge_medium(const struct tok_image *im, struct tok_sym *sym, int n, const uint8_t *raw, uint16_t *begin)
{
    struct medium m;
    int blocks = (n + BLOCK - 1) / BLOCK;
    for (int i = 0; i < n; i++) {
        m.next[i] = (uint16_t)(i + 1);
        m.prev[i] = (uint16_t)(i - 1);
        m.rank[i] = i + 1 >= n ? TOK_NONE : raw ? im->two[raw[i] << 8 | raw[i + 1]] : tok_pair_rank(im, sym[i].id, sym[i + 1].id);
    }
    for (int i = n; i < blocks * BLOCK; i++)
        m.rank[i] = TOK_NONE;
    for (int b = 0; b < blocks; b++)
        block_low(&m, b);
    for (;;) {
        int block = 0;
        for (int b = 1; b < blocks; b++)
            block = m.low[b] < m.low[block] ? b : block;
        uint32_t r = m.low[block];
        if (r == TOK_NONE)
            break;
        int at = block * BLOCK;
        while (m.rank[at] != r)
            at++;
        int right = m.next[at], behind = m.next[right];
        sym[at].id = im->made[r];
        sym[at].len += sym[right].len;
        sym[right].len = 0;
        m.next[at] = (uint16_t)behind;
        m.rank[right] = TOK_NONE;
        m.rank[at] = TOK_NONE;
        if (behind < n) {
            m.prev[behind] = (uint16_t)at;
            m.rank[at] = tok_pair_rank(im, sym[at].id, sym[behind].id);
        }
        block_low(&m, block);
        if (right / BLOCK != block)
            block_low(&m, right / BLOCK);
        if (at > 0) {
            int before = m.prev[at];
            m.rank[before] = tok_pair_rank(im, sym[before].id, sym[at].id);
            block_low(&m, before / BLOCK);
        }
    }
    int k = 0;
    for (int i = 0; i < n; i = m.next[i]) {
        begin[k] = (uint16_t)i;
        sym[k++] = sym[i];
    }
    return k;
}

static int merge_some(const struct tok_image *im, struct tok_sym *sym, int n, const uint8_t *raw, uint16_t *begin)
{
    int left = n > 1 && n <= BPE_SHORT ? bpe_short(im, sym, n, raw, begin) : 0;
    return left ? left : merge_medium(im, sym, n, raw, begin);
}

/* ---- long words --------------------------------------------------------------------------- */

/* The symbols [b, e) of a long word before merging. */
static void symbols(const struct tok_image *im, const struct bpe_scratch *s, int64_t b, int64_t e, struct tok_sym *sym)
{
    if (s->raw)
        byte_symbols(im, s->raw + b, e - b, sym);
    else
        memcpy(sym, s->start + b, (size_t)(e - b) * sizeof *sym);
}

/* A long word is merged in chunks. Two encodings may stand side by side when the last token of the one and the first of the other,
 * merged alone, stay those two tokens: were there a merge across the seam in the whole, the first one would see on both sides
 * just what it sees in these two alone, because until then nothing crossed their outer ends and merges inside them come in the
 * same order. And what stands left of a seam is the encoding of the text left of it. So when a seam fails, some tokens are taken
 * back and merged again together with the chunk. */
static int seam_holds(const struct tok_image *im, struct bpe_scratch *s, int64_t b, int64_t seam, int64_t e, uint64_t pair)
{
    struct tok_sym sym[MEDIUM_WORD];
    uint16_t begin[MEDIUM_WORD];
    if (e - b > MEDIUM_WORD)
        return -1;
    uint64_t *known = &s->seam[tok_mix(pair) >> 40 & (BPE_SEAMS - 1)];
    if (s->raw && *known >> 1 == pair + 1) /* of bytes, two ids say all about the text on both sides */
        return (int)(*known & 1);
    symbols(im, s, b, e, sym);
    int holds = merge_some(im, sym, (int)(e - b), s->raw ? s->raw + b : NULL, begin) == 2 && begin[1] == seam - b;
    if (s->raw)
        *known = (pair + 1) << 1 | (uint64_t)holds;
    return holds;
}

/* Merges the symbols [from, end) into sym. In a run of one unit the same bytes come again and again: the last few parts
 * are remembered with what became of them. */
static int merge_part(const struct tok_image *im, struct bpe_scratch *s, int64_t from, int64_t end, struct tok_sym *sym, uint16_t *begin)
{
    int n = (int)(end - from), m;
    const uint8_t *raw = s->raw ? s->raw + from : NULL;
    const void *key = raw ? (const void *)raw : s->start + from;
    int64_t bytes = raw ? n : n * (int64_t)sizeof *sym;
    struct bpe_part *known = NULL;
    if (n >= 2 * BLOCK && bytes <= BPE_PART_BYTES) {
        known = &s->part[tok_hash_bytes(key, bytes) % BPE_PARTS];
        if (known->n == n && known->bytes == bytes && !memcmp(known->key, key, (size_t)bytes)) {
            memcpy(sym, known->sym, (size_t)known->n_out * sizeof *sym);
            memcpy(begin, known->begin, (size_t)known->n_out * sizeof *begin);
            return known->n_out;
        }
    }
    symbols(im, s, from, end, sym);
    m = merge_some(im, sym, n, raw, begin);
    if (known && m <= BPE_PART_IDS) {
        known->n = (int16_t)n;
        known->n_out = (int16_t)m;
        known->bytes = (int16_t)bytes;
        memcpy(known->key, key, (size_t)bytes);
        memcpy(known->sym, sym, (size_t)m * sizeof *sym);
        memcpy(known->begin, begin, (size_t)m * sizeof *begin);
    }
    return m;
}

static int merge_chunks(const struct tok_image *im, struct bpe_scratch *s)
{
    struct tok_sym sym[MEDIUM_WORD];
    uint16_t begin[MEDIUM_WORD];
    int64_t n = s->n, k = 0; /* s->sym[0, k) is done; s->first[i]: where its symbols begin */
    if (!s->raw) {
        s->start = tok_grow(s->start, &s->cap_start, n, sizeof *s->start);
        memcpy(s->start, s->sym, (size_t)n * sizeof *s->sym);
    }
    if (!s->part && !(s->part = calloc(BPE_PARTS, sizeof *s->part)))
        BUG("out of memory for %d parts of long words", BPE_PARTS);
    for (int64_t pos = 0; pos < n;) {
        int64_t from = k > 1 ? s->first[--k] : pos; /* the last token was cut by the part's end: mostly it would not hold */
        int64_t back = 1, end = from + CHUNK > pos + CHUNK / 2 ? from + CHUNK : pos + CHUNK / 2; /* one part for bpe_short, unless a long token was taken back */
        end = end < n ? end : n;
        for (;;) {
            if (end - from > MEDIUM_WORD)
                return 0;
            int m = merge_part(im, s, from, end, sym, begin);
            int holds = k == 0 ? 1 : seam_holds(im, s, s->first[k - 1], from, m > 1 ? from + begin[1] : end,
                                                (uint64_t)s->sym[k - 1].id << im->id_bits | sym[0].id);
            if (holds < 0)
                return 0;
            if (holds) {
                s->sym = tok_grow(s->sym, &s->cap, k + m, sizeof *s->sym);
                s->first = tok_grow(s->first, &s->cap_first, k + m, sizeof *s->first);
                for (int i = 0; i < m; i++, k++) {
                    s->first[k] = (int32_t)(from + begin[i]);
                    s->sym[k] = sym[i];
                }
                break;
            }
            k = k > back ? k - back : 0;
            from = s->first[k];
            back *= 2;
        }
        pos = end;
    }
    s->n = k;
    return 1;
}

static void heap_push(struct bpe_scratch *s, uint64_t v)
{
    s->heap = tok_grow(s->heap, &s->cap_heap, s->n_heap + 1, sizeof *s->heap);
    int64_t i = s->n_heap++;
    for (; i > 0 && s->heap[(i - 1) / 4] > v; i = (i - 1) / 4)
        s->heap[i] = s->heap[(i - 1) / 4];
    s->heap[i] = v;
}

static uint64_t heap_pop(struct bpe_scratch *s)
{
    uint64_t top = s->heap[0], v = s->heap[--s->n_heap];
    int64_t i = 0, n = s->n_heap;
    for (;;) {
        int64_t c = 4 * i + 1, best = c;
        if (c >= n)
            break;
        for (int64_t k = c + 1; k < c + 4 && k < n; k++)
            best = s->heap[k] < s->heap[best] ? k : best;
        if (s->heap[best] >= v)
            break;
        s->heap[i] = s->heap[best];
        i = best;
    }
    s->heap[i] = v;
    return top;
}

static void offer(const struct tok_image *im, struct bpe_scratch *s, int64_t at, int64_t right)
{
    uint32_t r = tok_pair_rank(im, s->sym[at].id, s->sym[right].id);
    if (r != TOK_NONE)
        heap_push(s, (uint64_t)r << 32 | (uint64_t)at);
}

static void merge_heap(const struct tok_image *im, struct bpe_scratch *s)
{
    int64_t n = s->n, cap = s->cap_links;
    struct tok_sym *sym = s->sym;
    s->next = tok_grow(s->next, &cap, n, sizeof *s->next);
    s->prev = tok_grow(s->prev, &s->cap_links, n, sizeof *s->prev);
    s->n_heap = 0;
    for (int64_t i = 0; i < n; i++) {
        s->next[i] = i + 1 < n ? (int32_t)(i + 1) : -1;
        s->prev[i] = (int32_t)(i - 1);
        if (i + 1 < n)
            offer(im, s, i, i + 1);
    }
    while (s->n_heap) {
        uint64_t top = heap_pop(s);
        int64_t at = (int64_t)(top & 0xFFFFFFFF), right = s->next[at];
        uint32_t rank = (uint32_t)(top >> 32);
        if (sym[at].len == 0 || right < 0 || tok_pair_rank(im, sym[at].id, sym[right].id) != rank)
            continue;
        sym[at].id = im->made[rank];
        sym[at].len += sym[right].len;
        sym[right].len = 0;
        int32_t behind = s->next[at] = s->next[right];
        if (behind >= 0)
            s->prev[behind] = (int32_t)at;
        if (s->prev[at] >= 0)
            offer(im, s, s->prev[at], at);
        if (behind >= 0)
            offer(im, s, at, behind);
    }
    int64_t m = 0;
    for (int64_t i = 0; i >= 0; i = s->next[i])
        sym[m++] = sym[i];
    s->n = m;
}

void bpe_merge(const struct tok_image *im, struct bpe_scratch *s)
{
    uint16_t begin[BPE_SHORT];
    if (s->n < 2)
        return;
    if (s->n <= BPE_SHORT) {
        s->n = merge_some(im, s->sym, (int)s->n, s->raw, begin);
    } else if (!merge_chunks(im, s)) {
        s->sym = tok_grow(s->sym, &s->cap, s->n, sizeof *s->sym); /* a token of hundreds of symbols stood at a seam */
        symbols(im, s, 0, s->n, s->sym);
        merge_heap(im, s);
    }
}

void bpe_word_merged(const struct tok *t, struct str piece, struct bpe_scratch *s)
{
    s->n = 0;
    s->raw = NULL;
    if (!start_bytes(t, piece, s))
        start_chars(t, piece, s);
    bpe_merge(&t->im, s);
}

void bpe_word(const struct tok *t, struct str piece, struct bpe_scratch *s)
{
    int32_t id = t->im.ignore_merges ? tok_vocab_find(&t->im, piece) : -1;
    if (id < 0) {
        bpe_word_merged(t, piece, s);
        return;
    }
    s->n = 0;
    add(s, (uint32_t)id, (uint32_t)piece.n);
}
