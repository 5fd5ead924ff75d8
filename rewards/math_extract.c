/* The answer inside a response. Rules in order, the first that finds something wins:
 *   box      the last \boxed, \fbox or \framebox; boxes with nothing but "and", "or" and commas between them are one list
 *   tag      <answer> ... </answer>
 *   hashes   #### 18
 *   phrase   "the answer is", "Answer:", and the same in other languages
 *   whole    a short text that reads as mathematics to its end
 *   maths    the last $...$, \(...\) or \[...\], unless a number stands behind it
 *   number   the last run of numbers and operators
 * Thinking blocks and everything behind an end-of-turn mark are cut first. */
#include <string.h>

#include "rewards/math_int.h"

static int has(struct str s, int64_t i, const char *what)
{
    int64_t n = (int64_t)strlen(what);
    return i >= 0 && i + n <= s.n && memcmp(s.p + i, what, (size_t)n) == 0;
}

static int64_t find_last(struct str s, const char *what)
{
    struct str w = str_of(what);
    int64_t at = -1;
    for (int64_t i = s.n - w.n; i >= 0; i--) { /* memrchr on the first byte, then compare */
        const char *p = memrchr(s.p, w.p[0], (size_t)i + 1);
        if (!p)
            break;
        i = p - s.p;
        if (has(s, i, what)) {
            at = i;
            break;
        }
    }
    return at;
}

static struct str cut_thinking(struct str s)
{
    static const char *const ends[] = {"</think>", "</thinking>", "</thought>", "<|end_of_thought|>", "</reasoning>"};
    static const char *const begins[] = {"<think>", "<thinking>", "<|begin_of_thought|>"};
    int64_t cut = -1, open = -1;
    if (!memchr(s.p ? s.p : "", '<', (size_t)s.n))
        return s;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        int64_t k = find_last(s, ends[i]);
        if (k >= 0 && k + (int64_t)strlen(ends[i]) > cut)
            cut = k + (int64_t)strlen(ends[i]);
    }
    if (cut >= 0)
        s = str_sub(s, cut, s.n);
    for (size_t i = 0; i < sizeof begins / sizeof *begins; i++) {
        int64_t k = str_find(s, str_of(begins[i]), 0);
        if (k >= 0 && (open < 0 || k < open))
            open = k;
    }
    if (open >= 0 && cut < 0 && str_find(s, STR("<answer>"), open) > open && str_find(s, STR("</answer>"), open) > open)
        return str_sub(s, str_find(s, STR("<answer>"), open), s.n); /* the end mark was forgotten */
    return open >= 0 ? str_sub(s, 0, open) : s;
}

static struct str cut_turns(struct str s)
{
    static const char *const marks[] = {"<|im_end|>", "<|eot_id|>", "<|endoftext|>", "</s>", "<|end|>", "<eos>", "\nHuman:", "\nUser:", "<|im_start|>"};
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        int64_t k = str_find(s, str_of(marks[i]), 0);
        if (k > 0)
            s = str_sub(s, 0, k);
    }
    return s;
}

static struct str without_thoughts(const struct math_checker *m, struct str s)
{
    return cut_turns(m->o.think_boxes ? s : cut_thinking(s));
}

/* Behind the brace that closes the one at s[i], or -1. */
static int64_t close_brace(struct str s, int64_t i)
{
    int depth = 0;
    for (; i < s.n; i++) {
        if (s.p[i] == '\\')
            i++; /* what is escaped is no brace */
        else if (s.p[i] == '{')
            depth++;
        else if (s.p[i] == '}' && --depth == 0)
            return i + 1;
    }
    return -1;
}

static int blank(struct str s)
{
    for (int64_t i = 0; i < s.n; i++)
        if (!strchr(" \t\r\n$.?\\,{}", s.p[i]) || !s.p[i])
            return 0;
    return 1;
}

struct box {
    int64_t begin, end;   /* of the whole \boxed{...} */
    struct str content;
};

/* The box whose command name begins at s[i] (behind the backslash); 0: none. */
static int box_at(struct str s, int64_t i, int64_t name, struct box *b)
{
    int64_t j = i + name;
    while (j < s.n && (s.p[j] == ' ' || s.p[j] == '\n'))
        j++;
    while (j < s.n && s.p[j] == '[' && name > 5) { /* \framebox[width] */
        while (j < s.n && s.p[j] != ']')
            j++;
        j++;
    }
    b->begin = i;
    while (b->begin > 0 && s.p[b->begin - 1] == '\\')
        b->begin--;
    if (j >= s.n)
        return 0;
    if (s.p[j] == '{') {
        int64_t e = close_brace(s, j);
        if (e < 0)
            return 0;
        b->end = e;
        b->content = str_sub(s, j + 1, e - 1);
        return !blank(b->content) && str_find(b->content, STR("\\boxed{}"), 0) < 0;
    }
    int64_t e = j; /* \boxed 5, \boxed\frac12 */
    while (e < s.n && !strchr(" $\n\t,;", s.p[e]) && s.p[e])
        e = s.p[e] == '{' && close_brace(s, e) > 0 ? close_brace(s, e) : e + 1;
    b->end = e;
    b->content = str_sub(s, j, e);
    return name >= 5 && e > j && (s.p[j] == '\\' || (s.p[j] >= '0' && s.p[j] <= '9') || s.p[j] == '-') && j > i + name - (s.p[j] == '\\');
}

/* Nothing but list glue between two boxes or formulas. */
static int glue(struct str s)
{
    static const char *const words[] = {"\\text", "\\quad", "\\qquad", "\\;", "\\,", "\\ ", "\\(", "\\)", "\\[", "\\]", "and", "or", "\\\\", "\\mathrm"};
    if (s.n > 60)
        return 0;
    for (int64_t i = 0; i < s.n;) {
        if (strchr(" \t\n$,;{}&.", s.p[i]) && s.p[i]) {
            i++;
            continue;
        }
        size_t k;
        for (k = 0; k < sizeof words / sizeof *words; k++)
            if (has(s, i, words[k]))
                break;
        if (k == sizeof words / sizeof *words)
            return 0;
        i += (int64_t)strlen(words[k]);
    }
    return 1;
}

static int previous_box(struct str s, int64_t before, struct box *b)
{
    static const char *const names[] = {"framebox", "boxed", "fbox"};
    int failed = 0; /* each failure may have read to the end of the text */
    for (int64_t i = before; i > 0 && failed < 12; i--) {
        const char *p = memrchr(s.p, '\\', (size_t)i);
        if (!p)
            return 0;
        i = p - s.p + 1;
        for (int k = 0; k < 3; k++)
            if (has(s, i, names[k])) {
                if (box_at(s, i, (int64_t)strlen(names[k]), b))
                    return 1;
                failed++;
            }
    }
    return 0;
}

static struct str boxes(struct math_checker *m, struct str s, int all)
{
    enum { MOST = 64 };
    struct box b[MOST];
    int n = 0;
    if (!previous_box(s, s.n, &b[0]))
        return (struct str){NULL, 0};
    for (n = 1; all && n < MOST && previous_box(s, b[n - 1].begin, &b[n]) && b[n].end <= b[n - 1].begin && glue(str_sub(s, b[n].end, b[n - 1].begin)); n++) {
        struct str between = str_sub(s, b[n].end, b[n - 1].begin);
        if (str_find(between, STR(". "), 0) >= 0 || str_find(between, STR(".\n"), 0) >= 0)
            break; /* two sentences: the last one counts */
    }
    int distinct = 0;
    int64_t total = 0;
    for (int i = n - 1; i >= 0; i--) {
        for (int j = n - 1; j > i && b[i].content.p; j--)
            if (b[j].content.p && str_eq(b[i].content, b[j].content))
                b[i].content.p = NULL;
        distinct += b[i].content.p != NULL;
        total += b[i].content.n + 3;
    }
    if (distinct == 1)
        return b[n - 1].content.p ? b[distinct == 1 ? n - 1 : 0].content : b[0].content;
    char *out = math_new(m, total + 1);
    int64_t k = 0;
    for (int i = n - 1; i >= 0; i--)
        if (b[i].content.p) {
            if (k) {
                memcpy(out + k, " , ", 3);
                k += 3;
            }
            memcpy(out + k, b[i].content.p, (size_t)b[i].content.n);
            k += b[i].content.n;
        }
    return (struct str){out, k};
}

static int digit(char c)
{
    return c >= '0' && c <= '9';
}

static int alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* First $...$, \(...\), \[...\] at or behind i: its inside, and *end behind it. */
static int formula(struct str s, int64_t i, struct str *in, int64_t *begin, int64_t *end)
{
    for (; i < s.n; i++) {
        if (s.p[i] == '$') {
            int d = i + 1 < s.n && s.p[i + 1] == '$';
            int64_t e = str_find(s, d ? STR("$$") : STR("$"), i + 1 + d);
            while (e > 0 && s.p[e - 1] == '\\')
                e = str_find(s, d ? STR("$$") : STR("$"), e + 1);
            if (e < 0)
                return 0;
            *in = str_sub(s, i + 1 + d, e);
            *begin = i;
            *end = e + 1 + d;
            return 1;
        }
        if (s.p[i] == '\\' && i + 1 < s.n && (s.p[i + 1] == '(' || s.p[i + 1] == '[')) {
            int64_t e = str_find(s, s.p[i + 1] == '(' ? STR("\\)") : STR("\\]"), i + 2);
            if (e < 0)
                return 0;
            *in = str_sub(s, i + 2, e);
            *begin = i;
            *end = e + 2;
            return 1;
        }
        if (s.p[i] == '\\')
            i++;
    }
    return 0;
}

/* One piece of text that may belong to a formula in prose: its length, or 0. */
static int64_t piece(struct str s, int64_t i, int started)
{
    char c = s.p[i];
    if (digit(c) || strchr("+-*/^=<>()[]{}|%!_.,:$", c))
        return c ? 1 : 0;
    if (c == '\\') {
        int64_t j = i + 1;
        while (j < s.n && alpha(s.p[j]))
            j++;
        return j > i + 1 ? j - i : i + 1 < s.n ? 2 : 1;
    }
    if (alpha(c)) {
        int64_t j = i;
        while (j < s.n && alpha(s.p[j]))
            j++;
        const struct lex_entry *e = j - i > 1 && j - i < 10 ? math_lookup_word(str_sub(s, i, j)) : NULL;
        if (e && (e->type == T_FN || e->type == T_CONST))
            return j - i;
        if (j - i > 3)
            return 0;
        int64_t k = j;
        while (k < s.n && s.p[k] == ' ')
            k++;
        int op_next = k < s.n && strchr("+-*/^=<>_(", s.p[k]) && s.p[k] && j - i == 1;
        int glued = started && (digit(s.p[i - 1]) || strchr(j - i == 1 ? "^_+-*/=({" : "^_+-*/={", s.p[i - 1]));
        int64_t b = i;
        while (b > 0 && s.p[b - 1] == ' ')
            b--;
        int op_before = started && b > 0 && strchr("+-*/^=<>", s.p[b - 1]) && j - i == 1;
        return op_next || glued || op_before ? j - i : 0;
    }
    if (c & 0x80) {
        if (i + 3 <= s.n && (has(s, i, "\xE2\x88") || has(s, i, "\xE2\x89") || has(s, i, "\xE2\x82") || has(s, i, "\xE2\x81")))
            return 3;
        if (has(s, i, "\xC2\xB2") || has(s, i, "\xC2\xB3") || has(s, i, "\xCF\x80") || has(s, i, "\xC3\x97") || has(s, i, "\xC2\xB0"))
            return 2;
    }
    return 0;
}

/* "not 5" */
static int denied(struct str s, int64_t b)
{
    return has(s, b - 4, "not ") || has(s, b - 5, "not $") || has(s, b - 4, "n't ");
}

/* The first (or last) run of formula pieces that holds a digit, from `from` on. */
static struct str run(struct str s, int64_t from, int last)
{
    struct str found = {NULL, 0};
    for (int64_t i = from; i < s.n;) {
        int64_t b = i, e = i, k, digits = 0;
        if (s.p[i] == ' ' || !(k = piece(s, i, 0)) || (i && alpha(s.p[i]) && alpha(s.p[i - 1]))) {
            if (alpha(s.p[i])) /* a word in one step */
                while (i < s.n && alpha(s.p[i]))
                    i++;
            else
                i++;
            continue;
        }
        while (i < s.n) {
            if (s.p[i] == ' ' && e == i) {
                i++;
                e = i;
                continue;
            }
            if (s.p[i] == '.' && (i + 1 == s.n || s.p[i + 1] == ' ' || s.p[i + 1] == '\n'))
                break; /* the end of a sentence */
            k = piece(s, i, i > b);
            if (!k)
                break;
            digits += digit(s.p[i]) || (k == 2 && s.p[i] != '\\' && !alpha(s.p[i]));
            i += k;
            e = i;
        }
        i += i == b;
        while (e > b && strchr(" ,:.(*-+=[{$", s.p[e - 1]))
            e--;
        while (b < e && strchr(" ,:.*)]}=$", s.p[b]) && !(s.p[b] == '.' && b + 1 < e && digit(s.p[b + 1])))
            b++;
        if (digits && !denied(s, b)) {
            found = str_sub(s, b, e);
            if (!last)
                return found;
        }
    }
    return found;
}

/* To the end of the sentence or line. */
static struct str sentence(struct str s)
{
    int64_t i = 0;
    int dollar = 0, bracket = 0;
    while (i < s.n && (s.p[i] == ' ' || s.p[i] == '\n' || s.p[i] == '*' || s.p[i] == ':' || s.p[i] == '\t'))
        i++;
    s = str_sub(s, i, s.n);
    for (i = 0; i < s.n; i++) {
        if (s.p[i] == '$' && !(i && s.p[i - 1] == '\\')) {
            dollar = !dollar;
            i += i + 1 < s.n && s.p[i + 1] == '$';
        }
        bracket = has(s, i, "\\(") || has(s, i, "\\[") || has(s, i, "\\begin") ? 1 : has(s, i, "\\)") || has(s, i, "\\]") || has(s, i, "\\end") ? 0 : bracket;
        if (i >= s.n)
            break;
        int64_t end = i + 1;
        while (end < s.n && (s.p[end] == '*' || s.p[end] == '"'))
            end++;
        if (s.p[i] == '\n' && !dollar && !bracket)
            break;
        if (s.p[i] == '.' && !dollar && !bracket && (end == s.n || s.p[end] == ' ' || s.p[end] == '\n') && !(i && s.p[i - 1] == 'm'))
            break;
        if (has(s, i, "\xE3\x80\x82"))
            break;
    }
    return str_sub(s, 0, i);
}

/* What a phrase such as "the answer is" points at. */
static struct str pointed_at(struct math_checker *m, struct str s)
{
    s = sentence(s);
    struct str in, plain;
    int64_t b, e, b2, e2;
    if (formula(s, 0, &in, &b, &e)) {
        struct str next, first = in;
        int joined = 0;
        int64_t begin = b, end = e;
        while (formula(s, end, &next, &b2, &e2) && glue(str_sub(s, end, b2)) && joined < 30) {
            end = e2;
            joined++;
        }
        int64_t d = 0, inside = 0, later = end;
        while (d < b && !digit(s.p[d]))
            d++;
        for (int64_t k = begin; k < end; k++)
            inside |= digit(s.p[k]) || s.p[k] == '\\';
        while (later < s.n && !digit(s.p[later]))
            later++;
        if ((d == b || b == 0) && (inside || later == s.n))
            return joined ? str_sub(s, begin, end) : first;
        if (d == b && !inside) { /* "the largest $n$ is 34" */
            struct str r = run(s, end, 0);
            struct str f2;
            return formula(s, end, &f2, &b2, &e2) && b2 < later ? f2 : r.n ? r : first;
        }
    }
    struct str t = str_trim(s);
    while (t.n && (t.p[t.n - 1] == '*' || t.p[t.n - 1] == '.'))
        t.n--;
    if (m && t.n && t.n < 200) {
        int sym = m->n_sym;
        struct node *x = math_parse(m, t, &plain);
        m->n_sym = sym;
        if (x && x->kind != N_TEXT)
            return t;
    }
    struct str r = run(s, 0, 0);
    return r.n ? r : t;
}

struct phrase {
    const char *text;
    int needs_mark; /* only with "is", ":" or "=" behind it */
    int line_start;
};

static const struct phrase phrases[] = {
    {"nswer", 1, 0}, {"NSWER", 1, 0}, {"orrect option", 1, 0}, {"orrect choice", 1, 0}, {"\xE7\xAD\x94\xE6\xA1\x88", 0, 0}, {"\xE7\xAD\x94\xEF\xBC\x9A", 0, 0}, {"\xE7\xAD\x94:", 0, 0},
    {"\xE7\xAD\x94\xE3\x81\x88", 0, 0}, {"R\xC3\xA9ponse", 0, 0}, {"r\xC3\xA9ponse", 0, 0}, {"espuesta", 0, 0}, {"esposta", 0, 0}, {"isposta", 0, 0}, {"ntwort", 0, 0}, {"\xD0\x9E\xD1\x82\xD0\xB2\xD0\xB5\xD1\x82", 0, 0},
    {"\xD0\xBE\xD1\x82\xD0\xB2\xD0\xB5\xD1\x82", 0, 0}, {"\xEC\xA0\x95\xEB\x8B\xB5", 0, 0}, {"\xEB\x8B\xB5:", 0, 0}, {"\xE0\xA4\x89\xE0\xA4\xA4\xE0\xA5\x8D\xE0\xA4\xA4\xE0\xA4\xB0", 0, 0},
    {"\xD8\xA7\xD9\x84\xD8\xA5\xD8\xAC\xD8\xA7\xD8\xA8\xD8\xA9", 0, 0}, {"odpowied\xC5\xBA", 0, 0}, {"A:", 0, 1},
};

/* Behind the words that link a phrase to its value, or -1 when they are missing and needed. */
static int64_t behind_link(struct str s, int64_t i, int needed)
{
    static const char *const links[] = {"is", "are", "was", "est", "es", "ist", "\xC3\xA9", "\xC3\xA8", ":", "=", "\xEF\xBC\x9A", "\xE6\x98\xAF", "\xE4\xB8\xBA", "s", "to", "final", "the", "this", "problem", "question", "therefore", "thus", "that", "correct", "\xE2\x80\x94"};
    int marked = 0;
    if (i < s.n && s.p[i] == 's' && (i + 1 == s.n || !alpha(s.p[i + 1])))
        i++;
    for (int k = 0; k < 8; k++) {
        while (i < s.n && (s.p[i] == ' ' || s.p[i] == '*' || s.p[i] == '_'))
            i++;
        size_t j;
        for (j = 0; j < sizeof links / sizeof *links; j++)
            if (has(s, i, links[j]) && !(alpha(links[j][0]) && i + (int64_t)strlen(links[j]) < s.n && alpha(s.p[i + (int64_t)strlen(links[j])])))
                break;
        if (j == sizeof links / sizeof *links)
            break;
        i += (int64_t)strlen(links[j]);
        marked |= j < 13;
    }
    if (needed && !marked && !(i < s.n && (digit(s.p[i]) || s.p[i] == '$' || has(s, i, "\\(") || has(s, i, "\\["))) && !(i < s.n && s.p[i] == '\n' && s.p[i - 1] == '*')) /* **Final Answer** as a heading */
        return -1;
    return i;
}

static int64_t behind_phrase(struct str whole)
{
    enum { TAIL = 16384 }; /* an answer stands near the end */
    struct str s = whole.n > TAIL ? str_sub(whole, whole.n - TAIL, whole.n) : whole;
    int64_t best = -1;
    for (size_t k = 0; k < sizeof phrases / sizeof *phrases; k++) {
        struct str w = str_of(phrases[k].text);
        int tries = 0;
        for (struct str t = s; tries < 8 && t.n > best; tries++) { /* the last occurrences */
            int64_t i = find_last(t, phrases[k].text);
            if (i < 0)
                break;
            t.n = i + w.n - 1;
            if (phrases[k].line_start && i && s.p[i - 1] != '\n' && s.p[i - 1] != ' ')
                continue;
            int64_t j = behind_link(s, i + w.n, phrases[k].needs_mark);
            if (j < 0 || blank(str_sub(s, j, s.n)) || has(s, j, "not "))
                continue;
            if (j > best)
                best = j;
            break;
        }
    }
    return best < 0 ? -1 : best + whole.n - s.n;
}

static struct str by_phrase(struct math_checker *m, struct str s)
{
    int64_t best = behind_phrase(s);
    return best < 0 ? (struct str){NULL, 0} : pointed_at(m, str_sub(s, best, s.n));
}

/* Everything behind the last answer phrase: what a gold that is a sentence is compared with. */
struct str math_tail(struct math_checker *m, struct str text)
{
    struct str s = str_trim(without_thoughts(m, text));
    int64_t best = behind_phrase(s);
    return best < 0 ? (struct str){NULL, 0} : str_trim(str_sub(s, best, s.n));
}

static struct str hashes(struct str s)
{
    int64_t i = find_last(s, "####");
    if (i < 0)
        return (struct str){NULL, 0};
    struct str r = str_trim(str_sub(s, i + 4, s.n));
    int64_t e = str_find(r, STR("\n"), 0);
    return str_trim(e < 0 ? r : str_sub(r, 0, e));
}

static struct str tagged(struct str s)
{
    int64_t e = find_last(s, "</answer>");
    if (e < 0)
        return (struct str){NULL, 0};
    struct str head = str_sub(s, 0, e);
    int64_t b = find_last(head, "<answer>");
    return b < 0 ? (struct str){NULL, 0} : str_trim(str_sub(head, b + 8, e));
}

static int only_digits(struct str s)
{
    int64_t i = 0;
    while (i < s.n && (digit(s.p[i]) || strchr("+-.,", s.p[i])) && s.p[i])
        i++;
    return i == s.n;
}

/* The last formula or, when one stands behind it, the last number. */
static struct str last_thing(struct str s, const char **rule)
{
    enum { TAIL = 3000 };
    int64_t from = s.n > TAIL ? s.n - TAIL : 0, b, e, at = from, fb = -1, fe = -1;
    struct str in, f = {NULL, 0};
    while (from < s.n && from && (s.p[from] & 0xC0) == 0x80)
        from++;
    if (from) { /* begin outside a formula: at a line */
        int64_t nl = str_find(s, STR("\n"), from);
        from = nl >= 0 && nl < s.n - 400 ? nl : from;
        at = from;
    }
    while (formula(s, at, &in, &b, &e)) {
        if (!blank(in)) {
            fb = f.n && fe >= 0 && glue(str_sub(s, fe, b)) && e - fb < 400 ? fb : b;
            f = fb == b ? in : str_sub(s, fb, e);
            fe = e;
        }
        at = e;
    }
    struct str n = run(s, fe >= 0 ? fe : from, 1);
    if (n.n || !f.n) {
        *rule = "number";
        return n;
    }
    *rule = "maths";
    return f;
}

/* A short text that is mathematics to its end. */
static struct str whole(struct math_checker *m, struct str s)
{
    struct str plain;
    if (!s.n || (s.n >= 300 && memchr(s.p, ' ', s.n < 2000 ? (size_t)s.n : 2000)))
        return (struct str){NULL, 0};
    int sym = m->n_sym;
    struct node *x = math_parse(m, s, &plain);
    m->n_sym = sym;
    int reads = x && (x->kind != N_TEXT || only_digits(s) || (!memchr(s.p, ' ', (size_t)s.n) && s.n < 40));
    return reads ? s : (struct str){NULL, 0};
}

static struct str by_rule(struct math_checker *m, int which, struct str s, const struct math_opts *o, const char **rule)
{
    switch (which) {
    case MATH_RULE_BOX: *rule = "box"; return boxes(m, s, o->all_boxes);
    case MATH_RULE_TAG: *rule = "tag"; return tagged(s);
    case MATH_RULE_HASHES: *rule = "hashes"; return hashes(s);
    case MATH_RULE_PHRASE: *rule = "phrase"; return by_phrase(m, s);
    case MATH_RULE_WHOLE: *rule = "whole"; return whole(m, s);
    default: return last_thing(s, rule);
    }
}

struct str math_find(struct math_checker *m, struct str text, const struct math_opts *o, const char **rule)
{
    struct str s = without_thoughts(m, text), r;
    math_spend(m, s.n / 64);
    if (o->strict_box) {
        r = by_rule(m, MATH_RULE_BOX, s, o, rule);
        *rule = r.n ? *rule : "none";
        return r;
    }
    for (int i = 0; i < MATH_RULE_N - 1; i++) {
        int which = o->rules[0] ? o->rules[i] : i + 1;
        if (!which)
            break;
        if (which != MATH_RULE_BOX)
            s = str_trim(s);
        if ((r = by_rule(m, which, s, o, rule)).n)
            return r;
    }
    *rule = s.n && !o->rules[0] ? "whole" : "none";
    return s.n < 2000 && !o->rules[0] ? s : (struct str){NULL, 0};
}

/* "A or B", "A and B", "A/B": the letter at i is one of several. */
static int alternative(struct str s, int64_t i)
{
    static const char *const between[] = {" or ", " and ", "/", " / ", ", or ", ", and "};
    for (size_t k = 0; k < sizeof between / sizeof *between; k++) {
        int64_t n = (int64_t)strlen(between[k]), j = i + 1 + n, open = j < s.n && s.p[j] == '(';
        if (s.p[i] <= 'H' && has(s, i + 1, between[k]) && j + open < s.n && s.p[j + open] >= 'A' && s.p[j + open] <= 'H' && !(j + open + 1 < s.n && alpha(s.p[j + open + 1])))
            return 1;
    }
    return 0;
}

/* "I would say C, not A": the first capital letter standing alone that is no word ("A", "I" in a sentence). */
struct str math_choice_in(struct math_checker *m, struct str text, const char **rule)
{
    struct str s = without_thoughts(m, text);
    *rule = "choice";
    for (int64_t i = 0; i < s.n; i++) {
        char c = s.p[i], before = i ? s.p[i - 1] : ' ', after = i + 1 < s.n ? s.p[i + 1] : ' ';
        if (c < 'A' || c > 'Z' || alpha(before) || digit(before) || before == '\\' || alpha(after) || digit(after) || after == '\'' || (before & 0x80) || (after & 0x80))
            continue;
        if (alternative(s, i))
            return (struct str){NULL, 0};
        int article = (c == 'A' || c == 'I') && after == ' ' && i + 2 < s.n && s.p[i + 2] >= 'a' && s.p[i + 2] <= 'z';
        if (!article && !strchr("+-*/=^_<>", before) && !strchr("+-*/=^_<>", after))
            return str_sub(s, i, i + 1);
    }
    return (struct str){NULL, 0};
}
