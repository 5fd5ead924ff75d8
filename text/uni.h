/* Unicode for tokenizers: categories and classes (16.0), normal forms (9.0). Why two versions:
 * tools/unicode/gen.py. Code points are valid ones unless said otherwise. */
#ifndef HONE_TEXT_UNI_H
#define HONE_TEXT_UNI_H

#include <stdint.h>

#include "core/str.h"
#include "text/uni_data.h"

static inline enum uni_cat uni_cat(uint32_t c)
{
    return c > 0x10FFFF ? UNI_Cn : (enum uni_cat)uni_cat_of[uni_cat_page[c >> 8] << 8 | (c & 255)];
}

#define UNI_BIT(cat) (1u << UNI_##cat)
enum {
    UNI_L = UNI_BIT(Lu) | UNI_BIT(Ll) | UNI_BIT(Lt) | UNI_BIT(Lm) | UNI_BIT(Lo),
    UNI_M = UNI_BIT(Mn) | UNI_BIT(Mc) | UNI_BIT(Me),
    UNI_N = UNI_BIT(Nd) | UNI_BIT(Nl) | UNI_BIT(No),
    UNI_P = UNI_BIT(Pc) | UNI_BIT(Pd) | UNI_BIT(Ps) | UNI_BIT(Pe) | UNI_BIT(Pi) | UNI_BIT(Pf) | UNI_BIT(Po),
    UNI_S = UNI_BIT(Sm) | UNI_BIT(Sc) | UNI_BIT(Sk) | UNI_BIT(So)
};
static inline int uni_in(uint32_t c, uint32_t cats) { return cats >> uni_cat(c) & 1; }

/* First byte above 0x7F from `at` on, or s.n. */
static inline int64_t uni_ascii(struct str s, int64_t at)
{
    while (at + 8 <= s.n) {
        uint64_t v;
        memcpy(&v, s.p + at, 8);
        v &= 0x8080808080808080u;
        if (v)
            return at + (__builtin_ctzll(v) >> 3);
        at += 8;
    }
    while (at < s.n && (unsigned char)s.p[at] < 0x80)
        at++;
    return at;
}

/* The code point at p, of text known to be UTF-8; its width. */
static inline int uni_next(const char *text, uint32_t *c)
{
    const uint8_t *p = (const uint8_t *)text;
    if (p[0] < 0x80)
        return *c = p[0], 1;
    if (p[0] < 0xE0)
        return *c = (p[0] & 31u) << 6 | (p[1] & 63u), 2;
    if (p[0] < 0xF0)
        return *c = (p[0] & 15u) << 12 | (p[1] & 63u) << 6 | (p[2] & 63u), 3;
    return *c = (p[0] & 7u) << 18 | (p[1] & 63u) << 12 | (p[2] & 63u) << 6 | (p[3] & 63u), 4;
}

int uni_is_space(uint32_t c); /* White_Space, 25 code points */
int uni_is_word(uint32_t c);  /* \w of Rust's regex crate: flags of added tokens, Whitespace splitter */
int uni_is_punct(uint32_t c); /* what the Punctuation splitter splits on */
int uni_lower(uint32_t c, uint32_t out[3]); /* count; 1 and itself for most */

/* Ranges of a property by the name a pattern uses: "L", "Lu", "Letter", "Han", "IsHan", "alpha", ...; case, spaces, '-' and
 * '_' do not count. fn is called with ascending ranges. 0: unknown name. */
typedef void uni_range_fn(void *ctx, uint32_t first, uint32_t last);
int uni_property(struct str name, uni_range_fn *fn, void *ctx);
void uni_ranges_word(int in_class, uni_range_fn *fn, void *ctx); /* \w of Oniguruma, outside or inside brackets */

enum uni_form { UNI_NFC, UNI_NFD, UNI_NFKC, UNI_NFKD };
/* 1 when s is in the form already (0: perhaps not). s is valid UTF-8. */
int uni_is_form(struct str s, enum uni_form form);
/* The next stretch [*b, *e) from `at` on that the form may change: it begins with a character that nothing before it touches and
 * ends before another such. 0: none, the rest stays as it is. */
int uni_next_change(struct str s, enum uni_form form, int64_t at, int64_t *b, int64_t *e);

/* One code point of a normal form, with what the reference library says about its origin: `change` > 0 was inserted,
 * 0 replaces one code point, < 0 replaces 1 - change of them. */
struct uni_cp {
    uint32_t c;
    int32_t change;
};
/* out holds room for uni_form_room(n) entries; returns their number. in: n code points. */
int64_t uni_form_room(int64_t n);
int64_t uni_to_form(const uint32_t *in, int64_t n, enum uni_form form, struct uni_cp *out);

#endif
