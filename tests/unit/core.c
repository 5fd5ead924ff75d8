/* Catches: a container or parser of core/ that everything else trusts going wrong at its edges. */
#include "core/arena.h"
#include "core/fault.h"
#include "core/file.h"
#include "core/hash.h"
#include "core/json.h"
#include "core/opt.h"
#include "core/par.h"
#include "core/rng.h"
#include "core/str.h"
#include "tests/test.h"

static void test_err(void **state)
{
    (void)state;
    struct err e = {0};
    assert_int_equal(err_set(&e, ERR_IO, "cannot open '%s'", "x"), ERR_IO);
    err_ctx(&e, "step %d", 12);
    assert_string_equal(e.msg, "step 12: cannot open 'x'");
    assert_int_equal(err_exit(ERR_CANCELLED), 130);
}

static void test_str(void **state)
{
    (void)state;
    int64_t i;
    double d;
    assert_true(str_to_i64(STR("-9223372036854775808"), &i) && i == INT64_MIN);
    assert_false(str_to_i64(STR("9223372036854775808"), &i));
    assert_false(str_to_i64(STR(""), &i) || str_to_i64(STR("-"), &i) || str_to_i64(STR("1 "), &i));
    assert_true(str_to_f64(STR("0x1.8p-3"), &d) && d == 0.1875);
    assert_int_equal(str_find(STR("abcabc"), STR("ca"), 0), 2);
    assert_int_equal(str_rfind(STR("abcabc"), STR("abc")), 3);
    assert_int_equal(str_distance(STR("group_size"), STR("grup_size")), 1);
    assert_true(str_distance(STR("sft"), STR("ckpt")) >= str_far(STR("sft"))); /* three letters of four changed: no help */
    struct str rest = STR("a,,b"), piece;
    int n = 0;
    while (str_split(&rest, ',', &piece))
        n++;
    assert_int_equal(n, 3);
    assert_int_equal(utf8_check(STR("h\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80")), -1);
    assert_int_equal(utf8_check(STR("a\xED\xA0\x80")), 1); /* surrogate */
    assert_int_equal(utf8_check(STR("a\xC0\x80")), 1);     /* over-long */
    assert_int_equal(utf8_check(STR("a\xF4\x90\x80\x80")), 1);
    for (uint32_t cp = 0; cp <= 0x10FFFF; cp++) {
        char b[4];
        uint32_t back;
        int len = utf8_encode(cp, b);
        int got = utf8_decode((struct str){b, len}, 0, &back);
        assert_true(cp >= 0xD800 && cp < 0xE000 ? got == 0 : got == len && back == cp);
    }
}

static void test_sbuf_limit(void **state)
{
    (void)state;
    struct sbuf b;
    sbuf_init(&b, 5);
    sbuf_adds(&b, "abc");
    sbuf_adds(&b, "def");
    assert_true(b.full);
    assert_int_equal(b.n, 3);
    sbuf_release(&b);
}

static void test_arena(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, "test", 1 << 20);
    char *p = ARENA_NEW(&a, char, 1000);
    assert_int_equal((uintptr_t)p % 64, 0);
    memset(p, 1, 1000);
    arena_reset(&a);
    char *again = ARENA_NEW(&a, char, 1000);
    assert_ptr_equal(p, again);
    assert_int_equal(again[999], 0);
    assert_null(arena_try(&a, 1 << 20, 1));
    assert_null(arena_try(&a, INT64_MAX, 8));
    arena_release(&a);
}

static void test_philox(void **state)
{
    (void)state;
    /* Random123's known-answer vectors for philox4x32-10 */
    uint32_t out[4], ones[4] = {~0u, ~0u, ~0u, ~0u}, zero[4] = {0};
    rng_philox(out, zero, zero);
    assert_int_equal(out[0], 0x6627e8d5);
    rng_philox(out, ones, ones);
    assert_int_equal(out[0], 0x408f276d);
    assert_int_equal(out[1], 0x41c83b0e);
    uint32_t pi[4] = {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, key[2] = {0xa4093822, 0x299f31d0};
    rng_philox(out, pi, key);
    assert_int_equal(out[0], 0xd16cfe09);
    assert_int_equal(out[1], 0x94fdcceb);
    assert_int_equal(out[2], 0x5001e420);
    assert_int_equal(out[3], 0x24126ea1);
}

static void test_rng_numbers(void **state)
{
    (void)state;
    double sum = 0, sq = 0;
    int64_t n = 20000, p[100], seen = 0;
    for (int64_t i = 0; i < n; i++) {
        double x = rng_normal(7, RNG_TEST, 1, 2, (uint64_t)i);
        sum += x;
        sq += x * x;
        assert_true(rng_below(10, 7, RNG_TEST, 0, 0, (uint64_t)i) < 10);
    }
    /* 5 standard errors */
    assert_true(sum / n < 0.0354 && sum / n > -0.0354);
    assert_true(sq / n < 1.05 && sq / n > 0.95);
    rng_permutation(p, 100, 7, RNG_TEST, 0);
    for (int i = 0; i < 100; i++)
        seen += p[i];
    assert_int_equal(seen, 4950);
    assert_true(num_log(2.0) > 0.69314718055994 && num_log(2.0) < 0.69314718055995);
}

static void test_hash(void **state)
{
    (void)state;
    char hex[33];
    hash_hex(hash_bytes("", 0), hex);
    assert_string_equal(hex, "99aa06d3014798d86001c324468d497f"); /* XXH3-128 of nothing, seed 0 */
    struct hash_state *a = hash_open(), *b = hash_open();
    hash_field(a, "ab", 2), hash_field(a, "c", 1);
    hash_field(b, "a", 1), hash_field(b, "bc", 2);
    assert_false(hash_eq(hash_close(a), hash_close(b)));
}

static void test_files_and_faults(void **state)
{
    (void)state;
    struct err e = {0};
    struct sbuf b;
    char dir[] = "/tmp/hone-test-XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/a/b/c", dir);
    assert_int_equal(file_mkdirs(path, &e), ERR_OK);
    snprintf(path, sizeof path, "%s/a/f", dir);
    assert_int_equal(file_write_atomic(path, STR("old"), &e), ERR_OK);
    static const char *const points[] = {"write:1", "sync:1", "rename:1"};
    for (int i = 0; i < 3; i++) {
        fault_set(points[i]);
        assert_int_equal(file_write_atomic(path, STR("new"), &e), ERR_IO);
        fault_set(NULL);
        sbuf_init(&b, 100);
        assert_int_equal(file_read(path, &b, &e), ERR_OK);
        assert_true(str_eq(sbuf_str(&b), STR("old")));
        sbuf_release(&b);
    }
    sbuf_init(&b, 2);
    assert_int_equal(file_read(path, &b, &e), ERR_LIMIT);
    sbuf_release(&b);
    assert_int_equal(file_remove_tree(dir, &e), ERR_OK);
    assert_false(file_exists(dir));
}

static void test_json(void **state)
{
    (void)state;
    struct sbuf b;
    sbuf_init(&b, 1000);
    json_put_str(&b, STR("a\"\\\n\x01\xC3\xA9\xFFz"));
    assert_string_equal(b.p, "\"a\\\"\\\\\\n\\u0001\xC3\xA9\xEF\xBF\xBDz\"");
    sbuf_clear(&b);
    json_put_hex(&b, 0.1875);
    assert_string_equal(b.p, "\"0x1.8p-3\"");
    sbuf_release(&b);
}

struct values {
    int64_t steps;
    double lr;
    int on;
    const char *mode;
};

static void test_options(void **state)
{
    (void)state;
    static const struct opt_def defs[] = {
        {"train", "steps", OPT_INT, offsetof(struct values, steps), "10", 1, 100, NULL, "steps"},
        {"train", "lr", OPT_NUM, offsetof(struct values, lr), "1e-3", 0, 1, NULL, "rate"},
        {"", "on", OPT_BOOL, offsetof(struct values, on), "false", 0, 0, NULL, "switch"},
        {"", "mode", OPT_ENUM, offsetof(struct values, mode), "a", 0, 0, "a|b", "mode"},
    };
    struct arena a;
    struct values v;
    struct opt_set s;
    struct err e = {0};
    arena_init(&a, "test", 1 << 16);
    opt_init(&s, defs, 4, &v, &a);
    assert_int_equal(v.steps, 10);
    assert_int_equal(opt_put(&s, STR("train.step"), STR("1"), "f.lua:3", &e), ERR_USAGE);
    assert_string_equal(e.msg, "f.lua:3: unknown option 'train.step', did you mean 'train.steps'?");
    assert_int_equal(opt_put(&s, STR("train.steps"), STR("101"), "f.lua:3", &e), ERR_USAGE);
    assert_string_equal(e.msg, "f.lua:3: train.steps must be in [1, 100], got 101");
    assert_int_equal(opt_put(&s, STR("train.lr"), STR("0.2x"), "f.lua:3", &e), ERR_USAGE);
    assert_int_equal(v.steps, 10);
    char a0[] = "--on", a1[] = "word", a2[] = "--mode=b", *argv[] = {a0, a1, a2};
    int words, help;
    assert_int_equal(opt_flags(&s, 3, argv, &words, &help, &e), ERR_OK);
    assert_true(v.on && words == 1 && !strcmp(v.mode, "b") && !strcmp(argv[0], "word"));
    arena_release(&a);
}

static void add_one(void *ctx, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    for (int64_t i = begin; i < end; i++)
        ((int *)ctx)[i]++;
}

static void test_par_runs_each_index_once(void **state)
{
    (void)state;
    static int hits[10007];
    for (int threads = 1; threads <= 4; threads++) {
        par_init(threads);
        for (int round = 0; round < 200; round++)
            par_for(10007, 1 + round * 7, add_one, hits);
    }
    par_init(0);
    for (int i = 0; i < 10007; i++)
        assert_int_equal(hits[i], 800);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_err),        cmocka_unit_test(test_str),         cmocka_unit_test(test_sbuf_limit),
        cmocka_unit_test(test_arena),      cmocka_unit_test(test_philox),      cmocka_unit_test(test_rng_numbers),
        cmocka_unit_test(test_hash),       cmocka_unit_test(test_files_and_faults),
        cmocka_unit_test(test_json),       cmocka_unit_test(test_options),     cmocka_unit_test(test_par_runs_each_index_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
