/* The flat image of a vocabulary with its merges: sections in one block, and the cache of such blocks on disk. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/log.h"
#include "text/tok.h"

#include <xxhash.h>

/* Raise with any change of the layout, of the sections or of how they are built. */
enum { IMAGE_VERSION = 6, ALIGN = 64 };

struct head {
    char magic[8];
    uint32_t version, sizes[TOK_N_SECTIONS]; /* of one element: another build of the struct is another format */
    uint32_t pad;
    int64_t n[TOK_N_SECTIONS], at[TOK_N_SECTIONS], bytes;
    int32_t n_ids, n_merges, n_entries, id_bits, rank_bits, byte_level, byte_fallback, fuse_unk, ignore_merges, unk;
    uint64_t sum_hi, sum_lo; /* of everything behind the head */
};

static const uint32_t sizes[TOK_N_SECTIONS] = {
#define X(name, type) sizeof(type),
    TOK_SECTIONS(X)
#undef X
};

uint64_t tok_hash_bytes(const char *p, int64_t n)
{
    return XXH3_64bits(p, (size_t)n);
}

static int32_t find(const struct tok_image *im, struct str text, int own)
{
    uint64_t mask = (uint64_t)im->n[TOK_S_find] - 1;
    for (uint64_t i = tok_hash_bytes(text.p, text.n) & mask; im->find[i]; i = (i + 1) & mask) {
        int32_t id = (int32_t)(im->find[i] - 1);
        if (str_eq(tok_im_text(im, id), text) && !(im->flags[id] & TOK_OWN_UTF8) == !own)
            return id;
    }
    return -1;
}

int32_t tok_vocab_find(const struct tok_image *im, struct str text)
{
    return find(im, text, 0);
}

int32_t tok_vocab_find_own(const struct tok_image *im, struct str name)
{
    return find(im, name, 1);
}

static void point_at(struct tok_image *im, const char *block, const struct head *h)
{
#define X(name, type) im->name = (const type *)(const void *)(block + h->at[TOK_S_##name]);
    TOK_SECTIONS(X)
#undef X
}

void tok_image_pack(struct tok_image *im, const void *const data[TOK_N_SECTIONS])
{
    struct head h = {.magic = "honetok", .version = IMAGE_VERSION, .n_ids = im->n_ids, .n_merges = im->n_merges, .n_entries = im->n_entries, .id_bits = im->id_bits,
                     .rank_bits = im->rank_bits, .byte_level = im->byte_level, .byte_fallback = im->byte_fallback,
                     .fuse_unk = im->fuse_unk, .ignore_merges = im->ignore_merges, .unk = im->unk};
    int64_t at = (int64_t)sizeof h;
    memcpy(h.sizes, sizes, sizeof sizes);
    for (int s = 0; s < TOK_N_SECTIONS; s++) {
        at = (at + ALIGN - 1) / ALIGN * ALIGN;
        h.at[s] = at;
        h.n[s] = im->n[s];
        at += im->n[s] * sizes[s];
    }
    h.bytes = (at + ALIGN - 1) / ALIGN * ALIGN;
    char *block = aligned_alloc(ALIGN, (size_t)h.bytes);
    if (!block)
        BUG("out of memory for a tokenizer of %lld bytes", (long long)h.bytes);
    memset(block, 0, (size_t)h.bytes);
    for (int s = 0; s < TOK_N_SECTIONS; s++)
        if (im->n[s])
            memcpy(block + h.at[s], data[s], (size_t)(im->n[s] * sizes[s]));
    struct hash128 sum = hash_bytes(block + sizeof h, h.bytes - (int64_t)sizeof h);
    h.sum_hi = sum.hi;
    h.sum_lo = sum.lo;
    memcpy(block, &h, sizeof h);
    im->own = block;
    im->bytes = h.bytes;
    point_at(im, block, &h);
}

void tok_image_release(struct tok_image *im)
{
    free(im->own);
    file_map_release(&im->map);
    *im = (struct tok_image){0};
}

static int power_of_two(int64_t n)
{
    return n > 0 && (n & (n - 1)) == 0;
}

/* The sum says that the bytes are the ones written; this says that the writer's sizes fit together. */
static int sizes_agree(const struct head *h, int64_t file_bytes)
{
    if (memcmp(h->magic, "honetok", 8) || h->version != IMAGE_VERSION || memcmp(h->sizes, sizes, sizeof sizes) || h->bytes != file_bytes)
        return 0;
    for (int s = 0; s < TOK_N_SECTIONS; s++)
        if (h->n[s] < 0 || h->at[s] < (int64_t)sizeof *h || h->at[s] % ALIGN || h->at[s] > file_bytes || h->n[s] > (file_bytes - h->at[s]) / sizes[s])
            return 0;
    return h->n_ids >= 0 && h->n_ids <= TOK_MAX_IDS && h->n[TOK_S_name_at] == h->n_ids + 1 && h->n[TOK_S_text_at] == h->n_ids + 1 &&
           h->n[TOK_S_flags] == h->n_ids && h->n[TOK_S_made] == h->n_merges && h->n[TOK_S_two] == 65536 && h->n[TOK_S_byte_id] == 256 &&
           power_of_two(h->n[TOK_S_find]) && power_of_two(h->n[TOK_S_pair]) && power_of_two(h->n[TOK_S_maybe]) && h->unk < h->n_ids;
}

err_code tok_image_parse(const char *p, int64_t n, struct tok_image *im, struct err *e)
{
    struct head h;
    if (n < (int64_t)sizeof h)
        return err_set(e, ERR_DATA, "a tokenizer image of %lld bytes has no head", (long long)n);
    memcpy(&h, p, sizeof h);
    if (!sizes_agree(&h, n))
        return err_set(e, ERR_DATA, "a tokenizer image of another version or size");
    struct hash128 sum = hash_bytes(p + sizeof h, n - (int64_t)sizeof h);
    if (sum.hi != h.sum_hi || sum.lo != h.sum_lo)
        return err_set(e, ERR_DATA, "a tokenizer image whose bytes have changed");
    *im = (struct tok_image){.bytes = n, .n_ids = h.n_ids, .n_merges = h.n_merges, .n_entries = h.n_entries, .id_bits = h.id_bits, .rank_bits = h.rank_bits,
                             .byte_level = h.byte_level, .byte_fallback = h.byte_fallback, .fuse_unk = h.fuse_unk,
                             .ignore_merges = h.ignore_merges, .unk = h.unk};
    memcpy(im->n, h.n, sizeof h.n);
    point_at(im, p, &h);
    return ERR_OK;
}

/* ---- on disk ------------------------------------------------------------------------------ */

static int cache_path(struct hash128 key, char *dir, char *path, int64_t n)
{
    const char *own = getenv("HONE_CACHE"), *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char hex[33];
    int w;
    if (own)
        w = *own ? snprintf(dir, (size_t)n, "%s", own) : -1;
    else if (xdg && *xdg)
        w = snprintf(dir, (size_t)n, "%s/hone", xdg);
    else
        w = home && *home ? snprintf(dir, (size_t)n, "%s/.cache/hone", home) : -1;
    if (w < 0 || w >= n - 64)
        return 0;
    hash_hex(key, hex);
    snprintf(path, (size_t)n + 64, "%s/tok-%s.bin", dir, hex);
    return 1;
}

int tok_cache_get(struct hash128 key, struct tok_image *im)
{
    char dir[4096], path[4160];
    struct file_map map;
    struct err e = {0};
    if (!cache_path(key, dir, path, sizeof dir) || !file_exists(path))
        return 0;
    if (file_map_open(path, &map, &e) != ERR_OK)
        return 0;
    if (tok_image_parse(map.p, map.n, im, &e) != ERR_OK) {
        log_debug("text", 1, "cache '%s' is not used: %s", path, e.msg);
        file_map_release(&map);
        return 0;
    }
    im->map = map;
    return 1;
}

void tok_cache_put(struct hash128 key, const struct tok_image *im)
{
    char dir[4096], path[4160];
    struct err e = {0};
    if (!cache_path(key, dir, path, sizeof dir))
        return;
    err_code rc = file_mkdirs(dir, &e);
    if (rc == ERR_OK)
        rc = file_write_atomic(path, (struct str){im->own, im->bytes}, &e);
    if (rc != ERR_OK)
        log_debug("text", 1, "no tokenizer cache: %s", e.msg);
}
