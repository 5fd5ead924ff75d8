/* Unicode spellings of mathematics become their LaTeX ones, so that the lexer sees ASCII. Letters of other scripts
 * stay what they are: a Cyrillic look-alike is not the Latin letter. */
#include <string.h>

#include "rewards/math_int.h"

struct fold {
    uint32_t cp;
    const char *to;
};

/* Sorted by code point. */
static const struct fold table[] = {
    {0xA0, " "}, {0xA2, "\\cent "}, {0xA3, "\\pounds "}, {0xA5, "\\yen "}, {0xAC, "\\neg "}, {0xAD, ""}, {0xB0, "\\degree "}, {0xB1, "\\pm "}, {0xB7, "\\cdot "}, {0xBC, "\\frac{1}{4}"},
    {0xBD, "\\frac{1}{2}"}, {0xBE, "\\frac{3}{4}"}, {0xD7, "\\times "}, {0xF7, "\\div "}, {0x2BC, "'"}, {0x2C6, "^"},
    {0x391, "A"}, {0x393, "\\Gamma "}, {0x394, "\\Delta "}, {0x398, "\\Theta "}, {0x39B, "\\Lambda "}, {0x39E, "\\Xi "},
    {0x3A0, "\\Pi "}, {0x3A3, "\\Sigma "}, {0x3A6, "\\Phi "}, {0x3A8, "\\Psi "}, {0x3A9, "\\Omega "}, {0x3B1, "\\alpha "},
    {0x3B2, "\\beta "}, {0x3B3, "\\gamma "}, {0x3B4, "\\delta "}, {0x3B5, "\\epsilon "}, {0x3B6, "\\zeta "}, {0x3B7, "\\eta "},
    {0x3B8, "\\theta "}, {0x3B9, "\\iota "}, {0x3BA, "\\kappa "}, {0x3BB, "\\lambda "}, {0x3BC, "\\mu "}, {0x3BD, "\\nu "},
    {0x3BE, "\\xi "}, {0x3C0, "\\pi "}, {0x3C1, "\\rho "}, {0x3C2, "\\varsigma "}, {0x3C3, "\\sigma "}, {0x3C4, "\\tau "},
    {0x3C5, "\\upsilon "}, {0x3C6, "\\phi "}, {0x3C7, "\\chi "}, {0x3C8, "\\psi "}, {0x3C9, "\\omega "}, {0x3D1, "\\vartheta "},
    {0x3D5, "\\phi "}, {0x3F5, "\\epsilon "}, {0x66B, "."}, {0x66C, ","}, {0x2000, " "}, {0x2001, " "}, {0x2002, " "}, {0x2003, " "},
    {0x2004, " "}, {0x2005, " "}, {0x2006, " "}, {0x2007, " "}, {0x2008, " "}, {0x2009, " "}, {0x200A, " "}, {0x200B, ""},
    {0x200C, ""}, {0x200D, ""}, {0x200E, ""}, {0x200F, ""}, {0x2010, "-"}, {0x2011, "-"}, {0x2012, "-"}, {0x2013, "-"},
    {0x2014, "-"}, {0x2015, "-"}, {0x2018, "'"}, {0x2019, "'"}, {0x201C, "\""}, {0x201D, "\""}, {0x2022, "\\cdot "}, {0x2024, "."},
    {0x2026, "\\ldots "}, {0x202F, " "}, {0x2032, "'"}, {0x2033, "''"}, {0x2044, "/"}, {0x205F, " "}, {0x2060, ""}, {0x2061, ""},
    {0x2062, ""}, {0x2063, ","}, {0x20AC, "\\euro "}, {0x2102, "\\mathbb{C}"}, {0x210E, "h"}, {0x210F, "\\hbar "}, {0x2113, "\\ell "}, {0x2115, "\\mathbb{N}"},
    {0x211A, "\\mathbb{Q}"}, {0x211D, "\\mathbb{R}"}, {0x2124, "\\mathbb{Z}"}, {0x212F, "e"}, {0x2145, "D"}, {0x2146, "d"}, {0x2147, "e"}, {0x2148, "i"},
    {0x2149, "j"}, {0x2150, "\\frac{1}{7}"}, {0x2151, "\\frac{1}{9}"}, {0x2152, "\\frac{1}{10}"}, {0x2153, "\\frac{1}{3}"}, {0x2154, "\\frac{2}{3}"}, {0x2155, "\\frac{1}{5}"},
    {0x2156, "\\frac{2}{5}"}, {0x2157, "\\frac{3}{5}"}, {0x2158, "\\frac{4}{5}"}, {0x2159, "\\frac{1}{6}"}, {0x215A, "\\frac{5}{6}"},
    {0x215B, "\\frac{1}{8}"}, {0x215C, "\\frac{3}{8}"}, {0x215D, "\\frac{5}{8}"}, {0x215E, "\\frac{7}{8}"}, {0x2190, "\\gets "}, {0x2192, "\\to "}, {0x21D2, "\\Rightarrow "},
    {0x21D4, "\\iff "}, {0x2200, "\\forall "}, {0x2202, "\\partial "}, {0x2203, "\\exists "}, {0x2205, "\\emptyset "}, {0x2206, "\\Delta "}, {0x2207, "\\nabla "},
    {0x2208, "\\in "}, {0x2209, "\\notin "}, {0x220F, "\\prod "}, {0x2211, "\\sum "}, {0x2212, "-"}, {0x2213, "\\mp "}, {0x2215, "/"}, {0x2216, "\\setminus "}, {0x2217, "*"},
    {0x2218, "\\circ "}, {0x2219, "\\cdot "}, {0x221A, "\\sqrt "}, {0x221B, "\\sqrt[3] "}, {0x221E, "\\infty "}, {0x2220, "\\angle "}, {0x2223, "\\mid "}, {0x2225, "\\parallel "}, {0x2227, "\\wedge "},
    {0x2228, "\\vee "}, {0x2229, "\\cap "}, {0x222A, "\\cup "}, {0x222B, "\\int "}, {0x2234, " "}, {0x2236, ":"}, {0x223C, "\\sim "}, {0x2245, "\\cong "}, {0x2248, "\\approx "}, {0x2260, "\\ne "},
    {0x2261, "\\equiv "}, {0x2264, "\\le "}, {0x2265, "\\ge "}, {0x2282, "\\subset "}, {0x2286, "\\subseteq "}, {0x22A5, "\\perp "}, {0x22C5, "\\cdot "}, {0x22EF, "\\cdots "}, {0x2308, "\\lceil "}, {0x2309, "\\rceil "},
    {0x230A, "\\lfloor "}, {0x230B, "\\rfloor "}, {0x25A1, "\\square "}, {0x25B3, "\\triangle "}, {0x2713, ""}, {0x2714, ""}, {0x27E8, "\\langle "}, {0x27E9, "\\rangle "}, {0x2A7D, "\\le "}, {0x2A7E, "\\ge "}, {0x3000, " "}, {0x3001, ","},
    {0x3002, "."}, {0x300C, " "}, {0x300D, " "}, {0x3010, "["}, {0x3011, "]"}, {0xFE0E, ""}, {0xFE0F, ""}, {0xFEFF, ""},
};

static const char *find(uint32_t cp)
{
    int lo = 0, hi = (int)(sizeof table / sizeof *table);
    while (lo < hi) {
        int mid = (lo + hi) / 2;
        if (table[mid].cp < cp)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < (int)(sizeof table / sizeof *table) && table[lo].cp == cp ? table[lo].to : NULL;
}

/* The plain character of a super- or subscript, 0 when it is none. */
static char script(uint32_t cp, int *super)
{
    static const char tail[] = "+-=()";
    *super = 1;
    if (cp == 0xB2 || cp == 0xB3 || cp == 0xB9)
        return cp == 0xB9 ? '1' : cp == 0xB2 ? '2' : '3';
    if (cp == 0x2070 || (cp >= 0x2074 && cp <= 0x2079))
        return (char)('0' + (cp - 0x2070));
    if (cp == 0x2071 || cp == 0x207F)
        return cp == 0x2071 ? 'i' : 'n';
    if (cp >= 0x207A && cp <= 0x207E)
        return tail[cp - 0x207A];
    if (cp == 0x2E3 || cp == 0x1D4F || cp == 0x1D50)
        return cp == 0x2E3 ? 'x' : cp == 0x1D4F ? 'k' : 'm';
    *super = 0;
    if (cp >= 0x2080 && cp <= 0x2089)
        return (char)('0' + (cp - 0x2080));
    if (cp >= 0x208A && cp <= 0x208E)
        return tail[cp - 0x208A];
    if (cp == 0x2099 || cp == 0x2096 || cp == 0x1D62 || cp == 0x2C7C)
        return cp == 0x2099 ? 'n' : cp == 0x2096 ? 'k' : cp == 0x1D62 ? 'i' : 'j';
    return 0;
}

/* Full-width forms, mathematical alphabets, other decimal digits. 0: none of these. */
static uint32_t plain_form(uint32_t cp)
{
    if (cp >= 0xFF01 && cp <= 0xFF5E)
        return cp - 0xFF01 + '!';
    if (cp >= 0x1D7CE && cp <= 0x1D7FF)
        return '0' + (cp - 0x1D7CE) % 10;
    if (cp >= 0x1D400 && cp <= 0x1D6A3) {
        uint32_t k = (cp - 0x1D400) % 52;
        return k < 26 ? 'A' + k : 'a' + k - 26;
    }
    if (cp >= 0x660 && cp <= 0x669)
        return '0' + (cp - 0x660);
    if (cp >= 0x6F0 && cp <= 0x6F9)
        return '0' + (cp - 0x6F0);
    if (cp >= 0x966 && cp <= 0x96F)
        return '0' + (cp - 0x966);
    return 0;
}

struct str math_fold(struct math_checker *m, struct str s)
{
    int64_t i = 0, n = 0;
    while (i < s.n && !(s.p[i] & 0x80))
        i++;
    if (i == s.n)
        return s;
    char *out = math_new(m, s.n * 7 + 16);
    int open = -1; /* in a run of superscripts (1) or subscripts (0) */
    for (i = 0; i < s.n;) {
        uint32_t cp;
        int k = utf8_decode(s, i, &cp), super;
        char sc = k ? script(cp, &super) : 0;
        if (open >= 0 && (!sc || super != open))
            out[n++] = '}', open = -1;
        if (!k) {
            out[n++] = 1; /* a bad byte: no token takes it */
            i++;
            continue;
        }
        i += k;
        if (sc) {
            if (open < 0) {
                out[n++] = super ? '^' : '_';
                out[n++] = '{';
                open = super;
            }
            out[n++] = sc;
            continue;
        }
        const char *to = cp < 0x80 ? NULL : find(cp);
        uint32_t p = cp < 0x80 ? cp : to ? 0 : plain_form(cp);
        if (cp >= 0x1D6A8 && cp <= 0x1D7CB && (cp - 0x1D6A8) % 58 == 41)
            to = "\\pi ";
        if (to) {
            size_t l = strlen(to);
            memcpy(out + n, to, l);
            n += (int64_t)l;
            if ((cp == 0x221A || cp == 0x221B) && i < s.n && s.p[i] >= '0' && s.p[i] <= '9') { /* all digits are under it */
                out[n - 1] = '{';
                while (i < s.n && s.p[i] >= '0' && s.p[i] <= '9')
                    out[n++] = s.p[i++];
                out[n++] = '}';
            }
        } else if (p) {
            out[n++] = (char)p;
        } else {
            memcpy(out + n, s.p + i - k, (size_t)k);
            n += k;
        }
    }
    if (open >= 0)
        out[n++] = '}';
    return (struct str){out, n};
}
