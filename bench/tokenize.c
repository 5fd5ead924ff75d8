/* Tokenizing: MB (of text) per CPU second on one thread, cold (a new encoder) and warm (the same texts again), and decoding.
 *
 *   HONE_BENCH_TOKENIZERS=DIR   folders with tokenizer.json (default: one trained here)
 *   HONE_BENCH_TEXTS=DIR        *.txt, cut into documents of about 8 KB (default: made-up text)
 * tools/parity/tokenize_speed.py runs it beside the public libraries on the same documents. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/log.h"
#include "text/text.h"

enum { MAX_DOCS = 4096, DOC = 8192, MAX_BYTES = 4 << 20 };

struct corpus {
    char name[64];
    struct sbuf text;
    struct str doc[MAX_DOCS];
    int n;
};

static void die(const struct err *e)
{
    fprintf(stderr, "%s\n", e->msg);
    exit(1);
}

/* Documents end at a line end, so that each is text of its own. */
static void cut(struct corpus *c)
{
    struct str s = sbuf_str(&c->text);
    s.n = s.n < MAX_BYTES ? s.n : MAX_BYTES;
    for (int64_t at = 0; at < s.n && c->n < MAX_DOCS;) {
        int64_t e = at + DOC < s.n ? str_find(s, STR("\n"), at + DOC) : s.n;
        e = e < 0 || e > at + 4 * DOC ? (at + DOC < s.n ? at + DOC : s.n) : e;
        while (e < s.n && ((unsigned char)s.p[e] & 0xC0) == 0x80)
            e++;
        struct str d = str_sub(s, at, e);
        at = e;
        while (d.n && utf8_check(d) >= 0)
            d.n = utf8_check(d);
        if (d.n)
            c->doc[c->n++] = d;
    }
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_text(const struct dirent *d)
{
    return str_ends(str_of(d->d_name), STR(".txt"));
}

static int is_plain(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

/* Words of a made-up language, Zipf-like: enough to run, not to compare with. */
static void make_up(struct corpus *c)
{
    uint64_t x = 7;
    snprintf(c->name, sizeof c->name, "made up");
    while (c->text.n < 2 << 20) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        uint64_t word = (x >> 33) % (1 + (x >> 50) % 3000), n = 2 + word % 9;
        for (uint64_t i = 0; i < n; i++)
            sbuf_addc(&c->text, (char)('a' + (word * 7 + i * i * 5 + i) % 26));
        sbuf_addc(&c->text, word % 17 ? ' ' : '\n');
    }
}

static struct corpus *corpora(int *n)
{
    const char *dir = getenv("HONE_BENCH_TEXTS");
    if (dir && !*dir)
        dir = NULL;
    struct dirent **list = NULL;
    int files = dir ? scandir(dir, &list, is_text, by_name) : 0;
    struct corpus *c = calloc((size_t)(files > 0 ? files : 1), sizeof *c);
    for (int i = 0; i < files; i++) {
        char path[4096];
        struct err e = {0};
        sbuf_init(&c[i].text, 1 << 30);
        snprintf(path, sizeof path, "%s/%s", dir, list[i]->d_name);
        snprintf(c[i].name, sizeof c[i].name, "%.*s", (int)strlen(list[i]->d_name) - 4, list[i]->d_name);
        if (file_read(path, &c[i].text, &e) != ERR_OK)
            die(&e);
    }
    *n = files > 0 ? files : 1;
    if (files <= 0) {
        sbuf_init(&c[0].text, 1 << 30);
        make_up(&c[0]);
    }
    for (int i = 0; i < *n; i++)
        cut(&c[i]);
    return c;
}

static double pass(struct tok_enc *enc, const struct corpus *c, struct tok_ids *ids, int64_t *tokens, int64_t *bytes, int offsets)
{
    struct err e = {0};
    double t = clock_cpu();
    *tokens = *bytes = 0;
    for (int i = 0; i < c->n; i++) {
        if (tok_encode(enc, &(struct tok_text){.text = c->doc[i], .offsets = offsets}, ids, &e) != ERR_OK)
            die(&e);
        *tokens += ids->n;
        *bytes += c->doc[i].n;
    }
    t = clock_cpu() - t;
    return (double)*bytes / 1e6 / (t > 1e-9 ? t : 1e-9);
}

static double decode(const struct tok *t, struct tok_enc *enc, const struct corpus *c)
{
    struct tok_ids ids = {0};
    struct err e = {0};
    struct sbuf out;
    double time = 0, bytes = 0;
    sbuf_init(&out, 1 << 30);
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < c->n; i++) {
            if (tok_encode(enc, &(struct tok_text){.text = c->doc[i]}, &ids, &e) != ERR_OK)
                die(&e);
            double at = clock_cpu();
            sbuf_clear(&out);
            tok_decode(t, ids.id, ids.n, 0, &out);
            time += clock_cpu() - at;
            bytes += (double)out.n;
        }
    sbuf_release(&out);
    tok_ids_release(&ids);
    return bytes / 1e6 / time;
}

/* One word or one run of 1 MB each: time must stay in proportion to the text. */
static void run_long(const char *name, const struct tok *t)
{
    static const char *const unit[] = {"a", " ", "\n", "=", "\xCC\x81", "\xE4\xB8\xAD", NULL};
    static const char *const what[] = {"letter a", "spaces", "newlines", "=", "marks", "one hanzi", "random a-z"};
    printf("%-14s 1 MB of:", name);
    for (int k = 0; k < 7; k++) {
        struct sbuf b;
        struct tok_enc *enc;
        struct tok_ids ids = {0};
        struct err e = {0};
        uint64_t x = 1;
        sbuf_init(&b, 1 << 21);
        while (b.n < 1000000) {
            x = x * 6364136223846793005u + 1442695040888963407u;
            if (unit[k])
                sbuf_adds(&b, unit[k]);
            else
                sbuf_addc(&b, (char)('a' + (x >> 40) % 26));
        }
        if (tok_enc_new(t, &enc, &e) != ERR_OK)
            die(&e);
        double at = clock_cpu();
        if (tok_encode(enc, &(struct tok_text){.text = sbuf_str(&b)}, &ids, &e) != ERR_OK)
            die(&e);
        printf("  %s %.1f", what[k], 1 / (clock_cpu() - at));
        tok_ids_release(&ids);
        tok_enc_free(enc);
        sbuf_release(&b);
    }
    printf(" MB/cpu-s\n");
    fflush(stdout);
}

static void run(const char *name, const struct tok *t, const struct corpus *c, int n)
{
    run_long(name, t);
    for (int i = 0; i < n; i++) {
        struct tok_enc *enc;
        struct tok_ids ids = {0};
        struct err e = {0};
        int64_t tokens, bytes;
        double cold = 0, warm = 0, offsets = 0;
        for (int r = 0; r < 2; r++) { /* the better of two: the machine is shared */
            if (tok_enc_new(t, &enc, &e) != ERR_OK)
                die(&e);
            double x = pass(enc, &c[i], &ids, &tokens, &bytes, 0);
            cold = x > cold ? x : cold;
            for (int k = 0; k < 2; k++) {
                x = pass(enc, &c[i], &ids, &tokens, &bytes, 0);
                warm = x > warm ? x : warm;
            }
            x = pass(enc, &c[i], &ids, &tokens, &bytes, 1);
            offsets = x > offsets ? x : offsets;
            if (r < 1)
                tok_enc_free(enc);
        }
        printf("%-14s %-10s %8.2f MB %9lld tokens  cold %7.1f  warm %7.1f  offsets %7.1f  decode %8.1f MB/cpu-s\n", name, c[i].name, (double)bytes / 1e6,
               (long long)tokens, cold, warm, offsets, decode(t, enc, &c[i]));
        fflush(stdout);
        tok_enc_free(enc);
        tok_ids_release(&ids);
    }
}

static void own(const struct corpus *c, int n)
{
    struct tok_trainer *tr;
    struct tok *t;
    struct err e = {0};
    char dir[] = "/tmp/hone-bench-tok-XXXXXX";
    if (!mkdtemp(dir) || tok_train_new(&(struct tok_train_opts){.vocab = 4000}, &tr, &e) != ERR_OK)
        die(&e);
    for (int i = 0; i < n; i++)
        for (int k = 0; k < c[i].n; k++)
            if (tok_train_add(tr, c[i].doc[k], &e) != ERR_OK)
                die(&e);
    if (tok_train_write(tr, dir, NULL, &e) != ERR_OK || tok_load(dir, &t, &e) != ERR_OK)
        die(&e);
    run("trained", t, c, n);
    tok_free(t);
    tok_train_free(tr);
    if (file_remove_tree(dir, &e) != ERR_OK)
        die(&e);
}

int main(void)
{
    const char *dir = getenv("HONE_BENCH_TOKENIZERS"), *only = getenv("HONE_BENCH_ONLY");
    struct dirent **list;
    int n, folders = dir ? scandir(dir, &list, is_plain, by_name) : -1;
    struct corpus *c = corpora(&n);
    if (folders < 0)
        own(c, n);
    for (int i = 0; i < folders; i++) {
        char path[4096];
        struct tok *t;
        struct err e = {0};
        snprintf(path, sizeof path, "%s/%s/tokenizer.json", dir, list[i]->d_name);
        if (!file_exists(path) || (only && !strstr(list[i]->d_name, only)))
            continue;
        snprintf(path, sizeof path, "%s/%s", dir, list[i]->d_name);
        for (int k = 0; k < 3; k++) {
            double at = clock_now();
            if (tok_load(path, &t, &e) != ERR_OK)
                die(&e);
            if (k < 2)
                tok_free(t);
            else
                printf("%-14s loaded in %.1f ms, %.1f MB\n", list[i]->d_name, (clock_now() - at) * 1e3, (double)tok_memory(t) / 1e6);
        }
        run(list[i]->d_name, t, c, n);
        tok_free(t);
    }
    for (int i = 0; i < n; i++)
        sbuf_release(&c[i].text);
    free(c);
    return 0;
}
