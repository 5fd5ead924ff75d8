/* A tokenizer.json from anywhere, then a text: everything in front of the first NUL is the file, the rest is encoded, decoded whole
 * and streamed. Catches crashes, endless work and reads outside the tables on hostile files; streamed text that differs from whole
 * text; offsets outside the text. */
#include <stdio.h>
#include <stdlib.h>

#include "text/tok.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(struct tok *t, struct str text)
{
    struct tok_enc *enc;
    struct tok_ids ids = {0};
    struct err e = {0};
    struct sbuf whole, parts;
    if (tok_enc_new(t, &enc, &e) != ERR_OK)
        abort();
    sbuf_init(&whole, 1 << 24);
    sbuf_init(&parts, 1 << 24);
    for (int plain = 0; plain < 2; plain++)
        if (tok_encode(enc, &(struct tok_text){.text = text, .offsets = 1, .add_special = TOK_SPECIAL_FILE, .plain = plain}, &ids, &e) == ERR_OK) {
            struct tok_stream *s = tok_stream_new(t, plain);
            for (int64_t i = 0; i < ids.n; i++)
                if (ids.begin[i] < 0 || ids.begin[i] > ids.end[i] || ids.end[i] > text.n || ids.id[i] < 0)
                    abort();
            sbuf_clear(&whole);
            sbuf_clear(&parts);
            tok_decode(t, ids.id, ids.n, plain, &whole);
            for (int64_t i = 0; i < ids.n; i++)
                tok_stream_push(s, ids.id[i], &parts);
            tok_stream_end(s, &parts);
            if (!whole.full && !parts.full && !str_eq(sbuf_str(&whole), sbuf_str(&parts)))
                abort();
            tok_stream_free(s);
        }
    sbuf_release(&whole);
    sbuf_release(&parts);
    tok_ids_release(&ids);
    tok_enc_free(enc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tok_image im = {0};
    struct tok *t;
    struct err e = {0};
    const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
    struct str json = {(const char *)data, nul ? nul - data : (int64_t)size}, text = {"", 0};
    if (size > 1 << 16)
        return 0;
    if (nul)
        text = (struct str){(const char *)nul + 1, (int64_t)size - (nul + 1 - data)};
    if (tok_build_json(json, "fuzz", &im, &e) != ERR_OK)
        return 0;
    if (tok_from_image(&im, "fuzz", NULL, &t, &e) == ERR_OK) {
        use(t, text);
        tok_free(t);
    }
    return 0;
}
