/* Attention as its formula reads: every query against every key it sees. */
#include "kernels/ref/ref.h"

#include <math.h>
#include <string.h>

struct place {
    const float *k, *v;
};

/* tmp: [dk], for keys that are kept in bf16. */
static struct place key(const struct kern_kv *kv, int64_t s, int64_t h, int64_t j, int64_t dk, int64_t dv, float *tmp)
{
    if (kv->bf16) {
        const uint16_t *from = (const uint16_t *)(const void *)kv->k + kv->pages[s * kv->max_pages + j / KERN_PAGE] * kv->page_stride_k + (h * KERN_PAGE + j % KERN_PAGE) * dk;
        for (int64_t i = 0; i < dk; i++) {
            uint32_t u = (uint32_t)from[i] << 16;
            memcpy(&tmp[i], &u, 4);
        }
        return (struct place){tmp, tmp};
    }
    if (kv->pages) {
        int64_t page = kv->pages[s * kv->max_pages + j / KERN_PAGE], row = h * KERN_PAGE + j % KERN_PAGE;
        return (struct place){kv->k + page * kv->page_stride_k + row * dk, kv->v + page * kv->page_stride_v + row * (kv->ldv ? kv->ldv : dv)};
    }
    int64_t row = kv->cu_k[s] + j;
    return (struct place){kv->k + row * kv->ldk + h * kv->head_stride_k, kv->v + row * kv->ldv + h * kv->head_stride_v};
}

static double dot(const float *a, const float *b, int64_t n)
{
    double s = 0;
    for (int64_t i = 0; i < n; i++)
        s += (double)a[i] * (double)b[i];
    return s;
}

void kern_ref_attn(struct kern *k, const struct kern_attn *a)
{
    int64_t longest = 0;
    for (int64_t s = 0; s < a->n_seq; s++)
        longest = kern_max(longest, a->kv_len[s]);
    double *p = kern_scratch(k, SLOT_WORK, (longest + a->dv + a->dk) * 8), *o = p + longest;
    float *tmp = (float *)(void *)(o + a->dv);
    for (int64_t s = 0; s < a->n_seq; s++)
        for (int64_t t = a->cu_q[s]; t < a->cu_q[s + 1]; t++)
            for (int64_t h = 0; h < a->hq; h++) {
                const int64_t keys = a->kv_len[s] - (a->cu_q[s + 1] - 1 - t), kvh = h / (a->hq / a->hkv);
                double m = -INFINITY, l = 0;
                for (int64_t j = 0; j < keys; j++) {
                    p[j] = (double)a->scale * dot(a->q + t * a->ldq + h * a->dk, key(&a->kv, s, kvh, j, a->dk, a->dv, tmp).k, a->dk);
                    m = p[j] > m ? p[j] : m;
                }
                memset(o, 0, (size_t)a->dv * sizeof *o);
                for (int64_t j = 0; j < keys; j++) {
                    const float *v = key(&a->kv, s, kvh, j, a->dk, a->dv, tmp).v;
                    double e = exp(p[j] - m);
                    l += e;
                    for (int64_t d = 0; d < a->dv; d++)
                        o[d] += e * (double)v[d];
                }
                for (int64_t d = 0; d < a->dv; d++)
                    a->o[t * a->ldo + h * a->dv + d] = (float)(o[d] / l);
                if (a->lse)
                    a->lse[t * a->hq + h] = (float)(m + log(l));
            }
}

/* The gradients of keys and values are summed in float64 buffers of one sequence and kv head. */
void kern_ref_attn_bwd(struct kern *k, const struct kern_attn_bwd *a)
{
    const int64_t dk = a->d_k, dv = a->d_v;
    int64_t longest = 0;
    for (int64_t s = 0; s < a->n_seq; s++)
        longest = kern_max(longest, a->cu_q[s + 1] - a->cu_q[s]);
    double *gk = kern_scratch(k, SLOT_WORK, (longest + 1) * (dk + dv) * 8), *gv = gk + longest * dk, *gq = gv + longest * dv;
    for (int64_t s = 0; s < a->n_seq; s++)
        for (int64_t kvh = 0; kvh < a->hkv; kvh++) {
            const int64_t first = a->cu_q[s], n = a->cu_q[s + 1] - first, group = a->hq / a->hkv;
            memset(gk, 0, (size_t)(longest * (dk + dv)) * sizeof *gk);
            for (int64_t h = kvh * group; h < (kvh + 1) * group; h++)
                for (int64_t t = 0; t < n; t++) {
                    const float *q = a->q + (first + t) * a->ldq + h * dk, *go = a->dout + (first + t) * a->ldo + h * dv;
                    double delta = dot(go, a->o + (first + t) * a->ldo + h * dv, dv);
                    memset(gq, 0, (size_t)dk * sizeof *gq);
                    for (int64_t j = 0; j <= t; j++) {
                        struct place kj = key(&a->kv, s, kvh, j, dk, dv, NULL);
                        double p = exp((double)a->scale * dot(q, kj.k, dk) - (double)a->lse[(first + t) * a->hq + h]);
                        double ds = p * (dot(go, kj.v, dv) - delta) * (double)a->scale;
                        for (int64_t d = 0; d < dv; d++)
                            gv[j * dv + d] += p * (double)go[d];
                        for (int64_t d = 0; d < dk; d++) {
                            gk[j * dk + d] += ds * (double)q[d];
                            gq[d] += ds * (double)kj.k[d];
                        }
                    }
                    for (int64_t d = 0; d < dk; d++)
                        a->dq[(first + t) * a->ldq + h * dk + d] = (float)gq[d];
                }
            for (int64_t j = 0; j < n; j++) {
                int64_t row = a->kv.cu_k[s] + j;
                for (int64_t d = 0; d < dk; d++)
                    a->dk[row * a->kv.ldk + kvh * a->kv.head_stride_k + d] = (float)gk[j * dk + d];
                for (int64_t d = 0; d < dv; d++)
                    a->dv[row * a->kv.ldv + kvh * a->kv.head_stride_v + d] = (float)gv[j * dv + d];
            }
        }
}

void kern_ref_kv_write(struct kern *k, const struct kern_kv_write *a)
{
    (void)k;
    for (int64_t t = 0; t < a->t; t++)
        for (int64_t h = 0; h < a->hkv; h++) {
            int64_t row = h * KERN_PAGE + a->slot[t];
            for (int64_t d = 0; a->bf16 && d < a->dk; d++)
                memcpy((uint16_t *)(void *)a->k_pages + a->page[t] * a->page_stride_k + row * a->dk + d, (const char *)(a->k + t * a->ldk + h * a->dk + d) + 2, 2);
            for (int64_t d = 0; !a->bf16 && d < a->dk; d++)
                a->k_pages[a->page[t] * a->page_stride_k + row * a->dk + d] = a->k[t * a->ldk + h * a->dk + d];
            for (int64_t d = 0; d < a->dv; d++)
                a->v_pages[a->page[t] * a->page_stride_v + row * a->dv + d] = a->v[t * a->ldv + h * a->dv + d];
        }
}
