/* The BPE trainer: count distinct words, then join the most frequent pair again and again. */
#include <stdio.h>
#include <stdlib.h>

#include "core/json.h"
#include "text/tok.h"
#include "text/tok_patterns.h"

enum { MAX_VOCAB = 1 << 20, MAX_WORD = 1 << 16 };

static const struct scheme {
    const char *name, *regex;
    int nfc;
} schemes[] = {
    {"qwen2", TOK_RE_QWEN2, 1},
    {"gpt2", TOK_RE_GPT2, 0},
    {"llama3", TOK_RE_LLAMA3, 0},
    {"o200k", TOK_RE_O200K, 0},
};

static const char chatml[] =
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

struct word {
    int64_t at;     /* its bytes, in text */
    int64_t count;
    int32_t *sym;   /* its symbols while merging */
    int32_t n;      /* bytes, then symbols */
};

struct pair {
    int32_t left, right;
    int64_t count;
    int32_t *word;  /* words it stands in; some may have lost it */
    int64_t n, cap;
    int merged;
};

struct tok_trainer {
    struct tok_train_opts o;
    const struct scheme *scheme;
    struct tok t;            /* only the normalizer and the pre-tokenizer */
    struct tok_re_run *re;
    struct tok_work w, tmp;
    struct sbuf text;        /* bytes of the distinct words */
    struct word *word;
    int64_t n_words, cap_words;
    uint32_t *word_table;    /* word + 1 */
    int64_t word_slots;
    struct pair *pair;
    int64_t n_pairs, cap_pairs;
    uint32_t *pair_table;    /* pair + 1 */
    int64_t pair_slots;
    int64_t *heap;           /* pairs by count, then by ids; counts in it may be out of date */
    int64_t *heap_count;
    int64_t n_heap, cap_heap, cap_heap_count;
    struct sbuf token;       /* bytes of the tokens */
    int64_t *token_at;       /* [n_tokens + 1] */
    int64_t n_tokens, cap_tokens;
    uint32_t *token_table;   /* token + 1 by text */
    int64_t token_slots;
    int32_t (*merge)[2];
    int64_t n_merges, cap_merges;
    struct arena specials;
    struct tok_train_stats stats;
};

/* ---- counting ----------------------------------------------------------------------------- */

static err_code open_stages(struct tok_trainer *tr, struct err *e)
{
    json_t *pre = json_pack("{s:s,s:{s:s},s:s,s:b}", "type", "Split", "pattern", "Regex", tr->scheme->regex, "behavior", "Isolated", "invert", 0);
    json_t *norm = tr->scheme->nfc ? json_pack("{s:s}", "type", "NFC") : NULL;
    err_code rc = tok_open_pre(&tr->t, pre, e);
    if (rc == ERR_OK)
        rc = tok_pre_compile(&tr->t, e); /* a Split without ByteLevel behind it has no scanner, but may get one */
    if (rc == ERR_OK)
        rc = tok_open_norm(&tr->t, norm, e);
    json_decref(pre);
    json_decref(norm);
    return rc;
}

static err_code copy_options(struct tok_trainer *tr, const struct tok_train_opts *o, struct err *e)
{
    static const struct str common[] = {{"<|endoftext|>", 13}, {"<|im_start|>", 12}, {"<|im_end|>", 10}};
    tr->o = *o;
    if (!o->special) {
        tr->o.special = common;
        tr->o.n_special = 3;
    }
    struct str *special = ARENA_NEW(&tr->specials, struct str, tr->o.n_special + 1);
    for (int i = 0; i < tr->o.n_special; i++) {
        if (tr->o.special[i].n == 0 || utf8_check(tr->o.special[i]) >= 0)
            return err_set(e, ERR_USAGE, "special token %d is empty or not UTF-8", i);
        for (int k = 0; k < i; k++)
            if (str_eq(special[k], tr->o.special[i]))
                return err_set(e, ERR_USAGE, "special token '%.*s' is given twice", STR_ARG(special[k]));
        special[i] = str_dup(&tr->specials, tr->o.special[i]);
    }
    tr->o.special = special;
    tr->o.chat_template = str_dup(&tr->specials, str_of(o->chat_template ? o->chat_template : chatml)).p;
    tr->o.min_count = o->min_count ? o->min_count : 2;
    if (o->vocab < 256 + tr->o.n_special || o->vocab > MAX_VOCAB)
        return err_set(e, ERR_USAGE, "a vocabulary of %lld ids is not possible: at least 256 bytes and %d special tokens, at most %d", (long long)o->vocab,
                       tr->o.n_special, MAX_VOCAB);
    return ERR_OK;
}

err_code tok_train_new(const struct tok_train_opts *o, struct tok_trainer **out, struct err *e)
{
    struct tok_trainer *tr = calloc(1, sizeof *tr);
    if (!tr)
        return err_set(e, ERR_LIMIT, "out of memory for a trainer");
    arena_init(&tr->t.mem, "trainer", 64 << 20);
    arena_init(&tr->specials, "special tokens", 64 << 20);
    sbuf_init(&tr->text, 1LL << 36);
    sbuf_init(&tr->token, 1LL << 32);
    tr->re = tok_re_run_new();
    err_code rc = copy_options(tr, o, e);
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
        if (!strcmp(o->pattern && *o->pattern ? o->pattern : "qwen2", schemes[i].name))
            tr->scheme = &schemes[i];
    if (rc == ERR_OK && !tr->scheme)
        rc = err_set(e, ERR_USAGE, "pattern '%s' is not one of qwen2, gpt2, llama3, o200k", o->pattern);
    if (rc == ERR_OK)
        rc = open_stages(tr, e);
    if (rc != ERR_OK)
        tok_train_free(tr);
    else
        *out = tr;
    return rc;
}

static void *zeroed(int64_t n, size_t size)
{
    void *p = calloc((size_t)n, size);
    if (!p)
        BUG("out of memory for a table of %lld entries", (long long)n);
    return p;
}

static void grow_words(struct tok_trainer *tr)
{
    int64_t slots = tr->word_slots ? tr->word_slots * 2 : 1 << 14;
    free(tr->word_table);
    tr->word_table = zeroed(slots, sizeof *tr->word_table);
    tr->word_slots = slots;
    for (int64_t i = 0; i < tr->n_words; i++) {
        int64_t k = (int64_t)tok_hash_bytes(tr->text.p + tr->word[i].at, tr->word[i].n) & (slots - 1);
        while (tr->word_table[k])
            k = (k + 1) & (slots - 1);
        tr->word_table[k] = (uint32_t)i + 1;
    }
}

static err_code count_word(struct tok_trainer *tr, struct str w, struct err *e)
{
    if (2 * tr->n_words >= tr->word_slots)
        grow_words(tr);
    tr->stats.words++;
    int64_t k = (int64_t)tok_hash_bytes(w.p, w.n) & (tr->word_slots - 1);
    for (; tr->word_table[k]; k = (k + 1) & (tr->word_slots - 1)) {
        struct word *x = &tr->word[tr->word_table[k] - 1];
        if (x->n == w.n && !memcmp(tr->text.p + x->at, w.p, (size_t)w.n))
            return x->count++, ERR_OK;
    }
    if (tr->n_words == INT32_MAX)
        return err_set(e, ERR_LIMIT, "more than %d distinct words", INT32_MAX);
    tr->word = tok_grow(tr->word, &tr->cap_words, tr->n_words + 1, sizeof *tr->word);
    tr->word[tr->n_words] = (struct word){.at = tr->text.n, .n = (int32_t)w.n, .count = 1};
    tr->word_table[k] = (uint32_t)++tr->n_words;
    sbuf_add(&tr->text, w);
    return tr->text.full ? err_set(e, ERR_LIMIT, "out of memory for the distinct words") : ERR_OK;
}

err_code tok_train_add(struct tok_trainer *tr, struct str text, struct err *e)
{
    int64_t bad = utf8_check(text);
    if (bad >= 0)
        return err_set(e, ERR_DATA, "not UTF-8 at byte %lld", (long long)bad);
    if (text.n > TOK_MAX_TEXT)
        return err_set(e, ERR_LIMIT, "a text of %lld bytes is too long to train on", (long long)text.n);
    tok_work_begin(&tr->w, 0);
    tok_work_add(&tr->w, text.p, text.n, 0, 0);
    TRY(tok_normalize(&tr->t, tr->re, &tr->w, &tr->tmp, e));
    TRY(tok_pretokenize(&tr->t, tr->re, &tr->w, &tr->tmp, 0, e));
    for (int64_t i = 0; i < tr->w.n_cuts; i++) {
        struct tok_cut c = tr->w.cut[i];
        for (; c.b < c.e; c.b += MAX_WORD) /* a word longer than this teaches nothing about merges */
            TRY(count_word(tr, (struct str){tr->w.p + c.b, c.e - c.b < MAX_WORD ? c.e - c.b : MAX_WORD}, e));
    }
    tr->stats.texts++;
    tr->stats.bytes += text.n;
    return ERR_OK;
}

void tok_train_free(struct tok_trainer *tr)
{
    if (!tr)
        return;
    for (int64_t i = 0; i < tr->n_words; i++)
        free(tr->word[i].sym);
    for (int64_t i = 0; i < tr->n_pairs; i++)
        free(tr->pair[i].word);
    void *all[] = {tr->word, tr->word_table, tr->pair, tr->pair_table, tr->heap, tr->heap_count, tr->token_at, tr->token_table, tr->merge};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
    for (int i = 0; i < tr->t.n_pre; i++)
        tok_re_free(tr->t.pre[i].re);
    tok_re_run_free(tr->re);
    tok_work_release(&tr->w);
    tok_work_release(&tr->tmp);
    sbuf_release(&tr->text);
    sbuf_release(&tr->token);
    arena_release(&tr->t.mem);
    arena_release(&tr->specials);
    free(tr);
}

/* ---- pairs -------------------------------------------------------------------------------- */

static int64_t pair_slot(const struct tok_trainer *tr, int32_t left, int32_t right)
{
    int64_t k = (int64_t)(tok_mix((uint64_t)(uint32_t)left << 32 | (uint32_t)right) >> 16) & (tr->pair_slots - 1);
    while (tr->pair_table[k] && (tr->pair[tr->pair_table[k] - 1].left != left || tr->pair[tr->pair_table[k] - 1].right != right))
        k = (k + 1) & (tr->pair_slots - 1);
    return k;
}

static struct pair *find_pair(struct tok_trainer *tr, int32_t left, int32_t right)
{
    if (2 * tr->n_pairs >= tr->pair_slots) {
        free(tr->pair_table);
        tr->pair_slots = tr->pair_slots ? tr->pair_slots * 2 : 1 << 14;
        tr->pair_table = zeroed(tr->pair_slots, sizeof *tr->pair_table);
        for (int64_t i = 0; i < tr->n_pairs; i++)
            tr->pair_table[pair_slot(tr, tr->pair[i].left, tr->pair[i].right)] = (uint32_t)i + 1;
    }
    int64_t k = pair_slot(tr, left, right);
    if (!tr->pair_table[k]) {
        tr->pair = tok_grow(tr->pair, &tr->cap_pairs, tr->n_pairs + 1, sizeof *tr->pair);
        tr->pair[tr->n_pairs] = (struct pair){.left = left, .right = right};
        tr->pair_table[k] = (uint32_t)++tr->n_pairs;
    }
    return &tr->pair[tr->pair_table[k] - 1];
}

static void pair_seen(struct pair *p, int64_t word, int64_t count)
{
    p->count += count;
    if (p->n && p->word[p->n - 1] == word)
        return;
    p->word = tok_grow(p->word, &p->cap, p->n + 1, sizeof *p->word);
    p->word[p->n++] = (int32_t)word;
}

/* 1 when entry a (pair, count) comes before b: the larger count, then the lower ids. */
static int before(const struct tok_trainer *tr, int64_t a, int64_t count_a, int64_t b, int64_t count_b)
{
    const struct pair *x = &tr->pair[a], *y = &tr->pair[b];
    if (count_a != count_b)
        return count_a > count_b;
    return x->left != y->left ? x->left < y->left : x->right < y->right;
}

static void heap_push(struct tok_trainer *tr, int64_t pair)
{
    int64_t count = tr->pair[pair].count, i = tr->n_heap;
    tr->heap = tok_grow(tr->heap, &tr->cap_heap, i + 1, sizeof *tr->heap);
    tr->heap_count = tok_grow(tr->heap_count, &tr->cap_heap_count, i + 1, sizeof *tr->heap_count);
    tr->n_heap++;
    for (; i > 0 && before(tr, pair, count, tr->heap[(i - 1) / 2], tr->heap_count[(i - 1) / 2]); i = (i - 1) / 2) {
        tr->heap[i] = tr->heap[(i - 1) / 2];
        tr->heap_count[i] = tr->heap_count[(i - 1) / 2];
    }
    tr->heap[i] = pair;
    tr->heap_count[i] = count;
}

static int64_t heap_pop(struct tok_trainer *tr, int64_t *count)
{
    int64_t top = tr->heap[0], n = --tr->n_heap, last = tr->heap[n], last_count = tr->heap_count[n], i = 0;
    *count = tr->heap_count[0];
    for (int64_t c; (c = 2 * i + 1) < n; i = c) {
        if (c + 1 < n && before(tr, tr->heap[c + 1], tr->heap_count[c + 1], tr->heap[c], tr->heap_count[c]))
            c++;
        if (!before(tr, tr->heap[c], tr->heap_count[c], last, last_count))
            break;
        tr->heap[i] = tr->heap[c];
        tr->heap_count[i] = tr->heap_count[c];
    }
    tr->heap[i] = last;
    tr->heap_count[i] = last_count;
    return top;
}

/* ---- tokens ------------------------------------------------------------------------------- */

static struct str token_text(const struct tok_trainer *tr, int64_t id)
{
    return (struct str){tr->token.p + tr->token_at[id], tr->token_at[id + 1] - tr->token_at[id]};
}

static int64_t token_slot(const struct tok_trainer *tr, struct str text)
{
    int64_t k = (int64_t)tok_hash_bytes(text.p, text.n) & (tr->token_slots - 1);
    while (tr->token_table[k] && !str_eq(token_text(tr, tr->token_table[k] - 1), text))
        k = (k + 1) & (tr->token_slots - 1);
    return k;
}

static void add_token(struct tok_trainer *tr, struct str bytes)
{
    tr->token_at = tok_grow(tr->token_at, &tr->cap_tokens, tr->n_tokens + 2, sizeof *tr->token_at);
    if (tr->n_tokens == 0)
        tr->token_at[0] = 0;
    sbuf_add(&tr->token, bytes);
    tr->token_at[++tr->n_tokens] = tr->token.n;
    tr->token_table[token_slot(tr, bytes)] = (uint32_t)tr->n_tokens;
}

/* Bytes get the ids that the order of their printable characters gives: as GPT-2's and Qwen's files. */
static void add_bytes(struct tok_trainer *tr, int32_t id_of[256])
{
    for (uint32_t c = 0; c < 0x144; c++) {
        int b = tok_char_byte(c);
        if (b < 0)
            continue;
        char byte = (char)b;
        id_of[b] = (int32_t)tr->n_tokens;
        add_token(tr, (struct str){&byte, 1});
    }
    assert(tr->n_tokens == 256);
}

static void start_words(struct tok_trainer *tr)
{
    int32_t id_of[256];
    tr->token_slots = 1024;
    while (tr->token_slots < 2 * tr->o.vocab)
        tr->token_slots *= 2;
    tr->token_table = zeroed(tr->token_slots, sizeof *tr->token_table);
    add_bytes(tr, id_of);
    for (int64_t w = 0; w < tr->n_words; w++) {
        struct word *x = &tr->word[w];
        x->sym = zeroed(x->n, sizeof *x->sym);
        for (int32_t i = 0; i < x->n; i++)
            x->sym[i] = id_of[(unsigned char)tr->text.p[x->at + i]];
        for (int32_t i = 0; i + 1 < x->n; i++)
            pair_seen(find_pair(tr, x->sym[i], x->sym[i + 1]), w, x->count);
    }
    for (int64_t p = 0; p < tr->n_pairs; p++)
        heap_push(tr, p);
}

/* Joins the pair in one word and moves the counts of its neighbours. Pairs that gained are pushed by the caller. */
static void join_in_word(struct tok_trainer *tr, int64_t w, int32_t left, int32_t right, int32_t made, struct sbuf *gained)
{
    struct word *x = &tr->word[w];
    int32_t m = 0;
    for (int32_t i = 0; i < x->n; i++) {
        if (x->sym[i] != left || i + 1 >= x->n || x->sym[i + 1] != right) {
            x->sym[m++] = x->sym[i];
            continue;
        }
        int32_t beside[2][4] = {{m ? x->sym[m - 1] : -1, left, m ? x->sym[m - 1] : -1, made},
                                {right, i + 2 < x->n ? x->sym[i + 2] : -1, made, i + 2 < x->n ? x->sym[i + 2] : -1}};
        for (int side = 0; side < 2; side++) {
            const int32_t *b = beside[side];
            if (b[0] < 0 || b[1] < 0)
                continue;
            find_pair(tr, b[0], b[1])->count -= x->count;
            struct pair *p = find_pair(tr, b[2], b[3]);
            pair_seen(p, w, x->count);
            int64_t index = p - tr->pair;
            sbuf_add(gained, (struct str){(const char *)&index, sizeof index});
        }
        x->sym[m++] = made;
        i++;
    }
    x->n = m;
}

/* The same text by other merges is the same token. */
static int32_t make_token(struct tok_trainer *tr, int32_t left, int32_t right)
{
    struct sbuf both;
    sbuf_init(&both, 1 << 20);
    sbuf_add(&both, token_text(tr, left));
    sbuf_add(&both, token_text(tr, right));
    int64_t k = token_slot(tr, sbuf_str(&both));
    int32_t id = tr->token_table[k] ? (int32_t)tr->token_table[k] - 1 : (int32_t)tr->n_tokens;
    if (!tr->token_table[k])
        add_token(tr, sbuf_str(&both));
    sbuf_release(&both);
    return id;
}

static int by_index(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void merge_pair(struct tok_trainer *tr, int64_t index, struct sbuf *gained)
{
    int32_t left = tr->pair[index].left, right = tr->pair[index].right;
    int32_t made = make_token(tr, left, right), *words = tr->pair[index].word;
    int64_t n = tr->pair[index].n;
    if (!tr->pair[index].merged) {
        tr->merge = tok_grow(tr->merge, &tr->cap_merges, tr->n_merges + 1, sizeof *tr->merge);
        tr->merge[tr->n_merges][0] = left;
        tr->merge[tr->n_merges++][1] = right;
    }
    tr->pair[index].merged = 1;
    tr->pair[index].word = NULL;
    tr->pair[index].n = tr->pair[index].cap = 0;
    tr->pair[index].count = 0;
    sbuf_clear(gained);
    for (int64_t i = 0; i < n; i++)
        join_in_word(tr, words[i], left, right, made, gained);
    free(words);
    int64_t m = gained->n / (int64_t)sizeof(int64_t), *list = (int64_t *)(void *)gained->p;
    if (m)
        qsort(list, (size_t)m, sizeof *list, by_index);
    for (int64_t i = 0; i < m; i++)
        if (i == 0 || list[i] != list[i - 1])
            heap_push(tr, list[i]);
}

static void learn(struct tok_trainer *tr)
{
    struct sbuf gained;
    sbuf_init(&gained, 1LL << 36);
    start_words(tr);
    while (tr->n_heap && tr->n_tokens + tr->o.n_special < tr->o.vocab) {
        int64_t count, p = heap_pop(tr, &count);
        if (tr->pair[p].count != count) { /* out of date: comes again with what it has now */
            if (tr->pair[p].count > 0)
                heap_push(tr, p);
            continue;
        }
        if (count < tr->o.min_count)
            break;
        merge_pair(tr, p, &gained);
    }
    sbuf_release(&gained);
}

/* ---- writing ------------------------------------------------------------------------------ */

static void put_name(struct sbuf *b, struct str bytes)
{
    for (int64_t i = 0; i < bytes.n; i++) {
        char u[4];
        int n = utf8_encode(tok_byte_char((unsigned char)bytes.p[i]), u);
        sbuf_add(b, (struct str){u, n});
    }
}

static void put_spelled(struct sbuf *b, struct sbuf *tmp, struct str x, struct str y)
{
    sbuf_clear(tmp);
    put_name(tmp, x);
    if (y.p) {
        sbuf_addc(tmp, ' ');
        put_name(tmp, y);
    }
    json_put_str(b, sbuf_str(tmp));
}

static void put_added(struct sbuf *b, struct str text, int64_t id, int with_id)
{
    sbuf_addc(b, '{');
    if (with_id)
        sbuf_addf(b, "\"id\":%lld,", (long long)id);
    sbuf_adds(b, "\"content\":");
    json_put_str(b, text);
    sbuf_adds(b, ",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false,\"special\":true}");
}

static void put_tokenizer(const struct tok_trainer *tr, struct sbuf *b)
{
    struct sbuf tmp;
    sbuf_init(&tmp, 1 << 24);
    sbuf_adds(b, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":[");
    for (int i = 0; i < tr->o.n_special; i++) {
        sbuf_adds(b, i ? ",\n" : "\n");
        put_added(b, tr->o.special[i], tr->n_tokens + i, 1);
    }
    sbuf_addf(b, "],\n\"normalizer\":%s,\n\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":",
              tr->scheme->nfc ? "{\"type\":\"NFC\"}" : "null");
    json_put_str(b, str_of(tr->scheme->regex));
    sbuf_adds(b, "},\"behavior\":\"Isolated\",\"invert\":false},{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":false,\"use_regex\":false}]},\n"
                 "\"post_processor\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":false,\"use_regex\":false},\n"
                 "\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":false,\"use_regex\":false},\n"
                 "\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":null,\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,"
                 "\"fuse_unk\":false,\"byte_fallback\":false,\"ignore_merges\":false,\"vocab\":{");
    for (int64_t id = 0; id < tr->n_tokens; id++) {
        sbuf_adds(b, id ? ",\n" : "\n");
        put_spelled(b, &tmp, token_text(tr, id), (struct str){NULL, 0});
        sbuf_addf(b, ":%lld", (long long)id);
    }
    sbuf_adds(b, "},\"merges\":[");
    for (int64_t i = 0; i < tr->n_merges; i++) {
        sbuf_adds(b, i ? ",\n" : "\n");
        put_spelled(b, &tmp, token_text(tr, tr->merge[i][0]), token_text(tr, tr->merge[i][1]));
    }
    sbuf_adds(b, "]}}\n");
    sbuf_release(&tmp);
}

/* The first of the names that is a special token, else the one at `def`. */
static struct str pick(const struct tok_trainer *tr, const char *first, const char *second, int def)
{
    const char *names[] = {first, second};
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < tr->o.n_special; i++)
            if (str_eq(tr->o.special[i], str_of(names[k])))
                return tr->o.special[i];
    return tr->o.n_special ? tr->o.special[def] : (struct str){NULL, 0};
}

static void put_config(const struct tok_trainer *tr, struct sbuf *b)
{
    struct str eos = pick(tr, "<|im_end|>", "<|endoftext|>", tr->o.n_special - 1), pad = pick(tr, "<|endoftext|>", "<pad>", 0);
    sbuf_adds(b, "{\"add_bos_token\":false,\"add_prefix_space\":false,\"added_tokens_decoder\":{");
    for (int i = 0; i < tr->o.n_special; i++) {
        sbuf_addf(b, "%s\"%lld\":", i ? ",\n" : "\n", (long long)(tr->n_tokens + i));
        put_added(b, tr->o.special[i], 0, 0);
    }
    sbuf_adds(b, "},\n\"bos_token\":null,\"clean_up_tokenization_spaces\":false");
    if (eos.p) {
        sbuf_adds(b, ",\"eos_token\":");
        json_put_str(b, eos);
        sbuf_adds(b, ",\"pad_token\":");
        json_put_str(b, pad);
    }
    sbuf_adds(b, ",\"unk_token\":null,\"tokenizer_class\":\"PreTrainedTokenizerFast\",\n\"chat_template\":");
    json_put_str(b, str_of(tr->o.chat_template));
    sbuf_adds(b, "}\n");
}

static err_code write_file(const char *dir, const char *name, struct sbuf *b, struct err *e)
{
    char path[4096];
    if (b->full)
        return err_set(e, ERR_LIMIT, "out of memory for '%s'", name);
    if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path)
        return err_set(e, ERR_USAGE, "the folder's name is too long");
    return file_write_atomic(path, sbuf_str(b), e);
}

err_code tok_train_write(struct tok_trainer *tr, const char *dir, struct tok_train_stats *stats, struct err *e)
{
    struct sbuf b;
    if (tr->n_tokens == 0)
        learn(tr);
    sbuf_init(&b, 1LL << 32);
    put_tokenizer(tr, &b);
    err_code rc = file_mkdirs(dir, e);
    if (rc == ERR_OK)
        rc = write_file(dir, "tokenizer.json", &b, e);
    sbuf_clear(&b);
    put_config(tr, &b);
    if (rc == ERR_OK)
        rc = write_file(dir, "tokenizer_config.json", &b, e);
    sbuf_release(&b);
    tr->stats.distinct_words = tr->n_words;
    tr->stats.merges = tr->n_merges;
    tr->stats.ids = tr->n_tokens + tr->o.n_special;
    if (rc == ERR_OK && stats)
        *stats = tr->stats;
    return rc;
}
