#include "text/uni.h"

#include <ctype.h>
#include <stdlib.h>

#include "core/err.h"

enum { S_BASE = 0xAC00, L_BASE = 0x1100, V_BASE = 0x1161, T_BASE = 0x11A7, L_N = 19, V_N = 21, T_N = 28, S_N = L_N * V_N * T_N };

/* Circled and squared letters: category So, property Alphabetic. */
static const uint32_t alphabetic_symbols[][2] = {{0x24B6, 0x24E9}, {0x1F130, 0x1F149}, {0x1F150, 0x1F169}, {0x1F170, 0x1F189}};
static const uint32_t spaces[][2] = {{9, 13}, {32, 32}, {0x85, 0x85}, {0xA0, 0xA0}, {0x1680, 0x1680}, {0x2000, 0x200A}, {0x2028, 0x2029},
                                     {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}};
enum { N_SPACES = sizeof spaces / sizeof *spaces, WORD_CATS = UNI_L | UNI_M | UNI_BIT(Nd) | UNI_BIT(Nl) | UNI_BIT(Pc) };

static int in_ranges(uint32_t c, const uint32_t (*r)[2], int n)
{
    for (int i = 0; i < n; i++)
        if (c >= r[i][0] && c <= r[i][1])
            return 1;
    return 0;
}

int uni_is_space(uint32_t c)
{
    return c < 128 ? c == 32 || (c >= 9 && c <= 13) : in_ranges(c, spaces, N_SPACES);
}

int uni_is_word(uint32_t c)
{
    return uni_in(c, WORD_CATS) || c == 0x200C || c == 0x200D || in_ranges(c, alphabetic_symbols, 4);
}

int uni_is_punct(uint32_t c)
{
    int lo = 0, hi = UNI_PUNCT_N;
    while (lo < hi) {
        int mid = (lo + hi) / 2;
        if (c > uni_punct[2 * mid + 1])
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < UNI_PUNCT_N && c >= uni_punct[2 * lo];
}

static int64_t key_at(const uint32_t *keys, int64_t n, uint32_t c)
{
    int64_t lo = 0, hi = n;
    while (lo < hi) {
        int64_t mid = (lo + hi) / 2;
        if (keys[mid] < c)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < n && keys[lo] == c ? lo : -1;
}

int uni_lower(uint32_t c, uint32_t out[3])
{
    int64_t k = key_at(uni_lower_key, UNI_LOWER_N, c);
    out[0] = c;
    if (k < 0)
        return 1;
    int n = uni_lower_at[k + 1] - uni_lower_at[k];
    assert(n <= 3);
    for (int i = 0; i < n; i++)
        out[i] = uni_lower_pool[uni_lower_at[k] + i];
    return n;
}

/* ---- properties by name ------------------------------------------------------------------- */

static void plain_name(struct str s, char out[64])
{
    int n = 0;
    for (int64_t i = 0; i < s.n && n < 63; i++)
        if (s.p[i] != ' ' && s.p[i] != '_' && s.p[i] != '-')
            out[n++] = (char)tolower((unsigned char)s.p[i]);
    out[n] = 0;
}

static const struct {
    const char *name;
    uint32_t cats;
} groups[] = {
    {"l", UNI_L}, {"letter", UNI_L}, {"m", UNI_M}, {"mark", UNI_M}, {"n", UNI_N}, {"number", UNI_N}, {"p", UNI_P}, {"punctuation", UNI_P},
    {"s", UNI_S}, {"symbol", UNI_S}, {"z", UNI_BIT(Zs) | UNI_BIT(Zl) | UNI_BIT(Zp)}, {"separator", UNI_BIT(Zs) | UNI_BIT(Zl) | UNI_BIT(Zp)},
    {"c", UNI_BIT(Cc) | UNI_BIT(Cf) | UNI_BIT(Cs) | UNI_BIT(Co) | UNI_BIT(Cn)},
    {"other", UNI_BIT(Cc) | UNI_BIT(Cf) | UNI_BIT(Cs) | UNI_BIT(Co) | UNI_BIT(Cn)},
    {"lc", UNI_BIT(Lu) | UNI_BIT(Ll) | UNI_BIT(Lt)}, {"casedletter", UNI_BIT(Lu) | UNI_BIT(Ll) | UNI_BIT(Lt)},
    {"uppercaseletter", UNI_BIT(Lu)}, {"lowercaseletter", UNI_BIT(Ll)}, {"titlecaseletter", UNI_BIT(Lt)}, {"modifierletter", UNI_BIT(Lm)},
    {"otherletter", UNI_BIT(Lo)}, {"nonspacingmark", UNI_BIT(Mn)}, {"spacingmark", UNI_BIT(Mc)}, {"enclosingmark", UNI_BIT(Me)},
    {"decimalnumber", UNI_BIT(Nd)}, {"letternumber", UNI_BIT(Nl)}, {"othernumber", UNI_BIT(No)}, {"connectorpunctuation", UNI_BIT(Pc)},
    {"dashpunctuation", UNI_BIT(Pd)}, {"openpunctuation", UNI_BIT(Ps)}, {"closepunctuation", UNI_BIT(Pe)}, {"initialpunctuation", UNI_BIT(Pi)},
    {"finalpunctuation", UNI_BIT(Pf)}, {"otherpunctuation", UNI_BIT(Po)}, {"mathsymbol", UNI_BIT(Sm)}, {"currencysymbol", UNI_BIT(Sc)},
    {"modifiersymbol", UNI_BIT(Sk)}, {"othersymbol", UNI_BIT(So)}, {"spaceseparator", UNI_BIT(Zs)}, {"lineseparator", UNI_BIT(Zl)},
    {"paragraphseparator", UNI_BIT(Zp)}, {"control", UNI_BIT(Cc)}, {"format", UNI_BIT(Cf)}, {"surrogate", UNI_BIT(Cs)}, {"privateuse", UNI_BIT(Co)},
    {"unassigned", UNI_BIT(Cn)}, {"digit", UNI_BIT(Nd)}, {"cntrl", UNI_BIT(Cc)}, {"punct", UNI_P | UNI_S},
};

static uint32_t cats_named(const char *name)
{
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
        if (!strcmp(groups[i].name, name))
            return groups[i].cats;
    for (int i = 0; i < UNI_N_CATS; i++) {
        char cat[64];
        plain_name(str_of(uni_cat_name[i]), cat);
        if (!strcmp(cat, name))
            return 1u << i;
    }
    return 0;
}

static void ranges_of_cats(uint32_t cats, uni_range_fn *fn, void *ctx)
{
    for (uint32_t c = 0; c <= 0x10FFFF; c++) {
        if (!uni_in(c, cats))
            continue;
        uint32_t first = c;
        while (c < 0x10FFFF && uni_in(c + 1, cats))
            c++;
        fn(ctx, first, c);
    }
}

/* Oniguruma's \w takes in six signs of Latin-1, but not inside brackets. */
static int is_onig_word(uint32_t c, int in_class)
{
    if (uni_in(c, WORD_CATS) || in_ranges(c, alphabetic_symbols, 4))
        return 1;
    return !in_class && (c == 0xB2 || c == 0xB3 || c == 0xB9 || (c >= 0xBC && c <= 0xBE));
}

void uni_ranges_word(int in_class, uni_range_fn *fn, void *ctx)
{
    for (uint32_t c = 0; c <= 0x10FFFF; c++) {
        if (!is_onig_word(c, in_class))
            continue;
        uint32_t first = c;
        while (c < 0x10FFFF && is_onig_word(c + 1, in_class))
            c++;
        fn(ctx, first, c);
    }
}

int uni_property(struct str name, uni_range_fn *fn, void *ctx)
{
    char key[64], script[64];
    plain_name(name, key);
    if (!strcmp(key, "space") || !strcmp(key, "whitespace")) {
        for (int i = 0; i < N_SPACES; i++)
            fn(ctx, spaces[i][0], spaces[i][1]);
        return 1;
    }
    if (!strcmp(key, "word"))
        return uni_ranges_word(1, fn, ctx), 1;
    if (!strcmp(key, "any"))
        return fn(ctx, 0, 0x10FFFF), 1;
    if (!strcmp(key, "ascii"))
        return fn(ctx, 0, 0x7F), 1;
    uint32_t cats = cats_named(key);
    if (cats)
        return ranges_of_cats(cats, fn, ctx), 1;
    for (int s = 0; s < UNI_SCRIPTS; s++) {
        plain_name(str_of(uni_script_name[s]), script);
        if (strcmp(script, key))
            continue;
        for (int i = 0; i < UNI_SCRIPT_RUNS; i++)
            if (uni_script_is[i] == s)
                fn(ctx, uni_script_from[i], i + 1 < UNI_SCRIPT_RUNS ? uni_script_from[i + 1] - 1 : 0x10FFFF);
        return 1;
    }
    return 0;
}

/* ---- normal forms ------------------------------------------------------------------------- */

static int ccc(uint32_t c)
{
    return uni_ccc_of[uni_ccc_page[c >> 8] << 8 | (c & 255)];
}

/* 1 when c may take part in a change: it has a combining class, may join the character before, or is not its own form. */
static int may_change(uint32_t c, enum uni_form form)
{
    int bit = form == UNI_NFKC || form == UNI_NFKD ? 2 : 1;
    if (uni_slow_of[uni_slow_page[c >> 8] << 8 | (c & 255)] & bit)
        return 1;
    return (form == UNI_NFD || form == UNI_NFKD) && ((c >= S_BASE && c < S_BASE + S_N) || key_at(uni_nfd_key, UNI_NFD_N, c) >= 0);
}

int uni_next_change(struct str s, enum uni_form form, int64_t at, int64_t *b, int64_t *e)
{
    int64_t before = at; /* the last character that nothing before it can change */
    for (int64_t i = at, next; i < s.n; i = next) {
        uint32_t c;
        next = i + uni_next(s.p + i, &c);
        if (c < 0x80) {
            next = uni_ascii(s, next);
            before = next - 1;
            continue;
        }
        if (!may_change(c, form)) {
            before = i;
            continue;
        }
        while (next < s.n) {
            int w = uni_next(s.p + next, &c);
            if (!may_change(c, form))
                break;
            next += w;
        }
        *b = before;
        *e = next;
        return 1;
    }
    return 0;
}

static int same_as_form(struct str s, enum uni_form form)
{
    enum { MAX = 40 };
    uint32_t in[MAX] = {0};
    struct uni_cp out[MAX * 18];
    int64_t n = 0, m;
    for (int64_t i = 0; i < s.n;) {
        if (n == MAX)
            return 0;
        i += uni_next(s.p + i, &in[n++]);
    }
    m = uni_to_form(in, n, form, out);
    for (int64_t i = 0; i < n && m == n; i++)
        if (out[i].c != in[i])
            return 0;
    return m == n;
}

/* Marks are the rule in many scripts: only the stretches with one are looked at. */
int uni_is_form(struct str s, enum uni_form form)
{
    for (int64_t at = 0, b, e; uni_next_change(s, form, at, &b, &e); at = e)
        if (!same_as_form(str_sub(s, b, e), form))
            return 0;
    return 1;
}

/* No code point decomposes into more than 18. */
int64_t uni_form_room(int64_t n)
{
    return n * 18;
}

static int decompose(uint32_t c, int compat, struct uni_cp *out)
{
    if (c >= S_BASE && c < S_BASE + S_N) {
        uint32_t s = c - S_BASE, t = s % T_N;
        out[0] = (struct uni_cp){L_BASE + s / (V_N * T_N), 0};
        out[1] = (struct uni_cp){V_BASE + s % (V_N * T_N) / T_N, 1};
        out[2] = (struct uni_cp){T_BASE + t, 1};
        return t ? 3 : 2;
    }
    const uint32_t *pool = uni_nfkd_pool;
    const uint16_t *at = uni_nfkd_at;
    int64_t k = compat ? key_at(uni_nfkd_key, UNI_NFKD_N, c) : -1;
    if (k < 0) {
        k = key_at(uni_nfd_key, UNI_NFD_N, c);
        pool = uni_nfd_pool;
        at = uni_nfd_at;
    }
    if (k < 0)
        return out[0] = (struct uni_cp){c, 0}, 1;
    int n = 0;
    for (int i = at[k]; i < at[k + 1]; i++, n++)
        out[n] = (struct uni_cp){pool[i], n ? 1 : 0};
    return n;
}

/* Stable sort of the marks between two starters: by insertion, and by counting when there are many. */
static void order_marks(struct uni_cp *m, int64_t n)
{
    int64_t at[257] = {0}, sorted = 1;
    while (sorted < n && ccc(m[sorted - 1].c) <= ccc(m[sorted].c))
        sorted++;
    if (sorted >= n)
        return;
    if (n < 16) {
        for (int64_t i = sorted; i < n; i++) {
            struct uni_cp x = m[i];
            int64_t j = i;
            for (; j > 0 && ccc(m[j - 1].c) > ccc(x.c); j--)
                m[j] = m[j - 1];
            m[j] = x;
        }
        return;
    }
    struct uni_cp *copy = malloc((size_t)n * sizeof *copy);
    if (!copy)
        BUG("out of memory for %lld combining marks", (long long)n);
    memcpy(copy, m, (size_t)n * sizeof *m);
    for (int64_t i = 0; i < n; i++)
        at[ccc(copy[i].c) + 1]++;
    for (int k = 1; k < 257; k++)
        at[k] += at[k - 1];
    for (int64_t i = 0; i < n; i++)
        m[at[ccc(copy[i].c)]++] = copy[i];
    free(copy);
}

static uint32_t pair_of(uint32_t a, uint32_t b)
{
    if (a >= L_BASE && a < L_BASE + L_N && b >= V_BASE && b < V_BASE + V_N)
        return S_BASE + ((a - L_BASE) * V_N + (b - V_BASE)) * T_N;
    if (a >= S_BASE && a < S_BASE + S_N && (a - S_BASE) % T_N == 0 && b > T_BASE && b < T_BASE + T_N)
        return a + (b - T_BASE);
    int64_t lo = 0, hi = UNI_COMPOSE_N;
    while (lo < hi) {
        int64_t mid = (lo + hi) / 2;
        const uint32_t *t = uni_compose + 3 * mid;
        if (t[0] < a || (t[0] == a && t[1] < b))
            lo = mid + 1;
        else
            hi = mid;
    }
    const uint32_t *t = uni_compose + 3 * lo;
    return lo < UNI_COMPOSE_N && t[0] == a && t[1] == b ? t[2] : 0;
}

/* In place. A starter takes up what follows until a mark of the same or a higher class stands between. */
static int64_t compose(struct uni_cp *s, int64_t n)
{
    int64_t out = 0, starter = -1;
    int last = 0; /* class of the last mark kept behind the starter; 0 = none */
    for (int64_t i = 0; i < n; i++) {
        int k = ccc(s[i].c);
        uint32_t both = starter >= 0 && (last == 0 ? out == starter + 1 : last < k) ? pair_of(s[starter].c, s[i].c) : 0;
        if (both) {
            s[starter].c = both;
            s[starter].change += s[i].change - 1;
            continue;
        }
        if (k == 0)
            starter = out;
        last = k;
        s[out++] = s[i];
    }
    return out;
}

int64_t uni_to_form(const uint32_t *in, int64_t n, enum uni_form form, struct uni_cp *out)
{
    int compat = form == UNI_NFKC || form == UNI_NFKD;
    int64_t m = 0;
    for (int64_t i = 0; i < n; i++)
        m += decompose(in[i], compat, out + m);
    for (int64_t i = 0; i < m;) {
        int64_t j = i;
        while (j < m && ccc(out[j].c))
            j++;
        if (j - i > 1)
            order_marks(out + i, j - i);
        i = j > i ? j : i + 1;
    }
    return form == UNI_NFC || form == UNI_NFKC ? compose(out, m) : m;
}
