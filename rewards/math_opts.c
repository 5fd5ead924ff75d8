/* The switches of the math verifier as text. */
#include <string.h>

#include "rewards/math.h"

static struct str next_word(struct str *s, const char *ends)
{
    int64_t i = 0;
    while (i < s->n && !strchr(ends, s->p[i]))
        i++;
    struct str w = str_trim(str_sub(*s, 0, i));
    *s = str_sub(*s, i + (i < s->n), s->n);
    return w;
}

err_code math_opts_rules(struct math_opts *o, struct str rules, struct err *e)
{
    static const char *const names[] = {
        "",
#define X(name, text, meaning) text,
        MATH_RULE_LIST(X)
#undef X
    };
    struct str all = rules;
    int n = 0;
    memset(o->rules, 0, sizeof o->rules);
    while (rules.n) {
        struct str w = next_word(&rules, ">, ");
        int k = 1;
        while (k < MATH_RULE_N && !str_eq(w, str_of(names[k])))
            k++;
        if (!w.n)
            continue;
        if (k == MATH_RULE_N || memchr(o->rules, k, sizeof o->rules))
            return err_set(e, ERR_USAGE, "rules '%.*s': '%.*s' is %s of box, tag, hashes, phrase, whole, last", STR_ARG(all), STR_ARG(w), k == MATH_RULE_N ? "none" : "there twice; each once");
        o->rules[n++] = (uint8_t)k;
    }
    return ERR_OK;
}

err_code math_opts_set(struct math_opts *o, struct str words, struct err *e)
{
    while (words.n) {
        struct str w = next_word(&words, ", "), name = w;
        int on = !str_starts(w, STR("no-")), known = 0;
        if (!w.n)
            continue;
        if (str_starts(w, STR("rules="))) {
            TRY(math_opts_rules(o, str_sub(w, 6, w.n), e));
            continue;
        }
        if (!on)
            name = str_sub(w, 3, w.n);
#define X(key, def, meaning)            \
    if (str_eq(name, STR(#key))) {      \
        o->key = on;                    \
        known = 1;                      \
    }
        MATH_POLICY_LIST(X)
#undef X
        if (!known)
            return err_set(e, ERR_USAGE, "'%.*s' is no policy of the math verifier; `hone verify math --help` lists them", STR_ARG(w));
    }
    return ERR_OK;
}
