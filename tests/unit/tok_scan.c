/* Scanners. Fails when a hand-written scanner cuts any random text elsewhere than the general engine with the pattern. */
#include <time.h>

#include "tests/test.h"
#include "tests/tok_stages.h"
#include "text/tok_block.h"

static uint64_t state = 88172645463325252u;

static uint32_t rnd(uint32_t n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 33) % n;
}

/* Characters that matter to the patterns, then any. */
static uint32_t character(void)
{
    static const uint32_t special[] = {' ', ' ', '\n', '\r', '\t', '\'', '\'', 's', 'S', 't', 'r', 'e', 'l', 'v', 'd', 'm', '/', '!', '.', '$', '0', '9', 'A', 'z', 0x17F, 0x212A,
                                       0xA0, 0x2003, 0x3000, 0x85, 0x2028, 0x200B, 0xFEFF, 0x301, 0x300, 0x903, 0x20DD, 0x4E2D, 0x9FA5, 0x9FA6, 0x3041, 0x3040, 0x30FF, 0x3100,
                                       0x3005, 0x3007, 0x30FB, 0x309B, 0x30A0, 0x2E80, 0x1C5, 0x1C4, 0x1C6, 0x2B0, 0x5D0, 0x661, 0x2160, 0xB2, 0xBD, 0x2460, 0x1F600, 0x1D400, 0x20000, 0x378, 0xE000, 0,
                                       0x7F, 0x1C, 0x180E, 0xAD, 0xFFFD, 0x10FFFF, 0x1E900, 0xA7CB};
    uint32_t k = rnd(10), c;
    if (k < 5)
        return special[rnd(sizeof special / sizeof *special)];
    if (k < 8)
        return 32 + rnd(95);
    do
        c = k == 8 ? rnd(0x3000) : rnd(0x110000);
    while (c >= 0xD800 && c < 0xE000);
    return c;
}

/* ASCII, nearly all: what blocks are for. few: as many different characters, so that rare neighbours meet. */
static uint32_t plain_character(uint32_t few)
{
    static const char often[] = " \n\r\t's.,aAzZ019/'tredlvmLS\x0b\x01(";
    if (rnd(300) == 0)
        return character();
    return rnd(3) ? (unsigned char)often[rnd(few < sizeof often - 1 ? few : sizeof often - 1)] : few < 20 ? ' ' + rnd(2) * 'A' : rnd(128);
}

static int64_t random_text(char *out, int64_t max)
{
    int64_t n = 0;
    int plain = rnd(2) == 0;
    uint32_t few = 2 + rnd(40);
    int64_t want = plain ? 64 + rnd(500) : 1 + rnd(rnd(8) ? 24 : (uint32_t)max - 300);
    while (n < want) {
        uint32_t c = plain ? plain_character(few) : character();
        int repeat = rnd(4) ? 1 : (int)(1 + rnd(rnd(8) ? 4 : 70));
        for (int i = 0; i < repeat && n + 4 < max; i++)
            n += utf8_encode(c, out + n);
    }
    return n;
}

static void scanners_equal_patterns(void **unused)
{
    enum { MAX = 1200 };
    static struct stages st;
    static char buf[MAX];
    const char *seconds = getenv("HONE_FUZZ_S");
    double stop = (double)time(NULL) + (seconds ? atof(seconds) : 5);
    int64_t texts = 0;
    (void)unused;
    if (seconds)
        state ^= (uint64_t)time(NULL) * 0x9E3779B97F4A7C15u;
    stages_open(&st);
    while ((double)time(NULL) < stop || texts < 1000) {
        int64_t n = random_text(buf, MAX);
        char *exact = malloc((size_t)n);
        memcpy(exact, buf, (size_t)n);
        tok_block_take((enum tok_block_way)rnd((uint32_t)tok_block_way() + 1));
        for (int s = TOK_SCAN_NONE + 1; s < TOK_N_SCANNERS; s++) {
            int64_t k = stages_differ(&st, (enum tok_scanner)s, (struct str){exact, n}, 1 + (int)rnd(rnd(4) ? STAGES_BATCH : 64));
            if (k >= 0) {
                int64_t b = k ? st.w.cut[k - 1].b : 0, e = k < st.w.n_cuts ? st.w.cut[k].e : n;
                for (int64_t i = b; i < n && i < e + 12; i++)
                    fprintf(stderr, "%s%02x", i == st.w.cut[k].b ? " | " : i == e ? " | " : " ", (unsigned char)buf[i]);
                fprintf(stderr, "\n");
                fail_msg("scanner %d differs at piece %lld, byte %lld of %lld", s, (long long)k, (long long)st.w.cut[k].b, (long long)n);
            }
        }
        free(exact);
        texts++;
    }
    tok_block_take(tok_block_way());
    printf("%lld texts, each by %d scanners, %d of %d ways to read blocks\n", (long long)texts, TOK_N_SCANNERS - 1, tok_block_way() + 1, TOK_N_BLOCK_WAYS);
    stages_release(&st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(scanners_equal_patterns)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
