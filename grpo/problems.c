/* Problems to sample from: prompt items of a snapshot. */
#include <string.h>

#include "grpo/job.h"

err_code grpo_problems_open(struct grpo_problems *p, const struct cfg *c, struct store *s, int64_t snapshot, const char *model, const struct tok *tok,
                            struct err *e)
{
    struct data_render_opts o = data_render_defaults();
    *p = (struct grpo_problems){.store = s, .snapshot = snapshot, .max_prompt = c->rollout.max_prompt, .seed = (uint64_t)c->seed};
    arena_init(&p->mem, "problems", 1LL << 36);
    o.model = model, o.tok = tok, o.raw = c->data.raw;
    o.template_name = c->data.template[0] ? c->data.template : NULL;
    o.system = c->data.system[0] ? c->data.system : NULL;
    err_code rc = data_snapshot_items(s, snapshot, &p->mem, &p->items, e);
    if (rc == ERR_OK)
        rc = data_renderer_open(&o, &p->renderer, e);
    if (rc != ERR_OK) {
        grpo_problems_close(p);
        *p = (struct grpo_problems){0};
    }
    return rc;
}

void grpo_problems_close(struct grpo_problems *p)
{
    data_renderer_close(p->renderer);
    arena_release(&p->mem);
}

static struct str last_user(const json_t *messages, struct arena *mem)
{
    for (size_t i = json_array_size(messages); i-- > 0;) {
        const json_t *m = json_array_get(messages, i), *text = json_object_get(m, "content");
        const char *role = json_string_value(json_object_get(m, "role"));
        if (role && strcmp(role, "user") == 0 && json_is_string(text))
            return str_dup(mem, (struct str){json_string_value(text), (int64_t)json_string_length(text)});
    }
    return STR("");
}

err_code grpo_problem_get(struct grpo_problems *p, int64_t i, struct arena *mem, struct grpo_problem *out, struct err *e)
{
    struct str kind, body;
    struct data_prompt d;
    *out = (struct grpo_problem){.item = data_pick(&p->items, p->seed, i, p->mem)};
    TRY(data_item(p->store, out->item, mem, &kind, &body, e));
    err_code rc = data_prompt_ids(p->renderer, kind, body, mem, &d, e);
    if (rc == ERR_OK)
        rc = json_parse(body, &out->row, e);
    if (rc != ERR_OK)
        return err_ctx(e, "item %lld", (long long)out->item);
    out->gold = d.answer;
    out->prompt = last_user(json_object_get(out->row, "messages"), mem);
    out->ids = d.ids;
    out->n = p->max_prompt > 0 && d.n > p->max_prompt ? 0 : d.n;
    return ERR_OK;
}

void grpo_problem_release(struct grpo_problem *p)
{
    json_decref(p->row);
    p->row = NULL;
}
