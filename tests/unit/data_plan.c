/* Packing, plans and steps. Fails when: a bin overflows or a row is lost, repeated or cut without a count;
 * the packer is not best-fit-decreasing; a plan depends on anything but its arguments; a resumed or killed
 * run sees other batches; a weight lands on another token than it was made for. */
#include "tests/data_util.h"

#include "core/rng.h"

/* ---- packing against the obvious quadratic version ---- */

static int64_t slow_pack(const int32_t *len, int64_t n, int32_t cap, int32_t max_rows, int32_t *bin)
{
    int32_t *left = calloc((size_t)n + 1, 4), *rows = calloc((size_t)n + 1, 4), *since = calloc((size_t)n + 1, 4);
    uint8_t *done = calloc((size_t)n + 1, 1);
    int64_t bins = 0;
    for (int32_t clock = 1; clock <= n; clock++) {
        int64_t i = -1, best = -1;
        for (int64_t j = 0; j < n; j++)
            if (!done[j] && (i < 0 || len[j] > len[i]))
                i = j;
        for (int64_t b = 0; b < bins; b++)
            if (left[b] >= len[i] && !(max_rows && rows[b] >= max_rows) &&
                (best < 0 || left[b] < left[best] || (left[b] == left[best] && since[b] > since[best])))
                best = b;
        if (best < 0) {
            best = bins++;
            left[best] = cap;
        }
        done[i] = 1;
        bin[i] = (int32_t)best;
        left[best] -= len[i];
        rows[best]++;
        since[best] = clock;
    }
    free(left);
    free(rows);
    free(since);
    free(done);
    return bins;
}

static void packs_like_the_slow_one(void **state)
{
    (void)state;
    struct arena mem;
    arena_init(&mem, "test", 256 << 20);
    static int32_t len[400], a[400], b[400];
    for (uint64_t t = 0; t < 400; t++) {
        int32_t cap = (int32_t)rng_below(t % 4 == 0 ? 10000 : 200, 1, RNG_TEST, t, 0, 0) + 1;
        int64_t n = (int64_t)rng_below(300, 1, RNG_TEST, t, 1, 0);
        int32_t max_rows = t % 3 ? 0 : (int32_t)rng_below(5, 1, RNG_TEST, t, 2, 0) + 1;
        int32_t top = t % 5 ? cap : cap / 3 + 1;
        for (int64_t i = 0; i < n; i++)
            len[i] = (int32_t)rng_below((uint64_t)top, 1, RNG_TEST, t, 3, (uint64_t)i) + 1;
        int64_t fast = data_pack(len, n, cap, max_rows, a, mem);
        assert_int_equal(fast, slow_pack(len, n, cap, max_rows, b));
        assert_memory_equal(a, b, (size_t)n * 4);
    }
    arena_release(&mem);
}

static void packs_a_million(void **state)
{
    (void)state;
    enum { N = 1000000, CAP = 16384 };
    struct arena mem;
    arena_init(&mem, "test", 24LL * N + 20 * CAP + (1 << 20));
    int32_t *len = malloc(N * 4), *bin = malloc(N * 4);
    int64_t *fill = calloc(N, 8), total = 0;
    for (int64_t i = 0; i < N; i++) {
        len[i] = 1 + (int32_t)rng_below(1 + rng_below(6000, 3, RNG_TEST, 1, 0, (uint64_t)i), 3, RNG_TEST, 2, 0, (uint64_t)i);
        total += len[i];
    }
    int64_t bins = data_pack(len, N, CAP, 0, bin, mem);
    for (int64_t i = 0; i < N; i++)
        fill[bin[i]] += len[i];
    for (int64_t b = 0; b < bins; b++)
        assert_in_range(fill[b], 1, CAP);
    assert_true((double)total / ((double)bins * CAP) > 0.9995);
    free(len);
    free(bin);
    free(fill);
    arena_release(&mem);
}

/* ---- plans over made-up token rows ---- */

enum { ROWS = 3000 };

/* Row i: tokens i*1000 + t, weights 0 up to a first supervised token, then runs of 1 and 0.5. */
static int64_t length_of(int64_t i)
{
    return 2 + (int64_t)rng_below(i % 50 ? 60 : 400, 9, RNG_TEST, 1, 0, (uint64_t)i);
}

static void add_tokens(struct store *s, int64_t i, int64_t item)
{
    int32_t ids[500];
    struct {
        int32_t n;
        float w;
    } runs[3];
    int64_t n = length_of(i), first = 1 + (int64_t)rng_below((uint64_t)n - 1, 9, RNG_TEST, 2, 0, (uint64_t)i), sup = n - first;
    int n_runs = 0;
    for (int64_t t = 0; t < n; t++)
        ids[t] = (int32_t)(i * 1000 + t);
    runs[n_runs].n = (int32_t)first, runs[n_runs++].w = 0;
    if (sup > 1)
        runs[n_runs].n = (int32_t)sup - 1, runs[n_runs++].w = 1;
    runs[n_runs].n = 1, runs[n_runs++].w = 0.5f;
    int none = i % 700 == 13; /* a row without supervision */
    if (none) {
        runs[0].n = (int32_t)n;
        n_runs = 1;
    }
    MUST(store_exec(s, e, "INSERT INTO token_rows(recipe, item, n, supervised, first_supervised) VALUES(1,?,?,?,?)", "iiii", item, n, none ? (int64_t)0 : sup, none ? (int64_t)-1 : first));
    MUST(store_exec(s, e, "INSERT INTO token_data(row, ids, weights) VALUES(?,?,?)", "ibb", store_last_id(s), ids, n * 4, runs, (int64_t)n_runs * 8));
}

static struct store *store_with_rows(const char *name, int64_t *snapshot)
{
    struct store *s = fresh_store(name);
    MUST(store_begin(s, e));
    MUST(store_exec(s, e, "INSERT INTO recipes(hash, tokenizer, template, options, model) VALUES('h','t','m','','')", ""));
    for (int64_t i = 0; i < ROWS; i++) {
        int64_t item = 0;
        char body[60];
        snprintf(body, sizeof body, "{\"text\":\"row %d\"}", (int)i);
        MUST(data_item_add(s, i % 3 ? "a" : "b", "text", str_of(body), &item, e));
        add_tokens(s, i, item);
    }
    MUST(store_commit(s, e));
    MUST(data_snapshot(s, &(struct data_select){.sources = "a,b", .kinds = "text", .split = "all"}, snapshot, e));
    return s;
}

static struct data_plan_opts plan_opts(int64_t snapshot)
{
    return (struct data_plan_opts){.snapshot = snapshot, .recipe = 1, .seed = 11, .cap = 256, .leaves = 4, .over = DATA_LONG_TRUNCATE,
                                   .max_len = 200, .window = 500, .pack = 1, .shuffle = 1};
}

/* One step as bytes. */
static struct hash128 step_hash(struct data_plan *p, int64_t step)
{
    struct arena mem;
    struct data_step st;
    arena_init(&mem, "step", 16 << 20);
    MUST(data_plan_step(p, step, &mem, &st, e));
    struct hash_state *h = hash_open();
    hash_field(h, &st.epoch, 8);
    hash_field(h, &st.weight, 8);
    for (int64_t i = 0; i < st.n_leaves; i++) {
        const struct data_batch *b = &st.leaves[i];
        hash_field(h, b->tokens, b->n_tok * 4);
        hash_field(h, b->positions, b->n_tok * 4);
        hash_field(h, b->targets, b->n_tok * 4);
        hash_field(h, b->weights, b->n_tok * 4);
        hash_field(h, b->cu_seqlens, (b->n_seq + 1) * 4);
        hash_field(h, b->items, b->n_seq * 8);
    }
    arena_release(&mem);
    return hash_close(h);
}

/* Every token of the epoch is where its row says, with the weight of predicting the next one. */
static void check_batch(const struct data_batch *b, const struct data_plan_opts *o, int64_t *seen)
{
    double weight = 0;
    int64_t sup = 0;
    assert_int_equal(b->cu_seqlens[0], 0);
    assert_int_equal(b->cu_seqlens[b->n_seq], b->n_tok);
    assert_true(b->n_tok <= o->cap);
    for (int64_t k = 0; k < b->n_seq; k++) {
        int64_t from = b->cu_seqlens[k], n = b->cu_seqlens[k + 1] - from, row = b->tokens[from] / 1000;
        assert_int_equal(n, length_of(row) < o->max_len ? length_of(row) : o->max_len);
        assert_int_equal(b->items[k], row + 1);
        seen[row]++;
        int64_t first = 1 + (int64_t)rng_below((uint64_t)length_of(row) - 1, 9, RNG_TEST, 2, 0, (uint64_t)row);
        for (int64_t t = 0; t < n; t++) {
            float want = t + 1 >= n || t + 1 < first ? 0 : t + 2 == length_of(row) ? 0.5f : 1;
            assert_int_equal(b->tokens[from + t], row * 1000 + t);
            assert_int_equal(b->positions[from + t], t);
            assert_int_equal(b->targets[from + t], t + 1 < n ? row * 1000 + t + 1 : -1);
            assert_true(b->weights[from + t] == want);
            weight += want;
            sup += want > 0;
        }
    }
    assert_true(weight == b->weight && sup == b->n_sup);
}

static void epochs_hold_every_row_once(void **state)
{
    (void)state;
    int64_t snapshot;
    struct store *s = store_with_rows("plan.db", &snapshot);
    struct data_plan_opts o = plan_opts(snapshot);
    struct data_plan *p;
    struct data_plan_info info, other;
    struct arena mem;
    arena_init(&mem, "step", 16 << 20);
    MUST(data_plan_open(s, &o, &p, e));
    int64_t step = 0;
    for (int64_t epoch = 0; epoch < 2; epoch++) {
        int64_t seen[ROWS] = {0}, rows = 0, tokens = 0, sup = 0;
        MUST(data_plan_epoch(p, epoch, &info, e));
        for (int64_t i = 0; i < info.steps; i++, step++) {
            struct data_step st;
            arena_reset(&mem);
            MUST(data_plan_step(p, step, &mem, &st, e));
            assert_int_equal(st.epoch, epoch);
            assert_int_equal(st.at, i);
            assert_true(st.n_leaves == o.leaves || i == info.steps - 1);
            double weight = 0;
            for (int64_t k = 0; k < st.n_leaves; k++) {
                check_batch(&st.leaves[k], &o, seen);
                weight += st.leaves[k].weight;
            }
            assert_true(weight == st.weight);
            rows += st.n_rows;
            tokens += st.n_tok;
            sup += st.n_sup;
        }
        for (int64_t r = 0; r < ROWS; r++)
            assert_true(seen[r] <= 1);
        assert_int_equal(rows, info.rows);
        assert_int_equal(tokens, info.tokens);
        assert_int_equal(sup, info.supervised);
        assert_int_equal(rows + info.dropped_long + info.dropped_unsupervised, ROWS);
        assert_true(info.truncated > 10 && info.dropped_unsupervised > 4 && info.efficiency > 0.99);
    }
    MUST(data_plan_epoch(p, 0, &other, e));
    assert_false(hash_eq(info.digest, other.digest));
    data_plan_close(p);
    arena_release(&mem);
    store_close(s);
}

/* The same step from a plan that was just opened, from one in another order, from another store. */
static void steps_are_pure(void **state)
{
    (void)state;
    int64_t snapshot;
    struct store *s = store_with_rows("pure.db", &snapshot), *t;
    struct data_plan_opts o = plan_opts(snapshot);
    struct data_plan *p, *q;
    struct data_plan_info info;
    MUST(data_plan_open(s, &o, &p, e));
    MUST(data_plan_epoch(p, 0, &info, e));
    int64_t n = info.steps * 3;
    struct hash128 *want = calloc((size_t)n, sizeof *want);
    for (int64_t i = 0; i < n; i++)
        want[i] = step_hash(p, i);
    for (int64_t k = 0; k < 40; k++) {
        int64_t i = (int64_t)rng_below((uint64_t)n, 4, RNG_TEST, 3, 0, (uint64_t)k);
        if (k % 4 == 0) { /* a resume */
            data_plan_close(p);
            store_close(s);
            s = open_store("pure.db");
            MUST(data_plan_open(s, &o, &p, e));
        }
        assert_true(hash_eq(step_hash(p, i), want[i]));
    }
    t = store_with_rows("pure2.db", &snapshot);
    MUST(data_plan_open(t, &o, &q, e));
    assert_true(hash_eq(step_hash(q, n - 1), want[n - 1])); /* epochs 0 and 1 are made on the way */
    o.seed++;
    data_plan_close(q);
    MUST(data_plan_open(t, &o, &q, e));
    assert_false(hash_eq(step_hash(q, n - 1), want[n - 1]));
    data_plan_close(q);
    data_plan_close(p);
    free(want);
    store_close(s);
    store_close(t);
}

static void options_hold(void **state)
{
    (void)state;
    int64_t snapshot;
    struct store *s = store_with_rows("opt.db", &snapshot);
    struct data_plan_opts o = plan_opts(snapshot);
    struct data_plan *p;
    struct data_plan_info info;
    struct err w = {0};
    struct arena mem;
    arena_init(&mem, "step", 16 << 20);
    o.over = DATA_LONG_ERROR;
    MUST(data_plan_open(s, &o, &p, e));
    assert_int_equal(data_plan_epoch(p, 0, &info, &w), ERR_DATA);
    assert_non_null(strstr(w.msg, "tokens, more than 200"));
    data_plan_close(p);
    o.over = DATA_LONG_DROP;
    MUST(data_plan_open(s, &o, &p, e));
    MUST(data_plan_epoch(p, 0, &info, e));
    assert_true(info.dropped_long > 10 && info.truncated == 0);
    data_plan_close(p);
    /* in item order, one row per micro-batch */
    o.pack = o.shuffle = 0;
    MUST(data_plan_open(s, &o, &p, e));
    MUST(data_plan_epoch(p, 0, &info, e));
    assert_int_equal(info.batches, info.rows);
    int64_t last = 0;
    for (int64_t i = 0; i < 20; i++) {
        struct data_step st;
        arena_reset(&mem);
        MUST(data_plan_step(p, i, &mem, &st, e));
        for (int64_t k = 0; k < st.n_leaves; k++) {
            assert_int_equal(st.leaves[k].n_seq, 1);
            assert_true(st.leaves[k].items[0] > last);
            last = st.leaves[k].items[0];
        }
    }
    data_plan_close(p);
    o = plan_opts(snapshot);
    o.max_rows = 2;
    MUST(data_plan_open(s, &o, &p, e));
    MUST(data_plan_epoch(p, 0, &info, e));
    assert_true(info.batches >= info.rows / 2);
    data_plan_close(p);
    o.max_len = 300; /* longer than a micro-batch */
    assert_int_equal(data_plan_open(s, &o, &p, &w), ERR_USAGE);
    o.max_len = 0;
    MUST(store_exec(s, e, "DELETE FROM token_data WHERE row = 5", ""));
    MUST(store_exec(s, e, "DELETE FROM token_rows WHERE id = 5", ""));
    assert_int_equal(data_plan_open(s, &o, &p, &w), ERR_DATA);
    assert_non_null(strstr(w.msg, "item 5"));
    arena_release(&mem);
    store_close(s);
}

/* A stored plan that no longer comes out the same is an error, not another order of the data. */
static void changed_plans_are_noticed(void **state)
{
    (void)state;
    int64_t snapshot;
    struct store *s = store_with_rows("mis.db", &snapshot);
    struct data_plan_opts o = plan_opts(snapshot);
    struct data_plan *p;
    struct data_plan_info info;
    struct err w = {0};
    MUST(data_plan_open(s, &o, &p, e));
    MUST(data_plan_epoch(p, 0, &info, e));
    int64_t n = number(s, "SELECT sum(length(token_rows)) / 8 FROM plan_parts");
    assert_int_equal(n, info.rows);
    assert_int_equal(number(s, "SELECT sum(length(ends)) / 8 FROM plan_parts"), info.batches);
    data_plan_close(p);
    MUST(store_exec(s, e, "UPDATE token_rows SET n = n - 1 WHERE id = 1", ""));
    MUST(data_plan_open(s, &o, &p, e));
    assert_int_equal(data_plan_epoch(p, 0, &info, &w), ERR_MISMATCH);
    data_plan_close(p);
    store_close(s);
}

static void prepare_plan(void *ctx)
{
    store_close(store_with_rows("kp.db", ctx));
}

static int plan_two_epochs(void *ctx)
{
    struct data_plan_opts o = plan_opts(*(int64_t *)ctx);
    struct data_plan *p;
    struct data_plan_info info;
    struct store *t;
    return store_open(in_dir("kp.db"), STORE_WRITE, "t", &t, NULL) || data_plan_open(t, &o, &p, NULL) || data_plan_epoch(p, 0, &info, NULL) ||
           data_plan_epoch(p, 1, &info, NULL);
}

static void killed_while_planning(void **state)
{
    (void)state;
    int64_t snapshot;
    struct kill_test k = {.store = "kp.db", .n_points = 32, .prepare = prepare_plan, .work = plan_two_epochs, .ctx = &snapshot};
    for (int i = 0; i < k.n_points; i++)
        k.points[i] = i;
    assert_true(kill_run(&k) > 3);
}

int main(void)
{
    if (!mkdtemp(work_dir))
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packs_like_the_slow_one), cmocka_unit_test(packs_a_million), cmocka_unit_test(epochs_hold_every_row_once),
        cmocka_unit_test(steps_are_pure), cmocka_unit_test(options_hold), cmocka_unit_test(changed_plans_are_noticed),
        cmocka_unit_test(killed_while_planning),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    file_remove_tree(work_dir, NULL);
    return rc;
}
