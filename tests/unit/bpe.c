/* Merging. Fails when the ids of any word differ from the plain rule (lowest rank first, then leftmost, one merge at a time): over
 * random vocabularies whose merges come in any order, repeated letters, and words long enough to be merged in chunks. */
#include "tests/test.h"
#include "text/tok.h"

static uint64_t state = 42;

static uint32_t rnd(uint32_t n)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33) % n;
}

/* A tokenizer of a few letters and random merges: parts may be made by later merges, and several merges may make one token. */
static struct tok *random_tokenizer(int letters, int merges)
{
    static char names[400][64];
    struct sbuf b, m;
    struct tok_image im;
    struct tok *t;
    struct err e = {0};
    int n = 0, listed = 0;
    sbuf_init(&b, 1 << 20);
    sbuf_init(&m, 1 << 20);
    sbuf_adds(&b, "{\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false},\"model\":{\"type\":\"BPE\",\"vocab\":{");
    for (; n < letters; n++) {
        snprintf(names[n], sizeof names[n], "%c", 'a' + n);
        sbuf_addf(&b, "%s\"%s\":%d", n ? "," : "", names[n], n);
    }
    for (int k = 0; k < merges; k++) {
        int x = (int)rnd((uint32_t)n), y = (int)rnd((uint32_t)n), made = -1;
        char both[130];
        snprintf(both, sizeof both, "%s%s", names[x], names[y]);
        if (strlen(both) > 40)
            continue;
        for (int i = 0; i < n; i++)
            made = strcmp(names[i], both) ? made : i;
        if (made < 0) {
            snprintf(names[n], sizeof names[n], "%.60s", both);
            sbuf_addf(&b, ",\"%s\":%d", both, n++);
        }
        /* in front or behind: ranks in no order at all */
        if (rnd(2)) {
            sbuf_addf(&m, "%s\"%s %s\"", listed ? "," : "", names[x], names[y]);
        } else {
            struct sbuf front;
            sbuf_init(&front, 1 << 20);
            sbuf_addf(&front, "\"%s %s\"%s", names[x], names[y], listed ? "," : "");
            sbuf_add(&front, sbuf_str(&m));
            sbuf_release(&m);
            m = front;
        }
        listed = 1;
    }
    sbuf_addf(&b, "},\"merges\":[%s]}}", m.p ? m.p : "");
    if (tok_build_json(sbuf_str(&b), "random", &im, &e) != ERR_OK || tok_from_image(&im, "random", NULL, &t, &e) != ERR_OK)
        fail_msg("%s", e.msg);
    sbuf_release(&b);
    sbuf_release(&m);
    return t;
}

static int64_t plain_rule(const struct tok *t, const char *p, int64_t n, uint32_t *id)
{
    for (int64_t i = 0; i < n; i++)
        id[i] = t->im.byte_id[(unsigned char)p[i]];
    for (;;) {
        uint32_t best = TOK_NONE;
        int64_t at = -1;
        for (int64_t i = 0; i + 1 < n; i++) {
            uint32_t r = tok_pair_rank(&t->im, id[i], id[i + 1]);
            if (r < best)
                best = r, at = i;
        }
        if (at < 0)
            return n;
        id[at] = t->im.made[best];
        memmove(id + at + 1, id + at + 2, (size_t)(n - at - 2) * sizeof *id);
        n--;
    }
}

static void words_follow_the_rule(void **unused)
{
    enum { MAX = 1500 };
    static char word[MAX];
    static uint32_t want[MAX];
    int chunked = 0;
    (void)unused;
    for (int v = 0; v < 150; v++) {
        int letters = 1 + (int)rnd(4);
        struct tok *t = random_tokenizer(letters, 3 + (int)rnd(100));
        struct bpe_scratch s = {0}; /* what it comes to know is of this tokenizer */
        for (int k = 0; k < 12; k++) {
            int64_t n = 1 + rnd(k < 8 ? 200 : MAX - 1);
            int run = 1 + (int)rnd(60);
            for (int64_t i = 0; i < n; i++)
                word[i] = i && rnd((uint32_t)run) ? word[i - 1] : (char)('a' + rnd((uint32_t)letters));
            bpe_word(t, (struct str){word, n}, &s);
            int64_t m = plain_rule(t, word, n, want), same = m == s.n;
            for (int64_t i = 0; same && i < m; i++)
                same = want[i] == s.sym[i].id;
            if (!same)
                fail_msg("vocabulary %d, word of %lld letters: %lld tokens, not %lld", v, (long long)n, (long long)s.n, (long long)m);
            int64_t bytes = 0;
            for (int64_t i = 0; i < m; i++)
                bytes += s.sym[i].len;
            assert_int_equal(bytes, n);
            chunked += n > 150;
        }
        bpe_release(&s);
        tok_free(t);
    }
    assert_true(chunked > 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(words_follow_the_rule)};
    setenv("HONE_CACHE", "", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
