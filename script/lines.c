#include "script/lines.h"

#include <ctype.h>
#include <stdio.h>

enum { SCAN_DEPTH = 32, SCAN_KEY = 120 };

enum token { END_OF_TEXT, NAME, STRING, SIGN };

struct scan {
    struct str s;
    int64_t at;
    int line;
    struct str text;  /* of the token; a string without its quotes */
    char sign;
};

static char peek(const struct scan *c, int64_t ahead)
{
    return c->at + ahead < c->s.n ? c->s.p[c->at + ahead] : 0;
}

static void step(struct scan *c)
{
    c->line += c->s.p[c->at++] == '\n';
}

/* At "[": the level of a long bracket "[==[", or -1. */
static int long_level(const struct scan *c)
{
    int n = 0;
    while (peek(c, 1 + n) == '=')
        n++;
    return peek(c, 1 + n) == '[' ? n : -1;
}

static void skip_long(struct scan *c, int level)
{
    for (; c->at < c->s.n; step(c)) {
        if (peek(c, 0) != ']' || peek(c, 1 + level) != ']')
            continue;
        int n = 0;
        while (n < level && peek(c, 1 + n) == '=')
            n++;
        if (n == level) {
            c->at += level + 2;
            return;
        }
    }
}

static void skip_space(struct scan *c)
{
    while (c->at < c->s.n) {
        if (isspace((unsigned char)peek(c, 0))) {
            step(c);
        } else if (peek(c, 0) == '-' && peek(c, 1) == '-') {
            c->at += 2;
            int level = peek(c, 0) == '[' ? long_level(c) : -1;
            if (level >= 0)
                skip_long(c, level);
            else
                while (c->at < c->s.n && peek(c, 0) != '\n')
                    c->at++;
        } else {
            return;
        }
    }
}

static enum token next(struct scan *c)
{
    skip_space(c);
    if (c->at >= c->s.n)
        return END_OF_TEXT;
    int64_t from = c->at;
    char ch = peek(c, 0);
    if (isalpha((unsigned char)ch) || ch == '_') {
        while (isalnum((unsigned char)peek(c, 0)) || peek(c, 0) == '_')
            c->at++;
        c->text = str_sub(c->s, from, c->at);
        return NAME;
    }
    if (ch == '"' || ch == '\'') {
        for (c->at++; c->at < c->s.n && peek(c, 0) != ch && peek(c, 0) != '\n'; step(c))
            c->at += peek(c, 0) == '\\' && peek(c, 1) != '\n';
        c->at = c->at < c->s.n ? c->at : c->s.n;
        c->text = str_sub(c->s, from + 1, c->at);
        c->at += c->at < c->s.n;
        return STRING;
    }
    int level = ch == '[' ? long_level(c) : -1;
    if (level >= 0) {
        skip_long(c, level);
        c->text = STR("");
        return STRING;
    }
    c->at++;
    c->sign = ch;
    if (strchr("=<>~", ch) && peek(c, 0) == '=') { /* comparisons are no assignments */
        c->at++;
        c->sign = '?';
    }
    return SIGN;
}

/* The path that is being read before an "=", and the tables that are open. */
struct place {
    char open[SCAN_DEPTH][SCAN_KEY]; /* "train." of each open table */
    int depth;
    char key[SCAN_KEY];              /* "lr", "train.lr"; "" = none */
    int line;
};

static void extend(struct place *p, struct str name, int fresh, int line)
{
    size_t had = fresh ? 0 : strlen(p->key);
    if (had + (size_t)name.n + 1 >= SCAN_KEY) {
        p->key[0] = 0;
        return;
    }
    memcpy(p->key + had, name.p, (size_t)name.n);
    p->key[had + (size_t)name.n] = 0;
    p->line = line;
}

static void sign(struct place *p, struct scan *c, char before, struct line **list, const char *file, struct arena *mem)
{
    char *mine = p->open[p->depth < SCAN_DEPTH ? p->depth : SCAN_DEPTH - 1];
    if (c->sign == '=' && p->key[0] && p->depth < SCAN_DEPTH) {
        struct line *l = ARENA_NEW(mem, struct line, 1);
        *l = (struct line){.key = str_printf(mem, "%s%s", mine, p->key).p, .file = file, .line = p->line, .next = *list};
        *list = l;
    } else if (c->sign == '{') {
        char inner[2 * SCAN_KEY];
        snprintf(inner, sizeof inner, "%s%s%s", mine, before == '=' ? p->key : "", before == '=' ? "." : "");
        if (++p->depth < SCAN_DEPTH)
            snprintf(p->open[p->depth], SCAN_KEY, "%.*s", SCAN_KEY - 1, inner);
    } else if (c->sign == '}' && p->depth > 0) {
        p->depth--;
    }
    if (c->sign == '.')
        extend(p, STR("."), 0, p->line);
    else if (c->sign != '=' && c->sign != ']')
        p->key[0] = 0;
}

void script_scan_lines(struct line **list, struct str text, const char *file, struct arena *mem)
{
    struct scan c = {.s = text, .line = 1};
    struct place *p = ARENA_NEW(mem, struct place, 1);
    char before = 0;
    for (enum token t; (t = next(&c)) != END_OF_TEXT;) {
        if (t == NAME)
            extend(p, c.text, before != '.', c.line);
        else if (t == STRING && before == '[')
            extend(p, c.text, 1, c.line);
        else if (t == STRING)
            p->key[0] = 0;
        else
            sign(p, &c, before, list, file, mem);
        before = t == SIGN ? c.sign : 0;
    }
}

struct str script_find_line(const struct line *list, const char *key, const char *fallback, struct arena *mem)
{
    for (; list; list = list->next)
        if (!strcmp(list->key, key))
            return str_printf(mem, "%s:%d", list->file, list->line);
    return str_dup(mem, str_of(fallback));
}
