/* Strings to tokens. The lexer flattens \text and friends, drops spacing and font commands, reads numbers with every
 * kind of separator, and decides whether a run of letters is a word, a unit, a function or a product of names. */
#include <pthread.h>
#include <string.h>

#include "core/err.h"
#include "rewards/math_int.h"

static const struct lex_entry cmds[] = {
#define C(name, type, id) {name, type, id},
#include "rewards/math_words.def"
};

static const struct lex_entry words[] = {
#define W(name, type, id) {name, type, id},
#include "rewards/math_words.def"
};

static const struct unit units[] = {
#define U(name, dims, num, den) {name, dims, num, den},
#include "rewards/math_words.def"
};

enum { HASH = 1024, N_CMDS = sizeof cmds / sizeof *cmds, N_WORDS = sizeof words / sizeof *words, N_UNITS = sizeof units / sizeof *units };
static uint16_t cmd_slot[HASH], word_slot[HASH], unit_slot[HASH]; /* index + 1; written once */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static uint32_t hash_name(const char *p, int64_t n)
{
    uint32_t h = 2166136261u;
    for (int64_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)p[i]) * 16777619u;
    return (h ^ h >> 15) & (HASH - 1);
}

static void put_slot(uint16_t *slot, const char *name, int index)
{
    uint32_t h = hash_name(name, (int64_t)strlen(name));
    while (slot[h])
        h = (h + 1) & (HASH - 1);
    slot[h] = (uint16_t)(index + 1);
}

static void build(void)
{
    for (int i = 0; i < N_CMDS; i++)
        put_slot(cmd_slot, cmds[i].name, i);
    for (int i = 0; i < N_WORDS; i++)
        put_slot(word_slot, words[i].name, i);
    for (int i = 0; i < N_UNITS; i++)
        put_slot(unit_slot, units[i].name, i);
}

void math_lex_init(void)
{
    pthread_once(&once, build);
}

static int same(const char *name, const char *p, int64_t n)
{
    return strncmp(name, p, (size_t)n) == 0 && !name[n];
}

const struct lex_entry *math_lookup_cmd(struct str s)
{
    for (uint32_t h = hash_name(s.p, s.n); cmd_slot[h]; h = (h + 1) & (HASH - 1))
        if (same(cmds[cmd_slot[h] - 1].name, s.p, s.n))
            return &cmds[cmd_slot[h] - 1];
    return NULL;
}

static int64_t lower_into(char *out, int64_t max, struct str s)
{
    if (s.n > max)
        return 0;
    for (int64_t i = 0; i < s.n; i++)
        out[i] = s.p[i] >= 'A' && s.p[i] <= 'Z' ? (char)(s.p[i] | 32) : s.p[i];
    return s.n;
}

const struct lex_entry *math_lookup_word(struct str s)
{
    char low[16];
    int64_t n = lower_into(low, sizeof low, s);
    if (!n)
        return NULL;
    for (uint32_t h = hash_name(low, n); word_slot[h]; h = (h + 1) & (HASH - 1))
        if (same(words[word_slot[h] - 1].name, low, n))
            return &words[word_slot[h] - 1];
    return NULL;
}

const struct unit *math_unit(struct str s)
{
    char low[16];
    int64_t n = lower_into(low, sizeof low, s);
    if (!n || (s.n == 1 && strchr("MSHGknvjw", s.p[0]))) /* M, S, H are no metres, seconds, hours; k, n, v no kelvins, newtons, volts */
        return NULL;
    for (uint32_t h = hash_name(low, n); unit_slot[h]; h = (h + 1) & (HASH - 1))
        if (same(units[unit_slot[h] - 1].name, low, n))
            return &units[unit_slot[h] - 1];
    return NULL;
}

struct str math_lower(struct math_checker *m, struct str s)
{
    char *p = math_new(m, s.n + 1);
    for (int64_t i = 0; i < s.n; i++)
        p[i] = s.p[i] >= 'A' && s.p[i] <= 'Z' ? (char)(s.p[i] | 32) : s.p[i];
    return (struct str){p, s.n};
}

struct lexer {
    struct math_checker *m;
    struct str s;
    int64_t i;
    struct tok *t;
    int n, cap;
    int brackets;     /* open ( [ \{ */
    int braces;       /* open { */
    int text_at[8];   /* brace depth of each open text group; its own braces give no tokens */
    int texts, rm;    /* rm: bit per text group that is \mathrm */
    int math;         /* between dollars or \( \) */
    int dollars;      /* unescaped $ in the string */
    int mathy;        /* holds a command or one of ^_= */
    int space;
    int full;
};

static int starts_value(int type, int id)
{
    return type == T_NUM || type == T_SYM || type == T_CONST || type == T_FN || (type == T_OPEN && id != '(') || (type == T_CMD && (id == K_FRAC || id == K_SQRT || id == K_BEGIN));
}

static int ends_value(const struct tok *t)
{
    return t->type == T_NUM || t->type == T_SYM || t->type == T_CONST || t->type == T_CLOSE || t->type == T_UNIT;
}

static struct tok *push(struct lexer *x, int type, int id, struct str s)
{
    if (x->n >= x->cap) {
        x->full = 1;
        return &x->t[x->cap];
    }
    if ((x->space & 2) && starts_value(type, id) && x->n && ends_value(&x->t[x->n - 1])) { /* a \quad b: two answers */
        x->space = 1;
        push(x, T_OP, ',', STR(","));
        return push(x, type, id, s);
    }
    struct tok *t = &x->t[x->n++];
    *t = (struct tok){.type = (uint8_t)type, .id = id, .space = x->space != 0, .text = x->texts > 0, .frac = -1, .s = s};
    x->space = 0;
    return t;
}

static char at(const struct lexer *x, int64_t i)
{
    return i >= 0 && i < x->s.n ? x->s.p[i] : 0;
}

static int digit(char c)
{
    return c >= '0' && c <= '9';
}

static int letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Length of a thousands separator at i that is followed by exactly three digits, else 0. */
static int thousands(const struct lexer *x, int64_t i)
{
    int k = 0;
    char c = at(x, i);
    if (c == ',' && !x->brackets)
        k = 1;
    if (c == ',' && at(x, i + 1) == '\\' && at(x, i + 2) == '!')
        for (k = 3; at(x, i + k) == ' ';)
            k++;
    else if (c == '{' && at(x, i + 1) == ',' && at(x, i + 2) == '}')
        k = 3;
    else if (c == '\\' && (at(x, i + 1) == ',' || at(x, i + 1) == ' ' || at(x, i + 1) == ';'))
        k = 2;
    else if (c == ' ' || c == '~')
        k = 1;
    if (k && digit(at(x, i + k)) && digit(at(x, i + k + 1)) && digit(at(x, i + k + 2)) && !digit(at(x, i + k + 3)))
        return k;
    return 0;
}

/* Group separators from i on (i stands behind 1-3 digits): end of the number, or i when this is no grouped number. */
static int64_t grouped(const struct lexer *x, int64_t start, int64_t i)
{
    int64_t end = i;
    if (i - start > 3 || (i - start > 1 && at(x, start) == '0'))
        return i;
    char kind = at(x, i);
    if ((kind == ' ' || kind == '~') && !x->m->o.thousands_space)
        return i;
    while (at(x, end) == kind && thousands(x, end))
        end += thousands(x, end) + 3;
    if (end == i)
        return i;
    int plain = kind == ',' && at(x, i + 1) != '\\';
    if (plain && ((at(x, end) == ',' && digit(at(x, end + 1))) || (x->n && x->t[x->n - 1].type == T_OP && x->t[x->n - 1].id == ',' && at(x, start - 1) == ',')))
        return i;
    if (kind == ' ' && at(x, end) == ' ' && digit(at(x, end + 1)))
        return i;
    if (kind == ' ' && (x->brackets || x->n))
        if (x->n && (x->t[x->n - 1].type == T_NUM || at(x, end) == '/'))
            return i;
    return end;
}

/* \overline{3} and the like right behind the decimals: number of repeating digits, *end behind it. */
static int repeating(const struct lexer *x, int64_t i, int64_t *end)
{
    static const char *const forms[] = {"\\overline", "\\bar", "\\dot", "("};
    for (int f = 0; f < 4; f++) {
        int64_t k = (int64_t)strlen(forms[f]), j = i + k, a;
        if (i + k > x->s.n || strncmp(x->s.p + i, forms[f], (size_t)k))
            continue;
        while (f < 3 && at(x, j) == ' ')
            j++;
        int brace = f < 3 && at(x, j) == '{';
        for (a = j += brace; digit(at(x, j)); j++)
            if (!brace && f < 3)
                {
                    j++;
                    break;
                }
        if (j == a || j - a > 60 || (brace && at(x, j) != '}') || (f == 3 && at(x, j) != ')'))
            return 0;
        *end = j + (brace || f == 3);
        return (int)(j - a);
    }
    return 0;
}

static void lex_number(struct lexer *x)
{
    int64_t start = x->i, i = start, rep_end = 0;
    while (digit(at(x, i)))
        i++;
    int64_t end = grouped(x, start, i), int_end = end;
    int was_grouped = end > i, frac = -1, rep = 0, comma = 0;
    char c = at(x, end);
    if (c == '.' && digit(at(x, end + 1)) ) {
        for (i = ++end; digit(at(x, end));)
            end++;
        frac = (int)(end - i);
    } else if (c == '.' && end > start && (at(x, end + 1) == '\\' ? !strncmp(x->s.p + end + 1, "\\over", x->s.n - end > 6 ? 5 : 0) || !strncmp(x->s.p + end + 1, "\\bar", x->s.n - end > 5 ? 4 : 0) || !strncmp(x->s.p + end + 1, "\\dot{", x->s.n - end > 6 ? 5 : 0)
                                                                  : strchr("/*+^)}(", at(x, end + 1)) && at(x, end + 1))) {
        end++;
        frac = 0;
    } else if (c == ',' && x->m->comma && digit(at(x, end + 1)) && !was_grouped && !x->brackets) {
        for (i = ++end; digit(at(x, end));)
            end++;
        frac = (int)(end - i);
        comma = 1;
    }
    if (frac >= 0 && !comma && frac < 2000)
        rep = repeating(x, end, &rep_end);
    struct tok *t = push(x, T_NUM, 0, str_sub(x->s, start, end));
    t->thousands = (uint8_t)was_grouped;
    if (was_grouped || rep || comma || (frac == 0)) { /* spell it with digits and one point alone */
        int64_t n = 0;
        char *p = math_new(x->m, rep_end + end - start + 2);
        for (int64_t j = start; j < int_end; j++)
            if (digit(at(x, j)))
                p[n++] = at(x, j);
        if (frac >= 0) {
            p[n++] = '.';
            for (int64_t j = int_end + 1; j < (rep ? rep_end : end); j++)
                if (digit(at(x, j)))
                    p[n++] = at(x, j);
        }
        t->s = (struct str){p, n};
    }
    t->rep = (int16_t)rep;
    t->frac = (int16_t)(frac > 30000 ? 30000 : frac + rep * (frac >= 0));
    x->i = rep ? rep_end : end;
    char e = at(x, x->i), e1 = at(x, x->i + 1), e2 = at(x, x->i + 2);
    if ((e == 'e' || e == 'E') && !rep && (digit(e1) || ((e1 == '-' || e1 == '+') && digit(e2)))) {
        int64_t v = 0, j = x->i + 1 + !digit(e1);
        for (; digit(at(x, j)); j++)
            v = v < 1000000000 ? v * 10 + at(x, j) - '0' : v;
        if (!letter(at(x, j))) {
            t->exp10 = (int32_t)(e1 == '-' ? -v : v);
            x->i = j;
        }
    }
}

static int word_char(const struct lexer *x, int64_t i)
{
    char c = at(x, i);
    return letter(c) || (c & 0x80) || (c == '\'' && letter(at(x, i + 1)) && letter(at(x, i - 1)) && (x->texts || !x->mathy));
}

static int after_value(const struct lexer *x)
{
    const struct tok *p = x->n ? &x->t[x->n - 1] : NULL;
    return p && (p->type == T_NUM || p->type == T_CLOSE || p->type == T_UNIT || p->type == T_CONST ||
                 (p->type == T_WORD && ((p->id & 255) == W_SQUARE || (p->id & 255) == W_CUBIC || (p->id & 255) == W_PER || (p->id & 255) == W_NUMBER || (p->id & 255) == W_SCALE)) ||
                 (p->type == T_OP && (strchr("/*%", p->id))) || (p->type == T_SYM && p->text));
}

static void push_letters(struct lexer *x, struct str w)
{
    for (int64_t i = 0; i < w.n; i++) {
        struct str one = str_sub(w, i, i + 1);
        if (one.p[0] == 'e' && !x->texts)
            push(x, T_CONST, C_E, one);
        else if (one.p[0] == 'i' && !x->texts)
            push(x, T_CONST, C_I, one);
        else
            push(x, T_SYM, 0, one);
    }
}

static int push_known(struct lexer *x, struct str w)
{
    const struct lex_entry *e = math_lookup_word(w);
    int in_math = x->math && !x->texts, caps = 1;
    for (int64_t i = 0; i < w.n; i++)
        caps &= w.p[i] >= 'A' && w.p[i] <= 'Z';
    const struct unit *money = math_unit(w);
    if (money && strchr("$EGJCR", money->dims[0]) && money->dims[0] && (digit(at(x, x->i)) || (at(x, x->i) == ' ' && digit(at(x, x->i + 1))))) { /* USD 5 */
        push(x, T_UNIT, 0, w);
        return 1;
    }
    int remark = x->n > 1 && x->t[x->n - 1].type == T_OPEN && x->t[x->n - 1].id == '(' && x->t[x->n - 2].type == T_NUM && at(x, x->i) != '+' && at(x, x->i) != '-';
    if ((after_value(x) || remark) && (!caps || w.n > 2) && math_unit(w) && !(e && (e->type == T_WORD && (e->id & 255) != W_OTHER))) {
        push(x, T_UNIT, 0, w);
        return 1;
    }
    if (!e || (caps && w.n <= 4 && !x->texts && (in_math || x->mathy || w.n < 3) && strncmp(e->name, "pm", 2) && strncmp(e->name, "am", 2)))
        return 0;
    int cls = e->id & 255;
    if (e->type == T_WORD && in_math && cls != W_AND && cls != W_OR && cls != W_IF && !(w.n > 3 && (cls == W_SQUARE || cls == W_CUBIC || cls == W_PERCENT)))
        return 0;
    if ((e->type == T_SYM || e->type == T_FN) && x->texts && !(x->rm >> (x->texts - 1) & 1)) {
        push(x, T_WORD, W_OTHER, w);
        return 1;
    }
    push(x, e->type, e->id, e->type == T_SYM ? str_of(e->name) : w);
    return 1;
}

/* sinx, lnx, sqrtx: a function name with one or two letters behind it. */
static int push_prefixed(struct lexer *x, struct str w)
{
    static const char *const names[] = {"sin", "cos", "tan", "cot", "sec", "csc", "ln", "log", "sqrt", "exp"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        int64_t k = (int64_t)strlen(names[i]);
        if (w.n > k && w.n <= k + 2 && !strncmp(w.p, names[i], (size_t)k)) {
            push_known(x, str_sub(w, 0, k));
            push_letters(x, str_sub(w, k, w.n));
            return 1;
        }
    }
    return 0;
}

static void lex_letters(struct lexer *x)
{
    int64_t start = x->i, i = start;
    int high = 0, in_math = x->math && !x->texts;
    while (word_char(x, i))
        high |= at(x, i++) & 0x80;
    struct str w = str_sub(x->s, start, i);
    x->i = i;
    if (w.n == 1 && !high) {
        int rm = x->texts && (x->rm >> (x->texts - 1) & 1);
        char per = at(x, i) == '/' ? at(x, i + 1) : 0;
        if (!in_math && after_value(x) && (per == 's' || per == 'h') && !letter(at(x, i + 2)) && math_unit(w)) { /* m/s */
            push(x, T_UNIT, 0, w);
            return;
        }
        if ((w.p[0] == 'e' || w.p[0] == 'i') && (!x->texts || rm))
            push(x, T_CONST, w.p[0] == 'e' ? C_E : C_I, w);
        else
            push(x, T_SYM, 0, w);
        return;
    }
    if (!high && push_known(x, w))
        return;
    if (high || x->texts) {
        push(x, T_WORD, W_OTHER, w);
        return;
    }
    if (push_prefixed(x, w))
        return;
    int capital = w.p[0] >= 'A' && w.p[0] <= 'Z' && w.p[1] >= 'a' && w.p[1] <= 'z', alone = start == 0 && i == x->s.n;
    int64_t b = start - 1, a = i;
    while (at(x, b) == ' ')
        b--;
    while (at(x, a) == ' ')
        a++;
    char before = at(x, b), after = at(x, a);
    int caps = 1, open = before == '(' && !(x->mathy || (after && strchr(",)^_+-*/=", after)));
    for (int64_t k = 0; k < w.n; k++)
        caps &= w.p[k] >= 'A' && w.p[k] <= 'Z';
    int glued = digit(at(x, start - 1)) || (before && !open && strchr("^_+-*/=({|", before)) || (after && strchr("^_+-*/=|}", after)) || at(x, i) == '(' || (caps && (before == ',' || after == ',' || (x->mathy && w.n <= 4)));
    int vowel = 0, lower = 1;
    for (int64_t k = 0; k < w.n; k++) {
        vowel |= strchr("aeiou", w.p[k]) != NULL;
        lower &= w.p[k] >= 'a';
    }
    int tight = digit(at(x, start - 1)) || (before && strchr("^_+-*/=", before)) || (after && strchr("^_+-*/=", after));
    if ((in_math || x->mathy) && w.n >= 4 && vowel && lower && !tight && !alone && x->n) { /* $42 (miles)$ */
        push(x, T_WORD, W_OTHER, w);
        return;
    }
    if (in_math || (w.n <= 3 && (glued || (alone && !capital))) || (w.n <= 5 && x->mathy && glued && !capital))
        push_letters(x, w);
    else
        push(x, T_WORD, W_OTHER, w);
}

/* Skips white space, then one {...} group or one character. */
static void skip_arg(struct lexer *x)
{
    while (at(x, x->i) == ' ')
        x->i++;
    if (at(x, x->i) == '[') {
        while (x->i < x->s.n && at(x, x->i) != ']')
            x->i++;
        x->i++;
    }
    if (at(x, x->i) != '{') {
        x->i += x->i < x->s.n && at(x, x->i) != '\\';
        return;
    }
    int depth = 0;
    for (; x->i < x->s.n; x->i++) {
        depth += at(x, x->i) == '{';
        depth -= at(x, x->i) == '}';
        if (!depth)
            break;
    }
    x->i += x->i < x->s.n;
}

static void open_text(struct lexer *x, int rm)
{
    int64_t j = x->i;
    while (at(x, j) == ' ' || at(x, j) == '*')
        j++;
    if (at(x, j) != '{' || x->texts >= 8)
        return;
    x->i = j + 1;
    x->braces++;
    x->text_at[x->texts] = x->braces;
    x->rm = rm ? x->rm | 1 << x->texts : x->rm & ~(1 << x->texts);
    x->texts++;
    x->space = 1;
}

/* \begin{name} and \end{name} are one token; the column layout of an array is dropped. */
static void lex_env(struct lexer *x, int id)
{
    int64_t i = x->i, j;
    while (at(x, i) == ' ')
        i++;
    for (j = i + 1; letter(at(x, j)) || at(x, j) == '*';)
        j++;
    if (at(x, i) != '{' || at(x, j) != '}') {
        push(x, T_BAD, 0, STR("begin"));
        return;
    }
    struct str name = str_sub(x->s, i + 1, j);
    x->i = j + 1;
    push(x, T_CMD, id, name);
    if (id == K_BEGIN && (str_eq(name, STR("array")) || str_eq(name, STR("tabular"))))
        skip_arg(x);
    x->brackets += id == K_BEGIN;
    x->brackets -= id == K_END && x->brackets > 0;
}

static void lex_named(struct lexer *x, struct str name)
{
    const struct lex_entry *e = math_lookup_cmd(name);
    if (!e && name.p[0] == 'n' && (name.n == 1 || (name.p[1] >= 'A' && name.p[1] <= 'Z'))) { /* a newline escaped once too often */
        x->i -= name.n - 1;
        x->space = 1;
        return;
    }
    if (!e && name.n > 4 && !strncmp(name.p, "quad", 4)) {
        x->i -= name.n - 4;
        x->space = 1;
        return;
    }
    if (!e) {
        push(x, T_BAD, 0, name);
        return;
    }
    if (e->type != T_CMD) {
        push(x, e->type, e->id, e->type == T_SYM ? str_of(e->name) : name);
        x->brackets += e->type == T_OPEN;
        x->brackets -= e->type == T_CLOSE && x->brackets > 0;
        return;
    }
    switch (e->id) {
    case K_TEXT: open_text(x, 0); return;
    case K_MATHRM:
    case K_OPNAME: open_text(x, 1); return;
    case K_FONT:
        if (!strcmp(e->name, "framebox"))
            while (at(x, x->i) == '[')
                skip_arg(x);
        return;
    case K_SPACE: x->space = str_ends(name, STR("quad")) ? 2 : 1; return;
    case K_DROP:
    case K_PHANTOM: skip_arg(x); return;
    case K_LEFT:
    case K_RIGHT:
        while (at(x, x->i) == ' ')
            x->i++;
        if (at(x, x->i) == '.')
            x->i++;
        else if (at(x, x->i) == '|') { /* a bar with a side: no guessing */
            x->i++;
            push(x, e->id == K_LEFT ? T_OPEN : T_CLOSE, '|', STR("|"));
        }
        return;
    case K_BEGIN:
    case K_END: lex_env(x, e->id); return;
    default: push(x, T_CMD, e->id, name);
    }
}

static void lex_backslash(struct lexer *x)
{
    char c = at(x, x->i + 1);
    if (letter(c)) {
        int64_t j = x->i + 1;
        while (letter(at(x, j)))
            j++;
        struct str name = str_sub(x->s, x->i + 1, j);
        x->i = j;
        lex_named(x, name);
        return;
    }
    x->i += 2;
    if (c == '\\') {
        int64_t j = x->i;
        while (letter(at(x, j)))
            j++;
        if (j > x->i + 1 && math_lookup_cmd(str_sub(x->s, x->i, j))) { /* \\frac: escaped once too often */
            x->i--;
            return;
        }
        while (at(x, x->i) == '\\' && at(x, x->i + 1) == '\\')
            x->i += 2;
        if (at(x, x->i) == '[') { /* \\[2pt] */
            int64_t k = x->i + 1;
            while (digit(at(x, k)) || at(x, k) == '.' || at(x, k) == '-')
                k++;
            if (k > x->i + 1 && letter(at(x, k)) && letter(at(x, k + 1)) && at(x, k + 2) == ']')
                x->i = k + 3;
        }
        push(x, T_OP, 'R', STR("\\\\"));
    } else if (c == '{') {
        push(x, T_OPEN, 'S', STR("\\{"));
        x->brackets++;
    } else if (c == '}') {
        push(x, T_CLOSE, 'S', STR("\\}"));
        x->brackets -= x->brackets > 0;
    } else if (c == '$') {
        push(x, T_UNIT, 0, STR("$"));
    } else if (c == '%' || c == '#' || c == '&') {
        push(x, T_OP, c, str_sub(x->s, x->i - 1, x->i));
    } else if (c == '(' || c == '[') {
        x->math = 1;
    } else if (c == ')' || c == ']') {
        x->math = 0;
    } else if (c == '|') {
        push(x, T_OP, 'V', STR("\\|"));
    } else {
        x->space = 1; /* \, \; \! \: "\ " and a lone backslash */
    }
}

static int two(const struct lexer *x, const char *s)
{
    return at(x, x->i) == s[0] && at(x, x->i + 1) == s[1];
}

static int lex_relation(struct lexer *x)
{
    static const struct {
        char s[3];
        int rel;
    } forms[] = {{"<=", R_LE}, {"=<", R_LE}, {">=", R_GE}, {"!=", R_NE}, {"<>", R_NE}, {"==", R_EQ}, {"~=", R_APPROX}};
    if (two(x, "=>") || two(x, "->")) {
        x->i += 2;
        push(x, T_CMD, K_ARROW, STR("to"));
        return 1;
    }
    for (size_t k = 0; k < sizeof forms / sizeof *forms; k++)
        if (two(x, forms[k].s)) {
            x->i += 2;
            push(x, T_REL, forms[k].rel, str_of(forms[k].s));
            return 1;
        }
    char c = at(x, x->i);
    if (c == '=' || c == '<' || c == '>') {
        push(x, T_REL, c == '=' ? R_EQ : c == '<' ? R_LT : R_GT, str_sub(x->s, x->i, x->i + 1));
        x->i++;
        return 1;
    }
    return 0;
}

static void lex_brace(struct lexer *x, char c)
{
    x->i++;
    if (c == '{') {
        x->braces++;
        push(x, T_OPEN, '{', STR("{"));
        return;
    }
    if (x->texts && x->text_at[x->texts - 1] == x->braces) {
        x->texts--;
        x->braces--;
        x->space = 1;
        return;
    }
    x->braces -= x->braces > 0;
    push(x, T_CLOSE, '}', STR("}"));
}

static void lex_punct(struct lexer *x)
{
    char c = at(x, x->i);
    struct str one = str_sub(x->s, x->i, x->i + 1);
    if (two(x, "**")) {
        x->i += 2;
        push(x, T_OP, '^', STR("^"));
        return;
    }
    if (c == '.' && at(x, x->i + 1) == '.' && at(x, x->i + 2) == '.') {
        while (at(x, x->i) == '.')
            x->i++;
        push(x, T_CMD, K_DOTS, STR("dots"));
        return;
    }
    x->i++;
    if (c == '(' || c == '[') {
        push(x, T_OPEN, c, one);
        x->brackets++;
    } else if (c == ')' || c == ']') {
        push(x, T_CLOSE, c, one);
        x->brackets -= x->brackets > 0;
    } else if (c && strchr("+-*/^_!,;:|&%'#?.", c)) {
        push(x, T_OP, c, one);
    } else if (c == '"' || c == '`') {
        x->space = 1;
    } else {
        push(x, T_BAD, 0, one);
    }
}

static void lex_dollar(struct lexer *x)
{
    x->i++;
    if (x->dollars % 2 == 1 && digit(at(x, x->i))) { /* unpaired and before a number: money */
        push(x, T_UNIT, 0, STR("$"));
        x->dollars--;
        return;
    }
    if (at(x, x->i) == '$')
        return; /* the second of $$ toggles */
    x->math = !x->math;
    x->space = 1;
    if (!x->math) { /* one formula a line: a list */
        int64_t j = x->i;
        int lines = 0;
        while (at(x, j) == ' ' || at(x, j) == '\n' || at(x, j) == '\r')
            lines += at(x, j++) == '\n';
        if (lines && at(x, j) == '$' && x->n && !(x->t[x->n - 1].type == T_OP && strchr(",;", x->t[x->n - 1].id)))
            push(x, T_OP, ',', STR(","));
    }
}

int math_lex(struct math_checker *m, struct str s, struct tok **out, int *n)
{
    struct lexer x = {.m = m, .s = s, .cap = MATH_MAX_TOKENS};
    int64_t room = s.n + 2 < MATH_MAX_TOKENS + 1 ? s.n + 2 : MATH_MAX_TOKENS + 1;
    x.cap = (int)room - 1;
    x.t = math_new(m, room * (int64_t)sizeof *x.t);
    for (int64_t i = 0; i < s.n; i++) {
        x.dollars += s.p[i] == '$' && !(i && s.p[i - 1] == '\\');
        x.mathy |= s.p[i] == '\\' || s.p[i] == '^' || s.p[i] == '_' || s.p[i] == '=';
    }
    math_spend(m, s.n / 8);
    while (x.i < s.n && !x.full) {
        char c = s.p[x.i];
        if (c == ' ' || (c >= '\t' && c <= '\r') || c == '~') {
            x.space |= 1;
            x.i++;
        } else if (digit(c) || (c == '.' && digit(at(&x, x.i + 1)) && !(x.i && digit(at(&x, x.i - 1))))) {
            lex_number(&x);
        } else if (letter(c) || (c & 0x80)) {
            lex_letters(&x);
        } else if (c == '\\') {
            lex_backslash(&x);
        } else if (c == '{' || c == '}') {
            lex_brace(&x, c);
        } else if (c == '$') {
            lex_dollar(&x);
        } else if (!lex_relation(&x)) {
            lex_punct(&x);
        }
    }
    if (x.full)
        return 0;
    *out = x.t;
    *n = x.n;
    x.t[x.n] = (struct tok){.type = T_END};
    return 1;
}
