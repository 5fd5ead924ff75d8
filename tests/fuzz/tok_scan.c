/* Scanners against the general engine: the first byte chooses the scanner (HONE_FUZZ_SCANNER=1..9: always this one) and the way to
 * read blocks, the rest is the text. Catches any piece that ends elsewhere than the pattern says, and reads past the text. */
#include "tests/tok_stages.h"
#include "text/tok_block.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct stages st;

static void close_stages(void) /* what an arena points at looks lost to a leak checker */
{
    stages_release(&st);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int ready;
    if (!ready) {
        stages_open(&st);
        ready = atexit(close_stages) == 0;
    }
    if (size < 2 || size > 1 << 16)
        return 0;
    const char *one = getenv("HONE_FUZZ_SCANNER");
    int which = one ? atoi(one) - 1 : data[0];
    enum tok_scanner s = (enum tok_scanner)(1 + which % (TOK_N_SCANNERS - 1));
    tok_block_take((enum tok_block_way)((data[0] >> 4) % (tok_block_way() + 1)));
    struct sbuf b;
    sbuf_init(&b, 1 << 20);
    tok_utf8_replace((struct str){(const char *)data + 1, (int64_t)size - 1}, &b);
    char *exact = malloc((size_t)b.n); /* ends where the text ends: a read behind it is seen */
    memcpy(exact, b.p, (size_t)b.n);
    int64_t k = stages_differ(&st, s, (struct str){exact, b.n}, data[0] % 4 ? STAGES_BATCH : 1 + data[0] / 4);
    if (k >= 0) {
        fprintf(stderr, "scanner %d differs at piece %lld of '%.*s'\n", (int)s, (long long)k, STR_ARG(sbuf_str(&b)));
        abort();
    }
    free(exact);
    sbuf_release(&b);
    return 0;
}
