/* Tokenizers: text <-> token ids, exactly as the Hugging Face `tokenizers` library does it on the same
 * tokenizer.json (which is what transformers 4 and vLLM give; docs/tokenizer.md).
 *
 *   struct tok *t;        tok_load("model/", &t, &e);          immutable, shared by all threads
 *   struct tok_enc *enc;  tok_enc_new(t, &enc, &e);            one per thread: word cache and scratch
 *   struct tok_ids ids = {0};
 *   tok_encode(enc, &(struct tok_text){.text = s}, &ids, &e);  ids.id[0 .. ids.n)
 *   tok_decode(t, ids.id, ids.n, 0, &out);                     bytes, always valid UTF-8
 *
 * Text is UTF-8; offsets are bytes of the text given. What a file asks for and hone does not support
 * is refused by name (ERR_UNSUPPORTED) when it is loaded.
 * det: ids are a function of the tokenizer and the text alone; caches and threads change only the time.
 */
#ifndef HONE_TEXT_TOKENIZER_H
#define HONE_TEXT_TOKENIZER_H

#include <stdint.h>

#include "core/cdecl.h"
#include "core/err.h"
#include "core/hash.h"
#include "core/str.h"
#include "text/template.h"

CDECL_BEGIN

/* ---- loading ------------------------------------------------------------------------------ */

struct tok;

/* A model folder: tokenizer.json, with tokenizer_config.json and special_tokens_map.json where they
 * are (added_tokens_decoder, bos/eos/pad tokens, tokenizer_class with add_bos_token and add_eos_token). dir may also name a tokenizer.json.
 * A prepared image keyed by the file's content is kept in $HONE_CACHE, else $XDG_CACHE_HOME/hone, else
 * ~/.cache/hone (HONE_CACHE= turns it off); a missing or unwritable cache only costs time.
 * ERR_IO, ERR_DATA (file and what is wrong), ERR_UNSUPPORTED (what the file asks for). */
err_code tok_load(const char *dir, struct tok **out, struct err *e);

/* A rank file ("base64 rank" lines: *.tiktoken, Llama's tokenizer.model). Pattern and special tokens are
 * not in such a file: scheme names them: "cl100k_base", "o200k_base", "p50k_base", "r50k_base", "llama3",
 * "llama4"; NULL: told from the file's name. */
err_code tok_load_tiktoken(const char *path, const char *scheme, struct tok **out, struct err *e);

void tok_free(struct tok *t); /* NULL is fine; free the tok_enc of it first */

/* ---- asking ------------------------------------------------------------------------------- */

int32_t tok_n_ids(const struct tok *t);                    /* highest id + 1; a model's vocab_size may be larger */
int32_t tok_find(const struct tok *t, struct str text);    /* id of the token whose text this is ("<|im_end|>", " the"), or -1 */
struct str tok_bytes(const struct tok *t, int32_t id);     /* what it decodes to, alone; may be part of a character; empty: no such id */
struct str tok_name(const struct tok *t, int32_t id);      /* as tokenizer.json spells it ("Ġthe") */
int tok_is_special(const struct tok *t, int32_t id);       /* dropped by skip_special */
int tok_is_added(const struct tok *t, int32_t id);
int32_t tok_bos(const struct tok *t);                      /* -1: none */
int32_t tok_eos(const struct tok *t);
int32_t tok_pad(const struct tok *t);
int32_t tok_unk(const struct tok *t);
struct hash128 tok_hash(const struct tok *t);              /* of everything that decides ids; for cache keys and the store */
int64_t tok_memory(const struct tok *t);                   /* bytes held */

/* ---- encoding ----------------------------------------------------------------------------- */

struct tok_enc;
err_code tok_enc_new(const struct tok *t, struct tok_enc **out, struct err *e); /* t borrowed */
void tok_enc_free(struct tok_enc *enc);
int64_t tok_enc_memory(const struct tok_enc *enc); /* bytes; bounded whatever was encoded, but for scratch of the longest text */

/* Tokens around a text. The tokenizers library follows tokenizer.json alone; the Llama, Gemma, Cohere and Code Llama classes of
 * transformers 4 (and so vLLM and training scripts) put their own rule over it: DeepSeek-V3's file adds nothing, its class a bos. */
enum tok_special {
    TOK_SPECIAL_NONE,
    TOK_SPECIAL_FILE,  /* what the post-processor of tokenizer.json adds */
    TOK_SPECIAL_CLASS  /* add_bos_token and add_eos_token of tokenizer_config.json where tokenizer_class heeds them, else the file's */
};

struct tok_text {
    struct str text;               /* ERR_DATA when not UTF-8: see tok_utf8_replace */
    enum tok_special add_special;  /* chat text is encoded with TOK_SPECIAL_NONE: the template writes bos itself */
    int plain;                     /* 1: control tokens written in the text are encoded as plain text */
    int offsets;                   /* 1: fill begin and end of the result */
    const struct tmpl_span *spans; /* rendered chat text: only the control tokens that the template wrote count, those in */
    int64_t n_spans;               /* spans with plain = 1 are plain text. Replaces `plain`; n_spans 0 = none */
};
/* A control token is an added token that is special, or spelled <|...|> or <｜...｜> (DeepSeek marks
 * <｜User｜> as not special). <think> or <tool_call> stay tokens wherever they stand. */

struct tok_ids {       /* zero-initialise; reused from call to call */
    int32_t *id;
    int64_t *begin, *end; /* with offsets: the characters the token touches, [begin, end) in bytes; a token that holds
                           * a part of a character has the whole character. Added by the post-processor: 0, 0 */
    int64_t n, cap, cap_offsets;
};
void tok_ids_release(struct tok_ids *ids);

/* out is replaced. ERR_DATA: not UTF-8 (offset in the message). ERR_LIMIT: text over 1 GiB. */
err_code tok_encode(struct tok_enc *enc, const struct tok_text *in, struct tok_ids *out, struct err *e);

/* n texts on the threads of core/par; enc[w] belongs to worker w, par_threads() of them.
 * results[i] is what tok_encode gives for in[i]; failed[i] = its error code. det: the same for any thread count. */
void tok_encode_many(struct tok_enc *const *enc, const struct tok_text *in, int64_t n, struct tok_ids *results, struct err *failed);

/* Bytes that are not UTF-8 become U+FFFD, one per maximal subpart, as Python's errors="replace". Appends to out. */
void tok_utf8_replace(struct str bytes, struct sbuf *out);

/* How a text is cut, for people: called once per piece in order. */
struct tok_piece {
    int64_t begin, end;   /* bytes of the text */
    const int32_t *id;    /* its tokens */
    int64_t n;
    int added;            /* 1: an added token */
};
typedef void tok_piece_fn(void *ctx, const struct tok_piece *p);
err_code tok_explain(struct tok_enc *enc, const struct tok_text *in, tok_piece_fn *fn, void *ctx, struct err *e);

/* ---- decoding ----------------------------------------------------------------------------- */

/* Appends the text; bytes that are no UTF-8 come out as U+FFFD. Returns how many ids the tokenizer does not
 * know (they give no text). */
int64_t tok_decode(const struct tok *t, const int32_t *id, int64_t n, int skip_special, struct sbuf *out);

/* The same, token by token: what is appended never changes later, so an incomplete character is held back.
 * All pushes plus the end together append exactly what tok_decode gives. */
struct tok_stream;
struct tok_stream *tok_stream_new(const struct tok *t, int skip_special);
void tok_stream_push(struct tok_stream *s, int32_t id, struct sbuf *out);
void tok_stream_end(struct tok_stream *s, struct sbuf *out); /* flushes; the stream can be used again */
void tok_stream_free(struct tok_stream *s);

/* ---- training ----------------------------------------------------------------------------- */

/* Byte-level BPE from texts: 256 bytes, then the most frequent pair again and again (ties: the pair with the lower
 * ids), as the `tokenizers` trainer. Writes tokenizer.json and tokenizer_config.json, which this header's tok_load and
 * transformers read.
 * det: depends on the multiset of texts and the options alone. cost: O(bytes) to count, then about O(words * log). */
struct tok_train_opts {
    int64_t vocab;             /* ids wanted, special tokens included; fewer when the texts have no more pairs */
    int64_t min_count;         /* pairs seen less often are not merged; 0 = 2 */
    const char *pattern;       /* how text is cut: "qwen2" (NULL), "gpt2", "llama3", "o200k" */
    const char *chat_template; /* NULL: ChatML */
    const struct str *special; /* NULL: <|endoftext|> (pad), <|im_start|>, <|im_end|> (eos); ids follow the merges */
    int n_special;
};
struct tok_trainer;
struct tok_train_stats {
    int64_t texts, bytes, words, distinct_words, merges, ids;
};
err_code tok_train_new(const struct tok_train_opts *o, struct tok_trainer **out, struct err *e);
err_code tok_train_add(struct tok_trainer *tr, struct str text, struct err *e); /* ERR_DATA: not UTF-8 */
err_code tok_train_write(struct tok_trainer *tr, const char *dir, struct tok_train_stats *stats, struct err *e);
void tok_train_free(struct tok_trainer *tr);

CDECL_END

#endif
