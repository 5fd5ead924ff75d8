/* Chat templates: Jinja2 as transformers runs it (ImmutableSandboxedEnvironment, trim_blocks,
 * lstrip_blocks, loop controls, {% generation %}, tojson, raise_exception, strftime_now), with
 * Python's values: repr, str, json.dumps, big integers, Undefined. Compile once, render many.
 *
 *   struct tmpl *t;   tmpl_compile(source, "chat_template.jinja", &t, &e);     shared, immutable
 *   struct tmpl_run *r;   tmpl_run_new(NULL, &r, &e);                          one per thread
 *   for each row:
 *       tmpl_input_json(r, row_text, &e);                  or tmpl_input_parts(...)
 *       tmpl_render(r, t, &out, &e);                       text
 *       tmpl_mask(r, t, &opts, &out, &mask, &e);           or text + who wrote which bytes
 *
 * What a row produced (values, mask, spans) lives in the run and dies with its next tmpl_input_*.
 * There is no malloc per row after warm-up. A template reaches neither files nor the host: its only
 * outside input is the row, the special tokens and the clock. Work, memory, output and depth are
 * limited. Errors read "NAME:LINE: reason"; raise_exception gives its message after the line.
 * Errors: ERR_DATA (syntax, Python errors, raise_exception, bad row), ERR_LIMIT, ERR_IO (folders),
 * ERR_MISMATCH (a mask that cannot be derived).
 * Strings are UTF-8. A lone surrogate in JSON ("\ud800") is kept as Python keeps it; text that still
 * holds one when rendered is an error, as encoding it would be. docs/templates.md has the details.
 */
#ifndef HONE_TEXT_TEMPLATE_H
#define HONE_TEXT_TEMPLATE_H

#include <stdint.h>

#include "core/cdecl.h"
#include "core/err.h"
#include "core/str.h"

CDECL_BEGIN

/* ---- templates ---------------------------------------------------------------------------- */

struct tmpl; /* one compiled template */

/* source: UTF-8, copied. name: for messages, copied. */
err_code tmpl_compile(struct str source, const char *name, struct tmpl **out, struct err *e);
void tmpl_free(struct tmpl *t); /* NULL is fine */
int tmpl_has_generation(const struct tmpl *t); /* 1 when it has {% generation %} blocks */

/* What a model folder brings: chat_template.jinja (wins), else chat_template.json or
 * tokenizer_config.json "chat_template" (a string, or a list of {"name","template"}), and
 * additional_chat_templates/NAME.jinja; special tokens (bos_token, eos_token, ...) of
 * special_tokens_map.json and tokenizer_config.json as template variables. */
struct tmpl_set;
err_code tmpl_load(const char *dir, struct tmpl_set **out, struct err *e);
err_code tmpl_load_file(const char *path, struct tmpl_set **out, struct err *e); /* one .jinja file */
void tmpl_set_free(struct tmpl_set *s);
/* name NULL: "default", or "tool_use" when there is one and the row has tools. ERR_DATA: no such name. */
err_code tmpl_pick(const struct tmpl_set *s, const char *name, int has_tools, const struct tmpl **out, struct err *e);
struct str tmpl_special(const struct tmpl_set *s, const char *key); /* "eos_token" -> text, or empty */

/* ---- rows --------------------------------------------------------------------------------- */

struct tmpl_limits { /* 0 = the default in brackets */
    int64_t steps;    /* nodes evaluated and items iterated [50 M] */
    int64_t memory;   /* bytes of values of one row [1 GiB of address space] */
    int64_t output;   /* bytes of text [256 MiB] */
    int depth;        /* nesting of calls, expressions and values [200] */
};

struct tmpl_run;
err_code tmpl_run_new(const struct tmpl_limits *lim, struct tmpl_run **out, struct err *e);
void tmpl_run_free(struct tmpl_run *r);
/* Clock of strftime_now: "YYYY-MM-DDTHH:MM:SS", taken as local time; without it the system clock. */
err_code tmpl_run_now(struct tmpl_run *r, const char *iso, struct err *e);
/* Variables every render sees (the set's special tokens); a row's own variables win. s is borrowed. */
void tmpl_run_defaults(struct tmpl_run *r, const struct tmpl_set *s);

/* A row is one JSON object with "messages", "tools", "documents" (absent = None),
 * "add_generation_prompt", "continue_final_message" (bool), "variables" (object), "spans" (bool),
 * "id". JSON as Python's json.loads reads it: NaN, Infinity, big integers, last duplicate key wins. */
err_code tmpl_input_json(struct tmpl_run *r, struct str row, struct err *e);
/* The same from JSON texts, empty = absent. */
struct tmpl_parts {
    struct str messages, tools, documents, variables;
    int add_generation_prompt, continue_final_message;
};
err_code tmpl_input_parts(struct tmpl_run *r, const struct tmpl_parts *p, struct err *e);
struct str tmpl_input_id(const struct tmpl_run *r);       /* "id" as JSON text; "null" when absent */
int tmpl_input_wants_spans(const struct tmpl_run *r);     /* the row's "spans" */
int tmpl_input_has_tools(const struct tmpl_run *r);
int64_t tmpl_input_messages(const struct tmpl_run *r);    /* number of messages */

/* Renders the row; out is cleared first. */
err_code tmpl_render(struct tmpl_run *r, const struct tmpl *t, struct sbuf *out, struct err *e);
/* {% generation %} blocks of the last render, [begin, end) in code points, as transformers returns
 * them. Returns their number; *spans has 2 * n numbers, borrowed. */
int64_t tmpl_generation_spans(const struct tmpl_run *r, const int64_t **spans);

/* ---- masks -------------------------------------------------------------------------------- */

/* Who wrote a stretch of the text. */
enum tmpl_kind {
    TMPL_TEMPLATE,  /* the template: headers, separators, system defaults */
    TMPL_INPUT,     /* bytes of a message that is not the assistant's, of tools or of documents */
    TMPL_CONTENT,   /* assistant: content */
    TMPL_REASONING, /* assistant: reasoning_content, reasoning, thinking, or content up to </think> */
    TMPL_TOOL_CALL, /* assistant: tool_calls */
    TMPL_GLUE,      /* template text inside an assistant turn that the model has to write */
    TMPL_EOT,       /* end of turn behind an assistant turn: always supervised with the turn */
    TMPL_N_KINDS
};

/* Spans cover the whole text in order, without gaps; loss weight of a token = the weight of the span
 * that holds its first byte. */
struct tmpl_span {
    int64_t begin, end; /* bytes of the text */
    float weight;       /* 0 = not supervised */
    int32_t message;    /* index in messages, -1 = none */
    uint8_t kind;       /* enum tmpl_kind */
    uint8_t plain;      /* 1: row data; special-token text in it is to be encoded as plain text */
};

struct tmpl_turn { /* one per message: the bytes it contributed, its template text included */
    int64_t begin, end; /* begin == end: left no text */
    uint8_t assistant, supervised;
};

struct tmpl_mask {
    const struct tmpl_span *spans; /* borrowed from the run */
    int64_t n_spans;
    const struct tmpl_turn *turns; /* n_turns == messages of the row */
    int64_t n_turns;
    int64_t supervised;            /* bytes with weight > 0: 0 is for the caller to report */
    int from_generation;           /* 1: the template's own {% generation %} blocks decided */
};

enum tmpl_which {
    TMPL_ALL_ASSISTANT, /* every assistant turn */
    TMPL_LAST_TURN,     /* assistant turns behind the last user message */
    TMPL_ALL_TEXT       /* every byte (plain language modelling on chat text) */
};

/* A message may carry "train": bool (false: weight 0; true on a message of another role: its content
 * is supervised), "weight": number >= 0, and "weights": [[begin, end, weight], ...] in code points
 * of its content string. These three keys are hidden from the template by tmpl_mask. */
struct tmpl_mask_opts {
    enum tmpl_which which;
    float reasoning, tool_calls;    /* factors on top of the message's weight; tmpl_mask_defaults: 1 */
    int plain;                      /* mark row data as plain text; tmpl_mask_defaults: 1 */
    int use_generation;             /* follow {% generation %} blocks when there are any; default 1 */
    const struct str *stops;        /* texts that end a turn: eos and other special tokens, borrowed */
    int n_stops;
};
struct tmpl_mask_opts tmpl_mask_defaults(void);

/* Renders the row (out as tmpl_render gives it) and says who wrote what, in one pass: every byte that
 * is copied from the row keeps its address of origin through slices, strips, concatenations, joins,
 * macros and set blocks, and every loop over messages marks the turn it prints.
 * A turn of the assistant is supervised from behind the longest common prefix of its text and the
 * template's generation prompt, but never later than its first own byte, through the first stop text
 * that follows its last own byte. Time linear in the text.
 * ERR_MISMATCH: an assistant message with content left no text, or parts of two messages interleave
 * so that no turn can be told. */
err_code tmpl_mask(struct tmpl_run *r, const struct tmpl *t, const struct tmpl_mask_opts *o, struct sbuf *out,
                   struct tmpl_mask *mask, struct err *e);

CDECL_END

#endif
