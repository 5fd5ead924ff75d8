/* Catches: a safetensors file taken that the reference library refuses, or refused that it takes; tensors read at the wrong place;
 * a written file that differs from what the reference writes; half a file left behind by a full disk. */
#include "model/safetensors.h"

#include <dirent.h>
#include <limits.h>
#include <unistd.h>

#include "core/fault.h"
#include "tests/test.h"

static struct arena mem;

/* header text, bytes of data behind it (zeros), the reference's verdict: NULL = accepted, else its name for the error.
 * One line per rule of docs/safetensors.md; every verdict was taken from the library, release 0.8.0 (tools/parity/st_diff.py). */
#define T(rest) "{\"a\":{\"dtype\":\"U8\"," rest "}"
#define ONE "\"shape\":[1],\"data_offsets\":[0,1]"
static const struct {
    const char *head;
    int data;
    const char *verdict;
} cases[] = {
    {"{}", 0, NULL},
    {" \t\r\n{ } \n", 0, NULL},
    {"{\"__metadata__\":{}}", 0, NULL},
    {"{\"__metadata__\":null}", 0, NULL},
    {"{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", 0, NULL},
    {"{\"__metadata__\":{\"a\":1}}", 0, "InvalidHeaderDeserialization"},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "InvalidHeaderDeserialization"},
    {T(ONE "}"), 1, NULL},
    {T(ONE "}"), 0, "MetadataIncompleteBuffer"},
    {T(ONE "}"), 2, "MetadataIncompleteBuffer"},
    {T(ONE ",\"more\":[{\"x\":[1e5,-0.5,true,null,\"\\ud83d\\ude42\"]}]}"), 1, NULL},
    {T(ONE ",\"more\":\"\\ud83d\"}"), 1, "InvalidHeaderDeserialization"},
    {T(ONE ",\"more\":1e999}"), 1, "InvalidHeaderDeserialization"},
    {T(ONE ",\"more\":01}"), 1, "InvalidHeaderDeserialization"},
    {T(ONE ",\"more\":\"a\nb\"}"), 1, "InvalidHeaderDeserialization"},
    {T(ONE ",\"dtype\":\"U8\"}"), 1, "InvalidHeaderDeserialization"},
    {"{\"a\":{\"data_offsets\":[0,1],\"shape\":[1],\"dt\\u0079pe\":\"U8\"}}", 1, NULL},
    {"{\"a\":[\"U8\",[1],[0,1]]}", 1, NULL},
    {"{\"a\":[\"U8\",[1],[0,1],0]}", 1, "InvalidHeaderDeserialization"},
    {"{\"a\":[\"U8\",[1]]}", 1, "InvalidHeaderDeserialization"},
    {"{\"a\":[{\"U8\":null},[1],[0,1]]}", 1, NULL},
    {"{\"a\":[{\"U8\":1},[1],[0,1]]}", 1, "InvalidHeaderDeserialization"},
    {"{\"a\":[\"u8\",[1],[0,1]]}", 1, "InvalidHeaderDeserialization"},
    {T("\"shape\":[],\"data_offsets\":[0,1]}"), 1, NULL},
    {T("\"shape\":[1,1,1,1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}"), 1, NULL},
    {T("\"shape\":[0,9223372036854775808],\"data_offsets\":[0,0]}"), 0, NULL},
    {T("\"shape\":[9223372036854775808,2,0],\"data_offsets\":[0,0]}"), 0, "ValidationOverflow"},
    {T("\"shape\":[18446744073709551616],\"data_offsets\":[0,0]}"), 0, "InvalidHeaderDeserialization"},
    {T("\"shape\":[4611686018427387904],\"data_offsets\":[0,1]}"), 1, "ValidationOverflow"},
    {T("\"shape\":[1e0],\"data_offsets\":[0,1]}"), 1, "InvalidHeaderDeserialization"},
    {T("\"shape\":[-0],\"data_offsets\":[0,0]}"), 0, "InvalidHeaderDeserialization"},
    {T("\"shape\":[1],\"data_offsets\":[0,1,1]}"), 1, "InvalidHeaderDeserialization"},
    {T("\"shape\":[1],\"data_offsets\":[1,2]}"), 2, "InvalidOffset"},
    {T("\"shape\":[2],\"data_offsets\":[0,1]}"), 1, "TensorInvalidInfo"},
    {T("\"shape\":[1]}"), 1, "InvalidHeaderDeserialization"},
    {"{\"a\":{\"dtype\":\"F4\",\"shape\":[3]," "\"data_offsets\":[0,2]}}", 2, "MisalignedSlice"},
    {"{\"a\":{\"dtype\":\"F6_E2M3\",\"shape\":[4]," "\"data_offsets\":[0,3]}}", 3, NULL},
    {"{\"a\":[\"U8\",[1],[0,1]],\"a\":[\"U8\",[1],[0,1]]}", 1, NULL},
    {"{\"a\":[\"U8\",[1],[1,2]],\"a\":[\"U8\",[1],[0,1]]}", 1, NULL},
    {"{\"b\":[\"U8\",[1],[1,2]],\"a\":[\"U8\",[1],[0,1]]}", 2, NULL},
    {"{\"b\":[\"U8\",[2],[0,2]],\"a\":[\"U8\",[2],[1,3]]}", 3, "InvalidOffset"},
    {"{\"b\":[\"U8\",[2],[0,2]],\"a\":[\"U8\",[1],[3,4]]}", 4, "InvalidOffset"},
    {"{},", 0, "InvalidHeaderDeserialization"},
    {"[]", 0, "InvalidHeaderDeserialization"},
    {"\xEF\xBB\xBF{}", 0, "InvalidHeaderDeserialization"},
    {"{\"\xFF\":1}", 0, "InvalidHeader"},
    {"{/**/}", 0, "InvalidHeaderDeserialization"},
    {"{\"a\":[\"U8\",[1],[0,1]],}", 1, "InvalidHeaderDeserialization"},
    {"", 0, "InvalidHeaderDeserialization"},
};

static int64_t build(char *buf, const char *head, int64_t n_head, int data)
{
    for (int i = 0; i < 8; i++)
        buf[i] = (char)((uint64_t)n_head >> 8 * i);
    memcpy(buf + 8, head, (size_t)n_head);
    memset(buf + 8 + n_head, 0, (size_t)data);
    return 8 + n_head + data;
}

static void expect_verdict(const char *name, struct file_map m, const char *verdict)
{
    struct st_file f;
    struct err e = {0};
    arena_reset(&mem);
    err_code rc = st_parse(name, m, &mem, &f, &e);
    if (!verdict && rc != ERR_OK)
        fail_msg("%s: refused: %s", name, e.msg);
    if (verdict && (rc != ERR_DATA || !strstr(e.msg, verdict)))
        fail_msg("%s: expected %s, got code %d: %s", name, verdict, rc, e.msg);
}

static void test_verdicts(void **state)
{
    (void)state;
    char buf[4096];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t n = build(buf, cases[i].head, (int64_t)strlen(cases[i].head), cases[i].data);
        expect_verdict(cases[i].head, (struct file_map){buf, n}, cases[i].verdict);
        /* every proper prefix of a good file is refused */
        for (int64_t k = 0; !cases[i].verdict && k < n; k++) {
            struct st_file f;
            struct err e = {0};
            assert_int_not_equal(st_parse("prefix", (struct file_map){buf, k}, &mem, &f, &e), ERR_OK);
        }
    }
}

static void test_depth_and_size(void **state)
{
    (void)state;
    char head[1000], buf[1100];
    for (int depth = 120; depth < 135; depth++) { /* the object and the tensor are two levels */
        int n = snprintf(head, sizeof head, "{\"a\":{\"x\":");
        memset(head + n, '[', (size_t)(depth - 2));
        memset(head + n + depth - 2, ']', (size_t)(depth - 2));
        n += 2 * (depth - 2);
        n += snprintf(head + n, sizeof head - (size_t)n, ",\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}");
        int64_t k = build(buf, head, n, 0);
        expect_verdict("depth", (struct file_map){buf, k}, depth <= 127 ? NULL : "InvalidHeaderDeserialization");
    }
    build(buf, "{}", 2, 0);
    expect_verdict("tiny", (struct file_map){buf, 7}, "HeaderTooSmall");
    buf[3] = 0x10; /* 268 MB */
    expect_verdict("huge", (struct file_map){buf, 10}, "HeaderTooLarge");
    buf[3] = 0, buf[0] = 3;
    expect_verdict("cut", (struct file_map){buf, 10}, "InvalidHeaderLength");
}

/* ---- the shared cases --------------------------------------------------------------------- */

static void put_quoted(struct sbuf *b, struct str s)
{
    sbuf_addc(b, '"');
    for (int64_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"' || s.p[i] == '\\')
            sbuf_addf(b, "\\%c", s.p[i]);
        else if (s.p[i] == '\n')
            sbuf_adds(b, "\\n");
        else
            sbuf_addc(b, s.p[i]);
    }
    sbuf_addc(b, '"');
}

static const struct st_file *sorting;
static int by_quoted_name(const void *x, const void *y)
{
    return str_cmp(sorting->tensors[*(const int64_t *)x].name, sorting->tensors[*(const int64_t *)y].name);
}

static void describe(const struct st_file *f, struct sbuf *b)
{
    int64_t order[100];
    assert_true(f->n <= 100);
    for (int64_t i = 0; i < f->n; i++)
        order[i] = i;
    sorting = f;
    qsort(order, (size_t)f->n, sizeof *order, by_quoted_name);
    for (int64_t i = 0; i < f->n; i++) {
        const struct st_tensor *t = &f->tensors[order[i]];
        sbuf_adds(b, i ? ";" : "");
        put_quoted(b, t->name);
        sbuf_addf(b, ":%s:[", st_dtype_name(t->dtype));
        for (int d = 0; d < t->n_dims; d++)
            sbuf_addf(b, "%s%llu", d ? ", " : "", (unsigned long long)t->dims[d]);
        sbuf_addf(b, "]:%lld", (long long)t->bytes);
    }
    sbuf_addc(b, 0);
    b->n--;
}

static void test_shared_cases(void **state)
{
    (void)state;
    const char *dir = test_cases();
    char path[PATH_MAX];
    struct sbuf list;
    struct err e = {0};
    int n = 0;
    if (!dir) {
        printf("skip: shared cases are not here; the table of this file covers the same rules\n");
        return;
    }
    snprintf(path, sizeof path, "%s/safetensors/expected.tsv", dir);
    sbuf_init(&list, 1 << 20);
    assert_int_equal(file_read(path, &list, &e), ERR_OK);
    struct str rest = sbuf_str(&list), line, col[3];
    while (str_split(&rest, '\n', &line)) {
        struct st_file f;
        if (!line.n)
            continue;
        for (int i = 0; i < 3; i++)
            if (!str_split(&line, '\t', &col[i]))
                col[i] = STR("");
        snprintf(path, sizeof path, "%s/safetensors/%.*s", dir, STR_ARG(col[0]));
        arena_reset(&mem);
        e.msg[0] = 0;
        err_code rc = st_open(path, &mem, &f, &e);
        if (str_eq(col[1], STR("OK"))) {
            struct sbuf b;
            if (rc != ERR_OK)
                fail_msg("%s", e.msg);
            sbuf_init(&b, 10000);
            describe(&f, &b);
            assert_true(str_eq(sbuf_str(&b), col[2]));
            for (int64_t i = 0; i < f.n; i++)
                assert_ptr_equal(st_find(&f, f.tensors[i].name), &f.tensors[i]);
            assert_null(st_find(&f, STR("none such")));
            sbuf_release(&b);
            st_close(&f);
        } else {
            char want[100];
            snprintf(want, sizeof want, "[%.*s]", STR_ARG(col[2]));
            if (rc == ERR_OK || !strstr(e.msg, want))
                fail_msg("%.*s: expected %s, got %s", STR_ARG(col[0]), want, rc == ERR_OK ? "OK" : e.msg);
        }
        n++;
    }
    assert_true(n >= 40);
    sbuf_release(&list);
}

/* ---- writing ------------------------------------------------------------------------------ */

static void count_bytes(void *ctx, const struct st_tensor *t, int64_t at, int64_t n, void *buf)
{
    (void)ctx;
    (void)t;
    for (int64_t i = 0; i < n; i++)
        ((char *)buf)[i] = (char)((at + i) * 7);
}

static void test_write(void **state)
{
    (void)state;
    static const uint64_t d23[] = {2, 3}, d1[] = {1}, big[] = {3 * ST_CHUNK / 2};
    static const float w[6] = {1, 2, 3, 4, 5, 6};
    const struct st_tensor t[] = {
        {.name = STR("b.bias"), .dtype = ST_BF16, .n_dims = 1, .dims = d1, .data = "ab", .bytes = 2},
        {.name = STR("a.weight"), .dtype = ST_BF16, .n_dims = 1, .dims = d1, .data = "cd", .bytes = 2},
        {.name = STR("z"), .dtype = ST_F32, .n_dims = 2, .dims = d23, .data = w, .bytes = 24},
    };
    const struct st_tensor large = {.name = STR("l"), .dtype = ST_U8, .n_dims = 1, .dims = big, .bytes = 3 * ST_CHUNK / 2};
    /* what safetensors.torch.save_file writes for these */
    static const char want[] = "{\"__metadata__\":{\"format\":\"pt\"},\"z\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
                               "\"a.weight\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[24,26]},"
                               "\"b.bias\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[26,28]}}";
    char dir[] = "/tmp/hone-test-XXXXXX", path[64];
    struct err e = {0};
    struct st_file f;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/x.safetensors", dir);
    assert_int_equal(st_write(path, &(struct st_source){.t = t, .n = 3}, &e), ERR_OK);
    arena_reset(&mem);
    assert_int_equal(st_open(path, &mem, &f, &e), ERR_OK);
    assert_memory_equal(f.map.p + 8, want, sizeof want - 1);
    assert_int_equal((f.map.n - 28) % 8, 0);
    assert_memory_equal(st_find(&f, STR("z"))->data, w, 24);
    assert_memory_equal(st_find(&f, STR("a.weight"))->data, "cd", 2);
    st_close(&f);
    static const char *const points[] = {"write:1", "write:3", "sync:1", "rename:1"};
    for (int i = 0; i < 4; i++) {
        fault_set(points[i]);
        assert_int_equal(st_write(path, &(struct st_source){.t = &large, .n = 1, .read = count_bytes}, &e), ERR_IO);
        fault_set(NULL);
        assert_int_equal(st_open(path, &mem, &f, &e), ERR_OK); /* the old one is whole */
        assert_int_equal(f.n, 3);
        st_close(&f);
        DIR *d = opendir(dir);
        int files = 0;
        for (struct dirent *it; (it = readdir(d));)
            files += it->d_name[0] != '.';
        closedir(d);
        assert_int_equal(files, 1);
    }
    assert_int_equal(st_write(path, &(struct st_source){.t = &large, .n = 1, .read = count_bytes}, &e), ERR_OK);
    assert_int_equal(st_open(path, &mem, &f, &e), ERR_OK);
    for (int64_t i = 0; i < large.bytes; i++)
        assert_int_equal(((const char *)f.tensors[0].data)[i], (char)(i * 7));
    st_close(&f);
    assert_int_equal(file_remove_tree(dir, &e), ERR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_depth_and_size),
        cmocka_unit_test(test_shared_cases),
        cmocka_unit_test(test_write),
    };
    arena_init(&mem, "test", 64 << 20);
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    arena_release(&mem);
    return rc;
}
