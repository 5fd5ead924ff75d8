/* The grid of the needle test as JSON and as a picture. */
#include <limits.h>
#include <stdio.h>

#include "core/file.h"
#include "core/json.h"
#include "grpo/niah.h"

static void put_json(struct sbuf *b, const char *model, const struct grpo_niah_result *r)
{
    sbuf_adds(b, "{\"model\":");
    json_put_str(b, str_of(model));
    sbuf_addf(b, ",\"samples\":%lld,\"mean\":%.6g,\"lengths\":[", (long long)r->samples, r->mean);
    for (int64_t l = 0; l < r->n_lengths; l++)
        sbuf_addf(b, "%s%lld", l ? "," : "", (long long)r->length[l]);
    sbuf_adds(b, "],\"depths\":[");
    for (int64_t d = 0; d < r->n_depths; d++)
        sbuf_addf(b, "%s%.6g", d ? "," : "", r->depth[d]);
    sbuf_adds(b, "],\"grid\":[");
    for (int64_t d = 0; d < r->n_depths; d++) {
        sbuf_adds(b, d ? ",[" : "[");
        for (int64_t l = 0; l < r->n_lengths; l++)
            sbuf_addf(b, "%s%.6g", l ? "," : "", r->right[d][l]);
        sbuf_addc(b, ']');
    }
    sbuf_adds(b, "]}\n");
}

static void put_text(struct sbuf *b, struct str s)
{
    for (int64_t i = 0; i < s.n; i++)
        if (s.p[i] == '&' || s.p[i] == '<' || s.p[i] == '>')
            sbuf_addf(b, "&#%d;", s.p[i]);
        else
            sbuf_addc(b, (unsigned char)s.p[i] < 32 ? ' ' : s.p[i]);
}

/* Red (0) over yellow to green (1). */
static void colour(double v, int rgb[3])
{
    static const int ends[3][3] = {{214, 69, 65}, {245, 215, 110}, {63, 160, 95}};
    int half = v >= 0.5;
    double t = half ? 2 * v - 1 : 2 * v;
    for (int i = 0; i < 3; i++)
        rgb[i] = (int)(ends[half][i] + t * (ends[half + 1][i] - ends[half][i]) + 0.5);
}

static void put_svg(struct sbuf *b, const char *model, const struct grpo_niah_result *r)
{
    enum { W = 58, H = 24, LEFT = 60, TOP = 40 };
    int width = LEFT + W * (int)r->n_lengths + 20, height = TOP + H * (int)r->n_depths + 50;
    width = width < 360 ? 360 : width;
    sbuf_addf(b, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n", width,
              height);
    sbuf_addf(b, "<text x=\"%d\" y=\"18\" font-size=\"13\">", LEFT);
    put_text(b, str_of(model));
    sbuf_addf(b, ": needles found %.1f %%</text>\n<text x=\"6\" y=\"%d\">depth</text>\n", r->mean * 100, TOP - 6);
    for (int64_t d = 0; d < r->n_depths; d++) {
        int y = TOP + H * (int)d;
        sbuf_addf(b, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%.0f %%</text>\n", LEFT - 6, y + 16, r->depth[d] * 100);
        for (int64_t l = 0; l < r->n_lengths; l++) {
            int rgb[3], x = LEFT + W * (int)l;
            colour(r->right[d][l], rgb);
            sbuf_addf(b, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"#%02x%02x%02x\"/><text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%.2f</text>\n", x, y, W - 2, H - 2, (unsigned)rgb[0],
                      (unsigned)rgb[1], (unsigned)rgb[2], x + W / 2, y + 16, r->right[d][l]);
        }
    }
    for (int64_t l = 0; l < r->n_lengths; l++)
        sbuf_addf(b, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%lld</text>\n", LEFT + W * (int)l + W / 2, TOP + H * (int)r->n_depths + 14, (long long)r->length[l]);
    sbuf_addf(b, "<text x=\"%d\" y=\"%d\">tokens of the prompt</text>\n</svg>\n", LEFT, TOP + H * (int)r->n_depths + 34);
}

err_code grpo_niah_write(const char *out, const char *model, const struct grpo_niah_result *r, struct err *e)
{
    static void (*const make[])(struct sbuf *, const char *, const struct grpo_niah_result *) = {put_json, put_svg};
    static const char *const ending[] = {"json", "svg"};
    for (int i = 0; i < 2; i++) {
        char path[PATH_MAX];
        struct sbuf b;
        if (snprintf(path, sizeof path, "%s.%s", out, ending[i]) >= (int)sizeof path)
            return err_set(e, ERR_IO, "'%s': the path is too long", out);
        sbuf_init(&b, 1 << 24);
        make[i](&b, model, r);
        err_code rc = file_write_atomic(path, sbuf_str(&b), e);
        sbuf_release(&b);
        TRY(rc);
    }
    return ERR_OK;
}
