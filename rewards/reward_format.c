/* format: the structure of a response. No partial marks: a structure that is half there is not there. */
#include <oniguruma.h>
#include <stdlib.h>

#include "rewards/kind.h"

enum { TAGS_MAX = 16, RETRY_MAX = 2000000 };

struct format {
    regex_t *re; /* NULL: tags */
    int n, opened;
    char *open[TAGS_MAX], *close[TAGS_MAX]; /* "<think>", "</think>" */
};

static void format_close(void *self)
{
    struct format *f = self;
    for (int i = 0; i < f->n; i++) {
        free(f->open[i]);
        free(f->close[i]);
    }
    if (f->re)
        onig_free(f->re);
    free(f);
}

/* The whole response must match: \A(?:...)\z, the dot matching line breaks too. Compiled once, shared by all threads. */
static err_code compile(struct format *f, const char *regex, struct err *e)
{
    OnigEncoding use[] = {ONIG_ENCODING_UTF8};
    OnigErrorInfo info;
    struct sbuf b;
    onig_initialize(use, 1);
    onig_set_warn_func(onig_null_warn);
    onig_set_verb_warn_func(onig_null_warn);
    if (utf8_check(str_of(regex)) >= 0)
        return err_set(e, ERR_USAGE, "reward.format_regex is not UTF-8");
    sbuf_init(&b, 1 << 20);
    sbuf_addf(&b, "\\A(?:%s)\\z", regex);
    int rc = b.full ? ONIGERR_MEMORY
                    : onig_new(&f->re, (const UChar *)b.p, (const UChar *)b.p + b.n, ONIG_OPTION_MULTILINE, ONIG_ENCODING_UTF8, ONIG_SYNTAX_PERL, &info);
    sbuf_release(&b);
    if (rc == ONIG_NORMAL)
        return ERR_OK;
    UChar why[ONIG_MAX_ERROR_MESSAGE_LEN];
    onig_error_code_to_str(why, rc, &info);
    f->re = NULL;
    return err_set(e, ERR_USAGE, "reward.format_regex '%s': %s", regex, (const char *)why);
}

static char *bracketed(const char *before, struct str name)
{
    char *s = malloc((size_t)name.n + strlen(before) + 2);
    if (s)
        snprintf(s, (size_t)name.n + strlen(before) + 2, "%s%.*s>", before, STR_ARG(name));
    return s;
}

static err_code format_open(const struct cfg *c, void **self, struct err *e)
{
    struct cfg_item tags[TAGS_MAX];
    int n;
    struct format *f = calloc(1, sizeof *f);
    if (!f)
        return err_set(e, ERR_LIMIT, "no memory for the format reward");
    f->opened = c->reward.format_opened;
    err_code rc = ERR_OK;
    if (c->reward.format_regex[0]) {
        rc = compile(f, c->reward.format_regex, e);
    } else if ((rc = cfg_list(c->reward.format_tags, "reward.format_tags", tags, TAGS_MAX, &n, e)) == ERR_OK) {
        if (n == 0)
            rc = err_set(e, ERR_USAGE, "the format reward needs reward.format_tags or reward.format_regex");
        for (int i = 0; i < n; i++, f->n++) {
            f->open[i] = bracketed("<", tags[i].name);
            f->close[i] = bracketed("</", tags[i].name);
            if (!f->open[i] || !f->close[i])
                rc = err_set(e, ERR_LIMIT, "no memory for the format reward");
        }
    }
    if (rc != ERR_OK) {
        format_close(f);
        return rc;
    }
    *self = f;
    return ERR_OK;
}

/* The regex engine counts its retries: a pattern that explodes is our timeout, not the response's fault. */
static void by_regex(const struct format *f, struct str text, struct arena *mem, struct reward_verdict *v)
{
    const UChar *p = (const UChar *)text.p, *end = p + text.n;
    OnigMatchParam *param = onig_new_match_param();
    if (!param) {
        reward_say(v, mem, REWARD_CRASHED, 0, "no memory");
        return;
    }
    onig_initialize_match_param(param);
    onig_set_retry_limit_in_match_of_match_param(param, RETRY_MAX);
    int rc = (int)onig_match_with_param(f->re, p, end, p, NULL, ONIG_OPTION_NONE, param);
    onig_free_match_param(param);
    if (rc >= 0)
        reward_say(v, mem, REWARD_RIGHT, 1, "matches");
    else if (rc == ONIG_MISMATCH)
        reward_say(v, mem, REWARD_WRONG, 0, "does not match reward.format_regex");
    else if (rc == ONIGERR_RETRY_LIMIT_IN_MATCH_OVER || rc == ONIGERR_MATCH_STACK_LIMIT_OVER)
        reward_say(v, mem, REWARD_TIMEOUT, 0, "reward.format_regex: more than %d retries", RETRY_MAX);
    else
        reward_say(v, mem, REWARD_CRASHED, 0, "reward.format_regex: engine error %d", rc);
}

static int64_t skip_space(struct str s, int64_t at)
{
    while (at < s.n && (s.p[at] == ' ' || s.p[at] == '\n' || s.p[at] == '\t' || s.p[at] == '\r'))
        at++;
    return at;
}

static int occurrences(struct str s, const char *what)
{
    int n = 0;
    struct str w = str_of(what);
    for (int64_t at = 0; (at = str_find(s, w, at)) >= 0; at += w.n)
        n++;
    return n;
}

static void by_tags(const struct format *f, struct str text, struct arena *mem, struct reward_verdict *v)
{
    int64_t at = 0;
    for (int i = 0; i < f->n; i++) {
        int opened = i == 0 && f->opened, opens = occurrences(text, f->open[i]), closes = occurrences(text, f->close[i]);
        if (opens != !opened || closes != 1) {
            reward_say(v, mem, REWARD_WRONG, 0, "%s occurs %d times, %s %d times", f->open[i], opens, f->close[i], closes);
            return;
        }
        if (!opened) {
            at = skip_space(text, at);
            if (!str_starts(str_sub(text, at, text.n), str_of(f->open[i]))) {
                reward_say(v, mem, REWARD_WRONG, 0, "text where %s should stand", f->open[i]);
                return;
            }
        }
        int64_t end = str_find(text, str_of(f->close[i]), at);
        if (end < 0) {
            reward_say(v, mem, REWARD_WRONG, 0, "%s stands before %s", f->close[i], f->open[i]);
            return;
        }
        at = end + (int64_t)strlen(f->close[i]);
    }
    if (skip_space(text, at) != text.n)
        reward_say(v, mem, REWARD_WRONG, 0, "text behind %s", f->close[f->n - 1]);
    else
        reward_say(v, mem, REWARD_RIGHT, 1, "all blocks in order");
}

static void format_score(void *self, int worker, const struct reward_request *q, struct arena *mem, struct reward_verdict *v)
{
    const struct format *f = self;
    struct str text = q->response.p ? q->response : STR("");
    (void)worker;
    if (utf8_check(text) >= 0)
        reward_say(v, mem, REWARD_UNPARSABLE, 0, "the response is not UTF-8");
    else if (f->re)
        by_regex(f, text, mem, v);
    else
        by_tags(f, text, mem, v);
}

const struct reward_kind reward_kind_format = {.name = "format", .open = format_open, .close = format_close, .score = format_score};
