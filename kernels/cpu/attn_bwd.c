/* Causal attention, backward, from the saved log-sum-exp: p and dp are computed again block by block.
 *
 *   dv_j += sum_i p_ij do_i    dk_j += sum_i ds_ij q_i    dq_i += sum_j ds_ij k_j    ds = p (do . v - delta) scale
 *
 * dk and dv of a key add over query heads of the group ascending, then queries ascending; dq of a query over keys ascending: one chain
 * each. Where sequences x kv heads are too few for the threads, dq and (dk, dv) are computed in two passes with more jobs: the chains,
 * and so the bits, are the same; p is computed twice. */
#include <math.h>
#include <string.h>

#include "core/par.h"
#include "kernels/cpu/attn.h"

enum { ROWS = KERN_PAGE }; /* query tiles are as long as key blocks, so that the diagonal is one tile */

enum parts { DQ = 1, DKV = 2 };

struct bwd_job {
    const struct kern_cpu *cpu;
    const struct kern_attn_bwd *a;
    const float *delta; /* [T, hq] */
    char *work;
    int64_t work_bytes;
    enum parts parts;
};

struct room {
    float *q, *dout, *dq, *k, *v, *kt, *vt, *dk, *dv, *s, *ds, *lse, *delta;
    int32_t *valid;
};

static int64_t room_of(struct room *r, char *base, int64_t dk, int64_t dv)
{
    const int64_t dkp = kern_up(dk, LANES), dvp = kern_up(dv, LANES);
    int64_t at = 0;
#define TAKE(field, n) (r->field = (void *)(base + at), at += kern_up((n) * 4, 64))
    TAKE(q, ROWS * dkp);
    TAKE(dout, ROWS * dvp);
    TAKE(dq, ROWS * dkp);
    TAKE(k, KERN_PAGE * dkp);
    TAKE(v, KERN_PAGE * dvp);
    TAKE(kt, KERN_PAGE * dk);
    TAKE(vt, KERN_PAGE * dv);
    TAKE(dk, KERN_PAGE * dkp);
    TAKE(dv, KERN_PAGE * dvp);
    TAKE(s, ROWS * KERN_PAGE);
    TAKE(ds, ROWS * KERN_PAGE);
    TAKE(lse, ROWS);
    TAKE(delta, ROWS);
    TAKE(valid, ROWS);
#undef TAKE
    return at;
}

static void copy_padded(const struct kern_cpu *cpu, float *out, const float *src, int64_t ld, int64_t rows, int64_t cols)
{
    const int64_t wide = kern_up(cols, LANES);
    cpu->copy_rows(out, wide, src, ld, rows, cols, 0);
    for (int64_t r = 0; r < rows && cols < wide; r++)
        memset(out + r * wide + cols, 0, (size_t)(wide - cols) * sizeof *out);
}

/* Tiles of rows of a pair: all at once, or on the diagonal, where rows see different numbers of keys, one at a time, so that little is
 * computed only to be masked. */
struct pair {
    const struct room *r;
    int64_t head, row0, rows, block, keys; /* row0: of q and dout */
    int diagonal;
};

static int64_t step_of(const struct pair *p, int64_t all)
{
    return p->diagonal ? TILE : all;
}

/* s = q k^T, dp = dout v^T */
static void pair_scores(const struct bwd_job *j, const struct pair *p)
{
    const struct kern_attn_bwd *a = j->a;
    const struct room *r = p->r;
    const int64_t step = step_of(p, p->rows), dkp = kern_up(a->d_k, LANES), dvp = kern_up(a->d_v, LANES);
    for (int64_t i = 0; i < p->rows; i += step) {
        const int64_t n = kern_min(step, p->rows - i), lanes = p->diagonal ? kern_up(kern_min(i + n, p->keys), LANES) : KERN_PAGE;
        struct strip s = {.c = r->s + i * KERN_PAGE, .ldc = KERN_PAGE, .a = r->q + i * dkp, .rs = dkp, .ks = 1, .ts = TILE * dkp, .b = r->kt, .ldb = KERN_PAGE,
                          .n = a->d_k, .rows = n, .lanes = lanes, .fresh = 1};
        j->cpu->strip_f32(&s);
        s.c = r->ds + i * KERN_PAGE, s.a = r->dout + i * dvp, s.rs = dvp, s.ts = TILE * dvp, s.b = r->vt, s.n = a->d_v;
        j->cpu->strip_f32(&s);
    }
}

/* dv += p^T dout, dk += ds^T q; a tile of keys is seen by the queries from its own on. */
static void pair_keys(const struct bwd_job *j, const struct pair *p)
{
    const struct room *r = p->r;
    const int64_t step = step_of(p, p->keys), dkp = kern_up(j->a->d_k, LANES), dvp = kern_up(j->a->d_v, LANES);
    for (int64_t i = 0; i < p->keys; i += step) {
        const int64_t from = p->diagonal ? i : 0, at = from * KERN_PAGE + i;
        struct strip s = {.c = r->dv + i * dvp, .ldc = dvp, .a = r->s + at, .rs = 1, .ks = KERN_PAGE, .ts = TILE, .b = r->dout + from * dvp, .ldb = dvp,
                          .n = p->rows - from, .rows = kern_min(step, p->keys - i), .lanes = dvp};
        j->cpu->strip_f32(&s);
        s.c = r->dk + i * dkp, s.ldc = dkp, s.a = r->ds + at, s.b = r->q + from * dkp, s.ldb = dkp, s.lanes = dkp;
        j->cpu->strip_f32(&s);
    }
}

/* dq += ds k, in place where rows are whole vectors. */
static void pair_queries(const struct bwd_job *j, const struct pair *p)
{
    const struct kern_attn_bwd *a = j->a;
    const struct room *r = p->r;
    const int64_t step = step_of(p, p->rows), dk = a->d_k, dkp = kern_up(dk, LANES), ld = dk == dkp ? a->ldq : dkp;
    float *dq = a->dq + p->row0 * a->ldq + p->head * dk, *out = dk == dkp ? dq : r->dq;
    if (out != dq && p->block > 0)
        copy_padded(j->cpu, out, dq, a->ldq, p->rows, dk);
    for (int64_t i = 0; i < p->rows; i += step) {
        const int64_t n = kern_min(step, p->rows - i);
        j->cpu->strip_f32(&(struct strip){.c = out + i * ld, .ldc = ld, .a = r->ds + i * KERN_PAGE, .rs = KERN_PAGE, .ks = 1, .ts = TILE * KERN_PAGE, .b = r->k, .ldb = dkp,
                                          .n = p->diagonal ? kern_min(i + n, p->keys) : p->keys, .rows = n, .lanes = dkp, .fresh = p->block == 0});
    }
    for (int64_t i = 0; i < p->rows && out != dq; i++)
        memcpy(dq + i * a->ldq, out + i * dkp, (size_t)dk * sizeof *dq);
}

/* Adds the products of `rows` queries (from token t0 of the sequence) of one query head with the block of keys in r. */
static void pair(const struct bwd_job *j, const struct room *r, int64_t seq, int64_t head, int64_t t0, int64_t rows, int64_t block, int64_t keys)
{
    const struct kern_attn_bwd *a = j->a;
    const struct pair p = {.r = r, .head = head, .row0 = a->cu_q[seq] + t0, .rows = rows, .block = block, .keys = keys, .diagonal = t0 == block * KERN_PAGE};
    copy_padded(j->cpu, r->q, a->q + p.row0 * a->ldq + head * a->d_k, a->ldq, rows, a->d_k);
    copy_padded(j->cpu, r->dout, a->dout + p.row0 * a->ldo + head * a->d_v, a->ldo, rows, a->d_v);
    for (int64_t i = 0; i < rows; i++) {
        r->lse[i] = a->lse[(p.row0 + i) * a->hq + head];
        r->delta[i] = j->delta[(p.row0 + i) * a->hq + head];
        r->valid[i] = (int32_t)kern_min(KERN_PAGE, kern_max(0, t0 + i + 1 - block * KERN_PAGE));
    }
    pair_scores(j, &p);
    j->cpu->attn_ds(&(struct attn_ds){.s = r->s, .dp = r->ds, .lse = r->lse, .delta = r->delta, .valid = r->valid, .rows = rows, .scale = a->scale});
    if (j->parts & DKV)
        pair_keys(j, &p);
    if (j->parts & DQ)
        pair_queries(j, &p);
}

static int64_t length(const struct kern_attn_bwd *a, int64_t seq)
{
    return a->cu_q[seq + 1] - a->cu_q[seq];
}

static void load_block(const struct bwd_job *j, const struct room *r, int64_t seq, int64_t kv_head, int64_t block, int64_t keys)
{
    const struct kern_attn_bwd *a = j->a;
    struct kern_block b = kern_cpu_kv_block(&a->kv, seq, kv_head, block, a->d_k, a->d_v);
    j->cpu->turn(r->kt, b.k, b.ldk, keys, a->d_k, 0);
    j->cpu->turn(r->vt, b.v, b.ldv, keys, a->d_v, 0);
    copy_padded(j->cpu, r->k, b.k, b.ldk, keys, a->d_k);
}

/* One block of keys against every query that sees it. */
static void key_block(const struct bwd_job *j, const struct room *r, int64_t seq, int64_t kv_head, int64_t block)
{
    const struct kern_attn_bwd *a = j->a;
    const int64_t n = length(a, seq), group = a->hq / a->hkv, keys = kern_min(KERN_PAGE, n - block * KERN_PAGE);
    const int64_t dkp = kern_up(a->d_k, LANES), dvp = kern_up(a->d_v, LANES), row = a->kv.cu_k[seq] + block * KERN_PAGE;
    load_block(j, r, seq, kv_head, block, keys);
    memset(r->dk, 0, (size_t)(keys * dkp) * sizeof *r->dk);
    memset(r->dv, 0, (size_t)(keys * dvp) * sizeof *r->dv);
    for (int64_t g = 0; g < group; g++)
        for (int64_t t = block * KERN_PAGE; t < n; t += ROWS)
            pair(j, r, seq, kv_head * group + g, t, kern_min(ROWS, n - t), block, keys);
    const struct kern_kv *kv = &a->kv;
    const int stream = par_threads() > 1; /* other threads read them next */
    j->cpu->copy_rows(a->dk + row * kv->ldk + kv_head * kv->head_stride_k, kv->ldk, r->dk, dkp, keys, a->d_k, stream);
    j->cpu->copy_rows(a->dv + row * kv->ldv + kv_head * kv->head_stride_v, kv->ldv, r->dv, dvp, keys, a->d_v, stream);
    kern_cpu_streamed();
}

/* Jobs of whole heads, of key blocks, of query tiles: job number -> place, sequences in order. */
static void bwd_heads(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct bwd_job *j = ctx;
    struct room r;
    room_of(&r, j->work + worker * j->work_bytes, j->a->d_k, j->a->d_v);
    for (int64_t i = begin; i < end; i++)
        for (int64_t b = 0; b * KERN_PAGE < length(j->a, i / j->a->hkv); b++)
            key_block(j, &r, i / j->a->hkv, i % j->a->hkv, b);
}

static int64_t blocks(const struct kern_attn_bwd *a, int64_t seq)
{
    return (length(a, seq) + KERN_PAGE - 1) / KERN_PAGE;
}

/* Which sequence and block the i-th (sequence, block) pair is. */
static void find_block(const struct kern_attn_bwd *a, int64_t i, int64_t *seq, int64_t *block)
{
    for (*seq = 0; i >= blocks(a, *seq); ++*seq)
        i -= blocks(a, *seq);
    *block = i;
}

static void bwd_keys(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct bwd_job *j = ctx;
    struct room r;
    room_of(&r, j->work + worker * j->work_bytes, j->a->d_k, j->a->d_v);
    for (int64_t i = begin; i < end; i++) {
        int64_t seq, block;
        find_block(j->a, i / j->a->hkv, &seq, &block);
        key_block(j, &r, seq, i % j->a->hkv, block);
    }
}

static void bwd_queries(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct bwd_job *j = ctx;
    const struct kern_attn_bwd *a = j->a;
    struct room r;
    room_of(&r, j->work + worker * j->work_bytes, a->d_k, a->d_v);
    for (int64_t i = begin; i < end; i++) {
        int64_t seq, tile, head = i % a->hq;
        find_block(a, i / a->hq, &seq, &tile);
        int64_t n = length(a, seq), t0 = tile * ROWS, rows = kern_min(ROWS, n - t0);
        for (int64_t b = 0; b <= tile; b++) {
            int64_t keys = kern_min(KERN_PAGE, n - b * KERN_PAGE);
            load_block(j, &r, seq, head / (a->hq / a->hkv), b, keys);
            pair(j, &r, seq, head, t0, rows, b, keys);
        }
    }
}

static void delta_rows(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct bwd_job *j = ctx;
    const struct kern_attn_bwd *a = j->a;
    float *delta = (float *)(uintptr_t)j->delta;
    (void)worker;
    for (int64_t t = begin; t < end; t++)
        for (int64_t h = 0; h < a->hq; h++)
            delta[t * a->hq + h] = j->cpu->dot(a->dout + t * a->ldo + h * a->d_v, a->o + t * a->ldo + h * a->d_v, a->d_v);
}

void kern_cpu_attn_bwd(struct kern *k, const struct kern_attn_bwd *a)
{
    struct room r;
    const int64_t heads = a->n_seq * a->hkv, bytes = room_of(&r, NULL, a->d_k, a->d_v), tokens = a->n_seq ? a->cu_q[a->n_seq] : 0;
    int64_t all = 0, longest = 0;
    assert(a->hq % a->hkv == 0 && !a->kv.pages);
    for (int64_t s = 0; s < a->n_seq; s++) {
        all += blocks(a, s) * blocks(a, s);
        longest = kern_max(longest, blocks(a, s) * blocks(a, s));
    }
    struct bwd_job j = {.cpu = k->cpu, .a = a, .work_bytes = bytes, .parts = DQ | DKV};
    j.delta = kern_scratch(k, SLOT_STATS, tokens * a->hq * 4);
    j.work = kern_scratch(k, SLOT_WORK, par_threads() * bytes);
    par_for(tokens, 16, delta_rows, &j);
    /* whole heads are cheaper (5 products instead of 7) as long as every thread finds work */
    if (heads % par_threads() == 0 ? all * a->hkv >= longest * par_threads() : all * a->hkv >= 3 * longest * par_threads()) {
        par_for(heads, 1, bwd_heads, &j);
        return;
    }
    int64_t pairs = 0;
    for (int64_t s = 0; s < a->n_seq; s++)
        pairs += blocks(a, s);
    j.parts = DKV;
    par_for(pairs * a->hkv, 1, bwd_keys, &j);
    j.parts = DQ;
    par_for(pairs * a->hq, 1, bwd_queries, &j);
}
