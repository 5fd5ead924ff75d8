/* Unified diffs, applied in memory. Strict where git is lenient: what does not fit exactly is an error that says where. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rewards/repo_private.h"

enum { PATCH_MAX = 32 << 20, FILE_BYTES_MAX = 64 << 20 };

/* ---- names */

/* Code points that HFS+ ignores in names: ".g<zero width>it" is ".git" there. */
static int ignorable(uint32_t c)
{
    return (c >= 0x200c && c <= 0x200f) || (c >= 0x202a && c <= 0x202e) || (c >= 0x206a && c <= 0x206f) || c == 0xfeff;
}

/* ".git" as some file system would read it: any case, ignorable marks, trailing dots and blanks, a stream's ":", NTFS's short name. */
static int is_dot_git(struct str part)
{
    char plain[8];
    int n = 0;
    for (int64_t i = 0; i < part.n;) {
        uint32_t c;
        int k = utf8_decode(part, i, &c);
        if (k <= 0)
            return 0;
        i += k;
        if (ignorable(c))
            continue;
        if (c == ':')
            break;
        if (n == (int)sizeof plain) {
            if (c != ' ' && c != '.')
                return 0;
            continue;
        }
        plain[n++] = c < 128 ? (char)tolower((int)c) : '?';
    }
    while (n > 0 && (plain[n - 1] == ' ' || plain[n - 1] == '.'))
        n--;
    struct str s = {plain, n};
    return str_eq(s, STR(".git")) || str_eq(s, STR("git~1"));
}

int repo_path_ok(struct str name, const char **why)
{
    struct str rest = name, part;
    *why = name.n == 0                                ? "is empty"
           : name.n > 1024                            ? "is too long"
           : name.p[0] == '/'                         ? "is absolute"
           : memchr(name.p, 0, (size_t)name.n)        ? "has a zero byte"
           : memchr(name.p, '\n', (size_t)name.n)     ? "has a line break"
           : memchr(name.p, '\\', (size_t)name.n)     ? "has a backslash"
           : name.p[name.n - 1] == '/'                ? "names a folder"
                                                      : NULL;
    while (!*why && str_split(&rest, '/', &part))
        *why = part.n == 0                                              ? "has an empty part"
               : part.n > 255                                           ? "has a part that is too long"
               : str_eq(part, STR(".")) || str_eq(part, STR(".."))      ? "leaves its folder"
               : is_dot_git(part)                                       ? "is inside .git"
                                                                        : NULL;
    return !*why;
}

static int by_name(const void *key, const void *file)
{
    return str_cmp(*(const struct str *)key, ((const struct sandbox_file *)file)->name);
}

const struct sandbox_file *repo_find(const struct repo_tree *t, const struct repo_edits *x, struct str name)
{
    for (int i = 0; x && i < x->n; i++)
        if (str_eq(x->f[i].name, name))
            return x->f[i].kind == SANDBOX_GONE ? NULL : &x->f[i];
    return t->n ? bsearch(&name, t->files, (size_t)t->n, sizeof *t->files, by_name) : NULL;
}

static int below(struct str name, struct str folder)
{
    return name.n > folder.n && str_starts(name, folder) && name.p[folder.n] == '/';
}

int repo_is_folder(const struct repo_tree *t, const struct repo_edits *x, struct str name)
{
    int64_t lo = 0, hi = t->n;
    while (lo < hi) { /* the first file that sorts after "name" */
        int64_t mid = (lo + hi) / 2;
        if (str_cmp(t->files[mid].name, name) <= 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    for (; lo < t->n && str_starts(t->files[lo].name, name); lo++)
        if (below(t->files[lo].name, name) && repo_find(t, x, t->files[lo].name))
            return 1;
    for (int i = 0; i < x->n; i++)
        if (x->f[i].kind != SANDBOX_GONE && below(x->f[i].name, name))
            return 1;
    return 0;
}

err_code repo_edit(struct repo_edits *x, const struct sandbox_file *f, struct err *e)
{
    int i = 0;
    while (i < x->n && !str_eq(x->f[i].name, f->name))
        i++;
    if (i == REPO_EDITS_MAX)
        return err_set(e, ERR_LIMIT, "more than %d files are changed", REPO_EDITS_MAX);
    x->f[i] = *f;
    x->n += i == x->n;
    return ERR_OK;
}

/* ---- reading */

struct section {
    struct str old_name, new_name, git_name, from, to; /* p NULL: not given */
    int old_null, new_null, created, deleted, copied;
    int mode;                                         /* new mode, 0 not given */
    int64_t line;
};

struct parser {
    struct str rest;
    int64_t line; /* of the line that peek would give, from 1 */
    struct arena *mem;
    const struct repo_tree *t;
    struct repo_edits *x;
    struct err *e;
};

static int peek(const struct parser *p, struct str *line)
{
    struct str rest = p->rest;
    return rest.n > 0 && str_split(&rest, '\n', line);
}

static void skip(struct parser *p)
{
    struct str line;
    if (p->rest.n > 0) {
        str_split(&p->rest, '\n', &line);
        p->line++;
    }
}

static err_code bad(const struct parser *p, const char *what)
{
    return err_set(p->e, ERR_DATA, "the patch, line %lld: %s", (long long)p->line, what);
}

/* A name in C quotes, from after the opening one. p NULL: not well formed. *used: bytes to behind the closing quote. */
static struct str unquote(struct arena *mem, struct str s, int64_t *used)
{
    char *out = arena_alloc(mem, s.n + 1, 1);
    int64_t n = 0;
    for (int64_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '"') {
            *used = i + 1;
            return (struct str){out, n};
        }
        if (c != '\\') {
            out[n++] = c;
            continue;
        }
        if (++i >= s.n)
            break;
        static const char from[] = "abtnvfr\"\\", to[] = "\a\b\t\n\v\f\r\"\\";
        const char *k = s.p[i] ? strchr(from, s.p[i]) : NULL;
        if (k) {
            out[n++] = to[k - from];
        } else if (i + 2 < s.n && s.p[i] >= '0' && s.p[i] <= '3' && s.p[i + 1] >= '0' && s.p[i + 1] <= '7' && s.p[i + 2] >= '0' && s.p[i + 2] <= '7') {
            out[n++] = (char)((s.p[i] - '0') << 6 | (s.p[i + 1] - '0') << 3 | (s.p[i + 2] - '0'));
            i += 2;
        } else {
            break;
        }
    }
    return (struct str){NULL, 0};
}

/* What stands behind "--- " or "rename from ": plain to the tab or the end, or quoted. */
static struct str name_of(struct parser *p, struct str s)
{
    int64_t used = 0;
    if (s.n && s.p[0] == '"')
        return unquote(p->mem, str_sub(s, 1, s.n), &used);
    int64_t tab = str_find(s, STR("\t"), 0);
    s = tab >= 0 ? str_sub(s, 0, tab) : s;
    return s.n && s.p[s.n - 1] == '\r' ? str_sub(s, 0, s.n - 1) : s;
}

/* "a/NAME" or "/dev/null". */
static err_code side(struct parser *p, struct str s, char letter, struct str *name, int *null)
{
    struct str full = name_of(p, s);
    *null = full.p && str_eq(full, STR("/dev/null"));
    if (*null)
        return ERR_OK;
    if (!full.p || full.n < 3 || full.p[0] != letter || full.p[1] != '/')
        return bad(p, letter == 'a' ? "the name behind '---' is neither a/NAME nor /dev/null" : "the name behind '+++' is neither b/NAME nor /dev/null");
    *name = str_sub(full, 2, full.n);
    return ERR_OK;
}

/* The name in "diff --git a/NAME b/NAME" when both are the same; names with blanks are why it cannot be split simply. */
static struct str git_name(struct parser *p, struct str s)
{
    struct str none = {NULL, 0};
    int64_t used = 0;
    if (s.n && s.p[0] == '"') {
        struct str a = unquote(p->mem, str_sub(s, 1, s.n), &used);
        return a.p && a.n > 2 ? str_sub(a, 2, a.n) : none;
    }
    int64_t half = (s.n - 1) / 2;
    if (s.n < 7 || s.n % 2 == 0 || s.p[half] != ' ' || s.p[0] != 'a' || s.p[1] != '/' || s.p[half + 1] != 'b' || s.p[half + 2] != '/')
        return none;
    struct str a = str_sub(s, 2, half), b = str_sub(s, half + 3, s.n);
    return str_eq(a, b) ? a : none;
}

static err_code mode_of(struct parser *p, struct str s, int *mode)
{
    s = str_trim(s);
    *mode = str_eq(s, STR("100644"))   ? 0100644
            : str_eq(s, STR("100755")) ? 0100755
            : str_eq(s, STR("120000")) ? 0120000
                                       : 0;
    return *mode ? ERR_OK : bad(p, "a mode other than 100644, 100755 and 120000");
}

static int after(struct str line, struct str word, struct str *rest)
{
    *rest = str_sub(line, word.n, line.n);
    return str_starts(line, word);
}

/* Header lines up to the first hunk, the next file or the end. */
static err_code read_header(struct parser *p, struct section *s)
{
    struct str line, v;
    int plus = 0, mode;
    *s = (struct section){.line = p->line};
    while (peek(p, &line)) {
        if (after(line, STR("diff --git "), &v)) {
            if (s->git_name.p || p->line != s->line)
                break;
            s->git_name = git_name(p, str_trim(v));
        } else if (after(line, STR("--- "), &v)) {
            if (plus)
                break;
            TRY(side(p, v, 'a', &s->old_name, &s->old_null));
        } else if (after(line, STR("+++ "), &v)) {
            if (plus++ || !(s->old_name.p || s->old_null))
                return bad(p, "'+++' without its '---'");
            TRY(side(p, v, 'b', &s->new_name, &s->new_null));
        } else if (after(line, STR("new file mode "), &v)) {
            s->created = 1;
            TRY(mode_of(p, v, &s->mode));
        } else if (after(line, STR("deleted file mode "), &v)) {
            s->deleted = 1;
            TRY(mode_of(p, v, &mode));
        } else if (after(line, STR("new mode "), &v)) {
            TRY(mode_of(p, v, &s->mode));
        } else if (after(line, STR("rename from "), &v) || after(line, STR("copy from "), &v)) {
            s->copied = line.p[0] == 'c';
            s->from = name_of(p, v);
        } else if (after(line, STR("rename to "), &v) || after(line, STR("copy to "), &v)) {
            s->to = name_of(p, v);
        } else if (str_starts(line, STR("GIT binary patch")) || str_starts(line, STR("Binary files "))) {
            return bad(p, "a binary patch, which is not taken");
        } else if (!(str_starts(line, STR("index ")) || str_starts(line, STR("old mode ")) || str_starts(line, STR("similarity index ")) ||
                     str_starts(line, STR("dissimilarity index ")))) {
            break;
        }
        skip(p);
    }
    if ((s->old_name.p || s->old_null) && !plus)
        return bad(p, "'---' without its '+++'");
    if (plus && !(peek(p, &line) && str_starts(line, STR("@@ "))))
        return bad(p, "'---' and '+++' without a hunk");
    return ERR_OK;
}

/* ---- hunks */

struct hunk {
    int64_t old_at, old_n, new_n, line;
    struct sbuf was, is; /* the lines before and after, as bytes */
};

static int number(struct str *s, int64_t *out)
{
    int64_t n = 0, k = 0;
    while (k < s->n && isdigit((unsigned char)s->p[k]) && n < 100000000)
        n = n * 10 + (s->p[k++] - '0');
    *s = str_sub(*s, k, s->n);
    *out = n;
    return k > 0;
}

/* "-12,3" */
static int range(struct str *s, char sign, int64_t *at, int64_t *n)
{
    *n = 1;
    if (s->n == 0 || s->p[0] != sign)
        return 0;
    *s = str_sub(*s, 1, s->n);
    if (!number(s, at))
        return 0;
    if (s->n && s->p[0] == ',') {
        *s = str_sub(*s, 1, s->n);
        return number(s, n);
    }
    return 1;
}

static err_code read_hunk(struct parser *p, struct hunk *h)
{
    struct str line, s;
    int64_t new_at, was = 0, is = 0;
    peek(p, &line);
    h->line = p->line;
    s = str_sub(line, 3, line.n);
    if (!range(&s, '-', &h->old_at, &h->old_n) || !str_starts(s, STR(" ")))
        return bad(p, "a hunk header that is not '@@ -L,N +L,N @@'");
    s = str_sub(s, 1, s.n);
    if (!range(&s, '+', &new_at, &h->new_n) || !str_starts(s, STR(" @@")))
        return bad(p, "a hunk header that is not '@@ -L,N +L,N @@'");
    skip(p);
    sbuf_clear(&h->was);
    sbuf_clear(&h->is);
    for (int last = ' '; peek(p, &line); skip(p)) {
        char c = line.n ? line.p[0] : ' ';
        struct str text = line.n ? str_sub(line, 1, line.n) : line;
        if (c == '\\') { /* No newline at end of file */
            h->was.n -= (last == '-' || last == ' ') && h->was.n > 0 && h->was.p[h->was.n - 1] == '\n';
            h->is.n -= (last == '+' || last == ' ') && h->is.n > 0 && h->is.p[h->is.n - 1] == '\n';
            last = '\\';
            continue;
        }
        if (was == h->old_n && is == h->new_n)
            break;
        if ((c != ' ' && c != '-' && c != '+') || (c != '+' && was == h->old_n) || (c != '-' && is == h->new_n))
            break;
        if (c != '+')
            sbuf_add(&h->was, text), sbuf_addc(&h->was, '\n'), was++;
        if (c != '-')
            sbuf_add(&h->is, text), sbuf_addc(&h->is, '\n'), is++;
        last = c;
    }
    if (h->was.full || h->is.full)
        return err_set(p->e, ERR_LIMIT, "a hunk of the patch is too large");
    if (was != h->old_n || is != h->new_n)
        return err_set(p->e, ERR_DATA, "the patch, line %lld: the hunk has %lld old and %lld new lines, its header says %lld and %lld", (long long)h->line,
                       (long long)was, (long long)is, (long long)h->old_n, (long long)h->new_n);
    if (peek(p, &line) && line.n && strchr(" +-", line.p[0]) && !str_starts(line, STR("--- ")) && !str_eq(line, STR("-- ")) && !str_eq(line, STR("--")))
        return bad(p, "more lines than the header of the hunk says");
    return ERR_OK;
}

static int64_t line_start(struct str s, int64_t line)
{
    int64_t at = 0;
    for (; line > 1; line--) {
        int64_t nl = str_find(s, STR("\n"), at);
        if (nl < 0)
            return line == 2 && at < s.n ? s.n : -1;
        at = nl + 1;
    }
    return at;
}

static int fits(struct str old, int64_t at, struct str was)
{
    int whole = was.n == 0 || was.p[was.n - 1] == '\n';
    return at >= 0 && at + was.n <= old.n && memcmp(old.p + at, was.p, (size_t)was.n) == 0 && (whole || at + was.n == old.n);
}

/* Where the hunk goes, at or behind `from`; -1 and an error. */
static int64_t place(struct parser *p, const struct hunk *h, struct str old, int64_t from, struct str name)
{
    struct str was = sbuf_str(&h->was);
    int64_t at = line_start(old, h->old_n == 0 ? h->old_at + 1 : h->old_at), found = -1, places = 0;
    if (h->old_n == 0) { /* nothing to look for: the header's word alone */
        if (at >= from)
            return at;
        err_set(p->e, ERR_DATA, "'%.*s' has no line %lld to add lines behind (the patch, line %lld)", STR_ARG(name), (long long)h->old_at, (long long)h->line);
        return -1;
    }
    if (at >= from && fits(old, at, was))
        return at;
    for (at = from; at >= 0 && at <= old.n - was.n;) {
        if (fits(old, at, was)) {
            found = at;
            places++;
        }
        int64_t nl = str_find(old, STR("\n"), at);
        at = nl < 0 ? -1 : nl + 1;
    }
    if (places == 1)
        return found;
    err_set(p->e, ERR_DATA, places ? "the hunk of line %lld of the patch fits '%.*s' in several places, and not at line %lld as it says"
                                   : "the hunk of line %lld of the patch does not fit '%.*s' (it says line %lld)",
            (long long)h->line, STR_ARG(name), (long long)h->old_at);
    return -1;
}

/* All hunks of a file: the new text in mem. */
static err_code apply_hunks(struct parser *p, struct str old, struct str name, struct str *out)
{
    struct hunk h = {0};
    struct sbuf b;
    struct str line;
    int64_t at = 0;
    err_code rc = ERR_OK;
    sbuf_init(&b, FILE_BYTES_MAX);
    sbuf_init(&h.was, PATCH_MAX);
    sbuf_init(&h.is, PATCH_MAX);
    while (rc == ERR_OK && peek(p, &line) && str_starts(line, STR("@@ "))) {
        rc = read_hunk(p, &h);
        int64_t to = rc == ERR_OK ? place(p, &h, old, at, name) : 0;
        rc = to < 0 ? ERR_DATA : rc;
        if (rc != ERR_OK)
            break;
        sbuf_add(&b, str_sub(old, at, to));
        if (b.n && b.p[b.n - 1] != '\n' && h.is.n)
            rc = err_set(p->e, ERR_DATA, "the hunk of line %lld of the patch follows a line of '%.*s' that has no end", (long long)h.line, STR_ARG(name));
        sbuf_add(&b, sbuf_str(&h.is));
        at = to + h.was.n;
        if (h.is.n && h.is.p[h.is.n - 1] != '\n' && at != old.n)
            rc = err_set(p->e, ERR_DATA, "the hunk of line %lld of the patch takes the end of a line in the middle of '%.*s'", (long long)h.line, STR_ARG(name));
    }
    sbuf_add(&b, str_sub(old, at, old.n));
    if (rc == ERR_OK && b.full)
        rc = err_set(p->e, ERR_LIMIT, "'%.*s' would be too large", STR_ARG(name));
    if (rc == ERR_OK)
        *out = str_dup(p->mem, sbuf_str(&b));
    sbuf_release(&b);
    sbuf_release(&h.was);
    sbuf_release(&h.is);
    return rc;
}

/* ---- files */

static err_code refuse(struct parser *p, struct str name, const char *why)
{
    return err_set(p->e, ERR_DATA, "the patch changes '%.*s', which %s", (int)(name.n < 200 ? name.n : 200), name.p, why);
}

/* No write goes through a file or a link that stands where a folder should be, nor onto a folder. */
static err_code reachable(struct parser *p, struct str name)
{
    const char *why;
    if (!repo_path_ok(name, &why))
        return refuse(p, name, why);
    for (int64_t i = str_find(name, STR("/"), 0); i >= 0; i = str_find(name, STR("/"), i + 1)) {
        const struct sandbox_file *f = repo_find(p->t, p->x, str_sub(name, 0, i));
        if (f)
            return refuse(p, name, f->kind == SANDBOX_LINK ? "is behind a symbolic link" : "is below a file");
    }
    return repo_is_folder(p->t, p->x, name) ? refuse(p, name, "is a folder") : ERR_OK;
}

static enum sandbox_file_kind kind_of(int mode)
{
    return mode == 0100755 ? SANDBOX_PROGRAM : mode == 0120000 ? SANDBOX_LINK : SANDBOX_PLAIN;
}

/* The names of the section agree; *from and *to are what it is about (p NULL: none). */
static err_code names(struct parser *p, struct section *s, struct str *from, struct str *to)
{
    if (s->from.p || s->to.p) {
        if (!s->from.p || !s->to.p || s->created || s->deleted || (s->old_name.p && !str_eq(s->old_name, s->from)) ||
            (s->new_name.p && !str_eq(s->new_name, s->to)) || s->old_null || s->new_null)
            return bad(p, "a rename or copy whose names do not agree");
        *from = s->from;
        *to = s->to;
        return ERR_OK;
    }
    struct str name = s->new_name.p ? s->new_name : s->old_name.p ? s->old_name : s->git_name;
    s->created |= s->old_null;
    s->deleted |= s->new_null;
    if (!name.p || (s->created && s->deleted))
        return err_set(p->e, ERR_DATA, "the patch, line %lld: no name of a file", (long long)s->line);
    if ((s->old_name.p && !str_eq(s->old_name, name)) || (s->git_name.p && !str_eq(s->git_name, name)) || (s->created && s->old_name.p) ||
        (s->deleted && s->new_name.p))
        return err_set(p->e, ERR_DATA, "the patch, line %lld: names that do not agree", (long long)s->line);
    *from = s->created ? (struct str){NULL, 0} : name;
    *to = s->deleted ? (struct str){NULL, 0} : name;
    return ERR_OK;
}

static err_code apply_section(struct parser *p, struct section *s)
{
    struct str from, to, old = {"", 0}, text;
    const struct sandbox_file *f = NULL;
    TRY(names(p, s, &from, &to));
    from = from.p ? str_dup(p->mem, from) : from;
    to = to.p ? str_dup(p->mem, to) : to;
    if (from.p) {
        TRY(reachable(p, from));
        if (!(f = repo_find(p->t, p->x, from)))
            return refuse(p, from, "is not there");
        old = f->bytes;
    }
    enum sandbox_file_kind kind = s->mode ? kind_of(s->mode) : f ? f->kind : SANDBOX_PLAIN;
    if (to.p && !(from.p && str_eq(from, to))) {
        TRY(reachable(p, to));
        if (repo_find(p->t, p->x, to))
            return refuse(p, to, "is there already");
    }
    if (f && to.p && (kind == SANDBOX_LINK) != (f->kind == SANDBOX_LINK))
        return refuse(p, to, "would turn from a file into a link or back");
    TRY(apply_hunks(p, old, to.p ? to : from, &text));
    if (!to.p && text.n)
        return refuse(p, from, "is to be deleted, but lines of it would be left");
    if (kind == SANDBOX_LINK && to.p && (text.n == 0 || text.n > 1000 || memchr(text.p, 0, (size_t)text.n)))
        return refuse(p, to, "is a link to nothing");
    if (from.p && !(to.p && str_eq(from, to)) && !s->copied)
        TRY(repo_edit(p->x, &(struct sandbox_file){.name = from, .bytes = {"", 0}, .kind = SANDBOX_GONE}, p->e));
    if (to.p)
        TRY(repo_edit(p->x, &(struct sandbox_file){.name = to, .bytes = text, .kind = kind}, p->e));
    return ERR_OK;
}

static err_code apply_all(struct parser *p)
{
    struct str line;
    struct section s;
    while (peek(p, &line)) {
        if (str_starts(line, STR("diff --git ")) || str_starts(line, STR("--- "))) {
            TRY(read_header(p, &s));
            TRY(apply_section(p, &s));
        } else if (str_starts(line, STR("@@ "))) {
            return bad(p, "a hunk without the name of its file");
        } else {
            skip(p); /* what people and tools write around a diff */
        }
    }
    return ERR_OK; /* a text without a diff changes nothing */
}

err_code repo_patch_apply(const struct repo_tree *t, struct repo_edits *x, struct str patch, struct arena *mem, struct err *e)
{
    struct repo_edits *work = malloc(sizeof *work);
    if (!work)
        BUG("out of memory");
    memcpy(work, x, sizeof *work);
    struct parser p = {.rest = patch, .line = 1, .mem = mem, .t = t, .x = work, .e = e};
    err_code rc = patch.n > PATCH_MAX ? err_set(e, ERR_LIMIT, "the patch has more than %d MiB", PATCH_MAX >> 20) : apply_all(&p);
    if (rc == ERR_OK)
        memcpy(x, work, sizeof *work);
    free(work);
    return rc;
}
