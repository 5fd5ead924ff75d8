/* C++ tests as calls, and C suites.
 *
 * The tests (main with its asserts) are compiled without the program. In place of each function under test stands
 * a function of the same signature that sends the arguments to the program's process and rebuilds the result. The
 * signature comes from the task's prompt, or, where that has none, from the program if it is made of plain types. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rewards/code_private.h"

__asm__(".pushsection .rodata\n"
        "code_plain_hpp:\n.incbin \"rewards/inside/plain.hpp\"\n.byte 0\n"
        "code_unity_h:\n.incbin \"rewards/inside/unity.h\"\n.byte 0\n"
        ".popsection\n");
extern const char code_plain_hpp[], code_unity_h[];

enum { EXIT_GONE = 90, EXIT_MALFORMED = 91, EXIT_THREW = 92, FUNCS_MAX = 16, PARAMS_MAX = 16 };

struct func {
    struct str name, decl;   /* "int add" "(int a, int b)" as one text */
    struct str params[PARAMS_MAX];
    int n_params;
    int64_t at;              /* where the declaration begins in the prompt, or -1 */
};

static int is_word(char c) { return isalnum((unsigned char)c) || c == '_'; }

static int word_in(struct str w, const char *list)
{
    char want[80];
    if (w.n == 0 || w.n > 60)
        return 0;
    snprintf(want, sizeof want, " %.*s ", STR_ARG(w));
    return strstr(list, want) != NULL;
}

static const char plain_words[] =
    " const unsigned signed int long short char bool float double void string vector list deque set multiset unordered_set map multimap "
    "unordered_map pair tuple array optional any boost std size_t int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t ";
static const char not_functions[] =
    " if while for switch return sizeof assert abs fabs main not and or pow sqrt floor ceil round min max string vector int float double issame "
    "static_cast const_cast to_string size catch defined ";

/* Comments become blanks: an example in one is no code. Text in quotes stays as it is. */
static struct str without_comments(struct arena *mem, struct str text)
{
    char *p = (char *)(uintptr_t)str_dup(mem, text).p, quote = 0;
    for (int64_t i = 0; i < text.n; i++) {
        if (quote) {
            if (p[i] == '\\' && i + 1 < text.n)
                i++;
            else if (p[i] == quote || p[i] == '\n')
                quote = 0;
        } else if (p[i] == '"' || (p[i] == '\'' && !(i > 0 && isalnum((unsigned char)p[i - 1])))) { /* 1'000 is a number */
            quote = p[i];
        } else if (p[i] == '/' && i + 1 < text.n && (p[i + 1] == '/' || p[i + 1] == '*')) {
            int block = p[i + 1] == '*';
            p[i] = p[i + 1] = ' ';
            for (i += 2; i < text.n && !(block ? p[i] == '*' && i + 1 < text.n && p[i + 1] == '/' : p[i] == '\n'); i++)
                p[i] = p[i] == '\n' ? '\n' : ' ';
            if (block && i + 1 < text.n)
                p[i] = p[i + 1] = ' ';
        }
    }
    return (struct str){p, text.n};
}

/* Where `name` stands followed by '(' in text, from `from` on; -1 when nowhere. */
static int64_t find_call(struct str text, struct str name, int64_t from)
{
    for (int64_t i = from; (i = str_find(text, name, i)) >= 0; i++) {
        int64_t k = i + name.n;
        if (i > 0 && is_word(text.p[i - 1]))
            continue;
        while (k < text.n && (text.p[k] == ' ' || text.p[k] == '\t'))
            k++;
        if (k < text.n && text.p[k] == '(')
            return i;
    }
    return -1;
}

static int64_t close_paren(struct str t, int64_t at)
{
    int depth = 0;
    for (int64_t i = at; i < t.n; i++) {
        depth += t.p[i] == '(';
        depth -= t.p[i] == ')';
        if (depth == 0 && t.p[i] == ')')
            return i;
    }
    return -1;
}

/* The return type to the left of `at`: plain words and < > , : & * and blanks. Returns where it begins. */
static int64_t type_left(struct str t, int64_t at)
{
    int64_t begin = at, i = at;
    int angle = 0;
    while (i > 0) {
        char c = t.p[i - 1];
        if (c == '>' || c == '<') {
            angle += c == '>' ? 1 : -1;
            begin = --i;
        } else if (c == ':' || c == '&' || c == '*' || (angle > 0 && (c == ',' || isspace((unsigned char)c)))) {
            i--;
        } else if (c == ' ' || c == '\t') {
            i--;
        } else if (is_word(c)) {
            int64_t end = i;
            while (i > 0 && is_word(t.p[i - 1]))
                i--;
            if (!word_in(str_sub(t, i, end), plain_words) && !(angle > 0 && isdigit((unsigned char)t.p[i])))
                break;
            begin = i;
        } else {
            break;
        }
    }
    return angle == 0 ? begin : at;
}

/* In code: from the end of the statement before. */
static int64_t statement_left(struct str t, int64_t at)
{
    int64_t i = at;
    while (i > 0 && t.p[i - 1] != ';' && t.p[i - 1] != '}' && t.p[i - 1] != '{' && !(t.p[i - 1] == '/' && i > 1 && t.p[i - 2] == '*')) {
        if (t.p[i - 1] == '\n') { /* not across a line of the preprocessor or a comment */
            int64_t b = i - 1;
            while (b > 0 && t.p[b - 1] != '\n')
                b--;
            struct str line = str_trim(str_sub(t, b, i - 1));
            if (line.n && (line.p[0] == '#' || str_starts(line, STR("//"))))
                break;
        }
        i--;
    }
    return i;
}

static int plain_text(struct str s)
{
    for (int64_t i = 0; i < s.n;) {
        if (isalpha((unsigned char)s.p[i]) || s.p[i] == '_') {
            int64_t b = i;
            while (i < s.n && is_word(s.p[i]))
                i++;
            struct str w = str_sub(s, b, i);
            int64_t k = i;
            while (k < s.n && s.p[k] == ' ')
                k++;
            /* a word that is no type must be the name of a parameter */
            if (!word_in(w, plain_words) && !(k == s.n || s.p[k] == ',' || s.p[k] == ')'))
                return 0;
        } else if (!strchr(" \t\n<>,:&*0123456789()", s.p[i])) {
            return 0;
        } else {
            i++;
        }
    }
    return 1;
}

static void split_params(struct func *f, struct str inner)
{
    int depth = 0;
    int64_t from = 0;
    if (str_trim(inner).n == 0 || str_eq(str_trim(inner), STR("void")))
        return;
    for (int64_t i = 0; i <= inner.n; i++) {
        char c = i < inner.n ? inner.p[i] : ',';
        depth += c == '<' || c == '(' || c == '{' || c == '[';
        depth -= c == '>' || c == ')' || c == '}' || c == ']';
        if ((i == inner.n || (c == ',' && depth == 0)) && f->n_params < PARAMS_MAX) {
            struct str p = str_trim(str_sub(inner, from, i));
            int64_t eq = str_find(p, STR("="), 0);
            f->params[f->n_params++] = str_trim(eq >= 0 ? str_sub(p, 0, eq) : p);
            from = i + 1;
        }
    }
}

static struct str param_name(struct str p)
{
    int64_t e = p.n, b;
    while (e > 0 && !is_word(p.p[e - 1]))
        e--;
    for (b = e; b > 0 && is_word(p.p[b - 1]); b--)
        continue;
    return str_sub(p, b, e);
}

/* Finds the declaration of f->name in text. trusted: any type; else plain types only. */
static int find_decl(struct func *f, struct str text, int trusted)
{
    int64_t best = -1, open = 0, end = 0;
    for (int64_t i = -1; (i = find_call(text, f->name, i + 1)) >= 0;) {
        int64_t left = type_left(text, i), p = i + f->name.n;
        int code = trusted && left == i;
        if (code)
            left = statement_left(text, i);
        while (text.p[p] != '(')
            p++;
        int64_t q = close_paren(text, p), after = q + 1;
        if (q < 0 || str_trim(str_sub(text, left, i)).n == 0)
            continue;
        while (after < text.n && isspace((unsigned char)text.p[after]))
            after++;
        if (code && !(after < text.n && text.p[after] == '{'))
            continue;
        if (!plain_text(str_sub(text, p + 1, q)) && !(trusted && after < text.n && text.p[after] == '{'))
            continue;
        best = left;
        open = p;
        end = q;
        if (!trusted)
            break;
    }
    if (best < 0)
        return 0;
    f->at = best;
    f->decl = str_trim(str_sub(text, best, end + 1));
    split_params(f, str_sub(text, open + 1, end));
    return 1;
}

/* Functions that the tests call and the program or prompt has: those are the ones under test. */
static int find_funcs(const struct code_case *c, struct str prompt, struct func out[FUNCS_MAX])
{
    struct str t = without_comments(c->mem, c->t->test_code), code = without_comments(c->mem, c->p->code);
    int n = 0;
    for (int64_t i = 0; i < t.n && n < FUNCS_MAX; i++) {
        if (!is_word(t.p[i]) || (i > 0 && (is_word(t.p[i - 1]) || t.p[i - 1] == '.' || t.p[i - 1] == ':')) || isdigit((unsigned char)t.p[i]))
            continue;
        int64_t b = i;
        while (i < t.n && is_word(t.p[i]))
            i++;
        struct func f = {.name = str_sub(t, b, i), .at = -1};
        int known = find_call(t, f.name, b) != b || word_in(f.name, not_functions) || word_in(f.name, plain_words);
        for (int k = 0; k < n; k++)
            known |= str_eq(out[k].name, f.name);
        /* the tests' own helpers have a definition there: name(...) { */
        struct func own = {.name = f.name, .at = -1};
        if (known || (find_decl(&own, t, 0) && str_find(str_sub(t, own.at, t.n), STR("{"), 0) >= 0 && own.decl.p + own.decl.n < t.p + t.n &&
                      str_starts(str_trim(str_sub(t, own.decl.p + own.decl.n - t.p, t.n)), STR("{"))))
            continue;
        if (find_call(prompt, f.name, 0) < 0 && find_call(code, f.name, 0) < 0)
            continue;
        if (find_decl(&f, prompt, 1)) {
            out[n++] = f;
        } else {
            f.at = -1;
            if (find_decl(&f, code, 0)) {
                f.at = -1;
                out[n++] = f;
            }
        }
    }
    return n;
}

/* The prompt's code up to the function under test: includes, types, helpers. Nothing when the prompt is prose. */
static struct str preamble(struct str prompt, const struct func *f, int n)
{
    int64_t at = -1;
    for (int i = 0; i < n; i++)
        if (f[i].at > at)
            at = f[i].at;
    return at > 0 && str_find(prompt, STR("#include"), 0) >= 0 ? str_sub(prompt, 0, at) : (struct str){"", 0};
}

static int in_preamble(struct str pre, const struct func *f)
{
    struct func g = {.name = f->name, .at = -1};
    return find_decl(&g, pre, 1) && str_starts(str_trim(str_sub(pre, g.decl.p + g.decl.n - pre.p, pre.n)), STR("{"));
}

static void put_signature(struct sbuf *b, const struct func *f, const char *new_name, int index)
{
    int64_t at = find_call(f->decl, f->name, 0);
    sbuf_add(b, str_sub(f->decl, 0, at));
    if (new_name)
        sbuf_addf(b, " %s%d(", new_name, index);
    else
        sbuf_addf(b, " %.*s(", STR_ARG(f->name));
    for (int i = 0; i < f->n_params; i++) {
        struct str name = param_name(f->params[i]);
        sbuf_add(b, i ? STR(", ") : STR(""));
        /* a parameter without a name ends in its type */
        if (word_in(name, plain_words) || name.n == 0 || name.n == f->params[i].n)
            sbuf_addf(b, "%.*s hone_p%d", STR_ARG(f->params[i]), i);
        else
            sbuf_add(b, f->params[i]);
    }
    sbuf_addc(b, ')');
}

static struct str test_side(struct code_case *c, struct str prompt, const struct func *f, int n)
{
    struct sbuf b;
    struct str pre = preamble(prompt, f, n);
    sbuf_init(&b, 16 << 20);
    sbuf_adds(&b, "#include <bits/stdc++.h>\n#include \"plain.hpp\"\n#include <sys/prctl.h>\n"
                  "static int hone_hidden = prctl(PR_SET_DUMPABLE, 0); /* the program starts later and may not look in */\n");
    sbuf_adds(&b, pre.n ? "" : "using namespace std;\n");
    sbuf_add(&b, pre);
    sbuf_addc(&b, '\n');
    for (int i = 0; i < n; i++) {
        if (in_preamble(pre, &f[i]))
            continue;
        put_signature(&b, &f[i], "hone_s_", i);
        sbuf_adds(&b, ";\n");
        put_signature(&b, &f[i], NULL, 0);
        sbuf_addf(&b, "\n{\n    return hone_::call(%d, hone_::Sig<decltype(hone_s_%d)>()", i, i);
        for (int k = 0; k < f[i].n_params; k++) {
            struct str name = param_name(f[i].params[k]);
            if (word_in(name, plain_words) || name.n == 0 || name.n == f[i].params[k].n)
                sbuf_addf(&b, ", hone_p%d", k);
            else
                sbuf_addf(&b, ", %.*s", STR_ARG(name));
        }
        sbuf_adds(&b, ");\n}\n");
    }
    sbuf_add(&b, c->t->setup);
    sbuf_addc(&b, '\n');
    sbuf_add(&b, c->t->test_code);
    struct str out = str_dup(c->mem, sbuf_str(&b));
    sbuf_release(&b);
    return out;
}

static struct str program_side(struct code_case *c, const struct func *f, int n)
{
    struct sbuf b;
    sbuf_init(&b, 64 << 20);
    /* the header first, so that no macro of the program reaches it; a main of the program is just a function */
    sbuf_adds(&b, "#include <bits/stdc++.h>\n#include \"plain.hpp\"\n#define main hone_program_main\n#line 1 \"main.cpp\"\n");
    sbuf_add(&b, c->p->code);
    sbuf_adds(&b, "\n#undef main\n#undef int\n#undef return\n#undef if\n#undef while\n#undef break\n#undef switch\n#undef case\n");
    for (int i = 0; i < n; i++) {
        put_signature(&b, &f[i], "hone_s_", i);
        sbuf_adds(&b, ";\n");
    }
    sbuf_adds(&b, "int main()\n{\n    hone_::In in;\n    int which;\n    while (hone_::recv(in)) {\n        hone_::get(in, which);\n        switch (which) {\n");
    for (int i = 0; i < n; i++)
        sbuf_addf(&b, "        case %d: hone_::answer(in, hone_::Sig<decltype(hone_s_%d)>(), [](auto &&...a) -> decltype(auto) { return %.*s(std::forward<decltype(a)>(a)...); }); break;\n",
                  i, i, STR_ARG(f[i].name));
    sbuf_adds(&b, "        default: return 1;\n        }\n    }\n    return 0;\n}\n");
    struct str out = str_dup(c->mem, sbuf_str(&b));
    sbuf_release(&b);
    return out;
}

/* The verdict from how the side of the tests ended. */
static void note_peer(struct code_case *c)
{
    char text[200];
    switch (c->r.peer_exit) {
    case 0: code_note(c, SANDBOX_AC, ""); return;
    case -6: code_note(c, SANDBOX_WA, "an assertion failed"); return;
    case EXIT_MALFORMED: code_note(c, SANDBOX_WA, "a result is not well formed"); return;
    case EXIT_THREW: code_note(c, SANDBOX_RE, "the program threw an exception"); return;
    case EXIT_GONE:
        if (c->r.signal)
            snprintf(text, sizeof text, "the program ended before its tests did (signal %d)", c->r.signal);
        else
            snprintf(text, sizeof text, "the program ended before its tests did (exit %d)", c->r.exit_code);
        code_note(c, SANDBOX_RE, text);
        return;
    default:
        snprintf(text, sizeof text, "the tests ended with %d", c->r.peer_exit);
        code_note(c, SANDBOX_WA, text);
    }
}

void code_judge_cpp(struct code_case *c)
{
    struct func f[FUNCS_MAX];
    struct str prompt = without_comments(c->mem, c->t->prompt);
    int n = find_funcs(c, prompt, f);
    struct sandbox_file header = {.name = STR("plain.hpp"), .bytes = str_of(code_plain_hpp)};
    const char *src[] = {"main.cpp", NULL};
    const char **build = code_build_argv(c->mem, str_printf(c->mem, "%.*s *.cpp", STR_ARG(c->t->compile.n ? c->t->compile : STR("-std=c++17 -O1"))), "/usr/bin/g++", src);
    c->v->total = 1;
    if (n == 0) {
        code_note(c, SANDBOX_CE, "the function under test is not there");
        return;
    }
    struct sandbox_job peer = {.language = "cpp", .code = test_side(c, prompt, f, n), .files = &header, .n_files = 1, .build = build};
    peer.compile = sandbox_limits_default(); /* the limits of the task are for the program: a busy machine must not fail the tests */
    peer.compile.wall_ms = 120000;
    peer.compile.cpu_ms = 60000;
    struct sandbox_job job = {.language = "cpp", .code = program_side(c, f, n), .files = &header, .n_files = 1, .build = build,
                              .limits = c->t->limits, .compile = c->t->compile_limits, .peer = &peer};
    sandbox_run(c->w, &job, &c->r);
    code_note_run(c);
    if (c->r.verdict != SANDBOX_AC)
        code_note(c, c->r.verdict, c->r.sub);
    else
        note_peer(c);
}

/* ---- C suites */

void code_judge_unity(struct code_case *c)
{
    enum { FILES = 64 };
    struct sandbox_file files[FILES];
    const char *src[FILES + 1];
    int n = 0, k = 0, ended = 0;
    for (int i = 0; i < c->p->n_files && n < FILES - 8; i++)
        files[n++] = c->p->files[i];
    if (!c->p->n_files && c->t->solution_file.n)
        files[n++] = (struct sandbox_file){.name = c->t->solution_file, .bytes = c->p->code};
    for (int i = 0; i < c->t->n_files && n < FILES - 4; i++)
        files[n++] = c->t->files[i]; /* behind the program's: a file of the same name is the tests' */
    files[n++] = (struct sandbox_file){.name = STR("test-framework/unity.h"), .bytes = str_of(code_unity_h)};
    files[n++] = (struct sandbox_file){.name = STR("test-framework/unity.c"), .bytes = STR("typedef int hone_no_empty_unit;\n")};
    for (int i = 0; i < n; i++) {
        int later = 0;
        for (int j = i + 1; j < n; j++)
            later |= str_eq(files[i].name, files[j].name);
        if (str_ends(files[i].name, STR(".c")) && str_find(files[i].name, STR("/"), 0) < 0 && !later)
            src[k++] = str_dup(c->mem, files[i].name).p;
    }
    src[k] = NULL;
    struct sandbox_job job = {.language = "c", .files = files, .n_files = n, .limits = c->t->limits, .compile = c->t->compile_limits, .report = 1};
    job.build = code_build_argv(c->mem, c->t->compile.n ? c->t->compile : STR("gcc -std=gnu11 -O1 -I. *.c -lm -o t"), "/usr/bin/gcc", src);
    sandbox_run(c->w, &job, &c->r);
    code_note_run(c);
    c->v->weak = 1;
    struct str report = sbuf_str(&c->r.partner);
    for (int64_t i = 0; i < report.n; i++) {
        ended = report.p[i] == 'E';
        if (report.p[i] == 'P')
            code_note(c, SANDBOX_AC, "");
        else if (!ended && code_note(c, SANDBOX_WA, report.p[i] == 'I' ? "a test was ignored" : "a test failed"))
            break;
    }
    c->v->total = c->t->expect_tests > c->v->ran ? c->t->expect_tests : c->v->ran > 0 ? c->v->ran : 1;
    if (c->r.verdict != SANDBOX_AC && c->v->verdict == SANDBOX_AC)
        code_note(c, c->r.verdict, c->r.sub);
    else if (c->v->verdict == SANDBOX_AC && !ended)
        code_note(c, SANDBOX_WA, "the tests did not run to their end");
    if (c->v->total < c->v->ran)
        c->v->total = c->v->ran;
}
