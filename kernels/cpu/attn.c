/* Causal attention, forward. A job is a tile: some tokens of one sequence times the query heads of one kv head. It walks the keys in
 * blocks of KERN_PAGE: scores, softmax of the block, weighted values, merge. A row's arithmetic does not depend on its tile. */
#include "kernels/cpu/attn.h"

#include <math.h>
#include <string.h>

#include "core/par.h"

enum { ROWS = 22 * TILE, USUAL = 16 * TILE }; /* most rows of a tile, so that 128 heads share their keys; most when the heads are fewer */

struct tile {
    int32_t seq, kv_head, first_head, heads; /* heads: query heads of the group in this tile */
    int64_t first, tokens;                   /* queries of the sequence */
};

struct attn_job {
    const struct kern_cpu *cpu;
    const struct kern_attn *a;
    const struct tile *tile;
    char *work;
    int64_t work_bytes;
};

/* One thread's memory. */
struct room {
    float *q, *kt, *v, *s, *ob, *o, *m, *l, *mb, *lb, *wide;
    int32_t *valid;
};

static int64_t room_of(struct room *r, char *base, int64_t dk, int64_t dv)
{
    const int64_t dvp = kern_up(dv, LANES);
    int64_t at = 0;
#define TAKE(field, n) (r->field = (void *)(base + at), at += kern_up((n) * 4, 64))
    TAKE(q, ROWS * dk);
    TAKE(kt, KERN_PAGE * dk);
    TAKE(v, KERN_PAGE * dvp);
    TAKE(s, ROWS * KERN_PAGE);
    TAKE(ob, ROWS * dvp);
    TAKE(o, ROWS * dvp);
    TAKE(m, ROWS);
    TAKE(l, ROWS);
    TAKE(mb, ROWS);
    TAKE(lb, ROWS);
    TAKE(valid, ROWS);
    TAKE(wide, KERN_PAGE * dk);
#undef TAKE
    return at;
}

struct kern_block kern_cpu_kv_block(const struct kern_kv *kv, int64_t seq, int64_t head, int64_t block, int64_t dk, int64_t dv)
{
    if (kv->pages) {
        int64_t page = kv->pages[seq * kv->max_pages + block];
        return (struct kern_block){
            .k = kv->k + page * kv->page_stride_k + head * KERN_PAGE * dk, .ldk = dk,
            .v = kv->v + page * kv->page_stride_v + head * KERN_PAGE * (kv->ldv ? kv->ldv : dv), .ldv = kv->ldv ? kv->ldv : dv,
        };
    }
    int64_t row = kv->cu_k[seq] + block * KERN_PAGE;
    return (struct kern_block){
        .k = kv->k + row * kv->ldk + head * kv->head_stride_k, .ldk = kv->ldk,
        .v = kv->v + row * kv->ldv + head * kv->head_stride_v, .ldv = kv->ldv,
    };
}

static const uint16_t *narrow_block(const struct kern_kv *kv, const struct tile *t, int64_t block, int64_t dk)
{
    return (const uint16_t *)(const void *)kv->k + kv->pages[t->seq * kv->max_pages + block] * kv->page_stride_k + t->kv_head * KERN_PAGE * dk;
}

/* A block of keys, of which the values are the first columns, from bf16 pages. */
static struct kern_block widen(const struct kern_attn *a, const struct tile *t, int64_t block, int64_t keys, float *room)
{
    const uint16_t *from = narrow_block(&a->kv, t, block, a->dk);
    uint32_t *to = (uint32_t *)(void *)room;
    typedef uint16_t half8 __attribute__((vector_size(16)));
    typedef uint32_t word8 __attribute__((vector_size(32)));
    int64_t i = 0, n = keys * a->dk;
    for (; i + 8 <= n; i += 8) {
        half8 h;
        memcpy(&h, from + i, sizeof h);
        word8 w = __builtin_convertvector(h, word8) << 16;
        memcpy(to + i, &w, sizeof w);
    }
    for (; i < n; i++)
        to[i] = (uint32_t)from[i] << 16;
    return (struct kern_block){.k = room, .v = room, .ldk = a->dk, .ldv = a->dk};
}

const float *kern_cpu_padded(const float *src, int64_t ld, int64_t rows, int64_t cols, float *room, int64_t *ld_out)
{
    const int64_t wide = kern_up(cols, LANES);
    if (cols == wide) {
        *ld_out = ld;
        return src;
    }
    for (int64_t r = 0; r < rows; r++) {
        memcpy(room + r * wide, src + r * ld, (size_t)cols * sizeof *room);
        memset(room + r * wide + cols, 0, (size_t)(wide - cols) * sizeof *room);
    }
    *ld_out = wide;
    return room;
}

/* Scores and weighted values of rows [first, first + rows), of which none sees more than `keys` of the block's keys. */
static void block_rows(const struct attn_job *j, const struct room *r, const float *v, int64_t ldv, int64_t first, int64_t rows, int64_t keys)
{
    const struct kern_attn *a = j->a;
    const int64_t dvp = kern_up(a->dv, LANES);
    j->cpu->strip_f32(&(struct strip){
        .c = r->s + first * KERN_PAGE, .ldc = KERN_PAGE, .a = r->q + first * a->dk, .rs = a->dk, .ks = 1, .ts = TILE * a->dk, .b = r->kt,
        .ldb = KERN_PAGE, .n = a->dk, .rows = rows, .lanes = kern_up(keys, LANES), .fresh = 1,
    });
    j->cpu->attn_block(&(struct attn_block){
        .s = r->s + first * KERN_PAGE, .m = r->mb + first, .l = r->lb + first, .valid = r->valid + first, .rows = rows, .scale = a->scale,
    });
    j->cpu->strip_f32(&(struct strip){
        .c = r->ob + first * dvp, .ldc = dvp, .a = r->s + first * KERN_PAGE, .rs = KERN_PAGE, .ks = 1, .ts = TILE * KERN_PAGE, .b = v,
        .ldb = ldv, .n = keys, .rows = rows, .lanes = dvp, .fresh = 1,
    });
}

/* One block of keys against the tile's rows. Where rows see different numbers of keys (the diagonal) they go by tiles of registers, so
 * that little is computed only to be masked. */
static void tile_block(const struct attn_job *j, const struct tile *t, const struct room *r, int64_t block, int64_t rows)
{
    const struct kern_attn *a = j->a;
    const int64_t dvp = kern_up(a->dv, LANES), keys = r->valid[rows - 1];
    struct kern_block b = a->kv.bf16 ? widen(a, t, block, keys, r->wide) : kern_cpu_kv_block(&a->kv, t->seq, t->kv_head, block, a->dk, a->dv);
    int64_t ldv, first = 0;
    const float *v = kern_cpu_padded(b.v, b.ldv, keys, a->dv, r->v, &ldv);
    while (r->valid[first] == 0)
        first++;
    first = first / TILE * TILE;
    j->cpu->turn(r->kt, b.k, b.ldk, keys, a->dk, 0);
    if (r->valid[first] == keys)
        block_rows(j, r, v, ldv, first, rows - first, keys);
    else
        for (int64_t i = first; i < rows; i += TILE) {
            int64_t n = kern_min(TILE, rows - i);
            block_rows(j, r, v, ldv, i, n, r->valid[i + n - 1]);
        }
    j->cpu->attn_merge(&(struct attn_merge){
        .o = r->o + first * dvp, .m = r->m + first, .l = r->l + first, .ob = r->ob + first * dvp, .mb = r->mb + first, .lb = r->lb + first,
        .valid = r->valid + first, .rows = rows - first, .ldo = dvp,
    });
}

/* Has the next block's keys and values on their way while this one is worked on. */
static void fetch_block(const struct attn_job *j, const struct tile *t, int64_t block, int64_t keys)
{
    const struct kern_attn *a = j->a;
    if (a->kv.bf16) {
        j->cpu->fetch((const float *)(const void *)narrow_block(&a->kv, t, block, a->dk), 0, 1, keys * a->dk / 2);
        return;
    }
    struct kern_block b = kern_cpu_kv_block(&a->kv, t->seq, t->kv_head, block, a->dk, a->dv);
    j->cpu->fetch(b.k, b.ldk, keys, a->dk);
    j->cpu->fetch(b.v, b.ldv, keys, a->dv);
}

static void tile_run(const struct attn_job *j, const struct tile *t, const struct room *r)
{
    const struct kern_attn *a = j->a;
    const int64_t group = a->hq / a->hkv, rows = t->tokens * t->heads, dvp = kern_up(a->dv, LANES);
    const int64_t row0 = a->cu_q[t->seq] + t->first, nq = a->cu_q[t->seq + 1] - a->cu_q[t->seq];
    const int64_t see0 = a->kv_len[t->seq] - nq + t->first + 1; /* keys that the tile's first token sees */
    const int64_t head0 = t->kv_head * group + t->first_head;
    j->cpu->copy_rows(r->q, t->heads * a->dk, a->q + row0 * a->ldq + head0 * a->dk, a->ldq, t->tokens, t->heads * a->dk, 0); /* heads lie side by side */
    for (int64_t i = 0; i < rows; i++) {
        r->m[i] = -INFINITY;
        r->l[i] = 0;
    }
    memset(r->o, 0, (size_t)(rows * dvp) * sizeof *r->o);
    for (int64_t b = 0, most = see0 + t->tokens - 1; b * KERN_PAGE < most; b++) {
        for (int64_t i = 0; i < rows; i++)
            r->valid[i] = (int32_t)kern_min(KERN_PAGE, kern_max(0, see0 + i / t->heads - b * KERN_PAGE));
        if ((b + 1) * KERN_PAGE < most)
            fetch_block(j, t, b + 1, kern_min(KERN_PAGE, most - (b + 1) * KERN_PAGE));
        tile_block(j, t, r, b, rows);
    }
    for (int64_t i = 0; i < rows; i++) {
        int64_t token = row0 + i / t->heads, head = head0 + i % t->heads;
        j->cpu->times(a->o + token * a->ldo + head * a->dv, r->o + i * dvp, 1.f / r->l[i], a->dv);
        if (a->lse)
            a->lse[token * a->hq + head] = r->m[i] + kern_logf(r->l[i]);
    }
}

static void attn_tiles(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct attn_job *j = ctx;
    struct room r;
    room_of(&r, j->work + worker * j->work_bytes, j->a->dk, j->a->dv);
    for (int64_t i = begin; i < end; i++)
        tile_run(j, &j->tile[i], &r);
}

/* Tiles of every sequence, those with most keys first; at most `heads` query heads in one. Returns how many; tile NULL: only counts. */
static int64_t cut(const struct kern_attn *a, int64_t heads, struct tile *tile)
{
    const int64_t group = a->hq / a->hkv, step = kern_max(1, USUAL / heads);
    int64_t n = 0;
    for (int64_t s = 0; s < a->n_seq; s++) {
        int64_t nq = a->cu_q[s + 1] - a->cu_q[s];
        assert(nq >= 0 && a->kv_len[s] >= nq);
        for (int64_t last = (nq + step - 1) / step - 1; last >= 0; last--)
            for (int64_t h = 0; h < a->hkv; h++)
                for (int64_t g = 0; g < group; g += heads, n++)
                    if (tile)
                        tile[n] = (struct tile){(int32_t)s, (int32_t)h, (int32_t)g, (int32_t)kern_min(heads, group - g), last * step,
                                                kern_min(step, nq - last * step)};
    }
    return n;
}

void kern_cpu_attn(struct kern *k, const struct kern_attn *a)
{
    struct room r;
    assert(a->hq % a->hkv == 0 && a->dk > 0 && a->dv > 0 && (!a->kv.bf16 || (a->kv.pages && a->kv.k == a->kv.v && a->dv <= a->dk)));
    int64_t heads = kern_min(a->hq / a->hkv, ROWS), n = cut(a, heads, NULL), bytes = room_of(&r, NULL, a->dk, a->dv);
    if (n > 0 && n < par_threads() && heads > TILE) { /* heads that share their keys part, rather than leave threads idle */
        heads = kern_min(heads, kern_up(kern_parts(heads, kern_parts(par_threads(), n)), TILE));
        n = cut(a, heads, NULL);
    }
    struct tile *tile = kern_scratch(k, SLOT_JOBS, n * (int64_t)sizeof *tile);
    cut(a, heads, tile);
    struct attn_job j = {.cpu = k->cpu, .a = a, .tile = tile, .work_bytes = bytes};
    j.work = kern_scratch(k, SLOT_WORK, par_threads() * bytes);
    par_for(n, 1, attn_tiles, &j);
}
