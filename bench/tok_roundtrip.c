/* Mixed bytes through encoding and back: what comes out must be what went in, byte for byte. Texts of many kinds are made from a seed,
 * invalid UTF-8 among them (those must be refused, then they are repaired as errors="replace" does and go on); every text goes through
 * one tokenizer after another.
 *
 *   build/bench/tok_roundtrip [MB] [SEED]      default 16 MB, seed 1
 *   HONE_BENCH_TOKENIZERS=DIR                  folders with tokenizer.json (default: one trained here)
 * A tokenizer with a normalizer gives back the normal form: then the decoded text must encode to the same ids again. Those that are
 * no byte-level ones are left out: they mark spaces, and a text may hold the mark. Ends with 1 when anything differs. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "core/file.h"
#include "core/log.h"
#include "core/rng.h"
#include "text/text.h"
#include "text/tok.h"

enum { MAX_TOKS = 32, DOC = 48 << 10 };

/* name, what */
#define KINDS(X)                                                                        \
    X(WORDS, "English-like words")                                                      \
    X(CODE, "code-like lines")                                                          \
    X(SCRIPTS, "letters of many scripts")                                               \
    X(POINTS, "any code points")                                                        \
    X(RUNS, "runs of one unit, up to 20,000 bytes")                                     \
    X(ASCII, "any ASCII")                                                               \
    X(MARKS, "texts with control tokens and marks")                                     \
    X(BYTES, "any bytes (invalid UTF-8)")                                               \
    X(BROKEN, "words with broken characters (invalid UTF-8)")
enum kind {
#define X(name, what) KIND_##name,
    KINDS(X)
#undef X
    N_KINDS
};
static const char *const kind_name[] = {
#define X(name, what) what,
    KINDS(X)
#undef X
};

static uint64_t state;

static uint32_t rnd(uint32_t n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32) % n;
}

static void point(struct sbuf *b, uint32_t first, uint32_t n)
{
    char u[4];
    uint32_t c = first + rnd(n);
    if (c < 0xD800 || c > 0xDFFF)
        sbuf_add(b, (struct str){u, utf8_encode(c, u)});
}

static void word(struct sbuf *b)
{
    static const char *const part[] = {"the", "ing", "er", "un", "re", "ation", "s", "ed", "a", "o", "th", "in", "qu", "ck", "str", "ly", "I", "N", "-", "'s", "e", "un", "x"};
    for (uint32_t n = 1 + rnd(4); n > 0; n--)
        sbuf_adds(b, part[rnd(sizeof part / sizeof *part)]);
}

static void some(struct sbuf *b, enum kind k)
{
    static const char *const sign[] = {" ", " ", " ", ", ", ". ", "\n", "\n\n", "  ", "\t", " (", ") ", "\r\n", " 1", "23", "'ll ", "! "};
    static const char *const code[] = {"for (int i = 0; i < n; i++)\n    ", "def f(x):\n        return ", "{\"a\": [", "]}", " += ", "->", "\n\n\n", "0x", "// ", "\t\t", "; "};
    static const char *const unit[] = {" ", "\n", "=", "-", "a", "\xCC\x81", "中", "ab", "=-", "\r\n", "0", "🙂", "\t"};
    static const char *const control[] = {"<|im_start|>", "<|im_end|>", "<｜User｜>", "<|endoftext|>", "<s>", "</s>", "e\xCC\x81", "\xEF\xBF\xBD", "\xE2\x80\x8D", "가", "\xE1\x84\x80\xE1\x85\xA1", "Å"};
    static const uint32_t script[][2] = {{0x400, 256}, {0x370, 144}, {0x5D0, 27}, {0x620, 43}, {0x905, 53}, {0xE01, 46}, {0x3041, 86}, {0x30A1, 90}, {0x4E00, 20000}, {0xAC00, 11000}, {0x1F600, 80}, {0xC0, 200}};
    uint32_t s, n;
    switch (k) {
    case KIND_WORDS:
        word(b);
        sbuf_adds(b, sign[rnd(16)]);
        break;
    case KIND_CODE:
        sbuf_adds(b, code[rnd(11)]);
        word(b);
        break;
    case KIND_SCRIPTS:
        for (s = rnd(12), n = 1 + rnd(30); n > 0; n--)
            point(b, script[s][0], script[s][1]);
        sbuf_adds(b, rnd(3) ? " " : "");
        break;
    case KIND_POINTS: point(b, 0, rnd(2) ? 0x3000 : 0x110000); break;
    case KIND_RUNS:
        for (s = rnd(13), n = 1 + rnd(rnd(30) ? 60 : 20000); n > 0 && b->n < DOC; n--)
            sbuf_adds(b, unit[s]);
        break;
    case KIND_ASCII: sbuf_addc(b, (char)rnd(128)); break;
    case KIND_MARKS:
        word(b);
        sbuf_adds(b, control[rnd(12)]);
        break;
    case KIND_BYTES: sbuf_addc(b, (char)rnd(256)); break;
    case KIND_BROKEN:
        word(b);
        sbuf_addc(b, (char)(rnd(6) ? ' ' : 0x80 + rnd(128)));
        break;
    case N_KINDS: break;
    }
}

struct one {
    char name[64];
    struct tok *t;
    struct tok_enc *enc;
};

static void die(const char *what, const struct err *e)
{
    fprintf(stderr, "%s: %s\n", what, e->msg);
    exit(1);
}

static int take(struct one *o, const char *path, const char *name)
{
    struct err e = {0};
    if (tok_load(path, &o->t, &e) != ERR_OK)
        die(path, &e);
    if (!o->t->im.byte_level) {
        tok_free(o->t);
        return 0;
    }
    if (tok_enc_new(o->t, &o->enc, &e) != ERR_OK)
        die(path, &e);
    snprintf(o->name, sizeof o->name, "%s", name);
    return 1;
}

static int from_folder(struct one *all, const char *dir)
{
    struct dirent **list;
    int n = 0, k = scandir(dir, &list, NULL, alphasort);
    for (int i = 0; i < k; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s/tokenizer.json", dir, list[i]->d_name);
        if (list[i]->d_name[0] == '.' || !file_exists(path) || n == MAX_TOKS)
            continue;
        snprintf(path, sizeof path, "%s/%s", dir, list[i]->d_name);
        n += take(&all[n], path, list[i]->d_name);
    }
    return n;
}

static int trained_here(struct one *all)
{
    struct tok_trainer *tr;
    struct err e = {0};
    struct sbuf b;
    char dir[] = "/tmp/hone-roundtrip-XXXXXX";
    sbuf_init(&b, 1 << 24);
    while (b.n < 1 << 20)
        some(&b, (enum kind)rnd(KIND_POINTS));
    if (!mkdtemp(dir) || tok_train_new(&(struct tok_train_opts){.vocab = 4000}, &tr, &e) != ERR_OK || tok_train_add(tr, sbuf_str(&b), &e) != ERR_OK ||
        tok_train_write(tr, dir, NULL, &e) != ERR_OK)
        die("training", &e);
    tok_train_free(tr);
    int n = take(all, dir, "trained");
    if (file_remove_tree(dir, &e) != ERR_OK)
        die(dir, &e);
    sbuf_release(&b);
    return n;
}

struct tally {
    int64_t bytes, texts, refused, normalized, differ;
    double encode, decode;
};

/* 1 when the text comes back. */
static int goes_round(struct one *o, struct str text, struct tok_ids *ids, struct tok_ids *again, struct sbuf *back, struct tally *y)
{
    struct err e = {0};
    double at = clock_cpu();
    if (tok_encode(o->enc, &(struct tok_text){.text = text, .plain = (int)(text.n & 1)}, ids, &e) != ERR_OK)
        die(o->name, &e);
    y->encode += clock_cpu() - at;
    at = clock_cpu();
    sbuf_clear(back);
    tok_decode(o->t, ids->id, ids->n, 0, back);
    y->decode += clock_cpu() - at;
    if (o->t->n_norm == 0 || uni_is_form(text, o->t->norm[0].form))
        return str_eq(sbuf_str(back), text);
    y->normalized++;
    if (tok_encode(o->enc, &(struct tok_text){.text = sbuf_str(back), .plain = (int)(text.n & 1)}, again, &e) != ERR_OK)
        die(o->name, &e);
    return again->n == ids->n && !memcmp(again->id, ids->id, (size_t)ids->n * sizeof *ids->id);
}

int main(int argc, char **argv)
{
    static struct one all[MAX_TOKS];
    struct tally kind[N_KINDS] = {0};
    struct tok_ids ids = {0}, again = {0};
    struct sbuf text, good, back;
    struct rusage use;
    int64_t want = (argc > 1 ? atoll(argv[1]) : 16) * 1000000, total = 0, differ = 0;
    state = 0x9E3779B97F4A7C15u * (uint64_t)(argc > 2 ? atoll(argv[2]) : 1) + 1;
    const char *dir = getenv("HONE_BENCH_TOKENIZERS");
    int n = dir ? from_folder(all, dir) : trained_here(all);
    sbuf_init(&text, 1 << 24);
    sbuf_init(&good, 1 << 24);
    sbuf_init(&back, 1 << 24);
    printf("%d tokenizers:", n);
    for (int i = 0; i < n; i++)
        printf(" %s", all[i].name);
    printf("\n");
    for (int64_t doc = 0; n && total < want; doc++) {
        enum kind k = (enum kind)rnd(N_KINDS);
        struct one *o = &all[doc % n];
        struct tally *y = &kind[k];
        int64_t bytes = 1 + rnd(rnd(4) ? 4096 : DOC);
        struct err e = {0};
        sbuf_clear(&text);
        while (text.n < bytes)
            some(&text, k);
        struct str s = sbuf_str(&text);
        if (utf8_check(s) >= 0) {
            y->refused++;
            y->differ += tok_encode(o->enc, &(struct tok_text){.text = s}, &ids, &e) != ERR_DATA;
            sbuf_clear(&good);
            tok_utf8_replace(s, &good);
            s = sbuf_str(&good);
        }
        if (!goes_round(o, s, &ids, &again, &back, y) && y->differ++ == 0)
            printf("%s: document %lld (%s) does not come back\n", o->name, (long long)doc, kind_name[k]);
        y->texts++;
        y->bytes += text.n;
        total += text.n;
    }
    printf("%-46s %8s %9s %8s %10s %9s %9s %7s\n", "kind", "MB", "texts", "refused", "normalized", "enc MB/s", "dec MB/s", "differ");
    for (int k = 0; k < N_KINDS; k++) {
        const struct tally *y = &kind[k];
        printf("%-46s %8.1f %9lld %8lld %10lld %9.1f %9.1f %7lld\n", kind_name[k], (double)y->bytes / 1e6, (long long)y->texts, (long long)y->refused, (long long)y->normalized,
               (double)y->bytes / 1e6 / (y->encode + 1e-9), (double)y->bytes / 1e6 / (y->decode + 1e-9), (long long)y->differ);
        differ += y->differ;
    }
    getrusage(RUSAGE_SELF, &use);
    printf("%.1f MB there and back, %lld differ, %.0f MB of memory at most\n", (double)total / 1e6, (long long)differ, (double)use.ru_maxrss / 1e3);
    for (int i = 0; i < n; i++) {
        tok_enc_free(all[i].enc);
        tok_free(all[i].t);
    }
    tok_ids_release(&ids);
    tok_ids_release(&again);
    sbuf_release(&text);
    sbuf_release(&good);
    sbuf_release(&back);
    return differ != 0 || n == 0;
}
