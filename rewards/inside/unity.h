/* The assertions of C unit tests in Unity's spelling. Results go out on a descriptor of their own, one record per
 * test; the tests share a process with the program, so what they say is marked as weak. */
#ifndef HONE_UNITY_H
#define HONE_UNITY_H

#include <math.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
/* not unistd.h: programs have functions called read and write */
extern long __write(int, const void *, unsigned long);
extern void _Exit(int);

void setUp(void);
void tearDown(void);

static jmp_buf hone_unity_jump;
static int hone_unity_state; /* 0 passed so far, 1 failed, 2 ignored */
static int hone_unity_tests, hone_unity_failures;

__attribute__((unused)) static void hone_unity_stop(int state)
{
    if (hone_unity_state != 1)
        hone_unity_state = state;
    (longjmp)(hone_unity_jump, 1);
}

__attribute__((unused)) static void hone_unity_run(void (*test)(void))
{
    char how;
    hone_unity_state = 0;
    hone_unity_tests++;
    if (!setjmp(hone_unity_jump)) {
        setUp();
        test();
    }
    if (!setjmp(hone_unity_jump))
        tearDown();
    how = "PFI"[hone_unity_state];
    hone_unity_failures += hone_unity_state == 1;
    if (__write(5, &how, 1) != 1)
        _Exit(97);
}

__attribute__((unused)) static int hone_unity_end(void)
{
    char end = 'E';
    return __write(5, &end, 1) != 1 || hone_unity_failures ? 1 : 0;
}

#define HONE_CHECK(x) do { if (!(x)) hone_unity_stop(1); } while (0)
#define HONE_INT(T, a, b) HONE_CHECK((T)(a) == (T)(b))
#define HONE_STR(a, b) HONE_CHECK(hone_unity_same((const char *)(a), (const char *)(b)))
#define HONE_EACH(T, a, b, n) do { for (size_t hone_i = 0; hone_i < (size_t)(n); hone_i++) HONE_CHECK(((const T *)(a))[hone_i] == ((const T *)(b))[hone_i]); } while (0)
#define HONE_NEAR(d, a, b) HONE_CHECK(fabs((double)(a) - (double)(b)) <= fabs((double)(d)))

__attribute__((unused)) static int hone_unity_same(const char *a, const char *b) { return a == b || (a && b && !strcmp(a, b)); }

#define UNITY_BEGIN() (hone_unity_tests = hone_unity_failures = 0)
#define UNITY_END() hone_unity_end()
#define RUN_TEST(f, ...) hone_unity_run(f)
#define TEST_FAIL() hone_unity_stop(1)
#define TEST_FAIL_MESSAGE(m) hone_unity_stop(1)
#define TEST_IGNORE() hone_unity_stop(2)
#define TEST_IGNORE_MESSAGE(m) hone_unity_stop(2)
#define TEST_PASS() hone_unity_stop(0)
#define TEST_PASS_MESSAGE(m) hone_unity_stop(0)
#define TEST_MESSAGE(m) ((void)(m))
#define TEST_PROTECT() (setjmp(hone_unity_jump) == 0)
#define TEST_ABORT() (longjmp)(hone_unity_jump, 1)

#define TEST_ASSERT(x) HONE_CHECK(x)
#define TEST_ASSERT_TRUE(x) HONE_CHECK(x)
#define TEST_ASSERT_UNLESS(x) HONE_CHECK(!(x))
#define TEST_ASSERT_FALSE(x) HONE_CHECK(!(x))
#define TEST_ASSERT_NULL(p) HONE_CHECK((p) == NULL)
#define TEST_ASSERT_NOT_NULL(p) HONE_CHECK((p) != NULL)
#define TEST_ASSERT_EQUAL(a, b) HONE_INT(intmax_t, a, b)
#define TEST_ASSERT_NOT_EQUAL(a, b) HONE_CHECK((intmax_t)(a) != (intmax_t)(b))
#define TEST_ASSERT_EQUAL_PTR(a, b) HONE_CHECK((const void *)(a) == (const void *)(b))
#define TEST_ASSERT_EQUAL_STRING(a, b) HONE_STR(a, b)
#define TEST_ASSERT_EQUAL_STRING_LEN(a, b, n) HONE_CHECK((a) && (b) && !strncmp((const char *)(a), (const char *)(b), (size_t)(n)))
#define TEST_ASSERT_EQUAL_MEMORY(a, b, n) HONE_CHECK(!memcmp((a), (b), (size_t)(n)))
#define TEST_ASSERT_EQUAL_STRING_ARRAY(a, b, n) do { for (size_t hone_i = 0; hone_i < (size_t)(n); hone_i++) HONE_STR((a)[hone_i], (b)[hone_i]); } while (0)
#define TEST_ASSERT_EQUAL_PTR_ARRAY(a, b, n) HONE_EACH(void *, a, b, n)
#define TEST_ASSERT_EQUAL_MEMORY_ARRAY(a, b, len, n) HONE_CHECK(!memcmp((a), (b), (size_t)(len) * (size_t)(n)))
#define TEST_ASSERT_BITS(mask, a, b) HONE_CHECK(((a) & (mask)) == ((b) & (mask)))
#define TEST_ASSERT_BIT_HIGH(bit, a) HONE_CHECK((a) >> (bit) & 1)
#define TEST_ASSERT_BIT_LOW(bit, a) HONE_CHECK(!((a) >> (bit) & 1))
#define TEST_ASSERT_GREATER_THAN(t, a) HONE_CHECK((intmax_t)(a) > (intmax_t)(t))
#define TEST_ASSERT_LESS_THAN(t, a) HONE_CHECK((intmax_t)(a) < (intmax_t)(t))
#define TEST_ASSERT_GREATER_OR_EQUAL(t, a) HONE_CHECK((intmax_t)(a) >= (intmax_t)(t))
#define TEST_ASSERT_LESS_OR_EQUAL(t, a) HONE_CHECK((intmax_t)(a) <= (intmax_t)(t))
#define TEST_ASSERT_GREATER_THAN_INT TEST_ASSERT_GREATER_THAN
#define TEST_ASSERT_LESS_THAN_INT TEST_ASSERT_LESS_THAN
#define TEST_ASSERT_INT_WITHIN(d, a, b) HONE_NEAR(d, a, b)
#define TEST_ASSERT_UINT_WITHIN(d, a, b) HONE_NEAR(d, a, b)
#define TEST_ASSERT_FLOAT_WITHIN(d, a, b) HONE_NEAR(d, a, b)
#define TEST_ASSERT_DOUBLE_WITHIN(d, a, b) HONE_NEAR(d, a, b)
#define TEST_ASSERT_EQUAL_FLOAT(a, b) HONE_NEAR(fabs((double)(a)) * 1e-5, a, b)
#define TEST_ASSERT_EQUAL_DOUBLE(a, b) HONE_NEAR(fabs((double)(a)) * 1e-12, a, b)
#define TEST_ASSERT_FLOAT_IS_NAN(a) HONE_CHECK(isnan(a))
#define TEST_ASSERT_FLOAT_IS_INF(a) HONE_CHECK(isinf(a))
#define TEST_ASSERT_EQUAL_FLOAT_ARRAY(a, b, n) do { for (size_t hone_i = 0; hone_i < (size_t)(n); hone_i++) TEST_ASSERT_EQUAL_FLOAT((a)[hone_i], (b)[hone_i]); } while (0)
#define TEST_ASSERT_EQUAL_DOUBLE_ARRAY(a, b, n) do { for (size_t hone_i = 0; hone_i < (size_t)(n); hone_i++) TEST_ASSERT_EQUAL_DOUBLE((a)[hone_i], (b)[hone_i]); } while (0)

#define TEST_ASSERT_EQUAL_INT(a, b) HONE_INT(int, a, b)
#define TEST_ASSERT_EQUAL_INT8(a, b) HONE_INT(int8_t, a, b)
#define TEST_ASSERT_EQUAL_INT16(a, b) HONE_INT(int16_t, a, b)
#define TEST_ASSERT_EQUAL_INT32(a, b) HONE_INT(int32_t, a, b)
#define TEST_ASSERT_EQUAL_INT64(a, b) HONE_INT(int64_t, a, b)
#define TEST_ASSERT_EQUAL_UINT(a, b) HONE_INT(unsigned, a, b)
#define TEST_ASSERT_EQUAL_UINT8(a, b) HONE_INT(uint8_t, a, b)
#define TEST_ASSERT_EQUAL_UINT16(a, b) HONE_INT(uint16_t, a, b)
#define TEST_ASSERT_EQUAL_UINT32(a, b) HONE_INT(uint32_t, a, b)
#define TEST_ASSERT_EQUAL_UINT64(a, b) HONE_INT(uint64_t, a, b)
#define TEST_ASSERT_EQUAL_size_t(a, b) HONE_INT(size_t, a, b)
#define TEST_ASSERT_EQUAL_CHAR(a, b) HONE_INT(char, a, b)
#define TEST_ASSERT_EQUAL_HEX(a, b) HONE_INT(unsigned, a, b)
#define TEST_ASSERT_EQUAL_HEX8(a, b) HONE_INT(uint8_t, a, b)
#define TEST_ASSERT_EQUAL_HEX16(a, b) HONE_INT(uint16_t, a, b)
#define TEST_ASSERT_EQUAL_HEX32(a, b) HONE_INT(uint32_t, a, b)
#define TEST_ASSERT_EQUAL_HEX64(a, b) HONE_INT(uint64_t, a, b)
#define TEST_ASSERT_EQUAL_INT_ARRAY(a, b, n) HONE_EACH(int, a, b, n)
#define TEST_ASSERT_EQUAL_INT8_ARRAY(a, b, n) HONE_EACH(int8_t, a, b, n)
#define TEST_ASSERT_EQUAL_INT16_ARRAY(a, b, n) HONE_EACH(int16_t, a, b, n)
#define TEST_ASSERT_EQUAL_INT32_ARRAY(a, b, n) HONE_EACH(int32_t, a, b, n)
#define TEST_ASSERT_EQUAL_INT64_ARRAY(a, b, n) HONE_EACH(int64_t, a, b, n)
#define TEST_ASSERT_EQUAL_UINT_ARRAY(a, b, n) HONE_EACH(unsigned, a, b, n)
#define TEST_ASSERT_EQUAL_UINT8_ARRAY(a, b, n) HONE_EACH(uint8_t, a, b, n)
#define TEST_ASSERT_EQUAL_UINT16_ARRAY(a, b, n) HONE_EACH(uint16_t, a, b, n)
#define TEST_ASSERT_EQUAL_UINT32_ARRAY(a, b, n) HONE_EACH(uint32_t, a, b, n)
#define TEST_ASSERT_EQUAL_UINT64_ARRAY(a, b, n) HONE_EACH(uint64_t, a, b, n)
#define TEST_ASSERT_EQUAL_size_t_ARRAY(a, b, n) HONE_EACH(size_t, a, b, n)
#define TEST_ASSERT_EQUAL_CHAR_ARRAY(a, b, n) HONE_EACH(char, a, b, n)
#define TEST_ASSERT_EQUAL_HEX8_ARRAY(a, b, n) HONE_EACH(uint8_t, a, b, n)
#define TEST_ASSERT_EQUAL_HEX_ARRAY(a, b, n) HONE_EACH(unsigned, a, b, n)
#define TEST_ASSERT_EACH_EQUAL_INT(v, b, n) do { for (size_t hone_i = 0; hone_i < (size_t)(n); hone_i++) HONE_INT(int, v, (b)[hone_i]); } while (0)

#define TEST_ASSERT_MESSAGE(x, m) TEST_ASSERT(x)
#define TEST_ASSERT_TRUE_MESSAGE(x, m) TEST_ASSERT_TRUE(x)
#define TEST_ASSERT_FALSE_MESSAGE(x, m) TEST_ASSERT_FALSE(x)
#define TEST_ASSERT_NULL_MESSAGE(p, m) TEST_ASSERT_NULL(p)
#define TEST_ASSERT_NOT_NULL_MESSAGE(p, m) TEST_ASSERT_NOT_NULL(p)
#define TEST_ASSERT_EQUAL_MESSAGE(a, b, m) TEST_ASSERT_EQUAL(a, b)
#define TEST_ASSERT_EQUAL_STRING_MESSAGE(a, b, m) TEST_ASSERT_EQUAL_STRING(a, b)
#define TEST_ASSERT_EQUAL_INT_MESSAGE(a, b, m) TEST_ASSERT_EQUAL_INT(a, b)
#define TEST_ASSERT_EQUAL_INT8_MESSAGE(a, b, m) TEST_ASSERT_EQUAL_INT8(a, b)
#define TEST_ASSERT_EQUAL_INT16_MESSAGE(a, b, m) TEST_ASSERT_EQUAL_INT16(a, b)
#define TEST_ASSERT_EQUAL_INT32_MESSAGE(a, b, m) TEST_ASSERT_EQUAL_INT32(a, b)
#define TEST_ASSERT_EQUAL_INT64_MESSAGE(a, b, m) TEST_ASSERT_EQUAL_INT64(a, b)
#define TEST_ASSERT_EQUAL_UINT_MESSAGE(a, b, m) TEST_ASSERT_EQUAL_UINT(a, b)
#define TEST_ASSERT_EQUAL_UINT8_MESSAGE(a, b, m) TEST_ASSERT_EQUAL_UINT8(a, b)
#define TEST_ASSERT_EQUAL_UINT16_MESSAGE(a, b, m) TEST_ASSERT_EQUAL_UINT16(a, b)
#define TEST_ASSERT_EQUAL_UINT32_MESSAGE(a, b, m) TEST_ASSERT_EQUAL_UINT32(a, b)
#define TEST_ASSERT_EQUAL_UINT64_MESSAGE(a, b, m) TEST_ASSERT_EQUAL_UINT64(a, b)
#define TEST_ASSERT_EQUAL_size_t_MESSAGE(a, b, m) TEST_ASSERT_EQUAL_size_t(a, b)
#define TEST_ASSERT_EQUAL_PTR_MESSAGE(a, b, m) TEST_ASSERT_EQUAL_PTR(a, b)
#define TEST_ASSERT_FLOAT_WITHIN_MESSAGE(d, a, b, m) TEST_ASSERT_FLOAT_WITHIN(d, a, b)
#define TEST_ASSERT_DOUBLE_WITHIN_MESSAGE(d, a, b, m) TEST_ASSERT_DOUBLE_WITHIN(d, a, b)

#endif
