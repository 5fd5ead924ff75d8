/* language: the share of a response's letters that belong to a script. Digits, punctuation, symbols and LaTeX commands (a backslash
 * and the letters behind it) are nobody's; a letter of a script that is not in the list below counts as another's. A response
 * without letters scores 1: there is nothing in the wrong language. */
#include <stdlib.h>

#include "rewards/kind.h"

/* Letters by script: name, ranges. From the Unicode blocks; within them only letters and marks are used in running text. */
#define SCRIPTS(X)                                                                                                                       \
    X(latin, {0x41, 0x5a}, {0x61, 0x7a}, {0xaa, 0xaa}, {0xba, 0xba}, {0xc0, 0xd6}, {0xd8, 0xf6}, {0xf8, 0x24f}, {0x1e00, 0x1eff},         \
      {0x2c60, 0x2c7f}, {0xa720, 0xa7ff}, {0xff21, 0xff3a}, {0xff41, 0xff5a})                                                             \
    X(greek, {0x370, 0x373}, {0x376, 0x377}, {0x37b, 0x37d}, {0x386, 0x386}, {0x388, 0x3ff}, {0x1f00, 0x1fff})                            \
    X(cyrillic, {0x400, 0x52f}, {0x1c80, 0x1c8f}, {0x2de0, 0x2dff}, {0xa640, 0xa69f})                                                     \
    X(armenian, {0x531, 0x556}, {0x561, 0x587})                                                                                          \
    X(hebrew, {0x5d0, 0x5ea}, {0x5ef, 0x5f2})                                                                                            \
    X(arabic, {0x620, 0x65f}, {0x66e, 0x6d3}, {0x6fa, 0x6ff}, {0x750, 0x77f}, {0x8a0, 0x8ff}, {0xfb50, 0xfdff}, {0xfe70, 0xfefc})         \
    X(devanagari, {0x900, 0x963}, {0x971, 0x97f})                                                                                        \
    X(bengali, {0x980, 0x9e3}, {0x9f0, 0x9f1})                                                                                           \
    X(tamil, {0xb82, 0xbd7})                                                                                                             \
    X(thai, {0xe01, 0xe3a}, {0xe40, 0xe4e})                                                                                              \
    X(georgian, {0x10a0, 0x10ff}, {0x1c90, 0x1cbf})                                                                                      \
    X(hangul, {0x1100, 0x11ff}, {0x3131, 0x318e}, {0xa960, 0xa97c}, {0xac00, 0xd7a3})                                                     \
    X(kana, {0x3041, 0x3096}, {0x309d, 0x309f}, {0x30a1, 0x30fa}, {0x30fc, 0x30ff}, {0x31f0, 0x31ff}, {0xff66, 0xff9d})                   \
    X(han, {0x3005, 0x3007}, {0x3400, 0x4dbf}, {0x4e00, 0x9fff}, {0xf900, 0xfaff}, {0x20000, 0x323af})

enum script_id {
#define X(name, ...) SCRIPT_##name,
    SCRIPTS(X)
#undef X
    SCRIPT_N
};
static const char *const script_names[] = {
#define X(name, ...) #name,
    SCRIPTS(X)
#undef X
};
static const struct range {
    uint32_t first, last;
} ranges[][12] = {
#define X(name, ...) {__VA_ARGS__},
    SCRIPTS(X)
#undef X
};

/* Languages: the scripts that they are written in. */
#define BIT(name) (1u << SCRIPT_##name)
static const struct {
    const char *name;
    uint32_t scripts;
} languages[] = {
    {"en", BIT(latin)},  {"de", BIT(latin)},          {"es", BIT(latin)},    {"fr", BIT(latin)},      {"it", BIT(latin)},
    {"pt", BIT(latin)},  {"vi", BIT(latin)},          {"tr", BIT(latin)},    {"el", BIT(greek)},      {"ru", BIT(cyrillic)},
    {"uk", BIT(cyrillic)}, {"he", BIT(hebrew)},       {"ar", BIT(arabic)},   {"fa", BIT(arabic)},     {"hi", BIT(devanagari)},
    {"bn", BIT(bengali)}, {"ta", BIT(tamil)},         {"th", BIT(thai)},     {"ko", BIT(hangul) | BIT(han)}, {"ja", BIT(kana) | BIT(han)},
    {"zh", BIT(han)},
};

struct language {
    uint32_t scripts;
    double least;
    char name[32];
};

void reward_languages(struct sbuf *out)
{
    for (int i = 0; i < SCRIPT_N; i++)
        sbuf_addf(out, "%s ", script_names[i]);
    for (size_t i = 0; i < sizeof languages / sizeof *languages; i++)
        sbuf_addf(out, "%s%s", i ? " " : "", languages[i].name);
}

static uint32_t scripts_of(const char *name)
{
    for (int i = 0; i < SCRIPT_N; i++)
        if (!strcmp(name, script_names[i]))
            return 1u << i;
    for (size_t i = 0; i < sizeof languages / sizeof *languages; i++)
        if (!strcmp(name, languages[i].name))
            return languages[i].scripts;
    return 0;
}

static err_code language_open(const struct cfg *c, void **self, struct err *e)
{
    uint32_t scripts = scripts_of(c->reward.language);
    if (!scripts) {
        struct sbuf b;
        sbuf_init(&b, 4096);
        reward_languages(&b);
        err_set(e, ERR_USAGE, "reward.language: '%s' is none of %s", c->reward.language, b.p);
        sbuf_release(&b);
        return ERR_USAGE;
    }
    struct language *l = calloc(1, sizeof *l);
    if (!l)
        return err_set(e, ERR_LIMIT, "no memory for the language reward");
    *l = (struct language){.scripts = scripts, .least = c->reward.language_min};
    snprintf(l->name, sizeof l->name, "%s", c->reward.language);
    *self = l;
    return ERR_OK;
}

/* Script of a letter, or -1. */
static int script_of_letter(uint32_t cp)
{
    for (int s = 0; s < SCRIPT_N; s++)
        for (int k = 0; k < 12 && ranges[s][k].last; k++)
            if (cp >= ranges[s][k].first && cp <= ranges[s][k].last)
                return s;
    return -1;
}

/* Scripts without a row of their own: everything in the letter blocks of the first plane that is not listed. */
static int other_letter(uint32_t cp)
{
    return (cp >= 0x700 && cp <= 0x1fff) || (cp >= 0xa000 && cp <= 0xabff) || (cp >= 0x10000 && cp <= 0x1efff && !(cp >= 0x1d000 && cp <= 0x1d7ff));
}

static void language_score(void *self, int worker, const struct reward_request *q, struct arena *mem, struct reward_verdict *v)
{
    const struct language *l = self;
    int64_t ours = 0, letters = 0, at = 0;
    (void)worker;
    while (at < q->response.n) {
        uint32_t cp;
        int n = utf8_decode(q->response, at, &cp);
        if (n == 0) { /* a broken byte belongs to no script */
            at++;
            continue;
        }
        at += n;
        if (cp == '\\') {
            while (at < q->response.n && ((q->response.p[at] | 32) >= 'a' && (q->response.p[at] | 32) <= 'z'))
                at++;
            continue;
        }
        int s = script_of_letter(cp);
        letters += s >= 0 || other_letter(cp);
        ours += s >= 0 && (l->scripts >> s & 1);
    }
    double share = letters ? (double)ours / (double)letters : 1;
    if (l->least > 0)
        reward_say(v, mem, share >= l->least ? REWARD_RIGHT : REWARD_WRONG, share >= l->least, "%lld of %lld letters are %s", (long long)ours,
                   (long long)letters, l->name);
    else
        reward_say(v, mem, REWARD_SCORED, share, "%lld of %lld letters are %s", (long long)ours, (long long)letters, l->name);
}

const struct reward_kind reward_kind_language = {.name = "language", .open = language_open, .close = free, .score = language_score};
