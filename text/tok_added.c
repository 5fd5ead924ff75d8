/* Added tokens: found before anything else happens to the text, leftmost and longest first. */
#include <stdlib.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "text/tok.h"

/* ---- trie --------------------------------------------------------------------------------- */

static uint32_t child_of(const struct tok_trie *tr, uint32_t node, uint8_t byte)
{
    uint32_t c = tr->node[node].child;
    while (c && tr->node[c].byte != byte)
        c = tr->node[c].next;
    return c;
}

static uint32_t new_node(struct tok_trie *tr, uint8_t byte)
{
    int64_t cap = tr->cap;
    tr->node = tok_grow(tr->node, &cap, tr->n + 1, sizeof *tr->node);
    tr->cap = (int32_t)cap;
    tr->node[tr->n] = (struct tok_trie_node){.token = -1, .byte = byte};
    return (uint32_t)tr->n++;
}

static void trie_add(struct tok_trie *tr, struct str s, int32_t token)
{
    if (tr->n == 0)
        new_node(tr, 0);
    uint32_t at = 0;
    for (int64_t i = 0; i < s.n; i++) {
        uint8_t b = (uint8_t)s.p[i];
        uint32_t c = i == 0 ? tr->first[b] : child_of(tr, at, b);
        if (!c) {
            c = new_node(tr, b);
            if (i == 0) {
                tr->first[b] = c;
                for (int k = tr->n_first; k < 4; k++) /* the unused ones repeat the last */
                    tr->first_byte[k] = b;
                tr->n_first++;
            } else {
                tr->node[c].next = tr->node[at].child;
                tr->node[at].child = c;
            }
        }
        at = c;
    }
    if (tr->node[at].token < 0)
        tr->node[at].token = token;
}

/* ---- listing ------------------------------------------------------------------------------ */

/* <|...|> and <｜...｜>. */
static int looks_like_control(struct str s)
{
    struct str wide = STR("\xEF\xBD\x9C");
    if (s.n > 4 && str_starts(s, STR("<|")) && str_ends(s, STR("|>")))
        return 1;
    return s.n > 8 && s.p[0] == '<' && s.p[s.n - 1] == '>' && str_starts(str_sub(s, 1, s.n), wide) && str_ends(str_sub(s, 0, s.n - 1), wide);
}

static struct str normalized(struct tok *t, struct str s, struct err *e, err_code *rc)
{
    struct tok_work w = {0}, tmp = {0};
    struct tok_re_run *re = tok_re_run_new();
    tok_work_begin(&w, 0);
    tok_work_add(&w, s.p, s.n, 0, 0);
    *rc = tok_normalize(t, re, &w, &tmp, e);
    struct str out = *rc == ERR_OK ? tok_keep(t, (struct str){w.p, w.n}) : s;
    tok_work_release(&w);
    tok_work_release(&tmp);
    tok_re_run_free(re);
    return out;
}

/* Slot of the token with this text in the table, or the free one where it belongs. */
static int64_t slot_of(const struct tok *t, struct str text)
{
    int64_t k = (int64_t)tok_hash_bytes(text.p, text.n) & (t->added_slots - 1);
    while (t->added_table[k] && !str_eq(t->added[t->added_table[k] - 1].text, text))
        k = (k + 1) & (t->added_slots - 1);
    return k;
}

static void grow_table(struct tok *t)
{
    free(t->added_table);
    t->added_slots = t->added_slots ? t->added_slots * 2 : 256;
    t->added_table = calloc((size_t)t->added_slots, sizeof *t->added_table);
    if (!t->added_table)
        BUG("out of memory for added tokens");
    for (int32_t i = 0; i < t->n_added; i++)
        t->added_table[slot_of(t, t->added[i].text)] = (uint32_t)i + 1;
}

int32_t tok_added_find(const struct tok *t, struct str text)
{
    return t->added_slots ? (int32_t)t->added_table[slot_of(t, text)] - 1 : -1;
}

/* A token's id: the vocabulary's when its text is there, else the next free one. The id that a file lists beside it does not
 * count in the reference library, and files are written so that it agrees. */
static int32_t id_for(const struct tok *t, struct str text)
{
    int32_t id = -1;
    int64_t n;
    char *bytes = malloc((size_t)text.n);
    if (!bytes)
        BUG("out of memory for an added token");
    if (!t->im.byte_level)
        id = tok_vocab_find(&t->im, text);
    else if (tok_name_bytes(text, bytes, &n))
        id = tok_vocab_find(&t->im, (struct str){bytes, n});
    else
        id = tok_vocab_find_own(&t->im, text);
    free(bytes);
    if (id >= 0)
        return id;
    return t->max_added >= t->im.n_entries ? t->max_added + 1 : t->im.n_entries;
}

err_code tok_add_token(struct tok *t, const struct tok_added *a, struct err *e)
{
    if (a->text.n == 0)
        return ERR_OK; /* the reference ignores it */
    if (utf8_check(a->text) >= 0)
        return err_set(e, ERR_DATA, "an added token is not UTF-8");
    int32_t i = tok_added_find(t, a->text);
    if (i < 0) {
        int32_t id = a->id >= 0 ? a->id : id_for(t, a->text);
        if (id >= TOK_MAX_IDS)
            return err_set(e, ERR_LIMIT, "more than %d tokens", TOK_MAX_IDS);
        int64_t cap = t->cap_added;
        t->added = tok_grow(t->added, &cap, t->n_added + 1, sizeof *t->added);
        t->cap_added = (int32_t)cap;
        if (2 * t->n_added >= t->added_slots)
            grow_table(t);
        struct str text = tok_keep(t, a->text);
        t->added_table[slot_of(t, text)] = (uint32_t)t->n_added + 1;
        i = t->n_added++;
        t->added[i].text = text;
        t->added[i].id = id;
        t->max_added = id > t->max_added ? id : t->max_added;
    }
    struct tok_added *slot = &t->added[i];
    struct str text = slot->text;
    int32_t id = slot->id;
    *slot = *a;
    slot->id = id;
    slot->text = text;
    slot->control = a->special || looks_like_control(text);
    return ERR_OK;
}

/* Tries and id table, when the list is complete. */
err_code tok_open_tries(struct tok *t, struct err *e)
{
    t->n_ids = t->im.n_ids;
    for (int32_t i = 0; i < t->n_added; i++)
        t->n_ids = t->added[i].id >= t->n_ids ? t->added[i].id + 1 : t->n_ids;
    t->added_of = ARENA_TRY(&t->mem, int32_t, t->n_ids + 1);
    if (!t->added_of)
        return err_set(e, ERR_LIMIT, "too many added tokens");
    memset(t->added_of, 0xFF, (size_t)t->n_ids * sizeof *t->added_of);
    for (int32_t i = 0; i < t->n_added; i++) {
        struct tok_added *a = &t->added[i];
        err_code rc = ERR_OK;
        a->match = a->normalized ? normalized(t, a->text, e, &rc) : a->text;
        if (rc != ERR_OK)
            return rc;
        t->added_of[a->id] = i;
    }
    for (int special = 1; special >= 0; special--) /* of equal texts the first counts, special ones first */
        for (int32_t i = 0; i < t->n_added; i++)
            if (t->added[i].match.n && t->added[i].special == special)
                trie_add(t->added[i].normalized ? &t->normed : &t->raw, t->added[i].match, i);
    return ERR_OK;
}

void tok_added_free(struct tok *t)
{
    free(t->added);
    free(t->added_table);
    free(t->raw.node);
    free(t->normed.node);
}

/* ---- finding ------------------------------------------------------------------------------ */

static void put(struct tok_segs *out, int64_t b, int64_t e, int32_t token)
{
    out->p = tok_grow(out->p, &out->cap, out->n + 1, sizeof *out->p);
    out->p[out->n++] = (struct tok_seg){b, e, token};
}

static int word_before(struct str s, int64_t at)
{
    uint32_t c;
    int64_t b = at;
    if (at == 0)
        return 0;
    while (b > 0 && ((unsigned char)s.p[--b] & 0xC0) == 0x80)
        ;
    return utf8_decode(s, b, &c) && uni_is_word(c);
}

static int word_at(struct str s, int64_t at)
{
    uint32_t c;
    return utf8_decode(s, at, &c) && uni_is_word(c);
}

static int64_t spaces_before(struct str s, int64_t at)
{
    while (at > 0) {
        uint32_t c;
        int64_t b = at;
        while (b > 0 && ((unsigned char)s.p[--b] & 0xC0) == 0x80)
            ;
        if (!utf8_decode(s, b, &c) || !uni_is_space(c))
            break;
        at = b;
    }
    return at;
}

static int64_t spaces_at(struct str s, int64_t at)
{
    uint32_t c;
    for (int n; (n = utf8_decode(s, at, &c)) && uni_is_space(c);)
        at += n;
    return at;
}

/* Next place from `at` where a token may begin. Most tokenizers have one to three first bytes ('<', '['): those are looked for 16
 * at a time. */
static int64_t first_byte(const struct tok_trie *tr, struct str s, int64_t at)
{
#ifdef __SSE2__
    if (tr->n_first <= 4) {
        __m128i want[4];
        for (int k = 0; k < 4; k++)
            want[k] = _mm_set1_epi8((char)tr->first_byte[k]);
        for (; at + 16 <= s.n; at += 16) {
            __m128i x = _mm_loadu_si128((const __m128i *)(const void *)(s.p + at));
            __m128i hit = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(x, want[0]), _mm_cmpeq_epi8(x, want[1])),
                                       _mm_or_si128(_mm_cmpeq_epi8(x, want[2]), _mm_cmpeq_epi8(x, want[3])));
            int bits = _mm_movemask_epi8(hit);
            if (bits)
                return at + __builtin_ctz((unsigned)bits);
        }
    }
#endif
    while (at < s.n && !tr->first[(unsigned char)s.p[at]])
        at++;
    return at;
}

/* The longest token that begins at `at`, or -1. */
static int32_t longest(const struct tok *t, const struct tok_trie *tr, struct str s, int64_t at, tok_plain_fn *plain, void *ctx)
{
    int32_t best = -1;
    uint32_t node = tr->first[(unsigned char)s.p[at]];
    for (int64_t i = at + 1; node; i++) {
        int32_t k = tr->node[node].token;
        if (k >= 0 && !(plain && t->added[k].control && plain(ctx, at, i)))
            best = k;
        node = i < s.n ? child_of(tr, node, (uint8_t)s.p[i]) : 0;
    }
    return best;
}

void tok_split_added(const struct tok *t, const struct tok_trie *trie, struct str s, tok_plain_fn *plain, void *ctx, struct tok_segs *out)
{
    int64_t done = 0; /* everything before is put down */
    out->n = 0;
    for (int64_t i = 0; trie->n && (i = first_byte(trie, s, i)) < s.n;) {
        int32_t k = longest(t, trie, s, i, plain, ctx);
        if (k < 0) {
            i++;
            continue;
        }
        const struct tok_added *a = &t->added[k];
        int64_t b = i, e = i + a->match.n;
        i = e;
        if (a->single_word && (word_before(s, b) || word_at(s, e)))
            continue;
        if (a->lstrip) {
            b = spaces_before(s, b);
            b = b > done ? b : done;
        }
        if (a->rstrip)
            e = spaces_at(s, e);
        if (done < b)
            put(out, done, b, -1);
        put(out, b, e, k);
        done = e;
    }
    if (done < s.n)
        put(out, done, s.n, -1);
}
