/* Catches: the math verifier taking memory outside its arena, more stack than a small thread has, or giving a verdict or a
 * reason that depends on the locale, the thread, the order of calls or what the checker was asked before. */
#include <locale.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/err.h"
#include "core/file.h"
#include "core/hash.h"
#include "rewards/rewards.h"
#include "tests/test.h"
#include "tests/unit/math_pairs.h"

/* ---- allocations: every malloc of the process is counted ---- */

static int64_t allocations;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
int __sanitizer_install_malloc_and_free_hooks(void (*malloc_hook)(const volatile void *, size_t), void (*free_hook)(const volatile void *));
static void on_malloc(const volatile void *p, size_t n)
{
    (void)p;
    (void)n;
    __atomic_fetch_add(&allocations, 1, __ATOMIC_RELAXED);
}
static void on_free(const volatile void *p)
{
    (void)p;
}
static void count_allocations(void)
{
    __sanitizer_install_malloc_and_free_hooks(on_malloc, on_free);
}
#else
#define SANITIZED 0
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);
void *malloc(size_t n)
{
    __atomic_fetch_add(&allocations, 1, __ATOMIC_RELAXED);
    return __libc_malloc(n);
}
void *calloc(size_t n, size_t size)
{
    __atomic_fetch_add(&allocations, 1, __ATOMIC_RELAXED);
    return __libc_calloc(n, size);
}
void *realloc(void *p, size_t n)
{
    __atomic_fetch_add(&allocations, 1, __ATOMIC_RELAXED);
    return __libc_realloc(p, n);
}
void *aligned_alloc(size_t align, size_t n)
{
    __atomic_fetch_add(&allocations, 1, __ATOMIC_RELAXED);
    return __libc_memalign(align, n);
}
static void count_allocations(void)
{
}
#endif

/* ---- inputs: the pairs, and shapes that nest, chain or repeat ---- */

static const struct {
    const char *open, *mid, *close;
} shapes[] = {
    {"(", "x", ")"}, {"[", "1,2", "]"}, {"{", "x", "}"}, {"\\{", "1", "\\}"}, {"\\frac{1}{1+", "\\sqrt2", "}"}, {"\\frac{x}{1-", "y", "}"}, {"\\sqrt{2+", "\\sqrt2", "}"}, {"\\sqrt{x+", "1", "}"},
    {"|", "x", "|"}, {"\\left|", "x-1", "\\right|"}, {"\\sin(", "x", ")"}, {"\\ln(1+", "\\pi", ")"}, {"2^{", "x", "}"}, {"x^{-", "x", "}"}, {"(", "x", "+1)!"}, {"(", "x", "!)"}, {"", "x", "!"}, {"(", "x", "!!!!!!!!!!!!!!!!!!!!!!!!)"},
    {"", "x", "%"}, {"-", "x", ""}, {"-(", "x", ")"}, {"\\frac-", "12", ""}, {"1+", "x", ""}, {"x\\cdot ", "y", ""}, {"1 m ", "2 s", ""}, {"2 hours 3 minutes ", "4 s", ""}, {"(1,", "2", ")"}, {"(1,(2,", "3", "))"},
    {"((0,1)\\cup ", "(2,3)", ")"}, {"(\\mathbb{R}\\setminus ", "(2,3)", ")"}, {"x\\in(", "0,1", ")"}, {"x<", "1", ""}, {"\\begin{pmatrix}", "1", "\\end{pmatrix}"}, {"\\begin{pmatrix}1&2\\\\3&", "4", "\\end{pmatrix}"},
    {"f(", "x", ")"}, {"\\binom{", "x", "}{2}"}, {"\\sqrt[3]{1+", "x", "}"}, {"\\log_{", "2", "}3"}, {"\\max(1,", "x", ")"}, {"\\lfloor ", "\\pi", "\\rfloor"}, {"\\sum_{k=1}^{n}(", "k", ")"}, {"\\int ", "x", " dx"},
    {"\\pm ", "1", ""}, {"(\\pm 1+", "2", ")"}, {"\\text{", "a", "}"}, {"\\vec{", "a", "}"}, {"\\{x\\mid x>", "1", "\\}"}, {"1 \\text{ if } ", "x>2", ""}, {"a (", "b", ")"}, {"x = ", "3", ""}, {"\\boxed{", "3", "}"}, {"\\angle ", "A", ""},
    {"e^{i", "\\pi", "}"}, {"(1+i)^{", "2", "}"}, {"\\arctan(", "x", ")"}, {"\\frac{1}{", "2", "}!"}, {"{1 \\over 1+", "x", "}"}, {"a_{", "1", "}"}, {"7 \\pmod{", "12", "}"}, {"1:", "2", ""}, {"]0,", "1", "["}, {"9^{", "9", "}"},
    {"C_{5}^{", "2", "}"}, {"\\overline{", "AB", "}"}, {"3 \\frac{1}{", "2", "}"}, {"\\tan^{-1}(", "x", ")"}, {"\\gcd(2,", "4", ")"}, {"(x+", "1", ")^{40}"}, {"\\sqrt", "2", ""}, {"\\sin", "x", ""}, {"1 or ", "2", ""}, {"x>1, ", "2", ""},
};
static const int counts[] = {1, 3, 8, 20, 40, 79, 80, 119, 120, 121, 159, 160, 200, 239, 240, 300, 479, 481, 1500, 5999, 20000};

static struct sbuf nest(size_t shape, int n, const char *tail)
{
    struct sbuf b;
    sbuf_init(&b, 1 << 22);
    for (int k = 0; k < n; k++)
        sbuf_adds(&b, shapes[shape].open);
    sbuf_adds(&b, shapes[shape].mid);
    for (int k = 0; k < n; k++)
        sbuf_adds(&b, shapes[shape].close);
    sbuf_adds(&b, tail);
    return b;
}

static uint64_t hash64(const void *p, int64_t n, uint64_t h)
{
    struct hash128 x = hash_bytes(p, n);
    return (h * 0x9E3779B97F4A7C15ull + x.hi) ^ x.lo ^ (uint64_t)n << 40;
}

/* Everything a caller can see. */
static uint64_t seen(struct math_checker *m, struct str gold, struct str pred, enum math_form form)
{
    struct math_question q = {.gold = gold, .pred = pred, .gold_form = MATH_ANSWER, .pred_form = form, .explain = 1};
    struct math_opts o = MATH_OPTS_DEFAULT;
    struct math_result r;
    math_check(m, &q, &o, &r);
    uint64_t h = hash64(r.why, (int64_t)strlen(r.why), (uint64_t)r.outcome);
    h = hash64(r.rule, (int64_t)strlen(r.rule), h);
    h = hash64(r.extracted.p ? r.extracted.p : "", r.extracted.n, h);
    h = hash64(r.gold_parsed.p, r.gold_parsed.n, h);
    h = hash64(r.pred_parsed.p, r.pred_parsed.n, h);
    return hash64((const char *)&r.work, sizeof r.work, h);
}

enum { RIGHT_N = sizeof right / sizeof *right, WRONG_N = sizeof wrong / sizeof *wrong, RESPONSES_N = sizeof responses / sizeof *responses, PAIRS = RIGHT_N + WRONG_N + RESPONSES_N };

static uint64_t seen_pair(struct math_checker *m, int i)
{
    if (i >= RIGHT_N + WRONG_N)
        return seen(m, str_of(responses[i - RIGHT_N - WRONG_N].gold), str_of(responses[i - RIGHT_N - WRONG_N].text), MATH_RESPONSE);
    const struct pair *p = i < RIGHT_N ? &right[i] : &wrong[i - RIGHT_N];
    return seen(m, str_of(p->gold), str_of(p->pred), i % 3 ? MATH_ANSWER : MATH_RESPONSE);
}

/* ---- the tests ---- */

static void no_allocation_outside_the_arena(void **state)
{
    (void)state;
    struct math_checker *m = math_open();
    enum { N_COUNTS = 12 };
    struct sbuf text[sizeof shapes / sizeof *shapes][N_COUNTS];
    struct sbuf big;
    sbuf_init(&big, 1 << 20);
    for (int i = 0; i < 20000; i++) /* numbers of many limbs: GMP's scratch must stay off the heap */
        sbuf_addc(&big, (char)('1' + i % 9));
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int c = 0; c < N_COUNTS; c++)
            text[s][c] = nest(s, counts[c], "+1");
    int64_t before = __atomic_load_n(&allocations, __ATOMIC_RELAXED), checks = 0;
    for (int i = 0; i < PAIRS; i++, checks++)
        seen_pair(m, i);
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int c = 0; c < N_COUNTS; c++, checks += 2) {
            seen(m, STR("x+17"), sbuf_str(&text[s][c]), MATH_RESPONSE);
            seen(m, sbuf_str(&text[s][c]), sbuf_str(&text[s][c ? c - 1 : c]), MATH_ANSWER);
        }
    static const char *const heavy[][2] = {{"5999!", "5999!+1"}, {"2^{65000}", "2^{65000}+1"}, {"3^{20000}/7^{10000}", "3^{20000}/7^{9999}"}, {"\\sqrt{10^{7000}}", "10^{3500}"}, {"\\binom{40000}{20000}", "1"},
                                           {"\\sqrt{3^{20001}}", "1"}, {"(1+\\sqrt2)^{4000}", "2"}, {"\\frac{1}{3^{9000}+1}-\\frac{1}{5^{9000}+2}", "0"}, {"\\log_{2}(2^{60000})", "60000"}};
    for (size_t i = 0; i < sizeof heavy / sizeof *heavy; i++, checks++)
        seen(m, str_of(heavy[i][0]), str_of(heavy[i][1]), MATH_ANSWER);
    for (int64_t n = 1000; n <= 20000; n += 1000, checks += 2) {
        seen(m, sbuf_str(&big), str_sub(sbuf_str(&big), 0, n), MATH_ANSWER);
        struct str part = str_sub(sbuf_str(&big), 0, n);
        seen(m, part, part, MATH_RESPONSE);
    }
    int64_t taken = __atomic_load_n(&allocations, __ATOMIC_RELAXED) - before;
    printf("%lld checks, %lld allocations\n", (long long)checks, (long long)taken);
    assert_int_equal(taken, 0);
    assert_true(before > 0); /* the counter counts */
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int c = 0; c < N_COUNTS; c++)
            sbuf_release(&text[s][c]);
    sbuf_release(&big);
    math_close(m);
}

enum { STACK = SANITIZED ? 16 << 20 : 256 << 10, STACK_ALLOWED = 192 << 10, PAINT = 0x5A };

struct probe {
    struct math_checker *m;
    struct str gold, pred;
    enum math_form form;
};

static void *probe_run(void *ctx)
{
    struct probe *p = ctx;
    seen(p->m, p->gold, p->pred, p->form);
    return NULL;
}

/* Bytes of its stack that one check touches, the thread's own beginnings included. */
static int64_t stack_of(char *stack, struct probe *p)
{
    pthread_attr_t a;
    pthread_t t;
    int64_t i = 0;
    if (!SANITIZED) /* a sanitizer's frames say nothing about the stack: there the checks only have to end */
        memset(stack, PAINT, STACK);
    pthread_attr_init(&a);
    assert_int_equal(pthread_attr_setstack(&a, stack, STACK), 0);
    assert_int_equal(pthread_create(&t, &a, probe_run, p), 0);
    pthread_join(t, NULL);
    pthread_attr_destroy(&a);
    while (!SANITIZED && i < STACK && stack[i] == PAINT)
        i++;
    return SANITIZED ? 0 : STACK - i;
}

static void stack_is_small(void **state)
{
    (void)state;
    char *all = mmap(NULL, STACK + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *stack = all + 4096;
    assert_true(all != MAP_FAILED);
    assert_int_equal(mprotect(all, 4096, PROT_NONE), 0);
    struct probe p = {.m = math_open()};
    int64_t worst = 0;
    size_t at = 0;
    int at_n = 0;
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (size_t c = 0; c < sizeof counts / sizeof *counts; c += SANITIZED ? 3 : 1) {
            struct sbuf g = nest(s, counts[c], ""), h = nest(s, counts[c], "+0");
            for (int form = 0; form < 3; form++) {
                p.gold = form == 1 ? STR("x+\\sqrt2") : sbuf_str(&g);
                p.pred = sbuf_str(&h);
                p.form = form == 1 ? MATH_RESPONSE : MATH_ANSWER;
                if (form == 2)
                    p.pred = sbuf_str(&g);
                int64_t used = stack_of(stack, &p);
                if (used > worst) {
                    worst = used;
                    at = s;
                    at_n = counts[c];
                }
            }
            sbuf_release(&g);
            sbuf_release(&h);
        }
    if (!SANITIZED) {
        printf("stack: %lld KB at most (%d times '%s%s')\n", (long long)(worst >> 10), at_n, shapes[at].open, shapes[at].close);
        assert_true(worst > 2048);
        assert_true(worst <= STACK_ALLOWED);
    }
    math_close(p.m);
    munmap(all, STACK + 4096);
}

static uint64_t first[PAIRS];

static void repetition_and_order_change_nothing(void **state)
{
    (void)state;
    struct math_checker *m = math_open();
    for (int i = 0; i < PAIRS; i++)
        first[i] = seen_pair(m, i);
    for (int i = PAIRS - 1; i >= 0; i--) /* the other way round, by a checker that has seen much */
        assert_true(seen_pair(m, i) == first[i]);
    for (int i = 0; i < PAIRS; i += 7) { /* by a new one each */
        struct math_checker *fresh = math_open();
        assert_true(seen_pair(fresh, i) == first[i]);
        assert_true(seen_pair(fresh, i) == first[i]);
        math_close(fresh);
    }
    math_close(m);
}

static int differ;

static void *all_pairs(void *ctx)
{
    struct math_checker *m = math_open();
    int from = (int)(intptr_t)ctx * 37;
    for (int i = 0; i < PAIRS; i++)
        if (seen_pair(m, (i + from) % PAIRS) != first[(i + from) % PAIRS])
            __atomic_store_n(&differ, 1, __ATOMIC_RELAXED);
    math_close(m);
    return NULL;
}

static void threads_change_nothing(void **state)
{
    (void)state;
    enum { THREADS = 6 };
    pthread_t t[THREADS];
    for (intptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, all_pairs, (void *)i), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    assert_int_equal(differ, 0);
}

/* With a decimal comma, with Turkish letters (i is no I), with another decimal point of two bytes. */
static void locales_change_nothing(void **state)
{
    (void)state;
    static const char *const names[] = {"de_DE", "tr_TR", "ps_AF"};
    char dir[] = "/tmp/hone-locale-XXXXXX", cmd[300];
    assert_non_null(mkdtemp(dir));
    setenv("LOCPATH", dir, 1);
    struct math_checker *m = math_open();
    int tried = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char loc[64];
        snprintf(loc, sizeof loc, "%s.UTF-8", names[i]);
        snprintf(cmd, sizeof cmd, "localedef -i %s -f UTF-8 %s/%s >/dev/null 2>&1", names[i], dir, loc);
        if (system(cmd) || !setlocale(LC_ALL, loc)) {
            printf("skip: the locale %s cannot be made here\n", loc);
            continue;
        }
        char text[16];
        snprintf(text, sizeof text, "%.1f", 0.5);
        assert_string_not_equal(text, "0.5"); /* it is in force */
        for (int k = 0; k < PAIRS; k++)
            if (seen_pair(m, k) != first[k])
                fail_msg("%s changes the answer to pair %d", loc, k);
        setlocale(LC_ALL, "C");
        tried++;
    }
    printf("%d locales tried\n", tried);
    math_close(m);
    struct err e = {0};
    file_remove_tree(dir, &e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_allocation_outside_the_arena),
        cmocka_unit_test(stack_is_small),
        cmocka_unit_test(repetition_and_order_change_nothing),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(locales_change_nothing),
    };
    count_allocations();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
