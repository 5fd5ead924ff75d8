/* Private to text/tok*.c, text/bpe.c: what a loaded tokenizer is.
 *
 *   tokenizer.json --tok_build--> image (flat tables) --tok_open--> struct tok
 *
 * The image is one block of sections without pointers, so that it can be kept in a file and mapped. The parts of
 * tokenizer.json that are small (added tokens, normalizer, pre-tokenizer, post-processor, decoder) stay JSON in a
 * section of their own and are read again each time. */
#ifndef HONE_TEXT_TOK_H
#define HONE_TEXT_TOK_H

#include <jansson.h>
#include <stdint.h>

#include "core/file.h"
#include "text/tokenizer.h"
#include "text/uni.h"

enum {
    TOK_MAX_FILE = 512 << 20,
    TOK_MAX_IDS = 1 << 21,
    TOK_NONE = 0x7FFFFFFF /* a rank no merge has */
};
#define TOK_MAX_TEXT (1LL << 30)

/* ---- image -------------------------------------------------------------------------------- */

/* name, element type, what */
#define TOK_SECTIONS(X)                                                                              \
    X(config, char)       /* tokenizer.json without vocab and merges */                              \
    X(name_at, uint32_t)  /* [n_ids + 1] where each token's spelling begins */                       \
    X(name, char)                                                                                    \
    X(text_at, uint32_t)  /* [n_ids + 1] the same for what it stands for (bytes) */                  \
    X(text, char)                                                                                    \
    X(flags, uint8_t)     /* [n_ids] TOK_IN_VOCAB, ... */                                             \
    X(find, uint32_t)     /* [2^k] id + 1 by hash of text, open addressing */                        \
    X(pair, uint64_t)     /* [2^k] (left, right, rank) packed, open addressing; ~0 = free */         \
    X(maybe, uint64_t)    /* [2^k] one bit per hash of a pair: 0 = no such merge, told without a look at the large table */ \
    X(made, uint32_t)     /* [n_merges] id that the merge of this rank makes */                      \
    X(two, uint32_t)      /* [65536] rank of the merge of two byte symbols, or TOK_NONE */           \
    X(byte_id, uint32_t)  /* [256] id of one byte, or ~0 */

enum {
    TOK_IN_VOCAB = 1,
    TOK_OWN_UTF8 = 2, /* byte-level: holds a character outside the byte alphabet */
    TOK_SELF = 4      /* its own bytes are encoded to it alone */
};

enum tok_section {
#define X(name, type) TOK_S_##name,
    TOK_SECTIONS(X)
#undef X
    TOK_N_SECTIONS
};

struct tok_image {
    struct file_map map;   /* when it came from a cache file */
    char *own;             /* when it was built here */
    int64_t bytes;
    int64_t n[TOK_N_SECTIONS]; /* elements */
#define X(name, type) const type *name;
    TOK_SECTIONS(X)
#undef X
    int32_t n_ids, n_merges, n_entries; /* n_entries: ids that exist */
    int id_bits, rank_bits;
    int byte_level;        /* text = bytes of the byte alphabet */
    int byte_fallback, fuse_unk, ignore_merges;
    int32_t unk;           /* -1: none */
};

struct tok_image_head;

/* Builds an image from a tokenizer.json, or from tokens by rank (p NULL: no such rank). */
err_code tok_build_json(struct str json, const char *path, struct tok_image *im, struct err *e);
err_code tok_build_ranks(const struct str *token, int64_t n, struct str config, const char *path, struct tok_image *im, struct err *e);
/* Takes the image over. config: bos_token and so on, may be NULL. */
err_code tok_from_image(struct tok_image *im, const char *path, const json_t *config, struct tok **out, struct err *e);
void tok_image_release(struct tok_image *im);

/* The cache of images: key = hash of the source bytes. tok_cache_put never fails: a cache is a matter of time. */
int tok_cache_get(struct hash128 key, struct tok_image *im);
void tok_cache_put(struct hash128 key, const struct tok_image *im);
/* Sections to one block and back; tok_image_parse checks every index it would follow later. */
void tok_image_pack(struct tok_image *im, const void *const data[TOK_N_SECTIONS]);
err_code tok_image_parse(const char *p, int64_t n, struct tok_image *im, struct err *e);

static inline struct str tok_im_name(const struct tok_image *im, int32_t id)
{
    return (struct str){im->name + im->name_at[id], im->name_at[id + 1] - im->name_at[id]};
}
static inline struct str tok_im_text(const struct tok_image *im, int32_t id)
{
    return (struct str){im->text + im->text_at[id], im->text_at[id + 1] - im->text_at[id]};
}
static inline uint64_t tok_mix(uint64_t x)
{
    x *= 0x9E3779B97F4A7C15u;
    return x ^ x >> 29;
}
uint64_t tok_hash_bytes(const char *p, int64_t n);
/* id of the vocabulary entry with this text, or -1. In byte-level vocabularies text is bytes. */
int32_t tok_vocab_find(const struct tok_image *im, struct str text);
int32_t tok_vocab_find_own(const struct tok_image *im, struct str name); /* entries outside the byte alphabet, by spelling */
/* Rank of the merge of two ids, TOK_NONE when there is none. */
static inline uint32_t tok_pair_rank(const struct tok_image *im, uint32_t left, uint32_t right)
{
    uint64_t mask = (uint64_t)im->n[TOK_S_pair] - 1, key = (uint64_t)left << im->id_bits | right, h = tok_mix(key);
    uint64_t bit = h >> 34 & ((uint64_t)im->n[TOK_S_maybe] * 64 - 1);
    if (!(im->maybe[bit >> 6] >> (bit & 63) & 1))
        return TOK_NONE;
    for (uint64_t i = h >> 20 & mask;; i = (i + 1) & mask) {
        uint64_t v = im->pair[i];
        if (v >> im->rank_bits == key)
            return (uint32_t)(v & ((1ull << im->rank_bits) - 1));
        if (v == ~0ull)
            return TOK_NONE;
    }
}

/* ---- byte alphabet ------------------------------------------------------------------------ */

uint32_t tok_byte_char(unsigned char b);  /* GPT-2's printable character for a byte */
int tok_char_byte(uint32_t c);            /* back, or -1 */
/* Bytes of a spelling; 0 when it holds a character outside the alphabet. out has room for name.n bytes. */
int tok_name_bytes(struct str name, char *out, int64_t *n);

/* ---- regular expressions ------------------------------------------------------------------ */

/* Oniguruma over our own Unicode tables: classes and properties are written out as ranges. */
struct tok_re;
err_code tok_re_new(struct str pattern, struct tok_re **out, struct err *e);
void tok_re_free(struct tok_re *re);
struct tok_re_run; /* per thread */
struct tok_re_run *tok_re_run_new(void);
void tok_re_run_free(struct tok_re_run *r);
/* Next match in s at or behind *from, as the reference iterates (an empty match never directly follows a match).
 * *found 0: no more. ERR_LIMIT: the pattern took too many steps. Start with (struct tok_re_at){0}. */
struct tok_re_at {
    int64_t from, last_end;
    int any, done;
};
err_code tok_re_next(const struct tok_re *re, struct tok_re_run *r, struct str s, struct tok_re_at *at, int64_t *begin, int64_t *end, int *found,
                     struct err *e);

/* ---- text on its way ---------------------------------------------------------------------- */

struct tok_cut {
    int64_t b, e;
};
struct tok_work {
    char *p;
    uint32_t *from, *to;    /* [n] original bytes that each byte stands for; when `align` */
    int64_t n, cap, cap_align;
    struct tok_cut *cut;    /* pieces */
    int64_t n_cuts, cap_cuts;
    int align;
};
void tok_work_release(struct tok_work *w);
void tok_work_begin(struct tok_work *w, int align);                 /* empty */
void tok_work_add(struct tok_work *w, const char *p, int64_t n, uint32_t from, uint32_t to);  /* all bytes from one place */
void tok_work_copy(struct tok_work *w, const struct tok_work *src, int64_t b, int64_t e);     /* bytes with their places */
void tok_work_cut(struct tok_work *w, int64_t b, int64_t e);

/* ---- normalizers -------------------------------------------------------------------------- */

enum tok_norm_kind { TOK_NORM_FORM, TOK_NORM_LOWER, TOK_NORM_STRIP, TOK_NORM_REPLACE, TOK_NORM_REPLACE_RE, TOK_NORM_PREPEND };
struct tok_norm {
    enum tok_norm_kind kind;
    enum uni_form form;
    int left, right;           /* strip */
    struct str what, with;     /* replace, prepend; owned by the tokenizer's arena */
    struct tok_re *re;
};

/* ---- pre-tokenizers ----------------------------------------------------------------------- */

enum tok_behavior { TOK_ISOLATED, TOK_REMOVED, TOK_CONTIGUOUS, TOK_MERGED_PREVIOUS, TOK_MERGED_NEXT };
enum tok_pre_kind { TOK_PRE_SPLIT, TOK_PRE_SPLIT_TEXT, TOK_PRE_CHARS, TOK_PRE_BYTES, TOK_PRE_METASPACE };
enum tok_chars { TOK_CHARS_DIGIT, TOK_CHARS_PUNCT, TOK_CHARS_SPACE, TOK_CHARS_ONE, TOK_CHARS_WORD_RUN };
enum tok_prepend { TOK_PREPEND_ALWAYS, TOK_PREPEND_FIRST, TOK_PREPEND_NEVER };
struct tok_pre {
    enum tok_pre_kind kind;
    enum tok_behavior behavior;
    int invert;
    struct str pattern;        /* as the file has it */
    struct tok_re *re;
    enum tok_chars chars;
    uint32_t ch;               /* TOK_CHARS_ONE */
    int prefix_space, use_regex, map; /* ByteLevel; map: stages follow that look at the mapped characters */
    struct str rep;            /* Metaspace */
    enum tok_prepend prepend;
    int split;
};

/* ---- post-processor, decoder -------------------------------------------------------------- */

enum tok_dec_kind { TOK_DEC_BYTES, TOK_DEC_REPLACE, TOK_DEC_FALLBACK, TOK_DEC_FUSE, TOK_DEC_STRIP, TOK_DEC_METASPACE, TOK_DEC_SUFFIX, TOK_DEC_WORDPIECE };
struct tok_dec {
    enum tok_dec_kind kind;
    struct str what, with;
    uint32_t ch;
    int start, stop, cleanup, drop_first;
};

/* Offset of the first byte that is not UTF-8, or -1: utf8_check, made for long texts. *ascii: no byte is above 0x7F. */
int64_t tok_utf8_check(struct str s, int *ascii);

/* ---- added tokens ------------------------------------------------------------------------- */

struct tok_added {
    struct str text;       /* as listed */
    struct str match;      /* normalized where the token is */
    int32_t id;
    uint8_t single_word, lstrip, rstrip, normalized, special, control;
};
/* A byte trie over the tokens of one pass. Node 0 is the root. */
struct tok_trie {
    uint32_t first[256];   /* root: child */
    uint8_t first_byte[4]; /* the first n_first of its bytes */
    int n_first;
    struct tok_trie_node {
        uint32_t child, next; /* first child, next sibling; 0 = none */
        int32_t token;        /* index in added, or -1 */
        uint8_t byte;
    } *node;
    int32_t n, cap;
    int empty;
};

/* What stands for a space in vocabularies by character. */
#define TOK_MARK "\xE2\x96\x81"

struct tok_seg { /* a token (>= 0: index in added) or a gap */
    int64_t b, e;
    int32_t token;
};


/* Ids that go around a text. */
struct tok_around {
    int32_t before[16], after[16];
    int n_before, n_after;
};

/* A token's bytes for decoding; TOK_FAR: they are long, or the token is special or none. TOK_BYTE: one byte of a run (ByteFallback). */
struct tok_near {
    char p[15];
    uint8_t n;
};
enum { TOK_BYTE = 254, TOK_FAR = 255 };

struct tok {
    struct tok_image im;
    struct arena mem;      /* everything the pipeline below points at */
    int32_t n_ids;         /* vocabulary and added tokens */
    struct tok_added *added;
    int32_t n_added, cap_added, max_added; /* max_added: highest id, -1 */
    uint32_t *added_table; /* index + 1 by text */
    int64_t added_slots;
    int listed_ids;        /* rank files: special tokens have the ids their scheme lists */
    struct tok_trie raw, normed;
    int32_t *added_of;     /* [n_ids] index in added, or -1 */
    struct tok_norm *norm;
    int n_norm;
    struct tok_pre *pre;
    int n_pre;
    int scanner;           /* enum tok_scanner: does all of pre; 0: none does */
    struct tok_dec *dec;
    int n_dec;
    int has_decoder;
    struct str prefix, suffix;     /* continuing_subword_prefix, end_of_word_suffix */
    struct tok_around file, class; /* by TOK_SPECIAL_FILE, TOK_SPECIAL_CLASS */
    int trim_offsets, trim_prefix; /* ByteLevel post-processor */
    uint32_t fallback[256];        /* ids of <0x00>..<0xFF> when byte_fallback, ~0 where missing */
    int apart;                     /* 1: a text of TOK_MARK is words that no merge joins; see open_apart */
    uint8_t joined[256];           /* then: a token has TOK_MARK behind this byte, so there is no seam between the two */
    int32_t bos, eos, pad;
    struct hash128 hash;
    uint32_t *piece_at;    /* [n_ids + 1] what each id decodes to: in piece */
    char *piece;
    struct tok_near *near; /* [n_ids + 1] the same, short ones; the last: no such id */
};

err_code tok_open_tries(struct tok *t, struct err *e); /* when all added tokens are listed */
err_code tok_open_norm(struct tok *t, const json_t *v, struct err *e);
err_code tok_open_pre(struct tok *t, const json_t *v, struct err *e);
err_code tok_pre_compile(struct tok *t, struct err *e);
err_code tok_open_post(struct tok *t, const json_t *v, struct err *e);
err_code tok_open_dec(struct tok *t, const json_t *v, struct err *e);
err_code tok_open_added(struct tok *t, const json_t *list, struct err *e);
err_code tok_open_pieces(struct tok *t, struct err *e);
err_code tok_add_token(struct tok *t, const struct tok_added *a, struct err *e); /* a->id -1: the next free one */
int32_t tok_added_find(const struct tok *t, struct str text); /* index, or -1 */
void tok_added_free(struct tok *t);
struct str tok_keep(struct tok *t, struct str s); /* copy in t->mem */

/* All matches of one pass over s, with the gaps between them, in order. plain(ctx, b, e): 1 when a control token written in
 * these bytes is row data; may be NULL. */
struct tok_segs {
    struct tok_seg *p;
    int64_t n, cap;
};
typedef int tok_plain_fn(void *ctx, int64_t b, int64_t e);
void tok_split_added(const struct tok *t, const struct tok_trie *trie, struct str s, tok_plain_fn *plain, void *ctx, struct tok_segs *out);

err_code tok_normalize(const struct tok *t, struct tok_re_run *re, struct tok_work *w, struct tok_work *tmp, struct err *e);
/* Cuts the whole of w into pieces. gap_begin: original offset of w's first byte. */
err_code tok_pretokenize(const struct tok *t, struct tok_re_run *re, struct tok_work *w, struct tok_work *tmp, int64_t gap_begin, struct err *e);

/* ---- BPE ---------------------------------------------------------------------------------- */

struct tok_sym {
    uint32_t id, len;      /* len: bytes of the piece it covers */
};
enum { BPE_SEAMS = 256, BPE_PARTS = 64, BPE_PART_BYTES = 512, BPE_PART_IDS = 64 };
struct bpe_part {
    int16_t n, n_out;      /* symbols before (0: nothing is here) and after merging */
    int16_t bytes;
    uint8_t key[BPE_PART_BYTES]; /* what was merged: bytes, or symbols */
    struct tok_sym sym[BPE_PART_IDS];
    uint16_t begin[BPE_PART_IDS];
};
struct bpe_scratch { /* all 0 at first; of one tokenizer: it remembers what it saw */
    struct tok_sym *sym;
    int64_t n, cap;
    const uint8_t *raw;    /* the bytes, when each symbol is one of them */
    uint64_t seam[BPE_SEAMS]; /* what is known of two tokens side by side */
    struct bpe_part *part; /* [BPE_PARTS] what became of parts of long words */
    struct tok_sym *start; /* long words: the symbols before merging, where they are no bytes */
    int32_t *first;
    int64_t cap_start, cap_first;
    int32_t *next, *prev;  /* the heap's links */
    int64_t cap_links;
    uint64_t *heap;
    int64_t n_heap, cap_heap;
    char *bytes;
    int64_t cap_bytes;
};
void bpe_release(struct bpe_scratch *s);
/* Symbols of one piece after all merges: s->sym[0 .. s->n). piece: bytes (byte-level) or UTF-8. */
void bpe_word(const struct tok *t, struct str piece, struct bpe_scratch *s);
void bpe_word_merged(const struct tok *t, struct str piece, struct bpe_scratch *s); /* piece is no token that ignore_merges takes whole */
/* Merges sym[0, n) in place, 1 < n <= BPE_SHORT; returns how many are left, 0 where the machine cannot. begin[i]: the first of the
 * symbols that result i is made of. raw: the bytes, when each symbol is one. */
enum { BPE_SHORT = 64 };
int bpe_short(const struct tok_image *im, struct tok_sym *sym, int n, const uint8_t *raw, uint16_t *begin);
int bpe_short_take(int on); /* for tests: 0 does without it; returns whether it is used now */
/* Merges s->sym in place. */
void bpe_merge(const struct tok_image *im, struct bpe_scratch *s);

void *tok_grow(void *p, int64_t *cap, int64_t want, int64_t size); /* realloc to at least want elements; BUG out of memory */

#endif
