/* Long context. The failures to catch: an extended model that is not the published one (frequencies, softmax scale at short lengths, positions);
 * an extension that changes when it is applied again; an answer that counts as the key and is another number. */
#include <math.h>

#include "core/json.h"
#include "grpo/niah.h"
#include "model/impl.h"
#include "tests/test.h"

static struct model_config v3;

static int setup(void **state)
{
    struct err e = {0};
    (void)state;
    return model_config_read("configs/models/deepseek_v3.json", &v3, &e) != ERR_OK;
}

static void near(double got, double want, double rel)
{
    if (!(fabs(got - want) <= rel * fabs(want)))
        fail_msg("%.10g, published %.10g", got, want);
}

/* V3's 32 frequencies: kept below 10, divided by 40 from 23 on; the scale 192^-1/2 (0.1 ln 40 + 1)^2 at every length. */
static void published_numbers(const struct model_config *c)
{
    double inv[32], factor;
    kern_rope_freqs(&c->rope, inv, &factor);
    near(factor, 1, 1e-12);
    near(inv[0], 1, 1e-12);
    near(inv[10], 0.0562341325, 1e-8);
    near(inv[11], 0.0390069266, 1e-8);
    near(inv[16], 0.0055, 1e-6);
    near(inv[23], 3.33380358e-5, 1e-8);
    near(inv[31], 3.33380358e-6, 1e-8);
    near(model_attn_scale(c), 0.1352338, 1e-6);
}

static void the_published_extension(void **state)
{
    struct model_config base = v3;
    struct err e = {0};
    (void)state;
    published_numbers(&v3);
    base.rope = (struct kern_rope_spec){.d = 64, .theta = 10000, .factor = 1, .original_max_position = 4096};
    base.max_position = 4096;
    near(model_attn_scale(&base), 0.0721688, 1e-6);
    assert_int_equal(model_extend(&base, &(struct model_extend){.factor = 40}, &e), ERR_OK);
    assert_int_equal(base.max_position, 163840);
    published_numbers(&base);
    /* again: the original is remembered */
    assert_int_equal(model_extend(&base, &(struct model_extend){.factor = 40}, &e), ERR_OK);
    assert_int_equal(base.max_position, 163840);
    published_numbers(&base);
    assert_int_equal(model_extend(&base, &(struct model_extend){.factor = 40, .positions = 131072}, &e), ERR_OK);
    assert_int_equal(base.max_position, 131072);
    assert_int_equal(model_extend(&base, &(struct model_extend){.factor = 40, .positions = 4095}, &e), ERR_USAGE);
    assert_int_equal(base.max_position, 131072);
    assert_int_equal(model_extend(&base, &(struct model_extend){0}, &e), ERR_OK);
    assert_int_equal(base.max_position, 131072);
}

/* Without latent attention the factor stands on cos and sin. */
static void dense_models(void **state)
{
    struct model_config c;
    double inv[32], factor;
    struct err e = {0};
    (void)state;
    assert_int_equal(model_config_read("configs/models/qwen25_05b.json", &c, &e), ERR_OK);
    assert_int_equal(model_extend(&c, &(struct model_extend){.factor = 4}, &e), ERR_OK);
    assert_int_equal(c.max_position, 131072);
    kern_rope_freqs(&c.rope, inv, &factor);
    near(factor, 0.1 * log(4) + 1, 1e-12);
    near(model_attn_scale(&c), 0.125, 1e-6);
}

static void answers(void **state)
{
    static const struct {
        const char *answer, *key;
        int right;
    } cases[] = {
        {" 41923. Remember it", "41923", 1}, {"41923", "41923", 1}, {"\n 41923\n", "41923", 1}, {" 419234", "41923", 0}, {" 4192", "41923", 0}, {" is 41923", "41923", 0},
        {"", "41923", 0}, {" 41923rd", "41923", 0}, {"eat a sandwich, then", "eat a sandwich", 1},
    };
    char a[GRPO_NIAH_KEY], b[GRPO_NIAH_KEY];
    struct sbuf out;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (grpo_niah_right(str_of(cases[i].answer), cases[i].key) != cases[i].right)
            fail_msg("'%s' for '%s'", cases[i].answer, cases[i].key);
    for (uint64_t s = 0; s < 200; s++) {
        grpo_niah_key("", 5, 1, 1024, s, a);
        grpo_niah_key("", 5, 1, 1024, s, b);
        assert_string_equal(a, b);
        assert_true(strlen(a) == 5 && a[0] != '0' && strspn(a, "0123456789") == 5);
        grpo_niah_key("", 5, 1, 1024, s + 1, b);
        assert_string_not_equal(a, b); /* 199 chances in 90,000 to be unlucky: the seed is fixed */
    }
    sbuf_init(&out, 1000);
    grpo_niah_fill("{key} and {key}, {keys}", "7", &out);
    assert_string_equal(out.p, "7 and 7, {keys}");
    sbuf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_published_extension),
        cmocka_unit_test(dense_models),
        cmocka_unit_test(answers),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
